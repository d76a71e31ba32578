"""Loss: of a thousand packets that were to come, how many did not."""

from __future__ import annotations

LOSS_HISTORY = 10_000
"""Packets; past that, what was counted is halved, so that what is long ago fades."""


class LossTracker:
    """How much of what was to come has come. `history`: packets, as LOSS_HISTORY."""

    __slots__ = ("_history", "expected", "lost")

    def __init__(self, history: int = LOSS_HISTORY) -> None:
        self._history = history
        self.expected = 0
        self.lost = 0

    def record(self, received: bool) -> None:
        """One packet that came, or did not."""
        self.record_many(int(received), int(not received))

    def record_many(self, received: int, lost: int) -> None:
        """The same for several at once. Fewer than 0 are lost where some have come after all that were counted so."""
        self.expected = max(0, self.expected + received + lost)
        self.lost = min(max(0, self.lost + lost), self.expected)
        while self.expected > self._history:
            self.expected //= 2
            self.lost //= 2

    def rate(self) -> int:
        """The lost of a thousand; 0 before anything was recorded."""
        return self.lost * 1000 // self.expected if self.expected else 0


class NumberLoss:
    """What was lost between two looks at a receiver's totals: the highest number, and how many came.

    A share over a lifetime would tell an hour later of a bad minute, and hide one that has just begun. What comes late,
    behind a look that took it for lost, is taken back from the lost by the next one.
    """

    __slots__ = ("_highest", "_received")

    def __init__(self, highest: int = -1, received: int = 0) -> None:
        self._highest = highest
        self._received = received

    def take(self, highest: int, received: int) -> tuple[int, int]:
        """Since the last look: how many came, and how many were lost, which is below 0 where more came late than were
        lost. Both are 0 where the totals are less than they were: they begin anew."""
        came, advance = received - self._received, highest - self._highest
        self._highest, self._received = highest, received
        return (0, 0) if came < 0 or advance < 0 else (came, advance - came)
