"""A drain of several processes that are one server: the parent sends away who comes, and each worker has its share of
clients to tell. See `drain`."""

from __future__ import annotations

from typing import Protocol

from ..core.readiness import Event, Readiness
from ..core.timers import Timer
from ..lanes.entry.gate import Gate
from ..net.reactor import Reactor
from ..ops.log import log
from ..reasons import CloseReason
from ..statistics import Draining
from .drain import LOOK_SECS, plan


class Workers(Protocol):
    """Those of a server."""

    def drain(self, rate: float, notice: float, again: bool = True) -> None:
        """Tell all, or those that do not drain yet; so many clients a second of all together."""

    def take_back(self) -> None:
        """Tell all that it is over."""

    @property
    def left(self) -> int:
        """Connections that are there."""
        ...


class DrainOfAll:
    """One server's."""

    def __init__(self, reactor: Reactor, readiness: Readiness, gate: Gate, workers: Workers) -> None:
        self._reactor = reactor
        self._readiness = readiness
        self._gate = gate
        self._workers = workers
        self._rate = 0.0
        self._shut_at: float | None = None  # None: it was not asked for
        self._timer: Timer | None = None
        self.told = 0
        """Clients that were told, as far as workers have said so."""

    @property
    def progress(self) -> Draining | None:
        """See Subject."""
        if self._shut_at is None:
            return None
        return Draining(self._rate, max(0.0, self._shut_at - self._reactor.now), self.told, self._workers.left)

    def begin(self, rate: float, notice: float) -> None:
        """See Subject."""
        now = self._reactor.now
        if self._shut_at is None:
            if self._readiness.leaving:
                return
            log.info("draining: clients are taken for another %g s; then %s", notice, plan(rate))
            self._readiness.move(Event.DRAIN)
            self.told, self._shut_at = 0, now + notice
        else:
            log.info("draining: %s", plan(rate))
            if self._gate.shut is None:
                self._shut_at = now + notice
        self._rate = rate
        self._workers.drain(rate, max(0.0, self._shut_at - now))
        self._go_on(now)

    def remind(self) -> None:
        """A worker may have started since."""
        if self._shut_at is not None:
            self._workers.drain(self._rate, max(0.0, self._shut_at - self._reactor.now), again=False)

    def take_back(self) -> None:
        """See Subject."""
        if self._shut_at is None:
            return
        log.info("not draining any more: clients are taken again")
        self.end()
        self._gate.shut = None
        self._workers.take_back()
        self._readiness.move(Event.RETURN)

    def end(self) -> None:
        """Nothing more is to be done for it."""
        self._shut_at = None
        if self._timer is not None:
            self._reactor.cancel(self._timer)
            self._timer = None

    def _go_on(self, now: float) -> None:
        if self._timer is not None:
            self._reactor.cancel(self._timer)
            self._timer = None
        assert self._shut_at is not None
        if now < self._shut_at:
            self._timer = self._reactor.call_at(self._shut_at, self._go_on)
            return
        self._gate.shut = CloseReason.DRAINED
        if self._workers.left:
            self._timer = self._reactor.call_later(LOOK_SECS, self._go_on)
        else:
            log.info("drained: nobody is left")
            self._readiness.move(Event.EMPTY)
