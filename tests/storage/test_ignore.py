"""What is no note: built-in rules, and those of the user."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import unicodedata

import pytest

from pysyncml.storage.ignore import Ignore
from pysyncml.storage.ignore import _is_trace as is_trace
from pysyncml.storage.names import is_protected


@pytest.fixture
def ignore(tmp_path):
    """Return a function that makes an Ignore with these lines in .syncignore."""

    def make(*lines):
        if lines:
            (tmp_path / '.syncignore').write_bytes(
                b'\n'.join(line if isinstance(line, bytes) else line.encode() for line in lines)
            )
        return Ignore(str(tmp_path))

    return make


@pytest.mark.parametrize(
    'name',
    [
        *('a.txt~', '~', '.a.txt.swp', '.a.swo', '.x.swx', '.#a.txt', '#a.txt#', '##', '~$a.docx'),
        *('.~lock.a.odt#', '.DS_Store', '.ds_store', 'Thumbs.db', 'thumbs.db', 'desktop.ini'),
        *('Desktop.ini', '.git', '.sync', '.SYNC', '.hg', 'CVS'),
    ],
)
def test_traces_are_no_notes(ignore, name):
    assert ignore().skip(name, False)
    assert ignore().skip(f'some/folder/{name}', False)
    assert ignore().ignored(f'some/folder/{name}')


@pytest.mark.parametrize(
    'name',
    [
        *(
            'a.txt',
            '.hidden',
            '.a',
            'a~b',
            'a.swp',
            '.swp',
            '#a',
            'a#',
            '#',
            '~a',
            'a$',
            '.syncignore',
        ),
        *(
            '.gitignore',
            'CVs',
            'Desktop.txt',
            'DS_Store',
            'a.DS_Store',
            '.~lock',
            'é',
            '\udcff',
            'sync',
        ),
    ],
)
def test_these_are_notes(ignore, name):
    assert not ignore().skip(name, False)
    assert not ignore().skip(f'some/folder/{name}', False)


@pytest.mark.parametrize('state_dir', ['.sync', 'state', 'State.x', 'ﬀ', 'stra\xdfe', '\uff53'])
def test_what_is_told_at_a_glance_is_neither_protected_nor_a_trace(tmp_path, state_dir):
    words = [
        *('CVS', '.git', '_darcs', '_FOSSIL_', '.sl', 'GIT~1', 'sync', '.sync', 'Thumbs.db'),
        *('desktop.ini', '.DS_Store', '.a.swp', '.#a', '#a#', 'a~', '~$a', '.~lock.a', 's'),
        *(state_dir, unicodedata.normalize('NFKC', state_dir).casefold()),
    ]
    words += [word.swapcase() for word in words] + [word.lower() for word in words]
    around = ['', ' ', '.', '\n', '\u200b', '1', 'x', '/', '\\', ':', '~']
    names = {before + word + after for word in words for before in around for after in around}
    rules = Ignore(str(tmp_path), state_dir)
    assert rules.skips_none(['a.txt', 'A (1), b-c_d.txt', '7'])
    ordinary = [name for name in sorted(names) if rules.skips_none([name])]
    for name in ordinary:
        assert not is_protected(name, state_dir), name
        assert not is_trace(name), name
    assert rules.skips_none(ordinary)
    for name in names.difference(ordinary):
        assert not rules.skips_none(['a', name]) and not rules.skips_none([name, 'a']), name


def test_with_patterns_each_name_is_asked_for(ignore):
    assert ignore().skips_none([]) and ignore().skips_none(['a.log', 'b'])
    assert not ignore('*.log').skips_none(['a', 'b'])


def test_folders(ignore):
    rules = ignore()
    for name in ('.sync', '.git', 'a/.git', 'a/.svn', 'CVS', '.Git '):
        assert rules.skip(name, True)
    for name in ('a', '.config', 'a/#todo#', 'old~', 'CVs'):
        assert not rules.skip(name, True)
    assert rules.ignored('a/.git/config')
    assert not rules.ignored('a/b/c')


def test_another_state_folder(tmp_path):
    rules = Ignore(str(tmp_path), '.state')
    assert rules.skip('.state', True)
    assert rules.skip('.sync', True)


@pytest.mark.parametrize(
    ('lines', 'ignored', 'kept'),
    [
        (['*.log'], ['a.log', 'd/a.log'], ['a.logs', 'a.txt']),
        (['*.log', '!keep.log'], ['a.log'], ['keep.log', 'd/keep.log']),
        (['!keep.log', '*.log'], ['keep.log'], ['a']),
        (['/top'], ['top', 'top/x'], ['d/top']),
        (['build/'], ['build/x', 'd/build/x/y'], ['build', 'd/build']),
        (['build/', '!build/keep'], ['build/keep'], []),
        (['build/*', '!build/keep'], ['build/x'], ['build/keep']),
        (['doc/**/x'], ['doc/x', 'doc/a/x', 'doc/a/b/x'], ['x', 'doc/y']),
        (['a*', '!**/ab'], ['ac', 'd/ac'], ['ab', 'd/ab']),
        (['**/tmp/**'], ['tmp/x', 'a/tmp/b/c'], ['tmp', 'a/tmp']),
        (['a?c', '[xy].md', '[!a-z].q'], ['abc', 'x.md', '1.q'], ['ac', 'z.md', 'a.q']),
        (['[[:digit:]]*.t'], ['1.t', '22x.t'], ['a.t', ':.t']),
        (['# comment', '', r'\#x', r'\!y', 'z  '], ['#x', '!y', 'z'], ['# comment', 'x', 'y']),
        (['*.log\r', 'b\r'], ['a.log', 'b'], ['a']),
        (['\ufeff*.log'], ['a.log'], ['a']),
        ([b'caf\xe9'], ['caf\udce9'], ['café']),
        (['été*'], ['été 1'], ['ete 1']),
        (['*'], ['a', 'b/c'], ['.syncignore']),
        (['a**b***c'], ['abc', 'axbxc'], ['a/b/c', 'ab']),
        (['*a*b*c*d*e*f*g*h*'], ['abcdefgh', 'xaxbxcxdxexfxgxhx'], ['abcdefg', 'hgfedcba']),
    ],
)
def test_patterns_of_the_user(ignore, lines, ignored, kept):
    rules = ignore(*lines)
    assert [path for path in ignored if not rules.ignored(path)] == []
    assert [path for path in kept if rules.ignored(path)] == []


def test_built_in_rules_cannot_be_taken_back(ignore):
    rules = ignore('!.git', '!*~')
    assert rules.skip('.git', True)
    assert rules.skip('a~', False)


def test_lines_without_sense_are_warned_of_once(ignore, caplog):
    rules = ignore('*.log', '[z-a]', '!', 'a\\', '**/a/**/b/**/c/d', '*.tmp')
    assert rules.ignored('a.log')
    assert rules.ignored('a.tmp')
    assert not rules.ignored('a.txt')
    assert len(caplog.messages) == 1
    assert 'line 2, 3, 4, 5' in caplog.messages[0]


@pytest.mark.skipif(os.name == 'nt', reason='needs POSIX')
def test_files_that_cannot_be_read_are_warned_of(tmp_path, caplog):
    path = tmp_path / '.syncignore'
    for make in (path.mkdir, lambda: os.mkfifo(path)):
        caplog.clear()
        make()
        assert not Ignore(str(tmp_path)).skip('a.log', False)
        assert len(caplog.messages) == 1
        path.rmdir() if path.is_dir() else path.unlink()


def test_too_large_a_file_is_used_in_part(ignore, caplog):
    rules = ignore('*.log', *['# filler'] * 10_000, '*.tmp')
    assert rules.ignored('a.log')
    assert not rules.ignored('a.tmp')
    assert len(caplog.messages) == 1


def test_hostile_patterns_take_no_forever(ignore):
    rules = ignore(
        *['*a' * 40 + '*b', '*[(?]' * 2 + 'x', '**/a/**/a/b', '***' * 20 + 'x', '*a/' * 20 + 'b']
    )
    start = time.process_time()
    for name in ('a' * 255, '(' * 255, '/'.join('a' * 200), 'a' * 120 + '/' + 'a' * 120):
        assert not rules.skip(name, False)
    assert time.process_time() - start < 2


def test_a_hundred_thousand_paths(ignore):
    paths = [f'folder {number % 100}/sub/note {number}.txt' for number in range(100_000)]
    for rules, limit in ((ignore(), 1.0), (ignore('*.log', 'build/', '!keep.log'), 3.0)):
        start = time.process_time()
        assert not any(rules.skip(path, False) for path in paths)
        assert time.process_time() - start < limit


def test_pathspec_is_imported_only_when_needed(tmp_path):
    code = (
        'import sys; from pysyncml.storage.ignore import Ignore; '
        f'Ignore({str(tmp_path)!r}).skip("a", False); '
        'sys.exit("pathspec" in sys.modules)'
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    assert subprocess.run([sys.executable, '-c', code], env=environment).returncode == 0
