"""What the two processes say to each other. Bytes ↔ values.

    taker                                   giver
      greeting ─────────────────────────────▶
      ◀───────────────────────────── greeting, SERVER
      READY ────────────────────────────────▶
      ◀──────── TRUNK, LISTENER …, SESSION, CONNECTION …, END
      TAKEN ────────────────────────────────▶
      ◀──────────────────────────── one byte: go

A greeting is eight bytes that say what it is, u16 format, and the program's version: u16 size, then the text. Its
layout is for ever, so that a process of another format is told apart. Behind it come notes, framed as the records of
the state directory (`store.records`): a kind, a number, and fields. All numbers are little-endian.
"""

from __future__ import annotations

import enum
from struct import Struct
from typing import NamedTuple

from ...store.records import FRAME, FRAME_SIZE, Damaged, payload_at, record
from ...wire.framing import Buffer

FORMAT = 1
"""Of all that is said. Whatever changes in a note, or in what its fields mean, makes it another one."""
GO = b"\x01"
"""The last word."""
MAGIC = b"VLTLHAND"
MOST_NOTE = 1 << 30
"""Bytes of a note, more than can be."""
_GREETING = Struct("<8sHH")
GREETING_SIZE = _GREETING.size
_NOTE = Struct("<BQ")


class Kind(enum.IntEnum):
    """What a note says. "With a descriptor": the next one that came over the socket is its."""

    SERVER = 1  # what the taker has to be, to go on: see `heritage`; with the state directory's lock, if there is one
    READY = 2
    IDS = 3
    TRUNK = 4  # u64 1: with a descriptor; 0: there is no master
    LISTENER = 5  # with a descriptor: a socket that clients connect to
    ADMIN = 6  # the same, of the admin endpoint
    SESSION = 7  # u64 id
    CONNECTION = 8  # u64 the id of its session; with a descriptor
    STALE = 9  # u64 how many: the ids of those that are stale, in order
    TOMBSTONE = 10  # u64 id
    OPENINGS = 11  # u64 how many: the handles of openings that were confirmed
    BAN = 12  # u64 0: an address that is banned
    STORE = 16  # u64 1: with a descriptor, the journal; 0: there is none
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

    kind: Kind
    number: int
    data: bytes


def note(kind: Kind, number: int = 0, data: bytes = b"") -> bytes:
    """A note as it is said."""
    return record(_NOTE.pack(kind, number) + data)


def note_at(data: Buffer, position: int) -> tuple[Note, int] | None:
    """The note that begins there, and where the next one does; None while there is not all of it. Raises Damaged."""
    if position + FRAME_SIZE > len(data):
        return None
    size = FRAME.unpack_from(data, position)[0]
    if not _NOTE.size <= size <= MOST_NOTE:
        raise Damaged(f"a note of {size} bytes")
    end: int = position + FRAME_SIZE + size
    if end > len(data):
        return None
    payload = payload_at(data, position)
    if payload is None:
        raise Damaged("the checksum of a note is wrong")
    kind, number = _NOTE.unpack_from(payload)
    try:
        return Note(Kind(kind), number, payload[_NOTE.size :]), end
    except ValueError:
        raise Damaged(f"a note of kind {kind}") from None
