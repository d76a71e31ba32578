"""The event loop. One turn, in this order, always:

    1. poll       wait for descriptors or the next timer; without either there is no wake-up at all
    2. clock      read once; `reactor.now` is the time for everything below; what is due, but would have made no turn
                  for itself (`call_deferrable`)
    3. dispatch   who takes events in a batch, then the handler of every descriptor that is left, once
    4. tasks      what was left for later with `call_soon`; what these leave is for the next turn
    5. timers     what is due
    6. flush      the handlers that were marked dirty, once each
    7. closes     sockets that were given up during the turn

Closing last is what keeps a descriptor's number from being reused within a turn: an event of a connection that another
handler closed finds nobody, instead of the stranger who got its number.

Every callback is guarded. A peer's error (ProtocolError, OSError) ends in `on_peer_error`, anything else is a bug of
ours and ends in `on_callback_error`; either closes the one handler it came from, and the loop lives on.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from math import inf
from typing import Callable, ClassVar, Optional, Protocol

from ..core.timers import Timer, TimerWheel
from ..errors import ProtocolError
from ..reasons import CloseReason
from .loop_metrics import SAMPLED, SHORT, LoopMetrics
from .poller import DefaultPoller, EpollPoller, SelectorPoller
from .slow_callbacks import ATTENTION_SECS, FEW_EVENTS, SLOW, name_of, one_of

TICK = 0.05
"""Seconds: how late a timer may be."""


class Guarded(Protocol):
    """Who is closed by an error in what is called for it."""

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """Give the peer up."""


class Handler:
    """What the reactor calls for a descriptor."""

    __slots__ = ()

    batch_reader: ClassVar[str | None] = None
    """The name of who may take its events together with those of others: see `Reactor.batch_readers`."""
    measured: ClassVar[bool] = False
    """Whether there is somebody at its other end the quality of whose link is of interest."""
    pinged: ClassVar[bool] = False
    """Whether its other end is to be asked, now and then, whether it is there."""

    def on_event(self, mask: int) -> None:
        """Something became ready; mask as in `poller`. Nothing, for one that has no descriptor."""

    def on_flush(self) -> None:
        """Once at the end of a turn in which it was marked dirty."""

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """Give the peer up."""


Task = Callable[[], None]
Events = list[tuple[int, int]]
"""(descriptor, mask) pairs."""
BatchReader = Callable[[Events, list[Optional[Handler]]], Events]
"""Gets the events of a turn, with the handlers by descriptor, and returns those that it leaves to others. Its errors
are its own to catch, with `guard` and `fail`."""


class Reactor:
    """A single-threaded event loop. `clock` is monotonic seconds."""

    def __init__(
        self,
        poller: EpollPoller | SelectorPoller | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.poller = DefaultPoller() if poller is None else poller
        self._clock = clock
        self.now = clock()
        self.watched = 0
        """How many descriptors are watched."""
        self._handlers: list[Handler | None] = []  # by descriptor: the kernel gives out the lowest that is free
        self._wheel = TimerWheel(TICK, self.now)
        self._deferrable: list[Timer] = []
        self._deferrable_at = inf  # the first of them
        self._tasks: deque[tuple[Guarded | None, Task]] = deque()
        self._dirty: dict[Handler, None] = {}
        self._closes: list[socket.socket] = []
        self._running = False
        self.batch_readers: dict[str, BatchReader] = {}
        """By name, in the order in which they are asked: who takes the events of handlers that name it as theirs. What
        all of them leave is for the handlers themselves."""
        self.metrics = LoopMetrics()
        self._attentive_until = self.now  # see `slow`
        self._accounted = 0.0  # seconds of this turn in callbacks that were timed
        self.on_slow: Callable[[str, float], None] = _ignore
        """Is told the name of a callback that held the loop up, and for how long."""
        self.on_peer_error: Callable[[Guarded, Exception], None] = _close_peer
        self.on_callback_error: Callable[[object, Exception], None] = _reraise

    # ---- what is watched

    def add(self, fd: int, handler: Handler) -> None:
        """Call `handler.on_event` when the descriptor becomes ready. One that is watched already changes hands."""
        handlers = self._handlers
        missing = fd + 1 - len(handlers)
        if missing > 0:
            handlers.extend([None] * missing)
        if handlers[fd] is None:
            self.poller.add(fd)
            self.watched += 1
        handlers[fd] = handler

    def remove(self, sock: socket.socket) -> None:
        """Watch a socket no more, and close it at the end of the turn."""
        self.release(sock)
        self._closes.append(sock)

    def release(self, sock: socket.socket) -> None:
        """Watch a socket no more; it stays open, for another handler."""
        fd = sock.fileno()
        if 0 <= fd < len(self._handlers) and self._handlers[fd] is not None:
            self._handlers[fd] = None
            self.watched -= 1
            self.poller.remove(fd)

    def drained(self, sock: socket.socket | None) -> None:
        """A socket was read until there was no more: tell of more when it comes. Nothing for one that is gone."""
        rearm = self.poller.rearm_read
        if rearm is not None and sock is not None:
            rearm(sock.fileno())

    def filled(self, sock: socket.socket | None) -> None:
        """A socket would not take more: tell when it would."""
        rearm = self.poller.rearm_write
        if rearm is not None and sock is not None:
            rearm(sock.fileno())

    # ---- what is for later

    def call_at(self, deadline: float, action: Callable[[float], None]) -> Timer:
        """Call `action(now)` once the deadline has passed, at most one TICK late."""
        return self._wheel.start(deadline, action)

    def call_later(self, seconds: float, action: Callable[[float], None]) -> Timer:
        """The same, counted from now."""
        return self._wheel.start(self.now + seconds, action)

    def call_deferrable(self, deadline: float, action: Callable[[float], None]) -> Timer:
        """Call `action(now)` in front of all else in the first turn from then on that is made for something else: an
        idle loop is not woken up for it. (Linux calls such a timer deferrable.)"""
        timer = Timer(action, deadline)
        self._deferrable.append(timer)
        self._deferrable_at = min(self._deferrable_at, timer.deadline)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Stop a timer."""
        self._wheel.stop(timer)

    def call_soon(self, task: Task, handler: Guarded | None = None) -> None:
        """Run a task in this turn's task phase, or in the next turn's if that has begun. An error closes `handler`."""
        self._tasks.append((handler, task))

    def mark_dirty(self, handler: Handler) -> None:
        """Call `handler.on_flush` at the end of the turn."""
        self._dirty[handler] = None

    @property
    def timers(self) -> int:
        """How many timers are running, but for deferrable ones, which wake nobody."""
        return len(self._wheel)

    @property
    def handlers(self) -> list[Handler]:
        """Everything that is watched."""
        return [handler for handler in self._handlers if handler is not None]

    def handlers_at(self, slot: int, slots: int) -> list[Handler | None]:
        """What is watched on so many descriptors from this one on: for who goes over them a part at a time."""
        return self._handlers[slot : slot + slots]

    @property
    def slots(self) -> int:
        """One more than the highest descriptor that was ever watched."""
        return len(self._handlers)

    # ---- turning

    def run(self) -> None:
        """Turn until `stop`."""
        self._running = True
        while self._running:
            self.turn()

    def stop(self) -> None:
        """End `run` after this turn."""
        self._running = False

    def turn(self, timeout: float | None = None) -> None:
        """One turn; waits at most `timeout` seconds."""
        events = self.poller.poll(self._patience(timeout))
        clock, metrics = self._clock, self.metrics
        self.now = clock()
        measured = not metrics.turns % SAMPLED
        if self.now >= self._deferrable_at:
            self._run_deferrable()
        metrics.turns += 1
        if measured:
            metrics.begin(self.now)
        attentive = self.now < self._attentive_until
        if events:
            if attentive:
                self._dispatch_timed(events)
            else:
                self._dispatch(events)
        if measured:
            metrics.lap(clock())
        if self._tasks:
            self._run_tasks()
        if measured:
            metrics.lap(clock())
        for timer in self._wheel.advance(self.now):
            self._timed(timer.action, None, self._wheel.fire, timer, self.now)
        if measured:
            metrics.lap(clock())
        while self._dirty:
            self._flush(attentive)
        if measured:
            metrics.lap(clock())
        for sock in self._closes:
            sock.close()
        self._closes.clear()
        end = clock()
        if measured:
            metrics.lap(end)
        busy = end - self.now
        metrics.busy += busy
        accounted, self._accounted = self._accounted, 0.0
        if busy > SHORT:
            metrics.lag.observe(busy)
            if busy - accounted > SLOW:
                self._look_out(busy - accounted, events, attentive)

    def time(self) -> float:
        """The time of this moment, where `now`, the time of this turn, is not enough: for measuring."""
        return self._clock()

    def refresh(self) -> float:
        """Read the clock, where there was no turn for a while. The time."""
        self.now = self._clock()
        return self.now

    def close(self) -> None:
        """Close the poller. The handlers' sockets are their owners' to close."""
        for sock in self._closes:
            sock.close()
        self._closes.clear()
        self.poller.close()

    def _patience(self, timeout: float | None) -> float | None:
        if self._tasks or self._dirty:  # the second by somebody who calls between two turns
            return 0
        deadline = self._wheel.next_deadline()
        if deadline is None:
            return timeout
        wait = max(0.0, deadline - self._clock())
        return wait if timeout is None else min(wait, timeout)

    def _dispatch(self, events: list[tuple[int, int]]) -> None:
        handlers = self._handlers
        for read in list(self.batch_readers.values()):  # who may come and go with what they read
            events = read(events, handlers)
        for fd, mask in events:
            handler = handlers[fd]
            if handler is None:
                continue
            try:
                handler.on_event(mask)
            except (ProtocolError, OSError) as error:
                self.fail(handler, error)
            except Exception as error:
                self._bug(handler, error)

    def _run_tasks(self) -> None:
        for _ in range(len(self._tasks)):
            handler, task = self._tasks.popleft()
            self._timed(task, handler, task)

    def _run_deferrable(self) -> None:
        due = [timer for timer in self._deferrable if timer.deadline <= self.now]
        self._deferrable = [timer for timer in self._deferrable if timer.deadline > self.now]
        self._deferrable_at = min([timer.deadline for timer in self._deferrable], default=inf)
        for timer in due:
            action, timer.action = timer.action, None
            if action is not None:  # it was not cancelled
                self._timed(action, None, action, self.now)

    def _flush(self, attentive: bool) -> None:
        dirty, self._dirty = self._dirty, {}
        for handler in dirty:
            if attentive:
                self._timed(handler.on_flush, handler, handler.on_flush)
            else:
                self.guard(handler, handler.on_flush)

    # ---- what takes long (see `slow`)

    def _dispatch_timed(self, events: list[tuple[int, int]]) -> None:
        began = self._clock()
        for read in list(self.batch_readers.values()):
            events = read(events, self._handlers)  # ordinary ones: where these take long, that is their number
        self._accounted += self._clock() - began
        for fd, mask in events:
            handler = self._handlers[fd]
            if handler is not None:
                self._timed(handler.on_event, handler, handler.on_event, mask)

    def _timed(
        self, callback: object, handler: Guarded | None, function: Callable[..., object], *arguments: object
    ) -> None:
        """`guard`, with a look at how long it takes; `callback` is whose name is told."""
        began = self._clock()
        self.guard(handler, function, *arguments)
        took = self._clock() - began
        self._accounted += took
        if took > SLOW:
            self.on_slow(name_of(callback), took)

    def _look_out(self, unexplained: float, events: list[tuple[int, int]], attentive: bool) -> None:
        """So much of this turn was in events or flushes that were not timed: time them for a while."""
        self._attentive_until = self.now + ATTENTION_SECS
        if not attentive and 0 < len(events) <= FEW_EVENTS:
            self.on_slow(one_of([self._handlers[fd] for fd, _ in events]), unexplained)

    # ---- errors

    def guard(self, handler: Guarded | None, function: Callable[..., object], *arguments: object) -> None:
        """Call a function the way callbacks are called: its errors end in the hooks and close `handler`."""
        try:
            function(*arguments)
        except Exception as error:
            self.failed(handler, error)

    def failed(self, handler: Guarded | None, error: Exception) -> None:
        """What was called for it has raised this."""
        if handler is not None and isinstance(error, (ProtocolError, OSError)):
            self.fail(handler, error)
        else:
            self._bug(handler, error)

    def fail(self, handler: Guarded, error: Exception) -> None:
        """Its peer has failed, by this ProtocolError or OSError."""
        try:
            self.on_peer_error(handler, error)
        except Exception as bug:
            self._bug(handler, bug)

    def _bug(self, handler: Guarded | None, error: Exception) -> None:
        self.on_callback_error(handler, error)
        if handler is not None:
            try:
                handler.close(CloseReason.INTERNAL_ERROR, repr(error))
            except Exception as another:
                self.on_callback_error(handler, another)


def _ignore(name: str, seconds: float) -> None:
    """Nobody is interested."""


def _close_peer(handler: Guarded, error: Exception) -> None:
    handler.close(reason_of(error), str(error))


def _reraise(handler: object, error: Exception) -> None:
    raise error


def reason_of(error: Exception) -> CloseReason:
    """The close reason of a peer's error."""
    return error.reason if isinstance(error, ProtocolError) else CloseReason.PEER_LOST
