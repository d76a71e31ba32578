"""Counting values by size, in fixed buckets."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

from ..statistics import Distribution

LATENCY_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: Prometheus's own, and three more on the fast side than it has of them here."""

ROUND_TRIP_BOUNDS = tuple([float(f"{digit}e{power}") for power in (-4, -3, -2, -1, 0) for digit in (1, 2, 5)])
"""Seconds: from a network of one's own to one that hardly works."""


class Histogram:
    """How many values were at most each bound. `bounds` ascend."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = LATENCY_BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Not cumulative; the last is for what is past every bound."""
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def distribution(self) -> Distribution:
        """What was counted so far."""
        return Distribution(self.bounds, tuple(accumulate(self.counts)), self.total)
