"""Items in folders: where they end up, in which order they travel, and how they move."""

from __future__ import annotations

import json
from dataclasses import replace as changed

import pytest

import pysyncml
from pysyncml.codec import decode, encode
from pysyncml.constants import SyncType
from pysyncml.protocol.messages import (
    Add,
    Copy,
    Delete,
    Item,
    Location,
    Meta,
    Move,
    Replace,
    Status,
    Sync,
)
from tests.sync.phone import Phone
from tests.sync.support import Wire, device

TYPE = 'text/x-node'


class Node(pysyncml.Item):
    """A folder, or (with a text) something that lies in one."""

    fields = ('name', 'parent', 'text')

    def dump(self, stream, contentType=None, version=None):
        stream.write(json.dumps({'name': self.name, 'text': self.text}).encode())

    @classmethod
    def load(cls, stream, contentType=None, version=None):
        return cls(**json.load(stream))


class Tree(pysyncml.Agent):
    """Folders in memory; its ids have nothing in common with those of another tree."""

    itemClass = Node
    hierarchicalSync = True
    contentTypes = [pysyncml.ContentTypeInfo(TYPE, '1.0', preferred=True)]
    mfactory = pysyncml.CompositeMergerFactory()
    locked = ()

    def __init__(self):
        super().__init__()
        self.nodes = {}

    def getAllItems(self):
        return list(self.nodes.values())

    def getItem(self, itemID):
        return self.nodes[itemID]

    def addItem(self, item):
        assert item.parent is None or item.parent in self.nodes, 'the folder comes first'
        item.id = pysyncml.newID()
        self.nodes[item.id] = item
        return item

    def replaceItem(self, item, reportChanges):
        assert item.parent is None or item.parent in self.nodes
        self.nodes[item.id] = item

    def deleteItem(self, itemID):
        if any(node.parent == itemID for node in self.nodes.values()):
            raise pysyncml.ItemNotEmpty('there is something in it')
        del self.nodes[itemID]

    def moveItem(self, itemID, parentID):
        above = parentID
        while above is not None:
            if above == itemID:
                raise pysyncml.MoveFailed('a folder cannot lie in itself')
            above = self.nodes[above].parent
        if parentID in self.locked:
            raise OSError(13, 'Permission denied')
        self.nodes[itemID].parent = parentID

    def path(self, itemID):
        node = self.nodes[itemID]
        return f'{self.path(node.parent) if node.parent else ""}/{node.name}'

    def checkpoint(self):
        kept = {key: Node(node.id, **node.values()) for key, node in self.nodes.items()}

        def back():
            self.nodes.clear()
            self.nodes.update(kept)

        return back


def tree(name, **values):
    return device(name, agent=Tree(), **values)


def paths(dev):
    return sorted(dev.agent.path(item_id) for item_id in dev.agent.nodes)


def grow(dev, *lines):
    """Add a node for each path, with what lies above it."""
    for line in lines:
        parent = None
        for part in line.strip('/').split('/'):
            known = [n for n in dev.agent.nodes.values() if (n.parent, n.name) == (parent, part)]
            parent = known[0].id if known else dev.add(Node(name=part, parent=parent))


def at(dev, path):
    [item_id] = [item_id for item_id in dev.agent.nodes if dev.agent.path(item_id) == path]
    return item_id


def put(dev, path, **values):
    node = dev.agent.getItem(at(dev, path))
    new = Node(**{**node.values(), **values})
    dev.replace(node.id, new)


def sync(client, server, mode=SyncType.TWO_WAY, restart=False):
    wire = Wire(server, restart=restart)
    stats = client.sync(server, mode, transport=wire)['items']
    assert stats.errors == 0, stats
    return wire


# --- our own client and server -------------------------------------------------------------------


@pytest.mark.parametrize('size', [None, 3500])
def test_trees_become_one(size):
    client, server = tree('C', maxMsgSize=size), tree('S', maxMsgSize=size)
    grow(client, '/a/b/c', '/a/d')
    grow(server, '/x/y/z', *(f'/x/{n}' for n in range(15)))
    sync(client, server, restart=True)
    assert paths(client) == paths(server)
    assert {'/a/b/c', '/a/d', '/x/y/z', '/x/14'} <= set(paths(client))
    other = tree('O')
    sync(other, server)
    assert paths(other) == paths(server)
    stats = client.sync(server)['items']
    assert (stats.here, stats.peer) == (0, 0)


