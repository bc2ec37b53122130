"""A client and a server with the habits of pysyncml 0.1 and 0.2, and no patience for others.

Written from what they were seen to say and to refuse. They do not use any code of the library,
as what they read is part of their habits: XML without a namespace for the root, one message for
each package, and everything they do not expect is an error, which ends the session.
"""

from __future__ import annotations

import base64
import json
import os.path
from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from pysyncml.transport import Request, Response

CONTENT_TYPE = 'application/vnd.syncml+xml; charset=UTF-8'
_METINF = 'syncml:metinf'
_HEADER = 'VerDTD VerProto SessionID MsgID Source Target RespURI Cred Meta'.split()
_SYNC = {'CmdID', 'Target', 'Source', 'NumberOfChanges', 'Add', 'Replace', 'Delete'}
_CHANGES = ('Add', 'Replace', 'Delete')
_COMMANDS = {'Status', 'Alert', 'Get', 'Put', 'Results', 'Sync', 'Map', 'Final'}
_MOST = 20  # messages of a session

#: The Status codes a command may be answered with: of the server to the client, and back.
TO_CLIENT = {
    'Add': {200, 201, 418},
    'Replace': {200, 207, 208, 419, 409},
    'Delete': {200, 211, 207, 208, 409, 419},
}
TO_SERVER = {
    'Add': {200, 201, 418},
    'Replace': {200, 207, 208, 419},
    'Delete': {200, 211, 207, 208, 419},
}


class Broken(Exception):
    """What the predecessor calls a ProtocolError: the end of the session."""


def _make(tag: str, *content: Element | str, ns: str = '') -> Element:
    node = Element(tag, {'xmlns': ns} if ns else {})
    for part in content:
        if isinstance(part, str):
            node.text = (node.text or '') + part
        else:
            node.append(part)
    return node


def _uri(tag: str, uri: str, name: str = '') -> Element:
    return _make(tag, _make('LocURI', uri), *([_make('LocName', name)] if name else []))


def _meta(tag: str, text: str) -> Element:
    return _make(tag, text, ns=_METINF)


def _read(body: bytes) -> Element:
    root = ElementTree.fromstring(body)
    for node in root.iter():
        node.tag = node.tag.rpartition('}')[2]
    return root


def _text(node: Element | None, path: str, default: str = '') -> str:
    found = node.find(path) if node is not None else None
    return (found.text or '') if found is not None else default


def _clean(uri: str) -> str:
    return os.path.normpath(uri)


@dataclass
class Received:
    """A message, taken apart."""

    msg_id: str
    session_id: str
    source: str
    target: str
    resp_uri: str
    credentials: bool
    final: bool
    commands: list[Element]

    def of(self, *tags: str) -> list[Element]:
        """Return the commands called *tags*."""
        return [command for command in self.commands if command.tag in tags]


