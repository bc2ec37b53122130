"""Which note lies where: names are what devices agree on, paths are where there is room.

A note whose name is taken waits under another path, as names go from note to note in any order
while a peer's changes come in: swaps, chains, a folder where a note was. Whenever something has
become free, those that wait are looked at together.
"""

from __future__ import annotations

import os
import stat as kinds
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pysyncml.cli.notes.index import NoteRow
from pysyncml.storage import free_name

if TYPE_CHECKING:
    from pysyncml.cli.notes.agent import Desk


class Places:
    """The places that notes take and leave in one unit of work."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.agent = desk.agent
        self._claimed: dict[str, str] = {}  # place → the note that will lie there
        self._folders: Counter[str] = Counter()  # how many of these lie below a folder
        self._freed: set[str] = set()  # places that will be left
        self._origins: dict[str, str] = {}  # note → where its file lies until the commit
        self._free_folders: set[str] = set()  # nothing is in their way, whichever note asks
        self._new_folders: set[str] = set()  # not there yet, so that there is nothing in them

    def copy(self) -> Places:
        """Return the same places, on which what happens from now on has no effect."""
        other = Places(self.desk)
        other._claimed = dict(self._claimed)
        other._folders = Counter(self._folders)
        other._freed = set(self._freed)
        other._origins = dict(self._origins)
        return other

    # --- looking ------------------------------------------------------------------------------

    def is_taken(self, path: str, row: NoteRow | None = None) -> bool:
        """Return whether something other than *row* lies, or will lie, at *path*."""
        return next(self._in_the_way(path, row), None) is not None

    def obstacles(self, path: str, row: NoteRow | None = None) -> set[str]:
        """Return the places of all that keeps *row* from *path*: there, above it, and below it."""
        found = set(self._in_the_way(path, row))
        for folder in folders_above(path):
            if self._is_note(folder, row):
                found.add(self.agent.fold(folder))
        return found

    def _in_the_way(self, path: str, row: NoteRow | None) -> Iterator[str]:
        key = self.agent.fold(path)
        if self._owner(key, row) is not None:
            yield key
        if self._folders[key] > 0:
            below = f'{key}/'
            for other, owner in self._claimed.items():
                if other.startswith(below) and not _is(row, owner):
                    yield other
        if key.rpartition('/')[0] in self._new_folders:
            return
        full = self.agent.full(path)
        try:
            there = os.lstat(full)
        except OSError:
            return
        if not kinds.S_ISDIR(there.st_mode):
            if not self._goes(key, row):
                yield key
            return
        for name in _below(full):
            inner = self.agent.fold(f'{path}/{name}')
            if not self._goes(inner, row):
                yield inner

    def _owner(self, key: str, row: NoteRow | None) -> str | None:
        """Return the note, other than *row*, that will lie at *key*."""
        owner = self._claimed.get(key)
        return None if owner is None or _is(row, owner) else owner

    def _goes(self, key: str, row: NoteRow | None) -> bool:
        """Whether the file that lies at *key* now will not be in the way of *row*."""
        return key in self._freed or (row is not None and self.agent.fold(row.path) == key)

    def _is_note(self, path: str, row: NoteRow | None) -> bool:
        """Whether at *path*, where a folder is wanted, something else lies or will lie."""
        key = self.agent.fold(path)
        if key in self._claimed:
            return self._owner(key, row) is not None
        full = self.agent.full(path)
        try:
            there = os.lstat(full)
        except FileNotFoundError:
            self._new_folders.add(key)
            return False
        except OSError:
            return False
        if kinds.S_ISDIR(there.st_mode) or os.path.isdir(full):
            return False
        return not self._goes(key, row)

    def find(self, name: str, row: NoteRow | None = None) -> str:
        """Return the path for a note called *name*: that name, unless something is in the way."""
        folder, _, _ = name.rpartition('/')
        if folder:
            name = self._passable(folder, row) + name[len(folder) :]
        return free_name(name, lambda path: self.is_taken(path, row))

    def _passable(self, folder: str, row: NoteRow | None) -> str:
        """Return *folder*, with another name for a part of it that is a note."""
        key = self.agent.fold(folder)
        if key in self._free_folders:
            return folder
        parts = folder.split('/')
        for count in range(1, len(parts) + 1):
            path = '/'.join(parts[:count])
            parts[:count] = free_name(path, lambda path: self._is_note(path, row)).split('/')
        found = '/'.join(parts)
        keys = {key, *folders_above(key)}
        if found == folder and (row is None or self.agent.fold(row.path) not in keys):
            self._free_folders |= keys
        return found

    # --- taking and leaving -------------------------------------------------------------------

    def claim(self, row: NoteRow, path: str) -> None:
        """Note that *row* will lie at *path*, and leave where it is."""
        if row.path != path:
            self._origins.setdefault(row.id, row.path)
            self.leave(row)
        key = self.agent.fold(path)
        if key not in self._claimed:
            for folder in folders_above(key):
                self._folders[folder] += 1
        if key in self._free_folders:
            self._free_folders.clear()
        self._claimed[key] = row.id
        self._freed.discard(key)

    def leave(self, row: NoteRow) -> None:
        """Note that *row* will not lie at its path any more."""
        key = self.agent.fold(row.path)
        if self._claimed.get(key) == row.id:
            del self._claimed[key]
            self._folders.subtract(folders_above(key))
        if key not in self._claimed:
            self._freed.add(key)

    def origin(self, row: NoteRow) -> str:
        """Return where the file of *row* lies now, whatever its path will be."""
        return self._origins.get(row.id, row.path)

    # --- those that wait ----------------------------------------------------------------------

    def waiting(self) -> list[NoteRow]:
        """Return the notes that do not lie where their names say."""
        found = self.desk.index.misplaced()
        return [row for row in found if row.id not in self.agent.unfinished]

    def settle(self) -> None:
        """Move notes to where their names say, as far as that has become free.

        Names may go round in circles, so all those that wait are looked at together: a place is
        free when the note that lies there waits as well and can go.
        """
        waiting = self.waiting()
        if not waiting:
            return
        movers = self._movers(waiting)
        for row in movers:
            self._origins.setdefault(row.id, row.path)
            self.leave(row)
        for row in movers:
            target = row.name
            if self.obstacles(target, row):  # one of those that were moved before has come there
                taken = self.is_taken(row.path, row)
                target = self.find(row.name, row) if taken else row.path
            if target != row.path:
                self.desk.batch.move(row.id, row.path, target, expect=row.stamp or None)
            self.claim(row, target)
            if target != row.path:
                row.path = target
                self.desk.index.put(row)

    def _movers(self, waiting: list[NoteRow]) -> list[NoteRow]:
        """Return those that can go to where they belong, if they all go together."""
        fold = self.agent.fold
        at = {fold(row.path): row.id for row in waiting}
        first: dict[str, NoteRow] = {}
        for row in waiting:
            first.setdefault(fold(row.name), row)
        needs = {row.id: self.obstacles(row.name, row) for row in first.values()}
        stuck: Any = True
        while stuck:
            stuck = [
                key for key, need in needs.items() if any(at.get(n) not in needs for n in need)
            ]
            for key in stuck:
                del needs[key]
        return [row for row in first.values() if row.id in needs]

    def give_in(self, row: NoteRow) -> str:
        """Make the name of a note what its path is; return the change-spec of that.

        It says that nothing has changed: a name that somebody wants instead is no conflict.
        """
        row.name = row.path
        self.desk.index.put(row)
        return ''


def _is(row: NoteRow | None, item_id: str) -> bool:
    return row is not None and row.id == item_id


def folders_above(path: str) -> list[str]:
    """Return the folders above *path* but for the root, the outermost first."""
    found = []
    end = path.find('/')
    while end >= 0:
        found.append(path[:end])
        end = path.find('/', end + 1)
    return found


def _below(top: str) -> Iterator[str]:
    """Yield what lies below the folder *top*, relative to it; empty folders count as nothing."""
    for folder, _, names in os.walk(top):
        start = os.path.relpath(folder, top)
        prefix = '' if start == os.curdir else start.replace(os.sep, '/') + '/'
        for name in names:
            yield prefix + name
