"""What earlier software of this kind got wrong, numbered: each of these must hold.

The numbers are those of a list of defects that was made before this program was written. What
is not tested here is told, with the reason, in ``docs/differences.rst``.
"""

from __future__ import annotations

import base64
import io
import os
import re
import socket
import stat
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import pysyncml
from pysyncml.cli.notes import NotesEngine
from pysyncml.merge import CompositeMergerFactory, TextMergerFactory
from pysyncml.sync.pairing import pair
from pysyncml.transport.wsgi import AdHocServer, application
from tests.e2e import proxy as ways
from tests.e2e.devices import Raw, free_port
from tests.e2e.harness import World, wait_for

TYPE = 'application/vnd.syncml+xml'


def _settled(world: World, *names: str) -> dict[str, bytes]:
    """Everybody is in step, and a further synchronisation moves nothing."""
    for name in names:
        assert world.sync(name).moved == {}, name
    return world.same('s', *names)


def _pair(world: World, notes: dict[str, bytes | str], *options: str) -> Any:
    """Return a server with two clients that have *notes*."""
    server = _one(world, notes, *options)
    world.sync('b')
    return server


def _one(world: World, notes: dict[str, bytes | str], *options: str) -> Any:
    """Return a server with one client that has *notes*."""
    server = world.server('s', *options)
    for name, body in notes.items():
        world.write('a', name, body)
    world.sync('a')
    return server


def _post(url: str, body: bytes, ctype: str = TYPE) -> tuple[int, str]:
    request = urllib.request.Request(url, body, {'Content-Type': ctype})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


# --- A. loss of data and dead ends --------------------------------------------------------------


