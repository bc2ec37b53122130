"""Find out what changed in a directory of notes since the last look.

A file whose stat data are what they were is believed to be what it was; only the others are read.
What is left after that goes through the five passes of :mod:`pysyncml.storage.scan`.
"""

from __future__ import annotations

import functools
import logging
import os
import posixpath
from typing import Any

import pysyncml
from pysyncml.cli.notes.index import NoteRow
from pysyncml.storage import Entry, Found, Ignore, compare, is_racy, stamp

log = logging.getLogger('pysyncml.cli')

#: Fewer deletions than this never raise a question.
FREE_DELETIONS = 10

_OFTEN = 86400.0  # seconds between two times that are written down
_REMEMBERED = 366 * 86400.0  # seconds for which the name of a deleted note is known


class Scan:
    """One look at the directory of a :class:`~pysyncml.cli.notes.agent.NotesAgent`."""

    def __init__(self, agent: Any, store: Any) -> None:
        self.agent = agent
        self.engine = agent.engine
        self.storage = agent.storage
        self.store = store
        self.desk = agent.desk
        self.index = self.desk.index
        self.ignore = Ignore(self.engine.rootDir, self.engine.syncSubdir)
        self.changes: list[tuple[str, int, str | None]] = []
        self.unreadable: set[str] = set()
        self.closed: list[str] = []  # folders that cannot be read, files that cannot be looked at
        self.seen = 0
        self.looks: dict[str, tuple[str, os.stat_result]] = {}

    def run(self) -> None:
        """Look, and register what changed.

        Raises:
            WrongDirectory: the directory is not the one that was synchronised before.
            StoreEmpty: all notes have vanished.
            TooManyDeletions: more notes have vanished than may without a word.
        """
        self._check_identity()
        if not self.engine.readonly:
            self._recover()
        ignore = self.ignore
        known = self.index.stamps()
        suspects = self._walk(known, ignore)
        for path in self.closed:
            self.agent.leave(f'"{path}" cannot be read; it is left as it is')
        missing = [path for path in known if not self._is_hidden(path, ignore)]
        self._look_at(suspects)
        entries = self.index.at([*missing, *(path for path in suspects if path not in known)])
        entries += self.index.at(suspects)
        rows = {row.id: row for row in entries if row.id not in self.agent.unfinished}
        rows = {key: row for key, row in rows.items() if row.path not in self.unreadable}
        self._compare(rows)
        self._give_in()
        self._register()

    # --- before looking -----------------------------------------------------------------------

    def _check_identity(self) -> None:
        work = self.desk.work
        remembered = work.options().get('directory')
        found = self.storage.read_identity()
        if remembered == found and found is not None:
            return
        if remembered is None and found is not None:
            work.set_option('directory', found)
            return
        if remembered is not None and not self.engine.options.allowDeletions:
            raise pysyncml.WrongDirectory(
                f'"{self.engine.place}" is not the directory that was synchronised before.'
                + self._hint('it is all the same')
            )
        if not self.engine.readonly:
            work.set_option('directory', found or self.storage.make_identity())

    def _hint(self, condition: str) -> str:
        """Return what helps; whoever runs a client is told by the program itself."""
        if not self.engine.isServer:
            return ''
        return f' If {condition}, start the server with --allow-deletions.'

    def _recover(self) -> None:
        """Finish what a crash, or a full disk, left undone."""
        lines = self.desk.work.journal_lines(self.desk.name)
        self.agent.unfinished = set()
        if lines:
            self.desk.work.recover(self.desk)
            self.index = self.desk.index = type(self.index)(
                self.engine.model, self.desk.work.connection
            )
            for outcome in self.desk.outcomes:
                if not outcome.ok:
                    self.agent.unfinished.add(outcome.item_id)
                if outcome.key is not None:
                    self.unreadable.add(outcome.key)
            self.unreadable -= {o.key for o in self.desk.outcomes if o.ok}
        self.storage.sweep(self.desk.work.journal_lines(self.desk.name))
        self.desk.work.clear_away()
        self._expire()

    def _expire(self) -> None:
        """Forget what is old, unless the clock may have jumped since the last time."""
        work = self.desk.work
        now, last = work.now, work.options().get('expired')
        if last is None or abs(now - last) > _OFTEN:
            work.set_option('expired', now)
        if last is None or abs(now - last) < _REMEMBERED:
            self.storage.trash.expire()
            self.index.forget_gone(now - _REMEMBERED)

    def _give_in(self) -> None:
        """Let notes that will always have to lie elsewhere be known by the name they have there.

        The others are moved to where they belong when the work is committed.
        """
        places = self.desk.places
        for row in places.waiting():
            if self._stays(row):
                self.changes.append((row.id, pysyncml.ITEM_MODIFIED, places.give_in(row)))

    def _stays(self, row: NoteRow) -> bool:
        """Whether what is in the way of a note will never go: then its other name counts."""
        if self.engine.isServer:
            return True
        fold, wanted = self.agent.fold, self.agent.fold(row.name)
        paths = self.index.stamps()
        alike = [path for path in paths if path != row.name and fold(path) == wanted]
        if any(other.name == other.path for other in self.index.at(alike) if other.id != row.id):
            return True  # this disk takes the two names for one
        if not os.path.isdir(self.agent.full(row.name)):
            return False
        # a note that lies below will be sent away by the server
        return not any(fold(path).startswith(f'{wanted}/') for path in paths)

    # --- looking ------------------------------------------------------------------------------

    def _walk(self, known: dict[str, bytes], ignore: Any) -> dict[str, os.stat_result]:
        """Take all that is unchanged out of *known*; return what has to be looked at."""
        suspects: dict[str, os.stat_result] = {}
        unfinished = {row.path for row in map(self.index.get, self.agent.unfinished) if row}
        pop = known.pop
        for path, stat in self.storage.walk(ignore.skip, self.closed):
            self.seen += 1
            before = pop(path, None)
            if (before is None or before != stamp(stat)) and path not in unfinished:
                suspects[path] = stat
        for path in unfinished:
            known.pop(path, None)
        if self.storage.symlinks and not self.engine.context.options.get('symlinks.told'):
            self.agent.trouble(
                f'symbolic links are not synchronised: {", ".join(self.storage.symlinks[:5])}'
                + (' and others' if len(self.storage.symlinks) > 5 else '')
            )
            self.desk.work.set_option('symlinks.told', True)
        return suspects

    def _is_hidden(self, path: str, ignore: Any) -> bool:
        """Whether a note is out of sight rather than gone: it is left as it is."""
        links = {*self.storage.symlinks, *self.closed}
        parent = path
        while parent:
            if parent in links or ignore.skip(parent, parent != path):
                return True
            parent = posixpath.dirname(parent)
        return False

    def _look_at(self, suspects: dict[str, os.stat_result]) -> None:
        """Read the files that may have changed; what cannot be read is left for the next time."""
        for path in list(suspects):
            try:
                self.looks[path] = self.storage.hash(path)
            except pysyncml.InvalidItem:
                del suspects[path]  # gone meanwhile
                self.unreadable.add(path)
            except (pysyncml.SyncmlError, OSError) as error:
                del suspects[path]
                self.unreadable.add(path)
                reason = str(error)
                if isinstance(error, OSError):
                    reason = f'"{path}" cannot be read: {error.strerror}'
                self.agent.leave(f'{reason}; it is left for the next time')

    # --- what changed -------------------------------------------------------------------------

    def _compare(self, rows: dict[str, NoteRow]) -> None:
        entries = [
            Entry(row.id, row.path, row.sha256, row.inode)
            for row in sorted(rows.values(), key=self._is_elsewhere)
        ]
        found = [
            Found(path, stat.st_ino, functools.partial(str, digest))
            for path, (digest, stat) in self.looks.items()
        ]
        result = compare(entries, found)
        if result.deleted and self._moves_about():
            log.warning('notes are being moved just now: deletions wait for the next time')
            result.deleted.clear()
        moved = [*result.moved_over, *result.renamed]
        # known by their inodes alone, which file systems give to new files when old ones are gone
        doubtful = sum(1 for *_, edited in moved if edited)
        self._guard(len(result.deleted) + doubtful)
        if result.added and not self.engine.readonly:
            self._check_log()
        # deletions come first, as they make room for others on the way, too
        for item_id, _ in result.deleted:
            self.index.remove(item_id)
            self.changes.append((item_id, pysyncml.ITEM_DELETED, None))
        for item_id, path in result.unchanged:
            self._note(rows[item_id], path)
        for item_id, _, path, edited in moved:
            self._changed(rows[item_id], path, edited=edited)
        for item_id, path in result.modified:
            self._changed(rows[item_id], path, edited=True)
        for path in result.added:
            self._added(path)

    def _check_log(self) -> None:
        """See whether new files are new, rather than the index has lost them.

        As new notes they would be doubled by peers that have them already.
        """
        if self.store.itemCount() != self.index.count():
            self.store.mend_log(self.index.ids())
            log.warning(
                'the index of notes was not complete: the next synchronisation compares everything'
            )

    def _is_elsewhere(self, row: NoteRow) -> tuple[bool, bool]:
        """Return False for the note that a file is, should several be said to lie at its path.

        That is so when the user has removed a note's file, and before anybody has looked again
        the peer has sent another note of this name.
        """
        look = self.looks.get(row.path)
        if look is None:
            return False, False
        digest, stat = look
        return row.sha256 != digest, row.inode != stat.st_ino

    def _moves_about(self) -> bool:
        """Whether more files are there now than we saw: one may have been moved behind our back.

        A file that is moved from a folder we had not looked into yet to one we had would look
        deleted.
        """
        return sum(1 for _ in self.storage.walk(self.ignore.skip, [])) > self.seen

    def _guard(self, deleted: int) -> None:
        """Refuse to believe that most notes were deleted on purpose."""
        if not deleted or self.engine.readonly or self.engine.options.allowDeletions:
            return
        total = self.index.count()
        hint = self._hint('they were deleted on purpose')
        if deleted == total:
            raise pysyncml.StoreEmpty(
                f'All {total} notes of "{self.engine.place}" are gone.' + hint
            )
        if deleted > FREE_DELETIONS and deleted * 2 > total:
            raise pysyncml.TooManyDeletions(
                f'{deleted} of {total} notes of "{self.engine.place}" are gone.' + hint
            )

    def _note(self, row: NoteRow, path: str) -> None:
        """Remember where a note lies and by what its file is recognised."""
        digest, stat = self.looks[path]
        row.path, row.sha256 = path, digest
        row.inode, row.lastmod = stat.st_ino, stat.st_mtime
        row.stamp = b'' if is_racy(stat, self._now) else stamp(stat)
        self.index.put(row)

    @property
    def _now(self) -> int:
        if not hasattr(self, '_clock'):
            self._clock = 0 if self.engine.readonly else self.storage.fs_now()
        return self._clock

    def _changed(self, row: NoteRow, path: str, *, edited: bool) -> None:
        old_name = row.name
        if path != row.path:
            row.name = path
        old_body = self.index.base(row.id) if edited and self.engine.isServer else None
        new_body = self._text(path) if self.engine.isServer and edited else None
        spec = None
        if self.engine.isServer and (not edited or None not in (old_body, new_body)):
            spec = self.agent.spec(old_name, row.name, old_body, new_body)
        if self.engine.isServer and edited:
            self.index.set_base(row.id, new_body)
        self._note(row, path)
        if edited or self.engine.options.syncFilename:
            self.changes.append((row.id, pysyncml.ITEM_MODIFIED, spec))

    def _added(self, path: str) -> None:
        row = NoteRow(pysyncml.newID(), path, path, '')
        self._note(row, path)
        if self.engine.isServer:
            self.index.set_base(row.id, self._text(path))
        self.changes.append((row.id, pysyncml.ITEM_ADDED, None))

    def _text(self, path: str) -> bytes | None:
        """Return the text at *path* if it is what was just looked at, and fit for merging."""
        from pysyncml.cli.notes.agent import TEXT_LIMIT, is_text

        if self.looks[path][1].st_size > TEXT_LIMIT:
            return None
        try:
            body, stat = self.storage.read(path)
        except (pysyncml.SyncmlError, OSError):
            return None
        return body if is_text(body) and stamp(stat) == stamp(self.looks[path][1]) else None

    def _register(self) -> None:
        self.store.registerChanges(self.changes)
        log.debug('%d changes', len(self.changes))
