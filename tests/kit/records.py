"""A client of version 3 in messages, pure: what it says and what it makes of what it hears. For sockets and for worlds.

session = Session()
endpoint = Endpoint(session)
out = endpoint.hello()              # then endpoint.receive(message) for each of the server's: messages to answer with
session.send(b"up"); out = endpoint.flush()
session.events == [b"down", Gap(2, 3, 2), ...]
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Union

from voltlane.wire.framing import FrameBuffer, frame
from voltlane.wire.noise import Channel, Initiator, KeyPair
from voltlane.wire.v3 import (
    HEAD_SIZE,
    MAX_BODY,
    Close,
    Gap,
    Hello,
    Kind,
    Open,
    Resume,
    Retained,
    Uncertain,
    clear_channel,
    decode_close,
    decode_gap,
    decode_refusal,
    decode_server_payload,
    decode_welcome,
    head_of,
    proof,
    record,
)

RETAINED = Retained(8192, 1 << 23)
WINDOW = 1 << 20
Event = Union[bytes, Gap, Uncertain]


class Session:
    """What outlives the connections of one client."""

    def __init__(self) -> None:
        self.handle, self.secret = os.urandom(16), os.urandom(32)
        self.generation = self.branch = 0
        self.id = 0
        self.epoch = 0
        self.taken = 0
        """The last packet of the server's that is here."""
        self.safe: int | None = None
        """What is said of that; all, unless a test wants something else."""
        self.acked = 0
        self.sent = 0
        """The last packet that went out."""
        self.packets: list[bytes] = []
        """All that are to be sent, by number less one."""
        self.events: list[Event] = []
        """What the application sees."""

    @property
    def ack(self) -> int:
        return self.taken if self.safe is None else self.safe

    @property
    def got(self) -> list[bytes]:
        """The packets of them."""
        return [event for event in self.events if isinstance(event, bytes)]

    def send(self, *packets: bytes) -> None:
        """They go out with the next `flush` of an endpoint."""
        self.packets += packets

    def copy(self) -> Session:
        """A client that has the same state, and goes on by itself."""
        other = Session()
        for name, value in vars(self).items():
            setattr(other, name, list(value) if isinstance(value, list) else value)
        return other


