"""Version 2: the server's side of its handshake (SPEC 5) as a table, {state: {packet: step}}. No key is the error.

    VERSION ─ProtocolVersion▶ IDENTITY ─PubKey▶ DONE                              a new session
                                  └────ClientId▶ PROOF ─ChallengeResponse▶ PING ─Ping▶ DONE      a resume

No session is touched before its key is proven: a failed attempt leaves it as it was. Behind the handshake every message
is a packet, as it is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Callable

from ...errors import NoMemory, SessionEnded, UnexpectedPacket, UnknownSession, UnsupportedVersion
from ...reasons import CloseReason, Symbol
from ...wire.crypto import CHALLENGE_SIZE, check_point, check_proof, seal, session_key
from ...wire.framing import Buffer, frame
from ...wire.v2 import (
    MAX_HANDSHAKE_FRAME,
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
from ..session import Session, State
from .credentials import Kind, kind_of
from .handshake import HandshakeContext, Peer, WireProtocol

PING_FRAME = frame(encode(Ping()))


class Step(Symbol):
    """What the server waits for."""

    VERSION = "ProtocolVersion"
    IDENTITY = "PubKey or ClientId"
    PROOF = "ChallengeResponse"
    PING = "Ping"
    DONE = "nothing"


class V2Handshake:
    """One connection's. See `Handshake`."""

    __slots__ = ("_asked", "_blob", "_challenge", "_context", "costly", "credential", "done", "session", "step")

    unanswered = True  # from the first answer on: SPEC 5.3

    def __init__(self, context: HandshakeContext, peer: Peer | None) -> None:
        self._context = context
        self._challenge = b""
        self._blob = b""
        self._asked: ClientId | None = None
        self.step = Step.VERSION
        self.done = False
        self.credential: bytes | None = None
        """A new client's public key."""
        self.session: Session | None = None
        self.costly = False

    @property
    def waits_for(self) -> str:
        """See Handshake."""
        return self.step.value

    def receive(self, message: Buffer) -> bytes:
        """See Handshake."""
        return self._take(decode(message))

    def again(self) -> bytes:
        """See Handshake."""
        assert self._asked is not None
        return self._take(self._asked)

    def state(self) -> bytes:
        """See Handshake: what it wants, for that is all."""
        assert self._asked is not None
        return encode(self._asked)

    def _take(self, packet: Packet) -> bytes:
        step = _TABLE[self.step].get(type(packet))
        if step is None:
            raise UnexpectedPacket(f"{type(packet).__name__} where {self.step.value} was expected")
        return step(self, packet)

    def refuse(self, reason: CloseReason) -> bytes:
        """See Handshake: there is no packet that says no."""
        return b""

    def answer(self, session: Session) -> bytes:
        """See Handshake."""
        return PING_FRAME if self.session is not None else frame(encode(ClientId(session.id)))

    def _version(self, packet: ProtocolVersion) -> bytes:
        if packet.version != VERSION:
            raise UnsupportedVersion(f"protocol version {packet.version}; this server speaks {VERSION}")
        self.step = Step.IDENTITY
        return _greeting(self._context.key.public)

    def _new(self, packet: PubKey) -> bytes:
        if self._context.budget.is_near:  # who comes back is let in: that sets the memory of its backlog free
            raise NoMemory("no memory for another client")
        check_point(packet.point)
        self.credential = packet.point
        self.step = Step.DONE
        self.done = True
        return b""

    def _resume(self, packet: ClientId) -> bytes:
        self._asked = packet
        session = self._context.registry.find(packet.client_id)
        if session is None or kind_of(session.credential) is not Kind.KEY:
            raise UnknownSession(f"there is no session {packet.client_id}")
        self.session = session
        if session.secret is None:
            session.secret = session_key(self._context.key, session.credential)
            self.costly = True
        self._challenge = self._context.random(CHALLENGE_SIZE)
        self._blob = seal(session.secret, self._challenge)
        self.step = Step.PROOF
        return frame(encode(Challenge(self._blob)))

    def _prove(self, packet: ChallengeResponse) -> bytes:
        session = self._living_session()
        assert session.secret is not None
        check_proof(session.secret, self._challenge, self._blob, packet.blob)
        self.step = Step.PING
        return b""

    def _ping(self, packet: Ping) -> bytes:
        self._living_session()
        self.step = Step.DONE
        self.done = True
        return b""

    def _living_session(self) -> Session:
        session = self.session
        assert session is not None
        if session.state is State.ENDED:
            raise SessionEnded(f"session {session.id} ended while it was being resumed")
        return session


@lru_cache(maxsize=8)
def _greeting(public: bytes) -> bytes:
    """The server's PubKey packet, framed: the same for every client."""
    return frame(encode(PubKey(public)))


def _go_on(context: HandshakeContext, state: bytes) -> V2Handshake:
    """The server's key was said, and a session asked for."""
    asked = decode(state)
    if not isinstance(asked, ClientId):
        raise UnexpectedPacket(f"{type(asked).__name__} where a session was to be asked for")
    handshake = V2Handshake(context, None)
    handshake.step, handshake._asked = Step.IDENTITY, asked
    return handshake


V2 = WireProtocol("v2", V2Handshake, MAX_HANDSHAKE_FRAME, MAX_HANDSHAKE_FRAME, _go_on)

_TABLE: dict[Step, dict[type[Packet], Callable[..., bytes]]] = {
    Step.VERSION: {ProtocolVersion: V2Handshake._version},
    Step.IDENTITY: {PubKey: V2Handshake._new, ClientId: V2Handshake._resume},
    Step.PROOF: {ChallengeResponse: V2Handshake._prove},
    Step.PING: {Ping: V2Handshake._ping},
    Step.DONE: {},
}
