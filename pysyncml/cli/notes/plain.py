"""Texts of peers that send plain text, which do not keep line ends as they were.

Some write CRLF whatever they were given, XML parsers make LF of it, and some add an empty line at
the end each time a note passes through them (SyncEvolution does). None of this is somebody's edit:
the line ends of a note, and how many there are at its end, stay as they are here.
"""

from __future__ import annotations

from collections.abc import Iterator

_MOST = 8  # line ends at the end of a text that are tried when looking for an equal one


def adapted(body: bytes, ours: bytes) -> bytes:
    """Return the text *body* of a peer with the line ends of *ours*, inside and at the end.

    What is no text (it has a NUL) stays as it is; so do line ends if *ours* mixes several kinds,
    unless nothing else is different.
    """
    if body == ours or b'\0' in body or b'\0' in ours:
        return body
    plain, mine = _lines(body), _lines(ours)
    core, kept = plain.rstrip(b'\n'), mine.rstrip(b'\n')
    if core == kept:
        return ours
    ends = _ends(ours)
    if ends is None:
        return body
    return (core + mine[len(kept) :]).replace(b'\n', ends)


def variants(body: bytes) -> Iterator[bytes]:
    """Yield what *body* may have been before it went through a peer.

    With LF or CRLF, and with no more line ends at its end than it has.
    """
    if b'\0' in body:
        return
    plain = _lines(body)
    core = plain.rstrip(b'\n')
    for count in range(min(len(plain) - len(core), _MOST), -1, -1):
        text = core + count * b'\n'
        yield text
        if b'\n' in text:
            yield text.replace(b'\n', b'\r\n')


def _lines(body: bytes) -> bytes:
    return body.replace(b'\r\n', b'\n').replace(b'\r', b'\n')


def _ends(body: bytes) -> bytes | None:
    """Return the one kind of line ends that *body* has, ``None`` if there are several."""
    pairs = body.count(b'\r\n')
    if body.count(b'\r') != pairs:
        return None
    if pairs:
        return b'\r\n' if body.count(b'\n') == pairs else None
    return b'\n'
