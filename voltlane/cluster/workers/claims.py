"""What a worker knows of where its connections come from: their numbers. Who may come in is for the parent to say,
which has the addresses of all workers' connections in one place; so each source here tells it how it goes on.

Where no limit depends on it the parent is told at leisure: of many that have left at once.
"""

from __future__ import annotations

from typing import Callable

from ...config.limits import Limits
from ...core.admission import Admission, Answer, Source
from ...core.timers import Timer
from ...net.reactor import Reactor
from ...reasons import CloseReason
from ..handover.notes import note
from .notes import Kind, Leave, encode_leave

_SIZE = 8
"""Bytes of a number, as it goes from one process to another in place of a source's key."""
LEISURE_SECS = 0.05
MOST = 256
"""Notes that wait for so long."""


class Claims(Admission):
    """In place of an admission. `say(words)` tells the parent something."""

    def __init__(self, limits: Limits, reactor: Reactor, say: Callable[[bytes], None]) -> None:
        self._reactor = reactor
        self._waiting: list[bytes] = []
        self._timer: Timer | None = None
        self.say = say
        self.kept: set[int] = set()
        """The numbers of connections that another process had, and which have not left."""
        super().__init__(limits)

    def configure(self, limits: Limits) -> None:
        """See Admission."""
        super().configure(limits)
        self._tells_of_handshakes = bool(limits.handshakes)
        """Whether anything depends on when a handshake is done, ..."""
        self._is_urgent = bool(limits.connections or limits.handshakes) or self.wants_addresses
        """... or a connection ends."""

    def claim(self, number: int) -> Claim:
        """That of a connection with this number."""
        return Claim(self, number.to_bytes(_SIZE, "big"))

    def readmit(self, key: bytes) -> Source:
        """See Admission: the connection keeps its number."""
        claim = Claim(self, key)
        self.kept.add(claim.number)
        return claim

    def say_greeted(self, words: bytes) -> None:
        """Tell the parent that the handshake of one is done."""
        self._say(words, self._tells_of_handshakes)

    def say_left(self, words: bytes) -> None:
        """Tell the parent that one has left."""
        self._say(words, self._is_urgent)

    def _say(self, words: bytes, is_urgent: bool) -> None:
        if is_urgent:
            self.say(words)
            return
        self._waiting.append(words)
        if len(self._waiting) >= MOST:
            self.flush()
        elif self._timer is None:
            self._timer = self._reactor.call_later(LEISURE_SECS, self._on_leisure)

    def _on_leisure(self, now: float) -> None:
        self._timer = None
        self.flush()

    def flush(self) -> None:
        """Tell what has waited."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self.say(b"".join(waiting))


class Claim(Source):
    """The source of one connection; its key is the connection's number. It is this one whatever a proxy says of the
    connection: where the parent does not let that address in, it says so later."""

    __slots__ = ()

    admission: Claims

    @property
    def number(self) -> int:
        """The connection's."""
        return int.from_bytes(self.key, "big")

    def greeted(self) -> None:
        """See Source."""
        self.admission.say_greeted(note(Kind.GREETED, self.number))

    def left(self, reason: CloseReason, greeted: bool, lifetime: float, now: float) -> None:
        """See Source."""
        self.admission.kept.discard(self.number)
        self.admission.say_left(note(Kind.LEFT, self.number, encode_leave(Leave(reason, greeted, lifetime))))

    def becomes(self, packed: bytes, now: float) -> Answer:
        """See Source."""
        self.admission.say(note(Kind.CLAIMED, self.number, packed))
        return self
