"""What can be said on the command line, what is remembered of it, and what it takes back."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import time
from typing import Any

import pytest

from pysyncml.cli.notes import NotesEngine
from tests.e2e.devices import Raw, free_port
from tests.e2e.harness import World, wait_for

ALICE = ('--username', 'alice', '--password', 'secret')


def _saved(world: World, name: str) -> dict[str, Any]:
    """Return the options that the program takes for granted the next time."""
    engine = NotesEngine()
    engine.configure(['--describe', os.fspath(world.path(name))])
    values = vars(engine.options)
    engine.context.close()
    return dict(values)


def _one(world: World, notes: dict[str, bytes | str], *options: str) -> Any:
    """Return a server with one client that has *notes*."""
    server = world.server('s', *options)
    for name, body in notes.items():
        world.write('a', name, body)
    world.sync('a')
    return server


def _pair(world: World, notes: dict[str, bytes | str], *options: str) -> Any:
    """Return a server with two clients that have *notes*."""
    server = _one(world, notes, *options)
    world.sync('b')
    return server


def _settled(world: World, *names: str) -> dict[str, bytes]:
    for name in names:
        assert world.sync(name).moved == {}, name
    return world.same('s', *names)


def _remove(path: Any) -> None:
    shutil.rmtree(path)


# --- what is remembered, and taken back ---------------------------------------------------------


def test_what_a_client_is_told_once_holds(world: World) -> None:
    """Each option that is remembered still holds in a bare run, and each can be taken back."""
    server = world.server('s')
    ca = world.write('outside', 'ca.pem', 'x')
    password = world.write('outside', 'password', 'x\n')
    password.chmod(0o600)
    world.sync(
        'a',
        '--id',
        'dev-a',
        '--name',
        'A',
        '--remote-uri',
        'notes',
        '--insecure',
        '--ca-file',
        str(ca),
        '--username',
        'u',
        '--password-file',
        str(password),
        '-F',
        '--policy',
        'client-wins',
    )
    world.run('a')
    kept = _saved(world, 'a')
    assert kept['remote'] == server.url
    assert (kept['devid'], kept['name'], kept['remoteUri']) == ('dev-a', 'A', 'notes')
    assert (kept['username'], kept['passwordFile'], kept['caFile']) == ('u', str(password), str(ca))
    assert (kept['insecure'], kept['syncFilename'], kept['policy']) == (True, False, 'client-wins')
    assert (kept['server'], kept['password']) == (False, None)
    world.sync(
        'a',
        '--name',
        '',
        '--remote-uri',
        '',
        '--no-insecure',
        '--ca-file',
        '',
        '--no-username',
        '--password-file',
        '',
        '--filename-sync',
        '--policy',
        'keep-both',
    )
    kept = _saved(world, 'a')
    names = ('name', 'remoteUri', 'username', 'passwordFile', 'caFile')
    assert [kept[name] for name in names] == [None] * 5
    assert (kept['insecure'], kept['syncFilename'], kept['policy']) == (False, True, 'keep-both')
    assert (kept['devid'], kept['remote']) == ('dev-a', server.url)


@pytest.mark.parametrize(
    'said', [('-m', 'full'), ('--allow-deletions',), ('--yes',), ('--quiet',), ('-v',), ('--json',)]
)
def test_what_is_said_for_one_run_is_forgotten(world: World, said: tuple[str, ...]) -> None:
    """Modes, consent and the way of speaking are never remembered."""
    world.server('s')
    world.sync('a')
    before = _saved(world, 'a')
    world.sync('a', *said)
    assert _saved(world, 'a') == before


def test_what_a_server_is_told_once_holds(world: World) -> None:
    """A bare run serves again, at the same place and by the same rules."""
    address = f'127.0.0.1:{free_port()}'
    options = ('--policy', 'server-wins', '--name', 'Home', *ALICE)
    server = world.server('s', '--listen', address, *options)
    server.stop()
    run = world.start('s')
    wait_for(lambda: f':{server.port}/' in run.out or not run.running)
    world.sync('a', '-u', 'alice', '-p', 'wrong', code=7)
    world.sync('a', *ALICE)
    run.kill(signal.SIGTERM)
    assert run.wait().code == 0
    kept = _saved(world, 's')
    assert (kept['server'], kept['policy'], kept['name']) == (True, 'server-wins', 'Home')
    # a new port and policy hold from then on; without a user anybody on this machine may come
    second = world.server('s', '--policy', 'keep-both', '--no-username', '--listen', '127.0.0.1:0')
    world.sync('b', server=second)
    second.stop()
    kept = _saved(world, 's')
    assert (kept['policy'], kept['listen'], kept['name']) == ('keep-both', '127.0.0.1:0', 'Home')


def test_the_role_is_remembered(world: World) -> None:
    """A directory that was served is served again; --client and --remote make it a client."""
    world.server('s').stop()
    assert _saved(world, 's')['server']
    hub = world.server('hub')
    world.sync('s', server=hub)
    assert not _saved(world, 's')['server']
    world.run('s')
    world.server('s').stop()
    assert _saved(world, 's')['server']
    world.run('--client', 's')
    assert not _saved(world, 's')['server']


def test_server_for_some_and_client_of_another(world: World) -> None:
    """Notes go through a directory in both roles, up and down, and the two are not mixed."""
    hub = world.server('hub')
    middle = world.server('middle')
    world.write('hub', 'from hub.txt', 'hub')
    world.write('leaf', 'from leaf.txt', 'leaf')
    world.sync('leaf', server=middle)
    world.sync('middle', '--client', server=hub)
    world.sync('leaf')
    assert set(world.same('hub', 'middle', 'leaf')) == {'from hub.txt', 'from leaf.txt'}
    world.write('leaf', 'from hub.txt', 'edited')
    (world.path('hub') / 'from leaf.txt').unlink()
    world.sync('leaf')
    world.sync('middle', '--client')
    world.sync('leaf')
    assert world.same('hub', 'middle', 'leaf') == {'from hub.txt': b'edited'}
    for name in ('leaf', 'middle'):
        assert world.sync(name, '--client').moved == {}


def test_looking_changes_nothing(world: World) -> None:
    """--describe, --local and --trash leave no trace, whatever else is said with them."""
    _one(world, {'n.txt': 'n'})
    world.write('a', 'new.txt', 'new')
    folder = world.path('a') / '.sync'

    def state() -> dict[str, bytes]:
        return {os.fspath(p): p.read_bytes() for p in folder.rglob('*') if p.is_file()}

    before, options = state(), _saved(world, 'a')
    for look in ('--describe', '--local', '--trash'):
        result = world.run(
            look, '--server', '--listen', '9', '--name', 'x', '--policy', 'error', 'a'
        )
        assert result.out
        assert state() == before, look
    assert _saved(world, 'a') == options
    assert '"new.txt": added' in world.run('--local', 'a').out
    fresh = world.path('fresh')
    for look in ('--describe', '--local', '--trash'):
        world.run(look, 'fresh')
    assert list(fresh.iterdir()) == []


def test_bad_usage(world: World) -> None:
    """Wrong options end with code 2 before anything is done."""
    world.path('a')
    for argv in (
        ['--mode', 'sideways'],
        ['--policy', 'mine'],
        ['--listen', 'x'],
        ['--listen', '1:2:3:'],
        ['--remote', 'example.com'],
        ['--server', '--remote', 'http://x/'],
        ['--server', '--client'],
        ['--server', '--mode', 'push'],
        ['--describe', '--local'],
        ['--password', 'x', '-r', 'http://127.0.0.1:9/'],
        ['--username', 'u', '--no-username'],
        ['--nonsense'],
    ):
        result = world.run(*argv, 'a', code=2)
        assert result.err.strip(), argv
    assert world.run('missing', code=2).err
    assert 'exit codes' in world.run('--help').out


# --- modes --------------------------------------------------------------------------------------


@pytest.mark.parametrize('mode', ['sync', 'full', 'push', 'pull', 'push-over', 'pull-over'])
def test_modes(world: World, mode: str) -> None:
    """Each mode does what its name says, the first time and later, and sync makes up for it."""
    server = world.server('s')
    world.write('a', 'a.txt', 'a')
    world.write('s', 's.txt', 's')
    gives, takes = 'pull' not in mode, 'push' not in mode
    for number in range(2):
        result = world.sync('a', '--mode', mode)
        here, there = set(world.tree('a')), set(world.tree('s'))
        mine = {'a.txt', *(f'a{n}.txt' for n in range(number))}
        theirs = {'s.txt', *(f's{n}.txt' for n in range(number))}
        assert here == (theirs if mode == 'pull-over' else mine | theirs if takes else mine)
        assert there == (mine if mode == 'push-over' else mine | theirs if gives else theirs)
        assert ('push' in mode or 'full' in mode or 'sync' in mode) or not result.stats['peerAdd']
        if 'over' in mode:
            break
        world.write('a', f'a{number}.txt', 'x')
        world.write('s', f's{number}.txt', 'x')
    world.sync('a')
    assert _settled(world, 'a')
    assert server.run.running


@pytest.mark.parametrize(('mode', 'loser'), [('pull-over', 'a'), ('push-over', 's')])
def test_what_is_replaced_can_be_brought_back(world: World, mode: str, loser: str) -> None:
    """The two modes that replace one side keep what they replace, edited or alone there."""
    _one(world, {'n.txt': 'old', 'm.txt': 'm'})
    world.write(loser, 'only.txt', 'only here')
    world.write(loser, 'n.txt', 'edited here')
    result = world.run('--mode', mode, 'a')
    assert 'replaced' in result.err
    assert world.same('s', 'a') == {'n.txt': b'old', 'm.txt': b'm'}
    assert world.run('--trash', loser).out.count('.txt') >= 2
    for name in ('only.txt', 'n.txt'):
        assert 'Brought back' in world.run('--restore', name, loser).out
    tree = world.tree(loser)
    assert (tree['only.txt'], tree['n(1).txt']) == (b'only here', b'edited here')
    world.run('--restore', 'never was.txt', loser, code=2)
    world.sync('a')
    assert len(_settled(world, 'a')) == 4


# --- policies -----------------------------------------------------------------------------------


# note → who changes it beside a, and what each of the two does
_MEETINGS = {
    'es': ('s', 'edit', 'edit'),
    'eb': ('b', 'edit', 'edit'),
    'ns': ('s', 'edit', 'edit'),
    'ds': ('s', 'edit', 'delete'),
    'db': ('b', 'edit', 'delete'),
    'xs': ('s', 'delete', 'edit'),
    'xb': ('b', 'delete', 'edit'),
    'zs': ('s', 'delete', 'delete'),
    'zb': ('b', 'delete', 'delete'),
}


def _act(world: World, name: str, note: str, what: str, when: float) -> None:
    path = world.path(name) / f'{note}.txt'
    if what == 'edit':
        path.write_text(f'by {name}\n')
        os.utime(path, (when, when))
    else:
        path.unlink()


def _meet(world: World, policy: str) -> Any:
    """Have notes changed by a and by somebody else; return what came of it at a."""
    _pair(world, {f'{note}.txt': 'base\n' for note in [*_MEETINGS, 'other']}, '--policy', policy)
    for note, (other, ours, theirs) in _MEETINGS.items():
        _act(world, other, note, theirs, 1.1e9)
        _act(world, 'a', note, ours, 1e9 if note == 'ns' else 1.2e9)
    world.sync('b')
    return world.sync('a', code=None)


def _trashed(world: World, *names: str) -> set[bytes]:
    """Return the contents that are in the trash of directories."""
    folders = [world.path(name) / '.sync' / 'trash' for name in names]
    return {path.read_bytes() for folder in folders for path in folder.rglob('*.txt')}


@pytest.mark.parametrize('policy', ['keep-both', 'client-wins', 'server-wins', 'newest-wins'])
def test_policies(world: World, policy: str) -> None:
    """Edits and deletions meet, with the server's directory and with another device."""
    result = _meet(world, policy)
    assert result.code == 0
    for note in ('es', 'eb', 'ns'):
        assert any(f'"{note}.txt"' in name for name in result.stats['conflictNames']), note
    world.sync('b')
    world.sync('a')
    tree = _settled(world, 'a', 'b')
    copies = {name: tree.pop(name) for name in list(tree) if 'conflict' in name}
    assert tree.pop('other.txt') == b'base\n'
    deletes_lose = policy in ('keep-both', 'newest-wins')
    for note, (other, ours, theirs) in _MEETINGS.items():
        a_wins = policy == 'client-wins' or (policy == 'newest-wins' and note != 'ns')
        if ours == theirs == 'edit':
            winner = other if policy == 'keep-both' or not a_wins else 'a'
        elif deletes_lose or (ours == 'edit') == a_wins:
            winner = None if ours == theirs else 'a' if ours == 'edit' else other
        else:
            winner = None
        wanted = None if winner is None else f'by {winner}\n'.encode()
        assert tree.pop(f'{note}.txt', None) == wanted, note
    assert tree == {}
    if policy == 'keep-both':
        assert sorted(copies.values()) == [b'by a\n'] * 3
        assert all(re.fullmatch(r'\w+ \(conflict .+ \d{4}-\d\d-\d\d\)\.txt', n) for n in copies)
    else:
        assert copies == {}
        lost = {'client-wins': b'by s\n', 'server-wins': b'by a\n', 'newest-wins': b'by s\n'}
        assert lost[policy] in _trashed(world, 's')
        if not deletes_lose:  # edits that lost against a deletion
            assert {b'by a\n' if policy == 'server-wins' else b'by b\n'} <= _trashed(
                world, 's', 'a', 'b'
            )


