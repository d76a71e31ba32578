"""The framing of WebSocket: every rule of the RFC with its refusal, whole, byte by byte, and with more behind it."""

from __future__ import annotations

import random
import sys

import pytest
from kit.frames import join, split
from kit.lanes import websocket as lane
from kit.websocket_speaker import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    client_frame,
    server_frame,
    split_frames,
)
from kit.world import Client, MakeWorld

from voltlane.core.protocols import ends
from voltlane.errors import BadText, FrameTooLarge, MalformedFrame, ProtocolError, TextRefused
from voltlane.lanes.framing import EVERY
from voltlane.lanes.websocket import WebSocket, code_for
from voltlane.reasons import CloseReason
from voltlane.wire.batch import unmask

LIMIT = 1000


class Peer:
    """What calls a framing as the connections do: what is left comes again with more behind it."""

    def __init__(self, text: bool = True, limit: int = LIMIT) -> None:
        self.framing = WebSocket(text)
        self.limit = limit
        self.kept = b""
        self.messages: list[bytes] = []
        self.said = b""

    def feed(self, data: bytes, most: int = EVERY) -> None:
        buffer = bytearray(b"??" + self.kept + data + b"\x88\x80")
        position, stop = 2, len(buffer) - 2
        try:
            while position < stop and not self.framing.ended:
                before = position
                chunk, position = self.framing.decode(buffer, position, stop, self.limit, most)
                messages = split(chunk)
                assert len(messages) <= most
                self.messages += messages
                self.said += self.framing.take_reply()
                if position == before:
                    break
        finally:
            self.kept = bytes(buffer[position:stop])
        buffer.append(0)  # it is not held on to

    def fed(self, *frames: bytes) -> Peer:
        self.feed(b"".join(frames))
        return self


def whole_and_in_pieces(*frames: bytes, text: bool = True, limit: int = LIMIT) -> list[Peer]:
    """The same at once, byte by byte, one message a call, and cut in two at some places."""
    stream = b"".join(frames)
    at_once, bytewise, one_by_one = (Peer(text, limit) for _ in range(3))
    at_once.feed(stream)
    for at in range(len(stream)):
        bytewise.feed(stream[at : at + 1])
    one_by_one.feed(stream, most=1)
    peers = [at_once, bytewise, one_by_one]
    for cut in random.Random(1).sample(range(len(stream) + 1), min(9, len(stream))):
        peer = Peer(text, limit)
        peer.feed(stream[:cut])
        peer.feed(stream[cut:])
        peers.append(peer)
    return peers


# ---- messages


def test_messages_of_every_size():
    messages = [random.Random(size).randbytes(size) for size in (0, 1, 5, 5, 5, 5, 125, 126, 127, 300, 300, 1000, 0)]
    for peer in whole_and_in_pieces(*(client_frame(BINARY, message) for message in messages)):
        assert peer.messages == messages and peer.said == b"" and not peer.framing.ended and not peer.kept


def test_a_message_whose_size_is_said_in_64_bits():
    peer = Peer(limit=100_000).fed(client_frame(BINARY, b"x" * 70_000), client_frame(BINARY, b"y"))
    assert peer.messages == [b"x" * 70_000, b"y"]


@pytest.mark.parametrize("kind", [TEXT, BINARY])
def test_a_message_in_parts(kind: int):
    frames = [
        client_frame(kind, b"one ", fin=False),
        client_frame(CONTINUATION, b"", fin=False),
        client_frame(CONTINUATION, "zwölf".encode()[:3], fin=False),
        client_frame(CONTINUATION, "zwölf".encode()[3:]),
        client_frame(BINARY, b"next"),
        client_frame(kind, b"", fin=False),
        client_frame(CONTINUATION, b""),
    ]
    for peer in whole_and_in_pieces(*frames):
        assert peer.messages == ["one zwölf".encode(), b"next", b""] and peer.framing.held == 0


