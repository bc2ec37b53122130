"""Random histories of a server and three clients on a bad line: in the end all have the same.

Users add, change and delete bookmarks everywhere; requests and answers get lost, messages arrive
twice, packages and items are cut into small messages, sessions are put off, and programs end
between any two of them. Whatever
happened, after a few sessions that are left in peace everybody has the same, nothing is
doubled, nothing that nobody deleted is lost, and there is nothing left to say.
"""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from pysyncml.errors import ConnectFailed, Timeout, TransportError
from pysyncml.transport import LoopbackTransport
from tests.sync.support import ENGINES, Bookmark, BookmarkAgent, device


class Tracked(Bookmark):
    """A bookmark that shows where it came from."""

    fields = ('origin', 'url', 'title')


class TrackedAgent(BookmarkAgent):
    itemClass = Tracked

    def getItem(self, itemID):
        item = self.shelf[itemID]
        return Tracked(id=itemID, **item.values())


class BadLine:
    """Loses requests and answers, delivers twice, lets the server start anew; and has a user
    who puts sessions off.
    """

    def __init__(self, client, server, rng, rate, patience):
        self.client, self.server = client, server
        self.rng, self.rate, self.patience = rng, rate, patience

    def exchange(self, request):
        if self.rng.random() > self.patience:
            self.client.adapter.suspend()
        if self.rng.random() < 2 * self.rate:
            self.server.restart()
        event = self.rng.random()
        if event < self.rate:
            raise ConnectFailed('the request was lost')
        response = LoopbackTransport(self.server.handle).exchange(request)
        if event < 2 * self.rate:
            raise Timeout('the answer was lost')
        if event < 3 * self.rate:
            again = LoopbackTransport(self.server.handle).exchange(request)
            assert again.body == response.body
        return response

    def close(self):
        """Nothing to close."""


class History:
    """What happened, and what must come of it."""

    def __init__(self, seed, rate, size, longest=0, patience=1.0):
        ENGINES.release()
        self.seed, self.rate = seed, rate
        self.longest, self.patience = longest, patience
        self.rng = random.Random(seed)
        self.server = device('S', agent=TrackedAgent(), maxMsgSize=size)
        self.clients = [device(f'C{n}', agent=TrackedAgent(), maxMsgSize=size) for n in range(3)]
        self.count = 0
        self.editors = defaultdict(set)  # origin → devices where it was added or changed
        self.last = {}  # origin → the values it was given last
        self.deleted = defaultdict(set)  # origin → devices where it was deleted

    def run(self, steps):
        for _ in range(steps):
            dev = self.rng.choice([self.server, *self.clients])
            choice = self.rng.random()
            ids = list(dev.agent.shelf)
            if choice < 0.35:
                self._add(dev)
            elif choice < 0.55 and ids:
                self._change(dev, self.rng.choice(ids))
            elif choice < 0.65 and ids:
                self._delete(dev, self.rng.choice(ids))
            elif dev is not self.server:
                self._sync(dev)

    def _add(self, dev):
        self.count += 1
        title = f't{self.count}{self._text()}'
        item = Tracked(origin=f'o{self.count}', url=f'u{self.count}', title=title)
        self._note(dev, item)
        dev.add(item)

    def _change(self, dev, item_id):
        self.count += 1
        item = dev.agent.getItem(item_id)
        name = self.rng.choice(['url', 'title'])
        setattr(item, name, f'{name[0]}{self.count}{self._text() if name == "title" else ""}')
        self._note(dev, item)
        dev.replace(item_id, item)

    def _text(self):
        if not self.longest or self.rng.random() < 0.5:
            return ''
        return self.rng.choice(['x', 'é', '<', '\U0001f600&']) * self.rng.randrange(self.longest)

    def _note(self, dev, item):
        self.editors[item.origin].add(dev.name)
        self.last[item.origin] = (item.origin, item.url, item.title)

    def _delete(self, dev, item_id):
        self.deleted[dev.agent.getItem(item_id).origin].add(dev.name)
        dev.delete(item_id)

    def _sync(self, client):
        try:
            line = BadLine(client, self.server, self.rng, self.rate, self.patience)
            client.sync(self.server, transport=line)
        except TransportError:
            client.restart()

    # --- the end --------------------------------------------------------------------------------

    def check(self):
        for _ in range(4):
            if self._is_silent():
                break
        else:
            raise AssertionError(f'{self}: they do not come to an end')
        expected = contents(self.server)
        for client in self.clients:
            assert contents(client) == expected, f'{self}: {client.name} has something else'
            pending = [items for *_, items in client.adapter.pendingChanges() if items]
            assert pending == [], f'{self}: {client.name} still has something to say'
            self._check_anchors(client)
        assert len(set(expected)) == len(expected), f'{self}: twins'
        self._check_items(expected)

    def _is_silent(self):
        results = [client.sync(self.server)['items'] for client in self.clients]
        assert not any(stats.errors for stats in results), f'{self}: {results}'
        return not any(stats.here or stats.peer for stats in results)

    def _check_anchors(self, client):
        def anchors(dev, name=None):
            [peer] = [
                peer for peer in dev.adapter.getKnownPeers() if name is None or peer.devID == name
            ]
            [store] = peer.stores.values()
            return store.binding.sourceAnchor, store.binding.targetAnchor

        assert anchors(client) == anchors(self.server, client.name)[::-1], f'{self}: anchors'

    def _check_items(self, expected):
        for origin, editors in self.editors.items():
            versions = [values for values in expected if values[0] == origin]
            deleted = self.deleted[origin]
            if not deleted:
                assert versions, f'{self}: {origin} is lost'
            if len(editors) == 1 and not deleted:
                assert versions == [self.last[origin]], f'{self}: {origin} is not as it was left'
            if len(editors) == 1 and deleted and not self.rate:
                # only a slow sync after an accident may bring it back
                alone = deleted == editors
                assert not (alone and versions), f'{self}: {origin} came back'

    def __str__(self):
        return f'history {self.seed}'


def contents(dev):
    return sorted((item.origin, item.url, item.title) for item in dev.agent.getAllItems())


# kind → how often something goes wrong, waiting times before trying again, and then: bytes of a
# message, characters of an item, how seldom the user gives up
KINDS = {
    'quiet line': (0.0, (), None),
    'bad line': (0.08, (), None),
    'bad line, trying again': (0.08, (0,), None),
    'bad line, small messages': (0.05, (), 3600),
    'bad line, large items': (0.02, (), 2500, 4000),
    'large items, trying again': (0.05, (0,), 2000, 1500),
    'hasty user': (0.02, (), 2500, 2000, 0.9),
}


def live(kind, seed, steps, monkeypatch):
    rate, retries, *how = KINDS[kind]
    monkeypatch.setattr('pysyncml.conversation.RETRIES', retries)
    history = History(seed, rate, *how)
    history.run(steps)
    history.check()


_SAMPLE = ('bad line, small messages', 'large items, trying again')


@pytest.mark.parametrize(
    'kind',
    [k if k in _SAMPLE else pytest.param(k, marks=pytest.mark.campaign) for k in KINDS],
)
def test_everybody_comes_to_have_the_same(kind, monkeypatch):
    for seed in range(5 if len(KINDS[kind]) == 3 else 2):
        live(kind, seed, 14, monkeypatch)


@pytest.mark.campaign
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('seeds', range(100, 350, 25))
def test_a_thousand_histories(kind, seeds, monkeypatch):
    for seed in range(seeds, seeds + 25):
        live(kind, seed, 40, monkeypatch)
