"""Deadlines for the two libraries: values of `time.monotonic()`; None waits for ever."""

from __future__ import annotations

import time
from typing import Optional

Deadline = Optional[float]

LONGEST_POLL = 3600.0
"""Seconds: the milliseconds that a poll is given have 32 bits, so longer waits are repeated ones."""


def deadline_after(timeout: float | None) -> Deadline:
    """The deadline that lies `timeout` seconds ahead."""
    return None if timeout is None else time.monotonic() + timeout


def remaining(deadline: Deadline) -> float | None:
    """Seconds left, never below 0."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())
