"""A machine that makes up histories, and says what must be true at their end.

A step is an edit, a synchronisation (or several at once) in which anything may happen, or
something that lies in wait: a process that will be killed, a clock that goes wrong. At the end
everything is left in peace: all clients synchronise until nothing moves, and then all four
directories are equal, each note is there once, and everything that was ever written is where it
has to be.
"""

from __future__ import annotations

import collections
import itertools
import os
import random
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.properties import devices
from tests.properties.devices import CLIENTS, PLACES, SERVER, Result, World
from tests.properties.people import NAMES, Edit, People, tokens
from tests.properties.wires import FATES, Turnstile, Wire

#: of synchronising all clients, within which everything must be settled
ROUNDS = 6

POLICIES = ('keep-both', 'server-wins', 'client-wins', 'newest-wins', 'error')
MODES = (*['sync'] * 8, 'full', 'full', 'pull', 'push', 'pull-over', 'push-over')
DAY = 86400.0
OFFSETS = (0.0, DAY, -DAY, 600.0, -600.0, -1e12, 2.4e9)  # -1e12: it is 1970 there

#: after how a client may end when something happens to it: see docs/cli.rst
_UNHARMED = {0, 4}

# --- what may happen ----------------------------------------------------------------------------

_slots = st.sampled_from((0, 0, 0, 1, 1, 2, 3, 4))  # mostly the same, so that they meet
_names = st.sampled_from(NAMES)
_hows = st.sampled_from(('append', 'insert', 'replace', 'remove'))

edits: st.SearchStrategy[Edit] = st.one_of(
    st.tuples(st.just('add'), _names, st.booleans()),
    st.tuples(st.just('change'), _slots, _hows, st.integers(0, 6)),
    st.tuples(st.just('change'), _slots, _hows, st.integers(0, 6)),
    st.tuples(st.just('rename'), _slots, _names, st.booleans()),
    st.tuples(st.just('rewrite'), _slots, st.booleans()),
    st.tuples(st.just('swap'), _slots, _slots),
    st.tuples(st.just('over'), _slots, _slots),
    st.tuples(st.just('spell'), _slots, st.sampled_from(('case', 'NFC', 'NFD'))),
    st.tuples(st.just('delete'), _slots),
)
_places = st.sampled_from(PLACES)
_clients = st.sampled_from(CLIENTS)
_sides = st.sampled_from(('client', 'server'))
_messages = st.sampled_from((1, 2, 2, 3, 3, 4, 5))

happenings = st.one_of(
    st.tuples(_messages, st.sampled_from(FATES)),
    st.tuples(_messages, st.just('edit'), _sides, edits),
    st.tuples(_messages, st.just('edit'), _sides, edits),
    st.tuples(_messages, st.just('sync'), _clients),
    st.tuples(_messages, st.sampled_from(('restart', 'put off'))),
    st.tuples(_messages, st.just('kill'), _sides, st.integers(0, 15)),
)
edited = st.lists(st.tuples(_places, edits), min_size=2, max_size=6)
scripts = st.lists(happenings, max_size=3)

mishaps = st.one_of(
    st.tuples(st.just('doom'), _places, st.integers(0, 50), st.none() | st.integers(0, 12)),
    st.tuples(st.just('doom'), _places, st.integers(0, 50), st.none()),
    st.tuples(st.just('skew'), _places, st.sampled_from(OFFSETS)),
    st.tuples(st.just('restart')),
)


# --- the machine --------------------------------------------------------------------------------


