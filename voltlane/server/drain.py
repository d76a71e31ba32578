"""How a server is emptied while it lives on: its clients go elsewhere, so many a second, and nobody comes any more.

    NOTICE     it is not ready, so that balancers send nobody here any more; who comes all the same is still taken
    LEAVING    who comes is sent away at once; with a rate, so many clients a second are told to come back elsewhere
    EMPTY      nobody is here; the server lives on, and its sessions wait for their clients
    IDLE       nothing of all that, or it was taken back

Whoever is told is retired (`lanes.connection`): its session waits, it hears that we send no more, and is read to its
end, or for a few seconds.
"""

from __future__ import annotations

from collections import deque

from ..core.bucket import TokenBucket
from ..core.link import Link
from ..core.readiness import Event, Readiness
from ..core.session import Session
from ..core.timers import Timer
from ..lanes.clients import Clients
from ..lanes.connection import ClientConnection
from ..lanes.entry.arrival import Arrivals
from ..lanes.entry.gate import Gate
from ..net.reactor import Reactor
from ..ops.log import log
from ..reasons import CloseReason, Symbol
from ..statistics import Draining
from ..trunk.trunk import Trunk

TURN_SECS = 0.02
"""Between two turns of telling clients: each costs 10 to 30 µs, and all others wait meanwhile."""
LOOK_SECS = 0.25
"""Where nobody has to be told."""
READ_SECS = 5.0
"""For a client that was told, until it has closed its side."""


class Step(Symbol):
    """How far it is."""

    IDLE = "not asked for"
    NOTICE = "balancers are given time to notice"
    LEAVING = "nobody comes, and clients go"
    EMPTY = "nobody is left"


