"""SyncEvolution 2.0 as a peer: its command line as a client, its HTTP server as a server.

Everything a device of SyncEvolution keeps lies below a directory of its own (HOME and the XDG
directories), so that any number of them live side by side and leave nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    'Client',
    'Outcome',
    'Server',
    'assert_equal',
    'canonical',
    'notes_in',
]

HERE = Path(__file__).resolve().parent
SHIM = Path(os.environ.get('SYNCEVO_SHIM') or HERE / 'curlfix.so')
MODES = (
    'two-way',
    'slow',
    'one-way-from-local',
    'one-way-from-remote',
    'refresh-from-local',
    'refresh-from-remote',
)
_COMMAND = ('syncevolution', '--daemon=no', '--keyring=no')


# --- comparing ------------------------------------------------------------------------------------


def canonical(body: bytes) -> bytes:
    """Return what SyncEvolution keeps of a text: line ends are CRLF on the wire, and each
    transfer adds one at the end."""
    return body.replace(b'\r\n', b'\n').replace(b'\r', b'\n').rstrip(b'\n')


def notes_in(directory: Path) -> Counter[bytes]:
    """Return the notes of a directory as a multiset of :func:`canonical` contents: SyncEvolution
    gives its own names, numbers, to what it receives."""
    return Counter(
        canonical(path.read_bytes())
        for path in sorted(directory.rglob('*'))
        if path.is_file() and '.sync' not in path.relative_to(directory).parts
    )


def assert_equal(*directories: Path) -> Counter[bytes]:
    """Assert that directories hold the same notes; return them."""
    first, *others = directories
    notes = notes_in(first)
    for other in others:
        found = notes_in(other)
        only_first = [_shown(body) for body in (notes - found).elements()]
        only_other = [_shown(body) for body in (found - notes).elements()]
        assert not only_first and not only_other, (
            f'only in {first}: {only_first[:20]}\nonly in {other}: {only_other[:20]}'
        )
    return notes


def _shown(body: bytes) -> str:
    return f'{body[:60]!r} ({len(body)} bytes)'


# --- sessions -------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What SyncEvolution says of one session.

    Attributes:
        code: the exit code of the command; 0 for sessions of a server.
        status: the SyncML (or SyncEvolution's own, 20000 and more) status of the session.
        mode: ``two-way``, ``slow``, ``refresh-from-remote`` …; ``disabled`` if nothing was
            synchronised.
        moved: what was done, as ``local-added``, ``remote-updated`` … → how many items; here
            "local" is SyncEvolution's own side. Zeroes are left out.
        resumed: whether it went on with a suspended session.
        log: what was printed.
    """

    code: int
    status: int
    mode: str
    moved: dict[str, int] = field(default_factory=dict)
    resumed: bool = False
    log: str = ''


def _outcome(status_file: Path, code: int = 0, log: str = '') -> Outcome:
    pairs = dict(
        line.split(' = ', 1)
        for line in status_file.read_text('utf-8').splitlines()
        if ' = ' in line
    )
    moved = {}
    for key, value in pairs.items():
        found = re.fullmatch(r'source-notes-stat-(\w+-(?:added|updated|removed))-total', key)
        if found and int(value):
            moved[found[1]] = int(value)
    return Outcome(
        code,
        int(pairs.get('status', 0)),
        pairs.get('source-notes-mode', ''),
        moved,
        pairs.get('source-notes-resume') == 'true',
        log,
    )


