"""The written form of an item, of which pieces lie elsewhere."""

from __future__ import annotations

import base64
import random

import pytest

from pysyncml.agents import BaseNoteAgent, NoteItem
from pysyncml.constants import TYPE_BARE_NOTE, TYPE_SIF_NOTE, TYPE_TEXT_PLAIN
from pysyncml.sync.written import InBase64, Written, written_form

NOISE = random.Random(5).randbytes(1000)


class Source:
    """Bytes, and how many of them were asked for."""

    def __init__(self, data):
        self.data = data
        self.size = len(data)
        self.asked = 0

    def read_at(self, start, count):
        self.asked += count
        return self.data[start : start + count]


def test_pieces_that_lie_elsewhere_are_read_when_they_are_wanted():
    one, two = Source(NOISE), Source(b'')
    stream = Written()
    stream.write(b'before ')
    stream.attach(one)
    stream.attach(two, base64=True)
    stream.attach(one, base64=True)
    stream.write(b' after')
    whole = b'before ' + NOISE + base64.b64encode(NOISE) + b' after'
    assert stream.attached
    assert stream.size == len(whole)
    assert one.asked == 0
    assert stream.read_at(0, stream.size) == whole
    for start in range(0, len(whole), 13):
        for count in (0, 1, 2, 3, 4, 50, 5000):
            assert stream.read_at(start, count) == whole[start : start + count]
    one.asked = 0
    stream.read_at(100, 50)
    assert one.asked == 50


@pytest.mark.parametrize('size', range(8))
def test_base64_can_be_read_from_anywhere(size):
    source = InBase64(Source(NOISE[:size]))
    text = base64.b64encode(NOISE[:size])
    assert source.size == len(text)
    for start in range(len(text) + 1):
        for count in range(len(text) + 2):
            assert source.read_at(start, count) == text[start : start + count]


class Agent(BaseNoteAgent):
    pass


@pytest.mark.parametrize('kind', [TYPE_SIF_NOTE, TYPE_TEXT_PLAIN, TYPE_BARE_NOTE])
def test_a_note_with_a_file_is_written_as_one_with_a_body(kind):
    plain = NoteItem('name', NOISE, Colour='red')
    large = NoteItem('name', Colour='red')
    large.content = Source(NOISE)
    assert written_form(Agent(), plain, kind, '1.0') == (kind, plain.dumps(kind))
    ctype, stream = written_form(Agent(), large, kind, '1.0')
    assert large.content.asked == 0
    assert (ctype, stream.read_at(0, stream.size)) == (kind, plain.dumps(kind))


def test_agents_that_write_bytes_are_asked_for_bytes():
    class Own(BaseNoteAgent):
        def dumpsItem(self, item, contentType=None, version=None):
            return 'text/own', '7', b'own'

    assert written_form(Own(), NoteItem('x'), TYPE_SIF_NOTE, '1.1') == ('text/own', b'own')
