"""A whole session, as its client leads it.

Both sides do the same with each message: begin a unit of work, let :func:`~pysyncml.sync.turn`
take it in and say what is to be said, commit, and only then let bytes leave. A client does it in
a loop; a server once for each POST (:mod:`pysyncml.service`).
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from pysyncml.alerted import answers
from pysyncml.codec import decode, encode
from pysyncml.constants import Policy, Role, SyncType
from pysyncml.errors import (
    CodecError,
    DeviceCopied,
    HTTPStatus,
    RefusedError,
    RemoteProtocolError,
    TransportError,
)
from pysyncml.negotiation import BeginAgain, Negotiation
from pysyncml.protocol.messages import Location, Message
from pysyncml.protocol.notification import Notification
from pysyncml.protocol.session import Session
from pysyncml.state.records import BindingRecord, DeviceRecord, StoreRecord
from pysyncml.state.work import UnitOfWork
from pysyncml.stats import Stats
from pysyncml.sync import Parties, turn
from pysyncml.transport import Request, Transport
from pysyncml.transport.explain import place

if TYPE_CHECKING:
    from pysyncml.adapter import Adapter
    from pysyncml.peer import Peer

log = logging.getLogger(__name__)

#: Bytes we fill a message with when the peer sets no limit: large enough to make the cost of a
#: message small beside that of its items, small enough to be held in memory a few times.
MESSAGE_SIZE = 512 * 1024

#: Seconds between attempts to send a message again whose answer was lost.
RETRIES = (0.5, 2.0, 5.0)

#: Seconds to wait before a server that is busy is asked again, and how often it is asked.
BUSY_PAUSE, BUSY_TIMES = 3.0, 20


def limit_for(session: Session, inbound: Message | None) -> int:
    """Return how many bytes our next message may have."""
    said = inbound.header.max_msg_size if inbound is not None else None
    usual = sys.maxsize if session.quirks.single_message else MESSAGE_SIZE
    return said or session.peer_max_msg_size or usual


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
            try:
                return _converse(adapter, peer, mode, transport, notification, negotiation)
            except BeginAgain:
                log.info('beginning again, with SyncML %s', negotiation.version)
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
    with adapter.context.work() as work:
        session = _begin(adapter, peer, work, notification.session_id if notification else None)
    negotiation.begin(session)
    session.unsaid = answers(notification) if notification else []
    post = partial(_exchange, peer, session, transport)
    inbound: Message | None = None
    while True:
        with adapter.context.work() as work:
            parties = _client_parties(adapter, peer, session, work, mode)
            message = turn(inbound, parties, limit_for(session, inbound))
        if adapter.onProgress is not None:
            _report_progress(adapter, parties)
        adapter.suspended = session.suspended
        if message is None:
            return stats_of(session)
        if session.busy:
            _wait(session)
        try:
            inbound = negotiation.exchange(session, message, post)
        except (TransportError, RemoteProtocolError) as error:
            if not session.suspended:
                raise
            # we are leaving; some servers have nothing to say to that (SyncEvolution does not)
            log.info('the server has not answered that the session is put off: %s', error)
            adapter.suspended = True
            return stats_of(session)


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


def _wait(session: Session) -> None:
    if session.busy > BUSY_TIMES:
        raise RefusedError('the server is too busy: try again later')
    time.sleep(BUSY_PAUSE)


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
        may_be_copied=adapter.onCopied is not None,
    )


def _exchange(
    peer: Peer,
    session: Session,
    transport: Transport,
    message: Message,
    headers_of: Callable[[bytes], dict[str, str]],
) -> Message:
    content_type, body = encode(message, session.encoding)
    headers = {'content-type': content_type, **headers_of(body)}
    request = Request(url=session.resp_uri or peer.url or '', headers=headers, body=body)
    for delay in (*RETRIES, None):
        try:
            response = transport.exchange(request)
            break
        except HTTPStatus:
            raise
        except TransportError as error:
            # the same message again is harmless: if it had arrived, so comes its answer
            if session.msg_id == 1 or delay is None or session.suspended:
                raise
            log.info('%s; trying again', error)
            time.sleep(delay)
    try:
        return decode(response.content_type, response.body)
    except CodecError as error:
        raise RemoteProtocolError(f'the answer is no SyncML message: {error}') from error


def _report_progress(adapter: Adapter, parties: Parties) -> None:
    done = sum(progress.received for progress in parties.session.datastores.values())
    sent = sum(stats.peer for stats in stats_of(parties.session).values())
    assert adapter.onProgress is not None
    adapter.onProgress(sent, done)


def stats_of(session: Session) -> dict[str, Stats]:
    """Return what was done in *session*, by URI of our datastores."""
    return {uri: Stats.restore(progress.stats) for uri, progress in session.datastores.items()}
