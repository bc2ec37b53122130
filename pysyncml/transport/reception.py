"""Takes requests in and hands answers out, so that nobody who is slow holds a thread that works.

One thread waits for all connections at once. A thread of the server's gets a request when it has
come as a whole, and is free again as soon as its answer is written down; how long both take on the
network is no concern of it. Everything that waits here has a limit of time, and when too many
wait, whoever has kept us waiting the longest goes.
"""

from __future__ import annotations

import collections
import contextlib
import enum
import logging
import selectors
import socket
import ssl
import threading
import time
from typing import Any

from pysyncml.transport.arrival import Arrival
from pysyncml.transport.pace import Pace

__all__ = ['Reception']

log = logging.getLogger('pysyncml.transport')

_BLOCK = 1 << 16
_LARGE_BLOCK = 1 << 18  # bytes that are read at once of a request that is larger than the others
_IN_MEMORY = 32 << 20  # bytes of all requests together; what is more goes to temporary files
_AT_ALL = 256 << 20  # bytes of all requests together: if more come, the slowest of them goes
_CHECK = 0.5  # seconds between two looks at who is late
_CONTINUE = b'HTTP/1.1 100 Continue\r\n\r\n'


class _State(enum.Enum):
    GREETING = 'shaking hands'
    READING = 'sending its request'
    WORKING = 'waiting for its answer'
    SENDING = 'reading its answer'
    PARTING = 'closing'


class _Line:
    """One connection, and what it is at."""

    def __init__(self, conn: Any, now: float) -> None:
        self.conn = conn
        self.sock = conn.socket
        self.state = _State.READING
        self.since = self.heard = now  # when that began, and when there was a sign of life
        self.moved = 0  # bytes since then
        self.arrival: Arrival | None = None
        self.rest = b''  # of the next request
        self.out: collections.deque[memoryview] = collections.deque()
        self.keep = False
        self.served = False  # whether one request was answered
        self.waiting_for = 0  # what is registered with the selector


