"""What waited when the server was stopped in order: a file that is written as a whole and not changed any more.

First what waits for the master, then what waits for each client, in order, behind what is known of its packets by
number, in a protocol that has numbers. What becomes of it then: see `spool`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import IO, NamedTuple

from ..core.outbox import Chunk
from ..errors import StateError
from .directory import StateDirectory, write_all
from .records import (
    BACKLOGS_MAGIC,
    FRAME,
    FRAME_SIZE,
    HEAD_SIZE,
    Damaged,
    Kind,
    Note,
    decode,
    head,
    note,
    payload_at,
    read_head,
)

FILE = "backlogs"


class Backlogs(NamedTuple):
    """One such file."""

    number: int
    """Which one: no other has the same."""
    notes: list[Note]


def new_number() -> int:
    """For one such file."""
    return int.from_bytes(os.urandom(8), "little")


def write_backlogs(
    directory: StateDirectory, point: bytes, number: int, waiting: Iterable[tuple[Kind, int, Chunk]]
) -> None:
    """One chunk after the other: (MISSED, client id, frames), (UPWARDS, packets, tagged frames) or (NUMBERS, client id,
    encoded). Raises OSError."""
    descriptor = directory.draft(FILE)
    try:
        write_all(descriptor, head(BACKLOGS_MAGIC, point, number))
        for kind, whose, chunk in waiting:
            write_all(descriptor, note(kind, whose, chunk))
        write_all(descriptor, note(Kind.END, 0))
        directory.publish(FILE, descriptor)
    except OSError:
        directory.discard(FILE)
        raise
    finally:
        os.close(descriptor)


def read_backlogs(directory: StateDirectory, point: bytes) -> Backlogs | None:
    """What the directory has; None if there is no file. Raises StateError."""
    descriptor = directory.open(FILE)
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            owner, number = read_head(file.read(HEAD_SIZE), BACKLOGS_MAGIC)
            if owner != point:
                raise Damaged("it belongs to another server.key")
            return Backlogs(number, list(_notes(file)))
        except (Damaged, OSError) as error:
            raise StateError(
                f"{directory.name(FILE)} is damaged: {error}. Move it away: what waited for clients and the master is "
                "lost then, and the sessions stay"
            ) from None


def _notes(file: IO[bytes]) -> Iterator[Note]:
    left = os.fstat(file.fileno()).st_size - HEAD_SIZE
    while True:
        frame = file.read(FRAME_SIZE)
        size = FRAME.unpack(frame)[0] if len(frame) == FRAME_SIZE else left
        left -= FRAME_SIZE + size
        payload = payload_at(frame + file.read(size), 0) if left >= 0 else None
        if payload is None:
            raise Damaged("a record is cut, or its checksum is wrong")
        found = decode(payload)
        if found.kind is Kind.END:
            return
        yield found
