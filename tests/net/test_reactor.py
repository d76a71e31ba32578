"""The loop: its phases and their order, its guards and hooks, descriptors that are closed and used again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from kit.clock import FakeClock
from kit.handlers import POLLERS, Loop, Recorder, pair

from voltlane.core.timers import SLOTS
from voltlane.errors import BadProof
from voltlane.net.poller import READ, WRITE
from voltlane.net.reactor import TICK, Reactor, reason_of
from voltlane.reasons import CloseReason


@pytest.fixture(params=POLLERS, ids=lambda poller: poller.__name__)
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    made = Loop(request.param)
    yield made
    made.close()


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Closed at the end, whatever happened."""
    made: list[socket.socket] = []
    yield made
    for sock in made:
        sock.close()


@pytest.fixture
def handler(loop: Loop, sockets: list[socket.socket]) -> Callable[..., Recorder]:
    """Makes a handler whose socket has something to read."""

    def make(log: list[Any] | None = None, name: str = "", *, ready: bool = True) -> Recorder:
        ours, theirs = pair()
        sockets.extend((ours, theirs))
        if ready:
            theirs.send(b"x")
        return Recorder(loop, ours, log, name)

    return make


Make = Callable[..., Recorder]


def test_the_phases_in_their_order(loop: Loop, handler: Make):
    log: list[Any] = []
    closing = handler(log, "h")

    def event(mask: int) -> None:
        loop.mark_dirty(closing)
        loop.call_soon(lambda: log.append("task"))
        loop.call_at(loop.now, lambda now: log.append("timer"))
        sock = closing.sock
        loop.call_soon(lambda: log.append(("open in tasks", sock.fileno() != -1)))
        closing.close(CloseReason.PEER_CLOSED)
        log.append(("open in dispatch", sock.fileno() != -1))
        closing.then_flush = lambda: log.append(("open in flush", sock.fileno() != -1))
        loop.clock.pass_(2 * TICK)

    closing.then = event
    sock = closing.sock
    loop.turn(0)
    loop.turn(0)
    assert log == [
        ("h", "event"),
        ("open in dispatch", True),
        "task",
        ("open in tasks", True),
        ("h", "flush"),
        ("open in flush", True),
        "timer",
    ]
    assert sock.fileno() == -1, "closed when the turn was over"


def test_a_timer_that_is_due_goes_off_between_tasks_and_flush(loop: Loop, handler: Make):
    log: list[Any] = []
    recorder = handler(log, "h")
    recorder.then = lambda mask: (loop.mark_dirty(recorder), loop.call_soon(lambda: log.append("task")))
    loop.call_later(TICK, lambda now: log.append("timer"))
    loop.clock.pass_(3 * TICK)
    loop.turn(0)
    assert log == [("h", "event"), "task", "timer", ("h", "flush")]


def test_time_stands_still_within_a_turn(loop: Loop, handler: Make):
    seen: list[float] = []
    recorder = handler()

    def event(mask: int) -> None:
        seen.append(loop.now)
        loop.clock.pass_(1)
        loop.call_soon(lambda: seen.append(loop.now))

    recorder.then = event
    loop.clock.pass_(5)
    loop.turn(0)
    assert seen == [1005.0, 1005.0]


def test_a_task_left_by_a_task_is_for_the_next_turn(loop: Loop):
    log: list[str] = []
    loop.call_soon(lambda: (log.append("first"), loop.call_soon(lambda: log.append("second"))))
    loop.turn(0)
    assert log == ["first"]
    loop.turn()  # does not wait, since there is something to do
    assert log == ["first", "second"]


def test_dirty_once_however_often_it_is_marked(loop: Loop, handler: Make):
    log: list[Any] = []
    recorder = handler(log, "h")
    recorder.then = lambda mask: [loop.mark_dirty(recorder) for _ in range(5)]
    loop.turn(0)
    assert log.count(("h", "flush")) == 1
    loop.turn(0)
    assert log.count(("h", "flush")) == 1


