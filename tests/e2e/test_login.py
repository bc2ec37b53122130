"""Logging in and encodings, from one program to another."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pysyncml.cli.notes import application
from pysyncml.transport.wsgi import AdHocServer
from tests.e2e.harness import World
from tests.e2e.proxy import Proxy

ALICE = ('--username', 'alice', '--password', 'secret')
IN_CLEAR = base64.b64encode(b'alice:secret')


def _listen(world: World, server: Any) -> Proxy:
    proxy = world.proxy(server)
    proxy.bodies = []
    return proxy


def _said(proxy: Proxy) -> list[bytes]:
    assert proxy.bodies is not None
    said = [request for request, _ in proxy.bodies]
    proxy.bodies.clear()
    return said


def test_a_server_that_takes_digests_only(world: World) -> None:
    """The password itself is told at most once, on a safe way; from then on it is digests."""
    server = world.server('s', '--auth', 'md5-only', *ALICE)
    proxy = _listen(world, server)
    world.write('a', 'n.txt', 'n')
    world.sync('a', *ALICE, via=proxy)
    assert world.same('s', 'a') == {'n.txt': b'n'}
    assert b'syncml:auth-md5' in _said(proxy)[1]
    for _ in range(2):
        world.sync('a', via=proxy)
        said = _said(proxy)
        assert b'syncml:auth-md5' in said[0]
        assert not any(b'syncml:auth-md5' in message for message in said[1:])
        assert not any(IN_CLEAR in message for message in said)
    server.stop()
    server = world.server('s')
    world.sync('a', *ALICE, server=server)
    world.sync('a', '-p', 'wrong', code=7)


def test_digests_can_be_switched_off(world: World) -> None:
    """What was stored for them goes, and the clients go on with the password."""
    server = world.server('s', '--auth', 'md5', *ALICE)
    world.sync('a', *ALICE)
    server.stop()
    server = world.server('s', '--auth', 'basic')
    world.sync('a', *ALICE, server=server)
    server.stop()
    again = world.run('--server', '--listen', '127.0.0.1:0', '--auth', 'md5', 's', code=2)
    assert 'password' in again.err


def test_an_encoding_holds_until_another_one_is_said(world: World) -> None:
    """A client writes what it was told to, the server answers in the same."""
    server = world.server('s')
    proxy = _listen(world, server)
    world.write('a', 'n.txt', 'n')
    for options, kind in (
        ((), b'+xml'),
        (('--encoding', 'wbxml'), b'+wbxml'),
        ((), b'+wbxml'),
        (('--encoding', 'xml'), b'+xml'),
        ((), b'+xml'),
    ):
        world.sync('a', *options, server=server, via=proxy)
        assert proxy.bodies is not None
        for message in (message for pair in proxy.bodies for message in pair):
            assert b'application/vnd.syncml' + kind in message.partition(b'\r\n\r\n')[0]
        assert _said(proxy)
    assert world.same('s', 'a') == {'n.txt': b'n'}


def test_bytes_of_every_kind_in_wbxml(world: World) -> None:
    """What XML cannot hold goes through the other encoding too, both ways."""
    world.server('s')
    notes = {
        'all.bin': bytes(range(256)) * 8,
        'crlf.txt': b'a\r\nb\r\n',
        'empty': b'',
        'ü.txt': b'\0',
    }
    for name, body in notes.items():
        world.write('a', name, body)
    world.sync('a', '--encoding', 'wbxml')
    world.sync('b', '--encoding', 'wbxml')
    world.write('b', 'all.bin', b'\xff\x00')
    world.sync('b')
    world.sync('a')
    assert world.same('s', 'a', 'b') == {**notes, 'all.bin': b'\xff\x00'}


@contextlib.contextmanager
def _behind_a_web_server(folder: Path, name: str, password: str) -> Iterator[tuple[str, list[Any]]]:
    """Serve *folder* behind a web server that wants a login of its own, and passes it on."""
    app = application(os.fspath(folder), *ALICE)
    good = 'Basic ' + base64.b64encode(f'{name}:{password}'.encode()).decode()
    asked: list[Any] = []

    def front(environ: Any, start_response: Any) -> Any:
        asked.append(environ.get('HTTP_AUTHORIZATION'))
        if asked[-1] != good:
            challenge = ('WWW-Authenticate', 'Basic realm="front"')
            start_response('401 Unauthorized', [challenge, ('Content-Length', '0')])
            return [b'']
        return app(environ, start_response)

    with AdHocServer(front) as server:
        yield server.url, asked


def test_behind_a_web_server_with_a_login_of_its_own(world: World) -> None:
    """--http-login is for the one in front, --username for the server: two different things."""
    login = world.write('outside', 'login', 'web:s:1\n')
    login.chmod(0o600)
    world.write('a', 'n.txt', 'n')
    with _behind_a_web_server(world.path('s'), 'web', 's:1') as (url, asked):
        result = world.sync('a', *ALICE, server=url, code=6)
        assert '--http-login' in result.err
        assert asked == [None]
        world.sync('a', *ALICE, '--http-login', os.fspath(login))
        world.sync('a')
        assert world.same('s', 'a') == {'n.txt': b'n'}
        assert len(set(asked[1:])) == 1
        world.sync('a', '-p', 'wrong', code=7)
