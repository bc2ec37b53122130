"""A device that was put back to an earlier state, as from a backup: how far, and what that means.

Such a device shows items as they were then. To a server that looks like edits of everything that
has changed since, and old versions would take the place of newer ones. Its last anchor gives it
away: it is one of those that it had before. So the server writes down which anchor went with
which change of its own, and in the slow sync that follows holds what has changed since then for
unknown to the device: what it shows of that is an earlier version, which counts for nothing, or
an edit of one, which is a conflict.
"""

from __future__ import annotations

from pysyncml.state.records import BindingRecord

#: Experimental meta information in a client's Alert: its anchors of sessions that have come to
#: their end, as far as it is concerned, though it never heard the last answer. The state it is in
#: is at least as late as these, whatever its last anchor says.
ENDED = 'pysyncml-ended='

_MOST = 40  # anchors that are remembered; of those older than the newest half, every other one


def remember(record: BindingRecord, seq: int) -> None:
    """Write down that the peer, at the anchor it has now, knows our changes up to *seq*."""
    anchors = [list(pair) for pair in record.anchors or []]
    if record.peer_anchor is None:
        return
    if anchors and anchors[-1][1] == seq and _number(anchors[-1][0]) is not None:
        return  # numbers rise: the earlier one tells as much
    anchors.append([record.peer_anchor, seq])
    if len(anchors) > _MOST:
        half = _MOST // 2
        anchors = anchors[:-half:2] + anchors[-half:]
    record.anchors = anchors


def rewound_to(record: BindingRecord, last: str | None, emi: tuple[str, ...]) -> int | None:
    """Return the number of our last change that a peer can know whose last anchor is *last*.

    *emi* is what it says besides (:data:`ENDED`). ``None`` if it has not been put back to an
    earlier state, as far as can be told: its anchor is the one it had the last time, or a later one
    (then it is we who have been put back), or none that we know.
    """
    if not last or not record.peer_anchor or last == record.peer_anchor:
        return None
    ends = [text.removeprefix(ENDED).split(',') for text in emi if text.startswith(ENDED)]
    if any(record.peer_anchor in end for end in ends):
        return None
    anchors = record.anchors or []
    for anchor, seq in reversed(anchors):
        if anchor == last:
            return int(seq)
    now, newest = _number(last), _number(record.peer_anchor)
    if now is None or newest is None or now > newest:
        return None
    older = [int(seq) for anchor, seq in anchors if (_number(anchor) or 0) <= now]
    return max(older, default=None)


def _number(anchor: str) -> int | None:
    return int(anchor) if anchor.isascii() and anchor.isdigit() and len(anchor) < 20 else None
