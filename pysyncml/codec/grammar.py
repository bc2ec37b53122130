"""The grammar of SyncML as one table, for both ways of writing it.

``ELEMENTS`` (from :mod:`pysyncml.codec.vocabulary`) has every element with its code page, its
WBXML token and the version it came with. ``MODELS`` has the content models: for every element
that has children, which ones, in which order, how often, and the field of the message class that
holds each of them (OMA-DS-DataSyncRep 1.2 §6, OMA-SyncML-MetaInfo 1.2 §5, OMA-DS-DevInf 1.2 §5).
XML, WBXML and the tree are driven by these two.
"""

from __future__ import annotations

from enum import Enum

from pysyncml.codec.vocabulary import ELEMENTS, INSIDE, VERSIONS, Element, Page
from pysyncml.immutable import immutable
from pysyncml.protocol import devinf, messages

__all__ = [
    'DATA_PARTS',
    'ELEMENTS',
    'INSIDE',
    'META_PARTS',
    'MODELS',
    'VERSIONS',
    'Element',
    'Kind',
    'Model',
    'Page',
    'Part',
]


class Kind(Enum):
    """How the value of an element is written."""

    TEXT = 'text'
    NUMBER = 'a decimal number, not negative'
    CODE = 'a number that must be there; 0 if it cannot be read'
    FLAG = 'empty; there or not there'
    NONCE = 'base64 of bytes'
    CREDENTIALS = 'text, or bare bytes'
    PROTOCOL = 'the version after "SyncML/"'
    URI = 'a LocURI and nothing else'
    DATA = 'the data of an item: text, an Anchor, or device information'
    MODEL = 'children, by the content model of the element'
    WRAPPED = 'one Item, and nothing else'
    COMMAND = 'any of several commands, in the order they stand'
    CTCAP = 'properties of a content type, nested (1.2)'
    FLAT_CTCAP = 'properties of a content type, as a flat list (1.0 and 1.1)'


@immutable()
class Part:
    """A place in a content model.

    ``occurs`` is ``1``, ``?``, ``*`` or ``+`` as in a DTD. A part that is newer than the version
    of a message (``since``; empty: as new as its element) or older (``until``) is left out when
    writing; if it is ``vital``, leaving it out would change what the message says, and the
    message cannot be written.
    """

    name: str
    field: str
    kind: Kind = Kind.TEXT
    occurs: str = '?'
    since: str = ''
    until: str = VERSIONS[-1]
    vital: bool = False
    choices: tuple[str, ...] = ()

    @property
    def many(self) -> bool:
        """Whether the field holds a tuple."""
        return self.occurs in '*+'


@immutable()
class Model:
    """The content model of an element: the class that holds it, and its parts in order."""

    name: str
    cls: type
    parts: tuple[Part, ...]
    page: Page = Page.SYNCML


_META = Part('Meta', 'meta', Kind.MODEL)
_CRED = Part('Cred', 'cred', Kind.MODEL)
_CMD_ID = Part('CmdID', 'cmd_id', occurs='1')
_NO_RESP = Part('NoResp', 'no_resp', Kind.FLAG)
_LANG = Part('Lang', 'lang')
_ITEMS = Part('Item', 'items', Kind.MODEL, '*')
_SOME_ITEMS = Part('Item', 'items', Kind.MODEL, '+')
_TARGET = Part('Target', 'target', Kind.MODEL)
_SOURCE = Part('Source', 'source', Kind.MODEL)
_CODE = Part('Data', 'code', Kind.CODE)
_CORRELATOR = Part('Correlator', 'correlator')


def _commands(occurs: str, names: str) -> Part:
    return Part('', 'commands', Kind.COMMAND, occurs, choices=tuple(names.split()))


_CHANGES = 'Add Atomic Copy Delete Move Sequence Replace'
_NESTED = _CHANGES + ' Sync Alert Exec Get Map'
_BODY = _NESTED + ' Put Results Search Status'


def _changing(name: str, cls: type, *more: Part) -> Model:
    return Model(name, cls, (_CMD_ID, _NO_RESP, *more, _CRED, _META, _SOME_ITEMS))


