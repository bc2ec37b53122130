"""What an Alert asks for: above all, to synchronise a datastore (OMA-DS-Protocol 1.2, §5.2)."""

from __future__ import annotations

import logging

from pysyncml.constants import AlertCode, Role, StatusCode, SyncType
from pysyncml.errors import (
    AuthError,
    CommandError,
    DeviceCopied,
    FeatureNotSupported,
    InvalidContent,
    LoginDelayed,
    RemoteProtocolError,
)
from pysyncml.protocol import auth
from pysyncml.protocol.messages import Alert, Cred, Item
from pysyncml.protocol.stages import Stage
from pysyncml.sync.filtering import read_filter
from pysyncml.sync.large_objects import unpack
from pysyncml.sync.pairing import find_uri
from pysyncml.sync.parties import Binding, Parties
from pysyncml.sync.replies import Reply, reply_to
from pysyncml.sync.rewound import rewound_to
from pysyncml.sync.setting_up import begin_anew, go_on

log = logging.getLogger(__name__)

_SHOWN = 500  # characters of a text to be shown to the user


def answer_alert(command: Alert, parties: Parties) -> list[Reply]:
    """Answer an Alert: each of its items has a Status of its own."""
    return [_alert(command, item, parties) for item in command.items or (Item(),)]


def _alert(command: Alert, item: Item, parties: Parties) -> Reply:
    session = parties.session
    kind = SyncType.of_alert(command.code)
    resumes = command.code == AlertCode.RESUME and session.version == '1.2'
    if not resumes and kind in (None, SyncType.SERVER_ALERTED):
        return reply_to(command, item, _about_the_session(command, item, parties))
    if item.meta is not None and item.meta.max_obj_size:
        session.peer_max_obj_size = item.meta.max_obj_size
    text = ''
    if session.theirs is not Stage.SETUP:
        code = StatusCode.FORBIDDEN  # too late: what is synchronised has been agreed on
    elif session.role is Role.CLIENT:
        binding = parties.find(item.target_uri) or parties.find(item.source_uri)
        code = StatusCode.NOT_FOUND if binding is None else _agree(binding, command.code, item)
    else:
        refusal = admission(parties, command.cred, item.target_uri or item.source_uri)
        if refusal is not None:
            chal = None if refusal == StatusCode.RETRY_LATER else auth.basic_challenge()
            return Reply(command, refusal, (), item.target_uri, item.source_uri, chal=chal)
        code, text = _try_to_open(parties, kind, item)
    anchor = item.meta.anchor if item.meta else None
    echo = (Item(data=anchor),) if anchor else ()
    note = (Item(data=text.encode()),) if text else ()
    return Reply(command, code, (*echo, *note), item.target_uri, item.source_uri)


def admission(parties: Parties, cred: Cred | None, uri: str | None) -> StatusCode | None:
    """Return why *cred* does not open the datastore *uri*, which may have accounts of its own."""
    name = find_uri(uri or '', parties.stores)
    if name is None or not parties.stores[name].accounts:
        return None
    if cred is None:
        return StatusCode.MISSING_CREDENTIALS
    try:
        user = parties.user_of(cred, parties.stores[name].accounts)
    except LoginDelayed:
        return StatusCode.RETRY_LATER
    except AuthError:
        user = None
    return StatusCode.INVALID_CREDENTIALS if user is None else None


def _about_the_session(command: Alert, item: Item, parties: Parties) -> StatusCode:
    """Do what an Alert asks that is not about synchronising a datastore."""
    session = parties.session
    match command.code:
        case AlertCode.NEXT_MESSAGE:
            return StatusCode.OK
        case AlertCode.DISPLAY:
            text = item.data.decode('utf-8', 'replace') if isinstance(item.data, bytes) else ''
            shown = ''.join(char if char.isprintable() else ' ' for char in text[:_SHOWN])
            log.warning('%s says: %s', parties.peer_label, shown)
            return StatusCode.OK
        case AlertCode.NO_END_OF_DATA:
            _stop_sending(parties, item)
            return StatusCode.OK
        case AlertCode.SUSPEND if session.version == '1.2':
            session.suspended = True
            return StatusCode.OK
    return StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED


def _stop_sending(parties: Parties, item: Item) -> None:
    """The peer misses the rest of an item: it is sent again as a whole the next time."""
    ids = {item.target_uri, item.source_uri} - {None}
    for binding in parties.bindings():
        parcel = binding.progress.parcel
        if parcel is not None and ids & {parcel['target'], parcel['source']}:
            binding.progress.cursor = parcel['turn']
            unpack(binding)


def _try_to_open(parties: Parties, kind: SyncType | None, item: Item) -> tuple[StatusCode, str]:
    try:
        return _open(parties, kind, item), ''
    except CommandError as error:
        return StatusCode(error.status), str(error)


