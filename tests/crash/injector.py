"""Watches what a process does to a disk and to its peer, and breaks off at one chosen step.

It runs inside of a sync-notes that the helper process of ``tests/e2e`` has forked (see
``E2E_PLUGIN`` there): :func:`install` wraps the functions by which Python and SQLite change files,
and those that carry messages. ``CRASH`` in the environment is JSON:

``root``
    The directory that is watched; nothing else is.
``fault``
    ``none``, ``kill`` (SIGKILL before the step; in the middle of it if it writes), ``loss`` (the
    same; what was done is written down, so that the test can take back what was not synced),
    ``full`` (the disk has no room for this one step) or ``filled`` (nor for any later one).
``label``, ``number``
    Which step: what it does to what, such as ``rename:staged>note``, and which one of these.
``typing``
    Notes that a user writes, name to text, right before the first step ``fsync:root``: what the
    peer has sent is staged then, and not yet in its place.
``out``
    The file that gets, pickled, ``{'steps', 'events', 'fired', 'typed'}``; when the process ends,
    and when the fault happens.
"""

from __future__ import annotations

import builtins
import collections
import errno
import json
import os
import pickle
import signal
import stat as kinds
import threading
from typing import Any

from tests.crash import vfs

_real: Any = type('Real', (), {})
_NAMES = (
    *('open', 'write', 'fdopen', 'fsync', 'ftruncate', 'rename', 'replace', 'link', 'unlink'),
    *('remove', 'mkdir', 'rmdir', 'chmod', 'kill'),
)
for _name in _NAMES:
    setattr(_real, _name, staticmethod(getattr(os, _name)))
_real.builtin_open = staticmethod(builtins.open)

_WRITES = os.O_WRONLY | os.O_RDWR
_installed: Injector | None = None


def install() -> None:
    """Do what ``CRASH`` in the environment asks for."""
    order = json.loads(os.environ['CRASH'])
    global _installed
    injector = _installed = Injector(order)
    injector.wrap_files()
    injector.wrap_product()
    vfs.watch(Databases(injector))


def finish() -> None:
    """Write down what was seen."""
    if _installed is not None:
        _installed.tell()


