"""What differs between two lists of lines, found in bounded time.

Lines that occur once on both sides are matched first (patience diff), which keeps blank lines and
braces from being matched across unrelated paragraphs; between them Myers' greedy O(ND) search
finds the shortest script. Both together may look at a limited number of lines; what is not
settled by then counts as replaced as a whole. So the answer is always right, nearly always
short, and never takes long, whatever a peer sends.

E. W. Myers, "An O(ND) Difference Algorithm and Its Variations", Algorithmica 1 (1986).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from typing import NamedTuple

# How many steps (comparisons, roughly) a diff may cost: about a second.
BUDGET = 3_000_000
# Scripts longer than this are not worth searching for: the trace grows with the square.
MAX_SCRIPT = 400


class Hunk(NamedTuple):
    """Lines ``old[old_from:old_to]`` became ``new[new_from:new_to]``."""

    old_from: int
    old_to: int
    new_from: int
    new_to: int


class _Budget:
    """The steps that are left."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def spend(self, steps: int) -> bool:
        """Take *steps* off; return whether there were as many."""
        self.steps -= steps
        return self.steps >= 0


def diff(old: Sequence[Hashable], new: Sequence[Hashable], budget: int = BUDGET) -> list[Hunk]:
    """Return the hunks that turn *old* into *new*, in order; no two of them touch."""
    ids: dict[Hashable, int] = {}
    a = [ids.setdefault(line, len(ids)) for line in old]
    b = [ids.setdefault(line, len(ids)) for line in new]
    left = _Budget(budget)
    found: list[Hunk] = []
    boxes = [Hunk(0, len(a), 0, len(b))]
    while boxes:
        box = _trim(a, b, boxes.pop())
        if box.old_from == box.old_to or box.new_from == box.new_to:
            if box.old_from != box.old_to or box.new_from != box.new_to:
                found.append(box)
            continue
        parts = _patience(a, b, box, left)
        if parts is not None:
            boxes.extend(parts)
        else:
            hunks, rest = _myers(a, b, box, left)
            found.extend(hunks)
            boxes.extend(rest)
    return _join(sorted(found))


def _trim(a: list[int], b: list[int], box: Hunk) -> Hunk:
    a0, a1, b0, b1 = box
    while a0 < a1 and b0 < b1 and a[a0] == b[b0]:
        a0 += 1
        b0 += 1
    while a0 < a1 and b0 < b1 and a[a1 - 1] == b[b1 - 1]:
        a1 -= 1
        b1 -= 1
    return Hunk(a0, a1, b0, b1)


def _join(hunks: list[Hunk]) -> list[Hunk]:
    joined: list[Hunk] = []
    for hunk in hunks:
        last = joined[-1] if joined else None
        if last and last.old_to == hunk.old_from and last.new_to == hunk.new_from:
            joined[-1] = Hunk(last.old_from, hunk.old_to, last.new_from, hunk.new_to)
        else:
            joined.append(hunk)
    return joined


# --- patience ---------------------------------------------------------------------------------


def _patience(a: list[int], b: list[int], box: Hunk, left: _Budget) -> list[Hunk] | None:
    """Return the boxes between the lines unique to both sides; ``None`` if there are none."""
    if not left.spend(box.old_to - box.old_from + box.new_to - box.new_from):
        return None
    in_a = _unique(a, box.old_from, box.old_to)
    in_b = _unique(b, box.new_from, box.new_to)
    pairs = [(at, in_b[line]) for line, at in in_a.items() if line in in_b]
    if not pairs:
        return None
    boxes = []
    a0, b0 = box.old_from, box.new_from
    for at_a, at_b in _longest_increasing(pairs):
        boxes.append(Hunk(a0, at_a, b0, at_b))
        a0, b0 = at_a + 1, at_b + 1
    boxes.append(Hunk(a0, box.old_to, b0, box.new_to))
    return boxes


def _unique(lines: list[int], start: int, stop: int) -> dict[int, int]:
    """Return the position of each line that occurs once in a range, in order."""
    seen: dict[int, int] = {}
    for at in range(start, stop):
        seen[lines[at]] = -1 if lines[at] in seen else at
    return {line: at for line, at in seen.items() if at >= 0}


def _longest_increasing(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest run of *pairs*, sorted by the first, that rises in the second."""
    tails: list[int] = []  # the lowest second value that ends a run of each length
    ends: list[int] = []  # the index of that pair
    before: list[int] = []  # for each pair, the one before it in its run
    for index, (_, value) in enumerate(pairs):
        length = bisect_left(tails, value)
        before.append(ends[length - 1] if length else -1)
        if length == len(tails):
            tails.append(value)
            ends.append(index)
        else:
            tails[length] = value
            ends[length] = index
    run = []
    index = ends[-1]
    while index >= 0:
        run.append(pairs[index])
        index = before[index]
    return run[::-1]


# --- Myers ------------------------------------------------------------------------------------


def _myers(a: list[int], b: list[int], box: Hunk, left: _Budget) -> tuple[list[Hunk], list[Hunk]]:
    """Return the hunks of a shortest script for *box*, and the box that is still to be looked at.

    ``furthest[k]`` is how far into *a* a script of the current length can get on the diagonal
    ``k`` (lines of *a* used minus lines of *b* used). When scripts get too long, the one that
    got furthest is taken, and the search begins anew where it ends.
    """
    n, m = box.old_to - box.old_from, box.new_to - box.new_from
    furthest = {1: 0}
    trace: list[dict[int, int]] = []
    for length in range(min(n + m, MAX_SCRIPT) + 1):
        trace.append(furthest.copy())
        steps = length + 1
        for k in range(-length, length + 1, 2):
            x = _start(furthest, k, length)
            start = x
            y = x - k
            while x < n and y < m and a[box.old_from + x] == b[box.new_from + y]:
                x += 1
                y += 1
            steps += x - start
            furthest[k] = x
            if x >= n and y >= m:
                return _walk_back(trace, box, n, m), []
        if not left.spend(steps):
            return [box], []
    ends = [(x, x - k) for k, x in furthest.items() if (k - length) % 2 == 0]
    ends = [(x, y) for x, y in ends if x <= n and 0 <= y <= m]
    if not ends:
        return [box], []
    x, y = max(ends, key=sum)
    rest = Hunk(box.old_from + x, box.old_to, box.new_from + y, box.new_to)
    return _walk_back(trace, box, x, y), [rest]


def _start(furthest: dict[int, int], k: int, length: int) -> int:
    down = k == -length or (k != length and furthest[k - 1] < furthest[k + 1])
    return furthest[k + 1] if down else furthest[k - 1] + 1


def _walk_back(trace: list[dict[int, int]], box: Hunk, x: int, y: int) -> list[Hunk]:
    hunks = []
    for length in range(len(trace) - 1, 0, -1):
        furthest, k = trace[length], x - y
        down = k == -length or (k != length and furthest[k - 1] < furthest[k + 1])
        from_k = k + 1 if down else k - 1
        from_x = furthest[from_k]
        from_y = from_x - from_k
        to_x, to_y = (from_x, from_y + 1) if down else (from_x + 1, from_y)
        hunks.append(
            Hunk(
                box.old_from + from_x,
                box.old_from + to_x,
                box.new_from + from_y,
                box.new_from + to_y,
            )
        )
        x, y = from_x, from_y
    return hunks[::-1]
