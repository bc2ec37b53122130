"""Names are not trusted: nothing is written outside of the directory, and clashes lose nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pysyncml.cli import notes
from tests.e2e.devices import Raw
from tests.e2e.harness import World

#: Names that nobody may have, wherever notes are stored.
HOSTILE = [
    '../outside.txt',
    '../a/outside.txt',
    '../../outside.txt',
    '../../../../../../../../tmp/outside.txt',
    'sub/../../outside.txt',
    'sub/../outside.txt',
    'sub/..',
    '..',
    '.',
    './x.txt',
    'sub/./x.txt',
    'sub/.',
    '../.sync/state.db',
    '...\\..\\outside.txt',
    '..\\outside.txt',
    'sub\\..\\..\\outside.txt',
    '\\..\\outside.txt',
    '.\u200b./outside.txt',
    '..\u200d/outside.txt',
    '\u2060../outside.txt',
    '/absolute.txt',
    '/etc/passwd',
    '//server/share.txt',
    '///x',
    'sub//x.txt',
    'sub/',
    'x.txt/',
    '\0',
    'nul\0byte.txt',
    '../outside.txt\0.txt',
    '.sync',
    '.sync/state.db',
    '.sync/options.yaml',
    '.sync/identity',
    '.sync/client.lock',
    '.sync/trash/x.txt',
    '.SYNC/state.db',
    '.Sync/x',
    '.sync./x',
    '.sync /x',
    '.sync::$DATA',
    '.sync:stream/x',
    '.s\u200bync/x',
    '.sync\u200c/x',
    'sub/.sync/x',
    'sub/.sync',
    './.sync/x',
    'sub\\.sync\\x',
    '.git/hooks/post-checkout',
    '.git/config',
    '.git',
    '.GIT/config',
    '.Git/hooks/pre-commit',
    'GIT~1/config',
    'git~1/hooks/x',
    '.git /config',
    '.git./config',
    '.git::$INDEX_ALLOCATION/config',
    '.g\u200cit/config',
    '\u200b.git/config',
    'sub/.git/config',
    'sub\\.git\\config',
    '.hg/hgrc',
    '.svn/entries',
    '.bzr/branch/branch.conf',
    'CVS/Root',
    '_darcs/prefs',
    '\u200b',
    'x' * 256,
    f'sub/{"é" * 128}',
    '/'.join(['x' * 250] * 17),
]

#: How a snapshot shows what must not change (our own state does, being at work).
_OURS = (
    '.sync/state',
    '.sync/clock',
    '.sync/lock',
    '.sync/publish',
    '.sync/staged',
    '.sync/aside',
    '.sync/arriving',
)


def _everything(root: Path) -> dict[str, bytes | str | None]:
    """Return all that is below *root*, but for what a program writes when all is well."""
    found: dict[str, bytes | str | None] = {}
    for folder, folders, names in os.walk(os.fspath(root)):
        for name in [*folders, *names]:
            path = os.path.join(folder, name)
            key = os.path.relpath(path, root)
            if '.runs' in key or '.home' in key or any(part in key for part in _OURS):
                continue
            if os.path.islink(path):
                found[key] = os.readlink(path)
            elif os.path.isdir(path):
                found[key] = None
            else:
                with open(path, 'rb') as file:
                    found[key] = file.read()
    return found


@pytest.fixture
def fenced(world: World) -> World:
    """A world with things in it that somebody may be after."""
    for name in 'sa':
        world.write(name, '.git/config', 'config')
        world.write(name, '.git/hooks/post-checkout', 'hook')
    world.write('outside', 'precious.txt', 'precious')
    return world


def test_a_hostile_client_writes_nothing_outside(fenced: World) -> None:
    """Each bad name gets its own refusal; the notes among them are stored all the same."""
    server = fenced.server('s')
    fenced.sync('a')
    before = _everything(fenced.root)
    raw = Raw('hostile', server.url)
    good = [raw.shelf.add('first.txt', b'first')]
    bad = [raw.shelf.add(name, b'#!/bin/sh\nexit 1\n') for name in HOSTILE]
    good.append(raw.shelf.add('last.txt', b'last'))
    stats = raw.run()
    assert (stats.peerAdd, stats.peerErr) == (len(good), len(bad)), stats
    assert len(stats.problems) == len(HOSTILE)
    stored = {f's/{name}.txt': name.encode() for name in ('first', 'last')}
    assert _everything(fenced.root) == before | stored
    # a victim beside it gets the good notes only
    fenced.sync('a')
    assert fenced.tree('a').keys() - {'.git/config', '.git/hooks/post-checkout'} == {
        'first.txt',
        'last.txt',
    }
    # and the same session goes on for ever without harm: the names are offered again, and refused
    assert raw.run().peerErr == len(bad)


def test_a_hostile_client_renames_nothing_outside(fenced: World) -> None:
    """A note that was good is not stored anew under a bad name, and stays what it was."""
    server = fenced.server('s')
    raw = Raw('hostile', server.url)
    items = [raw.shelf.add(f'{number:03}.txt', b'mine') for number in range(len(HOSTILE))]
    other = raw.shelf.add('good.txt', b'good')
    assert raw.run().peerAdd == len(items) + 1
    before = _everything(fenced.root)
    for item, name in zip(items, HOSTILE, strict=True):
        raw.shelf.change(item, name=name, body=b'#!/bin/sh\nexit 1\n')
    raw.shelf.change(other, name='better.txt', body=b'better')
    stats = raw.run()
    assert (stats.peerMod, stats.peerErr) == (1, len(items)), stats
    assert before.pop('s/good.txt') == b'good'
    after = {key: body for key, body in _everything(fenced.root).items() if '/trash/' not in key}
    assert after.pop('s/better.txt') == b'better'
    after.pop('s/.sync/trash', None)
    assert after == before


def test_a_hostile_server_writes_nothing_outside(fenced: World) -> None:
    """A client refuses what a server must not ask for, too, and takes the rest."""
    raw = Raw('hostile')
    raw.shelf.add('first.txt', b'first')
    items = [raw.shelf.add(name, b'#!/bin/sh\nexit 1\n') for name in HOSTILE]
    changing = [raw.shelf.add(f'{number:03}.txt', b'mine') for number in range(len(HOSTILE))]
    last = raw.shelf.add('last.txt', b'last')
    before = _everything(fenced.root)
    with raw.serving() as url:
        result = fenced.sync('a', server=url, code=4)
        assert result.stats['hereErr'] == len(items)
        assert result.stats['hereAdd'] == len(changing) + 2
        wanted = {f'{number:03}.txt': b'mine' for number in range(len(HOSTILE))}
        wanted |= {'first.txt': b'first', 'last.txt': b'last'}
        found = _without_state(_everything(fenced.root))
        assert found == before | {f'a/{name}': body for name, body in wanted.items()}
        for item, name in zip(changing, HOSTILE, strict=True):
            raw.shelf.change(item, name=name, body=b'#!/bin/sh\nexit 1\n')
        raw.shelf.change(last, body=b'better')
        result = fenced.sync('a', code=4)
        assert result.stats['hereMod'] == 1
    assert _without_state(_everything(fenced.root)) == found | {'a/last.txt': b'better'}


def _without_state(found: dict[str, bytes | str | None]) -> dict[str, bytes | str | None]:
    return {key: body for key, body in found.items() if '/.sync' not in key}


def test_a_made_up_name_of_plain_text_is_safe(fenced: World) -> None:
    """From a peer without SIF the name is the first line, which is as little trusted."""
    from pysyncml import TYPE_TEXT_PLAIN, ContentTypeInfo

    server = fenced.server('s')
    fenced.sync('a')
    before = _everything(fenced.root)
    raw = Raw('phone', server.url)
    raw.shelf.contentTypes = [ContentTypeInfo(TYPE_TEXT_PLAIN, '1.0', preferred=True)]
    for first in ('../outside', '/etc/passwd', '.sync', '.git', '..', '', 'title: ../../x', 'a/b'):
        raw.shelf.add('', f'{first}\nbody\n'.encode())
    stats = raw.run()
    assert stats.peerAdd == 8, stats
    after = _everything(fenced.root)
    new = {key: after[key] for key in after.keys() - before.keys()}
    assert len(new) == 8
    assert all(os.path.dirname(key) == 's' and key.endswith('.txt') for key in new), new


# --- symbolic links -----------------------------------------------------------------------------


def test_nothing_goes_through_a_symbolic_link(world: World) -> None:
    """A folder that is a link here is no place for notes, neither to write nor to read."""
    world.write('outside', 'secret.txt', 'secret')
    os.symlink(world.path('outside'), world.path('s') / 'door')
    os.symlink(world.path('outside') / 'secret.txt', world.path('s') / 'window.txt')
    server = world.server('s')
    raw = Raw('hostile', server.url)
    raw.shelf.add('door/new.txt', b'x')
    raw.shelf.add('door/secret.txt', b'x')
    raw.shelf.add('door/deep/down.txt', b'x')
    raw.shelf.add('window.txt', b'x')
    raw.shelf.add('good.txt', b'good')
    stats = raw.run()
    assert (stats.peerAdd, stats.peerErr) == (2, 3), stats
    assert world.tree('outside') == {'secret.txt': b'secret'}
    tree = world.tree('s')
    assert tree.pop('window.txt').startswith(b'-> ')
    assert tree.pop('door', None) is None
    assert tree == {'good.txt': b'good', 'window(1).txt': b'x'}
    world.sync('a')
    assert world.tree('a') == tree


def test_a_link_laid_in_the_way_later_is_not_followed(world: World) -> None:
    """A folder of notes is exchanged for a link: what comes for it does not go through."""
    server = world.server('s')
    world.write('b', 'sub/n.txt', 'one')
    world.sync('b')
    world.sync('a')
    world.write('outside', 'n.txt', 'precious')
    (world.path('a') / 'sub' / 'n.txt').unlink()
    (world.path('a') / 'sub').rmdir()
    os.symlink(world.path('outside'), world.path('a') / 'sub')
    world.write('b', 'sub/n.txt', 'two')
    world.write('b', 'sub/m.txt', 'new')
    world.sync('b')
    world.sync('a', code=None)
    assert world.tree('outside') == {'n.txt': b'precious'}
    # and nothing was deleted elsewhere: what is behind a link is out of sight, not gone
    world.sync('b')
    assert world.tree('b') == world.tree('s') == {'sub/n.txt': b'two', 'sub/m.txt': b'new'}
    assert server.run.running


def test_a_symbolic_link_is_said_once(world: World) -> None:
    """Links are not sent; somebody hears of that, once."""
    world.server('s')
    world.write('a', 'n.txt', 'n')
    os.symlink('n.txt', world.path('a') / 'link.txt')
    first = world.sync('a')
    assert 'link.txt' in first.err
    assert 'link.txt' not in world.sync('a').err
    assert world.tree('s') == {'n.txt': b'n'}


# --- clashes ------------------------------------------------------------------------------------


def _settle(world: World, *names: str) -> dict[str, bytes]:
    for _ in range(2):
        for name in names:
            world.sync(name)
    return world.same('s', *names)


def test_two_devices_make_the_same_name(world: World) -> None:
    """Both notes stay, under the same two names everywhere."""
    world.server('s')
    world.sync('a')
    world.sync('b')
    world.write('a', 'todo.txt', 'milk')
    world.write('b', 'todo.txt', 'bread')
    assert sorted(_settle(world, 'a', 'b').items()) == [
        ('todo(1).txt', b'bread'),
        ('todo.txt', b'milk'),
    ]


def test_names_that_clash_crosswise(world: World) -> None:
    """Two devices each have ``todo.txt`` and ``todo(1).txt``, the other way round."""
    world.server('s')
    world.sync('a')
    world.sync('b')
    for name, one, two in (('a', 'milk', 'bread'), ('b', 'bread', 'milk')):
        world.write(name, 'todo.txt', one)
        world.write(name, 'todo(1).txt', two)
    tree = _settle(world, 'a', 'b')
    assert {b'milk', b'bread'} == set(tree.values())
    assert tree['todo.txt'] == b'milk'


def test_three_clashes_at_once_with_folders(world: World) -> None:
    """The same new name on the server and on three clients, in a sub-folder."""
    world.server('s')
    for name in 'abc':
        world.sync(name)
    for name in 'sabc':
        world.write(name, 'sub/todo.txt', name)
    tree = _settle(world, 'a', 'b', 'c')
    assert sorted(tree.values()) == [b'a', b'b', b'c', b's']
    assert all(name.startswith('sub/todo') for name in tree)


@pytest.mark.parametrize('first', 'ab')
def test_a_folder_where_a_file_must_go(world: World, first: str) -> None:
    """One device makes a note ``x``, another a folder ``x`` with notes."""
    world.server('s')
    world.sync('a')
    world.sync('b')
    world.write('a', 'x', 'file')
    world.write('b', 'x/y.txt', 'in the folder')
    world.write('b', 'x/z/deep.txt', 'deep')
    tree = _settle(world, *sorted('ab', reverse=first == 'b'))
    assert sorted(tree.values()) == [b'deep', b'file', b'in the folder']


def test_a_note_becomes_a_folder_and_back(world: World) -> None:
    """A note makes room for a folder of its name, and the other way round."""
    world.server('s')
    world.write('a', 'x', 'file')
    world.write('a', 'z', 'z')
    _settle(world, 'a', 'b')
    (world.path('a') / 'x').unlink()
    world.write('a', 'x/y.txt', 'in the folder')
    assert _settle(world, 'a', 'b') == {'x/y.txt': b'in the folder', 'z': b'z'}
    (world.path('b') / 'x' / 'y.txt').unlink()
    (world.path('b') / 'x').rmdir()
    world.write('b', 'x', 'file again')
    assert _settle(world, 'b', 'a') == {'x': b'file again', 'z': b'z'}


def test_a_note_moves_into_a_folder_of_its_own_name(world: World) -> None:
    """``x`` becomes ``x/x``: one rename, in which the target lies below the source."""
    world.server('s')
    world.write('a', 'x', 'file')
    _settle(world, 'a', 'b')
    (world.path('a') / 'x').rename(world.path('a') / 'y')
    (world.path('a') / 'x').mkdir()
    (world.path('a') / 'y').rename(world.path('a') / 'x' / 'x')
    assert _settle(world, 'a', 'b') == {'x/x': b'file'}
    (world.path('b') / 'x' / 'x').rename(world.path('b') / 'y')
    (world.path('b') / 'x').rmdir()
    (world.path('b') / 'y').rename(world.path('b') / 'x')
    assert _settle(world, 'b', 'a') == {'x': b'file'}


def test_renames_to_a_name_the_other_device_has_taken(world: World) -> None:
    """A rename does not write over a new note of the same name, whoever comes first."""
    world.server('s')
    world.write('a', 'old.txt', 'old')
    _settle(world, 'a', 'b')
    (world.path('a') / 'old.txt').rename(world.path('a') / 'new.txt')
    world.write('b', 'new.txt', 'precious')
    tree = _settle(world, 'b', 'a')
    assert sorted(tree.values()) == [b'old', b'precious']


def test_both_rename_one_note_differently(world: World) -> None:
    """There is one note after that, or two; never none, and the same everywhere."""
    world.server('s')
    world.write('a', 'n.txt', 'text')
    _settle(world, 'a', 'b')
    (world.path('a') / 'n.txt').rename(world.path('a') / 'one.txt')
    (world.path('b') / 'n.txt').rename(world.path('b') / 'two.txt')
    tree = _settle(world, 'a', 'b')
    assert set(tree.values()) == {b'text'}


# --- a disk that does not tell upper case from lower case ---------------------------------------


class _Folding:
    """The program in this process, with a device whose disk takes Foo and foo for one."""

    def __init__(self, world: World) -> None:
        self.world = world

    def sync(self, name: str) -> None:
        engine = notes.NotesEngine()
        engine.configure(
            ['--quiet', '--remote', self.world.servers[0].url, os.fspath(self.world.path(name))]
        )
        engine.agent._folds = True
        assert engine.run() == 0


def test_upper_and_lower_case_on_a_disk_that_sees_no_difference(world: World) -> None:
    """``Foo`` and ``foo`` from elsewhere are both kept, under two names that differ for all."""
    world.server('s')
    folding = _Folding(world)
    world.write('a', 'Foo.txt', 'one')
    world.write('a', 'foo.txt', 'two')
    world.sync('a')
    for _ in range(2):
        folding.sync('b')
        world.sync('a')
    tree = world.same('s', 'a', 'b')
    assert sorted(tree.values()) == [b'one', b'two']
    assert len({name.casefold() for name in tree}) == 2


def test_a_change_of_case_alone_is_a_rename(world: World) -> None:
    """``foo`` becomes ``Foo``, also on a disk where both are one name."""
    world.server('s')
    folding = _Folding(world)
    world.write('a', 'foo.txt', 'text')
    world.sync('a')
    folding.sync('b')
    (world.path('a') / 'foo.txt').rename(world.path('a') / 'Foo.txt')
    assert world.sync('a').moved == {'peerMod': 1}
    folding.sync('b')
    assert world.same('s', 'a', 'b') == {'Foo.txt': b'text'}
