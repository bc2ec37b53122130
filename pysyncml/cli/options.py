"""The options of a program: what can be said, and what is remembered of it.

The arguments are parsed twice: once to find out where the state lives, then again with what is
remembered there as defaults. What the user said last holds until something else is said, and
everything that is remembered can be taken back. ``--describe``, ``--local`` and ``--trash``
change nothing, so nothing is remembered of a run with them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from pysyncml.constants import ExitCode, Policy, SyncType
from pysyncml.errors import UsageError

MODES = {
    'sync': SyncType.TWO_WAY,
    'full': SyncType.SLOW_SYNC,
    'pull': SyncType.ONE_WAY_FROM_SERVER,
    'push': SyncType.ONE_WAY_FROM_CLIENT,
    'pull-over': SyncType.REFRESH_FROM_SERVER,
    'push-over': SyncType.REFRESH_FROM_CLIENT,
}

POLICIES = {policy.name.lower().replace('_', '-'): policy for policy in sorted(
    Policy, key=lambda p: (p is not Policy.KEEP_BOTH, p)
)}  # fmt: skip

#: What a server may ask of clients that log in.
AUTH = ('basic', 'md5', 'md5-only')

# remembered whenever they are said; those of one server only as long as it is the same server
_SHARED = (
    *('devid', 'name', 'policy', 'listen', 'tls', 'tlsCert', 'tlsKey', 'auth'),
    *('maxDevices', 'forgetAfter', 'trustedProxy'),
)
_CLIENT = (
    *('remote', 'remoteUri', 'username', 'passwordFile', 'httpLogin', 'caFile', 'insecure'),
    *('fingerprint', 'timeout'),
)

_UNITS = {'s': 1.0, 'm': 60.0, 'h': 3600.0}


class Address(NamedTuple):
    """Where a server listens; *host* is ``None`` when only the port was said."""

    host: str | None
    port: int


def read_address(text: str | int) -> Address:
    """Return the address that ``PORT``, ``HOST:PORT`` or ``[IPV6]:PORT`` stands for.

    Raises:
        ValueError: *text* is none of these.
    """
    host, colon, port = str(text).rpartition(':')
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError(f'"{text}" is no PORT (0 to 65535) and no HOST:PORT')
    host = host.removeprefix('[').removesuffix(']') if host.startswith('[') else host
    if colon and not host:
        raise ValueError(f'"{text}" lacks the host in front of the colon')
    return Address(host or None, int(port))


def _listen(text: str) -> str:
    try:
        read_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _path(text: str) -> str:
    # remembered paths must mean the same file from any working directory
    return os.path.abspath(os.path.expanduser(text)) if text else ''


def read_url(text: str) -> str:
    """Return the http(s) address *text*, tidied up.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    # urllib.parse would do more than is needed, and costs start-up time
    scheme, mark, rest = text.strip().partition('://')
    if scheme.lower() not in ('http', 'https') or not rest.strip('/'):
        near = '' if mark or not text.strip() else f', did you mean "https://{text.strip()}"?'
        raise argparse.ArgumentTypeError(f'"{text}" is no http:// or https:// address{near}')
    return f'{scheme.lower()}://{rest}'


class Patience(NamedTuple):
    """How often to begin again, or for how many seconds; one of them is ``None``."""

    times: int | None
    seconds: float | None


def read_patience(text: str) -> Patience:
    """Return what ``5``, ``90s``, ``10m`` or ``2h`` stands for.

    Raises:
        argparse.ArgumentTypeError: *text* is none of these.
    """
    number, unit = text.strip(), ''
    if number[-1:] in tuple(_UNITS):
        number, unit = number[:-1], number[-1]
    if not (number.isascii() and number.isdigit() and len(number) < 7):
        raise argparse.ArgumentTypeError(
            f'"{text}" is no number of times (5) and no duration (90s, 10m, 2h)'
        )
    if unit:
        return Patience(None, int(number) * _UNITS[unit])
    return Patience(int(number), None)


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 86400):
        raise argparse.ArgumentTypeError(f'"{text}" is no number of seconds (0 to 86400)')
    return int(text)


