"""The histogram: which bucket a value is in, cumulative counts, quantiles."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltlane.core.histogram import LATENCY_BOUNDS, Histogram
from voltlane.statistics import Distribution

values = st.lists(st.floats(0, 20))


def filled(given: list[float], bounds: tuple[float, ...] = LATENCY_BOUNDS) -> Distribution:
    histogram = Histogram(bounds)
    for value in given:
        histogram.observe(value)
    return histogram.distribution()


def test_a_value_at_a_bound_is_within_it():
    assert filled([1, 1.5, 2, 2.1, 99], (1, 2)) == Distribution((1, 2), (1, 3, 5), 105.6)


@given(values)
def test_counts_are_cumulative_and_complete(given_values):
    bounds, counts, total = distribution = filled(given_values)
    assert counts == tuple(sum(value <= bound for value in given_values) for bound in (*bounds, math.inf))
    assert distribution.observed == len(given_values)
    assert total == pytest.approx(sum(given_values))


def test_a_distribution_is_of_its_moment():
    histogram = Histogram((1,))
    before = histogram.distribution()
    histogram.observe(0.5)
    assert before.observed == 0 and histogram.distribution().observed == 1


def test_quantiles():
    distribution = filled([0.5] * 50 + [1.5] * 40 + [9.0] * 10, (1, 2))
    assert distribution.quantile(0.5) == 1
    assert distribution.quantile(0.25) == 0.5
    assert distribution.quantile(0.7) == 1.5
    assert distribution.quantile(0.99) == 2  # all that is known: it lies past every bound
    assert filled([]).quantile(0.5) is None


@given(values.filter(len), st.floats(0.01, 1))
def test_a_quantile_lies_in_its_bucket(given_values, share):
    """Within the bucket of the value that it stands for, if that has a bound."""
    estimate = filled(given_values).quantile(share)
    exact = sorted(given_values)[math.ceil(share * len(given_values)) - 1]
    bounds = (0.0, *LATENCY_BOUNDS)
    upper = next((bound for bound in LATENCY_BOUNDS if exact <= bound), LATENCY_BOUNDS[-1])
    lower = max((bound for bound in bounds if bound < exact), default=0.0)
    assert min(lower, LATENCY_BOUNDS[-2]) - 1e-9 <= estimate <= upper + 1e-9
