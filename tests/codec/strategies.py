"""Messages for property tests: every command, every field, every version."""

from __future__ import annotations

from dataclasses import fields, replace

from hypothesis import strategies as st

from pysyncml.codec.values import safe_text
from pysyncml.protocol.devinf import (
    Capability,
    ContentTypeInfo,
    DataStoreInfo,
    DeviceInfo,
    DevInf,
    FilterCapability,
    Property,
)
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Anchor,
    Atomic,
    Chal,
    Command,
    Copy,
    Cred,
    Delete,
    Exec,
    Filter,
    Get,
    Header,
    Item,
    Location,
    Map,
    MapItem,
    Mem,
    Message,
    Meta,
    Move,
    Put,
    Replace,
    Results,
    Search,
    Sequence,
    Status,
    Sync,
)

VERSIONS = ('1.0', '1.1', '1.2')

# Values lose the blanks around them; control characters (CR apart) cannot be written.
text = st.text(
    st.characters(exclude_categories=('Cs', 'Cc'), exclude_characters='\ufffe\uffff')
    | st.sampled_from('<>&"\'\r]'),
    max_size=12,
).map(str.strip)
some_text = text.filter(bool)
number = st.integers(0, 10**18 - 1)
maybe = st.none() | text
maybe_number = st.none() | number


def several(strategy, most=2):
    return st.lists(strategy, max_size=most).map(tuple)


anchors = st.builds(Anchor, next=text, last=maybe)
metas = st.builds(
    Meta,
    field_level=st.booleans(),
    format=st.none() | st.sampled_from(['xml', 'bin', 'int']),
    type=st.sampled_from(['text/plain', 'text/x-vcard']),
    mark=maybe,
    size=maybe_number,
    anchor=st.none() | anchors,
    version=maybe,
    next_nonce=st.none() | st.binary(max_size=9),
    max_msg_size=maybe_number,
    max_obj_size=maybe_number,
    emi=several(text),
    mem=st.none() | st.builds(Mem, free_mem=number, free_id=number, shared=st.booleans()),
)
maybe_meta = st.none() | metas
places = st.builds(Location, uri=text, name=maybe)

# --- device information -------------------------------------------------------------------------

parameters = st.builds(
    Property, name=text, data_type=maybe, values=several(text), display_name=maybe
)
properties = st.builds(
    Property,
    name=text,
    data_type=maybe,
    max_occur=maybe_number,
    max_size=st.none() | st.integers(1, 10**9),
    no_truncate=st.booleans(),
    values=several(text),
    display_name=maybe,
    params=several(parameters),
)
stores = st.builds(
    DataStoreInfo,
    uri=text,
    display_name=maybe,
    max_guid_size=maybe_number,
    content_types=st.sampled_from(
        [
            (ContentTypeInfo('text/plain', ['1.0', '1.1'], preferred=True),),
            (
                ContentTypeInfo('text/vcard', '3.0', preferred=True),
                ContentTypeInfo('text/x-vcard', '2.1', transmit=False),
            ),
        ]
    ),
    capabilities=several(
        st.builds(
            Capability,
            ctype=text,
            version=text,
            field_level=st.booleans(),
            properties=several(properties),
        )
    ),
    shared_mem=st.booleans(),
    max_mem=maybe_number,
    max_id=maybe_number,
    hierarchical_sync=st.booleans(),
    sync_types=st.lists(number, min_size=1, max_size=8).map(tuple),
    filter_types=several(st.tuples(text, text)),
    filters=several(
        st.builds(
            FilterCapability,
            ctype=text,
            version=text,
            keywords=several(text),
            properties=several(text),
        )
    ),
)


