"""Whose turn it is to be read.

Who sends little is read at once, without coming here. Who filled a whole read is loud, and waits in line for the next
one, with so much read from the line each turn; who is still in its handshake waits in another line, since a handshake
can cost a thousand times what a packet does. While the trunk is full nobody is read, and everybody with something to
say gets in line.
"""

from __future__ import annotations

from collections import deque
from typing import Callable, Protocol

from ..net.reactor import Handler, Reactor
from ..wire.curve import BACKEND

QUANTUM = 1 << 16
"""Bytes read from one client at once."""
READ_BUDGET = 1 << 21
"""Bytes read from those in line each turn, before the quiet ones are looked at again."""
HANDSHAKE_BUDGET = 64
"""Handshake reads each turn."""
KEY_AGREEMENT_COST = 2 if BACKEND == "coincurve" else 16
"""What one counts for that made a key agreement."""

CROWD = 256
"""Handshakes in line from which on no new connections are accepted, until half of them have had their turn. Whoever
waits in the kernel's queue meanwhile is not running out of time; an accepted connection is."""

QUEUED, LOUD, PARKED, ENDING, METERED, THROTTLED = 1, 2, 4, 8, 16, 32
"""Flags of a reader: it stands in line; it filled its last read; it is not read until it has read itself; an end was
announced behind what there is to read, and will not be again; its reads are counted; it is not read until its rate
allows for what it has sent."""


class Reader(Handler, Protocol):
    """What stands in line."""

    flags: int

    def on_readable(self) -> None:
        """Read one quantum."""

    @property
    def derived(self) -> bool:
        """Whether its handshake has made a key agreement."""
        ...


class Turns:
    """The two lines. `on_crowd(True)` is called when that of the handshakes is long, `on_crowd(False)` after it."""

    def __init__(self, reactor: Reactor, on_crowd: Callable[[bool], None]) -> None:
        self._reactor = reactor
        self._on_crowd = on_crowd
        self._crowded = False
        self._line: deque[Reader] = deque()  # this round: each of them is read once
        self._late: deque[Reader] = deque()  # who came since it began: the next round
        self.rank: Callable[[Reader], int] | None = None
        """If set, who is read first in a round: whose rank is lowest. Within a round only, so nobody waits for ever."""
        self._greeting: deque[Reader] = deque()
        self._scheduled = False
        self.paused = False
        """Whether nobody may be read, because the trunk is full. Handshakes go on: nothing of theirs goes there."""

    def pause(self) -> None:
        """Read nobody."""
        self.paused = True

    def resume(self) -> None:
        """Read again, first who waited longest; see also `rank`."""
        self.paused = False
        self._schedule()

    def enqueue(self, reader: Reader, greeting: bool) -> None:
        """Read this one when its turn comes. Who stands in line already, or must not be read, stays where it is."""
        if reader.flags & (QUEUED | PARKED | THROTTLED):
            return
        reader.flags |= QUEUED
        (self._greeting if greeting else self._late).append(reader)
        self._schedule()
        if not self._crowded and len(self._greeting) >= CROWD:
            self._crowded = True
            self._on_crowd(True)

    def _schedule(self) -> None:
        if not self._scheduled and (self._greeting or (not self.paused and (self._line or self._late))):
            self._scheduled = True
            self._reactor.call_soon(self._serve)

    def _serve(self) -> None:
        """One turn's share of either line."""
        self._scheduled = False
        budget = HANDSHAKE_BUDGET
        while self._greeting and budget > 0:
            reader = self._greeting.popleft()
            before = reader.derived
            self._read(reader)
            budget -= KEY_AGREEMENT_COST if reader.derived and not before else 1
        if self._crowded and len(self._greeting) <= CROWD // 2:
            self._crowded = False
            self._on_crowd(False)
        budget = READ_BUDGET
        while budget > 0 and not self.paused and (self._line or self._next_round()):
            self._read(self._line.popleft())
            budget -= QUANTUM
        self._schedule()

    def _next_round(self) -> bool:
        """Whether there is anybody for another one."""
        line, self._late = self._late, self._line
        self._line = line if self.rank is None or len(line) < 2 else deque(sorted(line, key=self.rank))
        return bool(line)

    def _read(self, reader: Reader) -> None:
        reader.flags &= ~QUEUED
        self._reactor.guard(reader, reader.on_readable)
