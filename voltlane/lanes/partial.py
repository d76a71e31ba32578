"""The received part of a message that is not whole yet.

With a length prefix the size is known: a small one is kept as bytes, a large one gets memory of its own, which grows
with what arrives and not with what was announced. Another framing has to look at what there is, in one piece.
"""

from __future__ import annotations

from typing import Union

from ..core.budget import CHUNK_COST, Budget, Holding
from ..wire.framing import PREFIX, PREFIX_SIZE

SMALL = 1 << 16
"""Bytes of the largest frame whose beginning is copied in front of whatever is read next; and what a large one gets
first."""


class Rest(Holding):
    """The beginning of a small frame."""

    __slots__ = ("data",)

    def __init__(self, budget: Budget, owner: object, data: bytes) -> None:
        super().__init__(budget, owner)
        self.data = data
        self.hold(len(data) + CHUNK_COST)

    @property
    def received(self) -> bytes:
        """What has come."""
        return self.data


class LargeFrame(Holding):
    """The beginning of a large frame, length prefix included."""

    __slots__ = ("_buffer", "_filled", "_total")

    def __init__(self, budget: Budget, owner: object, received: memoryview, total: int) -> None:
        super().__init__(budget, owner)
        self._buffer = bytearray(received)
        self._filled = len(received)
        self._total = total
        self._count()

    def space(self, most: int) -> memoryview:
        """Where to receive what comes next: up to so many bytes, and none past the frame. To be released."""
        buffer, filled = self._buffer, self._filled
        if len(buffer) - filled < min(SMALL, self._total - filled):
            buffer.extend(bytes(min(self._total, 2 * filled + SMALL) - len(buffer)))
            self._count()
        with memoryview(buffer) as whole:
            return whole[filled : filled + most]

    def advance(self, received: int) -> None:
        """So many bytes were received there."""
        self._filled += received

    def _count(self) -> None:
        size = len(self._buffer)
        self.hold(size + size // 8 + CHUNK_COST)  # a bytearray that is extended takes an eighth more than it needs

    @property
    def complete(self) -> bool:
        """Whether all of it is here."""
        return self._filled == self._total

    @property
    def received(self) -> bytes:
        """What has come."""
        return bytes(memoryview(self._buffer)[: self._filled])

    def payload(self) -> memoryview:
        """The frame without its length prefix."""
        return memoryview(self._buffer)[PREFIX_SIZE : self._total]


class Gathered(Holding):
    """All that came since the last message that was whole, and what the framing keeps besides."""

    __slots__ = ("data",)

    def __init__(self, budget: Budget, owner: object) -> None:
        super().__init__(budget, owner)
        self.data = bytearray()

    @property
    def received(self) -> bytes:
        """What has come."""
        return bytes(self.data)

    def count(self, more: int) -> None:
        """Say how much it is; `more`: bytes that the framing keeps."""
        size = len(self.data)
        self.hold(size + size // 8 + more + CHUNK_COST)


Partial = Union[Rest, LargeFrame, Gathered]


def keep(received: memoryview, budget: Budget, owner: object) -> Partial:
    """The beginning of a frame, copied."""
    if len(received) >= PREFIX_SIZE:
        total = PREFIX_SIZE + int(PREFIX.unpack_from(received)[0])
        if total > SMALL:
            return LargeFrame(budget, owner, received, total)
    return Rest(budget, owner, bytes(received))
