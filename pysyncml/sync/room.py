"""How much still fits into the message that is being made.

A peer says how many bytes a message to it may have (MaxMsgSize, OMA-SyncML-MetaInfo 1.2, §5.2.8),
and it means every byte: the header and all tags are counted.
"""

from __future__ import annotations

import re
from dataclasses import replace

from pysyncml.codec import cost, encode
from pysyncml.constants import AlertCode
from pysyncml.protocol.messages import Command, Status
from pysyncml.protocol.session import Said, Session

#: Bytes one character may take in a message, escaped.
LONGEST = 6

_ID = '00000'  # as many digits as the id of a command may come to have
_WRITTEN_AS_IT_IS = re.compile(r'[\w./#:-]+', re.ASCII).fullmatch
_SLACK = 8  # bytes: what a command costs depends a little on what stands before it


class Room:
    """The bytes that are left.

    Args:
        session: whose next message it is.
        limit: bytes the whole message may have.
    """

    def __init__(self, session: Session, limit: int) -> None:
        self._encoding = session.encoding
        self._version = session.version
        self._statuses: dict[tuple[object, ...], int] = {}  # what each shape takes without texts
        #: Whether device information must be short, however much room there is.
        self.brief = session.quirks.brief
        envelope = len(encode(session.envelope(), session.encoding)[1])
        asking = self.measure(session.alert(AlertCode.NEXT_MESSAGE).command)
        self._limit = limit
        self.left = limit - envelope - asking
        #: What an empty message has room for.
        self.whole = self.left
        #: Whether commands were put into the message since :attr:`whole` was set.
        self.used = False

    def measure(self, command: Command) -> int:
        """Return how many bytes *command* takes, everything inside it included."""
        if isinstance(command, Status) and not (command.items or command.chal or command.cred):
            return self._measure_status(command)
        return self._cost(command)

    def _cost(self, command: Command) -> int:
        numbered = replace(command, cmd_id=_ID)
        return cost(numbered, self._encoding, version=self._version) + _SLACK

    def _measure_status(self, status: Status) -> int:
        """Measure a Status by one of the same shape: there is one for each item of a message."""
        texts = (status.cmd_ref, *status.target_refs, *status.source_refs)
        if not all(map(_WRITTEN_AS_IT_IS, texts)):
            return self._cost(status)
        counts = len(status.target_refs), len(status.source_refs)
        shape = (status.msg_ref, status.cmd, status.code, status.no_resp, *counts)
        if shape not in self._statuses:
            targets, sources = (('0',) * count for count in counts)
            like = replace(status, cmd_ref='0', target_refs=targets, source_refs=sources)
            self._statuses[shape] = self._cost(like) - len(texts)
        return self._statuses[shape] + sum(map(len, texts))

    def take(self, said: Said, size: int | None = None) -> bool:
        """Take the room for *said* if there is enough; what is too large for any message passes.

        *size* is an upper bound in bytes, for what is costly to measure.
        """
        if size is None or size > self.left:
            size = self.measure(said.command)
        if size > self.left and self.used:
            return False
        self.left -= size
        self.used = True
        return True

    def widen(self, limit: int) -> None:
        """Let the whole message have *limit* bytes, if that is more than it was to have."""
        if limit > self._limit:
            self.left += limit - self._limit
            self._limit = limit

    def begin(self) -> None:
        """Say that what was taken so far is what every message has."""
        self.whole, self.used = self.left, False
