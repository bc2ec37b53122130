"""What goes to the log, how it looks, and how much of it is shown."""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import Any, NamedTuple, TextIO

from pysyncml.cli.tables import printable
from pysyncml.errors import UsageError

log = logging.getLogger('pysyncml.cli')

_LONGEST, _MOST_LINES = 2000, 200  # characters of a line, and lines of one message

_MARKS = {
    logging.DEBUG: '[  ]',
    logging.INFO: '[--]',
    logging.WARNING: '[++]',
    logging.ERROR: '[**]',
    logging.CRITICAL: '[**]',
}

# libraries whose own chatter is only of interest at the highest level
_LIBRARIES = ('sqlalchemy', 'urllib3', 'requests', 'cheroot', 'filelock', 'keyring', 'asyncio')


# libraries that would write down what is in the database, or the secret addresses of sessions
_SQL = 'sqlalchemy'
_SECRETS = re.compile(r'(?P<before>(?:\bPOST |url: )[^\s?;"]*[?;]|[?&;]session=)[^\s"\']*')


def without_secrets(text: str) -> str:
    """Return *text* without what makes the address of a session its own."""
    return _SECRETS.sub(r'\g<before>…', text)


class LogFormatter(logging.Formatter):
    """Write a mark and the level before every line, several lines of one message included.

    Where a line goes on, ``|`` stands before it: what a peer says cannot look like one of ours.

    ``[--] INFO: text``, with *logger* ``[--] INFO|name: text``, with *stamp* the time in front.
    """

    def __init__(self, *, logger: bool = False, stamp: bool = False) -> None:
        super().__init__()
        self.logger = logger
        self.stamp = stamp

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of *record*, with its traceback if it has one."""
        mark = _MARKS.get(record.levelno, '[**]' if record.levelno > logging.INFO else '[  ]')
        name = f'|{record.name}' if self.logger else ''
        stamp = self.formatTime(record, '%Y-%m-%d %H:%M:%S') + ' ' if self.stamp else ''
        prefix = f'{stamp}{mark} {record.levelname}{name}: '
        first, *more = without_secrets(super().format(record)).splitlines() or ['']
        more = more if len(more) <= _MOST_LINES else [*more[:_MOST_LINES], '…']
        lines = [first, *(f'| {line}' for line in more)]
        return '\n'.join(prefix + _harmless(line) for line in lines)


def _harmless(line: str) -> str:
    """Return *line*, parts of which may come from a peer, fit for terminals."""
    line = line if len(line) <= _LONGEST else f'{line[:_LONGEST]}…'
    return line if line.isprintable() else printable(line.expandtabs(4))


class Showing(NamedTuple):
    """What was set up, and the level of the root logger before."""

    handlers: tuple[logging.Handler, ...] = ()
    level: int | None = None


def set_up_logging(options: Any, stream: TextIO | None = None) -> Showing:
    """Show as much as the options ask for; return what :func:`stop_logging` takes back.

    On *stream* (default: stderr): warnings; with ``-v`` what is being done, ``-vv`` with the
    names of the loggers, ``-vvv`` every detail and tracebacks, ``-vvvv`` the libraries too;
    ``--quiet`` errors only. A log file gets what ``-v`` shows, at least.
    """
    verbose = options.verbose or 0
    level = {0: logging.WARNING, 1: logging.INFO, 2: logging.INFO}.get(verbose, logging.DEBUG)
    if options.quiet and not verbose:
        level = logging.ERROR
    shown = logging.StreamHandler(stream or sys.stderr)
    shown.setLevel(level)
    shown.setFormatter(LogFormatter(logger=verbose >= 2))
    handlers: list[logging.Handler] = [shown]
    if options.logFile:
        handlers.append(_file(options.logFile, min(level, logging.INFO)))
    root = logging.getLogger()
    before = root.level
    root.setLevel(min(handler.level for handler in handlers))
    for handler in handlers:
        root.addHandler(handler)
    for name in _LIBRARIES:
        if verbose >= 4:
            # of the database: what is done, not each row that is read
            level = logging.INFO if name == _SQL else logging.NOTSET
        else:
            # what urllib3 warns of, we say ourselves, in one line
            level = logging.ERROR if name == 'urllib3' else logging.WARNING
        logging.getLogger(name).setLevel(level)
    return Showing(tuple(handlers), before)


def _file(path: str, level: int) -> logging.Handler:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        handler = logging.FileHandler(path, encoding='utf-8', errors='backslashreplace')
    except OSError as error:
        raise UsageError(f'cannot write the log file "{path}": {error.strerror}') from error
    handler.setLevel(level)
    handler.setFormatter(LogFormatter(logger=True, stamp=True))
    return handler


def stop_logging(showing: Showing) -> None:
    """Take the handlers off again, close their files, and let the level be what it was."""
    root = logging.getLogger()
    for handler in showing.handlers:
        root.removeHandler(handler)
        handler.close()
    if showing.level is not None:
        root.setLevel(showing.level)
