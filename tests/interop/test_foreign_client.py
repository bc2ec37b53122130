"""SyncEvolution synchronises with our server."""

from __future__ import annotations

import itertools

import pytest

from tests.e2e.harness import COUNTS
from tests.interop.meeting import ENCODINGS, ODD, sessions, text
from tests.interop.syncevo import assert_equal, notes_in

pytestmark = pytest.mark.interop

LOGINS = {'none': [], 'basic': [], 'md5': ['--auth', 'md5-only']}


def serve(meeting, *options):
    return meeting.server('s', '--json', *options)


def told(server, count):
    """Return the counts that are not zero in the *count*-th session of *server*, and its mode."""
    session = sessions(server, count)[count - 1]
    assert session['error'] is None, session
    stats = session['stats']['notes']
    assert stats['problems'] == []
    return {name: stats[name] for name in COUNTS if stats[name]}, stats['mode']


def in_step(client, server, count):
    """Assert that directories are equal, and that the *count*-th session has nothing to do."""
    assert_equal(client.notes, server.path)
    outcome = client.sync()
    assert outcome.moved == {}
    assert outcome.mode == 'two-way'
    assert told(server, count) == ({}, 'two_way')
    return assert_equal(client.notes, server.path)


# --- every version, encoding, and way to log in ---------------------------------------------------


@pytest.mark.parametrize('login', LOGINS)
@ENCODINGS
@pytest.mark.parametrize('version', ['1.0', '1.1', '1.2'])
def test_changes_of_both_sides_travel(meeting, version, wbxml, login):
    credentials = {}
    options = []
    if login != 'none':
        options = [*meeting.login('me'), *LOGINS[login]]
        if login == 'md5' and version == '1.0':
            options[-1] = 'md5'  # what is stored does not serve for the digests of 1.0
        credentials = {'username': 'me', 'password': 'secret of me'}
    if version == '1.0' and login == 'md5':  # no server of ours can check the digests of 1.0
        options[-1] = 'md5'
    for side, number in itertools.product('cs', range(3)):
        meeting.write(side, f'{side}{number}.txt', f'{side} {number}\nbody <&> ä\n')
    server = serve(meeting, *options)
    client = meeting.foreign_client('c', server, version=version, wbxml=wbxml, **credentials)

    first = client.sync()
    assert first.moved == {'local-added': 3, 'remote-added': 3}
    assert told(server, 1) == ({'hereAdd': 3, 'peerAdd': 3}, 'slow_sync')
    assert in_step(client, server, 2).total() == 6

    client.write('new.txt', 'new of c\nbody')
    client.write('c1.txt', 'c 1\nchanged by c')
    client.holding('c 2').unlink()
    meeting.write('s', 'new.txt', 'new of s\nbody')
    meeting.write('s', 's1.txt', 's 1\nchanged by s')
    (server.path / 's2.txt').unlink()
    assert client.sync().moved == {
        'local-added': 1,
        'local-updated': 1,
        'local-removed': 1,
        'remote-added': 1,
        'remote-updated': 1,
        'remote-removed': 1,
    }
    moved, mode = told(server, 3)
    assert mode == 'two_way'
    assert moved == {
        'hereAdd': 1, 'hereMod': 1, 'hereDel': 1, 'peerAdd': 1, 'peerMod': 1, 'peerDel': 1
    }  # fmt: skip
    notes = in_step(client, server, 4)
    assert notes.total() == 6
    assert {
        b'c 1\nchanged by c',
        b's 1\nchanged by s',
        b'new of c\nbody',
        b'new of s\nbody',
    } <= set(notes)


@pytest.mark.parametrize('first_try', ['basic', 'md5'])
def test_a_wrong_password_opens_nothing(meeting, first_try):
    meeting.write('s', 's.txt', 'of s\n')
    meeting.write('c', 'c.txt', 'of c\n')
    server = serve(meeting, *meeting.login('me'))
    client = meeting.foreign_client(
        'c', server, username='me', password='wrong', clientAuthType=first_try
    )
    assert client.sync(code=1).status == 401
    assert notes_in(server.path).total() == notes_in(client.notes).total() == 1


