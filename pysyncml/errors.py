"""Every error pysyncml raises on purpose, and the SyncML status each one stands for.

::

    SyncmlError
    ├─ ProtocolError            the rules of the protocol were broken
    │  ├─ LocalProtocolError    by us: a bug
    │  ├─ RemoteProtocolError   by the peer
    │  └─ CodecError            the bytes are no SyncML message
    │     └─ UnknownCodec
    ├─ AuthError                the peer may not come in
    │  ├─ MissingCredentials
    │  ├─ InvalidCredentials
    │  ├─ UnknownAuthType
    │  ├─ UnknownFormatType
    │  ├─ LoginDelayed          not now: too many have failed
    │  └─ PasswordExposed       the password would be sent where others can listen
    ├─ CommandError             one command failed, the others go on
    │  ├─ InvalidItem  InvalidContent  InvalidContentType  InvalidName
    │  ├─ ItemExists  ItemTooLarge  ItemBusy  StoreFull
    │  ├─ ItemNotEmpty  MoveFailed
    │  ├─ ConflictError
    │  └─ FeatureNotSupported  InvalidFilter
    ├─ InvalidContext  InvalidAdapter  InvalidAgent  InvalidStore  NoSuchRoute
    │  └─ StateDamaged          the state database is damaged
    ├─ StateBusy                others are at work: come back later
    ├─ DeviceCopied             somebody else goes by our id
    ├─ InvalidChangeSpec        also a ValueError
    ├─ RefusedError             going on could lose data: somebody must say yes
    │  ├─ StoreEmpty  TooManyDeletions
    │  ├─ WrongDirectory  CannotCompare
    │  └─ ServerBusy
    ├─ StorageError             PreconditionFailed  ReadOnly
    ├─ TransportError           ConnectFailed  HTTPStatus  Timeout
    ├─ InternalError  LogicalError
    └─ UsageError               wrong options or configuration

The class attribute ``status`` is the Status code that tells a peer of the error
(OMA-DS-DataSyncRep 1.2, response status codes); ``exit_code`` is what a command line program
ends with when the error ends it (documented in ``docs/cli.rst``).
"""

from __future__ import annotations

from pysyncml.constants import ExitCode, StatusCode


class SyncmlError(Exception):
    """Something went wrong while synchronising."""

    status: int = StatusCode.COMMAND_FAILED
    exit_code: int = ExitCode.FAILED
    passing: bool = False  # whether the same may work a little later, without anybody's help


class InternalError(SyncmlError):
    """pysyncml contradicts itself: this is a bug, please report it."""


class LogicalError(InternalError):
    """Something was asked for that makes no sense in this place."""


# --- protocol ---------------------------------------------------------------------------------


class ProtocolError(SyncmlError):
    """The rules of SyncML were broken."""

    status: int = StatusCode.BAD_REQUEST
    exit_code = ExitCode.PROTOCOL


