"""A server's answer to one message.

Between two messages the session lives in the database, so that a server may be restarted at any
time; and the answer is kept with it, so that a message that comes again gets the same answer
again, and nothing is done twice.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pysyncml.codec import decode, encode, recognise
from pysyncml.constants import AlertCode, Role, StatusCode, SyncType
from pysyncml.errors import (
    AuthError,
    RemoteProtocolError,
    SyncmlError,
    UnknownAuthType,
)
from pysyncml.protocol.messages import Alert, Get, Location, Message, Put
from pysyncml.protocol.quirks import introduction
from pysyncml.protocol.session import Said, Sent, Session
from pysyncml.protocol.stages import Stage
from pysyncml.state.records import DeviceRecord, SessionRecord
from pysyncml.state.work import UnitOfWork
from pysyncml.stats import Stats
from pysyncml.sync import Parties, turn

if TYPE_CHECKING:
    from pysyncml.adapter import Adapter

from pysyncml.busy import Post, asks_again, later
from pysyncml.conversation import limit_for, stats_of
from pysyncml.login import TOKEN, Doorkeeper, check_version, prove, refusal

log = logging.getLogger(__name__)

#: Seconds after which a conversation that was left alone is forgotten.
SESSION_AGE = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answers: a message, or a line of text with an HTTP error."""

    body: bytes
    content_type: str = 'text/plain; charset=utf-8'
    status: int = 200
    stats: dict[str, Stats] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)


