"""The database the state lives in: opening, creating, upgrading, and one writer at a time."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import Connection, Engine, event, select

from pysyncml.errors import InvalidContext, StateDamaged
from pysyncml.state.damage import damaged, is_damage, sync_folder
from pysyncml.state.tables import SCHEMA_VERSION, Tables, tables
from pysyncml.state.turns import Turns
from pysyncml.storage.spool import Spool

if TYPE_CHECKING:
    from pysyncml.state.work import UnitOfWork

_SCHEMA_KEY = 'schema.version'


def _add_what_is_missing(connection: Connection, tables: Tables) -> None:
    """Add new tables, new columns that may be empty, and new indexes."""
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
        indexed = {index['name'] for index in inspector.get_indexes(table.name)}
        for index in table.indexes:
            if index.name not in indexed:
                index.create(connection)


#: version → the function that turns a database of the version before into it.
MIGRATIONS: dict[int, Callable[[Connection, Tables], None]] = {
    2: _add_what_is_missing,
    3: _add_what_is_missing,
    4: _add_what_is_missing,
}


class Database:
    """An SQLAlchemy engine, or an application's own connection, with our tables in it.

    Args:
        bind: a database URL, an :class:`~sqlalchemy.Engine`, or a
            :class:`~sqlalchemy.Connection` whose transaction the application ends itself.
        prefix: what the names of the tables start with: letters and ``_``.
        lock_path: a file by which processes take turns; needed where files are kept in step
            with the database.
        spool: where objects that come in parts are kept while they are too large for memory.

    Raises:
        InvalidContext: the prefix is not usable, or a newer version wrote the database.
    """

    def __init__(
        self,
        bind: str | Engine | Connection,
        *,
        prefix: str = 'pysyncml',
        lock_path: str | None = None,
        spool: Spool | None = None,
    ) -> None:
        if not prefix.replace('_', '').isalpha():
            raise InvalidContext(f'the table prefix "{prefix}" may have letters and "_" only')
        self.tables = tables(prefix)
        self.connection: Connection | None = bind if isinstance(bind, Connection) else None
        self.engine: Engine = _engine_of(bind)
        self.spool = spool
        self.current: ContextVar[UnitOfWork | None] = ContextVar('work', default=None)
        self._turns = Turns(lock_path) if lock_path is not None else None
        self._ready = False

    @contextlib.contextmanager
    def turn(self, seconds: float | None = None) -> Iterator[None]:
        """Wait until nobody else works on this state, in this process or in another.

        Raises:
            StateBusy: it took more than *seconds* (:data:`.turns.PATIENCE` by default).
        """
        if self._turns is None:
            yield
            return
        with self._turns.turn(seconds):
            yield

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
        option, ours = self.tables.option, self.tables.metadata.tables.keys()
        present = ours & set(sqlalchemy.inspect(connection).get_table_names())
        if not present:
            self.tables.metadata.create_all(connection)
            connection.execute(option.insert().values(key=_SCHEMA_KEY, value=SCHEMA_VERSION))
            return
        if option.name not in present:
            raise StateDamaged('the state database is damaged (it does not have its own options)')
        query = select(option.c.value).where(option.c.key == _SCHEMA_KEY)
        version = connection.execute(query).scalar()
        if not isinstance(version, int):
            raise StateDamaged('the state database does not say which version wrote it')
        if version > SCHEMA_VERSION:
            raise InvalidContext(
                f'the state database was written by a newer version (schema {version}, this '
                f'program knows {SCHEMA_VERSION}): upgrade pysyncml'
            )
        if version < SCHEMA_VERSION:
            self._upgrade(connection, version)
        elif present != ours:
            missing = ', '.join(sorted(ours - present))
            raise StateDamaged(f'the state database is damaged ({missing} is not there)')

    def _upgrade(self, connection: Connection, version: int) -> None:
        path = self.engine.url.database
        if self.engine.dialect.name == 'sqlite' and path and os.path.exists(path):
            copy_sqlite(path, f'{path}.v{version}.bak')
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
    # neither the log nor the text of an error is the place for hashes, nonces and notes
    engine = sqlalchemy.create_engine(bind, hide_parameters=True, json_deserializer=_read_json)
    event.listen(engine, 'handle_error', _tell_damage)
    if engine.dialect.name == 'sqlite':
        event.listen(engine, 'connect', _set_up_sqlite)
        event.listen(engine, 'begin', _begin_sqlite)
    return engine


def _read_json(text: Any) -> Any:
    """Return what a JSON column holds; numbers are not for us, as SQLite stores them as such."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(error) from error


def _tell_damage(context: Any) -> None:
    """Say so where an error of the database means that it is damaged."""
    error = context.original_exception
    if is_damage(error):
        raise damaged(error) from error


def _set_up_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # the driver must not begin transactions by itself: we say BEGIN IMMEDIATE, so that a
    # transaction that reads first and writes later cannot fail in the middle
    connection.isolation_level = None
    try:
        for pragma in (
            'journal_mode=WAL',
            'synchronous=FULL',
            'foreign_keys=ON',
            'busy_timeout=60000',
        ):
            connection.execute(f'PRAGMA {pragma}')
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise damaged(error) from error
        raise


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


def copy_sqlite(path: str, target: str) -> None:
    """Copy a database as it stands, with what is still in its write-ahead log.

    The copy is there as a whole, and lasts, or not at all.
    """
    made = f'{target}.new'
    for end in ('', '-journal', '-wal', '-shm'):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(made + end)
    os.close(os.open(made, os.O_WRONLY | os.O_CREAT, 0o600))  # SQLite would let others read it
    with (
        contextlib.closing(sqlite3.connect(path)) as source,
        contextlib.closing(sqlite3.connect(made)) as copy,
    ):
        source.backup(copy)
        copy.execute('PRAGMA journal_mode=DELETE')  # all of it in one file
    with open(made, 'rb+') as file:
        os.fsync(file.fileno())
    os.replace(made, target)
    sync_folder(os.path.dirname(os.path.abspath(target)))
