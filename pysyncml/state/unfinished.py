"""What has arrived so far of an item that comes in parts.

A large object may take many messages, and a session may be broken off in its middle: so its
parts are kept like everything else, in the transaction of the message that brought them. Where
the state has a folder of its own, what is too large for memory lies in a file there, of which the
database says how much of it counts: a part is written and synced to the disk before that, and
what a transaction that was taken back has written is overwritten by the next part.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from sqlalchemy import Connection, delete, func, insert, select, update

from pysyncml.state.answers import answer_tokens
from pysyncml.state.tables import Tables
from pysyncml.storage.spool import Spool, Spooled

#: Bytes of an object that are kept in the database, and held in memory when it is complete.
SMALL = 1 << 20
# in what is described of an object: the token of its file, from where on that may not have lasted,
# and the CRC-32 of what is there from there on
_FILE, _LASTS, _REST = 'file', 'lasts', 'rest of it'


@dataclass(slots=True)
class UnfinishedObject:
    """An item of which not all parts are here yet.

    ``described`` is what its first part said of it, in values that JSON can carry; ``size`` how
    many bytes were promised, and ``received`` how many are here.
    """

    described: dict[str, Any] = field(default_factory=dict)
    size: int | None = None
    received: int = 0


class Unfinished:
    """The one unfinished object of a binding, if there is one.

    Args:
        connection: in the transaction of this message.
        tables: our tables.
        binding_id: whose object it is.
        spool: where files are kept; ``None`` if all is in the database.
        leftovers: a list of the files that are not needed any more once the transaction counts.
    """

    def __init__(
        self,
        connection: Connection,
        tables: Tables,
        binding_id: int,
        spool: Spool | None = None,
        leftovers: list[str] | None = None,
    ) -> None:
        self._connection = connection
        self._spool = spool
        self._leftovers = [] if leftovers is None else leftovers
        self._tables = tables
        self._object = tables.unfinished
        self._chunk = tables.chunk
        self._binding_id = binding_id
        self._mine = self._object.c.binding_id == binding_id
        self._chunks = self._chunk.c.binding_id == binding_id

    def load(self) -> UnfinishedObject | None:
        """Return what is known of the object; ``None``, too, if a part of it is lost."""
        table = self._object
        query = select(table.c.described, table.c.size, table.c.received).where(self._mine)
        row = self._connection.execute(query).first()
        thing = UnfinishedObject(*row) if row is not None else None
        if thing is not None and self.is_torn(thing):
            self.drop()
            return None
        return thing

    def is_torn(self, thing: UnfinishedObject, parts: int | None = None) -> bool:
        """Return whether some of *thing* is lost; *parts* are its bytes in the database, if known.

        A file may have more than counts.
        """
        token = thing.described.get(_FILE)
        if token is None:
            return parts is not None and parts != thing.received
        if self._spool is None:
            return True
        if self._spool.wrote(token, thing.received) or not thing.received:
            return False
        lasts = thing.described[_LASTS]
        found = self._spool.checksum(token, lasts, thing.received)
        return found is None or found != thing.described[_REST]

    def holds(self, size: int) -> bool:
        """Return whether an object of *size* bytes need not be held in memory here."""
        return self._spool is not None or size <= SMALL

    def has_room(self, size: int) -> bool:
        """Return whether the disk has room for an object of *size* bytes, if that can be told."""
        return self._spool is None or size <= SMALL or self._spool.has_room(size)

    def begin(self, described: dict[str, Any], size: int | None) -> UnfinishedObject:
        """Begin a new object, in the place of another one that may be there."""
        self.drop()
        if self._spool is not None and (size or 0) > SMALL:
            self._spool.sweep([*tokens(self._connection, self._tables), *self._leftovers])
            described = {**described, _FILE: self._spool.create()}
        values = {'described': described, 'size': size, 'received': 0}
        self._connection.execute(insert(self._object), {'binding_id': self._binding_id, **values})
        return UnfinishedObject(described, size)

    def make_room(self, size: int, most: int) -> None:
        """Forget the unfinished objects of all other bindings if *size* bytes more were too many.

        *most* bytes may be kept, or come to be kept, of all together. What is forgotten is sent
        again as a whole.
        """
        table = self._object
        held = func.sum(func.coalesce(table.c.size, table.c.received))
        held_bytes = self._connection.execute(select(held).where(~self._mine)).scalar() or 0
        if held_bytes + size > most:
            others = select(table.c.described).where(~self._mine)
            self._discard(self._connection.execute(others).scalars().all())
            self._connection.execute(delete(self._chunk).where(~self._chunks))
            self._connection.execute(delete(table).where(~self._mine))

    def append(self, thing: UnfinishedObject, data: bytes) -> None:
        """Add a part.

        Raises:
            StoreFull: there is no room for it.
        """
        token = thing.described.get(_FILE)
        if data and token is not None:
            assert self._spool is not None
            if not self._spool.wrote(token, thing.received):
                self._spool.sync(token)  # that was done by a process that may have ended before
            self._spool.write(token, thing.received, data)
            thing.described[_LASTS], thing.described[_REST] = thing.received, crc32(data)
        elif data:
            values = {'position': thing.received, 'data': data}
            row = {'binding_id': self._binding_id, **values}
            self._connection.execute(insert(self._chunk), row)
        thing.received += len(data)
        self._save(thing)

    def cut(self, thing: UnfinishedObject, position: int) -> bool:
        """Forget what came after *position*; return whether a part may begin there."""
        table = self._chunk
        if thing.described.get(_FILE) is not None:
            assert self._spool is not None
            if position > thing.received:
                return False
            self._spool.sync(thing.described[_FILE])
            thing.described[_LASTS], thing.described[_REST] = position, 0
        elif position != thing.received:
            begins = select(table.c.position).where(self._chunks, table.c.position == position)
            if self._connection.execute(begins).first() is None:
                return False
        self._connection.execute(delete(table).where(self._chunks, table.c.position >= position))
        thing.received = position
        self._save(thing)
        return True

    def _save(self, thing: UnfinishedObject) -> None:
        values = {'described': thing.described, 'received': thing.received}
        self._connection.execute(update(self._object).where(self._mine).values(**values))

    def join(self, thing: UnfinishedObject) -> bytes | Spooled:
        """Return all parts as one: what lies in a file as a stream."""
        token = thing.described.get(_FILE)
        if token is not None:
            assert self._spool is not None
            return self._spool.open(token, thing.received)
        table, whole = self._chunk, io.BytesIO()
        while True:  # one at a time: never twice in memory
            query = select(table.c.data).where(self._chunks, table.c.position == whole.tell())
            part = self._connection.execute(query).scalar()
            if part is None:
                return whole.getvalue()
            whole.write(part)

    def drop(self) -> None:
        """Forget the object."""
        mine = select(self._object.c.described).where(self._mine)
        self._discard(self._connection.execute(mine).scalars().all())
        self._connection.execute(delete(self._chunk).where(self._chunks))
        self._connection.execute(delete(self._object).where(self._mine))

    def _discard(self, descriptions: Iterable[dict[str, Any]]) -> None:
        self._leftovers += [each[_FILE] for each in descriptions if each.get(_FILE)]


def tokens(connection: Connection, tables: Tables) -> list[str]:
    """Return the tokens of all files that are needed: of unfinished objects, and of answers."""
    rows = connection.execute(select(tables.unfinished.c.described)).scalars()
    found = [described[_FILE] for described in rows if described.get(_FILE)]
    return found + answer_tokens(connection, tables)
