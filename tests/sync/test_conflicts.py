"""Both sides changed the same: merging, every policy, deletions against changes, and old news."""

from __future__ import annotations

import json

import pytest

from pysyncml.constants import Policy, SyncType
from pysyncml.errors import TransportError
from pysyncml.protocol.messages import Add, Delete, Replace, Status
from tests.sync.support import (
    Bookmark,
    BookmarkAgent,
    Wire,
    bookmark,
    contents,
    device,
    edit,
    find,
    urls,
)


def in_step(policy=Policy.KEEP_BOTH, *, agent=BookmarkAgent):
    server = device('S', 'x', agent=agent(), policy=policy)
    client = device('C', agent=agent(), policy=policy)
    client.sync(server)
    return server, client, find(server, 'x'), find(client, 'x')


def item_codes(wire, by='server'):
    kinds = ('Add', 'Replace', 'Delete')
    return [s.code for s in wire.sent(Status, by=by) if s.cmd in kinds]


def settle(client, server):
    """Synchronise until nothing happens any more; it must not take long."""
    for _ in range(3):
        stats = client.sync(server)['items']
        if not (stats.here or stats.peer):
            break
    assert (stats.here, stats.peer, stats.errors, stats.conflicts) == (0, 0, 0, 0)
    assert contents(client) == contents(server)


# --- edit against edit ----------------------------------------------------------------------------


@pytest.mark.parametrize('policy', Policy)
def test_different_fields_are_merged_under_every_policy(policy):
    server, client, theirs, ours = in_step(policy)
    edit(server, theirs, url='there')
    edit(client, ours, title='here')
    wire = Wire(server)
    stats = client.sync(server, transport=wire)['items']
    assert item_codes(wire) == [207]
    assert contents(client) == contents(server) == [('there', 'here')]
    assert set(server.agent.shelf) == {theirs}
    assert set(client.agent.shelf) == {ours}
    assert (stats.conflicts, stats.errors) == (0, 0)
    settle(client, server)


@pytest.mark.parametrize('policy', Policy)
def test_the_same_change_on_both_sides_is_no_conflict(policy):
    server, client, theirs, ours = in_step(policy)
    edit(server, theirs, title='same')
    edit(client, ours, title='same')
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert item_codes(wire) == [200]
    assert wire.sent(Replace, by='server') == []
    settle(client, server)
    assert contents(client) == [('x', 'same')]


EDIT_EDIT = [
    (Policy.CLIENT_WINS, 208, [('x', 'here')]),
    (Policy.SERVER_WINS, 419, [('x', 'there')]),
    (Policy.KEEP_BOTH, 209, [('x', 'here'), ('x', 'there')]),
    (Policy.NEWEST_WINS, 208, [('x', 'here')]),
]


@pytest.mark.parametrize(('policy', 'code', 'expected'), EDIT_EDIT)
def test_edit_against_edit(policy, code, expected):
    server, client, theirs, ours = in_step(policy)
    told = []
    server.adapter.onEnd = lambda peer, stats, how: told.append(stats['items'])
    edit(server, theirs, title='there')
    edit(client, ours, title='here')
    wire = Wire(server)
    stats = client.sync(server, transport=wire)['items']
    assert item_codes(wire) == [code]
    assert contents(client) == contents(server) == expected
    assert theirs in server.agent.shelf
    assert ours in client.agent.shelf
    assert (stats.conflicts, stats.errors) == (0, 0)
    assert (told[0].conflicts, told[0].merged, told[0].errors) == (0, 1, 0)
    assert len(told[0].conflictNames) == 1
    settle(client, server)
    assert contents(client) == expected


def test_edit_against_edit_stays_open_under_the_policy_error():
    server, client, theirs, ours = in_step(Policy.ERROR)
    edit(server, theirs, title='there')
    edit(client, ours, title='here')
    client.add(bookmark('other'))
    for _ in range(2):
        wire = Wire(server)
        stats = client.sync(server, transport=wire)['items']
        assert 409 in item_codes(wire)
        assert wire.sent(Replace, by='server') == []
        assert stats.conflicts == 1
        assert contents(client) == [('other', 'title of other'), ('x', 'here')]
        assert contents(server) == [('other', 'title of other'), ('x', 'there')]
    edit(client, ours, title='there')
    client.sync(server)
    settle(client, server)
    assert ('x', 'there') in contents(client)


