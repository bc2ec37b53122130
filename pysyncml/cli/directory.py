"""Engines that know where their state lives: beside the data, or in the user's configuration."""

from __future__ import annotations

import os
from typing import Any

from pysyncml.cli.engine import CommandLineSyncEngine
from pysyncml.cli.folders import make_private
from pysyncml.cli.hooks import hook
from pysyncml.cli.report import printable

_EXAMPLES = """\
examples:
  %(prog)s --remote https://example.com/sync --username ME DIRECTORY
                  synchronise DIRECTORY with a server; it is remembered, so later:
  %(prog)s DIRECTORY
  %(prog)s --server --listen 8080 --username ME DIRECTORY
                  let others synchronise with DIRECTORY, until Ctrl-C
  %(prog)s --local DIRECTORY
                  show what has changed since the last time
  %(prog)s --restore NAME DIRECTORY
                  bring back what a synchronisation has replaced or deleted

"""


class DirectorySyncEngine(CommandLineSyncEngine):
    """An engine for what lives in one directory; the state is in a folder inside of it.

    Args:
        syncSubdir: the name of the state folder.
        defaultDir: the directory when none is given; without it, one must be given.

    ``rootDir`` is the directory: never without a ``/`` at its end, and a relative one begins
    with ``./``.
    """

    rootDir: str | None = None

    def __init__(
        self,
        syncSubdir: str = '.sync',
        defaultDir: str | None = None,
        *args: Any,
        **params: Any,
    ) -> None:
        super().__init__(*args, **params)
        self.syncSubdir = syncSubdir
        self.defaultDir = defaultDir

    @property
    def place(self) -> str:
        """The directory, for messages."""
        return printable((self.rootDir or '').rstrip('/') or '/')

    def examples(self) -> str:
        """Return examples of the commands everybody needs."""
        return _EXAMPLES

    @hook('options.setup.term')
    def _add_directory(self) -> None:
        group = self.parser.add_argument_group('the trash')
        group.add_argument(
            '--trash',
            action='store_true',
            help='list what synchronisations have replaced or deleted; change nothing',
        )
        group.add_argument(
            '--restore', metavar='NAME', help='bring the newest NAME back from the trash'
        )
        what = f'the directory to synchronise; the state is kept in its "{self.syncSubdir}" folder'
        if self.defaultDir is None:
            self.parser.add_argument('rootDir', metavar='DIRECTORY', help=what)
        else:
            self.parser.add_argument(
                'rootDir',
                metavar='DIRECTORY',
                nargs='?',
                default=self.defaultDir,
                help=f'{what} (default {self.defaultDir})'.replace('%', '%%'),
            )

    @hook('options.parse.datadir')
    def _find_directory(self) -> None:
        path = self.options.rootDir
        if not os.path.isdir(path):
            problem = 'is no directory' if os.path.exists(path) else 'does not exist'
            self.parser.error(f'the directory "{printable(path)}" {problem}')
        if not os.path.isabs(path) and not path.startswith(('./', '.' + os.sep)):
            path = './' + path
        self.rootDir = path if path.endswith(('/', os.sep)) else path + '/'
        self.dataDir = f'{self.rootDir}{self.syncSubdir}/'


class LocalUserSyncEngine(CommandLineSyncEngine):
    """An engine for data that live elsewhere; the state is in the user's configuration folder.

    ``--config NAME`` tells several set-ups apart.
    """

    @hook('options.setup.term')
    def _add_config(self) -> None:
        self.parser.add_argument(
            '-c', '--config', default='default', help='which set-up to use (default "default")'
        )

    @hook('options.parse.datadir')
    def _find_config(self) -> None:
        name = self.options.config
        if not name or name.startswith('.') or os.path.basename(name) != name:
            self.parser.error(f'--config: "{printable(name)}" is not a plain name')
        import platformdirs

        home = platformdirs.user_config_dir(f'sync-{self.appLabel}')
        if not (self.options.describe or self.options.local):
            make_private(home)
        self.dataDir = os.path.join(home, name) + '/'
