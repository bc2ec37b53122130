"""A server's answer to one message.

Between two messages the session lives in the database, so that a server may be restarted at any
time; and the answer is kept with it, so that a message that comes again gets the same answer
again, and nothing is done twice.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from pysyncml.codec import decode, encode, recognise
from pysyncml.constants import AlertCode, Role, StatusCode, SyncType
from pysyncml.errors import (
    AuthError,
    InvalidCredentials,
    LoginDelayed,
    MissingCredentials,
    RemoteProtocolError,
    StateBusy,
    StateDamaged,
    SyncmlError,
    UnknownAuthType,
    refusal_of_system,
)
from pysyncml.immutable import immutable
from pysyncml.protocol.messages import Alert, Get, Location, Message, Put
from pysyncml.protocol.quirks import introduction
from pysyncml.protocol.session import Said, Sent, Session
from pysyncml.protocol.stages import Stage
from pysyncml.state.records import BindingRecord, DeviceRecord, SessionRecord, StoreRecord
from pysyncml.state.work import UnitOfWork
from pysyncml.stats import Stats
from pysyncml.sync import Parties, turn
from pysyncml.transport.explain import printable

if TYPE_CHECKING:
    from pysyncml.adapter import Adapter

from pysyncml.busy import Post, asks_again, later
from pysyncml.conversation import limit_for, stats_of
from pysyncml.login import TOKEN, Doorkeeper, check_version, prove, refusal, token_in

log = logging.getLogger(__name__)

#: Seconds after which who was told to come back later may do so.
_RETRY = 30

#: Seconds in which a tenth of the devices that are kept may be new ones.
_NEW_DEVICES_SECONDS = 3600.0
_FORGET_NOBODY = 'pysyncml.forget.nobody'  # the option: since when, and until when

#: Seconds after which a conversation that was left alone is forgotten.
SESSION_AGE = 3600.0

# of messages that are as large as that (bytes), what is looked at to recognise them
_LARGE, _END, _SAMPLED = 1 << 20, 1 << 16, 251

_FORMER = 4  # sessions of a device that were put an end to, to be told so if they go on

#: Seconds a message waits in line before its client is told to come back later: less than the
#: time after which clients stop listening.
PATIENCE = 60.0


@immutable()
class Answer:
    """What a server answers: a message, or a line of text with an HTTP error."""

    body: bytes
    content_type: str = 'text/plain; charset=utf-8'
    status: int = 200
    stats: dict[str, Stats] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    retry_after: int = 0  # seconds, 0 if it makes no difference


def answer(
    adapter: Adapter,
    content_type: str,
    body: bytes,
    url: str | None = None,
    headers: Mapping[str, str] | None = None,
    address: str | None = None,
    waited: float = 0.0,
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
        address: the network address it came from, if that is known: who fails to log in has to
            wait, and only there.
        waited: seconds the message has been waiting already. If others keep it waiting for too
            long, the client is told to come back (417), and nothing is done.
    """
    try:
        encoding = recognise(content_type, body).name
        asked = Post(decode(content_type, body), body, url, headers or {})
    except SyncmlError as error:
        return Answer(f'{error}\n'.encode(), status=415 if error.status == 415 else 400)
    return _answer(adapter, asked, encoding, address, max(0.0, PATIENCE - waited))


