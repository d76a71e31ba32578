"""WebSocket with its upgrade through a tunnel, as on a listener of wss://."""

from __future__ import annotations

from kit.lanes import ws
from kit.lanes.tls import TlsTunnel

from voltlane.lanes.table import WSS as LANE

__all__ = ["LANE", "Speaker"]


class Speaker(ws.Speaker):
    def __init__(self) -> None:
        super().__init__()
        self.tunnel = TlsTunnel()
