"""Mergers: record what changed in a value, and later merge in what a peer made of it.

A factory is made once, for one kind of item; from it comes a merger for each item::

    factory = TextMergerFactory()
    spec = factory.newMerger().pushChange('a\\nb\\nc', 'a\\nB\\nc').getChangeSpec()
    merged = factory.newMerger(spec).mergeChanges('a\\nB\\nc', 'a\\nb\\nC')      # a B C

``newMerger(None)`` knows nothing of the past: until a change is pushed, two values that differ
do not merge. ``newMerger('')`` knows that nothing changed here, so what the peer has counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pysyncml.errors import ConflictError, InvalidChangeSpec
from pysyncml.merge.changespec import WORDS, apply_reverse, check_text_spec, text_spec
from pysyncml.merge.diff3 import join_lines, line_separator, merge_lines, merge_texts, split_lines
from pysyncml.merge.grammar import (
    Change,
    decode_composite,
    encode_attributes,
    encode_composite,
    join_specs,
    kind_of,
    pack,
    split_chain,
    to_bytes,
)
from pysyncml.merge.trackers import AttributeChangeTracker


class Merger:
    """The part that all mergers share; ``namesFields`` tells whether they take a field name."""

    namesFields = True

    def __init__(self, changeSpec: str | None = None) -> None:
        self._known = False
        if changeSpec is not None:
            self.pushChangeSpec(changeSpec)

    def pushChange(self, *change: Any) -> Merger:
        """Record a change: the field (if fields are named), the value before, the one after."""
        raise NotImplementedError

    def pushChangeSpec(self, changeSpec: str) -> Merger:
        """Take over the changes of a spec, or of several joined with ``;``, oldest first.

        Raises:
            InvalidChangeSpec: it does not follow the grammar.
        """
        raise NotImplementedError

    def getChangeSpec(self) -> str:
        """Return the spec of the changes recorded since the last spec was pushed."""
        raise NotImplementedError

    def mergeChanges(self, *values: Any) -> Any:
        """Return the merged value of: the field (if named), our value, the peer's value.

        Raises:
            ConflictError: both sides made changes that do not go together.
        """
        raise NotImplementedError


class MergerFactory:
    """Makes mergers of one kind."""

    def newMerger(self, changeSpec: str | None = None) -> Merger:
        """Return a merger that knows of the changes in *changeSpec*.

        Raises:
            InvalidChangeSpec: it does not follow the grammar.
        """
        raise NotImplementedError

    def spec_of(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
        """Return the spec that leads from the fields *after* back to what they were *before*.

        It is what a merger says that is told of the change; without one, it may take less.
        """
        merger = self.newMerger()
        for name in after:
            merger.pushChange(name, before.get(name), after[name])
        return merger.getChangeSpec()


def _unknown(what: str) -> ConflictError:
    return ConflictError(f'{what} differs on both sides, and what changed here is not known')


# --- attributes -------------------------------------------------------------------------------


class AttributeMerger(Merger):
    """Merges records field by field; a field that both sides changed is a conflict."""

    def __init__(self, changeSpec: str | None = None) -> None:
        self._tracker = AttributeChangeTracker()
        super().__init__(changeSpec)

    def pushChange(self, attribute: str, current: Any, new: Any) -> AttributeMerger:
        """Record that *attribute* became *new*; ``None`` stands for no value."""
        self._known = True
        if current == new:
            return self
        self._tracker.append(attribute, kind_of(current, new), current)
        return self

    def pushChangeSpec(self, changeSpec: str) -> AttributeMerger:
        """Take over the changes of a spec; see :meth:`Merger.pushChangeSpec`."""
        self._known = True
        self._tracker.pushChangeSpec(changeSpec)
        return self

    def getChangeSpec(self) -> str:
        """Return the spec of the changes recorded since the last spec was pushed."""
        return self._tracker.getChangeSpec()

    def mergeChanges(self, attribute: str, local: Any, remote: Any) -> Any:
        """Return *local* or *remote*, whichever is the changed one.

        Raises:
            ConflictError: both are.
        """
        if local == remote:
            return local
        if not self._known:
            raise _unknown(attribute)
        return self._tracker.update(attribute, local, remote)


class AttributeMergerFactory(MergerFactory):
    """Makes mergers of records with named fields."""

    def newMerger(self, changeSpec: str | None = None) -> AttributeMerger:
        """Return a merger; see :meth:`MergerFactory.newMerger`."""
        return AttributeMerger(changeSpec)


# --- texts ------------------------------------------------------------------------------------


class TextMerger(Merger):
    """Merges texts line by line, or, unless *multiLine*, word by word.

    A text is bytes or str or ``None``, but the two texts of a call are not bytes and str.
    """

    namesFields = False

    def __init__(self, changeSpec: str | None = None, multiLine: bool = True) -> None:
        self.multiLine = multiLine
        self._older = ''
        self._specs: list[str] = []
        # The ends of an unbroken row of changes, so that it becomes one spec and not many.
        self._row: tuple[Any, Any] | None = None
        super().__init__(changeSpec)

    @property
    def _separator(self) -> bytes | None:
        return None if self.multiLine else WORDS

    def pushChange(self, current: Any, new: Any) -> TextMerger:
        """Record that the text *current* became *new*."""
        _check_types(current, new)
        self._known = True
        if self._row is not None and self._row[1] == current:
            self._row = (self._row[0], new)
        else:
            self._close_row()
            self._row = (current, new)
        return self

    def pushChangeSpec(self, changeSpec: str) -> TextMerger:
        """Take over the changes of a spec; see :meth:`Merger.pushChangeSpec`."""
        check_text_spec(changeSpec)
        self._known = True
        self._older = join_specs(self._older, self.getChangeSpec(), changeSpec)
        self._specs, self._row = [], None
        return self

    def getChangeSpec(self) -> str:
        """Return the spec of the changes recorded since the last spec was pushed."""
        self._close_row()
        return join_specs(*self._specs)

    def _close_row(self) -> None:
        if self._row is not None:
            self._specs.append(text_spec(*self._row, self._separator))
            self._row = None

    def mergeChanges(self, local: Any, remote: Any) -> Any:
        """Return the text with the changes of both sides.

        The text from which both started is rebuilt from *local* and the specs.

        Raises:
            ConflictError: both changed the same lines, or the common text cannot be rebuilt.
        """
        _check_types(local, remote)
        if local == remote:
            return local
        if not self._known:
            raise _unknown('the text')
        spec = join_specs(self._older, self.getChangeSpec())
        if not spec:
            return remote
        ours, theirs = _bytes(local), _bytes(remote)
        base = self._rebuild(ours, theirs, spec)
        merged = self._merge(base, ours, theirs)
        if merged is None or isinstance(local if local is not None else remote, bytes):
            return merged
        return merged.decode('utf-8', 'surrogatepass')

    def _rebuild(self, ours: bytes | None, theirs: bytes | None, spec: str) -> bytes | None:
        known = split_lines(theirs, self._separator or line_separator(theirs))
        try:
            return apply_reverse(ours, spec, self._separator, known)
        except InvalidChangeSpec as error:
            raise ConflictError(f'the text both sides started from is lost: {error}') from error

    def _merge(self, base: bytes | None, ours: bytes | None, theirs: bytes | None) -> bytes | None:
        if self.multiLine:
            return merge_texts(base, ours, theirs)
        merged = merge_lines(*(split_lines(text, WORDS) for text in (base, ours, theirs)))
        if not merged and ours is not None and theirs is not None:
            return b''
        return join_lines(merged, WORDS)


def _check_types(one: Any, other: Any) -> None:
    kinds = {bytes if isinstance(t, bytes) else type(t) for t in (one, other) if t is not None}
    if len(kinds) > 1 or not kinds <= {bytes, str}:
        names = ' and '.join(sorted(kind.__name__ for kind in kinds))
        raise TypeError(f'texts to merge are both bytes or both str, not {names}')


def _bytes(text: bytes | str | None) -> bytes | None:
    return None if text is None else to_bytes(text)


class TextMergerFactory(MergerFactory):
    """Makes mergers of texts that have many lines, or, unless *multiLine*, a single one."""

    def __init__(self, multiLine: bool = True) -> None:
        self.multiLine = multiLine

    def newMerger(self, changeSpec: str | None = None) -> TextMerger:
        """Return a merger; see :meth:`MergerFactory.newMerger`."""
        return TextMerger(changeSpec, self.multiLine)


# --- composites -------------------------------------------------------------------------------


class CompositeMerger(Merger):
    """Merges records whose fields have mergers of their own."""

    def __init__(self, factory: CompositeMergerFactory, changeSpec: str | None = None) -> None:
        self._factory = factory
        self._shared: Merger | None = None
        self._fields: dict[str, Merger] = {}
        super().__init__(changeSpec)

    def pushChange(self, attribute: str, current: Any, new: Any) -> CompositeMerger:
        """Record that *attribute* became *new*; ``None`` stands for no value."""
        self._know()
        merger = self._of(attribute)
        merger.pushChange(*self._arguments(merger, attribute, current, new))
        return self

    def pushChangeSpec(self, changeSpec: str) -> CompositeMerger:
        """Take over the changes of a spec; see :meth:`Merger.pushChangeSpec`."""
        self._know()
        for merger in self._all():
            merger.pushChangeSpec('')
        for piece in split_chain(changeSpec):
            default, fields = decode_composite(piece)
            if default:
                self._default().pushChangeSpec(default)
            for attribute, spec in fields.items():
                self._of(attribute).pushChangeSpec(spec)
        return self

    def getChangeSpec(self) -> str:
        """Return the spec of the changes recorded since the last spec was pushed."""
        default = self._shared.getChangeSpec() if self._shared is not None else ''
        specs = {name: merger.getChangeSpec() for name, merger in self._fields.items()}
        return encode_composite(default, specs)

    def mergeChanges(self, attribute: str, local: Any, remote: Any) -> Any:
        """Return the merged value of one field.

        Raises:
            ConflictError: both sides made changes that do not go together.
        """
        merger = self._of(attribute)
        try:
            return merger.mergeChanges(*self._arguments(merger, attribute, local, remote))
        except ConflictError as error:
            if merger.namesFields:
                raise
            raise ConflictError(f'{attribute}: {error}') from error

    @staticmethod
    def _arguments(merger: Merger, attribute: str, *values: Any) -> tuple[Any, ...]:
        return (attribute, *values) if merger.namesFields else values

    def _know(self) -> None:
        """What changed here is known from now on, also for fields that are asked for later."""
        if not self._known:
            self._known = True
            for merger in self._all():
                merger.pushChangeSpec('')

    def _all(self) -> list[Merger]:
        return [*self._fields.values(), *([self._shared] if self._shared is not None else [])]

    def _default(self) -> Merger:
        if self._shared is None:
            self._shared = self._factory.default.newMerger('' if self._known else None)
        return self._shared

    def _of(self, attribute: str) -> Merger:
        if attribute in self._fields:
            return self._fields[attribute]
        factory = self._factory.mergers.get(attribute)
        if factory is None:
            if self._factory.sharedDefault:
                return self._default()
            factory = self._factory.default
        merger = self._fields[attribute] = factory.newMerger('' if self._known else None)
        return merger


class CompositeMergerFactory(MergerFactory):
    """Makes mergers of records whose fields are merged in different ways.

    Args:
        sharedDefault: whether one merger serves all fields that have none of their own; if not,
            or if the default takes no field names, each gets one.
        default: the factory for those fields; ``AttributeMergerFactory()`` if not given.
        mergers: the factories of single fields, by field name.
        fieldMergers: the same, as keywords.
    """

    def __init__(
        self,
        sharedDefault: bool = True,
        default: MergerFactory | None = None,
        mergers: Mapping[str, MergerFactory] | None = None,
        **fieldMergers: MergerFactory,
    ) -> None:
        self.default = AttributeMergerFactory() if default is None else default
        self.sharedDefault = sharedDefault and self.default.newMerger().namesFields
        self.mergers = {**(mergers or {}), **fieldMergers}

    def newMerger(self, changeSpec: str | None = None) -> CompositeMerger:
        """Return a merger; see :meth:`MergerFactory.newMerger`."""
        return CompositeMerger(self, changeSpec)

    def spec_of(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
        """Return the spec of a change; see :meth:`MergerFactory.spec_of`."""
        if not self.sharedDefault or type(self.default) is not AttributeMergerFactory:
            return super().spec_of(before, after)
        specs: dict[str, str] = {}
        shared: dict[str, Change] = {}
        for name, new in after.items():
            old, factory = before.get(name), self.mergers.get(name)
            if factory is not None:
                merger = factory.newMerger()
                merger.pushChange(*((name,) if merger.namesFields else ()), old, new)
                specs[name] = merger.getChangeSpec()
            elif old != new:
                shared[name] = Change.between(old, new)
        return encode_composite(pack(encode_attributes(shared)), specs)


__all__ = [
    'AttributeMerger',
    'AttributeMergerFactory',
    'CompositeMerger',
    'CompositeMergerFactory',
    'Merger',
    'MergerFactory',
    'TextMerger',
    'TextMergerFactory',
]
