"""The connections of version 3, whatever their framing: a message is a record, and records carry a stream of packets.

What is sent to a client is kept until it says that it is safe; it is written as far as the client's credit goes. The
client is always read: acks and credit have to get through while packets may not (SPEC 16).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Callable, cast

from ..core.admission import Source
from ..core.budget import CHUNK_COST, Budget, Holding
from ..core.delivery import Agreement, Delivery, agree
from ..core.outbox import Chunk
from ..core.protocols.ends import close_for
from ..core.protocols.flow import Flow
from ..core.protocols.handshake import Handshake
from ..core.protocols.v3 import V3Handshake, confirm
from ..core.retention import Retention
from ..errors import BadNumbers, MalformedRecord, UnexpectedPacket
from ..net.poller import HANGUP, WRITE
from ..net.sockets import half_close
from ..net.stream import WRITE_QUANTUM
from ..reasons import BY_PEER, CloseReason
from ..wire.batch import retag
from ..wire.framing import PREFIX_SIZE, Buffer, count_frames, next_frame
from ..wire.noise import MESSAGE_MAX
from ..wire.tagged import HEADER, TAG_SIZE
from ..wire.v3 import (
    HEAD_SIZE,
    MAX_BODY,
    MAX_PING,
    Code,
    Kind,
    decode_close,
    decode_gap,
)
from .connection import ClientConnection
from .fairness.turns import ENDING, LOUD, METERED, NOTED, OWING, QUANTUM, UNPAUSED
from .framing import Framing
from .partial import LargeFrame, Partial, Rest, keep
from .shared import Shared

MOST_SEALED = 1 << 17
"""Bytes of packets that are sealed before they are written."""
_USUAL = ENDING | METERED | NOTED | OWING | UNPAUSED


class _Unsent(Holding):
    """Sealed bytes that the socket has not taken. Nobody is made to give them up: they cannot be sealed again."""

    __slots__ = ("data",)

    def __init__(self, budget: Budget, data: bytes) -> None:
        super().__init__(budget)
        self.keep(data)

    def keep(self, data: bytes) -> None:
        """It is these from now on."""
        self.data = data
        self.hold(len(data) + CHUNK_COST if data else 0)


class RecordConnection(ClientConnection):
    """A client that speaks version 3."""

    __slots__ = ("_framing", "_handshake", "_left", "_owed", "_packet", "_pong", "_unsent", "flow")

    def __init__(
        self, shared: Shared, sock: socket.socket, peer: str, source: Source | None, since: float, framing: Framing
    ) -> None:
        self._framing = None if framing.plain else framing
        self._handshake: V3Handshake | None = None
        self._left = False  # it has said that it will not come back
        self._packet: Partial | None = None  # the part of a packet that has come
        self._pong: bytes | None = None  # to be sent
        self._unsent: _Unsent | None = None
        self._owed = False  # something is to be told once that is out
        self.flow: Flow
        super().__init__(shared, sock, peer, source, since, framing)
        self.flags |= UNPAUSED
        shared.crowd(1)

    # ---- the session

    def begin(self, handshake: Handshake, unsent: bytes, rest: bytes) -> None:
        """See ClientConnection."""
        self._handshake = cast(V3Handshake, handshake)
        channel, limits, credit = self._handshake.channel, self._handshake.limits, self._handshake.credit
        self.flow = Flow(channel, limits, credit, self.shared.window, self._on_confirmed)
        super().begin(handshake, unsent, rest)
        self._handshake = None

    def finish_handshake(self, unsent: bytes, answer: bytes) -> None:
        """See ClientConnection."""
        if unsent:
            self._write(unsent)
        assert self._handshake is not None
        if self._handshake.session is None:
            self._enter([], 0)

    def take_behind(self, rest: bytes) -> None:
        """See ClientConnection."""
        raise UnexpectedPacket(f"{len(rest)} bytes in front of the welcome")

    def replay(self, chunks: list[tuple[Chunk, int]], counted: int = 0) -> int:
        """See Link."""
        return self._enter(chunks, counted)

    def _enter(self, chunks: list[tuple[Chunk, int]], counted: int) -> int:
        """Welcome the client, and send it what it has not taken of these. How many packets that is."""
        handshake, session, shared = self._handshake, self.session, self.shared
        assert handshake is not None and session is not None and session.delivery is not None
        delivery, claims, flow, kept = session.delivery, handshake.claims, self.flow, 0
        flow.delivery, flow.told = delivery, delivery.safe
        if chunks:
            retention = flow.retention = Retention(shared.budget, self)
            for chunk, packets in chunks:
                retention.append(chunk, packets)
            kept = retention.kept
        agreement = flow.agreement = agree(delivery, kept, claims)
        if flow.retention is not None:
            flow.retention.skip(agreement.skip)
        if claims is not None:
            flow.acked = claims.safe
            if claims.safe > delivery.floor and not agreement.new and flow.retention is not None:
                flow.retention.forget(claims.safe - delivery.floor)
                delivery.acked(claims.safe)
        words = flow.seal(Kind.WELCOME, handshake.welcome(session, agreement.taken))
        if agreement.uncertain is not None:
            words += flow.seal(Kind.UNCERTAIN, agreement.uncertain.encode())
        if agreement.gap is not None:
            words += flow.seal(Kind.GAP, agreement.gap.encode())
        self._send(words)
        if flow.retention is not None and flow.retention.size:
            self._show_outbox(flow.retention)
            flow.retention.exempt(counted)
            self.try_flush()
        return kept - agreement.skip

    def _on_confirmed(self, agreement: Agreement) -> None:
        session, shared = self.session, self.shared
        if session is not None:
            registry = shared.hub.registry
            registry.confirmed(session)
            confirm(session, registry.journal.renewed)
        if agreement.gap is not None:
            shared.counters.gaps += agreement.gap.last - agreement.gap.first + 1
        if agreement.uncertain is not None:
            shared.counters.uncertain += agreement.uncertain.last - agreement.uncertain.first + 1

    @property
    def delivery(self) -> Delivery:
        """See Creditor."""
        return self.flow.delivery

    # ---- reading

    def on_event(self, mask: int) -> None:
        """Read at once from who is quiet, whatever waits for the master."""
        if mask & WRITE:
            self.try_flush()
        if mask == WRITE or self.sock is None:
            return
        if mask & HANGUP:
            self.flags |= ENDING
        if self.flags & ~_USUAL:
            self.shared.turns.enqueue(self, False)
        else:
            self.on_readable()

    def on_readable(self) -> None:
        """Read one quantum."""
        if self.sock is not None:
            self.after_read(self.shared.meters.read(self) if self.flags & METERED else self.receive(QUANTUM))

    def receive(self, most: int) -> int:
        """See Client."""
        shared, sock, partial, start = self.shared, self.sock, self.partial, TAG_SIZE
        assert sock is not None
        try:
            if partial is None:
                received = sock.recv_into(shared.behind_tag, most)
            else:
                data = cast(Rest, partial).data
                start += len(data)
                shared.scratch[TAG_SIZE:start] = data
                received = sock.recv_into(shared.view[start : start + most])
        except BlockingIOError:
            received = -1
        self.flags = self.flags | LOUD if received == most else self.flags & ~LOUD
        if received > 0:
            shared.turns.spend(received)
            self._take(start + received)
        return received

    def _take(self, stop: int) -> None:
        """Take the whole records in the scratch buffer, and keep the part of one."""
        shared, framing = self.shared, self._framing
        scratch, view = shared.scratch, shared.view
        if framing is None:
            position = self._records(scratch, view, TAG_SIZE, stop)
        else:
            position, end = TAG_SIZE, -1
            while position != end and self.sock is not None and not framing.ended:
                end = position
                chunk, position = framing.decode(scratch, end, stop, MESSAGE_MAX)
                self._records(chunk, memoryview(chunk), 0, len(chunk))
            words = framing.take_reply()
            if words:
                self._write(words)
        if self.sock is None:
            return
        rest = bytes(view[position:stop])
        if rest or self.partial is not None:
            self.keep(Rest(shared.budget, self, rest) if rest else None)
        if framing is not None and framing.ended:
            self.close(CloseReason.PEER_CLOSED)

    def _records(self, buffer: Buffer, view: memoryview, position: int, stop: int) -> int:
        """Take every whole record in `buffer[position:stop]`. Where the part of one begins."""
        flow, more = self.flow, False
        while end := next_frame(buffer, position, stop, MESSAGE_MAX):
            kind, plaintext, some = flow.open(view[position + PREFIX_SIZE : end])
            more = more or some
            position = end
            if kind == Kind.DATA:
                self._data(cast(bytearray, plaintext))
            elif (step := _STEPS.get(kind)) is not None:
                step(self, bytes(plaintext[HEAD_SIZE:]))
            elif not kind & 1:
                raise MalformedRecord(f"a record of kind {kind}")
            if self.sock is None:
                return position
        if more and self.outbox is not None:
            self.try_flush()
        return position

    def _data(self, plaintext: bytes | bytearray) -> None:
        """The body of a data record: whole packets, and parts of some."""
        flow, size, start = self.flow, len(plaintext), HEAD_SIZE
        flow.spend(size - start)
        if self._packet is not None:
            if isinstance(self._packet, LargeFrame):
                start = self._fill(self._packet, memoryview(plaintext), start)
            else:
                plaintext = cast(Rest, self._packet).data + memoryview(plaintext)[start:]
                size, start = len(plaintext), 0
                self._keep_packet(None)
        shared = self.shared
        chunk, position, packets = retag(plaintext, start, size, self.client_id, shared.small)
        if packets:
            shared.trunk.push(chunk, packets)
            flow.delivery.taken += packets
        if position != size:
            trunk, view = shared.trunk, memoryview(plaintext)
            before = trunk.pushed
            position = self.pass_on(plaintext, view, position, size, self.client_id)
            flow.delivery.taken += trunk.pushed - before
            if position != size:
                self._keep_packet(keep(view[position:], shared.budget, self))
        shared.receipts.note(self)

    def _fill(self, large: LargeFrame, view: memoryview, position: int) -> int:
        """Add to a large packet, and pass it on when it is whole. Where what is behind it begins."""
        while position < len(view) and not large.complete:
            with large.space(len(view) - position) as space:
                size = len(space)
                space[:] = view[position : position + size]
            large.advance(size)
            position += size
        if large.complete:
            self._keep_packet(None)
            data = large.payload()
            self.shared.trunk.push_views([HEADER.pack(len(data) + TAG_SIZE, self.client_id, 0), data], 1)
            self.flow.delivery.taken += 1
        return position

    def _keep_packet(self, packet: Partial | None) -> None:
        if self._packet is not None:
            self._packet.hold(0)
        self._packet = packet

    def _gap(self, body: bytes) -> None:
        gap, delivery = decode_gap(body), self.delivery
        if self._packet is not None or gap.first > delivery.taken + 1:
            raise BadNumbers(f"a gap from {gap.first} on, behind packet {delivery.taken}")
        if gap.last > delivery.taken:
            self.shared.counters.gaps += gap.last - delivery.taken
            delivery.taken = gap.last
            self.shared.receipts.note(self)

    def _close(self, body: bytes) -> None:
        close = decode_close(body)
        self._left = close.code == Code.LEFT or 4500 <= close.code < 5000
        self.close(CloseReason.PEER_CLOSED)

    def _ping(self, body: bytes) -> None:
        if len(body) > MAX_PING:
            raise MalformedRecord(f"a ping of {len(body)} bytes; at most {MAX_PING} are allowed")
        self._pong = body
        self._say_pong()

    def _skip(self, body: bytes) -> None:
        """There is nothing to be done for it."""

    # ---- writing

    def try_send(self, chunk: Chunk, packets: int = -1) -> bool:
        """See Link: at once where there is nothing before it and credit for all of it."""
        flow = self.flow
        retention, size = flow.retention, len(chunk)
        if self.sock is None:
            return False
        if packets < 0:
            packets = count_frames(chunk)
        if self.outbox is None and self._unsent is None and size <= MAX_BODY and size <= flow.credit - flow.sent:
            if retention is None:
                retention = flow.retention = Retention(self.shared.budget, self)
            if self._has_room(retention):
                retention.add_sent(chunk, packets)
                self._renew()
                self._send(flow.seal_data(chunk))
                return True
        if retention is None:
            retention = flow.retention = Retention(self.shared.budget, self)
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
        while self.sock is not None and (self._unsent is None or self._push(self._unsent.data)):
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
        elif self._unsent is None:
            self._say_pong()
            if self._owed:
                self._owed = False
                self.settle(False)
        return left < WRITE_QUANTUM

    def _seal(self, outbox: Retention) -> bytes:
        """The next records of data: as many bytes as the credit allows for, up to a limit; none while the client has
        to say first what is safe with it."""
        flow = self.flow
        room = min(flow.credit - flow.sent, MOST_SEALED)
        if room <= 0 or not self._has_room(outbox):
            return b""
        self._renew()
        data = memoryview(b"".join(outbox.views()))[:room]
        outbox.advance(len(data))
        return b"".join([flow.seal_data(data[at : at + MAX_BODY]) for at in range(0, len(data), MAX_BODY)])

    def _has_room(self, retention: Retention) -> bool:
        """Whether the client may have more on its way that it has not called safe."""
        limits = self.shared.pressure.limits
        return retention.unacked < limits.soft_packets and retention.unacked_bytes < limits.hard_bytes

    def _show_outbox(self, retention: Retention) -> None:
        """Something is unsent there: for policies that is the outbox."""
        if self.outbox is None:
            self.outbox = retention
            retention.touched = self.reactor.now
            self.reactor.filled(self.sock)

    def _send(self, records: bytes) -> None:
        """Core frames that are records, behind everything that was sealed before."""
        self._write(records if self._framing is None else self._framing.encode(records))

    def _write(self, words: bytes) -> None:
        """Bytes of the wire."""
        if self._unsent is not None:
            self._unsent.keep(self._unsent.data + words)
        else:
            self._push(words)

    def _push(self, words: bytes) -> bool:
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
            if self._unsent is not None:
                self._unsent.keep(b"")
                self._unsent = None
            return True
        if self._unsent is None:
            self._unsent = _Unsent(self.shared.budget, words[sent:])
        elif sent:
            self._unsent.keep(words[sent:])
        self.reactor.filled(sock)
        return False

    def _say_pong(self) -> None:
        """Answer the last ping, unless what was sealed before waits: who does not read is not answered each time."""
        if self._pong is not None and self._unsent is None:
            pong, self._pong = self._pong, None
            self._send(self.flow.seal(Kind.PONG, pong))

    # ---- acks and credit

    def settle(self, much: bool) -> bool:
        """See Creditor."""
        flow = self.flow
        if self.sock is None or self._unsent is not None:
            self._owed = True  # there is no use in saying it before it can be said
            return True
        if flow.owes_much or self._is_short() or (flow.owes and not much):
            self._renew()
            self._send(flow.seal(Kind.ACK))
        return not flow.owes

    def _is_short(self) -> bool:
        """Whether the client has used up half of a window, and may send more; if it may not, it is told later."""
        flow, shared = self.flow, self.shared
        if 2 * (flow.received + shared.window - flow.granted) < shared.window:
            return False
        if self._is_held_back():
            shared.receipts.starve(self)
            return False
        return True

    def _renew(self) -> None:
        """Let the client send as much as a window holds, unless it is not to send now. What is sealed next says so."""
        flow = self.flow
        granted = flow.received + self.shared.window
        if granted > flow.granted and not self._is_held_back():
            flow.granted = granted

    def _is_held_back(self) -> bool:
        """Whether the client is not to send: too much waits for the master, or for itself."""
        outbox = self.outbox
        return self.shared.trunk.full or (outbox is not None and outbox.size > self.shared.pressure.park_above)

    def on_relief(self) -> None:
        """See Stream: it may be allowed to send again."""
        super().on_relief()
        if self.sock is not None and self.outbox is None:
            self.settle(True)

    # ---- the end

    @property
    def can_hand_over(self) -> bool:
        """See Link: what its old connection has brought and nobody has read, a client sends again."""
        return True

    def hand_over(self) -> tuple[list[tuple[Chunk, int]], int]:
        """See Link: nothing more is read here."""
        counted = 0 if self.outbox is None else self.outbox.counted
        self.leave_session()
        left = self.leave_frames()
        self.close(CloseReason.TAKEN_OVER)
        return left, counted

    def retire(self) -> None:
        """See ClientConnection: what it has sent and nobody has read, it sends to the next process."""
        self.close(CloseReason.SHUTDOWN)

    def read_out(self) -> None:
        """See ClientConnection: the same."""

    def leave_frames(self) -> list[tuple[Chunk, int]]:
        """See ClientConnection: what was sent and is not safe as well."""
        retention, self.flow.retention = self.flow.retention, None
        self.outbox = None
        return retention.take() if retention is not None else []

    def said_goodbye(self) -> bool:
        """See ClientConnection."""
        return self._left

    def shed(self, holding: Holding) -> None:
        """See Owner."""
        if holding is self._packet:
            self.close(CloseReason.FRAME_SHED, f"{holding.held} bytes of memory")
            return
        if holding is not self.partial:
            self.outbox = self.flow.retention
        super().shed(holding)

    def say_end(self, sock: socket.socket, reason: CloseReason) -> None:
        """See Stream."""
        half_close(sock)

    def on_closed(self, sock: socket.socket, reason: CloseReason, detail: str) -> None:
        """See Stream. The client is told why, where no record is cut by that."""
        if self._unsent is not None:
            self._unsent.keep(b"")
        elif reason not in BY_PEER and reason is not CloseReason.BAD_RECORD:
            words = self.flow.seal(Kind.CLOSE, close_for(reason, self.delivery.taken))
            with suppress(OSError):
                sock.send(words if self._framing is None else self._framing.encode(words))
        self._keep_packet(None)
        self.shared.crowd(-1)
        super().on_closed(sock, reason, detail)


_STEPS: dict[int, Callable[[RecordConnection, bytes], None]] = {
    Kind.ACK: RecordConnection._skip,
    Kind.GAP: RecordConnection._gap,
    Kind.CLOSE: RecordConnection._close,
    Kind.PING: RecordConnection._ping,
    Kind.PONG: RecordConnection._skip,
}
