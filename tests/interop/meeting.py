"""A world in which sync-notes meets SyncEvolution."""

from __future__ import annotations

import itertools
import json
import os
import sys

import pytest

from pysyncml.codec import decode, encode
from pysyncml.protocol.messages import Header, Location, Message, Status
from tests.e2e.harness import World, check, installed, wait_for
from tests.e2e.proxy import Proxy
from tests.interop import syncevo

ENCODINGS = pytest.mark.parametrize('wbxml', [False, True], ids=['xml', 'wbxml'])

# Texts that go wrong easily, by a word for them. SyncEvolution looks at the first line, so these
# are all different.
ODD = {
    'markup': 'markup\n<a href="&amp;">]]> ]]]]>> <![CDATA[ x ]]>\n',
    'signs': 'signs\näöüß ₤ 日本語 🎈 e\u0301\n',
    'blanks': 'blanks  \n  leading, trailing  \n\ttabs\t\n\n\nempty lines\n',
    'no end': 'no end\nlast line without an end',
    'dos': 'dos\r\nline ends\r\n',
    'one': 'x',
    'control': 'control\nbell \x07 escape \x1b[1m form feed \x0c\n',
    'title  with trailing blanks ': 'title  with trailing blanks \n',
}


class Meeting(World):
    """A world in which sync-notes, run as people run it, meets SyncEvolution."""

    def __init__(self, tmp_path) -> None:
        super().__init__(tmp_path)
        script = installed()
        self.program = [script] if script else [sys.executable, '-m', 'pysyncml.cli.notes']
        self.foreign: list[syncevo.Server] = []

    def foreign_client(self, name, server, **options) -> syncevo.Client:
        """Return SyncEvolution as a client of *server*, a server of this world."""
        root = options.pop('root', self.root / f'.syncevo-{name}')
        return syncevo.Client(root, self.path(name), server.url, device=f'sc-{name}', **options)

    def foreign_server(self, name, *devices, **options) -> syncevo.Server:
        """Return SyncEvolution as a server for *devices*."""
        server = syncevo.Server(self.root / f'.syncevo-{name}', self.path(name), devices, **options)
        self.foreign.append(server)
        return server

    def gate(self, server, version) -> Gate:
        """Return a way to the foreign *server* on which only one *version* of SyncML passes."""
        gate = Gate('127.0.0.1', server.port, version)
        self.proxies.append(gate)
        return gate

    def login(self, name) -> list[str]:
        """Return options that make *name* known to a server, or log in as *name*."""
        file = self.root / f'.password-{name}'
        file.write_text(f'secret of {name}\n')
        file.chmod(0o600)
        return ['--username', name, '--password-file', str(file)]

    def close(self) -> None:
        for server in self.foreign:
            server.kill()
        super().close()


class Ours:
    """A directory of ours as a client of SyncEvolution's *server*."""

    def __init__(self, meeting, server, name='c', *, wbxml=False, login=False):
        self.meeting, self.server, self.name = meeting, server, name
        self.notes = meeting.path(name)
        self.first = ['--id', f'ours-{name}', '--remote', server.url]
        if wbxml:
            self.first += ['--encoding', 'wbxml']
        if login:
            self.first += meeting.login('me')

    def begin(self, *options, via=None):
        """Start to synchronise; return the run."""
        first, self.first = self.first, []
        return self.meeting.begin(self.name, *first, *options, via=via)

    def sync(self, *options, code=0, via=None):
        """Synchronise once; return the result."""
        run = self.begin(*options, via=via)
        result = check(run.wait(120), run.argv, code)
        if result.code == 0:
            self.server.settle()
        return result

    def write(self, name, body):
        self.meeting.write(self.name, name, body)

    def holding(self, first_line):
        """Return the file with this first line."""
        (found,) = (
            path
            for path in self.notes.iterdir()
            if path.is_file() and path.read_bytes().splitlines()[:1] == [first_line.encode()]
        )
        return found


class Gate(Proxy):
    """A proxy that makes a server one of a certain *version* of SyncML, which refuses others.

    SyncEvolution's server takes them all, so a client would never come to speak an older one.
    ``refused`` are the versions that were refused, in order.
    """

    def __init__(self, host, port, version) -> None:
        self.version, self.refused = version, []
        super().__init__(host, port)

    def _ask(self, request, wait=True):
        head, _, body = request.partition(b'\r\n\r\n')
        kind = 'wbxml' if b'+wbxml' in head.lower() else 'xml'
        header = decode(f'application/vnd.syncml+{kind}', body).header
        if header.version == self.version:
            return super()._ask(request, wait)
        self.refused.append(header.version)
        status = Status(
            cmd_id='1',
            msg_ref=header.msg_id,
            cmd_ref='0',
            cmd='SyncHdr',
            target_refs=(header.target.uri,),
            source_refs=(header.source.uri,),
            code=513,
        )
        answer = Header(
            version=header.version,
            dtd_version=header.version,
            session_id=header.session_id,
            msg_id='1',
            target=Location(header.source.uri),
            source=Location(header.target.uri),
        )
        content_type, data = encode(Message(header=answer, commands=(status,), final=True), kind)
        top = f'HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(data)}'
        return f'{top}\r\n\r\n'.encode() + data


def sessions(server, count, timeout=20) -> list[dict]:
    """Wait until our *server*, started with ``--json``, has told of *count* sessions; return what
    it told of them."""

    def ended():
        lines = [json.loads(line) for line in server.log().splitlines() if line.startswith('{')]
        found = [line for line in lines if line['event'] == 'session']
        return found if len(found) >= count else None

    return wait_for(ended, timeout)


def text(size, title):
    """Return a text of *size* bytes, with *title* in its first line, that does not compress."""
    lines = itertools.count()
    body = title + '\n'
    parts = [body]
    length = len(body)
    while length < size:
        line = f'{next(lines):08} {os.urandom(30).hex()}\n'
        parts.append(line)
        length += len(line)
    return ''.join(parts)[: size - 1] + '\n'
