"""The environment of one owner: its state, its clock, its codec; it makes everything else."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pysyncml.errors import InvalidContext, LogicalError
from pysyncml.protocol.auth import read_basic
from pysyncml.protocol.devinf import ContentTypeInfo, DeviceInfo
from pysyncml.state import Database, UnitOfWork
from pysyncml.storage.spool import Spool

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session as OrmSession

    from pysyncml.adapter import Adapter, Store
    from pysyncml.peer import RemoteAdapter


class Context:
    """Keep the state of one owner, and make adapters, peers and datastores.

    Args:
        engine: an SQLAlchemy engine of the application's, in whose database the state is to
            live. A :class:`~sqlalchemy.Connection` instead of an engine means that the
            application ends the transactions: what pysyncml does is then a part of them.
        storage: a database URL, where there is no *engine*; in memory if there is neither.
        prefix: what the names of the tables start with.
        owner: a number, to keep several owners apart in one database.
        directory: a folder for the state's own files; with one, processes take turns, and what
            arrives in parts may be larger than memory.
        codec: the encoding in which a client speaks: ``xml``.
        clock: returns the time in seconds since 1970.
        autoCommit: accepted for programs that say it; an engine is always committed to, a
            connection never.

    Raises:
        InvalidContext: the arguments do not go together.
    """

    DeviceInfo = DeviceInfo
    ContentTypeInfo = ContentTypeInfo

    def __init__(
        self,
        engine: Engine | Connection | None = None,
        storage: str | None = None,
        prefix: str = 'pysyncml',
        owner: int | None = None,
        autoCommit: bool | None = None,
        *,
        codec: str = 'xml',
        directory: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if owner is not None and not isinstance(owner, int):
            raise InvalidContext('the owner must be a number')
        self.owner = owner
        self.prefix = prefix
        self.codec = codec
        self.clock = clock
        self.directory = directory
        lock = os.path.join(directory, 'lock') if directory else None
        if engine is None and storage is None:
            engine = _memory_engine()
        bind = engine if engine is not None else storage
        assert bind is not None
        spool = Spool(os.path.join(directory, 'arriving')) if directory else None
        self.database = Database(bind, prefix=prefix, lock_path=lock, spool=spool)
        self.options = Options(self)

    # --- making things ------------------------------------------------------------------------

    def Adapter(self, **values: Any) -> Adapter:
        """Return the local device, as remembered and as *values* say; see :class:`Adapter`."""
        from pysyncml.adapter import Adapter

        return Adapter(self, **values)

    def RemoteAdapter(self, **values: Any) -> RemoteAdapter:
        """Return a server to synchronise with; see :class:`RemoteAdapter`."""
        from pysyncml.peer import RemoteAdapter

        return RemoteAdapter(self, **values)

    def Store(self, **values: Any) -> Store:
        """Return a datastore, to be given to an adapter; see :class:`Store`."""
        from pysyncml.adapter import Store

        return Store(self, **values)

    # --- transactions -------------------------------------------------------------------------

    def work(self, readonly: bool = False, patience: float | None = None) -> UnitOfWork:
        """Return a new unit of work, to be used in a ``with`` statement.

        Args:
            readonly: whether everything is taken back at the end.
            patience: seconds to wait while others work on the same state; two minutes by
                default. Then comes :class:`~pysyncml.errors.StateBusy`.
        """
        return UnitOfWork(self.database, self.clock(), readonly=readonly, patience=patience)

    @property
    def currentWork(self) -> UnitOfWork | None:
        """The unit of work this thread is in."""
        return self.database.current.get()

    @contextlib.contextmanager
    def inWork(self) -> Iterator[UnitOfWork]:
        """Yield the unit of work this thread is in, or a new one if there is none."""
        current = self.currentWork
        if current is not None:
            yield current
            return
        with self.work() as work:
            yield work

    @property
    def dbsession(self) -> OrmSession:
        """The ORM session of the current unit of work.

        Raises:
            LogicalError: this thread is in none.
        """
        work = self.currentWork
        if work is None:
            raise LogicalError('there is no unit of work now: use "with context.work():"')
        return work.session

    @property
    def sa_engine(self) -> Engine:
        """The SQLAlchemy engine."""
        return self.database.engine

    def save(self) -> None:
        """Write what was gathered so far to the database, without ending the transaction."""
        work = self.currentWork
        if work is not None:
            work.flush()

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    # --- accounts -----------------------------------------------------------------------------

    def setAccounts(self, accounts: Mapping[str, str], md5: bool = False) -> None:
        """Let in these users of a server, name to password, and nobody else.

        Only salted scrypt hashes are stored. Without users everybody may come in.

        Args:
            accounts: name to password.
            md5: whether they may also log in by MD5 or HMAC (see :attr:`Adapter.auth`). For that
                an unsalted MD5 hash has to be stored as well: whoever gets hold of it can log in.
        """
        from pysyncml.protocol.auth import hash_password, md5_secret

        hashed = {name: hash_password(password) for name, password in accounts.items()}
        secrets = {name: md5_secret(name, password) for name, password in accounts.items()}
        with self.inWork() as work:
            work.set_accounts(hashed, secrets if md5 else None)

    # --- for programs that look into requests -------------------------------------------------

    @staticmethod
    def getAuthInfo(request: Any, authorizer: Any) -> Any:
        """Return who sent *request*, or what *authorizer* says of that.

        The credentials are a dict of ``auth``, ``username`` and ``password``; ``None`` if there
        are none. An authorizer is asked ``authorize(uri, data)``.

        Raises:
            UnknownAuthType: the credentials are of an unknown kind.
        """
        from pysyncml.codec import decode

        header = decode(request.headers['content-type'], request.body).header
        data = None
        if header.cred is not None:
            found = read_basic(header.cred)
            name, password = found if found is not None else (None, None)
            data = {'auth': header.cred.type, 'username': name, 'password': password}
        if authorizer is None:
            return data
        return authorizer.authorize(header.target.uri, data)

    @staticmethod
    def getTargetID(request: Any) -> str:
        """Return the address to which *request* was sent, as its header says."""
        from pysyncml.codec import decode

        return decode(request.headers['content-type'], request.body).header.target.uri


class Options:
    """What a program wants to remember, by name; values are what JSON can carry."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._values: dict[str, Any] | None = None

    def _load(self) -> dict[str, Any]:
        if self._values is None:
            with self._context.inWork() as work:
                self._values = work.options()
        return self._values

    def get(self, name: str, default: Any = None) -> Any:
        """Return what is remembered under *name*."""
        return self._load().get(name, default)

    def __contains__(self, name: str) -> bool:
        return name in self._load()

    def items(self) -> Any:
        """Return all names with their values."""
        return self._load().items()

    def update(self, values: Mapping[str, Any]) -> None:
        """Remember *values*; ``None`` forgets. What is remembered already is not written."""
        known = self._load()
        changed = {name: value for name, value in values.items() if known.get(name) != value}
        if not changed:
            return
        with self._context.inWork() as work:
            for name, value in changed.items():
                work.set_option(name, value)
        self._values = None


def _memory_engine() -> Engine:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    return create_engine(
        'sqlite://', poolclass=StaticPool, connect_args={'check_same_thread': False}
    )
