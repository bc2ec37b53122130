"""The documentation says what the code does: tables are compared with it, examples are run."""

from __future__ import annotations

import argparse
import doctest
import importlib
import importlib.util
import io
import re
import textwrap
from pathlib import Path

import pytest

from pysyncml.cli.hooks import HOOKS
from pysyncml.cli.options import MODES, POLICIES
from pysyncml.constants import ExitCode, Role
from pysyncml.protocol.quirks import KNOWN_PEERS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / 'docs'
WITH_FIGURES = ('architecture', 'protocol')
PAGES = sorted([*DOCS.glob('*.rst'), *ROOT.glob('*.rst')])


def read(name):
    return (ROOT / name).read_text(encoding='utf-8')


def code_blocks(text):
    """Return the Python code blocks of a page, in order, from the left margin."""
    found = re.findall(r'^( *)\.\. code-block:: python\n\n((?:\1 +.*\n|\n)+)', text, re.MULTILINE)
    return [textwrap.dedent(block) for _, block in found]


def run(blocks, namespace=None):
    """Run code blocks one after the other in one namespace, and return it."""
    namespace = {'__name__': 'example'} if namespace is None else namespace
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f'<code block {number}>', 'exec'), namespace)
    return namespace


@pytest.fixture(scope='module')
def parser(tmp_path_factory):
    from pysyncml.cli.notes import NotesEngine

    return NotesEngine().configure(['--local', str(tmp_path_factory.mktemp('notes'))]).parser


# --- tables -----------------------------------------------------------------------------------


def test_the_hook_table_lists_every_hook_with_its_arguments_in_order():
    row = r'^   \* - ``([\w.]+)``\n     - (.*)\n     - (.+)$'
    rows = re.findall(row, read('docs/hooks.rst'), re.M)
    shown = [(name, tuple(re.findall(r'``(\w+)``', args))) for name, args, _ in rows]
    assert shown == [(spec.name, spec.args) for spec in HOOKS.values()]


def test_every_option_is_documented_and_no_other(parser):
    text = read('docs/cli.rst')
    terms = '\n'.join(re.findall(r'^``-.*``$', text, re.M))
    documented = set(re.findall(r'(?<![\w-])(--?[A-Za-z][\w-]*)', terms))
    options = {
        option
        for action in parser._actions
        if action.help is not argparse.SUPPRESS
        for option in action.option_strings
    }
    assert documented == options


def test_every_metavar_is_as_the_help_has_it(parser):
    text = read('docs/cli.rst')
    for action in parser._actions:
        if action.option_strings and action.nargs is None:
            metavar = action.metavar or action.dest.upper()
            assert f'{action.option_strings[-1]} {metavar}``' in text


def test_every_exit_code_is_documented_and_no_other():
    table = re.findall(r'^(\d+) +([A-Z_]+) +\S', read('docs/cli.rst'), re.M)
    assert [(int(code), name) for code, name in table] == [(int(c), c.name) for c in ExitCode]


def test_every_mode_and_policy_is_documented():
    text = read('docs/cli.rst')
    for word in (*MODES, *POLICIES):
        assert f'``{word}``' in text


def test_every_old_fault_is_accounted_for_once():
    _, _, table = read('docs/differences.rst').partition('Faults that are gone')
    numbers = [int(number) for number in re.findall(r'^   \* - (\d+)$', table, re.M)]
    assert numbers == list(range(1, 57))


def test_the_commands_in_the_readme_are_in_the_makefile():
    targets = set(re.findall(r'^([a-z]+):', read('Makefile'), re.M))
    assert {'demo', 'test', 'docs'} <= targets
    for page in PAGES:
        text = page.read_text(encoding='utf-8')
        assert set(re.findall(r'^    make (\w+)|``make (\w+)``', text, re.M)) <= {
            pair for target in targets for pair in ((target, ''), ('', target))
        }


def test_the_tree_in_the_architecture_is_that_of_the_package():
    _, _, text = read('docs/architecture.rst').partition('    pysyncml/\n')
    shown, folders = set(), ['pysyncml']
    for indent, name in re.findall(
        r'^( {6,10})([\w./]+)  +\S', text.partition('\n(A test')[0], re.M
    ):
        del folders[len(indent) // 2 - 2 :]
        if name.endswith('/'):
            folders.append(name[:-1])
        else:
            shown.add('/'.join([*folders, name]))
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / 'pysyncml').rglob('*.py')}
    assert shown <= there
    assert {name for name in there - shown if not name.endswith('/__init__.py')} == set()


def test_the_figures_on_the_pages_are_those_of_the_code():
    pytest.importorskip('sqlalchemy')
    from pysyncml import conversation, service
    from pysyncml.state.tables import SCHEMA_VERSION
    from pysyncml.sync import turn

    architecture, protocol = (' '.join(read(f'docs/{n}.rst').split()) for n in WITH_FIGURES)
    assert f'The tables are of version {SCHEMA_VERSION} ' in architecture
    assert service.SESSION_AGE == 3600 and 'left alone for an hour' in architecture
    assert f'it gets {conversation.MESSAGE_SIZE >> 10} KiB' in protocol
    assert conversation.RETRIES == (0.5, 2, 5) and 'half a second, two and five' in protocol
    assert (conversation.BUSY_PAUSE, conversation.BUSY_TIMES) == (3, 20)
    assert 'every three seconds and twenty times at most' in protocol
    assert importlib.import_module(turn.__module__)._PATIENCE == 20
    assert 'twenty messages in a row' in protocol


