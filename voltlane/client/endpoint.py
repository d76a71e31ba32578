"""The client's side of version 3 (SPEC 10 to 18) as a state machine: bytes in, bytes out. No socket and no clock.

    endpoint.connect(now)                    # a new connection: the hello is in `endpoint.output`
    endpoint.receive(data, now)              # may move it to WELCOMED: keep the state, then
    endpoint.confirm(now)                    # it is LIVE
    endpoint.send(packet); endpoint.pump(now)
    endpoint.take(now)                       # what has come, one by one
    endpoint.tick(now)                       # at `endpoint.due`

Whatever is in `endpoint.output` is to be written, and deleted there as far as it was. `lost` ends a connection, at any
moment; the next `connect` goes on with the same memory.
"""

from __future__ import annotations

import enum
import hmac
from typing import Callable, NamedTuple

from ..errors import (
    BadNumbers,
    BadRecord,
    ConnectionLost,
    CreditExceeded,
    FrameTooLarge,
    MalformedRecord,
    ProtocolError,
    Unproven,
)
from ..wire import v3
from ..wire.framing import FrameBuffer, frame
from ..wire.noise import MESSAGE_MAX, Channel
from ..wire.v3 import Code, Kind, Retained
from .datagrams import Datagrams, Stage
from .handshake import Hellos
from .inbox import Item
from .memory import Memory, Present
from .options import Options

ACK_SECS = 0.05
"""How long an ack may wait for a record that takes it along."""
OUTPUT_BYTES = 256 << 10
"""Past so many bytes to be written no data is added: acks and pongs are not to stand behind megabytes."""


class Phase(enum.Enum):
    """Where a connection is."""

    OFFLINE = "there is none"
    HELLO = "the server's hello is awaited"
    PROVING = "the welcome is awaited"
    WELCOMED = "the welcome waits to be confirmed"
    LIVE = "data passes"
    CLOSED = "one side has said its last"


_SILENT = frozenset({Code.UNKNOWN_SESSION, Code.BAD_PROOF, Code.SUPERSEDED, Code.NO_SUITE, Code.NO_VERSION})
"""Who closes with one of these does not say what had arrived (SPEC 18)."""
_TELLING = frozenset({Code.ENDED, Code.KICKED, Code.EXPELLED, Code.OVERFLOW})
"""Of the others, those that are told to somebody who has proven the session, and was not welcomed."""


class Closed(NamedTuple):
    """What the server said last."""

    code: int
    text: str
    taken: int | None
    """The last of our packets that it has taken; None if it did not say."""
    safe: int | None


