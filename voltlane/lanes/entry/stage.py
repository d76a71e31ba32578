"""What a connection passes on its way to a session, one after the other: a PROXY header, a lane's own preamble, the
protocol's handshake. All of them together have one deadline."""

from __future__ import annotations

import socket
from typing import Any, Callable, Protocol

from ...core.admission import Source
from ...core.protocols.handshake import WireProtocol
from ...core.whereabouts import Wanted
from ...reasons import CloseReason
from ..framing import Framing
from .doors import Doors
from .moved import MovedHandshake, MovedRequests


class Newcomer(Protocol):
    """What a stage knows of the connection."""

    peer: str
    """What to call it in logs and lists."""
    hearsay: bool
    """Whether a proxy has passed it on that is on another machine, or does not say whose it is."""
    source: Source | None
    """Whose it is, as the limits for addresses have it."""
    private: bool
    """Whether nobody else can listen to it, wherever it comes from: a stage has encrypted it."""
    subject: str
    """Whom the certificate names that it has shown; "" without one."""
    framing: Framing | None
    """How its messages stand in the stream, where a stage has found that out; None: as its lane has it."""
    protocol: WireProtocol | None
    """What they mean, where a stage has found that out; None: the first message tells."""
    unsent: bytes
    """Of our side, the bytes of the wire that are not written yet."""
    sock: socket.socket | None
    """Its socket; None once it is closed. A stage may put another with the same descriptor in its place, while nothing
    is unsent; when what was is out, the stage is asked again."""

    @property
    def local(self) -> bool:
        """Whether nobody else can listen to it: it comes from this machine, or is private."""
        ...

    @property
    def doors(self) -> Doors:
        """What the stages of lanes go by."""
        ...

    @property
    def now(self) -> float:
        """The reactor's time."""
        ...

    @property
    def report(self) -> Callable[[Any], None]:
        """For a socket in the place of another: to be called with it when a read came short although there is more, of
        which the system will not tell. Whoever has the connection by then is told in the next turn."""
        ...

    def read(self, most: int) -> bytes | None:
        """What was given back, all of it, else one recv of at most so many bytes. None: there is nothing now, or the
        peer has left, and whatever follows from that is done. A stage reads once each time it is called, so that others
        have their turn; it is called again if there may be more."""
        ...

    def stand_in_line(self) -> None:
        """The stage has more to do, or has not read: call it again when others have had their turn."""

    def give_back(self, data: bytes) -> None:
        """Leave bytes that were read to the next stage; behind another socket, as that one would have given them."""

    def take_back(self) -> bytes:
        """What was given back, without reading more."""
        ...

    def peek(self, most: int) -> bytes | None:
        """As `read`, but it stays in the socket: for a stage before all those that read, or replace the socket. What
        was seen has to be taken with `skip`, or there is no word of what comes behind it."""
        ...

    def skip(self, size: int) -> None:
        """Take so many bytes, which were seen there, out of the socket."""

    def reset_unanswered(self) -> None:
        """From now on the end of this connection is a reset, that of the process included, but for a refusal."""

    def say(self, words: bytes) -> None:
        """Send bytes of the wire, now or when there is room."""

    def renew(self) -> None:
        """It has got somewhere: its time begins again."""

    def key_agreed(self) -> None:
        """A key agreement was made, by far the most expensive thing that an arrival can ask for."""

    def seek(self, wanted: Wanted) -> None:
        """What it wants is not here: let others be asked. The stage's `found` is called behind that, and nothing else
        matters until then but the deadline."""

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """Give it up."""


class Stage:
    """One stage of one connection."""

    __slots__ = ()

    @property
    def late(self) -> CloseReason:
        """The close reason of a connection that is still here when its time is over."""
        return CloseReason.HANDSHAKE_TIMEOUT

    @property
    def waits_for(self) -> str:
        """What the peer has to send next, for the log."""
        return "anything"

    def begin(self, newcomer: Newcomer) -> None:
        """It is this stage's turn, and perhaps the server's to speak first."""

    def go_on(self, newcomer: Newcomer) -> bool:
        """There may be something to read. True: the connection is through, and goes on with the next stage at once.

        Raises ProtocolError; the connection is closed with its reason then.
        """
        raise NotImplementedError

    def found(self, newcomer: Newcomer) -> None:
        """What was sought is here now, or nowhere. `go_on` is called again behind that. Raises ProtocolError."""

    def move_out(self) -> MovedHandshake | MovedRequests:
        """While something is sought: what another process needs to go on with it. It is of no more use here then."""
        raise NotImplementedError

    def move_in(self, newcomer: Newcomer, moved: MovedRequests) -> None:
        """Go on with what was another process's; `found` is called next."""
        raise NotImplementedError

    def in_order(self, reason: CloseReason) -> bool:
        """Whether a connection that was to be reset ends in order, closed for this reason: it is refused."""
        return True

    def ended(self, reason: CloseReason) -> CloseReason:
        """The connection is closed in this stage: nothing may be held any more. The reason to count it under."""
        return reason

    def farewell(self, reason: CloseReason) -> bytes:
        """Bytes of the wire to end with in order; left out while something is unsent."""
        return b""
