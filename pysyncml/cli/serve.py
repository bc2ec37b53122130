"""One run as the ad hoc server: listen, let clients in, say one line per session."""

from __future__ import annotations

import _thread
import contextlib
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any

from pysyncml.cli import passwords
from pysyncml.cli.options import read_address
from pysyncml.cli.rebuild import check_accounts, post_mortem
from pysyncml.cli.report import exit_code_of, printable, session_line, stats_as_json, write_json
from pysyncml.cli.signals import stoppable
from pysyncml.constants import ExitCode
from pysyncml.errors import StateDamaged, UsageError
from pysyncml.util import adict

if TYPE_CHECKING:
    from pysyncml.cli.engine import CommandLineSyncEngine

log = logging.getLogger('pysyncml.cli')

_SHORT = 16  # characters of a device id that tell devices apart in a line for people
_DAY = 86400.0  # seconds


def run(engine: CommandLineSyncEngine) -> int:
    """Serve until somebody says stop; return the exit code."""
    from pysyncml.storage.allocator import release_memory

    account = _account(engine)
    check_accounts(engine, account)
    host = _host(engine, account)
    with engine.lock('server'), stoppable():
        failure = _Failure(engine)
        server = _server(engine, host, failure)
        server.start()
        try:
            with contextlib.suppress(KeyboardInterrupt):
                with engine.work():
                    engine.fire('server.start', server)
                _announce(engine, server, account)
                server.serve_forever(tidy=release_memory)
            failure.check()
        finally:
            server.stop()
            with engine.work():
                engine.fire('server.stop', server)
    _say(engine, 'Stopped.', {'event': 'stop'})
    return ExitCode.OK


def application(engine: CommandLineSyncEngine) -> Any:
    """Return the server as a plain WSGI application, for any other server to run."""
    check_accounts(engine, _account(engine))
    return _application(engine)


class _Failure:
    """Told by the adapter, in the thread that answered, that a message could not be answered.

    Where that is because the state database is damaged, the server stops.
    """

    def __init__(self, engine: CommandLineSyncEngine, *, stops: bool = True) -> None:
        self.engine = engine
        self.error: BaseException | None = None
        self._stops = stops
        self._turn = threading.Lock()

    def __call__(self, error: Exception) -> bool:
        with self._turn:
            if self.error is not None:
                return True
            found = post_mortem(self.engine, error)
            if not isinstance(found, StateDamaged):
                return False
            self.error = found
        if self._stops:
            _thread.interrupt_main()
        else:
            log.error('%s: start the server anew', found)
        return True

    def check(self) -> None:
        """Raise what has stopped the server, if that was a failure."""
        if self.error is not None:
            raise self.error


class _Sessions:
    """Called by the adapter when a session has ended, in the thread that answered it."""

    def __init__(self, engine: CommandLineSyncEngine) -> None:
        self.engine = engine
        self._turn = threading.Lock()

    def __call__(self, peer: Any, stats: Any, how: str) -> None:
        error = None if how == 'done' else how
        who = getattr(peer, 'name', None) or ''
        short = peer.devID if len(peer.devID) <= _SHORT else peer.devID[:_SHORT] + '…'
        line = session_line(f'{who} ({short})' if who else short, stats, error)
        fields = {
            'event': 'session',
            'peer': peer.devID,
            'name': who or None,
            'stats': stats_as_json(stats),
            'exitCode': int(ExitCode.FAILED if error else exit_code_of(stats)),
            'error': error,
        }
        with self._turn:
            _say(self.engine, line, fields)
        for row in stats.values():
            for problem in row.problems:
                log.warning('%s: %s', who or short, problem)
            if row.conflictNames:
                log.warning('%s: in conflict: %s', who or short, ', '.join(row.conflictNames))
        log.info('%s', line.partition(' ')[2].partition(' ')[2])


def _refresh(engine: CommandLineSyncEngine, adapter: Any) -> None:
    """Look at the data again, as a session begins; called within its unit of work."""
    for uri, store in engine.makeAdapter().stores.items():
        store.adapter = adapter
        adapter.stores[uri] = store


def _application(engine: CommandLineSyncEngine, failure: _Failure | None = None) -> Any:
    from pysyncml.transport import Request, Response
    from pysyncml.transport.wsgi import application

    # making an adapter now brings the errors of a start to whoever starts it
    with engine.work():
        adapter = engine.makeAdapter()
    adapter.onSession = lambda: _refresh(engine, adapter)
    adapter.onEnd = _Sessions(engine)
    adapter.onFailure = failure or _Failure(engine, stops=False)
    adapter.auth = engine.options.auth
    adapter.mayDelete = lambda count, total: engine.options.allowDeletions
    adapter.max_devices = engine.options.maxDevices
    adapter.forget_after = engine.options.forgetAfter * _DAY or None

    def handler(request: Request) -> Response:
        answer = adict()
        adapter.handleRequest(None, request, answer)
        headers = {'Retry-After': str(answer.retry_after)} if answer.retry_after else {}
        return Response(answer.body, answer.contentType, answer.status or 200, headers)

    proxy = engine.options.trustedProxy
    return application(handler, trusted_proxies=[proxy] if proxy else ())