def test_the_policy_error(world: World) -> None:
    """Nothing is done but telling: exit code 3 and the names, until somebody settles it."""
    result = _meet(world, 'error')
    contested = {
        note
        for note, (_, ours, theirs) in _MEETINGS.items()
        if (ours, theirs) != ('delete', 'delete')
    }
    for _ in range(2):
        assert result.code == 3
        assert result.stats['conflicts'] == len(contested)
        for note in ('es', 'eb', 'ns', 'ds', 'db'):
            assert any(f'"{note}.txt"' in name for name in result.stats['conflictNames']), note
        for note in contested:
            other, ours, theirs = _MEETINGS[note]
            for name, what in (('a', ours), ('s', theirs)):
                body = f'by {"a" if name == "a" else other}\n'.encode()
                wanted = body if what == 'edit' else None
                assert world.tree(name).get(f'{note}.txt') == wanted, (note, name)
        world.write('a', 'other.txt', os.urandom(4).hex())
        result = world.sync('a', code=3)
    assert world.tree('s')['other.txt'] != b'base\n'
    quiet = world.run('--quiet', 'a', code=3)
    assert 'es.txt' in quiet.err
    assert '--policy' in quiet.err
    # equal edits are no conflict any more, nor are two deletions
    for note in contested:
        for name in 'as':
            if _MEETINGS[note][1:] == ('edit', 'edit'):
                world.write(name, f'{note}.txt', 'settled\n')
            else:
                (world.path(name) / f'{note}.txt').unlink(missing_ok=True)
    world.sync('a')
    world.sync('b')
    assert len(_settled(world, 'a', 'b')) == 4


