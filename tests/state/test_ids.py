"""New ids."""

from __future__ import annotations

import os
import re
import threading

import pytest

import pysyncml


def test_new_ids_are_ordered_and_unique_in_all_threads():
    """So that what is made one after the other lies side by side in a database."""
    found: list[list[str]] = []

    def make():
        found.append([pysyncml.newID() for _ in range(2000)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(ids == sorted(ids) for ids in found)
    every = [one for ids in found for one in ids]
    assert len(set(every)) == 8000
    assert all(re.fullmatch('[0-9a-f]{32}', one) for one in every)


def test_new_ids_rise_though_the_clock_stands_still(monkeypatch):
    monkeypatch.setattr('time.time_ns', lambda: 0)
    ids = [pysyncml.newID() for _ in range(100)]
    assert ids == sorted(ids) and len(set(ids)) == 100


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='processes are not forked here')
def test_two_processes_never_have_the_same_id(monkeypatch):
    """Not even if one is forked from the other, in the same microsecond."""
    monkeypatch.setattr('time.time_ns', lambda: 0)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, pysyncml.newID().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs, ours = os.read(reading, 32).decode(), pysyncml.newID()
    os.close(reading)
    os.close(writing)
    assert theirs[:16] == ours[:16]
    assert theirs[16:] != ours[16:]


def test_devices_are_told_apart_by_the_beginnings_of_their_ids():
    contexts = [pysyncml.Context(storage='sqlite://') for _ in range(20)]
    ids = [context.Adapter().devID for context in contexts]
    for context in contexts:
        context.close()
    assert len({one[:8] for one in ids}) == 20
