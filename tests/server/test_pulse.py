"""The totals for the last quarter of an hour are taken once a second, and cost next to nothing."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest
from kit.world import World, world

from voltlane.core.histogram import LATENCY_BOUNDS, ROUND_TRIP_BOUNDS
from voltlane.lanes.fairness.sampler import FEW
from voltlane.reasons import DatagramDrop
from voltlane.server.pulse import Pulse


def pulse_of(made: World) -> Pulse:
    return Pulse(made.server, made.server.observer.since)


def test_what_happens_is_in_the_second_in_which_it_does() -> None:
    with world() as made:
        timeline = pulse_of(made).timeline
        made.pass_(2)
        one, two = made.new(), made.new()
        one.send(b"up", b"and up")
        made.settle()
        made.pass_(1)
        two.cut()
        made.settle()
        made.master.send(one.id, b"down")
        made.settle()
        made.pass_(3)
        there = {point.at: point for point in timeline.seconds.points}
        (busy,) = [point for point in there.values() if point.packets_up]
        (lossy,) = [point for point in there.values() if point.closed]
        assert busy.packets_up == 2 and busy.clients == 2 and busy.bytes_up > 5
        assert lossy.at == busy.at + 1 and lossy.packets_down == 1 and (lossy.clients, lossy.stale) == (1, 1)
        assert sorted(there) == list(range(len(there)))
        assert timeline.last_minute()["closed"] == {"peer closed": 1}


def test_dropped_datagrams_are_in_the_last_minute_where_there_are_any() -> None:
    with world() as made:
        timeline = pulse_of(made).timeline
        made.pass_(2)
        assert "dropped_datagrams" not in timeline.last_minute()
        made.server.counters.datagrams_dropped[DatagramDrop.UNSEALED] += 4
        made.pass_(2)
        made.loop.turn(0)
        assert timeline.last_minute()["dropped_datagrams"] == {"does not open": 4}


def test_turns_and_queues_are_in_it() -> None:
    with world() as made:
        timeline = pulse_of(made).timeline
        away = made.new()
        away.cut()
        made.settle()
        made.master.send(away.id, b"x" * 1000)
        made.settle()
        made.loop.call_soon(lambda: made.clock.pass_(0.2))
        made.pass_(3)
        slow = [point for point in timeline.seconds.points if point.turn_p99 not in (None, LATENCY_BOUNDS[0])]
        assert [point.turn_p99 for point in slow] == [0.25] and slow[0].busy >= 0.2
        assert timeline.seconds.points[-1].client_bytes > 1000 and timeline.seconds.points[-1].master_bytes == 0


def test_it_has_no_timer_and_no_turn_of_its_own() -> None:
    with world() as made:
        timers = made.loop.timers
        pulse_of(made)
        made.new()
        made.pass_(3)
        assert made.loop.timers == timers
        assert timers == 0 and made.loop._patience(None) is None, "nothing to wake up for"


class Calls:
    """How many functions of the package a piece of code calls."""

    def __init__(self) -> None:
        self.number = 0

    def __enter__(self) -> Calls:
        sys.setprofile(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _event(self, frame: FrameType, event: str, argument: Any) -> None:
        self.number += event == "call"


def calls(made: World, clients: int) -> tuple[int, int]:
    """Of a turn in a second that was noted already, and of one that notes."""
    for _ in range(clients):
        made.start_new()
    made.settle()
    made.clock.pass_(1)
    made.loop.turn(0)
    made.loop.turn(0)
    with Calls() as same:
        made.loop.turn(0)
    made.clock.pass_(1)
    with Calls() as another:
        made.loop.turn(0)
    return same.number, another.number


def test_a_turn_costs_nothing_more_and_a_second_the_same_for_any_number_of_clients() -> None:
    with world() as made:
        without, _ = calls(made, 0)
        pulse_of(made)
        few = calls(made, 0)
        many = calls(made, 300)
    assert few[0] == many[0] == without
    assert many[1] <= few[1] + 8 * FEW, "those who are asked about at a glance"
    assert few[1] - few[0] < 60


@pytest.mark.parametrize("looking", [False, True])
def test_some_clients_are_asked_about_while_nobody_looks(looking: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with world() as made:
        asked: list[object] = []

        class Info:
            rtt = 0.03

        for _ in range(3 * FEW):
            made.start_new()
        made.settle()
        sampler = made.server.sampler
        monkeypatch.setattr(sampler, "_read", lambda sock: asked.append(sock) or Info)
        if looking:
            monkeypatch.setattr(sampler, "sample", lambda connection: None)
            sampler.look()
        timeline = pulse_of(made).timeline
        for _ in range(6):
            before = len(asked)
            made.clock.pass_(1)
            made.loop.turn(0)
            assert len(asked) - before <= FEW
            if looking:
                assert not asked, "the sampler does that anyway"
        if not looking:
            assert len(set(asked)) == 3 * FEW, "all of them in their turn"
            assert all(connection.quality is None for connection in made.server.clients.connections), "and forgotten"
            bound = min(bound for bound in ROUND_TRIP_BOUNDS if bound >= 0.03)
            assert timeline.seconds.points[-1].round_trip_p99 == bound
        sampler.stop()


def test_an_error_in_it_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with world() as made:
        pulse = pulse_of(made)
        with monkeypatch.context() as broken:
            broken.setattr(made.server.sampler, "glance", lambda: 1 / 0)
            made.pass_(3.5)
        assert len(pulse.timeline.seconds.points) == 3
        assert [type(bug) for bug in made.loop.bugs] == [ZeroDivisionError] * 3
        made.loop.bugs.clear()
