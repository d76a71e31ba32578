"""Catches a test that leaves a descriptor open or a child process behind."""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path

GRACE_SECS = 2.0
"""A thread or process that was told to end may need a moment to be gone."""

_DESCRIPTORS = Path("/proc/self/fd")
_PROCESSES = Path("/proc")


class Leak(AssertionError):
    """Something is still there that was not there before."""


def descriptors() -> set[str]:
    """Each open descriptor with what it refers to; empty where there is no /proc.

    A socket is named by its inode, so that a new one is noticed even if it took an old one's number.
    """
    found = set()
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(_DESCRIPTORS):
            with contextlib.suppress(OSError):  # the descriptor of this very listing
                found.add(f"descriptor {name}: {os.readlink(_DESCRIPTORS / name)}")
    return found


def children() -> set[str]:
    """Each child process, also one that has ended and was not waited for; empty where there is no /proc."""
    if not _may_have_children() or not _DESCRIPTORS.exists():
        return set()
    own = str(os.getpid())
    found = set()
    for name in os.listdir(_PROCESSES):
        if name.isdigit():
            with contextlib.suppress(OSError):
                # The command's name stands in parentheses and may hold any character.
                head, _, rest = (_PROCESSES / name / "stat").read_text(errors="replace").rpartition(")")
                state, parent = rest.split()[:2]
                if parent == own:
                    found.add(f"child {head}), {'not waited for' if state == 'Z' else 'running'}")
    return found


def _may_have_children() -> bool:
    """A quick no for the usual case. Nothing is reaped."""
    if not hasattr(os, "waitid"):  # PyPy
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


@contextlib.contextmanager
def no_leaks(grace: float = GRACE_SECS) -> Iterator[None]:
    """Raises Leak when more descriptors are open, or more children there, at the end of the block than before it."""
    before = descriptors() | children()
    yield
    deadline = time.monotonic() + grace
    while True:
        left = (descriptors() | children()) - before
        if not left:
            return
        if hasattr(gc, "unfreeze"):
            gc.unfreeze()  # a server that was started in this process froze what there was
        # What only a cycle of garbage keeps is not a leak; PyPy frees everything this way.
        gc.collect()
        left = (descriptors() | children()) - before
        if not left:
            return
        if time.monotonic() > deadline:
            raise Leak("left behind: " + "; ".join(sorted(left)))
        time.sleep(0.01)
