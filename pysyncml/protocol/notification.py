"""Server alerted notifications: a server asks a device to start a session ("package 0").

Up to SyncML 1.1 that is an ordinary message with Alerts 206 to 210 (OMA-DS-Protocol 1.1, §9);
in 1.2 a few bytes that fit into a text message of a telephone (OMA-TS-DS_Protocol 1.2, §12),
most significant bit first::

    digest 128 | version 10 | ui mode 2 | initiator 1 | future use 27 | session id 16
    | length 8 | server id | number of syncs 4 | future use 4
    | for each: kind 4 | future use 4 | content type 24 | length 8 | server's URI
    | vendor specific

A :class:`Notification` is either. :func:`parse` and :func:`make` are for the bytes of 1.2,
:func:`from_message` and :func:`to_message` for the messages of 1.0 and 1.1.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable
from dataclasses import field
from enum import IntEnum

from pysyncml.constants import NAMESPACE_AUTH_MD5, AlertCode, SyncType
from pysyncml.errors import AuthError, CodecError, LocalProtocolError
from pysyncml.immutable import immutable
from pysyncml.protocol import auth
from pysyncml.protocol.messages import Alert, Cred, Header, Item, Location, Message, Meta

#: What a notification of 1.2 is sent as; the second one belongs to Device Management, but is used.
CONTENT_TYPE = 'application/vnd.syncml.ds.notification'
CONTENT_TYPES = frozenset({CONTENT_TYPE, 'application/vnd.syncml.notification'})

#: The numbers of content types (OMNA, "WSP content type numbers").
CONTENT_TYPE_NUMBERS = {
    'text/plain': 0x03,
    'text/x-vcalendar': 0x06,
    'text/x-vcard': 0x07,
    'application/vnd.syncml+xml': 0x0302,
    'application/vnd.syncml+wbxml': 0x0303,
    'text/calendar': 0x0305,
    'application/vnd.omads-email+xml': 0x0306,
    'application/vnd.omads-file+xml': 0x0307,
    'application/vnd.omads-folder+xml': 0x0308,
    'text/directory;profile=vCard': 0x0309,
}
_CONTENT_TYPES = {number: name for name, number in CONTENT_TYPE_NUMBERS.items()}

_VERSIONS = {10: '1.0', 11: '1.1', 12: '1.2'}
_DIGEST_SIZE = 16
_FIXED_SIZE = 24  # bytes before the server's id
_MOST_SYNCS = 15

# Alert code → what it asks for; some servers send those without "by server" too
_KINDS = {
    AlertCode.TWO_WAY_BY_SERVER: SyncType.TWO_WAY,
    AlertCode.ONE_WAY_FROM_CLIENT_BY_SERVER: SyncType.ONE_WAY_FROM_CLIENT,
    AlertCode.REFRESH_FROM_CLIENT_BY_SERVER: SyncType.REFRESH_FROM_CLIENT,
    AlertCode.ONE_WAY_FROM_SERVER_BY_SERVER: SyncType.ONE_WAY_FROM_SERVER,
    AlertCode.REFRESH_FROM_SERVER_BY_SERVER: SyncType.REFRESH_FROM_SERVER,
    **{kind.alert: kind for kind in SyncType if kind is not SyncType.SERVER_ALERTED},
}

#: What a device may try where the nonce agreed on is lost (as Device Management does).
_RESYNC_NONCE = b'0x00000000'

# a text message may still have its port numbers before it, with or without the length before them
_PORTS = (b'\x06\x05\x04', b'\x05\x04')
_PORT_NUMBERS_SIZE = 4


class UiMode(IntEnum):
    """How the user is to learn of the session."""

    NOT_SPECIFIED = 0
    BACKGROUND = 1
    INFORMATIVE = 2
    USER_INTERACTION = 3


@immutable(kw_only=True)
class NotifiedSync:
    """One datastore a server wants to synchronise.

    ``code`` is an Alert code: 206 to 210, or 200 to 205 from servers that say it so. ``uri`` is
    the server's datastore, ``client_uri`` the device's (1.1 only); empty if not said.
    ``content_type`` is a media type, empty if not said; of a number that nobody knows, the
    number as ``0x00abcd``.
    """

    code: int = AlertCode.TWO_WAY_BY_SERVER
    uri: str = ''
    content_type: str = ''
    client_uri: str = ''

    @property
    def kind(self) -> SyncType:
        """The kind of synchronisation that the device is to ask for (206 → two-way, and so on)."""
        return _KINDS[self.code]


@immutable(kw_only=True)
class Notification:
    """A server asks a device to start a session.

    Attributes:
        version: ``1.2``; ``1.0`` and ``1.1`` are messages, though some put them into the bytes.
        session_id: what the session is to be called; in the bytes of 1.2 a number below 65536.
        server_id: the server's DevID, or the address its messages come from.
        syncs: the datastores; without any, all of them both ways.
        ui_mode: how the user is to learn of it.
        by_server: whether the server has the idea, not the user.
        vendor: whatever a vendor has put behind it.
        digest: 16 bytes that only the server can have made; empty if there are none.
        signed: the bytes that ``digest`` is about; known after :func:`parse` only.
        cred: the credentials of the server, in a message.
        alerts: the Alerts of a message as (command id, its first item), for their Status.
        msg_id: the id of the message.
    """

    version: str = '1.2'
    session_id: str = '0'
    server_id: str = ''
    syncs: tuple[NotifiedSync, ...] = ()
    ui_mode: UiMode = UiMode.NOT_SPECIFIED
    by_server: bool = True
    vendor: bytes = b''
    digest: bytes = b''
    signed: bytes = field(default=b'', compare=False, repr=False)
    cred: Cred | None = None
    alerts: tuple[tuple[str, Item], ...] = field(default=(), compare=False, repr=False)
    msg_id: str = field(default='', compare=False, repr=False)

    @property
    def is_signed(self) -> bool:
        """Whether there is anything that shows where it comes from."""
        return bool(self.digest) or self.cred is not None


# --- the bytes of 1.2 ---------------------------------------------------------------------------


def parse(data: bytes) -> Notification:
    """Return the notification that *data* are, in the form of 1.2.

    Port numbers of a text message (UDH) before it are skipped; bits for future use are ignored.

    Raises:
        CodecError: *data* are none.
    """
    data = _without_ports(data)
    if len(data) < _FIXED_SIZE:
        raise CodecError(f'a notification has more than {len(data)} bytes')
    version = _VERSIONS.get(_version(data))
    if version is None:
        raise CodecError('this is no notification: the number of its version is unknown')
    digest, signed = data[:_DIGEST_SIZE], data[_DIGEST_SIZE:]
    rest = _Bytes(signed[7:])
    server_id = rest.text('the id of the server')
    count = rest.number(1) >> 4
    syncs = tuple(_parse_sync(rest) for _ in range(count))
    return Notification(
        version=version,
        session_id=str(int.from_bytes(signed[5:7], 'big')),
        server_id=server_id,
        syncs=syncs,
        ui_mode=UiMode(signed[1] >> 4 & 3),
        by_server=bool(signed[1] & 8),
        vendor=rest.rest(),
        digest=digest if any(digest) else b'',
        signed=signed,
    )


def _version(data: bytes) -> int:
    return int.from_bytes(data[_DIGEST_SIZE : _DIGEST_SIZE + 2], 'big') >> 6


def _without_ports(data: bytes) -> bytes:
    """Return *data* without the port numbers before it; a digest may begin like them, too."""
    for start in _PORTS:
        rest = data[len(start) + _PORT_NUMBERS_SIZE :]
        believable = _version(rest) in _VERSIONS and _version(data) not in _VERSIONS
        if believable and data.startswith(start):
            return rest
    return data


def _parse_sync(rest: _Bytes) -> NotifiedSync:
    code = AlertCode.TWO_WAY + (rest.number(1) >> 4)
    if code not in _KINDS:
        raise CodecError(f'the notification asks for an unknown kind of synchronisation ({code})')
    number = rest.number(3)
    content_type = _CONTENT_TYPES.get(number, f'0x{number:06x}') if number else ''
    uri = rest.text('the address of a datastore')
    return NotifiedSync(code=code, content_type=content_type, uri=uri)


class _Bytes:
    """Reads bytes from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        found = self._data[self._at : self._at + size]
        if len(found) < size:
            raise CodecError('the notification ends too early')
        self._at += size
        return found

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), 'big')

    def text(self, what: str) -> str:
        try:
            return self.take(self.number(1)).decode('utf-8')
        except UnicodeDecodeError:
            raise CodecError(f'{what} in the notification is no UTF-8 text') from None

    def rest(self) -> bytes:
        return self._data[self._at :]


