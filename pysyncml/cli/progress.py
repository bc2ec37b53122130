"""A progress bar on terminals, for what takes longer than a moment."""

from __future__ import annotations

import time
from typing import Any, TextIO


class Progress:
    """Call it as often as you like: ``progress('scanning', done, total)``.

    Nothing is shown before *delay* seconds have passed, and nothing at all unless *shown*.
    """

    def __init__(self, stream: TextIO, *, shown: bool = True, delay: float = 1.0) -> None:
        self.stream = stream
        self.shown = shown
        self.delay = delay
        self._begun: float | None = None
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}

    def __call__(self, what: str, done: int = 0, total: int | None = None) -> None:
        """Say that *done* of *total* (``None``: nobody knows) have been dealt with."""
        if not self.shown:
            return
        now = time.monotonic()
        if self._begun is None:
            self._begun = now
        if self._bars is None:
            if now - self._begun < self.delay:
                return
            self._bars = self._open()
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done, total=total)

    def _open(self) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn())
        bars = Progress(*columns, console=Console(file=self.stream), transient=True)
        bars.start()
        return bars

    def close(self) -> None:
        """Take the bar off the screen; a later call shows it again, after *delay*."""
        if self._bars is not None:
            self._bars.stop()
        self._bars, self._begun, self._tasks = None, None, {}


def progress_for(options: Any, stream: TextIO) -> Progress:
    """Return the progress bar the options allow on *stream*: terminals only."""
    try:
        terminal = stream.isatty()
    except (AttributeError, ValueError):  # no stream, or a closed one
        terminal = False
    return Progress(
        stream, shown=terminal and not (options.quiet or options.json or options.verbose)
    )
