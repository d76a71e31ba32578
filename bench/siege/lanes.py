"""The lanes, from a client's side: what has to stand before version 2 is spoken, and what carries its messages then.

As in the server, a lane is stages and a framing. Between these and all else there is one currency: packets of version 2
with their sizes in front, as they are on the wire of plain TCP. Nothing here touches a socket.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Mapping
from typing import NamedTuple

from bench.observed import ROOT
from bench.wires import Fault
from voltlane.wire.batch import mask
from voltlane.wire.websocket import FIN, Opcode, accept_key

CERTIFICATES = ROOT / "tests" / "vectors" / "tls"
HOST = "localhost"
_MASKED = 0x80


class Stage:
    """What has to stand first, and everything else goes through then. This one is never in the way."""

    stands = True

    def begin(self) -> bytes:
        """What a client says first."""
        return b""

    def seal(self, data: bytes) -> bytes:
        """What to send for that, once it stands."""
        return data

    def open(self, data: bytes) -> tuple[bytes, bytes]:
        """What is in bytes that came, and what they have to be answered with. Raises Fault, OSError."""
        return data, b""


class Tls(Stage):
    """TLS, in memory."""

    _context: ssl.SSLContext | None = None

    def __init__(self) -> None:
        if Tls._context is None:
            Tls._context = ssl.create_default_context(cafile=str(CERTIFICATES / "ca.pem"))
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = Tls._context.wrap_bio(self._incoming, self._outgoing, server_hostname=HOST)
        self.stands = False

    def begin(self) -> bytes:
        """See Stage: a ClientHello."""
        return self.open(b"")[1]

    def seal(self, data: bytes) -> bytes:
        """See Stage."""
        self._tls.write(data)
        return self._outgoing.read()

    def open(self, data: bytes) -> tuple[bytes, bytes]:
        """See Stage."""
        if data:
            self._incoming.write(data)
        opened: list[bytes] = []
        try:
            if not self.stands:
                self._tls.do_handshake()
                self.stands = True
            while True:
                opened.append(self._tls.read(1 << 16))
                if not opened[-1]:
                    raise Fault("the server has ended TLS")
        except ssl.SSLWantReadError:
            pass
        return b"".join(opened), self._outgoing.read()


class Upgrade(Stage):
    """The opening handshake of a WebSocket (RFC 6455, section 4.1)."""

    _KEY = base64.b64encode(bytes(16))

    def __init__(self) -> None:
        self.stands = False
        self._got = b""

    @classmethod
    def request(cls, *headers: bytes, start: bytes = b"GET / HTTP/1.1", without: bytes = b"") -> bytes:
        """One that asks for version 2, with headers besides; `without` the one of its own that begins so."""
        lines = [
            b"Host: " + HOST.encode(), b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: " + cls._KEY, b"Sec-WebSocket-Protocol: voltlane.v2",
        ]  # fmt: skip
        kept = [line for line in lines if not without or not line.startswith(without)]
        return b"\r\n".join([start, *kept, *headers, b"", b""])

    def begin(self) -> bytes:
        """See Stage: the request."""
        return self.request()

    def open(self, data: bytes) -> tuple[bytes, bytes]:
        """See Stage."""
        if self.stands:
            return data, b""
        head, end, rest = (self._got + data).partition(b"\r\n\r\n")
        self._got = head
        if not end:
            return b"", b""
        if not head.startswith(b"HTTP/1.1 101 ") or accept_key(self._KEY) not in head:
            raise Fault(f"the server answered {head[:60]!r}")
        self.stands, self._got = True, b""
        return rest, b""


class Prefix:
    """The framing of TCP: packets are on the wire as they are."""

    def encode(self, packets: bytes) -> bytes:
        """Whole packets, as they are sent."""
        return packets

    def decode(self, data: bytes) -> bytes:
        """What came, as packets; the last may be in parts. Raises Fault."""
        return data

    def ping(self) -> bytes:
        """What has to be answered within the framing, if there is that."""
        return b""

    def take_reply(self) -> bytes:
        """What has to be said within the framing now."""
        return b""


class Frames(Prefix):
    """Messages of a WebSocket: each is a packet without its size."""

    def __init__(self) -> None:
        self._got = b""
        self._reply = b""

    def encode(self, packets: bytes) -> bytes:
        """See Prefix."""
        frames, position = [], 0
        while position < len(packets):
            begin = position + 4
            position = begin + int.from_bytes(packets[position:begin], "little")
            frames.append(client_frame(Opcode.BINARY, packets[begin:position]))
        return b"".join(frames)

    def decode(self, data: bytes) -> bytes:
        """See Prefix."""
        got, position, packets = self._got + data, 0, []
        while len(got) >= position + 2:
            first, size = got[position], got[position + 1]
            begin = position + 2
            if size & _MASKED or not first & FIN:
                raise Fault("a server's frame with a mask, or in parts")
            if size >= 126:
                begin += 2 if size == 126 else 8
                size = int.from_bytes(got[position + 2 : begin], "big")
            if len(got) < begin + size:
                break
            position = begin + size
            self._take(first & ~FIN, got[begin:position], packets)
        self._got = got[position:]
        return b"".join(packets)

    def _take(self, opcode: int, payload: bytes, packets: list[bytes]) -> None:
        if opcode == Opcode.BINARY:
            packets += (len(payload).to_bytes(4, "little"), payload)
        elif opcode == Opcode.PING:
            self._reply += client_frame(Opcode.PONG, payload)
        elif opcode != Opcode.PONG:
            raise Fault(f"the server sent a frame of kind {opcode}: {payload[:60]!r}")

    def ping(self) -> bytes:
        """See Prefix."""
        return client_frame(Opcode.PING, b"p" * 125)

    def take_reply(self) -> bytes:
        """See Prefix."""
        reply, self._reply = self._reply, b""
        return reply


def client_frame(opcode: int, payload: bytes = b"", *, first: int = FIN, masked: bool = True) -> bytes:
    """A frame, as clients send it unless it is said otherwise: `first` is what its first byte has besides."""
    size, bit = len(payload), _MASKED if masked else 0
    if size < 126:
        head = bytes((first | opcode, bit | size))
    elif size < 1 << 16:
        head = bytes((first | opcode, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first | opcode, bit | 127)) + size.to_bytes(8, "big")
    key = os.urandom(4)
    return head + key + mask(payload, key) if masked else head + payload


class Lane(NamedTuple):
    """One of the server's."""

    scheme: str
    stages: tuple[type[Stage], ...]
    framing: type[Prefix]
    settings: Mapping[str, object] = {}
    """What the server needs for it."""
    mode: str = ""
    """What the good send are datagrams, as this `udp.mode` has it."""

    @property
    def address(self) -> str:
        """Where the server listens."""
        return f"{self.scheme}://127.0.0.1:0"

    def words_at(self, depth: int, opening: bytes) -> bytes:
        """What a client says first when `depth` of the stages stand: the next one's, or behind all its `opening`."""
        return self.stages[depth]().begin() if depth < len(self.stages) else self.framing().encode(opening)


