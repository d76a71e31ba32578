"""The reference: one plain loop each, which is also the form PyPy makes the most of."""

from __future__ import annotations

from ..framing import PREFIX, PREFIX_SIZE
from ..tagged import HEADER, HEADER_SIZE, TAG_SIZE


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


def group(buffer: bytearray, start: int, stop: int, most: int) -> tuple[dict[int, bytes], int, int]:
    """Sort the whole data packets in `buffer[start:stop]` by client.

    Returns each client's packets as frames in one piece, in their order, the position behind the last packet taken, and
    the number of packets. Stops in front of a packet that is not whole, that has more than `most` bytes, that is
    shorter than its header, or whose flag is not 0.
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
        if flag or end > length or size > most or size < TAG_SIZE:
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
