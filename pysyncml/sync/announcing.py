"""What our device information says of a datastore's optional features (OMA-DS-DevInf 1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pysyncml.constants import NAMESPACE_FILTER_CGI, TYPE_BARE_NOTE
from pysyncml.protocol.devinf import Capability, FilterCapability, Property
from pysyncml.protocol.filters import KEYWORDS

if TYPE_CHECKING:
    from pysyncml.agents.base import Agent
    from pysyncml.sync.parties import LocalStore


def announced(store: LocalStore, version: str, *, kin: bool) -> dict[str, Any]:
    """Return what *store* can do besides, as fields of a ``DataStoreInfo``; new in SyncML 1.2.

    *kin*: the peer is of our kind. Others hear nothing of FieldLevel for a type that is our own:
    libsynthesis stumbles over it.
    """
    if version != '1.2':
        return {}
    return {**_filters(store), **_field_level(store, kin)}


def _filters(store: LocalStore) -> dict[str, Any]:
    names = store.agent.filterNames
    if not names:
        return {}
    keywords = tuple(word for word, (name, _) in KEYWORDS.items() if name in names)
    return {
        'filter_types': ((NAMESPACE_FILTER_CGI, '1.0'),),
        'filters': tuple(
            FilterCapability(
                ctype=info.ctype, version=version, keywords=keywords, properties=tuple(names)
            )
            for info in store.contentTypes
            if info.transmit
            for version in info.versions
        ),
    }


def _field_level(store: LocalStore, kin: bool) -> dict[str, Any]:
    taken = [
        info
        for info in store.contentTypes
        if info.receive
        and takes_fields(store.agent, info.ctype)
        and (kin or info.ctype != TYPE_BARE_NOTE)
    ]
    if not taken:
        return {}
    names = getattr(store.agent.itemClass, 'fields', ()) or ('',)
    properties = tuple(Property(name=name) for name in names)
    return {
        'capabilities': tuple(
            Capability(ctype=info.ctype, version=version, field_level=True, properties=properties)
            for info in taken
            for version in info.versions
        )
    }


def takes_fields(agent: Agent, ctype: str | None) -> bool:
    """Return whether a peer may send some fields of an item, written in this type."""
    taken = agent.fieldLevel
    return taken if isinstance(taken, bool) else (ctype or '').lower() in taken