_TLS = {
    "tls.certificate": [str(CERTIFICATES / "server.pem")],
    "tls.key": [str(CERTIFICATES / "server.key")],
}
_SEALED = {
    "listener.address": ["127.0.0.1:0", "udp://127.0.0.1:0"],
    "master.datagrams": True,
    "udp.fallback": "drop",
    "clients.unencrypted": "always",
}
_OPEN = {"listener.address": "udp://127.0.0.1:0", "udp.mode": "open", "udp.new_rate": 200, "udp.peers": 5000}
LANES: dict[str, Lane] = {
    lane.scheme: lane
    for lane in (
        Lane("tcp", (), Prefix),
        Lane("tls", (Tls,), Prefix, _TLS),
        Lane("ws", (Upgrade,), Frames),
        Lane("wss", (Tls, Upgrade), Frames, _TLS),
        Lane("udp", (), Prefix, _SEALED, "sessions"),
        Lane("udp-open", (), Prefix, _OPEN, "open"),
    )
}
"""By scheme, or what they are called here."""


class Passage:
    """The way of one connection through the first `depth` of a lane's stages."""

    __slots__ = ("_stages", "_standing")

    def __init__(self, lane: Lane, depth: int) -> None:
        self._stages = [stage() for stage in lane.stages[:depth]]
        self._standing = 0

    @property
    def stands(self) -> bool:
        """Whether all of them stand."""
        return self._standing == len(self._stages)

    def begin(self) -> bytes:
        """What to send first."""
        return self._stages[0].begin() if self._stages else b""

    def seal(self, data: bytes) -> bytes:
        """What to send for that, through those that stand."""
        return self._through(self._standing, data)

    def open(self, data: bytes) -> tuple[bytes, bytes]:
        """What is in bytes that came, once all stand, and what has to be sent now. Raises Fault, OSError."""
        answers = []
        for index, stage in enumerate(self._stages):
            if index > self._standing:
                return b"", b"".join(answers)
            data, answer = stage.open(data)
            answers.append(self._through(index, answer))
            if index == self._standing and stage.stands:
                self._standing += 1
                if not self.stands:
                    answers.append(self._through(index + 1, self._stages[index + 1].begin()))
        return (data if self.stands else b""), b"".join(answers)

    def _through(self, above: int, data: bytes) -> bytes:
        if data:
            for stage in reversed(self._stages[:above]):
                data = stage.seal(data)
        return data
