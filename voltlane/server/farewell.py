"""How a server that was asked to stop ends: nobody is taken on any more, and what is on its way arrives.

    WRITING    what clients and master have not taken yet is written; clients are still read
    READING    each client is told that we send no more, and read to its end: what it had sent by then is taken
    SENDING    that goes to the master
    HEARD      the master is told that we send no more, and has a moment to read it all and close its side
    RELAYING   what goes through here to other processes, which may be ending too, has what is left of the time
    DONE

Each step ends when its condition holds, or when its share of `general.shutdown_secs` is over.
"""

from __future__ import annotations

import enum
from collections.abc import Sized
from typing import Callable

from ..lanes.clients import Clients
from ..net.reactor import Reactor
from ..trunk.trunk import Trunk

_LOOK_SECS = 0.05
QUIET_SECS = 0.25
"""Clients that have sent nothing for so long since they were told may not have noticed, and will not say more."""


class Step(enum.Enum):
    """Where the ending is, and the part of the time that it may take."""

    WRITING = 0.6
    READING = 0.16
    SENDING = 0.14
    HEARD = 0.1
    RELAYING = 1.0
    DONE = 0.0


_NEXT = {
    Step.WRITING: Step.READING,
    Step.READING: Step.SENDING,
    Step.SENDING: Step.HEARD,
    Step.HEARD: Step.RELAYING,
    Step.RELAYING: Step.DONE,
}


class Farewell:
    """One server's ending within `seconds`. `on_reading()` is called before clients are told, `on_done()` behind it."""

    def __init__(
        self,
        reactor: Reactor,
        clients: Clients,
        trunk: Trunk,
        seconds: float,
        on_reading: Callable[[], None],
        on_done: Callable[[], None],
        relays: Sized = (),
    ) -> None:
        self._reactor = reactor
        self._clients = clients
        self._trunk = trunk
        self._relays = relays
        self._seconds, self._began = seconds, reactor.now
        self._on_reading = on_reading
        self._on_done = on_done
        self._heard = 0  # packets that the trunk had been given at the last look
        self._quiet_since = 0.0
        self._enter(Step.WRITING)

    def _enter(self, step: Step) -> None:
        self._step = step
        begins = self._began if step is Step.RELAYING else self._reactor.now
        self._deadline = begins + step.value * self._seconds
        if step is Step.READING:
            self._on_reading()
            self._clients.retire()
            self._quiet_since = self._reactor.now
        elif step is Step.SENDING:
            self._clients.hear_out()
        elif step is Step.HEARD:
            self._trunk.half_close()
        if step is Step.DONE:
            self._on_done()
        else:
            self._look(self._reactor.now)

    def _look(self, now: float) -> None:
        if not self._waiting(now) or now >= self._deadline:
            self._enter(_NEXT[self._step])
        else:
            self._reactor.call_at(min(now + _LOOK_SECS, self._deadline), self._look)

    def _waiting(self, now: float) -> bool:
        if self._step is Step.WRITING:
            return self._trunk.unwritten or self._clients.unwritten
        if self._step is Step.READING:
            return bool(self._clients.retired) and not self._quiet(now)
        if self._step is Step.SENDING:
            return self._trunk.unwritten
        if self._step is Step.RELAYING:
            return len(self._relays) > 0
        return self._trunk.connection is not None

    def _quiet(self, now: float) -> bool:
        if self._trunk.pushed != self._heard or self._clients.turns.paused:
            self._heard, self._quiet_since = self._trunk.pushed, now
        return now - self._quiet_since >= QUIET_SECS
