"""Figures of several processes: there and back as JSON, and added up."""

from __future__ import annotations

import json

from kit.world import world

from voltlane.cluster.workers.accounts import (
    add_totals,
    counted,
    from_plain,
    past_totals,
    plain,
    together,
    totals_from,
)
from voltlane.reasons import CloseReason, DatagramDrop, Hold
from voltlane.server.pulse import totals_of
from voltlane.statistics import CertificateFigures, DatagramFigures, Statistics


def figures(clients: int) -> Statistics:
    """Of a server with so many clients, each of which has sent something, and one that has left."""
    with world() as made:
        ones = [made.new() for _ in range(clients)]
        for one in ones:
            one.send(b"up")
        made.settle()
        ones[0].cut()
        made.settle()
        return made.server.statistics()


DROPPED = {"dropped_datagrams": {reason: 3 * (reason is DatagramDrop.RATE) for reason in DatagramDrop}}


def with_datagrams(found: Statistics) -> Statistics:
    """The same of a process that has an address for them."""
    return found._replace(
        reasons={**found.reasons, **DROPPED}, datagrams=DatagramFigures(10, 5, 1_000, 500, 2, 1, 3, 4)
    )


def test_datagrams_there_and_back() -> None:
    found = with_datagrams(figures(2))
    assert from_plain(json.loads(json.dumps(plain(found)))) == found


def test_datagrams_of_those_that_have_any() -> None:
    one = figures(1)
    assert together(one, [one]).datagrams is None and "dropped_datagrams" not in together(one, [one]).reasons
    gone = counted(with_datagrams(one))
    assert gone.datagrams == (10, 5, 1_000, 500, 0, 0, 3, 4)
    both = together(one, [with_datagrams(one), one, gone])
    assert both.datagrams == (20, 10, 2_000, 1_000, 2, 1, 6, 8)
    assert both.reasons["dropped_datagrams"][DatagramDrop.RATE] == 6
    assert both.reasons["dropped_datagrams"][DatagramDrop.LATE] == 0


def test_there_and_back() -> None:
    found = figures(3)._replace(certificates=(CertificateFigures(("a", "b"), 1.5, 2.5),))
    assert from_plain(json.loads(json.dumps(plain(found)))) == found


def test_sums() -> None:
    one, other = figures(3), figures(5)
    own = counted(one)._replace(uptime=99.0)
    for name in own.counts:
        own = own._replace(counts={**own.counts, name: 0})
    found = together(own, [one, other])
    assert found.uptime == 99.0
    assert found.counts["packets_up"] == 8 and found.counts["sessions"] == 8
    assert found.clients.live == 6 and found.clients.stale == 2
    assert found.lanes["tcp"].live == 6 and found.protocols["v2"].stale == 2
    assert found.reasons["closed"][CloseReason.PEER_CLOSED] == 3  # with the parent's own, which this copy has too
    assert found.reasons["held"][Hold.MASTER] == own.reasons["held"][Hold.MASTER], "only the parent accepts"
    assert found.latencies["handshake_secs"].observed == 11
    assert found.master.connected and found.master.connections == 2 and found.master.reconnects == 0
    assert found.queues.memory_limit == one.queues.memory_limit + other.queues.memory_limit
    assert found.loop.turns == sum(each.loop.turns for each in (own, one, other))


def test_of_one_that_is_gone_only_what_it_has_counted_stays() -> None:
    found = counted(figures(3))
    assert found.clients == (0, 0, 0) and found.queues.memory_limit == 0 and not found.master.connected
    assert found.counts["packets_up"] == 3 and found.lanes["tcp"] == (3, 0)
    assert found.master.connections == 1 and found.master.processes == 0


def test_a_certificate_of_all_is_one() -> None:
    certificate = CertificateFigures(("a",), 1.0, 2.0)
    one = figures(1)._replace(certificates=(certificate,))
    assert together(one, [one, one]).certificates == (certificate,)


def test_totals() -> None:
    with world() as made:
        one = made.new()
        one.send(b"up")
        made.settle()
        one.cut()
        made.settle()
        totals = totals_of(made.server)
    again = totals_from(json.loads(json.dumps(totals)))
    assert again == totals
    both = add_totals(past_totals(totals), [again])
    assert both.packets_up == 2 and both.stale == 1 and both.closed == 2
    assert both.turns == tuple(2 * count for count in totals.turns)
    assert both.reasons["closed"] == {"peer closed": 2} and both.reasons["held"] == totals.reasons["held"]
    dropping = totals._replace(reasons={**totals.reasons, "dropped_datagrams": {"came before": 3}})
    assert add_totals(totals, [dropping, dropping]).reasons["dropped_datagrams"] == {"came before": 6}
