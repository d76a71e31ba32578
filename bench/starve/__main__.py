"""`python -m bench.starve`: good clients beside thousands that never read or are away, under a hard limit of memory."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench.machine import raise_descriptor_limit
from bench.options import at_least
from bench.wires import Fault

from .run import ROOM, Famine, starve

MIB = 1 << 20


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 when a good client lost, repeated or reordered a packet, or the server did not live."""
    parser = argparse.ArgumentParser(prog="python -m bench.starve", description=__doc__)
    parser.add_argument("--seconds", type=at_least(1, float), default=15.0, help="of hunger (%(default)g)")
    parser.add_argument("--readers", type=at_least(0, int), default=2000, help="that never read (%(default)s)")
    parser.add_argument("--away", type=at_least(0, int), default=1000, help="that leave at once (%(default)s)")
    parser.add_argument("--good", type=at_least(1, int), default=50, help="good clients (%(default)s)")
    parser.add_argument("--budget", type=at_least(1, int), default=64, help="limits.memory_bytes, MiB (%(default)s)")
    parser.add_argument("--room", type=at_least(1, int), default=ROOM // MIB, help="beyond that, MiB (%(default)s)")
    given = parser.parse_args(argv)
    raise_descriptor_limit()
    try:
        found = starve(
            given.seconds, readers=given.readers, away=given.away, good=given.good,
            budget=given.budget * MIB, room=given.room * MIB,
        )  # fmt: skip
    except (Fault, RuntimeError) as fault:
        print(f"FAULT: {fault}")
        return 1
    tell(found)
    return int(found.internal_errors > 0)


def tell(found: Famine) -> None:
    """The figures."""
    print(f"in peace        {found.peace}")
    print(f"in the famine   {found.famine}; nothing lost, nothing twice, all in order")
    print(f"budget          {found.budget // MIB} MiB for queues; the master sent {found.fed // MIB} MiB")
    print(f"address space   {found.address_space_peak // MIB} MiB at most, of {found.limit // MIB} MiB allowed")
    print(f"resident        {found.resident_before // MIB} MiB in peace, {found.resident_peak // MIB} MiB at most")
    print(f"internal errors {found.internal_errors}")
    for what, counts in (("hungry", found.hungry), ("closed", found.closed), ("session ended", found.ended)):
        for reason, count in sorted(counts.items(), key=lambda row: -row[1]):
            print(f"{what:15} {count:6} {reason}")


if __name__ == "__main__":
    sys.exit(main())
