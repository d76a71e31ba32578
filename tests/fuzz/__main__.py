"""`make fuzz`, or `python tests/fuzz --seconds 60`: every target in turn, for its share of the time.

New inputs that reach new code are kept in tests/fuzz/corpus, and so is what is found; the exit code is 1 when something
was. A finding is shown with its traceback, and run again with every `make test` until it is right.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fuzz.engine import Session  # noqa: E402
from fuzz.targets import TARGETS, close  # noqa: E402


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together (%(default)g)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the mutations (any)")
    parser.add_argument("--dry", action="store_true", help="keep nothing but findings")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"some of {', '.join(TARGETS)} (all)")
    given = parser.parse_args(argv)
    unknown = set(given.targets) - set(TARGETS)
    if unknown:
        parser.error(f"{', '.join(unknown)}: no target; there are {', '.join(TARGETS)}")
    logging.getLogger("voltlane").setLevel(logging.CRITICAL)
    chosen = [TARGETS[name] for name in given.targets or TARGETS]
    print(f"{given.seconds:g} s for {len(chosen)} targets, seed {given.seed}")
    found = 0
    try:
        for target in chosen:
            session = Session(target, given.seed)
            session.run(given.seconds / len(chosen))
            kept = 0 if given.dry else session.keep()
            print(
                f"{target.name:10} {session.runs:8} inputs, {session.reached:5} steps reached, {kept} kept", flush=True
            )
            for finding in session.findings:
                traceback.print_exception(type(finding), finding, finding.__traceback__)
            found += len(session.findings)
    finally:
        close()
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
