"""How a client comes to terms with a server: version, encoding, login.

Each is tried as it worked the last time, or as seems best; a server that cannot or will not go
along says so in its answer to the first message, and then other terms are tried. What worked is
remembered with the peer. Nothing in here knows what a session is about.
"""

from __future__ import annotations

import base64
import hmac
import logging
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pysyncml import codec
from pysyncml.codec.grammar import VERSIONS
from pysyncml.constants import (
    NAMESPACE_AUTH_BASIC,
    NAMESPACE_AUTH_MAC,
    NAMESPACE_AUTH_MD5,
    StatusCode,
)
from pysyncml.errors import (
    CodecError,
    HTTPStatus,
    InvalidCredentials,
    PasswordExposed,
    RemoteProtocolError,
    UnknownAuthType,
)
from pysyncml.protocol import auth
from pysyncml.protocol.messages import Chal, Cred, Message, Status
from pysyncml.protocol.quirks import quirks_of
from pysyncml.protocol.session import Session
from pysyncml.state.records import DeviceRecord
from pysyncml.sync.settle import explain
from pysyncml.transport.explain import place

if TYPE_CHECKING:
    from pysyncml.adapter import Adapter
    from pysyncml.peer import Peer

log = logging.getLogger(__name__)

#: Sends a message, with the headers of HTTP that go with its bytes, and returns the answer.
Post = Callable[[Message, Callable[[bytes], dict[str, str]]], Message]

_CHALLENGES = {
    StatusCode.INVALID_CREDENTIALS,
    StatusCode.MISSING_CREDENTIALS,
    StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED,
}
_DIGESTS = (NAMESPACE_AUTH_MD5, NAMESPACE_AUTH_MAC)
#: What a server says that does not know a version, and what some say instead.
_NO_VERSION = {StatusCode.PROTOCOL_VERSION_NOT_SUPPORTED, StatusCode.VERSION_NOT_SUPPORTED}
_PERHAPS_NO_VERSION = {StatusCode.BAD_REQUEST, StatusCode.NOT_IMPLEMENTED}
#: What HTTP says if the first message was not understood; 200: something else came back.
_NOT_UNDERSTOOD = {200, 400, 415, 500}
_MAX_CHALLENGES = 3
#: Seconds between attempts to be served by a server that is busy: the first and the longest
#: pause, and for how long to try. Each pause is cut by chance, so that not all come at once.
BUSY_PAUSE, BUSY_LONGEST, BUSY_LIMIT = 1.0, 20.0, 600.0
_LOOK = 0.1  # seconds after which we look whether our user wants to stop
_UNPROVED = 'the server cannot prove who it is'


class BeginAgain(Exception):
    """The session is to be begun anew, on other terms."""


