"""What there is at this moment, counted when somebody asks: for the statistics and for the lines in the log."""

from __future__ import annotations

from ..statistics import Clients, Queues
from .parts import Parts


def clients(parts: Parts) -> Clients:
    """How many clients are where."""
    stale = parts.registry.stale_count
    return Clients(len(parts.registry.sessions) - stale, stale, len(parts.arrivals))


def queues(parts: Parts) -> Queues:
    """What waits. Looks at every connection and every stale session once."""
    master = parts.trunk.outbox
    waiting = outbox_sizes(parts)
    backlogs = [session.backlog for session in parts.registry.stale() if session.backlog is not None]
    return Queues(
        master_bytes=master.size if master is not None else 0,
        master_packets=master.packets if master is not None else 0,
        clients_bytes=sum(waiting),
        clients_waiting=len(waiting),
        backlog_bytes=sum([backlog.size for backlog in backlogs]),
        backlog_packets=sum([backlog.packets for backlog in backlogs]),
        memory_bytes=parts.budget.used,
        memory_limit=parts.budget.limit,
    )


def outbox_sizes(parts: Parts) -> list[int]:
    """Bytes in the outbox of each client that has one."""
    return [connection.outbox.size for connection in parts.clients.connections if connection.outbox is not None]