def test_marked_dirty_while_flushing_is_flushed_in_the_same_turn(loop: Loop, handler: Make):
    log: list[Any] = []
    first, second = handler(log, "a"), handler(log, "b", ready=False)
    first.then = lambda mask: loop.mark_dirty(first)
    first.then_flush = lambda: loop.mark_dirty(second)
    loop.turn(0)
    assert log[-2:] == [("a", "flush"), ("b", "flush")]


# ---- what is watched


def test_ready_from_the_start_and_when_something_new_happens(loop: Loop, sockets: list[socket.socket]):
    ours, theirs = pair()
    sockets += [ours, theirs]
    masks: list[int] = []
    recorder = Recorder(loop, ours)

    def event(mask: int) -> None:
        masks.append(mask)
        if mask & ~WRITE:
            try:
                while ours.recv(100):
                    pass
            except BlockingIOError:
                if loop.poller.rearm_read is not None:
                    loop.poller.rearm_read(ours.fileno())

    recorder.then = event
    loop.spin()
    assert masks == [WRITE]
    theirs.send(b"x")
    loop.spin()
    assert [mask & READ for mask in masks[1:]] == [READ]
    loop.spin()
    assert len(masks) == 2, "nothing new"
    theirs.send(b"y")
    loop.spin()
    assert len(masks) == 3


def test_what_is_not_read_is_not_reported_again(loop: Loop, handler: Make):
    """Edge-triggered everywhere: who is paused costs nothing."""
    log: list[Any] = []
    handler(log, "h")
    loop.spin()
    assert log == [("h", "event")]


def test_removed_handlers_hear_no_more(loop: Loop, handler: Make):
    log: list[Any] = []
    recorder = handler(log, "h")
    assert loop.watched == 1 and loop.handlers == [recorder]
    recorder.close(CloseReason.PEER_CLOSED)
    loop.spin()
    assert log == [] and loop.watched == 0


def test_released_sockets_stay_open(loop: Loop, handler: Make):
    recorder = handler([], "h")
    sock = recorder.sock
    assert sock is not None
    loop.release(sock)
    loop.spin()
    assert recorder.log == [] and sock.fileno() != -1
    loop.release(sock)  # again: nothing
    again = Recorder(loop, sock)
    loop.spin()
    assert again.log, "it can be watched again"


def test_a_number_that_was_closed_and_used_again_within_a_batch(
    loop: Loop, handler: Make, sockets: list[socket.socket]
):
    """An event of a connection that somebody closed must not reach the stranger that got its number."""
    log: list[Any] = []
    first, second = handler(log, "first"), handler(log, "second")
    strangers: list[Recorder] = []

    def close_the_other(other: Recorder) -> None:
        if other.sock is None:
            return
        other.close(CloseReason.KICKED)
        for _ in range(4):
            ours, theirs = pair()
            sockets.extend((ours, theirs))
            strangers.append(Recorder(loop, ours, log, "stranger"))

    first.then = lambda mask: close_the_other(second)
    second.then = lambda mask: close_the_other(first)
    numbers = {first.sock.fileno(), second.sock.fileno()} if first.sock and second.sock else set()
    loop.turn(0)
    assert len(log) == 1 and strangers, "one of the two was closed before its event came"
    taken = {stranger.sock.fileno() for stranger in strangers if stranger.sock}
    assert not taken & numbers, "a number is free again only when the turn is over"
    ours, theirs = pair()
    sockets.extend((ours, theirs))
    assert {ours.fileno(), theirs.fileno()} & numbers
    late = Recorder(loop, ours, log, "late")
    loop.turn(0)
    assert ("late", "event") in log and late.sock is not None


# ---- guards


BUG, PEER, PROTOCOL = ZeroDivisionError("bug"), ConnectionResetError(104, "reset"), BadProof("no proof")


