"""What a lane is: how the bytes of one client come in and go out."""

from __future__ import annotations

from typing import Callable, NamedTuple

from .entry.stage import Stage
from .framing import Framing


class Lane(NamedTuple):
    """A row of the table of lanes."""

    name: str
    """What figures call it. That of each but `table.UNIX` is a scheme, by which an address asks for it."""
    framing: Callable[[], Framing]
    """How messages stand in its stream. Called for each connection, behind the stages."""
    stages: tuple[Callable[[], Stage], ...] = ()
    """What a connection passes before its protocol's handshake, in order; each is made when it is its turn."""
    check: Callable[[], object] = tuple
    """Called before anybody listens for it. Raises StartupError where something is missing that it needs."""
    hears: bool = False
    """Whether requests come over it, in which a proxy may say whose they are."""
