"""What others take for the same, in the same run: the yardsticks."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.measure import PYTHON, Cost, run

_WALK = """
import os, sqlite3, sys
def walk(top):
    folders = [top]
    while folders:
        with os.scandir(folders.pop()) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != '.sync':
                        folders.append(entry.path)
                else:
                    stat = entry.stat(follow_symlinks=False)
                    yield entry.path, stat.st_size, stat.st_mtime_ns, stat.st_ino
def compare(top, database):
    connection = sqlite3.connect(database)
    connection.execute('create table if not exists f '
                       '(path text primary key, size int, mtime int, inode int)')
    known = {row[0]: row[1:] for row in connection.execute('select * from f')}
    changed = []
    for path, *looks in walk(top):
        if known.pop(path, None) != tuple(looks):
            changed.append((path, *looks))
    connection.executemany('insert or replace into f values (?, ?, ?, ?)', changed)
    connection.executemany('delete from f where path = ?', [(path,) for path in known])
    connection.commit()
for top, database in zip(sys.argv[1::2], sys.argv[2::2]):
    compare(top, database)
"""


def walk(*trees: Path, databases: Path) -> Cost:
    """Walk the *trees* in one Python process, and compare with what SQLite has of each."""
    databases.mkdir(exist_ok=True)
    argv = [PYTHON, '-c', _WALK]
    for tree in trees:
        argv += [str(tree), str(databases / f'{tree.name}.db')]
    return run(argv)


def bare_argparse() -> Cost:
    """Import argparse."""
    return run([PYTHON, '-c', 'import argparse'])


def bare_orm() -> Cost:
    """Import the ORM of SQLAlchemy."""
    return run([PYTHON, '-c', 'import sqlalchemy.orm'])


def has(program: str) -> bool:
    """Return whether *program* is installed."""
    return shutil.which(program) is not None


def unison(one: Path, other: Path, home: Path) -> Cost:
    """Synchronise two local trees with Unison."""
    other.mkdir(exist_ok=True)
    home.mkdir(exist_ok=True)
    options = ['-batch', '-silent', '-ui', 'text', '-ignore', 'Name .sync', '-confirmbigdel=false']
    argv = ['env', f'UNISON={home}', 'unison', str(one), str(other), *options]
    return run(argv, ok=(0, 1))


def rsync(one: Path, other: Path, port: int = 0) -> Cost:
    """Copy a tree with rsync, over a socket of this machine if a *port* is given."""
    target = f'rsync://127.0.0.1:{port}/tree/' if port else f'{other}/'
    return run(['rsync', '-a', '--exclude', '.sync', f'{one}/', target])
