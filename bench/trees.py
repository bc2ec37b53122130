"""Trees of notes that are the same each time they are made."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

_PER_FOLDER = 100
_SEED = 20261122


def note(number: int) -> tuple[str, bytes]:
    """Return name and content (512 to 1,536 bytes, 1 KB on average) of the note *number*."""
    words = random.Random(_SEED + number)
    size = words.randint(512, 1536)
    lines = [f'Note {number}']
    length = len(lines[0])
    while length < size:
        line = ' '.join(words.choice(_WORDS) for _ in range(10))
        lines.append(line)
        length += len(line) + 1
    name = f'd{number // _PER_FOLDER:04}/note-{number:06}.txt'
    return name, '\n'.join(lines).encode()[:size]


def make(root: Path, count: int) -> Path:
    """Fill the folder *root* with *count* notes of 1 KB."""
    for number in range(count):
        name, body = note(number)
        path = root / name
        if number % _PER_FOLDER == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return root


def make_large(root: Path, size: int) -> Path:
    """Put one file of *size* bytes into *root*, which no compression makes smaller."""
    root.mkdir(parents=True, exist_ok=True)
    rest, source = size, random.Random(_SEED)
    with open(root / 'large.bin', 'wb') as file:
        while rest:
            rest -= file.write(source.randbytes(min(rest, 1 << 20)))
    return root


def retire(folder: Path) -> None:
    """Put a tree aside that is not needed any more; all go at the end of the run.

    Where many files were deleted, ext4 looks long for free inodes for some minutes: what is
    measured next would take several times as long. In memory they go at once: it fills up, and who
    gets memory that nobody has had before may wait for it.
    """
    if folder.exists() and _is_in_memory(folder):
        shutil.rmtree(folder)
    elif folder.exists():
        number = sum(1 for _ in folder.parent.glob(f'{folder.name}.*'))
        folder.rename(folder.with_name(f'{folder.name}.{number}'))


def _is_in_memory(folder: Path) -> bool:
    """Return whether *folder* lies in the file system that Linux has in memory."""
    memory = Path('/dev/shm')
    return memory.is_dir() and folder.stat().st_dev == memory.stat().st_dev


def touched(root: Path, every: int = 100) -> Iterator[Path]:
    """Yield the path of each note of *root* whose number *every* divides."""
    number = 0
    while (path := root / note_name(number)).exists():
        yield path
        number += every


def note_name(number: int) -> str:
    """Return the name of the note *number*."""
    return f'd{number // _PER_FOLDER:04}/note-{number:06}.txt'


def change(root: Path, every: int = 100) -> None:
    """Add a line to one note of *every*, as an editor does that writes in place."""
    for path in touched(root, every):
        with open(path, 'ab') as file:
            file.write(b'\none line more')


def add(root: Path, count: int, label: str) -> None:
    """Add *count* notes in a folder of their own."""
    folder = root / f'new-{label}'
    folder.mkdir()
    for number in range(count):
        (folder / f'{label}-{number}.txt').write_bytes(b'%s %d\n' % (label.encode(), number) * 40)


def rename(root: Path) -> None:
    """Give the folder made by :func:`below` another name."""
    os.rename(root / 'before', root / 'after')


def below(root: Path, count: int) -> Path:
    """Fill a folder of *root* as :func:`make` does."""
    make(root / 'before', count)
    return root


_WORDS = (
    *('anchor', 'binding', 'chapter', 'device', 'editor', 'folder', 'garden', 'harbour'),
    *('island', 'journey', 'kitchen', 'letter', 'mapping', 'notes', 'outbox', 'paper'),
    *('question', 'river', 'session', 'table', 'update', 'valley', 'window', 'yesterday'),
    *('blue', 'clear', 'deep', 'early', 'fast', 'green', 'heavy', 'inner', 'late', 'narrow'),
    *('old', 'quiet', 'round', 'small', 'tall', 'warm'),
)
