"""Running processes, and what they cost: wall seconds, CPU seconds, peak memory."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PYTHON = sys.executable
NOTES = [PYTHON, '-m', 'pysyncml.cli.notes']
_TICK = os.sysconf('SC_CLK_TCK') if hasattr(os, 'sysconf') else 100


@dataclass
class Cost:
    """What something cost: seconds of wall time and of CPU (user and system), MB at the peak."""

    wall: float
    cpu: float
    peak: float = 0.0
    server_cpu: float = 0.0
    server_peak: float = 0.0

    @property
    def both(self) -> float:
        """CPU seconds of client and server together."""
        return self.cpu + self.server_cpu


def run(argv: Sequence[str], cwd: Path | None = None, ok: Sequence[int] = (0,)) -> Cost:
    """Run a program to its end and return its cost, that of all its children included.

    Raises:
        RuntimeError: its exit code is not one of *ok*.
    """
    with tempfile.TemporaryFile() as out:
        start = time.perf_counter()
        process = subprocess.Popen(argv, cwd=cwd, stdout=out, stderr=out, env=_environment())
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = code = os.waitstatus_to_exitcode(status)
        if code not in ok:
            out.seek(0)
            said = out.read().decode(errors='replace')[-2000:]
            raise RuntimeError(f'{" ".join(argv)} ended with {code}:\n{said}')
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


class Server:
    """``sync-notes --server`` on a directory, and what it costs while others talk to it."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.log = tempfile.TemporaryFile('w+')  # noqa: SIM115 - it lives as long as we do
        argv = [*NOTES, '--server', '--listen', '127.0.0.1:0', *options, str(directory)]
        self.process = subprocess.Popen(
            argv, stdout=self.log, stderr=self.log, env=_environment(), text=True
        )
        self.url = self._wait()

    def _wait(self) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            self.log.seek(0)
            found = re.search(r'https?://\S+', self.log.read())
            if found:
                return found[0]
            time.sleep(0.02)
        raise RuntimeError('the server has not started')

    @property
    def cpu(self) -> float:
        """CPU seconds so far."""
        stat = Path(f'/proc/{self.process.pid}/stat').read_text()
        fields = stat.rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    @property
    def peak(self) -> float:
        """MB at the peak since :meth:`forget_peak`."""
        status = Path(f'/proc/{self.process.pid}/status').read_text()
        found = re.search(r'VmHWM:\s*(\d+)', status)
        return int(found[1]) / 1024 if found else 0.0

    def forget_peak(self) -> None:
        """Measure the peak anew from here (Linux)."""
        with contextlib.suppress(OSError):
            Path(f'/proc/{self.process.pid}/clear_refs').write_text('5')

    def stop(self) -> None:
        """Ask it to stop, and wait."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.log.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def sync(directory: Path, server: Server, *options: str) -> Cost:
    """Synchronise *directory* with *server*; return what that cost on both sides."""
    server.forget_peak()
    before = server.cpu
    cost = run([*NOTES, '--quiet', '--remote', server.url, *options, str(directory)])
    cost.server_cpu = server.cpu - before
    cost.server_peak = server.peak
    return cost


def moved(directory: Path, server: Server) -> int:
    """Synchronise, and return how many items travelled; for making sure that none do."""
    argv = [*NOTES, '--json', '--remote', server.url, str(directory)]
    out = subprocess.run(argv, capture_output=True, text=True, env=_environment(), check=True)
    stats = json.loads(out.stdout.splitlines()[-1])['stats']['notes']
    return sum(stats[name] for name in stats if re.fullmatch(r'(here|peer)(Add|Mod|Del)', name))


def rest_disk() -> None:
    """See that what was written before does not cost what is measured now."""
    if hasattr(os, 'sync'):
        os.sync()


def compiled() -> None:
    """Compile our modules to bytecode, as installing them would have done."""
    root = Path(__file__).resolve().parent.parent
    run([PYTHON, '-m', 'compileall', '-q', str(root / 'pysyncml')])


def _environment() -> dict[str, str]:
    values = {k: v for k, v in os.environ.items() if not k.lower().endswith('_proxy')}
    # what developers like to set would have our modules, and nobody else's, compiled at each start
    values.pop('PYTHONDONTWRITEBYTECODE', None)
    values['PYTHON_KEYRING_BACKEND'] = 'keyring.backends.null.Keyring'
    root = str(Path(__file__).resolve().parent.parent)
    values['PYTHONPATH'] = root
    return values
