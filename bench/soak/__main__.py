"""`python -m bench.soak`: thousands of clients for minutes; every packet accounted for, and nothing left behind."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench.machine import raise_descriptor_limit
from bench.options import at_least
from bench.wires import Fault

from .run import AT_REST, Soak, soak


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 when a packet is missing, or anything is left behind."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=at_least(0.05, float), default=5.0, help="(%(default)g)")
    parser.add_argument("--clients", type=at_least(10, int), default=3000, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what they do (%(default)s)")
    parser.add_argument("--pure", action="store_true", help="the server without its optional parts")
    given = parser.parse_args(argv)
    raise_descriptor_limit()
    try:
        found = soak(given.minutes * 60, given.clients, pure=given.pure, seed=given.seed)
    except Fault as fault:
        print(f"FAULT: {fault}")
        return 1
    tell(found)
    return int(bool(found.faults))


def tell(found: Soak) -> None:
    """The figures."""
    totals = found.totals
    print(f"clients      {totals.clients} came, and resumed {totals.resumes} times")
    print(f"packets      {totals.sent} sent, {totals.returned} back, {totals.lost} lost by resets, none else")
    before, after, peak = (size >> 10 for size in (found.resident_before, found.resident_after, found.resident_peak))
    print(f"memory       {before} KiB after the warm-up, {after} KiB at the end, {peak} KiB at most")
    print(f"descriptors  {found.descriptors_before}, {found.descriptors_after}")
    for name in AT_REST:
        print(f"{name:12} {found.rest_before[name]}, {found.rest_after[name]}")
    for what in ("closed", "ended"):
        print(f"{what:12} " + ", ".join(f"{count} × {reason}" for reason, count in found.counters[what].items()))
    for fault in found.faults:
        print(f"FAULT: {fault}")


if __name__ == "__main__":
    sys.exit(main())
