"""What others learnt the hard way, by the numbers of ``docs/lessons.rst``.

Many lessons have their tests elsewhere; that page names them all.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
import time
import unicodedata
from contextlib import closing

import pytest

from pysyncml.errors import StorageError
from tests.e2e.harness import World
from tests.sync.support import BookmarkAgent, device, urls


def fill(world: World, name: str, count: int) -> None:
    """Write *count* notes into a directory."""
    for number in range(count):
        world.write(name, f'{number:02}.txt', f'{number}\n')


def settle(world: World, *names: str) -> dict[str, bytes]:
    """Synchronise all *names* until nothing is left to do; return what everybody has."""
    for name in (*names, *names[:-1]):
        world.sync(name)
    assert world.sync(names[-1]).moved == {}
    return world.same('s', *names)


# --- A. whole sides vanish ------------------------------------------------------------------------


def test_lesson_01_a_directory_that_is_not_the_one(world: World) -> None:
    """Gone, empty, or another one in its place: nothing is deleted on the other side."""
    world.server('s')
    fill(world, 'a', 3)
    world.sync('a')
    fill(world, 'other', 1)
    world.sync('other')
    away = world.path('a').rename(world.root / 'away')
    assert 'does not exist' in world.run('a', code=2).err
    assert not (world.root / 'a').exists()
    # the disk is not there: only the state folder, which was kept elsewhere, is
    world.path('a')
    shutil.copytree(away / '.sync', world.path('a') / '.sync')
    assert '--allow-deletions' in world.sync('a', code=5).err
    # another directory lies there, with a state folder of its own, and the state database was kept
    shutil.rmtree(world.path('a'))
    shutil.copytree(world.path('other'), world.path('.') / 'a')
    for path in (away / '.sync').glob('state.db*'):
        shutil.copy(path, world.path('a') / '.sync')
    assert 'is not the directory that was synchronised before' in world.sync('a', code=5).err
    assert len(world.tree('s')) == 3
    # an empty directory at the same place is a new device
    shutil.rmtree(world.path('a'))
    assert world.sync('a', server=world.servers[0]).moved == {'hereAdd': 3}
    assert len(world.tree('s')) == 3


def test_lesson_02_a_question_stays_open_until_it_is_answered(world: World) -> None:
    """Neither coming again and again nor new notes that make the loss look small answer it."""
    world.server('s')
    fill(world, 'a', 20)
    world.sync('a')
    for number in range(15):
        world.path('a').joinpath(f'{number:02}.txt').unlink()
    for turn in range(10):
        if turn == 3:
            for number in range(40):
                world.write('a', f'new {number}.txt', f'new {number}\n')
        assert '--allow-deletions' in world.sync('a', code=5).err
        assert len(world.tree('s')) == 20
    world.sync('a', '--allow-deletions')
    assert len(world.same('s', 'a')) == 45


@pytest.mark.parametrize('before', ['never met', 'deleted with consent'])
def test_lesson_03_both_sides_empty_is_no_error(world: World, before: str) -> None:
    """All four ways in which two sides can be empty; only what vanished raises a question."""
    world.server('s')
    world.path('a')
    assert world.sync('a').moved == {}
    if before != 'never met':
        fill(world, 'a', 3)
        world.sync('a')
        for path in world.path('a').glob('*.txt'):
            path.unlink()
        assert '--allow-deletions' in world.sync('a', code=5).err
        world.sync('a', '--allow-deletions')
    for options in ((), ('--mode', 'full'), ()):
        assert world.sync('a', *options).moved == {}
    assert world.sync('b').moved == {}
    world.write('a', 'here.txt', 'here')
    assert world.sync('a').moved == {'peerAdd': 1}
    assert world.sync('b').moved == {'hereAdd': 1}


def test_lesson_04_a_server_that_is_another_one(world: World) -> None:
    """Made anew at the same address, empty or with other notes: both are merged."""
    server = world.server('s')
    fill(world, 'a', 12)
    world.sync('a')
    server.stop()
    shutil.rmtree(world.path('s'))
    world.write('s', 'only here.txt', 'x')
    server.start()
    assert world.sync('a').moved == {'hereAdd': 1, 'peerAdd': 12}
    assert len(world.same('s', 'a')) == 13


class _Moody(BookmarkAgent):
    """Does not take every third new item."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def addItem(self, item):
        self.asked += 1
        if self.asked % 3 == 0:
            raise StorageError('not now')
        return super().addItem(item)


