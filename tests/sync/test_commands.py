"""Commands besides Add, Replace and Delete: carried out, or refused while the session goes on."""

from __future__ import annotations

import itertools
import logging

import pytest

from pysyncml.protocol.messages import (
    Add,
    Alert,
    Atomic,
    Copy,
    Delete,
    Exec,
    Get,
    Item,
    Location,
    Map,
    MapItem,
    Meta,
    Move,
    Replace,
    Results,
    Search,
    Sequence,
    Status,
    Sync,
)
from pysyncml.sync.replies import Reply
from tests.sync.phone import (
    META,
    Keeper,
    Phone,
    add,
    codes,
    data_of,
    delete,
    phone_in_step,
    replace,
    sent,
    server_with,
    stats_of,
)
from tests.sync.support import (
    BookmarkAgent,
    Wire,
    bookmark,
    contents,
    device,
    edit,
    find,
    urls,
)


@pytest.fixture
def pair():
    return phone_in_step('a', 'b', agent=Keeper())


# --- Sequence ------------------------------------------------------------------------------------


def test_a_sequence_in_a_sync(pair):
    phone, server = pair
    phone.start()
    answers = phone.sync(
        Sequence(commands=(add('c', 'c'), Sequence(commands=(delete('c'), add('d', 'd'))))),
        delete('a'),
    )
    assert answers == [
        ('Sync', 200),
        ('Sequence', 200),
        ('Add', 201),
        ('Sequence', 200),
        ('Delete', 200),
        ('Add', 201),
        ('Delete', 200),
    ]
    assert urls(server) == ['b', 'd']


def test_a_sequence_around_everything(pair):
    phone, server = pair
    phone.start()
    sync = Sync(target=Location('items'), source=Location('x'), commands=(add('c', 'c'),))
    get = Get(items=(Item(target=Location('./devinf12')),))
    reply = phone.say(Sequence(commands=(sync, get, add('d', 'd'), Exec())))
    assert codes(reply) == [
        ('Sequence', 200),
        ('Sync', 200),
        ('Add', 201),
        ('Get', 200),
        ('Add', 405),
        ('Exec', 501),
    ]
    assert sum(isinstance(command, Results) for command in reply.commands) == 1
    assert urls(server) == ['a', 'b', 'c']


def test_a_failing_command_does_not_hold_up_a_sequence(pair):
    phone, server = pair
    phone.start()
    broken = Add(meta=META, items=(Item(source=Location('c'), data=b'no bookmark'),))
    answers = phone.sync(Sequence(commands=(broken, add('d', 'd'))))
    assert [code for _, code in answers] == [200, 200, 500, 201]
    assert urls(server) == ['a', 'b', 'd']


def test_the_answers_name_their_commands(pair):
    phone, _ = pair
    phone.start()
    phone.sync(Sequence(commands=(add('c', 'c'), delete('a'))))
    statuses = [s for s in phone.reply.commands if isinstance(s, Status) and s.cmd_ref != '0']
    assert [(s.cmd_ref, s.source_refs) for s in statuses] == [
        ('1', ('x',)),
        ('2', ()),
        ('3', ('c',)),
        ('4', ('a',)),
    ]


# --- Atomic --------------------------------------------------------------------------------------


def test_an_atomic_that_succeeds(pair):
    phone, server = pair
    phone.start()
    answers = phone.sync(Atomic(commands=(add('c', 'c'), replace('a', 'a', 'new'), delete('b'))))
    assert [code for _, code in answers] == [200, 200, 201, 200, 200]
    assert dict(contents(server)) == {'a': 'new', 'c': 'title of c'}


def everything(dev):
    """Return all that is stored of the changes and of what the peer knows."""
    with dev.context.work() as work:
        names = ('change', 'mapping', 'revision')
        return [work.connection.execute(getattr(work.tables, n).select()).all() for n in names]


@pytest.mark.parametrize('wrapped', [False, True])
def test_an_atomic_that_fails_leaves_nothing(pair, wrapped, caplog):
    caplog.set_level(logging.CRITICAL)
    phone, server = pair
    before = contents(server), everything(server)
    phone.start()
    broken = Replace(meta=META, items=(Item(source=Location('a'), data=b'no bookmark'),))
    children = (add('c', 'c'), delete('b'), broken, delete('a'), add('d', 'd'))
    if wrapped:
        children = (Sequence(commands=children[:3]), *children[3:])
    answers = phone.sync(Atomic(commands=children))
    expected = [200, 507, 216, 216, 500, 215, 215]
    if wrapped:
        expected.insert(2, 216)
    assert [code for _, code in answers] == expected
    assert (contents(server), everything(server)) == before
    counts = stats_of(server)
    assert counts.here == 0
    assert counts.hereErr == 1
    assert any('done together' in line for line in counts.problems)


