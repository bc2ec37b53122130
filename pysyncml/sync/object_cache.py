"""The written form of items that are on their way in parts."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pysyncml.sync.large_objects import Form


class ObjectCache:
    """The written form of items that are on their way, so that it is not made for each part.

    It is there for speed only: what is missing is made again.

    Args:
        limit: bytes to keep; one object is kept whatever its size.
    """

    def __init__(self, limit: int = 64 * 1024 * 1024) -> None:
        self._limit = limit
        self._objects: OrderedDict[tuple[int, str, int], Form] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[int, str, int]) -> Form | None:
        """Return what was kept of *key*: binding, item, version."""
        with self._lock:
            return self._objects.get(key)

    def put(self, key: tuple[int, str, int], data: Form) -> None:
        """Keep *data*, and drop what was put in first if there is too much."""
        with self._lock:
            self._objects[key] = data
            while len(self._objects) > 1 and self._held() > self._limit:
                self._objects.popitem(last=False)

    def _held(self) -> int:
        """Return the bytes of all that is kept; what lies in files takes no memory."""
        return sum(len(data) for data in self._objects.values() if isinstance(data, bytes))

    def drop(self, key: tuple[int, str, int]) -> None:
        """Forget *key*."""
        with self._lock:
            self._objects.pop(key, None)
