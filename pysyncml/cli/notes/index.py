"""What is remembered of each note: the tables of sync-notes, and quick ways to ask them.

One row for each note: its *name*, which is what devices agree on; its *path*, which is where it
lies here (another one only while something else is in the way); what its content was, and by
what the file can be recognised as unchanged. Beside it, on a server, the text that was last seen,
so that an edit made in the directory can be told apart line by line.

Rows go through SQLAlchemy's Core and in bulk: there may be a hundred thousand.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    Index,
    LargeBinary,
    String,
    Table,
    bindparam,
    func,
    select,
)

from pysyncml.cli import delete_rows, insert_rows, select_rows, update_rows

_CHUNK = 500
_PLAIN, _WORTH_PACKING = b'\0', 4096  # bytes of a text


@dataclass(slots=True)
class NoteRow:
    """One note. ``stamp`` is empty when the file must be read to be known."""

    id: str
    name: str
    path: str
    sha256: str
    inode: int | None = None
    stamp: bytes = b''
    lastmod: float | None = None  # seconds since 1970
    extensions: dict[str, list[str]] | None = None
    stored: bool = False


def make_models(model: Any) -> None:
    """Add the tables of sync-notes to the engine's *model*."""
    table = model.notes = Table(
        'noteitem',
        model.metadata,
        Column('name', String, index=True),
        Column('path', String),
        Column('sha256', String(64)),
        Column('inode', BigInteger),
        Column('stamp', LargeBinary),
        Column('lastmod', Float),
        Column('extensions', JSON(none_as_null=True)),
        Column('id', String(32), primary_key=True),
    )
    # few lie elsewhere, and they are asked for with each message
    Index(
        'noteitem_misplaced',
        table.c.path,
        sqlite_where=table.c.path != table.c.name,
        info={'added': True},
    )
    # all that a scan asks of notes that have not changed, in the order of a walk
    Index('noteitem_path_stamp', table.c.path, table.c.stamp, info={'added': True})
    # the text of a note as it was last seen, see _packed()
    model.note_bases = Table(
        'notebase',
        model.metadata,
        Column('body', LargeBinary),
        Column('id', String(32), primary_key=True),
    )
    # the name of a note that is deleted, for peers that have not heard of it yet
    model.notes_gone = Table(
        'notegone',
        model.metadata,
        Column('name', String),
        Column('when', Float),
        Column('id', String(32), primary_key=True),
    )


