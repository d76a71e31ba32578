"""The timer wheel against a plain dictionary of deadlines, under random operations."""

from __future__ import annotations

import random

import pytest

from voltlane.core.timers import SLOTS, Timer, TimerWheel

EPSILON = 1e-6


class Boom(Exception):
    """What a timer's action raises."""


class Model:
    """What should be true of a wheel: each active timer with its deadline and when it got it."""

    def __init__(self, tick: float, now: float, seed: int = 0) -> None:
        self.tick = tick
        self.now = now
        self.random = random.Random(seed)
        self.wheel = TimerWheel(tick, now)
        self.timers: dict[Timer, tuple[float, float]] = {}
        self.fired = 0

    def start(self, seconds: float) -> Timer:
        deadline = self.now + seconds
        holder: list[Timer] = []
        timer = self.wheel.start(deadline, lambda now: self._went_off(holder[0], now))
        holder.append(timer)
        self.timers[timer] = (deadline, self.now)
        return timer

    def stop(self, timer: Timer) -> None:
        self.wheel.stop(timer)
        self.timers.pop(timer, None)

    def move(self, timer: Timer, seconds: float) -> None:
        self.wheel.move(timer, self.now + seconds)
        self.timers[timer] = (self.now + seconds, self.now)

    def any(self) -> Timer | None:
        return self.random.choice(list(self.timers)) if self.timers else None

    def some_seconds(self) -> float:
        """Now and then in the past, on a tick's edge, or beyond a turn of the wheel."""
        turn = SLOTS * self.tick
        kind = self.random.randrange(6)
        if kind == 0:
            return -self.random.random() * 3 * self.tick
        if kind == 1:
            return self.random.randrange(4) * self.tick
        if kind == 2:
            return self.random.uniform(0.9, 3.5) * turn
        return self.random.random() * 20 * self.tick

    def advance(self, now: float) -> None:
        self.now = now
        for timer in self.wheel.advance(now):
            try:
                self.wheel.fire(timer, now)
            except Boom:
                pass
        for deadline, since in self.timers.values():
            assert max(deadline, since) > now - self.tick - EPSILON, "more than one tick late"
        assert len(self.wheel) == len(self.timers)

    def _went_off(self, timer: Timer, now: float) -> None:
        deadline, _ = self.timers.pop(timer)
        assert now >= deadline, "early"
        assert not timer.active
        self.fired += 1
        self._do_something()

    def _do_something(self) -> None:
        """What an action may do besides: anything."""
        kind = self.random.randrange(8)
        other = self.any()
        if kind == 0:
            self.start(self.some_seconds())
        elif kind == 1 and other:
            self.stop(other)
        elif kind == 2 and other:
            self.move(other, self.some_seconds())
        elif kind == 3:
            raise Boom

    def operate(self) -> None:
        kind, other = self.random.randrange(4), self.any()
        if kind == 0 or other is None:
            self.start(self.some_seconds())
        elif kind == 1:
            self.stop(other)
        else:
            self.move(other, self.some_seconds())

    def expect_deadline_in_time(self) -> None:
        """Whoever sleeps until `next_deadline` misses nothing."""
        deadline = self.wheel.next_deadline()
        if not self.timers:
            assert deadline is None
        else:
            assert deadline is not None
            first = min(max(due, since) for due, since in self.timers.values())
            assert deadline <= first + self.tick + EPSILON


TICKS = [0.05, 0.3, 1.0, 15.0]


@pytest.mark.parametrize("tick", TICKS)
@pytest.mark.parametrize("seed", range(6))
def test_random_operations_and_random_advances(tick: float, seed: int):
    model = Model(tick, now=1234.567 * (seed + 1), seed=seed)
    for _ in range(1500):
        for _ in range(model.random.randrange(3)):
            model.operate()
        step = model.random.choice([0, 0.1, 0.5, 1, 1, 3, 40, SLOTS - 1, SLOTS, SLOTS + 1, 3.3 * SLOTS])
        model.advance(model.now + step * tick * model.random.random())
    assert model.fired > 300


