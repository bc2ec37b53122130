"""The objects a program talks to: the local device and its datastores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from pysyncml.agents.base import Agent
from pysyncml.busy import Waiting
from pysyncml.constants import ItemState, Policy, Role, SyncType
from pysyncml.errors import InvalidAdapter, InvalidAgent
from pysyncml.gate import Gate
from pysyncml.protocol.devinf import ContentTypeInfo, DeviceInfo
from pysyncml.protocol.limits import Limits
from pysyncml.state.records import BindingRecord, DeviceRecord, StoreRecord
from pysyncml.state.work import UnitOfWork
from pysyncml.stats import Stats
from pysyncml.sync.object_cache import ObjectCache
from pysyncml.sync.pairing import clean_uri
from pysyncml.sync.parties import type_values
from pysyncml.util import adict, new_device_id

if TYPE_CHECKING:
    from pysyncml.context import Context
    from pysyncml.protocol.notification import Notification
    from pysyncml.transport import Transport
    from pysyncml.verification import Verification

from pysyncml.peer import (
    ALL_TYPES,
    Device,
    Peer,
    PeerStore,
    RemoteAdapter,
    describe_store,
    describe_stores,
)

_GUID_SIZE = 64  # bytes

#: Seconds after its last synchronisation when a server forgets a client, unless said otherwise.
FORGET_AFTER = 365 * 86400.0


class Session(adict):
    """What a program that serves requests keeps between two of them; it may be kept anywhere.

    The conversation itself lives in the database, so that nothing is lost if this is.
    """

    def __init__(self, **values: Any) -> None:
        super().__init__(id=1, isServer=True, msgID=1, cmdID=0, dsstates={}, stats={})
        self.update(values)

    @property
    def nextMsgID(self) -> int:
        """The number of the next message."""
        return int(self.msgID or 0) + 1

    @property
    def nextCmdID(self) -> int:
        """The number of the next command."""
        return int(self.cmdID or 0) + 1


class Store:
    """A datastore of ours.

    Args:
        context: the environment.
        uri: its address, relative to ours: ``notes``.
        displayName: a name for people.
        agent: the glue to the items.
        syncTypes: the kinds of synchronisation it takes part in; all by default.
        maxGuidSize: bytes an id of a peer may have.
        maxObjSize: bytes an item may have.
        conflictPolicy: a :class:`~pysyncml.constants.Policy`; the adapter's by default.
        filter: as a client, which items to ask the server for: a query
            (``SUBJECT&iCON;holiday``); all by default. It may be changed at any time.
        filterType: ``EXCLUSIVE`` to have what fits and nothing else, ``INCLUSIVE`` to leave alone
            what does not fit.
        accounts: the users of a server that may come to this datastore, if not all of them may:
            name to hashed password (:func:`pysyncml.protocol.auth.hash_password`).
        login: the name and the password that a client shows for this datastore; by default
            those for the server, if it asks.
    """

    def __init__(
        self,
        context: Context,
        uri: str,
        displayName: str | None = None,
        agent: Agent | None = None,
        syncTypes: Iterable[int] = ALL_TYPES,
        maxGuidSize: int = _GUID_SIZE,
        maxObjSize: int | None = None,
        conflictPolicy: int | None = None,
        filter: str | None = None,
        filterType: str = 'EXCLUSIVE',
        accounts: Mapping[str, str] | None = None,
        login: tuple[str, str] | None = None,
    ) -> None:
        self.context = context
        self.filter = filter
        self.filterType = filterType
        self.accounts = dict(accounts or {})
        self.login = login
        self._agent = agent
        self.adapter: Adapter | None = None
        self.record = StoreRecord(
            uri=clean_uri(uri) if uri.startswith(('.', '/')) else uri,
            display_name=displayName,
            sync_types=[int(number) for number in syncTypes],
            max_guid_size=maxGuidSize,
            max_obj_size=maxObjSize,
            policy=conflictPolicy,
        )

    @property
    def agent(self) -> Agent:
        """The glue to the items.

        Raises:
            InvalidAgent: there is none.
        """
        if self._agent is None:
            raise InvalidAgent(f'the datastore "{self.uri}" has no agent')
        return self._agent

    @property
    def uri(self) -> str:
        """The address of the datastore."""
        return self.record.uri

    @property
    def displayName(self) -> str | None:
        """The name for people."""
        return self.record.display_name

    @property
    def syncTypes(self) -> list[SyncType]:
        """The kinds of synchronisation."""
        return [SyncType(number) for number in self.record.sync_types or ()]

    @property
    def maxGuidSize(self) -> int | None:
        """Bytes an id of a peer may have."""
        return self.record.max_guid_size

    @property
    def maxObjSize(self) -> int | None:
        """Bytes an item may have."""
        return self.record.max_obj_size

    @property
    def conflictPolicy(self) -> Policy:
        """Who wins conflicts: our own policy, else the adapter's."""
        own = self.record.policy
        if own is None and self.adapter is not None:
            return self.adapter.conflictPolicy
        return Policy(own or Policy.KEEP_BOTH)

    @property
    def contentTypes(self) -> list[ContentTypeInfo]:
        """What the agent can read and write."""
        if self._agent is not None:
            return self._agent.contentTypes
        return [ContentTypeInfo(**info) for info in self.record.content_types or ()]

    @property
    def keepsHistory(self) -> bool:
        """Whether ways back to earlier versions are kept: a server needs them to merge."""
        return self.adapter is not None and self.adapter.keepsHistory

    @property
    def peer(self) -> PeerStore | None:
        """The datastore of our server that this one is bound to."""
        server = self.adapter.peer if self.adapter else None
        if server is None:
            return None
        for store in server.stores.values():
            if store.binding is not None and store.binding.uri == self.uri:
                return store
        return None

    # --- changes ------------------------------------------------------------------------------

    def registerChange(
        self,
        itemID: str,
        state: int,
        changeSpec: str | None = None,
        excludePeerID: str | None = None,
    ) -> None:
        """Say that an item was added, modified or deleted here.

        Args:
            itemID: the item.
            state: an :class:`~pysyncml.constants.ItemState`.
            changeSpec: the way back to the version before, if it is known.
            excludePeerID: the device that knows of the change already.
        """
        with self.context.inWork() as work:
            seq = self._record(work, str(itemID), state, changeSpec)
            if excludePeerID is not None:
                self._acknowledge(work, str(itemID), seq, excludePeerID)

    def registerChanges(self, changes: Iterable[tuple[str, int, str | None]]) -> None:
        """Say the same of many items, as (item id, state, change-spec)."""
        with self.context.inWork() as work:
            changes = list(changes)
            work.log(self._id).prefetch([str(item_id) for item_id, _, _ in changes])
            for item_id, state, spec in changes:
                self._record(work, str(item_id), state, spec)

    def _record(self, work: UnitOfWork, item_id: str, state: int, spec: str | None) -> int:
        return work.log(self._id).record(item_id, state, spec, history=self.keepsHistory)

    def _acknowledge(self, work: UnitOfWork, item_id: str, seq: int, peer_id: str) -> None:
        for peer in work.records.find(DeviceRecord, dev_id=peer_id):
            for peer_store in work.records.find(StoreRecord, device_id=peer.id):
                where = {'store_id': self._id, 'peer_store_id': peer_store.id}
                for binding in work.records.find(BindingRecord, **where):
                    assert binding.id is not None
                    work.knowledge(self._id, binding.id).note(item_id, seq=seq)

    @property
    def _id(self) -> int:
        if self.record.id is None:
            raise InvalidAdapter(f'the datastore "{self.uri}" belongs to no adapter yet')
        return self.record.id

    def mend_log(self, item_ids: Iterable[str]) -> int:
        """Have what is registered go with the items there are; return how many did not.

        For the case that one of the two was lost. No peer is told that anything was deleted; if
        something was wrong, all of them compare everything the next time.
        """
        with self.context.inWork() as work:
            log, there = work.log(self._id), set(item_ids)
            known = log.live_ids()
            log.forget(known - there)
            missing = sorted(there - known)
            log.prefetch(missing)
            for item_id in missing:
                log.record(item_id, ItemState.ADDED, None, history=False)
            wrong = len(known ^ there)
            if wrong:
                for record in work.records.find(BindingRecord, store_id=self._id):
                    work.compare_anew(record)
            return wrong

    def itemCount(self) -> int:
        """Return how many items are registered."""
        with self.context.inWork() as work:
            return work.log(self._id).count()

    def describe(self, stream: TextIO) -> None:
        """Write what is known of the datastore to *stream*."""
        describe_store(self, stream)


