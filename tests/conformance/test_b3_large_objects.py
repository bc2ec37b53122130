"""B3: limits of messages, and items that travel in parts."""

from __future__ import annotations

import base64
import json

import pytest

from pysyncml.codec import encode
from pysyncml.protocol.messages import Add, Alert, Item, Location, Meta, Replace, Status, Sync
from tests.conformance.wire import Client, Watched, add, bookmark_data, commands_of, statuses_of
from tests.sync.support import bookmark, contents, device, edit, find, urls

TYPE = 'text/x-bookmark'

# what parts may be cut at: inside of a character, a line end, an entity, base64, the end of CDATA
TEXTS = {
    'plain': 'x',
    'two bytes': 'é',
    'four bytes': '\U0001f600',
    'entities': '<&>',
    'line ends': 'a\r\n',
    'what ends CDATA': ']]>',
    'what XML cannot carry': '\0\x07é',
    'blanks': ' \n\t ',
}
_ODD = ('four bytes', 'line ends', 'what XML cannot carry')


def long(unit: str, length: int) -> str:
    """Return a text of *length* bytes, about, with something to find at each end."""
    return f'<{unit * (length // len(unit.encode()))}>'


def part(
    data: bytes, *, size: int | None = None, more: bool = False, source: str = '1', **meta
) -> Add:
    """Return an Add with a part of an item."""
    about = Meta(type=TYPE, size=size, **meta)
    item = Item(source=Location(source), meta=about, data=data, more_data=more)
    return Add(meta=about, items=(item,))


def in_parts(data: bytes, length: int, **values) -> list[Add]:
    """Return the commands that bring *data* in parts of *length* bytes."""
    pieces = [data[start : start + length] for start in range(0, len(data), length)]
    return [
        part(
            piece,
            size=len(data) if number == 0 else None,
            more=number < len(pieces) - 1,
            **values,
        )
        for number, piece in enumerate(pieces)
    ]


def codes(reply, name='Add') -> list[int]:
    return statuses_of(reply, name)


def alert_codes(reply) -> list[int]:
    return [alert.code for alert in commands_of(reply, Alert)]


# --- 50: limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize('limit', [2000, 4000, 10_000])
def test_50_small_messages(dialect, limit):
    server = dialect.device('S', *(f's{n}' for n in range(25)), maxMsgSize=limit)
    client = dialect.device('C', *(f'c{n}' for n in range(25)), maxMsgSize=limit)
    wire = Watched(server, prompt=False)
    stats = client.sync(server, transport=wire)['items']
    assert (stats.hereAdd, stats.peerAdd, stats.errors) == (25, 25, 0)
    for number, (request, answer) in enumerate(wire.sizes):
        assert answer <= limit
        assert request <= limit or number == 0, 'before the server could say what it takes'
    assert contents(client) == contents(server)
    for side in ('client', 'server'):
        messages = wire.requests if side == 'client' else wire.answers
        told = [message.final for message in messages if commands_of(message, Sync)]
        assert told == [False] * (len(told) - 1) + [True]
        assert len(told) > 1


# --- 51, 54: parts --------------------------------------------------------------------------------


@pytest.mark.parametrize('times', [1.5, 3, 10])
def test_51_items_larger_than_a_message(dialect, times):
    limit = 4000
    server = dialect.device('S', maxMsgSize=limit)
    client = dialect.device('C', maxMsgSize=limit)
    client.add(bookmark('up', long('é', int(times * limit))))
    server.add(bookmark('down', long('x', int(times * limit))))
    if dialect.version == '1.0':  # which has no parts: the item is left where it is, and said
        stats = client.sync(server, transport=Watched(server, prompt=False))['items']
        assert stats.errors and urls(client) == ['up']
        return
    for mode in ('Add', 'Replace'):
        wire = Watched(server, prompt=False)
        stats = client.sync(server, transport=wire)['items']
        assert stats.errors == 0
        assert contents(client) == contents(server)
        for side in ('client', 'server'):
            parts = wire.sent(Add if mode == 'Add' else Replace, by=side)
            assert [c.items[0].more_data for c in parts] == [True] * (len(parts) - 1) + [False]
            sizes = [c.items[0].meta.size if c.items[0].meta else None for c in parts]
            assert sizes[0] and set(sizes[1:]) == {None}, 'the first part has the size'
            other = 'server' if side == 'client' else 'client'
            answers = [s.code for s in wire.sent(Status, by=other) if s.cmd == mode]
            assert answers[:-1] == [213] * (len(parts) - 1) and answers[-1] in (200, 201)
        assert max(max(pair) for pair in wire.sizes[1:]) <= limit
        edit(client, find(client, 'up'), title=long('ü', int(times * limit)))
        edit(server, find(server, 'down'), title=long('y', int(times * limit)))


