"""Commands to the store, and who gets their answers.

`call` never waits and never raises: what a turn asks for is written at its end, all of it at once, and `then` gets the
answer in a later turn, or a Trouble. Answers come in the order of the commands. Nothing is kept for later: without a
connection a command has its Trouble at once, and whoever asked knows what to say anew once there is one.

The store is *open* while there is a connection, and *up* once it has taken a write over that, until it says that it
cannot (LOADING, OOM, READONLY, MISCONF): then it is asked again now and then. Who may do without it asks `up`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from functools import partial
from typing import Callable

from ...core.budget import Budget
from ...core.timers import Timer
from ...net.reactor import Handler, Reactor
from ...reasons import CloseReason, StoreEnd
from ...statistics import StoreFigures
from .line import BACKOFF, Line
from .options import Options
from .resp import Argument, Kind, Reply, Trouble, encode
from .script import Script

MOST_AWAITED = 1 << 16
"""Commands under way; more are refused."""
MOST_UNSENT = 1 << 26
"""Bytes of them that the store has not taken; more are refused."""
PROBE_MILLISECONDS = 60_000

Then = Callable[[Reply], None]


class Batch:
    """The commands that were written at the end of one turn."""

    __slots__ = ("left", "written")

    def __init__(self, left: int, written: float) -> None:
        self.left = left
        """Answers that have yet to come."""
        self.written = written
        """When that was."""


class Link(Handler):
    """See above. `scripts` are given to the store with each connection, before anything else is said."""

    def __init__(
        self,
        reactor: Reactor,
        options: Options,
        scripts: Sequence[Script] = (),
        ends: Counter[StoreEnd] | None = None,
        budget: Budget | None = None,
    ) -> None:
        """`ends` counts why connections end, `budget` what waits to be sent."""
        self.reactor = reactor
        self.prefix = options.prefix
        """Of the names of all keys and channels."""
        self.scripts = list(scripts)
        """May be added to at any time."""
        self.ends: Counter[StoreEnd] = Counter() if ends is None else ends
        """Why connections have ended so far."""
        self.up = False
        """Whether the store is of use: see above."""
        self.text = "not connected yet"
        """Why it is not."""
        self.watchers: list[Callable[[], None]] = []
        """Called whenever `up` has changed."""
        self._line = Line(reactor, options, "the store", self.ends, self, budget)
        self._answer_secs = options.answer_secs
        self._staged: list[bytes] = []  # written when the turn ends
        self._staged_bytes = 0
        self._unsent: deque[Then] = deque()  # who gets their answers
        self._awaited: deque[Then] = deque()  # who gets the next answers
        self._batches: deque[Batch] = deque()
        self._deadline: Timer | None = None
        self._probing: Timer | None = None
        self._probes = 0  # in vain, in a row
        self._rested: Callable[[], None] | None = None  # who is told when nothing is under way; None: it does not rest
        self.kept = False
        """Whether it was up when it began to rest, and the connection is still there."""
        self._commands = self._errors = 0
        self._took = 0.0

    # ---- for whoever needs the store

    def start(self) -> None:
        """Connect, and stay connected."""
        self._line.start()

    def stop(self) -> None:
        """Be connected no more. What is under way has its Trouble."""
        self._line.stop()

    def rest(self, then: Callable[[], None]) -> None:
        """Say nothing more, as if there were no connection. `then` is called when all that was under way is answered
        or lost."""
        self._rested, self.kept = then, self.up
        self._set(False, "is left to the program that follows")
        self.reactor.call_soon(self._look_for_rest)

    def go_on(self) -> None:
        """Rest no more: to everybody the store is there again, once it says so."""
        rested, self._rested, self.kept = self._rested, None, False
        if rested is not None and self.open:
            self.opened()

    @property
    def open(self) -> bool:
        """Whether commands are sent."""
        return self._line.connection is not None and self._rested is None

    def call(self, arguments: Sequence[Argument], then: Then) -> None:
        """Ask the store for something: ("GET", "key"). Texts are sent in UTF-8, numbers in digits."""
        connection = self._line.connection
        if connection is None or self._rested is not None:
            self._refuse(then, f"the store {self.text}")
        elif len(self._awaited) + len(self._unsent) >= MOST_AWAITED:
            self._refuse(then, f"{MOST_AWAITED} commands are under way")
        elif self._staged_bytes + (connection.outbox.size if connection.outbox else 0) >= MOST_UNSENT:
            self._refuse(then, f"the store has yet to take {MOST_UNSENT} bytes")
        else:
            if not self._staged:
                self.reactor.mark_dirty(self)
            command = encode(arguments)
            self._staged.append(command)
            self._staged_bytes += len(command)
            self._unsent.append(then)

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], then: Then) -> None:
        """Ask it for a script."""
        self.call(script.by_digest(keys, arguments), partial(self._ran, script, keys, arguments, then))

    def key(self, *parts: object) -> str:
        """The name of a key or channel: key("node", 5)."""
        return self.prefix + ":".join(map(str, parts))

    def figures(self) -> StoreFigures:
        """How it is now."""
        lag = self.reactor.now - self._batches[0].written if self._batches else self._took
        return StoreFigures(
            self.up,
            "" if self.up else self.text,
            self._commands,
            self._errors,
            len(self._awaited) + len(self._unsent),
            lag,
            self._line.connections,
        )

    def _ran(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], then: Then, reply: Reply
    ) -> None:
        if isinstance(reply, Trouble) and reply.code == "NOSCRIPT":  # somebody has thrown them away
            self.call(script.by_text(keys, arguments), then)
        else:
            then(reply)

    def _refuse(self, then: Then, text: str) -> None:
        self._errors += 1
        self.reactor.call_soon(partial(then, Trouble(Kind.UNSENT, text)))

    # ---- writing and reading

    def on_flush(self) -> None:
        """Write what is staged."""
        connection = self._line.connection
        if connection is None or not self._staged:
            return
        commands, self._staged, self._staged_bytes = b"".join(self._staged), [], 0
        count = len(self._unsent)
        self._batches.append(Batch(count, self.reactor.now))
        self._awaited.extend(self._unsent)
        self._unsent.clear()
        self._commands += count
        if self._deadline is None:
            self._deadline = self.reactor.call_later(self._answer_secs, self._look)
        connection.send(commands)

    def received(self, replies: list[Reply]) -> None:
        """See User."""
        awaited, batches, now = self._awaited, self._batches, self.reactor.now
        for reply in replies:
            if awaited is not self._awaited:  # who got the last one has ended it
                return
            if not awaited:
                why = reply.text if isinstance(reply, Trouble) else "an answer that nobody has asked for"
                self._line.give_up(StoreEnd.GARBLED, why)
                return
            first = batches[0]
            first.left -= 1
            if not first.left:
                self._took = now - first.written
                batches.popleft()
            if isinstance(reply, Trouble):
                self._note(reply)
            self.reactor.guard(None, awaited.popleft(), reply)
        if not batches and self._deadline is not None:
            self.reactor.cancel(self._deadline)
            self._deadline = None
        self._look_for_rest()

    def _look_for_rest(self) -> None:
        if self._rested is not None and not (self._awaited or self._unsent):
            self._rested()

    def _look(self, now: float) -> None:
        """Has the oldest batch been answered in time?"""
        self._deadline = None
        if not self._batches:
            return
        due = self._batches[0].written + self._answer_secs
        if due > now:
            self._deadline = self.reactor.call_at(due, self._look)
        else:
            self._line.give_up(StoreEnd.SILENT, f"{len(self._awaited)} commands were under way")

    def _note(self, trouble: Trouble) -> None:
        self._errors += 1
        if trouble.kind is Kind.UNABLE:
            self._is_unable(trouble)

    # ---- whether it is of use

    def opened(self) -> None:
        """See User."""
        for script in self.scripts:
            self.call(script.load(), _ignore)
        self._probes = 0
        self._probe()

    def _probe(self, now: float = 0.0) -> None:
        """Write something: a store that is full, or a replica, answers everything else."""
        self._probing = None
        self.call(("SET", self.key("probe"), "", "PX", PROBE_MILLISECONDS), self._probed)

    def _probed(self, reply: Reply) -> None:
        if not isinstance(reply, Trouble):
            self._line.settled()
            self._set(True, "")
        elif self.open and reply.kind is not Kind.UNABLE:  # of which `_note` has taken care
            self._is_unable(reply)

    def _is_unable(self, trouble: Trouble) -> None:
        text = f"is of no use: {trouble.text}"
        self._line.tell(text)
        self._set(False, text)
        if trouble.code == "READONLY":  # behind its name there may be another one by now
            self.reactor.call_soon(partial(self._line.give_up, StoreEnd.READ_ONLY, trouble.text))
        else:
            self._probe_later()

    def _probe_later(self) -> None:
        if self._probing is None and self.open:
            self._probes += 1
            self._probing = self.reactor.call_later(BACKOFF.wait(self._probes), self._probe)

    def _set(self, up: bool, text: str) -> None:
        if up and self._rested is not None:
            return
        changed, self.up, self.text = up != self.up, up, text
        if changed:
            for watcher in list(self.watchers):
                self.reactor.guard(None, watcher)

    # ---- without it

    def lost(self, text: str) -> None:
        """See User."""
        self.kept = False
        self._set(False, text)
        self._staged.clear()
        self._staged_bytes = 0
        self._batches.clear()
        for timer in (self._deadline, self._probing):
            if timer is not None:
                self.reactor.cancel(timer)
        self._deadline = self._probing = None
        unknown, self._awaited = self._awaited, deque()
        unsent, self._unsent = self._unsent, deque()
        self._errors += len(unknown) + len(unsent)
        for kind, waiting in ((Kind.UNKNOWN, unknown), (Kind.UNSENT, unsent)):
            for then in waiting:
                self.reactor.guard(None, then, Trouble(kind, f"the store {text}"))
        self._look_for_rest()

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """See Handler: never called for what it does itself."""


def _ignore(reply: Reply) -> None:
    return