def test_no_password_opens_nothing(meeting):
    meeting.write('s', 's.txt', 'of s\n')
    server = serve(meeting, *meeting.login('me'))
    client = meeting.foreign_client('c', server)
    assert client.sync(code=1).status in (401, 407)
    assert notes_in(client.notes).total() == 0


# --- modes ----------------------------------------------------------------------------------------


@ENCODINGS
def test_each_mode(meeting, wbxml):
    """Before each session each side has one new note; what becomes of them is the mode."""
    for number in range(4):
        meeting.write('s', f's{number}.txt', f's {number}\nbody\n')
    server = serve(meeting)
    client = meeting.foreign_client('c', server, wbxml=wbxml)
    client.sync()
    count = itertools.count(2)

    def session(mode, title):
        client.write(f'{title}-c.txt', f'{title} of c\nbody')
        meeting.write('s', f'{title}-s.txt', f'{title} of s\nbody\n')
        outcome = client.sync(mode)
        return outcome.mode, told(server, next(count))[1]

    def has(title):
        """Return where the two notes of *title* are: of c at s, of s at c."""
        of_c, of_s = f'{title} of c\nbody'.encode(), f'{title} of s\nbody'.encode()
        here, there = notes_in(client.notes), notes_in(server.path)
        return here[of_c], here[of_s], there[of_c], there[of_s]

    assert session('two-way', 'both') == ('two-way', 'two_way')
    assert has('both') == (1, 1, 1, 1)
    assert session('one-way-from-local', 'up') == ('one-way-from-local', 'one_way_from_client')
    assert has('up') == (1, 0, 1, 1)
    assert session('two-way', 'after up') == ('two-way', 'two_way')
    assert has('up') == (1, 1, 1, 1)
    # SyncEvolution asks for two-way (200) and says nothing
    assert session('one-way-from-remote', 'down') == ('one-way-from-remote', 'two_way')
    assert has('down') == (1, 1, 0, 1)
    assert session('slow', 'all') == ('slow', 'slow_sync')
    assert has('down') == has('all') == (1, 1, 1, 1)
    assert session('refresh-from-local', 'over') == ('refresh-from-local', 'refresh_from_client')
    assert has('over') == (1, 0, 1, 0)
    # SyncEvolution removes all it has and asks for a slow synchronisation (201) ...
    assert session('refresh-from-remote', 'back')[1] == 'slow_sync'
    assert has('back') == (0, 1, 0, 1)
    # ... unless it is told to use the real one (205)
    client.change(enableRefreshSync=1)
    assert session('refresh-from-remote', 'real') == ('refresh-from-remote', 'refresh_from_server')
    assert has('real') == (0, 1, 0, 1)
    in_step(client, server, next(count))


@pytest.mark.parametrize(
    ('mode', 'of_c', 'of_s'),
    [
        ('slow', 2, 2),
        ('one-way-from-local', 1, 1),  # the first time, SyncEvolution makes a refresh of it (203)
        ('refresh-from-local', 1, 1),
        ('refresh-from-remote', 1, 1),
    ],
)
def test_the_first_session_may_be_of_any_mode(meeting, mode, of_c, of_s):
    meeting.write('s', 's.txt', 'of s\nbody\n')
    meeting.write('c', 'c.txt', 'of c\nbody\n')
    server = serve(meeting)
    client = meeting.foreign_client('c', server, enableRefreshSync=1)
    client.sync(mode)
    assert notes_in(client.notes).total() == of_c
    assert notes_in(server.path).total() == of_s
    client.sync()
    assert_equal(client.notes, server.path)
    client.sync()
    in_step(client, server, 4)


@ENCODINGS
def test_a_slow_synchronisation_of_equal_notes_changes_nothing(meeting, wbxml):
    for number in range(10):
        meeting.write('s', f's{number}.txt', f's {number}\nbody\n')
        meeting.write('c', f'c{number}.txt', f'c {number}\nbody\n')
    server = serve(meeting)
    client = meeting.foreign_client('c', server, wbxml=wbxml)
    client.sync()
    before = assert_equal(client.notes, server.path)
    assert client.sync('slow').mode == 'slow'
    assert assert_equal(client.notes, server.path) == before
    in_step(client, server, 3)


