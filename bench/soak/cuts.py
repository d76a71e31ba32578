"""How a connection of the lossless soak ends: after some bytes or some seconds, never in order.

Bytes are counted both ways from the first one of the handshake, so that any record may be the one that is cut, and a
part of what the kernel has received may never be read.
"""

from __future__ import annotations

import random
import socket
import struct
from typing import NamedTuple

RESET, HALF, CLOSE, OVER = "reset", "half close", "close", "takeover"
_HOWS = (RESET, RESET, HALF, CLOSE, CLOSE, OVER, OVER)
_ABORT = struct.pack("ii", 1, 0)
NEVER = 1 << 62


class Cut(NamedTuple):
    """What will become of a connection: whichever comes first."""

    how: str
    after_sent: int
    after_heard: int
    """Bytes of the wire."""
    after_secs: float
    away_secs: float
    """How long the client takes to come again."""


def draw(dice: random.Random) -> Cut:
    """One in three in the handshake or just behind it, the others anywhere."""
    early = dice.random() < 0.33
    most = 700 if early else 1 << dice.randint(10, 19)
    sent, heard = dice.randrange(most), dice.randrange(most)
    only = dice.random()
    return Cut(
        dice.choice(_HOWS),
        NEVER if only < 0.3 else sent,
        NEVER if only > 0.7 else heard,
        dice.uniform(0.2, 8.0),
        0.0 if dice.random() < 0.5 else dice.uniform(0.0, 2.0),
    )


UNCUT = Cut(CLOSE, NEVER, NEVER, 1e9, 0.0)


def end(sock: socket.socket, how: str) -> None:
    """Cut it like that. A half close leaves the other half to be read; a takeover leaves everything as it is."""
    if how == RESET:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    if how == HALF:
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it is over already
    elif how != OVER:
        sock.close()
