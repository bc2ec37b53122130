"""A session: what it lets through, the ids it gives, and its life between two messages."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysyncml.constants import AlertCode, Role
from pysyncml.errors import LocalProtocolError, RemoteProtocolError
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Anchor,
    Cred,
    Get,
    Header,
    Item,
    Location,
    Map,
    Message,
    Meta,
    Put,
    Status,
    Sync,
)
from pysyncml.protocol.session import Progress, Refused, Said, Sent, Session
from pysyncml.protocol.stages import Stage

CLIENT, SERVER = Location('D', 'my device'), Location('http://U/')


def client(**values):
    return Session(Role.CLIENT, 'S1', local=CLIENT, remote=SERVER, **values)


def server(**values):
    return Session(Role.SERVER, 'S1', local=SERVER, remote=CLIENT, **values)


def message(*commands, final=False, msg_id='1', to=SERVER, by=CLIENT, **header):
    values = {'session_id': 'S1', 'msg_id': msg_id, 'target': to, 'source': by} | header
    numbered = tuple(
        dataclasses.replace(command, cmd_id=str(number))
        for number, command in enumerate(commands, 1)
    )
    return Message(header=Header(**values), commands=numbered, final=final)


# --- listening ------------------------------------------------------------------------------------


def test_commands_come_in_their_order():
    commands = (Put(), Get(), Alert(code=200))
    received = list(server().receive(message(*commands)))
    assert [command.name for command, _ in received] == ['Put', 'Get', 'Alert']
    assert all(answered is None for _, answered in received)


def test_final_moves_the_speaker_on():
    session = server()
    list(session.receive(message(Alert(code=200))))
    assert (session.ours, session.theirs) == (Stage.SETUP, Stage.SETUP)
    list(session.receive(message(msg_id='2', final=True)))
    assert (session.ours, session.theirs) == (Stage.SETUP, Stage.SYNC)


def test_what_may_not_be_said_is_refused_with_405():
    session = client()
    wrong = Sync(commands=(Add(cmd_id='9'),))
    received = list(session.receive(message(Status(cmd_ref='0'), wrong, Alert(code=200))))
    [_, (refused, _), (alert, _)] = received
    assert isinstance(refused, Refused)
    assert (refused.command.name, refused.command.cmd_id, refused.status) == ('Sync', '2', 405)
    assert alert.name == 'Alert', 'the session goes on'


def test_items_outside_of_a_sync_are_refused():
    session = server()
    session.theirs = Stage.SYNC
    [(refused, _)] = session.receive(message(Add()))
    assert refused.status == 405


def test_a_status_comes_with_what_it_answers_once():
    session = client()
    sent = Sent('Sync', 'notes')
    session.send([Said(Sync(), sent)], final=False)
    answers = [Status(msg_ref='1', cmd_ref='1'), Status(msg_ref='2', cmd_ref='1')]
    received = list(session.receive(message(*answers)))
    assert [answered for _, answered in received] == [sent, None]
    [(_, again)] = session.receive(message(answers[0], msg_id='2'))
    assert again is None
    assert session.awaiting == {}


@pytest.mark.parametrize('wrong', [{'session_id': 'S2'}, {'version': '1.1'}])
def test_messages_of_other_sessions_are_refused(wrong):
    session = server()
    with pytest.raises(RemoteProtocolError):
        list(session.receive(message(Alert(code=200), final=True, **wrong)))
    assert session.theirs is Stage.SETUP


def test_a_change_of_version_is_513():
    with pytest.raises(RemoteProtocolError) as caught:
        list(server().receive(message(version='1.1')))
    assert caught.value.status == 513


def test_limits_are_remembered_until_said_anew():
    session = server()
    list(session.receive(message(meta=Meta(max_msg_size=1000, max_obj_size=50))))
    list(session.receive(message(msg_id='2')))
    assert (session.peer_max_msg_size, session.peer_max_obj_size) == (1000, 50)
    list(session.receive(message(meta=Meta(max_msg_size=2000), msg_id='3')))
    assert (session.peer_max_msg_size, session.peer_max_obj_size) == (2000, 50)


def test_only_a_client_follows_a_resp_uri():
    for session, followed in ((client(), 'http://V/'), (server(), None)):
        list(session.receive(message(resp_uri='http://V/')))
        assert session.resp_uri == followed


# --- speaking -------------------------------------------------------------------------------------


def test_messages_are_numbered_from_one():
    session = client(max_msg_size=10_000, max_obj_size=500, cred=Cred(data='x'))
    first = session.send([], final=False)
    second = session.send([], final=True)
    assert [m.header.msg_id for m in (first, second)] == ['1', '2']
    assert [m.final for m in (first, second)] == [False, True]
    header = first.header
    assert (header.session_id, header.target, header.source) == ('S1', SERVER, CLIENT)
    assert (header.max_msg_size, header.max_obj_size) == (10_000, 500)
    assert header.cred == Cred(data='x')
    assert header.resp_uri is None


def test_commands_are_numbered_through_containers():
    sync = Said(Sync(), Sent('Sync', 'n'), (Said(Add(), Sent('Add', 'n', 'a', 1)), Said(Add())))
    session = client()
    out = session.send([Said(Put()), sync, Said(Alert(code=222))], final=False)
    assert [(c.name, c.cmd_id) for c in out.walk()] == [
        ('Put', '1'),
        ('Sync', '2'),
        ('Add', '3'),
        ('Add', '4'),
        ('Alert', '5'),
    ]
    assert session.awaiting == {'1/2': Sent('Sync', 'n'), '1/3': Sent('Add', 'n', 'a', 1)}
    assert session.send([Said(Put())], final=False).commands[0].cmd_id == '1'


def several():
    each = tuple((name, Sent('Add', 'n', name, 1)) for name in 'abc')
    return Said(Add(items=tuple(Item() for _ in each)), each=each)


def answered(session, *statuses):
    """Return the items that *statuses* are taken to be about."""
    received = session.receive(message(*(Status(msg_ref='1', **one) for one in statuses)))
    return [sent.item if sent is not None else None for _, sent in received]


def test_a_status_for_a_command_with_several_items():
    """It names some of them, or none, which means all that have no other; each is meant once."""
    for statuses, expected in (
        ([{'cmd_ref': '2'}], ['a', 'b', 'c']),
        ([{'cmd_ref': '2', 'source_refs': ('b',)}, {'cmd_ref': '2'}], ['b', 'a', 'c']),
        ([{'cmd_ref': '2', 'target_refs': ('c', 'a')}], ['c', 'a']),
        ([{'cmd_ref': '2'}, {'cmd_ref': '2'}], ['a', 'b', 'c', None]),
        ([{'cmd_ref': '2', 'source_refs': ('x',)}, {'cmd_ref': '1'}], [None, None]),
    ):
        session = client()
        session.send([Said(Sync(), children=(several(),))], final=False)
        session = Session.restore(json.loads(json.dumps(session.snapshot())))
        assert answered(session, *statuses) == expected


def test_a_message_with_several_items_is_said_again():
    session = client()
    first = session.send([Said(Sync(), children=(several(),))], final=False)
    again = session.repeat(first, message())
    [status, sync] = again.commands
    assert [status.name, sync.name, sync.commands[0].cmd_id] == ['Status', 'Sync', '3']
    received = session.receive(message(Status(msg_ref='2', cmd_ref='3'), msg_id='2'))
    assert [sent.item for _, sent in received] == ['a', 'b', 'c']


def test_saying_what_may_not_be_said_is_a_bug():
    for session, command in ((server(), Sync()), (client(), Add()), (server(), Map())):
        with pytest.raises(LocalProtocolError, match=command.name):
            session.send([Said(command)], final=False)


def test_credentials_stop_when_they_are_accepted():
    session = client(cred=Cred(data='x'))
    session.authenticated = True
    assert session.send([], final=False).header.cred is None


def test_the_status_of_a_header():
    session = server()
    status = session.status_of_header(message(msg_id='7'), 212).command
    assert (status.msg_ref, status.cmd_ref, status.cmd, status.code) == ('7', '0', 'SyncHdr', 212)
    assert (status.target_refs, status.source_refs) == (('http://U/',), ('D',))


def test_the_status_of_a_command():
    session = server()
    received = list(session.receive(message(Alert(code=200), msg_id='7')))
    item = Item(data=Anchor(next='2'))
    [said] = session.status_of(received[0][0], 508, items=(item,), target='t', source='s')
    status = said.command
    assert (status.msg_ref, status.cmd_ref, status.cmd, status.code) == ('7', '1', 'Alert', 508)
    assert (status.target_refs, status.source_refs, status.items) == (('t',), ('s',), (item,))
    assert said.sent is None, 'nobody answers a Status'


def test_who_wants_no_answer_gets_none():
    assert server().status_of(Alert(code=200, no_resp=True, cmd_id='1'), 200) == []


def test_the_request_to_go_on():
    alert = client().alert(AlertCode.NEXT_MESSAGE).command
    assert alert.code == AlertCode.NEXT_MESSAGE
    assert alert.items[0].target_uri == 'http://U/'


def test_two_sessions_come_to_an_end_together():
    ours, theirs = client(), server()
    rounds = 0
    while not (ours.done and theirs.done):
        assert ours.has_floor
        out = ours.send([], final=True)
        list(theirs.receive(out))
        assert theirs.has_floor
        list(ours.receive(dataclasses.replace(out, header=theirs.send([], final=True).header)))
        rounds += 1
    assert rounds == 3
    assert not ours.has_floor
    assert not theirs.has_floor


def test_a_session_given_up_is_done():
    session = server()
    session.aborted = 500
    assert session.done


# --- between two messages -------------------------------------------------------------------------

TEXT = st.one_of(st.none(), st.text(max_size=5))


@given(
    st.builds(
        Progress,
        store=st.text(min_size=1, max_size=5),
        peer_store=st.text(max_size=5),
        binding=st.integers(0),
        mode=st.integers(1, 7),
        slow=st.booleans(),
        our_last=TEXT,
        peer_next=TEXT,
        failed=st.sampled_from([0, 404]),
        cursor=st.integers(0),
        withheld=st.lists(st.text(max_size=3)),
        stats=st.dictionaries(st.text(max_size=3), st.integers()),
    ),
    st.dictionaries(
        st.text(max_size=5),
        st.builds(
            Sent,
            st.text(max_size=5),
            st.text(max_size=5),
            st.text(max_size=5),
            st.integers(0),
            st.booleans(),
            TEXT,
        ),
        max_size=3,
    ),
    st.sampled_from(Stage),
    st.sampled_from(Stage),
    st.sampled_from(Role),
    st.integers(0, 500),
)
def test_a_session_goes_through_json(progress, awaiting, ours, theirs, role, number):
    session = Session(role, 'S é', local=CLIENT, remote=SERVER, max_msg_size=number or None)
    session.datastores = {progress.store: progress}
    session.awaiting, session.ours, session.theirs = awaiting, ours, theirs
    session.msg_id = session.number = number
    session.peer_msg_id, session.resp_uri = 'm', 'http://V/'
    session.peer_max_obj_size, session.authenticated, session.identified = 7, True, True
    session.aborted = number
    again = Session.restore(json.loads(json.dumps(session.snapshot())))
    mine, its = vars(session), vars(again)
    assert {name: its[name] for name in mine} == mine
    assert again.datastores[progress.store] is not progress
    assert again.done is session.done


def test_every_field_of_a_progress_is_kept():
    defaults = Progress(store='s', peer_store='p', binding=1)
    for field in dataclasses.fields(Progress):
        value = getattr(defaults, field.name)
        changed = {bool: True, int: 5, list: ['x'], dict: {'x': 1}}.get(type(value), 'text')
        progress = dataclasses.replace(defaults, **{field.name: changed})
        session = client()
        session.datastores = {progress.store: progress}
        again = Session.restore(json.loads(json.dumps(session.snapshot())))
        assert again.datastores == {progress.store: progress}, field.name


def test_credentials_are_not_kept():
    session = client(cred=Cred(data='c2VjcmV0'))
    assert 'c2VjcmV0' not in json.dumps(session.snapshot())
    assert Session.restore(session.snapshot()).cred is None


def test_a_failed_datastore_takes_no_part():
    assert Progress(store='s', peer_store='p', binding=1).live
    assert not Progress(store='s', peer_store='p', binding=1, failed=404).live
