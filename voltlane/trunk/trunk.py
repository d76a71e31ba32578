"""The trunk: what is on its way to the master, and outlives the connections to it.

Chunks of tagged frames are staged and written once a turn. Past a number of packets or bytes the trunk is full, and the
clients are not read until half of it is out.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Callable, NamedTuple

from ..config import Master
from ..core.budget import Budget
from ..core.counters import Counters
from ..core.hub import Hub
from ..core.outbox import Chunk, Outbox, Queued
from ..net.reactor import Handler, Reactor
from ..ops.log import log
from ..reasons import CloseReason
from .connection import MasterConnection

STAGE = 1 << 18
"""Bytes staged for the master before they are written in the middle of a turn."""
FEW_CHUNKS = 16
"""Up to so many staged chunks go out with a gathering write; more are joined first, ..."""
LARGE_CHUNK = 1 << 11
"""... unless they have so many bytes on average: then copying them costs more than gathering."""
OWN_PLACE = 1 << 14
"""Bytes of a chunk that is queued as it is where it has to wait anyway: staged, it would be joined with others."""


class TrunkLimits(NamedTuple):
    """How much may wait for the master: packets, and bytes; and how long it may take none of that, 0 for ever."""

    packets: int
    size: int
    stall_secs: float = 0.0

    @classmethod
    def of(cls, master: Master) -> TrunkLimits:
        """Those of a configuration."""
        return cls(master.channel_capacity, master.outbox_bytes, master.stall_secs)


class MovedTrunk(NamedTuple):
    """The trunk as it goes from one process to another."""

    address: str
    """Of the master."""
    received: bytes
    """The part of a packet that has come from it."""
    queued: Queued | None


class Trunk(Handler):
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
        datagrams: bool = False,
    ) -> None:
        self.reactor = reactor
        self.counters = counters
        self.hub: Hub
        """Set once by whoever makes both, since each needs the other."""
        self.limits = limits
        self.budget = budget
        self.datagrams = datagrams
        """Whether the master has asked for datagrams."""
        self._on_full = on_full
        self._on_room = on_room
        self._on_lost = on_lost
        self.connection: MasterConnection | None = None
        self.address = ""
        """Of the master that is connected, or was the last to be."""
        self._speaking: MasterConnection | None = None  # the same, until we have said that nothing more comes
        self.on_written: Callable[[], None] = lambda: None
        """Called when the master has taken more of what waits."""
        self.before_connecting: Callable[[], None] = lambda: None
        """Called before what waits is given to a connection."""
        self._held = self.new_outbox()  # what waits while there is no connection
        self.staged: list[Chunk] = []
        """What is written when the turn ends. Whoever adds to it, one packet for a chunk, calls `flush_later`."""
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

    @property
    def stall_secs(self) -> float:
        """See Side."""
        return self.limits.stall_secs

    # ---- from one process to another

    @property
    def moved(self) -> MovedTrunk:
        """What another process needs to go on with it, besides the socket. Nothing is changed by that."""
        outbox, connection = self.outbox, self.connection
        return MovedTrunk(
            self.address,
            b"" if connection is None else connection.received,
            None if outbox is None else outbox.queued(),
        )

    def move_in(self, moved: MovedTrunk, sock: socket.socket | None) -> None:
        """Go on with what was another process's, once it is to `wake`. Without a socket there is no master there."""
        outbox = None
        if moved.queued is not None and moved.queued.chunks:
            outbox = self.new_outbox()
            outbox.go_on_with(moved.queued)
            outbox.touched = self.reactor.now
        self.address = moved.address
        self.counters.master_connections += 1  # of the other process: the next master is told who is here
        if sock is not None:
            self.connection = self._speaking = connection = MasterConnection(self, sock)
            connection.move_in(moved.received)
            connection.outbox = outbox
        elif outbox is not None:
            self._held = outbox

    def wake(self) -> None:
        """From now on it is this process's."""
        if self.connection is not None and self.connection.outbox is not None:
            self.connection.on_pressure()
        self._check_full()

    # ---- upwards

    def flush_later(self) -> None:
        """See core.trunk.Trunk."""
        self.reactor.mark_dirty(self)

    def push(self, chunk: bytes, packets: int) -> None:
        """Queue whole tagged frames for the master; written at the end of the turn at the latest."""
        size, connection = len(chunk), self._speaking
        if size >= OWN_PLACE and connection is not None and connection.outbox is not None:
            self.on_flush()
            self.counters.packets_up += packets
            self.counters.bytes_up += size
            connection.try_send(chunk, packets)
            self._check_full()
            return
        if not self.staged:
            self.reactor.mark_dirty(self)
        self.staged.append(chunk)
        self._staged_more += packets - 1
        self._staged_bytes += size
        if self._staged_bytes >= STAGE:
            self.on_flush()

    def push_views(self, views: Sequence[bytes | memoryview], packets: int) -> None:
        """The same for a few large frames in borrowed memory: written, or copied, before this returns."""
        self.on_flush()
        self.counters.packets_up += packets
        self.counters.bytes_up += sum(map(len, views))
        if self._speaking is not None:
            self._speaking.try_send_views(views, packets)
        else:
            self._held.append(b"".join(views), packets)
        self._check_full()

    @property
    def pushed(self) -> int:
        """Packets that were ever queued."""
        return self.counters.packets_up + len(self.staged) + self._staged_more

    @property
    def written(self) -> int:
        """See core.trunk.Trunk. What waited in an earlier process stands in front, and counts for nobody here."""
        outbox = self.outbox
        return self.counters.packets_up - (outbox.packets if outbox is not None else 0)

    def flush(self) -> None:
        """See core.trunk.Trunk."""
        self.on_flush()

    @property
    def stalled_secs(self) -> float | None:
        """Seconds since the master took anything of what waits for it; None if nothing does, or without a master."""
        outbox = self.connection.outbox if self.connection is not None else None
        return max(0.0, self.reactor.now - outbox.touched) if outbox else None

    @property
    def outbox(self) -> Outbox | None:
        """What could not be written yet."""
        return self._speaking.outbox if self._speaking is not None else self._held

    @property
    def congested(self) -> bool:
        """Whether twice as much waits as clients may cause."""
        outbox = self.outbox
        return outbox is not None and outbox.size > 2 * self.limits.size

    def on_flush(self) -> None:
        """Write what is staged."""
        staged, packets = self.staged.copy(), len(self.staged) + self._staged_more
        if not staged:
            return
        self.staged.clear()
        self._staged_more = self._staged_bytes = 0
        self.counters.packets_up += packets
        size, count = sum(map(len, staged)), len(staged)
        self.counters.bytes_up += size
        connection = self._speaking
        if connection is None:
            self._held.append(b"".join(staged), packets)
        elif connection.outbox is None and count > 1 and (count <= FEW_CHUNKS or size >= count * LARGE_CHUNK):
            connection.try_send_views(staged, packets)
        else:
            connection.try_send(staged[0] if count == 1 else b"".join(staged), packets)
        self._check_full()

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """Give the connection up, if there is one."""
        if self.connection is not None:
            self.connection.close(reason, detail)

    @property
    def unwritten(self) -> bool:
        """Whether there is a master that has yet to take what is queued for it."""
        self.on_flush()
        return self._speaking is not None and bool(self._speaking.outbox)

    def hold(self, chunk: Chunk, packets: int) -> None:
        """Whole tagged frames that waited in an earlier process; before there is a connection."""
        self._held.append(chunk, packets)
        self._check_full()

    def release(self) -> list[tuple[Chunk, int]]:
        """Everything that no master has taken in full, as (chunk, packets), once there is no connection any more."""
        self.on_flush()
        return self._held.take()

    def half_close(self) -> None:
        """Tell the master that nothing more comes. It is still listened to, until it closes its side; what it is not
        told any more is kept as if it were gone, for writing that would fail, and its last words with it."""
        self.on_flush()
        connection = self._speaking
        if connection is not None and connection.sock is not None:
            self._stop_speaking(connection)
            try:
                connection.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it is gone, as its reader is about to find out

    def _check_full(self) -> None:
        outbox = self.outbox
        if outbox and not self.full and self._over(outbox, 1):
            self.full = True
            self._on_full()

    def check_room(self) -> None:
        """Some of the outbox was written: at half of its limits the clients are read again."""
        self.on_written()
        outbox = self.outbox
        if self.full and not (outbox and self._over(outbox, 2)):
            self.full = False
            self._on_room()

    def _over(self, outbox: Outbox, part: int) -> bool:
        return outbox.packets_at_most * part >= self.limits.packets or outbox.size * part >= self.limits.size

    # ---- connections come and go

    def connect(self, sock: socket.socket, address: str) -> None:
        """Go on over this socket: first who is here, then what was not written in full."""
        self.before_connecting()
        self.address = address
        self.connection = self._speaking = connection = MasterConnection(self, sock)
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
        if self._speaking is not None:
            self._stop_speaking(connection)
        self.counters.closed[reason] += 1
        self._on_lost(reason, detail)

    def _stop_speaking(self, connection: MasterConnection) -> None:
        self._speaking = None
        self._held = connection.outbox or self.new_outbox()
        self._held.rewind()
        connection.outbox = None

    # ---- reading stops and goes on (overflow policy "block")

    def block(self) -> None:
        """Stop reading the firehose."""
        self.blocked = True

    def unblock(self) -> None:
        """Go on reading it."""
        self.blocked = False
        if self.connection is not None:
            self.reactor.call_soon(self.connection.go_on, self.connection)
