"""Runs a scenario with a fault at one step, then plainly, and looks whether all is whole."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import re
import shutil
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pysyncml.storage import stamp
from tests.crash.disk import WAYS, Disk
from tests.crash.scenarios import MESSAGE_SIZE, OVERWRITTEN, PASSWORD, Scenario
from tests.e2e.harness import Result, Server, World, check

KILLED = -9
_SYNCS = 'sync', 'syncdir', 'syncfs'
#: what a run may end with when the disk of one of the two is full
FULL = (0, 1, 4, 5, 6, 8)


@dataclass(frozen=True)
class Point:
    """One step of one run, and what happens there."""

    scenario: str
    role: str
    fault: str
    label: str
    number: int

    def __str__(self) -> str:
        return f'{self.scenario}/{self.role}/{self.fault}/{self.label}#{self.number}'

    @classmethod
    def parse(cls, text: str) -> Point:
        """Return the point that was written as *text*."""
        scenario, role, fault, rest = text.split('/', 3)
        label, _, number = rest.rpartition('#')
        return cls(scenario, role, fault, label, int(number))

    @property
    def seed(self) -> int:
        """A number that is always the same for this point."""
        return sum(str(self).encode())

    @property
    def place(self) -> str:
        """The directory of the one that the fault is for."""
        return 's' if self.role == 'server' else 'a'


class Stage:
    """A scenario, ready to be run as often as wanted from the same start."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self.folder = folder
        self.port = _port()
        self._count = 0
        with self._world(folder / 'template') as world:
            secret = world.root / 'password'
            secret.write_text(f'{PASSWORD}\n')
            secret.chmod(0o600)
            for name in ('a', 's', *scenario.others):
                world.path(name)
            if scenario.prepare.__name__ != 'nothing':
                server = self.server(world)
                scenario.prepare(world)
                server.stop()

    def _world(self, folder: Path) -> World:
        world = World(folder)
        world.environment.update(self.scenario.environment, E2E_MESSAGE_SIZE=MESSAGE_SIZE)
        return world

    def server(self, world: World, env: dict[str, str] | None = None) -> Server:
        """Start the server of this stage."""
        listen = '--listen', f'127.0.0.1:{self.port}'
        return world.server('s', *listen, *self.scenario.served, env=env)

    @contextlib.contextmanager
    def world(self) -> Any:
        """Yield a world as it is before the run, with the users' last edits."""
        self._count += 1
        folder = self.folder / f'{self._count:04}'
        shutil.copytree(self.folder / 'template', folder, ignore=lambda *_: ['.runs'])
        with self._world(folder) as world:
            for name in ('a', 's', *self.scenario.others):
                restamp(world.path(name))
            self.scenario.edit(world)
            yield world
        shutil.rmtree(folder)

    # --- one run ------------------------------------------------------------------------------

    def steps(self, role: str) -> list[tuple[str, int, bool]]:
        """Return the steps of a run in which nothing goes wrong."""
        with self.world() as world:
            before = self._bodies(world)
            seen = self._faulted(world, Point(self.scenario.name, role, 'none', '', 0))[1]
            assert seen['typed'] == bool(self.scenario.typing)
            self._typed(before)
            self._finish(world)
            self._check(world, before)
        return list(seen['steps'])

    def try_out(self, point: Point, way: str | None = None, *, careless: bool = False) -> bool:
        """Let a fault happen, then look; return whether the run came to that step.

        Args:
            way: what becomes of unsynced changes in a loss; by default as the point settles it.
            careless: as if files and folders had not been synced.
        """
        with self.world() as world:
            disk = Disk(world.path(point.place))
            before = self._bodies(world)
            result, seen = self._faulted(world, point)
            if seen['typed']:
                self._typed(before)
            if point.fault == 'loss' and seen['fired']:
                events = seen['events']
                if careless:
                    events = [event for event in events if event[0] not in _SYNCS]
                disk.play(events)
                disk.lose(way or WAYS[point.seed % len(WAYS)], point.seed)
            self._look(world, before)
            # what a server has taken is safe in its state folder, and may yet be put in its place
            if result is not None and result.code == 0 and point.role == 'client':
                self._compare_well(world, before, typed=seen['typed'])
            self._finish(world)
            self._check(world, before)
            return bool(seen['fired'])

    def _faulted(self, world: World, point: Point) -> tuple[Result | None, dict[str, Any]]:
        """Run the client, and the server, with the fault in one of them."""
        out = world.root / 'seen'
        order = {
            'root': str(world.path(point.place)),
            'fault': point.fault,
            'label': point.label,
            'number': point.number,
            'typing': {k: v.decode() for k, v in (self.scenario.typing or {}).items()},
            'out': str(out),
        }
        env = {'CRASH': json.dumps(order), 'E2E_PLUGIN': 'tests.crash.injector'}
        result = None
        if '--restore' in self.scenario.options:
            result = world.start(*self.scenario.options, 'a', env=env).wait()
        else:
            server = self._start(world, env if point.role == 'server' else None)
            if server is not None:
                run = world.begin(
                    'a',
                    *self.scenario.options,
                    server=server,
                    env=env if point.role == 'client' else None,
                )
                result = run.wait()
                check(result, run.argv, None)
                if server.run.running and point.role == 'server':
                    end = check(server.stop(), server.run.argv, None)  # that may be where it dies
                    assert end.code in (*FULL, KILLED), f'{end.code}: {end.err}'
        for server in world.servers:
            assert 'Traceback' not in server.log(), server.log()
            assert 'internal error' not in server.log(), server.log()
            server.env = None
        if result is not None:
            self._check_end(point, result)
        with open(out, 'rb') as stream:
            return result, pickle.load(stream)

    def _check_end(self, point: Point, result: Result) -> None:
        if point.fault in ('full', 'filled', 'none'):
            assert result.code in FULL, f'exit code {result.code}: {result.err}'
            assert point.fault != 'none' or result.code == 0, result.err
        if result.code > 0:
            said = result.err.strip() or result.stats.get('problems')
            assert said, f'exit code {result.code} without a word'

    def _start(self, world: World, env: dict[str, str] | None) -> Server | None:
        """Start the server; return None if it has not come so far."""
        try:
            return self.server(world, env)
        except AssertionError:
            assert env is not None
        return None

    # --- afterwards ---------------------------------------------------------------------------

    def _finish(self, world: World) -> None:
        """Start everything again plainly, until nothing moves any more."""
        if world.servers:
            server = world.servers[0]
            if not server.run.running:
                server.start()
        else:
            server = self.server(world)
        scenario = self.scenario
        names = ('a', *scenario.others)
        if '--restore' in scenario.options and world.tree('a') != scenario.want:
            world.run(*scenario.options, 'a')  # it was said, and has not been done
        for name in (*names, 'a') if scenario.others else names:
            world.sync(name, server=server)
        for name in names:
            moved = world.sync(name, server=server).moved
            assert moved == {}, f'there is no end to it: {moved}'
        check(server.stop(), server.run.argv, 0)
        for server in world.servers:
            assert 'Traceback' not in server.log(), server.log()

    def _check(self, world: World, before: set[bytes]) -> None:
        kept = set(self._compare(world, 'in the end', before).values())
        for name in ('a', 's', *self.scenario.others):
            check_state(world.path(name))
            kept |= trash(world.path(name)) | set(world.tree(name).values())
        lost = [body[:40] for body in before - kept]
        assert not lost, f'neither there nor in a trash: {lost}'

    def _compare_well(self, world: World, before: set[bytes], *, typed: bool) -> None:
        """Both sides of a run that said all was well are equal, but for what was typed since."""
        if self.scenario.others:
            world.same('a', 's')  # the others have not been there yet
        elif not typed:
            self._compare(world, 'although all was said to be well', before)

    def _compare(self, world: World, when: str, before: set[bytes]) -> dict[str, bytes]:
        scenario = self.scenario
        if when != 'in the end' and '--restore' in scenario.options:
            return world.tree('a')
        tree = world.same('a', 's', *scenario.others)
        typing = set((scenario.typing or {}).values())
        if scenario.want is not None and not typing & before:
            assert tree == scenario.want, f'{when}: {difference(tree, scenario.want)}'
        elif scenario.bodies:
            found, wanted = Counter(tree.values()), Counter(scenario.bodies)
            for extra in scenario.twice:
                found[extra] = min(found[extra], 1)
            assert found == wanted, f'{when}: {sorted(tree)}: {found - wanted} {wanted - found}'
        return tree

    def _bodies(self, world: World) -> set[bytes]:
        names = ('a', 's', *self.scenario.others)
        return {body for name in names for body in world.tree(name).values()}

    def _typed(self, before: set[bytes]) -> None:
        """Take in what the user has typed meanwhile, over what was there."""
        before |= set((self.scenario.typing or {}).values())
        before -= {OVERWRITTEN}

    def _look(self, world: World, before: set[bytes]) -> None:
        """Every file is what it was or what it is to be, at every moment."""
        good = (
            before
            | {OVERWRITTEN}
            | set((self.scenario.want or {}).values())
            | set(self.scenario.bodies or ())
        )
        for name in ('a', 's', *self.scenario.others):
            for key, body in world.tree(name).items():
                assert body in good, f'{name}/{key} is neither old nor new: {body[:100]!r}'


