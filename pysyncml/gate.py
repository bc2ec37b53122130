"""What one server remembers of those who knock, in memory: failures, and passwords that were right.

Checking a password is meant to be expensive, and anybody may ask for it. So only a few are checked
at once, those who have failed too often are answered without a look, and a password that was right
a moment ago is recognised at once: devices that are known are not kept waiting by those that guess.
"""

from __future__ import annotations

import contextlib
import hmac
import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping

from pysyncml.errors import LoginDelayed
from pysyncml.protocol import auth
from pysyncml.protocol.delays import Delays

#: How many passwords are checked at once (each takes 32 MiB), and how many seconds one waits for
#: its turn before it is put off.
AT_ONCE, PATIENCE = 2, 3.0
_SOON = 2
#: Characters a password may have to be looked at.
LONGEST_PASSWORD = 4096
#: How many right logins are recognised, and for how many seconds.
RECOGNISED, RECOGNISED_SECONDS = 256, 3600.0


class Gate:
    """Decides how fast one may knock; for all threads of a server.

    Args:
        clock: returns seconds, and never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._delays = Delays()
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()

    def check(self, name: str, address: str | None) -> None:
        """See whether *name* may be tried from *address* now.

        Raises:
            LoginDelayed: it has to wait.
        """
        with self._lock:
            wait = self._delays.wait(name, address, self._clock())
        if wait > 0:
            raise _delayed(math.ceil(wait))

    def note(self, name: str, address: str | None, *, good: bool) -> None:
        """Remember that a login was right, or that it was wrong."""
        with self._lock:
            tell = self._delays.passed if good else self._delays.failed
            tell(name, address, self._clock())

    def is_right(self, name: str, password: str, hashes: Mapping[str, str]) -> bool:
        """Return whether *password* is that of *name*; it takes as long if there is no such user.

        Args:
            hashes: user name to hashed password, at least one.

        Raises:
            LoginDelayed: too many are being checked.
        """
        known = hashes.get(name)
        hashed = known if known is not None else auth.stand_in(name, hashes.values())
        if len(password) > LONGEST_PASSWORD:
            return False
        mark = self._mark(name, password, hashed)
        if self._recognises(mark):
            return known is not None
        with self._turn():
            if self._recognises(mark):  # somebody with the same has just been in here
                return known is not None
            right = auth.check_password(password, hashed)
        if right and known is not None:
            self._recognise(mark)
        return right and known is not None

    def renewed(self, password: str) -> str:
        """Return a new hash of a password that was right."""
        with self._turn():
            return auth.hash_password(password)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(timeout=PATIENCE):
            raise LoginDelayed(f'too many are logging in: try again in {_SOON} seconds', _SOON)
        try:
            yield
        finally:
            self._turns.release()

    # --- passwords that were right ------------------------------------------------------------

    def _mark(self, name: str, password: str, hashed: str) -> bytes:
        text = '\0'.join((hashed, name, password))
        return hmac.digest(self._key, text.encode('utf-8', 'surrogatepass'), 'sha256')

    def _recognises(self, mark: bytes) -> bool:
        with self._lock:
            since = self._right.get(mark)
            return since is not None and self._clock() - since < RECOGNISED_SECONDS

    def _recognise(self, mark: bytes) -> None:
        with self._lock:
            self._right[mark] = self._clock()
            self._right.move_to_end(mark)
            while len(self._right) > RECOGNISED:
                self._right.popitem(last=False)


def _delayed(seconds: int) -> LoginDelayed:
    return LoginDelayed(
        f'too many logins have failed: the next one has to wait for {seconds} '
        f'second{"" if seconds == 1 else "s"}',
        seconds,
    )
