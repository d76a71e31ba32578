"""Version 3 on the wire: hellos, records and what is in them (SPEC 10 to 18, 23). Bytes ↔ values."""

from __future__ import annotations

import enum
import hashlib
import hmac
from struct import Struct
from typing import Any, NamedTuple

from ..errors import MalformedPacket, MalformedRecord, UnsupportedVersion
from .aead import KEY_SIZE, TAG_SIZE
from .framing import Buffer
from .noise import MESSAGE_MAX, Channel

MAGIC, VERSION, REFUSED = 0x56, 3, 0xFF
RANDOM_SIZE = 32
"""Bytes that a hello ends with: an X25519 public key, or something random."""
HANDLE_SIZE = 16
SECRET_SIZE = 32
PROOF_SIZE = 32
MAX_HELLO = 64
MAX_SERVER_HELLO = 512
MAX_RECORD = MESSAGE_MAX - TAG_SIZE
MAX_PING = 64
MAX_SUITES = 16
MAX_KEYS = 4
LABEL = b"Voltlane 3"


class Suite(enum.IntEnum):
    """How records are sealed."""

    CLEAR = 0
    NOISE = 1


class Kind(enum.IntEnum):
    """What a record is. An unknown one that is odd is skipped."""

    DATA = 0
    ACK = 1
    OPEN = 2
    RESUME = 4
    WELCOME = 6
    GAP = 8
    CLOSE = 12
    PING = 14
    PONG = 16
    ASK = 19
    DATAGRAMS = 21


class Code(enum.IntEnum):
    """Why a connection is closed (SPEC 18): below 3500 a client may come back."""

    GOING = 3000
    DROPPED = 3001
    LATE = 3002
    RATE = 3003
    NO_ROOM = 3004
    AWAY = 3005
    ERROR = 3006
    TAKEN_OVER = 3007
    PROTOCOL = 3500
    UNKNOWN_SESSION = 3501
    BAD_PROOF = 3502
    SUPERSEDED = 3503
    ENDED = 3504
    KICKED = 3506
    EXPELLED = 3507
    NO_SUITE = 3508
    NO_VERSION = 3509
    LEFT = 3510
    TOO_LARGE = 3511
    OVERFLOW = 3512


def may_return(code: int) -> bool:
    """Whether who is closed with this code should come back; of one that is in no range nothing is known."""
    return not 3000 <= code < 5000 or code % 1000 < 500


class Why(enum.IntEnum):
    """Why there is a gap."""

    LIMIT = 1
    RESTART = 2
    FORGOTTEN = 3
    GIVEN_UP = 4


# ---- hellos


class Hello(NamedTuple):
    """A client's first message."""

    suites: tuple[int, ...]
    random: bytes
    """The 32 bytes it ends with."""

    @property
    def head(self) -> bytes:
        """All of it but the last 32 bytes."""
        return bytes((MAGIC, VERSION, len(self.suites), *self.suites))

    def encode(self) -> bytes:
        """The message."""
        return self.head + self.random

    @property
    def prologue(self) -> bytes:
        """That of Noise: what the client offered is part of what both sides agree on."""
        return LABEL + self.head


def decode_hello(message: bytes) -> Hello:
    """Raises MalformedPacket, UnsupportedVersion."""
    if len(message) < 3 or message[0] != MAGIC:
        raise MalformedPacket("no hello of version 3")
    if message[1] != VERSION:
        raise UnsupportedVersion(f"protocol version {message[1]}; this server speaks 2 and {VERSION}")
    count = message[2]
    if not 1 <= count <= MAX_SUITES or len(message) != 3 + count + RANDOM_SIZE:
        raise MalformedPacket(f"a hello of {len(message)} bytes with {count} suites")
    return Hello(tuple(message[3 : 3 + count]), message[3 + count :])


_LIMITS = Struct("<III")


class Retained(NamedTuple):
    """How much one side retains of what it sends until it is safe: packets, and bytes of them with four for the size
    of each. 0: it does not say."""

    packets: int
    size: int


class Limits(NamedTuple):
    """What the server takes and keeps: bytes of the largest packet that it takes; and what it retains."""

    packet: int
    retained: Retained


