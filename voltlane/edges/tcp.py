"""Clients over TCP or a unix socket, protocol v2: the data path of each connection that has a session."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Callable

from ..core.admission import Source
from ..core.budget import Budget, Holding
from ..core.counters import Counters
from ..core.handshake import Handshake
from ..core.hub import Hub
from ..core.outbox import Chunk, Outbox
from ..core.session import Session, State
from ..core.timers import Timer
from ..errors import ProtocolError
from ..net.memory import receive_buffer
from ..net.poller import HANGUP, WRITE
from ..net.reactor import Reactor
from ..net.stream import Stream
from ..reasons import CloseReason
from ..wire.batch import retag
from ..wire.framing import PREFIX_SIZE, next_frame
from ..wire.tagged import HEADER, TAG_SIZE
from .connection_log import ConnectionLog
from .greeting import Greeting
from .master import LARGE, Trunk
from .meter import Meter, MeterLimits, Meters
from .partial import SMALL, LargeFrame, Partial, Rest, keep
from .pressure import Pressure, PressureLimits
from .turns import ENDING, FIRST_QUANTUM, LOUD, METERED, PARKED, QUANTUM, THROTTLED, Turns

if TYPE_CHECKING:
    from .sampler import ClientQuality

QUIET = 1024
"""Payload bytes up to which a packet that comes alone is tagged where it was received: see `quiet`."""
MOST_DRAINED = 1 << 24
"""Bytes read of what a connection that is taken over had received: more than a socket's buffer holds."""


class ClientEdge:
    """What all client connections share. `on_crowd` as for Turns."""

    def __init__(
        self,
        reactor: Reactor,
        hub: Hub,
        trunk: Trunk,
        counters: Counters,
        log: ConnectionLog,
        packet_size_limit: int,
        pressure: PressureLimits,
        meter: MeterLimits,
        budget: Budget,
        on_crowd: Callable[[bool], None],
    ) -> None:
        self.reactor = reactor
        self.hub = hub
        self.trunk = trunk
        self.counters = counters
        self.log = log
        self.budget = budget
        self.level_triggered = reactor.poller.rearm_read is not None
        # Room for a tag, the kept part of a small frame, and a quantum read behind it.
        self.scratch = receive_buffer(TAG_SIZE + SMALL + QUANTUM)
        self.view = memoryview(self.scratch)
        self.behind_tag = self.view[TAG_SIZE:]
        self.turns = Turns(reactor, on_crowd)
        self.pressure = Pressure(reactor, hub, trunk, self.turns, pressure)
        self.meters = Meters(reactor, trunk, self.turns, counters, meter)
        self.configure(packet_size_limit, pressure, meter)

    def configure(self, packet_size_limit: int, pressure: PressureLimits, meter: MeterLimits) -> None:
        """Go by these limits from now on."""
        self.packet_size_limit = packet_size_limit
        self.small = min(LARGE, packet_size_limit)
        self.quiet = min(QUIET, packet_size_limit)
        self.pressure.configure(pressure)
        self.meters.configure(meter, self.connections)

    def begin(self, greeting: Greeting, rest: bytes) -> None:
        """A handshake is done: go on with that connection, first with what was read behind the handshake."""
        handshake = greeting.handshake
        if handshake.session is None and not self.hub.registry.has_ids:
            greeting.flush()
            greeting.close(CloseReason.NO_IDS)
            return
        sock, since = greeting.hand_over()
        waited = self.reactor.now - since
        (self.counters.resume_secs if handshake.session else self.counters.handshake_secs).observe(waited)
        connection = ClientConnection(self, sock, greeting.peer, greeting.source, since)
        connection.flags |= greeting.flags & (LOUD | ENDING)
        self.reactor.guard(connection, connection.begin, handshake, greeting.unsent, rest)

    @property
    def connections(self) -> list[ClientConnection]:
        """Everybody who has a session."""
        return [handler for handler in self.reactor.handlers if isinstance(handler, ClientConnection)]

    @property
    def unwritten(self) -> bool:
        """Whether some client has yet to take what is queued for it."""
        return any(connection.outbox for connection in self.connections)

    def farewell(self) -> None:
        """Close every connection: the server ends."""
        for connection in self.connections:
            connection.close(CloseReason.SHUTDOWN)


