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
from ..websocket import KEY_SIZE, MASKED, MOST_CONTROL, SIZE_16, WHOLE_BINARY, server_head

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
    elif frames >= SHORTEST_RUN and _same_heads(buffer, start, end, stride, frames):
        chunk = head.join([b"", *_run(_payloads, size, buffer, start, stride, frames)])
    else:
        return _retag_mixed(buffer, start, stop, client_id, most)
    rest, end, more = retag(buffer, end, stop, client_id, most)  # less than one stride is left: this does not go deep
    return (chunk + rest if more else chunk), end, frames + more


def group(buffer: bytearray, start: int, stop: int, most: int, wanted: int = 0) -> tuple[dict[int, bytes], int, int]:
    """See `plain.group`."""
    if stop - start < HEADER_SIZE:
        return {}, start, 0
    size, client_id, flag = HEADER.unpack_from(buffer, start)
    stride = size + PREFIX_SIZE
    frames = (stop - start) // stride
    if flag != wanted or size > most or size < TAG_SIZE or not frames:
        return {}, start, 0
    end = start + frames * stride
    head = PREFIX.pack(size - TAG_SIZE)
    if frames == 1:
        chunks = {client_id: head + buffer[start + HEADER_SIZE : end]}
    elif (
        frames >= SHORTEST_RUN
        and _same_heads(buffer, start, end, stride, frames)
        and buffer[start + HEADER_SIZE - 1 : end : stride] == bytes((wanted,)) * frames
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
        return _group_mixed(buffer, start, stop, most, wanted)
    rest, end, more = group(buffer, end, stop, most, wanted)
    for client_id, chunk in rest.items():
        chunks[client_id] = chunks.get(client_id, b"") + chunk
    return chunks, end, frames + more


def _same_heads(buffer: bytes | bytearray, start: int, stop: int, stride: int, frames: int) -> bool:
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


def _group_mixed(buffer: bytearray, start: int, stop: int, most: int, wanted: int) -> tuple[dict[int, bytes], int, int]:
    data = bytes(memoryview(buffer)[start:stop])
    steps, position, count = _group_steps(most), HEADER_SIZE, 0
    pieces: dict[int, list[bytes]] = {}
    parts: list[bytes] = []
    size, client_id, flag = HEADER.unpack_from(data)
    try:
        while flag == wanted:
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


# ---- WebSocket: a mask comes off in arithmetic, payload and keys being one long number each; of what is longer, each
# fourth byte through the table of its byte of the key

_SMALL_HEAD = Struct("<HI")
"""First and second byte, and the key as a number."""
_from_bytes = int.from_bytes
_FEW_WORDS = 113
_REPEATS = tuple(int.from_bytes(b"\1\0\0\0" * words, "little") for words in range(_FEW_WORDS))
"""What a key is multiplied by to stand there so many times."""
_TABLES = tuple(bytes(byte ^ part for byte in range(256)) for part in range(256))
_FIRSTS, _SECONDS, _THIRDS, _FOURTHS = (slice(at, None, KEY_SIZE) for at in range(KEY_SIZE))
_LONGEST_PIECE = 1 << 16
"""Bytes that go through the tables at once: they stay in the processor's cache."""
_LONGEST_RUN = 256
"""Frames of a WebSocket that are made one number: it stays in the processor's cache."""
_LONGEST_STEP = 4096
"""Bytes of a message whose size is remembered: there is no other limit to them, downwards."""


def mask(data: bytes | bytearray | memoryview, key: bytes | bytearray) -> bytes:
    """See `plain.mask`."""
    size = len(data)
    if size > _LONGEST_PIECE:
        return b"".join([mask(data[at : at + _LONGEST_PIECE], key) for at in range(0, size, _LONGEST_PIECE)])
    words, number = (size + KEY_SIZE - 1) // KEY_SIZE, int.from_bytes(key, "little")
    if words < _FEW_WORDS:
        masked = int.from_bytes(data, "little") ^ number * _REPEATS[words]
        return masked.to_bytes(words * KEY_SIZE, "little")[:size]
    return bytes(_through_tables(bytes(data), number))


def _through_tables(data: bytes | bytearray | memoryview, key: int) -> bytearray:
    masked = data if type(data) is bytearray else bytearray(data)
    masked[_FIRSTS] = masked[_FIRSTS].translate(_TABLES[key & 0xFF])
    masked[_SECONDS] = masked[_SECONDS].translate(_TABLES[key >> 8 & 0xFF])
    masked[_THIRDS] = masked[_THIRDS].translate(_TABLES[key >> 16 & 0xFF])
    masked[_FOURTHS] = masked[_FOURTHS].translate(_TABLES[key >> 24])
    return masked


def unmask(buffer: bytes | bytearray, start: int, stop: int, first: int, most: int) -> tuple[bytes, int, int]:
    """See `plain.unmask`."""
    size = stop - start - _SMALL_HEAD.size
    if 0 <= size <= MOST_CONTROL and size <= most:
        word, key = _SMALL_HEAD.unpack_from(buffer, start)
        if word == first + (MASKED + size << 8):  # one small message and nothing else
            words = (size + KEY_SIZE - 1) // KEY_SIZE
            number = int.from_bytes(buffer[stop - size : stop], "little") ^ key * _REPEATS[words]
            return PREFIX.pack(size) + number.to_bytes(words * KEY_SIZE, "little")[:size], stop, 1
    return _unmask(buffer, start, stop, first, most, b"")


@lru_cache(maxsize=MOST_CONTROL + 1)
def _alone(size: int) -> tuple[Callable[..., Any], int, int, int, Callable[..., bytes]]:
    """Of a small binary message by itself: how it is taken apart, its first two bytes, what its key is multiplied by,
    bytes of that, and how it is put together as a packet, which leaves out what is too much of these."""
    words = (size + KEY_SIZE - 1) // KEY_SIZE
    unpack, pack = Struct(f"<HI{size}s").unpack_from, Struct(f"<IQB{size}s").pack
    return unpack, WHOLE_BINARY + (MASKED + size << 8), _REPEATS[words], words * KEY_SIZE, pack


def retag_masked(buffer: bytes | bytearray, start: int, stop: int, client_id: int, most: int) -> tuple[bytes, int, int]:
    """See `plain.retag_masked`."""
    size = stop - start - _SMALL_HEAD.size
    if 0 <= size <= MOST_CONTROL and size <= most:
        unpack, expected, repeat, room, pack = _alone(size)
        word, key, payload = unpack(buffer, start)
        if word == expected:  # what a quiet client sends
            data = (_from_bytes(payload, "little") ^ key * repeat).to_bytes(room, "little")
            return pack(size + TAG_SIZE, client_id, 0, data), stop, 1
    return _unmask(buffer, start, stop, WHOLE_BINARY, most, TAG.pack(client_id, 0))


def _unmask(
    buffer: bytes | bytearray, start: int, stop: int, first: int, most: int, tag: bytes
) -> tuple[bytes, int, int]:
    """With what is to stand between the size and the data of each."""
    pieces: list[bytes | bytearray] = []
    count, last = 0, stop - _SMALL_HEAD.size
    small, medium = first | MASKED << 8, first | (MASKED | SIZE_16) << 8
    unpack, pack, from_bytes, extra = _SMALL_HEAD.unpack_from, PREFIX.pack, int.from_bytes, len(tag)
    while start <= last:
        word, key = unpack(buffer, start)
        if word == medium:
            if start + 2 > last:
                break
            size, key = unpack(buffer, start + 2)
            size, begin = (size & 0xFF) << 8 | size >> 8, start + 8
            if size <= MOST_CONTROL:
                break
        else:
            size, begin = (word - small) >> 8, start + 6
            if word & 0xFF != first or not 0 <= size <= MOST_CONTROL:
                break
        end = begin + size
        if size > most or end > stop:
            break
        if end <= last and word != medium and buffer[end + 1] == word >> 8:
            stride = end - start
            frames = min((stop - start) // stride, _LONGEST_RUN)
            behind = start + frames * stride
            if (
                frames >= SHORTEST_RUN
                and buffer[start:behind:stride].count(first) == frames
                and buffer[start + 1 : behind : stride].count(word >> 8) == frames
            ):
                head = pack(size + extra) + tag
                pieces.append(head + head.join(_unmasked_run(buffer[start:behind], size, frames)))
                start = behind
                count += frames
                continue
        pieces.append(pack(size + extra) + tag)
        words = (size + 3) >> 2
        if words < _FEW_WORDS:
            number = from_bytes(buffer[begin:end], "little") ^ key * _REPEATS[words]
            pieces.append(number.to_bytes(words << 2, "little")[:size])
        else:
            pieces.append(_through_tables(buffer[begin:end], key))
        start = end
        count += 1
    return b"".join(pieces), start, count


def _unmasked_run(run: bytes | bytearray, size: int, frames: int) -> Any:
    """The payloads of a run of small messages of one size. All of it is one number: the keys are cut out of it, moved
    to where the payloads begin, and doubled until they cover them. What they cover besides is the next one's head."""
    number = int.from_bytes(run, "little")
    keys = (number & _where_keys_are(size, frames)) << 8 * KEY_SIZE
    words, covered = (size + KEY_SIZE - 1) // KEY_SIZE, 1
    while covered < words:
        more = min(covered, words - covered)
        keys |= keys << 8 * KEY_SIZE * more
        covered += more
    unmasked = (number ^ keys).to_bytes(len(run) + KEY_SIZE, "little")
    return _run(_small_payloads, size, unmasked, 0, size + _SMALL_HEAD.size, frames)


@lru_cache(maxsize=64)
def _where_keys_are(size: int, frames: int) -> int:
    return int.from_bytes((b"\0\0\xff\xff\xff\xff" + bytes(size)) * frames, "little")


@lru_cache(maxsize=512)
def _small_payloads(size: int, frames: int) -> Struct:
    return Struct("<" + f"{_SMALL_HEAD.size}x{size}s" * frames)


_server_head = lru_cache(maxsize=512)(server_head)


def frame(chunk: bytes | bytearray | memoryview, first: int) -> bytes:
    """See `plain.frame`."""
    length = len(chunk)
    if not length:
        return b""
    (size,) = PREFIX.unpack_from(chunk)
    stride = size + PREFIX_SIZE
    if stride == length:
        return _server_head(first, size) + chunk[PREFIX_SIZE:]
    chunk = bytes(chunk)
    frames, odd = divmod(length, stride)
    if not odd and frames >= SHORTEST_RUN and _same_heads(chunk, 0, length, stride, frames):
        head = server_head(first, size)
        return head.join([b"", *_run(_payloads, size, chunk, 0, stride, frames)])
    return _frame_mixed(chunk, first)


@lru_cache(maxsize=8)
def _frame_steps(first: int) -> dict[int, _Step]:
    """By a message's size, as far as sizes were seen."""
    return {}


def _frame_mixed(chunk: bytes, first: int) -> bytes:
    steps, position = _frame_steps(first), PREFIX_SIZE
    pieces: list[bytes] = []
    (size,) = PREFIX.unpack_from(chunk)
    try:
        while True:
            try:
                unpack, head, step = steps[size]
            except KeyError:
                unpack, head, step = Struct(f"<{size}sI").unpack_from, server_head(first, size), size + PREFIX_SIZE
                if size <= _LONGEST_STEP:
                    steps[size] = unpack, head, step
            payload, size = unpack(chunk, position)
            position += step
            pieces.append(head)
            pieces.append(payload)
    except StructError:  # nothing is behind the last
        pieces += (head, chunk[position:])
    return b"".join(pieces)
