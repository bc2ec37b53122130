"""WBXML as a tree of elements.

Nothing in the bytes is taken on trust: a length is compared with what is there before anything
is made of it; depth, number of elements, and the text that references to the string table
unfold to have limits. It is one pass over the bytes.

Lenient where peers differ: elements of any version, text in any of the four forms (and pieces of
several), page switches before tags and ENDs, attributes and extensions (passed over), literal
tags, device information as tags of the message itself.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from pysyncml.codec.grammar import DATA_PARTS
from pysyncml.codec.node import MAX_BYTES, MAX_DEPTH, MAX_ELEMENTS, Node
from pysyncml.codec.values import CONTROL
from pysyncml.codec.vocabulary import Page, canonical
from pysyncml.codec.wbxml_tokens import (
    ATTRIBUTES,
    CHARSETS,
    CONTENT,
    DOCUMENTS,
    DOCUMENTS_BY_NAME,
    END,
    ENTITY,
    EXT_I,
    EXT_T,
    LITERAL,
    NAMES,
    OPAQUE,
    PI,
    PRIVATE,
    STR_I,
    STR_T,
    SWITCH_PAGE,
    TOKEN,
    UNKNOWN_ID,
    WBXML_VERSIONS,
    WIDE,
)
from pysyncml.errors import CodecError

_DEVINF = 0x0A  # the tag DevInf in its own vocabulary; in the Data of an item it is nothing else
_BYTES = ('Data', 'NextNonce')  # the elements that keep the bytes that were sent


def sniff(data: bytes) -> bool:
    """Return whether *data* begin as a SyncML message in WBXML does."""
    return _page(data) in (None, Page.SYNCML) if begins(data) else False


def begins(data: bytes) -> bool:
    """Return whether *data* begin as a document of SyncML's vocabularies in WBXML does."""
    if len(data) < 5 or data[0] not in WBXML_VERSIONS:
        return False
    return data[1] in (0, UNKNOWN_ID) or _number(data) in DOCUMENTS


def _number(data: bytes) -> int:
    return (data[1] & 0x7F) << 7 | data[2] if data[1] & 0x80 else data[1]


def _page(data: bytes) -> Page | None:
    """Return what the public identifier of *data* says, if it is a number that says something."""
    known = DOCUMENTS.get(_number(data))
    return known[0] if known else None


def read(data: bytes, charset: str | None = None, page: Page = Page.SYNCML) -> Node:
    """Return the root element of the WBXML document *data*.

    *charset* is what the transport says; it counts only if the document does not say itself.
    *page* is the vocabulary of a document that does not name its own.

    Raises:
        CodecError: this is no WBXML, or more than the limits allow.
    """
    if len(data) > MAX_BYTES:
        raise CodecError(f'the message is too large: {len(data):,} bytes')
    reader = _Reader(data)
    try:
        reader.header(charset, page)
        return reader.body()
    except IndexError:
        raise CodecError('not WBXML: the message ends too early') from None


