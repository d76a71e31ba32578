"""Histories: limits of each, and of all together."""

from __future__ import annotations

from kit.frames import join

from voltlane.core.budget import Budget
from voltlane.core.history import LEAST, SHARE, Histories, History

MANY = 1 << 30


def filled(histories: Histories, budget: Budget, chunks: int, size: int = 1000) -> History:
    history = History(histories, budget, object())
    for _ in range(chunks):
        history.retain(join([bytes(size)]), 1, MANY, MANY)
    return history


def test_one_has_its_limits():
    budget = Budget()
    histories = Histories(budget)
    history = History(histories, budget)
    for number in range(10):
        history.retain(join([b"%d" % number]), 1, 3, MANY)
    assert b"".join(chunk for chunk, _ in history.take()) == join([b"7", b"8", b"9"])
    assert histories.used == budget.used == 0


def test_all_together_have_a_part_of_the_memory():
    budget = Budget(1 << 20)
    histories = Histories(budget)
    alone = filled(histories, budget, 1000)
    assert alone.held == histories.used <= budget.limit // SHARE + 2000
    alone.clear()
    first = filled(histories, budget, 150)
    while not histories.is_full:
        filled(histories, budget, 20)
    before = first.held
    small = filled(histories, budget, 1000)
    assert small.size <= LEAST and first.held == before and histories.used < budget.limit // SHARE + 3 * LEAST
    first.retain(join([b"x"]), 1, MANY, MANY)
    assert first.size <= LEAST and histories.used == budget.used


def test_who_is_given_up_makes_room():
    budget = Budget(1 << 20)
    histories = Histories(budget)
    many = [filled(histories, budget, 40) for _ in range(10)]
    assert histories.is_full
    for history in many:
        history.clear()
    assert not histories.is_full and histories.used == budget.used == 0
    assert filled(histories, budget, 40).size > LEAST
