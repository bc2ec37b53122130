"""Which files have to be out of the way before others can take their places."""

from __future__ import annotations

import unicodedata

from pysyncml.storage.batch import Operation
from pysyncml.storage.files import parent_of


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


def fold(key: str) -> str:
    """Return what names have in common that may be one on some file system."""
    return unicodedata.normalize('NFC', key.casefold())
