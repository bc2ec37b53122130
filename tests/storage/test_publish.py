"""Publishing: names swapped and chained, the user at the keyboard, and crashes at every step."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pysyncml.errors import InvalidItem, InvalidName, StoreFull
from pysyncml.storage import DirectoryStorage, files, order, stamp
from pysyncml.storage.files import looks_of

CRASHING = ('rename', 'link', 'unlink', 'mkdir', 'rmdir', 'replace', 'fsync')


@pytest.fixture(autouse=True, scope='module')
def no_waiting_for_disks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, 'fsync', lambda fd: None)
        patch.setattr(files, '_sync_file_system', lambda path: False)
        yield


class Crash(BaseException):
    """The process dies here."""


class Crasher:
    """Counts what is done to the disk, and dies right before or right after one of it."""

    def __init__(self, monkeypatch, *, at=None, after=False, links=False, error=None):
        self.count = 0
        self.at = at
        self.after = after
        self.error = error or Crash()
        self.patch = monkeypatch
        for name in CRASHING:
            monkeypatch.setattr(os, name, self.wrap(getattr(os, name)))
        own = None if links else files._exclusive_rename()
        wrapped = None if own is None else self.wrap(own)
        monkeypatch.setattr(files, '_exclusive_rename', lambda: wrapped)
        supported = {*os.supports_follow_symlinks, os.link}
        monkeypatch.setattr(os, 'supports_follow_symlinks', supported)

    def wrap(self, function):
        def wrapped(*args, **keywords):
            self.count += 1
            hit = self.count == self.at
            if hit and not self.after:
                raise self.error
            try:
                return function(*args, **keywords)
            finally:
                if hit:
                    raise self.error

        return wrapped


def tree(storage):
    return {key: storage.read(key)[0] for key in storage.list()}


def trashed(storage):
    return sorted(
        Path(storage.state.path(f'trash/{entry.path}')).read_bytes()
        for entry in storage.trash.list()
    )


def leavings(storage):
    names = []
    for folder in ('staged', 'aside'):
        found = Path(storage.state.path(folder))
        names += [p.name for p in found.iterdir() if p.suffix != '.where'] if found.exists() else []
    return names


def make(root, **notes):
    for key, body in notes.items():
        put(root, key, body)
    return DirectoryStorage(str(root), clock=lambda: 1_700_000_000.0)


def put(root, key, body):
    path = Path(root, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)


def moves(storage, batch, **targets):
    for source, key in targets.items():
        batch.move(f'item {source}', source, key, stamp(storage.stat(source)))


def write(storage, batch, source, key, body):
    batch.write(f'item {source}', key, batch.stage(body), source, stamp(storage.stat(source)))


# --- the ordinary run ---------------------------------------------------------------------------


def test_a_new_note_is_written_with_its_folders(tmp_path):
    storage = make(tmp_path)
    batch = storage.batch()
    batch.write('1', 'a/b/c.txt', batch.stage(b'\0\r\n\xff'))
    lines = batch.prepare()
    assert tree(storage) == {}
    (outcome,) = storage.publish(lines)
    assert outcome.ok and outcome.key == 'a/b/c.txt' and outcome.item_id == '1'
    assert outcome.line == lines[0]
    assert outcome.stamp == stamp(storage.stat('a/b/c.txt'))
    assert tree(storage) == {'a/b/c.txt': b'\0\r\n\xff'}
    assert leavings(storage) == []


def test_a_replaced_note_keeps_its_mode_and_goes_to_the_trash(tmp_path):
    storage = make(tmp_path, a=b'old')
    os.chmod(tmp_path / 'a', 0o640)
    batch = storage.batch()
    write(storage, batch, 'a', 'a', b'new')
    (outcome,) = storage.publish(batch.prepare())
    assert outcome.ok and outcome.displaced is None
    assert tree(storage) == {'a': b'new'}
    assert (tmp_path / 'a').stat().st_mode & 0o777 == 0o640
    assert [(e.name, e.size) for e in storage.trash.list()] == [('a', 3)]


def test_a_move_keeps_the_inode_and_removes_the_empty_folder(tmp_path):
    storage = make(tmp_path, **{'old/deep/a': b'x'})
    inode = storage.stat('old/deep/a').st_ino
    batch = storage.batch()
    moves(storage, batch, **{'old/deep/a': 'new/a'})
    (outcome,) = storage.publish(batch.prepare())
    assert looks_of(outcome.stamp)[2] == inode == storage.stat('new/a').st_ino
    assert not (tmp_path / 'old').exists()
    assert trashed(storage) == []


def renamed_folder(root, *more):
    """Return a storage, and a batch that moves a folder; *more* is what is in it besides."""
    storage = make(root, **{f'old/{n}': b'%d' % n for n in range(5)})
    batch = storage.batch()
    moves(storage, batch, **{f'old/{n}': f'new/folder/{n}' for n in range(5)})
    for make_more in more:
        make_more(root, batch)
    return storage, batch


def test_a_folder_is_renamed_as_a_whole(tmp_path, monkeypatch):
    storage, batch = renamed_folder(tmp_path)
    os.chmod(tmp_path / 'old', 0o750)
    folder = (tmp_path / 'old').stat()
    stamps = [stamp(storage.stat(f'old/{n}')) for n in range(5)]
    with monkeypatch.context() as patch:
        renames = []
        own = files._exclusive_rename() or os.rename
        counting = lambda old, new: (renames.append(new), own(old, new))  # noqa: E731
        patch.setattr(files, '_exclusive_rename', lambda: counting)
        outcomes = storage.publish(batch.prepare(), batch)
    assert len(renames) == 1
    assert [(o.ok, o.key) for o in outcomes] == [(True, f'new/folder/{n}') for n in range(5)]
    assert [o.stamp for o in outcomes] == stamps  # their files have not been touched
    now = (tmp_path / 'new' / 'folder').stat()
    assert (now.st_ino, now.st_mode) == (folder.st_ino, folder.st_mode)
    assert not (tmp_path / 'old').exists()
    assert tree(storage) == {f'new/folder/{n}': b'%d' % n for n in range(5)}


@pytest.mark.parametrize(
    ('more', 'old', 'new'),
    [
        (lambda root, batch: put(root, 'old/ignored', b'I'), {'ignored': b'I'}, {}),
        (lambda root, batch: put(root, 'old/deep/er', b'I'), {'deep/er': b'I'}, {}),
        (lambda root, batch: put(root, 'new/folder/x', b'X'), {}, {'x': b'X'}),
        (lambda root, batch: batch.write('w', 'old/w', batch.stage(b'W')), {'w': b'W'}, {}),
        (lambda root, batch: batch.write('w', 'new/folder/w', batch.stage(b'W')), {}, {'w': b'W'}),
        (lambda root, batch: batch.move('item old/0', 'old/0', 'old/9'), {'9': b'0'}, {'0': None}),
    ],
    ids=['stranger', 'folder', 'target', 'new-in-old', 'new-in-new', 'one-stays'],
)
def test_a_folder_with_something_else_in_it_is_not_renamed(tmp_path, more, old, new):
    """But its files are, one by one."""
    storage, batch = renamed_folder(tmp_path, more)
    outcomes = storage.publish(batch.prepare(), batch)
    assert all(o.ok and o.stamp is not None for o in outcomes)
    moved = {f'new/folder/{n}': b'%d' % n for n in range(5)}
    moved |= {f'new/folder/{name}': body for name, body in new.items()}
    expected = moved | {f'old/{name}': body for name, body in old.items()}
    assert tree(storage) == {key: body for key, body in expected.items() if body is not None}


def test_a_file_that_was_replaced_in_a_folder_that_is_renamed(tmp_path):
    storage, batch = renamed_folder(tmp_path)
    lines = batch.prepare()
    put(tmp_path, 'tmp', b'user')
    os.replace(tmp_path / 'tmp', tmp_path / 'old' / '3')
    outcomes = storage.publish(lines, batch)
    assert [o.key for o in outcomes] == [f'new/folder/{n}' for n in range(5)]
    assert [o.stamp is None for o in outcomes] == [n == 3 for n in range(5)]
    assert storage.read('new/folder/3')[0] == b'user'


def test_a_folder_with_something_else_in_it_stays(tmp_path):
    storage = make(tmp_path, **{'f/a': b'x'})
    (tmp_path / 'f' / 'empty').mkdir()
    batch = storage.batch()
    batch.delete('1', 'f/a')
    assert storage.publish(batch.prepare())[0].key is None
    assert (tmp_path / 'f' / 'empty').is_dir()


@pytest.mark.parametrize('size', [2, 3, 5])
def test_names_in_a_circle(tmp_path, size):
    names = [f'n{i}' for i in range(size)]
    storage = make(tmp_path, **{name: name.encode() for name in names})
    targets = dict(zip(names, names[1:] + names[:1], strict=True))
    batch = storage.batch()
    moves(storage, batch, **targets)
    lines = batch.prepare()
    expected = {targets[name]: name.encode() for name in names}
    for _ in range(3):  # it may be done again, and changes nothing
        outcomes = storage.publish(lines)
        assert [o.key for o in outcomes] == [targets[name] for name in names]
        assert all(o.ok and o.stamp is not None for o in outcomes)
        assert tree(storage) == expected
    assert trashed(storage) == leavings(storage) == []


def test_a_chain_and_an_edit_in_it(tmp_path):
    storage = make(tmp_path, a=b'A', b=b'B', c=b'C')
    batch = storage.batch()
    moves(storage, batch, a='b')
    write(storage, batch, 'b', 'c', b'B2')
    batch.delete('item c', 'c', stamp(storage.stat('c')))
    lines = batch.prepare()
    for _ in range(2):
        outcomes = storage.publish(lines)
        assert [o.key for o in outcomes] == ['b', 'c', None]
        assert tree(storage) == {'b': b'A', 'c': b'B2'}
    assert trashed(storage) == [b'B', b'C']


def test_a_case_only_rename(tmp_path):
    storage = make(tmp_path, Foo=b'x')
    batch = storage.batch()
    moves(storage, batch, Foo='foo')
    assert storage.publish(batch.prepare())[0].key == 'foo'
    assert tree(storage) == {'foo': b'x'}


def test_a_file_becomes_a_folder_and_a_folder_a_file(tmp_path):
    storage = make(tmp_path, **{'a': b'1', 'd/x': b'2', 'd/e/y': b'3'})
    batch = storage.batch()
    moves(storage, batch, **{'a': 'a/inside', 'd/x': 'd'})
    batch.delete('item d/e/y', 'd/e/y')
    lines = batch.prepare()
    for _ in range(2):
        assert [o.key for o in storage.publish(lines)] == ['a/inside', 'd', None]
        assert tree(storage) == {'a/inside': b'1', 'd': b'2'}


# --- names that are taken -----------------------------------------------------------------------


def test_a_taken_name_gives_a_free_one(tmp_path):
    storage = make(tmp_path, **{'t.txt': b'theirs'})
    batch = storage.batch()
    batch.write('1', 't.txt', batch.stage(b'ours'))
    lines = batch.prepare()
    for _ in range(2):
        (outcome,) = storage.publish(lines)
        assert outcome.ok and outcome.key == 't(1).txt' and outcome.displaced is None
        assert outcome.stamp is not None
        assert tree(storage) == {'t.txt': b'theirs', 't(1).txt': b'ours'}


def test_two_new_notes_of_one_name(tmp_path):
    storage = make(tmp_path)
    batch = storage.batch()
    batch.write('1', 't', batch.stage(b'1'))
    batch.write('2', 't', batch.stage(b'2'))
    assert [o.key for o in storage.publish(batch.prepare())] == ['t', 't(1)']
    assert tree(storage) == {'t': b'1', 't(1)': b'2'}


def test_a_folder_where_a_file_must_go_and_a_file_where_a_folder_must(tmp_path):
    storage = make(tmp_path, **{'folder/x': b'x', 'file': b'f'})
    batch = storage.batch()
    batch.write('1', 'folder', batch.stage(b'1'))
    batch.write('2', 'file/a', batch.stage(b'2'))
    batch.write('3', 'file/b', batch.stage(b'3'))
    keys = [o.key for o in storage.publish(batch.prepare())]
    assert keys == ['folder(1)', 'file(1)/a', 'file(1)/b']


def test_a_link_is_never_followed(tmp_path):
    outside = tmp_path / 'outside'
    outside.mkdir()
    (outside / 'x').write_bytes(b'safe')
    root = tmp_path / 'root'
    root.mkdir()
    (root / 'd').symlink_to(outside)
    (root / 'l').symlink_to(outside / 'x')
    storage = make(root)
    batch = storage.batch()
    with pytest.raises(InvalidName, match='symbolic link'):
        batch.write('1', 'd/new', batch.stage(b'1'))
    with pytest.raises(InvalidName):
        storage.stat('d/x')
    batch.write('2', 'l', batch.stage(b'2'))
    batch.delete('3', 'd/x')
    batch.delete('4', 'l')
    outcomes = storage.publish(batch.prepare())
    assert [o.key for o in outcomes] == ['l(1)', None, None]
    assert os.listdir(outside) == ['x'] and (outside / 'x').read_bytes() == b'safe'
    assert (root / 'l').is_symlink()


def test_a_folder_exchanged_for_a_link_after_preparing(tmp_path):
    outside = tmp_path / 'outside'
    outside.mkdir()
    storage = make(tmp_path / 'root', **{'d/x': b'old'})
    batch = storage.batch()
    write(storage, batch, 'd/x', 'd/x', b'new')
    lines = batch.prepare()
    shutil.rmtree(tmp_path / 'root' / 'd')
    (tmp_path / 'root' / 'd').symlink_to(outside)
    (outcome,) = storage.publish(lines)
    assert not outcome.ok and 'symbolic link' in outcome.error
    assert os.listdir(outside) == []
    (tmp_path / 'root' / 'd').unlink()
    assert storage.publish(lines)[0].key == 'd/x'
    assert tree(storage) == {'d/x': b'new'}


@pytest.mark.skipif(not files.HAS_DIR_FD, reason='folders cannot be opened here')
@pytest.mark.parametrize('exchange', ['for a link', 'for a folder', 'for nothing'])
def test_a_folder_exchanged_while_its_files_are_placed(tmp_path, monkeypatch, exchange):
    """A folder stays open for all its files, and is yet looked at again after a moment."""
    monkeypatch.setattr(files, '_SOON', 0)
    outside, root = tmp_path / 'outside', tmp_path / 'root'
    outside.mkdir()
    storage = make(root, **{'d/e/x': b'old'})
    batch = storage.batch()
    for name in 'abc':
        batch.write(name, f'd/e/{name}', batch.stage(name.encode()))
    lines = batch.prepare()
    place = files.place_new
    placed = []

    def exchanging(old, new):
        place(old, new)
        placed.append(new.name)
        if len(placed) == 1:
            os.rename(root / 'd', outside / 'd')
            if exchange == 'for a link':
                (root / 'd').symlink_to(outside / 'd')
            elif exchange == 'for a folder':
                (root / 'd' / 'e').mkdir(parents=True)

    monkeypatch.setattr(files, 'place_new', exchanging)
    outcomes = storage.publish(lines)
    assert sorted(os.listdir(outside / 'd' / 'e')) == ['a', 'x']
    assert outcomes[0].stamp is None
    if exchange == 'for a link':
        assert [o.ok for o in outcomes[1:]] == [False, False]
        (root / 'd').unlink()
        assert [o.key for o in storage.publish(lines[1:])] == ['d/e/b', 'd/e/c']
    assert tree(storage) == {'d/e/b': b'b', 'd/e/c': b'c'}


def test_more_folders_than_stay_open(tmp_path):
    storage = make(tmp_path)
    batch = storage.batch()
    keys = [f'{number % 90}/{number % 7}/{number}' for number in range(200)]
    for key in keys:
        batch.write(key, key, batch.stage(key.encode()))
    before = len(os.listdir('/proc/self/fd')) if os.path.isdir('/proc/self/fd') else 0
    assert all(outcome.ok for outcome in storage.publish(batch.prepare()))
    if before:
        assert len(os.listdir('/proc/self/fd')) == before
    assert tree(storage) == {key: key.encode() for key in keys}


@pytest.mark.parametrize('key', ['../x', '/x', '.sync/state.db', 'a/../../x', '', '.git/config'])
def test_names_outside_are_refused(tmp_path, key):
    storage = make(tmp_path, a=b'a')
    batch = storage.batch()
    with pytest.raises(InvalidName):
        batch.write('1', key, 'token')
    with pytest.raises(InvalidName):
        batch.move('2', 'a', key)
    assert len(batch) == 0


# --- the user is quicker ------------------------------------------------------------------------


def test_an_edit_meanwhile_is_kept_and_ours_lies_beside(tmp_path):
    storage = make(tmp_path, **{'a.txt': b'old'})
    batch = storage.batch(label='phone 2024')
    write(storage, batch, 'a.txt', 'a.txt', b'new')
    lines = batch.prepare()
    put(tmp_path, 'a.txt', b'the user')
    for _ in range(2):
        (outcome,) = storage.publish(lines)
        assert outcome.ok and outcome.key == 'a.txt' and outcome.stamp is None
        assert outcome.displaced == 'a (conflict phone 2024).txt'
        assert tree(storage) == {'a.txt': b'the user', 'a (conflict phone 2024).txt': b'new'}
    assert leavings(storage) == []


def test_the_same_edit_on_both_sides_makes_no_copy(tmp_path):
    storage = make(tmp_path, a=b'old')
    batch = storage.batch()
    write(storage, batch, 'a', 'a', b'same')
    lines = batch.prepare()
    put(tmp_path, 'a', b'same')
    assert [(o.key, o.displaced) for o in storage.publish(lines)] == [('a', None)]
    assert tree(storage) == {'a': b'same'} and leavings(storage) == []


def test_an_edit_between_looking_and_taking(tmp_path, monkeypatch):
    storage = make(tmp_path, a=b'old')
    batch = storage.batch()
    write(storage, batch, 'a', 'a', b'new')
    lines = batch.prepare()
    rename = os.rename

    def too_late(old, new, **keywords):
        put(tmp_path, 'a', b'in the last moment')
        rename(old, new, **keywords)

    monkeypatch.setattr(os, 'rename', too_late)
    (outcome,) = storage.publish(lines)
    assert outcome.key == 'a' and outcome.displaced is not None
    assert sorted(tree(storage).values()) == [b'in the last moment', b'new']
    assert leavings(storage) == []


def test_an_edit_beats_a_deletion(tmp_path):
    storage = make(tmp_path, a=b'old')
    batch = storage.batch()
    batch.delete('1', 'a', stamp(storage.stat('a')))
    lines = batch.prepare()
    put(tmp_path, 'a', b'edited')
    for _ in range(2):
        (outcome,) = storage.publish(lines)
        assert outcome.ok and outcome.key == 'a' and outcome.stamp is None
    assert tree(storage) == {'a': b'edited'}


@pytest.mark.parametrize('replaced', [False, True])
def test_an_edited_note_is_renamed_with_its_edit(tmp_path, replaced):
    storage = make(tmp_path, a=b'old', b=b'other')
    batch = storage.batch()
    moves(storage, batch, a='b', b='a')
    lines = batch.prepare()
    if replaced:
        put(tmp_path, 'tmp', b'edited')
        os.replace(tmp_path / 'tmp', tmp_path / 'a')
    else:
        put(tmp_path, 'a', b'edited')
    for _ in range(2):
        outcomes = storage.publish(lines)
        assert [o.key for o in outcomes] == ['b', 'a']
        assert outcomes[0].stamp is None and outcomes[1].stamp is not None
        assert tree(storage) == {'b': b'edited', 'a': b'other'}


def test_a_note_removed_meanwhile(tmp_path):
    storage = make(tmp_path, a=b'a', b=b'b', c=b'c')
    batch = storage.batch()
    write(storage, batch, 'a', 'a', b'A')
    moves(storage, batch, b='bb')
    batch.delete('item c', 'c')
    lines = batch.prepare()
    for name in 'abc':
        (tmp_path / name).unlink()
    assert [(o.ok, o.key) for o in storage.publish(lines)] == [
        (True, 'a'),
        (True, None),
        (True, None),
    ]
    assert tree(storage) == {'a': b'A'}


def test_edited_after_publishing_and_published_again(tmp_path):
    storage = make(tmp_path, a=b'old', b=b'B')
    batch = storage.batch()
    write(storage, batch, 'a', 'a', b'new')
    moves(storage, batch, b='c')
    lines = batch.prepare()
    storage.publish(lines)
    put(tmp_path, 'a', b'later')
    put(tmp_path, 'c', b'later too')
    outcomes = storage.publish(lines)
    assert [(o.ok, o.key, o.stamp) for o in outcomes] == [(True, 'a', None), (True, 'c', None)]
    assert tree(storage) == {'a': b'later', 'c': b'later too'}


def test_a_name_freed_by_a_deletion_is_not_mistaken(tmp_path):
    storage = make(tmp_path, a=b'A', b=b'B', c=b'C')
    batch = storage.batch()
    batch.delete('item a', 'a')
    moves(storage, batch, b='a')
    batch.delete('item c', 'c')
    batch.write('new', 'c', batch.stage(b'new'))
    lines = batch.prepare()
    for _ in range(2):
        outcomes = storage.publish(lines)
        assert [o.key for o in outcomes] == [None, 'a', None, 'c']
        assert tree(storage) == {'a': b'B', 'c': b'new'}


def test_our_own_earlier_body_is_no_edit_of_the_user(tmp_path):
    storage = make(tmp_path, a=b'1')
    seen = stamp(storage.stat('a'))
    lines = []
    for body in (b'2', b'3'):
        batch = storage.batch()
        batch.write('x', 'a', batch.stage(body), 'a', seen)
        lines += batch.prepare()
    assert [o.displaced for o in storage.publish(lines)] == [None, None]
    assert tree(storage) == {'a': b'3'}


# --- combining ----------------------------------------------------------------------------------


def test_operations_of_one_item_are_combined(tmp_path):
    storage = make(tmp_path, a=b'a', b=b'b', c=b'c', d=b'd')
    batch = storage.batch()
    write(storage, batch, 'a', 'a', b'1')
    batch.write('item a', 'a', batch.stage(b'2'), 'a')
    batch.move('item a', 'a', 'aa')
    moves(storage, batch, b='bb')
    batch.write('item b', 'bb', batch.stage(b'B'), 'bb')
    moves(storage, batch, c='cc')
    batch.move('item c', 'cc', 'c')
    batch.write('new', 'n', batch.stage(b'n'))
    batch.delete('new', 'n')
    batch.delete('item d', 'd')
    batch.write('item d', 'd', batch.stage(b'D'))
    lines = batch.prepare()
    assert len(lines) == 3 and len(os.listdir(storage.state.path('staged'))) == 3
    storage.publish(lines)
    assert tree(storage) == {'aa': b'2', 'bb': b'B', 'c': b'c', 'd': b'D'}
    assert trashed(storage) == [b'a', b'b', b'd']


def test_a_deleted_item_cannot_be_renamed(tmp_path):
    storage = make(tmp_path, a=b'a')
    batch = storage.batch()
    batch.delete('1', 'a')
    with pytest.raises(InvalidItem):
        batch.move('1', 'a', 'b')


def test_undo_goes_back_to_a_mark(tmp_path):
    storage = make(tmp_path, a=b'a')
    batch = storage.batch()
    write(storage, batch, 'a', 'a', b'1')
    mark = batch.mark()
    write(storage, batch, 'a', 'b', b'2')
    batch.write('other', 'o', batch.stage(b'o'))
    batch.undo(mark)
    storage.publish(batch.prepare())
    assert tree(storage) == {'a': b'1'} and leavings(storage) == []


def test_an_unknown_token_is_an_error_before_anything_is_done(tmp_path):
    batch = make(tmp_path).batch()
    batch.write('1', 'a', 'nothing')
    with pytest.raises(InvalidItem):
        batch.prepare()


def test_discarding_removes_what_was_staged(tmp_path):
    storage = make(tmp_path)
    batch = storage.batch()
    batch.write('1', 'a', batch.stage(b'a'))
    batch.discard()
    assert batch.prepare() == [] and leavings(storage) == []


# --- trouble ------------------------------------------------------------------------------------


def test_lines_that_make_no_sense(tmp_path):
    storage = make(tmp_path)
    batch = storage.batch()
    batch.write('1', 'a', batch.stage(b'a'))
    (good,) = batch.prepare()
    version, *told = json.loads(good)
    bad = ['', '[]', '{"v":1}', json.dumps([version + 1, *told]), json.dumps([version, *told, 0])]
    outcomes = storage.publish([*bad, good])
    assert [o.ok for o in outcomes] == [False] * 5 + [True]
    assert [o.line for o in outcomes] == [*bad, good]
    assert storage.publish([]) == []


def test_lines_as_they_were_before_are_understood(tmp_path):
    storage = make(tmp_path, old=b'old', gone=b'gone')
    batch = storage.batch('phone')
    batch.write('1', 'a', batch.stage(b'a'))
    batch.move('2', 'old', 'new')
    batch.delete('3', 'gone')
    names = 'v id batch item key source token expect body label digest'.split()
    lines = [
        json.dumps(dict(zip(names, [1, *json.loads(line)[1:]], strict=True)))
        for line in batch.prepare()
    ]
    assert [(o.ok, o.line, o.key) for o in storage.publish(lines)] == [
        (True, lines[0], 'a'),
        (True, lines[1], 'new'),
        (True, lines[2], None),
    ]
    assert tree(storage) == {'a': b'a', 'new': b'old'}


@pytest.mark.parametrize(
    ('number', 'at'),
    [
        *((errno.ENOSPC, at) for at in range(1, 32)),
        *((errno.EACCES, at) for at in range(1, 32, 3)),
        *((errno.EXDEV, at) for at in range(2, 32, 3)),
    ],
)
@pytest.mark.parametrize('links', [False, True])
@pytest.mark.parametrize('at_hand', [False, True])
def test_one_error_anywhere_loses_nothing(tmp_path, monkeypatch, number, at, links, at_hand):
    storage = make(tmp_path, a=b'A', b=b'B', **{'c/x': b'C'})
    batch = busy_batch(storage)
    lines = [*batch.prepared]
    with monkeypatch.context() as patch:
        error = OSError(number, os.strerror(number))
        Crasher(patch, at=at, links=links, error=error)
        outcomes = storage.publish(lines, batch if at_hand else None)
    everything = [*tree(storage).values(), *trashed(storage), *staged(storage)]
    assert {b'A', b'B', b'C', b'A2', b'N'} <= set(everything)
    assert all(o.ok or os.strerror(number) in o.error for o in outcomes)
    again = storage.publish(lines)
    assert all(o.ok for o in again)
    assert sorted(tree(storage).values()) == [b'A2', b'B', b'N']
    assert leavings(storage) == []


def test_no_room_for_staging(tmp_path, monkeypatch):
    storage = make(tmp_path)
    batch = storage.batch()
    batch.stage(b'x')

    def write(fd, data):
        raise OSError(errno.ENOSPC, 'full')

    monkeypatch.setattr(os, 'write', write)
    with pytest.raises(StoreFull, match='no room'):
        batch.stage(b'y')
    assert len(os.listdir(storage.state.path('staged'))) == 1


def test_a_lost_body_is_not_taken_for_a_placed_one(tmp_path):
    storage = make(tmp_path, a=b'old')
    batch = storage.batch()
    write(storage, batch, 'a', 'a', b'new')
    lines = batch.prepare()
    shutil.rmtree(storage.state.root)
    (outcome,) = storage.publish(lines)
    assert not outcome.ok and 'vanished' in outcome.error
    assert tree(storage) == {'a': b'old'}


def test_being_interrupted_leaves_no_note_on_its_way(tmp_path, monkeypatch):
    for at in itertools.count(1):
        root = tmp_path / str(at)
        storage = make(root, a=b'A', b=b'B', **{'c/x': b'C'})
        batch = busy_batch(storage)
        lines = [*batch.prepared]
        with monkeypatch.context() as patch:
            crasher = Crasher(patch, at=at, error=KeyboardInterrupt())
            try:
                storage.publish(lines, batch)
            except KeyboardInterrupt:
                pass
            else:
                assert crasher.count < at
                break
        aside = [n for n in os.listdir(storage.state.path('aside')) if '.' not in n]
        assert aside == []
        storage.publish(lines)
        assert tree(storage) == {'b': b'A2', 'a': b'B', 'n/n': b'N'}


# --- crashes ------------------------------------------------------------------------------------


def busy_batch(storage):
    batch = storage.batch()
    write(storage, batch, 'a', 'b', b'A2')  # edited and swapped with the next
    moves(storage, batch, b='a')
    batch.delete('item c', 'c/x', stamp(storage.stat('c/x')))
    batch.write('new', 'n/n', batch.stage(b'N'))
    batch.prepare()
    return batch


def staged(storage):
    return [
        Path(storage.state.path(folder), name).read_bytes()
        for folder in ('staged', 'aside')
        for name in os.listdir(storage.state.path(folder))
    ]


def crash_everywhere(tmp_path, monkeypatch, prepare, check, links, least=5):
    """Publish with a crash at each step, before it and after it, then recover.

    The batch is at hand at first, or it is not.
    """
    steps = 0
    for after, at_hand in itertools.product((False, True), repeat=2):
        for at in itertools.count(1):
            root = tmp_path / f'{after}-{at_hand}-{at}'
            root.mkdir()
            storage, batch = prepare(root)
            lines = [*batch.prepared]
            with monkeypatch.context() as patch:
                Crasher(patch, at=at, after=after, links=links)
                try:
                    storage.publish(lines, batch if at_hand else None)
                except Crash:
                    crashed = True
                else:
                    crashed = False
            again = DirectoryStorage(str(root))
            outcomes = again.publish(lines)
            check(again, outcomes)
            before = tree(again), trashed(again)
            check(again, again.publish(lines))
            assert (tree(again), trashed(again)) == before
            assert leavings(again) == []
            shutil.rmtree(root)
            if not crashed:
                steps = at
                break
    assert steps > least


@pytest.mark.parametrize('links', [False, True])
def test_a_crash_at_any_step_is_mended(tmp_path, monkeypatch, links):
    def prepare(root):
        storage = make(root, a=b'A', b=b'B', **{'c/x': b'C'})
        return storage, busy_batch(storage)

    def check(storage, outcomes):
        assert tree(storage) == {'b': b'A2', 'a': b'B', 'n/n': b'N'}
        assert trashed(storage) == [b'A', b'C']
        assert [o.key for o in outcomes] == ['b', 'a', None, 'n/n']
        assert all(o.ok for o in outcomes)
        assert all(o.stamp is not None for o in outcomes if o.key)
        assert not os.path.exists(storage.files.path('c'))

    crash_everywhere(tmp_path, monkeypatch, prepare, check, links)


@pytest.mark.parametrize('links', [False, True])
def test_a_crash_with_the_user_there_too(tmp_path, monkeypatch, links):
    def prepare(root):
        storage = make(root, a=b'A', b=b'B', c=b'C', d=b'D', e=b'E')
        batch = storage.batch(label='L')
        write(storage, batch, 'a', 'a', b'A2')
        batch.delete('item b', 'b', stamp(storage.stat('b')))
        moves(storage, batch, c='taken')
        batch.write('new', 'taken', batch.stage(b'N'))
        moves(storage, batch, d='e', e='d')
        batch.prepare()
        put(root, 'a', b'user A')
        put(root, 'b', b'user B')
        put(root, 'taken', b'user T')
        put(root, 'tmp', b'user D')
        os.replace(root / 'tmp', root / 'd')
        return storage, batch

    def check(storage, outcomes):
        assert tree(storage) == {
            'a': b'user A',
            'a (conflict L)': b'A2',
            'b': b'user B',
            'taken': b'user T',
            'taken(1)': b'C',
            'taken(2)': b'N',
            'e': b'user D',
            'd': b'E',
        }
        assert [o.key for o in outcomes] == ['a', 'b', 'taken(1)', 'taken(2)', 'e', 'd']
        assert outcomes[0].displaced == 'a (conflict L)'
        assert trashed(storage) == []

    crash_everywhere(tmp_path, monkeypatch, prepare, check, links)


@pytest.mark.parametrize('links', [False, True])
def test_a_crash_while_a_folder_is_renamed(tmp_path, monkeypatch, links):
    def prepare(root):
        storage = make(root, **{f'old/deep/{n}': b'%d' % n for n in range(5)}, other=b'O')
        batch = storage.batch()
        moves(storage, batch, **{f'old/deep/{n}': f'new/{n}' for n in range(5)}, other='another')
        batch.prepare()
        return storage, batch

    def check(storage, outcomes):
        assert tree(storage) == {**{f'new/{n}': b'%d' % n for n in range(5)}, 'another': b'O'}
        assert [o.key for o in outcomes] == [*(f'new/{n}' for n in range(5)), 'another']
        assert all(o.ok and o.stamp is not None for o in outcomes)
        assert not os.path.exists(storage.files.path('old'))
        assert trashed(storage) == []

    crash_everywhere(tmp_path, monkeypatch, prepare, check, links, least=3)


# --- a model ------------------------------------------------------------------------------------

KEYS = ('a', 'b', 'A', 'c/x', 'c/y', 'd', 'd/x', 'd/y/z', 'a/b')
MOVE, WRITE, DELETE, NOTHING = range(4)


def compatible(keys):
    """Whether these could be files in one tree (and on any file system)."""
    folded = [key.casefold() for key in keys]
    return len(set(folded)) == len(folded) and not any(
        one.startswith(f'{other}/') for one in folded for other in folded
    )


@st.composite
def histories(draw):
    present = draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=5).filter(compatible))
    deeds = [draw(st.sampled_from((MOVE, MOVE, WRITE, DELETE, NOTHING))) for _ in present]
    new = draw(st.integers(0, 2))
    count = sum(deed in (MOVE, WRITE) for deed in deeds) + new
    still = [key for key, deed in zip(present, deeds, strict=True) if deed == NOTHING]
    targets = draw(
        st.lists(st.sampled_from(KEYS), min_size=count, max_size=count, unique=True).filter(
            lambda keys: compatible([*keys, *still])
        )
    )
    return present, deeds, targets, new


@st.composite
def histories_of_folders(draw):
    """Draw such as :func:`histories`, in which most of what is in a folder goes to another one."""
    names = [f'{folder}/{name}' for folder in ('c', 'd/y') for name in 'xyz']
    present = draw(st.lists(st.sampled_from(names), unique=True, min_size=3))
    ends = {f: draw(st.sampled_from(('c', 'd/y', 'e', 'E', 'd', 'a/b'))) for f in ('c', 'd/y')}
    deeds = [draw(st.sampled_from((MOVE,) * 9 + (WRITE, DELETE, NOTHING))) for _ in present]
    goals = [key.replace(f := os.path.dirname(key), ends[f], 1) for key in present]
    targets = [t for t, deed in zip(goals, deeds, strict=True) if deed in (MOVE, WRITE)]
    targets += draw(st.lists(st.sampled_from([*KEYS, 'e/n']), max_size=1))
    still = [key for key, deed in zip(present, deeds, strict=True) if deed == NOTHING]
    assume(compatible([*targets, *still]))
    return present, deeds, targets, len(targets) - sum(deed in (MOVE, WRITE) for deed in deeds)


@pytest.fixture(scope='module')
def small_folders():
    """Folders of a single file are worth being renamed as a whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, '_FEW', 0)
        yield


