"""Clients that want some items only: what they get, and what never happens to the others."""

from __future__ import annotations

import logging

import pytest

import pysyncml
from pysyncml.constants import SyncType
from pysyncml.protocol.messages import Alert, Filter, Item, Meta, Put, Results, Status, Sync
from pysyncml.state.records import BindingRecord
from tests.sync.phone import Phone, add, codes, delete, replace, sent
from tests.sync.support import BookmarkAgent, Wire, bookmark, contents, device, edit, find, urls

CGI = 'syncml:filtertype-cgi'


class Searchable(BookmarkAgent):
    """Bookmarks that can be chosen by their address and their title."""

    filterNames = ('url', 'title')

    def filterProperties(self, itemID):
        item = self.getItem(itemID)
        return {'URL': item.url, 'Title': item.title}


def server_of(*names):
    return device('S', *names, agent=Searchable())


def element(query, kind=None, ctype='text/x-bookmark', grammar=CGI, **values):
    record = Item(meta=Meta(type=grammar), data=query.encode())
    return Filter(meta=Meta(type=ctype), record=record, filter_type=kind, **values)


@pytest.fixture(params=[False, True], ids=['going on', 'restarted'])
def restart(request):
    return request.param


def sync(client, server, restart=False, mode=SyncType.TWO_WAY):
    """Synchronise; return the messages that went over the wire."""
    wire = Wire(server, restart=restart)
    stats = client.sync(server, mode, transport=wire)['items']
    assert stats.errors == 0, stats
    return wire


# --- our own client ------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', ['INCLUSIVE', 'EXCLUSIVE', 'inclusive'])
def test_only_what_fits_is_sent(kind, restart):
    server, client = server_of('red 1', 'blue 1'), device('C', 'own', agent=Searchable())
    client.store.filter, client.store.filterType = 'url&CON;red', kind
    sync(client, server, restart)
    assert urls(server) == ['blue 1', 'own', 'red 1']
    assert 'blue 1' not in urls(client)
    assert 'red 1' in urls(client)
    server.add(bookmark('red 2'))
    server.add(bookmark('blue 2'))
    edit(server, find(server, 'blue 1'), title='changed')
    wire = sync(client, server, restart)
    assert wire.sent(Sync, by='server')[0].number_of_changes is None
    assert set(urls(client)) - {'own'} == {'red 1', 'red 2'}
    assert ('own' in urls(client)) == (kind != 'EXCLUSIVE')


def test_without_the_filter_everything_comes(restart):
    server, client = server_of('red', 'blue'), device('C', agent=Searchable())
    client.store.filter = 'url&EQ;red'
    for _ in range(2):
        sync(client, server, restart)
        assert urls(client) == ['red']
    client.store.filter = None
    sync(client, server, restart)
    assert urls(client) == urls(server) == ['blue', 'red']
    stats = client.sync(server)['items']
    assert (stats.here, stats.peer) == (0, 0)


def test_an_inclusive_filter_leaves_alone_what_is_there(restart):
    server, client = server_of('red', 'blue'), device('C')
    sync(client, server)
    client.store.filter, client.store.filterType = 'title&CON;red', 'INCLUSIVE'
    edit(server, find(server, 'red'), title='red is now pink')
    edit(server, find(server, 'blue'), title='another')
    sync(client, server, restart)
    assert contents(client) == [('blue', 'title of blue'), ('red', 'red is now pink')]
    edit(server, find(server, 'red'), title='gone from the filter')
    sync(client, server, restart)
    assert dict(contents(client))['red'] == 'red is now pink'
    client.store.filter = None
    sync(client, server, restart)
    assert contents(client) == contents(server)


