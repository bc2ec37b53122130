"""Doing to a directory what the lines of a journal tell, as often as it takes.

Publishing is a matter of the disk and the lines alone. It may break off anywhere; done again, it
goes on from what it finds. For each operation there are three files to look for in the state
folder:

``staged/TOKEN``
    the new body. It is renamed to its place, so once it is gone, it has been placed.
``aside/ID``
    the old file, on its way from its place to the trash or to its new name. It lies here for the
    moment in which it is checked to be the one that was expected.
``aside/ID.where``
    the name that was chosen instead of the one asked for, because that was taken; written before
    it is used. Also which file it is that is renamed, if it is not the one that was expected.

Nothing is ever written over, and nothing is removed but into the trash. What the user has edited
in the meantime is put back, and ours is laid beside it under another name.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from pysyncml.errors import InvalidItem, ItemBusy, StorageError, SyncmlError
from pysyncml.storage.batch import Batch, Operation
from pysyncml.storage.files import (
    Spot,
    looks,
    lstat_at,
    parent_of,
    place_new,
    regular_at,
    remove,
    same_file,
    stamp,
    sync,
)
from pysyncml.storage.names import conflict_name
from pysyncml.storage.order import Plan, folder_moves
from pysyncml.storage.steps import Steps, Where, aside_of

if TYPE_CHECKING:
    from pysyncml.storage.directory import DirectoryStorage

__all__ = ['Batch', 'Outcome', 'publish']


class Outcome(NamedTuple):
    """What came of one line.

    ``line`` and ``item_id`` say of which; it is finished if it is ``ok``, otherwise ``error``
    says why, nothing is lost, and the line is to be published again later; until then the file at
    ``key``, if there is one, is to be left alone.

    ``key`` is where the item's file is now: it may be another name than was asked for, because
    that was taken. ``None`` means that it has none: it was deleted, or the user has removed or
    renamed it meanwhile. A deletion with a ``key`` was not done, as the user has edited the note.

    ``stamp`` is that of the file at ``key`` if it is certain that it holds what was to be there.
    Without it the user has been there in the meantime, and the next scan has to look.

    ``displaced`` is the key of the copy that holds our body, if the user had edited the file:
    then the user's file is still at ``key``.
    """

    line: str
    item_id: str
    ok: bool
    key: str | None = None
    stamp: bytes | None = None
    displaced: str | None = None
    error: str | None = None


def publish(
    storage: DirectoryStorage, lines: Iterable[str], known: Mapping[str, Operation] | None = None
) -> list[Outcome]:
    """Do what *lines* tell; return what came of each, in their order.

    What some of them tell may be *known*. Lines of one batch are done together, so that names may
    be swapped among them. No file's trouble keeps the others from being done.
    """
    lines = list(lines)
    outcomes: dict[int, Outcome] = {}
    batches: dict[str, list[tuple[int, Operation]]] = {}
    for index, line in enumerate(lines):
        try:
            operation = (known or {}).get(line) or Operation.of_line(line)
        except ValueError as error:
            outcomes[index] = Outcome(line, '', ok=False, error=f'this line is not usable: {error}')
        else:
            batches.setdefault(operation.batch, []).append((index, operation))
    operations = [one for batch in batches.values() for _, one in batch]
    with storage.files.held() as tree, storage.state.held() as state:
        run = _Run(storage, tree, state, operations, fresh=(known or {}).values())
        for batch in batches.values():
            found = run.batch([operation for _, operation in batch])
            for index, operation in batch:
                outcomes[index] = Outcome(lines[index], *found[operation.id][1:])
        failure = run.finish()
    done = [outcomes[index] for index in range(len(lines))]
    if failure is None:
        return done
    return [one._replace(ok=False, error=failure) if one.ok else one for one in done]


class _Run(Steps):
    """One go at publishing."""

    # --- in which order ---------------------------------------------------------------------------

    def batch(self, operations: list[Operation]) -> dict[str, Outcome]:
        """Do the operations of one batch, each after those whose files are in its way."""
        outcomes = self._move_folders(operations)
        operations = [one for one in operations if one.id not in outcomes]
        plan = Plan(operations)
        begun: set[str] = set()
        for operation in operations:
            if operation.id in outcomes:
                continue
            if plan.is_easy and operation.source is None:  # nothing is on its way then
                self._begin(operation)
                outcomes[operation.id] = self._attempt(operation)
                continue
            stack = [operation]
            try:
                self._work_off(stack, plan, begun, outcomes)
            except (KeyboardInterrupt, SystemExit):
                # whoever stops us must not find files missing that are only on their way
                self._work_off(stack, plan, begun, outcomes)
                raise
        return outcomes

    def _move_folders(self, operations: list[Operation]) -> dict[str, Outcome]:
        """Rename whole folders, where that is all there is to do; return what came of whose."""
        outcomes: dict[str, Outcome] = {}
        if not self._fresh.issuperset(one.id for one in operations):
            return outcomes
        for move in folder_moves(operations):
            if not self._move_folder(move):
                continue
            self._begin(move.operations[0])  # the others leave and enter the same folders
            for one in move.operations:
                # what happens to a folder does not change the stamps of its files
                outcomes[one.id] = Outcome('', one.item, ok=True, key=one.key, stamp=one.expect)
        return outcomes

    def _work_off(
        self,
        stack: list[Operation],
        plan: Plan,
        begun: set[str],
        outcomes: dict[str, Outcome],
    ) -> None:
        while stack:
            operation = stack[-1]
            if operation.id in outcomes:
                stack.pop()
                continue
            in_the_way = plan.in_the_way(operation)
            if operation.id not in begun:
                begun.add(operation.id)
                self._begin(operation)
                waiting = [one for one in in_the_way if one.id not in begun]
                if waiting:
                    stack.extend(waiting)
                    continue
            for other in in_the_way:
                if other.id not in outcomes:
                    self._make_way(other)  # they wait for each other
            outcomes[operation.id] = self._attempt(operation)

    def _begin(self, operation: Operation) -> None:
        for key in (operation.key, operation.source):
            if key is not None:
                self._touched.add(parent_of(key))
        if operation.leaves and operation.source is not None:
            self._left[parent_of(operation.source)] = None
        if operation.body is not None:
            self._bodies.setdefault(operation.item, set()).add(operation.body)

    def _make_way(self, operation: Operation) -> None:
        with contextlib.suppress(OSError, SyncmlError):
            self._lift(operation)

    def _attempt(self, operation: Operation) -> Outcome:
        try:
            if operation.key is None:
                return self._delete(operation)
            if operation.token is None:
                return self._move(operation, operation.key)
            return self._write(operation, operation.key, operation.token)
        except Exception as error:  # whatever it is, it is the trouble of one file
            self._put_back(operation)
            if operation.key is not None:
                self._left[parent_of(operation.key)] = None
            reason = _reason(operation, error)
            return Outcome('', operation.item, ok=False, key=operation.source, error=reason)

    def _put_back(self, operation: Operation) -> None:
        """Undo the lifting of a file that could not go where it should."""
        token = operation.token
        if operation.source is None or self._aside(operation) is None:
            return
        if token is not None and not self._staged(token):
            return  # the new one is in its place already
        with (
            contextlib.suppress(OSError, SyncmlError),
            self._files.at(operation.source, create=True) as spot,
        ):
            place_new(self._state.own(aside_of(operation)), spot)

    # --- the three operations ---------------------------------------------------------------------

    def _write(self, operation: Operation, key: str, token: str) -> Outcome:
        body = self._state.own(f'staged/{token}')
        if operation.source is None and operation.id in self._fresh:
            spot = self._put(body, key)
            if spot is not None:
                return self._outcome(operation, key, operation.body, spot)
        self._files.look_anew()
        staged = lstat_at(body)
        where = self._where(operation)
        target = key if where is None else where.key
        linked = staged is not None and staged.st_nlink != 1
        if linked and same_file(staged, self._files.regular(target)):
            remove(body)  # it was linked, and not yet unlinked
            staged = None
        if staged is None:
            return self._written(operation, key, where)
        if operation.body is not None and staged.st_size != operation.body[0]:
            raise StorageError('the staged body is damaged')
        kept = self._lift(operation)
        if kept is not None:
            return self._beside(operation, kept, where)
        final = self._place(operation, f'staged/{token}', target)
        self._discard(operation)
        return self._outcome(operation, final, operation.body)

    def _put(self, body: Spot, key: str) -> Spot | None:
        """Put a body that was just staged where nothing is; return where, if that could be done."""
        try:
            spot = self._files.spot(key, create=True)
            place_new(body, spot)
        except OSError:
            return None  # there is more to it
        return spot

    def _written(self, operation: Operation, key: str, where: Where | None) -> Outcome:
        """Tell what became of a body that was placed by an earlier go."""
        if self._aside(operation) is not None:
            self._lift(operation)
            self._discard(operation)
        if self._untouched(operation):
            raise StorageError('its new body has vanished from the state folder')
        if where is not None and where.copy:
            return Outcome('', operation.item, ok=True, key=operation.source, displaced=where.key)
        return self._outcome(operation, key if where is None else where.key, operation.body)

    def _beside(self, operation: Operation, kept: str, where: Where | None) -> Outcome:
        """Lay our body beside a file that the user has edited."""
        assert operation.key is not None and operation.token is not None
        staged = f'staged/{operation.token}'
        if kept == operation.key:
            stat = self._same_content(staged, kept)
            if stat is not None:
                remove(self._state.own(staged))
                return Outcome('', operation.item, ok=True, key=kept, stamp=stamp(stat))
        if where is None or not where.copy:
            where = Where(conflict_name(operation.key, operation.label), copy=True)
            self._note(operation, where)
        final = self._place(operation, staged, where.key, copy=True)
        return Outcome('', operation.item, ok=True, key=kept, displaced=final)

    def _same_content(self, staged: str, key: str) -> os.stat_result | None:
        try:
            mine, body = self._storage.hash_at(self._state, staged)
            theirs, stat = self._storage.hash_at(self._files, key)
        except (InvalidItem, ItemBusy):
            return None
        return stat if mine == theirs and stat.st_size == body.st_size else None

    def _move(self, operation: Operation, key: str) -> Outcome:
        expected = operation.looks
        spot = self._rename(operation, key)
        if spot is not None:
            return self._outcome(operation, key, expected, spot)
        self._files.look_anew()
        self._lift(operation)
        where = self._where(operation)
        target = key if where is None else where.key
        if self._aside(operation) is not None:
            target = self._place(operation, aside_of(operation), target)
        elif not self._arrived(operation):
            return Outcome('', operation.item, ok=True)  # the user has renamed or removed it
        return self._outcome(operation, target, expected)

    def _delete(self, operation: Operation) -> Outcome:
        self._files.look_anew()
        kept = self._lift(operation)
        if kept is None:
            self._discard(operation)
        return Outcome('', operation.item, ok=True, key=kept)

    def _outcome(
        self,
        operation: Operation,
        key: str,
        expected: tuple[int, int, int] | None,
        spot: Spot | None = None,
    ) -> Outcome:
        """Tell what is at *key*, the *spot* of which may be at hand."""
        stat = self._files.regular(key) if spot is None else regular_at(spot)
        if stat is None or (expected is not None and looks(stat) != expected):
            return Outcome('', operation.item, ok=True, key=key)
        return Outcome('', operation.item, ok=True, key=key, stamp=stamp(stat))

    # --- the end ----------------------------------------------------------------------------------

    def finish(self) -> str | None:
        """Remove folders left empty, and make everything last; return what went wrong."""
        for folder in sorted(self._left, key=len, reverse=True):
            self._files.prune(folder)
        folders: dict[str, None] = {}
        for folder in self._touched:
            while folder:
                folders[self._files.path(folder)] = None
                folder = parent_of(folder)
        state = [self._state.path(name) for name in ('aside', 'staged')]
        try:
            sync([*folders, self._files.root, *self._slot.paths(), *state], whole=self._state.root)
        except OSError as error:
            return f'the changes could not be made to last: {error.strerror or error}'
        return None


def _reason(operation: Operation, error: Exception) -> str:
    what = operation.key if operation.key is not None else operation.source
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, OSError) and error.errno == errno.EXDEV:
        text += ': its folder is on another file system than the state folder'
    return f'"{what}" is left for later: {text}'
