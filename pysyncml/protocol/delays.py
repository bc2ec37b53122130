"""How long somebody has to wait after failed logins. Pure: the time is told.

Failures are counted for each network address, for each user name, and for each pair of the two:

* the first few of an address cost nothing; after that each doubles its wait, up to a limit;
* a name that fails a lot, from wherever, is under attack: from then on an address gets one try at
  it, and waits longer. Nobody is kept out by what others do: each address has its own wait, and an
  address from which the name has come in before is treated as ever;
* the right password takes back what this name has failed from this address, and no more, so that
  somebody with an account cannot buy tries at another one.

While somebody waits nothing is looked at, so nothing is counted. Behind a reverse proxy all come
from one address, usually that of the loopback: there the waits are for each name, and short. What
is kept has a bound; the oldest goes first.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

#: Failures of one address that cost nothing.
FREE = 4
#: Failures of one name, from all addresses, after which it is taken to be under attack.
HOT = 50
#: Seconds: the first wait, its limit, its limit where all come from one address, and the first
#: one for a name under attack.
FIRST, LONGEST, LONGEST_SHARED, FIRST_HOT = 1.0, 900.0, 30.0, 60.0
#: Seconds without a failure after which all is forgotten.
FORGET = 3600.0
#: How many addresses, names and pairs are remembered, of each.
MOST = 10_000

_Key = TypeVar('_Key')


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last: float = 0.0  # seconds


class _Table(OrderedDict[_Key, _Failures]):
    """Failures by key, the least recent first."""

    def count(self, key: _Key, now: float) -> tuple[int, float]:
        """Return how many there are of *key*, and when the last one was."""
        found = self.get(key)
        if found is None or now - found.last >= FORGET:
            return 0, now
        return found.count, found.last

    def add(self, key: _Key, now: float, most: int) -> None:
        count, _ = self.count(key, now)
        self[key] = _Failures(count + 1, now)
        self.move_to_end(key)
        while len(self) > most:
            self.popitem(last=False)

    def take(self, key: _Key, count: int) -> None:
        found = self.get(key)
        if found is not None:
            found.count -= count
            if found.count <= 0:
                del self[key]


class Delays:
    """The failures of the last hour. Not for several threads at once.

    Args:
        most: how many addresses, names and pairs are remembered, of each.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._addresses: _Table[str] = _Table()
        self._names: _Table[bytes] = _Table()
        self._pairs: _Table[tuple[bytes, str]] = _Table()
        self._known: OrderedDict[tuple[bytes, str], None] = OrderedDict()

    def wait(self, name: str, address: str | None, now: float) -> float:
        """Return the seconds until *name* may be tried from *address*; 0.0: at once.

        Args:
            name: the user name that was shown, whether there is such a user or not.
            address: the network address, ``None`` if it is not known.
            now: a clock in seconds that never goes back.
        """
        whose, where, shared = _name(name), *_place(address)
        longest = LONGEST_SHARED if shared else LONGEST
        count, last = self._pairs.count((whose, where), now)
        hot = self._names.count(whose, now)[0] >= HOT
        if hot and not shared and (whose, where) not in self._known:
            until = last + _pause(count, FIRST_HOT, longest)
        else:
            until = last + _pause(count - FREE, FIRST, longest)
        if not shared:
            count, last = self._addresses.count(where, now)
            until = max(until, last + _pause(count - FREE, FIRST, longest))
        return max(0.0, until - now)

    def failed(self, name: str, address: str | None, now: float) -> None:
        """Take notice of a wrong login; the arguments are those of :meth:`wait`."""
        whose, where = _name(name), _place(address)[0]
        self._addresses.add(where, now, self.most)
        self._names.add(whose, now, self.most)
        self._pairs.add((whose, where), now, self.most)

    def passed(self, name: str, address: str | None, now: float) -> None:
        """Take notice of a right login; the arguments are those of :meth:`wait`."""
        whose, where = _name(name), _place(address)[0]
        count, _ = self._pairs.count((whose, where), now)
        self._pairs.pop((whose, where), None)
        self._addresses.take(where, count)
        self._names.take(whose, count)
        self._known[whose, where] = None
        self._known.move_to_end((whose, where))
        if len(self._known) > self.most:
            self._known.popitem(last=False)

    def __len__(self) -> int:
        """Return how many entries are kept."""
        return len(self._addresses) + len(self._names) + len(self._pairs) + len(self._known)


def _pause(over: int, first: float, longest: float) -> float:
    if over <= 0:
        return 0.0
    return float(min(longest, first * 2 ** min(over - 1, 32)))


def _name(name: str) -> bytes:
    # of a name that may be long, and is nobody's business
    return hashlib.sha256(name.encode('utf-8', 'surrogatepass')).digest()[:16]


@lru_cache(maxsize=1024)
def _place(address: str | None) -> tuple[str, bool]:
    """Return what stands for an address, and whether many may share it.

    Whoever has one address of IPv6 has all of its /64.
    """
    try:
        found = ipaddress.ip_address((address or '').partition('%')[0])
    except ValueError:
        return (address or '')[:64], not address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif not found.is_loopback:
            return str(ipaddress.ip_network((found, 64), strict=False)), False
    return str(found), found.is_loopback
