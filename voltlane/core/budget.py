"""One account of all memory that is queued anywhere, so that the queues have a limit together and not only each.

Every queue is a `Holding` and says, per batch, how much memory it holds. The budget sums that up, and files them on
shelves by powers of two, so that a largest one (to within a factor of two) is found without looking at the others,
however many there are. A holding moves to another shelf only when its size has about doubled or halved.
"""

from __future__ import annotations

from itertools import islice
from typing import Callable

CHUNK_COST = 128
"""Bytes of a chunk that stands in a queue, beyond those in it: the objects around it. Measured on CPython 3.11."""
QUEUE_COST = 768
"""Bytes of a queue with something in it, before the first chunk."""
NEAR = 0.8
"""The part of the limit from which on there is no room for new clients."""

_SMALLEST = 12  # log2 of the bytes up to which holdings stand on one shelf
_SHELVES = 64


def _nothing() -> None:
    return


class Budget:
    """What all queues hold together, in bytes, and the limit of it. 0: there is none.

    `on_over()` is called whenever a holding has changed and the sum is over the limit.
    """

    __slots__ = ("_shelves", "limit", "near", "on_over", "used")

    def __init__(self, limit: int = 0, on_over: Callable[[], None] = _nothing) -> None:
        self.on_over = on_over
        self.used = 0
        self._shelves: list[dict[Holding, None]] = [{} for _ in range(_SHELVES)]
        self.configure(limit)

    def configure(self, limit: int) -> None:
        """Go by this limit from now on."""
        self.limit = limit or 1 << 62
        self.near = int(self.limit * NEAR)
        if self.is_over:
            self.on_over()

    @property
    def is_near(self) -> bool:
        """Whether what is left should be kept for those who are here already."""
        return self.used > self.near

    @property
    def is_over(self) -> bool:
        """Whether something has to go."""
        return self.used > self.limit

    def largest(self) -> Holding | None:
        """The holding that should go first, of those that can: no other is twice as large."""
        return next(iter(self.largest_ones(1)), None)

    def largest_ones(self, most: int) -> list[Holding]:
        """Up to so many of which each could be called the largest: no other is twice as large."""
        for shelf in reversed(self._shelves):
            if shelf:
                # From the end: the first of a dictionary is slow to find where many have left before it.
                return list(islice(reversed(shelf), most))
        return []

    def file(self, holding: Holding, old: int, new: int) -> None:
        """Move a holding from shelf to shelf; 0 is none."""
        if old:
            del self._shelves[old][holding]
        if new:
            self._shelves[new][holding] = None


class Holding:
    """Something that holds memory. Without an `owner`, whom it could be taken from, it is counted but never chosen."""

    __slots__ = ("_budget", "_shelf", "held", "owner")

    def __init__(self, budget: Budget, owner: object = None) -> None:
        self._budget = budget
        self._shelf = 0
        self.owner = owner
        self.held = 0
        """Bytes of memory."""

    def hold(self, size: int) -> None:
        """From now on it is so many bytes."""
        budget = self._budget
        budget.used += size - self.held
        self.held = size
        shelf = (size >> _SMALLEST).bit_length() + 1 if size else 0
        if shelf != self._shelf and self.owner is not None:
            budget.file(self, self._shelf, shelf)
            self._shelf = shelf
        if budget.used > budget.limit:
            budget.on_over()

    def hold_chunk(self, size: int) -> None:
        """It is a queue, and got a chunk of so many bytes."""
        self.hold((self.held or QUEUE_COST) + size + CHUNK_COST)

    def drop_chunks(self, count: int, size: int) -> None:
        """It is a queue, and so many chunks left it, of so many bytes together."""
        held = self.held - size - count * CHUNK_COST
        self.hold(held if held > QUEUE_COST else 0)
