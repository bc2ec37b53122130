"""Which files in a directory of notes are no notes.

Some are never notes: our own state, version control, the traces of editors and desktops. The
user names others in the file ``.syncignore`` at the top of the directory, in the syntax of
``.gitignore``. That file itself is a note, so that all peers ignore the same files.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
import unicodedata
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pysyncml.errors import StorageError
from pysyncml.storage.names import STATE_FOLDER, is_protected

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

log = logging.getLogger(__name__)

IGNORE_FILE = '.syncignore'
"""Name of the file with the user's patterns."""

BUILTIN_PATTERNS = (
    *('*~', '.*.sw?', '.#*', '#*#', '~$*', '.~lock.*'),
    *('.DS_Store', 'Thumbs.db', 'desktop.ini'),
)
"""Files ignored besides the protected folders, as patterns for people to read."""

_DESKTOP = frozenset(('.ds_store', 'thumbs.db', 'desktop.ini'))
_MAX_SIZE = 1 << 16
_NO_FILE = {errno.EINVAL, errno.EISDIR, errno.ENOTDIR, errno.ENXIO, errno.ELOOP}
_MAX_BRANCHES = 2
_STAR = '[^/]*'  # what pathspec makes of a star

_STARS = re.compile(r'(?<!\\)\*{2,}')
_CLASS = re.compile(r'\[:([a-z]+):\]')
_CLASSES = {
    'alnum': '0-9A-Za-z',
    'alpha': 'A-Za-z',
    'blank': ' \t',
    'digit': '0-9',
    'lower': 'a-z',
    'space': ' \t\n\v\f\r',
    'upper': 'A-Z',
    'xdigit': '0-9A-Fa-f',
}


class Ignore:
    """Decides about the paths below *root*, whose folder *state_dir* is our own.

    ``.syncignore`` is read once, here. If it is no file, or lines of it make no sense, that is
    logged as one warning, and what can be understood holds.

    Raises:
        StorageError: it cannot be read now. Without it what is to stay here would go to others.
    """

    def __init__(self, root: str, state_dir: str = STATE_FOLDER) -> None:
        self._state_dir = state_dir
        ordinary = _ordinary(state_dir)
        self._is_ordinary = re.compile(rf'{ordinary}\Z', re.ASCII).match
        self._are_ordinary = re.compile(rf'(?:(?>{ordinary})/)*+', re.ASCII).fullmatch
        self._spec = _load(os.path.join(root, IGNORE_FILE))
        self._closed: dict[str, bool] = {}  # folders that were asked for: are they out of sight

    def skip(self, rel_path: str, is_dir: bool) -> bool:
        """Return whether *rel_path* is no note, or as *is_dir* a folder not to look into.

        *rel_path* is a POSIX path relative to the root, without a slash at its end. Only its last
        component is judged: whoever walks the directory has asked for the folders above it, and
        has not looked into those to skip. For a path out of the blue see :meth:`ignored`.
        """
        name = rel_path[rel_path.rfind('/') + 1 :]
        if not self._is_ordinary(name) and (
            is_protected(name, self._state_dir) or (not is_dir and _is_trace(name))
        ):
            return True
        if self._spec is None or rel_path == IGNORE_FILE:
            return False
        return self._spec.match_file(rel_path + '/' if is_dir else rel_path)

    def skips_none(self, names: Iterable[str]) -> bool:
        """Return whether certainly nothing of these names, all in one folder, is to be skipped.

        That is so for most folders, and takes much less than to ask for one after the other.
        """
        return self._spec is None and self._are_ordinary('/'.join([*names, ''])) is not None

    def ignored(self, rel_path: str) -> bool:
        """Return whether the file *rel_path* is no note, or lies in a folder that is skipped.

        As with git, a file in a skipped folder cannot be brought back by a pattern.
        """
        folder = rel_path.rpartition('/')[0]
        closed = self._closed.get(folder)
        if closed is None:
            ends = (end for end, char in enumerate(rel_path) if char == '/')
            closed = self._closed[folder] = any(self.skip(rel_path[:end], True) for end in ends)
        return closed or self.skip(rel_path, False)