def _port() -> int:
    """Return a port that stays free between two starts of a server.

    It is none of those that the system hands out by itself: to other tests, or to the near end of
    any connection.
    """
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with contextlib.suppress(OSError), socket.create_server(('127.0.0.1', port)):
            return port


def restamp(folder: Path) -> None:
    """Have the index know the copies of files as it knew those they were copied from."""
    path = folder / '.sync' / 'state.db'
    if not path.exists():
        return
    with contextlib.closing(sqlite3.connect(path)) as database:
        rows = list(database.execute('select id, path from noteitem'))
        for item, key in rows:
            stat = os.stat(folder / key)
            values = stat.st_ino, stamp(stat), item
            database.execute('update noteitem set inode = ?, stamp = ? where id = ?', values)
        database.commit()
    time.sleep(0.01)  # an edit in the same tick of the clock would not be seen


def check_state(folder: Path) -> None:
    """Make sure that nothing is left in the state folder that does not belong there."""
    state = folder / '.sync'
    for name in ('staged', 'aside', 'arriving'):
        if (state / name).exists():
            assert os.listdir(state / name) == [], f'{folder.name}: left in {name}'
    extra = {n for n in os.listdir(state) if not _BELONGS.fullmatch(n)}
    assert not extra, f'{folder.name}: left in the state folder: {extra}'
    with contextlib.closing(sqlite3.connect(state / 'state.db')) as database:
        assert database.execute('pragma integrity_check').fetchall() == [('ok',)]
        journal = database.execute('select line from pysyncml_journal').fetchall()
        assert journal == [], f'{folder.name}: left in the journal: {journal}'