@ENCODINGS
def test_two_notes_of_equal_text_stay_two(meeting, wbxml):
    for name in ('one', 'two'):
        meeting.write('s', f'{name}.txt', 'the same\nin both\n')
    server = serve(meeting)
    client = meeting.foreign_client('c', server, wbxml=wbxml)
    client.sync()
    client.sync('slow')
    assert assert_equal(client.notes, server.path) == {b'the same\nin both': 2}
    in_step(client, server, 3)


def test_a_device_that_has_lost_its_memory_doubles_nothing(meeting):
    for number in range(5):
        meeting.write('s', f's{number}.txt', f's {number}\nbody\n')
        meeting.write('c', f'c{number}.txt', f'c {number}\nbody\n')
    server = serve(meeting)
    meeting.foreign_client('c', server).sync()
    before = notes_in(server.path)
    again = meeting.foreign_client('c', server, root=meeting.root / '.syncevo-again')
    again.sync()
    assert assert_equal(again.notes, server.path) == before
    in_step(again, server, 3)


# --- much and large -------------------------------------------------------------------------------


@ENCODINGS
def test_500_notes_in_many_messages(meeting, wbxml):
    for number in range(250):
        body = f'body of {number}\n' * 10
        meeting.write('s', f's{number}.txt', f's {number}\n{body}')
        meeting.write('c', f'c{number}.txt', f'c {number}\n{body}')
    server = serve(meeting)
    client = meeting.foreign_client('c', server, wbxml=wbxml, maxMsgSize=20000)
    assert client.sync().moved == {'local-added': 250, 'remote-added': 250}
    in_step(client, server, 2)

    for number in range(100):
        client.write(f'c{number}.txt', f'c {number}\nchanged\n')
        meeting.write('s', f's{number}.txt', f's {number}\nchanged\n')
    for number in range(100, 150):
        (client.notes / f'c{number}.txt').unlink()
        (server.path / f's{number}.txt').unlink()
    client.sync()
    moved, _ = told(server, 3)
    assert moved == {'hereMod': 100, 'hereDel': 50, 'peerMod': 100, 'peerDel': 50}
    assert in_step(client, server, 4).total() == 400


@ENCODINGS
@pytest.mark.parametrize('size', [100_000, 5_000_000], ids=['100KB', '5MB'])
def test_large_notes(meeting, size, wbxml):
    meeting.write('s', 's.txt', text(size, 'large of s'))
    meeting.write('s', 'small.txt', 'small of s\n')
    meeting.write('c', 'c.txt', text(size, 'large of c'))
    meeting.write('c', 'small.txt', 'small of c\n')
    server = serve(meeting)
    limit = 10240 if size < 1_000_000 else 150_000
    client = meeting.foreign_client('c', server, wbxml=wbxml, maxMsgSize=limit)
    client.sync()
    in_step(client, server, 2)
    client.write('c.txt', text(size, 'large of c'))
    meeting.write('s', 's.txt', text(size + 1000, 'large of s'))
    client.sync()
    in_step(client, server, 4)


def test_a_note_larger_than_the_client_takes_stays_with_us(meeting):
    meeting.write('s', 'large.txt', text(60_000, 'large of s'))
    meeting.write('s', 'small.txt', 'small of s\n')
    meeting.write('c', 'c.txt', 'of c\n')
    server = serve(meeting)
    client = meeting.foreign_client('c', server, maxObjSize=20_000, maxMsgSize=10_240)
    client.sync()
    assert {path.read_bytes()[:5] for path in client.notes.iterdir()} == {b'small', b'of c\n'}
    assert notes_in(server.path).total() == 3
    client.write('another.txt', 'another of c\n')
    client.sync()
    assert notes_in(server.path).total() == 4


# --- contents -------------------------------------------------------------------------------------


@ENCODINGS
def test_odd_texts_arrive_as_they_are(meeting, wbxml):
    for name, body in ODD.items():
        meeting.write('c', f'c {name}.txt', f'c {body}')
        meeting.write('s', f's {name}.txt', f's {body}')
    server = serve(meeting)
    client = meeting.foreign_client('c', server, wbxml=wbxml)
    client.sync()
    assert notes_in(server.path).total() == 2 * len(ODD)
    in_step(client, server, 2)


