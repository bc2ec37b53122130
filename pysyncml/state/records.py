"""Rows as plain records: devices, datastores, bindings and sessions."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    Table,
    Update,
    bindparam,
    func,
    select,
)

from pysyncml.errors import StateDamaged
from pysyncml.state.tables import Tables


@dataclass(kw_only=True)
class Record:
    """A row of the table named ``TABLE``; ``id`` is ``None`` until it has been saved."""

    TABLE: ClassVar[str] = ''
    id: int | None = None


@dataclass(kw_only=True)
class DeviceRecord(Record):
    """Ourselves (role ``''``), a server of ours, or a client of ours."""

    TABLE = 'device'
    owner: int | None = None
    role: str = ''
    dev_id: str = ''
    name: str | None = None
    url: str | None = None
    auth: str | None = None
    username: str | None = None
    policy: int | None = None
    devinf: dict[str, Any] | None = None
    stores: list[dict[str, Any]] | None = None
    told: str | None = None
    sessions: int = 0
    created: float | None = None
    last_sync: float | None = None
    max_msg_size: int | None = None  # bytes
    max_obj_size: int | None = None  # bytes
    max_guid_size: int | None = None  # bytes
    encoding: str | None = None
    version: str | None = None
    our_nonce: str | None = field(default=None, repr=False)  # base64
    peer_nonce: str | None = field(default=None, repr=False)  # base64


@dataclass(kw_only=True)
class StoreRecord(Record):
    """A datastore of a device."""

    TABLE = 'datastore'
    device_id: int = 0
    uri: str = ''
    display_name: str | None = None
    content_types: list[dict[str, Any]] | None = None
    sync_types: list[int] | None = None
    max_guid_size: int | None = None
    max_obj_size: int | None = None
    policy: int | None = None


@dataclass(kw_only=True)
class BindingRecord(Record):
    """One of our datastores paired with one of a peer's."""

    TABLE = 'binding'
    store_id: int = 0
    peer_store_id: int = 0
    our_anchor: str | None = None
    peer_anchor: str | None = None
    cursor: int = 0
    last_sync: float | None = None
    suspended: dict[str, Any] | None = None
    anchors: list[Any] | None = None
    overtaken: bool | None = None


@dataclass(kw_only=True)
class SessionRecord(Record):
    """A conversation between two messages, and the answer given last."""

    TABLE = 'session'
    device_id: int = 0
    session_id: str = ''
    state: dict[str, Any] = field(default_factory=dict, repr=False)
    request: str | None = None
    answer: bytes | None = field(default=None, repr=False)
    content_type: str | None = None
    updated: float = 0.0


R = TypeVar('R', bound=Record)


