"""B2: the kinds of synchronisation and what becomes of the data.

S is a server, A and B are clients of it; all of them are ours. Where a scenario is about what is
said, one of them is a foreign peer.
"""

from __future__ import annotations

import random

import pytest

import pysyncml
from pysyncml.constants import Policy, SyncType
from pysyncml.protocol.devinf import ContentTypeInfo
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Delete,
    Map,
    Replace,
    Status,
    Sync,
)
from tests.conformance.support import (
    CardAgent,
    Keyed,
    anchors,
    assert_quiet,
    card,
    cards,
    remember,
    settle,
    trio,
)
from tests.conformance.wire import (
    Client,
    Server,
    Watched,
    add,
    commands_of,
    delete,
    header_status,
    replace,
    statuses_of,
    sync,
    title_of,
    url_of,
)
from tests.sync.support import BookmarkAgent, bookmark, contents, edit, find, urls

TWO_WAY, SLOW = SyncType.TWO_WAY, SyncType.SLOW_SYNC
PUSH, PULL = SyncType.ONE_WAY_FROM_CLIENT, SyncType.ONE_WAY_FROM_SERVER
WIPE_SERVER, WIPE_CLIENT = SyncType.REFRESH_FROM_CLIENT, SyncType.REFRESH_FROM_SERVER
MODES = (TWO_WAY, SLOW, PUSH, PULL, WIPE_SERVER, WIPE_CLIENT)


# --- every kind -----------------------------------------------------------------------------------


@pytest.mark.parametrize('mode', [SLOW, WIPE_CLIENT])
def test_19_delete_all_refresh(dialect, mode):
    server, a, b = trio(dialect)
    a.add(bookmark('x'))
    sync(a, server)
    a.delete(find(a, 'x'))
    sync(a, server, WIPE_SERVER)
    assert urls(server) == []
    sync(b, server, mode)
    assert urls(b) == []


def test_19_delete_all_refresh_reaches_who_had_the_items(dialect):
    server, a, b = trio(dialect, 'x', 'y')
    for url in ('x', 'y'):
        a.delete(find(a, url))
    sync(a, server, WIPE_SERVER)
    assert urls(server) == []
    sync(b, server)
    assert urls(b) == []


def _both(server, client):
    server.add(bookmark('there'))
    client.add(bookmark('here'))


def _changed(server, client):
    _both(server, client)
    sync(client, server)
    edit(server, find(server, 'there'), title='new there')
    edit(client, find(client, 'here'), title='new here')
    server.add(bookmark('more there'))
    client.add(bookmark('more here'))


STATES = {
    'empty': lambda server, client: None,
    'only the client has items': lambda server, client: client.add(bookmark('here')),
    'only the server has items': lambda server, client: server.add(bookmark('there')),
    'both have items': _both,
    'both have changes': _changed,
}


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('state', STATES)
def test_20_every_mode_works_in_every_state(dialect, mode, state):
    server, client = dialect.device('S'), dialect.device('C')
    STATES[state](server, client)
    wire = sync(client, server, mode)
    assert {s.code for s in wire.sent(Status)} <= {200, 201, 418, 508}
    assert anchors(client) == anchors(server)[::-1]
    before = anchors(client)
    sync(client, server, mode)
    assert anchors(client) == anchors(server)[::-1]
    assert all(new > old for new, old in zip(anchors(client), before, strict=True))


def test_21_refresh_from_server_semantic(dialect):
    server, a = dialect.device('S'), dialect.device('A')
    sync(a, server)
    a.add(bookmark('x'))
    sync(a, server, WIPE_CLIENT)
    assert urls(a) == []
    assert_quiet(sync(a, server))
    assert urls(a) == urls(server) == []


def test_22_refresh_from_client_semantic(dialect):
    server, a = dialect.device('S', 'x'), dialect.device('A')
    sync(a, server)
    a.delete(find(a, 'x'))
    sync(a, server, WIPE_SERVER)
    assert urls(server) == []
    assert_quiet(sync(a, server))


