"""What the ad hoc server changes about cheroot; imported only when there is something to serve."""

from __future__ import annotations

import contextlib
import logging
import ssl
import time
from collections.abc import Callable
from typing import Any

from cheroot import wsgi
from cheroot.server import HTTPConnection
from cheroot.ssl.builtin import BuiltinSSLAdapter

from pysyncml.errors import UsageError
from pysyncml.transport.arrival import MOST_HEAD
from pysyncml.transport.pace import Pace
from pysyncml.transport.reception import Reception
from pysyncml.transport.wsgi import WAITED

__all__ = ['Server', 'tls_adapter']

log = logging.getLogger('pysyncml.transport')


_LARGE = 1 << 18  # bytes that are not copied once more


class _Outbox:
    """What is written to a connection; it is sent when all of it is there."""

    closed = False

    def __init__(self) -> None:
        self._blocks: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Put *data* to the rest; that a body may come was said when its head was read."""
        if data != b'HTTP/1.1 100 Continue\r\n\r\n':
            self._blocks.append(bytes(data))
        return len(data)

    def take(self) -> list[bytes]:
        """Return all of it, in one piece unless that would be a large one, and begin anew."""
        blocks, self._blocks = self._blocks, []
        return blocks if sum(map(len, blocks)) > _LARGE else [b''.join(blocks)]


class _Connection(HTTPConnection):
    """A connection that a :class:`Reception` reads from and writes to.

    ``keep`` is whether it stays open after the answer that ``wfile`` holds.
    """

    keep = False
    #: When it was put in line for a thread (:func:`time.monotonic`), and how long it waited there.
    queued = waited = 0.0

    def __init__(self, server: Any, sock: Any, makefile: Any = None) -> None:
        super().__init__(server, sock, lambda sock, mode, size: _Outbox())

    def communicate(self) -> bool:
        """Answer the request that ``rfile`` holds; how it goes on is for the reception to say."""
        self.waited = time.monotonic() - self.queued
        try:
            self.keep = bool(super().communicate())  # type: ignore[no-untyped-call]
        finally:
            self.rfile.close()
        return True

    def close(self) -> None:
        """Have the connection closed."""
        self.server.reception.dismiss(self)

    def hang_up(self) -> None:
        """Close it, now."""
        with contextlib.suppress(OSError):
            self.socket.close()


class _Gateway(wsgi.Gateway_10):
    """Tells the application how long a request has waited for a thread."""

    def get_environ(self) -> Any:
        """Return the environment of the request."""
        environ: Any = super().get_environ()  # type: ignore[no-untyped-call]
        environ[WAITED] = self.req.conn.waited
        return environ


class _TLSAdapter(BuiltinSSLAdapter):
    """Wraps sockets without shaking hands yet."""

    def wrap(self, sock: Any) -> tuple[Any, dict[str, str]]:
        """Return the encrypted socket, and what the application is told about it."""
        wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return wrapped, {'wsgi.url_scheme': 'https', 'HTTPS': 'on'}


class Server(wsgi.Server):
    """cheroot's server, with its messages in our log instead of on stderr."""

    ConnectionClass = _Connection
    max_request_header_size = MOST_HEAD

    def __init__(
        self,
        address: tuple[str, int],
        app: Callable[..., Any],
        threads: int,
        pace: Pace,
        max_body: int,
    ) -> None:
        super().__init__(
            address,
            app,
            numthreads=threads,
            max=threads,
            server_name=address[0],
            request_queue_size=128,
            timeout=pace.quiet,  # type: ignore[arg-type]
        )
        self.gateway = _Gateway
        self.max_request_body_size = 2 * max_body + (1 << 16)
        self._pace, self._max_body = pace, max_body
        self.reception: Reception | None = None

    def prepare(self) -> None:
        """Listen, and take connections in."""
        super().prepare()
        self.reception = Reception(self, self._pace, self._max_body)
        self.reception.start()

    def stop(self) -> None:
        """Listen no more, let requests that are being worked on end, and close connections."""
        super().stop()
        if self.reception is not None:
            self.reception.stop(self.shutdown_timeout)

    def process_conn(self, conn: Any) -> None:
        """Take care of a connection that was just made."""
        assert self.reception is not None
        self.reception.receive(conn)

    def work_on(self, conn: Any) -> None:
        """Have the request answered that a connection holds."""
        assert self.reception is not None
        conn.queued = time.monotonic()
        if self.ready:
            super().process_conn(conn)
        else:  # nobody works any more
            self.reception.dismiss(conn)

    def put_conn(self, conn: Any) -> None:
        """Take care of a connection whose answer is ready."""
        assert self.reception is not None
        self.reception.answered(conn)

    @property
    def can_add_keepalive_connection(self) -> bool:
        """Whether a connection may stay open after its answer."""
        return bool(self.ready) and self.reception is not None and not self.reception.crowded

    def error_log(self, msg: str = '', level: int = logging.INFO, traceback: bool = False) -> None:
        """Write *msg* to the log."""
        log.log(level, '%s', msg, exc_info=traceback)


def tls_adapter(cert: str, key: str | None) -> _TLSAdapter:
    """Return what makes a :class:`Server` speak TLS 1.2 or later.

    Raises:
        UsageError: the files cannot be read, or do not go together.
    """
    for path in filter(None, (cert, key)):
        try:
            with open(path, 'rb'):
                pass
        except OSError as exc:
            raise UsageError(f'Cannot read {path}: {exc.strerror}.') from exc

    def locked() -> str:
        raise UsageError(f'The key {key or cert} has a password: give one without.')

    try:
        adapter = _TLSAdapter(cert, key or cert, private_key_password=locked)  # type: ignore[arg-type]
    except ssl.SSLError as exc:
        if 'MISMATCH' in (exc.reason or ''):
            line = f'The key {key or cert} does not belong to the certificate {cert}.'
        else:
            line = f'{cert} and {key or cert} hold no certificate with its key in PEM form.'
        raise UsageError(line) from exc
    adapter.context.minimum_version = ssl.TLSVersion.TLSv1_2
    return adapter
