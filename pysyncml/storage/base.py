"""What every storage can do: bytes by key, in eight methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import ClassVar, Generic, TypeVar

Info = TypeVar('Info')
"""What a storage tells of an item besides its bytes."""


class Storage(ABC, Generic[Info]):
    """Bytes by key. A helper an agent may use; the protocol knows nothing of it.

    A key is a relative path with ``/`` between its parts. A *revision* is some bytes that are
    different whenever the content is; giving the one last seen as *expect* makes sure that
    nothing is replaced that nobody has looked at. ``None`` expects nothing, ``b''`` expects that
    there is no such item.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset()
    """Of ``rename`` (a move keeps the identity), ``revision``, ``mtime``, ``hierarchy``."""

    @abstractmethod
    def list(self) -> Iterator[str]:
        """Yield the keys of all items."""

    @abstractmethod
    def stat(self, key: str) -> Info | None:
        """Return what is known of an item; ``None`` if there is none."""

    @abstractmethod
    def read(self, key: str) -> tuple[bytes, Info]:
        """Return the bytes of an item, and what is known of exactly these bytes.

        Raises:
            InvalidItem: there is none.
            ItemBusy: it is being changed at this moment.
        """

    @abstractmethod
    def write(self, key: str, data: bytes, expect: bytes | None = None) -> Info:
        """Store *data* as the item *key*, replacing what is there.

        Raises:
            PreconditionFailed: what is there is not what was expected; nothing is lost.
            InvalidName: this storage has no place for such a key.
        """

    @abstractmethod
    def move(self, key: str, new: str) -> Info:
        """Give an item another key.

        Raises:
            InvalidItem: there is none.
            ItemExists: there is one at *new*.
        """

    @abstractmethod
    def delete(self, key: str, expect: bytes | None = None) -> None:
        """Delete an item.

        Raises:
            InvalidItem: there is none.
            PreconditionFailed: it is not what was expected.
        """

    @abstractmethod
    def begin(self) -> AbstractContextManager[None]:
        """Gather what is written until the context is left, and do it together then.

        If an exception leaves the context, nothing of it is done. Whether reading sees what was
        written in the same context is not said.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of everything. Closing twice is harmless."""
