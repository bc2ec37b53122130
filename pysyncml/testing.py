"""For the tests of programs: two devices in one process, and what every agent must do.

Nothing in here needs a network, a file or a clock. A test of an agent is three lines long::

    class TestBookmarks(pysyncml.testing.AgentContract):
        def make_agent(self):
            return BookmarkAgent({})

        def make_item(self, n):
            return Bookmark(url=f'http://example.org/{n}', title=str(n))

Failing tests say more if pytest may look into this module: put
``pytest.register_assert_rewrite('pysyncml.testing')`` into your ``conftest.py``.
"""

from __future__ import annotations

from typing import Any

from pysyncml.adapter import Adapter, Store
from pysyncml.agents.base import Agent
from pysyncml.constants import ItemState, SyncType
from pysyncml.context import Context
from pysyncml.errors import ConflictError, InvalidItem
from pysyncml.service import answer
from pysyncml.stats import Stats
from pysyncml.transport import LoopbackTransport, Request, Response


class TestDevice:
    """A device with one datastore, in a database in memory unless *engine* says otherwise.

    Args:
        name: its name and id.
        agent: the glue to its items.
        uri: the address of the datastore.
        engine: an SQLAlchemy engine for the state; two devices must not share one.
        policy: the conflict policy of the datastore.
        **values: anything :class:`~pysyncml.adapter.Adapter` takes.
    """

    __test__ = False

    context: Context
    adapter: Adapter
    store: Store

    def __init__(
        self,
        name: str,
        agent: Agent,
        uri: str = 'items',
        engine: Any = None,
        policy: int | None = None,
        **values: Any,
    ) -> None:
        self.name = name
        self.agent = agent
        self.uri = uri
        self.policy = policy
        self._values = values
        self._start(engine)

    def _start(self, engine: Any) -> None:
        self.context = Context(engine=engine)
        self.adapter = self.context.Adapter(
            name=self.name, devinfo=self.context.DeviceInfo(devID=self.name), **self._values
        )
        store = self.context.Store(uri=self.uri, agent=self.agent, conflictPolicy=self.policy)
        self.store = self.adapter.addStore(store)

    def restart(self) -> None:
        """Do what the end and a new start of the program would do: keep only what is stored."""
        self._start(self.context.sa_engine)

    # --- items --------------------------------------------------------------------------------

    def add(self, item: Any) -> str:
        """Add *item* as the device's user would; return its id."""
        item_id = str(self.agent.addItem(item).id)
        self.store.registerChange(item_id, ItemState.ADDED)
        return item_id

    def replace(self, item_id: str, item: Any) -> None:
        """Put *item* in the place of the one called *item_id*, as the device's user would."""
        before = dict(self.agent.getItem(item_id).values())
        item.id = item_id
        after = dict(item.values())
        spec = self.agent.replaceItem(item, True)
        if spec is None:
            spec = self.agent.newChangeSpec(before, after)
        self.store.registerChange(item_id, ItemState.MODIFIED, spec)

    def delete(self, item_id: str) -> None:
        """Delete an item as the device's user would."""
        self.agent.deleteItem(item_id)
        self.store.registerChange(item_id, ItemState.DELETED)

    # --- synchronising ------------------------------------------------------------------------

    def handle(self, request: Request) -> Response:
        """Answer a message, as a server."""
        reply = answer(
            self.adapter,
            request.content_type,
            request.body,
            request.url,
            request.headers,
            request.remote,
        )
        return Response(reply.body, reply.content_type, reply.status)

    def sync(
        self,
        server: TestDevice,
        mode: SyncType = SyncType.TWO_WAY,
        transport: Any = None,
    ) -> dict[str, Stats]:
        """Synchronise with *server* as its client."""
        if self.adapter.peer is None:
            self.adapter.peer = self.context.RemoteAdapter(url=f'http://{server.name}/')
        return self.adapter.sync(mode, transport or LoopbackTransport(server.handle))


