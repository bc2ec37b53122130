"""Replace of some fields (FieldLevel): what the peer has is left out, and sent if it has it not."""

from __future__ import annotations

import hashlib

import pytest

from pysyncml import Policy, SyncType
from pysyncml.errors import ConnectFailed, InvalidItem
from pysyncml.protocol.messages import Add, Replace, Status
from tests.sync.support import Bookmark, BookmarkAgent, Wire, contents, device, edit, find, urls

LONG = 'what is never sent again, '


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


class FieldAgent(BookmarkAgent):
    """Leaves a title out that the peer has, and only says which one is meant."""

    fieldLevel = True

    def fingerprint(self, item):
        return f'{digest(item.url)[:20]} {digest(item.title)}'

    def abridged_item(self, item, fingerprint):
        title = digest(item.title)
        return Bookmark(url=item.url, title=title) if fingerprint.endswith(title) else None

    def completeItem(self, itemID, item):
        mine = self.getItem(itemID)
        if digest(mine.title) != item.title:
            raise InvalidItem('it has another title here')
        return Bookmark(url=item.url, title=mine.title)


def pair(*names, server=None, **values):
    """Return a client and a server that both have bookmarks of *names*."""
    client = device('C', agent=FieldAgent(), **values)
    served = device('S', agent=server or FieldAgent(), **values)
    for name in names:
        client.add(Bookmark(url=name, title=LONG + name))
    client.sync(served)
    client.sync(served)
    return client, served


def sync(client, served, script=None):
    """Synchronise; return the wire and the counts."""
    wire = Wire(served, script)
    return wire, client.sync(served, transport=wire)[client.uri]


def replaces(wire, by='both'):
    """Return of each Replace whether it had some fields only, and whether it had the long text."""
    return [
        (command.meta.field_level, LONG.encode() in command.items[0].data)
        for command in wire.sent(Replace, by=by)
    ]


@pytest.mark.parametrize('who', ['client', 'server'])
def test_what_the_peer_has_is_left_out(who):
    client, served = pair('a', 'b', 'c')
    dev = client if who == 'client' else served
    edit(dev, find(dev, 'a'), url='A')
    edit(dev, find(dev, 'b'), title='another one')
    wire, stats = sync(client, served)
    assert sorted(replaces(wire, by=who)) == [(False, False), (True, False)]
    assert contents(client) == contents(served)
    assert contents(client) == [('A', LONG + 'a'), ('b', 'another one'), ('c', LONG + 'c')]
    assert (stats.here, stats.peer) == ((0, 2) if who == 'client' else (2, 0))
    wire, stats = sync(client, served)
    assert (stats.here, stats.peer, stats.errors) == (0, 0, 0)
    assert replaces(wire) == []


@pytest.mark.parametrize('who', ['client', 'server'])
def test_a_second_change_is_abridged_as_well(who):
    client, served = pair('a')
    dev = client if who == 'client' else served
    for name in ('A', 'AA', 'a'):
        edit(dev, next(iter(dev.agent.shelf)), url=name)
        wire, _ = sync(client, served)
        assert replaces(wire) == [(True, False)]
        assert contents(client) == contents(served) == [(name, LONG + 'a')]


def test_a_peer_that_has_something_else_gets_the_whole_at_once():
    """One side changed a name, the other one the text: one session merges that, as ever."""
    client, served = pair(*'abc')
    for name in 'abc':
        edit(client, find(client, name), url=name.upper())
    edit(served, find(served, 'b'), title='edited there')
    wire, stats = sync(client, served)
    assert replaces(wire, by='client') == [(True, False)] * 3 + [(False, True)]
    assert [s.code for s in wire.sent(Status, by='server') if s.cmd == 'Replace'] == [
        200,
        404,
        200,
        207,
    ]
    merged = [('A', LONG + 'a'), ('B', 'edited there'), ('C', LONG + 'c')]
    assert contents(client) == contents(served) == merged
    assert (stats.errors, stats.problems, stats.conflicts) == (0, [], 0)
    assert sync(client, served)[1].peer == 0


def test_one_package_ends_only_when_it_is_known_what_was_not_enough():
    """Also where the last of many messages brings it to light."""
    client, served = pair(*map(str, range(40)), maxMsgSize=6000)
    for number in range(40):
        edit(client, find(client, str(number)), url=f'new {number:02}')
    last = sorted(client.agent.shelf.values(), key=lambda item: item.url)[-1].title
    [item_id] = [key for key, item in served.agent.shelf.items() if item.title == last]
    edit(served, item_id, title='edited there')
    wire, stats = sync(client, served)
    assert len(wire.requests) > 5
    assert replaces(wire, by='client').count((False, True)) == 1
    assert contents(client) == contents(served)
    assert ('new 39', 'edited there') in contents(served)
    assert stats.errors == 0


@pytest.mark.parametrize('policy', [Policy.CLIENT_WINS, Policy.SERVER_WINS, Policy.ERROR])
def test_what_is_deleted_there_is_settled_as_ever(policy):
    outcomes = []
    for agent in (FieldAgent(), BookmarkAgent()):
        client, served = pair('a', 'b', server=agent, policy=policy)
        edit(client, find(client, 'a'), url='A')
        served.delete(find(served, 'a'))
        _, stats = sync(client, served)
        _, last = sync(client, served)
        outcomes.append((urls(client), urls(served), stats.conflicts, last.here, last.peer))
    assert outcomes[0] == outcomes[1]


def test_a_server_that_forgot_an_item_of_the_client_gets_the_whole():
    client, served = pair('a', 'b')
    edit(served, find(served, 'a'), url='A')
    item_id = find(client, 'a')
    client.agent.shelf[item_id].title = 'changed, and nobody was told'
    wire, _ = sync(client, served)
    assert replaces(wire, by='server') == [(True, False), (False, True)]
    assert contents(client) == contents(served)


@pytest.mark.parametrize('why', ['it takes none', 'SyncML 1.1', 'it has ceased to take any'])
def test_who_takes_no_fields_gets_the_whole(why):
    agent = BookmarkAgent() if why == 'it takes none' else FieldAgent()
    client, served = pair('a', server=agent)
    if why == 'SyncML 1.1':
        client.adapter.peer.version = '1.1'
    if why == 'it has ceased to take any':
        agent.fieldLevel = False
    edit(client, find(client, 'a'), url='A')
    wire, stats = sync(client, served)
    assert replaces(wire)[-1] == (False, True)
    assert contents(served) == [('A', LONG + 'a')]
    assert stats.errors == 0


def test_a_session_that_breaks_off_before_the_whole_is_made_good(monkeypatch):
    monkeypatch.setattr('pysyncml.conversation.RETRIES', ())
    client, served = pair('a')
    edit(client, find(client, 'a'), url='A')
    edit(served, find(served, 'a'), title='edited there')
    with pytest.raises(ConnectFailed):
        sync(client, served, {3: 'lost request'})
    client.restart()
    served.restart()
    _, stats = sync(client, served)
    assert contents(client) == contents(served) == [('A', 'edited there')]
    assert stats.errors == 0


def test_nothing_is_left_out_where_everything_is_compared():
    client, served = pair('a', 'b')
    edit(client, find(client, 'a'), url='A')
    wire = Wire(served)
    client.sync(served, SyncType.SLOW_SYNC, wire)
    assert replaces(wire) == []
    assert [LONG.encode() in add.items[0].data for add in wire.sent(Add, by='client')] == [True] * 2
    assert contents(client) == contents(served) == [('A', LONG + 'a'), ('b', LONG + 'b')]
