"""Fuzz targets: what clients read of servers over WebSockets, and what servers read of proxies' headers."""

from __future__ import annotations

import socket

from fuzz.engine import Target
from kit.websocket_speaker import BINARY, CLOSE, CONTINUATION, PING, head, server_frame

from voltlane.address import parse_server
from voltlane.client.websocket import WebSocket
from voltlane.errors import ConfigError, ConnectionLost, MalformedPacket, ProtocolError, Refused
from voltlane.wire.framing import FrameBuffer
from voltlane.wire.http1.answers import Refusal
from voltlane.wire.http1.forwarded import READERS, client_of
from voltlane.wire.http1.upgrade import read_answer

LIMIT = 300
"""Bytes of the largest message."""
SHORT = 500
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


class Wire:
    """A socket out of which these pieces come, and into which everything goes."""

    family = socket.AF_INET

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def recv(self, size: int) -> bytes:
        if not self.pieces:
            raise BlockingIOError
        return self.pieces.pop(0)

    def send(self, data: bytes, flags: int = 0) -> int:
        return len(data)


def frames(data: bytes) -> None:
    """However a server's frames are cut: the same messages, and the same end."""

    def read(pieces: list[bytes]) -> tuple[list[bytes], str]:
        client = WebSocket(Wire([piece for piece in pieces if piece]), b"", LIMIT)  # type: ignore[arg-type]
        messages, end = FrameBuffer(LIMIT), "more"
        try:
            while got := client.recv(100):
                messages.feed(got)
            end = "in order"
        except BlockingIOError:
            pass
        except (ProtocolError, ConnectionLost) as error:
            end = str(error)
        return list(messages), end

    whole = read([data])
    assert read([data[:1], data[1:7], data[7:]]) == whole
    if len(data) < SHORT:
        assert read([data[at : at + 1] for at in range(len(data))]) == whole


def answer(data: bytes) -> None:
    """A server's answer: the same, however much of it is there; and nothing behind it changes that."""

    def read(part: bytes) -> object:
        try:
            return read_answer(part, KEY, "voltlane.v3")
        except MalformedPacket:
            return "malformed"
        except Refused as refused:
            return refused.code

    found = None
    for stop in range(min(len(data), SHORT) + 1):
        found = read(data[:stop])
        if found is not None:
            break
    if found is not None:
        assert read(data) == found and read(data + b"\r\n\r\n") == found


def headers(data: bytes) -> None:
    """What a proxy says, in any of the headers, is an address, nobody, or refused."""
    text = data.decode("latin-1")
    for read in READERS.values():
        try:
            hops = read({"x-forwarded-for": text, "forwarded": text, "x-forwarded-proto": text[:5]})
        except Refusal:
            continue
        assert all(len(hop.address) in (0, 4, 16) and 0 <= hop.port < 1 << 16 for hop in hops)
        found = client_of(hops, lambda address: address[:1] == b"\x0a")
        assert found is None or found in hops


def server(data: bytes) -> None:
    """Text is refused, or is an address that says the same when it is read again."""
    try:
        found = parse_server(data.decode("utf-8", "surrogateescape"))
    except ConfigError:
        return
    assert parse_server(str(found)) == found
    assert found.target.isascii() and found.target.isprintable() and " " not in found.target


_RIGHT = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: voltlane.v3\r\n\r\n"
)
_FRAMES = [server_frame(BINARY, b"one"), server_frame(PING, b"?"), server_frame(CLOSE, b"\x03\xe8bye")]
_PARTS = head(BINARY, 2, fin=False, masked=False) + b"tw" + server_frame(PING) + server_frame(CONTINUATION, b"o")

TARGETS = [
    Target("frames", frames, [b"".join(_FRAMES), _PARTS, server_frame(BINARY, bytes(130))], _FRAMES),
    Target(
        "answer",
        answer,
        [_RIGHT, b"HTTP/1.1 103 Early\r\n\r\n" + _RIGHT, b'HTTP/1.1 403 No\r\nContent-Length: 13\r\n\r\n{"error":"x"}'],
        [b"\r\n", b"HTTP/1.1 ", b"Content-Length: ", b"101", b"\r\n\r\n"],
    ),
    Target(
        "headers",
        headers,
        [b"192.0.2.1, 10.0.0.1", b'for="[2001:db8::1]:4711";proto=https, for=10.0.0.1', b"unknown,[::1]:1"],
        [b"for=", b'"', b"\\", b";", b",", b"[", b"]", b"::", b"192.0.2.1"],
    ),
    Target(
        "server",
        server,
        [b"ws://host.name:1/a?b", b"wss://[::1]", b"tls://unix:/x", b"127.0.0.1:1", b"ws://h?x"],
        [b"ws://", b"wss://", b"/", b"?", b"#", b"@", b":", b"unix:", b"%20"],
    ),
]