def test_an_exclusive_filter_deletes_at_the_client_only(restart):
    server, client = server_of('red', 'blue', 'green'), device('C')
    other = device('O')
    sync(client, server)
    sync(other, server)
    client.store.filter = 'url&NE;blue'
    sync(client, server, restart)
    assert urls(client) == ['green', 'red'], 'also what has not changed at all'
    client.store.filter = 'title&CON;title of'
    edit(server, find(server, 'red'), title='does not fit any more')
    sync(client, server, restart)
    assert urls(client) == ['blue', 'green'], 'and what fits again comes back'
    sync(other, server)
    assert urls(other) == urls(server) == ['blue', 'green', 'red']
    client.store.filter = None
    sync(client, server, restart)
    assert contents(client) == contents(server)


def test_what_was_deleted_for_the_filter_is_not_deleted_by_the_client():
    """The deletion goes one way: the client has nothing to tell of it, not in a slow sync either"""
    server, client = server_of('red', 'blue'), device('C')
    sync(client, server)
    client.store.filter = 'url&EQ;red'
    sync(client, server)
    for mode in (SyncType.TWO_WAY, SyncType.SLOW_SYNC, SyncType.ONE_WAY_FROM_CLIENT):
        sync(client, server, mode=mode)
        assert urls(server) == ['blue', 'red']
        assert urls(client) == ['red']


@pytest.mark.parametrize('kind', ['INCLUSIVE', 'EXCLUSIVE'])
def test_a_refresh_from_a_client_with_a_filter_keeps_what_it_cannot_have(kind):
    server, client = server_of('red', 'pink', 'blue'), device('C', agent=Searchable())
    client.store.filter, client.store.filterType = 'url&NE;blue', kind
    sync(client, server)
    client.delete(find(client, 'pink'))
    sync(client, server, mode=SyncType.REFRESH_FROM_CLIENT)
    assert urls(server) == ['blue', 'red']


@pytest.mark.parametrize(('kind', 'left'), [('INCLUSIVE', ['mine', 'red']), ('EXCLUSIVE', ['red'])])
def test_a_refresh_from_the_server(kind, left):
    server, client = server_of('red', 'blue'), device('C', agent=Searchable())
    sync(client, server)
    client.add(bookmark('mine'))
    client.delete(find(client, 'blue'))
    client.store.filter, client.store.filterType = 'url&EQ;red', kind
    sync(client, server, mode=SyncType.REFRESH_FROM_SERVER)
    assert urls(client) == left
    assert urls(server) == ['blue', 'red']


def test_changes_of_the_client_are_taken_whatever_they_are():
    server, client = server_of('red'), device('C')
    client.store.filter, client.store.filterType = 'url&EQ;red', 'INCLUSIVE'
    sync(client, server)
    client.add(bookmark('blue'))
    edit(client, find(client, 'red'), url='was red')
    sync(client, server)
    assert urls(server) == urls(client) == ['blue', 'was red']


def test_a_lost_answer_does_not_lose_what_was_filtered_out(monkeypatch):
    monkeypatch.setattr('pysyncml.conversation.RETRIES', ())
    for event in ('lost request', 'lost answer'):
        for number in (1, 2, 3, 4):
            server, client = server_of('red', 'blue'), device('C')
            sync(client, server)
            client.store.filter = 'url&EQ;red'
            try:
                client.sync(server, transport=Wire(server, {number: event}))
            except pysyncml.TransportError:
                client.restart()
                server.restart()
            for _ in range(2):  # the new start has no filter any more
                client.store.filter = None
                sync(client, server)
            assert contents(client) == contents(server)
            assert urls(server) == ['blue', 'red'], (event, number)


def test_a_filter_nobody_understands_is_not_sent():
    server, client = server_of('red'), device('C')
    client.store.filter = 'red'
    with pytest.raises(pysyncml.InvalidFilter, match='no comparison'):
        client.sync(server)
    client.store.filter, client.store.filterType = 'url&EQ;red', 'some'
    with pytest.raises(pysyncml.InvalidFilter, match='INCLUSIVE or EXCLUSIVE'):
        client.sync(server)


def test_a_server_that_cannot_filter_is_told_of():
    server, client = device('S', 'red'), device('C')
    client.store.filter = 'url&EQ;red'
    stats = client.sync(server)['items']
    assert stats.peerErr == 1
    assert 'cannot filter by that' in stats.problems[0]
    assert urls(client) == []


