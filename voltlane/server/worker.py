"""A server that is one of several: it gets its connections from a parent, and listens nowhere itself."""

from __future__ import annotations

import math
import os
import signal
import socket
from collections.abc import Iterable
from typing import Any, Callable

from ..address import parse_listener
from ..cluster.handover.arrivals import decode_arrival, encode_arrival
from ..cluster.handover.giver import Child
from ..cluster.handover.heritage import Heritage
from ..cluster.handover.taker import Taker
from ..cluster.workers.claims import Claim, Claims
from ..cluster.workers.elsewhere import Elsewheres
from ..cluster.workers.handles import join_handles
from ..cluster.workers.home import home_of
from ..cluster.workers.notes import Comer, Crossing, Status
from ..cluster.workers.parent import Parent
from ..cluster.workers.sibling import Sibling
from ..config import Config
from ..core.readiness import State
from ..core.timers import Timer
from ..lanes.connection import ClientConnection
from ..lanes.entry.arrival import Arrival
from ..lanes.entry.moved import MovedArrival
from ..lanes.table import LANES
from ..net.reactor import Reactor
from ..net.sockets import raise_descriptor_limit, reset_on_close
from ..ops.log import log
from ..reasons import CloseReason, Hold
from ..store.records import Damaged
from .listening import Kept, encrypts
from .oversight import Oversight
from .parts import Part
from .reports import Answers, Reports
from .server import Server
from .upgrade import Upgrade, heir_of

