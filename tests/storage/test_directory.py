"""A directory as a storage, and the reference it is measured by."""

from __future__ import annotations

import errno
import hashlib
import os
import stat as kinds
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pysyncml import storage as package
from pysyncml.errors import (
    InvalidItem,
    InvalidName,
    ItemBusy,
    ItemExists,
    PreconditionFailed,
    StorageError,
    WrongDirectory,
)
from pysyncml.storage import DirectoryStorage, MemoryStorage, Storage, files, is_racy, stamp
from pysyncml.storage.files import looks, looks_of


@pytest.fixture
def storage(tmp_path):
    return DirectoryStorage(str(tmp_path))


@pytest.fixture(params=['directory', 'memory'])
def any_storage(request, tmp_path):
    if request.param == 'memory':
        return MemoryStorage()
    return DirectoryStorage(str(tmp_path))


def nothing(key, is_dir):
    return False


def revision(storage, key):
    info = storage.stat(key)
    return info.revision if isinstance(storage, MemoryStorage) else stamp(info)


def put(root, key, body=b'x'):
    path = Path(root, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


# --- the eight methods --------------------------------------------------------------------------


def test_written_read_moved_and_deleted(any_storage):
    storage = any_storage
    assert isinstance(storage, Storage) and 'rename' in storage.capabilities
    assert list(storage.list()) == [] and storage.stat('a') is None
    storage.write('a', b'1')
    storage.write('f/b', b'\xff\0')
    assert sorted(storage.list()) == ['a', 'f/b']
    assert storage.read('f/b')[0] == b'\xff\0'
    assert storage.read('a')[1] == storage.stat('a')
    storage.write('a', b'2')
    storage.move('a', 'g/h/c')
    storage.delete('f/b')
    assert {key: storage.read(key)[0] for key in storage.list()} == {'g/h/c': b'2'}
    storage.close()
    storage.close()


def test_revisions(any_storage):
    storage = any_storage
    storage.write('a', b'1', b'')
    first = revision(storage, 'a')
    with pytest.raises(PreconditionFailed):
        storage.write('a', b'2', b'')
    storage.write('a', b'2', first)
    for change in (lambda: storage.write('a', b'3', first), lambda: storage.delete('a', first)):
        with pytest.raises(PreconditionFailed):
            change()
    assert storage.read('a')[0] == b'2'
    storage.delete('a', revision(storage, 'a'))
    with pytest.raises(PreconditionFailed):
        storage.write('a', b'3', first)


def test_what_is_not_there(any_storage):
    storage = any_storage
    storage.write('a', b'a')
    storage.write('b', b'b')
    for missing in (
        lambda: storage.read('x'),
        lambda: storage.delete('x'),
        lambda: storage.move('x', 'y'),
    ):
        with pytest.raises(InvalidItem):
            missing()
    with pytest.raises(ItemExists):
        storage.move('a', 'b')
    storage.move('a', 'a')
    for key in ('../x', '/x', 'x//y', '', './x', 'a\0'):
        with pytest.raises(InvalidName):
            storage.write(key, b'')
        with pytest.raises(InvalidName):
            storage.move('a', key)


def test_gathered_changes_are_done_together(any_storage):
    storage = any_storage
    storage.write('a', b'a')
    storage.write('b', b'b')
    with storage.begin():
        storage.move('a', 't')
        storage.move('b', 'a')
        storage.move('t', 'b')
        storage.write('n', b'1')
        storage.write('n', b'2')
        storage.move('n', 'm')
        storage.write('gone', b'')
        storage.delete('gone')
        with storage.begin():
            storage.write('c/c', b'c')
        with pytest.raises(InvalidItem):
            storage.delete('gone')
        with pytest.raises(ItemExists):
            storage.move('a', 'm')
    notes = {key: storage.read(key)[0] for key in storage.list()}
    assert notes == {'a': b'b', 'b': b'a', 'm': b'2', 'c/c': b'c'}


def test_gathered_changes_are_taken_back(any_storage):
    storage = any_storage
    storage.write('a', b'a')
    with pytest.raises(ZeroDivisionError), storage.begin():
        storage.write('a', b'b')
        storage.write('c', b'c')
        storage.delete('a')
        raise ZeroDivisionError
    assert {key: storage.read(key)[0] for key in storage.list()} == {'a': b'a'}


def test_the_registry_and_the_names():
    assert package.registry.get('directory') is DirectoryStorage
    assert package.registry.get('memory') is MemoryStorage
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError):
        package.nonsense


