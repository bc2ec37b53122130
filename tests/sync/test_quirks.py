"""What we do otherwise with peers that have habits."""

from __future__ import annotations

import json

import pytest

import pysyncml
from pysyncml.codec import encode
from pysyncml.constants import AlertCode, SyncType
from pysyncml.protocol import quirks
from pysyncml.protocol.devinf import (
    Capability,
    ContentTypeInfo,
    DataStoreInfo,
    DeviceInfo,
    DevInf,
    Property,
)
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Anchor,
    Get,
    Header,
    Item,
    Location,
    Message,
    Meta,
    Put,
    Replace,
    Status,
    Sync,
)
from pysyncml.protocol.quirks import KnownPeer, Quirks
from pysyncml.protocol.session import Said
from pysyncml.sync.room import Room
from pysyncml.sync.setting_up import shortened
from tests.sync.support import (
    BookmarkAgent,
    Script,
    Wire,
    bookmark,
    device,
    edit,
    find,
    shape,
    statuses,
    urls,
)

TYPE = ContentTypeInfo('text/x-bookmark', '1.0', preferred=True)
OLD = {'manufacturerName': 'pysyncml', 'softwareVersion': '0.2.0'}


def pretend(monkeypatch, **values):
    """Have every peer have the habits that *values* name."""
    row = KnownPeer(name='all', reason='A test.', dev_id='.', quirks=Quirks(**values))
    monkeypatch.setattr(quirks, 'KNOWN_PEERS', (row,))


def message(number, *commands, session='1'):
    header = Header(
        session_id=session,
        msg_id=str(number),
        target=Location('http://S/'),
        source=Location('P'),
        meta=Meta(max_msg_size=2147483647, max_obj_size=2147483647),
    )
    return Message(header=header, commands=commands, final=True)


def introduction(**said):
    store = DataStoreInfo(uri='items', content_types=(TYPE,))
    document = DevInf(device=DeviceInfo(devID='P', **said), stores=(store,))
    meta = Meta(type='application/vnd.syncml-devinf+xml')
    put = Put(cmd_id='1', meta=meta, items=(Item(source=Location('./devinf12'), data=document),))
    get = Get(cmd_id='2', meta=meta, items=(Item(target=Location('./devinf12')),))
    return put, get


def alert(code, last, following, **ends):
    ends = ends or {'target': Location('items'), 'source': Location('items')}
    item = Item(**ends, meta=Meta(anchor=Anchor(last=last, next=following)))
    return Alert(cmd_id='1', code=code, items=(item,))


def sync(*commands):
    return Sync(
        cmd_id='1',
        target=Location('items'),
        source=Location('items'),
        number_of_changes=len(commands),
        commands=commands,
    )


def change(kind, number, item_id, url):
    data = json.dumps({'url': url, 'title': 'x'}).encode()
    item = Item(source=Location(item_id), data=data)
    return kind(cmd_id=str(number), meta=Meta(type='text/x-bookmark'), items=(item,))


# --- the predecessor, played by hand ----------------------------------------------------------


def test_a_client_that_introduces_itself_in_a_package_of_its_own():
    """As pysyncml 0.2 does it the first time: four messages, each a whole package."""
    server = device('S', 'http://S/1')
    client = Script(server)
    first = client.post(message(1, *introduction(**OLD)))
    assert first.final
    assert [c.name for c in first.commands] == ['Status', 'Status', 'Status', 'Results']
    second = client.post(message(2, alert(201, None, '1')))
    assert second.final
    assert shape(second)[-2].startswith('Alert#3(201,T=items,S=items')
    third = client.post(message(3, sync(change(Add, 2, '7', 'http://P/1'))))
    assert third.final
    assert [c.name for c in third.commands] == ['Status', 'Status', 'Status', 'Sync']
    sent = third.commands[-1]
    assert (sent.meta, sent.number_of_changes, len(sent.commands)) == (None, 1, 1)
    answers = [
        Status(cmd_id=str(number), msg_ref='3', cmd_ref=ref, cmd=cmd, code=code)
        for number, (ref, cmd, code) in enumerate(
            [('0', 'SyncHdr', 200), ('4', 'Sync', 200), ('5', 'Add', 201)], 1
        )
    ]
    last = client.post(message(4, *answers))
    assert last.final
    assert [m.header.msg_id for m in (first, second, third, last)] == ['1', '2', '3', '4']
    assert urls(server) == ['http://P/1', 'http://S/1']
    [peer] = server.adapter.getKnownPeers()
    assert peer.lastSync is not None


@pytest.mark.parametrize(('said', 'code'), [(OLD, 200), ({}, 508)], ids=['predecessor', 'other'])
def test_a_wrong_anchor_is_no_error_to_the_predecessor(said, code):
    client = Script(device('S'))
    client.post(message(1, *introduction(**said)))
    reply = client.post(message(2, alert(200, '17', '18')))
    assert statuses(reply)['1'] == code
    assert [c.code for c in reply.commands if isinstance(c, Alert)] == [AlertCode.SLOW_SYNC]


@pytest.mark.parametrize(('said', 'code'), [(OLD, 200), ({}, 201)], ids=['predecessor', 'other'])
def test_a_replace_that_adds(said, code):
    server = device('S')
    client = Script(server)
    client.post(message(1, *introduction(**said)))
    client.post(message(2, alert(201, None, '1')))
    reply = client.post(message(3, sync(change(Replace, 2, '7', 'http://P/1'))))
    assert statuses(reply)['2'] == code
    assert urls(server) == ['http://P/1']