DESCRIPTORS_OF_RELAY = 2
ROOM_STEP = 32
"""Connections that there is more room for, or less, before the parent is told."""

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
        openings = self.registry.openings
        self._elsewheres = Elsewheres(self.reactor, parent.hello.which, self._home_of, self, openings)
        self.registry.whereabouts = self._elsewheres
        self._room = self._room_at_first = 0  # connections that may come, as the parent knows it
        self.arrivals.relays.on_count = self._look_at_room
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
        self._reports: Reports | None = None
        if parent.hello.watched:
            self._reports = reports = Reports(self, self.observer, parent.mention)
            oversight = Oversight(self.readiness, self.observer, reports.timeline, self.expel, self.drain)
            self._answers = Answers(self.reactor, oversight)
            self.connection_log.watcher = reports

    @staticmethod
    def heir_at(config: Config, taker: Taker, parent: Parent) -> WorkerServer:
        """A worker that is to `take_over` what another process has. Raises StartupError."""
        return heir_of(taker, config, lambda heritage: WorkerServer(config, parent, heritage))

    # ---- life

    def start(self, listening: Iterable[tuple[str, socket.socket]] = (), kept: Kept | None = None) -> None:
        """See Server: the parent listens."""
        self.entrance.limit_descriptors(raise_descriptor_limit())
        if encrypts(map(parse_listener, self.config.listener.address)):
            self.certificates.load()
        if self.parent.ports:
            self.have_datagrams(self.config.udp.mode)
        if self.datagrams is not None:
            self.datagrams.adopt([("", sock) for sock in self.parent.ports])
        self.store.begin()
        self._is_open = True

    def have_datagrams(self, mode: str) -> None:
        """See Parts. The others have the same address."""
        super().have_datagrams(mode)
        assert self.datagrams is not None
        self.datagrams.share = self.parent.hello.which, self.parent.hello.workers

    def take_over(self, taker: Taker) -> None:
        """See Server."""
        for sock in self.parent.ports:  # which come from the other process, with what goes on there
            sock.close()
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
        self.tell_openings()
        self.parent.say_kept(self._claims.kept)
        self._room = self._room_at_first = self.entrance.room
        self.parent.ready(self._room)
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
        if self._reports is not None:
            self._reports.say_counts()
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
            self._give_up(claim, sock, CloseReason.SHUTDOWN)
            return
        self.gate.let_in(sock, comer.peer, claim, lane, comer.has_header)

    def receive(self, number: int, crossing: Crossing, sock: socket.socket) -> None:
        """See Host."""
        claim = self._claims.claim(number)
        try:
            moved = decode_arrival(crossing.data)
        except Damaged as error:
            log.error("a connection is lost on its way from another worker: %s", error)
            self._give_up(claim, sock, CloseReason.INTERNAL_ERROR)
            return
        if self.stopping:
            self._give_up(claim, sock, CloseReason.SHUTDOWN)
        else:
            self.arrivals.take_in(moved, sock, claim, LANES[moved.lane])

    def _give_up(self, claim: Claim, sock: socket.socket, reason: CloseReason) -> None:
        """One that has come, and cannot stay. An end in order would tell its client that its session is gone."""
        reset_on_close(sock)
        sock.close()
        self.counters.closed[reason] += 1
        claim.left(reason, False, math.inf, self.reactor.now)

    def refuse(self, number: int, reason: CloseReason) -> None:
        """See Host. One look for all that are refused in a turn: looking for each would cost more than letting them
        in."""
        if not self._refused:
            self.reactor.call_soon(self._close_refused)
        self._refused[number] = reason

    def _close_refused(self) -> None:
        refused, self._refused = self._refused, {}
        _close_those(refused, self.arrivals)
        if refused:  # most had no session yet, and of those there are few
            _close_those(refused, self.clients.connections)

    def stop_as_told(self, at_once: bool) -> None:
        """See Host."""
        if not self.stopping:
            self._on_stop()
        if at_once:
            self.reactor.stop()

    def have_clients_leave(self, rate: float, notice: float) -> None:
        """See Host."""
        self.drain.begin(rate, notice)

    def keep_clients(self) -> None:
        """See Host."""
        self.drain.take_back()

    def answer(self, question: Any, then: Callable[[Any], None]) -> None:
        """See Host."""
        if self._answers is None:
            then(None)
        else:
            self._answers.answer(question, then)

    def hand_over(self, pid: int, descriptor: int) -> None:
        """See Host."""
        self.handing_over.give_to(socket.socket(fileno=descriptor), Sibling(pid))

    # ---- sessions that are elsewhere: see cluster.workers.elsewhere.Way

    def tell_openings(self) -> None:
        """To a parent that knows of none: which there are here."""
        openings = self.registry.openings
        done = openings.confirmed()
        self.parent.say_held(join_handles([*done, *openings.unconfirmed()]))
        self.parent.say_done(join_handles(done))

    def _home_of(self, client_id: int) -> int:
        hello = self.parent.hello
        return home_of(client_id, self.config.general.node - hello.which, hello.workers)

    def pass_on(self, home: int, moved: MovedArrival, sock: socket.socket) -> None:
        """See Way."""
        deadline = moved.since + self.config.clients.handshake_secs
        crossing = Crossing(home, int(sock.family), deadline, encode_arrival(moved))
        self.parent.pass_on(int.from_bytes(moved.source, "big"), crossing, sock)

    def ask_whose(self, number: int, handles: bytes) -> None:
        """See Way."""
        self.parent.ask_whose(number, handles)

    def say_done(self, handles: bytes) -> None:
        """See Way."""
        self.parent.say_done(handles)

    def on_theirs(self, number: int, homes: bytes) -> None:
        """See Host."""
        self._elsewheres.told(number, homes)

    def _look_at_room(self) -> None:
        """What is relayed has descriptors here, but is another worker's."""
        room = max(0, self._room_at_first - DESCRIPTORS_OF_RELAY * len(self.arrivals.relays))
        if abs(room - self._room) >= ROOM_STEP:
            self._room = room
            self.parent.ready(room)


def _close_those(refused: dict[int, CloseReason], ones: Iterable[Arrival | ClientConnection]) -> None:
    """Close those that are refused, and take them out of that."""
    for one in ones:
        reason = None if one.source is None else refused.pop(int.from_bytes(one.source.key, "big"), None)
        if reason is not None:
            one.close(reason)


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
