"""Server alerted synchronisation: a server asks a device to start a session.

On the device::

    notification = read_notification(content_type, data)
    check(adapter, notification)
    stats = adapter.sync(notification=notification)

On the server::

    notification = make_notification(adapter, peer, {'notes': SyncType.TWO_WAY})
    content_type, data = write_notification(notification, secret_of(user, password), nonce)

How the bytes travel (a push message, OBEX, a file) is up to the program.
"""

from __future__ import annotations

import base64
import logging
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pysyncml.codec import decode, encode
from pysyncml.constants import CODEC_WBXML, SyncType
from pysyncml.errors import (
    AuthError,
    CodecError,
    InvalidAdapter,
    NoSuchRoute,
    RefusedError,
    UnknownCodec,
)
from pysyncml.protocol.messages import Status
from pysyncml.protocol.notification import (
    CONTENT_TYPE,
    CONTENT_TYPES,
    Notification,
    NotifiedSync,
    UiMode,
    from_message,
    make,
    parse,
    secret_of,
    to_message,
    verify,
)
from pysyncml.protocol.session import Said
from pysyncml.sync.pairing import clean_uri, find_uri, pair

if TYPE_CHECKING:
    from pysyncml.adapter import Adapter
    from pysyncml.peer import Peer

__all__ = [
    'Notification',
    'NotifiedSync',
    'UiMode',
    'answers',
    'check',
    'kinds_of',
    'make_notification',
    'read_notification',
    'secret_of',
    'write_notification',
]

log = logging.getLogger(__name__)

# the kind of synchronisation → the Alert code by which a server asks for it
_CODES = {
    SyncType.TWO_WAY: 206,
    SyncType.SLOW_SYNC: 201,  # there is no code of its own
    SyncType.ONE_WAY_FROM_CLIENT: 207,
    SyncType.REFRESH_FROM_CLIENT: 208,
    SyncType.ONE_WAY_FROM_SERVER: 209,
    SyncType.REFRESH_FROM_SERVER: 210,
}


# --- bytes --------------------------------------------------------------------------------------


def read_notification(content_type: str | None, data: bytes) -> Notification:
    """Return the notification that *data* are: the bytes of 1.2, or a message of 1.0 or 1.1.

    Raises:
        CodecError: they are none.
    """
    kind = (content_type or '').partition(';')[0].strip().lower()
    if kind in CONTENT_TYPES:
        return parse(data)
    try:
        message = decode(content_type, data)
    except CodecError as error:
        try:
            return parse(data)  # a digest may look like the beginning of a message
        except CodecError as other:
            raise (other if isinstance(error, UnknownCodec) else error) from None
    return from_message(message)


def write_notification(
    notification: Notification,
    secret: bytes | None = None,
    nonce: bytes = b'',
    *,
    target: str = '/',
    encoding: str = CODEC_WBXML,
) -> tuple[str, bytes]:
    """Return the content type and the bytes of *notification*, in the form of its version.

    Args:
        notification: what to say.
        secret: what :func:`secret_of` returns of the names and the password that the device
            knows its server by; 1.2 only, others have ``cred`` in the notification.
        nonce: what the device challenged the server with the last time; it may have none.
        target: the id of the device, for a message.
        encoding: of a message.

    Raises:
        LocalProtocolError: something does not fit in.
    """
    if notification.version == '1.2':
        return CONTENT_TYPE, make(notification, secret, nonce)
    return encode(to_message(notification, target), encoding)


# --- the server's side --------------------------------------------------------------------------


def make_notification(
    adapter: Adapter,
    peer: Peer,
    kinds: Mapping[str, int] | None = None,
    *,
    version: str = '1.2',
    ui_mode: UiMode = UiMode.BACKGROUND,
    session_id: int | None = None,
) -> Notification:
    """Return a notification that asks *peer*, a client of ours, to start a session.

    Args:
        adapter: the local device.
        peer: whom to ask.
        kinds: our datastore's URI → a :class:`~pysyncml.constants.SyncType`; all datastores,
            both ways, without it.
        version: of SyncML.
        ui_mode: how the user is to learn of it.
        session_id: what the session is to be called, 1 to 65535; a random number by default.

    Raises:
        NoSuchRoute: we have no such datastore.
    """
    theirs = {
        store.binding.uri: uri for uri, store in peer.stores.items() if store.binding is not None
    }
    syncs = []
    for uri, kind in (kinds or {}).items():
        name = find_uri(uri, adapter.stores)
        if name is None:
            raise NoSuchRoute(f'there is no datastore "{uri}" here')
        types = adapter.stores[name].contentTypes
        best = next((info for info in types if info.preferred), types[0] if types else None)
        syncs.append(
            NotifiedSync(
                code=_CODES[SyncType(kind)],
                uri=name,
                content_type=best.ctype if best else '',
                client_uri=theirs.get(name, '') if version != '1.2' else '',
            )
        )
    return Notification(
        version=version,
        session_id=str(session_id or secrets.randbelow(0xFFFF) + 1),
        server_id=adapter.devID,
        syncs=tuple(syncs),
        ui_mode=ui_mode if version == '1.2' else UiMode.NOT_SPECIFIED,
    )


