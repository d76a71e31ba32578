"""Datagrams beside a session of version 3, on the wire (SPEC 22 to 28): keys, one datagram, its clock, the cookies of a
plain relay. Bytes ↔ values."""

from __future__ import annotations

import enum
import hmac
from struct import Struct
from typing import NamedTuple

from .aead import TAG_SIZE, open_sealed, seal
from .framing import Buffer

ID_SIZE = 8
SEED_SIZE = 32
"""Bytes that each side draws for the keys."""
WORDS_SIZE = 8
"""Bytes of a challenge, and of the response to it."""

HEAD = Struct("<8sQ")
"""What stands in front, and is sealed as associated data: whose it is, and its number."""
HEAD_SIZE = HEAD.size
INNER = Struct("<BHH")
"""What stands before the body, sealed with it: kind, time, echo."""
INNER_SIZE = INNER.size
SMALLEST = HEAD_SIZE + INNER_SIZE + TAG_SIZE
"""Bytes of a datagram without a body; and those around one."""

WINDOW = 1024
"""Numbers behind the highest that are still taken."""
MIN_WINDOW = 64
"""Those that a receiver has to take at least."""
OLD_KEYS_SECS = 10.0
"""How long keys receive, after newer ones took their place."""
CHALLENGE_EVERY_SECS = 0.1
UNVALIDATED_FACTOR = 3
"""How many bytes go to an address that is not validated, for one that came from there."""

COUNTS = Struct("<QQ")
"""What a pong says of what came to its sender: one more than the highest number, and how many, each once."""

_LAST = (1 << 64) - 1
_LABEL = b"VOLTLANE 3 datagrams"
_NONCE = Struct("<4xQ")


def counts(highest: int, received: int) -> bytes:
    """The body of a pong; `highest` is -1 before anything has come. Above the last number of all there is none."""
    return COUNTS.pack(min(highest + 1, _LAST), received)


class Kind(enum.IntEnum):
    """What a datagram is. An unknown one counts as received, and is ignored."""

    DATA = 0
    PING = 1
    PONG = 2
    CHALLENGE = 3
    RESPONSE = 4


# ---- keys


class DatagramKeys(NamedTuple):
    """One side's: how what comes is known and opened, and what goes is marked and sealed."""

    id_in: bytes
    key_in: bytes
    id_out: bytes
    key_out: bytes

    def __repr__(self) -> str:
        return "<DatagramKeys>"


def derive(secret: bytes, client_seed: bytes, server_seed: bytes) -> bytes:
    """The root (32 bytes) of the keys that come of one asking; `secret` is what the connection's welcome told."""
    return hmac.digest(secret, _LABEL + client_seed + server_seed, "sha256")


def server_keys(root: bytes) -> DatagramKeys:
    """Those of the server's side."""
    return DatagramKeys(*_sender(root, b"client"), *_sender(root, b"server"))


def client_keys(root: bytes) -> DatagramKeys:
    """Those of the client's side."""
    return DatagramKeys(*_sender(root, b"server"), *_sender(root, b"client"))


def client_id(root: bytes) -> bytes:
    """What the client's datagrams begin with."""
    return hmac.digest(root, b"id client", "sha256")[:ID_SIZE]


def _sender(root: bytes, who: bytes) -> tuple[bytes, bytes]:
    """Id and key of what this side sends."""
    return hmac.digest(root, b"id " + who, "sha256")[:ID_SIZE], hmac.digest(root, b"key " + who, "sha256")


# ---- a datagram


class Datagram(NamedTuple):
    """One that opened."""

    number: int
    kind: int
    """A `Kind`, or one that is not known here."""
    time: int
    echo: int
    body: bytes


def seal_datagram(keys: DatagramKeys, number: int, kind: int, time: int, echo: int, body: Buffer) -> bytes:
    """A datagram of ours, 37 bytes longer than its body. No number may be used twice."""
    head = HEAD.pack(keys.id_out, number)
    return head + seal(INNER.pack(kind, time, echo) + body, _NONCE.pack(number), keys.key_out, head)


def head_of(datagram: Buffer) -> tuple[bytes, int]:
    """Id and number of one that has at least 37 bytes: nobody has vouched for them yet."""
    identity, number = HEAD.unpack_from(datagram)
    return identity, number


def open_datagram(keys: DatagramKeys, datagram: Buffer) -> Datagram:
    """One that came. Raises ValueError where it is short, another's, or not sealed under this key.

    Whether its number came before is for who has a window to say, which must not move before this.
    """
    if len(datagram) < SMALLEST:
        raise ValueError(f"a datagram of {len(datagram)} bytes; at least {SMALLEST} are needed")
    head = bytes(datagram[:HEAD_SIZE])
    identity, number = HEAD.unpack(head)
    if identity != keys.id_in:
        raise ValueError("a datagram with another id")
    inner = open_sealed(datagram[HEAD_SIZE:], _NONCE.pack(number), keys.key_in, head)
    kind, time, echo = INNER.unpack_from(inner)
    return Datagram(number, kind, time, echo, bytes(inner[INNER_SIZE:]))


# ---- its clock: u16, which begins again every 8.192 s

TICKS = 8000
"""A second's."""
HELD_SECS = 1.0
"""A time that came longer ago is not echoed."""
_CLOCK = 0xFFFF
_MOST_TICKS = 8 * TICKS


def clock(now: float) -> int:
    """The time that goes with a datagram; `now` in seconds, from wherever."""
    return int(now * TICKS) & _CLOCK


def held_echo(time: int, heard: float | None, now: float) -> int:
    """The echo of a time that came at `heard`: with how long it was held here. 0: there is none."""
    if heard is None or not 0 <= now - heard <= HELD_SECS:
        return 0
    return (time + int((now - heard) * TICKS)) & _CLOCK or 1


def round_trip(echo: int, now: float) -> float | None:
    """Seconds, by an echo that has come; None if it says nothing."""
    if not echo:
        return None
    ticks = (clock(now) - echo) & _CLOCK
    return ticks / TICKS if ticks <= _MOST_TICKS else 0.0  # less than nothing, by clocks that do not run alike


# ---- the cookies of a plain relay

COOKIE_MAGIC = b"VLCK"
COOKIE_SIZE = 16
COOKIE_HEAD_SIZE = len(COOKIE_MAGIC) + COOKIE_SIZE
COOKIE_LEAST = 7
"""Bytes that must have come to be answered with a cookie: the answer has no more than three times as many."""
COOKIE_SECS = 30
"""How long one secret makes them; those of the one before are still good."""


def cookie(secret: bytes, host: bytes, port: int) -> bytes:
    """That of an address; `host` has 4 bytes (IPv4, mapped into IPv6 or not) or 16."""
    return hmac.digest(secret, host + port.to_bytes(2, "little"), "sha256")[:COOKIE_SIZE]


def with_cookie(shown: bytes, packet: Buffer = b"") -> bytes:
    """What a client sends that was given one; without a packet what the relay answers."""
    return COOKIE_MAGIC + shown + packet


def split_cookie(datagram: bytes) -> tuple[bytes, bytes] | None:
    """The cookie, and the packet behind it; None if there is none."""
    if len(datagram) < COOKIE_HEAD_SIZE or not datagram.startswith(COOKIE_MAGIC):
        return None
    return datagram[len(COOKIE_MAGIC) : COOKIE_HEAD_SIZE], datagram[COOKIE_HEAD_SIZE:]
