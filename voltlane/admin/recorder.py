"""What becomes of clients, remembered for a while and told to whoever watches."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from ..reasons import CloseReason
from .events import Events

REMEMBERED = 500
"""Closed connections that are remembered."""


class Recorder:
    """The endpoint's `ops.watch.Watcher`."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self.closed: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
        """The last closed connections, oldest first."""

    def here(self, client_id: int, peer: str, resumed: bool) -> None:
        """See Watcher."""
        if self._events.watched:
            kind = "resumed" if resumed else "connected"
            self._events.happened({"kind": kind, "id": client_id, "peer": peer, "at": _now()})

    def banned(self, network: str, seconds: float) -> None:
        """See Watcher."""
        if self._events.watched:
            self._events.happened({"kind": "banned", "peer": network, "seconds": seconds, "at": _now()})

    def gone(self, client_id: int, peer: str, reason: CloseReason, detail: str) -> None:
        """See Watcher."""
        row = {"id": client_id or None, "peer": peer, "reason": reason.value, "detail": detail[:200], "at": _now()}
        self.closed.append(row)
        self._events.happened({"kind": "closed", **row})


def _now() -> float:
    return round(time.time(), 3)
