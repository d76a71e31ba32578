"""Pings to the WebSockets, at an interval: proxies end what is idle for a minute or so, and TCP's own probes do not get
past them. Whoever has not answered one until its next is due has lost its connection.

All connections are gone over, a slice at a time: none has a timer, and where there is no WebSocket nothing wakes up.
"""

from __future__ import annotations

import socket
from typing import Protocol, cast

from ...core.timers import Timer
from ...net.reactor import Reactor
from ...reasons import CloseReason
from ..fairness.turns import PARKED, QUEUED, THROTTLED, Turns
from ..framing import Framing

SLICE = 256
"""Descriptors looked at in one go: a ping is a system call."""
_UNREAD = QUEUED | PARKED | THROTTLED
"""What it has sent may be lying there."""


class Pinged(Protocol):
    """A connection that is sent pings: a handler that says that it is `pinged`."""

    sock: socket.socket | None
    flags: int
    framing: Framing

    @property
    def waiting(self) -> object:
        """What its socket has to take first, if something waits."""
        ...

    def say(self, words: bytes) -> None:
        """Send bytes of the wire that are no message, as soon as they cut none."""

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """Give it up."""


class Heartbeat:
    """One server's."""

    def __init__(self, reactor: Reactor, turns: Turns) -> None:
        self._reactor = reactor
        self._turns = turns
        self.secs = 0.0
        """Between two pings to the same connection; 0: none are sent."""
        self._cursor = 0
        self._found = False
        self._timer: Timer | None = None

    def begin(self) -> None:
        """There is somebody to be sent pings."""
        if self._timer is None and self.secs:
            self._cursor, self._found = 0, False
            self._rest()

    def configure(self, secs: float) -> None:
        """Go by another interval, from now on."""
        if secs != self.secs:
            self.secs = secs
            self.stop()
            self.begin()  # which ends by itself where there is nobody

    def stop(self) -> None:
        """Send no more."""
        if self._timer is not None:
            self._reactor.cancel(self._timer)
            self._timer = None

    def _rest(self) -> None:
        """Wait until the next slice is due, so that a round takes `secs`."""
        share = min(1.0, SLICE / max(1, self._reactor.slots))
        self._timer = self._reactor.call_later(self.secs * share, self._slice)

    def _slice(self, now: float) -> None:
        self._timer = None
        start = self._cursor
        for handler in self._reactor.handlers_at(start, SLICE):
            if handler is not None and handler.pinged:
                self._found = True
                self._reactor.guard(handler, self._beat, cast(Pinged, handler))
        self._cursor = start + SLICE
        if self._cursor >= self._reactor.slots:
            found, self._cursor, self._found = self._found, 0, False
            if not found:
                return
        self._rest()

    def _beat(self, client: Pinged) -> None:
        if client.sock is None or client.waiting is not None:  # who does not read has a deadline for that
            return
        if client.framing.heard:
            client.say(client.framing.ping())
        elif not (client.flags & _UNREAD or self._turns.paused):
            client.close(CloseReason.PING_UNANSWERED)
