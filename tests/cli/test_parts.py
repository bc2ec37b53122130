import argparse
import io
import json
import logging
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysyncml.cli.logs import LogFormatter
from pysyncml.cli.options import Address, as_json, parse, read_address, read_url
from pysyncml.cli.passwords import PasswordStore, ask, on_terminal, variable
from pysyncml.cli.passwords import given as password_given
from pysyncml.cli.progress import Progress, progress_for
from pysyncml.cli.report import IndentStream, printable, session_line, write_trouble
from pysyncml.constants import SyncType
from pysyncml.errors import UsageError
from pysyncml.stats import Stats
from pysyncml.util import adict

# --- addresses ----------------------------------------------------------------------------------


def test_addresses():
    assert read_address(8080) == Address(None, 8080)
    assert read_address('0') == Address(None, 0)
    assert read_address('example.com:1') == Address('example.com', 1)
    assert read_address('[::1]:80') == Address('::1', 80)


@pytest.mark.parametrize('text', ['', ':', 'x', '1:', ':1', '65536', '-1', '٣', 'a:b', '8 0'])
def test_what_is_no_address(text):
    with pytest.raises(ValueError, match='"'):
        read_address(text)


def test_urls():
    assert read_url(' HTTPS://Example.com/x ') == 'https://Example.com/x'
    for text in ('', 'x', 'ftp://x', 'http://', 'http:///'):
        with pytest.raises(argparse.ArgumentTypeError):
            read_url(text)


def test_what_was_said_is_told_from_defaults():
    parser = argparse.ArgumentParser()
    parser.add_argument('-v', action='count', default=0)
    parser.add_argument('-a', action='append')
    parser.add_argument('-n', default='x')
    parser.add_argument('-f', action='store_true')
    parser.set_defaults(stray=1, n='y')
    assert parse(parser, [])[1] == frozenset()
    options, said = parse(parser, ['-n', 'y', '-vv', '-a', '1'])
    assert said == {'n', 'v', 'a'}
    assert (options.n, options.v, options.a, options.f) == ('y', 2, ['1'], False)


def test_json_values():
    assert as_json({'a': (1, None)}) == {'a': [1, None]}
    with pytest.raises(UsageError, match=r'options\.persist\.save'):
        as_json({'a': object()})


# --- texts --------------------------------------------------------------------------------------


@given(st.text(st.characters(categories=None)))
def test_printable_is_one_line_that_can_be_encoded(text):
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    shown.encode('utf-8')


def test_printable():
    assert printable('naïve 📝') == 'naïve 📝'
    assert printable('a\tb\udcff\x1b[31m') == 'a\\tb\\udcff\\x1b[31m'


def test_indented_streams():
    stream = io.StringIO()
    inner = IndentStream(IndentStream(stream, '>'), '-')
    inner.write('a')
    inner.write('b\n\nc\n')
    assert stream.getvalue() == '>-ab\n>-\n>-c\n'
    stream = io.StringIO()
    IndentStream(stream, stayBlank=True).write('a\n\nb')
    assert stream.getvalue() == '  a\n\n  b'


def test_session_lines():
    stats = {'notes': Stats(hereAdd=1, conflicts=1)}
    line = session_line('desk\n', stats, now=0)
    assert line.endswith(' desk\\n: 1 local change: 1 conflict. Ended with items left over.')
    assert session_line('desk', {}, 'it went away', now=0).endswith('Broken off: it went away')
    assert session_line('desk', {}, 'broken off', now=0).endswith('No changes. Broken off.')
    assert session_line('desk', {}, 'suspended', now=0).endswith(
        'No changes. Put off by the client, to go on the next time.'
    )


def test_long_lists_of_trouble_are_cut():
    stream = io.StringIO()
    write_trouble({'n': Stats(problems=[str(n) for n in range(1000)])}, stream, limit=3)
    assert stream.getvalue().splitlines()[2:] == ['failed: 2', 'failed: … and 997 more']


def test_log_lines():
    record = logging.LogRecord('a.b', logging.WARNING, 'f', 1, 'one\ntwo %s', ('x',), None)
    assert LogFormatter().format(record) == '[++] WARNING: one\n[++] WARNING: | two x'
    assert LogFormatter(logger=True).format(record).startswith('[++] WARNING|a.b: one\n')
    for level, mark in ((10, '[  ]'), (20, '[--]'), (40, '[**]'), (50, '[**]')):
        record.levelno = level
        assert LogFormatter().format(record).startswith(mark)


