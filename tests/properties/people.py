"""What people do to notes, and what they may expect afterwards.

Every edit brings a token that is found nowhere else. A token is *gone on purpose* when somebody
deleted or overwrote it on a device that had it; nothing else may make one disappear. And it is
*gone for good* when nobody but the one who deleted it had ever touched the note it was in: such a
token may not come back. (Notes are told apart by the tokens that were ever in them together.)
"""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.properties.devices import SERVER, World

TOKEN = re.compile(rb'<t\d{5}>')

#: names that others may well choose, too
NAMES = (
    'todo',
    'Todo',
    'todo.txt',
    'list.txt',
    'sub/todo',
    'sub/list.txt',
    'Sub/todo',
    'sub/deep/x',
    'x',
    'x/y',
    'gr\u00f6\u00dfe',
    '\u00e9.txt',
    'e\u0301.txt',
    '100%',
)

Edit = tuple[Any, ...]


def tokens(body: bytes) -> set[bytes]:
    """Return the tokens in *body*."""
    return set(TOKEN.findall(body))


class Note(NamedTuple):
    """A note, whatever has become of it: what was ever in it, and who has changed it."""

    tokens: set[bytes]
    touched: set[str] = set()


class People:
    """Those who edit the notes on all devices of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.count = 0
        self.born: dict[bytes, str] = {}
        self.gone: set[bytes] = set()
        self._renamed: dict[bytes, set[str]] = {}  # token → where its note was given a name
        self._deleted: list[tuple[set[bytes], str]] = []
        self._notes: dict[bytes, Note] = {}
        for body in world.server.tree().values():
            for token in tokens(body):
                self.born[token] = SERVER
                self._notes[token] = Note({token})
                self.count += 1

    def act(self, place: str, edit: Edit) -> None:
        """Do *edit* on a device: the name of a method of :class:`Hand`, and what it takes."""
        kind, *values = edit
        hand = Hand(self, place)
        action: Callable[..., str | None] = getattr(hand, kind)
        told = action(*values)
        if told is not None:
            self.world.diary.append(f'{place}: {kind} {told}')
        self.world.now += 1

    def token(self, place: str) -> bytes:
        """Return a new token."""
        self.count += 1
        token = b'<t%05d>' % self.count
        self.born[token] = place
        self._notes[token] = Note({token}, {place})
        return token

    def touch(self, place: str, body: bytes, *, renamed: bool = False) -> None:
        """A note with *body*, or that had it and has it no more, is changed on *place*."""
        notes = {id(self._notes[token]): self._notes[token] for token in tokens(body)}
        if not notes:
            return
        note = Note(
            set().union(*(one.tokens for one in notes.values())),
            {place}.union(*(one.touched for one in notes.values())),
        )
        for token in note.tokens:
            self._notes[token] = note
        if renamed:
            for token in tokens(body):
                self._renamed.setdefault(token, set()).add(place)

    def renamed(self, token: bytes) -> set[str]:
        """Return where the note that *token* is in, or was, was given a name."""
        return set().union(*(self._renamed.get(t, set()) for t in self._notes[token].tokens))

    def drop(self, place: str, lost: set[bytes]) -> None:
        """Somebody on *place* no longer wants the tokens *lost*."""
        self.gone |= lost
        self._deleted.append((lost, place))

    def for_good(self) -> set[bytes]:
        """Return the tokens that may not come back."""
        return {
            token
            for lost, place in self._deleted
            for token in lost
            if self._notes[token].touched == {place}
        }

    def missing(self, there: set[bytes]) -> set[bytes]:
        """Return the tokens that are not *there* although nobody wanted them gone."""
        return set(self.born) - self.gone - there


class Hand:
    """What somebody does on one device. Each method does nothing if it is not possible."""

    def __init__(self, people: People, place: str) -> None:
        self.people = people
        self.place = place
        self.top: Path = people.world.places[place].path

    # --- looking ------------------------------------------------------------------------------

    def some(self, number: int) -> str | None:
        """Return one of the notes, if there are any."""
        names = sorted(self.people.world.places[self.place].tree())
        return names[number % len(names)] if names else None

    def read(self, name: str) -> bytes:
        return (self.top / name).read_bytes()

    def is_free(self, name: str) -> bool:
        """Whether nothing is in the way of a new note of this name."""
        path = self.top / name
        above = [p for p in path.parents if p != self.top and self.top in p.parents]
        return not os.path.lexists(path) and all(p.is_dir() for p in above if p.exists())

    # --- doing --------------------------------------------------------------------------------

    def put(self, name: str, body: bytes, *, carefully: bool = False) -> None:
        """Write a note; what it lacks of what was there before is gone on purpose."""
        path = self.top / name
        if path.exists():
            before = path.read_bytes()
            self.people.touch(self.place, before + body)
            self.people.drop(self.place, tokens(before) - tokens(body))
        path.parent.mkdir(parents=True, exist_ok=True)
        if carefully:  # as good editors save
            path.with_name('.swap~').write_bytes(body)
            os.replace(path.with_name('.swap~'), path)
        else:
            path.write_bytes(body)
        self.date(path)

    def date(self, path: Path) -> None:
        """Give a file the time that is believed in here."""
        place = self.people.world.places[self.place]
        if place.offset:
            os.utime(path, (place.clock(), place.clock()))

    def take(self, name: str) -> None:
        """Remove a note's file, and the folders that are empty then."""
        (self.top / name).unlink()
        with contextlib.suppress(OSError):
            for folder in (self.top / name).parents:
                if folder == self.top:
                    return
                folder.rmdir()

    def move(self, old: str, new: str) -> None:
        """Rename a note, over another one if there is one."""
        path = self.top / new
        self.people.touch(self.place, self.read(old), renamed=True)
        if path.exists() and not path.samefile(self.top / old):
            lost = path.read_bytes()
            self.people.touch(self.place, lost)
            self.people.drop(self.place, tokens(lost))
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.top / old, path)
        with contextlib.suppress(OSError):
            for folder in (self.top / old).parents:
                if folder == self.top:
                    return
                folder.rmdir()

    # --- the edits ----------------------------------------------------------------------------

    def add(self, name: str, binary: bool) -> str | None:
        """Write a new note."""
        if not self.is_free(name):
            return None
        token = self.people.token(self.place)
        lines = [b'line %d\n' % n for n in range(5)]
        body = b'\0\xff' + token + b'\r\n' if binary else b''.join([token, b'\n', *lines])
        self.put(name, body)
        return f'{name!r} {token.decode()}'

    def change(self, number: int, how: str, line: int) -> str | None:
        """Insert, replace or remove a line, or append one."""
        name = self.some(number)
        if name is None or (b'\0' in self.read(name) and how != 'append'):
            return None
        lines = self.read(name).splitlines(keepends=True)
        at = len(lines) if how == 'append' else line % (len(lines) + 1)
        if how in ('replace', 'remove') and lines:
            at = min(at, len(lines) - 1)
            del lines[at]
        said = ''
        if how != 'remove':
            token = self.people.token(self.place)
            said = token.decode()
            if how == 'append' and lines and not lines[-1].endswith(b'\n'):
                lines.append(b'\n')
                at += 1
            lines.insert(at, token + b'\n')
        self.put(name, b''.join(lines), carefully=line % 2 == 1)
        return f'{name!r} {how} line {at} {said}'

    def rewrite(self, number: int, binary: bool) -> str | None:
        """Write something else altogether."""
        name = self.some(number)
        if name is None:
            return None
        token = self.people.token(self.place)
        self.put(name, b'\0' + token if binary else token, carefully=binary)
        return f'{name!r} {token.decode()}'

    def rename(self, number: int, new: str, edited: bool) -> str | None:
        """Give a note another name, and perhaps change it, too."""
        old = self.some(number)
        if old is None or new.startswith(f'{old}/') or not self.is_free(new):
            return None
        self.move(old, new)
        said = ''
        if edited:
            token = self.people.token(self.place)
            said = token.decode()
            self.put(new, self.read(new) + token + b'\n')
        return f'{old!r} -> {new!r} {said}'

    def over(self, number: int, other: int) -> str | None:
        """Rename a note over another one."""
        old, new = self.some(number), self.some(number + 1 + other)
        if old is None or new is None or old == new:
            return None
        self.move(old, new)
        return f'{old!r} -> {new!r}'

    def swap(self, number: int, other: int) -> str | None:
        """Exchange the names of two notes."""
        one, two = self.some(number), self.some(number + 1 + other)
        if one is None or two is None or one == two:
            return None
        for name in (one, two):
            self.people.touch(self.place, self.read(name), renamed=True)
        spare = self.top / '.swap~'
        os.rename(self.top / one, spare)
        os.rename(self.top / two, self.top / one)
        os.rename(spare, self.top / two)
        return f'{one!r} {two!r}'

    def spell(self, number: int, how: str) -> str | None:
        """Rename a note in case only, or in the normal form of its name."""
        old = self.some(number)
        if old is None:
            return None
        folder, slash, last = old.rpartition('/')
        last = last.swapcase() if how == 'case' else unicodedata.normalize(how, last)
        new = folder + slash + last
        if new == old or os.path.lexists(self.top / new):
            return None
        self.move(old, new)
        return f'{old!r} -> {new!r}'

    def delete(self, number: int) -> str | None:
        """Delete a note."""
        name = self.some(number)
        if name is None:
            return None
        lost = self.read(name)
        self.people.touch(self.place, lost)
        self.people.drop(self.place, tokens(lost))
        self.take(name)
        return f'{name!r}'
