"""The tables of an application, in the same database and the same transactions as the state.

:func:`makeModel` makes one *model* per engine: a namespace with the base class
``DatabaseObject``, to which programs add their own classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import URL, Column, Connection, MetaData, String
from sqlalchemy import inspect as inspect_mapped
from sqlalchemy.orm import Query, Session, declarative_base, declared_attr
from sqlalchemy.schema import CreateIndex

from pysyncml.util import adict, newID


class _Base:
    """What all classes of a model have in common.

    Every object has an ``id`` of 32 hexadecimal digits from the moment it is made, not only
    when it is stored; the table is named like the class, in lower case.
    """

    # classes next to this one (pysyncml.NoteItem, say) have annotations that mean no columns
    __allow_unmapped__ = True
    _session: Callable[[], Session]

    id = Column(String(32), primary_key=True, default=newID)

    @declared_attr.directive
    def __tablename__(cls) -> str:
        return cls.__name__.lower()  # type: ignore[attr-defined, no-any-return, unused-ignore]

    def __init__(self, *args: Any, **values: Any) -> None:
        """Set the columns among *values*; what is no column is left to the other base classes."""
        names = inspect_mapped(type(self)).attrs.keys()
        for name in names:
            if name in values:
                setattr(self, name, values[name])
        if self.id is None:
            self.id = newID()

    # an item may define equality by its fields; the session needs identity all the same
    __hash__ = object.__hash__

    @classmethod
    def q(cls, **filters: Any) -> Query[Any]:
        """Return a query for the objects with these values: iterable, ``.all()``, ``.one()``."""
        return cls._session().query(cls).filter_by(**filters)


class Model(adict):
    """The classes of one engine, as attributes; ``DatabaseObject`` is the base of all."""

    def create_tables(self, connection: Connection) -> None:
        """Create the tables that are missing, within the transaction of *connection*.

        Indexes are created with their tables; one that a later version of a program has added to
        a table (its ``info`` says ``added``) is created where it is missing.
        """
        metadata = self.DatabaseObject.metadata
        metadata.create_all(connection)
        for table in metadata.tables.values():
            for index in table.indexes:
                if index.info.get('added'):
                    connection.execute(CreateIndex(index, if_not_exists=True))


def makeModel(session: Callable[[], Session]) -> Model:
    """Return a new model; *session* gives the ORM session of the current unit of work."""
    # the constructor is the one of _Base, for it must take what is no column, too
    base: Any = declarative_base(
        cls=_Base, name='DatabaseObject', metadata=MetaData(), constructor=_Base.__init__
    )
    base._session = staticmethod(session)
    return Model(DatabaseObject=base)


def sqlite_url(path: str) -> URL:
    """Return the database URL of the SQLite file *path*, whatever characters the path has."""
    return URL.create('sqlite', database=path)
