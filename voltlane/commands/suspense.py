"""Saying why nothing happens, while a call that waits is under way: a server without a backend accepts nobody yet.

Its kernel takes the connection, and nobody behind it says a word; so whoever is reached, and does not begin its
handshake in good time, most likely has no backend. In good time is by the measure of the way there.
"""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType
from typing import Callable

LEAST_SECS = 0.3
"""Seconds for a handshake with a server next door, be its machine busy ..."""
ROUND_TRIPS = 8
"""... and how many times what the connection took: TLS, the upgrade and the handshake are half of that."""


class Suspense:
    """Calls `tell` when a server was reached and its handshake does not come. Within a `with`, in the main thread; one
    block for each attempt. It takes SIGALRM, so that it needs neither a thread nor a call that ends to be repeated."""

    def __init__(self, tell: Callable[[], object]) -> None:
        self._tell = tell
        self._began = 0.0
        self._earlier: object = None
        self.told = False
        """Whether that was so, of the attempt that is under way or was the last."""
        self.was_reached = False
        """Whether there was a connection, in that attempt."""

    def reached(self) -> None:
        """There is a connection: see `on_reached` of Connection."""
        self.was_reached = True
        took = time.monotonic() - self._began
        signal.setitimer(signal.ITIMER_REAL, LEAST_SECS + ROUND_TRIPS * took)

    def __enter__(self) -> Suspense:
        self._began, self.told, self.was_reached = time.monotonic(), False, False
        self._earlier = signal.signal(signal.SIGALRM, self._on_alarm)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, self._earlier or signal.SIG_DFL)  # type: ignore[arg-type]

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        self.told = True
        self._tell()
