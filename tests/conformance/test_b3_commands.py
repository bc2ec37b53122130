"""Scenarios 61 and 62: Atomic, Sequence, Copy, Exec, Search; archiving and soft deletion."""

from __future__ import annotations

import logging

import pytest

from pysyncml.protocol.messages import (
    Add,
    Atomic,
    Copy,
    Exec,
    Item,
    Location,
    Move,
    Search,
    Sequence,
    Sync,
)
from tests.conformance.notes import META, Notes, new_version, note, phone_of
from tests.sync.phone import codes, delete


@pytest.fixture
def notes(tmp_path):
    served = Notes(tmp_path)
    served.phone = phone_of(served)
    served.phone.session_with(note('1', 'one', 'first'), note('2', 'two', 'second'), code=201)
    assert served.files == {'one': b'first', 'two': b'second'}
    return served


def test_61_an_atomic_that_fails_changes_no_file(notes, caplog):
    caplog.set_level(logging.CRITICAL)
    broken = Add(meta=META, items=(Item(source=Location('4'), data=b'<note><Subject>'),))
    atomic = Atomic(
        commands=(
            new_version('1', 'one', 'changed'),
            note('3', 'three', 'new'),
            new_version('2', 'moved/away', 'second'),
            delete('1'),
            broken,
            note('5', 'five'),
        )
    )
    _, answers = notes.phone.session_with(atomic, note('6', 'six', 'after'))
    assert [code for _, code in answers] == [200, 507, 216, 216, 216, 216, 400, 215, 201]
    assert notes.files == {'one': b'first', 'two': b'second', 'six': b'after'}
    assert notes.trash == set()
    there, answers = notes.phone.session_with()
    assert there == [], 'and nothing is thought to have changed'


def test_61_an_atomic_that_succeeds(notes):
    atomic = Atomic(
        commands=(
            new_version('1', 'two', 'swapped'),
            new_version('2', 'one', 'too'),
            note('3', 'x'),
        )
    )
    _, answers = notes.phone.session_with(atomic)
    assert [code for _, code in answers] == [200, 200, 200, 200, 201]
    assert notes.files == {'two': b'swapped', 'one': b'too', 'x': b''}


def test_61_what_was_done_before_a_failed_atomic_stays(notes):
    """An Atomic takes back its own work only, also where it builds on what came before."""
    _, answers = notes.phone.session_with(
        note('3', 'three', 'v1'),
        new_version('1', 'one', 'v2'),
        Atomic(commands=(new_version('3', 'three', 'v9'), delete('1'), delete('2'), Copy())),
        new_version('2', 'two', 'v2'),
    )
    assert [code for _, code in answers] == [200, 201, 200, 507, 216, 216, 216, 412, 200]
    assert notes.files == {'one': b'v2', 'two': b'v2', 'three': b'v1'}


def test_61_a_sequence_keeps_its_order(notes):
    inner = Sequence(commands=(note('3', 'three', 'old'), new_version('3', 'three', 'new')))
    _, answers = notes.phone.session_with(Sequence(commands=(inner, delete('3'), delete('3'))))
    assert [code for _, code in answers] == [200, 200, 200, 201, 200, 200, 211]
    assert 'three' not in notes.files


def test_61_nested_forms(notes):
    phone = notes.phone
    phone.start()
    sync = Sync(
        target=Location('notes'),
        source=Location('x'),
        commands=(Atomic(commands=(Sequence(commands=(note('3', 'three'),)),)),),
    )
    reply = phone.say(Sequence(commands=(Sequence(commands=(sync,)),)), final=False)
    assert [code for _, code in codes(reply)] == [200, 200, 200, 200, 200, 201]
    nested = Atomic(commands=(Atomic(commands=(note('4', 'four'),)),))
    assert [code for _, code in phone.sync(nested)] == [200, 507, 500, 215]
    assert set(notes.files) == {'one', 'two', 'three'}


def test_61_copy(notes):
    copy = Copy(items=(Item(source=Location('1'), target=Location('9')),))
    _, answers = notes.phone.session_with(copy)
    assert answers[1] == ('Copy', 201)
    assert sorted(notes.files.values()) == [b'first', b'first', b'second']
    notes.phone.session_with(delete('9'))
    assert notes.files == {'one': b'first', 'two': b'second'}


def test_61_what_is_not_there_is_refused_and_the_session_goes_on(notes):
    phone = notes.phone
    phone.start()
    reply = phone.say(Exec(), Search(sources=(Location('notes'),), data='x'), final=False)
    assert [code for _, code in codes(reply)] == [501, 501]
    move = Move(items=(Item(source=Location('1'), source_parent='2'),))
    assert phone.sync(move, delete('2')) == [('Sync', 200), ('Move', 406), ('Delete', 200)]


def test_62_what_is_archived_is_in_the_trash(notes):
    _, answers = notes.phone.session_with(delete('1', archive=True))
    assert answers[1] == ('Delete', 200)
    assert notes.files == {'two': b'second'}
    assert notes.trash == {b'first'}


def test_62_what_is_soft_deleted_comes_with_a_refresh_only(notes):
    phone = notes.phone
    there, answers = phone.session_with(delete('1', soft=True))
    assert (there, answers[1]) == ([], ('Delete', 200))
    assert notes.files == {'one': b'first', 'two': b'second'}
    (notes.directory / 'one').write_bytes(b'changed on the server')
    assert phone.session_with()[0] == []
    assert phone.session_with(note('2', 'two', 'second'), code=201)[0] == []
    there, _ = phone.session_with(code=205)
    assert [name for name, _ in there] == ['Add', 'Add']
    assert set(notes.files) == {'one', 'two'}
