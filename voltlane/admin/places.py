"""Who has a place when there are more connections than places: a probe gets its answer, whatever the others do.

A connection waits (for a request, or for the rest of one), is answered, watches, or leaves: it has had its last answer,
and its peer has not closed yet. When another connection comes the one goes that has been leaving the longest, or else
the one that has waited the longest. Of those who are answered the one that has left its answer lying
the longest goes when there is another answer to give. Who takes its answer and who watches stays: there are few enough
of them that most places are left for those who wait, each of whom may be a probe that is about to ask.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from ..reasons import AdminEnd

MOST_CONNECTIONS = 64
MOST_ANSWERS = 24
"""Answers under way: they take more than a turn to make, or their peers have not taken them yet."""
FOR_METRICS = 8
"""Of these are for /metrics alone."""


class Stage(enum.Enum):
    """What a connection is doing."""

    WAITING = enum.auto()
    ANSWERING = enum.auto()
    WATCHING = enum.auto()
    LEAVING = enum.auto()


class Occupant(Protocol):
    """A connection with a place."""

    stage: Stage

    @property
    def stalled(self) -> bool:
        """Whether its answer is there, and not taken."""
        ...

    def give_up(self, reason: AdminEnd) -> None:
        """Close it, and count why."""


_O = TypeVar("_O", bound=Occupant)


class Places(Generic[_O]):
    """The connections there are, of each stage who has been in it the longest first."""

    def __init__(self) -> None:
        self._lines: dict[Stage, dict[_O, None]] = {stage: {} for stage in Stage}

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __iter__(self) -> Iterator[_O]:
        for line in self._lines.values():
            yield from list(line)

    def move(self, occupant: _O, stage: Stage) -> None:
        """It is at this stage from now on, or again."""
        self.leave(occupant)
        occupant.stage = stage
        self._lines[stage][occupant] = None
        if len(self._lines[Stage.ANSWERING]) > MOST_ANSWERS:
            self._drop_stalled()

    def leave(self, occupant: _O) -> None:
        """It is gone, or has never come."""
        self._lines[occupant.stage].pop(occupant, None)

    def next_to_go(self) -> _O:
        """Who is to go for a new connection."""
        return next(iter(self._lines[Stage.LEAVING] or self._lines[Stage.WAITING]))

    def admit_answer(self, metrics: bool) -> bool:
        """Whether one more answer may take its time; somebody who does not take theirs may have to go for it."""
        most = MOST_ANSWERS if metrics else MOST_ANSWERS - FOR_METRICS
        return len(self._lines[Stage.ANSWERING]) < most or self._drop_stalled()

    def _drop_stalled(self) -> bool:
        for occupant in self._lines[Stage.ANSWERING]:
            if occupant.stalled:
                occupant.give_up(AdminEnd.ANSWER_UNREAD)
                return True
        return False
