"""A client looks for changes while its server prepares the first answer."""

from __future__ import annotations

import contextlib
import threading

import pytest

from pysyncml.cli.meanwhile import meanwhile
from pysyncml.errors import ConnectFailed, TooManyDeletions
from pysyncml.negotiation import BeginAgain
from pysyncml.transport import Request, Response
from pysyncml.util import adict

REQUEST, ANSWER = Request('http://s/'), Response(b'answer')


class Engine:
    def __init__(self, *actions):
        self.deferred = list(actions)
        self.works = 0

    @contextlib.contextmanager
    def work(self):
        self.works += 1
        yield


class Server:
    """A transport whose answer waits until the client has looked."""

    def __init__(self, concurrent=True, error=None):
        self.concurrent = concurrent
        self.error = error
        self.looked = threading.Event()
        self.asked = []
        self.closed = False

    def exchange(self, request):
        self.asked.append(request)
        assert self.looked.wait(30)
        if self.error is not None:
            raise self.error
        return ANSWER

    def close(self):
        self.closed = True


def adapter(anchor='1'):
    binding = adict(sourceAnchor=anchor)
    return adict(stores={'notes': adict(peer=adict(binding=binding))})


def test_the_server_is_asked_before_the_client_looks():
    server = Server()
    engine = Engine(server.looked.set)
    transport = meanwhile(engine, adapter(), server)
    assert not server.looked.is_set()
    assert transport.exchange(REQUEST) is ANSWER
    assert engine.deferred is None and engine.works == 1
    assert transport.exchange(REQUEST) is ANSWER
    assert server.asked == [REQUEST, REQUEST] and engine.works == 1
    transport.close()
    assert server.closed


def test_a_transport_that_cannot_is_used_afterwards():
    server = Server(concurrent=False)
    engine = Engine(server.looked.set)
    assert meanwhile(engine, adapter(), server) is server
    assert server.looked.is_set() and engine.deferred is None


def test_nothing_put_off_leaves_the_transport_as_it_is():
    server = Server()
    assert meanwhile(Engine(), adapter(), server) is server


def test_a_failure_of_the_server_comes_out_and_what_was_done_is_done():
    server = Server(error=ConnectFailed('nobody there'))
    engine = Engine(server.looked.set)
    transport = meanwhile(engine, adapter(), server)
    for _ in range(2):
        with pytest.raises(ConnectFailed, match='nobody there'):
            transport.exchange(REQUEST)
    assert engine.works == 1


def test_what_stops_the_client_comes_out_and_is_to_be_done_again():
    server = Server()

    def look():
        server.looked.set()
        raise TooManyDeletions('all of them?')

    engine = Engine(look)
    with pytest.raises(TooManyDeletions):
        meanwhile(engine, adapter(), server).exchange(REQUEST)
    assert engine.deferred == [look]


def test_a_session_begins_again_if_everything_is_to_be_compared():
    server = Server()
    transport = meanwhile(Engine(server.looked.set), adapter(anchor=None), server)
    with pytest.raises(BeginAgain):
        transport.exchange(REQUEST)
    assert server.asked == [REQUEST]
