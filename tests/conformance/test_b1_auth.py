"""Who is there: versions, credentials and challenges, as the conformance tests ask (B1).

Peers that are written by hand say what ours never would; two of ours together show that it works.
"""

from __future__ import annotations

import dataclasses
import itertools

import pytest

import pysyncml
from pysyncml.codec import decode, encode
from pysyncml.constants import NAMESPACE_AUTH_BASIC, NAMESPACE_AUTH_MAC, NAMESPACE_AUTH_MD5
from pysyncml.login import refusal
from pysyncml.protocol import auth
from pysyncml.protocol.devinf import DataStoreInfo, DevInf
from pysyncml.protocol.messages import (
    Alert,
    Anchor,
    Chal,
    Cred,
    Get,
    Header,
    Item,
    Location,
    Message,
    Meta,
    Results,
    Status,
    Sync,
)
from pysyncml.service import answer
from pysyncml.transport import LoopbackTransport, Request, Response
from pysyncml.transport.http import HTTPTransport
from pysyncml.transport.wsgi import AdHocServer, application
from tests.sync.support import ENGINES, BookmarkAgent, bookmark, device, urls

VERSIONS = ('1.0', '1.1', '1.2')
MD5_VERSIONS = ('1.1', '1.2')
ENCODINGS = ('xml', 'wbxml')
USER, PASSWORD = 'Bruce2', 'OhBehave'
SERVER = 'https://S/'
FAR = 'http://far.example/'  # where others listen: no password goes there unasked

encodings = pytest.mark.parametrize('encoding', ENCODINGS)
versions = pytest.mark.parametrize('version', VERSIONS)
md5_versions = pytest.mark.parametrize('version', MD5_VERSIONS)


@pytest.fixture(autouse=True)
def databases():
    ENGINES.release()
    return


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""

    class Clock:
        now = 1_700_000_000.0

        def __call__(self):
            return self.now

    return Clock()


def guarded(kind=None, *, md5=True, name='S'):
    """Return a server with one bookmark that lets in Bruce2."""
    server = device(name, 'theirs')
    server.context.setAccounts({USER: PASSWORD, 'other': 'word'}, md5=md5)
    server.adapter.auth = kind
    return server


def client_of(password=PASSWORD, username=USER, url=SERVER, **values):
    client = device('C', 'ours')
    log_in(client, password, username, url, **values)
    return client


def log_in(client, password=PASSWORD, username=USER, url=SERVER, **values):
    client.adapter.peer = client.context.RemoteAdapter(
        url=url, username=username, password=password, **values
    )


def everything(dev):
    with dev.context.work() as work:
        return {
            table.name: work.connection.execute(table.select()).all()
            for table in work.tables.metadata.sorted_tables
        }


class Client:
    """A client written by hand."""

    def __init__(self, server, version='1.2', encoding='xml', session='1'):
        self.server = server
        self.version = version
        self.encoding = encoding
        self.session = session
        self.msg_id = 0

    def say(self, *commands, cred=None, name=None, mac=None, url=SERVER, **header):
        self.msg_id += 1
        values = {
            'version': self.version,
            'dtd_version': self.version,
            'session_id': self.session,
            'msg_id': str(self.msg_id),
            'target': Location(SERVER),
            'source': Location('D', name),
            'cred': cred,
        }
        message = Message(header=Header(**{**values, **header}), commands=commands, final=True)
        kind, body = encode(message, self.encoding)
        headers = {'content-type': kind}
        if mac is not None:
            headers['X-Syncml-Hmac'] = mac(body)
        response = self.server.handle(Request(url=url, headers=headers, body=body))
        assert (response.status, response.content_type) == (200, kind)
        reply = decode(response.content_type, response.body)
        assert reply.header.version == self.version or reply.header.version == '1.2'
        return reply

    def md5(self, nonce, password=PASSWORD, user=USER):
        return auth.md5(user, password, nonce, self.version)


def alert(number='1', code=201, target='items', cred=None):
    meta = Meta(anchor=Anchor(next='2'))
    item = Item(target=Location(target), source=Location('x'), meta=meta)
    return Alert(cmd_id=number, code=code, items=(item,), cred=cred)


def get(number='2', version='1.2'):
    item = Item(target=Location(f'./devinf{version.replace(".", "")}'))
    return Get(cmd_id=number, items=(item,))


def codes(reply):
    return {s.cmd_ref: s.code for s in reply.commands if isinstance(s, Status)}


def of_header(reply):
    found = [s for s in reply.commands if isinstance(s, Status) and s.cmd_ref == '0']
    return found[0] if found else None


