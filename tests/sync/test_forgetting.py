"""Devices that have not come for long are forgotten; when they come back, nothing is doubled."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from tests.sync.support import contents, device, edit, find, urls

DAY = 86400.0
YEAR = 365 * DAY


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def at(clock, name, *urls):
    made = device(name, *urls)
    made.context.clock = clock
    return made


def known(server):
    return sorted(peer.devID for peer in server.adapter.getKnownPeers())


def rows(server):
    """How many rows there are of what is kept for each device."""
    with server.context.work(readonly=True) as work:
        tables = work.tables
        kept = tables.device, tables.datastore, tables.binding, tables.mapping
        return [
            work.connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in kept
        ]


def later(clock, seconds, steady, server):
    """Let time go by in which one device comes every three weeks."""
    end = clock.now + seconds
    while clock.now < end:
        clock.now = min(end, clock.now + 21 * DAY)
        steady.sync(server)


def test_a_device_is_forgotten_a_year_after_its_last_synchronisation(clock):
    server, old, steady = (at(clock, name) for name in ('S', 'old', 'steady'))
    old.sync(server)
    later(clock, YEAR - DAY, steady, server)
    assert known(server) == ['old', 'steady']
    later(clock, 2 * DAY, steady, server)
    assert known(server) == ['steady']


def test_what_is_kept_does_not_grow_with_the_devices_that_once_called(clock):
    server, steady = at(clock, 'S', 'a', 'b', 'c'), at(clock, 'steady')
    steady.sync(server)
    before = rows(server)
    for number in range(8):
        at(clock, f'D{number}').sync(server)
        later(clock, YEAR / 6, steady, server)
    later(clock, YEAR, steady, server)
    assert rows(server) == before


@pytest.mark.parametrize('jump', [76 * YEAR, -76 * YEAR, 40 * DAY])
def test_a_clock_that_jumps_makes_nobody_forgotten(clock, jump):
    """Nor does a server that was off for long; but who does not come for a month after that is."""
    server, old, steady, other = (at(clock, name) for name in ('S', 'old', 'steady', 'other'))
    for dev in (old, steady, other):
        dev.sync(server)
    later(clock, YEAR - 20 * DAY, steady, server)
    clock.now += jump
    for dev in (steady, other, steady):
        dev.sync(server)
    assert known(server) == ['old', 'other', 'steady']
    later(clock, 31 * DAY, steady, server)
    assert known(server) == (['old', 'other', 'steady'] if jump < 0 else ['other', 'steady'])


def test_one_that_comes_back_has_everything_compared_and_nothing_doubled(clock):
    server, late, steady = at(clock, 'S', 'a', 'b'), at(clock, 'late', 'c'), at(clock, 'steady')
    late.sync(server)
    later(clock, 1.1 * YEAR, steady, server)
    assert known(server) == ['steady']
    edit(late, find(late, 'a'), title='changed on late')
    late.sync(server)
    steady.sync(server)
    late.sync(server)
    assert known(server) == ['late', 'steady']
    assert contents(late) == contents(server) == contents(steady)
    assert ('a', 'changed on late') in contents(server)
    assert sorted(set(urls(server))) == ['a', 'b', 'c']


def test_who_comes_itself_is_not_forgotten_however_late(clock):
    server, late = at(clock, 'S', 'a'), at(clock, 'late')
    late.sync(server)
    clock.now += 3 * YEAR
    stats = late.sync(server)
    assert [str(row.mode) for row in stats.values()] == ['two-way'] or all(
        row.mode.name == 'TWO_WAY' for row in stats.values()
    )


def test_for_a_new_device_there_is_room_again_once_old_ones_are_forgotten(clock):
    server = at(clock, 'S')
    server.adapter.max_devices = 10
    for number in range(10):
        at(clock, f'D{number}').sync(server)
        clock.now += DAY
    clock.now += YEAR
    at(clock, 'new').sync(server)
    assert known(server) == ['new']


def test_they_may_be_kept_for_ever(clock):
    server, old, steady = (at(clock, name) for name in ('S', 'old', 'steady'))
    server.adapter.forget_after = None
    old.sync(server)
    clock.now += 50 * YEAR
    steady.sync(server)
    assert known(server) == ['old', 'steady']
