"""What a client says of each thing a network can do to it: one line for people, and what to do."""

from __future__ import annotations

import contextlib
import datetime
import gzip
import socket
import ssl
import time
import zlib

import pytest
import trustme

from pysyncml.errors import ConnectFailed, HTTPStatus, Timeout, TransportError
from pysyncml.transport import Request
from pysyncml.transport.http import HTTPTransport
from tests.network.badnet import (
    BadNetwork,
    greets,
    http,
    request,
    resets,
    says,
    says_without_end,
    silent,
    slams,
)

KIND = 'application/vnd.syncml+xml'
SECRETS = ('hunter2', 'TOKEN', 'someuser')


def post(url, body=b'<SyncML/>', **kw):
    kw = {'timeout': (5, 5), 'max_answer': 1 << 20, **kw}
    transport = HTTPTransport(**kw)
    try:
        return transport.exchange(Request(url, {'Content-Type': KIND}, body))
    finally:
        transport.close()


def failure(url, **kw):
    """Post to *url*, which must fail; return the error, whose text must be fit for people."""
    with pytest.raises(TransportError) as caught:
        post(url, **kw)
    line = str(caught.value)
    assert line and '\n' not in line and line.isprintable(), line
    assert len(line) < 400, line
    for noise in ('object at 0x', 'Traceback', 'HTTPConnectionPool', 'Errno', "('", 'Error('):
        assert noise not in line, line
    for secret in SECRETS:
        assert secret not in line, line
    return caught.value


#: behaviour → (words of the line, whether it may go away by itself, whether the answer was cut)
CAUSES = {
    'slammed': (slams, 'without an answer', True, True),
    'reset': (resets, 'without an answer', True, True),
    'empty': (says(b''), 'without an answer', True, True),
    'garbage': (says(b'\x00\xff garbage \x1b[31m\r\n\r\n'), 'not as HTTP', False, False),
    'another protocol': (greets(b'SSH-2.0-OpenSSH_9.6\r\n'), 'not as HTTP', False, False),
    'half a status line': (says(b'HTTP/1.1 2'), 'broke off', True, True),
    'half the headers': (says(b'HTTP/1.1 200 OK\r\nContent-Ty'), 'broke off', True, True),
    'cut before a length': (
        says(b'HTTP/1.1 200 OK\r\nContent-Length:'),
        'broke off',
        True,
        True,
    ),
    'headers only': (says(http(length=b'500')), 'broke off', True, True),
    'too little': (says(http(body=b'<half', length=b'500')), 'broke off', True, True),
    'huge length': (says(http(body=b'x', length=b'9' * 15)), 'larger than 1 MiB', False, False),
    'no body': (says(http()), 'nothing at all', True, False),
    'chunk cut': (
        says(http(length=b'', headers=['Transfer-Encoding: chunked']) + b'ff\r\nhalf'),
        'broke off',
        True,
        True,
    ),
    'chunk lie': (
        says(http(length=b'', headers=['Transfer-Encoding: chunked']) + b'zz\r\nhalf\r\n'),
        'broke off',
        True,
        True,
    ),
    'no end': (
        says_without_end(http(length=b'', headers=['Connection: close']), b'x' * 65536),
        'larger than 1 MiB',
        False,
        False,
    ),
    'endless chunks': (
        says_without_end(
            http(length=b'', headers=['Transfer-Encoding: chunked']), b'4000\r\n%016384d\r\n' % 0
        ),
        'larger than 1 MiB',
        False,
        False,
    ),
    'endless headers': (
        says_without_end(b'HTTP/1.1 200 OK\r\n', b'X-A: ' + b'a' * 60000 + b'\r\n'),
        'not as HTTP',
        False,
        False,
    ),
    'bomb': (
        says(http(body=gzip.compress(bytes(30 << 20)), headers=['Content-Encoding: gzip'])),
        'larger than 1 MiB',
        False,
        False,
    ),
    'bomb in a bomb': (
        says(
            http(
                body=gzip.compress(gzip.compress(bytes(30 << 20))),
                headers=['Content-Encoding: gzip, gzip'],
            )
        ),
        'larger than 1 MiB',
        False,
        False,
    ),
    'not packed': (
        says(http(body=b'plain', headers=['Content-Encoding: deflate'])),
        'broke off',
        True,
        True,
    ),
    'packed and cut': (
        says(http(body=zlib.compress(b'x' * 999)[:9], headers=['Content-Encoding: deflate'])),
        '',
        True,
        None,
    ),
    'page': (says(http(body=b'<html>Welcome', kind='text/html')), 'a web page', True, False),
    'page as xml': (says(http(body=b'  <HTML><body>')), 'a web page', True, False),
    'gone': (says(http('404 Not Found', b'<html>', 'text/html')), 'nothing at this', False, False),
    'forbidden': (says(http('403 Forbidden')), 'does not allow', False, False),
    'failing': (says(http('500 Oops', b'<html>', 'text/html')), 'log says why', True, False),
    'bad gateway': (says(http('502 Bad')), 'cannot reach it', True, False),
    'busy': (says(http('503 Busy', headers=['Retry-After: 7'])), 'before 7 seconds', True, False),
    'gateway tired': (says(http('504 Tired')), 'no answer from it', True, False),
    'too often': (says(http('429 Slow Down')), 'too many requests', True, False),
    'wants login': (says(http('401 Login')), 'user name and password', False, False),
    'proxy wants login': (says(http('407 Login')), 'proxy that wants', False, False),
    'switching': (says(http('101 Switching Protocols')), 'The', None, None),
    'no content': (says(http('204 No Content', length=b'')), 'HTTP 204', False, False),
    'portal': (
        says(http('302 Found', headers=['Location: http://portal.example/login?TOKEN'])),
        'portal.example',
        True,
        False,
    ),
    'portal, secure': (
        says(http('307 Go', headers=['Location: https://portal.example/;TOKEN'])),
        'portal.example',
        True,
        False,
    ),
    'moved': (
        says(http('301 Moved', headers=['Location: http://someuser:hunter2@new.example/'])),
        'new.example',
        False,
        False,
    ),
    'moved to a file': (
        says(http('308 Moved', headers=['Location: file:///etc/passwd'])),
        'sends us on to',
        False,
        False,
    ),
    'moved nowhere': (says(http('303 Moved')), 'did not take', False, False),
    'circles': (
        says(*[http('307 Go', headers=['Location: /again'])] * 9),
        'in circles',
        False,
        False,
    ),
}


