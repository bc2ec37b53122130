import io
import json
import logging
import os
import stat
import subprocess
import sys

import pytest
from cli_fakes import FakeAgent, Program, done, phone, server, state

import pysyncml.cli
from pysyncml import errors
from pysyncml.cli.hooks import HOOKS
from pysyncml.constants import ExitCode, ItemState, Policy, SyncType
from pysyncml.util import adict

URL = 'http://example.com/sync'


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path)


def go(*argv, **params):
    """Run a program; return it, its exit code, and what it wrote."""
    program = Program(**params)
    out, err = io.StringIO(), io.StringIO()
    code = program.configure([*argv]).run(out, err)
    return program, code, out.getvalue(), err.getvalue()


# --- hooks and roles ----------------------------------------------------------------------------


def test_a_client_run_fires_every_event_in_its_order(folder):
    program, code, out, _ = go('-r', URL, folder, script=[done(mode=SyncType.TWO_WAY, peerAdd=2)])
    expected = [
        name
        for name in HOOKS
        if not name.startswith('server.') and name not in ('describe', 'options.persist.load')
    ]
    assert code == 0
    assert program.events == expected
    assert 'Synchronization Summary' in out
    assert '2 remote changes.' in out
    assert program.context.closed


def test_the_server_is_remembered_even_when_the_first_synchronisation_fails(folder):
    # defect 51
    _, code, _, err = go('-r', URL, folder, script=[errors.ConnectFailed('nobody answers')])
    assert code == ExitCode.NETWORK
    assert err == 'sync-notes: nobody answers\n'
    program, code, _, _ = go(folder, script=[done()])
    assert code == 0
    assert 'options.persist.load' in program.events
    assert program.context.calls[0]['peer']['url'] == URL


def test_modes_and_the_remote_uri_reach_the_adapter(folder):
    program, *_ = go('-r', URL, '-R', './memo', '-m', 'push', folder, script=[done()])
    call = program.context.calls[0]
    assert call['mode'] is SyncType.ONE_WAY_FROM_CLIENT
    assert call['routes'] == {'notes': './memo'}
    program, *_ = go(folder, script=[done()])
    assert program.context.calls[0]['routes'] == {'notes': './memo'}
    assert program.context.calls[0]['mode'] is SyncType.TWO_WAY
    program, *_ = go('-R', '', folder, script=[done()])
    assert program.context.calls[0]['routes'] == {}


def test_the_role_is_remembered_and_can_be_taken_back(folder):
    def role(*argv):
        return Program().configure([*argv, folder]).options.server

    assert role('-L', '8081') is True
    assert role() is True
    assert role('--client') is False
    assert role() is False
    assert role('-s') is True
    assert role('-r', URL) is False
    assert role() is False
    assert Program().configure(['-s', folder]).options.listen == '8081'


@pytest.mark.parametrize(
    ('argv', 'said'),
    [
        (['-s', '-r', URL], 'do not go together'),
        (['--client', '-L', '80'], 'do not go together'),
        (['-s', '-m', 'full'], '--mode is for clients'),
        (['-L', 'x:y'], 'no PORT'),
        (['-L', ':80'], 'lacks the host'),
        (['-L', '70000'], 'no PORT'),
        (['-r', 'example.com/sync'], 'did you mean "https://example.com/sync"'),
        (['-u', 'a', '--no-username'], 'do not go together'),
        (['-d', '-l'], 'one run each'),
        (['-s', '--tls-key', 'k'], 'needs --tls-cert'),
        (['-P', 'mine'], 'invalid choice'),
    ],
)
def test_what_makes_no_sense_is_a_usage_error_and_is_not_remembered(folder, capsys, argv, said):
    with pytest.raises(SystemExit) as end:
        Program().configure([*argv, folder])
    assert end.value.code == 2
    assert said in capsys.readouterr().err
    assert not os.path.exists(os.path.join(folder, '.sync')) or not state(folder)


