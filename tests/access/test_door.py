"""Strangers at the door of a server, and users who try what is not theirs."""

from __future__ import annotations

import hashlib
import logging
import threading
import time

import pytest

import pysyncml
from pysyncml import gate as gates
from pysyncml.codec import decode, encode
from pysyncml.gate import Gate
from pysyncml.protocol import auth
from pysyncml.protocol.messages import (
    Alert,
    Get,
    Header,
    Item,
    Location,
    Message,
    Sequence,
    Sync,
)
from pysyncml.service import answer
from pysyncml.transport import LoopbackTransport
from tests.conformance.test_b1_auth import alert, codes, everything, of_header
from tests.sync.support import ENGINES, device, urls

HERE, THERE = '192.0.2.1', '198.51.100.1'
URL = 'https://S/'
ALICE, BOB = auth.basic('alice', 'a-secret'), auth.basic('bob', 'b-secret')


@pytest.fixture(autouse=True)
def databases():
    ENGINES.release()


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def server_of(clock, kind=None, md5=True):
    server = device('S', 'theirs')
    server.context.setAccounts({'alice': 'a-secret', 'bob': 'b-secret'}, md5=md5)
    server.adapter.auth = kind
    server.adapter.gate = Gate(clock)
    return server


class Client:
    """Says what it is told to; ``reply`` is what came back."""

    def __init__(self, server, dev='D', session='1', address=HERE):
        self.server, self.dev, self.session, self.address = server, dev, session, address
        self.msg_id, self.url = 0, URL

    def message(self, *commands, cred=None, name=None, **values):
        self.msg_id += 1
        header = Header(
            version='1.2', dtd_version='1.2', session_id=self.session, msg_id=str(self.msg_id),
            target=Location(URL), source=Location(self.dev, name), cred=cred, **values,
        )  # fmt: skip
        return encode(Message(header=header, commands=commands or (alert(),), final=True))

    def post(self, kind, body, url=None, headers=()):
        headers = {'content-type': kind, **dict(headers)}
        args = (kind, body, url or self.url, headers, self.address)
        self.reply = answer(self.server.adapter, *args)
        return decode(self.reply.content_type, self.reply.body)

    def say(self, *commands, url=None, **values):
        found = self.post(*self.message(*commands, **values), url=url)
        self.url = found.header.resp_uri or self.url
        return found

    def code(self, *commands, **values):
        return codes(self.say(*commands, **values))['0']


def wrong(client, times, name='alice'):
    return [client.code(cred=auth.basic(name, 'wrong')) for _ in range(times)]


# --- growing delays -------------------------------------------------------------------------------


def test_after_some_failures_an_address_has_to_wait_and_is_told_how_long(clock):
    server = server_of(clock)
    before = everything(server)
    client = Client(server)
    assert wrong(client, 5) == [401] * 5
    reply = client.say(cred=ALICE)
    assert codes(reply) == {'0': 417}
    assert of_header(reply).items[0].data == (
        b'too many logins have failed: the next one has to wait for 1 second'
    )
    assert of_header(reply).chal is None
    assert client.reply.retry_after == 1
    assert everything(server) == before
    clock.now += 1
    assert client.code(cred=ALICE) == 212


def test_while_it_waits_nothing_is_looked_at(clock, monkeypatch):
    server = server_of(clock)
    client = Client(server)
    wrong(client, 5)
    monkeypatch.setattr(auth, 'check_password', None)  # cannot be called
    begin = time.monotonic()
    for cred in (ALICE, BOB, auth.basic('alice', 'wrong'), auth.basic('nobody', '')):
        assert client.code(cred=cred) == 417
    assert time.monotonic() - begin < 5, 'nobody waits inside of the server'


def test_others_do_not_wait(clock):
    server = server_of(clock)
    wrong(Client(server), 5)
    assert Client(server, dev='E', address=THERE).code(cred=ALICE) == 212


def test_a_session_that_has_begun_goes_on_whoever_fails_beside_it(clock):
    server = server_of(clock)
    client = Client(server)
    client.say(cred=ALICE)
    wrong(Client(server, dev='E'), 5)
    assert client.code() == 200


@pytest.mark.parametrize('kind', ['md5', 'hmac'])
def test_digests_have_to_wait_too(clock, kind):
    server = server_of(clock, kind)
    client = Client(server)
    nonce = of_header(client.say()).chal.next_nonce

    def attempt(password):
        if kind == 'md5':
            return client.code(cred=auth.md5('alice', password, nonce), name='alice')
        message = client.message()
        code = auth.mac(auth.md5_secret('alice', password), nonce, message[1])
        headers = {auth.MAC_HEADER: auth.mac_header('alice', code)}
        return codes(client.post(*message, headers=headers))['0']

    assert [attempt('wrong') for _ in range(6)] == [401] * 5 + [417]
    clock.now += 1
    assert attempt('a-secret') in (200, 212)


