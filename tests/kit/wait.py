"""Waiting for a condition instead of sleeping for luck."""

from __future__ import annotations

import time
from typing import Callable


def wait_until(predicate: Callable[[], object], what: str, timeout: float = 10.0) -> None:
    """Return as soon as the predicate holds; fail, naming what was waited for, when it does not within `timeout` s."""
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain: {what}")
        time.sleep(0.002)
