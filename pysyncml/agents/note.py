"""Notes: a name and a body, written as SIF-N, as plain text, or as bare bytes.

SIF-N (``text/x-s4j-sifn``, versions 1.0 and 1.1) is a flat XML document with the root ``note``;
``Subject`` is the name, ``Body`` the body, all else an extension. As plain text a note is its
body, and its name the first line.

What is no text, or large, is better off as ``application/x-pysyncml-note``, a type of our own: the
bytes of the body as they are, then what else there is to be said of the note as a JSON object in
ASCII (``name``, ``extensions``), and last the length of that object as eight hexadecimal digits. So
what has arrived is the body itself once its end is cut off, and a file of any size need neither be
converted nor copied. A body that the receiver has already can be left out: then the object tells
its SHA-256 in hexadecimal (``sha256``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, ClassVar, NamedTuple

from pysyncml.agents import markup
from pysyncml.agents.base import Agent, Ext, Item
from pysyncml.agents.file import format_time
from pysyncml.constants import TYPE_BARE_NOTE, TYPE_SIF_NOTE, TYPE_TEXT_PLAIN
from pysyncml.errors import InvalidContent, InvalidContentType
from pysyncml.merge.mergers import CompositeMergerFactory, TextMergerFactory
from pysyncml.protocol.devinf import ContentTypeInfo
from pysyncml.storage.spool import Spooled

_DIGITS = 8  # of the length of what is said
_AS_JSON = json.JSONEncoder().encode
_MOST_SAID = 1 << 20  # bytes of it
_HEAD = b'<note><SIFVersion>1.1</SIFVersion>'
_TITLE = re.compile(r'\A\s*(?:title|name):', re.IGNORECASE)
_LONGEST = 4096  # characters of a first line that may be a name
_LINE_END = re.compile(rb'\r|\n')
_LENGTH = re.compile(rb'[0-9a-f]{8}')
_SHA256 = re.compile(r'[0-9a-f]{64}', re.ASCII)


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
    #: A body that is too large for memory: it has a ``size``, and ``read_at(start, count)``.
    content: Any = None
    #: The SHA-256, in hexadecimal, of a body that is left out because its receiver has it.
    left_out: str | None = None

    def __init__(
        self,
        name: str | None = None,
        body: bytes | str | None = None,
        id: Any = None,
        extensions: Mapping[str, Iterable[str]] | None = None,
        **ext: str,
    ) -> None:
        """Make a note; other keywords are extensions, e.g. ``Categories='work, urgent'``."""
        self.id, self.name = id, name
        self.body = markup.to_bytes(body) if isinstance(body, str) else body
        self.extensions = extensions or {}
        for key, value in ext.items():
            self.addExtension(key, value)

    def __str__(self) -> str:
        return f'Note "{self.name}"'

    def dump(
        self, stream: BinaryIO, contentType: str | None = None, version: str | None = None
    ) -> Any:
        """Write the note to *stream* as SIF-N (the default), plain text, or bare bytes.

        A body that is a file (:attr:`content`) is attached to a stream that can do that.

        Raises:
            InvalidContentType: any other type.
        """
        kind = markup.base_type(contentType) or TYPE_SIF_NOTE
        attach = getattr(stream, 'attach', None) if self.content is not None else None
        if kind not in (TYPE_TEXT_PLAIN, TYPE_SIF_NOTE, TYPE_BARE_NOTE):
            raise InvalidContentType(f'a note cannot be written as {contentType}')
        before, after = self._around(kind)
        for piece in before:
            stream.write(piece)
        if attach is not None and kind == TYPE_SIF_NOTE:
            stream.write(b'<Body enc="base64">')
            attach(self.content, base64=True)
            stream.write(b'</Body>')
        elif attach is not None:
            attach(self.content)
        elif self.body is not None:
            body = (self.body,) if kind != TYPE_SIF_NOTE else markup.pieces('Body', self.body)
            for piece in body:
                stream.write(markup.to_bytes(piece))
        for piece in after:
            stream.write(piece)

    def _around(self, kind: str) -> tuple[list[bytes], list[bytes]]:
        """Return what stands before the body, and what behind it."""
        if kind == TYPE_TEXT_PLAIN:
            return [], []
        if kind == TYPE_BARE_NOTE:
            return [], [self.bare_end(self.extensions)]
        # SIFVersion is 1.1 even when 1.0 is asked for: the two differ in nothing we write.
        before, after = [_HEAD], []
        if self.name is not None:
            before.append(markup.element('Subject', self.name))
        for name, values in self.extensions.items():
            after += [markup.element(name, value) for value in values]
        return before, [*after, b'</note>']

    def bare_end(self, extensions: Mapping[str, Iterable[str]]) -> bytes:
        """Return what stands behind the body of a bare note (see :func:`read_bare`)."""
        said: dict[str, Any] = {'name': self.name, 'extensions': extensions}
        if self.left_out is not None:
            said['sha256'] = self.left_out
        end = _AS_JSON(said).encode()
        return b'%s%08x' % (end, len(end))

    @classmethod
    def load(
        cls, stream: BinaryIO, contentType: str | None = None, version: str | None = None
    ) -> Any:
        """Return the note read from *stream*; without *contentType*, SIF-N if it looks like it.

        Raises:
            InvalidContentType: neither SIF-N nor plain text.
            InvalidContent: not a SIF note.
        """
        kind = markup.base_type(contentType)
        if kind in (TYPE_TEXT_PLAIN, TYPE_BARE_NOTE) and isinstance(stream, Spooled):
            return cls._large(stream, kind)
        data = stream.read()
        kind = kind or _guess(data)
        if kind == TYPE_TEXT_PLAIN:
            return cls(name=first_line(data), body=data)
        if kind == TYPE_BARE_NOTE:
            return cls.of_bare(data)
        if kind == TYPE_SIF_NOTE:
            return cls._from_sif(data)
        raise InvalidContentType(f'a note cannot be read from {contentType}')

    @classmethod
    def of_bare(cls, data: bytes) -> Any:
        """Return the bare note that *data* are (see :func:`read_bare`).

        Raises:
            InvalidContent: they are none.
        """
        end = read_bare(len(data), lambda start, count: data[start : start + count])
        body = data[: end.begins] if end.left_out is None else None
        note = cls(end.name, body, extensions=end.extensions)
        note.left_out = end.left_out
        return note

    @classmethod
    def _large(cls, stream: Spooled, kind: str) -> Any:
        """Return a note whose body stays where it is."""
        if kind == TYPE_BARE_NOTE:
            end = read_bare(stream.size, stream.read_at)
            note, size = cls(end.name, extensions=end.extensions), end.begins
            note.left_out = end.left_out
        else:
            note, size = cls(first_line(stream.read_at(0, 5 * _LONGEST))), stream.size
        note.content = stream.beginning(size)
        return note

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


class BareEnd(NamedTuple):
    """What stands behind the body of a bare note.

    ``begins`` is how many bytes the body has, ``left_out`` the SHA-256 of one that is left out.
    """

    begins: int
    name: str | None
    extensions: dict[str, list[str]]
    left_out: str | None


def read_bare(size: int, read_at: Callable[[int, int], bytes]) -> BareEnd:
    """Return what stands behind the body of a bare note.

    Args:
        size: bytes of the whole.
        read_at: returns some of them: from where, how many.

    Raises:
        InvalidContent: it is no such note.
    """
    digits = read_at(max(size - _DIGITS, 0), _DIGITS)
    length = int(digits, 16) if _LENGTH.fullmatch(digits) else _MOST_SAID
    begins = size - _DIGITS - length
    if length >= _MOST_SAID or begins < 0:
        raise InvalidContent('not a bare note: its end is missing')
    try:
        said = json.loads(str(read_at(begins, length), 'ascii'))
        name, found = said['name'], said['extensions']
        if name is not None and not isinstance(name, str):
            raise TypeError
        extensions = {str(key): [str(value) for value in found[key]] for key in found}
        left_out = said.get('sha256')
        if left_out is not None and (begins or not _SHA256.fullmatch(left_out)):
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InvalidContent('not a bare note: what it says of itself cannot be read') from None
    return BareEnd(begins, name, extensions, left_out)


def first_line(body: bytes) -> str:
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
        if note.content is not None:
            body = note.content.read_at(0, 4 * _LONGEST)
        else:
            body = markup.to_bytes(note.body) if note.body is not None else b''
        return {
            'name': note.name,
            'subject': (note.name or '', first_line(body)),
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
