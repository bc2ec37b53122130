"""The first stage: who we are, and what is to be synchronised.

A client tells who it is and asks the same, unless both are known already, and then asks for a
synchronisation of each datastore with an Alert (OMA-DS-Protocol 1.2, §5.2; OMA-DS-DevInf 1.2).
A server answers with Alerts of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pysyncml.constants import TYPE_SYNCML_DEVICE_INFO, AlertCode, Role, SyncType
from pysyncml.errors import NoSuchRoute
from pysyncml.protocol.devinf import DevInf
from pysyncml.protocol.messages import (
    Alert,
    Anchor,
    Command,
    Get,
    Item,
    Location,
    Meta,
    Put,
    Results,
)
from pysyncml.protocol.session import Said, Sent
from pysyncml.protocol.stages import Stage
from pysyncml.sync.filtering import make_filter, target
from pysyncml.sync.large_objects import unpack
from pysyncml.sync.pairing import find_uri, pair
from pysyncml.sync.parties import Binding, Parties
from pysyncml.sync.rewound import ENDED
from pysyncml.sync.room import Room

_ENDS = 4  # sessions of which a client remembers that it has come to their end
_FURTHER = 32 << 20  # bytes of an item after which a client writes down how far it has come


def set_up(parties: Parties, room: Room) -> tuple[list[Said], bool]:
    """Return what we say in the first stage, and whether it is all."""
    session = parties.session
    saids: list[Said] = []
    if session.role is Role.CLIENT:
        if not session.identified:
            session.identified = True
            saids = _introduction(parties, room)
            alone = session.quirks.separate_introduction or not _routes_known(parties)
            if saids and alone:
                return saids, False
        if not session.datastores:
            _open_bindings(parties)
    elif parties.bindings() and parties.peer.stores is None and not session.identified:
        session.identified = True
        saids = [_question(session.version)]
        room.take(saids[0])
    for binding in parties.bindings():
        if binding.progress.alerted:
            continue
        said = _alert(binding)
        if not room.take(said):
            return saids, False
        binding.progress.alerted = True
        saids.append(said)
    return saids, True


# --- device information -----------------------------------------------------------------------


def devinf_uri(version: str) -> str:
    """Return the address of device information in protocol *version*: ``devinf12``."""
    return f'devinf{version.replace(".", "")}'


def _introduction(parties: Parties, room: Room) -> list[Said]:
    """Tell who we are and ask the same, if either is not known yet."""
    digest = parties.our_digest()
    saids = []
    uri = f'./{devinf_uri(parties.session.version)}'
    meta = Meta(type=f'{TYPE_SYNCML_DEVICE_INFO}+xml')
    if parties.peer.told != digest or parties.peer.stores is None:
        item = Item(source=Location(uri), data=parties.our_devinf())
        put = shortened(Said(Put(meta=meta, items=(item,)), Sent('Put', item=digest)), room)
        saids.append(put)
    if parties.peer.stores is None:
        saids.append(_question(parties.session.version))
    for said in saids:
        room.take(said)
    return saids


def _question(version: str) -> Said:
    """Return the question who the peer is.

    A client may have told it to nobody: with a message that was refused, or to a server that has
    lost its memory.
    """
    meta = Meta(type=f'{TYPE_SYNCML_DEVICE_INFO}+xml')
    item = Item(target=Location(f'./{devinf_uri(version)}'))
    return Said(Get(meta=meta, items=(item,)), Sent('Get'))


def shortened(said: Said, room: Room) -> Said:
    """Return *said* with device information so short that a message has room for it.

    What is missing then is not needed to synchronise: properties, names for people, further
    content types.
    """
    command = said.command
    if room.brief:
        command = _rewritten(command, _without_properties)
    for shorten in (_without_properties, _without_names, _without_further_types):
        if room.measure(command) <= room.whole:
            break
        command = _rewritten(command, shorten)
    return replace(said, command=command)


def _rewritten(command: Command, shorten: object) -> Command:
    assert isinstance(command, Put | Results) and callable(shorten)
    items = tuple(
        replace(item, data=shorten(item.data)) if isinstance(item.data, DevInf) else item
        for item in command.items
    )
    return replace(command, items=items)


def _without_properties(devinf: DevInf) -> DevInf:
    stores = tuple(replace(s, capabilities=(), filters=(), filter_types=()) for s in devinf.stores)
    return replace(devinf, stores=stores, extensions=())


def _without_names(devinf: DevInf) -> DevInf:
    return replace(devinf, stores=tuple(replace(s, display_name=None) for s in devinf.stores))


def _without_further_types(devinf: DevInf) -> DevInf:
    stores = tuple(
        replace(s, content_types=tuple(t for t in s.content_types if t.preferred))
        for s in devinf.stores
    )
    return replace(devinf, stores=stores)


def _routes_known(parties: Parties) -> bool:
    if parties.peer.stores is not None:
        return True
    return all(uri in parties.routes for uri in parties.stores)


# --- datastores -------------------------------------------------------------------------------


def _open_bindings(parties: Parties) -> None:
    offers = parties.peer_offers()
    ours = {uri: store.contentTypes for uri, store in parties.stores.items()}
    free = {uri: types for uri, types in ours.items() if uri not in parties.routes}
    routes = dict(pair(free, offers)) | parties.routes
    for uri, store in parties.stores.items():
        mode = parties.modes.get(uri)
        if mode is None:
            continue
        peer_uri = routes.get(uri)
        if peer_uri is None and not offers:
            peer_uri = uri  # a peer that tells nothing: the same name is as good a guess as any
        if peer_uri is None:
            continue
        binding = parties.open(store, find_uri(peer_uri, offers) or peer_uri)
        progress, record = binding.progress, binding.record
        progress.filter = make_filter(store.filter, store.filterType)
        progress.mode = int(mode)
        first = record.last_sync is None
        progress.slow = mode.slow or first
        if mode is SyncType.SLOW_SYNC:
            progress.mode = int(SyncType.TWO_WAY)
        if may_go_on(binding):
            go_on(binding)
    if parties.stores and not parties.session.datastores:
        names = ', '.join(f'"{uri}"' for uri in parties.modes)
        raise NoSuchRoute(f'the server has nothing that goes with {names}')


def new_anchor(parties: Parties, last: str | None) -> str:
    """Return an anchor for now: microseconds since 1970, always more than *last*.

    Not even copies of one device that begin together should have it alike: the second one would
    be taken for the first one that asks for its answer again.
    """
    now = int(parties.work.now * 1_000_000)
    if last is not None and last.isdigit():
        now = max(now, int(last) + 1)
    return str(now)


def _alert(binding: Binding) -> Said:
    progress, record = binding.progress, binding.record
    if not progress.resumed:
        progress.our_last = record.our_anchor
    progress.our_next = new_anchor(binding.parties, record.our_anchor)
    code = binding.alert_code
    if progress.resumed and binding.role is Role.CLIENT:
        code = AlertCode.RESUME
    anchor = Anchor(next=progress.our_next, last=progress.our_last)
    ended = (record.suspended or {}).get('ended') if binding.role is Role.CLIENT else None
    emi = (ENDED + ','.join(ended),) if ended else ()
    meta = Meta(anchor=anchor, max_obj_size=binding.parties.max_obj_size, emi=emi)
    item = Item(target=target(binding), source=Location(progress.store), meta=meta)
    cred = binding.parties.session.creds.get(progress.store)
    return Said(Alert(cred=cred, code=code, items=(item,)), Sent('Alert', progress.store))


# --- going on with a session that was broken off (OMA-DS-Protocol 1.2, §5.14) -------------------


def may_go_on(binding: Binding) -> bool:
    """Whether a client should ask to go on with the session that was broken off.

    It must be asked for the same kind again: what throws data away never goes on by itself.
    """
    state = binding.record.suspended
    session = binding.parties.session
    if state is None or session.version != '1.2':
        return False
    if binding.progress.mode != state['mode'] or (binding.progress.slow and not state['slow']):
        return False
    return bool(state['agreed']) and session.quirks.resumes


def go_on(binding: Binding) -> None:
    """Take up the session that was broken off where it stood."""
    state, progress = binding.record.suspended, binding.progress
    assert state is not None
    progress.mode, progress.slow = state['mode'], state['slow']
    progress.number = state['number']
    progress.incomplete = bool(state.get('incomplete'))
    progress.filter = progress.filter or state.get('filter')
    progress.our_last = state.get('our_last', binding.record.our_anchor)
    progress.resumed = True
    parcel = state['parcel']
    if parcel is not None and parcel['encoding'] == binding.parties.session.encoding:
        progress.parcel = {**parcel, 'offset': parcel['acked'], 'resumed': True}


def begin_anew(binding: Binding) -> None:
    """Take back :func:`go_on`: the peer has forgotten the session that was broken off."""
    progress = binding.progress
    if progress.resumed:
        unpack(binding)
        progress.resumed = progress.incomplete = False
        progress.number = binding.parties.session.number


def note_progress(binding: Binding, *, agreed: bool = False) -> None:
    """Remember where the session stands, in case it is broken off.

    *agreed*: both sides have said that they will go on another time.
    """
    progress, record = binding.progress, binding.record
    before = record.suspended or {}
    ended = list(before.get('ended') or ())
    session = binding.parties.session
    done = session.role is Role.CLIENT and session.ours is Stage.DONE  # and all has come, and lasts
    if done and progress.our_next not in ended:
        ended = [*ended, progress.our_next][-_ENDS:]
    state = {
        'mode': progress.mode,
        'slow': progress.slow,
        'number': progress.number,
        'filter': progress.filter,
        'peer_last': progress.peer_last,
        'our_last': progress.our_last,
        'peer_next': progress.peer_next,
        'parcel': progress.parcel,
        'incomplete': progress.incomplete or bool(binding.stats.hereErr),
        'agreed': agreed or (progress.resumed and bool(before.get('agreed'))),
        'ended': ended,
    }
    seldom = session.role is Role.CLIENT and session.quirks.large_parts
    if state != before and not (seldom and _is_little_further(before, state)):
        record.suspended = state
        binding.parties.work.records.save(record)


def _is_little_further(before: dict[str, Any], state: dict[str, Any]) -> bool:
    """Whether all that is new is that a few more parts of an item have arrived.

    That need not last: a server of our kind takes them once more (``Unfinished.cut``).
    """
    old, new = before.get('parcel'), state['parcel']
    if not old or not new or new['acked'] - old['acked'] >= _FURTHER:
        return False
    further = {name: new[name] for name in ('offset', 'acked')}
    return {**before, 'parcel': {**old, **further}} == state