def test_a_folder_goes_before_what_is_in_it_though_changed_later():
    for giver in ('client', 'server'):
        client, server = tree('C'), tree('S')
        one = client if giver == 'client' else server
        grow(one, '/a/b/c', '/a/b/d')
        put(one, '/a/b', name='b2')
        put(one, '/a', name='a2')
        wire = sync(client, server)
        assert paths(client) == paths(server) == ['/a2', '/a2/b2', '/a2/b2/c', '/a2/b2/d']
        assert len(wire.sent(Add)) == 4, 'each of them once'


@pytest.mark.parametrize('size', [None, 2800])
def test_in_small_messages_as_well(size):
    client, server = tree('C', maxMsgSize=size), tree('S', maxMsgSize=size)
    deep = '/'.join(f'folder{n}' for n in range(8))
    grow(client, f'/{deep}/file')
    names = f'/{deep}'.split('/')
    for n in range(1, 9):
        put(client, '/'.join(names[: n + 1]), text=f'changed {n}')
    wire = sync(client, server, restart=True)
    assert paths(client) == paths(server)
    assert len(wire.sent(Add)) == 9
    changed_last = [n.text for n in server.agent.getAllItems() if n.name == 'folder0']
    assert changed_last == ['changed 1']


def test_moves_travel_as_changes_in_both_directions():
    client, server = tree('C'), tree('S')
    grow(client, '/a/file', '/b', '/c')
    sync(client, server)
    put(client, '/a/file', parent=at(client, '/b'))
    sync(client, server)
    assert paths(server) == ['/a', '/b', '/b/file', '/c']
    put(server, '/b/file', parent=at(server, '/c'))
    put(server, '/b', name='b2')
    sync(client, server)
    assert paths(client) == ['/a', '/b2', '/c', '/c/file']
    put(client, '/c/file', parent=None)
    sync(client, server)
    assert paths(server) == ['/a', '/b2', '/c', '/file']


def test_a_new_folder_and_an_old_file_moved_into_it():
    client, server = tree('C'), tree('S')
    grow(client, '/file')
    sync(client, server)
    grow(server, '/new')
    put(server, '/file', parent=at(server, '/new'))
    put(server, '/new', name='newer')
    sync(client, server)
    assert paths(client) == paths(server) == ['/newer', '/newer/file']


def test_a_slow_sync_changes_nothing():
    client, server = tree('C'), tree('S')
    grow(client, '/a/b/c', '/x/y')
    sync(client, server)
    put(client, '/a', text='new')
    put(server, '/x', text='new')
    for mode in (SyncType.SLOW_SYNC, SyncType.REFRESH_FROM_SERVER, SyncType.REFRESH_FROM_CLIENT):
        sync(client, server, mode)
        assert paths(client) == paths(server) == ['/a', '/a/b', '/a/b/c', '/x', '/x/y']


def test_deletions_from_the_inside_out():
    client, server = tree('C'), tree('S')
    grow(client, '/a/b/c')
    sync(client, server)
    for path in ('/a/b/c', '/a/b', '/a'):
        client.delete(at(client, path))
    sync(client, server)
    assert paths(server) == []


@pytest.mark.parametrize('deleter', ['client', 'server'])
def test_a_folder_that_is_not_empty_is_427_and_comes_back(deleter):
    client, server = tree('C'), tree('S')
    grow(client, '/a/b', '/other')
    sync(client, server)
    sync(client, server)
    one, two = (client, server) if deleter == 'client' else (server, client)
    one.delete(at(one, '/a/b'))
    one.delete(at(one, '/a'))
    if deleter == 'client':
        grow(two, '/a/new')
        wire = Wire(server)
    else:
        wire = Late(server, lambda: grow(two, '/a/new'))
    client.sync(server, transport=wire)
    assert 427 in [s.code for s in wire.sent(Status) if s.cmd == 'Delete']
    assert '/a/new' in paths(two)
    for _ in range(3):
        client.sync(server)
    assert paths(client) == paths(server) == ['/a', '/a/new', '/other']
    stats = client.sync(server)['items']
    assert (stats.here, stats.peer, stats.errors) == (0, 0, 0)


