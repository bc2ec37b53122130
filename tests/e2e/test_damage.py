"""A state database that is damaged: set aside, made anew, and no note is lost or doubled."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.e2e.harness import Result, World
from tests.e2e.test_verify import sql

NOTES = 25


def state(world: World, name: str) -> Path:
    return world.path(name) / '.sync' / 'state.db'


def _text(path: Path) -> None:
    path.write_bytes(b'this is no database, ' * 400)


def _half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _start(path: Path) -> None:
    os.truncate(path, 5000)


def _emptied(path: Path) -> None:
    path.write_bytes(b'')


def _removed(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _zeros(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:4096] + bytes(len(data) - 4096))


def _sql(line: str):
    def damage(path: Path) -> None:
        sql(path.parent.parent, line)

    return damage


DAMAGES = {
    'text': _text,
    'half': _half,
    'start': _start,
    'emptied': _emptied,
    'removed': _removed,
    'folder': _folder,
    'zeros': _zeros,
    'no options': _sql('drop table pysyncml_option'),
    'no index': _sql('drop table noteitem'),
    'no log': _sql('drop table pysyncml_change'),
    'broken options': _sql("update pysyncml_option set value = '{'"),
    'broken device': _sql("update pysyncml_device set stores = '[}'"),
    'no text': _sql("update noteitem set name = cast(x'ff41' as text)"),
    'no number': _sql("update pysyncml_binding set cursor = 'x'"),
}


@pytest.fixture
def synced(world: World) -> World:
    world.server('s')
    for number in range(NOTES):
        world.write('a', f'{number}.txt', f'note {number}')
    world.sync('a')
    world.sync('b')
    world.servers[0].stop()
    return world


def serve(world: World) -> None:
    """Start the server again, saying what it has lost if it has."""
    server = world.servers[0]
    for options in ((), ('--no-username',), ('--no-username',)):
        server.options = options
        with contextlib.suppress(AssertionError):
            server.start()
            server.options = ()
            return
        shown = server.run.err
        assert 'Traceback' not in shown and 'internal error' not in shown, shown
    raise AssertionError('the server cannot be started any more')


def client(world: World, name: str) -> Result:
    """Synchronise until that goes well, which is the second time at the latest."""
    for _ in range(3):
        result = world.run('--remote', world.servers[0].url, name, code=None)
        assert result.code in (0, 1, 6, 8), (result.code, result.err)
        if result.code in (6, 8):  # the server has found out, and stops
            ended = world.servers[0].run.wait()
            assert 'the state database is damaged' in ended.err, ended.err
        if not world.servers[0].run.running:
            serve(world)
        elif result.code == 0:
            return result
    raise AssertionError(result.err)


def recovered(world: World, edited: dict[str, bytes]) -> None:
    """All that there was is there, and nothing twice."""
    for name in 'abab':
        client(world, name)
    tree = world.same('s', 'a', 'b')
    bodies = [f'note {number}'.encode() for number in range(NOTES)]
    for body in (*bodies, *edited.values()):
        assert body in tree.values(), body
    # what was edited while the memory was lost is there in its old version, too
    extra = {name: body for name, body in tree.items() if '(' in name}
    assert set(extra.values()) <= {b'note 5', *edited.values()}, extra
    assert len(tree) - len(extra) == NOTES
    assert 'Traceback' not in world.servers[0].log()


@pytest.mark.campaign
@pytest.mark.parametrize('name', ['a', 's'])
@pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES)
def test_nothing_is_lost_or_doubled(synced: World, name: str, damage) -> None:
    damage(state(synced, name))
    synced.write(name, '5.txt', 'edited')
    serve(synced)
    recovered(synced, {'5.txt': b'edited'})


@pytest.mark.campaign
@pytest.mark.parametrize('seed', range(150))
def test_bytes_that_are_flipped(synced: World, seed: int) -> None:
    """Anywhere, a few or many: no traceback, and all notes are there in the end."""
    dice = random.Random(seed)
    name = dice.choice('as')
    path = state(synced, name)
    data = bytearray(path.read_bytes())
    for _ in range(dice.choice([1, 3, 30, 300])):
        where = dice.randrange(len(data))
        data[where] ^= 1 << dice.randrange(8)
    path.write_bytes(data)
    serve(synced)
    for _ in range(2):
        for one in 'ab':
            client(synced, one)
    tree = synced.same('s', 'a', 'b')
    assert {f'note {number}'.encode() for number in range(NOTES)} <= set(tree.values())
    assert 'Traceback' not in synced.servers[0].log()


@pytest.mark.campaign
def test_the_log_of_the_database_is_lost(world: World) -> None:
    """What was not in the database itself yet is as if it had never happened."""
    world.server('s')
    for number in range(NOTES):
        world.write('a', f'{number}.txt', f'note {number}')
    world.sync('a')
    early = {name: state(world, name).read_bytes() for name in 'a'}
    world.write('s', 'new.txt', 'new')
    world.write('a', 'mine.txt', 'mine')
    world.sync('a')
    for end in ('-wal', '-shm'):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f'{state(world, "a")}{end}')
    state(world, 'a').write_bytes(early['a'])
    world.sync('a')
    assert len(world.same('s', 'a')) == NOTES + 2
    assert world.sync('a').moved == {}


# --- a server that asked for a password ---------------------------------------------------------


@pytest.mark.parametrize('damage', [_text, pytest.param(_removed, marks=pytest.mark.campaign)])
def test_a_server_that_has_lost_its_accounts_stays_shut(world: World, damage) -> None:
    options = ('--username', 'me', '--password', 'secret')
    server = world.server('s', *options)
    server.stop()
    damage(state(world, 's'))
    run = world.run('--server', '--listen', f'127.0.0.1:{server.port}', 's', code=2)
    assert 'who may come in was lost' in run.err
    run = world.run('--server', '--listen', f'127.0.0.1:{server.port}', 's', code=2)
    assert 'who may come in was lost' in run.err
    server.start()
    server.stop()
    server.options = ()
    server.start()
    world.write('a', 'x.txt', 'x')
    assert world.sync('a', server=server, code=7).code == 7


@pytest.mark.campaign
def test_accounts_and_options_that_can_be_read_are_kept(world: World) -> None:
    server = world.server('s', '--username', 'me', '--password', 'secret', '--policy', 'error')
    password = {'SYNC_NOTES_PASSWORD': 'secret'}
    world.write('a', 'x.txt', 'x')
    world.sync('a', '--username', 'me', server=server, env=password)
    server.stop()
    for name in 'as':
        sql(world.path(name), "update noteitem set name = cast(x'ff41' as text)")
        (world.path(name) / '.sync' / 'state.db.suspect').touch()
    server.options = ()
    server.start()
    assert 'the account of me' in server.log()
    result = world.sync('a', env=password)
    assert 'kept from it: remote, username' in result.err
    assert world.same('s', 'a') == {'x.txt': b'x'}
    assert '"error"' in str(sqlite3.connect(state(world, 's')).execute(
        "select value from pysyncml_option where key = 'cli'").fetchall())  # fmt: skip


# --- in the middle ------------------------------------------------------------------------------


def test_looking_changes_nothing(world: World) -> None:
    world.path('a/.sync')
    path = state(world, 'a')
    path.write_bytes(b'this is no database')
    result = world.run('--local', 'a', code=1)
    assert 'synchronise, and it is made anew' in result.err
    assert sorted(path.parent.glob('state.db*')) == [path]


def test_a_client_goes_on(world: World) -> None:
    """A sample of what the campaign does."""
    world.server('s')
    for number in range(NOTES):
        world.write('a', f'{number}.txt', f'note {number}')
    world.sync('a')
    _half(state(world, 'a'))
    world.write('a', '5.txt', 'edited')
    assert 'state.db.damaged-1' in client(world, 'a').err
    tree = world.same('s', 'a')
    assert sorted({*tree.values()} - {b'edited'}) == sorted(
        f'note {number}'.encode() for number in range(NOTES)
    )
    assert len(tree) == NOTES + 1


@pytest.mark.campaign
def test_a_server_that_finds_out_while_it_runs_ends(synced: World) -> None:
    server = synced.servers[0]
    server.start()
    sql(synced.path('s'), "update pysyncml_device set stores = '[}'")
    result = synced.run('a', code=None)
    assert result.code in (6, 8)
    ended = server.run.wait()
    assert ended.code == 1
    assert 'the state database is damaged' in ended.err and 'Traceback' not in ended.err
    serve(synced)
    recovered(synced, {})


def test_setting_aside_is_done_again_after_it_was_broken_off(tmp_path: Path, monkeypatch) -> None:
    from pysyncml.state import damage

    path = tmp_path / 'state.db'
    names = ['state.db', 'state.db-shm', 'state.db-wal']
    usual = os.rename
    for stop in range(3):
        for name in names:
            (tmp_path / name).write_text('x')
        left = stop

        def rename(*args: str) -> None:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            usual(*args)

        monkeypatch.setattr(os, 'rename', rename)
        with pytest.raises(KeyboardInterrupt):
            damage.set_aside(str(path))
        monkeypatch.undo()
        assert path.exists(), 'the database itself goes last'
        damage.set_aside(str(path))
        assert not [name for name in names if (tmp_path / name).exists()]
    shutil.rmtree(tmp_path)


def test_an_index_that_has_lost_a_note_makes_no_doubles(world: World) -> None:
    """What a scan finds may mean that all has to be compared; the session begins again then."""
    world.server('s')
    for name in ('x', 'y', 'z'):
        world.write('a', name, f'{name}\n')
    world.sync('a')
    world.sync('a')
    database = sqlite3.connect(world.path('a') / '.sync' / 'state.db')
    with database:
        database.execute("delete from noteitem where path = 'y'")
    database.close()
    world.write('a', 'new', 'new\n')
    result = world.sync('a')
    assert result.moved == {'peerAdd': 1}, result
    assert sorted(world.same('a', 's')) == ['new', 'x', 'y', 'z']
    assert world.sync('a').moved == {}
