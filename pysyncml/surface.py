"""Small functions of the documented surface that nothing in here needs: kept for programs."""

from __future__ import annotations

import calendar
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

from pysyncml.constants import ItemState, SyncType

if TYPE_CHECKING:
    from sqlalchemy import Engine


def ts() -> int:
    """Return the time now, in whole seconds since 1970."""
    return int(time.time())


def ts_iso(when: float | None = None) -> str:
    """Return *when* (seconds since 1970, now by default) as ``YYYYMMDDThhmmssZ``."""
    return time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(when))


def parse_ts_iso(text: str) -> int:
    """Return the seconds since 1970 that ``YYYYMMDDThhmmssZ`` means; the ``Z`` may be missing."""
    return calendar.timegm(time.strptime(text.rstrip('Z'), '%Y%m%dT%H%M%S'))


def state2string(state: int) -> str:
    """Return the name of an item state, for people."""
    names = {ItemState.SOFTDELETED: 'soft-deleted'}
    return names.get(ItemState(state), ItemState(state).name.lower())


def mode2string(mode: int) -> str:
    """Return the name of a kind of synchronisation, for people."""
    return SyncType(mode).name.lower().replace('_', '-')


def auth2string(auth: str | None) -> str:
    """Return the name of a kind of authentication, for people."""
    return auth.rpartition('auth-')[2] if auth else 'none'


def synctype2alert(mode: int) -> int:
    """Return the Alert code that asks for a kind of synchronisation.

    Raises:
        TypeError: there is no such kind.
    """
    try:
        return SyncType(mode).alert
    except ValueError:
        raise TypeError(f'there is no kind of synchronisation {mode!r}') from None


def alert2synctype(code: int) -> SyncType | None:
    """Return the kind of synchronisation an Alert *code* asks for, ``None`` if it is none."""
    return SyncType.of_alert(code)


def fullClassname(thing: Any) -> str:
    """Return the name of the class of *thing*, with its module."""
    kind = type(thing)
    return f'{kind.__module__}.{kind.__qualname__}'


def getAddressSize() -> int:
    """Return how many bits an address of this machine has."""
    return struct.calcsize('P') * 8


def getMaxMemorySize() -> int:
    """Return how many bytes an object may have at most: what peers' 32 bits can count."""
    return min(sys.maxsize, 2**31 - 1)


def enableSqliteCascadingDeletes(engine: Engine) -> None:
    """Have SQLite obey foreign keys, on every connection of *engine* from now on."""
    from sqlalchemy import event

    def switch_on(connection: Any, _record: Any) -> None:
        connection.execute('PRAGMA foreign_keys=ON')

    if engine.dialect.name == 'sqlite':
        event.listen(engine, 'connect', switch_on)
