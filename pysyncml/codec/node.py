"""The neutral tree that stands between a message and its bytes.

XML and WBXML are two ways of writing the same tree of named elements. Each of them turns bytes
into :class:`Node` objects and back; what the elements mean is known to
:mod:`pysyncml.codec.tree` alone.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Limits of what is read. SyncML itself needs a depth of about 15.
MAX_BYTES = 256 * 1024 * 1024
MAX_DEPTH = 64
MAX_ELEMENTS = 500_000


class Node:
    """One element: its name as the specification spells it, its text, its children.

    An element has text or children, never both: the markup some peers put into ``Data`` is
    turned into text by whoever reads the bytes. ``text`` is ``bytes`` only where the encoding
    carries bytes as they are (OPAQUE of WBXML).
    """

    __slots__ = ('children', 'name', 'text')

    def __init__(
        self, name: str, text: str | bytes | None = None, children: Iterable[Node] | None = None
    ) -> None:
        self.name = name
        self.text = text
        self.children = [] if children is None else list(children)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Node)
            and (self.name, self.text or '') == (other.name, other.text or '')
            and self.children == other.children
        )

    __hash__ = None  # type: ignore[assignment]  # it can be changed

    def __repr__(self) -> str:
        inside = self.children if self.children else self.text
        return f'Node({self.name!r}, {inside!r})'
