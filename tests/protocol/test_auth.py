"""Credentials: the published vectors of basic authentication, and hashes of passwords."""

from __future__ import annotations

import base64
import hashlib
import time

import pytest

from pysyncml.errors import UnknownAuthType, UnknownFormatType
from pysyncml.protocol import auth
from pysyncml.protocol.messages import Cred
from tests.conftest import REAL_COST

VECTORS = [('Bruce2', 'OhBehave', 'QnJ1Y2UyOk9oQmVoYXZl'), ('user', 'pass', 'dXNlcjpwYXNz')]


@pytest.mark.parametrize(('user', 'password', 'data'), VECTORS)
def test_published_vectors(user, password, data):
    cred = auth.basic(user, password)
    assert (cred.type, cred.format, cred.data) == ('syncml:auth-basic', 'b64', data)
    assert auth.read_basic(cred) == (user, password)


@pytest.mark.parametrize(
    ('user', 'password'),
    [('é', 'ß€'), ('', ''), ('me', 'a:b:c'), ('me', ''), ('a b', ' \n\x00'), ('me', 'x' * 5000)],
)
def test_any_text_comes_through(user, password):
    assert auth.read_basic(auth.basic(user, password)) == (user, password)


@pytest.mark.parametrize('kind', [None, '', 'syncml:auth-basic'])
@pytest.mark.parametrize('how', [None, '', 'b64', 'chr'])
def test_the_data_are_base64_whatever_the_format_says(kind, how):
    cred = Cred(data=' dXNlcjpwYXNz\n', type=kind, format=how)
    assert auth.read_basic(cred) == ('user', 'pass')


@pytest.mark.parametrize(
    'data', ['', 'user:pass', 'dXNlcjpwYXN', 'dXN lcjpwYXNz', 'dXNlcg==', '/w==', 'ÿ', '////Og==']
)
def test_garbled_data_are_no_credentials(data):
    assert auth.read_basic(Cred(data=data, type='syncml:auth-basic', format='b64')) is None


@pytest.mark.parametrize(
    'kind', ['syncml:auth-md5', 'syncml:auth-x509', 'basic', 'Syncml:Auth-Basic']
)
def test_other_kinds_are_refused(kind):
    with pytest.raises(UnknownAuthType, match=kind) as caught:
        auth.read_basic(Cred(data='dXNlcjpwYXNz', type=kind))
    assert caught.value.status == 406


def test_other_encodings_are_refused():
    with pytest.raises(UnknownFormatType, match='bin'):
        auth.read_basic(Cred(data='dXNlcjpwYXNz', format='bin'))


def test_the_challenge_asks_for_basic():
    chal = auth.basic_challenge()
    assert (chal.type, chal.format, chal.next_nonce) == ('syncml:auth-basic', 'b64', None)


# --- digests --------------------------------------------------------------------------------------

BRUCE = ('Bruce2', 'OhBehave')
MD5_VECTORS = [
    (*BRUCE, 'Tm9uY2U=', '1.0', 'UmkqAAZhiQvXXhfaf/u+OQ=='),
    (*BRUCE, 'Tm9uY2U=', '1.1', 'Zz6EivR3yeaaENcRN6lpAQ=='),  # printed in the SyncML 1.1 protocol
    (*BRUCE, 'Tm9uY2U=', '1.2', 'Zz6EivR3yeaaENcRN6lpAQ=='),
    ('user', 'pass', '', '1.0', '2iSA4vvOKSTPTil6KDEEeA=='),
    ('user', 'pass', '', '1.1', 'ODXSCqjigZg2oO37iz4tCA=='),
    (*BRUCE, 'AAECAwQFBgcICQoLDA0ODw==', '1.2', 'ClaA48A1VYROr4FUwjaBYw=='),
]


@pytest.mark.parametrize(('user', 'password', 'nonce', 'version', 'data'), MD5_VECTORS)
def test_md5_vectors(user, password, nonce, version, data):
    cred = auth.md5(user, password, base64.b64decode(nonce), version)
    assert (cred.type, cred.format, cred.data) == ('syncml:auth-md5', 'b64', data)
    if version != '1.0':
        secret = auth.md5_secret(user, password)
        digest = auth.md5_digest(secret, base64.b64decode(nonce))
        assert base64.b64encode(digest).decode() == data


def test_md5_secret_vectors():
    assert auth.md5_secret(*BRUCE) == 'PtEdr8lBQ45IbT1bZIkrOQ=='
    assert auth.md5_secret('user', 'pass') == 'IaOShYhKJo1kWOP96wi+rA=='


@pytest.mark.parametrize('how', ['b64', 'bin', 'chr', None])
def test_digests_are_read_as_base64_or_bare(how):
    digest = bytes(range(16))
    for data in (base64.b64encode(digest).decode(), ' AAECAwQFBgcICQoLDA0ODw==\n', digest.decode()):
        assert auth.read_md5(Cred(data=data, type='syncml:auth-md5', format=how)) == digest


@pytest.mark.parametrize('data', ['', 'x', 'AAECAwQFBgcICQoLDA0O', 'ÿ' * 24, 'AAEC' * 8, '=' * 24])
def test_garbled_digests(data):
    assert auth.read_md5(Cred(data=data, type='syncml:auth-md5')) is None


