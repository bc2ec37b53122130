"""What a notification is read from, and which datastores it means."""

from __future__ import annotations

import pytest

from pysyncml import alerted
from pysyncml.alerted import Notification, NotifiedSync, UiMode
from pysyncml.constants import SyncType
from pysyncml.errors import CodecError, InvalidAdapter, NoSuchRoute, UnknownCodec
from tests.sync.support import device

BINARY = alerted.write_notification(Notification(server_id='S', syncs=(NotifiedSync(uri='a'),)))
MESSAGE = alerted.write_notification(
    Notification(version='1.1', server_id='S', syncs=(NotifiedSync(uri='a'),)), encoding='xml'
)


@pytest.mark.parametrize(
    'content_type',
    [
        'application/vnd.syncml.ds.notification',
        'Application/vnd.SyncML.notification; charset=x',
        'application/octet-stream',
        'application/vnd.syncml+xml',
        '',
        None,
    ],
)
def test_the_bytes_count_more_than_their_type(content_type):
    assert alerted.read_notification(content_type, BINARY[1]).syncs[0].uri == 'a'


def test_a_message_is_read_with_or_without_its_type():
    assert MESSAGE[0] == 'application/vnd.syncml+xml'
    for content_type in (MESSAGE[0], None, 'text/plain'):
        assert alerted.read_notification(content_type, MESSAGE[1]).version == '1.1'


@pytest.mark.parametrize(
    ('content_type', 'data', 'said'),
    [
        (None, b'', 'notification'),
        (None, b'what a nice day it is today', 'this is no notification'),
        (MESSAGE[0], MESSAGE[1][:100], 'XML'),
        (BINARY[0], MESSAGE[1], 'this is no notification'),
        (None, MESSAGE[1].replace(b'<Data>206<', b'<Data>222<'), 'no synchronisation'),
    ],
)
def test_what_is_none_is_refused(content_type, data, said):
    with pytest.raises(CodecError, match=said) as caught:
        alerted.read_notification(content_type, data)
    assert not isinstance(caught.value, UnknownCodec)


def test_a_digest_may_begin_like_a_message():
    says = Notification(server_id='S', digest=b'<SyncML><SyncHdr')
    data = alerted.write_notification(says)[1]
    assert alerted.read_notification(None, data) == says


def test_making_one_for_a_device():
    server, client = device('S', 'http://1/'), device('C')
    client.sync(server)
    [peer] = server.adapter.getKnownPeers()
    made = alerted.make_notification(server.adapter, peer, {'ITEMS': 3}, ui_mode=UiMode.INFORMATIVE)
    assert made.syncs == (
        NotifiedSync(code=207, uri='items', content_type='text/x-bookmark', client_uri=''),
    )
    assert 0 < int(made.session_id) < 65536
    assert made.server_id == 'S'
    with pytest.raises(NoSuchRoute, match='no datastore "calendar" here'):
        alerted.make_notification(server.adapter, peer, {'calendar': 1})


def test_routes_that_are_set_count():
    client = device('C')
    client.adapter.peer = client.context.RemoteAdapter(url='http://S/')
    client.adapter.routes = {'items': 'memo'}
    for uri in ('memo', './memo', 'ITEMS', ''):
        asked = Notification(server_id='S', syncs=(NotifiedSync(uri=uri, code=209),))
        assert alerted.kinds_of(client.adapter, asked) == {'items': SyncType.ONE_WAY_FROM_SERVER}


def test_the_type_does_not_overrule_what_is_known():
    server, client = device('S'), device('C')
    client.sync(server)
    asked = Notification(syncs=(NotifiedSync(uri='other', content_type='text/x-bookmark'),))
    with pytest.raises(NoSuchRoute):
        alerted.kinds_of(client.adapter, asked)


def test_nobody_to_synchronise_with():
    with pytest.raises(InvalidAdapter, match='no server'):
        alerted.check(device('C').adapter, Notification(server_id='S'))
