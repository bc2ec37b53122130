"""The index of notes, and how a scan compares it with the files."""

from __future__ import annotations

import random
import sqlite3
from itertools import islice

import pytest
import sqlalchemy
from sqlalchemy import event

from pysyncml.cli import makeModel
from pysyncml.cli.notes.index import NoteIndex, NoteRow, decode, make_models
from pysyncml.cli.notes.index import _encode as encode
from pysyncml.cli.notes.scan import _Stamps


@pytest.fixture
def model():
    model = makeModel(lambda: None)
    make_models(model)
    return model


@pytest.fixture
def connection(model, tmp_path):
    engine = sqlalchemy.create_engine(f'sqlite:///{tmp_path}/state.db')
    with engine.connect() as connection:
        model.create_tables(connection)
        yield connection


@pytest.fixture
def index(model, connection):
    return NoteIndex(model, connection)


def stamps(index):
    """Return path and stamp of all rows, as a scan reads them."""
    fetch, found = index.stamps(), []
    while rows := fetch(2):
        found += rows
    return [(decode(path), stamp) for path, stamp in found]


def put(index, *paths, stamp=b'1'):
    for number, path in enumerate(paths):
        index.put(NoteRow(f'{number}:{path!a}', path, path, '', stamp=stamp))


def test_stamps_come_by_path(index):
    paths = ['a-', 'a/b', 'a/b.txt', 'a/c/d', 'a.txt', 'a0/x', 'b', '\u00e9/x', '\U0001f600']
    shuffled = random.Random(1).sample(paths, len(paths))
    put(index, *shuffled)
    assert stamps(index) == [(path, b'1') for path in sorted(paths)]


def test_names_that_are_no_utf8_come_as_they_are(index):
    paths = ['a', 'a\udcff/b', '\udcfe', 'z', 'z\udcff']
    put(index, *paths)
    assert sorted(path for path, _ in stamps(index)) == sorted(paths)
    assert sorted(index.paths()) == sorted(paths)


def test_what_a_scan_asks_of_all_notes_is_in_one_index(index, connection):
    asked = []
    event.listen(
        connection,
        'before_cursor_execute',
        lambda _connection, _cursor, statement, values, *_: asked.append((statement, values)),
    )
    put(index, 'a')
    stamps(index)
    assert index.misplaced() == []
    plan = 'EXPLAIN QUERY PLAN SELECT path, stamp FROM noteitem ORDER BY path'
    [step] = connection.exec_driver_sql(plan)
    assert step[-1] == 'SCAN noteitem USING COVERING INDEX noteitem_path_stamp'
    statement, values = next(one for one in asked if '!=' in one[0])
    [step] = connection.exec_driver_sql(f'EXPLAIN QUERY PLAN {statement}', values)
    assert 'noteitem_misplaced' in step[-1]


def test_notes_that_lie_elsewhere_are_found(index):
    put(index, 'a', 'b')
    index.put(NoteRow('x', 'name', 'path', ''))
    assert [row.id for row in index.misplaced()] == ['x']


def test_a_table_of_an_earlier_version_gets_its_indexes(tmp_path, model):
    old = sqlite3.connect(tmp_path / 'old.db')
    old.execute('create table noteitem (name, path, sha256, inode, stamp, lastmod, extensions, id)')
    old.execute('create index ix_noteitem_path on noteitem (path)')
    old.execute("insert into noteitem (path, name, id) values ('p', 'n', '1')")
    old.commit()
    with sqlalchemy.create_engine(f'sqlite:///{tmp_path}/old.db').connect() as connection:
        for _ in range(2):
            model.create_tables(connection)
        assert [row.id for row in NoteIndex(model, connection).misplaced()] == ['1']
        connection.commit()
    found = {name for (name,) in old.execute("select name from sqlite_master where type = 'index'")}
    assert {'noteitem_path_stamp', 'noteitem_misplaced'} <= found
    old.close()


def chunks(chance, count):
    """Return numbers whose sum is *count* at least, as of files in folders."""
    sizes = []
    while sum(sizes) < count:
        sizes.append(chance.choice([1, 2, 3, 7, 20]))
    return sizes


