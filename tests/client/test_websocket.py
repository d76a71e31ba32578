"""A WebSocket as a socket, against its other side written from the RFC (kit/websocket_speaker.py)."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator

import pytest
from kit.websocket_speaker import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, head, server_frame, xor

from voltlane.address import parse_server
from voltlane.client.websocket import WebSocket, host_header
from voltlane.errors import (
    BadText,
    ConnectionLost,
    FrameTooLarge,
    MalformedFrame,
    SessionLost,
    TextRefused,
)
from voltlane.wire.framing import GOODBYE, frame

LIMIT = 100_000


class Pair:
    """One, and the raw socket of its server."""

    def __init__(self, received: bytes = b"", *, ends_sessions: bool = False, buffer: int = 0) -> None:
        ours, self.server = socket.socketpair()
        if buffer:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        ours.setblocking(False)
        self.server.settimeout(10)
        self.client = WebSocket(ours, received, LIMIT, ends_sessions=ends_sessions)
        self._unread = b""

    def frames(self) -> list[tuple[int, bytes]]:
        """What the client has sent, off its masks; every frame has one."""
        self.server.setblocking(False)
        try:
            while data := self.server.recv(1 << 20):
                self._unread += data
        except BlockingIOError:
            pass
        self.server.settimeout(10)
        found = []
        while len(self._unread) >= 2:
            first, second = self._unread[:2]
            assert first & 0x70 == 0 and first & 0x80 and second & 0x80
            form = {126: 2, 127: 8}.get(second & 0x7F, 0)
            size = int.from_bytes(self._unread[2 : 2 + form], "big") if form else second & 0x7F
            begin = 6 + form
            if len(self._unread) < begin + size:
                break
            payload = self._unread[begin : begin + size]
            found.append((first & 0x0F, xor(payload, self._unread[begin - 4 : begin])))
            self._unread = self._unread[begin + size :]
        return found

    def nothing(self) -> bool:
        try:
            self.client.recv(100)
        except BlockingIOError:
            return True
        return False


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.client.close()
    made.server.close()


SIZES = [0, 1, 125, 126, 65535, 65536]


def test_messages_up(pair: Pair) -> None:
    messages = [random.Random(size).randbytes(size) for size in SIZES]
    data = b"".join(map(frame, messages))
    assert pair.client.send(data) == len(data)
    assert pair.frames() == [(BINARY, message) for message in messages]


def test_each_frame_has_a_mask_of_its_own(pair: Pair) -> None:
    for _ in range(2):
        pair.client.send(frame(bytes(8)) * 2)
    sent = pair.server.recv(1000)
    assert len({sent[start + 2 : start + 6] for start in range(0, len(sent), 14)}) == 4


def test_messages_down(pair: Pair) -> None:
    messages = [random.Random(size).randbytes(size) for size in SIZES]
    pair.server.sendall(b"".join(server_frame(BINARY, message) for message in messages[:5]))
    received = b""
    while len(received) < sum(map(len, messages[:5])) + 20:
        received += pair.client.recv(1000)
    assert received == b"".join(map(frame, messages[:5]))
    assert pair.nothing()


def test_byte_by_byte_with_parts_and_words_between(pair: Pair) -> None:
    stream = (
        server_frame(BINARY, b"one")
        + head(BINARY, 2, fin=False, masked=False) + b"tw"
        + server_frame(PING, b"?")
        + head(CONTINUATION, 0, fin=False, masked=False)
        + server_frame(PONG, b"unasked")
        + server_frame(CONTINUATION, b"o")
        + server_frame(BINARY, b"")
    )  # fmt: skip
    received = b""
    for byte in stream:
        pair.server.send(bytes([byte]))
        try:
            received += pair.client.recv(100)
        except BlockingIOError:
            pass
    assert received == frame(b"one") + frame(b"two") + frame(b"")
    assert pair.frames() == [(PONG, b"?")]


def test_what_came_behind_the_upgrade_and_no_more_than_is_asked_for() -> None:
    pair = Pair(server_frame(BINARY, b"hello"))
    assert [pair.client.recv(4), pair.client.recv(2), pair.client.recv(100)] == [b"\x05\0\0\0", b"he", b"llo"]
    assert pair.nothing()


def test_pings_are_answered_at_once(pair: Pair) -> None:
    for question in (b"", b"x" * 125):
        pair.server.sendall(server_frame(PING, question))
        assert pair.nothing()
        assert pair.frames() == [(PONG, question)]


MISTAKES = {
    "a mask": (head(BINARY, 1) + bytes(5), MalformedFrame, 1002),
    "a reserved bit": (head(BINARY, 1, reserved=4, masked=False) + b"x", MalformedFrame, 1002),
    "an unknown kind": (head(3, 0, masked=False), MalformedFrame, 1002),
    "a ping in parts": (head(PING, 0, fin=False, masked=False), MalformedFrame, 1002),
    "a long ping": (head(PING, 126, masked=False), MalformedFrame, 1002),
    "a size in too many bytes": (head(BINARY, 1, masked=False, form=2), MalformedFrame, 1002),
    "no beginning": (server_frame(CONTINUATION, b"x"), MalformedFrame, 1002),
    "no end": (head(BINARY, 0, fin=False, masked=False) + server_frame(BINARY, b"x"), MalformedFrame, 1002),
    "text": (server_frame(TEXT, b"x"), TextRefused, 1003),
    "too large": (head(BINARY, LIMIT + 1, masked=False), FrameTooLarge, 1009),
    "too large in parts": (
        head(BINARY, 60_000, fin=False, masked=False) + bytes(60_000) + head(CONTINUATION, 60_000, masked=False),
        FrameTooLarge,
        1009,
    ),
    "half a code": (server_frame(CLOSE, b"\x03"), MalformedFrame, 1002),
    "a code that nobody says": (server_frame(CLOSE, b"\x03\xed"), MalformedFrame, 1002),
    "a reason that is no text": (server_frame(CLOSE, b"\x03\xe8\xff"), BadText, 1007),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_behind_what_came_before(pair: Pair, name: str) -> None:
    stream, error, code = MISTAKES[name]
    pair.server.sendall(server_frame(BINARY, b"before") + stream + server_frame(BINARY, b"behind"))
    assert pair.client.recv(100) == frame(b"before")
    with pytest.raises(error):
        pair.client.recv(100)
    assert [(opcode, payload[:2]) for opcode, payload in pair.frames()] == [(CLOSE, struct.pack(">H", code))]
    assert pair.client.recv(100) == b""
    with pytest.raises(BrokenPipeError):
        pair.client.send(frame(b"no more"))


# ---- ends


def close(code: int, text: str = "") -> bytes:
    return server_frame(CLOSE, struct.pack(">H", code) + text.encode())


@pytest.mark.parametrize("said", [close(1000), close(1000, "bye"), server_frame(CLOSE)])
def test_an_end_in_order(pair: Pair, said: bytes) -> None:
    pair.server.sendall(server_frame(BINARY, b"last") + said + server_frame(BINARY, b"behind"))
    assert pair.client.recv(100) == frame(b"last")
    assert pair.client.recv(100) == pair.client.recv(100) == b""
    ((opcode, payload),) = pair.frames()
    assert opcode == CLOSE and payload == (b"\x03\xe8" if len(said) > 2 else b"")


@pytest.mark.parametrize(
    ("code", "over"),
    [
        (1001, False),
        (1011, False),
        (3001, False),
        (3499, False),
        (3500, True),
        (3999, True),
        (4000, False),
        (4500, True),
    ],
)
@pytest.mark.parametrize("ends_sessions", [False, True])
def test_an_end_with_a_code(code: int, over: bool, ends_sessions: bool) -> None:
    """Only where nothing else can say so does it end the session."""
    pair = Pair(close(code, "why"), ends_sessions=ends_sessions)
    for _ in range(2):
        with pytest.raises(ConnectionLost, match=f"why .code {code}") as told:
            pair.client.recv(100)
        assert (told.value.code, told.value.text) == (code, "why")
        assert isinstance(told.value, SessionLost) is (over and ends_sessions)
    assert pair.frames() == [(CLOSE, struct.pack(">H", code))]


def test_an_end_without_a_close_is_none(pair: Pair) -> None:
    """With version 2 an end in order is a server's refusal to resume; a proxy that dies must not look like one."""
    pair.server.close()
    with pytest.raises(ConnectionLost, match="was cut"):
        pair.client.recv(100)


