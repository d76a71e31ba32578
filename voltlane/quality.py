"""How good the link to a peer is: for this server's clients, and for any other relay, since it needs nothing else here.

`LinkQuality` is one peer's: when it was last heard, bandwidth both ways, latency, loss, and a score made of them.
`LossTracker` is the loss alone. `validate_address` says whether an address can be a peer's at all.

Nothing here reads a clock: `now` is seconds of any clock that does not go back, read once a turn of the caller's loop.
Nothing here is for a packet's way either: bandwidth is taken from totals that are counted anyway.

    link = LinkQuality(now)
    link.heard(now)                                     # something came
    link.sample(total_bytes_in, total_bytes_out, now)   # now and then; once a second is enough
    link.set_latency(0.08)                              # seconds, whenever it is measured
    link.record(received=97, lost=3)                    # or a packet at a time, like a LossTracker
    peers.sort(key=lambda peer: peer.link.score)        # who is served first; None where nothing is known

The score is from 0, the best, to 1000: the mean of what is known, of these, each from 0 to 1000, by weight:

    5  loss        the lost of a thousand
    3  latency     in milliseconds, 1000 from a second on
    2  bandwidth   both ways together: 1000 · b / (b + 1 MiB/s), 500 for who takes a MiB a second

So a link that works counts before a short one, and that before one that takes little. Ideas and numbers of the averages
are those of the crate udp-relay-core.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

OLD_SHARE, NEW_SHARE = 0.7, 0.3
"""An average's next value: so much of the old one, and so much of the sample."""
SAMPLE_INTERVAL = 1.0
"""Seconds that a bandwidth sample spans at least."""
LOSS_HISTORY = 10_000
"""Packets; past that, what was counted is halved, so that what is long ago fades."""
LOSS_WEIGHT, LATENCY_WEIGHT, BANDWIDTH_WEIGHT = 5, 3, 2
WORST = 1000
"""The worst score, and the worst of each of its parts."""
HALF_BANDWIDTH = 1 << 20
"""Bytes a second that count for half of the worst."""

_BROADCAST = IPv4Address("255.255.255.255")


class LossTracker:
    """How much of what was to come has come."""

    __slots__ = ("expected", "lost")

    def __init__(self) -> None:
        self.expected = 0
        self.lost = 0

    def record(self, received: bool) -> None:
        """One packet that came, or did not."""
        self.record_many(int(received), int(not received))

    def record_many(self, received: int, lost: int) -> None:
        """The same for several at once."""
        self.expected += received + lost
        self.lost += lost
        while self.expected > LOSS_HISTORY:
            self.expected //= 2
            self.lost //= 2

    def rate(self) -> int:
        """The lost of a thousand; 0 before anything was recorded."""
        return self.lost * 1000 // self.expected if self.expected else 0


class LinkQuality:
    """One peer's link. `timeout`: seconds of silence after which it is thought gone; 0 is never."""

    __slots__ = (
        "_bytes_in",
        "_bytes_out",
        "_changed",
        "_losses",
        "_sampled",
        "_score",
        "bandwidth_in",
        "bandwidth_out",
        "born",
        "last_receive",
        "latency",
        "timeout",
    )

    def __init__(self, now: float, timeout: float = 30.0) -> None:
        self.born = now
        self.timeout = timeout
        self.last_receive = now
        self.bandwidth_in: float | None = None
        """Bytes a second, averaged; None before there were two readings of the totals."""
        self.bandwidth_out: float | None = None
        self.latency: float | None = None
        """Seconds there and back."""
        self._losses: LossTracker | None = None
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

    def record(self, received: int, lost: int) -> None:
        """So many packets came, and so many did not."""
        if received or lost:
            before = self.loss
            if self._losses is None:
                self._losses = LossTracker()
            self._losses.record_many(received, lost)
            self._changed |= before != self.loss

    # ---- what is asked

    @property
    def loss(self) -> int | None:
        """The lost of a thousand; None before anything was recorded."""
        return None if self._losses is None else self._losses.rate()

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
        if self.latency is not None:
            total += LATENCY_WEIGHT * min(1000 * self.latency, WORST)
            weight += LATENCY_WEIGHT
        if self.bandwidth_in is not None and self.bandwidth_out is not None:
            bandwidth = self.bandwidth_in + self.bandwidth_out
            total += BANDWIDTH_WEIGHT * WORST * bandwidth / (bandwidth + HALF_BANDWIDTH)
            weight += BANDWIDTH_WEIGHT
        return round(total / weight) if weight else None


def _averaged(old: float | None, sample: float) -> float:
    """The next value of an exponentially weighted moving average; the first sample is the first value."""
    return sample if old is None else OLD_SHARE * old + NEW_SHARE * sample


def validate_address(host: str, port: int) -> IPv4Address | IPv6Address:
    """The address, if a peer of a relay can be there; an IPv4 address mapped into IPv6 is taken for what it is.

    Raises ValueError for what is no address (a name is none), for port 0 and those there are not, and for the loopback,
    unspecified, broadcast and multicast addresses: to relay to those is to talk to oneself, to nobody or to everybody.
    """
    if not 0 < port < 1 << 16:
        raise ValueError(f"port {port}: no peer is there; 1 to 65535 are possible")
    address = ip_address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    for kind, is_that in (
        ("a loopback", address.is_loopback),
        ("the unspecified", address.is_unspecified),
        ("the broadcast", address == _BROADCAST),
        ("a multicast", address.is_multicast),
    ):
        if is_that:
            raise ValueError(f"{host} is {kind} address: one peer's own is needed")
    return address
