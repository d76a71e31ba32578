"""Packets kept for a stale client. Past a limit of packets or of bytes the oldest go first: who wants its session to
end instead does not let it come to that (`hub`)."""

from __future__ import annotations

from collections import deque

from ..wire.framing import count_frames, skip_frames
from .budget import Budget, Holding
from .outbox import Chunk


class Backlog(Holding):
    """A bounded FIFO of chunks (whole client frames, SPEC 7). Limits are the caller's, the same for all of them."""

    __slots__ = ("_chunks", "_cut", "dropped", "packets", "size")

    def __init__(self, budget: Budget | None = None, owner: object = None) -> None:
        super().__init__(budget or Budget(), owner)
        self._chunks: deque[tuple[Chunk, int]] = deque()
        self._cut = 0  # bytes of the first chunk that are dropped
        self.packets = 0
        self.size = 0
        """Bytes, length prefixes included."""
        self.dropped = 0
        """Packets that were pushed out by later ones."""

    def append(self, chunk: Chunk, packets: int, most_packets: int, most_bytes: int) -> int:
        """Keep a chunk, at the cost of the oldest packets if need be. Returns how many packets that cost.

        `packets` may be -1 where the caller does not know.
        """
        if packets < 0:
            packets = count_frames(chunk)
        self._chunks.append((chunk, packets))
        self.packets += packets
        self.size += len(chunk)
        self.hold_chunk(len(chunk))
        dropped = 0
        while self.packets > most_packets or self.size > most_bytes:
            dropped += self._drop_oldest(max(1, self.packets - most_packets), self.size - most_bytes)
        self.dropped += dropped
        return dropped

    def _drop_oldest(self, packets: int, size: int) -> int:
        """Drop from the first chunk: all of it if that is not enough, else the fewest packets that are."""
        chunk, count = self._chunks[0]
        start = self._cut
        if count <= packets or len(chunk) - start <= size:
            self._pop_first()
            self.packets -= count
            self.size -= len(chunk) - start
            return count
        cut, dropped = start + skip_frames(memoryview(chunk)[start:], packets), packets
        while cut - start < size:
            cut += skip_frames(memoryview(chunk)[cut:], 1)
            dropped += 1
        if dropped == count:
            self._pop_first()
        else:
            # Copied each time, what is left would make dropping one by one quadratic; never, it would hold the memory.
            if cut > len(chunk) // 2:
                chunk, self._cut = chunk[cut:], 0
                self.hold(self.held - cut)
            else:
                self._cut = cut
            self._chunks[0] = (chunk, count - dropped)
        self.packets -= dropped
        self.size -= cut - start
        return dropped

    def _pop_first(self) -> None:
        chunk, _ = self._chunks.popleft()
        self._cut = 0
        self.drop_chunks(1, len(chunk))

    def take(self) -> list[tuple[Chunk, int]]:
        """Everything, as (chunk, packets), out of the backlog."""
        chunks = self.kept()
        self.clear()
        return chunks

    def kept(self) -> list[tuple[Chunk, int]]:
        """The same, and it stays there."""
        chunks = list(self._chunks)
        if self._cut:
            chunk, packets = chunks[0]
            chunks[0] = (chunk[self._cut :], packets)
        return chunks

    def clear(self) -> None:
        """Drop everything; nothing of it counts as dropped."""
        self._chunks.clear()
        self._cut = self.packets = self.size = 0
        self.hold(0)
