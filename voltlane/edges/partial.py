"""The received part of a frame that is not whole yet. What fits into one read is kept as bytes; a larger frame gets
memory of its own, which grows with what arrives and not with what was announced."""

from __future__ import annotations

import socket
from typing import Union

from ..core.budget import CHUNK_COST, Budget, Holding
from ..wire.framing import PREFIX, PREFIX_SIZE


class Rest(Holding):
    """The beginning of a frame that one more read can complete."""

    __slots__ = ("data",)

    def __init__(self, budget: Budget, owner: object, data: bytes) -> None:
        super().__init__(budget, owner)
        self.data = data
        self.hold(len(data) + CHUNK_COST)


class LargeFrame(Holding):
    """The beginning of a frame larger than a read, length prefix included."""

    __slots__ = ("_buffer", "_filled", "_total")

    def __init__(self, budget: Budget, owner: object, received: memoryview, total: int) -> None:
        super().__init__(budget, owner)
        self._buffer = bytearray(received)
        self._filled = len(received)
        self._total = total
        self._count()

    def receive(self, sock: socket.socket, quantum: int) -> int:
        """Read on, at most a quantum and never past the frame. Bytes received; 0 at the end of the stream."""
        end = min(self._total, self._filled + quantum)
        if end > len(self._buffer):
            self._buffer.extend(bytes(min(self._total, 2 * max(len(self._buffer), quantum)) - len(self._buffer)))
            self._count()
        with memoryview(self._buffer) as whole, whole[self._filled : end] as space:
            received = sock.recv_into(space)
        self._filled += received
        return received

    def _count(self) -> None:
        size = len(self._buffer)
        self.hold(size + size // 8 + CHUNK_COST)  # a bytearray that is extended takes an eighth more than it needs

    @property
    def complete(self) -> bool:
        """Whether all of it is here."""
        return self._filled == self._total

    def payload(self) -> memoryview:
        """The frame without its length prefix."""
        return memoryview(self._buffer)[PREFIX_SIZE : self._total]


Partial = Union[Rest, LargeFrame]


def keep(received: memoryview, quantum: int, budget: Budget, owner: object) -> Partial:
    """The beginning of a frame, copied; the rest comes in reads of a quantum."""
    if len(received) >= PREFIX_SIZE:
        total = PREFIX_SIZE + int(PREFIX.unpack_from(received)[0])
        if total > quantum:
            return LargeFrame(budget, owner, received, total)
    return Rest(budget, owner, bytes(received))
