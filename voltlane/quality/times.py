"""What times that stand in datagrams tell: how evenly they come, and how long the way is.

A sender's clock may be any, and may begin at 0 again every `period` seconds, as one of 16 bits does: then differences
are taken for the smallest that they can be. `period` 0: it does not.
"""

from __future__ import annotations

JITTER_SHARE = 1 / 16
ROUND_TRIP_SHARE = 1 / 8
"""What a sample counts in its average."""


class Jitter:
    """The interarrival jitter of RFC 3550, section 6.4.1: by how much the way of one datagram differs from that of the
    one that came before it, averaged."""

    __slots__ = ("_period", "_transit", "seconds")

    def __init__(self, period: float = 0.0) -> None:
        self._period = period
        self._transit: float | None = None  # of the last one, and however far the clocks are apart
        self.seconds: float | None = None
        """None before there were two."""

    def take(self, sent: float, now: float) -> None:
        """One that was sent at that time of its sender's clock, and came at this time of ours. Both in seconds, in the
        order of coming; those that come again do not count."""
        transit, self._transit = self._transit, now - sent
        if transit is not None:
            difference = abs(_nearest(self._transit - transit, self._period))
            before = self.seconds or 0.0
            self.seconds = before + (difference - before) * JITTER_SHARE

    def begin(self) -> None:
        """The sender's clock is another one from here on; the average stays."""
        self._transit = None


class RoundTrip:
    """How long it takes there and back: times of our own clock that the peer sent back, averaged."""

    __slots__ = ("_period", "seconds")

    def __init__(self, period: float = 0.0) -> None:
        self._period = period
        self.seconds: float | None = None
        """None before there was one. The first is the first value."""

    def take(self, echoed: float, now: float, held: float = 0.0) -> bool:
        """We sent that time, the peer held it for so long, and it is back now. Whether that can be: a time from the
        future counts for nothing, and by a clock with a period neither does what is half of that old."""
        sample = now - echoed - held
        if self._period:
            sample = _nearest(sample, self._period)
        if sample < 0:
            return False
        self.seconds = sample if self.seconds is None else self.seconds + (sample - self.seconds) * ROUND_TRIP_SHARE
        return True


def _nearest(difference: float, period: float) -> float:
    """The difference of two times of a clock with this period, from minus half of it to half of it."""
    return (difference + period / 2) % period - period / 2 if period else difference
