"""A server's certificates: one that is made for it and signed by itself, and what is said of all.

The one that is made lies in the state folder, with its key, in one file of mode 0600. It stays the
same as long as it can, for clients know it by its fingerprint.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import logging
import os
from typing import Any

from pysyncml.errors import UsageError

log = logging.getLogger('pysyncml.cli')

NAME = 'tls.pem'
_DAYS, _DAYS_LEFT = 3650, 30
_LOCAL = ('localhost', '127.0.0.1', '::1')


def self_signed(folder: str, hosts: list[str]) -> str:
    """Return the path of the certificate in *folder* for *hosts*, which is made if needed.

    Args:
        folder: the state folder.
        hosts: names and addresses by which clients reach the server.

    Raises:
        UsageError: it cannot be made; the text says what is missing.
    """
    try:
        import cryptography.x509  # noqa: F401
    except ImportError:
        raise UsageError(
            '--tls self-signed needs the package cryptography: pip install "pysyncml[crypto]"; '
            'or give a certificate with --tls-cert'
        ) from None
    path = os.path.join(folder, NAME)
    why = _objection(path, hosts)
    if why is None:
        return path
    if why:
        log.warning(
            'the certificate is made anew, as %s: clients have to be given the new fingerprint', why
        )
    _write(path, _make([*dict.fromkeys((*hosts, *_LOCAL))]))
    return path


def warn_of_readers(path: str) -> None:
    """Say so if others than its owner can read the key in *path*."""
    with contextlib.suppress(OSError):
        if os.name == 'posix' and os.stat(path).st_mode & 0o007:
            log.warning('others can read the key %s: chmod 600 it', path)


def _objection(path: str, hosts: list[str]) -> str | None:
    """Return why the certificate in *path* cannot be used: '' if there is none, ``None`` if it
    can."""  # fmt: skip
    from cryptography import x509

    try:
        with open(path, 'rb') as stream:
            found = x509.load_pem_x509_certificate(stream.read())
    except FileNotFoundError:
        return ''
    except OSError as error:
        raise UsageError(f'cannot read the certificate "{path}": {error.strerror}') from error
    except ValueError:
        return f'"{path}" holds none any more'
    left = found.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    if left < datetime.timedelta(days=_DAYS_LEFT):
        return f'it is good for {max(left.days, 0)} days only'
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return 'it has no names'
    missing = [host for host in hosts if _name(host) not in names]
    return f'it does not name {missing[0]}' if missing else None


def _name(host: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host.partition('%')[0]))
    except ValueError:
        try:
            return x509.DNSName(host.encode('idna').decode('ascii'))
        except (UnicodeError, ValueError):
            return x509.DNSName('localhost')  # no certificate can name it; pinning does not care


def _make(hosts: list[str]) -> bytes:
    """Return a new key and its certificate for *hosts*, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    title = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'pysyncml server')])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(title)
        .issuer_name(title)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)  # the clocks of clients may be slow
        .not_valid_after(now + _DAYS * day)
        .add_extension(x509.SubjectAlternativeName([_name(host) for host in hosts]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return secret + builder.sign(key, hashes.SHA256()).public_bytes(pem)


def _write(path: str, data: bytes) -> None:
    staged = f'{path}.new'
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged)
        handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, 'wb') as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(staged, path)
    except OSError as error:
        raise UsageError(f'cannot write the certificate "{path}": {error.strerror}') from error
