"""Move bytes to a peer and back; nothing in here knows what the bytes mean.

A :class:`Request` goes out, a :class:`Response` comes back, and whatever does that is a
:class:`Transport`. Over the network that is :class:`pysyncml.transport.http.HTTPTransport` on
the client and :func:`pysyncml.transport.wsgi.application` on the server; within one process it
is :class:`LoopbackTransport`. Only this module is imported at once: the others bring in
``requests`` and ``cheroot`` when they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pysyncml.errors import HTTPStatus, TransportError

__all__ = ['Handler', 'LoopbackTransport', 'Request', 'Response', 'Transport']


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes on their way to a server.

    ``url`` is where they go (on the server: the address the peer used), ``headers`` are looked
    up by their lower-case names whatever the case they were given in, ``body`` is the message,
    and ``remote`` on a server the network address of the peer (``None`` if not known). ``waited``
    is how many seconds it has been in line there.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b''
    remote: str | None = None
    waited: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, 'headers', _lower(self.headers))

    @property
    def content_type(self) -> str:
        """The ``Content-Type`` header, parameters included; empty if there is none."""
        return self.headers.get('content-type', '')


@dataclass(frozen=True, slots=True)
class Response:
    """Bytes on their way back: the answer to one :class:`Request`.

    ``content_type`` may carry parameters, ``status`` is the HTTP status, and ``headers`` are
    further ones, looked up by their lower-case names.
    """

    body: bytes
    content_type: str = ''
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, 'headers', _lower(self.headers))


Handler = Callable[[Request], Response]
"""What answers requests on a server."""


class Transport(Protocol):
    """Carries requests to one peer."""

    def exchange(self, request: Request) -> Response:
        """Send *request* and return the answer, whose status is always 200.

        Raises:
            TransportError: there is no such answer; the text says why, in one line. Whether
                the peer saw the request is not known then: it may be sent again as it is
                (OMA-DS-Protocol 1.2, repeated messages).
        """

    def close(self) -> None:
        """Let go of connections; calling it twice is harmless."""


class LoopbackTransport:
    """A transport without a network: hands each request to a handler in the same process.

    Args:
        handler: what answers, as it would for :func:`pysyncml.transport.wsgi.application`;
            its exceptions come out as they are.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler: Handler | None = handler

    def exchange(self, request: Request) -> Response:
        """Return the handler's answer to *request*; see :meth:`Transport.exchange`."""
        if self._handler is None:
            raise TransportError('The connection to the peer was closed.')
        response = self._handler(request)
        if response.status != 200:
            raise HTTPStatus(f'The peer answered with HTTP {response.status}.', response.status)
        return response

    def close(self) -> None:
        """Forget the handler."""
        self._handler = None