def _answer(
    adapter: Adapter, asked: Post, encoding: str, address: str | None, patience: float
) -> Answer:
    """Answer *asked*: itself, or the message that was put off and whose answer it asks for."""
    post = adapter.waiting.find(asked.message) or asked
    message = post.message
    door = Doorkeeper(
        adapter.auth, asked.message, asked.body, asked.url, asked.headers, adapter.gate, address
    )
    sender, seconds = printable(message.header.source.uri), 0
    try:
        check_version(message.header)
        adapter.limits.check_message(message)
        door.look(adapter.context, adapter.stores)
        if adapter.isBusy is not None and adapter.isBusy():
            return _put_off(adapter, post, door, encoding)
        ended: list[Any] = []
        with adapter.context.work(patience=patience) as work:
            server = _Server(adapter, work, post, encoding, _digest(asked, door.mac), door, ended)
            reply = server.answer(post.headers)
        adapter.waiting.drop(post)
        for peer, stats, how in ended:
            adapter.tellEnd(peer, stats, how)
        return reply
    except LoginDelayed as error:
        log.warning('a login from %s was put off: %s', address or sender, error)
        seconds = error.seconds
        refused = refusal(asked.message, int(error.status), str(error))
    except StateBusy:
        log.info('a message of %s has waited for too long: it is to come again', sender)
        # without a word: what comes with one is a refusal that waiting does not change
        refused = refusal(asked.message, StatusCode.RETRY_LATER)
    except AuthError as error:
        text = str(error) if isinstance(error, UnknownAuthType) else ''
        code = int(error.status)
        refused = refusal(asked.message, code, text, chal=door.challenge, every=True)
    except StateDamaged as error:
        if adapter.onFailure is None or not adapter.onFailure(error):
            log.error('a message of %s could not be answered: %s', sender, error)
        return _out_of_order(message, encoding)
    except SyncmlError as error:
        log.warning('a message of %s was refused: %s', sender, error)
        refused = refusal(message, int(error.status), str(error))
        seconds = _RETRY if error.status == StatusCode.RETRY_LATER else 0
    except Exception as error:
        if adapter.onFailure is not None and adapter.onFailure(error):
            return _out_of_order(message, encoding)
        reason = refusal_of_system(error)
        if reason is None:
            log.exception('a message of %s could not be answered', sender)
            text = 'the server has failed; its log says more'
        else:
            log.error('a message of %s could not be answered: %s', sender, reason)
            log.debug('it happened here:', exc_info=True)
            text = f'the server cannot go on: {refusal_of_system(error, place=False)}'
        refused = refusal(message, StatusCode.COMMAND_FAILED, text)
    door.spend(adapter.context)
    content_type, body = encode(refused, encoding)
    return Answer(body, content_type, retry_after=seconds)


def _put_off(adapter: Adapter, post: Post, door: Doorkeeper, encoding: str) -> Answer:
    """Keep *post* for later, if who has sent it may come in; nothing is written down of it."""
    with adapter.context.work(readonly=True) as work:
        server = _Server(adapter, work, post, encoding, '', door, [])
        user = server.admit(*server.known())
    kept = adapter.waiting.put(replace(post, user=user))
    content_type, body = encode(later(door.message, kept=kept), encoding)
    return Answer(body, content_type, retry_after=0 if kept else _RETRY)


def _out_of_order(message: Message, encoding: str) -> Answer:
    """Return the answer of a server whose memory fails it; nothing of it is used any more."""
    text = 'the server cannot work just now; its operator can read why'
    content_type, body = encode(refusal(message, StatusCode.DATASTORE_FAILURE, text), encoding)
    return Answer(body, content_type)


def _digest(post: Post, mac: str | None) -> str:
    """Return what tells whether *post* has come again: all of it, and what lets it in.

    The bytes alone could be guessed by a stranger, who would get the answer again. Of a message
    as large as those with a part of an item, its ends and a sample are enough: within a session no
    two messages have one number.
    """
    body = post.body
    digest = hashlib.sha256(repr((post.url, mac, len(body))).encode())
    if len(body) <= _LARGE:
        digest.update(body)
    else:
        for piece in (body[:_END], body[-_END:], body[::_SAMPLED]):
            digest.update(piece)
    return digest.hexdigest()


