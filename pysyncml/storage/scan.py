"""What happened to a directory: remembered entries and found files in, changes out.

:func:`compare` is pure: it reads no file but through the callable that gives a file's hash.
It finds out which note each file is, from three kinds of evidence: the same path, the same inode,
the same content. None of them is proof. Paths are swapped and taken over, inode numbers are used
again after a deletion, and contents are copied. What decides:

- A file at the remembered path with the remembered content or inode is the same note.
- Elsewhere, inode and content together are stronger than content alone, and content alone is
  stronger than the inode alone.
- A note leaves its path only if nothing is there any more, or what is there is another note.
  So an editor that saves by writing a new file under the old name changes the note, wherever it
  puts the old file as a backup.
- A note loses its path to another one, and is deleted by that, only on strong evidence: the same
  content, and no inode that speaks against it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pysyncml.immutable import immutable

_ROUNDS = 8


@immutable()
class Entry:
    """What is remembered of a note: its id, its path and the file that was last seen there."""

    id: str
    path: str
    sha256: str
    """Hash of the content; empty if unknown."""
    inode: int | None
    """Number of the file in its file system; 0 or ``None`` if unknown."""


@immutable()
class Found:
    """A file that is there now."""

    path: str
    inode: int | None
    """Number of the file in its file system; 0 or ``None`` if unknown."""
    sha256: Callable[[], str]
    """Returns the hash of the content; called once at most. Empty: it could not be read."""


class Move(NamedTuple):
    """A note that goes by another path now."""

    id: str
    old: str
    new: str
    content_changed: bool


@dataclass(slots=True)
class Changes:
    """The difference: each remembered id and each found path is in exactly one of the lists."""

    unchanged: list[tuple[str, str]] = field(default_factory=list)
    """``(id, path)``: same path, same content."""
    moved_over: list[Move] = field(default_factory=list)
    """Notes now at a path that another note had."""
    renamed: list[Move] = field(default_factory=list)
    """Notes now at a path that no note had."""
    modified: list[tuple[str, str]] = field(default_factory=list)
    """``(id, path)``: same path, other content."""
    added: list[str] = field(default_factory=list)
    """Paths of new notes."""
    deleted: list[tuple[str, str]] = field(default_factory=list)
    """``(id, path)``: no longer there; the path may be another note's now."""

    @property
    def moves(self) -> list[Move]:
        """All notes that go by another path now."""
        return self.moved_over + self.renamed


def compare(known: Iterable[Entry], found: Iterable[Found]) -> Changes:
    """Return what became of the *known* notes, and which of the *found* files are new.

    Ids are unique in *known*, paths in *found*. Takes time in proportion to the entries (but for
    sorting those of equal content), and asks for the hash of a file only where it decides.
    Five passes, each on what the ones before it have left:

    1. Same path and same content: unchanged. Same path and same inode: kept for pass 4.
       After it no file is left that is certainly the note of its path.
    2. Notes that moved over another one.
       After it each file left at a remembered path is that note, by lack of better evidence.
    3. Notes that were renamed. Passes 2 and 3 are found together, as the one depends on the other.
       After it no file left can be any other note than the one of its path.
    4. Files left are new, or at a remembered path modified.
       After it each file is in one list.
    5. Notes left are deleted.
       After it each note is in one list.
    """
    return _Comparison(known, found).run()


