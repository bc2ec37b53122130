"""The kinds of synchronisation: what travels, what is thrown away, what stays for the next time."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from pysyncml.codec import decode, encode
from pysyncml.constants import SyncType
from pysyncml.errors import TransportError
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Anchor,
    Delete,
    Header,
    Item,
    Location,
    Map,
    Message,
    Meta,
    Replace,
    Status,
    Sync,
)
from pysyncml.state.records import BindingRecord
from tests.sync.support import (
    BookmarkAgent,
    Script,
    Wire,
    bookmark,
    contents,
    device,
    edit,
    find,
    statuses,
    urls,
)

TWO_WAY, SLOW = SyncType.TWO_WAY, SyncType.SLOW_SYNC
PUSH, PULL = SyncType.ONE_WAY_FROM_CLIENT, SyncType.ONE_WAY_FROM_SERVER
WIPE_SERVER, WIPE_CLIENT = SyncType.REFRESH_FROM_CLIENT, SyncType.REFRESH_FROM_SERVER


def in_step(*names):
    """Return a server and a client that have the same."""
    server, client = device('S', *names), device('C')
    client.sync(server)
    return server, client


def changed_on_both_sides():
    server, client = in_step('a', 'b', 'c', 'd')
    client.add(bookmark('new here'))
    edit(client, find(client, 'a'), title='changed here')
    client.delete(find(client, 'b'))
    server.add(bookmark('new there'))
    edit(server, find(server, 'c'), title='changed there')
    server.delete(find(server, 'd'))
    return server, client


def titles(dev):
    return {item.url: item.title.removeprefix('title of ') for item in dev.agent.getAllItems()}


OURS = {'a': 'changed here', 'c': 'c', 'd': 'd', 'new here': 'new here'}
THEIRS = {'a': 'a', 'b': 'b', 'c': 'changed there', 'new there': 'new there'}
UNION = {
    'a': 'changed here',
    'c': 'changed there',
    'new here': 'new here',
    'new there': 'new there',
}

# mode → what the client has, what the server has, and what both have after a two-way sync
LATER = [
    (TWO_WAY, UNION, UNION, UNION),
    (SLOW, UNION, UNION, UNION),
    (PUSH, OURS, UNION, UNION),
    (PULL, UNION, THEIRS, UNION),
    (WIPE_SERVER, OURS, OURS, OURS),
    (WIPE_CLIENT, THEIRS, THEIRS, THEIRS),
]


@pytest.mark.parametrize(('mode', 'here', 'there', 'afterwards'), LATER)
def test_each_kind_does_what_it_says(mode, here, there, afterwards):
    server, client = changed_on_both_sides()
    stats = client.sync(server, mode)['items']
    assert stats.mode is mode
    assert stats.errors == 0
    assert titles(client) == here
    assert titles(server) == there
    client.sync(server)
    assert titles(client) == titles(server) == afterwards
    stats = client.sync(server)['items']
    assert (stats.here, stats.peer, stats.errors) == (0, 0, 0)


FIRST = [
    (TWO_WAY, ['both', 'here', 'there'], ['both', 'here', 'there']),
    (SLOW, ['both', 'here', 'there'], ['both', 'here', 'there']),
    (PUSH, ['both', 'here'], ['both', 'here', 'there']),
    (PULL, ['both', 'here', 'there'], ['both', 'there']),
    (WIPE_SERVER, ['both', 'here'], ['both', 'here']),
    (WIPE_CLIENT, ['both', 'there'], ['both', 'there']),
]


@pytest.mark.parametrize(('mode', 'here', 'there'), FIRST)
def test_each_kind_as_the_first_session(mode, here, there):
    server, client = device('S', 'both', 'there'), device('C', 'both', 'here')
    wire = Wire(server)
    client.sync(server, mode, wire)
    assert urls(client) == here
    assert urls(server) == there
    wanted = 201 if mode in (TWO_WAY, SLOW) else mode.alert
    alerts = [alert.code for alert in wire.sent(Alert) if alert.code != 222]
    assert alerts == [wanted, wanted], 'one way stays one way'
    client.sync(server)
    assert urls(client) == urls(server) == sorted(set(here) | set(there))
    stats = client.sync(server)['items']
    assert (stats.here, stats.peer, stats.errors) == (0, 0, 0)


@pytest.mark.parametrize('mode', [PUSH, WIPE_SERVER])
def test_a_server_says_nothing_in_a_push(mode):
    server, client = changed_on_both_sides()
    wire = Wire(server)
    client.sync(server, mode, wire)
    assert wire.sent(Sync, by='server') == []
    assert wire.sent(Map) == []


@pytest.mark.parametrize('mode', [PULL, WIPE_CLIENT])
def test_a_client_says_nothing_in_a_pull(mode):
    server, client = changed_on_both_sides()
    wire = Wire(server)
    client.sync(server, mode, wire)
    [sync] = wire.sent(Sync, by='client')
    assert (sync.commands, sync.number_of_changes) == ((), 0)


def test_a_pull_may_be_repeated():
    server, client = device('S', 'a'), device('C', 'mine')
    for n in range(3):
        client.sync(server, PULL)
        assert urls(client) == sorted(['a', 'mine', *(f'new{k}' for k in range(n))])
        server.add(bookmark(f'new{n}'))
    assert urls(server) == ['a', 'new0', 'new1', 'new2']


@pytest.mark.parametrize('mode', [WIPE_SERVER, WIPE_CLIENT])
def test_a_refresh_without_differences_touches_nothing(mode):
    server, client = device('S', 'theirs'), device('C', 'ours')
    client.sync(server)
    ids = [set(dev.agent.shelf) for dev in (server, client)]
    for _ in range(2):
        stats = client.sync(server, mode)['items']
        assert [set(dev.agent.shelf) for dev in (server, client)] == ids
        assert (stats.hereAdd, stats.hereDel, stats.peerDel, stats.errors) == (0, 0, 0, 0)
    assert urls(client) == urls(server) == ['ours', 'theirs']


@pytest.mark.parametrize('mode', [WIPE_SERVER, WIPE_CLIENT])
def test_a_refresh_throws_nothing_away_if_it_breaks_off(mode, monkeypatch):
    monkeypatch.setattr('pysyncml.conversation.RETRIES', ())
    names = [f'item{n}' for n in range(20)]
    server, client = device('S', *names, maxMsgSize=3000), device('C', 'more', maxMsgSize=3000)
    client.sync(server)
    for number in (2, 3):
        with pytest.raises(OSError, match='cut'):

            def cut(_):
                raise OSError('cut')

            client.sync(server, mode, Wire(server, {number: cut}))
        assert urls(server) == urls(client) == sorted([*names, 'more'])
    client.sync(server, mode)
    client.sync(server)
    assert urls(server) == urls(client) == sorted([*names, 'more'])


@pytest.mark.parametrize(('mode', 'wiped'), [(WIPE_SERVER, 'server'), (WIPE_CLIENT, 'client')])
def test_a_refresh_does_not_throw_away_what_could_not_be_stored(mode, wiped, caplog):
    """The new version of an item was not taken: so the old one is not to be lost as well."""
    caplog.set_level(logging.CRITICAL)
    server, client = in_step('a', 'b')
    there, here = (client, server) if wiped == 'server' else (server, client)
    edit(there, find(there, 'a'), title='new')

    def fail(*_):
        raise OSError(28, 'No space left on device')

    here.agent.replaceItem = here.agent.addItem = fail
    client.sync(server, mode)
    assert urls(here) == ['a', 'b']


@pytest.mark.parametrize('mode', [WIPE_SERVER, WIPE_CLIENT])
def test_what_cannot_be_deleted_in_a_refresh_costs_itself_only(mode, caplog):
    caplog.set_level(logging.CRITICAL)
    server, client = device('S', 'x', 'y'), device('C', 'x', 'y')
    client.sync(server)
    wiped, kept = (server, client) if mode is WIPE_SERVER else (client, server)
    for url in ('p', 'q'):
        wiped.add(bookmark(url))
    stuck = find(wiped, 'p')

    def delete(item_id):
        if item_id == stuck:
            raise OSError(13, 'Permission denied')
        BookmarkAgent.deleteItem(wiped.agent, item_id)

    wiped.agent.deleteItem = delete
    kept.add(bookmark('new'))
    client.sync(server, mode)
    assert urls(wiped) == ['new', 'p', 'x', 'y']


# --- a peer that does not keep to what was agreed -------------------------------------------------


def test_a_client_that_agreed_to_be_silent_changes_nothing():
    server = device('S', 'theirs')
    script = Script(server)
    item = Item(source=Location('1'), data=b'{"url": "x"}')
    add = Add(cmd_id='2', meta=Meta(type='text/x-bookmark'), items=(item,))
    for number, code in enumerate((204, 205), 1):
        meta = Meta(anchor=Anchor(next='2'))
        where = Item(target=Location('items'), source=Location('x'), meta=meta)
        values = {'target': Location('http://S/'), 'source': Location('D')}
        values['session_id'] = str(number)
        alert = Alert(cmd_id='1', code=code, items=(where,))
        script.post(Message(header=Header(msg_id='1', **values), commands=(alert,), final=True))
        sync = Sync(cmd_id='1', target=Location('items'), commands=(add,))
        reply = script.post(
            Message(header=Header(msg_id='2', **values), commands=(sync,), final=True)
        )
        assert statuses(reply)['2'] >= 400
        assert urls(server) == ['theirs']


@pytest.mark.parametrize('mode', [PUSH, WIPE_SERVER])
def test_a_server_that_agreed_to_be_silent_changes_nothing(mode):
    server, client = in_step('a', 'b')

    class Talker(Wire):
        """Puts changes into the server's answer that do not belong there."""

        def exchange(self, request):
            response = super().exchange(request)
            if len(self.requests) != 2:
                return response
            message = decode(response.content_type, response.body)
            item = Item(source=Location('g1'), data=b'{"url": "x"}')
            ours = Item(target=Location(find(client, 'a')))
            commands = (
                Add(cmd_id='91', meta=Meta(type='text/x-bookmark'), items=(item,)),
                Delete(cmd_id='92', items=(ours,)),
            )
            sync = Sync(
                cmd_id='90',
                target=Location('items'),
                source=Location('items'),
                commands=commands,
            )
            message = replace(message, commands=(*message.commands, sync))
            return replace(response, body=encode(message)[1])

    wire = Talker(server)
    client.sync(server, mode, wire)
    assert urls(client) == ['a', 'b']
    codes = {s.cmd_ref: s.code for s in wire.sent(Status, by='client')}
    assert codes['91'] >= 400
    assert codes['92'] >= 400