@pytest.mark.parametrize('cause', CAUSES)
def test_each_cause_has_its_line(cause):
    behaviour, words, passing, was_cut = CAUSES[cause]
    with BadNetwork(behaviour) as network:
        url = f'http://someuser:hunter2@127.0.0.1:{network.port}/sync;sid=TOKEN?t=TOKEN'
        if cause == 'packed and cut':
            with contextlib.suppress(TransportError):
                assert len(post(url).body) < 999  # its end cannot be told by HTTP: by SyncML it is
            return
        error = failure(url)
    with pytest.raises(TransportError, match=words):
        raise error
    assert passing in (None, error.passing), str(error)
    assert was_cut in (None, error.cut), str(error)


@pytest.mark.parametrize('length', [None, b''])
def test_an_answer_cut_at_any_byte_is_known_to_be_cut(length):
    chunked = [] if length is None else ['Transfer-Encoding: chunked']
    body = b'<SyncML/>' if length is None else b'9\r\n<SyncML/>\r\n0\r\n\r\n'
    answer = http(body=body, length=length, headers=['Server: x', *chunked])
    with BadNetwork(silent) as network:
        for at in range(len(answer) - (0 if length is None else 4)):
            network.behaviour = says(answer[:at])
            assert failure(network.url).cut, answer[:at]
        network.behaviour = says(answer)
        assert post(network.url).body == b'<SyncML/>'


def test_lengths_that_are_none():
    for length in (b'-5', b'five', b'5, 6', b''):
        with BadNetwork(says(http(body=b'<SyncML/>', length=length))) as network:
            try:
                assert post(network.url).body == b'<SyncML/>'
            except TransportError as error:
                assert 'not as HTTP' in str(error), error


def test_a_server_that_says_nothing_and_one_that_stops():
    with BadNetwork(silent) as network:
        error = failure(network.url, timeout=(1, 0.1))
        assert isinstance(error, Timeout) and '0.1 seconds' in str(error)
    with BadNetwork(says(http(body=b'<half', length=b'99'), hold=True)) as network:
        error = failure(network.url, timeout=(1, 0.1))
        assert isinstance(error, Timeout)


@pytest.mark.parametrize('start', [b'', http(length=b''), http(length=b'99999')])
def test_an_answer_that_trickles_ends(start):
    with BadNetwork(says_without_end(start, b'H', pace=0.02)) as network:
        begin = time.monotonic()
        error = failure(network.url, total=0.3)
        assert isinstance(error, Timeout) and 'more than 0.3 seconds' in str(error)
        assert '--timeout' in str(error)
        assert time.monotonic() - begin < 4


