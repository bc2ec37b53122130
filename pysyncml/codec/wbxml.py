"""Trees of elements as WBXML, and back (reading is in :mod:`~pysyncml.codec.wbxml_reader`).

Writing makes what the least able decoders understand: UTF-8, no string table, text as inline
strings, data as OPAQUE, pages switched directly before a tag and nowhere else, device information
as a document of its own. A document of 1.0 names itself in text, since not all phones of that
time knew the number.
"""

from __future__ import annotations

from pysyncml.codec.grammar import INSIDE, VERSIONS, Page
from pysyncml.codec.node import Node
from pysyncml.codec.vocabulary import PUBLIC_IDS, PUBLIC_NAMES
from pysyncml.codec.wbxml_reader import begins, read, sniff
from pysyncml.codec.wbxml_tokens import CONTENT, END, OPAQUE, STR_I, SWITCH_PAGE, UTF_8
from pysyncml.codec.wbxml_tokens import WBXML_VERSION as _WBXML_VERSION
from pysyncml.errors import LocalProtocolError

__all__ = ['CONTENT_TYPE', 'CONTENT_TYPES', 'begins', 'read', 'sniff', 'write', 'write_element']

#: The content type of a message, and others that mean the same.
CONTENT_TYPE = 'application/vnd.syncml+wbxml'
CONTENT_TYPES = frozenset(
    (CONTENT_TYPE, 'application/vnd.syncml.wbxml', 'application/vnd.wap.wbxml')
)

_STR_I = bytes((STR_I,))
_OPAQUE = bytes((OPAQUE,))
_END = bytes((END,))
_LARGE = 1 << 16  # bytes


def integer(value: int) -> bytes:
    """Return *value*, not negative, as an mb_u_int32 (WBXML 1.3 §5.1)."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def _header(page: Page, version: str) -> bytes:
    """Return what stands before the root: WBXML version, identifier, charset, string table."""
    number = integer(PUBLIC_IDS[page, version])
    name = b''
    if version == '1.0':
        number, name = b'\0\0', PUBLIC_NAMES[page, version].encode()
    return bytes((_WBXML_VERSION,)) + number + integer(UTF_8) + integer(len(name)) + name


_HEADERS = {key: _header(*key) for key in PUBLIC_IDS}


class _Tags:
    """The elements that stand inside an element of one page, as they are written."""

    __slots__ = ('by_name',)

    def __init__(self) -> None:
        #: (page, tag with content, tag without, what stands inside)
        self.by_name: dict[str, tuple[Page, bytes, bytes, _Tags]] = {}


def _all_tags() -> dict[Page, _Tags]:
    every = {page: _Tags() for page in Page}
    for page, tags in every.items():
        for name, element in INSIDE[page].items():
            full, empty = bytes((element.token | CONTENT,)), bytes((element.token,))
            tags.by_name[name] = (element.page, full, empty, every[element.page])
    return every


_TAGS = _all_tags()
_SWITCH = {page: bytes((SWITCH_PAGE, page.code_page)) for page in Page}


def write(root: Node, version: str) -> bytes:
    """Return the WBXML document of the element ``SyncML`` in protocol *version*.

    Raises:
        LocalProtocolError: a value is no text that UTF-8 has.
    """
    return _document(root, Page.SYNCML, version)


def write_element(node: Node, version: str) -> bytes:
    """Return what one element of SyncML adds to a message of protocol *version*.

    The page switch that makes way for whatever follows counts as part of it, so that the sum of
    all elements is exact as long as something follows the last one (``Final``); else it is two
    bytes too much at most.
    """
    writer = _Writer(version)
    writer.element(node, _TAGS[Page.SYNCML])
    back = b'' if writer.page is Page.SYNCML else _SWITCH[Page.SYNCML]
    return b''.join(writer.out) + back


def _document(root: Node, page: Page, version: str) -> bytes:
    writer = _Writer(version, page)
    writer.out.append(_HEADERS[page, version])
    writer.element(root, _TAGS[page])
    return b''.join(writer.out)


class _Writer:
    """Collects the bytes of a document; knows which page it has switched to."""

    __slots__ = ('out', 'page', 'version')

    def __init__(self, version: str, page: Page = Page.SYNCML) -> None:
        self.out: list[bytes] = []
        self.page = page
        self.version = version

    def element(self, node: Node, tags: _Tags) -> None:
        page, full, empty, inside = tags.by_name[node.name]
        out = self.out
        if page is not self.page:
            out.append(_SWITCH[page])
            self.page = page
        if node.children:
            out.append(full)
            if node.children[0].name == 'DevInf':
                out.append(_opaque(self._device_information(node.children[0])))
            else:
                for child in node.children:
                    self.element(child, inside)
            out.append(_END)
        elif isinstance(node.text, bytes) and len(node.text) > _LARGE:
            # a copy for each of the pieces it is put together from would be one too many
            out += (full, _OPAQUE + integer(len(node.text)), node.text, _END)
        elif node.text:
            out.append(full + _text(node) + _END)
        else:
            out.append(empty)

    def _device_information(self, root: Node) -> bytes:
        """Return the document that device information is, of the version that it says."""
        said = next((child.text for child in root.children if child.name == 'VerDTD'), None)
        version = said if isinstance(said, str) and said in VERSIONS else self.version
        return _document(root, Page.DEVINF, version)


def _opaque(content: bytes) -> bytes:
    return _OPAQUE + integer(len(content)) + content


def _text(node: Node) -> bytes:
    text = node.text
    if isinstance(text, bytes):
        return _opaque(text)
    try:
        content = text.encode('utf-8')  # type: ignore[union-attr]
    except (AttributeError, UnicodeEncodeError):
        raise LocalProtocolError(f'{node.name} cannot be written in WBXML: {text!r:.60}') from None
    return _opaque(content) if b'\0' in content else _STR_I + content + b'\0'
