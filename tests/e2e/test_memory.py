"""A small famine (`python -m bench.starve` is the large one): clients that never read, clients that are away, a backend
that sends to all of them flat out, and an address space that the kernel keeps the server to."""

from __future__ import annotations

import select
import sys

import pytest

if sys.platform != "linux" or not hasattr(select, "epoll") or sys.implementation.name != "cpython":
    pytest.skip("needs prlimit, /proc, epoll and a collector that keeps no memory in reserve", allow_module_level=True)

from bench.starve.run import starve

SECONDS = 2.0
GOOD = 10
BUDGET, ROOM = 16 << 20, 64 << 20
MIB = 1 << 20


@pytest.fixture(scope="module")
def famine():
    """Raises Fault when a good client loses, repeats or reorders a packet, and RuntimeError when the server ends."""
    return starve(SECONDS, readers=200, away=100, good=GOOD, budget=BUDGET, room=ROOM)


def test_the_good_have_every_packet_back_once_and_in_order(famine) -> None:
    assert famine.famine.count == GOOD * SECONDS * 10


def test_it_was_a_famine(famine) -> None:
    assert famine.hungry["readers"] >= 200 and famine.hungry["away"] == 100
    assert famine.fed > 4 * BUDGET


def test_the_server_lived_within_its_limit_and_nothing_failed_inside(famine) -> None:
    assert famine.internal_errors == 0
    assert famine.address_space_peak < famine.limit
    assert famine.resident_peak < famine.resident_before + BUDGET + ROOM


def test_the_largest_were_given_up_and_new_ones_refused_by_their_reasons(famine) -> None:
    assert famine.closed["outbox given up for want of memory"] > 0
    assert famine.ended["given up for want of memory"] > famine.closed["outbox given up for want of memory"], "backlogs"
    assert "error in the server itself" not in famine.closed