class _Server:
    """The answer to one message, inside its unit of work."""

    def __init__(
        self,
        adapter: Adapter,
        work: UnitOfWork,
        post: Post,
        encoding: str,
        digest: str,
        door: Doorkeeper,
        ended: list[Any],
    ) -> None:
        self.adapter = adapter
        self.work = work
        self.post = post
        self.message = post.message
        self.header = post.message.header
        self.encoding = encoding
        self.digest = digest
        self.door = door
        self.ended = ended
        self.former: list[str] = []  # the addresses of sessions that this one has put an end to

    def answer(self, headers: Mapping[str, str]) -> Answer:
        peer, row = self.known()
        if row is not None and row.answer is not None and self._comes_again(row):
            return Answer(self._last_answer(row), row.content_type or '')
        mine = self._belongs(row)
        token = token_in(self.door.url)
        if row is not None and not mine and token and token in row.state.get('former', ()):
            return self._superseded(row)
        user = self.admit(peer, row)
        if peer is None:
            peer = self._new_peer(headers)
        session, row = self._session(peer, row, mine)
        session.authenticated = True
        session.encoding = self.encoding
        self.door.note(self.work, peer, session)
        return self._reply(peer, session, row, user)

    def admit(self, peer: DeviceRecord | None, row: SessionRecord | None) -> str | None:
        """Return the user that the message is of, ``None`` where everybody may come in.

        Raises:
            AuthError: nobody's.
            RemoteProtocolError: of one to whom this device does not belong.
        """
        goes_on = self._belongs(row) and self.header.msg_id != '1'
        begun = row if goes_on else None
        user = self.door.admit(self.work, peer, begun)
        if self.door.message is not self.message and self.post.user != user:
            raise InvalidCredentials('the message that was put off is of another user')
        self.door.owns(peer, begun)
        if user is None and begun is not None and self._is_guarded(begun):
            raise MissingCredentials('this session goes on at an address of its own')
        return user

    def _is_guarded(self, row: SessionRecord) -> bool:
        """Whether in *row* a datastore is open that has accounts, and it goes on elsewhere."""
        if self.door.url is None or token_in(self.door.url):
            return False
        stores = self.adapter.stores
        names = [values['store'] for values in row.state['session']['datastores']]
        return any(name in stores and stores[name].accounts for name in names)

    def known(self) -> tuple[DeviceRecord | None, SessionRecord | None]:
        """Return the device that the message is from, and its session."""
        peer = self.work.records.first(
            DeviceRecord,
            owner=self.adapter.context.owner,
            role=Role.CLIENT.value,
            dev_id=self.header.source.uri,
        )
        if peer is None:
            return None, None
        return peer, self.work.records.first(SessionRecord, device_id=peer.id)

    @property
    def _clients(self) -> dict[str, Any]:
        """What all clients of this server have in common."""
        return {'owner': self.adapter.context.owner, 'role': Role.CLIENT.value}

    def _comes_again(self, row: SessionRecord) -> bool:
        return self._belongs(row) and hmac.compare_digest(row.request or '', self.digest)

    def _last_answer(self, row: SessionRecord) -> bytes:
        body = self.work.kept_answer(row)
        if body is None:
            text = 'the last answer is not known any more: synchronise again'
            raise RemoteProtocolError(text, StatusCode.SYNCHRONIZATION_FAILED)
        return body

    def _new_peer(self, headers: Mapping[str, str]) -> DeviceRecord:
        """Return the device, which is met for the first time.

        Raises:
            RemoteProtocolError: there are too many already, or too many new ones.
        """
        most = self.adapter.max_devices
        where = self._clients
        self._forget_devices(room=self.work.records.count_devices(**where) >= most)
        since = self.work.now - _NEW_DEVICES_SECONDS
        text, code = '', StatusCode.OK
        if self.work.records.count_devices(**where) >= most:
            text = f'this server knows {most} devices already, and takes no new ones'
            code = StatusCode.FORBIDDEN
        elif self.work.records.count_devices(since, **where) >= max(most // 10, 1):
            text = 'too many new devices within an hour: try again later'
            code = StatusCode.RETRY_LATER
        if text:
            self.door.proof = None  # of what is refused nothing is remembered
            raise RemoteProtocolError(text, code)
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

    def _belongs(self, row: SessionRecord | None) -> bool:
        """Whether the message is one of the session *row*.

        Its number does not tell that: a copy of a device, with the same id, counts alike. The
        address does, as each session has one of its own; clients that do not go there are taken
        at their word.
        """
        if row is None or row.session_id != self.header.session_id:
            return False
        token = token_in(self.door.url)
        return not token or hmac.compare_digest(
            token.encode(), str(row.state.get('token') or '').encode()
        )

    def _session(
        self, peer: DeviceRecord, row: SessionRecord | None, mine: bool
    ) -> tuple[Session, SessionRecord]:
        header = self.header
        if row is not None and mine and header.msg_id != '1':
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
            self.former = _former(row)
            self._abandon(peer, row)
        self.adapter.dropSessions(self.work.now - SESSION_AGE)
        self._forget_devices(peer)
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

    def _forget_devices(self, peer: DeviceRecord | None = None, *, room: bool = False) -> None:
        """Forget the devices that have not come for long, but for *peer*, which just has.

        One that comes back after all is a new one: everything is compared. Where the clock may have
        jumped that is only done if there has to be *room*.
        """
        after = self.adapter.forget_after
        if after is None or (self._is_clock_doubtful(after) and not room):
            return
        before = self.work.now - after
        spare = peer.id if peer is not None else None
        for dev_id in self.work.records.drop_devices(before, spare=spare, **self._clients):
            log.info('the device %s has not come for long, and is forgotten', printable(dev_id))

    def _is_clock_doubtful(self, after: float) -> bool:
        """Whether nobody has come for so long that it may be the clock that has jumped.

        Then nobody is forgotten for as long again: who is there still will come until then. *after*
        are the seconds after which devices are forgotten.
        """
        work, some_time = self.work, after / 12
        last = work.records.last_sync(**self._clients)
        noted, until = work.options().get(_FORGET_NOBODY) or (None, None)
        if last is not None and last != noted and abs(work.now - last) > some_time:
            until = work.now + some_time
            work.set_option(_FORGET_NOBODY, [last, until])
        return until is not None and work.now < until <= work.now + some_time

    def _superseded(self, row: SessionRecord) -> Answer:
        """Answer a message of a session that another one of the same device has put an end to.

        No device has two sessions of one number: if these two have, one is a copy of the other,
        and it is open which of them has what both are believed to have. Then the newer session
        ends as well, nothing is believed any more, and the next ones compare everything.
        """
        if row.session_id == self.header.session_id:
            log.warning('two devices go by the id %s', self.header.source.uri)
            work, peer_id = self.work, row.device_id
            for store in work.records.find(StoreRecord, device_id=peer_id):
                for binding in work.records.find(BindingRecord, peer_store_id=store.id):
                    assert binding.id is not None
                    work.knowledge(binding.store_id, binding.id).forget_all()
                    binding.peer_anchor, binding.suspended, binding.cursor = None, None, 0
                    work.records.save(binding)
            row.session_id, row.request, row.answer = '', None, None
            row.state = {**row.state, 'token': '', 'former': _former(row)}
            work.records.save(row)
        text = 'another session with this device has begun since: synchronise again'
        refused = refusal(self.message, StatusCode.RETRY_LATER, text)
        content_type, body = encode(refused, self.encoding)
        return Answer(body, content_type)

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
            user_of=self.door.user_of,
            limits=self.adapter.limits,
        )
        over = session.concluded
        message: Message | None
        if row.answer is not None and prove(self.adapter.login, self.message, session):
            session.peer_msg_id = self.header.msg_id
            again = decode(row.content_type, self._last_answer(row))
            message = session.repeat(again, self.message)
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
            'former': self.former or row.state.get('former', []),
        }
        row.request, row.content_type = self.digest, content_type
        self.work.keep_answer(row, body)
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


def _former(row: SessionRecord) -> list[str]:
    """Return what led to the session *row*, and to those before it: the newest few."""
    tokens = [row.state.get('token') or '', *row.state.get('former', ())]
    return [token for token in tokens if token][:_FORMER]


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
