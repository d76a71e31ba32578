"""Stand-ins for what the core talks to: they keep what they are given, and do as a test says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable

from kit.frames import split, split_tagged

from voltlane.core.outbox import Chunk
from voltlane.reasons import CloseReason
from voltlane.wire.tagged import Tagged


class RecorderLink:
    """A client's connection, as the core sees it."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        """Payloads of data frames, in order."""
        self.greetings: list[bytes] = []
        """Payloads of frames that are no data (sent as 0 packets)."""
        self.unwritten: list[tuple[Chunk, int]] = []
        """What `hand_over` answers."""
        self.counted = 0
        """How many bytes at the end of what was replayed count."""
        self.detached: CloseReason | None = None
        self.can_hand_over = True
        self.on_drain: Callable[[], None] = lambda: None

    def try_send(self, chunk: Chunk, packets: int = -1) -> bool:
        (self.sent if packets else self.greetings).extend(split(chunk))
        return True

    def try_send_views(self, views: Sequence[memoryview], packets: int) -> bool:
        frames = split(b"".join(views))
        assert len(frames) == packets
        self.sent.extend(frames)
        return True

    def replay(self, chunks: list[tuple[Chunk, int]], counted: int = 0) -> int:
        self.counted = counted
        for chunk, packets in chunks:
            frames = split(chunk)
            assert len(frames) == packets or not packets
            (self.sent if packets else self.greetings).extend(frames)
        return sum(packets for _, packets in chunks)

    def hand_over(self) -> tuple[list[tuple[Chunk, int]], int]:
        self.on_drain()
        self.detach(CloseReason.TAKEN_OVER)
        unwritten, self.unwritten = self.unwritten, []
        return unwritten, sum(len(chunk) for chunk, _ in unwritten)

    def detach(self, reason: CloseReason) -> None:
        assert self.detached is None
        self.detached = reason


class RecorderTrunk:
    """The master's side, as the core sees it."""

    def __init__(self) -> None:
        self.congested = False
        self.pushed: list[Tagged] = []

    def push(self, chunk: bytes, packets: int) -> None:
        tagged = split_tagged(chunk)
        assert len(tagged) == packets
        self.pushed += tagged

    def take(self) -> list[Tagged]:
        """Everything pushed since the last time."""
        pushed, self.pushed = self.pushed, []
        return pushed
