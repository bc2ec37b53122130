"""An HTTP proxy that loses, repeats and cuts off messages as it is told."""

from __future__ import annotations

import collections
import contextlib
import re
import socket
import threading
from collections.abc import Callable

PASS = 'pass'
DROP_REQUEST = 'drop-request'
DROP_ANSWER = 'drop-answer'
TWICE = 'twice'
CUT = 'cut'
CUT_REQUEST = 'cut-request'

_CHUNK = 1 << 16


class Proxy:
    """Listens on a port of this machine and passes each message on to one server.

    ``plan`` is called with the number of each message, beginning with 1, and says what is to
    happen: ``pass``; ``drop-request`` (it never arrives), ``drop-answer`` (it arrives, its answer
    does not), ``twice`` (it arrives twice, the second answer is returned), ``cut`` (the answer
    breaks off half way), ``cut-request`` (the request does). ``counts`` counts these. Clients may
    name it as their proxy, or as the server itself.
    """

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.plan: Callable[[int], str] = lambda number: PASS
        self.counts: collections.Counter[str] = collections.Counter()
        self.messages = 0
        self.bodies: list[tuple[bytes, bytes]] | None = None  # a list gathers (request, answer)
        self._lock = threading.Lock()
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f'http://127.0.0.1:{self.port}/'

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, _Gone):
            while self._one(client):
                continue

    def _one(self, client: socket.socket) -> bool:
        """Pass one message on; return whether the connection goes on."""
        request = _read(client)
        with self._lock:
            self.messages += 1
            what = self.plan(self.messages)
            self.counts[what] += 1
        if what == DROP_REQUEST:
            return False
        request = re.sub(rb'^(\S+) https?://[^/\s]+', rb'\1 ', request, count=1)
        if what == CUT_REQUEST:
            self._ask(request[: len(request) * 2 // 3], wait=False)
            return False
        answer = self._ask(request)
        if what == TWICE:
            answer = self._ask(request)
        if self.bodies is not None:
            self.bodies.append((request, answer))
        if what == DROP_ANSWER:
            return False
        if what == CUT:
            client.sendall(answer[: len(answer) * 2 // 3])
            return False
        client.sendall(answer)
        return True

    def _ask(self, request: bytes, wait: bool = True) -> bytes:
        with socket.create_connection(self.target, timeout=120) as server:
            server.sendall(request)
            return _read(server) if wait else b''


class _Gone(Exception):
    """The other side closed the connection."""


def _read(stream: socket.socket) -> bytes:
    """Return one whole message: its head, and as much body as that says."""
    data = bytearray()
    while b'\r\n\r\n' not in data:
        data += _more(stream)
    head, _, body = bytes(data).partition(b'\r\n\r\n')
    length = re.search(rb'(?im)^content-length:\s*(\d+)', head)
    if length is not None:
        missing = int(length[1]) - len(body)
        while missing > 0:
            block = _more(stream)
            data += block
            missing -= len(block)
    elif re.search(rb'(?im)^transfer-encoding:\s*chunked', head):
        while not data.endswith(b'0\r\n\r\n'):
            data += _more(stream)
    return bytes(data)


def _more(stream: socket.socket) -> bytes:
    block = stream.recv(_CHUNK)
    if not block:
        raise _Gone
    return block
