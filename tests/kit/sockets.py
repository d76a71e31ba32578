"""What tests do to sockets: an end the hard way, and something in between, as TLS has it."""

from __future__ import annotations

import socket
import struct
from typing import Any


def end_hard(sock: socket.socket) -> None:
    """Whenever it is closed, the other side gets ECONNRESET."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class ShortReads:
    """One that gives little at a time though there is more; to the rest of the server it reads on, as it has to."""

    PIECE = 1000

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, size: int) -> bytes:
        with memoryview(bytearray(size)) as space:
            return bytes(space[: self.recv_into(space)])

    def recv_into(self, space: memoryview, most: int = 0) -> int:
        filled, most = 0, most or len(space)
        while filled < most:
            try:
                received = self._sock.recv_into(space[filled : min(most, filled + self.PIECE)])
            except OSError:
                if filled:
                    break  # an error behind what was read is for the next call
                raise
            if not received:
                break
            filled += received
        return filled


class Broken:
    """One that cannot be read: this comes of it."""

    def __init__(self, sock: socket.socket, error: Exception) -> None:
        self._sock = sock
        self._error = error

    def recv_into(self, *_: object) -> int:
        raise self._error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)