def test_defect_01_cookies(world: World) -> None:
    """A server that sets cookies can be talked to, and gets them back."""
    raw = Raw('server')
    raw.shelf.add('n.txt', b'n')
    inner = application(raw.handle)
    seen: list[str | None] = []

    def app(environ: Any, start: Any) -> Any:
        seen.append(environ.get('HTTP_COOKIE'))

        def with_cookie(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start(status, [*headers, ('Set-Cookie', 'sid=x1; Path=/; HttpOnly')], *rest)

        return inner(environ, with_cookie)

    with AdHocServer(app, '127.0.0.1', 0) as server:
        world.sync('a', server=server.url)
    assert world.tree('a') == {'n.txt': b'n'}
    assert seen[0] is None
    assert set(seen[1:]) == {'sid=x1'}


def test_defect_02_deleting_one_note(world: World) -> None:
    """A deletion is registered once, wherever it was made, and nobody is stuck after it."""
    _pair(world, {f'{n}.txt': n for n in 'uvwxyz'})
    (world.path('a') / 'u.txt').unlink()
    (world.path('s') / 'v.txt').unlink()
    for name in 'sab':
        (world.path(name) / 'w.txt').unlink()
    (world.path('a') / 'x.txt').rename(world.path('a') / 'renamed.txt')
    world.write('a', 'renamed.txt', 'and edited')
    for name in 'aba':
        world.sync(name)
    assert _settled(world, 'a', 'b') == {'renamed.txt': b'and edited', 'y.txt': b'y', 'z.txt': b'z'}


def test_defect_02_deleted_on_both_clients(world: World) -> None:
    """What two devices have deleted is no news for either."""
    _pair(world, {f'{n}.txt': n for n in 'xyz'})
    for name in 'ab':
        (world.path(name) / 'x.txt').unlink()
    assert world.sync('a').moved == {'peerDel': 1}
    assert 'merged' not in world.sync('b').moved
    _settled(world, 'a', 'b')


def test_defect_03_pull_over(world: World) -> None:
    """pull-over makes this side like the other; what was here can be brought back."""
    world.server('s')
    for number in range(4):
        world.write('a', f'a{number}.txt', 'mine')
        world.write('s', f's{number}.txt', 'theirs')
    world.sync('a')
    world.write('a', 'a1.txt', 'edited')
    world.write('a', 'only.txt', 'here')
    (world.path('a') / 's2.txt').unlink()
    world.sync('a', '--mode', 'pull-over')
    assert len(world.same('s', 'a')) == 8
    world.run('--restore', 'only.txt', 'a')
    assert world.tree('a')['only.txt'] == b'here'
    world.sync('a')
    assert len(_settled(world, 'a')) == 9


def test_defect_03_pull_over_after_an_accident(world: World) -> None:
    """With everything gone here, pull-over brings all of it back."""
    world.server('s')
    for number in range(12):
        world.write('s', f'{number}.txt', 'x')
    world.sync('a')
    for path in world.path('a').glob('*.txt'):
        path.unlink()
    world.sync('a', code=5)  # and not a word of deletion reached the server
    world.sync('a', '--mode', 'pull-over', '--allow-deletions')
    assert len(_settled(world, 'a')) == 12


def test_defect_04_push_over(world: World) -> None:
    """After push-over plain synchronisations go on, again and again."""
    _one(world, {'1.txt': '1', '2.txt': '2'})
    world.write('s', 'only there.txt', 'x')
    for _ in range(2):
        world.write('a', '1.txt', os.urandom(4).hex())
        world.sync('a', '--mode', 'push-over')
        world.sync('a')
        assert len(_settled(world, 'a')) == 2
    world.run('--restore', 'only there.txt', 's')
    assert world.tree('s')['only there.txt'] == b'x'


def test_defect_05_swapped_names(world: World) -> None:
    """Two notes swap their names, three go round: nothing is lost, and the names are right."""
    notes = {f'{n}.txt': n.encode() * 3 for n in 'abcdef'}
    _pair(world, notes)
    top = world.path('a')
    for old, new in ('a~', 'ba', '~b', 'c~', 'dc', 'ed', '~e'):
        (top / f'{old}.txt').rename(top / f'{new}.txt')
    for name in 'aba':
        world.sync(name)
    wanted = dict(
        zip((f'{n}.txt' for n in 'abcdef'), (n.encode() * 3 for n in 'badecf'), strict=True)
    )
    assert _settled(world, 'a', 'b') == wanted


def test_defect_06_rename_to_a_taken_name(world: World) -> None:
    """A rename from elsewhere does not write over a note that got the name meanwhile."""
    _one(world, {'a.txt': 'old'})
    world.write('s', 'b.txt', 'PRECIOUS')
    (world.path('a') / 'a.txt').rename(world.path('a') / 'b.txt')
    for _ in range(2):
        world.sync('a')
    assert sorted(_settled(world, 'a').values()) == [b'PRECIOUS', b'old']


def test_defect_07_slow_sync(world: World) -> None:
    """Equal notes on both sides are linked, different ones of one name are both kept."""
    world.server('s')
    for name in 'sa':
        world.write(name, 'same.txt', 'same')
        world.write(name, 'todo.txt', f'list of {name}')
    world.sync('a')
    tree = world.same('s', 'a')
    assert sorted(tree.values()) == [b'list of a', b'list of s', b'same']
    assert world.sync('a', '--mode', 'full').moved == {}
    for path in sorted((world.path('a') / '.sync').rglob('*'), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (world.path('a') / '.sync').rmdir()
    world.sync('a', server=world.servers[0])
    assert _settled(world, 'a') == tree


@pytest.mark.parametrize('what', [ways.DROP_REQUEST, ways.DROP_ANSWER])
def test_defect_08_interrupted_sessions(world: World, what: str) -> None:
    """A session that breaks off anywhere, the first or a later one, is made up for by the next."""
    proxy = world.proxy(world.server('s'))
    world.write('s', 's.txt', 's')
    for number in (2, 3, 4):
        name = f'c{number}'
        proxy.plan = lambda count, number=number: what if count >= number else ways.PASS
        world.write(name, 's.txt', 's')
        world.write(name, f'{name}.txt', 'first')
        proxy.messages = 0
        world.sync(name, via=proxy, code=None)
        world.sync(name)
        tree = world.same('s', name)
        world.write(name, f'new {name}.txt', 'new')
        world.write(name, f'{name}.txt', 'edited')
        world.write('s', f'new s{number}.txt', 'new')
        world.write('s', 's.txt', f'edited {number}')
        proxy.messages = 0
        world.sync(name, via=proxy, code=None)
        world.sync(name)
        tree |= {
            f'new {name}.txt': b'new',
            f'{name}.txt': b'edited',
            f'new s{number}.txt': b'new',
            's.txt': f'edited {number}'.encode(),
        }
        assert _settled(world, name) == tree
        world.write('s', 's.txt', 's')


@pytest.mark.parametrize('side', ['server', 'client'])
def test_defect_08_killed_while_storing(world: World, side: str) -> None:
    """Killed while it stores hundreds of notes, each side goes on the next time."""
    server = world.server('s', '--listen', f'127.0.0.1:{free_port()}')
    source, target = ('a', 's') if side == 'server' else ('s', 'a')
    for number in range(300):
        world.write(source, f'{number:03}.txt', f'{number}\n' * 50)
    run = world.begin('a', server=server)
    wait_for(lambda: len(list(world.path(target).glob('*.txt'))) > 50 or not run.running)
    if side == 'server':
        server.kill()
        run.wait()
        server.restart()
    else:
        run.kill()
        run.wait()
    world.sync('a', server=server)
    world.sync('a')
    assert len(_settled(world, 'a')) == 300


def test_defect_08_restarted_server(world: World) -> None:
    """A server that is restarted in the middle of a session goes on with it."""
    server = world.server('s')
    for number in range(6):
        world.write('s', f'{number}.txt', os.urandom(300_000))
    proxy = world.proxy(server)

    def plan(count: int) -> str:
        if count == 3:
            server.restart()
        return ways.PASS

    proxy.plan = plan
    world.sync('a', via=proxy)
    assert proxy.messages > 3
    assert len(_settled(world, 'a')) == 6


def test_defect_09_device_ids(world: World) -> None:
    """Devices that are set up at the same moment are different devices."""
    world.server('s')
    runs = [world.begin(name, server=world.servers[0]) for name in 'abc']
    for run in runs:
        assert run.wait().code == 0
    ids = set()
    for name in 'sabc':
        found = re.search(r'Device ID: (\S+)', world.run('-d', name).out)
        assert found is not None
        ids.add(found[1])
    assert len(ids) == 4
    world.write('a', 'n.txt', 'n')
    for name in 'abc':
        world.sync(name)
    assert world.same('s', 'a', 'b', 'c') == {'n.txt': b'n'}


def test_defect_10_edited_again_and_again(world: World) -> None:
    """One device edits on while another has not been there for long."""
    _pair(world, {'n.txt': '0\n'})
    for number in range(1, 5):
        world.write('a', 'n.txt', f'{number}\n')
        assert world.sync('a').moved == {'peerMod': 1}
    assert world.sync('b').moved == {'hereMod': 1}
    assert _settled(world, 'a', 'b') == {'n.txt': b'4\n'}


def test_defect_11_rename_and_edit_meet(world: World) -> None:
    """One device renames a note, another edits it: both are kept."""
    _pair(world, {'n.txt': '1\n2\n3\n'})
    (world.path('a') / 'n.txt').rename(world.path('a') / 'm.txt')
    world.sync('a')
    world.write('b', 'n.txt', '1\n2\nthree\n')
    for name in 'ba':
        world.sync(name)
    assert _settled(world, 'a', 'b') == {'m.txt': b'1\n2\nthree\n'}


def test_defect_12_same_new_name(world: World) -> None:
    """A name that had to be changed on one device is changed on all of them."""
    world.server('s')
    for name, text in (('a', 'milk'), ('b', 'bread')):
        world.sync(name)
        world.write(name, 'todo.txt', text)
    for name in 'aba':
        world.sync(name)
    assert _settled(world, 'a', 'b') == {'todo.txt': b'milk', 'todo(1).txt': b'bread'}


@pytest.mark.parametrize('mode', ['full', 'push-over'])
def test_defect_13_modes_after_a_deletion(world: World, mode: str) -> None:
    """A note that was deleted without a synchronisation is not in the way of any mode."""
    _one(world, {'1.txt': '1', '2.txt': '2', '3.txt': '3'})
    (world.path('a') / '1.txt').unlink()
    world.sync('a', '--mode', mode)
    assert _settled(world, 'a') in (
        {'2.txt': b'2', '3.txt': b'3'},
        {'1.txt': b'1', '2.txt': b'2', '3.txt': b'3'},
    )


def test_defect_14_all_or_nothing(world: World) -> None:
    """A message that breaks off leaves no file, and no note comes to lie in its place by halves."""
    server = world.server('s')
    proxy = world.proxy(server)
    proxy.plan = lambda count: ways.CUT_REQUEST if count >= 3 else ways.PASS
    world.write('a', 'sub/long.txt', 'line\n' * 100_000)
    world.write('a', 'short.txt', 'short')
    assert world.sync('a', via=proxy, code=None).code != 0
    assert world.tree('s').keys() <= {'short.txt', 'sub/long.txt'}
    assert all(body == world.tree('a')[name] for name, body in world.tree('s').items())
    world.sync('a')
    assert len(_settled(world, 'a')) == 2


# --- B. content and names -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ('number', 'body'),
    [
        (15, 'žluťoučký kůň'.encode()),
        (15, 'déjà vu'.encode('latin-1')),
        (16, b'page\x0cpage\0end\x1b[0m'),
        (17, b'dos\r\nmac\runix\n\r'),
    ],
    ids=['15-UTF-8', '15-Latin-1', '16-control', '17-CR'],
)
def test_defect_15_16_17_contents(world: World, number: int, body: bytes) -> None:
    """Contents are bytes and stay what they are, from a client and from the server's directory."""
    world.server('s')
    world.write('a', 'a.txt', body)
    world.write('s', 's.txt', body)
    for name in 'ab':
        world.sync(name)
    assert _settled(world, 'a', 'b') == {'a.txt': body, 's.txt': body}


def test_defect_18_names_that_are_not_ascii(world: World) -> None:
    """Names in any language, and in none, arrive; the server can still be reached after that."""
    names = ['žluťoučký.txt', '日本語/メモ.txt', os.fsdecode(b'\xe9\xff.txt')]
    world.server('s')
    for name in names:
        world.write('a', name, 'x')
    for name in 'aba':
        world.sync(name)
    assert set(_settled(world, 'a', 'b')) == set(names)


def test_defect_19_odd_names(world: World) -> None:
    """A note without a name gets one; one that must not be is refused, and the others go on."""
    server = world.server('s')
    raw = Raw('raw', server.url)
    raw.shelf.add(None, b'First line, of it\nmore')
    raw.shelf.add('', b'')
    raw.shelf.add('.sync', b'x')
    raw.shelf.add('x' * 300, b'x')
    raw.shelf.add('folder/', b'x')
    raw.shelf.add('nobody.txt', None)
    raw.shelf.add('what: is*this?\nand this.txt', b'x')
    stats = raw.run()
    assert (stats.peerAdd, stats.peerErr) == (4, 3)
    assert world.tree('s') == {
        'First_line,_of_it.txt': b'First line, of it\nmore',
        'note.txt': b'',
        'nobody.txt': b'',
        'what: is*this?\nand this.txt': b'x',
    }


def test_defect_20_sub_folders(world: World) -> None:
    """Folders are made where they are needed, and go when they are empty."""
    _pair(world, {'a/b/c/deep.txt': 'deep', 'a/d.txt': 'd'})
    assert set(_settled(world, 'a', 'b')) == {'a/b/c/deep.txt', 'a/d.txt'}
    (world.path('a') / 'a/b').rename(world.path('a') / 'moved')
    for name in 'ab':
        world.sync(name)
    assert set(_settled(world, 'a', 'b')) == {'moved/c/deep.txt', 'a/d.txt'}
    assert not (world.path('b') / 'a/b').exists()


def test_defect_21_files_nobody_meant(world: World) -> None:
    """Leavings of editors, systems and version control stay at home; links are told of."""
    left = [
        'a.txt~',
        '.a.txt.swp',
        '.#a.txt',
        '#a.txt#',
        '~$doc.docx',
        '.~lock.doc#',
        '.DS_Store',
        'Thumbs.db',
        'desktop.ini',
        '.git/config',
        'sub/.hg/hgrc',
        '.svn/x',
        'out.tmp',
    ]
    for name in left:
        world.write('a', name, 'x')
    for name in ('a.txt', '.hidden', '.syncignore'):
        world.write('a', name, '*.tmp\n')
    os.symlink('a.txt', world.path('a') / 'link')
    world.server('s')
    assert 'link' in world.sync('a').err
    assert set(world.tree('s')) == {'a.txt', '.hidden', '.syncignore'}


def test_defect_22_fields_of_others(world: World) -> None:
    """What sync-notes does not show of a note comes out again as it went in."""
    server = world.server('s')
    one, two = Raw('one', server.url), Raw('two', server.url)
    one.shelf.add('n.txt', b'n', Categories='work', Color='3')
    one.run()
    two.run()
    found = two.shelf.by_name()['n.txt'].extensions
    assert (found['Categories'], found['Color']) == (['work'], ['3'])


def test_defect_23_one_bad_note(world: World) -> None:
    """A note that cannot be taken costs itself, now and later."""
    server = world.server('s')
    raw = Raw('raw', server.url)
    items = [raw.shelf.add(f'{number}.txt', b'x') for number in range(5)]
    raw.run()
    raw.shelf.change(items[0], body=b'edited')
    bad = raw.shelf.add('../bad.txt', b'bad')
    stats = raw.run()
    assert (stats.peerMod, stats.peerErr) == (1, 1)
    raw.shelf.change(items[1], body=b'edited')
    assert raw.run().peerMod == 1
    raw.shelf.change(bad, name='good.txt')
    assert raw.run().peerAdd == 1
    assert set(world.tree('s')) == {'good.txt', *(f'{number}.txt' for number in range(5))}


# --- C. security --------------------------------------------------------------------------------

ALICE = ('--username', 'alice', '--password', 'secret')


def test_defect_24_credentials(world: World) -> None:
    """Without the right password nothing comes out and nothing goes in; a device id is no key."""
    world.write('s', 'n.txt', 'private')
    server = world.server('s', *ALICE)
    world.sync('a', *ALICE)
    device = re.search(r'Device ID: (\S+)', world.run('-d', 'a').out)
    assert device is not None
    for login in (
        {},
        {'username': 'alice', 'password': 'wrong'},
        {'username': 'bob', 'password': 'secret'},
        {'username': 'alice', 'password': ''},
    ):
        raw = Raw(device[1], server.url)
        raw.shelf.add('evil.txt', b'x')
        with pytest.raises(pysyncml.AuthError):
            raw.run(**login)
        assert raw.shelf.by_name().keys() == {'evil.txt'}
    assert world.sync('a').moved == {}
    assert world.same('s', 'a') == {'n.txt': b'private'}


def test_defect_25_26_paths_and_programs(world: World) -> None:
    """No name leads out of the directory or into what programs trust, nor is it handed on."""
    server = world.server('s')
    raw = Raw('evil', server.url)
    item = raw.shelf.add('good.txt', b'x')
    raw.run()
    world.write('outside', 'x', 'precious')
    for name in (
        '../outside/x',
        os.fspath(world.path('outside') / 'y'),
        '.sync/options.yaml',
        '.sync/state.db',
        '../relay.txt',
    ):
        raw.shelf.change(item, name=name)
        raw.shelf.add(name, b'x')
        assert raw.run().peerErr >= 1
    world.sync('a')
    assert world.same('s', 'a') == {'good.txt': b'x'}
    assert world.tree('outside') == {'x': b'precious'}
    assert not (world.root / 'relay.txt').exists()
    assert item in raw.shelf.notes  # nothing was deleted at the sender


def test_defect_27_passwords_on_disk(world: World) -> None:
    """The server keeps no password, and nobody else can look into the state."""
    world.server('s', '--username', 'alice', '--password', 'xSecretx')
    world.sync('a', '--username', 'alice', env={'SYNC_NOTES_PASSWORD': 'xSecretx'})
    for name in 'sa':
        folder = world.path(name) / '.sync'
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for path in folder.rglob('*'):
            if path.is_file():
                assert b'xSecretx' not in path.read_bytes(), path
                assert base64.b64encode(b'alice:xSecretx') not in path.read_bytes(), path


def test_defect_27_a_typed_password_is_kept_for_oneself(world: World) -> None:
    """A password that was given with -p is remembered, in a file nobody else can read."""
    login = ('--username', 'alice', '--password', 'open sesame')
    world.server('s', *login)
    world.sync('a', *login)
    world.sync('a')
    holders = [
        p
        for p in (world.path('a') / '.sync').iterdir()
        if p.is_file() and b'open sesame' in p.read_bytes()
    ]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in holders)
    assert [path.name for path in holders] in (['credentials'], [])


