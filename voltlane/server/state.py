"""What the server is doing, as a few lines of `name=number` for the log (SIGUSR1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from .parts import Parts


def state_lines(server: Parts) -> Iterator[str]:
    """One line a subject. Looks at every session once: a few milliseconds for ten thousand."""
    yield f"{server.readiness.text}; {_pairs(_loop(server))}"
    yield f"clients: {_pairs(_clients(server))}"
    yield f"master: {_pairs(_master(server))}"
    yield f"counters: {_pairs(_totals(server))}"
    yield f"connections closed: {_by_reason(server.counters.closed)}"
    yield f"sessions ended: {_by_reason(server.counters.ended)}"
    yield f"not accepting: {', '.join([hold.value for hold in server.entrance.holds]) or 'nothing is in the way'}"


def _loop(server: Parts) -> dict[str, object]:
    budget = server.budget
    return {
        "descriptors": server.reactor.watched,
        "timers": server.reactor.timers,
        "queue_memory": budget.used,
        "queue_memory_limit": budget.limit,
    }


def _clients(server: Parts) -> dict[str, object]:
    connections = server.clients.connections
    sessions = server.registry.sessions.values()
    waiting = [connection.outbox.size for connection in connections if connection.outbox is not None]
    backlogs = [session.backlog for session in sessions if session.backlog is not None]
    stale = server.registry.stale_count
    return {
        "connections": len(connections) + len(server.arrivals),
        "in_handshake": len(server.arrivals),
        "live": len(sessions) - stale,
        "stale": stale,
        "read": "no" if server.clients.turns.paused else "yes",
        "outboxes": len(waiting),
        "outbox_bytes": sum(waiting),
        "largest_outbox_bytes": max(waiting, default=0),
        "backlogs": len(backlogs),
        "backlog_packets": sum([backlog.packets for backlog in backlogs]),
        "backlog_bytes": sum([backlog.size for backlog in backlogs]),
        "addresses": len(server.admission.sources),
        "addresses_banned": server.admission.banned_now(server.reactor.now),
        "addresses_untracked": server.admission.untracked,
    }


def _master(server: Parts) -> dict[str, object]:
    trunk = server.trunk
    return {
        "connected": "no" if trunk.connection is None else "yes",
        "outbox_bytes": trunk.outbox.size if trunk.outbox is not None else 0,
        "full": "yes" if trunk.full else "no",
        "read": "no" if trunk.blocked else "yes",
    }


def _totals(server: Parts) -> dict[str, object]:
    counters = server.counters
    values = {name: getattr(counters, name) for name in counters.__slots__}
    return {name: value for name, value in values.items() if isinstance(value, int)}


def _pairs(values: Mapping[str, object]) -> str:
    return " ".join([f"{name}={value}" for name, value in values.items()])


def _by_reason(counts: Counter[Any]) -> str:
    """The most frequent first; those that never happened are left out."""
    return ", ".join([f"{reason.value}: {count}" for reason, count in counts.most_common()]) or "none"
