"""``--check-state``: what is wrong in the database is found and mended; no note suffers."""

from __future__ import annotations

import sqlite3

import pytest

from pysyncml.cli.notes import NotesEngine
from tests.e2e.harness import World
from tests.e2e.test_verify import change_unseen, sql

NOTES = 12

#: What is planted → what is said of it.
WRONG = {
    "update pysyncml_mapping set seq = 99 where seq = 3": 'never were',
    "update pysyncml_mapping set item_id = 'nobody' where seq = 3": 'there never were',
    "update pysyncml_mapping set binding_id = 77 where seq = 3": 'belong to no row',
    "update pysyncml_change set seq = 1 where seq = 4": 'have the number of another',
    "update pysyncml_change set seq = 400 where seq = 4": 'beyond number',
    "update pysyncml_binding set cursor = 500": 'beyond the last change',
    "insert into pysyncml_revision values (1, 'nobody', 9, 9, '')": 'lead nowhere',
    "insert into pysyncml_unfinished values (1, '{}', 10, 5)": 'lacks some',
    "insert into pysyncml_chunk values (1, 0, x'00')": 'parts belong to no',
    "insert into pysyncml_journal values (1, 'notes', 'nonsense')": 'make no sense',
    "delete from noteitem where name = '3.txt'": 'not in both',
    "delete from pysyncml_change where seq = 4": 'not in both',
    "update noteitem set path = '1.txt' where name = '2.txt'": 'said to lie',
    "update noteitem set sha256 = 'x' where name = '2.txt'": 'not what the index says',
    "update pysyncml_option set value = '\"x\"' where key = 'directory'": 'not the one',
}  # fmt: skip


def check(world: World, name: str, code: int | None = None) -> str:
    """Run it in this process, which is quicker."""
    import io

    out = io.StringIO()
    engine = NotesEngine().configure(['--check-state', str(world.path(name))])
    found = engine.run(out, out)
    assert code is None or found == code, out.getvalue()
    return out.getvalue()


@pytest.fixture
def synced(world: World) -> World:
    world.server('s')
    for number in range(NOTES):
        world.write('a', f'{number}.txt', f'note {number}')
    world.sync('a')
    world.servers[0].stop()
    return world


@pytest.mark.campaign
def test_a_state_in_order(synced: World) -> None:
    for name in 'as':
        assert 'in order' in check(synced, name, 0)


def plant(world: World, name: str, line: str) -> None:
    database = sqlite3.connect(world.path(name) / '.sync' / 'state.db')
    database.execute('PRAGMA foreign_keys=OFF')
    with database:
        assert database.execute(line).rowcount, line
    database.close()


SAMPLE = 5


@pytest.mark.parametrize('step', [SAMPLE, pytest.param(1, marks=pytest.mark.campaign)])
def test_all_that_can_be_wrong(synced: World, step: int) -> None:
    """Each is planted by itself, found, and mended; a copy from before that is kept."""
    path = synced.path('a') / '.sync' / 'state.db'
    whole = path.read_bytes()
    for line, said in list(WRONG.items())[::step]:
        path.write_bytes(whole)
        plant(synced, 'a', line)
        found = check(synced, 'a', 10)
        assert said in found, (line, found)
        if 'directory' not in line:
            assert path.with_name('state.db.before-check.bak').exists()
            path.with_name('state.db.before-check.bak').unlink()


@pytest.mark.campaign
@pytest.mark.parametrize('name', ['a', 's'])
@pytest.mark.parametrize('line', [line for line in WRONG if 'directory' not in line])
def test_what_is_mended_deletes_nothing(synced: World, name: str, line: str) -> None:
    plant(synced, name, line)
    check(synced, name, 10)
    check(synced, name, 0)
    synced.servers[0].start()
    synced.sync('a')
    synced.sync('a')
    tree = synced.same('s', 'a')
    assert {f'note {number}'.encode() for number in range(NOTES)} == set(tree.values())
    assert len(tree) == NOTES
    assert synced.sync('a').moved == {}
    assert synced.sync('a', '--verify').data[0]['verify']['notes']['differences'] == []


@pytest.mark.campaign
def test_one_that_is_damaged_is_made_anew(synced: World) -> None:
    path = synced.path('a') / '.sync' / 'state.db'
    sql(synced.path('a'), "update noteitem set name = cast(x'ff41' as text) where name = '2.txt'")
    assert 'set aside' in check(synced, 'a', 10)
    assert path.with_name('state.db.damaged-1').exists()
    assert 'in order' in check(synced, 'a', 0)
    synced.servers[0].start()
    synced.sync('a')
    assert len(synced.same('s', 'a')) == NOTES


@pytest.mark.campaign
def test_not_while_another_process_works(synced: World) -> None:
    synced.servers[0].start()
    assert 'serving' in synced.run('--check-state', 's', code=9).err
    change_unseen(synced.path('s') / '1.txt', b'NOTE 1')
    synced.servers[0].stop()
    result = synced.run('--json', '--check-state', 's', code=10)
    assert len(result.data[0]['state']) == 1