def test_control_frames_between_the_parts_of_a_message():
    frames = [
        client_frame(BINARY, b"a", fin=False),
        client_frame(PING, b"1"),
        client_frame(PONG, b"unasked"),
        client_frame(CONTINUATION, b"b", fin=False),
        client_frame(PING, b"2" * 125),
        client_frame(CONTINUATION, b"c"),
    ]
    for peer in whole_and_in_pieces(*frames):
        assert peer.messages == [b"abc"]
        assert peer.said == server_frame(PONG, b"1") + server_frame(PONG, b"2" * 125)


def test_what_is_kept_of_a_message_in_parts_is_told():
    peer = Peer().fed(client_frame(BINARY, b"x" * 600, fin=False), client_frame(CONTINUATION, b"", fin=False))
    assert 600 <= peer.framing.held <= 1200 and not peer.kept
    peer.feed(client_frame(CONTINUATION, b"y"))
    assert peer.framing.held == 0 and peer.messages == [b"x" * 600 + b"y"]


def test_no_more_messages_than_asked_for_and_nothing_behind_them():
    stream = bytearray(
        client_frame(PING) + client_frame(BINARY, b"1") + client_frame(PING, b"later") + client_frame(BINARY, b"2")
    )
    framing = WebSocket()
    chunk, position = framing.decode(stream, 0, len(stream), LIMIT, 1)
    assert chunk == join([b"1"]) and framing.take_reply() == server_frame(PONG)
    assert stream[position:] == client_frame(PING, b"later") + client_frame(BINARY, b"2")
    assert framing.decode(stream, position, len(stream), LIMIT, 0) == (b"", position)
    assert framing.take_reply() == b""


def test_a_view_is_as_good():
    stream = b"??" + client_frame(BINARY, b"1") * 5 + client_frame(TEXT, b"2")
    view = memoryview(stream)
    assert WebSocket(text=True).decode(view, 2, len(view), LIMIT) == (join([b"1"] * 5 + [b"2"]), len(view))


# ---- what breaks the rules

