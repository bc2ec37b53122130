"""Credentials and challenges as pure functions (OMA-DS-DataSyncRep 1.2, Cred and Chal).

``syncml:auth-basic`` is ``b64(user ":" password)``. Passwords are never kept: a server keeps
:func:`hash_password`, a salted scrypt hash, and compares in constant time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

from pysyncml.constants import NAMESPACE_AUTH_BASIC
from pysyncml.errors import UnknownAuthType, UnknownFormatType
from pysyncml.protocol.messages import Chal, Cred

_SCRYPT = {'n': 2**14, 'r': 8, 'p': 1}


def basic(username: str, password: str) -> Cred:
    """Return basic credentials; both texts travel as UTF-8."""
    token = base64.b64encode(f'{username}:{password}'.encode()).decode('ascii')
    return Cred(data=token, type=NAMESPACE_AUTH_BASIC, format='b64')


def basic_challenge() -> Chal:
    """Return the demand for basic credentials."""
    return Chal(type=NAMESPACE_AUTH_BASIC, format='b64')


def read_basic(cred: Cred) -> tuple[str, str] | None:
    """Return (user name, password) from basic credentials; ``None`` if they are garbled.

    A missing type means basic. The data are base64 whatever the format says.

    Raises:
        UnknownAuthType: the credentials are of another kind.
        UnknownFormatType: they are written in an encoding nobody knows.
    """
    if cred.type not in (None, '', NAMESPACE_AUTH_BASIC):
        raise UnknownAuthType(f'authentication of type "{cred.type}" is not supported')
    if cred.format not in (None, '', 'b64', 'chr'):
        raise UnknownFormatType(f'credentials in the format "{cred.format}" are not supported')
    try:
        text = base64.b64decode(cred.data.strip(), validate=True).decode('utf-8')
    except ValueError:  # no base64, or no UTF-8
        return None
    name, colon, password = text.partition(':')
    return (name, password) if colon else None


def hash_password(password: str) -> str:
    """Return a salted hash of *password* that only :func:`check_password` can use."""
    salt = os.urandom(16)
    return f'scrypt${salt.hex()}${_scrypt(password, salt).hex()}'


def check_password(password: str, hashed: str) -> bool:
    """Return whether *password* is the one that was hashed, in constant time."""
    try:
        kind, salt, digest = hashed.split('$')
        expected = bytes.fromhex(digest)
        found = _scrypt(password, bytes.fromhex(salt))
    except ValueError:
        return False
    return kind == 'scrypt' and hmac.compare_digest(found, expected)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT)
