"""The other devices: a server of ours, clients of ours, and their datastores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from pysyncml import codec
from pysyncml.codec.grammar import VERSIONS
from pysyncml.constants import NAMESPACE_AUTH_BASIC, ItemState, Role, SyncType
from pysyncml.errors import InvalidAdapter
from pysyncml.protocol.devinf import ContentTypeInfo, DeviceInfo
from pysyncml.state.records import BindingRecord, DeviceRecord, StoreRecord
from pysyncml.state.work import UnitOfWork
from pysyncml.sync.pairing import find_uri

if TYPE_CHECKING:
    from pysyncml.context import Context

#: What a datastore takes part in by default.
ALL_TYPES = tuple(SyncType)


class Device:
    """What the local device and a peer have in common: an identity and datastores."""

    def __init__(self, context: Context, record: DeviceRecord) -> None:
        self.context = context
        self.record = record

    @property
    def devID(self) -> str:
        """The id of the device."""
        return self.record.dev_id

    @property
    def name(self) -> str | None:
        """A name for people."""
        return self.record.name

    @property
    def url(self) -> str | None:
        """The address of a server."""
        return self.record.url

    @property
    def username(self) -> str | None:
        """The user name to log in with."""
        return self.record.username

    @property
    def lastSync(self) -> float | None:
        """When a session was last completed, in seconds since 1970."""
        return self.record.last_sync

    @property
    def isLocal(self) -> bool:
        """Whether this is ourselves."""
        return self.record.role == ''

    @property
    def devinfo(self) -> DeviceInfo | None:
        """What the device says of itself."""
        values = self.record.devinf
        return DeviceInfo(**values) if values else None


class PeerStore:
    """A datastore of a peer, and how it is bound to one of ours."""

    def __init__(self, peer: Peer, values: Mapping[str, Any], binding: PeerBinding | None) -> None:
        self.adapter = peer
        self.uri: str = values['uri']
        self.displayName: str | None = values.get('display_name')
        self.contentTypes = [ContentTypeInfo(**info) for info in values.get('content_types') or ()]
        self.syncTypes = [SyncType(n) for n in values.get('sync_types') or () if n in ALL_TYPES]
        self.maxGuidSize: int | None = values.get('max_guid_size')
        self.maxObjSize: int | None = values.get('max_obj_size')
        self.binding = binding

    def getRegisteredChanges(self) -> list[tuple[str, ItemState]]:
        """Return (item id, state) of everything the peer has not been told yet."""
        return self.binding.pending() if self.binding else []

    def describe(self, stream: TextIO) -> None:
        """Write what is known of the datastore to *stream*."""
        describe_store(self, stream)


class PeerBinding:
    """One of our datastores bound to one of a peer's."""

    def __init__(self, context: Context, record: BindingRecord, uri: str) -> None:
        self.context = context
        self.record = record
        self.uri = uri  # of our datastore

    @property
    def sourceAnchor(self) -> str | None:
        """Our anchor."""
        return self.record.our_anchor

    @property
    def targetAnchor(self) -> str | None:
        """The peer's anchor."""
        return self.record.peer_anchor

    def knownCount(self) -> int:
        """Return how many of our items the peer is known to have."""
        assert self.record.id is not None
        with self.context.inWork() as work:
            return work.knowledge(self.record.store_id, self.record.id).count()

    def pending(self) -> list[tuple[str, ItemState]]:
        """Return (item id, state) of everything the peer has not acknowledged."""
        assert self.record.id is not None
        with self.context.inWork() as work:
            known = work.knowledge(self.record.store_id, self.record.id)
            rows = known.pending(self.record.cursor, None, slow=False, session=0)
        return [(row.item_id, _state(row.gone, row.acknowledged)) for row in rows]


def _state(gone: bool, acknowledged: int | None) -> ItemState:
    if gone:
        return ItemState.DELETED
    return ItemState.ADDED if acknowledged is None else ItemState.MODIFIED


