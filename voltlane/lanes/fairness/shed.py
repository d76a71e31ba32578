"""What goes when the memory for all queues together is used up: the largest of them, until it is enough.

Of several that are about equally large, the one whose client's link is worst, as far as that is known.
It happens at the end of a turn. In a turn a stream is read once, so that is how much the budget can be exceeded by.
"""

from __future__ import annotations

from typing import Protocol, cast

from ...core.budget import Budget, Holding
from ...core.hub import Hub
from ...core.session import Session
from ...net.reactor import Handler, Reactor
from ...ops.log import log
from ...reasons import EndReason
from .sampler import Sampler, rank

ALIKE = 16
"""Of so many queues of about the largest size, the links are compared."""
QUIET_SECS = 10.0
"""Between two lines in the log."""


class Owner(Protocol):
    """Who holds memory for a client that is connected."""

    def shed(self, holding: Holding) -> None:
        """Give this up."""


class Shedder(Handler):
    """Watches a budget, and says in the log when something had to go: at once, and then not again for a while."""

    def __init__(self, reactor: Reactor, hub: Hub, budget: Budget, sampler: Sampler) -> None:
        self._reactor = reactor
        self._hub = hub
        self._budget = budget
        self._sampler = sampler
        self._quiet_until = reactor.now
        budget.on_over = self._on_over

    def _on_over(self) -> None:
        self._reactor.mark_dirty(self)

    def on_flush(self) -> None:
        """Bring the sum back under the limit."""
        budget, queues, before = self._budget, 0, self._budget.used
        self._sampler.look()
        while budget.is_over:
            largest = max(budget.largest_ones(ALIKE), key=_rank, default=None)
            if largest is None:
                break  # the rest waits for the master, which has limits of its own
            self._shed(largest)
            queues += 1
            assert not largest.held, f"{largest} was not given up"
        now = self._reactor.now
        if queues and now >= self._quiet_until:
            self._quiet_until = now + QUIET_SECS
            log.warning("the memory for queues is used up: %d given up, %d bytes", queues, before - budget.used)

    def _shed(self, holding: Holding) -> None:
        owner = holding.owner
        if isinstance(owner, Session):
            self._hub.overflow(owner, EndReason.MEMORY)
        else:
            cast(Owner, owner).shed(holding)


def _rank(holding: Holding) -> int:
    return rank(holding.owner)
