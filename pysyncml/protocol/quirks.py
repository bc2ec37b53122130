"""The habits of peers we know that call for something else than the specification: one table.

Whoever acts on a habit asks :attr:`pysyncml.protocol.session.Session.quirks` for it, and never
for the name of a peer. A peer that nobody has described is taken to be well-behaved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field

from pysyncml.constants import StatusCode
from pysyncml.immutable import immutable
from pysyncml.protocol.devinf import DeviceInfo


@immutable(kw_only=True)
class Quirks:
    """What is different with a peer; the defaults are those of a well-behaved one.

    Attributes:
        encoding: what to write to this server in, whatever the program prefers (``xml``).
        separate_introduction: device information has a package of its own before the Alerts.
        single_message: the changes of a datastore must come in one message.
        plain_sync: a Sync must not hold anything but changes (no Meta).
        statuses: (command, Status code) → the code to answer instead, as the right one makes
            the peer give up.
        few_statuses: changes that were carried out are not to be answered.
        charset: what a text is in that is no UTF-8.
        brief: our device information must not list properties of content types.
        resumes: whether it can go on with a session that was broken off (Alert 225).
        steady_anchors: whether the anchor of this server tells anything.
        large_parts: whether parts of an item may come in large messages, though it has not said so.
        many_items: whether changes of one kind are to share a command, and a Status if all of them
            have fared alike; the specification has that, and programs that stumble over it.
    """

    encoding: str | None = None
    separate_introduction: bool = False
    single_message: bool = False
    plain_sync: bool = False
    statuses: Mapping[tuple[str, int], int] = field(default_factory=dict)
    few_statuses: bool = False
    charset: str | None = None
    brief: bool = False
    resumes: bool = True
    steady_anchors: bool = True
    large_parts: bool = False
    many_items: bool = False

    def status(self, command: str, code: int) -> int | None:
        """Return the Status code to answer a *command* with; ``None`` for no Status at all."""
        done = 200 <= code < 300 and code != StatusCode.CHUNKED_ITEM_ACCEPTED
        if self.few_statuses and done and command in ('Add', 'Replace', 'Delete'):
            return None
        return self.statuses.get((command, code), code)

    def as_utf8(self, data: bytes, content_type: str) -> bytes:
        """Return the bytes of an item, in UTF-8 if they are a text in the peer's charset."""
        if self.charset is None or not content_type.lower().startswith('text/'):
            return data
        try:
            data.decode('utf-8')
        except UnicodeDecodeError:
            return data.decode(self.charset, 'replace').encode()
        return data


@immutable(kw_only=True)
class KnownPeer:
    """A row of the table.

    ``manufacturer``, ``model``, ``software`` and ``dev_id`` are regular expressions for the
    beginning of what the peer's device information says, and of its id (for a server the
    address); an empty one takes anything. Case does not count.
    """

    name: str
    reason: str
    quirks: Quirks = Quirks()
    manufacturer: str = ''
    model: str = ''
    software: str = ''
    dev_id: str = ''

    def matches(self, device: DeviceInfo | None, dev_id: str) -> bool:
        """Return whether this row is about the peer."""
        said = [(self.dev_id, dev_id)]
        if device is not None:
            said += [
                (self.manufacturer, device.manufacturerName),
                (self.model, device.modelName),
                (self.software, device.softwareVersion),
            ]
        elif not self.dev_id or self.manufacturer or self.model or self.software:
            return False
        return all(re.match(pattern, text or '', re.IGNORECASE) for pattern, text in said)


#: What the predecessor of this library takes for an error, and what it can live with.
_PREDECESSOR: dict[tuple[str, int], int] = {
    ('Alert', StatusCode.REFRESH_REQUIRED): StatusCode.OK,
    ('Add', StatusCode.CONFLICT_RESOLVED_MERGE): StatusCode.OK,
    ('Add', StatusCode.CONFLICT_RESOLVED_CLIENT_DATA): StatusCode.OK,
    ('Add', StatusCode.CONFLICT_RESOLVED_DUPLICATE): StatusCode.OK,
    ('Replace', StatusCode.ITEM_ADDED): StatusCode.OK,
    ('Replace', StatusCode.CONFLICT_RESOLVED_DUPLICATE): StatusCode.CONFLICT_RESOLVED_SERVER_DATA,
}

