"""A whole session, as its client leads it.

Both sides do the same with each message: begin a unit of work, let :func:`~pysyncml.sync.turn`
take it in and say what is to be said, commit, and only then let bytes leave. A client does it in
a loop; a server once for each POST (:mod:`pysyncml.service`).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pysyncml.alerted import answers
from pysyncml.codec import decode, encode
from pysyncml.constants import Policy, Role, StatusCode, SyncType
from pysyncml.errors import (
    CodecError,
    DeviceCopied,
    HTTPStatus,
    NoSuchRoute,
    RemoteProtocolError,
    ServerBusy,
    TransportError,
)
from pysyncml.negotiation import BeginAgain, Negotiation, Post, pause
from pysyncml.protocol.limits import Limits
from pysyncml.protocol.messages import Location, Message
from pysyncml.protocol.notification import Notification
from pysyncml.protocol.session import Session
from pysyncml.state.records import BindingRecord, DeviceRecord, StoreRecord
from pysyncml.state.work import UnitOfWork
from pysyncml.stats import Stats
from pysyncml.sync import Parties, turn
from pysyncml.transport import Request, Response, Transport
from pysyncml.transport.explain import place

if TYPE_CHECKING:
    from pysyncml.adapter import Adapter
    from pysyncml.peer import Peer

log = logging.getLogger(__name__)

#: Bytes we fill a message with when the peer sets no limit: large enough to make the cost of a
#: message small beside that of its items, small enough to be held in memory a few times.
MESSAGE_SIZE = 512 * 1024

#: The same between two of our kind, where an item costs little, and the message around it tells:
#: what web servers take that others stand behind.
LARGE_MESSAGE_SIZE = 1_000_000

#: Seconds between attempts to send a message again whose answer was lost; of the first message
#: of a session, only one more.
RETRIES = (0.5, 2.0, 5.0)

#: What HTTP says when the message may be taken a little later, and for how many seconds we wait
#: within a session where the server says how many.
_LATER, _LONGEST_WAIT = {408, 425, 429, 502, 503, 504}, 60.0
_TOO_LARGE = 413

#: Seconds to wait before a server that is busy is asked again, and how often it is asked.
BUSY_PAUSE, BUSY_TIMES = 3.0, 20


def limit_for(session: Session, inbound: Message | None, limits: Limits) -> int:
    """Return how many bytes our next message may have."""
    said = inbound.header.max_msg_size if inbound is not None else None
    usual = sys.maxsize if session.quirks.single_message else MESSAGE_SIZE
    if session.quirks.many_items:
        usual = max(usual, min(LARGE_MESSAGE_SIZE, limits.part))
    wanted = said or session.peer_max_msg_size
    return limits.room(wanted) if wanted else usual


def converse(
    adapter: Adapter,
    peer: Peer,
    mode: SyncType | Mapping[str, SyncType],
    transport: Transport | None,
    notification: Notification | None = None,
) -> dict[str, Stats]:
    """Synchronise with *peer* as its client; see :meth:`Adapter.sync`."""
    if transport is None:
        from pysyncml.transport.http import HTTPTransport

        transport = HTTPTransport()
    negotiation = Negotiation(adapter, peer)
    try:
        while True:
            remembered = peer.record.stores is not None
            try:
                return _converse(adapter, peer, mode, transport, notification, negotiation)
            except BeginAgain:
                log.info('beginning again, with SyncML %s', negotiation.version)
            except (NoSuchRoute, RemoteProtocolError) as error:
                # what the server has said of itself may be wrong by now: the next time it is asked
                _forget_introduction(adapter, peer)
                if not remembered or not isinstance(error, NoSuchRoute):
                    raise
                log.info('%s: asking it again what it has', error)
            except DeviceCopied:
                _become_another(adapter, peer)
                negotiation = Negotiation(adapter, peer)
    finally:
        adapter.stopping = False


def _converse(
    adapter: Adapter,
    peer: Peer,
    mode: SyncType | Mapping[str, SyncType],
    transport: Transport,
    notification: Notification | None,
    negotiation: Negotiation,
) -> dict[str, Stats]:
    remembered = peer.record.stores is not None
    with adapter.context.work() as work:
        session = _begin(adapter, peer, work, notification.session_id if notification else None)
    negotiation.begin(session)
    session.unsaid = answers(notification) if notification else []
    post = partial(_exchange, adapter, peer, session, transport)
    inbound: Message | None = None
    while True:
        with adapter.context.work() as work:
            parties = _client_parties(adapter, peer, session, work, mode)
            message = turn(inbound, parties, limit_for(session, inbound, adapter.limits))
        if adapter.onProgress is not None:
            _report_progress(adapter, parties)
        adapter.suspended = session.suspended
        if message is None:
            if remembered:
                _check_routes(adapter, session)
            return stats_of(session)
        if session.busy:
            _wait(adapter, session)
        try:
            adapter.limits.check_length(session.msg_id)
            inbound = negotiation.exchange(session, message, post)
            adapter.limits.check_message(inbound)
        except (TransportError, RemoteProtocolError) as error:
            if not session.suspended:
                raise
            # we are leaving; some servers have nothing to say to that (SyncEvolution does not)
            log.info('the server has not answered that the session is put off: %s', error)
            adapter.suspended = True
            return stats_of(session)


def _forget_introduction(adapter: Adapter, peer: Peer) -> None:
    with adapter.context.work() as work:
        record = work.records.first(DeviceRecord, id=peer.record.id) or peer.record
        record.stores = record.told = None
        peer.record = work.records.save(record)


def _check_routes(adapter: Adapter, session: Session) -> None:
    """See whether the server has the datastores it was remembered to have.

    Raises:
        NoSuchRoute: it does not.
    """
    for uri, progress in session.datastores.items():
        if progress.failed == StatusCode.NOT_FOUND and uri not in adapter.routes:
            raise NoSuchRoute(f'the server has no datastore "{progress.peer_store}" any more')


def _become_another(adapter: Adapter, peer: Peer) -> None:
    """Take an id of our own, as somebody else goes by ours; the server has never heard of us.

    What both sides have is compared, as in any first session: nothing is deleted or doubled.
    """
    assert adapter.onCopied is not None
    dev_id, adapter.onCopied = adapter.onCopied(), None
    log.warning(
        'this is a copy of another device, which synchronises with %s, too: '
        'from now on it is a device of its own',
        place(peer.url or ''),
    )
    with adapter.context.work() as work:
        adapter.record.dev_id = dev_id
        if adapter.devinfo is not None:
            adapter.devinfo.devID = dev_id
            adapter.record.devinf = adapter.devinfo.values()
        work.records.save(adapter.record)
        peer.record = work.records.first(DeviceRecord, id=peer.record.id) or peer.record
        peer.record.told = peer.record.peer_nonce = None
        work.records.save(peer.record)
        for store in work.records.find(StoreRecord, device_id=peer.record.id):
            for binding in work.records.find(BindingRecord, peer_store_id=store.id):
                work.records.delete(binding)


def _wait(adapter: Adapter, session: Session) -> None:
    if session.busy > BUSY_TIMES:
        raise ServerBusy('the server is too busy: try again later')
    pause(adapter, BUSY_PAUSE)


def _begin(
    adapter: Adapter, peer: Peer, work: UnitOfWork, session_id: str | None = None
) -> Session:
    record = peer.record
    record.sessions += 1
    work.records.save(record)
    session = Session(
        Role.CLIENT,
        session_id or str(record.sessions),
        local=Location(adapter.devID, adapter.name),
        remote=Location(peer.url or ''),
        max_msg_size=adapter.maxMsgSize,
        max_obj_size=adapter.maxObjSize,
    )
    session.number = record.sessions
    session.peer_max_msg_size = record.max_msg_size
    return session


def _client_parties(
    adapter: Adapter,
    peer: Peer,
    session: Session,
    work: UnitOfWork,
    mode: SyncType | Mapping[str, SyncType],
) -> Parties:
    device = adapter.devinfo
    assert device is not None
    record = work.records.first(DeviceRecord, id=peer.record.id)
    if record is not None:
        peer.record = record
    return Parties(
        session,
        work,
        adapter.stores,
        peer.record,
        device,
        policy=Policy.SERVER_WINS,
        mode=mode,
        may_delete=adapter.mayDelete,
        consent=adapter.allowDeletions,
        routes=adapter.routes,
        max_obj_size=adapter.maxObjSize,
        suspend=adapter.stopping,
        objects=adapter.objects,
        limits=adapter.limits,
        may_be_copied=adapter.onCopied is not None,
    )


def _exchange(
    adapter: Adapter,
    peer: Peer,
    session: Session,
    transport: Transport,
    message: Message,
    headers_of: Callable[[bytes], dict[str, str]],
) -> Message:
    content_type, body = encode(message, session.encoding)
    headers = {'content-type': content_type, **headers_of(body)}
    request = Request(url=_address(peer, session), headers=headers, body=body)
    delays = iter(RETRIES if session.msg_id > 1 else RETRIES[:1])
    while True:
        try:
            return _read(transport.exchange(request))
        except (TransportError, RemoteProtocolError) as error:
            if _is_too_large(error, body, adapter):
                adapter.limits = replace(adapter.limits, part=MESSAGE_SIZE)
                raise BeginAgain from error
            delay = next(delays, None)
            if delay is None or session.suspended or not _repeatable(error, session):
                raise
            delay = max(delay, getattr(error, 'wait', 0.0))
            log.info('%s; trying again in %g seconds', error, delay)
            if not pause(adapter, delay):
                raise


def _is_too_large(error: Exception, body: bytes, adapter: Adapter) -> bool:
    """Whether something on the way to the server takes no messages as large as those with parts."""
    refused = isinstance(error, HTTPStatus) and error.code == _TOO_LARGE
    return refused and len(body) > MESSAGE_SIZE < adapter.limits.part


def _repeatable(error: TransportError | RemoteProtocolError, session: Session) -> bool:
    """Whether to send the same message again: if it had arrived, so comes its answer.

    A session that has not begun is better begun anew by who wants it, unless an answer was
    under way already.
    """
    if session.msg_id == 1:
        return isinstance(error, TransportError) and error.cut
    if isinstance(error, HTTPStatus):
        return error.code in _LATER and error.wait <= _LONGEST_WAIT
    return error.passing or isinstance(error, _Ragged)


class _Ragged(RemoteProtocolError):
    """An answer that cannot be read, perhaps because its end is missing."""


def _read(response: Response) -> Message:
    try:
        return decode(response.content_type, response.body)
    except CodecError as error:
        # where nothing says how long the answer is, the end of the connection is that of it
        said = {'content-length', 'transfer-encoding'} & response.headers.keys()
        kind = RemoteProtocolError if said or not response.headers else _Ragged
        raise kind(f'the answer is no SyncML message: {error}') from error


def _address(peer: Peer, session: Session) -> str:
    """Return where the next message goes: where the server wants it, if that is as safe.

    A server behind something that speaks TLS for it may not know that, and name itself by http:
    we stay with https then.

    Raises:
        RemoteProtocolError: what it wants is no address, or somebody else's that is not encrypted:
            a server may not have us speak to what only we can reach.
    """
    url, told = peer.url or '', session.resp_uri
    if told is None or told == url:
        return url
    try:
        before, after = urlsplit(url), urlsplit(told)
        here = before.hostname == after.hostname
    except ValueError:
        before = after = urlsplit('')
        here = False
    if here and (before.scheme, after.scheme) == ('https', 'http'):
        return after._replace(scheme='https', netloc=before.netloc).geturl()
    if after.scheme not in ('http', 'https') or not (
        here or before.scheme == after.scheme == 'https'
    ):
        raise RemoteProtocolError(f'the server wants to be spoken to at "{told:.100}": refused')
    return told


def open_session(adapter: Adapter, peer: Peer) -> Session:
    """Return a new session with *peer*, of which nothing has been said yet."""
    with adapter.context.work() as work:
        return _begin(adapter, peer, work)


def poster(adapter: Adapter, peer: Peer, session: Session, transport: Transport) -> Post:
    """Return what sends a message of *session* and returns the answer."""
    return partial(_exchange, adapter, peer, session, transport)


def _report_progress(adapter: Adapter, parties: Parties) -> None:
    done = sum(progress.received for progress in parties.session.datastores.values())
    sent = sum(stats.peer for stats in stats_of(parties.session).values())
    assert adapter.onProgress is not None
    adapter.onProgress(sent, done)


def stats_of(session: Session) -> dict[str, Stats]:
    """Return what was done in *session*, by URI of our datastores."""
    return {uri: Stats.restore(progress.stats) for uri, progress in session.datastores.items()}