class Wire:
    """Between a client and a server of ours; remembers, and may answer by itself."""

    def __init__(self, server, answers=None, *, with_url=True):
        self.server = server
        self.answers = answers or {}  # number of the exchange → what makes the answer
        self.with_url = with_url
        self.requests = []
        self.replies = []
        self.urls = []
        self.macs = []

    def exchange(self, request):
        message = decode(request.content_type, request.body)
        self.requests.append(message)
        self.urls.append(request.url)
        self.macs.append(request.headers.get('x-syncml-hmac'))
        make = self.answers.get(len(self.requests))
        if make is not None:
            kind, body = encode(make(message), request.content_type.rpartition('+')[2])
            response = Response(body, kind)
        elif self.with_url:
            response = LoopbackTransport(self.server.handle).exchange(request)
        else:
            args = (request.content_type, request.body, None, request.headers)
            reply = answer(self.server.adapter, *args)
            response = Response(reply.body, reply.content_type, reply.status)
        self.replies.append(decode(response.content_type, response.body))
        return response

    def close(self):
        """Nothing to close."""

    def creds(self):
        """Return what came with each message: the kind, and the data."""
        return [m.header.cred and (m.header.cred.type, m.header.cred.data) for m in self.requests]

    def kinds(self):
        return [cred and cred[0].rpartition('-')[2] for cred in self.creds()]

    def header_codes(self):
        return [of_header(reply).code for reply in self.replies]


def challenge(code, chal, resp_uri=None):
    def make(message):
        reply = refusal(message, code, chal=chal, every=True)
        return dataclasses.replace(
            reply, header=dataclasses.replace(reply.header, resp_uri=resp_uri)
        )

    return make


# --- 1: no credentials ----------------------------------------------------------------------------


@encodings
@versions
@pytest.mark.parametrize('kind', ['basic', 'md5'])
def test_01_a_server_asks_who_has_said_nothing(kind, version, encoding):
    server = guarded(kind)
    before = everything(server)
    client = Client(server, version, encoding)
    reply = client.say(alert(), get(version=version))
    assert codes(reply) == {'0': 407, '1': 407, '2': 407}
    assert {type(command) for command in reply.commands} == {Status}
    assert reply.final
    chal = of_header(reply).chal
    digest = kind == 'md5' and version != '1.0'
    assert chal.type == (NAMESPACE_AUTH_MD5 if digest else NAMESPACE_AUTH_BASIC)
    assert chal.format == 'b64'
    assert bool(chal.next_nonce) == digest
    assert everything(server) == before
    cred = client.md5(chal.next_nonce) if digest else auth.basic(USER, PASSWORD)
    status = Status(cmd_id='3', msg_ref='1', cmd_ref='0', cmd='SyncHdr', code=200)
    reply = client.say(status, alert(), get(version=version), cred=cred, name=USER)
    assert codes(reply) == {'0': 212, '1': 200, '2': 200}
    assert [c for c in reply.commands if isinstance(c, Results)]


@encodings
@versions
def test_01_a_client_answers_in_the_same_session(version, encoding):
    server = guarded('basic')
    client = client_of(url=FAR, insecure=True, version=version, encoding=encoding)
    wire = Wire(server, {1: challenge(407, auth.basic_challenge(), f'{FAR}?s=1')})
    client.sync(server, transport=wire)
    assert urls(client) == urls(server) == ['ours', 'theirs']
    first, second, third = wire.requests[:3]
    assert wire.kinds()[:3] == ['md5', 'basic', None]
    assert first.header.session_id == second.header.session_id == third.header.session_id
    assert [m.header.msg_id for m in (first, second, third)] == ['1', '2', '3']
    status, *rest = second.commands
    assert (status.cmd, status.cmd_ref, status.msg_ref, status.code) == ('SyncHdr', '0', '1', 200)
    assert [type(command) for command in rest] == [type(command) for command in first.commands]
    assert wire.urls[1] == f'{FAR}?s=1'
    assert wire.header_codes()[:2] == [407, 212]


def test_01_without_a_user_name_a_client_says_what_is_missing():
    server, client = guarded(), device('C', 'ours')
    client.adapter.peer = client.context.RemoteAdapter(url=SERVER)
    with pytest.raises(pysyncml.MissingCredentials):
        client.sync(server)


def test_01_a_server_that_forgets_the_challenge_is_asked_with_basic():
    server = guarded('basic')
    client = client_of(url=FAR, insecure=True)
    wire = Wire(server, {1: challenge(407, None)})
    client.sync(server, transport=wire)
    assert wire.kinds()[:3] == ['md5', 'basic', None]


# --- 2: the wrong password ------------------------------------------------------------------------


@encodings
@versions
@pytest.mark.parametrize('kind', ['basic', 'md5'])
@pytest.mark.parametrize(('user', 'password'), [(USER, 'wrong'), ('nobody', PASSWORD)])
def test_02_a_wrong_password_changes_nothing(kind, user, password, version, encoding):
    server = guarded(kind)
    before = everything(server)
    client = client_of(password, user, version=version, encoding=encoding)
    wire = Wire(server)
    with pytest.raises(pysyncml.InvalidCredentials, match='user name and password') as caught:
        client.sync(server, transport=wire)
    assert caught.value.exit_code == 7
    digest = kind == 'md5' and version != '1.0'
    assert wire.header_codes() == ([401, 401] if digest else [401])
    assert all(of_header(reply).chal for reply in wire.replies)
    assert everything(server) == before
    assert urls(client) == ['ours']
    [peer] = client.adapter.getKnownPeers()
    assert peer.lastSync is None