# --- deletions ----------------------------------------------------------------------------------


def _many(world: World, count: int = 24, *others: str) -> Any:
    """Return a server with a and *others* that have *count* notes."""
    server = world.server('s')
    for number in range(count):
        world.write('a', f'{number:02}.txt', f'{number}\n')
    for name in ('a', *others):
        world.sync(name)
    return server


def _delete(world: World, name: str, count: int) -> None:
    for number in range(count):
        (world.path(name) / f'{number:02}.txt').unlink()


def test_all_gone_here(world: World) -> None:
    """A directory in which everything is gone deletes nothing elsewhere, until somebody says so."""
    _many(world, 3, 'b')
    _delete(world, 'a', 3)
    result = world.sync('a', code=5)
    assert '--allow-deletions' in result.err
    assert len(world.tree('s')) == 3
    world.sync('a', '--allow-deletions')
    world.sync('b', '--allow-deletions')
    assert _settled(world, 'a', 'b') == {}
    assert world.run('--trash', 's').out.count('.txt') == 3


def test_most_gone_here(world: World) -> None:
    """More than half and more than ten are too many; fewer go through without a word."""
    _many(world, 24, 'b')
    _delete(world, 'a', 13)
    assert '13' in world.sync('a', code=5).err
    assert len(world.tree('s')) == 24
    for number in range(2):
        world.write('a', f'{number:02}.txt', f'{number}\n')
    world.sync('a')  # 11 of 24
    world.sync('b')
    assert len(_settled(world, 'a', 'b')) == 13


