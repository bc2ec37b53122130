"""What a message, a comparison and a merge cost; ``pytest bench/functions`` measures it."""

from __future__ import annotations

import pytest

from bench import trees
from pysyncml.agents.note import NoteItem
from pysyncml.codec import decode, encode
from pysyncml.constants import TYPE_SIF_NOTE
from pysyncml.merge.diff3 import merge_texts
from pysyncml.protocol.messages import (
    Add,
    Header,
    Item,
    Location,
    Message,
    Meta,
    Sync,
)
from pysyncml.storage.scan import Entry, Found, compare

ITEMS = 50


def written(number: int) -> bytes:
    """Return a note as it stands in a message."""
    name, body = trees.note(number)
    return bytes(NoteItem(name=name, body=body).dumps(TYPE_SIF_NOTE, '1.1'))


def a_message() -> Message:
    """Return a message with new notes."""
    adds = tuple(
        Add(
            cmd_id=str(number + 2),
            meta=Meta(type=TYPE_SIF_NOTE),
            items=(Item(source=Location(str(number)), data=written(number)),),
        )
        for number in range(ITEMS)
    )
    header = Header(
        version='1.2',
        dtd_version='1.2',
        session_id='1',
        msg_id='1',
        target=Location('http://server/'),
        source=Location('device'),
    )
    sync = Sync(cmd_id='1', target=Location('notes'), source=Location('notes'), commands=adds)
    return Message(header=header, commands=(sync,), final=True)


@pytest.mark.parametrize('encoding', ['xml', 'wbxml'])
def test_writing_a_message(benchmark, encoding):
    message = a_message()
    _, body = benchmark(encode, message, encoding)
    assert len(body) > 50_000


@pytest.mark.parametrize('encoding', ['xml', 'wbxml'])
def test_reading_a_message(benchmark, encoding):
    message = a_message()
    kind, body = encode(message, encoding)
    assert len(benchmark(decode, kind, body).commands[0].commands) == ITEMS


def test_writing_a_note(benchmark):
    name, body = trees.note(1)
    assert benchmark(lambda: NoteItem(name=name, body=body).dumps(TYPE_SIF_NOTE, '1.1'))


def test_reading_a_note(benchmark):
    text = written(1)
    note = benchmark(NoteItem.loads, text, TYPE_SIF_NOTE, '1.1')
    assert (note.name, note.body) == trees.note(1)


def test_comparing_a_directory(benchmark):
    names = [trees.note_name(number) for number in range(10_000)]
    known = [Entry(str(n), name, f'{n:064}', n + 1) for n, name in enumerate(names)]

    def present(number: int, name: str) -> Found:
        return Found(name, number + 1, lambda: f'{number:064}')

    def found() -> list[Found]:
        files = [present(number, name) for number, name in enumerate(names)]
        files[7] = present(7, 'renamed')
        return files

    changes = benchmark(lambda: compare(known, found()))
    assert len(changes.unchanged) == 9_999 and len(changes.renamed) == 1


def test_merging_a_text(benchmark):
    base = [b'line %d\n' % number for number in range(1_000)]
    ours, theirs = base[:], base[:]
    ours[10], theirs[990] = b'ours\n', b'theirs\n'
    merged = benchmark(merge_texts, b''.join(base), b''.join(ours), b''.join(theirs))
    assert b'ours\n' in merged and b'theirs\n' in merged