def test_the_challenges():
    for chal, kind in ((auth.md5_challenge(b'n'), 'md5'), (auth.mac_challenge(b'n'), 'MAC')):
        assert (chal.type, chal.format) == (f'syncml:auth-{kind}', 'b64')
        assert chal.next_nonce == b'n'


def test_nonces_are_long_and_never_the_same():
    nonces = {auth.new_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert {len(nonce) for nonce in nonces} == {32}
    assert all(nonce.decode().isalnum() for nonce in nonces)


# --- messages that are proved ---------------------------------------------------------------------

MAC = 'urdCeS3JUmjFgi8SX3webw=='


def test_mac_vector():
    assert auth.mac(auth.md5_secret(*BRUCE), b'Nonce', b'<SyncML/>') == MAC
    header = auth.mac_header('Bruce2', MAC)
    assert header == f'algorithm=MD5, username="Bruce2", mac={MAC}'
    assert auth.read_mac_header(header) == ('Bruce2', MAC)


@pytest.mark.parametrize(
    'header',
    [
        f'username="Bruce2",mac={MAC}',
        f'mac="{MAC}",  username="Bruce2", algorithm="md5"',
        f'Algorithm = MD5 , UserName = Bruce2 , Mac = {MAC}',
        f'username="Bruce2", mac={MAC}, more="a,b"',
    ],
)
def test_mac_headers_of_others(header):
    assert auth.read_mac_header(header) == ('Bruce2', MAC)


@pytest.mark.parametrize('name', ['é', '日本', 'a "b" c', 'a\\b', 'a, mac=x', '', 'a=b'])
def test_any_name_comes_through_a_mac_header(name):
    header = auth.mac_header(name, MAC)
    assert header.encode('latin-1').decode('latin-1') == header
    assert auth.read_mac_header(header) == (name, MAC)


@pytest.mark.parametrize(
    'header',
    ['', 'x', 'mac=x', 'username="a"', f'algorithm=SHA, username="a", mac={MAC}', '"' * 99],
)
def test_garbled_mac_headers(header):
    assert auth.read_mac_header(header) is None


# --- what a server keeps --------------------------------------------------------------------------


def test_a_hash_fits_its_password_only():
    hashed = auth.hash_password('pässword')
    assert auth.check_password('pässword', hashed)
    for wrong in ('', 'password', 'Pässword', 'pässword ', hashed):
        assert not auth.check_password(wrong, hashed)


def test_hashes_are_salted_and_say_nothing():
    first, second = auth.hash_password('secret'), auth.hash_password('secret')
    assert first != second
    assert 'secret' not in first
    assert base64.b64encode(b'secret').decode() not in first


def test_the_hash_is_scrypt_and_costs_what_it_should(monkeypatch):
    """OWASP, Password Storage Cheat Sheet: N=2^15 (32 MiB), r=8, p=3, or as much otherwise."""
    assert REAL_COST == (15, 8, 3)
    monkeypatch.setattr(auth, 'COST', REAL_COST)
    hashed = auth.hash_password('secret')
    kind, cost, salt, digest = hashed.split('$')
    assert (kind, cost) == ('scrypt', '15,8,3')
    salt = bytes.fromhex(salt)
    assert len(salt) == 16
    expected = hashlib.scrypt(b'secret', salt=salt, n=2**15, r=8, p=3, maxmem=2**26)
    assert bytes.fromhex(digest) == expected
    assert auth.check_password('secret', hashed)
    assert not auth.is_outdated(hashed)


def test_a_stored_hash_is_still_good():
    stored = (
        'scrypt$000102030405060708090a0b0c0d0e0f$'
        + hashlib.scrypt(b'x', salt=bytes(range(16)), n=2**14, r=8, p=1).hex()
    )
    assert auth.check_password('x', stored)
    assert auth.is_outdated(stored)
    assert not auth.check_password('x', stored.replace('scrypt', 'md5'))


@pytest.mark.parametrize(
    'hashed',
    ['', 'x', 'scrypt$$', 'scrypt$zz$00', 'a$b$c$d', 'scrypt$00$', 'scrypt$1,2$00$00',
     'scrypt$x,8,1$00$00', 'scrypt$99,8,1$00$00', 'scrypt$15,8,999$00$00', 'scrypt$1,2,3,4$0$0'],
)  # fmt: skip
def test_damaged_hashes_let_nobody_in(hashed):
    for password in ('', 'x', 'secret'):
        assert not auth.check_password(password, hashed)


def test_who_is_not_there_is_checked_like_somebody_who_is():
    hashes = [auth.hash_password(str(number)) for number in range(5)]
    chosen = {auth.stand_in(name, hashes) for name in map(str, range(200))}
    assert chosen == set(hashes)
    assert auth.stand_in('x', hashes) == auth.stand_in('x', reversed(hashes))


def test_a_long_mac_header_takes_no_long_time():
    begin = time.process_time()
    assert auth.read_mac_header('a' * 60_000) is None
    assert time.process_time() - begin < 1