def test_a_handshake_that_trickles_ends():
    def behave(sock):
        for _ in range(1000):
            sock.sendall(b'\x16\x03\x03\x3f\xff'[:1] if _ == 0 else b'\x03')
            time.sleep(0.02)

    with BadNetwork(behave) as network:
        failure(network.url.replace('http:', 'https:'), total=0.3)


def test_a_request_that_is_not_read_ends():
    def behave(sock):
        time.sleep(3)

    with BadNetwork(behave) as network:
        begin = time.monotonic()
        error = failure(network.url, body=bytes(32 << 20), timeout=(1, 0.3))
        assert isinstance(error, Timeout)
        assert time.monotonic() - begin < 2.5


def test_sending_may_take_longer_than_connecting():
    def behave(sock):
        left = 16 << 20
        time.sleep(0.5)
        while left > 0:
            left -= len(sock.recv(1 << 16))
        sock.sendall(http(body=b'<SyncML/>'))

    with BadNetwork(behave) as network:
        assert post(network.url, bytes(16 << 20), timeout=(0.2, 5)).body == b'<SyncML/>'


def test_a_connection_can_be_cut_when_it_is_used_again():
    with BadNetwork(says(http(body=b'<SyncML/>'), b'H' * 2000)) as network:
        transport = HTTPTransport(timeout=(1, 5), total=5)
        message = Request(network.url, {'Content-Type': KIND}, b'x')
        transport.exchange(message)
        transport.limit(0.3)
        network.behaviour = silent
        begin = time.monotonic()
        with pytest.raises(TransportError):
            transport.exchange(message)
        assert time.monotonic() - begin < 3
        transport.close()


# --- names and addresses --------------------------------------------------------------------------


def test_nobody_listens_and_nobody_is_known(monkeypatch):
    with BadNetwork(silent) as network:
        url = network.url
    error = failure(url)
    assert 'Nobody listens' in str(error) and error.passing and not error.cut

    def unknown(*_args, **_kw):
        raise socket.gaierror(-2, 'Name or service not known')

    monkeypatch.setattr(socket, 'getaddrinfo', unknown)
    error = failure('http://someuser:hunter2@nowhere.invalid/')
    assert 'is not known' in str(error) and error.passing


def test_ipv6():
    try:
        network = BadNetwork(says(http(body=b'<SyncML/>')), host='::1')
    except OSError:
        pytest.skip('no IPv6 here')
    with network:
        assert post(network.url).body == b'<SyncML/>'
        network.behaviour = slams
        assert '[::1]' in str(failure(network.url))


# --- redirects ------------------------------------------------------------------------------------


@pytest.mark.parametrize('status', [301, 302, 303, 307, 308])
@pytest.mark.parametrize('where', ['other host', 'http'])
def test_a_redirect_leaks_neither_notes_nor_logins(status, where, tmp_path):
    """Not to another host, and not out of https."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert('127.0.0.1').configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / 'ca.pem')
    with BadNetwork(silent) as other:
        target = f'http://localhost:{other.port}/' if where == 'other host' else other.url
        answer = http(f'{status} Go', headers=[f'Location: {target}'])
        behaviour = says(answer)

        def encrypted(sock):
            with context.wrap_socket(sock, server_side=True) as secure:
                behaviour(secure)

        scheme = 'https' if where == 'http' else 'http'
        with BadNetwork(encrypted if where == 'http' else behaviour) as network:
            url = f'{scheme}://someuser:hunter2@127.0.0.1:{network.port}/'
            error = failure(url, verify=str(tmp_path / 'ca.pem'))
        assert isinstance(error, HTTPStatus)
        assert other.connections == 0


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def authority():
    return trustme.CA()


def secured(issuer, *names, **kw):
    """Return a behaviour that speaks TLS with a certificate for *names*, and answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert(*names, **kw).configure_cert(context)

    def behave(sock):
        with context.wrap_socket(sock, server_side=True) as secure:
            says(http(body=b'<SyncML/>'))(secure)

    return behave


PAST = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
FUTURE = datetime.datetime(2200, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ('names', 'dates', 'known', 'words'),
    [
        (['127.0.0.1'], {}, True, None),
        (['127.0.0.1'], {'not_after': PAST}, True, 'has expired'),
        (['127.0.0.1'], {'not_before': FUTURE}, True, 'not valid yet: check the clock'),
        (['other.example'], {}, True, 'is for another'),
        (['127.0.0.1'], {}, False, 'unknown authority'),
    ],
)
def test_certificates(authority, tmp_path, names, dates, known, words):
    (authority if known else trustme.CA()).cert_pem.write_to_path(tmp_path / 'ca.pem')
    with BadNetwork(secured(authority, *names, **dates)) as network:
        url = f'https://someuser:hunter2@127.0.0.1:{network.port}/'
        if words is None:
            assert post(url, verify=str(tmp_path / 'ca.pem')).body == b'<SyncML/>'
            return
        error = failure(url, verify=str(tmp_path / 'ca.pem'))
    assert words in str(error)
    assert not error.passing and not error.cut


