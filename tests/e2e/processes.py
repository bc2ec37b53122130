"""Starts runs of sync-notes: forked from a helper process where the system can, else afresh."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).resolve().parents[2])
_SCRIPT = str(Path(__file__).with_name('forkserver.py'))

_helper: ForkServer | None = None
_lock = threading.Lock()


def start(argv: list[str], cwd: str, env: dict[str, str], out: str, err: str) -> Any:
    """Start a run; return something with ``pid``, ``poll``, ``wait`` and ``send_signal``."""
    global _helper
    if not hasattr(os, 'fork'):
        return start_afresh([sys.executable, _SCRIPT, '--run', *argv], cwd, env, out, err)
    with _lock:
        if _helper is None or not _helper.alive:
            _helper = ForkServer()
            atexit.register(_helper.close)
    return _helper.start(argv, cwd, env, out, err)


def start_afresh(command: list[str], cwd: str, env: dict[str, str], out: str, err: str) -> Any:
    """Start *command*, a new program."""
    with open(out, 'ab') as stdout, open(err, 'ab') as stderr:
        return subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
        )


class Forked:
    """A child of the helper process, used like a ``Popen``."""

    def __init__(self) -> None:
        self.pid = 0
        self.code: int | None = None
        self._started = threading.Event()
        self._ended = threading.Event()

    def told(self, answer: dict[str, Any]) -> None:
        """Take in what the helper said."""
        if 'pid' in answer:
            self.pid = answer['pid']
            self._started.set()
        if 'code' in answer:
            self.code = answer['code']
            self._ended.set()

    def poll(self) -> int | None:
        """Return the exit code, ``None`` while it runs."""
        return self.code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit code."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired('sync-notes', timeout or 0)
        assert self.code is not None
        return self.code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        self._started.wait(10)
        if self.code is None and self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class ForkServer:
    """The helper process, see ``forkserver.py``."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, _SCRIPT],
            cwd=ROOT,
            env={**os.environ, 'PYTHONPATH': ROOT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._runs: dict[int, Forked] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def start(self, argv: list[str], cwd: str, env: dict[str, str], out: str, err: str) -> Forked:
        """Fork a run."""
        run = Forked()
        with self._lock:
            number = next(self._numbers)
            self._runs[number] = run
            order = {'id': number, 'argv': argv, 'cwd': cwd, 'env': env, 'out': out, 'err': err}
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order).encode() + b'\n')
            self._process.stdin.flush()
        return run

    def close(self) -> None:
        """End it, and all of its children."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait(10)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            if 'id' in answer:
                run = self._runs[answer['id']]
                run.told(answer)
                if 'code' in answer:
                    del self._runs[answer['id']]
        for run in self._runs.values():  # the helper died: nobody will tell us
            run.told({'code': 70})
