"""The unit of work: what is kept, what is taken back, and how files keep step."""

from __future__ import annotations

import sqlite3
import threading

import pytest
from sqlalchemy import Integer, String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from pysyncml.constants import ItemState
from pysyncml.context import Context
from pysyncml.errors import LogicalError
from pysyncml.protocol.auth import check_password
from pysyncml.state.records import DeviceRecord, StoreRecord


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = 'note'
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String)


@pytest.fixture(params=['memory', 'file'])
def context(request, tmp_path):
    storage = None if request.param == 'memory' else f'sqlite:///{tmp_path}/state.db'
    made = Context(storage=storage)
    yield made
    made.close()


def names(context):
    with context.work() as work:
        return sorted(record.dev_id for record in work.records.find(DeviceRecord))


def save(work, name):
    return work.records.save(DeviceRecord(dev_id=name))


# --- begin and end --------------------------------------------------------------------------------


def test_leaving_keeps_everything(context):
    with context.work() as work:
        save(work, 'a')
    assert names(context) == ['a']


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_an_exception_takes_everything_back(context, error):
    with pytest.raises(error), context.work() as work:
        save(work, 'a')
        store = work.records.save(StoreRecord(device_id=1, uri='x'))
        work.log(store.id).record('i', ItemState.ADDED, None, history=True)
        raise error
    assert names(context) == []
    with context.work() as work:
        assert work.records.find(StoreRecord) == []


def test_readonly_takes_everything_back(context):
    with context.work(readonly=True) as work:
        save(work, 'a')
        assert work.records.first(DeviceRecord, dev_id='a').id == 1
    assert names(context) == []


def test_what_cannot_be_written_takes_everything_back(context):
    with pytest.raises(Exception, match='constraint failed'), context.work() as work:
        save(work, 'a')
        knowledge = work.knowledge(1, 1)
        knowledge.note('i', remote_id='r')
        work.connection.execute(
            work.tables.mapping.insert().values(
                binding_id=1, item_id='j', remote_id='r', unconfirmed=False
            )
        )
    assert names(context) == []


def test_gathered_changes_are_written_at_the_end(context):
    with context.work() as work:
        save(work, 'a')
        store = work.records.save(StoreRecord(device_id=1, uri='x'))
        work.log(store.id).record('i', ItemState.ADDED, None, history=True)
    with context.work() as work:
        assert work.log(store.id).get('i').seq == 1
        assert work.log(store.id).last_seq == 1


def test_the_current_work_is_known_inside_only(context):
    assert context.currentWork is None
    with pytest.raises(LogicalError, match='no unit of work'):
        context.dbsession
    with context.work() as work:
        assert context.currentWork is work
        with context.inWork() as same:
            assert same is work
    assert context.currentWork is None
    with context.inWork() as fresh:
        assert fresh is not work


def test_threads_do_not_share_the_current_work(context):
    seen = []
    with context.work():
        thread = threading.Thread(target=lambda: seen.append(context.currentWork))
        thread.start()
        thread.join()
    assert seen == [None]


def test_a_failed_beginning_leaves_no_current_work(context, monkeypatch):
    def fail():
        raise OSError('disk')

    monkeypatch.setattr(context.database, 'transaction', fail)
    with pytest.raises(OSError, match='disk'), context.work():
        pass
    assert context.currentWork is None


# --- savepoints -----------------------------------------------------------------------------------


def test_a_savepoint_takes_back_its_inside_only(context):
    with context.work() as work:
        save(work, 'before')
        with pytest.raises(ValueError), work.savepoint():
            save(work, 'inside')
            raise ValueError
        save(work, 'after')
    assert names(context) == ['after', 'before']


def test_a_savepoint_is_part_of_the_transaction(context):
    with pytest.raises(ValueError), context.work() as work:
        with work.savepoint():
            save(work, 'inside')
        raise ValueError
    assert names(context) == []


def test_a_savepoint_takes_back_what_was_done_with_models(context):
    with context.work() as work:
        Base.metadata.create_all(work.connection)
        work.session.add(Note(id=1, name='before'))
        with pytest.raises(ValueError), work.savepoint():
            work.session.add(Note(id=2, name='inside'))
            work.session.get(Note, 1).name = 'changed inside'
            raise ValueError
        work.session.add(Note(id=3, name='after'))
    with context.work() as work:
        assert list(work.session.scalars(select(Note.name).order_by(Note.id))) == [
            'before',
            'after',
        ]


