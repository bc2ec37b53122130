"""The tables, all in one place.

Read downwards: a *device* (ourselves or a peer) has *datastores*; one of ours and one of a peer's
meet in a *binding*, which owns the anchors and a cursor into our datastore's log of *changes*.
The *mapping* tells, for each item of a binding, the peer's id of it and the version the peer
is known to have. *Unfinished* objects and their *chunks* are what has arrived of an item so far
that comes in parts. *Revisions* tell how to get from each version of an item back to the one
before. *Sessions* hold a conversation and the last answer; the *journal* what is to be done
to files after a commit.

Every name starts with a prefix, so that the tables can live in an application's own database.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.sql.elements import ColumnElement

from pysyncml.constants import ItemState

#: What this version of the program writes; see :mod:`pysyncml.state.database`.
SCHEMA_VERSION = 4

_Id = BigInteger().with_variant(Integer, 'sqlite')
_CASCADE = 'CASCADE'


class Tables:
    """The tables under one prefix; made once for each, by :func:`tables`."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.metadata = MetaData()
        self.option = self._table(
            'option',
            Column('key', String(255), primary_key=True),
            Column('value', JSON),
        )
        self.account = self._table(
            'account',
            Column('username', String(255), primary_key=True),
            Column('password_hash', Text, nullable=False),
            # b64(md5(name:password)), only where MD5 authentication is switched on
            Column('md5_secret', Text),
        )
        self.journal = self._table(
            'journal',
            Column('id', _Id, primary_key=True),
            Column('publisher', String(255), nullable=False),
            Column('line', Text, nullable=False),  # one, or several with line ends between them
        )
        self._devices()
        self._items()

    def _table(self, name: str, *columns: Any, **options: Any) -> Table:
        return Table(f'{self.prefix}_{name}', self.metadata, *columns, **options)

    def _partial(self, name: str, rows: ColumnElement[bool], *columns: Column[Any]) -> None:
        """Make an index, in SQLite of those *rows* only.

        (To say the same for another kind of database would have its dialect imported each time.)
        What is the same in all of them is a column as well, and so is what is asked of them:
        SQLite, which does not know how few they are, goes by how much of a query is in an index.
        """
        Index(f'{self.prefix}_{name}', *columns, sqlite_where=rows)

    def _reference(self, name: str, target: Table, **options: Any) -> Column[Any]:
        key = ForeignKey(target.c.id, ondelete=_CASCADE)
        return Column(name, _Id, key, **options)

    def _devices(self) -> None:
        self.device = self._table(
            'device',
            Column('id', _Id, primary_key=True),
            Column('owner', Integer),
            # '' is ourselves; 'server' and 'client' are what a peer is to us
            Column('role', String(8), nullable=False, default=''),
            Column('dev_id', String(255), nullable=False),
            Column('name', Text),
            Column('url', Text),
            Column('auth', String(64)),
            Column('username', String(255)),
            Column('policy', Integer),
            Column('devinf', JSON),  # the values of a DeviceInfo
            Column('stores', JSON),  # the datastores a peer has announced
            Column('told', String(64)),  # sha256 of the device information we have sent it
            Column('sessions', Integer, nullable=False, default=0),
            Column('created', Float),
            Column('last_sync', Float),
            Column('max_msg_size', Integer),
            Column('max_obj_size', Integer),
            Column('max_guid_size', Integer),
            # what the peer is spoken to in: 'xml' or 'wbxml', and '1.0' to '1.2'
            Column('encoding', String(16)),
            Column('version', String(8)),
            Column('our_nonce', Text),  # base64: what we challenged the peer with
            Column('peer_nonce', Text),  # base64: what the peer challenged us with
            UniqueConstraint('owner', 'role', 'dev_id'),
        )
        self.datastore = self._table(
            'datastore',
            Column('id', _Id, primary_key=True),
            self._reference('device_id', self.device, nullable=False),
            Column('uri', Text, nullable=False),
            Column('display_name', Text),
            Column('content_types', JSON),
            Column('sync_types', JSON),
            Column('max_guid_size', Integer),
            Column('max_obj_size', BigInteger),
            Column('policy', Integer),
            # the number of the newest change; given out inside the transaction that uses it
            Column('last_seq', _Id, nullable=False, default=0),
            UniqueConstraint('device_id', 'uri'),
        )
        self.binding = self._table(
            'binding',
            Column('id', _Id, primary_key=True),
            self._reference('store_id', self.datastore, nullable=False),
            self._reference('peer_store_id', self.datastore, nullable=False),
            Column('our_anchor', Text),
            Column('peer_anchor', Text),
            # every change up to this one is known to the peer, or none of its business
            Column('cursor', _Id, nullable=False, default=0),
            Column('last_sync', Float),
            # the session that was broken off, if the next one may go on with it
            Column('suspended', JSON),
            # anchors the peer has had, each with the newest change of ours at that time
            Column('anchors', JSON),
            # a client's: in the last session the server had come further with our id than we had
            Column('overtaken', Boolean),
            UniqueConstraint('store_id', 'peer_store_id'),
        )
        self.unfinished = self._table(
            'unfinished',
            self._reference('binding_id', self.binding, primary_key=True),
            Column('described', JSON, nullable=False),  # the command, the ids and the meta
            Column('size', BigInteger),  # bytes of the whole, as promised
            Column('received', BigInteger, nullable=False, default=0),
        )
        self.chunk = self._table(
            'chunk',
            self._reference('binding_id', self.binding, primary_key=True),
            Column('position', BigInteger, primary_key=True),
            Column('data', LargeBinary, nullable=False),
        )
        self.session = self._table(
            'session',
            Column('id', _Id, primary_key=True),
            self._reference('device_id', self.device, nullable=False, unique=True),
            Column('session_id', String(255), nullable=False),
            Column('state', JSON, nullable=False),
            Column('request', String(64)),  # sha256 of the message answered last
            Column('answer', LargeBinary),
            Column('content_type', String(255)),
            Column('updated', Float, nullable=False),
        )

    def _items(self) -> None:
        self.change = self._table(
            'change',
            self._reference('store_id', self.datastore, primary_key=True),
            Column('item_id', String(255), primary_key=True),
            Column('seq', _Id, nullable=False),
            Column('state', Integer, nullable=False),
            Column('registered', Float),
            sqlite_with_rowid=False,
        )
        Index(f'{self.prefix}_change_seq', self.change.c.store_id, self.change.c.seq)
        # few of many rows: what is asked of these must not cost what exists
        change = self.change.c
        gone = change.state == int(ItemState.DELETED)
        self._partial('change_gone', gone, change.store_id, change.state, change.seq)
        self.revision = self._table(
            'revision',
            self._reference('store_id', self.datastore, primary_key=True),
            Column('item_id', String(255), primary_key=True),
            Column('seq', _Id, primary_key=True),
            Column('before', _Id, nullable=False),  # the version it leads back to
            Column('spec', Text),  # None: not known, as is a step without a row
            sqlite_with_rowid=False,
        )
        self.mapping = self._table(
            'mapping',
            self._reference('binding_id', self.binding, primary_key=True),
            Column('item_id', String(255), primary_key=True),
            Column('remote_id', Text),
            Column('seq', _Id),  # the version the peer has acknowledged
            # the version that was sent as an Add, not yet mapped; -1: the peer has soft-deleted it
            Column('offered', _Id),
            Column('unconfirmed', Boolean, nullable=False, default=False),  # our Map pair
            Column('seen', Integer),  # the session in which the peer showed that it has it
            Column('digest', String(64)),  # the fingerprint of the version the peer has
            Column('past', Text),  # beginnings of those of earlier ones, the newest first
            UniqueConstraint('binding_id', 'remote_id'),
            sqlite_with_rowid=False,
        )
        mapping = self.mapping.c
        unconfirmed = mapping.unconfirmed.is_(True)
        pairs = mapping.binding_id, mapping.unconfirmed, mapping.remote_id
        self._partial('mapping_unconfirmed', unconfirmed, *pairs)


@cache
def tables(prefix: str = 'pysyncml') -> Tables:
    """Return the tables whose names start with *prefix* and an underscore."""
    return Tables(prefix)
