"""Sessions that end in the middle, on either side, and what the next one makes of it.

Messages go through a proxy that strikes at a certain one. Whatever had been done by then, the next
session must bring both directories to the same notes, each of them once.
"""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.proxy import DROP_ANSWER, DROP_REQUEST, PASS
from tests.interop.meeting import ENCODINGS, Ours, sessions, text
from tests.interop.syncevo import assert_equal

pytestmark = pytest.mark.interop

# With messages of 10 KB and this many notes on each side, a first session has about ten messages
# while the client sends, and ten more while the server does.
NOTES = 120
LIMIT = 10_240
WHEN = pytest.mark.parametrize('when', [2, 5, 12, 15])


def fill(meeting, *names):
    for name in names:
        for number in range(NOTES):
            meeting.write(name, f'{name}{number}.txt', f'{name} {number}\n{"x" * 400}\n')


class Strike:
    """A plan for a proxy: do something once, at the message *when*."""

    def __init__(self, when, action, then=DROP_REQUEST):
        self.when, self.action, self.then = when, action, then
        self.done = False

    def __call__(self, number):
        if number != self.when or self.done:
            return PASS
        self.done = True
        self.action()
        return self.then


# --- SyncEvolution is the client ------------------------------------------------------------------


class Pair:
    """SyncEvolution as a client of our server, behind a proxy."""

    def __init__(self, meeting, *, wbxml=False):
        self.server = meeting.server('s', '--json')
        self.proxy = meeting.proxy(self.server)
        self.client = meeting.foreign_client('c', self.proxy, wbxml=wbxml, maxMsgSize=LIMIT)

    def interrupted(self, when, number, then=DROP_REQUEST):
        """Run the client until message *when*, send it the signal *number*; return what came."""
        with self.client.begin() as run:
            strike = Strike(when, lambda: os.killpg(run.process.pid, number), then)
            self.proxy.plan = strike
            outcome = run.wait(60)
        assert strike.done
        return outcome

    def recovers(self, total=2 * NOTES):
        """Assert that the next session puts all in order, and that the one after has no work."""
        self.proxy.plan = lambda number: PASS
        self.client.sync()
        assert assert_equal(self.client.notes, self.server.path).total() == total
        assert self.client.sync().moved == {}
        stats = sessions(self.server, 1)[-1]['stats']['notes']
        assert stats['mode'] == 'two_way'
        assert not any(stats[side + what] for side in ('here', 'peer') for what in KINDS)


KINDS = ('Add', 'Mod', 'Del', 'Err')


@WHEN
@ENCODINGS
def test_the_foreign_client_is_killed(meeting, wbxml, when):
    fill(meeting, 's', 'c')
    pair = Pair(meeting, wbxml=wbxml)
    pair.interrupted(when, signal.SIGKILL)
    pair.recovers()


@WHEN
def test_the_foreign_client_is_killed_after_we_have_answered(meeting, when):
    fill(meeting, 's', 'c')
    pair = Pair(meeting)
    pair.interrupted(when, signal.SIGKILL, PASS)
    pair.recovers()


@WHEN
@ENCODINGS
def test_the_foreign_client_suspends(meeting, wbxml, when):
    fill(meeting, 's', 'c')
    pair = Pair(meeting, wbxml=wbxml)
    outcome = pair.interrupted(when, signal.SIGINT, PASS)
    assert outcome.code != 0
    pair.recovers()


@WHEN
def test_the_connection_of_the_foreign_client_is_lost(meeting, when):
    fill(meeting, 's', 'c')
    pair = Pair(meeting)
    pair.proxy.plan = Strike(when, lambda: None, DROP_ANSWER)
    pair.client.sync(code=1)
    pair.recovers()


@WHEN
def test_our_server_is_killed(meeting, when):
    fill(meeting, 's', 'c')
    pair = Pair(meeting)
    pair.proxy.plan = Strike(when, pair.server.kill)
    pair.client.sync(code=1)
    pair.server.start()
    pair.recovers()


def test_our_server_is_restarted_between_two_messages(meeting):
    fill(meeting, 's', 'c')
    pair = Pair(meeting)
    pair.proxy.plan = Strike(5, pair.server.restart, PASS)
    pair.client.sync()
    pair.recovers()


