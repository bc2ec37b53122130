"""One run as a client: find the server, synchronise, say what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from pysyncml import errors
from pysyncml.cli import alert, options, passwords, retry, signals, verify
from pysyncml.cli.meanwhile import meanwhile
from pysyncml.cli.report import (
    describeStats,
    exit_code_of,
    printable,
    stats_as_json,
    write_json,
    write_trouble,
)
from pysyncml.constants import SyncType
from pysyncml.util import new_device_id, plural

if TYPE_CHECKING:
    from pysyncml.cli.engine import CommandLineSyncEngine
    from pysyncml.protocol.notification import Notification

log = logging.getLogger('pysyncml.cli')

_Result = TypeVar('_Result')


def run(engine: CommandLineSyncEngine) -> int:
    """Synchronise once; return the exit code."""
    notification = alert.read(engine)
    login = _Login(engine)
    if engine.options.insecure and not engine.options.fingerprint:
        log.warning('--insecure: anybody on the way could pose as %s', printable(login.url))
    with engine.lock('client'):
        again = retry.Retry(engine)
        stats = again.run(lambda: _run(engine, login, notification, again))
        login.remember()
    _tell(engine, stats)
    return exit_code_of(stats)


def _run(
    engine: CommandLineSyncEngine,
    login: _Login,
    notification: Notification | None,
    again: retry.Retry,
) -> Any:
    """Synchronise; return the counts, by our datastores."""
    engine.deferred = [] if _may_wait(engine, notification) else None
    adapter = _guarded(engine, lambda: _adapter(engine, login))
    uri = engine.options.remoteUri
    adapter.routes = dict.fromkeys(adapter.stores, uri) if uri else {}
    wish = _Wish(engine, adapter, notification)
    for kind in (SyncType.REFRESH_FROM_SERVER, SyncType.REFRESH_FROM_CLIENT):
        stores = [adapter.stores[uri] for uri, wanted in wish.kinds.items() if wanted is kind]
        if stores:
            again.safe = False
            _show_losses(engine, stores, kind, login.url)
    with engine.work():
        engine.fire('sync.start', adapter, wish.kind)
    guard = adapter.mayDelete = _DeletionGuard(engine)
    try:
        stats = _attempt(engine, adapter, login, wish)
        if guard.question:
            _tell(engine, stats)
        if guard.allowed():
            stats = _attempt(engine, adapter, login, wish)
    finally:
        engine.progress.close()
    for uri, row in stats.items():
        row.mode = wish.kinds.get(uri, wish.kind) if row.mode is None else row.mode
    with engine.work():
        engine.fire('sync.term', adapter, stats)
    return stats


def _may_wait(engine: CommandLineSyncEngine, notification: Notification | None) -> bool:
    """Whether nobody asks what has changed here before the session has begun."""
    usual = options.MODES[engine.options.mode] is SyncType.TWO_WAY and notification is None
    return usual and not log.isEnabledFor(logging.INFO)


def compare(engine: CommandLineSyncEngine) -> int:
    """Do --verify: compare with the server by checksum; return the exit code."""
    login = _Login(engine)
    with engine.lock('client'):
        adapter = _guarded(engine, lambda: _adapter(engine, login))
        uri = engine.options.remoteUri
        adapter.routes = dict.fromkeys(adapter.stores, uri) if uri else {}
        adapter.onProgress = lambda sent, received: engine.progress('comparing', received)
        try:
            results = retry.Retry(engine).run(
                lambda: _logged_in(engine, adapter, login, lambda: _compare(engine, adapter))
            )
        finally:
            engine.progress.close()
        login.remember()
    return verify.tell(engine, results)


def _compare(engine: CommandLineSyncEngine, adapter: Any) -> Any:
    transport = engine.makeTransport()
    try:
        return adapter.verify(transport)
    finally:
        transport.close()


class _Wish:
    """What to do: as the options say, or as the server has asked for.

    ``kinds`` is our datastore's URI → the kind of synchronisation, ``kind`` what they have in
    common: server alerted, where the server wants different ones.
    """

    def __init__(
        self, engine: CommandLineSyncEngine, adapter: Any, notification: Notification | None
    ) -> None:
        self._notification = notification
        self.kind = options.MODES[engine.options.mode]
        self.kinds = dict.fromkeys(adapter.stores, self.kind)
        if notification is not None:
            self.kinds = alert.kinds_of(engine, adapter, notification)
            asked = set(self.kinds.values())
            self.kind = asked.pop() if len(asked) == 1 else SyncType.SERVER_ALERTED
        self._alerted = notification is not None

    def arguments(self) -> dict[str, Any]:
        """Return what to ask of the adapter; one session only is the one asked for."""
        if not self._alerted:
            return {'mode': self.kind}
        notification, self._notification = self._notification, None
        return {'mode': self.kinds, 'notification': notification}


class _Login:
    """The server, the user name and the password; asked for where they are missing."""

    def __init__(self, engine: CommandLineSyncEngine) -> None:
        self.engine = engine
        chosen = engine.options
        self.store = passwords.PasswordStore(str(engine.dataDir), engine.appLabel)
        self._keep = False
        if not chosen.remote:
            self._ask_server()
        self.url: str = chosen.remote
        self.username: str | None = chosen.username
        if self.username is None and 'password' in engine.said and chosen.password is not None:
            raise errors.UsageError('--password needs --username')
        self.password = self._password()

    def _ask_server(self) -> None:
        chosen = self.engine.options
        if not passwords.on_terminal():
            raise errors.UsageError(
                f'no server is known for {self.engine.place} yet: say which one with --remote URL'
            )
        url = passwords.ask('SyncML remote URL: ').strip()
        try:
            chosen.remote = options.read_url(url)
        except Exception as error:
            raise errors.UsageError(str(error)) from None
        if chosen.username is None and not chosen.noUsername:
            prompt = 'SyncML remote username (leave empty if none): '
            chosen.username = passwords.ask(prompt).strip() or None
        self.engine.save()

    def _password(self) -> str | None:
        if self.username is None:
            return None
        chosen = self.engine.options
        password = passwords.given(chosen, self.engine.appLabel)
        if password is not None:
            self._keep = chosen.password is not None
            return password
        password = self.store.get(self.url, self.username)
        if password is not None:
            return password
        if not passwords.on_terminal():
            variable = passwords.variable(self.engine.appLabel)
            raise errors.InvalidCredentials(
                f'the password of --username {printable(self.username)} is missing: '
                f'give --password-file FILE, or set {variable}'
            )
        return self._ask_password()

    def _ask_password(self) -> str:
        self._keep = True
        return passwords.ask('SyncML remote password: ', secret=True)

    def again(self) -> bool:
        """Ask for the password again, if there is somebody to ask; return whether there was."""
        if self.username is None or not passwords.on_terminal():
            return False
        self.engine.progress.close()
        print(f'{self.url} does not accept this password.', file=self.engine.stderr)
        self.password = self._ask_password()
        return True

    def remember(self) -> None:
        """Keep a password that worked, if it was typed, in the place of a password file."""
        self.store.tidy()
        if self._keep and self.username is not None and self.password is not None:
            self.store.set(self.url, self.username, self.password)
            if self.engine.options.passwordFile:
                self.engine.options.passwordFile = None
                self.engine.save()

    def parts(self) -> tuple[str, str | None, str | None]:
        """Return URL, user name and password."""
        return self.url, self.username, self.password


def join_peer(
    context: Any,
    adapter: Any,
    url: str,
    username: str | None,
    password: str | None,
    *,
    encoding: str | None = None,
    insecure: bool = False,
) -> None:
    """Make the server at *url* the peer of *adapter*, be it known from before or new."""
    adapter.peer = context.RemoteAdapter(
        url=url, username=username, password=password, encoding=encoding, insecure=insecure
    )


def _adapter(engine: CommandLineSyncEngine, login: _Login) -> Any:
    with engine.work():
        return engine.makeAdapter(login.parts())


def _attempt(engine: CommandLineSyncEngine, adapter: Any, login: _Login, wish: _Wish) -> Any:
    return _logged_in(
        engine, adapter, login, lambda: _guarded(engine, lambda: _sync(engine, adapter, wish))
    )


def _logged_in(
    engine: CommandLineSyncEngine, adapter: Any, login: _Login, action: Callable[[], _Result]
) -> _Result:
    """Do *action*; with another password again, if the server does not accept this one."""
    try:
        return action()
    except errors.InvalidCredentials:
        if not login.again():
            raise
        adapter.peer.password = login.password
        return action()


def _new_id(engine: CommandLineSyncEngine) -> str:
    """Give this directory another id, as it is a copy; return the id."""
    engine.options.devid = f'{engine.appLabel}:{new_device_id()}'
    engine.save()
    return str(engine.options.devid)


def _sync(engine: CommandLineSyncEngine, adapter: Any, wish: _Wish) -> Any:
    adapter.onCopied = lambda: _new_id(engine)
    adapter.allowDeletions = engine.options.allowDeletions
    adapter.onProgress = lambda sent, received: engine.progress('synchronising', sent + received)
    transport = engine.makeTransport()

    def put_off() -> None:
        adapter.suspend()
        if not engine.options.quiet:
            engine.progress.close()
            print('Stopping after this message (Ctrl-C again: at once).', file=engine.stderr)

    try:
        with signals.put_off(put_off):
            during = meanwhile(engine, adapter, transport)
            stats = adapter.sync(**wish.arguments(), transport=during)
    finally:
        transport.close()
    if adapter.suspended:
        raise KeyboardInterrupt
    return stats


class _DeletionGuard:
    """Asked by the adapter before it deletes unusually many items here.

    Nobody is asked while the session goes on, as others may be waiting for the database: what
    is past the limit is put off, and asked about when the session has ended.
    """

    def __init__(self, engine: CommandLineSyncEngine) -> None:
        self.engine = engine
        self.question = ''

    def __call__(self, count: int, total: int) -> bool:
        if self.engine.options.allowDeletions:
            return True
        if not self.question:
            noun = plural(total, self.engine.itemNoun)
            self.question = f'The server wants {count} or more of the {noun} here deleted.'
        return False

    def allowed(self) -> bool:
        """Return whether somebody agrees to the deletions that were put off."""
        if not self.question:
            return False
        self.engine.progress.close()
        if not _yes(self.engine, f'{self.question} Go on?'):
            raise errors.TooManyDeletions(f'{self.question} The others were kept')
        self.engine.options.allowDeletions = True
        return True


def _guarded(engine: CommandLineSyncEngine, action: Callable[[], _Result]) -> _Result:
    """Do *action*; when a guard against loss stops it, ask, and do it again after a yes."""
    try:
        return action()
    except (errors.TooManyDeletions, errors.StoreEmpty) as error:
        engine.progress.close()
        if engine.options.allowDeletions or not _yes(engine, f'{error} Go on all the same?'):
            raise
        engine.options.allowDeletions = True
        return action()


def _yes(engine: CommandLineSyncEngine, question: str) -> bool:
    if engine.options.yes:
        return True
    return passwords.on_terminal() and passwords.confirm(printable(question))


def _show_losses(
    engine: CommandLineSyncEngine, stores: list[Any], kind: SyncType, url: str
) -> None:
    """Say what a mode that replaces one side will replace; ask, if there is somebody to ask."""
    with engine.work():
        here = sum(store.itemCount() for store in stores)
    counted, where = plural(here, engine.itemNoun), printable(url)
    if kind is SyncType.REFRESH_FROM_SERVER:
        text = f'{counted} here will be replaced with what {where} has'
        text += '; what goes is kept in the trash.'
    else:
        with engine.work():
            bound = [store.peer for store in stores]
            there = sum(store.binding.knownCount() for store in bound if store is not None)
        had = f' ({plural(there, engine.itemNoun)} the last time)' if there else ''
        text = f'Everything that {where} has{had} will be replaced with the {counted} from here.'
    if not engine.options.quiet:
        print(text, file=engine.stderr)
    ask = not engine.options.yes and passwords.on_terminal()
    if ask and not passwords.confirm('Go on?'):
        raise errors.RefusedError('nothing was done')


def _tell(engine: CommandLineSyncEngine, stats: Any) -> None:
    if engine.options.json:
        code = int(exit_code_of(stats))
        write_json({'stats': stats_as_json(stats), 'exitCode': code}, engine.stdout)
        return
    if not engine.options.quiet:
        describeStats(stats, engine.stdout, title='Synchronization Summary')
    write_trouble(stats, engine.stderr)
