"""The length prefix as a framing: what it gives of any piece of a stream, and when it refuses."""

from __future__ import annotations

import pytest
from kit.frames import join, split
from kit.vectors import VECTORS

from voltlane.errors import FrameTooLarge
from voltlane.lanes.framing import EVERY
from voltlane.lanes.prefix import LengthPrefix
from voltlane.reasons import CloseReason
from voltlane.wire.framing import frame

LIMIT = 1000
PAYLOADS = [b"one", b"", b"three" * 60, b"", b"x" * LIMIT, b"end"]
STREAM = join(PAYLOADS)
ENDS = [len(join(PAYLOADS[: count + 1])) for count in range(len(PAYLOADS))]
"""Where each frame of the stream ends."""
BUFFERS = [bytes, bytearray, lambda data: memoryview(bytearray(data))]


def whole_at(cut: int) -> int:
    """How many frames are whole in so many bytes of the stream."""
    return sum(end <= cut for end in ENDS)


def decode(data: bytes, limit: int = LIMIT, most: int = EVERY) -> tuple[list[bytes], int]:
    """All of it from its beginning, and the position."""
    chunk, position = LengthPrefix().decode(data, 0, len(data), limit, most)
    assert chunk == data[:position]
    return split(chunk), position


# ---- decode


@pytest.mark.parametrize("kind", BUFFERS, ids=["bytes", "bytearray", "memoryview"])
def test_the_whole_stream_out_of_any_buffer(kind):
    buffer = kind(STREAM)
    chunk, position = LengthPrefix().decode(buffer, 0, len(STREAM), LIMIT)
    assert type(chunk) is bytes and (chunk, position) == (STREAM, len(STREAM))


def test_the_golden_stream():
    stream = bytes.fromhex(VECTORS["framing"]["stream_hex"])
    frames = [bytes.fromhex(payload) for payload in VECTORS["framing"]["frames"]]
    assert decode(stream) == (frames, len(stream))


def test_nothing():
    assert decode(b"") == ([], 0)
    assert LengthPrefix().decode(STREAM, 7, 7, LIMIT) == (b"", 7)


def test_byte_by_byte():
    kept, received = b"", []
    for number, byte in enumerate(STREAM):
        kept += bytes([byte])
        payloads, position = decode(kept)
        received += payloads
        kept = kept[position:]
        assert len(received) == whole_at(number + 1)
    assert received == PAYLOADS and kept == b""


def test_cut_at_every_byte():
    """What is whole at the cut comes, and the rest of it with what is behind."""
    for cut in range(len(STREAM) + 1):
        count = whole_at(cut)
        payloads, position = decode(STREAM[:cut])
        assert payloads == PAYLOADS[:count] and position == (ENDS[count - 1] if count else 0)
        assert decode(STREAM[position:])[0] == PAYLOADS[count:]


def test_what_is_around_it_is_not_looked_at():
    """The buffer is the server's scratch: before the start and behind the stop stands what was there before."""
    for behind in (b"\xff" * 9, bytes(2000)):
        for cut in range(len(STREAM) + 1):
            buffer = b"\xff" * 5 + STREAM[:cut] + behind
            chunk, position = LengthPrefix().decode(buffer, 5, 5 + cut, LIMIT)
            assert split(chunk) == PAYLOADS[: whole_at(cut)] and position == 5 + len(chunk)


def test_trailing_data_is_left():
    for trailing in (b"\x05", b"\x05\0\0", b"\x05\0\0\0", b"\x05\0\0\0four"):
        assert decode(STREAM + trailing) == (PAYLOADS, len(STREAM))


def test_as_many_as_are_wanted():
    for most in range(1, len(PAYLOADS) + 3):
        payloads, position = decode(STREAM + b"\x05\0", most=most)
        assert payloads == PAYLOADS[:most] and position == ENDS[min(most, len(ENDS)) - 1]


def test_one_at_a_time():
    position, received = 0, []
    while position < len(STREAM):
        chunk, position = LengthPrefix().decode(STREAM, position, len(STREAM), LIMIT, 1)
        received += split(chunk)
    assert received == PAYLOADS


def test_what_was_returned_stays_when_the_buffer_is_used_again():
    scratch = bytearray(STREAM)
    chunk, _ = LengthPrefix().decode(scratch, 0, len(scratch), LIMIT)
    scratch[:] = bytes(len(scratch))
    assert chunk == STREAM


# ---- a limit


def test_a_frame_of_the_limit_and_one_over_it():
    assert decode(frame(bytes(LIMIT)))[0] == [bytes(LIMIT)]
    with pytest.raises(FrameTooLarge) as caught:
        decode(frame(bytes(LIMIT + 1)))
    assert (caught.value.size, caught.value.limit) == (LIMIT + 1, LIMIT)
    assert caught.value.reason is CloseReason.FRAME_TOO_LARGE
    assert decode(join([b"", b""]), limit=0)[0] == [b"", b""]
    with pytest.raises(FrameTooLarge):
        decode(frame(b"x"), limit=0)


@pytest.mark.parametrize("announced", [LIMIT + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_it_is_refused_as_soon_as_it_is_announced(announced: int):
    """And not before."""
    prefix = announced.to_bytes(4, "little")
    for cut in range(4):
        assert decode(prefix[:cut]) == ([], 0)
    with pytest.raises(FrameTooLarge):
        decode(prefix)


def test_what_was_right_before_a_mistake_comes_first():
    mistake = (LIMIT + 1).to_bytes(4, "little")
    for count in range(1, len(PAYLOADS) + 1):
        stream = join(PAYLOADS[:count])
        for behind in (mistake, mistake + b"more"):
            payloads, position = decode(stream + behind)
            assert payloads == PAYLOADS[:count] and position == len(stream)
            with pytest.raises(FrameTooLarge):
                LengthPrefix().decode(stream + behind, position, len(stream + behind), LIMIT)


def test_a_mistake_behind_what_is_wanted_is_for_later():
    """In a handshake, whose messages are small: what is behind it is for the session, where other limits hold."""
    stream = join([b"last", bytes(LIMIT)])
    assert decode(stream, limit=4, most=1) == ([b"last"], 8)
    assert decode(stream[8:]) == ([bytes(LIMIT)], LIMIT + 4)


# ---- encode


@pytest.mark.parametrize("kind", BUFFERS, ids=["bytes", "bytearray", "memoryview"])
def test_a_chunk_is_on_the_wire_as_it_is(kind):
    encoded = LengthPrefix().encode(kind(STREAM))
    assert type(encoded) is bytes and encoded == STREAM


def test_whole_at_every_byte():
    for written in range(len(STREAM)):
        assert LengthPrefix().whole(STREAM, written) == whole_at(written)


@pytest.mark.parametrize("count", [0, 1, len(PAYLOADS)])
def test_whole_where_all_of_it_is_written(count: int):
    stream = join(PAYLOADS[:count])
    assert LengthPrefix().whole(stream, len(stream)) == count


def test_one_does_for_everybody():
    """It keeps nothing, says nothing of its own, and never ends by itself."""
    framing = LengthPrefix()
    framing.decode(STREAM[:-1], 0, len(STREAM) - 1, LIMIT)
    assert framing.plain and framing.held == 0 and not framing.ended and framing.take_reply() == b""
    assert all(framing.farewell(reason) == b"" for reason in CloseReason)
    assert not hasattr(framing, "__dict__")