def test_the_session_goes_on_after_a_failed_atomic(pair):
    phone, server = pair
    phone.start()
    answers = phone.sync(
        add('c', 'c'),
        Atomic(commands=(add('d', 'd'), Copy(items=(Item(source=Location('none')),)))),
        add('e', 'e'),
        replace('c', 'c', 'newer'),
    )
    assert [code for _, code in answers] == [200, 201, 507, 216, 404, 201, 200]
    phone.end()
    assert urls(server) == ['a', 'b', 'c', 'e']
    assert phone.session_with() == ([], [('Sync', 200)])
    assert phone.session_with(delete('c'), delete('e'))[1][1:] == [('Delete', 200)] * 2
    assert urls(server) == ['a', 'b']


def test_an_atomic_around_a_sync(pair):
    phone, server = pair
    phone.start()
    good = Sync(target=Location('items'), source=Location('x'), commands=(add('c', 'c'),))
    bad = Sync(target=Location('nothing'), source=Location('x'), commands=(add('d', 'd'),))
    reply = phone.say(Atomic(commands=(good, bad)), final=False)
    assert [code for _, code in codes(reply)] == [507, 216, 216, 404, 404]
    assert urls(server) == ['a', 'b']
    reply = phone.say(Atomic(commands=(good,)))
    assert [code for _, code in codes(reply)] == [200, 200, 201]
    assert urls(server) == ['a', 'b', 'c']


def test_an_atomic_in_an_atomic_is_an_error(pair):
    phone, server = pair
    phone.start()
    inner = Atomic(commands=(add('d', 'd'),))
    answers = phone.sync(Atomic(commands=(add('c', 'c'), Sequence(commands=(inner,)))))
    assert answers[1:] == [
        ('Atomic', 507),
        ('Add', 215),
        ('Sequence', 215),
        ('Atomic', 500),
        ('Add', 215),
    ]
    assert urls(server) == ['a', 'b']


def test_what_cannot_be_taken_back_is_not_begun():
    phone, server = phone_in_step('a')  # an agent that has no checkpoint()
    phone.start()
    answers = phone.sync(Atomic(commands=(add('b', 'b'), delete('a'))), add('c', 'c'))
    assert [code for _, code in answers] == [200, 406, 215, 215, 201]
    assert urls(server) == ['a', 'c']
    pieces = Add(items=(Item(source=Location('d'), data=b'{', more_data=True),))
    phone, server = phone_in_step('a', agent=Keeper())
    phone.start()
    assert [c for _, c in phone.sync(Atomic(commands=(pieces,)))] == [200, 406, 215]


def test_a_refresh_throws_nothing_away_when_an_atomic_was_refused():
    phone, server = phone_in_step('a', 'b')
    phone.session_with(add('a', 'a'), Atomic(commands=(add('b', 'b'),)), code=203)
    assert urls(server) == ['a', 'b']


def test_deletions_that_were_taken_back_do_not_count():
    names = [f'n{number}' for number in range(12)]
    phone, server = phone_in_step(*names, agent=Keeper())
    asked = []
    server.adapter.mayDelete = lambda count, total: asked.append((count, total))
    atomic = Atomic(commands=(*map(delete, names[:8]), Add()))
    _, answers = phone.session_with(atomic, *map(delete, names[:4]))
    assert [code for _, code in answers[-4:]] == [200] * 4
    assert asked == []
    assert stats_of(server).hereDel == 4
    assert len(urls(server)) == 8


def test_an_agent_that_fails_to_take_back_is_told_of(caplog):
    caplog.set_level(logging.CRITICAL)

    class Stubborn(Keeper):
        def checkpoint(self):
            def back():
                raise RuntimeError('it cannot be done')

            return back

    phone, _ = phone_in_step('a', agent=Stubborn())
    phone.start()
    answers = phone.sync(Atomic(commands=(add('b', 'b'), Delete())), add('c', 'c'))
    assert [code for _, code in answers] == [200, 507, 516, 412, 201]


# --- Copy and Move -------------------------------------------------------------------------------


def copy_of(source, target=None):
    item = Item(source=Location(source), target=Location(target) if target else None)
    return Copy(items=(item,))


