"""What has arrived so far of an item that comes in parts.

A large object may take many messages, and a session may be broken off in its middle: so its
parts are kept like everything else, in the transaction of the message that brought them.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from pysyncml.state.tables import Tables


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
    """The one unfinished object of a binding, if there is one."""

    def __init__(self, connection: Connection, tables: Tables, binding_id: int) -> None:
        self._connection = connection
        self._object = tables.unfinished
        self._chunk = tables.chunk
        self._binding_id = binding_id
        self._mine = self._object.c.binding_id == binding_id
        self._chunks = self._chunk.c.binding_id == binding_id

    def load(self) -> UnfinishedObject | None:
        """Return what is known of the object."""
        table = self._object
        query = select(table.c.described, table.c.size, table.c.received).where(self._mine)
        row = self._connection.execute(query).first()
        return UnfinishedObject(*row) if row is not None else None

    def begin(self, described: dict[str, Any], size: int | None) -> UnfinishedObject:
        """Begin a new object, in the place of another one that may be there."""
        self.drop()
        values = {'described': described, 'size': size, 'received': 0}
        self._connection.execute(insert(self._object), {'binding_id': self._binding_id, **values})
        return UnfinishedObject(described, size)

    def make_room(self, size: int, most: int) -> None:
        """Forget the unfinished objects of all other bindings if *size* bytes more were too many.

        *most* bytes may be kept of all together. What is forgotten is sent again as a whole.
        """
        table = self._object
        held = self._connection.execute(select(func.sum(table.c.received))).scalar() or 0
        if held + size > most:
            self._connection.execute(delete(self._chunk).where(~self._chunks))
            self._connection.execute(delete(table).where(~self._mine))

    def append(self, thing: UnfinishedObject, data: bytes) -> None:
        """Add a part."""
        if not data:
            self._save(thing)
            return
        values = {'position': thing.received, 'data': data}
        self._connection.execute(insert(self._chunk), {'binding_id': self._binding_id, **values})
        thing.received += len(data)
        self._save(thing)

    def cut(self, thing: UnfinishedObject, position: int) -> bool:
        """Forget what came after *position*; return whether a part began there."""
        table = self._chunk
        if position != thing.received:
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

    def join(self) -> bytes:
        """Return all parts as one."""
        table, whole = self._chunk, io.BytesIO()
        while True:  # one at a time: never twice in memory
            query = select(table.c.data).where(self._chunks, table.c.position == whole.tell())
            part = self._connection.execute(query).scalar()
            if part is None:
                return whole.getvalue()
            whole.write(part)

    def drop(self) -> None:
        """Forget the object."""
        self._connection.execute(delete(self._chunk).where(self._chunks))
        self._connection.execute(delete(self._object).where(self._mine))
