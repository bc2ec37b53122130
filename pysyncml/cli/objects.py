"""The classes of a program's model; imported when the first one is made.

They need SQLAlchemy's object-relational mapping, which takes long to import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Column, MetaData, String
from sqlalchemy import inspect as inspect_mapped
from sqlalchemy.orm import Query, Session, declarative_base, declared_attr

from pysyncml.util import newID


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


def make_base(metadata: MetaData, session: Callable[[], Session]) -> Any:
    """Return a base class for the tables of *metadata*; *session* gives the current session."""
    # the constructor is the one of _Base, for it must take what is no column, too
    base: Any = declarative_base(
        cls=_Base, name='DatabaseObject', metadata=metadata, constructor=_Base.__init__
    )
    base._session = staticmethod(session)
    return base
