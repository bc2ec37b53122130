"""Find out what changed in a directory of notes since the last look.

A file whose stat data are what they were is believed to be what it was; only the others are read.
What is left after that goes through the five passes of :mod:`pysyncml.storage.scan`.
"""

from __future__ import annotations

import functools
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import pysyncml
from pysyncml.cli.notes.index import NoteRow, decode
from pysyncml.cli.notes.places import folders_above
from pysyncml.cli.notes.recent import LONGEST
from pysyncml.storage import Entry, Found, Ignore, compare, is_racy, stamp

log = logging.getLogger('pysyncml.cli')

#: Fewer deletions than this never raise a question.
FREE_DELETIONS = 10

_ROWS = 1000  # of the index that are read at a time
_AT_ONCE, _BYTES = 1000, 8 << 20  # changes, and bytes of texts, that are written at a time
_OFTEN = 86400.0  # seconds between two times that are written down
_REMEMBERED = 366 * 86400.0  # seconds for which the name of a deleted note is known


class Look(NamedTuple):
    """What a file was found to be: its content, and by what it is recognised."""

    sha256: str
    size: int  # bytes
    inode: int
    modified: float  # seconds since 1970
    stamp: bytes
    racy: bool  # it may yet change without that showing in its stamp


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
        self.looks: dict[str, Look] = {}
        self._bytes = 0  # of texts that wait to be written

    def run(self) -> None:
        """Look, and register what changed.

        Raises:
            WrongDirectory: the directory is not the one that was synchronised before.
            StoreEmpty: all notes have vanished.
            TooManyDeletions: more notes have vanished than may without a word.
        """
        self.agent.recent.clear()
        self._check_identity()
        if not self.engine.readonly:
            self._recover()
        suspects, missing, elsewhere = self._walk()
        for path in self.closed:
            self.agent.leave(f'"{path}" cannot be read; it is left as it is')
        missing = self._in_sight(missing)
        lost = self.index.at(missing)
        renamed = _same_files(lost, elsewhere)
        if renamed:
            found = {row.id for row in renamed.values()}
            lost = [row for row in lost if row.id not in found]
            suspects = [path for path in suspects if path not in renamed]
        entries = lost + self.index.at(suspects)
        if not entries and not renamed:
            self._take_in(suspects)
        else:
            self._look_at(suspects)
            rows = {row.id: row for row in entries if row.id not in self.agent.unfinished}
            rows = {key: row for key, row in rows.items() if row.path not in self.unreadable}
            self._compare(rows, renamed)
        suspects.clear()
        self.looks.clear()
        if self.engine.isServer:
            self.agent.recent.clear()  # it sends nothing of its own accord
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
            self._forget_rows()
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
                self._change(row.id, pysyncml.ITEM_MODIFIED, places.give_in(row))

    def _stays(self, row: NoteRow) -> bool:
        """Whether what is in the way of a note will never go: then its other name counts."""
        if self.engine.isServer:
            return True
        fold, wanted = self.agent.fold, self.agent.fold(row.name)
        paths = self.index.paths()
        alike = [path for path in paths if path != row.name and fold(path) == wanted]
        if any(other.name == other.path for other in self.index.at(alike) if other.id != row.id):
            return True  # this disk takes the two names for one
        if not os.path.isdir(self.agent.full(row.name)):
            return False
        # a note that lies below will be sent away by the server
        return not any(fold(path).startswith(f'{wanted}/') for path in paths)

    # --- looking ------------------------------------------------------------------------------

    def _walk(self) -> tuple[list[str], list[str], list[tuple[str, bytes]]]:
        """Return the paths of files that have to be looked at, and those of notes without a file.

        Third, of the former those that have the stamp of one of the latter, with that stamp: files
        of a folder that was renamed. Files and rows of the index come in one order, so that few
        have to wait for each other.
        """
        comparison = _Stamps()
        fetch = self.index.stamps()
        for files in self._runs(self.closed):
            self.seen += len(files)
            comparison.take_in(files, fetch(len(files)))
        while rows := fetch(_ROWS):
            comparison.take_in([], rows)
        if self.storage.symlinks and not self.engine.context.options.get('symlinks.told'):
            self.agent.trouble(
                f'symbolic links are not synchronised: {", ".join(self.storage.symlinks[:5])}'
                + (' and others' if len(self.storage.symlinks) > 5 else '')
            )
            self.desk.work.set_option('symlinks.told', True)
        unfinished = {row.path for row in map(self.index.get, self.agent.unfinished) if row}
        unfinished |= self.unreadable  # those are on their way elsewhere, or into the trash
        suspects = sorted({*comparison.differing, *comparison.files} - unfinished)
        missing = [path for path in comparison.rows if path not in unfinished]
        return suspects, missing, comparison.elsewhere()

    def _runs(self, unreadable: list[str]) -> Iterator[list[tuple[str, bytes]]]:
        return self.storage.runs(self.ignore.skip, unreadable, self.ignore.skips_none)

    def _in_sight(self, missing: list[str]) -> list[str]:
        """Return those that are gone; what is only out of sight is left as it is."""
        links = {*self.storage.symlinks, *self.closed}
        return [
            path
            for path in missing
            if not (links and links.intersection((path, *folders_above(path))))
            and not self.ignore.ignored(path)
        ]

    def _look_at(self, suspects: list[str]) -> None:
        """Read the files that may have changed; what cannot be read is left for the next time."""
        # by the clock from before: what changes from now on is looked at again
        now = self.storage.fs_now() if suspects and not self.engine.readonly else 0
        for path in suspects:
            try:
                digest, stat, text = self.storage.look(path, LONGEST, self.desk.files)
                if text is not None:
                    self.agent.recent.keep(digest, text)
                seen = stamp(stat)
                self.looks[path] = Look(
                    digest, stat.st_size, stat.st_ino, stat.st_mtime, seen, is_racy(seen, now)
                )
            except pysyncml.InvalidItem:
                self.unreadable.add(path)  # gone meanwhile
            except (pysyncml.SyncmlError, OSError) as error:
                self.unreadable.add(path)
                reason = str(error)
                if isinstance(error, OSError):
                    reason = f'"{path}" cannot be read: {error.strerror}'
                self.agent.leave(f'{reason}; it is left for the next time')

    # --- what changed -------------------------------------------------------------------------

    def _compare(self, rows: dict[str, NoteRow], renamed: dict[str, NoteRow]) -> None:
        """Find out what changed in *rows*, and register it with what is *renamed* for certain."""
        entries = [
            Entry(row.id, row.path, row.sha256, row.inode)
            for row in sorted(rows.values(), key=self._is_elsewhere)
        ]
        found, strangers = self._related(entries)
        result = compare(entries, found)
        if result.deleted and self._moves_about():
            log.warning('notes are being moved just now: deletions wait for the next time')
            result.deleted.clear()
        moved = [*result.moved_over, *result.renamed]
        # known by their inodes alone, which file systems give to new files when old ones are gone
        doubtful = sum(1 for *_, edited in moved if edited)
        self._guard(len(result.deleted) + doubtful)
        added = sorted(result.added + strangers)
        if added and not self.engine.readonly:
            self._check_log()
        # deletions come first, as they make room for others on the way, too
        for item_id, _ in result.deleted:
            self.index.remove(item_id)
            self._change(item_id, pysyncml.ITEM_DELETED)
        for item_id, path in result.unchanged:
            self._note(rows[item_id], path)
        for path, row in renamed.items():
            self._renamed(row, path)
        for item_id, _, path, edited in moved:
            row = rows[item_id]
            if edited:
                self._changed(row, path)
            else:
                self._note(row, path)
                self._renamed(row, path)
        for item_id, path in result.modified:
            self._changed(rows[item_id], path)
        for path in added:
            self._added(path)

    def _take_in(self, paths: list[str]) -> None:
        """Add files of which none can be a note that we know, some at a time.

        So memory does not hold what there is to know of all of them: in a first scan that is much.
        """
        if paths and not self.engine.readonly:
            self._check_log()
        for start in range(0, len(paths), _AT_ONCE):
            self.looks.clear()
            self._look_at(paths[start : start + _AT_ONCE])
            for path in sorted(self.looks):
                self._added(path)

    def _related(self, entries: list[Entry]) -> tuple[list[Found], list[str]]:
        """Return the files that may be one of these notes, and the paths of all others.

        A file with another path, another inode and another content than any of them is new.
        """
        paths = {entry.path for entry in entries}
        inodes = {entry.inode for entry in entries}
        contents = {entry.sha256 for entry in entries}
        found, strangers = [], []
        for path, look in self.looks.items():
            if path in paths or look.inode in inodes or look.sha256 in contents:
                found.append(Found(path, look.inode, functools.partial(str, look.sha256)))
            else:
                strangers.append(path)
        return found, strangers

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
        return row.sha256 != look.sha256, row.inode != look.inode

    def _moves_about(self) -> bool:
        """Whether more files are there now than we saw: one may have been moved behind our back.

        A file that is moved from a folder we had not looked into yet to one we had would look
        deleted.
        """
        return sum(map(len, self._runs([]))) > self.seen

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
        look = self.looks[path]
        row.path, row.sha256 = path, look.sha256
        row.inode, row.lastmod = look.inode, look.modified
        row.stamp = b'' if look.racy else look.stamp
        self.index.put(row)

    def _changed(self, row: NoteRow, path: str) -> None:
        """The content of a note is another one, and perhaps it has another path as well."""
        old_name = row.name
        if path != row.path:
            row.name = path
        spec = None
        if self.desk.keeps_texts:
            old_body, new_body = self.index.base(row.id), self._text(path)
            if None not in (old_body, new_body):
                spec = self.agent.spec(old_name, row.name, old_body, new_body)
            self._keep_base(row, new_body)
        self._note(row, path)
        self._change(row.id, pysyncml.ITEM_MODIFIED, spec)

    def _renamed(self, row: NoteRow, path: str) -> None:
        """A note has another path, and its content is what it was."""
        spec = self.agent.spec(row.name, path, None, None) if self.desk.keeps_texts else None
        row.name = row.path = path
        self.index.put(row)
        if self.engine.options.syncFilename:
            self._change(row.id, pysyncml.ITEM_MODIFIED, spec)

    def _added(self, path: str) -> None:
        row = NoteRow(pysyncml.newID(), path, path, '')
        self._note(row, path)
        if self.desk.keeps_texts:
            self._keep_base(row, self._text(path))
        self._change(row.id, pysyncml.ITEM_ADDED)

    def _keep_base(self, row: NoteRow, body: bytes | None) -> None:
        self.index.set_base(row.id, body)
        self._bytes += len(body or b'')

    def _change(self, item_id: str, state: int, spec: str | None = None) -> None:
        """Register a change, many at once: memory holds no more of them than that."""
        self.changes.append((item_id, state, spec))
        if len(self.changes) >= _AT_ONCE or self._bytes >= _BYTES:
            self._register()

    def _text(self, path: str) -> bytes | None:
        """Return the text at *path* if it is what was just looked at, and fit for merging."""
        from pysyncml.cli.notes.agent import TEXT_LIMIT, is_text

        look = self.looks[path]
        if look.size > TEXT_LIMIT:
            return None
        body = self.agent.recent.take(look.sha256)
        if body is None:
            try:
                body, stat = self.storage.read(path, self.desk.files)
            except (pysyncml.SyncmlError, OSError):
                return None
            if stamp(stat) != look.stamp:
                return None
        return body if is_text(body) else None

    def _register(self) -> None:
        self.store.registerChanges(self.changes)
        log.debug('%d changes', len(self.changes))
        self.changes.clear()
        self._bytes = 0
        self.index.flush()
        self._forget_rows()
        self.engine.context.save()

    def _forget_rows(self) -> None:
        """Go on with an index that has nothing in memory."""
        index = type(self.index)(self.engine.model, self.desk.work.connection)
        self.index = self.desk.index = index


