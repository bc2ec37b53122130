"""A client whose messages are written by hand, for what our own client never says."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json

from pysyncml.protocol.messages import (
    Add,
    Alert,
    Anchor,
    Copy,
    Delete,
    Header,
    Item,
    Location,
    Map,
    MapItem,
    Message,
    Meta,
    Replace,
    Status,
    Sync,
)
from pysyncml.state.records import SessionRecord
from pysyncml.stats import Stats
from tests.sync.support import BookmarkAgent, Script, device

_SESSIONS = itertools.count(1)


class Keeper(BookmarkAgent):
    """Bookmarks that can be put back to what they were."""

    def checkpoint(self):
        kept = copy.deepcopy(self.shelf)

        def back():
            self.shelf.clear()
            self.shelf.update(kept)

        return back


class Phone:
    """Numbers its messages and commands, and keeps its anchors."""

    def __init__(self, server, uri='items', name='D', ctype='text/x-bookmark', version='1.2'):
        self.server = server
        self.uri = uri
        self.name = name
        self.ctype = ctype
        self.version = version
        self.script = Script(server)
        self.last = None
        self.reply = None

    def start(self, code=200, filter=None, query=''):
        """Begin a session, with a slow sync if there was none before."""
        self.session = str(next(_SESSIONS))
        self.message = 0
        meta = Meta(anchor=Anchor(next=self.session, last=self.last))
        target = Location(self.uri + query, None, filter)
        item = Item(target=target, source=Location('x'), meta=meta)
        return self.say(Alert(code=code, items=(item,)))

    def say(self, *commands, final=True, no_resp=False):
        """Send *commands* with ids of their own, from 1 in the order in which they stand."""
        self.message += 1
        numbers = itertools.count(1)
        header = Header(
            version=self.version,
            dtd_version=self.version,
            session_id=self.session,
            msg_id=str(self.message),
            target=Location('http://S/'),
            source=Location(self.name),
            no_resp=no_resp,
        )
        numbered = tuple(_number(command, numbers) for command in commands)
        self.reply = self.script.post(Message(header=header, commands=numbered, final=final))
        return self.reply

    def sync(self, *children, final=True, **values):
        """Send *children* in a Sync; return the Status codes by what they answer."""
        command = Sync(target=Location(self.uri), source=Location('x'), commands=children)
        return codes(self.say(command, final=final, **values))

    def end(self, *pairs):
        """Acknowledge everything the server has sent, and give (its id, ours) of what is new."""
        commands = [
            Status(msg_ref=self.reply.header.msg_id, cmd_ref=c.cmd_id, cmd=c.name, code=200)
            for c in self.reply.walk()
            if not isinstance(c, Status)
        ]
        if pairs:
            items = tuple(MapItem(target=theirs, source=ours) for theirs, ours in pairs)
            commands.append(Map(target=Location(self.uri), source=Location('x'), items=items))
        reply = self.say(*commands)
        self.last = self.session
        return reply

    def session_with(self, *children, code=200, pairs=(), **values):
        """Lead a whole session; return what the server had sent, and what it answered."""
        self.start(code, **values)
        answers = self.sync(*children)
        reply = self.reply
        self.end(*pairs)
        return sent(reply), answers


def _number(command, numbers):
    number = str(next(numbers))
    if hasattr(command, 'commands'):
        inner = tuple(_number(child, numbers) for child in command.commands)
        return dataclasses.replace(command, cmd_id=number, commands=inner)
    return dataclasses.replace(command, cmd_id=number)


def codes(message):
    """Return (what is answered, Status code) in the order of the message, without the header."""
    found = [c for c in message.commands if isinstance(c, Status) and c.cmd_ref != '0']
    return [(status.cmd, status.code) for status in found]


def sent(message):
    """Return (command, Target or Source) of what stands in the Syncs of *message*."""
    inner = [c for c in message.walk() if isinstance(c, Add | Replace | Delete | Copy)]
    return [(c.name, c.items[0].target_uri or c.items[0].source_uri) for c in inner]


def data_of(url, title=None):
    return json.dumps({'url': url, 'title': title or f'title of {url}'}).encode()


META = Meta(type='text/x-bookmark')


def add(luid, url, title=None):
    item = Item(source=Location(luid), data=data_of(url, title))
    return Add(meta=META, items=(item,))


def replace(luid, url, title=None):
    item = Item(source=Location(luid), data=data_of(url, title))
    return Replace(meta=META, items=(item,))


def delete(luid, **values):
    return Delete(items=(Item(source=Location(luid)),), **values)


def server_with(*urls, agent=None, **values):
    return device('S', *urls, agent=agent, **values)


def phone_in_step(*urls, agent=None, **values):
    """Return a phone and a server that have *urls*; the phone calls them by these."""
    server = server_with(agent=agent, **values)
    phone = Phone(server)
    phone.session_with(*(add(url, url) for url in urls), code=201)
    return phone, server


def stats_of(server):
    """Return the counts of the last session with *server*."""
    with server.context.work() as work:
        record = max(work.records.find(SessionRecord), key=lambda record: record.updated)
    return Stats.restore(record.state['session']['datastores'][0]['stats'])
