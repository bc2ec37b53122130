"""Do what a command of the peer's asks, and answer it: one command at a time."""

from __future__ import annotations

import logging

from pysyncml.constants import TYPE_SYNCML_DEVICE_INFO, AlertCode, Role, StatusCode, SyncType
from pysyncml.protocol.devinf import DevInf
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Command,
    Delete,
    Get,
    Item,
    Location,
    Map,
    Meta,
    Put,
    Replace,
    Results,
    Status,
    Sync,
)
from pysyncml.protocol.session import Refused, Said, Sent
from pysyncml.protocol.stages import Stage
from pysyncml.sync.incoming import receive_item
from pysyncml.sync.large_objects import gather, unpack
from pysyncml.sync.outgoing import CONSENT, TEMPORARY
from pysyncml.sync.pairing import find_uri
from pysyncml.sync.parties import Binding, Parties
from pysyncml.sync.setting_up import devinf_uri, go_on
from pysyncml.sync.settle import settle

log = logging.getLogger(__name__)


def apply(command: Command, answered: Sent | None, parties: Parties) -> list[Said]:
    """Carry out *command* and return the answer: its Status, and what else it asks for."""
    match command:
        case Status():
            settle(command, answered, parties)
            return []
        case Alert():
            return _alert(command, parties)
        case Sync():
            return _sync(command, parties)
        case Map():
            return _map(command, parties)
        case Put() | Results():
            return _learn(command, parties)
        case Get():
            return _tell(command, parties)
        case Refused():
            return parties.session.status_of(command.command, command.status)
        case _:
            # Atomic, Sequence, Exec, Search: optional (OMA-DS-DataSyncRep 1.2, §6.6)
            return parties.session.status_of(command, StatusCode.NOT_IMPLEMENTED)


# --- device information -----------------------------------------------------------------------


def _learn(command: Put | Results, parties: Parties) -> list[Said]:
    source = command.items[0].source_uri if command.items else None
    documents = [item.data for item in command.items if isinstance(item.data, DevInf)]
    for document in documents:
        parties.learn(document)
    code = StatusCode.OK if documents else StatusCode.NOT_FOUND
    return parties.session.status_of(command, code, source=source)


def _tell(command: Get, parties: Parties) -> list[Said]:
    session = parties.session
    target = command.items[0].target_uri if command.items else None
    uri = devinf_uri(session.version)
    if target is None or find_uri(target, [uri]) is None:
        return session.status_of(command, StatusCode.NOT_FOUND, target=target)
    results = Results(
        msg_ref=session.peer_msg_id,
        cmd_ref=command.cmd_id,
        meta=Meta(type=f'{TYPE_SYNCML_DEVICE_INFO}+xml'),
        items=(Item(source=Location(f'./{uri}'), data=parties.our_devinf()),),
    )
    status = session.status_of(command, StatusCode.OK, target=target)
    return [*status, Said(results, Sent('Results'))]


# --- Alert ------------------------------------------------------------------------------------


def _alert(command: Alert, parties: Parties) -> list[Said]:
    session = parties.session
    item = command.items[0] if command.items else Item()
    source, target = item.source_uri, item.target_uri
    kind = SyncType.of_alert(command.code)
    resumes = command.code == AlertCode.RESUME and session.version == '1.2'
    if not resumes and kind in (None, SyncType.SERVER_ALERTED):
        code = _about_the_session(command, parties)
        return session.status_of(command, code, target=target, source=source)
    if item.meta is not None and item.meta.max_obj_size:
        session.peer_max_obj_size = item.meta.max_obj_size
    if session.role is Role.CLIENT:
        binding = parties.find(target) or parties.find(source)
        code = StatusCode.NOT_FOUND if binding is None else _agree(binding, command.code, item)
    else:
        code = _open(parties, kind, item)
    anchor = item.meta.anchor if item.meta else None
    echo = (Item(data=anchor),) if anchor else ()
    return session.status_of(command, code, items=echo, target=target, source=source)


def _about_the_session(command: Alert, parties: Parties) -> StatusCode:
    """Do what an Alert asks that is not about synchronising a datastore."""
    session = parties.session
    match command.code:
        case AlertCode.NEXT_MESSAGE | AlertCode.DISPLAY:
            return StatusCode.OK
        case AlertCode.NO_END_OF_DATA:
            for item in command.items:
                _stop_sending(parties, item)
            return StatusCode.OK
        case AlertCode.SUSPEND if session.version == '1.2':
            session.suspended = True
            return StatusCode.OK
    return StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED


