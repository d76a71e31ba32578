"""The reference: one plain loop each, which is also the form PyPy makes the most of."""

from __future__ import annotations

from ..framing import PREFIX, PREFIX_SIZE
from ..tagged import HEADER, HEADER_SIZE, TAG_SIZE
from ..websocket import KEY_SIZE, MASKED, MOST_CONTROL, SIZE_16, WHOLE_BINARY, server_head


def retag(buffer: bytes | bytearray, start: int, stop: int, client_id: int, most: int) -> tuple[bytes, int, int]:
    """Turn the whole frames in `buffer[start:stop]` into data packets of `client_id`.

    Returns the tagged frames in one piece, the position behind the last frame taken, and the number of frames. Stops in
    front of a frame that is not whole or whose payload has more than `most` bytes.
    """
    data = bytes(memoryview(buffer)[start:stop])
    length, position, count = stop - start, 0, 0
    last = length - PREFIX_SIZE
    unpack, pack = PREFIX.unpack_from, HEADER.pack
    pieces: list[bytes] = []
    append = pieces.append
    heads: dict[int, bytes] = {}  # sizes repeat: packing a head costs four times a look-up
    while position <= last:
        (size,) = unpack(data, position)
        begin = position + PREFIX_SIZE
        end = begin + size
        if end > length or size > most:
            break
        try:
            append(heads[size])
        except KeyError:
            head = heads[size] = pack(size + TAG_SIZE, client_id, 0)
            append(head)
        append(data[begin:end])
        position = end
        count += 1
    return b"".join(pieces), start + position, count


def group(buffer: bytearray, start: int, stop: int, most: int, wanted: int = 0) -> tuple[dict[int, bytes], int, int]:
    """Sort the whole packets in `buffer[start:stop]` that have the wanted flag by client; those with 0 are data.

    Returns each client's packets as frames in one piece, in their order, the position behind the last packet taken, and
    the number of packets. Stops in front of a packet that is not whole, that has more than `most` bytes, that is
    shorter than its header, or that has another flag.
    """
    data = bytes(memoryview(buffer)[start:stop])
    length, position, count = stop - start, 0, 0
    last = length - HEADER_SIZE
    unpack, pack = HEADER.unpack_from, PREFIX.pack
    pieces: dict[int, list[bytes]] = {}
    heads: dict[int, bytes] = {}
    while position <= last:
        size, client_id, flag = unpack(data, position)
        end = position + PREFIX_SIZE + size
        if flag != wanted or end > length or size > most or size < TAG_SIZE:
            break
        try:
            head = heads[size]
        except KeyError:
            head = heads[size] = pack(size - TAG_SIZE)
        try:
            pieces[client_id] += (head, data[position + HEADER_SIZE : end])
        except KeyError:
            pieces[client_id] = [head, data[position + HEADER_SIZE : end]]
        position = end
        count += 1
    return {client_id: b"".join(parts) for client_id, parts in pieces.items()}, start + position, count


# ---- WebSocket


def mask(data: bytes | bytearray | memoryview, key: bytes) -> bytes:
    """The data XORed with the key of four bytes, over and over: masked, or off its mask (RFC 6455, 5.3)."""
    size = len(data)
    keys = (key * (size // KEY_SIZE + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(keys, "little")).to_bytes(size, "little")


def unmask(buffer: bytes | bytearray, start: int, stop: int, first: int, most: int) -> tuple[bytes, int, int]:
    """Turn the whole messages in `buffer[start:stop]`, of a WebSocket's client, into a chunk.

    Returns the chunk, the position behind the last message taken, and the number of messages. Stops in front of a frame
    that is not whole, whose first byte is another than `first`, which has no mask, whose payload has more than `most`
    bytes, or whose size is said in eight bytes, or in more than it needs.
    """
    payloads, position = _payloads(buffer, start, stop, first, most)
    return b"".join([PREFIX.pack(len(one)) + one for one in payloads]), position, len(payloads)


def retag_masked(buffer: bytes | bytearray, start: int, stop: int, client_id: int, most: int) -> tuple[bytes, int, int]:
    """Turn the whole binary messages in `buffer[start:stop]`, of a WebSocket's client, into data packets of
    `client_id`: `retag` of the chunk that `unmask` gives."""
    payloads, position = _payloads(buffer, start, stop, WHOLE_BINARY, most)
    pieces = [HEADER.pack(len(one) + TAG_SIZE, client_id, 0) + one for one in payloads]
    return b"".join(pieces), position, len(payloads)


def _payloads(buffer: bytes | bytearray, start: int, stop: int, first: int, most: int) -> tuple[list[bytes], int]:
    payloads: list[bytes] = []
    while stop - start >= 2 + KEY_SIZE and buffer[start] == first:
        size, begin = buffer[start + 1] - MASKED, start + 2
        if size == SIZE_16:
            size, begin = buffer[start + 2] << 8 | buffer[start + 3], start + 4
            if size <= MOST_CONTROL:
                break
        elif not 0 <= size <= MOST_CONTROL:
            break
        begin += KEY_SIZE
        if size > most or begin + size > stop:
            break
        start = begin + size
        payloads.append(mask(buffer[begin:start], bytes(buffer[begin - KEY_SIZE : begin])))
    return payloads, start


def frame(chunk: bytes | bytearray | memoryview, first: int) -> bytes:
    """A chunk as a WebSocket's server sends it: each message a frame without a mask that begins with byte `first`."""
    pieces: list[bytes | bytearray | memoryview] = []
    position, end = 0, len(chunk)
    while position < end:
        (size,) = PREFIX.unpack_from(chunk, position)
        position += PREFIX_SIZE
        pieces += (server_head(first, size), chunk[position : position + size])
        position += size
    return b"".join(pieces)
