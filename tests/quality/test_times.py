"""Jitter and round trips, from clocks that begin anywhere and begin again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltlane.quality import Jitter, RoundTrip

PERIOD = 65536 / 8000
"""That of a clock of 16 bits that counts 8,000 a second."""


def jitter_of(ways: list[float], every: float = 0.02, ahead: float = 0.0, period: float = 0.0) -> float | None:
    """That of datagrams sent so often, which are under way for so long, by a clock that is so far ahead of ours."""
    jitter = Jitter(period)
    for at, way in enumerate(ways):
        sent = every * at + ahead
        jitter.take(sent % period if period else sent, every * at + way)
    return jitter.seconds


def test_one_is_no_difference():
    assert jitter_of([]) is None and jitter_of([0.3]) is None


def test_a_way_that_is_always_as_long_has_none():
    assert jitter_of([0.08] * 50) == pytest.approx(0)


def test_the_formula_of_rfc_3550():
    assert jitter_of([0.05, 0.066]) == pytest.approx(0.016 / 16)
    assert jitter_of([0.05, 0.066, 0.05]) == pytest.approx(0.001 + (0.016 - 0.001) / 16)


def test_it_comes_to_what_the_ways_differ_by():
    assert jitter_of([0.05, 0.07] * 100) == pytest.approx(0.02, rel=1e-4)


def test_one_late_one_counts_little_and_is_forgotten():
    assert jitter_of([0.05] * 20 + [0.25] + [0.05]) == pytest.approx(0.2 / 16 * (15 / 16) + 0.2 / 16)
    assert jitter_of([0.05] * 20 + [0.25] + [0.05] * 100) < 0.0001


@given(st.lists(st.floats(0, 1), min_size=2, max_size=50), st.floats(-1e4, 1e4))
def test_neither_where_a_clock_begins_nor_where_it_begins_again_matters(ways, ahead):
    plain = jitter_of(ways)
    assert plain == pytest.approx(jitter_of(ways, ahead=ahead), abs=1e-6)
    assert plain == pytest.approx(jitter_of(ways, 3.0, ahead, PERIOD), abs=1e-6)
    assert 0 <= plain <= 1


def test_another_clock_of_the_sender():
    jitter = Jitter()
    for at in range(20):
        jitter.take(at, at + 0.1 * (at % 2))
    before = jitter.seconds
    jitter.begin()
    jitter.take(1e6, 20.0)
    assert jitter.seconds == before
    jitter.take(1e6 + 1, 21.0)
    assert jitter.seconds == pytest.approx(before * 15 / 16)


# ---- round trips


def test_the_first_is_the_first_value_and_others_count_an_eighth():
    trip = RoundTrip()
    assert trip.seconds is None
    assert trip.take(10.0, 10.08) and trip.seconds == pytest.approx(0.08)
    assert trip.take(11.0, 11.16) and trip.seconds == pytest.approx(0.09)


def test_what_the_peer_held_it_for_is_no_part_of_it():
    trip = RoundTrip()
    trip.take(10.0, 10.5, held=0.4)
    assert trip.seconds == pytest.approx(0.1)


@pytest.mark.parametrize(("echoed", "held"), [(10.1, 0.0), (9.9, 0.2), (1e9, 0.0)])
def test_a_time_from_the_future_counts_for_nothing(echoed: float, held: float):
    trip = RoundTrip()
    assert not trip.take(echoed, 10.0, held) and trip.seconds is None


def test_a_clock_that_begins_again():
    trip = RoundTrip(PERIOD)
    assert trip.take(PERIOD - 0.1, 0.1) and trip.seconds == pytest.approx(0.2)
    assert trip.take(PERIOD - 0.1, 3 * PERIOD + 0.1)
    assert trip.seconds == pytest.approx(0.2)
    assert not trip.take(0.1, 0.05), "that is from the future, and not a round old"
    assert not trip.take(0.0, PERIOD / 2 + 0.01)
    assert trip.seconds == pytest.approx(0.2)


@given(st.lists(st.floats(0, 3), min_size=1), st.floats(0, 100))
def test_it_stays_within_its_samples(trips, start):
    trip, now = RoundTrip(PERIOD), start
    for each in trips:
        assert trip.take(now % PERIOD, (now + each + 1e-6) % PERIOD)
        now += 0.7
    assert min(trips) - 1e-5 <= trip.seconds <= max(trips) + 1e-5
