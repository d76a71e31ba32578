"""All processes of a server as its operator sees them, in the one that has the admin endpoint (`admin.subject`): what
is counted is added up, clients of all are one list, and whoever is meant by an order is told.

What a worker had counted when it died stays in the sums: it tells it each second, and whenever it is asked. So no sum
is ever less than it was said to be.
"""

from __future__ import annotations

from typing import Any, Protocol

from ..admin.choice import Choice, Chosen, first_of
from ..admin.recorder import Recorder
from ..admin.steps import Steps
from ..cluster.handover.notes import Note
from ..cluster.workers.accounts import (
    add_totals,
    counted,
    from_plain,
    past_totals,
    together,
    totals_from,
)
from ..cluster.workers.crew import Crew
from ..cluster.workers.notes import Kind, decode_json
from ..cluster.workers.questions import Questions
from ..cluster.workers.worker import Step, Worker
from ..core.counters import Counters
from ..core.histogram import LATENCY_BOUNDS, ROUND_TRIP_BOUNDS, Histogram
from ..core.readiness import Readiness
from ..core.timeline import Timeline, Totals
from ..net.reactor import Reactor
from ..reasons import CloseReason
from ..statistics import ClientRow, Clients, Draining, Links, MasterLink, Queues, Statistics, WorkerFigures
from ..version import __version__
from .drain_all import DrainOfAll
from .gauges import LOSS_BOUNDS
from .pulse import Beat, reasons_of
from .tallies import tallies_of


class Host(Protocol):
    """The parent."""

    reactor: Reactor
    crew: Crew
    counters: Counters
    readiness: Readiness

    @property
    def master_address(self) -> str:
        """Of the master, by the settings."""
        ...

    drain: DrainOfAll


