"""The last stage: the protocol's handshake, in messages of the lane's framing. It ends with a session."""

from __future__ import annotations

from typing import Any, Callable, Protocol

from ...core.protocols.handshake import Handshake, HandshakeContext, WireProtocol
from ...core.protocols.table import BY_NAME, LARGEST, protocol_of
from ...core.whereabouts import Elsewhere, Wanted
from ...reasons import REFUSALS, CloseReason
from ...wire.framing import PREFIX_SIZE, next_frame
from ..framing import Framing
from ..table import FRAMINGS
from .moved import MovedHandshake
from .stage import Newcomer, Stage

RECEIVED = 448
"""Bytes read at once: a whole handshake, and somewhat more."""
MOST_UNSENT = 4096
"""Who has so much of what it was answered still to take is not read: pings are answered here as well."""


class Host(Protocol):
    """Whose connections these are."""

    context: HandshakeContext

    @property
    def on_session(self) -> Callable[[Any, Handshake, str, Framing, bytes], None]:
        """Gets each connection whose handshake is done, with the handshake, the protocol's name, the framing, and
        what was read behind the handshake."""
        ...

    def key_agreed(self) -> None:
        """A key agreement was made."""


class HandshakeStage(Stage):
    """One connection's handshake."""

    __slots__ = ("_agreed", "_framing", "_handshake", "_host", "_kept", "_largest", "_protocol", "_seeks")

    def __init__(self, host: Host, framing: Framing, agreed: WireProtocol | None = None) -> None:
        self._host = host
        self._framing = framing
        self._handshake: Handshake | None = None
        self._agreed = agreed  # on a protocol, before the first message
        self._protocol, self._largest = "", LARGEST
        self._kept = b""  # a part of a message; while its session is sought, all that is behind what it wants
        self._seeks = False

    @property
    def waits_for(self) -> str:
        """See Stage."""
        if self._seeks:
            return "nothing: its session is looked for"
        return "a first message" if self._handshake is None else self._handshake.waits_for

    def in_order(self, reason: CloseReason) -> bool:
        """See Stage: a client that resumes takes an end in order for a refusal, and gives its session up."""
        return reason in REFUSALS or self._framing.ended

    def farewell(self, reason: CloseReason) -> bytes:
        """See Stage."""
        words = self._handshake.refuse(reason) if self._handshake is not None else b""
        if words and not self._framing.plain:
            words = self._framing.encode(words)
        return words + self._framing.farewell(reason)

    def begin(self, newcomer: Newcomer) -> None:
        """See Stage. Where the client need not say anything, it is here."""
        agreed, host = self._agreed, self._host
        if agreed is not None and not agreed.first:
            handshake = agreed.begin(host.context, newcomer)
            host.on_session(newcomer, handshake, agreed.name, self._framing, newcomer.take_back())

    def go_on(self, newcomer: Newcomer) -> bool:
        """See Stage. It is never through: with its last message the connection is somebody else's."""
        if self._seeks or (newcomer.unsent and len(newcomer.unsent) > MOST_UNSENT):
            return False
        data = newcomer.read(RECEIVED)
        if data is not None:
            self._take(newcomer, self._kept + data if self._kept else data, False)
        return False

    def found(self, newcomer: Newcomer) -> None:
        """See Stage."""
        self._seeks = False
        self._take(newcomer, self._kept, True)

    # ---- from one process to another

    def move_out(self) -> MovedHandshake:
        """See Stage."""
        handshake, framing = self._handshake, self._framing
        assert handshake is not None
        return MovedHandshake(self._protocol, handshake.state(), framing.name, framing.state(), self._kept)

    @classmethod
    def moved_in(cls, host: Host, moved: MovedHandshake) -> HandshakeStage:
        """One that goes on with what was another process's; `found` is called next. Raises LookupError for what nobody
        here speaks, ProtocolError."""
        protocol, framing = BY_NAME[moved.protocol], FRAMINGS[moved.framing]()
        if protocol.go_on is None:
            raise LookupError(moved.protocol)
        framing.restore(moved.framing_state)
        stage = cls(host, framing)
        stage._handshake = protocol.go_on(host.context, moved.state)
        stage._protocol, stage._largest = protocol.name, protocol.largest
        stage._kept, stage._seeks = moved.received, True
        return stage

    # ---- what has come

    def _take(self, newcomer: Newcomer, data: bytes, again: bool) -> None:
        """Go on with what has come; `again`: first with the last message once more."""
        wanted: Wanted | None = None
        handshake, framing, host = self._handshake, self._framing, self._host
        was_costly = handshake is not None and handshake.costly
        answers, position, stop = b"", 0, len(data)
        try:
            if again and handshake is not None:
                answer = handshake.again()
                answers += answer if framing.plain else framing.encode(answer)
            while handshake is None or not handshake.done:
                before = position
                if framing.plain:  # what came is a chunk already: a new connection is not to pay for the seam
                    position = next_frame(data, before, stop, self._largest) or before
                    message = data[before:position]
                else:
                    message, position = framing.decode(data, position, stop, self._largest, 1)
                if not message:
                    if position == before or framing.ended:
                        break
                    continue
                message = message[PREFIX_SIZE:]
                if handshake is None:
                    protocol = self._agreed or protocol_of(message)
                    self._protocol, self._largest = protocol.name, protocol.largest
                    handshake = self._handshake = protocol.begin(host.context, newcomer)
                answer = handshake.receive(message)
                if answer:
                    answers += answer if framing.plain else framing.encode(answer)
        except Elsewhere as elsewhere:
            wanted = elsewhere.wanted
        finally:  # a mistake does not take back what was right before it, nor what that has cost
            if not framing.plain:
                answers += framing.take_reply()
            done = handshake is not None and handshake.done
            if handshake is not None and handshake.costly and not was_costly:
                host.key_agreed()
            if answers and not done:
                if handshake is not None and handshake.unanswered:
                    newcomer.reset_unanswered()  # before it knows that it is talking to us
                newcomer.say(answers)  # where it is done, they go out with the session's first packet
        if handshake is not None and done:
            newcomer.unsent += answers
            host.on_session(newcomer, handshake, self._protocol, framing, data[position:])
        elif framing.ended:
            newcomer.close(CloseReason.PEER_CLOSED)
        else:
            self._kept = data[position:]
            if wanted is not None:
                self._seeks = True
                newcomer.seek(wanted)
