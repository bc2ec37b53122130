"""What a Status means for what we had sent."""

from __future__ import annotations

import json

from pysyncml.constants import Role, StatusCode
from pysyncml.errors import (
    InvalidCredentials,
    MissingCredentials,
    RemoteProtocolError,
    ServerBusy,
)
from pysyncml.protocol.messages import Anchor, Status
from pysyncml.protocol.session import Sent
from pysyncml.sync.large_objects import unpack
from pysyncml.sync.parties import Binding, Parties
from pysyncml.sync.setting_up import begin_anew

#: The change has arrived, or something better has been done with it.
_DONE = {200, 201, 202, 203, 204, 205, 206, 207, 208, 209, 418, 419}
#: There was a conflict, and the server has settled it.
_RESOLVED = {207, 208, 209, 419}
#: The item is not there any more, which is what a Delete wants.
_VANISHED = {404, 410}
#: What a peer says that cannot take some fields only, of an item it has not, or has otherwise.
_NOT_ENOUGH = _VANISHED | {406, 412, 415, 501}
#: What some servers say instead of 508 to an Alert 225.
_NO_RESUME = 509


_UNKNOWN_MODE = 'it does not know this kind of synchronisation'
_UNKNOWN_FILTER = 'it does not know this kind of synchronisation, or cannot filter by that'


def settle(status: Status, sent: Sent | None, parties: Parties) -> None:
    """Take notice of a Status; *sent* is what it answers, if we remember it.

    Raises:
        AuthError: the peer does not accept who we are.
        RemoteProtocolError: the peer gave the session up.
    """
    if status.cmd_ref == '0':
        _header(status, parties)
    if sent is None:
        return
    if sent.command == 'Put' and status.code < 300:
        parties.peer.told = sent.item
        parties.work.records.save(parties.peer)
    binding = parties.by_store(sent.store)
    if binding is None:
        return
    match sent.command:
        case 'Alert':
            _alert(binding, status)
        case 'Sync':
            _sync(binding, status)
        case 'Map':
            _map(binding, status, json.loads(sent.item))
        case 'Delete':
            _deletion(binding, status, sent)
        case 'Add' | 'Replace' if sent.more:
            _part(binding, status, sent)
        case 'Add' | 'Replace':
            _change(binding, status, sent)


def _header(status: Status, parties: Parties) -> None:
    session = parties.session
    if session.role is Role.SERVER:
        if status.code >= 400:
            session.aborted = status.code
        return
    match status.code:
        case StatusCode.IN_PROGRESS:
            session.busy += 1
        case StatusCode.AUTHENTICATION_ACCEPTED:
            session.authenticated = True
        case StatusCode.MISSING_CREDENTIALS:
            raise MissingCredentials('the server asks for a user name and a password')
        case StatusCode.INVALID_CREDENTIALS:
            raise InvalidCredentials('the server does not accept this user name and password')
        case StatusCode.RETRY_LATER | StatusCode.SERVICE_UNAVAILABLE:
            session.aborted = status.code
            raise ServerBusy(explain(status))
        case code if code >= 300:
            session.aborted = code
            raise RemoteProtocolError(explain(status), code)


_VERSIONS = {StatusCode.VERSION_NOT_SUPPORTED, StatusCode.PROTOCOL_VERSION_NOT_SUPPORTED}


def explain(status: Status) -> str:
    """Return why the other side has ended the session, by its Status for a header."""
    text = f'the other side ended the session with status {status.code}'
    if status.code == StatusCode.RETRY_LATER:
        text = 'the server does not synchronise now'
    elif status.code in _VERSIONS:
        text = 'the other side speaks no version of SyncML that is spoken here '
        text += f'(status {status.code})'
    for item in status.items:
        if isinstance(item.data, bytes) and item.data:
            text += f': {item.data.decode("utf-8", "replace")}'
    return text


def _alert(binding: Binding, status: Status) -> None:
    progress = binding.progress
    if status.code in (StatusCode.REFRESH_REQUIRED, _NO_RESUME):
        begin_anew(binding)
    if status.code == StatusCode.REFRESH_REQUIRED:
        progress.slow = True
    elif status.code >= 300 and status.code != _NO_RESUME:
        binding.record.suspended = None  # never to be asked for again
        binding.parties.work.records.save(binding.record)
        progress.failed = status.code
        reason = {
            401: 'it does not accept this login',
            407: 'it wants a user name and a password of its own',
            404: f'there is no datastore "{progress.peer_store}"; see --remote-uri',
            415: 'it takes none of our content types',
            406: _UNKNOWN_FILTER if progress.filter else _UNKNOWN_MODE,
            417: 'it is busy, try again later',
            422: 'it does not understand the filter',
        }.get(status.code, 'no reason given')
        binding.problem(f'the other side refused to synchronise (status {status.code}): {reason}')
        binding.stats.peerErr += 1
    for item in status.items:
        if isinstance(item.data, Anchor) and item.data.next != progress.our_next:
            binding.problem('the other side echoed a wrong anchor')


