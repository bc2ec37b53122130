"""A server's answer to one message.

Between two messages the session lives in the database, so that a server may be restarted at any
time; and the answer is kept with it, so that a message that comes again gets the same answer
again, and nothing is done twice.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pysyncml.codec import decode, encode
from pysyncml.constants import Role, StatusCode
from pysyncml.errors import (
    AuthError,
    InvalidCredentials,
    MissingCredentials,
    RemoteProtocolError,
    SyncmlError,
)
from pysyncml.protocol import auth
from pysyncml.protocol.messages import (
    Alert,
    Get,
    Header,
    Item,
    Location,
    Message,
    Meta,
    Put,
    Status,
)
from pysyncml.protocol.session import Said, Sent, Session
from pysyncml.state.records import DeviceRecord, SessionRecord
from pysyncml.state.work import UnitOfWork
from pysyncml.stats import Stats
from pysyncml.sync import Parties, turn

if TYPE_CHECKING:
    from pysyncml.adapter import Adapter

from pysyncml.conversation import limit_for, stats_of

log = logging.getLogger(__name__)

#: Seconds after which a conversation that was left alone is forgotten.
SESSION_AGE = 3600.0

#: What stands before the secret part of the address that a session is given.
_TOKEN = 'session='

_VERSIONS = ('1.2',)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answers: a message, or a line of text with an HTTP error."""

    body: bytes
    content_type: str = 'text/plain; charset=utf-8'
    status: int = 200
    stats: dict[str, Stats] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)


def answer(adapter: Adapter, content_type: str, body: bytes, url: str | None = None) -> Answer:
    """Answer one message of a client. Nothing passes: every failure has its answer.

    Args:
        adapter: the local device.
        content_type: of the message.
        body: the message.
        url: the address it was sent to, if that is known: a client that has logged in is given
            one of its own (RespURI), and needs no credentials there. Without, it must send them
            with every message.
    """
    try:
        message = decode(content_type, body)
    except SyncmlError as error:
        return Answer(f'{error}\n'.encode(), status=415 if error.status == 415 else 400)
    try:
        ended: list[Any] = []
        with adapter.context.work() as work:
            reply = _Server(adapter, work, message, body, url, ended).answer()
        for peer, stats, how in ended:
            adapter.tellEnd(peer, stats, how)
        return reply
    except AuthError as error:
        return _encoded(_refusal(message, int(error.status), challenge=True))
    except SyncmlError as error:
        log.warning('a message of %s was refused: %s', message.header.source.uri, error)
        return _encoded(_refusal(message, int(error.status), str(error)))
    except Exception:
        log.exception('a message of %s could not be answered', message.header.source.uri)
        text = 'the server has failed; its log says more'
        return _encoded(_refusal(message, StatusCode.COMMAND_FAILED, text))