def test_the_directory_must_exist(folder, capsys):
    with pytest.raises(SystemExit) as end:
        Program().configure([os.path.join(folder, 'none')])
    assert end.value.code == 2
    assert 'does not exist' in capsys.readouterr().err


# --- what is remembered -------------------------------------------------------------------------


def test_what_was_said_last_holds_and_can_be_taken_back(folder):
    # defects 45, 46
    def options(*argv):
        return Program().configure([*argv, folder]).options

    assert options('-n', 'Desk', '-P', 'server-wins', '-F').syncFilename is False
    later = options()
    assert (later.name, later.policy, later.syncFilename) == ('Desk', 'server-wins', False)
    later = options('-n', '', '-P', 'keep-both', '--filename-sync')
    assert (later.name, later.policy, later.syncFilename) == (None, 'keep-both', True)
    later = options()
    assert (later.name, later.policy, later.syncFilename) == (None, 'keep-both', True)
    assert options('-m', 'full', '-q', '-v').mode == 'full'
    later = options()
    assert (later.mode, later.quiet, later.verbose) == ('sync', False, 0)


def test_the_device_id_is_random_is_kept_and_can_be_changed(folder, tmp_path):
    # defects 9, 47
    first = Program().configure([folder]).options.devid
    assert first.startswith('notes:')
    assert Program().configure([folder]).options.devid == first
    other = tmp_path / 'other'
    other.mkdir()
    assert Program().configure([str(other)]).options.devid != first
    program, *_ = go('-i', 'desk', '-r', URL, folder, script=[done()])
    assert program.options.devid == 'desk'
    assert Program().configure([folder]).options.devid == 'desk'


@pytest.mark.parametrize('look', ['-d', '-l', '--trash'])
def test_looking_changes_nothing(folder, look):
    # defect 50
    class Trash:
        def list_trash(self):
            return []

    agent = FakeAgent()
    agent.storage = Trash()
    go(look, '-L', '8080', folder, agent=agent)
    assert os.listdir(folder) == []
    go('-r', URL, folder, script=[done()])
    before = state(folder)
    program, code, *_ = go(look, '-L', '8080', '-n', 'X', folder, agent=agent, peers=[phone()])
    assert code == 0
    assert program.options.server is True
    assert state(folder) == before


def test_the_state_folder_is_private(folder):
    Program().configure([folder])
    assert stat.S_IMODE(os.stat(os.path.join(folder, '.sync')).st_mode) == 0o700
    state = os.path.join(folder, '.sync', 'state.db')
    assert stat.S_IMODE(os.stat(state).st_mode) == 0o600


def test_a_database_file_may_have_any_name(tmp_path):
    odd = tmp_path / 'a?b#c%20 é'
    odd.mkdir()
    Program().configure(['-n', 'X', str(odd)])
    assert (odd / '.sync' / 'state.db').exists()
    assert Program().configure([str(odd)]).options.name == 'X'


def test_what_json_cannot_carry_is_refused(folder, capsys):
    program = Program(hooks=[('options.persist.save', [lambda kept: kept.update(x=object())])])
    with pytest.raises(SystemExit) as end:
        program.configure([folder])
    assert end.value.code == 2
    assert 'cannot be remembered' in capsys.readouterr().err


def test_rootDir_and_dataDir(folder, monkeypatch):
    program = Program().configure([folder])
    assert (program.rootDir, program.dataDir) == (f'{folder}/', f'{folder}/.sync/')
    monkeypatch.chdir(folder)
    os.mkdir('notes')
    program = Program(defaultDir='notes').configure([])
    assert (program.rootDir, program.dataDir) == ('./notes/', './notes/.sync/')


# --- the two ways to look -----------------------------------------------------------------------