def test_23_a_refresh_leaves_nothing_pending(dialect):
    server, a = dialect.device('S'), dialect.device('A')
    sync(a, server)
    a.add(bookmark('x'))
    a.delete(find(a, 'x'))
    a.add(bookmark('y'))
    sync(a, server, WIPE_SERVER)
    assert_quiet(sync(a, server))
    assert urls(server) == ['y']


# --- one item -------------------------------------------------------------------------------------


def test_24_copy(dialect):
    server, a, b = trio(dialect)
    a.add(bookmark('x'))
    wire = sync(a, server)
    assert [s.code for s in wire.sent(Status, by='server') if s.cmd == 'Add'] == [201]
    assert wire.sent(Map) == []
    wire = sync(b, server)
    [added] = wire.sent(Add)
    [sent] = wire.sent(Map)
    assert sent.items[0].target == added.items[0].source_uri
    assert sent.items[0].source == find(b, 'x')
    assert statuses_of(wire.answers[-1], 'Map') == [200]
    assert contents(a) == contents(b) == contents(server)


def test_25_update(any_dialect):
    server, a, b = trio(any_dialect, 'x')
    edit(a, find(a, 'x'), title='new')
    wire = sync(a, server)
    [replaced] = wire.sent(Replace)
    assert replaced.items[0].source_uri == find(a, 'x')
    wire = sync(b, server)
    [replaced] = wire.sent(Replace)
    assert replaced.items[0].target_uri == find(b, 'x')
    assert wire.sent(Add) == []
    assert contents(b) == [('x', 'new')]


def test_26_complex_update(dialect):
    server = dialect.device('S', agent=CardAgent())
    a, b = (dialect.device(name, agent=CardAgent()) for name in 'AB')
    item_id = a.add(card('1', name='n', note='old', colour='red', size=3))
    for client in (a, b):
        sync(client, server)
    a.replace(item_id, card('1', name='other', colour='blue', more=['a', 'b']))
    for client in (a, b):
        sync(client, server)
    assert cards(b) == cards(server) == cards(a)
    [values] = cards(b)
    assert values['note'] is None
    assert values['rest'] == {'colour': 'blue', 'more': ['a', 'b']}


def test_27_delete(any_dialect):
    server, a, b = trio(any_dialect, 'x', 'y')
    gone = find(b, 'x')
    a.delete(find(a, 'x'))
    wire = sync(a, server)
    assert [s.code for s in wire.sent(Status, by='server') if s.cmd == 'Delete'] == [200]
    wire = sync(b, server)
    assert [command.items[0].target_uri for command in wire.sent(Delete)] == [gone]
    assert urls(a) == urls(b) == urls(server) == ['y']


@pytest.mark.parametrize('in_between', [True, False])
def test_28_added_and_updated_is_added(dialect, in_between):
    server, a, b = trio(dialect)
    a.add(bookmark('x', 'first'))
    if in_between:
        sync(a, server)
    edit(a, find(a, 'x'), title='second')
    sync(a, server)
    wire = sync(b, server)
    assert [title_of(command.items[0]) for command in wire.sent(Add)] == ['second']
    assert wire.sent(Replace) == []


def test_28_updated_between_the_add_and_its_confirmation(dialect):
    """The client has taken an Add and not said so yet; then comes another version."""
    server = dialect.device('S', 'x')
    client = Client(server, dialect)
    client.begin(201)
    [first] = client.send()
    edit(server, find(server, 'x'), title='second')
    client.confirm([(first.items[0].source_uri, '1')])
    client.begin(200)
    [second] = client.send()
    assert isinstance(second, Replace)
    assert second.items[0].target_uri == '1'
    assert title_of(second.items[0]) == 'second'


# --- both sides -----------------------------------------------------------------------------------