def device_information(names, flags, stores, extensions) -> DevInf:
    words = ('devID', 'devType', 'manufacturerName', 'modelName', 'oem')
    words += ('hardwareVersion', 'firmwareVersion', 'softwareVersion')
    device = DeviceInfo(
        **dict(zip(words, names, strict=True)),
        **dict(zip(('utc', 'largeObjects', 'numberOfChanges'), flags, strict=True)),
        hierarchicalSync=any(store.hierarchical_sync for store in stores),
    )
    return DevInf(device=device, stores=stores, extensions=extensions)


devices = st.builds(
    device_information,
    st.tuples(*[some_text] * 8),
    st.tuples(*[st.booleans()] * 3),
    several(stores),
    several(st.tuples(text, several(text))),
)

# --- commands -----------------------------------------------------------------------------------

contents = st.none() | st.binary(max_size=40) | text.map(str.encode) | anchors
plain_items = st.builds(Item, meta=maybe_meta, data=contents)
filters = st.builds(
    Filter,
    meta=maybe_meta,
    field=st.none() | plain_items,
    record=st.none() | plain_items,
    filter_type=maybe,
)
targets = places | st.builds(Location, uri=text, name=maybe, filter=filters)
items = st.builds(
    Item,
    target=st.none() | targets,
    source=st.none() | places,
    source_parent=maybe,
    target_parent=maybe,
    meta=maybe_meta,
    data=contents,
    more_data=st.booleans(),
)
some_items = several(items, 3)
device_items = st.builds(Item, source=st.none() | places, data=devices).map(lambda item: (item,))
creds = st.none() | st.builds(Cred, data=text, type=maybe, format=maybe)
ids = st.integers(1, 999).map(str)
flags = st.booleans()


def with_meta(command, meta):
    """Let *command* say *meta*, and its items the same and more."""
    if meta is None:
        return command
    told = tuple(replace(i, meta=replace(meta, size=7, version='v')) for i in command.items)
    return replace(command, meta=meta, items=told)


def changing(kind, **more):
    command = st.builds(kind, cmd_id=ids, no_resp=flags, cred=creds, items=some_items, **more)
    return st.builds(with_meta, command, maybe_meta)


changes = (
    changing(Add)
    | changing(Replace)
    | changing(Copy)
    | changing(Move)
    | changing(Delete, archive=flags, soft=flags)
)
alerts = st.builds(
    Alert,
    cmd_id=ids,
    no_resp=flags,
    cred=creds,
    code=st.integers(0, 999),
    correlator=maybe,
    items=some_items,
)
executing = st.builds(
    with_meta,
    st.builds(Exec, cmd_id=ids, no_resp=flags, cred=creds, correlator=maybe, items=some_items),
    maybe_meta,
)
maps = st.builds(
    Map,
    cmd_id=ids,
    target=targets,
    source=places,
    cred=creds,
    meta=maybe_meta,
    items=several(st.builds(MapItem, text, text)),
)
gets = changing(Get, lang=maybe)
inner = changes | alerts | executing | maps | gets
nested = st.recursive(
    inner,
    lambda inside: st.builds(
        lambda kind, meta, no_resp, commands: kind(
            cmd_id='1', meta=meta, no_resp=no_resp, commands=commands
        ),
        st.sampled_from([Atomic, Sequence]),
        maybe_meta,
        flags,
        several(inside),
    ),
    max_leaves=5,
)
changes_or_groups = nested.filter(lambda c: not isinstance(c, Alert | Exec | Map | Get))
syncs = st.builds(
    Sync,
    cmd_id=ids,
    no_resp=flags,
    cred=creds,
    target=st.none() | targets,
    source=st.none() | places,
    meta=maybe_meta,
    number_of_changes=maybe_number,
    commands=several(changes_or_groups, 3),
)
statuses = st.builds(
    Status,
    cmd_id=ids,
    msg_ref=ids,
    cmd_ref=ids,
    cmd=text,
    target_refs=several(text),
    source_refs=several(text),
    cred=creds,
    chal=st.none()
    | st.builds(Chal, type=text, format=maybe, next_nonce=st.none() | st.binary(max_size=9)),
    code=st.integers(0, 599),
    items=some_items,
)
results = st.builds(
    Results,
    cmd_id=ids,
    msg_ref=maybe,
    cmd_ref=ids,
    target_ref=maybe,
    source_ref=maybe,
    items=some_items | device_items,
)
puts = st.builds(
    Put, cmd_id=ids, no_resp=flags, lang=maybe, cred=creds, items=some_items | device_items
)
searches = st.builds(
    Search,
    cmd_id=ids,
    no_resp=flags,
    no_results=flags,
    cred=creds,
    target=st.none() | targets,
    sources=several(places),
    lang=maybe,
    meta=maybe_meta,
    data=text,
)
kinds = [changes, alerts, executing, maps, gets, nested, syncs, statuses, results, puts, searches]
commands = st.sampled_from(kinds).flatmap(lambda kind: kind)  # all of them equally often


