"""The system refuses something in the middle of a synchronisation."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from tests.faults import hands
from tests.faults.bench import Bench
from tests.faults.databases import Trouble, troubled
from tests.faults.taps import Call, all_of, faults_of, tapped

#: What a system refuses with.
CODES = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOENT, errno.EXDEV, errno.ESTALE),
)

#: What a run may end with when something was refused: all is well, something failed, some notes
#: are left, it may not go on, or the server has answered with an error.
ENDS = {0, 1, 2, 4, 5, 6, 8}


class Refusal:
    """Lets one call fail, the one with number *at* on one side."""

    def __init__(self, folder: Path, at: int, code: int) -> None:
        self.at, self.code = at, code
        self.count = 0
        self.when = ''
        self._top = os.path.normpath(str(folder))

    def __call__(self, call: Call) -> None:
        """Take notice of a call; let it fail if it is the one."""
        mine = call.path == self._top or call.path.startswith(self._top + os.sep)
        if call.over or not mine:
            return
        self.count += 1
        if self.count == self.at:
            self.when = f'{call.name} {call.path[len(self._top) :]} {call.other}'
            raise OSError(self.code, os.strerror(self.code), call.path)


def count_calls(bench: Bench, side: str) -> int:
    """Return how many calls a session of the prepared *bench* makes on one *side*."""
    bench.server()
    refusal = Refusal(bench.path(side), 0, 0)
    with tapped(refusal):
        bench.sync('a', code=0)
    return refusal.count


def refused_at(bench: Bench, wanted: dict[str, bytes], side: str, at: int, code: int) -> str:
    """Synchronise while one call fails; assert that the next runs mend it, and all is as *wanted*.

    Returns:
        What was refused, in words.
    """
    bench.server()
    refusal = Refusal(bench.path(side), at, code)
    with tapped(refusal):
        result = bench.sync('a')
    what = f'{side}: {errno.errorcode[code]} at {refusal.when}'
    check(bench, wanted, what, result.code, result.err + result.out)
    return what


def refused(bench: Bench, wanted: dict[str, bytes], text: str, side: str) -> tuple[int, str]:
    """Synchronise while all calls that *text* describes fail; return exit code and words.

    All is well again afterwards; assert that the next runs mend it, and all is as *wanted*.
    """
    bench.server()
    faults = faults_of(text.replace('DIR', str(bench.path(side).resolve())))
    with tapped(all_of(faults)):
        result = bench.sync('a')
    assert all(fault.hits for fault in faults), f'{text} has never happened'
    said = f'{result.err}{bench.said if side == "s" else ""}{result.out}'.replace('\\"', '"')
    check(bench, wanted, f'{side}: {text}', result.code, said)
    return result.code, said


def check(bench: Bench, wanted: dict[str, bytes], what: str, code: int, said: str) -> None:
    """Assert that nothing is amiss after a run that went wrong."""
    assert code in ENDS, f'{what}: exit code {code}: {said}'
    there = [set().union(*map(hands.TOKEN.findall, bench.tree(side).values())) for side in 'as']
    kept = {
        token
        for side in 'as'
        for body in bench.trashed(side)
        for token in hands.TOKEN.findall(body)
    }
    staged = {
        token
        for side in 'as'
        for path in (bench.path(side) / '.sync').glob('[as][ts]*/*')
        for token in hands.TOKEN.findall(path.read_bytes())
    }
    lost = hands.WANTED - set().union(*there) - kept - staged
    assert not lost, f'{what}: lost {lost}'
    try:
        tree = bench.settle('a')
    except AssertionError as error:
        raise AssertionError(f'{what}: exit code {code}: {said}\n{error}') from error
    assert tree == wanted, f'{what}: exit code {code}: {said}\n{sorted(tree)} not {sorted(wanted)}'


def count_statements(bench: Bench, side: str) -> int:
    """Return how many statements a session of the prepared *bench* takes on one *side*."""
    trouble = Trouble(f'/{side}/', 0, 'full')
    with troubled(trouble):
        bench.sync('a', code=0)
    bench.stop()
    return trouble.count


def database_refused_at(
    bench: Bench, wanted: dict[str, bytes], side: str, at: int, kind: str, *, only: bool
) -> str:
    """Synchronise while the database refuses; assert that the next runs mend it.

    Returns:
        What was refused, in words.
    """
    trouble = Trouble(f'/{side}/', at, kind, only=only)
    code, said = 0, ''
    with troubled(trouble):
        try:
            bench.server()
        except SystemExit as ended:  # the server's own start
            code, said = int(ended.code or 0), bench.said
            assert code in (1, 2), said
        else:
            result = bench.sync('a')
            code, said = result.code, result.err + result.out
    bench.stop()
    what = f'{side}: {kind} {"at" if only else "from"} {trouble.when} on'
    check(bench, wanted, what, code, said)
    return what
