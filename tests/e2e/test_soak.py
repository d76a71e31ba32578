"""A short soak (`make soak` is the long one): hundreds of clients come, go, resume, flood and idle."""

from __future__ import annotations

import platform
import select

import pytest

if not hasattr(select, "epoll"):
    pytest.skip("the soak needs epoll and /proc", allow_module_level=True)

from bench.soak.people import KINDS
from bench.soak.run import AT_REST, soak

SECONDS, CLIENTS = 4.0, 250
MEMORY = "memory grew"


@pytest.fixture(scope="module")
def found():
    """Raises Fault when a packet is lost (but by a reset), repeated or out of order."""
    return soak(SECONDS, CLIENTS)


def test_every_packet_is_accounted_for(found) -> None:
    totals = found.totals
    assert totals.sent == totals.returned + totals.lost
    assert totals.sent > CLIENTS
    assert totals.lost < totals.sent // 10


def test_they_did_come_and_go_and_resume(found) -> None:
    assert found.totals.clients > sum(int(kind.share * CLIENTS) for kind in KINDS.values())
    assert found.totals.resumes > 0
    assert {"connection lost", "replaced by the same client's new connection"} <= set(found.counters["closed"])


def test_at_the_end_the_server_is_what_it_was(found) -> None:
    on_cpython = platform.python_implementation() == "CPython"  # elsewhere memory goes as its collector pleases
    assert [fault for fault in found.faults if on_cpython or not fault.startswith(MEMORY)] == []
    assert found.rest_after["open_sessions"] == 0
    assert all(found.rest_before[name] == found.rest_after[name] for name in AT_REST)
