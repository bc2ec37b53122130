"""Three clients, a server, and everything that may go wrong: in the end all is well.

A history that fails is made as small as it can be, and printed as a program. The same seed tells
the same histories again::

    HISTORIES_SEED=7 HISTORIES_COUNT=20 \
        python -m pytest -m campaign tests/properties

"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.machine import Histories

_STEPS = 4

_BATCH = int(os.environ.get('HISTORIES_COUNT', 100))
_SEEDS = (
    [int(os.environ['HISTORIES_SEED'])] if 'HISTORIES_SEED' in os.environ else range(1000, 1050)
)


def tell(number: int, count: int) -> None:
    """Tell *count* histories, those of the seed *number*."""

    class Telling(Histories):
        made = 0

    how = settings(
        max_examples=count,
        stateful_step_count=_STEPS,
        deadline=None,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(number)(Telling), settings=how)
    except BaseException as error:
        error.add_note(f'to see it again: HISTORIES_SEED={number} HISTORIES_COUNT={count}')
        raise
    print(f'seed {number}: {Telling.made} histories')
    assert Telling.made >= count


@pytest.mark.parametrize('number', range(2))
def test_some_histories_end_well(number):
    tell(number, 5)


@pytest.mark.campaign
@pytest.mark.parametrize('number', _SEEDS)
def test_five_thousand_histories_end_well(number):
    tell(number, _BATCH)