def test_describe_as_client_and_as_server(folder):
    # defect 49
    _, code, out, _ = go('-d', '-i', 'desk', folder)
    assert code == 0
    assert out == (
        'Note Synchronizer configuration:\n'
        '  Role: client\n'
        '  Sync filename-only changes: True\n'
        'Local device:\n'
        '  Device ID: desk\n'
        '  DataStores:\n'
        '    Note Synchronizer\n'
        '      URI: notes\n'
        '      Capabilities:\n'
        '        text/plain version 1.0 (preferred, tx, rx)\n'
        'Remote device: (not associated yet)\n'
    )
    _, code, out, _ = go('-d', '-L', '127.0.0.1:8081', folder, peers=[phone(), server()])
    assert '  Role: server\n  Listen port: 8081\n' in out
    assert 'Remote device:\n  Device ID: phone\n  DataStores: (none)\n' in out
    assert 'srv' not in out
    _, _, out, _ = go('-d', '--json', folder, peers=[server()])
    assert json.loads(out)['remote'] == [{'deviceId': 'srv', 'url': URL, 'stores': []}]


def test_local_as_client_and_as_server(folder):
    # defect 48: nobody is asked for a URL
    assert go('-l', folder)[2] == 'No pending local changes (not associated yet).\n'
    peers = [server(), phone()]
    assert go('-l', folder, peers=peers)[2] == (
        'Pending local changes:\n  - Note "milk.txt": added\n  - Item ID gone: deleted\n'
    )
    quiet = FakeAgent()
    quiet.scan = lambda store: None
    out = go('-l', folder, peers=peers, agent=quiet)[2]
    assert out == 'No pending local changes to synchronize.\n'
    assert go('-ls', folder)[2] == 'No pending changes to propagate (no peers yet)\n'
    assert go('-ls', folder, peers=peers)[2] == (
        'Pending changes to propagate:\n'
        '  Registered to peer "phone" URI "notes":\n'
        '    - Note "milk.txt": added\n'
        '    - Item ID gone: deleted\n'
    )
    assert '    (none)\n' in go('-ls', folder, peers=peers, agent=quiet)[2]
    out = go('-l', '--json', folder, peers=peers)[2]
    assert json.loads(out)['pending'][0]['changes'][1] == {
        'id': 'gone',
        'item': 'Item ID gone',
        'state': 'deleted',
    }


def test_a_name_cannot_break_the_output(folder):
    agent = FakeAgent()
    agent.scan = lambda store: store.registerChange('2', ItemState.ADDED)
    out = go('-l', folder, peers=[server()], agent=agent)[2]
    assert out == 'Pending local changes:\n  - Note "odd\\nname": added\n'


# --- results ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('stats', 'code'),
    [
        (done(hereAdd=3, merged=2), ExitCode.OK),
        (done(conflicts=1, peerErr=1), ExitCode.CONFLICTS),
        (done(conflicts=1, peerErr=2), ExitCode.ITEMS_FAILED),
        (done(hereErr=1), ExitCode.ITEMS_FAILED),
    ],
)
def test_exit_codes_of_a_synchronisation(folder, stats, code):
    assert go('-r', URL, folder, script=[stats])[1] == code


def test_problems_and_conflicts_are_named_and_nothing_spoofs_them(folder):
    stats = done(conflicts=1, hereErr=2, problems=['a.txt: disk\nfull'], conflictNames=['b.txt'])
    _, _, out, err = go('-q', '-r', URL, folder, script=[stats])
    assert out == ''
    assert 'failed: a.txt: disk\\nfull\n' in err
    assert 'conflict, left as it is on both sides: b.txt\n' in err
    _, _, out, err = go('-q', folder, script=[done(merged=1, conflictNames=['c.txt'])])
    assert err == 'conflict, settled: c.txt\n'


def test_json_results_and_errors(folder):
    _, _, out, _ = go('--json', '-r', URL, folder, script=[done(mode=SyncType.TWO_WAY, hereAdd=1)])
    result = json.loads(out)
    assert result['exitCode'] == 0
    assert result['stats']['notes']['hereAdd'] == 1
    assert result['stats']['notes']['mode'] == 'two_way'
    _, code, out, err = go('--json', folder, script=[errors.Timeout('too slow')])
    assert json.loads(out) == {'error': 'too slow', 'exitCode': code}
    assert err == 'sync-notes: too slow\n'