def test_most_gone_there(world: World) -> None:
    """A client does not follow a server in deleting most of its notes, either."""
    server = _many(world)
    server.stop()
    _delete(world, 's', 20)
    world.server('s', '--listen', f'127.0.0.1:{server.port}', '--allow-deletions')
    result = world.sync('a', code=5)
    assert '--allow-deletions' in result.err
    assert len(world.tree('a')) >= 12
    world.sync('a', '--allow-deletions')
    assert len(_settled(world, 'a')) == 4
    assert world.run('--trash', 'a').out.count('.txt') == 20


def test_renames_are_no_deletions(world: World) -> None:
    """All notes may be renamed, or moved to a folder, without a question."""
    _many(world, 24, 'b')
    (world.path('a') / 'sub').mkdir()
    for number in range(24):
        name = f'{number:02}.txt'
        (world.path('a') / name).rename(world.path('a') / 'sub' / f'new {name}')
    assert world.sync('a').moved == {'peerMod': 24}
    assert world.sync('b').moved == {'hereMod': 24}
    assert len(_settled(world, 'a', 'b')) == 24


def test_a_server_whose_directory_was_emptied(world: World) -> None:
    """It refuses to synchronise, says why to the client, and nobody loses anything."""
    server = _many(world, 12, 'b')
    _delete(world, 's', 12)
    result = world.sync('a', code=None)
    assert result.code not in (0, 1)
    assert 'gone' in result.err
    assert len(world.tree('a')) == 12
    for number in range(12):
        world.write('s', f'{number:02}.txt', f'{number}\n')
    world.sync('a')
    assert len(_settled(world, 'a', 'b')) == 12
    assert server.run.running


