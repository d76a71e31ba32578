"""What the two processes say to each other. Bytes ↔ values.

    taker                                   giver
      greeting ─────────────────────────────▶
      ◀───────────────────────────── greeting, SERVER
      READY ────────────────────────────────▶
      ◀──── SESSION, CONNECTION, STATE, GONE …       while everything goes on there, and then behind its last turn:
      ◀──── the same of what has changed, all else, ORDER, END
      TAKEN ────────────────────────────────▶
      ◀──────────────────────────── one byte: go

A greeting is eight bytes that say what it is, u16 format, and the program's version: u16 size, then the text. Its
layout is for ever, so that a process of another format is told apart. Behind it come pieces, each a record as in the
state directory (`store.records`: u32 size, u32 CRC-32), and in each whole notes: u32 bytes of fields, u8 kind, u64
number, the fields. All numbers are little-endian.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from struct import Struct
from struct import error as StructError
from typing import NamedTuple
from zlib import crc32

from ...store.records import FRAME, FRAME_SIZE, Damaged
from ...wire.framing import Buffer

FORMAT = 5
"""Of all that is said. Whatever changes in a note, or in what its fields mean, makes it another one."""
GO = b"\x01"
"""The last word."""
MAGIC = b"VLTLHAND"
MOST_PIECE = 1 << 31
"""Bytes of a piece, more than can be."""
_GREETING = Struct("<8sHH")
GREETING_SIZE = _GREETING.size
_NOTE = Struct("<IBQ")
Kinds = Mapping[int, enum.IntEnum]
"""By number."""
_KINDS: Kinds


class Kind(enum.IntEnum):
    """What a note says. "With a descriptor": the next one that came over the socket is its."""

    SERVER = 1  # what the taker has to be, to go on: see `heritage`; with the state directory's lock, if there is one
    READY = 2
    IDS = 3
    TRUNK = 4  # u64 1: with a descriptor; 0: there is no master
    LISTENER = 5  # with a descriptor: a socket that clients connect to, or send datagrams to
    ADMIN = 6  # the same, of the admin endpoint
    SESSION = 7  # u64 id; in place of what was said of it before
    CONNECTION = 8  # u64 id of its session, which was said before; with a descriptor: how it came
    STATE = 17  # the same: what it is at, in place of what was said of that; without it, it is at nothing
    GONE = 18  # u64 id: nothing of what was said of it is so any more
    ORDER = 19  # u64 how many: the ids of all sessions, in order
    STALE = 9  # u64 how many: the ids of those that are stale, in order
    TOMBSTONE = 10  # u64 id
    OPENINGS = 11  # u64 how many: the handles of openings that were confirmed
    BAN = 12  # u64 0: an address that is banned
    STORE = 16  # u64 1: with a descriptor, the journal; 0: there is none
    CHANNEL = 21  # u64 id of a session, which was said before: sealed datagrams beside its connection
    PEER = 22  # the same: its client is an address
    NODE = 20  # this server as one of several, in place of IDS: see `nodes`
    END = 13  # u64 how many notes there were
    TAKEN = 14
    REFUSED = 15  # why, as text


class Greeting(NamedTuple):
    """The first word of either side."""

    format: int
    version: str

    def encode(self) -> bytes:
        """As it is said."""
        text = self.version.encode()
        return _GREETING.pack(MAGIC, self.format, len(text)) + text


def greeting_in(data: Buffer) -> tuple[Greeting, int] | None:
    """The greeting that stands at the beginning, and its size; None while there is not all of it. Raises Damaged."""
    if bytes(data[: len(MAGIC)]) != MAGIC[: len(data)]:
        raise Damaged("who speaks there is no Voltlane")
    if len(data) < GREETING_SIZE:
        return None
    _, number, size = _GREETING.unpack_from(data)
    if len(data) < GREETING_SIZE + size:
        return None
    try:
        version = str(data[GREETING_SIZE : GREETING_SIZE + size], "utf-8")
    except UnicodeDecodeError:
        raise Damaged("a version that is no text") from None
    return Greeting(number, version), GREETING_SIZE + size


class Note(NamedTuple):
    """One note."""

    kind: enum.IntEnum
    """A Kind; or one of another conversation's, see `note_at`."""
    number: int
    data: bytes


def note(kind: enum.IntEnum, number: int = 0, data: bytes = b"") -> bytes:
    """A note, as it stands in a piece."""
    return _NOTE.pack(len(data), kind, number) + data


def note_at(piece: bytes, position: int, kinds: Kinds | None = None) -> tuple[Note, int]:
    """The note that stands there in a piece, and where the next one does; of other `kinds` where others talk in this
    way. Raises Damaged."""
    try:
        size, kind, number = _NOTE.unpack_from(piece, position)
        known = (_KINDS if kinds is None else kinds)[kind]
    except StructError:
        raise Damaged("a note that is cut") from None
    except KeyError:
        raise Damaged(f"a note of kind {kind}") from None
    start = position + _NOTE.size
    end = start + size
    if end > len(piece):
        raise Damaged("a note that is cut")
    return Note(known, number, piece[start:end]), end


def head_of(piece: Buffer) -> bytes:
    """What stands in front of a piece."""
    return FRAME.pack(len(piece), crc32(piece, len(piece)))


def piece_in(data: Buffer, position: int) -> tuple[bytes, int] | None:
    """The piece that begins there, and where it ends; None while there is not all of it. Raises Damaged."""
    start = position + FRAME_SIZE
    if start > len(data):
        return None
    size, checksum = FRAME.unpack_from(data, position)
    if not 0 < size <= MOST_PIECE:
        raise Damaged(f"a piece of {size} bytes")
    end = start + size
    if end > len(data):
        return None
    with memoryview(data) as view:
        piece = bytes(view[start:end])
    if crc32(piece, size) != checksum:
        raise Damaged("the checksum of a piece is wrong")
    return piece, end


_KINDS = {int(kind): kind for kind in Kind}
