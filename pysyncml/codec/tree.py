"""Messages as trees of elements, and back: driven by the grammar.

Reading is lenient, since what peers send often departs from the letter of the specification:
elements may stand in any order, unknown ones are passed over, missing ones get a default, and
what a command says of its items holds for every item that does not say otherwise. Writing is
strict: elements stand in the order of the grammar, and nothing is written that is newer than
the version of the message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, fields, replace
from functools import cache, partial
from operator import attrgetter
from typing import Any, NamedTuple

from pysyncml.codec import ctcap, embedded, values
from pysyncml.codec.grammar import INSIDE, META_PARTS, MODELS, VERSIONS, Kind, Model, Part
from pysyncml.codec.node import Node
from pysyncml.codec.shapes import SHAPES, Shape, Values
from pysyncml.codec.vocabulary import Page
from pysyncml.constants import TYPE_SYNCML_DEVICE_INFO
from pysyncml.errors import CodecError, LocalProtocolError
from pysyncml.immutable import immutable
from pysyncml.protocol.devinf import DevInf
from pysyncml.protocol.messages import Anchor, Command, Item, Message, Meta


@immutable()
class Dialect:
    """What a tree is written for: a protocol version, and an encoding.

    ``encoding`` is ``xml`` or ``wbxml``; ``binary`` says whether it carries any bytes as they
    are.
    """

    version: str = VERSIONS[-1]
    encoding: str = 'xml'
    binary: bool = False


# --- reading ------------------------------------------------------------------------------------


def to_message(root: Node) -> Message:
    """Return the message that the element ``SyncML`` stands for.

    Raises:
        CodecError: the element is no ``SyncML``, or has no usable header.
    """
    if root.name != 'SyncML':
        raise CodecError(f'the document is no SyncML message: it begins with <{root.name[:60]}>')
    header = body = None
    for child in root.children:
        if child.name == 'SyncHdr':
            header = header or child
        elif child.name == 'SyncBody':
            body = body or child
    if header is None:
        raise CodecError('the message has no SyncHdr')
    content: Values = _read('SyncBody', body) if body else {}
    return Message(header=_read('SyncHdr', header), **content)


@immutable()
class _Reading:
    """What reading needs to know about an element, worked out once from its model."""

    parts: dict[str, tuple[str, bool, Callable[[Node], Any] | None]]  # None: text
    make: Callable[..., Any]
    plain: bool  # make takes keywords
    many: tuple[str, ...]
    needed: tuple[str, ...]
    has_meta: bool
    has_items: bool


@cache
def _reading(name: str) -> _Reading:
    model = MODELS[name]
    parts: dict[str, tuple[str, bool, Callable[[Node], Any] | None]] = {}
    for part in model.parts:
        for element in part.choices or (part.name,):
            parts[element] = (part.field, part.many, _reader(part, element))
    has_items = 'Item' in parts and name not in ('Field', 'Record')
    if has_items:  # some peers say in an Alert what belongs into its items
        parts.setdefault('Meta', ('meta', False, _read_meta))
    shape = SHAPES.get(name)
    own: tuple[Field[Any], ...] = () if model.cls is dict or shape else fields(model.cls)
    return _Reading(
        parts=parts,
        make=shape.make if shape else model.cls,
        plain=shape is None,
        many=tuple(part.field for part in model.parts if part.many),
        needed=tuple(f.name for f in own if f.default is MISSING and f.default_factory is MISSING),
        has_meta='Meta' in parts,
        has_items=has_items,
    )


def _reader(part: Part, element: str) -> Callable[[Node], Any] | None:
    if part.kind in (Kind.MODEL, Kind.COMMAND):
        return _read_meta if element == 'Meta' else partial(_read, element)
    return _READERS[part.kind]


def _read(name: str, node: Node) -> Any:
    """Return the object that *node* stands for, by the content model called *name*."""
    reading = _reading(name)
    parts = reading.parts
    found: Values = {}
    strays = []
    for child in node.children:
        part = parts.get(child.name)
        if part is None:
            if reading.has_meta and child.name in META_PARTS:
                strays.append(child)
            continue
        field, many, read = part
        value = read(child) if read else values.text(child)
        if value is None:
            continue
        if many:
            found.setdefault(field, []).append(value)
        elif field not in found:
            found[field] = value
    if strays:  # some peers forget the Meta around them
        found['meta'] = _inherit(found.get('meta'), _read_meta(Node('Meta', children=strays)))
    if reading.has_items:
        _settle_items(name, found)
    for field in reading.many:
        if field in found:
            found[field] = tuple(found[field])
    if not reading.plain:
        return reading.make(found)
    for field in reading.needed:
        found.setdefault(field, '')
    return reading.make(**found)


def _read_meta(node: Node) -> Meta | None:
    """Read a Meta, looking through the MetInf some peers put around its children."""
    if any(child.name == 'MetInf' for child in node.children):
        flat = [c.children if c.name == 'MetInf' else [c] for c in node.children]
        node = Node('Meta', children=[child for several in flat for child in several])
    meta: Meta = _read('Meta', node)
    return None if meta == _NOTHING else meta


_NOTHING = Meta()


def _inherit(own: Meta | None, above: Meta | None) -> Meta | None:
    """Return what an item's Meta says, and what its command's says where the item's is silent."""
    if own is None or above is None:
        return own or above
    said = {name: getattr(own, name) for name in _META_FIELDS}
    return replace(above, **{n: v for n, v in said.items() if v != getattr(_NOTHING, n)})


