"""The state folder: there, and nobody else's business."""

from __future__ import annotations

import contextlib
import os

from pysyncml.cli.report import printable
from pysyncml.errors import UsageError


def make_private(folder: str) -> None:
    """Create the state folder, for its owner only.

    Raises:
        UsageError: it cannot be created.
    """
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as error:
        path = printable(folder.rstrip('/'))
        raise UsageError(f'cannot create the state folder "{path}": {error.strerror}') from error
    if os.name == 'posix' and os.stat(folder).st_mode & 0o077:
        with contextlib.suppress(PermissionError):  # not ours: then its owner has decided
            os.chmod(folder, 0o700)
