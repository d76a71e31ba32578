"""One peer's link: when it was last heard, bandwidth both ways, latency, loss, jitter, and a score made of them.

Nothing here is for a packet's way: bandwidth is taken from totals that are counted anyway.

    link = LinkQuality(now)
    link.heard(now)                                     # something came
    link.sample(total_bytes_in, total_bytes_out, now)   # now and then; once a second is enough
    link.set_latency(0.08)                              # seconds, whenever it is measured
    link.set_jitter(0.004)
    link.record(received=97, lost=3)                    # or a packet at a time, like a LossTracker
    peers.sort(key=lambda peer: peer.link.score)        # who is served first; None where nothing is known

The score is from 0, the best, to 1000: the mean of what is known, of these, each from 0 to 1000, by weight:

    5  loss        the lost of a thousand
    3  latency     the round trip and four times the jitter, in milliseconds, 1000 from a second on
    2  bandwidth   both ways together: 1000 · b / (b + 1 MiB/s), 500 for who takes a MiB a second

So a link that works counts before a short one, and that before one that takes little. Jitter is a part of the latency,
since whoever wants an even stream has to wait for what comes late: as long as a timer that awaits an answer does, which
is the round trip and four times what it varies (RFC 6298). So more of it never makes a link better, and where none is
known the score is what it would be without. Of both, one that is not known counts as 0 beside the other.
"""

from __future__ import annotations

from typing import ClassVar

from .loss import LOSS_HISTORY, LossTracker

OLD_SHARE, NEW_SHARE = 0.7, 0.3
"""An average's next value: so much of the old one, and so much of the sample."""
SAMPLE_INTERVAL = 1.0
"""Seconds that a bandwidth sample spans at least."""
LOSS_WEIGHT, LATENCY_WEIGHT, BANDWIDTH_WEIGHT = 5, 3, 2
JITTERS = 4
"""How much jitter counts beside the latency."""
WORST = 1000
"""The worst score, and the worst of each of its parts."""
HALF_BANDWIDTH = 1 << 20
"""Bytes a second that count for half of the worst."""


class LinkQuality:
    """One peer's link. `timeout`: seconds of silence after which it is thought gone; 0 is never."""

    __slots__ = (
        "_bytes_in",
        "_bytes_out",
        "_changed",
        "_losses",
        "_order",
        "_sampled",
        "_score",
        "bandwidth_in",
        "bandwidth_out",
        "born",
        "jitter",
        "last_receive",
        "latency",
        "timeout",
    )

    history: ClassVar[int] = LOSS_HISTORY
    """Packets that loss and reordering are told by, as LossTracker has it."""

    def __init__(self, now: float, timeout: float = 30.0) -> None:
        self.born = now
        self.timeout = timeout
        self.last_receive = now
        self.bandwidth_in: float | None = None
        """Bytes a second, averaged; None before there were two readings of the totals."""
        self.bandwidth_out: float | None = None
        self.latency: float | None = None
        """Seconds there and back."""
        self.jitter: float | None = None
        """Seconds by which packets come less evenly than they were sent."""
        self._losses: LossTracker | None = None
        self._order: LossTracker | None = None
        self._sampled: float | None = None
        self._bytes_in = self._bytes_out = 0
        self._score: int | None = None
        self._changed = False

    # ---- what is told

    def heard(self, now: float) -> None:
        """Something came at that time."""
        self.last_receive = max(self.last_receive, now)

    def sample(self, bytes_in: int, bytes_out: int, now: float) -> bool:
        """The totals since whenever; whether they made a sample. Too soon after the last one they make none.

        The first totals only say where to count from, and so do totals that are less than they were.
        """
        if self._sampled is not None:
            elapsed = now - self._sampled
            if elapsed < SAMPLE_INTERVAL:
                return False
        delta_in, delta_out = bytes_in - self._bytes_in, bytes_out - self._bytes_out
        first, self._sampled, self._bytes_in, self._bytes_out = self._sampled is None, now, bytes_in, bytes_out
        if first or delta_in < 0 or delta_out < 0:
            return False
        before = self.bandwidth_in, self.bandwidth_out
        self.bandwidth_in = _averaged(self.bandwidth_in, delta_in / elapsed)
        self.bandwidth_out = _averaged(self.bandwidth_out, delta_out / elapsed)
        self._changed |= before != (self.bandwidth_in, self.bandwidth_out)
        return True

    def set_latency(self, seconds: float | None) -> None:
        """The latency as it was measured last; None for not known any more."""
        self._changed |= seconds != self.latency
        self.latency = seconds

    def set_jitter(self, seconds: float | None) -> None:
        """The jitter as it was measured last; None for not known any more."""
        self._changed |= seconds != self.jitter
        self.jitter = seconds

    def record(self, received: int, lost: int) -> None:
        """So many packets came, and so many did not; fewer than 0 where some came that had been counted as lost."""
        if received or lost:
            before = self.loss
            if self._losses is None:
                self._losses = LossTracker(self.history)
            self._losses.record_many(received, lost)
            self._changed |= before != self.loss

    def record_order(self, in_order: int, late: int) -> None:
        """So many packets came in order, and so many behind one that was sent after them."""
        if in_order or late:
            if self._order is None:
                self._order = LossTracker(self.history)
            self._order.record_many(in_order, late)

    # ---- what is asked

    @property
    def loss(self) -> int | None:
        """The lost of a thousand; None before anything was recorded."""
        return None if self._losses is None else self._losses.rate()

    @property
    def reordered(self) -> int | None:
        """Of a thousand that came, those behind one that was sent after them; None before any came. No part of the
        score: what it costs is jitter, and what came too late to be of use, loss."""
        return None if self._order is None else self._order.rate()

    @property
    def score(self) -> int | None:
        """Lower is better served; None while nothing is known. Computed when asked for after something has changed."""
        if self._changed:
            self._changed = False
            self._score = self._compute()
        return self._score

    def age(self, now: float) -> float:
        """Seconds since it began."""
        return now - self.born

    def idle(self, now: float) -> float:
        """Seconds since something came."""
        return now - self.last_receive

    def timed_out(self, now: float) -> bool:
        """Whether it has been silent for longer than its timeout."""
        return 0 < self.timeout < now - self.last_receive

    def _compute(self) -> int | None:
        total = weight = 0.0
        if self.loss is not None:
            total += LOSS_WEIGHT * self.loss
            weight += LOSS_WEIGHT
        if self.latency is not None or self.jitter is not None:
            wait = (self.latency or 0.0) + JITTERS * (self.jitter or 0.0)
            total += LATENCY_WEIGHT * min(1000 * wait, WORST)
            weight += LATENCY_WEIGHT
        if self.bandwidth_in is not None and self.bandwidth_out is not None:
            bandwidth = self.bandwidth_in + self.bandwidth_out
            total += BANDWIDTH_WEIGHT * WORST * bandwidth / (bandwidth + HALF_BANDWIDTH)
            weight += BANDWIDTH_WEIGHT
        return round(total / weight) if weight else None


def _averaged(old: float | None, sample: float) -> float:
    """The next value of an exponentially weighted moving average; the first sample is the first value."""
    return sample if old is None else OLD_SHARE * old + NEW_SHARE * sample
