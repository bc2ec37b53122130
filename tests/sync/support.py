"""What these tests share: an agent for bookmarks, and a wire that remembers what went over it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable

from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import StaticPool

import pysyncml
from pysyncml.codec import decode, encode
from pysyncml.errors import ConnectFailed, Timeout
from pysyncml.protocol.messages import Alert, Anchor, Map, Message, Results, Status, Sync
from pysyncml.testing import TestDevice
from pysyncml.transport import LoopbackTransport, Request, Response


class Bookmark(pysyncml.Item):
    fields = ('url', 'title')

    def dump(self, stream, contentType=None, version=None):
        stream.write(json.dumps(self.values()).encode())

    @classmethod
    def load(cls, stream, contentType=None, version=None):
        return cls(**json.load(stream))


class BookmarkAgent(pysyncml.Agent):
    """The agent of the documentation: it gives out and takes in the very objects it keeps."""

    itemClass = Bookmark
    contentTypes = [pysyncml.ContentTypeInfo('text/x-bookmark', '1.0', preferred=True)]
    mfactory = pysyncml.CompositeMergerFactory()

    def __init__(self, shelf=None):
        super().__init__()
        self.shelf = {} if shelf is None else shelf

    def getAllItems(self):
        return self.shelf.values()

    def getItem(self, itemID):
        return self.shelf[itemID]

    def addItem(self, item):
        item.id = pysyncml.newID()
        self.shelf[item.id] = item
        return item

    def replaceItem(self, item, reportChanges):
        assert item.id in self.shelf
        self.shelf[item.id] = item

    def deleteItem(self, itemID):
        del self.shelf[itemID]


def bookmark(url, title=None):
    return Bookmark(url=url, title=title or f'title of {url}')


class Engines:
    """Databases in memory, used again: SQLAlchemy keeps its compiled statements by engine."""

    def __init__(self) -> None:
        self.engines: list[Engine] = []
        self.used = 0
        self.template = None

    def release(self) -> None:
        """Declare all databases unused."""
        self.used = 0

    def take(self) -> Engine:
        """Return an engine whose database has empty tables."""
        if self.used == len(self.engines):
            memory = {'poolclass': StaticPool, 'connect_args': {'check_same_thread': False}}
            self.engines.append(create_engine('sqlite://', **memory))
        engine = self.engines[self.used]
        self.used += 1
        driver = engine.raw_connection().dbapi_connection
        driver.rollback()
        if self.template is None:
            pysyncml.Context(engine=engine).options.get('x')
            self.template = sqlite3.connect(':memory:')
            driver.backup(self.template)
        self.template.backup(driver)
        return engine


ENGINES = Engines()


def device(name, *urls, agent=None, engine=None, **values) -> TestDevice:
    """Return a device that has bookmarks of *urls*."""
    engine = ENGINES.take() if engine is None else engine
    made = TestDevice(name, agent or BookmarkAgent(), engine=engine, **values)
    for url in urls:
        made.add(bookmark(url))
    return made


def urls(dev: TestDevice) -> list[str]:
    return sorted(item.url for item in dev.agent.getAllItems())


def contents(dev: TestDevice) -> list[tuple[str, str]]:
    return sorted((item.url, item.title) for item in dev.agent.getAllItems())


def find(dev: TestDevice, url: str) -> str:
    """Return the id of the bookmark of *url*."""
    [item_id] = [item_id for item_id, item in dev.agent.shelf.items() if item.url == url]
    return item_id


def edit(dev: TestDevice, item_id: str, **values) -> None:
    """Change fields of a bookmark, as its user would."""
    new = Bookmark(**dev.agent.getItem(item_id).values())
    for name, value in values.items():
        setattr(new, name, value)
    dev.replace(item_id, new)


class Wire:
    """Carries messages to a server and remembers them, decoded.

    ``script`` maps the number of an exchange (from 1) to what happens to it: ``'lost request'``,
    ``'lost answer'``, ``'twice'``, or something to call with the server before it.
    """

    def __init__(
        self, server: TestDevice, script: dict[int, str | Callable] | None = None, restart=False
    ) -> None:
        self.server = server
        self.script = script or {}
        self.restart = restart
        self.requests: list[Message] = []
        self.answers: list[Message] = []
        self.sizes: list[tuple[int, int]] = []

    def exchange(self, request: Request) -> Response:
        self.requests.append(decode(request.content_type, request.body))
        event = self.script.get(len(self.requests))
        if callable(event):
            event(self.server)
        if event == 'lost request':
            raise ConnectFailed('the request was lost')
        response = self._hand_over(request)
        if event == 'twice':
            again = self._hand_over(request)
            assert again.body == response.body
        self.answers.append(decode(response.content_type, response.body))
        self.sizes.append((len(request.body), len(response.body)))
        if event == 'lost answer':
            raise Timeout('the answer was lost')
        return response

    def _hand_over(self, request: Request) -> Response:
        if self.restart:
            self.server.restart()
        return LoopbackTransport(self.server.handle).exchange(request)

    def close(self) -> None:
        """Nothing to close."""

    def sent(self, kind: type, *, by: str = 'both') -> list:
        """Return all commands of *kind*, in the order in which they were said."""
        groups = {'client': self.requests, 'server': self.answers}
        messages = [m for who, group in groups.items() if by in (who, 'both') for m in group]
        return [command for m in messages for command in m.walk() if isinstance(command, kind)]


class Script:
    """A client made of messages written by hand: sends them, and returns decoded answers."""

    def __init__(self, server: TestDevice) -> None:
        self.server = server
        self.last: bytes = b''

    def post(self, message: Message) -> Message:
        content_type, body = encode(message)
        response = self.server.handle(
            Request(url='http://S/', headers={'content-type': content_type}, body=body)
        )
        assert response.status == 200
        self.last = response.body
        return decode(response.content_type, response.body)


def statuses(message: Message) -> dict[str, int]:
    """Return the Status codes in *message* by what they answer."""
    return {s.cmd_ref: s.code for s in message.commands if isinstance(s, Status)}


def syncs(message: Message) -> list[Sync]:
    return [command for command in message.commands if isinstance(command, Sync)]


def shape(message: Message) -> list[str]:
    """Return a message in short: what is said about what, one line for each command."""
    lines = [_line(command) for command in message.walk()]
    return [*lines, 'Final'] if message.final else lines


def _line(command) -> str:
    number = f'{command.name}#{command.cmd_id}'
    if isinstance(command, Status):
        refs = [f'T={uri}' for uri in command.target_refs]
        refs += [f'S={uri}' for uri in command.source_refs]
        refs += [f'Next={i.data.next}' for i in command.items if isinstance(i.data, Anchor)]
        told = [f'M{command.msg_ref}', command.cmd_ref, command.cmd, *refs, str(command.code)]
        return f'{number}({",".join(told)})'
    if isinstance(command, Alert):
        [item] = command.items
        anchor = item.meta.anchor if item.meta else None
        ends = [f'T={item.target_uri}', f'S={item.source_uri}']
        ends += [f'Last={anchor.last or ""}', f'Next={anchor.next}'] if anchor else []
        return f'{number}({command.code},{",".join(ends)})'
    if isinstance(command, Sync):
        ends = f'T={command.target.uri},S={command.source.uri}'
        return f'{number}({ends},{command.number_of_changes})'
    if isinstance(command, Map):
        pairs = ','.join(f'{pair.target}={pair.source}' for pair in command.items)
        return f'{number}(T={command.target.uri},S={command.source.uri},{pairs})'
    ends = [
        f'{letter}={uri}'
        for item in command.items
        for letter, uri in (('T', item.target_uri), ('S', item.source_uri))
        if uri
    ]
    if isinstance(command, Results):
        ends = [f'M{command.msg_ref}', command.cmd_ref, *ends]
    return f'{number}({",".join(ends)})'