class Negotiation:
    """The terms of one synchronisation, from its first message on."""

    def __init__(self, adapter: Adapter, peer: Peer) -> None:
        self.context = adapter.context
        self.peer = peer
        self._adapter = adapter
        self._waiting: float | None = None  # since when the server has been busy
        self._pause = BUSY_PAUSE
        record = peer.record
        fixed = getattr(peer, 'version', None)
        self.version: str = fixed or record.version or VERSIONS[-1]
        habit = quirks_of(peer.devinfo, peer.devID).encoding
        self._usual = habit or adapter.context.codec
        self.encoding: str = record.encoding or self._usual
        password = getattr(peer, 'password', None)
        self.login = Login(record, password or '', insecure=getattr(peer, 'insecure', False))
        self._server_login = getattr(peer, 'server_login', None)
        self._stores = adapter.stores
        self._asked: set[str] = set()  # the datastores that want credentials of their own
        self._versions = [v for v in VERSIONS if v != self.version] if fixed is None else []
        self._encodings = [name for name in codec.names() if name != self.encoding]
        self._agreed = False
        self._asked_back = 0
        self._repeated = self._restarted = False
        self._problem: Exception | None = None  # the first one, which says the most

    def begin(self, session: Session) -> None:
        """Set out the terms for *session*, before its first message."""
        session.version, session.encoding = self.version, self.encoding
        self.login.arm(session)
        session.creds = self._datastore_creds()
        self._repeated = False

    def exchange(self, session: Session, message: Message, post: Post) -> Message:
        """Send *message* and return the answer; log in again where the server asks for that.

        Raises:
            BeginAgain: the terms have changed: the session is to be begun anew.
            TransportError: the server could not be reached.
            RemoteProtocolError: its answer cannot be read.
            UnknownAuthType: it asks for a login of a kind that is not known.
        """
        session.challenge = None
        self._waiting = None
        while True:
            try:
                inbound = post(message, self.login.headers)
            except (HTTPStatus, RemoteProtocolError) as error:
                self._not_understood(error)
                raise
            status = _of_header(inbound)
            if status is not None:
                if _is_busy(status) and self._wait(session):
                    continue
                if status.code in _CHALLENGES and self.login.take_up(status, session):
                    message = session.repeat(message, inbound)
                    self._repeated = True
                    continue
                if status.code >= 300:
                    self._refused(status)
                    return replace(inbound, commands=(status,))  # nothing else of it counts
                if status.code != StatusCode.IN_PROGRESS:
                    self._accepted(session, status)
            if not self._knows(session, inbound):
                message = self._ask_back(session, inbound)
                continue
            self._look_at_datastores(session, inbound)
            return inbound

    # --- what came back -----------------------------------------------------------------------

    def _wait(self, session: Session) -> bool:
        """Wait for a server that is busy; return ``False`` if that was for too long.

        It has done nothing, so the same message is sent again.
        """
        now = time.monotonic()
        if self._waiting is None:
            self._waiting = now
            self._pause = BUSY_PAUSE
            log.info('the server is busy: waiting for it')
        if now - self._waiting > BUSY_LIMIT:
            return False
        seconds = self._pause * random.uniform(0.5, 1.0)
        self._pause = min(2 * self._pause, BUSY_LONGEST)
        if not pause(self._adapter, seconds):
            session.suspended = True
            raise RemoteProtocolError('the server is busy', StatusCode.RETRY_LATER)
        return True

    def _accepted(self, session: Session, status: Status) -> None:
        self._agreed = True
        session.authenticated |= status.code == StatusCode.AUTHENTICATION_ACCEPTED
        self.login.accepted(session, status)
        record, usual = self.peer.record, self.encoding == self._usual
        terms = {
            'version': self.version,
            # as long as nothing else was said or found out, a habit learnt later counts
            'encoding': None if usual and record.encoding is None else self.encoding,
            'auth': self.login.kind,
            'peer_nonce': self.login.stored_nonce,
        }
        if any(getattr(record, name) != value for name, value in terms.items()):
            self._remember(**terms)

    def _remember(self, **values: str | None) -> None:
        with self.context.work() as work:
            record = work.records.first(DeviceRecord, id=self.peer.record.id) or self.peer.record
            for name, value in values.items():
                setattr(record, name, value)
            self.peer.record = work.records.save(record)

    def _refused(self, status: Status) -> None:
        """Go down to an older version, or begin anew where logging in has confused the server."""
        if self._asked_back:
            raise InvalidCredentials(_UNPROVED)
        if self._agreed or status.code == StatusCode.RETRY_LATER:
            return
        if status.code in _CHALLENGES:
            if status.code == StatusCode.MISSING_CREDENTIALS:
                self._restart_once()
            return
        if status.code in _NO_VERSION | _PERHAPS_NO_VERSION:
            version = self._next_version(status)
            if version is not None:
                self._problem = self._problem or RemoteProtocolError(explain(status), status.code)
                log.info('the server does not speak SyncML %s: trying %s', self.version, version)
                self._versions.remove(version)
                self.version = version
                raise BeginAgain
        self._restart_once()
        if self._problem is not None:
            raise self._problem

    def _next_version(self, status: Status) -> str | None:
        offered = _versions_in(status)
        versions = [v for v in self._versions if not offered or v in offered]
        older = [v for v in versions if v < self.version]
        if status.code in _PERHAPS_NO_VERSION:
            return older[-1] if older else None
        return next(reversed(older or versions), None)

    def _not_understood(self, error: HTTPStatus | RemoteProtocolError) -> None:
        """Try the other encoding after a first message that was not understood."""
        code = error.code if isinstance(error, HTTPStatus) else 0
        strange = code in _NOT_UNDERSTOOD or isinstance(error.__cause__, CodecError)
        if self._agreed or not strange:
            return
        self._problem = self._problem or error
        if self.login.retreat():
            raise BeginAgain from error
        self._restart_once()
        if self._encodings:
            log.info('%s; trying %s', error, self._encodings[0])
            self.encoding = self._encodings.pop(0)
            raise BeginAgain from error
        raise self._problem from error

    def _restart_once(self) -> None:
        """Some servers take credentials in the first message of a session only."""
        if self._repeated and not self._restarted:
            self._restarted = True
            raise BeginAgain

    # --- datastores with accounts of their own ------------------------------------------------

    def _datastore_creds(self) -> dict[str, Cred]:
        """Return what goes with the Alerts: where a login was given, or was asked for."""
        creds = {}
        for uri, store in self._stores.items():
            login = store.login
            if login is None and uri in self._asked and self.login.username:
                self.login.expose()
                login = (self.login.username, self.login.password)
            if login is not None:
                creds[uri] = auth.basic(*login)
        return creds

    def _look_at_datastores(self, session: Session, inbound: Message) -> None:
        """Begin again, with credentials for each datastore that has asked for some."""
        for status in inbound.commands:
            if not isinstance(status, Status) or status.code not in _CHALLENGES or not status.chal:
                continue
            sent = session.awaiting.get(f'{status.msg_ref}/{status.cmd_ref}')
            if sent is None or sent.command not in ('Alert', 'Get') or not sent.store:
                continue
            if sent.store not in session.creds:
                self._asked.add(sent.store)
        if self._datastore_creds().keys() - session.creds.keys():
            raise BeginAgain

    # --- who the server is --------------------------------------------------------------------

    def _knows(self, session: Session, inbound: Message) -> bool:
        """Whether the server has proved who it is, if it has to."""
        if self._server_login is None or session.verified:
            return True
        name, password = self._server_login
        cred, nonce = inbound.header.cred, base64.b64decode(self.peer.record.our_nonce or '')
        if cred is None:
            return False
        if cred.type == NAMESPACE_AUTH_MD5:
            found = auth.read_md5(cred) or b''
            good = auth.read_md5(auth.md5(name, password, nonce, session.version)) or b''
        else:
            found, good = cred.data.strip().encode(), auth.basic(name, password).data.encode()
        session.verified = hmac.compare_digest(found, good)
        if session.verified:
            self._asked_back = 0
            session.challenge = auth.md5_challenge(self._new_nonce())
        return session.verified

    def _ask_back(self, session: Session, inbound: Message) -> Message:
        """Return the demand that the server prove who it is, before anything it says counts."""
        code = StatusCode.INVALID_CREDENTIALS
        if inbound.header.cred is None:
            code = StatusCode.MISSING_CREDENTIALS
        self._asked_back += 1
        if self._asked_back > _MAX_CHALLENGES:
            raise InvalidCredentials(_UNPROVED)
        session.peer_msg_id = inbound.header.msg_id
        session.resp_uri = inbound.header.resp_uri or session.resp_uri
        chal = auth.md5_challenge(self._new_nonce())
        saids = [session.status_of_header(inbound, code, chal=chal)]
        for command in inbound.walk():
            if not isinstance(command, Status):
                saids += session.status_of(command, code)
        return replace(session.send(saids, final=False), final=True)

    def _new_nonce(self) -> bytes:
        """Return what the server has to use the next time; it is kept until then."""
        nonce = auth.new_nonce()
        self._remember(our_nonce=base64.b64encode(nonce).decode('ascii'))
        return nonce


