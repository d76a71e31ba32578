"""Frames (SPEC 2): the golden stream fed whole, byte by byte and with trailing data; limits; the chunk functions."""

from __future__ import annotations

import struct

import pytest
from kit.vectors import VECTORS, cuts

from voltlane.errors import FrameTooLarge
from voltlane.reasons import CloseReason
from voltlane.wire.framing import (
    MAX_TAGGED,
    PREFIX_SIZE,
    FrameBuffer,
    count_frames,
    frame,
    frame_at,
    next_frame,
    skip_frames,
)

STREAM = bytes.fromhex(VECTORS["framing"]["stream_hex"])
FRAMES = [bytes.fromhex(payload) for payload in VECTORS["framing"]["frames"]]
LIMIT = 1000


def split(data: bytes, limit: int = LIMIT) -> tuple[list[bytes], int]:
    """Every whole frame by `next_frame`, and the position behind the last one."""
    payloads, position = [], 0
    while end := next_frame(data, position, len(data), limit):
        payloads.append(bytes(data[position + PREFIX_SIZE : end]))
        position = end
    return payloads, position


def naive_positions(chunk: bytes) -> list[int]:
    """Where each frame of a chunk begins, and where the last one ends: the slow way."""
    positions, position = [0], 0
    while position < len(chunk):
        position += 4 + int.from_bytes(chunk[position : position + 4], "little")
        positions.append(position)
    return positions


def test_the_vectors_are_worth_testing_with():
    assert b"" in FRAMES and len(FRAMES) >= 3
    assert max(map(len, FRAMES)) > 255, "more than one byte of the prefix is used"


def test_frame_makes_the_golden_stream():
    assert b"".join(map(frame, FRAMES)) == STREAM


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_buffer(kind):
    assert frame(kind(b"hi")) == bytes.fromhex("02000000 6869")
    assert split(kind(STREAM)) == (FRAMES, len(STREAM))


def test_the_limit_is_the_one_of_the_vectors():
    assert VECTORS["framing"]["max_frame_default"] == MAX_TAGGED


class TestNextFrame:
    def test_whole(self):
        assert split(STREAM) == (FRAMES, len(STREAM))

    def test_cut_at_every_byte(self):
        ends = naive_positions(STREAM)
        for piece in cuts(STREAM):
            payloads, position = split(piece)
            assert payloads == FRAMES[: len(payloads)]
            assert position == max(end for end in ends if end <= len(piece))

    @pytest.mark.parametrize("trailing", [b"\x00", b"\x05\x00\x00", b"\x05\x00\x00\x00", b"\x05\x00\x00\x00abcd"])
    def test_trailing_data_is_left_alone(self, trailing):
        assert split(STREAM + trailing) == (FRAMES, len(STREAM))

    def test_it_looks_at_its_part_of_the_buffer_only(self):
        data = b"\xff" * 3 + frame(b"abc") + b"\x00" * 9
        assert next_frame(data, 3, 10, LIMIT) == 10
        assert next_frame(data, 3, 9, LIMIT) == 0
        assert next_frame(data, 3, 6, LIMIT) == 0
        assert next_frame(data, 3, 3, LIMIT) == 0

    def test_a_frame_of_the_limit_passes_and_of_one_more_is_refused(self):
        assert next_frame(frame(b"x" * LIMIT), 0, LIMIT + 4, LIMIT) == LIMIT + 4
        with pytest.raises(FrameTooLarge) as refused:
            next_frame(frame(b"x" * (LIMIT + 1)), 0, LIMIT + 5, LIMIT)
        assert (refused.value.size, refused.value.limit) == (LIMIT + 1, LIMIT)
        assert refused.value.reason is CloseReason.FRAME_TOO_LARGE

    @pytest.mark.parametrize("size", [LIMIT + 1, 2**31 - 1, 2**31, 2**32 - 1])
    def test_the_prefix_alone_is_enough_to_refuse(self, size):
        prefix = struct.pack("<I", size)
        for piece in cuts(prefix):
            assert next_frame(piece, 0, len(piece), LIMIT) == 0
        with pytest.raises(FrameTooLarge, match=f"{size} bytes was announced, at most {LIMIT}"):
            next_frame(prefix, 0, 4, LIMIT)


