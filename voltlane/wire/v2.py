"""Handshake packets: an enum in bincode-2 "standard" encoding (SPEC 3).

A packet is its variant's number as a varint, then its field. Varint: below 251 one byte; 251 + u16, 252 + u32, 253 +
u64, little-endian. Byte vector: varint length + bytes. Decoding takes one whole frame's payload, no more and no less.
"""

from __future__ import annotations

from struct import Struct
from typing import Callable, NamedTuple, Union

from ..errors import MalformedPacket
from .framing import Buffer

VERSION = 2
MAX_HANDSHAKE_FRAME = 128
"""Bytes of the largest handshake frame accepted; the largest valid one has 74."""

_WIDE = {251: Struct("<H"), 252: Struct("<I"), 253: Struct("<Q")}
_U32_MAX = 2**32 - 1
_U64_MAX = 2**64 - 1


class Ping(NamedTuple):
    """The last packet of a resume, both ways."""


class ProtocolVersion(NamedTuple):
    """The first packet of every connection, from the client."""

    version: int


class PubKey(NamedTuple):
    """A public key: SEC1 point on secp256k1 (33 bytes compressed, or 65)."""

    point: bytes


class ClientId(NamedTuple):
    """From the server: the id of the new session. From the client: the id of the session to resume."""

    client_id: int


class Challenge(NamedTuple):
    """32 random bytes, sealed (SPEC 4)."""

    blob: bytes


class ChallengeResponse(NamedTuple):
    """The challenge's 32 bytes, sealed again under a fresh nonce."""

    blob: bytes


Packet = Union[Ping, ProtocolVersion, PubKey, ClientId, Challenge, ChallengeResponse]


def encode_varint(value: int) -> bytes:
    """Encode 0 ≤ value < 2**64."""
    if value < 251:
        return bytes((value,))
    if value <= 0xFFFF:
        return b"\xfb" + _WIDE[251].pack(value)
    if value <= _U32_MAX:
        return b"\xfc" + _WIDE[252].pack(value)
    return b"\xfd" + _WIDE[253].pack(value)


def decode_varint(data: Buffer, position: int, what: str) -> tuple[int, int]:
    """The value at `position` and the position behind it. Raises MalformedPacket."""
    if position >= len(data):
        raise MalformedPacket(f"{what} is missing")
    first = data[position]
    if first < 251:
        return first, position + 1
    wide = _WIDE.get(first)
    if wide is None:
        raise MalformedPacket(f"{what} begins with byte {first}; a varint begins with 0 to 253")
    end = position + 1 + wide.size
    if end > len(data):
        raise MalformedPacket(f"{what} is cut short: {len(data) - position} of {1 + wide.size} bytes")
    return wide.unpack_from(data, position + 1)[0], end


def _decode_integer(data: Buffer, position: int, what: str, most: int) -> tuple[int, int]:
    value, position = decode_varint(data, position, what)
    if value > most:
        raise MalformedPacket(f"{what} is {value}, at most {most} is allowed")
    return value, position


def _decode_u32(data: Buffer, position: int, what: str) -> tuple[int, int]:
    return _decode_integer(data, position, what, _U32_MAX)


def _decode_u64(data: Buffer, position: int, what: str) -> tuple[int, int]:
    return _decode_integer(data, position, what, _U64_MAX)


def _decode_bytes(data: Buffer, position: int, what: str) -> tuple[bytes, int]:
    length, position = decode_varint(data, position, f"{what}'s length")
    end = position + length
    if end > len(data):
        raise MalformedPacket(f"{what} has {len(data) - position} of its {length} bytes")
    return bytes(data[position:end]), end


def _encode_bytes(value: bytes) -> bytes:
    return encode_varint(len(value)) + value


class _Field(NamedTuple):
    encode: Callable[..., bytes]
    decode: Callable[[Buffer, int, str], tuple[int | bytes, int]]


_U32 = _Field(encode_varint, _decode_u32)
_U64 = _Field(encode_varint, _decode_u64)
_BYTES = _Field(_encode_bytes, _decode_bytes)

_VARIANTS: tuple[tuple[type[Packet], _Field | None], ...] = (
    (Ping, None),
    (ProtocolVersion, _U32),
    (PubKey, _BYTES),
    (ClientId, _U64),
    (Challenge, _BYTES),
    (ChallengeResponse, _BYTES),
)
_HEAD_OF = {
    kind: (encode_varint(number), field.encode if field else bytes) for number, (kind, field) in enumerate(_VARIANTS)
}


def encode(packet: Packet) -> bytes:
    """A packet's payload, to be framed."""
    head, encode_field = _HEAD_OF[type(packet)]
    return head + encode_field(*packet)


def decode(payload: Buffer) -> Packet:
    """The packet that a frame's payload holds. Raises MalformedPacket, naming what was wrong."""
    usual = _USUAL.get(bytes(payload[:2]))
    if usual is not None:
        size, kind, packet = usual
        if len(payload) == size:
            return kind(bytes(payload[2:])) if packet is None else packet
    variant, position = decode_varint(payload, 0, "the packet's variant")
    if variant >= len(_VARIANTS):
        raise MalformedPacket(f"unknown packet variant {variant}; 0 to {len(_VARIANTS) - 1} exist")
    variety, field = _VARIANTS[variant]
    values: tuple[int | bytes, ...] = ()
    if field:
        value, position = field.decode(payload, position, variety.__name__)
        values = (value,)
    if position != len(payload):
        raise MalformedPacket(f"{len(payload) - position} bytes too many behind {variety.__name__}")
    return variety(*values)  # type: ignore[arg-type]


_USUAL: dict[bytes, tuple[int, Callable[..., Packet], Packet | None]] = {
    encode(packet)[:2]: (len(encode(packet)), type(packet), packet if len(encode(packet)) <= 2 else None)
    for packet in (
        Ping(),
        ProtocolVersion(VERSION),
        PubKey(bytes(33)),
        PubKey(bytes(65)),
        Challenge(bytes(72)),
        ChallengeResponse(bytes(72)),
    )
}
"""By its first two bytes, kind and length of a vector, what a packet most probably is: how long it is then, its kind,
and the packet itself where there is nothing else in it."""
