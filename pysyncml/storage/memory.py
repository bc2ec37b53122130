"""A storage in memory: the reference of what a storage does, and handy in tests."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, NamedTuple

from pysyncml.errors import InvalidItem, ItemExists, PreconditionFailed
from pysyncml.storage.base import Storage
from pysyncml.storage.files import parts_of


class Entry(NamedTuple):
    """What a :class:`MemoryStorage` knows of an item: bytes, seconds since 1970, revision."""

    size: int
    mtime: float
    revision: bytes


class MemoryStorage(Storage[Entry]):
    """Items in a dict. *clock* tells the time in seconds since 1970."""

    capabilities: ClassVar[frozenset[str]] = frozenset({'rename', 'revision', 'mtime', 'hierarchy'})

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._items: dict[str, tuple[bytes, Entry]] = {}

    def list(self) -> Iterator[str]:
        """Yield the keys of all items, in order."""
        yield from sorted(self._items)

    def stat(self, key: str) -> Entry | None:
        """Return size, time and revision of an item; ``None`` if there is none."""
        item = self._items.get(key)
        return None if item is None else item[1]

    def read(self, key: str) -> tuple[bytes, Entry]:
        """Return bytes and entry of an item."""
        if key not in self._items:
            raise InvalidItem(f'there is no "{key}"')
        return self._items[key]

    def write(self, key: str, data: bytes, expect: bytes | None = None) -> Entry:
        """Store *data*; see :meth:`Storage.write`."""
        parts_of(key)
        self._check(key, expect)
        entry = Entry(len(data), self._clock(), hashlib.sha256(data).digest())
        self._items[key] = bytes(data), entry
        return entry

    def move(self, key: str, new: str) -> Entry:
        """Give an item another key; see :meth:`Storage.move`."""
        parts_of(new)
        item = self.read(key)
        if new in self._items and new != key:
            raise ItemExists(f'there is a "{new}" already')
        del self._items[key]
        self._items[new] = item
        return item[1]

    def delete(self, key: str, expect: bytes | None = None) -> None:
        """Delete an item; see :meth:`Storage.delete`."""
        self.read(key)
        self._check(key, expect)
        del self._items[key]

    @contextmanager
    def begin(self) -> Iterator[None]:
        """Take everything back if an exception leaves the context."""
        before = dict(self._items)
        try:
            yield
        except BaseException:
            self._items = before
            raise

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    def _check(self, key: str, expect: bytes | None) -> None:
        if expect is None:
            return
        entry = self.stat(key)
        if expect != (b'' if entry is None else entry.revision):
            raise PreconditionFailed(f'"{key}" has changed since it was last looked at')
