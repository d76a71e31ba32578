"""What the core needs of a client's connection, whatever lane it came in by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..reasons import CloseReason
from .outbox import Chunk


class Link(Protocol):
    """One client's connection. None of these blocks or raises for a dead peer.

    A chunk is one or more whole core frames: u32 little-endian size, then that many bytes of data. What they look like
    on the wire is the link's own business.
    """

    def try_send(self, chunk: Chunk, packets: int = -1) -> bool:
        """Take a chunk: to the socket (True), else to the outbox. 0 packets: it is no client's data."""

    def try_send_views(self, views: Sequence[memoryview], packets: int) -> bool:
        """The same for whole frames in borrowed memory, which is the caller's again on return."""

    def replay(self, chunks: list[tuple[Chunk, int]]) -> None:
        """Take what was missed, in order, whatever its size."""

    def drain(self) -> None:
        """Pass on what the socket has already received. Closes nothing."""

    def detach(self, reason: CloseReason) -> list[tuple[Chunk, int]]:
        """Leave the session and close. Returns what was not written in full."""
