"""Show what sync-notes does: a server and two devices, with this documentation as their notes.

Run by ``make demo``. Every command is printed before it runs, so that it can be repeated by hand;
the directories are left in ``demo-notes/``. Ends with exit code 0 only if all that was shown came
out as it should.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAGE = ROOT / 'demo-notes'
STATE = '.sync'
_START_SECONDS = 30
_RUN_SECONDS = 120


def main() -> int:
    """Play all scenes; return the exit code."""
    sys.stdout.reconfigure(errors='backslashreplace')  # type: ignore[union-attr]
    if STAGE.exists():
        shutil.rmtree(STAGE)
    for device in ('server', 'laptop', 'phone'):
        (STAGE / device).mkdir(parents=True)
    server = Server()
    try:
        play(server.url)
    finally:
        server.stop()
    files = check()
    say('Done')
    print(f'{files} notes, the same bytes under the same names in all three directories:')
    for device in ('server', 'laptop', 'phone'):
        print(f'    {STAGE.name}/{device}')
    print('Look around, change something, and see what would be synchronised:')
    print(f'    {shlex.join([*command(), "--local", f"{STAGE.name}/laptop"])}')
    print('"make demo" begins anew.')
    return 0


def play(url: str) -> None:
    """Play the scenes between the start of the server and its end."""
    say('Two devices meet a server')
    for path in sorted([*ROOT.glob('docs/*.rst'), ROOT / 'README.rst']):
        shutil.copy(path, STAGE / 'laptop')
    (STAGE / 'server' / 'welcome.txt').write_text('This note was on the server first.\n')
    # remembered from the first time on: the server, and what this device is called
    sync('laptop', '--remote', url, '--name', 'Laptop')
    sync('phone', '--remote', url, '--name', 'Phone')

    say('New notes, on both sides; sub-folders, and any name')
    write('laptop', 'shopping/today.txt', 'milk\nbread\neggs\ncheese\n')
    write('server', 'idées – 💡.txt', 'keep the notes in step\n')
    sync('laptop')
    sync('phone')

    say('Both change one note, in different lines: the changes are merged')
    change('laptop', 'shopping/today.txt', 'milk', 'oat milk')
    change('phone', 'shopping/today.txt', 'cheese', 'blue cheese')
    sync('laptop')
    sync('phone')
    show('phone', 'shopping/today.txt')

    say('Both change the same line: both versions are kept, under two names')
    change('laptop', 'welcome.txt', 'This note', 'This very note')
    change('phone', 'welcome.txt', 'This note', 'That note')
    sync('laptop')
    sync('phone')
    for path in sorted((STAGE / 'phone').glob('welcome*')):
        show('phone', path.name)

    say('A note is renamed on one side and edited on the other')
    edit('mv glossary.rst words.rst', 'laptop', lambda top: move(top, 'glossary.rst', 'words.rst'))
    append('phone', 'glossary.rst', '\nAdded on the phone.\n')
    sync('laptop')
    sync('phone')
    sync('laptop')
    show('laptop', 'words.rst', last=3)

    say('A note is deleted, and brought back on another device')
    edit('rm shopping/today.txt', 'laptop', lambda top: (top / 'shopping/today.txt').unlink())
    sync('laptop', '--local')
    sync('laptop')
    sync('phone')
    sync('phone', '--trash')
    sync('phone', '--restore', 'shopping/today.txt')
    sync('phone')
    sync('laptop')


# --- the program ------------------------------------------------------------------------------


def command() -> list[str]:
    """Return how sync-notes is called: as installed beside the interpreter that runs us."""
    installed = Path(sys.executable).with_name('sync-notes')
    if not installed.exists():
        return [sys.executable, '-m', 'pysyncml.cli.notes']
    return [os.path.relpath(installed, ROOT) if ROOT in installed.parents else str(installed)]


def environment() -> dict[str, str]:
    """Return an environment in which no password is lying about, and output is UTF-8."""
    values = {k: v for k, v in os.environ.items() if k != 'SYNC_NOTES_PASSWORD'}
    return values | {'PYTHONIOENCODING': 'utf-8', 'NO_PROXY': '127.0.0.1,localhost'}


class Server:
    """The ad hoc server in a process of its own, on a free port of the loopback address."""

    def __init__(self) -> None:
        say('A directory is served')
        arguments = ['--server', '--listen', '127.0.0.1:0', f'{STAGE.name}/server']
        prompt(['sync-notes', *arguments, '&'])
        self._log = (STAGE / 'server.log').open('w+', encoding='utf-8')
        self._process = subprocess.Popen(
            [*command(), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
            env=environment(),
            encoding='utf-8',
        )
        self.url = self._wait()

    def _wait(self) -> str:
        """Return the address the server prints when it is ready."""
        assert self._process.stdout is not None
        watchdog = _Watchdog(self._process, _START_SECONDS)
        urls = []
        for line in self._process.stdout:
            print(line, end='')
            urls += [word for word in line.split() if word.startswith('http')]
            if line.startswith('Ctrl-C'):  # the last line it has to say
                break
        watchdog.cancel()
        if not urls:
            self._log.seek(0)
            fail(f'the server did not start: {self._log.read()}')
        return urls[0]

    def stop(self) -> None:
        """End the server politely, and show what it had to say of each session."""
        say('The server is stopped; it had one line to say of each session')
        assert self._process.stdout is not None
        self._process.send_signal(signal.SIGTERM)
        watchdog = _Watchdog(self._process, _START_SECONDS)
        print(self._process.stdout.read(), end='')
        code = self._process.wait()
        watchdog.cancel()
        self._log.seek(0)
        print(self._log.read(), end='')
        self._log.close()
        if code != 0:
            fail(f'the server ended with exit code {code}')


class _Watchdog:
    """Kills a process that takes too long, so that reading from it ends."""

    def __init__(self, process: subprocess.Popen[str], seconds: float) -> None:
        import threading

        self._timer = threading.Timer(seconds, process.kill)
        self._timer.start()

    def cancel(self) -> None:
        """Let the process live."""
        self._timer.cancel()


def sync(device: str, *options: str) -> None:
    """Run sync-notes on a device and show what it says."""
    arguments = [*options, f'{STAGE.name}/{device}']
    prompt(['sync-notes', *arguments])
    ended = subprocess.run(
        [*command(), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        env=environment(),
        encoding='utf-8',
        timeout=_RUN_SECONDS,
        check=False,
    )
    print(ended.stdout, end='', flush=True)
    if ended.returncode != 0:
        fail(f'sync-notes ended with exit code {ended.returncode}')


# --- people at work ---------------------------------------------------------------------------


def edit(text: str, device: str, action: Callable[[Path], object]) -> None:
    """Do something to a device's directory, and say what."""
    print(f'\n[{device}] {text}')
    action(STAGE / device)


