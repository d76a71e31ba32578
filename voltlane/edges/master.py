"""The master's side: the trunk, which outlives its connections, and the connection of the moment.

Upwards, chunks of tagged frames are staged and written once a turn. Past `capacity` packets or `most_bytes` the trunk
is full and the clients are not read until half of it is out. Downwards the firehose is read in large bites, each sorted
by client and sent with one write a client.
"""

from __future__ import annotations

import socket
from typing import Callable, NamedTuple

from ..config import Master
from ..core.budget import Budget, Holding
from ..core.counters import Counters
from ..core.hub import Hub
from ..core.outbox import Chunk, Outbox
from ..core.timers import Timer
from ..net.memory import receive_buffer
from ..net.poller import HANGUP
from ..net.reactor import Reactor
from ..net.sockets import unconfirmed
from ..net.stream import Stream
from ..ops.log import log
from ..reasons import CloseReason
from ..wire.batch import group
from ..wire.batch.views import group_views
from ..wire.framing import MAX_TAGGED, PREFIX, PREFIX_SIZE, next_frame
from ..wire.tagged import Flag, Tagged, decode_tagged
from .stall import next_look

LARGE = 4096
"""Payload bytes from which on a frame is passed on where it stands instead of being copied into a chunk."""
SHORT_SPAN = 2 * LARGE
"""Bytes looked at for small packets behind one that was not; twice as many each time they are all small."""
BITE = 1 << 22
"""Bytes read from the master at once: the more, the more packets go out with one write a client."""
STAGE = 1 << 18
"""Bytes staged for the master before they are written in the middle of a turn."""
FEW_CHUNKS = 16
"""Up to so many staged chunks go out with a gathering write; more are joined first."""


class TrunkLimits(NamedTuple):
    """How much may wait for the master: packets, and bytes; and how long it may take none of that, 0 for ever."""

    packets: int
    size: int
    stall_secs: float = 0.0

    @classmethod
    def of(cls, master: Master) -> TrunkLimits:
        """Those of a configuration."""
        return cls(master.channel_capacity, master.outbox_bytes, master.stall_secs)