def test_defect_28_who_can_connect(world: World) -> None:
    """Without an account only this machine can; the choice of the address is the user's."""
    server = world.server('s', '--listen', '0')
    assert '127.0.0.1' in server.log()
    server.stop()
    refused = world.run('--server', '--listen', '0.0.0.0:0', 's', code=2)
    assert '--username' in refused.err


def test_defect_29_somebody_stalls(world: World) -> None:
    """A connection that says nothing, or half of something, does not keep the others waiting."""
    server = world.server('s')
    with (
        socket.create_connection(('127.0.0.1', server.port)) as silent,
        socket.create_connection(('127.0.0.1', server.port)) as slow,
    ):
        slow.sendall(b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf')
        begun = time.monotonic()
        world.sync('a')
        assert time.monotonic() - begun < 5
        assert silent.fileno() >= 0


def test_defect_30_limits(world: World) -> None:
    """Entities are refused before they grow; a body that is too long is not read."""
    server = world.server('s')
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + b''.join(
        b'<!ENTITY %c "%b">' % (98 + n, b'&%c;' % (97 + n) * 10) for n in range(8)
    )
    status, text = _post(server.url, bomb + b']><SyncML><SyncHdr>&i;</SyncHdr></SyncML>')
    assert status == 400
    assert len(text) < 500
    with socket.create_connection(('127.0.0.1', server.port)) as stream:
        stream.sendall(
            b'POST / HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\n'
            b'Content-Length: 99999999999\r\n\r\n' % TYPE.encode()
        )
        stream.settimeout(10)
        assert b' 413 ' in stream.recv(100)
    world.sync('a')


def test_defect_31_tracebacks(world: World) -> None:
    """Whatever comes in, no inside of the program goes out."""
    server = world.server('s')
    for body in (
        b'',
        b'x',
        b'<',
        b'<SyncML/>',
        b'<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr/><SyncBody/></SyncML>',
        b'\x03\x00\x6a\x00',
    ):
        status, text = _post(server.url, body)
        assert status in (200, 400, 415), (body, status)
        assert 'Traceback' not in text
        assert '.py' not in text
    world.sync('a')


def test_defect_32_sessions_are_dropped(world: World) -> None:
    """There is one session for each device, however often it comes, and none that is old."""
    import sqlalchemy

    world.server('s')
    for _ in range(4):
        world.sync('a')
    world.sync('b')
    engine = sqlalchemy.create_engine(f'sqlite:///{world.path("s")}/.sync/state.db')
    with engine.connect() as connection:
        names = sqlalchemy.inspect(engine).get_table_names()
        table = next(name for name in names if 'session' in name.lower())
        count = connection.execute(sqlalchemy.text(f'select count(*) from {table}')).scalar()
    engine.dispose()
    assert count == 2


# --- D. protocol, routing, conflicts ------------------------------------------------------------


def _types(*names: str) -> list[pysyncml.ContentTypeInfo]:
    return [pysyncml.ContentTypeInfo(*name.split('@')) for name in names]


def test_defect_33_equal_stores_pair_by_name() -> None:
    """Where types do not decide, names do."""
    types = _types('text/plain@1.0')
    assert dict(pair({'a': types, 'b': types}, {'b': types, 'a': types})) == {'a': 'a', 'b': 'b'}


def test_defect_34_stores_with_nothing_in_common(world: World) -> None:
    """Stores of different kinds are not paired, and that is said."""
    assert dict(pair({'n': _types('text/x-s4j-sifn@1.1')}, {'c': _types('text/x-vcard@2.1')})) == {}
    raw = Raw('cards')
    raw.shelf.contentTypes = _types('text/x-vcard@2.1')
    with raw.serving() as url:
        result = world.sync('a', server=url, code=None)
    assert result.code == 5
    assert 'notes' in result.err


def test_defect_35_no_common_version() -> None:
    """Two stores of one type in different versions do not crash anything."""
    dict(pair({'n': _types('text/x-s4j-sifn@1.1')}, {'n': _types('text/x-s4j-sifn@9.9')}))


def test_defect_36_the_server_asks_for_a_slow_sync(world: World) -> None:
    """A 508 is answered with a slow synchronisation, in which nothing is doubled."""
    server = _one(world, {'1.txt': '1', '2.txt': '2'})
    server.stop()
    database = world.path('s') / '.sync' / 'state.db'
    old = {path.name: path.read_bytes() for path in database.parent.glob('state.db*')}
    server.start()
    world.write('a', '3.txt', '3')
    world.sync('a')
    server.stop()
    for path in database.parent.glob('state.db*'):
        path.unlink()
    for name, body in old.items():
        (database.parent / name).write_bytes(body)
    server.start()
    world.write('a', '4.txt', '4')
    assert world.sync('a').stats['mode'] == 'slow_sync' or world.sync('a').moved == {}
    assert len(_settled(world, 'a')) == 4


def test_defect_36_the_server_asks_for_a_password(world: World) -> None:
    """A challenge is told apart from a refusal: one asks for a login, the other for a better."""
    server = world.server('s', *ALICE)
    assert '--username' in world.sync('a', code=7).err
    assert 'password' in world.sync('a', '-u', 'alice', '-p', 'wrong', code=7).err
    status, text = _post(
        server.url,
        b'<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>SyncML/1.2'
        b'</VerProto><SessionID>1</SessionID><MsgID>1</MsgID><Target><LocURI>x</LocURI></Target>'
        b'<Source><LocURI>y</LocURI></Source></SyncHdr><SyncBody><Final/></SyncBody></SyncML>',
    )
    assert status == 200
    assert '<Data>407</Data>' in text
    assert 'syncml:auth-basic' in text


def test_defect_37_many_messages(world: World) -> None:
    """What does not fit into one message goes in several, and the peer's limit is kept."""
    raw = Raw('small', maxMsgSize=20_000)
    for number in range(60):
        world.write('a', f'{number:02}.txt', 'x' * 1000)
    sizes: list[int] = []
    handle = raw.handle

    def measured(request: Any) -> Any:
        sizes.append(len(request.body))
        return handle(request)

    raw.handle = measured  # type: ignore[method-assign]
    with raw.serving() as url:
        world.sync('a', server=url)
    assert len(raw.shelf.notes) == 60
    assert max(sizes) <= 20_000
    assert len(sizes) > 4


@pytest.mark.parametrize('mode', ['push', 'pull'])
def test_defect_38_one_way_from_the_first_time(world: World, mode: str) -> None:
    """The first push or pull goes one way, and the summary says which."""
    world.server('s')
    world.write('a', 'a.txt', 'a')
    world.write('s', 's.txt', 's')
    world.sync('a', '--mode', mode)
    pushes = mode == 'push'
    assert set(world.tree('s')) == ({'a.txt', 's.txt'} if pushes else {'s.txt'})
    assert set(world.tree('a')) == ({'a.txt'} if pushes else {'a.txt', 's.txt'})
    world.sync('a')
    assert set(_settled(world, 'a')) == {'a.txt', 's.txt'}


def test_defect_39_one_look_for_each_session(tmp_path: Path) -> None:
    """The server looks at its directory once for each session, however many messages there are."""
    looks: list[int] = []
    ready = threading.Event()
    servers: list[Any] = []
    (tmp_path / 's').mkdir()
    (tmp_path / 'a').mkdir()
    engine = NotesEngine(
        hooks=[
            ('adapter.create.store', [lambda *_: looks.append(1)]),
            ('server.start', [lambda server: (servers.append(server), ready.set())]),
        ]
    )
    engine.configure(['--quiet', '--server', '--listen', '0', os.fspath(tmp_path / 's')])
    thread = threading.Thread(target=engine.run, daemon=True)
    thread.start()
    assert ready.wait(20)
    before = len(looks)
    client = NotesEngine().configure(['-q', '-r', servers[0].url, os.fspath(tmp_path / 'a')])
    assert client.run() == 0
    assert len(looks) - before == 1
    servers[0].stop()
    thread.join()


def _conflict(world: World, policy: str) -> Any:
    _one(world, {'n.txt': 'base\n', 'other.txt': 'x'}, '--policy', policy)
    world.write('a', 'n.txt', 'of a\n')
    world.write('s', 'n.txt', 'of s\n')
    return world.sync('a', code=None)


def test_defect_40_conflicts_are_told(world: World) -> None:
    """With the policy "error" the exit code and a line say which note it is, and what to do."""
    result = _conflict(world, 'error')
    assert result.code == 3
    assert 'n.txt' in result.err or 'n.txt' in result.out
    assert '--policy' in world.run('a', code=3).err
    assert (world.tree('a')['n.txt'], world.tree('s')['n.txt']) == (b'of a\n', b'of s\n')
    world.write('s', 'n.txt', 'of a\n')
    world.sync('a')
    _settled(world, 'a')


@pytest.mark.parametrize(('policy', 'loser'), [('client-wins', 's'), ('server-wins', 'a')])
def test_defect_40_the_loser_is_kept(world: World, policy: str, loser: str) -> None:
    """Policies that let one side win keep the other version in the trash of the server."""
    assert _conflict(world, policy).code == 0
    world.sync('a')
    winner = {'a': 's', 's': 'a'}[loser]
    assert world.same('s', 'a')['n.txt'] == f'of {winner}\n'.encode()
    assert 'n.txt' in world.run('--trash', 's').out
    world.run('--restore', 'n.txt', 's')
    assert f'of {loser}\n'.encode() in world.tree('s').values()


def test_defect_41_edited_here_deleted_there(world: World) -> None:
    """client-wins: a note that was deleted in the server's directory comes back with the edit."""
    _one(world, {'n.txt': 'base\n', 'other.txt': 'x'}, '--policy', 'client-wins')
    (world.path('s') / 'n.txt').unlink()
    world.write('a', 'n.txt', 'edited\n')
    world.sync('a')
    assert _settled(world, 'a')['n.txt'] == b'edited\n'


def test_defect_42_edits_in_the_directory_of_the_server_merge(world: World) -> None:
    """It does not matter where an edit was made: lines that are apart merge."""
    _one(world, {'n.txt': '1\n2\n3\n4\n5\n6\n7\n'})
    world.write('s', 'n.txt', 'one\n2\n3\n4\n5\n6\n7\n')
    world.write('a', 'n.txt', '1\n2\n3\n4\n5\n6\nseven\n')
    assert world.sync('a').stats['merged'] == 1
    assert _settled(world, 'a') == {'n.txt': b'one\n2\n3\n4\n5\n6\nseven\n'}


def test_defect_43_deleting_a_line_that_was_edited(world: World) -> None:
    """A line deleted there and edited here is a conflict: nobody's work goes silently."""
    _one(world, {'n.txt': '1\n2\n3\n'})
    world.write('s', 'n.txt', '1\n3\n')
    world.write('a', 'n.txt', '1\ntwo\n3\n')
    world.sync('a')
    world.sync('a')
    assert sorted(_settled(world, 'a').values()) == [b'1\n3\n', b'1\ntwo\n3\n']


def test_defect_43_fields_that_were_absent() -> None:
    """A text that was absent before, or is now, merges like any other; empty specs are fine."""
    factory = CompositeMergerFactory(mergers={'body': TextMergerFactory()})
    spec = factory.newMerger().pushChange('body', None, 'text').getChangeSpec()
    assert factory.newMerger(spec).mergeChanges('body', 'text', None) in ('text', None)
    assert factory.newMerger('').mergeChanges('body', 'same', 'same') == 'same'


# --- E. command line and packaging --------------------------------------------------------------


def test_defect_44_remote_uri(world: World) -> None:
    """--remote-uri decides which datastore is used."""
    raw = Raw('two')
    other = type(raw.shelf)()
    other.store = raw.adapter.addStore(raw.context.Store(uri='other', agent=other))
    other.add('n.txt', b'of the other')
    raw.shelf.add('n.txt', b'of notes')
    with raw.serving() as url:
        world.sync('a', '--remote-uri', 'other', server=url)
        world.sync('a')
        assert world.tree('a') == {'n.txt': b'of the other'}
        wrong = world.sync('b', '--remote-uri', 'nowhere', server=url, code=4)
        assert '"nowhere"' in wrong.stats['problems'][0]


def test_defect_45_name(world: World) -> None:
    """A name that was given once is kept; the server shows it."""
    server = world.server('s')
    world.sync('a', '--name', 'My Laptop')
    world.sync('a')
    assert server.log().count('My Laptop') == 2


def test_defect_46_filename_sync(world: World) -> None:
    """-F is kept, and can be taken back."""
    _one(world, {'n.txt': 'n'})
    world.sync('a', '-F')
    (world.path('a') / 'n.txt').rename(world.path('a') / 'm.txt')
    assert world.sync('a').moved == {}
    assert set(world.tree('s')) == {'n.txt'}
    world.sync('a', '--filename-sync')
    (world.path('a') / 'm.txt').rename(world.path('a') / 'o.txt')
    assert world.sync('a').moved == {'peerMod': 1}
    assert set(world.same('s', 'a')) == {'o.txt'}


def test_defect_47_device_id_and_login(world: World) -> None:
    """A later -i is the id from then on; -r again without -u keeps the login."""
    server = world.server('s', *ALICE)
    world.write('a', 'n.txt', 'n')
    world.sync('a', *ALICE)
    world.sync('a', '--id', 'my-new-id')
    assert 'Device ID: my-new-id' in world.run('-d', 'a').out
    assert 'my-new-id' in server.log()
    assert world.sync('a', '--remote', server.url).moved == {}
    assert _settled(world, 'a') == {'n.txt': b'n'}


def test_defect_48_no_terminal(world: World) -> None:
    """Nobody is asked where there is nobody; looking asks nothing in any case."""
    world.path('a')
    result = world.run('a', code=2)
    assert '--remote' in result.err
    for option in ('-l', '-d'):
        world.run(option, 'a')
    world.server('s', *ALICE)
    assert '--password-file' in world.sync('a', '-u', 'alice', code=7).err


def test_defect_49_describe_a_server(world: World) -> None:
    """-d works in both roles, before and after the first session."""
    server = world.server('s')
    world.sync('a')
    server.stop()
    text = world.run('-d', 's').out
    assert 'Role: server' in text
    assert text.count('Device ID:') == 2
    assert 'Role: client' in world.run('-d', 'a').out


def test_defect_50_looking_changes_nothing(world: World) -> None:
    """-d, -l and --trash leave role, options and files as they are."""
    _one(world, {'n.txt': 'n'})
    before = _state(world, 'a')
    for options in (('-l', '-L', '9'), ('-d', '-n', 'x'), ('--trash', '-i', 'y'), ('-l', '-s')):
        world.run(*options, 'a')
        assert _state(world, 'a') == before, options
    assert world.sync('a').moved == {}


def _state(world: World, name: str) -> dict[str, bytes]:
    folder = world.path(name) / '.sync'
    return {
        os.fspath(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()
    }


def test_defect_51_the_url_is_kept(world: World) -> None:
    """After a first attempt that failed, the next one needs no URL."""
    port = free_port()
    world.write('a', 'n.txt', 'n')
    world.sync('a', server=f'http://127.0.0.1:{port}/', code=6)
    world.server('s', '--listen', f'127.0.0.1:{port}')
    world.run('a')
    assert world.same('s', 'a') == {'n.txt': b'n'}


def test_defect_52_what_a_server_says(world: World) -> None:
    """One line for each session; a log file; silence with -q; a port anybody may have."""
    log = world.root / 'server.log'
    server = world.server('s', '--log-file', os.fspath(log))
    world.write('a', 'n.txt', 'n')
    world.sync('a')
    server.stop()
    lines = [line for line in server.log().splitlines() if 'In step' in line]
    assert len(lines) == 1
    assert '1 local change' in lines[0]
    assert 'In step' in log.read_text()
    run = world.start('--quiet', '--server', '--listen', f'127.0.0.1:{server.port}', 's')
    wait_for(lambda: world.sync('a', code=None).code == 0)
    run.kill(15)
    result = run.wait()
    assert (result.out, result.err) == ('', '')
    assert int(NotesEngine().defaultListen) > 1023


def test_defect_53_errors_are_lines(world: World) -> None:
    """Each failure is one line that says what is wrong, and an exit code of its own."""
    world.path('a')
    codes = set()
    for argv in (
        ['nowhere'],
        ['--remote', 'http://127.0.0.1:1/', 'a'],
        ['--remote', 'ftp://x', 'a'],
        ['--mode', 'sideways', 'a'],
        ['--restore', 'x', 'a'],
    ):
        result = world.run(*argv, code=None)
        assert result.code != 0
        assert 'Traceback' not in result.err
        assert result.err.splitlines()[-1].startswith(('sync-notes: ', '__main__.py: ')), result.err
        codes.add(result.code)
    assert codes == {2, 6}


def test_defect_54_a_wide_title() -> None:
    """The box of the summary is as wide as what is in it."""
    stream = io.StringIO()
    stats = {'notes': pysyncml.Stats(mode=pysyncml.SYNCTYPE_TWO_WAY, hereAdd=1)}
    pysyncml.describeStats(stats, stream, title='A title that is far wider than any table ' * 3)
    assert len({len(line) for line in stream.getvalue().splitlines()}) == 1


def test_defect_55_packaging() -> None:
    """The dependencies are the true ones, and the documentation is part of the release."""
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / 'pyproject.toml').read_text())['project']
    needs = ' '.join(project['dependencies']).lower()
    assert 'sqlalchemy>=2' in needs
    assert 'distribute' not in needs
    assert project['requires-python'] == '>=3.11'
    assert sys.version_info >= (3, 11)
    assert list((root / 'docs').glob('*.rst'))


def test_defect_56_one_directory_two_processes(world: World) -> None:
    """Two processes in one role are kept apart; both roles at once are not in each other's way."""
    server = world.server('s')
    again = world.run('--server', '--listen', '127.0.0.1:0', 's', code=9)
    assert str(server.run.process.pid) in again.err or 'already' in again.err
    hub = world.server('hub')
    world.write('hub', 'n.txt', 'n')
    world.sync('s', '--client', server=hub)
    world.write('s', 'm.txt', 'm')
    world.sync('a')
    world.sync('s', '--client')
    assert world.same('s', 'a', 'hub') == {'n.txt': b'n', 'm.txt': b'm'}
