"""Numbers as they come: lost, late, repeated, wrapped, begun anew."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltlane.quality import Arrival, Numbers
from voltlane.quality.numbers import LEAP, WINDOW

NEWEST, LATE, REPEATED, STRAY = Arrival.NEWEST, Arrival.LATE, Arrival.REPEATED, Arrival.STRAY


def fed(*numbers: int, bits: int = 0) -> tuple[Numbers, list[Arrival]]:
    made = Numbers(bits)
    return made, [made.take(number) for number in numbers]


def test_nothing_came():
    numbers = Numbers()
    assert (numbers.highest, numbers.expected, numbers.received) == (-1, 0, 0)


def test_in_order():
    numbers, arrivals = fed(*range(100))
    assert arrivals == [NEWEST] * 100
    assert (numbers.highest, numbers.expected, numbers.received, numbers.late, numbers.repeated) == (99, 100, 100, 0, 0)


def test_they_begin_anywhere():
    numbers, _ = fed(5_000, 5_001, 5_003)
    assert (numbers.highest, numbers.expected, numbers.received) == (5_003, 4, 3)


def test_late_ones_and_those_that_came_before():
    numbers, arrivals = fed(0, 1, 4, 3, 4, 3, 2, 5)
    assert arrivals == [NEWEST, NEWEST, NEWEST, LATE, REPEATED, REPEATED, LATE, NEWEST]
    assert (numbers.expected, numbers.received, numbers.late, numbers.repeated) == (6, 6, 2, 2)


def test_one_that_is_before_the_first():
    numbers, arrivals = fed(10, 8, 11, 9)
    assert arrivals == [NEWEST, LATE, NEWEST, LATE]
    assert (numbers.first, numbers.expected, numbers.received) == (8, 4, 4)


def test_the_window_ends():
    numbers, arrivals = fed(0, WINDOW, 1, 1, 0)
    assert arrivals == [NEWEST, NEWEST, LATE, REPEATED, STRAY]
    assert (numbers.received, numbers.strayed) == (3, 1)


def test_a_gap_longer_than_the_window():
    numbers, arrivals = fed(0, 3 * WINDOW, 3 * WINDOW - 1, 3 * WINDOW)
    assert arrivals == [NEWEST, NEWEST, LATE, REPEATED]
    assert numbers.expected - numbers.received == 3 * WINDOW - 2


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_numbers_that_wrap(bits: int):
    top = 1 << bits
    sent = [number % top for number in range(top - 40, top + 40)]
    numbers = Numbers(bits)
    lost, moved = {top - 7, top + 9}, sent[38]  # the one before the last of its round comes late
    order = [number for at, number in enumerate(sent) if top - 40 + at not in lost and at != 38]
    order.insert(45, moved)
    assert [numbers.take(number) for number in order].count(LATE) == 1
    assert (numbers.highest, numbers.expected, numbers.received) == (top + 39, 80, 78)
    assert (numbers.late, numbers.repeated, numbers.strayed) == (1, 0, 0)


def test_many_rounds():
    numbers, _ = fed(*[number % 256 for number in range(2_000)], bits=8)
    assert (numbers.highest, numbers.received, numbers.late) == (1_999, 2_000, 0)


@pytest.mark.parametrize("bits", [0, 16])
def test_a_sender_that_was_started_again(bits: int):
    numbers, arrivals = fed(9_000, 9_001, 0, 1, 2, bits=bits)
    assert arrivals == [NEWEST, NEWEST, STRAY, NEWEST, NEWEST]
    assert (numbers.first, numbers.highest, numbers.received, numbers.strayed) == (1, 2, 2, 0)


def test_one_that_strays_alone_changes_nothing():
    numbers, arrivals = fed(100, 101, 102 + LEAP, 102, 104 + LEAP, 103)
    assert arrivals == [NEWEST, NEWEST, STRAY, NEWEST, STRAY, NEWEST]
    assert (numbers.expected, numbers.received, numbers.strayed) == (4, 4, 2)


@given(st.integers(0, 10**6), st.sampled_from([0, 12, 16, 32]), st.floats(0, 0.5), st.floats(0, 0.3), st.floats(0, 0.5))
def test_the_counts_are_those_of_a_network_that_loses_reorders_and_repeats(seed, bits, losses, repeats, delays):
    """Against a model that remembers everything."""
    chance, first = random.Random(seed), seed % 5_000
    arriving = []
    for number in range(first, first + 300):
        for copy in range(1 + (chance.random() < repeats)):
            if chance.random() >= losses:
                delay = chance.randrange(1, 60) if copy or chance.random() < delays else 0
                arriving.append((number + delay, number))
    arriving.sort(key=lambda item: item[0])
    numbers, seen, late, repeated, highest = Numbers(bits), set(), 0, 0, -1
    for _, number in arriving:
        arrival = numbers.take(number % (1 << bits) if bits else number)
        assert (arrival is REPEATED) == (number in seen)
        assert (arrival is LATE) == (number not in seen and number < highest)
        repeated += number in seen
        late += number not in seen and number < highest
        seen.add(number)
        highest = max(highest, number)
    assert (numbers.received, numbers.late, numbers.repeated, numbers.strayed) == (len(seen), late, repeated, 0)
    if seen:
        assert numbers.expected == highest - min(seen) + 1
