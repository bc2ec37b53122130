"""One at a time, in the order of asking: threads of one program, and programs among each other."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from pysyncml.errors import StateBusy

#: Seconds to wait for others, unless said otherwise.
PATIENCE = 120.0

_POLL = 0.02  # seconds between two looks at a lock that another program holds


class Line:
    """The threads of one program that wait for one thing; it is handed from one to the next.

    A lock of Python's goes to whoever grabs it first, which need not ever be the one that has
    waited longest.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, threading.Lock]] = deque()
        self._holder: int | None = None

    @property
    def mine(self) -> bool:
        """Whether this thread has it."""
        return self._holder == threading.get_ident()

    def join(self, seconds: float) -> bool:
        """Wait for our turn, for *seconds* at most; return whether it has come."""
        called = threading.Lock()
        ticket = (threading.get_ident(), called)
        with self._lock:
            if self._holder is None:
                self._holder = ticket[0]
                return True
            called.acquire()
            self._waiting.append(ticket)
        try:
            if called.acquire(timeout=max(0.0, min(seconds, threading.TIMEOUT_MAX))):
                return True
        except BaseException:
            if not self._withdraw(ticket):
                self.leave()
            raise
        return not self._withdraw(ticket)

    def _withdraw(self, ticket: tuple[int, threading.Lock]) -> bool:
        """Wait no longer; return ``False`` if the turn has come in this very moment."""
        with self._lock:
            if ticket not in self._waiting:
                return False
            self._waiting.remove(ticket)
            return True

    def leave(self) -> None:
        """Let the next one have it."""
        with self._lock:
            if not self._waiting:
                self._holder = None
                return
            self._holder, called = self._waiting.popleft()
            called.release()


class Turns:
    """Turns at what a lock file stands for, among all threads and programs.

    A kernel lock goes to whoever asks at the right moment, and a server with a long line of
    clients asks again at once. So there are two: who has the second one, ``PATH.next``, is the
    next to have the first, and all others wait for the second.

    Args:
        path: the lock file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._line = Line()
        self._locks: list[Any] | None = None

    @contextlib.contextmanager
    def turn(self, seconds: float | None = None) -> Iterator[None]:
        """Wait until it is our turn, *seconds* at most, and have it inside the block.

        Raises:
            StateBusy: it did not come in time.
        """
        if self._line.mine:
            yield
            return
        deadline = time.monotonic() + (PATIENCE if seconds is None else seconds)
        if not self._line.join(deadline - time.monotonic()):
            raise _busy(self.path)
        try:
            with self._among_programs(deadline):
                yield
        finally:
            self._line.leave()

    @contextlib.contextmanager
    def _among_programs(self, deadline: float) -> Iterator[None]:
        from filelock import FileLock, Timeout

        if self._locks is None:
            # made once, as that takes longer than locking; the line has them used by one at a time
            names = f'{self.path}.next', self.path
            self._locks = [FileLock(name, thread_local=False, mode=0o600) for name in names]
        upcoming, lock = self._locks
        try:
            upcoming.acquire(max(0.0, deadline - time.monotonic()), poll_interval=_POLL)
            try:
                lock.acquire(max(0.0, deadline - time.monotonic()), poll_interval=_POLL)
            finally:
                upcoming.release()
        except Timeout:
            raise _busy(self.path) from None
        try:
            yield
        finally:
            lock.release()


def _busy(path: str) -> StateBusy:
    return StateBusy(
        f'another program has been using "{path}" for too long; wait for it to end and try again'
    )
