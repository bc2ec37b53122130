"""B3: packages of several messages, a peer that is busy or full, counts, and ids on their way.

Sizes and large objects are in :mod:`tests.conformance.test_b3_large_objects`, optional commands in
:mod:`tests.conformance.test_b3_commands`.
"""

from __future__ import annotations

from dataclasses import replace as changed

import pytest

from pysyncml.errors import RefusedError, RemoteProtocolError
from pysyncml.protocol.auth import basic
from pysyncml.protocol.devinf import DeviceInfo
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Delete,
    Location,
    Map,
    MapItem,
    Meta,
    Replace,
    Status,
    Sync,
)
from tests.conformance.support import anchors, assert_quiet, settle
from tests.conformance.wire import (
    Client,
    Server,
    Watched,
    add,
    answers,
    commands_of,
    delete,
    header_status,
    saying,
    statuses_of,
    sync,
    url_of,
)
from tests.sync.support import bookmark, contents, edit, find, urls

# --- 55: packages of several messages -------------------------------------------------------------


def test_55_both_packages_take_several_messages(any_dialect):
    server = any_dialect.device('S', *(f's{n:02}' for n in range(20)), maxMsgSize=4000)
    client = any_dialect.device('C', *(f'c{n:02}' for n in range(20)), maxMsgSize=4000)
    wire = sync(client, server, prompt=False)
    for side in ('client', 'server'):
        asked = [a for a in wire.sent(Alert, by=side) if a.code == 222]
        assert len(asked) >= 2, f'the {side} had to ask for more'
        assert len([m for m in wire.referee.said[side] if commands_of(m, Sync)]) >= 3
    assert len(wire.sent(Add)) == 40
    assert urls(client) == urls(server)
    # every command has had its one Status, whichever message it came in
    assert not [
        a for side in wire.referee.awaited.values() for a in side.values() if not a.answered
    ]


def test_55_a_server_goes_on_when_asked(dialect):
    names = [f's{n:02}' for n in range(20)]
    server = dialect.device('S', *names)
    client = Client(server, dialect, meta=Meta(max_msg_size=4000), prompt=False)
    client.begin(201)
    received = client.send()
    assert sorted(url_of(change.items[0]) for change in received) == names
    messages = [m for m in client.referee.said['server'] if commands_of(m, Sync)]
    assert len(messages) >= 3
    assert [m.final for m in messages] == [False] * (len(messages) - 1) + [True]
    client.confirm([(c.items[0].source_uri, url_of(c.items[0])) for c in received])
    assert client.session(200) == []


def test_55_a_client_may_send_pairs_before_the_server_has_finished(dialect):
    names = [f's{n:02}' for n in range(20)]
    server = dialect.device('S', *names)
    client = Client(server, dialect, meta=Meta(max_msg_size=4000), prompt=False)
    client.begin(201)
    reply = client.say(client.sync())
    while not reply.final:
        pairs = [(c.items[0].source_uri, url_of(c.items[0])) for c in commands_of(reply, Add)]
        reply = client.say(client.map(pairs), client.more('http://S/'), final=False)
        assert statuses_of(reply, 'Map') == [200]
    client.confirm([(c.items[0].source_uri, url_of(c.items[0])) for c in commands_of(reply, Add)])
    assert client.session(200) == []
    for name in names:
        assert [type(c) for c in client.session(200, delete(name))] == []
        break
    assert urls(server) == names[1:]


def test_55_statuses_may_come_later(dialect):
    """The client answers the server's commands one message later than it could."""
    server = dialect.device('S', 'x', 'y')
    client = Client(server, dialect)
    client.begin(201)
    received = client.send()
    late = client.heard
    client.judge = lambda command: 200 if isinstance(command, Sync) else None
    client.say(
        client.map([(c.items[0].source_uri, url_of(c.items[0])) for c in received]), final=False
    )
    client.judge = lambda command: 200
    own = client.compose()
    rest = answers(late, lambda c: 201 if isinstance(c, Add) else None)[1:]
    client.post(saying(own, *own.commands, *rest))
    client.last, client.next = client.next, '200'
    assert client.session(200) == []


# --- 56: a server that is busy --------------------------------------------------------------------


class Busy(Server):
    """Says 101 to message *number* of a session, and *times* - 1 more when asked again."""

    number, times = 0, 0
    owed = None

    def reply(self, message):
        due = self.owed or super().reply(message)
        asked = any(alert.code == 221 for alert in commands_of(message, Alert))
        if self.times and (asked or len(self.sessions[-1]) == self.number):
            self.times -= 1
            self.count -= self.owed is None  # the real answer has its number later
            self.owed = due
            first = self.statuses(message)[0]
            return self.compose(message, [changed(first, code=101)], final=False)
        if self.owed is None:
            return due
        self.owed = None
        # the answers belong to the message that was put off; this one has a header, too
        rest = [c for c in due.commands if not isinstance(c, Status) or c.cmd_ref != '0']
        alert = [changed(c, code=200) for c in self.statuses(message)]
        return self.compose(message, [alert[0], *rest, *alert[1:]], final=due.final)


