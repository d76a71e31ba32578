"""Whose turn it is to be read.

Who sends little is read at once, without coming here. Who filled a whole read is loud, and waits in line for the next
one, with so much read from the line each turn; who is still in its handshake waits in another line, since a handshake
can cost a thousand times what a packet does. While the trunk is full nobody is read, and everybody with something to
say gets in line: the loud in theirs, the others in one of their own, since a round of the loud takes long. When there
is room again, now the one and now the other line is first to use it.
"""

from __future__ import annotations

from collections import deque
from typing import Callable, Optional, Protocol

from ...net.reactor import Guarded, Reactor
from ...wire.curve import BACKEND

QUANTUM = 1 << 18
"""Bytes read at once from who is loud."""
FIRST_QUANTUM = 1 << 16
"""Bytes read at once from who is not. A thousand may begin to be loud in one turn, and none of them is in line yet."""
READ_BUDGET = 1 << 21
"""Bytes read from those in line each turn, before the quiet ones are looked at again."""
READ_COST = 1 << 12
"""Bytes that a read counts for in itself, besides those that it brought."""
CAREFUL_QUANTUM = 1 << 12
"""Bytes read at once where a framing may have to look at every few of them, until it was seen not to."""
LABOUR_COST = 1 << 10
"""Bytes that each message or part of one counts for which a framing had to look at by itself."""
HANDSHAKE_BUDGET = 64
"""Handshake reads each turn."""
KEY_AGREEMENT_COST = 2 if BACKEND == "coincurve" else 16
"""What one counts for that made a key agreement."""

CROWD = 256
"""Handshakes in line from which on no new connections are accepted, until half of them have had their turn. Whoever
waits in the kernel's queue meanwhile is not running out of time; an accepted connection is."""

QUEUED, LOUD, PARKED, ENDING, METERED, THROTTLED, BUSY, UNPAUSED = 1, 2, 4, 8, 16, 32, 64, 128
RETIRED, UNANSWERED, NOTED, OWING, OWED, LEFT, SMOOTH = 256, 512, 1024, 2048, 4096, 8192, 16384
"""Flags of a reader: it stands in line; it filled its last read; it is not read until it has read itself; an end was
announced behind what there is to read, and will not be again; its reads are counted; it is not read until its rate
allows for what it has sent; what it sent is being passed on, and nothing else is to be read in between; it is read
while the trunk is full, too, and allowed to send no more than a little then;
it is only read any more, and its session waits for the client to come back; it has begun a handshake and has no
answer, so that its socket is reset if it closes; what it brought in this turn is looked at behind it; it is to be told
soon that something is safe; and once it has read what was sent to it; it has said that it will not come back; its last
full read made its framing little work."""


class Reader(Guarded, Protocol):
    """What stands in line."""

    flags: int

    def on_readable(self) -> None:
        """Read one quantum."""


Rank = Optional[Callable[[Reader], int]]


class Line:
    """A queue in rounds, in which each is read once: who comes while one is under way is in the next one."""

    def __init__(self) -> None:
        self._round: deque[Reader] = deque()
        self._late: deque[Reader] = deque()

    def __bool__(self) -> bool:
        return bool(self._round or self._late)

    def add(self, reader: Reader) -> None:
        """It stands in line from now on."""
        self._late.append(reader)

    def next(self, rank: Rank) -> Reader | None:
        """Whose turn it is: the lowest rank of a round goes first, so a low one costs nobody else a turn."""
        if not self._round:
            self._round, self._late = self._late, self._round
            if rank is not None and len(self._round) > 1:
                self._round = deque(sorted(self._round, key=rank))
        return self._round.popleft() if self._round else None


class Turns:
    """The lines. `on_crowd(True)` is called when that of the handshakes is long, `on_crowd(False)` after it."""

    def __init__(self, reactor: Reactor, on_crowd: Callable[[bool], None]) -> None:
        self._reactor = reactor
        self._on_crowd = on_crowd
        self._crowded = False
        self._quiet = Line()
        self._loud = Line()
        self._sessions = self._quiet, self._loud  # in the order in which they are read next
        self._unpaused: Line | None = None  # of those who are read while the trunk is full as well, once there are any
        self.rank: Rank = None
        """If set, who is read first in a round: whose rank is lowest. Within a round only, so nobody waits for ever."""
        self._greeting: deque[Reader] = deque()
        self._scheduled = False
        self._budget = 0
        self.toiled = 0
        """All work of framings so far, in bytes that it was worth: who reads one finds what that has cost."""
        self._handshakes = 0
        self.paused = False
        """Whether nobody may be read, because the trunk is full. Handshakes go on: they send it next to nothing."""

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
        if greeting:
            self._greeting.append(reader)
        elif reader.flags & UNPAUSED:
            if self._unpaused is None:
                self._unpaused = Line()
            self._unpaused.add(reader)
        elif reader.flags & LOUD:
            self._loud.add(reader)
        else:
            self._quiet.add(reader)
        self._schedule()
        if not self._crowded and len(self._greeting) >= CROWD:
            self._crowded = True
            self._on_crowd(True)

    def _schedule(self) -> None:
        if not self._scheduled and (
            self._greeting or (not self.paused and (self._loud or self._quiet)) or self._unpaused
        ):
            self._scheduled = True
            self._reactor.call_soon(self._serve)

    def _serve(self) -> None:
        """One turn's share of each line."""
        self._scheduled = False
        self._handshakes = HANDSHAKE_BUDGET
        while self._greeting and self._handshakes > 0:
            self._handshakes -= 1
            self._read(self._greeting.popleft())
        if self._crowded and len(self._greeting) <= CROWD // 2:
            self._crowded = False
            self._on_crowd(False)
        self._read_sessions()
        self._schedule()

    def _read_sessions(self) -> None:
        """One turn's share of the lines. Who of the quiet and the loud is first changes only with a turn that was made
        use of."""
        unpaused, self._budget = self._unpaused, READ_BUDGET
        if unpaused is not None:
            self._read_from(unpaused, READ_BUDGET // 2)
        if not self.paused:
            first, second = self._sessions
            self._sessions = second, first
            self._read_from(first, self._budget // 2)
            self._read_from(second, 0)
            self._read_from(first, 0)
        if unpaused is not None:
            self._read_from(unpaused, 0)

    def key_agreed(self) -> None:
        """A handshake has made a key agreement."""
        self._handshakes -= KEY_AGREEMENT_COST - 1

    def spend(self, size: int) -> None:
        """So many bytes were read from somebody."""
        self._budget -= size

    def toil(self, labour: int) -> None:
        """A framing's work was worth so many bytes."""
        self._budget -= labour
        self.toiled += labour

    def _read_from(self, line: Line, left: int) -> None:
        """Read those in a line, until so much of the budget is left."""
        while self._budget > left and not (self.paused and line is not self._unpaused):
            reader = line.next(self.rank)
            if reader is None:
                break
            self._budget -= READ_COST
            self._read(reader)

    def _read(self, reader: Reader) -> None:
        reader.flags &= ~QUEUED
        self._reactor.guard(reader, reader.on_readable)
