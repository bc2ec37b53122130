"""What a message costs does not depend on how many notes are in it: counted, not timed."""

from __future__ import annotations

import contextlib
import gc
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import event

from pysyncml.cli.notes.index import NoteIndex
from pysyncml.cli.notes.places import Places
from pysyncml.protocol.messages import Message
from pysyncml.state.changes import ChangeLog
from pysyncml.state.knowledge import Knowledge
from tests.faults.bench import Bench
from tests.faults.taps import Call, tapped

_LISTED = re.compile(r'\(\?(, \?)*\)')
FEW, MANY = 15, 90  # notes; they fit into one message


@contextlib.contextmanager
def statements() -> Iterator[Counter[str]]:
    """Count the statements of all databases, by their texts; many rows at once count as one."""
    found: Counter[str] = Counter()

    def listen(connection, cursor, statement, *_):
        found[_LISTED.sub('(?, ...)', statement)] += 1

    event.listen(sqlalchemy.Engine, 'before_cursor_execute', listen)
    try:
        yield found
    finally:
        event.remove(sqlalchemy.Engine, 'before_cursor_execute', listen)


def counted(bench: Bench, *names: str) -> None:
    """Have clients synchronise, and count the statements of that."""
    with statements() as bench.counted:
        for name in names:
            bench.sync(name)


def write(bench: Bench, number: int) -> None:
    """Write so many notes, all in one folder."""
    folder = bench.path('a') / 'f'
    folder.mkdir()
    for each in range(number):
        (folder / f'note {each}.txt').write_bytes(b'note %d\n' % each)


def first(bench: Bench) -> None:
    """The client has notes, the server none."""
    bench.sync('a')


def second(bench: Bench) -> None:
    """Another client gets all notes."""
    bench.sync('a')
    counted(bench, 'b')


def both_have_them(bench: Bench) -> None:
    """Another client has all notes already."""
    bench.sync('a')
    for path in sorted(bench.path('a').glob('*/*.txt')):
        copy = bench.path('b') / path.relative_to(bench.path('a'))
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    counted(bench, 'b')


def edited(bench: Bench) -> None:
    """All notes are edited in one place, and the others get that."""
    bench.settle('a', 'b')
    for path in sorted(bench.path('a').glob('*/*.txt')):
        path.write_bytes(b'another text, which is longer\n')
    counted(bench, 'a', 'b')


def renamed(bench: Bench) -> None:
    """Their folder gets another name."""
    bench.settle('a', 'b')
    bench.path('a').joinpath('f').rename(bench.path('a') / 'g')
    counted(bench, 'a', 'b')


def deleted(bench: Bench) -> None:
    """All notes but one are deleted."""
    bench.settle('a', 'b')
    for path in sorted(bench.path('a').glob('*/*.txt'))[1:]:
        path.unlink()
    counted(bench, 'a', 'b')


_TIME = pytest.mark.campaign  # of the others


@pytest.mark.parametrize(
    'what',
    [
        second,
        renamed,
        deleted,
        *(pytest.param(f, marks=_TIME) for f in (first, both_have_them, edited)),
    ],
)
def test_statements(tmp_path: Path, what) -> None:
    """As many statements for many notes as for a few."""
    counts = []
    for number in (FEW, MANY):
        bench = Bench(tmp_path / str(number))
        write(bench, number)
        with statements() as bench.counted:
            what(bench)
        counts.append(bench.counted)
        names = ('s', 'a', 'b') if what is not first else ('s', 'a')
        assert len(bench.same(*names)) == (number if what is not deleted else 1)
        bench.close()
    few, many = counts
    more = {text: (few[text], n) for text, n in many.items() if n > few[text] + 3}
    assert not more
    assert many.total() <= few.total() + 10


def test_what_a_message_knew_goes_with_its_unit_of_work(tmp_path: Path) -> None:
    """Also while nobody looks for cycles."""
    bench = Bench(tmp_path)
    write(bench, FEW)
    bench.sync('a')
    gc.collect()
    gc.disable()
    before = Counter(type(thing) for thing in gc.get_objects())
    try:
        for number in range(4):
            (bench.path('a') / f'{number}.txt').write_bytes(b'another\n')
            bench.sync('a')
            bench.sync('b')
        kinds = Counter(type(thing) for thing in gc.get_objects())
        kinds.subtract(before)
    finally:
        gc.enable()
    bench.close()
    programs = 1 + 1 + 2 * 4  # the last one of each may still be there
    assert kinds[Message] <= programs
    assert kinds[Knowledge] <= 1 and kinds[ChangeLog] <= 1
    assert kinds[NoteIndex] <= programs and kinds[Places] <= programs


def test_folders_are_opened_once_for_many_files(tmp_path: Path) -> None:
    """While files are published their folder stays open."""
    opened = []
    for number in (FEW, MANY):
        bench = Bench(tmp_path / str(number))
        folder = bench.path('s') / 'f'
        write(bench, number)
        calls: Counter[str] = Counter()

        def listen(call: Call, calls=calls) -> None:
            if call.name == 'open' and not call.over:
                calls[call.path] += 1

        with tapped(listen):
            bench.sync('a')
        bench.same('s', 'a')
        opened.append(calls[str(folder)])
        bench.close()
    assert opened[1] <= opened[0] + 2


def test_files_in_a_renamed_folder_are_not_read(tmp_path: Path) -> None:
    """Neither here nor there, nor by later scans: their stamps tell that they are what they were.

    And where the folder is renamed as it is, the index needs to be told only once.
    """
    bench = Bench(tmp_path)
    write(bench, FEW)
    bench.settle('a', 'b')
    bench.path('a').joinpath('f').rename(bench.path('a') / 'g')
    opened = set()

    def listen(call: Call) -> None:
        if call.name == 'open' and call.path.endswith('.txt'):
            opened.add(call.path)

    told: Counter[str] = Counter()
    with tapped(listen):
        for name in ('a', 'b', 'a'):
            with statements() as found:
                bench.sync(name)
            told += Counter({text: n for text, n in found.items() if 'UPDATE noteitem' in text})
    assert sorted(bench.same('s', 'a', 'b')) == [
        f'g/note {n}.txt' for n in sorted(range(FEW), key=str)
    ]
    assert not opened
    assert told.total() == 3, told  # a's own scan, the server, b
    bench.close()
