"""The figures as JSON: what /stats answers, and what the page and the terminal view are shown each second."""

from __future__ import annotations

from typing import Any

from ..statistics import ClientRow, Distribution, Draining, Statistics


def figures(statistics: Statistics, ready: bool, state: str) -> dict[str, Any]:
    """A server at one moment. Names are those of `statistics`; reasons go by their texts, zeros left out."""
    return {
        "version": statistics.version,
        "uptime": round(statistics.uptime, 3),
        "ready": ready,
        "state": state,
        "draining": None if statistics.draining is None else draining_figures(statistics.draining),
        "clients": statistics.clients._asdict(),
        "master": {**statistics.master._asdict(), "reconnects": statistics.master.reconnects},
        "queues": statistics.queues._asdict(),
        "links": {
            "known": statistics.links.known,
            "latency": spread(statistics.links.latency),
            "loss": spread(statistics.links.loss),
            **({} if statistics.datagrams is None else {"jitter": spread(statistics.links.jitter)}),
        },
        "counts": dict(statistics.counts),
        "reasons": {
            name: {reason.value: count for reason, count in by_reason.items() if count}
            for name, by_reason in statistics.reasons.items()
        },
        "latencies": {name: spread(distribution) for name, distribution in statistics.latencies.items()},
        "lanes": {name: figures._asdict() for name, figures in statistics.lanes.items()},
        "protocols": {name: figures._asdict() for name, figures in statistics.protocols.items()},
        "certificates": [
            {**certificate._asdict(), "days_left": round(certificate.days_left, 2)}
            for certificate in statistics.certificates
        ],
        **({} if statistics.store is None else {"store": statistics.store._asdict()}),
        **({} if statistics.datagrams is None else {"datagrams": statistics.datagrams._asdict()}),
        "workers": [worker._asdict() for worker in statistics.workers],
        "loop": {
            "turns": statistics.loop.turns,
            "busy_secs": round(statistics.loop.busy_secs, 6),
            "lag": spread(statistics.loop.lag),
            "phases": {name: spread(distribution) for name, distribution in statistics.loop.phases.items()},
        },
    }


def draining_figures(draining: Draining) -> dict[str, Any]:
    """How far it is."""
    return {**draining._asdict(), "notice_secs": round(draining.notice_secs, 3)}


def spread(distribution: Distribution) -> dict[str, Any]:
    """A histogram in a few numbers; the buckets come along, for who wants the difference of two moments."""
    return {
        "observed": distribution.observed,
        "total": round(distribution.total, 6),
        "p50": distribution.quantile(0.5),
        "p99": distribution.quantile(0.99),
        "bounds": distribution.bounds,
        "counts": distribution.counts,
    }


def client_figures(row: ClientRow) -> dict[str, Any]:
    """One client. What is not known is null."""
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in row._asdict().items()}