_SYNCML_MODELS = (
    Model(
        'SyncHdr',
        messages.Header,
        (
            Part('VerDTD', 'dtd_version', occurs='1'),
            Part('VerProto', 'version', Kind.PROTOCOL, '1'),
            Part('SessionID', 'session_id', occurs='1'),
            Part('MsgID', 'msg_id', occurs='1'),
            Part('Target', 'target', Kind.MODEL, '1'),
            Part('Source', 'source', Kind.MODEL, '1'),
            Part('RespURI', 'resp_uri'),
            _NO_RESP,
            _CRED,
            _META,
        ),
    ),
    Model('SyncBody', messages.Message, (_commands('*', _BODY), Part('Final', 'final', Kind.FLAG))),
    Model(
        'Target',
        messages.Location,
        (
            Part('LocURI', 'uri', occurs='1'),
            Part('LocName', 'name'),
            Part('Filter', 'filter', Kind.MODEL, vital=True),
        ),
    ),
    Model(
        'Source', messages.Location, (Part('LocURI', 'uri', occurs='1'), Part('LocName', 'name'))
    ),
    Model(
        'Filter',
        messages.Filter,
        (
            _META,
            Part('Field', 'field', Kind.WRAPPED),
            Part('Record', 'record', Kind.WRAPPED),
            Part('FilterType', 'filter_type'),
        ),
    ),
    Model('Cred', messages.Cred, (_META, Part('Data', 'data', Kind.CREDENTIALS, '1'))),
    Model('Chal', messages.Chal, (Part('Meta', 'meta', Kind.MODEL, '1'),)),
    Model(
        'Item',
        messages.Item,
        (
            _TARGET,
            _SOURCE,
            Part('SourceParent', 'source_parent', Kind.URI),
            Part('TargetParent', 'target_parent', Kind.URI),
            _META,
            Part('Data', 'data', Kind.DATA),
            Part('MoreData', 'more_data', Kind.FLAG, vital=True),
        ),
    ),
    _changing('Add', messages.Add),
    _changing('Replace', messages.Replace),
    _changing('Copy', messages.Copy),
    _changing('Move', messages.Move),
    _changing(
        'Delete',
        messages.Delete,
        Part('Archive', 'archive', Kind.FLAG),
        Part('SftDel', 'soft', Kind.FLAG),
    ),
    _changing('Put', messages.Put, _LANG),
    _changing('Get', messages.Get, _LANG),
    Model(
        'Sync',
        messages.Sync,
        (
            _CMD_ID,
            _NO_RESP,
            _CRED,
            _TARGET,
            _SOURCE,
            _META,
            Part('NumberOfChanges', 'number_of_changes', Kind.NUMBER),
            _commands('*', _CHANGES),
        ),
    ),
    Model('Alert', messages.Alert, (_CMD_ID, _NO_RESP, _CRED, _CODE, _CORRELATOR, _ITEMS)),
    Model(
        'Map',
        messages.Map,
        (
            _CMD_ID,
            Part('Target', 'target', Kind.MODEL, '1'),
            Part('Source', 'source', Kind.MODEL, '1'),
            _CRED,
            _META,
            Part('MapItem', 'items', Kind.MODEL, '+'),
        ),
    ),
    Model(
        'MapItem',
        messages.MapItem,
        (
            Part('Target', 'target', Kind.URI, '1'),
            Part('Source', 'source', Kind.URI, '1'),
        ),
    ),
    Model(
        'Results',
        messages.Results,
        (
            _CMD_ID,
            Part('MsgRef', 'msg_ref'),
            Part('CmdRef', 'cmd_ref', occurs='1'),
            _META,
            Part('TargetRef', 'target_ref'),
            Part('SourceRef', 'source_ref'),
            _SOME_ITEMS,
        ),
    ),
    Model(
        'Status',
        messages.Status,
        (
            _CMD_ID,
            Part('MsgRef', 'msg_ref', occurs='1'),
            Part('CmdRef', 'cmd_ref', occurs='1'),
            Part('Cmd', 'cmd', occurs='1'),
            Part('TargetRef', 'target_refs', occurs='*'),
            Part('SourceRef', 'source_refs', occurs='*'),
            _CRED,
            Part('Chal', 'chal', Kind.MODEL),
            Part('Data', 'code', Kind.CODE, '1'),
            _ITEMS,
        ),
    ),
    Model('Atomic', messages.Atomic, (_CMD_ID, _NO_RESP, _META, _commands('+', _NESTED))),
    Model('Sequence', messages.Sequence, (_CMD_ID, _NO_RESP, _META, _commands('+', _NESTED))),
    Model('Exec', messages.Exec, (_CMD_ID, _NO_RESP, _CRED, _META, _CORRELATOR, _SOME_ITEMS)),
    Model(
        'Search',
        messages.Search,
        (
            _CMD_ID,
            _NO_RESP,
            Part('NoResults', 'no_results', Kind.FLAG),
            _CRED,
            _TARGET,
            Part('Source', 'sources', Kind.MODEL, '+'),
            _LANG,
            _META,
            Part('Data', 'data', occurs='1'),
        ),
    ),
)

_METINF_MODELS = (
    Model(
        'Meta',
        messages.Meta,
        (
            Part('FieldLevel', 'field_level', Kind.FLAG),
            Part('Format', 'format'),
            Part('Type', 'type'),
            Part('Mark', 'mark'),
            Part('Size', 'size', Kind.NUMBER),
            Part('Anchor', 'anchor', Kind.MODEL),
            Part('Version', 'version'),
            Part('NextNonce', 'next_nonce', Kind.NONCE),
            Part('MaxMsgSize', 'max_msg_size', Kind.NUMBER),
            Part('MaxObjSize', 'max_obj_size', Kind.NUMBER),
            Part('EMI', 'emi', occurs='*'),
            Part('Mem', 'mem', Kind.MODEL),
        ),
    ),
    Model('Anchor', messages.Anchor, (Part('Last', 'last'), Part('Next', 'next', occurs='1'))),
    Model(
        'Mem',
        messages.Mem,
        (
            Part('SharedMem', 'shared', Kind.FLAG),
            Part('FreeMem', 'free_mem', Kind.NUMBER, '1'),
            Part('FreeID', 'free_id', Kind.NUMBER, '1'),
        ),
    ),
)

