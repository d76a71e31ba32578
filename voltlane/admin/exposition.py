"""/metrics: the figures as Prometheus metrics, written by prometheus_client itself.

Names begin with `voltlane_`. Every label's values are a closed set of the code's own words (reasons, states, queues,
phases, lanes, protocols), or the names of the server's own certificates: no client can make a new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Callable

from ..statistics import Distribution, Statistics, WorkerFigures
from .steps import Steps

try:
    import prometheus_client
    import prometheus_client.core
    from prometheus_client.exposition import choose_encoder
except ImportError as error:
    prometheus_client = None
    MISSING = error.name or "prometheus_client"
else:
    MISSING = ""

AVAILABLE = prometheus_client is not None

_PREFIX = "voltlane_"

_COUNTS = {
    "accepted": ("connections_accepted", "Client connections accepted."),
    "passed_on": ("connections_passed_on", "Connections passed on to where their sessions are."),
    "taken_in": ("connections_taken_in", "Connections taken in that were passed on."),
    "relayed": ("connections_relayed", "Connections passed on whose bytes still go through here."),
    "sessions": ("sessions_opened", "Sessions of new clients."),
    "resumed": ("sessions_resumed", "Sessions that a client came back to."),
    "restored": ("sessions_restored", "Sessions that were kept over a restart."),
    "journal_errors": ("journal_errors", "Times that the journal of sessions could not be written."),
    "replayed": ("packets_replayed", "Missed packets that were sent to clients that came back."),
    "backlog_dropped": ("backlog_packets_dropped", "Missed packets that a backlog had no room for."),
    "gaps": ("gaps", "Gaps in the numbers of packets that were told, one way or the other."),
    "uncertain": ("uncertain", "Packets of which clients were told that nobody knows whether they were passed on."),
    "unknown_client": ("unknown_client_packets", "Packets of the master's for clients that there are not."),
    "moved_client": ("moved_client_packets", "Packets of the master's for clients that another server has."),
    "taken": ("sessions_taken", "Sessions that another server had, or nobody, and were got from there."),
    "forced": ("sessions_forced", "Of those, the ones that were taken from a server that did not answer."),
    "given": ("sessions_given", "Sessions that were given up to another server."),
    "fenced": ("sessions_fenced", "Sessions that were found to be another server's."),
    "stray_notices": ("stray_notices", "Notices of the master's about clients that there are not."),
    "failures_from_master": ("master_failures", "Failures that the master reported."),
    "bytes_discarded": ("bytes_discarded", "Bytes of clients that were not passed on when their connections closed."),
    "throttled": ("throttled", "Times that a client was not read for a while because it had sent too much."),
    "notices_dropped": ("notices_dropped", "Answers to the master's own mistakes that it was too slow for."),
    "master_connections": ("master_connections", "Connections made to the master."),
    "master_bytes_unconfirmed": ("master_bytes_unconfirmed", "Bytes that may be lost with connections to the master."),
    "log_unwritten": ("log_lines_unwritten", "Lines of the log that could not be written, or were not read in time."),
    "internal_errors": ("internal_errors", "Bugs of ours: each cost one connection."),
    "packets_up": ("packets_up", "Packets on the firehose, to the master."),
    "packets_down": ("packets_down", "Packets on the firehose, from the master."),
    "bytes_up": ("bytes_up", "Bytes on the firehose, to the master."),
    "bytes_down": ("bytes_down", "Bytes on the firehose, from the master."),
}
"""A count's name here, and what it is; of one that is not in the table the name must do."""

_REASONS = {
    "closed": ("connections_closed", "Connections closed, of clients and to the master, by reason."),
    "ended": ("sessions_ended", "Sessions ended, by reason."),
    "held": ("accepting_held", "How often accepting stopped for a while, by reason."),
    "admin": ("admin_refusals", "Connections and requests that the admin endpoint gave up or refused, by reason."),
    "store": ("store_connections_ended", "Connections to the store of several servers that ended, by reason."),
    "dropped_datagrams": ("datagrams_dropped", "Datagrams of clients or to them that were dropped, by reason."),
}

_LATENCIES = {
    "handshake_secs": ("handshake_seconds", "From accepting a new client to the end of its handshake."),
    "resume_secs": ("resume_seconds", "From accepting a client that comes back to the end of its resume."),
}


_COUNTED = ("starts", "up", "down", "busy_seconds")
_OF_WORKERS: tuple[tuple[str, str, Callable[[WorkerFigures], float]], ...] = (
    ("ready", "1 while it takes connections, and has a master.", lambda worker: float(worker.state == "ready")),
    ("starts", "How often it was started.", lambda worker: worker.starts),
    ("connections", "Connections that it has.", lambda worker: worker.connections),
    ("clients", "Live clients that it has.", lambda worker: worker.live),
    ("packets_up", "Packets to its master.", lambda worker: worker.packets_up),
    ("packets_down", "Packets from its master.", lambda worker: worker.packets_down),
    ("loop_busy_seconds", "Seconds in which its loop did not wait.", lambda worker: worker.busy_secs),
    ("queue_memory_bytes", "Memory that its queues take.", lambda worker: worker.memory_bytes),
)
"""What is told of each: name, meaning, value."""


