"""A device, or a server, is put back to an earlier state: files and state, as from a backup."""

from __future__ import annotations

import shutil

import pytest

from tests.faults.bench import Bench
from tests.faults.hands import TOKEN, lines


def back_up(bench: Bench, name: str) -> None:
    """Keep a copy of all that is in a directory, its state folder included."""
    bench.stop()
    shutil.rmtree(bench.root / f'{name}.bak', ignore_errors=True)
    shutil.copytree(bench.path(name), bench.root / f'{name}.bak')


def put_back(bench: Bench, name: str) -> None:
    """Put the copy in the place of what is there now."""
    bench.stop()
    shutil.rmtree(bench.path(name))
    shutil.copytree(bench.root / f'{name}.bak', bench.root / name)


def put(bench: Bench, name: str, key: str, *middle: bytes) -> None:
    """Write a note."""
    bench.path(name).joinpath(key).write_bytes(lines(*middle))


def start(bench: Bench) -> None:
    """Make two clients with notes that are in step."""
    for key in ('n', 'm', 'o', 'd'):
        put(bench, 'a', f'{key}.txt', b'<%s0>\n' % key.encode())
    bench.settle('a', 'b')


def tokens(tree: dict[str, bytes]) -> set[bytes]:
    """Return all tokens there are."""
    return set().union(*map(TOKEN.findall, tree.values()))


@pytest.mark.parametrize('sessions', [1, pytest.param(3, marks=pytest.mark.campaign)])
def test_old_versions_of_a_client_are_no_edits(bench, sessions):
    start(bench)
    back_up(bench, 'a')
    for number in range(1, sessions + 1):
        put(bench, 'b', 'n.txt', b'<n0>\n', b'<n%d>\n' % number)  # by another device
        bench.sync('b', code=0)
        put(bench, 'a', 'm.txt', b'<m0>\n', b'<m%d>\n' % number)  # by itself
        bench.sync('a', code=0)
    bench.path('b').joinpath('o.txt').rename(bench.path('b') / 'o2.txt')
    put(bench, 'b', 'new.txt', b'<x1>\n')
    bench.settle('b', 'a')
    wanted = bench.tree('s')
    put_back(bench, 'a')
    assert bench.settle('a', 'b') == wanted


def test_an_edit_of_an_old_version_is_a_conflict(bench):
    start(bench)
    back_up(bench, 'a')
    put(bench, 'b', 'n.txt', b'<n1>\n')
    put(bench, 'b', 'm.txt', b'<m1>\n')
    bench.settle('b', 'a')
    put_back(bench, 'a')
    put(bench, 'a', 'n.txt', b'<n0>\n', b'<n2>\n')
    put(bench, 'a', 'o.txt', b'<o2>\n')  # nothing newer is known of this one
    tree = bench.settle('a', 'b')
    assert {b'<n1>', b'<n2>', b'<m1>', b'<o2>'} <= tokens(tree)
    assert b'<n1>' in tree['n.txt'] and b'<m1>' in tree['m.txt'] and b'<o2>' in tree['o.txt']
    copies = [key for key in tree if 'conflict' in key]
    assert len(copies) == 1 and copies[0].startswith('n '), tree.keys()


@pytest.mark.campaign
def test_a_deletion_by_a_client_that_was_put_back_spares_what_is_newer(bench):
    start(bench)
    back_up(bench, 'a')
    put(bench, 'b', 'n.txt', b'<n1>\n')
    bench.settle('b', 'a')
    put_back(bench, 'a')
    bench.path('a').joinpath('n.txt').unlink()
    bench.path('a').joinpath('d.txt').unlink()
    tree = bench.settle('a', 'b')
    assert b'<n1>' in tree['n.txt']


@pytest.mark.campaign
def test_what_a_client_has_edited_is_no_conflict_when_only_the_end_was_missed(bench):
    """The server has concluded the last session, the client has not heard of it."""
    start(bench)
    put(bench, 'b', 'n.txt', b'<n1>\n')
    bench.settle('b', 'a')
    put(bench, 'b', 'm.txt', b'<m1>\n')
    bench.sync('b', code=0)
    back_up(bench, 'a')
    bench.sync('a', code=0)
    shutil.rmtree(bench.path('a') / '.sync')
    shutil.copytree(bench.root / 'a.bak' / '.sync', bench.path('a') / '.sync')
    put(bench, 'a', 'n.txt', b'<n2>\n')
    tree = bench.settle('a', 'b')
    assert sorted(tree) == ['d.txt', 'm.txt', 'n.txt', 'o.txt']
    assert b'<n2>' in tree['n.txt'] and b'<m1>' in tree['m.txt']


@pytest.mark.parametrize('first', ['a', pytest.param('b', marks=pytest.mark.campaign)])
def test_a_server_that_was_put_back_is_brought_up_to_date(bench, first):
    start(bench)
    back_up(bench, 's')
    put(bench, 'b', 'n.txt', b'<n1>\n')
    put(bench, 'b', 'new.txt', b'<x1>\n')
    bench.path('b').joinpath('o.txt').rename(bench.path('b') / 'o2.txt')
    bench.settle('b', 'a')
    put(bench, 'a', 'm.txt', b'<m1>\n')
    bench.settle('b', 'a')
    put_back(bench, 's')
    put(bench, 'a', 'd.txt', b'<d1>\n')
    tree = bench.settle(first, 'ab'.strip(first))
    assert {b'<n1>', b'<m1>', b'<x1>', b'<d1>', b'<o0>'} <= tokens(tree)
    assert b'<n1>' in tree['n.txt'] and b'<m1>' in tree['m.txt'] and b'<d1>' in tree['d.txt']
    assert not [key for key in tree if 'conflict' in key], tree.keys()


@pytest.mark.campaign
def test_a_server_that_was_put_back_and_edited_keeps_both(bench):
    start(bench)
    back_up(bench, 's')
    put(bench, 'b', 'n.txt', b'<n1>\n')
    bench.settle('b', 'a')
    put_back(bench, 's')
    put(bench, 's', 'n.txt', b'<n2>\n')
    put(bench, 's', 'm.txt', b'<m2>\n')
    tree = bench.settle('a', 'b')
    assert {b'<n1>', b'<n2>', b'<m2>', b'<o0>', b'<d0>'} <= tokens(tree)


@pytest.mark.campaign
def test_files_alone_that_were_put_back_are_edits(bench):
    """Without the state folder that is what somebody wants; what goes is in the trash."""
    start(bench)
    old = bench.tree('a')['n.txt']
    put(bench, 'b', 'n.txt', b'<n1>\n')
    bench.settle('b', 'a')
    bench.path('a').joinpath('n.txt').write_bytes(old)
    assert bench.settle('a', 'b')['n.txt'] == old
    assert lines(b'<n1>\n') in bench.trashed('s')
