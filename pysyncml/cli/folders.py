"""The state folder: there, and nobody else's business."""

from __future__ import annotations

import contextlib
import errno
import os

from pysyncml.cli.report import printable
from pysyncml.errors import UsageError


def make_private(folder: str) -> None:
    """Create the state folder, for its owner only.

    Raises:
        UsageError: it cannot be created.
        OSError: there is no room for it, which is no fault of the options.
    """
    new = not os.path.isdir(folder)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if new:
            _make_last(os.path.dirname(os.path.abspath(folder)))
    except OSError as error:
        _no_room(error)
        path = printable(folder.rstrip('/'))
        raise UsageError(f'cannot create the state folder "{path}": {error.strerror}') from error
    if os.name == 'posix' and os.stat(folder).st_mode & 0o077:
        with contextlib.suppress(PermissionError):  # not ours: then its owner has decided
            os.chmod(folder, 0o700)


def make_private_file(path: str) -> None:
    """Create the file at *path*, readable for its owner only, unless it is there.

    Raises:
        UsageError: it cannot be created.
        OSError: there is no room for it, which is no fault of the options.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError as error:
        _no_room(error)
        raise UsageError(f'cannot write "{printable(path)}": {error.strerror}') from error


def _make_last(folder: str) -> None:
    """Have what is remembered outlast a power failure from the first run on."""
    from pysyncml.storage import files

    files.sync([folder], whole=folder)


def _no_room(error: OSError) -> None:
    if error.errno in (errno.ENOSPC, getattr(errno, 'EDQUOT', errno.ENOSPC)):
        raise error
