"""Foreign peers of few words, written against messages as values.

They are the other side in these tests, and a short description of the protocol at once:

* :class:`Client` talks to one of our servers. :meth:`Client.begin`, :meth:`Client.send` and
  :meth:`Client.confirm` are the three packages a client has in a session (OMA-DS-Protocol 1.2,
  §5.1); :meth:`Client.say` says anything.
* :class:`Server` answers one of our clients, package by package, and lets a script alter what it
  says.
* :class:`Watched` stands between our client and our server.

Each of them has a :class:`~tests.conformance.referee.Referee`, which judges every message of ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace as changed
from typing import Any, NamedTuple

from pysyncml.agents.base import Agent
from pysyncml.codec import decode, encode
from pysyncml.constants import TYPE_SYNCML_DEVICE_INFO, AlertCode
from pysyncml.protocol.devinf import ContentTypeInfo, DataStoreInfo, DeviceInfo, DevInf
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Anchor,
    Command,
    Cred,
    Delete,
    Get,
    Header,
    Item,
    ItemsCommand,
    Location,
    Map,
    MapItem,
    Message,
    Meta,
    Put,
    Replace,
    Results,
    Status,
    Sync,
)
from pysyncml.stats import Stats
from pysyncml.testing import TestDevice
from pysyncml.transport import Request, Response
from tests.conformance.referee import Referee
from tests.sync.support import ENGINES, BookmarkAgent, Wire, bookmark

#: The type of the items: a JSON object with ``url`` and ``title``.
TYPE = 'text/x-bookmark'


class Dialect(NamedTuple):
    """How messages are written: the encoding, and the version of SyncML."""

    encoding: str
    version: str

    def __str__(self) -> str:
        return f'{self.encoding}-{self.version}'

    @property
    def devinf_uri(self) -> str:
        """The address of device information in this version."""
        return f'./devinf{self.version.replace(".", "")}'

    @property
    def devinf_type(self) -> str:
        """The type of device information in this encoding."""
        return f'{TYPE_SYNCML_DEVICE_INFO}+{self.encoding}'

    def device(self, name: str, *urls: str, agent: Agent | None = None, **values: Any) -> Device:
        """Return one of our devices, which speaks like this when it is a client."""
        made = Device(self, name, agent or BookmarkAgent(), engine=ENGINES.take(), **values)
        for url in urls:
            made.add(bookmark(url))
        return made


class Device(TestDevice):
    """One of our devices; what it speaks as a client is settled."""

    def __init__(self, dialect: Dialect, *args: Any, **values: Any) -> None:
        self.dialect = dialect
        super().__init__(*args, **values)

    def sync(self, server: Any, *args: Any, **values: Any) -> dict[str, Stats]:
        """Synchronise with *server* as its client."""
        if self.adapter.peer is None:
            encoding, version = self.dialect
            self.adapter.peer = self.context.RemoteAdapter(
                url=f'http://{server.name}/', encoding=encoding, version=version
            )
        return super().sync(server, *args, **values)


#: The dialects in which the scenarios are always played, and those left to the campaign.
DIALECTS = [Dialect('xml', '1.2'), Dialect('wbxml', '1.2')]
OLDER = [Dialect(encoding, version) for version in ('1.1', '1.0') for encoding in ('xml', 'wbxml')]


# --- what is said -------------------------------------------------------------------------------


def bookmark_data(url: str, title: str | None = None) -> bytes:
    """Return the data of an item."""
    values = {'url': url, 'title': title or f'title of {url}'}
    return json.dumps(values, ensure_ascii=False).encode()


def url_of(item: Item) -> str:
    """Return the ``url`` in the data of *item*."""
    assert isinstance(item.data, bytes)
    return json.loads(item.data)['url']


def title_of(item: Item) -> str:
    """Return the ``title`` in the data of *item*."""
    assert isinstance(item.data, bytes)
    return json.loads(item.data)['title']


def _data_command(
    kind: type[ItemsCommand], item_id: str, url: str, title: str | None, target: bool
) -> ItemsCommand:
    end = {'target' if target else 'source': Location(item_id)}
    item = Item(**end, data=bookmark_data(url, title))  # type: ignore[arg-type]
    return kind(meta=Meta(type=TYPE), items=(item,))


def add(item_id: str, url: str, title: str | None = None) -> ItemsCommand:
    """Return an Add; *item_id* is the sender's own id of the item."""
    return _data_command(Add, item_id, url, title, target=False)


