"""A disk that forgets what was not synced.

A :class:`Disk` is made from a directory before a program runs in it, and then told what the program
did there (``injector.py`` writes that down). It knows of each change whether it would outlast a
power failure:

- the content of a file: what was there at the last ``fsync`` of it;
- a name: made, taken away or moved, once the folder was synced (both folders, of a move between
  two; a move is done as a whole or not at all, as all file systems with a journal see to);
- a write to a database: once SQLite has synced the file.

:meth:`Disk.lose` turns the directory, in place, into what a machine would find after the power came
back. POSIX promises only what was synced; real file systems let more survive, in one order or in
none. So there are four ways (:data:`WAYS`):

``nothing``
    Nothing survives that was not synced.
``names``
    All names survive, no content does: files that were not synced are empty. It is what file
    systems do that put off writing.
``first``
    The first of the unsynced changes survive, up to some moment; files may be cut off or zero.
``some``
    Any of them survive, in any order, as far as one does not rest on another that was lost.

Files keep their inodes, as they would.
"""

from __future__ import annotations

import os
import random
import shutil
import stat as kinds
from collections.abc import Iterable
from typing import Any

WAYS = 'nothing', 'names', 'first', 'some'
_SECTOR = 512


class Node:
    """A file or a folder, whatever it is called."""

    def __init__(self, *, folder: bool, inode: int | None = None, content: bytes = b'') -> None:
        self.folder = folder
        self.inode = inode
        self.content = content  # what is durable
        self.dirty = False  # whether the file holds something else now
        self.writes: list[tuple[Any, ...]] = []  # to a database
        self.synced = 0  # how many of these are durable


Names = dict[Node, dict[str, Node]]


class Change:
    """A change of names, with the folders that are to be synced before it lasts."""

    def __init__(self, kind: str, args: tuple[Any, ...], folders: Iterable[Node]) -> None:
        self.kind = kind
        self.args = args
        self.open = set(folders)

    def apply(self, names: Names, attached: set[Node]) -> None:
        """Do it in *names*, if what it rests on is there."""
        getattr(self, f'_{self.kind}')(names, attached, *self.args)

    def _make(self, names: Names, attached: set[Node], folder: Node, name: str, node: Node) -> None:
        if folder in attached and name not in names[folder]:
            names[folder][name] = node
            if node.folder:
                names.setdefault(node, {})
                attached.add(node)

    def _take(self, names: Names, attached: set[Node], folder: Node, name: str, node: Node) -> None:
        there = names.get(folder, {}).get(name) is node
        if there and not (node.folder and names.get(node)):
            del names[folder][name]

    def _move(
        self,
        names: Names,
        attached: set[Node],
        old: tuple[Node, str],
        new: tuple[Node, str],
        node: Node,
        exclusive: bool,
    ) -> None:
        (source, name), (target, other) = old, new
        there = names.get(source, {}).get(name) is node
        if not there or target not in attached or (exclusive and other in names[target]):
            return
        del names[source][name]
        names[target][other] = node


