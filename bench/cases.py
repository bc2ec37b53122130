"""What is measured: each case prepares its folders and returns what its parts cost.

A case is a generator: it does its work in rounds, and yields after each round what was measured in
it, by name. All parts of a round are measured one after the other, so that a ratio of two of them
compares what was measured under the same conditions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import trees, yardsticks
from bench.measure import NOTES, Cost, Server, moved, rest_disk, run, sync

Round = dict[str, Cost]
Case = Callable[[Path, int, int], Iterator[Round]]

SOME = 10_000  # notes that are renamed, or deleted, whatever else there is


@contextmanager
def pair(root: Path, notes: int, *options: str) -> Iterator[tuple[Path, Path, Server]]:
    """Give a client's folder with *notes* notes and an empty served one, of one run."""
    client, served = root / 'client', root / 'served'
    for folder in (client, served):
        _fresh(folder)
    trees.make(client, notes)
    with Server(served, *options) as server:
        rest_disk()
        yield client, served, server
    trees.retire(client)
    trees.retire(served)


def first(root: Path, notes: int, rounds: int) -> Iterator[Round]:
    """A first sync, and how others do it."""
    for _ in range(rounds):
        found: Round = {}
        with pair(root, notes) as (client, _, server):
            found['sync-notes'] = sync(client, server)
            if yardsticks.has('rsync'):
                found['rsync'] = yardsticks.rsync(client, _fresh(root / 'other'))
            if yardsticks.has('unison'):
                found['unison'] = yardsticks.unison(
                    client, _fresh(root / 'other'), _fresh(root / 'u')
                )
        yield found


def encodings(root: Path, notes: int, rounds: int) -> Iterator[Round]:
    """A first sync in XML, and in WBXML."""
    for _ in range(rounds):
        found: Round = {}
        for encoding in ('xml', 'wbxml'):
            with pair(root, notes) as (client, _, server):
                found[encoding] = sync(client, server, '--encoding', encoding)
        yield found


def syncevolution(root: Path, notes: int, rounds: int) -> Iterator[Round]:
    """A first sync of SyncEvolution's client and server, beside ours."""
    from bench import foreign

    for _ in range(rounds):
        with pair(root, notes) as (client, _, server):
            found = {'sync-notes': sync(client, server)}
            if yardsticks.has('syncevolution'):
                found['syncevolution'] = foreign.first_sync(_fresh(root / 'evo'), client)
        yield found


def steady(root: Path, notes: int, rounds: int) -> Iterator[Round]:
    """Nothing changed, and 1 % changed, beside walks and Unison."""
    other, home = _fresh(root / 'other'), _fresh(root / 'u')
    with pair(root, notes) as (client, served, server):
        sync(client, server)
        with_unison = yardsticks.has('unison')
        if with_unison:
            yardsticks.unison(client, other, home)
        yardsticks.walk(client, served, databases=root / 'db')
        for _ in range(rounds):
            found: Round = {}
            assert moved(client, server) == 0
            found['no change'] = sync(client, server)
            found['walk'] = yardsticks.walk(client, served, databases=root / 'db')
            if with_unison:
                yardsticks.unison(client, other, home)
                found['unison, no change'] = yardsticks.unison(client, other, home)
            trees.change(client)
            found['1 % changed'] = sync(client, server)
            yardsticks.walk(client, served, databases=root / 'db')
            if with_unison:
                found['unison, 1 % changed'] = yardsticks.unison(client, other, home)
            yield found


def second_device(root: Path, notes: int, rounds: int) -> Iterator[Round]:
    """Another device gets all notes."""
    for _ in range(rounds):
        with pair(root, notes) as (client, _, server):
            sync(client, server)
            found = {'second device': sync(_fresh(root / 'second'), server)}
        yield found


def renamed_folder(root: Path, notes: int, rounds: int) -> Iterator[Round]:
    """A folder of 10,000 notes gets another name; beside a run without any change."""
    for _ in range(rounds):
        with pair(root, max(0, notes - SOME)) as (client, _, server):
            trees.below(client, min(notes, SOME))
            sync(client, server)
            sync(client, server)
            found = {'no change': sync(client, server)}
            trees.rename(client)
            found['renamed'] = sync(client, server)
        yield found