def _fingerprint(text: str) -> str:
    from pysyncml.transport.fingerprints import read

    try:
        return read(text) if text.strip() else ''
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _proxy(text: str) -> str:
    from ipaddress import ip_address

    try:
        return str(ip_address(text)) if text else ''
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is no network address') from None


def _most(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 31):
        raise argparse.ArgumentTypeError(f'"{text}" is no number of devices')
    return int(text)


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f'"{text}" is no number of days')
    return int(text)


# --- the parser ---------------------------------------------------------------------------------


class _Version(argparse.Action):
    def __init__(self, option_strings: Any, dest: str, **kw: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **kw)

    def __call__(self, parser: Any, *args: Any) -> None:
        from pysyncml import versionString

        print(parser.prog, versionString)
        parser.exit()


def exit_codes_text() -> str:
    """Return the list of exit codes, for the help."""
    words = {
        ExitCode.OK: 'in step',
        ExitCode.FAILED: 'failed',
        ExitCode.USAGE: 'wrong arguments',
        ExitCode.CONFLICTS: 'conflicts left',
        ExitCode.ITEMS_FAILED: 'some items failed',
        ExitCode.REFUSED: 'refused, to lose nothing',
        ExitCode.NETWORK: 'network',
        ExitCode.AUTHENTICATION: 'wrong login',
        ExitCode.PROTOCOL: 'the other side broke the protocol',
        ExitCode.LOCKED: 'already running',
        ExitCode.DIFFERENT: 'something differs',
        ExitCode.INTERRUPTED: 'interrupted',
    }
    lines = ['']
    for code, text in words.items():
        part = f'{int(code)} {text}'
        if len(lines[-1]) + len(part) > 84:
            lines[-1] += ','
            lines.append('')
        lines[-1] += f', {part}' if lines[-1] else part
    return 'exit codes:\n' + '\n'.join(f'  {line}' for line in lines) + '\n'


