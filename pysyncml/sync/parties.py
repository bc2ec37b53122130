"""Who takes part in a turn: our datastores, the peer, and the bindings between them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Protocol

from pysyncml.agents.base import Agent
from pysyncml.constants import AlertCode, Policy, Role, SyncType
from pysyncml.errors import StoreFull
from pysyncml.protocol.devinf import ContentTypeInfo, DataStoreInfo, DeviceInfo, DevInf
from pysyncml.protocol.limits import Limits, shortened
from pysyncml.protocol.messages import Cred
from pysyncml.protocol.quirks import quirks_of
from pysyncml.protocol.session import Progress, Session
from pysyncml.state.changes import ChangeLog
from pysyncml.state.knowledge import Knowledge
from pysyncml.state.records import BindingRecord, DeviceRecord, StoreRecord
from pysyncml.state.work import UnitOfWork
from pysyncml.stats import Stats
from pysyncml.sync.announcing import announced
from pysyncml.sync.object_cache import ObjectCache
from pysyncml.sync.pairing import common_types, find_uri

_MODES = {int(mode): mode for mode in SyncType}  # asked for with each item: quicker than an enum
_NOTHING_TO_TAKE_BACK = contextlib.nullcontext()


class LocalStore(Protocol):
    """What a turn needs of one of our datastores."""

    record: StoreRecord
    accounts: dict[str, str]

    @property
    def agent(self) -> Agent:
        """The glue to the items."""
        ...

    @property
    def uri(self) -> str:
        """The address of the datastore."""
        ...

    @property
    def keepsHistory(self) -> bool:
        """Whether ways back to earlier versions are to be kept."""
        ...

    @property
    def contentTypes(self) -> list[ContentTypeInfo]:
        """What the agent can read and write."""
        ...

    @property
    def filter(self) -> str | None:
        """The query that says which items we want of a server; ``None``: all."""
        ...

    @property
    def filterType(self) -> str:
        """Whether we want nothing else (``EXCLUSIVE``), or keep what we have (``INCLUSIVE``)."""
        ...


class Binding:
    """One of our datastores, the peer's it goes with, and how far the session has come."""

    def __init__(
        self,
        store: LocalStore,
        record: BindingRecord,
        progress: Progress,
        parties: Parties,
    ) -> None:
        self.store = store
        self.agent = store.agent
        self.record = record
        self.progress = progress
        self.parties = parties
        self.role = parties.session.role  #: Our role.
        #: Whether an item of which parts are missing is there; ``None``: not looked up yet.
        self.unfinished: bool | None = None
        # worked out of what the peer has announced, as long as it does not announce something else
        self._content_types: tuple[object, list[tuple[str, str]]] | None = None
        self._partial_types: tuple[object, list[tuple[str, str]]] | None = None
        #: What was read of items before it is their turn, by the :func:`id` of the item.
        self.read_ahead: dict[int, Any] = {}

    @property
    def number(self) -> int:
        """What tells this session from others of the peer; one that goes on keeps it."""
        return self.progress.number

    @property
    def mode(self) -> SyncType:
        """The kind of synchronisation both sides agreed on."""
        return _MODES[self.progress.mode]

    @property
    def alert_code(self) -> AlertCode:
        """What this kind of synchronisation is asked for with."""
        code = self.mode.alert
        slow = self.progress.slow and code == AlertCode.TWO_WAY
        return AlertCode.SLOW_SYNC if slow else AlertCode(code)

    @property
    def we_send(self) -> bool:
        """Whether our changes travel."""
        return self.mode.client_sends if self.role is Role.CLIENT else self.mode.server_sends

    @property
    def they_send(self) -> bool:
        """Whether the peer's changes travel."""
        return self.mode.server_sends if self.role is Role.CLIENT else self.mode.client_sends

    @property
    def wipes(self) -> bool:
        """Whether what the peer does not send is to be thrown away here."""
        return self.mode.wipes and self.they_send

    @property
    def log(self) -> ChangeLog:
        """The changes of our datastore."""
        return self.parties.work.log(self.record.store_id)

    @property
    def known(self) -> Knowledge:
        """What the peer knows of our datastore."""
        assert self.record.id is not None
        return self.parties.work.knowledge(self.record.store_id, self.record.id)

    @property
    def stats(self) -> Stats:
        """The counts of this session."""
        return self.parties.stats_of(self.progress)

    @property
    def replaces_client(self) -> bool:
        """Whether the client throws away what it has for what the server sends."""
        return self.mode is SyncType.REFRESH_FROM_SERVER

    @property
    def content_type(self) -> tuple[str, str] | None:
        """The type and version in which we send; ``None`` if the peer takes none of ours."""
        return next(iter(self.content_types), None)

    @property
    def content_types(self) -> list[tuple[str, str]]:
        """The types and versions in which we can send, the best first; empty if there is none."""
        announced = self.parties.peer.stores
        if self._content_types is None or self._content_types[0] is not announced:
            theirs = self.parties.peer_types(self.progress.peer_store)
            self._content_types = announced, common_types(self.store.contentTypes, theirs)
        return self._content_types[1]

    @property
    def partial_types(self) -> list[tuple[str, str]]:
        """Those of these types in which the peer takes some fields of an item (FieldLevel)."""
        if self.parties.session.version != '1.2':
            return []
        announced = self.parties.peer.stores
        if self._partial_types is None or self._partial_types[0] is not announced:
            said = self.parties.peer_store(self.progress.peer_store) or {}
            taken = said.get('field_level') or ()
            self._partial_types = announced, [t for t in self.content_types if t[0] in taken]
        return self._partial_types[1]

    def savepoint(self) -> contextlib.AbstractContextManager[None]:
        """Return a block whose work in the database is taken back if it fails."""
        if self.agent.transactional:
            return self.parties.work.savepoint()
        return _NOTHING_TO_TAKE_BACK

    def problem(self, text: str) -> None:
        """Remember one line for people."""
        problems, most = self.stats.problems, self.parties.limits.lines
        if len(problems) < most:
            problems.append(shortened(text))
        elif len(problems) == most:
            problems.append('and more of that kind')

    def conflict(self, item_id: str) -> None:
        """Remember that one of our items was in a conflict."""
        names = self.stats.conflictNames
        if len(names) < self.parties.limits.lines:
            names.append(shortened(self.agent.describeItem(item_id)))

    def not_taken(self, uri: str | None, text: str) -> None:
        """Remember that an item of the peer's was not stored; a refresh then deletes nothing."""
        self.stats.hereErr += 1
        self.problem(f'an item of the other side ({uri or "?"}) was not taken: {text}')


