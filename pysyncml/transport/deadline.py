"""A time limit for a whole exchange; imported together with ``requests`` only.

The time-outs of sockets are about each sign of life, so that an answer that trickles would never
end. Here a clock runs beside the exchange, and cuts the connection when its time is up.
"""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter

__all__ = ['Deadline', 'WatchedAdapter', 'in_blocks']

_BLOCK = 1 << 18  # bytes: what is more is sent in blocks, each with the socket's time limit


class Deadline:
    """Cuts what an exchange is waiting for when its time is up.

    Args:
        stall: seconds without any progress after which sending is given up.
    """

    def __init__(self, stall: float) -> None:
        self.stall = stall
        self.passed = False
        self._lock = threading.Lock()
        self._lines: list[tuple[Any, socket.socket]] = []  # connections, each with a handle
        self._line: socket.socket | None = None  # that of the connection in use
        self._until: float | None = None  # when the exchange under way has to be over
        self._changed = threading.Condition(self._lock)
        self._clock: threading.Thread | None = None
        self._wakes = 0.0  # when the clock looks the next time

    def watch(self, session: requests.Session) -> None:
        """Have all connections of *session* made such that they can be cut."""
        for prefix in ('http://', 'https://'):
            session.mount(prefix, WatchedAdapter(self))

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Let what happens inside take so many *seconds* at most; then ``passed`` is set."""
        with self._lock:
            self.passed = False
            self._tidy()
            self._until = time.monotonic() + seconds
            if self._clock is None:
                self._clock = threading.Thread(target=self._watch, daemon=True)
                self._clock.start()
            elif self._until < self._wakes:
                self._changed.notify()
        try:
            yield
        finally:
            with self._lock:
                self._until = None

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._line = self._until = None
            self._changed.notify()
            for _, handle in self._lines:
                handle.close()
            self._lines.clear()

    def opened(self, connection: Any, sock: socket.socket) -> None:
        """Take notice of a new *connection*. TLS takes its socket over, a copy of it stays ours.

        Raises:
            TimeoutError: it was too late.
        """
        with self._lock:
            if self.passed:
                sock.close()
                raise TimeoutError('timed out')
            self._line = sock.dup()
            self._lines.append((connection, self._line))

    def uses(self, connection: Any) -> None:
        """Take notice of which connection the next request takes."""
        with self._lock:
            handles = [handle for known, handle in self._lines if known is connection]
            self._line = handles[-1] if handles and connection.sock is not None else None

    def _watch(self) -> None:
        """Be the clock. One goes on for many exchanges; it ends when it finds none to look at."""
        with self._lock:
            while self._until is not None:
                left = self._until - time.monotonic()
                if left <= 0:
                    self._cut()
                else:
                    self._wakes = self._until
                    self._changed.wait(left)
            self._clock = None

    def _cut(self) -> None:
        self.passed, self._until = True, None
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)

    def _tidy(self) -> None:
        for line in [line for line in self._lines if line[0].sock is None]:
            self._lines.remove(line)
            line[1].close()


class WatchedAdapter(HTTPAdapter):
    """Makes the connections of requests tell a :class:`Deadline` of themselves."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make what makes connections."""
        super().init_poolmanager(*args, **{**kwargs, 'blocksize': _BLOCK})

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: Any = None,
    ) -> Any:
        """Return the pool of connections for *request*."""
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies, cert)
        if not hasattr(pool.ConnectionCls, 'deadline'):
            pool.ConnectionCls = _watched(pool.ConnectionCls, self._deadline)
        return pool


def _watched(kind: Any, watcher: Deadline) -> Any:
    class Watched(kind):  # type: ignore[misc]
        deadline = watcher

        def _new_conn(self) -> Any:
            sock = super()._new_conn()
            watcher.opened(self, sock)
            return sock

        def connect(self) -> None:
            super().connect()
            # or else sending would have the time that is meant for connecting
            self.sock.settimeout(watcher.stall)

        def request(self, *args: Any, **kwargs: Any) -> Any:
            watcher.uses(self)
            return super().request(*args, **kwargs)

    return Watched


def in_blocks(body: bytes) -> bytes | io.BytesIO:
    """Return *body* such that it is sent in blocks, if it is large.

    The time-out of a socket is about all of what it is given to send.
    """
    return io.BytesIO(body) if len(body) > _BLOCK else body