def test_a_datastore_may_have_a_policy_of_its_own():
    server = device('S', 'x', policy=Policy.CLIENT_WINS, conflictPolicy=Policy.SERVER_WINS)
    client = device('C')
    client.sync(server)
    edit(server, find(server, 'x'), title='there')
    edit(client, find(client, 'x'), title='here')
    client.sync(server)
    assert contents(server) == contents(client) == [('x', 'here')]


def test_without_one_the_policy_of_the_device_holds():
    server = device('S', 'x', conflictPolicy=Policy.SERVER_WINS)
    client = device('C', conflictPolicy=Policy.CLIENT_WINS)
    client.sync(server)
    edit(server, find(server, 'x'), title='there')
    edit(client, find(client, 'x'), title='here')
    client.sync(server)
    assert contents(server) == contents(client) == [('x', 'there')]


class Dated(Bookmark):
    """A bookmark that says when it was changed."""

    modified = None

    def dump(self, stream, contentType=None, version=None):
        stream.write(json.dumps({**self.values(), 'modified': self.modified}).encode())

    @classmethod
    def load(cls, stream, contentType=None, version=None):
        values = json.load(stream)
        modified = values.pop('modified', None)
        item = cls(**values)
        item.modified = modified
        return item


class DatedAgent(BookmarkAgent):
    itemClass = Dated

    def modifiedTime(self, itemID):
        return getattr(self.shelf[itemID], 'modified', None)


@pytest.mark.parametrize(
    ('here', 'there', 'winner'),
    [(200.0, 100.0, 'here'), (100.0, 200.0, 'there'), (None, 200.0, 'here'), (100.0, None, 'here')],
)
def test_the_newest_wins(here, there, winner):
    server, client, theirs, ours = in_step(Policy.NEWEST_WINS, agent=DatedAgent)
    for dev, item_id, title, when in (
        (server, theirs, 'there', there),
        (client, ours, 'here', here),
    ):
        new = Dated(url='x', title=title)
        new.modified = when
        dev.replace(item_id, new)
    client.sync(server)
    assert contents(client) == contents(server) == [('x', winner)]
    settle(client, server)


class Watching(BookmarkAgent):
    """Notes what it is told about losers."""

    def __init__(self):
        super().__init__()
        self.losers = []

    def conflictItem(self, item, label):
        self.losers.append(('kept', item.title, label))
        return Bookmark(url=item.url, title=f'{item.title} ({label})')

    def discardItem(self, item, label):
        self.losers.append(('lost', item.title, label))


def test_the_agent_names_the_copy():
    server, client, theirs, ours = in_step(Policy.KEEP_BOTH, agent=Watching)
    edit(server, theirs, title='there')
    edit(client, ours, title='here')
    server.context.clock = lambda: 1_700_000_000.0
    client.sync(server)
    [(what, title, label)] = server.agent.losers
    assert (what, title) == ('kept', 'here')
    assert label.startswith('C 2023-11-1'), 'the name of the device and the day'
    assert contents(client) == contents(server) == [('x', f'here ({label})'), ('x', 'there')]
    assert client.agent.losers == []


def test_the_agent_hears_of_what_is_not_kept():
    server, client, theirs, ours = in_step(Policy.SERVER_WINS, agent=Watching)
    edit(server, theirs, title='there')
    edit(client, ours, title='here')
    client.sync(server)
    assert [(what, title) for what, title, _ in server.agent.losers] == [('lost', 'here')]
    edit(client, ours, title='here again')
    server.delete(theirs)
    client.sync(server)
    assert server.agent.losers[-1][:2] == ('lost', 'here again')
    assert contents(client) == contents(server) == []


