"""What a protocol is, to the rest of the server: how a client and we come to an agreement about its session."""

from __future__ import annotations

from typing import Callable, NamedTuple, Protocol

from ...reasons import CloseReason
from ...wire.crypto import KeyPair
from ...wire.framing import Buffer
from ...wire.noise import KeyPair as ChannelKey
from ..budget import Budget
from ..registry import Registry
from ..session import Session
from .terms import Terms


class HandshakeContext(NamedTuple):
    """What all handshakes of one server share."""

    key: KeyPair
    """That of version 2, ..."""
    channel_key: ChannelKey
    """... and that of version 3."""
    registry: Registry
    budget: Budget
    terms: Terms
    random: Callable[[int], bytes]


class Peer(Protocol):
    """Whose handshake it is."""

    @property
    def local(self) -> bool:
        """Whether nobody else can listen to it."""
        ...


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
    unanswered: bool
    """Whether its client waits for an answer, and takes an end of its connection in order for one: no."""
    costly: bool
    """Whether it has made a key agreement, by far the most expensive thing a handshake can ask for."""

    @property
    def waits_for(self) -> str:
        """What the client has to say next, for the log."""
        ...

    def receive(self, message: Buffer) -> bytes:
        """Take one message; the messages to answer with, as core frames, or b"". Raises ProtocolError; Elsewhere, and
        then `again` is next."""
        ...

    def again(self) -> bytes:
        """Take the last message once more: what it wants may be here by now."""
        ...

    def state(self) -> bytes:
        """While what the last message wants is looked for: what another process needs to know to go on with it."""
        ...

    def refuse(self, reason: CloseReason) -> bytes:
        """The last words to a client whose connection is closed in its handshake, as core frames; b"" for none."""
        ...

    def answer(self, session: Session) -> bytes:
        """What the client is told, as core frames, when it has entered its session: the last of the handshake."""
        ...


class WireProtocol(NamedTuple):
    """A protocol: what its messages mean."""

    name: str
    begin: Callable[[HandshakeContext, Peer], Handshake]
    """A handshake with a client whose first message is at hand."""
    first: int
    """Bytes of the largest first message that is accepted; 0 where the client need not say anything, ..."""
    largest: int
    """... and of any behind it in the handshake."""
    go_on: Callable[[HandshakeContext, bytes], Handshake] | None = None
    """A handshake with what another process has said of it, `again` is next. Raises ProtocolError for what no `state`
    is. None where there is nothing that could be looked for in the middle of one."""
