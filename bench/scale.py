"""`python -m bench.scale`: what a client costs a server, in memory, in the kernel and in CPU time, and what so many of
them would take. docs/scale.md says what to make of it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from math import ceil
from statistics import median
from typing import Any, NamedTuple

from . import options
from .generator import Timing, run
from .machine import describe, raise_descriptor_limit
from .report import IDLE_SECS, SPARE_DESCRIPTORS, WARM_SECS, print_table
from .servers import PROTOCOLS, Server, find
from .wires import Fault
from .workloads import WORKLOADS, Workload

_PACED = Workload("paced", "echo at a fixed rate", "paced", 64)
AT_ONCE = 1000
"""Clients that come back at once, again and again: so many that it is done several times within a run."""
BUSY = 0.5
"""Of a core: as much as a node should have to do, so that there is room for who comes back from another one."""


class Costs(NamedTuple):
    """What one client costs the server; `protocol` is what it speaks. CPU times are seconds."""

    protocol: str
    resident: float
    """Bytes of the process, of one that is silent."""
    kernel: float
    """Bytes of the kernel, for the server's end of its connection; 0: not known."""
    trip: float
    """A packet of 64 bytes to the backend, and one back."""
    opening: float
    """To connect, a handshake, one packet, and the end."""
    resuming: float
    """The same of a client that comes back, with all the others at once."""


class Load(NamedTuple):
    """What is to be carried."""

    clients: int
    trips: float
    """Packets that each sends in a second, and gets back."""
    stay: float
    """Seconds that a connection lasts."""
    node: int
    """Clients of one process, at most."""


class Need(NamedTuple):
    """What that takes in all."""

    resident: float
    kernel: float
    traffic: float
    """Cores."""
    arrivals: float
    """Cores."""
    nodes: int
    """Processes, each with a core of its own that is busy for half of the time, and with no more clients than it may
    have."""
    storm: float
    """Seconds of CPU time in which one of them takes as many clients as it has, when all come back to it at once."""


def need(costs: Costs, load: Load) -> Need:
    """What so many clients take."""
    traffic = load.clients * load.trips * costs.trip
    arrivals = load.clients / load.stay * costs.opening
    nodes = max(ceil((traffic + arrivals) / BUSY), ceil(load.clients / load.node))
    return Need(
        load.clients * costs.resident,
        load.clients * costs.kernel,
        traffic,
        arrivals,
        nodes,
        load.clients / nodes * costs.resuming,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 when something did not arrive as it should, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--measured", type=options.at_least(10, int), default=10_000, help="clients here (%(default)s)")
    parser.add_argument("--rate", type=options.at_least(1, int), default=2000, help="round trips a second of them all")
    parser.add_argument("--seconds", type=options.at_least(0.1, float), default=2.0, help="a run (%(default)g)")
    parser.add_argument("--rounds", type=options.at_least(1, int), default=3, help="of which the median (%(default)s)")
    parser.add_argument(
        "--protocols", type=options.names_of(list(PROTOCOLS)), default=["v2", "v3"], help="what they speak (v2,v3)"
    )
    parser.add_argument("--pure", action="store_true", help="the server without its optional parts")
    parser.add_argument("--clients", type=options.at_least(1, int), default=1_000_000, help="in all (%(default)s)")
    parser.add_argument(
        "--trips", type=options.at_least(0, float), default=0.1, help="packets a second that each sends, and gets back"
    )
    parser.add_argument("--stay", type=options.at_least(1, float), default=1800.0, help="seconds a connection lasts")
    parser.add_argument("--node", type=options.at_least(1, int), default=50_000, help="clients of a process at most")
    parser.add_argument("--json", metavar="FILE", help="where the costs go")
    given = parser.parse_args(argv)
    servers, notes = find(["pure" if given.pure else "native"], [], None)
    if not servers:
        print(*notes, sep="\n")
        return 1
    count = min(given.measured, raise_descriptor_limit() - SPARE_DESCRIPTORS)
    machine = describe()
    print(f"{machine['cpu']}, {machine['cores']} cores, {machine['kernel']}; load {machine['load']:.1f}")
    print(f"{servers[0].label}: {servers[0].detail}; {count:,} clients, medians of {given.rounds}\n", flush=True)
    try:
        costs = [
            measure(servers[0], protocol, count, given.rate, given.seconds, given.rounds)
            for protocol in given.protocols
        ]
    except Fault as fault:
        print(f"FAULT: {fault}")
        return 1
    except KeyboardInterrupt:
        return 130
    load = Load(given.clients, given.trips, given.stay, given.node)
    tell(costs, load)
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine, "costs": [row._asdict() for row in costs]}, file, indent=1)
    return 0