class Trunk:
    """What is on its way to the master, whether or not there is one at the moment."""

    def __init__(
        self,
        reactor: Reactor,
        counters: Counters,
        limits: TrunkLimits,
        budget: Budget,
        *,
        on_full: Callable[[], None],
        on_room: Callable[[], None],
        on_lost: Callable[[CloseReason, str], None],
    ) -> None:
        self.reactor = reactor
        self.counters = counters
        self.hub: Hub
        """Set once by whoever makes both, since each needs the other."""
        self.limits = limits
        self.budget = budget
        self._on_full = on_full
        self._on_room = on_room
        self._on_lost = on_lost
        self.connection: MasterConnection | None = None
        self.address = ""
        """Of the master that is connected, or was the last to be."""
        self._held = self.new_outbox()  # what waits while there is no connection
        self.staged: list[Chunk] = []
        """What is written when the turn ends. Whoever adds to it, one packet for a chunk, marks the trunk dirty."""
        self._staged_more = 0  # packets beyond one for each chunk
        self._staged_bytes = 0  # but for those that came one by one
        self.full = False
        """Whether clients must not be read."""
        self.blocked = False
        """Whether the firehose must not be read (overflow policy "block")."""

    def configure(self, limits: TrunkLimits) -> None:
        """Go by these limits from now on."""
        self.limits = limits
        self.check_room()
        self._check_full()

    def new_outbox(self) -> Outbox:
        """One that counts in the budget, and that nobody is made to give up: it has limits of its own."""
        return Outbox(self.budget)

    # ---- upwards

    def push(self, chunk: bytes, packets: int) -> None:
        """Queue whole tagged frames for the master; written at the end of the turn at the latest."""
        if not self.staged:
            self.reactor.mark_dirty(self)
        self.staged.append(chunk)
        self._staged_more += packets - 1
        self._staged_bytes += len(chunk)
        if self._staged_bytes >= STAGE:
            self.on_flush()

    def push_views(self, views: list[bytes | memoryview], packets: int) -> None:
        """The same for a few large frames in borrowed memory: written, or copied, before this returns."""
        self.on_flush()
        self.counters.packets_up += packets
        self.counters.bytes_up += sum(map(len, views))
        if self.connection is not None:
            self.connection.try_send_views(views, packets)
        else:
            self._held.append(b"".join(views), packets)
        self._check_full()

    @property
    def pushed(self) -> int:
        """Packets that were ever queued."""
        return self.counters.packets_up + len(self.staged) + self._staged_more

    @property
    def outbox(self) -> Outbox | None:
        """What could not be written yet."""
        return self.connection.outbox if self.connection is not None else self._held

    @property
    def congested(self) -> bool:
        """Whether twice as much waits as clients may cause."""
        outbox = self.outbox
        return outbox is not None and outbox.size > 2 * self.limits.size

    def on_event(self, mask: int) -> None:
        """The trunk itself has no descriptor."""

    def on_flush(self) -> None:
        """Write what is staged."""
        staged, packets = self.staged.copy(), len(self.staged) + self._staged_more
        if not staged:
            return
        self.staged.clear()
        self._staged_more = self._staged_bytes = 0
        self.counters.packets_up += packets
        self.counters.bytes_up += sum(map(len, staged))
        connection = self.connection
        if connection is None:
            self._held.append(b"".join(staged), packets)
        elif connection.outbox is None and 1 < len(staged) <= FEW_CHUNKS:
            connection.try_send_views(staged, packets)
        else:
            connection.try_send(staged[0] if len(staged) == 1 else b"".join(staged), packets)
        self._check_full()

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """Give the connection up, if there is one."""
        if self.connection is not None:
            self.connection.close(reason, detail)

    @property
    def unwritten(self) -> bool:
        """Whether there is a master that has yet to take what is queued for it."""
        self.on_flush()
        return self.connection is not None and bool(self.connection.outbox)

    def hold(self, chunk: Chunk, packets: int) -> None:
        """Whole tagged frames that waited in an earlier process; before there is a connection."""
        self._held.append(chunk, packets)
        self._check_full()

    def release(self) -> list[tuple[Chunk, int]]:
        """Everything that no master has taken in full, as (chunk, packets), once there is no connection any more."""
        self.on_flush()
        return self._held.take()

    def half_close(self) -> None:
        """Tell the master that nothing more comes. It is still listened to, until it closes its side."""
        if self.connection is not None and self.connection.sock is not None:
            try:
                self.connection.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it is gone, as its reader is about to find out

    def _check_full(self) -> None:
        outbox = self.outbox
        if outbox and not self.full and self._over(outbox, 1):
            self.full = True
            self._on_full()

    def check_room(self) -> None:
        """Some of the outbox was written: at half of its limits the clients are read again."""
        outbox = self.outbox
        if self.full and not (outbox and self._over(outbox, 2)):
            self.full = False
            self._on_room()

    def _over(self, outbox: Outbox, part: int) -> bool:
        return outbox.packets_at_most * part >= self.limits.packets or outbox.size * part >= self.limits.size

    # ---- connections come and go

    def connect(self, sock: socket.socket, address: str) -> None:
        """Go on over this socket: first who is here, then what was not written in full."""
        self.address = address
        self.connection = connection = MasterConnection(self, sock)
        held, self._held = self._held, self.new_outbox()
        if self.counters.master_connections:
            # Of no packets: what this master does not hear of it the next one is told anew.
            held.prepend(self.hub.announcements(), 0)
        self.counters.master_connections += 1
        if held:
            connection.outbox = held
            connection.try_flush()
        self.check_room()

    def lost(self, connection: MasterConnection, reason: CloseReason, detail: str, unsure: int) -> None:
        """The connection is gone. What it had not taken is kept, the packet that was cut from its first byte on.

        What it had taken and nobody acknowledged may have arrived or not: it is counted, and not sent again.
        """
        if unsure:
            log.warning("%d bytes were on their way to the master, and may be lost", unsure)
            self.counters.master_bytes_unconfirmed += unsure
        self.connection = None
        self._held = connection.outbox or self.new_outbox()
        self._held.rewind()
        self.counters.closed[reason] += 1
        self._on_lost(reason, detail)

    # ---- reading stops and goes on (overflow policy "block")

    def block(self) -> None:
        """Stop reading the firehose."""
        self.blocked = True

    def unblock(self) -> None:
        """Go on reading it."""
        self.blocked = False
        if self.connection is not None:
            self.reactor.call_soon(self.connection.go_on, self.connection)


