"""Changing single files of a directory: gathered in one batch, published together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pysyncml.errors import InvalidItem, ItemExists, PreconditionFailed, StorageError
from pysyncml.storage.files import stamp

if TYPE_CHECKING:
    from pysyncml.storage.directory import DirectoryStorage


class Gathering:
    """Changes by key, seen in the order in which they are made; none is done before the end."""

    def __init__(self, storage: DirectoryStorage) -> None:
        self._storage = storage
        self._batch = storage.batch()
        self._number = 0
        # what has changed: which item of the batch is at a key, None where there is nothing now
        self._items: dict[str, str | None] = {}
        self._infos: dict[str, os.stat_result] = {}

    def write(self, key: str, data: bytes, expect: bytes | None) -> os.stat_result:
        """Give a file its new bytes; return the stat of them, staged."""
        now = self._expected(key, expect)
        item = self._items.get(key)
        source, seen = None, None
        if item is None:
            item = self._new()
            if now is not None:
                source, seen = key, stamp(now)
        token = self._batch.stage(data)
        self._batch.write(item, key, token, source, seen)
        self._items[key] = item
        self._infos[item] = os.lstat(self._storage.staged_path(token))
        return self._infos[item]

    def move(self, key: str, new: str) -> os.stat_result:
        """Rename a file; return its stat."""
        info = self._present(key)
        if new == key:
            return info
        if self._look(new) is not None:
            raise ItemExists(f'there is a "{new}" already')
        item = self._items.get(key) or self._new()
        self._batch.move(item, key, new, stamp(info))
        self._items[key] = None
        self._items[new] = item
        self._infos[item] = info
        return info

    def delete(self, key: str, expect: bytes | None) -> None:
        """Delete a file."""
        info = self._present(key)
        self._expected(key, expect)
        self._batch.delete(self._items.get(key) or self._new(), key, stamp(info))
        self._items[key] = None

    def finish(self) -> None:
        """Do it all.

        Raises:
            PreconditionFailed: somebody has changed a file in the meantime; both are kept.
            StorageError: something could not be done.
        """
        for outcome in self._storage.publish(self._batch.prepare()):
            if outcome.displaced is not None:
                what = f'"{outcome.key}" was edited meanwhile: ours is "{outcome.displaced}"'
                raise PreconditionFailed(what)
            if not outcome.ok:
                raise StorageError(outcome.error or 'this could not be stored')

    def discard(self) -> None:
        """Forget it all."""
        self._batch.discard()

    def _new(self) -> str:
        self._number += 1
        return str(self._number)

    def _look(self, key: str) -> os.stat_result | None:
        if key in self._items:
            item = self._items[key]
            return None if item is None else self._infos[item]
        return self._storage.files.regular(key)

    def _present(self, key: str) -> os.stat_result:
        info = self._look(key)
        if info is None:
            raise InvalidItem(f'there is no file "{key}"')
        return info

    def _expected(self, key: str, expect: bytes | None) -> os.stat_result | None:
        info = self._look(key)
        if expect is not None and expect != (b'' if info is None else stamp(info)):
            raise PreconditionFailed(f'"{key}" has changed since it was last looked at')
        return info
