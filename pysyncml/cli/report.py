"""What the user gets to read: the summary table, --describe, --local, session lines, JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from pysyncml.cli.tables import count, describeStats, printable, totals_line
from pysyncml.constants import ExitCode, ItemState, SyncType
from pysyncml.stats import Stats
from pysyncml.util import num2str

__all__ = [
    'IndentStream',
    'Stats',
    'describeStats',
    'describe_adapter',
    'describe_devices',
    'describe_pending',
    'exit_code_of',
    'forgiving',
    'printable',
    'session_line',
    'stats_as_json',
    'totals_line',
    'write_json',
    'write_trouble',
]

_STATES = {
    ItemState.ADDED: 'added',
    ItemState.MODIFIED: 'modified',
    ItemState.DELETED: 'deleted',
    ItemState.SOFTDELETED: 'soft-deleted',
}


class IndentStream:
    """A text stream that puts *indent* before each line it passes on to *stream*.

    With *stayBlank*, empty lines get none.
    """

    def __init__(self, stream: Any, indent: str = '  ', stayBlank: bool = False) -> None:
        self.stream = stream
        self.indent = indent
        self.stayBlank = stayBlank
        self._fresh = True

    def write(self, text: str) -> int:
        """Write *text*, indented; return its length."""
        for line in text.splitlines(keepends=True):
            blank = not line.strip('\r\n')
            if self._fresh and not (blank and self.stayBlank):
                self.stream.write(self.indent)
            self.stream.write(line)
            self._fresh = line.endswith(('\n', '\r'))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def forgiving(stream: Any) -> TextIO:
    """Return *stream*, made to write out what its encoding lacks instead of failing."""
    if hasattr(stream, 'reconfigure'):
        stream.reconfigure(errors='backslashreplace')
    result: TextIO = stream
    return result


# --- after a synchronisation --------------------------------------------------------------------


def exit_code_of(stats: Mapping[str, Any]) -> int:
    """Return what the program ends with after a synchronisation that came to *stats*.

    An unsettled conflict counts as an error of its item, too: only other errors outrank it.
    """
    conflicts = sum(count(row, 'conflicts') for row in stats.values())
    errors = sum(count(row, 'hereErr') + count(row, 'peerErr') for row in stats.values())
    if errors > conflicts:
        return ExitCode.ITEMS_FAILED
    return ExitCode.CONFLICTS if conflicts else ExitCode.OK


def write_trouble(stats: Mapping[str, Any], stream: TextIO, *, limit: int = 20) -> None:
    """Write what went wrong and which items were in conflict, one per line, at most *limit*."""
    for uri in sorted(stats):
        row = stats[uri]
        _listed(getattr(row, 'problems', None) or (), 'failed: ', stream, limit)
        left = count(row, 'conflicts')
        label = 'conflict, left as it is on both sides: ' if left else 'conflict, settled: '
        _listed(getattr(row, 'conflictNames', None) or (), label, stream, limit)
        if left:
            stream.write(
                'To settle a conflict: make both sides equal, or start the server with '
                'another --policy, then synchronise again.\n'
            )


def _listed(lines: Sequence[str], label: str, stream: TextIO, limit: int) -> None:
    for line in lines[:limit]:
        stream.write(f'{label}{printable(line)}\n')
    if len(lines) > limit:
        stream.write(f'{label}… and {num2str(len(lines) - limit)} more\n')


def stats_as_json(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Return *stats* by store URI as plain values; ``mode`` is the name of the sync type."""
    result = {}
    for uri, row in stats.items():
        values = row.values()
        mode: Any = getattr(row, 'mode', None)
        name = next((kind.name.lower() for kind in SyncType if kind == mode), None)
        result[uri] = {**values, 'mode': name}
    return result


def write_json(value: Any, stream: TextIO) -> None:
    """Write *value* as one line of JSON (ASCII only, so that any terminal or file can take it)."""
    import json

    stream.write(json.dumps(value, ensure_ascii=True, default=str) + '\n')


