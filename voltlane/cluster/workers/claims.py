"""What a worker knows of where its connections come from: their numbers. Who may come in is for the parent to say,
which has the addresses of all workers' connections in one place; so each source here tells it how it goes on.
"""

from __future__ import annotations

from typing import Callable

from ...config.limits import Limits
from ...core.admission import Admission, Answer, Source
from ...reasons import CloseReason
from ..handover.notes import note
from .notes import Kind, Leave, encode_leave

_SIZE = 8
"""Bytes of a number, as it goes from one process to another in place of a source's key."""


class Claims(Admission):
    """In place of an admission. `say(words)` tells the parent something."""

    def __init__(self, limits: Limits, say: Callable[[bytes], None]) -> None:
        super().__init__(limits)
        self.say = say

    def claim(self, number: int) -> Claim:
        """That of a connection with this number."""
        return Claim(self, number.to_bytes(_SIZE, "big"))

    def readmit(self, key: bytes) -> Source:
        """See Admission: the connection keeps its number."""
        return Claim(self, key)


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
        self.admission.say(note(Kind.GREETED, self.number))

    def left(self, reason: CloseReason, greeted: bool, lifetime: float, now: float) -> None:
        """See Source."""
        self.admission.say(note(Kind.LEFT, self.number, encode_leave(Leave(reason, lifetime))))

    def becomes(self, packed: bytes, now: float) -> Answer:
        """See Source."""
        self.admission.say(note(Kind.CLAIMED, self.number, packed))
        return self
