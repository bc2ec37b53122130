"""Items and agents: what the base classes give."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from pysyncml.agents import Agent, Ext, Item
from pysyncml.errors import ConflictError, InvalidItem
from pysyncml.merge import CompositeMergerFactory, TextMergerFactory
from pysyncml.protocol.devinf import ContentTypeInfo


class Bookmark(Item):
    fields = ('url', 'title')

    def dump(self, stream, contentType=None, version=None):
        stream.write(json.dumps(self.values()).encode())

    @classmethod
    def load(cls, stream, contentType=None, version=None):
        return cls(**json.load(stream))


class Shelf(Agent):
    itemClass = Bookmark
    contentTypes = [ContentTypeInfo('text/x-bookmark', '1.0', preferred=True)]
    mfactory = CompositeMergerFactory(title=TextMergerFactory(multiLine=False))

    def __init__(self):
        super().__init__()
        self.shelf = {}

    def getAllItems(self):
        return self.shelf.values()

    def getItem(self, itemID):
        return self.shelf[itemID]

    def addItem(self, item):
        item.id = str(len(self.shelf) + 1)
        self.shelf[item.id] = item
        return item

    def replaceItem(self, item, reportChanges):
        if item.url == 'refused':
            raise InvalidItem('refused')
        self.shelf[item.id] = item

    def deleteItem(self, itemID):
        del self.shelf[itemID]


@pytest.fixture
def shelf():
    shelf = Shelf()
    shelf.addItem(Bookmark(url='http://a', title='the quick fox'))
    shelf.addItem(Bookmark(url='http://b'))
    return shelf


def test_items_are_compared_by_their_fields():
    assert Bookmark(url='x') == Bookmark(url='x', id='7')
    assert Bookmark(url='x') != Bookmark(url='y')
    assert Bookmark(url='x') != Item('x')
    assert Item('1') == Item('1') != Item('2')
    assert Item() != Item()
    with pytest.raises(TypeError, match='no field colour'):
        Bookmark(colour='red')
    with pytest.raises(TypeError):
        hash(Bookmark())


def test_items_go_through_bytes_and_text():
    item = Bookmark(url='x', title='é')
    assert Bookmark.loads(item.dumps()) == item
    assert Bookmark.loads(item.dumps().decode()) == item


def test_what_an_item_or_agent_must_have_is_named():
    with pytest.raises(NotImplementedError, match=r'Item must implement dump\(\)'):
        Item().dumps()
    with pytest.raises(NotImplementedError, match=r'Agent must implement getItem\(\)'):
        Agent().getItem('1')
    with pytest.raises(NotImplementedError, match='itemClass'):
        Agent().loadsItem(b'')


def test_extensions():
    class Thing(Ext):
        def __init__(self):
            """Do not call Ext.__init__."""

    thing, other = Thing(), Thing()
    thing.addExtension('a', '1')
    thing.addExtension('a', '2')
    assert thing.extensions == {'a': ['1', '2']}
    assert other.extensions == {}
    Ext.__init__(thing, 'stray', sha256='stray')
    assert thing.extensions == {}


def test_every_agent_has_its_own_content_types():
    one, other = Shelf(), Shelf()
    one.contentTypes[0].versions.append('2.0')
    one.contentTypes.append(ContentTypeInfo('text/plain'))
    assert [str(c) for c in other.contentTypes] == ['text/x-bookmark@1.0:PrefTxRx']
    assert Agent(hierarchicalSync=True).hierarchicalSync is True
    assert Agent([ContentTypeInfo('text/plain')]).contentTypes == [ContentTypeInfo('text/plain')]


def test_defaults_for_many_items(shelf):
    assert list(shelf.allItemIDs()) == ['1', '2']
    assert shelf.matchItem(Bookmark(url='http://b')) is shelf.shelf['2']
    assert shelf.matchItem(Bookmark(url='http://c')) is None
    shelf.deleteAllItems()
    assert shelf.shelf == {}


def test_an_item_whose_field_is_not_loaded_matches_as_a_peer_would_see_it(shelf):
    class Lazy(Bookmark):
        def dump(self, stream, contentType=None, version=None):
            stream.write(json.dumps({'url': self.url, 'title': f'of {self.url}'}).encode())

    shelf.itemClass = Lazy
    shelf.shelf = {'1': Lazy(url='a', id='1'), '2': Lazy(url='b', id='2')}
    assert shelf.matchItem(Lazy(url='b', title='of b')).id == '2'
    assert shelf.matchItem(Lazy(url='b', title='another')) is None


def test_written_types_are_handed_on(shelf):
    item = shelf.getItem('2')
    assert shelf.dumpsItem(item) == item.dumps()
    shelf.dumpItem = lambda item, stream, contentType, version: ('text/x', '3')
    assert shelf.dumpsItem(item) == ('text/x', '3', b'')


def test_a_dump_that_returns_the_item_says_nothing_about_the_type(shelf):
    item = shelf.getItem('2')
    item.dump = lambda stream, contentType, version: item
    assert shelf.dumpItem(item, io.BytesIO()) is None


def test_default_merge(shelf):
    spec = shelf.newChangeSpec(
        {'url': 'http://0', 'title': 'the quick fox'}, {'url': 'http://0', 'title': 'the slow fox'}
    )
    local = Bookmark(id='1', url='http://0', title='the slow fox')
    shelf.shelf['1'] = local
    remote = Bookmark(url='http://1', title='the quick dog')
    back = shelf.mergeItems(local, remote, spec)
    merged = shelf.getItem('1')
    assert merged.values() == {'url': 'http://1', 'title': 'the slow dog'}
    merger = shelf.mfactory.newMerger(back)
    assert merger.mergeChanges('url', 'http://1', 'http://0') == 'http://1'
    assert merger.mergeChanges('title', 'the slow dog', 'the slow fox') == 'the slow dog'


@pytest.mark.parametrize('spec', [None, 'mod%3Aurl%40vhttp%253A//0'])
def test_a_merge_that_fails_leaves_both_items_alone(shelf, spec):
    local, remote = shelf.getItem('1'), Bookmark(url='http://z', id='z')
    with pytest.raises(ConflictError):
        shelf.mergeItems(local, remote, spec)
    assert remote.values() == {'url': 'http://z', 'title': None}
    assert local.values() == {'url': 'http://a', 'title': 'the quick fox'}


def test_a_merge_that_cannot_be_kept_leaves_both_items_alone(shelf):
    local, remote = shelf.getItem('1'), Bookmark(url='refused', title='the slow fox', id='z')
    with pytest.raises(InvalidItem):
        shelf.mergeItems(local, remote, '')
    assert (remote.id, remote.url) == ('z', 'refused')


def test_without_a_merger_factory_every_double_change_is_a_conflict(shelf):
    shelf.mfactory = None
    with pytest.raises(ConflictError, match='Item ID 1'):
        shelf.mergeItems(shelf.getItem('1'), Bookmark(), 'spec')
    assert shelf.newChangeSpec({'url': 'a'}, {'url': 'b'}) is None


def test_small_defaults(shelf):
    assert shelf.describeItem('9') == 'Item ID 9'
    assert shelf.modifiedTime('1') is None
    assert shelf.discardItem(Bookmark(), 'label') is None
    assert shelf.conflictItem(Bookmark(id='1', url='x'), 'label').id is None


def test_nothing_heavy_is_imported():
    code = (
        'import sys, pysyncml.agents, pysyncml.merge;'
        'print([m for m in ("lxml", "sqlalchemy", "requests", "pathspec") if m in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
