"""``--retry``, ``--timeout`` and what the program says: real runs over a bad network."""

from __future__ import annotations

import json
import signal
import time

import pytest

import pysyncml
from pysyncml.cli import retry
from pysyncml.cli.options import Patience, read_patience
from pysyncml.testing import TestDevice
from tests.e2e.harness import wait_for
from tests.network.badnet import BadNetwork, Way, http, says, says_without_end, silent, slams

PORTAL = says(http('302 Found', headers=['Location: http://portal.example/?hunter2']))


def lines(result):
    """Return what was said on the error stream, which is one line for each failure."""
    found = result.err.splitlines()
    assert all(line.startswith('sync-notes: ') for line in found), result.err
    return found


@pytest.fixture
def ways(world):
    """A server in step with the directory ``a``, and a bad way to it; each has news."""
    world.environment['E2E_RETRIES'] = '0.01,0.02'
    server = world.server('s')
    way = Way(server.port)
    with BadNetwork(way) as network:
        world.write('a', 'old', 'old')
        world.sync('a', server=network.url)
        world.write('a', 'here', 'from here')
        world.write('s', 'there', 'from there')
        yield world, way, network


def heals(world):
    """Assert that a plain run brings both in step, and the one after it has nothing to do."""
    world.sync('a')
    assert world.same('s', 'a') == {'old': b'old', 'here': b'from here', 'there': b'from there'}
    assert world.sync('a').moved == {}


def test_what_fails_is_one_line_and_exit_code_6_and_heals(ways):
    world, way, network = ways
    for behaviour, words in (
        (slams, 'without an answer'),
        (says(http(body=b'<html>', kind='text/html')), 'a web page'),
        (PORTAL, 'portal.example'),
        (says(b'HTTP/1.1 200 OK\r\nno header\r\nContent-Length: 3\r\n\r\nabc'), ''),
        (silent, 'more than|did not answer'),
        (says_without_end(http(length=b'99999'), b'x', pace=0.01), 'more than 1 seconds'),
    ):
        network.behaviour = behaviour
        result = world.sync('a', '--timeout', '1', code=None)
        assert result.code in ((6, 8) if not words else (6,)), result.err
        [line] = lines(result)
        assert any(part in line for part in words.split('|')), line
        assert 'hunter2' not in line
        assert result.data[-1]['exitCode'] == result.code
    network.behaviour = way
    heals(world)


def test_a_session_that_breaks_is_begun_again(ways):
    """At the first message nobody listens well, then a gateway is tired, then an answer is cut."""
    world, way, network = ways
    script = iter([slams, slams, says(http('503 Busy', headers=['Retry-After: 1']))])

    def behave(sock):
        next(script, way)(sock)

    network.behaviour = behave
    begin = time.monotonic()
    result = world.sync('a', '--retry', '5')
    assert time.monotonic() - begin >= 1, 'the server wanted to be left alone for a second'
    found = lines(result)
    assert [line.rpartition(' (')[2] for line in found] == ['1 of 5).', '2 of 5).'][: len(found)]
    assert all('Trying again in' in line for line in found)
    assert result.moved == {'hereAdd': 1, 'peerAdd': 1}
    heals(world)


def test_patience_ends(ways):
    world, way, network = ways
    network.behaviour = slams
    result = world.sync('a', '--retry', '2', code=6)
    assert len(lines(result)) == 3
    assert [line.count('Trying again') for line in lines(result)] == [1, 1, 0]
    result = world.sync('a', '--retry', '1s', code=6)
    assert len(lines(result)) >= 3
    assert 'attempt 2' in lines(result)[0]
    network.behaviour = way
    heals(world)


def test_what_waiting_does_not_help_is_not_repeated(ways):
    world, way, network = ways
    for behaviour in (
        says(http('404 Not Found')),
        says(http('401 Login')),
        says(http('407 Login')),
        says(http('301 Moved', headers=['Location: http://else.example/'])),
    ):
        network.behaviour = behaviour
        before = network.connections
        assert len(lines(world.sync('a', '--retry', '5', code=6))) == 1
        assert network.connections == before + 1
    network.behaviour = way
    heals(world)