def test_that_a_device_knows_no_nonce_yet_is_no_failure(clock):
    server = server_of(clock, 'md5')
    for number in range(20):
        client = Client(server, dev=f'D{number}')
        reply = client.say(cred=auth.md5('alice', 'a-secret', b''), name='alice')
        assert codes(reply)['0'] == 401


def test_datastores_with_accounts_of_their_own(clock):
    server = server_of(clock)
    store = server.adapter.stores['items']
    store.accounts = {'carol': auth.hash_password('c-secret')}

    def attempt(cred, number):
        client = Client(server, session=str(number))
        return codes(client.say(alert(cred=cred), cred=ALICE))['1']

    cred = auth.basic('carol', 'wrong')
    assert [attempt(cred, number) for number in range(5)] == [401] * 5
    # nobody may come in from here for a second, neither to the server
    assert Client(server, session='9').code(cred=BOB) == 417
    clock.now += 1
    assert attempt(auth.basic('carol', 'c-secret'), 10) == 200


# --- what it costs --------------------------------------------------------------------------------


def test_no_more_than_so_many_passwords_are_checked_at_once(monkeypatch):
    going, most, lock = [], [], threading.Lock()

    def check(password, hashed):
        with lock:
            going.append(password)
            most.append(len(going))
        time.sleep(0.01)
        with lock:
            going.pop()
        return False

    monkeypatch.setattr(auth, 'check_password', check)
    gate, hashes = Gate(), {'alice': 'x'}
    threads = [
        threading.Thread(target=gate.is_right, args=(f'n{number}', 'x', hashes))
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 12
    assert max(most) <= gates.AT_ONCE


def test_when_too_many_ask_the_others_are_put_off(monkeypatch):
    monkeypatch.setattr(gates, 'PATIENCE', 0.01)
    gate, hashes = Gate(), {'alice': auth.hash_password('x')}
    for _ in range(gates.AT_ONCE):
        gate._turns.acquire()
    with pytest.raises(pysyncml.errors.LoginDelayed, match='try again in 2 seconds'):
        gate.is_right('alice', 'x', hashes)


def test_the_password_of_a_moment_ago_is_known_without_computing(monkeypatch, clock):
    gate, hashes = Gate(clock), {'alice': auth.hash_password('x')}
    assert gate.is_right('alice', 'x', hashes)
    monkeypatch.setattr(auth, 'check_password', lambda password, hashed: False)
    assert gate.is_right('alice', 'x', hashes)
    assert not gate.is_right('alice', 'y', hashes)
    assert not gate.is_right('bob', 'x', hashes)
    assert not gate.is_right('alice', 'x', {'alice': auth.hash_password('x')}), 'it was set anew'
    clock.now += gates.RECOGNISED_SECONDS
    assert not gate.is_right('alice', 'x', hashes)


def test_nothing_is_locked_while_a_password_is_checked(clock, monkeypatch):
    """Or strangers would keep the whole server busy with wrong ones."""
    server = server_of(clock)
    seen = []

    def check(password, hashed):
        seen.append(server.context.currentWork)
        return False

    monkeypatch.setattr(auth, 'check_password', check)
    assert Client(server).code(cred=ALICE) == 401
    assert seen == [None]


def test_unknown_users_cost_as_much_as_wrong_passwords_and_look_the_same(clock, monkeypatch):
    checked = []
    real = auth.check_password

    def check(password, hashed):
        checked.append(hashed.split('$')[1])
        return real(password, hashed)

    monkeypatch.setattr(auth, 'check_password', check)
    replies, server = [], server_of(clock, 'basic')
    for name in ('alice', 'nobody'):
        client = Client(server)
        client.say(cred=auth.basic(name, 'wrong'))
        replies.append(client.reply)
    assert replies[0] == replies[1]
    assert len(checked) == 2
    assert checked[0] == checked[1]


def test_an_old_hash_is_replaced_at_the_next_good_login(clock):
    server = server_of(clock, 'basic')
    salt = bytes(16)
    old = 'scrypt$' + salt.hex() + '$'
    old += hashlib.scrypt(b'a-secret', salt=salt, n=2**14, r=8, p=1).hex()
    with server.context.work() as work:
        secrets = work.md5_secrets()
        work.set_accounts({**work.accounts(), 'alice': old}, secrets)

    def stored():
        with server.context.work() as work:
            return work.accounts()['alice']

    assert Client(server).code(cred=auth.basic('alice', 'wrong')) == 401
    assert stored() == old
    assert Client(server).code(cred=ALICE) == 212
    assert not auth.is_outdated(stored())
    assert auth.check_password('a-secret', stored())
    with server.context.work() as work:
        assert work.md5_secrets() == secrets
    assert Client(server, session='2').code(cred=ALICE) == 212


# --- replayed -------------------------------------------------------------------------------------


def test_a_digest_that_was_listened_to_opens_nothing(clock):
    server = server_of(clock, 'md5-only')
    client = Client(server)
    nonce = of_header(client.say()).chal.next_nonce
    cred = auth.md5('alice', 'a-secret', nonce)
    assert client.code(cred=cred, name='alice') == 212
    for dev, session in (('D', '2'), ('E', '2'), ('D', '1')):
        spy = Client(server, dev=dev, session=session, address=THERE)
        assert spy.code(cred=cred, name='alice') == 401


# --- what is whose --------------------------------------------------------------------------------


def test_a_device_of_one_user_cannot_be_taken_over_by_another(clock):
    server = server_of(clock)
    assert Client(server).code(cred=ALICE) == 212
    before = everything(server)
    reply = Client(server, session='2').say(cred=BOB)
    assert codes(reply) == {'0': 403}
    assert everything(server) == before
    with server.context.work() as work:  # but it may be renamed
        work.set_accounts({'bob': work.accounts()['bob']})
    assert Client(server, session='3').code(cred=BOB) == 212


def test_the_address_of_a_session_is_for_one_device_and_its_user(clock):
    server = server_of(clock)
    alice, bob = Client(server), Client(server, dev='E')
    alice.say(cred=ALICE)
    bob.say(cred=BOB)
    assert 'session=' in alice.url
    for dev, session, url in (
        ('E', '1', alice.url),
        ('D', '1', bob.url),
        ('F', '1', alice.url),
        ('D', '2', alice.url),
        ('D', '1', URL),
        ('D', '1', alice.url[:-1]),
        ('D', '1', URL + '?session='),
    ):
        spy = Client(server, dev=dev, session=session)
        spy.msg_id = 1
        assert spy.code(url=url) == 407, (dev, session, url)
    spy = Client(server)
    spy.msg_id = 1
    assert spy.code(cred=BOB, url=alice.url) == 403, 'with credentials of his own'
    assert alice.code() == 200
    assert bob.code() == 200


def test_a_user_who_is_removed_is_out_at_once(clock):
    server = server_of(clock)
    client = Client(server)
    client.say(cred=ALICE)
    with server.context.work() as work:
        work.set_accounts({'bob': work.accounts()['bob']})
    assert client.code() == 407


# --- messages that are put off --------------------------------------------------------------------


def test_strangers_do_not_fill_what_a_busy_server_keeps(clock):
    server = server_of(clock)
    server.adapter.isBusy = lambda: True
    before = everything(server)
    for number in range(150):
        client = Client(server, dev=f'D{number}', address=f'192.0.2.{number}')
        assert client.code() == 407
        assert client.code(cred=auth.basic('alice', 'wrong')) == 401
    assert not server.adapter.waiting._posts
    assert Client(server, dev='X', address=THERE).code(cred=ALICE) == 101
    for session in '23456':
        assert Client(server, dev='X', session=session, address=THERE).code(cred=ALICE) == 101
    assert len(server.adapter.waiting._posts) == 1, 'one for each device'
    assert everything(server) == before


def test_what_was_put_off_is_for_its_user_only(clock):
    server = server_of(clock)
    server.adapter.isBusy = lambda: True
    client = Client(server)
    assert client.code(cred=ALICE) == 101
    server.adapter.isBusy = lambda: False
    ask = Alert(cmd_id='1', code=221)
    for cred, code in ((None, 407), (auth.basic('alice', 'wrong'), 401), (BOB, 401)):
        spy = Client(server, address=THERE)
        spy.msg_id = 1
        assert spy.code(ask, cred=cred) == code
    assert client.code(ask, cred=ALICE) in (200, 212)
    assert not server.adapter.waiting._posts


# --- made-up devices ------------------------------------------------------------------------------


def devices(server):
    return sorted(peer.devID for peer in server.adapter.getKnownPeers())


def test_strangers_leave_nothing_behind(clock):
    server = server_of(clock, 'md5')
    before = everything(server)
    for number in range(20):
        client = Client(server, dev=f'D{number}', address=f'192.0.2.{number}')
        client.say()
        client.say(cred=auth.basic('alice', str(number)))
        client.say(cred=auth.md5('alice', str(number), b'x'), name='alice')
    assert everything(server) == before


@pytest.mark.parametrize('accounts', [False, True])
def test_a_flood_of_made_up_devices_has_a_bound_and_honest_ones_go_on(clock, accounts):
    server = server_of(clock) if accounts else device('S', 'theirs')
    server.adapter.max_devices = 30
    now = [1_700_000_000.0]
    server.context.clock = lambda: now[0]
    cred = ALICE if accounts else None
    honest = Client(server, dev='honest')
    assert honest.code(cred=cred) in (200, 212)
    for number in range(2):
        assert Client(server, dev=f'D{number}').code(cred=cred) in (200, 212)
    flood = [Client(server, dev=f'F{number}') for number in range(20)]
    assert {client.code(cred=cred) for client in flood} == {417}
    assert flood[0].reply.retry_after == 30
    assert devices(server) == ['D0', 'D1', 'honest']
    assert Client(server, dev='honest', session='2').code(cred=cred) in (200, 212)
    number = 3
    while len(devices(server)) < 30:
        now[0] += 1201
        Client(server, dev=f'G{number}').code(cred=cred)
        number += 1
    now[0] += 3601
    reply = Client(server, dev='late').say(cred=cred)
    assert codes(reply) == {'0': 403}
    assert b'30 devices already' in of_header(reply).items[0].data
    assert len(devices(server)) == 30
    assert Client(server, dev='honest', session='3').code(cred=cred) in (200, 212)


# --- what a client makes of it --------------------------------------------------------------------


def test_a_client_says_that_it_has_to_wait_and_for_how_long(clock):
    server = server_of(clock, 'basic')
    client = device('C', 'ours')
    client.adapter.peer = client.context.RemoteAdapter(url=URL, username='alice', password='x')
    for _ in range(5):
        with pytest.raises(pysyncml.InvalidCredentials):
            client.sync(server, transport=LoopbackTransport(server.handle))
    with pytest.raises(pysyncml.SyncmlError, match=r'has to wait for 1 second$'):
        client.sync(server, transport=LoopbackTransport(server.handle))
    assert urls(client) == ['ours']


# --- datastores with accounts of their own --------------------------------------------------------


def checksums(number, cred):
    item = Item(target=Location('items/x-pysyncml-checksums?after='), source=Location('items'))
    return Get(cmd_id=number, cred=cred, items=(item,))


def test_one_message_has_so_many_passwords_looked_at(clock, monkeypatch):
    """Also from where nobody has to wait for the failures of others, as behind a proxy."""
    server = server_of(clock)
    server.store.accounts = server_accounts('inner')
    seen = []
    monkeypatch.setattr(auth, 'check_password', lambda *args: seen.append(args) or False)
    commands = [alert(str(n), cred=auth.basic(f'u{n}', 'x')) for n in range(1, 40)]
    reply = Client(server, address='127.0.0.1').say(*commands, cred=ALICE)
    assert codes(reply)['0'] == 401
    assert len(seen) == 10


def test_no_password_is_checked_while_others_wait_for_the_state(clock, monkeypatch):
    server = device('S', 'theirs')
    server.adapter.gate = Gate(clock)
    server.store.accounts = server_accounts('inner')
    locked = []
    check = auth.check_password

    def watch(*args):
        locked.append(server.context.database.current.get() is not None)
        return check(*args)

    monkeypatch.setattr(auth, 'check_password', watch)
    inner = Sequence(cmd_id='3', commands=(checksums('4', auth.basic('v', 'inner')),))
    Client(server).say(checksums('2', auth.basic('u', 'inner')), inner)
    assert locked == [False, False]


def test_a_session_with_such_a_datastore_is_nobody_elses(clock):
    """Where no other login is needed, numbers of sessions and messages can be guessed."""
    server = device('S', 'theirs')
    server.adapter.gate = Gate(clock)
    server.store.accounts = server_accounts('inner')
    client = Client(server)
    assert codes(client.say(alert(cred=auth.basic('alice', 'inner'))))['1'] == 200
    before = everything(server)
    stranger = Client(server, address=THERE)
    stranger.msg_id = 1
    sync = Sync(cmd_id='1', target=Location('items'), source=Location('x'))
    assert codes(stranger.say(sync)) == {'0': 407, '1': 407}
    assert everything(server) == before
    assert codes(client.say(sync))['1'] == 200


def server_accounts(password):
    return {'alice': auth.hash_password(password)}


@pytest.mark.parametrize('kind', ['basic', 'md5'])
def test_a_failed_login_is_in_the_log_once_and_on_one_line(clock, caplog, kind):
    caplog.set_level(logging.INFO)
    client = Client(server_of(clock, kind), address=HERE)
    name = 'alice\n' + 'x' * 1000
    cred = auth.basic(name, 'a-guess')
    if kind == 'md5':
        nonce = of_header(client.say()).chal.next_nonce
        cred = auth.md5(name, 'a-guess', nonce)
    assert client.code(cred=cred, name=name[:200]) == 401
    [line] = [r.getMessage() for r in caplog.records if 'has failed' in r.getMessage()]
    assert line.startswith('a login as alice xxx') and line.endswith(f'from {HERE} has failed')
    assert 'a-guess' not in caplog.text and len(line) < 300
