"""How an error is told to people: one clear line, what to do, and an exit code."""

from __future__ import annotations

import errno

from pysyncml import errors
from pysyncml.cli.report import printable
from pysyncml.constants import ExitCode


class Locked(errors.SyncmlError):
    """Another program is working on the same directory."""

    exit_code = ExitCode.LOCKED


# what to do, unless the message says it already: (class, option the hint is about, hint)
_HINTS: tuple[tuple[type[Exception], str, str], ...] = (
    (
        errors.TooManyDeletions,
        '--allow-deletions',
        'If this is what you want, run again with --allow-deletions.',
    ),
    (
        errors.StoreEmpty,
        '--allow-deletions',
        'If everything was deleted on purpose, run again with --allow-deletions.',
    ),
    (
        errors.WrongDirectory,
        '--allow-deletions',
        'If it is the right one all the same, run again with --allow-deletions.',
    ),
    (
        errors.StateDamaged,
        'made anew',
        'The next run sets it aside and makes a new one; no note is lost by that.',
    ),
    (errors.CannotCompare, '--mode', 'What compares everything is --mode full.'),
    (
        errors.MissingCredentials,
        '--username',
        'Run again with --username, and --password-file or the prompt for the password.',
    ),
    (
        errors.InvalidCredentials,
        '--username',
        'Check --username and the password (--password-file, or the prompt).',
    ),
)


_LONGEST = 1000  # characters; peers write parts of such lines


def explain(error: BaseException) -> tuple[str, int]:
    """Return the line that says what went wrong, and the exit code that goes with it."""
    if isinstance(error, KeyboardInterrupt):
        text = 'interrupted; what was done so far is kept, run again to go on'
        return text, ExitCode.INTERRUPTED
    if isinstance(error, errors.SyncmlError):
        text = str(error) or (type(error).__doc__ or type(error).__name__).strip()
        return _one_line(_with_hint(error, text)), int(error.exit_code)
    reason = errors.refusal_of_system(error)
    if reason is None and type(error).__module__.startswith('sqlalchemy'):
        reason = f'the state database cannot be used: {getattr(error, "orig", None) or error}'
    if reason is not None:
        return _one_line(reason + _remedy(error)), ExitCode.FAILED
    text = f'internal error: {type(error).__name__}: {error}'
    return _one_line(text) + ' (run again with -vvv to see where)', ExitCode.FAILED


def _with_hint(error: Exception, text: str) -> str:
    for kind, option, hint in _HINTS:
        if isinstance(error, kind) and option not in text:
            return f'{text.rstrip(".")}. {hint}'
    return text


def _remedy(error: BaseException) -> str:
    code = error.errno if isinstance(error, OSError) else None
    text = str(getattr(error, 'orig', None) or '')
    if code in (errno.ENOSPC, errno.EDQUOT) or 'is full' in text:
        return '. Free some space, then run again: nothing was lost'
    if code in (errno.EMFILE, errno.ENFILE):
        return '. Close some programs, then run again: nothing was lost'
    if code == errno.EROFS or 'readonly' in text:
        return '. The state folder has to be writable'
    if 'is locked' in text:
        return '. Wait for the program that uses it, then run again'
    return ''


def _one_line(text: str) -> str:
    return printable(' '.join(text.split())[:_LONGEST])