class _Comparison:
    """The state of one comparison: the notes and files that have not found each other yet."""

    def __init__(self, known: Iterable[Entry], found: Iterable[Found]) -> None:
        self.notes = {entry.id: entry for entry in known}
        self.files = {present.path: present for present in found}
        # Should two notes claim one path, the second one is as good as lost.
        self.at: dict[str, Entry] = {}
        for entry in self.notes.values():
            self.at.setdefault(entry.path, entry)
        self.hashes: dict[str, str] = {}
        self.owners: dict[str, Entry] = {}  # path -> the note from elsewhere that is there now
        self.places: dict[str, str] = {}  # id -> path; the same the other way round
        self.changes = Changes()

    def run(self) -> Changes:
        """Do the five passes."""
        self.find_unchanged()
        self.find_moves()
        self.take_moves()
        for path in self.files:
            entry = self.at.get(path)
            if entry is None or entry.id not in self.notes:
                self.changes.added.append(path)
            else:
                self.changes.modified.append((entry.id, path))
                del self.notes[entry.id]
        for entry in self.notes.values():
            self.changes.deleted.append((entry.id, entry.path))
        return self.changes

    def sha256(self, present: Found) -> str:
        """Return the hash of *present*, asking for it only once."""
        sha256 = self.hashes.get(present.path)
        if sha256 is None:
            sha256 = self.hashes[present.path] = present.sha256()
        return sha256

    def find_unchanged(self) -> None:
        """Settle the files that have the content or the inode of the note of their path."""
        for entry in list(self.notes.values()):
            present = self.files.get(entry.path)
            if present is None or self.at[entry.path] is not entry:
                continue
            if entry.sha256 and entry.sha256 == self.sha256(present):
                self.changes.unchanged.append((entry.id, entry.path))
            elif entry.inode and entry.inode == present.inode:
                self.changes.modified.append((entry.id, entry.path))
            else:
                continue
            self.settle(entry)

    def settle(self, entry: Entry) -> None:
        """Take *entry* and the file at its path out of the comparison."""
        del self.notes[entry.id]
        del self.files[entry.path]

    def home(self, entry: Entry) -> str | None:
        """Return the path of *entry* if it was the note there, and a file is there now."""
        if self.at[entry.path] is entry and entry.path in self.files:
            return entry.path
        return None

    def tenant(self, path: str) -> Entry | None:
        """Return the note that *path* was remembered for, if it is not settled yet."""
        entry = self.at.get(path)
        return entry if entry is not None and entry.id in self.notes else None

    def find_moves(self) -> None:
        """Find for each note that may have left its path the file that it is now.

        A note that turns out to stay frees the file it seemed to be for another note, so what is
        left is matched again. Each round settles some; the last one counts as it is.
        """
        for _ in range(_ROUNDS):
            self.owners.clear()
            self.places.clear()
            if not self.notes:
                return
            self.match()
            if not self.withdraw():
                return
            for entry in list(self.notes.values()):
                path = self.home(entry)
                if path is not None and path not in self.owners:
                    self.changes.modified.append((entry.id, path))
                    self.settle(entry)

    def match(self) -> None:
        """Give each file at most one note from elsewhere, by the best evidence there is."""
        inodes = {entry.inode for entry in self.notes.values() if entry.inode}
        self.pair(
            lambda entry: (entry.inode, entry.sha256) if entry.inode and entry.sha256 else None,
            # Not to ask for the hash of a file that has none of the inodes.
            lambda file: (file.inode, self.sha256(file)) if file.inode in inodes else None,
        )
        self.pair(lambda entry: entry.sha256 or None, lambda file: self.sha256(file) or None)
        self.pair(lambda entry: entry.inode or None, lambda file: file.inode or None)

    def pair(
        self,
        note_key: Callable[[Entry], Hashable],
        file_key: Callable[[Found], Hashable],
    ) -> None:
        """Match the unmatched notes and files that have the same key; ``None`` matches nothing."""
        notes: dict[Hashable, list[Entry]] = defaultdict(list)
        for entry in self.notes.values():
            if entry.id not in self.places and (key := note_key(entry)) is not None:
                notes[key].append(entry)
        if not notes:
            return
        files: dict[Hashable, list[Found]] = defaultdict(list)
        for path, present in self.files.items():
            if path not in self.owners and (key := file_key(present)) in notes:
                files[key].append(present)
        for key, presents in files.items():
            for entry, present in self.pairs(notes[key], presents):
                self.owners[present.path] = entry
                self.places[entry.id] = present.path

    def pairs(self, notes: list[Entry], files: list[Found]) -> Iterator[tuple[Entry, Found]]:
        """Yield who goes with whom among equals: the same last component first, then in order.

        Notes whose path is gone come before others, and so do files at paths that are new. Paths
        are ordered from their ends, so that renamed folders with the same files keep their order.
        """
        if len(notes) > 1:
            notes.sort(key=lambda entry: (self.home(entry) is not None, _backwards(entry.path)))
        if len(files) > 1:
            files.sort(
                key=lambda present: (
                    self.tenant(present.path) is not None,
                    _backwards(present.path),
                )
            )
        if len(notes) == len(files) == 1:
            yield notes[0], files[0]
            return
        by_name: dict[str, deque[Found]] = defaultdict(deque)
        for present in files:
            by_name[_last(present.path)].append(present)
        others = []
        matched = set()
        for entry in notes:
            same = by_name.get(_last(entry.path))
            if same:
                present = same.popleft()
                matched.add(present.path)
                yield entry, present
            else:
                others.append(entry)
        yield from zip(others, (one for one in files if one.path not in matched), strict=False)

    def withdraw(self) -> bool:
        """Take back the matches that may not stand; return whether there were any.

        A match stands if the note's own path is gone or another note's by a match that stands;
        and if the note it puts out of its path has a place elsewhere, or the evidence is strong.
        What is left is the largest such set, so that notes in a circle may all move.
        """
        doubtful = list(self.owners)
        withdrawn = False
        while doubtful:
            path = doubtful.pop()
            entry = self.owners.get(path)
            if entry is None or self.stands(path, entry):
                continue
            withdrawn = True
            del self.owners[path]
            del self.places[entry.id]
            tenant = self.tenant(path)
            if tenant is not None and tenant.id in self.places:
                doubtful.append(self.places[tenant.id])
            doubtful.append(entry.path)
        return withdrawn

    def stands(self, path: str, entry: Entry) -> bool:
        """Return whether the match of *entry* with the file at *path* stands, as things are."""
        home = self.home(entry)
        if home is not None and home not in self.owners:
            return False
        tenant = self.tenant(path)
        return tenant is None or tenant.id in self.places or self.is_strong(path, entry)

    def is_strong(self, path: str, entry: Entry) -> bool:
        """Return whether the file at *path* has the content of *entry*, and no other inode."""
        present = self.files[path]
        if not entry.sha256 or entry.sha256 != self.sha256(present):
            return False
        return not entry.inode or not present.inode or entry.inode == present.inode

    def take_moves(self) -> None:
        """Settle the matches that stand as moved over another note, or renamed."""
        for path, entry in self.owners.items():
            sha256 = self.sha256(self.files.pop(path))
            changed = not sha256 or sha256 != entry.sha256
            over = path in self.at
            target = self.changes.moved_over if over else self.changes.renamed
            target.append(Move(entry.id, entry.path, path, changed))
            del self.notes[entry.id]


def _backwards(path: str) -> list[str]:
    """Return the components of *path*, the last one first."""
    return path.split('/')[::-1]


def _last(path: str) -> str:
    """Return the last component of *path*."""
    return path[path.rfind('/') + 1 :]
