"""What one peer may make us do and keep: each limit has its Status, and nothing else suffers."""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace

import pytest

from pysyncml.cli.failures import explain
from pysyncml.cli.logs import LogFormatter
from pysyncml.errors import InvalidName, RemoteProtocolError
from pysyncml.protocol.devinf import DataStoreInfo, DeviceInfo, DevInf
from pysyncml.protocol.limits import Limits
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Anchor,
    Delete,
    Get,
    Item,
    Location,
    Map,
    MapItem,
    Meta,
    Put,
    Replace,
    Results,
    Status,
    Sync,
)
from pysyncml.state.records import DeviceRecord, SessionRecord, StoreRecord
from pysyncml.storage import Spool, local_name
from tests.sync.phone import META, Phone, codes, data_of, server_with
from tests.sync.support import Script, Wire, bookmark, device, urls


def phone_for(server, **limits):
    server.adapter.limits = Limits(**limits)
    return Phone(server)


def add(name, luid='1', **values):
    return Add(meta=META, items=(Item(source=Location(luid), data=data_of(name), **values),))


def header_status(reply):
    return next(c.code for c in reply.commands if isinstance(c, Status) and c.cmd_ref == '0')


def with_header(phone, **values):
    """Let the next message of *phone* have other *values* in its header."""
    post = phone.script.post
    phone.script.post = lambda message: post(
        replace(message, header=replace(message.header, **values))
    )
    return lambda: setattr(phone.script, 'post', post)


# --- the header -----------------------------------------------------------------------------------


@pytest.mark.parametrize('number', ['\u00b2', '\u0661', '9' * 120, '-1', '', 'x', '1e9'])
def test_any_text_is_a_message_id(number, caplog):
    server = server_with('x')
    phone = Phone(server)
    phone.start()
    with_header(phone, msg_id=number)
    phone.sync(add('y'))
    assert not [r for r in caplog.records if r.exc_info]
    assert urls(server) in (['x'], ['x', 'y'])


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('session_id', '9' * 101),
        ('msg_id', '9' * 101),
        ('source', Location('D' * 101)),
        ('source', Location('D', 'name' * 26)),
    ],
)
def test_ids_in_the_header_have_a_length(field, value):
    server = server_with()
    phone = phone_for(server, header=100)
    with_header(phone, **{field: value})
    assert header_status(phone.start()) == 414
    with server.context.work() as work:
        assert work.records.find(DeviceRecord, role='client') == []


def test_a_session_has_an_end():
    server = server_with()
    phone = phone_for(server, messages=3)
    phone.start()
    told = [header_status(phone.say(Alert(code=222, items=(Item(),)), final=False)) for _ in '1234']
    assert told[:2] == [200, 200]
    assert told[2:] == [512, 512]


def test_a_client_leaves_a_session_that_has_no_end():
    server, client = device('S', *map(str, range(40)), maxMsgSize=3000), device('C')
    client.adapter.limits = Limits(messages=3)
    with pytest.raises(RemoteProtocolError, match='more than 3 messages'):
        client.sync(server)


# --- one message ----------------------------------------------------------------------------------


def test_a_message_with_too_many_commands_is_refused_as_a_whole():
    server = server_with()
    phone = phone_for(server, commands=20)
    phone.start()
    phone.sync(*(add(f'u{n}', str(n)) for n in range(30)))
    assert header_status(phone.reply) == 413
    assert urls(server) == []
    items = tuple(Item(source=Location(str(n)), data=data_of(str(n))) for n in range(30))
    phone.sync(Add(meta=META, items=items))
    assert header_status(phone.reply) == 413


def test_who_asks_often_is_told_a_few_times():
    phone = phone_for(server_with())
    phone.start()
    get = Get(items=tuple(Item(target=Location('./devinf12')) for _ in range(50)))
    reply = phone.say(get, final=False)
    assert sum(isinstance(c, Results) for c in reply.commands) == 10
    assert [code for _, code in codes(reply)] == [200] * 10 + [413] * 40


