"""Documents in the data of an item: device information, the Anchor of a Status.

They should be elements of the message in XML, and a document of their own in WBXML; peers also
send them as text (escaped, or in a CDATA section), and one encoding inside the other.
"""

from __future__ import annotations

from pysyncml.codec import wbxml, xml
from pysyncml.codec.node import Node
from pysyncml.codec.vocabulary import Page
from pysyncml.errors import CodecError


def read(content: bytes, page: Page = Page.DEVINF) -> Node | None:
    """Return the root of the document that *content* is, ``None`` if it is none.

    *page* is the vocabulary of a WBXML document that does not name its own.
    """
    try:
        if wbxml.begins(content):
            return wbxml.read(content, page=page)
        if xml.sniff(content) or content.lstrip().startswith(b'<'):
            return xml.read(content)
    except CodecError:
        return None
    return None
