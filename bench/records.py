"""Voltlane's protocol v3 as the generator's clients speak it (SPEC 10 to 18): records around the stream of packets.

A record holds what is sent together, and is sealed at once. Acks go with what is sent anyway; alone, when a quarter of
what the server retains is safe, or else every `SETTLE_SECS`.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from voltlane.errors import VoltlaneError
from voltlane.wire import v3
from voltlane.wire.framing import next_frame
from voltlane.wire.noise import MESSAGE_MAX, Channel, Initiator, KeyPair
from voltlane.wire.v3 import HEAD, HEAD_SIZE, MAX_BODY, Kind, Retained, Suite

from .wires import Fault, Line, Piece, Wire, lost

WINDOW = 1 << 20
"""Bytes of data that the server may send ahead, to one client."""
RETAINED = Retained(packets=65536, size=8 << 20)
"""What a client says that it retains, as the library does."""
RECEIVE = 1 << 16
_EPHEMERAL = KeyPair()
"""One for all: for the server it is the same, and that it is new each time is no matter here."""


class Greeting:
    """The client's side of the handshake up to where records begin, under one suite."""

    def __init__(self, suite: Suite, ephemeral: KeyPair = _EPHEMERAL) -> None:
        self.suite = suite
        self._ephemeral = ephemeral
        random = ephemeral.public if suite is Suite.NOISE else os.urandom(v3.RANDOM_SIZE)
        self.hello = v3.Hello((suite,), random)

    def meet(self, message: bytes, known: bytes) -> tuple[Channel, v3.ServerPayload, bytes]:
        """The server's hello: the channel, what it says, and the server's key, which must be the known one, if any."""
        if message[:2] != bytes((v3.MAGIC, self.suite)):
            raise Fault(f"instead of the server's hello came {message[:60]!r}")
        server = b""
        try:
            if self.suite is Suite.NOISE:
                initiator = Initiator(self.hello.prologue, self._ephemeral)
                channel, server, data = initiator.finish(message[2:])
            else:
                channel = v3.clear_channel(self.hello.encode(), message)
                data = message[2 + v3.RANDOM_SIZE :]
            payload = v3.decode_server_payload(data)
        except VoltlaneError as error:
            raise Fault(f"the server's hello is none: {error}") from None
        if payload.suite != self.suite:
            raise Fault(f"the server says it is suite {payload.suite}")
        if known not in (b"", server):
            raise Fault("the server has another key")
        return channel, payload, server


class Session:
    """What a client knows of its session, beyond its connections."""

    __slots__ = ("acked", "branch", "epoch", "generation", "id", "secret", "sent", "server", "taken")

    def __init__(self, secret: bytes) -> None:
        self.id = 0
        self.secret = secret
        self.generation = self.branch = 0
        self.epoch = 0
        self.server = b""
        """Its public key, under suite 1."""
        self.sent = self.acked = self.taken = 0
        """Packets, by number."""


