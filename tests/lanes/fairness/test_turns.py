"""Whose turn it is: the order in each line, what a turn may cost, pausing, and the crowd at the door."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kit.handlers import Loop

from voltlane.lanes.fairness.turns import (
    CROWD,
    HANDSHAKE_BUDGET,
    KEY_AGREEMENT_COST,
    LOUD,
    PARKED,
    QUANTUM,
    READ_BUDGET,
    READ_COST,
    UNPAUSED,
    Turns,
)
from voltlane.reasons import CloseReason


class Reader:
    """Stands in line as often as it is told to."""

    def __init__(
        self,
        hall: Hall,
        name: object,
        times: int = 1,
        greeting: bool = False,
        costly: bool = False,
        loud: bool = False,
        size: int = QUANTUM,
    ) -> None:
        self.hall = hall
        self.name = name
        self.times = times
        self.greeting = greeting
        self.costly = costly
        self.size = size
        self.flags = LOUD if loud else 0
        self.closed = False
        self.error: Exception | None = None

    def stand(self) -> None:
        self.hall.turns.enqueue(self, self.greeting)

    def on_readable(self) -> None:
        self.hall.log.append(self.name)
        if self.error is not None:
            raise self.error
        if self.costly:
            self.costly = False
            self.hall.turns.key_agreed()
        self.times -= 1
        self.hall.turns.spend(self.size)
        if self.times:
            self.stand()

    def on_event(self, mask: int) -> None:
        """None come."""

    def on_flush(self) -> None:
        """Nothing is queued."""

    def close(self, reason: CloseReason, detail: str = "") -> None:
        self.closed = True


class Hall:
    """The two lines in a loop."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.log: list[object] = []
        self.crowds: list[bool] = []
        self.turns = Turns(self.loop, self.crowds.append)

    def turn(self) -> list[object]:
        """One turn: who was read in it."""
        self.log.clear()
        self.loop.turn(0)
        return list(self.log)


@pytest.fixture
def hall() -> Iterator[Hall]:
    made = Hall()
    yield made
    made.loop.close()


def stand(hall: Hall, count: int, **options: object) -> list[Reader]:
    readers = [Reader(hall, number, **options) for number in range(count)]  # type: ignore[arg-type]
    for reader in readers:
        reader.stand()
    return readers


def test_first_come_first_served(hall: Hall):
    stand(hall, 5)
    assert hall.turn() == [0, 1, 2, 3, 4]
    assert hall.turn() == [] and not hall.loop._tasks, "an empty line costs nothing"


def test_nobody_stands_twice_in_a_line(hall: Hall):
    (reader,) = stand(hall, 1)
    reader.stand()
    assert hall.turn() == [0]
    reader.times = 1
    reader.stand()
    assert hall.turn() == [0]


def test_who_is_parked_does_not_stand_in_line(hall: Hall):
    reader = Reader(hall, "parked")
    reader.flags |= PARKED
    reader.stand()
    assert hall.turn() == []