def test_29_merge(any_dialect):
    server, a, b = trio(any_dialect, 'x')
    edit(a, find(a, 'x'), title='by A')
    edit(b, find(b, 'x'), url='y')
    sync(a, server)
    wire = sync(b, server)
    assert [s.code for s in wire.sent(Status, by='server') if s.cmd == 'Replace'] == [207]
    assert contents(b) == [('y', 'by A')]
    settle(server, a, b)
    assert contents(a) == [('y', 'by A')]


def test_30_twinning(dialect):
    server = dialect.device('S', 'x', 'y', 'z')
    a = dialect.device('A', 'z', 'y', 'x')
    assert_quiet(sync(a, server, SLOW))
    assert urls(a) == urls(server) == ['x', 'y', 'z']
    assert_quiet(sync(a, server))


def test_31_slow_sync_semantic(dialect):
    server, a, b = trio(dialect, 'x')
    sync(a, server, SLOW)
    assert urls(a) == urls(server) == ['x']
    b.delete(find(b, 'x'))
    sync(b, server)
    sync(a, server)
    assert urls(a) == urls(b) == urls(server) == []


def test_32_complex_refresh_from_server(dialect):
    server, a, b = trio(dialect, 'x')
    sync(b, server, WIPE_CLIENT)
    assert urls(b) == ['x']
    a.delete(find(a, 'x'))
    sync(a, server)
    sync(b, server, WIPE_CLIENT)
    assert urls(b) == []


def test_33_deleted_on_both_sides(dialect):
    server, a, b = trio(dialect, 'x', 'y')
    for client in (a, b):
        client.delete(find(client, 'x'))
    sync(a, server)
    wire = sync(b, server)
    codes = [s.code for s in wire.sent(Status) if s.cmd == 'Delete']
    assert codes and set(codes) <= {200, 211, 404}
    settle(server, a, b)
    assert urls(server) == ['y']


def test_33_a_client_that_does_not_have_it_either(dialect):
    server = dialect.device('S', 'x')
    client = Client(server, dialect)
    client.session(201, luids='')
    server.delete(find(server, 'x'))
    client.judge = lambda command: 404 if isinstance(command, Delete) else 200
    assert [type(change) for change in client.session(200)] == [Delete]
    assert client.session(200) == [], 'gone is gone'


def test_34_added_on_both_sides(dialect):
    """The same item by its key: one remains, with what each side had to say."""
    server = dialect.device('S', agent=Keyed())
    a, b = (dialect.device(name, agent=Keyed()) for name in 'AB')
    for client in (a, b):
        client.add(bookmark('x', 'same'))
        sync(client, server)
    settle(server, a, b)
    assert contents(a) == contents(b) == contents(server) == [('x', 'same')]


@pytest.mark.parametrize('winner', ['old', 'new'])
def test_34_added_on_both_sides_and_refreshed(dialect, winner):
    """In a refresh the side that is asked wins, whichever is older."""
    server, a = (dialect.device(name, agent=Keyed()) for name in 'SA')
    a.add(bookmark('x', 'old'))
    server.add(bookmark('x', 'new'))
    sync(a, server, WIPE_SERVER if winner == 'old' else WIPE_CLIENT)
    settle(server, a)
    assert contents(a) == contents(server) == [('x', winner)]


def test_35_one_way_from_server(dialect):
    server, a, b = trio(dialect, 'x')
    b.add(bookmark('mine'))
    a.add(bookmark('y'))
    sync(a, server)
    wire = sync(b, server, PULL)
    assert commands_of(wire.requests[1], Sync)[0].commands == ()
    assert urls(b) == ['mine', 'x', 'y']
    assert urls(server) == ['x', 'y']
    a.delete(find(a, 'x'))
    sync(a, server)
    sync(b, server, PULL)
    assert urls(b) == ['mine', 'y']
    assert urls(server) == ['y']
    sync(b, server)
    assert urls(server) == ['mine', 'y'], 'what was held back travels with the next two-way sync'


