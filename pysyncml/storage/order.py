"""Which files have to be out of the way before others can take their places.

And which go together: with a folder that gets another name.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from pysyncml.storage.batch import Operation
from pysyncml.storage.files import parent_of

_FEW = 3  # files that are as soon renamed one by one


class Plan:
    """The operations of one batch, by the places their files leave."""

    def __init__(self, operations: list[Operation]) -> None:
        self._at: dict[str, list[Operation]] = {}
        self._below: dict[str, list[Operation]] = {}
        for operation in operations:
            if operation.leaves and operation.source is not None:
                place = fold(operation.source)
                self._at.setdefault(place, []).append(operation)
                while place := parent_of(place):
                    self._below.setdefault(place, []).append(operation)

    @property
    def is_easy(self) -> bool:
        """Whether no file leaves its place, so that the order does not matter."""
        return not self._at

    def in_the_way(self, operation: Operation) -> list[Operation]:
        """Return those whose files lie where *operation* puts one, or its folders, or in it."""
        if operation.key is None or self.is_easy:
            return []
        place = fold(operation.key)
        found = [*self._below.get(place, ())]
        while place:
            found += self._at.get(place, ())
            place = parent_of(place)
        return [one for one in found if one is not operation]


class FolderMove(NamedTuple):
    """Files that all go from one folder to another one, and keep their names there.

    ``inodes`` are those the files have, by their names.
    """

    source: str
    key: str
    operations: list[Operation]
    inodes: dict[str, int]


def folder_moves(operations: Iterable[Operation]) -> list[FolderMove]:
    """Return which files could go with their folder, if there is nothing else in it."""
    together: dict[tuple[str, str], FolderMove] = {}
    for operation in operations:
        looks = operation.looks if operation.renames and operation.leaves else None
        if looks is None:
            continue
        source, _, name = (operation.source or '').rpartition('/')
        key, _, new_name = (operation.key or '').rpartition('/')
        if source and key and name == new_name:
            if (source, key) not in together:
                together[source, key] = FolderMove(source, key, [], {})
            together[source, key].operations.append(operation)
            together[source, key].inodes[name] = looks[2]
    return [move for move in together.values() if len(move.operations) > _FEW]


def fold(key: str) -> str:
    """Return what names have in common that may be one on some file system."""
    return unicodedata.normalize('NFC', key.casefold())
