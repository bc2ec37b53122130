"""A scan of a directory of notes: what it keeps in memory, and what it believes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pysyncml.cli.notes import NotesEngine, scan
from pysyncml.cli.notes.index import NoteIndex
from pysyncml.constants import ItemState
from pysyncml.state import changes
from pysyncml.storage import DirectoryStorage, publish
from tests.faults.bench import Bench


class Served:
    """A directory that a server looks at, as at the beginning of a session."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = NotesEngine().configure(['--server', os.fspath(path)])
        self.seq = 0

    def look(self):
        """Scan; return what has changed since the last time, oldest first."""
        with self.engine.work() as work:
            store = self.engine.makeAdapter().stores['notes']
            change = work.tables.change
            work.flush()
            query = change.select().where(change.c.seq > self.seq).order_by(change.c.seq)
            rows = work.connection.execute(query).all()
            self.seq = work.log(store.record.id).last_seq
            index = NoteIndex(self.engine.model, work.connection)
            names = {item_id: index.get(item_id) for item_id in index.ids()}
            return [
                (ItemState(row.state), names[row.item_id].name if row.item_id in names else None)
                for row in rows
            ]


@pytest.fixture
def served(tmp_path):
    (tmp_path / 'notes').mkdir()
    served = Served(tmp_path / 'notes')
    yield served
    served.engine._finish()


def write(served, *names, body=None):
    for name in names:
        path = served.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name if body is None else body)


def test_a_first_scan_keeps_few_rows_in_memory(served, monkeypatch):
    monkeypatch.setattr(scan, '_AT_ONCE', 10)
    monkeypatch.setattr(changes, 'MOST_KEPT', 10)
    most = {'rows': 0, 'bases': 0, 'log': 0}

    put, record = NoteIndex.put, changes.ChangeLog.record

    def watched_put(index, row):
        put(index, row)
        most['rows'] = max(most['rows'], len(index._rows))
        most['bases'] = max(most['bases'], len(index._new_bases))

    def watched_record(log, *args, **values):
        most['log'] = max(most['log'], len(log._rows))
        return record(log, *args, **values)

    monkeypatch.setattr(NoteIndex, 'put', watched_put)
    monkeypatch.setattr(changes.ChangeLog, 'record', watched_record)
    names = [f'{number % 7}/{number:03}' for number in range(200)]
    write(served, *names)
    found = served.look()
    assert found == [(ItemState.ADDED, name) for name in sorted(names)]
    assert max(most['rows'], most['bases']) <= 10 and most['log'] <= 20, most
    assert served.look() == []


def test_texts_that_wait_to_be_written_are_few(served, monkeypatch):
    monkeypatch.setattr(scan, '_BYTES', 100)
    most = 0
    flush = NoteIndex.flush

    def watched(index):
        nonlocal most
        most = max(most, sum(len(body or b'') for body in index._new_bases.values()))
        flush(index)

    monkeypatch.setattr(NoteIndex, 'flush', watched)
    write(served, *map(str, range(40)), body='x' * 60)
    assert len(served.look()) == 40
    assert most <= 160


def test_deletions_come_first_and_renames_are_told_among_many_new_files(served, monkeypatch):
    monkeypatch.setattr(scan, '_AT_ONCE', 3)
    write(served, 'a', 'b', 'c', 'd', 'e')
    served.look()
    os.rename(served.path / 'a', served.path / 'z')
    os.rename(served.path / 'b', served.path.parent / 'b')  # that keeps its inode from new files
    write(served, 'c', body='edited')
    write(served, *(f'new-{number}' for number in range(10)))
    found = served.look()
    assert found[0] == (ItemState.DELETED, None)
    assert set(found[1:3]) == {(ItemState.MODIFIED, 'c'), (ItemState.MODIFIED, 'z')}
    assert found[3:] == [(ItemState.ADDED, f'new-{number}') for number in range(10)]


def test_a_change_in_the_tick_of_a_look_is_seen_the_next_time(served, monkeypatch):
    """The clock is read before the files are: what changes while they are read is doubted."""
    write(served, 'n', body='one')
    usual, clock = DirectoryStorage.look, DirectoryStorage.fs_now
    looked = False

    def look(storage, key, longest, tree=None):
        nonlocal looked
        digest, stat, text = usual(storage, key, longest, tree)
        if not looked:
            # in the same tick of the clock, so that the stamp is that of the second text
            write(served, 'n', body='two')
            stat, looked = os.stat(served.path / 'n'), True
        return digest, stat, text

    monkeypatch.setattr(DirectoryStorage, 'look', look)
    monkeypatch.setattr(DirectoryStorage, 'fs_now', lambda storage: clock(storage) + looked * 10**9)
    assert served.look() == [(ItemState.ADDED, 'n')]
    monkeypatch.undo()
    assert served.look() == [(ItemState.MODIFIED, 'n')]


def test_a_scan_imports_no_mapping_and_no_other_databases(tmp_path):
    """What a program does not need is not imported: that takes longer than most scans."""
    code = (
        'import sys\n'
        'from pysyncml.cli.notes import NotesEngine\n'
        f'engine = NotesEngine().configure(["--server", {os.fspath(tmp_path)!r}])\n'
        'with engine.work(): engine.makeAdapter()\n'
        'heavy = ["sqlalchemy.orm", "sqlalchemy.dialects.postgresql", "pathspec", "requests"]\n'
        'print([name for name in heavy if name in sys.modules])\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == '[]\n'


def test_links_to_one_file_in_a_renamed_folder(served):
    """They have one stamp, so it does not tell them apart: their names do."""
    write(served, 'f/a', 'f/c')
    os.link(served.path / 'f' / 'a', served.path / 'f' / 'b')
    served.look()
    served.look()  # now their stamps are known
    os.rename(served.path / 'f', served.path / 'g')
    found = served.look()
    assert sorted(found) == [(ItemState.MODIFIED, f'g/{name}') for name in 'abc']
    assert served.look() == []


@pytest.mark.skipif(os.name == 'nt', reason='there the system tells no time of a change')
@pytest.mark.parametrize('same_tick', [True, False])
def test_a_note_that_was_written_and_placed_in_one_tick_is_looked_at_again(tmp_path, same_tick):
    """An edit in the rest of that tick leaves no trace but in the content."""
    bench = Bench(tmp_path)
    bench.path('a').joinpath('n').write_text('one')
    usual = publish.stamp

    def stamped(stat):
        size, _, changed, inode = struct.unpack('<4Q', usual(stat))
        return struct.pack('<4Q', size, changed if same_tick else changed - 1, changed, inode)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, 'stamp', stamped)
        patch.setattr(DirectoryStorage, 'fs_now', lambda storage: time.time_ns() + 10**9)
        bench.sync('a', code=0)
    database = tmp_path / 's' / '.sync' / 'state.db'
    with contextlib.closing(sqlite3.connect(database)) as state:
        [[stamp]] = state.execute('SELECT stamp FROM noteitem').fetchall()
    assert (stamp == b'') == same_tick
    bench.close()
