"""No message is larger than what the other side said it takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pysyncml.codec import cost
from pysyncml.constants import Role, SyncType
from pysyncml.protocol.messages import Add, Location, Replace, Status
from pysyncml.protocol.session import Session
from pysyncml.sync.room import Room
from tests.sync.support import ENGINES, Wire, bookmark, contents, device, edit

letters = st.sampled_from(['x', 'é', '<&>', '\U0001f600', ']]>', '"\'', '\r\n', '\0', '\x1b='])
texts = st.builds(lambda letter, count: letter * count, letters, st.integers(0, 3000))
names = st.lists(texts, max_size=6)


def check(wire: Wire, for_client: int, for_server: int) -> None:
    """The first request comes before the server could say anything."""
    for number, (request, answer) in enumerate(wire.sizes):
        assert answer <= for_client, f'answer {number + 1}'
        assert request <= for_server or not number, f'request {number + 1}'


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    for_client=st.integers(2000, 9000),
    for_server=st.integers(2000, 9000),
    here=names,
    there=names,
    changes=names,
    restart=st.booleans(),
    encoding=st.sampled_from(['xml', 'wbxml']),
)
def test_no_message_is_too_large(for_client, for_server, here, there, changes, restart, encoding):
    ENGINES.release()
    client = device('C', maxMsgSize=for_client)
    client.context.codec = encoding
    server = device('S', maxMsgSize=for_server)
    for dev, titles in ((client, here), (server, there)):
        for number, title in enumerate(titles):
            dev.add(bookmark(f'{dev.name}{number}', title))
    for _ in range(2):
        wire = Wire(server, restart=restart)
        stats = client.sync(server, transport=wire)['items']
        assert not stats.errors, stats.problems
        check(wire, for_client, for_server)
        assert contents(client) == contents(server)
        for dev, title in zip((client, server) * 3, changes, strict=False):
            if dev.agent.shelf:
                edit(dev, sorted(dev.agent.shelf)[0], title=title)
    wire = Wire(server, restart=restart)
    client.sync(server, SyncType.SLOW_SYNC, transport=wire)
    check(wire, for_client, for_server)


@given(
    refs=st.lists(st.text(st.sampled_from('aZ0-#/. é&<\n'), max_size=12), max_size=2),
    targets=st.integers(0, 2),
    encoding=st.sampled_from(['xml', 'wbxml']),
    version=st.sampled_from(['1.0', '1.1', '1.2']),
    code=st.sampled_from([200, 201, 418]),
)
def test_a_status_is_measured_as_it_is_written(refs, targets, encoding, version, code):
    session = Session(Role.SERVER, '1', local=Location('S'), remote=Location('C'))
    session.encoding, session.version = encoding, version
    room = Room(session, 10_000)
    for cmd_ref in ('1', '12', '4711'):
        status = Status(
            msg_ref='3',
            cmd_ref=cmd_ref,
            cmd='Add',
            target_refs=tuple(refs[:targets]),
            source_refs=tuple(refs[targets:]),
            code=code,
        )
        numbered = replace(status, cmd_id='00000')
        exact = cost(numbered, encoding, version=version)
        assert exact <= room.measure(status) <= exact + 8


@pytest.mark.parametrize('limit', [2000, 2100, 2300, 3000])
def test_answers_that_have_no_room_come_later(limit):
    """A client that takes small messages may send large ones."""
    client, server = device('C', maxMsgSize=limit), device('S')
    for number in range(60):
        client.add(bookmark(f'http://example.org/{number}'))
    wire = Wire(server, restart=True)
    stats = client.sync(server, transport=wire)['items']
    assert stats.peerAdd == 60
    assert contents(client) == contents(server)
    check(wire, limit, 512 * 1024)
    added = [s for s in wire.sent(Status, by='server') if s.cmd == 'Add']
    assert len(added) == 60 and len({(s.msg_ref, s.cmd_ref) for s in added}) == 60


def test_the_limit_of_a_server_is_remembered():
    client, server = device('C'), device('S', maxMsgSize=2000)
    client.sync(server)
    client.restart()
    client.adapter.peer = client.context.RemoteAdapter(url='http://S/')
    for number in range(40):
        client.add(bookmark(f'http://example.org/{number}', 'x' * number * 30))
    wire = Wire(server)
    client.sync(server, SyncType.TWO_WAY, transport=wire)
    assert all(request <= 2000 for request, _ in wire.sizes)
    assert contents(client) == contents(server)


def test_what_fits_into_a_message_is_not_cut():
    client, server = device('C', maxMsgSize=8000), device('S', maxMsgSize=8000)
    for number in range(10):
        client.add(bookmark(f'c{number}', 'x' * 5000))
        server.add(bookmark(f's{number}', 'x' * 5000))
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert not any(i.more_data for kind in (Add, Replace) for c in wire.sent(kind) for i in c.items)
