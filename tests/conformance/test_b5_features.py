"""Scenarios 72 to 74: filters, hierarchies, and Replace of some fields."""

from __future__ import annotations

import os

import pytest

from pysyncml.constants import SyncType
from pysyncml.protocol.messages import Filter, Get, Item, Location, Meta, Results
from tests.conformance.notes import META, Notes, new_version, note, phone_of
from tests.sync.phone import Phone, codes, delete
from tests.sync.test_commands import Fields, partial, phone_in_step
from tests.sync.test_hierarchy import Tree, at, grow, move, node, paths, put, sync, tree

CGI = 'syncml:filtertype-cgi'


def only(query, kind=None):
    return Filter(
        meta=Meta(type='text/x-s4j-sifn'),
        record=Item(meta=Meta(type=CGI), data=query.encode()),
        filter_type=kind,
    )


# --- 72: filters ---------------------------------------------------------------------------------


@pytest.fixture
def notes(tmp_path):
    served = Notes(tmp_path)
    served.phone = phone_of(served)
    served.phone.session_with(
        note('1', 'list.txt', 'Shopping list\nmilk'),
        note('2', 'idea.txt', 'A holiday plan\nto the sea'),
        note('3', 'old.txt', 'Shopping, long ago'),
        code=201,
    )
    return served


def test_72_inclusive_limits_what_is_sent(notes):
    for name in ('list.txt', 'idea.txt'):
        with open(notes.directory / name, 'ab') as file:
            file.write(b'\nmore')
    inclusive = only('subject&iCON;SHOPPING', 'INCLUSIVE')
    assert notes.phone.session_with(filter=inclusive)[0] == [('Replace', '1')]
    assert notes.phone.session_with(filter=inclusive)[0] == []
    assert notes.phone.session_with()[0] == [('Replace', '2')]


def test_72_exclusive_deletes_what_leaves_at_the_client_only(notes):
    before = notes.files
    exclusive = only('subject&CON;Shopping')
    assert notes.phone.session_with(filter=exclusive)[0] == [('Delete', '2')]
    (notes.directory / 'list.txt').write_bytes(b'Nothing to buy')
    assert notes.phone.session_with(filter=exclusive)[0] == [('Delete', '1')]
    assert set(notes.files) == set(before)
    assert notes.trash == set()
    there, _ = notes.phone.session_with()
    assert [name for name, _ in there] == ['Add', 'Add']


def test_72_by_name(notes):
    there, _ = notes.phone.session_with(filter=only('name&EQ;idea.txt'))
    assert sorted(there) == [('Delete', '1'), ('Delete', '3')]


def test_72_by_date(notes):
    phone = notes.phone
    os.utime(notes.directory / 'old.txt', (1_000_000_000, 1_000_000_000))  # 2001-09-09
    (notes.directory / 'old.txt').write_bytes(b'Shopping, very long ago')
    os.utime(notes.directory / 'old.txt', (1_000_000_000, 1_000_000_000))
    assert phone.session_with(filter=only('BEFORE&EQ;20010101', 'INCLUSIVE'))[0] == []
    recent = only('SINCE&EQ;20020101T000000Z&AND;modified&LT;21000101', 'EXCLUSIVE')
    assert phone.session_with(filter=recent)[0] == [('Delete', '3')]
    there, _ = phone.session_with(filter=only('modified&EQ;20010909T014640Z', 'INCLUSIVE'))
    assert [name for name, _ in there] == ['Add']


def test_72_a_client_with_a_filter_may_change_and_delete(notes):
    _, answers = notes.phone.session_with(
        note('4', 'new.txt', 'does not fit'),
        new_version('1', 'list.txt', 'nor does this'),
        delete('3'),
        filter=only('name&EQ;idea.txt', 'INCLUSIVE'),
    )
    assert [code for _, code in answers[1:]] == [201, 200, 200]
    assert set(notes.files) == {'list.txt', 'idea.txt', 'new.txt'}


@pytest.mark.parametrize('code', [200, 201, 203, 204, 205])
def test_72_no_filter_deletes_on_the_server(tmp_path, code):
    notes = Notes(tmp_path)
    phone = phone_of(notes)
    (tmp_path / 'unseen').write_bytes(b'never sent')
    mine = note('1', 'mine', 'of the phone')
    phone.session_with(mine, code=201, filter=only('name&EQ;mine'))
    shown = {200: (), 201: (mine,), 203: (mine,), 204: (), 205: ()}[code]
    for query in ('name&EQ;nothing', 'name&EQ;mine'):
        phone.session_with(*shown, code=code, filter=only(query))
        assert notes.files == {'unseen': b'never sent', 'mine': b'of the phone'}


