"""`python -m bench.siege`: good clients beside all attacks at once; what they noticed, and what was refused."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from bench.machine import raise_descriptor_limit
from bench.options import at_least, names_of
from bench.wires import Fault

from .attacks import ATTACKS, attacks_on
from .lanes import LANES, Lane
from .nobody import DATAGRAM_ATTACKS
from .run import PUBLIC, Siege, besiege

_NAMES = [*ATTACKS, *DATAGRAM_ATTACKS]
MOST_LOST = 0.01
"""Of the good ones' datagrams, so many may be lost."""
MOST_ADDED_MS = 100.0
"""The round trip of the good, one in a hundred aside, may grow by so much."""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 when a good client lost, repeated or reordered a packet, or had to wait for too long; of
    datagrams, when more than one in a hundred was lost."""
    parser = argparse.ArgumentParser(prog="python -m bench.siege", description=__doc__)
    parser.add_argument("--seconds", type=at_least(1, float), default=60.0, help="of siege (%(default)g)")
    parser.add_argument("--good", type=at_least(1, int), default=100, metavar="N", help="good clients (%(default)s)")
    parser.add_argument("--share", type=at_least(0.001, float), default=1.0, help="of the usual attackers (1)")
    parser.add_argument("--lane", choices=[*LANES, "all"], default="tcp", help="all: one after the other (%(default)s)")
    parser.add_argument(
        "--attacks", type=names_of(_NAMES), metavar="NAMES",
        help=f"some of {','.join(_NAMES)} (all that the lane has)",
    )  # fmt: skip
    parser.add_argument("--pure", action="store_true", help="the server without its optional parts")
    parser.add_argument("--defaults", action="store_true", help="the server without limits, as it comes")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the server; may be repeated"
    )
    given = parser.parse_args(argv)
    raise_descriptor_limit()
    settings: dict[str, object] = {} if given.defaults else dict(PUBLIC)
    settings.update(setting.split("=", 1) for setting in given.set)
    lanes = LANES.values() if given.lane == "all" else [LANES[given.lane]]
    return max([_besiege(lane, given, settings) for lane in lanes])


def _besiege(lane: Lane, given: argparse.Namespace, settings: dict[str, object]) -> int:
    attacks = [name for name in attacks_on(lane) if given.attacks is None or name in given.attacks]
    print(f"lane           {lane.scheme}")
    try:
        found = besiege(
            given.seconds, lane=lane, good=given.good, share=given.share, attacks=attacks, pure=given.pure,
            settings=settings,
        )  # fmt: skip
    except Fault as fault:
        print(f"FAULT: {fault}")
        return 1
    tell(found, settings)
    slow = found.siege.p99 > found.peace.p99 + MOST_ADDED_MS
    lossy = found.siege.lost > MOST_LOST * (found.siege.lost + found.siege.count)
    return int(slow or lossy or found.internal_errors > 0)


def tell(found: Siege, settings: dict[str, object]) -> None:
    """The figures."""
    print(f"settings       {json.dumps(settings)}, else defaults")
    print(f"in peace       {found.peace}")
    print(f"under siege    {found.siege}")
    print(f"p99 grew by    {found.siege.p99 - found.peace.p99:.2f} ms; at most {MOST_ADDED_MS:g} ms are allowed")
    print(f"server         {found.server_cores:.2f} cores; memory {found.resident_before >> 20} MiB in peace, "
          f"{found.resident_peak >> 20} MiB at most; internal errors: {found.internal_errors}")  # fmt: skip
    for name, counts in found.attacks.items():
        print(f"attack         {name}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))
    print(f"accepted       {found.accepted}")
    if found.peers:
        print(f"peers          {found.peers}")
    for what, counts in (("closed", found.closed), ("session ended", found.ended), ("dropped", found.dropped)):
        for reason, count in counts.items():
            print(f"{what:14} {count} × {reason}")


if __name__ == "__main__":
    sys.exit(main())
