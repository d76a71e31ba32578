"""The token bucket against one that really counts tokens, in exact fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltlane.core.bucket import TokenBucket

START = 1000.0


def test_a_burst_and_then_the_rate():
    bucket = TokenBucket(rate=10, burst=5, now=START)
    assert [bucket.take(1, START) for _ in range(7)] == [True] * 5 + [False] * 2
    assert not bucket.take(1, START + 0.09)
    assert bucket.take(1, START + 0.11)
    assert not bucket.take(1, START + 0.11)
    assert [bucket.take(1, START + 60) for _ in range(6)] == [True] * 5 + [False], "no more than a burst is saved"


def test_what_is_refused_takes_nothing():
    bucket = TokenBucket(rate=1, burst=4, now=START)
    assert not bucket.take(5, START)
    assert bucket.take(4, START)
    assert not any(bucket.take(1, START + 0.5) for _ in range(100))
    assert bucket.take(1, START + 1)


def test_a_debit_may_owe_and_tells_how_long():
    bucket = TokenBucket(rate=100, burst=50, now=START)
    assert bucket.debit(50, START) == 0.0
    assert bucket.debit(200, START) == pytest.approx(2.0)
    assert bucket.tokens(START) == pytest.approx(-200)
    assert not bucket.take(1, START + 1)
    assert bucket.debit(0, START + 1.5) == pytest.approx(0.5)
    assert bucket.debit(0, START + 2) == pytest.approx(0.0)
    assert bucket.tokens(START + 2.25) == pytest.approx(25)


def test_full_is_as_new():
    bucket = TokenBucket(rate=2, burst=4, now=START)
    assert bucket.is_full(START) and bucket.tokens(START) == 4
    assert bucket.take(1, START) and not bucket.is_full(START + 0.4)
    assert bucket.is_full(START + 0.5) and bucket.tokens(START + 99) == 4


@pytest.mark.parametrize("rate", [3, 7, 0.1, 1e9, 1 / 3])
@pytest.mark.parametrize("now", [0.0, START, 1e7 + 0.1])
def test_a_burst_is_as_many_as_it_says(rate: float, now: float):
    """Whatever the fractions come to."""
    bucket = TokenBucket(rate, 1000, now)
    taken = 0
    while taken < 1200 and bucket.take(1, now):
        taken += 1
    assert taken == 1000


def test_the_rate_can_be_changed():
    bucket = TokenBucket(rate=1, burst=1, now=START)
    assert bucket.take(1, START)
    bucket.rate, bucket.burst = 10, 5
    assert bucket.tokens(START + 2) == 5


class Counted:
    """Tokens, counted one by one."""

    def __init__(self, rate: int, burst: int) -> None:
        self.rate, self.burst, self.tokens, self.at = rate, burst, Fraction(burst), Fraction(0)

    def refill(self, now: Fraction) -> None:
        self.tokens = min(Fraction(self.burst), self.tokens + (now - self.at) * self.rate)
        self.at = now


STEPS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 30), st.booleans()), max_size=60)


@given(st.integers(1, 50), st.integers(1, 40), STEPS)
def test_as_one_that_counts(rate: int, burst: int, steps: list[tuple[int, int, bool]]):
    bucket, model, now = TokenBucket(rate, burst, 0.0), Counted(rate, burst), Fraction(0)
    for wait, amount, may_owe in steps:
        now += Fraction(wait, 64)
        model.refill(now)
        if may_owe:
            model.tokens -= amount
            owed = max(Fraction(0), -model.tokens / rate)
            assert bucket.debit(amount, float(now)) == pytest.approx(float(owed), abs=1e-6)
        elif abs(model.tokens - amount) > 1e-6 or model.tokens == amount == burst:  # else rounding may decide
            enough = model.tokens >= amount
            assert bucket.take(amount, float(now)) == enough
            model.tokens -= amount if enough else 0
        assert bucket.tokens(float(now)) == pytest.approx(float(model.tokens), abs=1e-6)
