"""The server's side of HTTP: a plain WSGI application, and a small server to run it.

The application takes a function from :class:`~pysyncml.transport.Request` to
:class:`~pysyncml.transport.Response` and runs on any WSGI server (PEP 3333);
:class:`AdHocServer` is the one that needs no set-up. SyncML HTTP Binding 1.2, §5.
"""

from __future__ import annotations

import errno
import logging
import re
import socket
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pysyncml.constants import StatusCode
from pysyncml.errors import (
    CodecError,
    RemoteProtocolError,
    SyncmlError,
    TransportError,
    refusal_of_system,
)
from pysyncml.transport import Handler, Request, Response, coding, fingerprints

if TYPE_CHECKING:
    from types import TracebackType

    from pysyncml.transport.adhoc import Server
    from pysyncml.transport.pace import Pace

__all__ = ['MAX_BODY', 'AdHocServer', 'application']

log = logging.getLogger('pysyncml.transport')

MAX_BODY = 16 << 20
"""How many bytes a message may have, unless said otherwise."""

WAITED = 'pysyncml.waited'
"""In the environment of a request: the seconds it has waited for a thread, where that is known."""

_BLOCK = 1 << 16
_DIGITS = 18
_LARGE = 1 << 20  # bytes; of messages as large as that one at a time is answered
_WELCOME = 'This is a SyncML server: give this address to a SyncML client.'
_FAILED = 'The server failed: its log says why.'

Environ = dict[str, Any]
StartResponse = Callable[..., object]


class _Refused(Exception):
    """The request ends here, with an HTTP status and one line."""

    def __init__(self, status: int, line: str, **headers: str) -> None:
        super().__init__(line)
        self.response = _text(status, line, headers)


def _text(status: int, line: str, headers: dict[str, str]) -> Response:
    return Response(line.encode() + b'\n', 'text/plain; charset=utf-8', status, headers)


def application(
    handler: Handler, max_body: int = MAX_BODY, trusted_proxies: Collection[str] = ()
) -> Callable[[Environ, StartResponse], Iterable[bytes]]:
    """Return a WSGI application that answers each POST, at any path, with what *handler* says.

    A GET gets a line of text that says what this is. An exception of *handler* ends in the
    log, and as one line without details at the peer: 400 or 415 for what is no message, 503 for
    what is to be tried again later, 500 otherwise. Requests that a browser makes on
    behalf of a web page are refused (403), so that no page can reach a server without a
    password that listens on the loopback address.

    Args:
        handler: called in as many threads at once as the WSGI server has.
        max_body: how many bytes a message may have; more is answered with 413.
        trusted_proxies: addresses of proxies that are believed when they say whom they forward
            (X-Forwarded-For); of all others it could be made up, so it is not looked at.
    """

    heavy = threading.Lock()

    def answer(request: Request) -> Response:
        if len(request.body) <= _LARGE:
            return handler(request)
        with heavy:  # it takes several times its size in memory
            return handler(request)

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method = environ['REQUEST_METHOD']
        try:
            response = _respond(environ, method, answer, max_body, trusted_proxies)
        except _Refused as refusal:
            response = refusal.response
        if response.status == HTTPStatus.OK and method == 'POST':
            response = _packed(response, environ.get('HTTP_ACCEPT_ENCODING', ''))
        start_response(_status_line(response.status), list(_headers(response)))
        if method == 'HEAD':
            return ()
        return (response.body,) if WAITED in environ else _blocks(response.body)

    return app


def _respond(
    environ: Environ,
    method: str,
    handler: Handler,
    max_body: int,
    trusted_proxies: Collection[str],
) -> Response:
    if method in {'GET', 'HEAD'}:
        return _text(200, _WELCOME, {})
    if method != 'POST':
        raise _Refused(405, 'Only POST is understood here.', allow='GET, HEAD, POST')
    if 'HTTP_ORIGIN' in environ or 'HTTP_SEC_FETCH_SITE' in environ:
        raise _Refused(403, 'Web pages may not send messages.')
    body = _body(environ, max_body)
    headers = {k[5:].replace('_', '-'): v for k, v in environ.items() if k.startswith('HTTP_')}
    headers['content-type'] = environ.get('CONTENT_TYPE', '')
    remote = _remote(environ, trusted_proxies)
    waited = float(environ.get(WAITED, 0.0))
    return _handled(handler, Request(_url(environ), headers, body, remote, waited))


def _remote(environ: Environ, trusted: Collection[str]) -> str | None:
    """Return the address of the peer: the last one that no trusted proxy has."""
    remote = environ.get('REMOTE_ADDR') or None
    said = environ.get('HTTP_X_FORWARDED_FOR', '').split(',')
    while said and remote is not None and remote.removeprefix('::ffff:') in trusted:
        remote = said.pop().strip()[:64] or remote
    return remote