class _Server:
    """The answer to one message, inside its unit of work."""

    def __init__(
        self,
        adapter: Adapter,
        work: UnitOfWork,
        message: Message,
        body: bytes,
        url: str | None,
        ended: list[Any],
    ) -> None:
        self.adapter = adapter
        self.work = work
        self.message = message
        self.header = message.header
        self.digest = hashlib.sha256(body).hexdigest()
        self.url = url
        self.token = ''
        self.ended = ended

    def answer(self) -> Answer:
        header = self.header
        if header.version not in _VERSIONS:
            raise RemoteProtocolError(
                ', '.join(f'SyncML/{version}' for version in _VERSIONS),
                StatusCode.PROTOCOL_VERSION_NOT_SUPPORTED,
            )
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
        user = self._authenticate(row if mine and header.msg_id != '1' else None)
        if peer is None:
            peer = self._new_peer()
        session, row = self._session(peer, row)
        session.authenticated = True
        return self._reply(peer, session, row, user)

    # --- who is there -------------------------------------------------------------------------

    def _authenticate(self, row: SessionRecord | None) -> str | None:
        """Return the user's name, ``None`` where everybody may come in.

        Raises:
            AuthError: the credentials are missing or wrong; never said which part of them.
        """
        accounts = self.work.accounts()
        if not accounts:
            return None
        self.token = secrets.token_urlsafe(24)
        if row is not None and row.state.get('token'):
            self.token = row.state['token']
        if self.header.cred is None:
            user = row.state.get('user') if row is not None else None
            if user in accounts and self._is_own_url():
                return str(user)
            raise MissingCredentials('no credentials')
        found = auth.read_basic(self.header.cred)
        name, password = found if found is not None else ('', '')
        # an unknown user costs as much time as a wrong password
        known = accounts.get(name, '')
        hashed = known or next(iter(accounts.values()))
        if auth.check_password(password, hashed) and known:
            return name
        raise InvalidCredentials('wrong credentials')

    def _is_own_url(self) -> bool:
        """Whether the message came to the address that only this session was told."""
        found = (self.url or '').rpartition(_TOKEN)[2]
        return hmac.compare_digest(found.encode(), self.token.encode())

    def _new_peer(self) -> DeviceRecord:
        return self.work.records.save(
            DeviceRecord(
                owner=self.adapter.context.owner,
                role=Role.CLIENT.value,
                dev_id=self.header.source.uri,
                created=self.work.now,
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
            if not _follows(header.msg_id, session.peer_msg_id) or session.done:
                raise RemoteProtocolError(f'message {header.msg_id} does not follow')
            return session, row
        begins = any(isinstance(c, Alert | Put | Get) for c in self.message.commands)
        if header.msg_id != '1' and not begins:
            raise RemoteProtocolError(
                'this session is not known any more: synchronise again',
                StatusCode.SYNCHRONIZATION_FAILED,
            )
        return self._open(peer, row)

    def _open(self, peer: DeviceRecord, row: SessionRecord | None) -> tuple[Session, SessionRecord]:
        header = self.header
        if row is not None:
            self._abandon(peer, row)
        self.adapter.dropSessions(self.work.now - SESSION_AGE)
        peer.sessions += 1
        peer.name = header.source.name or peer.name
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
        if self.token:
            session.trusted = self.url is not None
            target = header.target.uri
            session.resp_uri = f'{target}{"&" if "?" in target else "?"}{_TOKEN}{self.token}'
        if self.adapter.onSession is not None:
            self.adapter.onSession()
        assert peer.id is not None
        return session, SessionRecord(device_id=peer.id, session_id=header.session_id)

    def _abandon(self, peer: DeviceRecord, row: SessionRecord) -> None:
        old = Session.restore(row.state['session'])
        if not old.done:
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
        )
        message = turn(self.message, parties, limit_for(session, self.message))
        if message is None:
            raise RemoteProtocolError('there is nothing left to say in this session')
        content_type, body = encode(message, session.encoding)
        row.state = {
            'session': session.snapshot(),
            'unsaid': _written(session),
            'user': user,
            'token': self.token,
        }
        row.request, row.answer, row.content_type = self.digest, body, content_type
        row.updated = self.work.now
        self.work.records.save(row)
        stats = stats_of(session)
        if session.done:
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
    if msg_id.isdigit() and last.isdigit():
        return int(msg_id) > int(last)
    return not hmac.compare_digest(msg_id, last)


def _encoded(message: Message) -> Answer:
    content_type, body = encode(message, 'xml')
    return Answer(body, content_type)


def _refusal(message: Message, code: int, text: str = '', *, challenge: bool = False) -> Message:
    """Return the answer that refuses all of *message*, with nothing done.

    Every command gets the Status too (OMA-DS-Protocol 1.2, §5.4).
    """
    header = message.header
    chal = auth.basic_challenge() if challenge else None
    refs: list[tuple[str, str]] = [('0', 'SyncHdr')]
    if challenge:
        refs += [
            (command.cmd_id, command.name)
            for command in message.walk()
            if not isinstance(command, Status) and not command.no_resp
        ]
    note = (Item(data=text.encode()),) if text else ()
    statuses = tuple(
        Status(
            cmd_id=str(number),
            msg_ref=header.msg_id,
            cmd_ref=ref,
            cmd=name,
            target_refs=(header.target.uri,) if ref == '0' else (),
            source_refs=(header.source.uri,) if ref == '0' else (),
            chal=chal,
            code=code,
            items=note if ref == '0' else (),
        )
        for number, (ref, name) in enumerate(refs, 1)
    )
    reply = Header(
        version=header.version if header.version in _VERSIONS else _VERSIONS[0],
        dtd_version=header.version if header.version in _VERSIONS else _VERSIONS[0],
        session_id=header.session_id,
        msg_id=header.msg_id,
        target=Location(header.source.uri),
        source=Location(header.target.uri),
        meta=Meta(max_msg_size=None),
    )
    return Message(header=reply, commands=statuses, final=True)
