"""Length-prefixed frames: u32 little-endian size, then that many bytes (SPEC 2). The size does not count itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from struct import Struct
from typing import Callable, Union

from ..errors import FrameTooLarge

Buffer = Union[bytes, bytearray, memoryview]

PREFIX = Struct("<I")
PREFIX_SIZE = PREFIX.size

MAX_TAGGED = 8 * 1024 * 1024
"""Bytes of the largest frame v2 backends accept, header of the tagged packet included."""
GOODBYE = b"\xff\xff\xff"
"""What a client that will not come back says last (SPEC 5.4): the beginning of a size that no frame can have."""


def frame(payload: Buffer) -> bytes:
    """The payload with its size in front of it."""
    return PREFIX.pack(len(payload)) + bytes(payload)


def next_frame(buffer: Buffer, start: int, stop: int, limit: int) -> int:
    """Where the frame that begins at `start` ends, or 0 while `buffer[start:stop]` does not hold all of it.

    Raises FrameTooLarge as soon as the prefix is there and announces more than `limit` bytes.
    """
    if stop - start < PREFIX_SIZE:
        return 0
    (size,) = PREFIX.unpack_from(buffer, start)
    if size > limit:
        raise FrameTooLarge(size, limit)
    end = start + PREFIX_SIZE + int(size)
    return end if end <= stop else 0


def count_frames(chunk: Buffer) -> int:
    """How many frames stand in a chunk of whole frames: at once where they are few of one size, else in one pass."""
    end = len(chunk)
    if not end:
        return 0
    unpack = PREFIX.unpack_from
    size: int = unpack(chunk)[0]
    if end == PREFIX_SIZE + size:
        return 1
    count, odd = divmod(end, PREFIX_SIZE + size)
    if not odd and _are_alike(chunk, size, count):
        return count
    position = count = 0
    while position < end:
        position += PREFIX_SIZE + unpack(chunk, position)[0]
        count += 1
    return count


_FEW = 16


def _are_alike(chunk: Buffer, size: int, count: int) -> bool:
    """Whether so many frames of this size stand there: few are read at once, of many each byte of the prefixes."""
    if count <= _FEW:
        sizes, expected = _alike(size, count)
        return sizes(chunk) == expected
    step, prefix = PREFIX_SIZE + size, bytes(chunk[:PREFIX_SIZE])
    return all([chunk[at::step] == prefix[at : at + 1] * count for at in range(PREFIX_SIZE)])


@lru_cache(maxsize=512)
def _alike(size: int, count: int) -> tuple[Callable[[Buffer], tuple[int, ...]], tuple[int, ...]]:
    """What reads the sizes of so many frames, all of one size, and what it then finds."""
    return Struct(f"<{f'I{size}x' * count}").unpack_from, (size,) * count


def frame_at(chunk: Buffer, offset: int, start: int = 0) -> tuple[int, int]:
    """Where the frame begins that byte `offset` belongs to, and how many frames stand between `start` and it.

    `start` is the beginning of any frame at or before the offset.
    """
    unpack, count = PREFIX.unpack_from, 0
    while True:
        following: int = start + PREFIX_SIZE + unpack(chunk, start)[0]
        if following > offset:
            return start, count
        start = following
        count += 1


def skip_frames(chunk: Buffer, frames: int) -> int:
    """Where in a chunk of whole frames the first `frames` of them end."""
    unpack, position = PREFIX.unpack_from, 0
    for _ in range(frames):
        position += PREFIX_SIZE + unpack(chunk, position)[0]
    return position


class FrameBuffer:
    """Collects received bytes and gives whole frames out: for the libraries, where one peer is all there is.

    >>> received = FrameBuffer(limit=16)
    >>> received.feed(bytes.fromhex("02000000 6869 0300"))
    >>> [bytes(payload) for payload in received]
    [b'hi']
    """

    __slots__ = ("_data", "_limit", "_position")

    def __init__(self, limit: int) -> None:
        self._data = bytearray()
        self._position = 0
        self._limit = limit

    def feed(self, data: Buffer) -> None:
        """Add received bytes."""
        if self._position:
            del self._data[: self._position]
            self._position = 0
        self._data += data

    def pop(self) -> bytes | None:
        """The next whole frame's payload, or None. Raises FrameTooLarge."""
        start = self._position
        end = next_frame(self._data, start, len(self._data), self._limit)
        if not end:
            return None
        self._position = end
        return bytes(memoryview(self._data)[start + PREFIX_SIZE : end])

    def __iter__(self) -> Iterator[bytes]:
        while (payload := self.pop()) is not None:
            yield payload

    def __len__(self) -> int:
        """Bytes held that were not given out yet."""
        return len(self._data) - self._position

    def clear(self) -> None:
        """Forget everything, as a new connection does."""
        self._data = bytearray()
        self._position = 0
