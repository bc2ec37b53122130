"""Change trackers: what happened to the fields of a record, or to the entries of a list.

A tracker collects changes, says them as a change-spec, and, given such a spec, tells of a value
that a peer sent whether it is news, something the peer just has not heard yet, or a conflict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pysyncml.errors import ConflictError, InvalidChangeSpec
from pysyncml.merge.grammar import (
    ADDED,
    DELETED,
    MODIFIED,
    Change,
    Initial,
    decode_attributes,
    decode_list,
    encode_attributes,
    encode_list,
    kind_of,
    pack,
    split_chain,
    unpack,
)


class ChangeTracker:
    """The part that all trackers share.

    The *field* of the methods is the name of an attribute or the position in a list; a
    *changeType* is ``ITEM_ADDED``, ``ITEM_MODIFIED`` or ``ITEM_DELETED``. With *isMd5*, a value
    is given as its MD5 in hexadecimal.
    """

    def __init__(self, changeSpec: str | None = None) -> None:
        self._pushed: dict[Any, Change] = {}
        self._recent: dict[Any, Change] = {}
        if changeSpec is not None:
            self.pushChangeSpec(changeSpec)

    def append(
        self, field: Any, changeType: int, initialValue: Any = None, isMd5: bool = False
    ) -> ChangeTracker:
        """Record that *field* changed from *initialValue*; return the tracker.

        An added field has no initial value.

        Raises:
            InvalidChangeSpec: there is no such change.
        """
        if changeType == ADDED:
            change = Change(ADDED)
        elif changeType in (MODIFIED, DELETED):
            initial = Initial.of('' if initialValue is None else initialValue, isMd5)
            change = Change(MODIFIED if changeType == MODIFIED else DELETED, initial)
        else:
            raise InvalidChangeSpec(f'no kind of change: {changeType!r}')
        self._append(field, change)
        return self

    def pushChangeSpec(self, changeSpec: str) -> ChangeTracker:
        """Take over the changes of a spec, or of several joined with ``;``; return the tracker.

        Raises:
            InvalidChangeSpec: it does not follow the grammar.
        """
        self._pushed, self._recent = self._full(), {}
        for piece in split_chain(changeSpec):
            self._pushed = self._collapse(self._pushed, self._decode(unpack(piece)))
        return self

    def getChangeSpec(self) -> str:
        """Return the spec of what was appended since the last spec was pushed."""
        return pack(self._encode(self._recent))

    def getFullChangeSpec(self) -> str:
        """Return the spec of all changes, pushed or appended, as if they were one."""
        return pack(self._encode(self._full()))

    def __str__(self) -> str:
        return self.getFullChangeSpec()

    def _full(self) -> dict[Any, Change]:
        return self._collapse(self._pushed, self._recent) if self._recent else self._pushed

    def _append(self, field: Any, change: Change) -> None:
        raise NotImplementedError

    def _collapse(
        self, older: Mapping[Any, Change], newer: Mapping[Any, Change]
    ) -> dict[Any, Change]:
        raise NotImplementedError

    def _encode(self, changes: Mapping[Any, Change]) -> str:
        raise NotImplementedError

    def _decode(self, spec: str) -> dict[Any, Change]:
        raise NotImplementedError


class AttributeChangeTracker(ChangeTracker):
    """Tracks what happened to named attributes."""

    def _append(self, field: Any, change: Change) -> None:
        self._recent = self._collapse(self._recent, {str(field): change})

    def _collapse(
        self, older: Mapping[Any, Change], newer: Mapping[Any, Change]
    ) -> dict[Any, Change]:
        changes = dict(older)
        for name, change in newer.items():
            before = changes.get(name)
            if before is None:
                changes[name] = change
            elif before.kind == ADDED and change.kind == DELETED:
                del changes[name]
            elif before.kind == MODIFIED and change.kind == DELETED:
                changes[name] = Change(DELETED, before.initial)
        return changes

    def _encode(self, changes: Mapping[Any, Change]) -> str:
        return encode_attributes(changes)

    def _decode(self, spec: str) -> dict[Any, Change]:
        return decode_attributes(spec)

    def isChange(
        self, field: Any, changeType: int, newValue: Any = None, isMd5: bool = False
    ) -> Any | None:
        """Return *field* if a peer's change of it is to be applied, ``None`` if it is stale.

        Stale means that the peer still has what was here before our own change.

        Raises:
            ConflictError: we changed the field too.
        """
        own = self._full().get(str(field))
        if own is None:
            return field
        if own.kind == ADDED and changeType == DELETED:
            return None
        if changeType != DELETED and own.initial and own.initial.matches(newValue, isMd5):
            return None
        raise ConflictError(f'{field} changed on both sides')

    def update(self, field: Any, localValue: Any, remoteValue: Any) -> Any:
        """Return which value *field* is to have: *localValue*, or the *remoteValue* of a peer.

        ``None`` is the value of a field that is not there.

        Raises:
            ConflictError: both sides changed the field.
        """
        if localValue == remoteValue:
            return localValue
        own = self._full().get(str(field))
        if own is not None and own.initial is not None and own.initial.matches(localValue):
            return remoteValue  # changed here, and changed back
        kind = kind_of(localValue, remoteValue)
        return localValue if self.isChange(field, kind, remoteValue) is None else remoteValue


class ListChangeTracker(ChangeTracker):
    """Tracks what happened to the entries of a list.

    Positions count added *and* deleted entries: they are those of a list in which both the old
    and the new one can be seen.
    """

    def _append(self, field: Any, change: Change) -> None:
        position = int(field)
        if position in self._recent or position < 0:
            raise InvalidChangeSpec(f'position {position} cannot change twice or be negative')
        self._recent[position] = change

    def _encode(self, changes: Mapping[Any, Change]) -> str:
        return encode_list(sorted(changes.items(), key=lambda item: int(item[0])))

    def _decode(self, spec: str) -> dict[Any, Change]:
        return dict(decode_list(spec.removeprefix('r')))

    def _collapse(
        self, older: Mapping[Any, Change], newer: Mapping[Any, Change]
    ) -> dict[Any, Change]:
        if not older or not newer:
            return dict(older or newer)
        return _compose(older, newer)

    def isChange(
        self,
        field: int,
        changeType: int,
        newValue: Any = None,
        isMd5: bool = False,
        token: Any = None,
    ) -> tuple[int | None, Any]:
        """Return the index if a peer's change is to be applied (else ``None``), and a token.

        *field* is an index in our present list: it leaves out what we deleted and what the peer
        added. Ask in the order of the list, and hand each token into the next call.

        Raises:
            ConflictError: we changed the same place too.
        """
        told: frozenset[int] = token if token is not None else frozenset()
        deleted, here = self._around(field, told)
        if changeType == ADDED:
            for position, change in deleted:
                if change.initial is not None and change.initial.matches(newValue, isMd5):
                    return None, told | {position}
            if deleted or any(c.kind == ADDED for c in here.values()):
                raise ConflictError(f'both sides changed the list at {field}')
            return field, told
        own = here.get(field)
        if own is None:
            return field, told
        if own.kind == ADDED and changeType == DELETED:
            return None, told
        if changeType == MODIFIED and own.initial and own.initial.matches(newValue, isMd5):
            return None, told
        raise ConflictError(f'both sides changed the list at {field}')

    def _around(
        self, index: int, told: frozenset[int]
    ) -> tuple[list[tuple[int, Change]], dict[int, Change]]:
        """Return what we deleted just before *index*, and what we changed at and before it."""
        deleted, here = [], {}
        gone = 0
        for position, change in sorted(self._full().items()):
            own_index = position - gone
            if change.kind == DELETED:
                gone += 1
                if own_index == index and position not in told:
                    deleted.append((position, change))
            elif own_index in (index - 1, index):
                here[own_index] = change
        return deleted, here


def _compose(older: Mapping[int, Change], newer: Mapping[int, Change]) -> dict[int, Change]:
    """Return the one list of changes that does what *older* and then *newer* do.

    Both are walked side by side: a line of the list in between is a column of *older* (unless
    deleted there) and of *newer* (unless added there).
    """
    first, second = sorted(older.items()), sorted(newer.items())
    merged: dict[int, Change] = {}
    i = j = one = two = at = 0
    while i < len(first) or j < len(second):
        gap_one = first[i][0] - one if i < len(first) else None
        gap_two = second[j][0] - two if j < len(second) else None
        change_one = first[i][1] if gap_one == 0 else None
        change_two = second[j][1] if gap_two == 0 else None
        if change_one is not None and change_one.kind == DELETED:
            merged[at] = change_one
            one, at, i = one + 1, at + 1, i + 1
        elif change_two is not None and change_two.kind == ADDED:
            merged[at] = change_two
            two, at, j = two + 1, at + 1, j + 1
        elif change_one is None and change_two is None:
            step = min(gap for gap in (gap_one, gap_two) if gap is not None)
            one, two, at = one + step, two + step, at + step
        else:
            both = _both(change_one, change_two)
            if both is not None:
                merged[at] = both
                at += 1
            one, two = one + 1, two + 1
            i, j = i + (change_one is not None), j + (change_two is not None)
    return merged


def _both(older: Change | None, newer: Change | None) -> Change | None:
    """Return what two changes of the same entry come to; ``None``: added and deleted again."""
    if older is None or newer is None:
        return older or newer
    if older.kind == ADDED:
        return None if newer.kind == DELETED else older
    return Change(newer.kind, older.initial)
