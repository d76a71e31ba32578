"""Takes the totals that the last quarter of an hour is made of: once in a second that has a turn, in front of that.

It costs some microseconds then, whatever the number of clients, and a turn of the same second nothing but a look at
when the next one begins. A server that is idle is not woken.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable

from ..core.counters import Counters
from ..core.histogram import LATENCY_BOUNDS, ROUND_TRIP_BOUNDS
from ..core.timeline import Reasons, Timeline, Totals
from ..net.reactor import Reactor
from .parts import Parts


class Beat:
    """Once in a second that has a turn `totals()` is taken. `since`: when uptime began."""

    def __init__(self, reactor: Reactor, since: float, totals: Callable[[], Totals]) -> None:
        self._reactor = reactor
        self._totals = totals
        self.timeline = Timeline(since, totals(), LATENCY_BOUNDS, ROUND_TRIP_BOUNDS)
        self._arm()

    def _arm(self) -> None:
        self._reactor.call_deferrable(self.timeline.next_second(), self._take)

    def _take(self, now: float) -> None:
        try:
            self.timeline.note(now, self._totals())
        finally:
            self._arm()


class Pulse(Beat):
    """One server's, from the moment when it is made."""

    def __init__(self, parts: Parts, since: float) -> None:
        self._sampler = parts.sampler
        super().__init__(parts.reactor, since, lambda: totals_of(parts))

    def _take(self, now: float) -> None:
        super()._take(now)
        self._sampler.glance()


def totals_of(parts: Parts) -> Totals:
    """What was counted so far, and what there is now."""
    counters, metrics, master = parts.counters, parts.reactor.metrics, parts.trunk.outbox
    stale = parts.registry.stale_count
    return Totals(
        packets_up=counters.packets_up,
        packets_down=counters.packets_down,
        bytes_up=counters.bytes_up,
        bytes_down=counters.bytes_down,
        closed=sum(counters.closed.values()),
        busy_secs=metrics.busy,
        turns=metrics.all_turns().counts,
        round_trips=parts.sampler.round_trips.distribution().counts,
        clients=len(parts.registry.sessions) - stale,
        stale=stale,
        master_bytes=master.size if master is not None else 0,
        client_bytes=parts.budget.used - (master.held if master is not None else 0),
        reasons=reasons_of(counters),
    )


def reasons_of(counters: Counters) -> Reasons:
    """How often what has happened, by reason; zeros left out, and datagrams where none was dropped."""
    known: dict[str, Counter[Any]] = {"closed": counters.closed, "ended": counters.ended, "held": counters.held}
    if counters.datagrams_dropped:
        known["dropped_datagrams"] = counters.datagrams_dropped
    return {name: {reason.value: count for reason, count in counts.items() if count} for name, counts in known.items()}
