"""What one client may send: token buckets for packets and for bytes, and when it was heard last."""

from __future__ import annotations

from typing import NamedTuple

from ..config import Clients
from .bucket import TokenBucket
from .timers import Timer


class MeterLimits(NamedTuple):
    """What one client may send; names and units are those of the configuration's section `clients`."""

    packet_rate: float
    byte_rate: float
    rate_burst_secs: float
    disconnect: bool
    idle_secs: float

    @classmethod
    def of(cls, clients: Clients) -> MeterLimits:
        """Those of a configuration."""
        return cls(
            clients.packet_rate,
            clients.byte_rate,
            clients.rate_burst_secs,
            clients.rate_policy == "disconnect",
            clients.idle_secs,
        )


class Levels(NamedTuple):
    """How a meter stands: the tokens there are for packets and for bytes, None where these are not counted."""

    packets: float | None
    size: float | None
    heard: float
    """When its client sent something last."""


class Meter:
    """One client's."""

    __slots__ = ("buckets", "heard", "idle", "limits", "pause")

    def __init__(self, limits: MeterLimits, now: float) -> None:
        self.limits = limits
        packets, size = limits.packet_rate, limits.byte_rate
        self.buckets = (
            TokenBucket(packets, packets * limits.rate_burst_secs, now) if packets else None,
            TokenBucket(size, size * limits.rate_burst_secs, now) if size else None,
        )
        self.heard = now
        """When it sent something last."""
        self.idle: Timer | None = None
        self.pause: Timer | None = None
        """Runs while it is throttled."""

    def charge(self, packets: int, size: int, now: float) -> float:
        """Charge it for a read. Seconds until it may be read again."""
        self.heard = now
        return self._debit(packets, size, now)

    def owes(self, now: float) -> float:
        """Seconds until it owes nothing for what it was charged."""
        return self._debit(0, 0, now)

    def is_full(self, now: float) -> bool:
        """Whether it is as a new one would be."""
        return all(bucket is None or bucket.is_full(now) for bucket in self.buckets)

    # ---- for another process

    def levels(self, now: float) -> Levels:
        """How it stands."""
        packets, size = [None if bucket is None else bucket.tokens(now) for bucket in self.buckets]
        return Levels(packets, size, self.heard)

    def set(self, levels: Levels, now: float) -> None:
        """Stand as another one did, as far as it counts the same."""
        for bucket, tokens in zip(self.buckets, levels):
            if bucket is not None and tokens is not None:
                bucket.set(tokens, now)
        self.heard = levels.heard

    def _debit(self, packets: int, size: int, now: float) -> float:
        for_packets, for_bytes = self.buckets
        wait = for_packets.debit(packets, now) if for_packets is not None else 0.0
        return max(wait, for_bytes.debit(size, now)) if for_bytes is not None else wait
