"""Clients that are slow, cut off, or odd: the server serves the others all the same."""

from __future__ import annotations

import contextlib
import gc
import http.client
import os
import socket
import threading
import time

import pytest

from pysyncml.transport import Request, Response
from pysyncml.transport.arrival import Arrival
from pysyncml.transport.http import HTTPTransport
from pysyncml.transport.pace import Pace
from pysyncml.transport.wsgi import AdHocServer, application

ECHO = application(lambda request: Response(request.body, request.content_type), max_body=1 << 20)
HEAD = b'POST / HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 4\r\n\r\n'
WHOLE = HEAD + b'ping'


def serve(threads=2, timeout=5, **limits):
    values = {'head': 5, 'body': 5, **limits}
    return AdHocServer(
        ECHO, threads=threads, timeout=timeout, max_body=1 << 20, pace=Pace(**values)
    )


def post(server, body=b'ping'):
    transport = HTTPTransport(timeout=(5, 5), proxies={})
    try:
        return transport.exchange(Request(server.url, {'Content-Type': 'a/b'}, body)).body
    finally:
        transport.close()


def connect(server):
    return socket.create_connection(('127.0.0.1', server.port), timeout=10)


def everything(sock):
    """Return all that comes until the server closes."""
    data = b''
    with contextlib.suppress(ConnectionResetError):
        while block := sock.recv(1 << 16):
            data += block
    return data


def prompt(server, seconds=3):
    """Assert that somebody who is not slow is served at once."""
    begin = time.monotonic()
    assert post(server) == b'ping'
    assert time.monotonic() - begin < seconds


@pytest.fixture
def server():
    with serve() as running:
        yield running


# --- many who are slow ----------------------------------------------------------------------------


@pytest.mark.parametrize('start', [b'', b'POST / HT', HEAD, HEAD + b'pi'])
def test_many_slow_clients_keep_nobody_out(server, start):
    """Fifty that never finish, and two threads."""
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(connect(server)).sendall(start)
        prompt(server)
        assert threading.active_count() <= before + 2
        prompt(server)


def test_clients_that_never_read_keep_nobody_out():
    answer = os.urandom(8 << 20)
    app = application(lambda request: Response(answer if request.body == b'much' else b'x', 'a/b'))
    with AdHocServer(app, threads=2, timeout=5) as server, contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(connect(server)).sendall(HEAD + b'much')
        begin = time.monotonic()
        for _ in range(3):
            assert post(server) == b'x'
        assert time.monotonic() - begin < 3
        assert post(server, b'much') == answer


def test_when_too_many_are_there_the_one_that_waited_longest_goes():
    with serve(connections=10) as server, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(server)) for _ in range(12)]
        prompt(server)
        assert [sock for sock in slow if _closed(sock)] == slow[:3]


def _closed(sock):
    sock.settimeout(0.05)
    try:
        return sock.recv(1) == b''
    except TimeoutError:
        return False


def test_a_real_server_serves_between_slow_clients(world):
    real = world.server('s')
    world.write('a', 'note', 'of a')
    with contextlib.ExitStack() as stack:
        for number in range(40):
            sock = stack.enter_context(socket.create_connection(('127.0.0.1', real.port)))
            sock.sendall(WHOLE[: number * 2])
        world.sync('a')
        assert world.same('s', 'a') == {'note': b'of a'}
        assert world.sync('a').moved == {}


# --- limits of time -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('start', 'limits', 'answer'),
    [
        (b'', {'head': 0.3}, b''),
        (b'POST /', {'head': 0.3}, b'HTTP/1.1 408'),
        (HEAD, {'body': 0.3}, b'HTTP/1.1 408'),
        (HEAD + b'pi', {'timeout': 0.3}, b'HTTP/1.1 408'),
        (WHOLE, {'timeout': 0.3}, b'HTTP/1.1 200'),
    ],
)
def test_who_says_nothing_is_let_go(start, limits, answer):
    with serve(**limits) as server, connect(server) as sock:
        sock.sendall(start)
        begin = time.monotonic()
        assert everything(sock).startswith(answer)
        assert time.monotonic() - begin < 3


@pytest.mark.parametrize('start', [b'POST / HTTP/1.1\r\nX: ', HEAD.replace(b': 4', b': 4000')])
def test_who_trickles_is_let_go(start):
    """A byte now and then is a sign of life, and not enough."""
    with serve(head=0.5, body=0.5, rate=1000) as server, connect(server) as sock:
        sock.sendall(start)
        begin = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - begin < 8:
                sock.sendall(b'x')
                time.sleep(0.02)
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    if sock.recv(1 << 16):
                        break
                sock.setblocking(True)
        assert time.monotonic() - begin < 5


