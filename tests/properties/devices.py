"""Three clients and a server: sync-notes as it is, each on a directory of its own.

Everything is real but for the network, the clock, and the boundaries of processes: a run of a
client goes from its arguments to its exit code, and messages go as bytes through the server's
WSGI application. What depends on nothing but the program is made once and used again (compiled
SQL, the classes of its tables, an empty state database), so that a run takes some ten
milliseconds.
"""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event

import pysyncml
from pysyncml.cli import model as models
from pysyncml.cli.notes import NotesEngine
from pysyncml.cli.notes.agent import NotesAgent
from pysyncml.cli.notes.index import make_models
from pysyncml.errors import ConnectFailed, HTTPStatus
from pysyncml.state.database import _begin_sqlite
from pysyncml.transport import Request, Response
from tests.e2e.harness import COUNTS
from tests.e2e.in_process import ask
from tests.properties.processes import Killed, Process, acting, step

CLIENTS = ('a', 'b', 'c')
SERVER = 's'
PLACES = (SERVER, *CLIENTS)

START = 1_772_000_000.0  # seconds since 1970, in February 2026

_engines: dict[str, Engine] = {}
_templates: dict[tuple[str, bool], Path] = {}

#: what is on all devices that have been in use
NOTES = {
    'todo': b'<t00001>\nline 1\nline 2\nline 3\nline 4\n',
    'sub/list.txt': b'line 0\n<t00002>\nline 2\nline 3\n',
    '\u00e9.txt': b'\0<t00003>',
}


def _database(path: str) -> Engine:
    """Return the engine for the database at *path*, with what SQLAlchemy has compiled before."""
    if path not in _engines:
        engine = _engines[path] = create_engine(f'sqlite:///{path}')
        event.listen(engine, 'connect', _set_up)
        event.listen(engine, 'begin', _begin_sqlite)
        event.listen(engine, 'commit', lambda _connection: step('commit'))
    return _engines[path]


def forget_templates() -> None:
    """The folder they were kept in is gone."""
    _templates.clear()


def _close_databases() -> None:
    for engine in _engines.values():
        engine.dispose()


def _set_up(connection: sqlite3.Connection, _record: Any) -> None:
    # as in earnest, but that nobody cuts the power here: what is written need not last
    connection.isolation_level = None
    for pragma in ('journal_mode=MEMORY', 'synchronous=OFF', 'foreign_keys=ON'):
        connection.execute(f'PRAGMA {pragma}')


class _Context(pysyncml.Context):
    """A context whose devices differ in what a message may have."""

    def __init__(self, place: Place, **values: Any) -> None:
        super().__init__(**values)
        self._place = place

    def close(self) -> None:
        """Keep the connection for whoever comes next: there is nothing in it."""

    def Adapter(self, **values: Any) -> Any:
        return super().Adapter(maxMsgSize=self._place.message_size, **values)


class Notes(NotesEngine):
    """sync-notes on one place.

    Args:
        place: where it works.
        carrier: what carries the messages of a client.
    """

    _model: Any = None
    _session: Callable[[], Any] = staticmethod(lambda: None)

    def __init__(self, place: Place, carrier: Any = None) -> None:
        super().__init__()
        self.at = place
        self.carrier = carrier
        self.adapter: Any = None

    def makeContext(self, storage: Any, directory: str | None) -> Any:
        path = storage.removeprefix('sqlite:///')
        return _Context(self.at, engine=_database(path), clock=self.at.clock)

    def makeTransport(self) -> Any:
        return self.carrier

    def _open_model(self) -> None:
        # as it is done in earnest, but that the classes are made once only
        if Notes._model is None:
            Notes._model = models.makeModel(lambda: Notes._session())
            make_models(Notes._model)
        Notes._session = staticmethod(lambda: self.dbsession)
        self.model = Notes._model
        if self.agent is None:
            self.agent = NotesAgent(self)
        if not self.at.has_tables:
            with self.context.work() as work:
                self.model.create_tables(work.connection)

    @pysyncml.cli.hook('adapter.create.peer')
    def set_version(self, context: Any, adapter: Any, peer: Any) -> None:
        """Let devices differ in the version they speak."""
        peer.version = self.at.version

    @pysyncml.cli.hook('sync.start')
    def keep_adapter(self, adapter: Any, mode: Any) -> None:
        """Make it possible to put the session off."""
        self.adapter = adapter


@dataclass
class Result:
    """What a run came to: its exit code (-9: killed), what it printed, what it counted."""

    code: int
    out: str = ''
    err: str = ''
    stats: dict[str, Any] = field(default_factory=dict)

    @property
    def moved(self) -> dict[str, int]:
        """The counts that are not zero."""
        return {name: self.stats[name] for name in COUNTS if self.stats.get(name)}


class Place:
    """A device with its directory.

    Attributes:
        offset: by how many seconds its clock is wrong.
        deaths: after how many steps the next processes here die.
    """

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.path = world.root / name
        self.state = self.path / '.sync'
        self.offset = 0.0
        self.deaths: list[int] = []
        self.version: str | None = None
        self.encoding = 'xml'
        self.message_size: int | None = None
        self.has_tables = False
        self.set_up()

    def set_up(self) -> None:
        """Make the directory, and the state of a program that was started there once."""
        kept = _templates.get((self.name, self.world.used))
        if kept is not None:
            shutil.copytree(kept, self.path)
            self.has_tables = True
            return
        self.path.mkdir(parents=True)
        engine = Notes(self)
        role = ['--server'] if self.name == SERVER else ['--remote', 'http://s/']
        engine.configure(['-i', f'dev-{self.name}', '--name', self.name, *role, str(self.path)])
        engine._finish()
        self.has_tables = True

    def clock(self) -> float:
        """Return the time as it is known here, in seconds since 1970."""
        return max(self.world.now + self.offset, 0.0)

    def process(self) -> Process:
        """Return the next process that is started here."""
        return Process(self.name, self.deaths.pop(0) if self.deaths else None)

    def tree(self) -> dict[str, bytes]:
        """Return relative path → content of all notes."""
        return _tree(self.path, '.sync')

    def trash(self) -> dict[str, bytes]:
        """Return relative path → content of what is in the trash."""
        return _tree(self.state / 'trash', None)

    def leftovers(self) -> list[str]:
        """Return what is left in the state folder of work that was begun."""
        found = [
            f'{folder}/{name}'
            for folder in ('staged', 'aside')
            if (self.state / folder).exists()
            for name in os.listdir(self.state / folder)
        ]
        with sqlite3.connect(self.state / 'state.db') as database:
            found += [
                f'journal: {row[0]}'
                for row in database.execute('SELECT line FROM pysyncml_journal')
            ]
        database.close()
        return found