@pytest.mark.parametrize('number', [1, 2, 3])
def test_56_a_busy_server_is_asked_again(dialect, number, monkeypatch):
    monkeypatch.setattr('pysyncml.conversation.BUSY_PAUSE', 0)
    client, server = _in_session_with_a_busy_server(dialect, number, times=3)
    server.changes = [add('g', 'theirs')]
    stats = client.sync(server, transport=server)['items']
    assert (stats.peerMod, stats.hereAdd, stats.errors) == (1, 1, 0)
    assert [alert.code for alert in server.said(Alert)].count(221) == 3
    assert urls(client) == ['theirs', 'x']


def _in_session_with_a_busy_server(dialect, number, times):
    client, server = dialect.device('C', 'x'), Busy(dialect, prompt=False)
    client.sync(server, transport=server)
    server.keep_anchor()
    server.number, server.times = number, times
    edit(client, find(client, 'x'), title='new')
    return client, server


@pytest.mark.parametrize('number', [1, 2, 3])
def test_56_a_server_that_stays_busy_is_left_alone(dialect, number, monkeypatch):
    monkeypatch.setattr('pysyncml.conversation.BUSY_PAUSE', 0)
    client, server = _in_session_with_a_busy_server(dialect, number, times=1000)
    before = anchors(client)
    with pytest.raises(RefusedError, match='busy'):
        client.sync(server, transport=server)
    assert anchors(client) == before
    server.times, server.owed = 0, None
    client.sync(server, transport=server)
    told = [url_of(c.items[0]) for c in server.said(Replace)]
    assert set(told) == {'x'}, 'before the server became busy, or in the next session'


def test_56_a_server_that_never_goes_on_is_left_alone(dialect):
    """It answers, and has nothing to say, and does not end its package either."""

    class Endless(Server):
        def reply(self, message):
            if len(self.sessions[-1]) < 2:
                return super().reply(message)
            assert len(self.requests) < 100
            return self.compose(message, self.statuses(message), final=False)

    server, client = Endless(dialect), dialect.device('C', 'x')
    with pytest.raises(RemoteProtocolError, match='does not go on'):
        client.sync(server, transport=server)


@pytest.mark.parametrize('number', [1, 2, 3])
def test_56_our_server_is_busy(dialect, number, monkeypatch):
    """It puts the client off, and answers what was asked as soon as it has time."""
    monkeypatch.setattr('pysyncml.conversation.BUSY_PAUSE', 0)
    server, client = dialect.device('S', 'y'), dialect.device('C', 'x')
    sync(client, server)
    client.add(bookmark('new here'))
    server.add(bookmark('new there'))
    times = []

    def busy():
        times.append(len(wire.requests))
        return number <= len(wire.requests) < number + 2

    server.adapter.isBusy = busy
    wire = Watched(server, prompt=False)
    wire.referee.judges = ()
    stats = client.sync(server, transport=wire)['items']
    assert (stats.here, stats.peer, stats.errors) == (1, 1, 0)
    assert [a.code for a in wire.sent(Alert, by='client') if a.code == 221] == [221, 221]
    codes = [header_status(message) for message in wire.answers]
    assert codes.count(101) == 2 and len(times) == len(wire.requests)
    assert contents(client) == contents(server)
    assert_quiet(sync(client, server))


def test_56_nobody_else_gets_the_answer(dialect):
    """Who asks for it must show what the one who was put off had shown."""
    server = dialect.device('S', 'y')
    server.context.setAccounts({'alice': 'secret'})
    client = Client(server, dialect, cred=basic('alice', 'secret'))
    client.referee.judges = ()
    server.adapter.isBusy = lambda: True
    assert header_status(client.say(client.put(), client.alert(201))) == 101
    server.adapter.isBusy = None
    again = client.compose(Alert(code=221), final=False)
    stranger = Client(server, dialect)
    stranger.referee.judges = ()
    stolen = stranger.post(changed(again, header=changed(again.header, cred=None)))
    assert header_status(stolen) == 407 and stolen.header.resp_uri is None
    assert statuses_of(client.post(again), 'Alert') == [200]


def test_56_not_everything_is_kept_for_later(dialect, monkeypatch):
    """A server under siege says 417 instead; the client comes again for some time."""
    monkeypatch.setattr('pysyncml.busy.MOST_MESSAGES', 0)
    monkeypatch.setattr('pysyncml.negotiation.BUSY_PAUSE', 0.001)
    monkeypatch.setattr('pysyncml.negotiation.BUSY_LIMIT', 0.005)
    server, client = dialect.device('S', 'y'), dialect.device('C', 'x')
    server.adapter.isBusy = lambda: True
    with pytest.raises(RefusedError, match='does not synchronise now'):
        client.sync(server)
    server.adapter.isBusy = None
    sync(client, server)
    assert urls(client) == urls(server) == ['x', 'y']


