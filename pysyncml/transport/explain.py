"""Say in one line, for people, why a request did not get its answer and what to do about it."""

from __future__ import annotations

import errno
import re
import socket
import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from http import HTTPStatus as Phrase
from http.client import BadStatusLine, HTTPException
from urllib.parse import urlsplit

from pysyncml.errors import ConnectFailed, HTTPStatus, Timeout, TransportError

_SELF_SIGNED = 18
_CERTIFICATE = {
    # OpenSSL's X509_V_ERR_* numbers
    9: 'is not valid yet: check the clock of this computer',
    10: 'has expired: its owner must renew it (and check the clock of this computer)',
    18: 'is signed by nobody but itself: if you trust it, give the fingerprint that the server'
    ' shows with --fingerprint, or the certificate with --ca-file',
    19: 'is signed by an unknown authority: give that one with --ca-file if you trust it',
    20: 'is signed by an unknown authority: give that one with --ca-file if you trust it',
    21: 'is signed by an unknown authority: give that one with --ca-file if you trust it',
    62: 'is for another name: use the name of the server that the certificate is for',
    64: 'is for another address: use the name of the server that the certificate is for',
}

_STATUS = {
    400: 'did not understand the request',
    401: 'wants a user name and password for HTTP itself, and got none that it accepts:'
    ' see --http-login',
    403: 'does not allow this',
    404: 'has nothing at this address: check it for typing errors',
    405: 'takes no messages at this address: check it for typing errors',
    407: 'sits behind a proxy that wants a user name and password: see HTTPS_PROXY',
    408: 'lost patience while waiting for the message: try again',
    411: 'does not take messages in this form',
    413: 'finds the message too large',
    415: 'does not speak SyncML in this encoding',
    429: 'is getting too many requests: try again later',
    500: 'failed: its log says why',
    502: 'stands behind a gateway that cannot reach it: try again later',
    503: 'is busy or being looked after: try again later',
    504: 'stands behind a gateway that got no answer from it: try again later',
}


#: What may be over when the server is asked again.
_PASSING = {408, 425, 429, 500, 502, 503, 504}
#: Redirects that are meant for this once; networks that want a login first use them.
_PASSING_REDIRECTS = {302, 303, 307}
_LONGEST_WAIT = 86400.0  # seconds
_LOOKED_AT = 1000  # characters of what a library says, parts of which the server may have written


def printable(text: str, limit: int = 200) -> str:
    """Return *text* on one line, without control characters, cut to *limit* characters."""
    line = ' '.join(''.join(c if c.isprintable() else ' ' for c in text).split())
    return line if len(line) <= limit else line[: limit - 1] + '…'