def _handled(handler: Handler, request: Request) -> Response:
    try:
        return handler(request)
    except (CodecError, RemoteProtocolError) as exc:
        log.warning('message from %s refused: %s', request.remote, exc)
        unknown = exc.status == StatusCode.UNSUPPORTED_MEDIA_TYPE
        raise _Refused(415 if unknown else 400, 'This is no SyncML message.') from exc
    except SyncmlError as exc:
        log.error('message from %s failed: %s', request.remote, exc)
        if exc.status == StatusCode.RETRY_LATER:
            raise _Refused(503, 'Not now: try again later.', retry_after='30') from exc
        raise _Refused(500, _FAILED) from exc
    except Exception as exc:
        trouble = refusal_of_system(exc)
        line = 'message from %s failed: %s'
        log.error(line, request.remote, trouble or exc, exc_info=trouble is None)
        raise _Refused(500, _FAILED) from exc


def _body(environ: Environ, max_body: int) -> bytes:
    """Read the message: as long as announced, or to its end if the server knows where that is."""
    announced = environ.get('CONTENT_LENGTH') or ''
    if announced:
        if not (announced.isascii() and announced.isdigit()):
            raise _Refused(400, 'The Content-Length is no number.')
        length = int(announced) if len(announced) <= _DIGITS else max_body + 1
    elif environ.get('wsgi.input_terminated'):
        length = max_body + 1
    else:
        raise _Refused(411, 'The Content-Length is missing.')
    if announced and length > max_body:
        raise _Refused(413, f'The message is larger than {max_body} bytes.')
    blocks, size = [], 0
    try:
        while size < length:
            # what was announced is read at once: nothing is copied then
            block = environ['wsgi.input'].read(length - size if announced else _BLOCK)
            if not block:
                break
            blocks.append(block)
            size += len(block)
    except ValueError as exc:
        raise _Refused(400, 'The message cannot be read.') from exc
    body = blocks[0] if len(blocks) == 1 else b''.join(blocks)
    if announced and len(body) < length:
        raise _Refused(400, 'The message broke off in the middle.')
    if len(body) > max_body:
        raise _Refused(413, f'The message is larger than {max_body} bytes.')
    if not body:
        raise _Refused(400, 'The message is empty.')
    return _unpacked(body, environ.get('HTTP_CONTENT_ENCODING', ''), max_body)


def _unpacked(body: bytes, encoding: str, max_body: int) -> bytes:
    """Return the message that a client has made smaller for its way (RFC 9110 §8.4)."""
    encoding = encoding.strip().lower()
    if encoding in {'', 'identity'}:
        return body
    if not coding.is_gzip(encoding):
        raise _Refused(415, 'The Content-Encoding is not known here.', accept_encoding=coding.GZIP)
    try:
        plain = coding.unpack(body, max_body)
    except coding.Unpackable as exc:
        raise _Refused(400, str(exc)) from exc
    if len(plain) > max_body:
        raise _Refused(413, f'The message is larger than {max_body} bytes.')
    if not plain:
        raise _Refused(400, 'The message is empty.')
    return plain


def _packed(response: Response, accept: str) -> Response:
    """Return *response* smaller where the client takes it so, with what we take ourselves."""
    headers = {**response.headers, 'accept-encoding': coding.GZIP}
    packed = coding.pack(response.body) if coding.takes_gzip(accept) else None
    if packed is None:
        return replace(response, headers=headers)
    return replace(response, body=packed, headers={**headers, 'content-encoding': coding.GZIP})


def _url(environ: Environ) -> str:
    """Return the address the peer used (PEP 3333, URL reconstruction)."""
    host = environ.get('HTTP_HOST') or f'{environ["SERVER_NAME"]}:{environ["SERVER_PORT"]}'
    raw = environ.get('SCRIPT_NAME', '') + environ.get('PATH_INFO', '')
    path = quote(raw, safe='/;=,:@', encoding='latin-1') or '/'
    query = f'?{environ["QUERY_STRING"]}' if environ.get('QUERY_STRING') else ''
    return f'{environ["wsgi.url_scheme"]}://{host}{path}{query}'


def _status_line(status: int) -> str:
    try:
        return f'{status} {HTTPStatus(status).phrase}'
    except ValueError:
        return f'{status} Unknown'


def _headers(response: Response) -> Iterator[tuple[str, str]]:
    yield 'Content-Type', response.content_type or 'application/octet-stream'
    yield 'Content-Length', str(len(response.body))
    yield 'Cache-Control', 'no-store'
    yield 'X-Content-Type-Options', 'nosniff'
    yield 'Server', 'pysyncml'
    for name, value in response.headers.items():
        yield name.replace('_', '-').title(), value


