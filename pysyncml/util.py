"""Small helpers that belong nowhere else; nothing but text and ids may move in here."""

from __future__ import annotations

import os
import threading
import time
from typing import Any


class adict(dict[str, Any]):  # noqa: N801 - the documented name
    """A dict whose keys are attributes too; a missing one reads as ``None``."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        return self.get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        self.pop(name, None)


def newID() -> str:  # noqa: N802 - the documented name
    """Return a new id: 32 hexadecimal digits, never the same twice.

    The first half is the time in microseconds, so that what is made one after the other lies side
    by side in a database, which takes far less than to put it all over the place. A process never
    has the same twice; what tells it from all others is the second half, which is random.
    """
    with _counting:
        _last[0] = max(_last[0] + 1, time.time_ns() // 1000)
        return f'{_last[0]:016x}{_process[0]}'


def _begin_process() -> None:
    _process[0] = os.urandom(8).hex()


_counting, _last, _process = threading.Lock(), [0], ['']
_begin_process()
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_begin_process)


def new_device_id() -> str:
    """Return a new id of a device, random from its beginning: by that people tell devices apart."""
    return os.urandom(16).hex()


def num2str(number: int) -> str:
    """Return *number* with commas between the thousands."""
    return f'{number:,}'


def plural(count: int, singular: str, many: str | None = None) -> str:
    """Return *count* and the right form of the noun: ``1 note``, ``2 notes``."""
    return f'{num2str(count)} {singular if count == 1 else many or singular + "s"}'
