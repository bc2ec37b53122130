"""The program as people start it: the installed script, and ``python -m``."""

from __future__ import annotations

import os
import sys

import pytest

from tests.e2e.harness import installed

_SCRIPT = installed()


@pytest.fixture(params=['script', 'module'])
def started(request, world):
    """A world whose programs are started afresh."""
    if request.param == 'module':
        world.program = [sys.executable, '-m', 'pysyncml.cli.notes']
    elif _SCRIPT is None:
        pytest.skip('sync-notes is not installed next to this Python')
    else:
        world.program = [_SCRIPT]
    return world


def test_two_devices_get_in_step(started):
    started.write('a', 'sub/one.txt', 'hello\n')
    started.write('b', 'two.bin', b'\0\r\n\xff')
    server = started.server('s')
    assert started.sync('a').moved == {'peerAdd': 1}
    assert started.sync('b').moved == {'peerAdd': 1, 'hereAdd': 1}
    assert started.sync('a').moved == {'hereAdd': 1}
    started.same('s', 'a', 'b')
    server.restart()
    assert started.sync('a').moved == {}
    assert server.stop().code == 0
    assert 'In step.' in server.log()


@pytest.mark.skipif(os.name != 'posix', reason='signals')
def test_an_interrupt_ends_the_server_cleanly(started):
    import signal

    server = started.server('s')
    server.run.kill(signal.SIGINT)
    result = server.run.wait(20)
    assert result.code == 0
    assert result.out.endswith('Stopped.\n')
    assert result.err == ''


def test_help_tells_how(started):
    result = started.run('--help')
    assert 'sync-notes --remote https://' in result.out or '-m' in (started.program or [])
    assert result.err == ''
