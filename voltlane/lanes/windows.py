"""How much clients of version 3 may send ahead of what was read, all of them together bounded (SPEC 16).

What was allowed cannot be taken back, and everybody may make use of it while the master takes nothing. So a client
begins with a little, gets twice as much each time it has used up half of it, and no more than there is left of a share
of the memory.
"""

from __future__ import annotations

from ..core.budget import Budget

SHARE = 8
"""The part of the memory for queues that all windows together may have. What waits for the master is up to three times
what was sent, where packets are empty."""
FIRST = 1 << 16
SMALLEST = 1 << 12
"""Bytes; this much everybody gets, however many there are."""


class Windows:
    """One server's. `most`: bytes of the largest. Every window is given back as it was got last."""

    def __init__(self, budget: Budget, most: int) -> None:
        self._budget = budget
        self.most = most
        self.first = FIRST
        """Bytes that a client begins with."""
        self.count = 0
        """How many there are."""
        self.promised = 0
        """Bytes of all of them."""

    def open(self) -> int:
        """That of a new client."""
        self.count += 1
        window = max(SMALLEST, min(self.first, self.most, self._room()))
        self.promised += window
        return window

    def take_over(self, window: int) -> None:
        """That of a client of another process, which it has."""
        self.count += 1
        self.promised += window

    def renew(self, window: int, left: int) -> int:
        """That of a client that had this one, of which so much is left, and may go on."""
        wanted = min(2 * window if 2 * left <= window else window, self.most)
        renewed = max(SMALLEST, left, min(wanted, window + self._room()))
        self.promised += renewed - window
        return renewed

    def close(self, window: int) -> None:
        """A client with this one is gone."""
        self.count -= 1
        self.promised -= window

    def _room(self) -> int:
        return self._budget.limit // SHARE - self.promised