PARTS = client_frame(BINARY, b"part", fin=False)
TEXT_PARTS = client_frame(TEXT, b"part", fin=False)
MALFORMED = {
    "no mask": server_frame(BINARY, b"abc"),
    "no mask, text": server_frame(TEXT, b""),
    "no mask, ping": server_frame(PING),
    "no mask, part": PARTS + server_frame(CONTINUATION, b"x"),
    **{f"reserved bits {bits}": client_frame(BINARY, b"x", reserved=bits) for bits in range(1, 8)},
    "reserved bit of a ping": client_frame(PING, b"x", reserved=4),
    "reserved bit of a part": PARTS + client_frame(CONTINUATION, b"x", reserved=4),
    **{f"opcode {number}": client_frame(number, b"") for number in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "opcode 3 within a message": PARTS + client_frame(3, b""),
    "ping in parts": client_frame(PING, b"x", fin=False),
    "pong in parts": client_frame(PONG, b"x", fin=False),
    "close in parts": client_frame(CLOSE, b"", fin=False),
    "ping of 126 bytes": client_frame(PING, bytes(126)),
    "pong of 126 bytes": client_frame(PONG, bytes(126)),
    "close of 126 bytes": client_frame(CLOSE, b"\x03\xe8" + b"x" * 124),
    "continuation of nothing": client_frame(CONTINUATION, b"x"),
    "first part of nothing": client_frame(CONTINUATION, b"x", fin=False),
    "continuation behind the end": PARTS + client_frame(CONTINUATION, b"x") + client_frame(CONTINUATION, b"y"),
    "message within a message": PARTS + client_frame(BINARY, b"x"),
    "text within a message": PARTS + client_frame(TEXT, b"x"),
    "parts within a message": PARTS + client_frame(BINARY, b"x", fin=False),
    "125 bytes in 16 bits": client_frame(BINARY, bytes(125), form=2),
    "125 bytes in 64 bits": client_frame(BINARY, bytes(125), form=8),
    "500 bytes in 64 bits": client_frame(BINARY, bytes(500), form=8),
    "highest bit": b"\x82\xff\x80" + bytes(7) + b"key!",
    "close of one byte": client_frame(CLOSE, b"\x03"),
    **{
        f"close code {code}": client_frame(CLOSE, code.to_bytes(2, "big"))
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535)
    },
}
NOT_UTF8 = {
    "text": client_frame(TEXT, b"a\xff"),
    "text that ends within a character": client_frame(TEXT, "é".encode()[:1]),
    "a surrogate": client_frame(TEXT, b"\xed\xa0\x80"),
    "a part": TEXT_PARTS + client_frame(CONTINUATION, b"\xc3(", fin=False),
    "a character that the next part breaks": client_frame(TEXT, b"\xc3", fin=False) + client_frame(CONTINUATION, b"("),
    "parts that end within a character": TEXT_PARTS + client_frame(CONTINUATION, b"\xe2\x82"),
    "the reason of a close": client_frame(CLOSE, b"\x03\xe8\xff"),
}
TOO_LARGE = {
    "a message": client_frame(BINARY, bytes(LIMIT + 1)),
    "one that is only announced": client_frame(BINARY, bytes(LIMIT + 1))[:4],
    "65536 bytes": client_frame(BINARY, bytes(65536))[:10],
    "2^63 - 1 bytes": b"\x82\xff\x7f" + b"\xff" * 7,
    "a text": client_frame(TEXT, b"x" * (LIMIT + 1)),
    "a first part": client_frame(BINARY, bytes(LIMIT + 1), fin=False),
    "parts together": PARTS + client_frame(CONTINUATION, bytes(LIMIT - 3)),
    "the announcement of a part": PARTS + client_frame(CONTINUATION, bytes(LIMIT - 3))[:4],
    "a last byte": PARTS + client_frame(CONTINUATION, bytes(LIMIT - 4), fin=False) + client_frame(CONTINUATION, b"x"),
}
MISTAKES = [
    *((f"malformed: {name}", stream, MalformedFrame, 1002) for name, stream in MALFORMED.items()),
    *((f"not UTF-8: {name}", stream, BadText, 1007) for name, stream in NOT_UTF8.items()),
    *((f"too large: {name}", stream, FrameTooLarge, 1009) for name, stream in TOO_LARGE.items()),
]
GOOD = [
    client_frame(TEXT, b"good") + client_frame(TEXT, b"day") * 3,
    client_frame(BINARY, b"good") + client_frame(BINARY, b"day") * 3,
]


@pytest.mark.parametrize(
    ("stream", "error", "code"), [each[1:] for each in MISTAKES], ids=[each[0] for each in MISTAKES]
)
def test_a_mistake(stream: bytes, error: type[ProtocolError], code: int):
    """What is right before it has come, and the pings before it are answered; what is behind it is not looked at."""
    for good in [b"", *GOOD]:
        for behind in (b"", client_frame(PING, b"late") + client_frame(BINARY, b"late") * 3):
            data = good + client_frame(PING, b"early") + stream + behind
            for pieces in ([data], [data[at : at + 1] for at in range(len(data))], [data[:9], data[9:]]):
                peer = Peer()
                with pytest.raises(error) as caught:
                    for piece in pieces:
                        peer.feed(piece)
                assert not good or peer.messages[:4] == [b"good", b"day", b"day", b"day"]
                assert b"late" not in peer.messages and len(peer.messages) <= 5
                assert peer.said == server_frame(PONG, b"early")
                with pytest.raises(error):
                    peer.feed(b"")  # it stays one
                ((opcode, payload),), rest = split_frames(peer.framing.farewell(caught.value.reason))
                assert (opcode, int.from_bytes(payload[:2], "big"), rest) == (CLOSE, code, b"")


