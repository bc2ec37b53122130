"""How long clients may keep a server waiting, and how many of them at once."""

from __future__ import annotations

from pysyncml.immutable import immutable

__all__ = ['Pace']


@immutable()
class Pace:
    """How long clients may keep a server waiting, and how many at once.

    Attributes:
        quiet: seconds without a sign of life, also between two requests.
        head: seconds for the TLS handshake, and for the head of a request.
        body: seconds for the rest of a request, and for an answer, however small it is; for each
            *rate* bytes one second more.
        rate: bytes a second that are expected of a slow network.
        longest: seconds for the whole of a request, whatever its size.
        farewell: seconds for the client to read the last answer before the connection ends.
        connections: how many may be open; fewer if the system allows fewer files.
    """

    quiet: float = 60
    head: float = 20
    body: float = 60
    rate: float = 1024
    longest: float = 3600
    farewell: float = 2
    connections: int = 500

    def most_connections(self) -> int:
        """Return how many connections may be open; the other half of the files is for the rest."""
        return min(self.connections, _most_files() // 2)


def _most_files() -> int:
    """Return how many files, connections among them, this process may have open."""
    try:
        import resource
    except ImportError:  # Windows: no such limit
        return 1 << 16
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 16 if soft == resource.RLIM_INFINITY else soft