def deletions(root: Path, notes: int, rounds: int) -> Iterator[Round]:
    """10,000 notes are deleted, or all but one, with the user's consent."""
    for _ in range(rounds):
        with pair(root, notes, '--allow-deletions') as (client, _, server):
            sync(client, server)
            for number in range(1, min(notes, SOME)):
                (client / trees.note_name(number)).unlink()
            found = {'deletions': sync(client, server, '--allow-deletions')}
        yield found


def large(root: Path, megabytes: int, rounds: int) -> Iterator[Round]:
    """One file of so many MB over WBXML, to the server and on, beside rsync over a socket."""
    from bench import foreign

    for _ in range(rounds):
        with pair(root, 0) as (client, served, server):
            trees.make_large(client, megabytes << 20)
            found = {'sync-notes': sync(client, server, '--encoding', 'wbxml')}
            assert (served / 'large.bin').stat().st_size == megabytes << 20
            second = _fresh(root / 'second')
            found['second device'] = sync(second, server, '--encoding', 'wbxml')
            assert (second / 'large.bin').stat().st_size == megabytes << 20
            trees.retire(second)
            if yardsticks.has('rsync'):
                with foreign.rsync_daemon(_fresh(root / 'other')) as port:
                    found['rsync'] = yardsticks.rsync(client, root / 'other', port)
        yield found


def devices(root: Path, notes: int, rounds: int) -> Iterator[Round]:
    """50 added notes, on a server that knows 1, 5 and 20 devices."""
    for number in range(rounds):
        found: Round = {}
        with pair(root, notes) as (client, _, server):
            sync(client, server)
            known = 1
            for wanted in (1, 5, 20):
                for other in range(known, wanted):
                    folder = _fresh(root / 'others' / str(other))
                    sync(folder, server)
                known = wanted
                trees.add(client, 50, f'{number}-{wanted}')
                found[f'{wanted} known'] = sync(client, server)
        trees.retire(root / 'others')
        yield found


def crowd(root: Path, notes: int, rounds: int) -> Iterator[Round]:
    """Fifty devices at once, with *notes* notes each of their own; CPU is that of all of them."""
    from bench import foreign

    for _ in range(rounds):
        with pair(root, 0) as (_, _, server):
            folders = []
            for number in range(50):
                folder = _fresh(root / 'crowd' / str(number))
                trees.make(folder / f'own-{number}', notes)
                folders.append(folder)
            found = {'50 at once': foreign.all_at_once(folders, server)}
        trees.retire(root / 'crowd')
        yield found


def start(root: Path, _notes: int, rounds: int) -> Iterator[Round]:
    """Starting up: help, and a run with nothing to do, beside the imports they cannot avoid."""
    with pair(root, 100) as (client, _, server):
        sync(client, server)
        for _ in range(rounds):
            yield {
                '--help': run([*NOTES, '--help']),
                'argparse': yardsticks.bare_argparse(),
                'no change': sync(client, server),
                'ORM': yardsticks.bare_orm(),
            }


#: name → (the case, the sizes it is measured at, how many rounds by default)
CASES: dict[str, tuple[Case, tuple[int, ...], int]] = {
    'start': (start, (100,), 7),
    'steady': (steady, (1_000, 10_000, 100_000), 3),
    'first': (first, (1_000, 10_000, 100_000), 3),
    'syncevolution': (syncevolution, (1_000, 10_000), 3),
    'encodings': (encodings, (10_000,), 3),
    'second': (second_device, (1_000, 10_000, 100_000), 1),
    'renamed': (renamed_folder, (10_000, 100_000), 3),
    'deletions': (deletions, (10_000, 100_000), 1),
    'large': (large, (64, 1024), 1),
    'devices': (devices, (1_000,), 3),
    'crowd': (crowd, (20,), 1),
}


def _fresh(folder: Path) -> Path:
    trees.retire(folder)
    folder.mkdir(parents=True)
    return folder


if sys.platform == 'win32':
    raise SystemExit('the measurements read /proc and use wait4: they run on Linux')
