"""Which items of a datastore a client wants to have (OMA-DS-Protocol 1.2, filtering).

A client says so in its Alert: with a Filter (1.2), or behind the ``?`` of the address. What it
sends itself is not filtered, and no filter ever leads to a deletion on the server. *Inclusive*:
what does not fit is not sent, and what the client has of it stays there. *Exclusive*: the client
is to have what fits and nothing else, so what has ceased to fit is deleted there; for the server it
is then an item that the client has never seen, and sent as such when it fits again.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from functools import lru_cache

from pysyncml.constants import NAMESPACE_FILTER_CGI, ItemState, Role
from pysyncml.errors import FeatureNotSupported, InvalidContentType, InvalidFilter, SyncmlError
from pysyncml.protocol import filters
from pysyncml.protocol.messages import Filter, Item, Location, Meta
from pysyncml.state.knowledge import Pending
from pysyncml.sync.parties import Binding, LocalStore

log = logging.getLogger(__name__)

INCLUSIVE, EXCLUSIVE = 'INCLUSIVE', 'EXCLUSIVE'

#: A filter as it is kept with the session: the query, and INCLUSIVE or EXCLUSIVE.
Kept = list[str]

_parsed = lru_cache(maxsize=32)(filters.parse)
_PAGE = 500


# --- asking for it, and being asked ---------------------------------------------------------------


def read_filter(store: LocalStore, location: Location | None) -> Kept | None:
    """Return the filter in what a client gives as the Target of its Alert; ``None``: all it has.

    Raises:
        InvalidFilter: it does not follow the grammar, or there is no such grammar (422).
        InvalidContentType: it is for a type this datastore does not have (415).
        FeatureNotSupported: it asks for what cannot be told here (406).
    """
    if location is None:
        return None
    query, kind = location.uri.partition('?')[2], INCLUSIVE
    if location.filter is not None:
        query, kind = _read_element(store, location.filter)
    if not query:
        return None
    filters.check(_parsed(query), store.agent.filterNames)
    return [query, kind]


def _read_element(store: LocalStore, element: Filter) -> tuple[str, str]:
    wanted = element.meta.type if element.meta else None
    if wanted is not None and not any(_same(wanted, info.ctype) for info in store.contentTypes):
        raise InvalidContentType(f'there is no {wanted} here to be filtered')
    kind = (element.filter_type or EXCLUSIVE).strip().upper()
    if kind not in (INCLUSIVE, EXCLUSIVE):
        raise InvalidFilter(f'"{element.filter_type}" is no kind of filter')
    if element.field is not None:
        raise FeatureNotSupported('the fields of items cannot be chosen here')
    record = element.record
    if record is None or record.data is None:
        return '', kind
    grammar = record.meta.type if record.meta else None
    if grammar is not None and not _same(grammar, NAMESPACE_FILTER_CGI):
        raise InvalidFilter(f'the grammar "{grammar}" is not known')
    try:
        return record.data.decode().strip(), kind  # type: ignore[union-attr]
    except (UnicodeDecodeError, AttributeError):
        raise InvalidFilter('the filter is no text') from None


def _same(one: str, other: str) -> bool:
    return one.partition(';')[0].strip().lower() == other.lower()


def make_filter(query: str | None, kind: str) -> Kept | None:
    """Return the filter that we ask a server for, as it is kept with the session.

    Raises:
        InvalidFilter: it does not follow the grammar.
    """
    if not query:
        return None
    _parsed(query)
    if kind.upper() not in (INCLUSIVE, EXCLUSIVE):
        raise InvalidFilter(f'"{kind}" is no kind of filter: it is {INCLUSIVE} or {EXCLUSIVE}')
    return [query, kind.upper()]


def target(binding: Binding) -> Location:
    """Return the peer's datastore for our Alert, with the filter we ask for."""
    progress = binding.progress
    if progress.filter is None or binding.role is Role.SERVER:
        return Location(progress.peer_store)
    query, kind = progress.filter
    if binding.parties.session.version != '1.2':
        return Location(f'{progress.peer_store}?{query}')
    ctype = binding.content_type
    record = Item(meta=Meta(type=NAMESPACE_FILTER_CGI), data=query.encode())
    meta = Meta(type=ctype[0]) if ctype is not None else None
    return Location(progress.peer_store, None, Filter(meta=meta, record=record, filter_type=kind))