def test_02_two_wrong_answers_in_one_session():
    server = guarded('md5')
    client = Client(server)
    for _ in range(2):
        reply = client.say(alert(), cred=client.md5(b'x', 'wrong'), name=USER)
        assert codes(reply) == {'0': 401, '1': 401}
        assert of_header(reply).chal.next_nonce


def test_02_a_client_gives_up_in_the_end():
    """Whatever a server asks for, there are not more than three answers to it."""
    client = client_of()
    nonces = itertools.count()
    again = {n: lambda m: challenge(401, auth.md5_challenge(b'%d' % next(nonces)))(m)
             for n in range(1, 20)}  # fmt: skip
    turns = itertools.cycle([auth.basic_challenge(), auth.md5_challenge(b'n')])
    both = {n: lambda m: challenge(401, next(turns))(m) for n in range(1, 20)}
    for answers in (again, both):
        wire = Wire(None, answers)
        with pytest.raises(pysyncml.InvalidCredentials):
            client.sync(None, transport=wire)
        assert len(wire.requests) <= 5


# --- 3: a nonce that was kept ---------------------------------------------------------------------


@encodings
@md5_versions
def test_03_the_nonce_of_the_last_session_opens_the_next_one(version, encoding):
    server = guarded('md5')
    client = client_of(url=FAR, version=version, encoding=encoding)
    client.sync(server)
    for _ in range(2):
        client.restart()
        log_in(client, url=FAR, version=version, encoding=encoding)
        wire = Wire(server)
        client.sync(server, transport=wire)
        assert wire.kinds()[0] == 'md5'
        assert set(wire.kinds()[1:]) == {None}
        assert wire.header_codes()[0] == 212
        status = of_header(wire.replies[0])
        assert (status.chal.type, status.chal.format) == (NAMESPACE_AUTH_MD5, 'b64')
        assert len(status.chal.next_nonce) >= 16
        assert wire.requests[0].header.source.name == USER
        assert wire.requests[1].header.source.name == 'C'


def test_03_each_session_has_a_nonce_of_its_own():
    server, client = guarded('md5'), client_of(url=FAR)
    creds, nonces = set(), set()
    for _ in range(3):
        wire = Wire(server)
        client.sync(server, transport=wire)
        creds.add(wire.creds()[wire.header_codes().index(212)])
        nonces.add(next(s for s in map(of_header, wire.replies) if s.code == 212).chal.next_nonce)
    assert len(creds) == len(nonces) == 3


def test_03_the_name_of_the_device_is_not_that_of_the_user():
    server, client = guarded('md5'), client_of(url=FAR)
    client.sync(server)
    [peer] = server.adapter.getKnownPeers()
    assert (peer.name, peer.username) == ('C', USER)


def test_03_without_a_name_the_user_of_the_device_is_tried():
    server = guarded('md5')
    first = Client(server)
    nonce = of_header(first.say(alert())).chal.next_nonce
    reply = first.say(alert(), cred=first.md5(nonce))
    assert codes(reply)['0'] == 401, 'nobody knows who that may be'
    reply = first.say(alert(), cred=first.md5(nonce), name=USER)
    nonce = of_header(reply).chal.next_nonce
    second = Client(server, session='2')
    assert codes(second.say(alert(), cred=second.md5(nonce)))['0'] == 212


# --- 4: a nonce that is not good any more ---------------------------------------------------------


@encodings
@md5_versions
def test_04_a_stale_nonce_is_replaced_once(version, encoding):
    server = guarded('md5')
    client = client_of(url=FAR, version=version, encoding=encoding)
    client.sync(server)
    server.context.setAccounts({USER: PASSWORD}, md5=True)
    [record] = [peer.record for peer in client.adapter.getKnownPeers()]
    with client.context.work() as work:
        record.peer_nonce = 'c3RhbGU='
        work.records.save(record)
    log_in(client, url=FAR, version=version, encoding=encoding)
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert wire.kinds()[:3] == ['md5', 'md5', None]
    assert wire.header_codes()[:2] == [401, 212]


def test_04_a_digest_opens_one_session_only():
    """Who has listened cannot come in with what was heard, not even with another message."""
    server = guarded('md5')
    client = Client(server)
    nonce = of_header(client.say(alert())).chal.next_nonce
    assert codes(client.say(alert(), cred=client.md5(nonce), name=USER))['0'] == 212
    for session in ('1', '2'):
        thief = Client(server, session=session)
        reply = thief.say(alert(), get(), cred=thief.md5(nonce), name=USER)
        assert codes(reply) == {'0': 401, '1': 401, '2': 401}
    # neither can the nonce that was told before, and not used yet
    assert of_header(reply).chal.next_nonce != nonce


