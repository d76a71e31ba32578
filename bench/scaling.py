"""`python -m bench.scaling`: how the cost of a packet grows with clients, with idle clients, and with its size."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from . import chart, options
from .machine import raise_descriptor_limit
from .report import Report, Row, Run, print_table, thousands
from .servers import Server, find
from .workloads import Workload

CLIENTS = (10, 100, 1000, 10_000)
IDLE = (0, 1000, 10_000)
BESIDE = 100
"""Active clients beside the idle ones."""
SIZES = tuple(1 << power for power in range(6, 21, 2))
SIZED_CLIENTS = 20
RATE = 10_000
"""Round trips a second of all clients together, where the rate is fixed."""
SPARE_DESCRIPTORS = 300

_PACED = Workload("paced", "echo at a fixed rate", "paced", 64)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 when something did not arrive as it should, 130 when interrupted."""
    parser = options.parser("python -m bench.scaling", "How the cost of a packet grows.", (), 1.0)
    parser.add_argument(
        "--rate", type=options.at_least(100, int), default=RATE, help="round trips a second (%(default)s)"
    )
    parser.add_argument(
        "--most", type=options.at_least(10, int), default=CLIENTS[-1], help="clients at most, idle or not (%(default)s)"
    )
    given = parser.parse_args(argv)
    most = min(given.most, raise_descriptor_limit() - SPARE_DESCRIPTORS - BESIDE)
    servers, notes = find(given.voltlane, given.rivals, given.pypy, given.set)
    runs = [run for server in servers for run in _runs(server, most, given.rate, given.seconds)]
    runs = [run for run in runs if run.workload.mode in run.server.wire.modes]
    runs.sort(key=lambda run: (run.workload.mode, run.workload.size, run.particulars.get("active", 0), run.clients))
    report = Report(servers, notes, {"rate": given.rate, "seconds": given.seconds})
    report.print_head(runs)
    return report.measure(
        runs,
        given.out / "scaling.json",
        given.out / "scaling.svg",
        tell=lambda: _tell(report),
        draw=lambda: _chart(report),
    )


def _runs(server: Server, most: int, rate: int, seconds: float) -> list[Run]:
    paced: dict[str, Any] = {"rate": float(rate)}
    runs = [Run(server, _PACED, count, {**paced, "active": count}, seconds) for count in CLIENTS if count <= most]
    for idle in IDLE:
        if 0 < idle <= most:  # without any, it is one of those above
            runs.append(Run(server, _PACED, BESIDE + idle, {**paced, "active": BESIDE}, seconds))
    for size in SIZES:
        for mode, arrow in (("ingest", "clients → backend"), ("fanout", "backend → clients")):
            row = Workload(f"{mode}-{size}", f"{arrow}, {_size_name(size)}", mode, size)
            runs.append(Run(server, row, SIZED_CLIENTS, {}, seconds))
    return runs


def _size_name(size: int) -> str:
    return f"{size} B" if size < 1024 else f"{size >> 10} KiB" if size < 1 << 20 else f"{size >> 20} MiB"


def _good(report: Report, server: Server) -> list[Row]:
    return [row for row in report.rows if row["server"] == server.key and row.get("per_cpu_second", 0) > 0]


def _by_clients(report: Report, server: Server) -> list[tuple[float, float]]:
    """Clients and the server's µs of CPU for a round trip."""
    rows = (row for row in _good(report, server) if row["workload"] == "paced" and row["active"] == row["clients"])
    return [(row["clients"], 1e6 / row["per_cpu_second"]) for row in rows]


def _by_idle(report: Report, server: Server) -> list[tuple[float, float]]:
    rows = (row for row in _good(report, server) if row["workload"] == "paced" and row["active"] == BESIDE)
    return sorted((row["clients"] - BESIDE, 1e6 / row["per_cpu_second"]) for row in rows)


def _by_size(report: Report, server: Server, mode: str) -> list[tuple[float, float]]:
    """Sizes and the server's µs of CPU for a packet."""
    rows = (row for row in _good(report, server) if row["workload"].startswith(mode))
    return [(row["size"], 1e6 / row["per_cpu_second"]) for row in rows]


def _tell(report: Report) -> None:
    servers = report.servers
    heads = [server.label for server in servers]

    def table(title: str, places: Sequence[float], names: dict[float, str], columns: list[dict[float, float]]) -> None:
        print(f"\n{title}\n")
        rows = [[names[p], *(f"{column[p]:,.2f}" if p in column else "–" for column in columns)] for p in places]
        print_table(["", *heads], rows)

    names = {float(count): f"{count:,}" for count in (*CLIENTS, *IDLE)}
    by_clients = [dict(_by_clients(report, server)) for server in servers]
    trip = f"µs of the server's CPU for a round trip, {report.options['rate']:,}/s in all"
    table(f"{trip}, by clients:", CLIENTS, names, by_clients)
    by_idle = [dict(_by_idle(report, server)) for server in servers]
    table(f"The same with {BESIDE} clients, by idle clients beside them:", IDLE, names, by_idle)
    sizes = {float(size): _size_name(size) for size in SIZES}
    for mode, arrow in (("ingest", "clients → backend"), ("fanout", "backend → clients")):
        by_size = [dict(_by_size(report, server, mode)) for server in servers]
        table(f"µs of the server's CPU for a packet, {arrow}, {SIZED_CLIENTS} clients, by size:", SIZES, sizes, by_size)
    paced = [row for row in report.rows if row.get("server_cpu_secs") and row["workload"] == "paced"]
    slow = [row for row in paced if row["per_second"] < 0.95 * report.options["rate"]]
    for row in slow:
        print(f"\n{row['server']} with {row['clients']} clients: only {thousands(row['per_second'])} k/s were reached")
    for row in report.rows:
        if "fault" in row:
            print(f"\nFAULT in {row['workload']} on {row['server']}, {row['clients']} clients: {row['fault']}")


def _chart(report: Report) -> str:
    servers = report.servers
    counts = {float(count): f"{count:,}" for count in CLIENTS}
    idle = {float(count): f"{count:,}" for count in IDLE}
    sizes = {float(size): _size_name(size) for size in SIZES}
    by_clients = [chart.Line(s.key, s.label, _by_clients(report, s)) for s in servers]
    by_idle = [chart.Line(s.key, s.label, _by_idle(report, s)) for s in servers]
    up = [chart.Line(s.key, s.label, _by_size(report, s, "ingest")) for s in servers]
    down = [chart.Line(s.key, f"{s.label}, downwards", _by_size(report, s, "fanout"), True) for s in servers]
    trip = f"µs for a round trip, {report.options['rate']:,}/s in all"
    plots = [
        chart.Plot("By clients", trip, by_clients, False, counts),
        chart.Plot(f"{BESIDE} clients beside idle ones", trip, by_idle, False, idle),
        chart.Plot("By size", f"µs for a packet, {SIZED_CLIENTS} clients", [*up, *down], True, sizes),
    ]
    return chart.lines(report, "What a packet costs the server: CPU time", "Lower is better.", plots)


if __name__ == "__main__":
    sys.exit(main())
