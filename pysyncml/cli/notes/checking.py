"""--check-state, as far as notes are concerned: the index, the files, and the journal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pysyncml
from pysyncml.storage import stamp
from pysyncml.storage.batch import Operation

Found = tuple[str, str]


class IndexCheck:
    """One examination of what a :class:`~pysyncml.cli.notes.agent.NotesAgent` remembers."""

    def __init__(self, agent: Any) -> None:
        self.agent = agent
        self.desk = agent.desk
        self.index = self.desk.index

    def run(self) -> list[Found]:
        """Examine, mend, and return what was wrong."""
        return [*self._identity(), *self._journal(), *self._doubles(), *self._files()]

    def _identity(self) -> Iterator[Found]:
        remembered = self.desk.work.options().get('directory')
        found = self.agent.storage.read_identity()
        if remembered is not None and remembered != found:
            yield 'the directory is not the one that was synchronised before', ''

    def _journal(self) -> Iterator[Found]:
        """Lines that nobody can read hold up what they were about for ever."""
        lines = self.desk.work.journal_lines(self.desk.name)
        wrong = [line for line in lines if not _is_operation(line)]
        if wrong:
            named = ' '.join(line for line in lines if line not in wrong)
            self.agent.storage.keep_staged(named)
            self.desk.work.strike(self.desk.name, wrong)
            done = 'taken away; what they may have been about is in the trash'
            yield f'{len(wrong)} lines of the journal make no sense', done

    def _doubles(self) -> Iterator[Found]:
        """Two notes at one place: one of them would be taken for deleted."""
        for path in self.index.doubles():
            rows = self.index.at([path])
            rows.sort(key=lambda row: (row.name != path, row.id))
            for row in rows[1:]:
                self.index.drop(row.id)
            yield f'{len(rows)} notes are said to lie at "{path}"', 'one of them is kept'

    def _files(self) -> Iterator[Found]:
        """A file that is not what it is said to be is looked at by the next scan."""
        for row in self.index:
            if row.id in self.agent.unfinished or not row.stamp:
                continue
            try:
                digest, stat = self.agent.storage.hash(row.path)
            except (pysyncml.SyncmlError, OSError):
                continue  # gone, or busy: that is for the next scan to tell
            if digest != row.sha256 and row.stamp == stamp(stat):
                row.stamp = b''
                self.index.put(row)
                what = f'"{row.path}" is not what the index says, though its times are'
                yield what, 'the next synchronisation sends it'


def _is_operation(line: str) -> bool:
    try:
        Operation.of_line(line)
    except ValueError:
        return False
    return True