def test_04_a_digest_is_spent_even_if_nothing_came_of_it():
    server = guarded('md5')
    client = Client(server)
    nonce = of_header(client.say(alert())).chal.next_nonce
    kept = server.agent.allItemIDs
    server.agent.allItemIDs = None
    server.adapter.onSession = lambda: 1 / 0
    assert codes(client.say(alert(), cred=client.md5(nonce), name=USER)) == {'0': 500}
    server.agent.allItemIDs, server.adapter.onSession = kept, None
    assert codes(client.say(alert(), cred=client.md5(nonce), name=USER))['0'] == 401


def test_04_the_same_message_again_gets_the_same_answer():
    server = guarded('md5')
    client = Client(server)
    nonce = of_header(client.say(alert())).chal.next_nonce
    first = client.say(alert(), cred=client.md5(nonce), name=USER)
    client.msg_id -= 1
    assert client.say(alert(), cred=client.md5(nonce), name=USER) == first


def test_04_a_nonce_is_good_for_some_minutes(clock):
    server = guarded('md5')
    server.context.clock = clock
    client = Client(server)
    nonce = of_header(client.say(alert())).chal.next_nonce
    assert of_header(client.say(alert())).chal.next_nonce == nonce, 'nothing is kept for strangers'
    clock.now += 600
    assert codes(client.say(alert(), cred=client.md5(nonce), name=USER))['0'] == 212
    stranger = Client(server)
    nonce = of_header(stranger.say(alert(), source=Location('E'))).chal.next_nonce
    clock.now += 1300
    reply = stranger.say(alert(), cred=stranger.md5(nonce), source=Location('E', USER))
    assert codes(reply)['0'] == 401


def test_04_the_nonce_of_one_device_is_of_no_use_to_another():
    server = guarded('md5')
    client = Client(server)
    nonce = of_header(client.say(alert())).chal.next_nonce
    reply = client.say(alert(), cred=client.md5(nonce), source=Location('E', USER))
    assert codes(reply)['0'] == 401


def test_04_an_empty_nonce_is_never_good():
    server = guarded('md5')
    client = Client(server)
    assert codes(client.say(alert(), cred=client.md5(b''), name=USER))['0'] == 401


def test_04_challenges_fill_no_database():
    server = guarded('md5')
    before = everything(server)
    for number in range(20):
        Client(server).say(alert(), source=Location(f'D{number}'))
    assert everything(server) == before


# --- 5: credentials in every message --------------------------------------------------------------


@encodings
@md5_versions
def test_05_each_message_has_a_nonce_of_its_own(version, encoding):
    server = guarded('md5')
    client = client_of(url=FAR, version=version, encoding=encoding)
    wire = Wire(server, with_url=False)
    client.sync(server, transport=wire)
    assert urls(client) == urls(server) == ['ours', 'theirs']
    assert set(wire.kinds()[1:]) == {'md5'}
    assert wire.header_codes() == [401] + [200] * (len(wire.replies) - 1)
    assert len(set(wire.creds())) == len(wire.creds())
    again = Wire(server, with_url=False)
    client.sync(server, transport=again)
    assert set(again.header_codes()) == {200}


@versions
def test_05_basic_in_every_message(version):
    server, client = guarded('basic'), client_of(version=version)
    wire = Wire(server, with_url=False)
    client.sync(server, transport=wire)
    assert set(wire.kinds()) == {'basic'}
    assert set(wire.header_codes()) == {200}


@encodings
def test_05_a_challenge_in_the_middle_is_answered(encoding):
    """A server whose nonce was lost on the way asks again, and the session goes on."""
    server = guarded('md5')
    client = client_of(url=FAR, encoding=encoding)
    wire = Wire(server, with_url=False)
    client.sync(server, transport=wire)
    client.add(type(next(iter(client.agent.getAllItems())))(url='new', title='x'))

    def forget(message):
        with server.context.work() as work:
            [peer] = server.adapter.getKnownPeers()
            peer.record.our_nonce = 'bG9zdA=='
            work.records.save(peer.record)
        return decode(None, answer(server.adapter, '', encode(message)[1], None).body)

    wire = Wire(server, {2: forget}, with_url=False)
    client.sync(server, transport=wire)
    assert wire.header_codes()[:3] == [200, 401, 200]
    assert urls(server) == urls(client) == ['new', 'ours', 'theirs']


# --- 6: another kind is wanted --------------------------------------------------------------------


@encodings
@md5_versions
def test_06_basic_where_only_md5_will_do(version, encoding):
    server = guarded('md5-only')
    client = client_of(version=version, encoding=encoding)
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert wire.kinds()[:3] == ['basic', 'md5', None]
    assert wire.header_codes()[:2] == [401, 212]
    assert of_header(wire.replies[0]).chal.type == NAMESPACE_AUTH_MD5
    client.restart()
    log_in(client)
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert wire.kinds()[0] == 'md5', 'what was asked for the last time'
    assert wire.header_codes()[0] == 212