def test_a_copy_is_made_once_even_if_the_answer_is_lost(monkeypatch):
    monkeypatch.setattr('pysyncml.conversation.RETRIES', ())
    server, client, theirs, ours = in_step(Policy.KEEP_BOTH)
    edit(server, theirs, title='there')
    edit(client, ours, title='here')
    for event in ('lost answer', 'lost answer'):
        with pytest.raises(TransportError):
            client.sync(server, transport=Wire(server, {2: event}))
    settle(client, server)
    assert contents(server) == [('x', 'here'), ('x', 'there')]


def test_without_a_merger_every_double_change_is_a_conflict():
    server, client, theirs, ours = in_step(Policy.KEEP_BOTH)
    server.agent.mfactory = None
    edit(server, theirs, url='there')
    edit(client, ours, title='here')
    client.sync(server)
    assert contents(client) == contents(server) == [('there', 'title of x'), ('x', 'here')]
    settle(client, server)


# --- edit against delete --------------------------------------------------------------------------

EDIT_DELETE = [
    (Policy.CLIENT_WINS, 208, [('x', 'here')]),
    (Policy.SERVER_WINS, 419, []),
    (Policy.KEEP_BOTH, 208, [('x', 'here')]),
    (Policy.NEWEST_WINS, 208, [('x', 'here')]),
]


@pytest.mark.parametrize(('policy', 'code', 'expected'), EDIT_DELETE)
def test_a_change_here_against_a_deletion_there(policy, code, expected):
    server, client, theirs, ours = in_step(policy)
    server.delete(theirs)
    edit(client, ours, title='here')
    wire = Wire(server)
    stats = client.sync(server, transport=wire)['items']
    assert item_codes(wire) == [code]
    assert contents(client) == contents(server) == expected
    assert stats.errors == 0
    settle(client, server)
    assert contents(client) == expected


DELETE_EDIT = [
    (Policy.CLIENT_WINS, 208, []),
    (Policy.SERVER_WINS, 419, [('x', 'there')]),
    (Policy.KEEP_BOTH, 419, [('x', 'there')]),
    (Policy.NEWEST_WINS, 419, [('x', 'there')]),
]


@pytest.mark.parametrize(('policy', 'code', 'expected'), DELETE_EDIT)
def test_a_deletion_here_against_a_change_there(policy, code, expected):
    server, client, theirs, ours = in_step(policy)
    edit(server, theirs, title='there')
    client.delete(ours)
    wire = Wire(server)
    stats = client.sync(server, transport=wire)['items']
    assert item_codes(wire) == [code]
    assert contents(client) == contents(server) == expected
    assert stats.errors == 0
    settle(client, server)
    assert contents(client) == expected


def test_a_deletion_against_a_change_stays_open_under_the_policy_error():
    for side in ('server', 'client'):
        server, client, theirs, ours = in_step(Policy.ERROR)
        if side == 'server':
            server.delete(theirs)
            edit(client, ours, title='changed')
        else:
            client.delete(ours)
            edit(server, theirs, title='changed')
        for _ in range(2):
            wire = Wire(server)
            stats = client.sync(server, transport=wire)['items']
            assert item_codes(wire) == [409]
            assert stats.conflicts == 1
            assert wire.sent(Delete, by='server') == wire.sent(Add, by='server') == []
        kept, empty = (client, server) if side == 'server' else (server, client)
        assert contents(kept) == [('x', 'changed')]
        assert contents(empty) == []


@pytest.mark.parametrize('policy', Policy)
def test_deleted_on_both_sides_is_no_conflict(policy):
    server, client, theirs, ours = in_step(policy)
    server.delete(theirs)
    client.delete(ours)
    wire = Wire(server)
    stats = client.sync(server, transport=wire)['items']
    assert item_codes(wire) == [200]
    assert (stats.conflicts, stats.errors) == (0, 0)
    settle(client, server)


# --- three devices --------------------------------------------------------------------------------


@pytest.mark.parametrize('policy', [Policy.KEEP_BOTH, Policy.CLIENT_WINS, Policy.SERVER_WINS])
def test_conflicts_between_two_clients_end_the_same_everywhere(policy):
    server = device('S', 'x', policy=policy)
    one, two = device('one'), device('two')
    for client in (one, two):
        client.sync(server)
    edit(one, find(one, 'x'), title='one')
    edit(two, find(two, 'x'), title='two')
    for client in (one, two, one, two):
        client.sync(server)
    expected = {
        Policy.KEEP_BOTH: [('x', 'one'), ('x', 'two')],
        Policy.CLIENT_WINS: [('x', 'two')],
        Policy.SERVER_WINS: [('x', 'one')],
    }[policy]
    assert contents(one) == contents(two) == contents(server) == expected


