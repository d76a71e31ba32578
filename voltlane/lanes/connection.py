"""One client's connection that has a session, whatever its lane: what it owes to the session and to the policies.

How bytes come in and go out is a subclass's: `prefix` where what is on the wire is what is queued, `coded` where a
framing stands between.
"""

from __future__ import annotations

import socket
from typing import ClassVar

from ..core.admission import Source
from ..core.budget import Holding
from ..core.coded import Coded
from ..core.meter import Meter
from ..core.outbox import Chunk, Outbox, Queued
from ..core.protocols.handshake import Handshake
from ..core.session import Session, State
from ..core.timers import Timer
from ..errors import ProtocolError
from ..net.poller import HANGUP, WRITE
from ..net.sockets import half_close, reset_on_close, throw_away
from ..net.stall import Waiting
from ..net.stream import Stream
from ..reasons import BY_PEER, LOSSES, CloseReason
from ..wire.batch import retag
from ..wire.framing import PREFIX_SIZE, next_frame
from ..wire.tagged import HEADER, TAG_SIZE
from .fairness.sampler import ClientQuality
from .fairness.turns import (
    BUSY,
    CAREFUL_QUANTUM,
    ENDING,
    FIRST_QUANTUM,
    LABOUR_COST,
    LEFT,
    LOUD,
    METERED,
    PARKED,
    QUANTUM,
    RETIRED,
    SMOOTH,
    UNANSWERED,
)
from .framing import Framing
from .moved import Moved, Origin, Recorded
from .partial import Partial, keep
from .shared import Shared

MOST_READ_OUT = 1 << 24
"""Bytes read of what a connection that ends had received: more than a socket's buffer holds."""
_LABOUR_READ_OUT = 8
"""What a framing's work counts for then: it is all done in one go, and many connections may end at once."""
MOST_OWED_SECS = 60.0
"""Who owes more for what it has sent (`clients.packet_rate`) is not taken over until it owes less."""


