"""Whatever a message says, it says the same after a journey; and rubbish never does harm."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pysyncml.codec import cost, decode, encode
from pysyncml.codec.values import safe_text
from pysyncml.errors import CodecError
from pysyncml.protocol.messages import (
    Add,
    Anchor,
    Atomic,
    Chal,
    Cred,
    Delete,
    Header,
    Item,
    Location,
    Map,
    MapItem,
    Mem,
    Message,
    Meta,
    Replace,
    Sequence,
    Status,
    Sync,
)
from tests.codec.support import TYPE

# Values lose the blanks around them; control characters (CR apart) cannot be written.
text = st.text(
    st.characters(exclude_categories=('Cs', 'Cc'), exclude_characters='\ufffe\uffff')
    | st.sampled_from('<>&"\'\r]'),
    max_size=12,
).map(str.strip)
number = st.integers(0, 10**18 - 1)
maybe = st.none() | text
anchors = st.builds(Anchor, next=text, last=maybe)
metas = st.builds(
    Meta,
    field_level=st.booleans(),
    format=st.none() | st.sampled_from(['xml', 'bin', 'int']),
    type=st.sampled_from(['text/plain', 'text/x-vcard']),
    mark=maybe,
    size=st.none() | number,
    anchor=st.none() | anchors,
    version=maybe,
    next_nonce=st.none() | st.binary(max_size=9),
    max_msg_size=st.none() | number,
    max_obj_size=st.none() | number,
    emi=st.lists(text, max_size=2).map(tuple),
    mem=st.none() | st.builds(Mem, free_mem=number, free_id=number, shared=st.booleans()),
)
locations = st.builds(Location, uri=text, name=maybe)
items = st.builds(
    Item,
    target=st.none() | locations,
    source=st.none() | locations,
    source_parent=maybe,
    target_parent=maybe,
    meta=st.none() | metas,
    data=st.none() | st.binary(max_size=40) | text.map(str.encode) | anchors,
    more_data=st.booleans(),
)


def sendable(item: Item) -> Item:
    """What XML cannot carry as it is has the format b64 on its way, and no other."""
    if item.meta and isinstance(item.data, bytes) and safe_text(item.data) is None:
        return replace(item, meta=replace(item.meta, format=None))
    return item


several = st.lists(items.map(sendable), max_size=3).map(tuple)
creds = st.none() | st.builds(Cred, data=text, type=maybe, format=maybe)
ids = st.integers(1, 999).map(str)
changes = st.one_of(
    st.builds(kind, cmd_id=ids, no_resp=st.booleans(), cred=creds, items=several)
    for kind in (Add, Replace, Delete)
)
nested = st.recursive(
    changes,
    lambda inner: st.builds(
        lambda kind, commands: kind(cmd_id='1', commands=commands),
        st.sampled_from([Atomic, Sequence]),
        st.lists(inner, max_size=3).map(tuple),
    ),
    max_leaves=6,
)
commands = (
    nested
    | st.builds(
        Sync,
        cmd_id=ids,
        target=locations,
        source=locations,
        meta=st.none() | metas,
        number_of_changes=st.none() | number,
        commands=st.lists(nested, max_size=3).map(tuple),
    )
    | st.builds(
        Status,
        cmd_id=ids,
        msg_ref=ids,
        cmd_ref=ids,
        cmd=text,
        target_refs=st.lists(text, max_size=2).map(tuple),
        source_refs=st.lists(text, max_size=2).map(tuple),
        chal=st.none() | st.builds(Chal, type=text, format=maybe, next_nonce=st.binary(max_size=9)),
        code=st.integers(0, 599),
        items=several,
    )
    | st.builds(
        Map,
        target=locations,
        source=locations,
        items=st.lists(st.builds(MapItem, text, text), max_size=3).map(tuple),
    )
)
messages = st.builds(
    Message,
    header=st.builds(
        Header,
        session_id=text,
        msg_id=text,
        target=locations,
        source=locations,
        resp_uri=maybe,
        no_resp=st.booleans(),
        cred=creds,
        meta=st.none() | metas,
    ),
    commands=st.lists(commands, max_size=3).map(tuple),
    final=st.booleans(),
)


@settings(max_examples=120, deadline=None)
@given(messages)
def test_a_message_comes_back(message):
    content_type, data = encode(message)
    assert decode(content_type, data) == message


@settings(max_examples=60, deadline=None)
@given(messages, commands)
def test_cost_is_exact(message, command):
    longer = Message(header=message.header, commands=(*message.commands, command), final=True)
    shorter = Message(header=message.header, commands=message.commands, final=True)
    added = len(encode(longer)[1]) - len(encode(shorter)[1])
    empty = len('<SyncBody></SyncBody>') - len('<SyncBody/>')
    assert cost(command) == added - (empty if not longer.commands else 0)


@settings(max_examples=120, deadline=None)
@given(messages, st.data())
def test_damaged_messages_raise_one_error(message, draws):
    data = bytearray(encode(message)[1])
    for _ in range(draws.draw(st.integers(1, 4))):
        place = draws.draw(st.integers(0, len(data) - 1))
        data[place : place + draws.draw(st.integers(0, 5))] = draws.draw(st.binary(max_size=4))
    try:
        again = decode(TYPE, bytes(data))
    except CodecError as error:
        assert '\n' not in str(error)
    else:
        assert isinstance(again, Message)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_rubbish_raises_one_error(data):
    try:
        decode(TYPE, data)
    except CodecError:
        return
    raise AssertionError('rubbish is no message')
