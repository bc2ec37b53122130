"""A folder of files as a storage: consistent reads, careful writes, and a trash.

Everything of our own lies in the state folder (``.sync``): ``staged`` bodies, the ``trash``, and
the ``identity`` of the directory. How files get to their place is told in ``publish.py``.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import hashlib
import os
import stat as kinds
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

from pysyncml.errors import (
    InvalidItem,
    InvalidName,
    ItemBusy,
    StorageError,
    WrongDirectory,
)
from pysyncml.storage.base import Storage
from pysyncml.storage.bodies import FileBody
from pysyncml.storage.files import (
    Tree,
    is_racy,
    open_file,
    remove,
    stamp,
    unchanged,
)
from pysyncml.storage.identity import make_identity, read_identity
from pysyncml.storage.names import local_name
from pysyncml.storage.publish import Batch, Outcome, publish
from pysyncml.storage.single import Gathering
from pysyncml.storage.trash import Trash
from pysyncml.storage.writers import is_being_written

__all__ = ['DirectoryStorage', 'is_racy', 'stamp']

_CHUNK = 1 << 20
_FOLDERS = 'staged', 'aside'


def _nothing(_key: str, _is_dir: bool) -> bool:
    return False


_TELLS_ALL = os.name != 'nt'  # what a folder says of its files on Windows has no inodes

# within the class, ``list`` is a method
Outcomes = list[Outcome]
Keys = list[str]
Listing = list[tuple[str, float, int]]
Chunks = list[bytes]
Run = list[tuple[str, bytes]]
Listed = list[Run | str]


class DirectoryStorage(Storage[os.stat_result]):
    """The files below a directory, which has to exist.

    Keys are relative paths with ``/``; names that are no UTF-8 come with surrogates, as
    :func:`os.fsdecode` gives them. Links are not followed below the directory.

    Args:
        root: the directory.
        state_dir: the name of the state folder in it. It is made when first needed, for the
            owner alone.
        trash_days: how long the trash keeps things; for ever if negative.
        clock: tells the time in seconds since 1970.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset({'rename', 'revision', 'mtime', 'hierarchy'})

    def __init__(
        self,
        root: str,
        state_dir: str = '.sync',
        trash_days: float = 30,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.root = os.fspath(root)
        self.state_dir = state_dir
        self.clock = clock
        self.files = Tree(self.root)
        self.state = Tree(os.path.join(self.root, state_dir))
        self._staged = os.path.join(self.state.root, 'staged', '')
        self.symlinks: Keys = []
        self.trash = Trash(
            self.files,
            self.state,
            days=trash_days,
            clock=clock,
            ready=self.make_state,
            check=self.check,
        )
        self._lock = threading.RLock()
        self._gathering: Gathering | None = None
        self._made = False

    # --- looking ----------------------------------------------------------------------------------

    def list(self) -> Iterator[str]:
        """Yield the keys of all files."""
        for key, _ in self.walk(lambda key, is_dir: False):
            yield key

    def walk(
        self,
        skip: Callable[[str, bool], bool],
        unreadable: Keys | None = None,
    ) -> Iterator[tuple[str, bytes]]:
        """Yield key and stamp of all regular files, in the order of their keys.

        Args:
            skip: told a key and whether it is a folder; if it says True, that is left out.
            unreadable: a list of keys that folders are added to which cannot be read, and files
                that cannot be looked at; without it they raise. (Nobody may take these notes for
                deleted.)

        Links are left out and collected in ``symlinks``; pipes and the like are left out.

        Raises:
            WrongDirectory: the directory is not there.
            OSError: the directory itself cannot be read.
            StorageError: a folder cannot be read, or a file not be looked at.
        """
        for run in self.runs(skip, unreadable):
            yield from run

    def runs(
        self,
        skip: Callable[[str, bool], bool],
        unreadable: Keys | None = None,
        skips_none: Callable[[Keys], bool] = lambda _: False,
    ) -> Iterator[Run]:
        """Yield the same many at a time: the files of a folder, as far as no folder comes between.

        See :meth:`walk`. *skips_none* is told all names in a folder; if it says True, *skip* would
        say False to each of them and is not asked.
        """
        self.symlinks = []
        coming: Listed = ['']  # folders and runs, the next one last
        while coming:
            key = coming.pop()
            if not isinstance(key, str):
                yield key
                continue
            folder = key[:-1]
            try:
                coming += self._look_into(folder, skip, unreadable, skips_none)
            except (FileNotFoundError, NotADirectoryError) as error:
                if not folder:
                    raise WrongDirectory(f'the directory {self.root} is not there') from error
                continue  # removed since its folder was read
            except InvalidName:
                self.symlinks.append(folder)  # another one is there since
            except OSError as error:
                if unreadable is None:
                    what = f'the folder {self.files.path(folder)} cannot be read: {error.strerror}'
                    raise StorageError(what) from error
                if not folder:
                    raise
                unreadable.append(folder)

    def _look_into(
        self,
        folder: str,
        skip: Callable[[str, bool], bool],
        unreadable: Keys | None,
        skips_none: Callable[[Keys], bool],
    ) -> Listed:
        """Return the runs and the folders in a folder, the last one first.

        The key of a folder ends with ``/``, which puts it where the keys of its files belong.
        """
        prefix = f'{folder}/' if folder else ''
        files: Run = []
        folders: Keys = []
        with self.files.listed(folder) as entries:
            if skips_none([entry.name for entry in entries]):
                skip = _nothing
            for entry in entries:
                key = prefix + entry.name
                if key == self.state_dir:
                    continue
                try:
                    if entry.is_file(follow_symlinks=False):
                        if not skip(key, False):
                            there = entry.stat(follow_symlinks=False)
                            if not _TELLS_ALL:
                                there = os.lstat(entry.path)
                            files.append((key, stamp(there)))
                    elif entry.is_symlink():
                        if not skip(key, False):
                            self.symlinks.append(key)
                    elif entry.is_dir(follow_symlinks=False) and not skip(key, True):
                        folders.append(f'{key}/')
                except FileNotFoundError:
                    continue  # removed since its folder was read
                except OSError as error:
                    if unreadable is None:
                        what = f'"{key}" cannot be looked at: {error.strerror}'
                        raise StorageError(what) from error
                    unreadable.append(key)
        found: Listed = []
        for key in sorted(folders, reverse=True):
            after = bisect.bisect(files, (key,))
            if after < len(files):
                found.append(files[after:])
                del files[after:]
            found.append(key)
        return [*found, files] if files else found

    def fs_now(self) -> int:
        """Return the time by the file system's own clock, in ns since 1970."""
        self.make_state()
        path = self.state.path('clock')
        with open(path, 'ab', opener=lambda name, flags: os.open(name, flags, 0o600)):
            os.utime(path)
            stat = os.lstat(path)
        return stat.st_mtime_ns if os.name == 'nt' else min(stat.st_mtime_ns, stat.st_ctime_ns)

    def stat(self, key: str) -> os.stat_result | None:
        """Return the stat of a file, or of what else is at *key*; ``None`` if nothing is.

        Raises:
            InvalidName: one of the folders of *key* is a symbolic link.
        """
        return self.files.lstat(key)

    def read(self, key: str, tree: Tree | None = None) -> tuple[bytes, os.stat_result]:
        """Return the bytes of a file and its stat at that moment.

        *tree* are our files with folders that stay open, if many are read (:class:`Held`).

        Raises:
            InvalidItem: there is no such file.
            ItemBusy: it changed while it was read.
        """
        chunks: Chunks = []
        stat = self._consume(tree or self.files, key, chunks.append)
        return chunks[0] if len(chunks) == 1 else b''.join(chunks), stat

    def hash(self, key: str, tree: Tree | None = None) -> tuple[str, os.stat_result]:
        """Return the SHA-256 of a file in hexadecimal digits, and its stat; see :meth:`read`."""
        return self.hash_at(tree or self.files, key)

    def look(
        self, key: str, longest: int, tree: Tree | None = None
    ) -> tuple[str, os.stat_result, bytes | None]:
        """Return the SHA-256 of a file, its stat, and its bytes if these are few; see :meth:`read`.

        Those of a file of more than *longest* bytes are not kept in memory.
        """
        digest, chunks = hashlib.sha256(), []

        def take(chunk: bytes) -> None:
            digest.update(chunk)
            if len(chunk) <= longest:
                chunks.append(chunk)

        stat = self._consume(tree or self.files, key, take)
        few = stat.st_size <= longest
        return digest.hexdigest(), stat, b''.join(chunks) if few else None

    def hash_at(self, tree: Tree, key: str) -> tuple[str, os.stat_result]:
        """Do the same for a file in *tree*."""
        digest = hashlib.sha256()
        stat = self._consume(tree, key, digest.update)
        return digest.hexdigest(), stat

    def _consume(self, tree: Tree, key: str, take: Callable[[bytes], object]) -> os.stat_result:
        try:
            with tree.at(key) as spot:
                fd = open_file(spot)
        except (FileNotFoundError, NotADirectoryError):
            raise InvalidItem(f'there is no file "{key}"') from None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise InvalidItem(f'"{key}" is no regular file') from None
            raise StorageError(f'"{key}" cannot be read: {error.strerror}') from error
        before = os.fstat(fd)
        if not kinds.S_ISREG(before.st_mode):
            os.close(fd)
            raise InvalidItem(f'"{key}" is no regular file')
        try:
            size, wanted, got = 0, 0, 0
            while got == wanted:  # a regular file gives less at its end only
                wanted = min(_CHUNK, max(before.st_size - size, 0) + 1)
                chunk = os.read(fd, wanted)
                got = len(chunk)
                size += got
                take(chunk)
            after = os.fstat(fd)
        finally:
            os.close(fd)
        if size != after.st_size or not unchanged(before, after):
            raise ItemBusy(f'"{key}" is being changed at this moment')
        return after

    def body(self, key: str, stat: os.stat_result) -> FileBody:
        """Return the content of a file, to be read piece by piece while it is as *stat* says."""
        return FileBody(self.files, key, stat.st_size, stamp(stat))

    def staged_body(self, token: str) -> FileBody:
        """Return the content of a staged body, to be read piece by piece."""
        stat = os.lstat(self.staged_path(token))
        return FileBody(self.state, f'staged/{token}', stat.st_size, stamp(stat))

    def is_being_written(self, key: str) -> bool:
        """Return whether another program has a file open for writing, as far as can be told."""
        with contextlib.suppress(OSError), self.files.at(key) as spot:
            return is_being_written(spot)
        return False

    # --- publishing -------------------------------------------------------------------------------

    def batch(self, label: str | None = None) -> Batch:
        """Return a batch, to gather what one unit of work does to the files.

        *label* goes into the name of a copy that is made because the user has edited a note
        meanwhile; it is the date if it is not given.
        """
        if label is None:
            label = time.strftime('%Y-%m-%d', time.localtime(self.clock()))
        return Batch(self, label)

    def publish(self, lines: Iterable[str], batch: Batch | None = None) -> Outcomes:
        """Do what the *lines* of batches tell; return a list of :class:`Outcome`, in their order.

        If some are of a *batch* that is still at hand, they need not be read.
        It may be repeated, and has to be after a crash. Lines that are left from before have to
        be published before the next batch is begun, for that will rest on them.
        """
        wanted = [*lines]
        if not wanted:
            return []
        self.make_state()
        with self._lock, _locked(self.state.path('publish.lock')):
            return publish(self, wanted, batch.prepared if batch is not None else None)

    def sweep_staged(self, keep: Iterable[str], *, min_age: float = 0) -> int:
        """Remove staged bodies that nobody has been told of; return how many.

        Args:
            keep: the lines of the journal, or the tokens in them; what they name stays.
            min_age: leave alone what is younger than so many seconds.
        """
        named = ' '.join(keep)
        return self._sweep('staged', lambda name: name in named, min_age)

    def sweep(self, lines: Iterable[str], *, min_age: float = 0) -> int:
        """Remove all that broken off units of work have left in the state folder.

        A file of the user's that lies aside, and that none of the *lines* of the journal names,
        goes to the trash. All lines have to be given: those of renames too.
        """
        named = ' '.join(lines)
        return sum(
            self._sweep(folder, lambda name: name.partition('.')[0] in named, min_age)
            for folder in _FOLDERS
        )

    def _sweep(self, folder: str, is_named: Callable[[str], bool], min_age: float) -> int:
        slot = self.trash.slot()
        count = 0
        with self._lock, contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self.state.path(folder))):
                stat = self.state.lstat(f'{folder}/{name}')
                if stat is None or is_named(name):
                    continue
                if min_age > 0 and stat.st_ctime > self.fs_now() / 1e9 - min_age:
                    continue
                with self.state.at(f'{folder}/{name}') as spot:
                    if folder == 'aside' and '.' not in name:
                        slot.put(spot, f'recovered-{name}')
                    else:
                        remove(spot)
                count += 1
        return count

    def keep_staged(self, named: str) -> int:
        """Put staged bodies into the trash that *named*, lines of a journal, does not name."""
        slot = self.trash.slot()
        count = 0
        with self._lock, contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self.state.path('staged'))):
                if name not in named:
                    with self.state.at(f'staged/{name}') as spot:
                        slot.put(spot, f'recovered-{name}')
                    count += 1
        return count

    def staged_path(self, token: str) -> str:
        """Return where the body that *token* stands for is staged."""
        return self._staged + token

    def check(self, key: str, *, folders: bool = True) -> None:
        """Make sure that there may be a file *key*; its *folders* need not be looked at again.

        Raises:
            InvalidName: the name is not allowed, or one of its folders is a symbolic link.
        """
        if local_name(key, self.state_dir) != key:
            raise InvalidName(f'{key!a} is not written as names are here')
        if folders:
            self.files.lstat(key)

    def make_state(self) -> None:
        """Make the state folder, unless it is there.

        Raises:
            WrongDirectory: the directory itself is not there; it is never made here.
        """
        if self._made and all(os.path.isdir(self.state.path(name)) for name in _FOLDERS):
            return
        if not os.path.isdir(self.root):
            raise WrongDirectory(f'the directory {self.root} is not there')
        for path in (self.state.root, *map(self.state.path, _FOLDERS)):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
        self._made = True

    # --- identity ---------------------------------------------------------------------------------

    def read_identity(self) -> str | None:
        """Return the random id of this directory; ``None`` if it has none."""
        return read_identity(self.state)

    def make_identity(self) -> str:
        """Return the id of this directory; give it one if it has none."""
        known = self.read_identity()
        if known is not None:
            return known
        self.make_state()
        return make_identity(self.state)

    # --- the trash --------------------------------------------------------------------------------

    def list_trash(self) -> Listing:
        """Return (key, seconds since 1970, bytes) of what is in the trash, the newest first."""
        return [(entry.name, entry.when, entry.size) for entry in self.trash.list()]

    def restore(self, name: str) -> str:
        """Bring a file back from the trash; return its key. See :meth:`Trash.restore`."""
        return self.trash.restore(name)

    # --- one file at a time -----------------------------------------------------------------------

    def write(self, key: str, data: bytes, expect: bytes | None = None) -> os.stat_result:
        """Store *data* in a file; see :meth:`Storage.write`. *expect* is a stamp."""
        with self._gathered() as gathering:
            info = gathering.write(key, data, expect)
        return info if self._gathering else self.files.regular(key) or info

    def move(self, key: str, new: str) -> os.stat_result:
        """Rename a file; see :meth:`Storage.move`."""
        with self._gathered() as gathering:
            info = gathering.move(key, new)
        return info if self._gathering else self.files.regular(new) or info

    def delete(self, key: str, expect: bytes | None = None) -> None:
        """Put a file into the trash; see :meth:`Storage.delete`."""
        with self._gathered() as gathering:
            gathering.delete(key, expect)

    @contextlib.contextmanager
    def begin(self) -> Iterator[None]:
        """Gather what is written, and publish it when the context is left without an exception."""
        with self._gathered():
            yield

    @contextlib.contextmanager
    def _gathered(self) -> Iterator[Gathering]:
        with self._lock:
            if self._gathering is not None:
                yield self._gathering
                return
            gathering = self._gathering = Gathering(self)
            try:
                yield gathering
            except BaseException:
                gathering.discard()
                raise
            finally:
                self._gathering = None
            gathering.finish()

    def close(self) -> None:
        """Do nothing: nothing is kept open."""


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Keep other processes from publishing at the same time, where the system can."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, 'O_CLOEXEC', 0), 0o600)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot lock
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
