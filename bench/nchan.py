"""nchan as the generator speaks it: subscribers over WebSocket, and a publisher that posts what is for all of them."""

from __future__ import annotations

import re
import socket
from typing import Any

from .websocket import WebSocket
from .wires import Fault, Line

_STATUS = re.compile(rb"HTTP/1\.1 ([^ ]*) ")
_LONGEST_STATUS = 16
"""Bytes that one of them may have at most."""


class Nchan(WebSocket):
    """Subscribers send nothing: their WebSockets would be closed for it."""

    publishes = True

    def __init__(self) -> None:
        super().__init__("open")
        self.name = "nchan"
        self.modes = frozenset(("broadcast",))

    def line(self, sock: socket.socket, index: int, first: bytes, session: Any = None) -> Line:
        return Subscriber(self, sock, index, first)

    def published(self, payload: bytes) -> bytes:
        """A request; of this type messages come as binary ones."""
        head = (
            "POST /publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: {len(payload)}\r\n\r\n"
        )
        return head.encode() + payload


class Subscriber(Line):
    """One connection: it has no first packet."""

    __slots__ = ()

    def __init__(self, wire: Nchan, sock: socket.socket, index: int, first: bytes) -> None:
        super().__init__(wire, sock, index, first)
        self._first = b""


class Answers:
    """Counts what the publisher's requests are answered with: each has to be taken, and to have had subscribers."""

    def __init__(self) -> None:
        self.count = 0
        self._rest = b""

    def take(self, data: bytes) -> None:
        """The next bytes of the stream."""
        data, end = self._rest + data, 0
        for status in _STATUS.finditer(data):
            if status[1] != b"201":
                raise Fault(f"a message was answered with {data[status.start() :][:60]!r}")
            self.count += 1
            end = status.end()
        self._rest = data[max(end, len(data) - _LONGEST_STATUS) :]
