"""A client's memory ↔ bytes, to be kept while its program does not run.

    "VLS3" ‖ u8 version ‖ 16 bytes of SHA-256 over the rest ‖ the rest

The rest is a list of fields, each with its size in front. There are secrets in it: whoever has it can be this client.
"""

from __future__ import annotations

import hashlib
import struct

from ..errors import BadState, Gap, Uncertain
from ..wire.framing import Buffer, FrameBuffer, frame
from .inbox import Numbered
from .memory import Memory, Present
from .options import Options
from .pinning import Pins

_MAGIC = b"VLS3"
_VERSION = 1
_HEAD = len(_MAGIC) + 1
_SUM_SIZE = 16
_WHO = struct.Struct("<BQIQQ?")
_NUMBERS = struct.Struct("<QQQQQ")
_ITEM = struct.Struct("<BQ")
_GAP = struct.Struct("<QQB")
_RANGE = struct.Struct("<QQ")
_COUNT = struct.Struct("<I")
_NUMBER = struct.Struct("<Q")
_PACKET, _IS_GAP, _IS_UNCERTAIN = 0, 1, 2


def encode(memory: Memory, address: str) -> bytes:
    """As it is when the last welcome is confirmed, and with the address that it was connected to."""
    generation, branch, secret, epoch = memory.latest
    retention, inbox, pins = memory.retention, memory.inbox, memory.pins
    who = _WHO.pack(memory.suite, memory.client_id or 0, generation, branch, epoch, memory.client_id is not None)
    numbers = _NUMBERS.pack(retention.last, retention.sent, retention.acked, retention.settled, inbox.safe)
    fields: list[Buffer] = [address.encode(), who, memory.handle, secret, pins.met, b"".join(pins.accepted), numbers]
    fields += _list([_NUMBER.pack(number) + packet for number, packet in retention.packets()])
    fields += _list([_encode_item(numbered) for numbered in inbox.unsafe()])
    rest = b"".join(map(frame, fields))
    return _MAGIC + bytes((_VERSION,)) + _sum(rest) + rest


def decode(state: bytes, options: Options, packet_limit: int, ahead: int) -> tuple[Memory, str]:
    """The memory and the address. `ahead`: a number that is higher than any that the session has used, as far as one
    can know; microseconds since 1970, for one. Raises BadState."""
    if len(state) < _HEAD + _SUM_SIZE or state[: len(_MAGIC)] != _MAGIC:
        raise BadState("these bytes are no state of a client")
    if state[len(_MAGIC)] != _VERSION:
        raise BadState(f"a state of version {state[len(_MAGIC)]}; this library knows {_VERSION}")
    rest = state[_HEAD + _SUM_SIZE :]
    if _sum(rest) != state[_HEAD : _HEAD + _SUM_SIZE]:
        raise BadState("the state is damaged: its checksum is another one")
    fields = FrameBuffer(len(rest))
    fields.feed(rest)
    address, who, handle, secret, met, accepted, numbers = (_next(fields) for _ in range(7))
    suite, client_id, generation, branch, epoch, known = _WHO.unpack(who)
    memory = Memory(options, packet_limit, Pins(tuple(accepted[n : n + 32] for n in range(0, len(accepted), 32)), met))
    memory.suite, memory.present = suite, Present(generation, branch, secret, epoch)
    memory.client_id = client_id if known else None
    memory.handle, memory.ahead = handle, max(1, ahead) if known else 0
    last, sent, acked, settled, safe = _NUMBERS.unpack(numbers)
    packets = [(_NUMBER.unpack_from(packet)[0], packet[_NUMBER.size :]) for packet in _next_list(fields)]
    # What is only queued here, a life that is not known may have sent: it keeps its number (SPEC 17).
    memory.retention.restore(packets, last, max([sent, *[number for number, _ in packets]]), acked, settled)
    memory.inbox.restore([_decode_item(item) for item in _next_list(fields)], safe)
    return memory, address.decode()


def _list(those: list[bytes]) -> list[bytes]:
    return [_COUNT.pack(len(those)), *those]


def _next(fields: FrameBuffer) -> bytes:
    field = fields.pop()
    if field is None:
        raise BadState("the state ends too soon")
    return field


def _next_list(fields: FrameBuffer) -> list[bytes]:
    return [_next(fields) for _ in range(_COUNT.unpack(_next(fields))[0])]


def _encode_item(numbered: Numbered) -> bytes:
    item = numbered.item
    if isinstance(item, bytes):
        return _ITEM.pack(_PACKET, numbered.number) + item
    if isinstance(item, Gap):
        return _ITEM.pack(_IS_GAP, numbered.number) + _GAP.pack(item.first, item.last, item.why)
    packets = b"".join(map(frame, item.packets))
    return _ITEM.pack(_IS_UNCERTAIN, numbered.number) + _RANGE.pack(item.first, item.last) + packets


def _decode_item(data: bytes) -> Numbered:
    kind, number = _ITEM.unpack_from(data)
    body = data[_ITEM.size :]
    if kind == _PACKET:
        return Numbered(number, body)
    if kind == _IS_GAP:
        return Numbered(number, Gap(*_GAP.unpack(body)))
    packets = FrameBuffer(len(body))
    packets.feed(body[_RANGE.size :])
    first, last = _RANGE.unpack_from(body)
    return Numbered(number, Uncertain(first, last, tuple(packets)))


def _sum(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:_SUM_SIZE]
