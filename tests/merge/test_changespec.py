"""Change-specs: the grammar, and rebuilding old texts from them."""

from __future__ import annotations

import hashlib
import os
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysyncml.merge import InvalidChangeSpec, apply_reverse, join_specs, text_spec
from pysyncml.merge.changespec import WORDS
from pysyncml.merge.grammar import (
    decode_composite,
    decode_list,
    encode_composite,
    pack,
    unpack,
)

texts = st.text(alphabet='ab\n\r;,:% é\x00', max_size=30)
bodies = st.one_of(st.none(), st.binary(max_size=30), texts.map(lambda t: t.encode()), st.just(b''))


@pytest.mark.parametrize(
    ('old', 'new', 'spec'),
    [
        ('a\nb\nc', 'a\nB\nc', '1:mb'),
        ('a\nb\nc', 'a\nx\nb\nc', '1:a'),
        ('a\nb\nc', 'a\nc', '1:db'),
        ('a\nb\nc', 'a\nB\nx\nc', '1:mb,1:a'),
        ('a\nb\nc', 'a\nX', '1:mb,1:dc'),
        ('a\nb\nc\nd', 'A\nb\nc\nD', '0:ma,3:md'),
        ('line 4', 'x', '0:mline%204'),
        ('same', 'same', ''),
        (None, None, ''),
        (None, 'a\nb', '0:a,1:a'),
        ('a\nb', None, '0:da,1:db'),
        (None, '', '0:a'),
        ('', 'x', '0:m'),
        ('a\n', 'a', '1:d'),
        ('a\r\nb\r\n', 'a\nb\r\n', '0:ma%0D'),
        ('a\rb\rc', 'a\rB\rc', 'r1:mb'),
        (b'a\n\xff', b'a\nb', '1:m%FF'),
    ],
)
def test_text_specs(old, new, spec):
    assert text_spec(old, new) == spec
    before = apply_reverse(new, spec)
    assert before == (old.encode() if new is None and old is not None else old)


def test_words():
    spec = text_spec('the quick fox', 'the slow fox', WORDS)
    assert spec == '1:mquick'
    assert apply_reverse('the slow fox', spec, WORDS) == 'the quick fox'


@given(bodies, bodies)
def test_bytes_come_back(old, new):
    assert apply_reverse(new, text_spec(old, new)) == old


@given(texts, texts)
def test_text_comes_back(old, new):
    assert apply_reverse(new, text_spec(old, new)) == old


@given(st.lists(bodies, min_size=2, max_size=5))
def test_a_chain_leads_back_to_the_first(history):
    specs = [text_spec(a, b) for a, b in pairwise(history)]
    assert apply_reverse(history[-1], join_specs(*specs)) == history[0]


def test_lone_surrogates_come_back():
    assert apply_reverse('x', text_spec('caf\udce9\ud800', 'x')) == 'caf\udce9\ud800'


def test_long_specs_are_compressed_and_stay_one_token():
    old, new = '\n'.join(f'line {n}' for n in range(500)), 'nothing'
    spec = text_spec(old, new)
    assert spec.startswith('z')
    assert len(spec) < 2000
    assert not set(spec) - set('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_')
    assert apply_reverse(new, spec) == old
    assert decode_composite(encode_composite('', {'body': spec})) == ('', {'body': spec})


def test_what_does_not_compress_is_left_alone():
    spec = '0:m' + ''.join(hashlib.sha512(bytes([n])).hexdigest() for n in range(3))
    assert len(spec) <= 512
    assert pack(spec) == spec
    assert unpack(pack('0:a' * 1000)) == '0:a' * 1000


@pytest.mark.parametrize('body', [b'x' * 3_000_000, os.urandom(3_000_000), b'a\n' * 200_000])
def test_large_texts_are_fast(body):
    begin = time.process_time()
    assert apply_reverse(body + b'y', text_spec(body, body + b'y')) == body
    assert time.process_time() - begin < 5


def test_old_specs_with_an_md5_are_resolved_from_known_lines():
    digest = hashlib.md5(b'b').hexdigest()
    assert apply_reverse('a\nB\nc', f'1:M{digest}', known=[b'x', b'b']) == 'a\nb\nc'
    assert apply_reverse('a\nc', f'1:D{digest.upper()}', known=[b'b']) == 'a\nb\nc'
    with pytest.raises(InvalidChangeSpec, match='only the MD5'):
        apply_reverse('a\nB\nc', f'1:M{digest}')


@pytest.mark.parametrize(
    'spec',
    'x|1|1:|1:q|1:avalue|1:mb,0:md|-1:a|1:Mnodigest|z!|zAAAA|1 :a|²:a|mod:name@vold'.split('|'),
)
def test_what_is_no_text_spec(spec):
    with pytest.raises(InvalidChangeSpec):
        apply_reverse('a\nb', spec)


@pytest.mark.parametrize('spec', ['2:mx', '5:a', '3:dx'])
def test_a_spec_of_a_longer_text(spec):
    with pytest.raises(InvalidChangeSpec, match='longer text'):
        apply_reverse('a\nb', spec)


def test_text_does_not_become_bytes_that_are_no_text():
    with pytest.raises(InvalidChangeSpec, match='no text'):
        apply_reverse('a', '0:m%FF')


def test_an_error_shows_only_the_beginning_of_the_spec():
    with pytest.raises(InvalidChangeSpec) as caught:
        list(decode_list('x' * 10_000))
    assert len(str(caught.value)) < 120
    assert isinstance(caught.value, ValueError)


def test_composites():
    spec = 'mod%3Aname%40vold.txt&body=1%3Amb'
    parts = ('mod:name@vold.txt', {'body': '1:mb'})
    assert encode_composite(*parts) == spec
    assert decode_composite(spec) == parts
    assert encode_composite('', {'b': '1:a', 'a': '2:a', 'c': ''}) == 'a=2%3Aa&b=1%3Aa'
    assert decode_composite('') == ('', {})
    with pytest.raises(InvalidChangeSpec):
        decode_composite('x&y')
    with pytest.raises(InvalidChangeSpec):
        decode_composite('%FF&a=b')
