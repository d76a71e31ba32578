"""One worker, as its parent sees it: a process that is started, and started again when it ends by itself.

    STARTING ──ready──▶ SERVING
        ▲ │                │
        │ └───────ended────┤                        from any of them:  stop ▶ STOPPING ──ended──▶ ENDED
      pause                ▼
        └──────────── RESTING

The first pause is none, the next is a second, and each is twice the one before up to half a minute; a worker that ran a
minute begins anew.
"""

from __future__ import annotations

import signal
import socket
import subprocess
from typing import Any, Callable, Protocol

from ...core.readiness import State
from ...core.timers import Timer
from ...net.reactor import Reactor
from ...ops.log import log
from ...reasons import Hold, Symbol
from ..handover.notes import Note, note
from ..handover.wire import Wire
from .channel import Channel, Saying
from .notes import KINDS, Kind, Status, decode_json, decode_status, encode_json
from .places import Places

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
LONG_ENOUGH = 60.0
"""Seconds for which a worker has to run, so that its end is the first one again."""
LAST_SECS = 3.0
"""For a process that has closed its end to be gone."""
LOOK_SECS = 0.02
MOST_UNANSWERED = 3
"""Pings, until a worker is taken for stuck."""


class Step(Symbol):
    """Where it is."""

    STARTING = "starting"
    SERVING = "serving"
    RESTING = "waiting to be started again"
    STOPPING = "stopping"
    ENDED = "ended"


class Crew(Protocol):
    """Whose worker it is."""

    reactor: Reactor

    def launch(self, index: int, theirs: socket.socket, heir: socket.socket | None) -> subprocess.Popen[bytes]:
        """Start the process, which gets that socket; and another one, where it is to follow another process. Raises
        OSError."""
        ...

    def hello(self, index: int) -> bytes:
        """The first note for it."""
        ...

    def ports(self, index: int) -> list[socket.socket]:
        """Those for datagrams that it is to have."""
        ...

    def heard(self, worker: Worker, found: Note) -> None:
        """It has said something that is not about itself."""

    def changed(self, worker: Worker) -> None:
        """It takes connections, or does not, or has ended."""

    def lost(self, worker: Worker, unsent: list[Saying]) -> None:
        """Its process is gone, and what was said to it and not sent."""


