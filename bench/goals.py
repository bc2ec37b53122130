"""The goals: ratios of two figures of one run, and the most they may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.measure import Cost

#: (case, size, part) → the median cost
Medians = Mapping[tuple[str, int, str], Cost]


@dataclass(frozen=True)
class Goal:
    """One goal: *figure* is computed from the medians, and has to be at most *most*."""

    number: int
    what: str
    most: float
    figure: Callable[[Medians], float]
    unit: str = 'times'


def _peak(cost: Cost) -> float:
    return max(cost.peak, cost.server_peak)


_STEADY, _FIRST = ('steady', 100_000), ('first', 10_000)


def _over(part: tuple[str, int, str], yard: tuple[str, int, str]) -> Callable[[Medians], float]:
    return lambda m: m[part].both / m[yard].both


def _memory(what: str, most: float, part: tuple[str, int, str]) -> Goal:
    return Goal(4, f'{what}: peak memory of a process', most, lambda m: _peak(m[part]), 'MB')


GOALS = (
    Goal(
        1,
        'no change at 100,000: CPU against the walk of both trees',
        1.75,
        _over((*_STEADY, 'no change'), (*_STEADY, 'walk')),
    ),
    Goal(
        1,
        "no change at 100,000: wall against Unison's",
        1.2,
        lambda m: m[*_STEADY, 'no change'].wall / m[*_STEADY, 'unison, no change'].wall,
    ),
    Goal(
        2,
        "first sync of 10,000: CPU against Unison's",
        3,
        _over((*_FIRST, 'sync-notes'), (*_FIRST, 'unison')),
    ),
    Goal(
        2,
        "first sync of 10,000: CPU against SyncEvolution's",
        0.25,
        _over(('syncevolution', 10_000, 'sync-notes'), ('syncevolution', 10_000, 'syncevolution')),
    ),
    Goal(
        2,
        'first sync: CPU of 100,000 against 10,000',
        12,
        _over(('first', 100_000, 'sync-notes'), (*_FIRST, 'sync-notes')),
    ),
    Goal(
        3,
        '1 % changed at 100,000: CPU against no change',
        2.5,
        _over((*_STEADY, '1 % changed'), (*_STEADY, 'no change')),
    ),
    Goal(
        3,
        'renamed folder of 10,000 among 100,000: CPU against no change',
        3,
        _over(('renamed', 100_000, 'renamed'), ('renamed', 100_000, 'no change')),
    ),
    Goal(
        3,
        'renamed folder of 10,000, all there are: CPU against no change',
        3,
        _over(('renamed', 10_000, 'renamed'), ('renamed', 10_000, 'no change')),
    ),
    _memory('first sync of 100,000', 120, ('first', 100_000, 'sync-notes')),
    _memory('second device, 100,000', 120, ('second', 100_000, 'second device')),
    _memory('no change at 100,000', 120, (*_STEADY, 'no change')),
    _memory('1 % changed at 100,000', 120, (*_STEADY, '1 % changed')),
    _memory('renamed folder, 100,000', 120, ('renamed', 100_000, 'renamed')),
    _memory('10,000 deletions, 100,000', 120, ('deletions', 100_000, 'deletions')),
    Goal(
        4,
        'first sync: peak memory of 100,000 over that of 10,000',
        40,
        lambda m: _peak(m['first', 100_000, 'sync-notes']) - _peak(m[*_FIRST, 'sync-notes']),
        'MB',
    ),
    Goal(
        4,
        'no change: peak memory of 100,000 over that of 10,000',
        40,
        lambda m: _peak(m[*_STEADY, 'no change']) - _peak(m['steady', 10_000, 'no change']),
        'MB',
    ),
    _memory('a file of 1 GB', 100, ('large', 1024, 'sync-notes')),
    _memory('a file of 1 GB to a second device', 100, ('large', 1024, 'second device')),
    Goal(
        4,
        "a file of 1 GB: wall against rsync's",
        4,
        lambda m: m['large', 1024, 'sync-notes'].wall / m['large', 1024, 'rsync'].wall,
    ),
    Goal(
        5,
        '50 added notes: CPU with 20 known devices against one',
        1.3,
        _over(('devices', 1_000, '20 known'), ('devices', 1_000, '1 known')),
    ),
    Goal(
        6,
        '--help: wall against the import of argparse',
        3,
        lambda m: m['start', 100, '--help'].wall / m['start', 100, 'argparse'].wall,
    ),
    Goal(
        6,
        "no change of 100 notes: the client's wall against the import of the ORM",
        6,
        lambda m: m['start', 100, 'no change'].wall / m['start', 100, 'ORM'].wall,
    ),
)