class TestFrameBuffer:
    def test_whole(self):
        buffer = FrameBuffer(LIMIT)
        buffer.feed(STREAM)
        assert list(buffer) == FRAMES
        assert len(buffer) == 0

    def test_byte_by_byte(self):
        buffer, payloads = FrameBuffer(LIMIT), []
        for at in range(len(STREAM)):
            buffer.feed(STREAM[at : at + 1])
            payloads += buffer
        assert payloads == FRAMES
        assert len(buffer) == 0

    def test_cut_in_two_at_every_byte(self):
        for piece in cuts(STREAM):
            buffer = FrameBuffer(LIMIT)
            buffer.feed(piece)
            first = list(buffer)
            buffer.feed(STREAM[len(piece) :])
            assert first + list(buffer) == FRAMES

    def test_trailing_data_waits_for_its_rest(self):
        buffer = FrameBuffer(LIMIT)
        buffer.feed(STREAM + b"\x02\x00\x00\x00h")
        assert list(buffer) == FRAMES
        assert len(buffer) == 5
        assert buffer.pop() is None
        buffer.feed(b"i")
        assert buffer.pop() == b"hi"
        assert buffer.pop() is None

    def test_packets_given_out_are_no_views(self):
        buffer = FrameBuffer(LIMIT)
        buffer.feed(frame(b"abc"))
        payload = buffer.pop()
        buffer.feed(b"x" * 100_000)
        assert payload == b"abc" and type(payload) is bytes

    def test_an_oversized_frame_is_refused_behind_good_ones_and_stays_refused(self):
        buffer = FrameBuffer(limit=2)
        buffer.feed(frame(b"hi") + b"\x03\x00\x00\x00")
        assert buffer.pop() == b"hi"
        for _ in range(2):
            with pytest.raises(FrameTooLarge):
                buffer.pop()

    def test_clear_forgets_half_a_frame(self):
        buffer = FrameBuffer(LIMIT)
        buffer.feed(frame(b"abc") + b"\x09\x00")
        assert buffer.pop() == b"abc"
        buffer.clear()
        assert len(buffer) == 0
        buffer.feed(frame(b"new"))
        assert list(buffer) == [b"new"]


class TestChunks:
    """Functions over a chunk of whole frames, against the slow way."""

    POSITIONS = naive_positions(STREAM)

    def test_count(self):
        assert count_frames(STREAM) == len(FRAMES)
        assert count_frames(b"") == 0

    def test_the_frame_that_a_byte_belongs_to(self):
        for offset in range(len(STREAM)):
            expected = max(position for position in self.POSITIONS if position <= offset)
            assert frame_at(STREAM, offset) == (expected, self.POSITIONS.index(expected))

    def test_the_frame_that_a_byte_belongs_to_counted_from_a_later_frame(self):
        for number, start in enumerate(self.POSITIONS[:-1]):
            for offset in range(start, len(STREAM)):
                found, count = frame_at(STREAM, offset, start)
                assert (found, number + count) == frame_at(STREAM, offset)

    def test_skip(self):
        assert [skip_frames(STREAM, count) for count in range(len(FRAMES) + 1)] == self.POSITIONS


def test_any_frames_cut_anywhere_come_out_as_they_went_in():
    pytest.importorskip("hypothesis")
    from hypothesis import given
    from hypothesis import strategies as st

    @given(st.lists(st.binary(max_size=300), max_size=20), st.lists(st.integers(0, 6000), max_size=20))
    def check(payloads: list[bytes], places: list[int]) -> None:
        stream = b"".join(map(frame, payloads))
        buffer, found = FrameBuffer(limit=300), []
        bounds = sorted({0, len(stream), *(place for place in places if place < len(stream))})
        for start, stop in zip(bounds, bounds[1:]):
            buffer.feed(stream[start:stop])
            found += buffer
        assert found == payloads
        assert count_frames(stream) == len(payloads)
        assert split(stream, 300) == (payloads, len(stream))

    check()


def test_no_bytes_at_all_make_it_raise_anything_else():
    pytest.importorskip("hypothesis")
    from hypothesis import given
    from hypothesis import strategies as st

    @given(st.binary(max_size=200), st.integers(0, 64))
    def check(data: bytes, limit: int) -> None:
        buffer = FrameBuffer(limit)
        buffer.feed(data)
        taken = 0
        try:
            for payload in buffer:
                assert len(payload) <= limit
                taken += 4 + len(payload)
        except FrameTooLarge:
            assert int.from_bytes(data[taken : taken + 4], "little") > limit
        assert len(buffer) == len(data) - taken

    check()
