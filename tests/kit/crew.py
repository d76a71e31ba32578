"""A crew whose workers are no processes: a test has the other end of each one's channel, and says what they say."""

from __future__ import annotations

import signal
import socket
from typing import Any

from voltlane.cluster.handover.notes import Note, note
from voltlane.cluster.handover.wire import Wire
from voltlane.cluster.workers.crew import Crew
from voltlane.cluster.workers.notes import KINDS, Kind, Status, encode_status
from voltlane.cluster.workers.worker import Worker
from voltlane.config import Limits
from voltlane.core.admission import Admission, Source
from voltlane.core.counters import Counters
from voltlane.core.readiness import State
from voltlane.lanes.connection_log import ConnectionLog
from voltlane.lanes.table import TCP
from voltlane.net.reactor import Reactor
from voltlane.reasons import CloseReason, Hold
from voltlane.store.keys import new_keys

KEYS = new_keys()


class FakeProcess:
    """In place of a Popen."""

    def __init__(self, pid: int, sock: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.wire = Wire(sock.dup(), KINDS)
        self.heard: list[Note] = []

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        assert number == signal.SIGKILL
        self.returncode = -number

    def say(self, kind: Kind, number: int = 0, data: bytes = b"", descriptor: int = -1) -> None:
        """The worker says this."""
        self.wire.allow(5)
        self.wire.say(note(kind, number, data), descriptor)
        self.wire.flush()

    def status(self, *holds: Hold) -> None:
        self.say(Kind.STATUS, 1, encode_status(Status(State.READY, frozenset(holds))))

    def listen(self) -> list[Note]:
        """All that it was told since the last time."""
        self.wire.receive_now()
        found = []
        while (said := self.wire.note_now()) is not None:
            found.append(said)
        self.heard += found
        return found

    def told(self, kind: Kind) -> list[Note]:
        self.listen()
        return [said for said in self.heard if said.kind is kind]

    def end(self, code: int = 0) -> None:
        self.returncode = code
        self.wire.close()


class CrewWorld:
    """A crew, and the clock's reactor; it is the host of both."""

    def __init__(self, count: int = 2, limits: Limits | None = None, room: int = 1000, first_node: int = 0) -> None:
        self.room = room
        self.now = 1000.0
        self.reactor = Reactor(clock=lambda: self.now)
        self.counters = Counters()
        self.admission = Admission(limits or Limits())
        self.processes: list[FakeProcess] = []
        self.gone: list[int] = []
        self.told: list[Note] = []
        self.looks = 0
        self.crew = Crew(
            self.reactor,
            self,
            self.launch,
            ConnectionLog(self.reactor, self.counters),
            KEYS,
            count,
            first_node,
            False,
            5.0,
        )
        self._others: list[socket.socket] = []

    def __enter__(self) -> CrewWorld:
        self.crew.start()
        self.turn()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.end()
        self.crew.stop(True)
        for _ in range(3):
            self.turn()
        for sock in self._others:
            sock.close()
        self.reactor.close()

    def launch(self, index: int, theirs: socket.socket, heir: socket.socket | None) -> Any:
        self.processes.append(FakeProcess(100 + index, theirs))
        return self.processes[-1]

    def on_workers(self) -> None:
        self.looks += 1

    def on_told(self, worker: Worker, found: Note) -> None:
        self.told.append(found)

    def on_gone(self, worker: Worker) -> None:
        self.gone.append(worker.index)

    # ---- what happens

    def turn(self, seconds: float = 0.0) -> None:
        """Some turns, after so long."""
        self.now += seconds
        for _ in range(4):
            self.reactor.turn(0)

    def serve(self, *indices: int) -> None:
        """These are ready."""
        for index in indices or range(len(self.crew.workers)):
            self.processes[index].say(Kind.READY, self.room)
            self.processes[index].status()
        self.turn()

    def come(self, packed: bytes = b"\x7f\0\0\1") -> socket.socket:
        """A connection comes; its client's end."""
        ours, theirs = socket.socketpair()
        self._others.append(theirs)
        source = self.admission.admit(packed, self.now)
        assert isinstance(source, Source), source
        self.crew.take_in(ours, "somebody", source, TCP, None)
        return theirs

    @property
    def counts(self) -> list[int]:
        return [len(worker.places) for worker in self.crew.workers]

    def closed(self, reason: CloseReason) -> int:
        return self.counters.closed[reason]
