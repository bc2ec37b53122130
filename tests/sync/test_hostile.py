"""Peers that lie, come at odd times, or ask for what is not theirs."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from itertools import pairwise

import pytest

from pysyncml.codec import decode, encode
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Filter,
    Item,
    Location,
    Map,
    MapItem,
    Message,
    Meta,
    Replace,
    Status,
    Sync,
)
from pysyncml.transport import Request
from tests.sync.phone import META, Phone, codes, data_of, sent
from tests.sync.support import BookmarkAgent, Wire, bookmark, device, find, urls


def part(data, *, source='1', kind=Add, size=None, more=True, emi=()):
    meta = Meta(size=size, emi=emi)
    item = Item(source=Location(source), meta=meta, data=data, more_data=more)
    return kind(meta=META, items=(item,))


def whole(data, source='1', kind=Add):
    return kind(meta=META, items=(Item(source=Location(source), data=data),))


class Filtering(BookmarkAgent):
    filterNames = ('url',)

    def filterProperties(self, itemID):
        return {'url': self.shelf[itemID].url}


# --- items that come in parts -----------------------------------------------------------------


def known_item(**values):
    """Return a server and a phone that both have the bookmark ``x``; there it is called 1."""
    server = device('S', **values)
    phone = Phone(server)
    phone.session_with(whole(data_of('x')), code=201)
    assert urls(server) == ['x']
    return server, phone


@pytest.mark.parametrize('refused', ['too large', 'no size', 'no end'])
def test_a_refresh_deletes_nothing_when_an_item_in_parts_was_not_taken(refused):
    server, phone = known_item(maxObjSize=1000)
    phone.start(203)
    size = {'too large': 5000, 'no size': None, 'no end': 900}[refused]
    phone.sync(part(b'{"url": "x", ', size=size))
    phone.end()
    assert urls(server) == ['x']


def test_an_item_that_has_become_small_is_taken_after_a_session_that_broke_in_its_middle():
    server, phone = known_item()
    phone.start(200)
    phone.sync(part(b'{"url": "x", ', kind=Replace, size=900), final=False)
    # the connection breaks; the next session is an ordinary one
    phone.start(200)
    answers = phone.sync(whole(data_of('x', 'short'), kind=Replace))
    assert answers[1] == ('Replace', 200)
    [item] = server.agent.getAllItems()
    assert item.title == 'short'


def test_ids_of_maps_may_be_any_number():
    server, phone = known_item()
    server.add(bookmark('new'))
    phone.start(200)
    phone.sync()
    reply = phone.end(('#' + '9' * 30, 'a'), ('#' + '9' * 5000, 'b'), ('#-1', 'c'))
    assert ('Map', 200) in codes(reply)


# --- sessions ---------------------------------------------------------------------------------


@pytest.mark.parametrize('code', [221, 222, 223, 224, 100])
def test_who_goes_on_with_a_session_that_nobody_knows_hears_so(code):
    _, phone = known_item()
    phone.session, phone.message = '4711', 4
    reply = phone.say(Alert(code=code, items=(Item(data=b'hello'),)), final=False)
    [status] = [c for c in reply.commands if isinstance(c, Status)]
    assert (status.cmd_ref, status.code) == ('0', 512)


def test_a_message_of_an_old_session_does_not_end_the_new_one():
    server, phone = known_item()
    phone.start(200)
    old, number = phone.session, phone.message
    phone.start(200)
    new = phone.session, phone.message
    phone.session, phone.message = old, number
    phone.say(Alert(code=222, items=(Item(),)), final=False)
    phone.session, phone.message = new
    assert phone.sync(whole(data_of('y'), source='2'))[1] == ('Add', 201)
    assert urls(server) == ['x', 'y']


def test_two_datastores_of_a_client_do_not_go_with_one_of_ours():
    server = device('S')
    phone = Phone(server)
    phone.start(201)
    phone.session, phone.message = 'two', 0
    items = [Item(target=Location('items'), source=Location(name)) for name in 'ab']
    reply = phone.say(*(Alert(code=201, items=(item,)) for item in items))
    taken = [code for name, code in codes(reply) if name == 'Alert']
    syncs = [
        Sync(
            target=Location('items'),
            source=Location(name),
            commands=(whole(data_of(f'of {name}')),),
        )
        for name in 'ab'
    ]
    answers = codes(phone.say(*syncs))
    assert urls(server) == ['of a'], (taken, answers)


def test_a_session_that_goes_on_keeps_its_filter():
    server = device('S', 'kept', 'mine', agent=Filtering())
    phone = Phone(server)
    record = Item(meta=Meta(type='syncml:filtertype-cgi'), data=b'url&EQ;mine')
    phone.start(203, filter=Filter(record=record, filter_type='INCLUSIVE'))
    phone.sync(whole(data_of('mine')), final=False)
    phone.say(Alert(code=224, items=(Item(),)))
    phone.start(225)
    phone.sync()
    phone.end()
    assert urls(server) == ['kept', 'mine']


def test_what_a_client_said_before_it_gave_up_counts():
    server = device('S', 'y')
    phone = Phone(server)
    phone.start(201)
    phone.sync(whole(data_of('x')))
    told = []
    server.adapter.onEnd = lambda peer, stats, how: told.append(how)
    [(_, uri)] = sent(phone.reply)
    pairs = Map(
        target=Location('items'), source=Location('x'), items=(MapItem(target=uri, source='L'),)
    )
    gives_up = Status(msg_ref='2', cmd_ref='0', cmd='SyncHdr', code=500)
    assert codes(phone.say(gives_up, pairs, final=False)) == [('Map', 200)]
    assert told == ['ended by the client (500)']
    [status] = phone.say(Alert(code=222, items=(Item(),))).commands
    assert status.code >= 400, 'it is over'
    phone.start(201)
    phone.sync(whole(data_of('x')), whole(data_of('y'), source='L'))
    assert sent(phone.reply) == []


# --- who may know what ------------------------------------------------------------------------


class Guarded:
    """A server that asks for a password, and what travels to it."""

    def __init__(self):
        self.server = device('S', 'secret')
        self.server.context.setAccounts({'me': 'word'})
        self.requests = []
        self.client = device('C', *(f'c{n}' for n in range(30)), maxMsgSize=4000)
        self.client.adapter.peer = self.client.context.RemoteAdapter(
            url='https://S/', username='me', password='word'
        )

    def exchange(self, request):
        self.requests.append(request)
        return self.server.handle(request)

    def close(self):
        """Nothing is to be closed."""


def test_a_stranger_does_not_get_the_answer_that_was_put_off():
    there = Guarded()
    busy = there.server.adapter.isBusy = lambda: len(there.requests) == 1
    answers = []

    def exchange(request):
        there.requests.append(request)
        response = there.server.handle(request)
        if len(there.requests) == 1:
            message = decode(request.content_type, request.body)
            header = replace(message.header, msg_id='2', cred=None)
            alert = Alert(cmd_id='1', code=221, items=(Item(),))
            kind, body = encode(Message(header=header, commands=(alert,)))
            there.requests.append(None)
            asked = Request(url='https://S/', headers={'content-type': kind}, body=body)
            answers.append(there.server.handle(asked))
        return response

    there.exchange = exchange
    assert busy() is False
    there.client.adapter.sync(transport=there)
    [answer] = answers
    told = decode(answer.content_type, answer.body)
    assert {s.code for s in told.commands if isinstance(s, Status)} == {407}
    assert [type(c) for c in told.commands if not isinstance(c, Status)] == []
    assert 'secret' in urls(there.client), 'the client still gets its answer'


def test_who_repeats_a_message_must_know_where_it_went():
    """The address of a session is its password: the bytes of a message may be guessed."""
    there = Guarded()
    there.client.adapter.sync(transport=there)
    last = there.requests[-1]
    assert 'session=' in last.url
    again = there.server.handle(last)
    assert decode(again.content_type, again.body).commands[0].code < 300
    guessed = there.server.handle(replace(last, url='https://S/'))
    told = decode(guessed.content_type, guessed.body)
    assert {s.code for s in told.commands if isinstance(s, Status)} == {407}


@pytest.mark.parametrize('title', [' ' * 20_000, '\N{SNOWMAN}' * 7_000])
def test_long_gaps_do_not_make_small_parts_in_wbxml(title):
    server, client = device('S', maxMsgSize=3000), device('C')
    client.context.codec = 'wbxml'
    client.add(bookmark('x', title))
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert server.agent.getItem(find(server, 'x')).title == title
    assert len(wire.sent(Add, by='client')) < 40


@pytest.mark.parametrize('back', [1, 2])
def test_parts_in_base64_that_overlap_make_a_whole(back):
    server = device('S')
    phone = Phone(server)
    phone.start(201)
    data = data_of('x', 'long ' * 400)
    text = b64encode(data)
    cuts = [0, 404, 808, 1212, 1616]
    parts = list(pairwise([*cuts, len(text)]))
    for start, end in parts[:-1]:
        meta = Meta(format='b64', size=None if start else len(text))
        item = Item(source=Location('1'), meta=meta, data=text[start:end], more_data=True)
        phone.sync(Add(meta=META, items=(item,)), final=False)
    phone.say(Alert(code=224, items=(Item(),)))
    phone.start(225)
    answers = []
    for start, end in parts[-1 - back :]:
        meta = Meta(format='b64', emi=(f'datapos={start}',))
        item = Item(
            source=Location('1'),
            meta=meta,
            data=text[start:end],
            more_data=end < len(text),
        )
        answers += phone.sync(Add(meta=META, items=(item,)), final=False)
    assert answers[-1] == ('Add', 201)
    assert urls(server) == ['x']
