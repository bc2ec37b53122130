"""Messages as bytes, and back.

::

    content_type, data = encode(message)           # XML
    content_type, data = encode(message, 'wbxml')
    message = decode(content_type, data)

A codec turns bytes into a tree of elements and back (:mod:`~pysyncml.codec.xml`,
:mod:`~pysyncml.codec.wbxml`); what the elements mean is worked out once for all codecs
(:mod:`~pysyncml.codec.tree`), from one grammar (:mod:`~pysyncml.codec.grammar`).
"""

from __future__ import annotations

from collections.abc import Callable

from pysyncml.codec import tree, wbxml, xml
from pysyncml.codec.grammar import VERSIONS
from pysyncml.codec.node import Node
from pysyncml.constants import CODEC_WBXML, CODEC_XML
from pysyncml.errors import UnknownCodec
from pysyncml.immutable import immutable
from pysyncml.protocol.messages import Command, Message

__all__ = [
    'Codec',
    'Node',
    'cost',
    'decode',
    'encode',
    'get',
    'names',
    'recognise',
    'register',
]


@immutable(kw_only=True)
class Codec:
    """A way of writing messages.

    Attributes:
        name: what programs call it; also the ending of its content types after ``+``.
        content_type: what its messages are sent as.
        content_types: everything its messages may come as, in lower case.
        binary: whether it carries any bytes as they are.
        sniff: tells from the bytes whether they may be such a message.
        read: bytes, and the charset the transport told of (or None), to the root element;
            raises :class:`~pysyncml.errors.CodecError`.
        write: the root element and the protocol version, to bytes.
        write_element: one command and the protocol version, to the bytes it takes in a message.
    """

    name: str
    content_type: str
    content_types: frozenset[str]
    binary: bool
    sniff: Callable[[bytes], bool]
    read: Callable[[bytes, str | None], Node]
    write: Callable[[Node, str], bytes]
    write_element: Callable[[Node, str], bytes]

    def dialect(self, version: str) -> tree.Dialect:
        """Return how trees are to be made for this codec in protocol *version*."""
        known = version if version in VERSIONS else VERSIONS[-1]
        return tree.Dialect(version=known, encoding=self.name, binary=self.binary)


_codecs: dict[str, Codec] = {}


def register(codec: Codec) -> None:
    """Make *codec* known by its name; it takes the place of another one of that name."""
    _codecs[codec.name] = codec


def names() -> list[str]:
    """Return the names of the codecs that are known."""
    return list(_codecs)


def get(name: str) -> Codec:
    """Return the codec called *name*.

    Raises:
        UnknownCodec: there is none.
    """
    try:
        return _codecs[name]
    except KeyError:
        known = ', '.join(_codecs)
        raise UnknownCodec(f'there is no codec {name!r:.40}; known are: {known}') from None


def encode(message: Message, name: str = CODEC_XML) -> tuple[str, bytes]:
    """Return the content type and the bytes of *message*, written by the codec called *name*.

    Elements that are newer than the version of the message are left out.

    Raises:
        UnknownCodec: there is no such codec.
        LocalProtocolError: the message cannot be written: it holds a command that its version
            does not have, or text with characters that the codec has no way to write.
    """
    codec = get(name)
    dialect = codec.dialect(message.header.version)
    root = tree.from_message(message, dialect)
    return codec.content_type, codec.write(root, dialect.version)


def cost(command: Command, name: str = CODEC_XML, *, version: str = VERSIONS[-1]) -> int:
    """Return how many bytes *command* takes in a message, everything inside it included.

    The size of a message is that of the same message without its commands, plus this for each of
    them. A WBXML message that is not final may be two bytes smaller than that: nothing follows
    its last command that would need another code page. (A body with nothing in it is written
    shorter, as an empty element: by ten bytes in XML, by one in WBXML.)
    """
    codec = get(name)
    dialect = codec.dialect(version)
    return len(codec.write_element(tree.from_command(command, dialect), dialect.version))


def recognise(content_type: str | None, data: bytes) -> Codec:
    """Return the codec that *data* are written in: an answer should be written by the same.

    What the bytes look like counts more than *content_type*, which peers often get wrong
    (parameters such as ``charset`` are allowed).

    Raises:
        UnknownCodec: neither type nor bytes are of a codec that is known.
    """
    kind, _ = _media_type(content_type or '')
    said = next((c for c in _codecs.values() if kind in c.content_types), None)
    looks = next((c for c in _codecs.values() if c.sniff(data)), None)
    codec = looks or said
    if codec is None:
        raise UnknownCodec(f'this is not SyncML (content type {kind or "missing"!s:.60})')
    return codec


def decode(content_type: str | None, data: bytes) -> Message:
    """Return the message that *data* are; see :func:`recognise` for what *content_type* does.

    Raises:
        UnknownCodec: neither type nor bytes are of a codec that is known.
        CodecError: the bytes are no SyncML message.
    """
    codec = recognise(content_type, data)
    return tree.to_message(codec.read(data, _media_type(content_type or '')[1]))


def _media_type(content_type: str) -> tuple[str, str | None]:
    kind, *parameters = content_type.split(';')
    for parameter in parameters:
        name, _, value = parameter.partition('=')
        if name.strip().lower() == 'charset':
            return kind.strip().lower(), value.strip().strip('"\'') or None
    return kind.strip().lower(), None


register(
    Codec(
        name=CODEC_XML,
        content_type=xml.CONTENT_TYPE,
        content_types=xml.CONTENT_TYPES,
        binary=False,
        sniff=xml.sniff,
        read=xml.read,
        write=xml.write,
        write_element=xml.write_element,
    )
)
register(
    Codec(
        name=CODEC_WBXML,
        content_type=wbxml.CONTENT_TYPE,
        content_types=wbxml.CONTENT_TYPES,
        binary=True,
        sniff=wbxml.sniff,
        read=wbxml.read,
        write=wbxml.write,
        write_element=wbxml.write_element,
    )
)
