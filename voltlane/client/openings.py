"""What has to be gone through on a new connection before the protocol's first byte: a WebSocket's upgrade, say.

An opening is bytes in and bytes out; behind it the connection has another socket, which the next one goes on with.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from ..net.sockets import NO_SIGNAL

READ = 4096
"""Bytes read at once."""


class OpeningFailed(OSError):
    """One that cannot go on. `words`: what the server is told of that; `untrusted`: its certificate is not accepted."""

    def __init__(self, message: str, words: bytes = b"", untrusted: bool = False) -> None:
        super().__init__(errno.ECONNABORTED, message)
        self.words = words
        self.untrusted = untrusted


class Opening(Protocol):
    """One of them."""

    @property
    def done(self) -> bool:
        """Whether it is over, and well: what has to be sent yet is all that is left of it."""
        ...

    def receive(self, data: bytes = b"") -> bytes:
        """What has come, in pieces of any size; nothing, to begin with. What to send. Raises ProtocolError, Refused,
        OpeningFailed."""
        ...

    def bind(self, sock: socket.socket) -> socket.socket:
        """What takes the place of the socket that it came by. What was received behind the opening comes out of it."""
        ...


class Openings:
    """Those of one connection, one behind the other, over a socket that does not block."""

    __slots__ = ("_begun", "_left", "_unsent", "socket")

    def __init__(self, sock: socket.socket, openings: Iterable[Opening]) -> None:
        self.socket = sock
        """What they have made of it so far."""
        self._left = deque(openings)
        self._begun = False
        self._unsent = b""

    @property
    def wants_write(self) -> bool:
        """Whether it is room to write that is waited for, and not something to read."""
        return bool(self._unsent)

    def go_on(self) -> bool:
        """Whether all of them are done. Raises what they do, and OSError as sockets do."""
        try:
            while self._left:
                self._step(self._left[0])
        except BlockingIOError:
            return False
        return True

    def _step(self, opening: Opening) -> None:
        if not self._begun:
            self._unsent, self._begun = opening.receive(), True
        while self._unsent:
            self._unsent = self._unsent[self.socket.send(self._unsent, NO_SIGNAL) :]
        if opening.done:
            self.socket = opening.bind(self.socket)
            self._left.popleft()
            self._begun = False
            return
        data = self.socket.recv(READ)
        if not data:
            raise OpeningFailed("it was closed by the server")
        try:
            self._unsent = opening.receive(data)
        except OpeningFailed as failed:
            with suppress(OSError):
                self.socket.send(failed.words, NO_SIGNAL)
            raise
