"""Files and folders, written as OMA DS data objects.

``application/vnd.omads-file+xml`` and ``application/vnd.omads-folder+xml``, version 1.2
(OMA-TS-DS_File-V1_2, OMA-TS-DS_Folder-V1_2). Times are whole seconds since 1970, UTC. The parent
of an item is an item id and travels beside the item, not in it.
"""

from __future__ import annotations

import os
import re
from calendar import timegm
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, ClassVar

from pysyncml.agents import markup
from pysyncml.agents.base import Agent, Ext, Item
from pysyncml.constants import TYPE_OMADS_FILE, TYPE_OMADS_FOLDER
from pysyncml.errors import InvalidContent, InvalidContentType
from pysyncml.protocol.devinf import ContentTypeInfo

VERSION = '1.2'

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(r'(\d{4})-?(\d\d)-?(\d\d)T(\d\d):?(\d\d):?(\d\d)(?:[.,]\d+)?Z?', re.ASCII)
_TIMES = ('created', 'modified', 'accessed')
# The element of each flag, in the order in which they are written.
_FLAGS = {
    'hidden': 'h',
    'system': 's',
    'archived': 'a',
    'delete': 'd',
    'writable': 'w',
    'readable': 'r',
    'executable': 'x',
}
# Some write e for executable; what is written here is the letter of the specification.
_LETTERS = {letter: name for name, letter in _FLAGS.items()} | {'e': 'executable'}


class _Entry(Item, Ext):
    """What files and folders share: name, parent, times, flags."""

    root: ClassVar[str]
    contentTypeName: ClassVar[str]
    # Fields of text beside the common ones, and the element of each.
    texts: ClassVar[dict[str, str]]
    name: Any = None

    def __init__(
        self,
        name: str | None = None,
        parent: str | None = None,
        id: Any = None,
        extensions: Mapping[str, Iterable[str]] | None = None,
        **values: Any,
    ) -> None:
        """Make an item of the given fields; those not given are ``None``.

        Raises:
            TypeError: a keyword is no field.
        """
        Item.__init__(self, id, name=name, parent=parent, **values)
        Ext.__init__(self)
        if extensions is not None:
            self.extensions = extensions

    def __str__(self) -> str:
        return f'{self.root} "{self.name}"'

    @classmethod
    def fromFilesystem(cls, path: str | os.PathLike[str]) -> Any:
        """Return an item with the name and the times of what is at *path*; nothing else."""
        stat = os.stat(path)
        # st_ctime is the change of the inode on POSIX: as near as it gets to a creation.
        created = getattr(stat, 'st_birthtime', stat.st_ctime)
        return cls(
            name=os.path.basename(os.path.normpath(path)),
            created=int(created),
            modified=int(stat.st_mtime),
            accessed=int(stat.st_atime),
        )

    def dump(
        self, stream: BinaryIO, contentType: str | None = None, version: str | None = None
    ) -> tuple[str, str]:
        """Write the item to *stream*; return the content type and version it became.

        Raises:
            InvalidContentType: another type or version is asked for.
        """
        if _omads_type(contentType) not in (None, self.contentTypeName):
            raise InvalidContentType(f'a {self.root.lower()} cannot be written as {contentType}')
        if version not in (None, '', VERSION):
            raise InvalidContentType(f'{self.contentTypeName} is written in version 1.2 only')
        parts = [b'<%b>' % self.root.encode('ascii')]
        if self.name is not None:
            parts.append(markup.element('name', self.name))
        for name in _TIMES:
            text = format_time(getattr(self, name))
            if text is not None:
                parts.append(markup.element(name, text))
        parts += self._middle()
        parts += self._extension_elements()
        parts.append(b'</%b>' % self.root.encode('ascii'))
        stream.write(b''.join(parts))
        return f'{self.contentTypeName}+xml', VERSION

    def _middle(self) -> list[bytes]:
        """Return the elements between the times and the extensions."""
        parts = [
            markup.element(tag, getattr(self, name))
            for name, tag in self.texts.items()
            if getattr(self, name) is not None
        ]
        flags = [
            markup.element(letter, 'true' if getattr(self, name) else 'false')
            for name, letter in _FLAGS.items()
            if getattr(self, name) is not None
        ]
        if flags:
            parts.append(b'<attributes>%b</attributes>' % b''.join(flags))
        return parts

    def _extension_elements(self) -> list[bytes]:
        parts = []
        for name, values in self.extensions.items():
            inner = [markup.element('XNam', name)]
            inner += [markup.element('XVal', value) for value in values]
            parts.append(b'<Ext>%b</Ext>' % b''.join(inner))
        return parts

    @classmethod
    def load(
        cls, stream: BinaryIO, contentType: str | None = None, version: str | None = None
    ) -> Any:
        """Return the item read from *stream*.

        The names of elements count in any case. A time that cannot be read is left out: that a
        clock somewhere is wrong is no reason to lose a file.

        Raises:
            InvalidContentType: *contentType* is that of something else.
            InvalidContent: the bytes are no such item.
        """
        if _omads_type(contentType) not in (None, cls.contentTypeName):
            raise InvalidContentType(f'a {cls.root.lower()} cannot be read from {contentType}')
        return cls._from_node(markup.parse(stream.read()))

    @classmethod
    def _from_node(cls, root: Any) -> Any:
        if markup.local_name(root).lower() != cls.root.lower():
            raise InvalidContent(f'not a {cls.root}: the root is {markup.local_name(root)}')
        item = cls()
        readers = cls._readers()
        for child in root.iterchildren('*'):
            tag = markup.local_name(child).lower()
            if tag == 'attributes':
                item._read_flags(child)
            elif tag == 'ext':
                item._read_extension(child)
            elif tag in readers:
                field, read = readers[tag]
                setattr(item, field, read(child))
        return item

    @classmethod
    def _readers(cls) -> dict[str, tuple[str, Callable[[Any], Any]]]:
        readers: dict[str, tuple[str, Callable[[Any], Any]]] = {'name': ('name', _text)}
        readers |= {name: (name, _time) for name in _TIMES}
        return readers | {tag: (field, _text) for field, tag in cls.texts.items()}

    def _read_flags(self, node: Any) -> None:
        for child in node.iterchildren('*'):
            name = _LETTERS.get(markup.local_name(child).lower()[:1])
            if name is not None:
                # An empty element stands for true in some implementations.
                setattr(self, name, _text(child).strip().lower() in ('true', '1', ''))

    def _read_extension(self, node: Any) -> None:
        name = None
        for child in node.iterchildren('*'):
            tag = markup.local_name(child).lower()
            if tag == 'xnam':
                name = _text(child)
                self.extensions.setdefault(name, [])
            elif tag == 'xval' and name is not None:
                self.addExtension(name, _text(child))