@pytest.mark.parametrize('notes', ['none', 'some', 'all'])
def test_a_server_made_anew_at_the_same_address(world: World, notes: str) -> None:
    """It has never heard of anybody: what clients have is merged into it, never deleted."""
    server = _many(world, 12, 'b')
    server.stop()
    kept = world.tree('s')
    _remove(world.path('s'))
    if notes != 'none':
        for name in list(kept)[: 12 if notes == 'all' else 5]:
            world.write('s', name, kept[name])
    world.server('s', '--listen', f'127.0.0.1:{server.port}')
    (world.path('a') / '00.txt').unlink()
    world.write('a', '01.txt', 'edited\n')
    world.sync('a')
    world.sync('b')
    world.sync('a')
    tree = _settled(world, 'a', 'b')
    assert set(kept) - {'00.txt'} <= set(tree)
    assert b'edited\n' in tree.values()
    assert len(tree) <= 14


def test_the_state_of_a_client_is_lost(world: World) -> None:
    """Without its .sync a client merges: equal notes are linked, nothing is doubled or deleted."""
    server = _many(world, 12)
    world.write('s', 'new.txt', 'new')
    _remove(world.path('a') / '.sync')
    (world.path('a') / '00.txt').unlink()
    result = world.sync('a', server=server)
    assert result.moved == {'hereAdd': 2}
    assert len(_settled(world, 'a')) == 13


def test_another_directory_in_the_place_of_ours(world: World) -> None:
    """A state folder that has come to another directory, or lost its own, is noticed."""
    _many(world, 4, 'b')
    world.path('empty')
    (world.path('a') / '.sync' / 'identity').unlink()
    result = world.sync('a', code=5)
    assert 'not the directory' in result.err
    world.sync('a', '--allow-deletions')
    assert len(_settled(world, 'a')) == 4
    shutil.copy(world.path('b') / '.sync' / 'identity', world.path('a') / '.sync' / 'identity')
    world.sync('a', code=5)
    assert len(world.tree('s')) == 4


def test_a_moved_directory_is_the_same(world: World) -> None:
    """A directory may be renamed as a whole; its state goes with it."""
    _many(world, 4)
    world.path('a').rename(world.root / 'moved')
    assert world.run('--json', 'moved').code == 0
    (world.root / 'moved' / '00.txt').unlink()
    world.run('moved')
    assert len(world.tree('s')) == 3


# --- passwords ----------------------------------------------------------------------------------


def test_passwords(world: World) -> None:
    """Right, wrong, missing; from the option, a file, the environment, and from the last time."""
    server = world.server('s', *ALICE)
    world.write('s', 'n.txt', 'n')
    for options in ((), ('-u', 'alice'), ('-u', 'alice', '-p', 'x'), ('-u', 'bob', '-p', 'secret')):
        world.sync('a', *options, code=7)
    assert world.tree('a') == {}
    password = world.write('outside', 'password', 'secret\nmore\n')
    password.chmod(0o600)
    world.sync('a', '-u', 'alice', '--password-file', str(password))
    world.sync('a')
    world.sync('b', '-u', 'alice', env={'SYNC_NOTES_PASSWORD': 'secret'})
    world.sync('b', code=7)  # what was in the environment is not written down
    world.sync('c', *ALICE)
    world.sync('c')
    world.sync('d', '--remote', server.url.replace('//', '//alice:secret@'))
    assert 'secret' not in world.run('-d', 'd').out
    world.same('s', 'a', 'b', 'c', 'd')
    log = server.log()
    assert 'secret' not in log