def test_items_that_cannot_be_looked_at_are_left_alone(caplog):
    caplog.set_level(logging.CRITICAL)

    class Moody(Searchable):
        def filterProperties(self, itemID):
            item = self.getItem(itemID)
            if item.url == 'busy':
                raise pysyncml.ItemBusy('not now')
            if item.url == 'broken':
                raise RuntimeError('a bug')
            return super().filterProperties(itemID)

    server = device('S', 'red', 'blue', 'busy', 'broken', agent=Moody())
    client = device('C')
    sync(client, server)
    client.store.filter = 'url&EQ;red'
    sync(client, server)
    assert urls(client) == ['broken', 'busy', 'red']


def test_many_items_in_small_messages(restart):
    names = [f'{color} {n:02}' for n in range(20) for color in ('red', 'blue')]
    server, client = server_of(*names), device('C', maxMsgSize=5000)
    client.store.filter = 'url&CON;red'
    sync(client, server, restart)
    assert urls(client) == sorted(name for name in names if 'red' in name)
    client.store.filter = 'url&CON;blue'
    sync(client, server, restart)
    assert urls(client) == sorted(name for name in names if 'blue' in name)
    assert len(urls(server)) == 40


def test_what_a_filter_leaves_out_stays_pending():
    server, client = server_of('blue', 'red'), device('C')
    client.store.filter = 'url&EQ;red'
    sync(client, server)
    with server.context.work() as work:
        [record] = work.records.find(BindingRecord)
        assert record.cursor == 0


# --- what is announced ---------------------------------------------------------------------------


def test_a_datastore_tells_how_it_can_be_filtered():
    class Dated(Searchable):
        filterNames = ('url', 'modified')

    server, client = device('S', agent=Dated()), device('C')
    wire = sync(client, server)
    [results] = wire.sent(Results)
    [store] = results.items[0].data.stores
    assert store.filter_types == ((CGI, '1.0'),)
    [capability] = store.filters
    assert (capability.ctype, capability.version) == ('text/x-bookmark', '1.0')
    assert capability.properties == ('url', 'modified')
    assert capability.keywords == ('SINCE', 'BEFORE')
    [put] = wire.sent(Put)
    assert put.items[0].data.stores[0].filters == ()


def test_the_filter_on_the_wire():
    server, client = server_of('red & blue'), device('C')
    client.store.filter = 'url&EQ;red %26 blue'
    wire = sync(client, server)
    [alert] = wire.sent(Alert, by='client')
    sent_filter = alert.items[0].target.filter
    assert sent_filter.meta.type == 'text/x-bookmark'
    assert sent_filter.record.meta.type == CGI
    assert sent_filter.record.data == b'url&EQ;red %26 blue'
    assert sent_filter.filter_type == 'EXCLUSIVE'
    assert urls(client) == ['red & blue']


# --- foreign clients -----------------------------------------------------------------------------


def test_a_query_in_the_address_is_inclusive():
    server = server_of('red', 'blue')
    phone = Phone(server)
    phone.start(201, query='?url&iEQ;RED')
    phone.sync(add('1', 'blue'))
    [(name, item_id)] = sent(phone.reply)
    assert (name, server.agent.getItem(item_id).url) == ('Add', 'red')
    phone.end((item_id, '2'))
    edit(server, item_id, url='was red')
    there, _ = phone.session_with(query='?url&EQ;red')
    assert there == []
    there, _ = phone.session_with()
    assert there == [('Replace', '2')]
    [alert] = [c for c in phone.start(query='?url&EQ;x').commands if isinstance(c, Status)][1:]
    assert alert.target_refs == ('items?url&EQ;x',), 'as it was written'


