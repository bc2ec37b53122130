"""Addresses, content types, and which datastore goes with which."""

from __future__ import annotations

import pytest

from pysyncml import ContentTypeInfo
from pysyncml.sync.pairing import clean_uri, common_types, find_uri, pair

PLAIN = ContentTypeInfo('text/plain', '1.0')
PLAIN_PREF = ContentTypeInfo('text/plain', '1.0', preferred=True)
SIFN = ContentTypeInfo('text/x-s4j-sifn', ['1.0', '1.1'])
SIFN_PREF = ContentTypeInfo('text/x-s4j-sifn', '1.1', preferred=True)
CARD = ContentTypeInfo('text/x-vcard', '2.1', preferred=True)


def common_type(ours, theirs):
    """Return the best type in which we can send; ``None`` if nothing fits."""
    return next(iter(common_types(ours, theirs)), None)


@pytest.mark.parametrize(
    ('uri', 'clean'),
    [
        ('notes', 'notes'),
        ('./notes', 'notes'),
        ('/notes', 'notes'),
        ('//notes', 'notes'),
        ('./Notes', 'notes'),
        ('notes/', 'notes'),
        ('./a/../notes', 'notes'),
        ('./notes?/dr(x)', 'notes'),
        ('./a/b', 'a/b'),
        ('http://host/path/notes', 'notes'),
        ('http://host/path/notes/', 'notes'),
        ('../../notes', 'notes'),
        ('', ''),
        ('.', ''),
    ],
)
def test_addresses_are_compared_cleaned(uri, clean):
    assert clean_uri(uri) == clean


def test_an_exact_address_goes_first():
    assert find_uri('Notes', ['notes', 'Notes']) == 'Notes'
    assert find_uri('./NOTES', ['x', 'notes']) == 'notes'
    assert find_uri('other', ['notes']) is None
    assert find_uri('notes', []) is None


def test_what_both_prefer_is_sent():
    assert common_type([PLAIN, SIFN_PREF], [PLAIN, SIFN_PREF]) == ('text/x-s4j-sifn', '1.1')


def test_what_the_peer_prefers_goes_before_what_we_prefer():
    assert common_type([PLAIN, SIFN_PREF], [PLAIN_PREF, SIFN]) == ('text/plain', '1.0')


def test_an_equal_version_goes_before_preference():
    other = ContentTypeInfo('text/x-s4j-sifn', '9.9', preferred=True)
    assert common_type([SIFN_PREF, PLAIN], [other, PLAIN]) == ('text/plain', '1.0')


def test_the_newest_shared_version_is_sent():
    both = ContentTypeInfo('text/x-s4j-sifn', ['1.0', '1.1', '2.0'])
    assert common_type([SIFN], [both]) == ('text/x-s4j-sifn', '1.1')


def test_a_version_nobody_shares_does_not_hinder():
    assert common_type([SIFN], [ContentTypeInfo('text/x-s4j-sifn', '3')]) == (
        'text/x-s4j-sifn',
        '1.1',
    )


def test_types_go_one_way_only():
    deaf = ContentTypeInfo('text/plain', '1.0', receive=False)
    dumb = ContentTypeInfo('text/plain', '1.0', transmit=False)
    assert common_type([PLAIN], [deaf]) is None
    assert common_type([dumb], [PLAIN]) is None
    assert common_type([dumb, SIFN], [PLAIN, SIFN]) == ('text/x-s4j-sifn', '1.1')


def test_case_does_not_matter():
    assert common_type([PLAIN], [ContentTypeInfo('Text/Plain', '1.0')]) == ('text/plain', '1.0')


def test_nothing_in_common():
    assert common_type([PLAIN], [CARD]) is None
    assert common_type([], [CARD]) is None
    assert common_type([], []) is None


def test_a_silent_peer_gets_what_we_prefer():
    assert common_type([PLAIN, SIFN_PREF], []) == ('text/x-s4j-sifn', '1.1')
    assert common_type([SIFN, PLAIN], []) == ('text/x-s4j-sifn', '1.1')


# --- pairs ----------------------------------------------------------------------------------------


def test_datastores_pair_by_type_whatever_they_are_called():
    ours = {'people': [CARD], 'memos': [SIFN_PREF, PLAIN]}
    theirs = {'note': [PLAIN, SIFN_PREF], 'card': [CARD], 'calendar': []}
    assert pair(ours, theirs) == {'people': 'card', 'memos': 'note'}


def test_preferred_types_decide_first():
    ours = {'a': [PLAIN, SIFN_PREF]}
    theirs = {'a': [PLAIN], 'b': [SIFN_PREF]}
    assert pair(ours, theirs) == {'a': 'b'}


def test_likeness_of_names_decides_among_equals():
    ours = {'notes': [PLAIN], 'tasks': [PLAIN]}
    theirs = {'./Task': [PLAIN], './Note': [PLAIN]}
    assert pair(ours, theirs) == {'notes': './Note', 'tasks': './Task'}


def test_nobody_is_paired_twice():
    ours = {'a': [PLAIN], 'b': [PLAIN]}
    assert len(pair(ours, {'x': [PLAIN]})) == 1
    assert len(pair({'x': [PLAIN]}, ours)) == 1


def test_nothing_in_common_is_no_pair():
    assert pair({'a': [PLAIN]}, {'a': [CARD]}) == {}
    assert pair({}, {'a': [CARD]}) == {}


def test_pairs_do_not_depend_on_the_order():
    ours = {name: [PLAIN] for name in ('one', 'two', 'three')}
    theirs = {name: [PLAIN] for name in ('1-one', '2-two', '3-three')}
    expected = {'one': '1-one', 'two': '2-two', 'three': '3-three'}
    assert pair(ours, theirs) == expected
    assert pair(dict(reversed(ours.items())), dict(reversed(theirs.items()))) == expected
