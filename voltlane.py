"""Voltlane from a checkout: `python voltlane.py --help`. The program itself is the package of the same name."""

from __future__ import annotations

import signal

if __name__ == "__main__" and hasattr(signal, "pthread_sigmask"):  # first of all: see voltlane/signals.py
    _OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)

import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
ENVIRONMENT = os.path.join(HERE, ".venv")
"""What `make run` installs into."""
NEEDED = ["nacl", "ecdsa", "tomli_w"] + (["tomli"] if sys.version_info < (3, 11) else [])


def missing() -> list[str]:
    """The modules that this interpreter lacks."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


if __name__ == "__main__":
    python = os.path.join(ENVIRONMENT, "bin", "python")
    if missing() and os.path.exists(python) and os.environ.get("_VOLTLANE_RELAUNCHED") is None:
        os.environ["_VOLTLANE_RELAUNCHED"] = "1"  # once is enough, should they be missing there as well
        os.execv(python, [python, *(["-I"] if sys.flags.isolated else []), *sys.argv])
    if "tomli" in missing():
        sys.exit("voltlane: the package tomli is needed: pip install tomli, or make run, which installs it")

    if HERE not in sys.path:
        sys.path.insert(0, HERE)  # with -I, -P or PYTHONSAFEPATH it is not there
    from voltlane.__main__ import main

    sys.exit(main())
