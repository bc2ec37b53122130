"""The system refuses: for one note that note is reported, and the rest goes on; the next run mends.

In any case it is said in one clear line, with an exit code of ``docs/cli.rst``; nothing is lost or
doubled, both sides become equal, and then there is nothing to do.
"""

from __future__ import annotations

import itertools
import random

import pytest

from tests.faults import databases, disks, hands
from tests.faults.bench import Bench, fresh_copy
from tests.faults.taps import all_of, faults_of, tapped

SAMPLE = 2


@pytest.fixture(scope='module')
def prepared(quick):
    """Return the folder of a bench with everything to do, and what is to come of it."""
    template = Bench(quick / 'disks')
    hands.prepare(template)
    template.stop()
    copy = fresh_copy(template.root, quick / 'whole')
    wanted = copy.settle('a')
    copy.close()
    return template.root, wanted


@pytest.fixture
def copy(prepared):
    bench = fresh_copy(prepared[0], prepared[0].parent / 'copy')
    yield bench
    bench.close()


#: (side, what fails, exit code, what is said of it)
FAULTS = [
    ('a', 'EACCES@open:DIR/o.txt', 4, '"o.txt" cannot be read: Permission denied'),
    ('a', 'EACCES@scandir:DIR', 1, 'Permission denied'),
    ('a', 'EACCES@rename:DIR/m.txt', 4, '"m.txt" is left for later: Permission denied'),
    ('s', 'ENOSPC@write:DIR/.sync/staged/*', 4, 'no room'),
]
MORE_FAULTS = [
    ('a', 'EIO@stat:DIR/o.txt', 4, '"o.txt" cannot be read'),
    ('a', 'ENOSPC@write:DIR/.sync/staged/*', 4, 'no room'),
    ('a', 'EIO@open:DIR/.syncignore', 4, 'it is not known what to leave out'),
    ('s', 'EACCES@scandir:DIR', 8, 'the server cannot go on: Permission denied'),
    ('a', 'EIO@read:DIR/o.txt', 4, '"o.txt" cannot be read: Input/output error'),
    ('a', 'EMFILE@open:DIR/[a-z].txt', 4, 'Too many open files'),
    ('a', 'ENOENT@open:DIR/y.txt', 0, ''),
    ('a', 'EIO@scandir:DIR', 1, 'Input/output error'),
    ('a', 'EDQUOT@write:DIR/.sync/staged/*', 4, 'no room'),
    ('a', 'EROFS@open:DIR/.sync/staged/*', 4, 'Read-only file system'),
    ('a', 'EMFILE@open:DIR/.sync/staged/*', 4, 'Too many open files'),
    ('a', 'EIO@fsync:DIR/.sync/staged/*', 4, 'could not be made durable'),
    ('a', 'ENOSPC@fsync:DIR/.sync/staged/*', 4, 'could not be made durable'),
    ('a', 'ENOSPC@rename:DIR/*', 4, 'No space left'),
    ('a', 'EACCES@rename:DIR/.sync/staged/*', 4, 'Permission denied'),
    ('a', 'ENOSPC@mkdir:DIR/.sync/trash*', 4, 'No space left'),
    ('a', 'EACCES@open:DIR/.sync/publish.lock', 1, 'publish.lock: Permission denied'),
    ('a', 'EROFS@utime:*/clock', 1, 'Read-only file system'),
    ('a', 'EACCES@open:*/identity', 1, 'identity: Permission denied'),
    ('a', 'EACCES@listdir:*', 1, 'Permission denied'),
    ('a', 'EMFILE@open:*', 2, 'Too many open files'),
    ('a', 'EROFS@open:DIR/.sync/*', 2, 'Read-only file system'),
    ('s', 'EACCES@open:DIR/m.txt', 0, '"m.txt" was not sent: "m.txt" cannot be read'),
    ('s', 'EIO@read:DIR/m.txt', 0, '"m.txt" was not sent: Input/output error'),
    ('s', 'ENOENT@open:DIR/x.txt', 0, '"x.txt" was not sent'),
    ('s', 'EIO@fsync:DIR/.sync/staged/*', 8, 'could not be made durable'),
    ('s', 'EACCES@rename:DIR/o.txt', 0, '"o.txt" is left for later: Permission denied'),
    ('s', 'EIO@open:DIR/.syncignore', 8, 'it is not known what to leave out'),
]


@pytest.mark.parametrize(('side', 'fault', 'code', 'words'), FAULTS)
def test_what_is_refused_is_said(prepared, copy, side, fault, code, words):
    found, said = disks.refused(copy, prepared[1], fault, side)
    assert (found, words in said) == (code, True), said


@pytest.mark.campaign
@pytest.mark.parametrize(('side', 'fault', 'code', 'words'), MORE_FAULTS)
def test_more_of_what_is_refused_is_said(prepared, copy, side, fault, code, words):
    found, said = disks.refused(copy, prepared[1], fault, side)
    assert (found, words in said) == (code, True), said


