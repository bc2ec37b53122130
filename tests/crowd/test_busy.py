"""A server that has no time says so, and its clients come again."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

import pysyncml.busy
import pysyncml.negotiation
from pysyncml.errors import RefusedError
from pysyncml.transport import LoopbackTransport, Request
from tests.sync.support import device, urls


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr('pysyncml.negotiation.BUSY_PAUSE', 0.001)
    monkeypatch.setattr('pysyncml.negotiation.BUSY_LONGEST', 0.002)


@contextmanager
def busy_state(server, monkeypatch):
    """Let somebody else work on the state of *server*, inside the block."""
    asked = threading.Event()

    @contextmanager
    def turn(seconds=None):
        asked.set()
        assert seconds is not None and seconds <= 60
        raise pysyncml.StateBusy('somebody is at it')
        yield

    with monkeypatch.context() as patch:
        patch.setattr(server.context.database, 'turn', turn)
        yield asked


def test_a_client_comes_again_at_any_message(monkeypatch):
    """Each message is put off three times; the session is one all the same."""
    server, client = device('S', 'y'), device('C', 'x')
    messages: list[int] = []

    def handle(request: Request):
        messages.append(len(messages))
        if len(messages) % 4:
            with busy_state(server, monkeypatch) as asked:
                response = server.handle(request)
            assert asked.is_set() and b'<Data>417</Data>' in response.body
            assert b'<Item>' not in response.body
            return response
        return server.handle(request)

    client.sync(server, transport=LoopbackTransport(handle))
    assert urls(client) == urls(server) == ['x', 'y']
    assert len(messages) >= 12
    assert client.adapter.peer.record.sessions == 1


def test_a_message_that_has_waited_for_long_waits_no_longer(monkeypatch):
    """What it waited in line for a thread counts, too."""
    server, left = device('S'), []
    turn = server.context.database.turn

    def look(seconds=None):
        left.append(seconds)
        return turn(seconds)

    monkeypatch.setattr(server.context.database, 'turn', look)
    for waited in (0.0, 45.0, 500.0):
        answer: pysyncml.adict = pysyncml.adict()
        request = Request('http://S/', {'content-type': 'application/vnd.syncml+xml'}, b'<x/>')
        server.adapter.handleRequest(None, request, answer)
        assert answer.status == 400
        body = (
            b'<SyncML><SyncHdr><VerDTD>1.2</VerDTD><VerProto>SyncML/1.2</VerProto>'
            b'<SessionID>1</SessionID><MsgID>1</MsgID><Target><LocURI>http://S/</LocURI></Target>'
            b'<Source><LocURI>D</LocURI></Source></SyncHdr><SyncBody><Final/></SyncBody></SyncML>'
        )
        kind = {'content-type': 'application/vnd.syncml+xml'}
        server.adapter.handleRequest(None, Request('http://S/', kind, body, None, waited), answer)
    assert left[0] == 60.0
    assert 15.0 in left
    assert left[-1] == 0.0


def test_a_refusal_is_final():
    """With a reason, waiting does not help: the client says it at once."""
    server, client = device('S', 'y'), device('C', 'x')

    def refuse():
        raise RefusedError('all notes are gone')

    server.adapter.onSession = refuse
    with pytest.raises(RefusedError, match='all notes are gone'):
        client.sync(server)


def test_a_client_gives_up_at_last_or_when_its_user_wants_to(monkeypatch):
    monkeypatch.setattr('pysyncml.negotiation.BUSY_LIMIT', 0.02)
    server, client = device('S', 'y'), device('C', 'x')
    with busy_state(server, monkeypatch):
        with pytest.raises(RefusedError, match='does not synchronise now'):
            client.sync(server)
        monkeypatch.setattr('pysyncml.negotiation.BUSY_LIMIT', 600.0)

        def handle(request: Request):
            client.adapter.suspend()
            return server.handle(request)

        client.sync(server, transport=LoopbackTransport(handle))
    assert client.adapter.suspended
    client.sync(server)
    assert urls(client) == urls(server) == ['x', 'y']
