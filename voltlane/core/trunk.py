"""What the core and the lanes need of the master's side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .outbox import Chunk


class Trunk(Protocol):
    """The firehose as what outlives its connections: takes whole tagged frames for the master, and never blocks."""

    staged: list[Chunk]
    """What is written when the turn ends. Whoever adds to it, one packet for a chunk, calls `flush_later` then."""
    full: bool
    """Whether so much waits for the master that clients must not be read."""

    @property
    def congested(self) -> bool:
        """Whether so much waits for the master that nothing gets in that can be left out."""
        ...

    @property
    def pushed(self) -> int:
        """Packets that were ever queued."""
        ...

    @property
    def written(self) -> int:
        """How many of these no longer wait: the master's socket has them in whole."""
        ...

    def flush(self) -> None:
        """Write what is staged, as far as the socket takes it."""

    def push(self, chunk: bytes, packets: int) -> None:
        """Queue whole tagged frames for the master."""

    def push_views(self, views: Sequence[bytes | memoryview], packets: int) -> None:
        """The same for a few large frames in borrowed memory, which is the caller's again on return."""

    def flush_later(self) -> None:
        """Write what is staged when the turn ends."""

    def block(self) -> None:
        """Read nothing from the master until `unblock`: a client has to read first (overflow policy "block")."""

    def unblock(self) -> None:
        """Go on reading it."""
