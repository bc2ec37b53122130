"""Credentials: the published vectors of basic authentication, and hashes of passwords."""

from __future__ import annotations

import base64
import hashlib

import pytest

from pysyncml.errors import UnknownAuthType, UnknownFormatType
from pysyncml.protocol import auth
from pysyncml.protocol.messages import Cred

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


def test_the_hash_is_scrypt():
    kind, salt, digest = auth.hash_password('secret').split('$')
    assert kind == 'scrypt'
    assert len(bytes.fromhex(salt)) == 16
    expected = hashlib.scrypt(b'secret', salt=bytes.fromhex(salt), n=2**14, r=8, p=1)
    assert bytes.fromhex(digest) == expected


def test_a_stored_hash_is_still_good():
    stored = (
        'scrypt$000102030405060708090a0b0c0d0e0f$'
        + hashlib.scrypt(b'x', salt=bytes(range(16)), n=2**14, r=8, p=1).hex()
    )
    assert auth.check_password('x', stored)
    assert not auth.check_password('x', stored.replace('scrypt', 'md5'))


@pytest.mark.parametrize('hashed', ['', 'x', 'scrypt$$', 'scrypt$zz$00', 'a$b$c$d', 'scrypt$00$'])
def test_damaged_hashes_let_nobody_in(hashed):
    for password in ('', 'x', 'secret'):
        assert not auth.check_password(password, hashed)
