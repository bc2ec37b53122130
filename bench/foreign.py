"""Programs that are more than one process, and what they cost together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.measure import _TICK, NOTES, Cost, Server, _environment


def first_sync(root: Path, notes: Path) -> Cost:
    """Let SyncEvolution's client send all files below *notes* to SyncEvolution's server.

    Its shim against a fault of its client must have been built (``tests/interop/install.sh``).
    """
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from tests.interop.syncevo import Client
    from tests.interop.syncevo import Server as EvoServer

    mine = root / 'client-notes'
    mine.mkdir()
    for number, path in enumerate(sorted(notes.rglob('*.txt'))):
        (mine / str(number)).write_bytes(path.read_bytes())
    device = 'sc-pim-bench'
    server = EvoServer(root / 'server', root / 'server-notes', (device,))
    try:
        client = Client(root / 'client', mine, server.url, device=device)
        assert server.process is not None
        start = time.perf_counter()
        with client.begin('slow') as session:
            pids = [session.process.pid, server.process.pid]
            cost = _watched(pids, lambda: session.process.poll() is not None)
        cost.wall = time.perf_counter() - start
    finally:
        server.kill()
    arrived = sum(len(names) for _, _, names in os.walk(root / 'server-notes'))
    if arrived < len(os.listdir(mine)):
        raise RuntimeError(f'SyncEvolution has synchronised {arrived} notes only: see {root}')
    return cost


def _watched(pids: Sequence[int], ended) -> Cost:
    """Sample /proc until *ended*; return CPU and the largest peak of all processes below *pids*."""
    cpu: dict[int, float] = {}
    peak = 0.0
    before = {pid: _cpu(pid) for pid in _family(pids)}
    while not ended():
        for pid in _family(pids):
            cpu[pid] = max(cpu.get(pid, 0.0), _cpu(pid) - before.get(pid, 0.0))
            peak = max(peak, _resident(pid))
        time.sleep(0.02)
    return Cost(0.0, sum(cpu.values()), peak)


def _family(roots: Sequence[int]) -> list[int]:
    """Return the processes in the sessions (setsid) of *roots*."""
    found = []
    for entry in Path('/proc').iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields and int(fields[3]) in roots:
                found.append(int(entry.name))
    return found


def _stat(pid: int) -> list[str]:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return []


def _cpu(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICK if fields else 0.0


def _resident(pid: int) -> float:
    fields = _stat(pid)
    return int(fields[21]) * 4096 / (1 << 20) if fields else 0.0


@contextmanager
def rsync_daemon(folder: Path) -> Iterator[int]:
    """Let rsync serve *folder* as the module ``tree``; gives the port."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        port: int = listener.getsockname()[1]
    config = folder.parent / 'rsyncd.conf'
    config.write_text(
        f'use chroot = no\n[tree]\npath = {folder}\nread only = no\nuid = root\ngid = root\n'
    )
    argv = ['rsync', '--daemon', '--no-detach', f'--config={config}', f'--port={port}']
    process = subprocess.Popen([*argv, '--address=127.0.0.1'])
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(('127.0.0.1', port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def all_at_once(folders: Sequence[Path], server: Server) -> Cost:
    """Let all *folders* synchronise with *server* at the same time."""
    server.forget_peak()
    before, start = server.cpu, time.perf_counter()
    argv = [*NOTES, '--quiet', '--remote', server.url]
    running = [
        subprocess.Popen([*argv, str(f)], env=_environment(), stderr=subprocess.PIPE)
        for f in folders
    ]
    cost = Cost(0.0, 0.0)
    for process in running:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f'a client ended with {process.returncode}: {said.decode()}')
        cost.cpu += usage.ru_utime + usage.ru_stime
        cost.peak = max(cost.peak, usage.ru_maxrss / 1024)
    cost.wall = time.perf_counter() - start
    cost.server_cpu, cost.server_peak = server.cpu - before, server.peak
    return cost
