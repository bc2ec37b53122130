"""What changed in a datastore.

The log has one row for each item, with the number (``seq``) of its newest version; numbers only
rise, and are given out inside the transaction that uses them. What a peer knows of it stands in
:mod:`pysyncml.state.knowledge`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Select,
    Table,
    and_,
    bindparam,
    exists,
    func,
    select,
)

from pysyncml.constants import ItemState
from pysyncml.state.bulk import delete_rows, insert_rows, select_rows, update_rows
from pysyncml.state.tables import Tables

CHUNK = 500
GONE = int(ItemState.DELETED)

#: The same in a query that is to go by the index of deletions: such an index is only found where
#: the number itself is written.
_LITERALLY_GONE: BindParameter[int] = bindparam('gone', GONE, literal_execute=True)

#: Ways back that are kept of an item at most. A device that is further behind, because it has not
#: come for long and perhaps never will, has its changes taken as a conflict: both are kept.
MOST_WAYS = 100

#: Rows that are kept in memory after they were written.
MOST_KEPT = 5000


@dataclass(slots=True)
class Change:
    """The newest version of an item."""

    item_id: str
    seq: int
    state: int
    registered: float | None = None

    @property
    def gone(self) -> bool:
        """Whether the item is deleted."""
        return self.state == GONE


class ChangeLog:
    """The changes of one of our datastores. Writes are gathered until :meth:`flush`."""

    def __init__(self, connection: Connection, tables: Tables, store_id: int, now: float) -> None:
        self._connection = connection
        self._t = tables
        self.store_id = store_id
        self._now = now
        self._rows: dict[str, Change | None] = {}
        self._dirty: dict[str, bool] = {}  # item → whether the row is in the table already
        self._revisions: list[dict[str, Any]] = []
        query = select(tables.datastore.c.last_seq).where(tables.datastore.c.id == store_id)
        self._last = self._stored_last = int(connection.execute(query).scalar() or 0)

    @property
    def last_seq(self) -> int:
        """The number of the newest change."""
        return self._last

    def prefetch(self, item_ids: Iterable[str]) -> None:
        """Load the rows of *item_ids* at once."""
        wanted = [item for item in item_ids if item not in self._rows]
        query = _among(self._t.change)
        for start in range(0, len(wanted), CHUNK):
            chunk = wanted[start : start + CHUNK]
            self._rows.update(dict.fromkeys(chunk))
            values = {'b_store': self.store_id, 'b_items': chunk}
            for row in select_rows(self._connection, query, values):
                self._rows[row[0]] = Change(*row)

    def get(self, item_id: str) -> Change | None:
        """Return the newest version of an item; ``None`` if it was never heard of."""
        if item_id not in self._rows:
            self.prefetch([item_id])
        return self._rows[item_id]

    def expect_new(self, item_id: str) -> None:
        """Take notice that an item with this id was never heard of."""
        self._rows.setdefault(item_id, None)

    def record(self, item_id: str, state: int, spec: str | None, *, history: bool) -> int:
        """Note a new version of an item and return its number.

        *spec* tells the way back to the version before, if that is known; with *history* it is
        kept. A step that is not known has no row: then there is a gap in the way.
        """
        before = self.get(item_id)
        self._last += 1
        self._dirty.setdefault(item_id, before is not None)
        self._rows[item_id] = Change(item_id, self._last, int(state), self._now)
        if history and before is not None and spec is not None:
            self._revisions.append(
                {'item_id': item_id, 'seq': self._last, 'before': before.seq, 'spec': spec}
            )
        return self._last

    def record_new(self, item_ids: Sequence[str]) -> None:
        """Note items that have no row yet, in bulk."""
        for item_id in item_ids:
            self._last += 1
            self._rows[item_id] = Change(item_id, self._last, int(ItemState.ADDED), self._now)
            self._dirty[item_id] = False

    def forget(self, item_ids: Iterable[str]) -> None:
        """Take away the rows of items that are not there; no peer is told of anything."""
        self.flush()
        gone = list(item_ids)
        rows = [{'store_id': self.store_id, 'item_id': item_id} for item_id in gone]
        delete_rows(self._connection, self._t.change, rows)
        self._rows.update(dict.fromkeys(gone))

    def flush(self) -> None:
        """Write what was gathered."""
        if self._last == self._stored_last:
            return
        store = self._t.datastore
        dirty = list(self._dirty)
        for start in range(0, len(dirty), CHUNK):
            self._write(dirty[start : start + CHUNK])
        if self._revisions:
            rows = [{'store_id': self.store_id, **row} for row in self._revisions]
            insert_rows(self._connection, self._t.revision, rows)
            self._drop_old_ways({row['item_id'] for row in rows})
        where = store.c.id == self.store_id
        self._connection.execute(store.update().where(where).values(last_seq=self._last))
        self._dirty.clear()
        self._revisions.clear()
        self._stored_last = self._last
        if len(self._rows) > MOST_KEPT:
            self._rows.clear()

    def _write(self, item_ids: list[str]) -> None:
        fresh: list[dict[str, Any]] = []
        known: list[dict[str, Any]] = []
        for item_id in item_ids:
            row = self._rows[item_id]
            assert row is not None
            rows = known if self._dirty[item_id] else fresh
            values = {'seq': row.seq, 'state': row.state, 'registered': row.registered}
            rows.append({'store_id': self.store_id, 'item_id': item_id, **values})
        insert_rows(self._connection, self._t.change, fresh)
        update_rows(self._connection, self._t.change, ('store_id', 'item_id'), known)

    def _drop_old_ways(self, item_ids: Iterable[str]) -> None:
        """Keep the newest :data:`MOST_WAYS` ways back of each item."""
        revision = self._t.revision
        many: list[str] = []
        listed = list(item_ids)
        for start in range(0, len(listed), CHUNK):
            chunk = revision.c.item_id.in_(listed[start : start + CHUNK])
            counted = select(revision.c.item_id).where(revision.c.store_id == self.store_id, chunk)
            counted = counted.group_by(revision.c.item_id).having(func.count() > MOST_WAYS)
            many += self._connection.execute(counted).scalars()
        if not many:
            return
        of_item = and_(
            revision.c.store_id == self.store_id, revision.c.item_id == bindparam('b_item')
        )
        newest = select(revision.c.seq).where(of_item).order_by(revision.c.seq.desc())
        last = newest.offset(MOST_WAYS).limit(1).scalar_subquery()
        query = revision.delete().where(of_item, revision.c.seq <= last)
        self._connection.execute(query, [{'b_item': item_id} for item_id in many])

    def way_back(self, item_id: str, seq: int | None) -> str | None:
        """Return the change-specs from version *seq* to now, oldest first, joined by ``;``.

        ``None`` if the way is not known for every step, or the version never existed: a way with
        a gap in it would lead to a text that never was.
        """
        if seq is None:
            return None
        self.flush()
        revision = self._t.revision
        query = (
            select(revision.c.seq, revision.c.before, revision.c.spec)
            .where(
                revision.c.store_id == self.store_id,
                revision.c.item_id == item_id,
                revision.c.seq > seq,
            )
            .order_by(revision.c.seq)
        )
        specs, reached = [], seq
        for row in self._connection.execute(query):
            if row.before != reached or row.spec is None:
                return None
            reached = row.seq
            specs.append(row.spec)
        now = self.get(item_id)
        if not specs or now is None or now.seq != reached:
            return None
        return ';'.join(spec for spec in specs if spec)

    def count(self) -> int:
        """Return how many items there are."""
        self.flush()
        change = self._t.change
        rows = select(func.count()).select_from(change).where(change.c.store_id == self.store_id)
        gone = rows.where(change.c.state == _LITERALLY_GONE)
        query = select(rows.scalar_subquery() - gone.scalar_subquery())
        return int(self._connection.execute(query).scalar() or 0)

    def live_ids(self) -> set[str]:
        """Return the ids of all items that have a row and are not deleted."""
        self.flush()
        change = self._t.change
        query = select(change.c.item_id).where(
            change.c.store_id == self.store_id, change.c.state != GONE
        )
        return set(self._connection.execute(query).scalars())

    def prune(self) -> None:
        """Forget what no peer can ask for any more: old ways back, and deletions all know of."""
        self.flush()
        t = self._t
        query = select(func.min(t.binding.c.cursor)).where(t.binding.c.store_id == self.store_id)
        seq = self._connection.execute(query).scalar()
        if not seq:
            return
        # a peer's cursor tells of the newest version of each item; it may still be at an older one
        behind = exists().where(
            t.binding.c.store_id == self.store_id,
            t.mapping.c.binding_id == t.binding.c.id,
            t.mapping.c.item_id == t.revision.c.item_id,
            t.mapping.c.seq < t.revision.c.seq,
        )
        for table, extra in (
            (t.revision, ~behind),
            (t.change, t.change.c.state == _LITERALLY_GONE),
        ):
            old = and_(table.c.store_id == self.store_id, table.c.seq <= seq)
            self._connection.execute(table.delete().where(old, extra))
        self._rows.clear()


@lru_cache(maxsize=16)  # a statement that is made once costs less each time it is used
def _among(change: Table) -> Select[Any]:
    """Return what finds the rows of some items."""
    columns = change.c.item_id, change.c.seq, change.c.state, change.c.registered
    items = change.c.item_id.in_(bindparam('b_items', expanding=True))
    return select(*columns).where(change.c.store_id == bindparam('b_store'), items)
