"""Every exception the package raises on purpose.

    VoltlaneError
    ├── ConfigError                 a value from file, environment or flag is wrong (also a ValueError)
    ├── StartupError                the server cannot start or go on; carries the exit code
    │   └── StateError              general.state_dir, or a file in it, cannot be used
    ├── ProtocolError               the peer broke the wire protocol; carries a CloseReason
    │   ├── FrameTooLarge           a length prefix over the limit
    │   ├── MalformedPacket         a handshake packet that cannot be decoded
    │   ├── UnexpectedPacket        a well-formed handshake packet in the wrong place
    │   ├── UnsupportedVersion      neither protocol version 2 nor 3
    │   ├── BadRecord               a record of version 3 that does not open
    │   ├── MalformedRecord         a record of version 3 that cannot be, there or at all
    │   ├── BadNumbers              an ack, credit or gap that cannot be
    │   ├── CreditExceeded          more data than the receiver has room for
    │   ├── BadRequest              an HTTP request that cannot be answered as asked
    │   ├── OriginRefused           a page that may not connect


    │   ├── MalformedFrame          a WebSocket frame that breaks the RFC
    │   ├── BadText                 a WebSocket's text that is not UTF-8
    │   ├── TextRefused             a text message where the protocol is binary
    │   ├── SuiteRefused            none of the suites of a hello is allowed
    │   ├── BadPublicKey            not a point of secp256k1
    │   ├── UnknownSession          a resume of an id that has no session
    │   ├── NoMemory                a new client while memory is short (its one fault is to come just now)
    │   ├── SessionEnded            the session ended while its resume was under way
    │   ├── BadProof                the challenge's answer does not prove the key
    │   │   ├── ReflectedProof      the answer is the challenge itself
    │   │   └── Superseded          the secret is an old one: somebody else has gone on with the session
    │   ├── MalformedProxyHeader    bytes that are no PROXY protocol header
    │   ├── TlsFailed               a TLS handshake that came to nothing
    │   ├── MalformedTag            a tagged packet shorter than its header
    │   └── UnknownFlag             a tagged packet with a flag that is none of ours
    ├── ConnectionLost              for users of the libraries: the connection is gone (also a ConnectionError)
    │   ├── SessionLost             the server does not know the session any more, or refuses to resume it
    │   ├── ServerKeyChanged        the server's key is not the one pinned at the first connection
    │   ├── Refused                 version 3: who answers refuses the connection, and need not be the server
    │   └── Unproven                version 3: who answers does not know the session's secret, so is not the server
    ├── NoDatagrams                 the server has none for us
    ├── BadState                    bytes that no client of version 3 can be restored from (also a ValueError)
    └── Told                        no failure, but what a client of version 3 is told
        ├── Gap                     packets for us that will not come
        └── Uncertain               packets of ours of which nobody knows whether they were passed on

A `ProtocolError` is always the peer's fault: it closes that peer's connection and nothing else.
"""

from __future__ import annotations

from .reasons import CloseReason


class VoltlaneError(Exception):
    """Base of everything below."""


class ConfigError(VoltlaneError, ValueError):
    """Configuration values are wrong: each message says where one stands, what was given and what is allowed."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__(*mistakes)
        self.mistakes = mistakes

    def __str__(self) -> str:
        return "; ".join(self.mistakes)


class StartupError(VoltlaneError):
    """The server cannot start, or cannot go on. `exit_code` is what the process should exit with, `hint` what to look
    at, where that is known."""

    def __init__(self, message: str, exit_code: int = 1, hint: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.hint = hint


class StateError(StartupError):
    """The state directory, or a file in it, cannot be used. The message says what to do; starting again will not help,
    unless another server has it (exit code 3)."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message, exit_code)


class ProtocolError(VoltlaneError):
    """The peer broke the wire protocol. `reason` names how."""

    reason = CloseReason.MALFORMED_PACKET