class Injector:
    """Counts steps, writes down what they do, and is the fault."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.root = os.path.realpath(order['root'])
        self.fault = order['fault']
        self.wanted = order.get('label'), order.get('number')
        self.out = order['out']
        self.counts: collections.Counter[str] = collections.Counter()
        self.steps: list[tuple[str, int, bool]] = []
        self.events: list[tuple[Any, ...]] = []
        self.fired = False
        self.typing: dict[str, str] = order.get('typing') or {}
        self.typed = False
        self._lock = threading.RLock()

    # --- steps --------------------------------------------------------------------------------

    def due(self, label: str, room: bool) -> str:
        """Count a step; return which fault happens at it, if any."""
        with self._lock:
            if self.typing and label == 'fsync:root':
                self._type()
            self.counts[label] += 1
            number = self.counts[label]
            self.steps.append((label, number, room))
            hit = (label, number) == self.wanted
            if self.fault in ('kill', 'loss'):
                return self.fault if hit else ''
            full = hit or (self.fired and self.fault == 'filled')
            if not (full and room) or self.fault == 'none':
                return ''
            self.fired = True
            self.tell()
            return 'full'

    def _type(self) -> None:
        for key, text in self.typing.items():
            path = os.path.join(self.root, key)
            with _real.builtin_open(path, 'w') as stream:
                stream.write(text)
            self.events.append(('typed', key, os.lstat(path).st_ino, text.encode()))
        self.typing, self.typed = {}, True

    def die(self) -> None:
        """End this process as a power failure or SIGKILL does."""
        self.fired = True
        self.tell()
        _real.kill(os.getpid(), signal.SIGKILL)

    def step(self, label: str, do: Any, *events: Any, room: bool = False) -> Any:
        """Do a step, unless it is the one at which a fault happens, and write it down."""
        fault = self.due(label, room)
        if fault == 'full':
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if fault:
            self.die()
        with self._lock:
            result = do()
            self.events.extend(events)
        return result

    def tell(self) -> None:
        """Write down all that was seen."""
        told = {
            'steps': self.steps,
            'events': self.events,
            'fired': self.fired,
            'typed': self.typed,
        }
        with _real.builtin_open(self.out, 'wb') as stream:
            pickle.dump(told, stream)

    # --- paths --------------------------------------------------------------------------------

    def key(self, path: Any, dir_fd: int | None = None) -> str | None:
        """Return a path relative to the root; ``None`` if it is not below it."""
        if isinstance(path, int):
            try:
                full = os.readlink(f'/proc/self/fd/{path}')
            except OSError:
                return None
        else:
            full = os.fsdecode(path)
            if dir_fd is not None and not os.path.isabs(full):
                full = os.path.join(os.readlink(f'/proc/self/fd/{dir_fd}'), full)
            head, name = os.path.split(os.path.abspath(full))
            full = os.path.join(os.path.realpath(head), name)
        if full == self.root:
            return ''
        return full[len(self.root) + 1 :] if full.startswith(self.root + os.sep) else None

    def content(self, key: str) -> bytes:
        """Return what a file holds now."""
        with _real.builtin_open(os.path.join(self.root, key), 'rb') as stream:
            return bytes(stream.read())

    def contents(self) -> dict[str, bytes]:
        """Return what all files hold now, but for databases."""
        found = {}
        for folder, _, names in os.walk(self.root):
            for name in names:
                key = os.path.relpath(os.path.join(folder, name), self.root)
                if not what(key).startswith('db'):
                    found[key] = self.content(key)
        return found

    # --- what Python does to files ------------------------------------------------------------

    def wrap_files(self) -> None:
        """Wrap the functions of ``os`` and ``open``."""
        for name in ('rename', 'replace'):
            self._wrap_pair(name)
        for name in ('unlink', 'remove', 'rmdir', 'mkdir'):
            self._wrap_one(name)
        os.open, os.write, os.fdopen = self.open, self.write, self.fdopen
        os.fsync, os.link, os.ftruncate = self.fsync, self.link, self.ftruncate
        builtins.open = self.builtin_open
        for known in (os.supports_dir_fd, os.supports_follow_symlinks, os.supports_fd):
            for name in ('open', 'rename', 'link', 'unlink', 'mkdir', 'rmdir'):
                if getattr(_real, name) in known:
                    known.add(getattr(os, name))

    def _wrap_pair(self, name: str) -> None:
        real = getattr(_real, name)

        def wrapped(
            src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
        ) -> Any:
            old, new = self.key(src, src_dir_fd), self.key(dst, dst_dir_fd)

            def do() -> Any:
                return real(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

            if old is None or new is None:
                return do()
            event = ('rename', old, new, False)
            return self.step(f'rename:{what(old)}>{what(new)}', do, event, room=True)

        setattr(os, name, wrapped)

    def _wrap_one(self, name: str) -> None:
        real = getattr(_real, name)

        def wrapped(path: Any, *args: Any, dir_fd: int | None = None) -> Any:
            key = self.key(path, dir_fd)

            def do() -> Any:
                return real(path, *args, dir_fd=dir_fd)

            if key is None:
                return do()
            kind = 'unlink' if name == 'remove' else name
            return self.step(f'{kind}:{what(key)}', do, (kind, key), room=kind == 'mkdir')

        setattr(os, name, wrapped)

    def link(self, src: Any, dst: Any, **more: Any) -> Any:
        """Stand for :func:`os.link`."""
        old = self.key(src, more.get('src_dir_fd'))
        new = self.key(dst, more.get('dst_dir_fd'))
        if old is None or new is None:
            return _real.link(src, dst, **more)
        label = f'link:{what(old)}>{what(new)}'
        return self.step(label, lambda: _real.link(src, dst, **more), ('link', old, new), room=True)

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """Stand for :func:`os.open`."""

        def do() -> int:
            return int(_real.open(path, flags, mode, dir_fd=dir_fd))

        if not flags & _WRITES:
            return do()
        key = self.key(path, dir_fd)
        return do() if key is None else self._opened(key, bool(flags & os.O_TRUNC), do)

    def _opened(self, key: str, emptied: bool, do: Any) -> Any:
        full = os.path.join(self.root, key)
        new = not os.path.lexists(full)

        def done() -> Any:
            result = do()
            if new:
                self.events.append(('create', key, os.lstat(full).st_ino))
            elif emptied:
                self.events.append(('dirty', key))
            return result

        return self.step(f'open:{what(key)}', done, room=new)

    def write(self, fd: int, data: Any) -> int:
        """Stand for :func:`os.write`."""
        key = self.key(fd)
        if key is None:
            return int(_real.write(fd, data))
        return int(self.written(key, data, lambda data: _real.write(fd, data)))

    def written(self, key: str, data: Any, write: Any, flush: Any = lambda: None) -> Any:
        """Let *write* take the *data* of a file; half of them, if this is where a fault happens."""
        fault = self.due(f'write:{what(key)}', True)
        with self._lock:
            self.events.append(('dirty', key))
        if fault:
            write(data[: len(data) // 2])
            flush()
            if fault == 'full':
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.die()
        return write(data)

    def fdopen(self, fd: int, mode: str = 'r', *args: Any, **more: Any) -> Any:
        """Stand for :func:`os.fdopen`."""
        file = _real.fdopen(fd, mode, *args, **more)
        key = self.key(fd) if 'w' in mode or 'a' in mode else None
        return file if key is None else Watched(self, file, key)

    def builtin_open(self, path: Any, mode: str = 'r', *args: Any, **more: Any) -> Any:
        """Stand for :func:`open`."""

        def do() -> Any:
            return _real.builtin_open(path, mode, *args, **more)

        if not set(mode) & set('wax+') or more.get('opener') is not None:
            return do()
        key = self.key(path)
        if isinstance(path, int):
            return do() if key is None else Watched(self, do(), key)
        return do() if key is None else Watched(self, self._opened(key, 'w' in mode, do), key)

    def fsync(self, fd: Any) -> None:
        """Stand for :func:`os.fsync`."""
        number = fd if isinstance(fd, int) else fd.fileno()
        key = self.key(number)
        if key is None:
            _real.fsync(number)
            return
        if kinds.S_ISDIR(os.fstat(number).st_mode):
            self.step(f'fsync:{what(key, folder=True)}', lambda: None, ('syncdir', key), room=True)
        else:
            label = f'fsync:{what(key)}'
            self.step(label, lambda: None, ('sync', key, self.content(key)), room=True)

    def ftruncate(self, fd: int, size: int) -> None:
        """Stand for :func:`os.ftruncate`."""
        key = self.key(fd)
        if key is None:
            _real.ftruncate(fd, size)
            return
        self.step(f'truncate:{what(key)}', lambda: _real.ftruncate(fd, size), ('dirty', key))

    # --- what the product does ----------------------------------------------------------------

    def wrap_product(self) -> None:
        """Wrap what does not go through ``os``, the messages, and the commits."""
        import sqlalchemy

        import pysyncml.transport.http as http
        import pysyncml.transport.wsgi as wsgi
        from pysyncml.storage import files

        rename = files._exclusive_rename()
        if rename is not None:
            files._exclusive_rename = lambda: self._exclusively(rename)
        files._sync_file_system = self._sync_file_system
        exchange, respond = http.HTTPTransport.exchange, wsgi._respond

        def exchanged(transport: Any, request: Any) -> Any:
            self.step('message:request is sent', lambda: None)
            answer = exchange(transport, request)
            self.step('message:answer has come', lambda: None)
            return answer

        def responded(*args: Any) -> Any:
            self.step('message:request has come', lambda: None)
            answer = respond(*args)
            self.step('message:answer is sent', lambda: None)
            return answer

        http.HTTPTransport.exchange = exchanged
        wsgi._respond = responded

        @sqlalchemy.event.listens_for(sqlalchemy.Engine, 'commit')
        def committing(_connection: Any) -> None:
            self.step('commit:db', lambda: None)

    def _exclusively(self, rename: Any) -> Any:
        def wrapped(old: Any, new: Any) -> Any:
            src, dst = self.key(old.name, old.fd), self.key(new.name, new.fd)
            if src is None or dst is None:
                return rename(old, new)
            label = f'rename:{what(src)}>{what(dst)}'
            event = ('rename', src, dst, True)
            return self.step(label, lambda: rename(old, new), event, room=True)

        return wrapped

    def _sync_file_system(self, path: str) -> bool:
        key = self.key(path)
        if key is None:
            return False
        # not done for real: it would wait for all that is written on this machine
        self.step('syncfs:all', lambda: None, ('syncfs', self.contents()), room=True)
        return True


class Watched:
    """A file that is written to, through Python."""

    def __init__(self, injector: Injector, file: Any, key: str) -> None:
        self._injector, self._file, self._key = injector, file, key

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def __iter__(self) -> Any:
        return iter(self._file)

    def write(self, data: Any) -> Any:
        """Write; see :meth:`Injector.written`."""
        return self._injector.written(self._key, data, self._file.write, self._file.flush)


class Databases:
    """What SQLite does to its files; see :func:`tests.crash.vfs.watch`."""

    def __init__(self, injector: Injector) -> None:
        self._injector = injector
        self._keys: dict[int, str | None] = {}

    def opened(self, number: int, path: str, new: bool, lasting: bool) -> None:
        """Take notice of a file."""
        key = self._keys[number] = self._injector.key(path)
        if key is not None:
            inode = os.lstat(path).st_ino
            self._injector.events.append(('dbopen', number, key, new, inode, lasting))

    def write(self, number: int, offset: int, data: bytes, do: vfs.Do) -> int:
        """See a write."""
        event = ('dbwrite', number, offset, data)
        return self._step('write', number, do, event, room=True, half=len(data) // 2)

    def truncate(self, number: int, size: int, do: vfs.Do) -> int:
        """See a file being cut."""
        return self._step('truncate', number, do, ('dbtruncate', number, size))

    def sync(self, number: int, do: vfs.Do) -> int:
        """See a file being made durable; that is not done for real, which would take time."""
        return self._step('fsync', number, lambda: 0, ('dbsync', number))

    def _step(
        self, kind: str, number: int, do: Any, event: Any, room: bool = False, half: int = 0
    ) -> int:
        key = self._keys.get(number)
        if key is None:
            return int(do())
        injector = self._injector
        fault = injector.due(f'{kind}:{what(key)}', room)
        if fault == 'full':
            return vfs.FULL
        if fault:
            if half:
                do(half)
                injector.events.append((*event[:3], event[3][:half]))
            injector.die()
        with injector._lock:
            code = int(do())
            if code == 0:
                injector.events.append(event)
        return code

    def delete(self, path: str, do: vfs.Do) -> int:
        """See a file being removed."""
        key = self._injector.key(path)
        if key is None:
            return int(do())
        if self._injector.due(f'unlink:{what(key)}', False):
            self._injector.die()
        with self._injector._lock:
            code = int(do())
            if code == 0:
                self._injector.events.append(('unlink', key))
        return code


_STATE = '.sync'
_ENDS = {
    'state.db': 'db',
    'state.db-wal': 'db-wal',
    'state.db-shm': 'db-shm',
    'state.db-journal': 'db-journal',
}


def what(key: str, *, folder: bool = False) -> str:
    """Return what the file or folder *key* is for: it is the same in every run."""
    parts = key.split('/')
    if parts[0] != _STATE:
        return 'root' if not key else 'folder' if folder else 'note'
    if len(parts) == 1:
        return 'state'
    name = parts[-1]
    if len(parts) == 2:
        if name in _ENDS:
            return _ENDS[name]
        if '.bak' in name:
            return 'db-bak' + name.partition('.bak')[2]
        for end in ('.lock', '.pid', '.new'):
            if name.endswith(end):
                return end[1:] if end != '.new' else name
        return name.partition('.')[0] if name.startswith('credentials') else name
    if parts[1] == 'aside' and '.where' in name:
        return 'where' + name.partition('.where')[2]
    return parts[1]
