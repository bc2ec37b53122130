"""WBXML byte by byte: what is read, in all the forms that peers send."""

from __future__ import annotations

import pytest

from pysyncml.codec import decode, encode, recognise, wbxml
from pysyncml.codec.node import Node
from pysyncml.codec.vocabulary import ELEMENTS, Page
from pysyncml.codec.wbxml import integer
from pysyncml.errors import CodecError, UnknownCodec
from pysyncml.protocol.devinf import DataStoreInfo, DeviceInfo, DevInf
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Anchor,
    Item,
    Location,
    Meta,
    Put,
    Replace,
    Results,
)
from tests.codec.binary import (
    END,
    START,
    TYPE,
    add,
    again,
    data,
    document,
    opaque,
    read,
    string,
    tag,
    written,
)
from tests.codec.support import TYPE as XML_TYPE
from tests.codec.support import message
from tests.codec.test_devinf import FULL


@pytest.mark.parametrize('version', [1, 2, 3])
@pytest.mark.parametrize(
    ('identifier', 'table'),
    [
        (b'\xa4\x01', b''),
        (b'\x9f\x53', b''),
        (b'\x9f\x51', b'unused\0'),
        (b'\x01', b''),
        (b'\0\0', b'-//SYNCML//DTD SyncML 1.0//EN'),
        (b'\0\0', b'-//SYNCML//DTD SyncML 1.1//EN\0'),
        (b'\0\x02', b'x\0-//syncml//dtd syncml 1.2//en\0more\0'),
        (b'\0\0', b'-//VENDOR//DTD Odd//EN'),
    ],
)
@pytest.mark.parametrize('kind', [TYPE, f'{TYPE}; charset=UTF-8', 'text/html', XML_TYPE, None])
def test_headers(version, identifier, table, kind):
    start = bytes((version,)) + identifier + b'\x6a' + integer(len(table)) + table
    found = decode(kind, document(tag(0x06, tag(0x0F, string('200'))), start))
    assert found.header.source == Location('c')
    assert found.commands == (Alert(code=200),)


@pytest.mark.parametrize(
    ('number', 'charset', 'transport'),
    [
        (106, 'utf-8', 'iso-8859-1'),
        (3, 'ascii', None),
        (4, 'latin-1', 'utf-8'),
        (5, 'iso8859-2', None),
        (2252, 'cp1252', None),
        (1013, 'utf-16-be', None),
        (1014, 'utf-16-le', None),
        (1015, 'utf-16', None),
        (0, 'utf-8', None),
        (0, 'utf-8', 'no-such'),
        (0, 'latin-1', 'ISO-8859-1'),
        (0, 'cp1252', 'windows-1252'),
        (9999, 'utf-8', None),
    ],
)
def test_charsets(number, charset, transport):
    text = 'plain' if charset == 'ascii' else 'cafĀé'[: None if 'utf' in charset else 3] + 'é'
    start = b'\x02\xa4\x01' + integer(number) + b'\x00'
    body = tag(0x05, tag(0x14, tag(0x0F, string(text, charset))))
    sent = document(body, start, string(text, charset))
    found = decode(f'{TYPE}; charset={transport}' if transport else TYPE, sent)
    assert found.header.source.uri == text
    assert found.commands[0].items[0].data.decode() == text
    # OPAQUE: text where text belongs, untouched bytes in data
    body = tag(0x05, tag(0x14, tag(0x0F, opaque(b'\xff\xfe\0'))))
    sent = document(body, start, opaque(text.encode(charset)))
    found = decode(f'{TYPE}; charset={transport}' if transport else TYPE, sent)
    assert found.header.source.uri == text
    assert found.commands[0].items[0].data == b'\xff\xfe\0'


def test_string_tables():
    table = b'./contacts\0cont\xc3\xa9\0last'
    start = b'\x02\xa4\x01\x6a' + integer(len(table)) + table
    for offset, text in ((0, './contacts'), (2, 'contacts'), (11, 'conté'), (18, 'last')):
        item = add(tag(0x27, tag(0x17, b'\x83' + integer(offset))), start=start)
        assert item.source_uri == text
        assert data(b'\x83' + integer(offset), start=start) == text.encode()
    with pytest.raises(CodecError, match='no string at'):
        add(tag(0x27, tag(0x17, b'\x83\x20')), start=start)


