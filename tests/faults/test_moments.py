"""Somebody edits a note at every moment of a synchronisation, on either side: nothing is lost.

The moments are the calls to the file system that a session makes on one side, before and after
each. All kinds of edits are tried; the campaign does each moment with several of them.
"""

from __future__ import annotations

import itertools
import os
import random
import tempfile

import pytest

from pysyncml.storage import files
from pysyncml.storage.files import Spot
from pysyncml.storage.writers import is_being_written
from tests.faults import hands
from tests.faults.bench import Bench, fresh_copy


def writers_show() -> bool:
    """Return whether the system tells of a file that somebody has it open for writing."""
    with tempfile.NamedTemporaryFile() as file:
        return is_being_written(Spot(file.name, None))


HELD = 'open, later append'
KINDS = tuple(kind for kind in (*hands.KINDS, *hands.SLOW_KINDS) if kind != HELD or writers_show())
SEED = 20  # of the sample that is tried by default
SAMPLE = 5
PASSES = 3  # of the campaign: how many kinds of edits each moment gets


@pytest.fixture(scope='module')
def prepared(quick):
    """Return the folder of a bench with everything to do, and the moments there are by side."""
    with_work = Bench(quick / 'template')
    hands.prepare(with_work)
    with_work.stop()
    moments = {}
    for side in 'as':
        copy = fresh_copy(quick / 'template', quick / 'counted')
        moments[side] = hands.count_moments(copy, side)
        assert set().union(*map(hands.TOKEN.findall, copy.settle('a').values())) >= hands.WANTED
        copy.close()
    return quick / 'template', moments


def cases(moments: dict[str, int], rng: random.Random, passes: int):
    """Yield (side, moment, kind, which note, delay): each moment once in each of the *passes*."""
    for number in range(passes):
        every = [(side, at) for side in 'as' for at in range(1, moments[side] + 1)]
        rng.shuffle(every)
        kinds = itertools.cycle(rng.sample(KINDS, len(KINDS)))
        for (side, at), kind in zip(every, kinds, strict=False):
            yield side, at, kind, rng.randrange(6), hands.DELAYS[(at + number) % len(hands.DELAYS)]


def try_all(prepared, wanted) -> int:
    """Try these cases; return how many there were. All that fail are told together."""
    template, _ = prepared
    failures, count = [], 0
    for case in wanted:
        count += 1
        copy = fresh_copy(template, template.parent / 'tried')
        try:
            hands.edited_at(copy, *case)
        except AssertionError as error:
            failures.append(f'{case}: {error}')
        finally:
            copy.close()
    print(f'{count} moments tried, {len(failures)} with something lost or left over')
    assert not failures, '\n\n'.join(failures)
    return count


def test_a_sample_of_moments(prepared):
    _, moments = prepared
    assert min(moments.values()) > 200
    wanted = itertools.islice(cases(moments, random.Random(SEED), 1), SAMPLE)
    assert try_all(prepared, wanted) == SAMPLE


@pytest.mark.campaign
@pytest.mark.parametrize('batch', range(8))
def test_every_moment(prepared, batch):
    _, moments = prepared
    every = list(cases(moments, random.Random(SEED + 1), PASSES))
    assert len(every) >= 200
    try_all(prepared, every[batch::8])


@pytest.mark.parametrize('kind', [kind for kind in (HELD, 'same size') if kind in KINDS])
def test_what_a_stamp_does_not_tell(prepared, kind, monkeypatch):
    """Right before a file is taken away somebody opens it, or edits it within a tick."""
    template, _ = prepared
    copy = fresh_copy(template, template.parent / 'tried')
    typist = hands.Typist(copy.path('a'), 10**9, kind, ('m.txt',), 1)

    def listen(call):
        if call.name == 'rename' and not call.over and call.path.endswith('/a/m.txt'):
            before = os.stat(call.path)
            typist.at, typist.count = 5, 4
            typist(call)
            if kind == 'same size':
                os.utime(call.path, ns=(before.st_atime_ns, before.st_mtime_ns))
                assert files.looks(os.stat(call.path)) == files.looks(before)
        elif call.name == 'fsync' and call.path.endswith('/a'):
            typist.finish()

    with hands.tapped(listen):
        copy.sync('a')
    typist.finish()
    try:
        assert typist.typed
        tree = copy.settle('a')
        there = set().union(*map(hands.TOKEN.findall, tree.values()))
        assert typist.typed <= there and b'<ms1>' in there
    finally:
        copy.close()