class NoteIndex:
    """The rows of all notes, on one connection. Writes are gathered until :meth:`flush`."""

    def __init__(self, model: Any, connection: Any) -> None:
        self._table = model.notes
        self._bases = model.note_bases
        self._gone = model.notes_gone
        self._connection = connection
        self._rows: dict[str, NoteRow | None] = {}
        self._dirty: set[str] = set()
        self._removed: set[str] = set()
        self._new_bases: dict[str, bytes | None] = {}
        self._new_gone: dict[str, str] = {}
        self._new_names: dict[str, tuple[str, ...]] = {}
        # names that were asked for → the notes that go, or went, by them
        self._by_name: dict[str, dict[str, None]] = {}
        # contents that were asked for → the notes that have, or had, them
        self._by_content: dict[str, dict[str, None]] = {}

    # --- reading ------------------------------------------------------------------------------

    def stamps(self) -> Callable[[int], list[tuple[str, bytes | None]]]:
        """Return what gives, when asked, so many more rows: path and stamp of notes, by path.

        Straight from the driver, as what lies between takes longest; so the paths are as they are
        written: see :func:`decode`.
        """
        self.flush()
        cursor = self._connection.connection.cursor()
        cursor.execute('SELECT path, stamp FROM noteitem ORDER BY path')
        fetch: Callable[[int], list[tuple[str, bytes | None]]] = cursor.fetchmany
        return fetch

    def paths(self) -> list[str]:
        """Return the paths of all notes."""
        self.flush()
        return [
            decode(path) for path in self._connection.execute(select(self._table.c.path)).scalars()
        ]

    def doubles(self) -> list[str]:
        """Return the paths at which more than one note is said to lie."""
        self.flush()
        path = self._table.c.path
        query = select(path).group_by(path).having(func.count() > 1)
        return [decode(path) for path in self._connection.execute(query).scalars()]

    def count(self) -> int:
        """Return how many notes there are."""
        self.flush()
        query = select(func.count()).select_from(self._table)
        return int(self._connection.execute(query).scalar() or 0)

    def ids(self) -> list[str]:
        """Return the ids of all notes."""
        self.flush()
        return list(self._connection.execute(select(self._table.c.id)).scalars())

    def get(self, item_id: str) -> NoteRow | None:
        """Return the note with this id."""
        if item_id not in self._rows:
            self.prefetch([item_id])
        return self._rows[item_id]

    def says(self, item_id: str, path: str | None, stamp: bytes | None) -> bool:
        """Return whether the row of a note is at hand, and says of its file what is so."""
        row = self._rows.get(item_id)
        return row is not None and stamp is not None and (row.path, row.stamp) == (path, stamp)

    def prefetch(self, item_ids: Iterable[str]) -> None:
        """Load the notes with these ids at once."""
        wanted = [item_id for item_id in item_ids if item_id not in self._rows]
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            found = {row.id: row for row in self._among(self._table.c.id, chunk)}
            for item_id in chunk:
                self._rows.setdefault(item_id, found.get(item_id))

    def at(self, paths: Iterable[str]) -> list[NoteRow]:
        """Return the notes that lie at these paths."""
        self.flush()
        paths = [_encode(path) for path in paths]
        rows: list[NoteRow] = []
        for start in range(0, len(paths), _CHUNK):
            rows += self._among(self._table.c.path, paths[start : start + _CHUNK])
        return rows

    def named(self, name: str) -> list[NoteRow]:
        """Return the notes devices know by this name; more than one only while names clash."""
        if name not in self._by_name:
            self.prefetch_named([name])
        rows = map(self._rows.get, self._by_name[name])
        return [row for row in rows if row is not None and row.name == name]

    def prefetch_named(self, names: Iterable[str]) -> None:
        """Load the notes that devices know by these names at once."""
        wanted = [name for name in names if name not in self._by_name]
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            self._by_name.update((name, {}) for name in chunk)
            for row in self._among(self._table.c.name, [_encode(name) for name in chunk]):
                if row.name in self._by_name:  # it may go by another name since
                    self._by_name[row.name][row.id] = None
            for name in chunk:
                self._by_name[name].update(dict.fromkeys(self._new_names.get(name, ())))

    def with_content(self, sha256: str) -> list[NoteRow]:
        """Return the notes whose content has this digest."""
        if sha256 not in self._by_content:
            self.prefetch_contents([sha256])
        rows = map(self._rows.get, self._by_content[sha256])
        return [row for row in rows if row is not None and row.sha256 == sha256]

    def prefetch_contents(self, digests: Iterable[str]) -> None:
        """Load the notes whose contents have these digests at once: all rows are looked at."""
        wanted = [sha256 for sha256 in digests if sha256 not in self._by_content]
        self.flush()
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            self._by_content.update((sha256, {}) for sha256 in chunk)
            for row in self._among(self._table.c.sha256, chunk):
                if row.sha256 in self._by_content:  # it may have another one since
                    self._by_content[row.sha256][row.id] = None

    def misplaced(self) -> list[NoteRow]:
        """Return the notes that do not lie where their names say."""
        self.flush()
        return self._select(_misplaced(self._table), {})

    def _among(self, column: Any, keys: list[str]) -> list[NoteRow]:
        return self._select(_among(column), {'keys': keys})

    def _select(self, query: Any, values: dict[str, Any]) -> list[NoteRow]:
        rows = []
        for found in select_rows(self._connection, query, values):
            item_id, name, path, sha256, inode, stamp, lastmod, ext = found
            row = self._rows.get(item_id)
            if row is None and item_id not in self._removed:
                looks = sha256, inode, stamp or b''
                row = NoteRow(item_id, decode(name), decode(path), *looks, lastmod, ext, True)
                self._rows[item_id] = row
            if row is not None:
                rows.append(row)
        return rows

    def base(self, item_id: str) -> bytes | None:
        """Return the text of a note as it was last seen."""
        if item_id in self._new_bases:
            return self._new_bases[item_id]
        bases = self._bases
        query = select(bases.c.body).where(bases.c.id == item_id)
        packed = self._connection.execute(query).scalar()
        try:
            return None if packed is None else _unpacked(packed)
        except (zlib.error, TypeError):
            return None  # what cannot be read is not known

    # --- writing ------------------------------------------------------------------------------

    def put(self, row: NoteRow) -> None:
        """Remember a note."""
        self._rows[row.id] = row
        alike = self._new_names.get(row.name, ())
        if row.id not in alike:
            self._new_names[row.name] = (*alike, row.id)
        if row.name in self._by_name:
            self._by_name[row.name][row.id] = None
        if row.sha256 in self._by_content:
            self._by_content[row.sha256][row.id] = None
        self._dirty.add(row.id)
        self._removed.discard(row.id)

    def remove(self, item_id: str) -> None:
        """Forget a note."""
        row = self.get(item_id)
        self._rows[item_id] = None
        self._dirty.discard(item_id)
        self._new_bases[item_id] = None
        if row is not None:
            self._new_gone[item_id] = row.name
        if row is not None and row.stored:
            self._removed.add(item_id)

    def drop(self, item_id: str) -> None:
        """Take away a row that should not be there, without a trace."""
        self._rows[item_id] = None
        self._dirty.discard(item_id)
        self._removed.add(item_id)
        self._new_bases[item_id] = None

    def gone_name(self, item_id: str) -> str | None:
        """Return the name that a deleted note had."""
        if item_id in self._new_gone:
            return self._new_gone[item_id]
        query = select(self._gone.c.name).where(self._gone.c.id == item_id)
        name = self._connection.execute(query).scalar()
        return None if name is None else decode(name)

    def forget_gone(self, before: float) -> None:
        """Forget the names of notes deleted *before* a time, in seconds since 1970."""
        self._connection.execute(self._gone.delete().where(self._gone.c.when < before))

    def set_base(self, item_id: str, body: bytes | None) -> None:
        """Remember the text of a note; ``None`` forgets it."""
        self._new_bases[item_id] = body

    def flush(self) -> None:
        """Write what was gathered."""
        self._delete(self._table, self._removed)
        self._removed.clear()
        self._delete(self._gone, self._new_gone)
        now = time.time()
        rows_gone = [
            {'id': item_id, 'name': _encode(name), 'when': now}
            for item_id, name in self._new_gone.items()
        ]
        insert_rows(self._connection, self._gone, rows_gone)
        self._new_gone.clear()
        self._write_bases()
        self._new_names.clear()
        rows = [row for item_id in self._dirty if (row := self._rows[item_id]) is not None]
        self._dirty.clear()
        for start in range(0, len(rows), _CHUNK):
            self._write(rows[start : start + _CHUNK])

    def remember_places(self, places: Iterable[dict[str, Any]]) -> None:
        """Remember where files lie now, and what they look like: some columns of their rows.

        The rows themselves are not read for that; those that are at hand are not changed.
        """
        found: dict[str, dict[str, Any]] = {}
        for place in places:  # the last of a note counts
            found[place['id']] = {**found.get(place['id'], {}), **place}
        alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for place in found.values():
            if 'path' in place:
                place['path'] = _encode(place['path'])
            alike.setdefault(tuple(place), []).append(place)
        for rows in alike.values():
            update_rows(self._connection, self._table, ('id',), rows)

    def _write(self, rows: list[NoteRow]) -> None:
        fresh = [_values(row) for row in rows if not row.stored]
        stored = [_values(row) for row in rows if row.stored]
        insert_rows(self._connection, self._table, fresh)
        update_rows(self._connection, self._table, ('id',), stored)
        for row in rows:
            row.stored = True

    def _write_bases(self) -> None:
        self._delete(self._bases, [one for one in self._new_bases if not self._is_fresh(one)])
        rows = [
            {'id': item_id, 'body': _packed(body)}
            for item_id, body in self._new_bases.items()
            if body is not None
        ]
        insert_rows(self._connection, self._bases, rows)
        self._new_bases.clear()

    def _is_fresh(self, item_id: str) -> bool:
        row = self._rows.get(item_id)
        return row is not None and not row.stored

    def _delete(self, table: Any, item_ids: Iterable[str]) -> None:
        delete_rows(self._connection, table, [{'id': item_id} for item_id in item_ids])

    def __iter__(self) -> Iterator[NoteRow]:
        for item_id in self.ids():
            row = self.get(item_id)
            if row is not None:
                yield row


