"""The line diff: always right, short, and never slow."""

from __future__ import annotations

import random
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysyncml.merge.diff import Hunk, diff

lines = st.lists(st.sampled_from('abcde'), max_size=14)


def rebuild(old, new, hunks):
    """Apply the hunks to *old*."""
    result, at = [], 0
    for hunk in hunks:
        result += old[at : hunk.old_from]
        assert len(result) == hunk.new_from
        result += new[hunk.new_from : hunk.new_to]
        at = hunk.old_to
    return result + old[at:]


@given(lines, lines, st.sampled_from([0, 5, 20, 10**6]))
def test_hunks_lead_from_old_to_new_whatever_the_budget(old, new, budget):
    hunks = diff(old, new, budget)
    assert rebuild(old, new, hunks) == new
    for one, other in pairwise(hunks):
        assert one.old_to < other.old_from or one.new_to < other.new_from


@pytest.mark.parametrize(
    ('old', 'new', 'hunks'),
    [
        ('abc', 'abc', []),
        ('', '', []),
        ('abc', 'aBc', [(1, 2, 1, 2)]),
        ('abc', 'axbc', [(1, 1, 1, 2)]),
        ('abc', 'ac', [(1, 2, 1, 1)]),
        ('', 'ab', [(0, 0, 0, 2)]),
        ('ab', '', [(0, 2, 0, 0)]),
        ('abcd', 'AbcD', [(0, 1, 0, 1), (3, 4, 3, 4)]),
    ],
)
def test_small_ones(old, new, hunks):
    assert diff(old, new) == [Hunk(*hunk) for hunk in hunks]


def test_unique_lines_are_matched_before_repeated_ones():
    old = ['def a', '{', '}', '', 'def b', '{', '}']
    new = ['def a', '{', '}', '', 'def x', '{', '}', '', 'def b', '{', '}']
    assert diff(old, new) == [Hunk(4, 4, 4, 8)]


@pytest.mark.parametrize('kinds', [2, 1000, 10**6])
def test_many_unlike_lines_take_no_time(kinds):
    chance = random.Random(kinds)
    old = [chance.randrange(kinds) for _ in range(60_000)]
    new = [chance.randrange(kinds) for _ in range(60_000)]
    begin = time.process_time()
    hunks = diff(old, new)
    assert time.process_time() - begin < 5
    assert rebuild(old, new, hunks) == new


def test_a_long_script_is_found_piece_by_piece():
    chance = random.Random(5)
    old = [chance.randrange(3) for _ in range(20_000)]
    new = list(old)
    for at in range(0, 20_000, 25):
        new[at] = 7
    hunks = diff(old, new)
    assert rebuild(old, new, hunks) == new
    assert sum(hunk.new_to - hunk.new_from for hunk in hunks) < 2500
