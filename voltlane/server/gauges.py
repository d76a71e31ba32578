"""What there is at this moment, counted when somebody asks: for the statistics and for the lines in the log."""

from __future__ import annotations

from collections import Counter

from ..admin.steps import Steps
from ..core.histogram import LATENCY_BOUNDS, ROUND_TRIP_BOUNDS, Histogram
from ..core.protocols.credentials import Kind, kind_of
from ..core.session import Session
from ..lanes.present import Present
from ..statistics import Clients, Links, Queues
from .parts import Parts

LOSS_BOUNDS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Of a thousand."""
SLICE = 512
"""Sessions looked at in one go, where others are to have their turn in between: about a millisecond."""


class Survey:
    """What is found by looking at every session once."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.lanes: Counter[str] = Counter()
        self.live: Counter[Kind] = Counter()
        """Sessions that have a connection, by whose their credential is, ..."""
        self.stale: Counter[Kind] = Counter()
        """... and those that have none."""
        self._known = 0
        self._latency, self._loss = Histogram(LATENCY_BOUNDS), Histogram(LOSS_BOUNDS)
        self._jitter = Histogram(ROUND_TRIP_BOUNDS)
        self.outboxes: list[int] = []
        """Bytes in the outbox of each client that has one."""
        self.backlogs = 0
        self._backlog_bytes = self._backlog_packets = 0

    def take(self) -> Survey:
        """Look at all of them, now."""
        for _ in self.slices():
            pass
        return self

    def slices(self) -> Steps[None]:
        """Look at all of them, a slice at each step. Who comes meanwhile may be missing."""
        sessions = list(self._parts.registry.sessions.values())
        for start in range(0, len(sessions), SLICE):
            for session in sessions[start : start + SLICE]:
                self._look(session)
            yield None

    def _look(self, session: Session) -> None:
        link, kind = self._parts.clients.link_of(session), kind_of(session.credential)
        if link is not None:
            self.live[kind] += 1
            self._look_at_link(link)
            return
        self.stale[kind] += 1
        if session.backlog is not None:
            self.backlogs += 1
            self._backlog_bytes += session.backlog.size
            self._backlog_packets += session.backlog.packets

    def _look_at_link(self, link: Present) -> None:
        self.lanes[link.lane] += 1
        if link.outbox is not None:
            self.outboxes.append(link.outbox.size)
        quality = link.quality
        if quality is not None:
            self._known += 1
            if quality.latency is not None:
                self._latency.observe(quality.latency)
            if quality.loss is not None:
                self._loss.observe(quality.loss)
            if quality.jitter is not None:
                self._jitter.observe(quality.jitter)

    # ---- what was found

    @property
    def links(self) -> Links:
        """See Statistics."""
        return Links(self._known, self._latency.distribution(), self._loss.distribution(), self._jitter.distribution())

    @property
    def queues(self) -> Queues:
        """See Statistics."""
        parts, master = self._parts, self._parts.trunk.outbox
        return Queues(
            master_bytes=master.size if master is not None else 0,
            master_packets=master.packets if master is not None else 0,
            clients_bytes=sum(self.outboxes),
            clients_waiting=len(self.outboxes),
            backlog_bytes=self._backlog_bytes,
            backlog_packets=self._backlog_packets,
            memory_bytes=parts.budget.used,
            memory_limit=parts.budget.limit,
        )


def clients(parts: Parts) -> Clients:
    """How many clients are where."""
    stale = parts.registry.stale_count
    return Clients(len(parts.registry.sessions) - stale, stale, len(parts.arrivals))
