"""What a worker tells its parent for operators: who comes and goes, and, once in a second that has a turn, what was
counted; and its answers to what the parent asks.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable

from ..admin.choice import Choice
from ..admin.steps import Steps
from ..cluster.handover.notes import note
from ..cluster.workers.accounts import plain
from ..cluster.workers.notes import Kind, encode_json
from ..net.reactor import Reactor
from ..reasons import CloseReason
from .observer import Observer
from .oversight import Oversight
from .parts import Parts
from .pulse import Beat, totals_of

Say = Callable[[bytes], None]


class Reports(Beat):
    """One worker's. `say` tells the parent. It is also the watcher of its connections (`ops.watch`)."""

    def __init__(self, parts: Parts, observer: Observer, say: Say) -> None:
        self._observer = observer
        self._say = say
        self._sampler = parts.sampler
        super().__init__(parts.reactor, observer.since, lambda: totals_of(parts))

    def _take(self, now: float) -> None:
        super()._take(now)
        self._sampler.glance()
        self.say_counts()

    def say_counts(self) -> None:
        """Tell what has been counted until now."""
        self._say(note(Kind.TOTALS, 0, encode_json(self._totals())))
        self._say(note(Kind.COUNTS, 0, encode_json(plain(self._observer.counted()))))

    # ---- see Watcher

    def here(self, client_id: int, peer: str, resumed: bool) -> None:
        """See Watcher."""
        self._happened("here", client_id, peer, resumed)

    def gone(self, client_id: int, peer: str, reason: CloseReason, detail: str) -> None:
        """See Watcher."""
        self._happened("gone", client_id, peer, reason.name, detail[:200])

    def banned(self, network: str, seconds: float) -> None:
        """See Watcher: that is for the parent to say."""

    def _happened(self, *what: Any) -> None:
        self._say(note(Kind.HAPPENED, 0, encode_json(what)))


class Answers:
    """To what the parent asks, each a step a turn."""

    def __init__(self, reactor: Reactor, oversight: Oversight) -> None:
        self._reactor = reactor
        self._oversight = oversight

    def answer(self, question: dict[str, Any], then: Callable[[Any], None]) -> None:
        """Call `then` with the answer, when there is one; None to what is not understood."""
        work = self._work(question)
        if work is None:
            then(None)
        else:
            self._go_on(work, then)

    def _work(self, question: dict[str, Any]) -> Steps[Any] | None:
        what, oversight = question["what"], self._oversight
        if what == "statistics":
            return self._statistics()
        if what == "choose":
            return oversight.choosing(Choice(*question["choice"]))
        if what == "rows":
            return oversight.rows(question["ids"])
        if what == "expel":
            return oversight.expelling(question["id"])
        return None

    def _statistics(self) -> Steps[Any]:
        return plain((yield from self._oversight.observing()))

    def _go_on(self, work: Steps[Any], then: Callable[[Any], None]) -> None:
        try:
            later = next(work)
        except StopIteration as done:
            then(done.value)
        else:
            (later or self._reactor.call_soon)(partial(self._go_on, work, then))