def test_a_certificate_signed_by_itself(tmp_path):
    own = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.cert_pem.write_to_path(tmp_path / 'own.pem')
    own.private_key_pem.write_to_path(tmp_path / 'own.pem', append=True)
    context.load_cert_chain(tmp_path / 'own.pem')

    def behave(sock):
        context.wrap_socket(sock, server_side=True).close()

    with BadNetwork(behave) as network:
        error = failure(network.url.replace('http:', 'https:'))
    assert '--fingerprint' in str(error) and not error.passing


def test_one_speaks_tls_and_the_other_does_not(authority):
    with BadNetwork(says(http(body=b'<SyncML/>'))) as network:
        network.behaviour = greets(b'HTTP/1.1 400 Bad Request\r\n\r\n')
        error = failure(network.url.replace('http:', 'https:'))
        assert 'does not speak https' in str(error) and not error.passing
    with BadNetwork(secured(authority, '127.0.0.1')) as network:
        error = failure(network.url)
        assert 'http:// or https://' in str(error) or 'not as HTTP' in str(error)


# --- proxies --------------------------------------------------------------------------------------


def through(network):
    proxy = f'http://someuser:hunter2@127.0.0.1:{network.port}'
    return {'http': proxy, 'https': proxy}


@pytest.mark.parametrize(
    ('answer', 'words', 'passing'),
    [
        (b'HTTP/1.1 407 Login\r\nContent-Length: 0\r\n\r\n', 'wants a user name', False),
        (b'HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n', 'cannot reach it', True),
        (b'HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n', 'cannot reach it', True),
        (b'HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n', 'does not let us through', False),
        (b'', 'without an answer', True),
        (b'\x00garbage\r\n\r\n', '', None),
    ],
)
def test_a_proxy_that_does_not_connect(answer, words, passing):
    with BadNetwork(says(answer)) as network:
        error = failure('https://server.example/', proxies=through(network))
    assert words in str(error)
    assert passing in (None, error.passing), str(error)


def test_a_proxy_that_is_passed(authority, tmp_path, monkeypatch):
    """As the environment says: http by its full address, https by CONNECT."""
    authority.cert_pem.write_to_path(tmp_path / 'ca.pem')
    seen = []

    def proxy(sock):
        head = request(sock)
        seen.append(head)
        if not head.startswith(b'CONNECT'):
            sock.sendall(http(body=b'<plain/>'))
            return
        sock.sendall(b'HTTP/1.1 200 Go\r\n\r\n')
        secured(authority, 'server.example')(sock)

    with BadNetwork(proxy) as network:
        monkeypatch.setenv('http_proxy', f'http://someuser:hunter2@127.0.0.1:{network.port}')
        monkeypatch.setenv('https_proxy', f'http://someuser:hunter2@127.0.0.1:{network.port}')
        assert post('http://server.example/sync').body == b'<plain/>'
        assert post('https://server.example/', verify=str(tmp_path / 'ca.pem')).body == (
            b'<SyncML/>'
        )
        assert 'is for another' in str(
            failure('https://else.example/', verify=str(tmp_path / 'ca.pem'))
        )
        assert post('http://server.example/sync').body == b'<plain/>'
    assert seen[0].startswith(b'POST http://server.example/sync ')
    assert seen[1].startswith(b'CONNECT server.example:443 ')
    assert all(b'Proxy-Authorization: Basic' in head for head in seen)
    error = failure('https://server.example/')
    assert 'proxy' in str(error) and isinstance(error, ConnectFailed)


def test_proxies_that_cannot_be_used(monkeypatch):
    for value in ('socks5://someuser:hunter2@127.0.0.1:1', 'http://', 'nonsense://hunter2@x'):
        monkeypatch.setenv('http_proxy', value)
        failure('http://server.example/')


def test_retry_after_as_a_date():
    for text, least, most in (
        ('Wed, 21 Oct 2015 07:28:00 GMT', 0, 0),
        ('Wed, 21 Oct 2095 07:28:00 GMT', 86400, 86400),
        ('soon', 0, 0),
        ('-5', 0, 0),
        ('9' * 30, 86400, 86400),
        ('12', 12, 12),
    ):
        with BadNetwork(says(http('503 Busy', headers=[f'Retry-After: {text}']))) as network:
            assert least <= failure(network.url).wait <= most
