"""B4: messages that come twice, servers that forget, sessions side by side, and garbage.

What is interrupted, suspended and resumed is in :mod:`tests.conformance.test_b4_interrupted`.
"""

from __future__ import annotations

import random

import pytest

from pysyncml.codec import decode
from pysyncml.errors import RemoteProtocolError
from pysyncml.state.records import SessionRecord
from tests.conformance.support import settle
from tests.conformance.wire import (
    Client,
    Watched,
    add,
    delete,
    header_status,
    replace,
    statuses_of,
    sync,
    url_of,
)
from tests.sync.support import bookmark, contents, edit, find, urls

# --- 65: the same message again -------------------------------------------------------------------


def _add_here(server, client):
    client.add(bookmark('new here'))


def _update_here(server, client):
    edit(client, find(client, 'a'), title='new')


def _remove_here(server, client):
    client.delete(find(client, 'a'))


def _add_there(server, client):
    server.add(bookmark('new there'))


def _update_there(server, client):
    edit(server, find(server, 'b'), title='new')


def _remove_there(server, client):
    server.delete(find(server, 'b'))


FAMILY = {
    'client add': [_add_here],
    'client update': [_update_here],
    'client remove': [_remove_here],
    'server add': [_add_there],
    'server update': [_update_there],
    'server remove': [_remove_there],
    'full': [_add_here, _remove_here, _add_there, _update_there],
}


def _play(dialect, family, script):
    """Play a session with *script*; return what both have in the end, and what was done."""
    server, client = dialect.device('S', 'a', 'b', 'c'), dialect.device('C')
    sync(client, server)
    for change in FAMILY[family]:
        change(server, client)
    wire = Watched(server, script)
    stats = client.sync(server, transport=wire)['items']
    assert stats.errors == 0
    assert contents(client) == contents(server)
    values = stats.values()
    return contents(client), {name: values[name] for name in values if name != 'problems'}


@pytest.mark.parametrize('event', ['lost request', 'lost answer', 'twice'])
@pytest.mark.parametrize(
    'family',
    ['full', *(pytest.param(f, marks=pytest.mark.campaign) for f in FAMILY if f != 'full')],
)
def test_65_resend(dialect, family, event, monkeypatch):
    """Any one message is lost, or its answer is, or it comes twice: the result is the same."""
    monkeypatch.setattr('pysyncml.conversation.RETRIES', (0,))
    usual = _play(dialect, family, {})
    for number in (1, 2, 3):
        if number == 1 and event != 'twice':
            continue  # whoever does not answer at all is not there: no session begins
        assert _play(dialect, family, {number: event}) == usual


def test_65_the_same_message_gets_the_same_answer(any_dialect):
    server = any_dialect.device('S', 'theirs')
    client = Client(server, any_dialect)
    for step in (
        lambda: client.begin(201),
        lambda: client.say(client.sync(add('1', 'x'), add('2', 'y')), final=False),
        lambda: client.say(client.sync(replace('1', 'x', 'new'), delete('2'))),
        lambda: client.confirm(),
    ):
        url = client.url
        step()
        answer, body, items = client.answer, client.body, contents(server)
        kind = f'application/vnd.syncml+{any_dialect.encoding}'
        for _ in range(2):
            assert client.carry(kind, body, url).body == answer
        server.restart()
        assert client.carry(kind, body, url).body == answer
        assert contents(server) == items
    assert contents(server) == [('theirs', 'title of theirs'), ('x', 'new')]


def test_65_an_old_message_is_not_carried_out_again(dialect):
    server = dialect.device('S')
    client = Client(server, dialect)
    client.begin(201)
    client.say(client.sync(add('1', 'x')), final=False)
    old = client.body
    client.say(client.sync(delete('1')), final=False)
    response = client.carry(f'application/vnd.syncml+{dialect.encoding}', old)
    assert header_status(decode(response.content_type, response.body)) >= 400
    assert urls(server) == []


# --- 69: a server that forgets --------------------------------------------------------------------


def _forget_sessions(server):
    with server.context.work() as work:
        for record in work.records.find(SessionRecord):
            work.records.delete(record)


@pytest.mark.parametrize('number', [2, 3])
def test_69_a_server_that_has_forgotten_the_session(dialect, number):
    server, client = dialect.device('S', 'a'), dialect.device('C', 'b')
    sync(client, server)
    for change in (_add_here, _add_there):
        change(server, client)
    with pytest.raises(RemoteProtocolError, match='synchronise again') as caught:
        client.sync(server, transport=Watched(server, {number: _forget_sessions}))
    assert caught.value.status == 512
    client.restart()
    settle(server, client)
    assert urls(client) == ['a', 'b', 'new here', 'new there']


def test_69_a_server_that_is_started_again_goes_on(dialect):
    server, client = dialect.device('S', 'a'), dialect.device('C', 'b')
    sync(client, server, restart=True)
    for change in (_add_here, _add_there):
        change(server, client)
    sync(client, server, restart=True)
    assert urls(client) == urls(server) == ['a', 'b', 'new here', 'new there']


# --- 70: sessions side by side --------------------------------------------------------------------


def test_70_a_new_session_ends_the_old_one(dialect):
    server = dialect.device('S', 'theirs')
    ended = []
    server.adapter.onEnd = lambda peer, stats, how: ended.append((peer.devID, how))
    old = Client(server, dialect)
    old.begin(201)
    old.say(old.sync(add('1', 'x')), final=False)
    new = Client(server, dialect)
    new.session_id += 1
    received = new.session(201, add('1', 'x'))
    assert ended == [('D', 'broken off'), ('D', 'done')]
    assert [url_of(c.items[0]) for c in received] == ['theirs']
    old.referee.judges = ()
    reply = old.say(old.sync(add('2', 'y')))
    assert header_status(reply) >= 400
    assert urls(server) == ['theirs', 'x']
    assert new.session(200) == []


