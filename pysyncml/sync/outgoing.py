"""What is still to be said in this stage, cut to the room there is.

Nothing is remembered of an outbox but a number: what remains is the changes beyond the cursor of
the session. So a message can be made, lost and made again, and a server may be restarted
between two messages of a package.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from math import inf

from pysyncml.constants import (
    TYPE_SYNCML_DEVICE_INFO,
    AlertCode,
    Role,
    SyncType,
)
from pysyncml.errors import FeatureNotSupported, NoSuchRoute, SyncmlError
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Anchor,
    Delete,
    Get,
    Item,
    ItemsCommand,
    Location,
    Map,
    MapItem,
    Meta,
    Put,
    Replace,
    Sync,
)
from pysyncml.protocol.session import Said, Sent
from pysyncml.protocol.stages import Stage
from pysyncml.state.knowledge import Pending
from pysyncml.sync.filtering import chosen, drop_unwanted, make_filter, target
from pysyncml.sync.hierarchy import parents, parents_first
from pysyncml.sync.pairing import find_uri, pair
from pysyncml.sync.parties import Binding, Parties

log = logging.getLogger(__name__)

#: Experimental meta information that tells a server of our kind: the user of the client has
#: agreed to unusually many deletions.
CONSENT = 'pysyncml-deletions=agreed'

_PAGE = 200
_OVERHEAD = 350  # bytes around the data of an item, generously
_STATUS_SIZE = 300  # bytes of a Status, generously
_MAP_OVERHEAD = 120


def outgoing(parties: Parties, room: int) -> tuple[list[Said], bool]:
    """Return what we say next in our stage, at most about *room* bytes, and whether it is all."""
    match parties.session.ours:
        case Stage.SETUP:
            return _setup(parties)
        case Stage.SYNC:
            return _changes(parties, room)
    return pairs(parties, room), True


# --- setting up -------------------------------------------------------------------------------


def _setup(parties: Parties) -> tuple[list[Said], bool]:
    session = parties.session
    if session.role is Role.SERVER:
        return [_alert(b) for b in parties.bindings() if not b.progress.alerted], True
    saids: list[Said] = []
    if not session.identified:
        saids = _introduction(parties)
        session.identified = True
        if saids and not _routes_known(parties):
            return saids, False
    _open_bindings(parties)
    saids += [_alert(binding) for binding in parties.bindings()]
    return saids, True


def _introduction(parties: Parties) -> list[Said]:
    """Tell who we are and ask the same, if either is not known yet (OMA-DS-DevInf 1.2)."""
    digest = parties.our_digest()
    saids = []
    uri = f'./devinf{parties.session.version.replace(".", "")}'
    meta = Meta(type=f'{TYPE_SYNCML_DEVICE_INFO}+xml')
    if parties.peer.told != digest or parties.peer.stores is None:
        item = Item(source=Location(uri), data=parties.our_devinf())
        saids.append(Said(Put(meta=meta, items=(item,)), Sent('Put', item=digest)))
    if parties.peer.stores is None:
        saids.append(Said(Get(meta=meta, items=(Item(target=Location(uri)),)), Sent('Get')))
    return saids


def _routes_known(parties: Parties) -> bool:
    if parties.peer.stores is not None:
        return True
    return all(uri in parties.routes for uri in parties.stores)


def _open_bindings(parties: Parties) -> None:
    offers = parties.peer_offers()
    ours = {uri: store.contentTypes for uri, store in parties.stores.items()}
    free = {uri: types for uri, types in ours.items() if uri not in parties.routes}
    routes = dict(pair(free, offers)) | parties.routes
    for uri, store in parties.stores.items():
        peer_uri = routes.get(uri)
        if peer_uri is None and not offers:
            peer_uri = uri  # a peer that tells nothing: the same name is as good a guess as any
        if peer_uri is None:
            continue
        binding = parties.open(store, find_uri(peer_uri, offers) or peer_uri)
        progress, record = binding.progress, binding.record
        progress.filter = make_filter(store.filter, store.filterType)
        progress.mode = int(parties.mode)
        first = record.last_sync is None
        progress.slow = parties.mode.slow or first
        if parties.mode is SyncType.SLOW_SYNC:
            progress.mode = int(SyncType.TWO_WAY)
        record.our_anchor = record.our_anchor or new_anchor(parties, None)
        parties.work.records.save(record)
    if parties.stores and not parties.session.datastores:
        names = ', '.join(f'"{uri}"' for uri in parties.stores)
        raise NoSuchRoute(f'the server has nothing that goes with {names}')


def new_anchor(parties: Parties, last: str | None) -> str:
    """Return an anchor for now: milliseconds since 1970, always more than *last*."""
    now = int(parties.work.now * 1000)
    if last is not None and last.isdigit():
        now = max(now, int(last) + 1)
    return str(now)


def _alert(binding: Binding) -> Said:
    progress, record = binding.progress, binding.record
    progress.alerted = True
    progress.our_last = record.our_anchor
    progress.our_next = new_anchor(binding.parties, record.our_anchor)
    code = SyncType(progress.mode).alert
    if progress.slow and code == AlertCode.TWO_WAY:
        code = AlertCode.SLOW_SYNC
    anchor = Anchor(next=progress.our_next, last=progress.our_last)
    meta = Meta(anchor=anchor, max_obj_size=binding.parties.max_obj_size)
    item = Item(target=target(binding), source=Location(progress.store), meta=meta)
    return Said(Alert(code=code, items=(item,)), Sent('Alert', progress.store))


# --- changes ----------------------------------------------------------------------------------


def _changes(parties: Parties, room: int) -> tuple[list[Said], bool]:
    saids = pairs(parties, room) if parties.session.role is Role.CLIENT else []
    for binding in parties.bindings():
        progress = binding.progress
        if not progress.live or progress.exhausted:
            continue
        if not binding.we_send and parties.session.role is Role.SERVER:
            progress.exhausted = True
            continue
        sync, used = _sync(binding, room)
        saids.append(sync)
        room -= used
        if not progress.exhausted:
            return saids, False
    return saids, True


def _sync(binding: Binding, room: int) -> tuple[Said, int]:
    progress = binding.progress
    count = None
    if not progress.opened:
        progress.opened = True
        count = _begin(binding)
    children: list[Said] = []
    used = 2 * _OVERHEAD
    if binding.we_send:
        for child, size in _children(binding, room):
            children.append(child)
            used += size
    else:
        progress.exhausted = True
    command = Sync(
        target=Location(progress.peer_store),
        source=Location(progress.store),
        meta=Meta(emi=(CONSENT,)) if binding.parties.consent else None,
        number_of_changes=count,
    )
    return Said(command, Sent('Sync', progress.store), tuple(children)), used


def _begin(binding: Binding) -> int | None:
    """Set the cursor before the first change; return how many there are."""
    progress = binding.progress
    slow = _sends_all(binding)
    drop_unwanted(binding, slow)
    if slow:
        _register_unknown(binding)
        progress.cursor = 0
    else:
        progress.cursor = binding.record.cursor
    if not binding.we_send:
        return 0
    number = binding.parties.session.number
    client = binding.role is Role.CLIENT
    if progress.filter is not None and not client:
        return None  # it would take a look at every item to tell
    return binding.known.count_pending(progress.cursor, slow=slow, session=number, deletions=client)


def _sends_all(binding: Binding) -> bool:
    return binding.progress.slow or binding.mode.slow


def _register_unknown(binding: Binding) -> None:
    """Give every item of the agent a row in the log, as a slow sync goes by the log."""
    listed = [str(item_id) for item_id in binding.agent.allItemIDs()]
    known = binding.log.live_ids()
    binding.log.record_new([item_id for item_id in listed if item_id not in known])


def _children(binding: Binding, room: int) -> Iterator[tuple[Said, int]]:
    """Yield commands until the room is used up; mark the binding when it has no more."""
    progress = binding.progress
    slow, number = _sends_all(binding), binding.parties.session.number
    client = binding.role is Role.CLIENT
    left, most = room - 2 * _OVERHEAD, _answerable(binding)
    while True:
        page = binding.known.pending(
            progress.cursor, _PAGE, slow=slow, session=number, deletions=client
        )
        if not page:
            progress.exhausted = True
            return
        listed = [pending.item_id for pending in page]
        binding.known.prefetch(item_ids=listed)
        binding.agent.prefetchItems(listed)
        for pending in _in_order(binding, page, slow):
            if pending.item_id in progress.withheld:
                progress.cursor = pending.turn
                continue
            said = _command(binding, pending)
            if said is None:
                progress.cursor = pending.turn
                continue
            size = _size(said)
            if size > left and left < room - 2 * _OVERHEAD:
                return
            progress.cursor = pending.turn
            if not _fits(binding, said, size):
                continue
            _note_offer(binding, pending, said)
            left -= size
            most -= 1
            yield said, size
            if left <= 0 or most <= 0:
                return


def _in_order(binding: Binding, page: list[Pending], slow: bool) -> Iterator[Pending]:
    """Yield of the changes in *page* what is to be told, in the order in which it is."""
    pendings = chosen(binding, page, slow)
    return parents_first(binding, pendings, slow) if binding.agent.hierarchicalSync else pendings


def _answerable(binding: Binding) -> float:
    """Return how many commands can be answered in one message that is not too large for us."""
    limit = binding.parties.session.max_msg_size
    return inf if limit is None else max(1, (limit - 2 * _OVERHEAD) // _STATUS_SIZE - 4)


def _command(binding: Binding, pending: Pending) -> Said | None:
    """Return the command that tells the peer of a change; ``None`` if it cannot be told now."""
    progress = binding.progress
    client = binding.role is Role.CLIENT
    if pending.gone:
        name = pending.item_id if client else pending.remote_id
        if name is None:
            binding.known.forget(pending.item_id)  # offered once, and never taken
        if name is None:
            return None
        item = Item(source=Location(name)) if client else Item(target=Location(name))
        sent = Sent('Delete', progress.store, pending.item_id, pending.seq, True)
        return Said(Delete(items=(item,)), sent)
    data = _dump(binding, pending.item_id)
    if data is None:
        return None
    ctype, body, digest = data
    kind, place = _kind(binding, pending), parents(binding, pending.item_id)
    if client or kind is Add:
        item = Item(source=Location(pending.item_id), data=body, **place)
    else:
        item = Item(target=Location(pending.remote_id or ''), data=body, **place)
    command = kind(meta=Meta(type=ctype), items=(item,))
    sent = Sent(command.name, progress.store, pending.item_id, pending.seq, False, digest)
    return Said(command, sent)


def _kind(binding: Binding, pending: Pending) -> type[ItemsCommand]:
    if binding.role is Role.CLIENT:
        unknown = pending.acknowledged is None or _sends_all(binding)
        return Add if unknown else Replace
    known = binding.known.of_item(pending.item_id)
    # a client that was to show what it has, and did not show this
    shows = _sends_all(binding) and binding.they_send
    lost = shows and (known is None or known.seen != binding.parties.session.number)
    return Add if pending.remote_id is None or lost else Replace


def _dump(binding: Binding, item_id: str) -> tuple[str, bytes, str | None] | None:
    """Return (type, data, fingerprint) of an item.

    ``None``, and a line for people, if it cannot be had.
    """
    try:
        wanted = binding.content_type
        if wanted is None:
            raise FeatureNotSupported('the peer takes none of our content types')
        ctype, version = wanted
        with binding.savepoint():
            item = binding.agent.getItem(item_id)
            digest = binding.agent.fingerprint(item)
            written = binding.agent.dumpsItem(item, ctype, version)
        if isinstance(written, tuple):
            return written[0], written[2], digest
        return ctype, written, digest
    except (SyncmlError, LookupError, OSError) as error:
        binding.stats.hereErr += 1
        binding.problem(f'{binding.agent.describeItem(item_id)} was not sent: {error}')
    except Exception as error:
        log.exception('item %s cannot be written', item_id)
        binding.stats.hereErr += 1
        binding.problem(f'{binding.agent.describeItem(item_id)} was not sent: {error!r}')
    return None


def _size(said: Said) -> int:
    command = said.command
    assert isinstance(command, ItemsCommand)
    item = command.items[0]
    size = _OVERHEAD + len(item.source_uri or '') + len(item.target_uri or '')
    data = item.data
    if isinstance(data, bytes):
        escapes = 4 * data.count(b'&') + 3 * (data.count(b'<') + data.count(b'>'))
        size += max(len(data) + escapes, len(data) * 4 // 3 + 4)
    return size


def _fits(binding: Binding, said: Said, size: int) -> bool:
    """Return whether the peer can take an item of this *size*; a line for people if not."""
    session = binding.parties.session
    limits = [limit for limit in (session.peer_max_obj_size, session.peer_max_msg_size) if limit]
    if not limits or size <= min(limits):
        return True
    assert said.sent is not None
    binding.stats.peerErr += 1
    name = binding.agent.describeItem(said.sent.item)
    binding.problem(f'{name} was not sent: the other side takes {min(limits):,} bytes at most')
    return False


def _note_offer(binding: Binding, pending: Pending, said: Said) -> None:
    """Remember that the item was offered as new, in case the answer is lost.

    A server learns from the Map pair that it has arrived; a client that deletes the item before
    it has heard of it must say so.
    """
    if pending.ahead_of is not None:
        binding.progress.ahead.append(pending.item_id)
    if not isinstance(said.command, Add):
        return
    if binding.role is Role.CLIENT:
        if pending.acknowledged is None:
            binding.known.note(pending.item_id, offered=pending.seq)
    else:
        # if the client shows it at all, before its pair or after, this is what it has
        digest = said.sent.digest if said.sent else None
        binding.known.note(
            pending.item_id,
            remote_id=None,
            seq=None,
            offered=pending.seq,
            seen=None,
            digest=digest,
        )


# --- Map --------------------------------------------------------------------------------------


def pairs(parties: Parties, room: int) -> list[Said]:
    """Return the Map pairs the server has not acknowledged yet (OMA-DS-Protocol 1.2, §5.3).

    They are kept across sessions until it has: so an Add whose answer was lost is not doubled.
    """
    saids = []
    for binding in parties.bindings():
        if not binding.progress.live:
            continue
        limit = max(1, room // _MAP_OVERHEAD)
        found = [
            pair
            for pair in binding.known.unconfirmed(limit)
            if pair[1] not in binding.progress.mapped
        ]
        if not found:
            continue
        binding.progress.mapped.extend(item_id for _, item_id in found)
        command = Map(
            target=Location(binding.progress.peer_store),
            source=Location(binding.progress.store),
            items=tuple(MapItem(target=remote, source=item_id) for remote, item_id in found),
        )
        names = json.dumps([item_id for _, item_id in found])
        saids.append(Said(command, Sent('Map', binding.progress.store, names)))
        room -= _MAP_OVERHEAD * len(found)
    return saids
