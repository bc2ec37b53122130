"""Do what a command of the peer's asks, and answer it: one command at a time."""

from __future__ import annotations

import logging

from pysyncml.constants import TYPE_SYNCML_DEVICE_INFO, AlertCode, Role, StatusCode, SyncType
from pysyncml.errors import CommandError
from pysyncml.protocol.devinf import DevInf
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Anchor,
    Atomic,
    Command,
    Copy,
    Delete,
    Get,
    Item,
    ItemsCommand,
    Location,
    Map,
    Meta,
    Move,
    Put,
    Replace,
    Results,
    Sequence,
    Status,
    Sync,
)
from pysyncml.protocol.session import Refused, Said, Sent
from pysyncml.protocol.stages import Stage, is_legal
from pysyncml.sync.commands import copy_item, move_item, receive
from pysyncml.sync.containers import all_or_none, in_order
from pysyncml.sync.filtering import read_filter
from pysyncml.sync.outgoing import CONSENT, new_anchor
from pysyncml.sync.pairing import find_uri
from pysyncml.sync.parties import Binding, Parties
from pysyncml.sync.replies import Reply, members, put, refuse_all, reply_to
from pysyncml.sync.settle import settle

log = logging.getLogger(__name__)


def apply(command: Command, answered: Sent | None, parties: Parties) -> list[Said]:
    """Carry out *command* and return the answer: its Status, and what else it asks for."""
    if isinstance(command, Status):
        settle(command, answered, parties)
        return []
    return put(_answer(command, parties), parties.session)


def _answer(command: Command, parties: Parties) -> list[Reply]:
    match command:
        case Alert():
            return _alerts(command, parties)
        case Sync():
            return _sync(command, parties)
        case Map():
            return _map(command, parties)
        case Put() | Results():
            return _learn(command, parties)
        case Get():
            return _tell(command, parties)
        case Refused():
            return [Reply(command.command, command.status)]
        case Sequence():
            return in_order(command, lambda child: _answer_inner(child, parties))
        case Atomic():
            return all_or_none(
                command, lambda c: _answer_inner(c, parties), parties, _meant(command, parties)
            )
        case _:
            # Exec, Search: optional (OMA-DS-DataSyncRep 1.2, §6.6)
            return [Reply(command, StatusCode.NOT_IMPLEMENTED)]


def _answer_inner(command: Command, parties: Parties) -> list[Reply]:
    """Answer a command in a Sequence or an Atomic, which must be legal by itself."""
    session = parties.session
    legal = is_legal(session.role.other, session.theirs, command.name)
    if not legal or isinstance(command, Status):
        return refuse_all([command], StatusCode.COMMAND_NOT_ALLOWED)
    return _answer(command, parties)


def _meant(command: Atomic, parties: Parties) -> list[Binding]:
    """Return the bindings that the Syncs in *command* are about."""
    found = {}
    for member in members(command.commands):
        if isinstance(member, Sync | Map):
            binding = _binding_of(member, parties)
            if binding is not None:
                found[binding.store.uri] = binding
    return list(found.values())


# --- device information -----------------------------------------------------------------------


def _learn(command: Put | Results, parties: Parties) -> list[Reply]:
    source = command.items[0].source_uri if command.items else None
    documents = [item.data for item in command.items if isinstance(item.data, DevInf)]
    for document in documents:
        parties.learn(document)
    code = StatusCode.OK if documents else StatusCode.NOT_FOUND
    return [Reply(command, code, source=source)]


def _tell(command: Get, parties: Parties) -> list[Reply]:
    return [_tell_one(command, item, parties) for item in command.items or (Item(),)]


def _tell_one(command: Get, item: Item, parties: Parties) -> Reply:
    session, target = parties.session, item.target_uri
    uri = f'devinf{session.version.replace(".", "")}'
    if target is None or find_uri(target, [uri]) is None:
        return Reply(command, StatusCode.NOT_FOUND, target=target)
    results = Results(
        msg_ref=session.peer_msg_id,
        cmd_ref=command.cmd_id,
        meta=Meta(type=f'{TYPE_SYNCML_DEVICE_INFO}+xml'),
        items=(Item(source=Location(f'./{uri}'), data=parties.our_devinf()),),
    )
    return Reply(command, StatusCode.OK, target=target, more=(Said(results, Sent('Results')),))


