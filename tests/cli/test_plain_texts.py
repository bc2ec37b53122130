"""What peers that send plain text do to line ends, and what becomes of it here."""

from __future__ import annotations

import pytest

from pysyncml.cli.notes.plain import adapted, variants


@pytest.mark.parametrize(
    ('body', 'ours', 'kept'),
    [
        (b'a\r\nb\r\n\r\n', b'a\nb\n', b'a\nb\n'),
        (b'a\nb\n\n\n', b'a\r\nb\r\n', b'a\r\nb\r\n'),
        (b'a\r\nb\r\n', b'a\nb', b'a\nb'),
        (b'a\r\nB\r\n\r\n', b'a\nb\n', b'a\nB\n'),
        (b'a\nB', b'a\r\nb\r\n', b'a\r\nB\r\n'),
        (b'a\rB\r', b'a\nb\n', b'a\nB\n'),
        (b'\r\n\r\n', b'', b''),
        (b'\r\n', b'text\n', b'\n'),
        (b'a\n\nb\n', b'a\nb\n', b'a\n\nb\n'),
        (b'a\nb\nc\n\n', b'a\r\nb\nc\n', b'a\r\nb\nc\n'),
    ],
)
def test_line_ends_are_those_of_our_note(body, ours, kept):
    assert adapted(body, ours) == kept


@pytest.mark.parametrize(
    ('body', 'ours'),
    [
        (b'a\r\n\0\n', b'a\n'),
        (b'a\r\nb', b'a\0\n'),
        (b'a\nB\nc\n\n', b'a\r\nb\nc\n'),
    ],
)
def test_what_has_no_line_ends_of_one_kind_comes_as_it_is(body, ours):
    assert adapted(body, ours) == body


@pytest.mark.parametrize(
    'before', [b'a\nb', b'a\nb\n', b'a\r\nb\r\n', b'a\nb\n\n', b'a\r\nb', b'one line', b'']
)
@pytest.mark.parametrize('ends', [b'\n', b'\r\n'])
def test_what_a_note_was_before_is_among_the_variants(before, ends):
    passed_on = before.replace(b'\r\n', b'\n').replace(b'\n', ends) + 2 * ends
    assert before in set(variants(passed_on))


def test_variants_keep_what_stands_before_the_end():
    assert {text.strip() for text in variants(b' \n\na\n\n')} == {b'a'}
    assert all(text.startswith((b' \n\na', b' \r\n\r\na')) for text in variants(b' \n\na\n\n'))
    assert list(variants(b'a\0\n')) == []