# Statements that are made once cost less each time they are used.


def _columns(table: Any) -> Any:
    names = ('id', 'name', 'path', 'sha256', 'inode', 'stamp', 'lastmod', 'extensions')
    return select(*(table.c[name] for name in names))


@lru_cache(maxsize=16)
def _among(column: Any) -> Any:
    return _columns(column.table).where(column.in_(bindparam('keys', expanding=True)))


@lru_cache(maxsize=16)
def _misplaced(table: Any) -> Any:
    return _columns(table).where(table.c.path != table.c.name)


# Texts of notes are packed by zlib, if that is worth it: with a small one it would take more time
# than all else that is done with its row. That one stands behind a NUL, as nothing packed does.


def _packed(text: bytes) -> bytes:
    return _PLAIN + text if len(text) < _WORTH_PACKING else zlib.compress(text, level=1)


def _unpacked(packed: bytes) -> bytes:
    return packed[len(_PLAIN) :] if packed.startswith(_PLAIN) else zlib.decompress(packed)


def _values(row: NoteRow) -> dict[str, Any]:
    return {
        'id': row.id,
        'name': _encode(row.name),
        'path': _encode(row.path),
        'sha256': row.sha256,
        'inode': row.inode,
        'stamp': row.stamp,
        'lastmod': row.lastmod,
        'extensions': row.extensions or None,
    }


# Names may hold bytes that are no UTF-8, as lone surrogates; a database takes text without. They
# are written as a NUL, which no name has, and two hexadecimal digits.


def _encode(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        return ''.join(
            f'\0{ord(char) - 0xDC00:02x}' if '\udc80' <= char <= '\udcff' else char for char in name
        )
    return name


def decode(name: str) -> str:
    """Return the name that is written as *name*."""
    if '\0' not in name:
        return name
    head, *parts = name.split('\0')
    return head + ''.join(chr(0xDC00 + int(part[:2], 16)) + part[2:] for part in parts)
