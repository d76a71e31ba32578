"""What the policies know of a client's connection, whatever its lane."""

from __future__ import annotations

import socket
from typing import Protocol

from ...core.meter import Meter
from ...core.outbox import Outbox
from ...core.session import Session
from ...core.timers import Timer
from ...net.stall import Waiting
from .turns import Reader


class Client(Reader, Protocol):
    """One client that has a session. `slow` and `stall` are kept here by Pressure, `meter` by Meters."""

    sock: socket.socket | None
    outbox: Outbox | None
    session: Session | None
    slow: Timer | None
    """Runs while too much waits for it, and ends it."""
    stall: Timer | None
    """Looks whether it takes anything."""
    meter: Meter | None

    @property
    def waiting(self) -> Waiting | None:
        """What its socket has to take first, if something waits."""
        ...

    @property
    def closed(self) -> bool:
        """Whether it was given up, by either side."""
        ...

    def receive(self, most: int) -> int:
        """Read once, at most so many bytes, and pass them on. Bytes received; 0 at the end, -1 for none."""
        ...

    def leave_session(self) -> Session | None:
        """Belong to no session any more. Which it was."""
        ...