def make_parser(engine: Any) -> argparse.ArgumentParser:
    """Return the parser of *engine*, with its hooks fired on the way (``engine.parser`` is set)."""
    parser = argparse.ArgumentParser(
        description=f'{engine.appDisplay}: keeps things in step using SyncML.',
        epilog=engine.examples() + exit_codes_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    engine.parser = parser
    engine.fire('options.setup.init')
    _generic(parser.add_argument)
    engine.fire('options.setup.generic')
    _asking(parser.add_argument)
    _both(parser.add_argument_group('this device').add_argument)
    _client(parser.add_argument_group('as a client').add_argument, engine)
    _server(parser.add_argument_group('as a server').add_argument, engine)
    engine.fire('options.setup.term')
    _take_backs(parser)
    return parser


def _generic(add: Callable[..., Any]) -> None:
    add('-V', '--version', action=_Version, help='show the version and exit')
    add('-v', '--verbose', action='count', default=0, help='say more; up to four times')
    add('-q', '--quiet', action='store_true', help='say nothing when all is well')
    add('--json', action='store_true', help='write results as JSON, one object a line')
    add('--log-file', dest='logFile', metavar='FILE', help='write a log to FILE, too')


def _asking(add: Callable[..., Any]) -> None:
    add('-d', '--describe', action='store_true', help='show the configuration; change nothing')
    add('-l', '--local', action='store_true', help='show pending changes; change nothing')
    add('--check-state', dest='checkState', action='store_true', help=(
        'examine the state database, and mend what can be mended from what is there'
    ))  # fmt: skip
    add(
        '--allow-deletions',
        dest='allowDeletions',
        action='store_true',
        help='go on although unusually many items would be deleted',
    )
    add('--yes', action='store_true', help='answer every question with yes')


def _both(add: Callable[..., Any]) -> None:
    add('-i', '--id', dest='devid', metavar='DEVID', help='the id of this device (remembered)')
    add('-n', '--name', help='the name others see (remembered; default: that of the computer)')
    add('-u', '--username', help='client: log in as; server: the user who may come in')
    add(
        '--no-username',
        dest='noUsername',
        action='store_true',
        help='client: do not log in any more; server: only this machine may connect',
    )
    add('-p', '--password', help='the password (others may see it in the list of processes)')
    add(
        '--password-file',
        dest='passwordFile',
        metavar='FILE',
        type=_path,
        help='read the password from the first line of FILE',
    )


def _client(add: Callable[..., Any], engine: Any) -> None:
    add('-m', '--mode', choices=list(MODES), default='sync', metavar='MODE', help=(
        'sync (both ways, the default), full (compare everything), pull or push (one way), '
        'pull-over (replace all here), push-over (replace all there)'
    ))  # fmt: skip
    add('--alerted', metavar='FILE', help=(
        'do what the server asks for in the notification in FILE ("-": the standard input)'
    ))  # fmt: skip
    add('--verify', action='store_true', help=(
        'compare both sides by checksum and list what differs; change no note'
    ))  # fmt: skip
    add(
        '-r',
        '--remote',
        metavar='URL',
        type=read_url,
        help='the server; needed the first time only',
    )
    add(
        '-R',
        '--remote-uri',
        dest='remoteUri',
        metavar='URI',
        help='the datastore of the server to use (remembered; "" lets the program choose again)',
    )
    add(
        '--encoding',
        choices=['xml', 'wbxml'],
        metavar='ENCODING',
        help='what to write messages in, xml or wbxml (remembered for this server; by default'
        ' what it took the last time)',
    )
    add(
        '--client',
        dest='server',
        action='store_false',
        default=False,
        help='be a client again, after --server was remembered',
    )
    add(
        '--http-login',
        dest='httpLogin',
        metavar='FILE',
        type=_path,
        help='for a web server in front that wants a login of its own: a file whose first line is'
        ' NAME:PASSWORD (remembered; "" takes it back)',
    )
    add(
        '--ca-file',
        dest='caFile',
        metavar='FILE',
        type=_path,
        help='trust the server certificates that FILE vouches for (remembered; "" takes it back)',
    )
    add('--fingerprint', metavar='SHA256', type=_fingerprint, help=(
        'trust the server with this certificate, and no other; a server shows its fingerprint when'
        ' it starts (remembered; "" takes it back)'
    ))  # fmt: skip
    add(
        '--insecure',
        action=argparse.BooleanOptionalAction,
        default=False,
        help='do not check the certificate of the server, and send the password without'
        ' encryption if it asks for that (remembered)',
    )

    add('--retry', metavar='TIMES|DURATION', type=read_patience, help=(
        'when the network fails begin again, so many times (5) or for so long (90s, 10m, 2h);'
        ' for this run'
    ))  # fmt: skip
    add('--timeout', metavar='SECONDS', type=_seconds, help=(
        'how long the server may take for one message (remembered for this server; default 600,'
        ' and 120 without a sign of life; 0 takes it back)'
    ))  # fmt: skip


def _server(add: Callable[..., Any], engine: Any) -> None:
    add('-s', '--server', action='store_true', default=False, help='be a server (remembered)')
    add('-L', '--listen', metavar='[HOST:]PORT', type=_listen, default=str(engine.defaultListen),
        help=f'where the server listens, default {engine.defaultListen}; implies --server'
             ' (remembered)')  # fmt: skip
    add(
        '-P',
        '--policy',
        choices=list(POLICIES),
        default='keep-both',
        metavar='POLICY',
        help=f'who wins a conflict that does not merge: {", ".join(POLICIES)} (remembered;'
        ' default keep-both)',
    )
    add(
        '--auth',
        choices=AUTH,
        default='basic',
        metavar='KIND',
        help='how clients log in: basic, md5 (basic as well) or md5-only; for MD5 a hash of the'
        ' password is stored that is as good as the password (remembered; default basic)',
    )
    add('--tls', choices=['self-signed'], metavar='KIND', help=(
        'serve https; self-signed: with a certificate that is made for it and kept (remembered)'
    ))  # fmt: skip
    add('--tls-cert', dest='tlsCert', metavar='FILE', type=_path, help=(
        'serve https with this certificate (PEM, remembered)'
    ))  # fmt: skip
    add('--tls-key', dest='tlsKey', metavar='FILE', type=_path, help='the key of the certificate')
    add('--no-tls', dest='noTLS', action='store_true', help='serve http again')
    add('--max-devices', dest='maxDevices', metavar='N', type=_most, default=1000, help=(
        'how many devices the server keeps; a tenth of them may be new within an hour'
        ' (remembered; default 1000)'
    ))  # fmt: skip
    add('--forget-after', dest='forgetAfter', metavar='DAYS', type=_days, default=365, help=(
        'forget devices that have not synchronised for so many days; one that comes back is'
        ' compared with all there is (remembered; 0 keeps them for ever; default 365)'
    ))  # fmt: skip
    add('--trusted-proxy', dest='trustedProxy', metavar='ADDRESS', type=_proxy, help=(
        'believe the proxy at this address whom it forwards (remembered; "" takes it back)'
    ))  # fmt: skip


def _take_backs(parser: argparse.ArgumentParser) -> None:
    """Give each ``--no-x`` switch of the program its ``--x``, so that it can be taken back."""
    for action in list(parser._actions):
        if not isinstance(action, argparse._StoreFalseAction):
            continue
        for option in action.option_strings:
            positive = '--' + option.removeprefix('--no-')
            if option.startswith('--no-') and positive not in parser._option_string_actions:
                parser.add_argument(
                    positive,
                    dest=action.dest,
                    action='store_true',
                    default=argparse.SUPPRESS,
                    help=f'takes {"/".join(action.option_strings)} back',
                )


# --- parsing ------------------------------------------------------------------------------------


def parse(parser: argparse.ArgumentParser, argv: list[str]) -> tuple[Any, frozenset[str]]:
    """Return the options, and the names of those that were said rather than left to defaults."""
    options = parser.parse_args(argv)
    unsaid = object()
    probe = argparse.Namespace()
    names = {action.dest for action in parser._actions}
    for action in parser._actions:
        # counting and appending build on what is there already
        builds = isinstance(action, (argparse._CountAction, argparse._AppendAction))
        setattr(probe, action.dest, None if builds else unsaid)
    parser.parse_args(argv, probe)
    said = {name for name in names if getattr(probe, name, None) not in (unsaid, None)}
    return options, frozenset(said)


def settle(options: Any, said: frozenset[str], saved: dict[str, Any], fail: Any) -> None:
    """Work out the role and what goes with it; *fail* reports options that do not go together."""
    wants_server = ('server' in said and options.server) or 'listen' in said
    if wants_server and 'server' in said and not options.server:
        fail('--client and --listen do not go together')
    if wants_server and 'remote' in said:
        fail('--server and --remote do not go together: run one command for each role')
    if wants_server or 'remote' in said:
        options.server = wants_server
    if options.noUsername and 'auth' in said and options.auth != 'basic':
        fail(f'--auth {options.auth} needs --username')
    if not options.server and options.fingerprint and (options.remote or '').startswith('http:'):
        fail('--fingerprint is about certificates, so it needs a server at https://')
    if options.noUsername and 'username' in said:
        fail('--username and --no-username do not go together')
    if options.server and 'mode' in said:
        fail('--mode is for clients, and this directory is served: say --client or --remote URL')
    if options.alerted is not None:
        _check_alerted(options, said, fail)
    if 'retry' in said and options.mode in ('pull-over', 'push-over'):
        fail(f'--retry and --mode {options.mode} do not go together: what goes is agreed to once')
    if options.server and {'retry', 'timeout'} & said:
        fail('--retry and --timeout are for clients, and this directory is served: say --client')
    lone = (options.describe, options.local, getattr(options, 'trash', False))
    if sum(map(bool, (*lone, getattr(options, 'restore', None)))) > 1:
        fail('--describe, --local, --trash and --restore are for one run each')
    _check_examining(options, said, fail)
    _login(options, said, saved)
    if {'tls', 'tlsCert'} <= said:
        fail('--tls self-signed and --tls-cert do not go together')
    if options.noTLS or 'tls' in said:
        options.tlsCert = options.tlsKey = None
    if options.noTLS or ('tlsCert' in said and options.tlsCert):
        options.tls = None
    if options.server and options.tlsKey and not options.tlsCert:
        fail('--tls-key needs --tls-cert')
    files = ('caFile', 'passwordFile', 'httpLogin', 'tlsCert', 'tlsKey')
    single = ('name', 'remoteUri', 'username', 'fingerprint', 'timeout', 'trustedProxy')
    for name in (*single, *files):
        setattr(options, name, getattr(options, name) or None)  # "" takes it back


def _check_alerted(options: Any, said: frozenset[str], fail: Any) -> None:
    if options.server:
        fail('--alerted is for clients, and this directory is served: say --client or --remote URL')
    if 'mode' in said:
        fail('--alerted and --mode do not go together: the notification says what to do')
    if options.describe or options.local or getattr(options, 'trash', False):
        fail('--alerted synchronises: it does not go with --describe, --local or --trash')
    if getattr(options, 'restore', None) is not None:
        fail('--alerted and --restore are for one run each')


def _check_examining(options: Any, said: frozenset[str], fail: Any) -> None:
    """See to it that a run that compares or examines does nothing else."""
    if options.verify and options.server:
        fail('--verify is for clients, and this directory is served: say --client or --remote URL')
    asked = [name for name, chosen in (
        ('--verify', options.verify),
        ('--check-state', options.checkState),
        ('--alerted', options.alerted is not None),
        ('--mode', 'mode' in said),
        ('--describe', options.describe),
        ('--local', options.local),
        ('--trash', getattr(options, 'trash', False)),
        ('--restore', getattr(options, 'restore', None) is not None),
    ) if chosen]  # fmt: skip
    if len(asked) > 1 and {'--verify', '--check-state'} & set(asked):
        fail(f'{" and ".join(asked)} do not go together')


def _login(options: Any, said: frozenset[str], saved: dict[str, Any]) -> None:
    """Keep the logins of the two roles, and of two servers, apart."""
    username = password = None
    if 'remote' in said:
        options.remote, username, password = _without_login(options.remote)
    other_server = 'remote' in said and saved.get('remote') not in (None, options.remote)
    if options.server or other_server:
        for name in _CLIENT[1:]:
            if name not in said:
                setattr(options, name, None)
    if username is not None and 'username' not in said:
        options.username = username
        options.password = password if options.password is None else options.password
    if options.noUsername:
        options.username = None


def _without_login(url: str) -> tuple[str, str | None, str | None]:
    """Return *url* without the login in it, which must not be kept there, and the login."""
    from urllib.parse import unquote

    scheme, _, rest = url.partition('://')
    authority = rest.partition('/')[0]
    login, at, host = authority.rpartition('@')
    if not at:
        return url, None, None
    username, colon, password = login.partition(':')
    bare = f'{scheme}://{host}{rest[len(authority) :]}'
    return bare, unquote(username), unquote(password) if colon else None


# --- remembering --------------------------------------------------------------------------------


def remembered(options: Any, said: frozenset[str], saved: dict[str, Any]) -> dict[str, Any]:
    """Return what is to be remembered after this run: *saved*, and what was said now."""
    result = dict(saved)
    result.update((name, getattr(options, name)) for name in _SHARED if name in said)
    result['devid'] = options.devid
    result['server'] = bool(options.server)
    if options.noTLS or {'tls', 'tlsCert'} & said:
        result.update((name, getattr(options, name)) for name in ('tls', 'tlsCert', 'tlsKey'))
    if not options.server:
        result.update((name, getattr(options, name)) for name in _CLIENT)
    return result


def as_json(values: dict[str, Any]) -> dict[str, Any]:
    """Return *values* as they will be read back.

    Raises:
        UsageError: a program wants to remember something JSON has no words for.
    """
    import json

    try:
        result: dict[str, Any] = json.loads(json.dumps(values))
    except (TypeError, ValueError) as error:
        raise UsageError(f'options.persist.save: cannot be remembered: {error}') from error
    return result


def arguments_of(argv: list[str] | None) -> list[str]:
    """Return the arguments of the program without its name."""
    return list(sys.argv[1:] if argv is None else argv)
