"""SyncML (OMA Data Synchronization) in Python: a library for clients and servers, and sync-notes.

A program brings an :class:`Agent`, the glue to its data; a :class:`Context` keeps what has to be
remembered; an :class:`Adapter` synchronises. ``docs/`` tells the rest.

Importing this package is cheap: each name is fetched from its module when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = versionString = version = '1.0.0.dev0'

#: module → the names of the public surface that live there
_NAMES: dict[str, tuple[str, ...]] = {
    'pysyncml.adapter': ('Adapter', 'Session', 'Store'),
    'pysyncml.agents': (
        'Agent',
        'BaseFileAgent',
        'BaseNoteAgent',
        'Ext',
        'FileItem',
        'FolderItem',
        'Item',
        'NoteItem',
    ),
    'pysyncml.cli.report': ('IndentStream', 'describeStats'),
    'pysyncml.codec': ('Codec',),
    'pysyncml.context': ('Context',),
    'pysyncml.errors': (
        'AuthError',
        'CodecError',
        'CommandError',
        'ConflictError',
        'ConnectFailed',
        'DeviceCopied',
        'FeatureNotSupported',
        'HTTPStatus',
        'InternalError',
        'InvalidAdapter',
        'InvalidAgent',
        'InvalidChangeSpec',
        'InvalidContent',
        'InvalidContentType',
        'InvalidContext',
        'InvalidCredentials',
        'InvalidFilter',
        'InvalidItem',
        'InvalidName',
        'InvalidStore',
        'ItemBusy',
        'ItemExists',
        'ItemNotEmpty',
        'ItemTooLarge',
        'LocalProtocolError',
        'LogicalError',
        'MissingCredentials',
        'MoveFailed',
        'NoSuchRoute',
        'PreconditionFailed',
        'ProtocolError',
        'ReadOnly',
        'RefusedError',
        'RemoteProtocolError',
        'ServerBusy',
        'StateBusy',
        'StorageError',
        'StoreEmpty',
        'StoreFull',
        'SyncmlError',
        'Timeout',
        'TooManyDeletions',
        'TransportError',
        'UnknownAuthType',
        'UnknownCodec',
        'UnknownFormatType',
        'UsageError',
        'WrongDirectory',
    ),
    'pysyncml.merge': (
        'AttributeChangeTracker',
        'AttributeMerger',
        'AttributeMergerFactory',
        'ChangeTracker',
        'CompositeMerger',
        'CompositeMergerFactory',
        'ListChangeTracker',
        'Merger',
        'MergerFactory',
        'TextMerger',
        'TextMergerFactory',
    ),
    'pysyncml.peer': ('Peer', 'RemoteAdapter'),
    'pysyncml.protocol.devinf': ('ContentTypeInfo', 'DeviceInfo'),
    'pysyncml.protocol.messages': ('Command', 'Message'),
    'pysyncml.stats': ('Stats',),
    'pysyncml.surface': (
        'alert2synctype',
        'auth2string',
        'enableSqliteCascadingDeletes',
        'fullClassname',
        'getAddressSize',
        'getMaxMemorySize',
        'mode2string',
        'parse_ts_iso',
        'state2string',
        'synctype2alert',
        'ts',
        'ts_iso',
    ),
    'pysyncml.transport': ('Request', 'Response'),
    'pysyncml.util': ('adict', 'newID', 'num2str'),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}
__all__ = [*sorted(_HOME), '__version__', 'version', 'versionString']

_MODULES = (
    'agents',
    'alerted',
    'cli',
    'codec',
    'constants',
    'errors',
    'merge',
    'storage',
    'testing',
)

if TYPE_CHECKING:
    from pysyncml.adapter import Adapter, Session, Store
    from pysyncml.agents import (
        Agent,
        BaseFileAgent,
        BaseNoteAgent,
        Ext,
        FileItem,
        FolderItem,
        Item,
        NoteItem,
    )
    from pysyncml.constants import *  # noqa: F403
    from pysyncml.context import Context
    from pysyncml.errors import *  # noqa: F403
    from pysyncml.merge import (
        AttributeMergerFactory,
        CompositeMergerFactory,
        TextMergerFactory,
    )
    from pysyncml.peer import Peer, RemoteAdapter
    from pysyncml.protocol.devinf import ContentTypeInfo, DeviceInfo
    from pysyncml.stats import Stats
    from pysyncml.util import adict, newID


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name in _MODULES:
        return importlib.import_module(f'pysyncml.{name}')
    else:
        from pysyncml import constants

        if name.startswith('_') or not hasattr(constants, name):
            raise AttributeError(f'module "pysyncml" has no attribute "{name}"')
        value = getattr(constants, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    from pysyncml import constants

    numbers = [name for name in vars(constants) if name[0].isupper()]
    return sorted({*globals(), *_HOME, *_MODULES, *numbers})