def test_a_merge_reaches_everybody():
    server, client, _theirs, ours = in_step()
    other = device('other')
    other.sync(server)
    edit(other, find(other, 'x'), url='from other')
    other.sync(server)
    edit(client, ours, title='from client')
    client.sync(server)
    other.sync(server)
    assert contents(client) == contents(other) == contents(server)
    assert contents(client) == [('from other', 'from client')]


# --- changes while a session runs -----------------------------------------------------------------


def test_what_the_user_changes_here_meanwhile_is_not_overwritten():
    server, client, theirs, ours = in_step()
    edit(server, theirs, url='there')
    wire = Wire(server, {2: lambda _: edit(client, ours, title='meanwhile')})
    stats = client.sync(server, transport=wire)['items']
    assert item_codes(wire, by='client') == [417]
    assert 'changed here meanwhile' in stats.problems[0]
    assert contents(client) == [('x', 'meanwhile')]
    client.sync(server)
    assert contents(client) == contents(server) == [('there', 'meanwhile')]
    settle(client, server)


def test_what_the_user_changes_here_meanwhile_is_not_deleted():
    server, client, theirs, ours = in_step()
    server.delete(theirs)
    wire = Wire(server, {2: lambda _: edit(client, ours, title='meanwhile')})
    client.sync(server, transport=wire)
    assert contents(client) == [('x', 'meanwhile')]
    client.sync(server)
    client.sync(server)
    assert contents(client) == contents(server) == [('x', 'meanwhile')]


def test_what_the_user_changes_there_meanwhile_goes_out_the_next_time():
    server, client, theirs, _ours = in_step()
    edit(server, theirs, title='first')
    wire = Wire(server, {3: lambda _: edit(server, theirs, title='second')})
    client.sync(server, transport=wire)
    assert contents(client) == [('x', 'first')]
    settle(client, server)
    assert contents(client) == [('x', 'second')]


def test_what_the_user_changes_again_after_it_was_sent_is_sent_again():
    server, client, _theirs, ours = in_step()
    edit(client, ours, title='first')
    wire = Wire(server, {2: lambda _: edit(client, ours, title='second')})
    client.sync(server, transport=wire)
    assert contents(server) == [('x', 'first')]
    settle(client, server)
    assert contents(server) == [('x', 'second')]


@pytest.mark.parametrize('number', [2, 3])
def test_what_the_user_deletes_meanwhile_stays_deleted(number):
    server, client, _theirs, ours = in_step()
    server.add(bookmark('new'))
    edit(client, ours, title='first')
    wire = Wire(server, {number: lambda _: client.delete(ours)})
    client.sync(server, transport=wire)
    assert urls(server) == ['new', 'x']
    settle(client, server)
    assert urls(server) == ['new']


# --- old news -------------------------------------------------------------------------------------


@pytest.mark.parametrize('policy', Policy)
def test_what_a_peer_is_known_to_have_is_no_change(policy):
    """In a slow sync everything is shown; only what differs from before is a change."""
    server, client, theirs, _ours = in_step(policy)
    edit(server, theirs, title='there')
    wire = Wire(server)
    stats = client.sync(server, SyncType.SLOW_SYNC, wire)['items']
    assert item_codes(wire) == [418]
    assert (stats.conflicts, stats.merged) == (0, 0)
    assert contents(client) == contents(server) == [('x', 'there')]


@pytest.mark.parametrize('policy', Policy)
def test_what_a_peer_is_known_to_have_does_not_undo_a_deletion(policy):
    server, client, theirs, _ours = in_step(policy)
    server.delete(theirs)
    client.sync(server, SyncType.SLOW_SYNC)
    assert contents(client) == contents(server) == []