class ClientConnection(Stream):
    """One client's connection, and the `Link` of its session. Subclasses say `receive` and `take_behind`."""

    __slots__ = (
        "client_id",
        "flags",
        "lane",
        "meter",
        "partial",
        "peer",
        "quality",
        "session",
        "shared",
        "since",
        "slow",
        "source",
        "stall",
        "subject",
    )

    measured = True
    is_stream: ClassVar[bool] = True
    protocol: ClassVar[str] = "v2"
    """What it speaks, as `table.CODED` has it; the open protocol goes the ways of version 2."""
    retains: ClassVar[bool] = False
    """Whether what was sent is kept until it is safe."""

    def __init__(
        self, shared: Shared, sock: socket.socket, peer: str, source: Source | None, since: float, framing: Framing
    ) -> None:
        self.shared = shared
        self.peer = peer
        self.source = source
        self.flags = 0
        self.session: Session | None = None
        self.client_id = 0
        """That of its session, also when it was taken away from that."""
        self.lane = ""
        """By which lane it came: its scheme."""
        self.subject = ""
        """Whom the certificate names that it has shown; "" without one."""
        self.partial: Partial | None = None
        """The received part of a message that is not whole yet."""
        self.since = since
        """When it was accepted."""
        self.quality: ClientQuality | None = None
        """That of its link, once it was sampled: see Sampler."""
        super().__init__(shared.reactor, sock)
        self.slow: Timer | None = None
        self.stall: Timer | None = None
        self.meter: Meter | None = None
        shared.meters.watch(self)

    def begin(self, handshake: Handshake, unsent: bytes, rest: bytes) -> None:
        """Enter the session that the handshake was for. `unsent`: bytes of the wire, of our side of it; `rest` was read
        behind it."""
        shared, session = self.shared, handshake.session
        new = session is None
        if session is None:
            assert handshake.credential is not None
            session = shared.hub.open(handshake.credential, self)
        # Set first: the connection may be lost while its first packet is sent.
        self.session, self.client_id = session, session.id
        answer = handshake.answer(session)
        if new:
            self.finish_handshake(unsent, answer)
        else:
            if unsent:
                self.finish_handshake(unsent, b"")
            shared.meters.inherit(session, self)
            shared.hub.resume(session, self, answer)
        if self.flags & UNANSWERED:  # no more: from now on its connection ends as it may
            self.flags &= ~UNANSWERED
            if self.sock is not None and not shared.resets:
                reset_on_close(self.sock, False)
        if self.sock is not None:
            shared.log.here(session.id, self.peer, not new, self.lane, self.subject)
        before = 0 if self.meter is None else shared.trunk.pushed
        if rest and session.state is not State.ENDED:  # even if the client has left again by now
            self.take_behind(rest)
        if self.meter is not None:
            shared.meters.charge(self, shared.trunk.pushed - before, len(rest))
        if self.flags & (LOUD | ENDING):
            self.flags &= ~LOUD  # by the measure of a handshake
            shared.turns.enqueue(self, False)
        else:
            self.reactor.drained(self.sock)

    # ---- from one process to another

    @property
    def moves(self) -> bool:
        """Whether another process can go on with it: not where a library has a part of its state."""
        return type(self.sock) is socket.socket

    @property
    def origin(self) -> Origin:
        """What another process needs to know of it first."""
        return Origin(
            self.client_id,
            self.since,
            self.protocol,
            self.lane,
            self.peer,
            self.subject,
            self.framing_name,
            b"" if self.source is None else self.source.key,
            0 if self.sock is None else int(self.sock.family),
        )

    @property
    def moved(self) -> Moved:
        """What another process needs to go on with it, if it moves. Nothing is changed by that."""
        partial, meter = self.partial, self.meter
        return Moved(
            self.framing_state,
            b"" if partial is None else partial.received,
            None if meter is None else meter.levels(self.reactor.now),
            self.queued,
            self.recorded,
        )

    def move_in(self, moved: Moved, session: Session) -> None:
        """Go on with what was another process's. Nothing is read and nothing sent before `wake`."""
        self.session = session
        if moved.received:
            self.keep(keep(memoryview(moved.received), self.shared.budget, self))
        if self.meter is not None and moved.levels is not None:
            self.meter.set(moved.levels, self.reactor.now)

    def move_out(self) -> None:
        """What it has moved in with is not so any more."""
        self.keep(None)
        self.leave_frames()

    def join(self, session: Session, source: Source) -> None:
        """It has moved in, and counts from now on."""
        self.session, session.link = session, self
        self.source = source
        if self.pinged:
            self.shared.heartbeat.begin()

    def wake(self) -> None:
        """From now on it is this process's: what its timers were for is looked at anew."""
        if self.outbox is not None:
            self.on_pressure()
        if self.sock is not None:
            self.shared.meters.look_again(self)

    def end_datagrams(self) -> None:
        """Tell the client that the datagrams beside its connection are over, where it could have some."""

    @property
    def framing_name(self) -> str:
        """That of its framing."""
        raise NotImplementedError

    @property
    def framing_state(self) -> bytes:
        """What its framing is at."""
        return b""

    @property
    def queued(self) -> Queued | Coded | None:
        """What waits for it."""
        return None if self.outbox is None else self.outbox.queued()

    @property
    def recorded(self) -> Recorded | None:
        """What it has besides, where it speaks version 3."""
        return None

    # ---- for subclasses to fill in

    def receive(self, most: int) -> int:
        """See Client."""
        raise NotImplementedError

    def finish_handshake(self, unsent: bytes, answer: bytes) -> None:
        """Send the last of the handshake: bytes of the wire, then core frames that are no packets."""
        raise NotImplementedError

    def take_behind(self, rest: bytes) -> None:
        """Take bytes of the wire that were read behind the handshake."""
        raise NotImplementedError

    # ---- reading

    def on_event(self, mask: int) -> None:
        """Read at once from who is quiet (see also `quiet`); who is loud or paused is read when its turn comes."""
        if self.outbox is not None and mask & WRITE:
            self.try_flush()
        if mask == WRITE or self.sock is None:
            return
        if mask & HANGUP:
            self.flags |= ENDING
        if self.flags & ~(ENDING | METERED | SMOOTH) or self.shared.turns.paused:
            self.shared.turns.enqueue(self, False)
        else:
            self.on_readable()

    def on_readable(self) -> None:
        """Read one quantum."""
        if self.sock is None:
            return
        if self.flags & RETIRED and self.is_over:
            self.close(CloseReason.PEER_CLOSED)
            return
        if self.outbox is not None and self.outbox.size > self.shared.pressure.park_above:
            self.flags |= PARKED  # it does not read what it is sent: it is not read either, until it does
            return
        self.after_read(self.shared.meters.read(self) if self.flags & METERED else self.receive(QUANTUM))

    def after_read(self, received: int) -> None:
        """Who is loud has its next turn after the others."""
        if self.flags & LOUD:
            self.shared.turns.enqueue(self, False)
        elif received < 0 or (received and not self.flags & ENDING):
            self.reactor.drained(self.sock)
        else:  # where an end was announced, less than was asked for was all
            self.close(CloseReason.PEER_CLOSED)

    def pass_on(self, buffer: bytes | bytearray, view: memoryview, position: int, stop: int, client_id: int) -> int:
        """Give the trunk every whole frame in `buffer[position:stop]`, large ones where they stand. Where the part of
        one begins."""
        shared = self.shared
        trunk, limit, small = shared.trunk, shared.packet_size_limit, shared.small
        while end := next_frame(buffer, position, stop, limit):
            views: list[bytes | memoryview] = []
            while end and end - position - PREFIX_SIZE > small:
                data = view[position + PREFIX_SIZE : end]
                views += (HEADER.pack(len(data) + TAG_SIZE, client_id, 0), data)
                position = end
                end = next_frame(buffer, position, stop, limit)
            if views:
                trunk.push_views(views, len(views) // 2)
            chunk, position, packets = retag(buffer, position, stop, client_id, small)
            if packets:
                trunk.push(chunk, packets)
        return position

    def keep(self, partial: Partial | None) -> None:
        """Keep this part of a message, in place of what was kept before."""
        if self.partial is not None:
            self.partial.hold(0)
        self.partial = partial

    def quantum_of(self, framing: Framing) -> int:
        """Bytes to read at once, where this framing stands between."""
        return FIRST_QUANTUM if self.flags & SMOOTH or not framing.laborious else CAREFUL_QUANTUM

    def charge_labour(self, framing: Framing, received: int) -> None:
        """So much was read and decoded: what that was in work counts in its turn, and says how much to read next."""
        labour = framing.take_labour() * LABOUR_COST
        if labour:
            self.shared.turns.toil(labour)
        if labour > received:
            self.flags &= ~SMOOTH
        elif received >= CAREFUL_QUANTUM:
            self.flags |= SMOOTH

    # ---- the session's link

    def replay(self, chunks: list[tuple[Chunk, int]], counted: int = 0) -> int:
        """See Link."""
        if len(chunks) == 1 and self.outbox is None:
            self.try_send(*chunks[0])
            return chunks[0][1]
        for chunk, packets in chunks:
            self._queue(chunk, packets, 0)
        if self.outbox is not None:
            self.outbox.exempt(counted)
        self.try_flush()
        return sum([packets for _, packets in chunks])

    @property
    def can_hand_over(self) -> bool:
        """Whether all that it has received may be passed on now. One client that takes its own session over and over
        must not get in without end what others wait with, nor without paying for it."""
        meter = self.meter
        return not self.shared.trunk.congested and (meter is None or meter.owes(self.reactor.now) <= MOST_OWED_SECS)

    def hand_over(self) -> tuple[list[tuple[Chunk, int]], int]:
        """See Link."""
        if self.sock is not None:
            self.end_sending(self.sock, CloseReason.TAKEN_OVER)
        self.read_out()  # behind that: its system may have kept a small packet until something came from us
        self.leave_session()
        unwritten, counted, outbox = [], 0, self.outbox
        if outbox is not None:
            outbox.rewind()
            counted = outbox.counted
            unwritten = self.leave_frames()
        self.close(CloseReason.TAKEN_OVER)
        return unwritten, counted

    def detach(self, reason: CloseReason) -> None:
        """See Link."""
        self.leave_session()
        self.close(reason)

    def retire(self, reason: CloseReason) -> None:
        """Leave the session to wait for the client, end our side, and go on reading to its end."""
        shared = self.shared
        if self.sock is not None:
            self.end_sending(self.sock, reason)
        if not shared.trunk.congested:
            self.read_out()  # in front of what the loss may cost the session
        session = self.session
        if session is None:
            return  # it has failed meanwhile
        self.flags = (self.flags | RETIRED) & ~PARKED
        shared.retired[session.id] = self, reason
        shared.pressure.forget(self)
        shared.hub.lost(session, self.leave_frames(), self.reactor.now)
        shared.turns.enqueue(self, False)

    def read_out(self) -> None:
        """Pass on what the socket has already received, at the client's cost. Closes nothing."""
        trunk, turns, meter, left = self.shared.trunk, self.shared.turns, self.meter, MOST_READ_OUT
        self.flags |= BUSY
        try:
            while self.sock is not None and left > 0 and not (self.flags & RETIRED and self.is_over):
                before, toiled = trunk.pushed, turns.toiled
                received = self.receive(QUANTUM)
                if received <= 0:
                    break
                if meter is not None:  # it does not matter here how long it would have to wait
                    meter.charge(trunk.pushed - before, received, self.reactor.now)
                labour = (turns.toiled - toiled) * _LABOUR_READ_OUT
                left -= max(received + labour, FIRST_QUANTUM)  # a little without end holds up all
        except OSError:
            pass
        except ProtocolError:
            self.keep(None)  # what was kept is no beginning of anything
        self.flags &= ~BUSY

    # ---- pressure

    def new_outbox(self) -> Outbox:
        """See Stream."""
        return Outbox(self.shared.budget, self)

    @property
    def waiting(self) -> Waiting | None:
        """See Client."""
        return self.outbox

    def shed(self, holding: Holding) -> None:
        """There is no memory for this one any more."""
        if holding is self.partial:
            self.close(CloseReason.FRAME_SHED, f"{holding.held} bytes of memory")
        else:
            self.shared.pressure.shed(self)

    def on_pressure(self) -> None:
        """See Stream."""
        self.shared.pressure.judge(self)

    def on_relief(self) -> None:
        """See Stream."""
        self.shared.pressure.relieve(self)

    def said_goodbye(self) -> bool:
        """Whether the last that has come of the client is that it will not come back."""
        return False

    @property
    def is_over(self) -> bool:
        """Of one that is retired: whether its session has ended since. The master was told, and must not hear of it
        again."""
        return self.session is not None and self.session.state is State.ENDED

    def leave_session(self) -> Session | None:
        """Belong to no session any more. Which it was."""
        session, self.session = self.session, None
        return session

    # ---- the end

    def leave_frames(self) -> list[tuple[Chunk, int]]:
        """Have nothing more to send. What the session has to keep of that, in order."""
        outbox, self.outbox = self.outbox, None
        return outbox.take() if outbox is not None else []

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """See Stream. Where its sending failed, what it had sent itself is not read yet, and may be all there is."""
        if reason in LOSSES and self.sock is not None and not self.flags & BUSY and self.can_hand_over:
            self.read_out()
        retired = self.shared.retired.get(self.client_id) if self.flags & RETIRED else None
        if retired is not None:
            why = retired[1]
            if reason not in BY_PEER and reason is not why:
                self.keep(None)  # it has said more than is kept, or it is we who end it: that is no goodbye
            reason = why  # however it ends
        super().close(reason, detail)

    def end_sending(self, sock: socket.socket, reason: CloseReason) -> None:
        """Say that we send no more."""
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # its peer is gone

    def say_end(self, sock: socket.socket, reason: CloseReason) -> None:
        """See Stream. A connection that is closed before its client has an answer is reset (see Newcomer); one that was
        taken over has been told, and read to its end."""
        if not self.flags & UNANSWERED:
            thrown_away = throw_away(sock) if reason is CloseReason.TAKEN_OVER else half_close(sock)
            self.shared.counters.bytes_discarded += thrown_away

    def on_closed(self, sock: socket.socket, reason: CloseReason, detail: str) -> None:
        """Count it, say it, and leave the session to wait for the client, unless that has left for good."""
        shared, session, now = self.shared, self.session, self.reactor.now
        shared.log.closed(reason, self.client_id, self.peer, detail)
        shared.pressure.forget(self)
        if self.meter is not None and session is not None:
            shared.meters.remember(self, session)
        shared.meters.forget(self)
        if self.source is not None:
            self.source.left(reason, True, now - self.since, now)
        theirs = reason in BY_PEER or (self.flags & RETIRED and session is not None and session.state is State.STALE)
        left = theirs and (bool(self.flags & LEFT) or (self.partial is not None and self.said_goodbye()))
        self.keep(None)
        self.session = None
        frames = self.leave_frames() if self.retains or self.outbox is not None else []
        if self.flags & RETIRED:
            shared.retired.pop(self.client_id, None)
        if session is not None and left:
            shared.hub.left(session)
        elif session is not None and not self.flags & RETIRED:
            shared.hub.lost(session, frames, now)
