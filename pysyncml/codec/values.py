"""The small values inside elements: text, numbers, base64, and what XML can carry."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode

from pysyncml.codec.node import Node

#: What XML 1.0 has no way to write, and CR, which every XML parser turns into LF
#: (XML 1.0 §2.2, §2.11). Said by what is not allowed, as the rest takes long to compile.
UNSAFE = re.compile('[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]')

_SAFE_BYTES = bytes([9, 10, *range(0x20, 0x7F)])
#: The same without CR, which a numeric reference can write in a value.
CONTROL = re.compile('[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')


def text(node: Node) -> str:
    """Return the text of an element; blanks around it are never part of the value."""
    content = node.text
    if content is None:
        return ''
    if isinstance(content, bytes):
        content = CONTROL.sub('\ufffd', content.decode('utf-8', 'replace'))
    return content.strip()


def raw(node: Node) -> bytes:
    """Return the content of an element as bytes, with every blank."""
    content = node.text
    if content is None:
        return b''
    return content if isinstance(content, bytes) else content.encode()


def number(node: Node) -> int | None:
    """Return the number an element holds; ``None`` if it holds none that makes sense."""
    digits = text(node)
    if digits.isascii() and digits.isdigit() and len(digits) <= 18:
        return int(digits)
    return None


def uri(node: Node) -> str:
    """Return the LocURI in an element, or its own text where a peer left the LocURI out."""
    for child in node.children:
        if child.name == 'LocURI':
            return text(child)
    return text(node)


def nonce(node: Node) -> bytes:
    """Return the bytes of a nonce: base64, whatever the Format beside it says."""
    content = raw(node).strip()
    decoded = unbase64(content)
    return content if decoded is None else decoded


def credentials(node: Node) -> str:
    """Return the text of credentials; a digest that was sent as bare bytes becomes base64."""
    content = node.text
    if isinstance(content, bytes):
        try:
            bare = CONTROL.search(content.decode('utf-8'))
        except UnicodeDecodeError:
            return base64_text(content)
        if bare:
            return base64_text(content)
    return text(node)


def unbase64(content: bytes) -> bytes | None:
    """Return what base64 *content* stands for, ``None`` if it is no base64.

    Line breaks are allowed, nothing else is: a part of a longer text must not pass for a
    whole one.
    """
    try:
        return b64decode(b''.join(content.split()), validate=True)
    except binascii.Error:
        return None


def base64_text(content: bytes) -> str:
    """Return *content* as base64 in one line."""
    return b64encode(content).decode('ascii')


class SafeText(str):
    """Text of which XML gives back exactly the same: that need not be looked at again."""

    __slots__ = ()


def safe_text(content: bytes) -> SafeText | None:
    """Return *content* as text if XML gives back exactly the same bytes, else ``None``."""
    try:
        decoded = SafeText(content, 'utf-8')
    except UnicodeDecodeError:
        return None
    if not content.translate(None, _SAFE_BYTES):  # sooner found than by looking for the others
        return decoded
    return None if UNSAFE.search(decoded) else decoded
