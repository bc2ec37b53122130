"""Files that are never in memory as a whole, between real processes."""

from __future__ import annotations

import hashlib
import random
import re
import signal
from pathlib import Path

import pytest

from tests.e2e.harness import World

#: Sizes at which nothing is different but that a test takes no time.
SMALL = {'E2E_LARGE': '20000', 'E2E_PART': '60000', 'E2E_MESSAGE_SIZE': '50000'}
NOISE = random.Random(11).randbytes(400_000)
TEXT = b''.join(b'line %d & <more>\r\n' % number for number in range(12_000))


@pytest.fixture
def world(tmp_path):
    with World(tmp_path) as world:
        world.environment.update(SMALL)
        yield world


def arriving(path: Path) -> list[int]:
    """Return the sizes of what has not arrived completely."""
    folder = path / '.sync' / 'arriving'
    return sorted(file.stat().st_size for file in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize('encoding', ['xml', 'wbxml'])
def test_large_files_go_both_ways_and_on(world, encoding):
    world.server('s')
    world.write('a', 'from the client', NOISE)
    world.write('a', 'a text.txt', TEXT)
    world.write('s', 'deep/er/from the server', NOISE[::-1])
    world.write('s', 'small', b'small')
    assert world.sync('a', '--encoding', encoding).moved == {'hereAdd': 2, 'peerAdd': 2}
    assert world.sync('b', '--encoding', encoding).moved == {'hereAdd': 4}
    world.write('b', 'from the client', NOISE + b'edited')
    (world.path('b') / 'a text.txt').rename(world.path('b') / 'a text, renamed.txt')
    assert world.sync('b').moved == {'peerMod': 2}
    assert world.sync('a').moved == {'hereMod': 2}
    assert world.sync('a').moved == world.sync('b').moved == {}
    assert world.same('s', 'a', 'b')['from the client'] == NOISE + b'edited'
    assert [arriving(world.path(name)) for name in 'sab'] == [[], [], []]
    world.sync('a', '--verify')
    world.sync('a', '--check-state')


def test_a_session_that_is_put_off_goes_on_with_the_file(world):
    """What has arrived is not sent again, though the server is another process then."""
    server = world.server('s')
    proxy = world.proxy(server)
    world.write('a', 'large', NOISE)
    run = None

    def plan(number):
        if number == 7:
            run.kill(signal.SIGINT)
        return 'pass'

    proxy.plan = plan
    run = world.begin('a', server=server, via=proxy)
    run.wait()
    server.kill()
    [arrived] = arriving(world.path('s'))
    assert arrived > 100_000
    server.restart()
    proxy.plan = lambda number: 'pass'
    before = proxy.messages
    assert world.sync('a', server=server, via=proxy).moved == {'peerAdd': 1}
    assert proxy.messages - before < 9  # in all there are seven parts, and five messages more
    assert world.same('a', 's') == {'large': NOISE}
    assert arriving(world.path('s')) == []


@pytest.mark.parametrize('harm', ['cut', 'changed', 'gone'])
def test_what_has_not_lasted_of_a_part_is_sent_again(world, harm):
    """The power has failed when the last part was answered, and not written yet."""
    server = world.server('s')
    proxy = world.proxy(server)
    world.write('a', 'large', NOISE)
    proxy.plan = lambda number: (number == 7 and run.kill(signal.SIGINT)) or 'pass'
    run = world.begin('a', server=server, via=proxy)
    run.wait()
    server.kill()
    [file] = (world.path('s') / '.sync' / 'arriving').iterdir()
    content = file.read_bytes()
    if harm == 'cut':
        file.write_bytes(content[:-10_000])
    elif harm == 'changed':
        file.write_bytes(content[:-10_000] + bytes(10_000))
    else:
        file.unlink()
    server.restart()
    proxy.plan = lambda number: 'pass'
    world.sync('a', server=server, via=proxy, code=None)
    world.sync('a', server=server)
    assert world.same('a', 's') == {'large': NOISE}
    assert arriving(world.path('s')) == []


@pytest.mark.parametrize('harm', [None, 'cut', 'changed', 'gone'])
def test_an_answer_with_a_part_is_given_again(world, harm):
    """It lies in a file, which a power failure may have spoilt."""
    server = world.server('s')
    world.write('a', 'large', NOISE)
    world.sync('a')
    proxy = world.proxy(server)

    def plan(number):
        if number == 7:
            [file] = (world.path('s') / '.sync' / 'arriving').iterdir()
            if harm == 'cut':
                file.write_bytes(file.read_bytes()[:-10_000])
            elif harm == 'changed':
                file.write_bytes(file.read_bytes()[:-10_000] + bytes(10_000))
            elif harm == 'gone':
                file.unlink()
        return 'drop-answer' if number == 6 else 'pass'

    proxy.plan = plan
    first = world.sync('b', server=server, via=proxy, code=None)
    assert (first.code == 0) == (harm is None), first.err
    if harm is not None:
        assert 'is not known any more' in first.err
        world.sync('b', server=server)
    assert world.same('a', 'b', 's') == {'large': NOISE}
    assert [arriving(world.path(name)) for name in 'sab'] == [[], [], []]


def test_a_conflict_of_large_files_keeps_both(world):
    world.server('s')
    world.write('a', 'large', NOISE)
    world.sync('a')
    world.write('a', 'large', NOISE + b'here')
    world.write('s', 'large', NOISE + b'there')
    world.sync('a', code=None)
    world.sync('a')
    tree = world.same('a', 's')
    assert sorted(tree.values()) == sorted([NOISE + b'here', NOISE + b'there'])


def test_the_loser_of_a_conflict_is_in_the_trash(world):
    world.server('s', '--policy', 'server-wins')
    world.write('a', 'large', NOISE)
    world.sync('a')
    world.write('a', 'large', NOISE + b'here')
    world.write('s', 'large', NOISE + b'there')
    world.sync('a', code=None)
    assert world.same('a', 's') == {'large': NOISE + b'there'}
    trash = [path.read_bytes() for path in world.path('s').glob('.sync/trash/*/large')]
    assert NOISE + b'here' in trash


def test_a_first_sync_of_equal_large_files_sends_them_and_doubles_nothing(world):
    world.server('s')
    for name in 'as':
        world.write(name, 'large', NOISE)
    world.sync('a')
    assert world.same('a', 's') == {'large': NOISE}


def test_a_file_is_not_sent_that_changes_meanwhile(world):
    server = world.server('s')
    proxy = world.proxy(server)
    world.write('a', 'large', NOISE)

    def plan(number):
        if number == 6:
            world.write('a', 'large', NOISE[::-1])
        return 'pass'

    proxy.plan = plan
    result = world.sync('a', server=server, via=proxy, code=None)
    assert 'has just been changed' in result.out + result.err
    assert world.tree('s') == {}
    world.sync('a')
    assert world.same('a', 's') == {'large': NOISE[::-1]}


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='told by Linux')
def test_memory_does_not_grow_with_the_file(tmp_path):
    """A copy of a hundred megabytes would show, whatever else there is."""
    with World(tmp_path) as world:
        server = world.server('s')
        status = Path(f'/proc/{server.runs[-1].process.pid}/status')

        def peak():
            return int(re.search(r'VmHWM:\s*(\d+)', status.read_text())[1]) // 1024

        world.write('a', 'small', b'x')
        world.sync('a')
        before = peak()
        world.write('a', 'large', NOISE * 250)
        world.sync('a')
        world.sync('b')
        assert peak() - before < 95
        digests = {
            hashlib.sha256((world.path(name) / 'large').read_bytes()).digest() for name in 'asb'
        }
        assert len(digests) == 1
