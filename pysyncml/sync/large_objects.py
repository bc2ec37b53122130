"""Items that travel in parts, as they are too large for one message.

Each part is a command of its own with ``MoreData``, the first one with the ``Size`` of the
whole, and each is answered with Status 213 but for the last, whose Status tells what has become
of the item (OMA-DS-Protocol 1.2, §5.8). Only one item of a datastore is on its way at a time,
and nothing else may stand between its parts.

A Size counts bytes as they are transferred: of base64 the text. A session that was broken off
in the middle may go on with the first part that was not acknowledged; where it stands is told
in experimental meta information, as SyncEvolution does, too.
"""

from __future__ import annotations

import re
import sys
from base64 import b64encode
from dataclasses import replace
from typing import Any

from pysyncml.codec import get as get_codec
from pysyncml.codec.values import safe_text, unbase64
from pysyncml.constants import AlertCode, Role, StatusCode
from pysyncml.errors import StoreFull
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Command,
    Item,
    ItemsCommand,
    Location,
    Meta,
    Replace,
)
from pysyncml.protocol.session import Said, Sent
from pysyncml.state.knowledge import Pending
from pysyncml.state.unfinished import Unfinished, UnfinishedObject
from pysyncml.sync.parties import Binding
from pysyncml.sync.room import Room
from pysyncml.sync.written import Dumped, InBase64, Written, length

#: Experimental meta information that tells a server of our kind: what comes is no descendant of a
#: version it has, as a comparison has shown (:mod:`pysyncml.sync.verifying`).
UNRELATED = 'pysyncml-ancestor=none'

_POSITION = 'datapos='
_BLANKS = re.compile(rb'\A[ \t\r\n]|[ \t\r\n]{32}')
_LONGEST_GAP = 40  # bytes; in XML longer ones travel in base64, and elsewhere do not matter
_DIGITS = 18  # of a position
_SMALLEST = 64  # bytes of data that are worth a part of their own
_FRAME = 16  # bytes around data as they are, at most: a token, a length, an end
_KINDS: dict[str, type[ItemsCommand]] = {'Add': Add, 'Replace': Replace}

#: An item as it is transferred.
Form = bytes | Written | InBase64


# --- sending ----------------------------------------------------------------------------------


def peer_joins_parts(binding: Binding) -> bool:
    """Return whether the peer takes items in parts (OMA-DS-DevInf 1.2, SupportLargeObjs)."""
    if binding.parties.session.version == '1.0':
        return False
    said = binding.parties.peer.devinf
    return True if said is None else bool(said.get('largeObjects'))


def pack(binding: Binding, said: Said, pending: Pending) -> None:
    """Make the item of *said*, which tells of *pending*, the one that travels in parts."""
    assert said.sent is not None and isinstance(said.command, ItemsCommand)
    [item] = said.command.items
    assert isinstance(item.data, bytes | Written)
    data, form = _transferred(binding, item.data)
    binding.progress.parcel = {
        'item': said.sent.item,
        'seq': said.sent.seq,
        'digest': said.sent.digest,
        'turn': pending.turn,
        'new': pending.acknowledged is None,
        'ahead': pending.ahead_of is not None,
        'name': said.command.name,
        'target': item.target_uri,
        'source': item.source_uri,
        'target_parent': item.target_parent,
        'source_parent': item.source_parent,
        'type': said.command.meta.type if said.command.meta else None,
        'partial': said.sent.partial,
        'unrelated': said.command.meta is not None and UNRELATED in said.command.meta.emi,
        'encoding': binding.parties.session.encoding,
        'format': form,
        'size': length(data),
        'offset': 0,
        'acked': 0,
        'resumed': False,
    }
    binding.parties.objects.put(_key(binding), data)


def _transferred(binding: Binding, data: bytes | Written) -> tuple[Form, str | None]:
    """Return *data* as they are transferred, and the Format that says so.

    In XML no part may begin with a blank or a line end: some scanners leave these out
    (libsynthesis does), and then the Size is wrong.
    """
    if get_codec(binding.parties.session.encoding).binary:
        return data, None
    if isinstance(data, Written):
        return InBase64(data), 'b64'  # to see whether it has to be, all of it would be read
    if safe_text(data) is not None and not _BLANKS.search(data):
        return data, None
    return b64encode(data), 'b64'


