"""Many rows with one statement: the same as SQLAlchemy would write, whatever the driver takes."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    event,
    select,
)
from sqlalchemy.dialects import mysql, postgresql

from pysyncml.state.bulk import _compiled, delete_rows, insert_rows, select_rows, update_rows

THINGS = Table(
    'thing',
    MetaData(),
    Column('id', Integer, primary_key=True),
    Column('key', String),
    Column('group', String),
    Column('body', LargeBinary),
    Column('more', JSON),
    Column('when', Float),
)


@pytest.fixture(params=['qmark', 'named'])
def connection(request):
    engine = create_engine('sqlite://', paramstyle=request.param)
    with engine.connect() as connection:
        THINGS.create(connection)
        yield connection
    engine.dispose()


def rows(connection):
    return [tuple(row) for row in connection.execute(select(THINGS).order_by(THINGS.c.id))]


def thing(key, **values):
    return {'key': key, 'group': 'a', 'body': b'\0\xff', 'more': {'x': [1]}, 'when': 0.5, **values}


def test_rows_are_added_changed_and_taken_away(connection):
    insert_rows(connection, THINGS, [thing('one'), thing('two', body=None, more=None), thing('3')])
    assert rows(connection) == [
        (1, 'one', 'a', b'\0\xff', {'x': [1]}, 0.5),
        (2, 'two', 'a', None, None, 0.5),
        (3, '3', 'a', b'\0\xff', {'x': [1]}, 0.5),
    ]
    changes = [{'group': 'a', 'key': '3', 'when': None}, {'group': 'b', 'key': 'one', 'when': 1.0}]
    update_rows(connection, THINGS, ('group', 'key'), changes)
    assert [row[-1] for row in rows(connection)] == [0.5, 0.5, None]
    delete_rows(connection, THINGS, [{'key': 'two'}, {'key': '3'}, {'key': 'four'}])
    assert [row[1] for row in rows(connection)] == ['one']


def test_the_same_as_sqlalchemy_writes(connection):
    """A value of a type that needs it goes through what SQLAlchemy does to it."""
    values = [thing('one', more=None), thing('two', more={'\xe9': None}, body=b'')]
    insert_rows(connection, THINGS, values)
    ours = rows(connection)
    raw = 'select typeof("more"), "more" from thing order by id'
    as_stored = list(connection.exec_driver_sql(raw))
    connection.execute(THINGS.delete())
    connection.execute(THINGS.insert(), values)
    assert rows(connection) == ours
    assert list(connection.exec_driver_sql(raw)) == as_stored


@pytest.mark.parametrize('count', [99, 100, 101, 200, 257])
def test_many_rows_come_in_their_order(connection, count):
    """However many of them go with one statement."""
    insert_rows(connection, THINGS, [thing(f'k{n}', when=float(n)) for n in range(count)])
    assert [(row[0], row[1], row[-1]) for row in rows(connection)] == [
        (n + 1, f'k{n}', float(n)) for n in range(count)
    ]


@pytest.mark.parametrize('count', [99, 100, 101, 257])
@pytest.mark.parametrize('keys', [('id',), ('group', 'key')])
def test_many_rows_are_changed(connection, count, keys):
    insert_rows(connection, THINGS, [thing(f'k{n}') for n in range(300)])
    changes = [
        {'id': n + 1, 'key': f'k{n}', 'group': 'a', 'body': b'%d' % n, 'more': {'n': n}, 'when': n}
        for n in range(count)
    ]
    update_rows(connection, THINGS, keys, changes[::-1])
    assert [row[3:] for row in rows(connection)] == [
        (b'%d' % n, {'n': n}, n) if n < count else (b'\0\xff', {'x': [1]}, 0.5) for n in range(300)
    ]


def test_many_rows_are_few_statements():
    statements = []
    engine = create_engine('sqlite://')
    with engine.connect() as connection:
        THINGS.create(connection)
        event.listen(connection, 'before_cursor_execute', lambda *args: statements.append(args))
        insert_rows(connection, THINGS, [thing(f'k{n}') for n in range(520)])
        assert [(s[2].count('('), len(s[3])) for s in statements] == [(101, 5), (2, 20)]
        if sqlite3.sqlite_version_info >= (3, 33):
            statements.clear()
            changes = [{'id': n + 1, 'key': 'new', 'when': 1.0} for n in range(520)]
            update_rows(connection, THINGS, ('id',), changes)
            assert [(s[2].count('('), len(s[3])) for s in statements] == [(101, 5), (0, 20)]
            plan = connection.exec_driver_sql(f'EXPLAIN QUERY PLAN {statements[0][2]}', (0,) * 300)
            assert any('SEARCH thing USING INTEGER PRIMARY KEY' in row[-1] for row in plan)
    engine.dispose()


def test_the_same_as_sqlalchemy_reads(connection):
    rows = [{'id': n, 'key': f'k{n}', 'body': b'%d' % n, 'more': {'n': n}} for n in range(9)]
    insert_rows(connection, THINGS, [*rows, {**rows[0], 'id': 9, 'more': None}])
    columns = THINGS.c.id, THINGS.c.more, THINGS.c.body, THINGS.c.key
    among = THINGS.c.key.in_(bindparam('keys', expanding=True))
    many = select(*columns).where(THINGS.c.id > bindparam('after'), among).order_by(THINGS.c.id)
    few = select(*columns).where(THINGS.c.id != 3).order_by(THINGS.c.id).limit(bindparam('most'))
    for keys in (['k0', 'k5', 'k8', '?', 'x'], ['k1'], [f'k{n}' for n in range(300)]):
        values = {'keys': keys, 'after': 0}
        read = [tuple(row) for row in select_rows(connection, many, values)]
        assert read == [tuple(row) for row in connection.execute(many, values)]
        assert read
    read = [tuple(row) for row in select_rows(connection, few, {'most': 4})]
    assert read == [(n, {'n': n}, b'%d' % n, f'k{n}') for n in (0, 1, 2, 4)]


def test_nothing_to_write(connection):
    statements = []
    event.listen(connection, 'before_cursor_execute', lambda *args: statements.append(args[2]))
    insert_rows(connection, THINGS, [])
    update_rows(connection, THINGS, ('id',), [])
    delete_rows(connection, THINGS, [])
    assert statements == []


def test_what_a_row_lacks_is_an_error(connection):
    with pytest.raises(KeyError):
        insert_rows(connection, THINGS, [thing('one'), {'key': 'two'}])
    assert rows(connection) == []


@pytest.mark.parametrize('dialect', [postgresql.dialect(), mysql.dialect()], ids=['pg', 'mysql'])
def test_other_databases(dialect):
    """Each parameter is a column of the row; nothing is asked for that nobody reads."""
    columns = ('key', 'group', 'when')
    for verb, keys in (('insert', ()), ('update', ('key', 'group')), ('delete', columns)):
        statement = _compiled(dialect, verb, THINGS, keys, columns)
        assert {column for _, column, _ in statement.bound} == set(columns)
        assert 'RETURNING' not in statement.text
        [values] = statement.parameters([thing('one')])
        assert sorted(map(str, values if statement.positional else values.values())) == [
            '0.5',
            'a',
            'one',
        ]