def test_36_one_way_from_client(dialect):
    server, _, b = trio(dialect, 'x')
    server.add(bookmark('theirs'))
    b.add(bookmark('mine'))
    b.delete(find(b, 'x'))
    wire = sync(b, server, PUSH)
    assert wire.sent(Sync, by='server') == []
    assert urls(b) == ['mine']
    assert urls(server) == ['mine', 'theirs']
    sync(b, server)
    assert urls(b) == ['mine', 'theirs']


# --- many and strange items -----------------------------------------------------------------------


def test_37_many_items(dialect):
    chance = random.Random(37)
    server, a, b = trio(dialect)
    for n in range(120):
        a.add(bookmark(f'a{n}', 'ä<' * chance.randrange(200)))
        server.add(bookmark(f's{n}', '& ' * chance.randrange(200)))
    for client in (a, b, a):
        sync(client, server)
    assert contents(a) == contents(b) == contents(server)
    assert len(contents(a)) == 240
    for client in (a, b):
        assert_quiet(sync(client, server, SLOW))
    for item_id in list(a.agent.shelf)[:200]:
        a.delete(item_id)
    for client in (a, b):
        sync(client, server)
    assert contents(a) == contents(b) == contents(server)
    assert len(contents(a)) == 40


STRANGE = [
    'plain',
    ' blanks  around ',
    'line\nfeed and \r\n both and \t tab',
    '<a href="x">&amp; &#38; ]]> <![CDATA[x]]>',
    'ä ö ü ß € 漢字 😀 \u2028',
    'quotes \' " ` \\',
    'x' * 10000,
    '',
]


def test_38_every_field_survives(dialect):
    server = dialect.device('S', agent=CardAgent())
    a, b = (dialect.device(name, agent=CardAgent()) for name in 'AB')
    for n, text in enumerate(STRANGE):
        a.add(card(str(n), name=text, note=text * 2, **{'x-own': {'deep': [text, n]}}))
    for client in (a, b):
        sync(client, server)
    assert cards(b) == cards(server) == cards(a)
    assert [values['name'] for values in cards(b)] == STRANGE


def test_38_what_one_device_does_not_know_survives_it(dialect):
    server = dialect.device('S', agent=CardAgent())
    a, b = (dialect.device(name, agent=CardAgent()) for name in 'AB')
    a.add(card('1', name='old', **{'x-of-a': 'kept'}))
    for client in (a, b):
        sync(client, server)
    [(item_id, item)] = b.agent.shelf.items()
    b.replace(item_id, card('1', name='by B', **item.rest))
    for client in (b, a):
        sync(client, server)
    [values] = cards(a)
    assert (values['name'], values['rest']) == ('by B', {'x-of-a': 'kept'})


@pytest.mark.parametrize(
    'order',
    [['parent', 'child'], ['child', 'parent'], ['child']],
    ids=lambda order: '-'.join(order),
)
def test_39_linked_items(dialect, order):
    """A series and an exception of it: one uid, two items, in any order and number."""
    made = {
        'parent': card('u', name='every day'),
        'child': card('u', name='but today', recurrence='20250101'),
    }
    server = dialect.device('S', agent=CardAgent())
    a, b = (dialect.device(name, agent=CardAgent()) for name in 'AB')
    for name in order:
        a.add(made[name])
        sync(a, server)
        sync(b, server)
    assert cards(b) == cards(server) == cards(a)
    assert len(cards(b)) == len(order)
    child = next(i for i, item in a.agent.shelf.items() if item.recurrence)
    a.replace(child, card('u', name='changed', recurrence='20250101'))
    for client in (a, b):
        sync(client, server)
    assert cards(b) == cards(a)
    a.delete(child)
    for client in (a, b):
        sync(client, server)
    assert [values['name'] for values in cards(b)] == ['every day'] * (len(order) - 1)


