"""Files for what arrives piece by piece, and files that are read piece by piece."""

from __future__ import annotations

import errno
import hashlib
import os
import random

import pytest

from pysyncml.errors import InvalidContent, ItemBusy, StoreFull
from pysyncml.storage import DirectoryStorage, Spool
from pysyncml.storage.spool import _STEP, _TAIL

NOISE = random.Random(3).randbytes(3 * _TAIL)


def size_of(spool: Spool, token: str) -> int:
    """Return how many bytes a file has; -1 if there is none."""
    try:
        return os.path.getsize(spool.path(token))
    except (OSError, ValueError):
        return -1


@pytest.fixture
def spool(tmp_path):
    return Spool(str(tmp_path / 'state'))


@pytest.fixture(autouse=True)
def state(tmp_path):
    (tmp_path / 'state').mkdir()


def filled(spool, *pieces):
    token, position = spool.create(), 0
    for piece in pieces:
        spool.write(token, position, piece)
        position += len(piece)
    return token


def test_what_was_written_is_read_again(spool):
    token = filled(spool, b'one ', b'two ', b'three')
    with spool.open(token, 13) as stream:
        assert stream.size == 13
        assert stream.read() == b'one two three'
        assert stream.read_at(4, 3) == b'two'
        assert stream.sha256(13) == hashlib.sha256(b'one two three').hexdigest()


def test_what_does_not_count_is_overwritten(spool):
    """A transaction that was taken back has written a piece; the next one is longer, or shorter."""
    token = filled(spool, b'one ', b'taken back')
    spool.write(token, 4, b'two')
    with spool.open(token, 7) as stream:
        assert stream.read() == b'one two'
    spool.write(token, 7, b'another that does not count')
    with spool.open(token, 7) as stream:
        assert stream.read() == b'one two'
        assert stream.sha256(7) == hashlib.sha256(b'one two').hexdigest()


def cut_into(size):
    return [NOISE[start : start + size] for start in range(0, len(NOISE), size)]


@pytest.mark.parametrize('size', [_STEP - 1, _STEP, 100_000, _TAIL, _TAIL + 7, len(NOISE)])
def test_hashed_as_it_comes(spool, size, monkeypatch):
    token = filled(spool, *cut_into(size))
    with spool.open(token, len(NOISE)) as stream:
        read = []
        read_at = stream.read_at
        monkeypatch.setattr(stream, 'read_at', lambda at, n: read.append(n) or read_at(at, n))
        for end in (len(NOISE), len(NOISE) - 5, len(NOISE) - _TAIL // 2):
            read.clear()
            assert stream.sha256(end) == hashlib.sha256(NOISE[:end]).hexdigest()
            # of what came in pieces, little more than a piece is read again
            assert sum(read) <= max(_TAIL, size) + _STEP
        assert stream.sha256(5) == hashlib.sha256(NOISE[:5]).hexdigest()


def test_another_process_hashes_again(spool, tmp_path):
    token = filled(spool, *cut_into(_TAIL))
    with spool.open(token, len(NOISE)):
        pass
    other = Spool(str(tmp_path / 'state'))
    with other.open(token, len(NOISE)) as stream:
        assert stream.sha256(len(NOISE) - 9) == hashlib.sha256(NOISE[:-9]).hexdigest()
        with pytest.raises(InvalidContent):
            stream.sha256(len(NOISE) + 1)


def test_its_beginning_becomes_a_file_without_a_copy(spool, tmp_path):
    token = filled(spool, b'the body', b', and what is said of it')
    inode = os.stat(spool.path(token)).st_ino
    content = spool.open(token, 32).beginning(8)
    assert (content.size, content.read_at(4, 100)) == (8, b'body')
    assert content.sha256 == hashlib.sha256(b'the body').hexdigest()
    content.move_to(str(tmp_path / 'note'))
    assert (tmp_path / 'note').read_bytes() == b'the body'
    assert os.stat(tmp_path / 'note').st_ino == inode
    assert size_of(spool, token) == -1


def test_a_full_disk_shows_when_the_next_piece_comes(spool, monkeypatch):
    token = filled(spool, b'one')
    spool.finish(token)

    def full(*_):
        raise OSError(errno.ENOSPC, 'full')

    with monkeypatch.context() as patch:
        patch.setattr(os, 'ftruncate', full)
        patch.setattr(os, 'fsync', full)
        spool.write(token, 3, b'two')
        with pytest.raises(StoreFull):
            spool.write(token, 6, b'three')
    assert not spool.wrote(token, 6)


def test_a_disk_has_only_so_much_room(spool):
    assert spool.has_room(1000)
    assert not spool.has_room(1 << 60)


def test_left_overs_are_swept_away(spool, tmp_path):
    kept, gone = filled(spool, b'1'), filled(spool, b'2')
    spool.sweep([kept])
    assert size_of(spool, kept) == 1
    assert size_of(spool, gone) == -1
    spool.remove(kept)
    spool.remove(kept)
    assert os.listdir(tmp_path / 'state') == []


@pytest.mark.parametrize('token', ['', '../../etc/passwd', 'x' * 31 + '/', '.' * 32])
def test_only_tokens_are_names(spool, token):
    with pytest.raises(ValueError, match='token'):
        spool.path(token)
    assert size_of(spool, token) == -1
    assert spool.checksum(token, 0, 1) is None


# --- files that are read piece by piece -----------------------------------------------------------


@pytest.fixture
def storage(tmp_path):
    (tmp_path / 'notes').mkdir()
    (tmp_path / 'notes' / 'x').write_bytes(b'0123456789')
    return DirectoryStorage(str(tmp_path / 'notes'))


def test_a_file_is_read_piece_by_piece(storage):
    body = storage.body('x', storage.stat('x'))
    assert body.size == 10
    assert [body.read_at(start, 4) for start in (0, 4, 8)] == [b'0123', b'4567', b'89']


@pytest.mark.parametrize('what', ['edited', 'gone', 'replaced', 'a link', 'a folder', 'longer'])
def test_a_file_that_has_changed_is_not_read_on(storage, tmp_path, what):
    path = tmp_path / 'notes' / 'x'
    body = storage.body('x', storage.stat('x'))
    if what == 'longer':
        with open(path, 'ab') as file:
            file.write(b'more')
    elif what == 'edited':
        path.write_bytes(b'9876543210')
    elif what == 'replaced':
        (tmp_path / 'other').write_bytes(b'0123456789')
        os.replace(tmp_path / 'other', path)
    else:
        path.unlink()
    if what == 'a link':
        (tmp_path / 'secret').write_bytes(b'9876543210')
        path.symlink_to(tmp_path / 'secret')
    if what == 'a folder':
        path.mkdir()
    with pytest.raises(ItemBusy):
        body.read_at(0, 4)
