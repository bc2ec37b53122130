"""The client's side of HTTP: messages are POSTed, answers come back with status 200.

SyncML HTTP Binding 1.2, §5. One :class:`HTTPTransport` speaks to one server and keeps its
cookies; to which URL each message goes is for the caller to say (RespURI).
"""

from __future__ import annotations

import base64
import logging
import os
import re
import warnings
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import requests
import urllib3
from requests.auth import HTTPDigestAuth
from requests.utils import select_proxy

from pysyncml.errors import TransportError, UsageError
from pysyncml.transport import Request, Response, coding, explain, fingerprints
from pysyncml.transport.deadline import Deadline, WatchedAdapter, in_blocks

__all__ = ['MAX_ANSWER', 'STALL', 'TOTAL', 'HTTPTransport']

log = logging.getLogger('pysyncml.transport')

MAX_ANSWER = 256 << 20
"""How many bytes an answer may have, unless said otherwise."""

STALL, TOTAL = 120.0, 600.0
"""Seconds without a sign of life, and for a whole exchange, unless said otherwise."""

_BLOCK = 1 << 16
_LARGE_BLOCK = 1 << 20  # bytes that are read at once of an answer that is larger
_MAX_REDIRECTS = 5
_REPEATING_REDIRECTS = {307, 308}  # the only ones that keep a POST a POST (RFC 9110 §15.4)
_REDIRECTS = {301, 302, 303} | _REPEATING_REDIRECTS
_PAGES = ('text/html', 'application/xhtml+xml')


class _Pinned(WatchedAdapter):
    """Connections to whoever has one certificate, whatever name it is for and whoever signed it.

    It is compared when the connection has been made, before anything is sent.
    """

    def __init__(self, deadline: Deadline, fingerprint: str) -> None:
        self._pin = {'assert_fingerprint': fingerprint, 'assert_hostname': False}
        super().__init__(deadline)

    def init_poolmanager(self, *args: Any, **values: Any) -> None:
        """Make what keeps the connections."""
        super().init_poolmanager(*args, **{**values, **self._pin})

    def proxy_manager_for(self, proxy: str, **values: Any) -> Any:
        """Return what keeps the connections through a proxy."""
        return super().proxy_manager_for(proxy, **{**values, **self._pin})


