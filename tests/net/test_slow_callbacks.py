"""A callback that takes long is named; and nothing is timed that need not be."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial

import pytest
from kit.handlers import POLLERS, Loop

from voltlane.net.slow_callbacks import ATTENTION_SECS, FEW_EVENTS, SLOW, name_of
from voltlane.reasons import CloseReason

LONG = 0.06


class Sleeper:
    """A handler each of whose events takes a time."""

    def __init__(self, loop: Loop, seconds: float = 0.0) -> None:
        self.loop = loop
        self.seconds = seconds
        self.sock, self.other = socket.socketpair()
        self.sock.setblocking(False)
        loop.add(self.sock.fileno(), self)

    def wake(self) -> None:
        self.other.send(b"x")

    def on_event(self, mask: int) -> None:
        try:
            while self.sock.recv(100):
                pass
        except BlockingIOError:
            pass
        rearm = self.loop.poller.rearm_read
        if rearm is not None:
            rearm(self.sock.fileno())
        self.loop.clock.now += self.seconds

    def on_flush(self) -> None:
        self.loop.clock.now += self.seconds

    def sleep(self, now: float = 0.0) -> None:
        self.loop.clock.now += self.seconds

    def close(self, reason: CloseReason, detail: str = "") -> None:
        self.loop.remove(self.sock)
        self.other.close()


class Bed:
    def __init__(self, poller: type) -> None:
        self.loop = Loop(poller)
        self.slow: list[tuple[str, float]] = []
        self.loop.on_slow = lambda name, seconds: self.slow.append((name, round(seconds, 3)))
        self.sleepers: list[Sleeper] = []

    def sleeper(self, seconds: float = 0.0) -> Sleeper:
        made = Sleeper(self.loop, seconds)
        self.sleepers.append(made)
        self.loop.spin()
        self.slow.clear()
        self.loop._attentive_until = 0.0  # it has had its first event already
        return made


@pytest.fixture(params=POLLERS, ids=lambda poller: poller.__name__)
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    made = Bed(request.param)
    yield made
    for sleeper in made.sleepers:
        sleeper.close(CloseReason.SHUTDOWN)
    made.loop.spin(1)
    made.loop.close()


def test_tasks_and_timers_are_named_at_once(bed: Bed) -> None:
    sleeper = bed.sleeper(LONG)
    bed.loop.call_soon(sleeper.sleep)
    bed.loop.turn(0)
    bed.loop.call_later(0, sleeper.sleep)
    bed.loop.pass_(0.2)
    assert bed.slow == [("Sleeper.sleep", LONG)] * 2


def test_an_event_among_few_is_a_candidate_and_named_when_it_happens_again(bed: Bed) -> None:
    slow, quick = bed.sleeper(LONG), bed.sleeper()
    for sleeper in (slow, quick):
        sleeper.wake()
    bed.loop.turn(0)
    assert bed.slow == [("Sleeper.on_event", LONG)]
    for sleeper in (slow, quick):
        sleeper.wake()
    bed.loop.turn(0)
    assert bed.slow[1:] == [("Sleeper.on_event", LONG)]


def test_many_quick_events_are_no_slow_callback(bed: Bed) -> None:
    sleepers = [bed.sleeper(0.01) for _ in range(FEW_EVENTS + 1)]
    for _ in range(3):
        for sleeper in sleepers:
            sleeper.wake()
        bed.loop.turn(0)
    assert bed.slow == []


def test_a_flush_is_named_when_it_is_slow_again_within_a_while(bed: Bed) -> None:
    sleeper = bed.sleeper(LONG)
    for _ in range(2):
        bed.loop.mark_dirty(sleeper)
        bed.loop.turn(0)
    assert bed.slow == [("Sleeper.on_flush", LONG)]


def test_attention_ends(bed: Bed) -> None:
    sleeper = bed.sleeper(LONG)
    bed.loop.mark_dirty(sleeper)
    bed.loop.turn(0)
    bed.loop.clock.now += ATTENTION_SECS
    bed.loop.mark_dirty(sleeper)
    bed.loop.turn(0)
    assert bed.slow == []


def test_what_is_not_slow_is_not_named(bed: Bed) -> None:
    sleeper = bed.sleeper(SLOW - 0.01)
    sleeper.wake()
    bed.loop.call_soon(sleeper.sleep)
    bed.loop.call_later(0, sleeper.sleep)
    bed.loop.spin()
    assert bed.slow == []


def test_errors_of_a_timed_event_are_those_of_an_untimed_one(bed: Bed) -> None:
    sleeper = bed.sleeper(LONG)
    bed.loop.mark_dirty(sleeper)
    bed.loop.turn(0)

    def fail(mask: int) -> None:
        raise RuntimeError("of the handler")

    sleeper.on_event = fail  # type: ignore[method-assign]
    sleeper.wake()
    bed.loop.turn(0)
    assert [str(bug) for bug in bed.loop.bugs] == ["of the handler"]
    bed.sleepers.clear()


def test_names() -> None:
    assert name_of("x".upper) == "str.upper"
    assert name_of(partial(partial(test_names))) == "test_names"
    assert name_of(None) == "NoneType"