def test_text_that_breaks_in_a_long_batch_is_found_where_it_stands():
    texts = ["grün".encode()] * 3000
    peer = Peer()
    with pytest.raises(BadText):
        peer.fed(*(client_frame(TEXT, text) for text in texts), client_frame(TEXT, b"\xff"), client_frame(TEXT, b"x"))
    assert peer.messages == texts


def test_a_batch_with_a_text_that_is_none_is_not_begun_again_and_again(monkeypatch: pytest.MonkeyPatch):
    batches = []
    monkeypatch.setattr("voltlane.lanes.websocket.unmask", lambda *area: batches.append(area) or unmask(*area))
    peer = Peer().fed(client_frame(TEXT, b"first"))
    with pytest.raises(BadText):
        peer.fed(*[client_frame(TEXT, "grün".encode())] * 100, client_frame(TEXT, b"\xff"))
    assert len(peer.messages) == 101 and len(batches) <= 3


@pytest.mark.parametrize("frame", [client_frame(TEXT, b"x"), client_frame(TEXT, b"x", fin=False), b"\x81\x85"])
def test_text_where_the_protocol_is_binary(frame: bytes):
    peer = Peer(text=False).fed(client_frame(BINARY, b"fine"))
    with pytest.raises(TextRefused):
        peer.feed(frame)
    assert peer.messages == [b"fine"]
    assert split_frames(peer.framing.farewell(CloseReason.TEXT_REFUSED))[0][0][1][:2] == (1003).to_bytes(2, "big")


# ---- ends


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe9leaving", (4321).to_bytes(2, "big") + "süß".encode()])
def test_a_close_is_answered_with_its_own_code(payload: bytes):
    frames = [client_frame(BINARY, b"last"), client_frame(PING, b"?"), client_frame(CLOSE, payload)]
    for peer in whole_and_in_pieces(*frames, client_frame(PING, b"late"), client_frame(BINARY, b"late"), b"\xff\xff"):
        assert peer.framing.ended and peer.messages == [b"last"] and peer.said == server_frame(PONG, b"?")
        assert peer.framing.farewell(CloseReason.PEER_CLOSED) == server_frame(CLOSE, payload[:2])
        assert peer.framing.farewell(CloseReason.PEER_CLOSED) == b"", "said once"


def test_a_close_within_a_message_ends_it():
    peer = Peer().fed(PARTS, client_frame(CLOSE))
    assert peer.framing.ended and peer.messages == []


@pytest.mark.parametrize("reason", list(CloseReason), ids=lambda reason: reason.name)
def test_every_reason_has_a_code_that_may_be_said(reason: CloseReason):
    ((opcode, payload),), _ = split_frames(WebSocket().farewell(reason))
    code = int.from_bytes(payload[:2], "big")
    assert opcode == CLOSE and payload[2:].decode() == reason.value
    assert code == code_for(reason) and (code in (1000, 1001, 1002, 1003, 1007, 1009) or 3000 <= code < 4000)
    if code >= 3000:
        assert code == ends.CODES.get(reason, 3001), "as a client of version 3 is told"


# ---- text or binary, downwards

DOWN = [b"plain", "grün".encode(), b"\xff\xfe", b"", b"x" * 200, "日本".encode() * 50, b"\xc3"]


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (client_frame(TEXT, b"hi"), True),
        (client_frame(TEXT, b"h", fin=False) + client_frame(CONTINUATION, b"i"), True),
        (client_frame(TEXT, b""), True),
        (client_frame(PING) + client_frame(TEXT, b"hi") + client_frame(BINARY, b"later"), True),
        (client_frame(BINARY, b"hi"), False),
        (client_frame(BINARY, b"hi") + client_frame(TEXT, b"later"), False),
        (client_frame(PING, b"nothing yet"), False),
    ],
)
def test_the_first_message_decides_what_goes_out(first: bytes, text: bool):
    framing = Peer().fed(first).framing
    for messages in (DOWN, DOWN[:1] * 40, [b"x" * 126] * 5, DOWN[2:3], [b"y" * 70_000]):
        encoded = framing.encode(join(messages))
        frames, rest = split_frames(encoded)
        assert rest == b"" and [payload for _, payload in frames] == messages
        for opcode, payload in frames:
            assert opcode == (TEXT if text and payload.decode("utf-8", "replace").encode() == payload else BINARY)
        for count in range(len(frames) + 1):
            at = len(b"".join(server_frame(*each) for each in frames[:count]))
            assert framing.whole(encoded, at) == count
            assert count == len(frames) or framing.whole(encoded, at + 1) == count
    assert framing.encode(b"") == b""