class LocalProtocolError(ProtocolError):
    """We were about to break the rules of SyncML: this is a bug, please report it."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that SyncML does not allow here."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        if status is not None:
            self.status = status


class CodecError(ProtocolError):
    """The bytes received are not a SyncML message."""


class UnknownCodec(CodecError):
    """No codec is known for this content type."""

    status = StatusCode.UNSUPPORTED_MEDIA_TYPE


# --- authentication ---------------------------------------------------------------------------


class AuthError(SyncmlError):
    """The credentials do not open this door."""

    status = StatusCode.INVALID_CREDENTIALS
    exit_code = ExitCode.AUTHENTICATION


class MissingCredentials(AuthError):
    """The peer asks for a user name and a password."""

    status = StatusCode.MISSING_CREDENTIALS


class InvalidCredentials(AuthError):
    """The peer does not accept this user name and password."""


class UnknownAuthType(AuthError):
    """The kind of authentication is not known."""

    status = StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED


class UnknownFormatType(AuthError):
    """The encoding of the credentials is not known."""

    status = StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED


class LoginDelayed(AuthError):
    """Too many logins have failed: the next one has to wait for *seconds*."""

    status = StatusCode.RETRY_LATER

    def __init__(self, message: str, seconds: int = 0) -> None:
        super().__init__(message)
        self.seconds = seconds


class PasswordExposed(AuthError):
    """The password would have to be sent where others can listen."""


# --- one command ------------------------------------------------------------------------------


class CommandError(SyncmlError):
    """One command could not be carried out; the others go on."""

    exit_code = ExitCode.ITEMS_FAILED


class InvalidItem(CommandError):
    """There is no such item."""

    status = StatusCode.NOT_FOUND


class InvalidContent(CommandError):
    """The content of the item cannot be read."""

    status = StatusCode.BAD_REQUEST


class InvalidContentType(CommandError):
    """The type of the content is not supported."""

    status = StatusCode.UNSUPPORTED_MEDIA_TYPE


class InvalidName(CommandError):
    """The name of the item is not allowed here."""

    status = StatusCode.FORBIDDEN


class ItemExists(CommandError):
    """The item is there already."""

    status = StatusCode.ALREADY_EXISTS


class ItemTooLarge(CommandError):
    """The item is larger than what can be taken."""

    status = StatusCode.REQUESTED_ENTITY_TOO_LARGE


class ItemBusy(CommandError):
    """The item is being changed at this very moment: it is left for the next time."""

    status = StatusCode.RETRY_LATER


class StoreFull(CommandError):
    """There is no room left."""

    status = StatusCode.DEVICE_FULL


class ConflictError(CommandError):
    """Both sides changed the same item in ways that do not go together."""

    status = StatusCode.UPDATE_CONFLICT
    exit_code = ExitCode.CONFLICTS


class ItemNotEmpty(CommandError):
    """The folder still has items in it."""

    status = StatusCode.ITEM_NOT_EMPTY


class MoveFailed(CommandError):
    """The item could not be put into another folder."""

    status = StatusCode.MOVE_FAILED


class FeatureNotSupported(CommandError):
    """This optional feature is not supported."""

    status = StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED


class InvalidFilter(CommandError):
    """The filter that says which items are wanted does not follow its grammar."""

    status = StatusCode.BAD_CGI_SCRIPT


# --- set-up -----------------------------------------------------------------------------------


class InvalidContext(SyncmlError):
    """The context cannot be set up this way."""

    exit_code = ExitCode.USAGE


class StateDamaged(InvalidContext):
    """The state database is damaged."""

    status = StatusCode.DATASTORE_FAILURE
    exit_code = ExitCode.FAILED


class DeviceCopied(SyncmlError):
    """Another device with our id, a copy of us, synchronises with the same server."""

    exit_code = ExitCode.REFUSED


class StateBusy(SyncmlError):
    """Others have been working on the same state for too long: try again later."""

    status = StatusCode.RETRY_LATER
    exit_code = ExitCode.LOCKED


class InvalidAdapter(SyncmlError):
    """The adapter is not ready for this."""

    exit_code = ExitCode.USAGE


class InvalidAgent(SyncmlError):
    """The agent breaks the contract of agents."""


class InvalidStore(SyncmlError):
    """There is no such datastore."""

    status = StatusCode.NOT_FOUND
    exit_code = ExitCode.REFUSED


class NoSuchRoute(SyncmlError):
    """No datastore of the peer goes with this one."""

    status = StatusCode.NOT_FOUND
    exit_code = ExitCode.REFUSED


class InvalidChangeSpec(SyncmlError, ValueError):
    """The text does not follow the grammar of change-specs."""


# --- guards -----------------------------------------------------------------------------------


class RefusedError(SyncmlError):
    """Going on could lose data, so nothing was done."""

    status = StatusCode.RETRY_LATER
    exit_code = ExitCode.REFUSED


class StoreEmpty(RefusedError):
    """All items that were known have vanished."""


class TooManyDeletions(RefusedError):
    """More items would be deleted than the limit allows."""


class WrongDirectory(RefusedError):
    """The directory is not the one that was synchronised before."""


class ServerBusy(RefusedError):
    """The server has no time for us now (SyncML status 417 or 503)."""

    passing = True


class CannotCompare(RefusedError):
    """This server cannot compare by checksum."""

    status = StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED


# --- storage and transport --------------------------------------------------------------------


class StorageError(SyncmlError):
    """The storage cannot do this."""

    exit_code = ExitCode.ITEMS_FAILED


class PreconditionFailed(StorageError):
    """What is stored has changed since it was last looked at."""

    status = StatusCode.RETRY_LATER


class ReadOnly(StorageError):
    """The storage cannot be written to."""


class TransportError(SyncmlError):
    """The peer could not be reached.

    ``wait`` is how many seconds the peer wants to be left alone (``Retry-After``), and ``cut``
    says that a connection was there, and ended before the answer did.
    """

    exit_code = ExitCode.NETWORK
    passing = True
    wait: float = 0.0
    cut: bool = False


class ConnectFailed(TransportError):
    """No connection could be made."""


class HTTPStatus(TransportError):
    """The other side answered with an HTTP error."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Timeout(TransportError):
    """The other side did not answer in time."""


class UsageError(SyncmlError):
    """The options or the configuration do not make sense."""

    exit_code = ExitCode.USAGE


# --- what the system refuses --------------------------------------------------------------------


def refusal_of_system(error: BaseException, *, place: bool = True) -> str | None:
    """Return in a few words what the system, or the state database, has refused.

    ``None`` if *error* is of another kind. With *place* the file is named, where it is known: not
    for peers, who need not know how things lie here.
    """
    if isinstance(error, OSError):
        what = error.strerror or str(error) or type(error).__name__
        return f'{error.filename}: {what}' if place and error.filename is not None else what
    if is_of_database(error):
        return f'the state database cannot be used: {getattr(error, "orig", None) or error}'
    return None


def is_of_database(error: BaseException) -> bool:
    """Return whether the database itself has failed: full, locked, not to be read or written.

    It may have taken the whole transaction back by then, so that nothing more may be done in it.
    """
    kind = type(error)
    ours = kind.__module__.startswith(('sqlalchemy', 'sqlite3'))
    return ours and kind.__name__ in _OF_DATABASE


_OF_DATABASE = {'OperationalError', 'DatabaseError', 'TimeoutError', 'InternalError'}
