"""The index of notes, and how a scan compares it with the files."""

from __future__ import annotations

import random
import sqlite3

import pytest
import sqlalchemy
from sqlalchemy import event

from pysyncml.cli import makeModel
from pysyncml.cli.notes.index import NoteIndex, NoteRow, make_indexes, make_models
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
        make_indexes(connection)
        yield connection


@pytest.fixture
def index(model, connection):
    return NoteIndex(model, connection)


def put(index, *paths, stamp=b'1'):
    for number, path in enumerate(paths):
        index.put(NoteRow(f'{number}:{path!a}', path, path, '', stamp=stamp))


def test_stamps_come_by_path(index):
    paths = ['a-', 'a/b', 'a/b.txt', 'a/c/d', 'a.txt', 'a0/x', 'b', '\u00e9/x', '\U0001f600']
    shuffled = random.Random(1).sample(paths, len(paths))
    put(index, *shuffled)
    assert [path for path, _ in index.stamps()] == sorted(paths)
    assert dict(index.stamps()) == dict.fromkeys(paths, b'1')


def test_names_that_are_no_utf8_come_as_they_are(index):
    paths = ['a', 'a\udcff/b', '\udcfe', 'z', 'z\udcff']
    put(index, *paths)
    assert sorted(path for path, _ in index.stamps()) == sorted(paths)
    assert sorted(index.paths()) == sorted(paths)


@pytest.mark.parametrize('path', ['b', 'd', '\udcff'])
def test_a_path_at_which_several_are_said_to_lie_has_no_stamp(index, path):
    put(index, 'a', path, 'c', path, path)
    found = dict(index.stamps())
    assert found == {'a': b'1', 'c': b'1', path: None}
    assert index.doubles() == [path]


def test_what_a_scan_asks_of_all_notes_is_in_one_index(index, connection):
    asked = []
    event.listen(
        connection,
        'before_cursor_execute',
        lambda _connection, _cursor, statement, values, *_: asked.append((statement, values)),
    )
    put(index, 'a')
    list(index.stamps())
    assert index.misplaced() == []
    plan = 'EXPLAIN QUERY PLAN SELECT path, stamp FROM noteitem ORDER BY path'
    [step] = connection.exec_driver_sql(plan)
    assert step[-1] == 'SCAN noteitem USING COVERING INDEX ix_noteitem_path_stamp'
    statement, values = next(one for one in asked if '!=' in one[0])
    [step] = connection.exec_driver_sql(f'EXPLAIN QUERY PLAN {statement}', values)
    assert 'ix_noteitem_misplaced' in step[-1]


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
            make_indexes(connection)
        assert [row.id for row in NoteIndex(model, connection).misplaced()] == ['1']
        connection.commit()
    found = {name for (name,) in old.execute("select name from sqlite_master where type = 'index'")}
    assert {'ix_noteitem_path_stamp', 'ix_noteitem_misplaced'} <= found
    assert 'ix_noteitem_path' not in found
    old.close()


@pytest.mark.parametrize('seed', range(20))
def test_files_and_rows_meet_in_whatever_order_they_come(seed):
    chance = random.Random(seed)
    files = {f'{number}': b'%d' % number for number in range(20) if chance.random() < 0.8}
    rows = {f'{number}': b'%d' % number for number in range(20) if chance.random() < 0.8}
    edited = {path for path in files.keys() & rows if chance.random() < 0.3}
    rows.update(dict.fromkeys(edited))
    comparison = _Stamps()
    coming = [(comparison.file, *one) for one in files.items()]
    coming += [(comparison.row, *one) for one in rows.items()]
    chance.shuffle(coming)
    for take, path, stamp in coming:
        take(path, stamp)
    assert set(comparison.files) == files.keys() - rows.keys()
    assert set(comparison.rows) == rows.keys() - files.keys()
    assert set(comparison.differing) == edited
