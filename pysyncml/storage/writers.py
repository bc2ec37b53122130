"""Whether somebody is about to write to a file that is going to be replaced.

A program that has a file open goes on writing to it, whatever its name is by then. What it writes
after the file has gone to the trash nobody would ever see. Linux can tell: a lease for reading is
given only on a file that nobody has open for writing. Where it cannot be told, nobody is taken
to have it open.
"""

from __future__ import annotations

import errno
import os
import signal

from pysyncml.storage.files import Spot, open_file


def is_being_written(spot: Spot) -> bool:
    """Return whether another program has the file in *spot* open for writing.

    Raises:
        OSError: it cannot be opened, or is no file.
    """
    try:
        import fcntl

        set_lease, release, shared = fcntl.F_SETLEASE, fcntl.F_UNLCK, fcntl.F_RDLCK
        set_signal = fcntl.F_SETSIG
    except (ImportError, AttributeError):
        return False
    fd = open_file(spot)
    try:
        # who opens the file in this very moment makes the system send a signal, which by default
        # would end us; this one is ignored by default
        fcntl.fcntl(fd, set_signal, signal.SIGURG)
        fcntl.fcntl(fd, set_lease, shared)
        fcntl.fcntl(fd, set_lease, release)
    except OSError as error:
        # anything else says that this file system, or this user, cannot have leases
        return error.errno == errno.EAGAIN
    finally:
        os.close(fd)
    return False
