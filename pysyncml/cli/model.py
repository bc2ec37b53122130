"""The tables of an application, in the same database and the same transactions as the state.

:func:`makeModel` makes one *model* per engine: a namespace with the base class
``DatabaseObject``, to which programs add their own classes. A program that does without the
object-relational mapping puts its tables into ``metadata`` instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, MetaData
from sqlalchemy.schema import CreateIndex

from pysyncml.util import adict

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class Model(adict):
    """The classes of one engine, as attributes; ``DatabaseObject`` is the base of all.

    ``metadata`` has all tables (an SQLAlchemy :class:`~sqlalchemy.MetaData`).
    """

    def __getattr__(self, name: str) -> Any:
        if name == 'DatabaseObject' and name not in self:
            from pysyncml.cli.objects import make_base

            self.DatabaseObject = make_base(self.metadata, self['_session'])
        return super().__getattr__(name)

    def create_tables(self, connection: Connection) -> None:
        """Create the tables that are missing, within the transaction of *connection*.

        Indexes are created with their tables; one that a later version of a program has added to
        a table (its ``info`` says ``added``) is created where it is missing.
        """
        self.metadata.create_all(connection)
        for table in self.metadata.tables.values():
            for index in table.indexes:
                if index.info.get('added'):
                    connection.execute(CreateIndex(index, if_not_exists=True))


def makeModel(session: Callable[[], Session]) -> Model:
    """Return a new model; *session* gives the ORM session of the current unit of work."""
    return Model(metadata=MetaData(), _session=session)


def sqlite_url(path: str) -> URL:
    """Return the database URL of the SQLite file *path*, whatever characters the path has."""
    return URL.create('sqlite', database=path)
