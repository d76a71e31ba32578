"""The packets, made before the run, and the two ways to verify them at the speed of memcmp.

What a client sends (or is sent) repeats after a while: a cycle of packets, each with the client's index, its number in
the cycle and a pattern that depends on both. So what is received must equal, byte for byte, what stands in the cycle
from where the last reception ended. Anything lost, doubled, out of order, changed or given to the wrong client differs
there; a loss of exactly whole cycles shows in the totals.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NoReturn

from .wires import Fault, Wire

SMALLEST = 16
"""Bytes of the smallest payload."""
CYCLE_BYTES = 1 << 16
CYCLE_PACKETS = 1024
_INDEX = b"\xf1\xf2\xf3\xf4"
_ID = b"\xe1\xe2\xe3\xe4\xe5\xe6\xe7\xe8"
_PATTERN = bytes(32 + number * 7 % 61 for number in range(61))
_HELLO = struct.Struct("<8sI4x")
_HELLO_MAGIC = b"bench: i"


def hello(index: int) -> bytes:
    """The payload of the packet that tells the backend which client this is."""
    return _HELLO.pack(_HELLO_MAGIC, index)


def read_hello(payload: bytes) -> int:
    """The index in it."""
    if len(payload) != _HELLO.size or payload[:8] != _HELLO_MAGIC:
        raise Fault(f"instead of a client's first packet the backend got {payload[:60]!r}")
    return int(_HELLO.unpack(payload)[1])


def _payload(number: int, size: int) -> bytes:
    start = number % 61
    return _INDEX + struct.pack("<I", number) + (_PATTERN * (size // 61 + 2))[start : start + size - 8]


def plan(smallest: int, largest: int, clients: int, memory: int) -> list[int]:
    """The sizes of one cycle's packets, so that the cycles of all clients fit into `memory` bytes."""
    room = min(CYCLE_BYTES, memory // clients)
    count = max(2, min(CYCLE_PACKETS, room // ((smallest + largest) // 2 + 16)))
    if smallest == largest:
        return [largest] * count
    spread = largest - smallest + 1
    return [smallest + (number * 2654435761 >> 7) % spread for number in range(count)]


class Cycle:
    """One cycle's packets in some encoding, the client left open."""

    def __init__(self, packets: Sequence[bytes]) -> None:
        self._packets = b"".join(packets)
        self.starts = [0, *accumulate(map(len, packets))]
        """Where each packet begins, and the end of the last."""
        self.count = len(packets)
        self.size = self.starts[-1]

    def of(self, index: int, client_id: int = 0) -> bytes:
        """The cycle of one client."""
        filled = self._packets.replace(_INDEX, struct.pack("<I", index))
        return filled.replace(_ID, struct.pack("<Q", client_id))

    def packets_in(self, size: int) -> int:
        """How many whole packets the first `size` bytes of the endless stream hold."""
        cycles, rest = divmod(size, self.size)
        return cycles * self.count + bisect_right(self.starts, rest) - 1

    def bytes_of(self, packets: int) -> int:
        """The size of that many packets."""
        cycles, rest = divmod(packets, self.count)
        return cycles * self.size + self.starts[rest]


def client_cycle(wire: Wire, sizes: Sequence[int]) -> Cycle:
    """As it stands in a client's stream."""
    return Cycle([wire.frame(_payload(number, size)) for number, size in enumerate(sizes)])


def tagged_cycle(wire: Wire, sizes: Sequence[int]) -> Cycle:
    """As it stands in the backend's stream."""
    return Cycle([wire.tagged(_ID, _payload(number, size)) for number, size in enumerate(sizes)])


def published_cycle(wire: Wire, sizes: Sequence[int]) -> Cycle:
    """As it stands in the stream of a backend that publishes."""
    return Cycle([wire.published(_payload(number, size)) for number, size in enumerate(sizes)])


class Follower:
    """Verifies one client's stream: it is the client's cycle, over and over."""

    __slots__ = ("_at", "_cycle", "_size", "total")

    def __init__(self, cycle: bytes) -> None:
        self._cycle = memoryview(cycle)
        self._size = len(cycle)
        self._at = 0
        self.total = 0
        """Bytes received."""

    def take(self, buffer: bytearray, size: int) -> None:
        """The next bytes of the stream are `buffer[:size]`."""
        at, position = self._at, 0
        while position < size:
            upto = at + size - position
            if upto > self._size:
                upto = self._size
            if not buffer.startswith(self._cycle[at:upto], position):
                expected, got = bytes(self._cycle[at:upto][:40]), bytes(buffer[position:size][:40])
                raise Fault(f"a client got {got!r}, expected was {expected!r} (byte {self.total + position})")
            position += upto - at
            at = upto if upto < self._size else 0
        self._at = at
        self.total += size


class Account:
    """What the backend has got of one client."""

    __slots__ = ("at", "cycle", "index", "packets", "total")

    def __init__(self, index: int, cycle: bytes) -> None:
        self.index = index
        self.cycle = memoryview(cycle)
        self.at = 0
        """The number, in the cycle, of the next packet."""
        self.packets = 0
        self.total = 0
        """Bytes, as they stand in the client's own stream."""


class Ledger:
    """Verifies the backend's stream: of every client its cycle, over and over, in whatever order clients come.

    Packets of one client often stand together; how many is found by trying one, two, four… at once.
    """

    def __init__(self, wire: Wire, sizes: Sequence[int]) -> None:
        self._wire = wire
        self._cycle = tagged_cycle(wire, sizes)
        packet = bytes(sizes[0])
        self._extra = len(wire.tagged(_ID, packet)) - len(wire.frame(packet))
        self.accounts: dict[int, Account] = {}
        self.packets = 0

    def open(self, client_id: int, index: int) -> None:
        """This id is that client's from now on."""
        self.accounts[client_id] = Account(index, self._cycle.of(index, client_id))

    def take(self, buffer: bytearray, stop: int, seen: memoryview | list[int]) -> int:
        """Verify the whole packets in `buffer[:stop]`. Where they end; each client's total is noted in `seen`."""
        accounts, starts, count, extra = self.accounts, self._cycle.starts, self._cycle.count, self._extra
        unpack, id_at = struct.Struct("<Q").unpack_from, self._wire.id_at
        last = stop - id_at - 8
        """Where a packet may begin at most, for its id to be there."""
        position = 0
        while position <= last:
            (client_id,) = unpack(buffer, position + id_at)
            account = accounts.get(client_id)
            if account is None:
                self._fail(buffer, position, stop, "a packet of no client of ours")
            begin, packets, at, cycle, step, growing = position, 0, account.at, account.cycle, 1, True
            while True:
                upto = at + step
                if upto > count:
                    upto = count
                first = starts[at]
                end = position + starts[upto] - first
                if end <= stop and buffer.startswith(cycle[first : starts[upto]], position):
                    position = end
                    packets += upto - at
                    at = upto if upto < count else 0
                    if position > last or unpack(buffer, position + id_at)[0] != client_id:
                        break
                    if growing:
                        step += step
                        continue
                elif step == 1:
                    break
                growing = False
                step = step >> 1 or 1
            if not packets:
                if stop - position >= starts[at + 1] - starts[at]:
                    self._fail(buffer, position, stop, f"not packet {account.packets} of client {account.index}")
                break
            account.at = at
            account.packets += packets
            account.total += position - begin - packets * extra
            seen[account.index] = account.total
            self.packets += packets
        return position

    def _fail(self, buffer: bytearray, position: int, stop: int, what: str) -> NoReturn:
        packet = self._wire.untag(buffer, position, stop)
        if packet is not None and packet.kind:
            what = f"instead of data, flag {packet.kind} for client id {packet.client_id}: {packet.data[:60]!r}"
        raise Fault(f"the backend got {what}: {bytes(buffer[position : min(position + 40, stop)])!r}")
