"""The side that has everything, until the other one has it.

    STARTING ──greeting──▶ PREPARING ──ready──▶ TELLING ──all told──▶ SETTLING ──settled──▶ DUE ──taken──▶ GIVEN
        └──────────────────────┴────────── anything else, or too late ─────────┴─────────────┴──▶ FAILED: it goes on
                                                                                               as if nothing had been

It serves while the other process starts and prepares itself, and while that is told ahead of what there is, with the
sockets, a few in each turn. Then it accepts nobody, lets handshakes end, for a moment, and stops between two turns of
its loop: what has changed is said then, and all else, and that is the pause. Nothing is changed by saying it. From the
last word on, `go`, none of what was handed over is touched here any more.
"""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from enum import IntEnum
from typing import Callable, Protocol

from ...core.timers import Timer
from ...net.poller import WRITE
from ...net.reactor import Handler, Reactor
from ...ops.log import log
from ...reasons import CloseReason, Symbol
from ...store.records import Damaged
from ...version import __version__
from .heritage import Heritage
from .notes import FORMAT, GO, Greeting, Kind, note
from .wire import Ended, Wire

PREPARE_SECS = 60.0
"""For the other process to start, and to say that it is ready."""
TELL_SECS = 60.0
"""For being told ahead."""
TOLD_AT_ONCE = 50
"""Sessions that are told of in one turn: a millisecond, about."""
SETTLE_SECS = 1.0
"""For handshakes that are under way."""
LOOK_SECS = 0.05
LAST_SECS = 2.0
"""For another process that is of no use to end by itself, and say why."""
PAUSE_SECS = 10.0
"""For the whole of the pause; after that everything goes on here."""


class Step(Symbol):
    """Where it is."""

    STARTING = "starting"
    PREPARING = "preparing itself"
    TELLING = "being told ahead"
    SETTLING = "waiting for handshakes"
    DUE = "about to take over"
    GIVEN = "going on"
    FAILED = "given up"


class Child(Protocol):
    """The other process."""

    pid: int

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        ...

    def kill(self) -> None:
        """End it."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        ...


class Host(Protocol):
    """Whose things are handed over."""

    reactor: Reactor

    @property
    def heritage(self) -> Heritage:
        """What the other process has to be."""
        ...

    @property
    def settled(self) -> bool:
        """Whether no handshake is under way."""
        ...

    def hold(self) -> None:
        """Accept nobody."""

    def cut(self) -> None:
        """Close the connections that cannot move."""

    def pause(self) -> None:
        """End the loop after this turn, so that `give` can be called."""

    def ahead(self, most: int) -> Iterator[tuple[bytes, int]]:
        """What can be said while everything goes on, of so many sessions: notes, each with a descriptor or -1; none
        when there is no more of that."""
        ...

    def offer(self) -> Iterator[tuple[bytes, int]]:
        """All that was not said ahead, the same way."""
        ...

    def hand_on(self, pid: int) -> None:
        """That process is about to have everything; or, with this one's number, it is not."""

    def go_on(self) -> None:
        """It is not to be: go on as before."""