def write(device: str, name: str, text: str) -> None:
    """Write a new note."""

    def action(top: Path) -> None:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text, encoding='utf-8')

    edit(f'a new note: {name}', device, action)


def change(device: str, name: str, old: str, new: str) -> None:
    """Change some words of a note."""

    def action(top: Path) -> None:
        text = (top / name).read_text(encoding='utf-8')
        (top / name).write_text(text.replace(old, new), encoding='utf-8')

    edit(f'in {name}, "{old}" becomes "{new}"', device, action)


def append(device: str, name: str, text: str) -> None:
    """Write something at the end of a note."""

    def action(top: Path) -> None:
        with (top / name).open('a', encoding='utf-8') as stream:
            stream.write(text)

    edit(f'at the end of {name}: "{text.strip()}"', device, action)


def move(top: Path, old: str, new: str) -> None:
    """Rename a note."""
    (top / old).rename(top / new)


def show(device: str, name: str, last: int = 100) -> None:
    """Show the last lines of a note."""
    print(f'\n[{device}] {name} now says:')
    path = STAGE / device / name
    if not path.exists():
        fail(f'{path.relative_to(ROOT)} is not there')
    for line in path.read_text(encoding='utf-8').splitlines()[-last:]:
        print(f'    {line}')


# --- the audience -----------------------------------------------------------------------------


def say(title: str) -> None:
    """Print the title of a scene."""
    print(f'\n--- {title} ' + '-' * max(0, 76 - len(title)), flush=True)


def prompt(words: list[str]) -> None:
    """Print a command as one would type it."""
    text = ' '.join(word if word == '&' else shlex.quote(word) for word in words)
    print(f'\n$ {text}', flush=True)


def fail(text: str) -> None:
    """End, as something is not as it should be."""
    print(f'\nThis went wrong: {text}', file=sys.stderr)
    raise SystemExit(1)


def contents(device: str) -> dict[str, str]:
    """Return the name and the hash of every note on a device."""
    top = STAGE / device
    return {
        str(path.relative_to(top)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in top.rglob('*')
        if path.is_file() and STATE not in path.relative_to(top).parts
    }


def check() -> int:
    """Make sure of what was promised; return how many notes there are."""
    server, laptop, phone = (contents(device) for device in ('server', 'laptop', 'phone'))
    if not server == laptop == phone:
        names = {name for one, other in ((server, laptop), (server, phone))
                 for name, _ in one.items() ^ other.items()}  # fmt: skip
        fail(f'the directories differ: {", ".join(sorted(names))}')
    today = (STAGE / 'server/shopping/today.txt').read_text(encoding='utf-8')
    if 'oat milk' not in today or 'blue cheese' not in today:
        fail('a change was not merged')
    if not any(name.startswith('welcome (conflict ') for name in server):
        fail('there is no conflict copy')
    words = (STAGE / 'server/words.rst').read_text(encoding='utf-8')
    if 'Added on the phone.' not in words or 'glossary.rst' in server:
        fail('the rename and the edit were not both kept')
    return len(server)


if __name__ == '__main__':
    sys.exit(main())
