"""WBXML byte by byte: what is written, and what it costs."""

from __future__ import annotations

import pytest

from pysyncml.codec import cost, decode, encode, wbxml
from pysyncml.codec.wbxml import integer
from pysyncml.errors import LocalProtocolError
from pysyncml.protocol.devinf import ContentTypeInfo, DataStoreInfo, DeviceInfo, DevInf
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Anchor,
    Chal,
    Cred,
    Header,
    Item,
    Location,
    Message,
    Meta,
    Move,
    Put,
    Status,
    Sync,
)
from tests.codec.binary import TYPE, again, opaque, read, tag, written
from tests.codec.support import message
from tests.codec.test_writing import EVERY

# What xml2wbxml (libwbxml 0.11) makes of the same message.
SAMPLE = bytes.fromhex(
    '02a4016a006d6c7103312e320001720353796e634d4c2f312e32000165033100015b033100016e5703687474703a'
    '2f2f3132372e302e302e312f73000101675703646576310001015a00014c03353030300001010100006b464b0331'
    '00014f033230300001546e57036e6f74650001016757032e2f6e0001015a0001454a033100014f03320001010101'
    '010000120101'
)


def test_the_sample():
    anchor = Meta(anchor=Anchor('2', '1'))
    item = Item(target=Location('note'), source=Location('./n'), meta=anchor)
    header = Header(
        session_id='1',
        msg_id='1',
        target=Location('http://127.0.0.1/s'),
        source=Location('dev1'),
        meta=Meta(max_msg_size=5000),
    )
    alert = Alert(cmd_id='1', code=200, items=(item,))
    expected = Message(header=header, commands=(alert,), final=True)
    assert encode(expected, 'wbxml') == (TYPE, SAMPLE)
    assert decode(TYPE, SAMPLE) == expected


def test_data_is_opaque():
    meta, source = Meta(type='text/plain'), Location('1')
    command = Add(cmd_id='4', meta=meta, items=(Item(meta=meta, source=source, data=b'hi & bye'),))
    expected = '454b033400015a00015303746578742f706c61696e00010100005467570331000101'
    assert bytes.fromhex(expected) + b'\x4f\xc3\x08hi & bye\x01\x01\x01' in written(command)


def test_device_information_is_a_document():
    device = DeviceInfo(
        devID='d', devType='phone', oem=None, largeObjects=False, numberOfChanges=False
    )
    info = ContentTypeInfo('t', '1', preferred=True)
    devinf = DevInf(device=device, stores=(DataStoreInfo(uri='./n', content_types=(info,)),))
    kind = Meta(type='application/vnd.syncml-devinf')
    put = Put(cmd_id='2', meta=kind, items=(Item(source=Location('./devinf12'), data=devinf),))
    found = written(put)
    assert b'application/vnd.syncml-devinf+wbxml' in found
    start = found.index(b'\x4f\xc3') + 2
    inner = b'\x02\xa4\x03\x6a\x00\x4a\x65\x031.2\x00\x01'
    assert inner in found[start : start + 20]
    (again,) = decode(TYPE, found).commands
    assert again.items[0].data == DevInf(
        device=DeviceInfo(**device.values() | {'oem': '-', 'hierarchicalSync': False}),
        stores=devinf.stores,
    )


@pytest.mark.parametrize(
    ('version', 'start', 'inner'),
    [
        (
            '1.0',
            b'\x02\0\0\x6a\x1d-//SYNCML//DTD SyncML 1.0//EN\x6d',
            b'\x02\0\0\x6a\x1d-//SYNCML//DTD DevInf 1.0//EN\x4a',
        ),
        ('1.1', b'\x02\x9f\x53\x6a\x00\x6d', b'\x02\x9f\x54\x6a\x00\x4a'),
        ('1.2', b'\x02\xa4\x01\x6a\x00\x6d', b'\x02\xa4\x03\x6a\x00\x4a'),
        ('1.7', b'\x02\xa4\x01\x6a\x00\x6d', b'\x02\xa4\x03\x6a\x00\x4a'),
    ],
)
def test_the_header_says_the_version(version, start, inner):
    found = written(Put(items=(Item(data=DevInf(version=version)),)), version=version)
    assert found.startswith(start)
    assert inner in found


def test_device_information_of_another_version():
    found = written(Put(items=(Item(data=DevInf(version='1.1')),)))
    assert b'\x02\x9f\x54\x6a\x00\x4a' in found