def unpack(binding: Binding) -> None:
    """Forget the item that is sent in parts."""
    if binding.progress.parcel is not None:
        binding.parties.objects.drop(_key(binding))
        binding.progress.parcel = None


def _key(binding: Binding) -> tuple[int, str, int]:
    parcel = binding.progress.parcel
    assert parcel is not None and binding.record.id is not None
    return binding.record.id, parcel['item'], parcel['seq']


def packed(binding: Binding) -> Form | None:
    """Return the data of the item that travels in parts, if they are still at hand."""
    return binding.parties.objects.get(_key(binding))


def packed_again(binding: Binding, dumped: Dumped | None) -> Form | None:
    """Return the data again of an item of which some parts have been sent.

    *dumped* is the item as it is now. If it is not what it was, nothing more of it is to be sent,
    and ``None`` is returned.
    """
    parcel = binding.progress.parcel
    assert parcel is not None
    if dumped is not None:
        data, form = _transferred(binding, dumped.data)
        found = (form, length(data), dumped.digest)
        if found == (parcel['format'], parcel['size'], parcel['digest']):
            binding.parties.objects.put(_key(binding), data)
            return data
    unpack(binding)
    return None


def next_part(binding: Binding, data: Form, room: Room) -> Said | None:
    """Return the next part of the item, as large as there is *room*; ``None`` if there is none.

    *data* are those of the whole. What is too large for memory goes in larger messages, where the
    peer is known to take these.

    Raises:
        ItemBusy: the item is not what it was when its first part was sent.
    """
    parcel = binding.progress.parcel
    assert parcel is not None
    start, whole = parcel['offset'], parcel['size']
    session = binding.parties.session
    large = not isinstance(data, bytes) and session.quirks.large_parts
    if large and session.peer_max_msg_size is None:
        part = binding.parties.limits.part
        room.widen(part // 2 if session.role is Role.SERVER else part)
    empty = room.measure(_part(parcel, b'', more=True))
    space = room.left - empty
    if space < _SMALLEST and room.used:
        return None
    # what needs no escapes need not be written to be measured
    plain = parcel['format'] == 'b64' or get_codec(parcel['encoding']).binary
    end = start + max(space - _FRAME * plain, _SMALLEST)
    while True:
        end = _boundary(parcel, data, start, end)
        piece = data[start:end] if isinstance(data, bytes) else data.read_at(start, end - start)
        said = _part(parcel, piece, more=end < whole)
        size = empty + len(piece) + _FRAME if plain else room.measure(said)
        if size <= room.left or end - start <= _SMALLEST:
            break
        end = start + max(_SMALLEST, (end - start) * room.left // size - 8)
    room.left -= size
    room.used = True
    parcel['offset'] = end
    name, store, item = parcel['name'], binding.progress.store, parcel['item']
    if end < whole:
        return Said(said, Sent(name, store, item, end, more=True))
    partial = bool(parcel.get('partial'))
    sent = Sent(name, store, item, parcel['seq'], digest=parcel['digest'], partial=partial)
    binding.progress.partial += partial
    binding.progress.cursor = parcel['turn']
    unpack(binding)
    return Said(said, sent)


def _boundary(parcel: dict[str, Any], data: Form, start: int, end: int) -> int:
    """Return where a part may end: in base64 and in text not everywhere."""
    if end >= parcel['size']:
        return int(parcel['size'])
    if parcel['format'] == 'b64':
        return start + max(4, (end - start) // 4 * 4)
    if not isinstance(data, bytes):
        return end  # only where bytes travel as they are
    lowest = max(start + 4, end - _LONGEST_GAP)
    while end > lowest and (data[end] & 0xC0 == 0x80 or data[end] in b' \t\r\n'):
        end -= 1  # not inside a character, and no blank begins the next part
    return end


def _part(parcel: dict[str, Any], data: bytes, *, more: bool) -> ItemsCommand:
    start = parcel['offset']
    position = (f'{_POSITION}{start}',) if start and parcel.get('resumed') else ()
    if parcel.get('unrelated'):
        position = (*position, UNRELATED)
    meta = Meta(
        type=parcel['type'],
        format=parcel['format'],
        size=parcel['size'] if not start else None,
        emi=position,
        field_level=bool(parcel.get('partial')),
    )
    item = Item(
        target=Location(parcel['target']) if parcel['target'] is not None else None,
        source=Location(parcel['source']) if parcel['source'] is not None else None,
        target_parent=parcel['target_parent'],
        source_parent=parcel['source_parent'],
        meta=meta,
        data=data,
        more_data=more,
    )
    return _KINDS[parcel['name']](meta=meta, items=(item,))


# --- receiving --------------------------------------------------------------------------------


def gather(binding: Binding, command: Command, item: Item) -> tuple[int, Item, list[Said]]:
    """Take in what may be a part of an item.

    Returns:
        (Status code, the item, what else is to be said). The code is 0 where the item is whole
        and now to be dealt with.
    """
    if binding.unfinished is False and not item.more_data and not (item.meta and item.meta.emi):
        return 0, item, []  # as most are
    work = binding.parties.work
    assert binding.record.id is not None
    unfinished = work.unfinished(binding.record.id)
    thing = unfinished.load() if binding.unfinished is not False else None
    binding.unfinished = thing is not None or item.more_data
    alerts: list[Said] = []
    size = item.meta.size if item.meta else None
    if thing is not None and _is_abandoned(binding, thing, item):
        unfinished.drop()
        thing = None
    if thing is not None and not _goes_on(thing, command, item):
        alerts = _no_end(binding, thing)
        unfinished.drop()
        thing = None
    if thing is None and _position(item):
        return StatusCode.PARTIAL_ITEM_NOT_ACCEPTED, item, alerts  # what came before it is lost
    if thing is None and not item.more_data:
        binding.unfinished = False
        return 0, item, alerts
    if thing is None or size is not None:
        code = _refusal(binding, unfinished, item, size)
        if code:
            unfinished.drop()
            return code, item, alerts
        unfinished.make_room(size or 0, binding.parties.limits.unfinished)
        thing = unfinished.begin(_described(command, item), size)
    code = _append(binding, thing, item)
    if code:
        unfinished.drop()
        return code, item, alerts
    if item.more_data:
        return StatusCode.CHUNKED_ITEM_ACCEPTED, item, alerts
    if not _is_complete(thing):
        unfinished.drop()
        binding.unfinished = False
        return StatusCode.OBJECT_SIZE_MISMATCH, item, alerts
    whole = unfinished.join(thing)
    unfinished.drop()
    binding.unfinished = False
    described = thing.described
    meta = item.meta or Meta()
    emi = tuple(text for text in meta.emi if not text.startswith(_POSITION))
    meta = replace(meta, type=described['type'], format=None, size=None, emi=emi)
    return 0, replace(item, data=whole, meta=meta), alerts


def _refusal(binding: Binding, unfinished: Unfinished, item: Item, size: int | None) -> int:
    """Return the Status that refuses an item by what its first part says; 0 if it is welcome."""
    if size is None:
        return StatusCode.SIZE_REQUIRED
    own = [binding.parties.max_obj_size, binding.store.record.max_obj_size]
    limits = [limit for limit in own if limit] or [binding.parties.limits.item]
    if not _is_read_in_pieces(binding, unfinished, item, size):
        limits.append(max(binding.parties.limits.in_memory, *(limit or 0 for limit in own)))
    if any(size > limit for limit in limits):
        return StatusCode.REQUESTED_SIZE_TOO_BIG
    if not isinstance(item.data, bytes | None):
        return StatusCode.BAD_REQUEST
    return 0 if unfinished.has_room(size) else StatusCode.DEVICE_FULL


def _is_read_in_pieces(binding: Binding, unfinished: Unfinished, item: Item, size: int) -> bool:
    """Whether an item of *size* bytes is never in memory as a whole."""
    ctype = (item.meta.type if item.meta else None) or ''
    streamed = binding.agent.reads_in_pieces(ctype.partition(';')[0].strip())
    return streamed and unfinished.holds(size)


def _described(command: Command, item: Item) -> dict[str, Any]:
    meta = item.meta or Meta()
    return {
        'name': command.name,
        'target': item.target_uri,
        'source': item.source_uri,
        'type': meta.type,
        'rest': '',  # base64 that stands for no whole bytes yet
        'base64': 0,  # bytes if all was base64
        'lines': 0,  # line ends: of two bytes on their way, an XML parser leaves one
        'session': 0,
    }


def _is_abandoned(binding: Binding, thing: UnfinishedObject, item: Item) -> bool:
    """Whether *thing* is of a session that was broken off, and this one does not go on with it."""
    past = thing.described['session'] != binding.parties.session.number
    return past and not binding.progress.resumed and _position(item) is None


def _goes_on(thing: UnfinishedObject, command: Command, item: Item) -> bool:
    described = thing.described
    ids = (described['name'], described['target'], described['source'])
    return ids == (command.name, item.target_uri, item.source_uri)


def _append(binding: Binding, thing: UnfinishedObject, item: Item) -> int:
    """Store a part; return the Status that refuses it, or 0."""
    assert binding.record.id is not None and thing.size is not None
    unfinished = binding.parties.work.unfinished(binding.record.id)
    described = thing.described
    number = binding.parties.session.number
    position = _position(item)
    part = item.data if isinstance(item.data, bytes) else b''
    if _is_torn(thing, position, part):
        part = part[1:]
    elif thing.received and not _follows(unfinished, thing, position, number):
        return StatusCode.PARTIAL_ITEM_NOT_ACCEPTED
    described['session'] = number
    if described['rest'] or (item.meta is not None and item.meta.format == 'b64'):
        # the base64 was not cut where its bytes end; what looks whole in it is not
        is_text = item.meta is not None and item.meta.format == 'b64'
        text = b''.join(part.split()) if is_text else b64encode(part)
        described['base64'] += len(part) if is_text else len(text)
        text = described['rest'].encode() + text
        end = len(text) // 4 * 4 if item.more_data else len(text)
        described['rest'] = text[end:].decode('ascii', 'replace')
        decoded = unbase64(text[:end])
        if decoded is None:
            return StatusCode.BAD_REQUEST
        part = decoded
    else:
        described['base64'] += (len(part) + 2) // 3 * 4
        if not get_codec(binding.parties.session.encoding).binary:
            described['lines'] += part.count(b'\n')
    if thing.received + len(part) > thing.size:
        # before the disk is filled with what was not promised
        return StatusCode.OBJECT_SIZE_MISMATCH
    try:
        unfinished.append(thing, part)
    except StoreFull as error:
        return error.status
    return 0


def _follows(
    unfinished: Unfinished, thing: UnfinishedObject, position: int | None, session: int
) -> bool:
    """Whether a part goes where the last one ended, or can: what overlaps is taken back.

    In a session that goes on, a peer has to tell where its part belongs.
    """
    described = thing.described
    if position is None:
        return bool(described['session'] == session)
    ends = (thing.received, thing.received + described['lines'], described['base64'])
    if position in ends:
        return True
    if described['rest'] or described['lines']:
        return False
    for start in (position, position // 4 * 3):
        if unfinished.cut(thing, start):
            described['base64'] = (start + 2) // 3 * 4
            return True
    return False


def _is_torn(thing: UnfinishedObject, position: int | None, part: bytes) -> bool:
    """Whether the last part ended inside a CRLF: of its CR an XML parser has made a line end.

    Then the LF at the beginning of *part* is not another one.
    """
    lines = thing.described['lines']
    return lines > 1 and position == thing.received + lines - 1 and part[:1] == b'\n'


def _position(item: Item) -> int | None:
    for text in item.meta.emi if item.meta else ():
        name, _, number = text.partition('=')
        if f'{name}=' == _POSITION and number.isascii() and number.isdigit():
            return int(number) if len(number) <= _DIGITS else sys.maxsize
    return None


def _is_complete(thing: UnfinishedObject) -> bool:
    """Whether as many bytes came as were promised, by any way of counting them."""
    described, received = thing.described, thing.received
    return thing.size in (received, received + described['lines'], described['base64'])


def _no_end(binding: Binding, thing: UnfinishedObject) -> list[Said]:
    """Return the Alert that the rest of an item is missing (223); none for a past session."""
    described = thing.described
    target, source = described['target'], described['source']
    past = described['session'] != binding.parties.session.number
    if not past or binding.progress.resumed:
        binding.not_taken(source or target, 'its end is missing')
    if past:
        return []
    item = Item(
        target=Location(target) if target is not None else None,
        source=Location(source) if source is not None else None,
    )
    alert = Alert(code=AlertCode.NO_END_OF_DATA, items=(item,))
    return [Said(alert, Sent('NoEnd', binding.progress.store))]


def give_up(binding: Binding) -> list[Said]:
    """The peer has ended its package: an item that is not whole now never will be."""
    assert binding.record.id is not None
    unfinished = binding.parties.work.unfinished(binding.record.id)
    thing = unfinished.load()
    if thing is None:
        return []
    unfinished.drop()
    return _no_end(binding, thing)
