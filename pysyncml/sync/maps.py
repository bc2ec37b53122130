"""The ids of items: a server's, a client's, and the pairs of both (Map).

Each side calls an item by an id of its own. A server keeps the table of both, and learns the
client's part of it from Map commands (OMA-DS-Protocol 1.2, §5.3).
"""

from __future__ import annotations

import json
from dataclasses import replace

from pysyncml.constants import Role
from pysyncml.protocol.messages import Location, Map, MapItem
from pysyncml.protocol.session import Said, Sent
from pysyncml.protocol.stages import Stage
from pysyncml.state.knowledge import Pending
from pysyncml.sync.parties import Binding, Parties
from pysyncml.sync.room import LONGEST, Room

#: What a temporary id begins with.
TEMPORARY = '#'

#: As many digits as the number of a change has at most.
_DIGITS = 18
_PAIR_OVERHEAD = 110  # bytes around the ids of a MapItem


# --- a server ---------------------------------------------------------------------------------


def given_id(binding: Binding, pending: Pending) -> str:
    """Return the id under which the peer is told of an item of ours.

    A client may take short ids only (MaxGUIDSize): until its Map pair arrives, such an item goes
    by the number of the change (OMA-DS-Protocol 1.2, §5.3).
    """
    if binding.role is Role.CLIENT:
        return pending.item_id
    most = binding.parties.peer_guid_size(binding.progress.peer_store)
    if not most or len(pending.item_id.encode()) <= most:
        return pending.item_id
    return f'{TEMPORARY}{pending.seq}'


def note_pair(binding: Binding, pair: MapItem) -> None:
    """Take notice of the id a client gave to an item of ours; one we never sent is passed over."""
    item_id, remote_id = pair.target, pair.source
    known = binding.known.of_item(item_id)
    number = item_id.removeprefix(TEMPORARY)
    if known is None and number != item_id and number.isdecimal() and len(number) <= _DIGITS:
        known = binding.known.of_offer(int(number))
    if known is None or not remote_id:
        return  # an item we never sent, or do not have any more
    session = binding.parties.session
    # a pair of an earlier session, sent before the changes, does not say it is still there,
    # unless it is that session which goes on
    late = session.theirs <= Stage.SYNC and not binding.progress.resumed
    binding.known.note(
        known.item_id,
        remote_id=remote_id,
        seq=known.offered if known.offered is not None else known.seq,
        offered=None,
        seen=known.seen if late else binding.number,
    )


# --- a client ---------------------------------------------------------------------------------


def pairs(parties: Parties, room: Room) -> tuple[list[Said], bool]:
    """Return the Map pairs the server has not acknowledged yet, and whether these are all.

    They are kept across sessions until it has: so an Add whose answer was lost is not doubled
    (OMA-DS-Protocol 1.2, §5.3).
    """
    saids: list[Said] = []
    for binding in parties.bindings():
        if not binding.progress.live:
            continue
        mapped = set(binding.progress.mapped)
        limit = len(mapped) + room.left // _PAIR_OVERHEAD + 2
        rows = binding.known.unconfirmed(limit)
        found = [row for row in rows if row[1] not in mapped]
        while found:
            said, count = _map(binding, found, room)
            if said is None:
                return saids, False
            saids.append(said)
            binding.progress.mapped.extend(item_id for _, item_id in found[:count])
            found = found[count:]
        if len(rows) == limit:
            return saids, False
    return saids, True


def _map(binding: Binding, found: list[tuple[str, str]], room: Room) -> tuple[Said | None, int]:
    """Return a Map with as many of the pairs *found* as there is room for, and how many."""
    progress = binding.progress
    empty = Map(target=Location(progress.peer_store), source=Location(progress.store))
    used, count = room.measure(empty), 0
    items: list[MapItem] = []
    for remote_id, item_id in found:
        item = MapItem(target=remote_id, source=item_id)
        used += _PAIR_OVERHEAD + LONGEST * (len(remote_id) + len(item_id))
        if used > room.left and (items or room.used):
            break
        items.append(item)
        count += 1
    if not items:
        return None, 0
    names = json.dumps([pair.source for pair in items])
    said = Said(replace(empty, items=tuple(items)), Sent('Map', progress.store, names))
    room.take(said)
    return said, count