def answer(
    adapter: Adapter,
    content_type: str,
    body: bytes,
    url: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Answer one message of a client. Nothing passes: every failure has its answer.

    It is written as the message was, and in its version.

    Args:
        adapter: the local device.
        content_type: of the message.
        body: the message.
        url: the address it was sent to, if that is known: a client that has logged in is given
            one of its own (RespURI), and needs no credentials there. Without, it must send them
            with every message.
        headers: those of HTTP; ``x-syncml-hmac`` and ``x-syncml-client`` matter.
    """
    try:
        encoding = recognise(content_type, body).name
        asked = Post(decode(content_type, body), body, url, headers or {})
    except SyncmlError as error:
        return Answer(f'{error}\n'.encode(), status=415 if error.status == 415 else 400)
    post = adapter.waiting.take(asked.message) or asked
    if adapter.isBusy is not None and adapter.isBusy():
        content_type, body = encode(later(post.message, kept=adapter.waiting.put(post)), encoding)
        return Answer(body, content_type)
    return _answer(adapter, post, asked, encoding)


def _answer(adapter: Adapter, post: Post, asked: Post, encoding: str) -> Answer:
    """Answer *post* to who has *asked* for that: with itself, or later with another message."""
    message = post.message
    door = Doorkeeper(adapter.auth, asked.message, asked.body, asked.url, asked.headers)
    digest = _digest(asked, door.mac)
    sender = message.header.source.uri
    try:
        ended: list[Any] = []
        with adapter.context.work() as work:
            server = _Server(adapter, work, message, encoding, digest, door, ended)
            reply = server.answer(post.headers)
        for peer, stats, how in ended:
            adapter.tellEnd(peer, stats, how)
        return reply
    except AuthError as error:
        if post is not asked:
            adapter.waiting.put(post)  # whom it belongs to will still ask for it
            message = asked.message
        text = str(error) if isinstance(error, UnknownAuthType) else ''
        refused = refusal(message, int(error.status), text, chal=door.challenge, every=True)
    except SyncmlError as error:
        log.warning('a message of %s was refused: %s', sender, error)
        refused = refusal(message, int(error.status), str(error))
    except Exception:
        log.exception('a message of %s could not be answered', sender)
        text = 'the server has failed; its log says more'
        refused = refusal(message, StatusCode.COMMAND_FAILED, text)
    door.spend(adapter.context)
    content_type, body = encode(refused, encoding)
    return Answer(body, content_type)


def _digest(post: Post, mac: str | None) -> str:
    """Return what tells whether *post* has come again: all of it, and what lets it in.

    The bytes alone could be guessed by a stranger, who would get the answer again.
    """
    return hashlib.sha256(repr((post.url, mac, post.body)).encode()).hexdigest()


class _Server:
    """The answer to one message, inside its unit of work."""

    def __init__(
        self,
        adapter: Adapter,
        work: UnitOfWork,
        message: Message,
        encoding: str,
        digest: str,
        door: Doorkeeper,
        ended: list[Any],
    ) -> None:
        self.adapter = adapter
        self.work = work
        self.message = message
        self.header = message.header
        self.encoding = encoding
        self.digest = digest
        self.door = door
        self.ended = ended

    def answer(self, headers: Mapping[str, str]) -> Answer:
        header = self.header
        check_version(header)
        self.adapter.limits.check_message(self.message)
        peer = self.work.records.first(
            DeviceRecord,
            owner=self.adapter.context.owner,
            role=Role.CLIENT.value,
            dev_id=header.source.uri,
        )
        row = None
        if peer is not None:
            row = self.work.records.first(SessionRecord, device_id=peer.id)
        mine = row is not None and row.session_id == header.session_id
        if row is not None and mine and row.request == self.digest and row.answer is not None:
            return Answer(row.answer, row.content_type or '')
        goes_on = mine and header.msg_id != '1'
        user = self.door.admit(self.work, peer, row if goes_on else None)
        if peer is None:
            peer = self._new_peer(headers)
        session, row = self._session(peer, row)
        session.authenticated = True
        session.encoding = self.encoding
        self.door.note(self.work, peer, session)
        return self._reply(peer, session, row, user)

    def _new_peer(self, headers: Mapping[str, str]) -> DeviceRecord:
        device = introduction(headers)
        return self.work.records.save(
            DeviceRecord(
                owner=self.adapter.context.owner,
                role=Role.CLIENT.value,
                dev_id=self.header.source.uri,
                created=self.work.now,
                devinf=device.values() if device is not None else None,
            )
        )

    # --- which conversation -------------------------------------------------------------------

    def _session(
        self, peer: DeviceRecord, row: SessionRecord | None
    ) -> tuple[Session, SessionRecord]:
        header = self.header
        if row is not None and row.session_id == header.session_id and header.msg_id != '1':
            session = Session.restore(row.state['session'])
            session.unsaid = _read(row.state.get('unsaid'))
            follows = _follows(header.msg_id, session.peer_msg_id) and not session.done
            if self.door.proof and self._asks() and not (follows and session.theirs is Stage.SETUP):
                return self._open(peer, row)  # another session of this id, after a challenge
            if not follows:
                raise RemoteProtocolError(f'message {header.msg_id} does not follow')
            self.adapter.limits.check_length(session.msg_id)
            self.adapter.limits.check_waiting(len(session.unsaid), self.message)
            if asks_again(self.message) and _leaves_out(header.msg_id, session.peer_msg_id):
                raise RemoteProtocolError(_FORGOTTEN, StatusCode.SYNCHRONIZATION_FAILED)
            return session, row
        begins = any(isinstance(c, Put | Get) for c in self.message.commands)
        if header.msg_id != '1' and not begins and not self._asks():
            raise RemoteProtocolError(
                'this session is not known any more: synchronise again',
                StatusCode.SYNCHRONIZATION_FAILED,
            )
        return self._open(peer, row)

    def _asks(self) -> bool:
        """Whether the message asks for a synchronisation."""
        codes = [c.code for c in self.message.commands if isinstance(c, Alert)]
        return any(SyncType.of_alert(code) or code == AlertCode.RESUME for code in codes)

    def _open(self, peer: DeviceRecord, row: SessionRecord | None) -> tuple[Session, SessionRecord]:
        header = self.header
        if row is not None:
            self._abandon(peer, row)
        self.adapter.dropSessions(self.work.now - SESSION_AGE)
        peer.sessions += 1
        self.work.records.save(peer)
        session = Session(
            Role.SERVER,
            header.session_id,
            local=Location(header.target.uri),
            remote=Location(header.source.uri),
            version=header.version,
            max_msg_size=self.adapter.maxMsgSize,
            max_obj_size=self.adapter.maxObjSize,
        )
        session.number = peer.sessions
        token = self.door.token
        if token:
            session.trusted = self.door.url is not None
            target = header.target.uri
            session.resp_uri = f'{target}{"&" if "?" in target else "?"}{TOKEN}{token}'
        if self.adapter.onSession is not None:
            self.adapter.onSession()
        assert peer.id is not None
        return session, SessionRecord(device_id=peer.id, session_id=header.session_id)

    def _abandon(self, peer: DeviceRecord, row: SessionRecord) -> None:
        old = Session.restore(row.state['session'])
        if not old.done and not old.concluded:
            self.ended.append((peer, stats_of(old), 'broken off'))
        self.work.records.delete(row)

    # --- what to say --------------------------------------------------------------------------

    def _reply(
        self, peer: DeviceRecord, session: Session, row: SessionRecord, user: str | None
    ) -> Answer:
        device = self.adapter.devinfo
        assert device is not None
        parties = Parties(
            session,
            self.work,
            self.adapter.stores,
            peer,
            device,
            policy=self.adapter.conflictPolicy,
            may_delete=self.adapter.mayDelete,
            max_obj_size=self.adapter.maxObjSize,
            objects=self.adapter.objects,
            limits=self.adapter.limits,
        )
        over = session.concluded
        message: Message | None
        if row.answer is not None and prove(self.adapter.login, self.message, session):
            session.peer_msg_id = self.header.msg_id
            message = session.repeat(decode(row.content_type, row.answer), self.message)
        else:
            message = turn(
                self.message, parties, limit_for(session, self.message, self.adapter.limits)
            )
        if message is None:
            raise RemoteProtocolError('there is nothing left to say in this session')
        content_type, body = encode(message, session.encoding)
        row.state = {
            'session': session.snapshot(),
            'unsaid': _written(session),
            'user': user,
            'token': self.door.token,
        }
        row.request, row.answer, row.content_type = self.digest, body, content_type
        row.updated = self.work.now
        self.work.records.save(row)
        stats = stats_of(session)
        if not over and (session.done or session.concluded):
            how = 'suspended' if session.suspended else 'done'
            if session.aborted:
                how = f'ended by the client ({session.aborted})'
            self.ended.append((peer, stats, how))
        summary = {
            'id': session.session_id,
            'msgID': session.msg_id,
            'peerID': peer.dev_id,
            'dsstates': session.snapshot()['datastores'],
            'stats': {uri: value.values() for uri, value in stats.items()},
        }
        return Answer(body, content_type, 200, stats, summary)


def _written(session: Session) -> str | None:
    """Return the answers that had no room yet as text that can be kept."""
    if not session.unsaid:
        return None
    commands = tuple(said.command for said in session.unsaid)
    message = replace(session.envelope(), commands=commands)
    return encode(message)[1].decode()


def _read(text: str | None) -> list[Said]:
    if text is None:
        return []
    commands = decode(None, text.encode()).commands
    answered = {'Status': None, 'Alert': Sent('NoEnd'), 'Results': Sent('Results')}
    return [Said(command, answered.get(command.name)) for command in commands]


def _follows(msg_id: str, last: str) -> bool:
    if _is_number(msg_id) and _is_number(last):
        return int(msg_id) > int(last)
    return msg_id != last


_FORGOTTEN = 'a message that was put off is not known any more: synchronise again'


def _leaves_out(msg_id: str, last: str) -> bool:
    """Whether a message came between these two that we know nothing of."""
    return _is_number(msg_id) and _is_number(last) and int(msg_id) > int(last) + 1


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 100
