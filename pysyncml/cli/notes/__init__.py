"""sync-notes: keep the notes in a directory in step with other devices and servers.

Each file is a note. The program is an engine, :class:`NotesEngine`, which says what it is called
and what it has to remember; and an agent, :class:`~pysyncml.cli.notes.agent.NotesAgent`, which
knows how notes lie in the directory. All else is :mod:`pysyncml.cli`.
"""

from __future__ import annotations

import gc
from typing import Any

import pysyncml
import pysyncml.cli


class NotesEngine(pysyncml.cli.DirectorySyncEngine):
    """The program ``sync-notes``."""

    itemNoun = 'note'

    def __init__(self, **values: Any) -> None:
        super().__init__(
            appLabel='notes',
            appDisplay='Note Synchronizer',
            devinfoParams={
                'softwareVersion': pysyncml.versionString,
                'manufacturerName': 'pysyncml',
                'modelName': 'sync-notes',
                'hierarchicalSync': False,
            },
            **values,
        )

    @pysyncml.cli.hook('options.setup.term')
    def add_options(self) -> None:
        """Add what only notes need."""
        self.parser.description = (
            'Keep the notes in a directory in step with other devices, using SyncML. '
            'Each file is a note; sub-folders are synchronised, too.'
        )
        self.parser.add_argument(
            '-F',
            '--no-filename-sync',
            dest='syncFilename',
            default=True,
            action='store_false',
            help='do not send a note when only its name has changed (remembered)',
        )

    @pysyncml.cli.hook('options.persist.save')
    def save_options(self, options: dict[str, Any]) -> None:
        """Have the program's own option remembered."""
        options['syncFilename'] = self.options.syncFilename

    @pysyncml.cli.hook('describe')
    def describe_notes(self, stream: Any) -> None:
        """Say how the program is set up."""
        words = 'yes' if self.options.syncFilename else 'no'
        stream.write(f'Sync filename-only changes: {words}\n')

    @pysyncml.cli.hook('model.setup.extend')
    def add_models(self) -> None:
        """Add the index of notes, and the agent that needs it."""
        from pysyncml.cli.notes.agent import NotesAgent
        from pysyncml.cli.notes.index import make_models

        make_models(self.model)
        if self.agent is None:
            self.agent = NotesAgent(self)

    @pysyncml.cli.hook('adapter.create.store')
    def scan_notes(self, context: Any, adapter: Any, store: Any) -> None:
        """Look for changes in the directory, each time before synchronising."""
        may_wait = self.deferred is not None and self.agent.is_at_rest(store)
        if not (may_wait and self.defer(lambda: self.agent.scan(store))):
            self.agent.scan(store)

    @pysyncml.cli.hook('sync.term')
    def tell_what_is_left(self, adapter: Any, stats: Any) -> None:
        """Count the notes that had to be left for the next time."""
        for row in list(stats.values())[:1]:
            row.hereErr += len(self.agent.left)
            row.problems += self.agent.left


def main(argv: list[str] | None = None) -> int:
    """Run sync-notes; return its exit code."""
    # a start and each message make many objects that go by themselves: looking for cycles among
    # them at every 700th costs more than a tenth of all time, and finds little; but each message
    # leaves some, as queries know themselves, and they hold its ids and lines
    gc.set_threshold(5_000)
    gc.disable()  # what a start makes stays
    try:
        engine = NotesEngine().configure(argv)
        gc.freeze()
    finally:
        gc.enable()
    return engine.run()


def application(directory: str, *arguments: str) -> Any:
    """Return sync-notes serving *directory* as a WSGI application, for any WSGI server to run.

    *arguments* are options as on the command line.
    """
    return NotesEngine().configure(['--server', *arguments, directory]).wsgi()
