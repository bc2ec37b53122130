"""Notifications as bytes and as messages; what is made can be read, and nothing else harms."""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysyncml.constants import NAMESPACE_AUTH_MD5, SyncType
from pysyncml.errors import CodecError, LocalProtocolError
from pysyncml.protocol import auth, notification
from pysyncml.protocol.messages import Alert, Cred, Header, Item, Location, Message, Meta
from pysyncml.protocol.notification import (
    CONTENT_TYPE_NUMBERS,
    Notification,
    NotifiedSync,
    UiMode,
    make,
    parse,
    secret_of,
    verify,
)

#: A server ``http://127.0.0.1/sync`` whose password is ``srvpwd`` asks for two datastores.
SAMPLE = bytes.fromhex(
    '016668c9e640b146ec8ae36a6b53ef65'
    '0318000000123415687474703a2f2f3132372e302e302e312f73796e63'
    '2060000007046361726460000003046e6f7465'
)
SAYS = Notification(
    session_id=str(0x1234),
    server_id='http://127.0.0.1/sync',
    syncs=(
        NotifiedSync(code=206, uri='card', content_type='text/x-vcard'),
        NotifiedSync(code=206, uri='note', content_type='text/plain'),
    ),
    ui_mode=UiMode.BACKGROUND,
    digest=SAMPLE[:16],
)


def test_the_sample_is_read_and_written():
    found = parse(SAMPLE)
    assert found == SAYS
    assert [sync.kind for sync in found.syncs] == [SyncType.TWO_WAY] * 2
    assert make(found) == SAMPLE
    secret = secret_of('http://127.0.0.1/sync', 'srvpwd')
    assert secret == b'XPVw0qxb3WZymbsq+cFf2Q=='
    assert make(replace(found, digest=b''), secret, b'abcd') == SAMPLE


def test_one_datastore_of_an_independent_sample():
    head = bytes(16) + bytes.fromhex('0308000000 0001') + b'\x10ATT Address Book'
    found = parse(head + bytes.fromhex('10 60 00 00 07 04') + b'card')
    assert found.server_id == 'ATT Address Book'
    assert found.digest == b''
    assert found.syncs == (NotifiedSync(code=206, uri='card', content_type='text/x-vcard'),)


def test_the_digest_shows_who_made_it():
    names = ['http://127.0.0.1/sync']
    assert verify(parse(SAMPLE), names, 'srvpwd', b'abcd')
    assert verify(parse(SAMPLE), ['somebody', *names], 'srvpwd', b'abcd')
    assert not verify(parse(SAMPLE), names, 'srvpwd', b'abce')
    assert not verify(parse(SAMPLE), names, 'other', b'abcd')
    assert not verify(parse(SAMPLE), [], 'srvpwd', b'abcd')
    for place in range(len(SAMPLE) * 8):
        changed = bytearray(SAMPLE)
        changed[place // 8] ^= 1 << place % 8
        try:
            found = parse(bytes(changed))
        except CodecError:
            continue
        assert not verify(found, names, 'srvpwd', b'abcd'), place


def test_without_a_digest_nobody_is_believed():
    found = parse(make(replace(SAYS, digest=b'')))
    assert not found.is_signed
    assert not verify(found, [SAYS.server_id], 'srvpwd', b'abcd')


@pytest.mark.parametrize('nonce', [b'', b'0x00000000'])
def test_an_empty_nonce_and_the_one_after_a_loss(nonce):
    data = make(SAYS, secret_of('me', 'pw'), nonce)
    assert verify(parse(data), ['me'], 'pw', b'' if not nonce else b'what was agreed')


@pytest.mark.parametrize(
    ('code', 'kind'),
    [
        (206, SyncType.TWO_WAY),
        (207, SyncType.ONE_WAY_FROM_CLIENT),
        (208, SyncType.REFRESH_FROM_CLIENT),
        (209, SyncType.ONE_WAY_FROM_SERVER),
        (210, SyncType.REFRESH_FROM_SERVER),
        (200, SyncType.TWO_WAY),
        (201, SyncType.SLOW_SYNC),
        (205, SyncType.REFRESH_FROM_SERVER),
    ],
)
def test_what_a_client_asks_for_when_it_is_alerted(code, kind):
    data = make(replace(SAYS, syncs=(NotifiedSync(code=code),)))
    assert data[16 + 7 + 22 + 1] == code - 200 << 4
    assert parse(data).syncs[0].kind is kind


@pytest.mark.parametrize('ports', ['060504 0b84 c002', '0504 0b84 c002', '0504 3039 0000'])
def test_port_numbers_of_a_text_message_are_skipped(ports):
    assert parse(bytes.fromhex(ports) + SAMPLE) == SAYS


def test_a_digest_that_looks_like_port_numbers_stays():
    says = replace(SAYS, digest=bytes.fromhex('05040b84') + bytes(range(12)))
    assert parse(make(says)) == says


def test_bits_for_future_use_are_ignored():
    data = bytearray(SAMPLE)
    data[17] |= 7
    data[18:21] = b'\xff\xff\xff'
    data[45] |= 15
    assert replace(parse(bytes(data)), signed=b'') == SAYS


@pytest.mark.parametrize(
    ('data', 'said'),
    [
        (b'', 'more than 0 bytes'),
        (SAMPLE[:23], 'more than 23 bytes'),
        (SAMPLE[:30], 'ends too early'),
        (SAMPLE[:-1], 'ends too early'),
        (SAMPLE[:16] + b'\x04' + SAMPLE[17:], 'version'),
        (SAMPLE[:46] + b'\xb0' + SAMPLE[47:], 'unknown kind of synchronisation (211)'),
        (SAMPLE[:24] + b'\xff' + SAMPLE[25:], 'no UTF-8'),
        (b'what a nice day it is today', 'version'),
    ],
)
def test_what_is_none_is_said_to_be_none(data, said):
    with pytest.raises(CodecError, match='notification') as caught:
        parse(data)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    'values',
    [
        {'version': '2.0'},
        {'session_id': '65536'},
        {'session_id': 'x'},
        {'session_id': '-1'},
        {'server_id': 'x' * 256},
        {'syncs': (NotifiedSync(),) * 16},
        {'syncs': (NotifiedSync(code=222),)},
        {'syncs': (NotifiedSync(uri='é' * 128),)},
    ],
)
def test_what_does_not_fit_in_is_not_written(values):
    with pytest.raises(LocalProtocolError):
        make(replace(SAYS, **values))


