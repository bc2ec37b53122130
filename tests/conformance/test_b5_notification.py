"""B5: a server alerts a device, which starts the session it was asked for."""

from __future__ import annotations

import base64

import pytest

import pysyncml
from pysyncml import alerted
from pysyncml.alerted import Notification, NotifiedSync
from pysyncml.constants import AlertCode, SyncType
from pysyncml.errors import AuthError, NoSuchRoute, RefusedError
from pysyncml.protocol import auth
from pysyncml.protocol.messages import Alert, Status
from tests.sync.support import ENGINES, BookmarkAgent, Wire, bookmark, device, edit, find, urls

SERVER = 'http://S/'

#: SyncML 1.1, SessionID 1, of the server ``srv``: Alert 206, Item Source ``card``, vCard.
SAMPLE_1_1 = bytes.fromhex(
    '029f536a006d6c7103312e310001720353796e634d4c2f312e31000165033100015b033100016e57'
    '032f000101675703737276000101016b464b033100014f03323036000154675703636172640001015a'
    '00015303746578742f782d766361726400010101010000120101'
)


class CardAgent(BookmarkAgent):
    """Bookmarks as cards, so that it is clear which datastore goes with which."""

    contentTypes = [pysyncml.ContentTypeInfo('text/x-vcard', '2.1', preferred=True)]


@pytest.fixture(autouse=True)
def databases():
    ENGINES.release()
    yield


def with_cards(name, card_uri):
    """Return a device that has bookmarks and cards."""
    made = device(name, f'http://{name}/1')
    store = made.context.Store(uri=card_uri, agent=CardAgent())
    made.cards = made.adapter.addStore(store)
    return made


@pytest.fixture
def server():
    return with_cards('S', 'card')


@pytest.fixture
def client(server):
    """A device that is in step with the server, and has changed both of its datastores since."""
    made = with_cards('C', 'people')
    made.adapter.peer = made.context.RemoteAdapter(url=SERVER, username='me', password='pw')
    made.adapter.sync(transport=Wire(server))
    made.add(bookmark('http://C/2'))
    item = made.cards.agent.addItem(bookmark('http://C/card'))
    made.cards.registerChange(item.id, pysyncml.ITEM_ADDED)
    return made


def alert_codes(wire):
    """Return what the client has asked for: server's datastore → Alert code."""
    return {
        item.target_uri: alert.code
        for alert in wire.sent(Alert, by='client')
        for item in alert.items
        if alert.code != AlertCode.NEXT_MESSAGE
    }


def deliver(server, client, kinds=None, name='S', secret=('me', 'pw'), nonce=b'', **how):
    """Make a notification, send it, and return it as *client* reads it."""
    [peer] = server.adapter.getKnownPeers()
    made = alerted.make_notification(server.adapter, peer, kinds, **how)
    content_type, data = alerted.write_notification(
        made, alerted.secret_of(*secret) if secret else None, nonce, encoding='xml'
    )
    found = alerted.read_notification(content_type, data)
    alerted.check(client.adapter, found)
    return found


def obey(server, client, notification):
    wire = Wire(server)
    stats = client.adapter.sync(notification=notification, transport=wire)
    assert {m.header.session_id for m in wire.requests} == {notification.session_id}
    return wire, stats


def test_75_a_valid_digest_starts_the_session_asked_for(server, client):
    found = deliver(server, client, {'card': SyncType.TWO_WAY}, session_id=4711)
    wire, stats = obey(server, client, found)
    assert found.session_id == '4711'
    assert alert_codes(wire) == {'card': 200}
    assert list(stats) == ['people']
    assert [item.url for item in server.cards.agent.getAllItems()] == ['http://C/card']
    assert 'http://C/2' not in urls(server)


@pytest.mark.parametrize(
    ('kind', 'asked', 'code'),
    [
        (SyncType.TWO_WAY, 206, 200),
        (SyncType.ONE_WAY_FROM_CLIENT, 207, 202),
        (SyncType.REFRESH_FROM_CLIENT, 208, 203),
        (SyncType.ONE_WAY_FROM_SERVER, 209, 204),
        (SyncType.REFRESH_FROM_SERVER, 210, 205),
        (SyncType.SLOW_SYNC, 201, 201),
    ],
)
def test_75_every_kind_is_started_by_its_own_code(server, client, kind, asked, code):
    found = deliver(server, client, {'items': kind})
    assert [sync.code for sync in found.syncs] == [asked]
    wire, _ = obey(server, client, found)
    assert alert_codes(wire) == {'items': code}
    if kind is SyncType.REFRESH_FROM_SERVER:
        assert urls(client) == urls(server) == ['http://C/1', 'http://S/1']
    elif kind.client_sends:
        assert 'http://C/2' in urls(server)


def test_75_datastores_of_one_notification_may_differ_in_kind(server, client):
    kinds = {'items': SyncType.REFRESH_FROM_SERVER, 'card': SyncType.ONE_WAY_FROM_CLIENT}
    wire, stats = obey(server, client, deliver(server, client, kinds))
    assert alert_codes(wire) == {'items': 205, 'card': 202}
    assert {uri: row.mode for uri, row in stats.items()} == {
        'items': SyncType.REFRESH_FROM_SERVER,
        'people': SyncType.ONE_WAY_FROM_CLIENT,
    }


