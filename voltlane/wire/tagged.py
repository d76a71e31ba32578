"""Tagged packets, the firehose's payloads in both directions: u64 LE client id, u8 flag, data (SPEC 6)."""

from __future__ import annotations

import enum
from struct import Struct
from typing import NamedTuple

from ..errors import MalformedTag, UnknownFlag
from .framing import PREFIX_SIZE, Buffer

TAG = Struct("<QB")
TAG_SIZE = TAG.size

HEADER = Struct("<IQB")
"""A tagged packet's whole head as it stands in the stream: frame size, client id, flag."""
HEADER_SIZE = HEADER.size


class Flag(enum.IntEnum):
    """What a tagged packet is. A datagram is on a firehose only where that was agreed on (`master.datagrams`)."""

    DATA = 0
    FAILURE = 1
    KICK = 2
    RECONNECTION = 3
    DATAGRAM = 4


FLAGS = tuple(Flag)


class Tagged(NamedTuple):
    """A decoded tagged packet. `data` is UTF-8 text in a failure, empty in a kick and a reconnection."""

    client_id: int
    flag: Flag
    data: bytes


def encode_tagged(client_id: int, flag: int, data: Buffer = b"") -> bytes:
    """The payload, to be framed."""
    return TAG.pack(client_id, flag) + bytes(data)


def frame_tagged(client_id: int, flag: int, data: Buffer = b"") -> bytes:
    """The payload with its size in front, as it goes into the firehose."""
    return HEADER.pack(TAG_SIZE + len(data), client_id, flag) + bytes(data)


def decode_tagged(payload: Buffer) -> Tagged:
    """Decode one frame's payload. Raises MalformedTag and UnknownFlag."""
    size = len(payload)
    if size < TAG_SIZE:
        raise MalformedTag(f"a tagged packet of {size} bytes; at least {TAG_SIZE} (u64 client id, u8 flag) are needed")
    client_id, flag = TAG.unpack_from(payload, 0)
    if flag >= len(FLAGS):
        raise UnknownFlag(f"flag {flag} for client {client_id}; 0 to {len(FLAGS) - 1} exist")
    return Tagged(client_id, FLAGS[flag], bytes(payload[TAG_SIZE:]))


__all__ = [
    "FLAGS",
    "HEADER",
    "HEADER_SIZE",
    "PREFIX_SIZE",
    "TAG",
    "TAG_SIZE",
    "Flag",
    "Tagged",
    "decode_tagged",
    "encode_tagged",
    "frame_tagged",
]
