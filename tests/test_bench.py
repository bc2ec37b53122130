"""The harness of bench/ still runs what it measures; what it measures is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(
    not Path('/proc/self/stat').exists(), reason='the measurements read /proc: they run on Linux'
)


def test_a_case_runs_and_its_goals_are_told(tmp_path):
    out = tmp_path / 'results.json'
    argv = [sys.executable, '-m', 'bench', 'start', '--rounds', '1']
    argv += ['--json', str(out), '--folder', str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    parts = {row['part']: row for row in found['results']}
    assert {'--help', 'argparse', 'no change', 'ORM'} <= set(parts)
    assert parts['no change']['cpu'] > 0 and parts['no change']['server_peak'] > 0
    assert {goal['number'] for goal in found['goals']} == {6}
    assert 'at most' in done.stdout