def _same_files(rows: list[NoteRow], files: list[tuple[str, bytes]]) -> dict[str, NoteRow]:
    """Return which of the *files* are certainly those of *rows*, by their paths.

    They have the stamps of rows whose files are gone, each of them alone: so they have not been
    touched, and their folders have been renamed. (Links to one file have one stamp.)
    """
    of_rows = Counter(row.stamp for row in rows)
    of_files = Counter(now for _, now in files)
    by_stamp = {row.stamp: row for row in rows if of_rows[row.stamp] == 1}
    return {path: by_stamp[now] for path, now in files if now in by_stamp and of_files[now] == 1}


class _Stamps:
    """Files and rows of the index that have not met: the rest of two lists of path and stamp.

    Each waits until the other one of its path has come, in whatever order that is. But rows come
    by path: so two of one path come one after the other.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.rows: dict[str, bytes | None] = {}
        self.differing: list[str] = []
        self._last: str | None = None  # the path of the last row, as it is written

    def elsewhere(self) -> list[tuple[str, bytes]]:
        """Return path and stamp of files that have the stamp of a row of another path."""
        stamps = {before for before in self.rows.values() if before}
        return [(path, now) for path, now in self.files.items() if now in stamps]

    def take_in(
        self, files: Sequence[tuple[str, bytes]], rows: Sequence[tuple[str, bytes | None]]
    ) -> None:
        """Take in files and rows, of which most are equal, most often all."""
        if files != rows:
            for file, row in zip_longest(files, rows):
                if file != row or row[0] == self._last:
                    self._differ(file, row)
                self._last = row[0] if row is not None else None
        elif rows:
            self._last = rows[-1][0]

    def _differ(self, file: tuple[str, bytes] | None, row: tuple[str, bytes | None] | None) -> None:
        if file is not None:
            path, now = file
            if path not in self.rows:
                self.files[path] = now
            elif self.rows.pop(path) != now:
                self.differing.append(path)
        if row is not None:
            path, before = decode(row[0]), row[1]
            if row[0] == self._last:
                self._doubled(path)
            elif path not in self.files:
                self.rows[path] = before
            elif self.files.pop(path) != before:
                self.differing.append(path)

    def _doubled(self, path: str) -> None:
        """Another row of the same path: whichever of them the file is, it has to be looked at."""
        if path in self.rows:
            self.rows[path] = None
        else:
            self.files.pop(path, None)
            self.differing.append(path)