def test_device_information_has_a_size():
    server = server_with()
    phone = phone_for(server, device_information=2000)
    stores = tuple(DataStoreInfo(uri=f'store{n}', display_name='x' * 50) for n in range(50))
    document = DevInf(device=DeviceInfo(devID='D', devType='phone'), stores=stores)
    phone.session, phone.message = '1', 0
    reply = phone.say(Put(items=(Item(source=Location('./devinf12'), data=document),)))
    assert codes(reply) == [('Put', 413)]
    with server.context.work() as work:
        assert work.records.first(DeviceRecord, role='client').stores is None


@pytest.mark.parametrize('size', [1, 10, 10**17])
def test_a_message_is_made_whatever_size_is_wanted(size):
    server = server_with(*(f'u{n}' for n in range(30)))
    phone = Phone(server)
    with_header(phone, meta=Meta(max_msg_size=size))
    phone.start(201)
    phone.sync()
    assert header_status(phone.reply) == 200
    assert Limits().room(size) in (500, 16 << 20)


def test_a_size_holds_for_one_session():
    server, client = device('S'), device('C', 'x')
    client.sync(server)
    with client.context.work() as work:
        record = work.records.first(DeviceRecord, role='server')
        record.max_msg_size = 1  # a hostile server has said so
        work.records.save(record)
    for n in range(30):
        client.add(bookmark(f'n{n}'))
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert len(urls(server)) == 31
    assert len(wire.sent(Sync, by='client')) == 1


# --- ids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', [Add, Replace, Delete])
def test_an_id_has_a_length(kind):
    server = server_with()
    phone = phone_for(server, id=100)
    phone.start()
    item = Item(source=Location('L' * 101), data=data_of('long') if kind is not Delete else None)
    answers = phone.sync(kind(meta=META, items=(item,)), add('short'))
    assert [code for _, code in answers[1:]] == [414, 201]
    assert urls(server) == ['short']


def test_a_client_takes_no_long_ids_either():
    server = server_with('x')
    client = device('C')
    client.adapter.limits = Limits(id=3)
    stats = client.sync(server)['items']
    assert urls(client) == []
    assert stats.hereErr == 1


def test_an_id_in_a_map_has_a_length():
    server = server_with('x')
    phone = phone_for(server, id=100)
    phone.start()
    phone.sync()
    [uri] = [c.items[0].source_uri for c in phone.reply.walk() if isinstance(c, Add)]
    pairs = Map(
        target=Location('items'),
        source=Location('x'),
        items=(MapItem(target=uri, source='L' * 101),),
    )
    assert ('Map', 414) in codes(phone.say(pairs))
    with server.context.work() as work:
        query = work.tables.mapping.select().with_only_columns(work.tables.mapping.c.remote_id)
        assert list(work.connection.execute(query).scalars()) == [None]


@pytest.mark.parametrize('which', ['last', 'next'])
def test_an_anchor_has_a_length(which):
    phone = phone_for(server_with(), anchor=100)
    phone.session, phone.message = '1', 0
    anchor = Anchor(**{'next': '1', 'last': '0', which: '1' * 101})
    item = Item(target=Location('items'), source=Location('x'), meta=Meta(anchor=anchor))
    assert codes(phone.say(Alert(code=200, items=(item,)))) == [('Alert', 400)]


def test_a_device_has_so_many_datastores():
    server = server_with()
    phone = phone_for(server, datastores=3)
    told = []
    for number in range(5):
        phone.session, phone.message = str(number), 0
        item = Item(target=Location('items'), source=Location(f'x{number}'))
        told += codes(phone.say(Alert(code=201, items=(item,))))
    assert [code for _, code in told] == [200, 200, 200, 420, 420]
    with server.context.work() as work:
        peer = work.records.first(DeviceRecord, role='client')
        assert len(work.records.find(StoreRecord, device_id=peer.id)) == 3


@pytest.mark.parametrize('depth', [100, 101, 2000])
def test_a_name_has_a_depth(depth):
    name = 'd/' * (depth - 1) + 'x'
    if depth <= 100:
        assert local_name(name) == name
    else:
        with pytest.raises(InvalidName, match='in more than 99 folders'):
            local_name(name)


