"""What the live stream knows of a connection that it goes out on."""

from __future__ import annotations

from typing import Protocol

from ..core.outbox import Outbox
from ..reasons import AdminEnd


class Viewer(Protocol):
    """A connection with an answer without end under way."""

    @property
    def outbox(self) -> Outbox | None:
        """What it was sent and has not taken yet. None when it has taken everything."""
        ...

    def send_more(self, data: bytes) -> None:
        """The next part of the answer."""

    def give_up(self, reason: AdminEnd) -> None:
        """Close it, and count why. Doing so again does nothing."""
