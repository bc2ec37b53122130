"""The ground on which peers attack: a directory of notes, traps around it, and what must hold."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from pathlib import Path

SECRET = 'CANARY-7f3b: nobody may read this'
NOTES = 10


def make_notes(root: Path, count: int = NOTES) -> dict[str, str]:
    """Fill *root* with notes; return name → text."""
    notes = {}
    for number in range(count):
        name = f'{"sub/" if number % 4 == 3 else ""}note-{number}.txt'
        notes[name] = f'a thought of the user, number {number}\n'
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(notes[name])
    return notes


class Traps:
    """Files outside of the directory *root*, and links from the inside to them.

    Attributes:
        outside: a folder beside *root* that nobody may touch.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.outside = root.parent / 'outside'
        (self.outside / 'deep').mkdir(parents=True)
        (self.outside / 'secret.txt').write_text(SECRET)
        (self.outside / 'deep' / 'secret.txt').write_text(SECRET)
        (root.parent / 'canary.txt').write_text(SECRET)
        (root / 'link').symlink_to(self.outside)
        (root / 'file-link').symlink_to(self.outside / 'secret.txt')
        (root / 'loop').symlink_to('loop')
        self._others = set(os.listdir(root.parent))
        self._before = self._look()

    def _look(self) -> list[tuple]:
        found = []
        for folder, folders, files in os.walk(self.outside):
            for name in (*folders, *files):
                path = os.path.join(folder, name)
                stat = os.lstat(path)
                text = '' if name in folders else Path(path).read_text()
                found.append((path, stat.st_mode, stat.st_mtime_ns if text else 0, text))
        return sorted(found)

    def check(self) -> list[str]:
        """Return what has been touched that may not be."""
        wrong = []
        if (now := self._look()) != self._before:
            wrong.append(f'outside was touched: {set(now) ^ set(self._before)}')
        if (self.root.parent / 'canary.txt').read_text() != SECRET:
            wrong.append('the canary was touched')
        new = set(os.listdir(self.root.parent)) - self._others
        if new:
            wrong.append(f'new beside the directory: {new}')
        for path in ('/evil', '/tmp/evil', '/outside'):
            if os.path.lexists(path):
                wrong.append(f'{path} was made')
        return wrong


class Swapper(threading.Thread):
    """Swaps a folder of the directory for a link to the outside, and back, all the time."""

    def __init__(self, traps: Traps) -> None:
        super().__init__(daemon=True)
        self.place = traps.root / 'swap'
        self.parked = traps.root.parent / 'parked'
        self.target = traps.outside
        self._end = threading.Event()
        self.swaps = 0

    def run(self) -> None:
        while not self._end.wait(0.0007):
            self.swaps += 1
            with contextlib.suppress(OSError):
                self.place.mkdir()
            with contextlib.suppress(OSError):
                os.rename(self.place, self.parked)
            with contextlib.suppress(OSError):
                self.place.symlink_to(self.target)
            time.sleep(0.0007)
            with contextlib.suppress(OSError):
                if self.place.is_symlink():
                    self.place.unlink()
            with contextlib.suppress(OSError):
                os.rename(self.parked, self.place)

    def stop(self) -> None:
        """End it, and leave a plain folder."""
        self._end.set()
        self.join()
        if self.place.is_symlink():
            self.place.unlink()


def kept(root: Path) -> set[bytes]:
    """Return the contents of all files in *root*, those in its trash as well."""
    found = set()
    for top in (root, root / '.sync' / 'trash'):
        for folder, folders, files in os.walk(top):
            if top is root and '.sync' in folders:
                folders.remove('.sync')
            for name in files:
                path = os.path.join(folder, name)
                if not os.path.islink(path) and os.path.getsize(path) < 1000:
                    found.add(Path(path).read_bytes())
    return found


def lost(root: Path, notes: dict[str, str]) -> list[str]:
    """Return the notes of which the first version is neither there nor in the trash."""
    found = kept(root)
    return [f'{name} is lost' for name, text in notes.items() if text.encode() not in found]


_BAD = re.compile(r'Traceback \(most recent|internal error|could not be answered|File ".*", line')


def troubles(log: str) -> list[str]:
    """Return the lines of a program's output that tell of an exception nobody expected."""
    if not _BAD.search(log):
        return []
    lines = log.splitlines()
    for number, line in enumerate(lines):
        if _BAD.search(line):
            return ['\n'.join(lines[max(0, number - 3) : number + 60])]
    return []
