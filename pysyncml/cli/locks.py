"""One client and one server per directory: a lock of the kernel's, gone with its process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from pysyncml.cli.failures import Locked


@contextlib.contextmanager
def locked(folder: str, role: str, what: str) -> Iterator[None]:
    """Hold the lock for *role* in *folder* for as long as the block lasts.

    Args:
        what: what is locked, for the message.

    Raises:
        Locked: somebody else holds it; the message names the process.
    """
    import filelock

    lock = filelock.FileLock(os.path.join(folder, f'{role}.lock'), timeout=0, mode=0o600)
    holder = os.path.join(folder, f'{role}.pid')
    try:
        lock.acquire()
    except filelock.Timeout:
        doing = 'serving' if role == 'server' else 'synchronising'
        raise Locked(
            f'another process{_holder(holder)} is {doing} {what} already: '
            'wait until it has finished, or stop it'
        ) from None
    try:
        # it says who works here, which is nobody else's business
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with open(os.open(holder, flags, 0o600), 'w', encoding='ascii') as stream:
            stream.write(f'{os.getpid()}\n')
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(holder)
        lock.release()


def _holder(path: str) -> str:
    with contextlib.suppress(OSError, ValueError), open(path, encoding='ascii') as stream:
        return f' ({int(stream.read())})'
    return ''
