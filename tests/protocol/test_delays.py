"""How long somebody has to wait after failed logins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysyncml.protocol import delays
from pysyncml.protocol.delays import Delays

HERE, THERE, PROXY = '192.0.2.1', '192.0.2.2', '127.0.0.1'


def fail(table, name='alice', address=HERE, times=1, now=0.0):
    """Fail as often as said, each time as soon as that is possible; return the time and waits."""
    waits = []
    for _ in range(times):
        now += table.wait(name, address, now)
        table.failed(name, address, now)
        waits.append(table.wait(name, address, now))
    return now, waits


def test_the_first_few_cost_nothing_then_each_doubles_the_wait_up_to_a_limit():
    _, waits = fail(Delays(), times=18)
    assert waits[:4] == [0, 0, 0, 0]
    assert waits[4:10] == [1, 2, 4, 8, 16, 32]
    assert waits[-3:] == [900, 900, 900]


def test_a_wait_ends():
    table = Delays()
    now, waits = fail(table, times=8)
    assert table.wait('alice', HERE, now + waits[-1] - 0.5) == pytest.approx(0.5)
    assert table.wait('alice', HERE, now + waits[-1]) == 0


def test_an_address_waits_whatever_name_it_tries_next():
    table = Delays()
    for number in range(6):
        table.failed(f'user{number}', HERE, 0)
    assert table.wait('somebody else', HERE, 0) == 2
    assert table.wait('user0', THERE, 0) == 0


def test_nobody_is_kept_out_by_somebody_elsewhere():
    table = Delays()
    now = 0.0
    for number in range(300):  # from everywhere, for a long time
        now, _ = fail(table, address=f'198.51.{number // 200}.{number % 200}', times=3, now=now)
    assert table.wait('alice', HERE, now) == 0


def test_a_name_under_attack_gives_each_new_address_one_try():
    table = Delays()
    table.passed('alice', THERE, 0)
    for number in range(delays.HOT):
        table.failed('alice', f'198.51.100.{number}', 0)
    assert table.wait('alice', HERE, 0) == 0
    assert fail(table, address=HERE, times=3)[1] == [60, 120, 240]
    assert fail(table, address=THERE, times=4)[1] == [0, 0, 0, 0], 'alice has come in from there'
    assert fail(table, 'bob', '192.0.2.9', times=4)[1] == [0, 0, 0, 0]


def test_the_right_password_takes_back_its_own_failures_and_no_others():
    table = Delays()
    fail(table, 'alice', times=4)
    table.passed('alice', HERE, 0)
    assert fail(table, 'alice', times=4)[1] == [0, 0, 0, 0]
    table.passed('alice', HERE, 0)
    # who has an account must not get tries at another one by it
    waits = []
    for _ in range(8):
        waits += fail(table, 'bob')[1]
        table.passed('mallory', HERE, 0)
    assert waits[4:] == [1, 2, 4, 8]


@pytest.mark.parametrize('address', [PROXY, '::1', '127.3.2.1', '::ffff:127.0.0.1', None])
def test_behind_a_proxy_the_waits_are_short_and_for_one_name(address):
    table = Delays()
    _, waits = fail(table, 'alice', address, times=20)
    assert waits[4] == 1
    assert waits[-1] == delays.LONGEST_SHARED
    assert table.wait('bob', address, 0) == 0


def test_addresses_that_are_one():
    table = Delays()
    fail(table, 'alice', '2001:db8::1', times=5)
    assert table.wait('alice', '2001:db8::ffff:2', 0) == 1
    assert table.wait('alice', '2001:db8:0:1::1', 0) == 0
    fail(table, 'alice', '192.0.2.7', times=5)
    assert table.wait('alice', '::ffff:192.0.2.7', 0) == 1
    assert table.wait('alice', 'fe80::1%eth0', 0) == 0
    fail(table, 'alice', 'no address', times=5)
    assert table.wait('alice', 'no address', 0) == 1


def test_after_an_hour_all_is_forgotten():
    table = Delays()
    now, _ = fail(table, times=20)
    assert table.wait('alice', HERE, now + delays.FORGET) == 0
    assert fail(table, now=now + delays.FORGET, times=4)[1] == [0, 0, 0, 0]


def test_floods_of_addresses_and_names_take_no_more_than_so_much():
    table = Delays(most=50)
    for number in range(2000):
        table.failed(f'{number}' * 50, f'10.0.{number // 250}.{number % 250}', number / 100)
        table.passed('bob', f'10.1.{number // 250}.{number % 250}', number / 100)
    assert len(table) <= 200
    assert table.wait('1999' * 50, '10.0.7.249', 20) == 0


@given(
    st.lists(
        st.tuples(
            st.booleans(), st.sampled_from('ab'), st.sampled_from([HERE, THERE, PROXY]),
            st.floats(0, 2000),
        ),
        max_size=60,
    )
)  # fmt: skip
def test_whatever_happens_the_wait_has_an_end(history):
    table, now = Delays(), 0.0
    for good, name, address, pause in history:
        now += pause
        (table.passed if good else table.failed)(name, address, now)
        assert 0 <= table.wait(name, address, now) <= delays.LONGEST
        if good and name == 'a':
            assert table.wait('a', PROXY, now + delays.LONGEST_SHARED) == 0
    assert table.wait('a', HERE, now + delays.LONGEST) == 0
    assert table.wait('never', '203.0.113.5', now) == 0
