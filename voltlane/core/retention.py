"""An outbox that keeps what was sent until the peer says that it is safe.

    the first chunk kept ──▶ ( sent ) ( sent in part | ) ( unsent ) ( unsent )
                     acked ───▶           cursor ──▶

What counts towards the limits of an outbox is what is unsent. Memory is held for all of it.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ..wire.framing import skip_frames
from .budget import CHUNK_COST, QUEUE_COST, Budget
from .outbox import Chunk, Outbox, Queued


class Kept(NamedTuple):
    """What a retention holds, for another one to go on with."""

    sent: list[tuple[Chunk, int]]
    """In whole, and not safe in whole."""
    acked: int
    """Packets that are safe, of the first chunk of all."""
    queued: Queued


class Retention(Outbox):
    """See the module's docstring. `written` is how many bytes were given to `advance`, from when it was made."""

    __slots__ = ("_acked", "_behind", "_gone", "_sent")

    def __init__(self, budget: Budget | None = None, owner: object = None) -> None:
        super().__init__(budget, owner)
        self._sent: deque[tuple[Chunk, int]] = deque()  # in whole, and not acknowledged in whole
        self._behind = 0  # packets in it
        self._gone = 0  # bytes in it
        self._acked = 0  # packets of the first chunk that are safe, be it sent in whole or not

    @property
    def unacked(self) -> int:
        """Packets that were sent in whole and are not safe."""
        self._locate()
        return self._behind + self._passed - self._acked

    @property
    def unacked_bytes(self) -> int:
        """Bytes that were sent and are not safe, those of the first chunk counted until all of it is."""
        return self._gone + self._offset

    @property
    def kept(self) -> int:
        """Packets that are not safe, sent or not."""
        return self._behind + self._packets - self._acked

    def add_sent(self, chunk: Chunk, packets: int) -> None:
        """A chunk that was sent already, while nothing is unsent."""
        self._sent.append((chunk, packets))
        self._behind += packets
        self._gone += len(chunk)
        self.hold_chunk(len(chunk))

    def span(self, packets: int) -> int:
        """Bytes to be sent until so many more packets are out in whole."""
        self._locate()
        size, start, passed = -self._offset, self._start, self._passed
        for chunk, count in self._chunks:
            if packets < count - passed:
                return size + start + skip_frames(memoryview(chunk)[start:], packets)
            packets -= count - passed
            size += len(chunk)
            start = passed = 0
        return size

    def first(self, most: int) -> memoryview:
        """The next bytes to write, in one piece: at most so many, since no more than that is to be copied."""
        first, left = memoryview(self._chunks[0][0])[self._offset : self._offset + most], most
        if len(first) == most or len(self._chunks) == 1:
            return first
        parts: list[memoryview] = []
        for chunk, _ in self._chunks:
            part = memoryview(chunk)[:left] if parts else first
            parts.append(part)
            left -= len(part)
            if not left:
                break
        return memoryview(b"".join(parts))

    def skip(self, packets: int) -> None:
        """The first so many of what is unsent need not be sent; they are kept all the same."""
        while packets and packets >= self._chunks[0][1]:
            packets -= self._chunks[0][1]
            self.advance(len(self._chunks[0][0]))
        if packets:
            self.advance(skip_frames(self._chunks[0][0], packets))

    def advance(self, written: int) -> None:
        """See Outbox: what is written is kept."""
        self.size -= written
        if self._exempt:
            self._exempt = max(0, self._exempt - written)
        written += self._offset
        chunks = self._chunks
        while chunks and written >= len(chunks[0][0]):
            chunk, packets = chunks.popleft()
            self._sent.append((chunk, packets))
            written -= len(chunk)
            self._gone += len(chunk)
            self._behind += packets
            self._packets -= packets
            self._start = self._passed = 0
        self._offset = written

    def forget(self, packets: int) -> None:
        """The first so many of what is kept are safe. They were sent."""
        acked, sent, dropped, size = self._acked + packets, self._sent, 0, 0
        while sent and acked >= sent[0][1]:
            chunk, count = sent.popleft()
            acked -= count
            self._behind -= count
            dropped += 1
            size += len(chunk)
        self._acked = acked
        self._gone -= size
        if dropped:
            self.drop_chunks(dropped, size)

    def take(self) -> list[tuple[Chunk, int]]:
        """Everything that is not safe, in order, as (chunk, packets), out of here."""
        chunks = [*self._sent, *self._chunks]
        if self._acked:
            chunk, packets = chunks[0]
            chunks[0] = (bytes(memoryview(chunk)[skip_frames(chunk, self._acked) :]), packets - self._acked)
        self.clear()
        return chunks

    def rewind(self) -> None:
        """See Outbox: nothing need be done for `take`."""

    def clear(self) -> None:
        """See Outbox."""
        self._sent.clear()
        self._behind = self._gone = self._acked = 0
        super().clear()

    # ---- for another process

    def all_kept(self) -> Kept:
        """What it holds. Nothing is changed by that."""
        return Kept(list(self._sent), self._acked, self.queued())

    def go_on_keeping(self, kept: Kept) -> None:
        """Hold what another one held. Only while it is empty."""
        for chunk, packets in kept.sent:
            self.add_sent(chunk, packets)
        self._acked = kept.acked
        self.go_on_with(kept.queued)

    @property
    def memory(self) -> int:
        """What it holds, added up anew: for tests."""
        chunks = [*self._sent, *self._chunks]
        return QUEUE_COST + sum(len(chunk) + CHUNK_COST for chunk, _ in chunks) if chunks else 0
