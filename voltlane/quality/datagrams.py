"""The quality of a link that carries numbered datagrams."""

from __future__ import annotations

from .link import LinkQuality
from .loss import NumberLoss
from .numbers import Arrival, Numbers
from .times import Jitter, RoundTrip

DATAGRAM_HISTORY = 1_000
"""Datagrams, for loss and reordering: at 30 a second what was half a minute ago counts for half."""


class DatagramQuality(LinkQuality):
    """For who counts numbers and takes times elsewhere, and looks at the totals now and then."""

    __slots__ = ("_late", "_lost", "_received")

    history = DATAGRAM_HISTORY

    def __init__(self, now: float, timeout: float = 30.0) -> None:
        super().__init__(now, timeout)
        self._lost = NumberLoss()
        self._received = self._late = 0

    def count(self, highest: int, received: int, late: int) -> None:
        """The totals since the numbers began at 0: the highest (-1: none), how many came, each once, and how many of
        these behind a higher one. Totals that are less than they were begin anew, and only say where to count from."""
        came, lost = self._lost.take(highest, received)
        behind, self._late = late - self._late, late
        if 0 <= behind <= came:
            self.record(came, lost)
            self.record_order(came - behind, behind)


class PeerQuality(DatagramQuality):
    """A peer of a relay: it is told of each datagram. `bits` of its numbers, and `period` of the times that it sends,
    as `Numbers` and `Jitter` have them; `echo_period`: that of the times that it sends back, which are ours."""

    __slots__ = ("_jitter", "_round_trip", "bytes_in", "bytes_out", "numbers")

    def __init__(
        self, now: float, timeout: float = 30.0, *, bits: int = 0, period: float = 0.0, echo_period: float = 0.0
    ) -> None:
        super().__init__(now, timeout)
        self.numbers = Numbers(bits)
        self._jitter = Jitter(period)
        self._round_trip = RoundTrip(echo_period)
        self.bytes_in = 0
        """All that came, and that `went` to it since it began."""
        self.bytes_out = 0

    def came(self, size: int, now: float, *, number: int | None = None, sent: float | None = None) -> Arrival | None:
        """One datagram has come, of so many bytes. What its number is, if it has one: for who drops what comes again.
        `sent`: when, by the peer's clock."""
        self.heard(now)
        self.bytes_in += size
        arrival = None
        if number is not None:
            before = self.numbers.received
            arrival = self.numbers.take(number)
            if self.numbers.received <= before and arrival is Arrival.NEWEST:  # it was started again
                self._jitter.begin()
        if sent is not None and arrival not in (Arrival.REPEATED, Arrival.STRAY):
            self._jitter.take(sent, now)
        return arrival

    def echoed(self, time: float, now: float, held: float = 0.0) -> bool:
        """A time of ours came back, held by the peer for so long; see `RoundTrip.take`."""
        return self._round_trip.take(time, now, held)

    def went(self, size: int) -> None:
        """So many bytes were sent to it."""
        self.bytes_out += size

    def look(self, now: float) -> None:
        """Take into the averages what came since the last time: once a second is enough."""
        numbers = self.numbers
        if numbers.received:
            self.count(numbers.expected - 1, numbers.received, numbers.late)
        self.set_jitter(self._jitter.seconds)
        self.set_latency(self._round_trip.seconds)
        self.sample(self.bytes_in, self.bytes_out, now)
