"""``--alerted FILE``: do what the notification in FILE asks for, if it is our server's."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from pysyncml import alerted, errors
from pysyncml.cli import options, passwords
from pysyncml.cli.report import printable
from pysyncml.constants import SyncType

if TYPE_CHECKING:
    from pysyncml.cli.engine import CommandLineSyncEngine

_MOST = 1024 * 1024  # bytes; what may really come is a few hundred


def read(engine: CommandLineSyncEngine) -> alerted.Notification | None:
    """Return the notification that the options name; ``None`` if they name none.

    Raises:
        UsageError: the file cannot be read.
        CodecError: it is no notification.
        RefusedError: no server is known yet that it could be of.
    """
    path = engine.options.alerted
    if path is None:
        return None
    shown = 'the standard input' if path == '-' else f'"{path}"'
    try:
        data = _bytes(path)
    except OSError as error:
        raise errors.UsageError(f'cannot read {shown}: {error.strerror}') from error
    try:
        found = alerted.read_notification(None, data)
    except errors.CodecError as error:
        raise errors.CodecError(f'{shown} cannot be used: {error}') from error
    if not engine.options.remote:
        raise errors.RefusedError(
            f'the notification is of the server "{found.server_id}", and no server is known for '
            f'{engine.place} yet: synchronise once with --remote URL'
        )
    return found


def _bytes(path: str) -> bytes:
    if path == '-':
        return sys.stdin.buffer.read(_MOST)
    with open(path, 'rb') as stream:
        return stream.read(_MOST)


def kinds_of(
    engine: CommandLineSyncEngine, adapter: Any, notification: alerted.Notification
) -> dict[str, SyncType]:
    """Return what *notification* asks for, by our datastores, when there is nothing against it.

    The user is told, or asked, as the notification wants it.

    Raises:
        RefusedError: it is another server's, or the user does not want it, or it asks for what
            throws items away, without showing whom it comes from, and there is nobody to ask.
        AuthError: it was not made by who knows the password of our server.
        NoSuchRoute: nothing here goes with what it asks for.
    """
    with engine.work():
        proven = alerted.check(adapter, notification)
        kinds = alerted.kinds_of(adapter, notification)
    words = {kind: word for word, kind in options.MODES.items()}
    asked = ', '.join(f'{words[kind]} ({uri})' for uri, kind in kinds.items())
    somebody = engine.options.yes or passwords.on_terminal()
    if any(kind.wipes for kind in kinds.values()) and not proven and not somebody:
        raise errors.RefusedError(
            f'the notification asks for {asked}, and does not show that it comes from the server: '
            'to do that, run again with --yes'
        )
    _tell(engine, notification, f'The server asks to synchronise: {asked}.')
    return kinds


def _tell(engine: CommandLineSyncEngine, notification: alerted.Notification, text: str) -> None:
    mode, chosen = notification.ui_mode, engine.options
    text = printable(text)
    if mode is alerted.UiMode.USER_INTERACTION and not chosen.yes and passwords.on_terminal():
        if not passwords.confirm(f'{text} Go on?'):
            raise errors.RefusedError('nothing was done')
    elif mode >= alerted.UiMode.INFORMATIVE and not chosen.quiet:
        print(text, file=engine.stderr)
