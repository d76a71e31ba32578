"""One siege: the good clients alone, then the same beside the attackers, then what was refused."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

from bench.echo import backend
from bench.observed import ROOT, Observed, observed

from .datagrams import DatagramPopulation
from .good import Population, Trips
from .lanes import Lane

PACE = 0.1
"""Seconds between two packets of a good client."""
PATIENCE = 20.0
"""Seconds to wait for what must be refused: attackers are slow where processors are few."""
PUBLIC: dict[str, object] = {
    "limits.handshakes": 6000,
    "limits.address_connections": 100,
    "limits.address_rate": 20,
    "limits.address_burst": 50,
    "limits.address_failures": 60,
    "limits.memory_bytes": 256 << 20,
    "clients.byte_rate": 64 << 10,
    "clients.rate_burst_secs": 0.25,
}
"""Settings for a server that anybody may connect to; what is not said here is at its default."""


class Siege(NamedTuple):
    """What was measured. Bytes of memory; counters as the server has them, over the siege alone."""

    peace: Trips
    siege: Trips
    resident_before: int
    resident_peak: int
    server_cores: float
    attacks: dict[str, dict[str, int]]
    accepted: int
    closed: dict[str, int]
    ended: dict[str, int]
    dropped: dict[str, int]
    """Datagrams."""
    peers: int
    """Clients of the plain relay that there are at the end."""
    internal_errors: int


def besiege(
    seconds: float,
    *,
    lane: Lane,
    good: int = 100,
    share: float = 1.0,
    attacks: Sequence[str],
    pure: bool = False,
    settings: dict[str, object],
    refused: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> Siege:
    """Measure `seconds` of siege behind a fifth of it in peace. Raises Fault when a good client loses anything.

    `refused`: reasons, by the counter that they stand in ("closed", "datagrams_dropped"), that are to be counted at the
    end; the siege goes on behind what is measured until they are, or `PATIENCE` is over.
    """
    given = {"listener.address": lane.address, **lane.settings, **settings}
    with backend() as master, observed(given, master, pure=pure) as server:
        people = (
            DatagramPopulation(server, good, PACE, lane) if lane.mode else Population(server.port, good, PACE, lane)
        )
        try:
            peace = people.exchange(max(1.0, seconds / 5))
            before, cpu, resident = server.ask(), server.cpu, server.resident
            with _attackers(server, lane, share, people, attacks) as report:
                siege = people.exchange(seconds)
                cpu = server.cpu - cpu
                after, deadline = server.ask(), time.monotonic() + PATIENCE
                while _missing(before, after, refused) and time.monotonic() < deadline:
                    people.exchange(PACE)
                    after = server.ask()
            return Siege(
                peace, siege, resident, server.resident_peak, cpu / seconds, report,
                after["accepted"] - before["accepted"],
                _since(before, after, "closed"), _since(before, after, "ended"),
                _since(before, after, "datagrams_dropped"), after["peers"], after["internal_errors"],
            )  # fmt: skip
        finally:
            people.close()


def _missing(before: dict[str, Any], after: dict[str, Any], refused: Mapping[str, Collection[str]]) -> bool:
    return any(set(reasons) - _since(before, after, what).keys() for what, reasons in refused.items())


def _since(before: dict[str, Any], after: dict[str, Any], what: str) -> dict[str, int]:
    grown = {reason: count - before[what].get(reason, 0) for reason, count in after[what].items()}
    return {reason: count for reason, count in sorted(grown.items(), key=lambda row: -row[1]) if count}


@contextmanager
def _attackers(
    server: Observed, lane: Lane, share: float, people: Population, attacks: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """The process that attacks, while the block lasts; filled in at its end: what it did."""
    given = {
        "port": server.port, "place": server.datagrams, "lane": lane.scheme, "share": share, "attacks": list(attacks),
        "victims": [client.id for client in people.clients],
        "caught": [datagram.hex() for client in people.clients for datagram in client.caught],
    }  # fmt: skip
    report: dict[str, Any] = {}
    with subprocess.Popen(
        [sys.executable, "-m", "bench.siege.attackers"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(given) + "\n")
            process.stdin.flush()
            yield report
            told, _ = process.communicate("\n", 10)
            report.update(json.loads(told))
        finally:
            process.kill()
