"""The grammar of filters: what is understood, what is refused, and which items fit."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pysyncml.errors import FeatureNotSupported, InvalidFilter
from pysyncml.protocol.filters import LUID, Comparison, Query, check, matches, parse

NOTE = {
    'name': 'Übung.txt',
    'subject': ('Shopping list', 'milk & bread'),
    'modified': '20240310T120000Z',
    'size': '42',
    'empty': '',
    'missing': None,
    LUID: 'x17',
}


@pytest.mark.parametrize(
    'query',
    [
        'name&EQ;%C3%9Cbung.txt',
        'NAME&EQ;%c3%9cbung.txt',
        'name&iEQ;%C3%BCBUNG.TXT',
        'name&NE;other',
        'subject&CON;bread',
        'subject&CON;milk %26 bread',
        'subject&iCON;SHOPPING',
        'subject&NCON;cheese',
        'subject&EQ;Shopping list',
        'size&GT;9',
        'size&LT;100',
        'size&EQ;42.0',
        'modified&GE;20240310T120000Z',
        'modified&LT;20240311',
        'modified&GT;2024-03-10T11:59:59Z',
        'SINCE&EQ;20240301T000000Z',
        'before&EQ;20240401',
        'empty&EQ;&NULL;',
        'missing&EQ;&NULL;',
        'unknown&EQ;',
        'name&NE;&NULL;',
        '&LUID;&EQ;x17',
        '&luid;&NE;x18',
        'name&EQ;no&OR;size&EQ;42',
        'name&EQ;no&AND;size&EQ;42&OR;size&EQ;42&and;subject&icon;LIST',
        ' size &EQ; 42 ',
    ],
)
def test_the_note_is_wanted(query):
    assert matches(parse(query), NOTE)


@pytest.mark.parametrize(
    'query',
    [
        'name&EQ;%C3%BCbung.txt',
        'name&NE;%C3%9Cbung.txt',
        'subject&CON;SHOPPING',
        'subject&NCON;bread',
        'subject&NE;Shopping list',
        'size&LT;9',
        'size&GE;100',
        'SINCE&EQ;20240401T000000Z',
        'BEFORE&EQ;20240310T120000Z',
        'name&EQ;&NULL;',
        'missing&EQ;x',
        'missing&LT;x',
        '&LUID;&EQ;X17',
        'size&EQ;42&AND;name&EQ;no',
        'name&EQ;no&AND;size&EQ;42&OR;size&EQ;42&AND;name&EQ;no',
    ],
)
def test_the_note_is_not_wanted(query):
    assert not matches(parse(query), NOTE)


@pytest.mark.parametrize(
    'query',
    [
        '',
        'name',
        'name=x',
        '&EQ;x',
        ' &EQ;x',
        'name&EQ;a&EQ;b',
        'name&EQ;a&AND;',
        '&OR;name&EQ;a',
        'name&XX;a',
        'name&EQ;&LUID;',
        'name&EQ;a&b',
        'name&EQ;100%',
        'name&EQ;%zz',
        'name&EQ;%ff',
        'SINCE&EQ;yesterday',
        'SINCE&EQ;20241350T000000Z',
        'SINCE&GE;20240301',
        'SINCE&EQ;&NULL;',
        'name&EQ;' + 'x' * 10_000,
        '&OR;'.join(['name&EQ;x'] * 101),
    ],
)
def test_what_breaks_the_grammar_is_422(query):
    with pytest.raises(InvalidFilter) as caught:
        parse(query)
    assert caught.value.status == 422


@pytest.mark.parametrize(
    'query', ['body&EQ;x', 'MAXSIZE&LE;100', 'MAXCOUNT&EQ;5', 'NOATT&EQ;1', 'name&EQ;x&OR;b&EQ;y']
)
def test_what_is_not_known_is_406(query):
    with pytest.raises(FeatureNotSupported) as caught:
        check(parse(query), ('Name', 'subject'))
    assert caught.value.status == 406


def test_a_keyword_needs_the_property_it_stands_for():
    query = parse('since&EQ;20240101&AND;&LUID;&NE;&NULL;')
    check(query, ('modified',))
    with pytest.raises(FeatureNotSupported, match='"since"'):
        check(query, ('name',))


def test_options_of_another_kind_are_406():
    with pytest.raises(FeatureNotSupported):
        parse('/dr(-7,30)')


def test_and_binds_closer_than_or():
    query = parse('a&EQ;1&AND;b&EQ;2&OR;c&EQ;3')
    assert [len(parts) for parts in query.alternatives] == [2, 1]


TEXT = st.text(st.characters(exclude_categories=('Cs',)), max_size=20)
NAMES = TEXT.filter(lambda name: name and name.upper() not in ('SINCE', 'BEFORE'))
COMPARISONS = st.builds(
    Comparison,
    name=NAMES | st.just(LUID),
    operator=st.sampled_from(['EQ', 'NE', 'GT', 'GE', 'LT', 'LE', 'CON', 'NCON']),
    value=st.none() | TEXT,
    ignores_case=st.booleans(),
)
QUERIES = st.builds(
    Query,
    st.lists(st.lists(COMPARISONS, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3).map(
        tuple
    ),
)


@given(QUERIES)
@example(Query(((Comparison('/dr', 'EQ', 'a/b'),),)))
def test_what_is_written_is_read_again(query):
    assert parse(str(query)) == query


@given(QUERIES, st.dictionaries(NAMES, st.none() | TEXT | st.lists(TEXT, max_size=3)))
def test_every_query_has_an_answer(query, properties):
    assert matches(query, properties) in (True, False)


WORDS = ['&EQ;', '&iCON;', '&AND;', '&OR;', '&LUID;', '&NULL;', '%41', '%', '&', ';', 'SINCE', 'x']


@given(st.lists(st.sampled_from(WORDS) | TEXT).map(''.join))
def test_garbage_is_refused_in_one_way(text):
    with contextlib.suppress(InvalidFilter, FeatureNotSupported):
        query = parse(text)
        assert parse(str(query)) == query
