"""A layer between SQLite and its files, made of the functions SQLite itself exports.

:func:`watch` registers a copy of the default VFS as the new default. Its ``xOpen`` calls the real
one and then points the file to a copy of its methods in which ``xWrite``, ``xTruncate`` and
``xSync`` report to a watcher before they do what they always did; ``xDelete`` does the same. So
every byte that goes to a database, its write-ahead log or its rollback journal is seen, of every
connection of this process, whoever opens it. https://sqlite.org/vfs.html, sqlite3.h
"""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_void_p
from typing import Any

FULL = 13  # SQLITE_FULL
_CREATE = 0x4
_MAIN_JOURNAL, _SUPER_JOURNAL, _WAL = 0x800, 0x4000, 0x80000
_METHODS = 18  # functions of sqlite3_io_methods in its version 3

_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
_Delete = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)


class _Vfs(ctypes.Structure):
    _fields_ = [
        ('iVersion', c_int),
        ('szOsFile', c_int),
        ('mxPathname', c_int),
        ('pNext', c_void_p),
        ('zName', c_char_p),
        ('pAppData', c_void_p),
        ('xOpen', c_void_p),
        ('xDelete', c_void_p),
        # xAccess to xGetLastError; xCurrentTimeInt64; xSetSystemCall to xNextSystemCall
        ('rest', c_void_p * 12),
    ]


class _Methods(ctypes.Structure):
    _fields_ = [('iVersion', c_int), ('functions', c_void_p * _METHODS)]


_WRITE, _TRUNCATE, _SYNC = 2, 3, 4  # places in ``functions``
_COUNTS = {1: 12, 2: 16, 3: 18}
_kept: list[Any] = []  # what SQLite has pointers to


def library() -> Any:
    """Return the SQLite that the module ``sqlite3`` uses.

    Raises:
        LookupError: its functions cannot be reached in this build of Python.
    """
    import _sqlite3

    if not hasattr(_sqlite3, '__file__'):
        raise LookupError('SQLite is built into this Python')
    lib = ctypes.CDLL(_sqlite3.__file__)
    if not hasattr(lib, 'sqlite3_vfs_find'):
        raise LookupError('this Python hides the functions of SQLite')
    lib.sqlite3_vfs_find.restype = POINTER(_Vfs)
    lib.sqlite3_vfs_find.argtypes = [c_char_p]
    lib.sqlite3_vfs_register.argtypes = [c_void_p, c_int]
    return lib


def watch(watcher: Any) -> None:
    """Report to *watcher* what SQLite does to files from now on.

    It is called as ``opened(number, path, created, lasting)`` after a file was opened (*lasting*:
    the first sync also syncs its folder, as SQLite does for new logs); ``write(number, offset,
    data, do)``, ``truncate(number, size, do)``, ``sync(number, do)`` and ``delete(path, do)``,
    which return what the function of SQLite is to return; *do* does it (of a write, as many bytes
    as it is told).
    """
    lib = library()
    real = lib.sqlite3_vfs_find(None).contents
    copy = _Vfs()
    size = ctypes.sizeof(_Vfs)
    ctypes.memmove(ctypes.byref(copy), ctypes.byref(real), size)
    real_open, real_delete = _Open(real.xOpen), _Delete(real.xDelete)
    files = _Files(watcher)

    @_Open
    def xOpen(vfs: int, name: int, file: int, flags: int, out: Any) -> int:
        path = ctypes.string_at(name) if name else b''
        new = bool(path) and not os.path.lexists(path)
        code = int(real_open(vfs, name, file, flags, out))
        if code == 0 and path:
            lasting = bool(flags & _CREATE and flags & (_MAIN_JOURNAL | _SUPER_JOURNAL | _WAL))
            files.took(file, os.fsdecode(path), new, lasting)
        return code

    @_Delete
    def xDelete(vfs: int, name: bytes, sync_folder: int) -> int:
        return int(watcher.delete(os.fsdecode(name), lambda: real_delete(vfs, name, sync_folder)))

    copy.zName = b'watched'
    copy.xOpen = ctypes.cast(xOpen, c_void_p)
    copy.xDelete = ctypes.cast(xDelete, c_void_p)
    _kept.extend([copy, xOpen, xDelete, real_open, real_delete, files])
    if lib.sqlite3_vfs_register(ctypes.byref(copy), 1):
        raise LookupError('SQLite does not take another VFS')


class _Files:
    """The files that are open: by the address of SQLite's own structure."""

    def __init__(self, watcher: Any) -> None:
        self._watcher = watcher
        self._numbers = itertools.count()
        self._open: dict[int, int] = {}
        self._methods: dict[int, _Methods] = {}

    def took(self, file: int, path: str, new: bool, lasting: bool) -> None:
        number = self._open[file] = next(self._numbers)
        place = ctypes.cast(file, POINTER(c_void_p))
        original = place[0]
        if original not in self._methods:
            self._methods[original] = self._watched(original)
        place[0] = ctypes.addressof(self._methods[original])
        self._watcher.opened(number, path, new, lasting)

    def _watched(self, original: int) -> _Methods:
        version = ctypes.cast(original, POINTER(c_int))[0]
        methods = _Methods()
        count = _COUNTS[min(version, 3)]
        ctypes.memmove(ctypes.byref(methods), original, 8 + 8 * count)
        write = _Write(methods.functions[_WRITE])
        truncate = _Truncate(methods.functions[_TRUNCATE])
        sync = _Sync(methods.functions[_SYNC])
        watcher, numbers = self._watcher, self._open

        @_Write
        def xWrite(file: int, data: int, amount: int, offset: int) -> int:
            def do(size: int = amount) -> int:
                return int(write(file, data, size, offset))

            body = ctypes.string_at(data, amount)
            return int(watcher.write(numbers[file], offset, body, do))

        @_Truncate
        def xTruncate(file: int, size: int) -> int:
            return int(watcher.truncate(numbers[file], size, lambda: truncate(file, size)))

        @_Sync
        def xSync(file: int, flags: int) -> int:
            return int(watcher.sync(numbers[file], lambda: sync(file, flags)))

        for index, function in ((_WRITE, xWrite), (_TRUNCATE, xTruncate), (_SYNC, xSync)):
            methods.functions[index] = ctypes.cast(function, c_void_p)
        _kept.extend([methods, write, truncate, sync, xWrite, xTruncate, xSync])
        return methods


Do = Callable[..., int]
