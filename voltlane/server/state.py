"""What the server is doing, as a few lines of `name=number` for the log (SIGUSR1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ..core.counters import OF_DATAGRAMS
from .gauges import Survey, clients
from .parts import Parts


def state_lines(parts: Parts) -> Iterator[str]:
    """One line a subject. Looks at every session once: a few milliseconds for ten thousand."""
    survey = Survey(parts).take()
    yield f"{parts.readiness.text}; {_pairs(_loop(parts))}"
    yield f"clients: {_pairs(_clients(parts, survey))}"
    yield f"master: {_pairs(_master(parts, survey))}"
    yield f"counters: {_pairs(_totals(parts))}"
    yield f"connections closed: {_by_reason(parts.counters.closed)}"
    yield f"sessions ended: {_by_reason(parts.counters.ended)}"
    if parts.datagrams is not None:
        there = {"channels": parts.datagrams.channels, "peers": parts.datagrams.peers}
        yield f"datagrams: {_pairs(there)}; dropped: {_by_reason(parts.counters.datagrams_dropped)}"
    yield f"not accepting: {', '.join([hold.value for hold in parts.entrance.holds]) or 'nothing is in the way'}"


def _loop(parts: Parts) -> dict[str, object]:
    return {
        "descriptors": parts.reactor.watched,
        "timers": parts.reactor.timers,
        "queue_memory": parts.budget.used,
        "queue_memory_limit": parts.budget.limit,
    }


def _clients(parts: Parts, survey: Survey) -> dict[str, object]:
    there, queues, admission = clients(parts), survey.queues, parts.admission
    return {
        "connections": there.live + there.handshaking,
        "in_handshake": there.handshaking,
        "live": there.live,
        "stale": there.stale,
        "read": "no" if parts.clients.turns.paused else "yes",
        "outboxes": queues.clients_waiting,
        "outbox_bytes": queues.clients_bytes,
        "largest_outbox_bytes": max(survey.outboxes, default=0),
        "backlogs": survey.backlogs,
        "backlog_packets": queues.backlog_packets,
        "backlog_bytes": queues.backlog_bytes,
        "addresses": len(admission.sources),
        "addresses_banned": admission.banned_now(parts.reactor.now),
        "addresses_untracked": admission.untracked,
    }


def _master(parts: Parts, survey: Survey) -> dict[str, object]:
    trunk = parts.trunk
    return {
        "connected": "no" if trunk.connection is None else "yes",
        "outbox_bytes": survey.queues.master_bytes,
        "full": "yes" if trunk.full else "no",
        "read": "no" if trunk.blocked else "yes",
    }


def _totals(parts: Parts) -> dict[str, object]:
    counters = parts.counters
    names = [name for name in counters.__slots__ if name not in OF_DATAGRAMS or parts.datagrams is not None]
    values = {name: getattr(counters, name) for name in names}
    return {name: value for name, value in values.items() if isinstance(value, int)}


def _pairs(values: Mapping[str, object]) -> str:
    return " ".join([f"{name}={value}" for name, value in values.items()])


def _by_reason(counts: Counter[Any]) -> str:
    """The most frequent first; those that never happened are left out."""
    return ", ".join([f"{reason.value}: {count}" for reason, count in counts.most_common()]) or "none"