class _Device:
    """A private place for one installation of SyncEvolution."""

    def __init__(self, root: Path, notes: Path) -> None:
        self.root, self.notes = root, notes
        notes.mkdir(parents=True, exist_ok=True)
        for name in ('home', 'cfg', 'data', 'cache', 'run'):
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / 'run').chmod(0o700)
        self.environment = {
            key: value
            for key, value in os.environ.items()
            if not key.lower().endswith('_proxy')
            and key not in ('DISPLAY', 'WAYLAND_DISPLAY', 'DBUS_SESSION_BUS_ADDRESS')
        } | {
            'HOME': str(root / 'home'),
            'XDG_CONFIG_HOME': str(root / 'cfg'),
            'XDG_DATA_HOME': str(root / 'data'),
            'XDG_CACHE_HOME': str(root / 'cache'),
            'XDG_RUNTIME_DIR': str(root / 'run'),
            'GIO_USE_VFS': 'local',
            'GSETTINGS_BACKEND': 'memory',
            'NO_AT_BRIDGE': '1',
            'LC_ALL': 'C.UTF-8',
        }

    def configure(self, name: str, properties: Mapping[str, object]) -> None:
        """Write the configuration *name*, or change it."""
        words = [f'{key}={value}' for key, value in properties.items()]
        done = subprocess.run(
            [*_COMMAND, '--configure', '--template', 'none', *words, name, 'notes'],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode('utf-8', 'replace')

    def status_files(self) -> list[Path]:
        """Return the reports of all sessions that were not forgotten, the oldest first."""
        found = (self.root / 'cache' / 'syncevolution').glob('*/status.ini')
        return sorted(found, key=lambda path: (path.stat().st_mtime_ns, str(path)))

    def forget_sessions(self) -> None:
        """Remove the reports of earlier sessions; what was learnt in them stays."""
        shutil.rmtree(self.root / 'cache' / 'syncevolution', ignore_errors=True)

    def store(self) -> dict[str, object]:
        """Return the properties of the datastore."""
        return {
            'sync': 'two-way',
            'backend': 'file',
            'database': f'file://{self.notes}',
            'databaseFormat': 'text/plain',
        }

    # notes, as an editor would do it

    def write(self, name: str, body: bytes | str) -> None:
        """Write a note; SyncEvolution tells a change by the time of the file."""
        path = self.notes / name
        path.write_bytes(body.encode() if isinstance(body, str) else body)

    def holding(self, first_line: str) -> Path:
        """Return the file with this first line, whatever its name is."""
        wanted = first_line.encode()
        (found,) = (
            path
            for path in self.notes.iterdir()
            if path.is_file() and path.read_bytes().splitlines()[:1] == [wanted]
        )
        return found


# What a device keeps of the time a session takes: the limits it names, and no dumps of data.
_COMMON: dict[str, object] = {
    'ConsumerReady': 1,
    'loglevel': 1,
    'logdir': '',
    'maxlogdirs': 0,
    'dumpData': 0,
    'printChanges': 0,
    'maxMsgSize': 150000,
    'maxObjSize': 8000000,
}


class Client(_Device):
    """SyncEvolution as a client of the server at *url*.

    Args:
        root: where it keeps its state.
        notes: the directory that it synchronises.
        url: the server.
        wbxml: whether it speaks WBXML; XML else.
        version: ``1.0``, ``1.1`` or ``1.2``.
        username, password: empty for none.
        properties: further properties of its configuration.
    """

    def __init__(
        self,
        root: Path,
        notes: Path,
        url: str,
        *,
        wbxml: bool = False,
        version: str = '1.2',
        username: str = '',
        password: str = '',
        device: str | None = None,
        **properties: object,
    ) -> None:
        super().__init__(root, notes)
        self.device = device or f'sc-pim-{root.name}'
        self.url = url
        self.properties = {
            **_COMMON,
            'syncURL': url,
            'username': username,
            'password': password,
            'deviceId': self.device,
            'clientAuthType': 'md5',
            'enableWBXML': int(wbxml),
            'SyncMLVersion': version,
            'preventSlowSync': 0,
            'enableRefreshSync': 0,
            'RetryInterval': 0,
            'RetryDuration': 60,
            'SSLVerifyServer': 0,
            'SSLVerifyHost': 0,
            'useProxy': 0,
            'uri': 'notes',
            **self.store(),
            **properties,
        }
        self.configure('peer@client', self.properties)

    def change(self, **properties: object) -> None:
        """Change properties of the configuration."""
        self.configure('peer@client', properties)

    @contextlib.contextmanager
    def begin(self, mode: str = 'two-way') -> Iterator[ClientRun]:
        """Start a synchronisation and do not wait for it; it is ended with the ``with``."""
        self.forget_sessions()
        run = ClientRun(self, mode)
        try:
            yield run
        finally:
            _end(run.process)

    def sync(self, mode: str = 'two-way', *, code: int = 0, timeout: float = 120) -> Outcome:
        """Synchronise once, in one of :data:`MODES`, and return what came of it.

        Raises:
            AssertionError: the exit code is another one.
        """
        with self.begin(mode) as run:
            outcome = run.wait(timeout)
        shown = f'syncevolution {mode}: code {outcome.code}, status {outcome.status}\n{outcome.log}'
        assert outcome.code == code, shown
        if code == 0:
            assert outcome.status == 200, shown
        return outcome


class ClientRun:
    """One synchronisation of a :class:`Client`, under way."""

    def __init__(self, client: Client, mode: str) -> None:
        self.client = client
        self.path = client.root / 'run.log'
        with self.path.open('wb') as stream:
            self.process = subprocess.Popen(
                [*_COMMAND, '--run', '--sync', mode, 'peer@client', 'notes'],
                env=client.environment | {'LD_PRELOAD': str(SHIM)},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """What was printed so far."""
        return self.path.read_text('utf-8', 'replace')

    def wait(self, timeout: float = 120) -> Outcome:
        """Wait for the end; return what came of it."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            _end(self.process)
            raise AssertionError(
                f'syncevolution has not ended after {timeout} s:\n{self.log}'
            ) from None
        files = self.client.status_files()
        if not files:
            return Outcome(code, 0, '', {}, False, self.log)
        return _outcome(files[-1], code, self.log)


class Server(_Device):
    """SyncEvolution's HTTP server, on a free port of the loopback.

    Args:
        root: where it keeps its state.
        notes: the directory that is served as the datastore ``notes``.
        devices: the ids of the clients it knows; all others are refused.
        username, password: what clients must log in with; empty for none.
        properties: further properties of the configuration.
    """

    host = '127.0.0.1'

    def __init__(
        self,
        root: Path,
        notes: Path,
        devices: tuple[str, ...],
        *,
        username: str = '',
        password: str = '',
        **properties: object,
    ) -> None:
        super().__init__(root, notes)
        for number, device in enumerate(devices, 1):
            self.configure(
                f'device{number}@server',
                {
                    **_COMMON,
                    'PeerIsClient': 1,
                    'remoteDeviceId': device,
                    'username': username,
                    'password': password,
                    'RetryDuration': 60,
                    'SyncMLVersion': 'REQUESTMAXTIME=0',  # no waits in a thread of its own
                    'uri': 'notes',
                    **self.store(),
                    **properties,
                },
            )
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """What clients are told."""
        return f'http://{self.host}:{self.port}/syncevolution'

    @property
    def log(self) -> str:
        """What was printed since the last start."""
        return (self.root / 'server.log').read_text('utf-8', 'replace')

    def start(self) -> None:
        """Start it, and wait until it listens."""
        inner = (
            '/usr/libexec/syncevo-dbus-server -d unlimited --no-syslog & '
            f'exec /usr/bin/python3 {HERE / "httpd.py"} {self.url}'
        )
        with (self.root / 'server.log').open('wb') as stream:
            self.process = subprocess.Popen(
                ['dbus-run-session', '--', '/bin/sh', '-c', inner],
                env=self.environment,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while 'listening on port' not in self.log:
            assert self.process.poll() is None, f'no server: {self.log}'
            assert time.monotonic() < deadline, f'the server does not listen: {self.log}'
            time.sleep(0.05)

    def kill(self) -> None:
        """End it, and all that it has started, at once."""
        if self.process is not None:
            _end(self.process)

    close = kill

    def settle(self, timeout: float = 10) -> None:
        """Wait until the last session has ended here, too: a client is told all before."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            files = self.status_files()
            if not files or re.search(r'^end = [1-9]', files[-1].read_text(), re.MULTILINE):
                return
            time.sleep(0.02)

    def sessions(self, count: int, timeout: float = 30) -> list[Outcome]:
        """Wait until *count* sessions in which something was to be synchronised have ended;
        return them all, the oldest first."""
        deadline = time.monotonic() + timeout
        while True:
            ended = [
                outcome
                for path in self.status_files()
                if re.search(r'^end = [1-9]', path.read_text('utf-8'), re.MULTILINE)
                and (outcome := _outcome(path)).mode != 'disabled'
            ]
            if len(ended) >= count:
                return ended
            assert time.monotonic() < deadline, f'{len(ended)} sessions only: {self.log}'
            time.sleep(0.05)


def _free_port() -> int:
    with socket.create_server(('127.0.0.1', 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _end(process: subprocess.Popen[Any]) -> None:
    """Kill a process and its group, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