@encodings
@versions
def test_06_md5_where_only_basic_will_do(version, encoding):
    server = guarded('basic')
    client = client_of(url=FAR, insecure=True, version=version, encoding=encoding)
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert wire.kinds()[:3] == ['md5', 'basic', None]
    assert wire.header_codes()[:2] == [401, 212]


def test_06_where_both_will_do_both_do():
    server = guarded('md5')
    client = Client(server)
    assert codes(client.say(alert(), cred=auth.basic(USER, PASSWORD)))['0'] == 212


def test_06_md5_needs_1_1():
    """What is stored to check digests does not tell those of 1.0."""
    client = Client(guarded('md5'), '1.0')
    reply = client.say(alert(), cred=client.md5(b''), name=USER)
    assert (codes(reply)['0'], of_header(reply).chal.type) == (401, NAMESPACE_AUTH_BASIC)
    client = Client(guarded('md5-only'), '1.0')
    reply = client.say(alert())
    assert (codes(reply), of_header(reply).chal) == ({'0': 406, '1': 406}, None)
    assert b'SyncML 1.1' in of_header(reply).items[0].data


def test_06_md5_is_off_unless_it_was_switched_on():
    server = guarded(md5=False)
    assert of_header(Client(server).say(alert())).chal.type == NAMESPACE_AUTH_BASIC
    with server.context.work() as work:
        assert work.md5_secrets() == {}
    client = Client(server)
    for nonce in (b'', b'x'):
        assert codes(client.say(alert(), cred=client.md5(nonce), name=USER))['0'] == 401
    server.context.setAccounts({USER: PASSWORD}, md5=True)
    assert of_header(Client(server).say(alert())).chal.type == NAMESPACE_AUTH_MD5
    server.context.setAccounts({USER: PASSWORD})
    assert of_header(Client(server).say(alert())).chal.type == NAMESPACE_AUTH_BASIC


def test_06_the_password_does_not_travel_in_clear_unless_it_must(caplog):
    for url, first in (
        ('https://far.example/', 'basic'),
        ('http://localhost:8080/', 'basic'),
        ('http://127.0.0.1/', 'basic'),
        ('http://[::1]:1/', 'basic'),
        (FAR, 'md5'),
    ):
        wire, client = Wire(guarded('md5')), client_of(url=url)
        client.sync(wire.server, transport=wire)
        assert wire.kinds()[0] == first
    assert 'read the password' not in caplog.text
    wire, client = Wire(guarded('basic')), client_of(url=FAR)
    with pytest.raises(pysyncml.errors.PasswordExposed, match='--insecure'):
        client.sync(wire.server, transport=wire)
    assert set(wire.kinds()) == {'md5'}
    log_in(client, url=FAR, insecure=True)
    client.sync(wire.server, transport=wire)
    assert 'anybody on the way to http://far.example/ can read the password' in caplog.text
    log_in(client, url=FAR, insecure=True)
    wire = Wire(wire.server)
    client.sync(wire.server, transport=wire)
    assert wire.kinds()[0] == 'basic', 'it is known by now what the server wants'
    log_in(client, url=FAR)
    wire = Wire(wire.server)
    with pytest.raises(pysyncml.errors.PasswordExposed):
        client.sync(wire.server, transport=wire)
    assert set(wire.kinds()) == {'md5'}, 'what was all right once has to be said again'


def test_06_a_server_that_chokes_on_a_digest_is_waited_for():
    server, client = guarded('basic'), client_of(url=FAR, insecure=True)
    wire = Wire(server)
    plain = wire.exchange

    def choke(request):
        cred = decode(request.content_type, request.body).header.cred
        if cred is not None and cred.type == NAMESPACE_AUTH_MD5:
            raise pysyncml.errors.HTTPStatus('choked', 500)
        return plain(request)

    wire.exchange = choke
    client.sync(server, transport=wire)
    assert wire.kinds()[:3] == [None, 'basic', None]
    assert wire.header_codes()[:2] == [407, 212]


@pytest.mark.parametrize('code', [500, 512, 403, 407])
def test_06_a_server_that_wants_another_session_gets_one(code):
    server, client = guarded('basic'), client_of(url=FAR, insecure=True)
    wire = Wire(server, {
        1: challenge(401, auth.basic_challenge(), f'{FAR}?s=1'), 2: challenge(code, None)
    })  # fmt: skip
    client.sync(server, transport=wire)
    assert urls(server) == ['ours', 'theirs']
    assert wire.kinds()[:4] == ['md5', 'basic', 'basic', None]
    assert [m.header.msg_id for m in wire.requests[:3]] == ['1', '2', '1']
    assert wire.requests[2].header.session_id != wire.requests[1].header.session_id
    assert wire.urls[1:3] == [f'{FAR}?s=1', FAR]