# --- models of programs ---------------------------------------------------------------------------


def test_models_share_the_transaction(context):
    with context.work() as work:
        Base.metadata.create_all(work.connection)
    with pytest.raises(ValueError), context.work() as work:
        context.dbsession.add(Note(id=1, name='x'))
        save(work, 'a')
        context.save()
        raise ValueError
    with context.work() as work:
        assert context.dbsession.get(Note, 1) is None
        context.dbsession.add(Note(id=2, name='y'))
    with context.work():
        assert context.dbsession.get(Note, 2).name == 'y'
    assert names(context) == []


# --- files keep step ------------------------------------------------------------------------------


class Files:
    """Writes down what it is asked, and fails where it is told to."""

    def __init__(self, context, calls, name='files', fail_in=None, finished=None):
        self.context = context
        self.calls = calls
        self.name = name
        self.fail_in = fail_in
        self.finished = finished
        self.published: list[str] = []

    def _call(self, what):
        # past the transactions that are open: what is committed
        connection = sqlite3.connect(self.context.database.engine.url.database)
        query = 'select line from pysyncml_journal order by id'
        stored = [line for (row,) in connection.execute(query) for line in row.split('\n')]
        connection.close()
        self.calls.append((self.name, what, stored))
        if self.fail_in == what:
            raise OSError(f'crash in {what}')

    def prepare(self):
        self.calls.append((self.name, 'prepare', None))
        if self.fail_in == 'prepare':
            raise OSError('crash in prepare')
        return [f'{self.name}-1', f'{self.name}-2']

    def publish(self, lines):
        self._call('publish')
        self.published += lines

    def settle(self, work):
        self.calls.append((self.name, 'settle', None))
        if self.fail_in == 'settle':
            raise OSError('crash in settle')
        save(work, f'settled {self.name}')
        return self.published if self.finished is None else self.finished

    def let_go(self):
        self.left = True


@pytest.fixture
def on_disk(tmp_path):
    made = Context(storage=f'sqlite:///{tmp_path}/state.db')
    yield made
    made.close()


def journal(context, name='files'):
    with context.work() as work:
        return work.journal_lines(name)


def test_publishers_are_called_in_order(on_disk):
    calls = []
    with on_disk.work() as work:
        work.publishers += [Files(on_disk, calls), Files(on_disk, calls, 'more')]
        save(work, 'a')
    assert [(name, what) for name, what, _ in calls] == [
        ('files', 'prepare'),
        ('more', 'prepare'),
        ('files', 'publish'),
        ('files', 'settle'),
        ('more', 'publish'),
        ('more', 'settle'),
    ]
    published = {name: stored for name, what, stored in calls if what == 'publish'}
    assert published['files'] == ['files-1', 'files-2', 'more-1', 'more-2'], 'committed before'
    assert published['more'] == ['more-1', 'more-2'], 'the finished lines are struck out'
    assert journal(on_disk) == journal(on_disk, 'more') == []
    assert names(on_disk) == ['a', 'settled files', 'settled more']


def test_nothing_is_published_when_the_work_fails(on_disk):
    calls = []
    with pytest.raises(ValueError), on_disk.work() as work:
        work.publishers.append(Files(on_disk, calls))
        raise ValueError
    assert calls == []
    with on_disk.work(readonly=True) as work:
        work.publishers.append(Files(on_disk, calls))
    assert calls == []


def test_what_cannot_be_made_durable_is_not_committed(on_disk):
    calls = []
    with pytest.raises(OSError, match='prepare'), on_disk.work() as work:
        work.publishers += [Files(on_disk, calls), Files(on_disk, calls, 'more', 'prepare')]
        save(work, 'a')
    assert names(on_disk) == []
    assert journal(on_disk) == []
    assert not any(what == 'publish' for _, what, _ in calls)