def _open(parties: Parties, kind: SyncType | None, item: Item) -> StatusCode:
    """Take part in what a client asks for, as its server; *kind* ``None``: to go on.

    Raises:
        CommandError: what it wants to have cannot be told by its filter, or it has another
            datastore that goes with the same one of ours.
    """
    parties.limits.check_item(item)
    name = find_uri(item.target_uri or item.source_uri or '', parties.stores)
    if name is None:
        return StatusCode.NOT_FOUND
    store = parties.stores[name]
    theirs = item.source_uri or item.target_uri or ''
    taken = parties.session.datastores.get(name)
    if taken is not None and taken.live and taken.peer_store != theirs:
        # the ids of two datastores must not get mixed up
        if len(taken.rivals) == parties.limits.datastores:
            raise RemoteProtocolError('too many datastores for one of ours')
        taken.rivals.append(theirs)
        raise FeatureNotSupported(f'it is synchronised with "{taken.peer_store}" already')
    kinds = store.record.sync_types
    if kinds and kind is not None and int(kind) not in kinds:
        return StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED
    wanted = read_filter(store, item.target)
    binding = parties.open(store, theirs)
    progress, record = binding.progress, binding.record
    progress.filter = wanted
    if binding.content_type is None:
        del parties.session.datastores[name]
        return StatusCode.UNSUPPORTED_MEDIA_TYPE
    progress.peer_last, progress.peer_next = _anchors(item, parties)
    progress.agreed = True
    matches = bool(record.peer_anchor) and progress.peer_last == record.peer_anchor
    emi = item.meta.emi if item.meta is not None else ()
    progress.rewound = rewound_to(record, progress.peer_last, emi)
    state = record.suspended
    if kind is None and state is not None and progress.peer_last in (None, '', state['peer_last']):
        go_on(binding)
        return StatusCode.OK
    refused = kind is None
    kind = SyncType.SLOW_SYNC if kind is None else kind
    progress.mode = int(SyncType.TWO_WAY if kind is SyncType.SLOW_SYNC else kind)
    progress.slow = kind is SyncType.SLOW_SYNC
    if not progress.peer_last or kind is SyncType.REFRESH_FROM_SERVER:
        if progress.peer_last:
            # it is about to throw away what it has; if the session breaks off, it may not have, and
            # the next one has to compare what it shows
            binding.known.doubt_all()
            record.peer_anchor = None
        else:
            # a device without an anchor may have been wiped, and give its ids to other items
            binding.known.forget_all()
        record.cursor = 0
        parties.work.records.save(record)
    if not refused and (kind.slow or matches):
        return StatusCode.OK
    progress.slow = True
    progress.refused = True
    return StatusCode.REFRESH_REQUIRED


def _anchors(item: Item, parties: Parties) -> tuple[str | None, str | None]:
    """Return the peer's last and next anchor.

    Raises:
        InvalidContent: one is too long.
    """
    anchor = item.meta.anchor if item.meta else None
    if anchor is None:
        return None, None
    if max(len(anchor.last or ''), len(anchor.next)) > parties.limits.anchor:
        raise InvalidContent(f'an anchor has {parties.limits.anchor:,} characters at most')
    return anchor.last, anchor.next


_OTHER = 'the other side insists on another kind of synchronisation'
_WIPES = 'the other side wants to replace everything instead: synchronise both ways first'


def _is_overtaken(binding: Binding) -> bool:
    """Whether the server has come further with a device of our id than we have.

    So it is when we were put back to an earlier state, as from a backup; and when the state was
    copied, and the copy has synchronised since. A copy will do so again: if it comes to that twice
    in a row, we are two. An answer of the server's that was lost is no reason: its new anchor comes
    long before it counts, and is remembered. Anchors of pysyncml are numbers that rise.
    """
    record = binding.record
    known = [record.peer_anchor, (record.suspended or {}).get('peer_next')]
    seen = [int(anchor) for anchor in known if anchor and anchor.isdecimal()]
    last = binding.progress.peer_last or ''
    if record.last_sync is None or not seen or not last.isdecimal():
        return False
    return int(last) > max(seen)


def _agree(binding: Binding, code: int, item: Item) -> StatusCode:
    """Follow what the server has answered to our Alert (OMA-DS-Protocol 1.2, §5.2)."""
    progress, record = binding.progress, binding.record
    try:
        progress.peer_last, progress.peer_next = _anchors(item, binding.parties)
    except InvalidContent as error:
        progress.failed = StatusCode.BAD_REQUEST
        binding.stats.hereErr += 1
        binding.problem(str(error))
        return StatusCode.BAD_REQUEST
    progress.agreed = True
    progress.overtaken = _is_overtaken(binding)
    if progress.overtaken and record.overtaken and binding.parties.may_be_copied:
        raise DeviceCopied('another device with the same id synchronises with this server')
    if record.our_anchor is None:
        # from now on this device is one that has been here: only what has no anchor may have been
        # wiped, and loses what the server knows of it
        record.our_anchor = progress.our_next
        binding.parties.work.records.save(record)
    theirs = SyncType.of_alert(code)
    wanted = SyncType(progress.mode)
    if code == AlertCode.RESUME and progress.resumed:
        theirs = SyncType.SLOW_SYNC if progress.slow else wanted
    elif progress.resumed:
        if code != binding.alert_code:
            begin_anew(binding)
        progress.slow = wanted.slow
    if theirs is SyncType.SLOW_SYNC:
        progress.slow = True
        theirs = SyncType.TWO_WAY
    if theirs is not wanted and (wanted is not SyncType.TWO_WAY or theirs is None or theirs.wipes):
        progress.failed = StatusCode.FORBIDDEN
        binding.stats.hereErr += 1
        binding.problem(_WIPES if theirs and theirs.wipes else _OTHER)
        return StatusCode.FORBIDDEN
    progress.mode = int(theirs)
    strange = record.last_sync is not None and progress.peer_last != record.peer_anchor
    strange = strange and binding.parties.session.quirks.steady_anchors
    if strange and not progress.slow and not theirs.wipes:
        progress.slow = True
        return StatusCode.REFRESH_REQUIRED
    return StatusCode.OK
