"""The database the state lives in: opening, creating, upgrading, and one writer at a time."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import Connection, Engine, event, select

from pysyncml.errors import InvalidContext
from pysyncml.state.tables import SCHEMA_VERSION, Tables, tables

if TYPE_CHECKING:
    from pysyncml.state.work import UnitOfWork

_SCHEMA_KEY = 'schema.version'
_LOCK_SECONDS = 120.0


def _add_what_is_missing(connection: Connection, tables: Tables) -> None:
    """Add new tables, and new columns that may be empty."""
    tables.metadata.create_all(connection)
    inspector = sqlalchemy.inspect(connection)
    quote = connection.dialect.identifier_preparer.quote
    for table in tables.metadata.sorted_tables:
        present = {column['name'] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                kind = column.type.compile(connection.dialect)
                line = f'ALTER TABLE {quote(table.name)} ADD COLUMN {quote(column.name)} {kind}'
                connection.exec_driver_sql(line)


#: version → the function that turns a database of the version before into it.
MIGRATIONS: dict[int, Callable[[Connection, Tables], None]] = {
    2: _add_what_is_missing,
    3: _add_what_is_missing,
}


class Database:
    """An SQLAlchemy engine, or an application's own connection, with our tables in it.

    Args:
        bind: a database URL, an :class:`~sqlalchemy.Engine`, or a
            :class:`~sqlalchemy.Connection` whose transaction the application ends itself.
        prefix: what the names of the tables start with: letters and ``_``.
        lock_path: a file by which processes take turns; needed where files are kept in step
            with the database.

    Raises:
        InvalidContext: the prefix is not usable, or a newer version wrote the database.
    """

    def __init__(
        self,
        bind: str | Engine | Connection,
        *,
        prefix: str = 'pysyncml',
        lock_path: str | None = None,
    ) -> None:
        if not prefix.replace('_', '').isalpha():
            raise InvalidContext(f'the table prefix "{prefix}" may have letters and "_" only')
        self.tables = tables(prefix)
        self.connection: Connection | None = bind if isinstance(bind, Connection) else None
        self.engine: Engine = _engine_of(bind)
        self.current: ContextVar[UnitOfWork | None] = ContextVar('work', default=None)
        self._lock_path = lock_path
        self._turn = threading.RLock()
        self._ready = False

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until nobody else works on this state, in this process or in another."""
        if self._lock_path is None:
            yield
            return
        from filelock import FileLock, Timeout

        with self._turn:
            lock = FileLock(self._lock_path, timeout=_LOCK_SECONDS, poll_interval=0.02)
            try:
                lock.acquire()
            except Timeout:
                raise InvalidContext(
                    f'another program has been using "{self._lock_path}" for too long; '
                    'wait for it to end and try again'
                ) from None
            try:
                yield
            finally:
                lock.release()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection in a transaction, committed at the end unless something failed.

        On an application's own connection this is a savepoint: the application commits.
        """
        self.prepare()
        if self.connection is not None:
            _really_begin(self.connection)
            with self.connection.begin_nested():
                yield self.connection
        else:
            with self.engine.begin() as connection:
                _really_begin(connection)
                yield connection

    def prepare(self) -> None:
        """Create the tables, or bring them up to date, if that has not been done yet."""
        if self._ready:
            return
        if self.connection is not None:
            # not remembered: the application may yet take back what makes it ready
            _really_begin(self.connection)
            self._create_or_upgrade(self.connection)
            return
        with self.engine.begin() as connection:
            _really_begin(connection)
            self._create_or_upgrade(connection)
        self._ready = True

    def close(self) -> None:
        """Close all connections of an engine that is ours."""
        if self.connection is None:
            self.engine.dispose()

    def _create_or_upgrade(self, connection: Connection) -> None:
        option = self.tables.option
        if not sqlalchemy.inspect(connection).has_table(option.name):
            self.tables.metadata.create_all(connection)
            connection.execute(option.insert().values(key=_SCHEMA_KEY, value=SCHEMA_VERSION))
            return
        query = select(option.c.value).where(option.c.key == _SCHEMA_KEY)
        version = connection.execute(query).scalar()
        if not isinstance(version, int):
            raise InvalidContext('the state database does not say which version wrote it')
        if version > SCHEMA_VERSION:
            raise InvalidContext(
                f'the state database was written by a newer version (schema {version}, this '
                f'program knows {SCHEMA_VERSION}): upgrade pysyncml'
            )
        if version < SCHEMA_VERSION:
            self._upgrade(connection, version)

    def _upgrade(self, connection: Connection, version: int) -> None:
        path = self.engine.url.database
        if self.engine.dialect.name == 'sqlite' and path and os.path.exists(path):
            _copy_sqlite(path, f'{path}.v{version}.bak')
        for number in range(version + 1, SCHEMA_VERSION + 1):
            MIGRATIONS[number](connection, self.tables)
        option = self.tables.option
        where = option.c.key == _SCHEMA_KEY
        connection.execute(option.update().where(where).values(value=SCHEMA_VERSION))


def _engine_of(bind: str | Engine | Connection) -> Engine:
    if isinstance(bind, Connection):
        return bind.engine
    if isinstance(bind, Engine):
        return bind
    engine = sqlalchemy.create_engine(bind)
    if engine.dialect.name == 'sqlite':
        event.listen(engine, 'connect', _set_up_sqlite)
        event.listen(engine, 'begin', _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # the driver must not begin transactions by itself: we say BEGIN IMMEDIATE, so that a
    # transaction that reads first and writes later cannot fail in the middle
    connection.isolation_level = None
    for pragma in (
        'journal_mode=WAL',
        'synchronous=FULL',
        'foreign_keys=ON',
        'busy_timeout=60000',
    ):
        connection.execute(f'PRAGMA {pragma}')


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql('BEGIN IMMEDIATE')


def _really_begin(connection: Connection) -> None:
    """Begin the transaction where the driver has not, as sqlite3 does not before it must.

    It waits for the first change: a savepoint made before that would be a transaction of its own,
    and tables would be created outside of any.
    """
    if connection.dialect.name != 'sqlite':
        return
    if not connection.in_transaction():
        connection.begin()
    driver = connection.connection.dbapi_connection
    if not getattr(driver, 'in_transaction', True):
        _begin_sqlite(connection)


def _copy_sqlite(path: str, target: str) -> None:
    """Copy a database as it stands, with what is still in its write-ahead log."""
    with (
        contextlib.closing(sqlite3.connect(path)) as source,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)
