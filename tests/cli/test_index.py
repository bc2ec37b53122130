"""The index of notes: what it gathers, and how it asks."""

from __future__ import annotations

import pytest
import sqlalchemy

from pysyncml.cli.model import makeModel
from pysyncml.cli.notes.index import NoteIndex, NoteRow, make_models


@pytest.fixture
def model():
    made = makeModel(lambda: None)
    make_models(made)
    return made


@pytest.fixture
def connection(model):
    with sqlalchemy.create_engine('sqlite://').begin() as connection:
        model.create_tables(connection)
        yield connection


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
        index._select = lambda where: asked.append(str(where.compile(connection)))
        index.misplaced()
        query = f'EXPLAIN QUERY PLAN SELECT id FROM noteitem WHERE {asked[0]}'
        return str(connection.exec_driver_sql(query).all())

    connection.exec_driver_sql('DROP INDEX noteitem_misplaced')
    model.create_tables(connection)
    assert 'noteitem_misplaced' in plan()
