"""WebSocket's heads, closes and parts of messages, against the RFC's own examples and the slow way of the kit."""

from __future__ import annotations

import pytest
from kit.websocket_speaker import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame, head, server_frame

from voltlane.errors import BadText, FrameTooLarge, MalformedFrame
from voltlane.reasons import CloseReason
from voltlane.wire import websocket
from voltlane.wire.websocket import (
    NO_CODE,
    Opcode,
    Parts,
    check_size,
    check_text,
    client_head,
    decode_close,
    encode_close,
    is_text,
    server_head,
    whole_frames,
)

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 2**32, 2**63 - 1]


def test_the_accept_key_of_the_rfc():
    assert websocket.accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


# ---- heads


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opcode", [CONTINUATION, TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
def test_a_clients_head(size: int, opcode: int, fin: bool):
    """As soon as its size is there, wherever it stands, and whatever is behind it."""
    stream = head(opcode, size, fin=fin)
    for before, behind in ((b"", b""), (b"\xff\xff", b""), (b"", b"key and more")):
        data = before + stream + behind
        for cut in range(len(stream)):
            assert client_head(data, len(before), len(before) + cut) is None
        expected = ((0x80 if fin else 0) | opcode, size, len(before) + len(stream) + 4)
        assert client_head(data, len(before), len(data)) == expected
        assert client_head(bytearray(data), len(before), len(before) + len(stream)) == expected


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
@pytest.mark.parametrize("size", [0, 1, 125])
def test_the_head_of_a_control_frame(opcode: int, size: int):
    assert client_head(head(opcode, size), 0, 2) == (0x80 | opcode, size, 6)


MISTAKES = {
    "reserved bit 1": (head(BINARY, 1, reserved=4), 1, "reserved bits"),
    "reserved bit 2": (head(TEXT, 1, reserved=2), 1, "reserved bits"),
    "reserved bit 3": (head(PING, 1, reserved=1), 1, "reserved bits"),
    **{f"opcode {number}": (head(number, 1), 1, f"opcode {number};") for number in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    **{
        f"{name} in parts": (head(opcode, 1, fin=False), 1, f"a {name} in parts")
        for name, opcode in (("close", CLOSE), ("ping", PING), ("pong", PONG))
    },
    **{
        f"{name} without a mask": (head(opcode, size, masked=False), 2, "without a mask")
        for name, opcode, size in (("text", TEXT, 5), ("binary", BINARY, 500), ("ping", PING, 0), ("close", CLOSE, 2))
    },
    **{
        f"control frame {opcode} of 126 bytes": (head(opcode, 126), 2, "more than 125")
        for opcode in (CLOSE, PING, PONG)
    },
    "control frame of 2^40 bytes": (head(PING, 2**40), 2, "more than 125"),
    "125 bytes in 16 bits": (head(BINARY, 125, form=2), 4, "125 bytes said in 2 bytes"),
    "nothing in 16 bits": (head(BINARY, 0, form=2), 4, "fewest possible"),
    "125 bytes in 64 bits": (head(BINARY, 125, form=8), 10, "fewest possible"),
    "65535 bytes in 64 bits": (head(BINARY, 65535, form=8), 10, "65535 bytes said in 8 bytes"),
    "64th bit": (head(BINARY, 2**63, form=8), 10, "highest bit"),
    "all bits": (head(BINARY, 2**64 - 1, form=8), 10, "highest bit"),
}


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("behind", [b"", b"\0" * 20])
def test_a_head_that_cannot_be_a_clients(name: str, behind: bytes):
    """It is refused with the byte that shows it, and not later; with 1002."""
    stream, told_by, message = MISTAKES[name]
    for stop in range(told_by):
        assert client_head(stream, 0, stop) is None
    for stop in range(told_by, len(stream + behind) + 1):
        with pytest.raises(MalformedFrame, match=message) as caught:
            client_head(stream + behind, 0, stop)
        assert caught.value.reason is CloseReason.MALFORMED_FRAME


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70_000, 2**32])
def test_a_servers_head(size: int):
    assert server_head(0x82, size) == head(BINARY, size, masked=False)


def test_the_frames_of_the_rfc():
    """Its examples (5.7), where they are of one side's."""
    assert client_head(bytes.fromhex("818537fa213d7f9f4d5158"), 0, 11) == (0x81, 5, 6)
    assert client_frame(TEXT, b"Hello", bytes.fromhex("37fa213d")).hex() == "818537fa213d7f9f4d5158"
    assert (server_head(0x81, 5) + b"Hello").hex() == "810548656c6c6f"
    assert websocket.server_frame(Opcode.PING, b"Hello").hex() == "890548656c6c6f"
    assert server_head(0x82, 256).hex() == "827e0100"
    assert server_head(0x82, 65536).hex() == "827f0000000000010000"


