"""What a synchronisation replaces or deletes is kept for a while.

It lies in ``STATE/trash/<UTC time>-<number>/<key>``, where every file keeps its name, so that
people find it with their own tools too.
"""

from __future__ import annotations

import calendar
import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pysyncml.errors import InvalidItem
from pysyncml.storage.files import Blocked, Spot, Tree, lstat_at, parent_of, parts_of, sync
from pysyncml.storage.spool import Arrived

_SLOT = re.compile(r'(\d{8}T\d{6}Z)-(\d+)')
_TIME = '%Y%m%dT%H%M%SZ'
_DAY = 86400
_SANE = 1577836800.0  # no clock that is set right says less: it is 2020-01-01


class TrashEntry(NamedTuple):
    """A file in the trash.

    ``name`` is the key it had, ``path`` says which one of that name it is, ``when`` it was put
    there (seconds since 1970) and its ``size`` in bytes.
    """

    name: str
    path: str
    when: float
    size: int


Entries = list[TrashEntry]


class Slot:
    """A folder in the trash for what goes there together; made when it is first needed."""

    def __init__(self, state: Tree, clock: Callable[[], float]) -> None:
        self._state = state
        self._clock = clock
        self._base = ''
        self.folders: set[str] = set()

    def ready(self, key: str) -> str:
        """Make a place for *key* that is free; return where, as a key of the state folder.

        Whatever could go wrong for want of room or of rights goes wrong here, when nothing has
        been taken away yet.
        """
        while True:
            self._base = self._base or self._new_base()
            place = f'{self._base}/{key}'
            try:
                with self._state.at(place, create=True) as spot:
                    if lstat_at(spot) is None:
                        self.folders.add(place.rpartition('/')[0])
                        return place
            except Blocked:
                pass  # a file of the same name went there before
            self._base = ''

    def put(self, old: Spot, key: str) -> str:
        """Move the file in *old* into the trash; return where it is, in the state folder."""
        place = self.ready(key)
        with self._state.at(place, create=True) as spot:
            # nobody else puts anything into this slot
            os.rename(old.name, spot.name, src_dir_fd=old.fd, dst_dir_fd=spot.fd)
        return place

    def _new_base(self) -> str:
        moment = time.strftime(_TIME, time.gmtime(self._clock()))
        number = 0
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._state.path('trash'), 0o700)
        while True:
            number += 1
            base = f'trash/{moment}-{number}'
            with self._state.at(base, create=True) as spot:
                try:
                    os.mkdir(spot.name, 0o700, dir_fd=spot.fd)
                except FileExistsError:
                    continue
            return base

    def paths(self) -> Iterator[str]:
        """Yield the folders that files went to, and those they are in, for syncing."""
        for folder in self.folders:
            while folder:
                yield self._state.path(folder)
                folder = folder.rpartition('/')[0]


class Trash:
    """The trash of a directory.

    Args:
        files: the directory.
        state: its state folder.
        days: how long things are kept; nothing is thrown away if it is negative.
        clock: tells the time in seconds since 1970.
        ready: called before anything is written, to make the state folder.
        check: tells whether something may be restored under a name, or raises InvalidName.
    """

    def __init__(
        self,
        files: Tree,
        state: Tree,
        *,
        days: float,
        clock: Callable[[], float],
        ready: Callable[[], None],
        check: Callable[[str], None],
    ) -> None:
        self.days = days
        self._files = files
        self._state = state
        self._clock = clock
        self._ready = ready
        self._check = check

    def slot(self) -> Slot:
        """Return a new folder to put things into that go to the trash together."""
        return Slot(self._state, self._clock)

    def list(self) -> Entries:
        """Return what is in the trash, the newest first."""
        entries: Entries = []
        for name, when in self._slots():
            top = self._state.path(f'trash/{name}')
            for key, size in _files_below(top, ''):
                entries.append(TrashEntry(key, f'{name}/{key}', when, size))
        return entries

    def restore(self, name: str) -> str:
        """Bring a file back; return the key it has now: its own, or a free one near it.

        *name* is the key it had (the newest of that name is taken), or the ``path`` of an entry.

        Raises:
            InvalidItem: there is no such file in the trash.
        """
        entries = self.list()
        entry = next((e for e in entries if e.path == name), None)
        entry = next((e for e in entries if e.name == name), None) if entry is None else entry
        if entry is None:
            raise InvalidItem(f'there is no "{name}" in the trash')
        self._check(entry.name)
        place = f'trash/{entry.path}'
        with self._state.at(place) as spot:
            key = self._files.place(spot, entry.name)
        folders = [*_up(self._files, key), *_up(self._state, place)]
        sync(folders, whole=self._files.root)
        self._state.prune(place.rpartition('/')[0], keep='trash')
        return key

    def keep(self, name: str, data: bytes | Arrived) -> TrashEntry:
        """Put *data* into the trash as if it had been the file *name*.

        Raises:
            InvalidName: *name* is no name of a file.
        """
        parts_of(name)
        self._ready()
        slot = self.slot()
        place = slot.ready(name)
        path = self._state.path(place)
        if isinstance(data, bytes):
            with self._state.at(place, create=True) as spot:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, 'O_BINARY', 0)
                fd = os.open(spot.name, flags, 0o600, dir_fd=spot.fd)
                with os.fdopen(fd, 'wb') as file:
                    file.write(data)
        else:
            data.move_to(path)
        sync([path, *slot.paths()], whole=self._state.root)
        _, _, rest = place.partition('/')
        return TrashEntry(name, rest, _moment(rest.partition('-')[0]), os.lstat(path).st_size)

    def expire(self) -> int:
        """Throw away what is older than ``days``; return how many folders of it there were.

        What was put there while the clock was not set yet stays: nobody knows how old it is.
        """
        if self.days < 0:
            return 0
        limit = self._clock() - self.days * _DAY
        old = [name for name, when in self._slots() if _SANE <= when < limit]
        for name in old:
            shutil.rmtree(self._state.path(f'trash/{name}'), ignore_errors=True)
        return len(old)

    def _slots(self) -> Iterator[tuple[str, float]]:
        try:
            with os.scandir(self._state.path('trash')) as found:
                names = [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError):
            return
        slots = [match for name in names if (match := _SLOT.fullmatch(name))]
        for match in sorted(slots, key=lambda m: (m[1], int(m[2])), reverse=True):
            yield match[0], _moment(match[1])


def _up(tree: Tree, key: str) -> Iterator[str]:
    """Yield the path of the folder of *key*, and of all it is in, the root of *tree* included."""
    while key:
        key = parent_of(key)
        yield tree.path(key)


def _moment(text: str) -> float:
    try:
        return float(calendar.timegm(time.strptime(text, _TIME)))
    except ValueError:
        return 0.0


def _files_below(folder: str, prefix: str) -> Iterator[tuple[str, int]]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        key = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(entry.path, f'{key}/')
        else:
            yield key, entry.stat(follow_symlinks=False).st_size