class FileItem(_Entry):
    """A file.

    ``body`` is bytes, ``None`` if only what is said *about* the file is known; then ``size``,
    in bytes, tells how long it is. ``contentType`` is the media type of the body. The flags are
    true, false, or ``None`` (not known); ``delete`` tells whether the file may be deleted.
    """

    root = 'File'
    contentTypeName = TYPE_OMADS_FILE
    texts: ClassVar[dict[str, str]] = {'contentType': 'cttype'}
    fields: ClassVar[tuple[str, ...]] = (
        'name',
        'parent',
        *_TIMES,
        'contentType',
        'body',
        'size',
        *_FLAGS,
    )
    body: Any = None
    size: Any = None

    def __init__(
        self,
        name: str | None = None,
        parent: str | None = None,
        body: bytes | str | None = None,
        size: int | None = None,
        **values: Any,
    ) -> None:
        """Make a file of the given fields; the size of a body that is given is known."""
        if isinstance(body, str):
            body = markup.to_bytes(body)
        if size is None and body is not None:
            size = len(body)
        super().__init__(name, parent, body=body, size=size, **values)

    def _middle(self) -> list[bytes]:
        parts = super()._middle()
        if self.body is not None:
            parts.append(markup.element('body', self.body))
        elif self.size is not None:
            parts.append(markup.element('size', str(self.size)))
        return parts

    @classmethod
    def _readers(cls) -> dict[str, tuple[str, Callable[[Any], Any]]]:
        return super()._readers() | {'body': ('body', markup.content), 'size': ('size', _number)}

    @classmethod
    def _from_node(cls, root: Any) -> Any:
        item = super()._from_node(root)
        if item.body is not None:
            item.size = len(item.body)
        return item


