"""Which of our datastores goes with which of the peer's, and in which content type."""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Collection, Mapping, Sequence

from pysyncml.protocol.devinf import ContentTypeInfo


def clean_uri(uri: str) -> str:
    """Return *uri* in the form in which addresses of datastores are compared.

    Without query, without a leading ``./`` or ``/``, in lower case: ``./Notes?x`` is ``notes``.
    An absolute address keeps its last part only when nothing else tells datastores apart.
    """
    path = uri.partition('?')[0]
    if '://' in path:
        path = path.rstrip('/').rpartition('/')[2]
    return posixpath.normpath('/' + path).lstrip('/').lower()


def find_uri(uri: str, known: Collection[str]) -> str | None:
    """Return the one of the *known* addresses that *uri* means."""
    if uri in known:
        return uri
    wanted = clean_uri(uri)
    return next((candidate for candidate in known if clean_uri(candidate) == wanted), None)


def common_types(
    ours: Sequence[ContentTypeInfo], theirs: Sequence[ContentTypeInfo]
) -> list[tuple[str, str]]:
    """Return the types, with their versions, in which we can send to the peer, the best first.

    What both prefer goes before what one prefers; an equal version before a different one
    (OMA-DS-DevInf 1.2, Rx-Pref and Tx-Pref). A peer that says nothing gets what we prefer.
    """
    sending = [info for info in ours if info.transmit]
    if not theirs:
        best = next((info for info in sending if info.preferred), sending[0] if sending else None)
        return [(best.ctype, best.versions[-1])] if best else []
    ranked = []
    for order, mine in enumerate(sending):
        for their in theirs:
            if not their.receive or mine.ctype.lower() != their.ctype.lower():
                continue
            shared = [version for version in mine.versions if version in their.versions]
            version = shared[-1] if shared else mine.versions[-1]
            rank = (not shared, not their.preferred, not mine.preferred, order)
            ranked.append((rank, (mine.ctype, version)))
    return [found for _, found in sorted(ranked)]


def pair(
    ours: Mapping[str, Sequence[ContentTypeInfo]],
    theirs: Mapping[str, Sequence[ContentTypeInfo]],
) -> dict[str, str]:
    """Return which of the peer's datastores goes with each of ours, by address.

    The best pairs come first: those whose preferred types are equal, then those with any type in
    common; among equals, those whose addresses are most alike. Datastores with nothing in
    common are not paired.
    """
    candidates = []
    for our_uri, our_types in ours.items():
        for their_uri, their_types in theirs.items():
            affinity = _affinity(our_types, their_types)
            if affinity:
                alike = difflib.SequenceMatcher(
                    None, clean_uri(our_uri), clean_uri(their_uri), autojunk=False
                ).ratio()
                candidates.append((-affinity, -alike, our_uri, their_uri))
    pairs: dict[str, str] = {}
    for _, _, our_uri, their_uri in sorted(candidates):
        if our_uri not in pairs and their_uri not in pairs.values():
            pairs[our_uri] = their_uri
    return pairs


def _affinity(ours: Sequence[ContentTypeInfo], theirs: Sequence[ContentTypeInfo]) -> int:
    best = 0
    for mine in ours:
        for their in theirs:
            if mine.ctype.lower() != their.ctype.lower():
                continue
            versions = set(mine.versions) & set(their.versions)
            score = 1 + bool(versions) + mine.preferred + their.preferred
            best = max(best, score)
    return best
