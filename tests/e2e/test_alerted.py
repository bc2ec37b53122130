"""A notification made for a device of a running server, handed to the program as a file."""

from __future__ import annotations

from pysyncml import alerted
from pysyncml.cli.notes import NotesEngine
from pysyncml.constants import SyncType
from tests.e2e.harness import World

ME = ('--username', 'me', '--password', 'pw')


def _alert(world: World, kind: SyncType, password: str = 'pw') -> str:
    """Have the server's directory make a notification for its client; return its file."""
    engine = NotesEngine().configure(['--describe', str(world.path('s'))])
    try:
        with engine.work():
            adapter = engine.makeAdapter()
            [peer] = engine.peers(adapter)
            made = alerted.make_notification(adapter, peer, {'notes': kind}, session_id=4242)
    finally:
        engine.context.close()
    secret = alerted.secret_of('me', password)
    _, data = alerted.write_notification(made, secret)
    return str(world.write('outbox', 'notification', data))


def test_a_server_alerts_a_device(world: World) -> None:
    world.server('s', *ME)
    world.write('s', 'old.txt', 'old')
    world.sync('a', *ME)
    world.write('s', 'new.txt', 'from the server')
    world.write('a', 'mine.txt', 'from the client')

    wrong = _alert(world, SyncType.REFRESH_FROM_SERVER, 'guess')
    assert 'another password' in world.sync('a', '--alerted', wrong, code=7).err
    assert 'mine.txt' in world.tree('a')

    path = _alert(world, SyncType.ONE_WAY_FROM_SERVER)
    assert world.sync('a', '--alerted', path).moved == {'hereAdd': 1}
    assert 'mine.txt' not in world.tree('s')

    assert world.sync('a', '--alerted', _alert(world, SyncType.TWO_WAY)).moved == {'peerAdd': 1}
    assert set(world.same('s', 'a')) == {'old.txt', 'new.txt', 'mine.txt'}

    world.write('b', 'x', 'x')
    refused = world.sync('b', '--alerted', path, server='http://127.0.0.1:9/', code=5)
    assert 'not of "http://127.0.0.1:9/"' in refused.err