class Endpoint:
    """One connection of a session."""

    def __init__(self, session: Session, suite: int = 1, window: int = WINDOW, retained: Retained = RETAINED) -> None:
        self.session = session
        self.suite = suite
        self.retained = retained
        self.window = window
        """Credit beyond what has come; a test may change it, and `tell`."""
        self.channel: Channel
        self.server_key = b""
        self.ready = False
        """It was welcomed."""
        self.close: Close | None = None
        self.close_ack = 0
        self.refusal: tuple[int, str] | None = None
        self.pongs: list[bytes] = []
        self.offers: list[bytes] = []
        """What it was told of datagrams."""
        self.acks: list[int] = []
        """The server's, as they changed."""
        self.credit = 0
        self.alone = 0
        """How many acks came alone."""
        self.received = self.spent = 0
        self._next = 0
        self._last_ack = 0
        self._rest = b""  # of packets that are being sent
        self._stream = FrameBuffer(1 << 24)
        self._hello = Hello((suite,), b"")
        self._initiator: Initiator | None = None

    # ---- what it says

    def hello(self) -> bytes:
        ephemeral = KeyPair()
        self._hello = Hello((self.suite,), ephemeral.public)
        self._initiator = Initiator(self._hello.prologue, ephemeral)
        return self._hello.encode()

    def record(self, kind: int, body: bytes = b"", ack: int | None = None, credit: int | None = None) -> bytes:
        """A message; with another ack or credit than is right, if a test wants that."""
        said = self.session.ack if ack is None else ack
        allowed = self.received + self.window if credit is None else credit
        return bytes(self.channel.seal(record(kind, said, allowed, body)))

    def entry(self) -> bytes:
        """Open, or resume."""
        session = self.session
        if not session.id:
            return self.record(Kind.OPEN, Open(session.handle, session.secret, self.retained).encode())
        shown = proof(session.secret, "client", self.channel.hash)
        numbers = session.epoch, session.taken, session.sent, session.acked
        resume = Resume(session.id, session.generation, session.branch, shown, *numbers, self.retained)
        return self.record(Kind.RESUME, resume.encode())

    def flush(self) -> list[bytes]:
        """What is to be sent, as far as the credit goes: records that are full, if there is so much."""
        session, out = self.session, []
        while self.ready:
            while self._next < len(session.packets) and len(self._rest) < MAX_BODY:
                self._rest += frame(session.packets[self._next])
                self._next += 1
            body = self._rest[: min(MAX_BODY, self.credit - self.spent)]
            if not body:
                break
            self._rest = self._rest[len(body) :]
            self.spent += len(body)
            session.sent = max(session.sent, self._next)
            out.append(self.record(Kind.DATA, body))
        return out

    def tell(self) -> bytes:
        """An ack alone."""
        return self.record(Kind.ACK)

    # ---- what it hears

    def receive(self, message: bytes) -> list[bytes]:
        """The server's next message; what to answer with."""
        if self._initiator is not None:
            return self._on_hello(message)
        plaintext = bytes(self.channel.open(message))
        kind, ack, self.credit = head_of(plaintext)
        session, body = self.session, plaintext[HEAD_SIZE:]
        if kind not in (Kind.CLOSE, Kind.WELCOME):
            assert ack >= self._last_ack and ack <= session.sent, "an ack that goes back, or ahead"
            self._last_ack = ack
            if ack > session.acked:
                self.acks.append(ack)
                session.acked = ack
        if kind == Kind.DATA:
            assert self.ready
            self.received += len(body)
            self._stream.feed(body)
            for packet in self._stream:
                session.taken += 1
                session.events.append(packet)
        elif kind == Kind.ACK:
            self.alone += 1
        elif kind == Kind.WELCOME:
            return self._on_welcome(body, ack)
        elif kind == Kind.GAP:
            gap = decode_gap(body)
            assert gap.first == session.taken + 1, "a gap that does not begin where the packets end"
            session.taken = gap.last
            session.events.append(gap)
        elif kind == Kind.CLOSE:
            self.close = decode_close(body)
            self.close_ack = ack
        elif kind == Kind.PONG:
            self.pongs.append(body)
        elif kind == Kind.DATAGRAMS:
            self.offers.append(body)
        else:
            raise AssertionError(f"a record of kind {kind}")
        return self.flush()

    def _on_hello(self, message: bytes) -> list[bytes]:
        if message[1] == 0xFF:
            self.refusal = decode_refusal(message)
            return []
        initiator, self._initiator = self._initiator, None
        assert initiator is not None and message[0] == 0x56 and message[1] == self.suite
        if self.suite:
            self.channel, self.server_key, payload = initiator.finish(message[2:])
        else:
            self.channel, payload = clear_channel(self._hello.encode(), message), message[34:]
        self.payload = decode_server_payload(payload)
        assert self.payload.suite == self.suite
        return [self.entry()]

    def _on_welcome(self, body: bytes, ack: int) -> list[bytes]:
        session, welcome = self.session, decode_welcome(body)
        assert welcome.proof == proof(session.secret, "server", self.channel.hash)
        assert session.id in (0, welcome.id)
        if session.epoch not in (0, welcome.epoch):
            first = max(session.acked, ack) + 1
            if first <= welcome.taken:
                session.events.append(Uncertain(first, welcome.taken))
        session.id, session.epoch = welcome.id, welcome.epoch
        session.secret, session.generation, session.branch = welcome.secret, welcome.generation, welcome.branch
        session.acked, self._last_ack = max(session.acked, ack), ack
        session.sent = max(session.sent, welcome.taken)
        while len(session.packets) < welcome.taken:  # of an older state: numbers that were used by then
            session.packets.append(b"")
        self._next = welcome.taken
        self.ready = True
        return [self.tell(), *self.flush()]


def framed(messages: Iterable[bytes]) -> bytes:
    """As they stand in a stream."""
    return b"".join(map(frame, messages))