@pytest.mark.parametrize(
    ('asked', 'answered'),
    [
        (PUSH, 200),
        (PUSH, 201),
        (PUSH, 203),
        (PULL, 200),
        (PULL, 205),
        (TWO_WAY, 203),
        (TWO_WAY, 205),
    ],
)
def test_a_server_cannot_turn_one_kind_into_a_more_dangerous_one(asked, answered):
    server, client = changed_on_both_sides()

    class Other(Wire):
        def exchange(self, request):
            response = super().exchange(request)
            old, new = (f'<Data>{code}</Data><Item>'.encode() for code in (asked.alert, answered))
            return replace(response, body=response.body.replace(old, new))

    wire = Other(server)
    before = contents(client), contents(server)
    stats = client.sync(server, asked, wire)['items']
    assert (contents(client), contents(server)) == before
    assert stats.hereErr == 1
    assert 'the other side' in stats.problems[0] and len(stats.problems) == 1
    assert wire.sent(Sync) == []
    client.sync(server)
    assert contents(client) == contents(server)


# --- what does not travel -------------------------------------------------------------------------


def test_a_change_that_was_pulled_is_not_pushed_back():
    server, client = in_step('a')
    edit(server, find(server, 'a'), title='new')
    client.sync(server, PULL)
    wire = Wire(server)
    client.sync(server, PUSH, wire)
    assert wire.sent(Replace) == wire.sent(Add) == []
    assert contents(server) == [('a', 'new')]