def test_how_many_frames_are_whole():
    frames = [server_frame(BINARY, bytes(size)) for size in (0, 5, 0, 125, 126, 300, 65536, 1)]
    stream = b"".join(frames)
    ends = [len(b"".join(frames[:count])) for count in range(len(frames) + 1)]
    for written in {*range(700), *(end + off for end in ends for off in (-1, 0, 1) if 0 <= end + off <= len(stream))}:
        assert whole_frames(stream, written) == max(count for count, end in enumerate(ends) if end <= written)


# ---- messages


def test_a_message_over_the_limit():
    check_size(10, 0, 10)
    check_size(4, 6, 10)
    check_size(0, 10, 10)
    for size, before in ((11, 0), (5, 6), (1, 10), (2**63 - 1, 5)):
        with pytest.raises(FrameTooLarge) as caught:
            check_size(size, before, 10)
        assert caught.value.size == size + before and caught.value.reason is CloseReason.FRAME_TOO_LARGE


TEXTS = ["", "plain", "κόσμε", "日本語", "🚀 ok", "\x00", "\ufffe\U0010ffff"]
NO_TEXTS = {
    "a byte that is none": b"\xff",
    "a continuation alone": b"\x80",
    "cut": "é".encode()[:1],
    "cut, four bytes": "🚀".encode()[:3],
    "overlong": b"\xc0\xaf",
    "overlong, three bytes": b"\xe0\x80\xaf",
    "surrogate": b"\xed\xa0\x80",
    "above the last": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "behind what is right": "κόσμ".encode() + b"\xed\xa0\x80" + b"edited",
}


@pytest.mark.parametrize("text", TEXTS)
def test_text_in_parts(text: str):
    """Cut anywhere, also inside of a character."""
    data = text.encode()
    check_text(data)
    assert is_text(data)
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            parts = Parts(text=True)
            parts.add(data[:first], False)
            parts.add(data[first:second], False)
            parts.add(data[second:], True)
            assert bytes(parts.data) == data and parts.text


@pytest.mark.parametrize("name", NO_TEXTS)
def test_what_is_no_text(name: str):
    data = NO_TEXTS[name]
    assert not is_text(data)
    with pytest.raises(BadText) as caught:
        check_text(data)
    assert caught.value.reason is CloseReason.BAD_TEXT
    for cut in range(len(data) + 1):
        parts = Parts(text=True)
        with pytest.raises(BadText):
            parts.add(data[:cut], False)
            parts.add(data[cut:], True)


def test_a_part_that_is_no_text_is_refused_before_the_message_is_whole_and_changes_nothing():
    parts = Parts(text=True)
    parts.add(b"right \xc3", False)
    for _ in range(2):
        with pytest.raises(BadText):
            parts.add(b"(", False)
        assert bytes(parts.data) == b"right \xc3"
    parts.add(b"\xa9", True)
    assert bytes(parts.data) == "right é".encode()


def test_parts_that_are_no_text_need_not_be_any():
    parts = Parts(text=False)
    for part in (b"\xff", b"", b"\xfe"):
        parts.add(part, False)
    parts.add(b"\x80", True)
    assert bytes(parts.data) == b"\xff\xfe\x80"


# ---- closes

MAY_BE_SAID = [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999]
MAY_NOT = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", MAY_BE_SAID)
def test_a_close(code: int):
    assert decode_close(code.to_bytes(2, "big")) == (code, "")
    assert decode_close(code.to_bytes(2, "big") + "zu spät".encode()) == (code, "zu spät")
    assert decode_close(memoryview(code.to_bytes(2, "big") + b"bye")) == (code, "bye")


@pytest.mark.parametrize("code", MAY_NOT)
def test_a_close_with_a_code_that_nobody_sends(code: int):
    with pytest.raises(MalformedFrame, match=f"code {code}"):
        decode_close(code.to_bytes(2, "big"))


def test_closes_that_say_nothing_or_half_of_something():
    assert decode_close(b"") == (NO_CODE, "")
    with pytest.raises(MalformedFrame, match="one byte"):
        decode_close(b"\x03")
    for data in NO_TEXTS.values():
        with pytest.raises(BadText):
            decode_close(b"\x03\xe8" + data)


def test_the_servers_close():
    assert encode_close(1000) == bytes.fromhex("880203e8")
    assert encode_close(1001, "bye") == bytes.fromhex("880503e9") + b"bye"
    assert encode_close(NO_CODE) == bytes.fromhex("8800")
    for size in range(110, 140):  # of whole characters, and never more than fit
        payload = encode_close(3000, "é" * size)[2:]
        assert len(payload) <= 125 and payload[2:].decode() == "é" * min(size, 61)


@pytest.mark.parametrize("reason", list(CloseReason), ids=lambda reason: reason.name)
def test_every_reason_fits_into_a_close(reason: CloseReason):
    assert decode_close(encode_close(3001, reason.value)[2:]) == (3001, reason.value)
