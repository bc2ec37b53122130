"""The change log and a peer's knowledge, against a model made of two dicts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from pysyncml.constants import ItemState
from pysyncml.context import Context
from pysyncml.state.records import BindingRecord, DeviceRecord, StoreRecord

ITEMS = st.sampled_from(['a', 'b', 'c', 'd'])
REMOTE = st.sampled_from([None, 'r1', 'r2', 'r3'])
CONTEXT = Context()


def stores(work):
    """Return the ids of a new datastore and of a new binding of it."""
    device = work.records.save(DeviceRecord(dev_id='x'))
    ours, theirs = (
        work.records.save(StoreRecord(device_id=device.id, uri=uri)) for uri in ('ours', 'theirs')
    )
    binding = work.records.save(BindingRecord(store_id=ours.id, peer_store_id=theirs.id))
    return ours.id, binding.id


@dataclass
class Model:
    """What the tables must say."""

    last: int = 0
    changes: dict[str, tuple[int, int]] = field(default_factory=dict)  # item → (seq, state)
    specs: dict[str, list[tuple[int, int, str | None]]] = field(default_factory=dict)
    known: dict[str, dict] = field(default_factory=dict)

    def record(self, item, state, spec):
        self.last += 1
        if item in self.changes:
            self.specs.setdefault(item, []).append((self.changes[item][0], self.last, spec))
        self.changes[item] = (self.last, state)

    def note(self, item, **values):
        if values.get('remote_id'):
            for row in self.known.values():
                if row['remote_id'] == values['remote_id']:
                    row['remote_id'] = None
        empty = dict.fromkeys(('remote_id', 'seq', 'offered', 'seen', 'digest'))
        self.known.setdefault(item, {**empty, 'unconfirmed': False}).update(values)

    def gone(self, item):
        return self.changes[item][1] == ItemState.DELETED

    def is_unknown(self, item, slow, session):
        known = self.known.get(item, {})
        seq, offered, seen = (known.get(name) for name in ('seq', 'offered', 'seen'))
        shown = seen is not None and seen == session
        if slow and not shown:
            return not self.gone(item)
        if seq is not None:
            return seq < self.changes[item][0]
        return offered is not None if self.gone(item) else True

    def pending(self, after, slow, session):
        rows = [
            (seq, item)
            for item, (seq, _) in self.changes.items()
            if seq > after and self.is_unknown(item, slow, session)
        ]
        return [item for _, item in sorted(rows)]

    def way_back(self, item, seq):
        steps = [step for step in self.specs.get(item, []) if step[1] > seq]
        specs = [spec for _, _, spec in steps]
        if not steps or steps[0][0] != seq or None in specs:
            return None
        return ';'.join(filter(None, specs))


NOTES = st.fixed_dictionaries(
    {},
    optional={
        'remote_id': REMOTE,
        'seq': st.one_of(st.none(), st.integers(0, 12)),
        'offered': st.one_of(st.none(), st.integers(1, 12)),
        'seen': st.one_of(st.none(), st.integers(1, 2)),
        'unconfirmed': st.booleans(),
        'digest': st.sampled_from([None, 'x', 'y']),
    },
)
SPEC = st.sampled_from([None, '', 'M@1', 'D@2'])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just('record'), ITEMS, st.sampled_from([1, 2, 3]), SPEC),
        st.tuples(st.just('note'), ITEMS, NOTES),
        st.tuples(st.just('forget'), ITEMS),
        st.tuples(st.just('forget_all')),
        st.tuples(st.just('forget_gone'), st.integers(1, 2)),
        st.tuples(st.just('flush')),
        st.tuples(st.just('commit')),
        st.tuples(st.just('new'), st.lists(ITEMS, unique=True)),
        st.tuples(st.just('prefetch'), st.lists(ITEMS), st.lists(REMOTE.filter(bool))),
    ),
    max_size=25,
)


class Run:
    """Does the same to the tables and to the model."""

    def __init__(self):
        self.model = Model()
        with CONTEXT.work() as work:
            self.ids = stores(work)
        self._open()

    def _open(self):
        self.work = CONTEXT.work().__enter__()
        self.log, self.known = self.work.log(self.ids[0]), self.work.knowledge(*self.ids)

    def commit(self):
        self.work.__exit__(None, None, None)
        self._open()

    def record(self, item, state, spec):
        assert self.log.record(item, state, spec, history=True) == self.model.last + 1
        self.model.record(item, state, spec)

    def note(self, item, values):
        self.known.note(item, **values)
        self.model.note(item, **values)

    def forget(self, item):
        self.known.forget(item)
        self.model.known.pop(item, None)

    def forget_all(self):
        self.known.forget_all()
        self.model.known.clear()

    def forget_gone(self, session):
        self.known.forget_gone(session)
        for item in list(self.model.known):
            deleted = item in self.model.changes and self.model.gone(item)
            if deleted and self.model.known[item]['seen'] != session:
                del self.model.known[item]

    def flush(self):
        self.work.flush()

    def new(self, items):
        fresh = [item for item in items if item not in self.model.changes]
        self.log.record_new(fresh)
        for item in fresh:
            self.model.record(item, ItemState.ADDED, None)

    def prefetch(self, items, remote):
        self.known.prefetch(item_ids=items, remote_ids=remote)

    def check(self):
        model = self.model
        for item in 'abcd':
            change, known = self.log.get(item), self.known.of_item(item)
            assert (change and (change.seq, change.state)) == model.changes.get(item)
            found = known and {name: getattr(known, name) for name in model.known.get(item, ())}
            assert found == model.known.get(item)
        for remote in ('r1', 'r2', 'r3'):
            known = self.known.of_remote(remote)
            owner = [i for i, row in model.known.items() if row['remote_id'] == remote]
            assert ([known.item_id] if known else []) == owner
        assert self.log.last_seq == model.last

    def check_queries(self):
        model = self.model
        for after in (0, model.last // 2):
            for slow, session in ((False, 0), (True, 1), (True, 2)):
                rows = self.known.pending(after, None, slow=slow, session=session)
                assert [row.item_id for row in rows] == model.pending(after, slow, session)
                count = self.known.count_pending(after, slow=slow, session=session)
                assert count == len(rows)
        live = {item for item in model.changes if not model.gone(item)}
        assert self.log.live_ids() == live
        assert self.log.count() == len(live)
        for session in (1, 2):
            shown = {i for i in live if model.known.get(i, {}).get('seen') == session}
            assert set(self.known.unseen(session)) == live - shown
        pairs = {
            (row['remote_id'], item)
            for item, row in model.known.items()
            if row['unconfirmed'] and row['remote_id']
        }
        assert set(self.known.unconfirmed(100)) == pairs
        for item in model.changes:
            assert self.log.way_back(item, 2) == model.way_back(item, 2)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_the_tables_say_what_the_model_says(steps):
    run = Run()
    try:
        for name, *arguments in steps:
            getattr(run, name)(*arguments)
            run.check()
        run.check_queries()
        run.commit()
        run.check()
        run.check_queries()
    finally:
        run.work.__exit__(None, None, None)


@pytest.fixture
def run():
    made = Run()
    yield made
    made.work.__exit__(None, None, None)


def test_numbers_go_on_after_what_was_taken_back(run):
    run.log.record('a', ItemState.ADDED, None, history=True)
    run.commit()
    with pytest.raises(ZeroDivisionError), CONTEXT.work() as work:
        assert work.log(run.ids[0]).record('b', ItemState.ADDED, None, history=True) == 2
        1 / 0
    with CONTEXT.work() as work:
        assert work.log(run.ids[0]).get('b') is None
        assert work.log(run.ids[0]).record('c', ItemState.ADDED, None, history=True) == 2


def test_many_rows_are_fetched_at_once(run):
    names = [f'item{n:04}' for n in range(1200)]
    run.log.record_new(names)
    for n, name in enumerate(names):
        run.known.note(name, remote_id=f'r{n}', seq=n + 1)
    run.commit()
    run.known.prefetch(item_ids=names[:600], remote_ids=[f'r{n}' for n in range(600, 1200)])
    assert [run.known.of_item(name).seq for name in names[:600]] == list(range(1, 601))
    assert [run.known.of_remote(f'r{n}').item_id for n in range(600, 1200)] == names[600:]
    assert run.log.count() == 1200


def test_two_peers_know_different_things(run):
    with CONTEXT.work() as work:
        theirs = work.records.first(BindingRecord, id=run.ids[1]).peer_store_id
        other = work.records.save(BindingRecord(store_id=theirs, peer_store_id=run.ids[0]))
        work.log(theirs)
        work.knowledge(theirs, other.id).note('a', remote_id='r1', seq=1)
    run.record('a', ItemState.ADDED, None)
    run.note('a', {'remote_id': 'r1'})
    run.commit()
    assert [row.item_id for row in run.known.pending(0, None, slow=False, session=0)] == ['a']


def test_pruning_keeps_what_somebody_may_ask_for(run):
    run.record('a', ItemState.ADDED, None)  # 1
    run.record('b', ItemState.ADDED, None)  # 2
    run.record('a', ItemState.MODIFIED, 'one')  # 3
    run.record('b', ItemState.DELETED, None)  # 4
    run.record('a', ItemState.MODIFIED, 'two')  # 5
    run.record('c', ItemState.ADDED, None)  # 6
    run.record('c', ItemState.DELETED, None)  # 7
    binding = run.work.records.first(BindingRecord, id=run.ids[1])
    run.log.prune()
    assert run.log.way_back('a', 1) == 'one;two'
    binding.cursor = 4
    run.work.records.save(binding)
    run.log.prune()
    assert run.log.way_back('a', 3) == 'two'
    assert run.log.way_back('a', 1) is None, 'the first step of the way is gone'
    assert run.log.get('b') is None, 'all peers know of this deletion'
    assert run.log.get('a').seq == 5
    assert run.log.get('c').gone, 'this deletion is still to be told'


def test_pruning_keeps_the_way_back_for_a_peer_that_is_behind(run):
    run.record('a', ItemState.ADDED, None)  # 1
    run.note('a', {'remote_id': 'r1', 'seq': 1})
    run.record('a', ItemState.MODIFIED, 'one')  # 2
    run.record('a', ItemState.MODIFIED, 'two')  # 3
    binding = run.work.records.first(BindingRecord, id=run.ids[1])
    binding.cursor = 2  # the newest version of each item up to here is known: "a" is at 3
    run.work.records.save(binding)
    run.known.flush()
    run.log.prune()
    assert run.log.way_back('a', 1) == 'one;two'


def test_ways_back_do_not_grow_for_ever(run, monkeypatch):
    """A device that never comes again does not make the log of a busy item endless."""
    monkeypatch.setattr('pysyncml.state.changes.MOST_WAYS', 3)
    for item in 'ab':
        run.record(item, ItemState.ADDED, None)
    for number in range(6):
        run.record('a', ItemState.MODIFIED, f'a{number}')
        run.work.flush()
    run.record('b', ItemState.MODIFIED, 'b0')
    run.work.flush()
    run.log.prune()
    assert run.log.way_back('a', 5) == 'a3;a4;a5'
    assert run.log.way_back('a', 1) is None
    assert run.log.way_back('b', 2) == 'b0'
    revision = run.work.tables.revision
    where = revision.c.store_id == run.log.store_id
    assert len(run.work.connection.execute(select(revision).where(where)).all()) == 4


def test_a_way_with_a_hole_in_it_is_no_way(run):
    run.record('a', ItemState.ADDED, None)
    run.record('a', ItemState.MODIFIED, 'one')
    run.record('a', ItemState.MODIFIED, None)
    run.record('a', ItemState.MODIFIED, 'three')
    assert run.log.way_back('a', 1) is None
    assert run.log.way_back('a', 3) == 'three'
    assert run.log.way_back('a', None) is None
    assert run.log.way_back('a', 4) is None


def test_without_history_no_specs_are_kept():
    with CONTEXT.work() as work:
        log = work.log(stores(work)[0])
        log.record('a', ItemState.ADDED, None, history=False)
        log.record('a', ItemState.MODIFIED, 'one', history=False)
        work.flush()
        rows = work.connection.execute(
            select(work.tables.revision).where(work.tables.revision.c.store_id == log.store_id)
        )
        assert rows.all() == []


def test_the_page_is_as_long_as_asked_for(run):
    run.new(['a', 'b', 'c', 'd'])
    rows = run.known.pending(1, 2, slow=False, session=0)
    assert [(row.item_id, row.seq) for row in rows] == [('b', 2), ('c', 3)]
    assert run.known.first_pending(2) == 3
    assert run.known.first_pending(4) is None


def test_specs_are_text_of_any_length(run):
    spec = json.dumps({'x' * 10_000: 'é' * 10_000})
    run.record('a', ItemState.ADDED, None)
    run.record('a', ItemState.MODIFIED, spec)
    run.commit()
    assert run.log.way_back('a', 1) == spec


def test_peers_may_exchange_the_ids_of_two_items(run):
    run.note('a', {'remote_id': 'r1', 'seq': 1})
    run.note('b', {'remote_id': 'r2', 'seq': 2})
    run.commit()
    run.note('a', {'remote_id': 'r2'})
    run.note('b', {'remote_id': 'r1'})
    run.commit()
    run.check()
    assert run.known.of_remote('r1').item_id == 'b'


def test_the_id_of_a_forgotten_item_is_free(run):
    run.note('a', {'remote_id': 'r1', 'seq': 1})
    run.commit()
    run.forget('a')
    run.note('b', {'remote_id': 'r1'})
    run.note('a', {'remote_id': 'r3'})
    run.commit()
    run.check()
    assert run.known.of_remote('r1').item_id == 'b'
    assert run.known.of_item('a').seq is None


def test_peers_may_pass_ids_round(run):
    for item, remote in zip('abc', ('r1', 'r2', 'r3'), strict=True):
        run.note(item, {'remote_id': remote, 'seq': 1})
    run.commit()
    for item, remote in zip('abc', ('r2', 'r3', 'r1'), strict=True):
        run.note(item, {'remote_id': remote})
    run.commit()
    run.check()


# --- what is asked in every session ---------------------------------------------------------------


def test_what_is_asked_in_every_session_goes_by_indexes_of_few_rows(tmp_path):
    """None of it may cost what exists: a session in which nothing changed is to be cheap."""
    context = Context(storage=f'sqlite:///{tmp_path}/state.db')
    asked = []
    event.listen(
        context.sa_engine,
        'before_cursor_execute',
        lambda _connection, _cursor, statement, values, *_: asked.append((statement, values)),
    )
    with context.work() as work:
        ours, binding = stores(work)
        log, known = work.log(ours), work.knowledge(ours, binding)
        for item in 'abc':
            log.record(item, ItemState.ADDED, None, history=False)
            known.note(item, remote_id=f'r{item}', seq=log.last_seq, unconfirmed=item == 'a')
        log.record('b', ItemState.DELETED, None, history=False)
        work.flush()
        work.connection.execute(context.database.tables.binding.update().values(cursor=4))
        del asked[:]
        assert known.unconfirmed(10) == [('ra', 'a')]
        assert log.count() == 2
        log.prune()
        assert log.count() == 2 and log.get('b') is None
        plans = []
        for statement, values in list(asked):
            if 'pysyncml_change' in statement or 'pysyncml_mapping' in statement:
                found = work.connection.exec_driver_sql(f'EXPLAIN QUERY PLAN {statement}', values)
                plans += [row[-1] for row in found]
    named = [plan for plan in plans if '_change_gone' in plan or '_unconfirmed' in plan]
    assert len(named) == 4, plans
    assert not [plan for plan in plans if 'SCAN pysyncml' in plan], plans


@pytest.mark.parametrize('count', [1, 2, 3, 10, 250, 500])
def test_what_a_peer_knows_is_found_by_its_ids(tmp_path, count):
    """Each of them costs a look into an index: with many items, not one at all that there are."""
    context = Context(storage=f'sqlite:///{tmp_path}/state.db')
    plans = []

    def explain(connection, _cursor, statement, values, *_):
        if statement.startswith('SELECT') and 'pysyncml_mapping' in statement:
            found = connection.exec_driver_sql(f'EXPLAIN QUERY PLAN {statement}', values)
            plans.extend(row[-1] for row in found)

    with context.work() as work:
        known = work.knowledge(*stores(work))
        event.listen(context.sa_engine, 'before_cursor_execute', explain)
        known.prefetch(remote_ids=[f'r{number}' for number in range(count)])
        known.prefetch(item_ids=[f'i{number}' for number in range(count)])
    assert len(plans) == 2
    assert 'remote_id=?' in plans[0] and 'item_id=?' in plans[1], plans
