"""The documented names are there, and no new camelCase name joins them.

The spelling of the documented surface is frozen (``docs/naming.rst``): programs call these names
and override them. Everything newer is snake_case.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / 'pysyncml'


def prefixed(prefix: str, names: str) -> list[str]:
    """Return each of *names* with *prefix* before it."""
    return [prefix + name for name in names.split()]


CLASSES = """
    Agent BaseNoteAgent BaseFileAgent Item Ext NoteItem FileItem FolderItem
    Context ContentTypeInfo Stats adict
    Codec Session Request Response Command IndentStream
""".split()

MERGING = """
    ChangeTracker AttributeChangeTracker ListChangeTracker
    MergerFactory AttributeMergerFactory TextMergerFactory CompositeMergerFactory
    Merger AttributeMerger TextMerger CompositeMerger
""".split()

ERRORS = """
    SyncmlError ProtocolError InternalError ConflictError FeatureNotSupported LogicalError
    InvalidContext InvalidAdapter InvalidStore InvalidContentType InvalidAgent InvalidContent
    InvalidItem UnknownCodec NoSuchRoute UnknownAuthType UnknownFormatType InvalidChangeSpec
""".split()

FUNCTIONS = """
    describeStats state2string mode2string auth2string synctype2alert alert2synctype
    synctype2alert_lut SyncTypeToAlert num2str newID version versionString
""".split()

HELPERS = """
    ts ts_iso parse_ts_iso fullClassname getAddressSize getMaxMemorySize
    enableSqliteCascadingDeletes
