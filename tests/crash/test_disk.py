"""The disk of the crash campaign forgets what was not synced, and nothing else."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash import vfs
from tests.crash.disk import WAYS, Disk

ROOT = Path(__file__).resolve().parents[2]


class Told:
    """A directory, and a program that tells a disk what it does there."""

    def __init__(self, top: Path) -> None:
        self.top = top
        (top / 'folder').mkdir(parents=True)
        (top / 'old').write_bytes(b'old')
        self.disk = Disk(top)

    def create(self, key: str, body: bytes) -> None:
        (self.top / key).write_bytes(body)
        self.tell('create', key, os.stat(self.top / key).st_ino)
        self.tell('dirty', key)

    def rename(self, old: str, new: str) -> None:
        os.rename(self.top / old, self.top / new)
        self.tell('rename', old, new, True)

    def sync(self, key: str) -> None:
        path = self.top / key
        if path.is_dir():
            self.tell('syncdir', key)
        else:
            self.tell('sync', key, path.read_bytes())

    def tell(self, *event: object) -> None:
        self.disk.play([event])

    def left(self, way: str, seed: int = 0) -> dict[str, bytes]:
        self.disk.lose(way, seed)
        files = [path for path in self.top.rglob('*') if path.is_file()]
        return {str(path.relative_to(self.top)): path.read_bytes() for path in files}


@pytest.fixture
def told(tmp_path):
    return Told(tmp_path / 'top')


def test_a_name_that_was_not_synced_is_gone(told):
    told.create('new', b'new')
    told.sync('new')
    assert told.left('nothing') == {'old': b'old'}


def test_what_was_written_and_not_synced_is_gone(told):
    told.create('new', b'new')
    told.sync('')
    assert told.left('nothing') == {'old': b'old', 'new': b''}


def test_what_was_synced_stays(told):
    told.create('new', b'new')
    inode = (told.top / 'new').stat().st_ino
    told.sync('new')
    told.sync('')
    for way in WAYS:
        assert told.left(way) == {'old': b'old', 'new': b'new'}
    assert (told.top / 'new').stat().st_ino == inode


def test_a_move_lasts_when_both_folders_are_synced(told):
    told.rename('old', 'folder/old')
    told.sync('folder')
    assert told.left('nothing') == {'old': b'old'}
    told.sync('')
    assert told.left('nothing') == {'folder/old': b'old'}


def test_names_may_survive_without_content(told):
    told.create('folder/new', b'new')
    told.rename('folder/new', 'new')
    assert told.left('names') == {'old': b'old', 'new': b''}


def test_a_folder_that_is_lost_keeps_nothing_from_being_found(told):
    """Whatever survives, a file that was there is somewhere."""
    os.mkdir(told.top / 'other')
    told.tell('mkdir', 'other')
    told.rename('old', 'other/old')
    told.rename('other/old', 'folder/older')
    found = {frozenset(told.left('some', seed)) for seed in range(30)}
    assert found == {frozenset({'old'}), frozenset({'other/old'}), frozenset({'folder/older'})}


def test_a_new_file_may_be_cut_or_zero_or_whole(told):
    told.create('new', b'news')
    told.sync('')
    found = {told.left('first', seed)['new'] for seed in range(60)}
    assert found <= {b'', b'ne', bytes(2), bytes(4), b'news'} and len(found) > 2


def test_a_write_to_a_database_lasts_when_it_was_synced(told):
    told.tell('dbopen', 1, 'old', False, 0, False)
    for offset, data in ((0, b'AAAA'), (4, b'BBBB')):
        told.tell('dbwrite', 1, offset, data)
        if not offset:
            told.tell('dbsync', 1)
    (told.top / 'old').write_bytes(b'AAAABBBB')
    assert told.left('nothing') == {'old': b'AAAA'}
    found = {told.left('some', seed)['old'] for seed in range(30)}
    assert found == {b'AAAA', b'AAAABBBB'}


_PROGRAM = """
import sqlite3, sys
from tests.crash import vfs

class Watcher:
    def opened(self, number, path, new, lasting):
        print('opened', path.rpartition('/')[2], new, lasting)
    def write(self, number, offset, data, do):
        print('write', number, offset, len(data))
        return vfs.FULL if full else do()
    def truncate(self, number, size, do):
        return do()
    def sync(self, number, do):
        print('sync', number)
        return do()
    def delete(self, path, do):
        print('delete', path.rpartition('/')[2])
        return do()

full = False
vfs.watch(Watcher())
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute('pragma journal_mode=wal')
connection.execute('pragma synchronous=full')
connection.execute('create table t (x)')
full = True
try:
    connection.execute('insert into t values (1)')
except sqlite3.OperationalError as error:
    print(error)
full = False
connection.execute('insert into t values (2)')
connection.close()
"""


def _has_sqlite() -> bool:
    try:
        vfs.library()
    except LookupError:
        return False
    return True


@pytest.mark.skipif(not _has_sqlite(), reason='this Python hides the functions of SQLite')
def test_what_sqlite_does_to_files_is_seen(tmp_path):
    path = tmp_path / 'x.db'
    done = subprocess.run(
        [sys.executable, '-c', _PROGRAM, str(path)],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert 'opened x.db True False' in lines and 'opened x.db-wal True True' in lines
    assert 'database or disk is full' in lines
    assert 'delete x.db-wal' in lines
    wrote = {line.split()[1] for line in lines if line.startswith('write')}
    synced = {line.split()[1] for line in lines if line.startswith('sync')}
    assert len(wrote & synced) == 3, 'the rollback journal, the log, and the database'
    assert sqlite3.connect(path).execute('select x from t').fetchall() == [(2,)]