# --- anchors --------------------------------------------------------------------------------------


def test_40_an_empty_client_begins_with_a_two_way_sync(any_dialect):
    server = any_dialect.device('S', 'x', 'y')
    client = Client(server, any_dialect)
    reply = client.begin(200)
    assert statuses_of(reply, 'Alert') == [508]
    assert [alert.code for alert in commands_of(reply, Alert)] == [201]
    received = client.send()
    assert sorted(url_of(change.items[0]) for change in received) == ['x', 'y']
    client.confirm([(c.items[0].source_uri, f'l{n}') for n, c in enumerate(received)])
    assert client.session(200) == []


def test_41_a_client_from_a_backup_is_told_508(dialect):
    server, client = dialect.device('S', 'x'), dialect.device('C', 'y')
    sync(client, server)
    restore = remember(client)
    edit(client, find(client, 'x'), title='after the backup')
    client.add(bookmark('also after it'))
    sync(client, server)
    client = restore()
    wire = sync(client, server)
    assert [s.code for s in wire.sent(Status, by='server') if s.cmd == 'Alert'] == [508]
    assert [alert.code for alert in wire.sent(Alert, by='server')] == [201]
    settle(server, client)
    assert urls(client) == ['also after it', 'x', 'y'], 'nothing lost, nothing doubled'


def test_41_a_server_from_a_backup_is_told_508(dialect):
    server, client = dialect.device('S', 'x'), dialect.device('C', 'y')
    sync(client, server)
    restore = remember(server)
    edit(client, find(client, 'x'), title='after the backup')
    client.add(bookmark('also after it'))
    sync(client, server)
    server = restore()
    wire = sync(client, server)
    assert 508 in [s.code for s in wire.sent(Status) if s.cmd == 'Alert']
    settle(server, client)
    assert contents(client) == [
        ('also after it', 'title of also after it'),
        ('x', 'after the backup'),
        ('y', 'title of y'),
    ]


def test_41_a_client_that_doubts_the_server_sends_everything(dialect):
    """The foreign server remembers another session: our client says 508 and sends all it has."""
    server = Server(dialect)
    client = dialect.device('C', 'x')
    client.sync(server, transport=server)
    server.last = 'another'
    client.sync(server, transport=server)
    third = server.sessions[1][1]
    assert statuses_of(third, 'Alert') == [508]
    assert [url_of(command.items[0]) for command in commands_of(third, Add)] == ['x']


@pytest.mark.parametrize('number', [2, 3])
def test_42_what_changes_on_the_client_meanwhile_waits(dialect, number):
    server, client = dialect.device('S', 'x'), dialect.device('C')
    sync(client, server)
    server.add(bookmark('theirs'))
    client.add(bookmark('early'))

    def meanwhile(_):
        client.add(bookmark('late'))
        edit(client, find(client, 'x'), title='late too')

    wire = sync(client, server, script={number: meanwhile})
    assert [url_of(command.items[0]) for command in wire.sent(Add, by='client')] == ['early']
    assert wire.sent(Replace) == []
    wire = sync(client, server)
    assert [url_of(command.items[0]) for command in wire.sent(Add, by='client')] == ['late']
    assert len(wire.sent(Replace)) == 1
    settle(server, client)
    assert urls(client) == ['early', 'late', 'theirs', 'x']


def test_42_what_changes_on_the_server_meanwhile_waits(dialect):
    server, client = dialect.device('S', 'x'), dialect.device('C')
    sync(client, server)

    def meanwhile(dev):
        dev.add(bookmark('late'))
        edit(dev, find(dev, 'x'), title='late too')

    wire = sync(client, server, script={3: meanwhile})
    assert wire.sent(Add) == wire.sent(Replace) == []
    wire = sync(client, server)
    assert len(wire.sent(Add, by='server')) == len(wire.sent(Replace, by='server')) == 1
    settle(server, client)