def test_our_end_is_said_once_and_what_comes_before_theirs_is_read(pair: Pair) -> None:
    pair.client.shutdown(socket.SHUT_WR)
    pair.client.shutdown(socket.SHUT_WR)
    assert pair.frames() == [(CLOSE, b"\x03\xe8")]
    pair.server.sendall(server_frame(BINARY, b"late") + server_frame(PING) + close(1000))
    assert pair.client.recv(100) == frame(b"late") and pair.client.recv(100) == b""
    assert pair.frames() == []


def test_a_mistake_behind_our_end_is_an_end(pair: Pair) -> None:
    pair.client.shutdown(socket.SHUT_WR)
    pair.server.sendall(head(BINARY, 1) + bytes(5))
    assert pair.client.recv(100) == b""


def test_a_part_of_a_message_is_not_taken(pair: Pair) -> None:
    """As version 2 says goodbye with one over TCP."""
    for part in (GOODBYE, frame(b"hello")[:-1]):
        with pytest.raises(BlockingIOError):
            pair.client.send(part)
    whole = frame(b"hello")
    assert pair.client.send(whole + GOODBYE) == len(whole)
    assert pair.frames() == [(BINARY, b"hello")]


# ---- no room


def test_a_pong_waits_for_the_frame_that_is_being_written() -> None:
    pair = Pair(buffer=4096)
    message = frame(random.Random(7).randbytes(300_000))
    small = frame(b"behind")
    with pytest.raises(BlockingIOError):
        pair.client.send(message + small)
    assert not pair.client.wants_write, "who sends knows that"
    pair.server.sendall(server_frame(PING, b"1") + server_frame(PING, b"2"))
    assert pair.nothing()
    with pytest.raises(OSError, match="other bytes"):
        pair.client.send(frame(b"another"))
    frames, rest = [], memoryview(message + small)
    while rest:
        frames += pair.frames()
        try:
            rest = rest[pair.client.send(rest) :]
        except BlockingIOError:
            pass
    frames += pair.frames()
    assert frames == [(BINARY, message[4:]), (PONG, b"2"), (BINARY, b"behind")], "only the newest is answered"


