"""What is measured: the table of workloads."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

WINDOW = 2048
"""Datagrams of all clients that are under way up or down at most, where the kernel has room for them."""
_AROUND = 1280
"""Bytes that the kernel counts for a datagram besides its own."""


class Workload(NamedTuple):
    """A row of the table."""

    name: str
    title: str
    mode: str
    """As load.c has it: up, down, echo, idle."""
    size: int = 64
    depth: int = 64
    """Datagrams of one client that are on their way at once."""
    burst: int = 1
    """Datagrams that a client sends at once, in one system call: who sends each by one is slower than who receives."""
    share: float = 1.0
    """How many of the clients asked for."""
    bars: bool = True
    """Whether the C program's figure is a measure for it."""

    def window(self, clients: int) -> int:
        """How many of all clients may be under way."""
        if self.mode == "echo":
            return clients * self.depth
        try:
            room = int(Path("/proc/sys/net/core/rmem_max").read_text(encoding="ascii"))
        except OSError:
            room = 212992
        return max(self.burst, min(WINDOW, room // (self.size + _AROUND)))


WORKLOADS = {
    row.name: row
    for row in (
        Workload("up-64", "clients → backend, 64 B", "up", burst=16),
        Workload("up-64-one", "clients → backend, 64 B, sent one by one", "up", bars=False),
        Workload("up-1k", "clients → backend, 1 KiB", "up", 1024, burst=16),
        Workload("down-64", "backend → clients, 64 B", "down"),
        Workload("echo-1", "there and back, 1 under way per client", "echo", depth=1),
        Workload("echo-16", "there and back, 16 under way per client", "echo", depth=16, share=0.25),
        Workload("idle", "memory per idle client", "idle", share=20, bars=False),
    )
}