def test_a_copy_under_an_id_of_the_clients(pair):
    phone, server = pair
    there, answers = phone.session_with(copy_of('a', 'a2'))
    assert answers == [('Sync', 200), ('Copy', 201)]
    assert there == [], 'the phone has its copy already'
    assert urls(server) == ['a', 'a', 'b']
    phone.session_with(replace('a2', 'changed'))
    assert urls(server) == ['a', 'b', 'changed']


def test_a_copy_without_an_id_is_sent_to_the_client(pair):
    phone, server = pair
    there, answers = phone.session_with(copy_of('a'))
    assert answers == [('Sync', 200), ('Copy', 201)]
    [(name, item_id)] = there
    assert name == 'Add'
    assert server.agent.getItem(item_id) == bookmark('a')
    assert len(server.agent.shelf) == 3
    assert stats_of(server).hereAdd == 1


@pytest.mark.parametrize('source', ['none', ''])
def test_what_is_not_there_cannot_be_copied(pair, source):
    phone, server = pair
    _, answers = phone.session_with(copy_of(source, 'c'), add('d', 'd'))
    assert [code for _, code in answers[1:]] == [404 if source else 400, 201]
    assert urls(server) == ['a', 'b', 'd']


def test_what_is_too_large_for_memory_is_not_copied(pair, monkeypatch):
    phone, server = pair

    class Source:
        size = 1 << 30

    def dump(item, stream, contentType=None, version=None):
        stream.attach(Source())

    monkeypatch.setattr(server.agent, 'dumpItem', dump)
    _, answers = phone.session_with(copy_of('a', 'a2'))
    assert answers[1] == ('Copy', 413)
    assert len(server.agent.shelf) == 2


def test_a_copy_does_not_overwrite(pair):
    phone, server = pair
    _, answers = phone.session_with(copy_of('a', 'b'), copy_of('a', 'a'))
    assert [code for _, code in answers[1:]] == [418, 418]
    assert urls(server) == ['a', 'b']


def test_a_server_may_have_a_client_copy(pair):
    """We as the client: the server names our item, and what it calls the copy."""
    server, client = device('S'), device('C', 'mine')
    client.sync(server)
    [item_id] = client.agent.shelf

    class Copying(Wire):
        def exchange(self, request):
            from dataclasses import replace

            from pysyncml.codec import decode, encode

            response = super().exchange(request)
            message = decode(response.content_type, response.body)
            if not any(isinstance(command, Sync) for command in message.commands):
                return response
            added = tuple(
                replace(c, commands=(Copy(cmd_id='77', items=copy_of(item_id, 'g77').items),))
                if isinstance(c, Sync)
                else c
                for c in message.commands
            )
            kind, body = encode(replace(message, commands=added))
            return replace(response, body=body, headers={'content-type': kind})

    wire = Copying(server)
    client.sync(server, transport=wire)
    assert urls(client) == ['mine', 'mine']
    [pairs] = [command.items for command in wire.sent(Map)]
    assert [pair.target for pair in pairs] == ['g77']


def test_there_is_no_moving_without_folders(pair):
    phone, _ = pair
    move = Move(items=(Item(source=Location('a'), source_parent='b'),))
    _, answers = phone.session_with(move, add('c', 'c'))
    assert [code for _, code in answers[1:]] == [406, 201]


# --- Exec, Search, and what stands in the wrong place --------------------------------------------


def test_optional_commands_that_nobody_has(pair):
    phone, _ = pair
    phone.start()
    search = Search(sources=(Location('items'),), meta=Meta(type='x'), data='q', no_results=True)
    reply = phone.say(Exec(items=(Item(target=Location('./x')),)), search, final=False)
    assert codes(reply) == [('Exec', 501), ('Search', 501)]
    assert phone.sync(add('c', 'c'))[1] == ('Add', 201)


def test_data_outside_of_a_sync_is_405(pair):
    phone, server = pair
    phone.start()
    stray = (add('c', 'c'), replace('a', 'x'), delete('a'), copy_of('a', 'e'), Move())
    reply = phone.say(*stray, final=False)
    assert [code for _, code in codes(reply)] == [405] * 5
    assert phone.sync(add('d', 'd')) == [('Sync', 200), ('Add', 201)]
    assert urls(server) == ['a', 'b', 'd']


def test_what_may_not_stand_in_a_sync_is_405(pair):
    phone, server = pair
    phone.start()
    inner = Sync(target=Location('items'), commands=(add('c', 'c'),))
    answers = phone.sync(Sequence(commands=(inner, Alert(code=100))), add('d', 'd'))
    assert [code for _, code in answers] == [200, 200, 405, 405, 405, 201]
    assert urls(server) == ['a', 'b', 'd']


