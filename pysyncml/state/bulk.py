"""Many rows with one statement, without what SQLAlchemy does for each of them.

A statement is compiled once and kept. After that a row costs its tuple, where it costs several
calls otherwise: with thousands of rows that is more than what the database itself takes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, LargeBinary, Select, Table, bindparam

from pysyncml.immutable import immutable

Row = Mapping[str, Any]

_KEY = 'key_'  # in front of the names of parameters that say which row is meant
_MANY = '\0'  # where a list of values is to stand in a query
_AT_ONCE, _MOST_VALUES = 100, 900  # rows of a statement, and their values: SQLite before 3.32: 999


def insert_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Add *rows*, all of them with the same columns; the database fills in the others."""
    _write(connection, 'insert', table, (), rows)


def update_rows(
    connection: Connection, table: Table, keys: tuple[str, ...], rows: Sequence[Row]
) -> None:
    """Set what *rows* say, all with the same columns; *keys* say which is meant, each only once."""
    _write(connection, 'update', table, keys, rows)


def delete_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Take away what has the values of one of *rows*, all with the same columns, none ``None``."""
    _write(connection, 'delete', table, tuple(rows[0]) if rows else (), rows)


def select_rows(connection: Connection, query: Select[Any], values: Row) -> Sequence[Sequence[Any]]:
    """Return the rows of *query*, which is made once and kept, with these *values* in it.

    One of them may be a list, where the query has an *expanding* parameter.
    """
    found = _reading(connection.dialect, query)
    if found is None:
        return connection.execute(query, dict(values)).all()
    result = connection.exec_driver_sql(*found.filled_in(values))
    rows: Sequence[Sequence[Any]] = result.cursor.fetchall()
    result.close()
    for place, process in found.processed:
        rows = [(*row[:place], process(row[place]), *row[place + 1 :]) for row in rows]
    return rows


def _write(
    connection: Connection, verb: str, table: Table, keys: tuple[str, ...], rows: Sequence[Row]
) -> None:
    if not rows:
        return
    statement = _compiled(connection.dialect, verb, table, keys, tuple(rows[0]))
    parameters = statement.parameters(rows)
    if (count := statement.at_once) and len(parameters) >= count:
        starts = range(0, len(parameters) - count + 1, count)
        several = [tuple(itertools.chain(*parameters[start : start + count])) for start in starts]
        connection.exec_driver_sql(statement.text_of_many, several)
        del parameters[: len(starts) * count]
    if parameters:
        connection.exec_driver_sql(statement.text, parameters)


@immutable()
class _Statement:
    """SQL as the driver takes it.

    ``bound`` has for each parameter, in their order, its name, the column it is of, and what makes
    of a value what the driver takes, if anything has to. ``text_of_many`` does the same with as
    many rows as are to go *at_once*, one after the other; 0: each goes by itself.
    """

    text: str
    positional: bool
    bound: tuple[tuple[str, str, Callable[[Any], Any] | None], ...]
    text_of_many: str = ''
    at_once: int = 0

    def parameters(self, rows: Sequence[Row]) -> list[Any]:
        """Return the parameters for all *rows*."""
        values = [
            [row[column] for row in rows]
            if process is None
            else [process(row[column]) for row in rows]
            for _, column, process in self.bound
        ]
        each = zip(*values, strict=True)
        if self.positional:
            return list(each)
        names = [name for name, _, _ in self.bound]
        return [dict(zip(names, row, strict=True)) for row in each]


@immutable()
class _Reading:
    """A query as a driver takes it whose parameters are question marks.

    ``bound`` are their names in their order, each with its value if it always has the same;
    ``listed`` is the one that is many. ``processed`` has what makes of a value of the database
    what is wanted, for the columns that need that.
    """

    text: str
    bound: tuple[tuple[str, Any], ...]
    listed: str | None
    processed: tuple[tuple[int, Callable[[Any], Any]], ...]

    def filled_in(self, values: Row) -> tuple[str, tuple[Any, ...]]:
        """Return the text with as many question marks as are needed, and what they stand for."""
        if self.listed is None:
            return self.text, tuple(values.get(name, fixed) for name, fixed in self.bound)
        found: list[Any] = []
        for name, fixed in self.bound:
            if name == self.listed:
                found += values[name]
            else:
                found.append(values.get(name, fixed))
        marks = ', '.join('?' * len(values[self.listed]))
        return self.text.replace(_MANY, marks), tuple(found)


@lru_cache(maxsize=64)
def _reading(dialect: Dialect, query: Select[Any]) -> _Reading | None:
    """Return *query* as the driver takes it; ``None`` if that is not so simple."""
    compiled: Any = query.compile(dialect=dialect)
    binds = compiled.binds
    lists = [name for name, bind in binds.items() if bind.expanding]
    plain = not any(_processor(bind.type, dialect) for bind in binds.values())
    if dialect.paramstyle != 'qmark' or len(lists) > 1 or not plain:
        return None
    text = str(compiled)
    for name in lists:
        text = text.replace(f'__[POSTCOMPILE_{name}]', _MANY)
    if '[POSTCOMPILE' in text or text.count(_MANY) != len(lists):
        return None
    processed = []
    for place, column in enumerate(query.selected_columns):
        process = column.type.dialect_impl(dialect).result_processor(dialect, None)
        if process is not None:
            processed.append((place, process))
    listed = lists[0] if lists else None
    bound = tuple((name, binds[name].value) for name in compiled.positiontup)
    return _Reading(text, bound, listed, tuple(processed))


@lru_cache(maxsize=256)
def _compiled(
    dialect: Dialect, verb: str, table: Table, keys: tuple[str, ...], columns: tuple[str, ...]
) -> _Statement:
    where = [table.c[key] == bindparam(_KEY + key, type_=table.c[key].type) for key in keys]
    statement: Any
    match verb:
        case 'insert':
            statement = table.insert().inline()  # without asking for what the database fills in
        case 'update':
            statement = table.update().where(*where)
        case _:
            statement = table.delete().where(*where)
    written = [column for column in columns if column not in keys]
    compiled: Any = statement.compile(dialect=dialect, column_keys=written or None)
    names = compiled.positiontup if compiled.positional else list(compiled.binds)
    text = str(compiled)
    at_once = min(_AT_ONCE, _MOST_VALUES // len(names))
    text_of_many = _of_many(dialect, verb, text, len(names), at_once)
    return _Statement(
        text,
        compiled.positional,
        tuple(
            (
                compiled.escaped_bind_names.get(name, name),
                name.removeprefix(_KEY),
                _processor(compiled.binds[name].type, dialect),
            )
            for name in names
        ),
        text_of_many,
        at_once if text_of_many else 0,
    )


def _of_many(dialect: Dialect, verb: str, text: str, width: int, count: int) -> str:
    """Return the statement *text*, of one row, for *count* of them; nothing if there is none.

    *width* is how many values a row has.
    """
    if dialect.paramstyle != 'qmark' or text.count('?') != width:
        return ''
    row = f'({", ".join("?" * width)})'
    rows = ', '.join([row] * count)
    if verb == 'insert' and dialect.supports_multivalues_insert and text.endswith(f' {row}'):
        return text.removesuffix(row) + rows
    if verb == 'update' and _updates_from(dialect):
        number = itertools.count(1)
        named = re.sub(r'\?', lambda _: f'given.column{next(number)}', text)
        head, _, where = named.partition(' WHERE ')
        return f'{head} FROM (VALUES {rows}) AS given WHERE {where}'
    return ''


def _updates_from(dialect: Dialect) -> bool:
    """Whether a database is SQLite, and knows UPDATE FROM, in which rows are told by VALUES."""
    driver: Any = dialect.dbapi
    return dialect.name == 'sqlite' and driver.sqlite_version_info >= (3, 33)


def _processor(kind: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    if isinstance(kind, LargeBinary):
        return None  # drivers take bytes; SQLAlchemy would put each into an object of its own
    processor: Callable[[Any], Any] | None = kind.dialect_impl(dialect).bind_processor(dialect)
    return processor
