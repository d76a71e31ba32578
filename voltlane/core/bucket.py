"""A token bucket: so many tokens a second, and a burst of them at once after a quiet time."""

from __future__ import annotations


class TokenBucket:
    """Holds up to `burst` tokens and gains `rate` a second; it begins full. Both are more than zero and may be changed.

    Tokens may be parts of one. `now` is any clock that does not go back, in seconds.
    """

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = now

    def take(self, amount: float, now: float) -> bool:
        """Take the tokens if they are there; else take none."""
        tokens = self.tokens(now)
        if tokens < amount:
            return False
        self._tokens = tokens - amount
        self._at = now
        return True

    def debit(self, amount: float, now: float) -> float:
        """Take the tokens, there or not. Seconds until none is owed any more; 0.0 when none is."""
        tokens = self._tokens = self.tokens(now) - amount
        self._at = now
        return -tokens / self.rate if tokens < 0 else 0.0

    def tokens(self, now: float) -> float:
        """What it holds; less than zero is owed."""
        tokens = self._tokens + (now - self._at) * self.rate
        return tokens if tokens < self.burst else self.burst

    def set(self, tokens: float, now: float) -> None:
        """Let it hold so much at this time."""
        self._tokens, self._at = tokens, now

    def is_full(self, now: float) -> bool:
        """Whether it is as a new one would be."""
        return self.tokens(now) >= self.burst
