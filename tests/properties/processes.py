"""Processes that can be killed at any step, all of them in this one.

A *process* is what the product does between being started and ending. While one is at work (see
:func:`acting`), each thing it does that others could see, a file written or renamed, a
transaction committed, a message sent, is a *step*. A process that is to die does so before a
step: :class:`Killed` is raised, which nothing in the product catches. What runs on the way out,
``finally`` and the like, can do nothing any more: its steps raise again. So everything looks as
it does after SIGKILL: locks are gone, files and the database are as they were.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from pysyncml.storage import files

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGING = {'os.rename', 'os.remove', 'os.mkdir', 'os.rmdir', 'os.link', 'os.truncate'}
_OF_THE_KERNEL = ('.lock', '.pid')  # gone with the process that held them


class Killed(BaseException):
    """The process is dead."""


class Process:
    """A run of the product.

    Args:
        owner: the place it works on.
        steps: how many steps it does before it dies; it lives on if this is ``None``.
    """

    def __init__(self, owner: str, steps: int | None = None) -> None:
        self.owner = owner
        self.left = steps
        self.done = 0
        self.dead = False

    def step(self, what: str) -> None:
        """Go on, or die."""
        if not self.dead and self.left is not None:
            self.left -= 1
            self.dead = self.left < 0
        if self.dead:
            raise Killed(f'{self.owner} was killed before step {self.done}, {what}')
        self.done += 1


_at_work = threading.local()


def current() -> Process | None:
    """Return the process that is at work in this thread; ``None`` if it is the test itself."""
    return getattr(_at_work, 'process', None)


@contextlib.contextmanager
def acting(process: Process | None) -> Iterator[None]:
    """Let *process* be at work in the block."""
    before = current()
    _at_work.process = process
    try:
        yield
    finally:
        _at_work.process = before


def step(what: str) -> None:
    """Count a step of the process at work, which may be its last."""
    process = current()
    if process is not None:
        process.step(what)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event == 'open':
        path, _, flags = args
        if not isinstance(flags, int) or not flags & _WRITING or isinstance(path, int):
            return
    elif event in _CHANGING:
        path = args[0]
    else:
        return
    if current() is not None and not str(path).endswith(_OF_THE_KERNEL):
        step(f'{event} {path!r}')


def _counted(find: Callable[[], Any]) -> Callable[[], Any]:
    """Count renames by the system's own call, too: there is no audit event for those."""

    def found() -> Any:
        call = find()
        if call is None:
            return None

        def rename(old: Any, new: Any) -> None:
            step(f'place {new.name!r}')
            call(old, new)

        return rename

    return found


_installed = False


def install() -> None:
    """Have the steps counted from now on. It cannot be taken back, and costs next to nothing."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_audit)
        files._exclusive_rename = _counted(files._exclusive_rename)
