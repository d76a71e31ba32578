"""How many strangers may become clients: of all, and of one network; and that nothing grows of it."""

from __future__ import annotations

import sys

import pytest

from voltlane.core.datagrams.strangers import PLACES, Strangers

KEY = b"k" * 32


def host(number: int) -> bytes:
    return (0x0A000000 + number).to_bytes(4, "big")


def test_without_limits_everybody_may():
    strangers = Strangers(0, 0, 32, 64, KEY)
    assert all(strangers.network_may(host(1), 5.0) and strangers.may(5.0) for _ in range(10_000))


def test_of_one_network_so_many_may_in_a_second():
    strangers = Strangers(0, 10, 32, 64, KEY)
    assert [strangers.network_may(host(1), 5.0) for _ in range(12)] == [True] * 10 + [False] * 2
    assert strangers.network_may(host(2), 5.0), "another one is not in its way"
    assert not strangers.network_may(host(1), 5.05)
    assert strangers.network_may(host(1), 5.15), "and after a tenth of a second there is one more"


def test_a_rate_below_one_lets_one_in_now_and_then():
    strangers = Strangers(0.5, 0.5, 32, 64, KEY)
    for now in (5.0, 7.0, 9.5):
        assert strangers.network_may(host(1), now) and strangers.may(now)
        assert not strangers.network_may(host(1), now + 1) and not strangers.may(now + 1)


@pytest.mark.parametrize(("size", "prefix"), [(4, 24), (16, 56)])
def test_a_network_is_as_long_as_its_prefix(size: int, prefix: int):
    strangers = Strangers(0, 1, 24, 56, KEY)
    base = 0x20 << 8 * size - 8
    assert strangers.network_may(base.to_bytes(size, "big"), 1.0)
    inside = base + (1 << 8 * size - prefix) - 1
    assert not strangers.network_may(inside.to_bytes(size, "big"), 1.0)
    assert strangers.network_may((inside + 1).to_bytes(size, "big"), 1.0)


def test_of_all_so_many_may_in_a_second():
    strangers = Strangers(100, 0, 32, 64, KEY)
    assert sum(strangers.may(5.0) for _ in range(500)) == 100
    assert sum(strangers.may(5.0 + n / 500) for n in range(1, 501)) == 100


def test_a_hundred_thousand_networks_leave_nothing_behind():
    strangers = Strangers(10, 5, 32, 64, KEY)

    def size() -> int:
        return sum(map(sys.getsizeof, (strangers._levels, strangers._times, vars(strangers))))

    before = size()
    admitted = sum(strangers.network_may(host(n), 1.0 + n / 100_000) for n in range(100_000))
    assert size() == before
    assert PLACES < admitted <= PLACES * 10, "who shares a place with others counts as one of them"


def test_where_a_network_has_its_place_nobody_can_tell():
    one, other = Strangers(0, 1, 32, 64, KEY), Strangers(0, 1, 32, 64, b"another" * 4)
    for strangers in (one, other):
        for n in range(3000):
            strangers.network_may(host(n), 1.0)
    assert one._levels != other._levels


def test_other_limits_hold_from_then_on():
    strangers = Strangers(1, 1, 32, 64, KEY)
    assert strangers.may(1.0) and not strangers.may(1.0)
    strangers.configure(3, 3, 32, 64)
    assert [strangers.may(1.0) for _ in range(4)] == [True, True, True, False]
    strangers.configure(3, 3, 32, 64)
    assert not strangers.may(1.0), "the same are no news"
