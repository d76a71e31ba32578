"""The connections of version 3, whatever their framing: a message is a record, and records carry a stream of packets.

A client is always read: its acks and its credit have to get through while packets may not (SPEC 16).
"""

from __future__ import annotations

import socket
from functools import partial
from typing import Callable, cast

from ..core.admission import Source
from ..core.budget import Holding
from ..core.delivery import MOST, Agreement, Claims, agree, decode_delivery
from ..core.outbox import Chunk
from ..core.protocols.flow import Flow
from ..core.protocols.handshake import Handshake
from ..core.protocols.v3 import V3, V3Handshake, confirm
from ..core.session import Session
from ..errors import BadNumbers, FrameTooLarge, MalformedRecord, UnexpectedPacket
from ..net.poller import HANGUP, WRITE
from ..reasons import CloseReason
from ..wire.batch import retag
from ..wire.framing import PREFIX, PREFIX_SIZE, Buffer, next_frame
from ..wire.noise import MESSAGE_MAX, Channel
from ..wire.tagged import HEADER, HEADER_SIZE, TAG_SIZE
from ..wire.v3 import (
    HEAD_SIZE,
    MAX_PING,
    Code,
    Kind,
    decode_close,
    decode_gap,
)
from .fairness.turns import (
    ENDING,
    FIRST_QUANTUM,
    LEFT,
    LOUD,
    METERED,
    NOTED,
    OWED,
    OWING,
    PARKED,
    QUANTUM,
    SMOOTH,
    UNPAUSED,
)
from .framing import Framing
from .moved import Moved, Recorded, Unconfirmed
from .partial import LargeFrame, Partial, Rest, keep
from .sealed import SealedConnection, Unsent
from .shared import Shared

DATA, ACK = int(Kind.DATA), int(Kind.ACK)
_FIRST_MESSAGE = TAG_SIZE + PREFIX_SIZE
"""Where in the scratch buffer the first message stands, if nothing was kept in front of it."""
_LONGER = HEADER_SIZE - PREFIX_SIZE
"""Bytes by which the header of a packet to the master is longer than that of a client's."""
_size_at, _put_header = PREFIX.unpack_from, HEADER.pack_into
RECORD_COST = 1 << 10
"""Bytes that a record counts for in itself where turns are shared, be there nothing in it."""
READER = "records"
"""The batch reader of these connections: see `quiet_records`."""
_USUAL = ENDING | METERED | NOTED | OWING | OWED | UNPAUSED | SMOOTH


