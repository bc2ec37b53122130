"""A note that got another name, between real processes: its content does not travel again."""

from __future__ import annotations

import random

import pytest

from tests.e2e.harness import World

SECRET = b'the content that stays where it is'


def body(number: int) -> bytes:
    return SECRET + b' %d\n' % number


def rename(world: World, name: str, old: str, new: str) -> None:
    (world.path(name) / old).rename(world.path(name) / new)


@pytest.fixture
def line(world):
    """Return what tells whether the content went over the line since it was asked the last time."""
    server = world.server('s')
    proxy = world.proxy(server)
    proxy.bodies = []

    def content_travelled() -> bool:
        bodies, proxy.bodies = proxy.bodies, []
        return any(SECRET in half for pair in bodies for half in pair)

    content_travelled.proxy = proxy
    return content_travelled


@pytest.mark.parametrize('encoding', ['xml', 'wbxml'])
def test_a_renamed_folder_goes_to_all_without_its_content(world, line, encoding):
    for number in range(120):
        world.write('a', f'before/in/{number}', body(number))
    world.write('a', 'before/other', b'')
    for name in 'ab':
        world.sync(name, '--encoding', encoding, via=line.proxy)
    assert line()
    rename(world, 'a', 'before', 'after')
    assert world.sync('a', via=line.proxy).moved == {'peerMod': 121}
    assert world.sync('b', via=line.proxy).moved == {'hereMod': 121}
    assert not line()
    assert len(world.same('s', 'a', 'b')) == 121
    assert 'after/in/7' in world.tree('b')
    rename(world, 's', 'after/in', 'in')
    for name in 'ab':
        assert world.sync(name, via=line.proxy).moved == {'hereMod': 120}
        assert world.sync(name, via=line.proxy).moved == {}
    assert not line()
    assert 'in/7' in world.same('s', 'a', 'b')
    for name in 'ab':
        world.run('--check-state', name)


def test_renamed_here_and_edited_there(world, line):
    """The text that was left out is not what is there: one session merges all the same."""
    for number in range(5):
        world.write('a', f'folder/{number}', body(number) + b'second line\n')
    for name in 'ab':
        world.sync(name)
    rename(world, 'a', 'folder', 'renamed')
    world.write('b', 'folder/3', body(3) + b'edited line\n')
    world.sync('b', via=line.proxy)
    assert line()
    moved = world.sync('a', via=line.proxy).moved
    assert moved == {'peerMod': 5, 'hereMod': 1, 'merged': 1}
    world.sync('b')
    tree = world.same('s', 'a', 'b')
    assert sorted(tree) == [f'renamed/{number}' for number in range(5)]
    assert tree['renamed/3'] == body(3) + b'edited line\n'
    assert world.sync('a').moved == world.sync('b').moved == {}


def test_renamed_and_edited_here(world, line):
    world.write('a', 'old', body(1))
    world.write('a', 'other', b'')
    for name in 'ab':
        world.sync(name)
    rename(world, 'a', 'old', 'new')
    world.write('a', 'new', body(1) + b'and more')
    world.sync('a', via=line.proxy)
    assert line()
    world.sync('b')
    assert world.same('s', 'a', 'b') == {'new': body(1) + b'and more', 'other': b''}


def test_renamed_here_and_deleted_there(world, line):
    world.write('a', 'old', body(1))
    world.write('a', 'other', b'')
    for name in 'ab':
        world.sync(name)
    (world.path('b') / 'old').unlink()
    world.sync('b')
    rename(world, 'a', 'old', 'new')
    world.sync('a', via=line.proxy)
    assert line()
    world.sync('b')
    assert world.same('s', 'a', 'b') == {'new': body(1), 'other': b''}


def test_a_large_file_that_got_another_name(world, line):
    world.environment.update(E2E_LARGE='20000', E2E_PART='60000')
    noise = SECRET + random.Random(5).randbytes(300_000)
    world.write('a', 'large', noise)
    for name in 'ab':
        world.sync(name)
    rename(world, 'a', 'large', 'large.bin')
    assert world.sync('a', via=line.proxy).moved == {'peerMod': 1}
    assert world.sync('b', via=line.proxy).moved == {'hereMod': 1}
    assert not line()
    assert world.same('s', 'a', 'b') == {'large.bin': noise}
    world.run('--verify', 'a')
