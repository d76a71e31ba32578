"""The journal: one append-only file, written anew when more of it is of the past than of the present.

It is written anew beside the old one, piece by piece while the server goes on: everything that happens meanwhile is
appended to both, and a record says how things are and not what changed, so it does no harm twice. A first file is made
the same way, and so is the file after an error: what an append or a sync has left behind when it failed is not known.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from ..errors import StateError
from .directory import StateDirectory, write_all
from .ledger import Ledger, read_ledger
from .records import HEAD_SIZE, JOURNAL_MAGIC, Damaged, Kind, head, note

FILE = "sessions.journal"

_sync = getattr(os, "fdatasync", os.fsync)


def read_journal(directory: StateDirectory, point: bytes) -> Ledger | None:
    """What the directory's journal says; None if there is none. Raises StateError."""
    data = directory.read(FILE)
    if data is None:
        return None
    try:
        return read_ledger(data, point)
    except Damaged as error:
        raise StateError(
            f"{directory.name(FILE)} is damaged: {error}. Move it away, and start again: the server then begins "
            "with no sessions, and with ids that nobody had. (An older copy of the file is no help: sessions that "
            "have ended would be there again.)"
        ) from None


class MovedJournal(NamedTuple):
    """A journal as it goes from one process to another."""

    descriptor: int
    """-1: there is no file that says how things are."""
    size: int
    synced: int
    """Bytes that are on the disk, ..."""
    vouched: int
    """... and those of which the file itself says so."""


class Journal:
    """The file as it is written. Any OSError that a method raises ends with `give_up` and another beginning."""

    def __init__(self, directory: StateDirectory, point: bytes) -> None:
        self._directory = directory
        self._point = point
        self._file = -1
        self._draft = -1
        self._synced = 0
        self._vouched = 0  # bytes that the file itself says are on the disk
        self.size = 0
        """Bytes of the file, of which all may be read by whoever comes after this process."""
        self._draft_size = 0

    @property
    def writable(self) -> bool:
        """Whether there is a file that says how things are."""
        return self._file >= 0

    @property
    def unsynced(self) -> bool:
        """Whether a loss of power would cost something."""
        return self.size > self._synced

    def append(self, records: bytes) -> None:
        """To the kernel: this process may die from now on, but the machine may not. Raises OSError."""
        if self._draft >= 0:
            self._write_draft(records)
        if self._file >= 0:
            if self._synced > self._vouched:
                records = note(Kind.SYNCED, self._synced) + records
                self._vouched = self._synced
            write_all(self._file, records)
            self.size += len(records)

    def sync(self) -> None:
        """To the disk. Raises OSError."""
        if self._file >= 0:
            _sync(self._file)
            self._synced = self.size

    # ---- from one process to another

    @property
    def moved(self) -> MovedJournal:
        """What another process needs to go on with the file. A draft does not go along. Nothing is changed by that."""
        return MovedJournal(self._file, self.size, self._synced, self._vouched)

    def move_in(self, moved: MovedJournal) -> None:
        """Go on with a file that another process has written, up to where it was."""
        self._file, self.size, self._synced, self._vouched = moved

    # ---- writing it anew

    def begin(self, records: bytes) -> None:
        """A draft beside the file, in the place of one that is not finished; it begins with these. Raises OSError."""
        if self._draft >= 0:
            os.close(self._draft)
        self._draft = self._directory.draft(FILE)
        self._draft_size = 0
        self._write_draft(bytes(HEAD_SIZE) + records)

    def add(self, records: bytes) -> None:
        """Write and sync a piece of the draft: a little at a time, for a sync is what everybody waits for."""
        self._write_draft(records)
        _sync(self._draft)

    def finish(self) -> None:
        """The draft takes the file's place. Raises OSError."""
        os.pwrite(self._draft, head(JOURNAL_MAGIC, self._point, self._draft_size), 0)
        self._directory.publish(FILE, self._draft)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._draft = self._draft, -1
        self.size = self._synced = self._vouched = self._draft_size

    def give_up(self) -> None:
        """Write nothing more to what there is: after an error, or at the end."""
        if self._draft >= 0:
            self._directory.discard(FILE)
        for descriptor in (self._file, self._draft):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._draft = -1
        self.size = self._synced = 0

    def _write_draft(self, records: bytes) -> None:
        write_all(self._draft, records)
        self._draft_size += len(records)