class Endpoint:
    """One session's, over all of its connections."""

    def __init__(self, memory: Memory, options: Options) -> None:
        self.memory = memory
        self.output = bytearray()
        """To be written."""
        self.phase = Phase.OFFLINE
        self.asked = False
        """Whether an opening record was sent: from then on the server may know the session."""
        self.closed: Closed | None = None
        """What the server said last on this connection."""
        self.datagrams = Datagrams()
        """They go beside it, and are asked for here."""
        self._pings = self.ponged = 0
        """The number of the last ping that was answered."""
        self._retained = options.retained
        self._window = options.window_bytes
        self._again = options.uncertain == "resend"
        self._heartbeat = options.heartbeat
        self._start()

    def _start(self) -> None:
        """What belongs to one connection."""
        self.output.clear()
        self.closed = None
        self.datagrams.begin()
        self._messages = FrameBuffer(MESSAGE_MAX)
        self._hellos: Hellos | None = None
        self._channel: Channel | None = None
        self._peer = Retained(0, 0)
        self._heard_credit = self._spent = 0  # theirs, for what we send
        self._told_credit = 0  # ours, for what they send
        self._ack = 0
        self._records = 0
        self._told_ack = 0
        self._told_bytes = self.memory.inbox.handed_bytes
        self._ack_at: float | None = None
        self._pong: bytes | None = None
        self._heard = self._silent_since = 0.0
        self._probed = False

    # ---- the connection

    def connect(self, now: float) -> None:
        """A new connection begins."""
        self._start()
        self.memory.inbox.begin()
        self._hellos = Hellos(self.memory.suite, self.memory.pins)
        self.output += frame(self._hellos.message)
        self.phase = Phase.HELLO
        self._heard = now

    def lost(self) -> None:
        """The connection is gone."""
        self._start()
        self.phase = Phase.OFFLINE

    def receive(self, data: bytes, now: float) -> None:
        """Bytes that have come.

        Raises ProtocolError (the server broke the protocol: what it is told is in the output; BadRecord: nothing),
        Refused, ServerKeyChanged, Unproven (it is not the server). The connection is over then.
        """
        self._heard, self._probed = now, False
        self._messages.feed(data)
        self._go_on(now)

    def confirm(self, now: float) -> None:
        """The welcome's secret is kept: say so, and go on."""
        self.memory.promote()
        self.phase = Phase.LIVE
        before = self._records
        self._go_on(now)
        if self._records == before and self.phase is Phase.LIVE:
            self._emit(Kind.ACK)

    def close(self, code: int, text: str = "") -> None:
        """Our last record; none before the welcome is confirmed, as it would confirm it."""
        if self.phase is Phase.LIVE:
            self._emit(Kind.CLOSE, v3.Close(code, self.memory.inbox.taken, text).encode())
        self.phase = Phase.CLOSED

    def _go_on(self, now: float) -> None:
        while self.phase not in (Phase.WELCOMED, Phase.CLOSED):
            try:
                message = self._messages.pop()
            except FrameTooLarge:
                self.phase = Phase.CLOSED
                raise
            if message is None:
                break
            try:
                self._on_message(message)
            except FrameTooLarge as error:
                self.close(Code.TOO_LARGE, str(error))
                raise
            except (BadRecord, ConnectionLost):
                self.phase = Phase.CLOSED
                raise
            except ProtocolError as error:
                self.close(Code.PROTOCOL, str(error))
                raise
        self.pump(now)

    def _on_message(self, message: bytes) -> None:
        if self.phase is Phase.HELLO:
            self._on_hello(message)
            return
        assert self._channel is not None
        record = self._channel.open(message)
        kind, ack, credit = v3.head_of(record)
        handler = _HANDLERS.get((self.phase, kind))
        if handler is None and (kind % 2 == 0 or kind in _KINDS):
            raise MalformedRecord(f"a record of kind {kind} came while {self.phase.value}")
        if self.phase is Phase.LIVE and kind != Kind.CLOSE:
            self._on_head(ack, credit)
        if handler is not None:
            handler(self, ack, credit, memoryview(record)[v3.HEAD_SIZE :])

    # ---- the handshake

    def _on_hello(self, message: bytes) -> None:
        assert self._hellos is not None
        agreed = self._hellos.answered(message)
        self._hellos = None  # and with it the key that the channel's are made of
        self._channel, self._peer = agreed.channel, agreed.limits.retained
        memory, inbox, retention = self.memory, self.memory.inbox, self.memory.retention
        self._told_credit = max(0, self._window - inbox.bytes)
        self.phase = Phase.PROVING
        self.asked = True
        present = memory.present
        if memory.client_id is None:
            self._emit(Kind.OPEN, v3.Open(memory.handle, present.secret, self._retained).encode())
            return
        resume = v3.Resume(
            id=memory.client_id,
            generation=present.generation,
            branch=present.branch,
            proof=v3.proof(present.secret, "client", self._channel.hash),
            epoch=present.epoch,
            taken=inbox.taken,
            sent=retention.sent,
            acked=retention.acked,
            retained=self._retained,
        )
        self._emit(Kind.RESUME, resume.encode())

    def _on_welcome(self, ack: int, credit: int, body: memoryview) -> None:
        assert self._channel is not None
        memory = self.memory
        welcome = v3.decode_welcome(bytes(body))
        if not hmac.compare_digest(welcome.proof, v3.proof(memory.present.secret, "server", self._channel.hash)):
            raise Unproven("who answers has not proven that it is the server of this session")
        if memory.client_id not in (None, welcome.id):
            raise MalformedRecord(f"client {memory.client_id} was welcomed as {welcome.id}")
        if welcome.generation <= memory.present.generation:
            raise MalformedRecord(f"a welcome of generation {welcome.generation}, behind {memory.present.generation}")
        forgot = memory.client_id is not None and welcome.epoch != memory.present.epoch
        uncertain = memory.retention.resume(welcome.taken, ack, forgot=forgot, ahead=memory.ahead, again=self._again)
        memory.inbox.tell(uncertain)
        memory.client_id = welcome.id
        memory.pending = Present(welcome.generation, welcome.branch, welcome.secret, welcome.epoch)
        self._heard_credit = credit
        self._ack = ack
        self.phase = Phase.WELCOMED

    # ---- records

    def _on_head(self, ack: int, credit: int) -> None:
        if ack < self._ack:
            raise BadNumbers(f"ack {ack} came behind {self._ack}")
        if credit < self._heard_credit:
            raise BadNumbers(f"credit {credit} came behind {self._heard_credit}")
        self._ack, self._heard_credit = ack, credit
        self.memory.retention.acknowledge(ack)

    def _on_data(self, ack: int, credit: int, body: memoryview) -> None:
        inbox = self.memory.inbox
        if inbox.received + len(body) > self._told_credit:
            raise CreditExceeded(
                f"{inbox.received + len(body)} bytes of data came, with credit for {self._told_credit}"
            )
        inbox.feed(body)

    def _on_gap(self, ack: int, credit: int, body: memoryview) -> None:
        self.memory.inbox.skip(*v3.decode_gap(bytes(body)))

    def _on_close(self, ack: int, credit: int, body: memoryview) -> None:
        close, memory = v3.decode_close(bytes(body)), self.memory
        told = close.code in _TELLING if self.phase is Phase.PROVING else close.code not in _SILENT
        self.closed = Closed(close.code, close.text, close.taken if told else None, ack if told else None)
        self.phase = Phase.CLOSED
        if told and memory.retention.acked < ack <= memory.retention.whole:
            memory.retention.acknowledge(ack)
        if not v3.may_return(close.code):
            memory.inbox.tell(memory.retention.give_up(close.taken if told else memory.retention.sent))

    def _on_ping(self, ack: int, credit: int, body: memoryview) -> None:
        if len(body) > v3.MAX_PING:
            raise MalformedRecord(f"a ping of {len(body)} bytes")
        self._pong = bytes(body)

    def _on_pong(self, ack: int, credit: int, body: memoryview) -> None:
        if len(body) == 4:
            self.ponged = max(self.ponged, int.from_bytes(body, "little"))

    def _on_datagrams(self, ack: int, credit: int, body: memoryview) -> None:
        self.datagrams.answered(v3.decode_datagrams(bytes(body)), self._heard)

    def _on_nothing(self, ack: int, credit: int, body: memoryview) -> None:
        """Its ack and its credit were all."""

    # ---- the application

    def send(self, packet: bytes) -> int:
        """Queue a packet, for which there must be room; its number. The next `pump` puts it into the output."""
        return self.memory.retention.add(packet)

    def take(self, now: float) -> Item | None:
        """What comes next, if it is there."""
        item = self.memory.inbox.take()
        if item is not None:
            self._owe(now)
        return item

    def acknowledge(self, now: float) -> None:
        """All that was taken is safe (where that is not said by taking it)."""
        self.memory.inbox.acknowledge()
        self._owe(now)

    def ping(self, now: float) -> int:
        """Ask for a pong; when it has come, `ponged` is at least this number."""
        self._pings += 1
        self._emit(Kind.PING, self._pings.to_bytes(4, "little"))
        return self._pings

    def _owe(self, now: float) -> None:
        if self._ack_at is None and self.memory.inbox.safe > self._told_ack:
            self._ack_at = now + ACK_SECS
        if self.phase is Phase.LIVE and (self._ack_is_due(now) or self._credit_is_due()):
            self.pump(now)

    # ---- what goes out

    @property
    def stuck(self) -> bool:
        """Whether there is something to send, and the server has no room for it."""
        return self.memory.retention.unsent and self._spent >= self._heard_credit

    @property
    def sendable(self) -> bool:
        """Whether there is something to send that the server has room for."""
        return self.memory.retention.unsent and self._spent < self._heard_credit

    def due(self, now: float) -> float | None:
        """When `tick` is needed, at the latest."""
        times = [] if self._ack_at is None or self.phase is not Phase.LIVE else [self._ack_at]
        if self._heartbeat is not None and self.phase is Phase.LIVE:
            times.append((self._silent_since if self._probed else self._heard) + self._heartbeat)
        return min(times, default=None)

    def tick(self, now: float) -> None:
        """Acks that were to wait no longer, and whether the server is still there. Raises ConnectionLost.

        Only when all that has come was received: a program may have been away for long.
        """
        if self.phase is not Phase.LIVE:
            return
        self.pump(now)
        if self._heartbeat is None or now - self._heard < self._heartbeat:
            return
        if not self._probed:
            self._probed, self._silent_since = True, now
            self.ping(now)
        elif now - self._silent_since >= self._heartbeat:
            raise ConnectionLost("the connection is lost: no sign of life from the server")

    def pump(self, now: float) -> None:
        """Put into the output what can go there."""
        if self.phase is not Phase.LIVE:
            return
        if self._pong is not None:
            body, self._pong = self._pong, None
            self._emit(Kind.PONG, body)
        if self.datagrams.stage is Stage.WANTED:
            self._emit(Kind.ASK, self.datagrams.ask(self.memory.present.secret))
        retention = self.memory.retention
        while retention.unsent and len(self.output) < OUTPUT_BYTES:
            if unused := retention.unused:
                retention.skip(unused[1])
                self._emit(Kind.GAP, v3.Gap(*unused, v3.Why.RESTART).encode())
            parts = retention.read(min(v3.MAX_BODY, self._heard_credit - self._spent))
            if not parts:
                break
            body = b"".join(parts)
            self._spent += len(body)
            self._emit(Kind.DATA, body)
        if self._ack_is_due(now) or self._credit_is_due():
            self._emit(Kind.ACK)

    def _ack_is_due(self, now: float) -> bool:
        inbox, peer = self.memory.inbox, self._peer
        if inbox.safe <= self._told_ack:
            return False
        return (
            (self._ack_at is not None and now >= self._ack_at)
            or 0 < peer.packets <= 4 * (inbox.safe - self._told_ack)
            or 0 < peer.size <= 4 * (inbox.handed_bytes - self._told_bytes)
        )

    def _credit_is_due(self) -> bool:
        """Half of the window can be opened again; or there is no room for the rest of a packet."""
        more = self._credit() - self._told_credit
        if 2 * more >= self._window:
            return True
        inbox = self.memory.inbox
        return more > 0 and inbox.partial and inbox.received == self._told_credit

    def _credit(self) -> int:
        """What may be under way, beyond what has come and does not wait for the application."""
        inbox = self.memory.inbox
        return max(self._told_credit, inbox.received - inbox.bytes + self._window)

    def _emit(self, kind: int, body: bytes = b"") -> None:
        assert self._channel is not None
        inbox = self.memory.inbox
        if self.phase is Phase.LIVE:
            self._told_credit = self._credit()
        self._told_ack, self._told_bytes, self._ack_at = inbox.safe, inbox.handed_bytes, None
        self.output += self._channel.seal_framed(v3.record(kind, inbox.safe, self._told_credit, body))
        self._records += 1


_KINDS = frozenset(Kind)
_HANDLERS: dict[tuple[Phase, int], Callable[[Endpoint, int, int, memoryview], None]] = {
    (Phase.PROVING, Kind.WELCOME): Endpoint._on_welcome,
    (Phase.PROVING, Kind.CLOSE): Endpoint._on_close,
    (Phase.LIVE, Kind.DATA): Endpoint._on_data,
    (Phase.LIVE, Kind.ACK): Endpoint._on_nothing,
    (Phase.LIVE, Kind.GAP): Endpoint._on_gap,
    (Phase.LIVE, Kind.CLOSE): Endpoint._on_close,
    (Phase.LIVE, Kind.PING): Endpoint._on_ping,
    (Phase.LIVE, Kind.PONG): Endpoint._on_pong,
    (Phase.LIVE, Kind.DATAGRAMS): Endpoint._on_datagrams,
}
"""What a record means, by where the connection is. A kind that is not there must not be there, unless it is unknown and
odd."""
