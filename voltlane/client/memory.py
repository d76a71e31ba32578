"""What a client of version 3 knows of its session, whatever becomes of its connections: what a state is made of."""

from __future__ import annotations

import os
from typing import NamedTuple

from ..wire.v3 import HANDLE_SIZE, SECRET_SIZE
from .inbox import Inbox
from .options import Options
from .pinning import Pins
from .retention import Retention


class Present(NamedTuple):
    """With what a session is resumed."""

    generation: int
    branch: int
    secret: bytes
    epoch: int

    def __repr__(self) -> str:
        return f"<Present of generation {self.generation}>"


class Memory:
    """A session: who it is, its secrets, and both directions' packets and numbers."""

    __slots__ = ("ahead", "client_id", "handle", "inbox", "pending", "pins", "present", "retention", "suite")

    def __init__(self, options: Options, packet_limit: int, pins: Pins) -> None:
        """A session that no server knows yet."""
        self.suite = options.suite
        self.pins = pins
        self.handle = os.urandom(HANDLE_SIZE)
        self.client_id: int | None = None
        """None until a welcome came."""
        self.present = Present(0, 0, os.urandom(SECRET_SIZE), 0)
        """Of the last welcome that was confirmed; at first, of the opening."""
        self.pending: Present | None = None
        """What a welcome said that is not confirmed yet."""
        self.ahead = 0
        """Behind a restore from a state, which may be an older one, until a welcome was confirmed: a number that is
        higher than any that was used before."""
        self.retention = Retention(options.retained_packets, options.retained_bytes)
        self.inbox = Inbox(packet_limit, options.acks == "manual")

    @property
    def latest(self) -> Present:
        """The present as it is when the last welcome is confirmed."""
        return self.pending or self.present

    def promote(self) -> None:
        """The welcome is being confirmed: what it brought is the present."""
        self.present, self.pending, self.ahead = self.latest, None, 0

    def __repr__(self) -> str:
        return f"<Memory of client {self.client_id}, generation {self.present.generation}>"