class _Reader:
    """Builds the tree in one pass over the bytes. An IndexError means: there are no more."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._charset = 'utf-8'
        self._table = b''
        self._strings: dict[int, str | bytes] = {}
        # Honest elements take three bytes on average, and strings are not unfolded many times.
        self._left = min(MAX_ELEMENTS, 20_000 + len(data) // 3)
        self._unfold = (1 << 20) + 8 * len(data)
        # Where we are: the element that is open, those around it, its text so far.
        self._node = Node('')
        self._stack: list[Node] = []
        self._pieces: list[str | bytes] = []
        self._page = 0
        self._inline = 0  # how deep device information stands in the message; 0: nowhere

    # --- the header (WBXML 1.3 §5.4-5.8) ---

    def header(self, charset: str | None, page: Page) -> None:
        version, self._at = self._data[0], 1
        if version not in WBXML_VERSIONS:
            raise CodecError(f'not WBXML of a version that is known: {version:#04x}')
        public = self._integer()
        index = self._integer() if public == 0 else None
        self._charset = _character_set(self._integer(), charset)
        self._table = self._bytes(self._integer())
        known = (page, '1.2')
        if index is not None:
            name = str(self._reference(index))
            known = DOCUMENTS_BY_NAME.get(name.strip().lower(), known)
        elif public != UNKNOWN_ID:
            if public not in DOCUMENTS:
                raise CodecError(f'not SyncML: WBXML with the public identifier {public:#x}')
            known = DOCUMENTS[public]
        self._vocabulary(*known)

    def _vocabulary(self, page: Page, version: str) -> None:
        version = max(version, '1.1')
        self._devinf = NAMES[Page.DEVINF, version]
        if page is Page.SYNCML:
            self._pages = {each.value: NAMES[each, version] for each in Page}
        else:
            self._pages = {0: NAMES[page, version], 1: NAMES[Page.METINF, version]}
        self._names = self._pages[0]

    # --- the body (WBXML 1.3 §5.8) ---

    def body(self) -> Node:
        """Read elements until the root ends; what comes after it does not matter."""
        data = self._data
        top = self._node
        while not (self._node is top and top.children):
            token = data[self._at]
            self._at += 1
            if token & TOKEN >= LITERAL:
                self._start(token)
            elif token == END:
                self._end()
            elif token == SWITCH_PAGE:
                self._page = data[self._at]
                self._at += 1
                self._settle_page()
            else:
                self._piece(token)
        return top.children[0]

    def _settle_page(self) -> None:
        self._names = self._devinf if self._inline else self._pages.get(self._page, PRIVATE)

    def _start(self, token: int) -> None:
        self._left -= 1
        if self._left < 0:
            raise CodecError('the message is too complex: too many elements')
        base = token & TOKEN
        parent = self._node
        devinf = base == _DEVINF and parent.name == 'Data' and not self._inline
        name = 'DevInf' if devinf else self._names[base]
        if base == LITERAL:
            name = self._literal()
        if token & ATTRIBUTES:
            self._skip_attributes()
        if self._pieces:
            self._pieces.clear()  # text between elements
        child = Node(name)
        parent.children.append(child)
        if not token & CONTENT or self._leaf(child):
            return
        self._stack.append(parent)
        self._node = child
        if len(self._stack) > MAX_DEPTH:
            raise CodecError('the message is too complex: elements too deep')
        if devinf:
            self._inline = len(self._stack)
            self._settle_page()

    def _leaf(self, node: Node) -> bool:
        """Read the rest of *node* if it is what nearly all are: one inline string."""
        data = self._data
        at = self._at + 1
        if data[self._at] != STR_I or self._charset in WIDE:
            return False
        stop = data.find(b'\0', at)
        if stop < 0 or data[stop + 1] != END:
            return False
        self._at = stop + 2
        raw = data[at:stop]
        if self._charset != 'utf-8' or node.name not in _BYTES:
            self._pieces.append(self._text(raw))
            self._settle_text(node)
        else:
            node.text = raw
        return True

    def _end(self) -> None:
        if not self._stack:
            raise CodecError(f'not WBXML: an END too many (byte {self._at})')
        node = self._node
        if not node.children:
            self._settle_text(node)
        elif node.name == 'Data' and self._is_markup(node):
            # Some peers send an object as elements instead of as text (Format xml).
            node.text, node.children = ''.join(map(_markup, node.children)), []
        self._pieces.clear()
        if self._inline == len(self._stack):
            self._inline = 0
            self._settle_page()
        self._node = self._stack.pop()

    def _is_markup(self, data: Node) -> bool:
        """Return whether *data* hold elements of their own; those in others belong to these."""
        known = any(child.name in DATA_PARTS for child in data.children)
        return not known and all(node.name != 'Data' for node in self._stack)

    def _piece(self, token: int) -> None:
        """Read a piece of text, or what stands in its place and says nothing."""
        if token == STR_I:
            self._pieces.append(self._text(self._inline_string()))
        elif token == OPAQUE:
            raw = self._bytes(self._integer())
            self._pieces.append(raw if self._node.name in _BYTES else self._text(raw))
        elif token == STR_T:
            self._pieces.append(self._reference(self._integer()))
        elif token == ENTITY:
            self._pieces.append(self._entity())
        elif token == PI:
            self._skip_attributes()
        else:
            self._skip(token)

    def _skip_attributes(self) -> None:
        while (token := self._data[self._at]) != END:
            self._at += 1
            self._skip(token)
        self._at += 1

    def _skip(self, token: int) -> None:
        """Pass over what belongs to a token that says nothing here: attributes, extensions."""
        if token == STR_I or token in EXT_I:
            self._inline_string()
        elif token == OPAQUE:
            self._bytes(self._integer())
        elif token == SWITCH_PAGE:
            self._at += 1
        elif token in EXT_T or token in (STR_T, ENTITY, LITERAL):
            self._integer()

    def _settle_text(self, node: Node) -> None:
        """Make the pieces that were read the text of *node*."""
        pieces = self._pieces
        if not pieces:
            return
        text: str | bytes = pieces[0]
        if len(pieces) > 1 or (node.name in _BYTES and isinstance(text, str)):
            text = b''.join(p if isinstance(p, bytes) else p.encode() for p in pieces)
            text = text if node.name in _BYTES else _decoded(text, 'utf-8')
        if isinstance(text, str) and not text.isprintable():
            text = CONTROL.sub('\ufffd', text)
        node.text = text
        pieces.clear()

    # --- what elements are made of ---

    def _integer(self) -> int:
        """Read an mb_u_int32: at most 32 bits in groups of seven (WBXML 1.3 §5.1)."""
        value = 0
        for _ in range(5):
            byte = self._data[self._at]
            self._at += 1
            value = value << 7 | byte & 0x7F
            if byte < 0x80 and value < 1 << 32:
                return value
        raise CodecError(f'not WBXML: a number that is too large (byte {self._at})')

    def _bytes(self, length: int) -> bytes:
        start = self._at
        if length > len(self._data) - start:
            raise CodecError(f'not WBXML: {length:,} bytes are said to follow byte {start:,}')
        self._at = start + length
        return self._data[start : self._at]

    def _inline_string(self) -> bytes:
        start = self._at
        stop = _terminator(self._data, start, self._charset)
        if stop < 0:
            raise CodecError(f'not WBXML: a string without end (byte {start:,})')
        self._at = stop + (2 if self._charset in WIDE else 1)
        return self._data[start:stop]

    def _reference(self, offset: int) -> str | bytes:
        """Return the string at *offset* of the string table; the last one may lack its NUL."""
        found = self._strings.get(offset)
        if found is None:
            if offset >= len(self._table):
                raise CodecError(f'not WBXML: there is no string at {offset:,}')
            stop = _terminator(self._table, offset, self._charset)
            stop = stop if stop >= 0 else len(self._table)
            self._unfold -= stop - offset
            found = self._strings[offset] = self._text(self._table[offset:stop])
        self._unfold -= len(found)
        if self._unfold < 0:
            raise CodecError('the message is too complex: its strings are repeated too often')
        return found

    def _literal(self) -> str:
        """Return the name of an element that has no token; blanks and prefixes do not count."""
        name = str(self._reference(self._integer()))
        return canonical(name.strip().rpartition(':')[2])

    def _entity(self) -> str:
        code = self._integer()
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise CodecError(f'not WBXML: there is no character {code:#x} (byte {self._at:,})')
        return chr(code)

    def _text(self, raw: bytes) -> str | bytes:
        if self._charset in WIDE and raw[:2] in (b'\xff\xfe', b'\xfe\xff'):
            return _decoded(raw, 'utf-16')
        return _decoded(raw, self._charset)


def _decoded(raw: bytes, charset: str) -> str | bytes:
    """Return *raw* as text; if it is none (a digest, Latin-1 in a message of UTF-8), as it is."""
    try:
        return raw.decode(charset)
    except UnicodeDecodeError:
        return raw


def _character_set(number: int, transport: str | None) -> str:
    """Return Python's name of character set *number* (MIBenum), or of what *transport* says."""
    if number in CHARSETS:
        return CHARSETS[number]
    said = (transport or '').lower().replace('iso-8859-', 'iso8859-').replace('windows-', 'cp')
    return said if said in CHARSETS.values() else 'utf-8'


def _terminator(data: bytes, start: int, charset: str) -> int:
    """Return where the string that begins at *start* ends, -1 if it has no end."""
    if charset not in WIDE:
        return data.find(b'\0', start)
    stop = data.find(b'\0\0', start)
    while stop >= 0 and (stop - start) % 2:
        stop = data.find(b'\0\0', stop + 1)
    return stop


def _markup(node: Node) -> str:
    """Return the element that stands in the data of an item as the text it stands for."""
    text = node.text or ''
    inside = escape(text.decode(errors='replace') if isinstance(text, bytes) else text)
    return f'<{node.name}>{inside}{"".join(map(_markup, node.children))}</{node.name}>'
