"""Three clients and the server's own edits, at random, end in step, with nothing lost."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.e2e.harness import World, check
from tests.e2e.histories import People, check_end, check_idle, run_all, settle, speech

CLIENTS = ('a', 'b', 'c')
PLACES = ('s', *CLIENTS)

_FEW = 3


def edited_everywhere(seed: int, folder: Path) -> None:
    """Everybody edits whenever they like, and synchronises whenever they like."""
    rng = random.Random(seed)
    with World(folder) as world:
        people = People(world, rng)
        server = world.server('s', '--allow-deletions')

        def sync(name):
            result = world.sync(name, '--allow-deletions', *speech(name))
            people.diary.append(f'{name}: SYNC {result.moved}')
            return result

        try:
            for place in PLACES:
                for _ in range(rng.randrange(5)):
                    people.act(place)
            for _ in range(rng.randrange(5, 12)):
                for _ in range(rng.randrange(1, 4)):
                    people.act(rng.choice(PLACES))
                if rng.random() < 0.8:
                    sync(rng.choice(CLIENTS))
                if rng.random() < 0.02:
                    people.diary.append('RESTART')
                    server.restart()
            settle(world, CLIENTS, sync)  # its last round transfers nothing
            check_end(world, people, PLACES)
        except AssertionError as error:
            raise AssertionError('\n'.join([str(error), *people.diary])) from error


def edited_in_turn(seed: int, folder: Path) -> None:
    """One device is edited at a time, and all of them have exactly what it has afterwards."""
    rng = random.Random(seed)
    with World(folder) as world:
        people = People(world, rng)
        world.server('s', '--allow-deletions')

        def sync(name):
            result = world.sync(name, '--allow-deletions', *speech(name))
            people.diary.append(f'{name}: SYNC {result.moved}')
            return result

        try:
            for _ in range(3):
                place = rng.choice(PLACES)
                for _ in range(rng.randrange(1, 9)):
                    people.act(place)
                wanted = world.tree(place)
                for name in sorted(CLIENTS, key=lambda name: name != place):
                    sync(name)
                assert world.same(place, *PLACES) == wanted, 'the editor lost something'
            for name in CLIENTS:
                check_idle(sync(name))
        except AssertionError as error:
            raise AssertionError('\n'.join([str(error), *people.diary])) from error


def edited_at_once(seed: int, folder: Path) -> None:
    """Everybody edits, and several devices synchronise at the same time."""
    rng = random.Random(seed)
    with World(folder) as world:
        people = People(world, rng)
        server = world.server('s', '--allow-deletions')

        def sync(name):
            result = world.sync(name, '--allow-deletions', *speech(name))
            people.diary.append(f'{name}: SYNC {result.moved}')
            return result

        try:
            for _ in range(rng.randrange(3, 6)):
                for _ in range(rng.randrange(1, 9)):
                    people.act(rng.choice(PLACES))
                names = rng.sample(CLIENTS, rng.randrange(2, 4))
                runs = [world.begin(name, '--allow-deletions', *speech(name)) for name in names]
                for name, run in zip(names, runs, strict=True):
                    result = check(run.wait(), run.argv, None)
                    people.diary.append(f'{name}: SYNC with others {result.code} {result.moved}')
                    # what another one has just changed may be left for the next time
                    assert result.code in (0, 4), result.err
            settle(world, CLIENTS, sync)
            check_end(world, people, PLACES)
            assert 'Traceback' not in server.log()
        except AssertionError as error:
            raise AssertionError('\n'.join([str(error), *people.diary])) from error


def test_edits_everywhere_end_in_step(tmp_path):
    run_all(range(_FEW), edited_everywhere, tmp_path)


def test_edits_in_turn_arrive_exactly(tmp_path):
    run_all(range(_FEW), edited_in_turn, tmp_path)


def test_devices_at_once_end_in_step(tmp_path):
    run_all(range(_FEW), edited_at_once, tmp_path)


@pytest.mark.campaign
@pytest.mark.parametrize('batch', range(10))
def test_a_thousand_histories(batch, tmp_path):
    first = 1000 + 100 * batch
    run_all(range(first, first + 70), edited_everywhere, tmp_path)
    run_all(range(first + 70, first + 90), edited_in_turn, tmp_path)
    run_all(range(first + 90, first + 100), edited_at_once, tmp_path)
