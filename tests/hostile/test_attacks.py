"""Peers that say what they like, by the thousand: nothing gets out, breaks, or is lost.

Each attack runs in a process of its own, the memory of which is measured. What it finds is printed
with the seed: ``python -m tests.hostile.attack_server COUNT SEED`` does the same again, and with
``HOSTILE_KEEP=FOLDER`` in the environment the requests that were complained of are kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BATCHES, BATCH = 50, 4_000

pytestmark = pytest.mark.skipif(
    not Path('/proc/self/stat').exists(), reason='memory and time are read from /proc'
)


def attack(side: str, count: int, seed: int, *flags: str) -> dict:
    command = [sys.executable, '-m', f'tests.hostile.attack_{side}', str(count), str(seed), *flags]
    environ = {**os.environ, 'PYTHONHASHSEED': '0'}
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    wrong = report.pop('wrong')
    print(json.dumps(report))
    assert not wrong, '\n'.join(map(str, wrong))
    assert report['mutated'] >= count
    return report


def flags_of(seed: int) -> list[str]:
    """Return how a batch is different from others: a login, and links that come and go."""
    return ['--login'] * (seed % 4 == 1) + ['--swap'] * (seed % 5 == 2)


@pytest.mark.parametrize('seed', [2, 4])
def test_some_hostile_requests(seed):
    report = attack('server', 150, seed, *flags_of(seed))
    assert report['answers']['200'] > 100, 'most are damaged a little only'


def test_some_hostile_answers():
    report = attack('client', 200, 1)
    assert report['exit codes'].keys() >= {'0', '8'}


@pytest.mark.campaign
@pytest.mark.parametrize('seed', range(100, 100 + BATCHES))
def test_hostile_requests(seed):
    attack('server', BATCH, seed, *flags_of(seed))


@pytest.mark.campaign
@pytest.mark.parametrize('seed', range(100, 100 + BATCHES))
def test_hostile_answers(seed):
    attack('client', BATCH, seed, *[flag for flag in flags_of(seed) if flag == '--swap'])
