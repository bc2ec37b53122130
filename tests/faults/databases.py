"""The state database refuses: its disk is full, it cannot be written, it is locked for long.

Connections are made as always, but for a counter: from a certain statement on, or at it alone,
they raise what SQLite raises. SQLite may have taken the transaction back by itself then
(https://sqlite.org/lang_transaction.html, "Response To Errors Within A Transaction"); so here.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sqlite3.dbapi2
from collections.abc import Iterator
from typing import Any

#: What SQLite says, and whether it takes the transaction back.
REFUSALS = {
    'full': ('database or disk is full', True),
    'io': ('disk I/O error', True),
    'readonly': ('attempt to write a readonly database', False),
    'locked': ('database is locked', False),
    'no file': ('unable to open database file', False),
}


class Trouble:
    """Lets statements fail that go to the database whose path has *part* in it.

    Args:
        at: the number of the first statement that fails, counted from 1; 0: none does.
        kind: one of :data:`REFUSALS`.
        only: whether it is the only one.
    """

    def __init__(self, part: str, at: int, kind: str, *, only: bool = False) -> None:
        self.part, self.at, self.only = part, at, only
        self.text, self.takes_back = REFUSALS[kind]
        self.kind = kind
        self.count = 0
        self.when = ''

    def __call__(self, connection: Any, statement: str) -> None:
        """Take notice of a statement; raise if it is to fail."""
        self.count += 1
        if self.at and (self.count == self.at or (self.count > self.at and not self.only)):
            if self._is_spared(statement):
                return
            self.when = self.when or statement[:60]
            if self.takes_back and connection.in_transaction:
                sqlite3.Connection.execute(connection, 'ROLLBACK')
            raise sqlite3.OperationalError(self.text)

    def _is_spared(self, statement: str) -> bool:
        word = statement.lstrip().upper()
        if word.startswith('ROLLBACK'):
            return True
        reads = word.startswith(('SELECT', 'PRAGMA', 'BEGIN', 'COMMIT'))
        return reads and self.kind in ('full', 'readonly')


@contextlib.contextmanager
def troubled(trouble: Trouble) -> Iterator[None]:
    """Let all connections that are made inside the block heed *trouble*."""

    class Cursor(sqlite3.Cursor):
        def execute(self, statement: str, *args: Any) -> Any:
            self.connection.heed(statement)
            return super().execute(statement, *args)

        def executemany(self, statement: str, *args: Any) -> Any:
            self.connection.heed(statement)
            return super().executemany(statement, *args)

    class Connection(sqlite3.Connection):
        mine = False

        def heed(self, statement: str) -> None:
            if self.mine:
                trouble(self, statement)

        def cursor(self, *_: Any) -> Any:
            return super().cursor(Cursor)

        def commit(self) -> None:
            self.heed('COMMIT')
            super().commit()

    connect = sqlite3.dbapi2.connect

    def connects(path: Any, *args: Any, **keywords: Any) -> Any:
        connection = connect(path, *args, factory=Connection, **keywords)
        connection.mine = trouble.part in str(path)
        return connection

    sqlite3.dbapi2.connect = connects
    try:
        yield
    finally:
        sqlite3.dbapi2.connect = connect
