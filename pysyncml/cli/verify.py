"""What --verify has found, for people and for scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pysyncml.cli.report import printable, write_json
from pysyncml.constants import ExitCode
from pysyncml.util import num2str, plural

if TYPE_CHECKING:
    from pysyncml.cli.engine import CommandLineSyncEngine
    from pysyncml.verification import Difference, Verification


def tell(engine: CommandLineSyncEngine, results: Mapping[str, Verification]) -> int:
    """Write what a comparison has come to; return the exit code."""
    code = exit_code(results)
    if engine.options.json:
        values = {uri: result.values() for uri, result in results.items()}
        write_json({'verify': values, 'exitCode': int(code)}, engine.stdout)
        return code
    for result in results.values():
        for difference in result.differences:
            engine.stdout.write(f'{describe(difference, engine.agent)}\n')
        for problem in result.problems:
            engine.stderr.write(f'{printable(problem)}\n')
        if not engine.options.quiet:
            engine.stdout.write(_summary(result, engine.itemNoun))
    return code


def exit_code(results: Mapping[str, Verification]) -> int:
    """Return what the program ends with after a comparison that came to *results*."""
    if any(result.differences for result in results.values()):
        return ExitCode.DIFFERENT
    if any(result.problems for result in results.values()):
        return ExitCode.ITEMS_FAILED
    return ExitCode.OK


def describe(difference: Difference, agent: Any) -> str:
    """Return *difference* as a line for people."""
    here, there = difference.here, difference.there
    if here is None and there is None and difference.item_id is not None:
        here = str(agent.describeItem(difference.item_id))
    name = printable(here if here is not None else there or '?')
    if here is not None and there is not None and here != there:
        name += f' (there: {printable(there)})'
    return f'{difference.kind.value}: {name}'


def _summary(result: Verification, noun: str) -> str:
    parts = [f'{plural(result.equal, noun)} equal']
    if result.waiting:
        parts.append(f'{num2str(result.waiting)} waiting for the next synchronisation')
    parts.append(f'{num2str(len(result.differences))} different')
    if result.problems:
        parts.append(f'{num2str(len(result.problems))} not compared')
    text = ', '.join(parts) + '.\n'
    if result.differences:
        text += 'The next synchronisation takes what differs for changed on both sides.\n'
    return text