def test_quiet_is_silent_on_success(folder, capsys):
    assert go('-q', '-r', URL, folder, script=[done(hereAdd=1)])[1:] == (0, '', '')
    assert capsys.readouterr() == ('', '')


@pytest.mark.parametrize(
    ('error', 'code', 'line'),
    [
        (KeyboardInterrupt(), 130, 'interrupted; what was done so far is kept'),
        (errors.MissingCredentials(), 7, 'Run again with --username'),
        (errors.TooManyDeletions('11 of 12 notes'), 5, 'run again with --allow-deletions'),
        (errors.StoreEmpty('All gone.'), 5, 'All gone. If everything was deleted on purpose'),
        (OSError(28, 'No space left', '/x'), 1, '/x: No space left. Free some space'),
        (ZeroDivisionError('a\nb'), 1, 'internal error: ZeroDivisionError: a b (run again'),
        (errors.RemoteProtocolError('gibberish'), 8, 'gibberish'),
    ],
)
def test_every_failure_is_one_clear_line(folder, error, code, line):
    # defect 53
    _, got, out, err = go('-r', URL, folder, script=[error])
    assert got == code
    assert line in err
    assert err.startswith('sync-notes: ')
    assert len(err.splitlines()) == 1
    assert out == ''


def test_an_unreadable_state_is_one_clear_line(folder, capsys):
    os.mkdir(os.path.join(folder, '.sync'), 0o700)
    with open(os.path.join(folder, '.sync', 'state.db'), 'wb') as stream:
        stream.write(b'this is no database at all' * 100)
    with pytest.raises(SystemExit) as end:
        Program().configure(['--describe', folder])
    assert end.value.code == 1
    err = capsys.readouterr().err
    assert 'the state database is damaged (it is no database): synchronise, and' in err
    assert len(err.splitlines()) == 1


def test_a_failing_hook_is_named(folder):
    agent = FakeAgent()
    agent.scan = lambda store: {}['x']
    _, code, _, err = go('-r', URL, folder, agent=agent)
    assert code == 1
    assert 'hook "adapter.create.store"' in err
    assert "KeyError: 'x'" in err


def test_tracebacks_only_when_asked_for_and_then_in_the_log(folder, tmp_path, capsys):
    before = list(logging.getLogger().handlers)
    log = tmp_path / 'log'
    argv = ['-vvv', '--log-file', str(log), '-r', URL, folder]
    go(*argv, script=[ZeroDivisionError()])
    assert 'Traceback' in capsys.readouterr().err
    text = log.read_text()
    assert 'Traceback' in text
    assert all('[' in line and '|' in line for line in text.splitlines())
    assert logging.getLogger().handlers == before


def test_one_client_at_a_time(folder):
    # defect 56
    first = Program().configure(['-r', URL, folder])
    with first.lock('client'):
        _, code, _, err = go(folder, script=[done()])
        assert code == ExitCode.LOCKED
        assert f'another process ({os.getpid()}) is synchronising {folder} already' in err
        with first.lock('server'):
            assert go('-l', folder)[1] == 0
    assert go(folder, script=[done()])[1] == 0


# --- guards -------------------------------------------------------------------------------------


def answer(monkeypatch, *answers):
    """Be a terminal that answers; return the questions."""
    questions, left = [], list(answers)

    def ask(prompt):
        questions.append(prompt)
        return left.pop(0)

    monkeypatch.setattr('sys.stdin', adict(isatty=lambda: True))
    monkeypatch.setattr('builtins.input', ask)
    monkeypatch.setattr('getpass.getpass', ask)
    return questions


def deletes(adapter):
    """Synchronise with a server that wants much deleted."""
    allowed = [adapter.mayDelete(11, 12), adapter.mayDelete(12, 12)]
    return done(hereDel=sum(allowed), hereErr=allowed.count(False))