# --- what is drawn from the code --------------------------------------------------------------


def extension(name):
    pytest.importorskip('docutils')
    spec = importlib.util.spec_from_file_location(name, DOCS / '_ext' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def drawing():
    return extension('stage_table')


def test_the_drawing_of_a_session_is_the_specification_s(drawing):
    packages = [(role, stage.name) for role, stage in drawing.packages()]
    client, server = Role.CLIENT, Role.SERVER
    assert packages == [
        (role, stage) for stage in ('SETUP', 'SYNC', 'MAP') for role in (client, server)
    ]
    assert drawing.diagram().count('\n') == 7
    assert [row[0] for row in drawing.table_rows()] == ['SETUP', 'SYNC', 'MAP', 'DONE']


def test_the_page_of_known_peers_shows_every_row_and_every_habit():
    rows = extension('peer_table').table_rows()
    assert [(name, why) for name, _, why, _ in rows] == [(p.name, p.reason) for p in KNOWN_PEERS]
    by_name = {name: (signs, habits) for name, signs, _, habits in rows}
    signs, habits = by_name['pysyncml 0.2 and earlier']
    assert signs == 'manufacturer ``pysyncml``, version ``0\\.``'
    assert 'Alert 508 → 200' in habits
    assert by_name['ZYB'][1] == 'not ``steady_anchors``'
    assert by_name['pysyncml'][1] == '``large_parts``, ``many_items``'
    assert by_name['SyncEvolution'][1] == 'none'
    page = read('docs/peers.rst')
    assert '.. peer-table::' in page
    assert '.. autoclass:: pysyncml.protocol.quirks.Quirks' in page


# --- examples ---------------------------------------------------------------------------------


def test_the_examples_in_the_readme_run():
    blocks = code_blocks(read('README.rst'))
    assert len(blocks) == 2
    namespace = run(blocks)
    assert 'laptop' in namespace


def test_the_examples_for_agents_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = code_blocks(read('docs/agents.rst'))
    assert len(blocks) > 6
    namespace = run(blocks)
    tests = [value for name, value in namespace.items() if name.startswith('test_')]
    assert tests
    contract = namespace['TestBookmarks']()
    tests += [getattr(contract, name) for name in dir(contract) if name.startswith('test_')]
    for test in tests:
        test()
    for name in ('context', 'ours'):
        namespace[name].close()
    namespace['engine'].dispose()


def test_the_example_of_a_program_runs(tmp_path):
    readme = run(code_blocks(read('README.rst'))[:1])
    namespace = run(code_blocks(read('docs/hooks.rst'))[:1], {'Shelf': readme['Shelf']})
    engine = namespace['ShelfEngine']
    out = io.StringIO()
    assert engine().configure(['--colour', 'red', '--listen', '0', str(tmp_path)]).readonly is False
    assert engine().configure(['--describe', str(tmp_path)]).run(out) == 0
    assert 'Colour: red' in out.getvalue()


def test_the_wsgi_example_serves_a_directory(tmp_path):
    pytest.importorskip('sqlalchemy')
    from pysyncml.cli.notes import NotesEngine
    from pysyncml.transport.wsgi import AdHocServer

    served, copy = tmp_path / 'served', tmp_path / 'copy'
    served.mkdir()
    copy.mkdir()
    (served / 'todo.txt').write_text('milk')
    example = code_blocks(read('docs/cli.rst'))[0]
    example = example.replace('/srv/notes', str(served)).replace('/var/log', str(tmp_path))
    with AdHocServer(run([example])['app']) as server:
        client = NotesEngine().configure(['--quiet', '--remote', server.url, str(copy)])
        assert client.run(io.StringIO(), io.StringIO()) == 0
    assert (copy / 'todo.txt').read_text() == 'milk'


@pytest.mark.parametrize('page', ['merging', 'storage'])
def test_the_sessions_shown_go_as_shown(page):
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    results = doctest.testfile(
        str(DOCS / f'{page}.rst'), module_relative=False, optionflags=flags, encoding='utf-8'
    )
    assert results.attempted > 5
    assert not results.failed


# --- form -------------------------------------------------------------------------------------


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_lines_are_short_and_nothing_is_left_to_fill_in(page):
    text = page.read_text(encoding='utf-8')
    assert '@@' not in text
    assert [line for line in text.splitlines() if len(line) > 100] == []


def test_every_page_is_in_the_table_of_contents():
    index = read('docs/index.rst')
    for page in DOCS.glob('*.rst'):
        assert page.stem == 'index' or re.search(rf'^   {page.stem}$', index, re.M)
