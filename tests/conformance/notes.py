"""sync-notes as a server in this process, with a client whose messages are written by hand."""

from __future__ import annotations

import io

from pysyncml.cli.notes import application
from pysyncml.protocol.messages import Add, Item, Location, Meta, Replace
from pysyncml.transport import Response
from tests.sync.phone import Phone

META = Meta(type='text/x-s4j-sifn')


class Notes:
    """A directory served by sync-notes."""

    def __init__(self, directory, *arguments):
        self.directory = directory
        self._application = application(str(directory), '--no-username', *arguments)

    def handle(self, request):
        told = {}
        environ = {
            'REQUEST_METHOD': 'POST',
            'PATH_INFO': '/',
            'CONTENT_TYPE': request.headers['content-type'],
            'CONTENT_LENGTH': str(len(request.body)),
            'SERVER_NAME': 'localhost',
            'SERVER_PORT': '80',
            'wsgi.url_scheme': 'http',
            'wsgi.input': io.BytesIO(request.body),
            'wsgi.errors': io.StringIO(),
        }

        def start(status, headers, error=None):
            told['status'] = int(status.split()[0])
            told['headers'] = {name.lower(): value for name, value in headers}

        body = b''.join(self._application(environ, start))
        return Response(body, told['headers'].get('content-type'), told['status'])

    @property
    def files(self):
        """The notes by name."""
        return {
            str(path.relative_to(self.directory)): path.read_bytes()
            for path in self.directory.rglob('*')
            if path.is_file() and '.sync' not in path.parts
        }

    @property
    def trash(self):
        """The bodies in the trash."""
        found = [p for p in (self.directory / '.sync' / 'trash').rglob('*') if p.is_file()]
        return {path.read_bytes() for path in found}


def phone_of(notes):
    return Phone(notes, uri='notes', ctype=META.type)


def note(luid, name, body='', kind=Add):
    text = f'<note><Subject>{name}</Subject><Body>{body}</Body></note>'
    return kind(meta=META, items=(Item(source=Location(luid), data=text.encode()),))


def new_version(luid, name, body=''):
    return note(luid, name, body, Replace)
