"""The server's side of the handshake (SPEC 5) as a table: {state: {packet: step}}. A missing key is the error.

    VERSION ─ProtocolVersion▶ IDENTITY ─PubKey▶ DONE                              a new session
                                  └────ClientId▶ PROOF ─ChallengeResponse▶ PING ─Ping▶ DONE      a resume

No session is touched before its key is proven: a failed attempt leaves it as it was.
"""

from __future__ import annotations

import os
from typing import Callable, NamedTuple

from ..errors import NoMemory, SessionEnded, UnexpectedPacket, UnknownSession, UnsupportedVersion
from ..reasons import Symbol
from ..wire.crypto import CHALLENGE_SIZE, KeyPair, check_point, check_proof, seal, session_key
from ..wire.framing import Buffer, frame
from ..wire.packets import (
    VERSION,
    Challenge,
    ChallengeResponse,
    ClientId,
    Packet,
    Ping,
    ProtocolVersion,
    PubKey,
    decode,
    encode,
)
from .budget import Budget
from .registry import Registry
from .session import Session, State

PING_FRAME = frame(encode(Ping()))


class Step(Symbol):
    """What the server waits for."""

    VERSION = "ProtocolVersion"
    IDENTITY = "PubKey or ClientId"
    PROOF = "ChallengeResponse"
    PING = "Ping"
    DONE = "nothing"


class Grounds(NamedTuple):
    """What every handshake of one server shares."""

    key: KeyPair
    greeting: bytes
    """The server's PubKey packet, framed."""
    registry: Registry
    budget: Budget
    random: Callable[[int], bytes]

    @classmethod
    def of(
        cls, key: KeyPair, registry: Registry, budget: Budget, random: Callable[[int], bytes] = os.urandom
    ) -> Grounds:
        """The grounds for a server with this key, these sessions and this memory."""
        return cls(key, frame(encode(PubKey(key.public))), registry, budget, random)


class Handshake:
    """One connection's handshake. When `step` is DONE, either `point` or `session` says who the client is."""

    __slots__ = ("_blob", "_challenge", "_grounds", "derived", "point", "session", "step")

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds
        self._challenge = b""
        self._blob = b""
        self.step = Step.VERSION
        self.point: bytes | None = None
        """A new client's public key."""
        self.session: Session | None = None
        """The session being resumed; it is proven once `step` is PING."""
        self.derived = False
        """Whether a key agreement was made, by far the dearest thing a handshake can ask for."""

    def receive(self, payload: Buffer) -> bytes:
        """Take one frame's payload; returns the frame to answer with, or b"". Raises ProtocolError."""
        packet = decode(payload)
        step = _TABLE[self.step].get(type(packet))
        if step is None:
            raise UnexpectedPacket(f"{type(packet).__name__} where {self.step.value} was expected")
        return step(self, packet)

    def _version(self, packet: ProtocolVersion) -> bytes:
        if packet.version != VERSION:
            raise UnsupportedVersion(f"protocol version {packet.version}; this server speaks {VERSION}")
        self.step = Step.IDENTITY
        return self._grounds.greeting

    def _new(self, packet: PubKey) -> bytes:
        if self._grounds.budget.is_near:  # who comes back is let in: that sets the memory of its backlog free
            raise NoMemory("no memory for another client")
        check_point(packet.point)
        self.point = packet.point
        self.step = Step.DONE
        return b""

    def _resume(self, packet: ClientId) -> bytes:
        session = self._grounds.registry.sessions.get(packet.client_id)
        if session is None:
            raise UnknownSession(f"there is no session {packet.client_id}")
        self.session = session
        if session.key is None:
            session.key = session_key(self._grounds.key, session.point)
            self.derived = True
        self._challenge = self._grounds.random(CHALLENGE_SIZE)
        self._blob = seal(session.key, self._challenge)
        self.step = Step.PROOF
        return frame(encode(Challenge(self._blob)))

    def _prove(self, packet: ChallengeResponse) -> bytes:
        session = self._living_session()
        assert session.key is not None
        check_proof(session.key, self._challenge, self._blob, packet.blob)
        self.step = Step.PING
        return b""

    def _ping(self, packet: Ping) -> bytes:
        self._living_session()
        self.step = Step.DONE
        return b""

    def _living_session(self) -> Session:
        session = self.session
        assert session is not None
        if session.state is State.ENDED:
            raise SessionEnded(f"session {session.id} ended while it was being resumed")
        return session


_TABLE: dict[Step, dict[type[Packet], Callable[..., bytes]]] = {
    Step.VERSION: {ProtocolVersion: Handshake._version},
    Step.IDENTITY: {PubKey: Handshake._new, ClientId: Handshake._resume},
    Step.PROOF: {ChallengeResponse: Handshake._prove},
    Step.PING: {Ping: Handshake._ping},
    Step.DONE: {},
}