_META_FIELDS = tuple(f.name for f in fields(Meta))


def _settle_items(name: str, found: Values) -> None:
    """Make the items of a command, now that all is known that they inherit from it."""
    above: Meta | None = found.get('meta')
    found['items'] = [_make_item(i, above, name) for i in found.get('items', ())]
    if not any(part.name == 'Meta' for part in MODELS[name].parts):
        found.pop('meta', None)
    elif above is not None:
        found['meta'] = _settled(above, bool(above.format and above.format.lower() == 'b64'))


def _make_item(found: Values, above: Meta | None, command: str = '') -> Item:
    meta = _inherit(found.get('meta'), above)
    node: Node | None = found.get('data')
    decoded = False
    if node is not None:
        found['data'] = _structure(node)
        if found['data'] is None:
            raw = values.raw(node)
            if meta is not None and meta.format and meta.format.lower() == 'b64':
                data = values.unbase64(raw)
                decoded = data is not None
                raw = raw if data is None else data
            found['data'] = _embedded(raw, meta, command) or raw
    found['meta'] = _settled(meta, decoded)
    return Item(**found)


def _settled(meta: Meta | None, decoded: bool) -> Meta | None:
    """Return *meta* without a format that says nothing: plain text, or the base64 taken off."""
    if meta is None or meta.format is None:
        return meta
    if decoded or meta.format.lower() == 'chr':
        meta = replace(meta, format=None)
    return None if meta == _NOTHING else meta


def _structure(node: Node) -> Anchor | DevInf | None:
    """Return the Anchor or the device information that a Data element has as its child."""
    for child in node.children:
        if child.name == 'MetInf':
            return _structure(child)
        if child.name in ('Anchor', 'DevInf'):
            structure: Anchor | DevInf = _read(child.name, child)
            return structure
    return None


def _embedded(raw: bytes, meta: Meta | None, command: str) -> Anchor | DevInf | None:
    """Read device information, or the Anchor in a Status, that was sent as a document."""
    page = _PAGES.get(command)
    if meta and meta.type:
        page = Page.DEVINF if meta.type.lower().startswith(TYPE_SYNCML_DEVICE_INFO) else None
    root = None if page is None else embedded.read(raw, page)
    return _structure(Node('Data', children=[root])) if root else None


#: What the documents in items without a type are about.
_PAGES = {'Put': Page.DEVINF, 'Results': Page.DEVINF, 'Status': Page.METINF}


def _read_wrapped(node: Node) -> Item | None:
    """Read the one Item in a Field or a Record of a Filter."""
    for child in node.children:
        if child.name == 'Item':
            return _make_item(_read('Item', child), None)
    return None


_READERS: dict[Kind, Callable[[Node], Any] | None] = {
    Kind.TEXT: None,
    Kind.NUMBER: values.number,
    Kind.CODE: lambda node: values.number(node) or 0,
    Kind.FLAG: lambda node: True,
    Kind.NONCE: values.nonce,
    Kind.CREDENTIALS: values.credentials,
    Kind.PROTOCOL: lambda node: values.text(node).rpartition('/')[2],
    Kind.URI: values.uri,
    Kind.DATA: lambda node: node,
    Kind.WRAPPED: _read_wrapped,
    Kind.CTCAP: ctcap.read,
    Kind.FLAT_CTCAP: ctcap.read,
}


# --- writing ------------------------------------------------------------------------------------


def from_message(message: Message, dialect: Dialect) -> Node:
    """Return the element ``SyncML`` that stands for *message*.

    Raises:
        LocalProtocolError: the message says what its version has no words for.
    """
    return Node(
        'SyncML',
        children=[
            _write('SyncHdr', message.header, dialect),
            _write('SyncBody', message, dialect),
        ],
    )


def from_command(command: Command, dialect: Dialect) -> Node:
    """Return the element that stands for one *command*; see :func:`from_message`."""
    model = MODELS.get(command.name)
    if model is None:
        raise LocalProtocolError(f'SyncML has no command {command.name or type(command).__name__}')
    since = INSIDE[model.page][model.name].since
    if since > dialect.version:
        raise LocalProtocolError(f'SyncML {dialect.version} has no command {command.name}')
    return _write(command.name, command, dialect)


class _PartWriting(NamedTuple):
    """What writing needs to know about a part of an element; ``write`` is ``None`` for text."""

    name: str
    field: str
    many: bool
    write: Callable[[str, Any, Dialect], Node | None] | None


@immutable()
class _Writing:
    """What writing needs to know about an element in one version of the protocol."""

    parts: tuple[_PartWriting, ...]
    take: Callable[[Any], tuple[Any, ...]]
    too_new: tuple[Part, ...]  # that cannot just be left out