# --- the device's side --------------------------------------------------------------------------


def check(adapter: Adapter, notification: Notification) -> bool:
    """Make sure that *notification* comes from the server that *adapter* synchronises with.

    Where we have a password for that server, a notification of 1.2 must have a digest made with
    it, and the credentials of a message, if it has any, must be right. The nonce is the one
    the server was challenged with the last time.

    Returns:
        Whether that has shown where it comes from.

    Raises:
        RefusedError: it is another server's.
        AuthError: it does not know the password.
    """
    peer = adapter.peer
    if peer is None:
        raise InvalidAdapter('there is no server to synchronise with')
    known = {peer.devID, peer.url or '', (peer.devinfo.devID if peer.devinfo else '') or ''}
    said = notification.server_id
    if said.rstrip('/') not in {name.rstrip('/') for name in known if name}:
        raise RefusedError(
            f'the notification is of the server "{said}", not of "{peer.url or peer.devID}"'
        )
    password = getattr(peer, 'password', None)
    if password is None:
        return False
    if notification.version != '1.2' and not notification.is_signed:
        return False  # a message need not have credentials
    names = [said, *([peer.username] if peer.username else [])]
    nonce = base64.b64decode(peer.record.our_nonce or '')
    if not verify(notification, names, password, nonce):
        what = 'is signed with another password' if notification.is_signed else 'is not signed'
        raise AuthError(f'the notification {what}: it may come from anybody, and is ignored')
    return True


def kinds_of(adapter: Adapter, notification: Notification) -> dict[str, SyncType]:
    """Return what *notification* asks for: our datastore's URI → the kind of synchronisation.

    A datastore of the server that goes with none of ours is left out.

    Raises:
        NoSuchRoute: none of them goes with one of ours.
    """
    if not notification.syncs:
        return dict.fromkeys(adapter.stores, SyncType.TWO_WAY)
    routes = _routes(adapter)
    kinds: dict[str, SyncType] = {}
    nowhere = []
    for sync in notification.syncs:
        names = _stores_of(adapter, sync, routes)
        if not names:
            nowhere.append(sync.uri)
        for name in names:
            kinds.setdefault(name, sync.kind)
    asked = ', '.join(f'"{uri}"' for uri in nowhere)
    if not kinds:
        raise NoSuchRoute(f'the server asks for {asked}, and nothing here goes with that')
    if nowhere:
        log.warning('nothing here goes with %s, which the server asks for', asked)
    return kinds


def _routes(adapter: Adapter) -> dict[str, str]:
    """Return the peer's URI → ours: as set, as bound in the past, as the next session will."""
    stores = adapter.peer.stores if adapter.peer is not None else {}
    offers = {uri: store.contentTypes for uri, store in stores.items()}
    ours = {uri: store.contentTypes for uri, store in adapter.stores.items()}
    free = {uri: types for uri, types in ours.items() if uri not in adapter.routes}
    routes = pair(free, offers)
    routes |= {store.binding.uri: uri for uri, store in stores.items() if store.binding}
    routes |= adapter.routes
    return {clean_uri(theirs): mine for mine, theirs in routes.items() if mine in ours}


def _stores_of(adapter: Adapter, sync: NotifiedSync, routes: Mapping[str, str]) -> list[str]:
    if not sync.uri and not sync.client_uri:
        return list(adapter.stores)
    found = find_uri(sync.client_uri, adapter.stores) if sync.client_uri else None
    found = found or routes.get(clean_uri(sync.uri)) or find_uri(sync.uri, adapter.stores)
    if found:
        return [found]
    # a server we know nothing of yet: its types may tell
    wanted = sync.content_type.lower()
    alike = [
        uri
        for uri, store in adapter.stores.items()
        if wanted and wanted in (info.ctype.lower() for info in store.contentTypes)
    ]
    return alike if len(alike) == 1 and not routes else []


def answers(notification: Notification) -> list[Said]:
    """Return the Statuses of the Alerts of a message; they open the session it asks for.

    The bytes of 1.2 have no commands that could be answered.
    """
    return [
        Said(
            Status(
                msg_ref=notification.msg_id,
                cmd_ref=cmd_id,
                cmd='Alert',
                target_refs=(item.target_uri,) if item.target_uri else (),
                source_refs=(item.source_uri,) if item.source_uri else (),
                code=200,
            )
        )
        for cmd_id, item in notification.alerts
    ]
