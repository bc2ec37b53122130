"""Clocks that are wrong, and that jump; notes with times that make no sense."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import pytest

from pysyncml import Context
from pysyncml.storage import DirectoryStorage
from tests.faults.bench import Bench
from tests.faults.hands import TOKEN, lines

DAY = 86400.0

#: Seconds since 1970 that a file may have been changed at.
TIMES = (0, -1, 1, 2**31 - 1, 2**31, 2**32, 2**33, 4102444800, 1_700_000_000.123456789)


@contextlib.contextmanager
def clock(*jumps: float) -> Iterator[list[float]]:
    """Let the process's clock be wrong by the first of *jumps*, and by the next one at each look.

    The last one stays. Times of files are those of the system.
    """
    rest = list(jumps)
    real = time.time, time.gmtime, time.localtime

    def now() -> float:
        return real[0]() + (rest.pop(0) if len(rest) > 1 else rest[0])

    defaults = Context.__init__.__kwdefaults__, DirectoryStorage.__init__.__defaults__
    Context.__init__.__kwdefaults__ = {**defaults[0], 'clock': now}
    DirectoryStorage.__init__.__defaults__ = (*defaults[1][:-1], now)
    assert defaults[1][-1] is real[0]
    time.time = now
    time.gmtime = lambda seconds=None: real[1](now() if seconds is None else seconds)
    time.localtime = lambda seconds=None: real[2](now() if seconds is None else seconds)
    try:
        yield rest
    finally:
        time.time, time.gmtime, time.localtime = real
        Context.__init__.__kwdefaults__, DirectoryStorage.__init__.__defaults__ = defaults


def put(bench: Bench, name: str, key: str, *middle: bytes) -> None:
    """Write a note."""
    bench.path(name).joinpath(key).write_bytes(lines(*middle))


def set_times(path: os.PathLike[str], seconds: float) -> None:
    """Set the time of the last change, as far as the file system can hold it."""
    ns = int(seconds * 10**9)
    os.utime(path, ns=(ns, ns))


def test_times_of_notes_keep_no_content_back(bench):
    for number, seconds in enumerate(TIMES):
        for side in 'as':
            key = f'{side}{number}.txt'
            put(bench, side, key, b'<%s%d>\n' % (side.encode(), number))
            set_times(bench.path(side) / key, seconds)
    tree = bench.settle('a')
    assert len(tree) == 2 * len(TIMES)
    for number, seconds in enumerate(TIMES):
        key = f'a{number}.txt'
        put(bench, 'a', key, b'<a%d>\n' % number, b'<e%d>\n' % number)
        set_times(bench.path('a') / key, seconds)  # edited, and the time is what it was
    tree = bench.settle('a')
    assert all(b'<e%d>' % n in tree[f'a{n}.txt'] for n in range(len(TIMES)))
    assert len(tree) == 2 * len(TIMES)


SKEWS = [
    (DAY, 0.0),
    (0.0, -DAY),
    (-1.7e9, 0.0),  # 1970 or so
    (0.0, 3e9),  # after 2100
]


@pytest.mark.parametrize(
    'skews', [SKEWS[2], *(pytest.param(s, marks=pytest.mark.campaign) for s in SKEWS)]
)
def test_a_clock_that_is_wrong_from_one_run_to_the_next(bench, skews):
    put(bench, 'a', 'n.txt', b'<n0>\n')
    put(bench, 'a', 'd.txt', b'<d0>\n')
    bench.settle('a')
    wanted = {b'<n0>'}
    for number, skew in enumerate((*skews, *skews), 1):
        put(bench, 'a', 'n.txt', b'<n0>\n', b'<n%d>\n' % number)
        put(bench, 's', f'x{number}.txt', b'<x%d>\n' % number)
        wanted |= {b'<x%d>' % number}
        with clock(skew):
            result = bench.sync('a', code=0)
        assert result.stats['mode'] == 'two_way', 'the anchors did not rise'
        assert not result.stats['conflictNames']
    bench.path('s').joinpath('d.txt').unlink()
    with clock(skews[0]):
        tree = bench.settle('a')
    assert set().union(*map(TOKEN.findall, tree.values())) == wanted | {b'<n%d>' % number}
    # what was thrown away is still there, whatever the clock said at that time
    assert lines(b'<d0>\n') in bench.trashed('a')
    with clock(*skews):
        bench.settle('a')
    assert lines(b'<d0>\n') in bench.trashed('a')


@pytest.mark.campaign
@pytest.mark.parametrize('skew', [DAY, -DAY, -1.7e9, 3e9])
@pytest.mark.parametrize('looks', [2, 5, 9, 14, 20, 30])
def test_a_clock_that_jumps_in_the_middle_of_a_session(bench, skew, looks):
    for number in range(5):
        put(bench, 'a', f'a{number}.txt', b'<a%d>\n' % number)
        put(bench, 's', f's{number}.txt', b'<s%d>\n' % number)
    bench.settle('a')
    put(bench, 'a', 'a0.txt', b'<a0>\n', b'<e1>\n')
    put(bench, 's', 'a0.txt', b'<a0>\n', b'', b'', b'<e2>\n')
    put(bench, 's', 's1.txt', b'<s1>\n', b'<e3>\n')
    bench.path('a').joinpath('a1.txt').unlink()
    with clock(*[0.0] * looks, skew):
        result = bench.sync('a')
        assert result.code in (0, 4, 8), result
    tree = bench.settle('a')
    assert b'<e1>' in tree['a0.txt'] and b'<e2>' in tree['a0.txt'] and b'<e3>' in tree['s1.txt']
    assert len(tree) == 9


def test_an_edit_within_one_tick_is_seen(bench):
    """The size is the same, and so is the time, as if the file system's clock stood still."""
    put(bench, 'a', 'n.txt', b'<n0>\n')
    bench.settle('a')
    path = bench.path('a') / 'n.txt'
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b'<n0>', b'<n1>'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert b'<n1>' in bench.settle('a')['n.txt']
