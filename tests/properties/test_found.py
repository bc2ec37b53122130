"""What the histories have found, each as short as it could be made."""

from __future__ import annotations

import pytest

from tests.properties.machine import Histories


@pytest.fixture
def history():
    machine = Histories()
    machine.begin(
        used=True, policy='keep-both', versions=(None,) * 3, encodings=('xml',) * 3, size=None
    )
    yield machine
    machine.world.close()


def test_a_note_that_comes_to_the_place_of_one_just_removed(history, monkeypatch):
    # stamps that tell enough, as they do unless a file was changed in this very moment
    monkeypatch.setattr('pysyncml.cli.notes.agent.is_racy', lambda stat, now: False)
    names = sorted(history.world.server.tree())
    listed = names.index('sub/list.txt')
    # deleted on the server, edited on a: there it is a new note from now on
    history.people.act('s', ('delete', listed))
    history.people.act('a', ('change', listed, 'append', 0))
    history._sync('a', 'sync', [])
    # edited on c as well, and removed while the new one of this name is coming
    history.people.act('c', ('rewrite', listed, True))
    history._sync('c', 'sync', [(1, 'edit', 'client', ('delete', listed))])
    history._heal()
    history._check()
    assert sorted(history.world.server.tree()) == names