def _stop_sending(parties: Parties, item: Item) -> None:
    """The peer misses the rest of an item: it is sent again as a whole the next time."""
    ids = {item.target_uri, item.source_uri} - {None}
    for binding in parties.bindings():
        parcel = binding.progress.parcel
        if parcel is not None and ids & {parcel['target'], parcel['source']}:
            binding.progress.cursor = parcel['seq']
            unpack(binding)


def _open(parties: Parties, kind: SyncType | None, item: Item) -> StatusCode:
    """Take part in what a client asks for, as its server; *kind* ``None``: to go on."""
    name = find_uri(item.target_uri or item.source_uri or '', parties.stores)
    if name is None:
        return StatusCode.NOT_FOUND
    store = parties.stores[name]
    kinds = store.record.sync_types
    if kinds and kind is not None and int(kind) not in kinds:
        return StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED
    binding = parties.open(store, item.source_uri or item.target_uri or '')
    progress, record = binding.progress, binding.record
    if binding.content_type is None:
        del parties.session.datastores[name]
        return StatusCode.UNSUPPORTED_MEDIA_TYPE
    anchor = item.meta.anchor if item.meta else None
    progress.peer_last = anchor.last if anchor else None
    progress.peer_next = anchor.next if anchor else None
    progress.agreed = True
    matches = bool(record.peer_anchor) and progress.peer_last == record.peer_anchor
    state = record.suspended
    if kind is None and state is not None and progress.peer_last in (None, '', state['peer_last']):
        go_on(binding)
        return StatusCode.OK
    refused = kind is None
    kind = SyncType.SLOW_SYNC if kind is None else kind
    progress.mode = int(SyncType.TWO_WAY if kind is SyncType.SLOW_SYNC else kind)
    progress.slow = kind is SyncType.SLOW_SYNC
    if not progress.peer_last or kind is SyncType.REFRESH_FROM_SERVER:
        # a device without an anchor may have been wiped, and give its ids to other items
        binding.known.forget_all()
        record.cursor = 0
        parties.work.records.save(record)
    if not refused and (kind.slow or matches):
        return StatusCode.OK
    progress.slow = True
    progress.refused = True
    return StatusCode.REFRESH_REQUIRED


def _agree(binding: Binding, code: int, item: Item) -> StatusCode:
    """Follow what the server has answered to our Alert (OMA-DS-Protocol 1.2, §5.2)."""
    progress, record = binding.progress, binding.record
    anchor = item.meta.anchor if item.meta else None
    progress.peer_last = anchor.last if anchor else None
    progress.peer_next = anchor.next if anchor else None
    progress.agreed = True
    theirs = SyncType.of_alert(code)
    wanted = SyncType(progress.mode)
    if code == AlertCode.RESUME and progress.resumed:
        theirs = SyncType.SLOW_SYNC if progress.slow else wanted
    elif progress.resumed:
        progress.slow = wanted.slow
    if theirs is SyncType.SLOW_SYNC:
        progress.slow = True
        theirs = SyncType.TWO_WAY
    if theirs is not wanted and (wanted is not SyncType.TWO_WAY or theirs is None or theirs.wipes):
        progress.failed = StatusCode.FORBIDDEN
        binding.stats.hereErr += 1
        binding.problem('the other side insists on another kind of synchronisation')
        return StatusCode.FORBIDDEN
    progress.mode = int(theirs)
    strange = record.last_sync is not None and progress.peer_last != record.peer_anchor
    strange = strange and binding.parties.session.quirks.steady_anchors
    if strange and not progress.slow and not theirs.wipes:
        progress.slow = True
        return StatusCode.REFRESH_REQUIRED
    return StatusCode.OK


# --- Sync and Map -----------------------------------------------------------------------------


