import sys

import pytest

import pysyncml

sys.path.insert(0, __file__.rpartition('/')[0])


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    """No terminal, no keyring, no password from outside; the log as it was."""
    if 'versionString' not in vars(pysyncml):
        monkeypatch.setattr(pysyncml, 'versionString', '1.2.3', raising=False)
    monkeypatch.setitem(sys.modules, 'keyring', None)
    monkeypatch.delenv('SYNC_NOTES_PASSWORD', raising=False)
    monkeypatch.setattr(sys, 'argv', ['sync-notes'])
