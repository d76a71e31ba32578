"""The same loops for CPython, where a run of frames of one size goes through `struct` at a quarter of the cost.

Whether the frames have one size is told by four strided slices, one for each byte of the prefix, compared with what
they would be; a compiled `Struct` then takes 32 frames at a call. Anything else goes through the plain loop.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from struct import Struct

from ..framing import PREFIX, PREFIX_SIZE
from ..tagged import HEADER, HEADER_SIZE, TAG_SIZE
from . import plain

BLOCK = 32
"""Frames a compiled Struct takes at once."""
SHORTEST_RUN = 3


@lru_cache(maxsize=512)
def _payloads(size: int, frames: int) -> Struct:
    return Struct("<" + f"{PREFIX_SIZE}x{size}s" * frames)


@lru_cache(maxsize=512)
def _ids_and_payloads(size: int, frames: int) -> Struct:
    return Struct("<" + f"{PREFIX_SIZE}xQx{size}s" * frames)


def _same_size(buffer: bytearray, start: int, stop: int, stride: int, frames: int) -> bool:
    """Whether each of the frames, assumed `stride` bytes apart, has the first one's prefix."""
    return all(buffer[at:stop:stride] == buffer[at : at + 1] * frames for at in range(start, start + PREFIX_SIZE))


def retag(buffer: bytearray, start: int, stop: int, client_id: int, most: int) -> tuple[bytes, int, int]:
    """See `plain.retag`."""
    if stop - start < PREFIX_SIZE:
        return b"", start, 0
    (size,) = PREFIX.unpack_from(buffer, start)
    stride = size + PREFIX_SIZE
    frames = (stop - start) // stride
    if size > most or not frames:
        return b"", start, 0
    end = start + frames * stride
    if frames == 1:
        if stop - end < PREFIX_SIZE:
            return HEADER.pack(size + TAG_SIZE, client_id, 0) + buffer[start + PREFIX_SIZE : end], end, 1
    elif frames >= SHORTEST_RUN and _same_size(buffer, start, end, stride, frames):
        head = HEADER.pack(size + TAG_SIZE, client_id, 0)
        if frames <= BLOCK:
            return head + head.join(_payloads(size, frames).unpack_from(buffer, start)), end, frames
        payloads: list[bytes] = []
        rest = start + frames // BLOCK * BLOCK * stride
        unpack = _payloads(size, BLOCK).unpack_from
        for position in range(start, rest, BLOCK * stride):
            payloads += unpack(buffer, position)
        if rest < end:
            payloads += _payloads(size, frames % BLOCK).unpack_from(buffer, rest)
        return head + head.join(payloads), end, frames
    return plain.retag(buffer, start, stop, client_id, most)


def group(buffer: bytearray, start: int, stop: int, most: int) -> tuple[dict[int, bytes], int, int]:
    """See `plain.group`."""
    if stop - start < HEADER_SIZE:
        return {}, start, 0
    size, client_id, flag = HEADER.unpack_from(buffer, start)
    stride = size + PREFIX_SIZE
    frames = (stop - start) // stride
    if flag or size > most or size < TAG_SIZE or not frames:
        return {}, start, 0
    end = start + frames * stride
    payload = size - TAG_SIZE
    head = PREFIX.pack(payload)
    if frames == 1:
        if stop - end < PREFIX_SIZE:
            return {client_id: head + buffer[start + HEADER_SIZE : end]}, end, 1
    elif (
        frames >= SHORTEST_RUN
        and _same_size(buffer, start, end, stride, frames)
        and not any(buffer[start + HEADER_SIZE - 1 : end : stride])
    ):
        unpack = _ids_and_payloads(payload, BLOCK).unpack_from
        payloads: defaultdict[int, list[bytes]] = defaultdict(list)
        rest = start + frames // BLOCK * BLOCK * stride
        for position in range(start, rest, BLOCK * stride):
            values = unpack(buffer, position)
            for client_id, data in zip(values[::2], values[1::2]):
                payloads[client_id].append(data)
        if rest < end:
            values = _ids_and_payloads(payload, frames % BLOCK).unpack_from(buffer, rest)
            for client_id, data in zip(values[::2], values[1::2]):
                payloads[client_id].append(data)
        return {client_id: head + head.join(parts) for client_id, parts in payloads.items()}, end, frames
    return plain.group(buffer, start, stop, most)
