"""Hostile requests by the thousand to a running server.

``python -m tests.hostile.attack_server COUNT SEED [--login] [--swap]`` starts ``sync-notes
--server``, sends it COUNT mutated messages in the course of sessions that are sound otherwise, and
prints one JSON object: what was answered, how long it took, what the server weighs, and everything
that should not have happened.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
from base64 import b64encode
from collections import Counter
from pathlib import Path
from urllib.parse import quote

from pysyncml.codec import decode
from pysyncml.errors import CodecError, UnknownCodec
from tests.e2e.harness import World
from tests.hostile.grounds import SECRET, Swapper, Traps, lost, make_notes, troubles
from tests.hostile.mutator import Mutator
from tests.hostile.scripts import Client, Device
from tests.hostile.trees import WRITERS, find

CONNECTIONS = 3
CPU = 1.0  # seconds that one request may take
MEGABYTES = 200
TICKS = os.sysconf('SC_CLK_TCK')
LOGIN = ('me', 'word')
OF_HTTP = (400, 413, 414)
SAFE = "/:?=&%+,;@!$'()*~[]"
INTERPRETER = [sys.executable, '-m', 'pysyncml.cli.notes']


class Attack:
    """One server under attack.

    Attributes:
        wrong: everything that should not have happened, with the number of the request.
    """

    def __init__(self, folder: Path, seed: int, login: bool = False, swap: bool = False) -> None:
        self.seed = seed
        self.random = random.Random(f'sessions {seed}')
        self.mutator = Mutator(seed)
        self.world = World(folder)
        self.world.program = INTERPRETER
        self.world.environment['SYNC_NOTES_PASSWORD'] = LOGIN[1]
        self.root = self.world.path('s')
        self.notes = make_notes(self.root)
        for name in ('outside', '.home', '.runs', 'c'):
            self.world.path(name)
        self.parked = self.world.path('parked')
        self.traps = Traps(self.root)
        self.parked.rmdir()
        self.options = ('--username', LOGIN[0]) if login else ()
        self.cred = b64encode(':'.join(LOGIN).encode()).decode() if login else None
        self.server = self.world.server('s', *self.options)
        self.devices = [Device(f'phone-{number}') for number in range(8)]
        self.connections: list[http.client.HTTPConnection] = []
        self.count = self.sessions = self.mutated = 0
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.slowest = 0.0
        self.swapper = Swapper(self.traps) if swap else None

    # --- sending ---

    def post(self, body: bytes, content_type: str, url: str = '/') -> tuple[int, str, bytes]:
        """Send one request over one of the connections, and judge the answer."""
        self.count += 1
        if len(self.connections) < CONNECTIONS:
            self.connections.append(
                http.client.HTTPConnection(self.server.host, self.server.port, timeout=60)
            )
        connection = self.connections[self.count % len(self.connections)]
        headers = {'Content-Type': content_type.encode('latin-1', 'replace')}
        before = self.cpu()
        fresh = connection.sock is None
        while True:
            try:
                # an address that the server has made of what we had said
                connection.request('POST', quote(url, safe=SAFE), body, headers)
                response = connection.getresponse()
                answer = response.read()
                break
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if fresh:
                    self.complain(f'the connection broke: {error!r}', body)
                    return 0, '', b''
                fresh = True  # it rested too long, and the server has closed it
        taken = self.cpu() - before
        self.slowest = max(self.slowest, taken)
        if taken > CPU:
            self.complain(f'{taken:.2f} s for {len(body)} bytes', body)
        kind = response.getheader('Content-Type') or ''
        self.judge(response.status, kind, answer, body)
        return response.status, kind, answer

    def cpu(self) -> float:
        """Return the seconds of CPU that the server has used."""
        try:
            fields = Path(f'/proc/{self.server.run.process.pid}/stat').read_text().split()
        except OSError:
            return 0.0
        return (int(fields[13]) + int(fields[14])) / TICKS

    def judge(self, status: int, kind: str, answer: bytes, body: bytes) -> None:
        self.answers[str(status)] += 1
        if SECRET.encode() in answer or b64encode(SECRET.encode())[:30] in answer:
            self.complain('the answer tells a secret', body)
        if b'Traceback' in answer or b'internal error' in answer or b'has failed' in answer:
            self.complain(f'the answer is a failure: {answer[:300]!r}', body)
        if status == 200:
            try:
                decode(kind, answer)
            except (CodecError, UnknownCodec) as error:
                self.complain(f'the answer is no SyncML: {error}: {answer[:300]!r}', body)
        elif status in OF_HTTP and answer.count(b'\n') == 0 and len(answer) < 200:
            return  # what is no HTTP, or too much of it, the WSGI server answers itself
        elif status == 500 or answer.count(b'\n') != 1 or len(answer) > 500:
            self.complain(f'{status}: {answer[:300]!r}', body)

    def complain(self, text: str, body: bytes = b'') -> None:
        self.wrong.append(f'seed {self.seed}, request {self.count}: {text}')
        place = os.environ.get('HOSTILE_KEEP')
        if place:
            Path(place, f'{self.seed}-{self.count}.bin').write_bytes(body)

    # --- sessions ---

    def session(self) -> None:
        """Lead one session, of which some messages are hostile."""
        self.sessions += 1
        chance = self.random
        device = chance.choice(self.devices)
        version = chance.choice(('1.0', '1.1', '1.2', '1.2', '1.2'))
        encoding = chance.choice(('xml', 'wbxml'))
        client = Client(chance, device, version, encoding, self.cred)
        first = chance.choice((0, 0, 1, 1, 2))  # honest messages at the beginning
        share = chance.choice((1.0, 1.0, 0.5))  # hostile ones among the others
        for number in range(8):
            tree = client.following()
            if tree is None:
                return
            hostile = number >= first and chance.random() < share
            copies = chance.choice((1, 2, 4, 8, 12)) if hostile else 0
            for copy in range(copies):
                self.mutated += 1
                if copy:
                    client.number += 1
                    number_of = find(tree, 'MsgID')
                    number_of.text = str(client.number)
                body = self.mutator.mutate(tree, encoding, version)
                kind = self.mutator.content_type(encoding)
                status, kind, answer = self.post(body, kind, client.url)
                if copies == 1 and chance.random() < 0.5:
                    hostile = self._heard(client, status, kind, answer) is False
            if copies and chance.random() < 0.3:
                continue  # go on as if the hostile one had been the right one
            body = WRITERS[encoding](tree, version)
            status, kind, answer = self.post(body, f'application/vnd.syncml+{encoding}', client.url)
            if self._heard(client, status, kind, answer) is False:
                return

    def _heard(self, client: Client, status: int, kind: str, answer: bytes) -> bool | None:
        if status != 200:
            return False
        try:
            client.answered(decode(kind, answer))
        except (CodecError, UnknownCodec):
            return False
        return None

    def run(self, count: int) -> dict:
        """Send *count* hostile requests; return the report."""
        started = time.monotonic()
        if self.swapper:
            self.swapper.start()
        rounds = 0
        while self.mutated < count and len(self.wrong) < 10:
            self.session()
            if self.sessions % 40 == 0:
                rounds += 1
                self.look()
                self.tidy()
        if self.swapper:
            self.swapper.stop()
        self.look()
        seconds = time.monotonic() - started
        memory, cpu = self.memory(), self.cpu()
        if max(memory.values()) > MEGABYTES:
            self.complain(f'the server weighs {memory} MB')
        database = self.database()
        self.honest()
        self.wrong += self.traps.check()
        return {
            'seed': self.seed,
            'requests': self.count,
            'mutated': self.mutated,
            'sessions': self.sessions,
            'answers': dict(self.answers),
            'seconds': round(seconds, 1),
            'server cpu': cpu,
            'own cpu': time.process_time(),
            'each second': round(self.count / seconds),
            'slowest': self.slowest,
            'memory': memory,
            'database': database,
            'swaps': self.swapper.swaps if self.swapper else 0,
            'log': len(self.server.log()),
            'wrong': self.wrong,
        }

    # --- what must hold ---

    def look(self) -> None:
        """Look for damage."""
        if not self.server.run.running:
            self.complain(f'the server has ended: {self.server.log()[-2000:]}')
            self.server.restart()
        self.wrong += [f'seed {self.seed}, {self.count}: {text}' for text in self.traps.check()]
        if not self.swapper or not self.swapper.is_alive():
            self.wrong += lost(self.root, self.notes)
        log = self.server.log()
        self.wrong += [f'seed {self.seed}, {self.count}: {text}' for text in troubles(log)]
        if SECRET in log:
            self.complain('the log tells a secret')

    def tidy(self) -> None:
        """Do what a user does who finds rubbish: put back what is missing, delete some of it.

        No more than half of all, which would look like a disk that is gone.
        """
        mine = {self.root / name for name in self.notes}
        rubbish = []
        for folder, folders, files in os.walk(self.root):
            if '.sync' in folders:
                folders.remove('.sync')
            rubbish += [path for name in files if (path := Path(folder, name)) not in mine]
        rubbish = [path for path in rubbish if not path.is_symlink() and 'swap' not in path.parts]
        for path in rubbish[: max(0, len(rubbish) // 2 - 5)]:
            path.unlink()
        for name, text in self.notes.items():
            path = self.root / name
            try:
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text)
            except OSError:
                continue  # something of that name is in the way

    def memory(self) -> dict[str, float]:
        """Return what the server weighs now and weighed at most, in MB."""
        text = Path(f'/proc/{self.server.run.process.pid}/status').read_text()
        return {
            word: round(int(re.search(rf'{name}:\s+(\d+)', text)[1]) / 1024, 1)
            for word, name in (('now', 'VmRSS'), ('peak', 'VmHWM'))
        }

    def database(self) -> float:
        """Return the size of the state database in MB."""
        files = self.root.joinpath('.sync').glob('state.db*')
        return round(sum(path.stat().st_size for path in files) / 1e6, 1)

    def honest(self) -> None:
        """A client of our own comes, and must be served as if nothing had been."""
        login = self.options
        self.world.write('c', 'mine.txt', 'my own')
        result = self.world.sync('c', *login, server=self.server, code=None)
        again = self.world.sync('c', *login, server=self.server, code=None)
        if result.code or again.code or again.moved:
            self.complain(f'an honest client: {result.code} {again.code} {again.moved} {result.err}'
                          f'{result.out[-600:]} {again.err} {again.out[-600:]}')  # fmt: skip
        trees = []
        for name in ('s', 'c'):
            tree = self.world.tree(name)
            trees.append({key: body for key, body in tree.items() if not body.startswith(b'-> ')})
        if trees[0] != trees[1]:
            differ = {key for key in trees[0].keys() | trees[1].keys()
                      if trees[0].get(key) != trees[1].get(key)}  # fmt: skip
            self.complain(f'the trees differ: {sorted(differ)[:9]}')

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        self.world.close()


def attack(count: int, seed: int, **how: bool) -> dict:
    """Attack a server of its own with *count* hostile requests; return the report."""
    shared = '/dev/shm' if os.path.isdir('/dev/shm') else None
    folder = Path(tempfile.mkdtemp(prefix='hostile-', dir=shared))
    try:
        one = Attack(folder, seed, **how)
        try:
            return one.run(count)
        finally:
            one.close()
    finally:
        if 'HOSTILE_KEEP' not in os.environ:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == '__main__':
    flags = {flag.removeprefix('--'): True for flag in sys.argv[3:]}
    print(json.dumps(attack(int(sys.argv[1]), int(sys.argv[2]), **flags), indent=1))