class FrameTooLarge(ProtocolError):
    """A length prefix announces more bytes than the limit allows."""

    reason = CloseReason.FRAME_TOO_LARGE

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a frame of {size} bytes was announced, at most {limit} are allowed")
        self.size = size
        self.limit = limit


class MalformedPacket(ProtocolError):
    """A handshake packet that cannot be decoded."""


class UnexpectedPacket(ProtocolError):
    """A well-formed handshake packet in the wrong place."""

    reason = CloseReason.UNEXPECTED_PACKET


class UnsupportedVersion(ProtocolError):
    """The peer speaks another version of the protocol."""

    reason = CloseReason.UNSUPPORTED_VERSION


class BadPublicKey(ProtocolError):
    """Bytes that are no SEC1 encoding of a point on secp256k1."""

    reason = CloseReason.BAD_PUBLIC_KEY


class UnknownSession(ProtocolError):
    """A resume of an id that has no session."""

    reason = CloseReason.UNKNOWN_SESSION


class SessionAway(ProtocolError):
    """A resume of a session that another server may have, while nobody can be asked."""

    reason = CloseReason.STORE_AWAY


class NoMemory(ProtocolError):
    """A new client, while what memory is left is kept for those who are here."""

    reason = CloseReason.MEMORY_REFUSED


class SessionEnded(ProtocolError):
    """The session ended between the proof and the last packet of its resume."""

    reason = CloseReason.SESSION_ENDED


class BadProof(ProtocolError):
    """The answer to the challenge does not prove possession of the key."""

    reason = CloseReason.BAD_PROOF


class ReflectedProof(BadProof):
    """The answer is the challenge itself, or reuses its nonce: it proves nothing."""

    reason = CloseReason.REFLECTED_PROOF


class ProofAhead(BadProof):
    """The secret of the proof is a later one than is known here."""


class Superseded(BadProof):
    """The proof is made with a secret that has been replaced: a copy of the client has gone on with the session."""

    reason = CloseReason.SUPERSEDED


class BadRecord(ProtocolError):
    """A record of version 3 that does not open, or is cut."""

    reason = CloseReason.BAD_RECORD


class MalformedRecord(ProtocolError):
    """A record of version 3 that is shorter than its fields, or of a kind that has no place there."""

    reason = CloseReason.MALFORMED_RECORD


class BadNumbers(ProtocolError):
    """An ack, a credit or a gap of version 3 that cannot be."""

    reason = CloseReason.BAD_NUMBERS


class CreditExceeded(ProtocolError):
    """More data than the receiver has given credit for (version 3)."""

    reason = CloseReason.CREDIT_EXCEEDED


class BadRequest(ProtocolError):
    """An HTTP request that is malformed, or asks for a WebSocket in a way that there is none for."""

    reason = CloseReason.BAD_REQUEST


class OriginRefused(ProtocolError):
    """A request for a WebSocket by a page that may not connect."""

    reason = CloseReason.ORIGIN_REFUSED


class TokenRefused(ProtocolError):
    """A token that opens no session."""

    reason = CloseReason.TOKEN_REFUSED


class MalformedFrame(ProtocolError):
    """A frame that breaks a rule of WebSocket (RFC 6455), whatever is spoken over it."""

    reason = CloseReason.MALFORMED_FRAME


class BadText(ProtocolError):
    """A WebSocket's text message, or the reason of its close, that is not UTF-8."""

    reason = CloseReason.BAD_TEXT


class TextRefused(ProtocolError):
    """A text message, on a WebSocket that speaks a protocol of binary messages."""

    reason = CloseReason.TEXT_REFUSED


class SuiteRefused(ProtocolError):
    """None of the suites that a client of version 3 offers is allowed to it."""

    reason = CloseReason.SUITE_REFUSED


class MalformedProxyHeader(ProtocolError):
    """What a connection begins with is no PROXY protocol header."""

    reason = CloseReason.PROXY_MALFORMED


class TlsFailed(ProtocolError):
    """A TLS handshake came to nothing: what began was none, or the two sides could not agree."""

    reason = CloseReason.TLS_FAILED


