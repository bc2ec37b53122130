"""The few things a storage does to a file system, each as careful as the system allows.

Nothing here follows a symbolic link below its root, and nothing writes over a file that is there.
Where the system can, folders are opened one by one and everything is done relative to the open
folder, so that nobody can exchange a folder for a link at the wrong moment; elsewhere the folders
are looked at before.
"""

from __future__ import annotations

import contextlib
import errno
import operator
import os
import stat as kinds
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from math import inf
from time import monotonic
from typing import Any, NamedTuple

from pysyncml.errors import InvalidName
from pysyncml.storage.names import free_name

HAS_DIR_FD = {os.open, os.stat, os.rename, os.link, os.unlink, os.mkdir, os.rmdir} <= (
    os.supports_dir_fd
) and hasattr(os, 'O_NOFOLLOW')
"""Whether files can be reached relative to an open folder."""

_LISTS_OPEN_FOLDERS = HAS_DIR_FD and os.scandir in os.supports_fd

NO_ROOM = {errno.ENOSPC, getattr(errno, 'EDQUOT', errno.ENOSPC)}
"""What the system says where a disk, or a user's share of it, is full."""

FEW = 8
"""Up to so many files are synced one by one; more are with one call for the file system."""

_FLAGS = getattr(os, 'O_CLOEXEC', 0) | getattr(os, 'O_NOFOLLOW', 0) | getattr(os, 'O_BINARY', 0)
_FOLDER = os.O_RDONLY | _FLAGS | getattr(os, 'O_DIRECTORY', 0)
_NO_SUCH_CALL = {
    errno.ENOSYS,
    errno.EINVAL,
    errno.EPERM,
    errno.EMLINK,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
}
# gone meanwhile, or a folder that cannot be synced on this file system or by this user
_NOT_TO_SYNC = {errno.ENOENT, errno.ENOTDIR, errno.EINVAL, errno.EACCES, errno.ENOTSUP}
_NAME = operator.attrgetter('name')
_STAMP = struct.Struct('<4Q')
_parts_of_stamp = operator.attrgetter('st_size', 'st_mtime_ns', 'st_ctime_ns', 'st_ino')
_MASK = (1 << 64) - 1
_TICK_NS = 10 * 10**9
_NO_PARTS = {'', '.', '..'}
_TRIES = 100
_SOON = 0.02  # seconds for which a folder is believed to be where it was
_MOST_OPEN = 64  # folders that are held open at once


class Blocked(NotADirectoryError):
    """A folder is needed where there is something else; ``key`` says where."""

    def __init__(self, key: str) -> None:
        super().__init__(errno.ENOTDIR, 'there is a file where a folder is needed', key)
        self.key = key


class Spot(NamedTuple):
    """A name in an open folder; or a whole path where folders cannot be opened (``fd`` None)."""

    name: str
    fd: int | None


# --- what a file looked like -------------------------------------------------------------------


def stamp(stat: os.stat_result) -> bytes:
    """Return what *stat* tells of the state of a file, packed into 32 bytes.

    Size, time of modification, time of change (both in ns) and inode, as git's index keeps them:
    as long as the stamp of a file is the same, and was not racy, so is its content.
    """
    parts = _parts_of_stamp(stat)
    try:
        return _STAMP.pack(*parts)
    except struct.error:  # a time before 1970, perhaps
        return _STAMP.pack(*(part & _MASK for part in parts))


def unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    """Return whether the stamps of a file are the same."""
    return bool(_parts_of_stamp(before) == _parts_of_stamp(after))


def looks(stat: os.stat_result) -> tuple[int, int, int]:
    """Return (size, mtime in ns, inode): what stays when a file is only renamed."""
    return stat.st_size & _MASK, stat.st_mtime_ns & _MASK, stat.st_ino & _MASK


def inode_of(entry: os.DirEntry[str]) -> int:
    """Return the inode of a file as :func:`looks` has it, without looking at the file."""
    return entry.inode() & _MASK


