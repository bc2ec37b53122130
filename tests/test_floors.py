"""Every module imports from its own package and from floors below, and from nowhere else.

``docs/architecture.rst`` draws the floors. All imports count, those inside functions too; those
that only the type checker sees may also stay on their own floor. The two packages that do nothing
but re-export (``pysyncml`` and ``pysyncml.cli``) are exempt.
"""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'pysyncml'
EXEMPT = {'pysyncml', 'pysyncml.cli'}

# The longest matching name counts. The face (``pysyncml`` itself) stands on floor 5.
FLOORS = {
    'errors': 0,
    'constants': 0,
    'util': 0,
    'immutable': 0,
    'registry': 0,
    'stats': 0,
    'protocol': 1,
    'merge': 1,
    'storage': 1,
    'transport': 1,
    'cli.hooks': 1,
    'cli.model': 1,
    'cli.objects': 1,
    'state': 2,
    'agents': 2,
    'codec': 2,
    'sync': 3,
    'context': 4,
    'adapter': 4,
    'alerted': 4,
    'peer': 4,
    'conversation': 4,
    'negotiation': 4,
    'login': 4,
    'gate': 4,
    'busy': 4,
    'service': 4,
    'verification': 4,
    'surface': 4,
    '': 5,
    'cli': 5,
    'testing': 5,
    'cli.notes': 6,
}

# Imports between neighbours on one floor that are meant.
SIDEWAYS = {
    ('context', 'adapter'),
    ('adapter', 'alerted'),
    ('adapter', 'conversation'),
    ('conversation', 'alerted'),
    ('adapter', 'peer'),
    ('context', 'peer'),
    ('adapter', 'service'),
    ('service', 'conversation'),
    ('service', 'login'),
    ('service', 'busy'),
    ('adapter', 'busy'),
    ('adapter', 'gate'),
    ('login', 'gate'),
    ('busy', 'login'),
    ('conversation', 'negotiation'),
    ('adapter', 'verification'),
    ('verification', 'conversation'),
    ('verification', 'negotiation'),
    ('cli', ''),
    ('testing', ''),
}

# Programs are written as an outsider would write them.
PROGRAMS = {'cli.notes': ('', 'cli', 'storage')}

# Libraries that cost time to import, or that should be easy to replace: who may know them.
LIBRARIES = {
    'sqlalchemy': ('state', 'context', 'surface', 'cli.model', 'cli.objects', 'cli.notes'),
    'lxml': ('codec', 'agents'),
    'requests': ('transport.http', 'transport.deadline'),
    'urllib3': ('transport.http',),
    'cheroot': ('transport.adhoc',),
    'rich': ('cli',),
    'keyring': ('cli',),
    'cryptography': ('cli',),
    'filelock': ('cli', 'state'),
    'platformdirs': ('cli',),
    'pathspec': ('storage',),
}


class Import(NamedTuple):
    """One import statement's target: a module of ours, or the top name of a library."""

    target: str
    line: int
    typing_only: bool
    lazy: bool


def modules() -> dict[str, Path]:
    """Return all modules of the package by their dotted names."""
    found = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        parts = path.relative_to(ROOT).with_suffix('').parts
        found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return found


MODULES = modules()


def short(module: str) -> str:
    """Return *module* without the package's name."""
    return module.removeprefix('pysyncml').removeprefix('.')


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    """Return whether *name* is one of *prefixes*, or inside of one."""
    return any(name == prefix or (prefix and name.startswith(prefix + '.')) for prefix in prefixes)


def place(name: str) -> str:
    """Return the longest entry of FLOORS that *name* (without ``pysyncml``) falls under."""
    known = [entry for entry in FLOORS if entry and within(name, (entry,))]
    if not known and name:
        raise AssertionError(f'pysyncml.{name} stands on no floor: give it one in FLOORS')
    return max(known, key=len, default='')


def targets(node: ast.Import | ast.ImportFrom, module: str) -> Iterator[str]:
    """Yield the modules that an import statement in *module* names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ''
    if node.level:
        is_package = MODULES[module].name == '__init__.py'
        parts = module.split('.')
        parts = parts[: len(parts) - node.level + is_package]
        base = '.'.join([*parts, base]).rstrip('.')
    for alias in node.names:
        submodule = f'{base}.{alias.name}'
        yield submodule if submodule in MODULES else base


def is_type_checking(node: ast.AST) -> bool:
    """Return whether *node* is ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test)