def test_without_fingerprints_nothing_is_lost_either():
    class Blind(BookmarkAgent):
        def fingerprint(self, item):
            return None

    server, client, theirs, _ours = in_step(agent=Blind)
    server.add(bookmark('y'))
    client.sync(server)
    edit(server, theirs, title='there')
    edit(client, find(client, 'y'), title='here')
    client.sync(server, SyncType.SLOW_SYNC)
    settle(client, server)
    assert contents(client) == [('x', 'there'), ('y', 'here')]


def test_a_loser_shown_again_is_old_news():
    server, client, theirs, ours = in_step(Policy.SERVER_WINS, agent=Watching)
    edit(server, theirs, title='there')
    edit(client, ours, title='here')

    def refuse(*_):
        raise OSError(28, 'No space left on device')

    client.agent.replaceItem = refuse
    client.sync(server)
    assert contents(client) == [('x', 'here')]
    del client.agent.replaceItem
    client.sync(server, SyncType.SLOW_SYNC)
    assert len(server.agent.losers) == 1
    assert contents(client) == contents(server) == [('x', 'there')]


def test_a_change_taken_back_is_a_change_like_any_other():
    server, client, theirs, ours = in_step()
    edit(client, ours, title='other')
    client.sync(server)
    edit(client, ours, title='title of x')
    client.sync(server)
    assert contents(server) == [('x', 'title of x')]
    edit(server, theirs, title='other')
    client.sync(server)
    assert contents(client) == [('x', 'other')]


# --- too many deletions ---------------------------------------------------------------------------


def with_items(count):
    server, client = device('S', *(f'item{n:02}' for n in range(count))), device('C')
    client.sync(server)
    return server, client


def delete_some(dev, count):
    for n in range(count):
        dev.delete(find(dev, f'item{n:02}'))


@pytest.mark.parametrize('by', ['client', 'server'])
def test_unusually_many_deletions_are_asked_about(by):
    server, client = with_items(30)
    sender, receiver = (client, server) if by == 'client' else (server, client)
    asked = []
    receiver.adapter.mayDelete = lambda count, total: asked.append((count, total))
    delete_some(sender, 25)
    sender.add(bookmark('new'))
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert asked == [(count, 30) for count in range(16, 26)]
    left = [f'item{n:02}' for n in range(15, 30)]
    assert urls(receiver) == [*left, 'new'], 'up to the limit, and no further; the rest goes on'
    codes = item_codes(wire, by='server' if by == 'client' else 'client')
    assert sorted(codes) == [200] * 15 + [201] + [417] * 10
    receiver.adapter.mayDelete = lambda count, total: True
    client.sync(server)
    client.sync(server)
    assert urls(client) == urls(server) == ['item25', 'item26', 'item27', 'item28', 'item29', 'new']


def test_a_few_deletions_are_never_asked_about():
    for total, count in ((10, 10), (1, 1), (40, 20)):
        server, client = with_items(total)
        server.adapter.mayDelete = lambda count, total: pytest.fail('asked')
        delete_some(client, count)
        assert client.sync(server)['items'].errors == 0
        assert len(urls(server)) == total - count


def test_without_anybody_to_ask_all_deletions_are_carried_out():
    server, client = with_items(25)
    delete_some(client, 25)
    client.sync(server)
    assert urls(server) == []


def test_the_user_of_the_client_may_agree_for_the_server():
    server, client = with_items(25)
    server.adapter.mayDelete = lambda count, total: False
    delete_some(client, 25)
    client.sync(server)
    assert len(urls(server)) == 13
    client.adapter.allowDeletions = True
    client.sync(server)
    assert urls(server) == []


def test_deletions_are_counted_over_all_messages_of_a_session():
    server, client = device('S', maxMsgSize=3500), device('C')
    for n in range(30):
        server.add(bookmark(f'item{n:02}'))
    client.sync(server)
    server.adapter.mayDelete = lambda count, total: False
    delete_some(client, 30)
    wire = Wire(server)
    client.sync(server, transport=wire)
    assert len([m for m in wire.requests if any(c.name == 'Sync' for c in m.commands)]) > 2
    assert len(urls(server)) == 15