def test_ctrl_c_ends_the_waiting_at_once(ways):
    world, way, network = ways
    network.behaviour = slams
    for number in (signal.SIGINT, signal.SIGTERM):
        run = world.begin('a', '--retry', '1h', env={'E2E_RETRIES': '0.01,60'})
        wait_for(lambda: 'Trying again' in run.err)  # noqa: B023
        begin = time.monotonic()
        run.kill(number)
        result = run.wait(10)
        assert result.code == 130 and time.monotonic() - begin < 5
        assert 'Traceback' not in result.err
    network.behaviour = way
    heals(world)


def test_what_replaces_everything_is_not_repeated(ways):
    world, _, _ = ways
    result = world.sync('a', '--retry', '5', '--mode', 'pull-over', code=2)
    assert 'do not go together' in result.err
    result = world.sync('a', '--retry', 'often', code=2)
    assert 'no duration' in result.err
    assert world.sync('s', '--server', '--retry', '5', code=2, server='').code == 2
    heals(world)


def test_edits_made_while_waiting_go_along(ways):
    world, way, network = ways
    network.behaviour = slams
    run = world.begin('a', '--retry', '60s', env={'E2E_RETRIES': '0.01,0.5'})
    wait_for(lambda: 'Trying again' in run.err)
    world.write('a', 'later', 'written while waiting')
    network.behaviour = way
    assert run.wait().code == 0
    assert world.same('s', 'a')['later'] == b'written while waiting'


def test_the_time_limit_is_remembered_for_its_server(ways):
    world, way, network = ways
    world.sync('a', '--timeout', '1')
    network.behaviour = silent
    begin = time.monotonic()
    assert '1 second' in world.sync('a', code=6).err
    assert time.monotonic() - begin < 30
    network.behaviour = way
    heals(world)
    assert world.sync('a', '--timeout', '-1', code=2).code == 2


def test_a_server_that_is_too_busy_may_be_asked_again(monkeypatch):
    server = TestDevice('server', pysyncml.BaseNoteAgent())
    client = TestDevice('client', pysyncml.BaseNoteAgent())
    server.adapter.isBusy = lambda: True
    monkeypatch.setattr('pysyncml.busy.MOST_MESSAGES', 0)
    monkeypatch.setattr('pysyncml.negotiation.BUSY_PAUSE', 0.01)
    monkeypatch.setattr('pysyncml.negotiation.BUSY_LIMIT', 0.1)
    with pytest.raises(pysyncml.ServerBusy) as caught:
        client.sync(server)
    assert caught.value.passing and caught.value.exit_code == 5


# --- when --------------------------------------------------------------------------------------


def test_pauses_double_up_to_five_minutes_and_differ():
    whole = [retry.pause_before(attempt, 0, 1.0) for attempt in range(1, 40)]
    assert whole[:4] == [2, 4, 8, 16] and max(whole) == whole[-1] == 300
    half = [retry.pause_before(attempt, 0, 0.0) for attempt in range(1, 40)]
    assert half == [pause / 2 for pause in whole]
    assert retry.pause_before(1, 30, 0.5) == 30, 'not before the server wants it'


def test_patience_in_words():
    assert read_patience('5') == Patience(5, None)
    assert read_patience('90s') == Patience(None, 90)
    assert read_patience('10m') == Patience(None, 600)
    assert read_patience('2h') == Patience(None, 7200)
    for text in ('', 'm', '-1', '1.5', '1d', '5 m', '١'):
        with pytest.raises(Exception, match='no duration'):
            read_patience(text)


def test_json_stays_json(ways):
    world, _, network = ways
    network.behaviour = slams
    result = world.sync('a', '--retry', '1', code=6)
    assert [json.loads(line)['exitCode'] for line in result.out.splitlines()] == [6]
