"""Many notes, and several clients at once."""

from __future__ import annotations

import concurrent.futures
import time

import pytest

from tests.e2e.harness import World

_BODY = b'a line of a note of about a thousand bytes\n' * 24


def fill(world: World, name: str, count: int) -> None:
    """Write *count* notes of 1 KB into sub-folders of a directory."""
    for number in range(count):
        world.write(name, f'{number // 100:03}/note {number}.txt', b'%d\n' % number + _BODY)


def change_one_percent(world: World, name: str, count: int) -> None:
    """Edit every hundredth note."""
    for number in range(0, count, 100):
        world.write(name, f'{number // 100:03}/note {number}.txt', b'changed\n' + _BODY)


def measure(world: World, count: int) -> list[float]:
    """Return the seconds of: first sync, first sync of another device, no change, 1 % changed."""
    world.server('s')
    fill(world, 'a', count)
    seconds = []

    def timed(name: str, **moved: int) -> None:
        start = time.monotonic()
        result = world.sync(name, timeout=600)
        seconds.append(time.monotonic() - start)
        assert result.moved == moved

    timed('a', peerAdd=count)
    timed('b', hereAdd=count)
    timed('a')
    change_one_percent(world, 'a', count)
    timed('a', peerMod=count // 100)
    timed('b', hereMod=count // 100)
    assert len(world.same('s', 'a', 'b')) == count
    return seconds


def test_a_thousand_notes(world):
    seconds = measure(world, 1000)
    assert sum(seconds) < 60, seconds


def test_several_clients_at_once(world):
    """Five devices synchronise again and again at the same time."""
    names = [f'c{number}' for number in range(5)]
    server = world.server('s')
    for name in names:
        for number in range(20):
            world.write(name, f'{name} {number}.txt', f'{name} {number}\n')
        world.write(name, 'same.txt', 'the same everywhere\n')
        world.write(name, 'other.txt', f'of {name}\n')

    def work(name: str) -> None:
        for turn in range(3):
            world.sync(name)
            world.write(name, f'{name} 0.txt', f'{name} in turn {turn}\n')
            world.path(name).joinpath(f'{name} {turn + 1}.txt').unlink()

    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        list(pool.map(work, names))
    for _ in range(2):
        for name in names:
            world.sync(name)
    tree = world.same('s', *names)
    assert tree['same.txt'] == b'the same everywhere\n'
    assert sum(body.startswith(b'of ') for body in tree.values()) == 5
    assert len(tree) == 5 * 17 + 1 + 5
    for name in names:
        assert tree[f'{name} 0.txt'] == f'{name} in turn 2\n'.encode()
        assert world.sync(name).moved == {}
    assert 'Traceback' not in server.log()


@pytest.mark.campaign
def test_ten_thousand_notes_take_no_more_than_twelve_times_as_long(tmp_path):
    with World(tmp_path / 'few') as world:
        few = measure(world, 1000)
    with World(tmp_path / 'many') as world:
        many = measure(world, 10_000)
    print('1,000 notes:', [f'{s:.2f}' for s in few], '10,000:', [f'{s:.2f}' for s in many])
    for less, more in zip(few, many, strict=True):
        assert more <= 12 * less, (few, many)
