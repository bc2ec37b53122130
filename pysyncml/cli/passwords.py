"""Where passwords come from, and where those of clients are kept.

Sources, the first that has one: ``--password``, ``--password-file``, the environment, what was
kept from the last time (the keyring if there is one, else a file of mode 0600 in the state
folder), a prompt on a terminal. Never a traceback because there is no terminal.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import os
import stat
import sys
from typing import Any

from pysyncml.errors import UsageError

log = logging.getLogger(__name__)


def on_terminal() -> bool:
    """Return whether there is somebody who can be asked."""
    try:
        return sys.stdin is not None and sys.stdin.isatty()
    except ValueError:  # closed
        return False


def ask(prompt: str, *, secret: bool = False) -> str:
    """Return the answer to *prompt*, without echo if it is *secret*.

    Raises:
        UsageError: the input has ended.
    """
    try:
        if secret:
            import getpass

            return getpass.getpass(prompt)
        return input(prompt)
    except EOFError:
        raise UsageError('no answer: the input has ended') from None


def ask_new(whose: str) -> str:
    """Return a new password, which is asked for twice.

    Raises:
        UsageError: the input has ended, or the two were never the same.
    """
    for _ in range(3):
        password = ask(f'Password for {whose}: ', secret=True)
        if not password:
            print('A password cannot be empty.', file=sys.stderr)
        elif hmac.compare_digest(password.encode(), ask('The same again: ', secret=True).encode()):
            return password
        else:
            print('These were not the same.', file=sys.stderr)
    raise UsageError('no password was set')


def confirm(question: str) -> bool:
    """Return whether the answer to *question* is yes; anything else is no."""
    return ask(f'{question} [y/N] ').strip().lower() in ('y', 'yes')


def variable(label: str) -> str:
    """Return the name of the environment variable of the program *label*."""
    letters = ''.join(c if c.isascii() and c.isalnum() else '_' for c in label)
    return f'SYNC_{letters.upper()}_PASSWORD'


def given(options: Any, label: str) -> str | None:
    """Return the password that was handed over for this run; ``None`` if there is none."""
    if options.password is not None:
        return str(options.password)
    if options.passwordFile:
        return _from_file(options.passwordFile)
    return os.environ.get(variable(label)) or None


def http_login(path: str | None) -> tuple[str | None, str | None]:
    """Return the name and the password for HTTP itself that stand in the file *path*.

    Raises:
        UsageError: they do not.
    """
    if not path:
        return None, None
    username, colon, password = _from_file(path, 'file for --http-login').partition(':')
    if not colon or not username:
        raise UsageError(f'the first line of "{path}" is not NAME:PASSWORD')
    return username, password


def _from_file(path: str, what: str = 'password file') -> str:
    try:
        with open(path, encoding='utf-8') as stream:
            if os.name == 'posix' and os.fstat(stream.fileno()).st_mode & 0o077:
                log.warning('others can read the %s %s: chmod 600 it', what, path)
            password = stream.readline().rstrip('\r\n')
    except UnicodeDecodeError:
        raise UsageError(f'the {what} "{path}" is not UTF-8 text') from None
    except OSError as error:
        raise UsageError(f'cannot read the {what} "{path}": {error.strerror}') from error
    if not password:
        raise UsageError(f'the first line of the {what} "{path}" is empty')
    return password


class PasswordStore:
    """Keep the passwords of a client between two runs.

    Args:
        folder: the state folder; used where there is no keyring.
        label: the short name of the program.
    """

    def __init__(self, folder: str, label: str) -> None:
        self.path = os.path.join(folder, 'credentials')
        self._staged = f'{self.path}.new'  # always the same, so that it is found again
        self.service = f'sync-{label}'
        self._ring: Any = False

    def get(self, url: str, username: str) -> str | None:
        """Return what was kept for *username* at *url*."""
        ring = self._keyring()
        if ring is not None:
            with _forgiving('read from'):
                kept = ring.get_password(self.service, f'{username}@{url}')
                if kept is not None:
                    return str(kept)
        value = self._read().get(url, {}).get(username)
        return value if isinstance(value, str) else None

    def set(self, url: str, username: str, password: str) -> None:
        """Keep *password* for *username* at *url*."""
        if hmac.compare_digest((self.get(url, username) or '').encode(), password.encode()):
            return
        ring = self._keyring()
        if ring is not None:
            with _forgiving('write to'):
                ring.set_password(self.service, f'{username}@{url}', password)
                return
        kept = self._read()
        kept.setdefault(url, {})[username] = password
        self._write(kept)

    def tidy(self) -> None:
        """Remove what a run has left that broke off while it wrote."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._staged)

    def _keyring(self) -> Any:
        if self._ring is False:
            self._ring = None
            with contextlib.suppress(Exception):  # no keyring installed, or none that works
                import keyring  # type: ignore[import-not-found, unused-ignore]

                if keyring.get_keyring().priority > 0:
                    self._ring = keyring
        return self._ring

    def _read(self) -> dict[str, Any]:
        try:
            with open(self.path, encoding='utf-8') as stream:
                if os.name == 'posix' and stat.S_IMODE(os.fstat(stream.fileno()).st_mode) & 0o077:
                    os.chmod(self.path, 0o600)
                kept = json.load(stream)
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def _write(self, kept: dict[str, Any]) -> None:
        from pysyncml.storage import files

        self.tidy()
        handle = os.open(self._staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, 'w', encoding='utf-8') as stream:
            json.dump(kept, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(self._staged, self.path)
        # before the file it was read from is forgotten
        files.sync([os.path.dirname(self.path)], whole=os.path.dirname(self.path))


@contextlib.contextmanager
def _forgiving(doing: str) -> Any:
    try:
        yield
    except Exception as error:  # a keyring may raise anything: it may be locked, or gone
        log.info('could not %s the keyring: %s', doing, error)
