"""Ctrl-C and polite kills: what a program does when it is asked to end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let a polite kill end a server just as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread() or os.name != 'posix':
        yield
        return

    def stop(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def put_off(ask: Callable[[], None]) -> Iterator[None]:
    """Call *ask* at the first Ctrl-C or polite kill; the second one ends the program at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def stop(_number: int, _frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        ask()

    numbers = [signal.SIGINT] if os.name != 'posix' else [signal.SIGINT, signal.SIGTERM]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
