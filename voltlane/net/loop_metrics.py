"""How the loop keeps up: how long its turns take, and what in them takes how long.

Every turn is measured with one more look at the clock, and the few that are not short go into a histogram. Where in a
turn the time went is measured in one turn of `SAMPLED` only, since that takes a look at the clock for each phase.
"""

from __future__ import annotations

from types import MappingProxyType

from ..core.histogram import LATENCY_BOUNDS, Histogram
from ..statistics import Distribution, Loop

SAMPLED = 16
"""One turn in so many has its phases measured."""
SHORT = LATENCY_BOUNDS[0]
PHASES = ("dispatch", "tasks", "timers", "flush", "closes")
PHASE_BOUNDS = (0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)


class LoopMetrics:
    """One loop's turns."""

    __slots__ = ("_phase", "_since", "busy", "lag", "phases", "turns")

    def __init__(self) -> None:
        self.turns = 0
        self.busy = 0.0
        """Seconds in all turns, polling aside."""
        self.lag = Histogram(LATENCY_BOUNDS)
        """Of the turns that were not short; the others are what is missing in its number."""
        self.phases = [Histogram(PHASE_BOUNDS) for _ in PHASES]
        self._phase = 0
        self._since = 0.0

    def begin(self, now: float) -> None:
        """The first phase of a turn that is measured begins."""
        self._phase, self._since = 0, now

    def lap(self, now: float) -> None:
        """A phase has ended, and the next one begins."""
        self.phases[self._phase].observe(now - self._since)
        self._phase += 1
        self._since = now

    def summary(self) -> Loop:
        """All of it, for whoever shows it."""
        phases = {name: histogram.distribution() for name, histogram in zip(PHASES, self.phases)}
        return Loop(self.turns, self.busy, self.all_turns(), MappingProxyType(phases))

    def all_turns(self) -> Distribution:
        """How long they took, the short ones among them."""
        bounds, counts, total = self.lag.distribution()
        short = self.turns - counts[-1]
        return Distribution(bounds, tuple([count + short for count in counts]), max(total, self.busy))
