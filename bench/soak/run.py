"""One soak: a warm-up, a long life, and then the server must be what it was in between, but for what it counts."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from bench.echo import backend
from bench.observed import Observed, observed
from bench.wires import Fault

from .town import Totals, Town

WARM_SHARE = 0.15
STALE_SECS = 3
"""Away for no longer than this is nobody who means to come back; and so soon after the end all sessions are over."""
GROWTH_SHARE, GROWTH_BYTES = 0.10, 8 << 20
"""Memory may be so much more after the soak than after the warm-up: what allocators keep here and there."""
SETTINGS: dict[str, object] = {
    "clients.stale_timeout_secs": STALE_SECS,
    "clients.stale_reap_interval_secs": 0.5,
    "clients.missed_packets_buffer_size": 100_000,
}
AT_REST = ("open_sessions", "stale_sessions", "connections", "timers", "watched")


class Soak(NamedTuple):
    """What came of it. Bytes; `rest` is what there was in the server when everybody had left."""

    totals: Totals
    resident_before: int
    resident_after: int
    resident_peak: int
    descriptors_before: int
    descriptors_after: int
    rest_before: dict[str, int]
    rest_after: dict[str, int]
    counters: dict[str, Any]

    @property
    def faults(self) -> list[str]:
        """What is not as it should be."""
        most = int(self.resident_before * (1 + GROWTH_SHARE)) + GROWTH_BYTES
        counters, found = self.counters, []
        if self.resident_after > most:
            found.append(f"memory grew from {self.resident_before} to {self.resident_after} bytes, {most} are allowed")
        if self.descriptors_after != self.descriptors_before:
            found.append(f"{self.descriptors_before} descriptors were open, {self.descriptors_after} are now")
        for name in AT_REST:
            if self.rest_after[name] != self.rest_before[name]:
                found.append(f"{name}: {self.rest_before[name]} before, {self.rest_after[name]} now")
        for name in ("internal_errors", "backlog_dropped", "notices_dropped"):
            if counters[name]:
                found.append(f"{name}: {counters[name]}")
        if set(counters["ended"]) - {"stale for longer than the limit"}:
            found.append(f"sessions ended: {counters['ended']}")
        return found


def soak(seconds: float, clients: int, *, pure: bool = False, seed: int = 1) -> Soak:
    """Raises Fault when a packet is lost (but by a reset), repeated or out of order."""
    with backend() as master, observed(SETTINGS, master, pure=pure) as server:
        _live(server, max(2.0, seconds * WARM_SHARE), clients, seed)
        rest_before, before, descriptors = _at_rest(server), server.resident, server.descriptors
        totals = _live(server, seconds, clients, seed + 1)
        rest_after = _at_rest(server)
        return Soak(
            totals, before, server.resident, server.resident_peak, descriptors, server.descriptors,
            rest_before, rest_after, rest_after,
        )  # fmt: skip


def _live(server: Observed, seconds: float, clients: int, seed: int) -> Totals:
    town = Town(server.port, clients, seed)
    try:
        return town.live(seconds)
    finally:
        town.close()


def _at_rest(server: Observed) -> dict[str, Any]:
    """The server's state when every session is over."""
    deadline = time.monotonic() + 5 * STALE_SECS + 5
    while (state := server.ask())["open_sessions"] or state["connections"]:
        if time.monotonic() > deadline:
            raise Fault(f"{state['open_sessions']} sessions and {state['connections']} connections are still there")
        time.sleep(0.1)
    return state
