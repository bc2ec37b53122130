"""An editor that saves all the time, while both sides synchronise and the other side edits, too.

The editor does as good editors do: it remembers what it has saved, and before it saves again it
looks whether the file is still that. If somebody has put another text there, it takes that up,
which must have in it all that it had saved before.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.harness import Server, World
from tests.faults.hands import TOKEN


class Editor(threading.Thread):
    """Adds one line with a token to a note at a time, and saves.

    Args:
        path: the note.
        name: letters that its tokens begin with.
        aside: whether it writes aside and renames; otherwise it writes in place.
        top: whether it types at the top of the note; otherwise at its end.
        pause: seconds between two saves.
    """

    def __init__(self, path: Path, name: str, *, aside: bool, top: bool, pause: float) -> None:
        super().__init__(daemon=True)
        self.path, self.letters, self.aside, self.top = path, name, aside, top
        self.pause = pause
        self.saves = 0
        self.adopted = 0
        self.wrong: list[str] = []
        self.tokens: list[bytes] = []
        self._mine = path.read_bytes()
        self._ended = threading.Event()

    def run(self) -> None:
        """Type until told to stop."""
        while not self._ended.is_set() and not self.wrong:
            self._save()
            self._ended.wait(self.pause)

    def stop(self) -> None:
        """Stop typing, and wait for the last save."""
        self._ended.set()
        self.join(60)
        self.path.with_name(self.path.name + '~').unlink(missing_ok=True)

    def _save(self) -> None:
        """Type a line and save, unless somebody puts another text there at this very moment."""
        for _ in range(2000):  # it may be on its way for a moment
            try:
                return self._save_aside() if self.aside else self._save_in_place()
            except FileNotFoundError:
                time.sleep(0.001)
        self.wrong.append(f'{self.path} has vanished')
        return None

    def _typed(self, found: bytes) -> bytes:
        """Return the text to save, after a look at what the file holds."""
        if found != self._mine:
            missing = set(TOKEN.findall(self._mine)) - set(TOKEN.findall(found))
            if missing:
                self.wrong.append(f'save {self.saves}: {sorted(missing)} replaced by older text')
            self.adopted += 1
        line = self._token() + b' typed by ' + self.letters.encode() + b'\n'
        return line + found if self.top else found + line

    def _token(self) -> bytes:
        return b'<%s%d>' % (self.letters.encode(), self.saves)

    def _saved(self, text: bytes) -> None:
        self._mine = text
        self.tokens.append(self._token())
        self.saves += 1

    def _save_in_place(self) -> None:
        # what it has looked at is the file it writes to
        with open(self.path, 'r+b', buffering=0) as file:
            text = self._typed(file.read())
            file.seek(0)
            file.truncate()
            file.write(text)
        self._saved(text)

    def _save_aside(self) -> None:
        found = self.path.read_bytes()
        text = self._typed(found)
        new = self.path.with_name(self.path.name + '~')
        new.write_bytes(text)
        exchange(new, self.path)
        if new.read_bytes() != found:  # not what it has looked at: back with it
            exchange(new, self.path)
        else:
            self._saved(text)


def exchange(one: Path, other: Path) -> None:
    """Let two files change their names in one step."""
    call = ctypes.CDLL(None, use_errno=True).renameat2
    if call(-100, os.fsencode(one), -100, os.fsencode(other), 2):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))


def typed_into(world: World, server: Server, seconds: float, aside: bool, pause: float) -> str:
    """Let both sides be typed into while they synchronise in a loop; return some figures."""
    text = b''.join(b'line %d\n' % number for number in range(40))
    world.write('a', 'n.txt', text)
    world.sync('a', server=server)
    aside = aside and sys.platform == 'linux'  # elsewhere names cannot be exchanged
    editors = [
        Editor(world.path('a') / 'n.txt', 'a', aside=aside, top=True, pause=pause),
        Editor(world.path('s') / 'n.txt', 's', aside=aside, top=False, pause=pause),
    ]
    for editor in editors:
        editor.start()
    rounds, end = 0, time.monotonic() + seconds
    while time.monotonic() < end or rounds < 3:
        result = world.sync('a', code=None)
        assert result.code in (0, 4), result
        rounds += 1
    for editor in editors:
        editor.stop()
    for _ in range(8):
        if not world.sync('a', code=None).moved:
            break
    world.sync('a')
    tree = world.same('s', 'a')
    there = set().union(*map(TOKEN.findall, tree.values()))
    lost = [t for editor in editors for t in editor.tokens if t not in there]
    figures = (
        f'{rounds} sessions, {[e.saves for e in editors]} saves, '
        f'{[e.adopted for e in editors]} taken up, {len(tree) - 1} copies, {len(lost)} lost'
    )
    assert not any(editor.wrong for editor in editors), ([e.wrong for e in editors], figures)
    assert not lost, (lost[:20], figures)
    return figures


def test_an_editor_that_saves_all_the_time_loses_nothing(tmp_path):
    with World(tmp_path) as world:
        print(typed_into(world, world.server('s'), 1.0, False, 0.05))


@pytest.mark.campaign
@pytest.mark.parametrize('aside', [False, True])
@pytest.mark.parametrize('pause', [0.0, 0.02, 0.2, 0.5])
def test_editors_that_save_at_any_pace_lose_nothing(tmp_path, aside, pause):
    with World(tmp_path) as world:
        print(typed_into(world, world.server('s'), 20, aside, pause))