def measure(server: Server, protocol: str, count: int, rate: float, seconds: float, rounds: int) -> Costs:
    """Raises Fault."""

    def figures(workload: Workload, clients: int, secs: float, **particulars: Any) -> list[dict[str, Any]]:
        rows = []
        for _ in range(rounds):
            try:
                rows.append(run(server.speaking(protocol), workload, clients, Timing(WARM_SECS, secs), **particulars))
            except Fault as fault:
                raise Fault(f"{workload.name}, {protocol}: {fault}") from None
        return rows

    def cpu(workload: Workload, clients: int, **particulars: Any) -> float:
        cost = 1 / median([row["per_cpu_second"] for row in figures(workload, clients, seconds, **particulars)])
        print(f"  {protocol:8} {workload.title:30} {clients:8,} clients {1e6 * cost:8.1f} µs", flush=True)
        return cost

    idle = figures(WORKLOADS["idle"], count, IDLE_SECS)
    return Costs(
        protocol,
        median([row["bytes_per_client"] for row in idle]),
        max([row["kernel_per_end"] for row in idle]),  # it grows by less where something was freed just before
        cpu(_PACED, count, rate=float(rate)),
        cpu(WORKLOADS["connect"], count),
        cpu(WORKLOADS["resume"], min(count, AT_ONCE)),
    )


def tell(costs: Sequence[Costs], load: Load) -> None:
    """Both tables."""
    protocols = [row.protocol for row in costs]
    print("\nWhat one client costs:\n")
    print_table(
        ["", *protocols],
        [
            ["memory of the process, silent", *[f"{row.resident / 1024:.2f} KiB" for row in costs]],
            ["memory of the kernel, server's end", *[f"{row.kernel / 1024:.2f} KiB" for row in costs]],
            ["a packet up and one down", *[f"{1e6 * row.trip:.0f} µs" for row in costs]],
            ["connect, handshake, packet, end", *[f"{1e6 * row.opening:.0f} µs" for row in costs]],
            ["resume, all at once", *[f"{1e6 * row.resuming:.0f} µs" for row in costs]],
        ],
    )
    needs = [need(row, load) for row in costs]
    each = f"{load.trips:g} packets a second up and down, for {load.stay:g} s"
    print(f"\n{load.clients:,} clients, each with {each}, at most {load.node:,} to a process:\n")
    print_table(
        ["", *protocols],
        [
            ["memory of the processes", *[f"{row.resident / (1 << 30):.1f} GiB" for row in needs]],
            ["memory of the kernel", *[f"{row.kernel / (1 << 30):.1f} GiB" for row in needs]],
            ["descriptors", *[f"{load.clients:,}" for _ in needs]],
            ["cores for packets", *[f"{row.traffic:.1f}" for row in needs]],
            ["cores for who comes", *[f"{row.arrivals:.2f}" for row in needs]],
            [f"processes, {100 * BUSY:.0f} % busy at most", *[f"{row.nodes}" for row in needs]],
            ["clients of each", *[f"{load.clients / row.nodes:,.0f}" for row in needs]],
            ["all of one's clients come back within", *[f"{row.storm:.0f} s" for row in needs]],
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
