"""``--alerted FILE``: whom it obeys, what it asks first, and what it then does."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from cli_fakes import Program, done

from pysyncml import alerted, errors
from pysyncml.alerted import Notification, NotifiedSync, UiMode
from pysyncml.cli import passwords
from pysyncml.constants import ExitCode, SyncType
from pysyncml.protocol import auth

URL = 'http://example.com/sync'
ME = ('-u', 'me', '-p', 'pw')


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / 'notes'
    path.mkdir()
    return str(path)


@pytest.fixture
def deliver(tmp_path):
    """Return a function that writes a notification into a file, and returns its path."""

    def write(*codes, secret=('me', 'pw'), uri='notes', **values):
        syncs = tuple(NotifiedSync(code=code, uri=uri) for code in codes)
        values = {'server_id': URL, 'session_id': '7', **values}
        _, data = alerted.write_notification(
            Notification(syncs=syncs, **values),
            alerted.secret_of(*secret) if secret else None,
            encoding='xml',
        )
        path = tmp_path / 'notification'
        path.write_bytes(data)
        return str(path)

    return write


@pytest.fixture
def terminal(monkeypatch):
    """A terminal whose user answers no; returns the questions asked."""
    asked = []
    monkeypatch.setattr(passwords, 'on_terminal', lambda: True)
    monkeypatch.setattr(passwords, 'confirm', lambda question: asked.append(question))
    return asked


def go(*argv, script=None):
    """Run a program; return its syncs, its exit code, and what it wrote on the error stream."""
    program = Program(script=[done()] if script is None else script)
    out, err = io.StringIO(), io.StringIO()
    code = program.configure([*argv]).run(out, err)
    return program.context.calls, code, err.getvalue()


@pytest.mark.parametrize(
    ('code', 'kind'),
    [
        (206, SyncType.TWO_WAY),
        (207, SyncType.ONE_WAY_FROM_CLIENT),
        (208, SyncType.REFRESH_FROM_CLIENT),
        (209, SyncType.ONE_WAY_FROM_SERVER),
        (210, SyncType.REFRESH_FROM_SERVER),
        (201, SyncType.SLOW_SYNC),
    ],
)
def test_it_does_what_the_notification_asks_for(folder, deliver, code, kind):
    [call], exit_code, err = go('-r', URL, *ME, '--alerted', deliver(code), folder)
    assert exit_code == 0
    assert call['mode'] == {'notes': kind}
    assert call['notification'].session_id == '7'
    assert ('will be replaced' in err) is kind.wipes


def test_no_datastores_means_all_of_them(folder, deliver):
    [call], code, err = go('-r', URL, *ME, '--alerted', deliver(), folder)
    assert (code, call['mode'], err) == (0, {'notes': SyncType.TWO_WAY}, '')


def test_it_is_for_one_run(folder, deliver):
    go('-r', URL, *ME, '--alerted', deliver(207), folder)
    [call], code, _ = go('-p', 'pw', folder)
    assert code == 0
    assert call['mode'] is SyncType.TWO_WAY
    assert 'notification' not in call


def test_the_standard_input(folder, deliver, monkeypatch):
    data = io.BytesIO(Path(deliver(209)).read_bytes())
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(data))
    [call], code, _ = go('-r', URL, *ME, '--alerted', '-', folder)
    assert (code, call['mode']) == (0, {'notes': SyncType.ONE_WAY_FROM_SERVER})


def test_the_remote_uri_names_the_datastore_it_is_about(folder, deliver):
    path = deliver(207, uri='./memo')
    [call], code, _ = go('-r', URL, '-R', 'memo', *ME, '--alerted', path, folder)
    assert (code, call['mode']) == (0, {'notes': SyncType.ONE_WAY_FROM_CLIENT})


def test_the_form_of_1_1(folder, deliver):
    cred = auth.basic('me', 'pw')
    path = deliver(207, version='1.1', secret=None, cred=cred)
    [call], code, _ = go('-r', URL, *ME, '--alerted', path, folder)
    assert (code, call['mode']) == (0, {'notes': SyncType.ONE_WAY_FROM_CLIENT})


# --- what is not obeyed ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('how', 'exit_code', 'said'),
    [
        ({'secret': ('me', 'x')}, ExitCode.AUTHENTICATION, 'signed with another password'),
        ({'secret': None}, ExitCode.AUTHENTICATION, 'is not signed'),
        (
            {'secret': None, 'version': '1.1', 'cred': auth.basic('me', 'x')},
            ExitCode.AUTHENTICATION,
            'signed with another password',
        ),
        ({'server_id': 'http://x.org/'}, ExitCode.REFUSED, 'of the server "http://x.org/", not of'),
        ({'uri': 'calendar'}, ExitCode.REFUSED, 'asks for "calendar", and nothing here goes'),
    ],
)
def test_what_is_not_obeyed(folder, deliver, how, exit_code, said):
    calls, code, err = go('-r', URL, *ME, '--alerted', deliver(206, **how), folder, script=[])
    assert (calls, code) == ([], exit_code)
    assert said in err
    assert err.count('\n') == 1


def test_a_directory_without_a_server(folder, deliver):
    calls, code, err = go('--alerted', deliver(206), folder, script=[])
    assert (calls, code) == ([], ExitCode.REFUSED)
    assert f'"{URL}", and no server is known for' in err


def test_what_is_no_notification(folder, tmp_path):
    path = tmp_path / 'x'
    path.write_text('what a nice day it is today')
    calls, code, err = go('-r', URL, '--alerted', str(path), folder, script=[])
    assert (calls, code) == ([], ExitCode.PROTOCOL)
    assert 'this is no notification' in err


def test_a_file_that_cannot_be_read(folder):
    calls, code, err = go('-r', URL, '--alerted', '/nowhere/x', folder, script=[])
    assert (calls, code) == ([], ExitCode.USAGE)
    assert 'cannot read "/nowhere/x": No such file' in err


@pytest.mark.parametrize(
    ('argv', 'said'),
    [
        (['-s'], '--alerted is for clients'),
        (['-m', 'pull'], '--alerted and --mode'),
        (['-d'], 'does not go with --describe'),
        (['--trash'], 'does not go with --describe'),
        (['--restore', 'x'], 'one run each'),
    ],
)
def test_what_it_does_not_go_with(folder, deliver, capsys, argv, said):
    with pytest.raises(SystemExit) as end:
        Program().configure(['--alerted', deliver(206), *argv, folder])
    assert end.value.code == ExitCode.USAGE
    assert said in capsys.readouterr().err


# --- what is asked first --------------------------------------------------------------------------


def test_the_user_is_asked_where_the_server_wants_it(folder, deliver, terminal):
    path = deliver(209, ui_mode=UiMode.USER_INTERACTION)
    calls, code, err = go('-r', URL, *ME, '--alerted', path, folder)
    assert (calls, code) == ([], ExitCode.REFUSED)
    assert terminal == ['The server asks to synchronise: pull (notes). Go on?']
    assert 'nothing was done' in err
    assert go('-r', URL, *ME, '--yes', '--alerted', path, folder)[1] == 0


def test_without_a_terminal_the_user_is_told(folder, deliver):
    for mode, told in ((UiMode.USER_INTERACTION, 1), (UiMode.INFORMATIVE, 1), (UiMode(1), 0)):
        path = deliver(209, ui_mode=mode)
        calls, code, err = go('-r', URL, *ME, '--alerted', path, folder)
        assert (len(calls), code, err.count('asks to synchronise: pull (notes).')) == (1, 0, told)
    assert go('-q', '-r', URL, *ME, '--alerted', deliver(ui_mode=UiMode(2)), folder)[2] == ''


@pytest.mark.parametrize('code', [208, 210])
def test_what_throws_notes_away_is_asked_about_as_ever(folder, deliver, terminal, code):
    calls, exit_code, err = go('-r', URL, *ME, '--alerted', deliver(code), folder)
    assert (calls, exit_code) == ([], ExitCode.REFUSED)
    assert terminal == ['Go on?']
    assert 'will be replaced with' in err


def test_nobody_s_word_is_not_enough_to_throw_notes_away(folder, deliver):
    path = deliver(210, secret=None)
    calls, code, err = go('-r', URL, '--alerted', path, folder, script=[])
    assert (calls, code) == ([], ExitCode.REFUSED)
    assert 'does not show that it comes from the server' in err
    [call], code, _ = go('-r', URL, '--yes', '--alerted', path, folder)
    assert (code, call['mode']) == (0, {'notes': SyncType.REFRESH_FROM_SERVER})
    path = deliver(206, secret=None)
    assert go('-r', URL, '--alerted', path, folder)[1] == 0


# --- what becomes of the session ------------------------------------------------------------------


def test_a_session_that_is_held_again_has_an_id_of_its_own(folder, deliver, terminal, monkeypatch):
    monkeypatch.setattr(passwords, 'ask', lambda prompt, secret=False: 'new')
    script = [errors.InvalidCredentials('no'), done()]
    calls, code, _ = go('-r', URL, *ME, '--alerted', deliver(206), folder, script=script)
    assert code == 0
    assert [bool(call['notification']) for call in calls] == [True, False]
    assert [call['mode'] for call in calls] == [{'notes': SyncType.TWO_WAY}] * 2