def make(notification: Notification, secret: bytes | None = None, nonce: bytes = b'') -> bytes:
    """Return the bytes of *notification*, in the form of 1.2.

    Args:
        notification: what to say.
        secret: what :func:`secret_of` returns, for a digest; without it the one that
            *notification* has, or none.
        nonce: what the device challenged the server with the last time.

    Raises:
        LocalProtocolError: something does not fit in.
    """
    number = next((n for n, name in _VERSIONS.items() if name == notification.version), None)
    if number is None:
        raise LocalProtocolError(f'there is no SyncML "{notification.version}"')
    if len(notification.syncs) > _MOST_SYNCS:
        raise LocalProtocolError(f'a notification has at most {_MOST_SYNCS} datastores')
    session = notification.session_id
    if not (session.isascii() and session.isdigit() and int(session) < 1 << 16):
        raise LocalProtocolError(f'the session id "{session}" is no number below 65536')
    head = number << 6 | notification.ui_mode << 4 | notification.by_server << 3
    body = b''.join(
        (
            head.to_bytes(2, 'big') + bytes(3),
            int(session).to_bytes(2, 'big'),
            _text(notification.server_id, 'the id of the server'),
            bytes([len(notification.syncs) << 4]),
            *map(_sync, notification.syncs),
            notification.vendor,
        )
    )
    if secret is not None:
        return digest(secret, nonce, body) + body
    return (notification.digest or bytes(_DIGEST_SIZE)) + body


