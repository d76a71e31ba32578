"""What came of numbers that a sender gives its datagrams, one more each time."""

from __future__ import annotations

import enum

WINDOW = 1024
"""Numbers, from the highest down, of which it is known whether they came."""
_WINDOW_BITS = (1 << WINDOW) - 1
LEAP = 64 * WINDOW
"""Numbers that may be missing in a row."""


class Arrival(enum.Enum):
    """What a number is when it comes."""

    NEWEST = "higher than all before"
    LATE = "behind a higher one"
    REPEATED = "came before"
    STRAY = "too far from the others to belong to them"


class Numbers:
    """One sender's. `bits`: how long its numbers are on the wire, behind which they begin at 0 again; 0 for never.

    Numbers need not begin at any one. Those that are WINDOW behind the highest, or LEAP ahead of it, stray. Where two
    that follow each other do, everything begins anew from there: the sender was started again (RFC 3550, appendix A.1).
    So this is for counting, and no protection from replays.
    """

    __slots__ = ("_awaited", "_bits", "_seen", "first", "highest", "late", "received", "repeated", "strayed")

    def __init__(self, bits: int = 0) -> None:
        self._bits = bits
        self._awaited = -1  # that with which numbers would begin anew
        self._seen = 0  # a bit for each of the window, the lowest for the highest number
        self.first = 0
        """The lowest that can be expected."""
        self.highest = -1
        """With the rounds that the wire's bits have gone. One less than `first`: nothing came."""
        self.received = 0
        """How many came, each counted once."""
        self.late = 0
        """Of these, those that came behind a higher one: reordered, as RFC 4737 has it."""
        self.repeated = 0
        """How many came again."""
        self.strayed = 0
        """How many belonged to no others."""

    @property
    def expected(self) -> int:
        """How many were sent, as far as it can be known."""
        return self.highest - self.first + 1

    def take(self, number: int) -> Arrival:
        """One that has come, as it stands on the wire."""
        if not self._seen:
            return self._begin(number)
        ahead = number - self.highest
        if self._bits:  # the nearest that it can be
            half = 1 << (self._bits - 1)
            ahead = (ahead + half) % (2 * half) - half
        if ahead <= -WINDOW or ahead > LEAP:
            if number == self._awaited:
                return self._begin(number)
            self._awaited = number + 1 if not self._bits else (number + 1) % (1 << self._bits)
            self.strayed += 1
            return Arrival.STRAY
        self._awaited = -1
        if ahead > 0:
            self._seen = (self._seen << min(ahead, WINDOW) | 1) & _WINDOW_BITS
            self.highest += ahead
            self.received += 1
            return Arrival.NEWEST
        if self._seen >> -ahead & 1:
            self.repeated += 1
            return Arrival.REPEATED
        self._seen |= 1 << -ahead
        self.first = min(self.first, self.highest + ahead)
        self.received += 1
        self.late += 1
        return Arrival.LATE

    def _begin(self, number: int) -> Arrival:
        """Count from here on; what was counted before is forgotten."""
        self.first = self.highest = number
        self.received, self.late, self.repeated, self.strayed = 1, 0, 0, 0
        self._seen, self._awaited = 1, -1
        return Arrival.NEWEST
