"""What a journal says when it is read from its beginning: which sessions there are, and which ids may be in use."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from .records import (
    FRAME,
    FRAME_SIZE,
    HEAD_SIZE,
    JOURNAL_MAGIC,
    ONE_SIZE,
    Damaged,
    Kind,
    Note,
    decode,
    payload_at,
    read_head,
)

LIVE = math.inf


class Entry(NamedTuple):
    """A session as the journal knows it."""

    credential: bytes
    until: float
    """When it is over, by the wall clock; for one that was live, LIVE."""


class Ledger:
    """What the records read so far add up to."""

    def __init__(self) -> None:
        self.sessions: dict[int, Entry] = {}
        self.reserved = 0
        """Ids up to this one may have been given out."""
        self.spending: Note | None = None
        """Of which backlogs something was handed over (SPENDING), and ..."""
        self.spent: set[int] = set()
        """... to whom: client ids, and 0 for the master."""
        self.epoch = 0
        """How many processes have been here."""
        self.sealed: int | None = None
        """The backlogs that its process was to leave: with these it has ended in order."""
        self.lost_bytes = 0
        """What a crash has left of the last records."""

    def credentials(self) -> Iterator[bytes]:
        """Of all sessions."""
        return (entry.credential for entry in self.sessions.values())

    def enter(self, note: Note) -> None:
        """Take one record. Those about a session that is not known say nothing: it was gone when the file was written
        anew, and they were written at the same time."""
        known = self.sessions.get(note.number)
        if note.kind is Kind.OPENED:
            self.sessions[note.number] = Entry(note.data, LIVE)
            self.reserved = max(self.reserved, note.number)
        elif note.kind is Kind.RESERVED:
            self.reserved = max(self.reserved, note.number)
        elif note.kind is Kind.ENDED:
            self.sessions.pop(note.number, None)
        elif note.kind is Kind.STALE and known is not None:
            self.sessions[note.number] = Entry(known.credential, note.until)
        elif note.kind is Kind.RESUMED and known is not None:
            self.sessions[note.number] = Entry(known.credential, LIVE)
        elif note.kind is Kind.SPENDING:
            if self.spending is None or self.spending.number != note.number:
                self.spent.clear()
            self.spending = note
        elif note.kind is Kind.SPENT:
            self.spent.add(note.number)
        elif note.kind is Kind.EPOCH:
            self.epoch = max(self.epoch, note.number)
        elif note.kind is Kind.SEALED:
            self.sealed = note.number
        elif note.kind in (Kind.MISSED, Kind.UPWARDS, Kind.NUMBERS, Kind.END):
            raise Damaged(f"a record {note.kind.name} has no place there")


def read_ledger(data: bytes, point: bytes) -> Ledger:
    """Replay a journal of the server with this public key. Raises Damaged.

    What follows the last bytes that are known to have reached the disk may be cut short, or be anything at all, after
    a crash of the machine: from the first record on that is not right it is left out. Before them it is damage.
    """
    ledger = Ledger()
    owner, whole = read_head(data, JOURNAL_MAGIC)
    if owner != point:
        raise Damaged("it belongs to another server.key")
    if len(data) < whole:
        raise Damaged(f"it has {len(data)} bytes, and had {whole} when it was made")
    position = HEAD_SIZE
    while position < len(data):
        payload = payload_at(data, position)
        if payload is None:
            if position < max(whole, _synced_after(data, position)):
                raise Damaged(f"the checksum of the record at byte {position} is wrong")
            ledger.lost_bytes = len(data) - position
            break
        ledger.enter(decode(payload))
        position += FRAME_SIZE + len(payload)
    return ledger


def _synced_after(data: bytes, position: int) -> int:
    """The most bytes that a record SYNCED at or after `position` vouches for; 0 without one."""
    size, most = FRAME.pack(ONE_SIZE, 0)[:4], 0
    while (position := data.find(size, position)) >= 0:
        payload = payload_at(data, position)
        if payload is not None and payload[0] == Kind.SYNCED:
            most = max(most, decode(payload).number)
        position += 1
    return most
