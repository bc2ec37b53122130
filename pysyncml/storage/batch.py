"""Gathering what is to be done to the files of a directory, before any of it is done.

A batch belongs to one unit of work. Bodies are staged in the state folder as they come; what is
to become of them is kept in memory. :meth:`Batch.prepare` makes the bodies durable and writes one
line of JSON for each note. These lines go into the database, in the same transaction as everything
else; publishing them (``publish.py``) is a matter of the disk and the lines alone, and can be done
again at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat as kinds
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING

from pysyncml.errors import InvalidItem, StorageError, StoreFull
from pysyncml.immutable import immutable
from pysyncml.storage import files
from pysyncml.storage.files import NO_ROOM, looks, looks_of, parent_of, parts_of, stamp

if TYPE_CHECKING:
    from pysyncml.storage.directory import DirectoryStorage

VERSION = 2
_AS_JSON = json.JSONEncoder(separators=(',', ':')).encode
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, 'O_BINARY', 0)


@immutable()
class Operation:
    """What is to become of one note.

    ``source`` is where its file lies (None: it has none yet), ``expect`` the stamp that file had,
    ``key`` where it is to lie (None: nowhere, it is deleted), ``token`` its new body (None: it
    keeps the one it has). ``body`` is what the staged body looked like, ``label`` goes into the
    name of a conflict copy, ``digest`` is the SHA-256 of the old body if that is known, and ``id``
    names the operation in the state folder.
    """

    id: str
    batch: str
    item: str
    key: str | None
    source: str | None = None
    token: str | None = None
    expect: bytes | None = None
    body: tuple[int, int, int] | None = None
    label: str = ''
    digest: str = ''

    @property
    def looks(self) -> tuple[int, int, int] | None:
        """What the file at ``source`` looked like (see :func:`.files.looks`), if that is known."""
        return None if self.expect is None else looks_of(self.expect)

    @property
    def leaves(self) -> bool:
        """Whether the file at ``source`` goes away from there, and nothing comes instead."""
        return self.source is not None and self.source != self.key

    @property
    def renames(self) -> bool:
        """Whether the file is kept, and only its name changes."""
        return self.key is not None and self.token is None

    def line(self, body: tuple[int, int, int] | None = None) -> str:
        """Return the operation as a line of JSON, all ASCII; *body* is told if it was not known."""
        told = (
            VERSION,
            self.id,
            self.batch,
            self.item,
            self.key,
            self.source,
            self.token,
            None if self.expect is None else self.expect.hex(),
            self.body if body is None else body,
            self.label,
            self.digest,
        )
        return _AS_JSON(told)

    @classmethod
    def of_line(cls, line: str) -> Operation:
        """Return the operation of a *line*.

        Raises:
            ValueError: the line does not tell one.
        """
        try:
            told = json.loads(line)
            if isinstance(told, dict):  # as version 1 told it
                told = [told[name] for name in _IN_ORDER]
            values = dict(zip(_IN_ORDER, told, strict=True))
            if values.pop('v') not in (1, VERSION):
                raise ValueError('it was written by another version')
            if values['expect'] is not None:
                values['expect'] = bytes.fromhex(values['expect'])
                looks_of(values['expect'])
            if values['body'] is not None:
                size, mtime, inode = values['body']
                values['body'] = int(size), int(mtime), int(inode)
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f'it is no line of a journal ({error})') from None


_IN_ORDER = ('v', *(field.name for field in fields(Operation)))


class Batch:
    """What one unit of work does to the files.

    Further calls for the same item are combined with the earlier ones: what counts is where its
    file was at first, and what is to become of it at last.
    """

    def __init__(self, storage: DirectoryStorage, label: str) -> None:
        self._storage = storage
        self._label = label
        self._id = secrets.token_hex(8)
        self._number = self._staged = 0
        self._operations: dict[str, Operation] = {}
        self._tokens: list[str] = []
        self._looks: dict[str, os.stat_result] = {}  # of bodies that were staged here
        #: What each of the lines of :meth:`prepare` tells.
        self.prepared: dict[str, Operation] = {}
        self._before: list[tuple[str, Operation | None]] = []
        self._folders: set[str] = set()  # those that a key was allowed to lie in

    def __len__(self) -> int:
        return len(self._operations)

    def stage(self, data: bytes) -> str:
        """Write a body into the state folder; return the token that stands for it.

        Raises:
            StoreFull: there is no room for it.
        """
        token = self._new_token()
        path = self._storage.staged_path(token)
        # the state folder is closed to others; as a note the file has the mode notes have here
        try:
            fd = os.open(path, _NEW, 0o666)
        except FileNotFoundError:
            self._storage.make_state()
            fd = os.open(path, _NEW, 0o666)
        try:
            try:
                files.write_all(partial(os.write, fd), data)
                self._looks[token] = os.fstat(fd)
            finally:
                os.close(fd)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(path)
            if error.errno in NO_ROOM:
                raise StoreFull(f'no room for {len(data):,} bytes in the directory') from None
            raise
        self._tokens.append(token)
        return token

    def _new_token(self) -> str:
        self._staged += 1
        return f'{self._id}{self._staged:016x}'

    def adopt(self, place: Callable[[str], object]) -> str:
        """Take a file as a body that is there already; return the token that stands for it.

        *place* is told the path it is to be moved to.
        """
        self._storage.make_state()
        token = self._new_token()
        self._tokens.append(token)
        place(self._storage.staged_path(token))
        return token

    def write(
        self,
        item_id: str,
        key: str,
        token: str,
        source: str | None = None,
        expect: bytes | None = None,
        digest: str = '',
    ) -> None:
        """Give an item a new body, and *key* as its name.

        Args:
            item_id: whose body it is; operations of one item are combined.
            key: where the body is to lie.
            token: the body, from :meth:`stage`.
            source: where the item's file lies now; it goes to the trash. None if it has none.
            expect: the stamp of that file, the one it has now if not given; if it is another one
                when the time comes, the user has edited it, and both are kept.
            digest: the SHA-256 of what is in that file, in hexadecimal digits: it tells an edit
                that a stamp cannot.

        Raises:
            InvalidName: there must be no file of that name.
        """
        self._check(key)
        old = self._operations.get(item_id)
        staged = self._looks.get(token)
        body = looks(staged) if staged is not None else None
        if old is None:
            self._set(self._new(item_id, key, source, expect, token, digest, body))
        else:
            self._set(replace(old, key=key, token=token, body=body))

    def move(self, item_id: str, source: str, key: str, expect: bytes | None = None) -> None:
        """Give an item another name; its file stays the same file.

        Raises:
            InvalidName: there must be no file of that name.
            InvalidItem: the item is deleted in this batch.
        """
        self._check(key)
        old = self._operations.get(item_id)
        if old is None and source == key:
            return
        if old is None:
            self._set(self._new(item_id, key, source, expect, None))
        elif old.key is None:
            raise InvalidItem(f'"{source}" is deleted and cannot be renamed')
        elif old.token is None and old.source == key:
            self._drop(item_id)  # back where it came from
        else:
            self._set(replace(old, key=key))

    def delete(
        self, item_id: str, source: str, expect: bytes | None = None, digest: str = ''
    ) -> None:
        """Put the file of an item into the trash, unless the user edits it before that."""
        old = self._operations.get(item_id)
        if old is None:
            self._set(self._new(item_id, None, source, expect, None, digest))
        elif old.source is None:
            self._drop(item_id)  # it was never there
        else:
            self._set(replace(old, key=None, token=None, body=None))

    def mark(self) -> int:
        """Return a point to which :meth:`undo` can go back."""
        return len(self._before)

    def undo(self, mark: int) -> None:
        """Forget what was asked for since *mark* was returned by :meth:`mark`."""
        while len(self._before) > mark:
            item_id, old = self._before.pop()
            self._operations.pop(item_id, None)
            if old is not None:
                self._operations[item_id] = old

    def prepare(self) -> list[str]:
        """Make the staged bodies durable; return the lines that tell what is to be done.

        Raises:
            StorageError: a body could not be made durable.
        """
        lines = []
        for operation in self._operations.values():
            body = self._ready(operation)
            line = operation.line(body)
            as_told = operation if body == operation.body else replace(operation, body=body)
            self.prepared[line] = as_told
            lines.append(line)
        wanted = {operation.token for operation in self._operations.values()}
        for token in self._tokens:
            if token not in wanted:
                with contextlib.suppress(OSError):
                    os.unlink(self._storage.staged_path(token))
        self._tokens = [token for token in self._tokens if token in wanted]
        paths = [self._storage.staged_path(token) for token in wanted if token is not None]
        if paths:
            state = self._storage.state
            folders = [state.path('staged'), state.root, self._storage.root]
            try:
                files.sync([*paths, *folders], whole=state.root)
            except OSError as error:
                kind = StoreFull if error.errno in NO_ROOM else StorageError
                raise kind(f'new notes could not be made durable: {error.strerror}') from error
        return lines

    def discard(self) -> None:
        """Forget everything, and remove what was staged. Not after the lines are committed."""
        for token in self._tokens:
            with contextlib.suppress(OSError):
                os.unlink(self._storage.staged_path(token))
        self._tokens.clear()
        self._looks.clear()
        self._operations.clear()
        self._before.clear()

    def _check(self, key: str) -> None:
        """Make sure that there may be a file *key*; its folders are looked at once for a batch.

        They are looked at again when files are put into them.
        """
        folder = parent_of(key)
        self._storage.check(key, folders=folder not in self._folders)
        self._folders.add(folder)

    def _ready(self, operation: Operation) -> tuple[int, int, int] | None:
        """Give the staged body of *operation* the mode it is to have; return what it looks like."""
        if operation.token is None:
            return None
        if operation.body is not None and operation.source is None:
            return operation.body
        path = self._storage.staged_path(operation.token)
        try:
            staged = self._looks.get(operation.token) or os.lstat(path)
        except FileNotFoundError:
            raise InvalidItem(f'there is no staged body "{operation.token}"') from None
        if operation.source is not None and os.name != 'nt':
            old = self._storage.files.regular(operation.source)
            mode = kinds.S_IMODE(staged.st_mode if old is None else old.st_mode) & 0o777 | 0o400
            if mode != kinds.S_IMODE(staged.st_mode):
                with contextlib.suppress(OSError):  # the content matters more
                    os.chmod(path, mode)
        return looks(staged)

    def _new(
        self,
        item: str,
        key: str | None,
        source: str | None,
        expect: bytes | None,
        token: str | None,
        digest: str = '',
        body: tuple[int, int, int] | None = None,
    ) -> Operation:
        if expect is not None:
            looks_of(expect)
        elif source is not None:
            parts_of(source)
            now = self._storage.files.regular(source)
            # without a file to be there, whatever comes there is somebody else's
            expect = None if now is None else stamp(now)
        self._number += 1
        return Operation(
            f'{self._id}-{self._number}',
            self._id,
            item,
            key,
            source,
            token,
            expect,
            body,
            label=self._label,
            digest=digest,
        )

    def _set(self, operation: Operation) -> None:
        self._before.append((operation.item, self._operations.get(operation.item)))
        self._operations[operation.item] = operation

    def _drop(self, item_id: str) -> None:
        self._before.append((item_id, self._operations.pop(item_id)))
