"""The rules of a session that hold whatever it is about, as assertions.

A :class:`Referee` hears every message of a session and stops the test at the first breach by a
side it judges. What a scenario is about it asserts itself; all of what follows comes with it:

* the session id stays the same; each side counts its messages from 1 without gaps;
* an answer goes back to whom the message came from, in the version it came in;
* the body is not empty, and command ids are unique, not 0, and grow (OMA-DS-DataSyncRep 1.2, §6);
* the Status of the header comes first, then one Status for every command (or for every item of
  it) in the order of the commands, with MsgRef, CmdRef, Cmd and the addresses right; no Status
  for a Status, none where none is wanted (OMA-DS-Protocol 1.2, §5);
* a Status of 400 and more for the header ends the session;
* who refuses the header with 401 or 407 says nothing but Statuses, and all of them so;
* nobody ends a package before the other side has ended the one before it, and nobody asks for
  the next message (Alert 222) and says Final at once;
* a server sends changes only after the client has ended its own;
* the client's items go by Source (LUID), the server's Add by Source (GUID) and its other
  commands by Target (LUID).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pysyncml.constants import AlertCode, StatusCode
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Command,
    ItemsCommand,
    Map,
    Message,
    Status,
    Sync,
)

Refs = tuple[str, ...]


@dataclass
class Awaited:
    """A command that is to be answered: its name and the addresses its Status may repeat."""

    name: str
    ends: list[tuple[Refs, Refs]]
    answered: int = 0


class Referee:
    """Hears both sides of one session; judges those named.

    Args:
        judges: ``'client'``, ``'server'`` or both: whose breaches end the test.
        prompt: whether every command must be answered in the very next message. A side whose
            messages are limited in size may need more of them.
    """

    def __init__(self, *judges: str, prompt: bool = True) -> None:
        self.judges = judges or ('client', 'server')
        self.prompt = prompt
        self.said: dict[str, list[Message]] = {'client': [], 'server': []}
        self.awaited: dict[str, dict[tuple[str, str], Awaited]] = {'client': {}, 'server': {}}
        self.changes_told = False

    def hear(self, message: Message, by: str) -> None:
        """Take notice of what *by* (``'client'`` or ``'server'``) has said."""
        other = 'server' if by == 'client' else 'client'
        mine = self.said[by]
        theirs = self.said[other]
        if by in self.judges:
            self._judge_header(message, by, mine, theirs)
            self._judge_ids(message)
            self._judge_statuses(message, by, theirs)
            self._judge_stage(message, by, mine, theirs)
            self._judge_addresses(message, by)
        mine.append(message)
        if by == 'client' and message.final and any(_syncs(m) for m in mine):
            self.changes_told = True
        self.awaited[other] = {} if by in self.judges and self.prompt else self.awaited[other]
        if not message.header.no_resp:
            self.awaited[by].update(_answerable(message))

    # --- the rules ----------------------------------------------------------------------------

    def _judge_header(
        self, message: Message, by: str, mine: list[Message], theirs: list[Message]
    ) -> None:
        header = message.header
        assert header.version == header.dtd_version, 'VerProto and VerDTD say different things'
        number = int(mine[-1].header.msg_id) + 1 if mine else 1
        if by == 'server' and not mine:
            number = int(header.msg_id)  # it may count on from attempts that failed
        assert header.msg_id == str(number), f'{by}: message {header.msg_id} instead of {number}'
        if theirs:
            heard = theirs[-1].header
            assert header.session_id == heard.session_id, f'{by}: another session'
            assert header.version == heard.version, f'{by}: another version'
            assert header.target.uri == heard.source.uri, f'{by}: to somebody else'
        if theirs and by == 'server':
            assert header.source.uri == theirs[-1].header.target.uri, 'the server changed its name'
        if mine:
            assert header.source.uri == mine[-1].header.source.uri, f'{by}: changed its name'

    @staticmethod
    def _judge_ids(message: Message) -> None:
        assert message.commands, 'an empty body'
        ids = [int(command.cmd_id) for command in message.walk()]
        assert ids == list(range(1, len(ids) + 1)), f'command ids {ids}'

    def _judge_statuses(self, message: Message, by: str, theirs: list[Message]) -> None:
        statuses = [c for c in message.commands if isinstance(c, Status)]
        if not theirs:
            assert not statuses, f'{by}: a Status before there was anything to answer'
            return
        heard = theirs[-1]
        if heard.header.no_resp:
            assert not statuses, f'{by}: a Status although the peer wants none'
            return
        first = message.commands[0]
        assert isinstance(first, Status), f'{by}: the body begins with {first.name}'
        assert (first.cmd, first.cmd_ref) == ('SyncHdr', '0'), f'{by}: {first} comes first'
        assert first.msg_ref == heard.header.msg_id
        assert first.target_refs == (heard.header.target.uri,)
        assert first.source_refs == (heard.header.source.uri,)
        awaited = self.awaited['client' if by == 'server' else 'server']
        order = list(awaited)
        last = -1
        for status in statuses[1:]:
            key = (status.msg_ref, status.cmd_ref)
            assert key in awaited, f'{by}: {status} answers nothing'
            assert order.index(key) >= last, f'{by}: the Status for {key} is out of order'
            last = order.index(key)
            _judge_refs(status, awaited[key])
        strange = (StatusCode.INVALID_CREDENTIALS, StatusCode.MISSING_CREDENTIALS)
        if self.prompt and (first.code < 400 or first.code in strange):
            open_ = [f'{a.name} {k}' for k, a in awaited.items() if not a.answered]
            assert not open_, f'{by}: no Status for {", ".join(open_)}'
        if first.code in strange:
            assert first.chal is not None, 'credentials are wanted, but which?'
            assert len(statuses) == len(message.commands), 'more than Statuses to a stranger'
            assert {status.code for status in statuses} == {first.code}

    def _judge_stage(
        self, message: Message, by: str, mine: list[Message], theirs: list[Message]
    ) -> None:
        before = sum(m.final for m in mine)
        heard = sum(m.final for m in theirs)
        if message.final and by == 'server':
            assert before < heard, 'the server has ended a package before the client did'
        if message.final and by == 'client':
            assert before <= heard, 'the client has ended a package before the server did'
        asks = [c for c in message.commands if isinstance(c, Alert)]
        if any(alert.code == AlertCode.NEXT_MESSAGE for alert in asks):
            assert not message.final, f'{by}: asks for the next message and ends the package'
        if by == 'server' and _syncs(message):
            assert self.changes_told, 'the server sends changes before the client has sent all'

    @staticmethod
    def _judge_addresses(message: Message, by: str) -> None:
        for sync in _syncs(message):
            assert sync.target is not None and sync.source is not None, f'{by}: {sync}'
            for command in sync.commands:
                if not isinstance(command, ItemsCommand):
                    continue
                for item in command.items:
                    ends = (item.target_uri is not None, item.source_uri is not None)
                    by_source = by == 'client' or isinstance(command, Add)
                    assert ends == ((False, True) if by_source else (True, False)), f'{by}: {item}'


def _syncs(message: Message) -> list[Sync]:
    return [command for command in message.commands if isinstance(command, Sync)]


def _judge_refs(status: Status, awaited: Awaited) -> None:
    assert status.cmd == awaited.name, f'{status} answers a {awaited.name}'
    awaited.answered += 1
    assert awaited.answered <= max(1, len(awaited.ends)), f'{status} was answered before'
    if status.code < 300:
        assert (status.target_refs, status.source_refs) in awaited.ends, (
            f'{status} repeats other addresses than {awaited.ends}'
        )


def _answerable(message: Message) -> Iterator[tuple[tuple[str, str], Awaited]]:
    """Yield what is to be answered in *message*, with the addresses a Status may repeat."""
    for command in message.walk():
        if isinstance(command, Status) or command.no_resp:
            continue
        key = (message.header.msg_id, command.cmd_id)
        yield key, Awaited(command.name, list(_ends(command)))


def _ends(command: Command) -> Iterator[tuple[Refs, Refs]]:
    if isinstance(command, Sync | Map):
        yield _refs(command.target and command.target.uri, command.source and command.source.uri)
        return
    items = getattr(command, 'items', ())
    for item in items:
        yield _refs(item.target_uri, item.source_uri)
    if not items:
        yield (), ()


def _refs(target: str | None, source: str | None) -> tuple[Refs, Refs]:
    return ((target,) if target is not None else ()), ((source,) if source is not None else ())
