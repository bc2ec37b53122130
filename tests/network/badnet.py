"""A network that is as bad as it is told to be: a TCP server whose behaviour is a function.

::

    with BadNetwork(says(b'HTTP/1.1 200 OK\\r\\n\\r\\nnonsense')) as network:
        ...  # something that talks to network.port

A behaviour gets the connection and may do with it what it likes; it ends when the other side goes.
:func:`passes_on` leads to a real server, and breaks where it is told to.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable

Behaviour = Callable[[socket.socket], None]
_BLOCK = 1 << 16


class BadNetwork:
    """Listens on the loopback address; each connection gets what ``behaviour`` does.

    Attributes:
        behaviour: what is done with the next connections; it may be exchanged at any time.
        connections: how many there have been.
        heard: what the behaviours have read with :func:`request`, one entry for each.
    """

    def __init__(self, behaviour: Behaviour, host: str = '127.0.0.1') -> None:
        self.behaviour = behaviour
        self.connections = 0
        self._open: set[socket.socket] = set()
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.host = f'[{host}]' if ':' in host else host
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Its address, for http."""
        return f'http://{self.host}:{self.port}/'

    def close(self) -> None:
        """Listen no more, and end all connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> BadNetwork:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(60)
        self._open.add(sock)
        with contextlib.suppress(OSError, Gone):
            self.behaviour(sock)
        with contextlib.suppress(OSError):
            sock.close()
        self._open.discard(sock)


class Gone(Exception):
    """The other side closed the connection."""


def request(sock: socket.socket) -> bytes:
    """Read one request, head and body (with a Content-Length), and return it."""
    data = b''
    while b'\r\n\r\n' not in data:
        data += _more(sock)
    head, _, body = data.partition(b'\r\n\r\n')
    length = next(
        (int(line.split(b':')[1]) for line in head.lower().split(b'\r\n')
         if line.startswith(b'content-length:')), 0)  # fmt: skip
    while len(body) < length:
        more = _more(sock)
        body += more
        data += more
    return data


def _more(sock: socket.socket) -> bytes:
    block = sock.recv(_BLOCK)
    if not block:
        raise Gone
    return block


def reset(sock: socket.socket) -> None:
    """End the connection rudely (RST)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()


# --- behaviours -----------------------------------------------------------------------------------


def silent(sock: socket.socket) -> None:
    """Take all, and say nothing."""
    while True:
        _more(sock)


def slams(sock: socket.socket) -> None:
    """Read the request and go."""
    request(sock)


def resets(sock: socket.socket) -> None:
    """Read the request and reset the connection."""
    request(sock)
    reset(sock)


def says(*answers: bytes, pace: float = 0, hold: bool = False) -> Behaviour:
    """Answer each request of a connection with the next of *answers*, then end.

    Args:
        pace: seconds between any two bytes; 0 for all at once.
        hold: keep the connection open after the last answer, and say nothing more.
    """

    def behave(sock: socket.socket) -> None:
        for answer in answers:
            request(sock)
            trickle(sock, answer, pace)
        if hold:
            silent(sock)

    return behave


def trickle(sock: socket.socket, data: bytes, pace: float) -> None:
    """Send *data*, byte by byte with *pace* seconds between them, if that is not 0."""
    if not pace:
        sock.sendall(data)
        return
    for byte in data:
        sock.sendall(bytes([byte]))
        time.sleep(pace)


def says_without_end(start: bytes, block: bytes, pace: float = 0) -> Behaviour:
    """Answer with *start*, and then with *block* for ever."""

    def behave(sock: socket.socket) -> None:
        request(sock)
        sock.sendall(start)
        for _ in itertools.repeat(None):
            sock.sendall(block)
            time.sleep(pace)

    return behave


def greets(greeting: bytes) -> Behaviour:
    """Speak first, as servers of other protocols do, and go."""

    def behave(sock: socket.socket) -> None:
        sock.sendall(greeting)
        sock.recv(_BLOCK)

    return behave


def http(
    status: str = '200 OK',
    body: bytes = b'',
    kind: str = 'application/vnd.syncml+xml',
    length: bytes | None = None,
    headers: Iterable[str] = (),
) -> bytes:
    """Return an answer; *length* is what ``Content-Length`` says if that is to be a lie."""
    lines = [f'HTTP/1.1 {status}', f'Content-Type: {kind}', *headers]
    said = str(len(body)).encode() if length is None else length
    head = '\r\n'.join(lines).encode()
    return head + (b'\r\nContent-Length: ' + said if said else b'') + b'\r\n\r\n' + body


# --- a way to a real server -----------------------------------------------------------------------


class Way:
    """A way to the server at *port*; all connections together are one stream in each direction.

    ``cut_request`` and ``cut_answer`` are after how many bytes of that stream it breaks, once;
    ``pace`` and ``block`` make it slow. ``sent`` and ``received`` count bytes, ``cuts`` breaks.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.mend()

    def mend(self) -> None:
        """From now on all goes well."""
        self.cut_request: int | None = None
        self.cut_answer: int | None = None
        self.rude = False
        self.pace, self.block = 0.0, _BLOCK
        self.sent = self.received = self.cuts = 0

    def __call__(self, client: socket.socket) -> None:
        """Be the behaviour of a :class:`BadNetwork`."""
        with socket.create_connection(('127.0.0.1', self.port), timeout=60) as server:
            back = threading.Thread(target=self._answers, args=(server, client), daemon=True)
            back.start()
            try:
                self._requests(client, server)
            finally:
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)
                back.join()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        while data := client.recv(self.block):
            limit = self.cut_request
            if limit is not None and self.sent + len(data) >= limit:
                data = data[: limit - self.sent]
                self.sent += len(data)
                self.cut_request = None
                self.cuts += 1
                server.sendall(data)
                # not before the server has seen them: a reset would take them away
                server.shutdown(socket.SHUT_WR)
                self._break(client)
                return
            self.sent += len(data)
            server.sendall(data)
            time.sleep(self.pace)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(self.block):
                limit = self.cut_answer
                if limit is not None and self.received + len(data) >= limit:
                    self.cuts += 1
                    client.sendall(data[: limit - self.received])
                    self.received = limit
                    self.cut_answer = None
                    self._break(client)
                    return
                self.received += len(data)
                client.sendall(data)
                time.sleep(self.pace)
            client.shutdown(socket.SHUT_RDWR)

    def _break(self, client: socket.socket) -> None:
        if self.rude:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        client.shutdown(socket.SHUT_RDWR)