def replace(item_id: str, url: str, title: str | None = None, *, target=False) -> ItemsCommand:
    """Return a Replace; with *target* as a server says it, by the client's id."""
    return _data_command(Replace, item_id, url, title, target)


def delete(item_id: str, *, target: bool = False) -> Delete:
    """Return a Delete; with *target* as a server says it, by the client's id."""
    return Delete(items=(Item(**{'target' if target else 'source': Location(item_id)}),))


def statuses_of(message: Message, name: str) -> list[int]:
    """Return the codes of all Statuses for commands called *name*."""
    return [c.code for c in message.commands if isinstance(c, Status) and c.cmd == name]


def header_status(message: Message) -> int:
    """Return the code for the header of the message that *message* answers."""
    [code] = statuses_of(message, 'SyncHdr')
    return code


def commands_of(message: Message, kind: type) -> list[Any]:
    """Return all commands of *kind* in *message*, also those inside others."""
    return [command for command in message.walk() if isinstance(command, kind)]


def numbered(commands: Iterable[Command]) -> tuple[Command, ...]:
    """Return *commands* with ids from 1, children counted in the same row."""
    count = 0

    def number(command: Command) -> Command:
        nonlocal count
        count += 1
        mine = changed(command, cmd_id=str(count))
        children = getattr(mine, 'commands', None)
        if children:
            mine = changed(mine, commands=tuple(number(child) for child in children))  # type: ignore[call-arg]
        return mine

    return tuple(number(command) for command in commands)


def saying(message: Message, *commands: Command, **values: Any) -> Message:
    """Return *message* with *commands* instead of its own, numbered again."""
    return changed(message, commands=numbered(commands), **values)


Judge = Callable[[Command], int | None]


def answers(message: Message, judge: Judge, **of_header: Any) -> list[Status]:
    """Return the Statuses for all of *message*, its header first; ``None`` means none."""
    header = message.header
    ends = {'target_refs': (header.target.uri,), 'source_refs': (header.source.uri,)}
    first = Status(
        msg_ref=header.msg_id, cmd_ref='0', cmd='SyncHdr', **{'code': 200, **ends, **of_header}
    )
    rest = []
    for command in message.walk():
        code = None if isinstance(command, Status) or command.no_resp else judge(command)
        if code is None:
            continue
        target, source = getattr(command, 'target', None), getattr(command, 'source', None)
        for item in getattr(command, 'items', ())[:1] if not isinstance(command, Map) else ():
            target, source = item.target, item.source
        echo = [i.meta.anchor for i in getattr(command, 'items', ()) if getattr(i, 'meta', None)]
        rest.append(
            Status(
                msg_ref=header.msg_id,
                cmd_ref=command.cmd_id,
                cmd=command.name,
                target_refs=(target.uri,) if target else (),
                source_refs=(source.uri,) if source else (),
                code=code,
                items=tuple(Item(data=anchor) for anchor in echo if anchor),
            )
        )
    return [first, *rest]


def usual(command: Command) -> int:
    """Return the Status code a command gets when all is well."""
    return 201 if isinstance(command, Add) else 200


