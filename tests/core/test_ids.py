"""Client ids: counted up, behind the clock, and never those of a process before."""

from __future__ import annotations

import random

import pytest

from voltlane.core.ids import CLOCK_BITS, EPOCH, NODES, TICKS, Ids, clock_ids

NOW = EPOCH + 30_000_000.0


def test_an_id_says_when_its_process_began_and_whose_it_is():
    for node in (0, 1, NODES - 1):
        first = clock_ids(node, NOW, 5.0).next
        assert first >> CLOCK_BITS == node and first % (1 << CLOCK_BITS) == 30_000_000 * TICKS
        assert first < 2**53


def test_they_count_up():
    ids = clock_ids(0, NOW, 0.0)
    first = ids.next
    assert [ids.take() for _ in range(3)] == [first, first + 1, first + 2]


def test_none_is_ahead_of_the_clock():
    ids, now = clock_ids(3, NOW, 100.0), 100.0
    for step in (0.0, 0.001, 0.5, 0.0001):
        now += step
        while ids.available(now):
            client_id = ids.take()
            assert client_id <= clock_ids(3, NOW + now - 100, now).next + 1, "but for what a float rounds"
            assert client_id <= ids.past(now)
        assert ids.next == ids.past(now) + 1


def test_processes_one_after_the_other_never_give_out_the_same():
    """However short they live and however many come to each."""
    random_, wall, monotonic, given = random.Random(1), NOW, 7.0, 0
    for _ in range(200):
        ids = clock_ids(0, wall, monotonic)
        assert ids.next > given
        for _ in range(random_.randint(1, 5)):
            elapsed = random_.choice([0.0002, 0.01, 1.0, 50.0])
            wall, monotonic = wall + elapsed, monotonic + elapsed
            for _ in range(random_.choice([1, 100, 5000])):
                if ids.available(monotonic):
                    given = ids.take()
        wall += 0.0001  # the next process begins


def test_a_clock_that_is_set_back_while_the_process_runs_changes_nothing():
    """Only the monotonic one is looked at then."""
    ids = clock_ids(0, NOW, 0.0)
    first = ids.take()
    assert ids.available(1.0) and ids.take() == first + 1


@pytest.mark.parametrize("wall", [0.0, float(EPOCH)])
def test_a_clock_that_was_never_set_gives_ids_all_the_same(wall: float):
    assert clock_ids(0, wall, 0.0).next == 1


def test_a_clock_far_in_the_future_gives_ids_of_this_node():
    ids = clock_ids(1, 1e11, 0.0)
    assert ids.next >> CLOCK_BITS == 1 and ids.available(0.0)
    ids.take()
    assert not ids.available(1e9), "the next one would be another node's"


def test_what_was_kept_is_never_given_out_again():
    """No battery: the clock is behind what the state directory knows."""
    ids = clock_ids(0, 0.0, 0.0)
    ids.skip(5000)
    assert ids.take() == 5001
    ids.skip(4000)
    assert ids.next == 5002
    assert ids.past(1.0) == 5001 + TICKS


@pytest.mark.parametrize("kept", [7, (2 << CLOCK_BITS) + 7])
def test_what_another_node_gave_out_is_no_concern_of_this_one(kept: int):
    ids = clock_ids(1, NOW, 0.0)
    first = ids.next
    ids.skip(kept)
    assert ids.next == first


def test_a_limit_of_somebody_else_holds():
    ids = Ids(1)
    ids.last = 2
    assert [ids.available(0.0) and ids.take() for _ in range(3)] == [1, 2, False]
