"""`python -m bench.udp`: every workload on every server, in turn, as many rounds as asked for; medians, and what they
are to the C program's."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from .. import options
from ..machine import describe, raise_descriptor_limit
from ..report import SPARE_DESCRIPTORS, print_table, thousands
from ..servers import VOLTLANE, Server
from ..wires import Fault
from .run import measure
from .servers import RIVALS, compiled, find
from .workloads import WORKLOADS, Workload

BARS = {"native": 1.0, "pure": 0.30}
"""What Voltlane has to do in a second of its CPU time, of what the C program does in one of its."""
IDLE_BAR = 512
"""Bytes of an idle client, at most."""

Rows = dict[tuple[str, str], list[dict[str, Any]]]


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 when something came that was not sent, or a server failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.udp", description=__doc__)
    parser.add_argument("--seconds", type=options.at_least(0.1, float), default=1.0, help="a run (%(default)g)")
    parser.add_argument("--rounds", type=options.at_least(1, int), default=3, help="of all (%(default)s)")
    parser.add_argument("--clients", type=options.at_least(4, int), default=500, help="addresses (%(default)s)")
    parser.add_argument("--only", type=options.names_of(list(WORKLOADS)), default=list(WORKLOADS), metavar="WORKLOADS",
                        help=f"some of {','.join(WORKLOADS)} (all)")  # fmt: skip
    parser.add_argument("--voltlane", type=options.names_of(VOLTLANE), default=VOLTLANE, metavar="FORMS",
                        help=f"which of {','.join(VOLTLANE)}, or none (all that there are)")  # fmt: skip
    parser.add_argument("--rivals", type=options.names_of(RIVALS), default=RIVALS, metavar="NAMES",
                        help=f"which of {','.join(RIVALS)}, or none (all)")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of Voltlane")
    parser.add_argument("--pypy", metavar="PATH", help="a PyPy that has the server's packages")
    parser.add_argument("--out", type=Path, default=options.OUT, metavar="DIR", help="where results go (bench/out)")
    given = parser.parse_args(argv)
    most = raise_descriptor_limit()
    with tempfile.TemporaryDirectory(prefix="voltlane-bench-") as directory:
        try:
            programs = compiled(Path(directory))
        except LookupError as error:
            print(f"skipped, all of it: {error}")
            return 0
        servers, notes = find(given.voltlane, given.rivals, programs, given.pypy, given.set)
        machine = describe()
        print(f"{machine['cpu']}, {machine['cores']} cores, {machine['kernel']}, load {machine['load']:.1f}")
        for server in servers:
            print(f"  {server.label:22} {server.detail}")
        for note in notes:
            print(f"  skipped: {note}")
        rows: Rows = {}
        faults: list[str] = []
        for row in [WORKLOADS[name] for name in given.only]:
            for number in range(given.rounds if row.mode != "idle" else 1):
                for server in servers:
                    clients = max(1, min(int(given.clients * row.share), most - SPARE_DESCRIPTORS))
                    print(f"{row.title:42} {server.label:22}", end=" ", flush=True)
                    try:
                        done = measure(programs, server, row, clients, given.seconds)
                        rows.setdefault((row.name, server.key), []).append(done)
                        print(_summary(done), flush=True)
                    except Fault as fault:
                        faults.append(f"{row.name} on {server.label}, round {number + 1}: {fault}")
                        print(f"FAULT: {fault}", flush=True)
    _tell(rows, [WORKLOADS[name] for name in given.only], servers)
    document = {
        "made": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "machine": machine,
        "servers": [{"key": one.key, "label": one.label, "detail": one.detail} for one in servers],
        "skipped": notes,
        "results": [{"workload": name, "server": key, "rounds": found} for (name, key), found in rows.items()],
        "faults": faults,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "udp.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"\n{given.out / 'udp.json'}", *[f"FAULT: {fault}" for fault in faults], sep="\n")
    return int(bool(faults))


def _summary(done: dict[str, Any]) -> str:
    if "bytes_per_client" in done:
        return f"{done['bytes_per_client']:8.0f} bytes a client, of {done['clients']}"
    line = f"{thousands(done['per_second']):>7} k/s  {thousands(done['per_cpu_second']):>7} k per CPU s"
    line += f"  cores: server {done['server_cores']:.2f}, load {done['load_cores']:.2f}"
    return line + (f"  lost {100 * done['lost']:.2f} %" if done["lost"] else "")


def _figure(rows: Rows, workload: Workload, key: str) -> float | None:
    found = rows.get((workload.name, key))
    what = "bytes_per_client" if workload.mode == "idle" else "per_cpu_second"
    return median(one[what] for one in found) if found else None


def _tell(rows: Rows, workloads: Sequence[Workload], servers: Sequence[Server]) -> None:
    """The table, and whether the bars hold."""
    print("\nThousands a second of the server's own CPU time, medians; in brackets to the C program's.\n")
    lines, below = [], []
    for workload in workloads:
        measure_ = _figure(rows, workload, "c")
        line = [workload.title]
        for server in servers:
            figure = _figure(rows, workload, server.key)
            if figure is None:
                line.append("–")
            elif workload.mode == "idle":
                line.append(f"{figure:.0f} B")
                if server.key in BARS and figure > IDLE_BAR:
                    below.append(f"{workload.name}, {server.key}: {figure:.0f} bytes, at most {IDLE_BAR}")
            else:
                ratio = figure / measure_ if measure_ else 0.0
                line.append(thousands(figure) + (f" ({ratio:.2f})" if measure_ else ""))
                if measure_ and workload.bars and ratio < BARS.get(server.key, 0):
                    below.append(f"{workload.name}, {server.key}: {ratio:.2f}, at least {BARS[server.key]:.2f}")
        lines.append(line)
    print_table(["", *(server.label for server in servers)], lines)
    if any(server.key in BARS for server in servers):
        print("\nNot as it has to be: " + "; ".join(below) if below else "\nAll is as it has to be.")


if __name__ == "__main__":
    sys.exit(main())