# --- choosing -------------------------------------------------------------------------------------


def wanted(binding: Binding, item_id: str) -> bool | None:
    """Return whether one of our items fits the filter; ``None`` if that cannot be told now."""
    if binding.progress.filter is None:
        return True
    try:
        properties = dict(binding.agent.filterProperties(item_id))
    except (SyncmlError, LookupError, OSError) as error:
        log.info('item %s cannot be filtered: %s', item_id, error)
        return None
    except Exception:
        log.exception('item %s cannot be filtered', item_id)
        return None
    known = binding.known.of_item(item_id)
    luid = known.remote_id if known is not None else None
    properties[filters.LUID] = item_id if binding.role is Role.CLIENT else luid
    return filters.matches(_parsed(binding.progress.filter[0]), properties)


def is_kept(binding: Binding, item_id: str) -> bool:
    """Return whether a refresh must leave an item alone that the other side has not sent.

    A client with a filter does not have what does not fit; and what does not fit an inclusive one
    is not for the server to replace.
    """
    kept = binding.progress.filter
    if kept is None or (binding.role is Role.CLIENT and kept[1] == EXCLUSIVE):
        return False
    return wanted(binding, item_id) is not True


def _filters(binding: Binding) -> bool:
    return binding.progress.filter is not None and binding.role is Role.SERVER


def drop_unwanted(binding: Binding, everything: bool) -> None:
    """Before we send: make what has ceased to fit an exclusive filter a pending change.

    Whether it is there is open until the client has answered the deletion. With *everything*
    this is a slow sync: the client has shown in this session all it has, if it was to send.
    """
    kept = binding.progress.filter
    if kept is None or not _filters(binding) or kept[1] != EXCLUSIVE or not binding.we_send:
        return
    number, lowest = binding.number, binding.record.cursor
    shows = everything and binding.they_send
    held = [row for row in binding.known.held() if not shows or row[2] == number]
    for start in range(0, len(held), _PAGE):
        page = held[start : start + _PAGE]
        names = [item_id for item_id, _, _ in page]
        binding.known.prefetch(item_ids=names)
        binding.agent.prefetchItems(names)
        for item_id, seq, _ in page:
            if wanted(binding, item_id) is False:
                binding.known.note(item_id, seq=None, offered=seq)
                lowest = min(lowest, seq - 1)
    if lowest < binding.record.cursor:
        binding.record.cursor = lowest
        binding.parties.work.records.save(binding.record)


def chosen(binding: Binding, page: Iterable[Pending], everything: bool) -> Iterator[Pending]:
    """Yield of the changes in *page* what the client is to hear of; what it is not stays pending.

    What is to go there comes as a deletion.
    """
    progress = binding.progress
    if progress.filter is None or not _filters(binding):
        yield from page
        return
    exclusive = progress.filter[1] == EXCLUSIVE
    for pending in page:
        fits = pending.gone or wanted(binding, pending.item_id)
        if fits:
            yield pending
        elif fits is False and exclusive and _is_there(binding, pending, everything):
            yield dataclasses.replace(pending, state=int(ItemState.DELETED))
        else:
            progress.cursor = pending.turn


def _is_there(binding: Binding, pending: Pending, everything: bool) -> bool:
    if pending.remote_id is None:
        return False
    shows = everything and binding.they_send
    known = binding.known.of_item(pending.item_id)
    return known is not None and (not shows or known.seen == binding.number)