# --- Alert ------------------------------------------------------------------------------------


def _alerts(command: Alert, parties: Parties) -> list[Reply]:
    """Answer an Alert: each of its items has a Status of its own."""
    return [_alert(command, item, parties) for item in command.items or (Item(),)]


def _alert(command: Alert, item: Item, parties: Parties) -> Reply:
    session = parties.session
    kind = SyncType.of_alert(command.code)
    if kind is None or kind is SyncType.SERVER_ALERTED:
        return reply_to(command, item, _take_notice(command, item, parties))
    text = ''
    if session.theirs is not Stage.SETUP:
        code = StatusCode.FORBIDDEN  # too late: what is synchronised has been agreed on
    elif session.role is Role.CLIENT:
        binding = parties.find(item.target_uri) or parties.find(item.source_uri)
        code = StatusCode.NOT_FOUND if binding is None else _agree(binding, command.code, item)
    else:
        code, text = _try_to_open(parties, kind, item)
    anchor = item.meta.anchor if item.meta else None
    echo = (Item(data=anchor),) if anchor else ()
    note = (Item(data=text.encode()),) if text else ()
    return Reply(command, code, (*echo, *note), item.target_uri, item.source_uri)


def _take_notice(command: Alert, item: Item, parties: Parties) -> StatusCode:
    if command.code == AlertCode.DISPLAY:
        text = item.data.decode('utf-8', 'replace') if isinstance(item.data, bytes) else ''
        shown = ''.join(char if char.isprintable() else ' ' for char in text[:_SHOWN])
        log.warning('%s says: %s', parties.peer_label, shown)
        return StatusCode.OK
    known = command.code == AlertCode.NEXT_MESSAGE
    return StatusCode.OK if known else StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED


_SHOWN = 500  # characters of a text to be shown to the user


def _try_to_open(parties: Parties, kind: SyncType, item: Item) -> tuple[StatusCode, str]:
    try:
        return _open(parties, kind, item), ''
    except CommandError as error:  # of its filter
        return StatusCode(error.status), str(error)


def _open(parties: Parties, kind: SyncType, item: Item) -> StatusCode:
    """Take part in what a client asks for, as its server.

    Raises:
        CommandError: what it wants to have cannot be told by its filter.
    """
    name = find_uri(item.target_uri or '', parties.stores)
    if name is None:
        return StatusCode.NOT_FOUND
    store = parties.stores[name]
    wanted = read_filter(store, item.target)
    binding = parties.open(store, item.source_uri or item.target_uri or '')
    progress, record = binding.progress, binding.record
    progress.filter = wanted
    if binding.content_type is None:
        del parties.session.datastores[name]
        return StatusCode.UNSUPPORTED_MEDIA_TYPE
    anchor = item.meta.anchor if item.meta else None
    progress.peer_last = anchor.last if anchor else None
    progress.peer_next = anchor.next if anchor else None
    progress.agreed = True
    progress.mode = int(SyncType.TWO_WAY if kind is SyncType.SLOW_SYNC else kind)
    progress.slow = kind is SyncType.SLOW_SYNC
    if not progress.peer_last or kind is SyncType.REFRESH_FROM_SERVER:
        # a device without an anchor may have been wiped, and give its ids to other items
        binding.known.forget_all()
        record.cursor = 0
        parties.work.records.save(record)
    if kind.slow or (record.peer_anchor and progress.peer_last == record.peer_anchor):
        return StatusCode.OK
    progress.slow = True
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
    if strange and not progress.slow and not theirs.wipes:
        progress.slow = True
        return StatusCode.REFRESH_REQUIRED
    return StatusCode.OK


# --- Sync and Map -----------------------------------------------------------------------------


