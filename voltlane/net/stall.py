"""Whether a peer takes anything of what waits for it."""

from __future__ import annotations

import socket
from typing import Protocol

from .sockets import unconfirmed


class Waiting(Protocol):
    """What waits for a peer: as Outbox has these."""

    unconfirmed: int
    touched: float

    @property
    def size(self) -> int:
        """Bytes of it."""
        ...


def next_look(waiting: Waiting, sock: socket.socket, patience: float, now: float) -> float | None:
    """When to look again; None if it has taken nothing for `patience` seconds.

    If it takes something the kernel has less of it, long before there is room to tell us of.
    """
    before, waiting.unconfirmed = waiting.unconfirmed, unconfirmed(sock)
    due = waiting.touched + patience
    if now < due:
        return due
    return now + patience if waiting.unconfirmed < before else None
