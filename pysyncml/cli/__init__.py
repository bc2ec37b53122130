"""Build a command line synchronisation program in a page: the engines, and their hooks.

Nothing is imported before it is used, so that ``--help`` is there at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pysyncml.cli.directory import DirectorySyncEngine, LocalUserSyncEngine
    from pysyncml.cli.engine import CommandLineSyncEngine
    from pysyncml.cli.hooks import HOOKS, hook
    from pysyncml.cli.logs import LogFormatter, log
    from pysyncml.cli.model import makeModel
    from pysyncml.cli.rows import delete_rows, insert_rows, select_rows, update_rows

__all__ = [
    'HOOKS',
    'CommandLineSyncEngine',
    'DirectorySyncEngine',
    'LocalUserSyncEngine',
    'LogFormatter',
    'delete_rows',
    'hook',
    'insert_rows',
    'log',
    'makeModel',
    'select_rows',
    'update_rows',
]

_HOMES = {
    'HOOKS': 'hooks',
    'hook': 'hooks',
    'LogFormatter': 'logs',
    'log': 'logs',
    'makeModel': 'model',
    'delete_rows': 'rows',
    'insert_rows': 'rows',
    'select_rows': 'rows',
    'update_rows': 'rows',
    'CommandLineSyncEngine': 'engine',
    'DirectorySyncEngine': 'directory',
    'LocalUserSyncEngine': 'directory',
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module "{__name__}" has no attribute "{name}"')
    from importlib import import_module

    value = getattr(import_module(f'{__name__}.{_HOMES[name]}'), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