@dataclass
class Predecessor:
    """What both sides have in common; ``items`` are titles by id, as the datastore has them."""

    name: str
    uri: str = 'items'
    items: dict[str, tuple[str, str]] = field(default_factory=dict)
    changes: list[tuple[str, str]] = field(default_factory=list)  # (command, id)
    peer_known: bool = False
    our_anchor: str = ''
    peer_anchor: str = ''
    time: int = 1_400_000_000
    accepted: dict[str, set[int]] = field(default_factory=dict)
    manufacturer: str = 'pysyncml'
    software: str = '0.2.0'
    serial: int = 0

    def __post_init__(self) -> None:
        self.pending: dict[tuple[str, str], tuple[str, str, str]] = {}
        self.peer_uri = ''

    # --- what the user does ---------------------------------------------------------------------

    def add(self, url: str, title: str | None = None) -> str:
        """Add an item; return its id."""
        self.serial += 1
        item_id = f'{self.name}{self.serial}'
        self.items[item_id] = (url, title or f'title of {url}')
        self.changes.append(('Add', item_id))
        return item_id

    def edit(self, url: str, title: str) -> None:
        """Give the item of *url* another title."""
        item_id = self.find(url)
        self.items[item_id] = (url, title)
        self.changes.append(('Replace', item_id))

    def delete(self, url: str) -> None:
        """Delete the item of *url*."""
        item_id = self.find(url)
        del self.items[item_id]
        self.changes.append(('Delete', item_id))

    def find(self, url: str) -> str:
        """Return the id of the item of *url*."""
        [item_id] = [key for key, value in self.items.items() if value[0] == url]
        return item_id

    @property
    def contents(self) -> list[tuple[str, str]]:
        """What there is."""
        return sorted(self.items.values())

    # --- speaking -------------------------------------------------------------------------------

    def compose(
        self,
        session_id: str,
        msg_id: str,
        source: Element,
        target: Element,
        commands: Iterable[Element],
        *extra: Element,
    ) -> bytes:
        """Return a message: ids given to its commands, and remembered."""
        self.msg_id = msg_id
        sizes = [_meta(tag, '2147483647') for tag in ('MaxMsgSize', 'MaxObjSize')]
        header = _make(
            'SyncHdr',
            _make('VerDTD', '1.2'),
            _make('VerProto', 'SyncML/1.2'),
            _make('SessionID', session_id),
            _make('MsgID', msg_id),
            source,
            target,
            *extra,
            _make('Meta', *sizes),
        )
        self.pending = {(msg_id, '0'): ('SyncHdr', '', '')}
        body = _make('SyncBody')
        number = 0
        for command in commands:
            for node in (command, *[c for c in command if c.tag in _CHANGES]):
                number += 1
                node.insert(0, _make('CmdID', str(number)))
                if node.tag != 'Status':
                    ends = [_text(node, f'{end}/LocURI') for end in ('Source', 'Target')]
                    inner = [_text(node, f'Item/{end}/LocURI') for end in ('Source', 'Target')]
                    source_uri, target_uri = (a or b for a, b in zip(ends, inner, strict=True))
                    self.pending[msg_id, str(number)] = (node.tag, source_uri, target_uri)
            body.append(command)
        body.append(_make('Final'))
        return ElementTree.tostring(_make('SyncML', header, body))

    def status(self, message: Received, command: Element | None, code: int, *data: Element):
        """Return a Status; *command* ``None`` for the header."""
        if command is None:
            ref, name, source, target = '0', 'SyncHdr', message.source, message.target
        else:
            ref, name = _text(command, 'CmdID'), command.tag
            source = _text(command, 'Item/Source/LocURI') or _text(command, 'Source/LocURI')
            target = _text(command, 'Item/Target/LocURI') or _text(command, 'Target/LocURI')
        refs = [_make('SourceRef', source)] if source else []
        refs += [_make('TargetRef', target)] if target else []
        item = [_make('Item', _make('Data', *data))] if data else []
        return _make(
            'Status',
            _make('MsgRef', message.msg_id),
            _make('CmdRef', ref),
            _make('Cmd', name),
            *refs,
            _make('Data', str(code)),
            *item,
        )

    def devinf(self) -> Element:
        """Return the device information: without CTCap, with elements of its own."""
        kinds = [
            _make(tag, _make('CTType', 'text/x-bookmark'), _make('VerCT', '1.0'))
            for tag in ('Rx-Pref', 'Tx-Pref')
        ]
        store = _make(
            'DataStore',
            _make('SourceRef', self.uri),
            _make('DisplayName', self.uri),
            _make('MaxGUIDSize', '255'),
            _make('MaxObjSize', '2147483647'),
            *kinds,
            _make('SyncCap', *[_make('SyncType', str(number)) for number in range(1, 8)]),
        )
        texts = [
            ('VerDTD', '1.2'),
            ('Man', self.manufacturer),
            ('Mod', 'notes'),
            ('OEM', '-'),
            ('FwV', '-'),
            ('SwV', self.software),
            ('HwV', '-'),
            ('DevID', self.name),
            ('DevTyp', 'workstation'),
        ]
        flags = ('UTC', 'SupportLargeObjs', 'SupportHierarchicalSync', 'SupportNumberOfChanges')
        return _make(
            'DevInf',
            *[_make(tag, text) for tag, text in texts],
            *[_make(tag) for tag in flags],
            store,
            ns='syncml:devinf',
        )

    def alert(self, code: int) -> Element:
        """Return the Alert that asks for kind *code*; anchors are whole seconds."""
        self.time += 60
        self.our_next = str(self.time)
        anchor = _make('Anchor', ns=_METINF)
        if self.our_anchor:
            anchor.append(_make('Last', self.our_anchor))
        anchor.append(_make('Next', self.our_next))
        item = _make(
            'Item', _uri('Source', self.uri), _uri('Target', self.peer_uri), _make('Meta', anchor)
        )
        return _make('Alert', _make('Data', str(code)), item)

    def sync(self, commands: list[Element]) -> Element:
        """Return the Sync: all changes at once, and how many they are."""
        return _make(
            'Sync',
            _uri('Source', self.uri),
            _uri('Target', self.peer_uri),
            _make('NumberOfChanges', str(len(commands))),
            *commands,
        )

    def change(self, kind: str, item_id: str, end: str, peer_id: str) -> Element:
        """Return a change of the item called *item_id* here, and *peer_id* on the wire."""
        place = _uri(end, peer_id)
        if kind == 'Delete':
            return _make('Delete', _make('Item', place))
        url, title = self.items[item_id]
        data = _make('Data', json.dumps({'url': url, 'title': title}))
        meta = _make('Meta', _meta('Type', 'text/x-bookmark'))
        return _make(kind, meta, _make('Item', place, data))

    # --- listening ------------------------------------------------------------------------------

    def receive(self, body: bytes) -> Received:
        """Take a message apart, and its Statuses seriously."""
        root = _read(body)
        header, content = root.find('SyncHdr'), root.find('SyncBody')
        if header is None or content is None:
            raise Broken('no SyncML')
        strange = [node.tag for node in header if node.tag not in _HEADER]
        if strange:
            raise Broken(f'unexpected header nodes: {strange}')
        unknown = [node.tag for node in content if node.tag not in _COMMANDS]
        if unknown:
            raise Broken(f'unexpected commands: {unknown}')
        message = Received(
            msg_id=str(int(_text(header, 'MsgID'))),
            session_id=str(int(_text(header, 'SessionID'))),
            source=_text(header, 'Source/LocURI'),
            target=_text(header, 'Target/LocURI'),
            resp_uri=_text(header, 'RespURI'),
            credentials=header.find('Cred') is not None,
            final=content.find('Final') is not None,
            commands=[node for node in content if node.tag != 'Final'],
        )
        for status in message.of('Status'):
            self._settle(status)
        for sync in message.of('Sync'):
            self._check_sync(sync)
        return message

    def _settle(self, status: Element) -> None:
        key = (_text(status, 'MsgRef'), _text(status, 'CmdRef'))
        if key not in self.pending:
            raise Broken(f'a Status for {key}, of which nothing is known')
        name, source, target = self.pending.pop(key)
        code = int(_text(status, 'Data'))
        if _text(status, 'Cmd') != name:
            raise Broken(f'a Status for a {_text(status, "Cmd")} instead of a {name}')
        for end, uri in (('SourceRef', source), ('TargetRef', target)):
            said = _text(status, end)
            if said and uri and name != 'SyncHdr' and _clean(said) != _clean(uri):
                raise Broken(f'{end} of {name} is {said} instead of {uri}')
        accepted = {200, 212} if name == 'SyncHdr' else self.accepted.get(name, {200})
        if code not in accepted:
            raise Broken(f'Status {code} for {name}')

    def _check_sync(self, sync: Element) -> None:
        strange = [node.tag for node in sync if node.tag not in _SYNC]
        if strange:
            raise Broken(f'unexpected nodes in a Sync: {strange}')
        said, found = _text(sync, 'NumberOfChanges'), sum(n.tag in _CHANGES for n in sync)
        if said and int(said) != found:
            raise Broken(f'{said} changes were announced, {found} came')

    def take(self, item_id: str, change: Element) -> int:
        """Store a change under *item_id*; return its Status code."""
        if change.tag == 'Delete':
            return 200 if self.items.pop(item_id, None) else 211
        kind = _text(change, 'Meta/Type') or _text(change, 'Item/Meta/Type')
        if kind != 'text/x-bookmark':
            raise Broken(f'content of type {kind}')
        values = json.loads(_text(change, 'Item/Data'))
        if change.tag == 'Replace' and item_id not in self.items:
            raise Broken(f'no item {item_id} to replace')
        self.items[item_id] = (values['url'], values['title'])
        return 201 if change.tag == 'Add' else 200

    def learn(self, node: Element) -> None:
        """Take notice of the peer's device information."""
        stores = node.findall('Item/Data/DevInf/DataStore')
        if not stores:
            raise Broken('device information without datastores')
        for store in stores:
            for kind in store.findall('SyncCap/SyncType'):
                int(kind.text or '')
        self.peer_uri = _text(stores[0], 'SourceRef')
        self.peer_known = True