class MasterConnection(Stream):
    """One connection to the master."""

    __slots__ = ("_buffer", "_ending", "_filled", "_held", "_pending", "_stall", "_view", "trunk")

    def __init__(self, trunk: Trunk, sock: socket.socket) -> None:
        self.trunk = trunk
        self._buffer = receive_buffer(BITE)
        self._view = memoryview(self._buffer)
        self._held = Holding(trunk.budget)  # what the buffer has grown by
        self._filled = 0
        self._pending = False  # there is something to read that was left for later
        self._stall: Timer | None = None  # looks whether it takes anything, while something waits and a little longer
        self._ending = False  # an end was announced behind what there is to read, and will not be again
        super().__init__(trunk.reactor, sock)

    def on_event(self, mask: int) -> None:
        """See Stream."""
        if mask & HANGUP:
            self._ending = True
        super().on_event(mask)

    def on_readable(self) -> None:
        """Read one bite."""
        sock, trunk = self.sock, self.trunk
        if sock is None:
            return
        self._pending = trunk.blocked
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
        trunk.counters.bytes_down += received
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
        return self.trunk.new_outbox()

    def on_pressure(self) -> None:
        """See Stream."""
        patience, outbox = self.trunk.limits.stall_secs, self.outbox
        if self._stall is None and patience and self.sock is not None and outbox is not None:
            outbox.unconfirmed = unconfirmed(self.sock)
            self._stall = self.reactor.call_later(patience, self._look)

    def _look(self, now: float) -> None:
        """Has it taken anything since?"""
        self._stall = None
        outbox = self.outbox
        if outbox is None or self.sock is None:
            return
        again = next_look(outbox, self.sock, self.trunk.limits.stall_secs, now)
        if again is None:
            self.close(CloseReason.MASTER_STALLED, f"{outbox.size} bytes were waiting")
        else:
            self._stall = self.reactor.call_at(again, self._look)

    def on_relief(self) -> None:
        """See Stream."""
        self.trunk.check_room()

    def on_closed(self, sock: socket.socket, reason: CloseReason, detail: str) -> None:
        """See Stream."""
        self._held.hold(0)
        if self._stall is not None:
            self.reactor.cancel(self._stall)
            self._stall = None
        self.trunk.lost(self, reason, detail, unconfirmed(sock))

    def _take(self, stop: int) -> None:
        """Pass on the whole packets in `buffer[:stop]`, and keep the rest for the next bite."""
        position, buffer, view, hub, counters = 0, self._buffer, self._view, self.trunk.hub, self.trunk.counters
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
            end = next_frame(buffer, position, stop, MAX_TAGGED)
            if not end:
                break
            # Neither small nor large data, and whole: not data, or malformed.
            self._control(decode_tagged(view[position + PREFIX_SIZE : end]))
            position = end
        self._keep(position, stop)

    def _control(self, packet: Tagged) -> None:
        self.trunk.counters.packets_down += 1
        if packet.flag is Flag.FAILURE:
            log.info("the master reports a failure of client %d: %.200r", packet.client_id, packet.data)
        elif packet.flag is Flag.KICK:
            log.debug("the master kicks client %d", packet.client_id)
        self.trunk.hub.control(packet)

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
