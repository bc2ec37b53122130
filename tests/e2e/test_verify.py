"""``--verify``: what differs is named, nothing is changed, and the next run settles it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from pysyncml.storage import stamp
from tests.e2e.harness import Result, World

DIFFERENT, REFUSED = 10, 5


def change_unseen(path: Path, body: bytes) -> None:
    """Change a file so that nothing shows it: as a disk does that goes bad."""
    stat = path.stat()
    path.write_bytes(body)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    folder = path
    while not (folder / '.sync').exists():
        folder = folder.parent
    name = str(path.relative_to(folder))
    sql(folder, 'update noteitem set stamp = ? where path = ?', stamp(path.stat()), name)


def sql(folder: Path, line: str, *values: Any) -> None:
    database = sqlite3.connect(folder / '.sync' / 'state.db')
    with database:
        database.execute(line, values)
    database.close()


def found(result: Result) -> list[tuple[str, str]]:
    [report] = [value['verify']['notes'] for value in result.data if 'verify' in value]
    return sorted((d['kind'], d['here'] or d['there']) for d in report['differences'])


def test_what_differs_is_named_and_settled(world: World) -> None:
    """Each kind of it, on both sides; afterwards everything is there, once."""
    world.server('s')
    for number in range(20):
        world.write('a', f'{number:02}.txt', f'note {number}')
    world.write('a', 'drafts/mine.txt', 'mine')
    world.sync('a')
    change_unseen(world.path('a') / '03.txt', b'NOTE 3')
    change_unseen(world.path('s') / '04.txt', b'NOTE 4')
    sql(world.path('a'), "update noteitem set sha256 = 'x' where name = '05.txt'")
    sql(world.path('a'), "update noteitem set name = '06b.txt' where name = '06.txt'")
    world.write('a', 'new.txt', 'waits')
    before = world.tree('a'), world.tree('s')
    result = world.sync('a', '--verify', code=DIFFERENT)
    assert found(result) == [('content', '03.txt'), ('content', '04.txt'), ('name', '06b.txt')]
    assert (world.tree('a'), world.tree('s')) == before
    plain = world.run('--verify', 'a', code=DIFFERENT)
    assert 'different content: 04.txt' in plain.out
    assert '2 waiting' in plain.out  # new.txt; and 05.txt, which is looked at again
    world.sync('a')
    world.sync('a')
    tree = world.same('s', 'a')
    for number in range(20):
        assert f'note {number}'.encode() in tree.values()
    assert {b'NOTE 3', b'NOTE 4', b'waits', b'mine'} <= set(tree.values())
    assert len(tree) == 20 + 2 + 2
    assert found(world.sync('a', '--verify')) == []
    assert world.sync('a').moved == {}


@pytest.mark.campaign
def test_rows_that_are_gone(world: World) -> None:
    """An index row, a mapping row and a row of the log, on either side: nothing is doubled."""
    world.server('s')
    for number in range(8):
        world.write('a', f'{number}.txt', f'note {number}')
    world.sync('a')
    for name in 'as':
        folder = world.path(name)
        which = "(select id from noteitem where name = '{}.txt')"
        sql(folder, f'delete from pysyncml_mapping where item_id = {which.format(1)}')
        sql(folder, f'delete from pysyncml_change where item_id = {which.format(2)}')
        sql(folder, "delete from noteitem where name = '3.txt'")
    world.servers[0].restart()
    world.run('--verify', 'a', code=DIFFERENT)
    world.sync('a')
    world.sync('a')
    assert sorted(world.same('s', 'a')) == [f'{number}.txt' for number in range(8)]
    assert found(world.sync('a', '--verify')) == []


@pytest.mark.campaign
def test_what_is_out_of_sight_is_not_compared(world: World) -> None:
    world.server('s')
    world.write('a', 'a.txt', 'one')
    world.write('a', 'drafts/b.txt', 'two')
    world.sync('a')
    world.write('a', '.syncignore', '/drafts/\n')
    world.sync('a')
    change_unseen(world.path('a') / 'drafts' / 'b.txt', b'TWO')
    assert found(world.sync('a', '--verify')) == []


def test_options_that_do_not_go_together(world: World) -> None:
    world.path('a')
    assert '--mode' in world.run('--verify', '--mode', 'full', 'a', code=2).err
    assert 'for clients' in world.run('--verify', '--server', 'a', code=2).err
    assert '--remote' in world.run('--verify', 'a', code=2).err


@pytest.mark.campaign
def test_nothing_to_compare_yet(world: World) -> None:
    world.server('s')
    assert 'synchronise first' in world.sync('a', '--verify', code=REFUSED).out


@pytest.mark.campaign
@pytest.mark.parametrize('encoding', ['xml', 'wbxml'])
def test_many(world: World, encoding: str) -> None:
    world.server('s')
    for number in range(5000):
        world.write('a', f'{number % 50}/{number}.txt', f'note {number}')
    world.sync('a', '--encoding', encoding)
    change_unseen(world.path('a') / '7' / '4007.txt', b'NOTE 4007')
    result = world.sync('a', '--verify', code=DIFFERENT)
    assert found(result) == [('content', '7/4007.txt')]
    world.sync('a')
    assert len(world.same('s', 'a')) == 5001
    assert found(world.sync('a', '--verify')) == []