def test_06_a_session_of_the_same_id_after_a_challenge_is_another_one():
    """Some devices count their sessions badly."""
    server = guarded('basic')
    cred = auth.basic(USER, PASSWORD)
    for commands in ((alert(),), (alert(), get())):
        old = Client(server)
        assert codes(old.say(*commands, cred=cred))['0'] == 212
        new = Client(server)
        assert codes(new.say(*commands))['0'] == 407
        reply = new.say(*commands, cred=cred)
        assert set(codes(reply).values()) == {212, 200}
        assert [c for c in reply.commands if isinstance(c, Alert)]


# --- 7: kinds nobody knows, and datastores of their own -------------------------------------------


@encodings
@versions
def test_07_an_unknown_kind_is_406(version, encoding):
    client = Client(guarded('basic'), version, encoding)
    reply = client.say(alert(), cred=Cred('x', 'syncml:auth-x509', 'b64'))
    assert codes(reply) == {'0': 406, '1': 406}
    assert of_header(reply).items[0].data == b'syncml:auth-x509'


def test_07_a_client_says_which_kind_it_does_not_know():
    client = client_of()
    wire = Wire(None, {1: challenge(401, Chal('syncml:auth-securid'))})
    with pytest.raises(pysyncml.UnknownAuthType, match='securid'):
        client.sync(None, transport=wire)


def own(password):
    return {USER: auth.hash_password(password)}


@encodings
@versions
def test_07_a_datastore_may_have_accounts_of_its_own(version, encoding):
    server = device('S', 'theirs')
    server.store.accounts = own('inner')
    other = server.adapter.addStore(
        server.context.Store(uri='other', agent=BookmarkAgent(), accounts={})
    )
    client = Client(server, version, encoding)
    for cred, code in ((None, 407), (auth.basic(USER, PASSWORD), 401), (Cred('x', 'y'), 401)):
        client.msg_id = 0
        reply = client.say(alert(cred=cred), alert('2', target=other.uri))
        assert codes(reply) == {'0': 200, '1': code, '2': 200}
        chals = {s.cmd_ref: s.chal for s in reply.commands if isinstance(s, Status)}
        assert chals['0'] is chals['2'] is None
        assert chals['1'].type == NAMESPACE_AUTH_BASIC
        assert [c.items[0].source_uri for c in reply.commands if isinstance(c, Alert)] == ['other']
        sync = Sync(cmd_id='1', target=Location('items'), source=Location('x'))
        assert codes(client.say(sync))['1'] == 404
    client.msg_id = 0
    reply = client.say(alert(cred=auth.basic(USER, 'inner')), alert('2', target=other.uri))
    assert codes(reply) == {'0': 200, '1': 200, '2': 200}


def test_07_a_client_shows_a_datastore_what_it_asks_for():
    server = guarded('basic')
    server.store.accounts = own(PASSWORD)
    client = client_of()
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert urls(client) == urls(server) == ['ours', 'theirs']
    alerts = [c for m in wire.requests for c in m.commands if isinstance(c, Alert)]
    assert [a.cred is not None for a in alerts] == [False, True]
    server.store.accounts = own('inner')
    stats = client.sync(server)['items']
    assert 'status 401' in stats.problems[0]
    client.store.login = (USER, 'inner')
    wire = Wire(server)
    client.sync(server, transport=wire)
    alerts = [c for m in wire.requests for c in m.commands if isinstance(c, Alert)]
    assert [a.cred.data for a in alerts] == [auth.basic(USER, 'inner').data]


def test_07_other_datastores_go_on():
    server, client = device('S', 'theirs'), device('C', 'ours')
    server.store.accounts = own('inner')
    shelves = BookmarkAgent(), BookmarkAgent()
    for dev, shelf in zip((server, client), shelves, strict=True):
        dev.adapter.addStore(dev.context.Store(uri='other', agent=shelf))
    shelves[0].addItem(bookmark('elsewhere'))
    server.adapter.stores['other'].registerChange(next(iter(shelves[0].shelf)), 1)
    client.adapter.routes = {'items': 'items', 'other': 'other'}
    stats = client.sync(server)
    assert 'a user name and a password of its own' in stats['items'].problems[0]
    assert stats['other'].hereAdd == 1
    assert urls(client) == ['ours']


# --- 8: the server is asked -----------------------------------------------------------------------