class Peer(Device):
    """A device we have met: a server of ours or a client of ours."""

    @property
    def role(self) -> Role:
        """What the peer is to us."""
        return Role(self.record.role)

    @property
    def stores(self) -> dict[str, PeerStore]:
        """The datastores of the peer by URI: those it announced and those we synchronise with."""
        announced = {values['uri']: values for values in self.record.stores or ()}
        with self.context.inWork() as work:
            stores = {}
            for record in work.records.find(StoreRecord, device_id=self.record.id):
                binding = self._binding(work, record)
                name = find_uri(record.uri, announced) or record.uri
                values = {'uri': record.uri, **announced.pop(name, {})}
                stores[record.uri] = PeerStore(self, values, binding)
        for uri, values in announced.items():
            stores[uri] = PeerStore(self, values, None)
        return stores

    def _binding(self, work: UnitOfWork, record: StoreRecord) -> PeerBinding | None:
        binding = work.records.first(BindingRecord, peer_store_id=record.id)
        if binding is None:
            return None
        local = work.records.first(StoreRecord, id=binding.store_id)
        return PeerBinding(self.context, binding, local.uri if local else '')


class RemoteAdapter(Peer):
    """A server to synchronise with.

    Args:
        context: the environment.
        url: the address to which messages are POSTed.
        auth: ``syncml:auth-basic`` or ``syncml:auth-md5`` to begin with; by default what the
            server asked for the last time, else basic if nobody can listen on the way.
        username: the user to log in as.
        password: goes with *username*; it is used and never stored.
        encoding: ``xml`` or ``wbxml`` to begin with; by default what worked the last time,
            else the one of *context*.
        version: ``1.0``, ``1.1`` or ``1.2``, and no other; by default what worked the last time,
            else the newest that the server knows.
        server_login: the name and the password by which the server has to prove who it is. Few
            servers can; it is the certificate (https) that does it elsewhere.
        insecure: whether the password itself may be sent where others can listen, if the server
            asks for it and *auth* does not say it.

    Raises:
        UnknownCodec: there is no such *encoding*.
        InvalidAdapter: there is no such *version*.
    """

    def __init__(
        self,
        context: Context,
        url: str,
        auth: str | None = None,
        username: str | None = None,
        password: str | None = None,
        encoding: str | None = None,
        version: str | None = None,
        server_login: tuple[str, str] | None = None,
        insecure: bool = False,
    ) -> None:
        if encoding is not None:
            codec.get(encoding)
        if version not in (None, *VERSIONS):
            raise InvalidAdapter(f'there is no SyncML {version}, only {", ".join(VERSIONS)}')
        with context.inWork() as work:
            record = work.records.first(
                DeviceRecord, owner=context.owner, role=Role.SERVER.value, url=url
            ) or DeviceRecord(
                owner=context.owner,
                role=Role.SERVER.value,
                dev_id=url,
                url=url,
                created=work.now,
            )
            if auth is not None or record.username != username:
                record.auth, record.peer_nonce = auth, None
            record.username = username
            record.encoding = encoding or record.encoding
            record.version = version or record.version
            work.records.save(record)
        super().__init__(context, record)
        self.password = password
        self.version = version
        self.server_login = server_login
        self.insecure = insecure or auth == NAMESPACE_AUTH_BASIC


def describe_store(store: Any, stream: TextIO) -> None:
    """Write what is known of a datastore, ours or a peer's, to *stream*."""
    stream.write(f'{store.displayName or store.uri}\n')
    stream.write(f'  URI: {store.uri}\n')
    stream.write(f'  Sync types: {",".join(str(int(kind)) for kind in store.syncTypes)}\n')
    stream.write(f'  Max ID size: {store.maxGuidSize or "-"}\n')
    stream.write(f'  Max object size: {store.maxObjSize or "-"}\n')
    stream.write('  Capabilities:\n')
    for info in store.contentTypes:
        stream.write('    ')
        info.describe(stream)


def describe_stores(stores: Iterable[Any], stream: TextIO) -> None:
    """Write what is known of datastores to *stream*."""
    stores = list(stores)
    if not stores:
        stream.write('DataStores: (none)\n')
        return
    stream.write('DataStores:\n')
    for store in stores:
        lines = _Indented(stream)
        store.describe(lines)


class _Indented:
    """A text stream that puts two blanks before each line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._fresh = True

    def write(self, text: str) -> int:
        for line in text.splitlines(keepends=True):
            self._stream.write(('  ' if self._fresh else '') + line)
            self._fresh = line.endswith('\n')
        return len(text)