class ServerPayload(NamedTuple):
    """What the server's hello says."""

    suite: int
    limits: Limits
    keys: tuple[bytes, ...] = ()
    """Keys that may take the place of the server's."""

    def encode(self) -> bytes:
        """Its bytes."""
        return (
            bytes((self.suite,))
            + _LIMITS.pack(self.limits.packet, *self.limits.retained)
            + bytes((len(self.keys),))
            + b"".join(self.keys)
        )


def decode_server_payload(data: bytes) -> ServerPayload:
    """Raises MalformedPacket."""
    keys_at = 2 + _LIMITS.size
    if len(data) < keys_at:
        raise MalformedPacket(f"a server hello whose payload has {len(data)} bytes")
    count = data[keys_at - 1]
    if count > MAX_KEYS or len(data) < keys_at + count * KEY_SIZE:
        raise MalformedPacket(f"a server hello that announces {count} keys in {len(data)} bytes")
    keys = tuple(data[keys_at + n * KEY_SIZE : keys_at + (n + 1) * KEY_SIZE] for n in range(count))
    packet, packets, size = _LIMITS.unpack_from(data, 1)
    return ServerPayload(data[0], Limits(packet, Retained(packets, size)), keys)


def server_hello(suite: int, answer: bytes) -> bytes:
    """The server's first message."""
    return bytes((MAGIC, suite)) + answer


_CODE = Struct("<H")


def refusal(code: int, text: str) -> bytes:
    """The server's first message, where it is the last."""
    return bytes((MAGIC, REFUSED)) + _CODE.pack(code) + text.encode()


def decode_refusal(message: bytes) -> tuple[int, str]:
    """Code and text. Raises MalformedPacket."""
    if len(message) < 4:
        raise MalformedPacket("a refusal without a code")
    return _CODE.unpack_from(message, 2)[0], message[4:].decode("utf-8", "replace")


def clear_channel(hello: bytes, answer: bytes) -> Channel:
    """That of suite 0, by both hellos."""
    return Channel(b"", b"", hashlib.sha256(hello + answer).digest())


def branch_secret(root: bytes, branch: int) -> bytes:
    """A secret of the generation with this root: each welcome has one of its own (SPEC 14)."""
    return hmac.digest(root, b"VOLTLANE 3 branch" + branch.to_bytes(8, "little"), "sha256")


def proof(secret: bytes, role: str, transcript: bytes) -> bytes:
    """What shows that the "client" or "server" of this channel knows a session's secret."""
    return hmac.digest(secret, f"VOLTLANE 3 {role}".encode() + transcript, "sha256")


# ---- records

HEAD = Struct("<BQQ")
HEAD_SIZE = HEAD.size
MAX_BODY = MAX_RECORD - HEAD_SIZE


def record(kind: int, ack: int, credit: int, body: Buffer = b"") -> bytes:
    """A record."""
    return HEAD.pack(kind, ack, credit) + body


_OPEN = Struct("<16s32sII")
_RESUME = Struct("<QIQ32sQQQQII")
_WELCOME = Struct("<Q32sQIQ32sQ")
_GAP = Struct("<QQB")
_CLOSE = Struct("<HQ")
_ASK = Struct("<32s")
_DATAGRAMS = Struct("<HHH32sB")


class Open(NamedTuple):
    """The body of open (SPEC 13)."""

    handle: bytes
    secret: bytes
    retained: Retained

    def encode(self) -> bytes:
        """Its bytes."""
        return _OPEN.pack(self.handle, self.secret, *self.retained)

    def __repr__(self) -> str:
        return "<Open>"


class Resume(NamedTuple):
    """The body of resume (SPEC 14)."""

    id: int
    generation: int
    branch: int
    proof: bytes
    epoch: int
    taken: int
    sent: int
    acked: int
    retained: Retained

    def encode(self) -> bytes:
        """Its bytes."""
        return _RESUME.pack(*self[:-1], *self.retained)


class Welcome(NamedTuple):
    """The body of welcome (SPEC 13)."""

    id: int
    proof: bytes
    epoch: int
    generation: int
    branch: int
    secret: bytes
    taken: int

    def encode(self) -> bytes:
        """Its bytes."""
        return _WELCOME.pack(*self)

    def __repr__(self) -> str:
        return f"<Welcome {self.id}, generation {self.generation}>"