class OldClient(Predecessor):
    """The client side; ``sync_with`` leads a session with one of our servers."""

    def __init__(self, name: str, **values) -> None:
        super().__init__(name, accepted=TO_CLIENT, **values)
        self.sessions = 0
        self.password: tuple[str, str] | None = None
        self.codes: list[int] = []

    def sync_with(self, server, url: str = 'http://S/', mode: int = 200) -> None:
        """Synchronise; whatever is not as expected raises :class:`Broken`."""
        self.sessions += 1
        self.server, self.url = server, url
        self.number, self.trusted = 0, self.password is None
        answer = None
        if not self.peer_known:
            answer = self._say(self._put_and_get())
            [results] = answer.of('Results')
            self.learn(results)
            statuses = [self.status(answer, None, 200), self.status(answer, results, 200)]
        else:
            statuses = []
        if mode == 200 and not self.our_anchor:
            mode = 201
        answer = self._say([*statuses, self.alert(mode)])
        [theirs] = answer.of('Alert')
        mode = self._agree(theirs)
        everything = [('Add', item_id) for item_id in self.items]
        sent = {200: self.changes, 202: self.changes, 204: [], 205: []}.get(mode, everything)
        commands = [self.change(kind, i, 'Source', i) for kind, i in sent]
        next_anchor = _text(theirs, 'Item/Meta/Anchor/Next')
        echo = _make('Anchor', _make('Next', next_anchor), ns=_METINF)
        statuses = [self.status(answer, None, 200), self.status(answer, theirs, 200, echo)]
        answer = self._say([*statuses, self.sync(commands)])
        self.changes.clear()
        last = self._say(self._take_all(answer))
        if last.of('Sync', 'Alert', 'Get', 'Put'):
            raise Broken('the server does not come to its end')
        if self.pending:
            raise Broken(f'no Status for {self.pending}')
        self.our_anchor, self.peer_anchor = self.our_next, next_anchor

    def _agree(self, alert: Element) -> int:
        code = int(_text(alert, 'Data'))
        last = _text(alert, 'Item/Meta/Anchor/Last')
        if code == 200 and last != self.peer_anchor:
            raise Broken(f'the server remembers {last} instead of {self.peer_anchor}')
        return code

    def _put_and_get(self) -> list[Element]:
        meta = _make('Meta', _meta('Type', 'application/vnd.syncml-devinf+xml'))
        put = _make('Item', _uri('Source', './devinf12'), _make('Data', self.devinf()))
        get = _make('Item', _uri('Target', './devinf12'))
        again = _make('Meta', _meta('Type', 'application/vnd.syncml-devinf+xml'))
        return [_make('Put', meta, put), _make('Get', again, get)]

    def _take_all(self, answer: Received) -> list[Element]:
        """Store what the server sends; each Status is followed by the Map of its item."""
        said = [self.status(answer, None, 200)]
        for sync in answer.of('Sync'):
            said.append(self.status(answer, sync, 200))
            for change in (node for node in sync if node.tag in _CHANGES):
                guid = _text(change, 'Item/Source/LocURI')
                item_id = _text(change, 'Item/Target/LocURI')
                if change.tag == 'Add':
                    self.serial += 1
                    item_id = f'{self.name}{self.serial}'
                elif not item_id:
                    raise Broken(f'a {change.tag} without Target')
                said.append(self.status(answer, change, self.take(item_id, change)))
                if change.tag == 'Add':
                    pair = _make('MapItem', _uri('Target', guid), _uri('Source', item_id))
                    ends = _uri('Source', self.uri), _uri('Target', self.peer_uri)
                    said.append(_make('Map', *ends, pair))
        return said

    def _say(self, commands: list[Element]) -> Received:
        self.number += 1
        extra = []
        if self.password is not None and not self.trusted:
            token = base64.b64encode(':'.join(self.password).encode()).decode()
            kind = _meta('Format', 'b64'), _meta('Type', 'syncml:auth-basic')
            extra = [_make('Cred', _make('Meta', *kind), _make('Data', token))]
        body = self.compose(
            str(self.sessions),
            str(self.number),
            _uri('Source', self.name, self.name),
            _uri('Target', 'http://S/'),
            commands,
            *extra,
        )
        headers = {'content-type': CONTENT_TYPE, 'x-syncml-client': 'pysyncml/0.2.0'}
        response = self.server.handle(Request(url=self.url, headers=headers, body=body))
        if response.status != 200:
            raise Broken(f'HTTP {response.status}')
        answer = self.receive(response.body)
        if answer.msg_id != str(self.number):
            raise Broken(f'message {answer.msg_id} answers message {self.number}')
        if not answer.final:
            raise Broken('an answer without Final')
        self.codes += [int(_text(status, 'Data')) for status in answer.of('Status')]
        self.trusted = self.trusted or 212 in self.codes
        self.url = answer.resp_uri or self.url
        return answer


