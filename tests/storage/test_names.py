"""Names from peers: what is refused, what is kept, and names for copies."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysyncml.errors import InvalidName, SyncmlError
from pysyncml.storage import names
from pysyncml.storage.names import conflict_name, free_name, is_protected, local_name

HOSTILE = [
    # out of the directory
    *(
        '',
        '.',
        '..',
        '../x',
        'a/..',
        'a/../b',
        './a',
        'a/.',
        'a/./b',
        '/',
        '/etc/passwd',
        '//host/x',
    ),
    *(
        '..\\x',
        'a\\..\\..\\x',
        '..\\..',
        'a/..\\b',
        '.\u200b.',
        '.\u200b./x',
        '\u200b',
        'a//b',
        'a/',
    ),
    *('a\0b', '\0', 'a/\0', '\ud800', 'x\udc2f', 'x\udc00/..'),
    # our own state
    *(
        '.sync',
        '.sync/options.json',
        'a/.sync/x',
        '.SYNC/x',
        '.Sync',
        '.sync.',
        '.sync ',
        '.sync. .',
    ),
    *('.sync::$DATA', '.sync:x', '.sync::$INDEX_ALLOCATION/x', '.s\u200cync', '.sync\ufeff/x'),
    *(
        '.s\u00adync',
        '.\u017fync',
        '\uff0esync',
        '.\uff53\uff59\uff4e\uff43',
        'SYNC~1',
        'sync~12/x',
    ),
    *('.s\udce2\udc80\udc8cync', '\u2024sync', 'a\\.sync\\x', '.sync\\x'),
    # version control
    *('.git', '.git/hooks/pre-commit', '.GIT/config', 'a/b/.Git', '.git ', '.git...', '.git:x/y'),
    *('.g\u200dit', '.g\u0131t', 'git~1', 'GIT~1/config', 'GI7EBA~1', '.hg/hgrc', '.HG', '.svn/x'),
    *('.bzr/x', 'CVS', 'CVS/Root', 'CVS./Root', '_darcs/prefs', '_DARCS', '.fossil', '_FOSSIL_'),
    *('.jj/x', '.pijul', '.fslckout'),
    # too long
    *('x' * 256, 'a/' + 'é' * 128, 'a/' * 2048 + 'b', '/'.join(['x' * 200] * 21)),
]

FINE = [
    *(
        'a',
        'a.txt',
        'a/b/c.txt',
        '.hidden',
        '.gitignore',
        '.github/x',
        '.syncignore',
        'sync',
        '.synced',
    ),
    *(
        'git',
        'hg',
        'git~1.txt',
        'CVs',
        'CVs/mine.txt',
        'x~1',
        'git~',
        'a.git',
        'x.sync',
        '...',
        '.. a',
    ),
    *(' ', 'a ', 'a.', 'a\\b', 'a\nb', 'a:b', 'C:', 'con', 'a?*"<>|', '\x01', '~', '-rf', '$HOME'),
    *(
        '\udcff\udcfe',
        'caf\udce9.txt',
        'é',
        'e\u0301',
        '日本',
        '\U0001f600',
        'family \U0001f468\u200d\U0001f469',
    ),
    *('x' * 255, 'é' * 127, '/'.join(['x' * 200] * 20)),
]

NOT_ON_WINDOWS = [
    *(
        'C:',
        'C:/x',
        'c:x',
        'a\\b',
        '\\\\host\\share',
        '\\x',
        'a.',
        'a ',
        '.../x',
        'a./b',
        'a<b',
        'a>b',
    ),
    *(
        'a"b',
        'a|b',
        'a?',
        'a*',
        'a\x01',
        'a\nb',
        'CON',
        'con',
        'con.txt',
        'a/NUL',
        'nul.tar.gz',
        'LPT1',
    ),
    *('com9.txt', 'COM\u00b9', 'aux .txt', 'prn', 'CONIN$', 'a:stream'),
]

NAMES = st.lists(
    st.text(st.characters(codec='utf-8', exclude_characters='/\0'), min_size=1, max_size=300),
    min_size=1,
    max_size=4,
).map('/'.join)


@pytest.mark.parametrize('name', HOSTILE, ids=ascii)
def test_hostile_names_are_refused_in_one_line(name):
    for windows in (False, True):
        with pytest.raises(InvalidName) as caught:
            local_name(name, windows=windows)
        text = str(caught.value)
        assert text.isprintable()
        assert len(text) < 300


def test_there_are_enough_hostile_names():
    assert len(set(HOSTILE)) >= 60


@pytest.mark.parametrize('name', FINE, ids=ascii)
def test_odd_names_are_kept(name):
    assert local_name(name, windows=False) == name


@pytest.mark.parametrize('name', NOT_ON_WINDOWS, ids=ascii)
def test_windows_has_rules_of_its_own(name):
    with pytest.raises(InvalidName):
        local_name(name, windows=True)


@pytest.mark.parametrize(
    'name', ['a', 'a/b.txt', '.hidden', 'console', 'com', 'com10', 'é/日本.txt', 'nula']
)
def test_plain_names_are_fine_on_windows(name):
    assert local_name(name, windows=True) == name


def test_bytes_that_are_utf8_after_all_are_read_as_such():
    assert local_name('\udcc3\udca9.txt') == 'é.txt'


def test_another_state_folder_is_protected_besides():
    for name in ('.Mine/x', '.mine', 'MINE~1', '.sync/x', '.m\u200bine'):
        with pytest.raises(InvalidName):
            local_name(name, '.mine')
    assert local_name('.mine/x') == '.mine/x'


@pytest.mark.parametrize('folder', sorted(names.VCS_FOLDERS))
def test_every_vcs_folder_is_protected(folder):
    assert is_protected(folder)
    assert is_protected(folder + '. ')
    assert not is_protected('x' + folder)


@given(NAMES)
def test_what_is_accepted_stays_below_the_root(name):
    try:
        path = local_name(name)
    except InvalidName:
        return
    assert os.path.normpath(os.path.join('/root', path)) == f'/root/{path}'
    assert all(len(os.fsencode(part)) <= 255 for part in path.split('/'))
    assert not any(part.lower() in ('.sync', '.git') for part in path.split('/'))
    assert local_name(path) == path


@given(st.text(max_size=40))
def test_any_text_is_accepted_or_refused_properly(name):
    try:
        local_name(name)
    except SyncmlError as error:
        assert isinstance(error, InvalidName)


# --- names for copies ---


@pytest.mark.parametrize(
    ('name', 'taken', 'expected'),
    [
        ('a.txt', set(), 'a.txt'),
        ('a/b.txt', {'a/b.txt'}, 'a/b(1).txt'),
        ('a/b.txt', {'a/b.txt', 'a/b(1).txt', 'a/b(2).txt'}, 'a/b(3).txt'),
        ('a.d/b', {'a.d/b'}, 'a.d/b(1)'),
        ('.profile', {'.profile'}, '.profile(1)'),
        ('x.tar.gz', {'x.tar.gz'}, 'x.tar(1).gz'),
    ],
)
def test_free_name(name, taken, expected):
    assert free_name(name, taken.__contains__) == expected


def test_free_name_asks_seldom_when_many_are_taken():
    taken = {'n.txt', *(f'n({number}).txt' for number in range(1, 50_001))}
    asked = []

    def is_taken(name):
        asked.append(name)
        return name in taken

    assert free_name('n.txt', is_taken) == 'n(50001).txt'
    assert len(asked) < 150


def test_free_name_gives_up_when_everything_is_taken():
    with pytest.raises(InvalidName, match='free'):
        free_name('a', lambda name: True)


@pytest.mark.parametrize(
    ('name', 'label', 'expected'),
    [
        ('a/b.txt', 'laptop', 'a/b (conflict laptop).txt'),
        ('b', 'my.phone_2-x', 'b (conflict my.phone_2-x)'),
        ('b.txt', 'Jürgen/../x\n', 'b (conflict Jurgen-..-x).txt'),
        ('b.txt', '', 'b (conflict).txt'),
        ('b.txt', '/\0日本', 'b (conflict).txt'),
        ('.rc', 'x', '.rc (conflict x)'),
        ('\ud800', 'x', '\ud800 (conflict x)'),
    ],
)
def test_conflict_name(name, label, expected):
    assert conflict_name(name, label) == expected


def test_long_names_are_cut_between_characters():
    for stem in ('é' * 125, 'x' * 251, '\U0001f600' * 62, 'e\u0301' * 83, '日' * 83):
        name = conflict_name(f'd/{stem}.txt', 'laptop')
        base = name.removeprefix('d/')
        assert 245 < len(base.encode()) <= 255
        assert base.endswith(' (conflict laptop).txt')
        cut = base.removesuffix(' (conflict laptop).txt')
        assert stem.startswith(cut)
        assert not unicodedata.combining(stem[len(cut)])


def test_no_room_below_the_folder():
    folder = '/'.join(['x' * 203] * 20) + '/' + 'y' * 10
    name = f'{folder}/z.txt'
    assert len(local_name(name)) <= 4096
    assert conflict_name(name, 'laptop') == 'z (conflict laptop).txt'


@given(NAMES, st.text(max_size=100))
def test_copies_of_good_names_have_good_names(name, label):
    try:
        local_name(name, windows=False)
    except InvalidName:
        return
    for copy in (conflict_name(name, label), free_name(name, lambda other: other == name)):
        assert local_name(copy, windows=False) == copy
        assert copy != name
