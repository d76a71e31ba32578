"""Large packets downwards, without copying: each client's frames as views into the buffer they were received in."""

from __future__ import annotations

from ..framing import PREFIX, PREFIX_SIZE
from ..tagged import HEADER, HEADER_SIZE, TAG_SIZE

LARGE = 4096
"""Payload bytes from which on a frame is passed on where it stands instead of being copied into a chunk."""
_SHIFT = HEADER_SIZE - PREFIX_SIZE


def group_views(
    buffer: bytearray, view: memoryview, start: int, stop: int, least: int, most: int
) -> tuple[dict[int, list[memoryview]], int, int]:
    """Sort the whole data packets in `buffer[start:stop]` by client, in place. `view` is a view of all of the buffer.

    The client's length prefix is written over the end of the packet's header, in front of the data: prefix and data
    are the client's frame. Returns each client's frames in their order, the position behind the last packet taken, and
    the number of packets. Stops in front of a packet that is not whole, that has less than `least` or more than `most`
    bytes, or whose flag is not 0.
    """
    unpack, pack_into = HEADER.unpack_from, PREFIX.pack_into
    frames: dict[int, list[memoryview]] = {}
    position, count, last = start, 0, stop - HEADER_SIZE
    while position <= last:
        size, client_id, flag = unpack(buffer, position)
        end = position + PREFIX_SIZE + size
        if flag or end > stop or size < least or size > most:
            break
        position += _SHIFT
        pack_into(buffer, position, size - TAG_SIZE)
        try:
            frames[client_id].append(view[position:end])
        except KeyError:
            frames[client_id] = [view[position:end]]
        position = end
        count += 1
    return frames, position, count