class Gap(NamedTuple):
    """The body of gap: the sender's packets with these numbers, both included, will not come."""

    first: int
    last: int
    why: int

    def encode(self) -> bytes:
        """Its bytes."""
        return _GAP.pack(*self)


class Uncertain(NamedTuple):
    """The client's packets with these numbers, both included, of which nobody knows whether they were passed on: what
    a welcome with another epoch says (SPEC 17)."""

    first: int
    last: int


class Close(NamedTuple):
    """The body of close."""

    code: int
    taken: int
    text: str

    def encode(self) -> bytes:
        """Its bytes."""
        return _CLOSE.pack(self.code, self.taken) + self.text.encode()


class Ask(NamedTuple):
    """The body of ask: the client's part of the keys of its datagrams (SPEC 23)."""

    seed: bytes

    def encode(self) -> bytes:
        """Its bytes."""
        return _ASK.pack(*self)

    def __repr__(self) -> str:
        return "<Ask>"


class Datagrams(NamedTuple):
    """The body of datagrams, the answer."""

    port: int
    """0: there are none."""
    mtu: int
    """Bytes of the largest datagram, all of it."""
    keepalive: int
    """Seconds."""
    seed: bytes
    """The server's part of the keys."""
    host: str
    """Empty: that of the stream. At most 255 bytes in UTF-8."""

    def encode(self) -> bytes:
        """Its bytes."""
        host = self.host.encode()
        return _DATAGRAMS.pack(*self[:-1], len(host)) + host

    def __repr__(self) -> str:
        return f"<Datagrams {self.host!r}, port {self.port}>"


NO_DATAGRAMS = Datagrams(0, 0, 0, bytes(32), "")
"""There are none here, or none any longer."""


def decode_open(body: bytes) -> Open:
    """Raises MalformedRecord."""
    handle, secret, *retained = _fields(_OPEN, body, "open")
    return Open(handle, secret, Retained(*retained))


def decode_resume(body: bytes) -> Resume:
    """Raises MalformedRecord."""
    fields = _fields(_RESUME, body, "resume")
    client_id, generation, branch, shown, epoch, taken, sent, acked, *retained = fields
    return Resume(client_id, generation, branch, shown, epoch, taken, sent, acked, Retained(*retained))


def decode_welcome(body: bytes) -> Welcome:
    """Raises MalformedRecord."""
    return Welcome(*_fields(_WELCOME, body, "welcome"))


def decode_gap(body: bytes) -> Gap:
    """Raises MalformedRecord."""
    return Gap(*_fields(_GAP, body, "gap"))


def decode_close(body: bytes) -> Close:
    """Raises MalformedRecord."""
    code, taken = _fields(_CLOSE, body, "close")
    return Close(code, taken, body[_CLOSE.size :].decode("utf-8", "replace"))


def decode_ask(body: bytes) -> Ask:
    """Raises MalformedRecord."""
    return Ask(*_fields(_ASK, body, "ask"))


def decode_datagrams(body: bytes) -> Datagrams:
    """Raises MalformedRecord."""
    port, mtu, keepalive, seed, size = _fields(_DATAGRAMS, body, "datagrams")
    host = body[_DATAGRAMS.size : _DATAGRAMS.size + size]
    if len(host) < size:
        raise MalformedRecord(f"the host in datagrams has {len(host)} bytes of {size}")
    try:
        return Datagrams(port, mtu, keepalive, seed, host.decode())
    except UnicodeDecodeError:
        raise MalformedRecord("the host in datagrams is no UTF-8") from None


def head_of(plaintext: Buffer) -> tuple[int, int, int]:
    """Kind, ack and credit of a record. Raises MalformedRecord."""
    if len(plaintext) < HEAD_SIZE:
        raise MalformedRecord(f"a record of {len(plaintext)} bytes; at least {HEAD_SIZE} are needed")
    kind, ack, credit = HEAD.unpack_from(plaintext)
    return kind, ack, credit


def _fields(layout: Struct, body: bytes, name: str) -> tuple[Any, ...]:
    if len(body) < layout.size:
        raise MalformedRecord(f"the body of {name} has {len(body)} bytes; at least {layout.size} are needed")
    return layout.unpack_from(body)