def test_to_a_server_of_that_kind_consent_is_not_told(monkeypatch):
    def consents():
        server, client = device('S'), device('C', 'http://C/1')
        client.adapter.allowDeletions = True
        wire = Wire(server)
        client.sync(server, transport=wire)
        return [sync.meta is not None for sync in wire.sent(Sync, by='client')]

    assert consents() == [True]
    pretend(monkeypatch, plain_sync=True)
    assert consents() == [False]


# --- one habit after the other ----------------------------------------------------------------


def test_device_information_in_a_message_of_its_own(monkeypatch):
    def messages_with_a_put_and_an_alert():
        server, client = device('S'), device('C')
        client.sync(server)
        client.adapter.devinfo.softwareVersion = 'new'
        changed = client.adapter.devinfo
        changed.softwareVersion = 'new'
        client.adapter.record.devinf = changed.values()
        wire = Wire(server)
        client.sync(server, transport=wire)
        assert len(wire.sent(Put, by='client')) == 1
        return sum({'Put', 'Alert'} <= {c.name for c in m.commands} for m in wire.requests)

    assert messages_with_a_put_and_an_alert() == 1
    pretend(monkeypatch, separate_introduction=True)
    assert messages_with_a_put_and_an_alert() == 0


def test_all_changes_in_one_message(monkeypatch):
    def parts():
        server = device('S', *[f'http://S/{n}' for n in range(30)])
        client = device('C')
        server.adapter.record.max_msg_size = 4000
        wire = Wire(server)
        client.sync(server, transport=wire)
        assert len(urls(client)) == 30
        return len([sync for sync in wire.sent(Sync, by='server') if sync.commands])

    assert parts() > 1
    pretend(monkeypatch, single_message=True)
    assert parts() == 1


def test_the_number_of_changes_is_that_of_those_sent():
    """One that cannot be written is not counted: some peers compare."""

    class Faulty(BookmarkAgent):
        def dumpItem(self, item, stream, contentType=None, version=None):
            if item.url == 'http://C/2':
                raise pysyncml.InvalidContent('this one is broken')
            super().dumpItem(item, stream, contentType, version)

    server = device('S')
    client = device('C', *[f'http://C/{n}' for n in range(4)], agent=Faulty())
    wire = Wire(server)
    client.sync(server, transport=wire)
    [sent] = [sync for sync in wire.sent(Sync, by='client') if sync.commands]
    assert (sent.number_of_changes, len(sent.commands)) == (3, 3)


def test_changes_that_were_carried_out_need_no_answer(monkeypatch):
    server = device('S')
    client = Script(server)
    pretend(monkeypatch, few_statuses=True)
    client.post(message(1, alert(201, None, '1')))
    reply = client.post(message(2, sync(change(Add, 2, '7', 'http://P/1'))))
    assert statuses(reply) == {'0': 200, '1': 200}
    assert urls(server) == ['http://P/1']


def test_a_text_in_another_charset_is_taken_in(monkeypatch):
    class Notes(BookmarkAgent):
        contentTypes = [pysyncml.ContentTypeInfo('text/plain', '1.0')]
        seen = []

        def loadsItem(self, data, contentType=None, version=None):
            self.seen.append(data)
            return bookmark('http://P/1')

    server = device('S', agent=Notes())
    client = Script(server)
    pretend(monkeypatch, charset='iso-8859-1')
    client.post(message(1, alert(201, None, '1')))
    item = Item(source=Location('1'), data=b'caf\xe9')
    client.post(message(2, sync(Add(cmd_id='2', meta=Meta(type='text/plain'), items=(item,)))))
    assert Notes.seen == ['café'.encode()]


def test_anchors_that_tell_nothing(monkeypatch):
    def kind():
        server, client = device('S'), device('C', 'http://C/1')
        client.sync(server)
        [store] = client.adapter.peer.stores.values()
        record = store.binding.record
        record.peer_anchor = 'another one'
        with client.context.work() as work:
            work.records.save(record)
        edit(client, find(client, 'http://C/1'), title='new')
        [stats] = client.sync(server).values()
        assert server.agent.getItem(find(server, 'http://C/1')).title == 'new'
        return stats.mode

    assert kind() is SyncType.SLOW_SYNC
    pretend(monkeypatch, steady_anchors=False)
    assert kind() is SyncType.TWO_WAY


def test_the_encoding_a_server_reads_best(monkeypatch):
    server, client = device('S'), device('C')
    client.context.codec = 'wbxml'
    seen = []

    class Typed(Wire):
        def exchange(self, request):
            seen.append(request.content_type)
            return super().exchange(request)

    client.sync(server, transport=Typed(server))
    assert set(seen) == {'application/vnd.syncml+wbxml'}
    seen.clear()
    pretend(monkeypatch, encoding='xml')
    client.sync(server, transport=Typed(server))
    assert set(seen) == {'application/vnd.syncml+xml'}


@pytest.mark.parametrize('brief', [False, True])
def test_device_information_without_properties(brief):
    from pysyncml.constants import Role
    from pysyncml.protocol.session import Session

    session = Session(Role.SERVER, '1', local=Location('S'), remote=Location('P'))
    session.quirks = Quirks(brief=brief)
    capability = Capability(ctype='text/x-vcard', properties=(Property(name='TEL'),))
    store = DataStoreInfo(uri='card', content_types=(TYPE,), capabilities=(capability,))
    put = Put(items=(Item(source=Location('./devinf12'), data=DevInf(stores=(store,))),))
    said = shortened(Said(put), Room(session, 100_000))
    [found] = said.command.items[0].data.stores
    assert found.capabilities == (() if brief else (capability,))
    assert found.content_types == (TYPE,)


def test_an_alert_without_a_target_is_about_the_source():
    client = Script(device('S'))
    reply = client.post(message(1, alert(201, None, '1', source=Location('./items'))))
    assert statuses(reply)['1'] == 200
    assert encode(reply)[1]
