"""Trees of elements as XML, and back.

Reading uses the parser of the standard library (expat) and takes nothing on trust: a document
may not declare anything (no entities, hence no bombs), nothing is fetched from anywhere, and
depth, number of elements and size have limits. Namespaces tell private elements from those of
SyncML, and are otherwise ignored, since many peers get them wrong.

Writing makes what the least able scanners understand: UTF-8, no indentation, the namespace on
every element that begins another vocabulary, no numeric references (but one: CR).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from pysyncml.codec.grammar import DATA_PARTS, INSIDE, Page
from pysyncml.codec.node import MAX_BYTES, MAX_DEPTH, MAX_ELEMENTS, Node
from pysyncml.codec.values import UNSAFE, SafeText
from pysyncml.codec.vocabulary import NAMESPACES, canonical, namespace
from pysyncml.errors import CodecError, LocalProtocolError

#: The content type of a message, and others that mean the same.
CONTENT_TYPE = 'application/vnd.syncml+xml'
CONTENT_TYPES = frozenset((CONTENT_TYPE, 'application/vnd.syncml', 'application/xml', 'text/xml'))

_PROLOG = '<?xml version="1.0" encoding="UTF-8"?>'
_BEGINNING = re.compile(rb'\s*<(\?xml|!DOCTYPE\s+SyncML|([\w.-]+:)?SyncML\b)', re.IGNORECASE)
_DECLARED = re.compile(rb'(?:\xef\xbb\xbf)?\s*<\?xml[^>]*\bencoding\s*=\s*["\']([^"\']*)')
_BOMS = (b'\xef\xbb\xbf', b'\xff\xfe', b'\xfe\xff')
_PIECE = 1 << 16  # bytes
_LONGEST_TAG = 1 << 18  # bytes; attributes included, of which SyncML has none
_MENDABLE = 4 << 20  # bytes of a message in which characters are mended
_NS = ' '  # between namespace and name: cannot stand in either


def sniff(data: bytes) -> bool:
    """Return whether *data* looks like a SyncML message in XML, whatever its type says."""
    if data.startswith(_BOMS[1:]):  # UTF-16
        return b'<' in data[2:8]
    return _BEGINNING.match(data.removeprefix(_BOMS[0])) is not None


# --- reading ------------------------------------------------------------------------------------


def read(data: bytes, charset: str | None = None) -> Node:
    """Return the root element of the XML document *data*.

    *charset* is what the transport says; it counts only if the document does not say itself.

    Raises:
        CodecError: this is no XML, or more than the limits allow.
    """
    if len(data) > MAX_BYTES:
        raise CodecError(f'the message is too large: {len(data):,} bytes')
    if not data.startswith(_BOMS):
        data = data.lstrip()
    if data.startswith(_BOMS) or _DECLARED.match(data):
        charset = None
    return _read(data, charset, frozenset(_REPAIRS.values()))


def _read(data: bytes, charset: str | None, repairs: frozenset[Callable[[bytes], bytes]]) -> Node:
    """Read *data*; if that fails for a reason that one of *repairs* helps against, repair it."""
    try:
        return _Reader(charset, mended=_mend not in repairs).read(data)
    except _RepairableError as error:
        if error.repair not in repairs or not _is_utf8(data, charset):
            raise
        return _read(error.repair(data), charset, repairs - {error.repair})


class _RepairableError(CodecError):
    """What some peers get wrong, and what can be done about it."""

    def __init__(self, message: str, repair: Callable[[bytes], bytes]) -> None:
        super().__init__(message)
        self.repair = repair


# Some peers (libsynthesis among them) put the bytes of an item into XML as they are: control
# characters, Latin-1. Such bytes are lent a private character while the document is parsed.
_LENT = 0x10FF00
_LENT_CHARACTERS = re.compile('[\U0010ff00-\U0010ffff]')
_LOANS = {byte: _LENT + byte for byte in range(32) if byte not in b'\t\n\r'} | {
    0xDC00 + byte: _LENT + byte
    for byte in range(0x80, 0x100)  # as surrogateescape has them
}
_RETURNS = {lent: own for own, lent in _LOANS.items()}


def _is_utf8(data: bytes, charset: str | None) -> bool:
    declared = _DECLARED.match(data)
    name = declared.group(1).decode('ascii', 'replace') if declared else charset or 'utf-8'
    return name.lower() in ('utf-8', 'utf8') and not data.startswith(_BOMS[1:])


def _mend(data: bytes) -> bytes:
    if len(data) > _MENDABLE:
        raise CodecError('not XML: characters that XML does not allow')
    text = data.decode('utf-8', 'surrogateescape')
    if _LENT_CHARACTERS.search(text):
        raise CodecError('not XML: characters that XML does not allow')
    return text.translate(_LOANS).encode('utf-8')


def _give_back(text: str) -> str | bytes:
    """Return *text* as the bytes it was before :func:`_mend`, if that changed it."""
    if not _LENT_CHARACTERS.search(text):
        return text
    return text.translate(_RETURNS).encode('utf-8', 'surrogateescape')


# Some peers forget to declare the prefixes of their namespaces: the root does it for them, since
# what its children declare themselves still holds.
_PREFIX = re.compile(rb'<([A-Za-z_][\w.-]{0,30}):|\s([A-Za-z_][\w.-]{0,30}):[\w.-]+\s*=\s*["\']')
_ROOT = re.compile(rb'<[A-Za-z_][\w.:-]*')
_MAX_PREFIXES = 20


def _bind(data: bytes) -> bytes:
    root = _ROOT.search(data)
    end = data.find(b'>', root.end()) if root else -1
    if root is None or end < 0:
        return data
    declared = data[root.start() : end]
    prefixes: set[bytes] = set()
    for found in _PREFIX.finditer(data):
        prefix = found[1] or found[2]
        if prefix not in (b'xml', b'xmlns') and b'xmlns:' + prefix not in declared:
            prefixes.add(prefix)
            if len(prefixes) > _MAX_PREFIXES:
                return data
    added = b''.join(b' xmlns:%b="syncml:%b"' % (each, each) for each in sorted(prefixes))
    return data[: root.end()] + added + data[root.end() :]


_REPAIRS = {
    expat.errors.codes[expat.errors.XML_ERROR_INVALID_TOKEN]: _mend,
    expat.errors.codes[expat.errors.XML_ERROR_UNBOUND_PREFIX]: _bind,
}


class _Reader:
    """Builds the tree while expat reads the document."""

    def __init__(self, charset: str | None, mended: bool = False) -> None:
        try:
            parser = expat.ParserCreate(charset, namespace_separator=_NS)
        except (TypeError, ValueError):
            raise CodecError(f'unknown character set {charset!r:.40}') from None
        parser.buffer_text = True
        parser.buffer_size = 1 << 16
        parser.StartDoctypeDeclHandler = self._doctype
        parser.SkippedEntityHandler = self._entity
        self._parser = parser
        self._names: dict[str, str] = {}
        self.own = ''  # the namespace of the root
        self._root = Node('')
        self._stack = [self._root]
        self._pieces: list[str] = []
        self._count = 0
        self._mended = mended
        self._listen(self)

    def read(self, data: bytes) -> Node:
        try:
            self._parse(memoryview(data))
        except expat.ExpatError as error:
            what = f'not XML: {expat.ErrorString(error.code)} (line {error.lineno})'
            if error.code in _REPAIRS:
                raise _RepairableError(what, _REPAIRS[error.code]) from None
            raise CodecError(what) from None
        except (LookupError, ValueError) as error:
            raise CodecError(f'not XML: {error!s:.100}') from None
        finally:
            del self._parser  # it knows this reader: do not leave a cycle around a large tree
        return self._root.children[0]

    def _parse(self, data: memoryview) -> None:
        """Let the parser see *data* piece by piece: it keeps what has no end, such as a tag."""
        parser = self._parser
        for start in range(0, len(data), _PIECE):
            parser.Parse(data[start : start + _PIECE], False)
            if start - parser.CurrentByteIndex > _LONGEST_TAG:
                raise CodecError('the message is too complex: a tag without end')
        parser.Parse(b'', True)

    def _listen(self, listener: _Reader | _Markup) -> None:
        self._parser.StartElementHandler = listener.start
        self._parser.EndElementHandler = listener.end
        self._parser.CharacterDataHandler = listener.text

    def start(self, raw: str, attributes: dict[str, str]) -> None:
        stack = self._stack
        self.count(0)
        name = self._names.get(raw) or self._name(raw)
        parent = stack[-1]
        if parent.name == 'Data' and name not in DATA_PARTS:
            markup = _Markup(self, self._pieces)
            markup.start(raw, attributes)
            self._listen(markup)
            return
        node = Node(name)
        parent.children.append(node)
        stack.append(node)
        self._pieces.clear()

    def end(self, raw: str) -> None:
        node = self._stack.pop()
        if self._pieces:
            if not node.children:
                text = ''.join(self._pieces)
                node.text = _give_back(text) if self._mended else text
            self._pieces.clear()

    def text(self, text: str) -> None:
        self._pieces.append(text)

    def count(self, below: int) -> None:
        """Keep the limits: one element more, that much deeper than the tree."""
        self._count += 1
        if self._count > MAX_ELEMENTS or len(self._stack) + below > MAX_DEPTH:
            raise CodecError('the message is too complex: elements too deep, or too many')

    def resume(self, raw: str, text: str) -> None:
        """Go on after the Data *raw*, the markup of which is *text*."""
        self._pieces[:] = [text]
        self._listen(self)
        self.end(raw)

    def _name(self, raw: str) -> str:
        """Return the name of an element; one that is not of SyncML keeps its namespace."""
        space, _, local = raw.rpartition(_NS)
        if not self._names:
            self.own = space
        known = space in ('', self.own) or space.lower().startswith('syncml:')
        name = canonical(local) if known else raw
        self._names[raw] = name
        return name

    def _doctype(self, name: str, system: str | None, public: str | None, inside: int) -> None:
        if inside:
            raise CodecError('a SyncML message may not declare entities or anything else')

    def _entity(self, name: str, parameter: bool) -> None:
        raise CodecError(f'the message uses an unknown entity: {name[:60]}')


class _Markup:
    """Turns markup in the Data of an item back into text, until that Data ends.

    Some peers send an object as elements instead of as escaped text (Format ``xml``). The text
    made of them stands for itself: namespaces are declared again where they are needed.
    """

    def __init__(self, reader: _Reader, pieces: list[str]) -> None:
        self._reader = reader
        self._pieces = [escape(piece) for piece in pieces]
        self._open: list[tuple[str, str]] = []  # (name, namespace)

    def start(self, raw: str, attributes: dict[str, str]) -> None:
        self._reader.count(len(self._open))
        outer = self._open[-1][1] if self._open else ''
        space, _, name = raw.rpartition(_NS)
        space = '' if space == self._reader.own else space
        self._open.append((name, space))
        declared = '' if space == outer else f' xmlns={quoteattr(space)}'
        said = (self._attribute(n, *item) for n, item in enumerate(attributes.items()))
        self._pieces.append(f'<{name}{declared}{"".join(said)}>')

    @staticmethod
    def _attribute(number: int, raw: str, value: str) -> str:
        space, _, name = raw.rpartition(_NS)
        if not space:
            return f' {name}={quoteattr(value)}'
        if space == 'http://www.w3.org/XML/1998/namespace':
            return f' xml:{name}={quoteattr(value)}'
        return f' xmlns:a{number}={quoteattr(space)} a{number}:{name}={quoteattr(value)}'

    def end(self, raw: str) -> None:
        if self._open:
            name, _ = self._open.pop()
            self._pieces.append(f'</{name}>')
        else:
            self._reader.resume(raw, ''.join(self._pieces))

    def text(self, text: str) -> None:
        self._pieces.append(escape(text))


# --- writing ------------------------------------------------------------------------------------


class _Tags:
    """How the elements look that stand inside an element of one page."""

    __slots__ = ('by_name',)

    def __init__(self) -> None:
        self.by_name: dict[str, tuple[str, str, str, _Tags]] = {}


def _all_tags() -> dict[Page, _Tags]:
    """Work out once, for all elements, the start tag, the end tag, the empty tag."""
    every = {page: _Tags() for page in Page}
    for page, tags in every.items():
        for name, element in INSIDE[page].items():
            space = NAMESPACES.get(element.page)
            start = name if element.page is page or not space else f'{name} xmlns="{space}"'
            tags.by_name[name] = (f'<{start}>', f'</{name}>', f'<{start}/>', every[element.page])
    return every


_TAGS = _all_tags()


def write(root: Node, version: str) -> bytes:
    """Return the XML document of the element ``SyncML`` in protocol *version*.

    Raises:
        LocalProtocolError: a value holds characters that XML has no way to write.
    """
    out = [_PROLOG, f'<SyncML xmlns="{namespace(Page.SYNCML, version)}">']
    for child in root.children:
        _write(child, _TAGS[Page.SYNCML], out)
    out.append('</SyncML>')
    return ''.join(out).encode('utf-8')


def write_element(node: Node, version: str) -> bytes:
    """Return the XML of one element of SyncML as it stands in a message, of any *version*."""
    out: list[str] = []
    _write(node, _TAGS[Page.SYNCML], out)
    return ''.join(out).encode('utf-8')


def _write(node: Node, tags: _Tags, out: list[str]) -> None:
    start, end, empty, inside = tags.by_name[node.name]
    if node.children:
        out.append(start)
        for child in node.children:
            _write(child, inside, out)
        out.append(end)
    elif node.text:
        kept = node.name == 'Data' and _is_shortened(node.text)
        out.append(f'{start}{_section(node) if kept else _escaped(node)}{end}')
    else:
        out.append(empty)


def _is_shortened(text: object) -> bool:
    """Whether some scanners would leave out the blanks or line ends at the beginning of *text*."""
    return isinstance(text, str) and text[0] in ' \t\n'


def _section(node: Node) -> str:
    """Return the text of *node*, of which nothing may get lost, as CDATA if it can be."""
    text = node.text
    if not isinstance(text, str) or UNSAFE.search(text):
        return _escaped(node)
    return f'<![CDATA[{text.replace("]]>", "]]]]><![CDATA[>")}]]>'


def _escaped(node: Node) -> str:
    text = node.text
    if not isinstance(text, str):
        raise LocalProtocolError(f'{node.name} holds {type(text).__name__}, XML carries text only')
    safe = isinstance(text, SafeText)
    if '&' in text:
        text = text.replace('&', '&amp;')
    if '<' in text:
        text = text.replace('<', '&lt;')
    if '>' in text:
        text = text.replace('>', '&gt;')
    if safe or text.isprintable() or not UNSAFE.search(text):
        return text
    text = text.replace('\r', '&#13;')
    if UNSAFE.search(text):
        raise LocalProtocolError(f'{node.name} cannot be written in XML: {node.text!r:.60}')
    return text