@pytest.mark.parametrize('where', ['publish', 'settle'])
def test_the_journal_survives_a_crash(on_disk, where):
    with pytest.raises(OSError, match=where), on_disk.work() as work:
        work.publishers.append(Files(on_disk, [], fail_in=where))
        save(work, 'a')
    assert journal(on_disk) == ['files-1', 'files-2']
    assert names(on_disk) == ['a']
    again = Files(on_disk, [])
    with on_disk.work() as work:
        work.recover(again)
    assert again.published == ['files-1', 'files-2']
    assert journal(on_disk) == []
    assert names(on_disk) == ['a', 'settled files']


def test_unfinished_lines_stay(on_disk):
    with on_disk.work() as work:
        work.publishers.append(Files(on_disk, [], finished=['files-2']))
    assert journal(on_disk) == ['files-1']


def test_recovery_leaves_the_lines_of_others(on_disk):
    with pytest.raises(OSError), on_disk.work() as work:
        work.publishers.append(Files(on_disk, [], fail_in='publish'))
    other = Files(on_disk, [], 'more')
    with on_disk.work() as work:
        work.recover(other)
    assert other.published == []
    assert journal(on_disk) == ['files-1', 'files-2']


def test_a_readonly_work_recovers_nothing(on_disk):
    with pytest.raises(OSError), on_disk.work() as work:
        work.publishers.append(Files(on_disk, [], fail_in='publish'))
    files = Files(on_disk, [])
    with on_disk.work(readonly=True) as work:
        work.recover(files)
    assert files.published == []


def test_work_can_go_on_after_a_crash(on_disk):
    with pytest.raises(OSError), on_disk.work() as work:
        work.publishers.append(Files(on_disk, [], fail_in='settle'))
    assert on_disk.currentWork is None
    with on_disk.work() as work:
        save(work, 'b')
    assert names(on_disk) == ['b']


# --- options and accounts -------------------------------------------------------------------------


def test_options_are_remembered(on_disk, tmp_path):
    on_disk.options.update({'server': True, 'routes': {'a': ['b', 1]}, 'name': 'é'})
    on_disk.options.update({'name': None})
    other = Context(storage=f'sqlite:///{tmp_path}/state.db')
    assert dict(other.options.items()) == {'server': True, 'routes': {'a': ['b', 1]}}
    assert other.options.get('name', 'nobody') == 'nobody'
    assert 'server' in other.options
    assert 'name' not in other.options
    other.close()


def test_options_that_are_said_again_are_not_written(on_disk, monkeypatch):
    on_disk.options.update({'a': 1})
    on_disk.options.get('a')
    monkeypatch.setattr(on_disk, 'work', None)
    on_disk.options.update({'a': 1})
    assert on_disk.options.get('a') == 1


def test_options_changed_in_a_readonly_work_are_not_kept(on_disk):
    on_disk.options.update({'a': 1})
    with on_disk.work(readonly=True):
        on_disk.options.update({'a': 2})
    with on_disk.work() as work:
        assert work.options() == {'a': 1}


def test_accounts_hold_hashes_only(on_disk, tmp_path):
    on_disk.setAccounts({'me': 'secret word', 'you': 'other'})
    with on_disk.work() as work:
        accounts = work.accounts()
    assert set(accounts) == {'me', 'you'}
    assert check_password('secret word', accounts['me'])
    assert not check_password('other', accounts['me'])
    on_disk.close()
    stored = b''.join(path.read_bytes() for path in tmp_path.iterdir())
    assert b'secret word' not in stored
    on_disk.setAccounts({'you': 'new'})
    with on_disk.work() as work:
        assert set(work.accounts()) == {'you'}


def test_a_journal_of_many_lines_loses_just_those_that_are_done(on_disk):
    lines = [f'{number} {"x" * 300}' for number in range(1000)]
    done = {lines[0], lines[500], *lines[700:]}

    class Many(Files):
        def prepare(self):
            return lines

    publisher = Many(on_disk, [], finished=list(done))
    with on_disk.work() as work:
        work.publishers.append(publisher)
    assert publisher.published == lines
    assert journal(on_disk) == [line for line in lines if line not in done]
    with on_disk.work() as work:
        publisher.finished = None
        work.recover(publisher)
    assert journal(on_disk) == []