class Drain:
    """One server's."""

    def __init__(
        self, reactor: Reactor, readiness: Readiness, clients: Clients, arrivals: Arrivals, gate: Gate, trunk: Trunk
    ) -> None:
        self._reactor = reactor
        self._readiness = readiness
        self._clients = clients
        self._arrivals = arrivals
        self._gate = gate
        self._trunk = trunk
        self.step = Step.IDLE
        self._rate = 0.0
        self._shut_at = 0.0
        self._told = 0
        self._bucket: TokenBucket | None = None
        self._line: deque[ClientConnection] = deque()  # who is to be told, in this order
        self._busy: deque[ClientConnection] = deque()  # the same, behind them: something waits to be written to these
        self._others: deque[Session] = deque()  # behind all of them: who is nothing but an address
        self._reading: deque[tuple[float, int]] = deque()  # until when, and by id: who was told, and is read
        self._timer: Timer | None = None

    @property
    def progress(self) -> Draining | None:
        """How far it is; None while it was not asked for."""
        if self.step is Step.IDLE:
            return None
        notice = max(0.0, self._shut_at - self._reactor.now) if self.step is Step.NOTICE else 0.0
        return Draining(self._rate, notice, self._told, self._left)

    @property
    def _left(self) -> int:
        registry = self._clients.hub.registry
        return len(registry.sessions) - registry.stale_count

    # ---- the operator

    def begin(self, rate: float, notice: float) -> None:
        """After so many seconds of notice, tell so many clients a second to go; 0: they stay until they leave. Asked
        for again, it goes by what was asked last; who is sent away already is not given notice again."""
        if self.step is Step.IDLE and self._readiness.leaving:
            return  # the server ends
        now, self._rate = self._reactor.now, rate
        self._bucket = TokenBucket(rate, max(2.0, 2 * rate * TURN_SECS), now) if rate else None
        if self.step is Step.IDLE:
            log.info("draining: clients are taken for another %g s; then %s", notice, plan(rate))
            self._told, self.step = 0, Step.NOTICE
            self._readiness.move(Event.DRAIN)
        else:
            log.info("draining: %s", plan(rate))
        if self.step is Step.NOTICE:
            self._shut_at = now + notice
        if self.step is not Step.EMPTY:
            self._go_on(now)

    def take_back(self) -> None:
        """Take clients again, and tell nobody any more. Who was told has been told."""
        if self.step is Step.IDLE:
            return
        log.info("not draining any more: clients are taken again, %d were told to go", self._told)
        self.end()
        self._gate.shut = None
        self._readiness.move(Event.RETURN)
        if self._trunk.connection is not None:
            self._readiness.move(Event.MASTER_UP)

    def end(self) -> None:
        """Nothing more is to be done for it: it was taken back, or the server ends. Who comes is treated as before."""
        self.step = Step.IDLE
        self._line.clear()
        self._busy.clear()
        self._others.clear()
        if self._timer is not None:
            self._reactor.cancel(self._timer)
            self._timer = None
        if self._reading:
            self._timer = self._reactor.call_later(READ_SECS, self._go_on)

    # ---- turn by turn

    def _go_on(self, now: float) -> None:
        if self._timer is not None:
            self._reactor.cancel(self._timer)
            self._timer = None
        if self.step is Step.NOTICE and now >= self._shut_at:
            self.step = Step.LEAVING
            self._gate.shut = CloseReason.DRAINED
            if self._bucket is not None:
                self._bucket.set(1.0, now)
        if self.step is Step.LEAVING:
            self._tell(now)
        self._read_to_the_end(now)
        if self.step is Step.LEAVING and not (self._left or self._arrivals or self._clients.retired):
            self.step = Step.EMPTY
            log.info("drained: %d clients were told to go elsewhere, and nobody is left", self._told)
            self._readiness.move(Event.EMPTY)
        wait = self._wait(now)
        if wait is not None:
            self._timer = self._reactor.call_later(wait, self._go_on)

    def _wait(self, now: float) -> float | None:
        if self.step is Step.NOTICE:
            return self._shut_at - now
        if self.step is Step.LEAVING:
            bucket = self._bucket
            missing = LOOK_SECS if bucket is None else (1.0 - bucket.tokens(now)) / bucket.rate
            return max(TURN_SECS, min(missing, LOOK_SECS))
        return LOOK_SECS if self._reading else None

    def _tell(self, now: float) -> None:
        """Retire as many as are due."""
        bucket = self._bucket
        while bucket is not None and bucket.tokens(now) >= 1.0 and (connection := self._next()) is not None:
            bucket.debit(1.0, now)
            self._told += 1
            self._reactor.guard(connection, connection.retire, CloseReason.DRAINED)
            if connection.sock is not None:
                self._reading.append((now + READ_SECS, connection.client_id))
        while bucket is not None and bucket.tokens(now) >= 1.0 and (link := self._next_other()) is not None:
            bucket.debit(1.0, now)
            self._told += 1
            self._reactor.guard(None, link.retire, CloseReason.DRAINED)

    def _next_other(self) -> Link | None:
        """Who has no connection to be told by: it is taken for nobody from now on."""
        if not self._others and not self._line and not self._busy and self._left:
            self._others.extend(self._clients.hub.registry.live())
        while self._others:
            link = self._others.popleft().link
            if link is not None and not link.is_stream:
                return link
        return None

    def _next(self) -> ClientConnection | None:
        """Who has yet to take something comes last: it may have done so by then. Behind them all, who has finished its
        handshake meanwhile."""
        if not self._line and not self._busy and self._left:
            self._line.extend(self._clients.connections)
        while self._line:
            connection = self._line.popleft()
            if connection.sock is not None and connection.outbox is not None:
                self._busy.append(connection)
            elif connection.sock is not None:
                return connection
        while self._busy:
            connection = self._busy.popleft()
            if connection.sock is not None:
                return connection
        return None

    def _read_to_the_end(self, now: float) -> None:
        """Close those whose time is over, and forget those that have closed."""
        reading, retired = self._reading, self._clients.retired
        if not retired:
            reading.clear()
        while reading and (reading[0][1] not in retired or now >= reading[0][0]):
            _, client_id = reading.popleft()
            if not self._clients.settle(client_id):  # there is no room for what it has sent
                reading.append((now + READ_SECS, client_id))


def plan(rate: float) -> str:
    """What is done, for the log."""
    if not rate:
        return "nobody comes, and who is here stays"
    return f"nobody comes, and {rate:g} clients a second are told to go elsewhere"
