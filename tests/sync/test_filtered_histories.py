"""Random histories of devices that choose what they want: nothing gets lost, all agree at last."""

from __future__ import annotations

import random

import pytest

import pysyncml
from pysyncml.constants import SyncType
from tests.sync.support import Wire, bookmark, contents, device, edit
from tests.sync.test_filters import Searchable

COLORS = ('red', 'green', 'blue')
QUERIES = (None, 'url&CON;red', 'url&NE;blue', 'title&CON;x', 'url&CON;green&OR;title&CON;y')
MODES = (SyncType.TWO_WAY,) * 6 + (SyncType.SLOW_SYNC, SyncType.ONE_WAY_FROM_SERVER)


class History:
    """A server, two clients, and what should have become of each bookmark."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.server = device('S', agent=Searchable())
        self.clients = [device(name, agent=Searchable()) for name in 'AB']
        self.made = 0
        self.deleted = set()

    def step(self):
        action = self.random.choice((self.add, self.edit, self.delete, self.choose, self.sync))
        action(self.random.choice([self.server, *self.clients]))

    def add(self, dev):
        self.made += 1
        color = self.random.choice(COLORS)
        dev.add(bookmark(f'{color} {self.made}', self.random.choice('xyz')))

    def edit(self, dev):
        item_id = self._any(dev)
        if item_id is not None:
            edit(dev, item_id, title=self.random.choice('xyz'))

    def delete(self, dev):
        item_id = self._any(dev)
        if item_id is not None:
            self.deleted.add(dev.agent.getItem(item_id).url)
            dev.delete(item_id)

    def choose(self, dev):
        dev.store.filter = self.random.choice(QUERIES)
        dev.store.filterType = self.random.choice(('INCLUSIVE', 'EXCLUSIVE'))

    def sync(self, dev):
        if dev is self.server:
            return
        event = {self.random.randint(1, 4): self.random.choice(['lost request', 'lost answer'])}
        script = event if self.random.random() < 0.3 else {}
        try:
            dev.sync(self.server, self.random.choice(MODES), transport=Wire(self.server, script))
        except pysyncml.TransportError:
            kept = dev.store.filter, dev.store.filterType
            dev.restart()
            dev.store.filter, dev.store.filterType = kept

    def end(self):
        """Lift all filters and synchronise until there is nothing left to do."""
        for client in self.clients:
            client.store.filter = None
        for _ in range(3):
            for client in self.clients:
                client.sync(self.server)

    def _any(self, dev):
        ids = sorted(dev.agent.shelf, key=lambda item_id: dev.agent.shelf[item_id].url)
        return self.random.choice(ids) if ids else None


def run(seed, steps):
    history = History(seed)
    for _ in range(steps):
        history.step()
    history.end()
    [one, two] = history.clients
    assert contents(one) == contents(two) == contents(history.server)
    there = {url for url, _ in contents(history.server)}
    everything = {f'{color} {number}' for number in range(1, history.made + 1) for color in COLORS}
    assert there <= everything
    numbers = {url.rpartition(' ')[2] for url in there | history.deleted}
    assert numbers == {str(number) for number in range(1, history.made + 1)}, 'nothing got lost'


@pytest.mark.parametrize('seed', range(6))
def test_filters_lose_nothing(seed, monkeypatch):
    monkeypatch.setattr('pysyncml.conversation.RETRIES', ())
    run(seed, 30)


@pytest.mark.campaign
@pytest.mark.parametrize('seed', range(100, 700))
def test_filters_lose_nothing_in_the_long_run(seed, monkeypatch):
    monkeypatch.setattr('pysyncml.conversation.RETRIES', ())
    run(seed, 60)
