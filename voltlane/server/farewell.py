"""How a server that was asked to stop ends: nothing more is taken on, and what is queued goes out.

    WRITING    what clients and master have not taken yet is written
    HEARD      the master is told that we send no more, and has a moment to read it all and close its side
    DONE

Each step ends when its condition holds, or when its share of `general.shutdown_secs` is over.
"""

from __future__ import annotations

import enum
from typing import Callable

from ..lanes.clients import Clients
from ..net.reactor import Reactor
from ..trunk.trunk import Trunk

_LOOK_SECS = 0.05


class Step(enum.Enum):
    """Where the ending is, and the part of the time that it may take."""

    WRITING = 0.9
    HEARD = 0.1
    DONE = 0.0


class Farewell:
    """One server's ending within `seconds`; `on_done()` is called once, behind it."""

    def __init__(
        self, reactor: Reactor, clients: Clients, trunk: Trunk, seconds: float, on_done: Callable[[], None]
    ) -> None:
        self._reactor = reactor
        self._clients = clients
        self._trunk = trunk
        self._seconds = seconds
        self._on_done = on_done
        self._enter(Step.WRITING)

    def _enter(self, step: Step) -> None:
        self._step = step
        self._deadline = self._reactor.now + step.value * self._seconds
        if step is Step.HEARD:
            self._trunk.half_close()
        if step is Step.DONE:
            self._on_done()
        else:
            self._look(self._reactor.now)

    def _look(self, now: float) -> None:
        if not self._waiting() or now >= self._deadline:
            self._enter(Step.HEARD if self._step is Step.WRITING else Step.DONE)
        else:
            self._reactor.call_at(min(now + _LOOK_SECS, self._deadline), self._look)

    def _waiting(self) -> bool:
        if self._step is Step.WRITING:
            return self._trunk.unwritten or self._clients.unwritten
        return self._trunk.connection is not None
