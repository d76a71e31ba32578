"""Signals that come while nobody can act on them wait: the program blocks them first of all, and again before it ends.

A signal whose handler is not there yet ends the process, with a status that is none of ours; one sent to the first
process of a container is lost.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable

OURS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)
"""Those that a command may have a handler for."""


def block(numbers: Iterable[int] = OURS) -> None:
    """Let these wait from now on. A process that is started meanwhile begins with them blocked."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def unblock(numbers: Iterable[int] = OURS) -> set[int]:
    """Let these come, also if it was somebody else who blocked them. Returns those of them that were blocked."""
    if not hasattr(signal, "pthread_sigmask"):
        return set()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())  # first of all: what waits comes before the next call is over
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    return before.intersection(numbers)