class Histories(RuleBasedStateMachine):
    """One history after another."""

    made: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1
        self.policy = 'keep-both'
        self.replaced: set[str] = set()  # places that were replaced as a whole
        self.busy: set[str] = set()
        self.mishaps = 0  # one after the other

    @initialize(
        used=st.booleans(),
        policy=st.sampled_from(('keep-both', *POLICIES)),
        versions=st.tuples(*[st.sampled_from((None, '1.1', '1.2'))] * 3),
        encodings=st.tuples(*[st.sampled_from(('xml', 'wbxml'))] * 3),
        size=st.sampled_from((None, None, 2000, 4000)),
    )
    def begin(
        self,
        used: bool,
        policy: str,
        versions: tuple[Any, ...],
        encodings: tuple[str, ...],
        size: int | None,
    ) -> None:
        """Set the devices up; if they are *used*, they have the same notes already."""
        identify(random.Random(1))  # for what is made once, with the first world
        self.world = World(workshop() / 'world', used=used)
        self.people = People(self.world)
        identify(random.Random(0))
        self.policy = self.world.server.policy = policy
        self.world.diary.append(f'policy {policy}, versions {versions}, {encodings}, size {size}')
        for name, version, encoding in zip(CLIENTS, versions, encodings, strict=True):
            place = self.world.places[name]
            place.version, place.encoding, place.message_size = version, encoding, size

    @rule(
        client=_clients,
        before=edited,
        mode=st.sampled_from(MODES),
        script=scripts,
    )
    def sync(
        self,
        client: str,
        before: list[tuple[str, Edit]],
        mode: str,
        script: list[tuple[Any, ...]],
    ) -> None:
        """Some edit; one client synchronises, and something happens meanwhile."""
        self._edit(before)
        self._sync(client, mode, script)

    @rule(
        before=edited,
        order=st.lists(st.integers(0, 2), max_size=16),
        clients=st.permutations(CLIENTS),
        count=st.integers(2, 3),
        scripts=st.tuples(scripts, scripts, scripts),
    )
    def sync_together(
        self,
        before: list[tuple[str, Edit]],
        order: list[int],
        clients: list[str],
        count: int,
        scripts: tuple[Any, ...],
    ) -> None:
        """Some edit; several clients synchronise, message by message in the order given."""
        self._edit(before)
        runs: list[Callable[[Callable[[], None]], Any]] = []
        self.busy = set(clients[:count])

        def run(client: str, script: list[tuple[Any, ...]]) -> Callable[..., Any]:
            return lambda gate: self._sync(client, 'sync', script, gate)

        for client, script in zip(clients[:count], scripts, strict=False):
            runs.append(run(client, script))
        try:
            Turnstile(order).run(runs)
        finally:
            self.busy = set()

    @precondition(lambda self: self.mishaps < 2)
    @rule(what=mishaps)
    def mishap(self, what: tuple[Any, ...]) -> None:
        """Something goes wrong, or will."""
        self.mishaps += 1
        kind, *values = what
        getattr(self, kind)(*values)

    def doom(self, place: str, steps: int, again: int | None) -> None:
        """The process at work on a place, or the next one, will be killed; and its successor."""
        self.world.diary.append(f'{place}: to be killed after {steps} steps, and {again}')
        server = self.world.server
        deaths = [steps] if again is None else [steps, again]
        if place == SERVER and server.engine is not None:
            server.running.left = deaths.pop(0)
        self.world.places[place].deaths = deaths

    def skew(self, place: str, offset: float) -> None:
        """A clock is set: a day ahead, a day behind, to 1970, or right again."""
        self.world.diary.append(f'{place}: clock {offset:+.0f} s')
        self.world.places[place].offset = offset

    def restart(self) -> None:
        """The server is stopped, and started again when it is needed."""
        self.world.diary.append('s: RESTART')
        self.world.server.stop()

    def _edit(self, edits: list[tuple[str, Edit]]) -> None:
        self.mishaps = 0
        for place, one in edits:
            self.people.act(place, one)

    # --- doing --------------------------------------------------------------------------------

    def _sync(
        self,
        client: str,
        mode: str,
        script: list[tuple[Any, ...]],
        gate: Callable[[], None] | None = None,
    ) -> Result:
        fates: dict[int, str] = {}
        events: dict[int, list[Callable[[Wire], None]]] = {}
        for number, what, *values in script:
            if what in FATES:
                fates.setdefault(number, what)
            else:
                events.setdefault(number, []).append(self._event(what, *values))
        if mode.endswith('-over'):
            self.replaced.add(client if mode == 'pull-over' else SERVER)
        wire = Wire(self.world, fates, events, gate)
        alone = gate is None and not self.busy
        self.busy = self.busy | {client}
        calm = alone and not script and self._nobody_dies(client)
        try:
            result = self.world.sync(client, wire, mode)
        finally:
            if alone:
                self.busy = set()
        self._check_run(result, calm=calm)
        return result

    def _nobody_dies(self, client: str) -> bool:
        server = self.world.server
        running = server.engine is not None and server.running.left is not None
        return not (running or server.deaths or self.world.places[client].deaths)

    def _check_run(self, result: Result, *, calm: bool) -> None:
        told = f'{result.out}\n{result.err}'
        assert 'internal error' not in told, told
        assert 'Traceback' not in told, told
        if calm:
            usual = {*_UNHARMED, 3} if self.policy == 'error' else _UNHARMED
            assert result.code in usual, f'exit code {result.code}: {told}'

    def _event(self, what: str, *values: Any) -> Callable[[Wire], None]:
        def edit(wire: Wire) -> None:
            place = SERVER if values[0] == 'server' else wire.process.owner
            self.people.act(place, values[1])

        def sync(_wire: Wire) -> None:
            if values[0] not in self.busy:
                busy = self.busy
                self._sync(values[0], 'sync', [])
                self.busy = busy

        def restart(_wire: Wire) -> None:
            self.restart()

        def put_off(wire: Wire) -> None:
            self.world.diary.append('PUT OFF')
            wire.engine.adapter.suspend()

        def kill(wire: Wire) -> None:
            server = self.world.server
            if values[0] == 'client':
                wire.process.left = values[1]
            elif server.engine is not None:
                server.running.left = values[1]
            else:
                server.deaths = [values[1]]

        return {'edit': edit, 'sync': sync, 'restart': restart, 'put off': put_off, 'kill': kill}[
            what
        ]

    # --- the end ------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Let everything settle, and check; only tidy up when the history has failed before."""
        if not hasattr(self, 'world'):
            return  # it has not begun
        try:
            if sys.exc_info()[0] is None:
                self._heal()
                self._check()
        except AssertionError as error:
            raise AssertionError('\n'.join([str(error), *self.world.diary])) from error
        finally:
            self.world.close()

    def _heal(self) -> None:
        """Synchronise all clients in peace until nothing moves, and once more."""
        for place in self.world.places.values():
            place.deaths = []
        self.world.diary.append('--- in peace')
        server = self.world.server
        if server.engine is not None:
            server.running.left = None
        if self.policy == 'error':
            server.stop()
            self.world.server.policy = 'keep-both'  # somebody has to settle what is left
        seen: list[str] = []
        idle = 0
        for client in itertools.islice(itertools.cycle(CLIENTS), ROUNDS * len(CLIENTS)):
            wire = Wire(self.world, listen=True)
            result = self.world.sync(client, wire)
            self._check_run(result, calm=True)
            # what was told before, but not acknowledged, is told again and counts as nothing
            items = [] if result.moved else wire.items()
            idle = 0 if result.moved or items else idle + 1
            if idle == len(CLIENTS):
                return
            seen.append(f'{client}: {result.moved} {items}')
        raise AssertionError('there is always something to do:\n' + '\n'.join(seen))

    def _check(self) -> None:
        trees = {name: place.tree() for name, place in self.world.places.items()}
        tree = trees[SERVER]
        different = [f'{n}: {sorted(t.items())}' for n, t in trees.items()]
        assert all(t == tree for t in trees.values()), 'the trees differ:\n' + '\n'.join(different)
        self._check_tokens(tree)
        self._check_doubles(tree)
        for name, place in self.world.places.items():
            left = place.leftovers()
            assert not left, f'{name}: left over: {left}'
        assert not self.world.errors.lines, '\n'.join(self.world.errors.lines)

    def _check_doubles(self, tree: dict[str, bytes]) -> None:
        # each name that a note was given on different devices may be kept, with a note of its own
        for body, count in collections.Counter(tree.values()).items():
            owners = [self.people.renamed(token) for token in tokens(body)]
            if owners and count > max(1, *map(len, owners)):
                raise AssertionError(f'{count} times: {body!r}\n{tree}')

    def _check_tokens(self, tree: dict[str, bytes]) -> None:
        live = set().union(*map(tokens, tree.values()))
        missing = self.people.missing(live)
        discards = self.policy in ('server-wins', 'client-wins', 'newest-wins')
        kept = {*self.replaced, SERVER} if discards else self.replaced
        for name in kept if missing else ():
            missing -= set().union(*map(tokens, self.world.places[name].trash().values()))
        told = ', '.join(f'{t.decode()} of {self.people.born[t]}' for t in sorted(missing))
        assert not missing, f'lost: {told}\n{sorted(tree)}'
        if self.replaced:
            return  # what was deleted on a place that was replaced is there again, of course
        back = self.people.for_good() & live
        assert not back, f'deleted, and there again: {back}\n{tree}'


# --- what all histories share -------------------------------------------------------------------

_workshop: Path | None = None


def workshop() -> Path:
    """Return a folder for this process, in memory where there is such a place."""
    global _workshop
    if _workshop is None:
        memory = Path('/dev/shm')
        base = str(memory) if os.access(memory, os.W_OK) else None
        _workshop = Path(tempfile.mkdtemp(prefix='pysyncml-histories-', dir=base))
    return _workshop


def close_workshop() -> None:
    """Remove that folder."""
    global _workshop
    if _workshop is not None:
        shutil.rmtree(_workshop, ignore_errors=True)
        _workshop = None
        devices.forget_templates()


def identify(rng: random.Random) -> None:
    """Let new ids be the same whenever a history is told again."""
    uuid.uuid4 = lambda: uuid.UUID(int=rng.getrandbits(128), version=4)
