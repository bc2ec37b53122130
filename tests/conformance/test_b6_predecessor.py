"""B6: pysyncml 0.1 and 0.2 are still about, as clients and as servers; they go on working."""

from __future__ import annotations

import pytest

from pysyncml.constants import Policy
from tests.conformance.predecessor import Broken, OldClient, OldServer
from tests.conformance.wire import Dialect
from tests.sync.support import bookmark, contents, edit, find, urls

XML = Dialect('xml', '1.2')


# --- an old client --------------------------------------------------------------------------------


@pytest.fixture
def served():
    server, client = XML.device('S', 'theirs', 'both'), OldClient('old')
    client.add('ours')
    client.add('both')
    client.sync_with(server)
    assert client.contents == contents(server)
    assert [url for url, _ in client.contents] == ['both', 'ours', 'theirs']
    return server, client


def test_an_old_client_in_both_directions(served):
    server, client = served
    for _ in range(2):
        client.add(f'new here {client.serial}')
        client.edit('ours', f'changed here {client.serial}')
        server.add(bookmark(f'new there {client.serial}'))
        edit(server, find(server, 'theirs'), title=f'changed there {client.serial}')
        client.sync_with(server)
        assert client.contents == contents(server)
    client.delete('theirs')
    server.delete(find(server, 'ours'))
    client.sync_with(server)
    assert client.contents == contents(server)
    assert len(client.contents) == 5


def test_an_old_client_with_nothing_to_say(served):
    server, client = served
    before = len(client.codes)
    client.sync_with(server)
    assert set(client.codes[before:]) == {200}


def test_an_old_client_logs_in():
    server, client = XML.device('S', 'theirs'), OldClient('old')
    server.context.setAccounts({'me': 'pw'})
    client.password = ('me', 'pw')
    client.add('ours')
    for _ in range(2):
        client.sync_with(server)
        assert client.contents == contents(server)
    client.password = ('me', 'wrong')
    with pytest.raises(Broken, match='Status 401'):
        client.sync_with(server)


def test_an_old_client_gets_all_changes_in_one_message():
    server = XML.device('S', *(f's{n:03} {"x" * 500}' for n in range(300)), maxMsgSize=20_000)
    client = OldClient('old')
    for n in range(300):
        client.add(f'c{n:03} {"x" * 500}')
    client.sync_with(server)
    assert client.contents == contents(server)
    assert len(client.contents) == 600


@pytest.mark.parametrize('policy', [Policy.CLIENT_WINS, Policy.SERVER_WINS, Policy.KEEP_BOTH])
def test_an_old_client_understands_how_a_conflict_was_settled(policy):
    server, client = XML.device('S', 'x', policy=policy), OldClient('old')
    client.sync_with(server)
    client.edit('x', 'here')
    edit(server, find(server, 'x'), title='there')
    client.sync_with(server)
    client.sync_with(server)
    assert client.contents == contents(server)


def test_an_old_client_changes_what_was_deleted_here(served):
    server, client = served
    client.edit('ours', 'changed')
    server.delete(find(server, 'ours'))
    client.sync_with(server)
    client.sync_with(server)
    assert client.contents == contents(server)


def test_an_old_client_that_begins_anew(served):
    """Its database is lost: it introduces itself again and sends everything."""
    server, client = served
    again = OldClient('old', items=dict(client.items), serial=client.serial)
    again.sessions = client.sessions
    again.sync_with(server)
    assert again.contents == contents(server)
    assert len(again.contents) == 3


def test_an_old_client_whose_anchor_is_not_ours(served):
    """It would give up at 508: it is told 200, and in our Alert that all items are needed."""
    server, client = served
    client.our_anchor = '1'
    client.edit('ours', 'changed')
    client.sync_with(server)
    assert client.contents == contents(server)
    assert ('ours', 'changed') in contents(server)
    assert 508 not in client.codes


@pytest.mark.parametrize('number', [0, 1])
def test_an_old_client_meets_us_in_the_place_of_an_old_server(served, number):
    """It does not introduce itself, as it has done so: the name of its program must do."""
    _, client = served
    client.edit('ours', 'changed')
    server = XML.device('S', *['theirs'] * number)
    client.sync_with(server)
    assert client.contents == contents(server)
    assert dict(client.contents)['ours'] == 'changed'
    assert len(client.contents) == 3
    server.add(bookmark('new'))
    client.sync_with(server)
    assert client.contents == contents(server)


MODES = {
    # what both had, what is new on either side: what the server has then
    202: ['both', 'new here', 'new there', 'ours', 'theirs'],
    203: ['both', 'new here', 'ours', 'theirs'],
    204: ['both', 'new there', 'ours', 'theirs'],
    205: ['both', 'new there', 'ours', 'theirs'],
}


@pytest.mark.parametrize('mode', MODES)
def test_an_old_client_in_the_other_modes(served, mode):
    server, client = served
    server.add(bookmark('new there'))
    client.add('new here')
    if mode == 205:
        client.items.clear()  # it throws away what it has before it begins
    client.sync_with(server, mode=mode)
    assert urls(server) == MODES[mode]
    if mode in (203, 205):
        assert client.contents == contents(server)


# --- an old server --------------------------------------------------------------------------------


@pytest.fixture
def serving():
    server, client = OldServer(), XML.device('C', 'ours', 'both')
    for url in ('theirs', 'both'):
        server.add(url)
    client.sync(server, transport=server)
    assert server.contents == contents(client)
    assert [url for url, _ in server.contents] == ['both', 'ours', 'theirs']
    return server, client


def test_an_old_server_in_both_directions(serving):
    server, client = serving
    for n in range(2):
        client.add(bookmark(f'new here {n}'))
        edit(client, find(client, 'ours'), title=f'changed here {n}')
        server.add(f'new there {n}')
        server.edit('theirs', f'changed there {n}')
        stats = client.sync(server, transport=server)['items']
        assert (stats.hereAdd, stats.hereMod, stats.peerAdd, stats.peerMod) == (1, 1, 1, 1)
        assert stats.errors == 0
        assert server.contents == contents(client)
    client.delete(find(client, 'theirs'))
    server.delete('ours')
    client.sync(server, transport=server)
    assert server.contents == contents(client)


def test_an_old_server_is_told_who_we_are_first():
    server, client = OldServer(), XML.device('C', 'ours')
    client.sync(server, transport=server)
    first = server.requests[0]
    assert first.of('Put') and not first.of('Alert')
    assert server.contents == contents(client)


def test_an_old_server_gets_all_changes_in_one_message(serving):
    server, client = serving
    for n in range(300):
        client.add(bookmark(f'c{n:03} {"x" * 3000}'))
    client.sync(server, transport=server)
    assert server.contents == contents(client)


def test_an_old_server_that_has_forgotten_us(serving):
    """It says 508 and asks for everything, without having been introduced to us again."""
    server, client = serving
    server.peer_anchor = 'another'
    stats = client.sync(server, transport=server)['items']
    assert stats.errors == 0
    assert server.contents == contents(client)
    assert len(server.contents) == 3


def test_an_old_server_changes_what_was_deleted_here(serving):
    """The client's user deletes what the server's user changes: no Status may be a strange one."""
    server, client = serving
    client.delete(find(client, 'both'))
    server.edit('theirs', 'new')
    client.sync(server, transport=server)
    client.sync(server, transport=server)
    assert server.contents == contents(client)