#: The table: the first row that matches counts.
KNOWN_PEERS: tuple[KnownPeer, ...] = (
    KnownPeer(
        name='pysyncml 0.2 and earlier',
        reason='Speaks XML only; wants device information exchanged before the Alerts, all changes '
        'in one Sync without Meta and a NumberOfChanges that is true of it; takes 508 for an '
        'Alert, 201 for a Replace and others for fatal; begins anew instead of resuming.',
        manufacturer='pysyncml',
        software=r'0\.',
        quirks=Quirks(
            encoding='xml',
            separate_introduction=True,
            single_message=True,
            plain_sync=True,
            statuses=_PREDECESSOR,
            resumes=False,
        ),
    ),
    KnownPeer(
        name='pysyncml',
        reason='That is us: takes what we send.',
        manufacturer='pysyncml',
        quirks=Quirks(large_parts=True, many_items=True),
    ),
    KnownPeer(
        name='syncml-js',
        reason='The sister of pysyncml 0.2 in JavaScript, with its habits; but it understands 508.',
        model='.*syncml-js',
        quirks=Quirks(
            encoding='xml',
            separate_introduction=True,
            single_message=True,
            plain_sync=True,
            statuses={key: code for key, code in _PREDECESSOR.items() if key[0] != 'Alert'},
            resumes=False,
        ),
    ),
    KnownPeer(
        name='SyncEvolution',
        reason='Keeps to the book (libsynthesis); aborts on elements it does not know, and reads '
        'a numeric character reference as one byte: we send neither.',
        manufacturer='Patrick Ohly|Synthesis',
    ),
    KnownPeer(
        name='Funambol server',
        reason='Its WBXML is less reliable than its XML; it answers a wish to resume with a slow '
        'sync, even where an ordinary one would have gone on by itself.',
        manufacturer='Funambol',
        model='DS Server',
        quirks=Quirks(encoding='xml', resumes=False),
    ),
    KnownPeer(
        name='Funambol clients',
        reason='Leave out Statuses at the end of a session and say Final once too often: both are '
        'taken from everybody.',
        dev_id='(fol|fjm|fwm|fbb|fmz)-',
    ),
    KnownPeer(
        name='Memotoo',
        reason='Only its XML can be relied on.',
        dev_id=r'https?://([\w.]*\.)?memotoo\.com\b',
        quirks=Quirks(encoding='xml'),
    ),
    KnownPeer(
        name='ZYB',
        reason='Sends anchors that are not those of the last time: to believe them would make '
        'every synchronisation a slow one.',
        dev_id=r'https?://([\w.]*\.)?zyb\.com\b',
        quirks=Quirks(steady_anchors=False),
    ),
    KnownPeer(
        name='Mobical',
        reason='May answer with another kind of synchronisation, which has erased data; one that '
        'throws away what is here is refused to everybody.',
        manufacturer='Tactel',
    ),
    KnownPeer(
        name='Horde',
        reason='Knows some clients by the beginning of their ids, and ours is none of these.',
        manufacturer='(The )?Horde',
    ),
    KnownPeer(
        name='Nokia, Series 40',
        reason='Announces itself that ids may have 8 bytes, which is respected with everybody.',
        manufacturer='Nokia',
        model='5610|7210c|2630',
    ),
    KnownPeer(
        name='Nokia, Series 60',
        reason='Does not send Map pairs early and no empty Sync when it resumes; it finds doubles '
        'by itself and answers 418, which counts as done.',
        manufacturer='Nokia',
    ),
    KnownPeer(
        name='Sony Ericsson P800',
        reason='Is confused by too many Statuses, and writes texts in ISO 8859-1.',
        manufacturer='Sony ?Ericsson',
        model='.*P800',
        quirks=Quirks(few_statuses=True, charset='iso-8859-1'),
    ),
    KnownPeer(
        name='Sony Ericsson',
        reason='Writes texts in ISO 8859-1; some models leave out the Target of Alert and Sync, '
        'where the Source counts for everybody.',
        manufacturer='Sony ?Ericsson',
        quirks=Quirks(charset='iso-8859-1'),
    ),
    KnownPeer(
        name='Siemens',
        reason='Crashes on long lists of properties in device information.',
        manufacturer='Siemens',
        quirks=Quirks(brief=True),
    ),
    KnownPeer(
        name='Motorola',
        reason='Writes texts in the code page of Western Windows.',
        manufacturer='Motorola',
        quirks=Quirks(charset='windows-1252'),
    ),
)


#: The header of HTTP in which the predecessor tells its name, as ``NAME/VERSION``.
CLIENT_HEADER = 'x-syncml-client'


def introduction(headers: Mapping[str, str]) -> DeviceInfo | None:
    """Return what the headers of HTTP tell of a client that has not introduced itself.

    That is little, and must do for one that takes a server for an acquaintance which has never
    seen it: a new program in the place of an old one, say.
    """
    said = next((text for name, text in headers.items() if name.lower() == CLIENT_HEADER), '')
    name, _, version = said.partition('/')
    if not version:
        return None
    flags = dict.fromkeys(('largeObjects', 'hierarchicalSync', 'numberOfChanges'), False)
    return DeviceInfo(manufacturerName=name, softwareVersion=version, **flags)


def quirks_of(device: DeviceInfo | None, dev_id: str) -> Quirks:
    """Return what is to be respected with a peer.

    Args:
        device: what the peer says of itself; ``None`` if nothing is known yet.
        dev_id: its id; of a server the address.
    """
    row = known_peer(device, dev_id)
    return row.quirks if row is not None else Quirks()


def known_peer(device: DeviceInfo | None, dev_id: str) -> KnownPeer | None:
    """Return the row of the table that is about a peer; ``None`` if there is none."""
    return next((row for row in KNOWN_PEERS if row.matches(device, dev_id)), None)
