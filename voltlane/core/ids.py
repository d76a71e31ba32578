"""Client ids that do not come back: not in this process, and not in the next one, though nothing of this one is kept.

    8 bits     node: which of several servers this is
    45 bits    sixteenths of a millisecond since EPOCH, enough for 69 years

A process begins with the time at which it began, and counts up by one a session, which is slower than the time goes. So
its ids are always behind the clock, and the next process begins behind all of them. An id is below 2^53, which every
language has a number for.
"""

from __future__ import annotations

from typing import NamedTuple

EPOCH = 1_767_225_600
"""2026-01-01T00:00:00Z, in seconds of the wall clock."""
TICKS = 16_000
"""Ids that a second has room for."""
CLOCK_BITS = 45
NODES = 1 << 8
LAST_ID = 2**64 - 1


class Counting(NamedTuple):
    """Where ids have got to."""

    next: int
    last: int
    end: int
    first: int
    began: float
    """Monotonic, as the process has it that began; -1: no clock says how far they may go."""


class Ids:
    """Counts up from `first`. With `began`, the monotonic time at which that was the clock's, no id is ahead of it."""

    def __init__(self, first: int = 1, last: int = LAST_ID, began: float | None = None) -> None:
        self.next = first
        self.last = self._end = last
        """Ids up to this one may be given out. A store that has to write down first how far it goes lowers it."""
        self._first = first
        self._began = began

    def available(self, now: float) -> bool:
        """Whether there is one to be had."""
        if self._began is not None and self.next - self._first > (now - self._began) * TICKS:
            return False  # it would be ahead of the clock
        return self.next <= self.last

    def take(self) -> int:
        """The next one, if it is available."""
        client_id = self.next
        self.next += 1
        return client_id

    def skip(self, kept: int) -> None:
        """Ids up to this one may have been given out before: begin behind it, where it is one of this node's."""
        if self.next <= kept < self._end:
            self.next = self._first = kept + 1

    def counting(self) -> Counting:
        """Where it stands, for another process to go on from."""
        return Counting(self.next, self.last, self._end, self._first, -1.0 if self._began is None else self._began)

    def past(self, now: float) -> int:
        """The last id that is not ahead of the clock."""
        if self._began is None:
            return self._end
        return min(self._end, self._first + int((now - self._began) * TICKS))


def go_on_from(counting: Counting) -> Ids:
    """Those of a process that follows another one on the same machine, whose monotonic clock is the same."""
    ids = Ids(counting.first, counting.end, None if counting.began < 0 else counting.began)
    ids.next, ids.last = counting.next, counting.last
    return ids


def clock_ids(node: int, wall: float, now: float) -> Ids:
    """Those of a process that begins at this time, by the wall clock and by the monotonic one."""
    return ids_from(node, ticks_of(wall), now)


def ids_from(node: int, ticks: int, now: float) -> Ids:
    """Those of a node from these ticks on, where it has not given out any before."""
    base = node << CLOCK_BITS
    return Ids(base + ticks, base + (1 << CLOCK_BITS) - 1, now)


def ticks_of(wall: float) -> int:
    """What the wall clock says, as ids have it."""
    return min(max(int((wall - EPOCH) * TICKS), 1), (1 << CLOCK_BITS) - 1)
