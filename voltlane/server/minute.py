"""A line in the log for each minute in which something happened.

No timer wakes the loop for it: it is written in the first turn past the minute. So an idle server says nothing and
sleeps, and the line behind a quiet time says how long that was.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from ..core.counters import Counters
from ..core.timers import Timer
from ..ops.log import log
from ..reasons import CloseReason
from .gauges import clients
from .parts import Parts

MINUTE_SECS = 60.0


class _Totals(NamedTuple):
    """What has happened since the start."""

    new: int
    resumed: int
    packets_up: int
    packets_down: int
    closed: Counter[CloseReason]

    @classmethod
    def of(cls, counters: Counters) -> _Totals:
        return cls(
            counters.sessions, counters.resumed, counters.packets_up, counters.packets_down, counters.closed.copy()
        )


class MinuteLog:
    """One server's."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._timer: Timer | None = None
        self._said = _Totals.of(parts.counters)
        self._since = parts.reactor.now

    def start(self) -> None:
        """The first minute begins."""
        self._since = self._parts.reactor.now
        self._arm()

    def stop(self) -> None:
        """Say the rest."""
        if self._timer is not None:
            self._parts.reactor.cancel(self._timer)
            self._timer = None
            self._say(self._parts.reactor.now)

    def _arm(self) -> None:
        reactor = self._parts.reactor
        self._timer = reactor.call_deferrable(reactor.now + MINUTE_SECS, self._on_minute)

    def _on_minute(self, now: float) -> None:
        self._arm()
        self._say(now)

    def _say(self, now: float) -> None:
        before, totals = self._said, _Totals.of(self._parts.counters)
        seconds, self._since = now - self._since, now
        if totals == before:
            return
        self._said = totals
        there, closed = clients(self._parts), totals.closed - before.closed
        log.info(
            "in %(secs)d s: clients %(clients)d live, %(stale)d stale, %(new)d new, %(resumed)d resumed; packets "
            "%(packets_up)d to the master, %(packets_down)d from it; closed: %(closed)s",
            {
                "secs": round(seconds),
                "clients": there.live,
                "stale": there.stale,
                "new": totals.new - before.new,
                "resumed": totals.resumed - before.resumed,
                "packets_up": totals.packets_up - before.packets_up,
                "packets_down": totals.packets_down - before.packets_down,
                "closed": ", ".join([f"{reason.value} {count}" for reason, count in closed.most_common()]) or "none",
                "reasons": {reason.value: count for reason, count in closed.most_common()},
            },
        )