class Reception:
    """The connections of one server, but for those that are being worked on.

    Args:
        server: what works on requests: its ``work_on(conn)`` is called with a connection whose
            ``rfile`` holds a whole one.
        pace: how long clients may take.
        most_body: bytes the body of a request may have.
    """

    def __init__(self, server: Any, pace: Pace, most_body: int) -> None:
        self.server = server
        self.pace = pace
        self.most_body = most_body
        self.most = pace.most_connections()
        self.most_held = max(_AT_ALL, 4 * most_body)
        self._lines: dict[Any, _Line] = {}
        self._orders: collections.deque[tuple[str, Any]] = collections.deque()
        self._selector = selectors.DefaultSelector()
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ, None)
        self._thread: threading.Thread | None = None
        self._end: float | None = None  # when to end, once that was asked for
        self._closed = False

    # --- called by other threads ------------------------------------------------------------------

    def start(self) -> None:
        """Begin; until then connections wait."""
        self._thread = threading.Thread(target=self._run, name='pysyncml-reception', daemon=True)
        self._thread.start()

    def stop(self, grace: float = 5) -> None:
        """Give answers that are under way so many seconds, then close all connections."""
        if self._thread is not None:
            self._end = time.monotonic() + grace
            self._ring()
            self._thread.join()
        self._closed = True
        for line in list(self._lines.values()):
            self._drop(line)
        self._selector.close()
        self._ear.close()
        self._bell.close()

    def receive(self, conn: Any) -> None:
        """Take care of a new connection."""
        self._order('receive', conn)

    def answered(self, conn: Any) -> None:
        """Send what ``conn.wfile`` holds; then go on if ``conn.keep``, or else part.

        What goes without waiting goes in this thread, to whom the connection still belongs.
        """
        line = self._lines.get(conn)
        if line is not None:
            line.out = collections.deque(memoryview(block) for block in conn.wfile.take())
            with contextlib.suppress(OSError):
                self._send_some(line)
        self._order('answered', conn)

    def dismiss(self, conn: Any) -> None:
        """Close a connection."""
        self._order('dismiss', conn)

    @property
    def crowded(self) -> bool:
        """Whether connections should end with their answer, to make room for others."""
        return len(self._lines) > self.most // 2

    def _order(self, what: str, conn: Any) -> None:
        if self._closed:
            conn.hang_up()
            return
        self._orders.append((what, conn))
        self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # full: it has been rung already
            self._bell.send(b'.')

    # --- the thread of our own --------------------------------------------------------------------

    def _run(self) -> None:
        check = time.monotonic() + _CHECK
        while not self._over():
            for key, _ in self._selector.select(_CHECK):
                if key.data is None:
                    with contextlib.suppress(OSError):
                        self._ear.recv(_BLOCK)
                else:
                    self._go_on(key.data)
            while self._orders:
                what, conn = self._orders.popleft()
                try:
                    self._obey(what, conn)
                except OSError as exc:  # it has died in the meantime
                    log.info('connection with %s lost: %s', conn.remote_addr, exc)
                    self._lines.pop(conn, None)
                    conn.hang_up()
            now = time.monotonic()
            if now >= check:
                self._part_with_the_late(now)
                check = now + _CHECK

    def _over(self) -> bool:
        if self._end is None:
            return False
        under_way = (_State.SENDING, _State.WORKING)
        busy = self._orders or any(line.state in under_way for line in self._lines.values())
        return not busy or time.monotonic() >= self._end

    def _obey(self, what: str, conn: Any) -> None:
        now = time.monotonic()
        if what == 'receive':
            self._make_room()
            line = self._lines[conn] = _Line(conn, now)
            line.sock.setblocking(False)
            if isinstance(line.sock, ssl.SSLSocket):
                line.state = _State.GREETING
            self._go_on(line)
            return
        known = self._lines.get(conn)
        if known is None:
            conn.hang_up()
        elif what == 'dismiss':
            self._drop(known)
        else:
            known.keep = bool(conn.keep) and not (known.arrival and known.arrival.last)
            known.arrival = None
            self._enter(known, _State.SENDING, now)
            known.served = True
            self._go_on(known)

    def _say(self, line: _Line, answer: bytes, now: float) -> None:
        line.served = True
        line.out = collections.deque([memoryview(answer)])
        self._enter(line, _State.SENDING, now)

    def _enter(self, line: _Line, state: _State, now: float) -> None:
        line.state, line.since, line.heard, line.moved = state, now, now, 0

    def _make_room(self) -> None:
        if len(self._lines) < self.most:
            return
        idle = [line for line in self._lines.values() if line.state is not _State.WORKING]
        if idle:
            late = min(idle, key=lambda line: line.since)
            log.info('too many connections: that of %s goes', late.conn.remote_addr)
            self._drop(late)

    def _go_on(self, line: _Line) -> None:
        """Do for *line* whatever can be done without waiting."""
        try:
            events = self._advance(line)
            self._await(line, events)
        except _Gone:
            self._drop(line)
        except (OSError, ValueError) as exc:
            log.info('connection with %s lost: %s', line.conn.remote_addr, exc)
            self._drop(line)
        except Exception:
            log.exception('connection with %s failed', line.conn.remote_addr)
            self._drop(line)
        else:
            if not events:
                self.server.work_on(line.conn)

    def _advance(self, line: _Line) -> int:
        """Go on until we have to wait; return for what, 0 for somebody who works on it."""
        try:
            while line.state is not _State.WORKING:
                self._step(line)
        except (BlockingIOError, ssl.SSLWantReadError):
            sends = line.state is _State.SENDING and not isinstance(line.sock, ssl.SSLSocket)
            return selectors.EVENT_WRITE if sends else selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            return selectors.EVENT_WRITE
        return 0

    def _await(self, line: _Line, events: int) -> None:
        if events == line.waiting_for:
            return
        if not events:
            self._selector.unregister(line.sock)
        elif not line.waiting_for:
            self._selector.register(line.sock, events, line)
        else:
            self._selector.modify(line.sock, events, line)
        line.waiting_for = events

    def _drop(self, line: _Line) -> None:
        if line.waiting_for:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(line.sock)
            line.waiting_for = 0
        self._lines.pop(line.conn, None)
        if line.arrival is not None:
            line.arrival.file.close()
        line.conn.hang_up()

    # --- one connection ---------------------------------------------------------------------------

    def _step(self, line: _Line) -> None:
        match line.state:
            case _State.GREETING:
                self._greet(line)
            case _State.READING:
                self._read(line)
            case _State.SENDING:
                self._send(line)
            case _State.PARTING:
                if not line.sock.recv(_BLOCK):
                    raise _Gone

    def _greet(self, line: _Line) -> None:
        if line.moved == 0 and self._spoken_plainly(line):
            return
        try:
            line.sock.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as exc:
            log.info('no encrypted connection with %s: %s', line.conn.remote_addr, exc)
            raise _Gone from exc
        self._enter(line, _State.READING, time.monotonic())

    def _spoken_plainly(self, line: _Line) -> bool:
        """Tell somebody who does not speak TLS that they should."""
        first = socket.socket.recv(line.sock, 1, socket.MSG_PEEK)
        if not first:
            raise _Gone
        line.moved = 1
        if first == _HANDSHAKE:
            return False
        line.sock = line.conn.socket = socket.socket(fileno=line.sock.detach())
        self._say(line, _ENCRYPT, time.monotonic())
        return True

    def _read(self, line: _Line) -> None:
        data, line.rest = line.rest, b''
        if not data:
            large = line.arrival is not None and line.arrival.size > _BLOCK
            data = line.sock.recv(_LARGE_BLOCK if large else _BLOCK)
            if not data:
                raise _Gone
        now = time.monotonic()
        if line.arrival is None:
            line.arrival = Arrival(self.most_body)
            line.since = now
        arrival = line.arrival
        had_head = arrival.begun_body
        rest = arrival.feed(data)
        line.heard = now
        line.moved += len(data)
        if rest is not None:
            line.rest = rest
            arrival.file.seek(0)
            line.conn.rfile = arrival.file
            self._enter(line, _State.WORKING, now)
        elif arrival.begun_body and not had_head and arrival.waits:
            line.sock.send(_CONTINUE)
        if arrival.size > _BLOCK:
            self._keep_within_limits(line, arrival)

    def _keep_within_limits(self, line: _Line, arrival: Arrival) -> None:
        """Have *arrival*, of *line*, lie in a file, or go, if too much has come of all requests."""
        held = self._held()
        if held > _IN_MEMORY:
            arrival.spill()
        if held <= self.most_held:
            return
        late = min(
            filter(_is_large, self._lines.values()), key=lambda each: each.since, default=line
        )
        log.info('too much to take in at once: what %s sends goes', late.conn.remote_addr)
        if late is line:
            raise _Gone
        self._drop(late)

    def _held(self) -> int:
        return sum(line.arrival.size for line in self._lines.values() if line.arrival is not None)

    def _send(self, line: _Line) -> None:
        self._send_some(line)
        now = time.monotonic()
        if line.keep and self._end is None:
            self._enter(line, _State.READING, now)
            return
        self._enter(line, _State.PARTING, now)
        # closing with something unread would take the answer away from the client again
        line.sock.shutdown(socket.SHUT_WR)

    def _send_some(self, line: _Line) -> None:
        while line.out:
            block = line.out[0]
            sent = line.sock.send(block[:_BLOCK])
            line.out[0] = block[sent:]
            line.moved += sent
            line.heard = time.monotonic()
            if sent == len(block):
                line.out.popleft()

    # --- limits of time ---------------------------------------------------------------------------

    def _part_with_the_late(self, now: float) -> None:
        for line in list(self._lines.values()):
            if now < self._until(line):
                continue
            begun = line.state is _State.READING and line.arrival is not None
            log.info('connection with %s ended while %s', line.conn.remote_addr, line.state.value)
            if begun and line.arrival is not None:
                line.arrival.file.close()
                line.arrival, line.keep = None, False
                self._say(line, _LATE, now - self.pace.body + self.pace.farewell)
                self._go_on(line)
            else:
                self._drop(line)

    def _until(self, line: _Line) -> float:
        """Return until when *line* may be in its state."""
        pace = self.pace
        quiet, whole = line.heard + pace.quiet, pace.body + line.moved / pace.rate
        match line.state:
            case _State.WORKING:
                return float('inf')
            case _State.PARTING:
                return line.since + pace.farewell
            case _State.GREETING:
                return line.since + pace.head
            case _State.READING if line.arrival is None:
                return line.since + (pace.quiet if line.served else pace.head)
            case _State.READING if line.arrival is not None and not line.arrival.begun_body:
                return min(quiet, line.since + pace.head)
            case _:
                return min(quiet, line.since + min(whole, pace.longest))


def _is_large(line: _Line) -> bool:
    """Whether *line* is at sending a request of which much has come."""
    reading = line.state is _State.READING
    return reading and line.arrival is not None and line.arrival.size > _BLOCK


class _Gone(Exception):
    """The connection has come to its end."""


def _answer(status: bytes, text: bytes) -> bytes:
    return (
        b'HTTP/1.1 %b\r\nContent-Type: text/plain; charset=utf-8\r\n'
        b'Content-Length: %d\r\nConnection: close\r\n\r\n%b' % (status, len(text), text)
    )


_HANDSHAKE = b'\x16'  # the first byte of TLS
_LATE = _answer(b'408 Request Timeout', b'The request has not come in time.\n')
_ENCRYPT = _answer(b'400 Bad Request', b'Only https is spoken here, not http.\n')