# --- ids that are not as they should be -----------------------------------------------------------


def test_43_replace_of_what_is_not_there_adds_it(dialect):
    server = dialect.device('S')
    client = Client(server, dialect)
    client.begin(201)
    reply = client.say(client.sync(replace('1', 'x')))
    assert statuses_of(reply, 'Replace') == [201]
    client.confirm()
    assert urls(server) == ['x']
    client.session(200, delete('1'))
    assert urls(server) == []


def test_43_add_of_what_is_there_already(dialect):
    server = dialect.device('S')
    client = Client(server, dialect)
    client.session(201, add('1', 'x'), add('2', 'y'))
    client.begin(200)
    reply = client.say(client.sync(add('1', 'x'), add('2', 'y', 'changed')))
    assert statuses_of(reply, 'Add') == [418, 200]
    assert contents(server) == [('x', 'title of x'), ('y', 'changed')]


@pytest.mark.parametrize('code', [404, 410])
def test_44_a_replace_that_finds_nothing_comes_again_as_an_add(dialect, code):
    server = dialect.device('S', 'x')
    client = Client(server, dialect)
    client.session(201, luids='')
    edit(server, find(server, 'x'), title='new')
    client.judge = lambda command: code if isinstance(command, Replace) else 200
    assert [type(change) for change in client.session(200)] == [Replace]
    client.judge = lambda command: 201 if isinstance(command, Add) else 200
    received = client.session(200)
    assert [(type(c), title_of(c.items[0])) for c in received] == [(Add, 'new')]
    assert client.session(200) == []


def test_44_our_client_does_not_have_what_is_to_be_replaced(dialect):
    server = Server(dialect, changes=[replace('nothing', 'x', target=True), add('g', 'y')])
    client = dialect.device('C')
    client.sync(server, transport=server)
    answer = server.requests[-1]
    assert statuses_of(answer, 'Replace')[0] in (404, 410)
    assert statuses_of(answer, 'Add') == [201], 'the session goes on'
    assert urls(client) == ['y']


@pytest.mark.parametrize('number', [2, 3])
def test_44_deleted_on_the_client_while_a_replace_was_on_its_way(dialect, number):
    server, client = dialect.device('S', 'x'), dialect.device('C')
    sync(client, server)
    edit(server, find(server, 'x'), title='new')
    sync(client, server, script={number: lambda _: client.delete(find(client, 'x'))})
    settle(server, client)
    for item_id in client.agent.shelf:
        edit(client, item_id, title='newer')
    settle(server, client)
    assert len(contents(server)) <= 1, 'nothing is doubled'


# --- conflicts ------------------------------------------------------------------------------------


CONFLICTS = [
    (Policy.CLIENT_WINS, 208, ['mine'], []),
    (Policy.SERVER_WINS, 419, ['theirs'], [(Replace, 'theirs')]),
    (Policy.KEEP_BOTH, 209, ['mine', 'theirs'], [(Replace, 'theirs'), (Add, 'mine')]),
]


@pytest.mark.parametrize(('policy', 'code', 'there', 'told'), CONFLICTS)
def test_45_a_conflict_is_settled_by_policy(dialect, policy, code, there, told):
    server = dialect.device('S', policy=policy)
    client = Client(server, dialect)
    client.session(201, add('1', 'x', 'old'))
    edit(server, find(server, 'x'), title='theirs')
    client.begin(200)
    reply = client.say(client.sync(replace('1', 'x', 'mine')))
    assert statuses_of(reply, 'Replace') == [code]
    received = client.rest(reply)
    assert [(type(c), title_of(c.items[0])) for c in received] == told
    assert [title for _, title in contents(server)] == there
    client.confirm([(c.items[0].source_uri, '2') for c in received if isinstance(c, Add)])
    assert client.session(200) == []


