"""The workers followed by others in place, one after the other: each hands over to a process that is started for it, by
the way of `handover`, while the others serve. Where one fails the upgrade ends, and those that are not new go on.
"""

from __future__ import annotations

import socket
from typing import Protocol

from ...net.reactor import Reactor
from ...ops.log import log
from ..handover.notes import note
from .notes import Kind
from .worker import Step, Worker


class Crew(Protocol):
    """Whose workers they are: see `crew`."""

    reactor: Reactor
    workers: list[Worker]

    def new_worker(self, index: int) -> Worker:
        """One more with this index, not started yet."""
        ...

    def changed(self, worker: Worker) -> None:
        """Another one is in its place."""

    def follow(self, old: Worker, new: Worker) -> None:
        """The new one has what the old one had."""

    def give_up(self, worker: Worker) -> None:
        """Its process has ended meanwhile, and the one that was to follow has nothing of it."""


class Succession:
    """One upgrade."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._left = list(range(len(crew.workers)))
        self._old: Worker | None = None
        self.under_way = True
        self._next()

    def look(self) -> None:
        """Something has changed."""
        old = self._old
        if old is None or old.successor is None or not self.under_way:
            return
        new = old.successor
        if new.step is Step.SERVING:
            self._old = None
            self._crew.follow(old, new)
            self._crew.changed(new)
            self._next()
        elif new.step in (Step.RESTING, Step.ENDED):
            new.stop(False)
            old.successor, self._old = None, None
            if old.step is Step.SERVING:
                self._fail(old.index)
            else:  # it has died meanwhile, and is started again with the program as it is now
                if old.process is None:
                    self._crew.give_up(old)
                self._next()

    def end(self) -> None:
        """The server ends: no others are started."""
        self.under_way = False
        if self._old is not None and self._old.successor is not None:
            self._old.successor.stop(False)

    def _next(self) -> None:
        while self._left:
            old = self._crew.workers[self._left.pop(0)]
            if old.step is Step.SERVING and self._begin(old):
                return
        if self.under_way:
            self.under_way = False
            log.info("all workers are new")

    def _begin(self, old: Worker) -> bool:
        new = self._crew.new_worker(old.index)
        ours, theirs = socket.socketpair()
        with theirs:
            new.starts = old.starts
            new.start(heir=theirs)
        if new.process is None:
            ours.close()
            new.stop(True)
            self._fail(old.index)
            return True
        old.successor, self._old = new, old
        old.say(note(Kind.HAND_OVER, new.process.pid), ours)
        return True

    def _fail(self, index: int) -> None:
        self.under_way = False
        log.error("worker %d could not be followed by another process: it goes on, and so do those behind it", index)
