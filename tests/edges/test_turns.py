"""Whose turn it is: the two lines, what is served of each in a turn, the pause, and the crowd."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kit.handlers import Loop

from voltlane.edges.turns import CROWD, HANDSHAKE_BUDGET, KEY_AGREEMENT_COST, PARKED, QUANTUM, READ_BUDGET, Turns
from voltlane.reasons import CloseReason


class Reader:
    """Counts its reads; may come again, derive a key, or fail."""

    def __init__(self, hall: Hall, *, again: bool = False, derives: bool = False, fails: bool = False) -> None:
        self.flags = 0
        self.derived = False
        self.reads = 0
        self.closed: CloseReason | None = None
        self._hall, self._again, self._derives, self._fails = hall, again, derives, fails

    def on_readable(self) -> None:
        self.reads += 1
        self._hall.order.append(self)
        self.derived = self.derived or self._derives
        if self._fails:
            raise ConnectionResetError
        if self._again:
            self._hall.turns.enqueue(self, False)

    def on_event(self, mask: int) -> None:
        raise AssertionError

    def on_flush(self) -> None:
        raise AssertionError

    def close(self, reason: CloseReason, detail: str = "") -> None:
        self.closed = reason


class Hall:
    """The lines on a loop of their own."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.crowds: list[bool] = []
        self.order: list[Reader] = []
        self.turns = Turns(self.loop, self.crowds.append)

    def line_up(self, readers: list[Reader], greeting: bool = False) -> None:
        for reader in readers:
            self.turns.enqueue(reader, greeting)


@pytest.fixture
def hall() -> Iterator[Hall]:
    made = Hall()
    yield made
    made.loop.expect_clean()


def test_the_loud_are_read_in_turn_and_only_so_much_at_once(hall: Hall):
    share = READ_BUDGET // QUANTUM
    readers = [Reader(hall) for _ in range(2 * share + 1)]
    hall.line_up(readers)
    for expected in (share, 2 * share, 2 * share + 1):
        hall.loop.turn(0)
        assert hall.order == readers[:expected]


def test_who_comes_again_comes_behind_the_others(hall: Hall):
    loud, other = Reader(hall, again=True), Reader(hall)
    hall.line_up([loud, other])
    hall.loop.turn(0)
    assert hall.order[:3] == [loud, other, loud]
    loud._again = False
    hall.loop.spin()


def test_nobody_stands_in_line_twice(hall: Hall):
    reader = Reader(hall)
    hall.line_up([reader, reader])
    hall.loop.spin()
    assert reader.reads == 1


def test_who_is_parked_is_not_read(hall: Hall):
    reader = Reader(hall)
    reader.flags = PARKED
    hall.line_up([reader])
    hall.loop.spin()
    assert reader.reads == 0


def test_while_paused_only_handshakes_are_served(hall: Hall):
    loud, guest = Reader(hall), Reader(hall)
    hall.turns.pause()
    hall.line_up([loud])
    hall.line_up([guest], greeting=True)
    hall.loop.spin()
    assert hall.order == [guest]
    hall.turns.resume()
    hall.loop.spin()
    assert hall.order == [guest, loud]


def test_a_pause_in_the_middle_of_a_turn_stops_it_there(hall: Hall):
    first, second = Reader(hall), Reader(hall)
    first.on_readable = lambda: (Reader.on_readable(first), hall.turns.pause())  # type: ignore[method-assign]
    hall.line_up([first, second])
    hall.loop.spin()
    assert hall.order == [first]
    hall.turns.resume()
    hall.loop.spin()
    assert hall.order == [first, second]


def test_key_agreements_use_a_turn_up_sooner(hall: Hall):
    count = HANDSHAKE_BUDGET // KEY_AGREEMENT_COST
    hall.line_up([Reader(hall, derives=True) for _ in range(3 * count)], greeting=True)
    hall.loop.turn(0)
    assert len(hall.order) == count
    hall.loop.spin()


def test_one_that_fails_is_closed_alone(hall: Hall):
    bad, good = Reader(hall, fails=True), Reader(hall)
    hall.line_up([bad, good])
    hall.loop.spin()
    assert bad.closed is CloseReason.PEER_LOST and good.closed is None
    assert good.reads == 1


def test_a_crowd_of_handshakes_is_announced_and_so_is_its_end(hall: Hall):
    hall.line_up([Reader(hall) for _ in range(CROWD - 1)], greeting=True)
    assert hall.crowds == []
    hall.line_up([Reader(hall)], greeting=True)
    assert hall.crowds == [True]
    hall.line_up([Reader(hall) for _ in range(10)], greeting=True)
    while len(hall.turns._greeting) > CROWD // 2:
        assert hall.crowds == [True]
        hall.loop.turn(0)
    assert hall.crowds == [True, False]
    hall.loop.spin()


def test_an_idle_line_asks_for_no_turn(hall: Hall):
    hall.turns.pause()
    hall.line_up([Reader(hall)])
    hall.loop.spin()
    assert not hall.loop._tasks
