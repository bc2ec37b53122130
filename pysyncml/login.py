"""Who may come in: how a server asks for credentials, and how it checks them.

What a server asks for is said by :attr:`Adapter.auth <pysyncml.adapter.Adapter>`. A nonce counts
once: each digest that is accepted brings a new one, which is kept with the device and told in the
Status of the header. A device that has not come in yet is told a nonce as well, but nothing is kept
for it, so that strangers cannot fill the database: such a nonce is derived from the device's id,
the time and what only this server knows, and from the nonce that is kept, if there is one; so
it is as good as used as soon as another one was (OMA-SyncML-RepPro 1.1, §4.1 to §4.3).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pysyncml.codec.grammar import VERSIONS
from pysyncml.constants import (
    NAMESPACE_AUTH_BASIC,
    NAMESPACE_AUTH_MAC,
    NAMESPACE_AUTH_MD5,
    Role,
    StatusCode,
)
from pysyncml.errors import (
    InvalidCredentials,
    MissingCredentials,
    RemoteProtocolError,
    UnknownAuthType,
    refusal_of_system,
)
from pysyncml.protocol import auth
from pysyncml.protocol.messages import Chal, Header, Item, Location, Message, Meta, Status
from pysyncml.protocol.session import Session
from pysyncml.state.records import DeviceRecord, SessionRecord
from pysyncml.state.work import UnitOfWork

if TYPE_CHECKING:
    from pysyncml.context import Context

log = logging.getLogger(__name__)

#: What stands before the secret part of the address that a session is given.
TOKEN = 'session='

#: What a server asks for, the preferred kind first, by what programs call it.
KINDS = {
    'basic': (NAMESPACE_AUTH_BASIC,),
    'md5': (NAMESPACE_AUTH_MD5, NAMESPACE_AUTH_BASIC),
    'md5-only': (NAMESPACE_AUTH_MD5,),
    'hmac': (NAMESPACE_AUTH_MAC,),
}

#: Seconds for which a nonce is good that was told to somebody who has not come in yet; at least.
_NONCE_AGE = 600


class Doorkeeper:
    """Decides whether one message may come in.

    Args:
        kind: one of :data:`KINDS`; ``None`` for MD5 where its secrets are stored, else basic.
        message: what was sent.
        body: the bytes it was sent as.
        url: the address it was sent to, if that is known.
        headers: those of HTTP.
    """

    def __init__(
        self,
        kind: str | None,
        message: Message,
        body: bytes,
        url: str | None,
        headers: Mapping[str, str],
    ) -> None:
        self.kind = kind
        self.header = message.header
        self.body = body
        self.url = url
        self.mac = next((v for k, v in headers.items() if k.lower() == auth.MAC_HEADER), None)
        #: What to ask for, after an :class:`~pysyncml.errors.AuthError`.
        self.challenge: Chal | None = auth.basic_challenge()
        #: What makes the address that only this session knows.
        self.token = ''
        self.user: str | None = None
        #: The kind of the credentials that were accepted, if some were needed.
        self.proof: str | None = None
        self._nonces: list[bytes] = []

    def admit(
        self, work: UnitOfWork, peer: DeviceRecord | None, row: SessionRecord | None
    ) -> str | None:
        """Return the user's name, ``None`` where everybody may come in.

        *row* is the session that the message goes on with.

        Raises:
            AuthError: the credentials are missing or wrong; never said which part of them.
        """
        self.accounts, self.secrets = work.accounts(), work.md5_secrets()
        if not self.accounts:
            return None
        kinds = self._kinds()
        self._nonces = self._good_nonces(peer, work.now)
        self.challenge = self._challenge(kinds)
        if self.challenge is None:
            raise UnknownAuthType(f'a login by MD5 needs SyncML {VERSIONS[1]} or later')
        state = row.state if row is not None else {}
        self.token = state.get('token') or secrets.token_urlsafe(24)
        if NAMESPACE_AUTH_MAC in kinds:
            self.user = self._by_mac()
        elif self.header.cred is None:
            self.user = self._by_address(state.get('user'))
        else:
            self.user = self._by_cred(kinds, peer)
        return self.user

    def _kinds(self) -> tuple[str, ...]:
        kinds = KINDS[self.kind or ('md5' if self.secrets else 'basic')]
        if self.header.version == VERSIONS[0]:
            # its digest can only be checked by who knows the password itself
            return tuple(kind for kind in kinds if kind != NAMESPACE_AUTH_MD5)
        return kinds

    def _challenge(self, kinds: tuple[str, ...]) -> Chal | None:
        match kinds[:1]:
            case (kind,) if kind == NAMESPACE_AUTH_BASIC:
                return auth.basic_challenge()
            case (kind,):
                return Chal(type=kind, format='b64', next_nonce=self._nonces[0])
        return None

    # --- three ways to come in ----------------------------------------------------------------

    def _by_address(self, user: str | None) -> str:
        """Let in who comes to the address that only this session was told."""
        found = (self.url or '').rpartition(TOKEN)[2]
        if user in self.accounts and hmac.compare_digest(found.encode(), self.token.encode()):
            return str(user)
        raise MissingCredentials('no credentials')

    def _by_cred(self, kinds: tuple[str, ...], peer: DeviceRecord | None) -> str:
        cred = self.header.cred
        assert cred is not None
        kind = cred.type or NAMESPACE_AUTH_BASIC
        if kind not in (NAMESPACE_AUTH_BASIC, NAMESPACE_AUTH_MD5):
            raise UnknownAuthType(kind)
        if kind not in kinds:
            raise InvalidCredentials(f'{kind} is not accepted here')
        name: str | None
        if kind == NAMESPACE_AUTH_MD5:
            name = self.header.source.name or (peer.username if peer else None) or ''
            digest = auth.read_md5(cred) or b''
            good = [auth.md5_digest(self._secret(name), nonce) for nonce in self._nonces]
            name = name if self._among(digest, good) and name in self.secrets else None
        else:
            name = auth.verify_basic(cred, self.accounts)
        if name is None:
            raise InvalidCredentials('wrong credentials')
        self.proof = kind
        return name

    def _by_mac(self) -> str:
        if self.mac is None:
            raise MissingCredentials('no credentials')
        name, code = auth.read_mac_header(self.mac) or ('', '')
        good = [auth.mac(self._secret(name), n, self.body).encode() for n in self._nonces]
        told = self.header.source.name
        known = self._among(code.encode(), good) and name in self.secrets
        if not known or (told is not None and told != name):
            raise InvalidCredentials('wrong credentials')
        self.proof = NAMESPACE_AUTH_MAC
        return name

    def _secret(self, name: str) -> str:
        return self.secrets.get(name, '')

    @staticmethod
    def _among(found: bytes, good: list[bytes]) -> bool:
        return sum(hmac.compare_digest(found, each) for each in good) > 0

    # --- nonces -------------------------------------------------------------------------------

    def _good_nonces(self, peer: DeviceRecord | None, now: float) -> list[bytes]:
        """Return the nonces that count now for this device; the first one is to be told."""
        kept = (peer.our_nonce if peer is not None else None) or ''
        known = repr((sorted(self.accounts.items()), sorted(self.secrets.items())))
        key = hashlib.sha256(known.encode()).digest()
        nonces = []
        for age in (0, 1):
            text = repr((self.header.source.uri, kept, int(now // _NONCE_AGE) - age))
            nonces.append(hmac.new(key, text.encode(), 'sha256').hexdigest()[:32].encode())
        return [*nonces, base64.b64decode(kept)] if kept else nonces

    def note(self, work: UnitOfWork, peer: DeviceRecord, session: Session) -> None:
        """Remember who came in, and see to it that what was proved proves nothing again."""
        before = (peer.username, peer.name, peer.our_nonce)
        peer.username = self.user or peer.username
        if self.proof in (NAMESPACE_AUTH_MD5, NAMESPACE_AUTH_MAC):
            nonce = _renew(peer)
            session.challenge = Chal(type=self.proof, format='b64', next_nonce=nonce)
        elif self.header.source.name not in (None, self.user):
            peer.name = self.header.source.name  # beside a digest, and often else, it is the user's
        if before != (peer.username, peer.name, peer.our_nonce):
            work.records.save(peer)

    def spend(self, context: Context) -> None:
        """Do the same after a message that came to nothing: what it did has been taken back."""
        if self.proof not in (NAMESPACE_AUTH_MD5, NAMESPACE_AUTH_MAC):
            return
        device = DeviceRecord(
            owner=context.owner, role=Role.CLIENT.value, dev_id=self.header.source.uri
        )
        try:
            with context.work() as work:
                where = {name: getattr(device, name) for name in ('owner', 'role', 'dev_id')}
                peer = work.records.first(DeviceRecord, **where) or device
                peer.created = peer.created or work.now
                _renew(peer)
                work.records.save(peer)
        except Exception as error:
            why = refusal_of_system(error)
            text = 'the nonce of %s could not be renewed: %s'
            log.error(text, self.header.source.uri, why or error, exc_info=why is None)


def _renew(peer: DeviceRecord) -> bytes:
    nonce = auth.new_nonce()
    peer.our_nonce = base64.b64encode(nonce).decode('ascii')
    return nonce


def prove(login: tuple[str, str] | None, message: Message, session: Session) -> bool:
    """Put our own credentials into *session* if *message* asks a server who it is.

    *login* is the name and the password to prove it with. Returns whether that is so: then what we
    said the last time is to be said again (OMA-SyncML-RepPro 1.1, §4.2).
    """
    statuses = [c for c in message.commands if isinstance(c, Status) and c.cmd_ref == '0']
    asked = (StatusCode.INVALID_CREDENTIALS, StatusCode.MISSING_CREDENTIALS)
    if login is None or not statuses or statuses[0].code not in asked:
        return False
    name, password = login
    chal = statuses[0].chal or auth.basic_challenge()
    if chal.type == NAMESPACE_AUTH_MD5:
        session.cred = auth.md5(name, password, chal.next_nonce or b'', session.version)
        session.user_name = name
    elif chal.type == NAMESPACE_AUTH_BASIC:
        session.cred = auth.basic(name, password)
    else:
        return False
    session.authenticated = False
    return True


# --- what those hear who may not come in ----------------------------------------------------------


def check_version(header: Header) -> None:
    """See whether we know the version of a message.

    Raises:
        RemoteProtocolError: we do not; its text is the list of those we know
            (OMA-DS-DataSyncRep 1.2, VerDTD and VerProto).
    """
    if header.version not in VERSIONS:
        known = ','.join(f'SyncML/{version}' for version in VERSIONS)
        raise RemoteProtocolError(known, StatusCode.PROTOCOL_VERSION_NOT_SUPPORTED)
    if header.dtd_version != header.version:
        raise RemoteProtocolError(','.join(VERSIONS), StatusCode.VERSION_NOT_SUPPORTED)


def refusal(
    message: Message, code: int, text: str = '', *, chal: Chal | None = None, every: bool = False
) -> Message:
    """Return the answer that refuses all of *message*, with nothing done.

    With *every* each command gets the Status too (OMA-DS-Protocol 1.2, §5.4). It is written in the
    version of *message*, or the highest we know if we do not know that one.
    """
    header = message.header
    refs: list[tuple[str, str]] = [('0', 'SyncHdr')]
    if every:
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
    version = header.version if header.version in VERSIONS else VERSIONS[-1]
    reply = Header(
        version=version,
        dtd_version=version,
        session_id=header.session_id,
        msg_id=header.msg_id,
        target=Location(header.source.uri),
        source=Location(header.target.uri),
        meta=Meta(max_msg_size=None),
    )
    return Message(header=reply, commands=statuses, final=True)