def every_refusal(prepared, rng: random.Random):
    """Yield (side, number of the call, errno): each call that a session makes, in any order."""
    template, _ = prepared
    every = []
    for side in 'as':
        copy = fresh_copy(template, template.parent / 'counted')
        every += [(side, at) for at in range(1, disks.count_calls(copy, side) + 1)]
        copy.close()
    rng.shuffle(every)
    codes = itertools.cycle(disks.CODES)
    return [(side, at, code) for (side, at), code in zip(every, codes, strict=False)]


def try_all(prepared, cases, action) -> None:
    """Do *action* with each of *cases* on a copy; all that fail are told together."""
    template, wanted = prepared
    failures = []
    for case in cases:
        copy = fresh_copy(template, template.parent / 'copy')
        try:
            action(copy, wanted, *case)
        except AssertionError as error:
            failures.append(f'{case}: {error}')
        finally:
            copy.close()
    print(f'{len(cases)} refusals, {len(failures)} not mended')
    assert not failures, '\n\n'.join(failures)


def test_a_sample_of_calls_that_fail_once(prepared):
    cases = every_refusal(prepared, random.Random(3))[:SAMPLE]
    try_all(prepared, cases, disks.refused_at)


@pytest.mark.campaign
@pytest.mark.parametrize('batch', range(4))
def test_every_call_fails_once(prepared, batch):
    cases = every_refusal(prepared, random.Random(4)) + every_refusal(prepared, random.Random(5))
    try_all(prepared, cases[batch::4], disks.refused_at)


# --- the state database ---------------------------------------------------------------------------


def refuse_statement(bench, wanted, side, at, kind, only) -> None:
    """Let the database refuse; what is said of it is one clear line."""
    disks.database_refused_at(bench, wanted, side, at, kind, only=only)
    text = databases.REFUSALS[kind][0]
    lines = [line for line in bench.said.splitlines() if text in line]
    assert all('cannot' in line or 'could not' in line for line in lines), bench.said


def every_statement(prepared, rng: random.Random):
    """Yield (side, number of the statement, what is refused, whether only that one is)."""
    template, _ = prepared
    every = []
    for side in 'as':
        copy = fresh_copy(template, template.parent / 'counted')
        every += [(side, at) for at in range(1, disks.count_statements(copy, side) + 1)]
        copy.close()
    rng.shuffle(every)
    kinds = itertools.cycle(itertools.product(databases.REFUSALS, (True, False)))
    return [(*one, *kind) for one, kind in zip(every, kinds, strict=False)]


def test_a_sample_of_statements_that_fail(prepared):
    cases = every_statement(prepared, random.Random(6))[:SAMPLE]
    try_all(prepared, cases, refuse_statement)


@pytest.mark.campaign
@pytest.mark.parametrize('batch', range(2))
def test_every_statement_fails(prepared, batch):
    cases = every_statement(prepared, random.Random(7)) + every_statement(
        prepared, random.Random(8)
    )
    try_all(prepared, cases[batch::2], refuse_statement)


# --- single things --------------------------------------------------------------------------------


@pytest.mark.campaign
def test_a_mode_that_cannot_be_set_keeps_no_content_back(copy, prepared):
    copy.path('a').joinpath('m.txt').chmod(0o640)
    code, _ = disks.refused(copy, prepared[1], 'EPERM@chmod:*', 'a')
    assert code == 0


def test_what_is_ignored_stays_here_when_that_file_cannot_be_read(bench):
    bench.path('a').joinpath('.syncignore').write_text('secret*\n')
    bench.path('a').joinpath('secret.txt').write_text('mine')
    bench.sync('a', code=0)
    with tapped(all_of(faults_of('EIO@open:*/a/.syncignore'))):
        bench.sync('a')
    assert 'secret.txt' not in bench.tree('s')


@pytest.mark.parametrize('side', ['a', pytest.param('s', marks=pytest.mark.campaign)])
def test_a_folder_that_cannot_be_read_is_left_as_it_is(bench, side):
    for name in ('sub/one', 'sub/two', 'three'):
        path = bench.path('a') / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    before = bench.settle('a')
    bench.path(side).joinpath('three').write_text('edited')
    bench.server()
    with tapped(all_of(faults_of(f'EACCES@scandir:*/{side}/sub'))):
        result = bench.sync('a', code=4 if side == 'a' else 0)
    said = ''.join(result.stats['problems']) + bench.said
    assert '"sub" cannot be read; it is left as it is' in said
    assert bench.settle('a') == {**before, 'three': b'edited'}


@pytest.mark.parametrize('side', ['s', 'b'])
@pytest.mark.parametrize('renamed', [True, False])
def test_a_file_that_cannot_leave_its_place_is_no_new_note_there(bench, side, renamed):
    """It was renamed or deleted elsewhere, and its folder refuses that for longer."""
    for name in ('one', 'two'):
        bench.path('a').joinpath(name).write_text(name)
    bench.settle('a', 'b')
    one = bench.path('a') / 'one'
    one.rename(bench.path('a') / 'moved') if renamed else one.unlink()
    wanted = bench.tree('a')
    with tapped(all_of(faults_of(f'EACCES@rename:*/{side}/one'))):
        for name in 'abab':
            bench.sync(name)
    assert bench.tree('a') == wanted
    assert 'one' in bench.tree(side) and 'moved' not in bench.tree(side)
    assert bench.settle('a', 'b') == wanted
