"""What the way up of requests needs of the server: whose session a token opens, and where a packet goes."""

from __future__ import annotations

from typing import Protocol

from ...core.budget import Budget
from ...core.session import Session
from ...wire.event_stream import Token


class Uplink(Protocol):
    """The server, as `POST /send` knows it."""

    @property
    def budget(self) -> Budget:
        """The memory in which bodies are kept until they are whole."""
        ...

    @property
    def packet_size_limit(self) -> int:
        """Bytes of the largest packet."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether the master is to be given more at the moment."""
        ...

    def find(self, token: Token | None) -> Session:
        """The session that a token opens. Raises SessionEnded, TokenRefused, Elsewhere."""
        ...

    def look_for(self, token: Token) -> None:
        """Its stream is asked for next. Raises Elsewhere where its session has to be looked for before."""

    def send(self, session: Session, packet: bytes) -> float:
        """Pass on one packet, while there is room; or seconds until its client may send again, and nothing is done."""
        ...
