"""What a client of version 3 knows of its session, whatever becomes of its connections: what a state is made of."""

from __future__ import annotations

import os

from ..wire.v3 import HANDLE_SIZE, SECRET_SIZE
from .inbox import Inbox
from .options import Options
from .pinning import Pins
from .retention import Retention


class Memory:
    """A session: who it is, its secrets, and both directions' packets and numbers."""

    __slots__ = (
        "client_id", "epoch", "generation", "handle", "inbox", "pending", "pins", "restored", "retention", "secret",
        "suite",
    )  # fmt: skip

    def __init__(self, options: Options, packet_limit: int, pins: Pins) -> None:
        """A session that no server knows yet."""
        self.suite = options.suite
        self.pins = pins
        self.handle = os.urandom(HANDLE_SIZE)
        self.secret = os.urandom(SECRET_SIZE)
        self.generation = 0
        """Of the secret; 0 is that of the opening."""
        self.client_id: int | None = None
        """None until a welcome came."""
        self.epoch = 0
        """The server's, as the last confirmed welcome had it."""
        self.pending: tuple[int, bytes, int] | None = None
        """Generation, secret and epoch of a welcome that is not confirmed yet."""
        self.restored = False
        """Whether it is from a state, and has not been confirmed to a server since: it may be an older one."""
        self.retention = Retention(options.retained_packets, options.retained_bytes)
        self.inbox = Inbox(packet_limit, options.acks == "manual")

    def promote(self) -> None:
        """The welcome is being confirmed: what it brought is the present."""
        if self.pending is not None:
            self.generation, self.secret, self.epoch = self.pending
        self.pending = None
        self.restored = False

    def __repr__(self) -> str:
        return f"<Memory of client {self.client_id}, generation {self.generation}>"
