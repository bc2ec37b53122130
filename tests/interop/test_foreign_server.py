"""We synchronise with SyncEvolution's server."""

from __future__ import annotations

import itertools

import pytest

from tests.interop.meeting import ENCODINGS, ODD, Ours, text
from tests.interop.syncevo import assert_equal, notes_in

pytestmark = pytest.mark.interop


def in_step(ours, server, count, way=None):
    """Assert that directories are equal, and that the *count*-th session has nothing to do."""
    assert_equal(ours.notes, server.notes)
    result = ours.sync(via=way)
    assert result.moved == {}
    assert result.stats['mode'] == 'two_way'
    session = server.sessions(count)[count - 1]
    assert (session.status, session.mode, session.moved) == (200, 'two-way', {})
    return assert_equal(ours.notes, server.notes)


# --- encodings, and ways to log in ----------------------------------------------------------------


@pytest.mark.parametrize('login', [False, True], ids=['no login', 'login'])
@ENCODINGS
@pytest.mark.parametrize('version', ['1.0', '1.1', '1.2'])
def test_changes_of_both_sides_travel(meeting, version, wbxml, login):
    for side, number in itertools.product('cs', range(3)):
        meeting.write(side, f'{side}{number}.txt', f'{side} {number}\nbody <&> ä\n')
    credentials = {'username': 'me', 'password': 'secret of me'} if login else {}
    server = meeting.foreign_server('s', 'ours-c', **credentials)
    ours = Ours(meeting, server, wbxml=wbxml, login=login)
    way = meeting.gate(server, version)

    result = ours.sync(via=way)
    assert result.moved == {'hereAdd': 3, 'peerAdd': 3}
    assert result.stats['mode'] == 'slow_sync'
    session = server.sessions(1)[0]
    assert (session.status, session.moved) == (200, {'local-added': 3, 'remote-added': 3})
    assert in_step(ours, server, 2, way).total() == 6

    ours.write('new.txt', 'new of c\nbody\n')
    ours.write('c1.txt', 'c 1\nchanged by c\n')
    ours.holding('c 2').unlink()
    server.write('new.txt', 'new of s\nbody\n')
    server.write('s1.txt', 's 1\nchanged by s\n')
    server.holding('s 2').unlink()
    assert ours.sync(via=way).moved == {
        'hereAdd': 1, 'hereMod': 1, 'hereDel': 1, 'peerAdd': 1, 'peerMod': 1, 'peerDel': 1
    }  # fmt: skip
    session = server.sessions(3)[2]
    assert session.status == 200
    assert session.moved == {
        'local-added': 1,
        'local-updated': 1,
        'local-removed': 1,
        'remote-added': 1,
        'remote-updated': 1,
        'remote-removed': 1,
    }
    notes = in_step(ours, server, 4, way)
    assert notes.total() == 6
    assert {
        b'c 1\nchanged by c',
        b's 1\nchanged by s',
        b'new of c\nbody',
        b'new of s\nbody',
    } <= set(notes)
    assert way.refused == {'1.0': ['1.2', '1.1'], '1.1': ['1.2'], '1.2': []}[version]


@ENCODINGS
def test_where_others_can_listen_the_login_is_a_digest(meeting, wbxml):
    """By name the server is another machine, which only the proxy on the way can find."""
    meeting.write('s', 's.txt', 'of s\n')
    server = meeting.foreign_server('s', 'ours-c', username='me', password='secret of me')
    ours = Ours(meeting, server, wbxml=wbxml, login=True)
    ours.first[ours.first.index('--remote') + 1] = server.url.replace(server.host, 'server.example')
    way = meeting.proxy(server)
    way.bodies = []
    for _ in range(3):
        ours.sync(via=way)
        said = [request for request, _ in way.bodies]
        assert b'syncml:auth-md5' in said[0]
        assert not any(b'syncml:auth-basic' in request for request in said)
        way.bodies.clear()
    assert assert_equal(ours.notes, server.notes).total() == 1


