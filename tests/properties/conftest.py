"""What all histories need."""

from __future__ import annotations

import gc
import uuid

import pytest

import pysyncml.conversation
from tests.properties import machine, processes


@pytest.fixture(autouse=True, scope='session')
def workshop():
    """A folder for all worlds of this process, one after the other."""
    yield machine.workshop()
    machine.close_workshop()


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Nobody waits, ids are told again as they were, and garbage is not looked for all the time."""
    processes.install()
    monkeypatch.setattr(pysyncml.conversation, 'RETRIES', (0.0, 0.0, 0.0))
    monkeypatch.setattr(uuid, 'uuid4', uuid.uuid4)  # histories exchange it
    before = gc.get_threshold()
    gc.set_threshold(50_000)
    yield
    gc.set_threshold(*before)
