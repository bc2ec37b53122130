"""Names that peers send, and what they may be called here: the one place that decides.

A name from a peer becomes a path below the directory of notes. Whatever writes files passes the
name through :func:`local_name` first, and through nothing else. Two dangers are kept out: paths
that lead outside of the directory, and paths that lead into folders whose files are trusted by
programs (our own state, the hooks and configuration of version control systems).

File systems see one name behind many spellings: they ignore case, trailing dots, blanks, stream
names (NTFS), invisible characters (HFS+, ext4 with case folding) and have short names (FAT). Names
that come close to a protected folder under any of those rules are refused on every system, as a
directory may lie on any file system and be handed on to any peer.

Names are ``str`` with ``surrogateescape`` for bytes that are no UTF-8, as :func:`os.fsdecode`
gives them.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from pysyncml.errors import InvalidName

STATE_FOLDER = '.sync'
"""The folder of our own state; never a part of a note's name, whatever the state folder is."""

VCS_FOLDERS = frozenset(
    {'.git', '.hg', '.svn', '.bzr', 'CVS', '_darcs', '.fossil', '.fslckout', '_FOSSIL_'}
    | {'.jj', '.pijul', '.sl'}
)
"""Folders (and files) of version control systems: to write there is to run code.

All are matched without regard to case, but ``CVS``, as people do have a folder ``CVs``.
"""

MAX_COMPONENT = 255
"""How long one component of a name may be, in bytes of UTF-8."""

MAX_NAME = 4096
"""How long a whole name may be, in bytes of UTF-8."""

MAX_DEPTH = 100
"""How many components a name may have."""

_FOLDED = frozenset(folder.casefold() for folder in VCS_FOLDERS - {'CVS'})
_LONGEST_FOLDER = max(map(len, (*VCS_FOLDERS, STATE_FOLDER)))
_WINDOWS = os.name == 'nt'
_MAX_EXTENSION = 32
_MAX_LABEL = 64
_COUNTED_ONE_BY_ONE = 100

# Default_Ignorable_Code_Point of Unicode: HFS+ ignores many of them, ext4 with casefold all.
_INVISIBLE = re.compile(
    '[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e'
    '\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3'
    '\U0001d173-\U0001d17a\U000e0000-\U000e0fff]'
)
_PLAIN = re.compile(r'[A-Za-z0-9_.(), -]*[A-Za-z0-9_)(,-]', re.ASCII)
_SHORT_NAME = re.compile(r'(.{1,6})~[0-9]+')
_NOT_ON_WINDOWS = re.compile(r'[\x00-\x1f<>:"|?*\\]')
_DEVICE = re.compile(
    r'(con|prn|aux|nul|conin\$|conout\$|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])'
    r' *([.:].*)?',
    re.IGNORECASE | re.DOTALL,
)


def local_name(name: str, state_dir: str = STATE_FOLDER, *, windows: bool = _WINDOWS) -> str:
    """Return the relative POSIX path that the peer's *name* stands for here.

    The path is *name* itself, but for undecodable bytes that turn out to be UTF-8 after all, so
    that one file never goes by two names. *state_dir* is refused as a component, and so are
    ``.sync`` and :data:`VCS_FOLDERS`. Odd names that the system can store are kept; *windows* adds
    the rules of Windows.

    :raises InvalidName: with one line that says why, when there must be no such file.
    """
    return _local_name(name, state_dir, windows)


@lru_cache(maxsize=256)  # a name is asked for several times in a row
def _local_name(name: str, state_dir: str, windows: bool) -> str:
    if not name.isascii():
        try:
            name = name.encode('utf-8', 'surrogateescape').decode('utf-8', 'surrogateescape')
        except UnicodeEncodeError:
            raise _refused(name, 'it is no Unicode text') from None
    if not name:
        raise InvalidName('the name is empty')
    if '\0' in name:
        raise _refused(name, 'it contains a NUL character')
    if name.startswith('/'):
        raise _refused(name, 'it is an absolute path')
    if _length(name) > MAX_NAME:
        raise _refused(name, f'it is longer than {MAX_NAME} bytes')
    components = name.split('/')
    if len(components) > MAX_DEPTH:
        raise _refused(name, f'it lies in more than {MAX_DEPTH - 1} folders')
    for component in components[:-1]:
        if windows or not _is_plain_folder(component, state_dir):
            _check_component(name, component, state_dir, windows)
    _check_component(name, components[-1], state_dir, windows)
    return name