def test_a_wrong_password_is_told(meeting):
    meeting.write('s', 's.txt', 'of s\n')
    server = meeting.foreign_server('s', 'ours-c', username='me', password='another')
    ours = Ours(meeting, server, login=True)
    assert ours.sync(code=7).data[-1]['exitCode'] == 7
    assert notes_in(ours.notes).total() == 0


def test_that_a_password_is_wanted_is_told(meeting):
    meeting.write('s', 's.txt', 'of s\n')
    server = meeting.foreign_server('s', 'ours-c', username='me', password='another')
    ours = Ours(meeting, server)
    assert ours.sync(code=7).data[-1]['exitCode'] == 7
    assert notes_in(ours.notes).total() == 0


def test_an_unknown_device_is_told_one_line(meeting):
    server = meeting.foreign_server('s', 'somebody-else')
    ours = Ours(meeting, server)
    result = ours.sync(code=6)
    assert '500' in result.data[-1]['error']


def test_an_unknown_datastore_is_told(meeting):
    meeting.write('c', 'c.txt', 'of c\n')
    server = meeting.foreign_server('s', 'ours-c')
    ours = Ours(meeting, server)
    result = ours.sync('--remote-uri', 'nowhere', code=None)
    assert result.code not in (0, 1)
    assert notes_in(server.notes).total() == 0


# --- modes ----------------------------------------------------------------------------------------


@ENCODINGS
def test_each_mode(meeting, wbxml):
    """Before each session each side has one new note; what becomes of them is the mode."""
    for number in range(4):
        meeting.write('s', f's{number}.txt', f's {number}\nbody\n')
    server = meeting.foreign_server('s', 'ours-c')
    ours = Ours(meeting, server, wbxml=wbxml)
    ours.sync()
    count = itertools.count(2)

    def session(mode, title):
        ours.write(f'{title}-c.txt', f'{title} of c\nbody\n')
        server.write(f'{title}-s.txt', f'{title} of s\nbody\n')
        result = ours.sync('--mode', mode, '--yes')
        theirs = server.sessions(number := next(count))[number - 1]
        assert theirs.status == 200
        return result.stats['mode'], theirs.mode

    def has(title):
        """Return where the two notes of *title* are: of c at s, of s at c."""
        of_c, of_s = f'{title} of c\nbody'.encode(), f'{title} of s\nbody'.encode()
        here, there = notes_in(ours.notes), notes_in(server.notes)
        return here[of_c], here[of_s], there[of_c], there[of_s]

    assert session('sync', 'both') == ('two_way', 'two-way')
    assert has('both') == (1, 1, 1, 1)
    assert session('push', 'up') == ('one_way_from_client', 'one-way-from-remote')
    assert has('up') == (1, 0, 1, 1)
    assert session('sync', 'after up') == ('two_way', 'two-way')
    assert has('up') == (1, 1, 1, 1)
    assert session('pull', 'down') == ('one_way_from_server', 'one-way-from-local')
    assert has('down') == (1, 1, 0, 1)
    assert session('sync', 'after down') == ('two_way', 'two-way')
    assert has('down') == (1, 1, 1, 1)
    assert session('full', 'all') == ('slow_sync', 'slow')
    assert has('all') == (1, 1, 1, 1)
    assert session('push-over', 'over') == ('refresh_from_client', 'refresh-from-remote')
    assert has('over') == (1, 0, 1, 0)
    assert session('pull-over', 'back') == ('refresh_from_server', 'refresh-from-local')
    assert has('back') == (0, 1, 0, 1)
    in_step(ours, server, next(count))


@pytest.mark.parametrize(
    ('mode', 'of_c', 'of_s'),
    [('full', 2, 2), ('push-over', 1, 1), ('pull-over', 1, 1)],
)
def test_the_first_session_may_be_of_any_mode(meeting, mode, of_c, of_s):
    meeting.write('s', 's.txt', 'of s\nbody\n')
    meeting.write('c', 'c.txt', 'of c\nbody\n')
    server = meeting.foreign_server('s', 'ours-c')
    ours = Ours(meeting, server)
    ours.sync('--mode', mode, '--yes')
    assert notes_in(ours.notes).total() == of_c
    assert notes_in(server.notes).total() == of_s
    ours.sync()
    assert_equal(ours.notes, server.notes)
    in_step(ours, server, 3)


