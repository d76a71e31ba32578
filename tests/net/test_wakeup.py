"""Waking the loop: from another thread, from a signal handler, and what is put back afterwards."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Callable

import pytest
from kit.handlers import POLLERS, Loop

from voltlane.net.wakeup import Wakeup


class Bed:
    """A loop to be woken."""

    def __init__(self, poller: type) -> None:
        self.loop = Loop(poller)
        self.woken = 0
        self.signalled: list[str] = []
        self.wakeup = Wakeup(self.loop, self._on_wake)

    def _on_wake(self) -> None:
        self.woken += 1

    def on(self, **names: int) -> AbstractContextManager[None]:
        """Note these signals' names as they come."""

        def note(name: str) -> Callable[[], None]:
            return lambda: self.signalled.append(name)

        return self.wakeup.on_signals({number: note(name) for name, number in names.items()})

    def close(self) -> None:
        self.wakeup.close()
        self.wakeup.close()
        self.loop.spin(1)
        self.loop.close()
        assert self.loop.bugs == [] and self.loop.watched == 0


@pytest.fixture(params=POLLERS, ids=lambda poller: poller.__name__)
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    made = Bed(request.param)
    made.loop.spin()
    assert made.woken == 0
    yield made
    made.close()


def test_once_for_any_number_of_wakes(bed: Bed):
    for round_ in (1, 2, 3):
        for _ in range(100):
            bed.wakeup.wake()
        bed.loop.spin()
        assert bed.woken == round_


def test_more_wakes_than_the_socket_holds(bed: Bed):
    for _ in range(100_000):
        bed.wakeup.wake()
    bed.loop.spin()
    assert bed.woken >= 1
    before = bed.woken
    bed.wakeup.wake()
    bed.loop.spin()
    assert bed.woken == before + 1


def test_from_another_thread(bed: Bed):
    thread = threading.Timer(0.05, bed.wakeup.wake)
    thread.start()
    bed.loop.turn(10.0)
    thread.join()
    assert bed.woken == 1


def test_a_signal_wakes_a_loop_that_waits(bed: Bed):
    before = signal.getsignal(signal.SIGUSR1)
    with bed.on(one=signal.SIGUSR1):
        thread = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        thread.start()
        bed.loop.turn(10.0)
        thread.join()
    assert (bed.signalled, bed.woken) == (["one"], 0)
    assert signal.getsignal(signal.SIGUSR1) is before
    previous = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(previous)
    assert previous == -1, "the descriptor is not left behind"


def test_a_signal_before_the_loop_waits_is_not_lost(bed: Bed):
    with bed.on(one=signal.SIGUSR1):
        signal.raise_signal(signal.SIGUSR1)
        bed.loop.turn(10.0)
    assert bed.signalled == ["one"]


def test_each_signal_has_its_own_action(bed: Bed):
    with bed.on(one=signal.SIGUSR1, two=signal.SIGUSR2):
        for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2):
            signal.raise_signal(number)
        bed.wakeup.wake()
        bed.loop.spin()
    assert (bed.signalled, bed.woken) == (["two", "one"], 1)


def test_an_action_that_fails_leaves_the_others_and_the_ear_for_signals(bed: Bed):
    def fail() -> None:
        raise RuntimeError("of the action")

    with bed.wakeup.on_signals({signal.SIGUSR1: fail, signal.SIGUSR2: lambda: bed.signalled.append("two")}):
        for _ in range(2):
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGUSR2)
            bed.loop.spin()
    assert bed.signalled == ["two", "two"]
    assert [str(bug) for bug in bed.loop.bugs] == ["of the action"] * 2
    bed.loop.bugs.clear()


def test_signals_that_were_blocked_come_once_there_is_somebody_to_act_on_them(bed: Bed):
    others: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: others.append(number))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        # To this thread: the process's would go to a thread that has not blocked it yet, faulthandler's for one.
        signal.raise_signal(signal.SIGUSR1)
        with bed.on(one=signal.SIGUSR1, two=signal.SIGUSR2):
            assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
            bed.loop.spin()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == {signal.SIGUSR1}, "as it was, before its handler goes"
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        signal.signal(signal.SIGUSR1, before)
    assert (bed.signalled, others) == (["one"], [])


def test_other_threads_go_without_signals(bed: Bed):
    entered: list[bool] = []

    def run() -> None:
        with bed.on(one=signal.SIGUSR1):
            entered.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert entered == [True]


def test_waking_what_is_closed_does_nothing(bed: Bed):
    bed.wakeup.close()
    bed.wakeup.wake()
    bed.loop.spin()
    assert bed.woken == 0