def _server(engine: CommandLineSyncEngine, host: str, failure: _Failure) -> Any:
    from pysyncml.cli import certificates
    from pysyncml.storage.allocator import share_memory
    from pysyncml.transport.wsgi import AdHocServer

    chosen = engine.options
    cert, key = chosen.tlsCert, chosen.tlsKey
    if chosen.tls == 'self-signed':
        names = [host] if host and not _is_anywhere(host) else [socket.gethostname()]
        cert, key = certificates.self_signed(str(engine.dataDir), names), None
    if cert is not None:
        certificates.warn_of_readers(key or cert)
    port = read_address(chosen.listen).port
    share_memory()
    return AdHocServer(_application(engine, failure), host, port, tls_cert=cert, tls_key=key)


def _is_anywhere(host: str) -> bool:
    return host in ('0.0.0.0', '::')


# --- who may come in ----------------------------------------------------------------------------


def _account(engine: CommandLineSyncEngine) -> str | None:
    """Store the account that was asked for; return the name of the user who may come in."""
    from pysyncml.protocol.auth import hash_password, md5_secret

    chosen, said = engine.options, engine.said
    with engine.work() as work:
        known = next(iter(work.accounts()), None)
        if chosen.auth == 'basic' and work.md5_secrets():
            work.set_accounts(work.accounts())
        lacking = chosen.auth != 'basic' and not work.md5_secrets()
    username: str | None = chosen.username or known
    if chosen.noUsername:
        with engine.work() as work:
            work.set_accounts({})
        return None
    if username is None:
        if {'password', 'passwordFile'} & said:
            raise UsageError('--password needs --username')
        if 'auth' in said and chosen.auth != 'basic':
            raise UsageError(f'--auth {chosen.auth} needs --username')
        return None
    if ':' in username:
        raise UsageError('a user name cannot have a colon')
    changed = {'username', 'password', 'passwordFile'} & said or chosen.password is not None
    changed = changed or lacking
    if not changed and username == known:
        return username
    password = passwords.given(chosen, engine.appLabel)
    if password is None:
        password = _asked(engine, username)
    hashed = {username: hash_password(password)}
    secrets = {username: md5_secret(username, password)} if chosen.auth != 'basic' else None
    with engine.work() as work:
        work.set_accounts(hashed, secrets)
    return username


def _asked(engine: CommandLineSyncEngine, username: str) -> str:
    if not passwords.on_terminal():
        raise UsageError(
            f'the password for --username {printable(username)} is missing: give '
            f'--password-file FILE, or set {passwords.variable(engine.appLabel)}'
        )
    return passwords.ask_new(f'{printable(username)}, who may come in to {engine.place}')


def _host(engine: CommandLineSyncEngine, account: str | None) -> str:
    """Return the address to listen on: without an account, one of this machine only."""
    host = read_address(engine.options.listen).host
    if account is not None:
        return host or ''
    if host is None:
        return '127.0.0.1'
    if not _is_loopback(host):
        raise UsageError(
            f'listening on {printable(host)} would let everybody in: '
            'say who may with --username, or listen on 127.0.0.1'
        )
    return host


def _is_loopback(host: str) -> bool:
    import ipaddress

    if host.lower() == 'localhost':
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# --- what people see ----------------------------------------------------------------------------


def _announce(engine: CommandLineSyncEngine, server: Any, account: str | None) -> None:
    lines = [f'{server.ready_line} for {engine.place}']
    lines += [f'Or use {url}' for url in server.urls[1:]]
    if account is None:
        lines.append(
            'Only this machine can connect; with --username NAME others can, after a password.'
        )
    elif not server.tls and not _is_loopback(server.host):
        lines.append('Passwords and data travel unencrypted; --tls self-signed changes that.')
    fields = {'event': 'start', 'urls': list(server.urls)}
    if server.fingerprint is not None:
        lines.append('The SHA-256 fingerprint of the certificate, for --fingerprint at clients:')
        lines.append(f'  {server.fingerprint}')
        fields['fingerprint'] = server.fingerprint
    lines.append('Ctrl-C stops it.')
    _say(engine, '\n'.join(lines), fields)
    log.info('%s', lines[0])


def _say(engine: CommandLineSyncEngine, text: str, fields: dict[str, Any]) -> None:
    if engine.options.json:
        write_json(fields, engine.stdout)
    elif not engine.options.quiet:
        engine.stdout.write(text + '\n')
    engine.stdout.flush()
