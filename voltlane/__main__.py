"""The program: `python -m voltlane`, and what the command `voltlane` calls."""

from __future__ import annotations

import sys

from .signals import block


def main() -> int:
    """Run the command line. The exit code."""
    block()  # before anything else is imported, which takes a while; each command unblocks them when it is ready
    from .cli import main as run

    try:
        return run()
    finally:
        block()  # the exit code is decided, whatever comes while the interpreter ends


if __name__ == "__main__":
    sys.exit(main())
