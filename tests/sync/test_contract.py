"""The contract of agents, kept by the agent of the documentation, and broken on purpose."""

from __future__ import annotations

import pytest

from pysyncml.testing import AgentContract
from tests.sync.support import Bookmark, BookmarkAgent


class TestBookmarks(AgentContract):
    def make_agent(self):
        return BookmarkAgent({})

    def make_item(self, n):
        return Bookmark(url=f'http://x/{n}', title=str(n))


class TestWithoutMerging(TestBookmarks):
    def make_agent(self):
        agent = BookmarkAgent({})
        agent.mfactory = None
        return agent


def _no_id(agent, item):
    agent.shelf[id(item)] = item
    return item


def _forgets(agent, item, report):
    """Take no notice."""


def _doubles(agent, item, report):
    agent.addItem(type(item)(**item.values()))
    agent.shelf[item.id] = item


def _finds_anything(agent, item_id):
    return agent.shelf.get(item_id) or Bookmark()


def _text(agent, item, stream, contentType=None, version=None):
    stream.write(f'{{"url": "{item.url}", "title": null}}'.encode())


BROKEN = [
    ('addItem', _no_id, 'test_added_items_get_an_id'),
    ('replaceItem', _forgets, 'test_replaced_items_keep_their_id'),
    ('replaceItem', _doubles, 'test_replaced_items_keep_their_id'),
    ('getItem', _finds_anything, 'test_unknown_items_are_said_to_be_unknown'),
    ('deleteItem', lambda agent, item_id: None, 'test_deleted_items_are_gone'),
    ('deleteItem', lambda agent, item_id: agent.shelf.clear(), 'test_deleted_items_are_gone'),
    ('dumpItem', _text, 'test_items_survive_the_way_to_a_peer'),
    ('matchItem', lambda agent, item: None, 'test_equal_items_are_matched'),
    ('fingerprint', lambda agent, item: 'x', 'test_fingerprints_tell_items_apart'),
]


@pytest.mark.parametrize(('method', 'wrong', 'test'), BROKEN)
def test_a_broken_agent_is_found_out(method, wrong, test):
    broken = type('Broken', (BookmarkAgent,), {method: wrong})
    contract = type('Contract', (TestBookmarks,), {'make_agent': lambda self: broken({})})()
    with pytest.raises((AssertionError, KeyError)):
        getattr(contract, test)()
