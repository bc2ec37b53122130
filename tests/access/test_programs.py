"""sync-notes at the door: certificates, files, secrets, over real sockets."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from pysyncml.cli import certificates
from pysyncml.protocol import auth
from pysyncml.transport import fingerprints
from tests.e2e.harness import World

ALICE = ('--username', 'alice', '--password', 'pass-of-alice')
TLS = ('--tls', 'self-signed')
posix = pytest.mark.skipif(os.name != 'posix', reason='modes of files')


def fingerprint_of(server) -> str:
    return re.search(r'(?:[0-9A-F]{2}:){31}[0-9A-F]{2}', server.run.out)[0]


def https(server) -> str:
    return server.url.replace('http:', 'https:')


# --- certificates ---------------------------------------------------------------------------------


def test_a_certificate_is_made_shown_and_pinned(world: World) -> None:
    """From the first contact, which says what to do, to the day that the certificate changes."""
    server = world.server('s', *TLS, *ALICE)
    seen = fingerprint_of(server)
    path = server.path / '.sync' / 'tls.pem'
    assert fingerprints.shown(fingerprints.of_file(str(path))) == seen
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    world.write('a', 'n.txt', 'n')
    first = world.sync('a', *ALICE, server=https(server), code=6)
    assert f'--fingerprint {seen}' in first.err
    assert 'signed by nobody but itself' in first.err
    assert len(first.err.splitlines()) == 1
    wrong = seen.replace(seen[0], '0' if seen[0] != '0' else '1')
    refused = world.sync('a', *ALICE, '--fingerprint', wrong, code=6)
    assert f'its fingerprint is {seen}' in refused.err
    assert len(refused.err.splitlines()) == 1
    assert world.tree('s') == {}
    world.sync('a', *ALICE, '--fingerprint', 'SHA256:' + seen.replace(':', '').lower())
    assert world.same('a', 's') == {'n.txt': b'n'}
    server.restart()
    assert fingerprint_of(server) == seen, 'kept'
    world.sync('a')  # remembered
    world.sync('a', '--fingerprint', '', code=6)
    world.sync('a', '--insecure', '--fingerprint', seen)
    server.stop()
    path.unlink()
    server.start()
    changed = world.sync('a', code=6)
    assert fingerprint_of(server) in changed.err
    assert 'somebody else is answering' in changed.err


def test_what_does_not_go_together(world: World) -> None:
    cert = str(world.write('.', 'c.pem', 'x'))
    for argv, said in (
        (['--fingerprint', 'x', 'a'], '64 hexadecimal digits'),
        (['--remote', 'http://h/', '--fingerprint', 'AA' * 32, 'a'], 'needs a server at https'),
        (['--server', *TLS, '--tls-cert', cert, 'a'], 'do not go together'),
        (['--server', '--auth', 'md5', '--no-username', 'a'], '--auth md5 needs --username'),
        (['--server', '--trusted-proxy', 'x', 'a'], 'no network address'),
        (['--server', '--max-devices', '0', 'a'], 'no number of devices'),
    ):
        world.path('a')
        assert said in world.run(*argv, code=2).err


def test_a_certificate_of_ones_own_takes_the_place_of_the_one_that_was_made(world: World) -> None:
    server = world.server('s', *TLS)
    made = fingerprint_of(server)
    server.stop()
    own = world.path('own')
    path = certificates.self_signed(str(own), ['127.0.0.1'])
    os.chmod(path, 0o644)
    server = world.server('s', '--tls-cert', path)
    assert fingerprint_of(server) == fingerprints.shown(fingerprints.of_file(path)) != made
    assert 'others can read the key' in server.log()
    world.sync('a', '--fingerprint', fingerprint_of(server), server=server)
    server.stop()
    server = world.server('s', *TLS)
    assert fingerprint_of(server) == made
    server.stop()
    server = world.server('s', '--no-tls')
    assert server.run.out.startswith('Listening on http://')
    assert 'fingerprint' not in server.run.out


def test_json_says_the_fingerprint(world: World) -> None:
    server = world.server('s', '--json', *TLS)
    start = json.loads(server.run.out.splitlines()[0])
    assert start['fingerprint'] == fingerprint_of(server)


# --- files ----------------------------------------------------------------------------------------


def open_to_others(folder: Path) -> list[str]:
    """Return what in a state folder others can get at, if they get into it."""
    found = []
    for where, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = os.path.join(where, name)
            if os.lstat(path).st_mode & 0o077:
                found.append(os.path.relpath(path, folder))
    return sorted(found)


@posix
def test_state_is_private_whatever_the_umask(world: World) -> None:
    world.environment['E2E_UMASK'] = '0'
    log = str(world.root / 'log')
    server = world.server('s', *TLS, *ALICE, '--log-file', log)
    world.write('a', 'n.txt', 'n')
    pin = ('--fingerprint', fingerprint_of(server))
    world.sync('a', *ALICE, *pin, server=https(server))
    world.write('a', 'n.txt', 'changed')
    world.sync('a')
    assert world.same('a', 's') == {'n.txt': b'changed'}
    for name in ('a', 's'):
        state = world.path(name) / '.sync'
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        # what is in the trash is a note, and keeps the mode of one
        assert [path for path in open_to_others(state) if not path.endswith('n.txt')] == []
    assert (world.path('a') / '.sync' / 'credentials').exists()
    assert stat.S_IMODE(os.stat(log).st_mode) == 0o600


@posix
def test_modes_that_let_others_in_are_mended(world: World) -> None:
    server = world.server('s')
    world.sync('a', server=server)
    state = world.path('a') / '.sync'
    for path in (state, *state.iterdir()):
        path.chmod(0o777)
    result = world.sync('a')
    assert result.err.count('they cannot any more') == 1
    assert open_to_others(state) == []
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert world.sync('a').err == ''


@posix
def test_a_state_folder_that_is_a_link_or_holds_one_is_refused(world: World) -> None:
    elsewhere = world.path('elsewhere')
    (world.path('a') / '.sync').symlink_to(elsewhere)
    result = world.run('--remote', 'http://127.0.0.1:1/', 'a', code=2)
    assert 'is a symbolic link' in result.err
    assert list(elsewhere.iterdir()) == []
    state = world.path('b') / '.sync'
    state.mkdir(0o700)
    (state / 'state.db').symlink_to(elsewhere / 'stolen')
    result = world.run('--server', 'b', code=2)
    assert 'is a symbolic link' in result.err
    assert list(elsewhere.iterdir()) == []


@posix
def test_a_state_folder_of_somebody_else_is_refused(tmp_path, monkeypatch) -> None:
    from pysyncml.cli.folders import make_private
    from pysyncml.errors import UsageError

    make_private(str(tmp_path / 'state') + '/')
    monkeypatch.setattr(os, 'geteuid', lambda: os.getuid() + 1)
    with pytest.raises(UsageError, match='belongs to another user'):
        make_private(str(tmp_path / 'state') + '/')


# --- secrets --------------------------------------------------------------------------------------

LOUD = ('-vvvv', '--log-file')


def secrets_of(world: World, names: list[str], passwords: list[str]) -> dict[str, str]:
    """Return everything that nobody may read: what it is called, and the text."""
    found = {}
    for number, password in enumerate(passwords):
        found[f'password {number}'] = password
        found[f'base64 {number}'] = base64.b64encode(f'alice:{password}'.encode()).decode()
        found[f'secret {number}'] = auth.md5_secret('alice', password)
    for name in names:
        with sqlite3.connect(world.path(name) / '.sync' / 'state.db') as database:
            for row in database.execute('select our_nonce, peer_nonce from pysyncml_device'):
                for nonce in filter(None, row):
                    found[f'{name}: nonce {nonce[:4]}'] = nonce
                    found[f'{name}: bare nonce {nonce[:4]}'] = base64.b64decode(nonce).decode()
            rows = 'select password_hash, md5_secret from pysyncml_account'
            for row in database.execute(rows):
                for value in filter(None, row):
                    found[f'{name}: stored {value[:6]}'] = value.rpartition('$')[2]
            for (state,) in database.execute('select state from pysyncml_session'):
                if json.loads(state)['token']:
                    found[f'{name}: token'] = json.loads(state)['token']
        database.close()
    return found


@pytest.mark.parametrize('kind', ['basic', 'md5-only'])
def test_no_secret_is_ever_written_down(world: World, kind: str) -> None:
    """Whatever is asked for, and whatever goes wrong: the logs hold nothing to log in with."""
    log = str(world.root / 'log')
    loud, right = (*LOUD, log), 'right-Passw0rd'
    login = ('--username', 'alice', '--password')
    server = world.server('s', *loud, '--auth', kind, *login, right)
    proxy = world.proxy(server)
    proxy.bodies = []
    world.write('a', 'n.txt', 'n')
    world.sync('a', *loud, *login, right, server=server, via=proxy)

    def trouble(code: int | None, password: str, **values: Any) -> None:
        # with a traceback, as -vvv shows it
        result = world.begin('a', *loud, *login, password, **values).wait()
        assert code in (None, result.code), result.err

    trouble(7, 'wrong-Passw0rd', via=proxy)
    proxy.plan = lambda number: 'cut' if number % 3 == 0 else 'pass'
    trouble(None, right, via=proxy)
    proxy.plan = lambda number: 'drop-answer'
    trouble(6, right, via=proxy)
    trouble(6, right, server=server.url.replace('http', 'https'))
    server.stop()
    trouble(6, right, server=server.url)
    passwords = [right, 'wrong-Passw0rd']
    found = secrets_of(world, ['a', 's'], passwords)
    sent = b''.join(request for request, _ in proxy.bodies)
    for data in re.findall(rb'<Cred>.*?<Data>([^<]*)</Data>', sent):
        found[f'sent {data[:6].decode()}'] = data.decode()
    for token in re.findall(rb'session=([\w-]+)', sent):
        found[f'address {token[:4].decode()}'] = token.decode()
    assert len(found) >= 10
    written = [Path(log).read_text('utf-8')]
    written += [path.read_text('utf-8') for path in (world.root / '.runs').iterdir()]
    assert any('POST' in text for text in written)
    assert 'INSERT' in written[0]
    for what, secret in found.items():
        for text in written:
            where = text.find(secret)
            assert where < 0, f'{what}: {text[max(0, where - 200) : where + 50]!r}'


def test_no_password_is_remembered_as_an_option(world: World) -> None:
    server = world.server('s', *ALICE)
    world.sync('a', *ALICE, server=server)
    server.stop()
    for name in ('a', 's'):
        for path in (world.path(name) / '.sync').iterdir():
            if path.is_file() and path.name != 'credentials':
                assert b'pass-of-alice' not in path.read_bytes(), path
    shown = world.run('--describe', 'a').out + world.run('--describe', '--json', 's').out
    assert 'pass-of-alice' not in shown


# --- waiting --------------------------------------------------------------------------------------


def test_a_client_has_to_wait_after_some_wrong_passwords(world: World) -> None:
    """It says so in one line, at once; sessions of others go on."""
    server = world.server('s', *ALICE)
    world.sync('b', *ALICE, server=server)
    codes = []
    for _ in range(12):
        result = world.sync('a', '-u', 'alice', '-p', 'wrong', server=server, code=None)
        codes.append(result.code)
        if 'has to wait' in result.err:
            break
    assert set(codes[:-1]) == {7}
    assert re.search(r'has to wait for \d+ seconds?$', result.err.strip())
    assert len(result.err.splitlines()) == 1
    log = server.log()
    assert 'a login from 127.0.0.1 was put off' in log


def test_whom_a_proxy_forwards_is_believed_only_if_it_is_trusted(world: World) -> None:
    def post(server, address):
        body = (
            b'<SyncML><SyncHdr><VerDTD>1.2</VerDTD><VerProto>SyncML/1.2</VerProto><SessionID>1'
            b'</SessionID><MsgID>1</MsgID><Target><LocURI>x</LocURI></Target><Source><LocURI>D'
            b'</LocURI></Source><Cred><Data>YWxpY2U6eA==</Data></Cred></SyncHdr><SyncBody><Final/>'
            b'</SyncBody></SyncML>'
        )
        with socket.create_connection((server.host, server.port), timeout=20) as sock:
            head = (
                'POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: '
                f'application/vnd.syncml+xml\r\nX-Forwarded-For: {address}\r\n'
                f'Content-Length: {len(body)}\r\n\r\n'
            )
            sock.sendall(head.encode() + body)
            answer = b''
            while block := sock.recv(1 << 16):
                answer += block
        return int(re.findall(rb'<Data>(\d+)</Data>', answer)[0]), answer

    server = world.server('s', *ALICE)
    assert [post(server, f'192.0.2.{n}')[0] for n in range(6)] == [401] * 5 + [417]
    server.stop()
    server = world.server('s', '--trusted-proxy', '127.0.0.1')
    for number in range(20):
        assert post(server, f'10.6.6.6, 192.0.2.{number}')[0] == 401
    assert [post(server, f'10.6.6.{n}, 192.0.2.99')[0] for n in range(6)] == [401] * 5 + [417]
    code, answer = post(server, '192.0.2.99')
    assert (code, b'Retry-After: ' in answer) == (417, True)


def test_a_pin_holds_wherever_the_session_goes(tmp_path) -> None:
    """Another address, another port, a redirect: who has another certificate gets nothing."""
    from pysyncml.errors import ConnectFailed
    from pysyncml.transport import Request, Response
    from pysyncml.transport.http import HTTPTransport
    from pysyncml.transport.wsgi import AdHocServer, application

    got = []

    def echo(request):
        got.append(request.body)
        return Response(request.body, 'a/b')

    def bounce(environ, start_response):
        start_response('307 Go on', [('Location', f'{evil.url}x'), ('Content-Length', '0')])
        return [b'']

    (tmp_path / '1').mkdir()
    (tmp_path / '2').mkdir()
    good = certificates.self_signed(str(tmp_path / '1'), ['localhost'])
    bad = certificates.self_signed(str(tmp_path / '2'), ['localhost'])
    pin = fingerprints.of_file(good)
    with (
        AdHocServer(application(echo), tls_cert=bad) as evil,
        AdHocServer(application(echo), tls_cert=good) as server,
        AdHocServer(bounce, tls_cert=good) as bouncing,
    ):
        transport = HTTPTransport(timeout=(5, 5), fingerprint=pin.upper(), proxies={})
        assert transport.exchange(Request(server.url, {}, b'1')).body == b'1'
        other = f'https://localhost:{server.port}/;session=2'
        assert transport.exchange(Request(other, {}, b'2')).body == b'2'
        for url in (evil.url, f'https://localhost:{evil.port}/', bouncing.url):
            with pytest.raises(ConnectFailed, match=evil.fingerprint):
                transport.exchange(Request(url, {}, b'3'))
        transport.close()
        assert got == [b'1', b'2']
        clear = HTTPTransport(fingerprint=pin, proxies={})
        with pytest.raises(ConnectFailed, match='use https'):
            clear.exchange(Request(server.url.replace('https', 'http'), {}, b'3'))


@pytest.mark.parametrize(
    'text', ['AB' * 32, 'ab:' * 31 + 'AB', 'sha256:' + 'ab' * 32, 'SHA-256=' + 'AB ' * 32]
)
def test_every_usual_form_of_a_fingerprint_is_read(text: str) -> None:
    assert fingerprints.read(text) == 'ab' * 32


@pytest.mark.parametrize('text', ['', 'ab', 'ab' * 20, 'xy' * 32, 'ab' * 33, 'sha1:' + 'ab' * 32])
def test_what_is_no_fingerprint(text: str) -> None:
    with pytest.raises(ValueError, match='64 hexadecimal digits'):
        fingerprints.read(text)


def test_a_certificate_is_kept_until_it_has_to_go(tmp_path, monkeypatch, caplog) -> None:
    import datetime

    from cryptography import x509

    folder = str(tmp_path)
    path = certificates.self_signed(folder, ['notes.example', '192.0.2.1'])
    made = Path(path).read_bytes()
    found = x509.load_pem_x509_certificate(made)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ['notes.example', 'localhost']
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == [
        '192.0.2.1', '127.0.0.1', '::1',
    ]  # fmt: skip
    assert found.not_valid_after_utc - found.not_valid_before_utc > datetime.timedelta(days=3650)
    assert found.public_key().curve.name == 'secp256r1'
    assert certificates.self_signed(folder, ['192.0.2.1', 'localhost']) == path
    assert Path(path).read_bytes() == made
    assert not caplog.records
    certificates.self_signed(folder, ['other.example'])
    assert 'does not name other.example: clients have to be given the new' in caplog.text
    made = Path(path).read_bytes()
    monkeypatch.setattr(certificates, '_DAYS_LEFT', 4000)
    certificates.self_signed(folder, ['other.example'])
    assert 'days only' in caplog.text
    assert Path(path).read_bytes() != made
    Path(path).write_bytes(b'rubbish')
    monkeypatch.undo()
    certificates.self_signed(folder, ['other.example'])
    assert 'holds none any more' in caplog.text
    assert os.listdir(folder) == ['tls.pem']


def test_without_the_package_it_says_how_to_get_it(tmp_path, monkeypatch) -> None:
    import sys

    from pysyncml.errors import UsageError

    for name in [name for name in sys.modules if name.partition('.')[0] == 'cryptography']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'cryptography', None)
    with pytest.raises(UsageError, match=r'pip install "pysyncml\[crypto\]"'):
        certificates.self_signed(str(tmp_path), ['localhost'])


def test_the_password_of_a_server_is_asked_for_twice_and_whose_it_is(monkeypatch, capsys) -> None:
    from pysyncml.cli import passwords
    from pysyncml.errors import UsageError

    answers, asked = ['a', 'b', '', 'c', 'c'], []
    monkeypatch.setattr('getpass.getpass', lambda prompt: asked.append(prompt) or answers.pop(0))
    assert passwords.ask_new('alice') == 'c'
    assert asked[0] == 'Password for alice: '
    assert asked[1] == 'The same again: '
    answers[:] = ['a', 'b'] * 3
    with pytest.raises(UsageError, match='no password'):
        passwords.ask_new('alice')


def test_a_file_for_http_login_is_called_what_it_is(world: World) -> None:
    world.write('a', 'n', 'n')
    result = world.run('--remote', 'http://127.0.0.1:1/', '--http-login', '/nowhere', 'a', code=2)
    assert 'cannot read the file for --http-login "/nowhere"' in result.err