# how a session ended that was not done, in the words of the adapter → in those for people
_ENDS = {
    'broken off': ' Broken off.',
    'suspended': ' Put off by the client, to go on the next time.',
}


def session_line(
    who: str,
    stats: Mapping[str, Any],
    error: object = None,
    *,
    now: float | None = None,
) -> str:
    """Return the one line a server says of a session: when, who, what changed, how it ended."""
    when = time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))
    if error:
        end = _ENDS.get(str(error)) or f' Broken off: {printable(error)}'
    elif exit_code_of(stats) == ExitCode.OK:
        end = ' In step.'
    else:
        end = ' Ended with items left over.'
    return f'{when} {printable(who)}: {totals_line(stats)}{end}'


# --- --local and --describe ---------------------------------------------------------------------


def describe_pending(
    pending: Sequence[tuple[Any, Any, Sequence[tuple[str, Any]]]],
    stream: TextIO,
    *,
    server: bool,
    known: bool,
    describeItem: Callable[[str], str],
) -> None:
    """Write which local changes the peers have not seen.

    Args:
        pending: (peer, store, [(item id, state)]) for every store of every peer of this role.
        server: whether this side is the server.
        known: whether there is any peer.
        describeItem: the agent's way to say which item it is.
    """
    if not known:
        nothing = (
            'No pending changes to propagate (no peers yet)'
            if server
            else 'No pending local changes (not associated yet).'
        )
        stream.write(nothing + '\n')
    elif server:
        stream.write('Pending changes to propagate:\n')
        for peer, store, changes in pending:
            head = f'Registered to peer "{printable(peer.devID)}" URI "{printable(store.uri)}"'
            stream.write(f'  {head}:\n')
            _changes(changes, IndentStream(stream), describeItem)
            if not changes:
                stream.write('    (none)\n')
    elif any(changes for _, _, changes in pending):
        stream.write('Pending local changes:\n')
        for _, _, changes in pending:
            _changes(changes, stream, describeItem)
    else:
        stream.write('No pending local changes to synchronize.\n')


def _changes(changes: Any, stream: Any, describeItem: Callable[[str], str]) -> None:
    for itemID, state in changes:
        stream.write(f'  - {printable(describeItem(itemID))}: {_STATES.get(state, state)}\n')


def describe_devices(adapter: Any, peers: Sequence[Any], stream: TextIO) -> None:
    """Write about the local device and the remote ones."""
    stream.write('Local device:\n')
    describe_adapter(adapter, IndentStream(stream))
    for peer in peers:
        stream.write('Remote device:\n')
        describe_adapter(peer, IndentStream(stream))
    if not peers:
        stream.write('Remote device: (not associated yet)\n')


def describe_adapter(adapter: Any, stream: Any) -> None:
    """Write the id of a device, local or remote, and its datastores."""
    stream.write(f'Device ID: {printable(adapter.devID)}\n')
    if getattr(adapter, 'url', None):
        stream.write(f'URL: {printable(adapter.url)}\n')
    stores = adapter.stores or {}
    stream.write('DataStores:\n' if stores else 'DataStores: (none)\n')
    for uri in sorted(stores):
        _store(stores[uri], IndentStream(stream))


def _store(store: Any, stream: Any) -> None:
    stream.write(f'{printable(store.displayName or store.uri)}\n')
    inner = IndentStream(stream)
    inner.write(f'URI: {printable(store.uri)}\n')
    types = getattr(store, 'syncTypes', None)
    if types:
        inner.write(f'Sync types: {",".join(str(int(t)) for t in types)}\n')
    for label, name in (('Max ID size', 'maxGuidSize'), ('Max object size', 'maxObjSize')):
        if getattr(store, name, None):
            inner.write(f'{label}: {getattr(store, name)}\n')
    inner.write('Capabilities:\n')
    for ctype in store.contentTypes or ():
        ctype.describe(IndentStream(inner))
