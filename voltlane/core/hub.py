"""Where both directions meet: which session a packet is for, what becomes of it, and what the master is told.

The hub knows a session's connection as its `Link` and the master as the `Trunk`. It never waits: what cannot be written
now is in an outbox (net), a backlog (a stale session) or refused with a notice.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Callable, NamedTuple

from ..config import Clients
from ..reasons import CloseReason, DatagramDrop, EndReason
from ..wire.framing import count_frames
from ..wire.tagged import Flag, Tagged, frame_tagged
from .backlog import Backlog
from .budget import Budget
from .counters import Counters
from .datagrams.side import Datagrams
from .link import Link
from .outbox import Chunk
from .registry import Registry
from .session import Session, State
from .tombstones import Tombstone
from .trunk import Trunk

CLIENT_NOT_FOUND = b"Client not found"
CLIENT_MOVED = b"Client moved"
"""Another server has the client, or had it last: it has heard nothing of this packet."""
_END_NOTICE = {
    EndReason.EXPIRED: b"Client disconnected",
    EndReason.EVICTED: b"Client disconnected",
    EndReason.BACKLOG_FULL: b"Client disconnected",
    EndReason.OVERFLOW: b"buffer overflow",
    EndReason.EXPELLED: b"Client disconnected",
    EndReason.MEMORY: b"out of memory",
    EndReason.LEFT: b"Client disconnected",
    EndReason.NOT_RESUMABLE: b"Client disconnected",
    EndReason.KICKED: None,  # the master asked for it
}


class BacklogLimits(NamedTuple):
    """How much is kept for one stale client. Past it its session ends, or loses the oldest of what is kept."""

    packets: int
    size: int
    drop_oldest: bool = False

    @classmethod
    def of(cls, clients: Clients) -> BacklogLimits:
        """Those of a configuration."""
        return cls(
            clients.missed_packets_buffer_size,
            clients.missed_packets_buffer_bytes,
            clients.missed_packets_policy == "drop-oldest",
        )


class Hub:
    """Routing and session policy."""

    def __init__(self, trunk: Trunk, counters: Counters, backlog: BacklogLimits, budget: Budget | None = None) -> None:
        self._trunk = trunk
        self._counters = counters
        self.limits = backlog
        """How much is kept for one client."""
        self._budget = budget or Budget()
        self.datagrams = Datagrams()
        """By which ways there are besides connections."""
        self.take_all: Callable[[dict[int, bytes]], bool] | None = None
        """Takes the data of a whole bite at once, or says no, where clients may all be alike."""
        self.moved: Container[int] = ()
        """Clients who are at another server now, as far as is remembered."""
        self.settle_end: Callable[[int, EndReason, Tombstone | None], None] = self.end_for_good
        """What becomes of the end of a session: where others may have it, they are asked first."""
        self.note_elsewhere: Callable[[int], None] = lambda client_id: None
        """Told of a client of whom a packet came by way of us, and whom another server has."""
        self.registry: Registry
        """Set once by whoever makes both, since each needs the other."""

    def configure(self, backlog: BacklogLimits) -> None:
        """Keep so much from now on. What is kept already is judged when more comes."""
        self.limits = backlog

    # ---- clients come and go

    def open(self, credential: bytes, link: Link) -> Session:
        """A session for a new client, who does not know of it yet."""
        self._counters.sessions += 1
        return self.registry.open(credential, link)

    def resume(self, session: Session, link: Link, answer: bytes) -> None:
        """A client that has proven who it is is back: its handshake's last answer, all it missed, then what is new."""
        counted = 0  # bytes that the outbox's limits count: who never reads gains nothing by a takeover
        missed: list[tuple[Chunk, int]] = []
        if session.link is not None:
            missed, counted = session.link.hand_over()
            if session.state is State.ENDED:  # by what was read there
                link.detach(CloseReason.SESSION_ENDED)
                return
        if session.backlog is not None:
            missed = session.backlog.take() + missed
            session.backlog = None
        self.registry.resume(session, link)
        self._counters.resumed += 1
        self.datagrams.resumed(session)
        self._trunk.push(frame_tagged(session.id, Flag.RECONNECTION), 1)
        self._counters.replayed += link.replay([(answer, 0), *missed] if answer else missed, counted)

    def lost(self, session: Session, unwritten: list[tuple[Chunk, int]], now: float) -> None:
        """A client's connection is gone; what it had not taken in full waits for it, as what comes from now on does."""
        for chunk, packets in unwritten:
            self._keep(session, chunk, packets)
        if session.state is not State.ENDED:
            self.registry.lose(session, now)

    def set_aside(self, session: Session, now: float) -> None:
        """Somebody else is to have a session: its connection is closed as a takeover does it, all that came over it is
        passed on, and what its client has not taken is kept. It may end of that."""
        if session.link is not None:
            missed, _ = session.link.hand_over()
            if session.state is not State.ENDED:
                self.lost(session, missed, now)

    def give_away(self, session: Session, undelivered: int) -> None:
        """Somebody else has it: the master is told of so many packets that they did not arrive."""
        self.registry.give_away(session)
        if undelivered:
            self._not_found(session.id, undelivered)

    def left(self, session: Session) -> None:
        """A client has gone, and said before that it will not come back: nothing need wait for it."""
        self.registry.end(session)
        self.ended(session, EndReason.LEFT)

    def restore(self, client_id: int, frames: bytes) -> None:
        """What waited for a client in an earlier process; nothing if its session is over."""
        session = self.registry.sessions.get(client_id)
        if session is not None:
            self._keep(session, frames, -1)

    def overflow(self, session: Session, reason: EndReason = EndReason.OVERFLOW) -> None:
        """Too much waits for a client: its session ends. The caller closes the connection, if there is one."""
        self.registry.end(session)
        self.ended(session, reason)

    def expel(self, session: Session) -> None:
        """The operator ends a client's session."""
        self._kick(session, EndReason.EXPELLED, CloseReason.EXPELLED)

    def ended(self, session: Session, reason: EndReason) -> None:
        """Count a session's end; and see to what becomes of it."""
        self._counters.ended[reason] += 1
        delivery, stone = session.delivery, None
        if delivery is not None:
            stone = Tombstone(session.credential, reason, delivery.safe, delivery.taken)
        self.settle_end(session.id, reason, stone)

    def end_for_good(self, client_id: int, reason: EndReason, stone: Tombstone | None) -> None:
        """Nobody has that session: it is remembered for its client, and the master is told, if it does not know."""
        if stone is not None:
            self.registry.tombstones.add(client_id, stone)
        notice = _END_NOTICE[reason]
        if notice is not None:
            self._trunk.push(frame_tagged(client_id, Flag.FAILURE, notice), 1)

    # ---- from the master

    def deliver(self, chunks: dict[int, bytes]) -> None:
        """Data for clients: one chunk of frames each."""
        sessions = self.registry.sessions
        if self.take_all is not None and self.take_all(chunks):
            return
        for client_id, chunk in chunks.items():
            session = sessions.get(client_id)
            if session is None:
                self._not_found(client_id, count_frames(chunk))
            elif session.link is not None:
                session.link.try_send(chunk)
            else:
                self._keep(session, chunk, -1)

    def deliver_views(self, frames: dict[int, list[memoryview]]) -> None:
        """Large frames for clients, in memory that is borrowed until this returns."""
        sessions = self.registry.sessions
        for client_id, views in frames.items():
            session = sessions.get(client_id)
            if session is None:
                self._not_found(client_id, len(views))
            elif session.link is not None:
                session.link.try_send_views(views, len(views))
            else:
                self._keep(session, b"".join(views), len(views))

    def deliver_datagrams(self, chunks: dict[int, bytes]) -> None:
        """Datagrams for clients, one chunk of frames each: by a way of their own, or as data, or not at all."""
        sessions, datagrams = self.registry.sessions, self.datagrams
        for client_id, chunk in chunks.items():
            session = sessions.get(client_id)
            if session is None:
                self._not_found(client_id, count_frames(chunk))
            elif datagrams.send(session, chunk):
                continue
            elif datagrams.falls_back and session.link is not None:
                session.link.try_send(chunk)
            else:
                self._counters.datagrams_dropped[DatagramDrop.NO_PATH] += count_frames(chunk)

    def control(self, packet: Tagged) -> None:
        """A packet of the master's that is not data."""
        session = self.registry.sessions.get(packet.client_id)
        if packet.flag is Flag.KICK:
            if session is None:
                self._not_found(packet.client_id, 1)
            else:
                self._kick(session, EndReason.KICKED, CloseReason.KICKED)
        elif session is None:
            # A notice that is answered with a notice is answered again by a master that sends back what it gets.
            self._counters.stray_notices += 1
        elif packet.flag is Flag.FAILURE:
            self._counters.failures_from_master += 1
        # A reconnection notice says nothing to a server: it is who sends them.

    # ---- the master comes back

    def announcements(self) -> bytes:
        """A reconnection notice for each live session, for a master that may have forgotten them."""
        return b"".join([frame_tagged(session.id, Flag.RECONNECTION) for session in self.registry.live()])

    def _kick(self, session: Session, end: EndReason, close: CloseReason) -> None:
        link = session.link
        self.registry.end(session)
        self.ended(session, end)
        if link is not None:
            link.detach(close)

    def kick_elsewhere(self, client_id: int) -> None:
        """Whom the master wanted to be rid of is at another server, and has heard nothing of it: so the master does."""
        self._not_found(client_id, 1)

    def _not_found(self, client_id: int, packets: int) -> None:
        moved = client_id in self.moved
        if moved:
            self._counters.moved_client += packets
        else:
            self._counters.unknown_client += packets
        if self._trunk.congested:
            self._counters.notices_dropped += packets
            return
        notice = CLIENT_MOVED if moved else CLIENT_NOT_FOUND
        self._trunk.push(frame_tagged(client_id, Flag.FAILURE, notice) * packets, packets)

    def _keep(self, session: Session, chunk: Chunk, packets: int) -> None:
        """Let a chunk wait for a client that is stale, or about to be. Its session may end of it, or be over."""
        if session.state is State.ENDED:
            return
        if packets < 0:
            packets = count_frames(chunk)
        backlog, limits, delivery = session.backlog, self.limits, session.delivery
        spare = 0 if delivery is None else delivery.spare
        if not limits.drop_oldest and not spare:
            before = (backlog.packets, backlog.size) if backlog is not None else (0, 0)
            if before[0] + packets > limits.packets or before[1] + len(chunk) > limits.size:
                self.overflow(session, EndReason.BACKLOG_FULL)
                return
        elif not limits.packets and limits.drop_oldest:
            self._dropped(session, packets, spare)
            return
        if backlog is None:
            backlog = session.backlog = Backlog(self._budget, session)
        dropped = backlog.append(chunk, packets, limits.packets, limits.size)
        if dropped > spare and not limits.drop_oldest:
            self.overflow(session, EndReason.BACKLOG_FULL)
        elif dropped:
            self._dropped(session, dropped, spare)

    def _dropped(self, session: Session, packets: int, spare: int) -> None:
        """So many of the oldest are not kept any more; `spare` of them were sent, and are only retained."""
        self._counters.backlog_dropped += max(0, packets - spare)
        if session.delivery is not None:
            session.delivery.drop(packets)
