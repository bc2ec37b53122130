"""The few elements whose shape differs from that of the class that holds them.

The grammar describes documents. Most classes follow them field by field; for the others a
:class:`Shape` has one function that makes the object from the values that were read
(``make``), and one that takes it apart for writing (``take``). Both sides speak the field names
of the grammar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pysyncml.errors import CodecError
from pysyncml.immutable import immutable
from pysyncml.protocol.devinf import (
    ContentTypeInfo,
    DataStoreInfo,
    DeviceInfo,
    DevInf,
)
from pysyncml.protocol.messages import Chal, Cred, Header, Location, Meta

Values = dict[str, Any]


@immutable()
class Shape:
    """How to make an object from values by field name, and to take it apart again."""

    make: Callable[[Values], Any]
    take: Callable[[Any], Values] | None = None  # None: by the names of the fields


def _same(values: Values) -> Values:
    return values


# --- messages -----------------------------------------------------------------------------------


def _make_header(values: Values) -> Header:
    if 'source' not in values:
        raise CodecError('the message does not say who sent it: its header has no Source')
    values.setdefault('target', Location(''))
    for one, other in (('version', 'dtd_version'), ('dtd_version', 'version')):
        if not values.get(one) and values.get(other):
            values[one] = values[other]
    return Header(**values)


def _make_cred(values: Values) -> Cred:
    meta = values.get('meta') or Meta()
    return Cred(values.get('data', ''), type=meta.type, format=meta.format)


def _take_cred(cred: Cred) -> Values:
    return {'meta': Meta(format=cred.format, type=cred.type), 'data': cred.data}


def _make_chal(values: Values) -> Chal:
    meta = values.get('meta') or Meta()
    return Chal(meta.type or '', format=meta.format, next_nonce=meta.next_nonce)


def _take_chal(chal: Chal) -> Values:
    return {'meta': Meta(format=chal.format, type=chal.type, next_nonce=chal.next_nonce)}


# --- device information -------------------------------------------------------------------------

_DEVICE_FIELDS = (
    ('manufacturer', 'manufacturerName'),
    ('model', 'modelName'),
    ('oem', 'oem'),
    ('firmware', 'firmwareVersion'),
    ('software', 'softwareVersion'),
    ('hardware', 'hardwareVersion'),
    ('dev_id', 'devID'),
    ('dev_type', 'devType'),
)
_DEVICE_FLAGS = (
    ('utc', 'utc'),
    ('large_objects', 'largeObjects'),
    ('number_of_changes', 'numberOfChanges'),
)
# Each store gets those of the shared capabilities that are about it. Phones have a few dozen.
_MAX_SHARED = 100_000


def _make_devinf(values: Values) -> DevInf:
    device: Values = {theirs: values[ours] for ours, theirs in _DEVICE_FIELDS if values.get(ours)}
    device |= {theirs: values.get(ours, False) for ours, theirs in _DEVICE_FLAGS}
    stores = values.get('stores', ())
    device['hierarchicalSync'] = any(store.hierarchical_sync for store in stores)
    shared = [each for several in values.get('capabilities', ()) for each in several]
    if len(shared) * len(stores) > _MAX_SHARED:
        raise CodecError('the device information is too complex: too many content types')
    if shared:
        stores = tuple(_with_capabilities(store, shared) for store in stores)
    return DevInf(
        version=values.get('version') or '1.2',
        device=DeviceInfo(**device),
        stores=stores,
        extensions=tuple(
            (e.get('name', ''), e.get('values', ())) for e in values.get('extensions', ())
        ),
    )


def _with_capabilities(store: DataStoreInfo, shared: Iterable[Any]) -> DataStoreInfo:
    """Give *store* those capabilities of the whole device that are about its content types."""
    known = {each.ctype.lower() for each in store.content_types}
    more = tuple(each for each in shared if each.ctype.lower() in known)
    values = {name: getattr(store, name) for name in DataStoreInfo.__dataclass_fields__}
    return DataStoreInfo(**values | {'capabilities': store.capabilities + more})


def _take_devinf(devinf: DevInf) -> Values:
    device = devinf.device
    # Some servers want all of these and none of them empty.
    values: Values = {ours: getattr(device, theirs) or '-' for ours, theirs in _DEVICE_FIELDS}
    values |= {ours: getattr(device, theirs) for ours, theirs in _DEVICE_FLAGS}
    values['version'] = devinf.version
    values['dev_id'] = device.devID or ''
    values['oem'] = device.oem
    values['stores'] = devinf.stores
    every = (each for store in devinf.stores for each in store.capabilities)
    values['capabilities'] = tuple(dict.fromkeys(every))
    values['extensions'] = [{'name': name, 'values': texts} for name, texts in devinf.extensions]
    return values


def _make_store(values: Values) -> DataStoreInfo:
    memory: Values = values.pop('memory', {})
    uses = [(values.pop(f'{way}_pref', None), True, way) for way in ('rx', 'tx')]
    uses += [(each, False, way) for way in ('rx', 'tx') for each in values.pop(way, ())]
    capabilities = [each for several in values.pop('capabilities', ()) for each in several]
    filter_types = values.pop('filter_types', ())
    # Every device must know two-way and slow sync (OMA-DS-DevInf 1.2, SyncType).
    sync_types = values.pop('sync_cap', {}).get('sync_types') or (1, 2)
    return DataStoreInfo(
        uri=values.pop('uri', ''),
        content_types=_make_content_types((u, p, w) for u, p, w in uses if u),
        capabilities=tuple(capabilities),
        sync_types=tuple(sync_types),
        filter_types=tuple((e.get('ctype', ''), e.get('version', '')) for e in filter_types),
        **memory,
        **values,
    )


def _take_store(store: DataStoreInfo) -> Values:
    values = {name: getattr(store, name) for name in DataStoreInfo.__dataclass_fields__}
    values |= _take_content_types(store.content_types)
    memory = {name: values[name] for name in ('shared_mem', 'max_mem', 'max_id')}
    values['memory'] = memory if any(memory.values()) else None
    values['sync_cap'] = {'sync_types': store.sync_types}
    values['filter_types'] = [{'ctype': c, 'version': v} for c, v in store.filter_types]
    return values


def _make_content_types(uses: Iterable[tuple[Values, bool, str]]) -> tuple[ContentTypeInfo, ...]:
    """Gather what Rx-Pref, Rx, Tx-Pref and Tx say about each content type.

    A preferred type takes in the other versions that go the same ways: its versions are then
    in ascending order of preference, as :class:`ContentTypeInfo` has them.
    """
    ways: dict[tuple[str, str, bool], set[str]] = {}
    for use, preferred, way in uses:
        key = (use.get('ctype', ''), use.get('version', ''), preferred)
        if (*key[:2], True) in ways and way in ways[(*key[:2], True)]:
            continue  # many peers say again under Rx what they said under Rx-Pref
        ways.setdefault(key, set()).add(way)
    found: dict[tuple[str, bool, frozenset[str]], list[str]] = {}
    for (ctype, version, preferred), gathered in ways.items():
        found.setdefault((ctype, preferred, frozenset(gathered)), []).append(version)
    for ctype, preferred, these in list(found):
        plain = (ctype, False, these)
        if preferred and plain in found:
            found[ctype, True, these][:0] = found.pop(plain)
    return tuple(
        ContentTypeInfo(ctype, versions, preferred, transmit='tx' in these, receive='rx' in these)
        for (ctype, preferred, these), versions in found.items()
    )


def _take_content_types(infos: Iterable[ContentTypeInfo]) -> Values:
    """Say in four elements what *infos* say: the grammar wants one preferred type each way."""
    values: Values = {}
    for way, goes in (('rx', 'receive'), ('tx', 'transmit')):
        here = [info for info in infos if getattr(info, goes)]
        here.sort(key=lambda info: not info.preferred)
        uses = [{'ctype': info.ctype, 'version': v} for info in here for v in info.versions]
        if here:  # the best version of the first type is the last it names
            values[f'{way}_pref'] = uses.pop(len(here[0].versions) - 1)
        values[way] = uses
    return values


#: The shapes by name of element; all other elements follow their classes.
SHAPES: dict[str, Shape] = {
    'SyncHdr': Shape(_make_header),
    'SyncBody': Shape(_same),
    'Item': Shape(_same),  # made by pysyncml.codec.tree, which knows what it inherits
    'Cred': Shape(_make_cred, _take_cred),
    'Chal': Shape(_make_chal, _take_chal),
    'DevInf': Shape(_make_devinf, _take_devinf),
    'DataStore': Shape(_make_store, _take_store),
}