def message(version, more, commands, final) -> Message:
    header = Header(version=version, dtd_version=version, **more)
    return Message(header=header, commands=commands, final=final)


def messages(versions=VERSIONS):
    more = st.fixed_dictionaries(
        {
            'session_id': text,
            'msg_id': text,
            'target': targets,
            'source': places,
            'resp_uri': maybe,
            'no_resp': flags,
            'cred': creds,
            'meta': maybe_meta,
        }
    )
    return st.builds(
        lambda *parts: fitting(message(*parts), parts[0]),
        st.sampled_from(versions),
        more,
        st.lists(commands, min_size=1, max_size=4).map(tuple),
        flags,
    )


# --- what a version, or an encoding, cannot say -------------------------------------------------

_NEWER = {
    (Meta, 'field_level'): '1.2',
    (Meta, 'max_obj_size'): '1.1',
    (Item, 'source_parent'): '1.2',
    (Item, 'target_parent'): '1.2',
    (Item, 'more_data'): '1.1',
    (Location, 'filter'): '1.2',
    (Sync, 'number_of_changes'): '1.1',
    (Alert, 'correlator'): '1.2',
    (Exec, 'correlator'): '1.2',
}
#: What cannot just be left out: a message with it is not written at all.
_VITAL = {(Item, 'more_data'), (Location, 'filter')}


def mapped(thing, change):
    """Return *thing* (a message, or what is in it) after *change* of everything inside it."""
    if isinstance(thing, tuple):
        return tuple(each for part in thing if (each := mapped(part, change)) is not None)
    if isinstance(thing, Message | Header | Command | Item | Meta | Location | Filter | MapItem):
        parts = {f.name: mapped(getattr(thing, f.name), change) for f in fields(thing)}
        return change(replace(thing, **parts))
    return thing


def without_newer(thing, version, only_vital=False):
    """Return *thing* without what is newer than *version*."""

    def older(each):
        if isinstance(each, Move) and version < '1.2':
            return None
        if isinstance(each, Item) and isinstance(each.data, DevInf) and version < '1.2':
            each = replace(each, data=None)  # test_devinf.py has these
        for (kind, name), since in _NEWER.items():
            vital = (kind, name) in _VITAL
            if isinstance(each, kind) and version < since and (vital or not only_vital):
                default = next(f.default for f in fields(kind) if f.name == name)
                each = replace(each, **{name: default})
        return each

    return mapped(thing, older)


def fitting(thing, version):
    """Return *thing* without what a message of *version* refuses to hold."""
    return without_newer(thing, version, only_vital=True)


def expected(thing, version, encoding):
    """Return what *thing* says when it has been written and read again."""

    def lossy(each):
        if encoding == 'wbxml' or not isinstance(each, Item) or each.meta is None:
            return each
        # What XML cannot carry as it is has the format b64 on its way, and no other.
        if isinstance(each.data, bytes) and safe_text(each.data) is None:
            return replace(each, meta=replace(each.meta, format=None))
        return each

    return mapped(without_newer(thing, version), lossy)
