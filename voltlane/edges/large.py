"""A frame larger than one read: it gets memory of its own, which grows with what arrives and not with what was
announced."""

from __future__ import annotations

import socket

from ..wire.framing import PREFIX, PREFIX_SIZE


class LargeFrame:
    """The received part of a large frame, length prefix included."""

    __slots__ = ("_buffer", "_filled", "_total")

    def __init__(self, received: memoryview, total: int) -> None:
        self._buffer = bytearray(received)
        self._filled = len(received)
        self._total = total

    @classmethod
    def begin(cls, received: memoryview, quantum: int) -> LargeFrame | None:
        """Memory for the frame that begins here, if it will not fit into one read."""
        if len(received) < PREFIX_SIZE:
            return None
        total = PREFIX_SIZE + int(PREFIX.unpack_from(received)[0])
        return cls(received, total) if total > quantum else None

    def receive(self, sock: socket.socket, quantum: int) -> int:
        """Read on, at most a quantum and never past the frame. Bytes received; 0 at the end of the stream."""
        end = min(self._total, self._filled + quantum)
        if end > len(self._buffer):
            self._buffer.extend(bytes(min(self._total, 2 * max(len(self._buffer), quantum)) - len(self._buffer)))
        with memoryview(self._buffer) as whole, whole[self._filled : end] as space:
            received = sock.recv_into(space)
        self._filled += received
        return received

    @property
    def complete(self) -> bool:
        """Whether all of it is here."""
        return self._filled == self._total

    def payload(self) -> memoryview:
        """The frame without its length prefix."""
        return memoryview(self._buffer)[PREFIX_SIZE : self._total]
