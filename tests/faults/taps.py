"""Taps on everything a process does to files: somebody is told before and after each call.

:func:`tapped` puts wrappers around the functions of :mod:`os` (and ``open``, and the one call that
goes around :mod:`os`) and takes them off again. A listener gets a :class:`Call`; what it raises
before a call is raised in its place. So a test can let a disk be full, or let somebody edit
a note, at any moment there is.

:func:`faults_of` makes a listener of a text, for programs that run in processes of their own::

    ENOSPC@write:*/staged/*          every write to a file there fails
    EIO@read:*/a.txt#2               only the second one does
    EACCES@scandir:*/c/sub;EROFS@mkdir:*
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import fnmatch
import io
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pysyncml.storage import files

#: The functions that are tapped; beside them ``open`` of Python, and reading and writing.
NAMES = (
    *('open', 'stat', 'lstat', 'rename', 'replace', 'link', 'unlink', 'mkdir', 'rmdir'),
    *('listdir', 'fsync', 'utime', 'chmod', 'fstat'),
)


class Call(NamedTuple):
    """One call: the function, the path it is about, and whether it is ``over``."""

    name: str
    path: str
    over: bool
    other: str = ''  # where a file is moved to


Listener = Callable[[Call], None]


class _Taps:
    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.folders: dict[int, str] = {}
        self.busy = False
        self.thread = threading.get_ident()
        self.os_open = os.open

    def path(self, name: Any, folder: int | None = None) -> str:
        """Return the whole path that is meant by a name in an open folder, or by a descriptor."""
        if isinstance(name, int):
            return self.folders.get(name, '')
        text = os.fsdecode(name)
        if folder is not None and not os.path.isabs(text):
            text = os.path.join(self.folders.get(folder, ''), text)
        return os.path.normpath(os.path.abspath(text))

    def tell(self, name: str, path: str, over: bool, other: str = '') -> None:
        """Tell the listener, unless it is itself at work."""
        if self.busy or threading.get_ident() != self.thread:
            return
        self.busy = True
        try:
            self.listener(Call(name, path, over, other))
        finally:
            self.busy = False

    def wrap(self, name: str, function: Any) -> Any:
        """Return *function* of :mod:`os` with a tap on it."""

        def wrapped(*args: Any, **keywords: Any) -> Any:
            if self.busy:
                return function(*args, **keywords)
            folder = keywords.get('dir_fd', keywords.get('src_dir_fd'))
            path = self.path(args[0], folder)
            other = ''
            if name in ('rename', 'replace', 'link'):
                other = self.path(args[1], keywords.get('dst_dir_fd'))
            self.tell(name, path, False, other)
            result = function(*args, **keywords)
            if name == 'open':
                self.folders[result] = path
            self.tell(name, path, True, other)
            return result

        return wrapped

    def exclusive(self, rename: Any) -> Any:
        """Return the rename that writes over nothing with a tap on it."""

        def wrapped(old: Any, new: Any) -> None:
            paths = [self.path(spot.name, spot.fd) for spot in (old, new)]
            self.tell('rename', paths[0], False, paths[1])
            rename(old, new)
            self.tell('rename', paths[0], True, paths[1])

        return wrapped

    def fdopen(self, function: Any) -> Any:
        """Return ``os.fdopen`` whose files have taps on reading and writing."""

        def wrapped(fd: int, *args: Any, **keywords: Any) -> Any:
            return _File(function(fd, *args, **keywords), self, self.folders.get(fd, ''))

        return wrapped

    def descriptor(self, name: str, function: Any) -> Any:
        """Return ``os.read`` or ``os.write`` with a tap on it."""

        def wrapped(fd: int, what: Any) -> Any:
            path = self.folders.get(fd, '')
            self.tell(name, path, False)
            result = function(fd, what)
            self.tell(name, path, True)
            return result

        return wrapped

    def opens(self, function: Any) -> Any:
        """Return Python's ``open`` with a tap on it."""

        def wrapped(file: Any, *args: Any, **keywords: Any) -> Any:
            if self.busy or isinstance(file, int):
                return function(file, *args, **keywords)
            path = self.path(file)
            self.tell('open', path, False)
            result = function(file, *args, **keywords)
            self.tell('open', path, True)
            return result

        return wrapped

    def scandir(self, function: Any) -> Any:
        """Return ``os.scandir`` that lists a folder at once, with taps on what it finds."""

        @contextlib.contextmanager
        def found(path: Any) -> Iterator[Any]:
            where = self.path(path)
            with function(path) as entries:
                names = [_Entry(entry, self, os.path.join(where, entry.name)) for entry in entries]
            self.tell('scandir', where, True)
            yield iter(names)

        def wrapped(path: Any = '.') -> Any:
            if self.busy or isinstance(path, bytes):
                return function(path)
            self.tell('scandir', self.path(path), False)
            return found(path)

        return wrapped