def tokens(found: bytes) -> list[tuple[int, int]]:
    """Return (page, token) of all tags, and see that pages switch before tags only."""
    at, page, result, switched = found.index(b'\x6d'), 0, [], False
    while at < len(found):
        token = found[at]
        at += 1
        if token == 0:
            assert not switched, 'one switch at a time'
            page, switched = found[at], True
            at += 1
            continue
        if token & 0x3F >= 5:
            result.append((page, token & 0x3F))
            switched = False
            continue
        assert not switched, f'a page switch before {token:#x}'
        if token == 0x03:
            at = found.index(b'\0', at) + 1
        elif token == 0xC3:
            length = 0
            while True:
                length = length << 7 | found[at] & 0x7F
                at += 1
                if found[at - 1] < 0x80:
                    break
            at += length
        else:
            assert token == 1
    return result


@pytest.mark.parametrize('version', ['1.0', '1.1', '1.2'])
def test_nothing_newer_and_no_needless_switches(version):
    meta = Meta(type='t', max_obj_size=5, field_level=True)
    inside = Add(cmd_id='2', items=(Item(source_parent='p', meta=meta, data=b'x'),))
    sync = Sync(cmd_id='1', meta=meta, number_of_changes=1, commands=(inside, inside))
    status = Status(code=200, items=(Item(data=Anchor('1')),))
    found = set(tokens(written(sync, status, version=version)))
    for page, token, since in (
        (0, 0x33, '1.1'),
        (1, 0x15, '1.1'),
        (0, 0x39, '1.2'),
        (1, 0x16, '1.2'),
    ):
        assert ((page, token) in found) is (since <= version)
    assert (1, 0x05) in found
    with pytest.raises(LocalProtocolError):
        written(Move(), version='1.1')


@pytest.mark.parametrize('command', EVERY, ids=lambda c: c.name)
def test_every_command_comes_back(command):
    assert again(command) == (command,)
    tokens(written(command))


def test_several_commands_keep_their_order():
    assert again(*EVERY) == tuple(EVERY)


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'\0',
        b' ',
        b'a\r\nb',
        b'a\nb\r',
        bytes(range(256)),
        b'\x02\xa4\x03\x6a\x00',
        b'x' * 300,
    ],
)
@pytest.mark.parametrize('meta', [None, Meta(format='bin'), Meta(type='t/x', format='xml')])
def test_any_bytes_as_they_are(content, meta):
    (command,) = again(Add(items=(Item(meta=meta, data=content),)))
    assert command.items == (Item(meta=meta, data=content),)
    assert opaque(content) in written(command) or not content


def test_values_that_strings_cannot_hold():
    assert b'\x57' + opaque(b'a\0b') in written(Add(items=(Item(source=Location('a\0b')),)))
    for text in ('\udc80', 5):
        with pytest.raises(LocalProtocolError):
            written(Add(items=(Item(source=Location(text)),)))


def test_credentials_and_nonces():
    nonce = bytes(range(16))
    chal = Chal('syncml:auth-md5', 'b64', nonce)
    assert again(Status(chal=chal)) == (Status(chal=chal),)
    sent = tag(0x29, tag(0x09, tag(0x1A, b'\0\x01', tag(0x10, opaque(nonce)))))
    assert read(sent).commands[0].chal.next_nonce == nonce
    digest = bytes(range(0xF0, 0x100))
    cred = tag(0x0E, tag(0x0F, opaque(digest)))
    assert read(tag(0x06, cred)).commands[0].cred == Cred('8PHy8/T19vf4+fr7/P3+/w==')


@pytest.mark.parametrize('number', [0, 1, 127, 128, 160, 0x0FD3, 0x1201, 2**31, 2**32 - 1])
def test_numbers(number):
    assert wbxml.integer(160) == b'\x81\x20'
    bits = ''.join(f'{byte & 0x7F:07b}' for byte in integer(number))
    assert int(bits, 2) == number
    assert [byte >> 7 for byte in integer(number)][-1] == 0
    assert all(byte >> 7 for byte in integer(number)[:-1])


@pytest.mark.parametrize('version', ['1.0', '1.1', '1.2'])
@pytest.mark.parametrize('command', EVERY, ids=lambda c: c.name)
def test_cost(command, version):
    try:
        with_it = written(Alert(code=1), command, version=version)
    except LocalProtocolError:
        assert version < '1.2'
        return
    without = written(Alert(code=1), version=version)
    assert cost(command, 'wbxml', version=version) == len(with_it) - len(without)


def test_cost_when_nothing_follows():
    switching = Alert(cmd_id='1', items=(Item(meta=Meta(type='t')),))  # ends in another page
    plain = Alert(cmd_id='1', code=5)
    empty = Message(header=message().header, commands=())
    base = len(encode(empty, 'wbxml')[1]) + 1  # with room for commands
    for commands in ((switching, switching), (switching, plain), (plain, switching)):
        unfinished = Message(header=empty.header, commands=commands)
        size = len(encode(unfinished, 'wbxml')[1])
        most = base + sum(cost(each, 'wbxml') for each in commands)
        assert most - 2 <= size <= most