def expose(statistics: Statistics, ready: bool, accept: str) -> tuple[bytes, str]:
    """The metrics and their content type, in the format that prometheus_client has for this header Accept."""
    work = exposing(statistics, ready, accept)
    while True:
        try:
            next(work)
        except StopIteration as done:
            body, content_type = done.value
            return body, content_type


def exposing(statistics: Statistics, ready: bool, accept: str) -> Steps[tuple[bytes, str]]:
    """The same family by family: writing all of it at once would keep clients waiting for ten milliseconds."""
    write, content_type = _encoder(accept)
    end: bytes = write(_These())  # what stands behind all of it: OpenMetrics says that it is whole
    parts = []
    for family in _Families(statistics, ready).collect():
        text: bytes = write(_These(family))
        parts.append(text[: len(text) - len(end)])
        yield None
    return b"".join(parts) + end, content_type


def _encoder(accept: str) -> tuple[Callable[[_These], bytes], str]:
    """prometheus_client's choice. It believes in whatever version is asked for, and repeats it."""
    try:
        write, content_type = choose_encoder(accept)
        content_type.encode("ascii")
        return write, content_type
    except (TypeError, ValueError):  # a version that is no number
        return choose_encoder("")  # type: ignore[no-any-return]


class _These:
    """Some metric families, as prometheus_client asks for all there are."""

    def __init__(self, *families: Any) -> None:
        self._families = families

    def collect(self) -> tuple[Any, ...]:
        """Every metric family."""
        return self._families


