"""Documents that want to do harm are refused, quickly and in one line."""

from __future__ import annotations

import time

import pytest

from pysyncml.codec import decode, xml
from pysyncml.errors import CodecError
from tests.codec.support import TYPE, read

HEADER = '<SyncHdr><Source><LocURI>&e;</LocURI></Source></SyncHdr>'


@pytest.mark.parametrize(
    'declared',
    [
        '<!DOCTYPE SyncML [<!ENTITY e "x">]>',
        '<!DOCTYPE SyncML [<!ENTITY a "aaaa"><!ENTITY e "&a;&a;&a;">]>',
        '<!DOCTYPE SyncML [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE SyncML [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x"> %p;]>',
        '<!DOCTYPE SyncML [<!ATTLIST LocURI a CDATA "x">]>',
        '<!DOCTYPE SyncML SYSTEM "http://127.0.0.1:9/x.dtd">',
        '',
    ],
)
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16'])
def test_no_entities(declared, encoding):
    data = f'{declared}<SyncML>{HEADER}</SyncML>'.encode(encoding)
    with pytest.raises(CodecError) as caught:
        decode(TYPE, data)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b' ',
        b'\x00' * 100,
        b'<',
        b'<SyncML>',
        b'<SyncML></Sync>',
        b'<SyncML/><SyncML/>',
        b'<SyncML a="1" a="2"/>',
        b'<x:SyncML/>',
        b'<?xml version="1.0" encoding="no-such"?><SyncML/>',
        b'<?xml version="1.0" encoding="gb2312"?><SyncML/>',
        b'<?xml version="1.0" encoding="latin-1"?><SyncML>\x01</SyncML>',
        b'<SyncML>\xff\xfe\x00</SyncML',
        b'\xff\xfe<',
        '<SyncML>\U0010ff00\x01</SyncML>'.encode(),
    ],
)
def test_no_xml(data):
    with pytest.raises(CodecError) as caught:
        decode(TYPE, data)
    assert '\n' not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize('charset', ['no-such', 'utf\x00', 'gb2312'])
def test_no_such_charset(charset):
    with pytest.raises(CodecError):
        decode(f'{TYPE}; charset={charset}', '<SyncML>ü</SyncML>'.encode('latin-1'))


@pytest.mark.parametrize('name', ['Sync', 'Atomic', 'Odd', 'Data'])
def test_depth(name):
    for many in (1000, 100_000):
        started = time.monotonic()
        with pytest.raises(CodecError, match='too deep'):
            read(f'<{name}>' * many + f'</{name}>' * many)
        assert time.monotonic() - started < 2


def test_depth_of_markup_in_data():
    with pytest.raises(CodecError, match='too deep'):
        read('<Add><Item><Data>' + '<a>' * 1000 + '</a>' * 1000 + '</Data></Item></Add>')


def test_depth_that_is_needed():
    deep = 40
    message = read('<Sequence>' * deep + '<Alert/>' + '</Sequence>' * deep)
    assert len(list(message.walk())) == deep + 1


def test_number_of_elements(monkeypatch):
    monkeypatch.setattr(xml, 'MAX_ELEMENTS', 100)
    with pytest.raises(CodecError, match='too many'):
        read('<Odd/>' * 101)
    with pytest.raises(CodecError, match='too many'):
        read('<Add><Item><Data>' + '<a/>' * 101 + '</Data></Item></Add>')


def test_size(monkeypatch):
    monkeypatch.setattr(xml, 'MAX_BYTES', 1000)
    with pytest.raises(CodecError, match='too large'):
        read('x' * 1000)


def test_device_information_in_device_information():
    inner = '<DevInf><DevID>&amp;lt;</DevID></DevInf>'.replace('<', '&lt;')
    message = read(f'<Put><Item><Data>{inner}</Data></Item></Put>' * 100)
    assert len(message.commands) == 100


def test_an_entity_bomb_in_embedded_text_stays_text():
    bomb = '<!DOCTYPE DevInf [<!ENTITY e "x">]><DevInf><DevID>&e;</DevID></DevInf>'
    (put,) = read(f'<Put><Item><Data><![CDATA[{bomb}]]></Data></Item></Put>').commands
    assert put.items[0].data == bomb.encode()


def test_capabilities_of_many_stores():
    store = '<DataStore><Rx><CTType>t</CTType></Rx></DataStore>'
    flat = '<CTCap><CTType>t</CTType><PropName>a</PropName></CTCap>'
    for many, fits in ((20, True), (400, False)):
        body = f'<Put><Item><Data><DevInf>{store * many}{flat * many}</DevInf></Data></Item></Put>'
        if fits:
            assert len(read(body).commands[0].items[0].data.stores[0].capabilities) == many
        else:
            with pytest.raises(CodecError, match='too complex'):
                read(body)


def test_a_very_long_name_of_a_charset():
    with pytest.raises(CodecError) as caught:
        decode(TYPE, b'<?xml version="1.0" encoding="' + b'UT' * 1000 + b'"?><SyncML/>')
    assert len(str(caught.value)) < 200
