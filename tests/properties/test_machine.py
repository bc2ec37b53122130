"""What tells the histories can kill, and notices what must not happen."""

from __future__ import annotations

import pytest

from tests.properties.devices import SERVER
from tests.properties.machine import Histories
from tests.properties.wires import Wire


@pytest.fixture
def history():
    machine = Histories()
    machine.begin(
        used=True, policy='keep-both', versions=(None,) * 3, encodings=('xml',) * 3, size=None
    )
    yield machine
    machine.world.close()


def test_a_killed_client_has_done_nothing_more(history):
    world, place = history.world, history.world.places['a']
    history.people.act('a', ('add', 'x', False))
    calm = Wire(world)
    place.deaths = [12]
    assert world.sync('a', calm).code == -9
    assert calm.process.dead and calm.process.done == 12
    assert 'x' not in world.server.tree()
    history._heal()
    history._check()
    assert 'x' in world.server.tree()


def test_a_killed_server_is_started_again_by_the_next_message(history):
    world = history.world
    history.people.act('a', ('add', 'x', False))
    world.server.deaths = [20]
    result = world.sync('a', Wire(world))
    assert any('s: KILLED' in line for line in world.diary)
    assert result.code == 0 and 'x' in world.server.tree()
    history._heal()
    history._check()


def test_a_run_has_many_steps_at_which_it_may_die(history):
    history.people.act('a', ('add', 'x', False))
    wire = Wire(history.world)
    assert history.world.sync('a', wire).code == 0
    assert wire.process.done > 15 and history.world.server.running.done > 15


def test_what_nobody_deleted_is_missed(history):
    for place in history.world.places.values():
        (place.path / 'todo').unlink()
    history._heal()
    with pytest.raises(AssertionError, match='lost: <t00001> of s'):
        history._check()


def test_what_comes_back_is_noticed(history):
    history.people.act('a', ('delete', 1))
    assert history.people.gone == {b'<t00001>'}
    with pytest.raises(AssertionError, match='deleted, and there again'):
        history._check_tokens(history.world.server.tree())


def test_what_is_there_twice_is_noticed(history):
    for place in history.world.places.values():
        (place.path / 'copy').write_bytes((place.path / 'todo').read_bytes())
    with pytest.raises(AssertionError, match='2 times'):
        history._check()


def test_trees_that_differ_are_noticed(history):
    (history.world.places[SERVER].path / 'only here').write_bytes(b'x')
    with pytest.raises(AssertionError, match='the trees differ'):
        history._check()


def test_what_is_left_over_is_noticed(history):
    staged = history.world.places['b'].state / 'staged'
    staged.mkdir(exist_ok=True)
    (staged / 'body').write_bytes(b'x')
    with pytest.raises(AssertionError, match='b: left over'):
        history._check()