@lru_cache(maxsize=1024)  # many names have the same folders
def _is_plain_folder(component: str, state_dir: str) -> bool:
    try:
        _check_component(component, component, state_dir, False)
    except InvalidName:
        return False
    return True


def is_protected(component: str, state_dir: str = STATE_FOLDER) -> bool:
    """Return whether some file system could take *component* for a folder nobody may write to.

    That is *state_dir*, ``.sync`` and :data:`VCS_FOLDERS`, in all spellings.
    """
    if _PLAIN.fullmatch(component):
        return _is_folder(component, state_dir)
    return _is_disguised(component, state_dir)


def free_name(name: str, taken: Callable[[str], bool]) -> str:
    """Return *name*, or when it is *taken* the first of ``name(1).ext``, ``name(2).ext`` ….

    Long names are cut so that the result keeps within the limits. After a hundred of them numbers
    may be left out.

    :raises InvalidName: when *taken* says yes to everything.
    """
    if not taken(name):
        return name
    for number in range(1, _COUNTED_ONE_BY_ONE + 1):
        candidate = _with_suffix(name, f'({number})')
        if not taken(candidate):
            return candidate
    return _with_suffix(name, f'({_free_number(name, taken)})')


def conflict_name(name: str, label: str) -> str:
    """Return the name for the losing version of *name*: ``folder/stem (conflict LABEL).ext``.

    *label* says whose version it is; of it only ASCII letters, digits and ``._ -`` are kept.
    The result may be taken: ask :func:`free_name`.
    """
    plain = unicodedata.normalize('NFKD', label)
    plain = ''.join(char for char in plain if not unicodedata.combining(char))
    plain = re.sub(r'[^A-Za-z0-9._ -]+', '-', plain)[:_MAX_LABEL].strip(' .-')
    return _with_suffix(name, f' (conflict {plain})' if plain else ' (conflict)')


def _check_component(name: str, component: str, state_dir: str, windows: bool) -> None:
    """Raise InvalidName for *name* when its *component* is forbidden."""
    _check_anywhere(name, component, state_dir)
    if windows:
        _check_windows(name, component)


def _check_anywhere(name: str, component: str, state_dir: str) -> None:
    """Raise InvalidName for *name* when its *component* is forbidden on any system."""
    if not component:
        raise _refused(name, 'a part between slashes is empty')
    if _length(component) > MAX_COMPONENT:
        raise _refused(name, f'a part of it is longer than {MAX_COMPONENT} bytes')
    if _PLAIN.fullmatch(component):
        longest = max(_LONGEST_FOLDER, len(_composed(state_dir)))
        if len(component) <= longest and _is_folder(component, state_dir):
            raise _refused(name, f'{_shown(component)} is a protected folder')
        return  # it has nothing in it that the rest is about
    # A backslash separates nothing here, but it does on the next peer, and on mounted shares.
    for part in component.split('\\'):
        seen = _INVISIBLE.sub('', part)
        if seen == '..' or (seen == '.' and part == component):
            raise _refused(name, f'it contains the part {_shown(part)}')
        if part and is_protected(part, state_dir):
            raise _refused(name, f'{_shown(part)} is a protected folder')
    if not _INVISIBLE.sub('', component):
        raise _refused(name, 'a part of it is invisible')


def _check_windows(name: str, component: str) -> None:
    """Raise InvalidName for *name* when its *component* is forbidden on Windows."""
    found = _NOT_ON_WINDOWS.search(component)
    if found:
        raise _refused(name, f'Windows does not allow the character {_shown(found[0])}')
    if component[-1] in '. ':
        raise _refused(name, 'Windows does not allow a dot or a blank at the end')
    if _DEVICE.fullmatch(component):
        raise _refused(name, f'{_shown(component)} is a device on Windows')


