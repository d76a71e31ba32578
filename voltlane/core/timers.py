"""A hashed timer wheel: starting, moving and stopping a timer cost the same however many there are.

A timer goes off late by up to one tick, never early. Moving a timer to a later time only stores the new deadline; the
wheel files it again when the slot it stands in comes round. Deadlines beyond one turn of the wheel wait in its farthest
slot and are filed again from there.
"""

from __future__ import annotations

import math
from typing import Callable

SLOTS = 512


class Timer:
    """One thing to happen later. Make it with `TimerWheel.start`."""

    __slots__ = ("action", "deadline", "slot")

    def __init__(self, action: Callable[[float], None], deadline: float) -> None:
        self.action: Callable[[float], None] | None = action
        """Called with `now`; None once it went off or was stopped."""
        self.deadline = deadline
        self.slot = -1

    @property
    def active(self) -> bool:
        """Whether it is still to go off."""
        return self.action is not None


class TimerWheel:
    """Timers by slots of `tick` seconds. `now` is any clock that does not go back."""

    __slots__ = ("_current", "_occupied", "_slots", "tick")

    def __init__(self, tick: float, now: float) -> None:
        self.tick = tick
        self._slots: list[dict[Timer, None]] = [{} for _ in range(SLOTS)]
        self._occupied = 0  # bit n: slot n holds something; finding the next one is arithmetic on one integer
        self._current = math.floor(now / tick) - 1  # the slot looked at last, as `advance` counts

    def __len__(self) -> int:
        """Timers that are filed. Counted when asked, not kept."""
        return sum(map(len, self._slots))

    def start(self, deadline: float, action: Callable[[float], None]) -> Timer:
        """A timer that calls `action(now)` once `deadline` has passed."""
        timer = Timer(action, deadline)
        self._file(timer)
        return timer

    def stop(self, timer: Timer) -> None:
        """The timer will not go off. Stopping one that did, or was stopped, does nothing."""
        timer.action = None
        self._take(timer)

    def move(self, timer: Timer, deadline: float) -> None:
        """Let an active timer go off at another time instead."""
        earlier = deadline < timer.deadline
        timer.deadline = deadline
        if earlier:
            self._take(timer)
            self._file(timer)

    def next_deadline(self) -> float | None:
        """When `advance` has something to look at next, or None without timers. Never before a timer's deadline."""
        if not self._occupied:
            return None
        base = (self._current + 1) % SLOTS
        ahead = self._occupied >> base
        distance = _lowest_bit(ahead) if ahead else SLOTS - base + _lowest_bit(self._occupied)
        return (self._current + 1 + distance + 1) * self.tick

    def advance(self, now: float) -> list[Timer]:
        """The timers whose slot has come round, out of the wheel; each is to be given to `fire`."""
        target = math.floor(now / self.tick) - 1  # a slot is looked at when its whole tick lies behind us: never early
        if (target + 2) * self.tick <= now:  # the division was rounded down: without this, `next_deadline` would stand
            target += 1
        if target - self._current > SLOTS:
            self._current = target - SLOTS
        due: list[Timer] = []
        while self._current < target:
            self._current += 1
            number = self._current % SLOTS
            if self._occupied >> number & 1:
                due += self._slots[number]
                self._slots[number].clear()
                self._occupied &= ~(1 << number)
        for timer in due:
            timer.slot = -1
        return due

    def fire(self, timer: Timer, now: float) -> bool:
        """Run a due timer's action, or file the timer again if its time was moved. Whether it ran.

        Apart from `advance` so that the caller can guard each action on its own.
        """
        action = timer.action
        if action is None or timer.slot >= 0:  # stopped, or started again, by an action that ran before it
            return False
        if timer.deadline > now:
            self._file(timer)
            return False
        timer.action = None
        action(now)
        return True

    def _file(self, timer: Timer) -> None:
        ahead = math.ceil(timer.deadline / self.tick) - 1 - self._current
        if ahead > SLOTS:
            ahead = SLOTS
        elif ahead < 1:
            ahead = 1
        timer.slot = number = (self._current + ahead) % SLOTS
        slot = self._slots[number]
        if not slot:
            self._occupied |= 1 << number
        slot[timer] = None

    def _take(self, timer: Timer) -> None:
        if timer.slot < 0:
            return
        slot = self._slots[timer.slot]
        del slot[timer]
        if not slot:
            self._occupied &= ~(1 << timer.slot)
        timer.slot = -1


def _lowest_bit(number: int) -> int:
    return (number & -number).bit_length() - 1
