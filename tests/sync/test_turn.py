"""Whole sessions on the wire: what is said, in which order, and what is refused."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import re

import pytest

import pysyncml
from pysyncml.constants import SyncType
from pysyncml.errors import (
    AuthError,
    InvalidAdapter,
    InvalidCredentials,
    MissingCredentials,
    RemoteProtocolError,
)
from pysyncml.protocol import auth
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Anchor,
    Atomic,
    Cred,
    Delete,
    Get,
    Header,
    Item,
    Location,
    Map,
    MapItem,
    Message,
    Meta,
    Put,
    Replace,
    Results,
    Search,
    Status,
    Sync,
)
from pysyncml.state.records import BindingRecord
from pysyncml.transport import LoopbackTransport, Request
from tests.sync.support import (
    BookmarkAgent,
    Script,
    Wire,
    bookmark,
    contents,
    device,
    edit,
    find,
    shape,
    statuses,
    urls,
)


class Numbered(BookmarkAgent):
    """Ids are a letter and a number, so that they can be foretold."""

    def __init__(self, letter):
        super().__init__()
        self.letter = letter
        self.numbers = itertools.count(1)

    def addItem(self, item):
        super().addItem(item)
        del self.shelf[item.id]
        item.id = f'{self.letter}{next(self.numbers)}'
        self.shelf[item.id] = item
        return item


def shapes(wire):
    """Return all messages in short, with anchors named in the order in which they appear."""
    text = '\n'.join(
        line
        for request, answer in zip(wire.requests, wire.answers, strict=True)
        for line in ('c:', *shape(request), 's:', *shape(answer))
    )
    for name, number in zip('abcd', dict.fromkeys(re.findall(r'\d{10,}', text)), strict=False):
        text = text.replace(number, name)
    return text.splitlines()


def lines(text):
    return [line.strip() for line in text.strip().splitlines()]


# --- the order on the wire ------------------------------------------------------------------------


@pytest.fixture
def pair():
    server = device('S', 'theirs', 'doomed', agent=Numbered('g'), uri='notes')
    client = device('C', 'ours', 'gone', agent=Numbered('l'), uri='n')
    client.adapter.routes = {'n': 'notes'}
    clock = server.context.clock
    server.context.clock = lambda: clock() + 5  # so that no anchors are equal by chance
    return client, server


def test_a_first_session(pair):
    client, server = pair
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert shapes(wire) == lines("""
        c:
        Put#1(S=./devinf12)
        Get#2(T=./devinf12)
        Alert#3(201,T=notes,S=n,Last=,Next=a)
        Final
        s:
        Status#1(M1,0,SyncHdr,T=http://S/,S=C,200)
        Status#2(M1,1,Put,S=./devinf12,200)
        Status#3(M1,2,Get,T=./devinf12,200)
        Results#4(M1,2,S=./devinf12)
        Status#5(M1,3,Alert,T=notes,S=n,Next=a,200)
        Alert#6(201,T=n,S=notes,Last=,Next=b)
        Final
        c:
        Status#1(M1,0,SyncHdr,T=C,S=http://S/,200)
        Status#2(M1,4,Results,S=./devinf12,200)
        Status#3(M1,6,Alert,T=n,S=notes,Next=b,200)
        Sync#4(T=notes,S=n,2)
        Add#5(S=l1)
        Add#6(S=l2)
        Final
        s:
        Status#1(M2,0,SyncHdr,T=http://S/,S=C,200)
        Status#2(M2,4,Sync,T=notes,S=n,200)
        Status#3(M2,5,Add,S=l1,201)
        Status#4(M2,6,Add,S=l2,201)
        Sync#5(T=n,S=notes,2)
        Add#6(S=g1)
        Add#7(S=g2)
        Final
        c:
        Status#1(M2,0,SyncHdr,T=C,S=http://S/,200)
        Status#2(M2,5,Sync,T=n,S=notes,200)
        Status#3(M2,6,Add,S=g1,201)
        Status#4(M2,7,Add,S=g2,201)
        Map#5(T=notes,S=n,g1=l3,g2=l4)
        Final
        s:
        Status#1(M3,0,SyncHdr,T=http://S/,S=C,200)
        Status#2(M3,5,Map,T=notes,S=n,200)
        Final
    """)


def test_a_session_with_everything_in_both_directions(pair):
    client, server = pair
    client.sync(server)
    client.add(bookmark('new here'))
    edit(client, 'l1', title='changed here')
    client.delete('l2')
    server.add(bookmark('new there'))
    edit(server, 'g1', title='changed there')
    server.delete('g2')
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert shapes(wire) == lines(
        """
        c:
        Alert#1(200,T=notes,S=n,Last=a,Next=b)
        Final
        s:
        Status#1(M1,0,SyncHdr,T=http://S/,S=C,200)
        Status#2(M1,1,Alert,T=notes,S=n,Next=b,200)
        Alert#3(200,T=n,S=notes,Last=c,Next=d)
        Final
        c:
        Status#1(M1,0,SyncHdr,T=C,S=http://S/,200)
        Status#2(M1,3,Alert,T=n,S=notes,Next=d,200)
        Sync#3(T=notes,S=n,3)
        Add#4(S=l5)
        Replace#5(S=l1)
        Delete#6(S=l2)
        Final
        s:
        Status#1(M2,0,SyncHdr,T=http://S/,S=C,200)
        Status#2(M2,3,Sync,T=notes,S=n,200)
        Status#3(M2,4,Add,S=l5,201)
        Status#4(M2,5,Replace,S=l1,200)
        Status#5(M2,6,Delete,S=l2,200)
        Sync#6(T=n,S=notes,3)
        Add#7(S=g5)
        Replace#8(T=l3)
        Delete#9(T=l4)
        Final
        c:
        Status#1(M2,0,SyncHdr,T=C,S=http://S/,200)
        Status#2(M2,6,Sync,T=n,S=notes,200)
        Status#3(M2,7,Add,S=g5,201)
        Status#4(M2,8,Replace,T=l3,200)
        Status#5(M2,9,Delete,T=l4,200)
        Map#6(T=notes,S=n,g5=l6)
        Final
        s:
        Status#1(M3,0,SyncHdr,T=http://S/,S=C,200)
        Status#2(M3,6,Map,T=notes,S=n,200)
        Final
    """.replace('g6', 'g5')
    )
    assert contents(client) == contents(server)


def test_a_session_with_nothing_to_say(pair):
    client, server = pair
    client.sync(server)
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert shapes(wire)[9:] == lines("""
        Status#1(M1,0,SyncHdr,T=C,S=http://S/,200)
        Status#2(M1,3,Alert,T=n,S=notes,Next=d,200)
        Sync#3(T=notes,S=n,0)
        Final
        s:
        Status#1(M2,0,SyncHdr,T=http://S/,S=C,200)
        Status#2(M2,3,Sync,T=notes,S=n,200)
        Sync#3(T=n,S=notes,0)
        Final
        c:
        Status#1(M2,0,SyncHdr,T=C,S=http://S/,200)
        Status#2(M2,3,Sync,T=n,S=notes,200)
        Final
        s:
        Status#1(M3,0,SyncHdr,T=http://S/,S=C,200)
        Final
    """)


def test_strangers_introduce_themselves_first():
    server, client = device('S', uri='a'), device('C', uri='b')
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert [command.name for command in wire.requests[0].commands] == ['Put', 'Get']
    assert not wire.requests[0].final
    assert wire.sent(Alert, by='client')[0].items[0].target_uri == 'a'
    second = Wire(server)
    client.sync(server, transport=second)
    assert second.sent(Put) == second.sent(Get) == second.sent(Results) == []


def test_a_changed_device_says_so():
    server, client = device('S'), device('C')
    client.sync(server)
    client.adapter.record.devinf = {**client.adapter.record.devinf, 'modelName': 'new'}
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert [put.items[0].data.device.modelName for put in wire.sent(Put)] == ['new']
    assert server.adapter.getKnownPeers()[0].devinfo.modelName == 'new'
    assert wire.sent(Get) == []


def test_large_packages_are_split_and_asked_for():
    server = device('S', *(f'theirs{n}' for n in range(20)))
    client = device('C', *(f'ours{n}' for n in range(20)), maxMsgSize=4000)
    server.adapter.record.max_msg_size = 4000
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert contents(client) == contents(server)
    assert len(contents(client)) == 40
    assert max(request for request, _ in wire.sizes) <= 4000
    assert sum(alert.code == 222 for alert in wire.sent(Alert, by='client')) >= 3
    assert sum(alert.code == 222 for alert in wire.sent(Alert, by='server')) >= 3
    assert len(wire.sent(Add)) == 40
    counts = [sync.number_of_changes for sync in wire.sent(Sync, by='client')]
    assert counts[0] == 20, 'said once, for all of them'
    assert set(counts[1:]) == {None}


def test_a_limit_holds_from_the_message_that_says_it():
    server, client = device('S', maxMsgSize=3500), device('C')
    client.sync(server)
    for n in range(30):
        client.add(bookmark(f'ours{n}'))
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert max(request for request, _ in wire.sizes) <= 3500
    assert contents(client) == contents(server)


def test_answers_keep_to_the_size_the_client_can_take():
    server = device('S', *(f'theirs{n}' for n in range(20)))
    client = device('C', *(f'ours{n}' for n in range(60)), maxMsgSize=5000)
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert max(answer for _, answer in wire.sizes) <= 5000


# --- anchors --------------------------------------------------------------------------------------


def anchors(dev):
    with dev.context.work():
        [store] = dev.adapter.getKnownPeers()[0].stores.values()
    return store.binding.sourceAnchor, store.binding.targetAnchor


def test_anchors_are_equal_crosswise():
    server, client = device('S'), device('C')
    for _ in range(3):
        client.sync(server)
        assert anchors(client) == anchors(server)[::-1]


def test_anchors_grow_even_if_the_clock_stands_still():
    server, client = device('S'), device('C')
    client.context.clock = server.context.clock = lambda: 1.0
    seen = set()
    for _ in range(3):
        client.sync(server)
        seen.add(anchors(client))
    assert len(seen) == 3


def test_copies_that_begin_in_one_millisecond_do_not_have_one_anchor():
    seen = set()
    for moment in (1.0, 1.0001):
        server, client = device('S'), device('C')
        client.context.clock = lambda moment=moment: moment
        client.sync(server)
        seen.add(anchors(client)[0])
    assert len(seen) == 2


def test_a_client_with_a_wrong_anchor_gets_508_and_a_slow_sync():
    server, client = device('S', 'theirs'), device('C', 'ours')
    client.sync(server)
    set_anchor(client, our_anchor='12345')
    wire = Wire(server)
    stats = client.sync(server, transport=wire)['items']
    [status] = [s for s in wire.sent(Status, by='server') if s.cmd == 'Alert']
    assert status.code == 508
    assert [alert.code for alert in wire.sent(Alert, by='server')] == [201]
    assert stats.mode is SyncType.SLOW_SYNC
    assert (stats.here, stats.errors) == (0, 0)
    assert contents(client) == contents(server)
    assert len(contents(client)) == 2
    assert set(statuses(wire.answers[-2]).values()) <= {200, 418}, 'nothing was new'
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert wire.sent(Alert, by='server')[0].code == 200


def set_anchor(dev, **values):
    with dev.context.work() as work:
        [record] = work.records.find(BindingRecord)
        for name, value in values.items():
            setattr(record, name, value)
        work.records.save(record)


def test_a_server_with_a_wrong_anchor_gets_508_and_everything():
    server, client = device('S', 'theirs'), device('C', 'ours')
    client.sync(server)
    set_anchor(client, peer_anchor='12345')
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert [s.code for s in wire.sent(Status, by='client') if s.cmd == 'Alert'] == [508]
    assert len(wire.sent(Add, by='client')) == 2
    assert wire.sent(Add, by='server') == []
    assert contents(client) == contents(server)
    assert len(contents(client)) == 2


def test_changes_made_before_a_508_are_not_lost():
    server, client = device('S', 'a', 'b'), device('C', 'c', 'd')
    client.sync(server)
    set_anchor(client, our_anchor='12345')
    edit(client, find(client, 'a'), title='changed here')
    edit(server, find(server, 'c'), title='changed there')
    client.add(bookmark('new here'))
    server.add(bookmark('new there'))
    client.sync(server)
    assert contents(client) == contents(server)
    assert urls(client) == ['a', 'b', 'c', 'd', 'new here', 'new there']
    assert ('a', 'changed here') in contents(server)
    assert ('c', 'changed there') in contents(client)


def test_a_client_with_new_memory_is_not_doubled():
    server, client = device('S', 'theirs'), device('C', 'ours')
    client.sync(server)
    again = device('C', agent=client.agent)
    stats = again.sync(server)['items']
    assert (stats.here, stats.peer) == (0, 0)
    assert contents(client) == contents(server)
    assert len(contents(client)) == 2


def test_a_server_with_new_memory_is_not_doubled():
    server, client = device('S', 'theirs'), device('C', 'ours')
    client.sync(server)
    again = device('S', agent=server.agent)
    client.sync(again)
    assert contents(client) == contents(server)
    assert len(contents(client)) == 2
    edit(client, find(client, 'theirs'), title='changed')
    client.sync(again)
    assert contents(client) == contents(server)


def test_an_anchor_echoed_wrongly_is_told():
    server, client = device('S'), device('C')
    client.sync(server)

    class Liar(Wire):
        def exchange(self, request):
            response = super().exchange(request)
            body = re.sub(
                rb'(<Data><Anchor[^>]*>(?:<Last>\d*</Last>)?<Next>)\d+', rb'\g<1>7', response.body
            )
            return dataclasses.replace(response, body=body)

    stats = client.sync(server, transport=Liar(server))['items']
    assert 'the other side echoed a wrong anchor' in stats.problems


# --- what a server refuses ------------------------------------------------------------------------


def header(msg_id='1', session_id='1', **values):
    values = {'target': Location('http://S/'), 'source': Location('D')} | values
    return Header(session_id=session_id, msg_id=msg_id, **values)


def alert(code=200, target='items', source='x', number='1', last=None):
    meta = Meta(anchor=Anchor(next='2', last=last))
    item = Item(target=Location(target), source=Location(source), meta=meta)
    return Alert(cmd_id=number, code=code, items=(item,))


def post(server, *commands, final=True, **values):
    """Send *commands* to *server* as a client would; return the decoded answer."""
    return Script(server).post(Message(header=header(**values), commands=commands, final=final))


def test_an_unknown_datastore_is_404():
    server = device('S')
    reply = post(server, alert(target='other'), alert(number='2'))
    assert statuses(reply) == {'0': 200, '1': 404, '2': 508}
    assert [a.items[0].source_uri for a in reply.walk() if isinstance(a, Alert)] == ['items']


def test_a_client_ends_when_there_is_no_such_datastore():
    server, client = device('S', uri='theirs'), device('C', uri='ours')
    client.adapter.routes = {'ours': 'nothing'}
    stats = client.sync(server)['ours']
    assert stats.peerErr == 1
    assert 'there is no datastore "nothing"' in stats.problems[0]


def test_no_type_in_common_is_415():
    agent = BookmarkAgent()
    agent.contentTypes = [pysyncml.ContentTypeInfo('text/x-other', '1.0', preferred=True)]
    server, client = device('S', 'a'), device('C', agent=agent)
    client.adapter.routes = {'items': 'items'}
    wire = Wire(server)
    stats = client.sync(server, transport=wire)['items']
    assert [s.code for s in wire.sent(Status, by='server') if s.cmd == 'Alert'] == [415]
    assert 'content types' in stats.problems[0]
    assert urls(client) == []


def test_datastores_without_a_common_type_are_not_paired():
    agent = BookmarkAgent()
    agent.contentTypes = [pysyncml.ContentTypeInfo('text/x-other', '1.0', preferred=True)]
    server, client = device('S', 'a'), device('C', agent=agent)
    wire = Wire(server)
    with pytest.raises(pysyncml.NoSuchRoute, match='nothing that goes with "items"'):
        client.sync(server, transport=wire)
    assert {alert.code for alert in wire.sent(Alert)} == {222}


@pytest.mark.parametrize('code', [206, 207, 208, 209, 210, 221, 226, 250, 666])
def test_other_alerts_are_406(code):
    reply = post(device('S'), alert(code=code))
    assert statuses(reply) == {'0': 200, '1': 406}


@pytest.mark.parametrize(('code', 'status'), [(100, 200), (222, 200), (201, 200), (200, 508)])
def test_known_alerts_are_taken(code, status):
    assert statuses(post(device('S'), alert(code=code)))['1'] == status


def test_a_failed_datastore_does_not_hold_up_the_others():
    server = device('S', 'a')
    client = device('C', 'b')
    other = BookmarkAgent()
    client.adapter.addStore(client.context.Store(uri='more', agent=other))
    client.adapter.routes = {'items': 'items', 'more': 'nothing'}
    stats = client.sync(server)
    assert urls(server) == ['a', 'b']
    assert (stats['items'].errors, stats['more'].errors) == (0, 1)


def test_optional_commands_are_refused():
    server = device('S')
    post(server, alert(code=201))
    reply = post(
        server,
        Atomic(cmd_id='1', commands=(Add(cmd_id='2'),)),
        Search(cmd_id='3'),
        Sync(
            cmd_id='4',
            target=Location('items'),
            source=Location('x'),
            commands=(Atomic(cmd_id='5'),),
        ),
        msg_id='2',
    )
    assert statuses(reply) == {
        '0': 200,
        '1': 507,  # for what it contains may not stand there
        '2': 405,
        '3': 501,
        '4': 200,
        '5': 406,  # as these bookmarks cannot be put back
    }


def test_what_may_not_be_said_is_405_and_the_session_goes_on():
    server = device('S')
    item = Item(source=Location('1'), data=b'{"url": "x", "title": null}')
    post(server, alert(code=201))
    sync = Sync(
        cmd_id='2', target=Location('items'), source=Location('x'), commands=(_add('3', item),)
    )
    reply = post(server, _add('1', item), sync, msg_id='2')
    assert statuses(reply) == {'0': 200, '1': 405, '2': 200, '3': 201}
    reply = post(server, dataclasses.replace(sync, cmd_id='1'), msg_id='3')
    assert statuses(reply)['1'] == 405, 'after its own Final a client has no more changes'
    assert urls(server) == ['x']


def _add(number, item):
    return Add(cmd_id=number, meta=Meta(type='text/x-bookmark'), items=(item,))


def test_commands_for_an_unknown_datastore_are_all_404():
    server = device('S')
    post(server, alert(code=201))
    item = Item(source=Location('1'), data=b'{}')
    sync = Sync(cmd_id='1', target=Location('no'), commands=(_add('2', item), Delete(cmd_id='3')))
    reply = post(server, sync, Map(cmd_id='4', target=Location('no')), msg_id='2')
    assert statuses(reply) == {'0': 200, '1': 404, '2': 404, '3': 404, '4': 404}


def test_items_that_cannot_be_taken_cost_themselves_only(caplog):
    caplog.set_level(logging.CRITICAL)
    server = device('S')

    def refuse(item):
        if item.url in errors:
            raise errors[item.url]
        return BookmarkAgent.addItem(server.agent, item)

    errors = {
        'full': OSError(28, 'No space left on device'),
        'gone': KeyError('x'),
        'large': pysyncml.ItemTooLarge('too large'),
        'bug': RuntimeError('secret details'),
    }
    server.agent.addItem = refuse
    post(server, alert(code=201))
    adds = [
        _add(str(n), Item(source=Location(str(n)), data=f'{{"url": "{url}"}}'.encode()))
        for n, url in enumerate(['full', 'gone', 'large', 'bug', 'good'], 2)
    ]
    adds.append(_add('7', Item(source=Location('7'), data=b'no json')))
    adds.append(_add('8', Item(data=b'{"url": "no id"}')))
    adds.append(_add('9', Item(source=Location('9'), data=Anchor(next='1'))))
    sync = Sync(cmd_id='1', target=Location('items'), commands=tuple(adds))
    reply = post(server, sync, msg_id='2')
    codes = statuses(reply)
    assert [codes[str(n)] for n in range(2, 10)] == [420, 404, 413, 500, 201, 500, 400, 400]
    assert urls(server) == ['good']
    told = b''.join(i.data or b'' for s in reply.commands if isinstance(s, Status) for i in s.items)
    assert b'secret' not in told
    assert b'too large' in told


def test_nothing_of_a_failed_item_stays_in_the_database():
    server = device('S')

    def half(item):
        server.context.currentWork.set_option('half', True)
        server.context.dbsession.flush()
        raise pysyncml.StoreFull('full')

    server.agent.addItem = half
    post(server, alert(code=201))
    item = Item(source=Location('1'), data=b'{"url": "x"}')
    reply = post(
        server, Sync(cmd_id='1', target=Location('items'), commands=(_add('2', item),)), msg_id='2'
    )
    assert statuses(reply)['2'] == 420
    assert server.context.options.get('half') is None


def test_get_of_anything_but_device_information_is_404():
    get = Get(cmd_id='1', items=(Item(target=Location('./passwords')),))
    put = Put(cmd_id='2', items=(Item(source=Location('./x'), data=b'x'),))
    assert statuses(post(device('S'), get, put)) == {'0': 200, '1': 404, '2': 404}


def test_an_unknown_version_is_513():
    reply = post(device('S'), alert(), version='2.0', dtd_version='2.0')
    assert statuses(reply) == {'0': 513}


def test_a_session_that_is_not_known_is_512():
    reply = post(device('S'), Status(cmd_id='1', msg_ref='1', cmd_ref='0'), msg_id='2')
    assert statuses(reply) == {'0': 512}


def test_no_syncml_at_all_is_an_http_error():
    server = device('S')
    kind = {'content-type': 'application/vnd.syncml+xml'}
    for body in (b'<html>', b'', b'\x00\x01'):
        assert server.handle(Request(url='http://S/', headers=kind, body=body)).status == 400


def test_a_failing_server_says_so_without_details(caplog):
    caplog.set_level(logging.CRITICAL)
    server, client = device('S', 'a'), device('C')

    def fail():
        raise RuntimeError('secret details')

    server.agent.allItemIDs = fail
    with pytest.raises(RemoteProtocolError, match='status 500: the server has failed') as caught:
        client.sync(server)
    assert 'secret' not in str(caught.value)


def test_a_client_needs_to_know_whom_to_ask():
    with pytest.raises(InvalidAdapter, match='no server'):
        device('C').adapter.sync()


# --- who may come in ------------------------------------------------------------------------------


@pytest.fixture
def guarded():
    server = device('S', 'secret bookmark', uri='items')
    server.context.setAccounts({'me': 'right', 'you': 'other'})
    return server


def log_in(client, name, password):
    client.adapter.peer = client.context.RemoteAdapter(
        url='https://S/', username=name, password=password
    )


def everything(dev):
    with dev.context.work() as work:
        return {
            table.name: work.connection.execute(table.select()).all()
            for table in work.tables.metadata.sorted_tables
        }


@pytest.mark.parametrize(
    ('cred', 'code'),
    [
        (None, 407),
        (auth.basic('me', 'wrong'), 401),
        (auth.basic('me', ''), 401),
        (auth.basic('nobody', 'right'), 401),
        (auth.basic('', ''), 401),
        (auth.basic('you', 'right'), 401),
        (Cred(data='garbage', type='syncml:auth-basic'), 401),
        (Cred(data='ÿ', type='syncml:auth-basic'), 401),
        (Cred(data='x', type='syncml:auth-md5', format='b64'), 401),
        (Cred(data='x', type='syncml:auth-x509', format='b64'), 406),
    ],
)
def test_who_does_not_belong_here_gets_nothing(guarded, cred, code):
    before = everything(guarded)
    item = Item(source=Location('1'), data=b'{"url": "x"}')
    sync = Sync(cmd_id='3', target=Location('items'), commands=(_add('4', item),))
    get = Get(cmd_id='1', items=(Item(target=Location('./devinf12')),))
    reply = post(guarded, get, alert(number='2'), sync, cred=cred)
    assert {s.cmd_ref: s.code for s in reply.commands} == dict.fromkeys('01234', code)
    assert all(s.chal.type == 'syncml:auth-basic' for s in reply.commands)
    assert reply.final
    assert everything(guarded) == before
    assert urls(guarded) == ['secret bookmark']


def test_the_right_password_opens(guarded):
    client = device('C', 'mine')
    log_in(client, 'me', 'right')
    wire = Wire(guarded)
    client.sync(guarded, transport=wire)
    assert urls(client) == urls(guarded) == ['mine', 'secret bookmark']
    codes = [s.code for s in wire.sent(Status, by='server') if s.cmd == 'SyncHdr']
    assert codes[0] == 212
    assert [m.header.cred is not None for m in wire.requests] == [True] + [False] * (len(codes) - 1)


@pytest.mark.parametrize(
    ('name', 'password', 'error'),
    [
        (None, None, MissingCredentials),
        ('me', 'wrong', InvalidCredentials),
        ('me', None, InvalidCredentials),
    ],
)
def test_a_client_is_told(guarded, name, password, error):
    client = device('C', 'mine')
    log_in(client, name, password)
    with pytest.raises(error) as caught:
        client.sync(guarded)
    assert isinstance(caught.value, AuthError)
    assert caught.value.exit_code == 7
    assert urls(client) == ['mine']
    assert urls(guarded) == ['secret bookmark']
    assert guarded.adapter.getKnownPeers() == []
    log_in(client, 'me', 'right')
    client.sync(guarded)
    assert urls(client) == ['mine', 'secret bookmark']


def test_a_session_of_another_cannot_be_taken_over(guarded):
    post(guarded, alert(code=201), cred=auth.basic('me', 'right'))
    guarded.context.setAccounts({'you': 'other'})
    reply = post(guarded, Alert(cmd_id='1', code=222), msg_id='2')
    assert statuses(reply) == {'0': 407, '1': 407}


def test_a_new_session_needs_new_credentials(guarded):
    post(guarded, alert(code=201), cred=auth.basic('me', 'right'))
    for values in ({'msg_id': '1', 'session_id': '1'}, {'msg_id': '2', 'session_id': '2'}):
        reply = post(guarded, alert(), **values)
        assert statuses(reply) == {'0': 407, '1': 407}
    reply = post(guarded, alert(), source=Location('other'), msg_id='2')
    assert statuses(reply) == {'0': 407, '1': 407}


def test_the_password_is_stored_nowhere(guarded):
    client = device('C')
    log_in(client, 'me', 'right')
    client.sync(guarded)
    for dev in (client, guarded):
        assert 'right' not in repr(everything(dev))
        assert auth.basic('me', 'right').data not in repr(everything(dev))


# --- the same message again, and programs that end in between -------------------------------------


def test_every_message_may_be_delivered_twice():
    for number in range(1, 5):
        server, client = device('S', 'theirs'), device('C', 'ours')
        stats = client.sync(server, transport=Wire(server, {number: 'twice'}))['items']
        assert urls(client) == urls(server) == ['ours', 'theirs']
        assert (stats.hereAdd, stats.peerAdd) == (1, 1)
        assert len(server.agent.shelf) == 2


def test_a_repeated_message_gets_the_same_bytes_and_does_nothing():
    server = device('S', 'theirs')
    script = Script(server)
    item = Item(source=Location('1'), data=b'{"url": "x"}')
    sync = Sync(cmd_id='1', target=Location('items'), commands=(_add('2', item),))
    first = Message(header=header(), commands=(alert(code=201),), final=True)
    second = Message(header=header('2'), commands=(sync,), final=True)
    for message in (first, second):
        script.post(message)
        answer, state = script.last, everything(server)
        for _ in range(2):
            server.restart()
            script.post(message)
            assert script.last == answer
            assert everything(server) == state
    assert urls(server) == ['theirs', 'x']


def test_a_message_out_of_order_is_refused():
    server = device('S')
    script = Script(server)
    script.post(Message(header=header(), commands=(alert(code=201),), final=True))
    script.post(Message(header=header('2'), commands=(), final=True))
    other = Message(header=header('2'), commands=(Alert(cmd_id='1', code=222),), final=True)
    assert statuses(script.post(other)) == {'0': 400}
    assert statuses(script.post(dataclasses.replace(other, header=header('3'))))['0'] == 200


@pytest.mark.parametrize('size', [None, 3000])
def test_a_server_may_restart_between_any_two_messages(size):
    server = device('S', *(f'theirs{n}' for n in range(12)), maxMsgSize=size)
    client = device('C', *(f'ours{n}' for n in range(12)), maxMsgSize=size)
    wire = Wire(server, restart=True)
    client.sync(server, transport=wire)
    assert len(wire.requests) >= (4 if size is None else 8)
    assert contents(client) == contents(server)
    assert len(contents(client)) == 24
    client.restart()
    wire = Wire(server, restart=True)
    stats = client.sync(server, transport=wire)['items']
    assert (stats.here, stats.peer) == (0, 0)


BREAKS = pytest.mark.parametrize(
    ('event', 'number'), list(itertools.product(['lost request', 'lost answer'], [1, 2, 3, 4]))
)


def break_off(client, server, event, number):
    """Begin a session that does not come to its end, and start both programs anew."""
    with pytest.raises(pysyncml.TransportError):
        client.sync(server, transport=Wire(server, {number: event}))
    client.restart()
    server.restart()


def change_both(client, server):
    client.delete(find(client, 'doomed here'))
    server.delete(find(server, 'doomed there'))
    edit(client, find(client, 'ours'), title='changed here')
    edit(server, find(server, 'theirs'), title='changed there')


def assert_in_step(client, server):
    for _ in range(2):
        client.sync(server)
    assert contents(client) == contents(server)
    stats = client.sync(server)['items']
    assert (stats.here, stats.peer, stats.errors) == (0, 0, 0)


@BREAKS
def test_the_first_session_may_break_anywhere(event, number, monkeypatch):
    monkeypatch.setattr('pysyncml.conversation.RETRIES', ())
    server, client = device('S', 'theirs', 'doomed there'), device('C', 'ours', 'doomed here')
    break_off(client, server, event, number)
    change_both(client, server)
    break_off(client, server, event, min(number, 3))
    assert_in_step(client, server)
    # no twins and no change lost; a deletion may be undone, as nobody knew of the item yet
    assert dict(contents(client)).items() >= {('ours', 'changed here'), ('theirs', 'changed there')}
    assert set(urls(client)) <= {'ours', 'theirs', 'doomed here', 'doomed there'}
    assert len(urls(client)) == len(set(urls(client)))


@BREAKS
def test_later_sessions_may_break_anywhere(event, number, monkeypatch):
    monkeypatch.setattr('pysyncml.conversation.RETRIES', ())
    server, client = device('S', 'theirs', 'doomed there'), device('C', 'ours', 'doomed here')
    client.sync(server)
    change_both(client, server)
    client.add(bookmark('new here'))
    server.add(bookmark('new there'))
    break_off(client, server, event, min(number, 3))
    assert_in_step(client, server)
    assert contents(client) == [
        ('new here', 'title of new here'),
        ('new there', 'title of new there'),
        ('ours', 'changed here'),
        ('theirs', 'changed there'),
    ]


@pytest.mark.parametrize('event', ['lost request', 'lost answer'])
@pytest.mark.parametrize('number', [2, 3, 4])
def test_a_lost_message_is_sent_again(event, number, monkeypatch):
    monkeypatch.setattr('pysyncml.conversation.RETRIES', (0,))
    server, client = device('S', 'theirs'), device('C', 'ours')
    wire = Wire(server, {number: event})
    client.sync(server, transport=wire)
    assert wire.requests[number] == wire.requests[number - 1]
    assert urls(client) == urls(server) == ['ours', 'theirs']


def test_a_broken_session_is_told_of(monkeypatch):
    monkeypatch.setattr('pysyncml.conversation.RETRIES', ())
    server, client = device('S', 'theirs'), device('C', 'ours')
    told = []
    server.adapter.onEnd = lambda peer, stats, how: told.append((peer.devID, stats, how))
    with pytest.raises(pysyncml.TransportError):
        client.sync(server, transport=Wire(server, {4: 'lost request'}))
    assert told == []
    client.sync(server)
    assert [(name, how) for name, _, how in told] == [('C', 'broken off'), ('C', 'done')]
    assert told[0][1]['items'].hereAdd == 1


def test_old_conversations_are_forgotten():
    server = device('S')
    post(server, alert(), session_id='1', source=Location('first'))
    clock = server.context.clock
    server.context.clock = lambda: clock() + 7200
    post(server, alert(), source=Location('second'))
    reply = post(server, Alert(cmd_id='1', code=222), msg_id='2', source=Location('first'))
    assert statuses(reply) == {'0': 512}
    reply = post(server, alert(), msg_id='2', source=Location('first'))
    assert statuses(reply)['0'] == 200, 'who asks to synchronise may begin a new session'
    reply = post(
        server, Status(cmd_id='1', msg_ref='1', cmd_ref='0'), msg_id='3', source=Location('third')
    )
    assert statuses(reply) == {'0': 512}


# --- ids ------------------------------------------------------------------------------------------


def test_an_add_whose_answer_was_lost_is_not_doubled():
    server = device('S')
    item = Item(source=Location('1'), data=b'{"url": "x", "title": "old"}')
    new = dataclasses.replace(item, data=b'{"url": "x", "title": "new"}')
    post(server, alert(code=201))
    sync = Sync(cmd_id='1', target=Location('items'), commands=(_add('2', item), _add('3', new)))
    assert statuses(post(server, sync, msg_id='2')) == {'0': 200, '1': 200, '2': 201, '3': 200}
    assert contents(server) == [('x', 'new')]


def test_a_replace_of_an_unknown_item_adds_it():
    server = device('S')
    post(server, alert(code=201))
    item = Item(source=Location('1'), data=b'{"url": "x", "title": "t"}')
    replace = Replace(cmd_id='2', meta=Meta(type='text/x-bookmark'), items=(item,))
    gone = Delete(cmd_id='3', items=(Item(source=Location('unknown')),))
    sync = Sync(cmd_id='1', target=Location('items'), commands=(replace, gone))
    assert statuses(post(server, sync, msg_id='2')) == {'0': 200, '1': 200, '2': 201, '3': 211}


def test_map_pairs_are_kept_until_they_are_acknowledged(monkeypatch):
    monkeypatch.setattr('pysyncml.conversation.RETRIES', ())
    server, client = device('S', 'a', 'b'), device('C')
    client.sync(server)
    server.add(bookmark('c'))
    with pytest.raises(pysyncml.TransportError):
        client.sync(server, transport=Wire(server, {3: 'lost request'}))
    assert urls(client) == ['a', 'b', 'c']
    wire = Wire(server)
    client.sync(server, transport=wire)
    [early] = wire.sent(Map)
    assert early in wire.requests[1].commands, 'before the changes'
    assert early.items == (MapItem(target=find(server, 'c'), source=find(client, 'c')),)
    assert wire.sent(Add) == []
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert wire.sent(Map) == []
    client.delete(find(client, 'c'))
    client.sync(server)
    assert urls(server) == ['a', 'b']


def test_an_item_deleted_before_its_map_pair_arrived_is_deleted_everywhere(monkeypatch):
    monkeypatch.setattr('pysyncml.conversation.RETRIES', ())
    server, client = device('S'), device('C')
    client.sync(server)
    server.add(bookmark('c'))
    with pytest.raises(pysyncml.TransportError):
        client.sync(server, transport=Wire(server, {3: 'lost request'}))
    client.delete(find(client, 'c'))
    client.sync(server)
    client.sync(server)
    assert urls(client) == urls(server) == []


def test_two_clients_of_one_server_are_kept_apart():
    server = device('S')
    one, two = device('one', 'a'), device('two', 'b')
    for client in (one, two, one):
        client.sync(server, transport=LoopbackTransport(server.handle))
    assert urls(one) == urls(two) == urls(server) == ['a', 'b']
    edit(two, find(two, 'a'), title='changed by two')
    one.delete(find(one, 'b'))
    for client in (two, one, two):
        client.sync(server)
    assert contents(one) == contents(two) == contents(server) == [('a', 'changed by two')]
