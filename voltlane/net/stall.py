"""Whether a peer takes anything of what waits for it."""

from __future__ import annotations

import socket

from ..core.outbox import Outbox
from .sockets import unconfirmed


def next_look(outbox: Outbox, sock: socket.socket, patience: float, now: float) -> float | None:
    """When to look again; None if it has taken nothing for `patience` seconds.

    If it takes something the kernel has less of it, long before there is room to tell us of.
    """
    before, outbox.unconfirmed = outbox.unconfirmed, unconfirmed(sock)
    due = outbox.touched + patience
    if now < due:
        return due
    return now + patience if outbox.unconfirmed < before else None