def looks_of(packed: bytes) -> tuple[int, int, int]:
    """Return the same from a stamp.

    Raises:
        ValueError: *packed* is no stamp.
    """
    try:
        size, mtime, _, inode = _STAMP.unpack(packed)
    except struct.error:
        raise ValueError('this is not a stamp') from None
    return size, mtime, inode


def is_racy(packed: bytes, now_ns: int) -> bool:
    """Return whether the file that a stamp is of may yet change without its stamp changing.

    *now_ns* is the file system's clock, read before the file was looked at. A file last changed
    in that very tick, or later, could be changed again in the same tick: its content has to be
    looked at again next time (git's rule). A time of modification far in the future says nothing,
    and does not make a file racy for ever: the time of change cannot be set by anybody.
    """
    _, modified, changed, _ = _STAMP.unpack(packed)
    if os.name != 'nt' and changed >= now_ns:
        return True
    return bool(now_ns <= modified <= now_ns + _TICK_NS)


def was_written_at_last(packed: bytes) -> bool:
    """Return whether the file that a stamp is of was not changed in another way after that.

    One of ours that was written and put in its place within one tick looks like that: if somebody
    edits it in what is left of that tick, its stamp does not tell. (Windows has no time of change.)
    """
    _, modified, changed, _ = _STAMP.unpack(packed)
    return os.name != 'nt' and bool(modified >= changed)


# --- one file after another ----------------------------------------------------------------------


@cache
def _exclusive_rename() -> Callable[[Spot, Spot], None] | None:
    """Return the system's own way to rename without writing over anything; None if it has none."""
    if os.name == 'nt':
        return lambda old, new: os.rename(old.name, new.name)
    name, here, flag = ('renameat2', -100, 1)
    if sys.platform == 'darwin':
        name, here, flag = ('renameatx_np', -2, 4)
    try:
        import ctypes  # costs time, and is needed only for this

        library = ctypes.CDLL(None, use_errno=True)
        call: Any = getattr(library, name)
    except (ImportError, OSError, AttributeError):
        return None

    def rename(old: Spot, new: Spot) -> None:
        folders = [here if spot.fd is None else spot.fd for spot in (old, new)]
        if call(folders[0], os.fsencode(old.name), folders[1], os.fsencode(new.name), flag):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), new.name)

    return rename


def place_new(old: Spot, new: Spot) -> None:
    """Move a file to a place where nothing is yet.

    Raises:
        FileExistsError: something is there; nothing was done.
        OSError: it cannot be done.
    """
    rename = _exclusive_rename()
    if rename is not None:
        try:
            return rename(old, new)
        except OSError as error:
            if error.errno not in _NO_SUCH_CALL:
                raise
    return _link_new(old, new)


def _link_new(old: Spot, new: Spot) -> None:
    follow = {} if os.link not in os.supports_follow_symlinks else {'follow_symlinks': False}
    try:
        os.link(old.name, new.name, src_dir_fd=old.fd, dst_dir_fd=new.fd, **follow)
    except FileExistsError:
        # a network file system may say so of a link it has just made
        if not same_file(lstat_at(old), lstat_at(new)):
            raise
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_SUCH_CALL:
            raise
        # no hard links here (or it is a folder): all that is left is to look first
        if lstat_at(new) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new.name) from None
        os.rename(old.name, new.name, src_dir_fd=old.fd, dst_dir_fd=new.fd)
        return
    os.unlink(old.name, dir_fd=old.fd)