class FolderItem(_Entry):
    """A folder. ``role`` tells what it is for: ``inbox``, ``drafts``, ..."""

    root = 'Folder'
    contentTypeName = TYPE_OMADS_FOLDER
    texts: ClassVar[dict[str, str]] = {'role': 'role'}
    fields: ClassVar[tuple[str, ...]] = ('name', 'parent', *_TIMES, 'role', *_FLAGS)


class BaseFileAgent(Agent):
    """The part of a file agent that every file agent shares: files and folders, in a tree."""

    itemClass = FileItem
    folderClass: Any = FolderItem
    hierarchicalSync = True
    contentTypes = [  # noqa: RUF012 - every instance gets its own copy
        ContentTypeInfo(TYPE_OMADS_FILE, VERSION, preferred=True),
        ContentTypeInfo(TYPE_OMADS_FOLDER, VERSION),
    ]

    def dumpItem(
        self,
        item: Any,
        stream: BinaryIO,
        contentType: str | None = None,
        version: str | None = None,
    ) -> tuple[str, str] | None:
        """Write a file or a folder; which of the two is up to *item*, not to *contentType*."""
        if _omads_type(contentType) not in (None, TYPE_OMADS_FILE, TYPE_OMADS_FOLDER):
            raise InvalidContentType(f'{item} cannot be written as {contentType}')
        written = item.dump(stream, None, version)
        return written if isinstance(written, tuple) else None

    def loadItem(
        self, stream: BinaryIO, contentType: str | None = None, version: str | None = None
    ) -> Any:
        """Return the file or folder read from *stream*.

        Raises:
            InvalidContentType: *contentType* is neither of a file nor of a folder.
            InvalidContent: the bytes are neither.
        """
        kind = _omads_type(contentType)
        if kind == TYPE_OMADS_FOLDER:
            return self.folderClass.load(stream, contentType, version)
        if kind == TYPE_OMADS_FILE:
            return self.itemClass.load(stream, contentType, version)
        if kind is not None:
            raise InvalidContentType(f'{contentType} is neither a file nor a folder')
        root = markup.parse(stream.read())
        folder = markup.local_name(root).lower() == FolderItem.root.lower()
        return (self.folderClass if folder else self.itemClass)._from_node(root)

    def conflictItem(self, item: Any, label: str) -> Any:
        """Return *item* without its id, and with *label* in its name."""
        from pysyncml.storage.names import conflict_name  # needed for a conflict only

        item = super().conflictItem(item, label)
        if item.name:
            item.name = conflict_name(item.name, label)
        return item


def format_time(seconds: float | None) -> str | None:
    """Return seconds since 1970 as ``YYYYMMDDThhmmssZ``; ``None`` if no year has that number."""
    if seconds is None:
        return None
    try:
        return (_EPOCH + timedelta(seconds=int(seconds))).strftime('%Y%m%dT%H%M%SZ')
    except (OverflowError, ValueError):
        return None


def parse_time(text: str) -> int | None:
    """Return the seconds since 1970 of a time in UTC; ``None`` if *text* is no time."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    try:
        moment = datetime(*(int(part) for part in match.groups()))  # type: ignore[arg-type]
    except ValueError:
        return None
    return timegm(moment.timetuple())


def _text(node: Any) -> str:
    return markup.to_text(markup.content(node))


def _time(node: Any) -> int | None:
    return parse_time(_text(node))


def _number(node: Any) -> int | None:
    text = _text(node).strip()
    return int(text) if re.fullmatch(r'\d{1,18}', text, re.ASCII) else None


def _omads_type(content_type: str | None) -> str | None:
    """Return *content_type* without its parameters and without the ``+xml`` at its end."""
    kind = markup.base_type(content_type)
    return kind.removesuffix('+xml') if kind else None


__all__ = ['BaseFileAgent', 'FileItem', 'FolderItem']
