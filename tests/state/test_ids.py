"""New ids."""

from __future__ import annotations

import re
import threading

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
    assert len(set(every)) == len({one[16:] for one in every}) == 8000
    assert all(re.fullmatch('[0-9a-f]{32}', one) for one in every)


def test_new_ids_rise_though_the_clock_stands_still(monkeypatch):
    monkeypatch.setattr('time.time_ns', lambda: 0)
    ids = [pysyncml.newID() for _ in range(100)]
    assert ids == sorted(ids) and len(set(ids)) == 100


def test_devices_are_told_apart_by_the_beginnings_of_their_ids():
    contexts = [pysyncml.Context(storage='sqlite://') for _ in range(20)]
    ids = [context.Adapter().devID for context in contexts]
    for context in contexts:
        context.close()
    assert len({one[:8] for one in ids}) == 20
