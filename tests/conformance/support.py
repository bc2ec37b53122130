"""What the scenarios share: three devices, anchors, memories to go back to, and other items."""

from __future__ import annotations

import copy
import json
import sqlite3
from collections.abc import Callable

import pysyncml
from tests.conformance.wire import Device, Dialect, Watched, sync
from tests.sync.support import BookmarkAgent, contents


def trio(dialect: Dialect, *everywhere: str, **values) -> tuple[Device, Device, Device]:
    """Return a server and two clients of it that all have *everywhere*, and are in step."""
    server = dialect.device('S', *everywhere, **values)
    clients = dialect.device('A'), dialect.device('B')
    for client in clients:
        sync(client, server)
    return server, *clients


def settle(server: Device, *clients: Device) -> None:
    """Let everybody synchronise until nothing travels; then all must have the same."""
    for _ in range(3):
        for client in clients:
            sync(client, server)
    for client in clients:
        assert_quiet(sync(client, server))
        assert contents(client) == contents(server)


def assert_quiet(wire: Watched) -> None:
    """Nothing was to be told in this session."""
    for counts in wire.stats.values():
        assert (counts.here, counts.peer, counts.errors) == (0, 0, 0), counts


def anchors(dev: Device) -> tuple[str, str]:
    """Return the anchors a device keeps for its only peer: its own, and the peer's."""
    with dev.context.work():
        [store] = dev.adapter.getKnownPeers()[0].stores.values()
        return store.binding.sourceAnchor, store.binding.targetAnchor


def remember(dev: Device) -> Callable[[], Device]:
    """Make a backup of a device; return what restores it, as another device."""
    driver = dev.context.sa_engine.raw_connection().dbapi_connection
    backup = sqlite3.connect(':memory:')
    driver.backup(backup)
    shelf = copy.deepcopy(dev.agent.shelf)

    def restore() -> Device:
        agent = type(dev.agent)()
        agent.shelf = shelf
        again = dev.dialect.device(dev.name, agent=agent, uri=dev.uri)
        backup.backup(again.context.sa_engine.raw_connection().dbapi_connection)
        again.restart()
        return again

    return restore


class Keyed(BookmarkAgent):
    """An agent whose items have a key: what has the same ``url`` is the same item."""

    def matchItem(self, item):
        return next((mine for mine in self.shelf.values() if mine.url == item.url), None)


class Card(pysyncml.Item):
    """An item with many fields; it keeps what it does not know."""

    fields = ('uid', 'name', 'note', 'recurrence', 'rest')

    def dump(self, stream, contentType=None, version=None):
        values = self.values()
        stream.write(json.dumps({**values.pop('rest'), **values}).encode())

    @classmethod
    def load(cls, stream, contentType=None, version=None):
        values = json.load(stream)
        known = {name: values.pop(name, None) for name in cls.fields if name != 'rest'}
        return cls(**known, rest=values)


class CardAgent(BookmarkAgent):
    """Keeps cards."""

    itemClass = Card
    contentTypes = [pysyncml.ContentTypeInfo('text/x-card', '1.0', preferred=True)]


def card(uid, **values):
    """Return a card; what is no field of it becomes part of the rest."""
    known = {'name': None, 'note': None, 'recurrence': None}
    known |= {name: values.pop(name) for name in list(values) if name in known}
    return Card(uid=uid, **known, rest=values)


def cards(dev: Device) -> list[dict]:
    """Return what a device with cards has."""
    return sorted(
        (item.values() for item in dev.agent.getAllItems()), key=lambda v: (v['uid'], str(v))
    )
