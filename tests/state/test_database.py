"""Opening: schema versions, an application's own engine or connection, owners and prefixes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    create_engine,
    event,
    inspect,
    select,
    update,
)

from pysyncml.constants import ItemState
from pysyncml.context import Context
from pysyncml.errors import InvalidContext, StateDamaged, is_of_database, refusal_of_system
from pysyncml.state import damage, database
from pysyncml.state.records import BindingRecord, DeviceRecord, StoreRecord
from tests.sync.support import BookmarkAgent, contents, device

APPLICATION = Table('application', MetaData(), Column('id', Integer, primary_key=True))


@pytest.fixture
def url(tmp_path):
    return f'sqlite:///{tmp_path}/state.db'


@pytest.fixture
def engine(url):
    made = create_engine(url)
    APPLICATION.create(made)
    yield made
    made.dispose()


def set_version(context, version):
    option = context.database.tables.option
    with context.work() as work:
        where = option.c.key == 'schema.version'
        work.connection.execute(update(option).where(where).values(value=version))


# --- schema versions ------------------------------------------------------------------------------


def test_a_newer_schema_is_refused(url):
    context = Context(storage=url)
    set_version(context, 99)
    with pytest.raises(InvalidContext, match=r'newer version \(schema 99'):
        Context(storage=url).options.get('x')


def test_a_database_without_version_is_refused(url):
    context = Context(storage=url)
    set_version(context, None)
    with pytest.raises(InvalidContext, match='does not say which version'):
        Context(storage=url).options.get('x')


def test_an_older_schema_is_upgraded_and_a_copy_kept(url, tmp_path, monkeypatch):
    context = Context(storage=url)
    context.options.update({'a': 1})
    set_version(context, 1)
    context.close()
    steps = []
    monkeypatch.setattr(database, 'SCHEMA_VERSION', 3)
    monkeypatch.setattr(
        database, 'MIGRATIONS', {n: lambda *_, n=n: steps.append(n) for n in (1, 2, 3)}
    )
    again = Context(storage=url)
    assert again.options.get('a') == 1
    assert steps == [2, 3]
    again.close()
    copy = sqlite3.connect(tmp_path / 'state.db.v1.bak')
    assert copy.execute(
        'select value from pysyncml_option where key = ?', ('schema.version',)
    ).fetchall() == [(1,)]
    copy.close()
    Context(storage=url).options.get('a')
    assert steps == [2, 3], 'only once'


def test_the_copy_has_what_stands_in_the_write_ahead_log_only(url, tmp_path, monkeypatch):
    context = Context(storage=url)
    set_version(context, 1)
    reader = sqlite3.connect(tmp_path / 'state.db')
    reader.execute('begin')
    reader.execute('select * from pysyncml_option').fetchall()
    context.options.update({'late': True})
    monkeypatch.setattr(database, 'SCHEMA_VERSION', 2)
    monkeypatch.setattr(database, 'MIGRATIONS', {2: lambda *_: None})
    assert Context(storage=url).options.get('late')
    reader.close()
    copy = sqlite3.connect(tmp_path / 'state.db.v1.bak')
    assert copy.execute('select count(*) from pysyncml_option where key = "late"').fetchone()[0]
    copy.close()


def test_a_failed_upgrade_changes_nothing(url, monkeypatch):
    context = Context(storage=url)
    context.options.update({'a': 1})
    set_version(context, 1)
    context.close()

    def fail(connection, _):
        connection.execute(context.database.tables.option.delete())
        raise RuntimeError('half-way')

    with monkeypatch.context() as patched:
        patched.setattr(database, 'SCHEMA_VERSION', 2)
        patched.setattr(database, 'MIGRATIONS', {2: fail})
        with pytest.raises(RuntimeError):
            Context(storage=url).options.get('a')
    assert Context(storage=url).options.get('a') == 1


def test_a_database_of_the_first_version_gets_what_is_new(url, tmp_path):
    context = Context(storage=url)
    context.options.update({'a': 1})
    set_version(context, 1)
    context.close()
    path = tmp_path / 'state.db'
    old = sqlite3.connect(path)
    for table, column in (('device', 'encoding'), ('binding', 'suspended')):
        old.execute(f'alter table pysyncml_{table} drop column {column}')
    old.execute('drop table pysyncml_chunk')
    old.execute('drop index pysyncml_mapping_unconfirmed')
    old.commit()
    old.close()
    context = Context(storage=url)
    assert context.options.get('a') == 1
    assert context.Adapter(name='x', devinfo=context.DeviceInfo(devID='d')).devID == 'd'
    context.close()
    new = sqlite3.connect(path)
    assert 'encoding' in [row[1] for row in new.execute('pragma table_info(pysyncml_device)')]
    assert new.execute('select count(*) from pysyncml_chunk').fetchone() == (0,)
    names = [row[1] for row in new.execute('pragma index_list(pysyncml_mapping)')]
    assert 'pysyncml_mapping_unconfirmed' in names
    new.close()


def test_an_upgrade_may_be_broken_off_anywhere(url, tmp_path, monkeypatch):
    """What lies on the disk at each step, were the power lost there, is upgraded as well."""
    context = Context(storage=url)
    context.options.update({'a': 1})
    set_version(context, 1)
    context.close()
    old = sqlite3.connect(tmp_path / 'state.db')
    old.execute('alter table pysyncml_device drop column encoding')
    old.execute('drop table pysyncml_chunk')
    old.commit()
    old.close()
    left = []

    def snapshot(*_, **__):
        folder = tmp_path / f'crash-{len(left)}'
        folder.mkdir()
        for path in tmp_path.glob('state.db*'):
            if not path.name.endswith('-shm'):
                shutil.copyfile(path, folder / path.name)
        left.append(folder)

    context = Context(storage=url)
    for name in ('before_cursor_execute', 'commit'):
        event.listen(context.sa_engine, name, snapshot)
    for name in ('replace', 'fsync', 'chmod'):
        usual = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, usual=usual: (snapshot(), usual(*args)))
    assert context.options.get('a') == 1
    monkeypatch.undo()
    snapshot()
    context.close()
    assert len(left) > 20
    for folder in left:
        again = Context(storage=f'sqlite:///{folder}/state.db')
        assert again.options.get('a') == 1
        again.Adapter(name='x', devinfo=again.DeviceInfo(devID='d'))
        again.close()
        copy = sqlite3.connect(folder / 'state.db.v1.bak')
        assert copy.execute('pragma integrity_check').fetchone() == ('ok',)
        query = "select value from pysyncml_option where key = 'schema.version'"
        assert copy.execute(query).fetchone() == (1,)
        copy.close()


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'line',
    [
        "update pysyncml_option set value = '{' where key = 'a'",
        'drop table pysyncml_option',
        'drop table pysyncml_mapping',
        "update pysyncml_option set key = cast(x'ff' as text) where key = 'a'",
    ],
)
def test_damage_is_called_so(url, tmp_path, line):
    context = Context(storage=url)
    context.options.update({'a': [1]})
    context.close()
    path = tmp_path / 'state.db'
    raw = sqlite3.connect(path)
    raw.execute(line)
    raw.commit()
    raw.close()
    with pytest.raises(StateDamaged):
        Context(storage=url).options.get('a')


@pytest.mark.parametrize('data', [b'no database' * 100, b'SQLite format 3\0' + bytes(5000)])
def test_what_is_no_database_is_called_damaged(url, tmp_path, data):
    (tmp_path / 'state.db').write_bytes(data)
    with pytest.raises(StateDamaged):
        Context(storage=url).options.get('a')
    assert damage.examine(str(tmp_path / 'state.db'))


def test_a_whole_database_is_not_damaged(url, tmp_path):
    context = Context(storage=url)
    context.options.update({'a': [1], 'b': 2, 'c': 1.5, 'd': 'x', 'e': True})
    context.Adapter(name='x', devinfo=context.DeviceInfo(devID='d'))
    context.close()
    assert damage.examine(str(tmp_path / 'state.db')) == []


# --- an application's own engine or connection ----------------------------------------------------


def test_state_lives_beside_an_applications_tables(engine):
    context = Context(engine=engine)
    context.options.update({'a': 1})
    tables = set(inspect(engine).get_table_names())
    assert 'application' in tables
    assert {name for name in tables if not name.startswith('pysyncml_')} == {'application'}
    assert Context(engine=engine).options.get('a') == 1


def test_an_engine_is_committed_to(engine):
    context = Context(engine=engine)
    with context.work() as work:
        work.connection.execute(APPLICATION.insert().values(id=1))
        work.set_option('a', 1)
    with engine.connect() as connection:
        assert connection.execute(select(APPLICATION.c.id)).scalars().all() == [1]


def test_a_savepoint_on_an_engine_ends_with_the_transaction(engine):
    context = Context(engine=engine)
    context.options.get('warm up')
    with pytest.raises(ValueError), context.work() as work:
        with work.savepoint():
            work.connection.execute(APPLICATION.insert().values(id=1))
        raise ValueError
    with engine.connect() as connection:
        assert connection.execute(select(APPLICATION.c.id)).all() == []


def test_a_connection_is_ended_by_the_application(engine):
    with engine.connect() as connection:
        context = Context(engine=connection)
        connection.execute(APPLICATION.insert().values(id=1))
        context.options.update({'a': 1})
        connection.rollback()
        assert connection.execute(select(APPLICATION.c.id)).all() == []
        assert Context(engine=connection).options.get('a') is None
        context.options.update({'a': 2, 'b': 3})
        connection.execute(APPLICATION.insert().values(id=2))
        connection.commit()
    with engine.connect() as connection:
        assert dict(Context(engine=connection).options.items()) == {'a': 2, 'b': 3}


def test_the_very_first_use_can_be_taken_back(engine):
    with engine.connect() as connection:
        context = Context(engine=connection)
        context.options.update({'a': 1})
        connection.rollback()
        assert inspect(connection).get_table_names() == ['application']
        connection.rollback()
        with context.work() as work:
            work.set_option('b', 2)
        connection.commit()
    assert Context(engine=engine).options.get('b') == 2


def test_later_uses_can_be_taken_back_too(engine):
    Context(engine=engine).options.update({'a': 1})
    for number in (2, 3):
        with engine.connect() as connection:
            with Context(engine=connection).work() as work:
                work.set_option('a', number)
            connection.rollback()
    assert Context(engine=engine).options.get('a') == 1


def test_a_whole_session_can_be_taken_back(engine):
    server = device('S', 'theirs')
    agent = BookmarkAgent()
    with engine.connect() as connection:
        client = device('C', 'ours', agent=agent, engine=connection)
        connection.commit()
        shelf = dict(agent.shelf)
        client.sync(server)
        assert contents(client) == contents(server)
        connection.rollback()
        agent.shelf = shelf
        again = device('C', agent=agent, engine=connection)
        assert again.adapter.getKnownPeers() == []
        assert again.sync(server)['items'].here == 1
        connection.commit()
        assert contents(again) == contents(server)
        assert len(contents(server)) == 2
    last = device('C', agent=agent, engine=engine).sync(server)['items']
    assert (last.here, last.peer, last.errors) == (0, 0, 0)


def test_closing_leaves_an_applications_connection_open(engine):
    with engine.connect() as connection:
        Context(engine=connection).close()
        assert connection.execute(select(APPLICATION.c.id)).all() == []


# --- prefixes and owners --------------------------------------------------------------------------


def test_prefixes_keep_states_apart(engine):
    ours, theirs = Context(engine=engine, prefix='one'), Context(engine=engine, prefix='two_b')
    ours.options.update({'a': 1})
    theirs.options.update({'a': 2})
    assert Context(engine=engine, prefix='one').options.get('a') == 1
    assert Context(engine=engine, prefix='two_b').options.get('a') == 2
    assert {'one_option', 'two_b_option'} <= set(inspect(engine).get_table_names())


@pytest.mark.parametrize('prefix', ['', '1x', 'a b', 'x;drop', "x'", '_', 'é' * 2 + '-'])
def test_odd_prefixes_are_refused(prefix):
    with pytest.raises(InvalidContext, match='prefix'):
        Context(prefix=prefix)


def test_owners_keep_devices_apart(engine):
    for owner, name in ((None, 'nobody'), (1, 'first'), (2, 'second')):
        context = Context(engine=engine, owner=owner)
        context.Adapter(devID=name).addStore(context.Store(uri='x'))
        context.RemoteAdapter(url=f'http://{name}/')
    for owner, name in ((None, 'nobody'), (1, 'first'), (2, 'second')):
        context = Context(engine=engine, owner=owner)
        adapter = context.Adapter()
        assert adapter.devID == name
        assert [peer.url for peer in adapter.getKnownPeers()] == [f'http://{name}/']
        assert adapter.peer.url == f'http://{name}/'


def test_an_owner_is_a_number():
    with pytest.raises(InvalidContext, match='number'):
        Context(owner='me')


# --- deleting -------------------------------------------------------------------------------------


@pytest.mark.parametrize('where', ['memory', 'url', 'engine'])
def test_a_deleted_device_leaves_nothing_behind(where, url, engine):
    bind = {'memory': {}, 'url': {'storage': url}, 'engine': {'engine': engine}}[where]
    context = Context(**bind)
    with context.work() as work:
        ours, theirs, other = (
            work.records.save(DeviceRecord(dev_id=name)) for name in ('ours', 'theirs', 'other')
        )
        mine, bound, apart = (
            work.records.save(StoreRecord(device_id=dev.id, uri='x'))
            for dev in (ours, theirs, other)
        )
        bindings = [
            work.records.save(BindingRecord(store_id=mine.id, peer_store_id=store.id)).id
            for store in (bound, apart)
        ]
        work.log(mine.id).record('i', ItemState.ADDED, None, history=True)
        for binding in bindings:
            work.knowledge(mine.id, binding).note('i', remote_id='r', seq=1)
        work.flush()
        work.records.delete(theirs)
    with context.work() as work:
        assert [d.dev_id for d in work.records.find(DeviceRecord)] == ['ours', 'other']
        assert [s.id for s in work.records.find(StoreRecord)] == [mine.id, apart.id]
        assert [b.id for b in work.records.find(BindingRecord)] == bindings[1:]
        assert work.knowledge(mine.id, bindings[0]).of_item('i') is None
        assert work.knowledge(mine.id, bindings[1]).of_item('i').remote_id == 'r'
        assert work.log(mine.id).get('i').seq == 1


# --- taking turns ---------------------------------------------------------------------------------


def test_programs_take_turns(tmp_path, url):
    entered, order = threading.Event(), []

    def work(context, name, pause):
        with context.work():
            order.append(f'{name} begins')
            entered.set()
            time.sleep(pause)
            order.append(f'{name} ends')

    contexts = [Context(storage=url, directory=str(tmp_path)) for _ in range(2)]
    threads = [
        threading.Thread(target=work, args=(context, name, 0.1))
        for context, name in zip(contexts, 'ab', strict=True)
    ]
    threads[0].start()
    assert entered.wait(5)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert order == ['a begins', 'a ends', 'b begins', 'b ends']


def test_a_writer_waits_for_another(url):
    ours, theirs = Context(storage=url), Context(storage=url)
    ours.options.update({'n': 0})

    def count(context):
        for _ in range(20):
            with context.work() as work:
                work.set_option('n', work.options()['n'] + 1)

    threads = [threading.Thread(target=count, args=(context,)) for context in (ours, theirs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Context(storage=url).options.get('n') == 40


def test_what_the_driver_itself_refuses_is_told_like_what_it_refuses_by_way_of_sqlalchemy():
    full = sqlite3.OperationalError('database or disk is full')
    assert is_of_database(full)
    said = 'the state database cannot be used: database or disk is full'
    assert refusal_of_system(full) == said
    assert not is_of_database(ValueError('database or disk is full'))