@encodings
@versions
@pytest.mark.parametrize('kind', ['basic', 'md5'])
def test_08_a_client_may_ask_who_the_server_is(kind, version, encoding):
    server = guarded(kind)
    server.adapter.login = ('the server', 'its word')
    client = client_of(version=version, encoding=encoding, server_login=server.adapter.login)
    for _ in range(2):
        wire = Wire(server)
        client.sync(server, transport=wire)
        assert urls(client) == urls(server) == ['ours', 'theirs']
        number = next(n for n, m in enumerate(wire.requests) if of_header(m) and m.final
                      and of_header(m).code == 407)  # fmt: skip
        asked = wire.requests[number]
        assert {type(command) for command in asked.commands} == {Status}
        assert {s.code for s in asked.commands} == {407}
        assert of_header(asked).chal.type == NAMESPACE_AUTH_MD5
        again = wire.replies[number]
        assert again.header.cred.type == NAMESPACE_AUTH_MD5
        assert again.header.source.name == 'the server'
        assert [type(c) for c in again.commands[1:]] == [
            type(c) for c in wire.replies[number - 1].commands
        ]
        accepted = of_header(wire.requests[number + 1])
        assert accepted.code == 212
        assert accepted.chal.next_nonce
        assert {m.header.cred for m in wire.replies[number + 1 :]} == {None}


@pytest.mark.parametrize('login', [None, ('the server', 'wrong'), ('another', 'its word')])
def test_08_a_server_that_cannot_prove_itself_gets_nothing(login):
    server = guarded()
    server.adapter.login = login
    client = client_of(server_login=('the server', 'its word'))
    wire = Wire(server)
    with pytest.raises(pysyncml.InvalidCredentials, match='the server cannot prove who it is'):
        client.sync(server, transport=wire)
    assert urls(client) == ['ours']
    assert urls(server) == ['theirs']
    assert not [c for m in wire.requests for c in m.walk() if isinstance(c, Sync)]


@pytest.mark.parametrize('code', [None, 101, 200, 212, 404, 500])
def test_08_what_is_not_proved_does_not_count(code):
    """Whatever the server says, in whatever order, before it has proved who it is."""

    def make(message):
        status = Status(cmd_id='1', msg_ref=message.header.msg_id, cmd_ref='0', cmd='SyncHdr')
        rest = (alert('2'), Sync(cmd_id='3', target=Location('items'), source=Location('items')))
        last = () if code is None else (dataclasses.replace(status, code=code),)
        reply = refusal(message, 200)
        return dataclasses.replace(reply, commands=(*rest, *last))

    client = client_of(server_login=('the server', 'its word'))
    client.adapter.routes = {'items': 'items'}
    before = everything(client)['pysyncml_change']
    wire = Wire(None, dict.fromkeys(range(1, 9), make))
    with pytest.raises(pysyncml.SyncmlError) as caught:
        client.sync(None, transport=wire)
    assert isinstance(caught.value, pysyncml.ProtocolError) == (code in (404, 500))
    assert everything(client)['pysyncml_change'] == before
    assert {type(c) for m in wire.requests[1:] for c in m.commands} <= {Status}


@versions
def test_08_a_server_may_be_asked_for_basic(version):
    server = device('S')
    server.adapter.login = ('the server', 'its word')
    client = Client(server, version)
    reply = client.say(alert())
    assert reply.header.cred is None
    status = Status(
        cmd_id='1', msg_ref='1', cmd_ref='0', cmd='SyncHdr', code=407, chal=auth.basic_challenge()
    )
    again = client.say(status)
    assert auth.read_basic(again.header.cred) == ('the server', 'its word')
    assert [type(c) for c in again.commands] == [Status, *(type(c) for c in reply.commands)]


# --- 9: messages that are proved ------------------------------------------------------------------


@encodings
@md5_versions
@pytest.mark.parametrize('user', [USER, 'Žofie "x"'])
def test_09_each_message_is_proved_in_a_header_of_http(version, encoding, user):
    server = guarded('hmac')
    server.context.setAccounts({user: PASSWORD}, md5=True)
    client = client_of(username=user, version=version, encoding=encoding)
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert urls(client) == urls(server) == ['ours', 'theirs']
    assert wire.header_codes() == [407] + [200] * (len(wire.replies) - 1)
    assert of_header(wire.replies[0]).chal.type == NAMESPACE_AUTH_MAC
    assert set(wire.kinds()[1:]) == {None}
    macs = wire.macs[1:]
    assert len(set(macs)) == len(macs)
    assert {auth.read_mac_header(mac)[0] for mac in macs} == {user}
    assert {m.header.source.name for m in wire.requests[1:]} == {user}
    client.restart()
    log_in(client, username=user)
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert set(wire.header_codes()) == {200}