class Adapter(Device):
    """The local device.

    Args:
        context: the environment.
        devID: our id; the stored one by default, else the one in *devinfo*, else a new one.
        name: a name for people; other devices see it in names of conflict copies.
        devinfo: what we say of ourselves.
        peer: the server to synchronise with.
        maxGuidSize: bytes an id of a peer may have.
        maxMsgSize: bytes a message to us may have; no limit by default.
        maxObjSize: bytes an item sent to us may have; no limit by default.
        conflictPolicy: a :class:`~pysyncml.constants.Policy`, where a datastore has none.
    """

    def __init__(
        self,
        context: Context,
        devID: str | None = None,
        name: str | None = None,
        devinfo: DeviceInfo | None = None,
        peer: RemoteAdapter | None = None,
        maxGuidSize: int | None = None,
        maxMsgSize: int | None = None,
        maxObjSize: int | None = None,
        conflictPolicy: int | None = None,
    ) -> None:
        with context.inWork() as work:
            record = work.records.first(DeviceRecord, owner=context.owner, role='')
            if record is None:
                record = DeviceRecord(owner=context.owner, created=work.now)
            said = devID or (devinfo.devID if devinfo else None)
            record.dev_id = said or record.dev_id or new_device_id()
            record.name = name or record.name
            record.policy = conflictPolicy or record.policy
            record.max_guid_size = maxGuidSize or record.max_guid_size
            record.max_msg_size = maxMsgSize or record.max_msg_size
            record.max_obj_size = maxObjSize or record.max_obj_size
            if devinfo is not None:
                devinfo.devID = record.dev_id
                record.devinf = devinfo.values()
            work.records.save(record)
        super().__init__(context, record)
        self.stores: dict[str, Store] = {}
        self.keepsHistory = True
        self.routes: dict[str, str] = {}  # our URI → the peer's, where it is fixed
        #: How clients log in: ``basic``, ``md5`` (basic as well), ``md5-only`` or ``hmac``; by
        #: default ``md5`` where accounts were set for it, else ``basic``.
        self.auth: str | None = None
        #: The name and the password by which a server proves to its clients who it is, if one asks.
        self.login: tuple[str, str] | None = None
        self.allowDeletions = False  # whether our user has agreed to unusually many
        self.mayDelete: Callable[[int, int], bool] | None = None
        self.onProgress: Callable[[int, int], None] | None = None
        self.onSession: Callable[[], None] | None = None
        self.onEnd: Callable[[Peer, dict[str, Stats], str], None] | None = None
        #: Told, in the thread concerned, of an error for which a message could not be answered;
        #: it returns whether the program takes care of that.
        self.onFailure: Callable[[Exception], bool] | None = None
        #: Asked by a client for a new id of its own, when it turns out that another device, whose
        #: state was copied from here or the other way round, goes by the same one.
        self.onCopied: Callable[[], str] | None = None
        self.stopping = False  # whether our user wants to stop, and go on another time
        self.suspended = False  # whether the last session was put off
        self.objects = ObjectCache()
        #: What a peer may make us do and keep; see :mod:`pysyncml.protocol.limits`.
        self.limits = Limits()
        #: Asked by a server before it answers a message; if it is, the client is to ask again.
        self.isBusy: Callable[[], bool] | None = None
        self.waiting = Waiting()
        #: How many clients a server keeps; a tenth of them may be new within an hour.
        self.max_devices = 1000
        #: Seconds after its last synchronisation when a server forgets a client; ``None``: never.
        self.forget_after: float | None = FORGET_AFTER
        self.gate = Gate()
        self._peer = peer

    def suspend(self) -> None:
        """Let a session that runs in another thread end with the message it is at.

        The server is told (Alert 224), and the next session goes on where this one ended.
        """
        self.stopping = True

    @property
    def conflictPolicy(self) -> Policy:
        """Who wins conflicts where a datastore does not say."""
        return Policy(self.record.policy or Policy.KEEP_BOTH)

    @property
    def maxMsgSize(self) -> int | None:
        """Bytes a message to us may have."""
        return self.record.max_msg_size

    @property
    def maxObjSize(self) -> int | None:
        """Bytes an item sent to us may have."""
        return self.record.max_obj_size

    @property
    def peer(self) -> Peer | None:
        """The server to synchronise with: the one given, else the only one remembered."""
        if self._peer is None:
            with self.context.inWork() as work:
                known = work.records.find(
                    DeviceRecord, owner=self.context.owner, role=Role.SERVER.value
                )
            if len(known) == 1:
                self._peer = RemoteAdapter(
                    self.context, known[0].url or '', known[0].auth, known[0].username
                )
        return self._peer

    @peer.setter
    def peer(self, peer: RemoteAdapter | None) -> None:
        self._peer = peer

    def getKnownPeers(self, role: Role | None = None) -> list[Peer]:
        """Return all devices we have met, or those in one *role*."""
        with self.context.inWork() as work:
            records = work.records.find(DeviceRecord, owner=self.context.owner)
        return [
            Peer(self.context, record)
            for record in records
            if record.role and (role is None or record.role == role.value)
        ]

    def forget(self, peer: Peer) -> None:
        """Forget a device and everything it knew; it may come back as a new one."""
        with self.context.inWork() as work:
            work.records.delete(peer.record)
        if self._peer is not None and self._peer.record.id == peer.record.id:
            self._peer = None

    def cleanUri(self, uri: str) -> str:
        """Return *uri* in the form in which addresses of datastores are compared."""
        return clean_uri(uri)

    def addStore(self, store: Store) -> Store:
        """Take *store* on, with what is remembered under its URI, and return it."""
        with self.context.inWork() as work:
            known = work.records.first(StoreRecord, device_id=self.record.id, uri=store.record.uri)
            if known is not None:
                store.record.id = known.id
                store.record.display_name = store.record.display_name or known.display_name
            assert self.record.id is not None
            store.record.device_id = self.record.id
            if store.contentTypes:
                store.record.content_types = [type_values(info) for info in store.contentTypes]
            work.records.save(store.record)
        store.adapter = self
        self.stores[store.uri] = store
        return store

    # --- synchronising ------------------------------------------------------------------------

    def sync(
        self,
        mode: int | Mapping[str, int] | None = None,
        transport: Transport | None = None,
        notification: Notification | None = None,
    ) -> dict[str, Stats]:
        """Synchronise datastores with the peer, as its client.

        Args:
            mode: a :class:`~pysyncml.constants.SyncType`; two-way by default. Or our URI → one,
                where datastores that are not named stay out.
            transport: carries the messages; HTTP to the peer's URL by default.
            notification: what the server has asked for the session with: it gives the session
                its id and, without *mode*, says what to do. See :mod:`pysyncml.alerted`.

        Returns:
            What was done, by URI of our datastores.

        Raises:
            InvalidAdapter: there is no peer, or nothing is known of ourselves.
            TransportError: the peer could not be reached.
            ProtocolError: the session could not go on. What was done so far holds.
            AuthError: the peer does not accept who we are.
        """
        from pysyncml.alerted import kinds_of
        from pysyncml.conversation import converse

        if self.devinfo is None:
            raise InvalidAdapter('the adapter has no device information')
        if self.peer is None:
            raise InvalidAdapter('there is no server to synchronise with')
        if mode is None and notification is not None:
            mode = kinds_of(self, notification)
        if isinstance(mode, Mapping):
            kinds = {uri: SyncType(kind) for uri, kind in mode.items()}
            return converse(self, self.peer, kinds, transport, notification)
        kind = SyncType(mode or SyncType.TWO_WAY)
        return converse(self, self.peer, kind, transport, notification)

    def verify(self, transport: Transport | None = None) -> dict[str, Verification]:
        """Compare all that has been synchronised with the peer by checksum, as its client.

        No item is changed. The next synchronisation takes what differs for changed on both sides.

        Args:
            transport: carries the messages; HTTP to the peer's URL by default.

        Returns:
            What came of it, by URI of our datastores.

        Raises:
            CannotCompare: the server does not know how to do that.
            RefusedError: there is nothing to compare yet.
            InvalidAdapter, TransportError, ProtocolError, AuthError: see :meth:`sync`.
        """
        from pysyncml.verification import verify

        if self.devinfo is None:
            raise InvalidAdapter('the adapter has no device information')
        if self.peer is None:
            raise InvalidAdapter('there is no server to compare with')
        if transport is None:
            from pysyncml.transport.http import HTTPTransport

            transport = HTTPTransport()
        return verify(self, self.peer, transport)

    def handleRequest(
        self, session: Session | None, request: Any, response: Any
    ) -> dict[str, Stats]:
        """Answer one message of a client, as its server.

        Args:
            session: what the program keeps for this client; only written to.
            request: has ``headers`` with ``content-type``, and ``body`` in bytes; and ``url``,
                unless a client is to send its credentials with every message; ``remote`` is the
                network address of the client: those who fail to log in have to wait, and
                without it all have to wait for each other; and, if that is known, ``waited``:
                the seconds the message has been waiting.
            response: gets ``contentType``, ``body`` and ``status`` (of HTTP), and
                ``retry_after``: seconds for the header of that name, 0 for none.

        Returns:
            What was done so far in this session, by URI of our datastores.
        """
        from pysyncml.service import answer

        content_type = request.headers.get('content-type') or request.headers.get('Content-Type')
        url = getattr(request, 'url', None)
        address = getattr(request, 'remote', None)
        waited = getattr(request, 'waited', None) or 0.0
        reply = answer(
            self, content_type or '', request.body, url, request.headers, address, waited
        )
        response.contentType, response.body = reply.content_type, reply.body
        response.status, response.retry_after = reply.status, reply.retry_after
        if session is not None:
            session.update(reply.summary)
        return reply.stats

    # --- looking ------------------------------------------------------------------------------

    def pendingChanges(self, role: Role | None = None) -> list[tuple[Peer, PeerStore, Any]]:
        """Return (peer, its datastore, [(item id, state)]) for all peers, or those in a *role*."""
        return [
            (peer, store, store.getRegisteredChanges())
            for peer in self.getKnownPeers(role)
            for store in peer.stores.values()
            if store.binding is not None
        ]

    def describe(self, stream: TextIO) -> None:
        """Write what is known of this device to *stream*."""
        stream.write(f'Device ID: {self.devID}\n')
        describe_stores(self.stores.values(), stream)

    def tellEnd(self, record: DeviceRecord, stats: dict[str, Stats], how: str) -> None:
        """Tell the program that a session with the client of *record* has ended."""
        if self.onEnd is not None:
            self.onEnd(Peer(self.context, record), stats, how)

    def dropSessions(self, before: float) -> None:
        """Forget conversations that were left alone since *before* (seconds since 1970)."""
        with self.context.inWork() as work:
            work.records.drop_sessions(before, keep=self.limits.sessions)