class Server(Place):
    """The server: it stays started until it is stopped, or dies."""

    policy = 'keep-both'

    def __init__(self, world: World, name: str) -> None:
        self.engine: Notes | None = None
        super().__init__(world, name)

    def start(self) -> None:
        """Start it; see :meth:`handle`."""
        self.running = self.process()
        self.engine = engine = Notes(self)
        engine.stdout = io.StringIO()
        with self.mortal(), acting(self.running):
            engine.configure(
                [
                    '--server',
                    '--quiet',
                    '--allow-deletions',
                    '--policy',
                    self.policy,
                    str(self.path),
                ]
            )
            self.app = engine.wsgi()

    def stop(self) -> None:
        """End it."""
        engine, self.engine = self.engine, None
        if engine is not None:
            with acting(None):
                engine._finish()

    def mortal(self) -> Any:
        return _Mortal(self)

    def handle(self, request: Request) -> Response:
        """Return the answer to *request*. If the server is down, somebody starts it."""
        if self.engine is None:
            self.start()
        assert self.engine is not None
        with self.mortal(), acting(self.running):
            step('a request has come')
            response = ask(self.app, request)
            step('an answer is to go')
        if response.status != 200:
            raise HTTPStatus(f'HTTP {response.status}: {response.body!r}', response.status)
        return response


class _Mortal:
    """When the server is killed, those who talk to it see a connection that breaks off."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Killed):
            self.server.world.diary.append(f's: KILLED {error}')
            self.server.stop()
            raise ConnectFailed('the connection was reset')


class World:
    """All places. Messages are carried by whatever is given to :meth:`sync`."""

    def __init__(self, root: Path, *, used: bool = False) -> None:
        self.root = root
        self.used = used
        shutil.rmtree(root, ignore_errors=True)
        self.now = START
        self.diary: list[str] = []
        self.errors = _Errors()
        self.server = Server(self, SERVER)
        self.places: dict[str, Place] = {SERVER: self.server}
        self.places.update((name, Place(self, name)) for name in CLIENTS)
        logging.getLogger('pysyncml').addHandler(self.errors)
        if (SERVER, used) not in _templates:
            self._keep()

    def _keep(self) -> None:
        """Keep all directories as they are to be at the beginning of other worlds, too."""
        if self.used:
            for key, body in NOTES.items():
                path = self.server.path / key
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(body)
            for name in CLIENTS:
                self.sync(name, Direct(self))
        self.server.stop()
        _close_databases()
        for name, place in self.places.items():
            kept = self.root.with_name('used' if self.used else 'new') / name
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(place.path, kept)
            _templates[name, self.used] = kept

    def sync(self, name: str, carrier: Any, mode: str = 'sync') -> Result:
        """Run the client *name*."""
        place = self.places[name]
        self.now += 60
        engine = Notes(place, carrier)
        carrier.engine, carrier.process = engine, place.process()
        out, err = io.StringIO(), io.StringIO()
        argv = ['--json', '--quiet', '--yes', '--allow-deletions', '--mode', mode]
        try:
            with acting(carrier.process):
                engine.configure([*argv, '--encoding', place.encoding, str(place.path)])
                result = _result(engine.run(out, err), out, err)
        except Killed as killed:
            self.diary.append(f'{name}: KILLED {killed}')
            result = Result(-9)
        except SystemExit as exit_:
            result = Result(int(exit_.code or 0), out.getvalue(), err.getvalue())
        finally:
            engine._finish()
        self.diary.append(f'{name}: {mode.upper()} {result.code} {result.moved} {result.err}')
        return result

    def close(self) -> None:
        """Stop all that runs."""
        self.server.stop()
        logging.getLogger('pysyncml').removeHandler(self.errors)
        _close_databases()
        shutil.rmtree(self.root, ignore_errors=True)


class Direct:
    """Carries messages, and nothing happens to them."""

    def __init__(self, world: World) -> None:
        self.world = world

    def exchange(self, request: Request) -> Response:
        with acting(None):
            return self.world.server.handle(request)

    def close(self) -> None:
        """Nothing to close."""


def _result(code: int, out: io.StringIO, err: io.StringIO) -> Result:
    stats: Mapping[str, Any] = {}
    for line in out.getvalue().splitlines():
        stats = (json.loads(line).get('stats') or {}).get('notes', stats)
    return Result(code, out.getvalue(), err.getvalue(), dict(stats))


class _Errors(logging.Handler):
    """Collects what the product takes for a fault of its own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def _tree(top: Path, without: str | None) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    root = str(top)
    for folder, folders, names in os.walk(root):
        if folder == root and without in folders:
            folders.remove(without)
        for name in names:
            full = os.path.join(folder, name)
            with open(full, 'rb') as stream:
                found[os.path.relpath(full, root)] = stream.read()
    return found
