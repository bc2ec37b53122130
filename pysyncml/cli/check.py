"""--check-state: the state database, examined and mended from the directory."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from pysyncml.cli.report import printable, write_json
from pysyncml.constants import ExitCode
from pysyncml.state import damage
from pysyncml.state.check import Finding, check_tables
from pysyncml.state.database import copy_sqlite

if TYPE_CHECKING:
    from pysyncml.cli.engine import CommandLineSyncEngine

#: What the database was like before something was mended in it.
COPY = '.before-check.bak'


def run(engine: CommandLineSyncEngine) -> int:
    """Examine the state, mend it, and say so; return the exit code."""
    path = os.path.join(str(engine.dataDir), engine.databaseName)
    with engine.lock('client'), engine.lock('server'):
        problems = damage.examine(path, orphans=False)
        findings = [] if problems else _mend(engine, path)
    if problems:
        findings = [Finding(f'the database is damaged: {line}') for line in problems]
        damage.suspect(path)
        engine.context.close()
        engine.reopen()
        done = 'set aside, and a new one made: the next synchronisation compares everything'
        findings[-1] = Finding(findings[-1].what, done)
    return _tell(engine, findings)


def _mend(engine: CommandLineSyncEngine, path: str) -> list[Finding]:
    """Look first, taking all of it back; then, if there is something, copy and do it."""
    with contextlib.suppress(_Look), engine.context.work() as work:
        findings = _examine(engine, work)
        raise _Look
    if any(finding.done for finding in findings):
        copy_sqlite(path, path + COPY)
        with engine.context.work() as work:
            findings = _examine(engine, work)
    return findings


class _Look(Exception):
    """Takes back what was done to see whether there is something to do."""


def _examine(engine: CommandLineSyncEngine, work: Any) -> list[Finding]:
    findings = check_tables(work)
    adapter = engine.context.Adapter(
        devID=engine.options.devid, name=engine.deviceName, devinfo=engine.device_info()
    )
    store = adapter.addStore(engine.make_store())
    findings += [Finding(*found) for found in engine.agent.check_index()]
    wrong = store.mend_log(str(item_id) for item_id in engine.agent.allItemIDs())
    if wrong:
        what = f'{wrong} items are in the index or in the log of changes, and not in both'
        findings.append(Finding(what, 'the next synchronisation compares everything'))
    return findings


def _tell(engine: CommandLineSyncEngine, findings: list[Finding]) -> int:
    code = ExitCode.DIFFERENT if findings else ExitCode.OK
    if engine.options.json:
        values = [{'found': finding.what, 'done': finding.done or None} for finding in findings]
        write_json({'state': values, 'exitCode': int(code)}, engine.stdout)
        return code
    for finding in findings:
        done = f': {finding.done}' if finding.done else ''
        engine.stdout.write(f'{printable(finding.what)}{done}\n')
    if not findings and not engine.options.quiet:
        engine.stdout.write('The state is in order.\n')
    return code