class Parties:
    """Everything a turn works with, made anew for each message.

    Args:
        session: the conversation.
        work: the unit of work of this message.
        stores: our datastores by URI.
        peer: the other device.
        device: what we say of ourselves.
        policy: who wins conflicts, where the datastore does not say.
        mode: what a client asks for: for all datastores, or by their URIs, where those that are
            not named stay out; two-way by default.
        may_delete: asked with (how many, of how many) when a peer's deletions pass the limit.
        consent: whether our user has agreed to unusually many deletions.
        routes: our URI → the peer's, where the user fixed it.
        max_obj_size: bytes an item sent to us may have.
        suspend: whether our user wants to stop now, and go on another time.
        objects: the written form of items that are on their way.
        user_of: tells of credentials which of these accounts (user name to hashed password) they
            are of, if they are good; for a server with datastores that have accounts of their own.
        limits: what the peer may make us do and keep.
        may_be_copied: whether a client wants to hear (:class:`~pysyncml.errors.DeviceCopied`) of
            another device that goes by its id.
    """

    def __init__(
        self,
        session: Session,
        work: UnitOfWork,
        stores: Mapping[str, LocalStore],
        peer: DeviceRecord,
        device: DeviceInfo,
        *,
        policy: Policy = Policy.KEEP_BOTH,
        mode: SyncType | Mapping[str, SyncType] | None = None,
        may_delete: Callable[[int, int], bool] | None = None,
        consent: bool = False,
        routes: Mapping[str, str] | None = None,
        max_obj_size: int | None = None,
        suspend: bool = False,
        objects: ObjectCache | None = None,
        user_of: Callable[[Cred, Mapping[str, str]], str | None] | None = None,
        limits: Limits | None = None,
        may_be_copied: bool = False,
    ) -> None:
        self.session = session
        self.work = work
        self.stores = stores
        self.peer = peer
        self.device = device
        self.policy = policy
        if mode is None or isinstance(mode, SyncType):
            mode = dict.fromkeys(stores, mode or SyncType.TWO_WAY)
        self.modes: Mapping[str, SyncType] = mode
        self.may_delete = may_delete or (lambda count, total: True)
        self.consent = consent
        self.routes = dict(routes or {})
        self.max_obj_size = max_obj_size
        self.suspend = suspend
        self.objects = objects or ObjectCache()
        self.user_of = user_of or (lambda cred, accounts: None)
        self.limits = limits or Limits()
        self.introduced = 0  # how often we have said in this message who we are
        self.compared = 0  # how many pages of checksums we were asked for in this message
        self.may_be_copied = may_be_copied
        self._bindings: dict[str, Binding] = {}
        self._stats: dict[str, Stats] = {}
        # the peer's datastores by URI, as long as it does not announce others
        self._announced: tuple[object, dict[str, Any]] | None = None
        self._heed_quirks()

    # --- bindings -----------------------------------------------------------------------------

    def bindings(self) -> list[Binding]:
        """Return the bindings of this session, in the order they were agreed on."""
        return [self._binding(progress) for progress in self.session.datastores.values()]

    def find(self, uri: str | None) -> Binding | None:
        """Return the binding whose local datastore is meant by *uri*."""
        if uri is None:
            return None
        name = find_uri(uri, self.session.datastores)
        return self._binding(self.session.datastores[name]) if name is not None else None

    def by_store(self, uri: str) -> Binding | None:
        """Return the binding of our datastore *uri*."""
        progress = self.session.datastores.get(uri)
        return self._binding(progress) if progress else None

    def open(self, store: LocalStore, peer_uri: str) -> Binding:
        """Return the binding of *store* with the peer's *peer_uri*, made if there is none."""
        records = self.work.records
        peer_store = records.first(StoreRecord, device_id=self.peer.id, uri=peer_uri)
        if peer_store is None:
            assert self.peer.id is not None
            self._check_datastores()
            peer_store = records.save(StoreRecord(device_id=self.peer.id, uri=peer_uri))
        assert store.record.id is not None and peer_store.id is not None
        record = records.first(
            BindingRecord, store_id=store.record.id, peer_store_id=peer_store.id
        ) or records.save(BindingRecord(store_id=store.record.id, peer_store_id=peer_store.id))
        assert record.id is not None
        progress = Progress(store=store.uri, peer_store=peer_uri, binding=record.id)
        progress.number = self.session.number
        progress.counted = self.work.log(store.record.id).count()
        self.session.datastores[store.uri] = progress
        binding = Binding(store, record, progress, self)
        self._bindings[store.uri] = binding
        return binding

    def _check_datastores(self) -> None:
        count = len(self.work.records.find(StoreRecord, device_id=self.peer.id))
        if count >= self.limits.datastores and self.session.role is Role.SERVER:
            raise StoreFull(f'a device may have {self.limits.datastores} datastores')

    def _binding(self, progress: Progress) -> Binding:
        binding = self._bindings.get(progress.store)
        if binding is None:
            record = self.work.records.first(BindingRecord, id=progress.binding)
            assert record is not None
            binding = Binding(self.stores[progress.store], record, progress, self)
            self._bindings[progress.store] = binding
        return binding

    def part(self) -> None:
        """Let go of the bindings, which know us: what a message brought is not kept any longer."""
        self._bindings.clear()

    # --- statistics ---------------------------------------------------------------------------

    def stats_of(self, progress: Progress) -> Stats:
        """Return the counts of a datastore, kept with the session."""
        stats = self._stats.get(progress.store)
        if stats is None:
            stats = Stats.restore(progress.stats)
            self._stats[progress.store] = stats
        stats.mode = SyncType.SLOW_SYNC if _is_slow(progress) else _MODES[progress.mode]
        return stats

    def keep_stats(self) -> None:
        """Put the counts back into the session."""
        for progress in self.session.datastores.values():
            self.stats_of(progress)
        for uri, stats in self._stats.items():
            self.session.datastores[uri].stats = stats.values()

    # --- device information -------------------------------------------------------------------

    def our_devinf(self) -> DevInf:
        """Return what we say of ourselves."""
        stores = tuple(
            DataStoreInfo(
                uri=store.uri,
                display_name=store.record.display_name,
                max_guid_size=store.record.max_guid_size,
                content_types=tuple(store.contentTypes),
                sync_types=tuple(store.record.sync_types or ()),
                hierarchical_sync=bool(store.agent.hierarchicalSync),
                **announced(store, self.session.version, kin=self.session.quirks.large_parts),
            )
            for store in self.stores.values()
        )
        return DevInf(version=self.session.version, device=self.device, stores=stores)

    def our_digest(self) -> str:
        """Return what tells whether our device information has changed."""
        document = self.our_devinf()
        stores = [[_store_values(s), repr((s.capabilities, s.filters))] for s in document.stores]
        text = json.dumps([document.device.values(), stores], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def learn(self, devinf: DevInf) -> bool:
        """Remember what the peer says of itself (OMA-DS-DevInf 1.2), unless that is too much."""
        values = devinf.device.values()
        stores = [_store_values(store) for store in devinf.stores]
        if len(json.dumps([values, stores])) > self.limits.device_information:
            return False
        self.peer.devinf, self.peer.stores = values, stores
        self.work.records.save(self.peer)
        self._heed_quirks()
        return True

    def _heed_quirks(self) -> None:
        values = self.peer.devinf
        device = DeviceInfo(**values) if values else None
        self.session.quirks = quirks_of(device, self.peer.dev_id)

    def peer_store(self, uri: str) -> dict[str, Any] | None:
        """Return what the peer has announced of its datastore *uri*."""
        if self._announced is None or self._announced[0] is not self.peer.stores:
            stores = {store['uri']: store for store in self.peer.stores or []}
            self._announced = self.peer.stores, stores
        announced = self._announced[1]
        name = find_uri(uri, announced)
        return announced[name] if name is not None else None

    def peer_types(self, uri: str) -> list[ContentTypeInfo]:
        """Return the content types the peer has announced for its datastore *uri*."""
        announced = self.peer_store(uri)
        if announced is None:
            return []
        return [ContentTypeInfo(**info) for info in announced['content_types']]

    def peer_offers(self) -> dict[str, list[ContentTypeInfo]]:
        """Return the peer's datastores with their content types."""
        return {store['uri']: self.peer_types(store['uri']) for store in self.peer.stores or []}

    def peer_guid_size(self, uri: str) -> int | None:
        """Return the most bytes an id may have for the peer's datastore *uri*, if it said so."""
        announced = self.peer_store(uri)
        return announced.get('max_guid_size') if announced is not None else None

    @property
    def peer_counts(self) -> bool:
        """Whether the peer wants to be told how many changes there are."""
        return bool((self.peer.devinf or {}).get('numberOfChanges'))

    @property
    def peer_label(self) -> str:
        """A name of the peer for people."""
        return self.peer.name or self.peer.dev_id


def _is_slow(progress: Progress) -> bool:
    return progress.slow and progress.mode == SyncType.TWO_WAY


def _store_values(store: DataStoreInfo) -> dict[str, Any]:
    values = asdict(store) | {'content_types': []}
    values['content_types'] = [type_values(info) for info in store.content_types]
    values['sync_types'] = [int(number) for number in store.sync_types]
    values['field_level'] = sorted({cap.ctype for cap in store.capabilities if cap.field_level})
    return {
        name: values[name]
        for name in (
            'uri',
            'display_name',
            'max_guid_size',
            'max_obj_size',
            'content_types',
            'sync_types',
            'hierarchical_sync',
            'field_level',
        )
    }


def type_values(info: ContentTypeInfo) -> dict[str, Any]:
    """Return a content type as values that JSON can carry."""
    return {
        'ctype': info.ctype,
        'versions': list(info.versions),
        'preferred': info.preferred,
        'transmit': info.transmit,
        'receive': info.receive,
    }
