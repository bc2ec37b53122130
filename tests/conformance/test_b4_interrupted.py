"""B4: sessions that are broken off, or put off, at any message; and what the next one does."""

from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy import delete as delete_from

from pysyncml.constants import SyncType
from pysyncml.errors import Timeout, TransportError
from pysyncml.protocol.messages import Add, Alert, Item, Location, Meta, Replace, Status, Sync
from tests.conformance.support import anchors, assert_quiet
from tests.conformance.wire import (
    Client,
    Server,
    Watched,
    add,
    commands_of,
    saying,
    statuses_of,
    sync,
    url_of,
)
from tests.sync.support import bookmark, contents, edit, find, urls

LIMIT = 3000  # bytes of a message
LARGE = 7000  # bytes of an item: some messages


def _client_add(server, client):
    client.add(bookmark('added here'))


def _client_update(server, client):
    edit(client, find(client, 'a'), title='updated here')


def _client_remove(server, client):
    client.delete(find(client, 'b'))


def _client_large(server, client):
    client.add(bookmark('large here', 'x' * LARGE))
    edit(client, find(client, 'c'), title='é' * (LARGE // 2))


def _server_add(server, client):
    server.add(bookmark('added there'))


def _server_update(server, client):
    edit(server, find(server, 'd'), title='updated there')


def _server_remove(server, client):
    server.delete(find(server, 'e'))


def _server_large(server, client):
    server.add(bookmark('large there', 'x' * LARGE))
    edit(server, find(server, 'f'), title='é' * (LARGE // 2))


SMALL = [
    _client_add,
    _client_update,
    _client_remove,
    _server_add,
    _server_update,
    _server_remove,
]
FAMILIES = {
    **{change.__name__.strip('_').replace('_', ' '): [change] for change in SMALL},
    'client large': [_client_large],
    'server large': [_server_large],
    'full': [*SMALL, _client_large, _server_large],
}
# all at once, and one by one where there is time for it
SAMPLE = ['full', *(pytest.param(f, marks=pytest.mark.campaign) for f in FAMILIES if f != 'full')]


def _prepare(dialect, family, **values):
    """Return a server and a client that had the same, before *family* changed it."""
    server = dialect.device('S', *'abcdef', maxMsgSize=LIMIT, **values)
    client = dialect.device('C', maxMsgSize=LIMIT)
    sync(client, server, prompt=False)
    for change in FAMILIES[family]:
        change(server, client)
    return server, client


def _usual(dialect, family):
    """Return what both have without trouble, and how many messages the client has sent."""
    server, client = _prepare(dialect, family)
    wire = sync(client, server, prompt=False)
    assert contents(client) == contents(server)
    assert len(set(urls(client))) == len(urls(client))
    return contents(client), len(wire.requests)


def _numbers(count):
    """Return which messages are interrupted: of many, one at either end and one between."""
    return range(1, count + 1) if count < 5 else sorted({2, count // 2, count})


# --- 63: interrupted ------------------------------------------------------------------------------


def _interrupt(dialect, family, event, numbers, expected):
    for number in numbers:
        server, client = _prepare(dialect, family)
        with pytest.raises(TransportError):
            client.sync(server, transport=Watched(server, {number: event}, prompt=False))
        client.restart()
        server.restart()
        for _ in range(3):
            wire = sync(client, server, prompt=False)
            if not wire.stats['items'].here and not wire.stats['items'].peer:
                break
        assert contents(client) == contents(server) == expected, f'interrupted at {number}'
        assert_quiet(sync(client, server, prompt=False))


@pytest.mark.parametrize('event', ['lost request', 'lost answer'])
@pytest.mark.parametrize('family', SAMPLE)
def test_63_interrupted(later_dialect, family, event, monkeypatch):
    """The connection breaks before or after some message: the next session mends it all."""
    monkeypatch.setattr('pysyncml.conversation.RETRIES', ())
    expected, count = _usual(later_dialect, family)
    _interrupt(later_dialect, family, event, _numbers(count), expected)


@pytest.mark.campaign
@pytest.mark.parametrize('event', ['lost request', 'lost answer'])
@pytest.mark.parametrize('family', FAMILIES)
def test_63_interrupted_at_every_message(later_dialect, family, event, monkeypatch):
    monkeypatch.setattr('pysyncml.conversation.RETRIES', ())
    expected, count = _usual(later_dialect, family)
    _interrupt(later_dialect, family, event, range(1, count + 1), expected)


@pytest.mark.parametrize('event', ['lost request', 'lost answer'])
def test_63_a_first_slow_sync_is_interrupted(dialect, event, monkeypatch):
    """Everything is new to both, and twins are among it."""
    monkeypatch.setattr('pysyncml.conversation.RETRIES', ())
    for number in range(1, 30):
        server = dialect.device('S', *'abcdefghij', maxMsgSize=LIMIT)
        client = dialect.device('C', *'fghijklmno', maxMsgSize=LIMIT)
        wire = Watched(server, {number: event}, prompt=False)
        try:
            client.sync(server, transport=wire)
        except TransportError:
            client.restart()
            server.restart()
        else:
            break
        for _ in range(2):
            sync(client, server, prompt=False)
        assert urls(client) == urls(server) == list('abcdefghijklmno'), number
        assert_quiet(sync(client, server, prompt=False))
    assert number > 4


# --- 64: put off by the user ----------------------------------------------------------------------


def _put_off(client, server, number, mode=SyncType.TWO_WAY):
    """Let the user of the client put the session off at message *number*."""
    wire = Watched(server, {number: lambda _: client.adapter.suspend()}, prompt=False)
    client.sync(server, mode, transport=wire)
    return wire


@pytest.mark.parametrize('family', SAMPLE)
def test_64_put_off(newest_dialect, family, monkeypatch):
    expected, count = _usual(newest_dialect, family)
    for number in _numbers(count - 1):
        server, client = _prepare(newest_dialect, family)
        before = anchors(client)
        wire = _put_off(client, server, number)
        [alert] = [a for a in wire.sent(Alert, by='client') if a.code == 224]
        assert wire.requests[-1].final and not wire.answers[-1].commands[1:][1:]
        assert [s.code for s in wire.sent(Status, by='server') if s.cmd_ref == alert.cmd_id][-1:]
        assert anchors(client) == before, 'nothing is finished'
        client.restart()
        server.restart()
        again = sync(client, server, prompt=False)
        codes = [a.code for a in again.sent(Alert, by='client') if a.code >= 200]
        assert codes[0] == 225, 'it goes on'
        assert contents(client) == contents(server) == expected, f'put off at {number}'
        assert_quiet(sync(client, server, prompt=False))


@pytest.mark.parametrize('number', [2, 3, 4, 5, 6, 7])
def test_64_what_was_confirmed_does_not_travel_again(newest_dialect, number):
    """Also in a slow sync, which would begin anew without 225."""
    server = newest_dialect.device('S', *(f's{n:02}' for n in range(20)), maxMsgSize=LIMIT)
    client = newest_dialect.device('C', *(f'c{n:02}' for n in range(20)), maxMsgSize=LIMIT)
    first = _put_off(client, server, number)
    second = sync(client, server, prompt=False)
    assert 225 in [a.code for a in second.sent(Alert, by='client')]
    confirmed = {
        (message.header.msg_id, command.cmd_id)
        for message in first.requests
        for command in commands_of(message, Add)
    } & {(s.msg_ref, s.cmd_ref) for s in first.sent(Status, by='server') if s.code < 300}
    sent = Counter(c.items[0].source_uri for w in (first, second) for c in w.sent(Add, by='client'))
    assert len(sent) == 20
    assert sum(sent.values()) <= 20 + 20 - len(confirmed)
    assert confirmed or number < 4
    assert contents(client) == contents(server) and len(contents(client)) == 40


@pytest.mark.parametrize('mode', [SyncType.REFRESH_FROM_CLIENT, SyncType.REFRESH_FROM_SERVER])
@pytest.mark.parametrize('number', [2, 3, 4, 5])
def test_64_a_refresh_goes_on(newest_dialect, mode, number):
    server = newest_dialect.device('S', *(f's{n:02}' for n in range(15)), maxMsgSize=LIMIT)
    client = newest_dialect.device('C', *(f'c{n:02}' for n in range(15)), maxMsgSize=LIMIT)
    kept = 'c' if mode is SyncType.REFRESH_FROM_CLIENT else 's'
    _put_off(client, server, number, mode)
    wire = sync(client, server, mode, prompt=False)
    assert 225 in [a.code for a in wire.sent(Alert, by='client')]
    assert urls(client) == urls(server) == [f'{kept}{n:02}' for n in range(15)]
    assert_quiet(sync(client, server, prompt=False))


def test_64_a_refresh_does_not_go_on_by_itself(newest_dialect):
    """Whoever then synchronises both ways does not have anything thrown away."""
    server, client = newest_dialect.device('S', 's'), newest_dialect.device('C', 'c')
    _put_off(client, server, 2, SyncType.REFRESH_FROM_SERVER)
    wire = sync(client, server, prompt=False)
    assert 225 not in [a.code for a in wire.sent(Alert, by='client')]
    assert urls(client) == urls(server) == ['c', 's']


def test_64_changes_made_meanwhile_travel_too(newest_dialect):
    server, client = _prepare(newest_dialect, 'full')
    _put_off(client, server, 4)
    edit(client, find(client, 'd'), url='d, renamed')
    client.add(bookmark('late here'))
    server.add(bookmark('late there'))
    sync(client, server, prompt=False)
    sync(client, server, prompt=False)
    assert contents(client) == contents(server)
    assert {'late here', 'late there', 'd, renamed'} <= set(urls(client))


def test_64_a_foreign_client_puts_off(later_dialect):
    server = later_dialect.device('S', 'x')
    client = Client(server, later_dialect, prompt=False)
    client.begin(201)
    item = Item(target=Location('http://S/'), source=Location(client.name))
    suspend = Alert(code=224, items=(item,))
    reply = client.say(client.sync(add('1', 'early')), suspend, client.sync(add('2', 'late')))
    if later_dialect.version != '1.2':
        assert statuses_of(reply, 'Alert') == [406]
        return
    assert statuses_of(reply, 'Add') == [201]
    assert statuses_of(reply, 'Alert') == [200]
    assert statuses_of(reply, 'Sync') == [200, 514]
    assert not commands_of(reply, Sync), 'no new commands'
    assert urls(server) == ['early', 'x']
    client.begin(225)
    assert statuses_of(client.heard, 'Alert') == [200]
    assert [a.code for a in commands_of(client.heard, Alert)] == [201], 'what was interrupted'
    received = client.send(add('2', 'late'))
    assert [url_of(c.items[0]) for c in received] == ['x']
    client.confirm([(received[0].items[0].source_uri, '3')])
    assert client.session(200) == []
    assert urls(server) == ['early', 'late', 'x']


# --- 66: it cannot go on --------------------------------------------------------------------------


def test_66_a_server_that_has_forgotten(newest_dialect):
    server, client = _prepare(newest_dialect, 'full')
    expected, _ = _usual(newest_dialect, 'full')
    _put_off(client, server, 3)
    with server.context.work() as work:
        table = work.tables.binding
        work.connection.execute(table.update().values(suspended=None))
    wire = sync(client, server, prompt=False)
    codes = [s.code for s in wire.sent(Status, by='server') if s.cmd == 'Alert']
    assert codes[0] == 508
    assert next(a.code for a in wire.sent(Alert, by='server')) == 201
    sync(client, server, prompt=False)
    assert contents(client) == contents(server) == expected


@pytest.mark.parametrize(('status', 'code'), [(508, 201), (509, 200)])
def test_66_a_foreign_server_that_has_forgotten(newest_dialect, status, code):
    client = newest_dialect.device('C', 'x')
    server = Server(newest_dialect)
    client.sync(server, transport=server)
    server.keep_anchor()
    client.add(bookmark('y'))
    server.script = {len(server.requests) + 1: lambda *_: client.adapter.suspend() or _[2]}
    client.sync(server, transport=server)
    assert [a.code for a in server.said(Alert)][-1] == 224
    server.alerts = {225: (status, code)}
    server.modes = (*range(200, 206), 225)
    stats = client.sync(server, transport=server)['items']
    assert stats.errors == 0
    assert stats.peerAdd == (2 if code == 201 else 1)


def test_66_a_server_that_does_not_know_225(newest_dialect):
    client = newest_dialect.device('C', 'x')
    server = Server(newest_dialect)
    client.sync(server, transport=server)
    server.keep_anchor()
    client.add(bookmark('y'))
    server.script = {len(server.requests) + 1: lambda *_: client.adapter.suspend() or _[2]}
    client.sync(server, transport=server)
    server.alerts = {225: (406, 0)}
    client.sync(server, transport=server)
    stats = client.sync(server, transport=server)['items']
    assert (stats.peerAdd, stats.errors) == (1, 0), 'it is not asked a second time'


# --- 67: put off by the server, and in the middle of an item -------------------------------------


@pytest.mark.parametrize('number', [1, 2, 3])
def test_67_a_server_puts_off(newest_dialect, number):
    client = newest_dialect.device('C', 'x')
    server = Server(newest_dialect, prompt=False)
    client.sync(server, transport=server)
    server.keep_anchor()
    before = anchors(client)
    client.add(bookmark('y'))

    def suspend(server, request, due):
        item = Item(target=Location(client.name), source=Location('S'))
        statuses = commands_of(due, Status)
        return saying(due, *statuses, Alert(code=224, items=(item,)), final=True)

    first = len(server.requests)
    server.script = {first + number: suspend}
    client.sync(server, transport=server)
    [told] = server.requests[first + number :]
    assert [s.code for s in commands_of(told, Status) if s.cmd == 'Alert'] == [200]
    assert not commands_of(told, Sync) and told.final
    assert anchors(client) == before


def _parts(wire, url_id=None, by='client'):
    found = [*wire.sent(Add, by=by), *wire.sent(Replace, by=by)]
    return [len(c.items[0].data) for c in found]


def test_67_in_the_middle_of_an_item(newest_dialect):
    """The next session begins with the part that was not acknowledged."""
    for by in ('client', 'server'):
        server = newest_dialect.device('S', maxMsgSize=LIMIT)
        client = newest_dialect.device('C', maxMsgSize=LIMIT)
        sync(client, server)
        (client if by == 'client' else server).add(bookmark('large', 'x' * 20_000))
        first = _put_off(client, server, 6)
        second = sync(client, server, prompt=False)
        parts = _parts(first, by=by), _parts(second, by=by)
        assert len(parts[0]) >= 3 and parts[1]
        total = len('{"url": "large", "title": ""}') + 20_000
        assert sum(map(sum, parts)) <= total + max(parts[0]), 'one part again at most'
        assert contents(client) == contents(server) == [('large', 'x' * 20_000)]
        assert_quiet(sync(client, server))


def test_67_an_item_that_was_changed_meanwhile(newest_dialect):
    for by in ('client', 'server'):
        server = newest_dialect.device('S', maxMsgSize=LIMIT)
        client = newest_dialect.device('C', maxMsgSize=LIMIT)
        sync(client, server)
        owner = client if by == 'client' else server
        owner.add(bookmark('large', 'x' * 20_000))
        _put_off(client, server, 6)
        edit(owner, find(owner, 'large'), title='y' * 15_000)
        for _ in range(2):
            sync(client, server, prompt=False)
        assert contents(client) == contents(server) == [('large', 'y' * 15_000)]


def test_67_parts_that_got_lost(newest_dialect):
    """The server has forgotten what it got: 426, and the whole item in the session after."""
    server = newest_dialect.device('S', maxMsgSize=LIMIT)
    client = newest_dialect.device('C', maxMsgSize=LIMIT)
    sync(client, server)
    client.add(bookmark('large', 'x' * 20_000))
    _put_off(client, server, 6)
    with server.context.work() as work:
        work.connection.execute(delete_from(work.tables.chunk))
        work.connection.execute(delete_from(work.tables.unfinished))
    wire = Watched(server, prompt=False)
    stats = client.sync(server, transport=wire)['items']
    assert stats.errors == 1
    assert 426 in [s.code for s in wire.sent(Status, by='server') if s.cmd == 'Add']
    assert contents(server) == []
    sync(client, server, prompt=False)
    assert contents(server) == contents(client) == [('large', 'x' * 20_000)]


def test_67_only_the_last_part_was_missing(newest_dialect):
    """A last part alone must never pass for a whole item."""
    server = newest_dialect.device('S')
    client = Client(server, newest_dialect)
    client.begin(201)
    meta = Meta(type='text/x-bookmark', emi=('datapos=300',))
    last = Add(meta=meta, items=(Item(source=Location('1'), meta=meta, data=b'{}'),))
    reply = client.say(client.sync(last))
    assert statuses_of(reply, 'Add') == [426]
    assert urls(server) == []


# --- 68: nobody answers ---------------------------------------------------------------------------


@pytest.mark.parametrize('number', [1, 2, 3])
def test_68_a_server_that_never_answers(later_dialect, number, monkeypatch):
    monkeypatch.setattr('pysyncml.conversation.RETRIES', (0, 0))
    server, client = _prepare(later_dialect, 'full')
    before, tried = anchors(client), []

    class Silent(Watched):
        def exchange(self, request):
            if len(self.requests) + 1 < number:
                return super().exchange(request)
            tried.append(request.body)
            raise Timeout('no answer')

    with pytest.raises(Timeout):
        client.sync(server, transport=Silent(server, prompt=False))
    assert len(tried) == (1 if number == 1 else 3), 'tried again, but not for ever'
    assert len(set(tried)) == 1, 'the same message again'
    assert anchors(client) == before
    expected, _ = _usual(later_dialect, 'full')
    sync(client, server, prompt=False)
    assert contents(client) == contents(server) == expected


def test_67_in_another_encoding(newest_dialect):
    """An item that was begun in one encoding is not continued in another one."""
    other = 'xml' if newest_dialect.encoding == 'wbxml' else 'wbxml'
    text = '\0x' * 10_000
    for by in ('client', 'server'):
        server = newest_dialect.device('S', maxMsgSize=LIMIT)
        client = newest_dialect.device('C', maxMsgSize=LIMIT)
        sync(client, server)
        (client if by == 'client' else server).add(bookmark('large', text))
        _put_off(client, server, 6)
        client.adapter.peer = client.context.RemoteAdapter(url='http://S/', encoding=other)
        sync(client, server, prompt=False)
        assert contents(client) == contents(server) == [('large', text)]