def test_lesson_05_what_never_arrived_was_not_deleted() -> None:
    """A server refuses a third of what is new, three times over; nothing of it goes here."""
    server = device('S', agent=_Moody())
    client = device('C', *(f'http://x/{number}' for number in range(12)))
    for count in (8, 11, 12):
        stats = client.sync(server)['items']
        assert len(urls(client)) == 12
        assert len(urls(server)) == count
        assert stats.hereDel == stats.peerDel == 0
    assert urls(client) == urls(server)


# --- B. conflicts, clocks, races ------------------------------------------------------------------


def test_lesson_06_clocks_do_not_tell_what_has_changed(world: World) -> None:
    """Both have edited, and one file says it is a day older or younger, or of 1970."""
    world.server('s')
    now = time.time()
    stamps = {'day before': now - 86400, 'day after': now + 86400, '1970': 0.0}
    for key in stamps:
        world.write('a', f'{key}.txt', 'one\n')
    world.sync('a')
    world.sync('b')
    for key, stamp in stamps.items():
        world.write('a', f'{key}.txt', 'of a\n')
        path = world.write('b', f'{key}.txt', 'of b\n')
        os.utime(path, (stamp, stamp))
    tree = settle(world, 'a', 'b')
    assert sorted(tree.values()) == [b'of a\n'] * 3 + [b'of b\n'] * 3


def test_lesson_07_two_edits_in_one_tick(world: World) -> None:
    """Of one size, and with one time of change, on both sides: a conflict all the same."""
    world.server('s')
    path = world.write('a', 'n.txt', 'aaaa\n')
    stamp = path.stat().st_mtime_ns
    world.sync('a')
    world.sync('b')
    for name in 'ab':
        os.utime(world.write(name, 'n.txt', f'{name}bcd\n'), ns=(stamp, stamp))
    assert sorted(settle(world, 'a', 'b').values()) == [b'abcd\n', b'bbcd\n']


_OPERATIONS = ('edit', 'delete', 'rename', 'nothing')


def test_lesson_08_every_pair_of_edit_deletion_and_rename(world: World) -> None:
    """An edit beats a deletion, whoever is first; what both deleted is gone."""
    world.server('s')
    pairs = list(itertools.product(_OPERATIONS, repeat=2))
    for one, two in pairs:
        world.write('a', f'{one} {two}.txt', 'a line\n')
    world.sync('a')
    world.sync('b')
    for pair in pairs:
        for name, what in zip('ab', pair, strict=True):
            path = world.path(name) / f'{" ".join(pair)}.txt'
            if what == 'edit':
                path.write_text(f'{name}: {" ".join(pair)}\n')
            elif what == 'delete':
                path.unlink()
            elif what == 'rename':
                path.rename(path.with_name(f'{name} {path.name}'))
    tree = settle(world, 'a', 'b')
    bodies = set(tree.values())
    for pair in pairs:
        for name, what in zip('ab', pair, strict=True):
            if what == 'edit':
                assert f'{name}: {" ".join(pair)}\n'.encode() in bodies, pair
    assert 'delete delete.txt' not in tree
    assert 'delete nothing.txt' not in tree
    assert 'nothing nothing.txt' in tree
    assert 'a rename nothing.txt' in tree


