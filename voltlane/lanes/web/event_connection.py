"""Clients that are sent events. They never say what they have got: what they were sent is retained, as much of it as is
kept for a client that is away, and goes when there is more.

    given to it ──▶ ( retained, sent ) ( retained, in the outbox )       both are the end of the same line of packets
                              history ──▶              outbox ──▶        and what is kept is the longer of the two
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import cast

from ...core.admission import Source
from ...core.budget import Holding
from ...core.delivery import Delivery, agree
from ...core.history import History
from ...core.outbox import Chunk
from ...core.protocols.events import EVENTS, EventsHandshake
from ...core.protocols.handshake import Handshake
from ...reasons import CloseReason
from ...wire.event_stream import Token, retry_after
from ...wire.framing import count_frames, skip_frames
from ..coded import CodedConnection
from ..framing import Framing
from ..shared import Shared
from .event_stream import EventStream


class EventConnection(CodedConnection):
    """One such client's."""

    __slots__ = ("_entered", "_handshake", "_head", "delivery", "history", "last")

    retains = True
    protocol = "events"
    moves = False
    """See ClientConnection: its client comes back with what it has got."""

    def __init__(
        self, shared: Shared, sock: socket.socket, peer: str, source: Source | None, since: float, framing: Framing
    ) -> None:
        self.history: History | None = None
        """What it was given last, sent or not, if there is any."""
        self.last = 0
        """The number of the last packet that it was given."""
        self.delivery: Delivery
        """Set when it enters its session."""
        self._entered = False  # and has not left it
        self._handshake: EventsHandshake  # until it enters its session
        self._head = b""  # of the answer to its request, what is not written
        super().__init__(shared, sock, peer, source, since, framing)

    # ---- the session

    def begin(self, handshake: Handshake, unsent: bytes, rest: bytes) -> None:
        """See ClientConnection."""
        self._handshake = cast(EventsHandshake, handshake)
        super().begin(handshake, unsent, rest)

    def finish_handshake(self, unsent: bytes, answer: bytes) -> None:
        """See ClientConnection."""
        self._head = unsent
        if self._handshake.session is None:
            self._enter([], 0)

    def replay(self, chunks: list[tuple[Chunk, int]], counted: int = 0) -> int:
        """See Link."""
        return self._enter(chunks, counted)

    def _enter(self, chunks: list[tuple[Chunk, int]], counted: int) -> int:
        """Say whose stream it is, and send what the client has not got of these. How many packets that is."""
        handshake, session, claims = self._handshake, self.session, self._handshake.claims
        assert session is not None and session.delivery is not None
        delivery = self.delivery = session.delivery
        self.last, self._entered = delivery.floor, True
        for chunk, packets in chunks:
            self._retain(chunk, packets)
        kept = self.last - delivery.floor
        framing, token = cast(EventStream, self.framing), Token(session.id, handshake.secret)
        if not self._head:
            framing.begin(token)
        agreement = agree(delivery, kept, claims)
        taken, gap = 0 if claims is None else claims.taken, agreement.gap
        words = self._head + retry_after(handshake.retry)
        words += framing.welcome(token, taken, handshake.lost)
        if gap is not None:
            self.shared.counters.gap(EVENTS)
            words += framing.gap(gap.first, gap.last)
        del self._handshake  # which has the secret; from here on the framing alone does
        self.open_outbox()
        assert self.outbox is not None
        self.outbox.say(words)
        for chunk, packets in behind(chunks, agreement.skip):
            self._queue(chunk, packets, 0)
        self.outbox.exempt(min(counted, self.outbox.size))
        self.try_flush()
        return kept - agreement.skip

    # ---- sending

    def try_send(self, chunk: Chunk, packets: int = -1) -> bool:
        """See Stream. What goes out is retained as well."""
        if self.sock is None:
            return False
        if packets < 0:
            packets = count_frames(chunk)
        self._retain(chunk, packets)
        return super().try_send(chunk, packets)

    def _retain(self, chunk: Chunk, packets: int) -> None:
        shared, history = self.shared, self.history
        limits = shared.hub.limits
        if history is None:
            history = self.history = History(shared.histories, shared.budget, self)
        history.retain(chunk, packets, limits.packets, limits.size)
        self.last += packets

    # ---- the end

    @property
    def can_hand_over(self) -> bool:
        """See Link: nothing that it sends is passed on."""
        return True

    def hand_over(self) -> tuple[list[tuple[Chunk, int]], int]:
        """See Link."""
        if self.sock is not None:
            self.end_sending(self.sock, CloseReason.TAKEN_OVER)
        counted, outbox = 0, self.outbox
        if outbox is not None:
            outbox.rewind()
            counted = outbox.counted
        self.leave_session()
        left = self.leave_frames()
        self.close(CloseReason.TAKEN_OVER)
        return left, counted

    def read_out(self) -> None:
        """See ClientConnection: the same."""

    def retire(self, reason: CloseReason) -> None:
        """See ClientConnection: the same."""
        self.close(reason)

    def leave_frames(self) -> list[tuple[Chunk, int]]:
        """See ClientConnection: what was sent and is retained as well."""
        unsent, history = super().leave_frames(), self.history
        if not self._entered:
            return unsent
        self.history, self._entered = None, False
        waiting = sum([packets for _, packets in unsent])
        retained, frames = (0, unsent) if history is None else (history.packets, history.take())
        self.delivery.floor = self.last - max(waiting, retained)
        self.delivery.sent = self.last - waiting
        return frames if retained > waiting else unsent

    def shed(self, holding: Holding) -> None:
        """See Owner: what was sent can go, at the price of a gap, should it be needed."""
        if self.history is not None and holding is self.history:
            self.history.clear()
        else:
            super().shed(holding)


def behind(chunks: list[tuple[Chunk, int]], skip: int) -> Iterator[tuple[Chunk, int]]:
    """What is left of these behind the first so many packets."""
    for chunk, packets in chunks:
        if skip < packets:
            yield (bytes(memoryview(chunk)[skip_frames(chunk, skip) :]) if skip else chunk), packets - skip
        skip = max(0, skip - packets)