def test_who_reads_nothing_is_let_go():
    app = application(lambda request: Response(bytes(32 << 20), 'a/b'))
    with AdHocServer(app, threads=1, timeout=0.3) as server, connect(server) as sock:
        sock.sendall(WHOLE)
        time.sleep(2)
        assert len(everything(sock)) < 32 << 20


def test_slow_and_steady_arrives(server):
    with connect(server) as sock:
        for byte in WHOLE:
            sock.sendall(bytes([byte]))
            time.sleep(0.001)
        assert sock.recv(1 << 16).endswith(b'ping')


# --- odd, but right -------------------------------------------------------------------------------


def test_pipelined_requests(server):
    with connect(server) as sock:
        sock.sendall(WHOLE * 3 + HEAD.replace(b'Host', b'Connection: close\r\nHost') + b'ping')
        data = everything(sock)
    assert data.count(b'HTTP/1.1 200 OK') == data.count(b'ping') == 4


def test_a_client_that_waits_to_be_told(server):
    with connect(server) as sock:
        sock.sendall(HEAD.replace(b'Host', b'Expect: 100-continue\r\nHost'))
        assert sock.recv(1 << 16) == b'HTTP/1.1 100 Continue\r\n\r\n'
        sock.sendall(b'ping')
        answer = sock.recv(1 << 16)
        assert answer.startswith(b'HTTP/1.1 200') and answer.endswith(b'ping')


def test_a_client_that_waits_to_be_told_with_too_much(server):
    with connect(server) as sock:
        head = HEAD.replace(b'Host', b'Expect: 100-continue\r\nHost')
        sock.sendall(head.replace(b': 4', b': 40000000'))
        data = everything(sock)
    assert b'413' in data and b'100 Continue' not in data.partition(b'413')[0]


def test_http_1_0(server):
    with connect(server) as sock:
        sock.sendall(WHOLE.replace(b'1.1', b'1.0'))
        data = everything(sock)
    assert b'200 OK' in data and data.endswith(b'ping')


@pytest.mark.parametrize('stop', [b'', b'Trailer: 1\r\n'])
def test_chunks_in_all_sizes(server, stop):
    head = HEAD.replace(b'Content-Length: 4', b'Transfer-Encoding: chunked')
    body = b'1;x=y\r\np\r\n2\r\nin\r\n01\r\ng\r\n0\r\n' + stop + b'\r\n'
    for size in (1, 2, 7, 500):
        with connect(server) as sock:
            for at in range(0, len(head + body), size):
                sock.sendall((head + body)[at : at + size])
            assert sock.recv(1 << 16).endswith(b'ping')
            sock.sendall(WHOLE)
            assert sock.recv(1 << 16).endswith(b'ping')


# --- wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('request_', 'status'),
    [
        (b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc', b'400'),
        (b'nonsense\r\n\r\n', b'400'),
        (b'POST / HTTP/1.1\nHost: x\n\n', b'400'),
        (b'POST / HTTP/3.0\r\n\r\n', b'505'),
        (b'POST /' + b'x' * 70000 + b' HTTP/1.1\r\n\r\n', b'414'),
        (HEAD.replace(b'Host', b'X: ' + b'y' * 70000 + b'\r\nHost'), b'413'),
        (HEAD.replace(b': 4', b': 99999999'), b'413'),
        (HEAD.replace(b': 4', b': 1048577'), b'413'),
        (HEAD.replace(b': 4', b': -4'), b'400'),
        (HEAD.replace(b': 4', b': four'), b'400'),
        (HEAD.replace(b': 4', b': 4\r\nContent-Length: 5'), b'400'),
        (HEAD.replace(b'Content-Length: 4', b'Transfer-Encoding: chunked') + b'zz\r\n', b'400'),
        (HEAD.replace(b'Content-Length: 4', b'Transfer-Encoding: chunked') + b'-1\r\n', b'400'),
        (HEAD.replace(b'Content-Length: 4', b'Transfer-Encoding: gzip'), b'501'),
        (HEAD.replace(b'Content-Length: 4\r\n', b''), b'411'),
    ],
)
def test_what_is_wrong_is_refused_at_once(server, request_, status):
    with connect(server) as sock:
        sock.sendall(request_)
        data = everything(sock) if status != b'411' else sock.recv(1 << 16)
    assert data.split(b' ')[1] == status, data[:200]
    assert b'Traceback' not in data
    prompt(server)


