"""Both sides of sound sessions, as trees of elements: a client for servers, a server for clients.

They are written down here once more, apart from the program, so that a hostile peer may depart from
them wherever it likes.
"""

from __future__ import annotations

import random
from xml.sax.saxutils import escape

from pysyncml.codec.node import Node
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Copy,
    Delete,
    Get,
    Map,
    Message,
    Put,
    Replace,
    Status,
)
from pysyncml.protocol.messages import Sync as SyncCommand
from tests.hostile.trees import el, uri

DEVINF = 'application/vnd.syncml-devinf+xml'
SIFN = 'text/x-s4j-sifn'


def sif(name: str, body: str) -> str:
    """Return a note as SIF-N."""
    return f'<note><Subject>{escape(name)}</Subject><Body>{escape(body)}</Body></note>'


def device_information(version: str, dev_id: str, large: bool = True) -> Node:
    """Return a DevInf element for a device with one datastore, ``notes``."""
    ct = [el('CTType', SIFN), el('VerCT', '1.1')]
    plain = [el('CTType', 'text/plain'), el('VerCT', '1.0')]
    return el(
        'DevInf',
        el('VerDTD', version),
        el('Man', 'honest'),
        el('Mod', 'tester'),
        el('DevID', dev_id),
        el('DevTyp', 'phone'),
        el('UTC') if version > '1.0' else None,
        el('SupportLargeObjs') if large and version > '1.0' else None,
        el('SupportNumberOfChanges') if version > '1.0' else None,
        el('DataStore', el('SourceRef', './notes'), el('MaxGUIDSize', 64),
           el('Rx-Pref', *ct), el('Rx', *plain), el('Tx-Pref', *ct), el('Tx', *plain),
           el('SyncCap', *(el('SyncType', n) for n in range(1, 8)))),
    )  # fmt: skip


class Script:
    """What both sides have in common: headers, and ids of commands.

    Attributes:
        random: chance, which the script uses to be different each time.
        version, encoding: of the session.
    """

    def __init__(self, chance: random.Random, version: str, encoding: str) -> None:
        self.random = chance
        self.version = version
        self.encoding = encoding
        self.session = ''
        self.number = 0
        self._cmd = 0
        self.them = self.us = ''

    def id(self) -> Node:
        """Return the CmdID of the next command."""
        self._cmd += 1
        return el('CmdID', self._cmd)

    def message(self, commands: list[Node], *, final: bool = True, extra: tuple = ()) -> Node:
        """Return the next message; *extra* goes into its header."""
        self.number += 1
        header = el(
            'SyncHdr',
            el('VerDTD', self.version),
            el('VerProto', f'SyncML/{self.version}'),
            el('SessionID', self.session),
            el('MsgID', self.number),
            uri('Target', self.them),
            uri('Source', self.us),
            *extra,
        )
        self._cmd = 0
        body = el('SyncBody', *commands, el('Final') if final else None)
        return el('SyncML', header, body)

    def status(self, message: Message, code: int, command=None, **refs: str | None) -> Node:
        """Return the Status for *command* of the message that came, or for its header."""
        return el(
            'Status',
            self.id(),
            el('MsgRef', message.header.msg_id),
            el('CmdRef', command.cmd_id if command else '0'),
            el('Cmd', command.name if command else 'SyncHdr'),
            *(el(name, text) for name, text in refs.items() if text is not None),
            el('Data', code),
        )

    def alert(self, code: int, last: str | None, new: str, target: str = 'notes') -> Node:
        """Return the Alert for the one datastore there is."""
        anchor = el('Anchor', el('Last', last) if last is not None else None, el('Next', new))
        item = el('Item', uri('Target', target), uri('Source', 'notes'), el('Meta', anchor))
        return el('Alert', self.id(), el('Data', code), item)

    def change(self, kind: str, way: str, name: str, data: str | None, **more: Node) -> Node:
        """Return an Add, Replace or Delete; *way* is ``Source`` or ``Target``."""
        meta = el('Meta', el('Type', SIFN))
        item = el('Item', uri(way, name), *more.values(), el('Data', data) if data else None)
        return el(kind, self.id(), meta if data else None, item)

    def part(self, way: str, name: str, data: str) -> list[Node]:
        """Return an Add in two parts."""
        half = len(data) // 2
        size = el('Meta', el('Size', len(data.encode())))
        return [
            el('Add', self.id(), el('Meta', el('Type', SIFN)),
               el('Item', uri(way, name), size, el('Data', data[:half]), el('MoreData'))),
            el('Add', self.id(), el('Meta', el('Type', SIFN)),
               el('Item', uri(way, name), el('Data', data[half:]))),
        ]  # fmt: skip

    def put(self, dev_id: str) -> Node:
        """Return what tells who we are."""
        place = f'./devinf{self.version.replace(".", "")}'
        devinf = device_information(self.version, dev_id)
        item = el('Item', uri('Source', place), el('Data', devinf))
        return el('Put', self.id(), el('Meta', el('Type', DEVINF)), item)


