"""Loss: what fades, and what is taken back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voltlane.quality import LOSS_HISTORY, LossTracker, NumberLoss


def test_the_lost_of_a_thousand():
    tracker = LossTracker()
    assert tracker.rate() == 0
    for number in range(200):
        tracker.record(number % 4 != 0)
    assert tracker.rate() == 250
    tracker.record_many(0, 200)
    assert tracker.rate() == 625


def test_both_counters_are_halved_past_the_history():
    tracker = LossTracker()
    tracker.record_many(LOSS_HISTORY - 100, 100)
    assert (tracker.expected, tracker.lost) == (10_000, 100)
    tracker.record(True)
    assert (tracker.expected, tracker.lost) == (5_000, 50)


def test_what_is_long_ago_fades():
    old, new = LossTracker(), LossTracker()
    for tracker in (old, new):
        tracker.record_many(9_000, 1_000)
    assert old.rate() == 100
    for _ in range(50_000):
        old.record(True)
    assert old.rate() < 10
    for _ in range(20_000):
        new.record(False)
    assert new.rate() > 800


@given(st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 30_000))))
def test_loss_stays_within_its_bounds(records):
    tracker = LossTracker()
    for received, lost in records:
        tracker.record_many(received, lost)
        assert 0 <= tracker.lost <= tracker.expected <= LOSS_HISTORY
        assert 0 <= tracker.rate() <= 1000


@given(st.lists(st.booleans(), max_size=300))
def test_one_by_one_is_the_same_as_at_once(packets):
    single, bulk = LossTracker(), LossTracker()
    for received in packets:
        single.record(received)
    bulk.record_many(sum(packets), len(packets) - sum(packets))
    assert (single.expected, single.lost) == (bulk.expected, bulk.lost)


def test_a_history_of_ones_own():
    tracker = LossTracker(100)
    tracker.record_many(80, 20)
    assert (tracker.expected, tracker.lost) == (100, 20)
    tracker.record(True)
    assert (tracker.expected, tracker.lost) == (50, 10)


def test_what_comes_after_all_is_taken_back():
    tracker = LossTracker()
    tracker.record_many(90, 10)
    tracker.record_many(4, -4)
    assert (tracker.expected, tracker.lost) == (100, 6)
    tracker.record_many(0, -50)
    assert (tracker.expected, tracker.lost) == (50, 0)


@given(st.lists(st.tuples(st.integers(-500, 500), st.integers(-500, 500))))
def test_nothing_that_is_recorded_leads_out_of_bounds(records):
    tracker = LossTracker(200)
    for received, lost in records:
        tracker.record_many(received, lost)
        assert 0 <= tracker.lost <= tracker.expected <= 200
        assert 0 <= tracker.rate() <= 1000


# ---- numbers


def test_loss_is_what_was_lost_since_the_last_look():
    loss = NumberLoss()
    assert loss.take(9, 10) == (10, 0)
    assert loss.take(19, 15) == (5, 5)
    assert loss.take(19, 15) == (0, 0)
    assert loss.take(29, 25) == (10, 0), "what was lost before does not count again"


def test_what_came_late_was_not_lost():
    loss = NumberLoss()
    assert loss.take(9, 7) == (7, 3)
    assert loss.take(9, 9) == (2, -2)
    assert loss.take(12, 13) == (4, -1)


def test_numbers_that_begin_anew():
    loss = NumberLoss()
    loss.take(99, 90)
    assert loss.take(4, 5) == (0, 0)
    assert loss.take(9, 10) == (5, 0)


def test_numbers_that_began_before_anybody_looked():
    assert NumberLoss(999, 900).take(1009, 905) == (5, 5)