def test_many_deletions_need_a_yes_or_a_word(folder, monkeypatch):
    _, code, _, err = go('-r', URL, folder, script=[deletes])
    assert code == ExitCode.REFUSED
    assert 'The server wants 11 or more of the 12 notes here deleted. The others were kept' in err
    assert 'run again with --allow-deletions' in err
    assert go('--yes', folder, script=[deletes, deletes])[1] == 0
    assert go('--allow-deletions', folder, script=[deletes])[1] == 0
    assert go(folder, script=[deletes])[1] == ExitCode.REFUSED
    questions = answer(monkeypatch, 'y')
    assert go(folder, script=[deletes, deletes])[1] == 0
    assert questions == ['The server wants 11 or more of the 12 notes here deleted. Go on? [y/N] ']
    answer(monkeypatch, 'n')
    assert go(folder, script=[deletes])[1] == ExitCode.REFUSED


def test_a_scan_that_finds_everything_gone_asks_too(folder, monkeypatch):
    class Agent(FakeAgent):
        def scan(self, store):
            if not program.options.allowDeletions:
                raise errors.StoreEmpty('All 12 notes are gone.')

    def run(*argv):
        nonlocal program
        program = Program(script=[done()], agent=Agent()).configure([*argv, folder])
        err = io.StringIO()
        return program.run(io.StringIO(), err), err.getvalue()

    program = None
    code, err = run('-r', URL)
    assert code == ExitCode.REFUSED
    assert 'All 12 notes are gone. If everything was deleted on purpose' in err
    assert run('--allow-deletions')[0] == 0
    questions = answer(monkeypatch, 'yes')
    assert run()[0] == 0
    assert questions == ['All 12 notes are gone. Go on all the same? [y/N] ']


def test_modes_that_replace_show_counts_first(folder, monkeypatch):
    _, code, _, err = go('-m', 'pull-over', '-r', URL, folder, script=[done()])
    assert code == 0
    assert err.startswith(f'2 notes here will be replaced with what {URL} has')
    answer(monkeypatch, 'no')
    program, code, _, err = go('-m', 'push-over', folder, script=[done()])
    assert code == ExitCode.REFUSED
    assert 'will be replaced with the 2 notes from here' in err
    assert program.context.calls == []


# --- logins -------------------------------------------------------------------------------------


def test_the_server_is_asked_for_on_a_terminal_only(folder, monkeypatch, capsys):
    # defect 48
    _, code, _, err = go(folder)
    assert code == 2
    assert f'no server is known for {folder} yet: say which one with --remote URL' in err
    questions = answer(monkeypatch, URL, 'alice', 'secret')
    program, code, *_ = go(folder, script=[done()])
    assert code == 0
    assert questions == [
        'SyncML remote URL: ',
        'SyncML remote username (leave empty if none): ',
        'SyncML remote password: ',
    ]
    peer = program.context.calls[0]['peer']
    assert (peer['url'], peer['username'], peer['password']) == (URL, 'alice', 'secret')


def test_a_typed_password_is_kept_in_a_private_file_once_it_worked(folder):
    failing = [errors.InvalidCredentials('no')]
    kept = os.path.join(folder, '.sync', 'credentials')
    go('-r', URL, '-u', 'alice', '-p', 'wrong', folder, script=failing)
    assert not os.path.exists(kept)
    go('-u', 'alice', '-p', 'secret', folder, script=[done()])
    assert stat.S_IMODE(os.stat(kept).st_mode) == 0o600
    # defect 47: naming the server again does not forget the login
    program, *_ = go('-r', URL, folder, script=[done()])
    peer = program.context.calls[0]['peer']
    assert (peer['username'], peer['password']) == ('alice', 'secret')
    with open(os.path.join(folder, '.sync', 'state.db'), 'rb') as stream:
        assert b'secret' not in stream.read()


def test_another_server_does_not_get_the_login_and_the_settings_of_the_first(folder):
    go('-r', URL, '-u', 'a', '-p', 'b', '--insecure', '-R', 'x', folder, script=[done()])
    program, *_ = go('-r', 'http://other/', folder, script=[done()])
    call = program.context.calls[0]
    assert (call['peer']['username'], call['peer']['password']) == (None, None)
    assert call['routes'] == {}
    assert program.options.insecure in (None, False)


