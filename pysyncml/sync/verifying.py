"""Comparing by checksum: what both sides have, without sending it.

An extension of our own, in the form of a Get that a peer which does not know it just refuses: a
client asks for the address ``DATASTORE/x-pysyncml-checksums?after=CURSOR``, and a server answers
with Results of the type :data:`TYPE`, a page at a time. What a page looks like is told in
``docs/protocol.rst``. Nothing is kept between two pages, and the server changes nothing.
"""

from __future__ import annotations

import json
import time
from enum import Enum
from typing import Any
from urllib.parse import parse_qs, quote

from pysyncml.constants import Role, StatusCode
from pysyncml.errors import ItemBusy, RemoteProtocolError, StateDamaged, SyncmlError
from pysyncml.immutable import immutable
from pysyncml.protocol import auth
from pysyncml.protocol.messages import Get, Item, Location, Meta, Results
from pysyncml.protocol.session import Said, Sent
from pysyncml.state.knowledge import Listed
from pysyncml.state.records import BindingRecord, StoreRecord
from pysyncml.sync.alerts import admission
from pysyncml.sync.pairing import find_uri
from pysyncml.sync.parties import Parties
from pysyncml.sync.replies import Reply

#: The media type of a page.
TYPE = 'application/x-pysyncml-checksums'
#: What follows the address of a datastore.
PATH = '/x-pysyncml-checksums'

_PAGE = 500  # items
_ENVELOPE = 1500  # bytes around the page in a message, generously
_USUAL = 128 * 1024  # bytes of a page, where the peer sets no limit
_LONGEST = 4096  # characters of an id, a name or a checksum
_SECONDS = 3.0  # that are spent on one page: others may be waiting


class Mark(Enum):
    """Why an entry has no checksum."""

    WAITING = 'waiting'  # a change of it has not been told yet
    HIDDEN = 'hidden'  # it is not looked at here any more
    UNREADABLE = 'unreadable'
    MISSING = 'missing'  # its place is known, and it is not there


@immutable()
class Entry:
    """What one side says of an item.

    ``luid`` is the client's id of it, ``None`` if it has none; ``checksum`` is of its content.
    """

    luid: str | None
    name: str | None = None
    checksum: str | None = None
    mark: Mark | None = None


@immutable()
class Page:
    """Entries, and the cursor to ask for the next ones with; ``None`` after the last."""

    entries: tuple[Entry, ...]
    after: str | None
    bound: bool = True  # whether the server has synchronised with this device before


# --- on the wire --------------------------------------------------------------------------------


def question(peer_store: str, store: str, after: str, **extra: Any) -> Said:
    """Return the Get for the page after the cursor *after*."""
    uri = f'{peer_store.rstrip("/")}{PATH}?after={quote(after, safe="")}'
    item = Item(target=Location(uri), source=Location(store))
    return Said(Get(meta=Meta(type=TYPE), items=(item,), **extra), Sent('Get', store))


def datastore_of(uri: str) -> str | None:
    """Return the address of the datastore whose checksums *uri* stands for; ``None`` if none."""
    path = uri.partition('?')[0]
    return path[: -len(PATH)] if path.lower().endswith(PATH) else None


def write_page(page: Page) -> bytes:
    """Return *page* as it travels: JSON without what XML would have to escape."""
    rows = [_row(entry) for entry in page.entries]
    return _plain({'bound': page.bound, 'items': rows, 'after': page.after})


def _row(entry: Entry) -> list[Any]:
    return [entry.luid, entry.name, entry.checksum, entry.mark.value if entry.mark else None]


def _plain(value: Any) -> bytes:
    text = json.dumps(value, separators=(',', ':'))
    for char in '<>&':
        text = text.replace(char, f'\\u{ord(char):04x}')
    return text.encode('ascii')


def read_page(data: Any) -> Page:
    """Return the page that *data* of a Results are.

    Raises:
        RemoteProtocolError: they are none.
    """
    try:
        value = json.loads(data)
        rows = [_checked(*row) for row in value['items']]
        after, bound = value['after'], value['bound']
        if not isinstance(after, str | None) or not isinstance(bound, bool):
            raise TypeError
    except (TypeError, ValueError, KeyError, RecursionError) as error:
        raise RemoteProtocolError('the other side sent checksums that cannot be read') from error
    return Page(tuple(rows), after, bound)