def test_lesson_09_a_state_that_is_wrong(world: World) -> None:
    """The state says that a device has a version which it has not: a full comparison mends it."""
    server = world.server('s')
    fill(world, 'a', 3)
    settle(world, 'a', 'b')
    world.write('b', '01.txt', 'edited by b\n')
    world.sync('b')
    with closing(sqlite3.connect(server.path / '.sync' / 'state.db')) as connection, connection:
        newest = 'select seq from pysyncml_change c where c.item_id = pysyncml_mapping.item_id'
        connection.execute(f'update pysyncml_mapping set seq = ({newest})')
    assert world.sync('a').moved == {}
    assert world.tree('a')['01.txt'] == b'1\n'
    world.sync('a', '--mode', 'full')
    assert settle(world, 'a', 'b')['01.txt'] == b'edited by b\n'


def test_lesson_11_a_conflict_is_resolved_on_two_devices(world: World) -> None:
    """Differently, at once: at most one more copy, nothing is lost, and it comes to an end."""
    world.server('s')
    world.write('a', 'n.txt', 'one\n')
    settle(world, 'a', 'b')
    for name in 'ab':
        world.write(name, 'n.txt', f'of {name}\n')
    assert len(settle(world, 'a', 'b')) == 2
    for name in 'ab':
        copy = next(path for path in world.path(name).glob('*.txt') if 'conflict' in path.name)
        copy.unlink()
        world.write(name, 'n.txt', f'resolved by {name}\n')
    tree = settle(world, 'a', 'b')
    assert sorted(tree.values()) == [b'resolved by a\n', b'resolved by b\n']


# --- D. names, E. scale and times -----------------------------------------------------------------


def test_lesson_19_accents_in_either_form(world: World) -> None:
    """Names stay what they are, byte for byte; twins are two notes; nothing comes back."""
    world.server('s')
    names = {unicodedata.normalize(form, 'é twins.txt') for form in ('NFC', 'NFD')}
    names |= {unicodedata.normalize('NFC', 'ü of a.txt'), unicodedata.normalize('NFD', 'ö.txt')}
    assert len(names) == 4
    for name in names:
        world.write('a', name, name)
    world.sync('a')
    world.sync('b')
    for _ in range(3):
        assert world.sync('a').moved == world.sync('b').moved == {}
    assert world.same('s', 'a', 'b') == {name: name.encode() for name in names}


def test_lesson_23_a_folder_is_renamed(world: World) -> None:
    """Its notes are renamed, not deleted and made anew, and nobody is asked."""
    world.server('s')
    for number in range(60):
        world.write('a', f'old/deep/{number}.txt', f'{number}\n')
    world.sync('a')
    world.sync('b')
    before = {p.name: p.stat().st_ino for p in world.path('b').glob('old/deep/*')}
    world.path('a').joinpath('old').rename(world.path('a') / 'new')
    assert world.sync('a').moved == {'peerMod': 60}
    assert world.sync('b').moved == {'hereMod': 60}
    after = {p.name: p.stat().st_ino for p in world.path('b').glob('new/deep/*')}
    assert len(settle(world, 'a', 'b')) == 60
    assert after.keys() == before.keys()


def test_lesson_25_odd_times_of_change(world: World) -> None:
    """Before 1970, after 2038, after 2106: the note travels, once, and can be edited."""
    world.server('s')
    stamps = (0, -1, 2**31, 2**32 + 5, 2**33)
    for stamp in stamps:
        os.utime(world.write('a', f'{stamp}.txt', f'{stamp}\n'), (stamp, stamp))
    assert world.sync('a').moved == {'peerAdd': len(stamps)}
    assert world.sync('b').moved == {'hereAdd': len(stamps)}
    assert world.sync('a').moved == world.sync('b').moved == {}
    for stamp in stamps:
        os.utime(world.write('b', f'{stamp}.txt', f'edited {stamp}\n'), (stamp, stamp))
    assert world.sync('b').moved == {'peerMod': len(stamps)}
    assert world.sync('a').moved == {'hereMod': len(stamps)}
    assert len(settle(world, 'a', 'b')) == len(stamps)