class Late(Wire):
    """Does something when the client has sent its changes, before it hears of the server's."""

    def __init__(self, server, action):
        super().__init__(server)
        self.action = action

    def exchange(self, request):
        response = super().exchange(request)
        if self.sent(Sync, by='client') and self.action is not None:
            self.action()
            self.action = None
        return response


def test_where_an_item_is_on_the_wire():
    client, server = tree('C'), tree('S')
    grow(client, '/a/b')
    grow(server, '/x/y')
    wire = sync(client, server)
    ours = [(c.items[0].source_parent, c.items[0].target_parent) for c in wire.sent(Add)]
    assert ours == [
        ('/', None),
        (at(client, '/a'), None),
        (None, '/'),
        (at(server, '/x'), None),  # by its id here, as the client's is not known yet
    ]
    grow(server, '/x/z')
    wire = sync(client, server)
    [command] = wire.sent(Add)
    assert command.items[0].target_parent == at(client, '/x')


def test_agents_without_folders_say_nothing_of_them():
    from tests.sync.support import bookmark

    client, server = device('C'), device('S')
    client.add(bookmark('a'))
    wire = sync(client, server)
    [command] = wire.sent(Add)
    assert command.items[0].source_parent is None


# --- foreign clients -----------------------------------------------------------------------------


def node(luid, name, parent=None, kind=Add, **values):
    data = json.dumps({'name': name, 'text': None}).encode()
    item = Item(source=Location(luid), source_parent=parent, data=data, **values)
    return kind(meta=Meta(type=TYPE), items=(item,))


def move(luid, parent):
    return Move(items=(Item(source=Location(luid), source_parent=parent),))


@pytest.fixture
def phone():
    phone = Phone(tree('S'), ctype=TYPE)
    nodes = (node('1', 'a', '/'), node('2', 'b', '1'), node('3', 'c'), node('4', 'd', ''))
    _, answers = phone.session_with(*nodes, code=201)
    assert [code for _, code in answers] == [200, 201, 201, 201, 201]
    assert paths(phone.server) == ['/a', '/a/b', '/c', '/d']
    return phone


def test_move(phone):
    other = tree('O')
    sync(other, phone.server)
    there, answers = phone.session_with(move('2', '3'), move('4', '3'), move('3', '/'))
    assert [code for _, code in answers] == [200, 200, 200, 200]
    assert there == [], 'it knows'
    assert paths(phone.server) == ['/a', '/c', '/c/b', '/c/d']
    sync(other, phone.server)
    assert paths(other) == paths(phone.server)


def test_moves_that_fail(phone):
    phone.server.agent.locked = (at(phone.server, '/d'),)
    _, answers = phone.session_with(
        move('9', '3'), move('2', '9'), move('1', '2'), move('1', '4'), move('2', '3')
    )
    assert [code for _, code in answers[1:]] == [404, 428, 428, 428, 200]
    assert paths(phone.server) == ['/a', '/c', '/c/b', '/d']


def test_a_move_of_what_is_deleted_here_is_404(phone):
    phone.server.delete(at(phone.server, '/d'))
    _, answers = phone.session_with(move('4', '1'))
    assert answers[1] == ('Move', 404)


def test_a_move_does_not_hide_a_change(phone):
    put(phone.server, '/d', name='d2')
    there, answers = phone.session_with(move('4', '1'))
    assert answers[1] == ('Move', 200)
    assert there == [('Replace', '4')]
    assert '/a/d2' in paths(phone.server)


def test_a_failed_move_takes_an_atomic_with_it(phone):
    from pysyncml.protocol.messages import Atomic

    _, answers = phone.session_with(Atomic(commands=(move('2', '3'), move('1', '9'))))
    assert [code for _, code in answers[1:]] == [507, 216, 428]
    assert paths(phone.server) == ['/a', '/a/b', '/c', '/d']


