"""What has to outlast a power failure is synced before something rests on it."""

from __future__ import annotations

import errno
import os

import pytest
import sqlalchemy

from pysyncml.cli.failures import explain
from pysyncml.cli.folders import make_private, make_private_file
from pysyncml.cli.passwords import PasswordStore
from pysyncml.constants import ExitCode
from pysyncml.errors import InvalidItem, UsageError, refusal_of_system
from pysyncml.storage import DirectoryStorage, files

posix = pytest.mark.skipif(os.name != 'posix', reason='folders are synced on POSIX systems only')


class Log(list):
    """What was synced, by its inode, and what was put in its place, by its name."""

    def synced(self, *paths) -> None:
        for path in paths:
            assert os.stat(path).st_ino in self, f'{path} was not synced'


@pytest.fixture
def log(monkeypatch):
    log, place_new = Log(), files.place_new

    def place(old, new):
        log.append(new.name)
        return place_new(old, new)

    monkeypatch.setattr(os, 'fsync', lambda fd: log.append(os.fstat(fd).st_ino))
    monkeypatch.setattr(files, '_sync_file_system', lambda path: False)
    monkeypatch.setattr(files, 'place_new', place)
    return log


@posix
def test_another_name_lasts_before_it_is_used(tmp_path, log):
    storage = DirectoryStorage(str(tmp_path))
    batch = storage.batch()
    batch.write('1', 'note', batch.stage(b'ours'))
    lines = batch.prepare()
    (tmp_path / 'note').write_bytes(b'typed meanwhile')
    log.clear()
    assert [outcome.key for outcome in storage.publish(lines)] == ['note(1)']
    aside = os.stat(tmp_path / '.sync' / 'aside').st_ino
    assert log.index('note') < log.index(aside) < log.index('note(1)')


@posix
def test_what_is_brought_back_lasts_in_its_folders(tmp_path, log):
    storage = DirectoryStorage(str(tmp_path))
    storage.write('deep/er/note', b'body')
    storage.delete('deep/er/note')
    assert not (tmp_path / 'deep').exists()
    log.clear()
    storage.restore('deep/er/note')
    log.synced(tmp_path / 'deep' / 'er', tmp_path / 'deep', tmp_path, tmp_path / '.sync' / 'trash')


@posix
def test_a_password_lasts_and_leaves_no_copy(tmp_path, log, monkeypatch):
    store = PasswordStore(str(tmp_path), 'notes')
    monkeypatch.setattr(store, '_keyring', lambda: None)

    def broken(*_):
        raise InterruptedError

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(os, 'replace', broken)
        store.set('http://a/', 'me', 'first')
    monkeypatch.setattr(os, 'getpid', lambda: 1)  # the next run is another process
    store.tidy()
    assert os.listdir(tmp_path) == []
    store.set('http://a/', 'me', 'second')
    assert os.listdir(tmp_path) == ['credentials']
    log.synced(tmp_path / 'credentials', tmp_path)


@posix
def test_a_new_state_folder_lasts(tmp_path, log):
    make_private(f'{tmp_path}/.sync/')
    log.synced(tmp_path)
    log.clear()
    make_private(f'{tmp_path}/.sync/')
    assert not log, 'once is enough'


@pytest.mark.parametrize('call, make', [('makedirs', make_private), ('open', make_private_file)])
def test_a_full_disk_is_no_wrong_option(call, make, tmp_path, monkeypatch):
    def fail(number):
        def failing(path, *_, **__):
            raise OSError(number, os.strerror(number), path)

        return failing

    monkeypatch.setattr(os, call, fail(errno.ENOSPC))
    with pytest.raises(OSError) as caught:
        make(f'{tmp_path}/x')
    line, code = explain(caught.value)
    assert code == ExitCode.FAILED and 'Free some space' in line
    monkeypatch.setattr(os, call, fail(errno.EROFS))
    with pytest.raises(UsageError):
        make(f'{tmp_path}/x')


def test_what_the_system_cannot_do_is_told_in_a_few_words():
    assert refusal_of_system(OSError(errno.EIO, 'it broke', 'note')) == 'note: it broke'
    assert refusal_of_system(OSError(errno.EIO, 'it broke')) == 'it broke'
    full = sqlalchemy.exc.OperationalError('insert', {}, Exception('disk is full'))
    assert refusal_of_system(full) == 'the state database cannot be used: disk is full'
    assert refusal_of_system(InvalidItem('x')) is None
    assert refusal_of_system(ZeroDivisionError()) is None