def test_72_a_query_in_the_address(notes):
    (notes.directory / 'more').write_bytes(b'Shopping')
    (notes.directory / 'other').write_bytes(b'else')
    there, _ = notes.phone.session_with(query='?SUBJECT&iCON;shopping')
    assert [name for name, _ in there] == ['Add']


@pytest.mark.parametrize(
    ('wrong', 'status'),
    [
        (only('name&EQ'), 422),
        (only('name&EQ;x', 'SOMETIMES'), 422),
        (Filter(record=Item(meta=Meta(type='application/sql'), data=b'x')), 422),
        (Filter(meta=Meta(type='text/x-vcard'), record=only('name&EQ;x').record), 415),
        (only('color&EQ;red'), 406),
        (only('NOATT&EQ;1'), 406),
    ],
)
def test_72_what_cannot_be_done_is_said(notes, wrong, status):
    assert codes(notes.phone.start(filter=wrong)) == [('Alert', status)]


def test_72_how_notes_can_be_filtered_is_announced(notes):
    notes.phone.start()
    reply = notes.phone.say(Get(items=(Item(target=Location('./devinf12')),)), final=False)
    [results] = [command for command in reply.commands if isinstance(command, Results)]
    [store] = results.items[0].data.stores
    assert store.filter_types == ((CGI, '1.0'),)
    types = {'text/x-s4j-sifn', 'text/plain', 'application/x-pysyncml-note'}
    assert {f.ctype for f in store.filters} == types
    assert {f.properties for f in store.filters} == {('name', 'subject', 'modified')}
    assert {f.keywords for f in store.filters} == {('SINCE', 'BEFORE')}


# --- 73: hierarchies -----------------------------------------------------------------------------


def test_73_folders_come_before_what_is_in_them():
    client, server = tree('C'), tree('S')
    grow(client, '/docs/old/letter', '/docs/plan')
    grow(server, '/music/song')
    put(client, '/docs/old', name='older')
    put(client, '/docs', name='papers')
    for mode in (SyncType.TWO_WAY, SyncType.SLOW_SYNC, SyncType.TWO_WAY):
        sync(client, server, mode)
        assert paths(client) == paths(server)
    assert '/papers/older/letter' in paths(server)
    assert '/music/song' in paths(client)


def test_73_moves_and_new_names_travel_both_ways():
    client, server = tree('C'), tree('S')
    grow(client, '/a/file', '/b')
    sync(client, server)
    put(client, '/a/file', parent=at(client, '/b'), name='moved')
    sync(client, server)
    assert paths(server) == ['/a', '/b', '/b/moved']
    put(server, '/b', parent=at(server, '/a'))
    sync(client, server)
    assert paths(client) == ['/a', '/a/b', '/a/b/moved']


def test_73_move_and_folders_that_are_not_empty():
    phone = Phone(tree('S'), ctype='text/x-node')
    phone.session_with(node('1', 'a', '/'), node('2', 'b', '1'), node('3', 'c'), code=201)
    _, answers = phone.session_with(move('2', '3'), move('9', '3'), move('3', '3'), delete('3'))
    assert [code for _, code in answers[1:]] == [200, 404, 428, 427]
    assert paths(phone.server) == ['/a', '/c', '/c/b']


def test_73_it_is_announced():
    assert Tree.hierarchicalSync
    server, client = tree('S'), tree('C')
    [results] = sync(client, server).sent(Results)
    assert results.items[0].data.stores[0].hierarchical_sync


# --- 74: some fields only ------------------------------------------------------------------------


def test_74_some_fields_only():
    phone, server = phone_in_step('a', agent=Fields())
    _, answers = phone.session_with(partial('a', title='new'))
    assert answers[1] == ('Replace', 200)
    assert [(item.url, item.title) for item in server.agent.getAllItems()] == [('a', 'new')]
    phone.start()
    reply = phone.say(Get(items=(Item(target=Location('./devinf12')),)), final=False)
    [results] = [command for command in reply.commands if isinstance(command, Results)]
    [capability] = results.items[0].data.stores[0].capabilities
    assert capability.field_level
    assert [known.name for known in capability.properties] == ['url', 'title']


def test_74_notes_come_whole(notes):
    item = new_version('1', 'list.txt', 'changed').items
    partly = type(new_version('1', ''))(meta=Meta(type=META.type, field_level=True), items=item)
    _, answers = notes.phone.session_with(partly, delete('3'))
    assert [code for _, code in answers[1:]] == [406, 200]
    assert notes.files['list.txt'] == b'Shopping list\nmilk'