# --- items in parts -------------------------------------------------------------------------------


def part(name, size, luid='1', **values):
    item = Item(source=Location(luid), meta=Meta(size=size), data=name, more_data=True, **values)
    return Add(meta=META, items=(item,))


def test_an_item_in_parts_has_a_size():
    phone = phone_for(server_with(), item=1000)
    phone.start()
    assert phone.sync(part(b'x', 1001), final=False)[1] == ('Add', 416)
    assert phone.sync(part(b'x', 10**17), final=False)[1] == ('Add', 416)
    assert phone.sync(part(b'x', 1000), final=False)[1] == ('Add', 213)


def test_what_is_unfinished_makes_room_for_others():
    server = server_with()
    server.adapter.limits = Limits(unfinished=5000)
    for number in range(5):
        phone = Phone(server, name=f'D{number}')
        phone.start()
        assert phone.sync(part(b'x' * 2000, 3000), final=False)[1] == ('Add', 213)
    with server.context.work() as work:
        rows = list(work.connection.execute(work.tables.chunk.select()))
        objects = list(work.connection.execute(work.tables.unfinished.select()))
    assert len(rows) == len(objects) == 1
    # the first one goes on: what was forgotten is asked for again
    rest = Item(source=Location('1'), data=b'y' * 1000)
    first = Phone(server, name='D9')
    first.start()
    assert first.sync(part(b'x' * 2000, 3000, luid='9'), final=False)[1] == ('Add', 213)
    assert first.sync(Add(meta=META, items=(rest,)))[1][1] >= 400


def test_promises_count_as_much_as_what_has_come():
    server = server_with()
    server.adapter.limits = Limits(unfinished=5000)
    for number in range(3):
        phone = Phone(server, name=f'D{number}')
        phone.start()
        assert phone.sync(part(b'x', 3000), final=False)[1] == ('Add', 213)
    with server.context.work() as work:
        assert len(list(work.connection.execute(work.tables.unfinished.select()))) == 1


def test_what_has_to_be_in_memory_has_a_limit_of_its_own(tmp_path, monkeypatch):
    server = server_with()
    server.adapter.limits = Limits(in_memory=1000)
    server.context.database.spool = Spool(str(tmp_path / 'arriving'))
    phone = Phone(server)
    phone.start()
    assert phone.sync(part(b'x', 1001), final=False)[1] == ('Add', 416)
    monkeypatch.setattr(server.agent, 'reads_in_pieces', lambda ctype: True)
    assert phone.sync(part(b'x', 1001), final=False)[1] == ('Add', 213)
    server.context.database.spool = None
    assert phone.sync(part(b'x', 2 << 20, luid='2'), final=False)[1] == ('Add', 416)


def test_a_disk_without_room_is_not_filled(tmp_path, monkeypatch):
    server = server_with()
    spool = server.context.database.spool = Spool(str(tmp_path / 'arriving'))
    phone = Phone(server)
    phone.start()
    monkeypatch.setattr(spool, 'has_room', lambda size: size < 3 << 20)
    assert phone.sync(part(b'x', 4 << 20), final=False)[1] == ('Add', 420)
    assert phone.sync(part(b'x', 2 << 20, luid='2'), final=False)[1] == ('Add', 213)
    [file] = (tmp_path / 'arriving').iterdir()
    spool.finish(file.name)
    assert file.read_bytes() == b'x'
    # more than was promised is not written
    rest = Item(source=Location('2'), data=bytes(2 << 20))
    assert phone.sync(Add(meta=META, items=(rest,)))[1] == ('Add', 424)
    assert list((tmp_path / 'arriving').iterdir()) == []


