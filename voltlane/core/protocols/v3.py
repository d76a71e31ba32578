"""Version 3: the server's side of its handshake (SPEC 11 to 14) as a table, {state: {kind: step}}. No key is the error.

    HELLO ─hello▶ ENTRY ─open──▶ DONE      a new session, or one whose welcome was lost
                    └────resume▶ DONE      a resume, proven

What is proven enters its session with the connection. What the welcome says is made there, since what the session's old
connection has brought counts until then: see `lanes.records`.
"""

from __future__ import annotations

from hmac import compare_digest
from struct import Struct
from typing import Callable

from ...errors import (
    BadProof,
    MalformedRecord,
    NoMemory,
    ProofAhead,
    SessionEnded,
    SuiteRefused,
    Superseded,
    UnknownSession,
)
from ...reasons import CloseReason, Symbol
from ...wire.aead import KEY_SIZE
from ...wire.framing import Buffer, frame
from ...wire.noise import Channel, KeyPair, respond
from ...wire.v3 import (
    HEAD_SIZE,
    MAX_HELLO,
    RANDOM_SIZE,
    Kind,
    Resume,
    Retained,
    ServerPayload,
    Suite,
    Welcome,
    branch_secret,
    clear_channel,
    decode_hello,
    decode_open,
    decode_resume,
    head_of,
    proof,
    record,
    refusal,
    server_hello,
)
from ..delivery import Claims, Delivery
from ..registry import Registry
from ..session import Session
from ..tombstones import Tombstone
from .credentials import Kind as CredentialKind
from .credentials import kind_of
from .ends import CODES, close_for
from .handshake import HandshakeContext, Peer, WireProtocol
from .secrets import Secrets, decode_secrets, first_secrets


class Step(Symbol):
    """What the server waits for."""

    HELLO = "a hello"
    ENTRY = "open or resume"
    DONE = "nothing"


class V3Handshake:
    """One connection's. See `Handshake`; behind it the connection goes on with what is public here."""

    unanswered = False

    __slots__ = (
        "_context",
        "_entry",
        "_peer",
        "_proven",
        "_told",
        "branch",
        "channel",
        "claims",
        "costly",
        "credential",
        "credit",
        "done",
        "retained",
        "session",
        "step",
        "suite",
    )

    def __init__(self, context: HandshakeContext, peer: Peer | None) -> None:
        self._context = context
        self._proven = b""  # the secret that the client has shown
        self._told = 0, 0, ""  # of a close: ack, taken and text, where the client may know
        self._entry = b""  # what the client wants, while that is looked for
        self._peer: Peer | None = peer  # until it is known how to talk to it
        self.step = Step.HELLO
        self.done = False
        self.credential: bytes | None = None
        self.session: Session | None = None
        self.costly = False
        self.suite = Suite.NOISE
        self.channel: Channel
        """Behind the hello."""
        self.claims: Claims | None = None
        """What who resumes says of its packets."""
        self.branch = 0
        """Of the secret that the welcome tells."""
        self.retained = Retained(0, 0)
        """What the client retains of what it sends."""
        self.credit = 0
        """How many bytes it takes at first."""

    @property
    def waits_for(self) -> str:
        """See Handshake."""
        return self.step.value

    def receive(self, message: Buffer) -> bytes:
        """See Handshake."""
        if self.step is Step.HELLO:
            return self._hello(bytes(message))
        self._entry = bytes(self.channel.open(message))
        return self.again()

    def again(self) -> bytes:
        """See Handshake."""
        plaintext = self._entry
        kind, ack, self.credit = head_of(plaintext)
        step = _ENTRIES.get(kind)
        if step is None:
            raise MalformedRecord(f"a record of kind {kind} where {self.step.value} was expected")
        step(self, plaintext[HEAD_SIZE:], ack)
        self.step = Step.DONE
        self.done = True
        self._entry = b""
        return b""

    def state(self) -> bytes:
        """See Handshake: the channel, and what is wanted."""
        channel = self.channel
        head = _STATE.pack(self.suite, bool(channel._keys), channel._sealed, channel._opened, channel.hash)
        return head + channel._keys + self._entry

    def answer(self, session: Session) -> bytes:
        """See Handshake: the welcome is a record, which the connection makes."""
        if session.delivery is None:
            registry = self._context.registry
            session.delivery = Delivery(registry.epoch)
            registry.openings.add(decode_secrets(session.credential).handle, session)
        return b""

    def refuse(self, reason: CloseReason) -> bytes:
        """See Handshake."""
        if self.step is Step.HELLO:
            return frame(refusal(CODES[reason], reason.value)) if reason in CODES else b""
        if reason is CloseReason.BAD_RECORD:
            return b""
        ack, taken, text = self._told
        return frame(self.channel.seal(record(Kind.CLOSE, ack, 0, close_for(reason, taken, text))))

    def welcome(self, session: Session, taken: int) -> bytes:
        """The body of the welcome to a session that the client was let into."""
        secrets, delivery = decode_secrets(session.credential), session.delivery
        assert delivery is not None
        shown = proof(self._proven, "server", self.channel.hash)
        branch = self.branch = int.from_bytes(self._context.random(8), "little") or 1
        secret = branch_secret(secrets.root, branch)
        return Welcome(session.id, shown, delivery.epoch, secrets.generation + 1, branch, secret, taken).encode()

    # ---- the steps

    def _hello(self, message: bytes) -> bytes:
        hello, terms, peer, self._peer = decode_hello(message), self._context.terms, self._peer, None
        assert peer is not None
        suite = terms.choose(hello.suites, peer.local)
        if suite is None:
            offered = ", ".join(map(str, hello.suites))
            raise SuiteRefused(f"suites {offered} were offered; 1 is allowed, and 0 as clients.unencrypted says")
        payload = ServerPayload(suite, terms.limits, terms.keys).encode()
        if suite is Suite.CLEAR:
            answer = server_hello(suite, self._context.random(RANDOM_SIZE) + payload)
            self.channel = clear_channel(message, answer)
        else:
            self.costly = True
            ephemeral = KeyPair(self._context.random(32))
            words, self.channel = respond(hello.prologue, hello.random, self._context.channel_key, ephemeral, payload)
            answer = server_hello(suite, words)
        self.suite = suite
        self.step = Step.ENTRY
        return frame(answer)

    def _open(self, body: bytes, ack: int) -> None:
        opening, context = decode_open(body), self._context
        self.retained = opening.retained
        self._proven = opening.secret
        session = context.registry.find_opened(opening.handle)
        if session is None:
            if context.budget.is_near:
                raise NoMemory("no memory for another client")
            self.credential = first_secrets(self.suite, opening.handle, opening.secret, context.random).encode()
            return
        secrets = decode_secrets(session.credential)
        self._check_suite(secrets)
        if not compare_digest(secrets.present, opening.secret):
            raise BadProof("another secret than that handle was opened with")
        self.session = session

    def _resume(self, body: bytes, ack: int) -> None:
        asked, registry = decode_resume(body), self._context.registry
        session = registry.find(asked.id)
        if session is None or kind_of(session.credential) is not CredentialKind.SECRETS:
            stone = registry.tombstones.get(asked.id)
            if stone is None:
                raise UnknownSession(f"there is no session {asked.id}")
            self._prove(stone.credential, asked)
            self._tell(stone)
            raise SessionEnded(f"session {asked.id} has ended: {stone.reason.value}")
        try:
            secrets = self._prove(session.credential, asked)
        except BadProof as error:
            if not isinstance(error, Superseded):
                registry.whereabouts.doubt(session, isinstance(error, ProofAhead))
            raise
        self.retained = asked.retained
        self.claims = Claims(asked.epoch, asked.taken, ack, asked.sent, asked.acked)
        renewed = secrets.offered(asked.generation, asked.branch, self._context.random)
        if renewed is not secrets:
            if secrets.handle and renewed.generation:
                registry.openings.confirm(secrets.handle)
            session.credential = renewed.encode()
            registry.journal.renewed(session, True)
        self.session = session

    def _prove(self, credential: bytes, asked: Resume) -> Secrets:
        secrets = decode_secrets(credential)
        self._check_suite(secrets)
        self._proven = secrets.select(asked.generation, asked.branch)
        if not compare_digest(proof(self._proven, "client", self.channel.hash), asked.proof):
            raise BadProof("the proof is not made with the session's secret")
        return secrets

    def _check_suite(self, secrets: Secrets) -> None:
        if secrets.suite != Suite.CLEAR and self.suite is Suite.CLEAR:
            raise SuiteRefused("the session was opened encrypted, and is resumed encrypted only")

    def _tell(self, stone: Tombstone) -> None:
        self._told = stone.safe, stone.taken, stone.reason.value