def test_statistics_survive_a_round_trip_through_json():
    stats = Stats(SyncType.SLOW_SYNC, hereAdd=2, problems=['x'], conflictNames=['y'])
    assert Stats.restore(json.loads(json.dumps(stats.values()))) == stats
    assert (stats.here, stats.peer, stats.errors) == (2, 0, 0)
    with pytest.raises(TypeError, match='hereadd'):
        Stats(hereadd=1)


# --- progress -----------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_shows_only_after_a_moment_and_goes_away():
    stream = Terminal()
    progress = Progress(stream, delay=60)
    progress('scanning', 1, 10)
    progress.close()
    assert stream.getvalue() == ''
    progress = Progress(stream, delay=0)
    progress('scanning', 1, 10)
    progress('sending', 5)
    progress.close()
    assert 'scanning' in stream.getvalue()


def test_progress_is_for_terminals_only():
    options = adict(quiet=False, json=False, verbose=0)
    assert progress_for(options, Terminal()).shown
    assert not progress_for(options, io.StringIO()).shown
    assert not progress_for(options, None).shown
    assert not progress_for(adict(quiet=True), Terminal()).shown


# --- passwords ----------------------------------------------------------------------------------


def test_the_variable_is_named_after_the_program():
    assert variable('notes') == 'SYNC_NOTES_PASSWORD'
    assert variable('my-é.x') == 'SYNC_MY___X_PASSWORD'


def test_passwords_are_kept_apart_and_private(tmp_path):
    store = PasswordStore(str(tmp_path), 'notes')
    assert store.get('http://a/', 'me') is None
    store.set('http://a/', 'me', 'one')
    store.set('http://b/', 'me', 'twö')
    assert PasswordStore(str(tmp_path), 'notes').get('http://a/', 'me') == 'one'
    assert store.get('http://b/', 'me') == 'twö'
    assert store.get('http://b/', 'you') is None
    assert stat.S_IMODE(os.stat(store.path).st_mode) == 0o600
    assert os.listdir(tmp_path) == ['credentials']


def test_a_spoilt_file_of_passwords_counts_as_none(tmp_path):
    store = PasswordStore(str(tmp_path), 'notes')
    for text in ('', 'no json', '[]', '{"u": {"me": 1}}'):
        (tmp_path / 'credentials').write_text(text)
        assert store.get('u', 'me') is None


def test_a_keyring_is_used_where_there_is_one(tmp_path, monkeypatch):
    kept = {}
    ring = adict(
        get_keyring=lambda: adict(priority=5),
        get_password=lambda service, name: kept.get((service, name)),
        set_password=lambda service, name, word: kept.update({(service, name): word}),
    )
    monkeypatch.setitem(__import__('sys').modules, 'keyring', ring)
    store = PasswordStore(str(tmp_path), 'notes')
    store.set('http://a/', 'me', 'one')
    assert kept == {('sync-notes', 'me@http://a/'): 'one'}
    assert store.get('http://a/', 'me') == 'one'
    assert os.listdir(tmp_path) == []

    def locked(*_):
        raise RuntimeError('locked')

    ring['get_password'] = ring['set_password'] = locked
    store.set('http://a/', 'me', 'two')
    assert store.get('http://a/', 'me') == 'two'


def test_password_files_that_cannot_be_used(tmp_path):
    path = tmp_path / 'pw'
    options = adict(passwordFile=str(path))
    with pytest.raises(UsageError, match='cannot read'):
        password_given(options, 'notes')
    path.write_bytes(b'\n')
    with pytest.raises(UsageError, match='empty'):
        password_given(options, 'notes')
    path.write_bytes(b'\xff\n')
    with pytest.raises(UsageError, match='UTF-8'):
        password_given(options, 'notes')
    path.write_bytes(b' p w \r\n')
    assert password_given(options, 'notes') == ' p w '


def test_the_end_of_the_input_is_no_traceback(monkeypatch):
    monkeypatch.setattr('sys.stdin', io.StringIO(''))
    assert not on_terminal()
    with pytest.raises(UsageError):
        ask('? ')
    monkeypatch.setattr('sys.stdin', None)
    assert not on_terminal()


def test_a_line_of_the_log_cannot_be_forged():
    """What a peer says may have line ends in it, and many of them."""
    said = 'x\n[++] WARNING: alice has logged in' + '\n' * 1000
    record = logging.LogRecord('a', logging.WARNING, 'f', 1, 'refused: %s', (said,), None)
    first, second, *rest = LogFormatter().format(record).split('\n')
    assert first == '[++] WARNING: refused: x'
    assert second == '[++] WARNING: | [++] WARNING: alice has logged in'
    assert len(rest) == 200
