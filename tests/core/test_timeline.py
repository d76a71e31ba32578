"""The last quarter of an hour, from totals that a test makes up."""

from __future__ import annotations

from typing import Any

import pytest

from voltlane.core.timeline import MINUTE, SECONDS, TENS, Point, Timeline, Totals, within

BOUNDS = (0.001, 0.01, 0.1)
NOTHING = Totals(0, 0, 0, 0, 0, 0.0, (0, 0, 0, 0), (0, 0, 0, 0), 0, 0, 0, 0, {"closed": {}})
SINCE = 1000.0


class Told:
    """A timeline, and the totals that it is told."""

    def __init__(self) -> None:
        self.totals = NOTHING
        self.timeline = Timeline(SINCE, NOTHING, BOUNDS, BOUNDS)

    def at(self, uptime: float, **changed: Any) -> None:
        """These had changed when the first turn at this time began."""
        self.totals = self.totals._replace(**changed)
        self.timeline.note(SINCE + uptime, self.totals)

    @property
    def seconds(self) -> list[Point]:
        return list(self.timeline.seconds.points)

    @property
    def tens(self) -> list[Point]:
        return list(self.timeline.tens.points)


def test_a_second_has_what_was_counted_in_its_turns() -> None:
    told = Told()
    told.at(0.9, packets_up=5)  # still the first second: nothing is taken
    assert told.seconds == [] and told.timeline.next_second() == SINCE + 1
    told.at(1.2, packets_up=7, bytes_down=100, closed=1, busy_secs=0.25, clients=3)
    (point,) = told.seconds
    assert (point.at, point.packets_up, point.bytes_down, point.closed, point.busy) == (0, 7, 100, 1, 0.25)
    assert point.clients == 3 and told.timeline.next_second() == SINCE + 2
    told.at(2.0, packets_up=9)
    assert [(point.at, point.packets_up) for point in told.seconds] == [(0, 7), (1, 2)]


def test_quiet_seconds_are_zero_and_have_what_was_there() -> None:
    told = Told()
    told.at(1, packets_up=7, clients=3, master_bytes=50, turns=(1, 1, 1, 1))
    told.at(5.5, packets_up=9)  # counted by the turns of second 1, for there was none since
    assert [(point.at, point.packets_up) for point in told.seconds] == [(0, 7), (1, 2), (2, 0), (3, 0), (4, 0)]
    assert {point.clients for point in told.seconds} == {3} and {point.master_bytes for point in told.seconds} == {50}
    assert [point.turn_p50 for point in told.seconds] == [0.001, None, None, None, None]


def test_ten_seconds_are_one_point_of_all_of_them() -> None:
    told = Told()
    for second in range(1, 21):
        told.at(second, packets_up=10 * second, client_bytes=900 if second == 4 else 7, clients=second)
    first, second = told.tens
    assert (first.at, first.packets_up, first.clients, first.client_bytes) == (0, 10, 10, 900), "the most of a queue"
    assert (second.at, second.packets_up, second.clients, second.client_bytes) == (10, 10, 20, 7)


def test_it_is_bounded_however_long_nothing_happens() -> None:
    told = Told()
    told.at(1, packets_up=1)
    told.at(3 * 86_400, packets_up=2)
    assert len(told.seconds) == SECONDS and len(told.tens) == TENS
    assert [point.at for point in told.seconds] == list(range(3 * 86_400 - SECONDS, 3 * 86_400))
    assert told.tens[-1].at == 3 * 86_400 - 10 and not any(point.packets_up for point in told.seconds)
    for second in range(1000):
        told.at(3 * 86_400 + second)
    assert len(told.seconds) == SECONDS and len(told.tens) == TENS


def test_a_clock_that_stands_still_adds_nothing() -> None:
    told = Told()
    told.at(1)
    told.at(1.5, packets_up=4)
    told.at(0.5)
    assert len(told.seconds) == 1
    told.at(2)
    assert told.seconds[1].packets_up == 4, "and loses nothing"


@pytest.mark.parametrize(
    ("counts", "share", "bound"),
    [
        ((0, 0, 0, 0), 0.5, None),
        ((4, 4, 4, 4), 0.5, 0.001),
        ((2, 4, 4, 4), 0.5, 0.001),
        ((1, 4, 4, 4), 0.5, 0.01),
        ((99, 99, 100, 100), 0.99, 0.001),
        ((98, 98, 100, 100), 0.99, 0.1),
        ((0, 0, 0, 3), 0.5, 0.1),
    ],
)
def test_a_quantile_is_a_bound_and_nothing_made_up(counts: Any, share: float, bound: float | None) -> None:
    assert within(BOUNDS, (0, 0, 0, 0), counts, share) == bound
    assert within(BOUNDS, (7, 8, 9, 9), tuple(map(sum, zip((7, 8, 9, 9), counts))), share) == bound


def test_the_last_minute_is_the_last_minute() -> None:
    told = Told()
    told.at(1, reasons={"closed": {"peer closed": 2}})
    assert told.timeline.last_minute() == {"closed": {"peer closed": 2}}, "of a server that is younger than that"
    told.at(31, reasons={"closed": {"peer closed": 2, "kicked": 1}})  # by a turn of the second second, the last one
    told.at(60)
    assert told.timeline.last_minute() == {"closed": {"peer closed": 2, "kicked": 1}}
    told.at(1 + MINUTE)
    assert told.timeline.last_minute() == {"closed": {"kicked": 1}}
    told.at(2 + MINUTE)
    assert told.timeline.last_minute() == {"closed": {}}
