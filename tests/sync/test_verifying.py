"""Comparing by checksum: what is found, what the next synchronisation makes of it, who may ask."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from sqlalchemy import update

from pysyncml import conversation, verification
from pysyncml.codec import decode, encode
from pysyncml.constants import Policy
from pysyncml.errors import (
    CannotCompare,
    ItemBusy,
    RefusedError,
    RemoteProtocolError,
    StorageError,
    TransportError,
)
from pysyncml.protocol.auth import hash_password
from pysyncml.protocol.limits import Limits
from pysyncml.protocol.messages import Get, Item, Location, Message, Meta, Results, Status
from pysyncml.sync import verifying
from pysyncml.transport import LoopbackTransport, Response
from pysyncml.verification import Kind
from tests.sync.support import Wire, bookmark, contents, device, edit, find, urls

NAMES = [f'item {number:02}' for number in range(12)]


@pytest.fixture
def pair():
    server, client = device('S', *NAMES[:6]), device('C', *NAMES[6:])
    client.sync(server)
    return server, client


def compare(client, server, transport=None):
    [result] = client.adapter.verify(transport or LoopbackTransport(server.handle)).values()
    return result


def kinds(result):
    return sorted(difference.kind.name for difference in result.differences)


def settled(client, server):
    """Everybody is in step, which a comparison confirms, and nothing is left to be told."""
    assert contents(client) == contents(server)
    again = compare(client, server)
    assert (again.equal, again.waiting, kinds(again)) == (len(contents(client)), 0, [])
    stats = client.sync(server)['items']
    assert (stats.here, stats.peer, stats.errors) == (0, 0, 0)


def plant(dev, url, title='planted'):
    """Change an item behind the back of everybody."""
    dev.agent.shelf[find(dev, url)].title = title


def rows(dev, table, where='1', **values):
    with dev.context.work() as work:
        if values:
            work.connection.execute(update(getattr(work.tables, table)).values(**values))
        else:
            name = getattr(work.tables, table).name
            work.connection.exec_driver_sql(f'delete from {name} where {where}')


def test_what_is_equal_is_equal(pair):
    server, client = pair
    wire = Wire(server)
    result = compare(client, server, wire)
    assert (result.equal, result.waiting, result.differences) == (12, 0, [])
    assert not [item for item in wire.sent(Results) if item.items[0].meta.type != verifying.TYPE]


@pytest.mark.parametrize('side', [0, 1])
def test_a_silent_change_becomes_a_conflict(pair, side):
    server, client = pair
    plant(pair[side], 'item 03')
    before = contents(server), contents(client)
    result = compare(client, server)
    assert kinds(result) == ['CONTENT']
    assert result.differences[0].item_id == find(client, 'item 03')
    assert kinds(compare(client, server)) == ['CONTENT'], 'it stays one until it is settled'
    assert (contents(server), contents(client)) == before
    stats = client.sync(server)['items']
    assert stats.merged == 1
    titles = [title for url, title in contents(server) if url == 'item 03']
    assert sorted(titles) == ['planted', 'title of item 03']
    settled(client, server)


def test_the_policy_decides_about_what_differs(pair):
    server, client = pair
    server.store.record.policy = Policy.CLIENT_WINS
    plant(client, 'item 03')
    compare(client, server)
    client.sync(server)
    assert ('item 03', 'planted') in contents(server)
    assert len(contents(server)) == 12
    settled(client, server)


def test_an_edit_after_the_comparison_stays_a_conflict(pair):
    server, client = pair
    plant(server, 'item 03')
    assert kinds(compare(client, server)) == ['CONTENT']
    edit(client, find(client, 'item 03'), title='edited')
    client.sync(server)
    titles = [title for url, title in contents(server) if url == 'item 03']
    assert sorted(titles) == ['edited', 'planted']
    settled(client, server)


def test_a_deletion_after_the_comparison_does_not_delete_what_differs(pair):
    server, client = pair
    plant(server, 'item 03')
    compare(client, server)
    client.delete(find(client, 'item 03'))
    client.sync(server)
    assert ('item 03', 'planted') in contents(server)
    settled(client, server)


@pytest.mark.parametrize('side', [0, 1])
def test_what_only_one_side_has_comes_to_both(pair, side):
    server, client = pair
    del pair[side].agent.shelf[find(pair[side], 'item 03')]
    assert kinds(compare(client, server)) == [['ONLY_HERE', 'ONLY_THERE'][side]]
    client.sync(server)
    assert urls(client) == urls(server) == NAMES


@pytest.mark.parametrize('side', [0, 1])
@pytest.mark.parametrize('table', ['mapping', 'change'])
def test_rows_that_are_lost_lose_and_double_nothing(pair, side, table):
    server, client = pair
    rows(pair[side], table, f"item_id = '{find(pair[side], 'item 03')}'")
    compare(client, server)
    client.sync(server)
    assert urls(client) == urls(server) == NAMES
    settled(client, server)


@pytest.mark.parametrize('values', [{'seq': 99}, {'seq': 1}, {'digest': 'x'}, {'seq': None}])
@pytest.mark.parametrize('side', [0, 1])
def test_rows_that_are_wrong_lose_and_double_nothing(pair, side, values):
    server, client = pair
    plant(client, 'item 03')
    rows(pair[side], 'mapping', **values)
    compare(client, server)
    client.sync(server)
    client.sync(server)
    assert {'planted', 'title of item 03'} & {title for _, title in contents(server)}
    assert set(urls(client)) == set(urls(server)) == set(NAMES)
    assert contents(client) == contents(server)


def test_exchanged_ids_are_sorted_out(pair):
    server, client = pair
    one, two = (find(server, f'item 0{number}') for number in (1, 2))
    with server.context.work() as work:
        knowledge = _knowledge(server, work)
        ids = [knowledge.of_item(item).remote_id for item in (one, two)]
        knowledge.note(one, remote_id=ids[1])
        knowledge.note(two, remote_id=ids[0])
    assert kinds(compare(client, server)) == ['CONTENT', 'CONTENT']  # bookmarks have no names
    client.sync(server)
    assert contents(client) == contents(server)
    assert set(urls(client)) == set(NAMES)


def _knowledge(dev, work):
    from pysyncml.state.records import BindingRecord

    record = work.records.first(BindingRecord)
    return work.knowledge(record.store_id, record.id)


def test_what_waits_is_no_difference(pair):
    server, client = pair
    edit(client, find(client, 'item 01'), title='edited')
    edit(server, find(server, 'item 02'), title='edited')
    client.delete(find(client, 'item 03'))
    server.delete(find(server, 'item 04'))
    client.add(bookmark('new here'))
    server.add(bookmark('new there'))
    result = compare(client, server)
    assert (result.equal, result.waiting, result.differences) == (8, 6, [])
    client.sync(server)
    settled(client, server)


def test_a_wrong_row_about_equal_items_is_put_right(pair):
    server, client = pair
    rows(client, 'mapping', seq=99)
    assert compare(client, server).equal == 12
    edit(client, find(client, 'item 03'), title='edited')
    client.sync(server)
    assert ('item 03', 'edited') in contents(server)


# --- in pages -----------------------------------------------------------------------------------


@pytest.mark.parametrize('encoding', ['xml', 'wbxml'])
@pytest.mark.parametrize('version', [pytest.param('1.0', marks=pytest.mark.campaign), '1.2'])
def test_pages_keep_to_the_limit(encoding, version):
    server = device('S', *[f'<&{number}>' for number in range(40)])
    client = device('C', maxMsgSize=2600)
    client.adapter.peer = client.context.RemoteAdapter(
        url='http://S/', encoding=encoding, version=version
    )
    client.sync(server)
    plant(client, '<&17>')
    wire = Wire(server, restart=True)
    result = compare(client, server, wire)
    assert (result.equal, kinds(result)) == (39, ['CONTENT'])
    assert len(wire.sent(Get)) > 4
    assert max(answer for _, answer in wire.sizes) <= 2600
    assert all('wbxml' in encoding or answer for _, answer in wire.sizes)
    client.sync(server)
    settled(client, server)


def test_a_page_takes_its_time_and_no_more(pair, monkeypatch):
    server, client = pair
    monkeypatch.setattr(verifying, '_SECONDS', -1.0)
    wire = Wire(server)
    assert compare(client, server, wire).equal == 12
    assert len(wire.sent(Get)) == 12


def test_what_travels_in_parts_can_be_a_conflict_too():
    server, client = device('S', 'large', maxMsgSize=4000), device('C', maxMsgSize=4000)
    client.sync(server)
    plant(client, 'large', 'x' * 6000)
    assert kinds(compare(client, server)) == ['CONTENT']
    client.sync(server)
    client.sync(server)
    assert sorted(len(title) for _, title in contents(server)) == [14, 6000]
    settled(client, server)


# --- what cannot be compared --------------------------------------------------------------------


@pytest.mark.parametrize(
    'error, waiting, problems',
    [(ItemBusy('x'), 1, 0), (StorageError('x'), 0, 1), (OSError(5, 'x'), 0, 1), (None, 0, 0)],
)
@pytest.mark.parametrize('side', [0, 1])
def test_one_that_cannot_be_compared_stops_nothing(pair, side, error, waiting, problems):
    server, client = pair
    agent, wanted = pair[side].agent, find(pair[side], 'item 03')
    usual = agent.checksumItem

    def checksum(item_id):
        if item_id != wanted:
            return usual(item_id)
        if error is not None:
            raise error
        return None

    agent.checksumItem = checksum
    result = compare(client, server)
    assert (result.equal, result.waiting, len(result.problems)) == (11, waiting, problems)
    assert result.differences == []


@pytest.mark.parametrize('code', [400, 403, 404, 405, 406, 415, 500, 501, 0])
def test_a_server_that_cannot_compare(pair, code):
    server, client = pair
    seen = []

    def foreign(request):
        inbound = decode(request.content_type, request.body)
        seen.append(inbound)
        header = Status(cmd_id='1', msg_ref='1', cmd_ref='0', cmd='SyncHdr', code=200)
        commands = [header]
        for get in inbound.commands:
            if isinstance(get, Get) and code:
                answer = Status(cmd_id='2', msg_ref='1', cmd_ref=get.cmd_id, cmd='Get', code=code)
                commands.append(answer)
        message = Message(header=_turned(inbound), commands=tuple(commands), final=True)
        return Response(*reversed(encode(message)), 200)

    with pytest.raises(CannotCompare, match='cannot compare by checksum'):
        compare(client, server, LoopbackTransport(foreign))
    assert len(seen) == 1
    settled(client, server)


def _turned(inbound):
    from dataclasses import replace

    header = inbound.header
    return replace(header, target=header.source, source=header.target, cred=None, meta=None)


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'[]',
        b'{"items":[["a"]],"after":null,"bound":true}',
        b'{"items":[],"after":7,"bound":true}',
        b'{"items":[[{},null,null,null]],"after":null,"bound":true}',
        b'{"items":[["a",null,null,"odd"]],"after":null,"bound":true}',
        b'{"items":[],"after":"on and on","bound":true}',
        b'{"items":[["a","n","c",null],["a","n","c",null]],"after":null,"bound":true}',
        b'[' * 100000,
        b'{"items":[["%b","n","c",null]],"after":null,"bound":true}' % (b'a' * 5000),
    ],
)
def test_pages_that_make_no_sense(pair, data, monkeypatch):
    server, client = pair
    monkeypatch.setattr(verifying, 'write_page', lambda page: data)
    with pytest.raises(RemoteProtocolError):
        compare(client, server)
    monkeypatch.undo()
    settled(client, server)


def test_items_nobody_has_heard_of_do_no_harm(pair, monkeypatch):
    server, client = pair
    data = b'{"items":[["../x","../../y","c",null],["","","",null]],"after":null,"bound":true}'
    monkeypatch.setattr(verifying, 'write_page', lambda page: data)
    assert kinds(compare(client, server)) == ['ONLY_HERE'] * 12 + ['ONLY_THERE'] * 2
    monkeypatch.undo()
    client.sync(server)
    settled(client, server)


def test_breaking_off_does_no_harm(monkeypatch):
    monkeypatch.setattr(conversation, 'RETRIES', ())
    for number in range(1, 6):
        server, client = device('S', *NAMES[:5]), device('C', maxMsgSize=2000)
        client.sync(server)
        plant(client, 'item 03')
        wire = Wire(server, {number: 'lost answer'})
        try:
            found = kinds(compare(client, server, wire))
        except TransportError:
            found = []
        client.sync(server)
        titles = {title for url, title in contents(server) if url == 'item 03'}
        assert titles == {'title of item 03', *(['planted'] if found else [])}


# --- who may ask --------------------------------------------------------------------------------


def test_a_device_hears_of_its_own_ids_only(pair):
    server, client = pair
    other = device('D')
    other.sync(server)
    wire = Wire(server)
    compare(other, server, wire)
    told = b''.join(item.data for results in wire.sent(Results) for item in results.items)
    assert all(item_id.encode() in told for item_id in other.agent.shelf)
    assert not any(item_id.encode() in told for item_id in client.agent.shelf)


def test_a_device_that_has_not_been_here_is_told_nothing(pair):
    server, _ = pair
    other = device('D')
    with pytest.raises(RefusedError, match='nothing to compare yet'):
        other.adapter.peer = other.context.RemoteAdapter(url='http://S/')
        compare(other, server)
    third, fresh = device('E'), device('S')
    third.sync(server)
    with pytest.raises(RefusedError, match='knows nothing of it'):
        compare(third, fresh)


def test_a_datastore_with_accounts_of_its_own(pair):
    server, client = pair
    server.store.accounts = {'me': hash_password('secret')}
    with pytest.raises(Exception, match='does not open this datastore'):
        compare(client, server)
    client.store.login = ('me', 'secret')
    assert compare(client, server).equal == 12
    client.store.login = ('me', 'wrong')
    with pytest.raises(Exception, match='does not open this datastore'):
        compare(client, server)


def test_a_client_answers_no_such_question(pair):
    _, client = pair
    page = Get(
        meta=Meta(type=verifying.TYPE), items=(Item(target=Location('items' + verifying.PATH)),)
    )
    from pysyncml.constants import Role
    from pysyncml.protocol.session import Session
    from pysyncml.sync import Parties

    session = Session(Role.CLIENT, '1', local=Location('C'), remote=Location('S'))
    with client.context.work() as work:
        parties = Parties(
            session, work, client.adapter.stores, client.adapter.peer.record, client.adapter.devinfo
        )
        reply = verifying.answer_checksums(page, page.items[0], parties)
    assert reply.code == 404


def test_kinds_have_words_for_people():
    assert len({kind.value for kind in Kind}) == len(Kind)


def test_a_message_gets_a_few_pages_only(pair):
    """Each takes its time, and others wait meanwhile."""
    server, client = pair
    items = tuple(
        Item(target=Location(f'items{verifying.PATH}?after='), source=Location('items'))
        for _ in range(9)
    )

    class More(Wire):
        def exchange(self, request):
            message = decode(request.content_type, request.body)
            commands = tuple(
                replace(c, items=items) if isinstance(c, Get) else c for c in message.commands
            )
            kind, body = encode(replace(message, commands=commands))
            return super().exchange(replace(request, body=body, headers={'content-type': kind}))

    wire = More(server)
    compare(client, server, wire)
    codes = [c.code for m in wire.answers for c in m.commands
             if isinstance(c, Status) and c.cmd == 'Get']  # fmt: skip
    assert codes == [200] * 3 + [413] * 6


def test_a_server_cannot_fill_the_memory_of_who_compares(pair, monkeypatch):
    server, client = pair
    numbers = itertools.count()

    def endless(page):
        rows = [[f'{next(numbers)}' + 'x' * 1000, 'n', 'c', None] for _ in range(10)]
        return json.dumps({'items': rows, 'after': rows[-1][0], 'bound': True}).encode()

    monkeypatch.setattr(verifying, 'write_page', endless)
    monkeypatch.setattr(verification, '_MOST_CHARACTERS', 50_000)
    with pytest.raises(RemoteProtocolError, match='does not come to an end'):
        compare(client, server)
    assert next(numbers) <= 60


def test_a_comparison_keeps_to_the_limits_of_a_session(pair, monkeypatch):
    server, client = pair
    monkeypatch.setattr(verifying, '_SECONDS', -1.0)
    client.adapter.limits = Limits(messages=5)
    with pytest.raises(RemoteProtocolError, match='more than 5 messages'):
        compare(client, server)
    client.adapter.limits = Limits(commands=1)
    with pytest.raises(RemoteProtocolError, match='1 commands'):
        compare(client, server)
