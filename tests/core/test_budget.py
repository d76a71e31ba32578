"""The one account of all queues: exact, and quick to name a largest one."""

from __future__ import annotations

import platform
import random

import pytest
from kit.frames import join

from voltlane.core.backlog import Backlog
from voltlane.core.budget import CHUNK_COST, QUEUE_COST, Budget, Holding
from voltlane.core.outbox import Outbox


def test_it_sums_up_and_says_when_it_is_near_and_over():
    calls: list[int] = []
    budget = Budget(1000, lambda: calls.append(budget.used))
    one, other = Holding(budget, "one"), Holding(budget)
    for size, used, near, over in [(500, 500, False, False), (800, 800, False, False), (801, 801, True, False)]:
        one.hold(size)
        assert (budget.used, budget.is_near, budget.is_over) == (used, near, over)
    other.hold(199)
    assert not budget.is_over and calls == []
    other.hold(200)
    assert budget.is_over and calls == [1001]
    one.hold(0)
    other.hold(0)
    assert budget.used == 0 and calls == [1001]


def test_without_a_limit_nothing_is_ever_near():
    budget = Budget()
    Holding(budget).hold(1 << 50)
    assert not budget.is_near


@pytest.mark.parametrize("seed", range(20))
def test_no_other_is_twice_as_large_as_the_largest(seed: int):
    random_ = random.Random(seed)
    budget = Budget()
    holdings = [Holding(budget, object()) for _ in range(30)]
    unowned = Holding(budget)
    for _ in range(300):
        holding = random_.choice([*holdings, unowned])
        holding.hold(random_.choice([0, 1, 100, 4095, 4096, random_.randrange(10**5), random_.randrange(10**7)]))
        most = max(other.held for other in holdings)
        largest = budget.largest()
        if not most:
            assert largest is None
        else:
            assert largest is not None and largest is not unowned
            assert most < 2 * largest.held or most < 4096
        assert budget.used == sum(other.held for other in [*holdings, unowned])


def test_of_about_the_same_size_it_is_the_last_to_reach_it():
    """Not the first: to find that again and again in a dictionary whose front has left is quadratic."""
    budget = Budget()
    holdings = [Holding(budget, number) for number in range(5)]
    for holding in holdings:
        holding.hold(5000)
    holdings[3].hold(7000)
    assert budget.largest() is holdings[4]
    holdings[2].hold(100)
    holdings[2].hold(5000)
    assert budget.largest() is holdings[2]


def real(queue: Outbox | Backlog) -> int:
    return QUEUE_COST + sum(len(chunk) + CHUNK_COST for chunk, _ in queue._chunks) if queue._chunks else 0


@pytest.mark.parametrize("seed", range(40))
def test_queues_are_accounted_for_to_the_byte_whatever_happens_to_them(seed: int):
    random_ = random.Random(seed)
    budget = Budget()
    outboxes = [Outbox(budget, object()) for _ in range(3)]
    backlogs = [Backlog(budget, object()) for _ in range(3)]
    for _ in range(200):
        payloads = [bytes(random_.choice([0, 1, 30, 400])) for _ in range(random_.randint(1, 8))]
        outbox, backlog = random_.choice(outboxes), random_.choice(backlogs)
        act = random_.randrange(8)
        if act < 2:
            outbox.append(join(payloads), random_.choice([-1, len(payloads)]))
        elif act == 2 and outbox:
            outbox.advance(random_.randint(0, outbox.size))
        elif act == 3:
            outbox.rewind()
            outbox.prepend(join(payloads), 0)
        elif act == 4:
            for chunk, packets in outbox.take():
                backlog.append(chunk, packets, 30, 3000)
        elif act < 7:
            backlog.append(join(payloads), -1, 30, 3000)
        else:
            for chunk, packets in backlog.take():
                outbox.append(chunk, packets)
        for queue in [*outboxes, *backlogs]:
            assert queue.held == real(queue)
        assert budget.used == sum(queue.held for queue in [*outboxes, *backlogs])
    for queue in [*outboxes, *backlogs]:
        queue.clear()
    assert budget.used == 0 and budget.largest() is None


@pytest.mark.skipif(platform.python_implementation() == "PyPy", reason="has no tracemalloc")
@pytest.mark.parametrize("kind", [Outbox, Backlog])
@pytest.mark.parametrize("size", [0, 1, 40, 1000])
def test_packets_take_no_more_memory_than_is_counted(kind: type, size: int):
    """Neither few nor many small ones."""
    import tracemalloc

    for count in (1, 300):
        budget, queues = Budget(), []
        tracemalloc.start()
        for _ in range(50):
            queue = kind(budget, None)
            for _ in range(count):
                chunk = join([bytes(size)])
                queue.append(chunk, 1, *([] if kind is Outbox else [10**6, 10**9]))
            queues.append(queue)
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert taken < budget.used + 10_000
