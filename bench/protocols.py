"""`python -m bench.protocols`: what version 3, and what WebSocket, costs the server beside version 2 over TCP: ratios
of runs that alternate."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from statistics import median
from typing import Any

from . import options
from .generator import Timing, run
from .machine import describe, raise_descriptor_limit
from .report import IDLE_SECS, WARM_SECS, clients_of, print_table, thousands
from .servers import PROTOCOLS, Server, find
from .wires import Fault
from .workloads import WORKLOADS, Workload

ONLY = ("ingest-64", "ingest-1k", "fanout-64", "fanout-1k", "echo-1", "echo-16", "connect", "resume", "idle")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 when something did not arrive as it should, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m bench.protocols", description=__doc__)
    parser.add_argument("--pure", action="store_true", help="the server without its optional parts")
    parser.add_argument("--rounds", type=options.at_least(1, int), default=5, help="of all protocols (%(default)s)")
    parser.add_argument("--seconds", type=options.at_least(0.1, float), default=2.0, help="a run (%(default)g)")
    parser.add_argument("--clients", type=options.at_least(1, int), default=1000, help="connections (%(default)s)")
    parser.add_argument(
        "--only",
        type=options.names_of(list(WORKLOADS)),
        default=list(ONLY),
        metavar="WORKLOADS",
        help=f"some of {','.join(WORKLOADS)} ({','.join(ONLY)})",
    )
    parser.add_argument(
        "--protocols",
        type=options.names_of(list(PROTOCOLS)),
        default=list(PROTOCOLS),
        metavar="NAMES",
        help=f"some of {','.join(PROTOCOLS)} (all)",
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the server")
    parser.add_argument("--json", metavar="FILE", help="where the figures of each run go")
    given = parser.parse_args(argv)
    most = raise_descriptor_limit()
    servers, notes = find(["pure" if given.pure else "native"], [], None, given.set)
    if not servers:
        print(*notes, sep="\n")
        return 1
    print(f"{describe()['cpu']}; {servers[0].label}: {servers[0].detail}\n", flush=True)
    found: dict[str, dict[str, list[float]]] = {}
    code = 0
    try:
        for name in given.only:
            spoken = [key for key in given.protocols if WORKLOADS[name].mode in PROTOCOLS[key].modes]
            found[name] = {protocol: [] for protocol in spoken}
            count = clients_of(WORKLOADS[name], given.clients, most)
            for _ in range(given.rounds):
                for protocol in spoken:
                    found[name][protocol].append(_figure(servers[0], protocol, WORKLOADS[name], count, given.seconds))
    except Fault as fault:
        print(f"\nFAULT: {fault}")
        code = 1
    except KeyboardInterrupt:
        code = 130
    tell(found, given.protocols)
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)
    return code


def _figure(server: Server, protocol: str, workload: Workload, clients: int, seconds: float) -> float:
    """Work done per second of the server's CPU time; idle: bytes a client."""
    idle = workload.mode == "idle"
    timing = Timing(WARM_SECS, IDLE_SECS if idle else seconds)
    try:
        row: dict[str, Any] = run(server.speaking(protocol), workload, clients, timing)
    except Fault as fault:
        raise Fault(f"{workload.name}, {protocol}: {fault}") from None
    figure: float = row["bytes_per_client"] if idle else row["per_cpu_second"]
    busy = "" if idle else f"  cores: server {row['server_cores']:.2f}, clients {max(row['client_cores']):.2f}"
    print(f"{workload.name:12} {protocol:8} {_shown(workload, figure):>10}{busy}", flush=True)
    return figure


def _shown(workload: Workload, figure: float) -> str:
    return f"{figure / 1024:.2f} KiB" if workload.mode == "idle" else f"{thousands(figure)} k"


def tell(found: dict[str, dict[str, list[float]]], protocols: Sequence[str]) -> None:
    """The table: medians, and what they are to version 2."""
    lines = []
    for name, figures in found.items():
        row = [WORKLOADS[name].title]
        base = median(figures["v2"]) if figures.get("v2") else 0.0
        for protocol in protocols:
            values = figures.get(protocol)
            middle = median(values) if values else 0.0
            ratio = f" ({middle / base:.2f})" if base and values else ""
            row.append(_shown(WORKLOADS[name], middle) + ratio if values else "–")
        lines.append(row)
    print("\nA second of the server's CPU time, and to v2: medians.\n")
    print_table(["", *protocols], lines)


if __name__ == "__main__":
    sys.exit(main())
