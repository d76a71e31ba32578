"""What each may send: two token buckets, of datagrams and of bytes, that a table has the rates of."""

from __future__ import annotations


class Rates:
    """A second; 0 is no limit. What is there may be overdrawn once, so the largest datagram passes the least burst."""

    __slots__ = ("byte_burst", "byte_rate", "packet_burst", "packet_rate")

    def __init__(self, packet_rate: float, byte_rate: float, burst_secs: float) -> None:
        self.packet_rate, self.byte_rate = packet_rate, byte_rate
        self.packet_burst, self.byte_burst = packet_rate * burst_secs, byte_rate * burst_secs

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self.packet_rate > 0 or self.byte_rate > 0


class Rated:
    """One that the rates are held against. Its buckets take memory from the first datagram on that is."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: tuple[float, float, float] | None = None  # packets, bytes, and when that was; None: both are full

    def within(self, rates: Rates, size: int, now: float) -> bool:
        """Take a datagram of so many bytes off, if nothing is owed."""
        if self._left is None:
            packets, bytes_ = rates.packet_burst, rates.byte_burst
        else:
            packets, bytes_, at = self._left
            packets = min(packets + (now - at) * rates.packet_rate, rates.packet_burst)
            bytes_ = min(bytes_ + (now - at) * rates.byte_rate, rates.byte_burst)
        good = (packets > 0 or not rates.packet_rate) and (bytes_ > 0 or not rates.byte_rate)
        self._left = packets - good, bytes_ - good * size, now
        return good
