"""Queries that say which items of a datastore are wanted: the CGI grammar of SyncML.

A query is made of comparisons, joined by ``&AND;`` and ``&OR;`` (AND binds closer)::

    SUBJECT&iCON;holiday&AND;modified&GE;20240101T000000Z&OR;name&EQ;a%26b

It is the record filter ``syncml:filtertype-cgi`` of OMA-DS-Protocol 1.2 (filtering), and what
SyncML 1.0 and 1.1 write behind the ``?`` of a datastore's address. Pure: no items, no datastores;
a query is parsed to a :class:`Query`, and held against the properties of an item.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import quote, unquote

from pysyncml.errors import FeatureNotSupported, InvalidFilter
from pysyncml.immutable import immutable

#: The pseudo property that stands for the id the client knows an item by (LUID).
LUID = '&LUID;'

#: The keywords that ask for the time of the last change, and the comparison each stands for.
KEYWORDS: Mapping[str, tuple[str, str]] = {
    'SINCE': ('modified', 'GE'),
    'BEFORE': ('modified', 'LT'),
}

#: Keywords of the specification that nobody here can answer.
FOREIGN_KEYWORDS = frozenset(('MAXSIZE', 'MAXCOUNT', 'NOATT'))

#: What may be known of an item: one value, several, or none.
Value = str | Sequence[str] | None

_MAX_LENGTH = 10_000  # characters of a query
_MAX_COMPARISONS = 100
_TOKEN = re.compile(r'&([A-Za-z]+);')
_BAD_ESCAPE = re.compile(r'%(?![0-9A-Fa-f]{2})')
_NUMBER = re.compile(r'[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?')
_TIME = re.compile(
    r'([0-9]{4})-?([0-9]{2})-?([0-9]{2})(?:T([0-9]{2}):?([0-9]{2}):?([0-9]{2})(?:\.[0-9]+)?Z?)?'
)
_OPERATORS = ('EQ', 'NE', 'GT', 'GE', 'LT', 'LE', 'CON', 'NCON')
_NEGATIVE = frozenset(('NE', 'NCON'))
_OPERATOR_OF = {name.lower(): (name, False) for name in _OPERATORS} | {
    f'i{name.lower()}': (name, True) for name in _OPERATORS
}
_UNRESERVED = '-_.~:@+,'


@immutable()
class Comparison:
    """One property against one value.

    Args:
        name: the property, :data:`LUID` or a keyword.
        operator: ``EQ NE GT GE LT LE CON NCON``.
        value: what it is compared with; ``None`` is ``&NULL;``, nothing at all.
        ignores_case: whether the letters' case makes no difference.
    """

    name: str
    operator: str
    value: str | None
    ignores_case: bool = False

    def __str__(self) -> str:
        name = self.name if self.name == LUID else quote(self.name, safe=_UNRESERVED)
        sign = f'&{"i" if self.ignores_case else ""}{self.operator};'
        return f'{name}{sign}{"&NULL;" if self.value is None else _quoted(self.value)}'


@immutable()
class Query:
    """Alternatives, each of comparisons that must all hold."""

    alternatives: tuple[tuple[Comparison, ...], ...]

    def __str__(self) -> str:
        return '&OR;'.join('&AND;'.join(map(str, parts)) for parts in self.alternatives)

    @property
    def comparisons(self) -> list[Comparison]:
        """All comparisons, in their order."""
        return [comparison for parts in self.alternatives for comparison in parts]


def parse(text: str) -> Query:
    """Return the query that *text* holds.

    Raises:
        InvalidFilter: it does not follow the grammar, or is far too long.
        FeatureNotSupported: it is an option of another kind (``/dr(-7,30)``), not a query.
    """
    if text.startswith('/'):
        raise FeatureNotSupported('options in the address of a datastore are not supported')
    if len(text) > _MAX_LENGTH:
        raise InvalidFilter(f'the filter has more than {_MAX_LENGTH:,} characters')
    alternatives = [
        tuple(_comparison(part) for part in _split(half, 'AND')) for half in _split(text, 'OR')
    ]
    if sum(map(len, alternatives)) > _MAX_COMPARISONS:
        raise InvalidFilter(f'the filter has more than {_MAX_COMPARISONS} comparisons')
    return Query(tuple(alternatives))


def _split(text: str, word: str) -> list[str]:
    return re.split(f'&{word};', text, flags=re.IGNORECASE)


def _comparison(text: str) -> Comparison:
    tokens = [(match.group(1), *match.span()) for match in _TOKEN.finditer(text)]
    signs = [token for token in tokens if token[0].lower() in _OPERATOR_OF]
    if len(signs) != 1:
        raise InvalidFilter(f'this is no comparison: "{text}"')
    word, start, end = signs[0]
    operator, ignores_case = _OPERATOR_OF[word.lower()]
    name, value = text[:start].strip(), text[end:].strip()
    name = LUID if name.upper() == LUID else _unescape(name)
    if not name:
        raise InvalidFilter(f'the comparison names no property: "{text}"')
    found = Comparison(
        name, operator, None if value.upper() == '&NULL;' else _unescape(value), ignores_case
    )
    if name.upper() in KEYWORDS and (operator != 'EQ' or _moment(found.value or '') is None):
        raise InvalidFilter(f'{name.upper()} must be followed by &EQ; and a date')
    return found


def _unescape(text: str) -> str:
    if '&' in text or _BAD_ESCAPE.search(text):
        raise InvalidFilter(f'this is neither text nor a word of the grammar: "{text}"')
    try:
        return unquote(text, errors='strict')
    except UnicodeDecodeError:
        raise InvalidFilter(f'the escapes in "{text}" are no UTF-8') from None


def _quoted(value: str) -> str:
    # a name is written without: what begins with a slash is no comparison
    return quote(value, safe=_UNRESERVED + '/')


# --- holding it against an item -------------------------------------------------------------------


def check(query: Query, names: Iterable[str]) -> None:
    """Make sure that only properties called one of *names* (in any case) are asked for.

    Raises:
        FeatureNotSupported: another one is, or a keyword that is not supported.
    """
    known = {name.lower() for name in names}
    for comparison in query.comparisons:
        name = comparison.name
        wanted = KEYWORDS[name.upper()][0] if name.upper() in KEYWORDS else name
        if name.upper() in FOREIGN_KEYWORDS or (name != LUID and wanted.lower() not in known):
            raise FeatureNotSupported(f'there is no filtering by "{name}" here')


def matches(query: Query, properties: Mapping[str, Value]) -> bool:
    """Return whether an item with these *properties* is wanted.

    Names of properties are compared regardless of case. Two dates (ISO 8601, UTC) are compared
    as such, two numbers as numbers, anything else as text. Of a property with several values one
    must fit; with ``NE`` and ``NCON``, all. What an item does not have equals ``&NULL;`` only.
    """
    found = {name.lower(): value for name, value in properties.items()}
    return any(all(_holds(part, found) for part in parts) for parts in query.alternatives)


def _holds(comparison: Comparison, properties: Mapping[str, Value]) -> bool:
    name, operator = comparison.name, comparison.operator
    if name.upper() in KEYWORDS:
        name, operator = KEYWORDS[name.upper()]
    held = properties.get(name.lower())
    values = [held] if isinstance(held, str) else [value for value in held or () if value]
    values = [value for value in values if value]
    wanted = comparison.value
    if not wanted:
        empty = not values
        return {'EQ': empty, 'NE': not empty, 'CON': True, 'NCON': False}.get(operator, False)
    answers = [_compare(operator, value, wanted, comparison.ignores_case) for value in values]
    return all(answers) if operator in _NEGATIVE else any(answers)


def _compare(operator: str, value: str, wanted: str, ignores_case: bool) -> bool:
    if operator in ('CON', 'NCON'):
        if ignores_case:
            value, wanted = value.casefold(), wanted.casefold()
        return (wanted in value) is (operator == 'CON')
    return _ORDERS[operator](_order(value, wanted, ignores_case))


def _order(value: str, wanted: str, ignores_case: bool) -> int:
    """Return -1, 0 or 1: how *value* stands to *wanted*."""
    pair: tuple[str, str] | tuple[datetime, datetime] | tuple[Decimal, Decimal] = (value, wanted)
    ours, theirs = _moment(value), _moment(wanted)
    if ours is not None and theirs is not None:
        pair = (ours, theirs)
    elif _NUMBER.fullmatch(value) and _NUMBER.fullmatch(wanted):
        pair = (Decimal(value), Decimal(wanted))
    elif ignores_case:
        pair = (value.casefold(), wanted.casefold())
    left, right = pair
    return int(left > right) - int(left < right)  # type: ignore[operator]


_ORDERS: dict[str, Callable[[int], bool]] = {
    'EQ': lambda order: order == 0,
    'NE': lambda order: order != 0,
    'GT': lambda order: order > 0,
    'GE': lambda order: order >= 0,
    'LT': lambda order: order < 0,
    'LE': lambda order: order <= 0,
}


def _moment(text: str) -> datetime | None:
    """Return the time that *text* tells (ISO 8601, UTC); ``None`` if it tells none."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    try:
        return datetime(*(int(part or 0) for part in match.groups()), tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        return None
