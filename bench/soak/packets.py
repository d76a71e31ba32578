"""The packets of the lossless soak: what each says of itself, so that whoever gets it knows what is missing.

up    u64 number ‖ u8 kind ‖ filling                  numbered by the client, as version 3 numbers its packets
down  u64 number ‖ u8 kind ‖ u64 value ‖ filling      numbered by the master, whatever the packet is for
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from bench.wires import Fault

PLAIN, LAST = range(2)
"""Up: something; the last packet of this client."""
ECHO, OWN, TOTAL = range(3)
"""Down: the answer to a packet, whose number is the value; one that nobody asked for; the answer to a last packet,
behind which nothing comes."""
LARGEST = 150_000
_UP, _DOWN = struct.Struct("<QB"), struct.Struct("<QBQ")
_FILL = bytes(range(256)) * (LARGEST // 256 + 2)


class Up(NamedTuple):
    """A client's packet."""

    number: int
    kind: int

    def encode(self) -> bytes:
        """Its payload, of a size that its number says."""
        return _UP.pack(*self) + _filling(self.number)


class Down(NamedTuple):
    """A packet of the master."""

    number: int
    kind: int
    value: int

    def encode(self) -> bytes:
        """Its payload."""
        return _DOWN.pack(*self) + _filling(self.number + 7)


def decode_up(payload: bytes) -> Up:
    """Raises Fault when it is not, byte for byte, what was sent."""
    packet = Up(*_UP.unpack_from(payload))
    if packet.encode() != payload:
        raise Fault(f"a packet of {len(payload)} bytes says it is {packet}, and is not")
    return packet


def decode_down(payload: bytes) -> Down:
    """The same for one of the master."""
    packet = Down(*_DOWN.unpack_from(payload))
    if packet.encode() != payload:
        raise Fault(f"a packet of {len(payload)} bytes says it is {packet}, and is not")
    return packet


def _filling(number: int) -> bytes:
    """Most are small; one in three hundred may take several records."""
    size = number * 2654435761 % 101
    if number % 300 == 153:
        size = number * 40503 % LARGEST
    return _FILL[number & 255 : (number & 255) + size]
