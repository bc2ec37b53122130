"""Fingerprints of certificates: SHA-256 over the whole of one (DER), as OpenSSL shows it."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import urlsplit

_BYTES = 32
_PEM = re.compile(b'-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----', re.DOTALL)


def read(text: str) -> str:
    """Return a fingerprint as 64 lower-case hexadecimal digits.

    It may have colons or blanks in it, letters of either case, and ``sha256:`` in front.

    Raises:
        ValueError: *text* is none.
    """
    plain = re.sub(r'[:\s]', '', re.sub(r'(?i)^\s*sha-?256[:=]?', '', text)).lower()
    if not re.fullmatch('[0-9a-f]{64}', plain):
        raise ValueError('a SHA-256 fingerprint has 64 hexadecimal digits, with or without colons')
    return plain


def shown(fingerprint: str) -> str:
    """Return a fingerprint for people: ``AB:CD:...``."""
    return bytes.fromhex(fingerprint).hex(':').upper()


def of_certificate(der: bytes) -> str:
    """Return the fingerprint of a certificate."""
    return hashlib.sha256(der).hexdigest()


def of_file(path: str) -> str | None:
    """Return the fingerprint of the first certificate in a PEM file: that of the server itself.

    Raises:
        OSError: the file cannot be read.
    """
    import ssl

    with open(path, 'rb') as stream:
        found = _PEM.search(stream.read())
    if found is None:
        return None
    try:
        return of_certificate(ssl.PEM_cert_to_DER_cert(found[0].decode('ascii')))
    except ValueError:
        return None


def seen_at(url: str, timeout: float) -> str | None:
    """Return the fingerprint of the certificate that is shown at *url* now; it is not checked."""
    import ssl

    parts = urlsplit(url)
    try:
        address = (parts.hostname or '', parts.port or 443)
        text = ssl.get_server_certificate(address, timeout=timeout)
    except (OSError, ValueError):
        return None
    return of_certificate(ssl.PEM_cert_to_DER_cert(text))
