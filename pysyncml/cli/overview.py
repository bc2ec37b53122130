"""Runs that only look: --describe, --local, --trash; and --restore, which needs no server."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any, TextIO

from pysyncml.cli.options import read_address
from pysyncml.cli.report import (
    IndentStream,
    describe_devices,
    describe_pending,
    printable,
    write_json,
)
from pysyncml.constants import ExitCode, ItemState
from pysyncml.errors import UsageError
from pysyncml.util import num2str

if TYPE_CHECKING:
    from pysyncml.cli.engine import CommandLineSyncEngine


def show(engine: CommandLineSyncEngine) -> int:
    """Do --describe or --local; all work in the database is taken back."""
    if engine.options.describe and not engine.options.json:
        engine.describe(engine.stdout)
        return ExitCode.OK
    with engine.work():
        adapter = engine.makeAdapter()
        if engine.options.describe:
            write_json(_configuration(engine, adapter), engine.stdout)
        elif engine.options.json:
            write_json({'pending': _pending(engine, adapter)}, engine.stdout)
        else:
            changes, known = engine.pending(adapter)
            describe_pending(
                changes,
                engine.stdout,
                server=engine.isServer,
                known=known,
                describeItem=engine.agent.describeItem,
            )
    return ExitCode.OK


def describe(engine: CommandLineSyncEngine, stream: TextIO) -> None:
    """Write the configuration of the program and of all devices."""
    with engine.work():
        adapter = engine.makeAdapter()
        stream.write(f'{engine.appDisplay} configuration:\n')
        inner = IndentStream(stream)
        inner.write(f'Role: {_role(engine)}\n')
        if engine.isServer:
            inner.write(f'Listen port: {read_address(engine.options.listen).port}\n')
        engine.fire('describe', inner)
        describe_devices(adapter, engine.peers(adapter), stream)


def _role(engine: CommandLineSyncEngine) -> str:
    return 'server' if engine.isServer else 'client'


def _configuration(engine: CommandLineSyncEngine, adapter: Any) -> dict[str, Any]:
    text = io.StringIO()
    engine.fire('describe', text)
    return {
        'role': _role(engine),
        'listen': engine.options.listen if engine.isServer else None,
        'program': text.getvalue().splitlines(),
        'local': _device(adapter),
        'remote': [_device(peer) for peer in engine.peers(adapter)],
    }


def _device(adapter: Any) -> dict[str, Any]:
    return {
        'deviceId': adapter.devID,
        'url': getattr(adapter, 'url', None),
        'stores': [
            {
                'uri': store.uri,
                'displayName': store.displayName,
                'contentTypes': [str(ctype) for ctype in store.contentTypes or ()],
            }
            for store in (adapter.stores or {}).values()
        ],
    }


def _pending(engine: CommandLineSyncEngine, adapter: Any) -> list[dict[str, Any]]:
    def item(itemID: str, state: Any) -> dict[str, Any]:
        name = engine.agent.describeItem(itemID)
        return {'id': itemID, 'item': name, 'state': ItemState(state).name.lower()}

    return [
        {'peer': peer.devID, 'uri': store.uri, 'changes': [item(*change) for change in changes]}
        for peer, store, changes in engine.pending(adapter)[0]
    ]


# --- the trash ----------------------------------------------------------------------------------


def _storage(engine: Any) -> Any:
    """Return the agent's own directory storage, or one made for the occasion."""
    storage = getattr(engine.agent, 'storage', None)
    if hasattr(storage, 'list_trash'):
        return storage
    from pysyncml.storage.directory import DirectoryStorage

    return DirectoryStorage(engine.rootDir, state_dir=engine.syncSubdir)


def show_trash(engine: CommandLineSyncEngine) -> int:
    """List what synchronisations have replaced or deleted, the newest first."""
    entries = list(_storage(engine).list_trash())
    if engine.options.json:
        fields = [{'name': name, 'when': when, 'size': size} for name, when, size in entries]
        write_json({'trash': fields}, engine.stdout)
        return ExitCode.OK
    for name, when, size in entries:
        stamp = time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(when))
        engine.stdout.write(f'{stamp}  {num2str(size):>12} bytes  {printable(name)}\n')
    if not entries and not engine.options.quiet:
        engine.stdout.write('The trash is empty.\n')
    return ExitCode.OK


def restore(engine: CommandLineSyncEngine, name: str) -> int:
    """Bring the newest *name* back from the trash, under its own name or a free one."""
    with engine.lock('client'):
        storage = _storage(engine)
        if name not in {entry[0] for entry in storage.list_trash()}:
            raise UsageError(f'there is no "{printable(name)}" in the trash: see --trash')
        placed = storage.restore(name)
    if engine.options.json:
        write_json({'restored': name, 'as': placed}, engine.stdout)
    elif not engine.options.quiet:
        engine.stdout.write(f'Brought back as {printable(placed)}\n')
    return ExitCode.OK