@ENCODINGS
@pytest.mark.parametrize('way', ['up', 'down'])
def test_a_large_note_is_interrupted(meeting, way, wbxml):
    """The client is killed in the middle of a note that takes many messages."""
    meeting.write('c' if way == 'up' else 's', 'large.txt', text(100_000, 'large'))
    meeting.write('c', 'c.txt', 'of c\n')
    meeting.write('s', 's.txt', 'of s\n')
    pair = Pair(meeting, wbxml=wbxml)
    pair.interrupted(8, signal.SIGKILL)
    pair.recovers(3)


@ENCODINGS
@pytest.mark.parametrize('way', ['up', 'down'])
def test_changes_are_interrupted(meeting, way, wbxml):
    """Not a first synchronisation: edits and deletions are under way when the client is killed."""
    fill(meeting, 's')
    pair = Pair(meeting, wbxml=wbxml)
    pair.client.sync()
    for number in range(NOTES):
        title = f's {number}'
        path = pair.client.holding(title) if way == 'up' else pair.server.path / f's{number}.txt'
        if number < 20:
            path.unlink()
        else:
            path.write_text(f'{title}\n{"y" * 400}\n')
    first = pair.proxy.messages
    pair.interrupted(first + 4, signal.SIGKILL)
    pair.recovers(NOTES - 20)


# --- SyncEvolution is the server ------------------------------------------------------------------


class Riap:
    """We are a client of SyncEvolution's server, behind a proxy."""

    def __init__(self, meeting, *, wbxml=False):
        self.meeting = meeting
        self.server = meeting.foreign_server('s', 'ours-c', maxMsgSize=LIMIT)
        self.proxy = meeting.proxy(self.server)
        self.ours = Ours(meeting, self.server, wbxml=wbxml)

    def interrupted(self, when, number, then=DROP_REQUEST):
        """Run our client until message *when*, send it the signal *number*; return what came."""
        run = self.ours.begin(via=self.proxy)
        strike = Strike(when, lambda: run.kill(number), then)
        self.proxy.plan = strike
        result = run.wait(60)
        assert strike.done
        assert 'Traceback' not in result.err
        return result

    def recovers(self, total=2 * NOTES):
        """Assert that the next session puts all in order, and that the one after has no work."""
        self.proxy.plan = lambda number: PASS
        self.ours.sync()
        assert assert_equal(self.ours.notes, self.server.notes).total() == total
        result = self.ours.sync()
        assert (result.moved, result.stats['mode']) == ({}, 'two_way')


@WHEN
@ENCODINGS
def test_we_are_killed(meeting, wbxml, when):
    fill(meeting, 's', 'c')
    riap = Riap(meeting, wbxml=wbxml)
    riap.interrupted(when, signal.SIGKILL)
    riap.recovers()


@WHEN
def test_we_are_killed_after_the_foreign_server_has_answered(meeting, when):
    fill(meeting, 's', 'c')
    riap = Riap(meeting)
    riap.interrupted(when, signal.SIGKILL, PASS)
    riap.recovers()


@WHEN
@ENCODINGS
def test_we_suspend(meeting, wbxml, when):
    fill(meeting, 's', 'c')
    riap = Riap(meeting, wbxml=wbxml)
    assert riap.interrupted(when, signal.SIGINT, PASS).code == 130
    riap.recovers()


@pytest.mark.parametrize('then', [DROP_REQUEST, DROP_ANSWER])
@WHEN
def test_a_message_to_the_foreign_server_is_lost(meeting, when, then):
    """We send it again, and SyncEvolution says the same again."""
    fill(meeting, 's', 'c')
    riap = Riap(meeting)
    riap.proxy.plan = Strike(when, lambda: None, then)
    riap.ours.sync(via=riap.proxy)
    assert assert_equal(riap.ours.notes, riap.server.notes).total() == 2 * NOTES
    riap.recovers()


@WHEN
def test_the_foreign_server_is_killed(meeting, when):
    fill(meeting, 's', 'c')
    riap = Riap(meeting)
    riap.proxy.plan = Strike(when, riap.server.kill)
    riap.ours.sync(via=riap.proxy, code=6)
    riap.server.start()
    riap.recovers()


@ENCODINGS
@pytest.mark.parametrize('way', ['up', 'down'])
def test_a_large_note_of_ours_is_interrupted(meeting, way, wbxml):
    """We are killed in the middle of a note that takes many messages."""
    meeting.write('c' if way == 'up' else 's', 'large.txt', text(100_000, 'large'))
    meeting.write('c', 'c.txt', 'of c\n')
    meeting.write('s', 's.txt', 'of s\n')
    riap = Riap(meeting, wbxml=wbxml)
    riap.interrupted(8, signal.SIGKILL)
    riap.recovers(3)