class Login:
    """What a client proves its name with.

    Args:
        record: what is known of the server.
        password: goes with the name in *record*.
        insecure: whether it may be sent where others can listen.
    """

    def __init__(self, record: DeviceRecord, password: str, *, insecure: bool = False) -> None:
        self.insecure = insecure
        self.username = record.username or ''
        self.password = password
        self.url = record.url or ''
        self.kind: str | None = record.auth
        self.nonce = base64.b64decode(record.peer_nonce or '')
        self._guessed = self._fresh = False
        self._challenges = 0
        if not self.username:
            self.kind = None
        elif self.kind is None or (self.kind == NAMESPACE_AUTH_BASIC and not self._may_expose):
            self._guessed = True
            self.kind = NAMESPACE_AUTH_BASIC if _is_safe(self.url) else NAMESPACE_AUTH_MD5

    @property
    def stored_nonce(self) -> str | None:
        """The nonce to begin the next session with, base64."""
        return base64.b64encode(self.nonce).decode('ascii') or None

    def arm(self, session: Session) -> None:
        """Put into *session* what its next message is to prove."""
        session.user_name = self.username if self.kind in _DIGESTS else None
        session.cred = None
        if self.kind == NAMESPACE_AUTH_BASIC:
            session.cred = auth.basic(self.username, self.password)
        elif self.kind == NAMESPACE_AUTH_MD5:
            session.cred = auth.md5(self.username, self.password, self.nonce, session.version)

    def headers(self, body: bytes) -> dict[str, str]:
        """Return the headers of HTTP that prove the message *body* to be ours."""
        if self.kind != NAMESPACE_AUTH_MAC:
            return {}
        secret = auth.md5_secret(self.username, self.password)
        code = auth.mac(secret, self.nonce, body)
        return {auth.MAC_HEADER: auth.mac_header(self.username, code)}

    def accepted(self, session: Session, status: Status) -> None:
        """Take notice of what to prove next time, in this session or in the one after it."""
        self._fresh = False
        if self.kind not in _DIGESTS:
            return
        if status.chal is not None and status.chal.type == self.kind:
            self.nonce = status.chal.next_nonce or b''
            self.arm(session)
        elif status.code == StatusCode.AUTHENTICATION_ACCEPTED:
            self.nonce = b''  # it has done its service

    def take_up(self, status: Status, session: Session) -> bool:
        """Do what a challenge asks for; return ``False`` if that was done already.

        Raises:
            UnknownAuthType: it asks for what we do not know.
        """
        if not self.username or self._challenges == _MAX_CHALLENGES:
            return False
        about_login = status.chal is not None or self.kind in _DIGESTS
        if status.code == StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED and not about_login:
            return False
        chal = status.chal or Chal(type=NAMESPACE_AUTH_BASIC)
        kind = chal.type or NAMESPACE_AUTH_BASIC
        if kind not in (NAMESPACE_AUTH_BASIC, *_DIGESTS):
            raise UnknownAuthType(f'the server asks for a login of an unknown kind: "{kind}"')
        nonce = (chal.next_nonce or b'') if kind in _DIGESTS else b''
        if kind == self.kind and (self._fresh or nonce == self.nonce or kind not in _DIGESTS):
            return False
        if kind == NAMESPACE_AUTH_BASIC:
            self.expose()
        self._challenges += 1
        self._guessed, self._fresh = False, True
        self.kind, self.nonce = kind, nonce
        session.authenticated = False
        self.arm(session)
        return True

    def expose(self) -> None:
        """See whether the password itself may be sent, which the server asks for.

        Without encryption whoever sits on the way reads it, and may also be who asks for it.

        Raises:
            PasswordExposed: it may not.
        """
        where = place(self.url)
        if not self._may_expose:
            raise PasswordExposed(
                f'the server asks for the password itself, which anybody on the way to {where} '
                'could read: use https, or run again with --insecure if that is all right'
            )
        if not _is_safe(self.url):
            log.warning('anybody on the way to %s can read the password: use https', where)

    @property
    def _may_expose(self) -> bool:
        return self.insecure or _is_safe(self.url)

    def retreat(self) -> bool:
        """Wait to be asked, after a server has choked on a digest; return whether that is new."""
        if not (self._guessed and self.kind == NAMESPACE_AUTH_MD5):
            return False
        self._guessed, self.kind = False, None
        return True