def test_pieces():
    table = b'tab\0'
    start = b'\x02\xa4\x01\x6a' + integer(len(table)) + table
    pieces = string('a ') + b'\x83\x00' + b'\x02' + integer(0x1F389) + opaque(b' b') + string('')
    assert data(pieces, start=start) == 'a tab🎉 b'.encode()
    assert add(tag(0x27, tag(0x17, pieces)), start=start).source_uri == 'a tab🎉 b'
    halves = 'é'.encode()
    assert data(opaque(halves[:1]), opaque(halves[1:])) == halves
    assert add(tag(0x27, tag(0x17, opaque(halves[:1]), opaque(halves[1:])))).source_uri == 'é'


@pytest.mark.parametrize('code', [0xD800, 0xDFFF, 0x110000, 0xFFFFFFFF])
def test_entities_that_are_no_characters(code):
    with pytest.raises(CodecError, match='no character'):
        data(b'\x02' + integer(code))


EXTENSIONS = (
    b'\x40text\0\x41\0\x42x\0' + b'\x80\x01\x81\x81\x01\x82\x00' + b'\xc0\xc1\xc2'
) + b'\x43\x05\x03x\0\x01'


def test_what_is_passed_over():
    attributes = b'\x05\x85' + string('v') + b'\x83\x00\x02\x41' + opaque(b'\x01') + b'\x00\x01'
    attributes += b'\x04\x00\x40x\0\x80\x01\xc0' + END
    start = b'\x02\xa4\x01\x6a\x02x\0'
    header = tag(0x2C, tag(0x27, tag(0x17, string('c'))))
    item = b'\xd4' + attributes + EXTENSIONS + b'\x8f' + attributes + END
    body = tag(0x2B, EXTENSIONS, tag(0x05, item), tag(0x3D, tag(0x3E, string('x')), b'\x3f'))
    root = b'\xed\x04\x00' + string('SYNCML:SYNCML1.2') + END + header + body + END
    message = decode(TYPE, start + b'\x43\x05\x01' + root + b'rubbish after it')
    assert message.commands == (Add(items=(Item(data=b''),)),)
    assert data(EXTENSIONS, string('a'), EXTENSIONS, string('b')) == b'ab'


def test_literal_tags():
    table = b'syncml:Source\0locuri\0v:Odd\0'
    start = b'\x02\xa4\x01\x6a' + integer(len(table)) + table
    source = b'\x44\x00' + b'\x44\x0e' + string('1') + END + END
    odd = b'\x44\x15' + string('x') + END + b'\x04\x15' + b'\xc4\x15\x05\x01' + END
    item = add(source, odd, tag(0x0F, string('d')), start=start)
    assert (item.source_uri, item.data) == ('1', b'd')
    # markup in the data of an item is its text
    assert data(odd, start=start) == b'<Odd>x</Odd><Odd></Odd><Odd></Odd>'


@pytest.mark.parametrize(
    'end', [b'\x01\0\0\x01', b'\x01\x01\0\0', b'\0\0\x01\x01', b'\x01\0\0\x01\0\x01\0\0']
)
def test_pages_switch_before_tags_and_ends(end):
    item = b'\x54\x5a\0\x01\x53' + string('t/x') + end
    rest = b'\x4f' + string('d') + END + END
    (command,) = read(b'\x45' + item + rest + END).commands
    assert command.items == (Item(meta=Meta(type='t/x'), data=b'd'),)


def test_unknown_tags_and_pages():
    odd = b'\0\x07' + tag(0x0F, string('x')) + b'\x10\0\0'
    assert add(odd, tag(0x30, tag(0x0F)), tag(0x0F, string('d'))) == Item(data=b'd')


def test_every_token_has_its_name():
    for element in ELEMENTS.values():
        if element.page is Page.DEVINF:
            version = b'\x9f\x54' if element.name == 'Size' else b'\xa4\x03'
            found = wbxml.read(b'\x02' + version + b'\x6a\0\x4a' + bytes((element.token, 1)))
        else:
            switch = bytes((0, element.page.code_page))
            found = wbxml.read(START + b'\x6d' + switch + bytes((element.token, 1)))
        assert found.children == [Node(element.name)]


# --- device information -------------------------------------------------------------------------

XML_DEVINF = b'<DevInf><VerDTD>1.2</VerDTD><DevID>d</DevID></DevInf>'
TAGS = tag(0x0A, tag(0x25, string('1.2')), tag(0x09, string('d')), tag(0x07, b'\x1d'))
NO_STORE = tag(0x0A, tag(0x25, string('1.2')), tag(0x09, string('d')))


