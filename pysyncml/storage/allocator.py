"""What the system's allocator does with large pieces of memory, where it can be told (glibc).

Parts of large files come and go as pieces of some MB. Left to itself, the allocator hands each of
them back to the system and asks for another, which costs more than what is done with it; and it
keeps places apart for threads, so that what messages took in one is not used again by the others.
What is kept so is given back now and then. Elsewhere nothing is done.
"""

from __future__ import annotations

import contextlib
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # mallopt(3)
_KEPT = 64 << 20
_LARGEST = 32 << 20


@cache
def keep_memory() -> None:
    """Have pieces of some MB kept to be used again."""
    _tell((_TRIM_THRESHOLD, _KEPT), (_MMAP_THRESHOLD, _LARGEST))


@cache
def share_memory() -> None:
    """Do that, for a process with many threads: let them have one place; before they begin."""
    _tell((_ARENA_MAX, 1))
    keep_memory()


def release_memory() -> None:
    """Give back to the system what is not in use, wherever it lies."""
    with contextlib.suppress(ImportError, OSError, AttributeError, TypeError):
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)


def _tell(*settings: tuple[int, int]) -> None:
    with contextlib.suppress(ImportError, OSError, AttributeError, TypeError):
        import ctypes  # costs time, and is needed only here

        mallopt = ctypes.CDLL(None).mallopt
        for name, value in settings:
            mallopt(name, value)
