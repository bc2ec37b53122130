"""Fixtures of the interoperability tests: one world each, and SyncEvolution in it."""

from __future__ import annotations

import subprocess

import pytest

from tests.interop import syncevo
from tests.interop.meeting import Meeting


@pytest.fixture(scope='session')
def syncevolution():
    """SyncEvolution is installed, or the test fails and says how to get it."""
    check = subprocess.run(
        [str(syncevo.HERE / 'install.sh'), '--check'], capture_output=True, text=True, timeout=60
    )
    if check.returncode:
        pytest.fail(f'run tests/interop/install.sh; missing: {check.stderr}', pytrace=False)


@pytest.fixture
def meeting(tmp_path, syncevolution):
    with Meeting(tmp_path) as meeting:
        yield meeting