class _Entry:
    """What a folder lists, with a tap on ``stat``."""

    def __init__(self, entry: Any, taps: _Taps, path: str) -> None:
        self._entry, self._taps, self._path = entry, taps, path

    def stat(self, **keywords: Any) -> os.stat_result:
        self._taps.tell('stat', self._path, False)
        # what is found now, as by a system that has not looked while listing
        return os.lstat(self._path) if not self._taps.busy else self._entry.stat(**keywords)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._entry, name)


class _File:
    """An open file, with taps on reading and writing."""

    def __init__(self, file: Any, taps: _Taps, path: str) -> None:
        self._file, self._taps, self._path = file, taps, path

    def read(self, *args: Any) -> Any:
        self._taps.tell('read', self._path, False)
        data = self._file.read(*args)
        self._taps.tell('read', self._path, True)
        return data

    def write(self, data: Any) -> Any:
        self._taps.tell('write', self._path, False)
        count = self._file.write(data)
        self._taps.tell('write', self._path, True)
        return count

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextlib.contextmanager
def tapped(listener: Listener, *, durable: bool = False) -> Iterator[None]:
    """Tell *listener* of all that this thread does to files inside the block.

    Nothing is really synced to the disk unless *durable*: that takes time, and changes nothing
    for somebody who looks at the files.
    """
    taps = _Taps(listener)
    before = {name: getattr(os, name) for name in NAMES}
    others = (os.fdopen, os.read, os.write, os.scandir, builtins.open, files._exclusive_rename)
    whole = files._sync_file_system
    rename = files._exclusive_rename()
    follow = os.supports_follow_symlinks
    try:
        for name, function in before.items():
            if name == 'fsync' and not durable:
                function = _no_sync
            setattr(os, name, taps.wrap(name, function))
        os.fdopen, os.scandir = taps.fdopen(os.fdopen), taps.scandir(os.scandir)
        os.read = taps.descriptor('read', os.read)
        os.write = taps.descriptor('write', os.write)
        builtins.open = taps.opens(io.open)
        if rename is not None:
            wrapped = taps.exclusive(rename)
            files._exclusive_rename = lambda: wrapped  # type: ignore[assignment]
        if not durable:
            files._sync_file_system = lambda path: True
        os.supports_follow_symlinks = {*follow, os.link, os.stat}
        yield
    finally:
        for name, function in before.items():
            setattr(os, name, function)
        (os.fdopen, os.read, os.write, os.scandir, builtins.open, files._exclusive_rename) = others
        files._sync_file_system = whole
        os.supports_follow_symlinks = follow


def _no_sync(_fd: int) -> None:
    return None


# --- faults ---------------------------------------------------------------------------------------


class Fault:
    """Lets calls of one function fail, for paths that match a pattern.

    Args:
        code: the errno.
        name: the function; ``*`` for all.
        pattern: what the path must match (:mod:`fnmatch`); either one of a rename may.
        only: the number of the one call that fails, counted from 1; ``None``: all do.
    """

    def __init__(self, code: int, name: str, pattern: str, only: int | None = None) -> None:
        self.code, self.name, self.pattern, self.only = code, name, pattern, only
        self.count = 0
        self.hits = 0

    def __call__(self, call: Call) -> None:
        if call.over or self.name not in ('*', call.name):
            return
        paths = [call.path, call.other] if call.other else [call.path]
        if not any(fnmatch.fnmatchcase(path, self.pattern) for path in paths):
            return
        self.count += 1
        if self.only in (None, self.count):
            self.hits += 1
            raise OSError(self.code, os.strerror(self.code), call.path)


def faults_of(text: str) -> list[Fault]:
    """Return the faults that *text* tells; see the top of this file."""
    found = []
    for part in text.split(';'):
        code, _, rest = part.strip().partition('@')
        name, _, pattern = rest.partition(':')
        pattern, _, number = pattern.partition('#')
        only = int(number) if number else None
        found.append(Fault(getattr(errno, code), name, pattern, only))
    return found


def all_of(listeners: list[Fault]) -> Listener:
    """Return one listener that tells all of *listeners*."""

    def listen(call: Call) -> None:
        for listener in listeners:
            listener(call)

    return listen