class OldServer(Predecessor):
    """The server side; a transport for one of our clients."""

    def __init__(self, name: str = 'S', **values) -> None:
        super().__init__(name, accepted=TO_SERVER, **values)
        self.mapping: dict[str, str] = {}  # our id -> the client's
        self.count = 0
        self.session_id = ''
        self.stage = 'alert'
        self.requests: list[Received] = []
        self.codes: list[int] = []

    def exchange(self, request: Request) -> Response:
        """Answer one message."""
        message = self.receive(request.body)
        self.requests.append(message)
        if message.session_id != self.session_id:
            self.session_id, self.stage, self.count = message.session_id, 'alert', 0
        self.count += 1
        if self.count > _MOST:
            raise Broken('more than 20 messages')
        self.codes += [int(_text(status, 'Data')) for status in message.of('Status')]
        commands = [self.status(message, None, 212 if message.credentials else 200)]
        introduced = bool(message.of('Put'))
        if introduced and message.of('Alert'):
            raise Broken('device information together with an Alert')
        for command in message.of('Put', 'Get', 'Results', 'Alert', 'Sync', 'Map'):
            commands += getattr(self, f'_{command.tag.lower()}')(message, command)
        if not message.final:
            item = _make('Item', _uri('Source', self.name), _uri('Target', message.source))
            commands.append(_make('Alert', _make('Data', '222'), item))
        uri = f'{message.target.partition(";")[0]};sessionid=1'
        body = self.compose(
            message.session_id,
            message.msg_id,
            _uri('Source', message.target, self.name),
            _uri('Target', message.source),
            commands,
            _make('RespURI', uri),
        )
        return Response(body, CONTENT_TYPE)

    def close(self) -> None:
        """Nothing to close."""

    def _put(self, message: Received, command: Element) -> list[Element]:
        self.learn(command)
        return [self.status(message, command, 200)]

    def _results(self, message: Received, command: Element) -> list[Element]:
        return self._put(message, command)

    def _get(self, message: Received, command: Element) -> list[Element]:
        results = _make(
            'Results',
            _make('MsgRef', message.msg_id),
            _make('CmdRef', _text(command, 'CmdID')),
            _make('Meta', _meta('Type', 'application/vnd.syncml-devinf+xml')),
            _make('Item', _uri('Source', './devinf12'), _make('Data', self.devinf())),
        )
        return [self.status(message, command, 200), results]

    def _alert(self, message: Received, command: Element) -> list[Element]:
        code = int(_text(command, 'Data'))
        if code == 222:
            return [self.status(message, command, 200)]
        if not self.peer_known:
            raise Broken('an Alert of a device that has not introduced itself')
        if self.stage != 'alert':
            raise Broken(f'an Alert while the next thing is to {self.stage}')
        self.stage = 'send'
        last = _text(command, 'Item/Meta/Anchor/Last')
        self.peer_next = _text(command, 'Item/Meta/Anchor/Next')
        self.peer_uri = _text(command, 'Item/Source/LocURI')
        status = 200
        if code == 225 or (code not in (201, 203, 205) and last != self.peer_anchor):
            status, code = (200 if code == 225 else 508), 201
        self.mode = code
        anchor = command.find('Item/Meta/Anchor')
        assert anchor is not None
        echo = _make('Anchor', *anchor, ns=_METINF)
        if code == 201:
            self.mapping.clear()
        return [self.status(message, command, status, echo), self.alert(code)]

    def _sync(self, message: Received, command: Element) -> list[Element]:
        if self.stage != 'send':
            raise Broken(f'a Sync while the next thing is to {self.stage}')
        if not message.final:
            raise Broken('a Sync in several messages is not understood')
        self.stage = 'save'
        said = [self.status(message, command, 200)]
        ours = {luid: item_id for item_id, luid in self.mapping.items()}
        for change in (node for node in command if node.tag in _CHANGES):
            luid = _text(change, 'Item/Source/LocURI')
            if not luid:
                raise Broken(f'a {change.tag} without Source')
            if change.tag != 'Add' and self.mode == 201:
                raise Broken(f'a {change.tag} in a slow sync')
            said.append(self.status(message, change, self._store(luid, change, ours)))
        sent = self.changes
        if self.mode != 200:
            sent = [('Add', item_id) for item_id in self.items if item_id not in self.mapping]
        commands = [
            self.change(kind, i, *(('Source', i) if kind == 'Add' else ('Target', self.mapping[i])))
            for kind, i in sent
        ]
        self.changes = []
        return [*said, self.sync(commands)]

    def _store(self, luid: str, change: Element, ours: dict[str, str]) -> int:
        item_id = ours.get(luid)
        if change.tag == 'Add':
            values = json.loads(_text(change, 'Item/Data'))
            twin = [
                key
                for key, value in self.items.items()
                if value == (values['url'], values['title']) and key not in self.mapping
            ]
            if twin and self.mode == 201:
                self.mapping[twin[0]] = luid
                return 418
            self.serial += 1
            item_id = f'g{self.serial}'
            self.mapping[item_id] = luid
        elif item_id is None:
            raise Broken(f'a {change.tag} of an item without a mapping: {luid}')
        return self.take(item_id, change)

    def _map(self, message: Received, command: Element) -> list[Element]:
        for pair in command.findall('MapItem'):
            guid = _text(pair, 'Target/LocURI')
            if guid not in self.items:
                raise Broken(f'a pair for an item that does not exist: {guid}')
            self.mapping[guid] = _text(pair, 'Source/LocURI')
        self.our_anchor, self.peer_anchor = self.our_next, self.peer_next
        return [self.status(message, command, 200)]