def test_45_different_fields_are_merged(dialect):
    server = dialect.device('S')
    client = Client(server, dialect)
    client.session(201, add('1', 'x', 'old'))
    edit(server, find(server, 'x'), title='theirs')
    client.begin(200)
    reply = client.say(client.sync(replace('1', 'mine', 'old')))
    assert statuses_of(reply, 'Replace') == [207]
    [back] = client.rest(reply)
    assert (back.items[0].target_uri, url_of(back.items[0]), title_of(back.items[0])) == (
        '1',
        'mine',
        'theirs',
    )


DELETIONS = [
    # policy, who deletes, Status, what is on the server, what the client is sent
    (Policy.CLIENT_WINS, 'client', 208, [], []),
    (Policy.SERVER_WINS, 'client', 419, ['theirs'], [Add]),
    (Policy.KEEP_BOTH, 'client', 419, ['theirs'], [Add]),
    (Policy.CLIENT_WINS, 'server', 208, ['mine'], []),
    (Policy.SERVER_WINS, 'server', 419, [], [Delete]),
    (Policy.KEEP_BOTH, 'server', 208, ['mine'], []),
]


@pytest.mark.parametrize(('policy', 'by', 'code', 'there', 'told'), DELETIONS)
def test_45_a_deletion_against_a_change(dialect, policy, by, code, there, told):
    server = dialect.device('S', policy=policy)
    client = Client(server, dialect)
    client.session(201, add('1', 'x', 'old'))
    client.begin(200)
    if by == 'client':
        edit(server, find(server, 'x'), title='theirs')
        change = delete('1')
    else:
        server.delete(find(server, 'x'))
        change = replace('1', 'x', 'mine')
    reply = client.say(client.sync(change))
    assert statuses_of(reply, change.name) == [code]
    assert [type(command) for command in client.rest(reply)] == told
    assert [title for _, title in contents(server)] == there


# --- what the server does not do ------------------------------------------------------------------


def test_46_our_server_refuses_what_a_datastore_does_not_take_part_in(dialect):
    server = dialect.device('S', 'x')
    agent = BookmarkAgent()
    agent.addItem(bookmark('y'))
    some = server.context.Store(uri='some', agent=agent, syncTypes=[TWO_WAY, SLOW, PULL])
    server.adapter.addStore(some)
    client = Client(server, dialect)
    client.peer_store = 'some'
    for code, status in ((202, 406), (203, 406), (205, 406), (201, 200)):
        client.new_session()
        reply = client.say(client.put(), client.alert(code))
        assert statuses_of(reply, 'Alert') == [status]
    assert [url_of(c.items[0]) for c in client.send()] == ['y']


def test_46_a_server_may_refuse_a_kind(dialect):
    server = Server(dialect)
    server.alerts = {202: (406, 0)}
    client = dialect.device('C', 'x')
    stats = client.sync(server, PUSH, transport=server)['items']
    assert stats.peerErr == 1
    assert 'does not know this kind of synchronisation' in stats.problems[0]
    assert server.said(Sync) == []
    client.sync(server, transport=server)
    assert [url_of(command.items[0]) for command in server.said(Add)] == ['x']
    assert server.said(Alert)[-1].code == 201, 'the first one moved no anchors'


def test_46_a_server_may_ask_for_a_slow_sync_instead(dialect):
    server = Server(dialect)
    client = dialect.device('C', 'x')
    client.sync(server, transport=server)
    server.keep_anchor()
    server.alerts = {200: (200, 201)}
    stats = client.sync(server, transport=server)['items']
    assert stats.mode is SLOW
    assert len(server.said(Add)) == 2, 'everything again'


@pytest.mark.parametrize('code', [200, 201, 205])
def test_46_a_client_that_wants_to_be_read_only_stays_so(dialect, code):
    """A server that answers 'only to me' with anything that writes here is not followed."""
    server = Server(dialect, changes=[add('g', 'theirs')])
    server.alerts = {202: (200, code)}
    client = dialect.device('C', 'x')
    stats = client.sync(server, PUSH, transport=server)['items']
    assert stats.hereErr == 1
    assert urls(client) == ['x']
    assert server.said(Sync) == []