class _Families:
    """The figures as metric families."""

    def __init__(self, statistics: Statistics, ready: bool) -> None:
        self._statistics = statistics
        self._ready = ready

    def collect(self) -> Iterator[Any]:
        """Every metric family."""
        statistics = self._statistics
        info = prometheus_client.core.InfoMetricFamily(f"{_PREFIX}build", "What is running.")
        info.add_metric([], {"version": statistics.version})
        yield info
        yield _gauge("uptime_seconds", "Seconds since the server was made.", statistics.uptime)
        yield _gauge("ready", "1 while clients are accepted and there is a master.", self._ready)
        for name, value in statistics.counts.items():
            metric, text = _COUNTS.get(name, (name, name.replace("_", " ")))
            yield _counter(metric, text, value)
        for name, by_reason in statistics.reasons.items():
            metric, text = _REASONS.get(name, (name, name.replace("_", " ")))
            yield _counters(metric, text, "reason", {reason.value: value for reason, value in by_reason.items()})
        for name, distribution in statistics.latencies.items():
            metric, text = _LATENCIES.get(name, (name.replace("_secs", "_seconds"), name.replace("_", " ")))
            yield _histogram(metric, text, "", {"": distribution})
        yield from self._gauges()
        yield from self._ways()
        yield from self._certificates()
        yield from self._store()
        yield from self._datagrams()
        if statistics.workers:
            yield from self._workers(statistics.workers)
        links = statistics.links
        yield _gauge("links_known", "Clients whose link was measured.", links.known)
        yield _spread("link_rtt_seconds", "Round trips to clients, now.", links.latency)
        yield _spread(
            "link_loss", "Of a thousand segments to each client or datagrams from it, those lost, now.", links.loss
        )
        loop = statistics.loop
        yield _counter("loop_turns", "Turns of the event loop.", loop.turns)
        yield _counter("loop_busy_seconds", "Seconds in which the loop did not wait.", loop.busy_secs)
        yield _histogram("loop_lag_seconds", "How long turns of the loop took.", "", {"": loop.lag})
        yield _histogram("loop_phase_seconds", "Time by phase, of some turns.", "phase", loop.phases)

    def _ways(self) -> Iterator[Any]:
        """How clients come, and what they speak."""
        lanes, protocols = self._statistics.lanes, self._statistics.protocols
        live = {name: figures.live for name, figures in lanes.items()}
        yield _gauges("lane_clients", "Live clients by the lane that they came by.", "lane", live)
        accepted = {name: figures.accepted for name, figures in lanes.items()}
        yield _counters("lane_connections_accepted", "Client connections accepted, by lane.", "lane", accepted)
        clients = prometheus_client.core.GaugeMetricFamily(
            f"{_PREFIX}protocol_clients", "Clients by protocol and state.", labels=["protocol", "state"]
        )
        for name, figures in protocols.items():
            clients.add_metric([name, "live"], float(figures.live))
            clients.add_metric([name, "stale"], float(figures.stale))
        yield clients
        greeted = {name: figures.greeted for name, figures in protocols.items()}
        text = "Handshakes finished, of new clients and of those that came back, by protocol."
        yield _counters("protocol_handshakes", text, "protocol", greeted)
        gaps = {name: figures.gaps for name, figures in protocols.items()}
        yield _counters("protocol_gaps", "Gaps that were told, by protocol.", "protocol", gaps)

    def _workers(self, workers: tuple[WorkerFigures, ...]) -> Iterator[Any]:
        """Families of their own: of those above each is the sum over all workers, and a sum over these is no more."""
        yield _gauge("workers", "Workers that there are to be.", len(workers))
        for name, text, value in _OF_WORKERS:
            by_worker = {str(worker.worker): value(worker) for worker in workers}
            kind = _counters if name.endswith(_COUNTED) else _gauges
            yield kind(f"worker_{name}", text, "worker", by_worker)

    def _certificates(self) -> Iterator[Any]:
        expiries: dict[str, float] = {}
        for certificate in self._statistics.certificates:
            for name in certificate.names:
                expiries.setdefault(name, certificate.expires)  # of two for one name the first is shown
        text = "When the certificate for a name expires, in seconds since 1970."
        yield _gauges("certificate_expiry_timestamp_seconds", text, "name", expiries)

    def _store(self) -> Iterator[Any]:
        store = self._statistics.store
        if store is not None:
            yield _gauge("store_up", "1 while the store is connected and takes what is written.", store.up)
            yield _counter("store_commands", "Commands sent to the store.", store.commands)
            yield _counter("store_errors", "Commands not sent to it, or not done, or without an answer.", store.errors)
            yield _gauge("store_pending", "Commands to it that are under way.", store.pending)
            yield _gauge("store_lag_seconds", "How long these take, or the last ones took.", store.lag_secs)
            yield _counter("store_connections", "Connections made to it.", store.connections)

    def _datagrams(self) -> Iterator[Any]:
        datagrams = self._statistics.datagrams
        if datagrams is not None:
            yield _counter("datagrams_up", "Datagrams taken from clients.", datagrams.packets_up)
            yield _counter("datagrams_down", "Datagrams sent to clients.", datagrams.packets_down)
            yield _counter("datagram_bytes_up", "Bytes in datagrams of clients.", datagrams.bytes_up)
            yield _counter("datagram_bytes_down", "Bytes in datagrams to clients.", datagrams.bytes_down)
            yield _gauge("datagram_channels", "Sessions with datagrams beside their stream.", datagrams.channels)
            yield _gauge("datagram_peers", "Clients that are nothing but an address.", datagrams.peers)
            yield _counter("datagram_paths_moved", "Times that a client's datagrams changed address.", datagrams.roamed)
            text = "Times that it was asked whether a client is at an address."
            yield _counter("datagram_challenges", text, datagrams.challenges)
            text = "By how much less evenly datagrams come than clients send them, now."
            yield _spread("link_jitter_seconds", text, self._statistics.links.jitter)

    def _gauges(self) -> Iterator[Any]:
        clients, queues, master = self._statistics.clients, self._statistics.queues, self._statistics.master
        yield _gauges("clients", "Clients by state.", "state", clients._asdict())
        in_bytes = {"master": queues.master_bytes, "clients": queues.clients_bytes, "backlog": queues.backlog_bytes}
        yield _gauges("queue_bytes", "Bytes that wait: for the master, for clients, for stale ones.", "queue", in_bytes)
        in_packets = {"master": queues.master_packets, "backlog": queues.backlog_packets}
        yield _gauges("queue_packets", "Packets that wait.", "queue", in_packets)
        yield _gauge("queue_memory_bytes", "Memory that all queues take together.", queues.memory_bytes)
        yield _gauge("queue_memory_limit_bytes", "Memory that they may take.", queues.memory_limit)
        yield _gauge("clients_waiting", "Clients for which something waits.", queues.clients_waiting)
        yield _gauge("master_connected", "1 while there is a connection to the master.", master.connected)
        yield _gauge("master_full", "1 while so much waits for the master that clients are not read.", master.full)


def _gauge(name: str, text: str, value: float) -> Any:
    return prometheus_client.core.GaugeMetricFamily(_PREFIX + name, text, value=float(value))


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Any:
    family = prometheus_client.core.GaugeMetricFamily(_PREFIX + name, text, labels=[label])
    for word, value in values.items():
        family.add_metric([word], float(value))
    return family


def _counter(name: str, text: str, value: float) -> Any:
    return prometheus_client.core.CounterMetricFamily(_PREFIX + name, text, value=value)


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Any:
    family = prometheus_client.core.CounterMetricFamily(_PREFIX + name, text, labels=[label])
    for word, value in values.items():
        family.add_metric([word], value)
    return family


def _spread(name: str, text: str, distribution: Distribution) -> Any:
    """A distribution of this moment, which does not count up."""
    family = prometheus_client.core.GaugeHistogramMetricFamily(_PREFIX + name, text)
    family.add_metric([], _buckets(distribution), distribution.total)
    return family


def _buckets(distribution: Distribution) -> list[tuple[str, float]]:
    return list(zip([*map(str, map(float, distribution.bounds)), "+Inf"], map(float, distribution.counts)))


def _histogram(name: str, text: str, label: str, values: Mapping[str, Distribution]) -> Any:
    family = prometheus_client.core.HistogramMetricFamily(_PREFIX + name, text, labels=[label] if label else [])
    for word, distribution in values.items():
        family.add_metric([word] if label else [], _buckets(distribution), distribution.total)
    return family
