"""One connection to the master: the firehose downwards, in large bites, each sorted by client."""

from __future__ import annotations

import socket
from typing import Protocol

from ..core.budget import Budget, Holding
from ..core.counters import Counters
from ..core.hub import Hub
from ..core.outbox import Outbox
from ..core.timers import Timer
from ..errors import UnknownFlag
from ..net.memory import receive_buffer
from ..net.poller import HANGUP
from ..net.reactor import Reactor
from ..net.sockets import unconfirmed
from ..net.stall import next_look
from ..net.stream import Stream
from ..ops.log import log
from ..reasons import CloseReason
from ..wire.batch import group
from ..wire.batch.views import LARGE, group_views
from ..wire.framing import MAX_TAGGED, PREFIX, PREFIX_SIZE, next_frame
from ..wire.tagged import Flag, Tagged, decode_tagged

SHORT_SPAN = 2 * LARGE
"""Bytes looked at for small packets behind one that was not; twice as many each time they are all small."""
DATAGRAM = int(Flag.DATAGRAM)
BITE = 1 << 22
"""Bytes read from the master at once: the more, the more packets go out with one write a client."""


class Side(Protocol):
    """What outlives the connection: the trunk."""

    reactor: Reactor
    counters: Counters
    budget: Budget
    hub: Hub
    blocked: bool
    """Whether the firehose must not be read."""
    datagrams: bool
    """Whether the master may send datagrams, and is sent some."""

    @property
    def stall_secs(self) -> float:
        """How long the master may take nothing of what waits for it; 0: for ever."""
        ...

    def new_outbox(self) -> Outbox:
        """An outbox that nobody is made to give up."""
        ...

    def check_room(self) -> None:
        """Some of the outbox was written."""

    def lost(self, connection: MasterConnection, reason: CloseReason, detail: str, unsure: int) -> None:
        """The connection is gone, with so many bytes that may have arrived or not."""