def test_the_loud_go_round_and_a_turn_has_its_end(hall: Hall):
    share = -(-READ_BUDGET // (QUANTUM + READ_COST))
    stand(hall, 3, times=share)
    served = hall.turn()
    assert served == [0, 1, 2] * (share // 3) + [0, 1, 2][: share % 3]
    assert len(hall.turn()) == share


@pytest.mark.parametrize("loud", [False, True])
def test_what_a_turn_leaves_of_a_round_is_for_the_next_one(hall: Hall, loud: bool):
    """Though nobody else comes."""
    share = -(-READ_BUDGET // (QUANTUM + READ_COST))
    stand(hall, 2 * share + 1, loud=loud)
    assert [len(hall.turn()) for _ in range(4)] == [share, share, 1, 0]


def test_a_read_that_brings_nothing_costs_something_too(hall: Hall):
    stand(hall, 2000, size=0)
    assert len(hall.turn()) == READ_BUDGET // READ_COST == 512


def test_handshakes_have_a_budget_and_key_agreements_are_dear(hall: Hall):
    stand(hall, HANDSHAKE_BUDGET + 10, greeting=True)
    assert len(hall.turn()) == HANDSHAKE_BUDGET
    assert len(hall.turn()) == 10
    stand(hall, 2 * HANDSHAKE_BUDGET, greeting=True, costly=True)
    assert len(hall.turn()) == HANDSHAKE_BUDGET // KEY_AGREEMENT_COST
    assert len(hall.turn()) == HANDSHAKE_BUDGET // KEY_AGREEMENT_COST


def test_a_key_agreement_is_paid_for_once(hall: Hall):
    stand(hall, 2, greeting=True, costly=True, times=5)
    assert len(hall.turn()) == 10


def test_neither_line_holds_the_other_up(hall: Hall):
    stand(hall, 1000, greeting=True, costly=True)
    quiet = Reader(hall, "quiet")
    quiet.stand()
    assert "quiet" in hall.turn()


def test_while_paused_only_handshakes_go_on(hall: Hall):
    hall.turns.pause()
    stand(hall, 3)
    stand(hall, 2, greeting=True)
    assert hall.turn() == [0, 1] and hall.turn() == [] and not hall.loop._tasks, "no spinning while paused"
    hall.turns.resume()
    assert hall.turn() == [0, 1, 2]
    hall.turns.resume()
    assert hall.turn() == []


class TestUnpaused:
    """Those who are read while the trunk is full, too."""

    def unpaused(self, hall: Hall, count: int, **options: object) -> list[Reader]:
        readers = [Reader(hall, f"unpaused {number}", **options) for number in range(count)]  # type: ignore[arg-type]
        for reader in readers:
            reader.flags |= UNPAUSED
            reader.stand()
        return readers

    def test_they_are_read_in_a_pause(self, hall: Hall):
        hall.turns.pause()
        stand(hall, 2)
        self.unpaused(hall, 2)
        assert hall.turn() == ["unpaused 0", "unpaused 1"] and hall.turn() == [] and not hall.loop._tasks
        hall.turns.resume()
        assert hall.turn() == [0, 1]

    def test_a_turn_has_its_end_in_a_pause_too(self, hall: Hall):
        hall.turns.pause()
        share = -(-READ_BUDGET // (QUANTUM + READ_COST))
        self.unpaused(hall, 3, times=share)
        assert len(hall.turn()) <= share + 1

    @pytest.mark.parametrize("loud", [False, True])
    def test_they_and_the_others_leave_room_for_each_other(self, hall: Hall, loud: bool):
        share = -(-READ_BUDGET // (QUANTUM + READ_COST))
        self.unpaused(hall, 2, times=3 * share)
        stand(hall, 2, times=3 * share, loud=loud)
        for _ in range(3):
            names = hall.turn()
            theirs = sum(str(name).startswith("unpaused") for name in names)
            assert share // 3 <= theirs <= len(names) - share // 4, names

    def test_all_of_a_turn_is_theirs_if_nobody_else_wants_it(self, hall: Hall):
        share = -(-READ_BUDGET // (QUANTUM + READ_COST))
        self.unpaused(hall, 2, times=share)
        assert len(hall.turn()) >= share


def test_pausing_in_the_middle_keeps_the_order(hall: Hall):
    readers = stand(hall, 4, times=2)
    read = readers[1].on_readable
    readers[1].on_readable = lambda: (read(), hall.turns.pause())  # type: ignore[method-assign,assignment]
    assert hall.turn() == [0, 1]
    readers[1].on_readable = read  # type: ignore[method-assign]
    hall.turns.resume()
    assert hall.turn() == [2, 3, 0, 1, 2, 3]


def test_after_a_pause_the_quiet_wait_for_no_round_of_the_loud(hall: Hall):
    for name in range(1000):
        Reader(hall, name, loud=True).stand()
    hall.turn()
    hall.turns.pause()
    for name in "ab":
        Reader(hall, name).stand()
    hall.turns.resume()
    assert {"a", "b"} <= {*hall.turn(), *hall.turn()}


def test_neither_line_always_takes_the_room_from_the_other(hall: Hall):
    """The trunk is full again after each read: it is now the one's turn, now the other's."""
    for loud in (True, False):
        reader = Reader(hall, "loud" if loud else "quiet", times=10, loud=loud)
        reader.on_readable = lambda read=reader.on_readable: (read(), hall.turns.pause())  # type: ignore[method-assign,assignment,misc]
        reader.stand()
    served = []
    for _ in range(20):
        served += hall.turn()
        hall.turns.resume()
    assert served in (["loud", "quiet"] * 10, ["quiet", "loud"] * 10)


def test_handshakes_in_a_pause_change_nothing_about_who_is_first(hall: Hall):
    for loud in (True, False):
        reader = Reader(hall, "loud" if loud else "quiet", times=10, loud=loud)
        reader.on_readable = lambda read=reader.on_readable: (read(), hall.turns.pause())  # type: ignore[method-assign,assignment,misc]
        reader.stand()
    served = []
    for _ in range(20):
        served += hall.turn()
        Reader(hall, "greeting", greeting=True).stand()
        assert hall.turn() == ["greeting"]
        hall.turns.resume()
    assert served in (["loud", "quiet"] * 10, ["quiet", "loud"] * 10)


def test_an_error_closes_one_and_the_line_goes_on(hall: Hall):
    readers = stand(hall, 3)
    readers[1].error = ConnectionResetError()
    assert hall.turn() == [0, 1, 2]
    assert [reader.closed for reader in readers] == [False, True, False]


def test_the_crowd(hall: Hall):
    """Told once when the line is long, and once when half of it is through."""
    stand(hall, CROWD - 1, greeting=True)
    assert hall.crowds == []
    stand(hall, 20, greeting=True)
    assert hall.crowds == [True]
    waiting = CROWD + 19
    while waiting > CROWD // 2:
        assert hall.crowds == [True]
        waiting -= len(hall.turn())
    assert hall.crowds == [True, False]
    while hall.turn():
        pass
    stand(hall, CROWD, greeting=True)
    assert hall.crowds == [True, False, True]


def test_the_loud_are_no_crowd(hall: Hall):
    stand(hall, 2 * CROWD)
    assert hall.crowds == []


# ---- by rank


def test_within_a_round_the_lowest_rank_is_first(hall):
    hall.turns.rank = lambda reader: {"a": 3, "b": 1, "c": 2}[reader.name]
    for name in "abc":
        Reader(hall, name, times=2).stand()
    hall.loop.spin()
    assert hall.log == ["b", "c", "a", "b", "c", "a"]


def test_of_two_the_lower_rank_is_first(hall):
    hall.turns.rank = lambda reader: -reader.name
    stand(hall, 2)
    assert hall.turn() == [1, 0]


def test_nobody_is_left_out_for_those_of_better_rank(hall):
    """Who stands in line again is in the next round, so a low rank costs its turn to nobody."""
    hall.turns.rank = lambda reader: reader.name
    busy = READ_BUDGET // QUANTUM + 5
    for name in range(busy):
        Reader(hall, name, times=4).stand()
    Reader(hall, busy, times=1).stand()
    hall.loop.turn(0)
    hall.loop.turn(0)
    assert busy in hall.log and hall.log.count(0) <= 2
