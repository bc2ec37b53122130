"""Items that are in folders: where they are, and in which order they travel.

A client names the parent of an item by its own id (SourceParent); a server by the client's
(TargetParent), or by its own where the client has not told one yet (OMA-DS-Protocol 1.2,
hierarchical synchronisation). The outermost folder is ``/``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pysyncml.constants import Role
from pysyncml.errors import ItemBusy, SyncmlError
from pysyncml.protocol.messages import Item
from pysyncml.state.knowledge import Pending
from pysyncml.sync.pairing import find_uri
from pysyncml.sync.parties import Binding

ROOT = '/'


def parent_of(binding: Binding, item: Item) -> str | None:
    """Return our id of the folder that an incoming *item* is in; ``None`` for the outermost.

    Raises:
        ItemBusy: we do not have that folder yet.
    """
    theirs, ours = item.source_parent, item.target_parent
    if binding.role is Role.SERVER:
        theirs, ours = theirs or ours, None
    for uri, row in ((ours, binding.known.of_item), (theirs, binding.known.of_remote)):
        if uri is None or uri in ('', ROOT):
            continue
        known = row(uri)
        change = binding.log.get(known.item_id if known is not None else uri)
        if change is None or change.gone or (known is None and uri != ours):
            raise ItemBusy(f'its folder ({uri}) is not here yet')
        return change.item_id
    return None


def tells_parent(binding: Binding, item: Item) -> bool:
    """Return whether an incoming item says where it is: by naming a folder, or by naming none."""
    if item.source_parent is not None or item.target_parent is not None:
        return True
    stores = {store['uri']: store for store in binding.parties.peer.stores or []}
    name = find_uri(binding.progress.peer_store, stores)
    return bool(name is not None and stores[name].get('hierarchical_sync'))


def parents(binding: Binding, item_id: str) -> dict[str, Any]:
    """Return what the outgoing item says of the folder it is in, as fields of an ``Item``."""
    if not binding.agent.hierarchicalSync:
        return {}
    parent = _parent(binding, item_id)
    if binding.role is Role.CLIENT:
        return {'source_parent': parent or ROOT}
    known = binding.known.of_item(parent) if parent is not None else None
    if known is not None and known.remote_id is not None:
        return {'target_parent': known.remote_id}
    return {'target_parent': ROOT} if parent is None else {'source_parent': parent}


def parents_first(binding: Binding, page: Iterable[Pending], everything: bool) -> Iterator[Pending]:
    """Yield the changes of *page*, each after those of the folders it is in.

    A folder that was changed after what is in it would come too late; it is told before, and not
    again when it is its turn. With *everything*, folders the peer knows already count as well.
    """
    ahead = binding.progress.ahead
    for pending in page:
        if pending.item_id in ahead:
            binding.progress.cursor = pending.turn
            continue
        if not pending.gone:
            for folder in _folders(binding, pending, everything):
                if folder.item_id not in ahead:
                    yield folder
        yield pending


def _folders(binding: Binding, pending: Pending, everything: bool) -> list[Pending]:
    """Return the folders above an item that are to be told before it, the outermost first."""
    found: list[Pending] = []
    seen = {pending.item_id}
    item_id: str | None = pending.item_id
    while item_id is not None:
        item_id = _parent(binding, item_id)
        change = binding.log.get(item_id) if item_id not in seen and item_id else None
        if item_id is None or change is None or change.gone:
            break
        seen.add(item_id)
        known = binding.known.of_item(item_id)
        told = known.seq if known is not None else None
        if change.seq > pending.seq and (told is None or everything):
            remote = known.remote_id if known is not None else None
            found.append(
                Pending(item_id, change.seq, change.state, remote, told, ahead_of=pending.seq)
            )
    return found[::-1]


def _parent(binding: Binding, item_id: str) -> str | None:
    try:
        return binding.agent.parentItem(item_id)
    except (SyncmlError, LookupError, OSError):
        return None  # it cannot be read: it will be told of when it is sent


def place(binding: Binding, loaded: Any, item: Item, item_id: str | None) -> None:
    """Set the parent of what came: the folder it says, else where ours (*item_id*) is."""
    if not binding.agent.hierarchicalSync:
        return
    if item_id is not None and not tells_parent(binding, item):
        loaded.parent = binding.agent.parentItem(item_id)
    else:
        loaded.parent = parent_of(binding, item)
