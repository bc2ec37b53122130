"""Where the bodies of items live: bytes by key.

A :class:`Storage` is a helper that an agent may use; an agent over a web API needs none.
:class:`DirectoryStorage` is a folder of files, :class:`MemoryStorage` the reference in a dict.
Others announce theirs as entry points in the group ``pysyncml.storage``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pysyncml.registry import Registry

registry = Registry('storage', 'pysyncml.storage')
registry.register('directory', 'pysyncml.storage.directory:DirectoryStorage')
registry.register('memory', 'pysyncml.storage.memory:MemoryStorage')

_NAMES = {
    'base': ('Storage',),
    'bodies': ('FileBody',),
    'directory': ('DirectoryStorage',),
    'files': ('is_racy', 'stamp'),
    'ignore': ('Ignore',),
    'memory': ('MemoryStorage',),
    'names': ('conflict_name', 'free_name', 'local_name'),
    'publish': ('Batch', 'Outcome'),
    'scan': ('Changes', 'Entry', 'Found', 'compare'),
    'spool': ('Spool', 'Spooled'),
    'trash': ('Trash', 'TrashEntry'),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

if TYPE_CHECKING:
    from pysyncml.storage.base import Storage as Storage
    from pysyncml.storage.bodies import FileBody as FileBody
    from pysyncml.storage.directory import DirectoryStorage as DirectoryStorage
    from pysyncml.storage.files import is_racy as is_racy
    from pysyncml.storage.files import stamp as stamp
    from pysyncml.storage.ignore import Ignore as Ignore
    from pysyncml.storage.memory import MemoryStorage as MemoryStorage
    from pysyncml.storage.names import conflict_name as conflict_name
    from pysyncml.storage.names import free_name as free_name
    from pysyncml.storage.names import local_name as local_name
    from pysyncml.storage.publish import Batch as Batch
    from pysyncml.storage.publish import Outcome as Outcome
    from pysyncml.storage.scan import Changes as Changes
    from pysyncml.storage.scan import Entry as Entry
    from pysyncml.storage.scan import Found as Found
    from pysyncml.storage.scan import compare as compare
    from pysyncml.storage.spool import Spool as Spool
    from pysyncml.storage.spool import Spooled as Spooled
    from pysyncml.storage.trash import Trash as Trash
    from pysyncml.storage.trash import TrashEntry as TrashEntry

__all__ = ['registry', *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f'module "pysyncml.storage" has no attribute "{name}"')
    value = getattr(importlib.import_module(f'pysyncml.storage.{_HOME[name]}'), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
