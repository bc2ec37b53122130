import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from cli_fakes import Program, state

from pysyncml.constants import ExitCode
from pysyncml.protocol.auth import check_password, md5_secret


class Served:
    """A program that serves in a thread, until the block ends."""

    def __init__(self, *argv):
        self.program = Program(
            hooks=[('server.start', [self._started]), ('server.stop', [self._stopped])]
        )
        self.program.configure([*argv])
        self.out, self.err = io.StringIO(), io.StringIO()
        self.code = None
        self.server = None
        self._up = threading.Event()
        self.stopped = False

    def _started(self, server):
        self.server = server
        threading.Timer(0.05, self._up.set).start()  # the lines are printed after the hook

    def _stopped(self, server):
        self.stopped = True

    def _run(self):
        self.code = self.program.run(self.out, self.err)
        self._up.set()

    def __enter__(self):
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *error):
        if self.server is not None:
            self.server._ended.set()
        self.thread.join(10)

    def post(self, body):
        request = urllib.request.Request(self.server.url, body)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path)


def test_a_server_says_where_it_is_and_one_line_per_session(folder):
    with Served('-L', '127.0.0.1:0', folder) as served:
        assert served.post(b'hello') == b'answer to hello'
    lines = served.out.getvalue().splitlines()
    assert served.code == 0
    assert lines[0] == f'Listening on http://127.0.0.1:{served.server.port}/ for {folder}'
    assert 'Only this machine can connect; with --username' in lines[1]
    assert lines[2] == 'Ctrl-C stops it.'
    assert lines[3].endswith(' phone: 2 local changes. In step.')
    assert lines[4] == 'Stopped.'
    assert served.stopped
    # once at the start, once for the session
    assert served.program.events.count('adapter.create.store') == 2
    assert 'adapter.create.peer' not in served.program.events


def test_quiet_and_json(folder):
    with Served('-q', '-L', '127.0.0.1:0', folder) as served:
        served.post(b'x')
    assert served.out.getvalue() == ''
    with Served('--json', '-s', folder) as served:
        served.post(b'x')
    start, session, stop = map(json.loads, served.out.getvalue().splitlines())
    assert start == {'event': 'start', 'urls': [served.server.url]}
    assert (session['peer'], session['exitCode']) == ('phone', 0)
    assert stop == {'event': 'stop'}


def test_without_an_account_only_this_machine_may_connect(folder):
    # defect 28
    with Served('-L', '0', folder) as served:
        assert served.server.host == '127.0.0.1'
    with Served('-L', '0.0.0.0:0', folder) as served:
        assert served.server is None
    assert served.code == ExitCode.USAGE
    assert 'say who may with --username' in served.err.getvalue()


def test_an_account_opens_the_server_and_only_a_hash_is_kept(folder):
    # defects 24, 27
    with Served('-L', '0', '-u', 'alice', '-p', 'secret', folder) as served:
        assert served.server.host in ('::', '0.0.0.0')
        (hashed,) = served.program.context.options.get('accounts').values()
    assert check_password('secret', hashed)
    assert 'unencrypted' in served.out.getvalue()
    for path in Path(folder, '.sync').iterdir():
        assert b'secret' not in path.read_bytes()
    with Served('-L', '0', folder) as served:
        assert served.program.context.options.get('accounts') == {'alice': hashed}
    with Served('-L', '0', '--no-username', folder) as served:
        assert served.program.context.options.get('accounts') == {}
        assert served.server.host == '127.0.0.1'


def test_the_login_of_the_client_is_not_the_account_of_the_server(folder):
    Program().configure(['-r', 'http://h/', '-u', 'bob', '-p', 'x', folder])
    with Served('-L', '0', folder) as served:
        assert served.program.context.options.get('accounts') is None
        assert served.server.host == '127.0.0.1'
    assert state(folder)['username'] == 'bob'


@pytest.mark.parametrize(
    ('argv', 'code', 'said'),
    [
        (['-u', 'alice'], ExitCode.USAGE, 'the password for --username alice is missing'),
        (['-p', 'secret'], ExitCode.USAGE, '--password needs --username'),
        (['-u', 'a:b', '-p', 'x'], ExitCode.USAGE, 'colon'),
    ],
)
def test_accounts_that_make_no_sense(folder, argv, code, said):
    with Served('-L', '0', *argv, folder) as served:
        pass
    assert served.code == code
    assert said in served.err.getvalue()


def test_a_port_in_use_is_one_clear_line(folder):
    with contextlib.closing(socket.create_server(('127.0.0.1', 0))) as taken:
        port = taken.getsockname()[1]
        with Served('-L', f'127.0.0.1:{port}', folder) as served:
            pass
    assert served.code == ExitCode.NETWORK
    assert served.err.getvalue().count('\n') == 1
    assert f'Port {port} is in use' in served.err.getvalue()
    with Served('-L', '127.0.0.1:0', folder) as served:  # and the lock is free again
        assert served.server is not None


def test_one_server_at_a_time_but_a_client_beside_it(folder):
    with Served('-L', '127.0.0.1:0', folder):
        with Served('-L', '127.0.0.1:0', folder) as second:
            pass
        assert second.code == ExitCode.LOCKED
        assert 'is serving' in second.err.getvalue()
        with Program().configure(['--client', folder]).lock('client'):
            pass


@pytest.mark.skipif(os.name != 'posix', reason='signals')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(folder, number):
    code = (
        'import sys; sys.path.insert(0, sys.argv[1])\n'
        'import pysyncml; pysyncml.versionString = "1"\n'
        'from cli_fakes import Program\n'
        'sys.exit(Program().configure(["-L", "127.0.0.1:0", sys.argv[2]]).run())\n'
    )
    here = os.path.dirname(__file__)
    root = os.path.dirname(os.path.dirname(here))
    process = subprocess.Popen(
        [sys.executable, '-c', code, here, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': root},
    )
    first = process.stdout.readline()
    assert 'Listening on' in first
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, '')
    assert out.endswith('Stopped.\n')


def test_what_md5_needs_is_kept_only_while_it_is_on(folder):
    def secrets(*argv):
        with Served('-L', '127.0.0.1:0', *argv, folder) as served:
            assert served.server is not None, served.err.getvalue()
            return served.program.context.options.get('md5')

    login = ('-u', 'alice', '-p', 'secret')
    assert secrets(*login) is None
    secret = {'alice': md5_secret('alice', 'secret')}
    assert secrets('--auth', 'md5', *login) == secret
    assert secrets() == secret, 'it is remembered'
    assert secrets('--auth', 'md5-only') == secret, 'without the password'
    assert state(folder)['auth'] == 'md5-only'
    assert secrets('--auth', 'basic') is None
    assert secrets('--auth', 'md5', '-p', 'secret') == secret
    assert secrets('--no-username') is None


def test_md5_needs_the_password_once(folder):
    with Served('-L', '127.0.0.1:0', '-u', 'alice', '-p', 'secret', folder):
        pass
    for argv, said in (
        (['--auth', 'md5'], 'the password for --username alice is missing'),
        (['--no-username'], None),  # and --auth md5 is remembered for the next user
        (['--auth', 'md5'], '--auth md5 needs --username'),
    ):
        with Served('-L', '127.0.0.1:0', *argv, folder) as served:
            assert (served.server is None) == (said is not None)
        assert (said or '') in served.err.getvalue()
