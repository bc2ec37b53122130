"""Files of our own for what arrives piece by piece and is too large for memory.

Each is known by a token, a random name in one folder; nothing that a peer says goes into a name.
Who has to remember a token (a row of the database) decides what it is good for: a file that
nobody names is a left-over, and is swept away.

Writing goes on behind the back of who asks for it, in a thread of its own: with the disk, and with
the digest of what is written. When the next piece is to be written, the one before is on the disk
for good. So of a file only the last piece can be in doubt after a power failure, and a checksum of
that tells.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from zlib import crc32

from pysyncml.errors import InvalidContent, StoreFull
from pysyncml.storage import files
from pysyncml.storage.allocator import keep_memory

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ['Arrived', 'Spool', 'Spooled']

_BLOCK = 1 << 20
_NO_ROOM = {*files.NO_ROOM, errno.EFBIG}
_FLAGS = getattr(os, 'O_CLOEXEC', 0) | getattr(os, 'O_NOFOLLOW', 0) | getattr(os, 'O_BINARY', 0)

#: Bytes of the disk that are left free, whatever a peer announces.
RESERVE = 64 << 20
# of the digests of a file that grows: how much of its end may have to be left out, how far apart
# those are that are kept, and of how many files
_TAIL, _STEP, _HASHED = 1 << 20, 1 << 16, 8


class Spool:
    """The files in *folder*, which is made when it is first needed, for the owner alone."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._hashed: dict[str, _Hashes] = {}  # for speed only
        self._writer: ThreadPoolExecutor | None = None
        self._pending: dict[str, Future[None]] = {}
        self._ends: dict[str, int] = {}  # how far we have written

    def path(self, token: str) -> str:
        """Return where the file of *token* lies.

        Raises:
            ValueError: *token* is none.
        """
        if len(token) != 32 or not token.isalnum():
            raise ValueError(f'{token!a} is no token')
        return os.path.join(self._folder, token)

    def create(self) -> str:
        """Make an empty file; return its token."""
        token, fd = self._new()
        os.close(fd)
        files.sync([self._folder], whole=self._folder)
        while len(self._hashed) >= _HASHED:
            del self._hashed[next(iter(self._hashed))]
        keep_memory()
        self._hashed[token] = _Hashes()
        return token

    def _new(self) -> tuple[str, int]:
        if not os.path.isdir(self._folder):
            os.mkdir(self._folder, 0o700)
            files.sync([os.path.dirname(self._folder)], whole=self._folder)
        token = secrets.token_hex(16)
        # the folder is closed to others; what becomes a file of the user's has the usual mode
        return token, os.open(
            self.path(token), os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666
        )

    def keep(self, data: bytes) -> str:
        """Write *data* to a file of their own, which may not outlast a power failure.

        Returns:
            Its token.

        Raises:
            StoreFull: there was no room for them.
        """
        token, fd = self._new()
        try:
            with os.fdopen(fd, 'wb', buffering=0) as file:
                files.write_all(file.write, data)
        except OSError as error:
            self.remove(token)
            if error.errno in _NO_ROOM:
                raise StoreFull('there is no room for so much') from None
            raise
        return token

    def read(self, token: str) -> bytes | None:
        """Return all of a file; ``None`` if it is not there."""
        try:
            with open(self.path(token), 'rb', buffering=0) as file:
                return file.read()
        except (OSError, ValueError):
            return None

    def write(self, token: str, position: int, data: bytes) -> None:
        """Have *data* put at *position*, where the file ends then, while we go on.

        What was to be written before is on the disk for good when this returns.

        Raises:
            StoreFull: there was no room for that.
        """
        self.finish(token)
        if self._writer is None:
            from concurrent.futures import ThreadPoolExecutor  # needed for this only

            self._writer = ThreadPoolExecutor(1, 'pysyncml-writer')
        self._pending[token] = self._writer.submit(self._write, token, position, data)
        self._ends[token] = position + len(data)

    def finish(self, token: str) -> None:
        """Wait until all that was to be written is on the disk for good.

        Raises:
            StoreFull: there was no room for it.
        """
        pending = self._pending.pop(token, None)
        try:
            if pending is not None:
                pending.result()
        except OSError as error:
            self._ends.pop(token, None)
            if error.errno in _NO_ROOM:
                raise StoreFull('there is no room for so much') from None
            raise

    def sync(self, token: str) -> None:
        """See that the file, as it is, outlasts a power failure."""
        self.finish(token)
        files.sync([self.path(token)], whole=self._folder)

    def wrote(self, token: str, end: int) -> bool:
        """Return whether it was us who wrote the file, at least up to *end*."""
        return self._ends.get(token, -1) >= end

    def checksum(self, token: str, start: int, end: int) -> int | None:
        """Return the CRC-32 of a piece of the file; ``None`` if it is not all there."""
        try:
            with open(self.path(token), 'rb', buffering=0) as file:
                file.seek(start)
                data = file.read(end - start)
        except (OSError, ValueError):
            return None
        return crc32(data) if len(data) == end - start else None

    def _write(self, token: str, position: int, data: bytes) -> None:
        fd = os.open(self.path(token), os.O_WRONLY | _FLAGS)
        try:
            if os.fstat(fd).st_size != position:
                os.ftruncate(fd, position)
            with os.fdopen(fd, 'wb', buffering=0, closefd=False) as file:
                file.seek(position)
                files.write_all(file.write, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        hashes = self._hashed.get(token)
        if hashes is not None and not hashes.add(position, data):
            self._hashed.pop(token, None)

    def open(self, token: str, size: int) -> Spooled:
        """Return the first *size* bytes of the file as a stream to be read.

        Raises:
            StoreFull: there was no room for all of them.
        """
        self.finish(token)
        fd = os.open(self.path(token), os.O_RDWR | _FLAGS)
        if os.fstat(fd).st_size != size:
            os.ftruncate(fd, size)  # what a transaction that was taken back has left
        return Spooled(fd, self.path(token), size, self._hashed.get(token))

    def has_room(self, size: int) -> bool:
        """Return whether the disk has room for so many bytes, as far as can be told."""
        try:
            parent = self._folder if os.path.isdir(self._folder) else os.path.dirname(self._folder)
            return shutil.disk_usage(parent).free >= size + RESERVE
        except OSError:
            return True

    def remove(self, token: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(OSError, StoreFull):
            self.finish(token)
        self._hashed.pop(token, None)
        self._ends.pop(token, None)
        with contextlib.suppress(OSError, ValueError):
            os.unlink(self.path(token))

    def is_empty(self) -> bool:
        """Return whether there are no files."""
        try:
            with os.scandir(self._folder) as found:
                return next(found, None) is None
        except OSError:
            return True

    def sweep(self, keep: Iterable[str]) -> None:
        """Remove all files but those of the tokens in *keep*."""
        named = set(keep)
        with contextlib.suppress(OSError):
            for name in os.listdir(self._folder):
                if name not in named:
                    self.remove(name)


class Spooled(io.BufferedReader):
    """What has arrived, as a stream to be read from its beginning.

    Args:
        fd: the open file, which is closed with the stream.
        path: where it lies.
        size: its bytes.
        hashes: what is known of its digests.
    """

    def __init__(self, fd: int, path: str, size: int, hashes: _Hashes | None = None) -> None:
        super().__init__(io.FileIO(fd, 'rb'), 1 << 16)
        self._path = path
        self._hashes = hashes
        self.size = size

    def read_at(self, start: int, count: int) -> bytes:
        """Return up to *count* bytes from *start* on, wherever the stream is being read."""
        here = self.tell()
        try:
            self.seek(start)
            return self.read(count)
        finally:
            self.seek(here)

    def sha256(self, size: int) -> str:
        """Return the SHA-256 of the first *size* bytes in hexadecimal digits."""
        start, digest = (0, hashlib.sha256()) if self._hashes is None else self._hashes.at(size)
        while start < size:
            block = self.read_at(start, min(_BLOCK, size - start))
            if not block:
                raise InvalidContent('the content ends too early')
            digest.update(block)
            start += len(block)
        return str(digest.hexdigest())

    def beginning(self, size: int) -> Arrived:
        """Return the first *size* bytes as a content of their own."""
        return Arrived(self, size)

    def move_to(self, path: str, size: int) -> None:
        """Make the first *size* bytes the file *path*, on the same disk; this ends the stream.

        That lasts when the file is synced, and the folder it comes to.
        """
        os.ftruncate(self.fileno(), size)
        self.close()  # an open file cannot be renamed everywhere
        os.rename(self._path, path)
        folder = os.path.dirname(self._path)
        files.sync([folder], whole=folder)


class Arrived:
    """The content that the first *size* bytes of a stream are."""

    def __init__(self, stream: Spooled, size: int) -> None:
        self._stream = stream
        self.size = size

    @property
    def sha256(self) -> str:
        """The SHA-256 in hexadecimal digits."""
        return self._stream.sha256(self.size)

    def read_at(self, start: int, count: int) -> bytes:
        """Return *count* bytes from *start* on; fewer only at the end."""
        return self._stream.read_at(start, min(count, self.size - start))

    def move_to(self, path: str) -> None:
        """Make it the file *path*, without a copy; nothing is to be read here any more."""
        self._stream.move_to(path, self.size)


class _Hashes:
    """The SHA-256 of a file that grows, and of shorter beginnings of it.

    What ends a file may have to be left out of it; so a few digests of earlier ends are kept.
    """

    def __init__(self) -> None:
        self._end = 0
        self._digest = hashlib.sha256()
        self._marks = [(0, hashlib.sha256())]

    def add(self, position: int, data: bytes) -> bool:
        """Go on with *data* at *position*; return whether that was the end until now."""
        if position != self._end:
            return False
        if self._end - self._marks[-1][0] >= _STEP:
            self._marks.append((self._end, self._digest.copy()))
        self._digest.update(data)
        self._end += len(data)
        while len(self._marks) > 1 and self._marks[1][0] <= self._end - _TAIL:
            del self._marks[0]
        return True

    def at(self, size: int) -> tuple[int, Any]:
        """Return the furthest end up to *size* whose digest is known, and a copy of that."""
        if size == self._end:
            return size, self._digest.copy()
        known = [mark for mark in self._marks if mark[0] <= size] or [(0, hashlib.sha256())]
        return known[-1][0], known[-1][1].copy()