def test_09_what_was_changed_on_the_way_is_refused():
    server = guarded('hmac')
    client = Client(server)
    nonce = of_header(client.say(alert())).chal.next_nonce
    secret = auth.md5_secret(USER, PASSWORD)

    def proof(nonce=nonce, secret=secret, user=USER, more=b''):
        return lambda body: auth.mac_header(user, auth.mac(secret, nonce, body + more))

    before = everything(server)
    for mac, name, code in (
        (None, USER, 407),
        (lambda body: 'rubbish', USER, 401),
        (proof(more=b' '), USER, 401),
        (proof(nonce=b'other'), USER, 401),
        (proof(secret=auth.md5_secret(USER, 'wrong')), USER, 401),
        (proof(user='nobody'), 'nobody', 401),
        (proof(), 'other', 401),
    ):
        reply = client.say(alert(), mac=mac, name=name)
        assert codes(reply) == {'0': code, '1': code}
        assert of_header(reply).chal == auth.mac_challenge(nonce)
    assert codes(client.say(alert(), cred=auth.basic(USER, PASSWORD)))['0'] == 407
    assert everything(server) == before
    reply = client.say(alert(), mac=proof(), name=USER)
    assert codes(reply)['0'] == 200
    assert codes(Client(server).say(alert(), mac=proof(), name=USER))['0'] == 401, 'only once'
    following = of_header(reply).chal.next_nonce
    assert codes(client.say(alert(code=222), mac=proof(nonce=following), name=USER))['0'] == 200


def test_09_over_http():
    server = guarded('hmac')

    def handler(request):
        return server.handle(request)

    with AdHocServer(application(handler)) as adhoc:
        client = client_of(url=adhoc.url)
        transport = HTTPTransport()
        client.sync(server, transport=transport)
        transport.close()
    assert urls(client) == urls(server) == ['ours', 'theirs']


# --- 12: versions ---------------------------------------------------------------------------------


@encodings
@pytest.mark.parametrize(
    ('proto', 'dtd', 'code', 'said'),
    [
        ('1.3', '1.3', 513, b'SyncML/1.0,SyncML/1.1,SyncML/1.2'),
        ('2.0', '1.2', 513, b'SyncML/1.0,SyncML/1.1,SyncML/1.2'),
        ('1.2', '1.1', 505, b'1.0,1.1,1.2'),
        ('1.1', '1.3', 505, b'1.0,1.1,1.2'),
    ],
)
def test_12_a_server_says_which_versions_it_knows(proto, dtd, code, said, encoding):
    server = device('S')
    client = Client(server, '1.2', encoding)
    message = Message(
        header=Header(
            version=proto,
            dtd_version=dtd,
            session_id='1',
            msg_id='1',
            target=Location(SERVER),
            source=Location('D'),
        ),
        commands=(alert(),),
        final=True,
    )
    kind, body = encode(message, encoding)
    response = server.handle(Request(url=SERVER, headers={'content-type': kind}, body=body))
    assert response.content_type == kind
    reply = decode(response.content_type, response.body)
    assert codes(reply) == {'0': code}
    assert of_header(reply).items[0].data == said
    assert reply.header.version == (proto if proto in VERSIONS else '1.2')
    assert codes(client.say(alert()))['0'] == 200


@encodings
@versions
def test_12_every_version_in_every_encoding(version, encoding):
    server, client = device('S', 'theirs'), device('C', 'ours')
    client.adapter.peer = client.context.RemoteAdapter(
        url=SERVER, version=version, encoding=encoding
    )
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert urls(client) == urls(server) == ['ours', 'theirs']
    messages = [*wire.requests, *wire.replies]
    assert {(m.header.version, m.header.dtd_version) for m in messages} == {(version, version)}
    syncs = [c for m in messages for c in m.walk() if isinstance(c, Sync)]
    assert all(c.number_of_changes is None for c in syncs) or version != '1.0'
    stats = client.sync(server)['items']
    assert (stats.here, stats.peer, stats.errors) == (0, 0, 0)


@versions
def test_12_a_session_keeps_its_version(version):
    client = Client(device('S'), version)
    assert codes(client.say(alert()))['0'] == 200
    client.version = next(v for v in VERSIONS if v != version)
    assert codes(client.say(alert()))['0'] == 513


# --- who does not tell again ----------------------------------------------------------------------


@versions
def test_10_a_server_asks_a_device_it_knows_nothing_of(version):
    """A device that told who it is before it had logged in may not do so again."""
    client = Client(device('S'), version)
    for known in (False, True):
        client.msg_id, client.session = 0, str(known)
        questions = [c for c in client.say(alert()).commands if isinstance(c, Get)]
        assert len(questions) == (not known)
        if known:
            continue
        uri = questions[0].items[0].target_uri
        assert uri == f'./devinf{version.replace(".", "")}'
        devinf = DevInf(
            version=version,
            device=pysyncml.DeviceInfo(devID='D'),
            stores=(DataStoreInfo(uri='x', content_types=tuple(BookmarkAgent.contentTypes)),),
        )
        results = Results(
            cmd_id='1',
            msg_ref='1',
            cmd_ref=questions[0].cmd_id,
            meta=Meta(type='application/vnd.syncml-devinf+xml'),
            items=(Item(source=Location(uri), data=devinf),),
        )
        sync = Sync(cmd_id='2', target=Location('items'), source=Location('x'))
        assert codes(client.say(results, sync)) == {'0': 200, '1': 200, '2': 200}
