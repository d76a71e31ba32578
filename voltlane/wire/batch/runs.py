"""The same loops for CPython, where a run of frames of one size goes through `struct` at a quarter of the cost.

Whether the frames have one size is told by four strided slices, one for each byte of the prefix, compared with what
they would be; a compiled `Struct` then takes 32 frames at a call. Where sizes are mixed there is a `Struct` for each
size that was seen, which takes a payload and what stands in front of the next one. At the end nothing stands there, and
it fails.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from struct import Struct
from struct import error as StructError
from typing import Any, Callable

from ..framing import PREFIX, PREFIX_SIZE
from ..tagged import HEADER, HEADER_SIZE, TAG, TAG_SIZE

BLOCK = 32
"""Frames a compiled Struct takes at once."""
SHORTEST_RUN = 3

_Step = tuple[Callable[[bytes, int], Any], bytes, int]
"""For a frame of one size: what takes its payload and what is in front of the next one, its new prefix, and how far it
is from one to the other."""


@lru_cache(maxsize=512)
def _payloads(size: int, frames: int) -> Struct:
    return Struct("<" + f"{PREFIX_SIZE}x{size}s" * frames)


@lru_cache(maxsize=512)
def _ids_and_payloads(size: int, frames: int) -> Struct:
    return Struct("<" + f"{PREFIX_SIZE}xQx{size}s" * frames)


def retag(buffer: bytes | bytearray, start: int, stop: int, client_id: int, most: int) -> tuple[bytes, int, int]:
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
        chunk = head.join([b"", *_run(_payloads, size, buffer, start, stride, frames)])
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


def _same_size(buffer: bytes | bytearray, start: int, stop: int, stride: int, frames: int) -> bool:
    """Whether each of the frames, assumed `stride` bytes apart, has the first one's prefix."""
    return all(buffer[at:stop:stride] == buffer[at : at + 1] * frames for at in range(start, start + PREFIX_SIZE))


def _run(
    layout: Callable[[int, int], Struct], size: int, buffer: bytes | bytearray, start: int, stride: int, frames: int
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


@lru_cache(maxsize=8)
def _retag_steps(most: int) -> dict[int, _Step]:
    """By a frame's size, as far as sizes were seen and are allowed."""
    return {}


@lru_cache(maxsize=8)
def _group_steps(most: int) -> dict[int, _Step]:
    """The same for tagged packets."""
    return {}


def _retag_mixed(buffer: bytes | bytearray, start: int, stop: int, client_id: int, most: int) -> tuple[bytes, int, int]:
    data = bytes(memoryview(buffer)[start:stop])
    steps, position = _retag_steps(most), PREFIX_SIZE  # of a payload
    prefixes: list[bytes] = []
    payloads: list[bytes] = []
    (size,) = PREFIX.unpack_from(data)
    try:
        while True:
            try:
                unpack, prefix, step = steps[size]
            except KeyError:
                if size > most:
                    break
                unpack, prefix, step = steps[size] = (
                    Struct(f"<{size}sI").unpack_from,
                    PREFIX.pack(size + TAG_SIZE),
                    size + PREFIX_SIZE,
                )
            payload, size = unpack(data, position)
            position += step
            prefixes.append(prefix)
            payloads.append(payload)
    except StructError:  # there is no prefix behind this one, and perhaps not all of it
        if len(data) - position >= size:
            prefixes.append(prefix)
            payloads.append(data[position : position + size])
            position += step
    pieces = [TAG.pack(client_id, 0)] * (3 * len(payloads))
    pieces[::3], pieces[2::3] = prefixes, payloads
    return b"".join(pieces), start + position - PREFIX_SIZE, len(payloads)


def _group_mixed(buffer: bytearray, start: int, stop: int, most: int) -> tuple[dict[int, bytes], int, int]:
    data = bytes(memoryview(buffer)[start:stop])
    steps, position, count = _group_steps(most), HEADER_SIZE, 0
    pieces: dict[int, list[bytes]] = {}
    parts: list[bytes] = []
    size, client_id, flag = HEADER.unpack_from(data)
    try:
        while not flag:
            try:
                unpack, prefix, step = steps[size]
            except KeyError:
                if not TAG_SIZE <= size <= most:
                    break
                unpack, prefix, step = steps[size] = (
                    Struct(f"<{size - TAG_SIZE}sIQB").unpack_from,
                    PREFIX.pack(size - TAG_SIZE),
                    size + PREFIX_SIZE,
                )
            try:
                parts = pieces[client_id]
            except KeyError:
                parts = pieces[client_id] = []
            payload, size, client_id, flag = unpack(data, position)
            position += step
            parts.append(prefix)
            parts.append(payload)
            count += 1
    except StructError:
        size -= TAG_SIZE
        if len(data) - position >= size:
            parts += (prefix, data[position : position + size])
            position += step
            count += 1
    chunks = {client_id: b"".join(parts) for client_id, parts in pieces.items() if parts}
    return chunks, start + position - HEADER_SIZE, count