class _Peer:
    """What both foreign peers have: a name, a datastore, items, anchors."""

    def __init__(self, dialect: Dialect, name: str, store: str, peer_store: str) -> None:
        self.dialect = dialect
        self.name = name
        self.store = store
        self.peer_store = peer_store
        self.last: str | None = None
        self.next = '100'
        self.judge: Judge = usual

    def devinf(self, **values: Any) -> DevInf:
        """Return the device information of this peer; *values* for the datastore."""
        types = (ContentTypeInfo(TYPE, '1.0', preferred=True),)
        store = DataStoreInfo(**{'uri': self.store, 'content_types': types, **values})
        device = DeviceInfo(devID=self.name, manufacturerName='Foreign', modelName='One')
        return DevInf(version=self.dialect.version, device=device, stores=(store,))

    def put(self, devinf: DevInf | None = None) -> Put:
        """Return a Put of device information."""
        item = Item(source=Location(self.dialect.devinf_uri), data=devinf or self.devinf())
        return Put(meta=Meta(type=self.dialect.devinf_type), items=(item,))

    def get(self) -> Get:
        """Return a Get of device information."""
        item = Item(target=Location(self.dialect.devinf_uri))
        return Get(meta=Meta(type=self.dialect.devinf_type), items=(item,))

    def results(self, get: Get, message: Message) -> Results:
        """Return the answer to a Get that stood in *message*."""
        item = Item(source=Location(self.dialect.devinf_uri), data=self.devinf())
        meta = Meta(type=self.dialect.devinf_type)
        return Results(msg_ref=message.header.msg_id, cmd_ref=get.cmd_id, meta=meta, items=(item,))

    def alert(self, code: int = 200, **anchor: Any) -> Alert:
        """Return the Alert that asks for a synchronisation of kind *code*."""
        values = {'next': self.next, 'last': self.last} | anchor
        item = Item(
            target=Location(self.peer_store),
            source=Location(self.store),
            meta=Meta(anchor=Anchor(**values)),
        )
        return Alert(code=code, items=(item,))

    def sync(self, *commands: Command, count: int | None = None, **values: Any) -> Sync:
        """Return a Sync with *commands*."""
        return Sync(
            **{'target': Location(self.peer_store), 'source': Location(self.store), **values},
            number_of_changes=count,
            commands=commands,
        )

    def more(self, there: str) -> Alert:
        """Return the Alert that asks for the next message of a package."""
        item = Item(target=Location(there), source=Location(self.name))
        return Alert(code=AlertCode.NEXT_MESSAGE, items=(item,))


# --- a foreign client -----------------------------------------------------------------------------


