"""Somebody edits a note at one exact moment of a synchronisation.

A *moment* is a number: the edit is made at that call which the program makes to the file system
on one side's behalf (:mod:`tests.faults.taps`). Every edit has a token that is found nowhere else,
and what has been typed must be on all devices in the end, in the note or in a copy beside it.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

from tests.faults.bench import Bench
from tests.faults.taps import Call, tapped

TOKEN = re.compile(rb'<[a-z]+\d+>')

#: What an editor may do, in one go at its moment.
KINDS = ('in place', 'aside', 'other inode', 'delete', 'rename', 'same size')
#: What it begins at its moment, and ends some calls later.
SLOW_KINDS = ('truncate, later write', 'open, later append', 'write aside, later rename')

DELAYS = (1, 2, 4, 9, 20, 45)

# besides the note itself, nobody looks at these while notes are synchronised
_NO_MOMENTS = ('lock', 'state.db', '.pid', 'credentials')


def lines(*middle: bytes) -> bytes:
    """Return the text of a note: some lines, between them what is given."""
    return b''.join(b'line %d\n' % n + (middle[n] if n < len(middle) else b'') for n in range(8))


def prepare(bench: Bench) -> None:
    """Make notes that are in step, then edits on both sides: everything a session can have to do.

    ``n`` is edited on both sides, ``m`` on the server and ``o`` on the client; ``r`` and ``d`` are
    renamed and deleted on the server, ``q`` and ``e`` on the client; ``x`` and ``y`` are new.
    """
    a, s = bench.path('a'), bench.path('s')
    for name in 'nmordqe':
        a.joinpath(f'{name}.txt').write_bytes(lines(b'<%s0>\n' % name.encode()))
    bench.sync('a', code=0)
    bench.sync('a', code=0)
    s.joinpath('n.txt').write_bytes(lines(b'<n0>\n', b'', b'', b'', b'', b'', b'<ns1>\n'))
    a.joinpath('n.txt').write_bytes(lines(b'<n0>\n', b'', b'<na1>\n'))
    s.joinpath('m.txt').write_bytes(lines(b'<m0>\n', b'', b'', b'<ms1>\n'))
    a.joinpath('o.txt').write_bytes(lines(b'<o0>\n', b'', b'', b'<oa1>\n'))
    s.joinpath('r.txt').rename(s / 'r2.txt')
    a.joinpath('q.txt').rename(a / 'q2.txt')
    s.joinpath('d.txt').unlink()
    a.joinpath('e.txt').unlink()
    s.joinpath('x.txt').write_bytes(lines(b'<xs1>\n'))
    a.joinpath('y.txt').write_bytes(lines(b'<ya1>\n'))


#: What is to be found in the end, unless the user takes it away.
WANTED = {b'<n0>', b'<ns1>', b'<na1>', b'<m0>', b'<ms1>', b'<o0>', b'<oa1>', b'<r0>', b'<q0>'}
WANTED |= {b'<xs1>', b'<ya1>'}

#: The notes that somebody edits, with the names they may have meanwhile.
TARGETS = {
    'a': (('n.txt',), ('m.txt',), ('r.txt', 'r2.txt'), ('d.txt',), ('o.txt',), ('x.txt',)),
    's': (('n.txt',), ('o.txt',), ('q.txt', 'q2.txt'), ('e.txt',), ('m.txt',), ('y.txt',)),
}


class Typist:
    """Edits one note in *folder* at the moment *at*; counts the moments there are.

    Args:
        folder: the directory of the side.
        at: the number of the moment, counted from 1; 0: never.
        kind: what is done; one of :data:`KINDS` and :data:`SLOW_KINDS`.
        names: the note, by the names it may have.
        delay: after how many moments more something slow comes to its end.
    """

    def __init__(
        self, folder: Path, at: int, kind: str, names: tuple[str, ...], delay: int = 1
    ) -> None:
        self.folder, self.at, self.kind, self.names = folder, at, kind, names
        self.delay = delay
        self.token = b'<t%d>' % at
        self.count = 0
        self.typed: set[bytes] = set()
        self.gone: set[bytes] = set()
        self.when = ''
        self._rest: Any = None
        self._top = os.path.normpath(str(folder))

    def __call__(self, call: Call) -> None:
        """Take notice of a call; edit if this is the moment."""
        mine = call.path == self._top or call.path.startswith(self._top + os.sep)
        if not mine or any(part in call.path for part in _NO_MOMENTS):
            return
        self.count += 1
        if self.count == self.at:
            phase = 'after' if call.over else 'before'
            self.when = f'{phase} {call.name} {call.path[len(self._top) :]} {call.other}'
            getattr(self, '_' + re.sub(r'\W+', '_', self.kind))()
        elif self._rest is not None and self.count >= self.at + self.delay:
            self.finish()

    def finish(self) -> None:
        """End what was begun."""
        rest, self._rest = self._rest, None
        if rest is not None:
            rest()

    # --- the note -----------------------------------------------------------------------------

    def _path(self) -> Path:
        found = [self.folder / name for name in self.names if (self.folder / name).is_file()]
        return found[0] if found else self.folder / self.names[0]

    def _text(self, path: Path) -> bytes:
        with contextlib.suppress(FileNotFoundError):
            return path.read_bytes()
        return b''

    def _new_text(self, path: Path) -> bytes:
        """Return the note with the token in it, as if somebody had typed it."""
        self.typed.add(self.token)
        return self._text(path) + self.token + b'\n'

    # --- kinds --------------------------------------------------------------------------------

    def _in_place(self) -> None:
        path = self._path()
        path.write_bytes(self._new_text(path))

    def _aside(self) -> None:
        path = self._path()
        new = path.with_name(path.name + '~')
        new.write_bytes(self._new_text(path))
        os.replace(new, path)

    def _other_inode(self) -> None:
        path = self._path()
        text = self._new_text(path)
        path.unlink(missing_ok=True)
        path.write_bytes(text)

    def _same_size(self) -> None:
        path = self._path()
        text = self._text(path)
        if not text.startswith(b'line 0'):
            return self._in_place()
        mark = b'<u%03d>' % (self.at % 1000)  # as long as what it takes the place of
        self.typed.add(mark)
        path.write_bytes(mark + text[len(mark) :])
        return None

    def _delete(self) -> None:
        path = self._path()
        self.gone |= set(TOKEN.findall(self._text(path)))
        path.unlink(missing_ok=True)

    def _rename(self) -> None:
        path = self._path()
        if path.exists():
            path.rename(path.with_name(f'renamed-{self.at}.txt'))

    def _truncate_later_write(self) -> None:
        path = self._path()
        text = self._new_text(path)
        stream = open(path, 'wb', buffering=0)  # noqa: SIM115 - closed later

        def rest() -> None:
            stream.write(text)
            stream.close()

        self._rest = rest

    def _open_later_append(self) -> None:
        path = self._path()
        stream = open(path, 'ab', buffering=0)  # noqa: SIM115 - closed later
        self.typed.add(self.token)

        def rest() -> None:
            stream.write(self.token + b'\n')
            stream.close()

        self._rest = rest

    def _write_aside_later_rename(self) -> None:
        path = self._path()
        new = path.with_name(path.name + '~')
        new.write_bytes(self._new_text(path))

        def rest() -> None:
            # what came in the meantime is written over by the editor itself
            seen = set(TOKEN.findall(self._text(path))) - set(TOKEN.findall(self._text(new)))
            self.gone |= seen
            os.replace(new, path)

        self._rest = rest


def count_moments(bench: Bench, side: str) -> int:
    """Return how many moments a session of the prepared *bench* has on one *side*."""
    typist = Typist(bench.path(side), 0, 'in place', ('n.txt',))
    with tapped(typist):
        bench.sync('a', code=0)
    return typist.count


def edited_at(bench: Bench, side: str, at: int, kind: str, target: int, delay: int) -> str:
    """Synchronise the prepared *bench* while somebody edits; assert that nothing is lost.

    Returns:
        When the edit was made, in words.
    """
    names = TARGETS[side][target % len(TARGETS[side])]
    typist = Typist(bench.path(side), at, kind, names, delay)
    with tapped(typist):
        result = bench.sync('a')
    typist.finish()
    what = f'{side}: {kind} of {names[0]} {typist.when}, the rest {delay} later'
    assert result.code in (0, 4), f'{what}: {result}'
    try:
        tree = bench.settle('a')
    except AssertionError as error:
        raise AssertionError(f'{what}: {error}') from error
    there = set().union(*map(TOKEN.findall, tree.values()))
    lost = (WANTED | typist.typed) - typist.gone - there
    shown = {name: TOKEN.findall(body) for name, body in tree.items()}
    kept = [TOKEN.findall(body) for s in 'as' for body in bench.trashed(s)]
    assert not lost, f'{what}: lost {lost}\n{shown}\ntrash: {kept}\n{bench.said}'
    return what
