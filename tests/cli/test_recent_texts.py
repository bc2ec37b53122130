"""Texts that a scan has read are not read again to be sent."""

from __future__ import annotations

from pathlib import Path

from pysyncml.cli.notes import recent
from pysyncml.cli.notes.recent import RecentTexts
from pysyncml.storage import DirectoryStorage
from tests.faults.bench import Bench


def test_each_is_given_out_once():
    texts = RecentTexts()
    texts.keep('x', b'one')
    assert (texts.take('x'), texts.take('x'), texts.take('y')) == (b'one', None, None)


def test_they_take_a_limited_room(monkeypatch):
    monkeypatch.setattr(recent, 'MOST', 3000)
    texts = RecentTexts()
    texts.keep('long', bytes(recent.LONGEST + 1))
    for number in range(4):
        texts.keep(f'{number}', bytes(1000))
    found = [texts.take(sha256) for sha256 in ('long', '0', '1', '2', '3')]
    assert found == [None, bytes(1000), bytes(1000), None, None]
    texts.keep('4', bytes(1000))
    assert texts.take('4') == bytes(1000), 'what was given out makes room'
    texts.keep('5', b'')
    texts.clear()
    assert texts.take('5') is None
    texts.keep('6', bytes(2500))
    assert texts.take('6') is not None


def test_a_first_synchronisation_reads_each_file_once(tmp_path: Path, monkeypatch):
    looked, read = [], []
    look, reading = DirectoryStorage.look, DirectoryStorage.read

    def looking(storage, key, *more):
        looked.append(key)
        return look(storage, key, *more)

    def read_again(storage, key, *more):
        read.append(key)
        return reading(storage, key, *more)

    monkeypatch.setattr(DirectoryStorage, 'look', looking)
    monkeypatch.setattr(DirectoryStorage, 'read', read_again)
    bench = Bench(tmp_path)
    for name in 'abc':
        bench.path('a').joinpath(name).write_text(name)
    bench.sync('a')
    bench.same('s', 'a')
    bench.close()
    assert (sorted(looked), read) == (['a', 'b', 'c'], [])