@pytest.mark.parametrize("tick", TICKS)
@pytest.mark.parametrize("seed", range(3))
def test_whoever_sleeps_until_the_next_deadline_misses_nothing_and_never_spins(tick: float, seed: int):
    """The clock stands exactly at each `next_deadline`, where rounding is at its meanest."""
    model = Model(tick, now=997.3 * (seed + 1), seed=seed)
    for _ in range(30):
        model.start(model.some_seconds())
    for _ in range(3000):
        model.expect_deadline_in_time()
        deadline = model.wheel.next_deadline()
        if deadline is None:
            break
        model.advance(max(model.now, deadline))
        following = model.wheel.next_deadline()
        assert following is None or following > model.now, "it would spin"
        if model.random.random() < 0.1:
            model.operate()
    assert model.fired > 20


@pytest.mark.parametrize("tick", [0.05, 0.1, 0.3])
def test_a_deadline_that_the_division_rounds_down(tick: float):
    """(k * tick) / tick is less than k for one k in a hundred."""
    rounded_down = [k for k in range(1, 200_000) if k * tick // tick < k][:200]
    assert rounded_down
    for k in rounded_down:
        model = Model(tick, now=(k - 5) * tick)
        timer = model.start(5 * tick - tick / 2)
        deadline = model.wheel.next_deadline()
        assert deadline is not None
        model.advance(deadline)
        assert not timer.active


def test_an_idle_wheel_wakes_nobody():
    wheel = TimerWheel(0.05, 0.0)
    assert wheel.next_deadline() is None
    wheel.stop(wheel.start(3.0, print))
    assert wheel.next_deadline() is None and len(wheel) == 0


def test_moving_to_a_later_time_costs_one_look_at_the_old_one():
    model = Model(1.0, now=0.0)
    timer = model.start(5)
    for _ in range(1000):
        model.move(timer, 100)
    wakes = 0
    while timer.active:
        deadline = model.wheel.next_deadline()
        assert deadline is not None
        model.advance(deadline)
        wakes += 1
    assert wakes == 2 and model.now >= 100


def test_a_timer_many_turns_ahead():
    model = Model(1.0, now=0.0)
    timer = model.start(10.5 * SLOTS)
    wakes = 0
    while timer.active:
        deadline = model.wheel.next_deadline()
        assert deadline is not None
        model.advance(deadline)
        wakes += 1
    assert 10.5 * SLOTS <= model.now <= 10.5 * SLOTS + 1 and wakes <= 11, "one look a turn of the wheel"


def test_a_wheel_that_was_left_alone_for_long():
    """The registry's wheel is only advanced while somebody is stale."""
    model = Model(15.0, now=0.0)
    model.now = 1e6
    timer = model.start(300)
    wakes = 0
    while timer.active:
        deadline = model.wheel.next_deadline()
        assert deadline is not None
        model.advance(max(deadline, model.now))
        wakes += 1
    assert 1e6 + 300 <= model.now <= 1e6 + 315 and wakes <= 3


def test_stopping_twice_and_stopping_what_went_off_does_nothing():
    model = Model(1.0, now=0.0)
    timer, other = model.start(1), model.start(1)
    model.stop(other)
    model.stop(other)
    model.advance(5.0)
    assert not timer.active and model.fired == 1
    model.stop(timer)
    assert len(model.wheel) == 0


def test_an_action_that_raises_takes_no_other_with_it():
    wheel, went_off = TimerWheel(1.0, 0.0), []

    def boom(now: float) -> None:
        raise Boom

    timers = [wheel.start(1.0, boom), wheel.start(1.0, went_off.append)]
    for timer in wheel.advance(10.0):
        try:
            wheel.fire(timer, 10.0)
        except Boom:
            pass
    assert went_off == [10.0] and not any(timer.active for timer in timers)


@pytest.mark.parametrize("seconds", [0, 0.5, 700])
def test_an_action_may_move_or_stop_one_that_is_due_with_it(seconds: float):
    wheel, went_off = TimerWheel(1.0, 0.0), []
    second: list[Timer] = []
    wheel.start(1.0, lambda now: wheel.move(second[0], now + seconds))
    second.append(wheel.start(1.5, went_off.append))
    third: list[Timer] = []
    wheel.start(1.0, lambda now: wheel.stop(third[0]))
    third.append(wheel.start(1.5, went_off.append))
    now = 3.0
    while wheel.next_deadline() is not None:
        for timer in wheel.advance(now):
            wheel.fire(timer, now)
        now += 1
    assert len(went_off) == 1 and 3.0 + seconds <= went_off[0] <= 5.0 + seconds
