"""Damaged and hostile messages: each ends in a message or in the right refusal, soon.

They run in a process of their own, the memory of which is measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MEGABYTES = 50


def run(count: int, seed: int) -> dict:
    command = [sys.executable, '-m', 'tests.codec.fuzz', str(count), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def judge(report: dict, count: int) -> None:
    assert report['wrong'] == []
    assert sum(report['ends'].values()) == count
    assert set(report['ends']) == {'Message', 'CodecError', 'UnknownCodec'}
    assert report['ends']['Message'] > count / 10, 'most are damaged a little only'
    assert report['memory'] < MEGABYTES


def test_a_sample():
    judge(run(2_000, seed=1), 2_000)


@pytest.mark.campaign
@pytest.mark.parametrize('seed', range(10))
def test_a_hundred_thousand(seed):
    report = run(10_000, seed=100 + seed)
    print({name: value for name, value in report.items() if name != 'wrong'})
    judge(report, 10_000)