def _fits(text):
    return len(text.encode()) < 256


TEXTS = st.text(st.characters(exclude_categories=['Cs']), max_size=255).filter(_fits)
TYPES = st.sampled_from(['', *CONTENT_TYPE_NUMBERS]) | st.integers(0x10000, 0xFFFFFF).map(
    '0x{:06x}'.format
)
SYNCS = st.builds(
    NotifiedSync, code=st.integers(200, 210), uri=TEXTS, content_type=TYPES, client_uri=st.just('')
)
NOTIFICATIONS = st.builds(
    Notification,
    version=st.sampled_from(['1.0', '1.1', '1.2']),
    session_id=st.integers(0, 0xFFFF).map(str),
    server_id=TEXTS,
    syncs=st.lists(SYNCS, max_size=15).map(tuple),
    ui_mode=st.sampled_from(UiMode),
    by_server=st.booleans(),
    vendor=st.binary(max_size=40),
    digest=st.just(b'') | st.binary(min_size=16, max_size=16).filter(any),
    cred=st.none(),
)


@settings(deadline=None)
@given(NOTIFICATIONS)
def test_what_is_written_is_read_again(says):
    data = make(says)
    assert parse(data) == says
    assert make(parse(data)) == data


@pytest.mark.parametrize(
    'count', [1_000, pytest.param(20_000, marks=pytest.mark.campaign)], ids=str
)
def test_damaged_bytes_are_read_or_refused(count):
    chance = random.Random(int(os.environ.get('SEED', '7')))
    refused = 0
    for _ in range(count):
        data = bytearray(SAMPLE)
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(data) + 1)
            match chance.randrange(4):
                case 0:
                    data[place:place] = chance.randbytes(chance.randint(1, 8))
                case 1:
                    del data[place : place + chance.randint(1, 8)]
                case 2:
                    del data[max(place, 1) :]
                case 3:
                    data[place : place + 1] = chance.randbytes(1)
        try:
            found = parse(bytes(data))
        except CodecError:
            refused += 1
            continue
        assert parse(make(found)) == found
    assert 0 < refused < count


# --- messages of 1.1 ----------------------------------------------------------------------------


def alerts(*commands, cred=None, version='1.1'):
    header = Header(
        version=version,
        dtd_version=version,
        session_id='1',
        msg_id='1',
        target=Location('/'),
        source=Location('srv'),
        cred=cred,
    )
    return Message(header=header, commands=commands, final=True)


CARD = Alert(
    cmd_id='1',
    code=206,
    items=(Item(source=Location('card'), meta=Meta(type='text/x-vcard')),),
)


def test_a_message_is_a_notification():
    found = notification.from_message(alerts(CARD))
    assert (found.version, found.session_id, found.server_id) == ('1.1', '1', 'srv')
    assert found.syncs == (NotifiedSync(code=206, uri='card', content_type='text/x-vcard'),)
    assert [cmd_id for cmd_id, _ in found.alerts] == ['1']
    assert notification.to_message(found) == alerts(CARD)


def test_an_alert_without_an_item_means_all_datastores():
    found = notification.from_message(alerts(Alert(cmd_id='1', code=210)))
    assert found.syncs == (NotifiedSync(code=210),)
    assert notification.from_message(notification.to_message(found)) == found
    everything = notification.to_message(Notification(version='1.1', server_id='srv'))
    assert notification.from_message(everything).syncs == (NotifiedSync(code=206),)


@pytest.mark.parametrize('code', [100, 222, 224])
def test_a_message_that_asks_for_no_synchronisation_is_none(code):
    with pytest.raises(CodecError, match='asks for no synchronisation'):
        notification.from_message(alerts(Alert(cmd_id='1', code=code)))


def test_the_credentials_of_a_message():
    def comes_from(cred, version='1.1', nonce=b'n'):
        found = notification.from_message(alerts(CARD, cred=cred, version=version))
        return verify(found, ['srv', 'me'], 'pw', nonce)

    def md5(data):
        return Cred(data=data, type=NAMESPACE_AUTH_MD5, format='b64')

    assert comes_from(auth.basic('srv', 'pw'))
    assert comes_from(auth.basic('me', 'pw'))
    assert not comes_from(auth.basic('me', 'other'))
    assert not comes_from(auth.basic('you', 'pw'))
    assert not comes_from(Cred(data='cHc=', type='syncml:auth-x', format='b64'))
    assert not comes_from(Cred(data='%', format='b64'))
    # b64(md5(b64(md5("srv:pw")) + ":n")), and for 1.0 b64(md5("srv:pw:n"))
    assert comes_from(md5('egzpQ/DjrAagsw3yr7VVcQ=='))
    assert not comes_from(md5('egzpQ/DjrAagsw3yr7VVcQ=='), nonce=b'm')
    assert comes_from(md5('IWHvBBivWA3l7Ct2ZatFyw=='), version='1.0')
    assert not comes_from(md5('egzpQ/DjrAagsw3yr7VVcQ=='), version='1.0')
    assert not comes_from(md5('é'))
    assert not comes_from(None)
