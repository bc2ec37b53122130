"""The ad hoc server on a real socket, with the real client."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

from pysyncml.errors import ConnectFailed, HTTPStatus, TransportError, UsageError
from pysyncml.transport import Request, Response
from pysyncml.transport.http import HTTPTransport
from pysyncml.transport.wsgi import AdHocServer, application

ECHO = application(lambda request: Response(request.body, request.content_type))


def post(url: str, body: bytes = b'ping', **kw) -> bytes:
    transport = HTTPTransport(timeout=(5, 5), **kw)
    try:
        return transport.exchange(Request(url, {'Content-Type': 'a/b'}, body)).body
    finally:
        transport.close()


@pytest.fixture
def server():
    with AdHocServer(ECHO, threads=4, timeout=5) as running:
        yield running


def test_it_serves_on_a_free_port(server):
    assert server.port > 0
    assert server.url == f'http://127.0.0.1:{server.port}/'
    assert server.ready_line == f'Listening on {server.url}'
    assert post(server.url) == b'ping'
    assert post(server.url + 'any/path;sid=1') == b'ping'


def test_large_messages_go_through_both_ways(server):
    body = os.urandom(3 << 20)
    assert post(server.url, body) == body


def test_chunked_requests(server):
    connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=5)
    blocks = [b'one', b'two' * 30000]
    connection.request('POST', '/', iter(blocks), encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b''.join(blocks))
    connection.close()


def test_one_connection_serves_many_messages(server):
    connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=5)
    connection.connect()
    local = connection.sock.getsockname()
    for number in range(20):
        connection.request('POST', '/', b'%d' % number)
        assert connection.getresponse().read() == b'%d' % number
        assert connection.sock.getsockname() == local
    connection.close()


def test_messages_beyond_the_limit_are_refused_unread():
    app = application(lambda request: Response(b'x'), max_body=1000)
    with AdHocServer(app, max_body=1000) as server, pytest.raises(HTTPStatus) as caught:
        post(server.url, bytes(2000))
    assert caught.value.code == 413


def test_several_at_once():
    together = threading.Barrier(3, timeout=5)

    def handler(request):
        together.wait()
        return Response(request.body, 'a/b')

    with AdHocServer(application(handler), threads=3) as server:
        answers = []
        clients = [
            threading.Thread(target=lambda: answers.append(post(server.url))) for _ in range(3)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert answers == [b'ping'] * 3


def test_a_failing_application_does_not_end_the_server(server):
    with socket.create_connection(('127.0.0.1', server.port), timeout=5) as sock:
        sock.sendall(b'nonsense\r\n\r\n')
        assert b'400' in sock.recv(1000)
    assert post(server.url) == b'ping'


def test_after_stop_nobody_listens_and_the_port_is_free(server):
    url, port = server.url, server.port
    server.stop()
    server.stop()
    with pytest.raises(ConnectFailed, match='Nobody listens'):
        post(url)
    with AdHocServer(ECHO, port=port) as again:
        assert post(again.url) == b'ping'


def test_serve_forever_ends_with_stop():
    server = AdHocServer(ECHO)
    thread = threading.Thread(target=server.serve_forever)
    server.start()
    thread.start()
    assert post(server.url) == b'ping'
    server.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_serve_forever_tidies_up_once_a_minute(monkeypatch):
    server = AdHocServer(ECHO)
    seconds, times = iter(range(150)), []
    monkeypatch.setattr(server._ended, 'wait', lambda timeout: next(seconds, None) is None)
    server.serve_forever(tidy=lambda: times.append(next(seconds)))
    assert times == [60, 121]


def test_a_port_that_is_taken(server):
    with pytest.raises(TransportError, match=f'Port {server.port} is in use already'):
        AdHocServer(ECHO, port=server.port).start()


def test_an_address_that_is_not_ours():
    with pytest.raises(TransportError, match='no address of this computer'):
        AdHocServer(ECHO, host='192.0.2.1').start()


def test_all_interfaces():
    with AdHocServer(ECHO, host='') as server:
        assert server.url == f'http://{socket.gethostname()}:{server.port}/'
        assert 'all network interfaces' in server.ready_line
        assert post(server.urls[-1]) == b'ping'


def test_ipv6_addresses_are_bracketed():
    try:
        with AdHocServer(ECHO, host='::1') as server:
            assert server.url == f'http://[::1]:{server.port}/'
            assert post(server.url) == b'ping'
    except TransportError:
        pytest.skip('no IPv6 here')


def test_interrupting_a_program_that_serves():
    code = (
        'import sys\n'
        'from pysyncml.transport import Response\n'
        'from pysyncml.transport.wsgi import AdHocServer, application\n'
        'server = AdHocServer(application(lambda r: Response(b"x")))\n'
        'server.start()\n'
        'print(server.port, flush=True)\n'
        'try:\n'
        '    server.serve_forever()\n'
        'except KeyboardInterrupt:\n'
        '    sys.exit(130)\n'
    )
    with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True) as child:
        port = int(child.stdout.readline())
        # an idle connection must not hold up the end
        with socket.create_connection(('127.0.0.1', port), timeout=5):
            assert post(f'http://127.0.0.1:{port}/') == b'x'
        child.send_signal(2)
        assert child.wait(10) == 130


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture
def secure(pem):
    with AdHocServer(ECHO, tls_cert=str(pem('localhost', '127.0.0.1')), timeout=5) as running:
        yield running


def test_https(secure, ca_file):
    assert secure.url.startswith('https://')
    assert post(secure.url, verify=str(ca_file)) == b'ping'
    assert post(secure.url, verify=False) == b'ping'


def test_the_application_knows_that_it_is_encrypted(pem, ca_file):
    app = application(lambda request: Response(request.url.encode()))
    with AdHocServer(app, tls_cert=str(pem('127.0.0.1'))) as server:
        assert post(server.url, verify=str(ca_file)) == server.url.encode()


def test_a_certificate_of_an_unknown_authority(secure):
    with pytest.raises(ConnectFailed, match='--ca-file'):
        post(secure.url)


def test_a_certificate_for_another_name(pem, ca_file):
    server = AdHocServer(ECHO, tls_cert=str(pem('other.example')))
    with server, pytest.raises(ConnectFailed, match='is for another'):
        post(server.url, verify=str(ca_file))


def test_https_to_a_server_that_speaks_http(server):
    with pytest.raises(ConnectFailed, match='does not speak https'):
        post(server.url.replace('http:', 'https:'))


def test_http_to_a_server_that_speaks_https(secure):
    with pytest.raises(TransportError, match='Only https is spoken here'):
        post(secure.url.replace('https:', 'http:'))


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_old_versions_of_tls_are_refused(secure):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers('ALL:@SECLEVEL=0')
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    sock = socket.create_connection(('127.0.0.1', secure.port), timeout=5)
    with sock, pytest.raises(OSError):
        context.wrap_socket(sock)


def test_a_client_that_says_nothing_keeps_nobody_waiting(secure, ca_file):
    with socket.create_connection(('127.0.0.1', secure.port), timeout=5):
        begin = time.monotonic()
        assert post(secure.url, verify=str(ca_file)) == b'ping'
        assert time.monotonic() - begin < 3


def test_after_https_nothing_goes_in_clear(secure, server, ca_file):
    transport = HTTPTransport(timeout=(5, 5), verify=str(ca_file))
    transport.exchange(Request(secure.url, {}, b'x'))
    # the same host: a server behind a proxy that does not know it is called by https
    again = transport.exchange(Request(f'http://127.0.0.1:{server.port}/;id=1', {}, b'y'))
    assert again.body == b'y'
    with pytest.raises(ConnectFailed, match='without encryption'):
        transport.exchange(Request(f'http://localhost:{server.port}/', {}, b'x'))
    transport.close()


def test_certificates_that_cannot_be_used(pem, tmp_path):
    good, other = str(pem('a.example')), str(pem('b.example'))
    rubbish = tmp_path / 'rubbish.pem'
    rubbish.write_text('rubbish')
    with pytest.raises(UsageError, match='Cannot read /nowhere'):
        AdHocServer(ECHO, tls_cert='/nowhere')
    with pytest.raises(UsageError, match='does not belong'):
        AdHocServer(ECHO, tls_cert=good, tls_key=other)
    with pytest.raises(UsageError, match='PEM'):
        AdHocServer(ECHO, tls_cert=str(rubbish))


def test_keys_with_a_password_are_refused_without_asking(pem, tmp_path):
    from cryptography.hazmat.primitives import serialization as s

    cert = pem('a.example')
    key = s.load_pem_private_key(cert.read_bytes(), None)
    locked = tmp_path / 'locked.pem'
    locked.write_bytes(
        key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b'x'))
    )
    with pytest.raises(UsageError, match='has a password'):
        AdHocServer(ECHO, tls_cert=str(cert), tls_key=str(locked))