def _sync(binding: Binding, status: Status) -> None:
    if status.code >= 400 and binding.progress.live:
        binding.progress.failed = status.code
        binding.stats.peerErr += 1
        binding.problem(f'the other side refused our changes (status {status.code})')


def _map(binding: Binding, status: Status, item_ids: list[str]) -> None:
    if status.code >= 300:
        return
    confirmed, progress = set(item_ids), binding.progress
    progress.mapped = [item_id for item_id in progress.mapped if item_id not in confirmed]
    binding.known.prefetch(item_ids=item_ids)
    for item_id in item_ids:
        if binding.known.of_item(item_id) is not None:
            binding.known.note(item_id, unconfirmed=False)


def _deletion(binding: Binding, status: Status, sent: Sent) -> None:
    code = status.code
    if code in _DONE | _VANISHED | {210, 211}:
        # also when our deletion lost against a change: then the item comes back as a new one
        binding.known.forget(sent.item)
        if code != StatusCode.CONFLICT_RESOLVED_SERVER_DATA:
            binding.stats.peerDel += 1
        return
    if code == StatusCode.ITEM_NOT_EMPTY:
        binding.known.forget(sent.item)  # the folder comes back, with what is in it
        name = binding.agent.describeItem(sent.item)
        binding.problem(f'{name} was not deleted: the other side has something in it')
        return
    if code == StatusCode.FORBIDDEN and binding.progress.slow:
        return  # some servers want no deletions in a slow sync: the item comes back from them
    _unsettled(binding, status, sent)


def _change(binding: Binding, status: Status, sent: Sent) -> None:
    code = status.code
    if sent.partial:
        binding.progress.partial -= 1
        if code in _NOT_ENOUGH:
            # without a fingerprint of what it has, the whole is sent, if need be the next time
            binding.known.note(sent.item, digest=None)
            binding.progress.wanted_whole.append(sent.item)
            return
    if code in _VANISHED and sent.command == 'Replace' and binding.role is Role.SERVER:
        binding.known.forget(sent.item)  # it will be sent as a new item the next time
        return
    if code not in _DONE:
        _unsettled(binding, status, sent)
        return
    if binding.role is Role.CLIENT or sent.command == 'Replace':
        number = binding.number
        binding.known.note(sent.item, seq=sent.seq, seen=number, digest=sent.digest)
        if binding.role is Role.CLIENT and code == StatusCode.ITEM_ADDED:
            _part_from_twin(binding, sent.item)
    elif binding.known.of_item(sent.item) is not None:
        binding.known.note(sent.item, offered=sent.seq, digest=sent.digest)
    if binding.role is Role.CLIENT and code in _RESOLVED:
        binding.stats.merged += 1
        if code != StatusCode.CONFLICT_RESOLVED_MERGE:
            binding.stats.conflictNames.append(binding.agent.describeItem(sent.item))
    # what a server has added counts as known when the Map pair comes, not now
    if code in (StatusCode.ALREADY_EXISTS, StatusCode.CONFLICT_RESOLVED_SERVER_DATA):
        return
    if sent.command == 'Add':
        binding.stats.peerAdd += 1
    else:
        binding.stats.peerMod += 1


def _part_from_twin(binding: Binding, item_id: str) -> None:
    """Take notice that the server has made a new item of one that it had sent us once.

    It has forgotten which was which. What it sends under the old id is another item now: taken
    for this one, it would put its content in the place of ours.
    """
    known = binding.known.of_item(item_id)
    if known is not None and known.remote_id is not None and not known.unconfirmed:
        binding.known.note(item_id, remote_id=None)


def _part(binding: Binding, status: Status, sent: Sent) -> None:
    """Take notice of what the peer says to a part of an item that was not the last one."""
    parcel = binding.progress.parcel
    if parcel is None or parcel['item'] != sent.item:
        return
    if status.code < 300:
        parcel['acked'] = sent.seq
        return
    binding.progress.cursor = parcel['turn']
    unpack(binding)
    _unsettled(binding, status, sent)


def _unsettled(binding: Binding, status: Status, sent: Sent) -> None:
    """The change stays in the log and will be sent again."""
    name = binding.agent.describeItem(sent.item)
    binding.stats.peerErr += 1
    if status.code == StatusCode.UPDATE_CONFLICT:
        binding.stats.conflicts += 1
        binding.stats.conflictNames.append(name)
        binding.progress.withheld.append(sent.item)
        return
    if status.code == StatusCode.DEVICE_FULL:
        binding.progress.full = True
    reason = {
        403: 'it is not allowed there',
        413: 'it is too large for the other side',
        416: 'it is too large for the other side',
        415: 'the other side does not take this type',
        417: 'the other side asks to try again later',
        420: 'the other side is full',
        425: 'it is not allowed there',
    }.get(status.code, f'status {status.code}')
    for item in status.items:
        if isinstance(item.data, bytes) and item.data:
            reason = item.data.decode('utf-8', 'replace')
    binding.problem(f'{name} was not accepted: {reason}')
