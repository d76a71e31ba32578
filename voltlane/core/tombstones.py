"""What is remembered of sessions that have ended, for their clients: why, and how much of what they sent had arrived.

A bounded number of them, the latest.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from ..reasons import EndReason

MOST = 4096


class Tombstone(NamedTuple):
    """One such session."""

    credential: bytes
    """Only who proves it is told the rest."""
    reason: EndReason
    safe: int
    taken: int

    def __repr__(self) -> str:
        return f"<Tombstone {self.reason.value}>"


class Tombstones:
    """Those of one server, by client id."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._stones: OrderedDict[int, Tombstone] = OrderedDict()

    def __len__(self) -> int:
        return len(self._stones)

    def __contains__(self, client_id: object) -> bool:
        return client_id in self._stones

    def add(self, client_id: int, stone: Tombstone) -> None:
        """A session has ended; the oldest that is remembered makes room."""
        self._stones[client_id] = stone
        if len(self._stones) > self._most:
            self._stones.popitem(last=False)

    def items(self) -> list[tuple[int, Tombstone]]:
        """All of them, the oldest first."""
        return list(self._stones.items())

    def get(self, client_id: int) -> Tombstone | None:
        """What is remembered of it."""
        return self._stones.get(client_id)
