"""The words of SyncML: every element with its code page, its WBXML token, and its version.

OMA-DS-DataSyncRep 1.2 §8, OMA-SyncML-MetaInfo 1.2 §7 and OMA-DS-DevInf 1.2 §7. What stands in
what, and what it means, is said by :mod:`pysyncml.codec.grammar`.
"""

from __future__ import annotations

from enum import IntEnum

from pysyncml.immutable import immutable

#: The versions of the protocol, oldest first; they compare rightly as text.
VERSIONS = ('1.0', '1.1', '1.2')


class Page(IntEnum):
    """The vocabularies. Device information is a document of its own in WBXML."""

    SYNCML = 0
    METINF = 1
    DEVINF = 2

    @property
    def code_page(self) -> int:
        """The WBXML code page (in the DevInf document, page 0 is DevInf)."""
        return self.value % 2


#: XML namespaces; the one of SyncML itself carries the version: see :func:`namespace`.
NAMESPACES = {Page.METINF: 'syncml:metinf', Page.DEVINF: 'syncml:devinf'}

#: WBXML public identifiers of documents, by (page, version).
PUBLIC_IDS = {
    (Page.SYNCML, '1.0'): 0x0FD1,
    (Page.DEVINF, '1.0'): 0x0FD2,
    (Page.SYNCML, '1.1'): 0x0FD3,
    (Page.DEVINF, '1.1'): 0x0FD4,
    (Page.SYNCML, '1.2'): 0x1201,
    (Page.DEVINF, '1.2'): 0x1203,
}

#: Public identifiers as text: what XML's DOCTYPE and a WBXML string table say.
PUBLIC_NAMES = {
    (page, version): f'-//SYNCML//DTD {word} {version}//EN'
    for page, word in ((Page.SYNCML, 'SyncML'), (Page.DEVINF, 'DevInf'))
    for version in VERSIONS
}


def namespace(page: Page, version: str) -> str:
    """Return the XML namespace of *page* in protocol *version*."""
    return NAMESPACES.get(page, f'SYNCML:SYNCML{version}')


@immutable()
class Element:
    """An element: where it is at home, its WBXML token, the version it came with."""

    name: str
    page: Page
    token: int
    since: str


# Tokens are consecutive, so the names stand here in the order of their tokens; "-" is a gap.
_TOKENS = (
    (
        Page.SYNCML,
        '1.0',
        0x05,
        'Add Alert Archive Atomic Chal Cmd CmdID CmdRef Copy Cred Data Delete Exec Final Get Item '
        'Lang LocName LocURI Map MapItem Meta MsgID MsgRef NoResp NoResults Put Replace RespURI '
        'Results Search Sequence SessionID SftDel Source SourceRef Status Sync SyncBody SyncHdr '
        'SyncML Target TargetRef - VerDTD VerProto',
    ),
    (Page.SYNCML, '1.1', 0x33, 'NumberOfChanges MoreData'),
    (
        Page.SYNCML,
        '1.2',
        0x35,
        'Field Filter Record FilterType SourceParent TargetParent Move Correlator',
    ),
    (
        Page.METINF,
        '1.0',
        0x05,
        'Anchor EMI Format FreeID FreeMem Last Mark MaxMsgSize Mem MetInf Next NextNonce SharedMem '
        'Size Type Version',
    ),
    (Page.METINF, '1.1', 0x15, 'MaxObjSize'),
    (Page.METINF, '1.2', 0x16, 'FieldLevel'),
    (
        Page.DEVINF,
        '1.0',
        0x05,
        'CTCap CTType DataStore DataType DevID DevInf DevTyp DisplayName DSMem Ext FwV HwV Man '
        'MaxGUIDSize MaxID MaxMem Mod OEM ParamName PropName Rx Rx-Pref SharedMem Size SourceRef '
        'SwV SyncCap SyncType Tx Tx-Pref ValEnum VerCT VerDTD XNam XVal',
    ),
    (Page.DEVINF, '1.1', 0x28, 'UTC SupportNumberOfChanges SupportLargeObjs'),
    (Page.DEVINF, '1.2', 0x1C, 'MaxSize'),  # took over the token of Size
    (
        Page.DEVINF,
        '1.2',
        0x2B,
        'Property PropParam MaxOccur NoTruncate - Filter-Rx FilterCap FilterKeyword FieldLevel '
        'SupportHierarchicalSync',
    ),
)

ELEMENTS: dict[tuple[Page, str], Element] = {
    (_page, _name): Element(_name, _page, _first + _offset, _since)
    for _page, _since, _first, _names in _TOKENS
    for _offset, _name in enumerate(_names.split())
    if _name != '-'
}

_RIGHT_SPELLING = {name.lower(): name for _, name in ELEMENTS}


def canonical(name: str) -> str:
    """Return *name* as the specification spells it: peers write ``DevId`` and ``FreeId``."""
    return _RIGHT_SPELLING.get(name.lower(), name)


def _home(parent: Page, name: str) -> Element | None:
    pages = (parent, *Page)
    return next((ELEMENTS[p, name] for p in pages if (p, name) in ELEMENTS), None)


#: What a name means inside an element of a page. A name belongs to the vocabulary of its parent
#: if that has it (``SourceRef``, ``SharedMem``), else to the one that has it: thus ``Type`` in a
#: ``Meta`` is MetInf's although ``Meta`` is SyncML's.
INSIDE: dict[Page, dict[str, Element]] = {
    page: {name: found for _, name in ELEMENTS if (found := _home(page, name))} for page in Page
}