def test_what_goes_is_a_delete_with_the_clients_id():
    server = server_of()
    phone = Phone(server)
    there, _ = phone.session_with(add('1', 'red'), add('2', 'blue'), code=201)
    assert there == []
    there, _ = phone.session_with(filter=element('url&EQ;red'))
    assert there == [('Delete', '2')]
    there, _ = phone.session_with(filter=element('url&EQ;red'))
    assert there == []
    there, _ = phone.session_with(filter=element('url&EQ;red', 'INCLUSIVE'))
    assert there == []
    there, _ = phone.session_with()
    assert [name for name, _ in there] == ['Add']
    assert urls(server) == ['blue', 'red']


def test_what_the_client_does_not_show_in_a_slow_sync_need_not_be_deleted():
    server = server_of()
    phone = Phone(server)
    phone.session_with(add('1', 'red'), add('2', 'blue'), code=201)
    there, _ = phone.session_with(add('1', 'red'), code=201, filter=element('url&EQ;red'))
    assert there == []
    assert urls(server) == ['blue', 'red']


def test_the_users_own_deletion_counts_though_the_other_was_not_acknowledged():
    server = server_of()
    phone = Phone(server)
    phone.session_with(add('1', 'red'), add('2', 'blue'), code=201)
    phone.start(filter=element('url&EQ;red'))
    phone.sync()
    assert sent(phone.reply) == [('Delete', '2')]  # and the session breaks off
    _, answers = phone.session_with(delete('2'))
    assert answers[1] == ('Delete', 200)
    assert urls(server) == ['red']


def test_a_client_may_choose_by_its_own_ids():
    server = server_of()
    phone = Phone(server)
    phone.session_with(add('1', 'red'), add('2', 'blue'), code=201)
    for url in ('red', 'blue'):
        edit(server, find(server, url), title='new')
    there, _ = phone.session_with(filter=element('&LUID;&EQ;2', 'INCLUSIVE'))
    assert there == [('Replace', '2')]


def test_the_clients_word_counts_in_the_same_session():
    server = server_of()
    phone = Phone(server)
    phone.session_with(add('1', 'red'), add('2', 'blue'), code=201)
    there, answers = phone.session_with(
        replace('1', 'blue now'), replace('2', 'red now'), filter=element('url&CON;blue')
    )
    assert [code for _, code in answers[1:]] == [200, 200]
    assert there == [('Delete', '2')]
    there, answers = phone.session_with(delete('1'), filter=element('url&CON;blue'))
    assert answers[1] == ('Delete', 200)
    assert urls(server) == ['red now']


@pytest.mark.parametrize(
    ('wrong', 'status'),
    [
        (element('url'), 422),
        (element('url&XX;red'), 422),
        (element('url&EQ;%zz'), 422),
        (element('url&EQ;red', 'SOME'), 422),
        (element('url&EQ;red', grammar='application/sql'), 422),
        (element('url&EQ;red', ctype='text/x-vcard'), 415),
        (element('body&EQ;red'), 406),
        (element('MAXSIZE&LE;5'), 406),
        (element('SINCE&EQ;20240101'), 406),
        (element('url&EQ;red', field=Item(data=b'x')), 406),
    ],
)
def test_what_is_wrong_with_a_filter_fails_that_datastore_only(wrong, status):
    server = server_of('red')
    server.adapter.addStore(server.context.Store(uri='more', agent=Searchable()))
    phone = Phone(server)
    reply = phone.start(201, filter=wrong)
    assert codes(reply) == [('Alert', status)]
    phone.uri = 'more'
    reply = phone.start(201)
    assert codes(reply) == [('Alert', 200)]
    assert urls(server) == ['red']


@pytest.mark.parametrize(('query', 'status'), [('?red', 422), ('?/dr(-7,30)', 406), ('?', 200)])
def test_what_is_wrong_with_a_query(query, status):
    reply = Phone(server_of('red')).start(201, query=query)
    assert codes(reply) == [('Alert', status)]


def test_a_filter_by_type_alone_lets_everything_through():
    server = server_of('red')
    phone = Phone(server)
    there, _ = phone.session_with(code=201, filter=Filter(meta=Meta(type='text/x-bookmark')))
    assert [name for name, _ in there] == ['Add']