# --- 57: a client that is full --------------------------------------------------------------------


def test_57_a_full_device_gets_no_more(dialect):
    names = [f's{n:02}' for n in range(30)]
    server = dialect.device('S', *names)
    client = Client(server, dialect, meta=Meta(max_msg_size=4000), prompt=False)
    room = 5

    def judge(command):
        nonlocal room
        if not isinstance(command, Add):
            return 200
        room -= 1
        return 201 if room >= 0 else 420

    client.judge = judge
    client.begin(201)
    received = client.send()
    assert 5 < len(received) < 20, 'the server has stopped'
    taken = [(c.items[0].source_uri, url_of(c.items[0])) for c in received[:5]]
    client.confirm(taken)
    room = 100
    rest = client.session(200, luids='')
    assert sorted(url_of(c.items[0]) for c in rest) == names[5:]
    assert client.session(200) == []


def test_57_deletions_still_reach_a_full_device(dialect):
    server = dialect.device('S', 'old')
    client = Client(server, dialect)
    client.session(201, luids='')
    server.add(bookmark('new'))
    server.delete(find(server, 'old'))
    client.judge = lambda command: 420 if isinstance(command, Add) else 200
    client.begin(200)
    assert {type(c) for c in client.send()} == {Add, Delete}
    client.confirm()
    client.judge = lambda command: 201 if isinstance(command, Add) else 200
    assert [url_of(c.items[0]) for c in client.session(200)] == ['new']


# --- 58: how many changes there are ---------------------------------------------------------------


def _counts(message):
    return [command.number_of_changes for command in commands_of(message, Sync)]


@pytest.mark.parametrize('supported', [True, False])
def test_58_a_server_counts_for_who_wants_it(any_dialect, supported):
    server = any_dialect.device('S', 'x', 'y')
    client = Client(server, any_dialect)
    devinf = client.devinf()
    device = DeviceInfo(**devinf.device.values() | {'numberOfChanges': supported})
    client.say(client.put(changed(devinf, device=device)), client.alert(201))
    supported = supported and any_dialect.version != '1.0'  # there was no such element
    received = client.send(add('1', 'z'))
    assert _counts(client.heard) == [2 if supported else None]
    client.confirm([(c.items[0].source_uri, url_of(c.items[0])) for c in received])
    server.delete(find(server, 'x'))
    edit(server, find(server, 'z'), title='new')
    server.add(bookmark('more'))
    client.begin(200, client.put(changed(devinf, device=device)))
    received = client.send()
    assert (
        _counts(client.heard)
        == [len(received) if supported else None]
        == [3 if supported else None]
    )


@pytest.mark.parametrize('supported', [True, False])
def test_58_a_client_counts_for_who_wants_it(dialect, supported):
    server = Server(dialect)
    devinf = server.devinf()
    device = DeviceInfo(**devinf.device.values() | {'numberOfChanges': supported})
    server.devinf = lambda: changed(devinf, device=device)
    client = dialect.device('C', 'x', 'y')
    client.sync(server, transport=server)
    supported = supported and dialect.version != '1.0'
    assert [s.number_of_changes for s in server.said(Sync)] == [2 if supported else None]


def test_58_the_number_is_right_over_several_messages(dialect):
    server = dialect.device('S', *(f's{n:02}' for n in range(20)), maxMsgSize=4000)
    client = dialect.device('C', *(f'c{n:02}' for n in range(17)), maxMsgSize=4000)
    wire = sync(client, server, prompt=False)
    if dialect.version == '1.0':
        assert {s.number_of_changes for s in wire.sent(Sync)} == {None}
        return
    for side, number in (('client', 17), ('server', 20)):
        told = [s.number_of_changes for s in wire.sent(Sync, by=side)]
        assert told[0] == number
        assert set(told[1:]) == {None}


# --- 59, 60: pairs of ids -------------------------------------------------------------------------


def test_59_a_client_that_takes_short_ids_only(dialect):
    server = dialect.device('S', 'x', 'y', 'z')
    assert min(len(item_id) for item_id in server.agent.shelf) > 8
    client = Client(server, dialect)
    client.say(client.put(client.devinf(max_guid_size=8)), client.alert(201))
    received = client.send()
    names = [change.items[0].source_uri for change in received]
    assert len(set(names)) == 3
    assert max(len(name.encode()) for name in names) <= 8
    pairs = [(c.items[0].source_uri, url_of(c.items[0])) for c in received]
    assert statuses_of(client.confirm(pairs), 'Map') == [200]
    edit(server, find(server, 'x'), title='new')
    server.delete(find(server, 'y'))
    client.begin(200, client.put(client.devinf(max_guid_size=8)))
    found = {(type(c), c.items[0].target_uri) for c in client.send()}
    assert found == {(Replace, 'x'), (Delete, 'y')}


