"""What the core needs of a client's connection, whatever lane it came in by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from ..reasons import CloseReason
from .outbox import Chunk


class Link(Protocol):
    """One client's connection. None of these blocks or raises for a dead peer.

    A chunk is one or more whole core frames: u32 little-endian size, then that many bytes of data. What they look like
    on the wire is the link's own business.
    """

    is_stream: ClassVar[bool]
    """Whether it is a connection, which can be lost and taken over; else each packet goes by itself."""

    def try_send(self, chunk: Chunk, packets: int = -1) -> bool:
        """Take a chunk: to the socket (True), else to the outbox. 0 packets: it is no client's data."""

    def try_send_views(self, views: Sequence[memoryview], packets: int) -> bool:
        """The same for whole frames in borrowed memory, which is the caller's again on return."""

    def replay(self, chunks: list[tuple[Chunk, int]], counted: int = 0) -> int:
        """Take what was missed, in order, whatever its size: only the last `counted` bytes count as what waits. How
        many packets of that the client is sent."""
        ...

    @property
    def can_hand_over(self) -> bool:
        """Whether all that was received may be passed on now, as `hand_over` does."""
        ...

    def hand_over(self) -> tuple[list[tuple[Chunk, int]], int]:
        """Leave the session to another connection of the same client: pass on all that was received, and close.

        What was not written in full, and how many bytes at its end were none of a replay.
        """
        ...

    def detach(self, reason: CloseReason) -> None:
        """Leave the session, which has ended, and close."""

    def retire(self, reason: CloseReason) -> None:
        """Send no more: the client is to go elsewhere."""
