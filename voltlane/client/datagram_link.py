"""How good the way of a session's datagrams is, both ways, as programs are told it. No clock."""

from __future__ import annotations

from ..quality import LossTracker
from ..wire.datagram import TICKS

HISTORY = 1000
"""Datagrams; past that, what was counted of losses is halved, so that what is long ago fades."""
_CLOCK = 1 << 16


class DatagramLink:
    """`Connection.datagram_link`: one session's, over all of its keys and addresses. To be read, not written."""

    __slots__ = (
        "_lost_in",
        "_lost_out",
        "dropped",
        "jitter",
        "late",
        "most",
        "overflowed",
        "received",
        "round_trip",
        "sent",
        "unsent",
        "working",
    )

    def __init__(self) -> None:
        self.working = False
        """Whether the server has asked whether we are here, and was answered, under the present keys."""
        self.most = 0
        """Bytes of the largest packet that fits into a datagram; 0 before the server has said that."""
        self.round_trip: float | None = None
        """Seconds there and back, smoothed, with what a datagram waited here until a call took it; None before it is
        known."""
        self.jitter: float | None = None
        """Seconds by which the way here varies (RFC 3550, section 6.4.1); None before it is known."""
        self.sent = self.received = 0
        """Packets."""
        self.late = 0
        """Datagrams that came behind one with a higher number."""
        self.unsent = 0
        """Packets that could not go out: there were no keys, or the system took none."""
        self.overflowed = 0
        """Packets that came and that nobody took in time: the oldest make room."""
        self.dropped = 0
        """What came and was not for us: it did not open, came before, or is too old to tell."""
        self._lost_in: LossTracker | None = None
        self._lost_out: LossTracker | None = None

    @property
    def loss_in(self) -> int | None:
        """Of a thousand datagrams from the server, how many do not come; None before it is known."""
        return None if self._lost_in is None else self._lost_in.rate()

    @property
    def loss_out(self) -> int | None:
        """Of a thousand datagrams to the server, how many do not come there, as it says; None before it has."""
        return None if self._lost_out is None else self._lost_out.rate()

    def echoed(self, seconds: float) -> None:
        """A round trip was measured. RFC 6298 averages so."""
        self.round_trip = seconds if self.round_trip is None else self.round_trip + (seconds - self.round_trip) / 8

    def varied(self, ticks: int) -> None:
        """The way of one took so much longer, or shorter, than that of the one before it."""
        change = min(ticks % _CLOCK, -ticks % _CLOCK) / TICKS
        self.jitter = (self.jitter or 0.0) + (change - (self.jitter or 0.0)) / 16

    def lost_in(self, came: int, lost: int) -> None:
        """So many came since the last time, and so many did not."""
        self._lost_in = _record(self._lost_in, came, lost)

    def lost_out(self, came: int, lost: int) -> None:
        """The same at the server."""
        self._lost_out = _record(self._lost_out, came, lost)

    def __repr__(self) -> str:
        known = [
            "working" if self.working else "not working",
            *([] if self.round_trip is None else [f"{1000 * self.round_trip:.1f} ms"]),
            *([] if self.loss_in is None else [f"{self.loss_in / 10:g} % lost in"]),
            *([] if self.loss_out is None else [f"{self.loss_out / 10:g} % lost out"]),
        ]
        return f"<DatagramLink: {', '.join(known)}>"


class Totals:
    """What two looks at a receiver's totals differ by. What comes late is taken from what is lost next."""

    __slots__ = ("_ahead", "_highest", "_received")

    def __init__(self) -> None:
        self._highest, self._received, self._ahead = -1, 0, 0

    def take(self, highest: int, received: int) -> tuple[int, int]:
        """The highest number, and how many came, each once, since the numbers began at 0: how many came since the last
        look, and how many did not. Totals that are less than they were say nothing."""
        came, advance = received - self._received, highest - self._highest
        if came < 0 or advance < 0:
            return 0, 0
        self._highest, self._received = highest, received
        lost = advance - came - self._ahead
        self._ahead = max(0, -lost)
        return came, max(0, lost)


def _record(tracker: LossTracker | None, came: int, lost: int) -> LossTracker | None:
    if not came and not lost:
        return tracker
    tracker = tracker or LossTracker(HISTORY)
    tracker.record_many(came, lost)
    return tracker
