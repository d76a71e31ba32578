"""Clients over WebSocket whose messages are packets as they are: those of version 2, and of the open protocol.

Whole binary messages come off their masks and get their tags in one pass. What that stops at, and text, goes the way of
every framing (`coded`): control frames, messages in parts, mistakes.
"""

from __future__ import annotations

import socket

from ..core.admission import Source
from ..reasons import CloseReason
from ..wire.batch import retag_masked
from ..wire.tagged import TAG_SIZE
from .coded import CodedConnection
from .fairness.turns import LOUD
from .framing import Framing
from .partial import SMALL, Gathered
from .shared import Shared
from .websocket import WebSocket

READER = "websocket"
"""The batch reader of these connections: see `quiet_websockets`."""


class WebSocketConnection(CodedConnection):
    """One client's."""

    __slots__ = ()

    batch_reader = READER
    framing: WebSocket

    def __init__(
        self, shared: Shared, sock: socket.socket, peer: str, source: Source | None, since: float, framing: Framing
    ) -> None:
        super().__init__(shared, sock, peer, source, since, framing)
        shared.websockets += 1
        if shared.websockets == 1:
            shared.on_websockets(True)

    def on_closed(self, sock: socket.socket, reason: CloseReason, detail: str) -> None:
        """See Stream."""
        self.shared.websockets -= 1
        if not self.shared.websockets:
            self.shared.on_websockets(False)
        super().on_closed(sock, reason, detail)

    def take(self, received: int, most: int) -> None:
        """So much was received for it, behind the place for a tag, where so much might have been."""
        self._received(TAG_SIZE, received, most)
        self.after_read(received)

    def receive(self, most: int) -> int:
        """See Client. The beginning of a message is put in front of what is read; a large one grows where it is."""
        shared, sock, partial, start = self.shared, self.sock, self.partial, TAG_SIZE
        assert sock is not None
        if isinstance(partial, Gathered):
            if len(partial.data) > SMALL:
                return super().receive(most)
            start += len(partial.data)
            shared.scratch[TAG_SIZE:start] = partial.data
        most = min(most, self.quantum_of(self.framing))
        try:
            received = sock.recv_into(shared.view[start:], most)
        except BlockingIOError:
            received = -1
        self._received(start, received, most)
        return received

    def _received(self, start: int, received: int, most: int) -> None:
        """A recv for `most` bytes behind what was kept: who filled it is loud, since there may be more."""
        self.flags = self.flags | LOUD if received == most else self.flags & ~LOUD
        if received > 0:
            self.shared.turns.spend(received)
            self.take_all(self.shared.scratch, TAG_SIZE, start + received)
            self.charge_labour(self.framing, received)

    def take_all(self, data: bytes | bytearray, position: int, stop: int) -> None:
        """See CodedConnection."""
        shared, session, framing = self.shared, self.session, self.framing
        if session is not None and framing.plain_binary:
            chunk, position, packets = retag_masked(data, position, stop, session.id, shared.packet_size_limit)
            if packets:
                framing.heard = True
                shared.trunk.push(chunk, packets)
                if position == stop:
                    if self.partial is not None:
                        self.keep(None)
                    return
        super().take_all(data, position, stop)
