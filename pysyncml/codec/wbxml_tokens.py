"""The numbers of WBXML: global tokens, character sets, code pages (WBXML 1.3 §5, §7).

What reading (:mod:`~pysyncml.codec.wbxml_reader`) and writing (:mod:`~pysyncml.codec.wbxml`)
share. The tokens of the elements come from :mod:`~pysyncml.codec.vocabulary`.
"""

from __future__ import annotations

from pysyncml.codec.vocabulary import ELEMENTS, PUBLIC_IDS, PUBLIC_NAMES, Page

# Global tokens: those of which the lower six bits are less than 5.
SWITCH_PAGE = 0x00
END = 0x01
ENTITY = 0x02
STR_I = 0x03
LITERAL = 0x04
PI = 0x43
STR_T = 0x83
OPAQUE = 0xC3
EXT_I = (0x40, 0x41, 0x42)
EXT_T = (0x80, 0x81, 0x82)

# A tag is its token, and two bits.
TOKEN = 0x3F
CONTENT = 0x40
ATTRIBUTES = 0x80

#: The versions of WBXML that are read; 1.2 is written. They do not differ in what SyncML uses.
WBXML_VERSIONS = frozenset((1, 2, 3))
WBXML_VERSION = 2

#: The public identifier of those who do not say what they send.
UNKNOWN_ID = 1

#: Public identifiers that are read: the page that the document is in, and its version. The
#: one of MetInf belongs to no document, but some peers wrap an Anchor in one.
DOCUMENTS: dict[int, tuple[Page, str]] = {number: key for key, number in PUBLIC_IDS.items()} | {
    0x1202: (Page.METINF, '1.2')
}

#: The same as text, in lower case.
DOCUMENTS_BY_NAME: dict[str, tuple[Page, str]] = {
    name.lower(): key for key, name in PUBLIC_NAMES.items()
}

UTF_8 = 106

#: Character sets by MIBenum (IANA): those that phones used, by Python's name. All others,
#: and 0 (unknown), are taken for UTF-8.
CHARSETS = {
    3: 'utf-8',  # US-ASCII
    **{number: f'iso8859-{number - 3}' for number in range(4, 13)},
    UTF_8: 'utf-8',
    111: 'iso8859-15',
    1000: 'utf-16-be',  # UCS-2
    1013: 'utf-16-be',
    1014: 'utf-16-le',
    1015: 'utf-16-be',  # big-endian unless a byte order mark says otherwise
    **{2250 + number: f'cp125{number}' for number in range(9)},
}

#: The character sets of which a character has two bytes.
WIDE = ('utf-16-be', 'utf-16-le')

#: The names of tokens that no vocabulary has.
PRIVATE = [f'token {token:#04x}' for token in range(TOKEN + 1)]


def _names(page: Page, version: str) -> list[str]:
    names = list(PRIVATE)
    for element in ELEMENTS.values():
        if element.page is page and not (element.name == 'MaxSize' and version < '1.2'):
            names[element.token] = element.name
    return names


#: The names of the tokens of a page, by (page, version): token 1C was Size before it was MaxSize.
NAMES = {(page, version): _names(page, version) for page in Page for version in ('1.1', '1.2')}
