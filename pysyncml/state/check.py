"""What must hold in the tables, examined row by row, and mended where that is safe.

Nothing in here makes a deletion of anything: where a row is wrong, something is forgotten that a
peer was known to have, so that the two versions are compared again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlalchemy import Connection, and_, delete, func, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from pysyncml.immutable import immutable
from pysyncml.state.changes import GONE
from pysyncml.state.knowledge import NEVER_WAS
from pysyncml.state.records import BindingRecord, StoreRecord
from pysyncml.state.unfinished import UnfinishedObject
from pysyncml.state.work import UnitOfWork


@immutable()
class Finding:
    """Something that is wrong, in words, and what is done about it."""

    what: str
    done: str = ''


def check_tables(work: UnitOfWork) -> list[Finding]:
    """Examine the tables and mend what is wrong, within the unit of work *work*."""
    checks: tuple[Callable[[UnitOfWork], Iterator[Finding]], ...] = (
        _orphans,
        _numbers,
        _unmapped,
        _claims,
        _cursors,
        _forgotten,
        _chains,
        _torn,
    )
    return [finding for check in checks for finding in check(work)]


def _orphans(work: UnitOfWork) -> Iterator[Finding]:
    """Rows that belong to no row."""
    for table in work.tables.metadata.sorted_tables:
        for key in table.foreign_keys:
            owners = select(key.column)
            where = and_(key.parent.is_not(None), key.parent.not_in(owners))
            count = _count(work.connection, delete(table).where(where))
            if count:
                owner = key.column.table.name
                yield Finding(f'{count} rows of {table.name} belong to no row of {owner}', _GONE)


_GONE = 'taken away'


def _numbers(work: UnitOfWork) -> Iterator[Finding]:
    """Every change has a number of its own, and none is beyond the last one given out."""
    change, store = work.tables.change, work.tables.datastore
    for record in work.records.find(StoreRecord):
        mine = change.c.store_id == record.id
        query = select(func.max(change.c.seq)).where(mine)
        newest = work.connection.execute(query).scalar() or 0
        query = select(store.c.last_seq).where(store.c.id == record.id)
        last = work.connection.execute(query).scalar() or 0
        if newest > last:
            _set_last(work, record, newest)
            yield Finding(f'{record.uri}: changes are beyond number {last}', 'counted from there')
        yield from _doubles(work, record, max(newest, last))


def _set_last(work: UnitOfWork, record: StoreRecord, number: int) -> None:
    store = work.tables.datastore
    work.connection.execute(update(store).where(store.c.id == record.id).values(last_seq=number))


def _doubles(work: UnitOfWork, record: StoreRecord, last: int) -> Iterator[Finding]:
    change = work.tables.change
    mine = change.c.store_id == record.id
    query = select(change.c.seq).where(mine).group_by(change.c.seq).having(func.count() > 1)
    count = 0
    for number in work.connection.execute(query).scalars().all():
        rows = select(change.c.item_id).where(mine, change.c.seq == number)
        for item_id in work.connection.execute(rows).scalars().all()[1:]:
            count += 1
            one = and_(mine, change.c.item_id == item_id)
            work.connection.execute(update(change).where(one).values(seq=last + count))
    if count:
        _set_last(work, record, last + count)
        yield Finding(f'{record.uri}: {count} changes have the number of another', 'renumbered')


def _unmapped(work: UnitOfWork) -> Iterator[Finding]:
    """A mapping is about an item that there is, or was."""
    mapping = work.tables.mapping
    where = mapping.c.item_id.not_in(_items_of(work, mapping.c.binding_id))
    count = _count(work.connection, delete(mapping).where(where))
    if count:
        yield Finding(f'{count} rows say what a peer knows of items there never were', _GONE)


def _claims(work: UnitOfWork) -> Iterator[Finding]:
    """Nobody knows a version that never was."""
    t = work.tables
    newest = (
        select(t.change.c.seq)
        .where(
            t.change.c.store_id == _store_of(work, t.mapping.c.binding_id),
            t.change.c.item_id == t.mapping.c.item_id,
        )
        .scalar_subquery()
    )
    wrong = or_(t.mapping.c.seq > newest, t.mapping.c.seq < NEVER_WAS, t.mapping.c.offered > newest)
    bindings = select(t.mapping.c.binding_id).where(wrong).distinct()
    found = work.connection.execute(bindings).scalars().all()
    values = {'seq': NEVER_WAS, 'offered': None, 'digest': None}
    count = _count(work.connection, update(t.mapping).where(wrong).values(**values))
    if count:
        again = t.binding.c.id.in_(found)
        work.connection.execute(update(t.binding).where(again).values(cursor=0))
        yield Finding(f'{count} versions a peer is said to have never were', 'compared again')


def _cursors(work: UnitOfWork) -> Iterator[Finding]:
    """No peer has come further than the log of changes goes."""
    t = work.tables
    last = (
        select(t.datastore.c.last_seq)
        .where(t.datastore.c.id == t.binding.c.store_id)
        .scalar_subquery()
    )
    wrong = or_(t.binding.c.cursor > last, t.binding.c.cursor < 0)
    count = _count(work.connection, update(t.binding).where(wrong).values(cursor=0))
    if count:
        yield Finding(f'{count} peers are said to be beyond the last change', 'begun anew')


def _forgotten(work: UnitOfWork) -> Iterator[Finding]:
    """What a peer does not know of is still to be told to it."""
    t = work.tables
    for record in work.records.find(BindingRecord):
        on = and_(t.mapping.c.binding_id == record.id, t.mapping.c.item_id == t.change.c.item_id)
        query = (
            select(func.count())
            .select_from(t.change.outerjoin(t.mapping, on))
            .where(
                t.change.c.store_id == record.store_id,
                t.change.c.state != GONE,
                t.change.c.seq <= record.cursor,
                or_(
                    and_(t.mapping.c.seq.is_(None), t.mapping.c.offered.is_(None)),
                    t.mapping.c.seq < t.change.c.seq,
                ),
            )
        )
        count = work.connection.execute(query).scalar()
        if count:
            work.compare_anew(record)
            what = f'{count} items are neither known to a peer nor waiting for it'
            yield Finding(what, 'the next synchronisation compares everything')


def _chains(work: UnitOfWork) -> Iterator[Finding]:
    """Each way back leads from a version there was to an older one."""
    t = work.tables
    newest = (
        select(t.change.c.seq)
        .where(
            t.change.c.store_id == t.revision.c.store_id, t.change.c.item_id == t.revision.c.item_id
        )
        .scalar_subquery()
    )
    wrong = or_(t.revision.c.before >= t.revision.c.seq, t.revision.c.seq > newest)
    count = _count(work.connection, delete(t.revision).where(wrong))
    if count:
        yield Finding(f'{count} ways back to older versions lead nowhere', _GONE)


def _torn(work: UnitOfWork) -> Iterator[Finding]:
    """Of what has come in parts, all is there that is said to be."""
    t = work.tables
    size = (
        select(func.coalesce(func.sum(func.length(t.chunk.c.data)), 0))
        .where(t.chunk.c.binding_id == t.unfinished.c.binding_id)
        .scalar_subquery()
    )
    table = t.unfinished
    query = select(table.c.binding_id, table.c.described, table.c.size, table.c.received, size)
    for binding_id, *values, parts in work.connection.execute(query).all():
        unfinished, thing = work.unfinished(binding_id), UnfinishedObject(*values)
        if not unfinished.is_torn(thing, parts):
            continue
        unfinished.drop()
        yield Finding('an item that is coming in parts lacks some', 'it will be sent again')
    stray = t.chunk.c.binding_id.not_in(select(t.unfinished.c.binding_id))
    count = _count(work.connection, delete(t.chunk).where(stray))
    if count:
        yield Finding(f'{count} parts belong to no item', _GONE)


# --- asking -------------------------------------------------------------------------------------


def _store_of(work: UnitOfWork, binding_id: ColumnElement[int]) -> ColumnElement[int]:
    binding = work.tables.binding
    query = select(binding.c.store_id).where(binding.c.id == binding_id)
    return query.correlate(work.tables.mapping).scalar_subquery()


def _items_of(work: UnitOfWork, binding_id: ColumnElement[int]) -> ColumnElement[str]:
    change = work.tables.change
    query = select(change.c.item_id).where(change.c.store_id == _store_of(work, binding_id))
    return query.correlate(work.tables.mapping).scalar_subquery()


def _count(connection: Connection, statement: object) -> int:
    """Carry out *statement*; return how many rows it was about."""
    return int(connection.execute(statement).rowcount)  # type: ignore[call-overload]


__all__ = ['Finding', 'check_tables']
