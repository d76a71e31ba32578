"""Clients on a lane whose framing stands between the wire and the queues: every framing but the length prefix.

Upwards the framing makes chunks of what was received, and their packets go the same way as all others. Downwards the
outbox holds frames like any other, and encodes them when they are written (`core.coded`).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress

from ..core.admission import Source
from ..core.coded import MOST_ENCODED, Coded, CodedOutbox
from ..core.outbox import Chunk, Queued
from ..core.session import Session
from ..reasons import CloseReason
from ..wire.tagged import TAG_SIZE
from .connection import ClientConnection
from .fairness.turns import BUSY, LOUD, RETIRED, UNANSWERED
from .framing import Framing
from .moved import Moved
from .partial import Gathered
from .shared import Shared


class CodedConnection(ClientConnection):
    """A client that speaks version 2 over any framing."""

    __slots__ = ("framing",)

    outbox: CodedOutbox | None

    def __init__(
        self, shared: Shared, sock: socket.socket, peer: str, source: Source | None, since: float, framing: Framing
    ) -> None:
        self.framing = framing
        super().__init__(shared, sock, peer, source, since, framing)

    @property
    def pinged(self) -> bool:  # type: ignore[override]
        """See Handler."""
        return self.framing.pinged

    # ---- from one process to another

    @property
    def framing_name(self) -> str:
        """See ClientConnection."""
        return self.framing.name

    @property
    def framing_state(self) -> bytes:
        """See ClientConnection."""
        return self.framing.state()

    @property
    def queued(self) -> Queued | Coded | None:
        """See ClientConnection."""
        return None if self.outbox is None else self.outbox.coded()

    def move_in(self, moved: Moved, session: Session) -> None:
        """See ClientConnection."""
        self.framing.restore(moved.framing_state)
        super().move_in(moved._replace(received=b""), session)
        self._keep_rest(moved.received, 0, len(moved.received))
        if isinstance(moved.queued, Coded):
            self.open_outbox()
            assert self.outbox is not None
            self.outbox.go_on_coded(moved.queued)

    # ---- upwards

    def receive(self, most: int) -> int:
        """See Client."""
        framing = self.framing
        most = min(most, self.quantum_of(framing))
        shared = self.shared
        assert self.sock is not None
        try:
            received = self.sock.recv_into(shared.behind_tag, most)
        except BlockingIOError:
            received = -1
        self.flags = self.flags | LOUD if received == most else self.flags & ~LOUD
        if received > 0:
            shared.turns.spend(received)
            self._take(shared.scratch, shared.view, TAG_SIZE, TAG_SIZE + received)
            if framing.laborious:
                self.charge_labour(framing, received)
        return received

    def take_behind(self, rest: bytes) -> None:
        """See ClientConnection."""
        self._take(rest, memoryview(rest), 0, len(rest))

    def _take(self, data: bytes | bytearray, view: memoryview, position: int, stop: int) -> None:
        """Take what was received, behind what was kept."""
        partial = self.partial
        if isinstance(partial, Gathered) and partial.data:
            partial.data += view[position:stop]
            data, position, stop = partial.data, 0, len(partial.data)
        self.take_all(data, position, stop)

    def take_all(self, data: bytes | bytearray, position: int, stop: int) -> None:
        """Pass on what is whole, answer what must be answered, and keep the rest in place of what was kept."""
        framing, limit = self.framing, self.shared.packet_size_limit
        busy, self.flags = self.flags & BUSY, self.flags | BUSY
        while position < stop and self.session is not None and not framing.ended:
            chunk, end = framing.decode(data, position, stop, limit)
            if chunk:
                self.pass_on(chunk, memoryview(chunk), 0, len(chunk), self.client_id)
            words = framing.take_reply()
            if words:  # behind that, since it may be too much for who does not read, and end the session
                self.say(words)
            if end == position:
                break
            position = end
        self.flags = self.flags & ~BUSY | busy
        if self.sock is None:
            return
        self._keep_rest(data, position, stop)
        if framing.ended:
            self.close(CloseReason.PEER_CLOSED)

    def _keep_rest(self, data: bytes | bytearray, position: int, stop: int) -> None:
        partial, more = self.partial, self.framing.held
        if position == stop and not more:
            self.keep(None)
            return
        if not isinstance(partial, Gathered):
            partial = Gathered(self.shared.budget, self)
            self.keep(partial)
        if data is partial.data:
            del partial.data[:position]
        else:
            partial.data[:] = memoryview(data)[position:stop]
        partial.count(more)

    # ---- downwards

    def new_outbox(self) -> CodedOutbox:
        """See Stream."""
        return CodedOutbox(self.framing, self.shared.budget, self)

    def finish_handshake(self, unsent: bytes, answer: bytes) -> None:
        """See ClientConnection."""
        if unsent:
            self.say(unsent)
        if answer:
            self.try_send(answer, 0)

    def try_send(self, chunk: Chunk, packets: int = -1) -> bool:
        """See Stream. Who sends is the master's connection, which is not to suffer from a mistake in a framing."""
        sock = self.sock
        if sock is None:
            return False
        if self.outbox is not None or len(chunk) > MOST_ENCODED:
            self.reactor.guard(self, self._send, chunk, packets)
            return self.outbox is None and self.sock is not None
        try:
            encoded = self.framing.encode(chunk)
            try:
                written = sock.send(encoded)
                if written == len(encoded):
                    return True
            except BlockingIOError:
                written = 0
            self._send_rest(chunk, packets, encoded, written)
        except Exception as error:
            if self.outbox is None and self.sock is not None:
                self._queue(chunk, packets, 0)
            self.reactor.failed(self, error)
        return False

    def try_send_views(self, views: Sequence[Chunk | memoryview], packets: int) -> bool:
        """See Stream."""
        return self.try_send(b"".join(views), packets)

    def _send(self, chunk: Chunk, packets: int) -> None:
        self._queue(chunk, packets, 0)
        self.try_flush()

    def _send_rest(self, chunk: Chunk, packets: int, encoded: bytes, written: int) -> None:
        """Queue a chunk that is on its way already."""
        self.open_outbox()
        assert self.outbox is not None
        self.outbox.go_on(chunk, packets, encoded, written)
        self.on_pressure()

    def say(self, words: bytes) -> None:
        """Send bytes of the wire that are no frame, as soon as they cut none."""
        if self.sock is None or self.flags & RETIRED:
            return
        if self.outbox is None:
            self.open_outbox()
        assert self.outbox is not None
        self.outbox.say(words)
        self.try_flush()

    def end_sending(self, sock: socket.socket, reason: CloseReason) -> None:
        """See ClientConnection. The peer is told."""
        self._take_leave(sock, reason)
        super().end_sending(sock, reason)

    def on_closed(self, sock: socket.socket, reason: CloseReason, detail: str) -> None:
        """See Stream. The peer is told."""
        self._take_leave(sock, reason)
        super().on_closed(sock, reason, detail)

    def _take_leave(self, sock: socket.socket, reason: CloseReason) -> None:
        words = b"" if self.flags & UNANSWERED else self.framing.farewell(reason)
        if words and (self.outbox is None or not self.outbox.within_frame):
            with suppress(OSError):  # it does not read, or is gone, or was told before
                sock.send(words)