def raising(error: Exception) -> Callable[..., None]:
    def function(*_: object) -> None:
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "reason"),
    [(PEER, CloseReason.PEER_LOST), (PROTOCOL, CloseReason.BAD_PROOF), (BUG, CloseReason.INTERNAL_ERROR)],
    ids=["peer", "protocol", "bug"],
)
@pytest.mark.parametrize("where", ["event", "flush", "task"])
def test_an_error_closes_the_one_it_came_from(
    loop: Loop, handler: Make, error: Exception, reason: CloseReason, where: str
):
    log: list[Any] = []
    failing, other = handler(log, "failing"), handler(log, "other")
    if where == "event":
        failing.then = raising(error)
    elif where == "flush":
        failing.then = lambda mask: loop.mark_dirty(failing)
        failing.then_flush = raising(error)
        other.then = lambda mask: loop.mark_dirty(other)
    else:
        failing.then = lambda mask: loop.call_soon(raising(error), failing)
    loop.spin()
    assert [with_[0] for with_ in failing.closed_with] == [reason]
    assert str(error) in failing.closed_with[0][1] or repr(error) in failing.closed_with[0][1]
    assert other.closed_with == [] and ("other", "event") in log
    assert (("other", "flush") in log) == (where == "flush")
    assert loop.bugs == ([error] if error is BUG else [])


@pytest.mark.parametrize("error", [BUG, PEER, PROTOCOL], ids=["bug", "peer", "protocol"])
@pytest.mark.parametrize("where", ["timer", "task"])
def test_without_a_handler_every_error_is_a_bug(loop: Loop, error: Exception, where: str):
    went_off: list[float] = []
    if where == "timer":
        loop.call_later(0, raising(error))
    else:
        loop.call_soon(raising(error))
    loop.call_later(0, went_off.append)
    loop.pass_(3 * TICK)
    assert loop.bugs == [error] and went_off and loop.timers == 0


@pytest.mark.parametrize("first", [BUG, PEER], ids=["after a bug", "after a peer's error"])
def test_a_bug_in_closing_does_not_end_the_loop(loop: Loop, handler: Make, first: Exception):
    log: list[Any] = []
    failing, other = handler(log, "failing"), handler(log, "other")
    second = KeyError("another")
    failing.then = raising(first)
    failing.close = raising(second)  # type: ignore[method-assign]
    loop.turn(0)
    assert ("other", "event") in log and other.closed_with == []
    assert loop.bugs[0] is (first if first is BUG else second) and loop.bugs[-1] is second


def test_the_hook_for_peers_can_be_replaced(loop: Loop, handler: Make):
    heard: list[Any] = []
    failing = handler()
    failing.then = raising(PROTOCOL)
    loop.on_peer_error = lambda handler, error: heard.append((handler, error))
    loop.turn(0)
    assert heard == [(failing, PROTOCOL)] and failing.closed_with == []


def test_a_loop_without_hooks_raises_bugs():
    loop = Reactor()
    loop.call_soon(raising(BUG))
    with pytest.raises(ZeroDivisionError):
        loop.turn(0)
    loop.close()


def test_the_reason_of_an_error():
    assert reason_of(PEER) is CloseReason.PEER_LOST and reason_of(PROTOCOL) is CloseReason.BAD_PROOF


# ---- waiting


class Waits:
    """A poller that keeps how long it was told to wait, and lets that pass if it has a clock."""

    clock: FakeClock | None = None

    rearm_read = rearm_write = None

    def __init__(self) -> None:
        self.timeouts: list[float | None] = []

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        self.timeouts.append(timeout)
        if self.clock is not None and timeout:
            self.clock.pass_(timeout)
        return []

    def close(self) -> None:
        """Nothing is open."""


def test_how_long_it_waits():
    loop = Loop(Waits)
    waits = loop.poller.timeouts  # type: ignore[union-attr]
    loop.turn()
    assert waits[-1] is None, "an idle server makes no wake-ups"
    loop.turn(7.0)
    assert waits[-1] == 7.0
    timer = loop.call_later(3.0, lambda now: None)
    loop.turn()
    assert 3.0 <= waits[-1] <= 3.0 + TICK
    loop.turn(1.0)
    assert waits[-1] == 1.0
    loop.clock.pass_(10)
    loop.cancel(timer)
    loop.turn()
    assert waits[-1] is None
    loop.call_later(1.0, lambda now: None)
    loop.clock.pass_(10)
    loop.turn()
    assert waits[-1] == 0, "what is overdue is not waited for"
    loop.call_soon(lambda: None)
    loop.turn()
    assert waits[-1] == 0