def _blocks(body: bytes) -> Iterator[bytes]:
    """Cut the answer, for other servers copy all that is left each time the socket takes some."""
    for start in range(0, len(body), _BLOCK):
        yield body[start : start + _BLOCK]


class AdHocServer:
    """Serves one WSGI application over HTTP or HTTPS; a context manager that starts and stops it.

    Args:
        app: the application.
        host: the name or address to listen on; empty for all interfaces.
        port: 0 takes any free one, see :attr:`port` for which.
        tls_cert: PEM file with the certificate (and those that signed it) to speak HTTPS.
        tls_key: PEM file with its private key; not needed if it stands in *tls_cert*.
        threads: how many requests are answered at once.
        timeout: seconds without a sign of life after which a connection is closed.
        max_body: bytes of a message, as for *app*: more is not taken in.
        pace: the other limits of what clients may take; their ``quiet`` is *timeout*.

    Raises:
        UsageError: certificate or key cannot be used.
    """

    def __init__(
        self,
        app: Callable[[Environ, StartResponse], Iterable[bytes]],
        host: str = '127.0.0.1',
        port: int = 0,
        *,
        tls_cert: str | None = None,
        tls_key: str | None = None,
        threads: int = 8,
        timeout: float = 60,
        max_body: int = MAX_BODY,
        pace: Pace | None = None,
    ) -> None:
        from pysyncml.transport import adhoc
        from pysyncml.transport.pace import Pace

        everywhere = '::' if socket.has_dualstack_ipv6() else '0.0.0.0'
        self.host = host or everywhere
        self.port = port
        self.tls = tls_cert is not None
        pace = replace(pace or Pace(), quiet=timeout)
        self._server: Server = adhoc.Server((self.host, port), app, threads, pace, max_body)
        #: SHA-256 of the certificate, as people compare it; ``None`` without TLS.
        self.fingerprint: str | None = None
        if tls_cert is not None:
            self._server.ssl_adapter = adhoc.tls_adapter(tls_cert, tls_key)
            found = fingerprints.of_file(tls_cert)
            self.fingerprint = fingerprints.shown(found) if found else None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Listen, and answer in threads of its own from now on.

        Raises:
            TransportError: the port cannot be had; the text says why.
        """
        try:
            self._server.prepare()
        except OSError as exc:
            raise _cannot_listen(exc, self.host, self.port) from exc
        self.port = int(self._server.bind_addr[1])
        self._ended.clear()
        self._thread = threading.Thread(target=self._serve, name='pysyncml-server', daemon=True)
        self._thread.start()

    def serve_forever(self, tidy: Callable[[], None] | None = None) -> None:
        """Answer until :meth:`stop` is called from elsewhere, or the user interrupts.

        Args:
            tidy: called once a minute.
        """
        if self._thread is None:
            self.start()
        seconds = 0
        try:
            # A wait without an end would not let Ctrl-C through on every system.
            while not self._ended.wait(1):
                seconds += 1
                if tidy is not None and seconds % 60 == 0:
                    tidy()
        finally:
            self.stop()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Let the requests under way end (for some seconds), and close; harmless when stopped."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        self._server.stop()
        thread.join()

    @property
    def urls(self) -> list[str]:
        """The addresses to give to clients, the best one first."""
        scheme = 'https' if self.tls else 'http'
        names = [self.host]
        if self.host in {'0.0.0.0', '::'}:
            names = list(dict.fromkeys([socket.gethostname(), 'localhost']))
        return [f'{scheme}://{f"[{name}]" if ":" in name else name}:{self.port}/' for name in names]

    @property
    def url(self) -> str:
        """The address to give to clients."""
        return self.urls[0]

    @property
    def ready_line(self) -> str:
        """What to tell people once the server is started."""
        everywhere = self.host in {'0.0.0.0', '::'}
        return f'Listening on {self.url}' + (' (all network interfaces)' if everywhere else '')

    def __enter__(self) -> AdHocServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _serve(self) -> None:
        try:
            self._server.serve()
        except BaseException as exc:
            self._failure = exc
        finally:
            self._ended.set()


def _cannot_listen(error: OSError, host: str, port: int) -> TransportError:
    # cheroot raises a new error that has the number of the old one in its text only
    numbers = {int(number) for number in re.findall(r'Err(?:no|or) (\d+)', str(error))}
    if error.errno:
        numbers.add(error.errno)
    if numbers & {errno.EADDRINUSE, 10048}:
        return TransportError(f'Port {port} is in use already: choose another one.')
    if numbers & {errno.EACCES, errno.EPERM, 10013}:
        return TransportError(f'You may not listen on port {port}: choose one above 1023.')
    if numbers & {errno.EADDRNOTAVAIL, 10049}:
        return TransportError(f'{host} is no address of this computer: it cannot listen there.')
    return TransportError(f'Cannot listen on port {port} of {host}: {error}')
