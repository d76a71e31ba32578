"""Carrying out a list of runs, and telling about it: progress, tables, JSON."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple

from .generator import Timing, run
from .machine import describe
from .servers import Server
from .wires import Fault
from .workloads import Workload

WARM_SECS = 0.4
IDLE_SECS = 0.5
SPARE_DESCRIPTORS = 300
_AROUND_SECS, _AROUND_CLIENTS = 0.7, 1500
"""What a run takes besides warming up and measuring, and how many clients connect in a second: for the estimate."""

Row = dict[str, Any]


class Run(NamedTuple):
    """One line of the list. `particulars` are those of `workloads.job`."""

    server: Server
    workload: Workload
    clients: int
    particulars: dict[str, Any]
    seconds: float


class Report:
    """What is known so far: the machine, the servers, a row for each run."""

    def __init__(self, servers: Sequence[Server], notes: Sequence[str], options: dict[str, Any]) -> None:
        self.machine = describe()
        self.made = time.strftime("%Y-%m-%d %H:%M:%S %z")
        self.servers = servers
        self.notes = notes
        self.options = options
        self.rows: list[Row] = []

    @property
    def generator(self) -> str:
        """What plays the clients and the backend."""
        return f"{platform.python_implementation()} {platform.python_version()}"

    def print_head(self, runs: Sequence[Run]) -> None:
        """What will happen."""
        machine = self.machine
        print(f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_mib']} MiB, {machine['kernel']}")
        print(f"generator: {self.generator}; " + ", ".join(f"{key} {value}" for key, value in self.options.items()))
        for server in self.servers:
            print(f"  {server.label:22} {server.detail}")
        for note in self.notes:
            print(f"  skipped: {note}")
        if machine["load"] > 0.5 * machine["cores"]:
            print(f"  this machine is busy (load {machine['load']:.1f}): do not trust the figures")
        estimate = sum(this.seconds + _warm(this) + _AROUND_SECS + this.clients / _AROUND_CLIENTS for this in runs)
        print(f"{len(runs)} runs, about {estimate:.0f} s\n", flush=True)

    def measure(
        self,
        runs: Sequence[Run],
        results: Path,
        picture: Path,
        tell: Callable[[], None],
        draw: Callable[[], str],
    ) -> int:
        """Carry the runs out, print the tables and write both files, even if interrupted. The exit code."""
        results.parent.mkdir(parents=True, exist_ok=True)
        code = 0
        try:
            self.carry_out(runs)
        except KeyboardInterrupt:
            print("\ninterrupted; what has been measured so far:")
            code = 130
        tell()
        self.write_json(results)
        picture.write_text(draw(), encoding="utf-8")
        print(f"\n{results}\n{picture}")
        return code or (1 if self.faults else 0)

    def carry_out(self, runs: Sequence[Run]) -> None:
        """All of them, one after the other. A fault is a row as well."""
        for number, this in enumerate(runs, 1):
            title = f"[{number:2}/{len(runs)}] {_name(this):46} {this.server.label:22}"
            print(title, end=" ", flush=True)
            row: Row = {"workload": this.workload.name, "server": this.server.key, "size": this.workload.size}
            try:
                timing = Timing(_warm(this), this.seconds)
                row.update(run(this.server, this.workload, this.clients, timing, **this.particulars))
                print(_summary(row), flush=True)
            except Fault as fault:
                row.update(clients=this.clients, **this.particulars, fault=str(fault))
                print(f"FAULT: {fault}", flush=True)
            self.rows.append(row)

    @property
    def faults(self) -> int:
        """Runs whose figures are worth nothing."""
        return sum("fault" in row for row in self.rows)

    def find(self, workload: str, server: str) -> Row | None:
        """The row of that run, if it went well."""
        found = (row for row in self.rows if row["workload"] == workload and row["server"] == server)
        return next((row for row in found if "fault" not in row), None)

    def write_json(self, path: Path) -> None:
        """Everything."""
        document = {
            "made": self.made,
            "machine": self.machine,
            "generator": self.generator,
            "options": self.options,
            "servers": [{"key": s.key, "label": s.label, "detail": s.detail} for s in self.servers],
            "skipped": list(self.notes),
            "results": self.rows,
        }
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _warm(this: Run) -> float:
    return min(WARM_SECS, this.seconds / 2) + (this.server.warm if this.workload.mode != "idle" else 0)


def _name(this: Run) -> str:
    others = this.clients - this.particulars.get("active", this.clients)
    return f"{this.workload.title}, {this.clients - others} clients" + (f" + {others} idle" if others else "")


def _summary(row: Row) -> str:
    if "bytes_per_client" in row:
        return f"{row['bytes_per_client'] / 1024:8.2f} KiB a client"
    generator = "+".join(f"{cores:.2f}" for cores in [*row["client_cores"], row["backend_cores"]])
    line = f"{thousands(row['per_second']):>7} k/s  {thousands(row['per_cpu_second']):>7} k per CPU s"
    line += f"  cores: server {row['server_cores']:.2f}, generator {generator}"
    if "p99_us" in row:
        line += f"  p50 {row['p50_us'] / 1000:.2f} p99 {row['p99_us'] / 1000:.2f} ms"
    return line


def clients_of(workload: Workload, clients: int, descriptors: int) -> int:
    """How many clients a workload has where so many were asked for."""
    return min(max(1, int(clients * workload.share)), descriptors - SPARE_DESCRIPTORS)


def thousands(value: float) -> str:
    """In thousands, three digits that count."""
    value /= 1000
    if value >= 1000:
        return f"{round(value, -int(len(str(int(value))) - 3)):,.0f}"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def print_table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """Columns as wide as they need to be; all but the first to the right."""
    rows = [list(heads), *map(list, lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    for number, row in enumerate(rows):
        cells = [
            cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths))
        ]
        print("  ".join(cells).rstrip())
        if not number:
            print("  ".join("-" * width for width in widths))
    sys.stdout.flush()