class Device:
    """What a client of the script remembers between its sessions."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sessions = 0
        self.last: str | None = None
        self.introduced = False
        self.count = 0


class Client(Script):
    """One session of a client, message by message: ``setup``, ``sync`` ..., ``map``."""

    def __init__(self, chance, device: Device, version: str, encoding: str, login=None) -> None:
        super().__init__(chance, version, encoding)
        self.device = device
        device.sessions += 1
        self.session = str(device.sessions)
        self.us, self.them = device.name, 'http://server/'
        self.login = login
        self.url = '/'
        self.reply: Message | None = None
        self.stage = 'setup'
        self.packages = chance.choice((1, 1, 1, 2, 3))
        self.code = chance.choice((200, 200, 200, 200, 201, 201, 202, 203, 204, 205, 225))
        self.next = f'{self.session}-{chance.randrange(10**6)}'

    def following(self) -> Node | None:
        """Return the message that comes next; ``None`` when the session is over."""
        match self.stage:
            case 'setup':
                self.stage = 'sync'
                return self._setup()
            case 'sync':
                self.packages -= 1
                if self.packages == 0:
                    self.stage = 'map'
                return self._sync(final=self.packages == 0)
            case 'map':
                self.stage = 'map2' if self.reply and not self.reply.final else 'end'
                return self._map()
            case 'map2':
                self.stage = 'end'
                return self._map()
        self.device.last = self.next
        return None

    def answered(self, reply: Message) -> None:
        """Take notice of the answer."""
        self.reply = reply
        if reply.header.resp_uri and 'session=' in reply.header.resp_uri:
            self.url = '/' + reply.header.resp_uri.rpartition('/')[2]

    def _setup(self) -> Node:
        commands = []
        if not self.device.introduced:
            self.device.introduced = True
            commands.append(self.put(self.us))
        commands.append(self.alert(self.code, self.device.last, self.next))
        if self.random.random() < 0.1:
            place = f'./devinf{self.version.replace(".", "")}'
            meta = el('Meta', el('Type', DEVINF))
            commands.append(el('Get', self.id(), meta, el('Item', uri('Target', place))))
        size = self.random.choice((None, None, None, 3000, 10_000))
        extra = (el('Meta', el('MaxMsgSize', size)),) if size else ()
        return self.message(commands, extra=(*self._cred(), *extra))

    def _cred(self) -> tuple:
        if self.login is None:
            return ()
        meta = el('Meta', el('Format', 'b64'), el('Type', 'syncml:auth-basic'))
        return (el('Cred', meta, el('Data', self.login)),)

    def _statuses(self) -> list[Node]:
        if self.reply is None:
            return []
        statuses = [self.status(self.reply, 200)]
        for command in self.reply.walk():
            if not isinstance(command, Status):
                statuses.append(self.status(self.reply, 200, command))
        return statuses

    def _sync(self, *, final: bool) -> Node:
        commands = self._statuses()
        changes = []
        for _ in range(self.random.choice((0, 1, 1, 2, 4))):
            self.device.count = self.device.count % 30 + 1
            name = f'luid-{self.device.count}'
            data = sif(f'from {self.us} {self.device.count}.txt', f'text {self.random.random()}')
            kind = self.random.choice(('Add', 'Add', 'Replace', 'Replace', 'Delete', 'parts'))
            if kind == 'parts' and self.version > '1.0':
                changes += self.part('Source', name, data)
            else:
                kind = 'Add' if kind == 'parts' else kind
                changes.append(
                    self.change(kind, 'Source', name, data if kind != 'Delete' else None)
                )
        sync = el('Sync', self.id(), uri('Target', 'notes'), uri('Source', 'notes'), *changes)
        return self.message([*commands, sync], final=final)

    def _map(self) -> Node:
        commands = self._statuses()
        assert self.reply is not None or commands == []
        added = [c for c in (self.reply.walk() if self.reply else ()) if isinstance(c, Add)]
        pairs = [
            el(
                'MapItem',
                uri('Target', item.source_uri or ''),
                uri('Source', f'l-{item.source_uri}'),
            )
            for command in added
            for item in command.items
        ]
        if pairs:
            commands.append(
                el('Map', self.id(), uri('Target', 'notes'), uri('Source', 'notes'), *pairs)
            )
        if not commands or (self.reply and not self.reply.final):
            item = el('Item', uri('Target', self.them), uri('Source', self.us))
            commands.append(el('Alert', self.id(), el('Data', 222), item))
        return self.message(commands)


class Server(Script):
    """One session of a server: an answer for each message of the client that asks.

    *luids* are the ids of the client's items, as far as it has told them.
    """

    def __init__(self, chance, version: str, encoding: str, luids: list[str]) -> None:
        super().__init__(chance, version, encoding)
        self.luids = luids
        self.stage = 'setup'
        self.messages = chance.choice((1, 1, 2, 4, 9))

    def answer(self, request: Message) -> Node:
        """Return a sound answer to *request*."""
        header = request.header
        self.session, self.version = header.session_id, header.version
        self.us, self.them = header.target.uri, header.source.uri
        commands = [self.status(request, 212 if header.cred else 200)]
        asks = False
        for command in request.walk():
            if isinstance(command, Status):
                continue
            code = 201 if isinstance(command, Add) else 200
            source = target = None
            if isinstance(command, Add | Replace | Delete | Copy | Alert) and command.items:
                source, target = command.items[0].source_uri, command.items[0].target_uri
            if isinstance(command, Add | Replace) and source:
                self.luids.append(source)
            commands.append(self.status(request, code, command, SourceRef=source, TargetRef=target))
            if isinstance(command, Get):
                place = f'./devinf{self.version.replace(".", "")}'
                item = el(
                    'Item',
                    uri('Source', place),
                    el('Data', device_information(self.version, 'srv')),
                )
                commands.append(
                    el('Results', self.id(), el('MsgRef', header.msg_id),
                       el('CmdRef', command.cmd_id), el('Meta', el('Type', DEVINF)), item)
                )  # fmt: skip
            asks = asks or (isinstance(command, Alert) and 200 <= command.code < 206)
            if isinstance(command, Alert) and (200 <= command.code < 206 or command.code == 225):
                anchor = (
                    command.items[0].meta.anchor
                    if command.items and command.items[0].meta
                    else None
                )
                last = self.random.choice((None, anchor.last if anchor else None))
                commands.append(self.alert(command.code, last, anchor.next if anchor else '1'))
                asks = True
        syncs = any(isinstance(c, SyncCommand | Map | Put) for c in request.commands)
        if asks or not request.final:
            return self.message(commands, final=request.final)
        if self.stage == 'setup' and (syncs or request.final):
            self.messages -= 1
            final = self.messages == 0
            self.stage = 'map' if final else 'setup'
            sync = el(
                'Sync', self.id(), uri('Target', 'notes'), uri('Source', 'notes'), *self._changes()
            )
            return self.message([*commands, sync], final=final)
        return self.message(commands)

    def _changes(self) -> list[Node]:
        changes = []
        for _ in range(self.random.choice((0, 1, 1, 2, 3))):
            kind = self.random.choice(('Add', 'Add', 'Replace', 'Replace', 'Delete', 'parts'))
            data = sif(
                f'from server {self.random.randrange(12)}.txt', f'text {self.random.random()}'
            )
            if kind in ('Replace', 'Delete') and self.luids:
                name = self.random.choice(self.luids)
                more = data if kind == 'Replace' else None
                changes.append(self.change(kind, 'Target', name, more))
            elif kind == 'parts' and self.version > '1.0':
                changes += self.part('Source', f'guid-{self.random.randrange(40)}', data)
            else:
                changes.append(
                    self.change('Add', 'Source', f'guid-{self.random.randrange(40)}', data)
                )
        return changes