class MasterConnection(Stream):
    """One connection to the master."""

    __slots__ = ("_buffer", "_ending", "_filled", "_held", "_pending", "_side", "_stall", "_view")

    def __init__(self, side: Side, sock: socket.socket) -> None:
        self._side = side
        self._buffer = receive_buffer(BITE)
        self._view = memoryview(self._buffer)
        self._held = Holding(side.budget)  # what the buffer has grown by
        self._filled = 0
        self._pending = False  # there is something to read that was left for later
        self._stall: Timer | None = None  # looks whether it takes anything, while something waits and a little longer
        self._ending = False  # an end was announced behind what there is to read, and will not be again
        super().__init__(side.reactor, sock)

    @property
    def received(self) -> bytes:
        """The part of a packet that has come."""
        return bytes(self._view[: self._filled])

    def move_in(self, received: bytes) -> None:
        """Go on where another process was, which had received this part of a packet. Nothing is read yet."""
        kept = len(received)
        if 2 * kept > len(self._buffer):
            self._resize(2 * kept, 0, 0)
        self._buffer[:kept] = received
        self._filled = kept

    def on_event(self, mask: int) -> None:
        """See Stream."""
        if mask & HANGUP:
            self._ending = True
        super().on_event(mask)

    def on_readable(self) -> None:
        """Read one bite."""
        sock, side = self.sock, self._side
        if sock is None:
            return
        self._pending = side.blocked
        if self._pending:
            return
        room = len(self._buffer) - self._filled
        try:
            received = sock.recv_into(self._view[self._filled :])
        except BlockingIOError:
            self.reactor.drained(self.sock)
            return
        if not received:
            self.close(CloseReason.PEER_CLOSED)
            return
        side.counters.bytes_down += received
        self._take(self._filled + received)
        if received == room or self._ending:
            self._pending = True
            self.reactor.call_soon(self.go_on, self)
        else:
            self.reactor.drained(self.sock)

    def go_on(self) -> None:
        """Read what was left for later."""
        if self._pending:
            self.on_readable()

    def new_outbox(self) -> Outbox:
        """See Stream."""
        return self._side.new_outbox()

    def on_pressure(self) -> None:
        """See Stream."""
        patience, outbox = self._side.stall_secs, self.outbox
        if self._stall is None and patience and self.sock is not None and outbox is not None:
            outbox.unconfirmed = unconfirmed(self.sock)
            self._stall = self.reactor.call_later(patience, self._look)

    def _look(self, now: float) -> None:
        """Has it taken anything since?"""
        self._stall = None
        outbox = self.outbox
        if outbox is None or self.sock is None:
            return
        again = next_look(outbox, self.sock, self._side.stall_secs, now)
        if again is None:
            self.close(CloseReason.MASTER_STALLED, f"{outbox.size} bytes were waiting")
        else:
            self._stall = self.reactor.call_at(again, self._look)

    def on_relief(self) -> None:
        """See Stream."""
        self._side.check_room()

    def on_closed(self, sock: socket.socket, reason: CloseReason, detail: str) -> None:
        """See Stream."""
        self._held.hold(0)
        if self._stall is not None:
            self.reactor.cancel(self._stall)
            self._stall = None
        self._side.lost(self, reason, detail, unconfirmed(sock))

    def _take(self, stop: int) -> None:
        """Pass on the whole packets in `buffer[:stop]`, and keep the rest for the next bite."""
        position, buffer, view, hub, counters = 0, self._buffer, self._view, self._side.hub, self._side.counters
        span = stop  # how far to look for small packets: `group` may copy all of that, in vain where they are few
        while True:
            until = min(stop, position + span)
            chunks, position, packets = group(buffer, position, until, LARGE)
            if packets:
                counters.packets_down += packets
                hub.deliver(chunks)
                if until < stop and position > until - LARGE - PREFIX_SIZE:
                    span *= 2
                    continue
            span = SHORT_SPAN
            frames, position, packets = group_views(buffer, view, position, stop, LARGE, MAX_TAGGED)
            if packets:
                counters.packets_down += packets
                hub.deliver_views(frames)
                continue
            if self._side.datagrams:
                chunks, position, packets = group(buffer, position, stop, MAX_TAGGED, DATAGRAM)
                if packets:
                    counters.packets_down += packets
                    hub.deliver_datagrams(chunks)
                    continue
            end = next_frame(buffer, position, stop, MAX_TAGGED)
            if not end:
                break
            # Neither small nor large data, no datagram, and whole: something else, or malformed.
            self._control(decode_tagged(view[position + PREFIX_SIZE : end]))
            position = end
        self._keep(position, stop)

    def _control(self, packet: Tagged) -> None:
        if packet.flag is Flag.DATAGRAM:
            raise UnknownFlag(f"flag 4 for client {packet.client_id}; 0 to 3 exist, and 4 with master.datagrams")
        self._side.counters.packets_down += 1
        if packet.flag is Flag.FAILURE:
            log.info("the master reports a failure of client %d: %.200r", packet.client_id, packet.data)
        elif packet.flag is Flag.KICK:
            log.debug("the master kicks client %d", packet.client_id)
        self._side.hub.control(packet)

    def _keep(self, position: int, stop: int) -> None:
        kept = stop - position
        if kept:
            needed = PREFIX_SIZE
            if kept >= PREFIX_SIZE:
                needed += PREFIX.unpack_from(self._buffer, position)[0]
            if needed > len(self._buffer):
                self._resize(min(needed, 2 * len(self._buffer)), position, stop)
            elif position:
                self._buffer[:kept] = bytes(self._view[position:stop])
        elif len(self._buffer) > BITE:
            self._resize(BITE, position, stop)
        self._filled = kept

    def _resize(self, size: int, position: int, stop: int) -> None:
        """Another buffer: larger as a large packet comes in, not as it is announced; the usual one after it."""
        buffer = receive_buffer(size)
        buffer[: stop - position] = bytes(self._view[position:stop])
        self._view.release()
        self._held.hold(size - BITE)
        self._buffer = buffer
        self._view = memoryview(buffer)
