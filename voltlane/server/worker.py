"""A server that is one of several: it gets its connections from a parent, and listens nowhere itself."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterable
from typing import Any, Callable

from ..address import parse_listener
from ..cluster.handover.giver import Child
from ..cluster.handover.heritage import Heritage
from ..cluster.handover.taker import Taker
from ..cluster.workers.claims import Claims
from ..cluster.workers.home import node_of
from ..cluster.workers.notes import Comer, Crossing, Status
from ..cluster.workers.parent import Parent
from ..cluster.workers.sibling import Sibling
from ..config import Config
from ..core.admission import Source
from ..core.readiness import State
from ..core.timers import Timer
from ..lanes.table import LANES
from ..net.reactor import Reactor
from ..net.sockets import raise_descriptor_limit, reset_on_close
from ..ops.log import log
from ..reasons import CloseReason, Hold
from .listening import encrypts
from .oversight import Oversight
from .parts import Part
from .reports import Answers, Reports
from .server import Server
from .upgrade import Upgrade, heir_of

LEISURE_SECS = 0.05
_PASSING = frozenset([Hold.CROWD])
"""Reasons to take nobody that are over in a moment, mostly."""


class WorkerServer(Server):
    """One worker. `config`: its share (`cluster.workers.share`)."""

    def __init__(self, config: Config, parent: Parent, heritage: Heritage | None = None) -> None:
        self.parent = parent
        reactor = Reactor()
        self._claims = Claims(config.limits, reactor, parent.say)
        super().__init__(config, reactor=reactor, heritage=heritage, part=Part(parent.hello.keys, self._claims))
        self.upgrade = self.handing_over = _Succeeded(self)
        self._refused: dict[int, CloseReason] = {}
        self._is_open = False
        self._status = Status(State.STARTING, frozenset())  # as the parent has been told
        self._telling: Timer | None = None
        self.told = 0
        """Which status that was."""
        self.entrance.on_holds = self._tell
        self.readiness.watchers.append(self._tell)
        self._answers: Answers | None = None
        if parent.hello.watched:
            reports = Reports(self, self.observer, parent.say)
            oversight = Oversight(self.readiness, self.observer, reports.timeline, self.expel, self.drain)
            self._answers = Answers(self.reactor, oversight)
            self.connection_log.watcher = reports

    @staticmethod
    def heir_at(config: Config, taker: Taker, parent: Parent) -> WorkerServer:
        """A worker that is to `take_over` what another process has. Raises StartupError."""
        return heir_of(taker, config, lambda heritage: WorkerServer(config, parent, heritage))

    # ---- life

    def start(self, listening: Iterable[tuple[str, socket.socket]] = ()) -> None:
        """See Server: the parent listens."""
        self.entrance.limit_descriptors(raise_descriptor_limit())
        if encrypts(map(parse_listener, self.config.listener.address)):
            self.certificates.load()
        self.store.begin()
        self._is_open = True

    def take_over(self, taker: Taker) -> None:
        """See Server."""
        super().take_over(taker)
        self._is_open = True

    @property
    def is_open(self) -> bool:
        """See Server."""
        return self._is_open

    def _introduce(self) -> None:
        """See Server: the parent has said the most of it."""
        log.info("here as process %d, node %d", os.getpid(), self.config.general.node)
        self.parent.attach(self.reactor, self)
        self.parent.ready(self.entrance.room)
        self._tell_now(self.reactor.now)

    def _signals(self) -> dict[int, Callable[[], None]]:
        """See Server. What a terminal or a service manager sends to all processes at once the parent passes on in its
        own time, and a second one of them is no second request."""
        return {
            signal.SIGTERM: lambda: self.stop_as_told(False),
            signal.SIGINT: lambda: self.stop_as_told(False),
            signal.SIGHUP: _nothing,
            signal.SIGUSR1: self.log_state,
            signal.SIGUSR2: _nothing,
        }

    def run(self) -> int:
        """See Server."""
        code = super().run()
        self._claims.flush()
        self.parent.flush()
        return code

    def _tell(self) -> None:
        """How this worker is, for the parent: at leisure, where it is only that too many handshakes are in line, which
        comes and goes many times a second."""
        others = frozenset(self.entrance.holds) ^ self._status.holds
        if others <= _PASSING and self.readiness.state is self._status.state:
            if self._telling is None:
                self._telling = self.reactor.call_later(LEISURE_SECS, self._tell_now)
        else:
            self._tell_now(self.reactor.now)

    def _tell_now(self, now: float) -> None:
        if self._telling is not None:
            self.reactor.cancel(self._telling)
            self._telling = None
        status = Status(self.readiness.state, frozenset(self.entrance.holds))
        if status != self._status and self.parent.is_attached:
            self._status = status
            self.told = self.parent.status(status)

    @property
    def is_heeded(self) -> bool:
        """Whether the parent knows how this worker is, and all that it has passed on before that has come."""
        return self.parent.heeded >= self.told

    # ---- what the parent says: see cluster.workers.parent.Host

    def take_in(self, number: int, comer: Comer, sock: socket.socket) -> None:
        """See Host."""
        claim = self._claims.claim(number)
        lane = LANES.get(comer.lane)
        if self.stopping or lane is None:
            reset_on_close(sock)
            sock.close()
            claim.left(CloseReason.SHUTDOWN, False, 0.0, self.reactor.now)
            return
        self.gate.let_in(sock, comer.peer, claim, lane, comer.has_header)

    def is_elsewhere(self, client_id: int) -> bool:
        """Whether a session, if there is one, is another worker's."""
        hello = self.parent.hello
        place = node_of(client_id) - (self.config.general.node - hello.which)
        return 0 <= place < hello.workers and place != hello.which

    def pass_on(self, source: Source, sock: socket.socket, client_id: int, deadline: float, data: bytes) -> None:
        """Let the worker that has this client's session go on with a connection in its handshake, of which nobody here
        knows any more: with these bytes, until then. The socket is not this worker's from then on."""
        number = int.from_bytes(source.key, "big")
        self.parent.pass_on(number, Crossing(client_id, int(sock.family), deadline, data), sock)

    def receive(self, number: int, crossing: Crossing, sock: socket.socket) -> None:
        """See Host."""
        reset_on_close(sock)
        sock.close()
        self._claims.claim(number).left(CloseReason.UNKNOWN_SESSION, False, 0.0, self.reactor.now)

    def refuse(self, number: int, reason: CloseReason) -> None:
        """See Host. One look for all that are refused in a turn: looking for each would cost more than letting them
        in."""
        if not self._refused:
            self.reactor.call_soon(self._close_refused)
        self._refused[number] = reason

    def _close_refused(self) -> None:
        refused, self._refused = self._refused, {}
        for one in (*self.arrivals, *self.clients.connections):
            if one.source is not None:
                reason = refused.get(int.from_bytes(one.source.key, "big"))
                if reason is not None:
                    one.close(reason)

    def stop_as_told(self, at_once: bool) -> None:
        """See Host."""
        if not self.stopping:
            self._on_stop()
        if at_once:
            self.reactor.stop()

    def answer(self, question: Any, then: Callable[[Any], None]) -> None:
        """See Host."""
        if self._answers is None:
            then(None)
        else:
            self._answers.answer(question, then)

    def hand_over(self, pid: int, descriptor: int) -> None:
        """See Host."""
        self.handing_over.give_to(socket.socket(fileno=descriptor), Sibling(pid))


class _Succeeded(Upgrade):
    """A worker's: it is the parent that starts the process which is to follow."""

    def __init__(self, server: WorkerServer) -> None:
        super().__init__(server, _nobody, lambda: None)
        self._server = server

    @property
    def settled(self) -> bool:
        """See Host of the giver: nobody is on the way here any more."""
        return super().settled and self._server.is_heeded


def _nobody(theirs: socket.socket) -> Child:
    raise OSError("a worker starts nobody")


def _nothing() -> None:
    """It is for the parent."""