@pytest.mark.parametrize('position', ['9' * 30, '9' * 5000, '-1', '1.5', '', '\u00b2'])
def test_a_position_may_be_any_text(position, caplog):
    server = server_with()
    phone = Phone(server)
    phone.start()
    item = Item(
        source=Location('1'), meta=Meta(size=9, emi=(f'datapos={position}',)), data=b'x',
        more_data=True,
    )  # fmt: skip
    phone.sync(Add(meta=META, items=(item,)))
    assert header_status(phone.reply) == 200
    assert not [r for r in caplog.records if r.exc_info]


# --- what is kept ---------------------------------------------------------------------------------


def state_of(server):
    with server.context.work() as work:
        [record] = work.records.find(SessionRecord)
    return record.state['session']


def test_a_client_that_never_says_what_came_of_it_is_not_waited_for():
    server = server_with(*(f'u{n:03}' for n in range(200)), maxMsgSize=None)
    phone = phone_for(server, awaiting=30)
    with_header(phone, meta=Meta(max_msg_size=2000))
    phone.start(201)
    phone.sync()
    most = 0
    for _ in range(60):
        phone.say(Alert(code=222, items=(Item(),)))
        most = max(most, len(state_of(server)['awaiting']))
    assert 30 <= most < 50, 'those of the last message, and 30 more'


def test_lines_about_what_went_wrong_are_few_and_short():
    server = server_with()
    phone = phone_for(server, lines=5)
    phone.start()
    phone.sync(*(Add(meta=META, items=(Item(source=Location('x' * 1500)),)) for _ in range(40)))
    problems = state_of(server)['datastores'][0]['stats']['problems']
    assert len(problems) == 6
    assert max(map(len, problems)) <= 500
    assert state_of(server)['datastores'][0]['stats']['hereErr'] == 40


def test_so_many_sessions_are_kept():
    server = server_with()
    server.adapter.limits = Limits(sessions=5)
    for number in range(20):
        Phone(server, name=f'D{number}').start()
    with server.context.work() as work:
        assert len(work.records.find(SessionRecord)) <= 6


def test_the_same_conflict_is_remembered_once():
    server = server_with(policy=2)
    names = server.adapter.limits.lines
    phone = Phone(server)
    phone.session_with(add('x'), code=201)
    for _ in range(names + 20):
        phone.start()
        phone.sync(add('x'), add('x'))
    assert len(state_of(server)['datastores'][0]['withheld']) <= 1


def test_answers_are_fetched_before_more_is_asked_for():
    server = server_with()
    phone = phone_for(server, unsaid=100)
    undo = with_header(phone, meta=Meta(max_msg_size=1000))
    phone.start()
    luids = itertools.count(1)
    told = []
    for _ in range(6):
        phone.sync(*(add(f'u{n}', str(n)) for n in itertools.islice(luids, 40)), final=False)
        told.append(header_status(phone.reply))
    assert told[0] == 200 and told[-1] == 413
    assert len(urls(server)) == 40 * told.count(200)
    undo()
    answered = 0
    for _ in range(100):
        reply = phone.say(Alert(code=222, items=(Item(),)), final=False)
        assert header_status(reply) == 200
        answered += sum(name == 'Add' for name, _ in codes(reply))
        if codes(reply) == [('Alert', 200)]:
            break
    phone.sync(add('last', 'last'))
    assert 'last' in urls(server)


# --- sessions that go on --------------------------------------------------------------------------


def test_a_refresh_that_goes_on_remembers_that_its_first_half_had_errors():
    server = server_with()
    phone = Phone(server)
    phone.session_with(add('x', '1'), add('y', '2'), code=201)
    phone.start(203)
    bad = Replace(meta=META, items=(Item(source=Location('1'), data=b'no JSON'),))
    phone.sync(bad, final=False)
    phone.say(Alert(code=224, items=(Item(),)))
    phone.start(225)
    phone.sync(add('z', '3'))
    phone.end()
    assert urls(server) == ['x', 'y', 'z'], 'the only version of x may be here'


