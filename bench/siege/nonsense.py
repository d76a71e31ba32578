"""What is wrong at each place of a connection: where a stage is to begin, where frames are to come, and in them. Each
kind has its turn, so that few of them are enough for all to come."""

from __future__ import annotations

import os
import random
import struct
from collections import Counter
from collections.abc import Sequence
from typing import Callable, TypeVar

from bench.wires import Wire
from voltlane.wire.websocket import FIN, Opcode

from .lanes import Frames, Lane, Prefix, Stage, Tls, Upgrade, client_frame

_WIRE = Wire()
VERSION = _WIRE.frame(b"\x01\x02")
_REQUEST = Upgrade.request


_T = TypeVar("_T")
_turns: Counter[str] = Counter()


def _in_turn(place: str, kinds: Sequence[_T]) -> _T:
    _turns[place] += 1
    return kinds[_turns[place] % len(kinds)]


def _noise() -> bytes:
    return os.urandom(random.randrange(1, 128))


def _record(kind: int, body: bytes, announced: int | None = None) -> bytes:
    return struct.pack(">BHH", kind, 0x0303, len(body) if announced is None else announced) + body


def of_tls() -> bytes:
    """Where TLS is to begin."""
    noise = _noise()
    return _in_turn(
        "tls",
        (
            noise,
            _REQUEST(),  # plain, to the wrong door
            _WIRE.opening(0),
            _record(22, noise),
            _record(22, b"\x01" + len(noise).to_bytes(3, "big") + noise),  # a hello, by its head
            _record(22, b"\x01\xff\xff\xff" + noise),
            _record(22, noise, 0xFFFF),
            _record(23, noise),  # data before there is a key
            _record(21, b"\x02\x28"),
            _record(20, b"\x01") * 64,
            _record(24, b"\x01\xff\xff"),  # a heartbeat that asks for more than it brings
        ),
    )


def of_http() -> bytes:
    """Where a request for a WebSocket is to come."""
    noise = _noise()
    return _in_turn(
        "http",
        (
            noise,
            _WIRE.opening(0),
            b"\x16\x03\x01\x02\x00\x01" + noise,
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + noise + b"\r\n\r\n",
            _REQUEST(start=b"GET / HTTP/9.9"),
            _REQUEST(start=b"GET /" + b"a" * 20_000 + b" HTTP/1.1"),
            _REQUEST(start=b"POST / HTTP/1.1"),
            _REQUEST(*[b"X-%d: %d" % (number, number) for number in range(1000)]),
            _REQUEST(b"X: " + b"y" * 20_000),
            _REQUEST(b"X: a\0b"),
            _REQUEST(b" folded"),
            _REQUEST(b"Content-Length: 5", b"Content-Length: 6"),
            _REQUEST(b"Content-Length: 99999999999999999999"),
            _REQUEST(b"Transfer-Encoding: chunked") + b"ffffffffffffffff\r\n" + noise,
            _REQUEST(without=b"Host"),
            _REQUEST(b"Sec-WebSocket-Version: 8", without=b"Sec-WebSocket-Version"),
            _REQUEST(b"Sec-WebSocket-Key: c2hvcnQ=", without=b"Sec-WebSocket-Key"),
            _REQUEST(b"Sec-WebSocket-Protocol: mqtt", without=b"Sec-WebSocket-Protocol"),
        ),
    )


def of_prefix() -> bytes:
    """Where packets with their sizes are to come."""
    return _in_turn("prefix", (b"", VERSION, b"GET / HTTP/1.1\r\n", b"\xff\xff\xff\xff")) + _noise()


def of_frames() -> bytes:
    """Where a WebSocket's frames are to come."""
    noise = _noise()
    control = random.choice((Opcode.PING, Opcode.PONG, Opcode.CLOSE))
    return _in_turn("before a frame", (b"", client_frame(Opcode.BINARY, b"\x01\x02"))) + _in_turn(
        "frame",
        (
            noise,
            client_frame(Opcode.BINARY, noise, masked=False),
            client_frame(Opcode.BINARY, noise, first=FIN | random.randrange(1, 8) << 4),  # reserved bits
            client_frame(random.choice((3, 7, 11, 15)), noise),  # opcodes that there are not
            client_frame(Opcode.TEXT, noise),
            client_frame(Opcode.CONTINUATION, noise),  # of nothing
            client_frame(Opcode.BINARY, noise, first=0) + client_frame(Opcode.BINARY, noise),
            client_frame(control, noise, first=0),  # in parts
            client_frame(control, bytes(126)),
            client_frame(Opcode.CLOSE, b"\x03"),
            client_frame(Opcode.CLOSE, b"\x03\xed"),
            client_frame(Opcode.CLOSE, b"\x03\xe8\xff\xfe"),
            struct.pack(">BBH", 0x82, 0xFE, 5) + noise,  # a size in more bytes than it needs
            struct.pack(">BBQ", 0x82, 0xFF, 1 << 40) + noise,
            struct.pack(">BBQ", 0x82, 0xFF, 1 << 63) + noise,
        ),
    )


def of_packets() -> bytes:
    """Packets, which the framing can carry, where a handshake is to come."""
    return _in_turn("packet", (b"", VERSION, VERSION + _WIRE.frame(b"\x03\x01"))) + _WIRE.frame(_noise())


_OF: dict[type[Stage] | type[Prefix], Callable[[], bytes]] = {
    Tls: of_tls,
    Upgrade: of_http,
    Prefix: of_prefix,
    Frames: of_frames,
}


def at(lane: Lane, depth: int) -> bytes:
    """Something wrong for who comes through `depth` of a lane's stages."""
    if depth < len(lane.stages):
        return _OF[lane.stages[depth]]()
    return _in_turn("framing", (_OF[lane.framing], lambda: lane.framing().encode(of_packets())))()
