"""Hostile answers by the thousand to a real client.

``python -m tests.hostile.attack_client COUNT SEED [--swap]`` lets ``sync-notes`` synchronise a
directory, again and again, with a server that answers as it likes, until COUNT mutated answers were
given. All of it runs in this process: the engine, the agent and the directory are the real ones,
only the connection is not. Every now and then a server of our own answers instead. Prints one JSON
object: what came of it, and everything that should not have happened.
"""

from __future__ import annotations

import gc
import io
import json
import logging
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from pysyncml import conversation
from pysyncml.cli import client
from pysyncml.cli.logs import LogFormatter
from pysyncml.cli.notes import NotesEngine
from pysyncml.codec import decode
from pysyncml.errors import HTTPStatus, TransportError
from pysyncml.transport import Request, Response
from tests.hostile.grounds import Swapper, Traps, lost, make_notes, troubles
from tests.hostile.mutator import Mutator
from tests.hostile.scripts import Server
from tests.hostile.trees import WRITERS

URL = 'http://127.0.0.1:9/'
SESSIONS = 100  # hostile ones on one directory, before an honest one
MOST = 25  # answers in one session
CPU = 1.0  # seconds that one answer may take the client
MEGABYTES = 200
MODES = ['sync'] * 8 + ['full', 'pull', 'push', 'pull-over', 'push-over']


def _peak() -> float:
    """Return what this process weighed at most, in MB.

    getrusage would count what its parent weighed when it was forked.
    """
    try:
        status = Path('/proc/self/status').read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.partition('VmHWM:')[2].split()[0]) / 1024


class HostileServer:
    """Answers one session: soundly at first, and as it likes from some message on."""

    def __init__(self, chance: random.Random, mutator: Mutator, luids: list[str]) -> None:
        self.random = chance
        self.mutator = mutator
        self.script = Server(chance, '1.2', 'xml', luids)
        self.first = chance.choice((0, 1, 1, 1, 2, 3))
        self.share = chance.choice((1.0, 1.0, 0.8))
        self.count = self.mutated = 0
        self.slowest = 0.0
        self._since: float | None = None

    def exchange(self, request: Request) -> Response:
        self._measure()
        self.count += 1
        if self.count > MOST:
            raise TransportError('The connection was closed.')
        try:
            return self._answer(request)
        finally:
            self._since = time.process_time()

    def _measure(self) -> None:
        if self._since is not None:
            self.slowest = max(self.slowest, time.process_time() - self._since)
            self._since = None

    def close(self) -> None:
        self._measure()

    def _answer(self, request: Request) -> Response:
        message = decode(request.content_type, request.body)
        encoding = 'xml' if 'xml' in request.content_type.replace('wbxml', '') else 'wbxml'
        tree = self.script.answer(message)
        if self.count <= self.first or self.random.random() > self.share:
            body = WRITERS[encoding](tree, self.script.version)
            return Response(body, f'application/vnd.syncml+{encoding}')
        self.mutated += 1
        if self.random.random() < 0.01:
            code = self.random.choice((301, 400, 401, 404, 413, 415, 417, 500, 502, 503))
            raise HTTPStatus(f'The peer answered with HTTP {code}.', code)
        body = self.mutator.mutate(tree, encoding, self.script.version)
        return Response(body, self.mutator.content_type(encoding))


class Honest:
    """The way to a server of our own in this process."""

    def __init__(self, app) -> None:
        self.app = app

    def exchange(self, request: Request) -> Response:
        said: list = []
        environ = {
            'REQUEST_METHOD': 'POST', 'CONTENT_TYPE': request.content_type,
            'CONTENT_LENGTH': str(len(request.body)), 'wsgi.input': io.BytesIO(request.body),
            'HTTP_HOST': '127.0.0.1:9', 'wsgi.url_scheme': 'http',
            'PATH_INFO': '/', 'QUERY_STRING': request.url.partition('?')[2],
        }  # fmt: skip
        body = b''.join(self.app(environ, lambda status, headers: said.append((status, headers))))
        code = int(said[0][0][:3])
        if code != 200:
            raise HTTPStatus(f'The peer answered with HTTP {code}: {body!r}', code)
        return Response(body, dict(said[0][1])['Content-Type'])

    def close(self) -> None:
        """Nothing is to be closed."""


class Engine(NotesEngine):
    """sync-notes with another connection."""

    transport = None

    def makeTransport(self):
        return self.transport