class Records:
    """Loads and saves records on one connection."""

    def __init__(self, connection: Connection, tables: Tables) -> None:
        self._connection = connection
        self._tables = tables

    def find(self, kind: type[R], **where: Any) -> list[R]:
        """Return all records of *kind* whose columns equal *where*, oldest first."""
        asked = tuple((name, value is None) for name, value in where.items())
        query = _selection(self._table(kind), tuple(f.name for f in fields(kind)), asked)
        values = {f'b_{name}': value for name, value in where.items() if value is not None}
        rows = [row._mapping for row in self._connection.execute(query, values)]
        numbers = _numbers(self._table(kind), tuple(f.name for f in fields(kind)))
        for row in rows:
            # SQLite keeps anything in any column, and compares it with numbers without a word
            odd = [name for name in numbers if not isinstance(row[name], int | None)]
            if odd:
                raise StateDamaged(f'the state database is damaged ({odd[0]} is no number)')
        return [kind(**row) for row in rows]

    def first(self, kind: type[R], **where: Any) -> R | None:
        """Return the oldest record of *kind* whose columns equal *where*, if there is one."""
        return next(iter(self.find(kind, **where)), None)

    def count_devices(self, since: float | None = None, **where: Any) -> int:
        """Return how many devices there are whose columns equal *where*.

        With *since* only those that were met after that (seconds since 1970).
        """
        table = self._tables.device
        asked = _asked(table, where)
        if since is not None:
            asked.append(table.c.created > since)
        query = select(func.count()).select_from(table).where(*asked)
        return int(self._connection.execute(query).scalar_one())

    def last_sync(self, **where: Any) -> float | None:
        """Return when the last device synchronised whose columns equal *where*.

        In seconds since 1970; ``None`` if none has.
        """
        table = self._tables.device
        query = select(func.max(table.c.last_sync)).where(*_asked(table, where))
        found = self._connection.execute(query).scalar()
        return None if found is None else float(found)

    def save(self, record: R) -> R:
        """Insert or update *record*; return it with its id."""
        table = self._table(type(record))
        values = {f.name: getattr(record, f.name) for f in fields(record) if f.name != 'id'}
        if record.id is None:
            result = self._connection.execute(table.insert(), values)
            key = result.inserted_primary_key
            record.id = int(key[0]) if key else None
        else:
            self._connection.execute(_update(table), {**values, 'b_id': record.id})
        return record

    def delete(self, record: Record) -> None:
        """Delete *record* and all that belongs to it."""
        table = self._table(type(record))
        self._delete(table, table.c.id == record.id)
        record.id = None

    def drop_sessions(self, before: float, keep: int) -> None:
        """Delete the sessions left alone since *before*, and all but the *keep* newest.

        None is loaded for that: each holds a whole message.
        """
        table = self._tables.session
        newest = select(table.c.updated).order_by(table.c.updated.desc())
        last = self._connection.execute(newest.offset(keep).limit(1)).scalar()
        old = table.c.updated < before
        if last is not None:
            old |= table.c.updated <= last
        self._connection.execute(table.delete().where(old))

    def drop_devices(self, before: float, *, spare: int | None, **where: Any) -> list[str]:
        """Delete the devices that have not synchronised since *before*; return their ids.

        *spare* is the number of a device that is kept in any case; of the others those are
        meant whose columns equal *where*.
        """
        table = self._tables.device
        last = func.coalesce(table.c.last_sync, table.c.created, 0.0)
        asked = [*_asked(table, where), last < before]
        if spare is not None:
            asked.append(table.c.id != spare)
        found = self._connection.execute(select(table.c.id, table.c.dev_id).where(*asked)).all()
        if found:
            self._delete(table, table.c.id.in_([row.id for row in found]))
        return [str(row.dev_id) for row in found]

    def _delete(self, table: Table, where: ColumnElement[bool]) -> None:
        # an application's database may not cascade by itself: SQLite does only where told to
        for other in self._tables.metadata.tables.values():
            for key in other.foreign_keys:
                if key.column.table is table:
                    owned = select(key.column).where(where)
                    self._delete(other, key.parent.in_(owned))
        self._connection.execute(table.delete().where(where))

    def _table(self, kind: type[Record]) -> Table:
        table: Table = getattr(self._tables, kind.TABLE)
        return table


def _asked(table: Table, where: dict[str, Any]) -> list[ColumnElement[bool]]:
    return [
        table.c[name].is_(None) if value is None else table.c[name] == value
        for name, value in where.items()
    ]


# Making a statement costs more than running it, and a session runs the same few over and over.


@cache
def _selection(
    table: Table, names: tuple[str, ...], asked: tuple[tuple[str, bool], ...]
) -> Select[Any]:
    """Return the query for the columns *names*; *asked*: (name, whether it must be NULL)."""
    query = select(*(table.c[name] for name in names)).order_by(table.c.id)
    for name, null in asked:
        column = table.c[name]
        query = query.where(column.is_(None) if null else column == bindparam(f'b_{name}'))
    return query


@cache
def _numbers(table: Table, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of the columns *names* that hold whole numbers."""
    return tuple(name for name in names if isinstance(table.c[name].type, Integer))


@cache
def _update(table: Table) -> Update:
    return table.update().where(table.c.id == bindparam('b_id'))