def test_a_server_that_forgot_what_it_has_put_off_says_so():
    server = server_with()
    phone = Phone(server)
    phone.start()
    server.adapter.isBusy = lambda: True
    phone.sync(add('x'))
    assert header_status(phone.reply) == 101
    server.adapter.isBusy = None
    server.adapter.waiting.__init__()  # a restart
    reply = phone.say(Alert(code=221, items=(Item(),)), final=False)
    assert header_status(reply) == 512
    assert codes(reply) == []


@pytest.mark.parametrize(
    ('told', 'fine', 'url'),
    [
        ('https://S/here', True, 'https://S/'),
        ('HTTPS://other/', True, 'https://S/'),
        ('http://other/', False, 'https://S/'),
        ('file:///etc/passwd', False, 'https://S/'),
        ('ftp://S/', False, 'https://S/'),
        ('javascript:x', False, 'https://S/'),
        ('S', False, 'https://S/'),
        ('http://S:8080/here', True, 'http://S/'),
        ('https://S/', True, 'http://S/'),
        ('http://192.168.1.1/', False, 'http://S/'),
        ('http://localhost:631/', False, 'http://S/'),
        ('https://other/', False, 'http://S/'),
        ('http://[S/', False, 'http://S/'),
    ],
)
def test_a_server_says_where_the_session_goes_on_but_not_everywhere(told, fine, url):
    server, client = device('S', 'x'), device('C')
    script = Script(server)
    client.adapter.peer = client.context.RemoteAdapter(url=url)
    asked = []

    class Telling:
        def exchange(self, request):
            asked.append(request.url)
            return script.told(request, resp_uri=told)

        def close(self):
            """Nothing is to be closed."""

    script.told = lambda request, **values: _with_header(server.handle(request), **values)
    if fine:
        client.adapter.sync(transport=Telling())
        assert set(asked[1:]) == {told}
    else:
        with pytest.raises(RemoteProtocolError, match='refused'):
            client.adapter.sync(transport=Telling())
        assert asked == [url]


def test_a_server_behind_a_proxy_that_speaks_tls_for_it_does_not_have_us_go_back_to_http():
    server, client = device('S', 'x'), device('C')
    client.adapter.peer = client.context.RemoteAdapter(url='https://S:8443/')
    asked = []

    class Proxy:
        def exchange(self, request):
            asked.append(request.url)
            return _with_header(server.handle(request), resp_uri='http://S:8080/on')

        def close(self):
            """Nothing is to be closed."""

    client.adapter.sync(transport=Proxy())
    assert set(asked) == {'https://S:8443/', 'https://S:8443/on'}


def _with_header(response, **values):
    from pysyncml.codec import decode, encode

    message = decode(response.content_type, response.body)
    kind, body = encode(replace(message, header=replace(message.header, **values)))
    return replace(response, body=body, content_type=kind)


# --- what people see ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'text', ['\x1b[2J', 'a\rb', '\u202etxt', 'x' * 100_000, 'a\x00b', '\udcff']
)
def test_a_line_of_the_log_cannot_do_anything_to_a_terminal(text):
    record = logging.makeLogRecord({'msg': '%s was refused', 'args': (text,), 'levelno': 30})
    line = LogFormatter().format(record)
    assert line.isprintable() or line.replace('\n', '').isprintable()
    assert len(line) < 2100


def test_an_error_of_a_peer_is_one_short_line():
    line, code = explain(RemoteProtocolError('the answer belongs to ' + 'x\n' * 100_000))
    assert len(line) <= 1000
    assert '\n' not in line and code == 8


def test_all_limits_are_in_the_documentation():
    from pathlib import Path

    text = (Path(__file__).parents[2] / 'docs' / 'protocol.rst').read_text()
    missing = [name for name in Limits.__slots__ if f'``{name}``' not in text]
    assert missing == []


def test_a_stranger_writes_no_long_lines_into_the_log(caplog):
    """Also where a message is refused before anything else of it was looked at."""
    server = server_with()
    phone = phone_for(server)
    with_header(phone, version='7', dtd_version='7', source=Location('D\n' * 100_000))
    phone.start()
    assert max(len(record.getMessage()) for record in caplog.records) < 500
    assert not any('\n' in record.getMessage() for record in caplog.records)
