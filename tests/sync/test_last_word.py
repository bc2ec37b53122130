"""Sessions that end with the server's fourth package, as only the client had something to send."""

from __future__ import annotations

import pytest

from pysyncml.constants import SyncType
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Anchor,
    Header,
    Item,
    Location,
    Message,
    Meta,
    Status,
    Sync,
)
from tests.sync.support import Script, Wire, bookmark, device, statuses, urls

PUSH, WIPE_SERVER = SyncType.ONE_WAY_FROM_CLIENT, SyncType.REFRESH_FROM_CLIENT


class Phone:
    """A client made by hand that ends its sessions after the fourth package."""

    def __init__(self, server):
        self.script = Script(server)
        self.session = 0

    def post(self, number, *commands):
        values = {'target': Location('http://S/'), 'source': Location('phone')}
        header = Header(session_id=str(self.session), msg_id=str(number), **values)
        return self.script.post(Message(header=header, commands=commands, final=True))

    def send(self, code, key, last, following):
        """Send one item in a session of its own; return the answers to both messages."""
        self.session += 1
        meta = Meta(anchor=Anchor(last=last, next=following))
        where = Item(target=Location('items'), source=Location('x'), meta=meta)
        opened = self.post(1, Alert(cmd_id='1', code=code, items=(where,)))
        item = Item(source=Location(key), data=f'{{"url": "{key}"}}'.encode())
        add = Add(cmd_id='2', meta=Meta(type='text/x-bookmark'), items=(item,))
        sync = Sync(cmd_id='1', target=Location('items'), source=Location('x'), commands=(add,))
        return opened, self.post(2, sync)


def test_the_anchors_move_with_the_fourth_package():
    server = device('S')
    ended = []
    server.adapter.onEnd = lambda peer, stats, how: ended.append(how)
    phone = Phone(server)
    phone.send(203, 'one', None, '10')
    assert ended == ['done']
    opened, answer = phone.send(202, 'two', '10', '20')
    assert statuses(opened)['1'] == 200
    assert all(isinstance(command, Status) for command in answer.commands)
    assert answer.final
    opened, _ = phone.send(202, 'three', '20', '30')
    assert statuses(opened)['1'] == 200
    assert urls(server) == ['one', 'three', 'two']
    assert ended == ['done'] * 3


def test_a_client_may_still_say_that_it_has_nothing_to_say():
    server = device('S')
    ended = []
    server.adapter.onEnd = lambda peer, stats, how: ended.append(how)
    phone = Phone(server)
    _, answer = phone.send(203, 'one', None, '10')
    status = Status(cmd_id='1', msg_ref=answer.header.msg_id, cmd_ref='0', cmd='SyncHdr', code=200)
    last = phone.post(3, status)
    assert last.final
    assert statuses(last) == {'0': 200}
    assert ended == ['done']
    opened, _ = phone.send(202, 'two', '10', '20')
    assert statuses(opened)['1'] == 200


@pytest.mark.parametrize('mode', [PUSH, WIPE_SERVER])
def test_our_client_says_nothing_more_then(mode):
    server, client = device('S', 'a'), device('C')
    client.sync(server)
    client.add(bookmark('new'))
    wire = Wire(server)
    client.sync(server, mode, transport=wire)
    assert len(wire.requests) == 2
    assert urls(server) == ['a', 'new']
    stats = client.sync(server)['items']
    assert (stats.mode, stats.here, stats.peer) == (SyncType.TWO_WAY, 0, 0)
