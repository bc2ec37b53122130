"""HTTPTransport against a scripted server on a socket."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import re
import socket
import threading
import time

import pytest

from pysyncml.errors import ConnectFailed, HTTPStatus, Timeout, TransportError, UsageError
from pysyncml.transport import Request
from pysyncml.transport.http import HTTPTransport
from tests.transport.scripted import respond

KIND = 'application/vnd.syncml+xml'


def post(transport: HTTPTransport, url: str, body: bytes = b'<message/>', **headers: str):
    return transport.exchange(Request(url, {'Content-Type': KIND, **headers}, body))


@pytest.fixture
def transport():
    made = HTTPTransport(timeout=(2, 2), user_agent='test/1')
    yield made
    made.close()


def one_line(caught: pytest.ExceptionInfo[BaseException]) -> str:
    line = str(caught.value)
    assert '\n' not in line and 'object at 0x' not in line and 'HTTPConnectionPool' not in line
    return line


# --- what goes out and comes back ---------------------------------------------------------------


def test_a_message_goes_out_and_the_answer_comes_back(transport, scripted):
    answer = post(transport, scripted.url + '?id=1', b'\x00\xff')
    assert (answer.body, answer.content_type, answer.status) == (b'<answer/>', KIND, 200)
    path, headers, body = scripted.seen[0]
    assert (path, body) == ('/sync?id=1', b'\x00\xff')
    assert headers['content-type'] == headers['accept'] == KIND
    assert headers['user-agent'] == 'test/1'
    assert headers['cache-control'] == 'no-store'
    assert headers['content-length'] == '2'
    assert 'authorization' not in headers


def test_headers_of_the_request_win(transport, scripted):
    post(transport, scripted.url, **{'Accept': 'x/y', 'user-AGENT': 'mine'})
    headers = scripted.seen[0][1]
    assert (headers['accept'], headers['user-agent']) == ('x/y', 'mine')


def test_cookies_are_kept_and_sent_back(transport, scripted):
    scripted.answer = respond(Set_Cookie='JSESSIONID=abc; Path=/')
    post(transport, scripted.url)
    post(transport, scripted.url)
    assert scripted.seen[1][1]['cookie'] == 'JSESSIONID=abc'


def test_compressed_answers_are_unpacked(transport, scripted):
    scripted.answer = respond(body=gzip.compress(b'<a/>' * 9), Content_Encoding='gzip')
    assert post(transport, scripted.url).body == b'<a/>' * 9


def test_odd_content_types_are_passed_on(transport, scripted):
    scripted.answer = respond(kind='text/plain')
    assert post(transport, scripted.url).content_type == 'text/plain'


def test_netrc_is_left_alone(transport, scripted, tmp_path, monkeypatch):
    netrc = tmp_path / 'netrc'
    netrc.write_text('machine 127.0.0.1 login a password b\n')
    monkeypatch.setenv('NETRC', str(netrc))
    post(transport, scripted.url)
    assert 'authorization' not in scripted.seen[0][1]


# --- HTTP's own authentication ------------------------------------------------------------------


def test_basic_authentication(scripted):
    transport = HTTPTransport(username='jörg', password='a:b')
    post(transport, scripted.url)
    assert scripted.seen[0][1]['authorization'] == 'Basic asO2cmc6YTpi'


def test_a_user_in_the_url(scripted, transport):
    post(transport, scripted.url.replace('//', '//user:p%40ss@'))
    assert scripted.seen[0][1]['authorization'] == 'Basic dXNlcjpwQHNz'


def test_the_password_goes_to_the_first_host_only(scripted):
    transport = HTTPTransport(username='u', password='p')
    post(transport, scripted.url)
    post(transport, scripted.url.replace('127.0.0.1', 'localhost'))
    assert 'authorization' in scripted.seen[0][1]
    assert 'authorization' not in scripted.seen[1][1]


CHALLENGE = 'Digest realm="sync", nonce="abc", qop="auth", algorithm=MD5'


def digest_of(header, user, password):
    """Return whether *header* holds the right answer to CHALLENGE (RFC 7616, §3.4.1)."""
    found = dict(re.findall(r'(\w+)="?([^",]*)"?', header.partition(' ')[2]))

    def h(*parts):
        return hashlib.md5(':'.join(parts).encode()).hexdigest()

    first, second = h(user, 'sync', password), h('POST', found['uri'])
    parts = (found['nonce'], found['nc'], found['cnonce'], found['qop'])
    return found['username'] == user and found['response'] == h(first, *parts, second)


def test_digest_authentication(scripted):
    def answer(handler, body):
        header = handler.headers.get('Authorization', '')
        good = header.startswith('Digest') and digest_of(header, 'me', 'secret')
        (respond() if good else respond(401, b'', WWW_Authenticate=CHALLENGE))(handler, body)

    scripted.answer = answer
    transport = HTTPTransport(username='me', password='secret')
    assert post(transport, scripted.url).body == b'<answer/>'
    tries = len(scripted.seen)
    assert post(transport, scripted.url).body == b'<answer/>'
    assert len(scripted.seen) == tries + 1, 'it is known by now what the server wants'
    assert {body for *_, body in scripted.seen} == {scripted.seen[0][2]}
    with pytest.raises(HTTPStatus, match='--http-login') as caught:
        post(HTTPTransport(username='me', password='wrong'), scripted.url)
    assert caught.value.code == 401
    assert len(scripted.seen) < tries + 10


def test_without_credentials_there_is_no_digest(transport, scripted):
    scripted.answer = respond(401, b'', WWW_Authenticate=CHALLENGE)
    with pytest.raises(HTTPStatus):
        post(transport, scripted.url)
    assert len(scripted.seen) == 1


def test_401_says_so_without_showing_secrets(transport, scripted):
    scripted.answer = respond(401, b'')
    with pytest.raises(HTTPStatus, match='user name and password') as caught:
        post(transport, scripted.url.replace('//', '//u:secret@') + ';sid=77?token=88')
    assert caught.value.code == 401
    line = one_line(caught)
    assert scripted.url in line
    assert not {'secret', '77', '88'} & set(line.replace(';', ' ').split())


# --- answers that are none ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ('status', 'words'),
    [
        (404, 'nothing at this address'),
        (405, 'takes no messages'),
        (500, 'its log says why'),
        (503, 'try again later'),
        (418, 'did not take the message'),
        (599, 'failed'),
    ],
)
def test_every_other_status_is_an_error(transport, scripted, status, words):
    scripted.answer = respond(status, b'<html>secret stack trace', 'text/html')
    with pytest.raises(HTTPStatus, match=words) as caught:
        post(transport, scripted.url)
    assert caught.value.code == status
    assert str(status) in one_line(caught)
    assert 'stack trace' not in one_line(caught)


def test_what_the_server_says_is_told_in_printable_form(transport, scripted):
    scripted.answer = respond(503, b'\x1b[31mNot now.\nmore', 'text/plain', Retry_After='30')
    with pytest.raises(HTTPStatus, match='not before 30 seconds') as caught:
        post(transport, scripted.url)
    assert one_line(caught).endswith('It says: [31mNot now.')


@pytest.mark.parametrize(
    ('body', 'kind', 'words'),
    [
        (b'<html>welcome</html>', 'text/html; charset=utf-8', 'a web page'),
        (b'\n<!DOCTYPE HTML><html>', 'application/xml', 'a web page'),
        (b'', KIND, 'nothing at all'),
    ],
)
def test_status_200_without_a_message(transport, scripted, body, kind, words):
    scripted.answer = respond(200, body, kind)
    with pytest.raises(HTTPStatus, match=words):
        post(transport, scripted.url)


def test_large_answers_are_refused_before_they_are_read(scripted):
    transport = HTTPTransport(max_answer=1 << 20)
    scripted.answer = respond(body=b'x' * (1 << 20))
    assert len(post(transport, scripted.url).body) == 1 << 20
    scripted.answer = respond(body=b'x' * ((1 << 20) + 1))
    with pytest.raises(TransportError, match='larger than 1 MiB'):
        post(transport, scripted.url)


def test_compressed_bombs_are_refused(scripted):
    transport = HTTPTransport(max_answer=1 << 20)
    scripted.answer = respond(body=gzip.compress(bytes(50 << 20)), Content_Encoding='gzip')
    with pytest.raises(TransportError, match='larger than 1 MiB'):
        post(transport, scripted.url)


def test_an_answer_that_breaks_off(transport, scripted):
    def cut(handler, _):
        respond(body=b'<half', Content_Length='100')(handler, b'')
        handler.close_connection = True

    scripted.answer = cut
    with pytest.raises(TransportError, match='broke off') as caught:
        post(transport, scripted.url)
    one_line(caught)


def test_an_answer_that_is_packed_wrongly(transport, scripted):
    scripted.answer = respond(body=b'no gzip', Content_Encoding='gzip')
    with pytest.raises(TransportError, match='broke off'):
        post(transport, scripted.url)


# --- redirects ----------------------------------------------------------------------------------


def redirect_once(scripted, status, location):
    def answer(handler, body):
        if len(scripted.seen) == 1:
            respond(status, b'', Location=location)(handler, body)
        else:
            respond()(handler, body)

    scripted.answer = answer


@pytest.mark.parametrize('status', [307, 308])
def test_a_redirect_that_keeps_the_post_is_followed(transport, scripted, status):
    redirect_once(scripted, status, '/elsewhere')
    assert post(transport, scripted.url, b'body').body == b'<answer/>'
    path, headers, body = scripted.seen[1]
    assert (path, body, headers['content-type']) == ('/elsewhere', b'body', KIND)


@pytest.mark.parametrize(
    ('status', 'location'),
    [
        (301, '/elsewhere'),
        (302, '/elsewhere'),
        (303, '/elsewhere'),
        (307, 'http://localhost:1/elsewhere'),
        (308, 'ftp://127.0.0.1/elsewhere'),
        (307, ''),
    ],
)
def test_other_redirects_are_errors(transport, scripted, status, location):
    redirect_once(scripted, status, location)
    with pytest.raises(HTTPStatus) as caught:
        post(transport, scripted.url)
    assert caught.value.code == status
    assert len(scripted.seen) == 1
    one_line(caught)


def test_redirects_in_circles_end(transport, scripted):
    scripted.answer = respond(307, b'', Location='/sync')
    with pytest.raises(HTTPStatus, match='circles'):
        post(transport, scripted.url)
    assert len(scripted.seen) == 6


# --- no connection ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'url',
    ['', 'nonsense', 'example.com:8080', 'ftp://x/', 'http://', 'http://x:99999/', 'http://[::1/'],
)
def test_addresses_that_are_none(transport, url):
    with pytest.raises(ConnectFailed, match='no address of a server') as caught:
        post(transport, url)
    one_line(caught)


def test_nobody_listens(transport, free_port):
    with pytest.raises(ConnectFailed, match='Nobody listens') as caught:
        post(transport, f'http://127.0.0.1:{free_port}/')
    one_line(caught)


def test_unknown_names(transport, monkeypatch):
    def unknown(*_args, **_kw):
        raise socket.gaierror(-2, 'Name or service not known')

    monkeypatch.setattr(socket, 'getaddrinfo', unknown)
    with pytest.raises(ConnectFailed, match='is not known') as caught:
        post(transport, 'http://nowhere.invalid/')
    one_line(caught)


def test_a_proxy_that_is_not_there(free_port):
    transport = HTTPTransport(proxies={'http': f'http://127.0.0.1:{free_port}'})
    with pytest.raises(ConnectFailed, match='proxy') as caught:
        post(transport, 'http://example.invalid/')
    one_line(caught)


def test_a_server_that_says_nothing(scripted):
    transport = HTTPTransport(timeout=(1, 0.1))
    release = threading.Event()
    scripted.answer = lambda handler, body: release.wait(5) and None
    with pytest.raises(Timeout, match=r'within 0\.1 seconds') as caught:
        post(transport, scripted.url)
    release.set()
    one_line(caught)


def test_a_server_that_stops_in_the_middle(scripted):
    transport = HTTPTransport(timeout=(1, 0.1))
    release = threading.Event()

    def stall(handler, body):
        respond(body=b'<half', Content_Length='100')(handler, body)
        release.wait(5)

    scripted.answer = stall
    with pytest.raises(Timeout):
        post(transport, scripted.url)
    release.set()


def test_a_connection_that_is_slammed(transport, scripted):
    def slam(handler, _):
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    scripted.answer = slam
    with pytest.raises(ConnectFailed, match='without an answer') as caught:
        post(transport, scripted.url)
    one_line(caught)


def test_a_kept_connection_that_the_server_has_closed_is_opened_anew(transport, scripted):
    def once(handler, body):
        respond()(handler, body)
        handler.close_connection = True  # without announcing it

    scripted.answer = once
    for _ in range(3):
        assert post(transport, scripted.url).body == b'<answer/>'
        time.sleep(0.1)  # for the end of the connection to arrive


def test_a_file_of_certificates_that_is_not_there():
    with pytest.raises(UsageError, match='no file /nowhere'):
        HTTPTransport(verify='/nowhere')


@pytest.mark.parametrize('length', ['\u00b2', '9' * 5000, '1' * 19])
def test_a_length_that_is_none_is_no_trouble(transport, scripted, length):
    def answer(handler, body):
        handler.wfile.write(f'HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n'.encode('latin-1'))
        handler.wfile.write(b'Connection: close\r\nContent-Type: a/b\r\n\r\n<answer/>')
        handler.close_connection = True

    scripted.answer = answer
    with contextlib.suppress(TransportError):
        assert post(transport, scripted.url).body == b'<answer/>'


def test_a_redirect_to_what_is_no_address(transport, scripted):
    redirect_once(scripted, 307, 'http://[x/')
    with pytest.raises(TransportError) as caught:
        post(transport, scripted.url)
    one_line(caught)
