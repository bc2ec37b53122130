"""The words of SyncML as values: one frozen dataclass for every element that carries meaning.

A :class:`Message` is what two peers exchange, whatever it was written in (XML or WBXML). Fields
are named with the specification's words in snake_case and appear in its order
(OMA-DS-DataSyncRep 1.2, §6; the content models stand in :mod:`pysyncml.codec.grammar`).

Nothing in here knows how to do anything: messages are made in one place and changed nowhere.
Text is :class:`str`. The data of an item is :class:`bytes`, already freed from the ``b64`` a
message may have needed to carry them; see :class:`Item`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import BinaryIO, ClassVar

from pysyncml.immutable import immutable
from pysyncml.protocol.devinf import DevInf


@immutable()
class Anchor:
    """Where a sender stood at the last synchronisation, and where it stands now."""

    next: str
    last: str | None = None


@immutable()
class Mem:
    """The room left in a datastore: bytes and number of items."""

    free_mem: int | None = None
    free_id: int | None = None
    shared: bool = False


@immutable(kw_only=True)
class Meta:
    """Information about a command or an item (OMA-SyncML-MetaInfo 1.2, §5)."""

    field_level: bool = False
    format: str | None = None
    type: str | None = None
    mark: str | None = None
    size: int | None = None  # bytes of the whole object
    anchor: Anchor | None = None
    version: str | None = None
    next_nonce: bytes | None = None  # decoded
    max_msg_size: int | None = None  # bytes
    max_obj_size: int | None = None  # bytes
    emi: tuple[str, ...] = ()
    mem: Mem | None = None


@immutable(kw_only=True)
class Filter:
    """Which items of a datastore are wanted (1.2)."""

    meta: Meta | None = None
    field: Item | None = None
    record: Item | None = None
    filter_type: str | None = None


@immutable()
class Location:
    """A Target or a Source: an address, a name for people, and a filter on it."""

    uri: str
    name: str | None = None
    filter: Filter | None = None


@immutable()
class Cred:
    """Credentials as sent: the kind, and the data still encoded (it says how)."""

    data: str = field(repr=False)  # nothing that is written down may show it
    type: str | None = None
    format: str | None = None


@immutable()
class Chal:
    """A demand for credentials of a kind; ``next_nonce`` is decoded."""

    type: str
    format: str | None = 'b64'
    next_nonce: bytes | None = field(default=None, repr=False)


@immutable(kw_only=True)
class Item:
    """What a command is about.

    ``data`` are bytes as the item's type defines them, an :class:`Anchor` (in the Status of a
    sync Alert) or device information; or, for what is too large for memory, a stream that stands
    for all parts of an item, and that no codec reads or writes. A codec that cannot write the bytes
    as they are uses ``b64`` on the wire, and takes it off again when reading, so that
    ``meta.format`` is ``b64`` here only when the data could not be decoded.
    """

    target: Location | None = None
    source: Location | None = None
    source_parent: str | None = None
    target_parent: str | None = None
    meta: Meta | None = None
    data: bytes | Anchor | DevInf | BinaryIO | None = None
    more_data: bool = False

    @property
    def target_uri(self) -> str | None:
        """The address of the Target, if there is one."""
        return self.target.uri if self.target else None

    @property
    def source_uri(self) -> str | None:
        """The address of the Source, if there is one."""
        return self.source.uri if self.source else None


@immutable(kw_only=True)
class Command:
    """What every command has: an id, unique in its message and never ``0``."""

    name: ClassVar[str] = ''
    cmd_id: str = ''
    no_resp: bool = False


@immutable(kw_only=True)
class Alert(Command):
    """Tell the other side of something by number: above all, ask for a synchronisation."""

    name = 'Alert'
    cred: Cred | None = None
    code: int = 0
    correlator: str | None = None
    items: tuple[Item, ...] = ()


@immutable(kw_only=True)
class Status(Command):
    """The answer to one command (``cmd_ref`` ``0``: to the header of a message)."""

    name = 'Status'
    msg_ref: str = ''
    cmd_ref: str = ''
    cmd: str = ''
    target_refs: tuple[str, ...] = ()
    source_refs: tuple[str, ...] = ()
    cred: Cred | None = None
    chal: Chal | None = None
    code: int = 0
    items: tuple[Item, ...] = ()


@immutable(kw_only=True)
class ItemsCommand(Command):
    """A command that does the same with each of its items."""

    cred: Cred | None = None
    meta: Meta | None = None
    items: tuple[Item, ...] = ()


@immutable(kw_only=True)
class Add(ItemsCommand):
    """Here is a new item."""

    name = 'Add'


@immutable(kw_only=True)
class Replace(ItemsCommand):
    """Here is a new version of an item."""

    name = 'Replace'


@immutable(kw_only=True)
class Copy(ItemsCommand):
    """Make a copy of an item."""

    name = 'Copy'


@immutable(kw_only=True)
class Move(ItemsCommand):
    """Give an item another parent (1.2)."""

    name = 'Move'


@immutable(kw_only=True)
class Delete(ItemsCommand):
    """An item is gone."""

    name = 'Delete'
    archive: bool = False
    soft: bool = False


@immutable(kw_only=True)
class Put(ItemsCommand):
    """Here is something about me (device information)."""

    name = 'Put'
    lang: str | None = None


@immutable(kw_only=True)
class Get(ItemsCommand):
    """Tell me something about you (device information)."""

    name = 'Get'
    lang: str | None = None


@immutable(kw_only=True)
class Results(Command):
    """What a Get or a Search found."""

    name = 'Results'
    msg_ref: str | None = None
    cmd_ref: str = ''
    meta: Meta | None = None
    target_ref: str | None = None
    source_ref: str | None = None
    items: tuple[Item, ...] = ()


@immutable(kw_only=True)
class Exec(Command):
    """Run something on the other side."""

    name = 'Exec'
    cred: Cred | None = None
    meta: Meta | None = None
    correlator: str | None = None
    items: tuple[Item, ...] = ()


@immutable(kw_only=True)
class Search(Command):
    """Find items by a query."""

    name = 'Search'
    no_results: bool = False
    cred: Cred | None = None
    target: Location | None = None
    sources: tuple[Location, ...] = ()
    lang: str | None = None
    meta: Meta | None = None
    data: str = ''


@immutable()
class MapItem:
    """The server's id of an item (``target``) and the client's (``source``)."""

    target: str
    source: str


@immutable(kw_only=True)
class Map(Command):
    """The ids a client gave to items the server had sent."""

    name = 'Map'
    target: Location | None = None
    source: Location | None = None
    cred: Cred | None = None
    meta: Meta | None = None
    items: tuple[MapItem, ...] = ()


@immutable(kw_only=True)
class Sync(Command):
    """The changes of one datastore."""

    name = 'Sync'
    cred: Cred | None = None
    target: Location | None = None
    source: Location | None = None
    meta: Meta | None = None
    number_of_changes: int | None = None
    commands: tuple[Command, ...] = ()


@immutable(kw_only=True)
class Atomic(Command):
    """Commands of which all or none are carried out."""

    name = 'Atomic'
    meta: Meta | None = None
    commands: tuple[Command, ...] = ()


@immutable(kw_only=True)
class Sequence(Command):
    """Commands that are carried out in this order."""

    name = 'Sequence'
    meta: Meta | None = None
    commands: tuple[Command, ...] = ()


@immutable(kw_only=True)
class Header:
    """Who talks to whom, in which session, in which version (SyncHdr).

    ``max_msg_size`` and ``max_obj_size`` (bytes) are what the sender can receive.
    """

    version: str = '1.2'  # of the protocol: VerProto is "SyncML/" and this
    dtd_version: str = '1.2'
    session_id: str = ''
    msg_id: str = ''
    target: Location
    source: Location
    resp_uri: str | None = None
    no_resp: bool = False
    cred: Cred | None = None
    meta: Meta | None = None

    @property
    def max_msg_size(self) -> int | None:
        """The most bytes a message to this sender may have."""
        return self.meta.max_msg_size if self.meta else None

    @property
    def max_obj_size(self) -> int | None:
        """The most bytes an object to this sender may have."""
        return self.meta.max_obj_size if self.meta else None


@immutable(kw_only=True)
class Message:
    """One SyncML message; ``final`` if its sender has nothing more to say in this package."""

    header: Header
    commands: tuple[Command, ...] = ()
    final: bool = False

    def walk(self) -> Iterator[Command]:
        """Yield every command, containers before what they contain."""
        pending = list(reversed(self.commands))
        while pending:
            command = pending.pop()
            yield command
            if isinstance(command, Sync | Atomic | Sequence):
                pending.extend(reversed(command.commands))