@pytest.mark.parametrize(
    'unit', [t if t in _ODD else pytest.param(t, marks=pytest.mark.campaign) for t in TEXTS]
)
@pytest.mark.parametrize(
    'limits', [(2500, 2503), pytest.param((2505, 2510), marks=pytest.mark.campaign)]
)
def test_54_wherever_a_text_is_cut(later_dialect, unit, limits):
    for limit in limits:
        server, client = device('S', maxMsgSize=limit), later_dialect.device('C', maxMsgSize=limit)
        client.add(bookmark('up', long(TEXTS[unit], 6000)))
        server.add(bookmark('down', long(TEXTS[unit], 6000)))
        stats = client.sync(server)['items']
        assert stats.errors == 0, stats.problems
        assert contents(client) == contents(server)
        assert len(contents(client)) == 2


# --- 52: too large --------------------------------------------------------------------------------


def test_52_what_the_other_side_does_not_take_is_not_sent(dialect):
    server = dialect.device('S', maxMsgSize=4000, maxObjSize=9000)
    client = dialect.device('C', 'small', maxMsgSize=4000)
    client.add(bookmark('large', long('x', 9500)))
    wire = Watched(server, prompt=False)
    stats = client.sync(server, transport=wire)['items']
    assert urls(server) == ['small']
    limit = '4,000' if dialect.version == '1.0' else '9,000'  # 1.0 has no MaxObjSize
    assert stats.peerErr == 1 and f'{limit} bytes' in stats.problems[0]
    edit(client, find(client, 'large'), title='not any more')
    stats = client.sync(server)['items']
    assert stats.errors == 0 and contents(client) == contents(server)


def test_52_a_first_part_that_promises_too_much_is_refused(later_dialect):
    server = later_dialect.device('S', maxObjSize=5000)
    client = Client(server, later_dialect)
    client.begin(201)
    first = part(b'x' * 100, size=5001, more=True)
    reply = client.say(client.sync(first), final=False)
    assert codes(reply) == [416]
    reply = client.say(client.sync(add('2', 'small')))
    assert codes(reply) == [201]
    assert urls(server) == ['small']


# --- 53: what may be wrong with parts -------------------------------------------------------------


@pytest.fixture
def talk(later_dialect):
    """A foreign client that has just agreed on a slow sync with a server."""
    server = later_dialect.device('S')
    client = Client(server, later_dialect)
    client.begin(201)
    return client


DATA = bookmark_data('whole', 'x' * 900)


def test_53_parts_are_joined(talk):
    for command in in_parts(DATA, 300)[:-1]:
        assert codes(talk.say(talk.sync(command), final=False)) == [213]
    assert codes(talk.say(talk.sync(in_parts(DATA, 300)[-1]))) == [201]
    assert urls(talk.server) == ['whole']


def test_53_without_a_size(talk):
    reply = talk.say(talk.sync(part(DATA[:300], more=True)), final=False)
    assert codes(reply) == [411]
    reply = talk.say(talk.sync(add('2', 'other')))
    assert codes(reply) == [201]
    assert urls(talk.server) == ['other']