def _binding_of(command: Sync | Map, parties: Parties) -> Binding | None:
    found = parties.find(command.target.uri if command.target else None)
    if found is None and isinstance(command, Sync) and command.source is not None:
        found = parties.find(command.source.uri)
    return found


def _sync(command: Sync, parties: Parties) -> list[Reply]:
    target = command.target.uri if command.target else None
    source = command.source.uri if command.source else None
    binding = _binding_of(command, parties)
    code = StatusCode.OK
    if binding is None:
        code = StatusCode.NOT_FOUND
    elif not binding.progress.live:
        code = StatusCode.OPERATION_CANCELLED
    replies = [Reply(command, code, target=target, source=source)]
    if binding is None or code is not StatusCode.OK:
        return replies + refuse_all(command.commands, code)
    binding.progress.consent |= bool(command.meta and CONSENT in command.meta.emi)
    _prefetch(binding, command)
    for child in command.commands:
        replies += _child(binding, child)
    return replies


def _child(binding: Binding, command: Command) -> list[Reply]:
    """Carry out a command that stands in a Sync, maybe in a Sequence or an Atomic there."""
    if not binding.they_send:
        # in a synchronisation that goes the other way
        return refuse_all([command], StatusCode.COMMAND_NOT_ALLOWED)
    match command:
        case Add() | Replace() | Delete() | Copy() | Move():
            return _items(binding, command)
        case Sequence():
            return in_order(command, lambda child: _child(binding, child))
        case Atomic():
            parties = binding.parties
            return all_or_none(command, lambda c: _child(binding, c), parties, [binding])
    return refuse_all([command], StatusCode.COMMAND_NOT_ALLOWED)


def _prefetch(binding: Binding, command: Sync) -> None:
    """Load what is known of all items of a Sync at once."""
    items = [
        item
        for child in members(command.commands)
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


def _items(binding: Binding, command: ItemsCommand) -> list[Reply]:
    """Do the same with each item; each has a Status of its own."""
    if not command.items:
        return [Reply(command, StatusCode.INCOMPLETE_COMMAND)]
    replies = []
    for item in command.items:
        match command:
            case Copy():
                code, text = copy_item(binding, command, item)
            case Move():
                code, text = move_item(binding, command, item)
            case Add() | Replace() | Delete():
                code, text = receive(binding, command, item)
        replies.append(reply_to(command, item, code, text))
    return replies


def _map(command: Map, parties: Parties) -> list[Reply]:
    """Note the ids a client gave to what we had sent (OMA-DS-Protocol 1.2, §5.3)."""
    target = command.target.uri if command.target else None
    source = command.source.uri if command.source else None
    binding = _binding_of(command, parties)
    code = StatusCode.NOT_FOUND if binding is None else StatusCode.OK
    if binding is not None:
        binding.known.prefetch(item_ids=[pair.target for pair in command.items])
        for pair in command.items:
            _note_pair(binding, pair.target, pair.source)
    return [Reply(command, code, target=target, source=source)]


def _note_pair(binding: Binding, item_id: str, remote_id: str) -> None:
    known = binding.known.of_item(item_id)
    if known is None or not remote_id:
        return  # an item we never sent, or do not have any more
    session = binding.parties.session
    # a pair of an earlier session, sent before the changes, does not say it is still there
    late = session.theirs is Stage.SYNC
    binding.known.note(
        item_id,
        remote_id=remote_id,
        seq=known.offered if known.offered is not None else known.seq,
        offered=None,
        seen=known.seen if late else session.number,
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
        if progress.slow or binding.mode.slow:
            binding.known.forget_gone(parties.session.number)
        first = binding.known.first_pending(record.cursor)
        record.cursor = binding.log.last_seq if first is None else first - 1
        parties.work.records.save(record)
        binding.log.prune()
    parties.peer.last_sync = parties.work.now
    parties.work.records.save(parties.peer)


__all__ = ['Anchor', 'apply', 'conclude', 'new_anchor']
