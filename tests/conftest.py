"""What holds for all tests."""

from __future__ import annotations

import logging
import os
import signal

import pytest

from pysyncml.protocol import auth

# Hashes that are as expensive as they should be would take up half of the time of all tests. What
# they cost in earnest is looked at in tests/protocol/test_auth.py.
REAL_COST = auth.COST
auth.COST = auth.Cost(4, 8, 1)


# In the background of a script Ctrl-C is ignored, and programs inherit that: those that are started
# here are to be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Half as many workers again as there are processors: each waits for the disk now and then."""
    return max(1, (os.cpu_count() or 1) * 3 // 2)


@pytest.fixture(autouse=True)
def levels_are_put_back():
    """A program that is not ended in its test shows as little as it likes only as long as that."""
    logger = logging.getLogger()
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.fixture(autouse=True)
def no_dead_handlers():
    """A program that was run in a test before writes its log nowhere any more."""
    for name in ('', 'pysyncml', 'pysyncml.cli', 'pysyncml.transport'):
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            stream = getattr(handler, 'stream', None)
            if stream is not None and stream.closed:
                logger.removeHandler(handler)