def _sync(sync: NotifiedSync) -> bytes:
    if sync.code not in _KINDS:
        raise LocalProtocolError(f'{sync.code} asks for no synchronisation')
    number = CONTENT_TYPE_NUMBERS.get(sync.content_type, 0)
    if sync.content_type.startswith('0x'):
        number = int(sync.content_type, 16)
    kind = sync.code - AlertCode.TWO_WAY << 4
    uri = _text(sync.uri, 'the address of a datastore')
    return bytes([kind]) + number.to_bytes(3, 'big') + uri


def _text(text: str, what: str) -> bytes:
    data = text.encode()
    if len(data) > 0xFF:
        raise LocalProtocolError(f'{what} has {len(data)} bytes, and 255 is the limit')
    return bytes([len(data)]) + data


# --- who it comes from --------------------------------------------------------------------------


def secret_of(name: str, password: str) -> bytes:
    """Return ``b64(md5(name ":" password))``, from which digests are made; it is a secret."""
    return auth.md5_secret(name, password).encode()


def digest(secret: bytes, nonce: bytes, body: bytes) -> bytes:
    """Return the 16 bytes that only who knows *secret* can put before *body*.

    ``md5(secret ":" nonce ":" b64(md5(body)))`` (OMA-TS-DS_Protocol 1.2, §12.2.1); *nonce* as
    bytes, not in base64.
    """
    return auth.mac_digest(secret, nonce, body)


def verify(
    notification: Notification, names: Iterable[str], password: str, nonce: bytes = b''
) -> bool:
    """Return whether the notification comes from who knows *password*; in constant time.

    Args:
        notification: as :func:`parse` or :func:`from_message` returned it.
        names: what the secret may be about: the server's id, or the user name of the device,
            which some servers use instead.
        password: of the server.
        nonce: what the server was challenged with; it may have forgotten it.
    """
    pairs = [
        _proofs(notification, name, password, candidate)
        for name in names
        for candidate in (nonce, _RESYNC_NONCE)
    ]
    return any(hmac.compare_digest(wanted, found) for wanted, found in pairs)


def _proofs(
    notification: Notification, name: str, password: str, nonce: bytes
) -> tuple[bytes, bytes]:
    """Return what has to be shown, and what is."""
    cred = notification.cred
    if cred is None:
        secret = secret_of(name, password)
        return digest(secret, nonce, notification.signed), notification.digest
    if cred.type == NAMESPACE_AUTH_MD5:
        proof = auth.md5(name, password, nonce, notification.version)
        return _b64(proof.data), _b64(cred.data)
    return f'{name}:{password}'.encode(), _basic(cred)


def _basic(cred: Cred) -> bytes:
    try:
        found = auth.read_basic(cred)
    except AuthError:
        return b''
    return ':'.join(found).encode() if found else b''


def _b64(text: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except ValueError:
        return b''


# --- the messages of 1.0 and 1.1 ----------------------------------------------------------------


def from_message(message: Message) -> Notification:
    """Return the notification that *message* is.

    Raises:
        CodecError: it asks for no synchronisation.
    """
    alerts = [c for c in message.commands if isinstance(c, Alert) and c.code in _KINDS]
    if not alerts:
        raise CodecError('this message is no notification: it asks for no synchronisation')
    header = message.header
    items = [(alert, item) for alert in alerts for item in alert.items or (Item(),)]
    return Notification(
        version=header.version,
        session_id=header.session_id,
        server_id=header.source.uri,
        syncs=tuple(_sync_of(alert, item) for alert, item in items),
        cred=header.cred,
        alerts=tuple((a.cmd_id, a.items[0] if a.items else Item()) for a in alerts),
        msg_id=header.msg_id,
    )


def _sync_of(alert: Alert, item: Item) -> NotifiedSync:
    return NotifiedSync(
        code=alert.code,
        uri=item.source_uri or '',
        content_type=(item.meta.type if item.meta else None) or '',
        client_uri=item.target_uri or '',
    )


def to_message(notification: Notification, target: str = '/') -> Message:
    """Return *notification* as a message of 1.0 or 1.1, with an Alert for each datastore.

    Args:
        notification: what to say.
        target: the id of the device; ``/`` if it is not known.
    """
    syncs = notification.syncs or (NotifiedSync(),)
    alerts = tuple(
        Alert(cmd_id=str(number), code=sync.code, items=_items(sync))
        for number, sync in enumerate(syncs, 1)
    )
    header = Header(
        version=notification.version,
        dtd_version=notification.version,
        session_id=notification.session_id,
        msg_id='1',
        target=Location(target),
        source=Location(notification.server_id),
        cred=notification.cred,
    )
    return Message(header=header, commands=alerts, final=True)


def _items(sync: NotifiedSync) -> tuple[Item, ...]:
    if not (sync.uri or sync.client_uri or sync.content_type):
        return ()
    item = Item(
        target=Location(sync.client_uri) if sync.client_uri else None,
        source=Location(sync.uri) if sync.uri else None,
        meta=Meta(type=sync.content_type) if sync.content_type else None,
    )
    return (item,)
