"""Whatever a run breaks off at, the next plain runs bring everything in step: nothing is lost.

A scenario is run once with all of its steps written down (``injector.py``); then again and again
with a fault at one of these steps, in the client or in the server. After each fault both are
started plainly, without any option that would help, and everything has to be whole.

``CRASH_MOST=3 make campaign`` tries three occurrences of each kind of step in place of one. One
point alone: ``CRASH_POINT='ways/client/kill/rename:note>aside#2' pytest tests/crash``; with
``CRASH_WAY=some`` as well, what is left after a loss is settled in that way.
"""

from __future__ import annotations

import os
import random
import sys
import traceback
from pathlib import Path

import pytest

from tests.crash import vfs
from tests.crash.running import Point, Stage, choose
from tests.crash.scenarios import SCENARIOS

FAULTS = 'kill', 'loss', 'full', 'filled'
#: how many occurrences of each kind of step are tried, in each scenario of the campaign
MOST = int(os.environ.get('CRASH_MOST', '1'))
#: which scenarios are tried at each kind of step; of the others half are
_CORE = 'first', 'ways', 'conflict', 'typing', 'typing there', 'large', 'huge', 'restore'
#: where also the room for one step only is missing: what goes on then is much the same everywhere
_FULL = 'first', 'ways', 'large', 'huge', 'restore'

_stages: dict[str, Stage] = {}
_steps: dict[tuple[str, str], list[tuple[str, int, bool]]] = {}


def _impossible() -> str | None:
    if not sys.platform.startswith('linux'):
        return 'what a process does is watched by means of Linux only'
    try:
        vfs.library()
    except LookupError as error:
        return str(error)
    return None


pytestmark = pytest.mark.skipif(_impossible() is not None, reason=str(_impossible()))


@pytest.fixture(scope='module')
def stage(tmp_path_factory):
    """Make stages, each of them once."""

    def make(name: str) -> Stage:
        if name not in _stages:
            _stages[name] = Stage(SCENARIOS[name], tmp_path_factory.mktemp(name) / 'stage')
        return _stages[name]

    return make


def _points(stage: Stage, role: str, fault: str, most: int) -> list[Point]:
    name = stage.scenario.name
    if (name, role) not in _steps:
        _steps[name, role] = stage.steps(role)
    chosen = choose(_steps[name, role], fault, most, name)
    if name not in _CORE and 'CRASH_MOST' not in os.environ:
        chosen = random.Random(f'{name} {role} {fault}').sample(chosen, (len(chosen) + 1) // 2)
    return [Point(name, role, fault, label, number) for label, number in chosen]


def _try(stage: Stage, points: list[Point], record_property) -> None:
    """Try all of these points; tell of all that failed."""
    failed, reached = [], 0
    for point in points:
        how = 'failed'
        try:
            how = 'passed' if stage.try_out(point, os.environ.get('CRASH_WAY')) else 'missed'
            reached += how == 'passed'
        except Exception as error:
            text = str(error) if isinstance(error, AssertionError) else traceback.format_exc()
            failed.append(f"CRASH_POINT='{point}'\n{text.strip()}")
        record_property('crash', [point.fault, point.role, how])
    assert not failed, f'{len(failed)} of {len(points)} points:\n\n' + '\n\n'.join(failed)
    assert reached + len(failed) >= len(points) * 0.9, (
        f'only {reached} of {len(points)} points were reached'
    )


_ALL = [
    (name, role, fault)
    for name, scenario in SCENARIOS.items()
    for role in scenario.roles
    for fault in FAULTS
    if fault != 'full' or name in _FULL
]


@pytest.mark.campaign
@pytest.mark.parametrize('name, role, fault', _ALL, ids=map('-'.join, _ALL))
def test_every_step_may_be_the_last(name, role, fault, stage, record_property):
    here = stage(name)
    _try(here, _points(here, role, fault, MOST), record_property)


@pytest.mark.parametrize('role', ['client', 'server'])
def test_a_few_steps_of_each_kind(role, stage, record_property):
    """What stands for the campaign where there is no time for it."""
    here = stage('ways')
    faults = {'client': (('kill', 0.4), ('loss', 0.8)), 'server': (('loss', 0.4), ('filled', 0.6))}
    points = [
        point
        for fault, share in faults[role]
        for point in _one_at(_points(here, role, fault, 1), share)
    ]
    _try(here, points, record_property)


@pytest.mark.parametrize('role', ['client', 'server'])
def test_a_few_steps_with_files_that_are_never_in_memory(role, stage, record_property):
    here = stage('huge')
    points = [
        point
        for fault in ('kill', 'loss', 'filled')
        for point in _points(here, role, fault, 1)
        if 'arriving' in point.label
    ]
    assert len(points) > 5
    _try(here, [points[0 if role == 'client' else -1]], record_property)


def _one_at(points: list[Point], share: float) -> list[Point]:
    return [points[int(len(points) * share)]]


def test_files_that_are_not_synced_are_missed(stage):
    """The campaign would notice a program that is careless about power failures."""
    point = Point('ways', 'client', 'loss', 'unlink:pid', 1)
    with pytest.raises(AssertionError):
        stage('ways').try_out(point, 'nothing', careless=True)


@pytest.mark.campaign
def test_there_are_enough_steps(stage, record_property):
    """At least three hundred different ones, in clients and in servers."""
    found = {
        point for name, role, fault in _ALL for point in _points(stage(name), role, fault, MOST)
    }
    for role in ('client', 'server'):
        for fault in FAULTS:
            some = [point for point in found if (point.role, point.fault) == (role, fault)]
            assert len(some) >= 40, f'only {len(some)} for {role} and {fault}'
    assert len(found) >= 900


@pytest.mark.skipif('CRASH_POINT' not in os.environ, reason='no CRASH_POINT is named')
def test_one_point(tmp_path):
    point = Point.parse(os.environ['CRASH_POINT'])
    stage = Stage(SCENARIOS[point.scenario], Path(tmp_path) / 'stage')
    assert stage.try_out(point, os.environ.get('CRASH_WAY')), 'the run did not come to that step'
