import pytest
import sqlalchemy
from sqlalchemy import orm
from sqlalchemy.exc import NoResultFound

from pysyncml.agents.base import Ext
from pysyncml.agents.note import NoteItem as PlainNote
from pysyncml.cli import makeModel


@pytest.fixture
def session():
    engine = sqlalchemy.create_engine('sqlite://')
    with engine.begin() as connection, orm.Session(connection) as session:
        yield session


@pytest.fixture
def model(session):
    """A model written as the documented sample writes it."""
    model = makeModel(lambda: session)

    class NoteItem(model.DatabaseObject, PlainNote):
        inode = sqlalchemy.Column(sqlalchemy.Integer, index=True)
        name = sqlalchemy.Column(sqlalchemy.String)
        sha256 = sqlalchemy.Column(sqlalchemy.String(64))

        def __init__(self, *args, **values):
            model.DatabaseObject.__init__(self, *args, **values)
            stray = {k: v for k, v in values.items() if k not in self.__table__.c}
            Ext.__init__(self, *args, **stray)

        @orm.reconstructor
        def __dbinit__(self):
            Ext.__init__(self)

    model.NoteItem = NoteItem
    model.create_tables(session.connection())
    model.create_tables(session.connection())
    return model


def test_an_object_has_its_id_at_once(model):
    note = model.NoteItem(name='a', stray=1)
    assert len(note.id) == 32
    assert int(note.id, 16) >= 0
    assert note.name == 'a'
    assert model.NoteItem(id='x').id == 'x'
    assert model.NoteItem().id != model.NoteItem().id


def test_the_table_is_named_like_the_class(model):
    assert model.NoteItem.__table__.name == 'noteitem'
    assert list(model.NoteItem.__table__.c.keys()) == ['inode', 'name', 'sha256', 'id']


def test_queries(model, session):
    session.add_all([model.NoteItem(id=i, name=n) for i, n in (('1', 'a'), ('2', 'b'))])
    assert sorted(note.name for note in model.NoteItem.q()) == ['a', 'b']
    assert model.NoteItem.q(name='b').one().id == '2'
    assert [note.id for note in model.NoteItem.q(name='a').all()] == ['1']
    with pytest.raises(NoResultFound):
        model.NoteItem.q(id='3').one()


def test_a_body_beside_the_columns_is_not_stored(model, session):
    note = model.NoteItem(name='a')
    assert note.body is None
    note.body = b'text'
    session.add(note)
    session.flush()
    del note.body
    assert note.body is None
    session.expunge_all()
    loaded = model.NoteItem.q().one()
    assert (loaded.name, loaded.body, loaded.extensions) == ('a', None, {})


def test_objects_can_be_deleted_and_are_hashable(model, session):
    note = model.NoteItem(name='a')
    session.add(note)
    session.flush()
    assert note in {note}
    session.delete(note)
    session.flush()
    assert model.NoteItem.q().all() == []


def test_two_models_do_not_meet(session):
    for _ in range(2):
        model = makeModel(lambda: session)

        class Thing(model.DatabaseObject):
            value = sqlalchemy.Column(sqlalchemy.Integer)

        model.Thing = Thing
    assert 'thing' in model.DatabaseObject.metadata.tables