def test_importing_it_is_cheap():
    code = (
        'import sys, pysyncml.storage.directory as d; '
        'print([n for n in ("ctypes", "pathspec", "shutil_", "sqlalchemy") if n in sys.modules])'
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.stdout.strip() == '[]'


# --- walking ------------------------------------------------------------------------------------


def test_walking_finds_regular_files_only(storage, tmp_path):
    put(tmp_path, 'b')
    put(tmp_path, 'a/z')
    put(tmp_path, 'a/b/c')
    put(tmp_path, '.sync/state.db')
    put(tmp_path, 'other/.sync')
    (tmp_path / 'link').symlink_to('b')
    (tmp_path / 'a' / 'dirlink').symlink_to('/')
    (tmp_path / 'loop').symlink_to('.')
    (tmp_path / 'dangling').symlink_to('nowhere')
    os.mkfifo(tmp_path / 'pipe')
    found = dict(storage.walk(nothing))
    assert set(found) == {'a/b/c', 'a/z', 'b', 'other/.sync'}
    assert storage.symlinks == ['dangling', 'link', 'loop', 'a/dirlink']
    assert all(seen == stamp(storage.stat(key)) for key, seen in found.items())


def test_walking_goes_in_the_order_of_the_keys(storage, tmp_path):
    keys = ['a-', 'a/b', 'a/b.txt', 'a/c/d', 'a/c/e/f', 'a/c0', 'a.txt', 'a0/x', 'b', '\u00e9/x']
    for key in reversed(keys):
        put(tmp_path, key)
    assert list(storage.list()) == sorted(keys)


@pytest.mark.parametrize('opens', [True, False])
def test_a_folder_that_becomes_a_link_meanwhile_is_not_followed(
    storage, tmp_path, monkeypatch, opens
):
    monkeypatch.setattr(files, '_LISTS_OPEN_FOLDERS', opens)
    put(tmp_path, 'a/x')
    put(tmp_path, 'b/x')
    put(tmp_path, 'elsewhere/secret')
    walk = storage.walk(lambda key, is_dir: key == 'elsewhere')
    assert next(walk)[0] == 'a/x'
    (tmp_path / 'b' / 'x').unlink()
    (tmp_path / 'b').rmdir()
    (tmp_path / 'b').symlink_to('elsewhere')
    assert list(walk) == []
    assert storage.symlinks == ['b']


def test_a_time_before_1970_has_a_stamp(storage, tmp_path):
    put(tmp_path, 'a')
    os.utime(tmp_path / 'a', ns=(-1, -1))
    [(_, seen)] = storage.walk(nothing)
    assert seen == stamp(storage.stat('a')) and looks_of(seen) == looks(storage.stat('a'))


def test_walking_skips_what_it_is_told_to(storage, tmp_path):
    for key in ('a/b', 'a/c', 'd/e', 'f'):
        put(tmp_path, key)
    (tmp_path / 'l').symlink_to('f')
    asked = []

    def skip(key, is_dir):
        asked.append((key, is_dir))
        return key in ('d', 'a/c', 'l')

    assert [key for key, _ in storage.walk(skip)] == ['a/b', 'f']
    assert storage.symlinks == []
    assert asked == [
        ('a', True),
        ('d', True),
        ('f', False),
        ('l', False),
        ('a/b', False),
        ('a/c', False),
    ]


def test_walking_keeps_odd_names(storage, tmp_path):
    names = ['a\\b', 'new\nline', 'dot.', ' ', 'e\u0301', '\u00e9', '%2f', '"\'', '\U0001f600']
    for name in [*names, os.fsdecode(b'\xff\xfe')]:
        put(tmp_path, name)
    assert set(storage.list()) == {*names, '\udcff\udcfe'}
    batch = storage.batch()
    batch.move('1', '\udcff\udcfe', '\udcfe/\udcff')
    lines = batch.prepare()
    assert all(line.isascii() for line in lines)
    assert storage.publish(lines)[0].key == '\udcfe/\udcff'
    assert storage.read('\udcfe/\udcff')[0] == b'x'


def test_a_missing_directory_is_not_an_empty_one(tmp_path):
    storage = DirectoryStorage(str(tmp_path / 'missing'))
    for deed in (
        lambda: list(storage.walk(nothing)),
        lambda: list(storage.list()),
        storage.make_identity,
        storage.fs_now,
        lambda: storage.write('a', b''),
    ):
        with pytest.raises(WrongDirectory):
            deed()
    assert storage.read_identity() is None
    assert not (tmp_path / 'missing').exists()


def test_a_folder_that_cannot_be_read_is_not_an_empty_one(storage, tmp_path, monkeypatch):
    put(tmp_path, 'a/x')
    put(tmp_path, 'b/x')
    open_it = os.open

    def refuse(path, *args, **values):
        if path == 'a':
            raise PermissionError(errno.EACCES, 'Permission denied')
        return open_it(path, *args, **values)

    monkeypatch.setattr(os, 'open', refuse)
    with pytest.raises(StorageError, match='cannot be read: Permission denied'):
        list(storage.walk(nothing))
    unreadable = []
    assert [key for key, _ in storage.walk(nothing, unreadable)] == ['b/x']
    assert unreadable == ['a']


def test_a_folder_that_vanishes_meanwhile(storage, tmp_path):
    put(tmp_path, 'a')
    put(tmp_path, 'b/x')
    walk = storage.walk(nothing)
    assert next(walk)[0] == 'a'
    (tmp_path / 'b' / 'x').unlink()
    (tmp_path / 'b').rmdir()
    assert list(walk) == []


# --- stamps -------------------------------------------------------------------------------------


def test_a_stamp_tells_every_change(storage, tmp_path):
    path = put(tmp_path, 'a', b'1')
    stamps = {stamp(storage.stat('a'))}
    path.write_bytes(b'22')
    stamps.add(stamp(storage.stat('a')))
    os.utime(path, ns=(1, 1))
    stamps.add(stamp(storage.stat('a')))
    put(tmp_path, 'b', b'22')
    os.utime(tmp_path / 'b', ns=(1, 1))
    os.replace(tmp_path / 'b', path)
    stamps.add(stamp(storage.stat('a')))
    assert len(stamps) == 4
    assert {len(one) for one in stamps} == {32}


@pytest.mark.parametrize('mtime', [0, -1, 2**31, 2**33])
def test_odd_times_do_no_harm(storage, tmp_path, mtime):
    path = put(tmp_path, 'a', b'1')
    os.utime(path, (mtime, mtime))
    assert files.looks_of(stamp(storage.stat('a'))) == files.looks(storage.stat('a'))
    now = storage.fs_now()
    while storage.fs_now() == now:
        time.sleep(0.001)
    assert not is_racy(stamp(storage.stat('a')), storage.fs_now())
    batch = storage.batch()
    batch.write('1', 'a', batch.stage(b'2'), 'a', stamp(storage.stat('a')))
    assert storage.publish(batch.prepare())[0].stamp is not None


def test_what_changes_in_the_same_tick_is_racy(storage, tmp_path):
    now = storage.fs_now()
    path = put(tmp_path, 'a', b'1')
    assert is_racy(stamp(os.lstat(path)), now)
    later = storage.fs_now()
    deadline = time.monotonic() + 5
    while later <= os.lstat(path).st_ctime_ns and time.monotonic() < deadline:
        time.sleep(0.001)
        later = storage.fs_now()
    assert not is_racy(stamp(os.lstat(path)), later)


def test_no_stamp():
    with pytest.raises(ValueError, match='not a stamp'):
        files.looks_of(b'too short')


# --- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize('size', [0, 1, (1 << 20) - 1, 1 << 20, (3 << 20) + 5])
def test_bytes_and_hash(storage, tmp_path, size):
    body = os.urandom(size)
    put(tmp_path, 'f/a', body)
    data, stat = storage.read('f/a')
    assert data == body and stamp(stat) == stamp(storage.stat('f/a'))
    digest, stat = storage.hash('f/a')
    assert digest == hashlib.sha256(body).hexdigest() and stat.st_size == size


@pytest.mark.parametrize('deed', ['grow', 'shrink', 'edit'])
def test_a_file_that_changes_under_the_reader_is_busy(storage, tmp_path, monkeypatch, deed):
    path = put(tmp_path, 'a', b'12345')
    fstat = os.fstat
    looks = []

    def spy(fd):
        looks.append(fd)
        if len(looks) == 2:
            path.write_bytes({'grow': b'123456', 'shrink': b'1', 'edit': b'54321'}[deed])
            os.utime(path, ns=(5, 5))
        return fstat(fd)

    monkeypatch.setattr(os, 'fstat', spy)
    with pytest.raises(ItemBusy):
        storage.read('a')


def test_what_is_no_regular_file_is_no_item(storage, tmp_path):
    put(tmp_path, 'd/x')
    (tmp_path / 'link').symlink_to('d/x')
    os.mkfifo(tmp_path / 'pipe')
    for key in ('d', 'link', 'pipe', 'missing', 'd/x/y', 'missing/x'):
        with pytest.raises(InvalidItem):
            storage.read(key)
        with pytest.raises(InvalidItem):
            storage.hash(key)
    assert kinds.S_ISLNK(storage.stat('link').st_mode)
    assert storage.stat('missing/x') is None and storage.stat('d/x/y') is None


@pytest.mark.parametrize('relative', [True, False])
def test_nothing_is_read_behind_a_link(tmp_path, monkeypatch, relative):
    monkeypatch.setattr(files, 'HAS_DIR_FD', relative)
    put(tmp_path, 'outside/secret')
    put(tmp_path, 'root/a/b/c')
    (tmp_path / 'root' / 'd').symlink_to(tmp_path / 'outside')
    (tmp_path / 'root' / 'a' / 'd').symlink_to('b')
    storage = DirectoryStorage(str(tmp_path / 'root'))
    assert storage.read('a/b/c')[0] == b'x'
    for key in ('d/secret', 'a/d/c', '../outside/secret'):
        for deed in (storage.read, storage.stat, storage.hash):
            with pytest.raises(InvalidName):
                deed(key)


def test_a_root_that_is_a_link_is_fine(tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'link').symlink_to('real')
    storage = DirectoryStorage(str(tmp_path / 'link'))
    storage.write('a/b', b'1')
    assert list(DirectoryStorage(str(tmp_path / 'real')).list()) == ['a/b']


def test_all_of_it_without_relative_paths(tmp_path, monkeypatch):
    monkeypatch.setattr(files, 'HAS_DIR_FD', False)
    monkeypatch.setattr(files, '_exclusive_rename', lambda: None)
    storage = DirectoryStorage(str(tmp_path))
    storage.write('a/b', b'1')
    storage.write('a/b', b'2')
    with storage.begin():
        storage.move('a/b', 'c')
        storage.write('a', b'3')
    assert {key: storage.read(key)[0] for key in storage.list()} == {'a': b'3', 'c': b'2'}
    assert storage.restore('a/b') == 'a(1)/b'


def test_a_file_system_without_hard_links(tmp_path, monkeypatch):
    def refuse(*args, **keywords):
        raise OSError(errno.EPERM, 'Operation not permitted')

    monkeypatch.setattr(files, '_exclusive_rename', lambda: refuse)
    monkeypatch.setattr(os, 'link', refuse)
    monkeypatch.setattr(os, 'supports_follow_symlinks', {*os.supports_follow_symlinks, os.link})
    storage = DirectoryStorage(str(tmp_path))
    put(tmp_path, 't', b'taken')
    batch = storage.batch()
    batch.write('1', 't', batch.stage(b'1'))
    batch.write('2', 'u', batch.stage(b'2'))
    assert [o.key for o in storage.publish(batch.prepare())] == ['t(1)', 'u']
    assert storage.read('t')[0] == b'taken'


# --- the state folder ---------------------------------------------------------------------------


def test_the_state_folder_is_for_the_owner_alone(storage, tmp_path):
    storage.fs_now()
    assert (tmp_path / '.sync').stat().st_mode & 0o777 == 0o700


def test_identity(storage, tmp_path):
    assert storage.read_identity() is None
    identity = storage.make_identity()
    assert len(identity) == 32 and identity == storage.read_identity() == storage.make_identity()
    assert DirectoryStorage(str(tmp_path)).read_identity() == identity
    path = tmp_path / '.sync' / 'identity'
    assert path.stat().st_mode & 0o777 == 0o600
    for broken in (b'', b'\xff\xff', b'../..\n'):
        path.write_bytes(broken)
        assert storage.read_identity() is None
    assert storage.make_identity() not in ('', identity)


def test_the_file_systems_clock_never_goes_back(storage):
    readings = [storage.fs_now() for _ in range(20)]
    assert readings == sorted(readings)
    assert abs(readings[0] / 1e9 - time.time()) < 60


def test_sweeping_leaves_what_the_journal_names(storage, tmp_path):
    storage.write('old', b'old')
    batch = storage.batch()
    named = batch.stage(b'named')
    batch.write('1', 'a', named)
    batch.move('2', 'old', 'moved', stamp(storage.stat('old')))
    lines = batch.prepare()
    storage.batch().stage(b'forgotten')
    assert storage.sweep_staged({named}, min_age=3600) == 0
    assert storage.sweep_staged({named}) == 1
    assert storage.sweep_staged(lines) == 0
    # as after a crash: the old file is on its way
    operation = package.publish.Operation.of_line(lines[1])
    os.rename(tmp_path / 'old', storage.state.path(f'aside/{operation.id}'))
    assert storage.sweep_staged(set()) == 1
    batch = storage.batch()
    assert storage.sweep(lines) == 0
    assert storage.publish(lines[1:])[0].key == 'moved'
    Path(storage.state.path('aside/unknown')).write_bytes(b'whose?')
    Path(storage.state.path('aside/unknown.where')).write_bytes(b'[]')
    assert storage.sweep(lines) == 2
    assert [e.name for e in storage.trash.list()] == ['recovered-unknown']


def test_two_threads_publish_one_after_the_other(tmp_path):
    storage = DirectoryStorage(str(tmp_path))
    prepared = []
    for number in range(8):
        batch = storage.batch()
        for index in range(5):
            batch.write(f'{number}-{index}', f'n{index}', batch.stage(f'{number}'.encode()))
        prepared.append(batch.prepare())
    other = DirectoryStorage(str(tmp_path))
    results = []

    def work(lines, index):
        results.append((storage if index % 2 else other).publish(lines))

    threads = [
        threading.Thread(target=work, args=(lines, index))
        for index, lines in enumerate([*prepared, *prepared])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(storage.list())) == 40
    assert all(o.ok and o.stamp is not None for outcomes in results for o in outcomes)