class RecordConnection(SealedConnection):
    """A client that speaks version 3."""

    batch_reader = READER
    protocol = "v3"

    __slots__ = ("_handshake", "packet")

    def __init__(
        self, shared: Shared, sock: socket.socket, peer: str, source: Source | None, since: float, framing: Framing
    ) -> None:
        self._handshake: V3Handshake | None = None
        self.packet: Partial | None = None  # the part of a packet that has come
        super().__init__(shared, sock, peer, source, since, framing)
        self.flags |= UNPAUSED

    # ---- the session

    def begin(self, handshake: Handshake, unsent: bytes, rest: bytes) -> None:
        """See ClientConnection."""
        self._handshake = cast(V3Handshake, handshake)
        channel, retained, credit = self._handshake.channel, self._handshake.retained, self._handshake.credit
        shared = self.shared
        if not shared.windows.count:
            shared.on_records(True)
        self.flow = Flow(channel, retained, credit, shared.windows.open())
        if shared.trunk.full:  # else who comes again and again has a window each time
            self.flow.granted = 0
        super().begin(handshake, unsent, rest)

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
        self._handshake = None
        assert handshake is not None and session is not None and session.delivery is not None
        delivery, claims, flow, kept = session.delivery, handshake.claims, self.flow, 0
        flow.delivery, flow.told = delivery, delivery.safe
        if chunks:
            retention = flow.retain(shared.budget, self)
            for chunk, packets in chunks:
                retention.append(chunk, packets)
            kept = retention.kept
        agreement = agree(delivery, kept, claims)
        delivery.taken = agreement.taken
        if agreement.uncertain is None and delivery.safe < delivery.taken:
            shared.receipts.note(self)  # an earlier connection has brought it, and the master not taken it yet
        self._catch_up(agreement, claims)
        words = bytes(flow.record(shared.space, Kind.WELCOME, handshake.welcome(session, agreement.taken)))
        self._await_confirmation(Unconfirmed(handshake.branch, agreement.uncertain))
        if agreement.gap is not None:
            shared.counters.gap(V3.name)
            words += flow.record(shared.space, Kind.GAP, agreement.gap.encode())
        self._send(words)
        if not flow.granted:
            self.settle(True)
        if flow.retention is not None and flow.retention.size:
            self._show_outbox(flow.retention)
            flow.retention.exempt(counted)
            self.try_flush()
        return kept - agreement.skip

    def _catch_up(self, agreement: Agreement, claims: Claims | None) -> None:
        """What the client has need not be sent; what is safe with it need not be kept."""
        flow, delivery = self.flow, self.flow.delivery
        retention = flow.retention
        if claims is not None:
            flow.acked = claims.safe
        if retention is None:
            return
        retention.skip(agreement.skip)
        if claims is not None and claims.safe > delivery.floor:
            retention.forget(claims.safe - delivery.floor)
            delivery.acked(claims.safe)
        if not retention.kept:
            flow.retention = None

    def _await_confirmation(self, unconfirmed: Unconfirmed) -> None:
        self.flow.on_confirmed = partial(self._on_confirmed, unconfirmed)

    def _on_confirmed(self, unconfirmed: Unconfirmed) -> None:
        """The client has its welcome."""
        session, shared, uncertain = self.session, self.shared, unconfirmed.uncertain
        if session is not None:
            confirm(session, unconfirmed.branch, shared.hub.registry)
        if uncertain is not None:  # it is told, and so it is settled
            shared.counters.uncertain += uncertain.last - uncertain.first + 1
            shared.receipts.note(self)

    # ---- from one process to another

    @property
    def _unconfirmed(self) -> Unconfirmed | None:
        waits = cast("partial[None] | None", self.flow.on_confirmed)
        return None if waits is None else cast(Unconfirmed, waits.args[0])

    @property
    def recorded(self) -> Recorded | None:
        """See ClientConnection."""
        return Recorded(
            self.flow.flowing(),
            b"" if self.unsent is None else self.unsent.data,
            self._pong,
            self._unconfirmed,
            b"" if self.packet is None else self.packet.received,
            self.flow.delivery.encode(),
        )

    def move_in(self, moved: Moved, session: Session) -> None:
        """See ClientConnection."""
        shared, recorded = self.shared, cast(Recorded, moved.recorded)
        shares = recorded.flow.shares
        flow = self.flow = Flow(Channel(b"", b"", b""), shares.retained, shares.credit, shares.window)
        flow.go_on_from(recorded.flow, shared.budget, self)
        flow.delivery = session.delivery = decode_delivery(recorded.delivery)
        if recorded.unconfirmed is not None:
            self._await_confirmation(recorded.unconfirmed)
        if self.framing is not None:
            self.framing.restore(moved.framing_state)
        super().move_in(moved._replace(received=b""), session)
        if moved.received:
            self.keep(Rest(shared.budget, self, moved.received))
        if recorded.packet:
            self.packet = keep(memoryview(recorded.packet), shared.budget, self)
        self._pong = recorded.pong
        if recorded.unsent:
            self.unsent = Unsent(shared.budget, self, recorded.unsent, self.reactor.now)
        if flow.retention is not None and flow.retention.size:
            self._show_outbox(flow.retention)

    def move_out(self) -> None:
        """See ClientConnection."""
        self._keep_packet(None)
        super().move_out()

    def wake(self) -> None:
        """See ClientConnection."""
        super().wake()
        if self.sock is None:
            return
        shared, delivery, unconfirmed = self.shared, self.delivery, self._unconfirmed
        if self.unsent is not None:
            shared.pressure.watch(self)
            if self.framing is not None and self.unsent.size > shared.pressure.park_above:
                self.flags |= PARKED
        if unconfirmed is None or unconfirmed.uncertain is None:
            if delivery.taken > self.flow.told:
                shared.receipts.note(self)
            self.settle(True)

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

    def take(self, received: int) -> None:
        """So much was received for it, behind the place for a tag, where nothing was kept."""
        self._received(TAG_SIZE, received, FIRST_QUANTUM)
        self.after_read(received)

    def take_record(self, stop: int) -> None:
        """The same, up to there, and it is one record: mostly one small packet."""
        shared, flow = self.shared, self.flow
        kind, buffer, start, stop = flow.read(shared.space, shared.scratch, _FIRST_MESSAGE, stop)
        size = stop - start - PREFIX_SIZE
        if kind == DATA and 0 <= size <= shared.quiet and self.packet is None and size == _size_at(buffer, start)[0]:
            flow.received += size + PREFIX_SIZE
            if flow.received > flow.granted:
                flow.spend(0)
            start -= _LONGER  # its head is not needed any more: the other header goes in front of it, where it is
            _put_header(buffer, start, size + TAG_SIZE, self.client_id, 0)
            shared.trunk.staged.append(cast(bytes, buffer[start:stop]))
            flow.delivery.taken += 1
            if not self.flags & NOTED:
                shared.receipts.note(self)
        elif kind == DATA:
            flow.spend(stop - start)
            self._packets(buffer, start, stop)
        elif kind != ACK:
            self._control(kind, buffer, start, stop)
            self._say_pong()

    def receive(self, most: int) -> int:
        """See Client."""
        shared, sock, partial, start = self.shared, self.sock, self.partial, TAG_SIZE
        assert sock is not None
        if self.framing is not None:
            most = min(most, self.quantum_of(self.framing))
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
        self._received(start, received, most)
        return received

    def _received(self, start: int, received: int, most: int) -> None:
        """A recv for `most` bytes behind what was kept: who filled it is loud, since there may be more."""
        self.flags = self.flags | LOUD if received == most else self.flags & ~LOUD
        if received > 0:
            self.shared.turns.spend(received)
            self._take(start + received)
            if self.framing is not None and self.framing.laborious:
                self.charge_labour(self.framing, received)

    def _take(self, stop: int) -> None:
        """Take the whole records in the scratch buffer, and keep the part of one."""
        shared, framing = self.shared, self.framing
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
                self.say(words)
        if self.sock is None:
            return
        rest = bytes(view[position:stop])
        if rest or self.partial is not None:
            self.keep(Rest(shared.budget, self, rest) if rest else None)
        if framing is not None and framing.ended:
            self.close(CloseReason.PEER_CLOSED)

    def _records(self, buffer: Buffer, view: memoryview, position: int, stop: int) -> int:
        """Take every whole record in `buffer[position:stop]`. Where the part of one begins.

        The bodies of data records that follow each other are put together: what is done to packets is done for all of
        them at once.
        """
        flow, space, filled, records = self.flow, self.shared.space, HEAD_SIZE, 0
        while end := next_frame(buffer, position, stop, MESSAGE_MAX):
            kind, body, start, last = flow.read(space, buffer, position + PREFIX_SIZE, end, filled)
            position = end
            records += 1
            if kind == DATA:
                flow.spend(last - start)
                if body is not space.opened:
                    if end == stop and filled == HEAD_SIZE:
                        self._packets(body, start, last)
                        continue
                    space.view[filled : filled + last - start] = view[start:last]
                    last = filled + last - start
                filled = last
                continue
            if filled > HEAD_SIZE:
                rest = bytes(body[start:last])
                self._packets(space.opened, HEAD_SIZE, filled)
                body, start, last, filled = rest, 0, len(rest), HEAD_SIZE
            self._control(kind, body, start, last)
            if self.sock is None:
                return position
        self.shared.turns.spend(records * RECORD_COST)
        if filled > HEAD_SIZE:
            self._packets(space.opened, HEAD_SIZE, filled)
        if self.outbox is not None and self.sock is not None:  # there may be credit for it now
            self.try_flush()
        self._say_pong()
        return position

    def _control(self, kind: int, buffer: Buffer, start: int, stop: int) -> None:
        """A record that is no data, whose body stands there."""
        if (step := _STEPS.get(kind)) is not None:
            step(self, bytes(buffer[start:stop]))
        elif not kind & 1:
            raise MalformedRecord(f"a record of kind {kind}")

    def _packets(self, buffer: Buffer, start: int, stop: int) -> None:
        """A piece of the stream of packets: whole ones, and parts of some."""
        flow, shared = self.flow, self.shared
        if self.packet is not None:
            start = self._complete(self.packet, memoryview(buffer)[:stop], start)
        chunk, position, packets = retag(cast(bytes, buffer), start, stop, self.client_id, shared.small)
        if packets:
            shared.trunk.push(chunk, packets)
            flow.delivery.taken += packets
        if position != stop:
            trunk, view = shared.trunk, memoryview(buffer)
            before = trunk.pushed
            position = self.pass_on(cast(bytes, buffer), view, position, stop, self.client_id)
            flow.delivery.taken += trunk.pushed - before
            if position != stop:
                self._keep_packet(keep(view[position:stop], shared.budget, self))
        if not self.flags & NOTED:
            shared.receipts.note(self)

    def _complete(self, part: Partial, view: memoryview, start: int) -> int:
        """Add to the part of a packet, and pass it on when it is whole. Where what is behind it begins."""
        if isinstance(part, LargeFrame):
            return self._fill(part, view, start)
        data = cast(Rest, part).data
        while True:
            needed = PREFIX_SIZE if len(data) < PREFIX_SIZE else PREFIX_SIZE + _size_at(data)[0]
            if needed - PREFIX_SIZE > self.shared.packet_size_limit:
                raise FrameTooLarge(needed - PREFIX_SIZE, self.shared.packet_size_limit)
            missing = needed - len(data)
            data += view[start : start + missing]
            start = min(start + missing, len(view))
            if len(data) < needed:
                self._keep_packet(keep(memoryview(data), self.shared.budget, self))
                return start
            if needed > PREFIX_SIZE or not _size_at(data)[0]:
                break
        self._keep_packet(None)
        self.shared.trunk.push(HEADER.pack(needed - PREFIX_SIZE + TAG_SIZE, self.client_id, 0) + data[PREFIX_SIZE:], 1)
        self.flow.delivery.taken += 1
        return start

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
        if self.packet is not None:
            self.packet.hold(0)
        self.packet = packet

    def _gap(self, body: bytes) -> None:
        gap, delivery = decode_gap(body), self.delivery
        if self.packet is not None or gap.first > delivery.taken + 1 or gap.last > MOST:
            raise BadNumbers(f"a gap from {gap.first} to {gap.last}, behind packet {delivery.taken}")
        if gap.last > delivery.taken:
            self.shared.counters.gap(V3.name)
            delivery.taken = gap.last
            self.shared.receipts.note(self)

    def _close(self, body: bytes) -> None:
        close = decode_close(body)
        if close.code == Code.LEFT or 4500 <= close.code < 5000:
            self.flags |= LEFT
        self.close(CloseReason.PEER_CLOSED)

    def _ping(self, body: bytes) -> None:
        if len(body) > MAX_PING:
            raise MalformedRecord(f"a ping of {len(body)} bytes; at most {MAX_PING} are allowed")
        self._pong = body  # of several that came together the last is answered

    def _skip(self, body: bytes) -> None:
        """There is nothing to be done for it."""

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

    def retire(self, reason: CloseReason) -> None:
        """See ClientConnection: what it has sent and nobody has read, it sends to the next process."""
        self.close(reason)

    def read_out(self) -> None:
        """See ClientConnection: the same."""

    def shed(self, holding: Holding) -> None:
        """See Owner."""
        if holding is self.packet:
            self.close(CloseReason.FRAME_SHED, f"{holding.held} bytes of memory")
        else:
            super().shed(holding)

    def on_closed(self, sock: socket.socket, reason: CloseReason, detail: str) -> None:
        """See Stream."""
        self._keep_packet(None)
        super().on_closed(sock, reason, detail)


_STEPS: dict[int, Callable[[RecordConnection, bytes], None]] = {
    Kind.ACK: RecordConnection._skip,
    Kind.GAP: RecordConnection._gap,
    Kind.CLOSE: RecordConnection._close,
    Kind.PING: RecordConnection._ping,
    Kind.PONG: RecordConnection._skip,
    Kind.ASK: RecordConnection.offer_datagrams,
}