class Whole:
    """See Subject."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._since = host.reactor.now
        self._questions = Questions(host.reactor)
        self._totals: dict[Worker, Totals] = {}  # as each worker has told them last
        self._counts: dict[Worker, dict[str, Any] | bytes] = {}  # the same, of the rest: plain, or as JSON
        self._past: Statistics | None = None  # of all processes that are gone
        self._past_totals: Totals | None = None
        self.recorder: Recorder | None = None
        """Who is told what becomes of clients."""
        self.drain = host.drain.begin
        self.take_back = host.drain.take_back
        self.timeline: Timeline = Beat(host.reactor, self._since, self._all_totals).timeline

    # ---- what workers tell

    def told(self, worker: Worker, found: Note) -> None:
        """One has said something for this."""
        if found.kind is Kind.TOTALS:
            self._totals[worker] = totals_from(decode_json(found.data))
        elif found.kind is Kind.COUNTS:
            self._counts[worker] = found.data
        elif found.kind is Kind.HAPPENED and self.recorder is not None:
            what, *values = decode_json(found.data)
            if what == "here":
                self.recorder.here(*values)
            else:
                client_id, peer, reason, detail = values
                self.recorder.gone(client_id, peer, CloseReason[reason], detail)

    def gone(self, worker: Worker) -> None:
        """One's process is gone: what it has counted stays."""
        totals, counts = self._totals.pop(worker, None), self._counts.pop(worker, None)
        if totals is not None:
            past = past_totals(totals)
            self._past_totals = past if self._past_totals is None else add_totals(past, [self._past_totals])
        if counts is not None:
            figures = _counted(counts)
            self._past = figures if self._past is None else _both(self._past, figures)

    # ---- see Subject

    @property
    def ready(self) -> bool:
        """See Subject."""
        return self._host.readiness.ready

    @property
    def state(self) -> str:
        """See Subject."""
        return self._host.readiness.text

    @property
    def draining(self) -> Draining | None:
        """See Subject."""
        return self._host.drain.progress

    def observing(self) -> Steps[Statistics]:
        """See Subject."""
        workers = list(self._host.crew.workers)
        asked = [(worker, worker.process) for worker in workers]
        answers = yield from self._questions.asking("statistics", {worker: {} for worker in workers}, self._learn)
        parts: list[Statistics] = [] if self._past is None else [self._past]
        parts += [_counted(counts) for worker, counts in self._counts.items() if worker not in answers]
        figures: list[WorkerFigures] = []
        for worker, process in asked:
            known, found = answers[worker], None
            if known is not None and worker.process is process:  # else it is in the past by now
                found = from_plain(known)
            elif worker in self._counts:
                found = _counted(self._counts[worker])
            figures.append(_figures(worker, found))
            if found is not None:
                parts.append(found)
        drain = self._host.drain
        drain.told = sum(part.draining.told for part in parts if part.draining is not None)
        return together(self._own(), parts)._replace(workers=tuple(figures), draining=drain.progress)

    def _learn(self, worker: Worker, answer: dict[str, Any]) -> None:
        self._counts[worker] = answer

    def choosing(self, choice: Choice) -> Steps[Chosen]:
        """See Subject."""
        asked = {worker: {"choice": list(choice)} for worker in self._host.crew.workers}
        answers = yield from self._questions.asking("choose", asked)
        found = [answer for answer in answers.values() if answer is not None]
        runs = [[(bool(unknown), value, client_id) for unknown, value, client_id in run] for _, run in found]
        yield None
        return Chosen(sum(total for total, _ in found), (yield from first_of(runs, choice.most)))

    def rows(self, ids: list[int]) -> Steps[list[ClientRow]]:
        """See Subject."""
        asked: dict[Worker, dict[str, Any]] = {}
        for client_id in ids:
            asked.setdefault(self._host.crew.home_of(client_id), {"ids": []})["ids"].append(client_id)
        answers = yield from self._questions.asking("rows", asked)
        rows = [ClientRow(*row) for answer in answers.values() for row in answer or ()]
        place = {client_id: place for place, client_id in enumerate(ids)}
        return sorted(rows, key=lambda row: place[row.id])

    def expelling(self, client_id: int) -> Steps[bool]:
        """See Subject."""
        home = self._host.crew.home_of(client_id)
        answers = yield from self._questions.asking("expel", {home: {"id": client_id}})
        return bool(answers[home])

    # ---- the parent's own

    def _own(self) -> Statistics:
        host, nothing = self._host, Histogram(LATENCY_BOUNDS).distribution()
        tallies = tallies_of(host.counters)
        return Statistics(
            version=__version__,
            uptime=host.reactor.time() - self._since,
            counts=tallies.counts,
            reasons=tallies.reasons,
            latencies=tallies.latencies,
            clients=Clients(0, 0, len(host.crew.lounge)),
            queues=Queues(0, 0, 0, 0, 0, 0, 0, 0),
            links=Links(0, nothing, Histogram(LOSS_BOUNDS).distribution(), Histogram(ROUND_TRIP_BOUNDS).distribution()),
            master=MasterLink(host.master_address, False, 0, False, None, 0),
            loop=host.reactor.metrics.summary(),
            lanes={},
            protocols={},
            certificates=(),
        )

    def _all_totals(self) -> Totals:
        host, metrics = self._host, self._host.reactor.metrics
        own = Totals(
            packets_up=0,
            packets_down=0,
            bytes_up=0,
            bytes_down=0,
            closed=sum(host.counters.closed.values()),
            busy_secs=metrics.busy,
            turns=metrics.all_turns().counts,
            round_trips=Histogram(ROUND_TRIP_BOUNDS).distribution().counts,
            clients=0,
            stale=0,
            master_bytes=0,
            client_bytes=0,
            reasons=reasons_of(host.counters),
        )
        past = [] if self._past_totals is None else [self._past_totals]
        return add_totals(own, [*self._totals.values(), *past])


def _counted(known: dict[str, Any] | bytes) -> Statistics:
    """What a worker had counted."""
    return counted(from_plain(decode_json(known) if isinstance(known, bytes) else known))


def _both(one: Statistics, other: Statistics) -> Statistics:
    """What two that are gone have counted."""
    return together(one, [other])._replace(
        master=one.master._replace(connections=one.master.connections + other.master.connections)
    )


def _figures(worker: Worker, found: Statistics | None) -> WorkerFigures:
    state = worker.status.state.value if worker.step is Step.SERVING else worker.step.value
    pid = worker.process.pid if worker.process is not None else 0
    if found is None:
        return WorkerFigures(worker.index, state, pid, worker.starts, len(worker.places), 0, 0, 0, 0, 0, 0, 0.0, 0)
    counts = found.counts
    return WorkerFigures(
        worker.index,
        state,
        pid,
        worker.starts,
        len(worker.places),
        found.clients.live,
        found.clients.stale,
        counts["packets_up"],
        counts["packets_down"],
        counts["bytes_up"],
        counts["bytes_down"],
        found.loop.busy_secs,
        found.queues.memory_bytes,
    )
