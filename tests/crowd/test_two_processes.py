"""Two processes on one directory, and two devices of one id: consistent, and none is locked out."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from contextlib import closing

import pytest

from pysyncml import Context
from pysyncml.errors import StateBusy
from pysyncml.state.turns import Turns
from tests.crowd.sessions import Broken, Phone
from tests.e2e.harness import World, wait_for


def fill(world: World, name: str, count: int, word: str = 'note') -> None:
    """Write *count* notes into a directory."""
    for number in range(count):
        world.write(name, f'{word} {number}.txt', f'{word} {number}\n')


# --- one directory --------------------------------------------------------------------------------


def test_a_second_client_of_a_directory_is_told_so(world):
    """One of two clients does the work; the other ends with a line, and what it was is named."""
    world.server('s')
    fill(world, 'a', 3)
    server = world.servers[0]
    silent = world.proxy(server)
    silent.plan = lambda number: time.sleep(2) or 'pass'
    first = world.begin('a', server=server, via=silent)
    wait_for(lambda: (world.path('a') / '.sync' / 'client.pid').exists())
    second = world.sync('a', code=9)
    assert f'({first.process.pid}) is synchronising ./a already' in second.err
    restored = world.run('--restore', 'x', 'a', code=9)
    assert 'wait until it has finished' in restored.err
    assert first.wait().code == 0
    assert world.same('s', 'a').keys() == {f'note {n}.txt' for n in range(3)}


def test_looking_while_the_server_works(world):
    """-l, -d, --trash and --restore get their turn while clients keep the server busy."""
    server = world.server('s')
    fill(world, 's', 20)
    world.sync('gone')
    for number in (7, 8):
        world.path('gone').joinpath(f'note {number}.txt').unlink()
    world.sync('gone')
    names = [f'c{number}' for number in range(6)]
    for name in names:
        fill(world, name, 15, name)
    runs = [world.begin(name, server=server) for name in names]
    looks = [world.begin('s', '--server', option) for option in ('-l', '-d', '--trash')]
    looks.append(world.start('--restore', 'note 7.txt', 's'))
    for run in [*looks, *runs]:
        result = run.wait(60)
        assert result.code == 0, result.err
    assert 'note 8.txt' in looks[2].out
    assert world.tree('s')['note 7.txt'] == b'note 7\n'
    for name in names:
        world.sync(name)
    assert len(world.same('s', *names)) == 19 + 6 * 15


def test_a_client_that_is_killed_blocks_nobody(world):
    """Neither the others nor itself: it starts again at once, on either side of an answer."""
    server = world.server('s')
    for name in 'abc':
        fill(world, name, 8, name)
    for at in (1, 2, 3):
        held = world.proxy(server)
        reached = threading.Event()

        def plan(number, at=at, reached=reached):
            if number >= at:
                reached.set()
                time.sleep(0.5)
            return 'pass'

        held.plan = plan
        world.write('a', f'kill {at}.txt', 'x')
        run = world.begin('a', server=server, via=held)
        assert reached.wait(30)
        run.kill()
        start = time.monotonic()
        world.sync('b')
        # what the killed one had sent may come only now, and begin another session
        again = world.begin('a', server=server).wait()
        assert again.code in (0, 5), again.err
        if again.code == 5:
            world.sync('a')
        assert time.monotonic() - start < 30
    world.sync('c')
    for name in 'ab':
        world.sync(name)
    assert len(world.same('s', 'a', 'b', 'c')) == 3 * 8 + 3


# --- one id ---------------------------------------------------------------------------------------


def test_a_copied_device_never_slips_into_a_session_of_the_other(world):
    """Both count alike; each session has an address of its own, and neither goes on there."""
    server = world.server('s')
    fill(world, 's', 2)
    one, two = Phone(server.url, 'same'), Phone(server.url, 'same')
    one.nothing()
    two.nothing()
    assert one.begin() == 200
    two._anchor = 'copied'
    assert two.begin() == 200
    assert one.session == two.session
    assert one.target != two.target
    with pytest.raises(Broken, match='417'):
        one._expect(one.say(''), 200)
    assert 'another session with this device has begun' in one.reply
    with pytest.raises(Broken, match='417'):
        two._expect(two.say(''), 200)
    assert 'two devices go by the id same' in server.log()
    one.nothing()  # both may come back at once
    two.nothing()
    one.close()
    two.close()


def test_a_directory_that_was_copied_with_its_state(world):
    """The same device twice, at the same time: each is served or told to come back."""
    server = world.server('s')
    fill(world, 'a', 10)
    world.sync('a')
    shutil.copytree(world.path('a'), world.path('.') / 'b', dirs_exist_ok=True)
    world._known.add('b')
    renamed = 0
    for turn in range(2):
        for name in 'ab':
            world.write(name, f'of {name} {turn}.txt', f'{name} {turn}\n')
            world.write(name, f'note {turn}.txt', f'{name} has edited it\n')
        for result in [run.wait() for run in [world.begin(name) for name in 'ab']]:
            assert result.code in (0, 5), result.err
            if result.code:
                assert 'another session with this device has begun' in result.err
            if 'from now on it is a device of its own' in result.err:
                renamed += 1
    assert renamed <= 1
    for _ in range(2):
        for name in 'ab':
            world.sync(name)
    tree = world.same('s', 'a', 'b')
    for name in 'ab':
        for turn in range(2):
            assert tree[f'of {name} {turn}.txt'] == f'{name} {turn}\n'.encode()
            assert f'{name} has edited it\n'.encode() in tree.values()
    assert [key for key in tree if key.startswith('note')]
    with closing(sqlite3.connect(server.path / '.sync' / 'state.db')) as connection:
        count = connection.execute('select count(*) from pysyncml_session').fetchone()
    assert count[0] <= 3  # one of them has become a device of its own


def test_copies_that_take_turns_become_two_devices_and_double_nothing(world):
    server = world.server('s')
    fill(world, 'a', 6)
    world.sync('a')
    shutil.copytree(world.path('a'), world.path('.') / 'b', dirs_exist_ok=True)
    world._known.add('b')
    said = []
    for turn in range(4):
        for name in 'ab':
            world.write(name, f'of {name} {turn}.txt', f'{name} {turn}\n')
            said.append('from now on it is a device of its own' in world.sync(name).err)
    assert said.count(True) == 1
    for name in 'abab':
        result = world.sync(name)
    assert not result.moved
    tree = world.same('s', 'a', 'b')
    assert len(tree) == 6 + 2 * 4
    assert server.run.running


def test_a_directory_put_back_from_a_backup_stays_the_same_device(world):
    world.server('s')
    fill(world, 'a', 4)
    world.sync('a')
    shutil.copytree(world.path('a'), world.path('.') / 'backup')
    for turn in range(2):
        world.write('a', f'later {turn}.txt', 'later\n')
        world.sync('a')
    shutil.rmtree(world.path('a'))
    shutil.copytree(world.path('.') / 'backup', world.path('a'), dirs_exist_ok=True)
    first, second = world.sync('a', code=None), world.sync('a', code=None)
    assert 'device of its own' not in first.err + second.err
    assert len(world.same('s', 'a')) == 4 + 2


# --- taking turns ---------------------------------------------------------------------------------


def test_a_program_that_asks_again_at_once_does_not_keep_others_out(tmp_path):
    """A server with a long line of messages lets another program in between two of them."""
    busy, other = Turns(str(tmp_path / 'lock')), Turns(str(tmp_path / 'lock'))
    stop, count = threading.Event(), [0]

    def work():
        while not stop.is_set():
            with busy.turn():
                count[0] += 1
                time.sleep(0.01)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            before = count[0]
            with other.turn(20):
                assert count[0] - before < 100
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_threads_have_their_turns_in_the_order_of_asking(tmp_path):
    turns, order = Turns(str(tmp_path / 'lock')), []

    def work(number):
        with turns.turn():
            order.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    with turns.turn():
        with turns.turn():
            order.append('within')
        for number, thread in enumerate(threads, 1):
            thread.start()
            wait_for(lambda number=number: len(turns._line._waiting) == number)
    for thread in threads:
        thread.join()
    assert order == ['within', 0, 1, 2, 3, 4, 5]


def test_who_waits_for_too_long_is_told_so(tmp_path):
    context = Context(storage=f'sqlite:///{tmp_path}/db', directory=str(tmp_path))
    other = Context(storage=f'sqlite:///{tmp_path}/db', directory=str(tmp_path))
    failed = []

    def ask(who):
        try:
            with who.work(patience=0.05):
                failed.append('came in')
        except StateBusy as error:
            failed.append(str(error))

    with context.work():
        for who in (context, other):
            thread = threading.Thread(target=ask, args=(who,))
            thread.start()
            thread.join()
    assert len(failed) == 2
    assert all('has been using' in line for line in failed)
    ask(other)
    assert failed[2:] == ['came in']
