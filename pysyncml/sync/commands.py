"""Commands that stand inside a Sync, besides those that :mod:`.incoming` takes: the optional ones.

What is optional and cannot be done is answered 406 or 501, costs nothing but itself, and changes
nothing (OMA-DS-DataSyncRep 1.2, §6.6).
"""

from __future__ import annotations

from dataclasses import replace

from pysyncml.agents.extras import Extras
from pysyncml.constants import ItemState, Role, StatusCode
from pysyncml.errors import (
    FeatureNotSupported,
    InvalidContent,
    InvalidItem,
    ItemBusy,
    ItemTooLarge,
    MoveFailed,
)
from pysyncml.protocol.messages import Add, Copy, Delete, Item, Location, Meta, Move, Replace
from pysyncml.state.knowledge import SOFT
from pysyncml.sync.announcing import takes_fields
from pysyncml.sync.hierarchy import parent_of
from pysyncml.sync.incoming import Answer, Incoming, is_partial, receive_item, take
from pysyncml.sync.parties import Binding
from pysyncml.sync.reconcile import Here
from pysyncml.sync.written import written_form


def receive(binding: Binding, command: Add | Replace | Delete, item: Item) -> Answer:
    """Do what *command* asks with one *item*; see :func:`.incoming.receive_item`."""
    if isinstance(command, Delete):
        if command.soft:
            return take(binding, item, lambda: _soft_delete(binding, command, item))
        if command.archive and not _has_archive(binding):
            return _delete_without_archive(binding, command, item)
    elif is_partial(command, item) and not _takes_partial(binding, command, item):
        return take(binding, item, _refuse_partial)
    return receive_item(binding, command, item)


# --- Delete ---------------------------------------------------------------------------------------


def _has_archive(binding: Binding) -> bool:
    return type(binding.agent).archiveItem is not Extras.archiveItem


def _delete_without_archive(binding: Binding, command: Delete, item: Item) -> Answer:
    """Refuse, as nothing may be deleted that was to be kept; SyncML 1.0 has it deleted, and said.

    (SyncML Sync Protocol 1.0, Status 210; OMA-DS-DataSyncRep 1.2, Archive.)
    """
    if binding.parties.session.version != '1.0':
        return StatusCode.NOT_IMPLEMENTED, ''
    code, text = receive_item(binding, replace(command, archive=False), item)
    return (StatusCode.DELETE_WITHOUT_ARCHIVE if code == StatusCode.OK else code), text


def _soft_delete(binding: Binding, command: Delete, item: Item) -> int:
    """Take an item out of the peer's set and keep it, or free its memory at a server's word."""
    case = Incoming(binding, command, item)
    known = case.known
    if known is None:
        return StatusCode.ITEM_NOT_DELETED
    if case.here in (Here.UNKNOWN, Here.DELETED):
        binding.known.forget(known.item_id)
        return StatusCode.SOFT_DELETE_CONFLICT
    if binding.role is Role.CLIENT:
        if case.here is Here.CHANGED:
            raise ItemBusy('it was changed here, and the server has not heard of it')
        binding.agent.softDeleteItem(known.item_id)
        history = binding.store.keepsHistory
        binding.log.record(known.item_id, ItemState.DELETED, None, history=history)
    seq = known.offered if known.seq is None and not known.soft else known.seq
    number = binding.number
    binding.known.note(known.item_id, seq=seq, offered=SOFT, seen=number)
    return StatusCode.OK


# --- Replace of some fields -----------------------------------------------------------------------


def _takes_partial(binding: Binding, command: Add | Replace, item: Item) -> bool:
    meta = item.meta or command.meta
    ctype = meta.type if meta is not None else None
    return isinstance(command, Replace) and takes_fields(binding.agent, ctype)


def _refuse_partial() -> int:
    raise FeatureNotSupported('only whole items are taken')


# --- Copy and Move --------------------------------------------------------------------------------


def copy_item(binding: Binding, command: Copy, item: Item) -> Answer:
    """Add what is equal to one of our items (Source), under the id the peer gives it (Target).

    Without a Target the peer learns of the copy as it learns of any new item.
    """
    written: list[Add] = []

    def write() -> int:
        written.append(_written(binding, item.source_uri))
        return StatusCode.OK

    code, text = take(binding, item, write)
    if not written:
        return code, text
    binding.progress.received -= 1  # one command, though done in two steps
    add, target = written[0], item.target_uri
    if not target:
        return take(binding, item, lambda: _add_copy(binding, add))
    if binding.known.of_remote(target) is not None:
        return StatusCode.ALREADY_EXISTS, ''
    return receive_item(binding, add, replace(add.items[0], source=Location(target)))


def _written(binding: Binding, uri: str | None) -> Add:
    """Return the item that a peer calls *uri* as an Add of it."""
    case = Incoming(binding, Copy(), Item(source=Location(uri or '')))
    known = case.known
    if known is None and binding.role is Role.CLIENT and uri:
        known = binding.known.of_item(uri)
    change = binding.log.get(known.item_id) if known is not None else None
    if known is None or change is None or change.gone:
        raise InvalidItem('there is nothing to copy')
    agent = binding.agent
    info = next((info for info in agent.contentTypes if info.preferred), agent.contentTypes[0])
    found = agent.getItem(known.item_id)
    ctype, data = written_form(agent, found, info.ctype, info.versions[-1])
    if not isinstance(data, bytes):
        raise ItemTooLarge('it is too large to be copied')
    parent = getattr(found, 'parent', None) if agent.hierarchicalSync else None
    folder = binding.known.of_item(parent) if parent is not None else None
    place = folder.remote_id if folder is not None else None
    return Add(meta=Meta(type=ctype), items=(Item(data=data, source_parent=place),))


def _add_copy(binding: Binding, add: Add) -> int:
    assert add.meta is not None and add.meta.type is not None
    loaded = binding.agent.loadsItem(_bytes(add.items[0]), add.meta.type)
    if binding.agent.hierarchicalSync:
        loaded.parent = parent_of(binding, add.items[0])
    added = binding.agent.addItem(loaded)
    history = binding.store.keepsHistory
    binding.log.record(str(added.id), ItemState.ADDED, None, history=history)
    binding.stats.hereAdd += 1
    return StatusCode.ITEM_ADDED


def _bytes(item: Item) -> bytes:
    if not isinstance(item.data, bytes):
        raise InvalidContent('the item has no data that can be stored')
    return item.data


def move_item(binding: Binding, command: Move, item: Item) -> Answer:
    """Put one of our items into another folder."""
    return take(binding, item, lambda: _move(binding, command, item))


def _move(binding: Binding, command: Move, item: Item) -> int:
    agent = binding.agent
    if not agent.hierarchicalSync:
        raise FeatureNotSupported('there are no folders here')
    case = Incoming(binding, command, item)
    known = case.known
    if known is None or case.here in (Here.UNKNOWN, Here.DELETED):
        raise InvalidItem('there is no such item')
    up_to_date = case.change is not None and case.is_up_to_date(known, case.change)
    try:
        agent.moveItem(known.item_id, parent_of(binding, item))
    except (OSError, ItemBusy) as error:
        raise MoveFailed(str(error)) from error
    history = binding.store.keepsHistory
    seq = binding.log.record(known.item_id, ItemState.MODIFIED, None, history=history)
    number = binding.number
    if up_to_date:
        binding.known.note(known.item_id, seq=seq, offered=None, seen=number, digest=None)
    binding.stats.hereMod += 1
    return StatusCode.OK
