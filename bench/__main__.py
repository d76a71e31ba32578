"""`python -m bench`: every workload on every server, side by side; a table, bench/out/results.json and chart.svg."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from . import chart, options
from .machine import raise_descriptor_limit
from .report import IDLE_SECS, Report, Run, clients_of, print_table, thousands
from .servers import PROTOCOLS, RIVALS, VOLTLANE, Server, find
from .workloads import QUICK, WORKLOADS, Workload


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 when something did not arrive as it should, 130 when interrupted."""
    parser = options.parser("python -m bench", "Voltlane beside what people would use instead.", RIVALS, 1.5)
    parser.add_argument("--clients", type=options.at_least(1, int), default=1000, help="connections (%(default)s)")
    parser.add_argument(
        "--only",
        type=options.names_of(list(WORKLOADS)),
        default=list(WORKLOADS),
        metavar="WORKLOADS",
        help=f"some of {','.join(WORKLOADS)} (all)",
    )
    parser.add_argument(
        "--protocols",
        type=options.names_of(list(PROTOCOLS)),
        default=list(PROTOCOLS),
        metavar="NAMES",
        help=f"what Voltlane's clients speak: some of {','.join(PROTOCOLS)} (all)",
    )
    parser.add_argument("--quick", action="store_true", help=f"{','.join(QUICK)}, 200 clients, 0.4 s: a glance")
    if (sys.argv[1:] if argv is None else argv).count("--quick"):
        parser.set_defaults(clients=200, seconds=0.4, only=list(QUICK), protocols=["v2", "v3"])
    given = parser.parse_args(argv)
    most = raise_descriptor_limit()
    found, notes = find(given.voltlane, given.rivals, given.pypy, given.set)
    servers = [
        speaking
        for server in found
        for speaking in ([server.speaking(name) for name in given.protocols] if server.key in VOLTLANE else [server])
    ]
    workloads = [WORKLOADS[name] for name in given.only]
    servers = [server for server in servers if any(row.mode in server.wire.modes for row in workloads)]
    runs = [
        _run(server, row, given.clients, given.seconds, most)
        for row in workloads
        for server in servers
        if row.mode in server.wire.modes
    ]
    report = Report(servers, notes, {"clients": given.clients, "seconds": given.seconds})
    report.print_head(runs)
    return report.measure(
        runs,
        given.out / "results.json",
        given.out / "chart.svg",
        tell=lambda: tell(report, workloads),
        draw=lambda: chart.bars(report, workloads),
    )


def _run(server: Server, workload: Workload, clients: int, seconds: float, most: int) -> Run:
    measured = min(seconds, IDLE_SECS) if workload.mode == "idle" else seconds
    return Run(server, workload, clients_of(workload, clients, most), {}, measured)


def tell(report: Report, workloads: Sequence[Workload]) -> None:
    """The tables."""
    servers = report.servers
    print(
        "\nThousands a second: of the server's CPU time (of the clock's). Packets, round trips, connections, resumes.\n"
    )

    def cell(workload: Workload, server: Server) -> str:
        row = report.find(workload.name, server.key)
        if row is None:
            return "–"
        if workload.mode == "idle":
            return f"{row['bytes_per_client'] / 1024:.2f} KiB"
        star = "*" if row["generator_bound"] else ""
        return f"{thousands(row['per_cpu_second'])} ({thousands(row['per_second'])}{star})"

    def trip(workload: Workload, server: Server) -> str:
        row = report.find(workload.name, server.key)
        return f"{row['p50_us'] / 1000:.2f} / {row['p99_us'] / 1000:.2f} ms" if row and "p50_us" in row else "–"

    lines = []
    for workload in workloads:
        lines.append([workload.title, *(cell(workload, server) for server in servers)])
        if workload.mode == "echo":
            lines.append(["  round trip, median / p99", *(trip(workload, server) for server in servers)])
    print_table(["", *(server.label for server in servers)], lines)
    if any(row.get("generator_bound") for row in report.rows):
        print("\n* the generator was busy and the server was not: by the clock it would do better")
    for row in report.rows:
        if "fault" in row:
            print(f"\nFAULT in {row['workload']} on {row['server']}: {row['fault']}")


if __name__ == "__main__":
    sys.exit(main())
