"""A state database that is damaged: set aside, and a new one is made in its place.

What is lost with it is what both sides were known to have. So the next synchronisation is one
of a device that has never been here: everything is compared, equal notes are recognised, others
are kept on both sides, and nothing is deleted. Options and accounts are taken over as far as two
places in the old database agree on them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from typing import TYPE_CHECKING, Any

from pysyncml.cli.folders import make_private_file
from pysyncml.cli.locks import locked
from pysyncml.cli.report import printable
from pysyncml.errors import InternalError, StateDamaged, SyncmlError, UsageError
from pysyncml.state import damage

if TYPE_CHECKING:
    from pysyncml.cli.engine import CommandLineSyncEngine

log = logging.getLogger('pysyncml.cli')

#: A file that says that a server has accounts, for the case that the database is lost.
_GUARDED = 'accounts'
#: The option that says that the accounts are lost.
LOST = 'accounts.lost'

_SAVED = 'cli'
_TEXTS = (
    'name',
    'listen',
    'policy',
    'auth',
    'tls',
    'tlsCert',
    'tlsKey',
    'remoteUri',
    'username',
    'passwordFile',
    'httpLogin',
    'caFile',
    'fingerprint',
    'trustedProxy',
)


def open_state(engine: CommandLineSyncEngine, path: str, storage: Any) -> Any:
    """Return the context for the database at *path*; a new one, if it is damaged.

    Raises:
        StateDamaged: it is damaged, and this run must not change anything.
        Locked: it is damaged, and another process is working with it.
    """
    reason = damage.glance(path)
    if reason is None:
        make_private_file(path)
        context = engine.makeContext(storage, os.path.dirname(path))
        try:
            context.options.get(_SAVED)
            return context
        except StateDamaged as error:
            context.close()
            reason = str(error).partition('(')[2].rstrip(')') or str(error)
    if engine.readonly:
        raise StateDamaged(
            f'the state database is damaged ({reason}): synchronise, and it is made anew'
        )
    folder = str(engine.dataDir)
    with locked(folder, 'client', engine.place), locked(folder, 'server', engine.place):
        aside = damage.set_aside(path)
        return _rebuild(engine, path, storage, aside, reason)


def _rebuild(
    engine: CommandLineSyncEngine, path: str, storage: Any, aside: str, reason: str
) -> Any:
    _keep_staged(os.path.dirname(path), aside)
    make_private_file(path)
    context = engine.makeContext(storage, os.path.dirname(path))
    options, accounts = _salvaged(aside) if os.path.isfile(aside) else ({}, {})
    guarded = is_guarded(engine)
    with context.work() as work:
        for key, value in options.items():
            work.set_option(key, value)
        work.set_accounts(
            {name: values[0] for name, values in accounts.items()},
            {name: values[1] for name, values in accounts.items() if values[1]},
        )
        served = options.get(_SAVED, {}).get('server', True) or guarded
        if not accounts and served:
            work.set_option(LOST, True)
    log.warning(
        'the state database was damaged (%s): it is kept as "%s", and a new one is made; '
        'the next synchronisation compares everything and deletes nothing',
        printable(reason),
        printable(os.path.basename(aside)),
    )
    kept = [name for name in ('remote', 'username', 'listen') if options.get(_SAVED, {}).get(name)]
    kept += [f'the account of {printable(name)}' for name in accounts]
    if kept:
        log.warning('kept from it: %s', ', '.join(kept))
    if not options.get(_SAVED, {}).get('remote') and not accounts:
        log.warning('the rest could not be read: what was remembered has to be said again')
    return context


def _keep_staged(folder: str, aside: str) -> None:
    """Keep bodies on their way to their places: nothing tells any more what they were for."""
    staged = os.path.join(folder, 'staged')
    with contextlib.suppress(OSError):
        if os.listdir(staged):
            os.rename(staged, f'{aside}.staged')


# --- reading what can be read -------------------------------------------------------------------


def _salvaged(aside: str) -> tuple[dict[str, Any], dict[str, tuple[str, str | None]]]:
    """Return the options and the accounts that can be taken over from the old database."""
    with damage.remains(aside) as remains:
        options = remains.rows('pysyncml_option', ['key', 'value'])
        devices = remains.rows('pysyncml_device', ['role', 'url'])
        accounts = remains.rows('pysyncml_account', ['username', 'password_hash', 'md5_secret'])
    found: dict[str, Any] = {}
    for row in options:
        with contextlib.suppress(TypeError, ValueError):
            found[row['key']] = json.loads(row['value'])
    urls = {row['url'] for row in devices if row['role'] == 'server'}
    return _trusted(found, urls), _whole(accounts)


def _trusted(found: dict[str, Any], urls: set[Any]) -> dict[str, Any]:
    """Return the options that make sense; an address must be that of a server we have met."""
    result: dict[str, Any] = {}
    said = found.get(_SAVED)
    if isinstance(said, dict):
        values = {name: said[name] for name in _TEXTS if isinstance(said.get(name), str)}
        if said.get('remote') in urls and isinstance(said['remote'], str):
            values['remote'] = said['remote']
        for name in ('server', 'syncFilename'):
            if isinstance(said.get(name), bool):
                values[name] = said[name]
        result[_SAVED] = _usable(values)
    if isinstance(found.get('directory'), str):
        result['directory'] = found['directory']
    return result


def _usable(values: dict[str, Any]) -> dict[str, Any]:
    """Return *values* without what the options would refuse."""
    from pysyncml.cli import options

    checks = {
        'listen': options.read_address,
        'policy': options.POLICIES.__getitem__,
        'auth': options.AUTH.index,
    }
    for name, check in checks.items():
        try:
            if name in values:
                check(values[name])
        except (ValueError, KeyError):
            del values[name]
    return values


def _whole(rows: list[dict[str, Any]]) -> dict[str, tuple[str, str | None]]:
    """Return the accounts in *rows*; a hash that has suffered opens the door to nobody."""
    return {
        row['username']: (row['password_hash'], row['md5_secret'])
        for row in rows
        if row['username'] and isinstance(row['username'], str)
        if isinstance(row['password_hash'], str) and isinstance(row['md5_secret'], str | None)
    }


# --- in the middle of a run ---------------------------------------------------------------------


def post_mortem(engine: CommandLineSyncEngine, error: BaseException) -> BaseException:
    """Return what *error*, which ends this run, really is; the next run sets the database aside.

    What stands wrong in a database may make itself felt in any way.
    """
    path = os.path.join(str(engine.dataDir or ''), engine.databaseName)
    if engine.readonly or not os.path.exists(path) or engine.context is None:
        return error
    if isinstance(error, StateDamaged):
        damage.suspect(path)
    elif _is_strange(error) and (problems := damage.examine(path)):
        damage.suspect(path)
        error = StateDamaged(f'the state database is damaged ({problems[0]})')
    return error


def _is_strange(error: BaseException) -> bool:
    known = isinstance(error, SyncmlError) and not isinstance(error, InternalError)
    return isinstance(error, Exception) and not known and not isinstance(error, OSError)


# --- a server that has lost its accounts --------------------------------------------------------


def is_guarded(engine: CommandLineSyncEngine) -> bool:
    """Whether a server of this directory was to ask for a password."""
    return os.path.exists(os.path.join(str(engine.dataDir), _GUARDED))


def guard(engine: CommandLineSyncEngine, account: str | None) -> None:
    """Note outside of the database whether there are accounts: it may get lost."""
    path = os.path.join(str(engine.dataDir), _GUARDED)
    if account is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    elif not os.path.exists(path):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, 'w', encoding='ascii') as file:
            file.write('This server asks for a password.\n')
            file.flush()
            os.fsync(file.fileno())
        damage.sync_folder(str(engine.dataDir))


def check_accounts(engine: CommandLineSyncEngine, account: str | None) -> None:
    """See to it that a server does not let in everybody because its accounts are lost.

    Raises:
        UsageError: they are, and nobody has said anew who may come in.
    """
    lost = bool(engine.context.options.get(LOST)) or is_guarded(engine)
    said = engine.options.noUsername or account is not None
    if lost and not said:
        raise UsageError(
            'who may come in was lost with the state database: say it again with --username NAME, '
            'or with --no-username that everybody on this machine may'
        )
    engine.context.options.update({LOST: None})
    guard(engine, account)


__all__ = ['check_accounts', 'guard', 'open_state', 'post_mortem']
