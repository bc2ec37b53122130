"""A context that synchronises with nobody, and programs to run on it."""

from __future__ import annotations

import contextlib
import json
import os

import sqlalchemy
from sqlalchemy.orm import Session

import pysyncml.cli
from pysyncml.constants import ItemState
from pysyncml.protocol.devinf import ContentTypeInfo, DeviceInfo
from pysyncml.stats import Stats
from pysyncml.util import adict


class FakeWork:
    def __init__(self, context, connection):
        self.context = context
        self.connection = connection

    def accounts(self):
        return dict(self.context.options.get('accounts') or {})

    def md5_secrets(self):
        return dict(self.context.options.get('md5') or {})

    def set_accounts(self, accounts, md5_secrets=None):
        self.context.options.update({'accounts': accounts, 'md5': md5_secrets})


class FakeOptions:
    """A dict of JSON values in a table of the state database."""

    def __init__(self, engine):
        self.engine = engine

    def _all(self):
        with self.engine.begin() as db:
            db.exec_driver_sql('CREATE TABLE IF NOT EXISTS opt (value TEXT)')
            row = db.exec_driver_sql('SELECT value FROM opt').fetchone()
        return json.loads(row[0]) if row else {}

    def get(self, key, default=None):
        return self._all().get(key, default)

    def update(self, values):
        text = json.dumps({**self._all(), **values})
        with self.engine.begin() as db:
            db.exec_driver_sql('DELETE FROM opt')
            db.exec_driver_sql('INSERT INTO opt VALUES (?)', (text,))


class FakeStore(adict):
    def itemCount(self):
        return len(self.agent.notes)

    def registerChange(self, itemID, state, changeSpec=None, excludePeerID=None):
        self.changes.append((itemID, state))


class FakeAdapter(adict):
    """Does *script* (a list of Stats or errors), one entry for each sync."""

    def addStore(self, store):
        self.stores[store.uri] = store
        return store

    def getKnownPeers(self):
        return list(self.context.peers)

    def pendingChanges(self):
        store = next(iter(self.stores.values()))
        return [(peer, store, store.changes) for peer in self.context.peers]

    def sync(self, **how):
        routes, peer = self.routes, dict(self.peer)
        self.context.calls.append({**how, 'routes': routes, 'peer': peer})
        result = self.context.script.pop(0)
        if isinstance(result, BaseException):
            raise result
        if callable(result):
            result = result(self)
        self.onProgress(1, 2)
        return result

    def handleRequest(self, session, request, response):
        with self.context.work():
            self.onSession()
        self.onEnd(phone(), done(hereAdd=2), 'done')
        response.update(body=b'answer to ' + request.body, contentType='text/plain')


class FakeContext:
    DeviceInfo = DeviceInfo

    def __init__(self, storage, directory, script, peers):
        self.storage = str(storage)
        self.directory = directory
        self.sa_engine = sqlalchemy.create_engine(storage or 'sqlite://')
        self.options = FakeOptions(self.sa_engine)
        self.script = script
        self.peers = peers
        self.calls = []
        self.dbsession = None
        self.closed = False

    @contextlib.contextmanager
    def work(self, readonly=False):
        assert self.dbsession is None, 'units of work do not nest'
        with self.sa_engine.connect() as connection, connection.begin() as transaction:
            self.dbsession = Session(connection, join_transaction_mode='rollback_only')
            try:
                yield FakeWork(self, connection)
                self.dbsession.flush()
                if readonly:
                    transaction.rollback()
            finally:
                self.dbsession.close()
                self.dbsession = None

    def Adapter(self, **values):
        peers = [peer for peer in self.peers if peer.url]
        peer = peers[0] if peers else None
        return FakeAdapter(context=self, stores={}, peer=peer, **values)

    def RemoteAdapter(self, **values):
        peer = adict(devID=values['url'], stores={}, record=adict(), **values)
        self.peers[:] = [p for p in self.peers if p.url != peer.url] + [peer]
        return peer

    def Store(self, **values):
        types = [ContentTypeInfo('text/plain', '1.0', preferred=True)]
        return FakeStore(changes=[], contentTypes=types, **values)

    def close(self):
        self.closed = True
        self.sa_engine.dispose()


class FakeAgent:
    hierarchicalSync = False

    def __init__(self):
        self.notes = {'1': 'milk.txt', '2': 'odd\nname'}

    def describeItem(self, itemID):
        name = self.notes.get(itemID)
        return f'Item ID {itemID}' if name is None else f'Note "{name}"'

    def scan(self, store):
        store.registerChange('1', ItemState.ADDED)
        store.registerChange('gone', ItemState.DELETED)


class Program(pysyncml.cli.DirectorySyncEngine):
    """What a test runs: events are recorded, and who would be talked to is made up."""

    itemNoun = 'note'

    def __init__(self, script=(), peers=(), **params):
        params.setdefault('agent', FakeAgent())
        super().__init__(appLabel='notes', appDisplay='Note Synchronizer', **params)
        self.script = list(script)
        self.known = list(peers)
        self.events = []

    def makeContext(self, storage, directory):
        return FakeContext(storage, directory, self.script, self.known)

    def makeTransport(self):
        return adict(close=lambda: None)

    def fire(self, name, *args):
        self.events.append(name)
        super().fire(name, *args)

    @pysyncml.cli.hook('options.setup.term')
    def _filenames(self):
        self.parser.add_argument(
            '-F', '--no-filename-sync', dest='syncFilename', default=True, action='store_false'
        )

    @pysyncml.cli.hook('options.persist.save')
    def _keep(self, options):
        options['syncFilename'] = self.options.syncFilename

    @pysyncml.cli.hook('describe')
    def _describe(self, stream):
        stream.write(f'Sync filename-only changes: {self.options.syncFilename}\n')

    @pysyncml.cli.hook('adapter.create.store')
    def _scan(self, context, adapter, store):
        assert self.dbsession is not None
        self.agent.scan(store)


def done(**values):
    return {'notes': Stats(**values)}


def server(url='http://example.com/sync'):
    return adict(devID='srv', url=url, stores={})


def phone():
    return adict(devID='phone', url=None, stores={})


def state(folder):
    """Return all that is remembered in *folder*."""
    engine = sqlalchemy.create_engine(f'sqlite:///{os.path.join(folder, ".sync", "state.db")}')
    try:
        return FakeOptions(engine).get('cli')
    finally:
        engine.dispose()
