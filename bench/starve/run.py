"""One run: the good alone, then the same beside the hungry, in a server that cannot have more than so much memory."""

from __future__ import annotations

import re
import resource
from pathlib import Path
from typing import NamedTuple

from bench.echo import backend
from bench.observed import observed
from bench.siege.good import Population, Trips

from .hungry import hungry

PACE = 0.1
"""Seconds between two packets of a good client."""
ROOM = 96 << 20
"""Bytes of address space beyond the budget that the server may take while it serves: for reads from the master and
their sorting, for sessions, and for what the allocator keeps."""


class Famine(NamedTuple):
    """What was measured. Bytes; counters over the whole run."""

    peace: Trips
    famine: Trips
    budget: int
    limit: int
    """Of the address space, which the kernel keeps the process to."""
    address_space_peak: int
    resident_before: int
    resident_peak: int
    hungry: dict[str, int]
    fed: int
    """Bytes that the master has sent."""
    closed: dict[str, int]
    ended: dict[str, int]
    internal_errors: int


def starve(
    seconds: float,
    *,
    readers: int,
    away: int,
    good: int,
    budget: int,
    room: int = ROOM,
    settings: dict[str, object] | None = None,
) -> Famine:
    """Measure. Raises Fault when a good client loses anything, RuntimeError when the server ends."""
    given = {"limits.memory_bytes": budget, "socket.send_buffer": 16384, **(settings or {})}
    with backend("bench.starve.feeder") as master, observed(given, master) as server:
        people = Population(server.port, good, PACE)
        try:
            peace = people.exchange(max(1.0, seconds / 5))
            resident, limit = server.resident, _status(server.pid, "VmSize") + budget + room
            resource.prlimit(server.pid, resource.RLIMIT_AS, (limit, limit))
            with hungry(server.port, readers, away) as report:
                famine = people.exchange(seconds)
                state = server.ask()
            return Famine(
                peace, famine, budget, limit, _status(server.pid, "VmPeak"), resident, server.resident_peak,
                report, state["bytes_down"], state["closed"], state["ended"], state["internal_errors"],
            )  # fmt: skip
        finally:
            people.close()


def _status(pid: int, key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"), re.MULTILINE)
    assert found, key
    return 1024 * int(found.group(1))
