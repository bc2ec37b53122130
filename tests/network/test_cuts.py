"""A session cut at any byte, in either direction: the next one makes everything good.

Client and server are real, and so are the sockets between them; only the notes are kept in memory,
so that there is time for many cuts.
"""

from __future__ import annotations

import os

import pytest

import pysyncml
from pysyncml import conversation
from pysyncml.errors import SyncmlError, TransportError
from pysyncml.testing import TestDevice
from pysyncml.transport.http import HTTPTransport
from pysyncml.transport.wsgi import AdHocServer, application
from tests.network.badnet import BadNetwork, Way


class Shelf(pysyncml.BaseNoteAgent):
    """Notes in a dictionary."""

    def __init__(self, notes):
        super().__init__()
        self.notes = notes

    def getAllItems(self):
        return list(self.notes.values())

    def getItem(self, itemID):
        return self.notes[itemID]

    def addItem(self, item):
        item.id = pysyncml.newID()
        return self.notes.setdefault(item.id, item)

    def replaceItem(self, item, reportChanges):
        self.notes[item.id] = item

    def deleteItem(self, itemID):
        del self.notes[itemID]


def note(name, body):
    return pysyncml.NoteItem(name=name, body=body.encode())


class Pair:
    """A client, a server, and a bad way between them."""

    def __init__(self, codec):
        self.codec = codec
        self.new_devices()
        self.server = AdHocServer(application(lambda request: self.there.handle(request)))
        self.server.start()
        self.way = Way(self.server.port)
        self.network = BadNetwork(self.way)

    def new_devices(self):
        self.here = TestDevice('here', Shelf({}))
        self.there = TestDevice('there', Shelf({}))
        self.here.context.codec = self.codec

    def close(self):
        self.network.close()
        self.server.stop()

    def sync(self):
        adapter = self.here.adapter
        if adapter.peer is None:
            adapter.peer = self.here.context.RemoteAdapter(url=self.network.url)
        transport = HTTPTransport(timeout=(5, 5), total=10, proxies={})
        try:
            return adapter.sync(transport=transport)['items']
        finally:
            transport.close()

    def contents(self):
        found = [
            sorted((item.name, item.body) for item in device.agent.getAllItems())
            for device in (self.here, self.there)
        ]
        assert found[0] == found[1]
        return found[0]

    def prepare(self):
        """Two devices in step, each with an edit, a deletion and a new note that wait."""
        self.way.mend()
        self.new_devices()
        ids = {}
        for name in ('edited here', 'deleted here'):
            ids[name] = self.here.add(note(name, 'first'))
        for name in ('edited there', 'deleted there'):
            ids[name] = self.there.add(note(name, 'first'))
        self.sync()
        self.here.replace(ids['edited here'], note('edited here', 'second'))
        self.here.delete(ids['deleted here'])
        self.here.add(note('new here', 'first'))
        self.there.replace(ids['edited there'], note('edited there', 'second'))
        self.there.delete(ids['deleted there'])
        self.there.add(note('new there', 'first'))
        self.way.mend()


IN_STEP = [
    ('edited here', b'second'),
    ('edited there', b'second'),
    ('new here', b'first'),
    ('new there', b'first'),
]


def cut(pair, direction, at, rude):
    """Cut a session; return whether it went on by itself."""
    pair.prepare()
    setattr(pair.way, f'cut_{direction}', at)
    pair.way.rude = rude
    try:
        pair.sync()
        through = True
    except SyncmlError as error:
        assert isinstance(error, TransportError), f'{direction} cut at {at}: {error!r}'
        assert '\n' not in str(error) and 'object at' not in str(error)
        through = False
    assert pair.way.cuts == 1
    if not through:
        pair.way.mend()
        pair.sync()
    assert pair.contents() == IN_STEP, f'{direction} cut at {at}'
    stats = pair.sync()
    assert (stats.here, stats.peer, stats.errors) == (0, 0, 0), f'{direction} cut at {at}'
    return through


def lengths(pair):
    """Return how many bytes a session has in each direction."""
    pair.prepare()
    pair.sync()
    assert pair.contents() == IN_STEP
    return {'request': pair.way.sent, 'answer': pair.way.received}


@pytest.fixture
def pair(request, monkeypatch):
    made = Pair(request.param)
    yield made
    made.close()


def cut_at(pair, direction, places, monkeypatch):
    """Cut sessions at *places*, half of them without sending messages again; count."""
    results = {'went on': 0, 'healed by the next': 0}
    for number, at in enumerate(places):
        again = number % 2 == 0
        monkeypatch.setattr(conversation, 'RETRIES', (0, 0) if again else ())
        through = cut(pair, direction, at, rude=number % 3 == 0)
        assert through or not again, f'{direction} cut at {at}'
        results['went on' if through else 'healed by the next'] += 1
    return results


@pytest.mark.parametrize(
    ('pair', 'direction'), [('xml', 'request'), ('wbxml', 'answer')], indirect=['pair']
)
def test_a_session_that_is_cut_is_made_good(pair, direction, monkeypatch):
    """At a sample of places; the campaign takes all of them."""
    whole = lengths(pair)[direction]
    results = cut_at(pair, direction, range(len(direction), whole, whole // 3), monkeypatch)
    assert results['healed by the next'] and results['went on']


@pytest.mark.campaign
@pytest.mark.parametrize('part', range(8))
@pytest.mark.parametrize('direction', ['request', 'answer'])
@pytest.mark.parametrize('pair', ['xml', 'wbxml'], indirect=True)
def test_a_session_that_is_cut_at_every_byte_is_made_good(
    pair, direction, part, monkeypatch, capsys
):
    """``NETWORK_STRIDE=7`` in the environment cuts at every seventh byte."""
    stride = int(os.environ.get('NETWORK_STRIDE', '1'))
    whole = lengths(pair)[direction]
    places = range(1 + part * whole // 8, 1 + (part + 1) * whole // 8, stride)
    results = cut_at(pair, direction, places, monkeypatch)
    with capsys.disabled():
        print(f'\n{pair.codec} {direction}, part {part}: {len(places)} of {whole}: {results}')
