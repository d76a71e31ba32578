"""All workers of one server, and the way of connections to them.

A connection goes to the worker that has the fewest. It is passed on at the end of the turn in which it was accepted,
with all others of that turn; one that its worker has not been sent when it dies goes to another.
"""

from __future__ import annotations

import math
import socket
import subprocess
import sys
from typing import Any, Callable, Protocol

from ...core.admission import Source
from ...core.readiness import State
from ...lanes.connection_log import ConnectionLog
from ...lanes.entry.stage import Stage
from ...lanes.lane import Lane
from ...net.reactor import Reactor
from ...net.sockets import reset_on_close
from ...ops.log import log
from ...reasons import CloseReason, Hold
from ...store.keys import Keys
from ..handover.notes import Note, note, note_at
from .arrivals import ANY, Lounge, Waiting
from .channel import Saying
from .datagrams import Groups
from .handles import Handles, split_handles
from .home import home_of
from .notes import (
    FORMAT,
    KINDS,
    Comer,
    Hello,
    Kind,
    decode_crossing,
    decode_leave,
    decode_numbers,
    encode_comer,
    encode_hello,
    encode_json,
)
from .succession import Succession
from .worker import MOST_UNANSWERED, Step, Worker

Launch = Callable[[int, socket.socket, "socket.socket | None"], "subprocess.Popen[bytes]"]
"""Starts the worker with that index, which gets this socket, and the second one if it is to follow another process.
Raises OSError."""


MOST_WAITING = 1 << 14


class Host(Protocol):
    """Whose workers they are."""

    def on_workers(self) -> None:
        """Something has changed about whether they take connections, or whether they are there."""

    def on_told(self, worker: Worker, found: Note) -> None:
        """One has said something for whoever looks at all of them."""

    def on_gone(self, worker: Worker) -> None:
        """One's process is gone."""


