"""Helpers for the tests of WBXML: messages put together byte by byte."""

from __future__ import annotations

from pysyncml.codec import decode, encode
from pysyncml.codec.wbxml import integer
from pysyncml.protocol.messages import (
    Item,
    Message,
)
from tests.codec.support import message

TYPE = 'application/vnd.syncml+wbxml'
END = b'\x01'
START = b'\x02\xa4\x01\x6a\x00'  # a document of SyncML 1.2 in UTF-8, without string table


def written(*commands, version='1.2') -> bytes:
    return encode(message(*commands, version=version), 'wbxml')[1]


def again(*commands, version='1.2'):
    return decode(TYPE, written(*commands, version=version)).commands


def string(text: str, charset: str = 'utf-8') -> bytes:
    wide = b'\0\0' if charset.startswith('utf-16') else b'\0'
    return b'\x03' + text.encode(charset) + wide


def opaque(content: bytes) -> bytes:
    return b'\xc3' + integer(len(content)) + content


def tag(token: int, *content: bytes) -> bytes:
    return bytes((token | 0x40,)) + b''.join(content) + END


def document(body: bytes, start: bytes = START, source: bytes = string('c')) -> bytes:
    header = tag(0x2C, tag(0x27, tag(0x17, source)))
    return start + tag(0x2D, header, tag(0x2B, body))


def read(body: bytes, start: bytes = START) -> Message:
    return decode(TYPE, document(body, start))


def add(*inside: bytes, start: bytes = START) -> Item:
    return read(tag(0x05, tag(0x14, *inside)), start).commands[0].items[0]


def data(*pieces: bytes, start: bytes = START) -> bytes:
    return add(tag(0x0F, *pieces), start=start).data