class ClientConnection(Stream):
    """One client's connection, and the `Link` of its session."""

    __slots__ = (
        "client_id",
        "edge",
        "flags",
        "meter",
        "partial",
        "peer",
        "quality",
        "session",
        "since",
        "source",
        "stall",
        "timer",
    )

    def __init__(self, edge: ClientEdge, sock: socket.socket, peer: str, source: Source | None, since: float) -> None:
        self.edge = edge
        self.peer = peer
        self.source = source
        self.flags = 0
        self.session: Session | None = None
        self.client_id = 0
        """That of its session, also when it was taken away from that."""
        self.partial: Partial | None = None
        """The received part of a frame that is not whole yet."""
        self.since = since
        """When it was accepted."""
        self.quality: ClientQuality | None = None
        """That of its link, once it was sampled: see Sampler."""
        super().__init__(edge.reactor, sock)
        self.timer: Timer | None = None
        """Runs while it is slow, and ends it. For Pressure, as the next one."""
        self.stall: Timer | None = None
        """Looks whether it takes anything."""
        self.meter: Meter | None = None
        edge.meters.watch(self)

    def begin(self, handshake: Handshake, unsent: bytes, rest: bytes) -> None:
        """Enter the session that the handshake was for. `unsent` is of our side of it, `rest` was read behind it."""
        edge = self.edge
        session = handshake.session
        if session is None:
            assert handshake.point is not None
            session = edge.hub.open(handshake.point, self)
        # Set first: the connection may be lost while its first packet is sent.
        self.session, self.client_id = session, session.id
        if handshake.session is None:
            edge.hub.welcome(session, unsent)
        else:  # nothing is unsent: who has proven its key has read our answers
            if isinstance(session.link, ClientConnection):
                edge.meters.inherit(session.link, self)
            edge.hub.resume(session, self)
        if self.sock is not None:
            edge.log.here(session.id, self.peer, handshake.session is not None)
        before = edge.trunk.pushed
        if rest and session.state is not State.ENDED:  # even if the client has left again by now
            stop = TAG_SIZE + len(rest)
            edge.scratch[TAG_SIZE:stop] = rest
            self._take_rest(TAG_SIZE, stop, session.id)
        edge.meters.charge(self, edge.trunk.pushed - before, len(rest))
        if self.flags & (LOUD | ENDING):
            self.flags &= ~LOUD  # by the measure of a handshake
            edge.turns.enqueue(self, False)
        else:
            self.reactor.drained(self.sock)

    # ---- reading

    def on_event(self, mask: int) -> None:
        """Read at once from who is quiet (see also `quiet`); who is loud or paused is read when its turn comes."""
        if self.outbox is not None and mask & WRITE:
            self.try_flush()
        if mask == WRITE or self.sock is None:
            return
        if mask & HANGUP:
            self.flags |= ENDING
        if self.flags & ~(ENDING | METERED) or self.edge.turns.paused:
            self.edge.turns.enqueue(self, False)
        else:
            self.on_readable()

    def take(self, received: int) -> None:
        """So much was received for it, behind the place for a tag, as the first of a quantum."""
        self._received(TAG_SIZE, received, FIRST_QUANTUM)
        self._after(received)

    def on_readable(self) -> None:
        """Read one quantum."""
        if self.sock is None:
            return
        if self.outbox is not None and self.outbox.size > self.edge.pressure.park_above:
            self.flags |= PARKED  # it does not read what it is sent: it is not read either, until it does
            return
        self._after(self.edge.meters.read(self) if self.flags & METERED else self.receive())

    def _after(self, received: int) -> None:
        """Who is loud has its next turn after the others."""
        if self.flags & LOUD:
            self.edge.turns.enqueue(self, False)
        elif received < 0 or (received and not self.flags & ENDING):
            self.reactor.drained(self.sock)
        else:  # where an end was announced, less than was asked for was all
            self.close(CloseReason.PEER_CLOSED)

    def receive(self, loudest: int = QUANTUM) -> int:
        """One recv, of at most so many bytes, and what follows from it.

        Bytes received, 0 at the end of the stream, -1 for nothing.
        """
        most = loudest if self.flags & LOUD else FIRST_QUANTUM
        edge, sock, partial, start = self.edge, self.sock, self.partial, TAG_SIZE
        assert sock is not None
        try:
            if partial is None:
                received = sock.recv_into(edge.behind_tag, most)
            elif isinstance(partial, Rest):
                start += len(partial.data)
                edge.scratch[TAG_SIZE:start] = partial.data
                received = sock.recv_into(edge.view[start : start + most])
            else:
                return self._receive_large(sock, partial, most)
        except BlockingIOError:
            received = -1
        self._received(start, received, most)
        return received

    def _received(self, start: int, received: int, most: int) -> None:
        """A recv for `most` bytes behind what was kept: who filled it is loud, since there may be more."""
        self.flags = self.flags | LOUD if received == most else self.flags & ~LOUD
        if received > 0:
            self.edge.turns.spend(received)
            self._take(start + received)

    def _take(self, stop: int) -> None:
        """Pass on the whole frames in the scratch buffer, and keep the part of one."""
        edge, session = self.edge, self.session
        if session is None:
            return  # it is over for this one
        chunk, position, packets = retag(edge.scratch, TAG_SIZE, stop, session.id, edge.small)
        if packets:
            edge.trunk.push(chunk, packets)
        if position != stop:
            self._take_rest(position, stop, session.id)
        elif self.partial is not None:
            self._keep(None)

    def _take_rest(self, position: int, stop: int, client_id: int) -> None:
        """What the batch loop left: large frames, which are passed on where they stand, and the part of a frame."""
        edge = self.edge
        scratch, view, trunk, limit = edge.scratch, edge.view, edge.trunk, edge.packet_size_limit
        while end := next_frame(scratch, position, stop, limit):
            views: list[bytes | memoryview] = []
            while end and end - position - PREFIX_SIZE > edge.small:
                data = view[position + PREFIX_SIZE : end]
                views += (HEADER.pack(len(data) + TAG_SIZE, client_id, 0), data)
                position = end
                end = next_frame(scratch, position, stop, limit)
            if views:
                trunk.push_views(views, len(views) // 2)
            chunk, position, packets = retag(scratch, position, stop, client_id, edge.small)
            if packets:
                trunk.push(chunk, packets)
        self._keep(view[position:stop])

    def _receive_large(self, sock: socket.socket, large: LargeFrame, most: int) -> int:
        self.flags &= ~LOUD
        with large.space(most) as space:
            received = sock.recv_into(space)
            if received == len(space):  # the read ended with the frame, perhaps, and not with what there is to read
                self.flags |= LOUD
        large.advance(received)
        self.edge.turns.spend(received)
        if large.complete and self.session is not None:
            self._keep(None)
            data = large.payload()
            self.edge.trunk.push_views([HEADER.pack(len(data) + TAG_SIZE, self.session.id, 0), data], 1)
        return received

    def _keep(self, rest: memoryview | None) -> None:
        """Keep this part of a frame, in place of what was kept before."""
        if self.partial is not None:
            self.partial.hold(0)
        self.partial = keep(rest, self.edge.budget, self) if rest and self.sock is not None else None

    # ---- the session's link

    def replay(self, chunks: list[tuple[Chunk, int]]) -> None:
        """See Link: limits do not count it."""
        if len(chunks) == 1 and self.outbox is None:
            self.try_send(*chunks[0])
            return
        for chunk, packets in chunks:
            self._queue(chunk, packets, 0)
        if self.outbox is not None:
            self.outbox.exempt()
        self.try_flush()

    def drain(self) -> None:
        """See Link."""
        trunk, left = self.edge.trunk, MOST_DRAINED
        if self.flags & THROTTLED and self.meter is not None and self.meter.inherited:
            return  # to be taken over again is no way to be read without paying
        try:
            while self.sock is not None and left > 0:
                before = trunk.pushed
                received = self.receive()
                if received <= 0:
                    return
                if self.meter is not None:  # it does not matter here how long it would have to wait
                    self.meter.charge(trunk.pushed - before, received, self.reactor.now)
                left -= max(received, FIRST_QUANTUM)  # whoever goes on sending a little holds up everybody
        except (OSError, ProtocolError):
            return

    def detach(self, reason: CloseReason) -> list[tuple[Chunk, int]]:
        """See Link."""
        self.leave_session()
        unwritten = self.outbox.take() if self.outbox is not None else []
        self.close(reason)
        return unwritten

    # ---- pressure

    def new_outbox(self) -> Outbox:
        """See Stream."""
        return Outbox(self.edge.budget, self)

    def shed(self, holding: Holding) -> None:
        """There is no memory for this one any more."""
        if holding is self.partial:
            self.close(CloseReason.FRAME_SHED, f"{holding.held} bytes of memory")
        else:
            self.edge.pressure.shed(self)

    def on_pressure(self) -> None:
        """See Stream."""
        self.edge.pressure.judge(self)

    def on_relief(self) -> None:
        """See Stream."""
        self.edge.pressure.relieve(self)

    def leave_session(self) -> Session | None:
        """Belong to no session any more. Which it was."""
        session, self.session = self.session, None
        return session

    # ---- the end

    def on_closed(self, sock: socket.socket, reason: CloseReason, detail: str) -> None:
        """Count it, say it, and leave the session to wait for the client."""
        edge, session, now = self.edge, self.session, self.reactor.now
        edge.log.closed(reason, self.client_id, self.peer, detail)
        edge.pressure.forget(self)
        edge.meters.forget(self)
        if self.source is not None:
            self.source.left(reason, True, now - self.since, now)
        self._keep(None)
        self.session = None
        outbox, self.outbox = self.outbox, None
        if session is not None:
            edge.hub.lost(session, outbox.take() if outbox is not None else [], now)
        elif outbox is not None:
            outbox.clear()