def test_sources_of_a_password(folder, tmp_path, monkeypatch, caplog):
    path = tmp_path / 'pw'
    path.write_text('from file\nsecond line\n')
    path.chmod(0o644)
    monkeypatch.setenv('SYNC_NOTES_PASSWORD', 'from environment')

    def used(*argv):
        program, *_ = go(*argv, folder, script=[done()])
        return program.context.calls[0]['peer']['password']

    assert used('-r', URL, '-u', 'alice') == 'from environment'
    assert used('--password-file', str(path)) == 'from file'
    assert 'others can read the password file' in caplog.text
    assert used() == 'from file'
    assert used('-p', 'typed') == 'typed'
    assert used() == 'from environment'  # the file is not remembered any more
    assert used('--password-file', str(path)) == 'from file'
    assert used('--password-file', '') == 'from environment'
    monkeypatch.delenv('SYNC_NOTES_PASSWORD')
    assert used() == 'typed'
    assert used('--no-username') is None
    assert used() is None


def test_a_missing_password_is_no_traceback(folder):
    _, code, _, err = go('-r', URL, '-u', 'alice', folder)
    assert code == ExitCode.AUTHENTICATION
    assert 'give --password-file FILE, or set SYNC_NOTES_PASSWORD' in err


def test_a_wrong_password_is_asked_for_again(folder, monkeypatch):
    questions = answer(monkeypatch, 'right')
    script = [errors.InvalidCredentials('no'), done()]
    program, code, *_ = go('-r', URL, '-u', 'alice', '-p', 'wrong', folder, script=script)
    assert code == 0
    assert len(questions) == 1
    assert [c['peer']['password'] for c in program.context.calls] == ['wrong', 'right']


def test_a_typed_password_counts_for_more_than_a_remembered_file(folder, tmp_path, monkeypatch):
    path = tmp_path / 'pw'
    path.write_text('old\n')
    path.chmod(0o600)
    go('-r', URL, '-u', 'alice', '--password-file', str(path), folder, script=[done()])
    questions = answer(monkeypatch, 'new')
    go(folder, script=[errors.InvalidCredentials('no'), done()])
    program, code, *_ = go(folder, script=[done()])
    assert code == 0
    assert len(questions) == 1
    assert [call['peer']['password'] for call in program.context.calls] == ['new']


def test_a_login_inside_of_the_url_is_taken_out_of_it(folder):
    url = 'https://al%40ice:pa%3Ass@example.com:8443/sync'
    program, *_ = go('-r', url, folder, script=[done()])
    peer = program.context.calls[0]['peer']
    assert peer['url'] == 'https://example.com:8443/sync'
    assert (peer['username'], peer['password']) == ('al@ice', 'pa:ss')
    assert 'pa' not in json.dumps(state(folder)['remote'])


# --- trash --------------------------------------------------------------------------------------


def test_trash_and_restore(folder):
    class Trash:
        def list_trash(self):
            return [('b/c.txt', 1e9, 1234), ('odd\n', 1e9, 0)]

        def restore(self, name):
            return 'b/c(1).txt'

    agent = FakeAgent()
    agent.storage = Trash()
    _, code, out, _ = go('--trash', folder, agent=agent)
    assert code == 0
    assert out.splitlines()[0].endswith('       1,234 bytes  b/c.txt')
    assert out.splitlines()[1].endswith('odd\\n')
    _, code, out, _ = go('--restore', 'b/c.txt', folder, agent=agent)
    assert (code, out) == (0, 'Brought back as b/c(1).txt\n')
    _, code, _, err = go('--restore', 'none', folder, agent=agent)
    assert code == 2
    assert 'no "none" in the trash' in err


# --- policies -----------------------------------------------------------------------------------


