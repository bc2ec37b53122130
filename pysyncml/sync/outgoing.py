"""What is still to be said in this stage, cut to the room there is.

Nothing is remembered of an outbox but a number: what remains is the changes beyond the cursor of
the session. So a message can be made, lost and made again, and a server may be restarted
between two messages of a package.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from enum import Enum, auto
from functools import lru_cache
from itertools import groupby
from math import inf

from pysyncml.constants import Role
from pysyncml.errors import (
    FeatureNotSupported,
    StateDamaged,
    SyncmlError,
    is_of_database,
    refusal_of_system,
)
from pysyncml.protocol.messages import (
    Add,
    Delete,
    Item,
    ItemsCommand,
    Location,
    Meta,
    Replace,
    Sync,
)
from pysyncml.protocol.session import Progress, Said, Sent
from pysyncml.protocol.stages import Stage
from pysyncml.state.knowledge import NEVER_WAS, Pending
from pysyncml.sync import large_objects
from pysyncml.sync.filtering import chosen, drop_unwanted
from pysyncml.sync.hierarchy import parents, parents_first
from pysyncml.sync.large_objects import UNRELATED
from pysyncml.sync.maps import given_id, pairs
from pysyncml.sync.parties import Binding, Parties
from pysyncml.sync.room import LONGEST, Room
from pysyncml.sync.setting_up import set_up
from pysyncml.sync.written import Dumped, Written, length, written_form

log = logging.getLogger(__name__)

#: Experimental meta information that tells a server of our kind: the user of the client has
#: agreed to unusually many deletions.
CONSENT = 'pysyncml-deletions=agreed'

_PAGE = 200
_OVERHEAD = 350  # bytes around the data of an item, generously
_STATUS_SIZE = 300  # bytes of a Status, generously


def outgoing(parties: Parties, room: Room) -> tuple[list[Said], bool]:
    """Return what we say next in our stage, as far as there is room, and whether it is all."""
    match parties.session.ours:
        case Stage.SETUP:
            return set_up(parties, room)
        case Stage.SYNC:
            return _changes(parties, room)
    return pairs(parties, room)


# --- changes ----------------------------------------------------------------------------------


def _changes(parties: Parties, room: Room) -> tuple[list[Said], bool]:
    saids: list[Said] = []
    if parties.session.role is Role.CLIENT:
        saids, all_said = pairs(parties, room)
        if not all_said:
            return saids, False
    for binding in parties.bindings():
        progress = binding.progress
        if not progress.live or progress.exhausted:
            continue
        if not binding.we_send and parties.session.role is Role.SERVER:
            progress.exhausted = True
            continue
        sync = _sync(binding, room)
        if sync is not None:
            saids.append(sync)
        if not progress.exhausted:
            return saids, False
    return saids, True


def _sync(binding: Binding, room: Room) -> Said | None:
    """Return the Sync with the next changes; ``None`` if there is no room for any."""
    progress, quirks = binding.progress, binding.parties.session.quirks
    consent = binding.parties.consent and not quirks.plain_sync
    command = Sync(
        target=Location(progress.peer_store),
        source=Location(progress.store),
        meta=Meta(emi=(CONSENT,)) if consent else None,
        number_of_changes=_count(binding),
    )
    size = room.measure(command)
    said = Said(command, Sent('Sync', progress.store))
    if not room.take(said, size):
        return None
    if not binding.we_send:
        progress.opened = progress.exhausted = True
        return said
    children = tuple(_children(binding, room, room.whole - size))
    if not children and progress.opened and not progress.exhausted:
        return None
    if progress.exhausted and command.number_of_changes is not None:
        command = replace(command, number_of_changes=len(children))  # some could not be sent
    progress.opened = True
    if quirks.many_items:
        children = tuple(_shared(children))
    return replace(said, command=command, children=children)


def _shared(saids: Iterable[Said]) -> Iterator[Said]:
    """Yield commands of which each says what several of *saids* do that follow each other."""
    for (kind, meta), alike in groupby(saids, _manner_of):
        group = list(alike)
        if len(group) == 1 or meta is None:
            yield from group
            continue
        items, each = [], []
        for said in group:
            assert isinstance(said.command, ItemsCommand) and said.sent is not None
            [item] = said.command.items
            items.append(item)
            each.append((item.source_uri or item.target_uri or '', said.sent))
        yield Said(kind(meta=meta, items=tuple(items)), each=tuple(each))


def _manner_of(said: Said) -> tuple[type[ItemsCommand], Meta | None]:
    """Return what commands must have in common to be one; no meta: they never are."""
    command = said.command
    assert isinstance(command, ItemsCommand)
    return type(command), None if command.items[0].meta is not None else command.meta or Meta()


def _count(binding: Binding) -> int | None:
    """Set the cursor before the first change; return how many there are, if the peer asks."""
    progress = binding.progress
    if progress.opened:
        return None
    slow = _sends_all(binding)
    drop_unwanted(binding, slow)
    if slow:
        _register_unknown(binding)
        progress.cursor = 0
    else:
        progress.cursor = binding.record.cursor
    if not binding.parties.peer_counts:
        return None
    if not binding.we_send:
        return 0
    client = binding.role is Role.CLIENT
    if progress.filter is not None and not client:
        return None  # it would take a look at every item to tell
    return binding.known.count_pending(
        progress.cursor, slow=slow, session=binding.number, deletions=client
    )


def _sends_all(binding: Binding) -> bool:
    return binding.progress.slow or binding.mode.slow


def _register_unknown(binding: Binding) -> None:
    """Give every item of the agent a row in the log, as a slow sync goes by the log."""
    listed = [str(item_id) for item_id in binding.agent.allItemIDs()]
    known = binding.log.live_ids()
    binding.log.record_new([item_id for item_id in listed if item_id not in known])


class _Manner(Enum):
    """How an item can go into the message that is being made."""

    WHOLE = auto()
    PART = auto()  # as much of it as there is room for
    LATER = auto()  # there will be room in the next message
    NEVER = auto()


def _children(binding: Binding, room: Room, best: int) -> list[Said]:
    """Return commands until the room is used up; mark the binding when it has no more.

    *best* is what there is room for in a message that has nothing else to say.
    """
    progress = binding.progress
    slow, client = _sends_all(binding), binding.role is Role.CLIENT
    saids: list[Said] = []
    if progress.parcel is not None and not _go_on(binding, room, saids):
        return saids
    most = _answerable(binding)
    while True:
        page = _wanted_whole(binding) or binding.known.pending(
            progress.cursor, _PAGE, slow=slow, session=binding.number, deletions=client
        )
        if not page:
            # what was not enough must be known before this package ends; so it gets one answer
            progress.exhausted = not (progress.partial and saids)
            return saids
        listed = [pending.item_id for pending in page]
        if binding.agent.hierarchicalSync:
            binding.known.prefetch(item_ids=listed)
        binding.agent.prefetchItems(listed)
        for pending in _in_order(binding, page, slow):
            said = None
            if pending.item_id not in progress.withheld:
                said = _command(binding, pending)
            full = progress.full and said is not None and isinstance(said.command, Add)
            if said is None or full or not _is_welcome(binding, said):
                _pass_over(progress, pending)
                continue
            size, lowest = _size(said)
            if lowest <= best:
                said = _at_hand(said)
            if lowest <= best and size > room.left:
                size = room.measure(said.command)
            match _manner(binding, said, size, room.left, best, first=not saids):
                case _Manner.LATER:
                    return saids
                case _Manner.PART:
                    large_objects.pack(binding, said, pending)
                    _leave_out(progress, pending)
                    if not _go_on(binding, room, saids):
                        return saids
                case _Manner.WHOLE:
                    room.left -= size
                    saids.append(_at_hand(said))
                    progress.partial += said.sent is not None and said.sent.partial
                    _pass_over(progress, pending)
                    _note_offer(
                        binding,
                        said,
                        new=pending.acknowledged is None,
                        ahead=pending.ahead_of is not None,
                    )
                case _Manner.NEVER:
                    _pass_over(progress, pending)
                    _too_large(binding, said, binding.parties.session.peer_max_msg_size or best)
            most -= 1
            if room.left <= 0 or most <= 0:
                return saids
        for pending in page:  # also what was left out of it
            _leave_out(progress, pending)


def _pass_over(progress: Progress, pending: Pending) -> None:
    progress.cursor = pending.turn
    _leave_out(progress, pending)


def _leave_out(progress: Progress, pending: Pending) -> None:
    """Take a change out of those that are wanted whole: it has had its turn."""
    if pending.item_id in progress.wanted_whole:
        progress.wanted_whole.remove(pending.item_id)


def _wanted_whole(binding: Binding) -> list[Pending]:
    """Return the changes of which some fields were not enough for the peer, as they are now."""
    progress = binding.progress
    found: list[Pending] = []
    while progress.wanted_whole and not found:
        some = progress.wanted_whole[:_PAGE]
        binding.known.prefetch(item_ids=some)
        for item_id in some:
            change, known = binding.log.get(item_id), binding.known.of_item(item_id)
            if change is None or known is None or known.seq == change.seq:
                continue  # something else has come of it
            ends = change.seq, change.state, known.remote_id, known.seq
            found.append(Pending(item_id, *ends, ahead_of=progress.cursor + 1))
        progress.wanted_whole[:_PAGE] = [pending.item_id for pending in found]
    return found


def _manner(
    binding: Binding, said: Said, size: int, left: int, best: int, *, first: bool
) -> _Manner:
    """Decide how an item of *size* bytes goes into a message with *left* bytes of room."""
    if size <= left:
        return _Manner.WHOLE
    if size <= best and (not first or left < best // 2):
        return _Manner.LATER
    if isinstance(said.command, Add | Replace) and large_objects.peer_joins_parts(binding):
        return _Manner.PART
    too_large = size > binding.parties.limits.in_memory
    if too_large or binding.parties.session.peer_max_msg_size is not None:
        return _Manner.NEVER
    return _Manner.WHOLE if first else _Manner.LATER


def _go_on(binding: Binding, room: Room, saids: list[Said]) -> bool:
    """Add the next part of the item that travels in parts; return whether that was the last."""
    parcel = binding.progress.parcel
    assert parcel is not None
    data = large_objects.packed(binding)
    if data is None:
        change = binding.log.get(parcel['item'])
        dumped = None
        if change is not None and change.seq == parcel['seq'] and not change.gone:
            dumped = _dump(binding, parcel['item'])
        data = large_objects.packed_again(binding, dumped)
    if data is None:
        return True  # it has changed meanwhile: the new version is sent in its turn
    try:
        said = large_objects.next_part(binding, data, room)
    except (SyncmlError, OSError):
        large_objects.unpack(binding)  # as above; if it is being changed yet, that is said then
        return True
    if said is None:
        return False
    saids.append(said)
    if binding.progress.parcel is not None:
        return False
    _note_offer(binding, said, new=parcel['new'], ahead=parcel['ahead'])
    return True


def _in_order(binding: Binding, page: list[Pending], slow: bool) -> Iterator[Pending]:
    """Yield of the changes in *page* what is to be told, in the order in which it is."""
    pendings = chosen(binding, page, slow)
    return parents_first(binding, pendings, slow) if binding.agent.hierarchicalSync else pendings


def _answerable(binding: Binding) -> float:
    """Return how many commands can be answered in one message that is not too large for us."""
    session = binding.parties.session
    limit = None if session.quirks.single_message else session.max_msg_size
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
        return Said(Delete(meta=_unrelated(binding, pending), items=(item,)), sent)
    kind, place = _kind(binding, pending), parents(binding, pending.item_id)
    lost = _unrelated(binding, pending)
    known = binding.known.of_item(pending.item_id) if kind is Replace and lost is None else None
    had = known.digest if known is not None and not _sends_all(binding) else None
    dumped = _dump(binding, pending.item_id, had)
    if dumped is None:
        return None
    if client or kind is Add:
        item = Item(source=Location(given_id(binding, pending)), data=dumped.data, **place)
    else:
        item = Item(target=Location(pending.remote_id or ''), data=dumped.data, **place)
    meta = _meta(dumped.ctype, dumped.partial)
    if lost is not None:
        meta = replace(lost, type=dumped.ctype)
    ends = progress.store, pending.item_id, pending.seq, False, dumped.digest
    sent = Sent(kind.name, *ends, partial=dumped.partial)
    return Said(kind(meta=meta, items=(item,)), sent)


@lru_cache(maxsize=32)  # most items have the same
def _meta(ctype: str, partial: bool) -> Meta:
    return Meta(type=ctype, field_level=partial)


def _unrelated(binding: Binding, pending: Pending) -> Meta | None:
    """Return what tells a server that our version is no descendant of its own."""
    lost = binding.role is Role.CLIENT and pending.acknowledged == NEVER_WAS
    return Meta(emi=(UNRELATED,)) if lost else None


def _kind(binding: Binding, pending: Pending) -> type[ItemsCommand]:
    if binding.role is Role.CLIENT:
        unknown = pending.acknowledged is None or _sends_all(binding)
        return Add if unknown else Replace
    known = binding.known.of_item(pending.item_id)
    # a client that was to show what it has, and did not show this
    shows = _sends_all(binding) and binding.they_send
    lost = shows and (known is None or known.seen != binding.number)
    return Add if pending.remote_id is None or lost or binding.replaces_client else Replace


def _dump(binding: Binding, item_id: str, had: str | None = None) -> Dumped | None:
    """Return the written form of an item; ``None``, and a line for people, if it cannot be had.

    *had* is the fingerprint of the peer's version, if what that has as well may be left out.
    """
    try:
        wanted = binding.content_types
        if not wanted:
            raise FeatureNotSupported('the peer takes none of our content types')
        with binding.savepoint():
            item = binding.agent.getItem(item_id)
            digest = binding.agent.fingerprint(item)
            types = binding.partial_types if had else []
            part = binding.agent.abridged_item(item, had) if had and types else None
            if part is not None:
                item, wanted = part, types
            ctype, version = binding.agent.preferred_type(item, wanted)
            ctype, written = written_form(binding.agent, item, ctype, version)
        return Dumped(ctype, written, digest, part is not None)
    except StateDamaged:
        raise
    except (SyncmlError, LookupError, OSError) as error:
        reason = str(refusal_of_system(error, place=False) or error)
    except Exception as error:
        if is_of_database(error):
            raise  # nothing more can be done in this transaction
        log.exception('item %s cannot be written', item_id)
        reason = repr(error)
    binding.stats.hereErr += 1
    _not_sent(binding, item_id, reason)
    return None


def _not_sent(binding: Binding, item_id: str, reason: str) -> None:
    binding.progress.unsent.append(item_id)
    binding.problem(f'{binding.agent.describeItem(item_id)} was not sent: {reason}')


def _size(said: Said) -> tuple[int, int]:
    """Return what *said* takes in a message at most, and at least: cheaper than the true size."""
    command = said.command
    assert isinstance(command, ItemsCommand)
    item = command.items[0]
    ids = f'{item.source_uri or ""}{item.target_uri or ""}'
    plain = ids.isascii() and ids.isalnum()  # as ours are
    size, lowest = _OVERHEAD + len(ids) * (1 if plain else LONGEST), 0
    data = item.data
    if isinstance(data, Written):
        lowest = data.size
        size += lowest * 4 // 3 + 4
    elif isinstance(data, bytes):
        escapes = 4 * data.count(b'&') + 3 * (data.count(b'<') + data.count(b'>'))
        lowest = len(data)
        size += max(lowest + escapes, lowest * 4 // 3 + 4)
    return size, lowest


def _at_hand(said: Said) -> Said:
    """Return *said* with its data in memory, wherever they lie."""
    assert isinstance(said.command, ItemsCommand)
    [item] = said.command.items
    if not isinstance(item.data, Written):
        return said
    item = replace(item, data=item.data.read_at(0, item.data.size))
    return replace(said, command=replace(said.command, items=(item,)))


def _is_welcome(binding: Binding, said: Said) -> bool:
    """Return whether the peer takes an item of this size; a line for people if not."""
    limit = binding.parties.session.peer_max_obj_size
    command = said.command
    data = command.items[0].data if isinstance(command, ItemsCommand) else None
    if not limit or not isinstance(data, bytes | Written) or length(data) <= limit:
        return True
    _too_large(binding, said, limit)
    return False


def _too_large(binding: Binding, said: Said, limit: int) -> None:
    assert said.sent is not None
    binding.stats.peerErr += 1
    _not_sent(binding, said.sent.item, f'the other side takes {limit:,} bytes at most')


def _replaces(binding: Binding, item_id: str) -> bool:
    """Whether a client that throws away what it has may yet have an earlier version of an item.

    Until it says what has become of ours, it goes by what it had.
    """
    known = binding.known.of_item(item_id)
    return binding.replaces_client and known is not None and known.remote_id is not None


def _note_offer(binding: Binding, said: Said, *, new: bool, ahead: bool) -> None:
    """Remember that the item was offered as new, in case the answer is lost.

    A server learns from the Map pair that it has arrived; a client that deletes the item before
    it has heard of it must say so. *new*: the peer has acknowledged no version of it;
    *ahead*: it was told before its turn, as others need it.
    """
    if said.sent is None:
        return
    if ahead:
        binding.progress.ahead.append(said.sent.item)
    if not isinstance(said.command, Add):
        return
    sent = said.sent
    if binding.role is Role.CLIENT:
        if new:
            binding.known.note(sent.item, offered=sent.seq)
    elif not _replaces(binding, sent.item):
        # if the client shows it at all, before its pair or after, this is what it has
        binding.known.note(
            sent.item,
            remote_id=None,
            seq=None,
            offered=sent.seq,
            seen=None,
            digest=sent.digest,
        )
