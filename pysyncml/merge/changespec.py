"""Change-specs of texts: short enough to keep for every peer, complete enough to go back in time.

The spec of a text is a list spec (see :mod:`pysyncml.merge.grammar`) over its lines that holds
every line that went away, in full. So the text a peer last saw is rebuilt from the present one
and all specs since, and merging is three-way against the true common ancestor, not a guess from
checksums. ``r`` before the entries says that CR alone ends a line; a long spec is compressed.

::

    a b c  ->  a B c          1:mb
    a b c  ->  a X b c        1:a
    a b c  ->  a c            1:db
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import overload

from pysyncml.errors import InvalidChangeSpec
from pysyncml.merge.diff import diff
from pysyncml.merge.diff3 import CR, LF, join_lines, line_separator, split_lines
from pysyncml.merge.grammar import (
    ADDED,
    DELETED,
    MODIFIED,
    Change,
    Initial,
    decode_list,
    encode_list,
    join_specs,
    md5,
    pack,
    split_chain,
    to_bytes,
    unpack,
)

# What specs of single-line texts count in.
WORDS = b' '


def text_spec(
    old: bytes | str | None, new: bytes | str | None, separator: bytes | None = None
) -> str:
    """Return the spec that leads from the text *new* back to *old*; ``''`` if they are equal.

    *separator* is what parts the entries; lines, if it is not given.
    """
    if old == new:
        return ''
    before, after = _bytes(old), _bytes(new)
    parting = separator or line_separator(before, after)
    flag = 'r' if parting == CR and separator is None else ''
    return pack(flag + encode_list(_entries(before, after, parting)))


def _entries(
    before: bytes | None, after: bytes | None, separator: bytes
) -> Iterable[tuple[int, Change]]:
    old, new = split_lines(before, separator), split_lines(after, separator)
    added = 0  # positions count added lines too
    for hunk in diff(old, new):
        gone, came = hunk.old_to - hunk.old_from, hunk.new_to - hunk.new_from
        for n in range(max(gone, came)):
            at = hunk.old_from + added + n
            if n >= gone:
                yield at, Change(ADDED)
            else:
                line = Initial(old[hunk.old_from + n])
                yield at, Change(MODIFIED if n < came else DELETED, line)
        added += max(0, came - gone)


def check_text_spec(spec: str) -> None:
    """Read a chain of text specs through.

    Raises:
        InvalidChangeSpec: it does not follow the grammar.
    """
    for piece in split_chain(spec):
        for _ in decode_list(unpack(piece).removeprefix('r')):
            continue


@overload
def apply_reverse(
    text: bytes | None, spec: str, separator: bytes | None = ..., known: Iterable[bytes] = ...
) -> bytes | None: ...


@overload
def apply_reverse(
    text: str, spec: str, separator: bytes | None = ..., known: Iterable[bytes] = ...
) -> str | None: ...


def apply_reverse(
    text: bytes | str | None,
    spec: str,
    separator: bytes | None = None,
    known: Iterable[bytes] = (),
) -> bytes | str | None:
    """Return what *text* was before the changes that *spec* tells of, the last one first.

    *spec* may be a chain joined with ``;``, oldest first. What was before no text (``None``) is
    returned as bytes. *separator* must be what the spec was made with. *known* are lines to
    look in for those of which an old spec holds only the MD5.

    Raises:
        InvalidChangeSpec: the spec does not follow the grammar, or does not fit the text.
    """
    data = _bytes(text)
    for piece in reversed(split_chain(spec)):
        entries = unpack(piece)
        parting = CR if entries.startswith('r') else separator or LF
        lines = _undo(split_lines(data, parting), entries.removeprefix('r'), known)
        data = join_lines(lines, parting)
    if not isinstance(text, str) or data is None:
        return data
    try:
        return data.decode('utf-8', 'surrogatepass')
    except UnicodeDecodeError:
        raise InvalidChangeSpec('the change-spec leads back to bytes that are no text') from None


def _undo(lines: list[bytes], entries: str, known: Iterable[bytes]) -> list[bytes]:
    old: list[bytes] = []
    by_md5: dict[str, bytes] = {}
    position = at = 0  # the same place: counted as in the spec, and in lines
    for place, change in decode_list(entries):
        kept = at + place - position
        here = kept + (change.kind != DELETED)
        if here > len(lines):
            raise InvalidChangeSpec('the change-spec belongs to a longer text than this')
        old += lines[at:kept]
        if change.initial is not None:
            old.append(_line(change.initial, known, by_md5))
        position, at = place + 1, here
    return old + lines[at:]


def _line(initial: Initial, known: Iterable[bytes], by_md5: dict[str, bytes]) -> bytes:
    if initial.value is not None:
        return initial.value
    if not by_md5:
        by_md5.update((md5(line), line) for line in known)
    try:
        return by_md5[initial.md5]
    except KeyError:
        raise InvalidChangeSpec('of an old line the change-spec holds only the MD5') from None


def _bytes(text: bytes | str | None) -> bytes | None:
    return None if text is None else to_bytes(text)


__all__ = ['WORDS', 'apply_reverse', 'check_text_spec', 'join_specs', 'text_spec']
