"""One connection of a client of the lossless soak: the records of version 3 (SPEC 10 to 18), up to its cut."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Callable, Protocol

from bench.records import Greeting
from bench.wires import Fault
from voltlane.errors import VoltlaneError
from voltlane.wire import v3
from voltlane.wire.framing import PREFIX_SIZE, frame, next_frame
from voltlane.wire.noise import MESSAGE_MAX, Channel
from voltlane.wire.v3 import HEAD_SIZE, Kind, Suite

from .cuts import CLOSE, HALF, OVER, UNCUT, Cut, end

RECEIVE = 1 << 16
AHEAD = 1 << 16
"""Bytes of packets that are taken out of what is kept before they are sealed."""


class Traveller(Protocol):
    """Whose connection it is: the session."""

    server: bytes
    acked: int
    sent: int
    taken: int
    safe: int
    kept: Sequence[bytes]
    first: int

    @property
    def said(self) -> int:
        """The number of the last packet that there is to send."""
        ...

    def entry(self, channel: Channel) -> tuple[int, bytes]: ...
    def enter(self, welcome: v3.Welcome, transcript: bytes, ack: int) -> None: ...
    def on_ack(self, acked: int) -> None: ...
    def on_packet(self, payload: bytes) -> None: ...
    def on_gap(self, gap: v3.Gap) -> None: ...
    def on_close(self, close: v3.Close) -> None: ...
    def on_end(self, cut: Cut | None, left: bool) -> None: ...


class Passage:
    """See the module's docstring. `until`: when the cut is due, whatever was sent by then."""

    def __init__(
        self, traveller: Traveller, sock: socket.socket, cut: Cut, until: float, suite: Suite, window: int,
        retained: int, most: int, drop: Callable[[Passage, bool], None],
    ) -> None:  # fmt: skip
        """`retained`: how many packets may be on their way; `most`: bytes of a record's body; `drop` is told when the
        socket is nobody's any more, and whether it is to be left open for a while."""
        self.traveller = traveller
        self.sock = sock
        self.until = until
        self._cut = cut
        self._over = False  # nothing of it counts any more
        self._ending = False  # our half is over
        self._left = False  # for good
        self._greeting = Greeting(suite)
        self._channel: Channel | None = None
        self._welcomed = False
        self._window = window
        self._retained = retained or 1 << 62
        self._most = most
        self._drop = drop
        self._got = b""
        self._unsent = frame(self._greeting.hello.encode())
        self._out = self._in = 0  # bytes of the wire
        self._next = 0  # the number of the next packet to send
        self._pending = bytearray()  # packets that were begun on this connection
        self._credit = self._spent = 0
        self._received = self._told_received = 0
        self._told = -1  # the ack
        self._acked = 0
        self._stream = b""

    # ---- sending

    @property
    def has_to_write(self) -> bool:
        """Whether something waits for the socket."""
        return bool(self._unsent)

    def write(self) -> None:
        """Send what there is to be said, up to the cut."""
        while self._open and (self._unsent or self._fill()):
            piece = self._unsent[: max(0, self._cut.after_sent - self._out)]
            if not piece:
                self.cut()
                return
            try:
                sent = self.sock.send(piece)
            except BlockingIOError:
                return
            except OSError:
                self._closed()
                return
            self._out += sent
            self._unsent = self._unsent[sent:]
        if self._left and self._open:
            self._ending = True
            end(self.sock, HALF)

    @property
    def _open(self) -> bool:
        return not self._ending and not self._over

    def _fill(self) -> bool:
        """The next record of data, if there is any and it may be sent."""
        traveller = self.traveller
        if not self._welcomed or self._left:
            return False
        last = min(traveller.said, traveller.acked + self._retained)
        while len(self._pending) < AHEAD and self._next <= last:
            self._pending += traveller.kept[self._next - traveller.first]
            traveller.sent = max(traveller.sent, self._next)
            self._next += 1
        body = bytes(self._pending[: min(self._most, self._credit - self._spent)])
        if body:
            del self._pending[: len(body)]
            self._spent += len(body)
            self._seal(Kind.DATA, body)
        return bool(body)

    def _seal(self, kind: int, body: bytes = b"") -> None:
        assert self._channel is not None
        self._told, self._told_received = self.traveller.safe, self._received
        plaintext = v3.record(kind, self._told, self._received + self._window, body)
        self._unsent += frame(self._channel.seal(plaintext))

    def settle(self) -> None:
        """Call safe what was taken, and say so."""
        if self._welcomed and self._open and not self._left:
            self.traveller.safe = self.traveller.taken
            if self.traveller.safe > self._told:
                self._seal(Kind.ACK)
            self.write()

    def leave(self) -> None:
        """Close for good."""
        if self._welcomed and self._open and not self._left:
            self._cut = UNCUT
            self.traveller.safe = self.traveller.taken
            self._seal(Kind.CLOSE, v3.Close(v3.Code.LEFT, self.traveller.taken, "").encode())
            self._left = True
            self.write()

    # ---- receiving

    def read(self) -> None:
        """Take what came, up to the cut."""
        if self._over:
            return
        most = min(RECEIVE, self._cut.after_heard - self._in)
        if most <= 0:
            self.cut()
            return
        try:
            data = self.sock.recv(most)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._closed()
            return
        self._in += len(data)
        self._got += data
        position, stop, got = 0, len(self._got), self._got
        while not self._left and (after := next_frame(got, position, stop, MESSAGE_MAX)):
            self._take(got[position + PREFIX_SIZE : after])
            position = after
        self._got = got[position:]
        if self._welcomed and self._open and 2 * (self._received - self._told_received) >= self._window:
            self._seal(Kind.ACK)
        self.write()

    def _take(self, message: bytes) -> None:
        traveller = self.traveller
        if self._channel is None:
            self._channel, _, traveller.server = self._greeting.meet(message, traveller.server)
            self._seal(*traveller.entry(self._channel))
            return
        try:
            plaintext = bytes(self._channel.open(message))
            kind, ack, credit = v3.head_of(plaintext)
            body = plaintext[HEAD_SIZE:]
            if ack < self._acked or credit < self._credit:
                raise Fault(f"{traveller}: behind {self._acked}, {self._credit} came ack {ack}, credit {credit}")
            self._credit, self._acked = credit, ack
            if kind == Kind.CLOSE:
                if not self._ending:
                    traveller.on_close(v3.decode_close(body))
            elif not self._welcomed:
                if kind != Kind.WELCOME:
                    raise Fault(f"{traveller}: a record of kind {kind} instead of a welcome")
                self._enter(v3.decode_welcome(body), ack)
            else:
                traveller.on_ack(ack)
                self._record(kind, body)
        except VoltlaneError as error:
            raise Fault(f"{traveller} got what is no record: {error}") from None

    def _enter(self, welcome: v3.Welcome, ack: int) -> None:
        assert self._channel is not None
        self.traveller.enter(welcome, self._channel.hash, ack)
        self._next = welcome.taken + 1
        self._welcomed = True
        if not self._fill():
            self._seal(Kind.ACK)

    def _record(self, kind: int, body: bytes) -> None:
        if kind == Kind.DATA:
            self._received += len(body)
            self._stream += body
            position, stop, stream = 0, len(self._stream), self._stream
            while after := next_frame(stream, position, stop, v3.MAX_BODY << 8):
                self.traveller.on_packet(stream[position + PREFIX_SIZE : after])
                position = after
            self._stream = stream[position:]
        elif kind == Kind.GAP:
            if self._stream:
                raise Fault(f"{self.traveller}: a gap in the middle of a packet")
            self.traveller.on_gap(v3.decode_gap(body))
        elif kind not in (Kind.ACK, Kind.PONG):
            raise Fault(f"{self.traveller}: a record of kind {kind}")

    # ---- the end

    def cut(self) -> None:
        """It is due. Behind a half close there may be something to read, until the server has seen it."""
        if self._cut.how == HALF and not self._ending:
            self._ending = True
            self._cut = self._cut._replace(after_heard=UNCUT.after_heard)
            self._unsent = b""
            end(self.sock, HALF)
        elif not self._left and not self._over:
            self._over = True
            self._drop(self, self._cut.how == OVER)
            end(self.sock, CLOSE if self._ending else self._cut.how)
            self.traveller.on_end(self._cut, False)

    def _closed(self) -> None:
        """The other side has ended it."""
        self._over = True
        self._drop(self, False)
        self.sock.close()
        left = self._left and self._ending
        self.traveller.on_end(self._cut if self._ending and not left else None, left)

    def __repr__(self) -> str:
        steps = {
            "over": self._over,
            "half closed, for good" if self._left else "half closed": self._ending,
            "leaving": self._left,
            "welcomed": self._welcomed,
            "met": self._channel is not None,
        }
        step = next((name for name, there in steps.items() if there), "new")
        return f"<Passage {step}, {self._out} bytes sent, {self._in} heard, {len(self._unsent)} unsent>"
