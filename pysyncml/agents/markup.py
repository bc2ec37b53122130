"""The little XML that items are written in: bytes in and out of flat elements, without loss.

XML carries neither control characters nor bytes that are no UTF-8, and its readers turn CR LF
into LF. So text is escaped such that it comes back byte for byte: CR as a character reference,
and what XML cannot carry at all in base64, marked with the attribute ``enc`` (as in
OMA-TS-DS_File-V1_2, element ``body``). Reading trusts nobody: no entities, no network.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import quopri
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pysyncml.errors import InvalidContent

# What XML 1.0 §2.2 does not allow as a character. Surrogates need no mention: bytes that
# decode as UTF-8 hold none.
_FORBIDDEN = re.compile('[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]')
_NAME = re.compile(r'[^\W\d][\w.\-]*', re.ASCII)
_PLAIN = re.compile(rb'[\t\n -%\'-;=?-~]*')
_FLAT = re.compile(rb'<([A-Za-z_][A-Za-z0-9_.\-]*)>([\t\n -%\'-;=?-~]*)</\1>')
_DECLARATION = re.compile(r'\s*<\?xml[^>]*\?>')
_BLANKS = b' \t\r\n\0'

# libxml2 refuses a text of 10 million bytes unless told that trees may be huge, which also
# lifts its limits on depth and expansion; so that is only said when there is need.
_HUGE = 9_000_000

#: Bytes from which on a copy is worth avoiding.
_LARGE = 1_000_000
_PIECE = 3 * 2**18  # bytes that base64 makes a text of without padding


def base_type(content_type: str | None) -> str | None:
    """Return *content_type* in lower case, without parameters such as ``;charset=UTF-8``."""
    return content_type.split(';', 1)[0].strip().lower() if content_type else None


def to_bytes(value: bytes | str) -> bytes:
    """Return text as UTF-8; what was undecodable when the text was made is restored."""
    if isinstance(value, str):
        try:
            return value.encode('utf-8', 'surrogateescape')
        except UnicodeEncodeError:
            return value.encode('utf-8', 'surrogatepass')
    return bytes(value)


def to_text(data: bytes) -> str:
    """Return UTF-8 as text; undecodable bytes become lone surrogates, so nothing is lost."""
    return data.decode('utf-8', 'surrogateescape')


def element(name: str, value: bytes | str) -> bytes:
    """Return the element *name* that holds *value*, in ASCII.

    Raises:
        InvalidContent: *name* cannot be the name of an element.
    """
    return b''.join(pieces(name, value))


def pieces(name: str, value: bytes | str) -> Iterator[bytes]:
    """Yield the same in pieces, so that a large content need not be copied as a whole."""
    tag = _tag(name)
    data = to_bytes(value)
    opening, closing = b'<%b>' % tag, b'</%b>' % tag
    if _PLAIN.fullmatch(data):
        yield from (opening, data, closing)
        return
    try:
        text = data.decode('utf-8')
    except UnicodeDecodeError:
        text = None
    if text is None or _FORBIDDEN.search(text):
        yield b'<%b enc="base64">' % tag
        for start in range(0, len(data), _PIECE):
            yield base64.b64encode(data[start : start + _PIECE])
        yield closing
        return
    text = text.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')
    text = text.replace('\r', '&#13;')
    yield from (opening, text.encode('ascii', 'xmlcharrefreplace'), closing)


@lru_cache(maxsize=256)
def _tag(name: str) -> bytes:
    if not _NAME.fullmatch(name):
        raise InvalidContent(f'{name!r} cannot be the name of an element')
    return name.encode('ascii')


def parse(data: bytes) -> Any:
    """Return the root element of the XML document *data*.

    Raises:
        InvalidContent: it is not well-formed, or it declares entities.
    """
    from lxml import etree  # not at the top: programs that only print their help need no lxml

    data = _as_xml(data)
    if b'<!ENTITY' in data:
        raise InvalidContent('the content declares entities, which are not accepted')
    try:
        root = etree.fromstring(data, _parser(len(data) > _HUGE))
    except (etree.XMLSyntaxError, ValueError) as error:
        raise InvalidContent(f'the content is not XML: {error}') from None
    doctype = root.getroottree().docinfo.internalDTD
    if doctype is not None and next(doctype.iterentities(), None) is not None:
        raise InvalidContent('the content declares entities, which are not accepted')
    return root


def flat_parts(data: bytes, root: str) -> list[tuple[str, bytes]] | None:
    """Return name and content of each element in a document of the plainest form.

    That is how most items are written here: the root, in it elements without attributes, in these
    printable ASCII without any markup. ``None`` for all others: it takes a parser to read them.
    """
    start, end = b'<%b>' % root.encode(), b'</%b>' % root.encode()
    if not data.startswith(start) or not data.endswith(end):
        return None
    parts, position, last = [], len(start), len(data) - len(end)
    while position < last:
        part = _FLAT.match(data, position, last)
        if part is None:
            return None
        parts.append((part[1].decode(), part[2]))
        position = part.end()
    return parts


def _as_xml(data: bytes) -> bytes:
    if data[:2] in (b'\xff\xfe', b'\xfe\xff'):
        try:
            text = data.decode('utf-16')
        except UnicodeDecodeError:
            raise InvalidContent('the content is not the UTF-16 that it begins as') from None
        declared = _DECLARATION.match(text)  # at the beginning, and looked for nowhere else
        data = text[declared.end() if declared else 0 :].encode('utf-8')
    return data.removeprefix(b'\xef\xbb\xbf').strip(_BLANKS)


@lru_cache(maxsize=2)
def _parser(huge: bool) -> Any:
    from lxml import etree

    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
        huge_tree=huge,
        # A declared encoding can hide things from the check above; in a huge one none may.
        encoding='utf-8' if huge else None,
    )


def local_name(node: Any) -> str:
    """Return the name of an element without its namespace."""
    tag: str = node.tag
    return tag.rpartition('}')[2]


def content(node: Any) -> bytes:
    """Return the bytes that an element holds, decoded as its attribute ``enc`` says.

    The element may be empty afterwards: a large content is not kept twice.

    Raises:
        InvalidContent: the encoding is not known, or not what the element holds.
    """
    text = (node.text or '') if not len(node) else ''.join(node.itertext())
    encoding = (node.get('enc') or '').strip().lower()
    if len(text) > _LARGE:
        node.text = None
    if encoding in ('base64', 'b64', 'b') and text.isascii():
        with contextlib.suppress(binascii.Error):  # in one line, as we write it
            return binascii.a2b_base64(text, strict_mode=True)
    data = to_bytes(text)
    if not encoding:
        return data
    if encoding in ('base64', 'b64', 'b'):
        try:
            return base64.b64decode(b''.join(data.split()), validate=True)
        except binascii.Error as error:
            raise InvalidContent(f'{local_name(node)} is not base64: {error}') from None
    if encoding == 'quoted-printable':
        return quopri.decodestring(data)
    raise InvalidContent(f'{local_name(node)} has the unknown encoding {encoding!r}')