def test_47_two_datastores_one_of_which_fails(dialect):
    server = dialect.device('S', 'x')
    client = dialect.device('C', 'y')
    more = BookmarkAgent()
    client.adapter.addStore(client.context.Store(uri='more', agent=more))
    client.adapter.routes = {'items': 'items', 'more': 'nowhere'}
    wire = Watched(server)
    stats = client.sync(server, transport=wire)
    codes = [s.code for s in wire.sent(Status, by='server') if s.cmd == 'Alert']
    assert sorted(codes) == [200, 404]
    assert (stats['items'].errors, stats['more'].errors) == (0, 1)
    assert urls(client) == urls(server) == ['x', 'y']


def test_47_two_datastores_in_one_session(dialect):
    server, client = dialect.device('S', 'x'), dialect.device('C', 'y')
    shelves = []
    for dev, url in ((server, 'p'), (client, 'q')):
        agent = BookmarkAgent()
        shelves.append(agent.shelf)
        agent.addItem(bookmark(url))
        dev.adapter.addStore(dev.context.Store(uri='more', agent=agent))
    wire = sync(client, server)
    assert len(wire.sent(Alert, by='client')) >= 2
    assert urls(client) == urls(server) == ['x', 'y']
    for shelf in shelves:
        assert sorted(item.url for item in shelf.values()) == ['p', 'q']
    assert_quiet(sync(client, server))


def test_48_a_session_that_is_over_does_not_begin_again(dialect):
    """The extension by which some sessions begin again is not announced: one sync, one session."""
    server = dialect.device('S', 'x')
    client = Client(server, dialect)
    reply = client.say(client.put(), client.get(), client.alert(201))
    [results] = [c for c in reply.commands if c.name == 'Results']
    kinds = {kind for store in results.items[0].data.stores for kind in store.sync_types}
    assert max(kinds) < 390000
    [received] = client.send()
    client.confirm([(received.items[0].source_uri, '1')])
    client.referee.judges = ()
    reply = client.say(client.alert(200))
    assert header_status(reply) >= 400
    client.new_session()
    assert client.session(200) == []


# --- types ----------------------------------------------------------------------------------------


class CardTypes(BookmarkAgent):
    """Writes items in two types, and says in which one each item came."""

    contentTypes = [
        pysyncml.ContentTypeInfo('text/x-vcard', '2.1'),
        pysyncml.ContentTypeInfo('text/vcard', '3.0', preferred=True),
    ]

    def __init__(self):
        super().__init__()
        self.read = []
        self.written = []

    def dumpsItem(self, item, contentType=None, version=None):
        self.written.append((contentType, version))
        return item.dumps(contentType, version)

    def loadsItem(self, data, contentType=None, version=None):
        self.read.append(contentType)
        return self.itemClass.loads(data, contentType, version)


@pytest.mark.parametrize(('ctype', 'version'), [('text/x-vcard', '2.1'), ('text/vcard', '3.0')])
def test_49_each_side_gets_the_type_it_takes(dialect, ctype, version):
    agent = CardTypes()
    server = dialect.device('S', 'x', agent=agent)
    client = Client(server, dialect)
    types = (ContentTypeInfo(ctype, version, preferred=True),)
    devinf = client.devinf(content_types=types)
    client.say(client.put(devinf), client.alert(201))
    [received] = client.send()
    assert (received.meta or received.items[0].meta).type == ctype
    assert agent.written[-1] == (ctype, version)


def test_49_two_devices_agree_on_what_both_prefer(dialect):
    server, client = (dialect.device(n, n, agent=CardTypes()) for n in 'SC')
    sync(client, server)
    assert urls(client) == urls(server) == ['C', 'S']
    assert set(client.agent.read + server.agent.read) == {'text/vcard'}
