"""When to try again: sooner at first, then ever later, and not all at the same moment. Takes the time as an
argument."""

from __future__ import annotations

import random

FIRST_SECS, LONGEST_SECS = 0.1, 10.0
"""The longest pause behind the first failure, and behind all that follow the seventh."""
STEADY_SECS = 10.0
"""A connection that lasts so long was a good one: the next pause is a first one again."""


class Backoff:
    """Pauses between attempts: each drawn from nothing to a limit that doubles."""

    __slots__ = ("_limit", "_since", "at")

    def __init__(self) -> None:
        self._limit = FIRST_SECS
        self._since: float | None = None
        self.at = 0.0
        """No attempt before this time."""

    def connected(self, now: float) -> None:
        """An attempt has succeeded."""
        self._since = now

    def lost(self, now: float) -> None:
        """An attempt has failed, or the connection that came of it has ended."""
        if self._since is not None and now - self._since >= STEADY_SECS:
            self._limit = FIRST_SECS
        self._since = None
        self.at = now + random.uniform(0.0, self._limit)
        self._limit = min(2 * self._limit, LONGEST_SECS)