# ---- past decode


def test_when_whole_messages_may_be_taken_past_decode():
    peer = Peer(text=True)
    assert not peer.framing.plain_binary, "the first one decides whether text goes out"
    assert Peer(text=False).framing.plain_binary
    for frame, may in (
        (client_frame(TEXT, b"hi"), True),
        (PARTS, False),
        (client_frame(PING), False),
        (client_frame(CONTINUATION, b"", fin=False), False),
        (client_frame(CONTINUATION, b""), True),
        (client_frame(CLOSE), False),
    ):
        assert peer.fed(frame).framing.plain_binary == may


# ---- keeping alive


@pytest.mark.parametrize("word", [client_frame(PONG), client_frame(PONG, b"?"), client_frame(BINARY, b"x"), PARTS])
def test_whether_anything_came_since_the_ping(word: bytes):
    peer = Peer()
    assert peer.framing.heard, "nothing was asked"
    for _ in range(2):
        assert peer.framing.ping() == server_frame(PING) and not peer.framing.heard
        peer.feed(word[:-1])
        assert not peer.framing.heard
        peer.feed(word[-1:])
        assert peer.framing.heard
        if word == PARTS:
            peer.feed(client_frame(CONTINUATION, b"x"))


def test_an_idle_connection_takes_little():
    framing = Peer().fed(client_frame(BINARY, b"x" * 900), client_frame(PING, b"x" * 125)).framing
    assert not hasattr(framing, "__dict__")
    owned = [getattr(framing, name) for name in WebSocket.__slots__]
    assert sys.getsizeof(framing) <= 96 and owned.count(None) + owned.count(b"") == 2
    assert all(type(one) is not int or one < 257 for one in owned), "nothing but what all share"


# ---- in a server


@pytest.mark.parametrize(
    ("frame", "reason", "code"),
    [
        (server_frame(BINARY, b"no mask"), CloseReason.MALFORMED_FRAME, 1002),
        (client_frame(CLOSE, b"\x03\xe8\xff"), CloseReason.BAD_TEXT, 1007),
        (client_frame(TEXT, b"text"), CloseReason.TEXT_REFUSED, 1003),
        (client_frame(BINARY, bytes(200_000))[:20], CloseReason.FRAME_TOO_LARGE, 1009),
    ],
)
@pytest.mark.parametrize("early", [True, False])
def test_a_connection_is_closed_with_its_code(
    make: MakeWorld, frame: bytes, reason: CloseReason, code: int, early: bool
):
    home = make({"clients.packet_size_limit": 100_000})
    if early:
        client = Client(home, lane=lane)
        client.write(frame + client.speaker.encode(b"behind"))
    else:
        client = home.new(lane=lane)
        client.write(client.speaker.encode(b"before") + frame + client.speaker.encode(b"behind"))
    home.settle()
    assert client.ended and home.server.counters.closed == {reason: 1}
    assert client.speaker.ended and client.speaker.close_code == code
    if not early:
        assert home.master.data[client.id] == [b"before"]


def test_a_close_is_echoed(make: MakeWorld):
    home = make()
    client = home.new(lane=lane)
    client.write(client.speaker.encode(b"before") + client_frame(CLOSE, (4000).to_bytes(2, "big")))
    home.settle()
    assert client.ended and client.speaker.close_code == 4000 and home.master.data[client.id] == [b"before"]
    assert home.server.counters.closed == {CloseReason.PEER_CLOSED: 1}
