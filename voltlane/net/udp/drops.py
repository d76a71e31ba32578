"""What was dropped, by the reason, since the last time somebody asked."""

from __future__ import annotations

from ...reasons import DatagramDrop


class Drops(dict[DatagramDrop, int]):
    """Counts from 0."""

    __slots__ = ()

    def __missing__(self, reason: DatagramDrop) -> int:
        return 0

    def take(self) -> dict[DatagramDrop, int]:
        """What there is since the last time."""
        taken = dict(self)
        self.clear()
        return taken