class MalformedTag(ProtocolError):
    """A tagged packet shorter than its nine-byte header."""

    reason = CloseReason.MALFORMED_TAG


class UnknownFlag(ProtocolError):
    """A tagged packet whose flag is none of data, failure, kick, reconnection."""

    reason = CloseReason.UNKNOWN_FLAG


class ConnectionLost(VoltlaneError, ConnectionError):
    """The connection is gone. A client may `reconnect()`; what it missed is kept for it by the server.

    `code` and `text` are those of the server's close in version 3 (SPEC 18), or of a WebSocket's; 0 and "" where there
    was none. Below 600 the code is the status of an answer of HTTP (`Refused`).
    """

    def __init__(self, message: str = "", *, code: int = 0, text: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.text = text


class SessionLost(ConnectionLost):
    """The server does not know the session any more, or refused to resume it: only a new session can go on.

    In version 3 `taken` and `safe` are the numbers of the last packets of ours that the server has taken, and that are
    safe (SPEC 15); None where it did not say. `unsent` are the packets that it certainly has not taken; what lies
    between them and the safe ones is told as Uncertain, before this is raised.
    """

    def __init__(
        self,
        message: str = "",
        *,
        code: int = 0,
        text: str = "",
        taken: int | None = None,
        safe: int | None = None,
        unsent: tuple[bytes, ...] = (),
    ) -> None:
        super().__init__(message, code=code, text=text)
        self.taken = taken
        self.safe = safe
        self.unsent = unsent


class ServerKeyChanged(ConnectionLost):
    """The server presented another key than the one pinned at the first connection.

    As a rule it was started anew without a state directory; if it has one and no key was replaced, it is another one.
    """

    @staticmethod
    def of(key: bytes, expected: str) -> ServerKeyChanged:
        """The one that was presented, and those that were expected, in hexadecimal digits."""
        return ServerKeyChanged(
            f"the server's key is {key.hex()}, expected {expected}: a server without general.state_dir has another one "
            "at each start; if it has one and its key was not replaced, somebody else answers there"
        )


class Refused(ConnectionLost):
    """Who answers refuses this connection (version 3). Anybody on the way can say so: the session may be well."""


class Unproven(ConnectionLost):
    """Who answers has not proven that it knows the session's secret (version 3)."""


class NoDatagrams(VoltlaneError):
    """The server has no datagrams for clients, or not any longer (version 3)."""


class BadState(VoltlaneError, ValueError):
    """Bytes that are no state of a client of version 3, or that were damaged."""


class Told(VoltlaneError):
    """What `recv` has to tell beside packets (version 3). It goes on with what follows; nothing is broken.

    `first` and `last` are numbers of packets, both included, counted from 1 over the whole session.
    """

    def __init__(self, first: int, last: int, message: str) -> None:
        super().__init__(message)
        self.first = first
        self.last = last

    @property
    def count(self) -> int:
        """How many numbers that are. For a gap that is a loss of memory (`why` 2) it says nothing of packets."""
        return self.last - self.first + 1


_WHY = {
    1: "more was kept for us than the server's limits allow",
    2: "the server has lost its memory: these numbers stand for what it cannot know, perhaps for nothing",
    3: "we had said that they are safe, and do not know of them any more",
    4: "the server gave them up",
}


class Gap(Told):
    """Packets for us that will not come. `why` is the number that says so (SPEC 17)."""

    def __init__(self, first: int, last: int, why: int) -> None:
        super().__init__(first, last, f"packets {first} to {last} will not come: {_WHY.get(why, f'reason {why}')}")
        self.why = why


class Uncertain(Told):
    """Packets of ours of which the server cannot know whether it has passed them on: it has lost its memory.

    `packets` are their bytes, as far as they are still here: to send them again, as new packets, means at least once.
    """

    def __init__(self, first: int, last: int, packets: tuple[bytes, ...] = ()) -> None:
        super().__init__(
            first, last, f"whether packets {first} to {last} were passed on is not known: the server lost its memory"
        )
        self.packets = packets
