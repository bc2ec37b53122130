"""The referee sees what it is there to see: each rule is broken once."""

from __future__ import annotations

from dataclasses import replace as changed

import pytest

from pysyncml.protocol.messages import (
    Alert,
    Header,
    Item,
    Location,
    Message,
    Status,
    Sync,
)
from tests.conformance.referee import Referee
from tests.conformance.wire import Client, Dialect, add, replace, saying
from tests.sync.support import edit, find

XML = Dialect('xml', '1.2')


def _recorded() -> list[tuple[str, Message]]:
    """Return the messages of a faultless session, with who said them."""
    server = XML.device('S', 'theirs')
    client = Client(server, XML)
    client.session(201, add('1', 'mine'))
    edit(server, find(server, 'mine'), title='new')
    client.session(200, add('2', 'x'), replace('ltheirs', 'theirs', 'newer'))
    said = client.referee.said
    pairs = zip(said['client'], said['server'], strict=True)
    return [each for pair in pairs for each in zip(('client', 'server'), pair, strict=True)]


def _header(**values):
    return lambda m: changed(m, header=changed(m.header, **values))


def _commands(change):
    return lambda m: changed(m, commands=tuple(change(list(m.commands))))


def _in_sync(**values):
    def change(commands):
        for n, command in enumerate(commands):
            if isinstance(command, Sync):
                children = tuple(
                    changed(child, items=(changed(child.items[0], **values),))
                    for child in command.commands
                )
                commands[n] = changed(command, commands=children)
        return commands

    return _commands(change)


def _swapped(commands):
    commands[1], commands[2] = commands[2], commands[1]
    return [changed(command, cmd_id=str(n)) for n, command in enumerate(commands, 1)]


def _status(**values):
    return _commands(lambda c: [c[0], changed(c[1], **values), *c[2:]])


#: What is broken → (which message of the session, how).
BREACHES = {
    'another session': (3, _header(session_id='99')),
    'to somebody else': (3, _header(target=Location('somebody'))),
    'another version': (3, _header(version='1.1', dtd_version='1.1')),
    'a message is missing': (3, _header(msg_id='7')),
    'the name changes': (3, _header(source=Location('http://other/'))),
    'an empty body': (5, lambda m: changed(m, commands=())),
    'ids of commands': (3, _commands(lambda c: [changed(c[0], cmd_id='9'), *c[1:]])),
    'no Status for the header': (1, _commands(lambda c: _numbered(c[1:]))),
    'Statuses out of order': (3, _commands(_swapped)),
    'a Status is missing': (3, _commands(lambda c: _numbered([c[0], *c[2:]]))),
    'a Status too many': (3, _commands(lambda c: _numbered([*c[:2], c[1], *c[2:]]))),
    'a Status for nothing': (3, _status(cmd_ref='77')),
    'a Status for another command': (3, _status(cmd='Map')),
    'addresses of a Status': (3, _status(source_refs=('other',))),
    'Final too early': (1, None),
    'asks and ends': (
        3,
        _commands(lambda c: _numbered([*c, Alert(code=222, items=(Item(),))])),
    ),
    'a Replace of the server with a Source': (3, _in_sync(source=Location('x'))),
    'the client uses Target': (2, _in_sync(target=Location('x'), source=None)),
}


def _numbered(commands):
    message = Message(header=Header(target=Location('x'), source=Location('y')))
    return saying(message, *commands).commands


def test_a_faultless_session():
    referee = Referee()
    for by, message in _recorded():
        referee.hear(message, by)
    assert [len(messages) for messages in referee.said.values()] == [3, 3]


@pytest.mark.parametrize('name', BREACHES)
def test_a_breach_is_seen(name):
    number, breach = BREACHES[name]
    session = _recorded()
    referee = Referee()
    for by, message in session[:number]:
        if breach is None:
            message = changed(message, final=False)
        referee.hear(message, by)
    by, message = session[number]
    with pytest.raises(AssertionError):
        referee.hear(breach(message) if breach is not None else message, by)


def test_changes_before_the_client_has_sent_its_own():
    session = _recorded()
    [sync] = [c for c in session[3][1].commands if isinstance(c, Sync)]
    referee = Referee()
    referee.hear(session[0][1], 'client')
    early = session[1][1]
    with pytest.raises(AssertionError, match='before the client has sent all'):
        referee.hear(saying(early, *early.commands, sync), 'server')


def test_a_stranger_is_told_nothing_and_how_to_log_in():
    session = _recorded()
    first = session[0][1]
    refs = [(c.cmd_id, c.name) for c in first.commands]
    header = changed(session[1][1].header, msg_id='1')
    ends = {
        'target_refs': (first.header.target.uri,),
        'source_refs': (first.header.source.uri,),
    }
    refusals = [Status(msg_ref='1', cmd_ref='0', cmd='SyncHdr', code=407, **ends)]
    refusals += [Status(msg_ref='1', cmd_ref=ref, cmd=name, code=407) for ref, name in refs]
    referee = Referee()
    referee.hear(first, 'client')
    message = Message(header=header, commands=_numbered(refusals), final=True)
    with pytest.raises(AssertionError, match='credentials are wanted, but which'):
        referee.hear(message, 'server')


def test_nobody_answers_who_wants_no_answer():
    session = _recorded()
    referee = Referee()
    referee.hear(_header(no_resp=True)(session[0][1]), 'client')
    with pytest.raises(AssertionError, match='wants none'):
        referee.hear(session[1][1], 'server')