def test_75_no_datastores_means_all_of_them(server, client):
    found = deliver(server, client)
    assert found.syncs == ()
    wire, _ = obey(server, client, found)
    assert alert_codes(wire) == {'items': 200, 'card': 200}
    assert 'http://C/2' in urls(server)


@pytest.mark.parametrize('secret', [('me', 'other'), ('you', 'pw'), None], ids=str)
def test_75_a_wrong_digest_is_ignored(server, client, secret):
    with pytest.raises(AuthError, match='may come from anybody'):
        deliver(server, client, secret=secret)


def test_75_the_digest_is_about_the_nonce_agreed_on(server, client):
    record = client.adapter.peer.record
    record.our_nonce = base64.b64encode(b'\x00nonce').decode()
    deliver(server, client, nonce=b'\x00nonce')
    with pytest.raises(AuthError):
        deliver(server, client, nonce=b'of last year')


def test_75_the_secret_may_be_about_the_server_s_id(server, client):
    assert deliver(server, client, secret=('S', 'pw')).server_id == 'S'


def test_75_without_a_password_there_is_nothing_to_check(server, client):
    client.adapter.peer.password = None
    assert deliver(server, client, secret=None).digest == b''


def test_75_an_unknown_server_is_ignored(server, client):
    [peer] = server.adapter.getKnownPeers()
    made = alerted.make_notification(server.adapter, peer)
    stranger = Notification(server_id='http://stranger/', session_id=made.session_id)
    with pytest.raises(RefusedError, match='of the server "http://stranger/", not of "http://S/"'):
        alerted.check(client.adapter, stranger)


def test_75_a_datastore_nobody_knows(server, client, caplog):
    nothing = Notification(server_id='S', syncs=(NotifiedSync(uri='calendar'),))
    with pytest.raises(NoSuchRoute, match='"calendar"'):
        client.adapter.sync(notification=nothing, transport=Wire(server))
    assert 'nothing here' not in caplog.text, 'said once, by the error'
    some = Notification(
        server_id='S', session_id='9', syncs=(NotifiedSync(uri='cal'), NotifiedSync(uri='./card'))
    )
    wire, _ = obey(server, client, some)
    assert alert_codes(wire) == {'card': 200}
    assert 'nothing here goes with "cal"' in caplog.text


def test_75_the_form_of_1_1(server, client):
    kinds = {'card': SyncType.REFRESH_FROM_SERVER, 'items': SyncType.TWO_WAY}
    found = deliver(server, client, kinds, version='1.1', session_id=12)
    assert found.version == '1.1'
    assert [(s.code, s.uri, s.client_uri, s.content_type) for s in found.syncs] == [
        (210, 'card', 'people', 'text/x-vcard'),
        (206, 'items', 'items', 'text/x-bookmark'),
    ]
    wire, _ = obey(server, client, found)
    assert alert_codes(wire) == {'card': 205, 'items': 200}
    answers = [s for s in wire.requests[0].commands if isinstance(s, Status)]
    assert [(s.cmd, s.msg_ref, s.cmd_ref, s.code, s.source_refs) for s in answers] == [
        ('Alert', '1', '1', 200, ('card',)),
        ('Alert', '1', '2', 200, ('items',)),
    ]


def test_75_credentials_in_the_form_of_1_1(server, client):
    made = Notification(version='1.1', server_id='S', cred=auth.basic('S', 'pw'))
    alerted.check(client.adapter, made)
    wrong = Notification(version='1.1', server_id='S', cred=auth.basic('S', 'guess'))
    with pytest.raises(AuthError, match='another password'):
        alerted.check(client.adapter, wrong)


def test_75_a_recorded_notification_of_1_1_in_wbxml():
    found = alerted.read_notification('application/vnd.syncml+wbxml', SAMPLE_1_1)
    assert (found.version, found.session_id, found.server_id) == ('1.1', '1', 'srv')
    assert found.syncs == (NotifiedSync(code=206, uri='card', content_type='text/x-vcard'),)
    assert alerted.read_notification(None, SAMPLE_1_1) == found
    _, written = alerted.write_notification(found)
    assert alerted.read_notification(None, written) == found


def test_75_a_device_that_was_never_in_step(server):
    """What a notification says of types is enough to find the datastore the first time."""
    client = with_cards('C', 'people')
    client.adapter.peer = client.context.RemoteAdapter(url=SERVER)
    found = Notification(
        server_id=SERVER,
        session_id='3',
        syncs=(NotifiedSync(uri='card', content_type='text/x-vcard', code=206),),
    )
    alerted.check(client.adapter, found)
    wire, stats = obey(server, client, found)
    assert alert_codes(wire) == {'card': 201}
    assert list(stats) == ['people']


def test_75_the_session_after_that_is_an_ordinary_one(server, client):
    obey(server, client, deliver(server, client, session_id=77))
    edit(client, find(client, 'http://C/2'), title='new')
    wire = Wire(server)
    client.adapter.sync(transport=wire)
    assert {m.header.session_id for m in wire.requests} == {'3'}
    assert alert_codes(wire) == {'items': 200, 'card': 200}
