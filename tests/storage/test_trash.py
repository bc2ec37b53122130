"""What is replaced or deleted can be had back for a while."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pysyncml.errors import InvalidItem, InvalidName
from pysyncml.storage import DirectoryStorage, TrashEntry

NOW = 1_700_000_000.0
DAY = 86400


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def storage(tmp_path, clock):
    return DirectoryStorage(str(tmp_path), trash_days=30, clock=clock)


def delete(storage, **notes):
    for key, body in notes.items():
        storage.write(key, body)
        storage.delete(key)


def test_empty_before_anything_was_done(storage, tmp_path):
    assert storage.trash.list() == [] and storage.list_trash() == []
    assert storage.trash.expire() == 0
    assert os.listdir(tmp_path) == []


def test_listed_newest_first(storage, clock):
    delete(storage, **{'a/b.txt': b'one'})
    delete(storage, **{'a/b.txt': b'second'})
    clock.now += 60
    delete(storage, c=b'c')
    assert storage.trash.list() == [
        TrashEntry('c', '20231114T221420Z-1/c', NOW + 60, 1),
        TrashEntry('a/b.txt', '20231114T221320Z-2/a/b.txt', NOW, 6),
        TrashEntry('a/b.txt', '20231114T221320Z-1/a/b.txt', NOW, 3),
    ]
    assert storage.list_trash()[0] == ('c', NOW + 60, 1)


def test_more_than_nine_in_one_second_stay_in_order(storage):
    for number in range(12):
        delete(storage, a=str(number).encode())
    assert [e.path.partition('/')[0][17:] for e in storage.trash.list()] == [
        str(number) for number in range(12, 0, -1)
    ]
    assert storage.restore('a') == 'a'
    assert storage.read('a')[0] == b'11'


def test_restored_under_its_name_with_its_folders(storage, tmp_path):
    delete(storage, **{'a/b/c': b'body'})
    assert not (tmp_path / 'a').exists()
    assert storage.restore('a/b/c') == 'a/b/c'
    assert storage.read('a/b/c')[0] == b'body'
    assert storage.trash.list() == []
    assert os.listdir(storage.state.path('trash')) == []


def test_restored_beside_what_has_its_name_now(storage):
    delete(storage, **{'n.txt': b'old'})
    storage.write('n.txt', b'now')
    assert storage.trash.restore('n.txt') == 'n(1).txt'
    assert storage.read('n.txt')[0] == b'now' and storage.read('n(1).txt')[0] == b'old'


def test_one_of_several_by_its_path(storage):
    delete(storage, a=b'first')
    delete(storage, a=b'second')
    assert storage.restore('20231114T221320Z-1/a') == 'a'
    assert storage.read('a')[0] == b'first'
    assert [e.size for e in storage.trash.list()] == [6]


def test_nothing_of_that_name(storage):
    delete(storage, a=b'a')
    for name in ('b', '../a', '', '20231114T221320Z-1'):
        with pytest.raises(InvalidItem):
            storage.restore(name)


def test_never_restored_behind_a_link(storage, tmp_path):
    delete(storage, **{'d/x': b'x'})
    (tmp_path / 'outside').mkdir()
    (tmp_path / 'd').symlink_to(tmp_path / 'outside')
    with pytest.raises(InvalidName):
        storage.restore('d/x')
    assert os.listdir(tmp_path / 'outside') == []
    assert [e.name for e in storage.trash.list()] == ['d/x']


def test_kept_bytes_can_be_restored(storage):
    entry = storage.trash.keep('lost/conflict.txt', b'\0loser')
    assert entry == storage.trash.list()[0]
    assert Path(storage.state.path(f'trash/{entry.path}')).stat().st_mode & 0o777 == 0o600
    assert storage.restore('lost/conflict.txt') == 'lost/conflict.txt'
    assert storage.read('lost/conflict.txt')[0] == b'\0loser'


@pytest.mark.parametrize('name', ['../x', '/x', '', 'a//b', 'nul\0'])
def test_nothing_is_kept_outside(storage, tmp_path, name):
    with pytest.raises(InvalidName):
        storage.trash.keep(name, b'x')
    assert not (tmp_path.parent / 'x').exists()


def test_a_file_and_a_folder_of_one_name_in_one_go(storage, tmp_path):
    storage.write('a/b', b'1')
    batch = storage.batch()
    batch.delete('1', 'a/b')
    lines = batch.prepare()
    storage.publish(lines)
    slot = storage.trash.slot()
    for key, body in (('x', b'file'), ('x/y', b'inside'), ('x', b'again')):
        (tmp_path / 'tmp').write_bytes(body)
        with storage.files.at('tmp') as spot:
            slot.put(spot, key)
    assert sorted((e.name, e.size) for e in storage.trash.list()) == [
        ('a/b', 1),
        ('x', 4),
        ('x', 5),
        ('x/y', 6),
    ]


def test_thrown_away_when_it_is_old(storage, clock, tmp_path):
    delete(storage, old=b'old')
    clock.now += 20 * DAY
    delete(storage, new=b'new')
    assert storage.trash.expire() == 0
    clock.now += 10 * DAY + 1
    assert storage.trash.expire() == 1
    assert [e.name for e in storage.trash.list()] == ['new']
    (Path(storage.state.path('trash')) / 'my own').mkdir()
    clock.now += 10000 * DAY
    assert storage.trash.expire() == 1
    assert os.listdir(storage.state.path('trash')) == ['my own']


def test_kept_for_ever(tmp_path, clock):
    storage = DirectoryStorage(str(tmp_path), trash_days=-1, clock=clock)
    delete(storage, a=b'a')
    clock.now += 10000 * DAY
    assert storage.trash.expire() == 0
    assert len(storage.trash.list()) == 1