@pytest.mark.parametrize('seed', range(200))
def test_files_and_rows_meet_whatever_comes_between(seed):
    """Every path is compared, and one at which two notes are said to lie is looked at."""
    chance = random.Random(seed)
    names = [f'{number:02}' for number in range(30)]
    if seed % 3 == 0:  # they come in another order than they do from a walk
        names = [name + chance.choice(['', '\udcff', '\udcffx']) for name in names]
    few = chance.choice([0, 0.1, 0.5])
    files = [(name, b'1') for name in sorted(names) if chance.random() >= few]
    rows = [
        (encode(name), chance.choice([b'1', b'2', None]) if chance.random() < few else b'1')
        for name in names
        if chance.random() >= few
    ]
    doubled = [row for row in rows if chance.random() < few]
    rows = sorted([*rows, *doubled], key=lambda row: row[0].encode())
    comparison = _Stamps()
    coming, rest = iter(files), iter(rows)
    for size in chunks(chance, len(files)):
        comparison.take_in(list(islice(coming, size)), list(islice(rest, size)))
    while more := list(islice(rest, 5)):
        comparison.take_in([], more)
    stamp_of = dict(files)
    known = {decode(path): stamp for path, stamp in rows}
    twice = {decode(path) for path, _ in doubled}
    both = stamp_of.keys() & known
    assert set(comparison.files) == stamp_of.keys() - known
    assert set(comparison.rows) == known.keys() - stamp_of
    assert set(comparison.differing) == {
        path for path in both if path in twice or known[path] != stamp_of[path]
    }


def test_what_is_equal_is_compared_many_at_a_time():
    """As few steps of the interpreter as there are folders, however many files these have."""
    comparison = _Stamps()
    comparison._differ = None
    files = [(f'{number:05}', b'1') for number in range(10_000)]
    comparison.take_in(files, list(files))
    assert not (comparison.files or comparison.rows or comparison.differing)


# --- names --------------------------------------------------------------------------------------


def row(item_id: str, name: str) -> NoteRow:
    return NoteRow(item_id, name, name, 'digest')


def named(index: NoteIndex, name: str) -> list[str]:
    return sorted(found.id for found in index.named(name))


def test_names_that_were_loaded_keep_step_with_changes(model, connection):
    index = NoteIndex(model, connection)
    for item_id, name in (('1', 'a'), ('2', 'a'), ('3', 'b')):
        index.put(row(item_id, name))
    index.flush()

    index = NoteIndex(model, connection)
    index.prefetch_named(['a', 'b', 'c'])
    assert (named(index, 'a'), named(index, 'b'), named(index, 'c')) == (['1', '2'], ['3'], [])
    moved = index.get('1')
    moved.name = 'b'
    index.put(moved)
    index.remove('2')
    index.put(row('4', 'c'))
    for _ in range(2):
        assert (named(index, 'a'), named(index, 'b'), named(index, 'c')) == ([], ['1', '3'], ['4'])
        index.flush()


def test_contents_that_were_loaded_keep_step_with_changes(model, connection):
    def having(sha256):
        return sorted(row.id for row in index.with_content(sha256))

    index = NoteIndex(model, connection)
    for item_id, sha256 in (('1', 'x'), ('2', 'x'), ('3', 'y')):
        index.put(NoteRow(item_id, item_id, item_id, sha256))
    index.flush()

    index = NoteIndex(model, connection)
    asked = []
    listen = event.listens_for(connection, 'before_cursor_execute')
    listen(lambda _connection, _cursor, statement, *_: asked.append(statement))
    index.prefetch_contents(['x', 'y', 'z'])
    assert (having('x'), having('y'), having('z')) == (['1', '2'], ['3'], [])
    assert len(asked) == 1
    changed = index.get('1')
    changed.sha256 = 'y'
    index.put(changed)
    index.remove('2')
    index.put(NoteRow('4', '4', '4', 'z'))
    for _ in range(2):
        assert (having('x'), having('y'), having('z')) == ([], ['1', '3'], ['4'])
        index.flush()


def test_a_note_that_got_another_name_before_its_old_one_is_asked_for(model, connection):
    index = NoteIndex(model, connection)
    index.put(row('1', 'a'))
    index.put(row('2', 'b'))
    index.flush()
    moved = index.get('1')
    moved.name = 'b'
    index.put(moved)
    assert named(index, 'a') == []
    assert named(index, 'b') == ['1', '2']


def test_a_database_of_an_earlier_version_gets_the_index_of_misplaced_notes(model, connection):
    def plan() -> str:
        index = NoteIndex(model, connection)
        asked: list[str] = []
        index._select = lambda query, values: asked.append(str(query.compile(connection)))
        index.misplaced()
        return str(connection.exec_driver_sql(f'EXPLAIN QUERY PLAN {asked[0]}').all())

    connection.exec_driver_sql('DROP INDEX noteitem_misplaced')
    model.create_tables(connection)
    assert 'noteitem_misplaced' in plan()
