"""Notes: a name and a body, written as SIF-N or as plain text.

SIF-N (``text/x-s4j-sifn``, versions 1.0 and 1.1) is a flat XML document with the root ``note``;
``Subject`` is the name, ``Body`` the body, all else an extension. As plain text a note is its
body, and its name the first line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, ClassVar

from pysyncml.agents import markup
from pysyncml.agents.base import Agent, Ext, Item
from pysyncml.agents.file import format_time
from pysyncml.constants import TYPE_SIF_NOTE, TYPE_TEXT_PLAIN
from pysyncml.errors import InvalidContent, InvalidContentType
from pysyncml.merge.mergers import CompositeMergerFactory, TextMergerFactory
from pysyncml.protocol.devinf import ContentTypeInfo

_HEAD = b'<note><SIFVersion>1.1</SIFVersion>'
_TITLE = re.compile(r'\A\s*(?:title|name):', re.IGNORECASE)
_LONGEST = 4096  # characters of a first line that may be a name
_LINE_END = re.compile(rb'\r|\n')


class NoteItem(Item, Ext):
    """A note.

    ``name`` is text; bytes of it that are no UTF-8 are kept as lone surrogates, as in file
    names (PEP 383). ``body`` is bytes. Either is ``None`` when the note has none, which is not
    the same as an empty one.

    It also serves as a plain mix-in beside other base classes: all it needs are the attributes
    ``name`` and ``body``.
    """

    fields: ClassVar[tuple[str, ...]] = ('name', 'body')
    name: Any = None
    body: Any = None

    def __init__(
        self,
        name: str | None = None,
        body: bytes | str | None = None,
        id: Any = None,
        extensions: Mapping[str, Iterable[str]] | None = None,
        **ext: str,
    ) -> None:
        """Make a note; other keywords are extensions, e.g. ``Categories='work, urgent'``."""
        Item.__init__(
            self, id, name=name, body=markup.to_bytes(body) if isinstance(body, str) else body
        )
        Ext.__init__(self)
        if extensions is not None:
            self.extensions = extensions
        for key, value in ext.items():
            self.addExtension(key, value)

    def __str__(self) -> str:
        return f'Note "{self.name}"'

    def dump(
        self, stream: BinaryIO, contentType: str | None = None, version: str | None = None
    ) -> Any:
        """Write the note to *stream* as SIF-N (the default) or plain text.

        Raises:
            InvalidContentType: any other type.
        """
        kind = markup.base_type(contentType) or TYPE_SIF_NOTE
        if kind == TYPE_TEXT_PLAIN:
            stream.write(b'' if self.body is None else markup.to_bytes(self.body))
        elif kind == TYPE_SIF_NOTE:
            for piece in self._sif():
                stream.write(piece)
        else:
            raise InvalidContentType(f'a note cannot be written as {contentType}')

    def _sif(self) -> Iterator[bytes]:
        # SIFVersion is 1.1 even when 1.0 is asked for: the two differ in nothing we write.
        yield _HEAD
        if self.name is not None:
            yield markup.element('Subject', self.name)
        if self.body is not None:
            yield from markup.pieces('Body', self.body)
        for name, values in self.extensions.items():
            for value in values:
                yield markup.element(name, value)
        yield b'</note>'

    @classmethod
    def load(
        cls, stream: BinaryIO, contentType: str | None = None, version: str | None = None
    ) -> Any:
        """Return the note read from *stream*; without *contentType*, SIF-N if it looks like it.

        Raises:
            InvalidContentType: neither SIF-N nor plain text.
            InvalidContent: not a SIF note.
        """
        data = stream.read()
        kind = markup.base_type(contentType) or _guess(data)
        if kind == TYPE_TEXT_PLAIN:
            return cls(name=_first_line(data), body=data)
        if kind == TYPE_SIF_NOTE:
            return cls._from_sif(data)
        raise InvalidContentType(f'a note cannot be read from {contentType}')

    @classmethod
    def _from_sif(cls, data: bytes) -> Any:
        name: str | None = None
        body: bytes | None = None
        extensions: dict[str, list[str]] = {}
        for tag, value in markup.flat_parts(data, 'note') or cls._parts(data):
            if tag == 'Subject':
                name = markup.to_text(value)
            elif tag == 'Body':
                body = value
            elif tag != 'SIFVersion':
                extensions.setdefault(tag, []).append(markup.to_text(value))
        note = cls(name=name, body=body)
        note.extensions = extensions
        return note

    @staticmethod
    def _parts(data: bytes) -> Iterator[tuple[str, bytes]]:
        root = markup.parse(data)
        if markup.local_name(root) != 'note':
            raise InvalidContent(f'not a SIF note: the root is {markup.local_name(root)}')
        for child in root.iterchildren('*'):
            yield markup.local_name(child), markup.content(child)


def _guess(data: bytes) -> str:
    looks_like_sif = b'<note' in data[:512] or data[:2] in (b'\xff\xfe', b'\xfe\xff')
    return TYPE_SIF_NOTE if looks_like_sif else TYPE_TEXT_PLAIN


def _first_line(body: bytes) -> str:
    """Return what names a plain text: its first line, without a leading ``title:``/``name:``."""
    end = _LINE_END.search(body)
    line = body[: end.start() if end else len(body)].removeprefix(b'\xef\xbb\xbf')
    return _TITLE.sub('', markup.to_text(line[: 4 * _LONGEST])[:_LONGEST]).strip()


class BaseNoteAgent(Agent):
    """The part of a note agent that every note agent shares: what notes are written as.

    Two changes of one note are merged: the lines of its body, and its name by itself.
    """

    itemClass = NoteItem
    contentTypes = [  # noqa: RUF012 - every instance gets its own copy
        ContentTypeInfo(TYPE_SIF_NOTE, '1.1', preferred=True),
        ContentTypeInfo(TYPE_SIF_NOTE, '1.0'),
        ContentTypeInfo(TYPE_TEXT_PLAIN, ['1.1', '1.0']),
    ]
    mfactory = CompositeMergerFactory(mergers={'body': TextMergerFactory()})
    filterNames = ('name', 'subject', 'modified')

    def filterProperties(self, itemID: str) -> Mapping[str, Any]:
        """Return a note's name, its subject, and when it was changed, if that is known.

        The subject is the name or the first line of the body: what fits one of them fits.
        """
        note = self.getItem(itemID)
        when = self.modifiedTime(itemID)
        body = markup.to_bytes(note.body) if note.body is not None else b''
        return {
            'name': note.name,
            'subject': (note.name or '', _first_line(body)),
            'modified': format_time(when),
        }

    def conflictItem(self, item: Any, label: str) -> Any:
        """Return *item* without its id, and with *label* in its name."""
        from pysyncml.storage.names import conflict_name  # needed for a conflict only

        item = super().conflictItem(item, label)
        if item.name:
            item.name = conflict_name(item.name, label)
        return item


__all__ = ['BaseNoteAgent', 'NoteItem']
