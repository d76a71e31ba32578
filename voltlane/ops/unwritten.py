"""Lines of the log that could not be written: counted, and told as soon as they can be, though nothing else is to be
said."""

from __future__ import annotations

from typing import Callable

from ..net.reactor import Reactor
from .bounds import BoundedHandler

TRY_SECS = 2.0
"""How long until it is tried again. There is no timer while nothing is owed."""


class Unwritten:
    """What one server's log could not write so far; `count(lines)` is told of what it never will."""

    def __init__(self, handler: BoundedHandler, reactor: Reactor, count: Callable[[int], None]) -> None:
        self._handler = handler
        self._reactor = reactor
        self._count = count
        self._trying = False
        handler.on_owing = self._on_owing

    def _on_owing(self, lost: int) -> None:
        self._count(lost)
        if not self._trying:
            self._trying = True
            self._reactor.call_later(TRY_SECS, self._try)

    def _try(self, now: float) -> None:
        self._handler.sum_up()
        self._trying = self._handler.owes
        if self._trying:
            self._reactor.call_later(TRY_SECS, self._try)
