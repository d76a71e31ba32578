"""Connections that wait for the worker that has their session, which is not there for the moment, or for any that takes
one: until there is one, but no longer than a handshake may take.
"""

from __future__ import annotations

import socket
from typing import Callable, NamedTuple

from ...core.admission import Source
from ...core.timers import Timer
from ...net.reactor import Reactor

ANY = -1
"""In place of a worker's index: whichever takes it."""


class Waiting(NamedTuple):
    """One of them."""

    number: int
    source: Source
    home: int
    """The worker's index; or ANY."""
    deadline: float
    words: bytes
    """The note that it is passed on with."""
    sock: socket.socket


class Lounge:
    """All of them. `on_late(waiting)` gets each whose time is over."""

    def __init__(self, reactor: Reactor, on_late: Callable[[Waiting], None]) -> None:
        self._reactor = reactor
        self._on_late = on_late
        self._waiting: dict[int, Waiting] = {}
        self._timer: Timer | None = None
        self._look_at = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiting: Waiting) -> None:
        """Let it wait."""
        self._waiting[waiting.number] = waiting
        if self._timer is None or waiting.deadline < self._look_at:
            self._look_again(waiting.deadline)

    def take(self, home: int) -> list[Waiting]:
        """Those that have waited for this worker, the first first."""
        found = [waiting for waiting in self._waiting.values() if waiting.home == home]
        for waiting in found:
            del self._waiting[waiting.number]
        return found

    def empty(self) -> list[Waiting]:
        """Nobody waits any more: those who did."""
        found = list(self._waiting.values())
        self._waiting.clear()
        if self._timer is not None:
            self._reactor.cancel(self._timer)
            self._timer = None
        return found

    def _look(self, now: float) -> None:
        self._timer = None
        for waiting in list(self._waiting.values()):
            if waiting.deadline <= now:
                self._late(waiting)
        if self._waiting:
            deadline = min(waiting.deadline for waiting in self._waiting.values())
            self._look_again(deadline)

    def _look_again(self, deadline: float) -> None:
        if self._timer is not None:
            self._reactor.cancel(self._timer)
        self._look_at = deadline
        self._timer = self._reactor.call_at(deadline, self._look)

    def _late(self, waiting: Waiting) -> None:
        del self._waiting[waiting.number]
        self._on_late(waiting)
