"""A server asks a client that has not said who it is."""

from __future__ import annotations

from pysyncml.constants import TYPE_SYNCML_DEVICE_INFO
from pysyncml.protocol.devinf import ContentTypeInfo, DataStoreInfo, DevInf
from pysyncml.protocol.messages import (
    Alert,
    Anchor,
    Get,
    Header,
    Item,
    Location,
    Message,
    Meta,
    Results,
    Status,
    Sync,
)
from tests.sync.support import Script, Wire, device, statuses, syncs


def post(script, number, *commands):
    values = {'target': Location('http://S/'), 'source': Location('phone'), 'session_id': '1'}
    header = Header(msg_id=str(number), **values)
    return script.post(Message(header=header, commands=commands, final=True))


def alert(cmd_id='1'):
    meta = Meta(anchor=Anchor(next='10'))
    where = Item(target=Location('items'), source=Location('x'), meta=meta)
    return Alert(cmd_id=cmd_id, code=201, items=(where,))


def test_it_is_asked_once_and_its_answer_counts():
    server = device('S', 'one')
    script = Script(server)
    opened = post(script, 1, alert())
    [question] = [command for command in opened.commands if isinstance(command, Get)]
    assert question.items[0].target_uri == './devinf12'
    [answered] = [command for command in opened.commands if isinstance(command, Alert)]
    assert answered.code == 201
    store = DataStoreInfo(
        uri='x', content_types=(ContentTypeInfo('text/x-bookmark', '1.0', preferred=True),)
    )
    results = Results(
        cmd_id='3',
        msg_ref='1',
        cmd_ref=question.cmd_id,
        meta=Meta(type=f'{TYPE_SYNCML_DEVICE_INFO}+xml'),
        items=(Item(source=Location('./devinf12'), data=DevInf(stores=(store,))),),
    )
    told = Status(cmd_id='1', msg_ref='1', cmd_ref=question.cmd_id, cmd='Get', code=200)
    sync = Sync(cmd_id='4', target=Location('items'), source=Location('x'))
    answer = post(script, 2, told, results, sync)
    assert statuses(answer)['3'] == 200
    assert not [command for command in answer.commands if isinstance(command, Get)]
    assert len(syncs(answer)[0].commands) == 1


def test_a_client_that_cannot_tell_is_served_all_the_same():
    server = device('S', 'one')
    script = Script(server)
    opened = post(script, 1, alert())
    [question] = [command for command in opened.commands if isinstance(command, Get)]
    told = Status(cmd_id='1', msg_ref='1', cmd_ref=question.cmd_id, cmd='Get', code=404)
    answer = post(script, 2, told, Sync(cmd_id='2', target=Location('items')))
    assert len(syncs(answer)[0].commands) == 1


def test_a_client_that_has_said_it_is_not_asked():
    server, client = device('S', 'one'), device('C')
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert wire.sent(Get, by='server') == []