def _ordinary(state_dir: str) -> str:
    """Return a pattern for most names that are neither protected nor traces.

    They begin with a letter or a digit and have nothing odd in them; of such names only these few
    mean something.
    """
    ours = unicodedata.normalize('NFKC', state_dir).casefold()
    few = '|'.join(map(re.escape, ('cvs', ours, *sorted(_DESKTOP))))
    begin = rf'(?!(?i:{few})(?:\Z|/))[A-Za-z0-9]'
    return rf'{begin}(?:[A-Za-z0-9_.(), -]*[A-Za-z0-9_)(,-])?'


def _is_trace(name: str) -> bool:
    """Return whether a file called *name* matches BUILTIN_PATTERNS."""
    if not name:
        return False
    first, last = name[0], name[-1]
    if last == '~' or (first == '~' and name.startswith('~$')):
        return True
    if first == '.':
        if name[-4:-1] == '.sw' and len(name) > 4:
            return True
        return name.startswith(('.#', '.~lock.')) or name.lower() == '.ds_store'
    if first == '#':
        return last == '#' and len(name) > 1
    return first in 'tTdD' and name.lower() in _DESKTOP


def _load(path: str) -> GitIgnoreSpec | None:
    """Return the patterns in the file *path*, or ``None`` if there are none."""
    try:
        text = _read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in _NO_FILE:
            what = f'{IGNORE_FILE} cannot be read, so it is not known what to leave out'
            raise StorageError(f'{what}: {error.strerror}') from error
        log.warning('%s cannot be read, so nothing is ignored by it: %s', path, error.strerror)
        return None
    from pathspec import GitIgnoreSpec

    patterns: list[Any] = []
    wrong = []
    for number, line in enumerate(text.removeprefix('\ufeff').split('\n'), 1):
        try:
            patterns += _parse(line.removesuffix('\r'))
        except (ValueError, re.error, OverflowError, RecursionError):
            wrong.append(str(number))
    if wrong:
        more = ', …' if len(wrong) > 10 else ''
        log.warning('%s: not understood, so not used: line %s%s', path, ', '.join(wrong[:10]), more)
    if not patterns:
        return None
    try:
        return GitIgnoreSpec(patterns, backend='simple')
    except TypeError:  # an older pathspec has no other
        return GitIgnoreSpec(patterns)


def _parse(line: str) -> list[Any]:
    """Return the pattern in *line* as a list, which is empty for comments and blank lines.

    The file may come from a peer, so no pattern may take for ever to match a name that was made
    for that. Classes like ``[:alpha:]`` are spelt out, as pathspec does not know them.

    :raises ValueError: if *line* is no pattern, or one that takes too long.
    """
    from pathspec import GitIgnoreSpec

    if line.startswith('#'):
        return []
    parts = [part if part in ('**', '!**') else _STARS.sub('*', part) for part in line.split('/')]
    if parts[:-1].count('**') > _MAX_BRANCHES:
        raise ValueError('too many **')
    line = _CLASS.sub(lambda found: _CLASSES.get(found[1], found[0]), '/'.join(parts))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of re, about brackets that it may change
        patterns: list[Any] = [
            pattern
            for pattern in GitIgnoreSpec.from_lines([line]).patterns
            if pattern.include is not None
        ]
        for pattern in patterns:
            pattern.regex = re.compile(_committed(pattern.regex.pattern))
    return patterns


def _committed(regex: str) -> str:
    """Return *regex* with stars that never try again what comes before the next star.

    The first place where the text between two stars fits is as good as any later one, so this
    matches the same names, but in a time that does not grow with each star.

    :raises ValueError: if too many stars remain that cannot be written so.
    """
    first, *parts = regex.split(_STAR)
    result = first
    branches = 0
    for part in parts[:-1]:
        if '(?' in part:
            branches += 1
            result += _STAR + part
        else:
            result += f'(?>{_STAR}?{part})'
    if branches > _MAX_BRANCHES:
        raise ValueError('too many stars')
    return result + _STAR + parts[-1] if parts else result


def _read(path: str) -> str:
    """Return the text of the file *path*; anything but a regular file is an OSError."""
    # Not to wait for the other end, should it be a pipe.
    handle = os.open(path, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0) | getattr(os, 'O_BINARY', 0))
    with open(handle, 'rb') as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, 'it is no regular file')
        data = stream.read(_MAX_SIZE + 1)
    if len(data) > _MAX_SIZE:
        log.warning('%s: only the first %d bytes are used', path, _MAX_SIZE)
        data = data[: data.rfind(b'\n', 0, _MAX_SIZE) + 1]
    return data.decode('utf-8', 'surrogateescape')