@pytest.mark.parametrize('wrong', [-1, 1, 300])
def test_53_with_a_wrong_size(talk, wrong):
    first, *others = in_parts(DATA, 300)
    first = part(first.items[0].data, size=len(DATA) + wrong, more=True)
    for command in (first, *others[:-1]):
        reply = talk.say(talk.sync(command), final=False)
    reply = talk.say(talk.sync(others[-1]))
    assert codes(reply) == [424]
    assert urls(talk.server) == []
    talk.confirm()
    assert talk.session(201, *[add('1', 'whole')]) == []
    assert urls(talk.server) == ['whole'], 'the next time'


def test_53_more_than_was_promised(talk):
    reply = talk.say(talk.sync(part(DATA[:300], size=400, more=True)), final=False)
    assert codes(reply) == [213]
    reply = talk.say(talk.sync(part(DATA[300:600], more=True)), final=False)
    assert codes(reply) == [424], 'at once: it might never end'


def test_53_another_command_before_the_last_part(talk):
    first = in_parts(DATA, 300)[0]
    talk.say(talk.sync(first), final=False)
    reply = talk.say(talk.sync(add('2', 'other')))
    assert 223 in alert_codes(reply)
    [alert] = [alert for alert in commands_of(reply, Alert) if alert.code == 223]
    assert alert.items[0].source_uri == '1'
    assert codes(reply) == [201]
    assert urls(talk.server) == ['other']


def test_53_a_package_that_ends_before_the_last_part(talk):
    reply = talk.say(talk.sync(in_parts(DATA, 300)[0]))
    assert 223 in alert_codes(reply)
    assert urls(talk.server) == []


def test_53_we_are_told_that_the_end_is_missing(later_dialect):
    """Our server gets Alert 223: it stops, and sends the whole item in the next session."""
    server = later_dialect.device('S', 'small')
    server.add(bookmark('large', 'x' * 9000))
    client = Client(server, later_dialect, meta=Meta(max_msg_size=4000), prompt=False)
    client.begin(201)
    reply = client.say(client.sync())
    while not any(c.items[0].more_data for c in commands_of(reply, Add)):
        reply = client.say(client.more('http://S/'), final=False)
    [name] = {c.items[0].source_uri for c in commands_of(reply, Add) if c.items[0].more_data}
    missing = Alert(code=223, items=(Item(source=Location(name)),))
    received = client.rest(client.say(missing, client.more('http://S/'), final=False))
    assert not [c for c in received if c.items[0].source_uri == name], 'not again in this session'
    client.confirm()
    client.begin(200)
    received = client.rest(client.say(client.sync()))
    data = b''.join(c.items[0].data for c in received if c.items[0].source_uri == name)
    assert json.loads(data)['title'] == 'x' * 9000


@pytest.mark.parametrize('length', [300, 301, 302, 303])
def test_53_base64_that_is_cut_anywhere(talk, length):
    """Peers that write base64 cut it where they like, and count its characters."""
    text = base64.b64encode(DATA)
    for command in in_parts(text, length, format='b64'):
        final = not command.items[0].more_data
        reply = talk.say(talk.sync(command), final=final)
    assert codes(reply) == [201]
    assert urls(talk.server) == ['whole']


def test_53_line_ends_that_got_lost_in_xml(talk):
    """A size that counts CRLF, though an XML parser has made LF of it, is right; only in XML."""
    data = json.dumps({'url': 'whole', 'title': 'x' * 900}, indent=1).encode()
    size = len(data.replace(b'\n', b'\r\n'))
    talk.say(talk.sync(part(data[:500], size=size, more=True)), final=False)
    taken = talk.dialect.encoding == 'xml'
    assert codes(talk.say(talk.sync(part(data[500:])))) == [201 if taken else 424]
    assert urls(talk.server) == (['whole'] if taken else [])


def test_50_the_test_measures_what_it_says(dialect):
    """The sizes above are those of whole messages, as they are sent."""
    server, client = dialect.device('S'), dialect.device('C', 'x')
    wire = Watched(server)
    client.sync(server, transport=wire)
    for message, (size, _) in zip(wire.requests, wire.sizes, strict=True):
        assert abs(len(encode(message, dialect.encoding)[1]) - size) < 40
