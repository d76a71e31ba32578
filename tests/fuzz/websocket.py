"""Fuzz targets of WebSocket: the framing however its bytes are cut, also against wsproto; and its batch loops."""

from __future__ import annotations

import importlib.util

from fuzz.engine import Target
from fuzz.parsers import FORMS, SHORT
from kit.frames import join, split
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

from voltlane.errors import ProtocolError
from voltlane.lanes.websocket import WebSocket
from voltlane.wire.batch import plain
from voltlane.wire.websocket import WHOLE_BINARY

LIMIT = 300
"""Bytes of the largest message that the framing's target takes."""

if importlib.util.find_spec("wsproto"):
    from kit.websocket_oracle import compare
else:

    def compare(data: bytes) -> None:
        """There is nothing to compare with."""


def framing(data: bytes) -> None:
    """However a client's bytes are cut: the same messages, the same pongs, the same end, the same mistake."""
    text, data = data[:1] > b"\x7f", data[1:]

    def read(pieces: list[bytes], most: int) -> tuple[list[bytes], bytes, bytes, str]:
        peer, kept, messages, said, mistake = WebSocket(text), b"", b"", b"", ""
        try:
            for piece in pieces:
                kept, used = kept + piece, -1
                while used and kept and not peer.ended:
                    chunk, used = peer.decode(kept, 0, len(kept), LIMIT, most)
                    messages, said, kept = messages + chunk, said + peer.take_reply(), kept[used:]
                    assert len(split(chunk)) <= most
                    assert peer.held <= 2 * LIMIT + 1000
        except ProtocolError as error:
            mistake = error.reason.value
        end = peer.farewell(ProtocolError.reason) if peer.ended else b""
        return split(messages), said, end, mistake

    whole = read([data], 1 << 40)
    assert all(len(message) <= LIMIT for message in whole[0])
    assert all(opcode == PONG for opcode, _ in split_frames(whole[1])[0]) and not split_frames(whole[1])[1]
    cut = data[0] % (len(data) + 1) if data else 0
    assert read([data[:cut], data[cut:]], 1 << 40) == whole == read([data], 1)
    if len(data) <= SHORT:
        assert read([data[at : at + 1] for at in range(len(data))], 1 << 40) == whole
    compare(data)


def loops(data: bytes) -> None:
    """Every form of the loops does what the plain one does, and what one makes of a chunk holds the same messages."""
    most, first = data[:1][0] * 2 if data else 0, data[1] if len(data) > 1 else 0
    data = data[2:]
    chunk, end, count = plain.unmask(data, 0, len(data), first, most)
    assert end <= len(data) and len(split(chunk)) == count
    tagged, frames = plain.retag_masked(data, 0, len(data), 7, most), plain.frame(chunk, WHOLE_BINARY)
    assert split_frames(frames) == ([(BINARY, message) for message in split(chunk)], b"")
    for form in FORMS:
        assert form.unmask(bytearray(data), 0, len(data), first, most) == (chunk, end, count)
        assert form.retag_masked(data, 0, len(data), 7, most) == tagged
        assert form.frame(chunk, WHOLE_BINARY) == frames
        assert form.mask(data, data[:4].ljust(4, b"k")) == plain.mask(data, data[:4].ljust(4, b"k"))


_FRAMES = [
    client_frame(BINARY, b"abc"),
    client_frame(TEXT, "grün".encode()),
    client_frame(TEXT, "ü".encode()[:1], fin=False),
    client_frame(CONTINUATION, "ü".encode()[1:]),
    client_frame(CONTINUATION, b"part", fin=False),
    client_frame(BINARY, bytes(130), fin=False),
    client_frame(BINARY, bytes(200)),
    client_frame(PING, b"?"),
    client_frame(PONG),
    client_frame(CLOSE, b"\x03\xe8bye"),
    server_frame(BINARY, b"no mask"),
    client_frame(BINARY, b"long", form=8),
]
_BATCHES = [client_frame(BINARY, b"abcde") * 5, client_frame(BINARY, bytes(140)) * 3 + client_frame(BINARY)]

TARGETS = [
    Target("websocket", framing, [b"\x80" + b"".join(_FRAMES[:9]), b"\0" + _FRAMES[0] * 4 + _FRAMES[9]], _FRAMES),
    Target("masked", loops, [bytes((100, 0x82)) + batch for batch in (*_BATCHES, join([b"abc"]))], _FRAMES),
]
