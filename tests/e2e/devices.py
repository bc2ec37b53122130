"""Devices of another make: they keep notes in memory, with any names and fields."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pysyncml
from pysyncml.testing import TestDevice
from pysyncml.transport.http import HTTPTransport
from pysyncml.transport.wsgi import AdHocServer, application

__all__ = ['Raw', 'Shelf', 'free_port']


class Shelf(pysyncml.BaseNoteAgent):
    """Notes in memory, with any names and fields; ``notes`` is id to note."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: dict[str, Any] = {}
        self.store: Any = None

    def getAllItems(self) -> Any:
        return list(self.notes.values())

    def getItem(self, itemID: str) -> Any:
        note = self.notes[itemID]
        return pysyncml.NoteItem(note.name, note.body, note.id, note.extensions)

    def addItem(self, item: Any) -> Any:
        item.id = pysyncml.newID()
        self.notes[item.id] = item
        return item

    def replaceItem(self, item: Any, reportChanges: bool) -> None:
        self.notes[item.id] = item

    def deleteItem(self, itemID: str) -> None:
        del self.notes[itemID]

    # --- what its user does ---

    def add(self, name: str | None, body: bytes | None, **ext: str) -> str:
        """Make a new note; return its id."""
        item_id = self.addItem(pysyncml.NoteItem(name, body, **ext)).id
        self.store.registerChange(item_id, pysyncml.ITEM_ADDED)
        return str(item_id)

    def change(self, item_id: str, **values: Any) -> None:
        """Change the name or the body of a note."""
        note = self.getItem(item_id)
        for name, value in values.items():
            setattr(note, name, value)
        self.notes[item_id] = note
        self.store.registerChange(item_id, pysyncml.ITEM_MODIFIED)

    def drop(self, item_id: str) -> None:
        """Delete a note."""
        del self.notes[item_id]
        self.store.registerChange(item_id, pysyncml.ITEM_DELETED)

    def by_name(self) -> dict[Any, Any]:
        """Return the notes by name."""
        return {note.name: note for note in self.notes.values()}


class Raw(TestDevice):
    """A device of another make: a client of a URL, or a server in a thread."""

    def __init__(self, name: str = 'raw', url: str = '', **values: Any) -> None:
        self.shelf = Shelf()
        super().__init__(name, self.shelf, 'notes', **values)
        self.shelf.store = self.store
        self.url = url

    def run(self, mode: Any = pysyncml.SYNCTYPE_TWO_WAY, **login: str) -> Any:
        """Synchronise with the server; return the statistics of the notes."""
        if login or self.adapter.peer is None:
            auth = pysyncml.NAMESPACE_AUTH_BASIC if login else None
            self.adapter.peer = self.context.RemoteAdapter(url=self.url, auth=auth, **login)
        with contextlib.closing(HTTPTransport()) as transport:
            return self.adapter.sync(mode, transport)['notes']

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """Be a server; yield the address."""
        with AdHocServer(application(self.handle), '127.0.0.1', 0) as server:
            yield server.url


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(('127.0.0.1', 0)) as stream:
        return int(stream.getsockname()[1])