def test_a_command_without_items_is_412(pair):
    phone, _ = pair
    phone.start()
    answers = phone.sync(Add(), Delete(), Copy(), Sequence(), Atomic())
    assert [code for _, code in answers[1:]] == [412, 412, 412, 200, 200]


# --- Alert ---------------------------------------------------------------------------------------


def test_an_alert_too_late_is_403(pair):
    phone, server = pair
    phone.start()
    item = Item(target=Location('items'), source=Location('x'))
    reply = phone.say(Alert(code=203, items=(item,)), final=False)
    assert codes(reply) == [('Alert', 403)]
    assert phone.sync(add('c', 'c'))[1] == ('Add', 201)
    phone.end()
    assert urls(server) == ['a', 'b', 'c'], 'and is not followed'


def test_each_item_of_an_alert_has_its_status(pair):
    phone, _ = pair
    phone.start()
    items = tuple(Item(target=Location(uri), source=Location(uri)) for uri in ('items', 'none'))
    for code, status in ((999, 406), (222, 200)):
        reply = phone.say(Alert(code=code, items=items), final=False)
        found = [s for s in reply.commands if isinstance(s, Status) and s.cmd == 'Alert']
        assert [(s.target_refs, s.code) for s in found] == [
            (('items',), status),
            (('none',), status),
        ]


def test_one_alert_may_open_two_datastores():
    server = device('S', 'a')
    server.adapter.addStore(server.context.Store(uri='more', agent=BookmarkAgent()))
    phone = Phone(server)
    phone.session, phone.message = 's', 0
    items = tuple(
        Item(target=Location(uri), source=Location(uri)) for uri in ('items', 'more', 'none')
    )
    reply = phone.say(Alert(code=201, items=items))
    assert [code for _, code in codes(reply)] == [200, 200, 404]
    assert [a.items[0].source_uri for a in reply.commands if isinstance(a, Alert)] == [
        'items',
        'more',
    ]


def test_a_text_is_shown_to_the_user(pair, caplog):
    phone, _ = pair
    phone.start()
    text = 'Grüße!\x1b[2J\n' + 'x' * 1000
    reply = phone.say(Alert(code=100, items=(Item(data=text.encode()), Item())), final=False)
    assert codes(reply) == [('Alert', 200), ('Alert', 200)]
    [shown, _] = [record.getMessage() for record in caplog.records]
    assert 'D says: Grüße! [2J xxx' in shown
    assert '\x1b' not in shown
    assert len(shown) < 600


# --- no answer wanted ----------------------------------------------------------------------------


def test_commands_that_want_no_status_get_none(pair):
    phone, server = pair
    phone.start()
    quiet = Add(no_resp=True, meta=META, items=add('c', 'c').items)
    sequence = Sequence(no_resp=True, commands=(delete('a'),))
    assert phone.sync(quiet, sequence) == [('Sync', 200), ('Delete', 200)]
    assert urls(server) == ['b', 'c']


def test_a_message_that_wants_no_status_gets_results_still(pair):
    phone, server = pair
    phone.start()
    get = Get(items=(Item(target=Location('./devinf12')),))
    sync = Sync(target=Location('items'), source=Location('x'), commands=(add('c', 'c'),))
    reply = phone.say(get, sync, no_resp=True)
    assert [c.name for c in reply.commands] == ['Results', 'Sync']
    assert urls(server) == ['a', 'b', 'c']


def test_several_things_may_be_asked_for_at_once(pair):
    phone, _ = pair
    phone.start()
    targets = ('./devinf12', './secrets', 'devinf12')
    reply = phone.say(Get(items=tuple(Item(target=Location(t)) for t in targets)), final=False)
    assert [code for _, code in codes(reply)] == [200, 404, 200]
    assert sum(isinstance(c, Results) for c in reply.commands) == 2


# --- Map -----------------------------------------------------------------------------------------


def test_pairs_that_make_no_sense_are_harmless():
    server = server_with('a')
    phone = Phone(server)
    phone.start(201)
    phone.sync()
    [(_, item_id)] = sent(phone.reply)
    phone.end(('no such id', '1'), (item_id, ''), ('', ''), ('', '2'), (item_id, '7'))
    there, _ = phone.session_with()
    assert there == []
    edit(server, item_id, title='new')
    there, _ = phone.session_with()
    assert there == [('Replace', '7')]
    phone.start()
    pairs = (MapItem(target=item_id, source='8'),)
    reply = phone.say(Map(target=Location('other'), source=Location('x'), items=pairs), final=False)
    assert codes(reply) == [('Map', 404)]