""".split()

CONSTANTS = [
    *prefixed('SYNCML_VERSION_', '1_0 1_1 1_2'),
    *prefixed('SYNCML_DTD_VERSION_', '1_0 1_1 1_2'),
    *prefixed(
        'ALERT_',
        'DISPLAY TWO_WAY SLOW_SYNC ONE_WAY_FROM_CLIENT REFRESH_FROM_CLIENT ONE_WAY_FROM_SERVER '
        'REFRESH_FROM_SERVER TWO_WAY_BY_SERVER ONE_WAY_FROM_CLIENT_BY_SERVER '
        'REFRESH_FROM_CLIENT_BY_SERVER ONE_WAY_FROM_SERVER_BY_SERVER '
        'REFRESH_FROM_SERVER_BY_SERVER',
    ),
    *prefixed(
        'SYNCTYPE_',
        'AUTO TWO_WAY SLOW_SYNC ONE_WAY_FROM_CLIENT REFRESH_FROM_CLIENT ONE_WAY_FROM_SERVER '
        'REFRESH_FROM_SERVER SERVER_ALERTED',
    ),
    *prefixed('POLICY_', 'ERROR CLIENT_WINS SERVER_WINS'),
    *prefixed('ITEM_', 'OK ADDED MODIFIED DELETED SOFTDELETED'),
    *prefixed('NAMESPACE_', 'SYNCML METINF DEVINF AUTH_BASIC AUTH_MD5 FILTER_CGI'),
    *prefixed(
        'TYPE_',
        'TEXT_PLAIN VCARD_V21 VCARD_V30 VCALENDAR ICALENDAR MESSAGE SYNCML SYNCML_DEVICE_INFO '
        'SYNCML_ICALENDAR SYNCML_EMAIL SYNCML_BOOKMARK SYNCML_RELATIONAL_OBJECT OMADS_FOLDER '
        'OMADS_FILE OMADS_EMAIL SQL LDAP EMAIL EMAIL_822 SIF_CONTACT SIF_NOTE SIF_TASK',
    ),
    *prefixed('URI_DEVINFO_', '1_0 1_1 1_2'),
    *prefixed('CODEC_', 'XML WBXML'),
    *prefixed('FORMAT_', 'B64 AUTO'),
    *prefixed('NODE_', 'SYNCML SYNCBODY'),
    *prefixed(
        'CMD_',
        'SYNCHDR SYNC ALERT STATUS GET PUT ADD REPLACE DELETE RESULTS ATOMIC COPY EXEC MAP MAPITEM '
        'SEARCH SEQUENCE FINAL',
    ),
    *prefixed('DEVTYPE_', 'HANDHELD PAGER PDA PHONE SERVER SMARTPHONE WORKSTATION'),
    *prefixed(
        'STATUS_',
        'INVALID_CODE IN_PROGRESS OK ITEM_ADDED ACCEPTED_FOR_PROCESSING NONAUTHORIATATIVE_RESPONSE '
        'NO_CONTENT RESET_CONTENT PARTIAL_CONTENT CONFLICT_RESOLVED_MERGE '
        'CONFLICT_RESOLVED_CLIENT_DATA CONFLICT_RESOLVED_DUPLICATE DELETE_WITHOUT_ARCHIVE '
        'ITEM_NOT_DELETED AUTHENTICATION_ACCEPTED CHUNKED_ITEM_ACCEPTED OPERATION_CANCELLED_OK '
        'NOT_EXECUTED ATOMIC_ROLLBACK_OK RESULT_ALERT NEXT_MESSAGE NO_END_OF_DATA SUSPEND RESUME '
        'DATA_MANAGEMENT MULTIPLE_CHOICES MOVED_PERMANENTLY FOUND SEE_ANOTHER_URI NOT_MODIFIED '
        'USE_PROXY BAD_REQUEST INVALID_CREDENTIALS PAYMENT_REQUIRED FORBIDDEN NOT_FOUND '
        'COMMAND_NOT_ALLOWED OPTIONAL_FEATURE_NOT_SUPPORTED MISSING_CREDENTIALS REQUEST_TIMEOUT '
        'UPDATE_CONFLICT GONE SIZE_REQUIRED INCOMPLETE_COMMAND REQUESTED_ENTITY_TOO_LARGE '
        'URI_TOO_LONG UNSUPPORTED_MEDIA_TYPE REQUESTED_SIZE_TOO_BIG RETRY_LATER ALREADY_EXISTS '
        'CONFLICT_RESOLVED_SERVER_DATA DEVICE_FULL UNKNOWN_SEARCH_GRAMMAR BAD_CGI_SCRIPT '
        'SOFT_DELETE_CONFLICT OBJECT_SIZE_MISMATCH PERMISSION_DENIED COMMAND_FAILED '
        'NOT_IMPLEMENTED BAD_GATEWAY SERVICE_UNAVAILABLE GATEWAY_TIMEOUT VERSION_NOT_SUPPORTED '
        'PROCESSING_ERROR ATOMIC_FAILED REFRESH_REQUIRED RECIPIENT_EXCEPTION_RESERVED1 '
        'DATASTORE_FAILURE SERVER_FAILURE SYNCHRONIZATION_FAILED PROTOCOL_VERSION_NOT_SUPPORTED '
        'OPERATION_CANCELLED ATOMIC_ROLLBACK_FAILED ATOMIC_RESPONSE_TOO_LARGE_TO_FIT',
    ),
]

CLI = """
    CommandLineSyncEngine DirectorySyncEngine LocalUserSyncEngine hook makeModel LogFormatter log
