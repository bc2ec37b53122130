"""The unit of work: begin, ask, remember, commit. The only door to the tables.

There is one for each message. It begins after decoding and commits before any byte leaves; it is
never open while we wait for the network. Files cannot join a transaction, so they take part as
:class:`Publisher`: bodies are staged and made durable, what is to be done with them is committed
as journal lines together with everything else, and only then is it done, as often as needed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection, select

from pysyncml.state.answers import keep_answer, kept_answer
from pysyncml.state.bulk import insert_rows
from pysyncml.state.changes import ChangeLog
from pysyncml.state.database import Database
from pysyncml.state.knowledge import Knowledge
from pysyncml.state.records import BindingRecord, Records, SessionRecord
from pysyncml.state.unfinished import Unfinished, tokens

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession


_ROW = 32_000  # characters of lines in a row of the journal


class Publisher(Protocol):
    """Something outside of the database that keeps step with it."""

    name: str

    def prepare(self) -> list[str]:
        """Make durable what was staged; return the lines that tell what is to be done.

        There are no line ends in them.
        """
        ...

    def publish(self, lines: list[str]) -> None:
        """Do what *lines* tell. Doing it again must be harmless."""
        ...

    def settle(self, work: UnitOfWork) -> list[str]:
        """Write down what came of it; return the lines that are finished."""
        ...

    def let_go(self) -> None:
        """Forget everything, and close what is open: the unit of work is over."""
        ...


class UnitOfWork:
    """One transaction, with what is gathered in it.

    Use it as a context manager: leaving it commits, unless an exception passes or *readonly* is
    set; then everything is taken back.
    """

    def __init__(
        self,
        database: Database,
        now: float,
        *,
        readonly: bool = False,
        patience: float | None = None,
    ) -> None:
        self.database = database
        self.patience = patience  # seconds to wait for others
        self.tables = database.tables
        self.now = now
        self.readonly = readonly
        self.publishers: list[Publisher] = []
        self._leftovers: list[str] = []  # files that nobody needs once this is committed
        self.connection: Connection
        self.records: Records
        self._session: OrmSession | None = None
        self._logs: dict[int, ChangeLog] = {}
        self._knowledge: dict[int, Knowledge] = {}
        self._unfinished: dict[int, Unfinished] = {}
        self._stack = contextlib.ExitStack()
        self._token: Any = None

    # --- begin and end ------------------------------------------------------------------------

    def __enter__(self) -> UnitOfWork:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.database.turn(self.patience))
            self._transaction = contextlib.ExitStack()
            self._begin()
            self._stack = stack.pop_all()
        self._token = self.database.current.set(self)
        return self

    def _begin(self) -> None:
        self.connection = self._transaction.enter_context(self.database.transaction())
        self.records = Records(self.connection, self.tables)
        self._unfinished.clear()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None and not self.readonly:
                self._commit()
            else:
                self._roll_back()
        finally:
            self.database.current.reset(self._token)
            self._stack.close()
            # publishers know us, too: without this all would stay until cycles are looked for
            while self.publishers:
                self.publishers.pop().let_go()
            self._logs.clear()
            self._knowledge.clear()

    def _commit(self) -> None:
        lines: list[tuple[Publisher, list[str]]] = []
        try:
            for publisher in self.publishers:
                lines.append((publisher, publisher.prepare()))
                self._journal(publisher, lines[-1][1])
            self.flush()
            named = set(tokens(self.connection, self.tables)) if self._leftovers else set()
        except BaseException:
            self._roll_back()
            raise
        self._end_transaction()
        if self.database.spool is not None:
            for token in set(self._leftovers) - named:
                self.database.spool.remove(token)
        for publisher, work_lines in lines:
            if work_lines:
                self._publish(publisher, work_lines)

    def _end_transaction(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
        self._transaction.close()

    def _roll_back(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
        # leaving by an exception is how a transaction is taken back
        with contextlib.suppress(_TakenBack):
            self._transaction.__exit__(_TakenBack, _TakenBack(), None)

    # --- files keep step ----------------------------------------------------------------------

    def _journal(self, publisher: Publisher, lines: list[str]) -> None:
        # few rows: there may be as many lines as there are items in a message
        rows = [{'publisher': publisher.name, 'line': pack} for pack in _packed(lines)]
        insert_rows(self.connection, self.tables.journal, rows)

    def _publish(self, publisher: Publisher, lines: list[str]) -> None:
        publisher.publish(lines)
        self._logs.clear()
        self._knowledge.clear()
        self._transaction = contextlib.ExitStack()
        self._begin()
        try:
            finished = publisher.settle(self)
            self.strike(publisher.name, finished)
            self.flush()
        except BaseException:
            self._roll_back()
            raise
        self._end_transaction()

    def strike(self, name: str, lines: list[str]) -> None:
        """Take *lines* of the publisher called *name* out of the journal."""
        done, journal = set(lines), self.tables.journal
        for number, pack in self._journal_rows(name):
            packed = pack.split('\n')
            rest = [line for line in packed if line not in done]
            if not rest:
                self.connection.execute(journal.delete().where(journal.c.id == number))
            elif len(rest) < len(packed):
                left = journal.update().where(journal.c.id == number)
                self.connection.execute(left.values(line='\n'.join(rest)))

    def journal_lines(self, name: str) -> list[str]:
        """Return what a crash left undone of the publisher called *name*, oldest first."""
        return [line for _, pack in self._journal_rows(name) for line in pack.split('\n')]

    def _journal_rows(self, name: str) -> list[tuple[int, str]]:
        journal = self.tables.journal
        query = select(journal.c.id, journal.c.line).where(journal.c.publisher == name)
        rows = self.connection.execute(query.order_by(journal.c.id)).all()
        return [(row[0], row[1]) for row in rows]

    def recover(self, publisher: Publisher) -> None:
        """Finish what a crash left undone of *publisher*."""
        lines = self.journal_lines(publisher.name)
        if lines and not self.readonly:
            publisher.publish(lines)
            self.strike(publisher.name, publisher.settle(self))

    # --- what is known ------------------------------------------------------------------------

    @property
    def session(self) -> OrmSession:
        """An ORM session in this transaction, for models of programs and agents."""
        if self._session is None:
            from sqlalchemy.orm import Session as OrmSession

            self._session = OrmSession(
                bind=self.connection,
                join_transaction_mode='rollback_only',
                expire_on_commit=False,
            )
        return self._session

    def log(self, store_id: int) -> ChangeLog:
        """Return the log of changes of one of our datastores."""
        if store_id not in self._logs:
            self._logs[store_id] = ChangeLog(self.connection, self.tables, store_id, self.now)
        return self._logs[store_id]

    def knowledge(self, store_id: int, binding_id: int) -> Knowledge:
        """Return what the peer of a binding knows of one of our datastores."""
        if binding_id not in self._knowledge:
            self._knowledge[binding_id] = Knowledge(
                self.connection, self.tables, self.log(store_id), binding_id
            )
        return self._knowledge[binding_id]

    def flush(self) -> None:
        """Write everything gathered so far, without ending the transaction."""
        if self._session is not None:
            self._session.flush()
        for log in self._logs.values():
            log.flush()
        for knowledge in self._knowledge.values():
            knowledge.flush()

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """Take back, at an exception, what an agent did in the database inside the block."""
        if self._session is not None:
            self._session.flush()
        with self.connection.begin_nested() as nested:
            try:
                yield
                if self._session is not None:
                    self._session.flush()
            except BaseException:
                nested.rollback()
                if self._session is not None:
                    self._session.expunge_all()
                raise

    def compare_anew(self, record: BindingRecord) -> None:
        """Forget all that the peer of a binding knows: both sides compare everything next time.

        Nothing is deleted by that on either side.
        """
        assert record.id is not None
        self.knowledge(record.store_id, record.id).forget_all()
        self.unfinished(record.id).drop()
        record.our_anchor = record.peer_anchor = record.last_sync = record.suspended = None
        record.cursor = 0
        self.records.save(record)

    def unfinished(self, binding_id: int) -> Unfinished:
        """Return what has arrived of the item of a binding that comes in parts."""
        if binding_id not in self._unfinished:
            self._unfinished[binding_id] = Unfinished(
                self.connection, self.tables, binding_id, self.database.spool, self._leftovers
            )
        return self._unfinished[binding_id]

    def keep_answer(self, row: SessionRecord, body: bytes) -> None:
        """Make *body* the last answer of the session *row*, which is then to be saved.

        Raises:
            StoreFull: there is no room for it.
        """
        self._leftovers += keep_answer(row, body, self.database.spool)

    def kept_answer(self, row: SessionRecord) -> bytes | None:
        """Return the last answer of the session *row*; ``None`` if it is not there any more."""
        return kept_answer(row, self.database.spool)

    def clear_away(self) -> None:
        """Remove files of objects in parts that nobody knows any more, as after a crash."""
        spool = self.database.spool
        if spool is not None and not spool.is_empty():
            spool.sweep([*tokens(self.connection, self.tables), *self._leftovers])

    @contextlib.contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Take back, at an exception, everything done inside the block: what is gathered, too.

        Logs and knowledge must be asked for anew afterwards.
        """
        self.flush()
        try:
            with self.savepoint():
                yield
                self.flush()
        except BaseException:
            self._logs.clear()
            self._knowledge.clear()
            raise

    # --- options and accounts -----------------------------------------------------------------

    def options(self) -> dict[str, Any]:
        """Return all options a program has stored."""
        option = self.tables.option
        rows = self.connection.execute(select(option.c.key, option.c.value))
        return {row.key: row.value for row in rows if not row.key.startswith('schema.')}

    def set_option(self, key: str, value: Any) -> None:
        """Store the value (anything JSON can carry) of an option; ``None`` takes it away."""
        option = self.tables.option
        self.connection.execute(option.delete().where(option.c.key == key))
        if value is not None:
            self.connection.execute(option.insert().values(key=key, value=value))

    def accounts(self) -> dict[str, str]:
        """Return the hash of the password of every user who may come in."""
        account = self.tables.account
        rows = self.connection.execute(select(account.c.username, account.c.password_hash))
        return {row.username: row.password_hash for row in rows}

    def md5_secrets(self) -> dict[str, str]:
        """Return what it takes to check the digests of the users who may send some."""
        account = self.tables.account
        query = select(account.c.username, account.c.md5_secret)
        rows = self.connection.execute(query.where(account.c.md5_secret.is_not(None)))
        return {row.username: row.md5_secret for row in rows}

    def renew_account(self, username: str, before: str, hashed: str) -> None:
        """Store another hash of a user's password, unless it is not *before* any more."""
        account = self.tables.account
        mine = (account.c.username == username, account.c.password_hash == before)
        self.connection.execute(account.update().where(*mine).values(password_hash=hashed))

    def set_accounts(
        self, accounts: dict[str, str], md5_secrets: dict[str, str] | None = None
    ) -> None:
        """Let in these users, name to hashed password, and nobody else.

        *md5_secrets* are of those who may log in by MD5 (:func:`.protocol.auth.md5_secret`).
        """
        account = self.tables.account
        self.connection.execute(account.delete())
        for username, hashed in accounts.items():
            secret = (md5_secrets or {}).get(username)
            values = {'username': username, 'password_hash': hashed, 'md5_secret': secret}
            self.connection.execute(account.insert().values(**values))


def _packed(lines: list[str]) -> Iterator[str]:
    """Yield *lines* joined by line ends, as many at a time as go into a row well."""
    pack: list[str] = []
    room = _ROW
    for line in lines:
        if pack and len(line) >= room:
            yield '\n'.join(pack)
            pack, room = [], _ROW
        pack.append(line)
        room -= len(line) + 1
    if pack:
        yield '\n'.join(pack)


class _TakenBack(Exception):
    """Ends a transaction without keeping it."""