def place(url: str) -> str:
    """Return *url* as it may be shown: no user, password, query or session id in it."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition('@')[2]
    except ValueError:
        return printable(url, 80)
    if not host:
        return printable(url, 80)
    return printable(f'{parts.scheme}://{host}{parts.path.partition(";")[0]}')


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and everything it was raised from, each once, the outermost first."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [*current.args, getattr(current, 'reason', None)]
        inner += [current.__cause__, current.__context__]
        waiting += [cause for cause in inner if isinstance(cause, BaseException)]


def _tls(where: str, error: ssl.SSLError) -> ConnectFailed:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = _CERTIFICATE.get(error.verify_code)
        line = f'The certificate of {where} {why or "is not good: " + error.verify_message}.'
        return refused(line)
    reason = (error.reason or '').lower()
    if reason in {'wrong_version_number', 'http_request', 'packet_length_too_long'}:
        return refused(
            f'{where} does not speak https: try the address with http:// if that is safe.'
        )
    text = printable(reason.replace('_', ' ')) or 'the connection broke off'
    failed = ConnectFailed(f'No encrypted connection to {where} could be made: {text}.')
    failed.cut = 'eof' in text or 'broke off' in text
    return failed


def _network(where: str, error: OSError) -> ConnectFailed:
    failed = ConnectFailed(_reason(where, error))
    failed.cut = isinstance(error, ConnectionError) and not isinstance(
        error, ConnectionRefusedError
    )
    return failed


def _reason(where: str, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f'The name of {where} is not known: check it, and the network connection.'
    if isinstance(error, ConnectionRefusedError):
        return f'Nobody listens at {where}: is the server running, and the port right?'
    if error.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EHOSTDOWN}:
        return f'There is no way to {where}: check the network connection.'
    if isinstance(error, ConnectionError):
        return (
            f'{where} closed the connection without an answer: '
            'check http:// or https:// in the address, or try again.'
        )
    return f'No connection to {where} could be made: {printable(error.strerror or str(error))}.'


def refused(line: str) -> ConnectFailed:
    """Return what to raise when it is of no use to try again before somebody has done something."""
    error = ConnectFailed(line)
    error.passing = False
    return error


def connect_failed(error: Exception, url: str) -> TransportError:
    """Return what to raise when *error* kept the request to *url* from being answered."""
    where = place(url)
    causes = list(_causes(error))
    if any(type(cause).__name__ == 'ProxyError' for cause in causes):
        return _proxy(where, causes)
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return _tls(where, cause)
    # requests' own exceptions are OSErrors as well, but say nothing about the reason
    system = [c for c in causes if isinstance(c, OSError) and not hasattr(c, 'request')]
    for cause in system:
        return _network(where, cause)
    if any('closed connection' in str(cause) for cause in causes):
        return _network(where, ConnectionResetError())
    lines = [str(cause.args[0]) for cause in causes if isinstance(cause, BadStatusLine)]
    if any(line.startswith('HTTP/') or 'HTTP/'.startswith(line) for line in lines):
        return broken_off(url)
    if any(isinstance(c, HTTPException) or type(c).__name__ == 'InvalidHeader' for c in causes):
        return refused(f'{where} answers, but not as HTTP asks for: check the port in the address.')
    if 'SOCKS' in str(error):
        return refused('Proxies that speak SOCKS cannot be used: see ALL_PROXY and HTTPS_PROXY.')
    return ConnectFailed(f'No connection to {where} could be made: {_bare(str(error))}.')


def is_timeout(error: Exception) -> bool:
    """Whether *error* goes back to a time-out, be it of reading or of sending."""
    return any(
        isinstance(c, TimeoutError) or type(c).__name__ == 'ReadTimeoutError'
        for c in _causes(error)
    )


def _bare(text: str) -> str:
    """Return *text* of a library without any addresses in it, which may hold secrets."""
    return printable(re.sub(r'\S*(?:://|@|\burl: )\S*', '…', text[:_LOOKED_AT])).rstrip('.')


def _proxy(where: str, causes: list[BaseException]) -> ConnectFailed:
    """Say what a proxy, or the lack of it, has to do with it; never who logs in to it."""
    way = f'The proxy on the way to {where}'
    found = next(
        filter(None, (re.search(r'connection failed: (\d{3})', str(c)) for c in causes)), None
    )
    code = int(found[1]) if found else 0
    if code == 407:
        return refused(
            f'{way} wants a user name and password, and got none that it accepts: '
            'see HTTP_PROXY and HTTPS_PROXY.'
        )
    if code in _PASSING:
        return ConnectFailed(f'{way} cannot reach it (HTTP {code}): try again later.')
    if code:
        return refused(
            f'{way} does not let us through (HTTP {code}): see HTTPS_PROXY and NO_PROXY.'
        )
    return ConnectFailed(f'{way} cannot be used: check HTTP_PROXY and HTTPS_PROXY.')


def other_certificate(error: BaseException) -> tuple[bool, str | None]:
    """Return whether *error* is that a certificate is not the pinned one, and which it is."""
    for cause in _causes(error):
        if 'ingerprint' in str(cause):  # urllib3 says it in words only
            found = re.search(r'got "([0-9a-f]{64})"', str(cause))
            return True, found[1] if found else None
    return False, None


def is_self_signed(error: BaseException) -> bool:
    """Return whether *error* is that nobody vouches for a certificate but itself."""
    return any(getattr(cause, 'verify_code', 0) == _SELF_SIGNED for cause in _causes(error))


def self_signed(url: str, fingerprint: str) -> ConnectFailed:
    """Return what to raise when nobody vouches for the server at *url* but itself."""
    return refused(
        f'The certificate of {place(url)} is signed by nobody but itself. If the server shows the '
        f'same fingerprint, trust it with --fingerprint {fingerprint}'
    )


def wrong_certificate(url: str, fingerprint: str | None) -> ConnectFailed:
    """Return what to raise when the server at *url* has another certificate than the pinned one."""
    seen = f'its fingerprint is {fingerprint}' if fingerprint else 'and there is no trusting it'
    return refused(
        f'The certificate of {place(url)} is not the one of --fingerprint: {seen}. Unless the '
        'server itself shows that one now, somebody else is answering'
    )


def timed_out(url: str, seconds: float, connecting: bool) -> Timeout:
    """Return what to raise when *url* took longer than *seconds*."""
    what = 'could not be reached' if connecting else 'did not answer'
    return Timeout(f'{place(url)} {what} within {seconds:g} seconds: try again later.')


def too_slow(url: str, seconds: float) -> Timeout:
    """Return what to raise when a whole exchange with *url* took longer than *seconds*."""
    return Timeout(
        f'{place(url)} took more than {seconds:g} seconds for one message: '
        'try again later, or give it more time with --timeout.'
    )


def broken_off(url: str) -> TransportError:
    """Return what to raise when the answer of *url* ended before its end."""
    error = TransportError(f'The answer of {place(url)} broke off in the middle: try again.')
    error.cut = True
    return error


def too_large(url: str, limit: int) -> TransportError:
    """Return what to raise when *url* answers with more than *limit* bytes."""
    return refused(f'The answer of {place(url)} is larger than {limit >> 20} MiB: refused.')


def in_circles(url: str) -> HTTPStatus:
    """Return what to raise when *url* sends us on and on."""
    error = HTTPStatus(f'The server at {place(url)} sends us in circles.', 310)
    error.passing = False
    return error


def bad_status(url: str, code: int, note: str = '', again: str = '') -> HTTPStatus:
    """Return what to raise when *url* answers with HTTP status *code*.

    Args:
        note: what the server itself said about it, if that is fit for people.
        again: the ``Retry-After`` header, if there was one.
    """
    try:
        name = f'{code} {Phrase(code).phrase}'
    except ValueError:
        name = str(code)
    why = _STATUS.get(code) or ('failed' if code >= 500 else 'did not take the message')
    wait = _seconds(again)
    if wait:
        why += f', not before {wait:.0f} seconds have passed'
    note = f' It says: {printable(note)}' if printable(note) else ''
    error = HTTPStatus(f'The server at {place(url)} {why} (HTTP {name}).{note}', code)
    error.passing, error.wait = code in _PASSING, wait
    return error


def _seconds(again: str) -> float:
    """Return how long ``Retry-After`` asks to wait, a number or a date (RFC 9110, §10.2.3)."""
    if again.isascii() and again.isdigit():
        return min(float(again), _LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(again).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(0.0, moment - time.time()), _LONGEST_WAIT)


def no_message(url: str, page: bool) -> HTTPStatus:
    """Return what to raise when *url* answers with status 200, but not with a message."""
    what = 'a web page' if page else 'nothing at all'
    line = f'The server at {place(url)} answered with {what}: is this the address for SyncML?'
    return HTTPStatus(line, 200)


def bad_redirect(url: str, code: int, target: str) -> HTTPStatus:
    """Return what to raise when *url* sends us on to *target*, where we must not follow."""
    if not target:
        return bad_status(url, code)
    line = f'The server at {place(url)} sends us on to {place(target)} (HTTP {code}): '
    error = HTTPStatus(line + 'use that address instead if you trust it.', code)
    error.passing = code in _PASSING_REDIRECTS
    return error