def _checked(luid: Any, name: Any, checksum: Any, mark: Any) -> Entry:
    texts = (luid, name, checksum)
    if not all(text is None or (isinstance(text, str) and len(text) <= _LONGEST) for text in texts):
        raise TypeError
    return Entry(luid, name, checksum, None if mark is None else Mark(mark))


# --- a server -----------------------------------------------------------------------------------


def answer_checksums(command: Get, item: Item, parties: Parties) -> Reply | None:
    """Answer a Get of checksums; ``None`` if it is about something else."""
    path, _, query = (item.target_uri or '').partition('?')
    uri = datastore_of(path)
    if uri is None:
        return None
    target, name = item.target_uri, find_uri(uri, parties.stores)
    if name is None or parties.session.role is not Role.SERVER:
        return Reply(command, StatusCode.NOT_FOUND, target=target)
    if parties.compared == parties.limits.comparisons:
        return Reply(command, StatusCode.REQUESTED_ENTITY_TOO_LARGE, target=target)
    parties.compared += 1
    refusal = admission(parties, command.cred, name)
    if refusal is not None:
        chal = None if refusal == StatusCode.RETRY_LATER else auth.basic_challenge()
        return Reply(command, refusal, target=target, chal=chal)
    after = parse_qs(query, keep_blank_values=True, max_num_fields=4).get('after', [''])[0]
    page = _page(parties, name, item.source_uri or '', after)
    results = Results(
        msg_ref=parties.session.peer_msg_id,
        cmd_ref=command.cmd_id,
        meta=Meta(type=TYPE),
        items=(Item(source=Location(path), data=write_page(page)),),
    )
    return Reply(command, StatusCode.OK, target=target, more=(Said(results, Sent('Results')),))


def _page(parties: Parties, name: str, peer_uri: str, after: str) -> Page:
    """Return what is here after the cursor *after*, of what this device goes with."""
    store, records = parties.stores[name], parties.work.records
    theirs = records.find(StoreRecord, device_id=parties.peer.id)
    found = find_uri(peer_uri, [record.uri for record in theirs])
    peer_store = next((record for record in theirs if record.uri == found), None)
    record = None
    if peer_store is not None:
        where = {'store_id': store.record.id, 'peer_store_id': peer_store.id}
        record = records.first(BindingRecord, **where)
    if record is None or record.id is None:
        return Page((), None, bound=False)
    known = parties.work.knowledge(record.store_id, record.id)
    rows = known.listed(after, _PAGE)
    store.agent.prefetchItems([row.item_id for row in rows if not row.gone])
    room = (parties.session.peer_max_msg_size or _USUAL + _ENVELOPE) - _ENVELOPE
    entries: list[Entry] = []
    until = time.monotonic() + _SECONDS
    for row in rows:
        entry = _entry(store.agent, row, record.cursor)
        room -= len(_plain(_row(entry))) + 1
        if entries and (room < 0 or time.monotonic() > until):
            return Page(tuple(entries), after)
        entries.append(entry)
        after = row.item_id
    return Page(tuple(entries), after if len(rows) == _PAGE else None)


def _entry(agent: Any, row: Listed, cursor: int) -> Entry:
    if row.gone or row.waits(cursor):
        return Entry(row.remote_id, mark=Mark.WAITING)
    return look(agent, row.item_id, row.remote_id)


# --- both sides ---------------------------------------------------------------------------------


def look(agent: Any, item_id: str, luid: str | None) -> Entry:
    """Return what is here of an item, by looking at its content."""
    try:
        found = agent.checksumItem(item_id)
    except StateDamaged:
        raise
    except ItemBusy:
        return Entry(luid, mark=Mark.WAITING)
    except LookupError:
        return Entry(luid, mark=Mark.MISSING)
    except SyncmlError as error:
        missing = error.status == StatusCode.NOT_FOUND
        return Entry(luid, mark=Mark.MISSING if missing else Mark.UNREADABLE)
    except OSError:
        return Entry(luid, mark=Mark.UNREADABLE)
    if found is None:
        return Entry(luid, mark=Mark.HIDDEN)
    return Entry(luid, *found)
