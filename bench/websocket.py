"""WebSocket as the generator's clients speak it: of the protocol in its messages they know version 2, and open.

What a client receives is on the wire as it stands in the cycle: a server's frames have no masks. What it sends has
keys, a random one for each packet of a cycle; so each client's cycle is masked before the run, and sent from there.
"""

from __future__ import annotations

import random
import socket
from typing import Any

from voltlane.wire import websocket
from voltlane.wire.websocket import KEY_SIZE, MASKED, WHOLE_BINARY, Opcode

from .traffic import Cycle
from .wires import Fault, Line, Piece, V2Session, Wire, lost

_KEYS = random.Random(6455)
_REQUEST = (
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
_ACCEPTED = b"HTTP/1.1 101 "


def client_frame(payload: bytes) -> tuple[bytes, bytes]:
    """A message as a client sends it: head and key, and what is behind."""
    head, key = bytearray(websocket.server_head(WHOLE_BINARY, len(payload))), _KEYS.randbytes(KEY_SIZE)
    head[1] |= MASKED
    return bytes(head) + key, bytes(byte ^ key[at % KEY_SIZE] for at, byte in enumerate(payload))


class Masked:
    """A cycle as clients send it. The keys are the same for all of them, the packets are not: where a packet has its
    client's index, in its first bytes, that is XORed in."""

    def __init__(self, cycle: Cycle) -> None:
        stream, starts = cycle.of(0), cycle.starts
        pieces: list[bytes] = []
        places, self.starts = 0, [0]
        """As in Cycle."""
        for begin, end in zip(starts, starts[1:]):
            size = end - begin
            payload = stream[begin + (2 if size <= 2 + websocket.MOST_CONTROL else 4) : end]
            head, masked = client_frame(payload)
            places |= 1 << 8 * (self.starts[-1] + len(head))
            pieces += (head, masked)
            self.starts.append(self.starts[-1] + len(head) + len(masked))
        self._template, self._places = int.from_bytes(b"".join(pieces), "little"), places
        self.size = self.starts[-1]

    def of(self, index: int) -> bytes:
        """The cycle of one client."""
        return (self._template ^ self._places * index).to_bytes(self.size, "little")


class WebSocket(Wire):
    """WebSockets, with a protocol in their messages: "v2" or "open", which has no handshake of its own."""

    scheme = "ws://"

    def __init__(self, protocol: str) -> None:
        self.name = f"voltlane {protocol} over WebSocket"
        self._v2 = protocol == "v2"
        self.modes = Wire.modes - {"resume"} | ({"broadcast"} if protocol == "open" else set())
        self._masked: tuple[Cycle, Masked] | None = None

    def masked(self, cycle: Cycle) -> Masked:
        """The cycle as clients send it; made once."""
        if self._masked is None or self._masked[0] is not cycle:
            self._masked = cycle, Masked(cycle)
        return self._masked[1]

    def opening(self, index: int) -> bytes:
        if not self._v2:
            return f"{_REQUEST}\r\n".encode()
        hello = b"".join(client_frame(b"\x01\x02") + client_frame(b"\x02\x21" + self._POINT))
        return f"{_REQUEST}Sec-WebSocket-Protocol: voltlane.v2\r\n\r\n".encode() + hello

    def opened(self, data: bytes) -> int:
        end = data.find(b"\r\n\r\n") + 4
        if data[: len(_ACCEPTED)] != _ACCEPTED[: len(data)]:
            raise Fault(f"a request for a WebSocket was answered with {data[:60]!r}")
        if end < 4 or not self._v2:
            return end if end >= 4 else 0
        for variant in (2, 3):  # PubKey, ClientId
            if len(data) < end + 3:
                return 0
            if data[end] != WHOLE_BINARY or data[end + 2] != variant:
                raise Fault(f"in a handshake came {data[end : end + 40]!r}")
            end += 2 + data[end + 1]
        return end if len(data) >= end else 0

    def session(self, data: bytes) -> V2Session | None:
        return None

    def line(self, sock: socket.socket, index: int, first: bytes, session: Any = None) -> Line:
        return WebSocketLine(self, sock, index, first)

    def frame(self, payload: bytes) -> bytes:
        """As the server sends it."""
        return websocket.server_frame(Opcode.BINARY, payload)


class WebSocketLine(Line):
    """One connection."""

    __slots__ = ("_cycle", "_frames", "_masked", "_packets", "_sent", "_unsent")
    wire: WebSocket

    def __init__(self, wire: WebSocket, sock: socket.socket, index: int, first: bytes) -> None:
        super().__init__(wire, sock, index, first)
        self._first = b"".join(client_frame(first))
        self._packets = self._sent = 0  # of the stream, as it would be without masks
        self._unsent: Piece = b""

    def prepare(self, cycle: Cycle) -> None:
        self._cycle, self._masked = cycle, self.wire.masked(cycle)
        self._frames = memoryview(self._masked.of(self._index))

    def send(self, first: Piece, second: Piece = b"") -> int:
        """See Line. What is given are whole packets of the cycle; the same ones are sent with their masks."""
        if self._unsent:
            self._push()
            if self._unsent:
                raise BlockingIOError
        size = len(first) + len(second)
        packets, starts, count = self._cycle.packets_in(self._sent + size), self._masked.starts, self._cycle.count
        begin, end = starts[self._packets % count], starts[packets % count]
        wraps = packets // count > self._packets // count
        pieces = (self._frames[begin:], self._frames[:end]) if wraps else (self._frames[begin:end], b"")
        taken = self.sock.sendmsg(pieces)
        if taken < len(pieces[0]) + len(pieces[1]):
            self._unsent = memoryview(b"".join(pieces))[taken:]
        self._packets, self._sent = packets, self._sent + size
        return size

    def settle(self) -> None:
        self._push()

    def finish(self, rest: Piece, secs: float) -> None:
        self.sock.settimeout(secs)
        self.sock.sendall(self._unsent)

    def _push(self) -> None:
        """Send what was begun, as far as it goes."""
        if self._unsent:
            try:
                self._unsent = memoryview(self._unsent)[self.sock.send(self._unsent) :]
            except BlockingIOError:
                return
            except OSError as error:
                raise lost(error) from None
