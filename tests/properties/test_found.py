"""What the histories have found, each as short as it could be made."""

from __future__ import annotations

import pytest

from tests.properties.machine import Histories


@pytest.fixture
def begin():
    """Return what begins a history; in the end it is settled and checked, and tidied up."""
    begun = []

    def start(**values):
        usual = {'used': True, 'policy': 'keep-both', 'size': None}
        machine = Histories()
        machine.begin(**{**usual, 'versions': (None,) * 3, 'encodings': ('xml',) * 3, **values})
        begun.append(machine)
        return machine

    yield start
    for machine in begun:
        machine.world.close()


@pytest.fixture
def history(begin):
    return begin()


def settled(history):
    """Let everybody synchronise in peace; return what is there then, which has to be well."""
    history._heal()
    history._check()
    return history.world.server.tree()


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
    assert sorted(settled(history)) == names


def test_a_note_that_gets_a_name_while_its_server_gives_it_another(history):
    """The server had to; so its name gives way, and there is one note in the end."""
    history.sync('a', [('s', ('add', 'Todo', False))], 'sync', [])
    renamed = [(2, 'edit', 'client', ('rename', 0, 'todo.txt', False))]
    history.sync('b', [('b', ('add', 'Todo', False))], 'sync', renamed)
    tree = settled(history)
    todos = sorted(name for name in tree if name.lower().startswith('todo'))
    assert todos == ['Todo', 'todo', 'todo.txt']


def test_a_deletion_that_a_device_has_not_heard_of_when_it_compares_one_way(begin):
    history = begin(versions=('1.1', None, None))
    # the server counts one session more than the device, which was put off at its end
    history.sync('a', [], 'sync', [(4, 'put off'), (3, 'request lost')])
    history.sync('b', [('b', ('over', 0, 0))], 'sync', [])
    history.sync('a', [], 'pull', [])
    assert sorted(settled(history)) == ['todo', '\u00e9.txt']


def test_notes_that_are_swapped_after_the_end_of_a_session_was_lost(begin):
    """What a device says again that it has, it has: it was not put back to a time before."""
    history = begin(used=False)
    history.sync('b', [('s', ('add', 'todo', False))], 'sync', [])
    history.sync('b', [('s', ('add', 'sub/deep/x', False))], 'sync', [(3, 'kill', 'client', 1)])
    history.sync('b', [('b', ('swap', 0, 0))], 'sync', [])
    assert sorted(settled(history)) == ['sub/deep/x', 'todo']


def test_a_note_that_is_deleted_while_its_server_gives_it_another_name(begin):
    """Nobody has changed it: a deletion counts."""
    history = begin(size=2000)
    edits = [('a', ('swap', 0, 0)), ('c', ('swap', 0, 4)), ('c', ('add', 'größe', True))]
    lost = [(1, 'request lost')] * 3
    history.sync_together(edits, [0], ['a', 'c', 'b'], 2, ([], lost, []))
    history.sync('a', [], 'sync', [])
    removal = [(1, 'edit', 'client', ('delete', 1))]
    history.sync_together([], [], ['a', 'c', 'b'], 3, ([], removal, []))
    settled(history)


def test_a_new_name_for_what_came_in_a_session_that_broke_off(history):
    """The server does not know that it came; but who has the text has its version."""
    history.sync('b', [('s', ('rewrite', 2, True))], 'sync', [(3, 'down')])
    history.sync('b', [('b', ('rename', 2, 'Sub/todo', False))], 'sync', [])
    assert len(settled(history)) == 3


def test_an_edit_after_the_last_answer_of_a_session_was_lost(history):
    """The device was not put back to a time before that: its edit is one of what both have."""
    killed = [(3, 'kill', 'client', 3)]
    history.sync('b', [('b', ('swap', 0, 1))], 'sync', killed)
    history.sync('b', [('b', ('rewrite', 0, False))], 'sync', [])
    assert len(settled(history)) == 3


def test_a_text_that_got_two_names_is_there_once(history):
    history.sync('a', [('a', ('rename', 0, 'list.txt', False))], 'sync', [])
    history.sync('b', [('b', ('rename', 0, 'x/y', False))], 'sync', [])
    assert sorted(settled(history)) == ['todo', 'x/y', '\u00e9.txt']


def test_notes_that_cannot_be_shown_while_everything_is_compared(history):
    """The server sends them as new ones, and they are not."""
    own = [('c', ('add', 'list.txt', False)), ('c', ('add', 'x', False))]
    history.sync('c', own, 'sync', [])
    history.sync('c', [], 'full', [(1, 'edit', 'client', ('swap', 0, 2))])
    assert len(settled(history)) == 5


def test_a_note_of_another_name_that_cannot_be_shown_while_everything_is_compared(begin):
    """What the server sends as a new one is the version of it that it is known to have."""
    history = begin(used=False)
    own = [('c', ('add', 'list.txt', False)), ('c', ('add', 'x', False))]
    history.sync('c', own, 'sync', [])
    named = [('c', ('rename', 1, 'y', False))]
    history.sync('c', named, 'full', [(1, 'edit', 'client', ('swap', 0, 0))])
    assert len(settled(history)) == 2