class Client(_Peer):
    """A client that talks to one of our servers.

    It keeps no items: what the server gives it stands in the answers. ``judge`` decides which
    Status each command of the server gets.
    """

    def __init__(
        self,
        server: TestDevice,
        dialect: Dialect = DIALECTS[0],
        *,
        name: str = 'D',
        store: str = 'x',
        cred: Cred | None = None,
        url: str = 'http://S/',
        prompt: bool = True,
        **header: Any,
    ) -> None:
        super().__init__(dialect, name, store, server.uri)
        self.server = server
        self.cred = cred
        self.url = self.base = url
        self.header = header
        self.session_id = 0
        self.prompt = prompt
        self.new_session()

    def new_session(self) -> None:
        """Forget the conversation: the next message is the first one of another session."""
        self.session_id += 1
        self.msg_id = 0
        self.heard: Message | None = None
        self.url = self.base
        self.referee = Referee('server', prompt=self.prompt)
        self.sent: list[Message] = []
        self.body = b''

    def compose(self, *commands: Command, final: bool = True, **header: Any) -> Message:
        """Return the next message: Statuses for all that was heard last, then *commands*."""
        self.msg_id += 1
        said: list[Command] = []
        if self.heard is not None and not self.heard.header.no_resp:
            said += answers(self.heard, self.judge)
        values: dict[str, Any] = {
            'version': self.dialect.version,
            'dtd_version': self.dialect.version,
            'session_id': str(self.session_id),
            'msg_id': str(self.msg_id),
            'target': Location(self.base),
            'source': Location(self.name),
            'cred': self.cred,
        }
        values |= self.header | header
        return Message(header=Header(**values), commands=numbered([*said, *commands]), final=final)

    def say(self, *commands: Command, final: bool = True, **header: Any) -> Message:
        """Say *commands*, after Statuses for all that was heard last; return the answer."""
        return self.post(self.compose(*commands, final=final, **header))

    def post(self, message: Message) -> Message:
        """Send *message* as it is; return the answer."""
        self.sent.append(message)
        self.referee.hear(message, 'client')
        content_type, self.body = encode(message, self.dialect.encoding)
        response = self.carry(content_type, self.body)
        assert response.status == 200, response
        self.heard = decode(response.content_type, response.body)
        self.referee.hear(self.heard, 'server')
        assert response.content_type.partition(';')[0] == content_type, 'another encoding'
        self.url = self.heard.header.resp_uri or self.url
        self.answer = response.body
        return self.heard

    def carry(self, content_type: str, body: bytes, url: str | None = None) -> Response:
        """Send bytes, to *url* or where the session is; return the answer as it is."""
        headers = {'content-type': content_type}
        return self.server.handle(Request(url=url or self.url, headers=headers, body=body))

    # --- the packages -------------------------------------------------------------------------

    def begin(self, code: int = 200, *commands: Command, **header: Any) -> Message:
        """Say package 1: who we are, and what we want; return the answer (package 2)."""
        if self.heard is not None:
            self.new_session()
        return self.say(self.put(), *commands, self.alert(code), **header)

    def send(self, *changes: Command, count: int | None = None) -> list[Command]:
        """Say package 3, our changes; return those of the server (package 4), all of them."""
        reply = self.say(self.sync(*changes, count=count))
        return self.rest(reply)

    def rest(self, reply: Message) -> list[Command]:
        """Return the changes in *reply* and in all messages of that package after it."""
        found = [change for sync in commands_of(reply, Sync) for change in sync.commands]
        while not reply.final:
            assert self.heard is not None
            reply = self.say(self.more(self.base), final=False)
            found += [change for sync in commands_of(reply, Sync) for change in sync.commands]
        return found

    def confirm(self, pairs: Sequence[tuple[str, str]] = (), *commands: Command) -> Message:
        """Say package 5: *pairs* of (server's id, ours); return the answer, and keep the anchor."""
        reply = self.say(*([self.map(pairs)] if pairs else []), *commands)
        self.last, self.next = self.next, str(int(self.next) + 100)
        return reply

    def map(self, pairs: Sequence[tuple[str, str]]) -> Map:
        """Return a Map with *pairs* of (server's id, ours)."""
        return Map(
            target=Location(self.peer_store),
            source=Location(self.store),
            items=tuple(MapItem(target=guid, source=luid) for guid, luid in pairs),
        )

    def session(self, code: int, *changes: Command, luids: str = 'l') -> list[Command]:
        """Play a whole session; return the server's changes.

        Each Add of the server gets the id that consists of *luids* and the url of the item.
        """
        self.begin(code)
        received = self.send(*changes)
        pairs = [
            (str(c.items[0].source_uri), luids + url_of(c.items[0]))
            for c in received
            if isinstance(c, Add)
        ]
        self.confirm(pairs)
        return received


# --- a foreign server -----------------------------------------------------------------------------

Script = Callable[['Server', Message, Message], Message | bytes]


