"""A damaged SQLite database: recognised, looked through, set aside, and read as far as it goes.

A database is set aside together with its write-ahead log, and never touched again; what can
be read in it is read in a copy. Nothing in here knows what the rows mean.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from pysyncml.errors import StateDamaged

#: SQLITE_CORRUPT and SQLITE_NOTADB.
_CODES = {11, 26}
#: What comes of it when the pages are whole, and what stands in them is not.
_LINES = ('could not decode to utf-8', 'malformed', 'no such table: pysyncml')
_HEADER = b'SQLite format 3\0'
_BESIDE = ('-wal', '-shm')  # moved before the database: a new one must not find the old log
_MOST = 20  # problems that are told

_MARK = '.suspect'


def is_damage(error: BaseException) -> bool:
    """Whether *error* says that a database is damaged."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    code = getattr(error, 'sqlite_errorcode', 0) & 0xFF
    text = str(error).lower()
    return code in _CODES or any(line in text for line in _LINES)


def damaged(error: BaseException) -> StateDamaged:
    """Return the error that says that the state database is damaged."""
    return StateDamaged(f'the state database is damaged ({error})')


# --- looking ------------------------------------------------------------------------------------


def glance(path: str) -> str | None:
    """Return what is wrong with the database at *path*, as far as that is seen from outside."""
    if os.path.exists(path + _MARK):
        return 'an earlier run found it damaged'
    try:
        with open(path, 'rb') as file:
            start = file.read(len(_HEADER))
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        return 'there is a folder in its place'
    except OSError:
        return 'there is a folder in its place' if os.path.isdir(path) else None
    return None if start in (_HEADER, b'') else 'it is no database'


def examine(path: str, *, orphans: bool = True) -> list[str]:
    """Look through the whole database at *path*; return what is wrong with it, one line each.

    *orphans*: whether rows that belong to no row count.
    """
    reason = glance(path)
    if reason is not None:
        return [reason]
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection:
            return look_through(connection, orphans=orphans)
    except sqlite3.Error as error:
        return [str(error)] if is_damage(error) else []


def look_through(connection: sqlite3.Connection, *, orphans: bool = True) -> list[str]:
    """Return what SQLite finds wrong, and the columns that hold what they never should."""
    try:
        rows = connection.execute(f'PRAGMA integrity_check({_MOST})').fetchall()
        found = [line for row in rows for line in str(row[0]).splitlines() if line != 'ok']
        rows = connection.execute('PRAGMA foreign_key_check').fetchmany(_MOST) if orphans else []
        found += [f'a row of {row[0]} belongs to no row of {row[2]}' for row in rows]
        if not found:
            found += _odd_columns(connection)
    except sqlite3.Error as error:
        return [str(error)]
    return found[:_MOST]


#: Kind of a column, by what it was declared as → what SQLite may have in it.
_KINDS = {
    'INTEGER': ('integer',),
    'BIGINT': ('integer',),
    'BOOLEAN': ('integer',),
    'FLOAT': ('real', 'integer'),
    'TEXT': ('text',),
    'VARCHAR': ('text',),
    'JSON': ('text', 'integer', 'real'),  # numbers are stored as such
    'BLOB': ('blob',),
}


def _odd_columns(connection: sqlite3.Connection) -> Iterator[str]:
    for table, column, kind in _columns(connection):
        kinds = ', '.join(f"'{name}'" for name in ('null', *_KINDS[kind]))
        wrong = f'typeof("{column}") not in ({kinds})'
        if kind == 'JSON':
            wrong += f' or ("{column}" is not null and not json_valid("{column}"))'
        line = f'select count(*) from "{table}" where {wrong}'
        [[count]] = connection.execute(line).fetchall()
        if count:
            yield f'{count} rows of {table} have something odd as "{column}"'
        if _KINDS[kind] == ('text',):
            yield from _undecodable(connection, table, column)


def _columns(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    names = [row[0] for row in connection.execute(
        "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'"
    )]  # fmt: skip
    return [
        (name, row[1], kind)
        for name in names
        for row in connection.execute(f'PRAGMA table_info("{name}")')
        if (kind := str(row[2]).upper().partition('(')[0]) in _KINDS
    ]


def _undecodable(connection: sqlite3.Connection, table: str, column: str) -> Iterator[str]:
    try:
        for _ in connection.execute(f'select "{column}" from "{table}"'):
            continue
    except sqlite3.OperationalError as error:
        if not is_damage(error):
            raise
        yield f'rows of {table} have no text as "{column}"'


# --- what one run tells the next ----------------------------------------------------------------


def suspect(path: str) -> None:
    """Have the next run set the database at *path* aside."""
    with contextlib.suppress(OSError), open(path + _MARK, 'wb'):
        pass


# --- setting aside ------------------------------------------------------------------------------


def set_aside(path: str) -> str:
    """Move the database at *path* out of the way, with all that belongs to it.

    Done again after it was broken off, it does the rest. Returns the new path.
    """
    target = _free(path)
    for end in (*_BESIDE, ''):
        with contextlib.suppress(FileNotFoundError):
            os.rename(path + end, target + end)
    sync_folder(os.path.dirname(path))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path + _MARK)
    return target


def _free(path: str) -> str:
    for number in itertools.count(1):
        target = f'{path}.damaged-{number}'
        if not any(os.path.lexists(target + end) for end in ('', *_BESIDE)):
            return target
    raise AssertionError


def sync_folder(folder: str) -> None:
    """Make last what has been renamed in *folder*."""
    if os.name != 'posix':
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# --- reading what can be read -------------------------------------------------------------------


@contextlib.contextmanager
def remains(path: str) -> Iterator[Remains]:
    """Yield what can be read of the damaged database at *path*; it is read in a copy."""
    folder = tempfile.mkdtemp(prefix='reading-', dir=os.path.dirname(path))
    copy = os.path.join(folder, 'state.db')
    try:
        for end in ('', '-wal'):
            with contextlib.suppress(OSError):
                shutil.copyfile(path + end, copy + end)
        yield Remains(copy)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Remains:
    """Rows of a damaged database, as far as they can be read."""

    def __init__(self, path: str) -> None:
        self._path = path
        #: Whether something could not be read.
        self.torn = False

    def rows(self, table: str, columns: Iterable[str]) -> list[dict[str, Any]]:
        """Return what can be read of *table*: forwards, and from the end where that stops."""
        names = list(columns)
        listed = ', '.join(f'"{name}"' for name in names)
        found: dict[tuple[Any, ...], None] = {}
        for order in ('', ' order by rowid desc'):
            try:
                with contextlib.closing(sqlite3.connect(self._path)) as connection:
                    connection.text_factory = _lenient
                    for row in connection.execute(f'select {listed} from "{table}"{order}'):
                        found[row] = None
                    break
            except sqlite3.Error:
                self.torn = True
        return [dict(zip(names, row, strict=True)) for row in found]


def _lenient(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


__all__ = [
    'Remains',
    'damaged',
    'examine',
    'glance',
    'is_damage',
    'look_through',
    'remains',
    'set_aside',
    'suspect',
    'sync_folder',
]
