"""What compare() makes of a directory: cases with names, and random ones against models."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pysyncml.storage.scan import Changes, Entry, Found, compare


def entry(id, path, content, inode):
    return Entry(id, path, content, inode)


def found(path, content, inode):
    return Found(path, inode, lambda: content)


def check(known, present) -> Changes:
    """Compare, check what always holds, and return the changes."""
    changes = compare(known, present)
    before = {one.id: one for one in known}
    after = {one.path: one for one in present}
    ids = [
        *(one[0] for one in changes.unchanged + changes.modified + changes.deleted),
        *(move.id for move in changes.moves),
    ]
    paths = [
        *(one[1] for one in changes.unchanged + changes.modified),
        *(move.new for move in changes.moves),
        *changes.added,
    ]
    assert sorted(ids) == sorted(before)
    assert sorted(paths) == sorted(after)
    remembered = {one.path for one in known}
    for id, path in changes.unchanged + changes.modified:
        assert before[id].path == path
        same = bool(before[id].sha256) and before[id].sha256 == after[path].sha256()
        assert same == ((id, path) in changes.unchanged)
    for move in changes.moves:
        assert before[move.id].path == move.old != move.new
        assert (move.new in remembered) == (move in changes.moved_over)
        sha256 = before[move.id].sha256
        assert move.content_changed == (not sha256 or sha256 != after[move.new].sha256())
    for id, path in changes.deleted:
        assert before[id].path == path
        assert path not in after or path in {move.new for move in changes.moved_over}
    return changes


def outcome(known, present):
    """Return the changes in short: ``{id: new path}``, with ``*`` if the content changed."""
    changes = check(known, present)
    short = dict(changes.unchanged)
    short.update({id: path + '*' for id, path in changes.modified})
    short.update({move.id: move.new + '*' * move.content_changed for move in changes.moves})
    short.update({id: None for id, _ in changes.deleted})
    return short, sorted(changes.added)


A = entry('A', 'a', 'aa', 1)
B = entry('B', 'b', 'bb', 2)
C = entry('C', 'c', 'cc', 3)

CASES = {
    'nothing at all': ([], [], {}, []),
    'touched': ([A], [found('a', 'aa', 1)], {'A': 'a'}, []),
    'restored with another inode': ([A], [found('a', 'aa', 9)], {'A': 'a'}, []),
    'edited in place': ([A], [found('a', 'xx', 1)], {'A': 'a*'}, []),
    'edited, no inodes': ([A], [found('a', 'xx', 0)], {'A': 'a*'}, []),
    'new': ([], [found('a', 'aa', 1)], {}, ['a']),
    'deleted': ([A], [], {'A': None}, []),
    'renamed': ([A], [found('b', 'aa', 1)], {'A': 'b'}, []),
    'renamed, no inodes': ([A], [found('b', 'aa', None)], {'A': 'b'}, []),
    'moved to another disk': ([A], [found('b', 'aa', 77)], {'A': 'b'}, []),
    'renamed and edited': ([A], [found('b', 'xx', 1)], {'A': 'b*'}, []),
    'renamed and edited, no inodes': ([A], [found('b', 'xx', 0)], {'A': None}, ['b']),
    'only the case': ([A], [found('A', 'aa', 1)], {'A': 'A'}, []),
    'only the case, and edited': ([A], [found('A', 'xx', 1)], {'A': 'A*'}, []),
    'copied': ([A], [found('a', 'aa', 1), found('b', 'aa', 5)], {'A': 'a'}, ['b']),
    'copied, original edited': ([A], [found('a', 'x', 1), found('b', 'aa', 5)], {'A': 'a*'}, ['b']),
    'hard link': ([A], [found('a', 'aa', 1), found('b', 'aa', 1)], {'A': 'a'}, ['b']),
    'hard link, edited': ([A], [found('a', 'x', 1), found('b', 'x', 1)], {'A': 'a*'}, ['b']),
    'swapped': ([A, B], [found('a', 'bb', 2), found('b', 'aa', 1)], {'A': 'b', 'B': 'a'}, []),
    'swapped, no inodes': (
        [A, B],
        [found('a', 'bb', 0), found('b', 'aa', 0)],
        {'A': 'b', 'B': 'a'},
        [],
    ),
    'swapped and both edited': (
        [A, B],
        [found('a', 'xx', 2), found('b', 'yy', 1)],
        {'A': 'b*', 'B': 'a*'},
        [],
    ),
    'contents swapped in place': (
        [A, B],
        [found('a', 'bb', 1), found('b', 'aa', 2)],
        {'A': 'a*', 'B': 'b*'},
        [],
    ),
    'chain': (
        [A, B, C],
        [found('b', 'aa', 1), found('c', 'bb', 2), found('d', 'cc', 3)],
        {'A': 'b', 'B': 'c', 'C': 'd'},
        [],
    ),
    'chain, all edited': (
        [A, B, C],
        [found('b', 'x', 1), found('c', 'y', 2), found('d', 'z', 3)],
        {'A': 'b*', 'B': 'c*', 'C': 'd*'},
        [],
    ),
    'chain over the last': (
        [A, B, C],
        [found('b', 'aa', 1), found('c', 'bb', 2)],
        {'A': 'b', 'B': 'c', 'C': None},
        [],
    ),
    'circle': (
        [A, B, C],
        [found('b', 'aa', 1), found('c', 'bb', 2), found('a', 'cc', 3)],
        {'A': 'b', 'B': 'c', 'C': 'a'},
        [],
    ),
    'circle, one edited': (
        [A, B, C],
        [found('b', 'aa', 1), found('c', 'x', 2), found('a', 'cc', 3)],
        {'A': 'b', 'B': 'c*', 'C': 'a'},
        [],
    ),
    'moved over': ([A, B], [found('b', 'aa', 1)], {'A': 'b', 'B': None}, []),
    'moved over, no inodes': ([A, B], [found('b', 'aa', 0)], {'A': 'b', 'B': None}, []),
    'saved by renaming': ([A], [found('a', 'xx', 9)], {'A': 'a*'}, []),
    'saved with a backup~': (
        [A],
        [found('a', 'xx', 9), found('a~', 'aa', 1)],
        {'A': 'a*'},
        ['a~'],
    ),
    'saved with a backup, no inodes': (
        [A],
        [found('a', 'xx', 0), found('a.bak', 'aa', 0)],
        {'A': 'a*'},
        ['a.bak'],
    ),
    'saved, backup over an older backup': (
        [A, B],
        [found('a', 'xx', 9), found('b', 'aa', 1)],
        {'A': 'a*', 'B': 'b*'},
        [],
    ),
    'saved with a backup while a twin was renamed': (
        [entry('A', 'a', 'same', 1), entry('B', 'b', 'same', 2)],
        [found('a', 'xx', 9), found('a.bak', 'same', 1)],
        {'A': 'a*', 'B': 'a.bak'},
        [],
    ),
    'inode of a deleted one used for saving': (
        [A, B],
        [found('a', 'xx', 2)],
        {'A': 'a*', 'B': None},
        [],
    ),
    'inode of a saved one used for saving': (
        [A, B],
        [found('a', 'xx', 9), found('b', 'yy', 1)],
        {'A': 'a*', 'B': 'b*'},
        [],
    ),
    'inode used for a new one, the note is elsewhere': (
        [A],
        [found('b', 'aa', 7), found('c', 'xx', 1)],
        {'A': 'b'},
        ['c'],
    ),
    'inode used for a new one, the note is still there': (
        [A],
        [found('a', 'aa', 7), found('c', 'xx', 1)],
        {'A': 'a'},
        ['c'],
    ),
    'file becomes folder': ([A], [found('a/a', 'aa', 1)], {'A': 'a/a'}, []),
    'folder becomes file': (
        [entry('A', 'a/a', 'aa', 1), entry('B', 'a/b', 'bb', 2)],
        [found('a', 'bb', 2)],
        {'A': None, 'B': 'a'},
        [],
    ),
    'twins renamed with their folders': (
        [entry('A', 'x/1/n', 's', 0), entry('B', 'x/2/n', 's', 0), entry('C', 'x/m', 's', 0)],
        [found('y/m', 's', 0), found('y/2/n', 's', 0), found('y/1/n', 's', 0)],
        {'A': 'y/1/n', 'B': 'y/2/n', 'C': 'y/m'},
        [],
    ),
    'moved over by content that looks like a save': (
        [A, B],
        [found('a', 'bb', 9)],
        {'A': 'a*', 'B': None},
        [],
    ),
    'unreadable': ([A, B], [found('a', '', 9), found('c', '', 8)], {'A': 'a*', 'B': None}, ['c']),
    'hash not remembered': ([entry('A', 'a', '', 1)], [found('b', '', 1)], {'A': 'b*'}, []),
}


@pytest.mark.parametrize('name', CASES)
def test_case(name):
    known, present, expected, added = CASES[name]
    for one, other in ((known, present), (known[::-1], present[::-1])):
        assert outcome(one, other) == (expected, added)


def test_two_notes_that_claim_one_path():
    known = [A, entry('twin', 'a', 'zz', 5)]
    changes = compare(known, [found('a', 'aa', 1), found('n', 'zz', 5)])
    assert changes.unchanged == [('A', 'a')]
    assert changes.renamed == [('twin', 'a', 'n', False)]


def test_hashes_are_asked_for_only_where_they_decide():
    asked = []

    def lazy(path, content, inode):
        return Found(path, inode, lambda: asked.append(path) or content)

    news = [lazy(f'new{number}', 'n', 100 + number) for number in range(5)]
    compare([], news)
    assert asked == []
    changes = compare([A, B], [*news, lazy('z', 'aa', 1), lazy('b', 'bb', 9)])
    assert changes.renamed == [('A', 'a', 'z', False)]
    assert sorted(asked) == ['b', 'z']


# --- models ---

CONTENTS = st.sampled_from(['', 'r', 's', 't', 'u'])
INODES = st.sampled_from([0, None, 1, 2, 3, 4, 5])
PATHS = st.sampled_from(['a', 'b', 'c', 'd', 'e', 'x/a', 'x/b', 'x', 'A', 'a~'])


@settings(max_examples=250, deadline=None)
@given(
    st.lists(st.tuples(PATHS, CONTENTS, INODES), unique_by=lambda one: one[0]),
    st.lists(st.tuples(PATHS, CONTENTS, INODES), unique_by=lambda one: one[0]),
)
def test_everything_is_in_one_list_whatever_there_is(before, after):
    known = [entry(f'id{number}', *one) for number, one in enumerate(before)]
    changes = check(known, [found(*one) for one in after])
    present = {one[0]: one for one in after}
    contents = {one.sha256 for one in known} - {''}
    inodes = {one.inode for one in known} - {0, None}
    for one in known:
        now = present.get(one.path)
        if now and now[1] == one.sha256 != '':
            assert (one.id, one.path) in changes.unchanged
        elif now and (
            (one.inode and now[2] == one.inode) or (now[1] not in contents and now[2] not in inodes)
        ):
            assert (one.id, one.path) in changes.modified


@dataclass
class File:
    """A file of the model; *id* is the note it truly is, or None for a new one."""

    id: str | None
    content: str
    inode: int
    edited: bool = False


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(['rename', 'rename', 'swap', 'edit', 'save', 'delete', 'create', 'copy']),
        st.integers(0, 9),
        st.integers(0, 9),
    ),
    max_size=12,
)


def live(operations, inodes):
    """Apply *operations* to five notes; return the remembered ones and the files at the end."""
    files = {f'p{n}': File(f'id{n}', f'c{n}', n + 1 if inodes else 0) for n in range(5)}
    known = [entry(f.id, path, f.content, f.inode) for path, f in files.items()]
    fresh = iter(range(100, 1000))
    for operation, first, second in operations:
        number = next(fresh)
        source, target = f'p{first}', f'p{second}'
        file = files.get(source)
        if operation == 'create':
            files[f'new{number}'] = File(None, f'c{number}', number if inodes else 0)
        elif file is None or source == target:
            continue
        elif operation == 'rename':
            files[target] = files.pop(source)
        elif operation == 'swap' and target in files:
            files[source], files[target] = files[target], file
        elif operation == 'edit':
            file.content, file.edited = f'c{number}', True
        elif operation == 'save' and file.id == f'id{first}':
            file.content, file.inode = f'c{number}', number if inodes else 0
            file.edited = True
        elif operation == 'delete':
            del files[source]
        elif operation == 'copy':
            files[f'copy{number}'] = File(None, file.content, number if inodes else 0)
    return known, files


@settings(max_examples=250, deadline=None)
@given(OPERATIONS)
@example([('rename', 0, 1), ('edit', 1, 0), ('rename', 2, 0)])
def test_notes_are_followed_by_inode(operations):
    known, files = live([one for one in operations if one[0] not in ('copy', 'save')], True)
    truth = {file.id: path for path, file in files.items() if file.id}
    for path, file in files.items():
        # What was moved over a note and edited cannot be told from a note that was saved.
        lost = file.id and path != f'p{file.id[2:]}' and f'id{path[1:]}' not in truth
        assume(not (lost and file.edited and int(path[1:]) < 5))
    short, added = outcome(known, [found(p, f.content, f.inode) for p, f in files.items()])
    expected = {one.id: None for one in known}
    expected |= {id: path + '*' * files[path].edited for id, path in truth.items()}
    assert short == expected
    assert added == sorted(path for path in files if path.startswith('new'))


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_notes_are_followed_by_content(operations):
    operations = [one for one in operations if one[0] not in ('copy', 'edit', 'save')]
    known, files = live(operations, False)
    short, added = outcome(known, [found(p, f.content, f.inode) for p, f in files.items()])
    expected = {one.id: None for one in known}
    expected |= {file.id: path for path, file in files.items() if file.id}
    assert short == expected
    assert added == sorted(path for path in files if path.startswith('new'))


@settings(max_examples=150, deadline=None)
@given(OPERATIONS, st.booleans())
def test_notes_that_stay_in_place_keep_their_ids(operations, inodes):
    operations = [one for one in operations if one[0] not in ('rename', 'swap')]
    known, files = live(operations, inodes)
    changes = check(known, [found(p, f.content, f.inode) for p, f in files.items()])
    ids = dict(changes.unchanged + changes.modified)
    assert {file.id for file in files.values() if file.id} == set(ids)


@pytest.mark.parametrize('kind', ['folder', 'twins', 'circle', 'rotated', 'gone', 'edited'])
def test_many_take_as_long_as_there_are_many(kind):
    few, many = (lines_run(lambda count=count: change_all(kind, count)) for count in (400, 1600))
    assert many < 5 * few


def change_all(kind, count):
    """Compare so many notes, all of which have changed in one way."""
    known = [
        entry(str(n), f'old/{n}', 's' if kind == 'twins' else f's{n}', n + 1) for n in range(count)
    ]
    present = {
        'folder': lambda n: found(f'new/{n}', f's{n}', n + 1),
        'twins': lambda n: found(f'new/{n}', 's', 0),
        'circle': lambda n: found(f'old/{(n + 1) % count}', f's{n}', n + 1),
        'rotated': lambda n: found(f'old/{n}', f's{n - 1}' if n else 'top', n or 999_999),
        'gone': lambda n: found(f'new/{n}', f't{n}', 0),
        'edited': lambda n: found(f'old/{n}', f't{n}', n + 200_000),
    }[kind]
    changes = compare(known, [present(n) for n in range(count)])
    if kind in ('folder', 'twins', 'circle'):
        assert len(changes.moves) == count
        if kind != 'circle':
            assert all(move.new == f'new/{move.id}' for move in changes.renamed)
    elif kind == 'gone':
        assert len(changes.deleted) == len(changes.added) == count
    else:
        assert len(changes.modified) == count


def lines_run(action):
    """Return how many lines *action* runs through: what it takes, on whatever machine."""
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        count += event == 'line'
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count