class Worker:
    """One of them."""

    def __init__(self, crew: Crew, index: int) -> None:
        self._crew = crew
        self._reactor = crew.reactor
        self.index = index
        self.step = Step.RESTING
        self.process: subprocess.Popen[bytes] | None = None
        self.channel: Channel | None = None
        self.places = Places()
        self.status = Status(State.STARTING, frozenset())
        """As it has said last."""
        self.room = 0
        """Connections that it can have."""
        self.kept: set[int] = set()
        """Connections that it has from the process that it follows, by number."""
        self.starts = 0
        self.successor: Worker | None = None
        """That has taken over all that it had, or is to."""
        self.is_heir = False
        """Whether its process is to follow another one, and of no use where it cannot."""
        self.code = 0
        """The exit code of its last process; 128 and the number of the signal that has killed it."""
        self._pause = 0.0
        self._began = 0.0
        self._starting: Timer | None = None  # it again, behind a pause
        self._questions: dict[int, Callable[[Any], None]] = {}
        self._asked = 0
        self._unanswered = 0  # pings
        self._is_known = False  # to take connections, of which the log has a line

    def __repr__(self) -> str:
        return f"<Worker {self.index}, {self.step.value}>"

    # ---- what it is good for

    @property
    def takes(self) -> bool:
        """Whether connections may be passed on to it."""
        return self._can_have_one and not self.status.holds

    @property
    def hears(self) -> bool:
        """Whether connections may be passed on to it whose sessions it has."""
        return self._can_have_one and Hold.UPGRADE not in self.status.holds

    @property
    def is_there(self) -> bool:
        """Whether it hears what it is told. From the end of its channel on it does not, though its process may take a
        while to be gone."""
        return self.step is Step.SERVING and self.channel is not None and self.channel.open

    @property
    def _can_have_one(self) -> bool:
        """One more descriptor than it has room for would be the end of all that it has."""
        channel = self.channel
        return self.is_there and channel is not None and len(self.places) < self.room and not channel.crowded

    @property
    def holds(self) -> frozenset[Hold]:
        """Why not."""
        if self.step is not Step.SERVING:
            return frozenset([Hold.WORKERS])
        if self.status.holds:
            return self.status.holds
        if len(self.places) >= self.room:
            return frozenset([Hold.DESCRIPTORS])
        return frozenset() if self.takes else frozenset([Hold.WORKERS])

    # ---- its life

    def start(self, now: float = 0.0, heir: socket.socket | None = None) -> None:
        """Start the process; `heir`: its way to the process that it is to follow."""
        self._starting = None
        self._is_known = False
        self.is_heir = heir is not None
        self.step = Step.STARTING
        self.status = Status(State.STARTING, frozenset())
        self._began = self._reactor.now
        self.starts += 1
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self.process = self._crew.launch(self.index, theirs, heir)
            except OSError as error:
                ours.close()
                log.error("worker %d cannot be started: %s", self.index, error.strerror or error)
                self._rest()
                return
        self.channel = Channel(self._reactor, Wire(ours, KINDS), self._on_note, self._on_end)
        self.channel.on_room = self._look
        self.channel.say(self._crew.hello(self.index))
        for sock in self._crew.ports(self.index):
            self.channel.say(note(Kind.PORT), sock.dup())

    def say(self, words: bytes, sock: socket.socket | None = None) -> None:
        """Tell it something, with a socket that belongs to it from then on."""
        assert self.channel is not None
        self.channel.say(words, sock)

    def tell(self, kind: Kind, number: int = 0) -> None:
        """Tell it something short, if it is there."""
        if self.channel is not None and self.channel.open:
            self.channel.say(note(kind, number))

    def stop(self, at_once: bool) -> None:
        """Let it end, in order or at once, and not be started again. One that does not end at once is killed."""
        if self._starting is not None:
            self._reactor.cancel(self._starting)
            self._starting = None
        if self.step is Step.RESTING:  # what its last process has ended with was told then
            self.step, self.code = Step.ENDED, 0
            self._crew.changed(self)
        elif self.step is not Step.ENDED:
            self.step = Step.STOPPING
            self.tell(Kind.STOP, int(at_once))
            if at_once:
                self._reactor.call_later(LAST_SECS, lambda now: self.kill())
            self._crew.changed(self)

    def kill(self) -> None:
        """End its process, which does not answer."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)

    def ping(self) -> None:
        """Ask whether its loop turns; end it, where it has not answered to some in a row. They are counted, since a
        clock would go on while this process stands still, and then all of them would seem to be silent."""
        if not self.is_there:
            self._unanswered = 0
        elif self._unanswered == MOST_UNANSWERED:
            log.error("worker %d does not answer, and is ended", self.index)
            self.kill()
        else:
            self._unanswered += 1
            self.tell(Kind.PING)

    def ask(self, what: str, values: dict[str, Any], then: Callable[[Any], None]) -> None:
        """Ask it something. `then` is called with the answer, and with None where it ends before that."""
        if self.channel is None or not self.channel.open or self.step is Step.STARTING:
            then(None)
            return
        self._asked += 1
        self._questions[self._asked] = then
        self.channel.say(note(Kind.ASK, self._asked, encode_json({"what": what, **values})))

    def _on_note(self, found: Note) -> None:
        kind = found.kind
        if kind is Kind.STATUS:
            self.status = decode_status(found.data)
            self.tell(Kind.PASSED, found.number)  # behind all that was passed on to it
            self._look()
        elif kind is Kind.READY:
            self.room = found.number
            if self.step is Step.STARTING:
                self.step, self._unanswered = Step.SERVING, 0
            self._look()
        elif kind is Kind.PONG:
            self._unanswered = 0
        elif kind is Kind.ANSWER:
            then = self._questions.pop(found.number, None)
            if then is not None:
                then(decode_json(found.data))
        else:
            self._crew.heard(self, found)

    def _look(self) -> None:
        if self.takes and not self._is_known:
            self._is_known = True
            log.info("worker %d takes connections", self.index)
        self._crew.changed(self)

    # ---- its end

    def _on_end(self, why: str) -> None:
        """Its end of the channel is closed: the process is about to be gone, or ought to be."""
        self._reap_until(self._reactor.now + LAST_SECS)

    def _reap_until(self, deadline: float) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            if self._reactor.now >= deadline:
                self.kill()
            self._reactor.call_later(LOOK_SECS, lambda now: self._reap_until(deadline))
            return
        code = self.process.returncode
        self.code = code if code >= 0 else 128 - code
        self.process = None
        questions, self._questions = self._questions, {}
        for then in questions.values():
            self._reactor.guard(None, then, None)
        unsent = self.channel.unsent() if self.channel is not None else []
        self.channel = None
        self._over()
        self._crew.lost(self, unsent)
        self._crew.changed(self)

    def _over(self) -> None:
        if self.step is Step.STOPPING or (self.step is Step.STARTING and self.is_heir):
            self.step = Step.ENDED
        elif self.successor is not None:  # which goes on, or ends too: that decides about `start_again`
            self.step = Step.RESTING
        else:
            self.start_again()

    def start_again(self) -> None:
        """Its process has ended by itself."""
        if self._reactor.now - self._began >= LONG_ENOUGH:
            self._pause = 0.0
        how = f"was killed by signal {self.code - 128}" if self.code > 128 else f"has ended with exit code {self.code}"
        when = f"in {self._pause:g} s" if self._pause else "at once"
        log.error("worker %d %s; starting it again %s", self.index, how, when)
        self._rest()

    def _rest(self) -> None:
        self.step = Step.RESTING
        self._starting = self._reactor.call_later(self._pause, self.start)
        self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
