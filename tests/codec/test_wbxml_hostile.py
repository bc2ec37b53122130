"""WBXML that wants to do harm is refused, in one line, before much is made of it."""

from __future__ import annotations

import tracemalloc

import pytest

from pysyncml.codec import decode, wbxml_reader
from pysyncml.codec.wbxml import integer
from pysyncml.errors import CodecError
from tests.codec.binary import START, TYPE, document, opaque, read, string, tag


def refused(sent: bytes, match: str | None = None) -> None:
    """See that *sent* is refused, and that little memory was needed to know it."""
    tracemalloc.start()
    try:
        with pytest.raises(CodecError, match=match) as caught:
            decode(TYPE, sent)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert '\n' not in str(caught.value)
    assert len(str(caught.value)) < 200
    assert peak < 30_000_000 + 10 * len(sent)


def test_every_beginning_of_a_message():
    whole = document(
        tag(0x05, tag(0x14, tag(0x0F, opaque(b'data'), b'\x83\x00'))), START[:-1] + b'\x02x\0'
    )
    decode(TYPE, whole)
    for length in range(len(whole)):
        with pytest.raises(CodecError):
            decode(TYPE, whole[:length])


@pytest.mark.parametrize(
    'number', [b'\xff' * 4 + b'\x7f', b'\x8f' * 5 + b'\x00', b'\x80' * 1000, b'\xff' * 9]
)
def test_numbers_of_more_than_32_bits(number):
    for sent in (
        b'\x02\xa4\x01\x6a' + number,
        b'\x02\0' + number + b'\x6a\0\x2d',
        b'\x02\xa4\x01' + number,
        START + b'\x6d\xc3' + number,
        START + b'\x6d\x83' + number,
        START + b'\x6d\x02' + number,
        START + b'\x44' + number,
    ):
        refused(sent + b'\x01' * 20)


def test_numbers_with_leading_zeros():
    assert read(tag(0x05, tag(0x14, tag(0x0F, b'\xc3\x80\x80\x80\x80\x01x')))).commands


@pytest.mark.parametrize('length', [1000, 2**31 - 1, 2**32 - 1])
def test_lengths_beyond_the_end(length):
    refused(b'\x02\xa4\x01\x6a' + integer(length) + b'table', 'said to follow')
    refused(START + b'\x6d\x4f\xc3' + integer(length) + b'data', 'said to follow')
    refused(START + b'\x6d\xed\xc3' + integer(length) + b'data', 'said to follow')
    refused(START + b'\x6d\x4f\x83' + integer(length), 'no string at')
    refused(b'\x02\0' + integer(length) + b'\x6a\0\x2d', 'no string at')


@pytest.mark.parametrize('many', [70, 100_000])
@pytest.mark.parametrize('token', [0x6A, 0x64, 0x7F, 0x4F])
def test_depth(token, many):
    refused(document(bytes((token,)) * many + b'\x01' * many), 'too deep')
    refused(document(bytes((token,)) * many), 'too deep')


def test_depth_that_is_needed():
    inside = tag(0x06)
    for _ in range(40):
        inside = tag(0x24, inside)
    assert len(list(read(inside).walk())) == 41


@pytest.mark.parametrize('token', [b'\x12', b'\x30', b'\x45\x01', b'\x84\x00\x01'])
def test_number_of_elements(token):
    refused(document(token * 100_000), 'too many|too complex|no string')


def test_number_of_elements_in_all(monkeypatch):
    monkeypatch.setattr(wbxml_reader, 'MAX_ELEMENTS', 100)
    refused(document(tag(0x05, tag(0x0B, string('1'))) * 50), 'too many')


def test_size(monkeypatch):
    monkeypatch.setattr(wbxml_reader, 'MAX_BYTES', 1000)
    refused(document(tag(0x0F, opaque(bytes(1000)))), 'too large')


@pytest.mark.parametrize('end', [b'', b'\0'])
def test_strings_that_are_repeated_too_often(end):
    table = b'x' * 500_000 + end
    start = b'\x02\xa4\x01\x6a' + integer(len(table)) + table
    many = 20_000
    refused(document(tag(0x0F, b'\x83\0' * many), start), 'too often')
    refused(document(tag(0x0B, b'\x83\0') * many, start), 'too often')
    refused(document((b'\x44\0' + b'\x01') * many, start), 'too often')
    # every one from another offset
    references = b''.join(tag(0x0B, b'\x83' + integer(offset)) for offset in range(many))
    refused(document(references, start), 'too often')


def test_strings_without_end():
    refused(START + b'\x6d' + b'\x03' + b'x' * 100_000, 'without end')
    refused(START + b'\x6d' + b'\x40' + b'x' * 100_000, 'without end')
    wide = b'\x02\xa4\x01\x87\x76\x00'
    refused(wide + b'\x6d\x03' + b'x\0\0y' * 50_000, 'without end')


def test_what_belongs_to_no_element():
    refused(START + b'\x01\x01\x01', 'END too many')
    refused(START + b'\x03x\0' * 1000, 'too early')
    refused(START + b'\0\x01' * 1000, 'too early')
    refused(START + b'\x43', 'too early')


@pytest.mark.parametrize('root', [b'\x2c', b'\x05', b'\0\x01\x05', b'\x4a\x01'])
def test_other_roots(root):
    refused(START + root, 'no SyncML message')


@pytest.mark.parametrize('version', [0, 4, 0x3C, 0xFF])
def test_other_versions_of_wbxml(version):
    refused(bytes((version,)) + START[1:] + b'\x2d')


def test_documents_in_documents():
    inner = b'\x02\xa4\x03\x6a\0' + tag(0x0A, tag(0x0F, opaque(b'\x02\xa4\x03\x6a\0' + tag(0x0A))))
    message = read(tag(0x1F, tag(0x14, tag(0x0F, opaque(inner)))) * 100)
    assert len(message.commands) == 100
    bomb = b'\x02\xa4\x03\x6a\0' + b'\x4a' * 100_000
    (put,) = read(tag(0x1F, tag(0x14, tag(0x0F, opaque(bomb))))).commands
    assert put.items[0].data == bomb


def test_data_in_data_is_escaped_once():
    deep = 50
    inside = opaque(b'<' * 100)
    for _ in range(deep):
        inside = tag(0x0F, inside)
    (add,) = read(tag(0x05, tag(0x14, inside))).commands
    text = '<Data>' * (deep - 1) + '&lt;' * 100 + '</Data>' * (deep - 1)
    assert add.items[0].data == text.encode()
