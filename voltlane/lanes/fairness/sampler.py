"""Asking the kernel about every client's link, a slice at a time.

The kernel counts each connection's bytes, retransmits and round trips anyway; asking costs a system call. So nobody is
asked for a packet, and nobody at all while it is of no use: sampling goes on while somebody looks (`Sampler.look`) or
clients have to be chosen from, and for `LINGER` after that. An idle server that nobody looks at makes no wake-ups.

Who wants to know later on how long the ways were (`glance`) is content with a few clients, and with when the loop is
awake anyway.

A round takes `interval` seconds, or longer where it would take more than `SHARE` of the loop's time.
"""

from __future__ import annotations

import socket
from math import ceil
from typing import Callable, Protocol, cast

from ...core.histogram import ROUND_TRIP_BOUNDS, Histogram
from ...core.timers import Timer
from ...net import tcpinfo
from ...net.reactor import TICK, Reactor
from ...net.tcpinfo import TcpInfo
from ...quality import WORST, LinkQuality
from .turns import Turns

LINGER = 30.0
"""Seconds for which sampling goes on after somebody has looked."""
SHARE = 0.01
"""The part of the loop's time that sampling may take."""
SLICE = 64
"""Descriptors looked at in one go, at the least that many are there."""
LONGEST_SLICE = 0.001
"""Seconds, give or take one connection."""
FEW = 16
"""Clients asked about at a glance ..."""
GLANCED = 64
"""... of so many descriptors, at most."""
UNKNOWN = WORST // 2
"""The rank of a link that nothing is known of: in the middle."""


class ClientQuality(LinkQuality):
    """A client's link, as the kernel sees it."""

    __slots__ = ("_resent", "_sent")

    def __init__(self, now: float) -> None:
        super().__init__(now, timeout=0)  # silence is for keepalive and the idle timeout to judge
        self._sent = self._resent = 0

    def update(self, info: TcpInfo, now: float) -> None:
        """Take what has changed since the last time."""
        self.heard(now - info.last_data_recv)
        self.set_latency(info.rtt)
        if info.bytes_received is not None and info.bytes_acked is not None:
            self.sample(info.bytes_received, info.bytes_acked, now)
        if info.data_segs_out is not None:
            resent = info.total_retrans - self._resent
            arrived = info.data_segs_out - self._sent - resent
            self.record(max(0, arrived), max(0, resent))
            self._sent, self._resent = info.data_segs_out, info.total_retrans


class Measured(Protocol):
    """A connection whose link can be asked about: a handler that says that it is `measured`."""

    sock: socket.socket | None
    since: float
    quality: ClientQuality | None


class Sampler:
    """One server's. `interval` 0 switches it off: no link is known then. `read` asks the kernel."""

    def __init__(
        self,
        reactor: Reactor,
        turns: Turns,
        interval: float,
        read: Callable[..., TcpInfo | None] = tcpinfo.read,
    ) -> None:
        self._reactor = reactor
        self._turns = turns
        self._interval = interval
        self._read = read
        self._until = 0.0
        self._cursor = 0
        self._timer: Timer | None = None
        self.round_trips = Histogram(ROUND_TRIP_BOUNDS)
        """Seconds there and back, of all that was asked about."""
        self.also: Callable[[float], None] = _nothing_more
        """Called with each slice: whoever else has links that are of interest meanwhile."""

    def look(self) -> None:
        """Somebody wants to know: sample, for a while."""
        self._until = self._reactor.now + LINGER
        if self._timer is None and self._interval:
            self._turns.rank = rank
            self._cursor = 0
            self._timer = self._reactor.call_later(0, self._slice)

    @property
    def is_looking(self) -> bool:
        """Whether somebody looks, or has until just now."""
        return self._timer is not None

    def configure(self, interval: float) -> None:
        """Go by another interval, from the next look or slice on."""
        self._interval = interval
        if not interval:
            self.stop()

    def stop(self) -> None:
        """Sample no more."""
        if self._timer is not None:
            self._reactor.cancel(self._timer)
            self._timer = None
        self._turns.rank = None

    def sample(self, connection: Measured) -> TcpInfo | None:
        """Ask about this one now. None where it cannot be known, or is not wanted."""
        info = self._read(connection.sock) if self._interval and connection.sock is not None else None
        if info is not None:
            if info.rtt is not None:
                self.round_trips.observe(info.rtt)
            now = self._reactor.now
            if connection.quality is None:
                connection.quality = ClientQuality(connection.since)
            connection.quality.update(info, now)
        return info

    def glance(self) -> None:
        """Ask how long the way to a few clients is, the next ones each time; nothing else is remembered of them. While
        somebody looks that is asked anyway."""
        if self._timer is not None or not self._interval:
            return
        asked = 0
        for handler in self._reactor.handlers_at(self._cursor, GLANCED):
            self._cursor += 1
            if handler is None or not handler.measured:
                continue
            sock = cast(Measured, handler).sock
            info = self._read(sock) if sock is not None else None
            if info is not None and info.rtt is not None:
                self.round_trips.observe(info.rtt)
            asked += 1
            if asked == FEW:
                break
        if self._cursor >= self._reactor.slots:
            self._cursor = 0

    def _slice(self, now: float) -> None:
        self._timer = None
        if now >= self._until:
            self._turns.rank = None
            return
        slots, start, begin = self._reactor.slots, self._cursor, self._reactor.time()
        # A timer is late by up to a tick: a pause should be longer than that.
        size = max(SLICE, ceil(slots * 2 * TICK / self._interval))
        for handler in self._reactor.handlers_at(start, size):
            self._cursor += 1
            if handler is not None and handler.measured:
                self.sample(cast(Measured, handler))
                if self._reactor.time() - begin > LONGEST_SLICE:
                    break
        self.also(now)
        spent = self._reactor.time() - begin
        pause = self._interval * (self._cursor - start) / slots
        if self._cursor >= slots:
            self._cursor = 0
        self._timer = self._reactor.call_later(max(pause, spent / SHARE), self._slice)


def _nothing_more(now: float) -> None:
    """There are none."""


def rank(client: object) -> int:
    """A client's link for comparing: its score, or in the middle where nothing is known. The lowest is served first."""
    quality: LinkQuality | None = getattr(client, "quality", None)  # a session without a connection has none
    score = quality.score if quality is not None else None
    return UNKNOWN if score is None else score