def _sync(command: Sync, parties: Parties) -> list[Said]:
    session = parties.session
    target = command.target.uri if command.target else None
    source = command.source.uri if command.source else None
    binding = parties.find(target) or parties.find(source)
    code = StatusCode.OK
    if binding is None:
        code = StatusCode.NOT_FOUND
    elif not binding.progress.live:
        code = StatusCode.OPERATION_CANCELLED
    elif session.theirs is Stage.SETUP:
        code = _early(binding)
    saids = session.status_of(command, code, target=target, source=source)
    if binding is not None and code is StatusCode.OK:
        binding.progress.consent |= bool(command.meta and CONSENT in command.meta.emi)
        _prefetch(binding, command)
    for child in command.commands:
        if binding is None or code is not StatusCode.OK:
            saids += session.status_of(child, code)
        elif not isinstance(child, Add | Replace | Delete):
            saids += session.status_of(child, StatusCode.NOT_IMPLEMENTED)
        elif binding.they_send:
            saids += _items(binding, child)
        else:
            # in a synchronisation that goes the other way
            saids += session.status_of(child, StatusCode.COMMAND_NOT_ALLOWED)
    return saids


def _early(binding: Binding) -> StatusCode:
    """Take changes that came together with the Alert (OMA-DS-Protocol 1.2, §5.9).

    Not so where all items are needed instead: the client sends them next.
    """
    progress = binding.progress
    if progress.refused:
        return StatusCode.REFRESH_REQUIRED
    progress.early = True
    return StatusCode.OK


def _prefetch(binding: Binding, command: Sync) -> None:
    """Load what is known of all items of a Sync at once."""
    items = [
        item
        for child in command.commands
        if isinstance(child, Add | Replace | Delete)
        for item in child.items
    ]
    if binding.role is Role.SERVER:
        remote = [item.source_uri or item.target_uri or '' for item in items]
        binding.known.prefetch(remote_ids=remote)
    else:
        ours = [item.target_uri for item in items if item.target_uri]
        theirs = [item.source_uri for item in items if item.source_uri]
        binding.known.prefetch(item_ids=ours, remote_ids=theirs)


def _items(binding: Binding, command: Add | Replace | Delete) -> list[Said]:
    saids: list[Said] = []
    for item in command.items:
        text = ''
        code, whole, alerts = gather(binding, command, item)
        if not code:
            code, text = receive_item(binding, command, whole)
        note = (Item(data=text.encode()),) if text else ()
        saids += binding.parties.session.status_of(
            command, code, items=note, target=item.target_uri, source=item.source_uri
        )
        saids += alerts
    return saids


def _map(command: Map, parties: Parties) -> list[Said]:
    """Note the ids a client gave to what we had sent (OMA-DS-Protocol 1.2, §5.3)."""
    target = command.target.uri if command.target else None
    source = command.source.uri if command.source else None
    binding = parties.find(target)
    code = StatusCode.NOT_FOUND if binding is None else StatusCode.OK
    if binding is not None:
        binding.known.prefetch(item_ids=[pair.target for pair in command.items])
        for pair in command.items:
            _note_pair(binding, pair.target, pair.source)
    return parties.session.status_of(command, code, target=target, source=source)


def _note_pair(binding: Binding, item_id: str, remote_id: str) -> None:
    known = binding.known.of_item(item_id)
    number = item_id.removeprefix(TEMPORARY)
    if known is None and number != item_id and number.isdecimal():
        known = binding.known.of_offer(int(number))
    if known is None or not remote_id:
        return  # an item we never sent, or do not have any more
    session = binding.parties.session
    # a pair of an earlier session, sent before the changes, does not say it is still there
    late = session.theirs <= Stage.SYNC
    binding.known.note(
        known.item_id,
        remote_id=remote_id,
        seq=known.offered if known.offered is not None else known.seq,
        offered=None,
        seen=known.seen if late else binding.number,
    )


# --- the end ----------------------------------------------------------------------------------


def conclude(parties: Parties) -> None:
    """Everything has been said and answered: now, and last, the anchors move."""
    for binding in parties.bindings():
        progress, record = binding.progress, binding.record
        if not progress.live or not progress.agreed:
            continue
        record.our_anchor, record.peer_anchor = progress.our_next, progress.peer_next
        record.last_sync = parties.work.now
        record.suspended = None
        if progress.slow or binding.mode.slow:
            binding.known.forget_gone(binding.number)
        first = binding.known.first_pending(record.cursor)
        record.cursor = binding.log.last_seq if first is None else first - 1
        parties.work.records.save(record)
        binding.log.prune()
    parties.peer.last_sync = parties.work.now
    parties.work.records.save(parties.peer)


__all__ = ['apply', 'conclude']
