"""Bytes on their way to one peer: what its socket would not take yet.

A chunk is one or more whole frames. The outbox remembers how far into its first chunk the peer has got, so that what
was written in part can be sent again whole elsewhere: to the client's next connection, or to the next connection of the
master.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import NamedTuple, Union

from ..wire.framing import count_frames, frame_at
from .budget import CHUNK_COST, QUEUE_COST, Budget, Holding

Chunk = Union[bytes, bytearray]
MOST_VIEWS = 256
"""Buffers given to one gathering write."""
GATHERED = 1 << 18
"""Bytes worth one."""


class Verdict(enum.Enum):
    """What the limits say of an outbox."""

    FINE = 0
    SLOW = 1
    FULL = 2


class Queued(NamedTuple):
    """What an outbox holds, for another one to go on with."""

    chunks: list[tuple[Chunk, int]]
    written: int
    """Bytes of the first chunk that are out."""
    exempt: int
    """Bytes at the front that limits do not count."""


class Outbox(Holding):
    """A FIFO of chunks. Made when there is something to queue: most peers never need one.

    A chunk counts in the budget until all of it is written, since until then all of it is there.
    """

    __slots__ = (
        "_chunks",
        "_exempt",
        "_offset",
        "_packets",
        "_passed",
        "_start",
        "scheduled",
        "size",
        "touched",
        "unconfirmed",
    )

    def __init__(self, budget: Budget | None = None, owner: object = None) -> None:
        super().__init__(budget or Budget(), owner)
        self._chunks: deque[tuple[Chunk, int]] = deque()
        self._offset = 0  # bytes of the first chunk that are written
        self._start = 0  # where a frame of the first chunk begins, at or before the offset: see `_locate`
        self._passed = 0  # how many frames stand before it
        self._packets = 0
        self._exempt = 0  # bytes at the front that limits do not count: a replay is as long as it is
        self.size = 0
        """Bytes still to write."""
        self.scheduled = False
        """For the stream: whether a task will go on writing, where a quantum ended before the socket was full."""
        self.touched = 0.0
        """For the stream: when the peer took something last, or else when there was first something to take."""
        self.unconfirmed = 1 << 62
        """For whoever watches that: bytes that were in the kernel at the last look; before one, more than can be."""

    def append(self, chunk: Chunk, packets: int = -1, written: int = 0) -> None:
        """Queue a chunk; `packets` if the caller knows their number. `written` bytes of a first chunk are out.

        A chunk of 0 packets is a part of the conversation with this one peer, like a handshake's answer: `take` leaves
        it out.
        """
        if packets < 0:
            packets = count_frames(chunk)
        self._chunks.append((chunk, packets))
        self._packets += packets
        self.size += len(chunk) - written
        if written:
            self._offset = written
        self.hold_chunk(len(chunk))

    def exempt(self, counted: int = 0) -> None:
        """What is queued now is a replay: but for the last `counted` bytes it does not count towards the limits."""
        self._exempt = self.size - counted

    @property
    def counted(self) -> int:
        """Bytes that count towards the limits: all but what is left of a replay."""
        return self.size - self._exempt

    @property
    def packets(self) -> int:
        """Packets not yet written in full."""
        self._locate()
        return self._packets - self._passed

    @property
    def packets_at_most(self) -> int:
        """The same without looking into the first chunk: never less than `packets`."""
        return self._packets

    def judge(self, soft_packets: int, soft_bytes: int, hard_bytes: int) -> Verdict:
        """FULL over `hard_bytes`, SLOW over a soft limit (0 bytes: none); a replay's bytes and packets aside."""
        size = self.counted
        if size > hard_bytes:
            return Verdict.FULL
        if soft_bytes and size > soft_bytes:
            return Verdict.SLOW
        if self._packets <= soft_packets or self._exempt:
            return Verdict.FINE
        return Verdict.SLOW if self.packets > soft_packets else Verdict.FINE

    def views(self) -> list[Chunk | memoryview]:
        """The next buffers to write, in order."""
        if len(self._chunks) == 1 and not self._offset:
            return [self._chunks[0][0]]
        views: list[Chunk | memoryview] = []
        size = 0
        for chunk, _ in self._chunks:
            views.append(chunk)
            size += len(chunk)
            if len(views) == MOST_VIEWS or size >= GATHERED:
                break
        if self._offset:
            views[0] = memoryview(views[0])[self._offset :]
        return views

    def advance(self, written: int) -> None:
        """`written` bytes went out."""
        self.size -= written
        if self._exempt:
            self._exempt = max(0, self._exempt - written)
        written += self._offset
        chunks, before, left = self._chunks, len(self._chunks), written
        while chunks and left >= len(chunks[0][0]):
            chunk, packets = chunks.popleft()
            left -= len(chunk)
            self._packets -= packets
            self._start = self._passed = 0
        self._offset = left
        if left < written:
            self.drop_chunks(before - len(chunks), written - left)

    def rewind(self) -> None:
        """The peer is gone: drop what was said to it alone, and go back to the start of a frame written in part."""
        counted = self.counted
        if self._offset:
            self._locate()
            chunk, packets = self._chunks.popleft()
            self._chunks.appendleft((bytes(memoryview(chunk)[self._start :]), packets and packets - self._passed))
            self._packets -= self._passed
            self._offset = self._start = self._passed = 0
        self._chunks = deque((chunk, packets) for chunk, packets in self._chunks if packets)
        self.size = sum(len(chunk) for chunk, _ in self._chunks)
        self._exempt = max(0, self.size - counted) if self._exempt else 0
        self.hold(QUEUE_COST + self.size + len(self._chunks) * CHUNK_COST if self._chunks else 0)

    def prepend(self, chunk: Chunk, packets: int) -> None:
        """Put a chunk in front of everything. Only while nothing is written in part."""
        if chunk:
            self._chunks.appendleft((chunk, packets))
            self._packets += packets
            self.size += len(chunk)
            self.hold_chunk(len(chunk))

    def take(self) -> list[tuple[Chunk, int]]:
        """Everything not written in full, as (chunk, packets), out of the outbox."""
        self.rewind()
        chunks = list(self._chunks)
        self.clear()
        return chunks

    def clear(self) -> None:
        """Drop everything."""
        self._chunks.clear()
        self._offset = self._start = self._passed = 0
        self._packets = self.size = self._exempt = 0
        self.hold(0)

    def __bool__(self) -> bool:
        return self.size > 0

    # ---- for another process

    def queued(self) -> Queued:
        """What it holds. Nothing is changed by that."""
        return Queued(list(self._chunks), self._offset, self._exempt)

    def go_on_with(self, queued: Queued) -> None:
        """Hold what another one held. Only while it is empty."""
        for chunk, packets in queued.chunks:
            self.append(chunk, packets)
        self._offset, self._exempt = queued.written, queued.exempt
        self.size -= queued.written

    def _locate(self) -> None:
        """Find the frame that is written in part, going on from the one that was found last."""
        if self._start < self._offset and self._chunks[0][1]:
            self._start, passed = frame_at(self._chunks[0][0], self._offset, self._start)
            self._passed += passed
