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
import contextlib
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Mapping
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
    AuthError,
    InvalidCredentials,
    LoginDelayed,
    MissingCredentials,
    RemoteProtocolError,
    UnknownAuthType,
    refusal_of_system,
)
from pysyncml.gate import Gate
from pysyncml.protocol import auth
from pysyncml.protocol.messages import (
    Alert,
    Chal,
    Cred,
    Get,
    Header,
    Item,
    Location,
    Message,
    Meta,
    Status,
)
from pysyncml.protocol.session import Session
from pysyncml.state.records import DeviceRecord, SessionRecord
from pysyncml.state.work import UnitOfWork
from pysyncml.sync.pairing import find_uri
from pysyncml.sync.verifying import datastore_of
from pysyncml.transport.explain import printable

if TYPE_CHECKING:
    from pysyncml.adapter import Store
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

#: How many different logins of one message are looked at: each costs what a password costs.
_MOST_LOGINS = 10

#: Seconds for which a nonce is good that was told to somebody who has not come in yet; at least.
_NONCE_AGE = 600


def token_in(url: str | None) -> str:
    """Return the secret part of the address of a session; empty if *url* is none."""
    return (url or '').partition(TOKEN)[2]


class Doorkeeper:
    """Decides whether one message may come in.

    Args:
        kind: one of :data:`KINDS`; ``None`` for MD5 where its secrets are stored, else basic.
        message: what was sent.
        body: the bytes it was sent as.
        url: the address it was sent to, if that is known.
        headers: those of HTTP.
        gate: what the server remembers of those who knock.
        address: the network address it came from, if that is known.
    """

    def __init__(
        self,
        kind: str | None,
        message: Message,
        body: bytes,
        url: str | None,
        headers: Mapping[str, str],
        gate: Gate,
        address: str | None = None,
    ) -> None:
        self.kind = kind
        self.message = message
        self.header = message.header
        self.gate = gate
        self.address = address
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
        self.accounts: dict[str, str] = {}
        self.secrets: dict[str, str] = {}
        self._nonces: list[bytes] = []
        self._checked: dict[tuple[str, str, str | None], bool] = {}
        self._renewed: tuple[str, str, str] | None = None

    def look(self, context: Context, stores: Mapping[str, Store]) -> None:
        """Check the passwords in the message. That takes long, so it is done before
        anything is locked for it; :meth:`admit` remembers what came of it.

        Raises:
            AuthError: the login has to wait, or nothing is known of its kind.
        """  # fmt: skip
        cred = self.header.cred
        if cred is not None and cred.type in (None, '', NAMESPACE_AUTH_BASIC):
            with context.work(readonly=True) as work:
                accounts = work.accounts()
            name = self.user_of(cred, accounts) if accounts else None
            if name is not None and auth.is_outdated(accounts[name]):
                password = (auth.read_basic(cred) or ('', ''))[1]
                self._renewed = (name, accounts[name], self.gate.renewed(password))
        for command in self.message.walk():
            if not isinstance(command, Alert | Get) or command.cred is None:
                continue
            for item in command.items:
                said = item.target_uri or item.source_uri or ''
                uri = find_uri(datastore_of(said) or said, stores)
                if uri is not None and stores[uri].accounts:
                    with contextlib.suppress(AuthError):  # the Status of the Alert will say it
                        self.user_of(command.cred, stores[uri].accounts)

    def user_of(self, cred: Cred, accounts: Mapping[str, str]) -> str | None:
        """Return the user that basic credentials are of, ``None`` if they are wrong.

        Args:
            cred: the credentials.
            accounts: user name to hashed password, at least one.

        Raises:
            LoginDelayed: they were not looked at: too many have failed.
            AuthError: they are of another kind.
        """
        found = auth.read_basic(cred)
        if found is None:
            return None
        name, password = found
        key = (name, password, accounts.get(name))
        if key not in self._checked:
            if len(self._checked) >= _MOST_LOGINS:
                raise LoginDelayed('too many logins in one message')
            self.gate.check(name, self.address)
            self._checked[key] = self.gate.is_right(name, password, accounts)
            self._note(name, good=self._checked[key])
        return name if self._checked[key] else None

    def admit(
        self, work: UnitOfWork, peer: DeviceRecord | None, row: SessionRecord | None
    ) -> str | None:
        """Return the user's name, ``None`` where everybody may come in.

        *row* is the session that the message goes on with.

        Raises:
            AuthError: the credentials are missing or wrong; never said which part of them.
        """
        self.accounts, self.secrets = work.accounts(), work.md5_secrets()
        state = row.state if row is not None else {}
        self.token = state.get('token') or secrets.token_urlsafe(24)
        if not self.accounts:
            return None
        kinds = self._kinds()
        self._nonces = self._good_nonces(peer, work.now)
        self.challenge = self._challenge(kinds)
        if self.challenge is None:
            raise UnknownAuthType(f'a login by MD5 needs SyncML {VERSIONS[1]} or later')
        if NAMESPACE_AUTH_MAC in kinds:
            self.user = self._by_mac()
        elif self.header.cred is None:
            self.user = self._by_address(state.get('user'))
        else:
            self.user = self._by_cred(kinds, peer)
            if self._renewed is not None and not work.readonly:
                work.renew_account(*self._renewed)
        return self.user

    def owns(self, peer: DeviceRecord | None, row: SessionRecord | None) -> None:
        """See to it that a device, and its session, stay with the user they are of.

        Raises:
            RemoteProtocolError: they are somebody else's.
        """
        if self.user is None:
            return
        owner = peer.username if peer is not None else None
        begun = row.state.get('user') if row is not None else None
        other = owner != self.user and owner in self.accounts  # not so if it was renamed
        if other or begun not in (None, self.user):
            raise RemoteProtocolError(
                "the id of this device is that of another user's device: choose another one",
                StatusCode.FORBIDDEN,
            )

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
        found = token_in(self.url)
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
            name = name if self._proved(name, digest, auth.md5_digest) else None
        else:
            name = self.user_of(cred, self.accounts)
        if name is None:
            raise InvalidCredentials('wrong credentials')
        self.proof = kind
        return name

    def _by_mac(self) -> str:
        if self.mac is None:
            raise MissingCredentials('no credentials')
        name, code = auth.read_mac_header(self.mac) or ('', '')
        told = self.header.source.name

        def code_of(secret: str, nonce: bytes) -> bytes:
            return auth.mac(secret, nonce, self.body).encode()

        known = self._proved(name, code.encode('utf-8', 'replace'), code_of)
        if not known or (told is not None and told != name):
            raise InvalidCredentials('wrong credentials')
        self.proof = NAMESPACE_AUTH_MAC
        return name

    def _proved(self, name: str, found: bytes, proof: Callable[[str, bytes], bytes]) -> bool:
        """Whether *found* is what *name* had to show; all that is compared takes as long."""
        self.gate.check(name, self.address)
        secret = self.secrets.get(name, '')
        good = sum(hmac.compare_digest(found, proof(secret, each)) for each in self._nonces)
        # the first time devices know no nonce: that is no guess at the password
        first = hmac.compare_digest(found, proof(secret, b''))
        known = name in self.secrets
        if known and good:
            self._note(name, good=True)
        elif not (known and first):
            self._note(name, good=False)
        return bool(known and good)

    def _note(self, name: str, *, good: bool) -> None:
        """Remember what came of a login, for those who come next and for who reads the log."""
        self.gate.note(name, self.address, good=good)
        if not good:
            where = self.address or 'an unknown address'
            log.info('a login as %s from %s has failed', printable(name), where)

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