""".split()

# What programs call on, or override in, these classes.
MEMBERS = {
    'pysyncml.Agent': """
        dumpItem loadItem dumpsItem loadsItem getAllItems addItem getItem replaceItem deleteItem
        deleteAllItems matchItem mergeItems
    """,
    'pysyncml.Item': 'dump dumps load loads',
    'pysyncml.Ext': 'addExtension',
    'pysyncml.FileItem': 'fromFilesystem',
    'pysyncml.FolderItem': 'fromFilesystem',
    'pysyncml.Context': 'Adapter RemoteAdapter Store DeviceInfo ContentTypeInfo save',
    'pysyncml.MergerFactory': 'newMerger',
    'pysyncml.Merger': 'pushChange pushChangeSpec getChangeSpec mergeChanges',
    'pysyncml.AttributeChangeTracker': """
        append pushChangeSpec isChange update getChangeSpec getFullChangeSpec
    """,
    'pysyncml.cli.CommandLineSyncEngine': 'addHook getHooks configure run describe',
}

# Functions, methods and properties that may have a capital letter in their name.
CAMEL_CASE = set(
    """
    addHook getHooks makeModel appLabel appDisplay appModelVersion dataDir rootDir syncSubdir
    serverConf

    Adapter RemoteAdapter Store DeviceInfo ContentTypeInfo Binding Change Mapping
    getAuthInfo getTargetID
    devID isServer isLocal maxGuidSize maxMsgSize maxObjSize conflictPolicy lastSessionID
    addStore getKnownPeers cleanUri handleRequest pendingChanges
    displayName syncTypes contentTypes
    registerChange registerChanges clearChanges getRegisteredChanges getPeerStore itemCount
    toSyncML fromSyncML nextMsgID nextCmdID
    autoDecode

    getAllItems addItem getItem replaceItem deleteItem dumpItem loadItem dumpsItem loadsItem
    deleteAllItems matchItem mergeItems hierarchicalSync
    allItemIDs conflictItem describeItem modifiedTime discardItem
    addExtension fromFilesystem contentType

    newMerger pushChange pushChangeSpec getChangeSpec getFullChangeSpec isChange mergeChanges
    changeType initialValue

    isSameItem prefetchItems newChangeSpec currentWork inWork setAccounts lastSync sourceAnchor
    targetAnchor knownCount settleItems
    archiveItem softDeleteItem moveItem parentItem filterProperties completeItem filterType
    matchItems checksumItem
    dropSessions tellEnd addHooks keepsHistory makeContext makeTransport makeAdapter deviceName

    describeStats newID fullClassname getAddressSize getMaxMemorySize
    enableSqliteCascadingDeletes isMd5Equal

    formatException formatStack formatTime
    """.split()
)


@pytest.mark.parametrize(
    ('module', 'names'),
    [
        ('pysyncml', CLASSES),
        ('pysyncml', MERGING),
        ('pysyncml', ERRORS),
        ('pysyncml', FUNCTIONS),
        ('pysyncml', HELPERS),
        ('pysyncml', CONSTANTS),
        ('pysyncml.cli', CLI),
    ],
    ids=['classes', 'merging', 'errors', 'functions', 'helpers', 'constants', 'cli'],
)
def test_documented_names_are_there(module, names):
    face = importlib.import_module(module)
    missing = [name for name in names if not hasattr(face, name)]
    assert not missing


@pytest.mark.parametrize('dotted', MEMBERS)
def test_documented_members_are_there(dotted):
    module, _, name = dotted.rpartition('.')
    owner = getattr(importlib.import_module(module), name)
    missing = [member for member in MEMBERS[dotted].split() if not hasattr(owner, member)]
    assert not missing


@pytest.mark.parametrize('module', ['pysyncml', 'pysyncml.cli'])
def test_everything_announced_can_be_imported(module):
    face = importlib.import_module(module)
    assert len(set(face.__all__)) == len(face.__all__)
    missing = [name for name in face.__all__ if not hasattr(face, name)]
    assert not missing
    assert set(face.__all__) <= set(dir(face))


def test_no_new_camel_case():
    new = [
        f'{path.relative_to(PACKAGE.parent)}:{node.lineno} {node.name}'
        for path in sorted(PACKAGE.rglob('*.py'))
        for node in ast.walk(ast.parse(path.read_text('utf-8')))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith('_')
        and node.name != node.name.lower()
        and node.name not in CAMEL_CASE
    ]
    assert not new, 'new names are snake_case (docs/naming.rst): ' + ', '.join(new)
