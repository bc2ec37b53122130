"""Texts that a scan has just read, so that they need not be read again when they are sent."""

from __future__ import annotations

#: Bytes of one text, and of all together, that are kept.
LONGEST, MOST = 64 << 10, 12 << 20
_EACH = 200  # bytes that a text takes besides its own, about


class RecentTexts:
    """A limited amount of texts, by their SHA-256; each is given out once, and forgotten by that.

    As the digest says which one is meant, it does not matter what becomes of the file meanwhile.
    """

    def __init__(self) -> None:
        self._texts: dict[str, bytes] = {}
        self._room = MOST

    def keep(self, sha256: str, text: bytes) -> None:
        """Keep *text*, whose digest is *sha256*, if there is room."""
        room = self._room - len(text) - _EACH
        if room >= 0 and len(text) <= LONGEST and sha256 not in self._texts:
            self._texts[sha256] = text
            self._room = room

    def take(self, sha256: str) -> bytes | None:
        """Return the text with this digest; ``None`` if it is not here (any more)."""
        text = self._texts.pop(sha256, None)
        if text is not None:
            self._room += len(text) + _EACH
        return text

    def clear(self) -> None:
        """Forget all of them."""
        self._texts.clear()
        self._room = MOST


__all__ = ['RecentTexts']
