"""A lane as the contract suite knows it: a module in `kit/lanes` with `LANE`, a row of the table of lanes, and
`Speaker`, the clients' side of it."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType


class Tunnel:
    """What a lane encrypts all of that with, its client's side. Nothing here touches a socket."""

    def seal(self, data: bytes) -> bytes:
        """Bytes to send, behind everything before; what comes out of it now."""
        raise NotImplementedError

    def open(self, data: bytes) -> tuple[bytes, bytes]:
        """Bytes received, in pieces of any size: what is in them, and what has to be sent now."""
        raise NotImplementedError


class Speaker:
    """The client's side of one connection: messages ↔ bytes of the wire. Nothing here touches a socket."""

    opening = b""
    """What the client sends before anything else."""
    pongs = 0
    """How many of its pings were answered so far."""
    tunnel: Tunnel | None = None
    """What all that is said goes through; bytes of the wire are then those in it."""
    ended = False
    """Whether the server has said, within the framing, that it will say no more."""

    def encode(self, message: bytes) -> bytes:
        """One message, as the client sends it."""
        raise NotImplementedError

    def decode(self, data: bytes) -> list[bytes]:
        """Bytes received, in pieces of any size; the messages that are whole with them."""
        raise NotImplementedError

    def ping(self) -> bytes:
        """A question that the server has to answer within the framing; b"" where the framing has none."""
        return b""

    def close(self) -> bytes:
        """What says that the client will say no more; b"" where the framing has nothing for that."""
        return b""


def lanes() -> list[ModuleType]:
    """Every lane there is a module for."""
    folder = Path(__file__).parent / "lanes"
    return [importlib.import_module(f"kit.lanes.{path.stem}") for path in sorted(folder.glob("*.py"))]