class Attack:
    """One process under attack.

    Attributes:
        wrong: everything that should not have happened, with the number of the answer.
    """

    def __init__(self, folder: Path, seed: int, swap: bool = False) -> None:
        self.folder = folder
        self.seed = seed
        self.random = random.Random(f'answers {seed}')
        self.mutator = Mutator(seed)
        self.swap = swap
        self.count = self.mutated = self.sessions = self.episodes = self.swaps = 0
        self.codes: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.slowest = self.slowest_honest = 0.0
        self.database = 0.0
        self.log = io.StringIO()
        logging.getLogger().addHandler(self._handler())

    def _handler(self) -> logging.Handler:
        handler = logging.StreamHandler(self.log)
        handler.setFormatter(LogFormatter())
        handler.setLevel(logging.WARNING)
        return handler

    def complain(self, text: str) -> None:
        self.wrong.append(f'seed {self.seed}, answer {self.count}, session {self.sessions}: {text}')

    def run(self, count: int) -> dict:
        """Go on until *count* mutated answers were given; return the report."""
        started = time.monotonic()
        gc.disable()  # it is done after each directory
        while self.mutated < count and len(self.wrong) < 10:
            self.episode(count)
            gc.collect()
        peak = _peak()
        if peak > MEGABYTES:
            self.complain(f'the client weighed {peak:.0f} MB')
        seconds = time.monotonic() - started
        return {
            'seed': self.seed,
            'answers': self.count,
            'mutated': self.mutated,
            'sessions': self.sessions,
            'directories': self.episodes,
            'exit codes': dict(self.codes),
            'seconds': round(seconds, 1),
            'cpu': round(time.process_time(), 1),
            'each second': round(self.count / seconds),
            'slowest': round(self.slowest, 2),
            'memory': round(peak, 1),
            'database': self.database,
            'swaps': self.swaps,
            'wrong': self.wrong,
        }

    # --- one directory ---

    def episode(self, count: int) -> None:
        """Let a new directory be synchronised with hostile servers, then with an honest one."""
        self.episodes += 1
        wrong = len(self.wrong)
        place = self.folder / f'{self.episodes}'
        root = place / 'c'
        root.mkdir(parents=True)
        notes = make_notes(root, self.random.choice((3, 3, 3, 3, 3, 25)))
        for name in ('parked', 's', '.state'):
            (place / name).mkdir()
        traps = Traps(root)
        (place / 'parked').rmdir()
        swapper = Swapper(traps) if self.swap else None
        if swapper:
            swapper.start()
        engine = Engine().configure(['--quiet', '--remote', URL, str(root)])
        luids: list[str] = []
        try:
            for _ in range(SESSIONS):
                self.session(engine, root, luids, guarded=swapper is None)
                if self.mutated >= count or len(self.wrong) > wrong:
                    break
            if swapper:
                swapper.stop()
                self.swaps += swapper.swaps
                swapper = None
            self.wrong += [f'seed {self.seed}, {self.count}: {text}' for text in traps.check()]
            if not self.swap:
                self.wrong += [f'seed {self.seed}, {self.count}: {t}' for t in lost(root, notes)]
            self.honest(engine, place)
        finally:
            if swapper:
                swapper.stop()
            engine._finish()
        files = root.joinpath('.sync').glob('state.db*')
        self.database = max(self.database, sum(path.stat().st_size for path in files) / 1e6)
        self.wrong += [f'seed {self.seed}, {self.count}: {text}' for text in traps.check()]
        if 'HOSTILE_KEEP' not in os.environ:
            shutil.rmtree(place)

    def session(self, engine: Engine, root: Path, luids: list[str], guarded: bool) -> None:
        """Let the client have one session with a hostile server."""
        self.sessions += 1
        engine.transport = server = HostileServer(self.random, self.mutator, luids[-60:])
        server.script.luids = luids
        mode = self.random.choice(MODES)
        before = sum(1 for _ in _notes(root))
        code, said = self.sync(engine, mode)
        self.codes[code] += 1
        self.count += server.count
        self.mutated += server.mutated
        self.slowest = max(self.slowest, server.slowest)
        if server.slowest > CPU:
            self.complain(f'{server.slowest:.2f} s for one answer')
        after = sum(1 for _ in _notes(root))
        if guarded and mode != 'pull-over' and before - after > max(10, before // 2):
            self.complain(f'{before - after} of {before} notes were deleted in mode {mode}')
        for text in troubles(said):
            self.complain(text)
        if any(len(line) > 20_000 for line in said.splitlines()):
            self.complain('a line of 20,000 characters for people')

    def sync(self, engine: Engine, mode: str) -> tuple[int, str]:
        """Run the client once, as its command line would; return exit code and output."""
        self.log.seek(0)
        self.log.truncate()
        engine.stdout, engine.stderr = out, err = io.StringIO(), io.StringIO()
        engine.options.mode = mode
        engine.options.allowDeletions = False
        try:
            code = client.run(engine)
        except BaseException as error:
            code = engine._failed(error, err)
        return int(code), out.getvalue() + err.getvalue() + self.log.getvalue()

    def honest(self, engine: Engine, place: Path) -> None:
        """Let the client meet an honest server under the same address."""
        make_note = place / 's' / 'theirs.txt'
        make_note.write_text('a note of the server')
        server = NotesEngine().configure(['--quiet', '--server', str(place / 's')])
        engine.transport = Honest(server.wsgi())
        for turn in (1, 2):
            code, said = self.sync(engine, 'sync')
            if code or troubles(said):
                self.complain(f'honest session {turn}: exit code {code}: {said[-1500:]}')
        server._finish()
        # names need not be equal: a server that has taken plain text only was sent no names
        trees = [Counter(body for _, body in _notes(place / name)) for name in ('c', 's')]
        if trees[0] != trees[1]:
            differ = (trees[0] - trees[1]) + (trees[1] - trees[0])
            self.complain(f'the trees differ: {sorted(differ)[:9]}')


def _notes(root: Path):
    """Yield (name, content) of all notes in *root*."""
    for folder, folders, files in os.walk(root):
        if '.sync' in folders:
            folders.remove('.sync')
        for name in files:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                try:
                    with open(path, 'rb') as stream:
                        yield os.path.relpath(path, root), stream.read()
                except (FileNotFoundError, IsADirectoryError):
                    continue  # somebody exchanges folders and files just now


def attack(count: int, seed: int, **how: bool) -> dict:
    """Attack a client with *count* hostile answers; return the report."""
    conversation.RETRIES = (0.0, 0.0)
    conversation.BUSY_PAUSE = 0.0
    shared = '/dev/shm' if os.path.isdir('/dev/shm') else None
    folder = Path(tempfile.mkdtemp(prefix='hostile-', dir=shared))
    try:
        return Attack(folder, seed, **how).run(count)
    finally:
        if 'HOSTILE_KEEP' not in os.environ:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == '__main__':
    flags = {flag.removeprefix('--'): True for flag in sys.argv[3:]}
    print(json.dumps(attack(int(sys.argv[1]), int(sys.argv[2]), **flags), indent=1))