def test_70_two_devices_at_once(dialect):
    server = dialect.device('S', 'theirs')
    one, two = Client(server, dialect, name='one'), Client(server, dialect, name='two')
    for client in (one, two):
        client.begin(201)
    for client in (one, two):
        reply = client.say(client.sync(add('1', f'of {client.name}')), final=False)
        assert statuses_of(reply, 'Add') == [201]
    received = [client.rest(client.say(client.sync())) for client in (one, two)]
    assert {url_of(c.items[0]) for c in received[0]} >= {'theirs'}
    for client, changes in zip((one, two), received, strict=True):
        client.confirm([(c.items[0].source_uri, url_of(c.items[0])) for c in changes])
    later = [client.session(200, luids='') for client in (one, two)]
    found = [
        {url_of(c.items[0]) for c in (*first, *second)}
        for first, second in zip(received, later, strict=True)
    ]
    assert found == [{'theirs', 'of two'}, {'theirs', 'of one'}]
    assert urls(server) == ['of one', 'of two', 'theirs']


# --- 71: garbage ----------------------------------------------------------------------------------


def _sane(server, dialect, before):
    """The server is as it was, and serves the next one."""
    assert contents(server) == before
    Client(server, dialect, name='next').session(201)


def _recorded(dialect):
    """Return the messages of a session, as bytes."""
    client = Client(dialect.device('S', 'x', 'y'), dialect)
    bodies = []
    client.begin(201, client.get())
    bodies.append(client.body)
    client.send(add('1', 'z'), replace('2', 'p'), delete('3'))
    bodies.append(client.body)
    client.confirm([('g', 'l')])
    bodies.append(client.body)
    return bodies


def test_71_messages_cut_short(dialect):
    server = dialect.device('S', 'x')
    kind = f'application/vnd.syncml+{dialect.encoding}'
    before = contents(server)
    for body in _recorded(dialect):
        for length in range(0, len(body) - 1, max(1, len(body) // 60)):
            response = Client(server, dialect).carry(kind, body[:length])
            assert response.status in (400, 415), f'{length} bytes of {len(body)}'
    _sane(server, dialect, before)


def test_71_messages_with_wrong_bytes(dialect):
    """Any answer will do but a crash: HTTP 4xx, or a Status; and the server goes on."""
    chance = random.Random(71)
    kind = f'application/vnd.syncml+{dialect.encoding}'
    server = dialect.device('S', 'x')
    for body in _recorded(dialect):
        for _ in range(80):
            wrong = bytearray(body)
            for _ in range(chance.randrange(1, 4)):
                wrong[chance.randrange(len(body))] = chance.randrange(256)
            response = Client(server, dialect).carry(kind, bytes(wrong))
            assert response.status in (200, 400, 415), bytes(wrong)
            if response.status == 200:
                decode(response.content_type, response.body)
    Client(server, dialect, name='next').session(201)


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE SyncML [<!ENTITY a "aaaaaaaaaa">'
    + b''.join(
        b'<!ENTITY %c "%s">' % (n, b'&%c;' % (n - 1) * 10) for n in range(ord('b'), ord('k'))
    )
    + b']><SyncML><SyncHdr><SessionID>&j;</SessionID></SyncHdr></SyncML>'
)
GARBAGE = {
    'nothing': b'',
    'zeros': b'\0' * 1000,
    'text': b'hello',
    'another language': b'<html><body/></html>',
    'an entity bomb': BOMB,
    'a file': b'<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]><SyncML>&f;</SyncML>',
    'deep nesting': b'<SyncML>' * 100_000,
    'deep and closed': b'<SyncML>' + b'<Meta>' * 50_000 + b'</Meta>' * 50_000 + b'</SyncML>',
    'many attributes': b'<SyncML ' + b' '.join(b'a%d="1"' % n for n in range(20_000)) + b'/>',
    'no header': b'<SyncML><SyncBody><Final/></SyncBody></SyncML>',
    'wrong charset': b'<?xml version="1.0" encoding="nonsense"?><SyncML/>',
}


@pytest.mark.parametrize('name', GARBAGE)
def test_71_garbage(dialect, name):
    _refuses(dialect, 'application/vnd.syncml+xml', GARBAGE[name])


def _refuses(dialect, kind, body):
    server = dialect.device('S', 'x')
    before = contents(server)
    response = Client(server, dialect).carry(kind, body)
    assert response.status in (400, 415)
    assert b'root:' not in response.body
    _sane(server, dialect, before)


# version 1.3, public id by the string table, UTF-8; what follows is the length of that table
BINARY = {
    'nothing but a version': b'\x03',
    'a table longer than the message': b'\x03\x00\x00\x6a\x8f\xff\xff\xff\x7f',
    'a number without an end': b'\x03\xa4\x01\x6a' + b'\xff' * 1000,
    'opaque data longer than the message': b'\x03\xa4\x01\x6a\x00\x6d\xc3\x8f\xff\xff\xff\x7fx',
    'deep nesting': b'\x03\xa4\x01\x6a\x00' + b'\x6d' * 200_000,
    'unknown tokens': b'\x03\xa4\x01\x6a\x00\x6d\x7f\x7e\x01\x01\x01',
    'a page that does not exist': b'\x03\xa4\x01\x6a\x00\x00\x63\x6d\x01',
    'a string outside of the table': b'\x03\xa4\x01\x6a\x00\x6d\x6c\x83\x70\x01\x01',
}


@pytest.mark.parametrize('name', BINARY)
def test_71_binary_garbage(dialect, name):
    _refuses(dialect, 'application/vnd.syncml+wbxml', BINARY[name])