_BELONGS = re.compile(
    r'aside|staged|arriving|trash|clock|identity|credentials|accounts|(client|server|publish)\.lock|lock(\.next)?'
    r'|state\.db(-wal|-shm)?|state\.db\.v\d+\.bak'
)


def trash(folder: Path) -> set[bytes]:
    """Return what is in the trash of a directory."""
    top = folder / '.sync' / 'trash'
    return {path.read_bytes() for path in top.rglob('*') if path.is_file()}


def difference(found: dict[str, bytes], wanted: dict[str, bytes]) -> str:
    """Return in what two trees differ."""
    lines = []
    for key in sorted({*found, *wanted}):
        one, other = found.get(key), wanted.get(key)
        if one != other:
            lines.append(f'{key}: {one and one[:60]!r} instead of {other and other[:60]!r}')
    return '\n'.join(lines)


def choose(
    steps: Iterable[tuple[str, int, bool]], fault: str, most: int, scenario: str = ''
) -> list[tuple[str, int]]:
    """Return at most so many occurrences of each kind of step, other ones in each scenario.

    Only what needs room can find the disk full.
    """
    found: dict[str, list[int]] = {}
    for label, number, room in steps:
        if room or fault not in ('full', 'filled'):
            found.setdefault(label, []).append(number)
    dice = random.Random(f'{scenario} {fault}')
    return [
        (label, number)
        for label, numbers in found.items()
        for number in sorted(dice.sample(numbers, min(most, len(numbers))))
    ]
