"""Three-way merging: what two sides made of the same text, put together.

A conflict is a real overlap: both sides changed the same line, differently. Changes of lines
that merely lie side by side are both kept, and the same change on both sides is one change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from pysyncml.errors import ConflictError
from pysyncml.merge.diff import diff

LF, CR, CRLF = b'\n', b'\r', b'\r\n'


class _Change(NamedTuple):
    """Lines ``start`` to ``stop`` of the ancestor were replaced by ``lines``."""

    start: int
    stop: int
    lines: list[bytes]


def split_lines(text: bytes | None, separator: bytes) -> list[bytes]:
    """Return the lines of *text* without their ends; nothing at all for no text.

    ``b''`` is one empty line, so that it can be told from ``None``; and a text that ends in a
    separator has an empty line at its end. :func:`join_lines` is the exact inverse.
    """
    return [] if text is None else text.split(separator)


def join_lines(lines: Sequence[bytes], separator: bytes) -> bytes | None:
    """Return the text that has these *lines*."""
    return separator.join(lines) if lines else None


# --- lines ------------------------------------------------------------------------------------


def merge_lines(base: list[bytes], ours: list[bytes], theirs: list[bytes]) -> list[bytes]:
    """Return *base* with the changes of both sides.

    Raises:
        ConflictError: both changed the same lines in different ways.
    """
    left, right = _changes(base, ours), _changes(base, theirs)
    merged: list[bytes] = []
    done = 0  # so many lines of base are dealt with
    i = j = 0
    while i < len(left) or j < len(right):
        i2, j2 = _group(left, i, right, j)
        group = left[i:i2] or right[j:j2]
        if i2 > i and j2 > j:
            group = [_agree(base, left[i:i2], right[j:j2])]
        for change in group:
            merged += base[done : change.start]
            merged += change.lines
            done = change.stop
        i, j = i2, j2
    return merged + base[done:]


def _changes(base: list[bytes], side: list[bytes]) -> list[_Change]:
    """Return the changes of *side*; as many lines for as many count as changes line by line."""
    changes = []
    for hunk in diff(base, side):
        lines = side[hunk.new_from : hunk.new_to]
        if len(lines) == hunk.old_to - hunk.old_from:
            changes += [_Change(at, at + 1, [line]) for at, line in enumerate(lines, hunk.old_from)]
        else:
            changes.append(_Change(hunk.old_from, hunk.old_to, lines))
    return changes


def _clash(one: _Change, other: _Change) -> bool:
    """Tell whether two changes meet in the same lines, or insert at the same place."""
    if one.start == one.stop == other.start == other.stop:
        return True
    return (
        max(one.start, other.start) < min(one.stop, other.stop)
        or (one.start == one.stop and other.start < one.start < other.stop)
        or (other.start == other.stop and one.start < other.start < one.stop)
    )


def _group(left: list[_Change], i: int, right: list[_Change], j: int) -> tuple[int, int]:
    """Return where the next group of changes ends: one change, or all that hang together."""
    if i == len(left):
        return i, j + 1
    if j == len(right):
        return i + 1, j
    if not _clash(left[i], right[j]):
        return (i + 1, j) if left[i][:2] < right[j][:2] else (i, j + 1)
    stop = max(left[i].stop, right[j].stop)
    i, j = i + 1, j + 1
    while True:
        if i < len(left) and left[i].start < stop:
            stop = max(stop, left[i].stop)
            i += 1
        elif j < len(right) and right[j].start < stop:
            stop = max(stop, right[j].stop)
            j += 1
        else:
            return i, j


def _agree(base: list[bytes], left: list[_Change], right: list[_Change]) -> _Change:
    """Return the one change that both sides made of a range.

    Raises:
        ConflictError: they did not make the same of it.
    """
    start = min(left[0].start, right[0].start)
    stop = max(left[-1].stop, right[-1].stop)
    ours, theirs = _apply(base, start, stop, left), _apply(base, start, stop, right)
    if ours != theirs:
        where = f'line {start + 1}' if stop - start <= 1 else f'lines {start + 1} to {stop}'
        raise ConflictError(f'{where} changed on both sides')
    return _Change(start, stop, ours)


def _apply(base: list[bytes], start: int, stop: int, changes: list[_Change]) -> list[bytes]:
    lines: list[bytes] = []
    for change in changes:
        lines += base[start : change.start]
        lines += change.lines
        start = change.stop
    return lines + base[start:stop]


# --- texts ------------------------------------------------------------------------------------


def line_separator(*texts: bytes | None) -> bytes:
    """Return what separates the lines of *texts*: CR where there is no LF at all, else LF.

    Of CR LF the CR counts as part of the line, so nothing is lost when the texts are mixed.
    """
    present = [text for text in texts if text]
    if any(LF in text for text in present) or not any(CR in text for text in present):
        return LF
    return CR


def merge_texts(base: bytes | None, ours: bytes | None, theirs: bytes | None) -> bytes | None:
    """Return the text *base* with the changes of both sides; ``None`` stands for no text.

    How lines end, and whether the last one does, is merged by itself: when one side turned LF
    into CR LF throughout, or added a final newline, as devices and editors do, that neither
    counts as a change of every line nor collides with a line appended by the other side.

    Raises:
        ConflictError: both changed the same lines in different ways.
    """
    texts = [base, ours, theirs]
    styles = [_style(text) for text in texts]
    separator = line_separator(*texts)
    if all(style != _MIXED for style in styles) and len(set(styles) - {None}) > 1:
        for at, style in enumerate(styles):
            texts[at] = _replace(texts[at], style, LF)
        separator, style = LF, _settle(*styles)
    else:
        style = None
    ends = [None if text is None else text.endswith(separator) for text in texts]
    lines = [
        split_lines(text.removesuffix(separator) if text else text, separator) for text in texts
    ]
    merged = merge_lines(*lines)
    if not merged:
        return None if ours is None or theirs is None else b''
    text = separator.join(merged) + (separator if _settle(*ends) else b'')
    return _replace(text, LF, style)


_MIXED = b'mixed'


def _style(text: bytes | None) -> bytes | None:
    """Return how the lines of *text* end, or that they differ; ``None`` if it has but one."""
    if not text:
        return None
    crlf, cr, lf = text.count(CRLF), text.count(CR), text.count(LF)
    if crlf:
        return CRLF if crlf == cr == lf else _MIXED
    if cr and lf:
        return _MIXED
    return CR if cr else LF if lf else None


def _replace(text: bytes | None, old: bytes | None, new: bytes | None) -> bytes | None:
    return text.replace(old, new) if text and old and new and old != new else text


_T = TypeVar('_T')


def _settle(before: _T | None, ours: _T | None, theirs: _T | None) -> _T | None:
    """Return the side that changed; ours if both did; ``None`` has no opinion."""
    if ours is None or (ours == before and theirs is not None):
        return theirs
    return ours
