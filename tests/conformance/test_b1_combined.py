"""B1, 14 and 15: sessions without separate initialisation: all in one package."""

from __future__ import annotations

from pysyncml.protocol.messages import Alert, Sync
from tests.conformance.wire import (
    Client,
    add,
    commands_of,
    delete,
    replace,
    statuses_of,
    url_of,
)
from tests.sync.support import bookmark, contents, urls


def test_14_without_separate_initialisation(any_dialect):
    """Packages 1 and 3 in one, 2 and 4 in the other: one message each way less."""
    server = any_dialect.device('S')
    client = Client(server, any_dialect)
    client.session(201, add('1', 'ours'), add('2', 'doomed'))
    usual = len(client.sent)
    server.add(bookmark('theirs'))
    client.new_session()
    changes = (replace('1', 'ours', 'changed'), delete('2'), add('3', 'new'))
    reply = client.say(client.alert(200), client.sync(*changes))
    assert statuses_of(reply, 'Alert') == [200]
    assert statuses_of(reply, 'Sync') == [200]
    assert [c for name in ('Replace', 'Delete', 'Add') for c in statuses_of(reply, name)] == [
        200,
        200,
        201,
    ]
    assert [alert.code for alert in commands_of(reply, Alert)] == [200]
    [received] = client.rest(reply)
    assert url_of(received.items[0]) == 'theirs'
    assert reply.final
    last = client.confirm([(received.items[0].source_uri, '4')])
    assert statuses_of(last, 'Map') == [200]
    assert len(client.sent) == usual - 1
    assert dict(contents(server)) == {
        'new': 'title of new',
        'ours': 'changed',
        'theirs': 'title of theirs',
    }
    client.begin(200)
    assert client.heard is not None
    assert statuses_of(client.heard, 'Alert') == [200], 'the anchors have moved'
    assert client.send() == []


def test_14_over_several_messages(dialect):
    server = dialect.device('S', 'theirs')
    client = Client(server, dialect)
    client.session(201)
    server.add(bookmark('new there'))
    client.new_session()
    reply = client.say(client.alert(200), client.sync(add('1', 'one')), final=False)
    assert not reply.final
    reply = client.say(client.sync(add('2', 'two')))
    assert [url_of(change.items[0]) for change in client.rest(reply)] == ['new there']
    client.confirm()
    assert urls(server) == ['new there', 'one', 'theirs', 'two']


def test_14_a_first_refresh(dialect):
    server = dialect.device('S', 'theirs')
    client = Client(server, dialect)
    client.say(client.put(), client.alert(203), client.sync(add('1', 'ours')))
    client.confirm()
    assert urls(server) == ['ours']


def test_15_without_separate_initialisation_and_with_a_wrong_anchor(dialect):
    server = dialect.device('S')
    client = Client(server, dialect)
    client.session(201, add('1', 'ours'), add('2', 'more'))
    client.new_session()
    reply = client.say(client.alert(200, last='wrong'), client.sync(add('3', 'new')))
    assert statuses_of(reply, 'Alert') == [508]
    assert statuses_of(reply, 'Sync') == [508]
    assert statuses_of(reply, 'Add')[0] in (508, 514)
    assert [alert.code for alert in commands_of(reply, Alert)] == [201]
    assert commands_of(reply, Sync) == []
    assert urls(server) == ['more', 'ours'], 'nothing was applied'
    everything = (add('1', 'ours'), add('2', 'more'), add('3', 'new'))
    assert client.send(*everything) == []
    client.confirm()
    assert urls(server) == ['more', 'new', 'ours']
    assert client.session(200) == []