# --- Add, Replace, Delete ------------------------------------------------------------------------


def test_ids_that_do_not_fit_their_command(pair):
    phone, server = pair
    _, answers = phone.session_with(
        add('a', 'a'),
        add('b', 'b', 'another title'),
        replace('new', 'new'),
        delete('none'),
    )
    assert [code for _, code in answers[1:]] == [418, 200, 201, 211]
    assert dict(contents(server)) == {
        'a': 'title of a',
        'b': 'another title',
        'new': 'title of new',
    }


def test_several_items_have_several_statuses(pair):
    phone, _ = pair
    items = tuple(Item(source=Location(n), data=data_of(n)) for n in 'cde')
    phone.start()
    answers = phone.sync(Add(meta=META, items=items), Delete(items=add('a', 'a').items))
    assert answers == [('Sync', 200), *[('Add', 201)] * 3, ('Delete', 200)]
    refs = [s.source_refs for s in phone.reply.commands if isinstance(s, Status) and s.cmd == 'Add']
    assert refs == [('c',), ('d',), ('e',)]


def test_archiving_needs_an_archive(pair):
    phone, server = pair
    _, answers = phone.session_with(delete('a', archive=True), delete('b'))
    assert [code for _, code in answers[1:]] == [501, 200]
    assert urls(server) == ['a']


class Archive(Keeper):
    def __init__(self):
        super().__init__()
        self.archive = {}

    def archiveItem(self, itemID):
        self.archive[itemID] = self.shelf.pop(itemID)


def test_what_is_archived_is_gone_for_everybody():
    phone, server = phone_in_step('a', 'b', agent=Archive())
    other = device('C')
    other.sync(server)
    _, answers = phone.session_with(delete('a', archive=True))
    assert [code for _, code in answers[1:]] == [200]
    assert urls(server) == ['b']
    assert [item.url for item in server.agent.archive.values()] == ['a']
    other.sync(server)
    assert urls(other) == ['b']


# --- soft delete ---------------------------------------------------------------------------------


def test_a_soft_deleted_item_stays_and_is_not_sent(pair):
    phone, server = pair
    other = device('C')
    other.sync(server)
    _, answers = phone.session_with(delete('a', soft=True))
    assert [code for _, code in answers[1:]] == [200]
    edit(server, find(server, 'a'), title='changed')
    assert phone.session_with() == ([], [('Sync', 200)])
    assert urls(server) == ['a', 'b']
    assert stats_of(server).hereDel == 0
    other.sync(server)
    assert ('a', 'changed') in contents(other)


def test_not_in_a_slow_sync_either_but_in_a_refresh(pair):
    phone, server = pair
    phone.session_with(delete('a', soft=True))
    assert phone.session_with(add('b', 'b'), code=201)[0] == []
    there, _ = phone.session_with(code=205)
    assert [name for name, _ in there] == ['Add', 'Add']
    assert len(server.agent.shelf) == 2


def test_a_refresh_from_the_client_does_not_delete_it(pair):
    phone, server = pair
    phone.session_with(delete('a', soft=True))
    phone.session_with(code=203)
    assert urls(server) == ['a']


def test_its_id_still_means_it(pair):
    phone, server = pair
    phone.session_with(delete('a', soft=True), delete('b', soft=True))
    _, answers = phone.session_with(delete('a'), replace('b', 'b', 'back again'))
    assert [code for _, code in answers[1:]] == [200, 200]
    assert contents(server) == [('b', 'back again')]
    edit(server, find(server, 'b'), title='changed there')
    assert phone.session_with()[0] == [('Replace', 'b')], 'it is in the set again'


def test_what_was_changed_meanwhile_comes_when_it_is_back(pair):
    phone, server = pair
    phone.session_with(delete('a', soft=True))
    edit(server, find(server, 'a'), title='changed there')
    phone.session_with()
    there, _ = phone.session_with(replace('a', 'a'))
    assert there == [('Replace', 'a')]
    assert ('a', 'changed there') in contents(server)


def test_an_item_of_the_same_content_takes_its_place_in_a_slow_sync(pair):
    phone, server = pair
    phone.session_with(delete('a', soft=True))
    _, answers = phone.session_with(add('b', 'b'), add('a again', 'a'), code=201)
    assert [code for _, code in answers[1:]] == [418, 418]
    assert urls(server) == ['a', 'b']