class HTTPTransport:
    """Sends messages to one server over HTTP or HTTPS.

    Args:
        timeout: seconds to wait for the connection, and for each sign of life afterwards.
        total: seconds for a whole exchange, from the first attempt to connect to the last byte.
        verify: ``True`` to check certificates against the well-known authorities, the path of
            a PEM file with other ones, or ``False`` not to check at all.
        proxies: scheme → proxy URL; ``None`` takes them from the environment.
        user_agent: what to call ourselves.
        username: for HTTP's own authentication, which is not SyncML's: Basic (RFC 7617) at once,
            Digest (RFC 7616) where the server asks for it; it is sent to the host of the first
            request only. A user in the URL does the same.
        password: goes with *username*.
        max_answer: how many bytes an answer may have, once decompressed.
        fingerprint: SHA-256 of the only certificate to be trusted, in hexadecimal; *verify* makes
            no difference then, and nothing is sent without encryption.

    Raises:
        UsageError: *verify* names no file, or *fingerprint* is none.
    """

    concurrent = True  # an exchange may go on in a thread of its own

    def __init__(
        self,
        *,
        timeout: tuple[float, float] = (10, STALL),
        total: float = TOTAL,
        verify: bool | str = True,
        proxies: Mapping[str, str] | None = None,
        user_agent: str = 'pysyncml',
        username: str | None = None,
        password: str | None = None,
        max_answer: int = MAX_ANSWER,
        fingerprint: str | None = None,
    ) -> None:
        if isinstance(verify, str) and not os.path.exists(verify):
            raise UsageError(f'There is no file {verify} with certificates.')
        self.timeout = timeout
        self.total = total
        self.verify = verify
        self.max_answer = max_answer
        self._credentials = None if username is None else (username, password or '')
        self._digest: HTTPDigestAuth | None = None
        self._first: SplitResult | None = None
        self._packs = False  # whether the server takes messages that are packed
        self._session = requests.Session()
        self._deadline = Deadline(timeout[1])
        self._deadline.watch(self._session)
        self._session.auth = self._authorize  # also keeps requests from reading ~/.netrc
        self._session.headers['User-Agent'] = user_agent
        self._pinned = fingerprint is not None
        if fingerprint is not None:
            try:
                pinned = _Pinned(self._deadline, fingerprints.read(fingerprint))
            except ValueError as exc:
                raise UsageError(str(exc)) from exc
            self._session.mount('https://', pinned)
            self.verify = False  # not needed, and the chain of such a certificate says nothing
        if proxies is not None:
            self._session.trust_env = False
            self._session.proxies = dict(proxies)

    def limit(self, seconds: float) -> None:
        """Give each exchange so many *seconds*, from now on, however they are spent."""
        self.timeout = (min(seconds, self.timeout[0]), seconds)
        self.total = self._deadline.stall = seconds

    def exchange(self, request: Request) -> Response:
        """POST *request* and return the answer.

        ``Accept`` is the request's own content type unless its headers say otherwise.

        Raises:
            ConnectFailed: the server was not reached, or its certificate is not good.
            Timeout: the server was too slow.
            HTTPStatus: the server answered, but not with a message.
            TransportError: the answer is too large, or broke off.
        """
        url = self._target(request.url)
        with self._deadline.within(self.total):
            return self._exchange(url, request)

    def _exchange(self, url: str, request: Request) -> Response:
        for _ in range(_MAX_REDIRECTS + 1):
            try:
                with closing(self._post(url, request)) as answer:
                    if self._wants_digest(answer) or self._wants_plain(answer):
                        continue
                    if answer.status_code not in _REDIRECTS:
                        return self._accept(answer, url)
                    url = self._redirected(answer, url)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
                raise self._explained(exc, url) from exc
            except ValueError as exc:
                line = f'{explain.place(url)} sends us on to something that is no address.'
                raise explain.refused(line) from exc
        raise explain.in_circles(request.url)

    def close(self) -> None:
        """Close all connections and forget the cookies."""
        self._session.close()
        self._deadline.close()
        self._session.cookies.clear()

    def _target(self, url: str) -> str:
        """Return where to send to: *url*, but never unencrypted after a start with https."""
        try:
            parts = urlsplit(url)
            usable = parts.scheme in {'http', 'https'} and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise explain.refused(
                f'{explain.place(url)} is no address of a server: '
                'it should look like https://example.com/sync'
            )
        if self._first is None:
            if self._pinned and parts.scheme != 'https':
                raise explain.refused(
                    f'{explain.place(url)} has no certificate that could be the one of '
                    '--fingerprint: use https://'
                )
            self._first = parts
            if parts.username and self._credentials is None:
                self._credentials = (unquote(parts.username), unquote(parts.password or ''))
        elif self._first.scheme == 'https' and parts.scheme == 'http':
            # Servers behind a proxy that ends TLS often name themselves http:// in RespURI.
            if parts.hostname != self._first.hostname:
                raise explain.refused(
                    f'The server wants to go on at {explain.place(url)}, '
                    'without encryption: refused.'
                )
            parts = parts._replace(scheme='https', netloc=self._first.netloc)
        return parts._replace(netloc=parts.netloc.rpartition('@')[2], fragment='').geturl()

    def _authorize(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        host = urlsplit(prepared.url or '').hostname
        if self._credentials and self._first and host == self._first.hostname:
            if self._digest is not None:
                self._digest(prepared)
                return prepared
            pair = ':'.join(self._credentials).encode()
            prepared.headers['Authorization'] = 'Basic ' + base64.b64encode(pair).decode()
        return prepared

    def _wants_digest(self, answer: requests.Response) -> bool:
        """Whether Digest is to be tried from now on: the server takes no Basic."""
        asked = answer.headers.get('WWW-Authenticate', '').lower()
        if answer.status_code != 401 or self._credentials is None or self._digest is not None:
            return False
        if 'digest' not in asked or 'basic' in asked:
            return False
        self._digest = HTTPDigestAuth(*self._credentials)
        return True

    def _wants_plain(self, answer: requests.Response) -> bool:
        """Whether the message is to be sent again as it is, since the server cannot unpack it."""
        packed = 'Content-Encoding' in answer.request.headers
        if not packed or answer.status_code not in {400, 415}:
            return False
        self._packs = False
        return True

    def _post(self, url: str, request: Request) -> requests.Response:
        headers = {'accept': request.content_type or '*/*', 'cache-control': 'no-store'}
        body, here = request.body, coding.is_loopback(urlsplit(url).hostname)
        headers['accept-encoding'] = 'identity' if here else coding.GZIP
        packed = coding.pack(body) if self._packs and not here else None
        if packed is not None:
            body, headers['content-encoding'] = packed, coding.GZIP
        with warnings.catch_warnings():
            if self.verify is False:  # somebody said so: no need to be told at each message
                warnings.simplefilter('ignore', urllib3.exceptions.InsecureRequestWarning)
            answer = self._session.post(
                url,
                data=in_blocks(body),
                headers={**headers, **request.headers},
                timeout=self.timeout,
                verify=self.verify,
                allow_redirects=False,
                stream=True,
            )
        log.debug('POST %s: %d bytes, %d', explain.place(url), len(body), answer.status_code)
        return answer

    def _redirected(self, answer: requests.Response, url: str) -> str:
        location = answer.headers.get('Location', '')
        target = urljoin(url, location)
        before, after = urlsplit(url), urlsplit(target)
        allowed = (
            location
            and answer.status_code in _REPEATING_REDIRECTS
            and after.hostname == before.hostname
            and after.scheme in {before.scheme, 'https'}
        )
        if not allowed:
            raise explain.bad_redirect(url, answer.status_code, location and target)
        return self._target(target)

    def _accept(self, answer: requests.Response, url: str) -> Response:
        kind = answer.headers.get('Content-Type', '')
        media_type = kind.partition(';')[0].strip().lower()
        if answer.status_code != 200:
            note = self._note(answer) if media_type == 'text/plain' else ''
            again = answer.headers.get('Retry-After', '')
            raise explain.bad_status(url, answer.status_code, note, again)
        self._packs = coding.takes_gzip(answer.headers.get('Accept-Encoding', ''))
        body = self._read(answer, url)
        if self._deadline.passed:
            raise explain.too_slow(url, self.total)
        start = body[:64].lstrip().lower()
        page = media_type in _PAGES or start.startswith((b'<!doctype html', b'<html'))
        if not body and not self._said_to_be_empty(answer):
            raise explain.broken_off(url)  # within its headers, whose end nobody has checked
        if page or not body:
            raise explain.no_message(url, page)
        return Response(body, kind, 200, answer.headers)

    def _said_to_be_empty(self, answer: requests.Response) -> bool:
        coding = answer.headers.get('Transfer-Encoding', '').strip().lower()
        return coding == 'chunked' or answer.headers.get('Content-Length', '').strip() == '0'

    def _read(self, answer: requests.Response, url: str) -> bytes:
        announced = answer.headers.get('Content-Length', '')
        length = int(announced) if re.fullmatch('[0-9]{1,18}', announced) else 0
        if length > self.max_answer:
            raise explain.too_large(url, self.max_answer)
        blocks, size = [], 0
        for block in answer.iter_content(_LARGE_BLOCK if length > _LARGE_BLOCK else _BLOCK):
            blocks.append(block)
            size += len(block)
            if size > self.max_answer:
                raise explain.too_large(url, self.max_answer)
        return b''.join(blocks)

    def _note(self, answer: requests.Response) -> str:
        """Return the first line the server said about its refusal."""
        start = next(iter(answer.iter_content(1000)), b'')
        return start.decode('utf-8', 'replace').strip().partition('\n')[0]

    def _explained(self, error: Exception, url: str) -> TransportError:
        connect, read = self.timeout
        if self._deadline.passed:
            return explain.too_slow(url, self.total)
        if isinstance(error, requests.exceptions.SSLError):
            distrusted = self._distrusted(error, url)
            if distrusted is not None:
                return distrusted
        if isinstance(error, requests.ConnectTimeout):
            return explain.timed_out(url, connect, connecting=True)
        if isinstance(error, requests.Timeout) or explain.is_timeout(error):
            return explain.timed_out(url, read, connecting=False)
        if isinstance(
            error,
            (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError),
        ):
            return explain.broken_off(url)
        return explain.connect_failed(error, url)

    def _distrusted(self, error: Exception, url: str) -> TransportError | None:
        """Return what to say of a certificate that is not the pinned one, or only vouches for
        itself; it is looked at again where nothing has been pinned yet."""  # fmt: skip
        other, found = explain.other_certificate(error)
        if self._pinned and other:
            return explain.wrong_certificate(url, fingerprints.shown(found) if found else None)
        settings = self._session.merge_environment_settings(url, {}, True, self.verify, None)
        proxied = select_proxy(url, settings['proxies'])
        if not explain.is_self_signed(error) or proxied:
            return None  # nobody goes round a proxy
        seen = fingerprints.seen_at(url, self.timeout[0])
        return explain.self_signed(url, fingerprints.shown(seen)) if seen else None
