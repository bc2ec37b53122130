"""Items that are never in memory as a whole: how large the messages with their parts are."""

from __future__ import annotations

import random

import pytest

from pysyncml.conversation import MESSAGE_SIZE
from pysyncml.errors import HTTPStatus
from pysyncml.protocol.limits import Limits
from tests.sync.support import Bookmark, BookmarkAgent, Wire, device

SIZE = 3 << 20
NOISE = random.Random(1).randbytes(SIZE)


class Source:
    size = SIZE

    def __init__(self):
        self.most = 0

    def read_at(self, start, count):
        self.most = max(self.most, count)
        return NOISE[start : start + count]


class LargeAgent(BookmarkAgent):
    """Its bookmarks are nothing but noise, and lie elsewhere."""

    def __init__(self):
        super().__init__()
        self.source = Source()

    def dumpItem(self, item, stream, contentType=None, version=None):
        stream.attach(self.source)

    def loadItem(self, stream, contentType=None, version=None):
        return Bookmark(url='noise', title=stream.read())

    def fingerprint(self, item):
        return 'noise'


def pair(maker='pysyncml', **values):
    client, server = device('C', agent=LargeAgent()), device('S', agent=LargeAgent(), **values)
    server.adapter.record.devinf = {**server.adapter.record.devinf, 'manufacturerName': maker}
    client.add(Bookmark(url='noise', title=NOISE))
    client.context.codec = 'wbxml'
    return client, server


def arrived(server):
    return [item.title for item in server.agent.getAllItems()]


def test_parts_for_our_kind_come_in_large_messages():
    client, server = pair()
    client.adapter.limits = Limits(part=1 << 20)
    wire = Wire(server)
    assert not client.sync(server, transport=wire)['items'].errors
    assert arrived(server) == [NOISE]
    largest = max(request for request, _ in wire.sizes)
    assert (1 << 20) - 200 < largest <= 1 << 20
    assert client.agent.source.most < 1 << 20
    assert len(wire.sizes) < 9


@pytest.mark.parametrize('limit', [20_000, 300_000])
def test_who_says_what_it_takes_gets_no_more(limit):
    client, server = pair(maxMsgSize=limit)
    wire = Wire(server)
    assert not client.sync(server, transport=wire)['items'].errors
    assert arrived(server) == [NOISE]
    assert max(request for request, _ in wire.sizes[1:]) <= limit


def test_others_get_messages_of_the_usual_size():
    client, server = pair('somebody else')
    wire = Wire(server)
    assert not client.sync(server, transport=wire)['items'].errors
    assert arrived(server) == [NOISE]
    assert max(request for request, _ in wire.sizes) <= MESSAGE_SIZE


def test_something_on_the_way_that_takes_no_large_messages():
    """As web servers do that others stand behind, unless they are told otherwise."""
    client, server = pair()

    class Narrow(Wire):
        refused = 0

        def exchange(self, request):
            if len(request.body) > 1_000_000:
                self.refused += 1
                raise HTTPStatus('too large', 413)
            return super().exchange(request)

    wire = Narrow(server)
    assert not client.sync(server, transport=wire)['items'].errors
    assert (wire.refused, arrived(server)) == (1, [NOISE])