def _is_safe(url: str) -> bool:
    """Whether nobody can listen on the way to *url*."""
    parts = urlsplit(url)
    host = parts.hostname or ''
    return parts.scheme == 'https' or host in ('localhost', '::1') or host.startswith('127.')


def _of_header(inbound: Message) -> Status | None:
    statuses = (command for command in inbound.commands if isinstance(command, Status))
    return next((status for status in statuses if status.cmd_ref == '0'), None)


def _is_busy(status: Status) -> bool:
    """Whether the server has no time just now. With a word, it is a refusal: waiting is no use."""
    said = any(item.data for item in status.items)
    return status.code == StatusCode.RETRY_LATER and not said


def _versions_in(status: Status) -> set[str]:
    """Return the versions that a refusal names (OMA-DS-DataSyncRep 1.2, 505 and 513)."""
    data = [item.data.decode('utf-8', 'replace') for item in status.items
            if isinstance(item.data, bytes)]  # fmt: skip
    words = ','.join(data).replace(' ', ',').split(',')
    return {word.rpartition('/')[2] for word in words} & set(VERSIONS)


def pause(adapter: Adapter, seconds: float) -> bool:
    """Wait; return ``False`` at once when our user wants to stop."""
    end = time.monotonic() + seconds
    while not adapter.stopping:
        rest = end - time.monotonic()
        if rest <= 0:
            return True
        time.sleep(min(rest, _LOOK))
    return False
