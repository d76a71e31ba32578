"""Telling clients of version 3 what of theirs is safe: the master's socket has it in whole (SPEC 15).

That is looked at once a turn, behind the writing to the master. While something waits there, a mark stands for what
each client has brought in each turn. A client is told with the next record that goes to it anyway; at once, where much
has become safe; else a little later, by one timer for all, which there is only while somebody is owed something.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, Protocol

from ..config import Clients
from ..core.delivery import Delivery
from ..core.protocols.flow import Flow
from ..core.timers import Timer
from ..core.trunk import Trunk
from ..net.reactor import Handler, Reactor
from ..reasons import CloseReason
from .fairness.turns import NOTED, OWING

MOST_MARKS = 1024
"""While the master takes nothing: with so many, what comes later is known to be safe with what comes after it."""


AGAIN = 0.5
"""The part of the time for telling after which who was told something meanwhile is looked at again."""


class ReceiptLimits(NamedTuple):
    """How long a client may be owed word of what is safe, and how many bytes it may send ahead."""

    secs: float
    window: int

    @classmethod
    def of(cls, clients: Clients) -> ReceiptLimits:
        """Those of a configuration."""
        return cls(clients.ack_secs, clients.window_bytes)


class Creditor(Protocol):
    """A client's connection, to which the server owes something."""

    flags: int
    flow: Flow

    @property
    def closed(self) -> bool:
        """Whether it was given up, by either side."""
        ...

    def settle(self, much: bool) -> bool:
        """Tell it what is owed; with `much`, only if that is much. Whether nothing is owed any more."""
        ...


class _Mark(NamedTuple):
    """With so many packets written to the master, everything up to these numbers is safe."""

    pushed: int
    numbers: dict[Creditor, int]


class _Owing(NamedTuple):
    """Who is owed something, when it is time to tell it, and what it had been told when that began."""

    due: float
    creditor: Creditor
    told: int


class Receipts(Handler):
    """One server's. `secs`: how long a client may be owed something."""

    def __init__(self, reactor: Reactor, trunk: Trunk, secs: float) -> None:
        self._reactor = reactor
        self._trunk = trunk
        self.secs = secs
        self._noted: list[Creditor] = []
        self._marks: deque[_Mark] = deque()
        self._owing: deque[_Owing] = deque()
        self._again: deque[_Owing] = deque()  # those that were told something meanwhile, and are owed something since
        self._timer: Timer | None = None
        self._starved: dict[Creditor, None] = {}

    def note(self, creditor: Creditor) -> None:
        """It has brought something in this turn."""
        if not creditor.flags & NOTED:
            creditor.flags |= NOTED
            if not self._noted:
                self._reactor.mark_dirty(self)
            self._noted.append(creditor)

    def on_flush(self) -> None:
        """The turn ends: what it brought is written, if the master takes it."""
        noted, self._noted = self._noted, []
        trunk = self._trunk
        trunk.flush()
        pushed = trunk.pushed
        done = not self._marks and trunk.written >= pushed
        for creditor in noted:
            creditor.flags &= ~NOTED
            delivery = creditor.flow.delivery
            if done:
                self._is_safe(creditor, delivery, delivery.taken)
            else:
                self._mark(creditor, delivery.taken, pushed)
                creditor.settle(True)  # for its credit

    def _mark(self, creditor: Creditor, number: int, pushed: int) -> None:
        """It is safe when so much is written. Who brings nothing new gets no marks by that, however often it comes."""
        marks, flow = self._marks, creditor.flow
        if number != flow.marked:
            flow.marked = number
            if len(marks) == MOST_MARKS:
                marks[-1] = marks[-1]._replace(pushed=pushed)
            elif not marks or marks[-1].pushed != pushed:
                marks.append(_Mark(pushed, {}))
            marks[-1].numbers[creditor] = number

    def look(self) -> None:
        """The master has taken something."""
        marks = self._marks
        if marks:
            written = self._trunk.written
            while marks and marks[0].pushed <= written:
                for creditor, number in marks.popleft().numbers.items():
                    self._is_safe(creditor, creditor.flow.delivery, number)

    def _is_safe(self, creditor: Creditor, delivery: Delivery, number: int) -> None:
        if number > delivery.safe:
            delivery.safe = number
        flow = creditor.flow
        much = number - flow.told >= flow.shares.packets or flow.received - flow.told_received >= flow.shares.much
        if not (much and creditor.settle(True)) and not creditor.flags & OWING:
            creditor.flags |= OWING
            self._owing.append(_Owing(self._reactor.now + self.secs, creditor, flow.told))
            if self._timer is None:
                self._timer = self._reactor.call_later(self.secs, self._tell)

    def _tell(self, now: float) -> None:
        for owing in (self._owing, self._again):
            while owing and owing[0].due <= now:
                _, creditor, told = owing.popleft()
                flow = creditor.flow
                if flow.told == told:
                    creditor.flags &= ~OWING
                    creditor.settle(False)
                elif flow.owes and not creditor.closed:  # for less than that, while it is talked to all the time
                    self._again.append(_Owing(now + self.secs * AGAIN, creditor, flow.told))
                else:
                    creditor.flags &= ~OWING
        due = [owing[0].due for owing in (self._owing, self._again) if owing]
        self._timer = self._reactor.call_at(min(due), self._tell) if due else None

    # ---- credit

    def starve(self, creditor: Creditor) -> None:
        """It may send little, and is not allowed more while the master has so much to take."""
        self._starved[creditor] = None

    def forget(self, creditor: Creditor) -> None:
        """It is gone."""
        self._starved.pop(creditor, None)

    def feed(self) -> None:
        """The master has room again."""
        starved, self._starved = self._starved, {}
        for creditor in starved:
            creditor.settle(True)

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """See Handler: there is nothing to close."""

    def on_event(self, mask: int) -> None:
        """See Handler: there is nothing to read."""
