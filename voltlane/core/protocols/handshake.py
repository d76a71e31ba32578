"""What a protocol is, to the rest of the server: how a client and we come to an agreement about its session."""

from __future__ import annotations

from typing import Callable, NamedTuple, Protocol

from ...wire.crypto import KeyPair
from ...wire.framing import Buffer
from ..budget import Budget
from ..registry import Registry
from ..session import Session


class HandshakeContext(NamedTuple):
    """What all handshakes of one server share."""

    key: KeyPair
    registry: Registry
    budget: Budget
    random: Callable[[int], bytes]


class Handshake(Protocol):
    """One connection's handshake, in whole messages. Pure: nothing is sent here, and no session is touched.

    Once it is `done`, either `credential` or `session` says who the client is.
    """

    done: bool
    """Whether the client is known, and what comes next is data."""
    credential: bytes | None
    """Of a new client: what it will be recognised by, as its session keeps it."""
    session: Session | None
    """The session being resumed; it is proven once the handshake is done."""
    costly: bool
    """Whether it has made a key agreement, by far the most expensive thing a handshake can ask for."""

    @property
    def waits_for(self) -> str:
        """What the client has to say next, for the log."""
        ...

    def receive(self, message: Buffer) -> bytes:
        """Take one message; the messages to answer with, as core frames, or b"". Raises ProtocolError."""
        ...

    def answer(self, session: Session) -> bytes:
        """What the client is told, as core frames, when it has entered its session: the last of the handshake."""
        ...


class WireProtocol(NamedTuple):
    """A protocol: what its messages mean."""

    name: str
    begin: Callable[[HandshakeContext], Handshake]
    """A handshake with a client whose first message is at hand."""
    largest: int
    """Bytes of the largest message of a handshake that is accepted."""
