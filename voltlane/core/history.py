"""What a client that acknowledges nothing was sent last: kept, in case that it comes back and has not got it.

It is of use to a few, so it must not cost the others much: all histories together have a part of the memory for queues,
and past that each that grows keeps little.
"""

from __future__ import annotations

from .backlog import Backlog
from .budget import Budget
from .outbox import Chunk

SHARE = 4
"""The part of all memory that histories may fill ..."""
LEAST = 1 << 14
"""... before none of them grows over so many bytes any more."""


class Histories:
    """What all of them hold together, in bytes."""

    __slots__ = ("_budget", "used")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.used = 0

    @property
    def is_full(self) -> bool:
        """Whether that is too much."""
        return self.used > self._budget.limit // SHARE


class History(Backlog):
    """One client's."""

    __slots__ = ("_all",)

    def __init__(self, histories: Histories, budget: Budget, owner: object = None) -> None:
        self._all = histories
        super().__init__(budget, owner)

    def retain(self, chunk: Chunk, packets: int, most_packets: int, most_bytes: int) -> None:
        """Keep a chunk, at the cost of the oldest packets."""
        self.append(chunk, packets, most_packets, min(most_bytes, LEAST) if self._all.is_full else most_bytes)

    def hold(self, size: int) -> None:
        """See Holding."""
        self._all.used += size - self.held
        super().hold(size)
