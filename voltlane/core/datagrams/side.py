"""What the core and the other lanes know of datagrams."""

from __future__ import annotations

from ...wire.v3 import NO_DATAGRAMS
from ..session import Session


class Datagrams:
    """Ways to clients that are no connections. Of these there are none."""

    falls_back = False
    """Whether what has no such way goes over the client's connection, as data."""

    def send(self, session: Session, chunk: bytes) -> bool:
        """Send each packet of a chunk of frames as a datagram. False: there is no way to this client, and nothing was
        done."""
        return False

    def answer(self, session: Session, body: bytes) -> bytes:
        """The answer to a client of version 3 that asks for datagrams over its connection: bodies of records. Raises
        MalformedRecord."""
        return NO_DATAGRAMS

    def resumed(self, session: Session) -> None:
        """A client has come back, on a connection that is not the one before."""
