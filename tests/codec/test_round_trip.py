"""Whatever a message says, it says the same after a journey; and rubbish never does harm."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pysyncml.codec import cost, decode, encode, get, names
from pysyncml.errors import CodecError
from pysyncml.protocol.messages import Message
from tests.codec import strategies
from tests.codec.support import TYPE

pytestmark = pytest.mark.parametrize('encoding', ['xml', 'wbxml'])
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def test_these_are_all(encoding):
    assert encoding in names()
    assert len(names()) == 2


@settings(max_examples=80, deadline=None, suppress_health_check=SLOW)
@given(message=strategies.messages())
def test_a_message_comes_back(encoding, message):
    content_type, data = encode(message, encoding)
    found = decode(content_type, data)
    assert found == strategies.expected(message, message.header.version, encoding)
    assert decode(*encode(found, encoding)) == found


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(message=strategies.messages())
def test_a_message_changes_its_encoding(encoding, message):
    other = 'xml' if encoding == 'wbxml' else 'wbxml'
    found = decode(*encode(message, encoding))
    through = decode(*encode(found, other))
    assert decode(*encode(through, other)) == through


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(message=strategies.messages())
def test_sizes_add_up(encoding, message):
    version = message.header.version
    bare = Message(header=message.header, final=True)
    base = len(encode(bare, encoding)[1])
    costs = sum(cost(each, encoding, version=version) for each in message.commands)
    whole = Message(header=message.header, commands=message.commands, final=True)
    assert len(encode(whole, encoding)[1]) == base + costs
    unfinished = Message(header=message.header, commands=message.commands)
    final = len('<Final/>') if encoding == 'xml' else 1
    size = len(encode(unfinished, encoding)[1])
    if message.commands:
        slack = 0 if encoding == 'xml' else 2
        assert base + costs - final - slack <= size <= base + costs - final


@settings(max_examples=80, deadline=None, suppress_health_check=SLOW)
@given(message=strategies.messages(), draws=st.data())
def test_damaged_messages_raise_one_error(encoding, message, draws):
    data = bytearray(encode(message, encoding)[1])
    for _ in range(draws.draw(st.integers(1, 4))):
        place = draws.draw(st.integers(0, len(data) - 1))
        data[place : place + draws.draw(st.integers(0, 5))] = draws.draw(st.binary(max_size=4))
    try:
        again = decode(get(encoding).content_type, bytes(data))
    except CodecError as error:
        assert '\n' not in str(error)
    else:
        assert isinstance(again, Message)


@settings(max_examples=120, deadline=None)
@given(data=st.binary(max_size=60))
def test_rubbish_raises_one_error(encoding, data):
    kind = TYPE if encoding == 'xml' else 'application/vnd.syncml+wbxml'
    start = b'' if encoding == 'xml' else b'\x02\xa4\x01\x6a\x00'
    for sent in (data, start + data):
        with pytest.raises(CodecError):
            decode(kind, sent)
