"""How records of version 3 go out, whatever the framing.

What is sent to a client is kept until it says that it is safe, and is sealed when it is about to be written, as far as
the client's credit goes. What is sealed cannot be sealed again: it is written, or lost with its connection.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from ..core.admission import Source
from ..core.budget import CHUNK_COST, Budget, Holding
from ..core.coded import Coded
from ..core.delivery import Delivery
from ..core.outbox import Chunk, Queued
from ..core.protocols.ends import close_for
from ..core.protocols.flow import Flow
from ..core.retention import Retention
from ..core.session import Session
from ..net.sockets import half_close
from ..net.stall import Waiting
from ..net.stream import WRITE_QUANTUM
from ..reasons import BY_PEER, CloseReason
from ..wire.framing import Buffer, count_frames
from ..wire.v3 import MAX_BODY, NO_DATAGRAMS, Kind
from .connection import ClientConnection
from .fairness.turns import OWED, PARKED
from .framing import PLAIN, Framing
from .shared import Shared

DATA = int(Kind.DATA)
MOST_SEALED = 1 << 17
"""Bytes of packets that are sealed before they are written."""


class Unsent(Holding):
    """Sealed bytes that the socket has not taken. They cannot be sealed again: who gives them up gives the connection
    up. What is waited for: see `net.stall`."""

    __slots__ = ("data", "touched", "unconfirmed")

    def __init__(self, budget: Budget, owner: object, data: bytes, now: float) -> None:
        super().__init__(budget, owner)
        self.unconfirmed = 1 << 62
        self.keep(data, now)

    @property
    def size(self) -> int:
        """How many."""
        return len(self.data)

    def keep(self, data: bytes, now: float) -> None:
        """It is these from now on, since the socket has taken some."""
        self.touched = now
        self.put(data)

    def put(self, data: bytes) -> None:
        """It is these from now on."""
        self.data = data
        self.hold(len(data) + CHUNK_COST if data else 0)


class SealedConnection(ClientConnection):
    """The sending side of a client of version 3. Subclasses read."""

    retains = True

    __slots__ = ("_pong", "flow", "framing", "unsent")

    def __init__(
        self, shared: Shared, sock: socket.socket, peer: str, source: Source | None, since: float, framing: Framing
    ) -> None:
        self.framing = None if framing.plain else framing
        self._pong: bytes | None = None  # to be sent
        self.unsent: Unsent | None = None
        self.flow: Flow
        """Set by who knows the handshake, before anything else."""
        super().__init__(shared, sock, peer, source, since, framing)

    @property
    def pinged(self) -> bool:  # type: ignore[override]
        """See Handler."""
        return self.framing is not None and self.framing.pinged

    @property
    def framing_name(self) -> str:
        """See ClientConnection."""
        return PLAIN if self.framing is None else self.framing.name

    @property
    def framing_state(self) -> bytes:
        """See ClientConnection."""
        return b"" if self.framing is None else self.framing.state()

    @property
    def queued(self) -> Queued | Coded | None:
        """See ClientConnection: that is a part of what is retained."""
        return None

    def move_out(self) -> None:
        """See ClientConnection."""
        if self.unsent is not None:
            self.unsent.put(b"")
            self.unsent = None
        super().move_out()

    def join(self, session: Session, source: Source) -> None:
        """See ClientConnection."""
        shared = self.shared
        session.delivery = self.flow.delivery
        if not shared.windows.count:
            shared.on_records(True)
        shared.windows.take_over(self.flow.shares.window)
        super().join(session, source)

    @property
    def delivery(self) -> Delivery:
        """See Creditor."""
        return self.flow.delivery

    # ---- writing

    def try_send(self, chunk: Chunk, packets: int = -1) -> bool:
        """See Link: at once where there is nothing before it and credit for all of it."""
        flow, sock, size, shared = self.flow, self.sock, len(chunk), self.shared
        if sock is None:
            return False
        if packets < 0:
            packets = count_frames(chunk)
        is_next = self.outbox is None and self.unsent is None and size <= MAX_BODY and size <= flow.credit - flow.sent
        if is_next and ((packets == 1 and flow.retention is None) or self._has_room(flow.retention, packets)):
            flow.keep_sent(chunk, packets, shared.budget, self)
            if 8 * (flow.granted - flow.received) < 7 * flow.shares.window:
                self._renew()
            record = flow.record(shared.space, DATA, chunk)
            self._push(record if self.framing is None else self.framing.encode(record))
            return True
        retention = flow.retain(shared.budget, self)
        retention.append(chunk, packets)
        self._show_outbox(retention)
        return self.try_flush()

    def try_send_views(self, views: Sequence[Chunk | memoryview], packets: int) -> bool:
        """See Link."""
        return self.try_send(b"".join(views), packets)

    def try_flush(self) -> bool:
        """See Stream: what is sealed, then as much of what waits as the client takes."""
        if self.sock is None:
            return False
        before = self.outbox
        if self._flush() and before is not None and self.sock is not None:
            self.on_relief()
        return self.sock is not None and self.outbox is None

    def _flush(self) -> bool:
        """Whether anything went out."""
        left = WRITE_QUANTUM
        while self.sock is not None and (self.unsent is None or self._push(self.unsent.data)):
            outbox = self.outbox
            if outbox is None or self.sock is None:
                break
            if left <= 0:
                if not outbox.scheduled:
                    outbox.scheduled = True
                    self.reactor.call_soon(self._go_on, self)
                break
            sealed = self._seal(cast(Retention, outbox))
            if not sealed:
                break  # it waits for acks, or credit
            left -= len(sealed)
            outbox.touched = self.reactor.now
            if not outbox.size:
                self.outbox = None
            self._send(sealed)
        if self.outbox is not None and self.sock is not None:
            self.on_pressure()
        if self.unsent is None:  # though there may be more that waits for credit
            self._say_pong()
            if self.flags & OWED:
                self.flags &= ~OWED
                self.settle(False)
        return left < WRITE_QUANTUM

    def _seal(self, outbox: Retention) -> bytes:
        """The next records of data: as many bytes as the credit allows for, up to a limit; none while the client has
        to say first what is safe with it."""
        flow = self.flow
        room = min(flow.credit - flow.sent, MOST_SEALED)
        if room <= 0 or not self._has_room(outbox, 1):
            return b""
        most = self.shared.pressure.limits.soft_packets - outbox.unacked
        if outbox.packets_at_most > most:
            room = min(room, outbox.span(most))
        self._renew()
        data = outbox.first(room)
        outbox.advance(len(data))
        space, pieces = self.shared.space, range(0, len(data), MAX_BODY)
        return b"".join([bytes(flow.record(space, DATA, data[at : at + MAX_BODY])) for at in pieces])

    def _has_room(self, retention: Retention | None, packets: int) -> bool:
        """Whether the client may have so many more on their way that it has not called safe. None: it has none, or a
        few."""
        limits = self.shared.pressure.limits
        if retention is None:
            return packets <= limits.soft_packets
        return retention.unacked + packets <= limits.soft_packets and retention.unacked_bytes < limits.hard_bytes

    def _show_outbox(self, retention: Retention) -> None:
        """Something is unsent there: for policies that is the outbox."""
        if self.outbox is None:
            self.outbox = retention
            retention.touched = self.reactor.now
            self.reactor.filled(self.sock)

    def _send(self, records: Buffer) -> None:
        """Core frames that are records, behind everything that was sealed before."""
        self._write(records if self.framing is None else self.framing.encode(records))

    @property
    def waiting(self) -> Waiting | None:
        """See Client."""
        return self.unsent or self.outbox

    def _unpark(self) -> None:
        """It has read all that was said to it."""
        if self.flags & PARKED:
            self.flags &= ~PARKED
            self.shared.turns.enqueue(self, False)

    def _write(self, words: Buffer) -> None:
        """Bytes of the wire."""
        if self.unsent is not None:
            self.unsent.put(self.unsent.data + bytes(words))
        else:
            self._push(words)

    def _push(self, words: Buffer) -> bool:
        """Write these; what the socket does not take is what is unsent then. Whether all of it went out."""
        sock = self.sock
        if sock is None:
            return False
        sent = 0
        try:
            sent = sock.send(words)
        except BlockingIOError:
            self.reactor.filled(sock)
        except OSError as error:
            self.close(CloseReason.PEER_LOST, str(error))
            return False
        if sent == len(words):
            if self.unsent is not None:
                self.unsent.put(b"")
                self.unsent = None
                self._unpark()
            return True
        if self.unsent is None:
            self.unsent = Unsent(self.shared.budget, self, bytes(words[sent:]), self.reactor.now)
            self.shared.pressure.watch(self)
        elif sent:
            self.unsent.keep(bytes(words[sent:]), self.reactor.now)
        self.reactor.filled(sock)
        return False

    def say(self, words: bytes) -> None:
        """Send bytes of the wire that its framing has to say. If it does not read what it asks for, it is not read
        either."""
        self._write(words)
        if self.unsent is not None and self.unsent.size > self.shared.pressure.park_above:
            self.flags |= PARKED

    def end_datagrams(self) -> None:
        """See ClientConnection."""
        if self.sock is not None:
            words = self.flow.record(self.shared.space, Kind.DATAGRAMS, NO_DATAGRAMS)
            self.say(bytes(words) if self.framing is None else self.framing.encode(words))

    def _say_pong(self) -> None:
        """Answer the last ping, unless what was sealed before waits: who does not read is not answered each time."""
        if self._pong is not None and self.unsent is None and self.sock is not None:
            pong, self._pong = self._pong, None
            self._send(self.flow.record(self.shared.space, Kind.PONG, pong))

    def offer_datagrams(self, asked: bytes) -> None:
        """The client asks for datagrams beside its stream."""
        session, shared = self.session, self.shared
        if session is not None:
            offer = self.flow.record(shared.space, Kind.DATAGRAMS, shared.hub.datagrams.answer(session, asked))
            self.say(bytes(offer) if self.framing is None else self.framing.encode(offer))

    # ---- acks and credit

    def settle(self, much: bool) -> bool:
        """See Creditor."""
        flow = self.flow
        if self.sock is None or self.unsent is not None:
            self.flags |= OWED  # there is no use in saying it before it can be said
            return True
        if self._is_short() or (flow.owes and (not much or flow.owes_much)):
            self._renew()
            self._send(flow.record(self.shared.space, Kind.ACK))
        return not flow.owes

    def _is_short(self) -> bool:
        """Whether the client has used half of what it may send ahead, and is to be told that it may send more."""
        flow, window = self.flow, self.flow.shares.window
        if 2 * (flow.granted - flow.received) > window:
            return False
        if self._is_held_back():
            self.shared.receipts.starve(self)
            return False
        return True

    def _renew(self) -> None:
        """Let the client send a window ahead, unless it is held back, or nearly can. What is sealed next says so."""
        flow, window = self.flow, self.flow.shares.window
        left = flow.granted - flow.received
        if left >= window - window // 8:
            return
        if self._is_held_back():
            self._is_short()  # it is told later, then
        else:
            flow.grant(self.shared.windows.renew(window, left))

    def _is_held_back(self) -> bool:
        """Whether the client is not to send, since too much waits for the master, or for itself."""
        outbox = self.outbox
        return self.shared.trunk.full or (outbox is not None and outbox.size > self.shared.pressure.park_above)

    def on_relief(self) -> None:
        """See Stream: it may be allowed to send again."""
        super().on_relief()
        self.settle(True)

    # ---- the end

    def leave_frames(self) -> list[tuple[Chunk, int]]:
        """See ClientConnection: what was sent and is not safe as well."""
        self.outbox = None
        return self.flow.give_up()

    def shed(self, holding: Holding) -> None:
        """See Owner."""
        if holding is self.unsent:  # its session has all that is in there, but for what was said between packets
            self.close(CloseReason.OUTBOX_SHED, f"{holding.held} bytes of memory")
            return
        if holding is self.flow.retention:
            self.outbox = self.flow.retention  # of which nothing may be unsent
        super().shed(holding)

    def say_end(self, sock: socket.socket, reason: CloseReason) -> None:
        """See Stream."""
        half_close(sock)

    def on_closed(self, sock: socket.socket, reason: CloseReason, detail: str) -> None:
        """See Stream. The client is told why, where no record is cut by that."""
        if self.unsent is not None:
            self.unsent.put(b"")
        else:
            words: Buffer = b""
            framing = self.framing
            if reason not in BY_PEER and reason is not CloseReason.BAD_RECORD:
                words = self.flow.record(self.shared.space, Kind.CLOSE, close_for(reason, self.delivery.taken))
            if framing is not None:
                words = (framing.encode(words) if words else b"") + framing.farewell(reason)
            if words:
                with suppress(OSError):
                    sock.send(words)
        self.shared.windows.close(self.flow.shares.window)
        if not self.shared.windows.count:
            self.shared.on_records(False)
        self.shared.receipts.forget(self)
        super().on_closed(sock, reason, detail)