def test_a_password_is_changed_and_taken_away(world: World) -> None:
    """The server's account is what was said last; the old password is worth nothing then."""
    server = world.server('s', *ALICE)
    world.sync('a', *ALICE)
    server.stop()
    server = world.server('s', '-u', 'alice', '-p', 'new')
    world.sync('a', server=server, code=7)
    world.sync('a', '-u', 'alice', '-p', 'new')
    server.stop()
    server = world.server('s', '--no-username')
    world.sync('b', server=server)


def test_passwords_in_other_languages(world: World) -> None:
    """User names and passwords are any text; a colon in the password is no problem."""
    login = ('--username', 'Žofie', '--password', 'p:ä ß 😀')
    world.server('s', *login)
    world.sync('a', *login)
    world.sync('a')


# --- what is said -------------------------------------------------------------------------------


def test_quiet(world: World) -> None:
    """--quiet says nothing when all is well, and one line when it is not."""
    world.server('s')
    world.write('a', 'n.txt', 'n')
    result = world.run('--quiet', '--remote', world.servers[0].url, 'a')
    assert (result.out, result.err) == ('', '')
    result = world.run('--quiet', '--remote', 'http://127.0.0.1:1/', 'b', code=None)
    assert result.code in (2, 6)


def test_summary_and_json(world: World) -> None:
    """The summary is a table for people, and one JSON object for scripts."""
    _one(world, {'n.txt': 'n'})
    world.write('a', 'm.txt', 'm')
    text = world.run('a').out
    assert '1 remote change.' in text
    assert 'Synchronization Summary' in text
    assert len({len(line) for line in text.splitlines()}) == 1
    lines = world.run('--json', 'a').out.splitlines()
    value = json.loads(lines[-1])
    assert (value['exitCode'], value['stats']['notes']['peerAdd']) == (0, 0)
    world.write('a', 'o.txt', 'o')
    pending = json.loads(world.run('--json', '--local', 'a').out)['pending']
    assert [change['state'] for change in pending[0]['changes']] == ['added']
    failed = world.run('--json', '--remote', 'http://127.0.0.1:1/', 'a', code=6)
    assert json.loads(failed.out)['exitCode'] == 6
    assert 'not associated yet' in world.run('--local', 'a').out
    assert json.loads(world.run('--json', '--describe', 'a').out)['role'] == 'client'
    assert json.loads(world.run('--json', '--trash', 'a').out) == {'trash': []}


