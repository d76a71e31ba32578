"""WebSocket without its upgrade: the framing by itself."""

from __future__ import annotations

from kit.websocket_speaker import WebSocketSpeaker as Speaker

from voltlane.lanes.lane import Lane
from voltlane.lanes.websocket import WebSocket

LANE = Lane("websocket", WebSocket)

__all__ = ["LANE", "Speaker"]