class Crew:
    """The workers. `first_node`: that of the first; `handshake_secs` may be changed."""

    def __init__(
        self,
        reactor: Reactor,
        host: Host,
        launch: Launch,
        connection_log: ConnectionLog,
        keys: Keys,
        count: int,
        first_node: int,
        watched: bool,
        handshake_secs: float,
        state_dir: str = "",
    ) -> None:
        self.reactor = reactor
        self._host = host
        self.launch = launch
        self._log = connection_log
        self._keys = keys
        self._first_node = first_node
        self._state_dir = state_dir
        self.watched = watched
        self.handshake_secs = handshake_secs
        self._numbers = 0  # of connections
        self._succession: Succession | None = None
        self.handles = Handles()
        """Whose the openings of version 3 are."""
        self.lounge = Lounge(reactor, self._late)
        self.most_waiting = MOST_WAITING
        """Connections that may wait in this process, each with a descriptor."""
        self.groups: Groups | None = None
        """The sockets for datagrams, if there are any."""
        self.workers = [Worker(self, index) for index in range(count)]

    def start(self) -> None:
        """Start all of them."""
        for worker in self.workers:
            worker.start()

    def new_worker(self, index: int) -> Worker:
        """See Succession."""
        return Worker(self, index)

    def upgrade(self) -> None:
        """Let each be followed by the program as it is now."""
        if self._succession is not None and self._succession.under_way:
            log.warning("the workers are being followed by others already")
        else:
            self._succession = Succession(self)

    def stop(self, at_once: bool) -> None:
        """Let all of them end; those that wait for one are closed."""
        if self._succession is not None:
            self._succession.end()
        for waiting in self.lounge.empty():
            self._close(waiting, CloseReason.SHUTDOWN)
        for worker in self.workers:
            worker.stop(at_once)

    def watch(self, patience: float) -> None:
        """Ask all again and again whether their loops turn, and end one that has not said so for so many seconds."""

        def look(now: float) -> None:
            for worker in self.workers:
                worker.ping()
            self.reactor.call_later(patience / MOST_UNANSWERED, look)

        look(self.reactor.now)

    def tell(self, kind: Kind) -> None:
        """Tell each that is there something short."""
        for worker in self.workers:
            worker.tell(kind)

    def drain(self, rate: float, notice: float, again: bool = True) -> None:
        """Have the clients of all of them leave, so many a second together; or only of those that do not do so yet."""
        words = encode_json([rate / len(self.workers), notice])
        for worker in self.workers:
            if worker.is_there and (again or worker.status.state not in (State.DRAINING, State.DRAINED)):
                worker.say(note(Kind.DRAIN, 0, words))

    def take_back(self) -> None:
        """Or not."""
        self.tell(Kind.TAKE_BACK)

    @property
    def left(self) -> int:
        """Connections that are there, or are on their way to a worker."""
        return len(self.lounge) + sum(len(worker.places) for worker in self.workers)

    # ---- how they are

    @property
    def serving(self) -> bool:
        """Whether all of them are there."""
        return all(worker.step is Step.SERVING for worker in self.workers)

    @property
    def over(self) -> bool:
        """Whether all of them have ended."""
        heirs = [worker.successor for worker in self.workers if worker.successor is not None]
        return all(worker.step is Step.ENDED for worker in (*self.workers, *heirs))

    @property
    def holds(self) -> set[Hold]:
        """Why none of them takes a connection; empty while one does."""
        if any(worker.takes for worker in self.workers):
            return set()
        return {hold for worker in self.workers for hold in worker.holds}

    def home_of(self, client_id: int) -> Worker:
        """The worker that a client's session is at, if it is anywhere."""
        return self.workers[home_of(client_id, self._first_node, len(self.workers))]

    # ---- connections on their way

    def take_in(self, sock: socket.socket, peer: str, source: Source, lane: Lane, first: Stage | None) -> None:
        """A connection that was let in: see Gate."""
        self._numbers += 1
        number = self._numbers
        comer = Comer(lane.name, peer, first is not None, int(sock.family))
        words = note(Kind.CONNECTION, number, encode_comer(comer))
        self._pass_on(Waiting(number, source, ANY, self.reactor.now + self.handshake_secs, words, sock))

    def _pass_on(self, waiting: Waiting) -> None:
        """To the one that has the fewest."""
        best, fewest = None, sys.maxsize
        for worker in self.workers:
            count = len(worker.places)
            if count < fewest and worker.takes:
                best, fewest = worker, count
        if best is None:
            self._let_wait(waiting)
            self._host.on_workers()
            return
        self._give(best, waiting)
        if fewest + 1 >= best.room:
            self._host.on_workers()

    def _give(self, worker: Worker, waiting: Waiting) -> None:
        worker.places.add(waiting.number, waiting.source)
        worker.say(waiting.words, waiting.sock)

    def _cross(self, worker: Worker, found: Note) -> None:
        """One worker has a connection whose session is at another one."""
        assert worker.channel is not None
        crossing = decode_crossing(found.data)
        sock = worker.channel.socket(crossing.family)
        refusal = worker.places.refusal_of(found.number)
        source = worker.places.take(found.number)
        if source is None:
            sock.close()
            return
        if crossing.home >= len(self.workers):
            refusal = CloseReason.INTERNAL_ERROR
        deadline = min(crossing.deadline, self.reactor.now + self.handshake_secs)
        words = note(Kind.ARRIVAL, found.number, found.data)
        waiting = Waiting(found.number, source, crossing.home, deadline, words, sock)
        if refusal is not None:
            self._close(waiting, refusal)
        else:
            self._bring(self.workers[crossing.home], waiting)

    def _bring(self, home: Worker, waiting: Waiting) -> None:
        if home.hears:
            self._give(home, waiting)
        elif home.step in (Step.STOPPING, Step.ENDED):
            self._close(waiting, CloseReason.SHUTDOWN)
        else:
            self._let_wait(waiting)

    def _let_wait(self, waiting: Waiting) -> None:
        if len(self.lounge) < self.most_waiting:
            self.lounge.add(waiting)
        else:
            self._close(waiting, CloseReason.SERVER_FULL)

    def _late(self, waiting: Waiting) -> None:
        whom = "a worker" if waiting.home == ANY else f"worker {waiting.home}"
        self._close(waiting, CloseReason.HANDSHAKE_TIMEOUT, f"waited for {whom}")

    def _close(self, waiting: Waiting, reason: CloseReason, detail: str = "") -> None:
        """Nothing of this is held against its address: it is not its fault, or was held against it already."""
        reset_on_close(waiting.sock)  # an end in order would tell a client that its session is gone
        waiting.sock.close()
        waiting.source.left(CloseReason.INTERNAL_ERROR, False, math.inf, self.reactor.now)
        self._log.closed(reason, 0, "a connection on its way to a worker", detail)

    # ---- what workers say: see worker.Crew

    def hello(self, index: int) -> bytes:
        """See worker.Crew."""
        hello = Hello(index, len(self.workers), self.watched, self._keys, self._first_node, self._state_dir)
        if self.groups is not None:
            hello = hello._replace(datagrams=self.groups.mode, ports=len(self.groups.of(index)))
        return note(Kind.HELLO, FORMAT, encode_hello(hello))

    def ports(self, index: int) -> list[socket.socket]:
        """See worker.Crew."""
        return [] if self.groups is None else self.groups.of(index)

    def heard(self, worker: Worker, found: Note) -> None:
        """See worker.Crew."""
        kind, number, places = found.kind, found.number, worker.places
        if kind is Kind.GREETED:
            places.greeted(number)
        elif kind is Kind.LEFT:
            leave = decode_leave(found.data)
            was_full = len(places) >= worker.room
            places.left(number, leave.reason, leave.greeted, leave.lifetime, self.reactor.now)
            if was_full and len(places) < worker.room:
                self.changed(worker)
        elif kind is Kind.CLAIMED:
            refusal = places.claimed(number, found.data, self.reactor.now)
            if refusal is not None:
                worker.say(note(Kind.CLOSE, number, refusal.name.encode()))
        elif kind is Kind.ARRIVAL:
            self._cross(worker, found)
        elif kind is Kind.KEPT:
            worker.kept = set(decode_numbers(found.data))
        elif kind is Kind.WHOSE:
            homes = bytes([self.handles.claim(handle, worker.index) for handle in split_handles(found.data)])
            worker.say(note(Kind.THEIRS, number, homes))
        elif kind is Kind.HELD:
            for handle in split_handles(found.data):
                self.handles.have(handle, worker.index)
        elif kind is Kind.DONE:
            for handle in split_handles(found.data):
                self.handles.done(handle)
        else:
            self._host.on_told(worker, found)

    def changed(self, worker: Worker) -> None:
        """See worker.Crew."""
        if self._succession is not None:
            self._succession.look()
        if worker.hears:
            for waiting in self.lounge.take(worker.index):
                self._bring(worker, waiting)
        if worker.takes:
            for waiting in self.lounge.take(ANY):
                self._pass_on(waiting)
        self._host.on_workers()

    def lost(self, worker: Worker, unsent: list[Saying]) -> None:
        """See worker.Crew."""
        for words, sock in unsent:
            if sock is None:
                continue
            found, _ = note_at(words, 0, KINDS)
            is_connection = found.kind in (Kind.CONNECTION, Kind.ARRIVAL)
            source = worker.places.take(found.number) if is_connection else None
            if source is None:
                sock.close()
            elif found.kind is Kind.CONNECTION:
                deadline = self.reactor.now + self.handshake_secs
                self._pass_on(Waiting(found.number, source, ANY, deadline, words, sock))
            else:
                crossing = decode_crossing(found.data)
                waiting = Waiting(found.number, source, crossing.home, crossing.deadline, words, sock)
                self._bring(self.workers[crossing.home], waiting)
        if worker.successor is None:
            self._lose(worker)
        elif worker.successor.places is worker.places:  # its connections are there
            self._host.on_gone(worker)

    def follow(self, old: Worker, new: Worker) -> None:
        """See Succession."""
        self.workers[old.index] = new
        new.places = old.places
        new.places.keep(new.kept, self.reactor.now)
        if old.process is None:
            old.step = Step.ENDED
            self._host.on_gone(old)
        else:
            old.step = Step.STOPPING  # by itself: it has nothing left

    def give_up(self, worker: Worker) -> None:
        """See Succession."""
        worker.start_again()
        self._lose(worker)

    def _lose(self, worker: Worker) -> None:
        gone = worker.places.lose(self.reactor.now)
        if gone and worker.step is not Step.ENDED:
            log.warning("worker %d had %d connections, which are gone with it", worker.index, gone)
        self._host.on_gone(worker)

    # ---- what they are asked

    def ask(self, worker: Worker, what: str, then: Callable[[Any], None], **values: Any) -> None:
        """See Worker."""
        worker.ask(what, values, then)
