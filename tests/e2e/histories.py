"""Random histories: what people do to notes, and what must be true afterwards.

Every edit brings a token that is found nowhere else. A token is *gone on purpose* when somebody
deleted or overwrote it on a device that had it; nothing else may make a token disappear.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import random
import re
import shutil
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.e2e.harness import COUNTS, Result, World

TOKEN = re.compile(rb'<t\d{5}>')


def speech(name: str) -> tuple[str, str]:
    """Return the option that says in what the device *name* speaks: not all speak alike."""
    return ('--encoding', 'wbxml' if name == 'b' else 'xml')


STEMS = ('todo', 'Todo', 'list', 'plan', 'a b', 'größe', 'e\u0301', '100%', 'x', 'y', 'z')
FOLDERS = ('', '', '', 'sub', 'Sub', 'sub/deep', 'x', 'plan', 'f', 'g/h')
ENDINGS = ('.txt', '.txt', '', '.md')

ROUNDS = 6  # of synchronising all devices, within which everything must be settled


class People:
    """Those who edit the notes on all devices of a world.

    Args:
        careful: whether they never delete anything, nor write over it.
    """

    def __init__(self, world: World, rng: random.Random, *, careful: bool = False) -> None:
        self.actions = {k: n for k, n in ACTIONS.items() if not (careful and k in DELETING)}
        self.world = world
        self.rng = rng
        self.count = 0
        self.born: dict[bytes, str] = {}  # token → the device it was made on
        self.gone: set[bytes] = set()
        self.diary: list[str] = []

    def act(self, place: str) -> None:
        """Do one random thing on the device *place*."""
        action = self.rng.choices(list(self.actions), list(self.actions.values()))[0]
        hand = Hand(self, place)
        getattr(hand, action)()

    def token(self, place: str) -> bytes:
        """Return a new token."""
        self.count += 1
        token = b'<t%05d>' % self.count
        self.born[token] = place
        return token

    def missing(self, tree: dict[str, bytes]) -> list[str]:
        """Return the tokens that *tree* lacks although nobody wanted them gone."""
        there = set().union(*(TOKEN.findall(body) for body in tree.values()), set())
        lost = set(self.born) - self.gone - there
        return [f'{token.decode()} of {self.born[token]}' for token in sorted(lost)]


class Hand:
    """What somebody does on one device. Each method does nothing if it is not possible."""

    def __init__(self, people: People, place: str) -> None:
        self.people = people
        self.rng = people.rng
        self.place = place
        self.top = people.world.path(place)

    # --- looking ------------------------------------------------------------------------------

    def files(self) -> list[str]:
        """Return all notes."""
        return sorted(self.people.world.tree(self.place))

    def texts(self) -> list[str]:
        """Return all notes that are text."""
        return [name for name in self.files() if b'\0' not in self.read(name)]

    def folders(self) -> list[str]:
        """Return all folders with notes somewhere in them."""
        found = set()
        for name in self.files():
            parts = name.split('/')[:-1]
            found.update('/'.join(parts[: n + 1]) for n in range(len(parts)))
        return sorted(found)

    def full(self, name: str) -> Path:
        """Return the path of a note."""
        return self.top / name

    def read(self, name: str) -> bytes:
        """Return the content of a note."""
        return self.full(name).read_bytes()

    def some(self, names: list[str], count: int = 1) -> list[str]:
        """Return *count* of these, or none if there are not as many."""
        return self.rng.sample(names, count) if len(names) >= count else []

    def name(self) -> str:
        """Return a name that others may well choose, too."""
        stem = self.rng.choice(STEMS) + self.rng.choice(ENDINGS)
        folder = self.rng.choice(FOLDERS)
        return f'{folder}/{stem}' if folder else stem

    def free(self) -> str | None:
        """Return a name that nothing stands in the way of."""
        for _ in range(5):
            name = self.name()
            path = self.full(name)
            above = [p for p in path.parents if p != self.top and self.top in p.parents]
            if os.path.lexists(path) or any(p.exists() and not p.is_dir() for p in above):
                continue
            return name
        return None

    # --- doing --------------------------------------------------------------------------------

    def say(self, *words: Any) -> None:
        """Write into the diary."""
        self.people.diary.append(f'{self.place}: ' + ' '.join(map(str, words)))

    def put(self, name: str, body: bytes) -> None:
        """Write a note; what it lacks of what was there before is gone on purpose."""
        path = self.full(name)
        if path.exists():
            before = set(TOKEN.findall(path.read_bytes()))
            self.people.gone |= before - set(TOKEN.findall(body))
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and self.rng.random() < 0.5:  # as careful editors save
            new = path.with_name(f'{path.name}~')
            new.write_bytes(body)
            os.replace(new, path)
        else:
            path.write_bytes(body)

    def drop(self, name: str) -> None:
        """Delete a note."""
        self.people.gone |= set(TOKEN.findall(self.read(name)))
        self.full(name).unlink()
        self.tidy(name)

    def tidy(self, name: str) -> None:
        """Remove the folders above *name* that are empty now; not everybody does."""
        if self.rng.random() < 0.3:
            return
        for folder in self.full(name).parents:
            if folder == self.top or any(folder.iterdir()):
                return
            folder.rmdir()

    def rename(self, old: str, new: str) -> None:
        """Move a note, over another one if there is one."""
        path = self.full(new)
        if path.exists():
            self.people.gone |= set(TOKEN.findall(path.read_bytes()))
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.full(old), path)
        self.tidy(old)

    # --- the actions --------------------------------------------------------------------------

    def make_text(self) -> None:
        name = self.free()
        if name is None:
            return
        token = self.people.token(self.place)
        lines = [b'line %d of %s\n' % (n, name.encode()) for n in range(8)]
        lines.insert(self.rng.randrange(9), token + b'\n')
        self.say('new text', name, token)
        self.put(name, b''.join(lines))

    def make_binary(self) -> None:
        name = self.free()
        if name is None:
            return
        token = self.people.token(self.place)
        self.say('new binary', name, token)
        self.put(name, b'\0\xff' + token + b'\r\n' + self.rng.randbytes(20))

    def edit(self) -> None:
        for name in self.some(self.texts()):
            lines = self.read(name).splitlines(keepends=True)
            at = self.rng.randrange(len(lines) + 1)
            token = self.people.token(self.place)
            how = self.rng.choice(('insert', 'insert', 'replace', 'remove'))
            if how != 'insert' and lines:
                del lines[min(at, len(lines) - 1)]
            if how != 'remove':
                lines.insert(at, token + b' by ' + self.place.encode() + b'\n')
            else:
                del self.people.born[token]
            self.say('edit', name, how, 'line', at, token)
            self.put(name, b''.join(lines))

    def rewrite(self) -> None:
        for name in self.some(self.files()):
            token = self.people.token(self.place)
            self.say('rewrite', name, token)
            self.put(name, b'\0' + token if self.rng.random() < 0.5 else token)

    def touch(self) -> None:
        for name in self.some(self.files()):
            self.say('touch', name)
            os.utime(self.full(name))

    def move(self) -> None:
        new = self.free()
        for old in self.some(self.files()):
            if new is not None and not new.startswith(old + '/'):
                self.say('rename', old, '->', new)
                self.rename(old, new)

    def move_and_edit(self) -> None:
        new = self.free()
        for old in self.some(self.texts()):
            if new is not None and not new.startswith(old + '/'):
                token = self.people.token(self.place)
                self.say('rename', old, '->', new, 'and edit', token)
                self.rename(old, new)
                self.full(new).write_bytes(self.read(new) + token + b'\n')

    def move_over(self) -> None:
        for old, new in [self.some(self.files(), 2)] if len(self.files()) > 1 else []:
            self.say('rename', old, 'over', new)
            self.rename(old, new)

    def swap(self) -> None:
        names = self.some(self.files(), 2)
        if names:
            self.cycle(names)

    def rotate(self) -> None:
        names = self.some(self.files(), 3)
        if names:
            self.cycle(names)

    def cycle(self, names: list[str]) -> None:
        self.say('rotate', *names)
        spare = self.full('spare~')
        os.rename(self.full(names[-1]), spare)
        for old, new in reversed(list(itertools.pairwise(names))):
            os.rename(self.full(old), self.full(new))
        os.rename(spare, self.full(names[0]))

    def chain(self) -> None:
        names, new = self.some(self.files(), 2), self.free()
        if names and new is not None and not any(new.startswith(n + '/') for n in names):
            self.say('chain', *names, '->', new)
            self.rename(names[1], new)
            if not self.full(names[1]).exists():
                self.full(names[1]).parent.mkdir(parents=True, exist_ok=True)
            os.rename(self.full(names[0]), self.full(names[1]))

    def case(self) -> None:
        for old in self.some(self.files()):
            folder, slash, last = old.rpartition('/')
            new = folder + slash + last.swapcase()
            if new != old and not os.path.lexists(self.full(new)):
                self.say('rename', old, '->', new)
                os.rename(self.full(old), self.full(new))

    def move_folder(self) -> None:
        new = self.free()
        for old in self.some(self.folders()):
            if new is None or (new + '/').startswith(old + '/'):
                continue
            self.say('rename folder', old, '->', new)
            self.full(new).parent.mkdir(parents=True, exist_ok=True)
            os.rename(self.full(old), self.full(new))
            self.tidy(old)

    def delete(self) -> None:
        for name in self.some(self.files()):
            self.say('delete', name)
            self.drop(name)

    def delete_folder(self) -> None:
        for folder in self.some(self.folders()):
            self.say('delete folder', folder)
            for name in self.files():
                if name.startswith(folder + '/'):
                    self.people.gone |= set(TOKEN.findall(self.read(name)))
            shutil.rmtree(self.full(folder))

    def copy(self) -> None:
        new = self.free()
        for old in self.some(self.files()):
            if new is not None and not new.startswith(old + '/'):
                self.say('copy', old, '->', new)
                self.put(new, self.read(old))

    def to_folder(self) -> None:
        for name in self.some(self.files()):
            token = self.people.token(self.place)
            keep = self.rng.random() < 0.5
            self.say('file', name, 'becomes a folder', token, '(kept inside)' if keep else '')
            body = self.read(name)
            if not keep:
                self.people.gone |= set(TOKEN.findall(body))
            self.full(name).unlink()
            self.put(f'{name}/inner', token)
            if keep:
                self.put(f'{name}/{name.rpartition("/")[2]}', body)

    def to_file(self) -> None:
        for folder in self.some(self.folders()):
            token = self.people.token(self.place)
            self.say('folder', folder, 'becomes a file', token)
            for name in self.files():
                if name.startswith(folder + '/'):
                    self.people.gone |= set(TOKEN.findall(self.read(name)))
            shutil.rmtree(self.full(folder))
            self.put(folder, token)


#: what is done, and how often
ACTIONS = {
    'make_text': 12,
    'make_binary': 4,
    'edit': 22,
    'rewrite': 4,
    'touch': 2,
    'move': 8,
    'move_and_edit': 4,
    'move_over': 2,
    'swap': 4,
    'rotate': 2,
    'chain': 3,
    'case': 3,
    'move_folder': 4,
    'delete': 5,
    'delete_folder': 1,
    'copy': 4,
    'to_folder': 2,
    'to_file': 1,
}

DELETING = {'move_over', 'delete', 'delete_folder', 'to_folder', 'to_file'}


# --- what must be true --------------------------------------------------------------------------


def settle(world: World, clients: Iterable[str], sync: Callable[[str], Result]) -> int:
    """Synchronise all *clients* until nothing moves any more; return the rounds it took."""
    seen: list[str] = []
    for rounds in range(1, ROUNDS + 1):
        results = {name: sync(name) for name in clients}
        moved = {name: result.moved for name, result in results.items() if result.moved}
        if not moved:
            return rounds
        seen.append(f'round {rounds}: {moved}')
    raise AssertionError('there is always something to do:\n' + '\n'.join(seen))


def check_end(world: World, people: People, places: tuple[str, ...]) -> dict[str, bytes]:
    """Assert that all places are equal and no edit is lost; return what they hold."""
    tree = world.same(*places)
    missing = people.missing(tree)
    assert not missing, f'lost: {missing}\n{sorted(tree)}'
    return tree


def check_idle(result: Result) -> None:
    """Assert that a run transferred nothing."""
    assert {name: result.stats[name] for name in COUNTS} == dict.fromkeys(COUNTS, 0)


def run_all(
    seeds: Iterable[int], history: Callable[[int, Path], Any], folder: Path, threads: int = 0
) -> None:
    """Run *history* for each of *seeds*, several at once; fail with the list of those that failed.

    ``E2E_SEED`` in the environment names the only seed to run.
    """
    only = os.environ.get('E2E_SEED')
    seeds = [int(only)] if only else list(seeds)
    failures: list[str] = []

    def one(seed: int) -> None:
        try:
            history(seed, folder / str(seed))
        except Exception as error:
            text = str(error) if isinstance(error, AssertionError) else traceback.format_exc()
            failures.append(f'===== E2E_SEED={seed} =====\n{text}')
        else:
            shutil.rmtree(folder / str(seed), ignore_errors=True)

    with concurrent.futures.ThreadPoolExecutor(threads or os.cpu_count() or 2) as pool:
        list(pool.map(one, seeds))
    print(f'seeds {seeds[0]} to {seeds[-1]}')
    assert not failures, f'{len(failures)} of {len(seeds)} failed\n' + '\n'.join(failures)
