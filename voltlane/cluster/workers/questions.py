"""Asking several workers at once, and waiting for their answers, but not for long."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Callable

from ...net.reactor import Reactor
from .worker import Worker

PATIENCE_SECS = 2.0
"""For one that does not answer: what the others say is shown without it then."""

Later = Callable[[Callable[[], object]], object]
"""See `admin.steps`."""


class Questions:
    """Asks."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor

    def asking(
        self,
        what: str,
        asked: dict[Worker, dict[str, Any]],
        learn: Callable[[Worker, Any], None] = lambda worker, answer: None,
    ) -> Generator[Later | None, None, dict[Worker, Any]]:
        """Ask each of these workers, with these values. The answers; None of one that has none. `learn` gets each
        answer when it comes."""
        asking = _Asking(asked, learn)
        for worker, values in asked.items():
            worker.ask(what, values, asking.taker(worker))
        timer = self._reactor.call_later(PATIENCE_SECS, asking.give_up)
        while asking.missing:
            yield asking.wake_later
        self._reactor.cancel(timer)
        return asking.answers


class _Asking:
    """One question."""

    def __init__(self, asked: dict[Worker, dict[str, Any]], learn: Callable[[Worker, Any], None]) -> None:
        self._learn = learn
        self.missing = set(asked)
        self.answers: dict[Worker, Any] = dict.fromkeys(asked)
        self._waiting: list[Callable[[], object]] = []

    def wake_later(self, wake: Callable[[], object]) -> None:
        """Call this when all answers are there."""
        self._waiting.append(wake)

    def taker(self, worker: Worker) -> Callable[[Any], None]:
        """Who gets the answer of one."""

        def take(answer: Any) -> None:
            if worker in self.missing:
                self.missing.discard(worker)
                self.answers[worker] = answer
                if answer is not None:
                    self._learn(worker, answer)
                if not self.missing:
                    self._wake()

        return take

    def give_up(self, now: float) -> None:
        """Do without those that are missing."""
        self.missing.clear()
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()