def test_an_item_whose_folder_is_not_there_waits(phone):
    _, answers = phone.session_with(node('6', 'inner', '5'), node('5', 'outer'))
    assert [code for _, code in answers[1:]] == [417, 201]
    _, answers = phone.session_with(node('6', 'inner', '5'))
    assert answers[1] == ('Add', 201)
    assert '/outer/inner' in paths(phone.server)


def test_a_replace_with_another_folder_is_a_move(phone):
    phone.session_with(node('2', 'b', '3', Replace))
    assert paths(phone.server) == ['/a', '/c', '/c/b', '/d']
    phone.session_with(node('2', 'b2', '/', Replace))
    assert paths(phone.server) == ['/a', '/b2', '/c', '/d']


def test_a_client_that_knows_no_folders_leaves_them_alone(phone):
    phone.session_with(node('2', 'renamed', None, Replace))
    assert paths(phone.server) == ['/a', '/a/renamed', '/c', '/d']


def test_a_client_that_knows_folders_means_the_outermost(phone):
    with phone.server.context.work() as work:
        from pysyncml.state.records import DeviceRecord

        [peer] = work.records.find(DeviceRecord, role='client')
        store = {'uri': 'x', 'hierarchical_sync': True}
        names = ('display_name', 'max_guid_size', 'max_obj_size')
        store |= dict.fromkeys(names) | {'content_types': [], 'sync_types': []}
        peer.stores = [store]
        work.records.save(peer)
    phone.session_with(node('2', 'b', None, Replace))
    assert paths(phone.server) == ['/a', '/b', '/c', '/d']


def test_a_copy_lies_where_the_original_does(phone):
    copy = Copy(items=(Item(source=Location('2'), target=Location('7')),))
    other = Copy(items=(Item(source=Location('2')),))
    there, answers = phone.session_with(copy, other)
    assert [code for _, code in answers[1:]] == [201, 201]
    assert paths(phone.server) == ['/a', '/a/b', '/a/b', '/a/b', '/c', '/d']
    assert [name for name, _ in there] == ['Add']


# --- a foreign server ----------------------------------------------------------------------------


def sync_with(client, server, *children):
    """Have the server say *children* in its Sync; return the codes the client answers."""

    class Foreign(Wire):
        def exchange(self, request):
            response = super().exchange(request)
            message = decode(response.content_type, response.body)
            numbered = tuple(changed(c, cmd_id=str(70 + n)) for n, c in enumerate(children))
            commands = tuple(
                changed(c, commands=numbered) if isinstance(c, Sync) else c
                for c in message.commands
            )
            kind, body = encode(changed(message, commands=commands))
            return changed(response, body=body, headers={'content-type': kind})

    wire = Foreign(server)
    client.sync(server, transport=wire)
    return [s.code for s in wire.sent(Status, by='client') if int(s.cmd_ref) >= 70]


def test_a_server_may_move_items_of_the_client():
    client, server = tree('C'), tree('S')
    grow(client, '/a', '/b')
    sync(client, server)
    a, b = at(client, '/a'), at(client, '/b')
    good = Move(items=(Item(target=Location(a), target_parent=b),))
    bad = Move(items=(Item(target=Location(b), target_parent=a),))
    none = Move(items=(Item(target=Location('none'), target_parent=a),))
    assert sync_with(client, server, good, bad, none) == [200, 428, 404]
    assert paths(client) == ['/b', '/b/a']


def test_a_server_names_folders_by_its_ids_or_the_clients():
    client, server = tree('C'), tree('S')
    grow(client, '/a')
    sync(client, server)
    data = json.dumps({'name': 'new', 'text': None}).encode()
    items = [
        Item(source=Location('g1'), target_parent=at(client, '/a'), data=data),
        Item(source=Location('g2'), source_parent='g1', data=data),
        Item(source=Location('g3'), target_parent='/', data=data),
        Item(source=Location('g4'), target_parent='nowhere', data=data),
    ]
    adds = [Add(meta=Meta(type=TYPE), items=(item,)) for item in items]
    assert sync_with(client, server, *adds, Delete()) == [201, 201, 201, 417, 412]
    assert paths(client) == ['/a', '/a/new', '/a/new/new', '/new']