# A few shapes differ between the document and the classes (a Chal is a Meta, content types come
# in four elements, ...): their fields here are those of the dicts that pysyncml.codec.shapes
# turns into the class and back.

_CTYPE = (Part('CTType', 'ctype', occurs='1'), Part('VerCT', 'version', occurs='1'))
_PARAM = (
    Part('DataType', 'data_type'),
    Part('ValEnum', 'values', occurs='*'),
    Part('DisplayName', 'display_name'),
)


def _devinf(name: str, cls: type, *parts: Part) -> Model:
    return Model(name, cls, parts, Page.DEVINF)


_DEVINF_MODELS = (
    _devinf(
        'DevInf',
        devinf.DevInf,
        Part('VerDTD', 'version', occurs='1'),
        Part('Man', 'manufacturer'),
        Part('Mod', 'model'),
        Part('OEM', 'oem'),
        Part('FwV', 'firmware'),
        Part('SwV', 'software'),
        Part('HwV', 'hardware'),
        Part('DevID', 'dev_id', occurs='1'),
        Part('DevTyp', 'dev_type', occurs='1'),
        Part('UTC', 'utc', Kind.FLAG),
        Part('SupportLargeObjs', 'large_objects', Kind.FLAG),
        Part('SupportNumberOfChanges', 'number_of_changes', Kind.FLAG),
        Part('DataStore', 'stores', Kind.MODEL, '+'),
        Part('CTCap', 'capabilities', Kind.FLAT_CTCAP, '*', until='1.1'),
        Part('Ext', 'extensions', Kind.MODEL, '*'),
    ),
    _devinf(
        'DataStore',
        devinf.DataStoreInfo,
        Part('SourceRef', 'uri', occurs='1'),
        Part('DisplayName', 'display_name'),
        Part('MaxGUIDSize', 'max_guid_size', Kind.NUMBER),
        Part('MaxObjSize', 'max_obj_size', Kind.NUMBER, until=''),  # private: read, never written
        Part('Rx-Pref', 'rx_pref', Kind.MODEL, '1'),
        Part('Rx', 'rx', Kind.MODEL, '*'),
        Part('Tx-Pref', 'tx_pref', Kind.MODEL, '1'),
        Part('Tx', 'tx', Kind.MODEL, '*'),
        Part('CTCap', 'capabilities', Kind.CTCAP, '*', since='1.2'),
        Part('DSMem', 'memory', Kind.MODEL),
        Part('SupportHierarchicalSync', 'hierarchical_sync', Kind.FLAG),
        Part('SyncCap', 'sync_cap', Kind.MODEL, '1'),
        Part('Filter-Rx', 'filter_types', Kind.MODEL, '*'),
        Part('FilterCap', 'filters', Kind.MODEL, '*'),
    ),
    *(_devinf(name, dict, *_CTYPE) for name in ('Rx-Pref', 'Rx', 'Tx-Pref', 'Tx', 'Filter-Rx')),
    _devinf(
        'DSMem',
        dict,
        Part('SharedMem', 'shared_mem', Kind.FLAG),
        Part('MaxMem', 'max_mem', Kind.NUMBER),
        Part('MaxID', 'max_id', Kind.NUMBER),
    ),
    _devinf('SyncCap', dict, Part('SyncType', 'sync_types', Kind.NUMBER, '+')),
    _devinf(
        'FilterCap',
        devinf.FilterCapability,
        *_CTYPE,
        Part('FilterKeyword', 'keywords', occurs='*'),
        Part('PropName', 'properties', occurs='*'),
    ),
    _devinf('Ext', dict, Part('XNam', 'name', occurs='1'), Part('XVal', 'values', occurs='*')),
    _devinf(
        'CTCap',
        devinf.Capability,
        *_CTYPE,
        Part('FieldLevel', 'field_level', Kind.FLAG),
        Part('Property', 'properties', Kind.MODEL, '+'),
    ),
    _devinf(
        'Property',
        devinf.Property,
        Part('PropName', 'name', occurs='1'),
        Part('DataType', 'data_type'),
        Part('MaxOccur', 'max_occur', Kind.NUMBER),
        Part('MaxSize', 'max_size', Kind.NUMBER),
        Part('NoTruncate', 'no_truncate', Kind.FLAG),
        *_PARAM[1:],
        Part('PropParam', 'params', Kind.MODEL, '*'),
    ),
    _devinf('PropParam', devinf.Property, Part('ParamName', 'name', occurs='1'), *_PARAM),
)

#: The content models by name of element.
MODELS: dict[str, Model] = {
    model.name: model for model in (*_SYNCML_MODELS, *_METINF_MODELS, *_DEVINF_MODELS)
}

#: The elements that may stand in a Meta.
META_PARTS = frozenset(part.name for part in MODELS['Meta'].parts)

#: The elements that may stand in the Data of an item; other markup there is the item's own.
DATA_PARTS = frozenset(('Anchor', 'DevInf', 'MetInf'))
