"""The numbers and words of SyncML, as enums; and the flat names programs have always used.

``StatusCode.OK`` and ``STATUS_OK`` are the same number, and so on for alerts, sync types, item
states and policies. New code should use the enums; the flat names are part of the documented
surface and stay.

Sources: OMA-DS-DataSyncRep 1.2 (status codes), OMA-DS-Protocol 1.2 (alert codes),
OMA-DS-DevInf 1.2 (sync types, device types).
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import NamedTuple


class StatusCode(IntEnum):
    """Response status codes (OMA-DS-DataSyncRep 1.2, response status codes)."""

    INVALID_CODE = 0
    IN_PROGRESS = 101
    OK = 200
    ITEM_ADDED = 201
    ACCEPTED_FOR_PROCESSING = 202
    NONAUTHORIATATIVE_RESPONSE = 203
    NO_CONTENT = 204
    RESET_CONTENT = 205
    PARTIAL_CONTENT = 206
    CONFLICT_RESOLVED_MERGE = 207
    CONFLICT_RESOLVED_CLIENT_DATA = 208
    CONFLICT_RESOLVED_DUPLICATE = 209
    DELETE_WITHOUT_ARCHIVE = 210
    ITEM_NOT_DELETED = 211
    AUTHENTICATION_ACCEPTED = 212
    CHUNKED_ITEM_ACCEPTED = 213
    OPERATION_CANCELLED_OK = 214
    NOT_EXECUTED = 215
    ATOMIC_ROLLBACK_OK = 216
    RESULT_ALERT = 221
    NEXT_MESSAGE = 222
    NO_END_OF_DATA = 223
    SUSPEND = 224
    RESUME = 225
    DATA_MANAGEMENT = 226
    MULTIPLE_CHOICES = 300
    MOVED_PERMANENTLY = 301
    FOUND = 302
    SEE_ANOTHER_URI = 303
    NOT_MODIFIED = 304
    USE_PROXY = 305
    BAD_REQUEST = 400
    INVALID_CREDENTIALS = 401
    PAYMENT_REQUIRED = 402
    FORBIDDEN = 403
    NOT_FOUND = 404
    COMMAND_NOT_ALLOWED = 405
    OPTIONAL_FEATURE_NOT_SUPPORTED = 406
    MISSING_CREDENTIALS = 407
    REQUEST_TIMEOUT = 408
    UPDATE_CONFLICT = 409
    GONE = 410
    SIZE_REQUIRED = 411
    INCOMPLETE_COMMAND = 412
    REQUESTED_ENTITY_TOO_LARGE = 413
    URI_TOO_LONG = 414
    UNSUPPORTED_MEDIA_TYPE = 415
    REQUESTED_SIZE_TOO_BIG = 416
    RETRY_LATER = 417
    ALREADY_EXISTS = 418
    CONFLICT_RESOLVED_SERVER_DATA = 419
    DEVICE_FULL = 420
    UNKNOWN_SEARCH_GRAMMAR = 421
    BAD_CGI_SCRIPT = 422
    SOFT_DELETE_CONFLICT = 423
    OBJECT_SIZE_MISMATCH = 424
    PERMISSION_DENIED = 425
    PARTIAL_ITEM_NOT_ACCEPTED = 426
    ITEM_NOT_EMPTY = 427
    MOVE_FAILED = 428
    COMMAND_FAILED = 500
    NOT_IMPLEMENTED = 501
    BAD_GATEWAY = 502
    SERVICE_UNAVAILABLE = 503
    GATEWAY_TIMEOUT = 504
    VERSION_NOT_SUPPORTED = 505
    PROCESSING_ERROR = 506
    ATOMIC_FAILED = 507
    REFRESH_REQUIRED = 508
    RECIPIENT_EXCEPTION_RESERVED1 = 509
    DATASTORE_FAILURE = 510
    SERVER_FAILURE = 511
    SYNCHRONIZATION_FAILED = 512
    PROTOCOL_VERSION_NOT_SUPPORTED = 513
    OPERATION_CANCELLED = 514
    ATOMIC_ROLLBACK_FAILED = 516
    ATOMIC_RESPONSE_TOO_LARGE_TO_FIT = 517

    @property
    def ok(self) -> bool:
        """Whether the code says that the command was carried out (2xx)."""
        return 200 <= self < 300


class AlertCode(IntEnum):
    """Alert codes (OMA-DS-Protocol 1.2, alert codes)."""

    DISPLAY = 100
    TWO_WAY = 200
    SLOW_SYNC = 201
    ONE_WAY_FROM_CLIENT = 202
    REFRESH_FROM_CLIENT = 203
    ONE_WAY_FROM_SERVER = 204
    REFRESH_FROM_SERVER = 205
    TWO_WAY_BY_SERVER = 206
    ONE_WAY_FROM_CLIENT_BY_SERVER = 207
    REFRESH_FROM_CLIENT_BY_SERVER = 208
    ONE_WAY_FROM_SERVER_BY_SERVER = 209
    REFRESH_FROM_SERVER_BY_SERVER = 210
    RESULT = 221
    NEXT_MESSAGE = 222
    NO_END_OF_DATA = 223
    SUSPEND = 224
    RESUME = 225


class _Meaning(NamedTuple):
    alert: int
    client_sends: bool
    server_sends: bool
    slow: bool
    wipes: bool


class SyncType(IntEnum):
    """The kinds of synchronisation, with what each of them means.

    The number is the SyncType of device information (OMA-DS-DevInf 1.2, SyncType);
    ``alert`` the Alert code that asks for it, ``client_sends`` and ``server_sends`` the
    directions in which items travel, ``slow`` whether all items do, ``wipes`` whether the
    receiver throws away what it did not receive.
    """

    TWO_WAY = 1
    SLOW_SYNC = 2
    ONE_WAY_FROM_CLIENT = 3
    REFRESH_FROM_CLIENT = 4
    ONE_WAY_FROM_SERVER = 5
    REFRESH_FROM_SERVER = 6
    SERVER_ALERTED = 7

    @property
    def alert(self) -> int:
        """The Alert code that asks for this kind."""
        return _MEANINGS[self].alert

    @property
    def client_sends(self) -> bool:
        """Whether the client's items travel."""
        return _MEANINGS[self].client_sends

    @property
    def server_sends(self) -> bool:
        """Whether the server's items travel."""
        return _MEANINGS[self].server_sends

    @property
    def slow(self) -> bool:
        """Whether all items travel, not only what has changed."""
        return _MEANINGS[self].slow

    @property
    def wipes(self) -> bool:
        """Whether the receiver throws away what it did not receive."""
        return _MEANINGS[self].wipes

    @classmethod
    def of_alert(cls, code: int) -> SyncType | None:
        """Return the type an Alert *code* asks for; ``None`` if it is no sync Alert."""
        return next((t for t in cls if t.alert == code), None)