def confirm(session: Session, branch: int, registry: Registry) -> None:
    """The client has the secret that its welcome told it of: the one before is superseded, and its opening is over."""
    secrets = decode_secrets(session.credential)
    if secrets.handle:
        registry.openings.confirm(secrets.handle)
    session.credential = secrets.confirmed(branch).encode()
    registry.journal.renewed(session, False)


MAX_ENTRY = 512
"""Bytes of the largest message with an opening or a resume: both may grow, what is behind their fields is skipped."""

_STATE = Struct("<BBQQ32s")
"""The suite, whether there are keys, the counts of what is sealed and opened, the transcript's hash; the keys and the
entry's plaintext are behind that."""


def _go_on(context: HandshakeContext, state: bytes) -> V3Handshake:
    """The hellos were said, and a session was asked for or opened."""
    if len(state) < _STATE.size:
        raise MalformedRecord("that is no state of a handshake")
    suite, has_keys, sealed, opened, transcript = _STATE.unpack_from(state)
    at = _STATE.size + (2 * KEY_SIZE if has_keys else 0)
    if suite not in iter(Suite) or has_keys != (suite != Suite.CLEAR) or len(state) < at + HEAD_SIZE:
        raise MalformedRecord("that is no state of a handshake")
    keys = state[_STATE.size : at]
    channel = Channel(keys[:KEY_SIZE], keys[KEY_SIZE:], transcript)
    channel._sealed, channel._opened = sealed, opened
    handshake = V3Handshake(context, None)
    handshake.suite, handshake.channel = Suite(suite), channel
    handshake.step, handshake._entry = Step.ENTRY, state[at:]
    return handshake


V3 = WireProtocol("v3", V3Handshake, MAX_HELLO, MAX_ENTRY, _go_on)

_ENTRIES: dict[int, Callable[[V3Handshake, bytes, int], None]] = {
    Kind.OPEN: V3Handshake._open,
    Kind.RESUME: V3Handshake._resume,
}