@lru_cache(maxsize=1024)
def _is_disguised(component: str, state_dir: str) -> bool:
    """Return whether *component*, of which only some system can tell, is a protected folder."""
    seen = _INVISIBLE.sub('', component)
    seen = _INVISIBLE.sub('', unicodedata.normalize('NFKC', seen))
    seen = seen.split(':', 1)[0].rstrip('. ')
    if _is_folder(seen, state_dir):
        return True
    short = _SHORT_NAME.fullmatch(seen)
    return short is not None and _is_short(short[1].casefold(), state_dir)


def _is_folder(component: str, state_dir: str) -> bool:
    """Return whether *component* is a protected folder, but for case and composition."""
    if component == 'CVS':
        return True
    folded = component.upper().casefold()  # upper() first: some systems take dotless i for I
    if folded in _FOLDED or folded == STATE_FOLDER:
        return True
    return folded == _composed(state_dir)


@lru_cache(maxsize=16)
def _composed(state_dir: str) -> str:
    return unicodedata.normalize('NFKC', state_dir).casefold()


def _is_short(stem: str, state_dir: str) -> bool:
    """Return whether *stem* begins a FAT short name (``GIT~1``, ``GI7EBA~1``) of such a folder."""
    for folder in (*_FOLDED, STATE_FOLDER, state_dir.casefold()):
        basis = folder.replace('.', '').replace(' ', '')
        if stem == basis[:6]:
            return True
        if len(stem) == 6 and stem[:2] == basis[:2] and re.fullmatch('[0-9a-f]{4}', stem[2:]):
            return True
    return False


def _free_number(name: str, taken: Callable[[str], bool]) -> int:
    """Return a number that is free for *name*, in logarithmically many questions."""
    high = _COUNTED_ONE_BY_ONE
    while taken(_with_suffix(name, f'({high})')):
        low, high = high, high * 2
        if high > 2**40:
            raise _refused(name, 'no name like it is free')
    while high - low > 1:
        middle = (low + high) // 2
        if taken(_with_suffix(name, f'({middle})')):
            low = middle
        else:
            high = middle
    return high


def _with_suffix(name: str, suffix: str) -> str:
    """Return *name* with *suffix* before its extension, its stem cut to keep within the limits."""
    folder, base = posixpath.split(name)
    stem, extension = posixpath.splitext(base)
    if _length(extension) > _MAX_EXTENSION:
        stem, extension = base, ''
    added = _length(suffix) + _length(extension)
    room = min(MAX_COMPONENT, MAX_NAME - _length(folder) - 1) - added
    if room < 1:  # the folder alone fills the name: better elsewhere than nowhere
        folder, room = '', MAX_COMPONENT - added
    return posixpath.join(folder, f'{_cut(stem, room)}{suffix}{extension}')


def _cut(text: str, size: int) -> str:
    """Return the beginning of *text* that fits into *size* bytes, in whole characters."""
    if _length(text) <= size:
        return text
    end = min(size, len(text) - 1)
    while end and (_length(text[:end]) > size or unicodedata.combining(text[end])):
        end -= 1
    return text[:end]


def _length(text: str) -> int:
    """Return the length of *text* on disk, in bytes."""
    try:
        return len(text.encode('utf-8', 'surrogateescape'))
    except UnicodeEncodeError:  # no name for a file, but copies of it may be asked for
        return len(text.encode('utf-8', 'surrogatepass'))


def _shown(text: str) -> str:
    """Return *text* quoted for people: on one line, not too long, nothing invisible in it."""
    return repr(text if len(text) <= 80 else text[:79] + '…')


def _refused(name: str, reason: str) -> InvalidName:
    """Return the error for *name*."""
    return InvalidName(f'the name {_shown(name)} is not allowed: {reason}')
