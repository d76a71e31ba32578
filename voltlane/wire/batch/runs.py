"""The same loops for CPython, where a run of frames of one size goes through `struct` at a quarter of the cost.

Whether the frames have one size is told by four strided slices, one for each byte of the prefix, compared with what
they would be; a compiled `Struct` then takes 32 frames at a call. Mixed sizes are read like a file, which keeps the
position without arithmetic here, and what the bytes in front of a payload mean is looked up by those bytes. That loop
runs past the end, and takes back what was not whole.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from io import BytesIO
from struct import Struct
from typing import Any, Callable

from ..framing import PREFIX, PREFIX_SIZE
from ..tagged import HEADER, HEADER_SIZE, TAG, TAG_SIZE

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
    stream = BytesIO(memoryview(buffer)[start:stop])
    read, size = stream.read, 0
    known: dict[bytes, tuple[bytes, int]] = {}  # by the prefix as it stands there: sizes repeat
    pieces: list[bytes] = []
    append = pieces.append
    while True:
        prefix = read(PREFIX_SIZE)
        try:
            head, size = known[prefix]
        except KeyError:
            if len(prefix) < PREFIX_SIZE:
                break
            (length,) = PREFIX.unpack(prefix)
            if length > most:
                break
            head, size = known[prefix] = HEADER.pack(length + TAG_SIZE, client_id, 0), length
        append(head)
        append(read(size))
    position = start + stream.tell() - len(prefix)
    if not prefix and pieces and len(pieces[-1]) < size:
        position -= PREFIX_SIZE + len(pieces[-1])
        del pieces[-2:]
    return b"".join(pieces), position, len(pieces) // 2


def _group_mixed(buffer: bytearray, start: int, stop: int, most: int) -> tuple[dict[int, bytes], int, int]:
    stream = BytesIO(memoryview(buffer)[start:stop])
    read, size, count = stream.read, 0, 0
    known: dict[bytes, tuple[bytes, int]] = {}
    pieces: dict[bytes, list[bytes]] = {}  # by the tag as it stands there
    parts: list[bytes] = []
    while True:
        header = read(PREFIX_SIZE)
        try:
            head, size = known[header]
        except KeyError:
            if len(header) < PREFIX_SIZE:
                break
            (length,) = PREFIX.unpack(header)
            if not TAG_SIZE <= length <= most:
                break
            head, size = known[header] = PREFIX.pack(length - TAG_SIZE), length - TAG_SIZE
        tag = read(TAG_SIZE)
        try:
            parts = pieces[tag]
        except KeyError:
            if len(tag) < TAG_SIZE or tag[-1]:
                header += tag
                break
            parts = pieces[tag] = []
        parts.append(head)
        parts.append(read(size))
        count += 1
    position = start + stream.tell() - len(header)
    if not header and parts and len(parts[-1]) < size:
        position -= HEADER_SIZE + len(parts[-1])
        del parts[-2:]
        count -= 1
    return {TAG.unpack(tag)[0]: b"".join(parts) for tag, parts in pieces.items() if parts}, position, count
