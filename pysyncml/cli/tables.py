"""The summary table of a synchronisation, and the sentence that sums it up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from pysyncml.constants import SyncType
from pysyncml.util import num2str

_MODES = {
    SyncType.TWO_WAY: '<>',
    SyncType.SLOW_SYNC: 'SS',
    SyncType.ONE_WAY_FROM_CLIENT: '->',
    SyncType.REFRESH_FROM_CLIENT: '=>',
    SyncType.ONE_WAY_FROM_SERVER: '<-',
    SyncType.REFRESH_FROM_SERVER: '<=',
    SyncType.SERVER_ALERTED: '<>',
}

# (heading of the group, attribute of Stats, heading of the column)
_COLUMNS = (
    ('Local', 'hereAdd', 'Add'),
    ('Local', 'hereMod', 'Mod'),
    ('Local', 'hereDel', 'Del'),
    ('Local', 'hereErr', 'Err'),
    ('Remote', 'peerAdd', 'Add'),
    ('Remote', 'peerMod', 'Mod'),
    ('Remote', 'peerDel', 'Del'),
    ('Remote', 'peerErr', 'Err'),
    ('Conflicts', 'conflicts', 'Col'),
    ('Conflicts', 'merged', 'Mrg'),
)


def printable(text: object) -> str:
    """Return *text* on one line, with control characters and undecodable bytes written out."""
    return ''.join(
        c if c.isprintable() else c.encode('unicode_escape', 'backslashreplace').decode()
        for c in str(text)
    )


def describeStats(
    stats: Mapping[str, Any],
    stream: TextIO,
    title: str | None = None,
    details: bool = True,
    totals: bool = True,
    gettext: Callable[[str], str] | None = None,
) -> None:
    """Write a table of *stats* (store URI to :class:`~pysyncml.stats.Stats`) to *stream*.

    Args:
        title: a line above the table.
        details: whether there is one row per store.
        totals: whether a sentence below sums all up.
        gettext: translates every word shown.
    """
    say = gettext or _same
    text = totals_line(stats, say) if totals else ''
    wide = max(len(title or ''), len(text))
    table = _Table(stats, wide, say) if details else None
    inner = table.inner if table else wide + 2
    rule = '+' + '-' * inner + '+'
    lines = []
    if title:
        lines += [rule, '|' + _centre(title, inner) + '|']
    if table:
        lines += table.lines()
    elif totals and not title:
        lines.append(rule)
    if totals:
        lines += ['|' + _centre(text, inner) + '|', rule]
    stream.write(''.join(line + '\n' for line in lines))


def totals_line(stats: Mapping[str, Any], gettext: Callable[[str], str] | None = None) -> str:
    """Return one sentence that sums up *stats*, e.g. ``1 local change and 2 errors.``"""
    say = gettext or _same
    rows = list(stats.values())

    def counted(names: Iterable[str], one: str, many: str) -> list[str]:
        number = sum(count(row, name) for row in rows for name in names)
        return [f'{num2str(number)} {say(one if number == 1 else many)}'] if number else []

    parts = [
        *counted(('hereAdd', 'hereMod', 'hereDel'), 'local change', 'local changes'),
        *counted(('peerAdd', 'peerMod', 'peerDel'), 'remote change', 'remote changes'),
        *counted(('hereErr', 'peerErr'), 'error', 'errors'),
    ]
    settled = [
        *counted(('merged',), 'merge', 'merges'),
        *counted(('conflicts',), 'conflict', 'conflicts'),
    ]
    sentence = _join(parts, say) or say('No changes')
    return sentence + (f': {_join(settled, say)}' if settled else '') + '.'


class _Table:
    """The rows of a summary, and how wide each column must be."""

    def __init__(self, stats: Mapping[str, Any], wide: int, say: Callable[[str], str]) -> None:
        self.say = say
        self.rows = [
            [printable(uri), _mode(row), *(_number(row, name) for _, name, _ in _COLUMNS)]
            for uri, row in sorted(stats.items(), key=lambda pair: pair[0].lower())
        ]
        self.heads = [say('Source'), say('Mode'), *(say(head) for _, _, head in _COLUMNS)]
        self.widths = [
            max(len(text) for text in column) for column in zip(self.heads, *self.rows, strict=True)
        ]
        self._widen_groups()
        # a sentence that is wider than the table makes the first column grow
        self.widths[0] += max(0, wide + 2 - self.inner)

    @property
    def inner(self) -> int:
        """Characters between the outer borders."""
        return sum(self.widths) + 3 * len(self.widths) - 1

    def _groups(self) -> list[tuple[str, list[int]]]:
        groups: dict[str, list[int]] = {}
        for index, (group, _, _) in enumerate(_COLUMNS, 2):
            groups.setdefault(group, []).append(index)
        return [(self.say(group), indexes) for group, indexes in groups.items()]

    def _group_width(self, indexes: Sequence[int]) -> int:
        return sum(self.widths[i] for i in indexes) + 3 * (len(indexes) - 1)

    def _widen_groups(self) -> None:
        for name, indexes in self._groups():
            missing = len(name) - self._group_width(indexes)
            for step in range(max(0, missing)):
                self.widths[indexes[step % len(indexes)]] += 1

    def lines(self) -> list[str]:
        """Return the table from its first to its last rule."""
        groups = self._groups()
        spans = [*self.widths[:2], *(self._group_width(indexes) for _, indexes in groups)]
        rule = _rule(self.widths)
        return [
            _rule(spans),
            _row(map(_centre, ['', '', *(name for name, _ in groups)], spans)),
            _row(map(str.rjust, self.heads[:1], self.widths[:1]), self._centred(self.heads)),
            rule,
            *(self._body(row) for row in self.rows),
            rule,
        ]

    def _centred(self, texts: list[str]) -> Iterable[str]:
        return map(_centre, texts[1:], self.widths[1:])

    def _body(self, row: list[str]) -> str:
        cells = [row[0].rjust(self.widths[0]), _centre(row[1], self.widths[1])]
        for text, width in zip(row[2:], self.widths[2:], strict=True):
            cells.append(_centre(text, width) if text == '-' else text.rjust(width))
        return _row(cells)


def _same(text: str) -> str:
    return text


def count(stats: Any, name: str) -> int:
    """Return one number of *stats*; what is missing counts as 0."""
    return getattr(stats, name, 0) or 0


def _number(stats: Any, name: str) -> str:
    return num2str(count(stats, name)) if count(stats, name) else '-'


def _mode(stats: Any) -> str:
    mode: Any = getattr(stats, 'mode', None)
    return _MODES.get(mode, '-')


def _centre(text: str, width: int) -> str:
    left = max(0, width - len(text)) // 2
    return (' ' * left + text).ljust(width)


def _rule(widths: Iterable[int]) -> str:
    return '+' + '+'.join('-' * (width + 2) for width in widths) + '+'


def _row(*cells: Iterable[str]) -> str:
    return '|' + '|'.join(f' {cell} ' for group in cells for cell in group) + '|'


def _join(parts: list[str], say: Callable[[str], str]) -> str:
    head, last = parts[:-1], parts[-1:]
    return f' {say("and")} '.join([', '.join(head), *last]) if head else ''.join(last)