@pytest.mark.parametrize('mode', ['push', 'pull'])
def test_a_first_session_in_one_direction_is_refused_and_loses_nothing(meeting, mode):
    """SyncEvolution makes a refresh of it, which would delete notes; that is not what was said."""
    meeting.write('s', 's.txt', 'of s\nbody\n')
    meeting.write('c', 'c.txt', 'of c\nbody\n')
    server = meeting.foreign_server('s', 'ours-c')
    ours = Ours(meeting, server)
    result = ours.sync('--mode', mode, code=4)
    assert any('synchronise both ways first' in line for line in result.stats['problems'])
    assert notes_in(ours.notes).total() == notes_in(server.notes).total() == 1
    ours.sync()
    assert assert_equal(ours.notes, server.notes).total() == 2
    ours.sync('--mode', mode)


def test_a_directory_that_has_lost_its_memory_doubles_nothing(meeting):
    for number in range(5):
        meeting.write('s', f's{number}.txt', f's {number}\nbody\n')
        meeting.write('c', f'c{number}.txt', f'c {number}\nbody\n')
    server = meeting.foreign_server('s', 'ours-c', 'ours-again')
    ours = Ours(meeting, server)
    ours.sync()
    before = notes_in(server.notes)
    for path in ours.notes.iterdir():
        if path.is_file():
            meeting.write('again', path.name, path.read_bytes())
    again = Ours(meeting, server, 'again')
    again.sync()
    assert assert_equal(again.notes, server.notes) == before
    in_step(again, server, 3)


# --- much and large -------------------------------------------------------------------------------


@ENCODINGS
def test_500_notes_in_many_messages(meeting, wbxml):
    for number in range(250):
        body = f'body of {number}\n' * 10
        meeting.write('s', f's{number}.txt', f's {number}\n{body}')
        meeting.write('c', f'c{number}.txt', f'c {number}\n{body}')
    server = meeting.foreign_server('s', 'ours-c', maxMsgSize=20000)
    ours = Ours(meeting, server, wbxml=wbxml)
    assert ours.sync().moved == {'hereAdd': 250, 'peerAdd': 250}
    in_step(ours, server, 2)

    for number in range(100):
        ours.write(f'c{number}.txt', f'c {number}\nchanged\n')
        server.write(f's{number}.txt', f's {number}\nchanged\n')
    for number in range(100, 150):
        (ours.notes / f'c{number}.txt').unlink()
        (server.notes / f's{number}.txt').unlink()
    assert ours.sync().moved == {'hereMod': 100, 'hereDel': 50, 'peerMod': 100, 'peerDel': 50}
    assert in_step(ours, server, 4).total() == 400


@ENCODINGS
@pytest.mark.parametrize('size', [100_000, 5_000_000], ids=['100KB', '5MB'])
def test_large_notes(meeting, size, wbxml):
    meeting.write('s', 's.txt', text(size, 'large of s'))
    meeting.write('s', 'small.txt', 'small of s\n')
    meeting.write('c', 'c.txt', text(size, 'large of c'))
    meeting.write('c', 'small.txt', 'small of c\n')
    limit = 10240 if size < 1_000_000 else 150_000
    server = meeting.foreign_server('s', 'ours-c', maxMsgSize=limit)
    ours = Ours(meeting, server, wbxml=wbxml)
    ours.sync()
    in_step(ours, server, 2)
    ours.write('c.txt', text(size, 'large of c'))
    server.write('s.txt', text(size + 1000, 'large of s'))
    ours.sync()
    in_step(ours, server, 4)


def test_a_note_larger_than_the_server_takes_stays_with_us(meeting):
    meeting.write('c', 'large.txt', text(60_000, 'large of c'))
    meeting.write('c', 'small.txt', 'small of c\n')
    meeting.write('s', 's.txt', 'of s\n')
    server = meeting.foreign_server('s', 'ours-c', maxObjSize=20_000, maxMsgSize=10_240)
    ours = Ours(meeting, server)
    result = ours.sync(code=4)
    assert any('large.txt' in problem for problem in result.stats['problems'])
    assert {path.read_bytes()[:5] for path in server.notes.iterdir()} == {b'small', b'of s\n'}
    assert notes_in(ours.notes).total() == 3
    ours.write('another.txt', 'another of c\n')
    ours.sync(code=4)
    assert notes_in(server.notes).total() == 3