def test_items_nobody_registered_travel_in_the_first_session():
    server, client = device('S'), device('C')
    for name in ('a', 'b'):
        client.agent.addItem(bookmark(name))
    server.agent.addItem(bookmark('c'))
    client.sync(server)
    assert urls(client) == urls(server) == ['a', 'b', 'c']


def test_an_item_that_cannot_be_read_stays_for_the_next_time(caplog):
    caplog.set_level(logging.CRITICAL)
    server, client = in_step('a')
    client.add(bookmark('b'))
    client.add(bookmark('c'))
    bad = find(client, 'b')

    def get(item_id):
        if item_id == bad:
            raise OSError(5, 'Input/output error')
        return BookmarkAgent.getItem(client.agent, item_id)

    client.agent.getItem = get
    stats = client.sync(server)['items']
    assert urls(server) == ['a', 'c']
    assert stats.hereErr == 1
    assert 'Input/output error' in stats.problems[0]
    del client.agent.getItem
    client.sync(server)
    assert urls(server) == ['a', 'b', 'c']


def test_an_item_the_other_side_refused_is_sent_again(caplog):
    caplog.set_level(logging.CRITICAL)
    for refused, by in (('server', 'peerErr'), ('client', 'hereErr')):
        server, client = in_step('a')
        sender, receiver = (client, server) if refused == 'server' else (server, client)
        sender.add(bookmark('b'))
        edit(sender, find(sender, 'a'), title='new')

        def fail(*_):
            raise OSError(28, 'No space left on device')

        receiver.agent.addItem = receiver.agent.replaceItem = fail
        stats = client.sync(server)['items']
        assert getattr(stats, by) == 2
        assert contents(receiver) == [('a', 'title of a')]
        del receiver.agent.addItem, receiver.agent.replaceItem
        client.sync(server)
        assert contents(receiver) == [('a', 'new'), ('b', 'title of b')]
        stats = client.sync(server)['items']
        assert (stats.here, stats.peer, stats.errors) == (0, 0, 0)


