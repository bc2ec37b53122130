"""Mergers: what they record and what they merge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysyncml.merge import (
    AttributeMergerFactory,
    CompositeMergerFactory,
    ConflictError,
    InvalidChangeSpec,
    TextMergerFactory,
    join_specs,
)

TEXT = TextMergerFactory()
NOTE = CompositeMergerFactory(mergers={'body': TextMergerFactory()})


def text_merge(base, ours, theirs, factory=TEXT):
    spec = factory.newMerger().pushChange(base, ours).getChangeSpec()
    return factory.newMerger(spec).mergeChanges(ours, theirs)


# --- attributes -------------------------------------------------------------------------------


def test_attributes():
    factory = AttributeMergerFactory()
    merger = factory.newMerger()
    merger.pushChange('tel', '123', '456').pushChange('fax', None, '789').pushChange('x', 1, 1)
    merger.pushChange('mail', 'a@b', None)
    spec = merger.getChangeSpec()
    assert spec == 'add:fax|mod:tel@v123|del:mail@va%40b'
    merger = factory.newMerger(spec)
    assert merger.mergeChanges('tel', '456', '123') == '456'
    assert merger.mergeChanges('fax', '789', None) == '789'
    assert merger.mergeChanges('mail', None, 'a@b') is None
    assert merger.mergeChanges('x', 1, 2) == 2
    assert merger.mergeChanges('x', 1, None) is None
    with pytest.raises(ConflictError):
        merger.mergeChanges('tel', '456', '000')
    with pytest.raises(ConflictError):
        merger.mergeChanges('mail', None, 'c@d')
    with pytest.raises(ConflictError):
        merger.mergeChanges('fax', '789', '000')


def test_only_what_is_new_is_told():
    merger = AttributeMergerFactory().newMerger('mod:x@v1')
    assert merger.getChangeSpec() == ''
    assert merger.pushChange('y', '1', '2').getChangeSpec() == 'mod:y@v1'
    assert merger.pushChangeSpec('add:z').getChangeSpec() == ''


# --- texts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('ours', 'theirs', 'merged'),
    [
        ('a\nB\nc', 'a\nb\nC', 'a\nB\nC'),
        ('a\nB\nc', 'a\nB\nc', 'a\nB\nc'),
        ('a\nx\nb\nc', 'a\nb', 'a\nx\nb'),
        ('a\nB\nc', 'a\nb\nc', 'a\nB\nc'),
        ('a\nb\nc', 'a\nb\nC', 'a\nb\nC'),
        ('a\r\nB\r\nc', 'a\nb\nC', 'a\r\nB\r\nC'),
    ],
)
def test_texts(ours, theirs, merged):
    assert text_merge('a\nb\nc', ours, theirs) == merged
    got = text_merge(b'a\nb\nc', ours.encode(), theirs.encode())
    assert got == merged.encode()


@pytest.mark.parametrize(
    ('ours', 'theirs'),
    [
        ('a\nB\nc', 'a\nBB\nc'),
        ('a\nc', 'a\nBB\nc'),
        ('a\nB\nc', 'a\nc'),
        ('a\nb\nc\nx', 'a\nb\nc\ny'),
        (None, 'a\nBB\nc'),
        ('a\nB\nc', None),
    ],
)
def test_conflicting_texts(ours, theirs):
    with pytest.raises(ConflictError):
        text_merge('a\nb\nc', ours, theirs)


def test_words():
    words = TextMergerFactory(multiLine=False)
    spec = words.newMerger().pushChange('the quick fox', 'the slow fox').getChangeSpec()
    assert spec == '1:mquick'
    merged = words.newMerger(spec).mergeChanges('the slow fox', 'the quick dog')
    assert merged == 'the slow dog'
    assert text_merge('a b', 'a', 'b', words) == ''
    assert text_merge(None, 'a', None, words) == 'a'


@pytest.mark.parametrize('base', [None, '', 'a'])
def test_no_text_is_not_an_empty_text(base):
    for other in (None, '', 'a', 'a\nb'):
        assert text_merge(base, other, base) == other
        assert text_merge(base, base, other) == other


def test_changes_in_a_row_become_one_spec():
    merger = TEXT.newMerger().pushChange('a\nb', 'a\nB').pushChange('a\nB', 'A\nB')
    assert merger.getChangeSpec() == '0:ma,1:mb'
    merger = TEXT.newMerger().pushChange('a', 'b').pushChange('b', 'a')
    assert merger.getChangeSpec() == ''
    merger = TEXT.newMerger().pushChange('a', 'b').pushChange('c', 'd')
    assert merger.getChangeSpec() == '0:ma;0:mc'


def test_several_changes_since_the_peer_looked():
    first = TEXT.newMerger().pushChange('a\nb\nc\nd', 'A\nb\nc\nd').getChangeSpec()
    second = TEXT.newMerger().pushChange('A\nb\nc\nd', 'A\nb\nc\nd\ne').getChangeSpec()
    merger = TEXT.newMerger(join_specs(first, second))
    assert merger.mergeChanges('A\nb\nc\nd\ne', 'a\nb\nC\nd') == 'A\nb\nC\nd\ne'
    merger = TEXT.newMerger(first).pushChangeSpec(second)
    assert merger.mergeChanges('A\nb\nc\nd\ne', 'a\nb\nC\nd') == 'A\nb\nC\nd\ne'
    merger = TEXT.newMerger(first).pushChange('A\nb\nc\nd', 'A\nb\nc\nd\ne')
    assert merger.mergeChanges('A\nb\nc\nd\ne', 'a\nb\nC\nd') == 'A\nb\nC\nd\ne'
    assert merger.getChangeSpec() == second


def test_old_specs_that_only_hold_an_md5_still_merge():
    digest = '92eb5ffee6ae2fec3ad71c777531578f'  # of b
    assert TEXT.newMerger(f'1:M{digest}').mergeChanges('a\nB\nc', 'a\nb\nC') == 'a\nB\nC'
    with pytest.raises(ConflictError):
        TEXT.newMerger(f'1:M{digest}').mergeChanges('a\nB\nc', 'a\nBB\nc')


def test_a_text_that_cannot_be_rebuilt_is_a_conflict():
    with pytest.raises(ConflictError, match='lost'):
        TEXT.newMerger('9:mx').mergeChanges('a', 'b')


def test_bytes_and_text_are_not_mixed():
    with pytest.raises(TypeError, match='not bytes and str'):
        TEXT.newMerger().pushChange('a', b'b')
    with pytest.raises(TypeError):
        TEXT.newMerger('').mergeChanges(b'a', 'b')
    with pytest.raises(TypeError):
        TEXT.newMerger().pushChange(1, 2)


any_text = st.lists(st.sampled_from(['a', 'b', '\n', '\r\n', '\r', 'é'])).map(''.join)


@given(any_text, any_text, any_text)
def test_text_and_bytes_merge_alike(base, ours, theirs):
    try:
        merged = text_merge(base, ours, theirs)
    except ConflictError:
        with pytest.raises(ConflictError):
            text_merge(base.encode(), ours.encode(), theirs.encode())
    else:
        assert text_merge(base.encode(), ours.encode(), theirs.encode()) == merged.encode()


# --- what is known ------------------------------------------------------------------------------


@pytest.mark.parametrize('factory', [AttributeMergerFactory(), NOTE])
def test_without_a_past_only_equal_values_merge(factory):
    assert factory.newMerger().mergeChanges('name', 'a', 'a') == 'a'
    with pytest.raises(ConflictError, match='not known'):
        factory.newMerger().mergeChanges('name', 'a', 'b')
    assert factory.newMerger('').mergeChanges('name', 'a', 'b') == 'b'


def test_without_a_past_texts_conflict():
    with pytest.raises(ConflictError, match='not known'):
        TEXT.newMerger().mergeChanges('a', 'b')
    with pytest.raises(ConflictError, match=r'body.*not known'):
        NOTE.newMerger().mergeChanges('body', b'a', b'b')
    assert TEXT.newMerger('').mergeChanges('a', 'b') == 'b'


@pytest.mark.parametrize('factory', [AttributeMergerFactory(), TEXT, NOTE])
def test_nonsense_is_refused(factory):
    with pytest.raises(InvalidChangeSpec):
        factory.newMerger('body=%FF&x')


# --- composites ---------------------------------------------------------------------------------


def note_spec(old, new):
    merger = NOTE.newMerger()
    merger.pushChange('name', old[0], new[0])
    merger.pushChange('body', old[1], new[1])
    return merger.getChangeSpec()


def test_composite_specs():
    assert note_spec(('old.txt', b'a\nb\nc'), ('new.txt', b'a\nB\nc')) == (
        'mod%3Aname%40vold.txt&body=1%3Amb'
    )
    assert note_spec(('n', b'1\n2\n3\nline 4'), ('n', b'1\n2\n3\nx')) == 'body=3%3Amline%25204'
    assert note_spec(('o', b'x'), ('n', b'x')) == 'mod%3Aname%40vo'
    assert note_spec(('n', b'x'), ('n', b'x')) == ''


def test_a_rename_here_and_an_edit_there_are_both_kept():
    merger = NOTE.newMerger(note_spec(('n', b'a\nb'), ('m', b'a\nb')))
    assert merger.mergeChanges('name', 'm', 'n') == 'm'
    assert merger.mergeChanges('body', b'a\nb', b'a\nB') == b'a\nB'


def test_an_edit_here_and_a_rename_there_are_both_kept():
    merger = NOTE.newMerger(note_spec(('n', b'a\nb'), ('n', b'a\nB')))
    assert merger.mergeChanges('name', 'n', 'm') == 'm'
    assert merger.mergeChanges('body', b'a\nB', b'a\nb') == b'a\nB'


def test_two_different_renames_are_a_conflict():
    merger = NOTE.newMerger(note_spec(('n', b'a'), ('m', b'a')))
    with pytest.raises(ConflictError, match='name'):
        merger.mergeChanges('name', 'm', 'o')
    with pytest.raises(ConflictError, match='body: line 1'):
        NOTE.newMerger(note_spec(('n', b'a'), ('n', b'b'))).mergeChanges('body', b'b', b'c')


def test_composite_chains():
    spec = join_specs(
        note_spec(('n', b'a\nb\nc'), ('m', b'A\nb\nc')),
        note_spec(('m', b'A\nb\nc'), ('o', b'A\nB\nc')),
    )
    merger = NOTE.newMerger(spec)
    assert merger.mergeChanges('name', 'o', 'n') == 'o'
    assert merger.mergeChanges('body', b'A\nB\nc', b'a\nb\nC') == b'A\nB\nC'
    assert merger.getChangeSpec() == ''


def test_composite_with_a_merger_for_each_field():
    factory = CompositeMergerFactory(sharedDefault=False, body=TextMergerFactory())
    merger = factory.newMerger().pushChange('b', '1', '2').pushChange('a', '3', '4')
    assert merger.getChangeSpec() == 'a=mod%3Aa%40v3&b=mod%3Ab%40v1'
    merger = factory.newMerger(merger.getChangeSpec())
    assert merger.mergeChanges('a', '4', '3') == '4'
    assert merger.mergeChanges('c', '4', '3') == '3'


def test_a_default_without_field_names_is_not_shared():
    factory = CompositeMergerFactory(default=TextMergerFactory())
    spec = factory.newMerger().pushChange('x', 'a', 'b').pushChange('y', 'c', 'd').getChangeSpec()
    assert spec == 'x=0%3Ama&y=0%3Amc'
    assert factory.newMerger(spec).mergeChanges('x', 'b', 'a') == 'b'


def test_a_merger_can_be_told_more_later():
    merger = NOTE.newMerger()
    merger.pushChange('body', b'a', b'b')
    assert merger.mergeChanges('name', 'n', 'm') == 'm'
    merger.pushChangeSpec(note_spec(('n', b'b'), ('m', b'b')))
    assert merger.mergeChanges('name', 'm', 'n') == 'm'


value = st.none() | st.text(max_size=40) | st.binary(max_size=40)
record = st.fixed_dictionaries({'name': value, 'a&b': value, 'body': st.none() | st.binary()})


@pytest.mark.parametrize(
    'factory',
    [
        NOTE,
        AttributeMergerFactory(),
        CompositeMergerFactory(sharedDefault=False, body=TextMergerFactory()),
        CompositeMergerFactory(default=NOTE, body=AttributeMergerFactory()),
    ],
)
@given(before=record, after=record)
def test_the_spec_of_a_change_is_what_a_merger_says(factory, before, after):
    merger = factory.newMerger()
    for name in after:
        merger.pushChange(name, before[name], after[name])
    assert factory.spec_of(before, after) == merger.getChangeSpec()
    gone = {name: text for name, text in before.items() if text is not None}
    assert factory.spec_of(gone, after) == merger.getChangeSpec()
