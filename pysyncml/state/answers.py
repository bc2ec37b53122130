"""The last answer of a session, which is given again if its message comes again.

One with a part of a large item is kept in a file beside the database, where it would be written
twice over, and waited for; the database says in which file. It may not outlast a power failure:
then the message cannot be answered again, and its client goes on in another session.
"""

from __future__ import annotations

from zlib import crc32

from sqlalchemy import Connection, func, select

from pysyncml.state.records import SessionRecord
from pysyncml.state.tables import Tables
from pysyncml.storage.spool import Spool

_LARGE = 1 << 20  # bytes
# what stands in the place of an answer: a NUL, which no message begins with, then the token of a
# file, and the CRC-32 of what is in it
_MARK, _TOKEN, _LENGTH = b'\0', 32, 41


def keep_answer(row: SessionRecord, body: bytes, spool: Spool | None) -> list[str]:
    """Make *body* the answer of *row*; return the files that are not needed any more.

    Raises:
        StoreFull: there is no room for it.
    """
    before = [_token(row.answer)] if _lies_in_a_file(row.answer) else []
    row.answer = body
    if spool is not None and len(body) > _LARGE:
        row.answer = _MARK + spool.keep(body).encode() + b'%08x' % crc32(body)
    return before


def kept_answer(row: SessionRecord, spool: Spool | None) -> bytes | None:
    """Return the last answer of *row*; ``None`` if it is not there any more."""
    if not _lies_in_a_file(row.answer):
        return row.answer
    assert row.answer is not None
    body = spool.read(_token(row.answer)) if spool is not None else None
    checksum = int(row.answer[len(_MARK) + _TOKEN :], 16)
    return body if body is not None and crc32(body) == checksum else None


def answer_tokens(connection: Connection, tables: Tables) -> list[str]:
    """Return the tokens of the files of all answers."""
    answer = tables.session.c.answer
    rows = connection.execute(select(answer).where(func.length(answer) == _LENGTH)).scalars()
    return [_token(row) for row in rows if _lies_in_a_file(row)]


def _lies_in_a_file(answer: bytes | None) -> bool:
    return answer is not None and answer[:1] == _MARK and len(answer) == _LENGTH


def _token(answer: bytes | None) -> str:
    assert answer is not None
    return answer[len(_MARK) : len(_MARK) + _TOKEN].decode('ascii')
