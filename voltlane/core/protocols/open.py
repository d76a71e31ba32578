"""Open: no handshake, and every message is a packet. For tools and pages without a client library.

Its client cannot prove who it is, so its session ends with its connection.
"""

from __future__ import annotations

from ...errors import NoMemory
from ...reasons import CloseReason
from ...wire.framing import Buffer
from ..session import Session
from .handshake import HandshakeContext, Peer, WireProtocol


class OpenHandshake:
    """See Handshake: it is done before it has begun."""

    __slots__ = ()

    done = True
    credential: bytes | None = b""
    session: Session | None = None
    unanswered = False
    costly = False
    waits_for = "nothing"

    def __init__(self, context: HandshakeContext, peer: Peer) -> None:
        """Raises NoMemory."""
        if context.budget.is_near:
            raise NoMemory("no memory for another client")

    def receive(self, message: Buffer) -> bytes:
        """See Handshake. There are no messages."""
        return b""

    def again(self) -> bytes:
        """See Handshake."""
        return b""

    def state(self) -> bytes:
        """See Handshake."""
        return b""

    def refuse(self, reason: CloseReason) -> bytes:
        """See Handshake."""
        return b""

    def answer(self, session: Session) -> bytes:
        """See Handshake."""
        return b""


OPEN = WireProtocol("open", OpenHandshake, 0, 0)
