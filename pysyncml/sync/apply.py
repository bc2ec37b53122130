"""Do what a command of the peer's asks, and answer it: one command at a time."""

from __future__ import annotations

import io

from pysyncml.constants import TYPE_SYNCML_DEVICE_INFO, Role, StatusCode
from pysyncml.protocol.devinf import DevInf
from pysyncml.protocol.limits import TooLong
from pysyncml.protocol.messages import (
    Add,
    Alert,
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
from pysyncml.sync.alerts import answer_alert
from pysyncml.sync.commands import copy_item, move_item, receive
from pysyncml.sync.containers import all_or_none, in_order
from pysyncml.sync.incoming import read_ahead
from pysyncml.sync.large_objects import gather
from pysyncml.sync.maps import note_pair
from pysyncml.sync.outgoing import CONSENT
from pysyncml.sync.pairing import find_uri
from pysyncml.sync.parties import Binding, Parties
from pysyncml.sync.replies import Fared, Reply, members, put, refuse_all, replies_to
from pysyncml.sync.rewound import remember
from pysyncml.sync.setting_up import devinf_uri
from pysyncml.sync.settle import settle
from pysyncml.sync.verifying import answer_checksums


def apply(command: Command, answered: Sent | None, parties: Parties) -> list[Said]:
    """Carry out *command* and return the answer: its Status, and what else it asks for."""
    if isinstance(command, Status):
        settle(command, answered, parties)
        return []
    return put(_answer(command, parties), parties.session)


def _answer(command: Command, parties: Parties) -> list[Reply]:
    match command:
        case Alert():
            return answer_alert(command, parties)
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
    told = [parties.learn(document) for document in documents]
    code = StatusCode.OK if documents else StatusCode.NOT_FOUND
    if not all(told):
        code = StatusCode.REQUESTED_ENTITY_TOO_LARGE
    return [Reply(command, code, source=source)]


def _tell(command: Get, parties: Parties) -> list[Reply]:
    return [
        answer_checksums(command, item, parties) or _tell_one(command, item, parties)
        for item in command.items or (Item(),)
    ]


def _tell_one(command: Get, item: Item, parties: Parties) -> Reply:
    session, target = parties.session, item.target_uri
    uri = devinf_uri(session.version)
    if target is None or find_uri(target, [uri]) is None:
        return Reply(command, StatusCode.NOT_FOUND, target=target)
    if parties.introduced == parties.limits.introductions:
        return Reply(command, StatusCode.REQUESTED_ENTITY_TOO_LARGE, target=target)
    parties.introduced += 1
    results = Results(
        msg_ref=session.peer_msg_id,
        cmd_ref=command.cmd_id,
        meta=Meta(type=f'{TYPE_SYNCML_DEVICE_INFO}+xml'),
        items=(Item(source=Location(f'./{uri}'), data=parties.our_devinf()),),
    )
    return Reply(command, StatusCode.OK, target=target, more=(Said(results, Sent('Results')),))


# --- Sync and Map -----------------------------------------------------------------------------


def _binding_of(command: Sync | Map, parties: Parties) -> Binding | None:
    found = parties.find(command.target.uri if command.target else None)
    if found is None and isinstance(command, Sync) and command.source is not None:
        found = parties.find(command.source.uri)
    if found is not None and command.source is not None:
        return None if command.source.uri in found.progress.rivals else found
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
    elif parties.session.theirs is Stage.SETUP:
        code = _early(binding)
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
        for child in members(command.commands)
        if isinstance(child, Add | Replace | Delete)
        for item in child.items
    ]
    if binding.role is Role.SERVER:
        remote = [item.source_uri or item.target_uri or '' for item in items]
        meant = binding.known.prefetch(remote_ids=remote)
    else:
        ours = [item.target_uri for item in items if item.target_uri]
        theirs = [item.source_uri for item in items if item.source_uri]
        meant = binding.known.prefetch(item_ids=ours, remote_ids=theirs)
    if binding.they_send:
        binding.agent.prefetchItems(meant)
        read_ahead(binding, members(command.commands))


def _items(binding: Binding, command: ItemsCommand) -> list[Reply]:
    """Do the same with each item; each has a Status of its own, if they have not fared alike."""
    if not command.items:
        return [Reply(command, StatusCode.INCOMPLETE_COMMAND)]
    fared: list[Fared] = []
    limits = binding.parties.limits
    for item in command.items:
        alerts: tuple[Said, ...] = ()
        try:
            limits.check_item(item)
        except TooLong as error:
            binding.not_taken(item.source_uri or item.target_uri, str(error))
            fared.append((None, error.status, '', ()))  # what is too long is not repeated
            continue
        match command:
            case Copy():
                code, text = copy_item(binding, command, item)
            case Move():
                code, text = move_item(binding, command, item)
            case Add() | Replace() | Delete():
                code, text, alerts = _receive(binding, command, item)
        fared.append((item, code, text, alerts))
    return replies_to(command, fared, share=binding.parties.session.quirks.many_items)


def _receive(
    binding: Binding, command: Add | Replace | Delete, item: Item
) -> tuple[int, str, tuple[Said, ...]]:
    """Take in an item, or a part of one; return Status code, a line, and what else is said."""
    code, whole, alerts = gather(binding, command, item)
    text = ''
    if not code:
        try:
            code, text = receive(binding, command, whole)
        finally:
            if isinstance(whole.data, io.BufferedReader):
                whole.data.close()
    elif code >= 300:
        binding.not_taken(item.source_uri or item.target_uri, f'its parts got status {int(code)}')
    return code, text, tuple(alerts)


def _map(command: Map, parties: Parties) -> list[Reply]:
    """Note the ids a client gave to what we had sent (OMA-DS-Protocol 1.2, §5.3)."""
    target = command.target.uri if command.target else None
    source = command.source.uri if command.source else None
    binding = _binding_of(command, parties)
    code = StatusCode.NOT_FOUND if binding is None else StatusCode.OK
    if binding is not None:
        binding.known.prefetch(
            item_ids=[pair.target for pair in command.items],
            remote_ids=[pair.source for pair in command.items],
        )
        for pair in command.items:
            if parties.limits.is_id(pair.source):
                note_pair(binding, pair)
            else:
                code = StatusCode.URI_TOO_LONG
    return [Reply(command, code, target=target, source=source)]


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
        # a client that could not take everything has thrown nothing away: it is told the next time
        kept_all = binding.replaces_client and binding.stats.peerErr
        # what was not shown is not there, where the peer was to show what it has, or to lose it
        shown = binding.they_send or binding.mode.wipes
        if (progress.slow or binding.mode.slow) and shown and not kept_all:
            binding.known.forget_gone(binding.number)
        first = binding.known.first_pending(record.cursor)
        record.cursor = binding.log.last_seq if first is None else first - 1
        if parties.session.role is Role.SERVER:
            remember(record, binding.log.last_seq)
        record.overtaken = progress.overtaken
        parties.work.records.save(record)
        binding.log.prune()
    parties.peer.last_sync = parties.work.now
    parties.work.records.save(parties.peer)


__all__ = ['apply', 'conclude']
