"""A world of directories, servers and clients: sync-notes over real sockets, in real processes.

::

    world = World(tmp_path)
    server = world.server('s')
    world.write('a', 'one.txt', b'hello')
    world.sync('a', server=server)
    world.same('s', 'a')
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e import processes
from tests.e2e.proxy import Proxy

__all__ = ['Proxy', 'Result', 'Server', 'World', 'show']

COUNTS = (
    'hereAdd',
    'hereMod',
    'hereDel',
    'hereErr',
    'peerAdd',
    'peerMod',
    'peerDel',
    'peerErr',
    'conflicts',
    'merged',
)

_PLAIN = (
    '-d',
    '--describe',
    '-l',
    '--local',
    '--trash',
    '--restore',
    '--check-state',
    '--help',
    '--version',
)


@dataclass
class Result:
    """What a run came to.

    Attributes:
        code: the exit code; negative when a signal ended the process.
        out, err: what was printed.
        stats: the counts of the store ``notes`` by name; empty when there are none.
        data: everything that was printed with ``--json``, one object for each line.
    """

    code: int
    out: str
    err: str
    stats: dict[str, Any] = field(default_factory=dict)
    data: list[Any] = field(default_factory=list)

    @property
    def moved(self) -> dict[str, int]:
        """The counts that are not zero."""
        return {name: self.stats[name] for name in COUNTS if self.stats.get(name)}


class World:
    """Directories below *tmp_path*, and what runs on them. Use it in a ``with``, or close it."""

    def __init__(self, tmp_path: Path | str) -> None:
        self.root = Path(tmp_path)
        self.root.mkdir(parents=True, exist_ok=True)
        self.servers: list[Server] = []
        self.proxies: list[Proxy] = []
        self.environment: dict[str, str] = {'E2E_RETRIES': '0.01,0.02,0.05'}
        self.program: list[str] | None = None  # the command to run instead of forking
        self._count = 0
        self._lock = threading.Lock()
        self._known: set[str] = set()

    # --- directories --------------------------------------------------------------------------

    def path(self, name: str) -> Path:
        """Return the directory called *name*, which is made if needed."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, key: str, body: bytes | str) -> Path:
        """Write a note into the directory *name*, as an editor would that writes in place."""
        path = self.path(name) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body.encode() if isinstance(body, str) else body)
        return path

    def tree(self, name: str) -> dict[str, bytes]:
        """Return relative path → content of all that is in a directory, but for ``.sync``."""
        top = os.fsencode(self.path(name))
        found: dict[str, bytes] = {}
        for folder, folders, files in os.walk(top):
            if folder == top and b'.sync' in folders:
                folders.remove(b'.sync')
            for file in files:
                full = os.path.join(folder, file)
                key = os.fsdecode(os.path.relpath(full, top)).replace(os.sep, '/')
                if os.path.islink(full):
                    found[key] = b'-> ' + os.readlink(full)
                    continue
                with open(full, 'rb') as stream:
                    found[key] = stream.read()
        return found

    def same(self, *names: str) -> dict[str, bytes]:
        """Assert that directories are equal in names and contents; return what they hold."""
        trees = {name: self.tree(name) for name in names}
        first = trees[names[0]]
        lines: list[str] = []
        for key in sorted(set().union(*trees.values())):
            bodies = [trees[name].get(key) for name in names]
            if any(body != bodies[0] for body in bodies):
                lines.append(f'  {key!r}:')
                lines += [f'    {n}: {show(b)}' for n, b in zip(names, bodies, strict=True)]
        assert not lines, 'the trees differ:\n' + '\n'.join(lines)
        return first

    # --- runs ---------------------------------------------------------------------------------

    def start(self, *argv: str, env: Mapping[str, str] | None = None) -> Run:
        """Start sync-notes with these arguments; do not wait for it."""
        with self._lock:
            self._count += 1
            number = self._count
        logs = self.path('.runs')
        where = logs / f'{number:04}'
        return Run(list(argv), self.root, self._environ(env), where, self.program)

    def run(
        self,
        *argv: str,
        code: int | None = 0,
        env: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> Result:
        """Run sync-notes with these arguments, from the directory that holds all the others."""
        return check(self.start(*argv, env=env).wait(timeout), argv, code)

    def begin(
        self,
        name: str,
        *options: str,
        server: Server | str | None = None,
        via: Proxy | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Run:
        """Start to synchronise as :meth:`sync` does, and do not wait."""
        self.path(name)
        argv = [*options, name]
        if not any(option.partition('=')[0] in _PLAIN for option in options):
            argv.insert(0, '--json')
            if server is None and name not in self._known and self.servers:
                server = self.servers[0]
        if server is not None and '--remote' not in options:
            url = server if isinstance(server, str) else server.url
            argv[:0] = ['--remote', url]
            self._known.add(name)
        env = dict(env or {})
        if via is not None:
            env.update(http_proxy=via.url, no_proxy='', NO_PROXY='')
        return self.start(*argv, env=env)

    def sync(
        self,
        name: str,
        *options: str,
        server: Server | str | None = None,
        via: Proxy | None = None,
        code: int | None = 0,
        env: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> Result:
        """Run sync-notes as the client of the directory *name*.

        Args:
            options: what else to say.
            server: the server to name with ``--remote``; the first time, without it, the first
                server of this world is named.
            via: the proxy that all messages take.
            code: the exit code that must come; ``None`` accepts all.
            env: additions to the environment.
        """
        run = self.begin(name, *options, server=server, via=via, env=env)
        return check(run.wait(timeout), run.argv, code)

    def server(self, name: str, *options: str, env: Mapping[str, str] | None = None) -> Server:
        """Serve the directory *name*, over a free port of this machine."""
        self.path(name)
        server = Server(self, name, options, env)
        self.servers.append(server)
        return server

    def proxy(self, server: Server) -> Proxy:
        """Return a way to *server* on which messages can get lost."""
        proxy = Proxy(server.host, server.port)
        self.proxies.append(proxy)
        return proxy

    def _environ(self, env: Mapping[str, str] | None) -> dict[str, str]:
        result = {k: v for k, v in os.environ.items() if not k.lower().endswith('_proxy')}
        home = str(self.path('.home'))
        result.update(HOME=home, XDG_CONFIG_HOME=home, USERPROFILE=home, APPDATA=home)
        result.update(
            PYTHONPATH=processes.ROOT, PYTHON_KEYRING_BACKEND='keyring.backends.null.Keyring'
        )
        result.pop('SYNC_NOTES_PASSWORD', None)
        result.update(self.environment)
        result.update(env or {})
        return result

    # --- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop all that still runs."""
        for server in self.servers:
            server.kill()
        for proxy in self.proxies:
            proxy.close()

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Run:
    """One run of sync-notes, in a process of its own."""

    def __init__(
        self,
        argv: list[str],
        cwd: Path,
        env: dict[str, str],
        log: Path,
        program: list[str] | None = None,
    ) -> None:
        self.argv = argv
        self._out, self._err = log.with_suffix('.out'), log.with_suffix('.err')
        files = str(self._out), str(self._err)
        if program is None:
            self.process = processes.start(argv, str(cwd), env, *files)
        else:
            self.process = processes.start_afresh([*program, *argv], str(cwd), env, *files)

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    @property
    def out(self) -> str:
        """What was printed so far."""
        return _text(self._out)

    @property
    def err(self) -> str:
        """What was printed to the standard error so far."""
        return _text(self._err)

    def kill(self, number: int = getattr(signal, 'SIGKILL', signal.SIGTERM)) -> None:
        """End it at once; harmless when it has ended."""
        self.process.send_signal(number)

    def wait(self, timeout: float = 120) -> Result:
        """Wait until it has ended; return what came of it."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f'{self.argv} has not ended after {timeout} s:\n{self.out}\n{self.err}'
            ) from None
        data, stats = [], {}
        for line in self.out.splitlines():
            if line.startswith('{'):
                with contextlib.suppress(ValueError):
                    data.append(json.loads(line))
        for value in data:
            stats = (value.get('stats') or {}).get('notes', stats)
        return Result(code, self.out, self.err, stats, data)


class Server:
    """``sync-notes --server`` in a process of its own. It goes on at the same address after a
    :meth:`restart`."""  # fmt: skip

    host = '127.0.0.1'

    def __init__(
        self,
        world: World,
        name: str,
        options: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.world = world
        self.name = name
        self.options = options
        self.env = env
        self.port = 0
        self.runs: list[Run] = []
        self.start()

    @property
    def path(self) -> Path:
        """The directory that is served."""
        return self.world.path(self.name)

    @property
    def url(self) -> str:
        """Where it listens."""
        scheme = 'https' if '--tls-cert' in self.options else 'http'
        return f'{scheme}://{self.host}:{self.port}/'

    @property
    def run(self) -> Run:
        """The process, as it runs now or ran last."""
        return self.runs[-1]

    def start(self) -> Server:
        """Start it, and wait until it listens."""
        listen = [] if '--listen' in self.options else ['--listen', f'{self.host}:{self.port}']
        argv = ['--server', *listen, *self.options, self.name]
        self.runs.append(self.world.start(*argv, env=self.env))
        deadline = time.monotonic() + 60
        pause = 0.002
        while True:
            found = re.search(r'https?://[^\s/"]+:(\d+)/', self.run.out)
            if found:
                self.port = int(found[1])
                return self
            if not self.run.running or time.monotonic() > deadline:
                raise AssertionError(f'no server: {self.run.out}\n{self.run.err}')
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def stop(self, timeout: float = 30) -> Result:
        """Ask it to stop (SIGTERM), and wait until it has."""
        self.run.kill(signal.SIGTERM)
        return self.run.wait(timeout)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self.run.running:
            self.run.kill()
            self.run.wait()

    def restart(self) -> Server:
        """Stop it if it runs, and start it again at the same address."""
        if self.run.running:
            self.stop()
        return self.start()

    def log(self) -> str:
        """Return everything that it has printed."""
        return ''.join(run.out + run.err for run in self.runs)


def check(result: Result, argv: Any, code: int | None) -> Result:
    """Return *result*, which must have the exit code *code* unless that is ``None``."""
    shown = f'sync-notes {" ".join(argv)}\n{result.out}\n{result.err}'
    assert 'Traceback' not in result.err, shown
    assert 'internal error' not in result.err, shown
    if code is not None:
        assert result.code == code, f'exit code {result.code} instead of {code}: {shown}'
    return result


def show(body: bytes | None, limit: int = 200) -> str:
    """Return *body* for people."""
    if body is None:
        return '(none)'
    text = repr(body)
    return text if len(text) <= limit else f'{text[:limit]}… ({len(body)} bytes)'


def installed() -> str | None:
    """Return the path of the installed script ``sync-notes``, if it is there."""
    name = 'sync-notes.exe' if os.name == 'nt' else 'sync-notes'
    path = os.path.join(os.path.dirname(sys.executable), name)
    return path if os.path.exists(path) else None


def wait_for(condition: Callable[[], Any], seconds: float = 10) -> Any:
    """Wait until *condition* holds; return what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, 'this has not happened in time'
        time.sleep(0.005)


def _text(path: Path) -> str:
    try:
        return path.read_text('utf-8', 'replace')
    except FileNotFoundError:
        return ''