_MEANINGS: dict[int, _Meaning] = {
    SyncType.TWO_WAY: _Meaning(200, True, True, False, False),
    SyncType.SLOW_SYNC: _Meaning(201, True, True, True, False),
    SyncType.ONE_WAY_FROM_CLIENT: _Meaning(202, True, False, False, False),
    SyncType.REFRESH_FROM_CLIENT: _Meaning(203, True, False, True, True),
    SyncType.ONE_WAY_FROM_SERVER: _Meaning(204, False, True, False, False),
    SyncType.REFRESH_FROM_SERVER: _Meaning(205, False, True, True, True),
    SyncType.SERVER_ALERTED: _Meaning(206, True, True, False, False),
}


class ItemState(IntEnum):
    """What has happened to an item since a peer last looked."""

    OK = 0
    ADDED = 1
    MODIFIED = 2
    DELETED = 3
    SOFTDELETED = 4


class Policy(IntEnum):
    """Who wins when both sides changed the same item and the changes do not merge."""

    ERROR = 1
    CLIENT_WINS = 2
    SERVER_WINS = 3
    KEEP_BOTH = 4
    NEWEST_WINS = 5


class Role(str, Enum):
    """Which side of the conversation somebody is on."""

    CLIENT = 'client'
    SERVER = 'server'

    @property
    def other(self) -> Role:
        """The opposite role."""
        return Role.SERVER if self is Role.CLIENT else Role.CLIENT