@cache
def _writing(name: str, version: str) -> _Writing:
    model = MODELS[name]
    fitting = []
    too_new = []
    for part in model.parts:
        since = part.since or (INSIDE[model.page][part.name].since if part.name else '')
        if since <= version <= part.until:
            fitting.append(_PartWriting(part.name, part.field, part.many, _WRITERS[part.kind]))
        elif part.vital:
            too_new.append(part)
    take = _taker(model, SHAPES.get(name), tuple(part.field for part in fitting))
    return _Writing(tuple(fitting), take, tuple(too_new))


def _taker(
    model: Model, shape: Shape | None, names: tuple[str, ...]
) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that takes the values called *names* out of an object, as a tuple."""
    if shape and shape.take:
        take = shape.take
        return lambda thing: tuple(map(take(thing).get, names))
    if model.cls is dict:
        return lambda thing: tuple(map(thing.get, names))
    if len(names) == 1:
        return lambda thing: (getattr(thing, names[0]),)
    getter: Callable[[Any], tuple[Any, ...]] = attrgetter(*names)
    return getter


def _write(name: str, thing: Any, dialect: Dialect, instead: Values | None = None) -> Node:
    """Return the element called *name* that stands for *thing*.

    *instead* are values that are written in the place of those it has.
    """
    writing = _writing(name, dialect.version)
    for part in writing.too_new:
        if getattr(thing, part.field):
            raise LocalProtocolError(f'SyncML {dialect.version} has no {part.name} in {name}')
    node = Node(name)
    append = node.children.append
    taken = writing.take(thing)
    if instead is not None:
        parts = zip(writing.parts, taken, strict=True)
        taken = tuple([instead.get(part.field, value) for part, value in parts])
    for (element, _, many, write), value in zip(writing.parts, taken, strict=True):
        if value is None or value is False:
            continue
        if write is None:
            for each in value if many else (value,):
                append(Node(element, each))
        elif element == 'Item':
            above = getattr(thing, 'meta', None)
            node.children += [_write_item(item, above, dialect) for item in value]
        else:
            for each in value if many else (value,):
                if (child := write(element, each, dialect)) is not None:
                    append(child)
    return node


def _write_item(item: Item, above: Meta | None, dialect: Dialect) -> Node:
    """Write *item*, whose command says *above*.

    What the command says already is not said again. Data that the encoding cannot carry goes
    out as base64.
    """
    meta, data = item.meta, item.data
    said = (meta.format if meta else None) or 'chr'
    if not isinstance(data, bytes):
        content: Any = data
    elif dialect.binary:
        content = data
    elif (content := values.safe_text(data)) is None:
        content, said = values.base64_text(data), 'b64'
    if said != ((above.format if above else None) or 'chr') or (meta and meta.format):
        meta = replace(meta or _NOTHING, format=said)
    if meta == above:
        meta = None
    return _write('Item', item, dialect, {'meta': meta, 'data': content})


def _write_data(name: str, value: Any, dialect: Dialect) -> Node:
    if isinstance(value, Anchor | DevInf):
        kind = type(value).__name__
        version = getattr(value, 'version', '')
        version = version if version in VERSIONS else dialect.version
        return Node(name, children=[_write(kind, value, replace(dialect, version=version))])
    return Node(name, value)


def _write_model(name: str, value: Any, dialect: Dialect) -> Node | None:
    if name == 'Meta':
        if value == _NOTHING:
            return None
        kind = value.type
        if kind and kind.partition('+')[0] == TYPE_SYNCML_DEVICE_INFO:
            # Device information is always written as the message around it is.
            value = replace(value, type=f'{TYPE_SYNCML_DEVICE_INFO}+{dialect.encoding}')
    return _write(name, value, dialect)


def _write_wrapped(name: str, value: Item, dialect: Dialect) -> Node:
    return Node(name, children=[_write_item(value, None, dialect)])


_WRITERS: dict[Kind, Callable[[str, Any, Dialect], Node | None] | None] = {
    Kind.TEXT: None,
    Kind.NUMBER: lambda name, value, dialect: Node(name, str(int(value))),
    Kind.CODE: lambda name, value, dialect: Node(name, str(int(value))),
    Kind.FLAG: lambda name, value, dialect: Node(name),
    Kind.NONCE: lambda name, value, dialect: Node(name, values.base64_text(value)),
    Kind.CREDENTIALS: None,
    Kind.PROTOCOL: lambda name, value, dialect: Node(name, f'SyncML/{value}'),
    Kind.URI: lambda name, value, dialect: Node(name, children=[Node('LocURI', value)]),
    Kind.DATA: _write_data,
    Kind.WRAPPED: _write_wrapped,
    Kind.MODEL: _write_model,
    Kind.COMMAND: lambda name, value, dialect: from_command(value, dialect),
    Kind.CTCAP: _write_model,
    Kind.FLAT_CTCAP: lambda name, value, dialect: ctcap.write_flat(value),
}