def test_endless_chunks_are_refused(server):
    with connect(server) as sock:
        sock.sendall(HEAD.replace(b'Content-Length: 4', b'Transfer-Encoding: chunked'))
        for _ in range(24):
            sock.sendall(b'10000\r\n' + bytes(65536) + b'\r\n')
        assert everything(sock).split(b' ')[1] == b'413'
    prompt(server)


def test_a_request_cut_at_any_byte_harms_nobody(server):
    for at in range(0, len(WHOLE), 7):
        with connect(server) as sock:
            sock.sendall(WHOLE[:at])
            if at % 2:
                sock.shutdown(socket.SHUT_WR)
                assert everything(sock) == b''
    prompt(server)


def test_connections_leave_nothing_behind(server):
    post(server)
    reception = server._server.reception
    gc.collect()  # what other tests have left is not to be counted
    before = len(os.listdir('/proc/self/fd')) if os.path.exists('/proc/self/fd') else 0

    def left() -> int:
        gc.collect()
        return len(os.listdir('/proc/self/fd')) - before if before else 0

    for _ in range(100):
        with connect(server) as sock:
            sock.sendall(WHOLE[: _ % len(WHOLE)])
    post(server)  # who comes last is answered when all the others have been taken in
    deadline = time.monotonic() + 5
    # a line is struck off before its socket is closed
    while (len(reception._lines) > 1 or left() > 2) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(reception._lines) <= 1
    assert left() <= 2


def test_an_answer_under_way_is_sent_before_the_end():
    entered, go = threading.Event(), threading.Event()

    def handler(request):
        entered.set()
        go.wait(5)
        return Response(b'x' * (4 << 20), 'a/b')

    server = AdHocServer(application(handler), threads=1)
    server.start()
    found = []
    client = threading.Thread(target=lambda: found.append(len(post(server))))
    client.start()
    assert entered.wait(5)
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    go.set()
    client.join(10)
    stopper.join(10)
    assert found == [4 << 20]


# --- where a request ends -------------------------------------------------------------------------


def test_an_arrival_in_all_pieces():
    follow = b'POST /next'
    for size in range(1, len(WHOLE) + 5):
        arrival = Arrival(1000)
        data, rest = WHOLE + follow, None
        for at in range(0, len(data), size):
            rest = arrival.feed(data[at : at + size])
            if rest is not None:
                rest += data[at + size :]
                break
        assert rest == follow
        arrival.file.seek(0)
        assert arrival.file.read() == WHOLE and not arrival.last
        arrival.file.close()


def test_large_requests_are_kept_in_files(server):
    body = os.urandom(1 << 20)
    assert post(server, body) == body
    connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=5)
    connection.request('POST', '/', iter([body[:300000], body[300000:]]), encode_chunked=True)
    assert connection.getresponse().read() == body
    connection.close()


@pytest.mark.parametrize('name', [b'Content-Length', b'Transfer-Encoding'])
def test_a_head_is_read_in_the_time_that_its_length_takes(name):
    """The thread that reads it looks after all others, too."""
    arrival = Arrival(1000)
    blanks = b' ' * 30_000
    begin = time.process_time()
    arrival.feed(b'POST / HTTP/1.1\r\n' + name + b':' + blanks + b'a' + blanks + b'b\r\n\r\n')
    assert time.process_time() - begin < 1
    assert arrival.last, 'it is no length, and no coding'
    arrival.file.close()


@pytest.mark.parametrize('value', [b'4', b' 4', b'\t4 \t'])
def test_blanks_around_a_length_do_not_count(value):
    arrival = Arrival(1000)
    assert arrival.feed(b'POST / HTTP/1.1\r\nContent-Length:' + value + b'\r\n\r\nping!') == b'!'
    arrival.file.close()


def test_all_requests_together_have_a_limit(server):
    """Files of temporary bodies fill the disk as well as anything."""
    reception = server._server.reception
    reception.most_held = 400_000
    start = HEAD.replace(b'4', b'900000') + b'x' * 300_000
    with connect(server) as first, connect(server) as second:
        first.sendall(start)
        until = time.monotonic() + 5
        while reception._held() < 300_000 and time.monotonic() < until:
            time.sleep(0.01)
        second.sendall(start)
        assert everything(first) == b'', 'who has taken longest goes'
        second.sendall(b'x' * 600_000)
        assert everything(second) == b'', 'and nobody has more for himself'
    prompt(server)
