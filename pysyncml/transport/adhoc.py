"""What the ad hoc server changes about cheroot; imported only when there is something to serve."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from typing import Any

from cheroot import wsgi
from cheroot.server import HTTPConnection
from cheroot.ssl.builtin import BuiltinSSLAdapter

from pysyncml.errors import UsageError
from pysyncml.transport.wsgi import WAITED

__all__ = ['Server', 'tls_adapter']

log = logging.getLogger('pysyncml.transport')


class _Connection(HTTPConnection):
    """A connection that shakes hands in its own thread.

    cheroot does so in the one thread that accepts connections, where a client that says
    nothing keeps all the others waiting.
    """

    shaken = False
    #: When it was put in line for a thread (:func:`time.monotonic`), and how long it waited there.
    queued = waited = 0.0

    def communicate(self) -> bool:
        """Answer one request; return whether the connection stays open."""
        self.waited = time.monotonic() - self.queued
        if self.server.ssl_adapter is not None and not self.shaken:
            try:
                self.socket.do_handshake()
            except OSError as exc:
                log.info('no encrypted connection with %s: %s', self.remote_addr, exc)
                return False
            self.shaken = True
        return bool(super().communicate())  # type: ignore[no-untyped-call]


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
    max_request_header_size = 1 << 16

    def __init__(
        self,
        address: tuple[str, int],
        app: Callable[..., Any],
        threads: int,
        timeout: float,
    ) -> None:
        super().__init__(
            address,
            app,
            numthreads=threads,
            max=threads,
            server_name=address[0],
            request_queue_size=128,
            timeout=timeout,  # type: ignore[arg-type]
        )
        self.gateway = _Gateway
        self.keep_alive_conn_limit = 8 * threads

    def process_conn(self, conn: Any) -> None:
        """Put a connection that has something to say in line for a thread."""
        conn.queued = time.monotonic()
        super().process_conn(conn)

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
