"""Changes of one kind that share a command, and a Status: between two of our kind."""

from __future__ import annotations

import pytest

from pysyncml.errors import InvalidContent
from pysyncml.protocol.messages import Add, Delete, Replace, Status
from tests.sync.support import BookmarkAgent, Wire, bookmark, contents, device, edit, find, urls

NAMES = [f'http://{number}' for number in range(12)]


def pair(*names, maker='pysyncml', agent=None):
    made = device('C', *names), device('S', agent=agent)
    for one in made:
        one.adapter.record.devinf = {**one.adapter.record.devinf, 'manufacturerName': maker}
    return made


def sync(client, server, script=None, restart=False):
    wire = Wire(server, script, restart)
    return client.sync(server, transport=wire)['items'], wire


def items(wire, kind, by):
    return [len(command.items) for command in wire.sent(kind, by=by)]


def answers(wire, name, by):
    return [
        (status.code, len(status.source_refs) + len(status.target_refs))
        for status in wire.sent(Status, by=by)
        if status.cmd == name
    ]


def test_changes_share_a_command_and_a_status_both_ways():
    client, server = pair(*NAMES)
    stats, wire = sync(client, server)
    assert (stats.peerAdd, items(wire, Add, 'client')) == (12, [12])
    assert answers(wire, 'Add', 'server') == [(201, 0)]
    for name in NAMES[:5]:
        edit(server, find(server, name), title='new')
    for name in NAMES[5:9]:
        server.delete(find(server, name))
    server.add(bookmark('http://more'))
    server.add(bookmark('http://even more'))
    stats, wire = sync(client, server)
    assert (stats.hereMod, stats.hereDel, stats.hereAdd) == (5, 4, 2)
    assert sorted(items(wire, Replace, 'server')) == [5]
    assert items(wire, Delete, 'server') == [4]
    assert items(wire, Add, 'server') == [2]
    assert answers(wire, 'Replace', 'client') == [(200, 0)]
    assert contents(client) == contents(server)
    _, wire = sync(client, server)
    assert not wire.sent(Add) + wire.sent(Replace) + wire.sent(Delete)


def test_others_get_a_command_and_a_status_for_each():
    client, server = pair(*NAMES, maker='somebody else')
    _, wire = sync(client, server)
    assert items(wire, Add, 'client') == [1] * 12
    assert answers(wire, 'Add', 'server') == [(201, 1)] * 12


class Picky(BookmarkAgent):
    """Takes no bookmark whose title says that it is bad."""

    def addItem(self, item):
        if item.title == 'bad':
            raise InvalidContent('a bad one')
        return super().addItem(item)


def test_those_that_fare_otherwise_have_a_status_each():
    client, server = pair(*NAMES[:3], agent=Picky())
    bad = client.add(bookmark('http://bad', 'bad'))
    stats, wire = sync(client, server)
    assert (stats.peerAdd, stats.peerErr) == (3, 1)
    assert items(wire, Add, 'client') == [4]
    found = {
        ref: (status.code, [item.data for item in status.items])
        for status in wire.sent(Status, by='server')
        if status.cmd == 'Add'
        for ref in status.source_refs
    }
    assert len(found) == 4
    assert found.pop(bad) == (400, [b'a bad one'])
    assert set(map(str, found.values())) == {str((201, []))}
    assert urls(server) == NAMES[:3]
    # only what was not taken is sent again
    edit(client, bad, title='good')
    _, wire = sync(client, server)
    assert items(wire, Add, 'client') + items(wire, Replace, 'client') == [1]
    assert contents(client) == contents(server)


@pytest.mark.parametrize('event', ['lost request', 'lost answer', 'twice'])
@pytest.mark.parametrize('number', [2, 3])
def test_a_message_with_many_that_is_lost_or_comes_twice(event, number):
    client, server = pair(*NAMES)
    for _ in range(3):
        sync(client, server, {number: event}, restart=True)
    assert contents(client) == contents(server) == sorted((n, f'title of {n}') for n in NAMES)