def same_file(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    """Return whether both are there, and are one file."""
    return one is not None and other is not None and os.path.samestat(one, other)


def lstat_at(spot: Spot) -> os.stat_result | None:
    """Return what is in *spot*, not following a link; ``None`` if nothing is."""
    try:
        return os.stat(spot.name, dir_fd=spot.fd, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def regular_at(spot: Spot) -> os.stat_result | None:
    """Return the file in *spot*; ``None`` if there is none that could be a note of ours."""
    return _if_regular(lstat_at(spot))


def _if_regular(stat: os.stat_result | None) -> os.stat_result | None:
    return stat if stat is not None and kinds.S_ISREG(stat.st_mode) else None


def remove(spot: Spot) -> None:
    """Remove the file in *spot*; it is no error if there is none."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(spot.name, dir_fd=spot.fd)


# --- a tree of files ------------------------------------------------------------------------------


class Tree:
    """The files below *root*, by key: a relative path with ``/`` between its parts."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._below = os.path.join(root, '')

    def path(self, key: str) -> str:
        """Return the path of *key* in the file system. Only for messages and whole folders."""
        if not key:
            return self.root
        return self._below + (key if os.sep == '/' else key.replace('/', os.sep))

    def own(self, key: str) -> Spot:
        """Return the spot of *key* without looking at its folders: for those only we write to."""
        return Spot(self.path(key), None)

    def at(self, key: str, *, create: bool = False) -> contextlib.AbstractContextManager[Spot]:
        """Open the folder of *key*; with *create*, make it if need be.

        Raises:
            FileNotFoundError: the folder is not there.
            Blocked: there is a file where one of the folders should be.
            InvalidName: one of the folders is a symbolic link, or *key* is no key.
        """
        return self._opened(key, create)

    @contextlib.contextmanager
    def _opened(self, key: str, create: bool) -> Iterator[Spot]:
        *folders, name = parts_of(key)
        if not HAS_DIR_FD:
            yield Spot(os.path.join(self._look(folders, create=create), name), None)
            return
        fd = self._reach(folders, create=create)
        try:
            yield Spot(name, fd)
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def listed(self, key: str) -> Iterator[list[os.DirEntry[str]]]:
        """List a folder by name; inside the block the entries can be asked for more.

        Raises:
            FileNotFoundError, Blocked, InvalidName: see :meth:`at`.
        """
        folders = parts_of(key) if key else []
        if not _LISTS_OPEN_FOLDERS:
            with os.scandir(self._look(folders, create=False)) as found:
                entries = sorted(found, key=_NAME)
            yield entries
            return
        # files are then looked at relative to the folder, which takes less than by a whole path
        fd = self._reach(folders, create=False)
        try:
            with os.scandir(fd) as found:
                entries = sorted(found, key=_NAME)
            yield entries
        finally:
            os.close(fd)

    def _top(self) -> int:
        """Open the root, which may be a link: it is the user who has named it."""
        return os.open(self.root, _FOLDER & ~getattr(os, 'O_NOFOLLOW', 0))

    def _reach(self, folders: list[str], *, create: bool) -> int:
        fd = self._top()
        for depth, folder in enumerate(folders, 1):
            try:
                below = _enter(fd, folder, '/'.join(folders[:depth]), create=create)
            finally:
                os.close(fd)
            fd = below
        return fd

    @contextlib.contextmanager
    def held(self) -> Iterator[Held]:
        """Give the same tree for many files, its folders staying open for as long as the block."""
        held = self.hold()
        try:
            yield held
        finally:
            held.let_go()

    def hold(self) -> Held:
        """Return the same tree; who asks for it has to have it let go of its folders."""
        return Held(self.root)

    def _look(self, folders: list[str], *, create: bool) -> str:
        path = self.root
        for depth, folder in enumerate(folders, 1):
            path = os.path.join(path, folder)
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(path)
            _check_folder(os.lstat(path), '/'.join(folders[:depth]))
        return path

    def lstat(self, key: str) -> os.stat_result | None:
        """Return what is at *key*, not following a link; ``None`` if nothing can be there."""
        try:
            with self.at(key) as spot:
                return lstat_at(spot)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def regular(self, key: str) -> os.stat_result | None:
        """Return the file at *key*; ``None`` if there is none that could be a note of ours."""
        try:
            return _if_regular(self.lstat(key))
        except InvalidName:
            return None  # behind a link: not in this tree any more

    def exists(self, key: str) -> bool:
        """Return whether anything is at *key*; a link counts, wherever it leads."""
        return self.lstat(key) is not None

    def place(
        self,
        old: Spot,
        key: str,
        announce: Callable[[str], None] | None = None,
        clear: Callable[[str], bool] | None = None,
    ) -> str:
        """Move the file in *old* to *key*, or to a free name near it; return where it went.

        *announce* is told of each other name before it is tried. *clear* may make room where
        something is, and tells whether it has.
        """
        for _ in range(_TRIES):
            try:
                with self.at(key, create=True) as spot:
                    place_new(old, spot)
                return key
            except FileExistsError:
                if same_file(lstat_at(old), self.lstat(key)):
                    remove(old)  # it was linked there, and we broke off before unlinking it
                    return key
                if clear is not None and clear(key):
                    continue
                key = free_name(key, self.exists)
            except Blocked as blocked:
                rest = key[len(blocked.key) :]
                key = free_name(blocked.key, self._no_folder) + rest
            if announce is not None:
                announce(key)
        raise FileExistsError(errno.EEXIST, 'no free name is to be had', key)

    def _no_folder(self, key: str) -> bool:
        stat = self.lstat(key)
        return stat is not None and not kinds.S_ISDIR(stat.st_mode)

    def prune(self, folder: str, keep: str = '') -> None:
        """Remove *folder* if it is empty, then the folder it was in, and so on, up to *keep*."""
        while folder and folder != keep:
            try:
                with self.at(folder) as spot:
                    os.rmdir(spot.name, dir_fd=spot.fd)
            except FileNotFoundError:
                pass  # removed before
            except (OSError, InvalidName):
                return
            folder = parent_of(folder)


class Held(Tree):
    """A tree whose folders stay open, so that many files of one folder cost one opening.

    Whether an open folder is still the one that goes by its name is looked at again when it is
    used after :data:`_SOON`: a folder that was moved away, or exchanged for a link, is noticed
    then, as if it were opened. Until then files come from it, and go into it, where it is now.
    """

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._open: dict[str, tuple[int, int, int]] = {}  # folder → descriptor, device, inode
        self._looked_at: dict[str, float] = {}  # folder → when
        self._last = ''  # the folder that was asked for last

    def at(self, key: str, *, create: bool = False) -> contextlib.AbstractContextManager[Spot]:
        """Do the same as :meth:`Tree.at`."""
        return contextlib.nullcontext(self.spot(key, create=create))

    def lstat(self, key: str) -> os.stat_result | None:
        """Do the same as :meth:`Tree.lstat`."""
        try:
            return lstat_at(self.spot(key))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def spot(self, key: str, *, create: bool = False) -> Spot:
        """Return the spot of *key*, to be used before more than one other folder is asked for.

        Raises:
            FileNotFoundError, Blocked, InvalidName: see :meth:`Tree.at`.
        """
        folder, _, name = key.rpartition('/')
        held, looked_at = self._open.get(folder), self._looked_at.get(folder, -inf)
        is_name = name not in _NO_PARTS and '\0' not in name
        if held is not None and is_name and monotonic() - looked_at < _SOON:
            self._last = folder
            return Spot(name, held[0])
        *folders, name = parts_of(key)
        if not HAS_DIR_FD:
            return Spot(os.path.join(self._look(folders, create=create), name), None)
        fd = self._folder(folders, create=create)
        self._looked_at[folder], self._last = monotonic(), folder
        return Spot(name, fd)

    def look_anew(self) -> None:
        """Look at all folders again when they are used next."""
        self._looked_at.clear()

    def own(self, key: str) -> Spot:
        """Do the same as :meth:`Tree.own`."""
        folder, _, name = key.rpartition('/')
        if not HAS_DIR_FD:
            return super().own(key)
        held = self._open.get(folder) or self._hold(folder, os.open(self.path(folder), _FOLDER))
        return Spot(name, held[0])

    def _folder(self, folders: list[str], *, create: bool) -> int:
        held = self._open.get('')
        if held is None:
            held = self._hold('', self._top())
        fd, path = held[0], ''
        for folder in folders:
            path = f'{path}/{folder}' if path else folder
            held = self._open.get(path)
            if held is None or not self._is_still(fd, folder, held):
                self._forget(path)
                held = self._hold(path, _enter(fd, folder, path, create=create))
            fd = held[0]
        return fd

    def _is_still(self, fd: int, folder: str, held: tuple[int, int, int]) -> bool:
        """Return whether *folder* in the open folder *fd* is the one that is *held* open."""
        try:
            stat = os.stat(folder, dir_fd=fd, follow_symlinks=False)
        except OSError:
            return False  # opening it will say why
        return (stat.st_dev, stat.st_ino) == held[1:]

    def prune(self, folder: str, keep: str = '') -> None:
        """Do the same as :meth:`Tree.prune`."""
        self.look_anew()
        super().prune(folder, keep)
        self.look_anew()

    def _hold(self, path: str, fd: int) -> tuple[int, int, int]:
        if len(self._open) >= _MOST_OPEN:
            above = f'{path}/'
            kept = {'', self._last, *(one for one in self._open if above.startswith(f'{one}/'))}
            for other in self._open.keys() - kept:
                os.close(self._open.pop(other)[0])
        stat = os.fstat(fd)
        self._open[path] = fd, stat.st_dev, stat.st_ino
        return self._open[path]

    def _forget(self, path: str) -> None:
        held = self._open.pop(path, None)
        if held is not None:
            os.close(held[0])
            for below in [one for one in self._open if one.startswith(f'{path}/')]:
                os.close(self._open.pop(below)[0])

    def let_go(self) -> None:
        """Close all folders."""
        for fd, _, _ in self._open.values():
            os.close(fd)
        self._open.clear()


def parts_of(key: str) -> list[str]:
    """Return the parts of *key*.

    Raises:
        InvalidName: it does not stay below the root.
    """
    parts = key.split('/')
    if '\0' in key or not _NO_PARTS.isdisjoint(parts):
        raise InvalidName(f'{key!a} is not a name within the directory')
    return parts


def parent_of(key: str) -> str:
    """Return the folder of *key*; an empty text for the root."""
    return key.rpartition('/')[0]


def _enter(fd: int, folder: str, key: str, *, create: bool) -> int:
    try:
        return os.open(folder, _FOLDER, dir_fd=fd)
    except FileNotFoundError:
        if not create:
            raise
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            _check_folder(os.stat(folder, dir_fd=fd, follow_symlinks=False), key)
        raise
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, dir_fd=fd)
    return _enter(fd, folder, key, create=False)


def _check_folder(stat: os.stat_result, key: str) -> None:
    if kinds.S_ISLNK(stat.st_mode):
        raise InvalidName(f'"{key}" is a symbolic link: nothing is read or written behind it')
    if not kinds.S_ISDIR(stat.st_mode):
        raise Blocked(key)


def open_file(spot: Spot) -> int:
    """Open the regular file in *spot* for reading; never wait for a pipe, never follow a link."""
    return os.open(spot.name, os.O_RDONLY | _FLAGS | getattr(os, 'O_NONBLOCK', 0), dir_fd=spot.fd)


def write_all(write: Callable[[Any], int | None], data: bytes) -> None:
    """Give all of *data* to *write*, that of an unbuffered file, which may take less at a time."""
    written = write(data) or 0
    while written < len(data):
        written += write(memoryview(data)[written:]) or 0


# --- making it last -----------------------------------------------------------------------------


def sync(paths: Iterable[str], *, whole: str) -> None:
    """Make files and folders outlast a power failure.

    More than :data:`FEW` are synced with one call for the file system of the folder *whole*,
    where the system has such a call.
    """
    wanted = list(dict.fromkeys(paths))
    if len(wanted) > FEW and _sync_file_system(whole):
        return
    for path in wanted:
        try:
            _sync_one(path)
        except OSError as error:
            if error.errno not in _NOT_TO_SYNC:
                raise


def _sync_one(path: str) -> None:
    if os.name == 'nt':
        if os.path.isdir(path):
            return  # folders cannot be opened there, and need not be
        fd = os.open(path, os.O_RDWR)
    else:
        fd = os.open(path, os.O_RDONLY | getattr(os, 'O_CLOEXEC', 0))
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_file_system(path: str) -> bool:
    try:
        import ctypes  # costs time, and is needed only here

        call: Any = ctypes.CDLL(None, use_errno=True).syncfs
    except (ImportError, OSError, AttributeError):
        return False
    fd = os.open(path, os.O_RDONLY)
    try:
        return bool(call(fd) == 0)
    finally:
        os.close(fd)