def test_soft_deleting_what_is_deleted_here_is_423(pair):
    phone, server = pair
    server.delete(find(server, 'a'))
    there, answers = phone.session_with(delete('a', soft=True), delete('none', soft=True))
    assert [code for _, code in answers[1:]] == [423, 211]
    assert there == []


def sync_with(client, server, *children):
    """Have the server say *children* in its Sync; return the codes the client answers."""
    from dataclasses import replace as changed

    from pysyncml.codec import decode, encode

    class Foreign(Wire):
        def exchange(self, request):
            response = super().exchange(request)
            message = decode(response.content_type, response.body)
            numbers = itertools.count(70)
            numbered = tuple(changed(c, cmd_id=str(next(numbers))) for c in children)
            commands = tuple(
                changed(c, commands=numbered) if isinstance(c, Sync) else c
                for c in message.commands
            )
            kind, body = encode(changed(message, commands=commands))
            return changed(response, body=body, headers={'content-type': kind})

    wire = Foreign(server)
    client.sync(server, transport=wire)
    return [s.code for s in wire.sent(Status, by='client') if int(s.cmd_ref) >= 70]


def test_a_client_that_keeps_what_it_has_refuses():
    server, client = device('S'), device('C', 'a')
    client.sync(server)
    command = Delete(soft=True, items=(Item(target=Location(find(client, 'a'))),))
    assert sync_with(client, server, command) == [406]
    assert urls(client) == urls(server) == ['a']


def test_a_client_may_free_its_memory():
    class Forgetful(BookmarkAgent):
        def softDeleteItem(self, itemID):
            del self.shelf[itemID]

    server, client = device('S'), device('C', 'a', 'b', agent=Forgetful())
    client.sync(server)
    freed = find(client, 'a')
    commands = [Delete(soft=True, items=(Item(target=Location(i)),)) for i in (freed, 'none')]
    assert sync_with(client, server, *commands) == [200, 211]
    assert urls(client) == ['b']
    client.sync(server)
    assert urls(client) == ['b']
    edit(server, find(server, 'a'), title='wanted')
    for _ in range(2):  # told that it is not there any more, the server sends it as a new item
        client.sync(server)
    assert contents(client) == contents(server)
    assert len(contents(client)) == 2


# --- some fields only ----------------------------------------------------------------------------


def partial(luid, **fields):
    import json

    item = Item(source=Location(luid), data=json.dumps(fields).encode())
    return Replace(meta=Meta(type='text/x-bookmark', field_level=True), items=(item,))


def test_parts_of_items_are_refused(pair):
    phone, server = pair
    _, answers = phone.session_with(partial('a', title='new'), add('c', 'c'))
    assert [code for _, code in answers[1:]] == [406, 201]
    assert ('a', 'title of a') in contents(server)


class Fields(BookmarkAgent):
    fieldLevel = True


def test_parts_of_items_are_filled_up():
    phone, server = phone_in_step('a', 'b', agent=Fields())
    other = device('C')
    other.sync(server)
    _, answers = phone.session_with(partial('a', title='new'), partial('none', title='x'))
    assert [code for _, code in answers[1:]] == [200, 404]
    assert ('a', 'new') in contents(server)
    other.sync(server)
    assert ('a', 'new') in contents(other)
    # another field, changed on the server meanwhile, is no conflict
    edit(server, find(server, 'b'), url='b2')
    there, answers = phone.session_with(partial('b', title='of the phone'))
    assert answers[1][1] == 207
    assert ('b2', 'of the phone') in contents(server)
    assert there == [('Replace', 'b')]


def test_an_add_has_all_its_fields():
    phone, _ = phone_in_step('a', agent=Fields())
    item = Item(source=Location('c'), data=b'{"title": "x"}')
    whole = Add(meta=Meta(type='text/x-bookmark', field_level=True), items=(item,))
    assert [code for _, code in phone.session_with(whole)[1][1:]] == [406]


def test_an_atomic_takes_the_time_that_its_length_takes(pair, monkeypatch):
    """Each answer is looked at once, or a long one would keep everybody else waiting."""
    looked = []
    failed = Reply.failed.fget
    monkeypatch.setattr(Reply, 'failed', property(lambda self: looked.append(1) or failed(self)))
    phone, _ = pair
    phone.start()
    phone.sync(Atomic(commands=tuple(add(str(n), str(n)) for n in range(40))))
    assert 40 <= len(looked) < 100
