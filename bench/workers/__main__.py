"""`make bench-workers`: what workers do together, beside one process alone: work per second of CPU time, that of the
parent included, in runs that alternate. A resume comes to the worker that has the fewest connections, so with two of
them half of all cross. The backend has one connection: before it a concentrator, in both cases, whose cost is told
apart."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from .. import options
from ..generator import Timing, run
from ..machine import describe, raise_descriptor_limit
from ..report import WARM_SECS, clients_of, print_table, thousands
from ..servers import PROTOCOLS, Server, find
from ..wires import Fault
from ..workloads import WORKLOADS

ONLY = ("ingest-64", "echo-1", "echo-16", "connect", "resume")
SPOKEN = ("v2", "v3", "v2-ws")
LEAST = 0.85
"""Of what one process does in a second of its CPU time, what workers have to do in theirs: of packets, and of packets
among which clients come and go. To come alone costs more with workers, which is told."""
PACKETS = 1000
"""There and back, in which a client comes once."""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 when something did not arrive as it should, or they do less than they have to."""
    parser = argparse.ArgumentParser(prog="python -m bench.workers", description=__doc__)
    parser.add_argument("--pure", action="store_true", help="the server without its optional parts")
    parser.add_argument("--workers", type=options.at_least(2, int), default=2, help="how many (%(default)s)")
    parser.add_argument("--rounds", type=options.at_least(1, int), default=3, help="of both (%(default)s)")
    parser.add_argument("--seconds", type=options.at_least(0.1, float), default=2.0, help="a run (%(default)g)")
    parser.add_argument("--clients", type=options.at_least(1, int), default=500, help="connections (%(default)s)")
    parser.add_argument("--only", type=options.names_of(list(WORKLOADS)), default=list(ONLY), metavar="WORKLOADS",
                        help=f"some of {','.join(WORKLOADS)} ({','.join(ONLY)})")  # fmt: skip
    parser.add_argument("--protocols", type=options.names_of(list(PROTOCOLS)), default=list(SPOKEN), metavar="NAMES",
                        help=f"some of {','.join(PROTOCOLS)} ({','.join(SPOKEN)})")  # fmt: skip
    given = parser.parse_args(argv)
    most = raise_descriptor_limit()
    servers, notes = find(["pure" if given.pure else "native"], [], None)
    if not servers:
        print(*notes, sep="\n")
        return 1
    print(f"{describe()['cpu']}; {servers[0].label}: {servers[0].detail}\n", flush=True)
    rows, worst = [], 1e9
    costs_of: dict[tuple[str, str], tuple[float, float]] = {}  # a packet's, or a connection's: alone, together
    with tempfile.TemporaryDirectory(prefix="voltlane-bench-") as directory:
        costs = Path(directory, "concentrator")
        for name in given.only:
            row = [WORKLOADS[name].title]
            for protocol in given.protocols:
                if WORKLOADS[name].mode not in PROTOCOLS[protocol].modes:
                    row.append("–")
                    continue
                figures: dict[int, list[float]] = {1: [], given.workers: []}
                for _ in range(given.rounds):
                    for count, found in figures.items():
                        server = with_workers(servers[0].speaking(protocol), count, costs)
                        clients = clients_of(WORKLOADS[name], given.clients, most)
                        try:
                            done: dict[str, Any] = run(
                                server, WORKLOADS[name], clients, Timing(WARM_SECS, given.seconds)
                            )
                        except Fault as fault:
                            print(f"\nFAULT: {name}, {protocol}, {count}: {fault}")
                            return 1
                        found.append(done["per_cpu_second"])
                alone, together = median(figures[1]), median(figures[given.workers])
                ratio = together / alone
                costs_of[name, protocol] = 1 / alone, 1 / together
                if WORKLOADS[name].mode not in ("connect", "resume"):
                    worst = min(worst, ratio)
                print(f"{name:12} {protocol:8} alone {thousands(alone):>8} k  together {thousands(together):>8} k  "
                      f"{ratio:.2f}", flush=True)  # fmt: skip
                row.append(f"{thousands(alone)} k, {thousands(together)} k ({ratio:.2f})")
            rows.append(row)
        print(f"\nA second of CPU time, one process alone and {given.workers} workers with their parent: medians.\n")
        print_table(["", *given.protocols], rows)
        worst = min([worst, *_tell_of_mixes(costs_of)])
        _tell_of_concentrator(costs)
    print(f"\nThe least was {worst:.2f}, of at least {LEAST:.2f}.")
    return int(worst < LEAST)


def _tell_of_mixes(costs_of: dict[tuple[str, str], tuple[float, float]]) -> list[float]:
    """What becomes of it where clients come, or come back, once in so many packets."""
    ratios = []
    for coming in ("connect", "resume"):
        for protocol in dict.fromkeys([protocol for _, protocol in costs_of]):
            packet, connection = costs_of.get(("echo-16", protocol)), costs_of.get((coming, protocol))
            if packet is not None and connection is not None:
                alone, together = [PACKETS * each + one for each, one in zip(packet, connection)]
                ratios.append(alone / together)
                print(f"{protocol}, a {coming} in {PACKETS} packets there and back: {alone / together:.2f}")
    return ratios


def with_workers(server: Server, workers: int, costs: Path) -> Server:
    """The same with so many workers, and a concentrator before its backend."""
    concentrator = [sys.executable, "-m", "bench.workers.concentrator", str(workers), "{master}", str(costs)]
    command = [part.replace("{master}", "{{concentrator}}") for part in server.command]
    environment = {**server.environment, "VOLTLANE_GENERAL_WORKERS": str(workers)}
    return server._replace(command=[*concentrator, *command], environment=environment, head_start=1.5)


def _tell_of_concentrator(costs: Path) -> None:
    found = [json.loads(line) for line in costs.read_text(encoding="utf-8").splitlines()] if costs.exists() else []
    packets, seconds = sum(run["packets"] for run in found), sum(run["cpu_secs"] for run in found)
    if packets:
        print(f"\nThe concentrator: {1e9 * seconds / packets:.0f} ns of CPU time for a packet, of {packets}.")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).resolve().parent.parent.parent))
    sys.exit(main())