def test_what_was_deleted_here_comes_back_under_an_id_both_know():
    """The server has changed what the client has deleted, and is not told of in this mode."""
    server, client = in_step('a')
    client.delete(find(client, 'a'))
    edit(server, find(server, 'a'), title='changed there')
    client.sync(server, PULL)
    for _ in range(2):
        client.sync(server)
    assert contents(client) == contents(server) == [('a', 'changed there')]
    edit(client, find(client, 'a'), title='changed here')
    client.sync(server)
    assert contents(server) == [('a', 'changed here')]


def test_a_one_way_sync_with_wrong_anchors_doubles_nothing():
    server, client = in_step('theirs')
    client.add(bookmark('ours'))
    client.sync(server)
    with client.context.work() as work:
        [record] = work.records.find(BindingRecord)
        record.our_anchor = '12345'
        work.records.save(record)
    client.sync(server, PULL)
    client.sync(server)
    assert urls(client) == urls(server) == ['ours', 'theirs']


def test_a_one_way_sync_with_wrong_anchors_leaves_deletions_for_the_next():
    server, client = in_step('a', 'b')
    with client.context.work() as work:
        [record] = work.records.find(BindingRecord)
        record.our_anchor = '12345'
        work.records.save(record)
    server.delete(find(server, 'a'))
    client.sync(server, PULL)
    client.sync(server)
    assert urls(client) == urls(server) == ['b']


# --- equal items ---------------------------------------------------------------------------------


@pytest.mark.parametrize(('here', 'there'), [(2, 3), (3, 2), (1, 4), (4, 1), (3, 3)])
def test_of_several_equal_items_each_goes_with_one_of_the_others(here, there):
    client, server = device('C', *['x'] * here), device('S', *['x'] * there)
    for _ in range(2):
        client.sync(server, SyncType.SLOW_SYNC)
        assert urls(client) == urls(server) == ['x'] * max(here, there)


def test_what_was_deleted_after_a_refresh_broke_off_does_not_stay_on_one_side(monkeypatch):
    """The server had forgotten what the client has, and could not tell it of the deletion."""
    monkeypatch.setattr('pysyncml.conversation.RETRIES', ())
    server, client = in_step('a', 'b')
    with pytest.raises(TransportError):
        client.sync(server, WIPE_CLIENT, transport=Wire(server, {1: 'lost answer'}))
    server.delete(find(server, 'a'))
    edit(server, find(server, 'b'), title='changed there')
    for _ in range(2):
        client.sync(server)
    assert contents(client) == contents(server) == [('b', 'changed there')]


def test_what_a_client_could_not_throw_away_in_a_refresh_it_is_told_to_delete(caplog):
    """It keeps all of it when there is something that it could not take, and nobody else knows."""
    caplog.set_level(logging.CRITICAL)
    server, client = in_step('a', 'b', 'c')
    server.delete(find(server, 'a'))
    edit(server, find(server, 'b'), title='changed there')

    def fail(*_):
        raise OSError(16, 'Device or resource busy')

    client.agent.replaceItem = fail
    assert client.sync(server, WIPE_CLIENT)['items'].hereErr == 1
    assert urls(client) == ['a', 'b', 'c']
    del client.agent.replaceItem
    client.sync(server)
    assert contents(client) == contents(server) == [('b', 'changed there'), ('c', 'title of c')]
    stats = client.sync(server)['items']
    assert (stats.here, stats.peer, stats.errors) == (0, 0, 0)


def test_a_refresh_that_broke_off_is_followed_by_a_comparison(monkeypatch):
    """What the client has added or changed before is kept, and goes to the server."""
    monkeypatch.setattr('pysyncml.conversation.RETRIES', ())
    server, client = in_step('a', 'b', 'c')
    edit(client, find(client, 'a'), title='changed here')
    edit(server, find(server, 'b'), title='changed there')
    with pytest.raises(TransportError):
        client.sync(server, WIPE_CLIENT, transport=Wire(server, {2: 'lost answer'}))
    for _ in range(2):
        client.sync(server)
    assert contents(client) == contents(server)
    wanted = {('a', 'changed here'), ('b', 'changed there'), ('c', 'title of c')}
    assert wanted <= set(contents(server))