# --- conflicts ------------------------------------------------------------------------------------


@ENCODINGS
def test_both_versions_of_a_conflict_are_kept(meeting, wbxml):
    meeting.write('s', 'note.txt', 'note\nas it was\n')
    server = serve(meeting)
    client = meeting.foreign_client('c', server, wbxml=wbxml)
    client.sync()
    client.write(client.holding('note').name, 'note of c\nchanged by c\n')
    meeting.write('s', 'note.txt', 'note of s\nchanged by s\n')
    client.sync()
    client.sync()
    notes = assert_equal(client.notes, server.path)
    assert set(notes) == {b'note of c\nchanged by c', b'note of s\nchanged by s'}
    in_step(client, server, 4)


def test_edits_of_different_lines_are_merged(meeting):
    meeting.write('s', 'note.txt', 'note\n1\n2\n3\n4\n5\n6\n7\n')
    server = serve(meeting)
    client = meeting.foreign_client('c', server)
    client.sync()
    client.write(client.holding('note').name, 'note\none\n2\n3\n4\n5\n6\n7\n')
    meeting.write('s', 'note.txt', 'note\n1\n2\n3\n4\n5\n6\nseven\n')
    client.sync()
    client.sync()
    notes = assert_equal(client.notes, server.path)
    assert set(notes) == {b'note\none\n2\n3\n4\n5\n6\nseven'}
    in_step(client, server, 4)


@ENCODINGS
@pytest.mark.parametrize('deleting', ['client', 'server'])
def test_an_edit_wins_over_a_deletion(meeting, deleting, wbxml):
    meeting.write('s', 'note.txt', 'note\nas it was\n')
    meeting.write('s', 'other.txt', 'other\n')
    server = serve(meeting)
    client = meeting.foreign_client('c', server, wbxml=wbxml)
    client.sync()
    if deleting == 'client':
        client.holding('note').unlink()
        meeting.write('s', 'note.txt', 'note\nedited\n')
    else:
        (server.path / 'note.txt').unlink()
        client.write(client.holding('note').name, 'note\nedited\n')
    client.sync()
    client.sync()
    assert set(assert_equal(client.notes, server.path)) == {b'note\nedited', b'other'}
    in_step(client, server, 4)


def test_a_note_deleted_on_both_sides_is_nobody_s_concern(meeting):
    meeting.write('s', 'note.txt', 'note\n')
    meeting.write('s', 'other.txt', 'other\n')
    server = serve(meeting)
    client = meeting.foreign_client('c', server)
    client.sync()
    client.holding('note').unlink()
    (server.path / 'note.txt').unlink()
    client.sync()
    assert set(in_step(client, server, 3)) == {b'other'}


# --- several devices ------------------------------------------------------------------------------


@ENCODINGS
def test_two_of_them_and_one_of_ours_keep_in_step(meeting, wbxml):
    meeting.write('one', '1.txt', 'of one\nbody\n')
    meeting.write('two', '1.txt', 'of two\nbody\n')
    meeting.write('ours', 'ours.txt', 'of ours\nbody\n')
    meeting.write('s', 's.txt', 'of s\nbody\n')
    server = serve(meeting)
    one = meeting.foreign_client('one', server, wbxml=wbxml)
    two = meeting.foreign_client('two', server, wbxml=wbxml, version='1.1')
    directories = one.notes, two.notes, meeting.path('ours'), server.path

    def round_trip():
        one.sync()
        two.sync()
        meeting.sync('ours', server=server)
        one.sync()
        two.sync()
        return assert_equal(*directories)

    assert round_trip().total() == 4
    one.write(one.holding('of two').name, 'of two\nchanged by one\n')
    two.holding('of s').unlink()
    meeting.write('ours', 'ours.txt', 'of ours\nchanged at home\n')
    assert set(round_trip()) == {
        b'of one\nbody',
        b'of two\nchanged by one',
        b'of ours\nchanged at home',
    }
    for client in (one, two):
        assert client.sync().moved == {}
    assert meeting.sync('ours').moved == {}
