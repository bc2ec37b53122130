"""Trees of elements, sound or not, as bytes: XML and WBXML that nobody has checked.

The codecs of the program write sound messages only. These two write whatever tree they are given:
unknown elements, elements where they do not belong, any text.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from pysyncml.codec.grammar import INSIDE, Page
from pysyncml.codec.node import Node
from pysyncml.codec.vocabulary import NAMESPACES, PUBLIC_IDS, namespace
from pysyncml.codec.wbxml import integer

TYPES = {'xml': 'application/vnd.syncml+xml', 'wbxml': 'application/vnd.syncml+wbxml'}


def el(name: str, *inside: Node | str | bytes | int | None) -> Node:
    """Return the element *name* with a text, or with elements inside; ``None`` is left out."""
    parts = [part for part in inside if part is not None]
    if len(parts) == 1 and not isinstance(parts[0], Node):
        text = parts[0] if isinstance(parts[0], bytes) else str(parts[0])
        return Node(name, text)
    return Node(name, None, [part for part in parts if isinstance(part, Node)])


def uri(name: str, text: str, called: str | None = None) -> Node:
    """Return a Source or a Target."""
    return el(name, el('LocURI', text), None if called is None else el('LocName', called))


def walk(node: Node):
    """Yield (parent, element) for all elements below *node*."""
    for child in node.children:
        yield node, child
        yield from walk(child)


def copy(node: Node) -> Node:
    """Return the same tree again."""
    return Node(node.name, node.text, [copy(child) for child in node.children])


def find(node: Node, name: str) -> Node | None:
    """Return the first element called *name* below *node*."""
    return next((child for _, child in walk(node) if child.name == name), None)


def text_of(node: Node) -> bytes:
    """Return the text of an element as bytes; lone surrogates are the bytes they stand for."""
    if isinstance(node.text, bytes):
        return node.text
    return (node.text or '').encode('utf-8', 'surrogatepass')


# --- XML ------------------------------------------------------------------------------------------


def to_xml(root: Node, version: str = '1.2') -> bytes:
    """Return *root* as XML, with whatever bytes its texts have."""
    out = [b'<?xml version="1.0" encoding="UTF-8"?>']
    _xml(root, Page.SYNCML, out, f' xmlns="{namespace(Page.SYNCML, version)}"')
    return b''.join(out)


def _xml(node: Node, page: Page, out: list[bytes], space: str = '') -> None:
    known = INSIDE[page].get(node.name)
    inner = known.page if known else page
    if inner is not page and inner in NAMESPACES:
        space = f' xmlns="{NAMESPACES[inner]}"'
    name = node.name.encode('utf-8', 'replace')
    out.append(b'<%b%b>' % (name, space.encode()))
    if node.children:
        for child in node.children:
            _xml(child, inner, out)
    elif node.text:
        text = text_of(node)
        if b'<' in text or b'&' in text or b'>' in text:
            text = escape(text.decode('utf-8', 'surrogateescape')).encode(
                'utf-8', 'surrogateescape'
            )
        out.append(text)
    out.append(b'</%b>' % name)


# --- WBXML ----------------------------------------------------------------------------------------


def to_wbxml(root: Node, version: str = '1.2') -> bytes:
    """Return *root* as WBXML; elements without a token are literals in the string table."""
    return _document(root, Page.SYNCML, version)


def _document(root: Node, page: Page, version: str) -> bytes:
    writer = _Binary(page, version)
    writer.element(root, page)
    head = b'\2' + integer(PUBLIC_IDS[page, version if version in ('1.0', '1.1') else '1.2'])
    return b''.join([head, b'\x6a', integer(len(writer.table)), bytes(writer.table), *writer.out])


class _Binary:
    def __init__(self, page: Page, version: str) -> None:
        self.page = page
        self.version = version
        self.out: list[bytes] = []
        self.table = bytearray()

    def element(self, node: Node, within: Page) -> None:
        element = INSIDE[within].get(node.name)
        full = 0x40 if node.children or node.text else 0
        if element is None:
            name = node.name.encode('utf-8', 'replace') + b'\0'
            offset = self.table.find(name)
            if offset < 0:
                offset = len(self.table)
                self.table += name
            self.out.append(bytes((0x04 | full,)) + integer(offset))
            inner = within
        else:
            inner = element.page
            if inner is not self.page:
                self.out.append(bytes((0, inner.code_page)))
                self.page = inner
            self.out.append(bytes((element.token | full,)))
        if node.children and node.children[0].name == 'DevInf' and within is Page.SYNCML:
            self.opaque(_document(node.children[0], Page.DEVINF, self.version))
        elif node.children:
            for child in node.children:
                self.element(child, inner)
        elif node.text:
            text = text_of(node)
            if isinstance(node.text, bytes) or b'\0' in text:
                self.opaque(text)
            else:
                self.out.append(b'\3' + text + b'\0')
        if full:
            self.out.append(b'\1')

    def opaque(self, content: bytes) -> None:
        self.out.append(b'\xc3' + integer(len(content)) + content)


WRITERS = {'xml': to_xml, 'wbxml': to_wbxml}
