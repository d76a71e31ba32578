"""`python -m bench.soak`: thousands of clients for minutes; every packet accounted for, and nothing left behind."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from bench.machine import raise_descriptor_limit
from bench.options import at_least
from bench.wires import Fault

from .lossless import Found, lossless
from .run import AT_REST, Soak, soak

CLIENTS = {2: 3000, 3: 300}
"""How many, for each protocol."""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 when a packet is missing, or anything is left behind."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=at_least(0.05, float), default=5.0, help="(%(default)g)")
    parser.add_argument(
        "--protocol",
        type=int,
        choices=(2, 3),
        default=2,
        help="that of the clients; 3: nothing may be lost (%(default)s)",
    )
    parser.add_argument("--clients", type=at_least(10, int), help=f"({CLIENTS[2]}; of version 3 {CLIENTS[3]})")
    parser.add_argument("--kill", action="store_true", help="the server as well, now and then (--protocol 3)")
    parser.add_argument("--seed", type=int, default=1, help="of what they do (%(default)s)")
    parser.add_argument("--pure", action="store_true", help="the server without its optional parts")
    given = parser.parse_args(argv)
    if given.kill and given.protocol == 2:
        parser.error("--kill needs --protocol 3")
    raise_descriptor_limit()
    seconds, clients = given.minutes * 60, given.clients or CLIENTS[given.protocol]
    found: Soak | Found
    try:
        if given.protocol == 3:
            found = lossless(seconds, clients, pure=given.pure, seed=given.seed, killing=given.kill)
            tell_lossless(found)
        else:
            found = soak(seconds, clients, pure=given.pure, seed=given.seed)
            tell(found)
    except Fault as fault:
        print(f"FAULT: {fault}")
        return 1
    for mistake in found.faults:
        print(f"FAULT: {mistake}")
    return int(bool(found.faults))


def tell(found: Soak) -> None:
    """The figures."""
    totals = found.totals
    print(f"clients      {totals.clients} came, and resumed {totals.resumes} times")
    print(f"packets      {totals.sent} sent, {totals.returned} back, {totals.lost} lost by resets, none else")
    _tell_server(
        (found.resident_before, found.resident_after, found.resident_peak),
        (found.descriptors_before, found.descriptors_after),
        (found.rest_before, found.rest_after),
    )


def tell_lossless(found: Found) -> None:
    """The same of a soak of version 3."""
    totals = found.totals
    print(f"clients      {totals.clients} came, were cut {totals.cuts} times, and resumed {totals.resumes} times")
    print(f"packets      {totals.sent} sent; {totals.came} came, {totals.own} of them unasked for")
    if found.kills:
        print(f"kills        {found.kills}; {totals.gaps} gaps told; {totals.uncertain} packets told as uncertain")
        print(f"missing      {totals.holes} packets, both ways, all told")
    else:
        print("missing      none; doubled or out of order none; no gap, nothing uncertain")
    _tell_server(found.resident, found.descriptors, found.rest)


def _tell_server(
    resident: tuple[int, int, int], descriptors: tuple[int, int], rest: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    before, after, peak = (size >> 10 for size in resident)
    print(f"memory       {before} KiB after the warm-up, {after} KiB at the end, {peak} KiB at most")
    print(f"descriptors  {descriptors[0]}, {descriptors[1]}")
    for name in AT_REST:
        print(f"{name:12} {rest[0][name]}, {rest[1][name]}")
    for what in ("closed", "ended"):
        print(f"{what:12} " + ", ".join(f"{count} × {reason}" for reason, count in rest[1][what].items()))


if __name__ == "__main__":
    sys.exit(main())
