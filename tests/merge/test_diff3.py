"""Three-way merging of texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysyncml.errors import ConflictError
from pysyncml.merge.diff3 import merge_lines, merge_texts

CONFLICT = object()


def lines(text):
    return [letter.encode() for letter in text]


@pytest.mark.parametrize(
    ('base', 'ours', 'theirs', 'merged'),
    [
        ('abc', 'aBc', 'abC', 'aBC'),  # adjacent lines
        ('abc', 'aBc', 'abc', 'aBc'),
        ('abc', 'aBc', 'aBc', 'aBc'),  # the same change
        ('abc', 'aBc', 'aXc', CONFLICT),
        ('abc', 'axbc', 'ab', 'axb'),
        ('abc', 'ac', 'aBc', CONFLICT),  # deleted against changed
        ('abc', 'aBc', 'ac', CONFLICT),
        ('abc', 'ac', 'ac', 'ac'),
        ('abc', 'abcx', 'abcy', CONFLICT),  # both append
        ('abc', 'abcx', 'abcx', 'abcx'),
        ('abc', 'abxc', 'abyc', CONFLICT),  # both insert
        ('abc', 'xabc', 'abcy', 'xabcy'),
        ('abc', 'abcx', 'abC', 'abCx'),  # appended after a changed line
        ('abc', 'axbc', 'aBc', 'axBc'),  # inserted before a changed line
        ('abcd', 'aBCd', 'abXcd', 'aBXCd'),
        ('abcd', 'aBd', 'abXcd', CONFLICT),  # inserted into the middle of what was replaced
        ('abcd', 'abXcd', 'aBd', CONFLICT),
        ('abcde', 'aBBBe', 'abcdE', 'aBBBE'),
        ('abcd', 'ABcd', 'AbcD', 'ABcD'),  # one change is common
        ('abcdef', 'aXf', 'abCdEf', CONFLICT),
        ('abc', 'b', 'abc', 'b'),
        ('ab', 'a', 'b', ''),  # each deletes another line
        ('', 'a', '', 'a'),
        ('', 'a', 'b', CONFLICT),
    ],
)
def test_lines(base, ours, theirs, merged):
    for one, other in ((ours, theirs), (theirs, ours)):
        if merged is CONFLICT:
            with pytest.raises(ConflictError, match='changed on both sides'):
                merge_lines(lines(base), lines(one), lines(other))
        else:
            assert merge_lines(lines(base), lines(one), lines(other)) == lines(merged)


some = st.lists(st.sampled_from([b'a', b'b', b'c', b'']), max_size=8)


@given(some, some)
def test_what_only_one_side_changed_is_taken(base, side):
    assert merge_lines(base, base, side) == side
    assert merge_lines(base, side, base) == side
    assert merge_lines(base, side, side) == side


@given(some, some, some)
def test_it_does_not_matter_which_side_is_ours(base, one, other):
    def outcome(*sides):
        try:
            return merge_lines(base, *sides)
        except ConflictError:
            return CONFLICT

    assert outcome(one, other) == outcome(other, one)


@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.sampled_from('.LR'), min_size=n, max_size=n))
    )
)
def test_changes_of_different_lines_are_all_kept(case):
    count, who = case
    base = [b'%d' % n for n in range(count)]
    ours = [b'L%d' % n if side == 'L' else base[n] for n, side in enumerate(who)]
    theirs = [b'R%d' % n if side == 'R' else base[n] for n, side in enumerate(who)]
    both = [a if a != c else b for a, b, c in zip(ours, theirs, base, strict=True)]
    assert merge_lines(base, ours, theirs) == both


@given(some, some, some)
def test_no_line_that_a_side_added_is_ever_lost(base, ours, theirs):
    try:
        merged = merge_lines(base, ours, theirs)
    except ConflictError:
        return
    for side in (ours, theirs):
        assert set(side) - set(base) <= set(merged)


@pytest.mark.parametrize(
    ('base', 'ours', 'theirs', 'merged'),
    [
        (b'a\nb\nc\n', b'a\nB\nc\n', b'a\r\nb\r\nC\r\n', b'a\r\nB\r\nC\r\n'),
        (b'a\nb\nc\n', b'a\r\nb\r\nC\r\n', b'a\nB\nc\n', b'a\r\nB\r\nC\r\n'),
        (b'a\r\nb\r\n', b'a\nb\n', b'A\rb\r', b'A\nb\n'),
        (b'a\rb\rc', b'a\rB\rc', b'A\rb\rc', b'A\rB\rc'),
        (b'a\nb', b'a\nb\n', b'a\nb\nc', b'a\nb\nc\n'),  # a final newline is no line
        (b'a\nb\n', b'a\nb', b'A\nb\n', b'A\nb'),
        (b'a\r\nb\nc', b'a\r\nB\nc', b'a\r\nb\nC', b'a\r\nB\nC'),  # mixed: as it is
        (b'\xff\n\x00', b'\xff\n\x01', b'\xfe\n\x00', b'\xfe\n\x01'),
        (b'a\nb\n', b'a\n', b'b\n', b''),
        (b'a', None, b'a', None),
        (None, None, b'a', b'a'),
        (None, b'', b'', b''),
        (b'', b'', b'x', b'x'),
    ],
)
def test_texts(base, ours, theirs, merged):
    assert merge_texts(base, ours, theirs) == merged


@pytest.mark.parametrize(
    ('base', 'ours', 'theirs'),
    [(b'a', None, b'b'), (None, b'a', b'b'), (None, b'', b'x'), (b'a\r\nb\nc', b'a\nX', b'Y')],
)
def test_conflicting_texts(base, ours, theirs):
    with pytest.raises(ConflictError):
        merge_texts(base, ours, theirs)


snippets = st.lists(st.sampled_from([b'a', b'b', b'\n', b'\r', b'\r\n']), max_size=9).map(b''.join)


@given(snippets, snippets)
def test_one_changed_text_is_taken_as_it_is(base, side):
    assert merge_texts(base, base, side) == side
    assert merge_texts(base, side, base) == side