@pytest.mark.parametrize(
    'sent',
    [
        opaque(b'\x02\xa4\x03\x6a\0' + NO_STORE),
        opaque(b'\x01\x01\x6a\0' + NO_STORE),
        opaque(b'\x03\0\0\x6a\x1d-//SYNCML//DTD DevInf 1.2//EN' + NO_STORE),
        opaque(b'\x02\0\0\x6a\x1e-//SYNCML//DTD DevInf 1.2//EN\0' + NO_STORE),
        opaque(XML_DEVINF),
        opaque(b'<?xml version="1.0"?>\n' + XML_DEVINF),
        string(XML_DEVINF.decode()),
        NO_STORE,
        b'\0\x02' + NO_STORE + b'\0\0',
        b'\0\x01' + NO_STORE + b'\0\0',
    ],
)
@pytest.mark.parametrize('kind', ['', 'application/vnd.syncml-devinf+xml'])
@pytest.mark.parametrize('command', [0x1F, 0x22])
def test_forms_of_device_information(sent, kind, command):
    meta = tag(0x1A, b'\0\x01', tag(0x13, string(kind)), b'\0\0') if kind else b''
    (found,) = read(tag(command, meta, tag(0x14, tag(0x0F, sent), b'\x34'))).commands
    assert isinstance(found, Put | Results)
    assert found.items[0].data == DevInf(
        device=DeviceInfo(
            devID='d', utc=False, largeObjects=False, hierarchicalSync=False, numberOfChanges=False
        )
    )
    assert found.items[0].more_data, 'the vocabulary is that of the message again'


def test_device_information_inside_ends_where_it_ends():
    (put,) = read(tag(0x1F, tag(0x14, tag(0x0F, TAGS)), tag(0x0B, string('7')))).commands
    assert put.cmd_id == '7'
    assert put.items[0].data.stores == (DataStoreInfo(uri='', sync_types=(1, 2)),)


@pytest.mark.parametrize('sent', [b'\x02\xa4\x03\x6a\0\x4a', b'\x02\xa4\x03\x6a\0\x4a\x83\x01'])
def test_broken_device_information_stays_bytes(sent):
    (put,) = read(tag(0x1F, tag(0x14, tag(0x0F, opaque(sent))))).commands
    assert put.items[0].data == sent


def test_a_note_that_looks_like_device_information_is_a_note():
    sent = b'\x02\xa4\x03\x6a\0' + NO_STORE
    assert data(opaque(sent)) == sent


def test_everything_about_a_device_comes_back():
    (put,) = again(Put(items=(Item(data=FULL),)))
    assert put.items[0].data == FULL


def test_a_device_in_another_encoding():
    """Device information that came in one encoding goes out in the other."""
    kind = Meta(type='application/vnd.syncml-devinf+xml')
    original = message(Put(cmd_id='1', meta=kind, items=(Item(meta=kind, data=FULL),)))
    through = decode(*encode(original, 'wbxml'))
    assert through.commands[0].meta.type == 'application/vnd.syncml-devinf+wbxml'
    assert decode(*encode(through)) == original


@pytest.mark.parametrize(
    'sent',
    [
        b'\0\x01' + tag(0x05, tag(0x0F, string('5'))) + b'\0\0',
        b'\0\x01' + tag(0x0E, tag(0x05, tag(0x0F, string('5')))) + b'\0\0',
        opaque(b'\x02\xa4\x02\x6a\0' + tag(0x05, tag(0x0F, string('5')))),
        opaque(b'\x02\x01\x6a\0' + tag(0x05, tag(0x0F, string('5')))),
        opaque(b'<Anchor xmlns="syncml:metinf"><Next>5</Next></Anchor>'),
    ],
)
def test_the_anchor_of_a_status(sent):
    (status,) = read(tag(0x29, tag(0x14, tag(0x0F, sent)))).commands
    assert status.items[0].data == Anchor('5')


# --- the package --------------------------------------------------------------------------------


def test_the_bytes_count_more_than_the_type():
    sent = written(Replace(cmd_id='1'))
    xml = encode(message(Replace(cmd_id='1')))[1]
    for kind in (TYPE, XML_TYPE, 'text/html', None):
        for each, name in ((sent, 'wbxml'), (xml, 'xml')):
            assert decode(kind, each).commands == (Replace(cmd_id='1'),)
            assert recognise(kind, each).name == name
    assert recognise(TYPE, b'').name == 'wbxml'
    with pytest.raises(UnknownCodec):
        recognise('text/plain', b'')


@pytest.mark.parametrize(
    'sent',
    [b'', b'\x02', b'\x02\xa4\x01\x6a\0', b'\x02\xa4\x01\x6a\0\x6d', b'\x02\xa4\x07\x6a\0\x2d'],
)
def test_what_the_type_promises_and_the_bytes_do_not_keep(sent):
    with pytest.raises(CodecError) as caught:
        decode(TYPE, sent)
    assert not isinstance(caught.value, UnknownCodec)
    assert '\n' not in str(caught.value)