class Server(_Peer):
    """A server that answers one of our clients, as a transport for it.

    Args:
        dialect: what it answers in.
        changes: what it sends in package 4 of each session.
        script: number of an exchange → what becomes of the answer to it; called with the
            server, the request and the answer that was due.
        prompt: whether our client must answer every command in its next message.
        **header: further values of its headers.

    ``alerts`` maps the code of an Alert to (Status, code of our own Alert); what is missing gets
    200 and the same code. ``judge`` decides which Status the client's commands get.
    """

    def __init__(
        self,
        dialect: Dialect = DIALECTS[0],
        *,
        store: str = 'items',
        changes: Sequence[Command] = (),
        script: dict[int, Script] | None = None,
        prompt: bool = True,
        **header: Any,
    ) -> None:
        super().__init__(dialect, 'S', store, 'items')
        self.address = 'http://S/'
        self.changes = list(changes)
        self.script = script or {}
        self.header = header
        self.alerts: dict[int, tuple[int, int]] = {}
        self.prompt = prompt
        self.sessions: list[list[Message]] = []
        self.requests: list[Message] = []
        self.urls: list[str] = []
        self.count = 0
        self.referee = Referee('client', prompt=prompt)
        self.session_id = ''
        self.sync_done = False

    def exchange(self, request: Request) -> Response:
        """Answer *request*; the transport's side of our client."""
        message = decode(request.content_type, request.body)
        if message.header.session_id != self.session_id:
            self._new_session(message)
        self.urls.append(request.url)
        self.requests.append(message)
        self.sessions[-1].append(message)
        self.referee.hear(message, 'client')
        due = self.reply(message)
        event = self.script.get(len(self.requests))
        said = event(self, message, due) if event else due
        if isinstance(said, bytes):
            return Response(said, request.content_type)
        self.referee.hear(said, 'server')
        content_type, body = encode(said, self.dialect.encoding)
        return Response(body, content_type)

    def close(self) -> None:
        """Nothing to close."""

    def _new_session(self, message: Message) -> None:
        self.session_id = message.header.session_id
        self.sessions.append([])
        self.count = 0
        self.sync_done = False
        self.referee = Referee('client', prompt=self.prompt)

    def compose(self, message: Message, commands: Iterable[Command], *, final: bool) -> Message:
        """Return a message in answer to *message*."""
        self.count += 1
        values: dict[str, Any] = {
            'version': self.dialect.version,
            'dtd_version': self.dialect.version,
            'session_id': self.session_id,
            'msg_id': str(self.count),
            'target': Location(message.header.source.uri),
            'source': Location(self.address),
        }
        header = Header(**(values | self.header))
        return Message(header=header, commands=numbered(commands), final=final)

    def reply(self, message: Message) -> Message:
        """Return the answer that is due: packages 2, 4 and 6."""
        said: list[Command] = list(self.statuses(message))
        for command in message.commands:
            if isinstance(command, Get):
                said.append(self.results(command, message))
            if isinstance(command, Alert) and command.code in self.modes:
                said.append(self.counter_alert(command))
        done = any(commands_of(m, Sync) for m in self.sessions[-1]) and message.final
        if done and not self.sync_done:
            self.sync_done = True
            said.append(self.sync(*self.changes))
        return self.compose(message, said, final=message.final)

    modes = range(200, 206)

    def statuses(self, message: Message) -> list[Status]:
        """Return the Statuses for all of *message*."""

        def judge(command: Command) -> int | None:
            if isinstance(command, Alert):
                return self.alerts.get(command.code, (200, 0))[0]
            return self.judge(command)

        return answers(message, judge)

    def counter_alert(self, alert: Alert) -> Alert:
        """Return our Alert in answer to the client's; it settles the kind of synchronisation."""
        _, code = self.alerts.get(alert.code, (200, alert.code))
        self.peer_store = alert.items[0].source_uri or ''
        return self.alert(code)

    def keep_anchor(self) -> None:
        """A session has gone well: the anchor moves."""
        self.last, self.next = self.next, str(int(self.next) + 100)

    def said(self, kind: type) -> list[Any]:
        """Return all commands of *kind* that our client has said."""
        return [command for message in self.requests for command in commands_of(message, kind)]


class Watched(Wire):
    """Stands between our client and our server, and judges both."""

    def __init__(self, server: TestDevice, *args: Any, prompt: bool = True, **values: Any) -> None:
        super().__init__(server, *args, **values)
        self.referee = Referee(prompt=prompt)

    def exchange(self, request: Request) -> Response:
        """Carry *request* to the server and the answer back."""
        known = len(self.answers)
        try:
            response = super().exchange(request)
        finally:
            again = len(self.requests) > 1 and self.requests[-1] == self.requests[-2]
            if not again:
                self.referee.hear(self.requests[-1], 'client')
            if len(self.answers) > known and not (known and self.answers[-1] == self.answers[-2]):
                self.referee.hear(self.answers[-1], 'server')
        return response


def sync(client: TestDevice, server: TestDevice, mode: Any = None, **values: Any) -> Watched:
    """Synchronise two of our devices under the eyes of a referee; return what was said.

    Nothing may go wrong with any item.
    """
    wire = Watched(server, **values)
    stats = client.sync(server, *([mode] if mode is not None else []), transport=wire)
    for uri, counts in stats.items():
        assert counts.errors == 0, f'{uri}: {counts.problems}'
    wire.stats = stats  # type: ignore[attr-defined]
    return wire