def launched(launch: Callable[[socket.socket], Child]) -> tuple[socket.socket, Child]:
    """`launch(theirs)` starts the other process, which gets that socket: our end, and the process. Raises OSError."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            return ours, launch(theirs)
        except OSError:
            ours.close()
            raise


class Giver(Handler):
    """One attempt. `ours`: the way to the other process, `child`, which is starting."""

    def __init__(self, host: Host, ours: socket.socket, child: Child) -> None:
        self._host = host
        self._reactor = host.reactor
        self.step = Step.STARTING
        self._timer: Timer | None = None
        self.child = child
        self._wire = Wire(ours)
        ours.setblocking(False)
        self._reactor.add(ours.fileno(), self)
        self._timer = self._reactor.call_later(PREPARE_SECS, self._late)
        log.info("handing over: process %d is starting", self.child.pid)

    @property
    def under_way(self) -> bool:
        """Whether it has neither succeeded nor failed yet."""
        return self.step not in (Step.GIVEN, Step.FAILED)

    # ---- while everything goes on

    def on_event(self, mask: int) -> None:
        """The other process has said something, or has ended."""
        try:
            goes_on = self._wire.receive_now()
            if self.step is Step.STARTING:
                self._on_greeting()
            while self.under_way and self.step is not Step.STARTING and (found := self._wire.note_now()) is not None:
                self._on_note(found.kind, found.data)
            if not self.under_way:
                return
            if not goes_on:
                raise Ended
            self._reactor.drained(self._wire.sock)
            if mask & WRITE and self.step is Step.TELLING:
                self._tell()
        except Ended:
            self.fail(self._how_it_ended())
        except Damaged as error:
            self.fail(f"what it says is not understood: {error}")

    def _on_greeting(self) -> None:
        theirs = self._wire.greeting_now()
        if theirs is None:
            return
        self.step = Step.PREPARING
        heritage = self._host.heritage
        self._wire.allow(LOOK_SECS)
        with suppress(Ended):  # what it has said before its end is looked at next
            self._wire.greet(Greeting(FORMAT, __version__))
            if theirs.format == FORMAT:
                self._wire.say(note(Kind.SERVER, 0, heritage.encode()), heritage.lock)
                self._wire.flush()
        if theirs.format != FORMAT:
            self.fail(
                f"version {theirs.version} takes over in format {theirs.format}, and this is version {__version__} "
                f"with format {FORMAT}"
            )

    def _on_note(self, kind: IntEnum, data: bytes) -> None:
        if kind is Kind.REFUSED:
            self.fail(data.decode(errors="replace"))
        elif kind is Kind.READY and self.step is Step.PREPARING:
            self.step = Step.TELLING
            self._stop_timer()
            self._timer = self._reactor.call_later(TELL_SECS, self._late)
            self._reactor.call_soon(self._tell, self)
        else:
            self.fail(f"a note {kind.name} while it was {self.step.value}")

    def _tell(self) -> None:
        """A turn's part of what can be said ahead, unless the last one is not all out: then when there is room."""
        if self.step is not Step.TELLING:
            return
        try:
            if not self._wire.push():
                self._reactor.filled(self._wire.sock)
            elif self._tell_some():
                self._reactor.call_soon(self._tell, self)
            else:
                self.step = Step.SETTLING
                self._host.hold()
                self._settle_until(self._reactor.now + SETTLE_SECS)
        except Ended:
            self.fail(self._how_it_ended())

    def _tell_some(self) -> bool:
        """Whether there was anything to tell."""
        any_ = False
        for words, descriptor in self._host.ahead(TOLD_AT_ONCE):
            self._wire.add(words, descriptor)
            any_ = True
        self._wire.push()
        return any_

    def _settle_until(self, deadline: float) -> None:
        """Until no handshake is under way, or until then."""
        self._stop_timer()
        try:
            self._tell_some()
        except Ended:
            self.fail(self._how_it_ended())
            return
        if self._host.settled or self._reactor.now >= deadline:
            self.step = Step.DUE
            self._host.pause()
        else:
            self._timer = self._reactor.call_later(LOOK_SECS, lambda now: self._settle_until(deadline))

    def _late(self, now: float) -> None:
        self._timer = None
        self.fail(f"it was {self.step.value} for {TELL_SECS if self.step is Step.TELLING else PREPARE_SECS:g} s")

    # ---- the pause

    def give(self) -> bool:
        """Hand everything over, between two turns. Whether the other process has it."""
        began = self._reactor.time()
        wire, collecting = self._wire, gc.isenabled()
        gc.disable()
        try:
            wire.allow(PAUSE_SECS)
            self._host.cut()  # here, for no other can come behind that
            for words, descriptor in self._host.offer():
                wire.say(words, descriptor)
            wire.flush()
            answer = wire.note()
            if answer.kind is not Kind.TAKEN:
                raise Damaged(answer.data.decode(errors="replace") or answer.kind.name)
            self._host.hand_on(self.child.pid)
            try:
                wire.word(GO)
            except Ended:
                self._host.hand_on(os.getpid())
                raise
        except Exception as error:  # whatever it is: everything is still here
            self.fail(self._how_it_ended() if isinstance(error, Ended) else str(error) or repr(error))
            return False
        finally:
            if collecting:
                gc.enable()
        self.step = Step.GIVEN
        self._stop_timer()
        log.info("process %d goes on, after a pause of %.0f ms", self.child.pid, 1000 * (self._reactor.time() - began))
        return True

    # ---- it is not to be

    def fail(self, why: str) -> None:
        """Give it up, and go on here."""
        if not self.under_way:
            return
        self.step = Step.FAILED
        self._stop_timer()
        self._reactor.remove(self._wire.sock)  # which the other process hears, and without which it can do nothing
        self._timer = self._reactor.call_later(LAST_SECS, self._reap)
        log.error("handing over has failed, everything goes on here: %s", why)
        self._host.go_on()

    def _reap(self, now: float) -> None:
        self._timer = None
        self.end()

    def end(self) -> None:
        """Have no other process any more, unless it is the one that goes on."""
        self.fail("this process ends")
        self._stop_timer()
        if self.step is Step.FAILED:
            if self.child.poll() is None:
                self.child.kill()
            self.child.wait()

    def _how_it_ended(self) -> str:
        try:
            return f"process {self.child.pid} has ended with exit code {self.child.wait(LOOK_SECS)}"
        except Exception:  # it has not, but closed its end
            return f"process {self.child.pid} does not answer"

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._reactor.cancel(self._timer)
            self._timer = None

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """After an error of ours."""
        self.fail(detail or reason.value)