class ExitCode(IntEnum):
    """What a command line program ends with (documented in ``docs/cli.rst``)."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFLICTS = 3
    ITEMS_FAILED = 4
    REFUSED = 5
    NETWORK = 6
    AUTHENTICATION = 7
    PROTOCOL = 8
    LOCKED = 9
    DIFFERENT = 10
    INTERRUPTED = 130


# --- flat names: protocol versions and namespaces -----------------------------------------------

SYNCML_VERSION_1_0 = 'SyncML/1.0'
SYNCML_VERSION_1_1 = 'SyncML/1.1'
SYNCML_VERSION_1_2 = 'SyncML/1.2'
SYNCML_DTD_VERSION_1_0 = '1.0'
SYNCML_DTD_VERSION_1_1 = '1.1'
SYNCML_DTD_VERSION_1_2 = '1.2'

NAMESPACE_SYNCML = 'syncml:syncml1.2'
NAMESPACE_METINF = 'syncml:metinf'
NAMESPACE_DEVINF = 'syncml:devinf'
NAMESPACE_AUTH_BASIC = 'syncml:auth-basic'
NAMESPACE_AUTH_MD5 = 'syncml:auth-md5'
NAMESPACE_AUTH_MAC = 'syncml:auth-MAC'
NAMESPACE_FILTER_CGI = 'syncml:filtertype-cgi'

URI_DEVINFO_1_0 = 'devinf10'
URI_DEVINFO_1_1 = 'devinf11'
URI_DEVINFO_1_2 = 'devinf12'

CODEC_XML = 'xml'
CODEC_WBXML = 'wbxml'

FORMAT_B64 = 'b64'
FORMAT_AUTO = 'auto'

NODE_SYNCML = 'SyncML'
NODE_SYNCBODY = 'SyncBody'

# --- flat names: content types ------------------------------------------------------------------

TYPE_TEXT_PLAIN = 'text/plain'
TYPE_VCARD_V21 = 'text/x-vcard'
TYPE_VCARD_V30 = 'text/vcard'
TYPE_VCALENDAR = 'text/x-vcalendar'
TYPE_ICALENDAR = 'text/calendar'
TYPE_MESSAGE = 'text/message'
TYPE_SYNCML = 'application/vnd.syncml'
TYPE_SYNCML_DEVICE_INFO = 'application/vnd.syncml-devinf'
TYPE_SYNCML_ICALENDAR = 'application/vnd.syncml-xcal'
TYPE_SYNCML_EMAIL = 'application/vnd.syncml-xmsg'
TYPE_SYNCML_BOOKMARK = 'application/vnd.syncml-xbookmark'
TYPE_SYNCML_RELATIONAL_OBJECT = 'application/vnd.syncml-xrelational'
TYPE_OMADS_FOLDER = 'application/vnd.omads-folder'
TYPE_OMADS_FILE = 'application/vnd.omads-file'
TYPE_OMADS_EMAIL = 'application/vnd.omads-email'
TYPE_SQL = 'application/sql'
TYPE_LDAP = 'text/directory'
TYPE_EMAIL = 'message/rfc2822'
TYPE_EMAIL_822 = 'message/rfc822'
TYPE_SIF_CONTACT = 'text/x-s4j-sifc'
TYPE_SIF_NOTE = 'text/x-s4j-sifn'
TYPE_BARE_NOTE = 'application/x-pysyncml-note'
TYPE_SIF_TASK = 'text/x-s4j-sift'

# --- flat names: commands and devices -----------------------------------------------------------

CMD_SYNCHDR = 'SyncHdr'
CMD_SYNC = 'Sync'
CMD_ALERT = 'Alert'
CMD_STATUS = 'Status'
CMD_GET = 'Get'
CMD_PUT = 'Put'
CMD_ADD = 'Add'
CMD_REPLACE = 'Replace'
CMD_DELETE = 'Delete'
CMD_RESULTS = 'Results'
CMD_ATOMIC = 'Atomic'
CMD_COPY = 'Copy'
CMD_EXEC = 'Exec'
CMD_MAP = 'Map'
CMD_MAPITEM = 'MapItem'
CMD_SEARCH = 'Search'
CMD_SEQUENCE = 'Sequence'
CMD_FINAL = 'Final'

DEVTYPE_HANDHELD = 'handheld'
DEVTYPE_PAGER = 'pager'
DEVTYPE_PDA = 'pda'
DEVTYPE_PHONE = 'phone'
DEVTYPE_SERVER = 'server'
DEVTYPE_SMARTPHONE = 'smartphone'
DEVTYPE_WORKSTATION = 'workstation'

# --- flat names: numbers ------------------------------------------------------------------------

ALERT_DISPLAY = AlertCode.DISPLAY
ALERT_TWO_WAY = AlertCode.TWO_WAY
ALERT_SLOW_SYNC = AlertCode.SLOW_SYNC
ALERT_ONE_WAY_FROM_CLIENT = AlertCode.ONE_WAY_FROM_CLIENT
ALERT_REFRESH_FROM_CLIENT = AlertCode.REFRESH_FROM_CLIENT
ALERT_ONE_WAY_FROM_SERVER = AlertCode.ONE_WAY_FROM_SERVER
ALERT_REFRESH_FROM_SERVER = AlertCode.REFRESH_FROM_SERVER
ALERT_TWO_WAY_BY_SERVER = AlertCode.TWO_WAY_BY_SERVER
ALERT_ONE_WAY_FROM_CLIENT_BY_SERVER = AlertCode.ONE_WAY_FROM_CLIENT_BY_SERVER
ALERT_REFRESH_FROM_CLIENT_BY_SERVER = AlertCode.REFRESH_FROM_CLIENT_BY_SERVER
ALERT_ONE_WAY_FROM_SERVER_BY_SERVER = AlertCode.ONE_WAY_FROM_SERVER_BY_SERVER
ALERT_REFRESH_FROM_SERVER_BY_SERVER = AlertCode.REFRESH_FROM_SERVER_BY_SERVER

SYNCTYPE_AUTO = None
SYNCTYPE_TWO_WAY = SyncType.TWO_WAY
SYNCTYPE_SLOW_SYNC = SyncType.SLOW_SYNC
SYNCTYPE_ONE_WAY_FROM_CLIENT = SyncType.ONE_WAY_FROM_CLIENT
SYNCTYPE_REFRESH_FROM_CLIENT = SyncType.REFRESH_FROM_CLIENT
SYNCTYPE_ONE_WAY_FROM_SERVER = SyncType.ONE_WAY_FROM_SERVER
SYNCTYPE_REFRESH_FROM_SERVER = SyncType.REFRESH_FROM_SERVER
SYNCTYPE_SERVER_ALERTED = SyncType.SERVER_ALERTED

POLICY_ERROR = Policy.ERROR
POLICY_CLIENT_WINS = Policy.CLIENT_WINS
POLICY_SERVER_WINS = Policy.SERVER_WINS
POLICY_KEEP_BOTH = Policy.KEEP_BOTH
POLICY_NEWEST_WINS = Policy.NEWEST_WINS

ITEM_OK = ItemState.OK
ITEM_ADDED = ItemState.ADDED
ITEM_MODIFIED = ItemState.MODIFIED
ITEM_DELETED = ItemState.DELETED
ITEM_SOFTDELETED = ItemState.SOFTDELETED

STATUS_INVALID_CODE = StatusCode.INVALID_CODE
STATUS_IN_PROGRESS = StatusCode.IN_PROGRESS
STATUS_OK = StatusCode.OK
STATUS_ITEM_ADDED = StatusCode.ITEM_ADDED
STATUS_ACCEPTED_FOR_PROCESSING = StatusCode.ACCEPTED_FOR_PROCESSING
STATUS_NONAUTHORIATATIVE_RESPONSE = StatusCode.NONAUTHORIATATIVE_RESPONSE
STATUS_NO_CONTENT = StatusCode.NO_CONTENT
STATUS_RESET_CONTENT = StatusCode.RESET_CONTENT
STATUS_PARTIAL_CONTENT = StatusCode.PARTIAL_CONTENT
STATUS_CONFLICT_RESOLVED_MERGE = StatusCode.CONFLICT_RESOLVED_MERGE
STATUS_CONFLICT_RESOLVED_CLIENT_DATA = StatusCode.CONFLICT_RESOLVED_CLIENT_DATA
STATUS_CONFLICT_RESOLVED_DUPLICATE = StatusCode.CONFLICT_RESOLVED_DUPLICATE
STATUS_DELETE_WITHOUT_ARCHIVE = StatusCode.DELETE_WITHOUT_ARCHIVE
STATUS_ITEM_NOT_DELETED = StatusCode.ITEM_NOT_DELETED
STATUS_AUTHENTICATION_ACCEPTED = StatusCode.AUTHENTICATION_ACCEPTED
STATUS_CHUNKED_ITEM_ACCEPTED = StatusCode.CHUNKED_ITEM_ACCEPTED
STATUS_OPERATION_CANCELLED_OK = StatusCode.OPERATION_CANCELLED_OK
STATUS_NOT_EXECUTED = StatusCode.NOT_EXECUTED
STATUS_ATOMIC_ROLLBACK_OK = StatusCode.ATOMIC_ROLLBACK_OK
STATUS_RESULT_ALERT = StatusCode.RESULT_ALERT
STATUS_NEXT_MESSAGE = StatusCode.NEXT_MESSAGE
STATUS_NO_END_OF_DATA = StatusCode.NO_END_OF_DATA
STATUS_SUSPEND = StatusCode.SUSPEND
STATUS_RESUME = StatusCode.RESUME
STATUS_DATA_MANAGEMENT = StatusCode.DATA_MANAGEMENT
STATUS_MULTIPLE_CHOICES = StatusCode.MULTIPLE_CHOICES
STATUS_MOVED_PERMANENTLY = StatusCode.MOVED_PERMANENTLY
STATUS_FOUND = StatusCode.FOUND
STATUS_SEE_ANOTHER_URI = StatusCode.SEE_ANOTHER_URI
STATUS_NOT_MODIFIED = StatusCode.NOT_MODIFIED
STATUS_USE_PROXY = StatusCode.USE_PROXY
STATUS_BAD_REQUEST = StatusCode.BAD_REQUEST
STATUS_INVALID_CREDENTIALS = StatusCode.INVALID_CREDENTIALS
STATUS_PAYMENT_REQUIRED = StatusCode.PAYMENT_REQUIRED
STATUS_FORBIDDEN = StatusCode.FORBIDDEN
STATUS_NOT_FOUND = StatusCode.NOT_FOUND
STATUS_COMMAND_NOT_ALLOWED = StatusCode.COMMAND_NOT_ALLOWED
STATUS_OPTIONAL_FEATURE_NOT_SUPPORTED = StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED
STATUS_MISSING_CREDENTIALS = StatusCode.MISSING_CREDENTIALS
STATUS_REQUEST_TIMEOUT = StatusCode.REQUEST_TIMEOUT
STATUS_UPDATE_CONFLICT = StatusCode.UPDATE_CONFLICT
STATUS_GONE = StatusCode.GONE
STATUS_SIZE_REQUIRED = StatusCode.SIZE_REQUIRED
STATUS_INCOMPLETE_COMMAND = StatusCode.INCOMPLETE_COMMAND
STATUS_REQUESTED_ENTITY_TOO_LARGE = StatusCode.REQUESTED_ENTITY_TOO_LARGE
STATUS_URI_TOO_LONG = StatusCode.URI_TOO_LONG
STATUS_UNSUPPORTED_MEDIA_TYPE = StatusCode.UNSUPPORTED_MEDIA_TYPE
STATUS_REQUESTED_SIZE_TOO_BIG = StatusCode.REQUESTED_SIZE_TOO_BIG
STATUS_RETRY_LATER = StatusCode.RETRY_LATER
STATUS_ALREADY_EXISTS = StatusCode.ALREADY_EXISTS
STATUS_CONFLICT_RESOLVED_SERVER_DATA = StatusCode.CONFLICT_RESOLVED_SERVER_DATA
STATUS_DEVICE_FULL = StatusCode.DEVICE_FULL
STATUS_UNKNOWN_SEARCH_GRAMMAR = StatusCode.UNKNOWN_SEARCH_GRAMMAR
STATUS_BAD_CGI_SCRIPT = StatusCode.BAD_CGI_SCRIPT
STATUS_SOFT_DELETE_CONFLICT = StatusCode.SOFT_DELETE_CONFLICT
STATUS_OBJECT_SIZE_MISMATCH = StatusCode.OBJECT_SIZE_MISMATCH
STATUS_PERMISSION_DENIED = StatusCode.PERMISSION_DENIED
STATUS_COMMAND_FAILED = StatusCode.COMMAND_FAILED
STATUS_NOT_IMPLEMENTED = StatusCode.NOT_IMPLEMENTED
STATUS_BAD_GATEWAY = StatusCode.BAD_GATEWAY
STATUS_SERVICE_UNAVAILABLE = StatusCode.SERVICE_UNAVAILABLE
STATUS_GATEWAY_TIMEOUT = StatusCode.GATEWAY_TIMEOUT
STATUS_VERSION_NOT_SUPPORTED = StatusCode.VERSION_NOT_SUPPORTED
STATUS_PROCESSING_ERROR = StatusCode.PROCESSING_ERROR
STATUS_ATOMIC_FAILED = StatusCode.ATOMIC_FAILED
STATUS_REFRESH_REQUIRED = StatusCode.REFRESH_REQUIRED
STATUS_RECIPIENT_EXCEPTION_RESERVED1 = StatusCode.RECIPIENT_EXCEPTION_RESERVED1
STATUS_DATASTORE_FAILURE = StatusCode.DATASTORE_FAILURE
STATUS_SERVER_FAILURE = StatusCode.SERVER_FAILURE
STATUS_SYNCHRONIZATION_FAILED = StatusCode.SYNCHRONIZATION_FAILED
STATUS_PROTOCOL_VERSION_NOT_SUPPORTED = StatusCode.PROTOCOL_VERSION_NOT_SUPPORTED
STATUS_OPERATION_CANCELLED = StatusCode.OPERATION_CANCELLED
STATUS_ATOMIC_ROLLBACK_FAILED = StatusCode.ATOMIC_ROLLBACK_FAILED
STATUS_ATOMIC_RESPONSE_TOO_LARGE_TO_FIT = StatusCode.ATOMIC_RESPONSE_TOO_LARGE_TO_FIT

SyncTypeToAlert = {int(_type): _type.alert for _type in SyncType}
synctype2alert_lut = SyncTypeToAlert
