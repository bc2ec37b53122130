"""What goes on when a program dies: the devices before, what their users do, and the run itself."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.e2e.harness import World

#: the bytes a message may have: little enough for several messages in each session
MESSAGE_SIZE = '6000'


@dataclass
class Scenario:
    """A synchronisation of the client ``a`` with the server ``s``, and what precedes it.

    Attributes:
        prepare: makes the devices what they are before; a server is there for that.
        edit: what their users do then, with no program running.
        options: what the client is told.
        served: what the server is told.
        roles: whose crash makes sense.
        want: the names and bodies that both are to have in the end; None if that depends.
        typing: what a user writes while it goes on, on the side that crashes.
        bodies: which bodies are to be there in the end, if the names depend; of ``typing``, after
            it was typed.
        twice: which of them may be there twice.
        others: clients that do not crash, and synchronise afterwards.
        environment: what is different about the programs (``tests/e2e/forkserver.py``).
    """

    name: str
    prepare: Callable[[World], None]
    edit: Callable[[World], None]
    options: tuple[str, ...] = ()
    served: tuple[str, ...] = ()
    roles: tuple[str, ...] = ('client', 'server')
    want: dict[str, bytes] | None = None
    bodies: list[bytes] | None = None
    others: tuple[str, ...] = ()
    typing: dict[str, bytes] | None = None
    twice: tuple[bytes, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


def body(text: str, lines: int = 12) -> bytes:
    """Return a note of several lines."""
    return b''.join(f'{text}, line {number}\n'.encode() for number in range(lines))


def nothing(_world: World) -> None:
    """Do nothing: what is there before there was anything."""


def fill(world: World, name: str, notes: dict[str, bytes]) -> None:
    """Write notes into a directory, which is made."""
    world.path(name)
    for key, content in notes.items():
        world.write(name, key, content)


def remove(world: World, name: str, *keys: str) -> None:
    """Delete notes, as users do."""
    for key in keys:
        os.unlink(world.path(name) / key)


def rename(world: World, name: str, *pairs: tuple[str, str]) -> None:
    """Rename notes, as users do."""
    for old, new in pairs:
        target = world.path(name) / new
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(world.path(name) / old, target)


def in_step(ours: dict[str, bytes], theirs: dict[str, bytes]) -> Callable[[World], None]:
    """Return what makes a client and a server with these notes, and brings them in step."""

    def prepare(world: World) -> None:
        fill(world, 'a', ours)
        fill(world, 's', theirs)
        world.sync('a')
        world.sync('a')

    return prepare


# --- the first synchronisation ------------------------------------------------------------------

_OURS = {'mine.txt': body('mine'), 'sub/deep/mine.txt': body('mine, deep'), 'x.txt': body('x')}
_THEIRS = {'yours.txt': body('yours'), 'sub/yours.txt': body('yours, in sub'), 'x.txt': body('x')}


def _first_edit(world: World) -> None:
    fill(world, 'a', _OURS)
    fill(world, 's', _THEIRS)


FIRST = Scenario('first', nothing, _first_edit, want={**_OURS, **_THEIRS})


# --- a password takes the place of a password file ---------------------------------------------

#: a file that says so is in every world
PASSWORD = 'correct horse'
_LOGIN = ('--username', 'me', '--password-file', 'password')
_LOGGED = {'note.txt': body('note')}


def _login_prepare(world: World) -> None:
    fill(world, 'a', _LOGGED)
    world.sync('a', *_LOGIN)
    world.sync('a')


def _login_edit(world: World) -> None:
    fill(world, 'a', {'mine.txt': body('mine')})
    fill(world, 's', {'yours.txt': body('yours')})


LOGIN = Scenario(
    'login',
    _login_prepare,
    _login_edit,
    ('--password', PASSWORD),
    served=_LOGIN,
    want={'mine.txt': body('mine'), 'yours.txt': body('yours'), **_LOGGED},
)

# --- a second device receives everything: more than a few notes ---------------------------------

_MANY = {f'{"even" if n % 2 == 0 else "odd"}/{n}.txt': body(f'number {n}') for n in range(12)}


def _second_prepare(world: World) -> None:
    fill(world, 'b', _MANY)
    fill(world, 's', {})
    world.sync('b')
    world.sync('b')


def _second_edit(world: World) -> None:
    fill(world, 'a', {'even/own.txt': body('own')})
    world.write('b', 'odd/1.txt', body('number 1, changed'))


SECOND = Scenario(
    'second',
    _second_prepare,
    _second_edit,
    want={**_MANY, 'even/own.txt': body('own'), 'odd/1.txt': body('number 1, changed')},
    others=('b',),
)

# --- changes both ways --------------------------------------------------------------------------

_BASE = {
    'same.txt': body('same'),
    'c edits.txt': body('c edits'),
    's edits.txt': body('s edits'),
    'c renames.txt': body('c renames'),
    's renames.txt': body('s renames'),
    'c deletes.txt': body('c deletes'),
    's deletes.txt': body('s deletes'),
    'swap/c1.txt': body('c1'),
    'swap/c2.txt': body('c2'),
    'swap/s1.txt': body('s1'),
    'swap/s2.txt': body('s2'),
    'both.txt': body('both'),
}


_ways_prepare = in_step(_BASE, {})


def _merged(first: str, last: str) -> bytes:
    lines = _BASE['both.txt'].splitlines(keepends=True)
    return b''.join([first.encode() or lines[0], *lines[1:-1], last.encode() or lines[-1]])


def _ways_edit(world: World) -> None:
    for side, place in (('c', 'a'), ('s', 's')):
        world.write(place, f'{side} edits.txt', body(f'{side} has edited this'))
        world.write(place, f'new/by {side}.txt', body(f'new by {side}'))
        rename(world, place, (f'{side} renames.txt', f'moved/{side} renamed.txt'))
        remove(world, place, f'{side} deletes.txt')
        one, two = f'swap/{side}1.txt', f'swap/{side}2.txt'
        rename(world, place, (one, 'x'), (two, one), ('x', two))
    world.write('a', 'both.txt', _merged('first by c\n', ''))
    world.write('s', 'both.txt', _merged('', 'last by s\n'))


def _ways_want() -> dict[str, bytes]:
    want = {'same.txt': _BASE['same.txt'], 'both.txt': _merged('first by c\n', 'last by s\n')}
    for side in 'cs':
        want[f'{side} edits.txt'] = body(f'{side} has edited this')
        want[f'new/by {side}.txt'] = body(f'new by {side}')
        want[f'moved/{side} renamed.txt'] = body(f'{side} renames')
        want[f'swap/{side}1.txt'] = body(f'{side}2')
        want[f'swap/{side}2.txt'] = body(f'{side}1')
    return want


WAYS = Scenario(
    'ways',
    _ways_prepare,
    _ways_edit,
    want=_ways_want(),
)

# --- whole folders get other names --------------------------------------------------------------

_FOLDERS = {f'{side} old/{n}.txt': body(f'{side} {n}', 4) for side in 'cs' for n in range(5)}


_folders_prepare = in_step(_FOLDERS, {})


def _folders_edit(world: World) -> None:
    for side, place in (('c', 'a'), ('s', 's')):
        rename(world, place, (f'{side} old', f'moved/{side} new'))
        world.write(place, f'{side} old/fresh.txt', body(f'fresh of {side}', 4))


def _folders_want() -> dict[str, bytes]:
    want = {key.replace(' old', ' new'): text for key, text in _FOLDERS.items()}
    want = {f'moved/{key}': text for key, text in want.items()}
    return want | {f'{side} old/fresh.txt': body(f'fresh of {side}', 4) for side in 'cs'}


FOLDERS = Scenario('folders', _folders_prepare, _folders_edit, want=_folders_want())

# --- conflicts ----------------------------------------------------------------------------------

_CONFLICT = {'one.txt': body('one'), 'bin.dat': b'\0' + body('two'), 'gone.txt': body('gone')}


_conflict_prepare = in_step(_CONFLICT, {})


def _conflict_edit(world: World) -> None:
    for place in 'as':
        world.write(place, 'one.txt', body(f'one, by {place}'))
        world.write(place, 'bin.dat', b'\0' + body(f'two, by {place}'))
        world.write(place, 'fresh.txt', body(f'fresh, by {place}'))
    remove(world, 'a', 'gone.txt')
    world.write('s', 'gone.txt', body('not gone'))


CONFLICT = Scenario(
    'conflict',
    _conflict_prepare,
    _conflict_edit,
    bodies=[
        *(body(f'one, by {place}') for place in 'as'),
        *(b'\0' + body(f'two, by {place}') for place in 'as'),
        *(body(f'fresh, by {place}') for place in 'as'),
        body('not gone'),
    ],
)

# --- the user keeps typing ----------------------------------------------------------------------

#: what a user of these writes over: nobody can expect to find it again
OVERWRITTEN = body('before')

_TYPING = {'sent.txt': body('sent'), 'edited.txt': body('edited')}


_typing_prepare = in_step({'edited.txt': OVERWRITTEN}, {})


def _typing_edit(place: str) -> Callable[[World], None]:
    return lambda world: fill(world, place, _TYPING)


def _typing(name: str, role: str, place: str) -> Scenario:
    typed = {'sent.txt': body('typed'), 'edited.txt': body('typed, too')}
    return Scenario(
        name,
        _typing_prepare,
        _typing_edit(place),
        roles=(role,),
        want=_TYPING,
        typing=typed,
        bodies=[*_TYPING.values(), *typed.values()],
        # Here the peer's version is laid beside what was typed. If we die before the peer was told
        # that we have it, the peer sees a conflict of its own, and keeps both as well.
        twice=(_TYPING['edited.txt'],),
    )


TYPING = _typing('typing', 'client', 's')
TYPING_THERE = _typing('typing there', 'server', 'a')

# --- notes in parts -----------------------------------------------------------------------------


def _large(text: str) -> bytes:
    return body(text, 1200)


_large_prepare = in_step(
    {'small.txt': body('small'), 'c large.txt': _large('c')},
    {'s large.txt': _large('s')},
)


def _large_edit(world: World) -> None:
    world.write('a', 'c large.txt', _large('c has edited this'))
    world.write('s', 's large.txt', _large('s has edited this'))


LARGE = Scenario(
    'large',
    _large_prepare,
    _large_edit,
    want={
        'small.txt': body('small'),
        'c large.txt': _large('c has edited this'),
        's large.txt': _large('s has edited this'),
    },
)

# --- the same, of notes that are never in memory as a whole

HUGE = replace(LARGE, name='huge', environment={'E2E_LARGE': '8000', 'E2E_PART': '12000'})

# --- refreshes: one side is replaced ------------------------------------------------------------


def _refresh_edit(world: World) -> None:
    world.write('a', 'c edits.txt', body('c has edited this'))
    world.write('s', 's edits.txt', body('s has edited this'))
    fill(world, 'a', {'extra/c.txt': body('extra of c')})
    fill(world, 's', {'extra/s.txt': body('extra of s')})
    rename(world, 'a', ('c renames.txt', 'c renamed.txt'))
    rename(world, 's', ('s renames.txt', 's renamed.txt'))


# what a refresh that breaks off leaves open is decided by the runs that follow, both ways: what
# had been replaced is in the trash, what had not been is a change like any other
OVER = Scenario('over', _ways_prepare, _refresh_edit, ('--mode', 'pull-over'))
UNDER = Scenario('under', _ways_prepare, _refresh_edit, ('--mode', 'push-over'))

# --- a database of version 1 --------------------------------------------------------------------


def _upgrade_edit(world: World) -> None:
    _ways_edit(world)
    for place in 'as':
        make_old(world.path(place))


# what version 2 has brought
_ADDED = {
    'account': ['md5_secret'],
    'device': ['encoding', 'version', 'our_nonce', 'peer_nonce'],
    'binding': ['suspended'],
}


def make_old(folder: Path) -> None:
    """Turn the state database of a directory into one of version 1."""
    with contextlib.closing(sqlite3.connect(folder / '.sync' / 'state.db')) as database:
        database.execute("update pysyncml_option set value = '1' where key = 'schema.version'")
        for table in ('unfinished', 'chunk'):
            database.execute(f'drop table if exists pysyncml_{table}')
        for table, columns in _ADDED.items():
            for column in columns:
                database.execute(f'alter table pysyncml_{table} drop column {column}')
        database.commit()


UPGRADE = Scenario('upgrade', _ways_prepare, _upgrade_edit, want=_ways_want())

# --- something comes back from the trash --------------------------------------------------------


def _restore_prepare(world: World) -> None:
    _ways_prepare(world)
    world.write('s', 'trashed/deep/er.txt', body('trashed'))
    world.sync('a')
    remove(world, 's', 'trashed/deep/er.txt')
    os.removedirs(world.path('s') / 'trashed' / 'deep')
    world.sync('a')
    world.sync('a')


RESTORE = Scenario(
    'restore',
    _restore_prepare,
    nothing,
    ('--restore', 'trashed/deep/er.txt'),
    roles=('client',),
    want={**_BASE, 'trashed/deep/er.txt': body('trashed')},
)

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        FIRST,
        LOGIN,
        SECOND,
        WAYS,
        FOLDERS,
        CONFLICT,
        TYPING,
        TYPING_THERE,
        LARGE,
        HUGE,
        OVER,
        UNDER,
        UPGRADE,
        RESTORE,
    )
}
