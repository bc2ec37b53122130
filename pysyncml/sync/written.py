"""The written form of an item: bytes, and pieces of files that stay where they are.

An agent writes an item into a :class:`Written`. What it has in a file it may attach instead of
writing it; then the item is as long as it comes out, and takes no memory: its parts are read, and
put into base64 where that was asked for, when they are sent.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from pysyncml.agents.base import Agent


class Source(Protocol):
    """Bytes that are read piece by piece, such as :class:`pysyncml.storage.bodies.FileBody`."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        ...

    def read_at(self, start: int, count: int) -> bytes:
        """Return *count* bytes from *start* on; fewer only at the end."""
        ...


class Written(io.BytesIO):
    """The stream an agent writes an item to.

    ``attached`` tells whether some of it lies elsewhere: then ``getvalue`` is not all.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[tuple[int, Source]] = []  # how much was written before, and what follows

    def attach(self, source: Source, *, base64: bool = False) -> None:
        """Put the bytes of *source* here, as they are or in base64, without reading them."""
        self._pieces.append((self.tell(), InBase64(source) if base64 else source))

    @property
    def attached(self) -> bool:
        """Whether bytes of others belong to it."""
        return bool(self._pieces)

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self.getbuffer()) + sum(source.size for _, source in self._pieces)

    def read_at(self, start: int, count: int) -> bytes:
        """Return *count* bytes from *start* on; fewer only at the end."""
        found = []
        end = min(start + count, self.size)
        for begin, source in self._layout():
            low, high = max(start, begin), min(end, begin + source.size)
            if low < high:
                found.append(source.read_at(low - begin, high - low))
        return found[0] if len(found) == 1 else b''.join(found)

    def _layout(self) -> Iterator[tuple[int, Source]]:
        """Yield what it is made of, each with where that begins."""
        position = before = 0
        own = self.getvalue()
        for at, source in self._pieces:
            yield position, _Bytes(own[before:at])
            position += at - before
            yield position, source
            position, before = position + source.size, at
        yield position, _Bytes(own[before:])


class Dumped(NamedTuple):
    """An item as it is sent."""

    ctype: str
    data: bytes | Written
    digest: str | None  # the fingerprint of the item
    partial: bool = False  # only some of its fields


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read_at(self, start: int, count: int) -> bytes:
        return self._data[start : start + count]


class InBase64:
    """The bytes of a *source* in base64, in one line."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.size = (source.size + 2) // 3 * 4

    def read_at(self, start: int, count: int) -> bytes:
        """Return *count* bytes from *start* on; fewer only at the end."""
        first = start // 4
        last = (start + count + 3) // 4
        text = b64encode(self._source.read_at(first * 3, (last - first) * 3))
        skipped = start - first * 4
        return text if not skipped and len(text) == count else text[skipped : skipped + count]


def length(data: bytes | Source) -> int:
    """Return how many bytes *data* are, wherever they lie."""
    return len(data) if isinstance(data, bytes) else data.size


def written_form(
    agent: Agent, item: Any, content_type: str, version: str
) -> tuple[str, bytes | Written]:
    """Return the type *item* was written in, the one wanted if the agent has it, and the bytes."""
    if type(agent).dumpsItem is not Agent.dumpsItem:
        found = agent.dumpsItem(item, content_type, version)
        return (found[0], found[2]) if isinstance(found, tuple) else (content_type, found)
    stream = Written()
    said = agent.dumpItem(item, stream, content_type, version)
    ctype = said[0] if isinstance(said, tuple) else content_type
    return ctype, stream if stream.attached else stream.getvalue()
