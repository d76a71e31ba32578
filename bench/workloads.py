"""What is measured: the table of workloads, and one run's particulars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .traffic import plan
from .wires import Wire

CLIENT_MEMORY = 64 << 20
"""Bytes that all clients' cycles may take together, in each process that needs them."""
FANOUT_MEMORY = 24 << 20
"""The same, where the backend needs them twice."""
UNDER_WAY = 128 << 20
"""Bytes that all clients together may have under way to the backend: what the kernel can hold without dropping any."""
WINDOW = 256 << 10
"""The same for one client, either way."""
FANOUT_DEPTH = 256
CONNECT_SLOTS = 100


class Workload(NamedTuple):
    """A row of the table. Sizes are those of the payloads, in bytes."""

    name: str
    title: str
    mode: str
    """ingest: clients → backend, as fast as it goes. fanout: backend → clients. broadcast: fanout of the same packets
    to all. echo: there and back. paced: the same at a fixed rate. connect: connect, handshake, one packet, close.
    resume: all lose their connections, all resume at once and send one packet each; and again. idle: connected,
    silent."""
    size: int = 64
    smallest: int = 0
    """Sizes are spread from here to `size`; 0: all are `size`."""
    depth: int = 0
    """Packets of one client that are on their way at once, there or round; 0: as many as the memory allows."""
    share: float = 1.0
    """How many of the clients asked for."""


WORKLOADS = {
    row.name: row
    for row in (
        Workload("ingest-64", "clients → backend, 64 B", "ingest", 64),
        Workload("ingest-mixed", "clients → backend, 16–112 B", "ingest", 112, 16),
        Workload("ingest-1k", "clients → backend, 1 KiB", "ingest", 1024),
        Workload("ingest-16k", "clients → backend, 16 KiB", "ingest", 16384, share=0.1),
        Workload("fanout-64", "backend → clients, 64 B", "fanout", 64),
        Workload("fanout-mixed", "backend → clients, 16–112 B", "fanout", 112, 16),
        Workload("fanout-1k", "backend → clients, 1 KiB", "fanout", 1024),
        Workload("fanout-16k", "backend → clients, 16 KiB", "fanout", 16384, share=0.1),
        Workload("broadcast-1", "one message to all, 64 B, 1 under way", "broadcast", 64, depth=1),
        Workload("broadcast-64", "one message to all, 64 B", "broadcast", 64),
        Workload("broadcast-1k", "one message to all, 1 KiB", "broadcast", 1024),
        Workload("echo-1", "echo, 1 under way per client", "echo", 64, depth=1),
        Workload("echo-16", "echo, 16 under way per client", "echo", 64, depth=16),
        Workload("connect", "connect, handshake, close", "connect"),
        Workload("resume", "resume, all at once", "resume"),
        Workload("idle", "memory per idle client", "idle", share=10),
    )
}
QUICK = ("ingest-64", "fanout-64", "echo-1", "connect")


class Job(NamedTuple):
    """One run, as its processes need to know it."""

    wire: Wire
    mode: str
    clients: int
    active: int
    """How many of them do something; the others are connected and silent."""
    sizes: Sequence[int]
    """Of one cycle's packets."""
    depth: int
    window: int
    """Bytes that one client may have under way to the backend, at most."""
    smallest_window: int
    rate: float
    """Packets a second of all clients together (paced)."""

    def mark(self, index: int) -> int:
        """What stands as the client's index in the packets of that client: one for all where all get the same."""
        return 0 if self.mode == "broadcast" else index


def job(wire: Wire, workload: Workload, clients: int, active: int = 0, rate: float = 0.0) -> Job:
    """The run of a workload with that many clients."""
    largest, downwards = workload.size, workload.mode in ("fanout", "broadcast")
    return Job(
        wire=wire,
        mode=workload.mode,
        clients=clients,
        active=active or clients,
        sizes=plan(
            workload.smallest or largest,
            largest,
            active or clients,
            FANOUT_MEMORY if downwards else CLIENT_MEMORY,
        ),
        depth=workload.depth or max(2, min(FANOUT_DEPTH, WINDOW // largest)),
        window=max(2 * (largest + 32), min(WINDOW, UNDER_WAY // clients)),
        smallest_window=max(2 * (largest + 32), 4096),
        rate=rate,
    )