def test_what_can_be_deferred_wakes_nobody():
    loop = Loop(Waits)
    waits = loop.poller.timeouts  # type: ignore[union-attr]
    ran: list[float] = []
    loop.call_deferrable(loop.now + 3.0, ran.append)
    cancelled = loop.call_deferrable(loop.now + 3.0, ran.append)
    loop.cancel(cancelled)
    loop.turn()
    assert waits[-1] is None and loop.timers == 0, "no turn is made for it"
    loop.clock.pass_(2.9)
    loop.turn()
    assert ran == []
    loop.clock.pass_(100)
    loop.turn()
    loop.turn()
    assert ran == [loop.now], "once, in the first turn that somebody else made"


def test_each_of_what_is_deferred_has_its_time():
    loop, ran = Loop(Waits), []

    def again(now: float) -> None:
        ran.append("again")
        loop.call_deferrable(loop.now + 1.0, again)

    loop.call_deferrable(loop.now + 9.0, lambda now: ran.append("late"))
    loop.call_deferrable(loop.now + 1.0, again)
    for _ in range(3):
        loop.clock.pass_(1.0)
        loop.turn()
    assert ran == ["again"] * 3
    loop.clock.pass_(6.0)
    loop.turn()
    assert ran == ["again"] * 3 + ["late", "again"]


def test_what_is_deferred_comes_in_front_of_all_else_of_its_turn():
    loop, ran = Loop(Waits), []
    loop.call_deferrable(loop.now + 1.0, lambda now: ran.append("deferred"))
    loop.clock.pass_(2.0)
    loop.call_soon(lambda: ran.append("task"))
    loop.turn()
    assert ran == ["deferred", "task"]


def test_a_bug_in_what_is_deferred_ends_in_the_hook():
    loop, error = Loop(Waits), ValueError("a bug")

    def fail(now: float) -> None:
        raise error

    loop.call_deferrable(loop.now + 1.0, fail)
    loop.clock.pass_(2.0)
    loop.turn()
    assert loop.bugs == [error]


def test_an_hour_of_timers_without_spinning():
    """Each wake-up finds something to do, or files far timers again: once in a turn of the wheel."""
    loop, went_off = Loop(Waits), []
    loop.poller.clock = loop.clock  # type: ignore[union-attr]
    deadlines = [loop.now + seconds for seconds in (0.1, 0.37, 5, 24, 26, 300, 301, 3600)]
    for deadline in deadlines:
        loop.call_at(deadline, went_off.append)
    turns = 0
    while loop.timers:
        loop.turn()
        turns += 1
    assert len(went_off) == len(deadlines)
    assert all(due <= now <= due + TICK + 1e-6 for due, now in zip(deadlines, went_off))
    assert turns <= len(deadlines) + 3600 / (TICK * SLOTS) + 1


def test_what_is_marked_between_two_turns_does_not_wait_for_an_event(
    loop: Loop, handler: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
):
    recorder, waits = handler(ready=False), []
    poll = loop.poller.poll
    monkeypatch.setattr(loop.poller, "poll", lambda timeout: waits.append(timeout) or poll(0))
    loop.turn(9.0)
    loop.mark_dirty(recorder)
    loop.turn(9.0)
    loop.turn(9.0)
    assert waits == [9.0, 0, 9.0]


def test_run_and_stop():
    loop, turns = Loop(), []

    def task() -> None:
        turns.append(1)
        if len(turns) == 3:
            loop.stop()
        loop.call_soon(task)

    loop.call_soon(task)
    loop.run()
    assert len(turns) == 3
    loop.close()


def test_closing_the_loop_closes_what_was_given_up(sockets: list[socket.socket]):
    loop = Loop()
    ours, theirs = pair()
    sockets += [ours, theirs]
    recorder = Recorder(loop, ours)
    recorder.close(CloseReason.SHUTDOWN)
    assert ours.fileno() != -1
    loop.close()
    assert ours.fileno() == -1
