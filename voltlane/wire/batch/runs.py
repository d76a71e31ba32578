"""The same loops for CPython, where a run of frames of one size goes through `struct` at a quarter of the cost.

Whether the frames have one size is told by four strided slices, one for each byte of the prefix, compared with what
they would be; a compiled `Struct` then takes 32 frames at a call. Mixed sizes go through a loop that does without every
test it can: it runs past the end, and takes back what was not whole.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from struct import Struct
from struct import error as StructError
from typing import Any, Callable

from ..framing import PREFIX, PREFIX_SIZE
from ..tagged import HEADER, HEADER_SIZE, TAG_SIZE

BLOCK = 32
"""Frames a compiled Struct takes at once."""
SHORTEST_RUN = 3


@lru_cache(maxsize=512)
def _payloads(size: int, frames: int) -> Struct:
    return Struct("<" + f"{PREFIX_SIZE}x{size}s" * frames)


@lru_cache(maxsize=512)
def _ids_and_payloads(size: int, frames: int) -> Struct:
    return Struct("<" + f"{PREFIX_SIZE}xQx{size}s" * frames)


def retag(buffer: bytearray, start: int, stop: int, client_id: int, most: int) -> tuple[bytes, int, int]:
    """See `plain.retag`."""
    if stop - start < PREFIX_SIZE:
        return b"", start, 0
    (size,) = PREFIX.unpack_from(buffer, start)
    if size > most:
        return b"", start, 0
    stride = size + PREFIX_SIZE
    if start + stride == stop:  # one packet and nothing else: what a quiet client sends
        return HEADER.pack(size + TAG_SIZE, client_id, 0) + buffer[start + PREFIX_SIZE : stop], stop, 1
    frames = (stop - start) // stride
    if not frames:
        return b"", start, 0
    end = start + frames * stride
    head = HEADER.pack(size + TAG_SIZE, client_id, 0)
    if frames == 1:
        chunk = head + buffer[start + PREFIX_SIZE : end]
    elif frames >= SHORTEST_RUN and _same_size(buffer, start, end, stride, frames):
        chunk = head + head.join(_run(_payloads, size, buffer, start, stride, frames))
    else:
        return _retag_mixed(buffer, start, stop, client_id, most)
    rest, end, more = retag(buffer, end, stop, client_id, most)  # less than one stride is left: this does not go deep
    return (chunk + rest if more else chunk), end, frames + more


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
    head = PREFIX.pack(size - TAG_SIZE)
    if frames == 1:
        chunks = {client_id: head + buffer[start + HEADER_SIZE : end]}
    elif (
        frames >= SHORTEST_RUN
        and _same_size(buffer, start, end, stride, frames)
        and not any(buffer[start + HEADER_SIZE - 1 : end : stride])
    ):
        values = _run(_ids_and_payloads, size - TAG_SIZE, buffer, start, stride, frames)
        ids, payloads = values[::2], values[1::2]
        if len(set(ids)) == frames:  # one each: nothing to sort
            chunks = dict(zip(ids, map(head.__add__, payloads)))
        else:
            parts: defaultdict[int, list[bytes]] = defaultdict(list)
            for client_id, payload in zip(ids, payloads):
                parts[client_id].append(payload)
            chunks = {client_id: head + head.join(part) for client_id, part in parts.items()}
    else:
        return _group_mixed(buffer, start, stop, most)
    rest, end, more = group(buffer, end, stop, most)
    for client_id, chunk in rest.items():
        chunks[client_id] = chunks.get(client_id, b"") + chunk
    return chunks, end, frames + more


def _same_size(buffer: bytearray, start: int, stop: int, stride: int, frames: int) -> bool:
    """Whether each of the frames, assumed `stride` bytes apart, has the first one's prefix."""
    return all(buffer[at:stop:stride] == buffer[at : at + 1] * frames for at in range(start, start + PREFIX_SIZE))


def _run(
    layout: Callable[[int, int], Struct], size: int, buffer: bytearray, start: int, stride: int, frames: int
) -> Any:
    """The fields of a run of frames, one after the other."""
    if frames <= BLOCK:
        return layout(size, frames).unpack_from(buffer, start)
    fields: list[Any] = []
    unpack, odd = layout(size, BLOCK).unpack_from, frames % BLOCK
    rest = start + (frames - odd) * stride
    for position in range(start, rest, BLOCK * stride):
        fields += unpack(buffer, position)
    if odd:
        fields += layout(size, odd).unpack_from(buffer, rest)
    return fields


def _retag_mixed(buffer: bytearray, start: int, stop: int, client_id: int, most: int) -> tuple[bytes, int, int]:
    data = bytes(memoryview(buffer)[start:stop])
    unpack, position, size = PREFIX.unpack_from, 0, 0
    heads: dict[int, bytes] = {}
    pieces: list[bytes] = []
    append = pieces.append
    try:
        while True:
            (size,) = unpack(data, position)
            begin = position + PREFIX_SIZE
            end = begin + size
            try:
                append(heads[size])
            except KeyError:
                if size > most:
                    break
                head = heads[size] = HEADER.pack(size + TAG_SIZE, client_id, 0)
                append(head)
            append(data[begin:end])
            position = end
    except StructError:
        pass
    if position > len(data):
        del pieces[-2:]
        position -= PREFIX_SIZE + size
    return b"".join(pieces), start + position, len(pieces) // 2


def _group_mixed(buffer: bytearray, start: int, stop: int, most: int) -> tuple[dict[int, bytes], int, int]:
    data = bytes(memoryview(buffer)[start:stop])
    unpack, position, count = HEADER.unpack_from, 0, 0
    heads: dict[int, bytes] = {}
    pieces: defaultdict[int, list[bytes]] = defaultdict(list)
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            size, client_id, flag = unpack(data, position)
            if flag:
                break
            try:
                head = heads[size]
            except KeyError:
                if size > most or size < TAG_SIZE:
                    break
                head = heads[size] = PREFIX.pack(size - TAG_SIZE)
            end = position + PREFIX_SIZE + size
            parts = pieces[client_id]
            parts.append(head)
            parts.append(data[position + HEADER_SIZE : end])
            position = end
            count += 1
    except StructError:
        pass
    if position > len(data):
        del parts[-2:]
        position -= PREFIX_SIZE + size
        count -= 1
    return {client_id: b"".join(parts) for client_id, parts in pieces.items() if parts}, start + position, count
