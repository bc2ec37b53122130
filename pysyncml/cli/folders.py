"""The state folder: there, and nobody else's business."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat

from pysyncml.cli.report import printable
from pysyncml.errors import UsageError

log = logging.getLogger('pysyncml.cli')


def make_private(folder: str) -> None:
    """Create the state folder, for its owner only, or see that it and what is in it is so.

    Modes that let others in are mended, and that is said.

    Raises:
        UsageError: it cannot be created, or is a symbolic link, or is somebody else's; or
            a file in it is a symbolic link.
        OSError: there is no room for it, which is no fault of the options.
    """
    bare = folder.rstrip('/' + os.sep) or folder
    shown = printable(bare)
    _refuse_link(bare, f'the state folder "{shown}"')
    new = not os.path.isdir(bare)
    try:
        os.makedirs(bare, mode=0o700, exist_ok=True)
        if new:
            _make_last(os.path.dirname(os.path.abspath(bare)))
        found = os.lstat(bare)
    except OSError as error:
        _no_room(error)
        raise UsageError(f'cannot create the state folder "{shown}": {error.strerror}') from error
    if os.name != 'posix':
        return
    if found.st_uid != os.geteuid():
        raise UsageError(
            f'the state folder "{shown}" belongs to another user: run this as that one, '
            'or use a directory of your own'
        )
    if _close(bare, found, 0o700):
        log.warning('others could look into "%s": they cannot any more', shown)
    with contextlib.suppress(OSError), os.scandir(bare) as entries:
        for entry in entries:
            if entry.is_symlink():
                _refuse_link(entry.path, f'"{printable(entry.path)}", where state is kept,')
            with contextlib.suppress(OSError):  # it may have gone in the meantime
                _close(entry.path, entry.stat(follow_symlinks=False), 0o600)


def make_private_file(path: str) -> None:
    """Create the file at *path*, readable for its owner only, unless it is there.

    Raises:
        UsageError: it cannot be created.
        OSError: there is no room for it, which is no fault of the options.
    """
    try:
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, 'O_NOFOLLOW', 0)
        os.close(os.open(path, flags, 0o600))
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


def _refuse_link(path: str, what: str) -> None:
    if os.path.islink(path):
        raise UsageError(f'{what} is a symbolic link: put what it leads to in its place')


def _close(path: str, found: os.stat_result, mode: int) -> bool:
    """Take from the others what they may do with the file or the folder at *path*.

    Returns whether there was something to take.
    """
    if stat.S_ISDIR(found.st_mode):
        mode = 0o700
    elif not stat.S_ISREG(found.st_mode):
        return False
    if not found.st_mode & 0o077 or found.st_uid != os.geteuid():
        return False
    os.chmod(path, mode)
    return True
