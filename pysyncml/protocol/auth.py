"""Credentials and challenges as pure functions (OMA-DS-DataSyncRep 1.2, Cred and Chal).

``syncml:auth-basic`` is ``b64(user ":" password)``. A server keeps :func:`hash_password`, a salted
scrypt hash, and compares in constant time (:func:`check_password`).

``syncml:auth-md5`` is ``b64(H(b64(H(user ":" password)) ":" nonce))``, where H is MD5 and the nonce
is what the other side has sent, decoded; ``syncml:auth-MAC`` does much the same with the bytes of
a message, in a header of HTTP (OMA-SyncML-RepPro 1.1.2, §4). To check either of them a server needs
:func:`md5_secret`, which is as good as the password to whoever gets hold of it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from typing import NamedTuple

from pysyncml.constants import NAMESPACE_AUTH_BASIC, NAMESPACE_AUTH_MAC, NAMESPACE_AUTH_MD5
from pysyncml.errors import UnknownAuthType, UnknownFormatType
from pysyncml.protocol.messages import Chal, Cred


def basic(username: str, password: str) -> Cred:
    """Return basic credentials; both texts travel as UTF-8."""
    token = f'{username}:{password}'.encode()
    return Cred(data=_b64(token), type=NAMESPACE_AUTH_BASIC, format='b64')


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


# --- digests ------------------------------------------------------------------------------------


def md5_secret(username: str, password: str) -> str:
    """Return ``b64(H(user ":" password))``, all that is needed to check or to make a digest."""
    return _b64(_md5(f'{username}:{password}'.encode()))


def md5_digest(secret: str, nonce: bytes) -> bytes:
    """Return the 16 bytes of the digest of SyncML 1.1 and 1.2, from :func:`md5_secret`."""
    return _md5(secret.encode() + b':' + nonce)


def md5(username: str, password: str, nonce: bytes, version: str = '1.2') -> Cred:
    """Return a digest as credentials, by the formula of the protocol *version*."""
    if version == '1.0':
        digest = _md5(f'{username}:{password}:'.encode() + nonce)
    else:
        digest = md5_digest(md5_secret(username, password), nonce)
    return Cred(data=_b64(digest), type=NAMESPACE_AUTH_MD5, format='b64')


def read_md5(cred: Cred) -> bytes | None:
    """Return the 16 bytes of a digest, sent as base64 or bare; ``None`` if they are garbled."""
    bare = cred.data.encode()
    if len(bare) == 16:
        return bare
    try:
        digest = base64.b64decode(cred.data.strip(), validate=True)
    except ValueError:
        return None
    return digest if len(digest) == 16 else None


def md5_challenge(nonce: bytes) -> Chal:
    """Return the demand for a digest with *nonce*."""
    return Chal(type=NAMESPACE_AUTH_MD5, format='b64', next_nonce=nonce)


def new_nonce() -> bytes:
    """Return 16 random bytes in hexadecimal: some peers cannot take every byte in a nonce."""
    return secrets.token_hex(16).encode()


# --- the authentication of whole messages -------------------------------------------------------

#: The header of HTTP that goes with ``syncml:auth-MAC``.
MAC_HEADER = 'x-syncml-hmac'
_LONGEST_MAC_HEADER = 1000  # characters


def mac(secret: str, nonce: bytes, body: bytes) -> str:
    """Return the authentication code of a message, base64, from :func:`md5_secret`.

    *body* are the bytes of the message as they travel. (It is not the HMAC of RFC 2104.)
    """
    return _b64(mac_digest(secret.encode(), nonce, body))


def mac_digest(secret: bytes, nonce: bytes, body: bytes) -> bytes:
    """Return the 16 bytes of the same, which notifications begin with."""
    return _md5(b':'.join((secret, nonce, _b64(_md5(body)).encode())))


def mac_header(username: str, code: str) -> str:
    """Return the value of :data:`MAC_HEADER` for the authentication *code* of a message."""
    quoted = username.replace('\\', '\\\\').replace('"', '\\"')
    # a header of HTTP carries Latin-1, so other letters go as the bytes of their UTF-8
    name = quoted.encode().decode('latin-1')
    return f'algorithm=MD5, username="{name}", mac={code}'


def read_mac_header(value: str) -> tuple[str, str] | None:
    """Return (user name, code) from the value of :data:`MAC_HEADER`; ``None`` if garbled."""
    if len(value) > _LONGEST_MAC_HEADER:
        return None
    found = {}
    for part in _MAC_PART.finditer(value):
        text = part['plain']
        if text is None:
            text = re.sub(r'\\(.)', r'\1', part['quoted'])
        found[part['name'].lower()] = text
    if found.get('algorithm', 'MD5').upper() != 'MD5' or not found.keys() >= {'username', 'mac'}:
        return None
    try:
        return found['username'].encode('latin-1').decode(), found['mac']
    except ValueError:
        return found['username'], found['mac']


_MAC_PART = re.compile(
    r'(?P<name>[A-Za-z]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"]+))'
)


def mac_challenge(nonce: bytes) -> Chal:
    """Return the demand for the authentication of messages with *nonce*."""
    return Chal(type=NAMESPACE_AUTH_MAC, format='b64', next_nonce=nonce)


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode('ascii')


# --- what a server keeps ------------------------------------------------------------------------


class Cost(NamedTuple):
    """What one scrypt hash costs: 128 * r * 2**log_n bytes, p times over (RFC 7914, §2)."""

    log_n: int
    r: int
    p: int


#: What new hashes cost: 32 MiB, three times over. It is one of the choices of equal strength of
#: OWASP's Password Storage Cheat Sheet, and one that a small server can pay for twice at once.
COST = Cost(15, 8, 3)
#: What hashes cost that do not say it, which were made before it was written down.
_FIRST_COST = Cost(14, 8, 1)
#: More than this nobody has ever asked for: a damaged hash must not cost gigabytes.
_HIGHEST = Cost(18, 16, 16)


def hash_password(password: str) -> str:
    """Return a salted hash of *password* that only :func:`check_password` can use.

    It says what it costs: ``scrypt$log2(N),r,p$salt$hash``, the last two in hexadecimal.
    """
    salt = os.urandom(16)
    cost = ','.join(map(str, COST))
    return f'scrypt${cost}${salt.hex()}${_scrypt(password, salt, COST).hex()}'


def check_password(password: str, hashed: str) -> bool:
    """Return whether *password* is the one that was hashed, in constant time."""
    try:
        cost, salt, digest = _read_hash(hashed)
        found = _scrypt(password, salt, cost)
    except ValueError:
        return False
    return hmac.compare_digest(found, digest)


def is_outdated(hashed: str) -> bool:
    """Return whether *hashed* costs something else than a new hash would."""
    try:
        return _read_hash(hashed)[0] != COST
    except ValueError:
        return True


def stand_in(name: str, hashes: Iterable[str]) -> str:
    """Return the hash that is checked for a user who does not exist, so that it takes as long.

    Of hashes that do not all cost the same, it is always the same one for a name.
    """
    known = sorted(hashes)
    key = ''.join(known).encode()
    number = hmac.new(key, name.encode('utf-8', 'surrogatepass'), 'sha256').digest()
    return known[int.from_bytes(number, 'big') % len(known)]


def _read_hash(hashed: str) -> tuple[Cost, bytes, bytes]:
    kind, *costs, salt, digest = hashed.split('$')
    if kind != 'scrypt' or len(costs) > 1:
        raise ValueError('this is no hash of a password')
    cost = _FIRST_COST
    if costs:
        log_n, r, p = map(int, costs[0].split(','))
        cost = Cost(log_n, r, p)
    if not all(1 <= value <= highest for value, highest in zip(cost, _HIGHEST, strict=True)):
        raise ValueError('this hash costs too much')
    return cost, bytes.fromhex(salt), bytes.fromhex(digest)


def _scrypt(password: str, salt: bytes, cost: Cost) -> bytes:
    n, r, p = 2**cost.log_n, cost.r, cost.p
    secret = password.encode('utf-8', 'surrogatepass')
    return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=128 * r * (n + p + 2) + 2**20)
