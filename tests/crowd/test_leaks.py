"""What a server needs does not grow with the number of its sessions."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.crowd.sessions import Traffic
from tests.e2e.harness import Server, World

needs_proc = pytest.mark.skipif(
    not os.path.exists('/proc/self/status'),
    reason='memory, threads and descriptors of another process are told by /proc only',
)


class Need(NamedTuple):
    """What a process needs: memory and database files in KB, threads, open files."""

    rss: int
    threads: int
    files: int
    database: int
    log: int
    rows: dict[str, int]


def need(server: Server) -> Need:
    """Return what the process of *server* needs now."""
    place = Path('/proc') / str(server.run.process.pid)
    values = dict(line.split(':', 1) for line in place.joinpath('status').read_text().splitlines())
    state = server.path / '.sync' / 'state.db'
    with closing(sqlite3.connect(state)) as connection:
        names = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
        rows = {
            name: connection.execute(f'select count(*) from "{name}"').fetchone()[0]
            for (name,) in names
        }
    return Need(
        int(values['VmRSS'].split()[0]),
        int(values['Threads']),
        len(os.listdir(place / 'fd')),
        state.stat().st_size >> 10,
        Path(f'{state}-wal').stat().st_size >> 10,
        rows,
    )


def measured(world: World, marks: list[int]) -> dict[int, Need]:
    """Lead sessions against a server; return what it needs after each number of *marks*."""
    # a program of its own: what is forked shares memory, and that counts as its own, too
    world.program = [sys.executable, '-m', 'pysyncml.cli.notes']
    for number in range(20):
        world.write('s', f'{number}.txt', f'note {number}\n' * 20)
    # one of a hundred sessions is of a device that was never there, and a tenth may come in an hour
    server = world.server('s', '--max-devices', '2000')
    with closing(Traffic(server.url)) as traffic:
        found = {}
        for mark in marks:
            traffic.lead(mark - traffic.led)
            found[mark] = need(server)
            print(mark, found[mark], flush=True)
    assert 'Traceback' not in server.log()
    return found


def grown(first: Need, last: Need, hundreds: int) -> dict[str, int]:
    """Return the tables that have more rows than so many *hundreds* of sessions account for.

    A hundred brings one device more, and twenty changes, a sixteenth of which delete five notes:
    6.25. These, and the ways back of up to 18.75 that were new or edited, are kept until all
    devices have come again, or are forgotten.
    """
    each = {'device': 1, 'datastore': 1, 'binding': 1, 'session': 1, 'mapping': 40}
    each |= {'notegone': 7, 'change': 7, 'revision': 20}
    return {
        name: count - first.rows[name]
        for name, count in last.rows.items()
        if count > first.rows[name] + 20 + hundreds * each.get(name.rpartition('_')[2], 0)
    }


def judge(first: Need, last: Need, hundreds: int) -> None:
    """See to it that *last* is no more than *first*."""
    assert last.rss <= first.rss * 1.1
    assert last.threads <= first.threads
    assert last.files <= first.files + 8  # connections that are kept for a minute
    assert last.log <= max(2 * first.log, 8192)
    assert grown(first, last, hundreds) == {}


@needs_proc
def test_some_hundred_sessions_need_no_more_than_a_hundred(world):
    found = measured(world, [60, 120])
    judge(found[60], found[120], hundreds=1)


@pytest.mark.campaign
@needs_proc
def test_ten_thousand_sessions_need_no_more_than_a_thousand(tmp_path):
    with World(tmp_path) as world:
        found = measured(world, [100, 1000, 2000, 5000, 10_000])
    for mark in (5000, 10_000):
        judge(found[1000], found[mark], hundreds=mark // 100)
