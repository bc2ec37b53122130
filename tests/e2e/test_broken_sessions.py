"""Sessions that break off anywhere: messages lost, repeated or cut, programs killed.

However it went, a few plain synchronisations afterwards bring all devices in step, with nothing
lost and nothing doubled. The seed settles what happens to which message; when exactly a killed
program dies is up to the machine.
"""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

import pytest

from tests.e2e.harness import World
from tests.e2e.histories import People, check_end, run_all, settle, speech

CLIENTS = ('a', 'b', 'c')
PLACES = ('s', *CLIENTS)

#: what a run may end with when something is amiss: items put off, the network, the protocol
BROKEN = (0, 4, 6, 8)
KILLED = -9

_TROUBLES = ('drop-request', 'drop-answer', 'twice', 'cut', 'cut-request')
_BATCH = 3


class Trouble:
    """A server, a proxy in front of it, and clients whose sessions break."""

    def __init__(self, world: World, people: People, seed: int) -> None:
        self.world = world
        self.people = people
        self.rng = random.Random(seed + 1)
        # small messages make sessions long enough to break off in the middle
        world.environment['E2E_MESSAGE_SIZE'] = str(self.rng.choice((3500, 6000, 500_000)))
        self.server = world.server('s', '--allow-deletions')
        self.proxy = world.proxy(self.server)

    def say(self, text: str) -> None:
        self.people.diary.append(text)

    def sync(self, name: str) -> None:
        """Synchronise, with something going wrong."""
        how = self.rng.choices(
            ('messages', 'kill client', 'kill server', 'kill client soon', 'well'), (6, 2, 2, 2, 1)
        )[0]
        self.say(f'{name}: SYNC with trouble: {how}')
        dice = random.Random(self.rng.random())
        fatal = self.proxy.messages + dice.randrange(1, 7)
        run = None

        def plan(number: int) -> str:
            if how == 'messages' and dice.random() < 0.3:
                what = dice.choice(_TROUBLES)
            elif number == fatal and how.startswith('kill'):
                if how == 'kill server':
                    self.server.kill()
                elif how == 'kill client' and run is not None:
                    run.kill()
                what = dice.choice(('pass', 'drop-answer'))
            else:
                what = 'pass'
            if what != 'pass':
                self.say(f'    message {number}: {what}')
            return what

        self.proxy.plan = plan
        run = self.world.begin(
            name, '--allow-deletions', *speech(name), server=self.server, via=self.proxy
        )
        if how == 'kill client soon':
            time.sleep(dice.random() * 0.15)
            run.kill()
        result = run.wait(60)
        self.say(f'    {result.code} {result.moved} {result.err.strip()}')
        assert result.code in (*BROKEN, KILLED), f'exit code {result.code}: {result.err}'
        assert 'internal error' not in result.err and 'Traceback' not in result.err, result.err
        if not self.server.run.running:
            self.say('    the server starts again')
            self.server.start()

    def mend(self) -> None:
        """From now on all goes well."""
        self.proxy.plan = lambda number: 'pass'

    def plain(self, name: str):
        """Synchronise, with nothing going wrong."""
        result = self.world.sync(name, '--allow-deletions', server=self.server)
        self.say(f'{name}: SYNC {result.moved}')
        return result


@contextlib.contextmanager
def told(people: People):
    """Add the diary to what has failed."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError('\n'.join([str(error), *people.diary])) from error


def edited_everywhere(seed: int, folder: Path) -> None:
    """Everybody edits, and most sessions break off."""
    rng = random.Random(seed)
    with World(folder) as world:
        people = People(world, rng)
        with told(people):
            trouble = Trouble(world, people, seed)
            for place in PLACES:
                for _ in range(rng.randrange(1, 8)):
                    people.act(place)
            for _ in range(rng.randrange(5, 10)):
                for _ in range(rng.randrange(3)):
                    people.act(rng.choice(PLACES))
                trouble.sync(rng.choice(CLIENTS))
            trouble.mend()
            settle(world, CLIENTS, trouble.plain)
            check_end(world, people, PLACES)
            assert 'Traceback' not in trouble.server.log()


def edited_on_one(seed: int, folder: Path) -> None:
    """Only one device is edited: in the end all have exactly what it has, and nothing twice.

    Nothing is deleted: as long as a first synchronisation has not come to its end, what was
    sent by then and is deleted here may come back.
    """
    rng = random.Random(seed)
    with World(folder) as world:
        people = People(world, rng, careful=True)
        with told(people):
            trouble = Trouble(world, people, seed)
            editor = rng.choice(PLACES)
            for _ in range(12):
                people.act(editor)
            for _ in range(rng.randrange(4, 8)):
                for _ in range(rng.randrange(4)):
                    people.act(editor)
                trouble.sync(
                    editor if editor != 's' and rng.random() < 0.6 else rng.choice(CLIENTS)
                )
            wanted = world.tree(editor)
            trouble.mend()
            settle(world, CLIENTS, trouble.plain)
            tree = check_end(world, people, PLACES)
            assert sorted(tree.values()) == sorted(wanted.values()), 'something came twice'


@pytest.mark.parametrize(
    'messages', [(4,), pytest.param((0, 1, 2, 3, 5, 6, 7), marks=pytest.mark.campaign)]
)
@pytest.mark.parametrize('what', _TROUBLES)
def test_all_that_is_lost_or_repeated_is_made_good(what, messages, tmp_path):
    """Each kind of trouble, for each message of a session that does something."""

    def history(number: int, folder: Path) -> None:
        fatal = number + 1
        with World(folder) as world:
            world.environment['E2E_MESSAGE_SIZE'] = '3500'
            server = world.server('s')
            proxy = world.proxy(server)
            proxy.plan = lambda message: what if message == fatal else 'pass'
            for note in range(9):
                world.write('a', f'a{note}.txt', f'of a {note}\n' * 40)
                world.write('s', f's{note}.txt', f'of s {note}\n' * 40)
            first = world.sync('a', via=proxy, code=None)
            assert first.code in BROKEN, first.err
            if first.code == 0:
                world.same('s', 'a')
            if first.code:
                world.sync('a')
            assert len(world.same('s', 'a')) == 18, f'{what} of message {fatal}'
            assert world.sync('a').moved == {}, f'{what} of message {fatal}'

    run_all(messages, history, tmp_path)


@pytest.mark.parametrize('batch', range(1))
def test_broken_sessions_end_in_step(batch, tmp_path):
    run_all(range(batch * _BATCH, (batch + 1) * _BATCH), edited_everywhere, tmp_path)


@pytest.mark.parametrize('batch', range(1))
def test_broken_sessions_double_nothing(batch, tmp_path):
    run_all(range(batch * _BATCH, (batch + 1) * _BATCH), edited_on_one, tmp_path)


@pytest.mark.campaign
@pytest.mark.parametrize('batch', range(10))
def test_many_broken_sessions(batch, tmp_path):
    first = 1000 + 100 * batch
    run_all(range(first, first + 30), edited_everywhere, tmp_path)
    run_all(range(first + 30, first + 50), edited_on_one, tmp_path)