class V3(Wire):
    """Version 3, under one suite."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.name = f"voltlane 3, suite {suite.value}"

    def line(self, sock: socket.socket, index: int, first: bytes, session: Any = None) -> Line:
        return RecordLine(self, sock, index, first, session)


class RecordLine(Line):
    """One connection."""

    __slots__ = (
        "_acked",
        "_channel",
        "_credit",
        "_greeting",
        "_half",
        "_initiator",
        "_known",
        "_open",
        "_quarter",
        "_received",
        "_resuming",
        "_seal",
        "_sent",
        "_told",
        "_told_before",
        "_told_received",
        "_unsent",
    )
    wire: V3

    def __init__(self, wire: V3, sock: socket.socket, index: int, first: bytes, session: Session | None) -> None:
        super().__init__(wire, sock, index, first)
        self._resuming = session is not None
        self.session: Session = session or Session(os.urandom(v3.SECRET_SIZE))
        self._channel: Channel | None = None
        self._unsent: bytes | memoryview = b""
        self._sent = self._credit = 0  # bytes of data bodies
        self._received = self._told_received = 0
        self._told = self.session.taken  # packets
        self._told_before = -1  # the same when that was looked at last
        self._quarter = 1

    # ---- the handshake

    def _begin(self) -> bytes:
        self._greeting = Greeting(self.wire.suite)
        return self.wire.frame(self._greeting.hello.encode())

    def _go_on(self) -> bool:
        for message in self._messages():
            if self._channel is None:
                self._meet(message)
            else:
                kind, body = self._record(message)
                if kind != Kind.WELCOME:
                    raise Fault(f"instead of a welcome came {_told(kind, body)}")
                self._enter(v3.decode_welcome(body))
                return True
        return False

    def _meet(self, message: bytes) -> None:
        """The server's hello is there: ask for a session."""
        session = self.session
        channel, payload, session.server = self._greeting.meet(message, session.server)
        self._quarter = max(1, payload.limits.retained.packets // 4)
        self._channel, self._seal, self._open = channel, channel.seal, channel.open
        if self._resuming:
            shown = v3.proof(session.secret, "client", channel.hash)
            numbers = session.taken, session.sent, session.acked
            asked = v3.Resume(session.id, session.generation, session.branch, shown, session.epoch, *numbers, RETAINED)
            self._say(self._words(Kind.RESUME, asked.encode()))
        else:
            asked_new = v3.Open(os.urandom(v3.HANDLE_SIZE), session.secret, RETAINED)
            self._say(self._words(Kind.OPEN, asked_new.encode()))

    def _enter(self, welcome: v3.Welcome) -> None:
        """Confirm it with the first packet; what was lost of those that former lines have sent, goes before it."""
        session = self.session
        assert self._channel is not None
        if welcome.proof != v3.proof(session.secret, "server", self._channel.hash):
            raise Fault("the server's proof is wrong")
        if self._resuming and (welcome.id, welcome.epoch) != (session.id, session.epoch):
            raise Fault(f"session {session.id} was resumed as {welcome.id}, or the server has lost its memory")
        if welcome.taken > session.sent:
            raise Fault(f"the server has taken {welcome.taken} packets, {session.sent} were sent")
        session.id, session.epoch = welcome.id, welcome.epoch
        session.generation, session.branch, session.secret = welcome.generation, welcome.branch, welcome.secret
        body = self._first * (session.sent - welcome.taken + 1)
        session.sent += 1
        self._sent = len(body)
        self._say(self._words(Kind.DATA, body))

    # ---- the stream

    @property
    def room(self) -> int:  # type: ignore[override]
        return self._credit - self._sent

    def send(self, first: Piece, second: Piece = b"") -> int:
        self._push()
        body = b"".join((first, second))[: self._credit - self._sent]
        if not body or self._unsent:
            raise BlockingIOError
        size = len(body)
        self._sent += size
        if size <= MAX_BODY:
            words: bytes | memoryview = self._words(Kind.DATA, body)
        else:
            view = memoryview(body)
            words = b"".join([self._words(Kind.DATA, view[at : at + MAX_BODY]) for at in range(0, size, MAX_BODY)])
        self._unsent = words
        self._push()
        return size

    def receive(self, buffer: bytearray) -> int:
        try:
            data = self.sock.recv(RECEIVE)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise lost(error) from None
        if not data:
            raise Fault("the server closed a client's connection")
        if self._got:
            data = self._got + data
        view, position, stop, size = memoryview(data), 0, len(data), 0
        while end := next_frame(data, position, stop, MESSAGE_MAX):
            kind, body = self._record(view[position + 4 : end])
            position = end
            if kind == Kind.DATA:
                buffer[size : size + len(body)] = body
                size += len(body)
            elif kind != Kind.ACK:
                raise Fault(f"a client got {_told(kind, bytes(body))}")
        self._got = data[position:]
        self._received += size
        return size

    def took(self, packets: int) -> None:
        self.session.taken = packets
        if packets - self._told >= self._quarter or 2 * (self._received - self._told_received) >= WINDOW:
            self._tell()

    def settle(self) -> None:
        if self.session.taken > self._told == self._told_before:
            self._tell()
        self._told_before = self._told
        self._push()

    def finish(self, rest: Piece, secs: float) -> None:
        self.sock.settimeout(secs)
        if len(rest) > self.room:
            raise Fault(f"a client has no credit for the {len(rest)} bytes that are left of its last packet")
        self._push()
        if rest:
            self.send(rest)

    # ---- records

    def _words(self, kind: int, body: Piece = b"") -> bytes:
        """A record, as it goes on the wire."""
        self._told, self._told_received = self.session.taken, self._received
        message = self._seal(HEAD.pack(kind, self._told, self._received + WINDOW) + body)
        return len(message).to_bytes(4, "little") + message

    def _record(self, message: Piece) -> tuple[int, memoryview]:
        """Kind and body; what every record tells is noted."""
        try:
            plaintext = self._open(message)
            kind, acked, credit = v3.head_of(bytes(plaintext[:HEAD_SIZE]))
        except VoltlaneError as error:
            raise Fault(f"a client got what is no record: {error}") from None
        session = self.session
        if acked < session.acked or credit < self._credit:
            raise Fault(f"behind ack {session.acked} and credit {self._credit} came {acked} and {credit}")
        session.acked, self._credit = acked, credit
        return kind, memoryview(plaintext)[HEAD_SIZE:]

    def _tell(self) -> None:
        if not self._unsent:
            self._unsent = self._words(Kind.ACK)
            self._push()

    def _push(self) -> None:
        """Send what is sealed, as far as it goes."""
        while self._unsent:
            try:
                self._unsent = memoryview(self._unsent)[self.sock.send(self._unsent) :]
            except BlockingIOError:
                return
            except OSError as error:
                raise lost(error) from None


def _told(kind: int, body: bytes) -> str:
    if kind == Kind.CLOSE:
        close = v3.decode_close(bytes(body))
        return f"a close, {close.code}: {close.text}"
    return f"a record of kind {kind}"
