"""Where a request ends: what has to be known of HTTP before somebody can be set to work on it.

Nothing is checked in here that the server checks afterwards. What cannot be told, or is more than
is taken, ends the request at once, and the connection with it (RFC 9112, §6.3).
"""

from __future__ import annotations

import re
import tempfile

__all__ = ['Arrival']

MOST_HEAD = 1 << 16
"""Bytes of the first line of a request and its headers together."""

_IN_MEMORY = 1 << 20  # bytes: what is more goes to a temporary file
_WORD = re.compile(rb"[\r\nA-Za-z0-9!#$%&'*+.^_`|~-]")  # what a request may begin with
_END = re.compile(rb'\n\r?\n')
# values with their blanks: to leave those out in here takes time that grows with their square
_LENGTH = re.compile(rb'(?im)^content-length[ \t]*:([^\r\n]*)\r?$')
_CODING = re.compile(rb'(?im)^transfer-encoding[ \t]*:([^\r\n]*)\r?$')
_WAITS = re.compile(rb'(?im)^expect[ \t]*:[ \t]*100-continue[ \t]*\r?$')
_BLANKS = b' \t'
_MOST_LINE = 4096  # bytes of the line in front of a chunk, and of one behind the last


class Arrival:
    """One request, as far as it has come.

    Args:
        most: bytes its body may have.

    Attributes:
        file: what has come.
        size: its bytes.
        begun_body: whether the head is complete.
        waits: whether the client wants to be told before it sends the body (``Expect``).
        last: whether no other request can follow on this connection.
    """

    def __init__(self, most: int) -> None:
        self.file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        self.size = 0
        self.begun_body = self.waits = self.last = False
        self._most = most
        self._head = bytearray()
        self._left = 0  # bytes of the body that are missing
        self._chunks: _Chunks | None = None

    def feed(self, data: bytes) -> bytes | None:
        """Take *data* in; once the request is complete return what belongs to the next one."""
        if self.begun_body:
            return self._body(data)
        if not self._head and not _WORD.match(data):
            self._keep(data)
            self.last = True
            return b''
        looked_at = max(0, len(self._head) - 3)
        self._head += data
        found = _END.search(self._head, looked_at)
        end = found.end() if found else len(self._head)
        if found is None and end <= MOST_HEAD:
            return None
        head, rest = bytes(self._head[:end]), bytes(self._head[end:])
        self._head.clear()
        self.begun_body = True
        self._keep(head)
        if found is None or end > MOST_HEAD:
            self.last = True  # refused by the server, which has the same limit
            return rest
        if not self._understand(head):
            self.last = True
            return rest
        return self._body(rest)

    def spill(self) -> None:
        """Let go of memory: what came, and what comes, goes to a temporary file."""
        self.file.rollover()

    def _understand(self, head: bytes) -> bool:
        """Find out where the body ends; return whether that can be known and is not too far."""
        lengths = [value.strip(_BLANKS) for value in _LENGTH.findall(head)]
        codings = [value.strip(_BLANKS) for value in _CODING.findall(head)]
        self.waits = _WAITS.search(head) is not None
        if codings:
            # a length beside it, or another coding, is for the server to refuse
            self.last = bool(lengths)
            modern = b' HTTP/1.1' in head.partition(b'\n')[0]
            if codings != [b'chunked'] or not modern:
                return False
            self._chunks = _Chunks()
            return True
        if not lengths:
            return True
        if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 15:
            return False
        self._left = int(lengths[0])
        if _IN_MEMORY < self._left <= self._most:
            self.spill()  # at once, rather than having some of it in memory before
        return self._left <= self._most

    def _body(self, data: bytes) -> bytes | None:
        if self._chunks is not None:
            end = self._chunks.feed(data)
            self._keep(data if end is None else data[:end])
            if self._chunks.bad or self.size > self._most + 2 * MOST_HEAD:
                self.last = True
                return b''
            return None if end is None else data[end:]
        mine = data[: self._left]
        self._left -= len(mine)
        self._keep(mine)
        return None if self._left else data[len(mine) :]

    def _keep(self, data: bytes) -> None:
        self.file.write(data)
        self.size += len(data)


class _Chunks:
    """Follows the chunks of a body to its end (RFC 9112, §7.1)."""

    def __init__(self) -> None:
        self.bad = False
        self._left = 0
        self._line = b''
        self._trailer = False

    def feed(self, data: bytes) -> int | None:
        """Return at which byte of *data* the body ends; ``None`` if it goes on."""
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            end = data.find(b'\n', at)
            line = self._line + data[at : end if end >= 0 else None]
            if len(line) > _MOST_LINE:
                self.bad = True
                return len(data)
            if end < 0:
                self._line = line
                return None
            self._line, at = b'', end + 1
            if self._trailer and not line.strip():
                return at
            if not self._trailer and not self._begin(line.partition(b';')[0].strip()):
                self.bad = True
                return len(data)
        return None

    def _begin(self, size: bytes) -> bool:
        if not re.fullmatch(rb'[0-9A-Fa-f]{1,12}', size):
            return False
        number = int(size, 16)
        self._trailer = number == 0
        self._left = number + 2 if number else 0  # with the end of the line behind it
        return True
