"""The last quarter of an hour, for plots: a point for each second of two minutes, and for ten seconds of all of it.

Points are the differences of totals, which others count anyway. Whoever takes the totals does so in front of the first
turn of another second: all that was counted until then belongs to the seconds of the turns before, and in the seconds
without a turn nothing has happened. These are filled in then, so that nobody has to be woken for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

SECONDS, TENS = 120, 90
"""Points kept of either kind."""
MINUTE = 60

Counts = tuple[int, ...]
"""Those of a Distribution: cumulative by bound, of all that was ever observed."""
Reasons = Mapping[str, Mapping[str, int]]
"""Kind → {reason → how often}, none of them 0."""


class Totals(NamedTuple):
    """What was counted until some moment, and what there was at that moment."""

    packets_up: int
    packets_down: int
    bytes_up: int
    bytes_down: int
    closed: int
    busy_secs: float
    turns: Counts
    """How long turns took."""
    round_trips: Counts
    """Of the clients that were asked about."""
    clients: int
    stale: int
    master_bytes: int
    """In the master's outbox."""
    client_bytes: int
    """Of memory, in what is queued for clients or kept for them."""
    reasons: Reasons


class Point(NamedTuple):
    """A second, or ten of them."""

    at: int
    """The second it begins with: whole seconds of uptime."""
    packets_up: float
    """A second, like all that flows."""
    packets_down: float
    bytes_up: float
    bytes_down: float
    closed: float
    busy: float
    """Share of the time in which the loop was not waiting."""
    turn_p50: float | None
    """The lowest bound that so many turns did not exceed; the highest, where they did. None without turns."""
    turn_p99: float | None
    round_trip_p50: float | None
    round_trip_p99: float | None
    clients: int
    """At the end of it, as `stale` is."""
    stale: int
    master_bytes: int
    """The most that was seen of it, as of `client_bytes`."""
    client_bytes: int


class Timeline:
    """One server's. `bounds` are those that the counts of turns and of round trips go by."""

    def __init__(self, since: float, totals: Totals, turns: tuple[float, ...], round_trips: tuple[float, ...]) -> None:
        self._since = since
        self._second = 0
        self._reasons: deque[Reasons] = deque([totals.reasons], maxlen=MINUTE + 1)
        self.turn_bounds, self.round_trip_bounds = turns, round_trips
        self.seconds = _Series(self, 1, SECONDS, totals)
        self.tens = _Series(self, 10, TENS, totals)

    def next_second(self) -> float:
        """The time from which on there is something to note."""
        return self._since + self._second + 1

    def note(self, now: float, totals: Totals) -> None:
        """All that was counted before `now`, at which nothing has happened yet."""
        second = int(now - self._since)
        if second <= self._second:
            return
        for _ in range(min(second - self._second, MINUTE + 1)):
            self._reasons.append(totals.reasons)
        self._second = second
        self.seconds.note(second, totals)
        self.tens.note(second, totals)

    def last_minute(self) -> dict[str, dict[str, int]]:
        """How often what happened in the last minute, whole seconds of it; zeros left out."""
        now, before = self._reasons[-1], self._reasons[0]
        return {
            kind: {
                reason: count - then
                for reason, count in counts.items()
                if count > (then := before.get(kind, {}).get(reason, 0))
            }
            for kind, counts in now.items()
        }


class _Series:
    """Points `step` seconds apart."""

    def __init__(self, timeline: Timeline, step: int, size: int, totals: Totals) -> None:
        self.step = step
        self.points: deque[Point] = deque(maxlen=size)
        self._size = size
        self._timeline = timeline
        self._index = 0  # of the point that is not whole yet
        self._begin = totals
        self._most = (0, 0)  # waiting for the master and for clients, seen in it

    def note(self, second: int, totals: Totals) -> None:
        """See Timeline."""
        index = second // self.step
        self._most = max(self._most[0], totals.master_bytes), max(self._most[1], totals.client_bytes)
        if index == self._index:
            return
        self.points.append(
            self._point(self._begin, totals)._replace(master_bytes=self._most[0], client_bytes=self._most[1])
        )
        quiet = self._point(totals, totals)
        for missed in range(max(self._index + 1, index - self._size), index):
            self.points.append(quiet._replace(at=missed * self.step))
        self._index, self._begin, self._most = index, totals, (0, 0)

    def _point(self, begin: Totals, end: Totals) -> Point:
        turns, round_trips = self._timeline.turn_bounds, self._timeline.round_trip_bounds
        return Point(
            self._index * self.step,
            (end.packets_up - begin.packets_up) / self.step,
            (end.packets_down - begin.packets_down) / self.step,
            (end.bytes_up - begin.bytes_up) / self.step,
            (end.bytes_down - begin.bytes_down) / self.step,
            (end.closed - begin.closed) / self.step,
            round((end.busy_secs - begin.busy_secs) / self.step, 4),
            within(turns, begin.turns, end.turns, 0.5),
            within(turns, begin.turns, end.turns, 0.99),
            within(round_trips, begin.round_trips, end.round_trips, 0.5),
            within(round_trips, begin.round_trips, end.round_trips, 0.99),
            end.clients,
            end.stale,
            end.master_bytes,
            end.client_bytes,
        )


def within(bounds: tuple[float, ...], before: Counts, now: Counts, share: float) -> float | None:
    """Of what was observed between two moments: the lowest bound that this share did not exceed, or the highest of all
    where it did. None where nothing was."""
    wanted = share * (now[-1] - before[-1])
    if not wanted:
        return None
    return next((bound for bound, then, count in zip(bounds, before, now) if count - then >= wanted), bounds[-1])
