"""Time limits that are the same for all: who began first is due first, so nobody needs a timer of his own."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Timeouts(Generic[Item]):
    """Everything that has `secs` seconds from when it began."""

    __slots__ = ("_began", "secs")

    def __init__(self, secs: float) -> None:
        self.secs = secs
        """May be changed, for everybody at once."""
        # A plain dictionary looks at the places of all who are gone for its first entry.
        self._began: OrderedDict[Item, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._began)

    def begin(self, item: Item, now: float) -> None:
        """Its time runs from now on. `now` does not go back from one to the next."""
        self._began[item] = now

    def join(self, item: Item, began: float) -> None:
        """Its time runs since then, and it has its place among those who began before it and later."""
        later = []
        for other in reversed(self._began):
            if self._began[other] <= began:
                break
            later.append(other)
        self._began[item] = began
        for other in reversed(later):
            self._began.move_to_end(other)

    def end(self, item: Item) -> float:
        """It is done in time, or given up. When it began. Raises KeyError if it has ended."""
        return self._began.pop(item)

    def items(self) -> list[Item]:
        """Everything that is under way, the oldest first."""
        return list(self._began)

    def next_deadline(self) -> float | None:
        """When the oldest is due; None if there is nothing."""
        for began in self._began.values():
            return began + self.secs
        return None

    def due(self, now: float) -> list[Item]:
        """What should have ended by now. It is not ended by that."""
        due = []
        for item, began in self._began.items():
            if began + self.secs > now:
                break
            due.append(item)
        return due
