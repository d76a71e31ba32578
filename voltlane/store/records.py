"""Records: what the files of the state directory are made of. Bytes ↔ values; all numbers are little-endian.

A file begins with a head: eight bytes that say what it is, u16 version, the server's public key (33 bytes), u64 the
bytes that were there before the file got its name (of backlogs: their number), u32 CRC-32 of all that. Then come
records: u32 size, u32 CRC-32 of size and payload, the payload, whose first byte is its kind.
"""

from __future__ import annotations

import enum
from struct import Struct
from struct import error as StructError
from typing import NamedTuple
from zlib import crc32

from ..core.delivery import DELIVERY_SIZE
from ..core.protocols.events import CREDENTIAL_SIZE as TOKEN_SIZE
from ..core.protocols.secrets import CREDENTIAL_SIZES
from ..wire.framing import Buffer

VERSION = 1
JOURNAL_MAGIC, BACKLOGS_MAGIC = b"VLTLSESS", b"VLTLWAIT"

_HEAD = Struct("<8sH33sQ")
_CRC = Struct("<I")
HEAD_SIZE = _HEAD.size + _CRC.size

FRAME = Struct("<II")
FRAME_SIZE = FRAME.size

_ONE = Struct("<BQ")
_TWO = Struct("<BQd")
ONE_SIZE = _ONE.size
"""Bytes of a payload that is a kind and a number."""


class Kind(enum.IntEnum):
    """What a record says."""

    OPENED = 1  # u64 id, then the credential: a session, live; or that there is one, when written anew or renewed
    STALE = 2  # u64 id, f64 until when it is kept, by the wall clock
    RESUMED = 3  # u64 id
    ENDED = 4  # u64 id
    RESERVED = 5  # u64: ids up to this one may have been given out
    SYNCED = 6  # u64: so many bytes of this file are known to be on the disk
    MISSED = 7  # u64 id, then whole frames that wait for this client
    UPWARDS = 8  # u64 how many, then so many whole tagged frames that wait for the master
    END = 9  # u64 0: the file is whole
    SPENDING = 10  # u64 a number of backlogs, then 16 bytes: this start of the machine, or ALL_KNOWN
    SPENT = 11  # u64 id, 0 for the master: what waits there for them was handed over
    NUMBERS = 12  # u64 id, then what is known of its packets by number (Delivery.encode), with what waits for it
    SEALED = 13  # u64 a number of backlogs: what the process that writes this leaves behind if it ends in order
    EPOCH = 14  # u64: which process this is, of all that have had the directory


ALL_KNOWN = bytes(16)
"""Of SPENDING: no record SPENT can be missing, also after a loss of power."""


class Damaged(ValueError):
    """Bytes that are not what was written. The message says which, for whoever names the file."""


class Head(NamedTuple):
    """What a file says of itself."""

    point: bytes
    whole: int
    """Bytes it had when it got its name: none of them can be missing because of a crash. Of backlogs: their number."""


def head(magic: bytes, point: bytes, whole: int) -> bytes:
    """A file's head."""
    plain = _HEAD.pack(magic, VERSION, point, whole)
    return plain + _CRC.pack(crc32(plain))


def read_head(data: Buffer, magic: bytes) -> Head:
    """Raises Damaged."""
    if len(data) < HEAD_SIZE:
        raise Damaged(f"it has {len(data)} bytes, its head alone has {HEAD_SIZE}")
    plain = bytes(data[: _HEAD.size])
    found, version, point, whole = _HEAD.unpack(plain)
    if found != magic:
        raise Damaged("it does not begin like a file of this kind")
    if _CRC.unpack_from(data, _HEAD.size)[0] != crc32(plain):
        raise Damaged("the checksum of its head is wrong")
    if version != VERSION:
        raise Damaged(f"it has version {version} of the format, this program reads version {VERSION}")
    return Head(point, whole)


def record(payload: Buffer) -> bytes:
    """A payload with what stands in front of it."""
    return FRAME.pack(len(payload), crc32(payload, len(payload))) + bytes(payload)


def payload_at(data: Buffer, position: int) -> bytes | None:
    """The payload of the record that begins there; None if there is no whole and right one."""
    start = position + FRAME_SIZE
    if start > len(data):
        return None
    size, checksum = FRAME.unpack_from(data, position)
    # Checked with the size as its seed, a stretch of zeros is a record of none: a system that crashed may leave those.
    if not size or start + size > len(data):
        return None
    payload = bytes(data[start : start + size])
    return payload if crc32(payload, size) == checksum else None


def opened(client_id: int, credential: bytes) -> bytes:
    """The record of a session."""
    return record(_ONE.pack(Kind.OPENED, client_id) + credential)


def stale(client_id: int, until: float) -> bytes:
    """A session has no connection, and is over at that time."""
    return record(_TWO.pack(Kind.STALE, client_id, until))


def note(kind: Kind, number: int, data: Buffer = b"") -> bytes:
    """A record of a kind, a number and perhaps data."""
    return record(_ONE.pack(kind, number) + bytes(data))


class Note(NamedTuple):
    """A decoded record."""

    kind: Kind
    number: int
    data: bytes

    @property
    def until(self) -> float:
        """Of STALE: seconds of the wall clock."""
        return float(_UNTIL.unpack(self.data)[0])


_UNTIL = Struct("<d")
_PLAIN = (Kind.RESUMED, Kind.ENDED, Kind.RESERVED, Kind.SYNCED, Kind.END, Kind.SPENT, Kind.SEALED, Kind.EPOCH)
_DATA_SIZES = {
    Kind.OPENED: (33, 65, TOKEN_SIZE, *CREDENTIAL_SIZES),  # version 2's: a SEC1 point, compressed or not
    Kind.STALE: (8,),
    Kind.SPENDING: (16,),
    Kind.NUMBERS: (DELIVERY_SIZE,),
    **dict.fromkeys(_PLAIN, (0,)),
}
"""Bytes behind the number; any where nothing is said."""


def decode(payload: bytes) -> Note:
    """Raises Damaged for what no server of this version has written."""
    try:
        kind, number = Kind(payload[0]), _ONE.unpack_from(payload)[1]
    except (ValueError, IndexError, StructError):
        raise Damaged(f"a record of unknown kind: {payload[:1].hex() or 'empty'}") from None
    data = payload[ONE_SIZE:]
    if kind in _DATA_SIZES and len(data) not in _DATA_SIZES[kind]:
        raise Damaged(f"a record {kind.name} with {len(data)} bytes")
    return Note(kind, number, data)