def test_policies_reach_the_adapter_and_the_server_configuration(folder):
    program, *_ = go('-ls', '-P', 'newest-wins', folder)
    assert program.serverConf.policy is Policy.NEWEST_WINS
    assert program.serverConf.port == 8080


# --- other engines, and starting ----------------------------------------------------------------


def test_the_engine_for_the_users_configuration(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path))
    monkeypatch.setattr('platformdirs.user_config_dir', lambda name: str(tmp_path / name))

    class Local(pysyncml.cli.LocalUserSyncEngine):
        makeContext = Program.makeContext
        script, known = (), ()

    program = Local(appLabel='contacts', agent=FakeAgent()).configure(['-c', 'work'])
    assert program.dataDir == f'{tmp_path}/sync-contacts/work/'
    with pytest.raises(SystemExit):
        Local(appLabel='contacts').configure(['-c', '../up'])


def test_an_engine_whose_data_directory_nobody_sets(capsys):
    with pytest.raises(SystemExit) as end:
        pysyncml.cli.CommandLineSyncEngine(appLabel='x').configure([])
    assert end.value.code == 2
    assert 'dataDir' in capsys.readouterr().err


def test_the_version(capsys):
    with pytest.raises(SystemExit) as end:
        Program().configure(['-V'])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith('sync-notes ')


def test_help_is_quick_and_has_examples():
    code = (
        'import sys, pysyncml.cli as cli\n'
        'class E(cli.DirectorySyncEngine): pass\n'
        'try: E(appLabel="notes", appDisplay="Notes").configure(["--help"])\n'
        'except SystemExit: pass\n'
        'heavy = {"sqlalchemy", "lxml", "requests", "cheroot", "rich", "filelock", "pathspec"}\n'
        'print("HEAVY", sorted(heavy & set(sys.modules)))\n'
    )
    text = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True
    ).stdout
    assert 'HEAVY []' in text
    assert 'examples:' in text
    assert 'exit codes:' in text
    for option in ('--policy', '--listen', '--restore', '--allow-deletions', '--no-username'):
        assert option in text


def test_the_public_names():
    for name in pysyncml.cli.__all__:
        assert getattr(pysyncml.cli, name) is not None
    with pytest.raises(AttributeError):
        pysyncml.cli.nothing


# --- how the server is spoken to ------------------------------------------------------------------


def test_the_encoding_is_handed_on_when_it_is_said(folder):
    # what holds without it is kept with the server, not here
    for argv, expected in (
        (['-r', URL, '--encoding', 'wbxml'], 'wbxml'),
        ([], None),
        (['--encoding', 'xml'], 'xml'),
    ):
        program, code, _, _ = go(*argv, folder, script=[done()])
        assert code == 0
        assert program.context.calls[0]['peer']['encoding'] == expected
    assert 'encoding' not in state(folder)


def test_the_login_of_http_is_read_from_a_file(folder, tmp_path):
    login = tmp_path / 'login'
    login.write_text('web:se:cret\n')
    login.chmod(0o600)
    program = pysyncml.cli.DirectorySyncEngine(appLabel='notes', appDisplay='n', agent=FakeAgent())
    program.configure(['-r', URL, '--http-login', str(login), folder])
    assert program.makeTransport()._credentials == ('web', 'se:cret')
    program = pysyncml.cli.DirectorySyncEngine(appLabel='notes', appDisplay='n', agent=FakeAgent())
    program.configure([folder])
    assert program.makeTransport()._credentials == ('web', 'se:cret'), 'it is remembered'
    for text, said in (
        ('no colon\n', 'is not NAME:PASSWORD'),
        (':x', 'is not NAME'),
        ('', 'empty'),
    ):
        login.write_text(text)
        with pytest.raises(errors.UsageError, match=said):
            program.makeTransport()
    program.configure(['--http-login', '', folder])
    assert program.makeTransport()._credentials is None


def test_auth_is_for_the_server(folder, caplog):
    go('-r', URL, '--auth', 'md5', folder, script=[done()])
    assert '--auth is for the server to decide' in caplog.text