def test_log_file(world: World) -> None:
    """--log-file gets what happened, with times, and is added to."""
    world.server('s')
    log = world.root / 'log'
    world.sync('a', '--log-file', str(log))
    world.sync('a', '--log-file', str(log), '-vv')
    size = log.stat().st_size
    world.sync('b', '--log-file', str(log), '--remote', 'http://127.0.0.1:1/', code=6)
    assert log.stat().st_size > size > 0
    assert re.match(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[', log.read_text())


def test_exit_codes(world: World) -> None:
    """Each kind of trouble has its own exit code."""
    server = world.server('s', *ALICE)
    world.sync('a', *ALICE)
    world.sync('a', '--remote', 'http://127.0.0.1:1/', code=6)
    world.sync('a', server=server, code=7)
    raw = Raw('evil')
    raw.shelf.add('../x', b'x')
    with raw.serving() as url:
        world.sync('b', server=url, code=4)
    with socket.create_server(('127.0.0.1', 0)) as silent:
        held = world.begin('c', server=f'http://127.0.0.1:{silent.getsockname()[1]}/')
        wait_for((world.path('c') / '.sync' / 'client.pid').exists)
        assert 'already' in world.sync('c', code=9).err
        held.kill()
    web = Raw('web')
    web.handle = lambda request: __import__('pysyncml').Response(b'<html>', 'text/html')  # type: ignore[method-assign]
    with web.serving() as url:
        assert world.sync('d', server=url, code=None).code in (6, 8)


# --- interrupted --------------------------------------------------------------------------------


def test_control_c_at_the_client(world: World) -> None:
    """Ctrl-C ends a client after the message it is at, with its own code; the next run goes on."""
    server = world.server('s')
    for number in range(300):
        world.write('a', f'{number:03}.txt', os.urandom(6000))
    run = world.begin('a', server=server)
    wait_for(lambda: world.tree('s') or not run.running)
    run.kill(signal.SIGINT)
    result = run.wait()
    assert result.code in (130, 0)
    if result.code:
        assert 'interrupted' in result.err
        assert 'Traceback' not in result.err
    world.sync('a')
    assert len(_settled(world, 'a')) == 300


def test_control_c_at_the_server(world: World) -> None:
    """Ctrl-C ends a server cleanly; a client that was at it goes on the next time."""
    server = world.server('s')
    for number in range(300):
        world.write('a', f'{number:03}.txt', os.urandom(6000))
    run = world.begin('a', server=server)
    wait_for(lambda: world.tree('s') or not run.running)
    server.run.kill(signal.SIGINT)
    stopped = server.run.wait()
    assert stopped.code == 0
    assert 'Stopped.' in stopped.out
    assert 'Traceback' not in stopped.err
    assert run.wait().code in (0, 6)
    again = world.server('s', '--listen', '127.0.0.1:0')
    world.sync('a', server=again)
    world.sync('a')
    assert len(_settled(world, 'a')) == 300


# --- .syncignore --------------------------------------------------------------------------------


def test_a_new_pattern_deletes_nothing(world: World) -> None:
    """What is ignored from now on stays where it is, on all devices, and is not sent any more."""
    _pair(world, {'keep.txt': '1', 'x.log': '1', 'sub/y.log': '1', 'build/z.txt': '1'})
    world.write('a', '.syncignore', '*.log\nbuild/\n')
    world.sync('a')
    world.sync('b')
    assert world.tree('s')['.syncignore'] == b'*.log\nbuild/\n'
    everything = {'keep.txt', 'x.log', 'sub/y.log', 'build/z.txt', '.syncignore'}
    for name in 'sab':
        assert set(world.tree(name)) == everything
    world.write('a', 'x.log', '2')
    world.write('a', 'new.log', 'new')
    (world.path('b') / 'build' / 'z.txt').unlink()
    for name in 'aba':
        assert world.sync(name).moved == {}
    assert world.tree('s')['x.log'] == b'1'
    assert set(world.tree('s')) == everything
    # taken back, everything is as it would have been
    world.write('a', '.syncignore', '# nothing\n')
    for name in 'abba':
        world.sync(name)
    tree = _settled(world, 'a', 'b')
    assert (tree['x.log'], tree['new.log']) == (b'2', b'new')


def test_patterns_are_those_of_git(world: World) -> None:
    """Negations, folders, anchors and deep patterns mean what they mean for git."""
    world.server('s')
    world.write('a', '.syncignore', '*.tmp\n!keep.tmp\n/top.txt\n**/cache/\ndoc/**/*.pdf\n')
    for name in (
        'x.tmp',
        'keep.tmp',
        'top.txt',
        'sub/top.txt',
        'a/cache/x',
        'cache.txt',
        'doc/a/b.pdf',
        'doc/c.pdf',
        'c.pdf',
    ):
        world.write('a', name, 'x')
    world.sync('a')
    assert set(world.tree('s')) == {'.syncignore', 'keep.tmp', 'sub/top.txt', 'cache.txt', 'c.pdf'}


def test_links_are_said_once_and_cost_nothing(world: World) -> None:
    """Links are neither sent nor followed; a note that becomes one is not deleted elsewhere."""
    _one(world, {'n.txt': 'n', 'm.txt': 'm'})
    (world.path('a') / 'n.txt').rename(world.root / 'elsewhere.txt')
    (world.path('a') / 'n.txt').symlink_to(world.root / 'elsewhere.txt')
    (world.path('a') / 'loop').symlink_to('.')
    assert 'n.txt' in world.sync('a').err
    begun = time.monotonic()
    assert world.sync('a').err == ''
    assert time.monotonic() - begun < 5
    assert set(world.tree('s')) == {'n.txt', 'm.txt'}