def test_a_pong_that_has_no_room_goes_out_later() -> None:
    pair = Pair(buffer=4096)
    stuffing = frame(bytes(1000))
    with pytest.raises(BlockingIOError):
        while True:
            pair.client.send(stuffing)
    pair.frames()
    while True:  # finish that one, and fill the buffer to the brim again
        try:
            pair.client.send(stuffing)
            break
        except BlockingIOError:
            pair.frames()
    sock = pair.client._sock
    with pytest.raises(BlockingIOError):
        while True:
            sock.send(b"\x8a\x80\0\0\0\0")
    pair.server.sendall(server_frame(PING, b"late"))
    assert pair.nothing() and pair.client.wants_write
    found = pair.frames()
    for _ in range(100):
        assert pair.nothing()
        found += pair.frames()
        if not pair.client.wants_write:
            break
    assert found[-1] == (PONG, b"late")


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("ws://example.com", "example.com"),
        ("ws://example.com:443", "example.com:443"),
        ("wss://example.com:443/x", "example.com"),
        ("wss://example.com:80", "example.com:80"),
        ("ws://[2001:db8::1]:81", "[2001:db8::1]:81"),
        ("ws://b\u00fccher.example", "xn--bcher-kva.example"),
        ("ws://*:80", "localhost"),
        ("ws://unix:/run/x", "localhost"),
    ],
)
def test_whom_the_request_is_for(text: str, host: str) -> None:
    assert host_header(parse_server(text)) == host
