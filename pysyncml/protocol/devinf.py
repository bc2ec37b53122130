"""Device information: what a device is, which datastores it has, what they can take.

OMA-DS-DevInf 1.2, §5. :class:`DeviceInfo` and :class:`ContentTypeInfo` are part of the
documented surface and keep its spelling; a :class:`DevInf` is the whole document.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Any, TextIO

from pysyncml.constants import DEVTYPE_WORKSTATION, SyncType
from pysyncml.immutable import immutable


class ContentTypeInfo:
    """A content type with its versions, and whether it can be sent, received, or is preferred.

    Args:
        ctype: the media type, e.g. ``text/plain``.
        versions: one version or several, the best last.
        preferred: whether this is the type to use when the other side knows it too.
        transmit: whether it can be sent.
        receive: whether it can be received.
    """

    __slots__ = ('ctype', 'preferred', 'receive', 'transmit', 'versions')

    def __init__(
        self,
        ctype: str,
        versions: str | Iterable[str] | None = None,
        preferred: bool = False,
        transmit: bool = True,
        receive: bool = True,
    ) -> None:
        self.ctype = ctype
        if versions is None:
            versions = ('',)
        self.versions = [versions] if isinstance(versions, str) else list(versions)
        self.preferred = preferred
        self.transmit = transmit
        self.receive = receive

    def _key(self) -> tuple[Any, ...]:
        return (
            self.ctype.lower(),
            tuple(self.versions),
            self.preferred,
            self.transmit,
            self.receive,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ContentTypeInfo) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        flags = ('Pref' if self.preferred else '') + ('Tx' if self.transmit else '')
        flags += 'Rx' if self.receive else ''
        return f'{self.ctype}@{",".join(self.versions)}:{flags}'

    def __repr__(self) -> str:
        return f'<ContentTypeInfo {self}>'

    def merge(self, other: ContentTypeInfo) -> bool:
        """Take over what *other* knows of the same type and flags; return whether it fitted."""
        if (self.ctype, self.preferred, self.transmit, self.receive) != (
            other.ctype,
            other.preferred,
            other.transmit,
            other.receive,
        ):
            if self.ctype == other.ctype and self.versions == other.versions:
                self.preferred = self.preferred or other.preferred
                self.transmit = self.transmit or other.transmit
                self.receive = self.receive or other.receive
                return True
            return False
        self.versions += [v for v in other.versions if v not in self.versions]
        return True

    def describe(self, stream: TextIO) -> None:
        """Write one line about this content type to *stream*."""
        flags = [
            word
            for word, on in (
                ('preferred', self.preferred),
                ('tx', self.transmit),
                ('rx', self.receive),
            )
            if on
        ]
        noun = 'version' if len(self.versions) == 1 else 'versions'
        versions = ', '.join(v or '-' for v in self.versions)
        stream.write(f'{self.ctype} {noun} {versions} ({", ".join(flags)})\n')


class DeviceInfo:
    """What a device says of itself."""

    _FIELDS = (
        ('devID', None),
        ('devType', DEVTYPE_WORKSTATION),
        ('manufacturerName', '-'),
        ('modelName', '-'),
        ('oem', '-'),
        ('hardwareVersion', '-'),
        ('firmwareVersion', '-'),
        ('softwareVersion', '-'),
        ('utc', True),
        ('largeObjects', True),
        ('hierarchicalSync', True),
        ('numberOfChanges', True),
    )

    devID: str | None
    devType: str
    manufacturerName: str
    modelName: str
    oem: str
    hardwareVersion: str
    firmwareVersion: str
    softwareVersion: str
    utc: bool
    largeObjects: bool
    hierarchicalSync: bool
    numberOfChanges: bool

    def __init__(self, **values: Any) -> None:
        for name, default in self._FIELDS:
            setattr(self, name, values.pop(name, default))
        if values:
            raise TypeError(f'unknown device information: {", ".join(sorted(values))}')

    def values(self) -> dict[str, Any]:
        """Return all fields by name."""
        return {name: getattr(self, name) for name, _ in self._FIELDS}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeviceInfo) and self.values() == other.values()

    def __hash__(self) -> int:
        return hash(tuple(self.values().items()))

    def __repr__(self) -> str:
        return f'<DeviceInfo {self.devID} {self.manufacturerName} {self.modelName}>'


@immutable(kw_only=True)
class Property:
    """A property of a content type that a datastore knows (CTCap)."""

    name: str
    data_type: str | None = None
    max_occur: int | None = None
    max_size: int | None = None  # bytes
    no_truncate: bool = False
    values: tuple[str, ...] = ()
    display_name: str | None = None
    params: tuple[Property, ...] = ()


@immutable(kw_only=True)
class Capability:
    """The properties a datastore knows of one content type (CTCap)."""

    ctype: str
    version: str = ''
    field_level: bool = False
    properties: tuple[Property, ...] = ()


@immutable(kw_only=True)
class FilterCapability:
    """The keywords and properties a datastore can filter by (FilterCap)."""

    ctype: str
    version: str = ''
    keywords: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()


@immutable(kw_only=True)
class DataStoreInfo:
    """A datastore as device information describes it."""

    uri: str
    display_name: str | None = None
    max_guid_size: int | None = None  # bytes
    max_obj_size: int | None = None  # bytes; not in the specification, sent by some
    content_types: tuple[ContentTypeInfo, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    shared_mem: bool = False
    max_mem: int | None = None  # bytes
    max_id: int | None = None  # items
    hierarchical_sync: bool = False
    sync_types: tuple[int, ...] = tuple(SyncType)
    filter_types: tuple[tuple[str, str], ...] = ()
    filters: tuple[FilterCapability, ...] = ()


@immutable(kw_only=True)
class DevInf:
    """A device information document: the device, its datastores, and private extensions."""

    version: str = '1.2'
    device: DeviceInfo = field(default_factory=DeviceInfo)
    stores: tuple[DataStoreInfo, ...] = ()
    extensions: tuple[tuple[str, tuple[str, ...]], ...] = ()
