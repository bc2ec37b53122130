"""Change trackers: collapsing changes, and telling news from what is stale."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysyncml.constants import ITEM_ADDED, ITEM_DELETED, ITEM_MODIFIED, ITEM_OK
from pysyncml.errors import ConflictError, InvalidChangeSpec
from pysyncml.merge import AttributeChangeTracker, ListChangeTracker, apply_reverse, text_spec


def attributes(*changes, spec=None):
    tracker = AttributeChangeTracker(spec)
    for change in changes:
        tracker.append(*change)
    return tracker


@pytest.mark.parametrize(
    ('changes', 'spec'),
    [
        (
            [
                ('z', ITEM_ADDED),
                ('b', ITEM_MODIFIED, 'B'),
                ('a', ITEM_MODIFIED, 'A'),
                ('c', ITEM_DELETED, 'C'),
            ],
            'add:z|mod:a@vA,b@vB|del:c@vC',
        ),
        ([('a b,c', ITEM_MODIFIED, 'x|y:z;@/')], 'mod:a%20b%2Cc@vx%7Cy%3Az%3B%40/'),
        ([('x', ITEM_ADDED), ('x', ITEM_DELETED, '1')], ''),
        ([('x', ITEM_MODIFIED, '1'), ('x', ITEM_DELETED, '2')], 'del:x@v1'),
        ([('x', ITEM_DELETED, '1'), ('x', ITEM_ADDED)], 'del:x@v1'),
        ([('x', ITEM_MODIFIED, '1'), ('x', ITEM_MODIFIED, '2')], 'mod:x@v1'),
        ([('x', ITEM_ADDED), ('x', ITEM_MODIFIED, '2')], 'add:x'),
        ([('f', ITEM_MODIFIED, 'x' * 32)], f'mod:f@v{"x" * 32}'),
        (
            [('f', ITEM_MODIFIED, 'x' * 33)],
            f'mod:f@m{hashlib.md5(b"x" * 33).hexdigest()}',
        ),
        (
            [('f', ITEM_MODIFIED, 'b4f13cb081e412f44e99742cb128a1a5', True)],
            'mod:f@mb4f13cb081e412f44e99742cb128a1a5',
        ),
        ([('f', ITEM_MODIFIED, None)], 'mod:f@v'),
        ([('f', ITEM_MODIFIED, 'é')], 'mod:f@v%C3%A9'),
        ([('f', ITEM_MODIFIED, 42)], 'mod:f@v42'),
        ([], ''),
    ],
)
def test_attribute_specs(changes, spec):
    tracker = attributes(*changes)
    assert tracker.getChangeSpec() == tracker.getFullChangeSpec() == str(tracker) == spec
    assert str(attributes(spec=spec)) == spec


def test_what_was_pushed_is_not_told_again():
    tracker = attributes(('x', ITEM_DELETED, '2'), spec='mod:x@v1;add:y')
    assert tracker.getChangeSpec() == 'del:x@v2'
    assert tracker.getFullChangeSpec() == 'add:y|del:x@v1'
    tracker.pushChangeSpec('mod:z@v3')
    assert tracker.getChangeSpec() == ''
    assert tracker.getFullChangeSpec() == 'add:y|mod:z@v3|del:x@v1'


@pytest.mark.parametrize(
    'spec', ['nonsense', 'mod:x', 'mod:x@', 'mod:x@q1', 'add:x@v1', 'mod:x@m12', 'new:x@v1']
)
def test_what_is_no_attribute_spec(spec):
    with pytest.raises(InvalidChangeSpec):
        AttributeChangeTracker(spec)


@pytest.mark.parametrize('spec', ['', ';', ';;add:y;'])
def test_an_empty_spec_says_nothing(spec):
    assert AttributeChangeTracker(spec).isChange('x', ITEM_MODIFIED, '2') == 'x'


def test_there_are_three_kinds_of_change():
    with pytest.raises(InvalidChangeSpec, match='no kind'):
        AttributeChangeTracker().append('x', ITEM_OK)


def test_attribute_is_change():
    long = 'o' * 40
    tracker = AttributeChangeTracker(
        f'add:new|mod:x@v1,l@m{hashlib.md5(long.encode()).hexdigest()}|del:gone@v9'
    )
    assert tracker.isChange('other', ITEM_MODIFIED, '5') == 'other'
    assert tracker.isChange('other', ITEM_DELETED) == 'other'
    assert tracker.isChange('x', ITEM_MODIFIED, '1') is None
    assert tracker.isChange('x', ITEM_MODIFIED, hashlib.md5(b'1').hexdigest(), True) is None
    assert tracker.isChange('l', ITEM_MODIFIED, long) is None
    assert (
        tracker.isChange('l', ITEM_MODIFIED, hashlib.md5(long.encode()).hexdigest(), True) is None
    )
    assert tracker.isChange('new', ITEM_DELETED) is None
    assert tracker.isChange('gone', ITEM_ADDED, '9') is None
    for change in (
        ('x', ITEM_MODIFIED, '2'),
        ('x', ITEM_DELETED),
        ('l', ITEM_MODIFIED, 'p' * 40),
        ('new', ITEM_MODIFIED, '2'),
        ('gone', ITEM_ADDED, '8'),
    ):
        with pytest.raises(ConflictError):
            tracker.isChange(*change)


def test_attribute_update():
    tracker = AttributeChangeTracker('mod:x@v1|del:gone@v9')
    assert tracker.update('x', '2', '1') == '2'
    assert tracker.update('x', '2', '2') == '2'
    assert tracker.update('y', '1', '2') == '2'
    assert tracker.update('y', '1', None) is None
    assert tracker.update('gone', None, '9') is None
    assert tracker.update('x', '1', '3') == '3'  # changed here, and changed back
    with pytest.raises(ConflictError):
        tracker.update('x', '2', '3')


# --- lists ------------------------------------------------------------------------------------


def test_list_spec():
    tracker = ListChangeTracker()
    tracker.append(7, ITEM_DELETED, 'g').append(2, ITEM_ADDED).append(3, ITEM_MODIFIED, 'c')
    assert tracker.getChangeSpec() == '2:a,1:mc,4:dg'
    assert str(ListChangeTracker('2:a,1:mc,4:dg')) == '2:a,1:mc,4:dg'
    with pytest.raises(InvalidChangeSpec):
        tracker.append(3, ITEM_ADDED)
    with pytest.raises(InvalidChangeSpec):
        tracker.append(-1, ITEM_ADDED)


def test_list_specs_with_an_md5_stay_as_they_are():
    digest = hashlib.md5(b'c').hexdigest()
    assert str(ListChangeTracker(f'3:M{digest}')) == f'3:M{digest}'
    assert ListChangeTracker(f'3:M{digest}').isChange(3, ITEM_MODIFIED, 'c')[0] is None


def test_list_is_change():
    # a b c d e  ->  a X c D e (b deleted, X added in its place, d modified)
    tracker = ListChangeTracker('1:db,1:a,2:md')
    assert tracker.isChange(0, ITEM_MODIFIED, 'A')[0] == 0
    # what the peer has still to hear of
    index, token = tracker.isChange(1, ITEM_ADDED, 'b')
    assert index is None
    assert tracker.isChange(1, ITEM_DELETED, token=token)[0] is None
    assert tracker.isChange(3, ITEM_MODIFIED, 'd', token=token)[0] is None
    # what it changed
    assert tracker.isChange(2, ITEM_DELETED)[0] == 2
    assert tracker.isChange(4, ITEM_DELETED)[0] == 4
    assert tracker.isChange(5, ITEM_ADDED, 'f')[0] == 5
    for change in (
        (1, ITEM_ADDED, 'BB'),
        (1, ITEM_MODIFIED, 'Y'),
        (3, ITEM_MODIFIED, 'DD'),
        (3, ITEM_DELETED),
    ):
        with pytest.raises(ConflictError):
            tracker.isChange(*change)


def test_a_deleted_entry_is_stale_only_once():
    tracker = ListChangeTracker('1:db,1:db')
    first, token = tracker.isChange(1, ITEM_ADDED, 'b')
    second, token = tracker.isChange(1, ITEM_ADDED, 'b', token=token)
    third, token = tracker.isChange(1, ITEM_ADDED, 'b', token=token)
    assert (first, second, third) == (None, None, 1)


texts = st.lists(st.sampled_from('abc'), max_size=7).map('\n'.join)


@given(st.lists(texts, min_size=2, max_size=5))
def test_specs_of_a_list_collapse_into_one(history):
    tracker = ListChangeTracker()
    for old, new in pairwise(history):
        tracker.pushChangeSpec(text_spec(old, new))
    assert apply_reverse(history[-1], str(tracker)) == history[0]