class Disk:
    """What is on the disk below *root*."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.realpath(root)
        self._top = Node(folder=True)
        self._before: Names = {}
        self._read(self._top, self.root)
        self._names: Names = {node: dict(below) for node, below in self._before.items()}
        self._changes: list[Change] = []
        self._handles: dict[int, Node] = {}
        self._lasting: set[int] = set()

    def _read(self, folder: Node, path: str) -> None:
        below = self._before.setdefault(folder, {})
        for entry in os.scandir(path):
            stat = entry.stat(follow_symlinks=False)
            if kinds.S_ISDIR(stat.st_mode):
                node = below[entry.name] = Node(folder=True)
                self._read(node, entry.path)
            elif not entry.name.endswith('-shm'):
                with open(entry.path, 'rb') as stream:
                    content = stream.read()
                below[entry.name] = Node(folder=False, inode=stat.st_ino, content=content)

    # --- what the program did -----------------------------------------------------------------

    def play(self, events: Iterable[tuple[Any, ...]]) -> None:
        """Take in what was done, in its order."""
        for kind, *args in events:
            getattr(self, f'_on_{kind}')(*args)

    def _place(self, key: str) -> tuple[Node, str]:
        *folders, name = key.split('/')
        node = self._top
        for folder in folders:
            node = self._names[node][folder]
        return node, name

    def _node(self, key: str) -> Node | None:
        if not key:
            return self._top
        folder, name = self._place(key)
        return self._names[folder].get(name)

    def _change(self, kind: str, args: tuple[Any, ...], folders: Iterable[Node]) -> None:
        change = Change(kind, args, folders)
        self._changes.append(change)
        change.apply(self._names, set(self._names))

    def _on_create(self, key: str, inode: int) -> None:
        folder, name = self._place(key)
        self._change('make', (folder, name, Node(folder=False, inode=inode)), [folder])

    def _on_mkdir(self, key: str) -> None:
        folder, name = self._place(key)
        self._change('make', (folder, name, Node(folder=True)), [folder])

    def _on_unlink(self, key: str) -> None:
        folder, name = self._place(key)
        node = self._names[folder].get(name)
        if node is not None:
            self._change('take', (folder, name, node), [folder])

    _on_rmdir = _on_unlink

    def _on_link(self, old: str, new: str) -> None:
        folder, name = self._place(new)
        self._change('make', (folder, name, self._node(old)), [folder])

    def _on_rename(self, old: str, new: str, exclusive: bool) -> None:
        source, target = self._place(old), self._place(new)
        node = self._names[source[0]][source[1]]
        self._change('move', (source, target, node, exclusive), [source[0], target[0]])

    def _on_dirty(self, key: str) -> None:
        node = self._node(key)
        if node is not None:
            node.dirty = True

    def _on_typed(self, key: str, inode: int, content: bytes) -> None:
        node = self._node(key)
        if node is None:
            folder, name = self._place(key)
            self._change('make', (folder, name, Node(folder=False, inode=inode)), [])
        self._on_sync(key, content)

    def _on_sync(self, key: str, content: bytes) -> None:
        node = self._node(key)
        if node is not None:
            node.content, node.dirty = content, False

    def _on_syncdir(self, key: str) -> None:
        node = self._node(key)
        for change in self._changes:
            change.open.discard(node)  # type: ignore[arg-type]

    def _on_syncfs(self, contents: dict[str, bytes]) -> None:
        for change in self._changes:
            change.open.clear()
        for key, content in contents.items():
            self._on_sync(key, content)
        for below in self._names.values():
            for node in below.values():
                node.synced = len(node.writes)

    def _on_dbopen(self, number: int, key: str, new: bool, inode: int, lasting: bool) -> None:
        node = self._node(key)
        if node is None:
            self._on_create(key, inode)
            node = self._node(key)
            if lasting:
                self._lasting.add(number)
        assert node is not None
        self._handles[number] = node

    def _on_dbwrite(self, number: int, offset: int, data: bytes) -> None:
        self._handles[number].writes.append((offset, data))

    def _on_dbtruncate(self, number: int, size: int) -> None:
        self._handles[number].writes.append((size,))

    def _on_dbsync(self, number: int) -> None:
        node = self._handles[number]
        node.synced = len(node.writes)
        if number in self._lasting:
            self._lasting.discard(number)
            for folder, below in self._names.items():
                if node in below.values():
                    for change in self._changes:
                        change.open.discard(folder)

    # --- the power fails ----------------------------------------------------------------------

    def lose(self, way: str, seed: int) -> None:
        """Turn the directory into what is left of it."""
        dice = random.Random(f'{way} {seed}')
        names = self._survivors(way, dice)
        bodies = {
            node: self._body(node, way, dice)
            for below in names.values()
            for node in below.values()
            if not node.folder
        }
        _rebuild(self.root, self._top, names, bodies)

    def _survivors(self, way: str, dice: random.Random) -> Names:
        unsynced = [change for change in self._changes if change.open]
        if way == 'nothing':
            kept: set[Change] = set()
        elif way == 'names':
            kept = set(unsynced)
        elif way == 'first':
            kept = set(unsynced[: dice.randint(0, len(unsynced))])
        else:
            kept = {change for change in unsynced if dice.random() < 0.5}
        names: Names = {node: dict(below) for node, below in self._before.items()}
        attached = set(names)
        for change in self._changes:
            if not change.open or change in kept:
                change.apply(names, attached)
        return names

    def _body(self, node: Node, way: str, dice: random.Random) -> bytes | str:
        """Return what a file holds, or what is left of what it was to hold."""
        if node.writes:
            return _database(node, way, dice)
        if not node.dirty:
            return node.content
        if way in ('nothing', 'names'):
            return node.content
        how = dice.choice(('before', 'empty', 'cut', 'zero', 'all'))
        return {'before': node.content, 'empty': b''}.get(how, how)


def _database(node: Node, way: str, dice: random.Random) -> bytes:
    body = bytearray(node.content)
    unsynced = node.writes[node.synced :]
    if way == 'first':
        unsynced = unsynced[: dice.randint(0, len(unsynced))]
    elif way == 'some':
        unsynced = [write for write in unsynced if dice.random() < 0.5]
    else:
        unsynced = []
    for number, write in enumerate([*node.writes[: node.synced], *unsynced]):
        if len(write) == 1:
            del body[write[0] :]
            body.extend(bytes(write[0] - len(body)))
            continue
        offset, data = write
        if number >= node.synced and dice.random() < 0.3:
            data = data[: dice.randrange(0, len(data) + 1, _SECTOR)]  # torn
        body.extend(bytes(max(offset - len(body), 0)))
        body[offset : offset + len(data)] = data
    return bytes(body)


def _rebuild(root: str, top: Node, names: Names, bodies: dict[Node, bytes | str]) -> None:
    """Lay out *root* as *names* and *bodies* say, with the files that are there."""
    aside = f'{root}.lost'
    os.mkdir(aside)
    there: dict[int, str] = {}
    modes: dict[str, int] = {}
    for folder, folders, files in os.walk(root):
        for name in folders:
            path = os.path.join(folder, name)
            modes[os.path.relpath(path, root)] = kinds.S_IMODE(os.lstat(path).st_mode)
        for name in files:
            path = os.path.join(folder, name)
            inode = os.lstat(path).st_ino
            there[inode] = os.path.join(aside, str(inode))
            os.replace(path, there[inode])
    for entry in os.scandir(root):
        shutil.rmtree(entry.path)
    owner = {node.inode: node for node in bodies if node.inode in there}
    placed: dict[Node, str] = {}

    def lay(folder: Node, path: str) -> None:
        for name, node in names.get(folder, {}).items():
            full = os.path.join(path, name)
            if node.folder:
                os.mkdir(full, modes.get(os.path.relpath(full, root), 0o755))
                lay(node, full)
            elif node in placed:
                os.link(placed[node], full)
            else:
                placed[node] = full
                if owner.get(node.inode) is node:
                    os.rename(there[node.inode], full)  # type: ignore[index]
                _fill(full, bodies[node])

    lay(top, root)
    shutil.rmtree(aside)


def _fill(path: str, body: bytes | str) -> None:
    try:
        stat = os.lstat(path)
        with open(path, 'rb') as stream:
            now = stream.read()
    except FileNotFoundError:
        stat, now = None, b''
    if isinstance(body, str):
        body = {'all': now, 'cut': now[: len(now) // 2], 'zero': bytes(len(now))}[body]
    if stat is None or body != now:
        mode = 0o600 if stat is None else kinds.S_IMODE(stat.st_mode)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), 'wb') as stream:
            stream.write(body)
        if stat is not None:
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
