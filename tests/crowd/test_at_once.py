"""Many clients at once: none is sent away, none waits for ever, and all end with the same notes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.e2e.harness import Result, World, check

_BODY = 'a line of a note that somebody has written\n' * 5


def all_at_once(world: World, names: list[str], timeout: float) -> tuple[list[Result], list[float]]:
    """Synchronise all directories *names* at the same moment.

    Returns what came of each run, which must have ended well, and the seconds each has taken.
    """
    start = time.monotonic()
    runs = {name: world.begin(name) for name in names}
    seconds: dict[str, float] = {}
    while len(seconds) < len(runs):
        assert time.monotonic() < start + timeout, f'{len(runs) - len(seconds)} have not ended'
        for name, run in runs.items():
            if name not in seconds and not run.running:
                seconds[name] = time.monotonic() - start
        time.sleep(0.02)
    results = [check(run.wait(1), run.argv, 0) for run in runs.values()]
    assert not any(r.stats['hereErr'] or r.stats['peerErr'] for r in results)
    return results, sorted(seconds.values())


def crowd(
    world: World, clients: int, own: int, shared: int = 0, timeout: float = 120
) -> list[list[float]]:
    """Let *clients* synchronise at once, twice, and once more to take what came in between.

    Each has *own* notes of its own, and *shared* notes that all of them have; before the second
    time each edits one of its notes, deletes one and renames one. Returns the seconds that each
    has taken, for each round.
    """
    server = world.server('s')
    names = [f'c{number:02}' for number in range(clients)]
    for name in names:
        for number in range(own):
            world.write(name, f'{name}/{number}.txt', f'{name} {number}\n{_BODY}')
        for number in range(shared):
            world.write(name, f'all/{number}.txt', f'{number}\n{_BODY}')
    waited = [all_at_once(world, names, timeout)[1]]
    for name in names:
        world.write(name, f'{name}/0.txt', f'{name} has edited this\n{_BODY}')
        world.path(name).joinpath(name, '1.txt').unlink()
        world.path(name).joinpath(name, '2.txt').rename(world.path(name) / f'{name} 2.txt')
    waited.append(all_at_once(world, names, timeout)[1])
    waited.append(all_at_once(world, names, timeout)[1])
    tree = world.same('s', *names)
    assert len(tree) == clients * (own - 1) + shared, sorted(tree)
    for name in names:
        assert tree[f'{name}/0.txt'].startswith(f'{name} has edited this'.encode())
        assert f'{name}/1.txt' not in tree
        assert f'{name} 2.txt' in tree
    results, seconds = all_at_once(world, names, timeout)
    waited.append(seconds)
    assert [result.moved for result in results] == [{}] * clients
    assert 'Traceback' not in server.log()
    return waited


def show(waited: list[list[float]]) -> str:
    """Return the seconds of the first, the middle and the last of each round."""
    lines = [f'{r[0]:.1f} / {r[len(r) // 2]:.1f} / {r[-1]:.1f} s' for r in waited]
    return 'first / middle / last of each round: ' + ', '.join(lines)


def test_six_clients_at_once(world):
    crowd(world, clients=6, own=3, shared=2)


@pytest.mark.campaign
@pytest.mark.parametrize(('own', 'shared'), [(20, 180), (200, 0)])
def test_fifty_clients_with_200_notes_each_at_once(own, shared, tmp_path: Path):
    with World(tmp_path) as world:
        print(show(crowd(world, clients=50, own=own, shared=shared, timeout=7200)))
