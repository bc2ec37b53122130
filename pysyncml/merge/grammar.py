"""How changes are written down as text: the grammar of change-specs.

::

    spec       := one (';' one)*                                       oldest first
    attributes := group ('|' group)*                                   in the order add, mod, del
    group      := 'add:' name (',' name)*
                | ('mod:' | 'del:') name '@' initial (',' name '@' initial)*
    initial    := 'v' quoted | 'm' md5
    list       := entry (',' entry)*
    entry      := delta ':' ('a' | 'm' quoted | 'd' quoted | 'M' md5 | 'D' md5)
    composite  := quoted(spec)? ('&' name '=' quoted(spec))*

``quoted`` is URL percent-quoting of UTF-8 that leaves ``/`` alone; ``delta`` is how many
positions an entry lies after the one before, where positions count added and deleted entries
too. What is recorded is always the value *before* the first change. ``a`` and ``add`` stand for
added, ``m`` and ``mod`` for modified, ``d`` and ``del`` for deleted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pysyncml.constants import ItemState
from pysyncml.errors import InvalidChangeSpec
from pysyncml.immutable import immutable

ADDED, MODIFIED, DELETED = ItemState.ADDED, ItemState.MODIFIED, ItemState.DELETED

# The longest value an attribute spec spells out; of a longer one it keeps the MD5.
MAX_VALUE = 32
# Text specs longer than this are compressed, when that makes them shorter.
MAX_PLAIN = 512

_GROUPS = {'add': ADDED, 'mod': MODIFIED, 'del': DELETED}
_MD5 = re.compile('[0-9a-f]{32}', re.IGNORECASE)
_UNQUOTED = re.compile(r'[\w./~-]*', re.ASCII).fullmatch
_QUOTED = {byte: quote_from_bytes(bytes((byte,))) for byte in range(256)}
_ENTRY = re.compile(r'([0-9]+):([amdMD])(.*)', re.ASCII)


# --- values -----------------------------------------------------------------------------------


def to_bytes(value: Any) -> bytes:
    """Return *value* as the bytes that are compared and recorded: text as UTF-8."""
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else str(value)).encode('utf-8', 'surrogatepass')


def md5(value: Any) -> str:
    """Return the MD5 of *value*, in hexadecimal. It tells values apart, it guards nothing."""
    return hashlib.md5(to_bytes(value), usedforsecurity=False).hexdigest()


def quote(value: Any) -> str:
    """Return *value* percent-quoted."""
    plain = isinstance(value, str) and value.isascii()
    text: str = value if plain else to_bytes(value).decode('latin-1')
    return text if _UNQUOTED(text) else text.translate(_QUOTED)


def unquote(text: str) -> bytes:
    """Return what was percent-quoted."""
    return unquote_to_bytes(text)


@immutable()
class Initial:
    """The value before a change: the value itself, or only its MD5."""

    value: bytes | None = None
    digest: str | None = None

    @classmethod
    def of(cls, value: Any, is_md5: bool = False) -> Initial:
        """Return the initial *value*, which may be given as its MD5 in hexadecimal."""
        return cls(digest=str(value).lower()) if is_md5 else cls(to_bytes(value))

    @property
    def md5(self) -> str:
        """The MD5 of the value."""
        return self.digest if self.digest is not None else md5(self.value)

    def matches(self, value: Any, is_md5: bool = False) -> bool:
        """Tell whether *value* (or its MD5) is this value."""
        if value is None:
            return False
        if is_md5:
            return self.md5 == str(value).lower()
        if self.value is not None:
            return self.value == to_bytes(value)
        return self.digest == md5(value)


@immutable()
class Change:
    """What happened to a field or a line (an ``ITEM_*`` state), and the value before it."""

    kind: ItemState
    initial: Initial | None = None

    @classmethod
    def between(cls, before: Any, after: Any) -> Change:
        """Return what made *after* of *before*; ``None`` stands for no value."""
        kind = kind_of(before, after)
        return cls(kind, None if kind == ADDED else Initial.of(before))


def kind_of(before: Any, after: Any) -> ItemState:
    """Return what kind of change made *after* of *before*; ``None`` stands for no value."""
    return ADDED if before is None else DELETED if after is None else MODIFIED


def split_chain(spec: str) -> list[str]:
    """Return the specs that were joined with ``;``, oldest first; empty ones say nothing."""
    return [piece for piece in spec.split(';') if piece]


def join_specs(*specs: str | None) -> str:
    """Return one spec that says what all *specs* say, the oldest first."""
    return ';'.join(spec for spec in specs if spec)


# --- attributes -------------------------------------------------------------------------------


def encode_attributes(changes: Mapping[str, Change]) -> str:
    """Return the attribute spec of *changes*; ``''`` if there are none."""
    fields: dict[ItemState, list[str]] = {}
    for name in sorted(changes):
        change = changes[name]
        field = quote(name) + _encode_initial(change.initial)
        fields.setdefault(change.kind, []).append(field)
    return '|'.join(
        f'{word}:{",".join(fields[kind])}' for word, kind in _GROUPS.items() if kind in fields
    )


def _encode_initial(initial: Initial | None) -> str:
    if initial is None:
        return ''
    value = initial.value
    if value is None or (
        len(value) > MAX_VALUE and len(value.decode('utf-8', 'replace')) > MAX_VALUE
    ):
        return f'@m{initial.md5}'
    return f'@v{quote(value)}'


def decode_attributes(spec: str) -> dict[str, Change]:
    """Return the changes of one attribute spec, by name.

    Raises:
        InvalidChangeSpec: it does not follow the grammar.
    """
    changes: dict[str, Change] = {}
    for group in filter(None, spec.split('|')):
        word, colon, fields = group.partition(':')
        if not colon or word not in _GROUPS:
            raise InvalidChangeSpec(f'no attribute change-spec: {_show(spec)}')
        kind = _GROUPS[word]
        for field in fields.split(','):
            name, at, initial = field.partition('@')
            if bool(at) == (kind == ADDED):
                raise InvalidChangeSpec(f'no attribute change-spec: {_show(spec)}')
            key = unquote(name).decode('utf-8', 'replace')
            changes[key] = Change(kind, _decode_initial(initial) if at else None)
    return changes


def _decode_initial(text: str) -> Initial:
    if text[:1] == 'v':
        return Initial(unquote(text[1:]))
    if text[:1] == 'm' and _MD5.fullmatch(text, 1):
        return Initial(digest=text[1:].lower())
    raise InvalidChangeSpec(f'neither a value nor an MD5: {_show(text)}')


# --- lists ------------------------------------------------------------------------------------


def encode_list(changes: Iterable[tuple[int, Change]]) -> str:
    """Return the list spec of *changes*: positions, in rising order, and what happened there."""
    entries = []
    last = 0
    for position, change in changes:
        letter = 'a' if change.kind == ADDED else 'm' if change.kind == MODIFIED else 'd'
        value = ''
        if change.initial is not None:
            known = change.initial.value is not None
            letter = letter if known else letter.upper()
            value = quote(change.initial.value) if known else change.initial.md5
        entries.append(f'{position - last}:{letter}{value}')
        last = position
    return ','.join(entries)


def decode_list(spec: str) -> Iterator[tuple[int, Change]]:
    """Yield the positions of one list spec and what happened there.

    Raises:
        InvalidChangeSpec: it does not follow the grammar, or names a position twice.
    """
    position = 0
    for number, entry in enumerate(spec.split(',')):
        match = _ENTRY.fullmatch(entry)
        if match is None or len(match[1]) > 18:
            raise InvalidChangeSpec(f'no list change-spec: {_show(spec)}')
        delta, letter, value = int(match[1]), match[2], match[3]
        if number and not delta:
            raise InvalidChangeSpec(f'position {position} is there twice: {_show(spec)}')
        position += delta
        yield position, _decode_entry(letter, value, spec)


def _decode_entry(letter: str, value: str, spec: str) -> Change:
    if letter == 'a':
        if value:
            raise InvalidChangeSpec(f'an added entry has no initial value: {_show(spec)}')
        return Change(ADDED)
    kind = MODIFIED if letter in 'mM' else DELETED
    if letter in 'md':
        return Change(kind, Initial(unquote(value)))
    if not _MD5.fullmatch(value):
        raise InvalidChangeSpec(f'not an MD5: {_show(value)}')
    return Change(kind, Initial(digest=value.lower()))


# --- composites -------------------------------------------------------------------------------


def encode_composite(default: str, fields: Mapping[str, str]) -> str:
    """Return the spec made of the *default* one and those of single *fields*."""
    parts = [quote(default)] if default else []
    parts += [f'&{quote(name)}={quote(fields[name])}' for name in sorted(fields) if fields[name]]
    # Without a default part the first field needs no ampersand before it.
    return ''.join(parts) if default else ''.join(parts)[1:]


def decode_composite(spec: str) -> tuple[str, dict[str, str]]:
    """Return the default spec and those of single fields.

    Raises:
        InvalidChangeSpec: it does not follow the grammar.
    """
    default = ''
    fields: dict[str, str] = {}
    for number, part in enumerate(spec.split('&')):
        name, equals, value = part.partition('=')
        if equals:
            fields[_text(name)] = _text(value)
        elif number == 0:
            default = _text(name)
        else:
            raise InvalidChangeSpec(f'no composite change-spec: {_show(spec)}')
    return default, fields


def _text(quoted: str) -> str:
    try:
        return unquote(quoted).decode('utf-8')
    except UnicodeDecodeError:
        raise InvalidChangeSpec(f'no text: {_show(quoted)}') from None


# --- compression ------------------------------------------------------------------------------


def pack(spec: str) -> str:
    """Return *spec*; compressed (``z`` and base64url of zlib) if it is long and that helps."""
    if len(spec) <= MAX_PLAIN:
        return spec
    packed = base64.urlsafe_b64encode(zlib.compress(spec.encode('ascii'))).rstrip(b'=')
    return f'z{packed.decode("ascii")}' if len(packed) + 1 < len(spec) else spec


def unpack(spec: str) -> str:
    """Return the spec that :func:`pack` was given.

    Raises:
        InvalidChangeSpec: it is not compressed as it says.
    """
    if not spec.startswith('z'):
        return spec
    try:
        padding = '=' * (-(len(spec) - 1) % 4)
        packed = base64.b64decode(spec[1:] + padding, altchars=b'-_', validate=True)
        return zlib.decompress(packed).decode('ascii')
    except (binascii.Error, zlib.error, ValueError):
        raise InvalidChangeSpec(f'not compressed as it says: {_show(spec)}') from None


def _show(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + '...')