@cache
def imports(module: str) -> tuple[Import, ...]:
    """Return everything *module* imports, wherever in it that stands."""
    found: list[Import] = []

    def visit(node: ast.AST, typing_only: bool, lazy: bool) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for target in targets(node, module):
                found.append(Import(target, node.lineno, typing_only, lazy))
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for field, value in ast.iter_fields(node):
            here = typing_only or (is_type_checking(node) and field == 'body')
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    visit(child, here, lazy)

    visit(ast.parse(MODULES[module].read_text('utf-8')), False, False)
    return tuple(found)


def is_allowed(source: str, target: str, typing_only: bool) -> bool:
    """Return whether the module *source* may import *target* (both without ``pysyncml``)."""
    program = next((name for name in PROGRAMS if within(source, (name,))), None)
    if program is not None:
        return target in PROGRAMS[program] or within(target, ('storage', program))
    mine, theirs = place(source), place(target)
    if FLOORS[theirs] < FLOORS[mine]:
        return True
    if FLOORS[theirs] > FLOORS[mine]:
        return False
    own_package = source.split('.')[0] == target.split('.')[0]
    return own_package or typing_only or FLOORS[mine] == 0 or (mine, theirs) in SIDEWAYS


@pytest.mark.parametrize('module', [name for name in MODULES if name not in EXEMPT])
def test_imports_go_down(module):
    wrong = [
        f'{MODULES[module].relative_to(ROOT)}:{found.line} imports {found.target}'
        for found in imports(module)
        if found.target.split('.')[0] == 'pysyncml'
        and not is_allowed(short(module), short(found.target), found.typing_only)
    ]
    assert not wrong, '\n'.join(wrong)


@pytest.mark.parametrize('library', LIBRARIES)
def test_libraries_stay_where_they_belong(library):
    wrong = [
        f'{MODULES[module].relative_to(ROOT)}:{found.line}'
        for module in MODULES
        for found in imports(module)
        if found.target.split('.')[0] == library
        and not found.typing_only
        and not within(short(module), LIBRARIES[library])
    ]
    assert not wrong, f'{library} is imported in ' + ', '.join(wrong)


def test_no_import_runs_in_a_circle():
    graph = {
        module: {
            found.target
            for found in imports(module)
            if found.target in MODULES
            and found.target != module
            and not (found.lazy or found.typing_only)
        }
        for module in MODULES
    }
    graphlib.TopologicalSorter(graph).prepare()


def test_nothing_else_of_ours_is_imported():
    strange = {
        f'{module} imports {found.target}'
        for module in MODULES
        for found in imports(module)
        if found.target.split('.')[0] in {'tests', 'scripts'}
        or (found.target.startswith('pysyncml') and found.target not in MODULES)
    }
    assert not strange


@pytest.mark.parametrize(
    ('source', 'target', 'typing_only', 'allowed'),
    [
        ('sync.turn', 'protocol.session', False, True),
        ('sync.turn', 'sync.apply', False, True),
        ('protocol.session', 'sync.turn', False, False),
        ('protocol.session', 'merge.mergers', False, False),
        ('protocol.session', 'merge.mergers', True, True),
        ('codec.xml', 'state.work', False, False),
        ('errors', 'constants', False, True),
        ('context', 'adapter', False, True),
        ('adapter', 'context', False, False),
        ('adapter', 'context', True, True),
        ('cli.engine', 'cli.report', False, True),
        ('cli.engine', '', False, True),
        ('cli.hooks', 'cli.engine', False, False),
        ('cli.notes', 'cli', False, True),
        ('cli.notes', 'cli.engine', False, False),
        ('cli.notes', 'storage.directory', False, True),
        ('cli.notes', 'protocol.devinf', False, False),
    ],
)
def test_the_rule_itself(source, target, typing_only, allowed):
    assert is_allowed(source, target, typing_only) is allowed