# --- contents -------------------------------------------------------------------------------------


@ENCODINGS
def test_odd_texts_arrive_as_they_are(meeting, wbxml):
    for name, body in ODD.items():
        meeting.write('c', f'c {name}.txt', f'c {body}')
        meeting.write('s', f's {name}.txt', f's {body}')
    server = meeting.foreign_server('s', 'ours-c')
    ours = Ours(meeting, server, wbxml=wbxml)
    ours.sync()
    assert notes_in(ours.notes).total() == 2 * len(ODD)
    in_step(ours, server, 2)


# --- conflicts ------------------------------------------------------------------------------------


@ENCODINGS
def test_both_versions_of_a_conflict_are_kept(meeting, wbxml):
    """It is the server that settles it, and SyncEvolution keeps both."""
    meeting.write('s', 'note.txt', 'note\nas it was\n')
    server = meeting.foreign_server('s', 'ours-c')
    ours = Ours(meeting, server, wbxml=wbxml)
    ours.sync()
    ours.write(ours.holding('note').name, 'note of c\nchanged by c\n')
    server.write('note.txt', 'note of s\nchanged by s\n')
    ours.sync()
    ours.sync()
    notes = assert_equal(ours.notes, server.notes)
    assert set(notes) == {b'note of c\nchanged by c', b'note of s\nchanged by s'}
    in_step(ours, server, 4)


@ENCODINGS
@pytest.mark.parametrize('deleting', ['client', 'server'])
def test_an_edit_wins_over_a_deletion(meeting, deleting, wbxml):
    meeting.write('s', 'note.txt', 'note\nas it was\n')
    meeting.write('s', 'other.txt', 'other\n')
    server = meeting.foreign_server('s', 'ours-c')
    ours = Ours(meeting, server, wbxml=wbxml)
    ours.sync()
    if deleting == 'client':
        ours.holding('note').unlink()
        server.write('note.txt', 'note\nedited\n')
    else:
        server.holding('note').unlink()
        ours.write(ours.holding('note').name, 'note\nedited\n')
    ours.sync()
    ours.sync()
    assert set(assert_equal(ours.notes, server.notes)) == {b'note\nedited', b'other'}
    in_step(ours, server, 4)


def test_a_note_deleted_on_both_sides_is_nobody_s_concern(meeting):
    meeting.write('s', 'note.txt', 'note\n')
    meeting.write('s', 'other.txt', 'other\n')
    server = meeting.foreign_server('s', 'ours-c')
    ours = Ours(meeting, server)
    ours.sync()
    ours.holding('note').unlink()
    server.holding('note').unlink()
    ours.sync()
    assert set(in_step(ours, server, 3)) == {b'other'}


# --- several devices ------------------------------------------------------------------------------


@ENCODINGS
def test_two_of_ours_keep_in_step(meeting, wbxml):
    meeting.write('one', '1.txt', 'of one\nbody\n')
    meeting.write('two', '1.txt', 'of two\nbody\n')
    meeting.write('s', 's.txt', 'of s\nbody\n')
    server = meeting.foreign_server('s', 'ours-one', 'ours-two')
    one = Ours(meeting, server, 'one', wbxml=wbxml)
    two = Ours(meeting, server, 'two')

    def round_trip():
        one.sync()
        two.sync()
        one.sync()
        return assert_equal(one.notes, two.notes, server.notes)

    assert round_trip().total() == 3
    one.write(one.holding('of two').name, 'of two\nchanged by one\n')
    two.holding('of s').unlink()
    two.write('new.txt', 'new of two\n')
    assert set(round_trip()) == {b'of one\nbody', b'of two\nchanged by one', b'new of two'}
    assert one.sync().moved == two.sync().moved == {}
