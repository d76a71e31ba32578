"""What waited when the server was stopped in order, from then to the next start: a file that is read once and removed.

First what waits for the master, then what waits for each client, in order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

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


def write_backlogs(directory: StateDirectory, point: bytes, waiting: Iterable[tuple[Kind, int, Chunk]]) -> None:
    """One chunk after the other: (MISSED, client id, frames) or (UPWARDS, packets, tagged frames). Raises OSError."""
    descriptor = directory.draft(FILE)
    try:
        write_all(descriptor, head(BACKLOGS_MAGIC, point, 0))
        for kind, number, chunk in waiting:
            write_all(descriptor, note(kind, number, chunk))
        write_all(descriptor, note(Kind.END, 0))
        directory.publish(FILE, descriptor)
    except OSError:
        directory.discard(FILE)
        raise
    finally:
        os.close(descriptor)


def read_backlogs(directory: StateDirectory, point: bytes) -> Iterator[Note]:
    """Its records, in order; none if there is no file. Raises StateError."""
    descriptor = directory.open(FILE)
    if descriptor is None:
        return
    with os.fdopen(descriptor, "rb") as file:
        try:
            if read_head(file.read(HEAD_SIZE), BACKLOGS_MAGIC).point != point:
                raise Damaged("it belongs to another server.key")
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
        except (Damaged, OSError) as error:
            raise StateError(
                f"{directory.name(FILE)} is damaged: {error}. Move it away: what waited for clients and the master is "
                "lost then, and the sessions stay"
            ) from None
