"""``--retry``: begin again, when the network has failed, until it works or patience ends.

A session that has broken off leaves both sides such that a new one makes everything good, so
beginning again is safe: all that is known of both sides is looked at anew. Replacing one side
wholesale is the exception. What is thrown away by that was agreed to for what was there then.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from pysyncml.cli.failures import explain
from pysyncml.cli.signals import stoppable
from pysyncml.errors import SyncmlError

if TYPE_CHECKING:
    from pysyncml.cli.engine import CommandLineSyncEngine
    from pysyncml.cli.options import Patience

log = logging.getLogger('pysyncml.cli')

#: Seconds before the second attempt, and the most there are between two; each time they double.
FIRST, MOST = 2.0, 300.0

#: A server that wants to be left alone for longer (seconds) is left alone.
_TOO_LONG = 3600.0

_Result = TypeVar('_Result')


def pause_before(attempt: int, wait: float, dice: float) -> float:
    """Return the seconds to wait before *attempt*, the second attempt of all being 1.

    Args:
        wait: what the server asks for; this is the least.
        dice: from 0 to 1; many devices that failed together shall not come back together.
    """
    doubled: float = FIRST * 2.0 ** min(attempt - 1, 30)
    return max(wait, min(doubled, MOST) * (0.5 + dice / 2))


class Retry:
    """Begins again as the options say.

    ``safe`` is to be set to ``False`` by what must not be done twice.
    """

    def __init__(self, engine: CommandLineSyncEngine) -> None:
        self.engine = engine
        self.safe = True
        self._patience: Patience | None = engine.options.retry
        self._consent = engine.options.allowDeletions
        self._begin = time.monotonic()
        self._attempt = 0

    def run(self, action: Callable[[], _Result]) -> _Result:
        """Return what *action* returns, after as many attempts as it takes and the user wants.

        Raises:
            SyncmlError: the failure of the last attempt, or one that waiting does not help.
            KeyboardInterrupt: the user had enough, perhaps while we were waiting.
        """
        while True:
            try:
                return action()
            except SyncmlError as error:
                pause = self._next(error)
                if pause is None:
                    raise
                with stoppable():  # from the moment in which it is said that we wait
                    self._tell(error, pause)
                    time.sleep(pause)
            # what was agreed to at a question was about what was there then
            self.engine.options.allowDeletions = self._consent

    def _next(self, error: SyncmlError) -> float | None:
        """Return how long to wait after *error*; ``None`` if it is final."""
        if self._patience is None or not self.safe or not error.passing:
            return None
        wait: float = getattr(error, 'wait', 0.0)
        if wait > _TOO_LONG:
            return None
        self._attempt += 1
        times, seconds = self._patience
        if times is not None and self._attempt > times:
            return None
        pause = pause_before(self._attempt, wait, random.random())
        if seconds is not None:
            left = self._begin + seconds - time.monotonic()
            if left <= 0 or wait > left:
                return None
            pause = min(pause, left)
        return pause

    def _tell(self, error: SyncmlError, pause: float) -> None:
        engine = self.engine
        engine.progress.close()
        line, _ = explain(error)
        count = f'attempt {self._attempt + 1}'
        if self._patience is not None and self._patience.times is not None:
            count = f'{self._attempt} of {self._patience.times}'
        text = f'{line.rstrip(".")}. Trying again in {_seconds(pause)} ({count}).'
        log.info('%s', text)
        if not engine.options.quiet:
            prog = engine.parser.prog if engine.parser else engine.appLabel
            print(f'{prog}: {text}', file=engine.stderr, flush=True)


def _seconds(pause: float) -> str:
    if pause < 1:
        return 'less than a second'
    return f'{pause:.0f} second{"s" if round(pause) != 1 else ""}'
