import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysyncml.cli.report import describeStats
from pysyncml.constants import SyncType
from pysyncml.stats import Stats

DOCUMENTED = """\
+---------------------------------------------------------------------------+
|                          Synchronization Summary                          |
+--------+------+-----------------------+-----------------------+-----------+
|        |      |         Local         |        Remote         | Conflicts |
| Source | Mode | Add | Mod | Del | Err | Add | Mod | Del | Err | Col | Mrg |
+--------+------+-----+-----+-----+-----+-----+-----+-----+-----+-----+-----+
|   note |  <>  |  10 |  -  |  -  |   1 |  -  |  -  |   1 |   2 |  -  |  -  |
+--------+------+-----+-----+-----+-----+-----+-----+-----+-----+-----+-----+
|              10 local changes, 1 remote change and 3 errors.              |
+---------------------------------------------------------------------------+
"""


def table(stats, **how):
    stream = io.StringIO()
    describeStats(stats, stream, **how)
    return stream.getvalue()


def note():
    return {'note': Stats(SyncType.TWO_WAY, hereAdd=10, hereErr=1, peerDel=1, peerErr=2)}


def test_the_documented_table():
    assert table(note(), title='Synchronization Summary') == DOCUMENTED


def test_no_title_begins_with_the_groups_and_no_totals_ends_with_the_rows():
    lines = DOCUMENTED.splitlines()
    assert table(note()).splitlines() == lines[2:]
    assert table(note(), totals=False).splitlines() == lines[2:8]


def test_without_details():
    stats = {'a': Stats(hereAdd=1)}
    assert table(stats, details=False).splitlines() == [
        '+-----------------+',
        '| 1 local change. |',
        '+-----------------+',
    ]
    assert table(stats, details=False, title='Sum').splitlines() == [
        '+-----------------+',
        '|       Sum       |',
        '| 1 local change. |',
        '+-----------------+',
    ]
    assert table(stats, details=False, title='Sum', totals=False) == '+-----+\n| Sum |\n'
    assert table(stats, details=False, totals=False) == ''


def test_empty_statistics_end_in_two_rules():
    lines = table({}).splitlines()
    assert lines[3] == lines[4]
    assert lines[5].strip('| ') == 'No changes.'


def test_defect_54_a_title_wider_than_the_table_widens_it():
    lines = table(note(), title='x' * 100).splitlines()
    assert {len(line) for line in lines} == {104}
    assert lines[1] == '| ' + 'x' * 100 + ' |'


def test_rows_are_sorted_by_uri_ignoring_case_and_thousands_have_commas():
    text = table({'b': Stats(hereMod=1234567), 'C': Stats(), 'A': Stats()})
    rows = [line.split('|')[1].strip() for line in text.splitlines()[4:7]]
    assert rows == ['A', 'b', 'C']
    assert ' 1,234,567 ' in text


@pytest.mark.parametrize(
    ('values', 'line'),
    [
        ({}, 'No changes.'),
        ({'hereAdd': 1, 'hereDel': 1}, '2 local changes.'),
        ({'hereAdd': 1, 'peerMod': 2}, '1 local change and 2 remote changes.'),
        ({'merged': 1}, 'No changes: 1 merge.'),
        ({'hereErr': 1, 'merged': 2, 'conflicts': 1}, '1 error: 2 merges and 1 conflict.'),
    ],
)
def test_the_sentence(values, line):
    assert table({'n': Stats(**values)}, details=False).splitlines()[1] == f'| {line} |'


def test_words_are_translated_and_groups_widened_to_them():
    words = {'Conflicts': 'Widersprüchlichkeiten', 'Local': 'Hier', 'Source': 'Quelle'}
    text = table(note(), gettext=lambda word: words.get(word, word))
    assert ' Widersprüchlichkeiten |' in text
    assert '| Quelle |' in text
    assert len({len(line) for line in text.splitlines()}) == 1


def test_all_modes_have_their_sign():
    signs = [table({'n': Stats(mode)}).splitlines()[4].split('|')[2].strip() for mode in SyncType]
    assert signs == ['<>', 'SS', '->', '=>', '<-', '<=', '<>']
    assert table({'n': Stats()}).splitlines()[4].split('|')[2].strip() == '-'


@given(
    st.dictionaries(st.text(max_size=30), st.integers(0, 10**9), max_size=4),
    st.text(st.characters(categories=['L', 'N']), max_size=120),
    st.booleans(),
)
def test_the_box_is_never_broken(numbers, title, totals):
    stats = {uri: Stats(hereAdd=n, conflicts=n // 2) for uri, n in numbers.items()}
    lines = table(stats, title=title or None, totals=totals).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert all(line[0] in '+|' and line[-1] in '+|' for line in lines)
