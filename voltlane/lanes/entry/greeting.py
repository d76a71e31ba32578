"""The last stage: the protocol's handshake, in messages of the lane's framing. It ends with a session."""

from __future__ import annotations

from typing import Any, Callable, Protocol

from ...core.protocols.conversation import Conversation, Grounds
from ...core.protocols.table import protocol_of
from ...reasons import CloseReason
from ...wire.framing import PREFIX_SIZE
from ...wire.v2 import MAX_HANDSHAKE_FRAME
from ..framing import Framing
from .stage import Newcomer, Stage

RECEIVED = 448
"""Bytes read at once: a whole handshake, and somewhat more."""


class Host(Protocol):
    """Whose connections these are."""

    grounds: Grounds

    @property
    def on_session(self) -> Callable[[Any, Conversation, str, Framing, bytes], None]:
        """Gets each connection whose handshake is done, with the conversation, the protocol's name, the framing, and
        what was read behind the handshake."""
        ...

    def agreed(self) -> None:
        """A key agreement was made."""


class Greeting(Stage):
    """One connection's handshake."""

    __slots__ = ("_conversation", "_framing", "_host", "_kept", "_protocol")

    def __init__(self, host: Host, framing: Framing) -> None:
        self._host = host
        self._framing = framing
        self._conversation: Conversation | None = None
        self._protocol = ""
        self._kept = b""  # a part of a message

    @property
    def waits_for(self) -> str:
        """See Stage."""
        return "a first message" if self._conversation is None else self._conversation.waits_for

    def farewell(self, reason: CloseReason) -> bytes:
        """See Stage."""
        return self._framing.farewell(reason)

    def go_on(self, newcomer: Newcomer) -> bool:
        """See Stage. It is never through: with its last message the connection is somebody else's."""
        data = newcomer.read(RECEIVED)
        if data is not None:
            self._take(newcomer, self._kept + data if self._kept else data)
        return False

    def _take(self, newcomer: Newcomer, data: bytes) -> None:
        """Messages of the handshake, and behind the last of them what is for the session already."""
        conversation, framing, host = self._conversation, self._framing, self._host
        dear = conversation is not None and conversation.dear
        answers, position, stop = b"", 0, len(data)
        try:
            while conversation is None or not conversation.done:
                message, position = framing.decode(data, position, stop, MAX_HANDSHAKE_FRAME, 1)
                if not message:
                    break
                message = message[PREFIX_SIZE:]
                if conversation is None:
                    protocol = protocol_of(message)
                    self._protocol = protocol.name
                    conversation = self._conversation = protocol.begin(host.grounds)
                answer = conversation.receive(message)
                if answer:
                    answers += answer if framing.plain else framing.encode(answer)
        finally:  # a mistake does not take back what was right before it, nor what that has cost
            if not framing.plain:
                answers += framing.take_reply()
            if conversation is not None and conversation.dear and not dear:
                host.agreed()
            if answers and (conversation is None or not conversation.done):
                newcomer.say(answers)  # where it is done, they go out with the session's first packet
        if conversation is not None and conversation.done:
            newcomer.unsent += answers
            host.on_session(newcomer, conversation, self._protocol, framing, data[position:])
        elif framing.ended:
            newcomer.close(CloseReason.PEER_CLOSED)
        else:
            self._kept = data[position:]
