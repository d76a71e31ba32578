"""A clock that only a test moves."""

from __future__ import annotations


class FakeClock:
    """Seconds that pass when told to. Call it for the time."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
