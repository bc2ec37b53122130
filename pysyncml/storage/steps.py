"""The steps of publishing: taking files away, keeping notes, putting files in their place."""

from __future__ import annotations

import json
import os
import stat as kinds
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from pysyncml.errors import ItemBusy, SyncmlError
from pysyncml.storage.batch import Operation
from pysyncml.storage.files import (
    Held,
    Spot,
    inode_of,
    looks,
    lstat_at,
    parent_of,
    place_new,
    regular_at,
    stamp,
    sync,
)
from pysyncml.storage.order import FolderMove
from pysyncml.storage.trash import Slot
from pysyncml.storage.writers import is_being_written

if TYPE_CHECKING:
    from pysyncml.storage.directory import DirectoryStorage

_TICK_NS = 2 * 10**9  # more than between two times that any file system can tell apart


class Where(NamedTuple):
    """What is written down of an operation that does not go as asked."""

    key: str
    copy: bool = False
    inode: int | None = None


class Steps:
    """What publishing consists of; each step finds out for itself whether it was done before."""

    def __init__(
        self,
        storage: DirectoryStorage,
        tree: Held,
        state: Held,
        operations: list[Operation],
        fresh: Iterable[Operation] = (),
    ) -> None:
        self._storage = storage
        self._files = tree
        self._state = state
        self._slot = Slot(state, storage.clock)
        # Nobody else puts anything there: what is not named here does not lie aside.
        self._seen_aside = set(os.listdir(state.path('aside')))
        self._bodies: dict[str, set[tuple[int, int, int]]] = {}
        # Nobody has tried these before, nor written anything down of them.
        self._fresh = {operation.id for operation in fresh}
        self._touched: set[str] = set()
        self._left: dict[str, None] = {}
        self._by_key: dict[str, list[Operation]] = {}
        for operation in operations:
            if operation.key is not None:
                self._by_key.setdefault(operation.key, []).append(operation)

    def _lift(self, operation: Operation) -> str | None:
        """Put the old file aside, if it is the one that was expected.

        Return None if it is aside, or if there was none; or the key at which the user's file is,
        if the user has edited it. A file that is only renamed may have been edited.
        """
        lifted, now = self._aside(operation), None
        if lifted is None:
            now = self._waiting(operation)
            if now is None:
                return None
            if not self._expected(operation, now):
                return operation.source
            if not operation.renames:
                self._slot.ready(operation.source or '')
            self._take(operation)
            lifted = self._aside(operation)
        if lifted is None:
            return None
        if operation.renames:
            self._recognise(operation, lifted)
        elif not self._expected(operation, lifted) or self._is_in_use(operation, lifted, now):
            return self._files.place(self._state.own(aside_of(operation)), operation.source or '')
        return None

    def _rename(self, operation: Operation, key: str) -> Spot | None:
        """Rename a file at once if it is the one we know and nothing is in its way.

        Return where it is then; ``None`` if there is more to it.
        """
        begun = {operation.id, f'{operation.id}.where'} & self._seen_aside
        known = operation.looks
        if begun or operation.source is None or known is None:
            return None
        try:
            old = self._files.spot(operation.source)
            now = regular_at(old)
            if now is None or looks(now)[2] != known[2]:
                return None
            new = self._files.spot(key, create=True)
            place_new(old, new)
        except (OSError, SyncmlError):
            return None
        return new

    def _move_folder(self, move: FolderMove) -> bool:
        """Rename a folder that holds nothing but files which all go along; return if it is done.

        Whoever does it again finds each of them where it was to go.
        """
        try:
            with self._files.listed(move.source) as entries:
                files = {e.name: inode_of(e) for e in entries if e.is_file(follow_symlinks=False)}
                if len(entries) > len(files) or files != move.inodes:
                    return False
            old = self._files.spot(move.source)
            place_new(old, self._files.spot(move.key, create=True))
        except (OSError, SyncmlError):
            return False
        self._files.look_anew()
        return True

    def _waiting(self, operation: Operation) -> os.stat_result | None:
        """Return the file at the operation's source if it is still to be taken from there."""
        known = operation.looks
        if operation.source is None or known is None:
            return None
        token = operation.token
        if token is not None and not self._staged(token):
            return None
        now = self._files.regular(operation.source)
        if now is None or looks(now)[2] == known[2]:
            return now
        if operation.renames and self._arrived(operation):
            return None
        others = self._by_key.get(operation.source, ())
        # files make way before others take their place: if that is taken, ours has gone before
        if any(one.item != operation.item and self._has_come(one) for one in others):
            return None
        return now

    def _has_come(self, operation: Operation) -> bool:
        """Return whether the file of the operation has been put where it was asked to be."""
        if self._where(operation) is not None:
            return False
        if operation.token is not None:
            return not self._staged(operation.token)
        return self._arrived(operation)

    def _arrived(self, operation: Operation) -> bool:
        """Return whether the file to be renamed is already where it is to be."""
        where, known = self._where(operation), operation.looks
        if operation.key is None or known is None:
            return False
        key, inode = operation.key, known[2]
        if where is not None:
            key = where.key
            inode = inode if where.inode is None else where.inode
        there = self._files.regular(key)
        return there is not None and looks(there)[2] == inode

    def _staged(self, token: str) -> bool:
        return lstat_at(self._state.own(f'staged/{token}')) is not None

    def _aside(self, operation: Operation) -> os.stat_result | None:
        if operation.id not in self._seen_aside:
            return None
        return lstat_at(self._state.own(aside_of(operation)))

    def _untouched(self, operation: Operation) -> bool:
        """Return whether the old file is still where it was, just as it was."""
        if operation.source is None:
            return False
        now = self._files.regular(operation.source)
        return now is not None and looks(now) == operation.looks

    def _recognise(self, operation: Operation, lifted: os.stat_result) -> None:
        """Write down which file is renamed, if the user has replaced the one we knew."""
        inode = looks(lifted)[2]
        known = operation.looks
        if (known is None or inode != known[2]) and operation.key is not None:
            where = self._where(operation) or Where(operation.key)
            self._note(operation, where._replace(inode=inode))

    def _expected(self, operation: Operation, stat: os.stat_result) -> bool:
        if operation.renames:
            return True
        found = looks(stat)
        return found == operation.looks or found in self._earlier(operation)

    def _is_in_use(
        self, operation: Operation, lifted: os.stat_result, seen: os.stat_result | None
    ) -> bool:
        """Return whether the user has edited a file in a way it does not show, or yet may.

        *seen* is what the file was right before it was *lifted*, if that is known.
        """
        aside = aside_of(operation)
        if is_being_written(self._state.own(aside)):
            return True
        if looks(lifted) != operation.looks or not operation.digest:
            return False
        if seen is not None and stamp(seen) == operation.expect:
            # the time of the change of its name is now, by the clock that its other times are of
            idle = lifted.st_ctime_ns - max(seen.st_ctime_ns, seen.st_mtime_ns)
            if os.name != 'nt' and idle > _TICK_NS:
                return False
        try:
            return self._storage.hash_at(self._state, aside)[0] != operation.digest
        except ItemBusy:
            return True

    def _earlier(self, operation: Operation) -> set[tuple[int, int, int]]:
        """Return the bodies the same item was given by batches before this one."""
        return self._bodies.get(operation.item, set()) - {operation.body}

    def _take(self, operation: Operation) -> None:
        assert operation.source is not None
        aside = self._state.own(aside_of(operation))
        self._seen_aside.add(operation.id)
        try:
            with self._files.at(operation.source) as spot:
                os.rename(spot.name, aside.name, src_dir_fd=spot.fd, dst_dir_fd=aside.fd)
        except FileNotFoundError:
            if self._files.exists(operation.source):
                raise  # it is our own folder that is missing

    def _place(self, operation: Operation, place: str, key: str, *, copy: bool = False) -> str:
        """Move a file out of the state folder to *key*, or to a free name near it."""

        def announce(other: str) -> None:
            self._touched.add(parent_of(other))
            where = self._where(operation) or Where(other)
            self._note(operation, where._replace(key=other, copy=copy))

        return self._files.place(self._state.own(place), key, announce, self._clear_folders)

    def _clear_folders(self, key: str) -> bool:
        """Remove the folder at *key* if there is nothing in it but other folders.

        Folders are not synchronised, so that an empty one is no reason to give a note another
        name on all devices.
        """
        there = self._files.lstat(key)
        if there is None or not kinds.S_ISDIR(there.st_mode):
            return False
        top = self._files.path(key)
        for folder, _, _ in os.walk(top, topdown=False):
            inner = os.path.relpath(folder, top).replace(os.sep, '/')
            self._files.prune(key if inner == os.curdir else f'{key}/{inner}', keep=parent_of(key))
        return not self._files.exists(key)

    def _discard(self, operation: Operation) -> None:
        """Put the file that was lifted into the trash."""
        if operation.source is None:
            return
        if self._aside(operation) is not None:
            self._slot.put(self._state.own(aside_of(operation)), operation.source)

    def _where(self, operation: Operation) -> Where | None:
        if f'{operation.id}.where' not in self._seen_aside:
            return None
        try:
            with open(self._state.path(f'{aside_of(operation)}.where'), encoding='ascii') as file:
                key, copy, inode = json.load(file)
        except (OSError, ValueError):
            return None
        return Where(str(key), bool(copy), inode)

    def _note(self, operation: Operation, where: Where) -> None:
        """Write down that another name is used, before it is."""
        path = self._state.path(f'{aside_of(operation)}.where')
        self._seen_aside.add(f'{operation.id}.where')
        with open(f'{path}.new', 'w', encoding='ascii') as file:
            json.dump(where, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(f'{path}.new', path)
        sync([self._state.path('aside')], whole=self._state.root)


def aside_of(operation: Operation) -> str:
    """Return where the old file of *operation* lies on its way, in the state folder."""
    return f'aside/{operation.id}'
