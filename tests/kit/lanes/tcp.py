"""The lane tcp, and its clients' side."""

from __future__ import annotations

from kit.speaker import Speaker as Base

from voltlane.lanes.table import TCP as LANE
from voltlane.wire.framing import FrameBuffer, frame

__all__ = ["LANE", "Speaker"]


class Speaker(Base):
    """The length prefix."""

    def __init__(self) -> None:
        self._received = FrameBuffer(1 << 24)

    def encode(self, message: bytes) -> bytes:
        return frame(message)

    def decode(self, data: bytes) -> list[bytes]:
        self._received.feed(data)
        return list(self._received)