class AgentContract:
    """What the framework expects of every agent, as pytest tests to inherit.

    Implement :meth:`make_agent` and :meth:`make_item`; pytest finds the rest. Each test says in
    its docstring what it asks for. An agent may have items of its own from the start.
    """

    def make_agent(self) -> Agent:
        """Return a new agent; what one keeps, another one must not see."""
        raise NotImplementedError('implement make_agent()')

    def make_item(self, n: int) -> Any:
        """Return a new item without an id: equal for equal *n*, different for different *n*."""
        raise NotImplementedError('implement make_item()')

    # --- the item -----------------------------------------------------------------------------

    def test_the_items_of_this_test_are_fit_for_it(self) -> None:
        """make_item() gives equal items for equal numbers, and different ones for others."""
        assert self.make_item(1) == self.make_item(1), 'the same number made two different items'
        assert self.make_item(1) != self.make_item(2), 'two numbers made equal items'

    def test_content_types_are_announced(self) -> None:
        """There is a content type that can be sent, and one that can be received."""
        types = self.make_agent().contentTypes
        assert any(info.transmit for info in types), 'contentTypes has none that can be sent'
        assert any(info.receive for info in types), 'contentTypes has none that can be received'

    def test_items_survive_the_way_to_a_peer(self) -> None:
        """What dumpItem() writes, loadItem() reads: in every content type and version."""
        agent = self.make_agent()
        for info in agent.contentTypes:
            for version in info.versions:
                if not (info.transmit and info.receive):
                    continue
                written = agent.dumpsItem(self.make_item(1), info.ctype, version)
                ctype, number, data = (
                    written if isinstance(written, tuple) else (info.ctype, version, written)
                )
                assert isinstance(data, bytes), f'{ctype}: dumpItem() must write bytes'
                loaded = agent.loadsItem(data, ctype, number)
                assert loaded == self.make_item(1), f'{ctype} {number}: another item came back'

    def test_a_dumped_item_can_be_dumped_again(self) -> None:
        """Writing an item leaves it as it was: the same bytes come out the second time."""
        agent = self.make_agent()
        info = next(info for info in agent.contentTypes if info.transmit)
        item = agent.addItem(self.make_item(1))
        first = agent.dumpsItem(agent.getItem(item.id), info.ctype, info.versions[-1])
        assert agent.dumpsItem(agent.getItem(item.id), info.ctype, info.versions[-1]) == first

    # --- adding, finding, replacing, deleting --------------------------------------------------

    def test_added_items_get_an_id(self) -> None:
        """addItem() returns the item with its id; every item gets an id of its own."""
        agent = self.make_agent()
        ids = [agent.addItem(self.make_item(n)).id for n in range(3)]
        for item_id in ids:
            assert item_id is not None, 'addItem() must return the item with its id set'
            assert 0 < len(str(item_id)) <= 255, 'ids have 1 to 255 characters'
        assert len({str(item_id) for item_id in ids}) == 3, 'two items got the same id'

    def test_added_items_are_found(self) -> None:
        """getItem() returns what was added, under the id as text; getAllItems() lists it."""
        agent = self.make_agent()
        before = {str(item_id) for item_id in agent.allItemIDs()}
        ids = [str(agent.addItem(self.make_item(n)).id) for n in range(3)]
        for n, item_id in enumerate(ids):
            found = agent.getItem(item_id)
            assert found == self.make_item(n), f'getItem({item_id!r}) returned another item'
            assert str(found.id) == item_id, 'the item found does not know its id'
        assert {str(item.id) for item in agent.getAllItems()} == before | set(ids)
        assert {str(item_id) for item_id in agent.allItemIDs()} == before | set(ids)

    def test_an_equal_item_is_another_item(self) -> None:
        """Adding an item equal to one that is there makes a second one."""
        agent = self.make_agent()
        first, second = (str(agent.addItem(self.make_item(1)).id) for _ in range(2))
        assert first != second
        agent.deleteItem(second)
        assert agent.getItem(first) is not None

    def test_unknown_items_are_said_to_be_unknown(self) -> None:
        """getItem() with an unknown id raises InvalidItem or LookupError."""
        agent = self.make_agent()
        agent.addItem(self.make_item(1))
        _assert_unknown(agent, 'there-is-no-such-id')

    def test_replaced_items_keep_their_id(self) -> None:
        """replaceItem() puts the new version in the place of the old one, and nothing else."""
        agent = self.make_agent()
        first, second = (str(agent.addItem(self.make_item(n)).id) for n in range(2))
        before = {str(item_id) for item_id in agent.allItemIDs()}
        item = self.make_item(2)
        item.id = first
        spec = agent.replaceItem(item, True)
        assert spec is None or isinstance(spec, str), 'a change-spec is text'
        assert agent.getItem(first) == self.make_item(2)
        assert agent.getItem(second) == self.make_item(1)
        assert {str(item_id) for item_id in agent.allItemIDs()} == before

    def test_deleted_items_are_gone(self) -> None:
        """deleteItem() takes one item away, and leaves the others."""
        agent = self.make_agent()
        first, second = (str(agent.addItem(self.make_item(n)).id) for n in range(2))
        agent.deleteItem(first)
        _assert_unknown(agent, first)
        assert agent.getItem(second) == self.make_item(1)
        assert first not in {str(item_id) for item_id in agent.allItemIDs()}

    def test_everything_can_be_deleted(self) -> None:
        """deleteAllItems() leaves nothing."""
        agent = self.make_agent()
        for n in range(3):
            agent.addItem(self.make_item(n))
        agent.deleteAllItems()
        assert list(agent.allItemIDs()) == []

    # --- comparing and merging -----------------------------------------------------------------

    def test_equal_items_are_matched(self) -> None:
        """matchItem() finds the item that equals another one, and no item where none does."""
        agent = self.make_agent()
        ids = [str(agent.addItem(self.make_item(n)).id) for n in range(3)]
        match = agent.matchItem(self.make_item(1))
        assert match is not None, 'matchItem() did not find an equal item'
        assert str(match.id) == ids[1], 'matchItem() found another item'
        assert agent.isSameItem(ids[1], self.make_item(1))
        assert not agent.isSameItem(ids[1], self.make_item(2))

    def test_fingerprints_tell_items_apart(self) -> None:
        """fingerprint() is the same for what is stored and for what came over the wire."""
        agent = self.make_agent()
        stored = agent.getItem(str(agent.addItem(self.make_item(1)).id))
        digest = agent.fingerprint(stored)
        assert digest == agent.fingerprint(self.make_item(1))
        assert digest is None or digest != agent.fingerprint(self.make_item(2))

    def test_merging_with_an_unchanged_item_changes_nothing(self) -> None:
        """mergeItems() with the version the peer was known to have keeps ours."""
        agent = self.make_agent()
        item_id = str(agent.addItem(self.make_item(1)).id)
        before = dict(agent.getItem(item_id).values())
        item = self.make_item(2)
        item.id = item_id
        after = dict(item.values())
        spec = agent.replaceItem(item, True) or agent.newChangeSpec(before, after)
        remote = self.make_item(1)
        remote.id = item_id
        try:
            agent.mergeItems(agent.getItem(item_id), remote, spec)
        except ConflictError:
            assert remote == self.make_item(1), 'a conflict must leave the remote item as it was'
        assert agent.getItem(item_id) == self.make_item(2), 'our version is gone'

    def test_items_can_be_described(self) -> None:
        """describeItem() has a short text for every id, also when the item is gone."""
        agent = self.make_agent()
        item_id = str(agent.addItem(self.make_item(1)).id)
        assert isinstance(agent.describeItem(item_id), str)
        agent.deleteItem(item_id)
        assert isinstance(agent.describeItem(item_id), str)

    # --- as a whole ---------------------------------------------------------------------------

    def test_two_devices_come_to_have_the_same(self) -> None:
        """Additions, changes and deletions travel both ways, and then there is nothing to do."""
        here, there = (TestDevice(name, self.make_agent()) for name in ('here', 'there'))
        first, second = here.add(self.make_item(1)), here.add(self.make_item(2))
        there.add(self.make_item(3))
        here.sync(there)
        _assert_equal(here, there)
        here.replace(first, self.make_item(4))
        here.delete(second)
        match = there.agent.matchItem(self.make_item(3))
        assert match is not None
        there.replace(str(match.id), self.make_item(5))
        here.sync(there)
        _assert_equal(here, there)
        stats = here.sync(there)[here.uri]
        assert (stats.here, stats.peer, stats.errors) == (0, 0, 0), stats


def _assert_unknown(agent: Agent, item_id: str) -> None:
    try:
        agent.getItem(item_id)
    except (InvalidItem, LookupError):
        return
    raise AssertionError('getItem() of an unknown id must raise InvalidItem or LookupError')


def _assert_equal(here: TestDevice, there: TestDevice) -> None:
    """Both devices have the same items, each of them once."""
    missing = [str(item_id) for item_id in there.agent.allItemIDs()]
    for item_id in here.agent.allItemIDs():
        item = here.agent.getItem(str(item_id))
        twin = next((other for other in missing if there.agent.isSameItem(other, item)), None)
        assert twin is not None, f'{here.agent.describeItem(str(item_id))} is only on one side'
        missing.remove(twin)
    assert not missing, f'{there.agent.describeItem(missing[0])} is only on one side'