def test_59_short_ids_outlive_the_session(dialect):
    """The Map is lost: the next session brings it, and the short ids still mean the same items."""
    server = dialect.device('S', 'x')
    client = Client(server, dialect)
    devinf = client.devinf(max_guid_size=8)
    client.say(client.put(devinf), client.alert(201))
    [received] = client.send()
    client.confirm([(received.items[0].source_uri, 'x')])
    for url in ('y', 'z'):
        server.add(bookmark(url))
    client.new_session()
    client.say(client.alert(200))
    pairs = [(c.items[0].source_uri, url_of(c.items[0])) for c in client.send()]
    edit(server, find(server, 'y'), title='changed meanwhile')
    client.new_session()
    client.say(client.alert(200))
    reply = client.say(client.map(pairs), client.sync(delete('z')))
    assert statuses_of(reply, 'Map') == [200]
    assert statuses_of(reply, 'Delete') == [200]
    [received] = client.rest(reply)
    assert (type(received), received.items[0].target_uri) == (Replace, 'y')
    client.confirm()
    assert urls(server) == ['x', 'y']


@pytest.mark.parametrize('mode', [200, 201])
def test_59_a_lost_map_comes_with_the_next_session(dialect, mode, monkeypatch):
    monkeypatch.setattr('pysyncml.conversation.RETRIES', ())
    server, client = dialect.device('S', 'x'), dialect.device('C')
    sync(client, server)
    server.add(bookmark('y'))

    def cut(_):
        raise ConnectionError('cut')

    with pytest.raises(ConnectionError):
        sync(client, server, script={3: cut})
    assert urls(client) == ['x', 'y']
    wire = sync(client, server, {200: 1, 201: 2}[mode])
    third = wire.requests[1]
    kinds = [command.name for command in third.commands if not isinstance(command, Status)]
    assert kinds == ['Map', 'Sync'], 'the pairs come before the changes'
    assert commands_of(third, Map)[0].items == (
        MapItem(target=find(server, 'y'), source=find(client, 'y')),
    )
    settle(server, client)
    assert urls(client) == urls(server) == ['x', 'y']
    assert sync(client, server).sent(Map) == []


def test_59_a_pair_may_be_told_twice(dialect):
    server = dialect.device('S', 'x')
    client = Client(server, dialect)
    client.begin(201)
    [received] = client.send()
    pair = (received.items[0].source_uri, '1')
    reply = client.confirm([pair, pair], client.map([pair]))
    assert statuses_of(reply, 'Map') == [200, 200]
    assert client.session(200) == []


def test_59_a_map_for_an_unknown_datastore_is_not_found(dialect):
    server = dialect.device('S', 'x')
    client = Client(server, dialect)
    client.begin(201)
    [received] = client.send()
    wrong = changed(client.map([(received.items[0].source_uri, '1')]), target=Location('other'))
    assert statuses_of(client.confirm([], wrong), 'Map') == [404]


def test_60_a_server_that_wants_no_status_for_its_sync(dialect):
    """Its changes are taken all the same; the pairs are sent, or wait for the next session."""

    def quiet(server, request, due):
        commands = [changed(c, no_resp=True) if isinstance(c, Sync) else c for c in due.commands]
        return saying(due, *commands)

    server = Server(dialect, changes=[add('g1', 'theirs')], script={3: quiet})
    client = dialect.device('C')
    client.sync(server, transport=server)
    assert urls(client) == ['theirs']
    last = server.requests[-1]
    assert statuses_of(last, 'Sync') == []
    assert statuses_of(last, 'Add') == [201]
    server.changes = []
    server.keep_anchor()
    client.sync(server, transport=server)
    assert [pair.target for sent in server.said(Map) for pair in sent.items] == ['g1']


def test_60_a_client_may_end_after_the_changes_and_send_its_pairs_the_next_time(dialect):
    server = dialect.device('S', 'x', 'y')
    client = Client(server, dialect)
    client.session(201, luids='')
    server.add(bookmark('z'))
    client.begin(200)
    [received] = client.send()
    assert url_of(received.items[0]) == 'z'
    client.begin(200)
    reply = client.say(client.map([(received.items[0].source_uri, 'z')]), client.sync())
    assert statuses_of(reply, 'Map') == [200]
    assert client.rest(reply) == []
    client.confirm()
    assert client.session(200, delete('z')) == []
    assert urls(server) == ['x', 'y']
