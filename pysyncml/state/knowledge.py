"""What one peer knows of one of our datastores.

A peer's knowledge is one mapping row for each item: the version it has acknowledged. What is
pending for a peer is a query over these rows and the log of changes, so that the cost of a change
does not depend on how many peers there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    bindparam,
    false,
    func,
    or_,
    select,
)

from pysyncml.immutable import immutable
from pysyncml.state.bulk import delete_rows, insert_rows, select_rows, update_rows
from pysyncml.state.changes import CHUNK, GONE, ChangeLog
from pysyncml.state.tables import Tables

#: Stands in the place of the version that was offered: the peer has put the item out of its set
#: (soft delete), and hears nothing of it until it shows it again or asks for everything.
SOFT = -1

#: Stands in the place of the version a peer has acknowledged: it has the item in a version that is
#: none of ours, so that there is no common ancestor.
NEVER_WAS = 0

_NO_LIMIT = 2**31 - 1  # of rows

_PAST = 16  # characters kept of the fingerprint of an earlier version
_MOST_PAST = 24  # earlier versions that are remembered


@dataclass(slots=True)
class Known:
    """What a peer knows of an item."""

    item_id: str
    remote_id: str | None = None
    seq: int | None = None
    offered: int | None = None
    unconfirmed: bool = False
    seen: int | None = None
    digest: str | None = None
    past: str | None = None
    stored: bool = False

    @property
    def soft(self) -> bool:
        """Whether the peer has soft-deleted the item."""
        return self.offered == SOFT

    def had(self, digest: str | None) -> bool:
        """Whether the peer once had the version with this fingerprint, and has a later one now."""
        if not digest or not self.past:
            return False
        return digest[:_PAST] in self.past.split()

    def outgrow(self, digest: str | None) -> None:
        """Take notice that the peer has the version with this fingerprint from now on."""
        if not self.digest or digest == self.digest:
            return
        earlier = [one for one in (self.past or '').split() if one != (digest or '')[:_PAST]]
        self.past = ' '.join([self.digest[:_PAST], *earlier][:_MOST_PAST])


@immutable()
class Listed:
    """An item of ours, or the end of one, and what a peer knows of it."""

    item_id: str
    seq: int
    state: int
    remote_id: str | None
    acknowledged: int | None
    offered: int | None

    @property
    def gone(self) -> bool:
        """Whether the item is deleted."""
        return self.state == GONE

    def waits(self, cursor: int) -> bool:
        """Whether a peer that has come to *cursor* is still to be told of the newest version."""
        if self.acknowledged == NEVER_WAS:
            return False  # what it has is no version of ours; that is for a comparison to tell
        behind = self.acknowledged is None or self.acknowledged < self.seq
        return behind and self.seq > cursor


@immutable()
class Pending:
    """A change a peer has not acknowledged."""

    item_id: str
    seq: int
    state: int
    remote_id: str | None
    acknowledged: int | None
    ahead_of: int | None = None  # the change before which it is told, though it is a later one

    @property
    def turn(self) -> int:
        """How far one has come in the log of changes after this one."""
        return self.seq if self.ahead_of is None else self.ahead_of - 1

    @property
    def gone(self) -> bool:
        """Whether the item is deleted."""
        return self.state == GONE


class Knowledge:
    """What one peer knows of one of our datastores. Writes are gathered until :meth:`flush`."""

    def __init__(
        self, connection: Connection, tables: Tables, log: ChangeLog, binding_id: int
    ) -> None:
        self._connection = connection
        self._t = tables
        self.log = log
        self.binding_id = binding_id
        self._by_item: dict[str, Known | None] = {}
        self._by_remote: dict[str, Known | None] = {}
        self._dirty: dict[str, Known] = {}
        self._deleted: set[str] = set()
        self._moved: set[str] = set()  # items whose stored row may hold an outdated remote id
        self._paired: set[str] = set()  # items of which what is in an index is to be written, too

    # --- reading ------------------------------------------------------------------------------

    def prefetch(
        self, *, item_ids: Sequence[str] = (), remote_ids: Sequence[str] = ()
    ) -> list[str]:
        """Load the rows of these items at once, and their newest versions.

        Returns:
            The ids of our items that are meant.
        """
        self.load(item_ids)
        mapping = self._t.mapping
        self._load(mapping.c.remote_id, [i for i in remote_ids if i not in self._by_remote])
        items = dict.fromkeys(item_ids)
        for remote_id in remote_ids:
            known = self._by_remote.get(remote_id)
            if known is not None:
                items[known.item_id] = None
        self.log.prefetch(items)
        return list(items)

    def load(self, item_ids: Iterable[str]) -> None:
        """Load the rows of these items at once, but not their newest versions."""
        self._load(self._t.mapping.c.item_id, [i for i in item_ids if i not in self._by_item])

    def _load(self, column: Any, keys: list[str]) -> None:
        if not keys:
            return
        mapping = self._t.mapping
        index = self._by_item if column is mapping.c.item_id else self._by_remote
        mine = {'b_binding': self.binding_id}
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            for key in chunk:
                index.setdefault(key, None)
            query = _among(mapping, column)
            for row in select_rows(self._connection, query, {**mine, 'b_keys': chunk}):
                item_id = row[0]
                if item_id in self._deleted or item_id in self._dirty:
                    continue
                known = self._by_item.get(item_id) or _known(row)
                self._by_item[known.item_id] = known
                if known.remote_id is not None:
                    self._by_remote[known.remote_id] = known

    def of_item(self, item_id: str) -> Known | None:
        """Return what the peer knows of our item."""
        if item_id not in self._by_item:
            self._load(self._t.mapping.c.item_id, [item_id])
        return self._by_item[item_id]

    def of_remote(self, remote_id: str) -> Known | None:
        """Return what the peer knows of its item."""
        if remote_id not in self._by_remote:
            self._load(self._t.mapping.c.remote_id, [remote_id])
        return self._by_remote[remote_id]

    def of_offer(self, seq: int) -> Known | None:
        """Return what the peer knows of the item whose version *seq* was offered to it as new."""
        self.flush()
        mapping = self._t.mapping
        query = select(mapping.c.item_id).where(
            mapping.c.binding_id == self.binding_id, mapping.c.offered == seq
        )
        item_id = self._connection.execute(query).scalar()
        return self.of_item(item_id) if item_id is not None else None

    # --- writing ------------------------------------------------------------------------------

    def expect_new(self, item_id: str) -> None:
        """Take notice that the peer cannot know an item with this id."""
        self.log.expect_new(item_id)
        self._by_item.setdefault(item_id, None)

    def note(self, item_id: str, **values: Any) -> Known:
        """Change what the peer knows of an item; a new row if there was none."""
        known = self.of_item(item_id)
        if known is None:
            known = self._by_item[item_id] = Known(item_id, stored=item_id in self._deleted)
            if known.stored:
                self._deleted.discard(item_id)
                self._moved.add(item_id)
                self._paired.add(item_id)
        remote_id = values.get('remote_id', known.remote_id)
        if remote_id != known.remote_id:
            self._move(known, remote_id)
        if 'unconfirmed' in values:
            self._paired.add(item_id)
        if 'digest' in values:
            known.outgrow(values['digest'])
        for name, value in values.items():
            setattr(known, name, value)
        self._dirty[item_id] = known
        return known

    def _move(self, known: Known, remote_id: str | None) -> None:
        # a remote id belongs to one item only: take it away from whoever had it
        self._paired.add(known.item_id)
        if known.remote_id is not None:
            self._by_remote[known.remote_id] = None
            self._moved.add(known.item_id)
        if remote_id is None:
            return
        other = self.of_remote(remote_id)
        if other is not None and other is not known:
            other.remote_id = None
            self._dirty[other.item_id] = other
            self._moved.add(other.item_id)
            self._paired.add(other.item_id)
        self._by_remote[remote_id] = known

    def forget(self, item_id: str) -> None:
        """The peer does not have this item (any more)."""
        known = self.of_item(item_id)
        if known is None:
            return
        if known.remote_id is not None:
            self._by_remote[known.remote_id] = None
        self._by_item[item_id] = None
        self._dirty.pop(item_id, None)
        if known.stored:
            self._deleted.add(item_id)

    def forget_all(self) -> None:
        """The peer has nothing."""
        self._by_item.clear()
        self._by_remote.clear()
        self._dirty.clear()
        self._deleted.clear()
        self._moved.clear()
        self._paired.clear()
        mapping = self._t.mapping
        self._connection.execute(mapping.delete().where(mapping.c.binding_id == self.binding_id))

    def doubt_all(self) -> None:
        """The peer may have what it had, or not: all of it is to be told again, under its ids.

        What it has soft-deleted counts as never heard of.
        """
        self.flush()
        self._by_item.clear()
        self._by_remote.clear()
        mapping = self._t.mapping
        mine = mapping.c.binding_id == self.binding_id
        self._connection.execute(mapping.delete().where(mine, mapping.c.offered == SOFT))
        offered = func.coalesce(mapping.c.seq, mapping.c.offered)
        self._connection.execute(
            mapping.update().where(mine).values(offered=offered, seq=None, seen=None)
        )

    def forget_gone(self, session: int) -> None:
        """Drop what is known of deleted items the peer did not show in this slow *session*."""
        self.flush()
        mapping, change = self._t.mapping, self._t.change
        gone = select(change.c.item_id).where(
            change.c.store_id == self.log.store_id, change.c.state == GONE
        )
        self._connection.execute(
            mapping.delete().where(
                mapping.c.binding_id == self.binding_id,
                mapping.c.item_id.in_(gone),
                or_(mapping.c.seen.is_(None), mapping.c.seen != session),
            )
        )
        self._by_item.clear()
        self._by_remote.clear()

    def flush(self) -> None:
        """Write what was gathered."""
        self.log.flush()
        mapping, keys = self._t.mapping, ('binding_id', 'item_id')
        mine = {'binding_id': self.binding_id}
        delete_rows(self._connection, mapping, [{**mine, 'item_id': i} for i in self._deleted])
        self._deleted.clear()
        if not self._dirty:
            return
        # first all give their old remote ids up, as these must be unique at any moment
        given_up = [{**mine, 'item_id': item, 'remote_id': None} for item in self._moved]
        update_rows(self._connection, mapping, keys, given_up)
        self._moved.clear()
        fresh: list[dict[str, Any]] = []
        paired: list[dict[str, Any]] = []
        rest: list[dict[str, Any]] = []
        for known in self._dirty.values():
            whole = not known.stored or known.item_id in self._paired
            rows = fresh if not known.stored else paired if whole else rest
            rows.append(_values(self.binding_id, known, whole=whole))
            known.stored = True
        update_rows(self._connection, mapping, keys, paired)
        update_rows(self._connection, mapping, keys, rest)
        insert_rows(self._connection, mapping, fresh)
        self._dirty.clear()
        self._paired.clear()

    # --- asking -------------------------------------------------------------------------------

    def pending(
        self, after: int, limit: int | None, *, slow: bool, session: int, deletions: bool = False
    ) -> list[Pending]:
        """Return changes beyond number *after* that the peer does not know, in their order.

        With *slow* everything counts as unknown that was not seen in this *session*, but for
        deletions: those only with *deletions*. What the peer knows of these items is at hand then.
        """
        self.flush()
        query = _pending(self._t, slow, deletions)
        most = _NO_LIMIT if limit is None else limit
        values = {**self._mine(session), 'b_after': after, 'b_limit': most}
        found = []
        for item_id, seq, state, *row in select_rows(self._connection, query, values):
            if limit is not None and item_id not in self._by_item:
                self._take(item_id, row)
            found.append(Pending(item_id, seq, state, row[1], row[2]))
        return found

    def _take(self, item_id: str, row: Sequence[Any]) -> None:
        """Take notice of the *row* of an item in the table; its id is None if there is none."""
        known = _known(row) if row[0] is not None else None
        self._by_item[item_id] = known
        if known is not None and known.remote_id is not None:
            self._by_remote.setdefault(known.remote_id, known)

    def first_pending(self, after: int) -> int | None:
        """Return the number of the first change beyond *after* that the peer does not know."""
        rows = self.pending(after, 1, slow=False, session=0)
        return rows[0].seq if rows else None

    def count_pending(
        self, after: int, *, slow: bool = False, session: int = 0, deletions: bool = False
    ) -> int:
        """Return how many changes :meth:`pending` would return."""
        self.flush()
        change = self._t.change
        unknown = _unknown(self._t, slow=slow, deletions=deletions)
        query = _joined(self._t, func.count()).where(change.c.seq > after, unknown)
        return int(self._connection.execute(query, self._mine(session)).scalar() or 0)

    def count(self) -> int:
        """Return how many items the peer has acknowledged."""
        self.flush()
        mapping = self._t.mapping
        query = (
            select(func.count())
            .select_from(mapping)
            .where(mapping.c.binding_id == self.binding_id, mapping.c.seq.is_not(None))
        )
        return int(self._connection.execute(query).scalar() or 0)

    def unconfirmed(self, limit: int) -> list[tuple[str, str]]:
        """Return (the server's id, ours) of Map pairs the server has not acknowledged."""
        self.flush()
        mapping = self._t.mapping
        query = (
            select(mapping.c.remote_id, mapping.c.item_id)
            .where(mapping.c.binding_id == self.binding_id, mapping.c.unconfirmed.is_(True))
            .limit(limit)
        )
        return [(row[0], row[1]) for row in self._connection.execute(query).all() if row[0]]

    def unseen(self, session: int, limit: int = 1000) -> Iterator[str]:
        """Yield our items that the peer did not show in this *session*, nor soft-delete."""
        self.flush()
        change, mapping = self._t.change, self._t.mapping
        query = _joined(self._t, change.c.item_id).where(
            change.c.state != GONE,
            or_(mapping.c.seen.is_(None), mapping.c.seen != session),
            _in_set(self._t),
        )
        yield from list(self._connection.execute(query, self._mine()).scalars())

    def held(self) -> list[tuple[str, int, int | None]]:
        """Return (item, its newest version, session) of all items the peer has an id for.

        The session is the one in which the peer last showed it. Not among them is what is deleted
        here, and what the peer has soft-deleted.
        """
        self.flush()
        change, mapping = self._t.change, self._t.mapping
        query = _joined(self._t, change.c.item_id, change.c.seq, mapping.c.seen).where(
            change.c.state != GONE, mapping.c.remote_id.is_not(None), _in_set(self._t)
        )
        rows = self._connection.execute(query, self._mine())
        return [(row[0], row[1], row[2]) for row in rows]

    def listed(self, after: str, limit: int) -> list[Listed]:
        """Return the items after the id *after*, in the order of ids, with what the peer knows.

        Among them are deleted ones that the peer has an id for; what the peer has soft-deleted
        is not.
        """
        self.flush()
        change, mapping = self._t.change, self._t.mapping
        query = (
            _joined(
                self._t,
                change.c.item_id,
                change.c.seq,
                change.c.state,
                mapping.c.remote_id,
                mapping.c.seq,
                mapping.c.offered,
            )
            .where(
                change.c.item_id > after,
                _in_set(self._t),
                or_(change.c.state != GONE, mapping.c.remote_id.is_not(None)),
            )
            .order_by(change.c.item_id)
            .limit(limit)
        )
        return [Listed(*row) for row in self._connection.execute(query, self._mine())]

    def lose_ancestor(self, item_id: str) -> None:
        """The peer's version of an item and ours have no common ancestor any more."""
        self.note(item_id, seq=NEVER_WAS, digest=None)

    def _mine(self, session: int = 0) -> dict[str, Any]:
        """Return what says in a query which binding is meant, and which session."""
        store = self.log.store_id
        return {'b_binding': self.binding_id, 'b_store': store, 'b_session': session}


def _in_set(t: Tables) -> Any:
    """Not soft-deleted by the peer."""
    offered = t.mapping.c.offered
    return or_(offered.is_(None), offered != SOFT)


def _joined(t: Tables, *columns: Any) -> Select[Any]:
    change, mapping = t.change, t.mapping
    mine = mapping.c.binding_id == bindparam('b_binding')
    return (
        select(*columns)
        .select_from(change.outerjoin(mapping, and_(mine, mapping.c.item_id == change.c.item_id)))
        .where(change.c.store_id == bindparam('b_store'))
    )


def _unknown(t: Tables, *, slow: bool, deletions: bool = False) -> Any:
    change, mapping = t.change, t.mapping
    never = and_(mapping.c.seq.is_(None), change.c.state != GONE)
    older = or_(
        mapping.c.seq < change.c.seq,
        and_(mapping.c.seq.is_(None), mapping.c.offered.is_not(None), change.c.state == GONE),
    )
    if not slow:
        return and_(_in_set(t), or_(never, older))
    session: BindParameter[Any] = bindparam('b_session')
    gone = and_(change.c.state == GONE, older) if deletions else false()
    seen = and_(mapping.c.seen.is_not(None), mapping.c.seen == session)
    unseen = or_(mapping.c.seen.is_(None), mapping.c.seen != session)
    shown = or_(and_(unseen, change.c.state != GONE), and_(seen, or_(never, older)), gone)
    return and_(_in_set(t), shown)


@lru_cache(maxsize=64)  # a statement that is made once costs less each time it is used
def _among(mapping: Table, column: ColumnElement[Any]) -> Select[Any]:
    """Return what finds the rows of a binding of which *column* is one of some keys.

    They come in its order for SQLite's sake, which else would rather look at all of the binding.
    """
    keys: BindParameter[Any] = bindparam('b_keys', expanding=True)
    mine = mapping.c.binding_id == bindparam('b_binding')
    return select(*_columns(mapping)).where(mine, column.in_(keys)).order_by(column)


@lru_cache(maxsize=64)
def _pending(t: Tables, slow: bool, deletions: bool) -> Select[Any]:
    """Return what finds the changes a peer does not know; see :meth:`Knowledge.pending`."""
    change = t.change
    return (
        _joined(t, change.c.item_id, change.c.seq, change.c.state, *_columns(t.mapping))
        .where(change.c.seq > bindparam('b_after'), _unknown(t, slow=slow, deletions=deletions))
        .order_by(change.c.seq)
        .limit(bindparam('b_limit'))
    )


def _known(row: Any) -> Known:
    known = Known(*row)
    known.stored = True
    return known


def _columns(mapping: Any) -> tuple[Any, ...]:
    return (
        mapping.c.item_id,
        mapping.c.remote_id,
        mapping.c.seq,
        mapping.c.offered,
        mapping.c.unconfirmed,
        mapping.c.seen,
        mapping.c.digest,
        mapping.c.past,
    )


def _values(binding_id: int, known: Known, *, whole: bool) -> dict[str, Any]:
    """Return the row that says what is *known*; not *whole*, without what is in an index."""
    values = {
        'binding_id': binding_id,
        'item_id': known.item_id,
        'seq': known.seq,
        'offered': known.offered,
        'seen': known.seen,
        'digest': known.digest,
        'past': known.past,
    }
    if whole:
        values |= {'remote_id': known.remote_id, 'unconfirmed': known.unconfirmed}
    return values