def apply_history(storage, history):
    present, deeds, targets, new = history
    left = iter(targets)
    expected, gone = {}, []
    batch = storage.batch()
    for key, deed in zip(present, deeds, strict=True):
        body = f'body of {key}'.encode()
        if deed == NOTHING:
            expected[key] = body
        elif deed == DELETE:
            batch.delete(f'item {key}', key, stamp(storage.stat(key)))
            gone.append(body)
        elif deed == MOVE:
            target = next(left)
            expected[target] = body
            moves(storage, batch, **{key: target})
        else:
            target = next(left)
            expected[target] = b'new ' + body
            write(storage, batch, key, target, b'new ' + body)
            gone.append(body)
    for number in range(new):
        target = next(left)
        expected[target] = f'new {number}'.encode()
        batch.write(f'new {number}', target, batch.stage(expected[target]))
    batch.prepare()
    return batch, expected, sorted(gone)


@settings(max_examples=120, deadline=None)
@given(
    histories() | histories_of_folders(),
    st.integers(1, 25),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
@pytest.mark.usefixtures('small_folders')
def test_any_batch_with_a_crash_anywhere(history, at, after, links, at_hand):
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        storage = make(root, **{key: f'body of {key}'.encode() for key in history[0]})
        batch, expected, gone = apply_history(storage, history)
        lines = [*batch.prepared]
        with patch.context() as inner:
            Crasher(inner, at=at, after=after, links=links)
            with contextlib.suppress(Crash):
                storage.publish(lines, batch if at_hand else None)
        for _ in range(2):
            outcomes = storage.publish(lines)
            assert tree(storage) == expected
            assert trashed(storage) == gone
            assert all(o.ok for o in outcomes)
        assert leavings(storage) == []
        folders = {os.path.dirname(key) for key in expected}
        for path, names, _ in os.walk(root):
            names[:] = [name for name in names if name != '.sync']
            folder = os.path.relpath(path, root)
            assert folder == '.' or any(f'{f}/'.startswith(f'{folder}/') for f in folders)


@settings(max_examples=120, deadline=None)
@given(
    histories() | histories_of_folders(),
    st.integers(1, 25),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from('erwm')), max_size=4),
    st.booleans(),
    st.booleans(),
)
@pytest.mark.usefixtures('small_folders')
def test_whatever_the_user_does_meanwhile_nothing_is_lost(
    history, at, links, meddling, late, at_hand
):
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        storage = make(root, **{key: f'body of {key}'.encode() for key in history[0]})
        batch, expected, _ = apply_history(storage, history)
        lines = [*batch.prepared]
        kept = set(expected.values())
        if not late:
            kept = meddle(root, meddling, kept)
        with patch.context() as inner:
            Crasher(inner, at=at, links=links)
            with contextlib.suppress(Crash):
                storage.publish(lines, batch if at_hand else None)
        if late:
            kept = meddle(root, meddling, kept)
        assert all(o.ok for o in storage.publish(lines))
        assert kept <= {*tree(storage).values(), *trashed(storage)}
        visible = set(tree(storage).values())
        assert {body for body in kept if body.startswith(b'user')} <= visible
        before = tree(storage)
        storage.publish(lines)
        assert tree(storage) == before
        assert leavings(storage) == []


def meddle(root, meddling, kept):
    """Edit, replace, write or move files as a user would; return the bodies that have to stay."""
    for number, (key, deed) in enumerate(meddling):
        path = Path(root, key)
        body = f'user {number}'.encode()
        try:
            if deed == 'e' and path.exists():
                kept = kept - {path.read_bytes()} | {body}
                path.write_bytes(body)
            elif deed == 'r' and path.is_file():
                kept = kept - {path.read_bytes()} | {body}
                Path(root, 'tmp').write_bytes(body)
                os.replace(Path(root, 'tmp'), path)
            elif deed == 'w' and not path.exists():
                put(root, key, body)
                kept = kept | {body}
            elif deed == 'm' and path.is_file():
                os.rename(path, Path(root, f'user {number}'))
        except OSError:
            Path(root, 'tmp').unlink(missing_ok=True)
            kept = kept - {body}
    return kept
